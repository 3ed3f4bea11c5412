/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - what the files of this room share. */
#ifndef CORE_SANDBOX_INTERNAL_H
#define CORE_SANDBOX_INTERNAL_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>

#include "core/base/buf.h"
#include "core/sandbox/sandbox.h"

struct sandbox {
	lua_State *L;
	size_t used, max;
	size_t block_max;      /* largest single block: keeps each VM instruction's own work small */
	uint64_t instructions; /* budget of a call */
	int64_t left;          /* of the running call */
	uint64_t started_ns;   /* first look at the clock in the running call, 0: not yet */
	int depth;             /* 1 inside sandbox_call */
	int armed_step, armed_mask; /* of the hook */
	bool tripped;          /* the running call has used up its budget */
	bool exhausted;        /* ... or its memory */
	bool locked;           /* globals cannot be set any more */
	char place[128];       /* file:line where a limit struck */
	const char *traced;    /* chunk whose returns are remembered */
	char returned[128];
	struct buf traceback;
};

/* Fills the state with the allowed names. Runs protected. */
int sandbox_library(lua_State *L);
/* Adds the string and table functions that are our own, bounded ones. The library table is on top. */
void sandbox_add_strings(lua_State *L);
void sandbox_add_tables(lua_State *L);
/* The budget is used up: every further instruction raises. */
void sandbox_trip(struct sandbox *s);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox.h - Lua states that run other people's code without harm: an allow-list of names, a bound on memory and
 * a budget of instructions for each call, which pcall cannot swallow. */
#ifndef CORE_SANDBOX_SANDBOX_H
#define CORE_SANDBOX_SANDBOX_H

#include <lua.h>
#include <stdbool.h>
#include <sluice/types.h>

struct sandbox;

struct sandbox_limits {
	size_t memory;         /* bytes, 0: 8 MiB */
	uint64_t instructions; /* of one call, 0: 1,000,000 */
};

/* A state with the allowed names and nothing else. NULL: out of memory. */
struct sandbox *sandbox_open(const struct sandbox_limits *limits);
void sandbox_close(struct sandbox *s);
lua_State *sandbox_lua(struct sandbox *s);
/* The sandbox of a state, for C functions that Lua calls. */
struct sandbox *sandbox_of(lua_State *L);

/* Compiles text (never bytecode) and runs it. `chunk` names it in messages ("policy.lua"). */
int sandbox_run(struct sandbox *s, sl_str text, const char *chunk, sl_error *error);
/* Reads a file first: refuses what is missing, a folder, above 4 MiB or writable by others. */
int sandbox_run_file(struct sandbox *s, const char *path, const char *chunk, sl_error *error);
/* From now on globals cannot be set or replaced: a write raises "policy.lua:3: global 'x' cannot be set here". */
void sandbox_lock(struct sandbox *s);

/* lua_pcall with the budget renewed, for a function and n arguments on the stack; leaves `results` on it, or
 * nothing. SL_OK, SL_EINVAL (the code raised; text has file:line), SL_ELIMIT (budget or memory). */
int sandbox_call(struct sandbox *s, int arguments, int results, sl_error *error);
/* The traceback of the last failed call, one line an entry; valid until the next call. */
const char *sandbox_traceback(const struct sandbox *s);
size_t sandbox_memory(const struct sandbox *s);

#endif

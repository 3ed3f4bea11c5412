/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox.h - Lua states that run other people's code without harm: an allow-list of names, a bound on memory and
 * a budget of instructions for each call, which pcall cannot swallow. */
#ifndef CORE_SANDBOX_SANDBOX_H
#define CORE_SANDBOX_SANDBOX_H

#include <lua.h>
#include <stdbool.h>
#include <sluice/types.h>

#include "core/base/buf.h"

struct sandbox;

struct sandbox_limits {
	size_t memory;         /* bytes, 0: 8 MiB */
	uint64_t instructions; /* of one call, 0: 1,000,000 */
};

/* Largest file that is read. */
enum { SANDBOX_FILE_MAX = 4 << 20 };

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
/* Compiles text and leaves the function on the stack for sandbox_call; nothing there on an error. */
int sandbox_load(struct sandbox *s, sl_str text, const char *chunk, sl_error *error);
/* A file's text, appended to *out. Refuses what is missing, a folder, empty, above SANDBOX_FILE_MAX, or writable by
 * others (itself, or its folder without the sticky bit). */
int sandbox_read_file(const char *path, struct buf *out, sl_error *error);
/* From now on globals cannot be set or replaced: a write raises "policy.lua:3: global 'x' cannot be set here". */
void sandbox_lock(struct sandbox *s);

/* lua_pcall with the budget renewed, for a function and n arguments on the stack; leaves `results` (a number, at most
 * 16) on it, or nothing. Not from inside a call. SL_OK, SL_EINVAL (the code raised; text has file:line), SL_ELIMIT
 * (budget or memory). */
int sandbox_call(struct sandbox *s, int arguments, int results, sl_error *error);
/* The traceback of the last failed call, one line an entry; valid until the next call. */
const char *sandbox_traceback(const struct sandbox *s);
size_t sandbox_memory(const struct sandbox *s);
/* Why the last call ended with SL_ELIMIT: true, it was the memory. */
bool sandbox_out_of_memory(const struct sandbox *s);
/* Frees what is garbage now. */
void sandbox_collect(struct sandbox *s);

/* For tests and traces: remembers where the last function of `chunk` returned. NULL: off (costs nothing). */
void sandbox_trace(struct sandbox *s, const char *chunk);
/* "policy.lua:31", empty when none returned since the last sandbox_trace. */
const char *sandbox_returned_at(const struct sandbox *s);

/* The functions below raise Lua errors: call them from C functions that run inside sandbox_call, or through
 * sandbox_setup. */

/* Runs `setup` protected and without a budget, with `arg` as its light userdata argument. */
int sandbox_setup(struct sandbox *s, lua_CFunction setup, void *arg, sl_error *error);
/* Makes the value on top of the stack a library name that scripts can read and never replace; pops it. */
void sandbox_provide(lua_State *L, const char *name);
/* Replaces the table on top of the stack by a read-only view of it. `name` stands in messages. */
void sandbox_freeze(lua_State *L, const char *name);
/* Pushes a global as scripts see it, nil when there is none; its type. */
int sandbox_global(lua_State *L, const char *name);
/* Lua function of a name that is not defined: raises "'prinnt' is not defined: did you mean 'print'?". */
int sandbox_missing(lua_State *L);
/* Pushes the table of the globals that scripts have set (empty after sandbox_lock: read them before). */
void sandbox_globals(lua_State *L);
/* Takes work that was done in C from the budget of the running call. */
void sandbox_charge(lua_State *L, uint64_t units);

/* Lua functions for the rooms that offer them under a name: glob(text, pattern) with * and ?, whole text, bounded
 * work; prefix(text, prefix). */
int sandbox_glob(lua_State *L);
int sandbox_prefix(lua_State *L);

#endif

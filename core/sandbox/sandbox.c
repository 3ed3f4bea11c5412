/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox.c - the state, its memory bound, its budget and protected calls.
 *
 * The count hook fires each HOOK_STEP instructions. When the budget is gone the hook is armed for every single
 * instruction before it raises, so that a pcall loop cannot go on; our own pcall raises again too. Work that one
 * instruction can do is bounded by the size of a block, large blocks are charged to the budget, and a clock ends
 * what is left (a call that takes seconds below its budget). */
#include "core/sandbox/sandbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/str.h"
#include "core/sandbox/internal.h"

enum {
	HOOK_STEP = 1000,
	MEMORY_DEFAULT = 8 << 20,
	INSTRUCTIONS_DEFAULT = 1000000,
	CHARGED_BLOCK = 4096, /* blocks from this size on cost ... */
	CHARGE_BYTES = 64,    /* ... an instruction for so many bytes */
	HANDLER = 1,          /* stack index of the message handler */
	PLACE_LEVELS = 16,
	TRACEBACK_LEVELS = 20
};
static const uint64_t clock_max_ns = 2000000000;

struct sandbox *sandbox_of(lua_State *L)
{
	struct sandbox *s;
	memcpy(&s, lua_getextraspace(L), sizeof s);
	return s;
}

static void remember_place(struct sandbox *s)
{
	lua_Debug ar;
	for (int level = 0; level < PLACE_LEVELS && lua_getstack(s->L, level, &ar); level++) {
		lua_getinfo(s->L, "Sl", &ar);
		if (ar.currentline > 0) {
			snprintf(s->place, sizeof s->place, "%s:%d", ar.short_src, ar.currentline);
			return;
		}
	}
}

static void *refuse(struct sandbox *s, const void *block)
{
	/* Lua may be moving its stack when it enlarges a block: only new blocks allow a look at the frames. */
	if (s->L && s->depth && !block)
		remember_place(s);
	return NULL;
}

static void *allocate(void *arg, void *block, size_t old_size, size_t size)
{
	struct sandbox *s = arg;
	size_t old = block ? old_size : 0;
	if (size == 0) {
		free(block);
		s->used -= old;
		return NULL;
	}
	if (size > old) {
		if (s->used - old + size > s->max || size > s->block_max)
			return refuse(s, block);
		if (s->depth && size >= CHARGED_BLOCK) {
			if (s->left <= 0) {
				s->tripped = true;
				return refuse(s, block);
			}
			s->left -= (int64_t) (size / CHARGE_BYTES);
		}
	}
	void *moved = realloc(block, size);
	if (moved)
		s->used = s->used - old + size;
	return moved;
}

static void on_count(lua_State *L, lua_Debug *ar);

static void on_return(struct sandbox *s, lua_Debug *ar)
{
	lua_getinfo(s->L, "Sl", ar);
	if (s->traced && ar->source[0] == '@' && strcmp(ar->source + 1, s->traced) == 0 && ar->currentline > 0)
		snprintf(s->returned, sizeof s->returned, "%s:%d", ar->short_src, ar->currentline);
}

static void arm(struct sandbox *s, int step)
{
	int mask = LUA_MASKCOUNT | (s->traced ? LUA_MASKRET : 0);
	if (s->armed_step == step && s->armed_mask == mask)
		return; /* the count goes on from the call before: a budget is exact to HOOK_STEP instructions */
	lua_sethook(s->L, on_count, mask, step);
	s->armed_step = step;
	s->armed_mask = mask;
}

void sandbox_trip(struct sandbox *s)
{
	s->tripped = true;
	arm(s, 1);
}

static int raise_tripped(lua_State *L)
{
	struct sandbox *s = sandbox_of(L);
	lua_pushfstring(L, "%s: instruction budget used up", s->place);
	return lua_error(L);
}

static void on_count(lua_State *L, lua_Debug *ar)
{
	struct sandbox *s = sandbox_of(L);
	if (ar->event != LUA_HOOKCOUNT) {
		on_return(s, ar);
		return;
	}
	if (s->depth == 0)
		return;
	if (!s->tripped) {
		s->left -= HOOK_STEP;
		uint64_t now = clock_mono_ns();
		if (s->started_ns == 0)
			s->started_ns = now;
		if (s->left > 0 && now - s->started_ns < clock_max_ns)
			return;
		remember_place(s);
	}
	sandbox_trip(s);
	raise_tripped(L);
}

void sandbox_charge(lua_State *L, uint64_t units)
{
	struct sandbox *s = sandbox_of(L);
	if (s->depth == 0)
		return;
	s->left -= units < INT64_MAX / 2 ? (int64_t) units : INT64_MAX / 2;
	if (s->left > 0)
		return;
	if (!s->tripped)
		remember_place(s);
	sandbox_trip(s);
	raise_tripped(L);
}

/* Writes the frames of a failed call into C memory: the state may have none left. The value stays as it is. */
static int on_error(lua_State *L)
{
	struct sandbox *s = sandbox_of(L);
	lua_Debug ar;
	for (int level = 1; level < TRACEBACK_LEVELS && lua_getstack(L, level, &ar); level++) {
		lua_getinfo(L, "Sln", &ar);
		if (ar.currentline <= 0)
			continue;
		buf_printf(&s->traceback, "%s%s:%d", s->traceback.len ? "\n" : "", ar.short_src, ar.currentline);
		if (ar.name)
			buf_printf(&s->traceback, " in function '%s'", ar.name);
	}
	return 1;
}

struct sandbox *sandbox_open(const struct sandbox_limits *limits)
{
	struct sandbox *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->max = limits && limits->memory ? limits->memory : MEMORY_DEFAULT;
	s->block_max = s->max / 8;
	s->instructions = limits && limits->instructions ? limits->instructions : INSTRUCTIONS_DEFAULT;
	s->traceback.max = 16384;
	s->L = lua_newstate(allocate, s);
	if (!s->L) {
		free(s);
		return NULL;
	}
	memcpy(lua_getextraspace(s->L), &s, sizeof s);
	lua_pushcfunction(s->L, on_error); /* stays at the bottom of the stack, as HANDLER */
	if (sandbox_setup(s, sandbox_library, NULL, NULL) != SL_OK) {
		sandbox_close(s);
		return NULL;
	}
	return s;
}

void sandbox_close(struct sandbox *s)
{
	if (!s)
		return;
	lua_close(s->L);
	buf_free(&s->traceback);
	free(s);
}

lua_State *sandbox_lua(struct sandbox *s)
{
	return s->L;
}

void sandbox_lock(struct sandbox *s)
{
	s->locked = true;
}

size_t sandbox_memory(const struct sandbox *s)
{
	return s->used;
}

bool sandbox_out_of_memory(const struct sandbox *s)
{
	return s->exhausted;
}

void sandbox_collect(struct sandbox *s)
{
	lua_gc(s->L, LUA_GCCOLLECT);
}

void sandbox_trace(struct sandbox *s, const char *chunk)
{
	s->traced = chunk;
	s->returned[0] = '\0';
}

const char *sandbox_returned_at(const struct sandbox *s)
{
	return s->returned;
}

const char *sandbox_traceback(const struct sandbox *s)
{
	return s->traceback.len ? s->traceback.data : "";
}

/* Turns the error value on top of the stack into a sentence. Does not allocate in the state. */
static int explain(struct sandbox *s, int status, sl_error *error)
{
	if (s->tripped)
		return error_set(error, SL_ELIMIT, "%s: instruction budget of %llu used up: an endless loop?",
		                 s->place[0] ? s->place : "?", (unsigned long long) s->instructions);
	if (status == LUA_ERRMEM || s->exhausted) {
		s->exhausted = true;
		return error_set(error, SL_ELIMIT, "%s%smemory limit of %zu KiB reached", s->place, s->place[0] ? ": " : "",
		                 s->max >> 10);
	}
	if (lua_type(s->L, -1) == LUA_TSTRING)
		return error_set(error, SL_EINVAL, "%s", lua_tostring(s->L, -1));
	const char *trace = sandbox_traceback(s);
	size_t first = strcspn(trace, " \n");
	return error_set(error, SL_EINVAL, "%.*s%sthe error is no text but a %s value", (int) first, trace,
	                 first ? ": " : "", luaL_typename(s->L, -1));
}

static void begin(struct sandbox *s)
{
	s->left = s->instructions < INT64_MAX ? (int64_t) s->instructions : INT64_MAX;
	s->tripped = false;
	s->exhausted = false;
	s->started_ns = 0;
	s->place[0] = '\0';
	if (s->traceback.len) {
		buf_clear(&s->traceback);
		s->traceback.failed = false;
	}
	arm(s, HOOK_STEP);
}

int sandbox_call(struct sandbox *s, int arguments, int results, sl_error *error)
{
	lua_State *L = s->L;
	if (s->depth) {
		lua_pop(L, arguments + 1);
		return error_set(error, SL_EINVAL, "a call into Lua from inside a call");
	}
	begin(s);
	s->depth++;
	int status = lua_pcall(L, arguments, results, HANDLER);
	s->depth--;
	if (status == LUA_OK && !s->tripped)
		return SL_OK;
	if (status == LUA_OK) {
		lua_pop(L, results);
		lua_pushnil(L); /* the budget ended with the last instruction: what such a call returned is not used */
	}
	int code = explain(s, status, error);
	lua_pop(L, 1);
	return code;
}

int sandbox_setup(struct sandbox *s, lua_CFunction setup, void *arg, sl_error *error)
{
	lua_State *L = s->L;
	int base = lua_gettop(L);
	lua_pushcfunction(L, setup);
	lua_pushlightuserdata(L, arg);
	int status = lua_pcall(L, 1, 0, 0);
	if (status == LUA_OK)
		return SL_OK;
	int code = explain(s, status, error);
	lua_settop(L, base);
	return code;
}

int sandbox_load(struct sandbox *s, sl_str text, const char *chunk, sl_error *error)
{
	char name[256];
	snprintf(name, sizeof name, "@%s", chunk);
	s->tripped = s->exhausted = false;
	s->place[0] = '\0';
	int status = luaL_loadbufferx(s->L, text.ptr ? text.ptr : "", text.len, name, "t");
	if (status == LUA_OK)
		return SL_OK;
	int code = explain(s, status, error);
	if (code == SL_EINVAL && !strstr(lua_tostring(s->L, -1) ? lua_tostring(s->L, -1) : "", chunk))
		error_prefix(error, "%s: ", chunk);
	lua_pop(s->L, 1);
	return code;
}

int sandbox_run(struct sandbox *s, sl_str text, const char *chunk, sl_error *error)
{
	int rc = sandbox_load(s, text, chunk, error);
	return rc == SL_OK ? sandbox_call(s, 0, 0, error) : rc;
}

int sandbox_run_file(struct sandbox *s, const char *path, const char *chunk, sl_error *error)
{
	struct buf text = { .max = SANDBOX_FILE_MAX };
	int rc = sandbox_read_file(path, &text, error);
	if (rc == SL_OK)
		rc = sandbox_run(s, buf_str(&text), chunk, error);
	buf_free(&text);
	return rc;
}

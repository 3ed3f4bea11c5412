/* SPDX-License-Identifier: Apache-2.0 */
/* bounded.c - string and table functions whose work is bounded: Lua's own can run for minutes inside one call,
 * where no budget is looked at. */
#include "config.h"

#include <lualib.h>
#include <string.h>

#include "core/sandbox/internal.h"

enum {
	REP_MAX = 1 << 20,
	CONCAT_MAX = 65536,
	SORT_MAX = 16384,
	SORT_TEXT_MAX = 1024,
	INSERT_MAX = 65536,
	UNPACK_MAX = 1000,
	GLOB_PATTERN_MAX = 256,
	GLOB_TEXT_MAX = 65536
};

/* find(text, part, [init, [plain]]): plain text only; patterns can take exponential time. */
static int find(lua_State *L)
{
	size_t len, part_len;
	const char *text = luaL_checklstring(L, 1, &len);
	const char *part = luaL_checklstring(L, 2, &part_len);
	lua_Integer init = luaL_optinteger(L, 3, 1);
	if (!lua_toboolean(L, 4) && strpbrk(part, "^$*+?.([%-"))
		return luaL_error(L, "string.find takes plain text here: add the arguments 1, true, or use sluice.glob");
	if (init < 0)
		init = -init > (lua_Integer) len ? 1 : (lua_Integer) len + init + 1;
	if (init == 0)
		init = 1;
	if (init > (lua_Integer) len + 1) {
		lua_pushnil(L);
		return 1;
	}
	sandbox_charge(L, (len + part_len) / 64);
	const char *from = text + init - 1;
	const char *at = part_len ? memmem(from, len - (size_t) (from - text), part, part_len) : from;
	if (!at) {
		lua_pushnil(L);
		return 1;
	}
	lua_pushinteger(L, at - text + 1);
	lua_pushinteger(L, at - text + (lua_Integer) part_len);
	return 2;
}

static int rep(lua_State *L)
{
	size_t len, sep_len;
	luaL_checklstring(L, 1, &len);
	lua_Integer n = luaL_checkinteger(L, 2);
	luaL_optlstring(L, 3, "", &sep_len);
	if (len + sep_len == 0) { /* Lua's own would count to n all the same */
		lua_pushliteral(L, "");
		return 1;
	}
	if (n > 0 && (size_t) n > REP_MAX / (len + sep_len))
		return luaL_error(L, "string.rep: more than %d bytes", REP_MAX);
	if (n > 0)
		sandbox_charge(L, (uint64_t) n / 16);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, lua_gettop(L) - 1, 1);
	return 1;
}

/* A table without a metatable, whose length is what it seems to be. */
static lua_Integer plain_table(lua_State *L, const char *name, lua_Integer max)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	if (lua_getmetatable(L, 1))
		luaL_error(L, "%s: a plain table expected, this one has a metatable", name);
	lua_Integer n = (lua_Integer) lua_rawlen(L, 1);
	if (n > max)
		luaL_error(L, "%s: more than %d items", name, (int) max);
	return n;
}

/* The standard function (upvalue 1) with all arguments. */
static int forward(lua_State *L)
{
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
	return lua_gettop(L);
}

static int insert(lua_State *L)
{
	sandbox_charge(L, (uint64_t) plain_table(L, "table.insert", INSERT_MAX) / (lua_gettop(L) > 2 ? 4 : 4096));
	return forward(L);
}

static int take_out(lua_State *L)
{
	sandbox_charge(L, (uint64_t) plain_table(L, "table.remove", INSERT_MAX) / (lua_gettop(L) > 1 ? 4 : 4096));
	return forward(L);
}

/* Refuses a range i..j of more than max items; `first` is the index of the argument i. */
static void check_range(lua_State *L, const char *name, int first, lua_Integer n, lua_Integer max)
{
	lua_Integer i = luaL_optinteger(L, first, 1), j = luaL_optinteger(L, first + 1, n);
	if (i <= j && (lua_Unsigned) j - (lua_Unsigned) i >= (lua_Unsigned) max)
		luaL_error(L, "%s: more than %d items", name, (int) max);
	sandbox_charge(L, i <= j ? (uint64_t) j - (uint64_t) i : 0);
}

static int concat(lua_State *L)
{
	lua_Integer n = plain_table(L, "table.concat", CONCAT_MAX);
	check_range(L, "table.concat", 3, n, CONCAT_MAX);
	return forward(L);
}

static int unpack(lua_State *L)
{
	lua_Integer n = plain_table(L, "table.unpack", CONCAT_MAX);
	check_range(L, "table.unpack", 2, n, UNPACK_MAX);
	return forward(L);
}

static int sort(lua_State *L)
{
	lua_Integer n = plain_table(L, "table.sort", SORT_MAX);
	sandbox_charge(L, 4 * (uint64_t) n);
	/* Without a comparator Lua compares inside one call: long texts, even one many times, would take minutes. */
	for (lua_Integer i = 1; i <= n && lua_isnoneornil(L, 2); i++) {
		if (lua_rawgeti(L, 1, i) == LUA_TSTRING && lua_rawlen(L, -1) > SORT_TEXT_MAX)
			return luaL_error(L, "table.sort: a text of more than %d bytes", SORT_TEXT_MAX);
		lua_pop(L, 1);
	}
	return forward(L);
}

static void wrap(lua_State *L, int standard, const char *name, lua_CFunction function)
{
	lua_getfield(L, standard, name);
	lua_pushcclosure(L, function, 1);
	lua_setfield(L, -2, name);
}

void sandbox_add_strings(lua_State *L)
{
	int standard = lua_gettop(L) - 1;
	lua_pushcfunction(L, find);
	lua_setfield(L, -2, "find");
	wrap(L, standard, "rep", rep);
}

void sandbox_add_tables(lua_State *L)
{
	int standard = lua_gettop(L) - 1;
	wrap(L, standard, "insert", insert);
	wrap(L, standard, "remove", take_out);
	wrap(L, standard, "concat", concat);
	wrap(L, standard, "unpack", unpack);
	wrap(L, standard, "sort", sort);
}

static bool glob(const char *text, size_t len, const char *pattern, size_t pattern_len)
{
	size_t t = 0, p = 0, star = SIZE_MAX, mark = 0;
	while (t < len) {
		if (p < pattern_len && pattern[p] == '*') {
			star = p++;
			mark = t;
		} else if (p < pattern_len && (pattern[p] == '?' || pattern[p] == text[t])) {
			p++;
			t++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			t = ++mark;
		} else {
			return false;
		}
	}
	while (p < pattern_len && pattern[p] == '*')
		p++;
	return p == pattern_len;
}

int sandbox_glob(lua_State *L)
{
	size_t len, pattern_len;
	const char *text = luaL_checklstring(L, 1, &len);
	const char *pattern = luaL_checklstring(L, 2, &pattern_len);
	luaL_argcheck(L, len <= GLOB_TEXT_MAX, 1, "text too long");
	luaL_argcheck(L, pattern_len <= GLOB_PATTERN_MAX, 2, "pattern too long");
	sandbox_charge(L, len * (pattern_len + 1) / 64);
	lua_pushboolean(L, glob(text, len, pattern, pattern_len));
	return 1;
}

int sandbox_prefix(lua_State *L)
{
	size_t len, prefix_len;
	const char *text = luaL_checklstring(L, 1, &len);
	const char *prefix = luaL_checklstring(L, 2, &prefix_len);
	sandbox_charge(L, prefix_len / 64);
	lua_pushboolean(L, prefix_len <= len && memcmp(text, prefix, prefix_len) == 0);
	return 1;
}

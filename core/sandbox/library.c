/* SPDX-License-Identifier: Apache-2.0 */
/* library.c - which names a script sees: an allow-list. What is left out raises with its name.
 *
 * The table of globals that compiled code refers to is always empty. Reads go on to `user` (what the script has
 * set), then to `library` (ours), then to a function that raises; writes go to a function that fills `user`. */
#include <lualib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/str.h"
#include "core/sandbox/internal.h"

static const char key_user, key_library;

enum { NAMES_MAX = 256, PRINT_UNITS = 1000 };

static const char *const blocked_globals[] = { "load", "loadstring", "dofile", "loadfile", "require", "xpcall",
	"collectgarbage", "rawget", "rawset", "setfenv", "getfenv", "warn", "_G", NULL };
static const char *const blocked_libraries[] = { "os", "io", "debug", "package", "coroutine", NULL };
static const char *const blocked_members[] = { "string.gsub", "string.gmatch", "string.match", "string.reverse",
	"string.dump", "string.pack", "string.unpack", "string.packsize", "table.move", NULL };

static bool listed(const char *const *list, const char *name)
{
	for (; *list; list++)
		if (strcmp(*list, name) == 0)
			return true;
	return false;
}

static size_t add_names(lua_State *L, const char **names, size_t n)
{
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		lua_pop(L, 1);
		if (lua_type(L, -1) == LUA_TSTRING && n + 1 < NAMES_MAX)
			names[n++] = lua_tostring(L, -1);
	}
	return n;
}

static int raise_unknown(lua_State *L, const char *what, const char *name, const char **names, size_t n)
{
	names[n] = NULL;
	const char *near = str_nearest(str_of(name), names);
	if (near)
		return luaL_error(L, "%s: did you mean '%s'?", what, near);
	return luaL_error(L, "%s", what);
}

int sandbox_missing(lua_State *L)
{
	const char *name = luaL_checkstring(L, 1);
	if (listed(blocked_globals, name))
		return luaL_error(L, "blocked function: %s is not available here", name);
	const char *names[NAMES_MAX];
	lua_rawgetp(L, LUA_REGISTRYINDEX, &key_user);
	size_t n = add_names(L, names, 0);
	lua_rawgetp(L, LUA_REGISTRYINDEX, &key_library);
	n = add_names(L, names, n);
	return raise_unknown(L, lua_pushfstring(L, "'%s' is not defined", name), name, names, n);
}

/* __index of the library: nobody has this global. */
static int undefined(lua_State *L)
{
	if (lua_type(L, 2) != LUA_TSTRING)
		return luaL_error(L, "globals are named by text, not by a %s value", luaL_typename(L, 2));
	lua_remove(L, 1);
	return sandbox_missing(L);
}

static int set_global(lua_State *L)
{
	if (lua_type(L, 2) != LUA_TSTRING)
		return luaL_error(L, "globals are named by text, not by a %s value", luaL_typename(L, 2));
	const char *name = lua_tostring(L, 2);
	if (sandbox_of(L)->locked)
		return luaL_error(L, "global '%s' cannot be set here: write 'local %s'", name, name);
	lua_rawgetp(L, LUA_REGISTRYINDEX, &key_library);
	lua_pushvalue(L, 2);
	if (lua_rawget(L, -2) != LUA_TNIL || listed(blocked_globals, name))
		return luaL_error(L, "global '%s' belongs to sluice and cannot be replaced", name);
	lua_rawgetp(L, LUA_REGISTRYINDEX, &key_user);
	lua_pushvalue(L, 2);
	lua_pushvalue(L, 3);
	lua_rawset(L, -3);
	return 0;
}

static int set_member(lua_State *L)
{
	return luaL_error(L, "'%s' belongs to sluice and cannot be changed", lua_tostring(L, lua_upvalueindex(1)));
}

/* __index of a library table; upvalue 1 its name, upvalue 2 the table. */
static int missing_member(lua_State *L)
{
	const char *library = lua_tostring(L, lua_upvalueindex(1));
	const char *member = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?";
	const char *full = lua_pushfstring(L, "%s.%s", library, member);
	if (listed(blocked_libraries, library) || listed(blocked_members, full))
		return luaL_error(L, "blocked function: %s is not available here", full);
	const char *names[NAMES_MAX];
	lua_pushvalue(L, lua_upvalueindex(2));
	size_t n = add_names(L, names, 0);
	return raise_unknown(L, lua_pushfstring(L, "%s does not exist", full), member, names, n);
}

void sandbox_freeze(lua_State *L, const char *name)
{
	int inner = lua_gettop(L);
	lua_createtable(L, 0, 2);
	lua_pushstring(L, name);
	lua_pushvalue(L, inner);
	lua_pushcclosure(L, missing_member, 2);
	lua_setfield(L, -2, "__index");
	lua_setmetatable(L, inner);
	lua_newtable(L); /* the view: there is no way from it to the table behind */
	lua_createtable(L, 0, 3);
	lua_pushvalue(L, inner);
	lua_setfield(L, -2, "__index");
	lua_pushstring(L, name);
	lua_pushcclosure(L, set_member, 1);
	lua_setfield(L, -2, "__newindex");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_setmetatable(L, -2);
	lua_replace(L, inner);
}

void sandbox_provide(lua_State *L, const char *name)
{
	lua_rawgetp(L, LUA_REGISTRYINDEX, &key_library);
	lua_pushstring(L, name);
	lua_rotate(L, -3, -1);
	lua_rawset(L, -3);
	lua_pop(L, 1);
}

int sandbox_global(lua_State *L, const char *name)
{
	sandbox_globals(L);
	lua_pushstring(L, name);
	if (lua_rawget(L, -2) == LUA_TNIL) {
		lua_pop(L, 2);
		lua_rawgetp(L, LUA_REGISTRYINDEX, &key_library);
		lua_pushstring(L, name);
		lua_rawget(L, -2);
	}
	lua_remove(L, -2);
	return lua_type(L, -1);
}

void sandbox_globals(lua_State *L)
{
	lua_rawgetp(L, LUA_REGISTRYINDEX, &key_user);
}

/* pcall that does not swallow what must end the call. */
static int protected_call(lua_State *L)
{
	luaL_checkany(L, 1);
	int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
	struct sandbox *s = sandbox_of(L);
	if (status == LUA_ERRMEM)
		s->exhausted = true;
	if (s->tripped || s->exhausted)
		return status == LUA_OK ? luaL_error(L, "instruction budget used up") : lua_error(L);
	lua_pushboolean(L, status == LUA_OK);
	lua_insert(L, 1);
	return lua_gettop(L);
}

/* setmetatable without finalizers: they would run with the budget switched off. */
static int set_metatable(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_argcheck(L, lua_isnil(L, 2) || lua_istable(L, 2), 2, "nil or a table expected");
	if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
		return luaL_error(L, "this table's metatable is protected");
	if (lua_istable(L, 2)) {
		lua_pushliteral(L, "__gc");
		if (lua_rawget(L, 2) != LUA_TNIL)
			return luaL_error(L, "blocked function: __gc is not available here");
	}
	lua_settop(L, 2);
	lua_setmetatable(L, 1);
	return 1;
}

static int print(lua_State *L)
{
	sandbox_charge(L, PRINT_UNITS);
	char line[512];
	size_t used = 0;
	line[0] = '\0';
	for (int i = 1; i <= lua_gettop(L) && used + 1 < sizeof line; i++) {
		size_t len;
		const char *text = luaL_tolstring(L, i, &len);
		if (i > 1)
			line[used++] = ' ';
		if (len > sizeof line - 1 - used)
			len = sizeof line - 1 - used;
		memcpy(line + used, text, len);
		used += len;
		line[used] = '\0';
		lua_pop(L, 1);
	}
	luaL_where(L, 1);
	log_info("%s%s", lua_tostring(L, -1), line);
	return 0;
}

/* Copies members of the table at `from` into the table on top. */
static void copy_members(lua_State *L, int from, const char *const *names)
{
	for (; *names; names++) {
		lua_getfield(L, from, *names);
		lua_setfield(L, -2, *names);
	}
}

/* A standard library as the table on top of the stack, without leaving a trace anywhere. */
static int open_standard(lua_State *L, lua_CFunction open)
{
	lua_pushcfunction(L, open);
	lua_call(L, 0, 1);
	return lua_gettop(L);
}

static void provide_base(lua_State *L)
{
	static const char *const allowed[] = { "assert", "error", "ipairs", "next", "pairs", "select", "tonumber",
		"tostring", "type", "rawequal", "rawlen", "getmetatable", NULL };
	int base = open_standard(L, luaopen_base); /* also fills the globals, which are thrown away */
	lua_rawgetp(L, LUA_REGISTRYINDEX, &key_library);
	copy_members(L, base, allowed);
	static const luaL_Reg own[] = { { "pcall", protected_call }, { "setmetatable", set_metatable },
		{ "print", print }, { NULL, NULL } };
	luaL_setfuncs(L, own, 0);
	lua_pop(L, 2);
}

static void provide_library(lua_State *L, const char *name, lua_CFunction open, const char *const *allowed,
                            void (*add)(lua_State *))
{
	int standard = open_standard(L, open);
	lua_newtable(L);
	if (allowed) {
		copy_members(L, standard, allowed);
	} else {
		lua_pushnil(L);
		while (lua_next(L, standard)) {
			lua_pushvalue(L, -2);
			lua_insert(L, -2);
			lua_rawset(L, -4);
		}
	}
	if (add)
		add(L);
	if (strcmp(name, "string") == 0) { /* methods of strings: the same functions, the metatable out of reach */
		lua_pushliteral(L, "");
		lua_createtable(L, 0, 2);
		lua_pushvalue(L, -3);
		lua_setfield(L, -2, "__index");
		lua_pushboolean(L, 0);
		lua_setfield(L, -2, "__metatable");
		lua_setmetatable(L, -2);
		lua_pop(L, 1);
	}
	sandbox_freeze(L, name);
	sandbox_provide(L, name);
	lua_settop(L, standard - 1);
}

static void join_tables(lua_State *L)
{
	lua_newtable(L); /* user -> library */
	lua_rawgetp(L, LUA_REGISTRYINDEX, &key_library);
	lua_createtable(L, 0, 1);
	lua_pushcfunction(L, undefined);
	lua_setfield(L, -2, "__index");
	lua_setmetatable(L, -2);
	lua_createtable(L, 0, 1);
	lua_rotate(L, -2, 1);
	lua_setfield(L, -2, "__index");
	lua_setmetatable(L, -2);
	lua_pushvalue(L, -1);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &key_user);

	lua_newtable(L); /* globals -> user */
	lua_createtable(L, 0, 3);
	lua_rotate(L, -3, -1);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, set_global);
	lua_setfield(L, -2, "__newindex");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_setmetatable(L, -2);
	lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
}

int sandbox_library(lua_State *L)
{
	static const char *const strings[] = { "byte", "char", "format", "len", "lower", "upper", "sub", NULL };
	static const char *const tables[] = { "pack", NULL };
	lua_settop(L, 0);
	lua_newtable(L);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &key_library);
	provide_base(L);
	provide_library(L, "string", luaopen_string, strings, sandbox_add_strings);
	provide_library(L, "table", luaopen_table, tables, sandbox_add_tables);
	provide_library(L, "math", luaopen_math, NULL, NULL);
	provide_library(L, "utf8", luaopen_utf8, NULL, NULL);
	for (const char *const *name = blocked_libraries; *name; name++) {
		lua_newtable(L);
		sandbox_freeze(L, *name);
		sandbox_provide(L, *name);
	}
	join_tables(L);
	lua_gc(L, LUA_GCCOLLECT);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* lua_json.c - Lua values as JSON and back, bounded. */
#include <math.h>

#include "core/conf/internal.h"

enum { DEPTH_MAX = 16, NODES_MAX = 20000 };

struct conversion {
	lua_State *L;
	const char *why;
	int nodes;
};

static json_t *convert(struct conversion *c, int index, int depth);

static json_t *fail(struct conversion *c, json_t *half, const char *why)
{
	if (!c->why)
		c->why = why;
	json_decref(half);
	return NULL;
}

static json_t *convert_array(struct conversion *c, int index, size_t n, int depth)
{
	json_t *array = json_array();
	for (size_t i = 1; array && i <= n; i++) {
		lua_rawgeti(c->L, index, (lua_Integer) i);
		json_t *item = convert(c, lua_gettop(c->L), depth + 1);
		lua_pop(c->L, 1);
		if (!item || json_array_append_new(array, item) != 0)
			return fail(c, array, "out of memory");
	}
	return array;
}

static json_t *convert_object(struct conversion *c, int index, int depth)
{
	json_t *object = json_object();
	lua_pushnil(c->L);
	while (object && lua_next(c->L, index)) {
		const char *key = lua_type(c->L, -2) == LUA_TSTRING ? lua_tostring(c->L, -2) : NULL;
		json_t *value = key ? convert(c, lua_gettop(c->L), depth + 1) : NULL;
		if (!key || !value || json_object_set_new(object, key, value) != 0) {
			lua_pop(c->L, 2);
			return fail(c, object, key ? "a field name is not UTF-8" : "it mixes a list and named fields");
		}
		lua_pop(c->L, 1);
	}
	return object;
}

static json_t *convert_table(struct conversion *c, int index, int depth)
{
	if (depth > DEPTH_MAX || !lua_checkstack(c->L, 8))
		return fail(c, NULL, "it is nested too deeply, or in itself");
	size_t n = lua_rawlen(c->L, index), keys = 0;
	lua_pushnil(c->L);
	while (lua_next(c->L, index)) {
		lua_pop(c->L, 1);
		keys++;
	}
	if (n > 0 && keys == n)
		return convert_array(c, index, n, depth);
	return convert_object(c, index, depth);
}

static json_t *convert(struct conversion *c, int index, int depth)
{
	size_t len;
	const char *text;
	json_t *value;
	if (++c->nodes > NODES_MAX)
		return fail(c, NULL, "it is too large");
	switch (lua_type(c->L, index)) {
	case LUA_TBOOLEAN: return json_boolean(lua_toboolean(c->L, index));
	case LUA_TNUMBER:
		if (lua_isinteger(c->L, index))
			return json_integer(lua_tointeger(c->L, index));
		if (!isfinite(lua_tonumber(c->L, index)))
			return fail(c, NULL, "a number is not finite");
		return json_real(lua_tonumber(c->L, index));
	case LUA_TSTRING:
		text = lua_tolstring(c->L, index, &len);
		value = json_stringn(text, len);
		return value ? value : fail(c, NULL, "a text is not UTF-8");
	case LUA_TTABLE: return convert_table(c, index, depth);
	default: return fail(c, NULL, "it holds a function or another value that is no data");
	}
}

json_t *lua_to_json(lua_State *L, int index, const char **why)
{
	struct conversion c = { .L = L };
	json_t *value = convert(&c, lua_absindex(L, index), 0);
	if (why)
		*why = c.why;
	return value;
}

void json_to_lua(lua_State *L, const json_t *value)
{
	const char *key;
	json_t *member;
	size_t i;
	luaL_checkstack(L, 4, NULL);
	switch (value ? json_typeof(value) : JSON_NULL) {
	case JSON_OBJECT:
		lua_newtable(L);
		json_object_foreach((json_t *) value, key, member) {
			lua_pushstring(L, key);
			json_to_lua(L, member);
			lua_rawset(L, -3);
		}
		break;
	case JSON_ARRAY:
		lua_newtable(L);
		json_array_foreach(value, i, member) {
			json_to_lua(L, member);
			lua_rawseti(L, -2, (lua_Integer) i + 1);
		}
		break;
	case JSON_STRING: lua_pushlstring(L, json_string_value(value), json_string_length(value)); break;
	case JSON_INTEGER: lua_pushinteger(L, json_integer_value(value)); break;
	case JSON_REAL: lua_pushnumber(L, json_real_value(value)); break;
	case JSON_TRUE: lua_pushboolean(L, 1); break;
	case JSON_FALSE: lua_pushboolean(L, 0); break;
	default: lua_pushnil(L);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* requires.c - what an engine cannot do without: fields that its file declares, looked for in each model that sluice
 * would start on it. */
#include <stdio.h>
#include <string.h>

#include "core/conf/internal.h"

enum { REQUIRES_MAX = 16 };

/* Fields of a model that may be left out and have no default that could stand in for them. */
static const char *const known[] = { "weights", "served_name", "gpu_kind", "memory", "context", NULL };

static bool is_option(const char *field)
{
	return strncmp(field, "options.", strlen("options.")) == 0 && field[strlen("options.")];
}

static bool is_known(const char *field)
{
	for (int i = 0; known[i]; i++)
		if (strcmp(known[i], field) == 0)
			return true;
	return is_option(field);
}

int engine_take_requires(lua_State *L, struct loader *l, struct conf_engine *engine)
{
	engine->requires = arena_alloc(&l->conf->arena, REQUIRES_MAX * sizeof *engine->requires);
	engine->n_requires = 0;
	if (lua_getfield(L, -1, "requires") == LUA_TNIL || !engine->requires) {
		lua_pop(L, 1);
		return 0;
	}
	if (lua_type(L, -1) != LUA_TTABLE)
		return luaL_error(L, "requires: expected a table such as { weights = \"a folder\" }");
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		const char *field = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
		if (!is_known(field)) {
			const char *near = str_nearest(str_of(field), known);
			return luaL_error(L, "requires: a model has no field '%s' that could be missing%s%s%s", field, near ? ": did you mean '" : "",
			                  near ? near : "", near ? "'?" : "");
		}
		if (lua_type(L, -1) != LUA_TSTRING)
			return luaL_error(L, "requires.%s: expected words that say what it must be", field);
		if (engine->n_requires == REQUIRES_MAX)
			return luaL_error(L, "requires: more than %d fields", REQUIRES_MAX);
		engine->requires[engine->n_requires++] = (struct conf_requirement){ loader_strdup(l, str_of(field)),
			loader_strdup(l, str_of(lua_tostring(L, -1))) };
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	return 0;
}

static bool is_set(const struct conf_model *m, const char *field)
{
	const char *text = strcmp(field, "weights") == 0 ? m->weights : strcmp(field, "served_name") == 0 ? m->served_name
	                   : strcmp(field, "gpu_kind") == 0 ? m->gpu_kind : NULL;
	if (strcmp(field, "memory") == 0)
		return m->gpu_memory > 0;
	if (strcmp(field, "context") == 0)
		return m->context > 0;
	if (is_option(field))
		return json_object_get(m->options, field + strlen("options.")) != NULL;
	return text && text[0];
}

bool engine_requires_met(struct loader *l, const struct conf_engine *engine, const struct conf_model *model)
{
	bool met = true;
	for (size_t i = 0; i < engine->n_requires; i++) {
		const struct conf_requirement *r = &engine->requires[i];
		if (is_set(model, r->field))
			continue;
		finding(l, model->place, "field '%s' is missing in model \"%s\": engine '%s' needs it, %s", r->field,
		        model->name, engine->name, r->what);
		met = false;
	}
	return met;
}

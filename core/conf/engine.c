/* SPDX-License-Identifier: Apache-2.0 */
/* engine.c - engine files: what one kind of inference server is like, and the command that starts it. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/conf/internal.h"

enum { ARGUMENTS_MAX = 512 };

const char *const conf_door_names[CONF_DOORS + 1] = { "", "chat", "completions", "embeddings", "responses", "rerank", "score",
	"messages", "count_tokens", NULL };

struct engine_reader {
	struct loader *l;
	struct conf_engine *engine;
	const char *wrong; /* first field that is not as it should be */
};

static void take_text(struct engine_reader *r, lua_State *L, const char *field, const char **out)
{
	int type = lua_getfield(L, -1, field);
	if (type == LUA_TSTRING)
		*out = loader_strdup(r->l, str_of(lua_tostring(L, -1)));
	else if (type != LUA_TNIL)
		r->wrong = field;
	lua_pop(L, 1);
}

static void take_bool(struct engine_reader *r, lua_State *L, const char *field, bool *out)
{
	int type = lua_getfield(L, -1, field);
	if (type == LUA_TBOOLEAN)
		*out = lua_toboolean(L, -1);
	else if (type != LUA_TNIL)
		r->wrong = field;
	lua_pop(L, 1);
}

static void take_full(struct engine_reader *r, lua_State *L)
{
	if (lua_getfield(L, -1, "full") == LUA_TTABLE) {
		size_t n = lua_rawlen(L, -1);
		if (n > 3)
			r->wrong = "full";
		for (size_t i = 0; i < n && n <= 3; i++) {
			lua_rawgeti(L, -1, (lua_Integer) i + 1);
			lua_Integer status = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
			if (status < 400 || status > 599)
				r->wrong = "full";
			r->engine->full_status[i] = (int) status;
			lua_pop(L, 1);
		}
	} else if (!lua_isnil(L, -1)) {
		r->wrong = "full";
	}
	lua_pop(L, 1);
}

static void take_strip(struct engine_reader *r, lua_State *L)
{
	static const char *nothing[] = { NULL };
	r->engine->strip = nothing;
	if (lua_getfield(L, -1, "strip") == LUA_TTABLE) {
		size_t n = lua_rawlen(L, -1);
		const char **strip = n <= CONF_STRIP_MAX ? arena_alloc(&r->l->conf->arena, (n + 1) * sizeof *strip) : NULL;
		if (!strip)
			r->wrong = "strip";
		for (size_t i = 0; strip && i < n; i++) {
			lua_rawgeti(L, -1, (lua_Integer) i + 1);
			const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
			if (!name[0] || strlen(name) > CONF_STRIP_NAME_MAX)
				r->wrong = "strip";
			strip[i] = loader_strdup(r->l, str_of(name));
			lua_pop(L, 1);
		}
		if (strip)
			r->engine->strip = strip;
	} else if (!lua_isnil(L, -1)) {
		r->wrong = "strip";
	}
	lua_pop(L, 1);
}

/* doors = { "chat", ... }: what it serves. */
static void take_doors(struct engine_reader *r, lua_State *L)
{
	int type = lua_getfield(L, -1, "doors");
	size_t n = type == LUA_TTABLE ? lua_rawlen(L, -1) : 0;
	r->engine->doors = type == LUA_TNIL ? CONF_DOORS_DEFAULT : 0;
	for (size_t i = 0; i < n && i < CONF_DOORS; i++) {
		lua_rawgeti(L, -1, (lua_Integer) i + 1);
		const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
		unsigned door = 1;
		while (conf_door_names[door] && strcmp(conf_door_names[door], name) != 0)
			door++;
		if (door == CONF_DOORS)
			r->wrong = "doors";
		else
			r->engine->doors |= 1u << door;
		lua_pop(L, 1);
	}
	if (!r->engine->doors || n >= CONF_DOORS)
		r->wrong = "doors";
	lua_pop(L, 1);
}

/* step = { base =, prefill =, quadratic =, sequence =, context = }, milliseconds. */
static void take_step(struct engine_reader *r, lua_State *L)
{
	struct conf_step *step = &r->engine->step;
	const struct {
		const char *name;
		double *value;
	} parts[] = { { "base", &step->base }, { "prefill", &step->prefill }, { "quadratic", &step->quadratic },
		{ "sequence", &step->sequence }, { "context", &step->context } };
	enum { N = sizeof parts / sizeof parts[0], MS_MAX = 100000 };
	int type = lua_getfield(L, -1, "step"), known = 0, given = 0;
	for (int i = 0; i < N && type == LUA_TTABLE; i++) {
		if (lua_getfield(L, -1, parts[i].name) != LUA_TNIL) {
			double value = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
			if (!(value >= 0 && value <= MS_MAX))
				r->wrong = "step";
			*parts[i].value = value;
			known++;
		}
		lua_pop(L, 1);
	}
	for (bool more = type == LUA_TTABLE && (lua_pushnil(L), lua_next(L, -2)); more; more = lua_next(L, -2)) {
		lua_pop(L, 1);
		given++;
	}
	if ((type != LUA_TTABLE && type != LUA_TNIL) || given != known || (type == LUA_TTABLE && (step->base <= 0 || step->prefill <= 0)))
		r->wrong = "step";
	lua_pop(L, 1);
}

/* The only argument is the reader, below the engine's table. */
static int read_engine(lua_State *L)
{
	static const char *const known[] = { "name", "summary", "health", "metrics", "unix_socket", "usage_option",
		"usage_running", "usage_of_one", "full", "strip", "doors", "keepalive", "close_after_stream", "step", "requires",
		"command", NULL };
	struct engine_reader *r = lua_touserdata(L, 1);
	struct conf_engine *engine = r->engine;
	lua_settop(L, 2);
	luaL_checktype(L, 2, LUA_TTABLE);
	lua_pushnil(L);
	while (lua_next(L, 2)) {
		lua_pop(L, 1);
		const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "?";
		bool fine = false;
		for (int i = 0; known[i]; i++)
			fine = fine || strcmp(known[i], name) == 0;
		if (!fine) {
			const char *near = str_nearest(str_of(name), known);
			return luaL_error(L, "unknown field '%s'%s%s%s", name, near ? ": did you mean '" : "", near ? near : "",
			                  near ? "'?" : "");
		}
	}
	engine->health_path = "/health";
	engine->keepalive_ms = 4000;
	take_text(r, L, "summary", &engine->summary);
	take_text(r, L, "health", &engine->health_path);
	take_text(r, L, "metrics", &engine->metrics_path);
	take_bool(r, L, "unix_socket", &engine->unix_socket);
	take_bool(r, L, "usage_option", &engine->usage_option);
	take_bool(r, L, "usage_running", &engine->usage_running);
	take_bool(r, L, "usage_of_one", &engine->usage_of_one);
	take_bool(r, L, "close_after_stream", &engine->close_after_stream);
	take_full(r, L);
	take_strip(r, L);
	take_doors(r, L);
	take_step(r, L);
	engine_take_requires(L, r->l, engine);
	lua_getfield(L, -1, "keepalive");
	if (!lua_isnil(L, -1) && !value_duration_ms(L, -1, &engine->keepalive_ms))
		r->wrong = "keepalive";
	lua_pop(L, 1);
	int type = lua_getfield(L, -1, "command");
	if (type != LUA_TNIL && type != LUA_TFUNCTION)
		r->wrong = "command";
	engine->can_start = type == LUA_TFUNCTION;
	return 0;
}

/* Leaves the table that the engine's file returns on the stack. */
static int run_engine(struct sandbox *sandbox, sl_str source, const char *shown, sl_error *error)
{
	int rc = sandbox ? sandbox_load(sandbox, source, shown, error) : error_set(error, SL_ENOMEM, "out of memory");
	if (rc == SL_OK) {
		sandbox_lock(sandbox);
		rc = sandbox_call(sandbox, 0, 1, error);
	}
	if (rc == SL_OK && lua_type(sandbox_lua(sandbox), -1) != LUA_TTABLE)
		rc = error_set(error, SL_EINVAL, "%s must return a table", shown);
	return rc;
}

/* Of the site (engines/ beside sluice.lua) or of the library. */
static struct source *find_engine(struct loader *l, const char *name, sl_error *error)
{
	char path[1024], file[128], shown[128];
	snprintf(file, sizeof file, "engines/%s.lua", name);
	snprintf(shown, sizeof shown, "%s", file);
	snprintf(path, sizeof path, "%s/%s", l->folder, file);
	if (!l->folder[0] || access(path, F_OK) != 0)
		conf_library_path(file, path, sizeof path);
	return source_read(l, path, shown, error);
}

/* The engine file whose name is nearest, among those that are installed. Empty: none is near. */
static void nearest_engine(const char *wanted, char out[SL_NAME_MAX])
{
	enum { NAMES_MAX = 64 };
	char folder[4096], names[NAMES_MAX][SL_NAME_MAX];
	const char *list[NAMES_MAX + 1];
	size_t n = 0;
	out[0] = '\0';
	conf_library_path("engines", folder, sizeof folder);
	DIR *dir = opendir(folder);
	for (struct dirent *entry; dir && n < NAMES_MAX && (entry = readdir(dir));) {
		size_t len = strlen(entry->d_name);
		if (len <= 4 || strcmp(entry->d_name + len - 4, ".lua") != 0 || len - 4 >= SL_NAME_MAX)
			continue;
		str_copy(names[n], SL_NAME_MAX, (sl_str){ entry->d_name, len - 4 });
		list[n] = names[n];
		n++;
	}
	if (dir)
		closedir(dir);
	list[n] = NULL;
	const char *near = str_nearest(str_of(wanted), list);
	if (near)
		str_copy(out, SL_NAME_MAX, str_of(near));
}

void engine_load(struct loader *l, const struct conf_model *model)
{
	struct subject subject = { "model", model->name, model->place };
	struct conf_place place = field_place(l, &subject, "engine");
	sl_error error = { 0 };
	if (!name_valid(model->engine, true)) {
		finding(l, place, "engine '%s': a name has at most 63 letters, digits and . _ -", model->engine);
		return;
	}
	struct source *source = find_engine(l, model->engine, &error);
	if (!source) {
		char near[SL_NAME_MAX];
		nearest_engine(model->engine, near);
		if (error.code == SL_ENOTFOUND)
			finding(l, place, "engine '%s' of model \"%s\" has no file%s%s%s (%s)", model->engine, model->name,
			        near[0] ? ": did you mean '" : "", near, near[0] ? "'?" : "", error.text);
		else
			finding(l, place, "engine '%s': %s", model->engine, error.text);
		return;
	}
	struct conf_engine engine = { .name = model->engine, .path = source->path, .source = source->text };
	struct engine_reader reader = { l, &engine, NULL };
	struct sandbox *sandbox = sandbox_open(NULL);
	int rc = run_engine(sandbox, source->text, source->shown, &error);
	if (rc == SL_OK) {
		lua_State *L = sandbox_lua(sandbox);
		lua_pushcfunction(L, read_engine);
		lua_insert(L, -2);
		lua_pushlightuserdata(L, &reader);
		lua_insert(L, -2);
		rc = sandbox_call(sandbox, 2, 0, &error);
	}
	if (rc == SL_OK && reader.wrong)
		rc = error_set(&error, SL_EINVAL, "%s: field '%s' is not as it must be", source->shown, reader.wrong);
	struct conf_engine *item = rc == SL_OK ? list_add(l, &l->engines) : NULL;
	if (item)
		*item = engine;
	if (rc != SL_OK)
		finding(l, place, "engine '%s': %s", model->engine, error.text);
	sandbox_close(sandbox);
}

struct command {
	const struct conf_model *model;
	const char *replica, *listen;
	json_t *argv, *env;
	const char *why;
};

static void set_text(lua_State *L, const char *name, const char *text)
{
	if (!text)
		return;
	lua_pushstring(L, text);
	lua_setfield(L, -2, name);
}

static void set_integer(lua_State *L, const char *name, int64_t value)
{
	lua_pushinteger(L, value);
	lua_setfield(L, -2, name);
}

static void push_model(lua_State *L, const struct conf_model *m)
{
	lua_newtable(L);
	set_text(L, "name", m->name);
	set_text(L, "served_name", m->served_name ? m->served_name : m->name);
	set_text(L, "weights", m->weights);
	set_integer(L, "gpus", m->gpus);
	set_integer(L, "context", m->context);
	set_integer(L, "concurrency", m->concurrency);
	json_to_lua(L, m->options);
	lua_setfield(L, -2, "options");
}

static void push_listen(lua_State *L, const char *listen)
{
	lua_newtable(L);
	set_text(L, "address", listen);
	const char *colon = strrchr(listen, ':');
	if (strncmp(listen, "unix:", 5) == 0) {
		set_text(L, "unix", listen + 5);
	} else if (colon) {
		size_t skip = listen[0] == '[' && colon > listen + 1 ? 1 : 0; /* [::1]:9000 */
		lua_pushlstring(L, listen + skip, (size_t) (colon - listen) - 2 * skip);
		lua_setfield(L, -2, "host");
		lua_pushinteger(L, strtol(colon + 1, NULL, 10));
		lua_setfield(L, -2, "port");
	}
}

/* Arguments: the command, the engine's table. */
static int call_command(lua_State *L)
{
	struct command *c = lua_touserdata(L, 1);
	if (lua_getfield(L, 2, "command") != LUA_TFUNCTION)
		return luaL_error(L, "this engine has no command: sluice cannot start it");
	push_model(L, c->model);
	lua_pushstring(L, c->replica);
	push_listen(L, c->listen);
	lua_call(L, 3, 2);
	if (lua_type(L, -2) != LUA_TTABLE)
		return luaL_error(L, "command() must return a list of arguments");
	c->argv = lua_to_json(L, -2, &c->why);
	if (lua_isnil(L, -1))
		c->env = json_object();
	else if (c->argv)
		c->env = lua_type(L, -1) == LUA_TTABLE ? lua_to_json(L, -1, &c->why) : NULL;
	return 0;
}

/* Numbers become text; anything else but text is refused. */
static bool all_text(json_t *argv)
{
	size_t i;
	json_t *item;
	json_array_foreach(argv, i, item) {
		char number[48];
		if (json_is_integer(item))
			snprintf(number, sizeof number, "%lld", (long long) json_integer_value(item));
		else if (json_is_real(item))
			snprintf(number, sizeof number, "%.14g", json_real_value(item));
		else if (json_is_string(item) && strlen(json_string_value(item)) == json_string_length(item))
			continue;
		else
			return false;
		json_array_set_new(argv, i, json_string(number));
	}
	return json_array_size(argv) > 0 && json_array_size(argv) <= ARGUMENTS_MAX &&
	       json_string_length(json_array_get(argv, 0)) > 0;
}

static bool valid_env(json_t *env)
{
	const char *name;
	json_t *value;
	json_object_foreach(env, name, value)
		if (!name[0] || strchr(name, '=') || !json_is_string(value) ||
		    strlen(json_string_value(value)) != json_string_length(value))
			return false;
	return json_is_object(env);
}

static int make_command(const struct conf_engine *engine, const struct conf_model *model, const char *replica,
                        const char *listen, json_t **argv, json_t **env, sl_error *error)
{
	char shown[96];
	snprintf(shown, sizeof shown, "engines/%s.lua", engine->name);
	struct command c = { .model = model, .replica = replica, .listen = listen };
	struct sandbox *sandbox = sandbox_open(NULL);
	int rc = run_engine(sandbox, engine->source, shown, error);
	if (rc == SL_OK) {
		lua_State *L = sandbox_lua(sandbox);
		lua_pushcfunction(L, call_command);
		lua_insert(L, -2);
		lua_pushlightuserdata(L, &c);
		lua_insert(L, -2);
		rc = sandbox_call(sandbox, 2, 0, error);
	}
	if (rc == SL_OK && (!json_is_array(c.argv) || !all_text(c.argv)))
		rc = error_set(error, SL_EINVAL, "%s: command() must return a list of texts and numbers%s%s", shown,
		               c.why ? ": " : "", c.why ? c.why : "");
	if (rc == SL_OK && !valid_env(c.env))
		rc = error_set(error, SL_EINVAL, "%s: command()'s second value must be a table of texts, name = value", shown);
	sandbox_close(sandbox);
	if (rc != SL_OK) {
		json_decref(c.argv);
		json_decref(c.env);
		return rc;
	}
	*argv = c.argv;
	*env = c.env;
	return SL_OK;
}

int conf_engine_command(const struct conf *conf, const struct conf_model *model, const char *replica, const char *listen,
                        json_t **argv, json_t **env, sl_error *error)
{
	const struct conf_engine *engine = conf_engine(conf, str_of(model->engine));
	if (!engine)
		return error_set(error, SL_ENOTFOUND, "model %s has no engine '%s'", model->name, model->engine);
	return make_command(engine, model, replica, listen, argv, env, error);
}

void engine_try(struct loader *l, const struct conf_engine *engine, const struct conf_model *model)
{
	struct subject subject = { "model", model->name, model->place };
	json_t *argv = NULL, *env = NULL;
	sl_error error = { 0 };
	char replica[SL_NAME_MAX];
	snprintf(replica, sizeof replica, "%.40s/r1", model->name);
	bool tcp = !engine->unix_socket || json_is_false(json_object_get(model->options, "unix_socket"));
	if (make_command(engine, model, replica, tcp ? "127.0.0.1:1" : "unix:/r1.sock", &argv, &env, &error) != SL_OK)
		finding(l, field_place(l, &subject, "engine"), "engine '%s' has no command for model \"%s\": %s", engine->name, model->name,
		        error.text);
	json_decref(argv);
	json_decref(env);
}

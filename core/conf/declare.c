/* SPDX-License-Identifier: Apache-2.0 */
/* declare.c - the functions that sluice.lua calls: listen "...", model "name" { ... }, include "...". */
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "core/conf/internal.h"

static struct loader *loader_of(lua_State *L)
{
	return lua_touserdata(L, lua_upvalueindex(1));
}

/* A setting of the file itself: workers(2), listen "...". Upvalue 2: its field. */
static int setting(lua_State *L)
{
	struct loader *l = loader_of(L);
	const struct conf_field *field = lua_touserdata(L, lua_upvalueindex(2));
	struct subject subject = { .place = caller_place(l, L) };
	if (lua_gettop(L) != 1)
		finding(l, subject.place, "%s takes one value", field->name);
	else
		read_field(l, L, field, &subject, l->conf);
	return 0;
}

/* A block without a name: limits { ... }. Upvalue 2: the block's name. */
static int block(lua_State *L)
{
	struct loader *l = loader_of(L);
	const char *name = lua_tostring(L, lua_upvalueindex(2));
	struct subject subject = { name, NULL, caller_place(l, L) };
	lua_settop(L, 1);
	read_block(l, L, name, &subject, l->conf);
	return 0;
}

/* A kind of thing that is declared by name. */
struct named {
	const char *kind;
	size_t list, item_place; /* offsets: of the list in the loader, of the place in an item */
	bool narrow;             /* names without '/' and ':' */
	void (*fresh)(struct loader *l, void *item);
};

static void fresh_tier(struct loader *l, void *item)
{
	(void) l;
	((struct conf_tier *) item)->weight = 1;
}

static void fresh_queue(struct loader *l, void *item)
{
	(void) l;
	struct conf_queue *q = item;
	q->quota = q->borrow = q->lend = q->per_user = -1;
	q->weight = 1;
	q->reclaim = q->preempt = true;
}

static void fresh_cohort(struct loader *l, void *item)
{
	(void) l;
	struct conf_cohort *c = item;
	c->borrow = c->lend = -1;
}

static void fresh_model(struct loader *l, void *item)
{
	(void) l;
	struct conf_model *m = item;
	m->gpus = -1; /* not said */
	m->replicas_max = 1;
	m->concurrency = 8;
	m->waiting_max = 256;
	m->wait_ms = 60000;
	m->idle_ms = 600000;
	m->start_ms = 300000;
	m->drain_ms = 30000;
	m->first_byte_ms = 300000;
	m->silence_ms = 60000;
	m->max_output = 1024;
	m->index_blocks = 1000000;
}

static const struct named kinds[] = {
	{ "kind", offsetof(struct loader, kinds), offsetof(struct conf_kind, place), false, NULL },
	{ "model", offsetof(struct loader, models), offsetof(struct conf_model, place), false, fresh_model },
	{ "tier", offsetof(struct loader, tiers), offsetof(struct conf_tier, place), true, fresh_tier },
	{ "tenant", offsetof(struct loader, tenants), offsetof(struct conf_tenant, place), true, NULL },
	{ "queue", offsetof(struct loader, queues), offsetof(struct conf_queue, place), true, fresh_queue },
	{ "cohort", offsetof(struct loader, cohorts), offsetof(struct conf_cohort, place), true, fresh_cohort },
};

/* An item's first member is its name, whatever the kind. */
static const char *item_name(const struct list *list, size_t i)
{
	const char *name;
	memcpy(&name, (const char *) list->items + i * list->size, sizeof name);
	return name;
}

/* The second half of model "name" { ... }. Upvalues: loader, kind, index of the item. */
static int named_body(lua_State *L)
{
	struct loader *l = loader_of(L);
	const struct named *kind = lua_touserdata(L, lua_upvalueindex(2));
	struct list *list = (struct list *) ((char *) l + kind->list);
	size_t i = (size_t) lua_tointeger(L, lua_upvalueindex(3));
	char *item = (char *) list->items + i * list->size;
	struct subject subject = { kind->kind, item_name(list, i), { 0 } };
	memcpy(&subject.place, item + kind->item_place, sizeof subject.place);
	if (!lua_toboolean(L, lua_upvalueindex(4))) {
		finding(l, caller_place(l, L), "%s \"%s\" has a second table", kind->kind, subject.name);
		return 0;
	}
	lua_pushboolean(L, 0);
	lua_replace(L, lua_upvalueindex(4));
	lua_settop(L, 1);
	read_block(l, L, kind->kind, &subject, item);
	return 0;
}

static void check_duplicate(struct loader *l, const struct named *kind, const struct list *list, const char *name,
                            struct conf_place place)
{
	for (size_t i = 0; i < list->n; i++) {
		if (strcmp(item_name(list, i), name) != 0)
			continue;
		struct conf_place first;
		memcpy(&first, (const char *) list->items + i * list->size + kind->item_place, sizeof first);
		finding(l, place, "%s \"%s\" stands at %s:%d already", kind->kind, name, first.file, first.line);
		return;
	}
}

static int named(lua_State *L)
{
	struct loader *l = loader_of(L);
	const struct named *kind = lua_touserdata(L, lua_upvalueindex(2));
	struct list *list = (struct list *) ((char *) l + kind->list);
	struct conf_place place = caller_place(l, L);
	const char *name = lua_type(L, 1) == LUA_TSTRING ? lua_tostring(L, 1) : NULL;
	if (!name)
		return luaL_error(L, "%s takes a name and a table: %s \"name\" { ... }", kind->kind, kind->kind);
	if (!name_valid(name, kind->narrow))
		finding(l, place, "%s \"%.80s\": a name has at most 63 letters, digits and %s", kind->kind, name,
		        kind->narrow ? ". _ -" : ". _ : / -");
	check_duplicate(l, kind, list, name, place);
	char *item = list_add(l, list);
	if (!item)
		return luaL_error(L, "more than %d declarations of a %s", (int) list->max, kind->kind);
	const char *copy = loader_strdup(l, str_of(name));
	memcpy(item, &copy, sizeof copy);
	memcpy(item + kind->item_place, &place, sizeof place);
	if (kind->fresh)
		kind->fresh(l, item);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_pushvalue(L, lua_upvalueindex(2));
	lua_pushinteger(L, (lua_Integer) list->n - 1);
	lua_pushboolean(L, 1);
	lua_pushcclosure(L, named_body, 4);
	return 1;
}

/* The options of plugin "kind/name" { ... }. */
static int plugin_body(lua_State *L)
{
	struct loader *l = loader_of(L);
	struct conf_plugin *plugin = (struct conf_plugin *) l->plugins.items + lua_tointeger(L, lua_upvalueindex(2));
	const char *why = "a table is expected";
	lua_settop(L, 1);
	if (lua_type(L, 1) == LUA_TTABLE) {
		lua_pushliteral(L, "optional");
		if (lua_rawget(L, 1) != LUA_TNIL) {
			plugin->optional = lua_toboolean(L, -1);
			lua_pushliteral(L, "optional");
			lua_pushnil(L);
			lua_rawset(L, 1);
		}
		lua_settop(L, 1);
	}
	json_t *options = lua_type(L, 1) == LUA_TTABLE ? lua_to_json(L, 1, &why) : NULL;
	if (!json_is_object(options)) {
		finding(l, plugin->place, "options of plugin \"%s/%s\" must be a table of named fields (%s)", plugin->kind,
		        plugin->name, options ? "this is a list" : why);
		json_decref(options);
		return 0;
	}
	json_decref(plugin->options);
	plugin->options = options;
	return 0;
}

static int plugin(lua_State *L)
{
	static const char *const words[] = { "backend", "scheduler", "auth", "store", "launcher", NULL };
	struct loader *l = loader_of(L);
	struct conf_place place = caller_place(l, L);
	const char *text = lua_type(L, 1) == LUA_TSTRING ? lua_tostring(L, 1) : "";
	const char *slash = strchr(text, '/');
	sl_str kind = { text, slash ? (size_t) (slash - text) : strlen(text) };
	bool known = false;
	for (int i = 0; words[i]; i++)
		known = known || str_eq(kind, str_of(words[i]));
	if (!slash || !slash[1] || strlen(text) > 1024)
		return luaL_error(L, "plugin takes \"kind/name\", such as \"scheduler/fifo\", or \"scheduler//path/of/file.so\"");
	if (!known) {
		const char *near = str_nearest(kind, words);
		finding(l, place, "plugin \"%s\": there is no kind '%.*s'%s%s%s", text, STR_ARG(kind), near ? ": did you mean '" : "",
		        near ? near : "", near ? "'?" : "");
	}
	struct conf_plugin *item = list_add(l, &l->plugins);
	if (!item)
		return luaL_error(L, "more than %d plugins", CONF_PLUGINS_MAX);
	item->kind = loader_strdup(l, kind);
	item->name = loader_strdup(l, str_of(slash + 1));
	item->place = place;
	item->options = json_object();
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_pushinteger(L, (lua_Integer) l->plugins.n - 1);
	lua_pushcclosure(L, plugin_body, 2);
	return 1;
}

static void run_include(struct loader *l, lua_State *L, const char *path, struct conf_place place)
{
	sl_error error = { 0 };
	size_t prefix = strlen(l->folder) + 1;
	const char *shown = strncmp(path, l->folder, prefix - 1) == 0 && path[prefix - 1] == '/' ? path + prefix : path;
	for (size_t i = 0; i < l->n_sources; i++)
		if (strcmp(l->sources[i].path, path) == 0) {
			finding(l, place, "include \"%s\": this file is read already", shown);
			return;
		}
	struct source *source = source_read(l, path, shown, &error);
	if (!source) {
		finding(l, place, "include: %s", error.text);
		return;
	}
	char chunk[PATH_MAX + 1];
	snprintf(chunk, sizeof chunk, "@%s", source->shown);
	if (luaL_loadbufferx(L, source->text.ptr, source->text.len, chunk, "t") != LUA_OK)
		lua_error(L);
	lua_call(L, 0, 0);
}

static int include(lua_State *L)
{
	struct loader *l = loader_of(L);
	struct conf_place place = caller_place(l, L);
	const char *given = luaL_checkstring(L, 1);
	char pattern[PATH_MAX];
	int n = snprintf(pattern, sizeof pattern, "%s%s%s", given[0] == '/' ? "" : l->folder, given[0] == '/' ? "" : "/", given);
	if (n < 0 || (size_t) n >= sizeof pattern)
		return luaL_error(L, "include: the path is too long");
	glob_t *found = lua_newuserdatauv(L, sizeof *found, 0); /* an error may unwind past us: see below */
	int rc = glob(pattern, GLOB_NOSORT | GLOB_NOMAGIC, NULL, found);
	if (rc == GLOB_NOMATCH && strpbrk(given, "*?[")) {
		warning(l, place, "include \"%s\": no file matches", given);
		return 0;
	}
	if (rc != 0)
		return luaL_error(L, "include \"%s\": %s", given, rc == GLOB_NOMATCH ? "no such file" : "cannot read the folder");
	lua_newtable(L); /* the names as Lua text: nothing of glob's stays behind when a file raises */
	for (size_t i = 0; i < found->gl_pathc && i < CONF_FILES_MAX; i++) {
		if (strlen(found->gl_pathv[i]) >= PATH_MAX)
			continue;
		lua_pushstring(L, found->gl_pathv[i]);
		lua_rawseti(L, -2, (lua_Integer) i + 1);
	}
	globfree(found);
	lua_getglobal(L, "table");
	lua_getfield(L, -1, "sort");
	lua_pushvalue(L, -3);
	lua_call(L, 1, 0);
	lua_pop(L, 1);
	for (lua_Integer i = 1; lua_rawgeti(L, -1, i) == LUA_TSTRING; i++) {
		run_include(l, L, lua_tostring(L, -1), place);
		lua_pop(L, 1);
	}
	return 0;
}

int declare_setup(lua_State *L)
{
	static const char *const blocks[] = { "agent", "page", "limits", "retry", "log", "journal", "ledger", NULL };
	struct loader *l = lua_touserdata(L, 1);
	for (const struct conf_field *f = conf_fields; f->name; f++) {
		if (f->block[0])
			continue;
		lua_pushlightuserdata(L, l);
		lua_pushlightuserdata(L, (void *) f);
		lua_pushcclosure(L, setting, 2);
		sandbox_provide(L, f->name);
	}
	for (int i = 0; blocks[i]; i++) {
		lua_pushlightuserdata(L, l);
		lua_pushstring(L, blocks[i]);
		lua_pushcclosure(L, block, 2);
		sandbox_provide(L, blocks[i]);
	}
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		lua_pushlightuserdata(L, l);
		lua_pushlightuserdata(L, (void *) &kinds[i]);
		lua_pushcclosure(L, named, 2);
		sandbox_provide(L, kinds[i].kind);
	}
	lua_pushlightuserdata(L, l);
	lua_pushcclosure(L, plugin, 1);
	sandbox_provide(L, "plugin");
	lua_pushlightuserdata(L, l);
	lua_pushcclosure(L, include, 1);
	sandbox_provide(L, "include");
	return 0;
}

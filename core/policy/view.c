/* SPDX-License-Identifier: Apache-2.0 */
/* view.c - requests, models and replicas as Lua sees them: userdata whose fields are read from C when they are
 * used. No table is built for a call, and a view that outlives its request says so. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "core/policy/internal.h"

static const char kind_prompt[] = "sluice.prompt", kind_tenant[] = "sluice.tenant", kind_tier[] = "sluice.tier",
		  kind_model[] = "sluice.model", kind_replicas[] = "sluice.replicas", kind_signals[] = "sluice.signals";
const char policy_kind_limits[] = "sluice.limits", policy_kind_replica[] = "sluice.replica",
	   policy_kind_request[] = "sluice.request", policy_kind_denial[] = "sluice.denial";

/* User values of views: the owner of the box, then the views that belong to this one. */
enum { OWNER = 1, REQUEST_PROMPT = 2, REQUEST_TENANT = 3, REQUEST_TIER = 4, TIER_LIMITS = 2, MODEL_REPLICAS = 2,
       REPLICAS_POOL = 2 };

lua_Integer policy_field_number(lua_State *L)
{
	lua_pushvalue(L, 2);
	if (lua_rawget(L, lua_upvalueindex(1)) == LUA_TNUMBER)
		return lua_tointeger(L, 3);
	const char *names[32];
	size_t n = 0;
	const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?";
	lua_pushnil(L);
	while (lua_next(L, lua_upvalueindex(1))) {
		lua_pop(L, 1);
		if (n + 1 < sizeof names / sizeof names[0])
			names[n++] = lua_tostring(L, -1);
	}
	names[n] = NULL;
	const char *near = str_nearest(str_of(name), names);
	return luaL_error(L, "%s has no field '%s'%s%s%s", lua_tostring(L, lua_upvalueindex(2)), name,
	                  near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static const struct policy_request *request_of(lua_State *L)
{
	const struct policy_view *view = lua_touserdata(L, 1);
	if (!view->box->request)
		luaL_error(L, "this request is over: keep what you need of it in local variables");
	return view->box->request;
}

static void push_optional(lua_State *L, const char *text)
{
	if (text[0])
		lua_pushstring(L, text);
	else
		lua_pushnil(L);
}

enum { R_MODEL = 1, R_ASKED, R_DOOR, R_STREAM, R_TENANT, R_USER, R_KEY, R_TIER, R_PEER, R_PROMPT, R_MAX_OUTPUT, R_N,
       R_PROMPTS, R_TIME };
static const char *const request_fields[] = { "model", "asked", "door", "stream", "tenant", "user", "key", "tier", "peer",
	"prompt", "max_output", "n", "prompts", "time", NULL };

static int request_index(lua_State *L)
{
	lua_Integer field = policy_field_number(L);
	const struct policy_request *r = request_of(L);
	switch (field) {
	case R_MODEL:
		if (r->model)
			lua_pushstring(L, r->model->name);
		else
			lua_pushlstring(L, r->model_name.ptr ? r->model_name.ptr : "", r->model_name.len);
		break;
	case R_ASKED: lua_pushlstring(L, r->model_name.ptr ? r->model_name.ptr : "", r->model_name.len); break;
	case R_DOOR: lua_pushlstring(L, r->door.ptr ? r->door.ptr : "", r->door.len); break;
	case R_STREAM: lua_pushboolean(L, r->stream); break;
	case R_TENANT: lua_getiuservalue(L, 1, REQUEST_TENANT); break;
	case R_USER: push_optional(L, r->identity->user); break;
	case R_KEY: push_optional(L, r->identity->key); break;
	case R_TIER: lua_getiuservalue(L, 1, REQUEST_TIER); break;
	case R_PEER: lua_pushlstring(L, r->peer.ptr ? r->peer.ptr : "", r->peer.len); break;
	case R_PROMPT: lua_getiuservalue(L, 1, REQUEST_PROMPT); break;
	case R_MAX_OUTPUT:
		if (r->max_output >= 0)
			lua_pushinteger(L, r->max_output);
		else
			lua_pushnil(L);
		break;
	case R_N: lua_pushinteger(L, r->n); break;
	case R_PROMPTS: lua_pushinteger(L, r->prompts); break;
	default: lua_pushinteger(L, (lua_Integer) (r->wall_ms / 1000));
	}
	return 1;
}

static const char *const prompt_fields[] = { "bytes", "tokens", NULL };

static int prompt_index(lua_State *L)
{
	lua_Integer field = policy_field_number(L);
	const struct policy_request *r = request_of(L);
	lua_pushinteger(L, field == 1 ? r->prompt_bytes : r->prompt_tokens);
	return 1;
}

static const char *const tenant_fields[] = { "name", NULL };

static int tenant_index(lua_State *L)
{
	policy_field_number(L);
	lua_pushstring(L, request_of(L)->identity->tenant);
	return 1;
}

/* tier:allows("model") */
static int tier_allows(lua_State *L)
{
	if (!policy_to_view(L, 1, kind_tier))
		return luaL_error(L, "write req.tier:allows(name), with a colon");
	const struct policy_request *r = request_of(L);
	lua_pushboolean(L, policy_tier_allows(r->tier, r->model, luaL_checkstring(L, 2)));
	return 1;
}

enum { T_NAME = 1, T_LIMITS, T_PRIORITY, T_WEIGHT, T_MAX_OUTPUT, T_ALLOWS };
static const char *const tier_fields[] = { "name", "limits", "priority", "weight", "max_output", "allows", NULL };

static int tier_index(lua_State *L)
{
	lua_Integer field = policy_field_number(L);
	const struct conf_tier *tier = request_of(L)->tier;
	switch (field) {
	case T_NAME: lua_pushstring(L, tier->name); break;
	case T_LIMITS: lua_getiuservalue(L, 1, TIER_LIMITS); break;
	case T_PRIORITY: lua_pushinteger(L, tier->priority); break;
	case T_WEIGHT: lua_pushinteger(L, tier->weight); break;
	case T_MAX_OUTPUT: lua_pushinteger(L, tier->max_output); break;
	default: lua_pushcfunction(L, tier_allows);
	}
	return 1;
}

/* tier.limits + { more }: a list with the handle in front. */
static int limits_add(lua_State *L)
{
	lua_settop(L, 2);
	lua_newtable(L);
	lua_Integer used = 0;
	for (int side = 1; side <= 2; side++) {
		if (lua_type(L, side) != LUA_TTABLE) {
			lua_pushvalue(L, side);
			lua_rawseti(L, 3, ++used);
			continue;
		}
		bool list = lua_rawgeti(L, side, 1) != LUA_TNIL;
		lua_pop(L, 1);
		if (!list) { /* one limit: { tokens = 100, per = "minute" } */
			lua_pushvalue(L, side);
			lua_rawseti(L, 3, ++used);
			continue;
		}
		for (lua_Integer i = 1; i <= POLICY_LIMITS_MAX && lua_rawgeti(L, side, i) != LUA_TNIL; i++)
			lua_rawseti(L, 3, ++used);
		lua_settop(L, 3);
	}
	return 1;
}

static int limits_length(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer) request_of(L)->tier->n_limits);
	return 1;
}

static const char *const no_fields[] = { NULL };

static int limits_index(lua_State *L)
{
	return (int) policy_field_number(L);
}

static const struct conf_model *model_of(lua_State *L)
{
	const struct policy_view *view = lua_touserdata(L, 1);
	if (!view->box->model)
		luaL_error(L, "this model belongs to a call that is over");
	return view->box->model;
}

enum { M_NAME = 1, M_CONTEXT, M_MAX_OUTPUT, M_CONCURRENCY, M_GPUS, M_MIN, M_MAX, M_IDLE, M_REPLICAS };
static const char *const model_fields[] = { "name", "context", "max_output", "concurrency", "gpus", "min", "max", "idle",
	"replicas", NULL };

static int model_index(lua_State *L)
{
	lua_Integer field = policy_field_number(L);
	const struct conf_model *m = model_of(L);
	switch (field) {
	case M_NAME: lua_pushstring(L, m->name); break;
	case M_CONTEXT: lua_pushinteger(L, m->context); break;
	case M_MAX_OUTPUT: lua_pushinteger(L, m->max_output); break;
	case M_CONCURRENCY: lua_pushinteger(L, m->concurrency); break;
	case M_GPUS: lua_pushinteger(L, m->gpus); break;
	case M_MIN: lua_pushinteger(L, m->replicas_min); break;
	case M_MAX: lua_pushinteger(L, m->replicas_max); break;
	case M_IDLE: lua_pushnumber(L, (double) m->idle_ms / 1000); break;
	default: lua_getiuservalue(L, 1, MODEL_REPLICAS);
	}
	return 1;
}

static void new_view(lua_State *L, struct policy_box *box, const char *kind, int values, int owner)
{
	struct policy_view *view = lua_newuserdatauv(L, sizeof *view, values);
	view->box = box;
	view->index = 0;
	luaL_setmetatable(L, kind);
	if (owner) {
		lua_pushvalue(L, owner);
		lua_setiuservalue(L, -2, OWNER);
	}
}

/* The i-th replica; views are made once and kept. nil behind the last, so that ipairs ends. */
static int replicas_index(lua_State *L)
{
	struct policy_view *view = lua_touserdata(L, 1);
	int exact = 0;
	lua_Integer i = lua_type(L, 2) == LUA_TNUMBER ? lua_tointegerx(L, 2, &exact) : 0;
	if (!exact)
		return luaL_error(L, "replicas are numbered 1 to %d", (int) view->box->n_replicas);
	if (i < 1 || (size_t) i > view->box->n_replicas) {
		lua_pushnil(L);
		return 1;
	}
	lua_getiuservalue(L, 1, REPLICAS_POOL);
	if (lua_rawgeti(L, -1, i) == LUA_TUSERDATA)
		return 1;
	lua_pop(L, 1);
	lua_getiuservalue(L, 1, OWNER);
	new_view(L, view->box, policy_kind_replica, 1, lua_gettop(L));
	((struct policy_view *) lua_touserdata(L, -1))->index = (unsigned) (i - 1);
	lua_pushvalue(L, -1);
	lua_rawseti(L, -4, i);
	return 1;
}

static int replicas_length(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer) ((struct policy_view *) lua_touserdata(L, 1))->box->n_replicas);
	return 1;
}

enum { P_NAME = 1, P_STATE, P_RUNNING, P_WAITING, P_CONCURRENCY };
static const char *const replica_fields[] = { "name", "state", "running", "waiting", "concurrency", NULL };

static int replica_index(lua_State *L)
{
	lua_Integer field = policy_field_number(L);
	const struct policy_view *view = lua_touserdata(L, 1);
	if (view->index >= view->box->n_replicas)
		return luaL_error(L, "this replica belongs to a call that is over");
	const struct policy_replica *r = &view->box->replicas[view->index];
	switch (field) {
	case P_NAME: lua_pushstring(L, r->name); break;
	case P_STATE: lua_pushstring(L, r->state); break;
	case P_RUNNING: lua_pushinteger(L, r->running); break;
	case P_WAITING: lua_pushinteger(L, r->waiting); break;
	default: lua_pushinteger(L, r->concurrency);
	}
	return 1;
}

enum { S_REPLICAS = 1, S_READY, S_STARTING, S_RUNNING, S_WAITING, S_IDLE, S_ARRIVALS };
static const char *const signal_fields[] = { "replicas", "ready", "starting", "running", "waiting", "idle", "arrivals", NULL };

static int signals_index(lua_State *L)
{
	lua_Integer field = policy_field_number(L);
	const struct policy_signals *s = ((struct policy_view *) lua_touserdata(L, 1))->box->signals;
	if (!s)
		return luaL_error(L, "these signals belong to a call that is over");
	switch (field) {
	case S_REPLICAS: lua_pushinteger(L, s->replicas); break;
	case S_READY: lua_pushinteger(L, s->ready); break;
	case S_STARTING: lua_pushinteger(L, s->starting); break;
	case S_RUNNING: lua_pushinteger(L, s->running); break;
	case S_WAITING: lua_pushinteger(L, s->waiting); break;
	case S_IDLE: lua_pushnumber(L, s->idle_ms == INT64_MAX ? (lua_Number) INT64_MAX : (double) s->idle_ms / 1000); break;
	default: lua_pushnumber(L, s->arrivals);
	}
	return 1;
}

static const char *const denial_fields[] = { "status", "code", "message", NULL };

static int denial_index(lua_State *L)
{
	lua_Integer field = policy_field_number(L);
	const struct policy_denied *d = lua_touserdata(L, 1);
	if (field == 1)
		lua_pushinteger(L, d->denial.status);
	else
		lua_pushstring(L, field == 2 ? d->denial.code : d->denial.message);
	return 1;
}

/* Copies text and cuts it where a character ends. */
static void copy_cut(char *out, size_t room, const char *text, size_t len)
{
	if (len >= room) {
		len = room - 1;
		while (len > 0 && ((unsigned char) text[len] & 0xc0) == 0x80)
			len--;
	}
	memcpy(out, text, len);
	out[len] = '\0';
}

int policy_deny(lua_State *L)
{
	size_t code_len, words_len;
	lua_Integer status = luaL_checkinteger(L, 1);
	const char *code = luaL_checklstring(L, 2, &code_len);
	const char *words = luaL_checklstring(L, 3, &words_len);
	luaL_argcheck(L, status >= 400 && status <= 599, 1, "a status from 400 to 599 expected");
	luaL_argcheck(L, code_len > 0 && code_len < 64 && strspn(code, "abcdefghijklmnopqrstuvwxyz0123456789_") == code_len, 2,
	              "a code of at most 63 small letters, digits and _ expected");
	luaL_argcheck(L, words_len > 0, 3, "words for the person who is denied expected");
	struct policy_denied *d = lua_newuserdatauv(L, sizeof *d, 0);
	memset(d, 0, sizeof *d);
	d->denial.status = (int) status;
	memcpy(d->denial.code, code, code_len);
	copy_cut(d->denial.message, sizeof d->denial.message, words, words_len);
	lua_Debug ar;
	if (lua_getstack(L, 1, &ar) && lua_getinfo(L, "Sl", &ar) && ar.currentline > 0)
		snprintf(d->where, sizeof d->where, "%s:%d", ar.short_src, ar.currentline);
	luaL_setmetatable(L, policy_kind_denial);
	return 1;
}

/* In tests two results are compared by what they say; views by what they show. */
static int view_equal(lua_State *L)
{
	const struct policy_view *a = lua_touserdata(L, 1), *b = lua_touserdata(L, 2);
	lua_pushboolean(L, a && b && a->box == b->box && a->index == b->index);
	return 1;
}

struct view_type {
	const char *kind, *word; /* "sluice.request", "a request" */
	const char *const *fields;
	lua_CFunction index;
};
static const struct view_type types[] = {
	{ policy_kind_request, "the request", request_fields, request_index },
	{ kind_prompt, "req.prompt", prompt_fields, prompt_index },
	{ kind_tenant, "req.tenant", tenant_fields, tenant_index },
	{ kind_tier, "req.tier", tier_fields, tier_index },
	{ policy_kind_limits, "req.tier.limits", no_fields, limits_index },
	{ kind_model, "the model", model_fields, model_index },
	{ kind_replicas, "model.replicas", no_fields, replicas_index },
	{ policy_kind_replica, "a replica", replica_fields, replica_index },
	{ kind_signals, "the signals", signal_fields, signals_index },
	{ policy_kind_event, "the event", policy_event_fields, policy_event_index },
	{ policy_kind_denial, "a denial", denial_fields, denial_index },
};

static int read_only(lua_State *L)
{
	return luaL_error(L, "fields cannot be set here: return what you want instead");
}

static void make_type(lua_State *L, const struct view_type *type)
{
	luaL_newmetatable(L, type->kind);
	lua_pushvalue(L, -1);
	lua_rawsetp(L, LUA_REGISTRYINDEX, type->kind);
	lua_newtable(L);
	for (int i = 0; type->fields[i]; i++) {
		lua_pushinteger(L, i + 1);
		lua_setfield(L, -2, type->fields[i]);
	}
	lua_pushstring(L, type->word);
	lua_pushcclosure(L, type->index, 2);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, read_only);
	lua_setfield(L, -2, "__newindex");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	if (type->kind == policy_kind_limits) {
		lua_pushcfunction(L, limits_add);
		lua_setfield(L, -2, "__add");
		lua_pushcfunction(L, limits_length);
		lua_setfield(L, -2, "__len");
	} else if (type->kind == kind_replicas) {
		lua_pushcfunction(L, replicas_length);
		lua_setfield(L, -2, "__len");
	} else if (type->kind == policy_kind_replica) {
		lua_pushcfunction(L, view_equal);
		lua_setfield(L, -2, "__eq");
	}
	lua_pop(L, 1);
}

/* Names that requests carry stay alive, so that pushing them finds them instead of making them. */
static void keep_names(lua_State *L, const struct conf *conf)
{
	static const char *const words[] = { "chat", "completions", "embeddings", "ready", "starting", "draining", NULL };
	static const char key;
	lua_newtable(L);
	lua_Integer n = 0;
	for (int i = 0; words[i]; i++) {
		lua_pushstring(L, words[i]);
		lua_rawseti(L, -2, ++n);
	}
	for (size_t i = 0; i < conf->by_model.n; i++) {
		lua_pushstring(L, conf->by_model.entries[i].name);
		lua_rawseti(L, -2, ++n);
	}
	for (size_t i = 0; i < conf->n_tiers; i++) {
		lua_pushstring(L, conf->tiers[i].name);
		lua_rawseti(L, -2, ++n);
	}
	lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
}

void policy_view_setup(lua_State *L, struct policy *p)
{
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
		make_type(L, &types[i]);
	keep_names(L, p->conf);
}

static void attach(lua_State *L, int view, int value)
{
	lua_setiuservalue(L, view, value);
}

void policy_push_request(lua_State *L, struct policy_box *box, int owner)
{
	new_view(L, box, policy_kind_request, 4, owner);
	int view = lua_gettop(L);
	new_view(L, box, kind_prompt, 1, owner);
	attach(L, view, REQUEST_PROMPT);
	new_view(L, box, kind_tenant, 1, owner);
	attach(L, view, REQUEST_TENANT);
	new_view(L, box, kind_tier, 2, owner);
	new_view(L, box, policy_kind_limits, 1, owner);
	attach(L, view + 1, TIER_LIMITS);
	attach(L, view, REQUEST_TIER);
}

void policy_push_model(lua_State *L, struct policy_box *box, int owner)
{
	new_view(L, box, kind_model, 2, owner);
	int view = lua_gettop(L);
	new_view(L, box, kind_replicas, 2, owner);
	lua_newtable(L);
	attach(L, view + 1, REPLICAS_POOL);
	attach(L, view, MODEL_REPLICAS);
}

void policy_push_signals(lua_State *L, struct policy_box *box, int owner)
{
	new_view(L, box, kind_signals, 1, owner);
}

void policy_push_event(lua_State *L, struct policy_box *box, int owner)
{
	new_view(L, box, policy_kind_event, 1, owner);
}

/* luaL_testudata by the address of the kind, which needs no text to be looked up. */
static void *test_kind(lua_State *L, int index, const char *kind)
{
	void *data = lua_touserdata(L, index);
	if (!data || !lua_getmetatable(L, index))
		return NULL;
	lua_rawgetp(L, LUA_REGISTRYINDEX, kind);
	bool same = lua_rawequal(L, -1, -2);
	lua_pop(L, 2);
	return same ? data : NULL;
}

struct policy_view *policy_to_view(lua_State *L, int index, const char *kind)
{
	return test_kind(L, index, kind);
}

struct policy_denied *policy_to_denied(lua_State *L, int index)
{
	return test_kind(L, index, policy_kind_denial);
}

int policy_kind(lua_State *L)
{
	luaL_checkany(L, 1);
	for (size_t i = 0; lua_type(L, 1) == LUA_TUSERDATA && i < sizeof types / sizeof types[0]; i++)
		if (test_kind(L, 1, types[i].kind)) {
			lua_pushstring(L, types[i].kind + sizeof "sluice." - 1);
			return 1;
		}
	lua_pushstring(L, luaL_typename(L, 1));
	return 1;
}

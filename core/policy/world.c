/* SPDX-License-Identifier: Apache-2.0 */
/* world.c - requests, fleets, signals and lease requests that tests make up. */
#include <stdint.h>
#include <string.h>

#include "core/policy/internal.h"

enum { FLEET_MAX = 64, TEXT_MAX = 256 };

/* A userdata that owns all that its views show. */
struct world {
	struct policy_box box;
	struct policy_request request;
	struct policy_signals signals;
	struct policy_lease_request lease;
	char lease_text[7][SL_NAME_MAX];
	sl_identity identity;
	struct conf_tier tier;
	struct conf_model model;
	struct policy_replica replicas[FLEET_MAX];
	char tier_name[SL_NAME_MAX], model_name[SL_NAME_MAX], door[32], peer[64];
	char replica_name[FLEET_MAX][SL_NAME_MAX], replica_state[FLEET_MAX][16];
};

static struct world *new_world(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	struct world *w = lua_newuserdatauv(L, sizeof *w, 0); /* at index 2 */
	memset(w, 0, sizeof *w);
	return w;
}

/* Every key of the table at the index must be in the list. */
static void check_fields(lua_State *L, int index, const char *what, const char *const *names)
{
	lua_pushnil(L);
	while (lua_next(L, index)) {
		lua_pop(L, 1);
		if (lua_type(L, -1) != LUA_TSTRING)
			continue;
		const char *name = lua_tostring(L, -1);
		bool known = false;
		for (int i = 0; names[i]; i++)
			known = known || strcmp(names[i], name) == 0;
		const char *near = known ? NULL : str_nearest(str_of(name), names);
		if (!known)
			luaL_error(L, "%s has no field '%s'%s%s%s", what, name, near ? ": did you mean '" : "", near ? near : "",
			           near ? "'?" : "");
	}
}

static void text_field(lua_State *L, int index, const char *name, const char *fallback, char *out, size_t room)
{
	int type = lua_getfield(L, index, name);
	if (type != LUA_TNIL && type != LUA_TSTRING)
		luaL_error(L, "field '%s' must be text, not a %s value", name, luaL_typename(L, -1));
	if (!str_copy(out, room, str_of(type == LUA_TSTRING ? lua_tostring(L, -1) : fallback)))
		luaL_error(L, "field '%s' is too long", name);
	lua_pop(L, 1);
}

static int64_t integer_field(lua_State *L, int index, const char *name, int64_t fallback)
{
	int exact = 1;
	int64_t value = fallback;
	if (lua_getfield(L, index, name) != LUA_TNIL)
		value = lua_type(L, -1) == LUA_TNUMBER ? lua_tointegerx(L, -1, &exact) : (exact = 0);
	if (!exact)
		luaL_error(L, "field '%s' must be a whole number", name);
	lua_pop(L, 1);
	return value;
}

static double number_field(lua_State *L, int index, const char *name, double fallback)
{
	double value = fallback;
	if (lua_getfield(L, index, name) != LUA_TNIL)
		value = luaL_checknumber(L, -1);
	lua_pop(L, 1);
	return value;
}

/* A name, of the configuration where it is declared there, else made up. */
static void take_tier(lua_State *L, struct policy *p, struct world *w)
{
	static const char *const names[] = { "name", "priority", "weight", "max_output", NULL };
	int type = lua_getfield(L, 1, "tier");
	w->tier.weight = 1;
	if (type == LUA_TTABLE) {
		int table = lua_gettop(L);
		check_fields(L, table, "tier", names);
		text_field(L, table, "name", "default", w->tier_name, sizeof w->tier_name);
		w->tier.priority = (int) integer_field(L, table, "priority", 0);
		w->tier.weight = (int) integer_field(L, table, "weight", 1);
		w->tier.max_output = integer_field(L, table, "max_output", 0);
		lua_pop(L, 1);
	} else {
		lua_pop(L, 1);
		text_field(L, 1, "tier", "default", w->tier_name, sizeof w->tier_name);
		const struct conf_tier *declared = conf_tier(p->conf, str_of(w->tier_name));
		if (declared)
			w->tier = *declared;
	}
	w->tier.name = w->tier_name;
	w->request.tier = &w->tier;
}

static void take_model(lua_State *L, struct policy *p, struct world *w, int index)
{
	text_field(L, index, "model", "test-model", w->model_name, sizeof w->model_name);
	const struct conf_model *declared = conf_model(p->conf, str_of(w->model_name));
	if (declared)
		w->model = *declared;
	else
		w->model = (struct conf_model){ .name = w->model_name, .concurrency = 8, .replicas_max = 1000, .max_output = 1024,
			                        .idle_ms = 600000 };
	w->box.model = &w->model;
	w->request.model_name = str_of(w->model_name);
}

static void take_prompt(lua_State *L, struct world *w)
{
	static const char *const names[] = { "bytes", "tokens", NULL };
	w->request.prompt_tokens = 10;
	w->request.prompt_bytes = 40;
	if (lua_getfield(L, 1, "prompt") == LUA_TTABLE) {
		int table = lua_gettop(L);
		check_fields(L, table, "prompt", names);
		w->request.prompt_tokens = integer_field(L, table, "tokens", 10);
		w->request.prompt_bytes = integer_field(L, table, "bytes", 4 * w->request.prompt_tokens);
	} else if (!lua_isnil(L, -1)) {
		luaL_error(L, "field 'prompt' must be a table such as { tokens = 100 }");
	}
	lua_pop(L, 1);
}

int policy_test_request(lua_State *L)
{
	static const char *const names[] = { "model", "tier", "tenant", "user", "key", "door", "peer", "stream", "prompt",
		"max_output", "n", "prompts", "time", NULL };
	struct policy *p = lua_touserdata(L, lua_upvalueindex(1));
	struct world *w = new_world(L);
	check_fields(L, 1, "request", names);
	w->identity.size = sizeof w->identity;
	w->identity.roles = SL_ROLE_INFER;
	w->request.identity = &w->identity;
	take_tier(L, p, w);
	take_model(L, p, w, 1);
	w->request.model = &w->model;
	text_field(L, 1, "tenant", "default", w->identity.tenant, sizeof w->identity.tenant);
	text_field(L, 1, "user", "", w->identity.user, sizeof w->identity.user);
	text_field(L, 1, "key", "slk_test", w->identity.key, sizeof w->identity.key);
	text_field(L, 1, "door", "chat", w->door, sizeof w->door);
	text_field(L, 1, "peer", "127.0.0.1", w->peer, sizeof w->peer);
	w->request.door = str_of(w->door);
	w->request.peer = str_of(w->peer);
	lua_getfield(L, 1, "stream");
	w->request.stream = lua_toboolean(L, -1);
	lua_pop(L, 1);
	take_prompt(L, w);
	w->request.max_output = integer_field(L, 1, "max_output", -1);
	w->request.n = integer_field(L, 1, "n", 1);
	w->request.prompts = integer_field(L, 1, "prompts", 1);
	w->request.wall_ms = (uint64_t) integer_field(L, 1, "time", 1764000000) * 1000;
	w->box.request = &w->request;
	policy_push_request(L, &w->box, 2);
	return 1;
}

static void take_replica(lua_State *L, struct world *w, int table, size_t i)
{
	static const char *const names[] = { "name", "state", "running", "waiting", "concurrency", NULL };
	char fallback[] = "r00";
	fallback[1] = (char) ('0' + i / 10);
	fallback[2] = (char) ('0' + i % 10);
	check_fields(L, table, "a replica", names);
	text_field(L, table, "name", fallback, w->replica_name[i], SL_NAME_MAX);
	text_field(L, table, "state", "ready", w->replica_state[i], sizeof w->replica_state[i]);
	w->replicas[i] = (struct policy_replica){ w->replica_name[i], w->replica_state[i],
		(int) integer_field(L, table, "running", 0), (int) integer_field(L, table, "waiting", 0),
		(int) integer_field(L, table, "concurrency", 8) };
}

/* fleet { model = "llama-8b", { name = "r1", running = 2 }, { name = "r2" } } */
int policy_test_fleet(lua_State *L)
{
	static const char *const names[] = { "model", NULL };
	struct policy *p = lua_touserdata(L, lua_upvalueindex(1));
	struct world *w = new_world(L);
	check_fields(L, 1, "fleet", names);
	take_model(L, p, w, 1);
	size_t n = lua_rawlen(L, 1);
	luaL_argcheck(L, n <= FLEET_MAX, 1, "at most 64 replicas");
	for (size_t i = 0; i < n; i++) {
		if (lua_rawgeti(L, 1, (lua_Integer) i + 1) != LUA_TTABLE)
			return luaL_error(L, "replicas of a fleet are tables such as { name = \"r1\", running = 2 }");
		take_replica(L, w, lua_gettop(L), i);
		lua_pop(L, 1);
	}
	w->box.replicas = w->replicas;
	w->box.n_replicas = n;
	policy_push_model(L, &w->box, 2);
	return 1;
}

int policy_test_signals(lua_State *L)
{
	static const char *const names[] = { "replicas", "ready", "starting", "running", "waiting", "idle", "arrivals", NULL };
	struct world *w = new_world(L);
	check_fields(L, 1, "signals", names);
	w->signals.replicas = (int) integer_field(L, 1, "replicas", 0);
	w->signals.ready = (int) integer_field(L, 1, "ready", w->signals.replicas);
	w->signals.starting = (int) integer_field(L, 1, "starting", 0);
	w->signals.running = (int) integer_field(L, 1, "running", 0);
	w->signals.waiting = (int) integer_field(L, 1, "waiting", 0);
	w->signals.idle_ms = (int64_t) (number_field(L, 1, "idle", 0) * 1000);
	w->signals.arrivals = number_field(L, 1, "arrivals", 0);
	w->box.signals = &w->signals;
	policy_push_signals(L, &w->box, 2);
	return 1;
}

/* event { queue = "research", gpus = 4, user = "dana" } */
int policy_test_event(lua_State *L)
{
	static const char *const names[] = { "name", "tenant", "user", "tier", "queue", "kind", "program", "gpus", "memory", "limit",
		"priority", "detach", "time", NULL };
	static const char *const fallbacks[] = { "job", "default", "someone", "default", "default", "", "python" };
	struct world *w = new_world(L);
	check_fields(L, 1, "event", names);
	const char **texts[] = { &w->lease.name, &w->lease.tenant, &w->lease.user, &w->lease.tier, &w->lease.queue, &w->lease.kind,
		&w->lease.program };
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		text_field(L, 1, names[i], fallbacks[i], w->lease_text[i], SL_NAME_MAX);
		*texts[i] = w->lease_text[i];
	}
	w->lease.gpus = (uint32_t) integer_field(L, 1, "gpus", 1);
	w->lease.memory_bytes = (uint64_t) integer_field(L, 1, "memory", 0);
	w->lease.limit_ms = (uint64_t) integer_field(L, 1, "limit", 0) * 1000;
	w->lease.priority = (int) integer_field(L, 1, "priority", 0);
	w->lease.wall_ms = (uint64_t) integer_field(L, 1, "time", 1764000000) * 1000;
	lua_getfield(L, 1, "detach");
	w->lease.detach = lua_toboolean(L, -1);
	lua_pop(L, 1);
	w->box.lease = &w->lease;
	policy_push_event(L, &w->box, 2);
	return 1;
}

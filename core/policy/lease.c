/* SPDX-License-Identifier: Apache-2.0 */
/* lease.c - lease(event): somebody asks for devices. What the policy sees of it, and what it may say. */
#include <limits.h>
#include <string.h>

#include "core/policy/internal.h"

enum { PRIORITY_MAX = 1000 };

const char policy_kind_event[] = "sluice.event";

enum { E_CHANGE = 1, E_NAME, E_TENANT, E_USER, E_TIER, E_QUEUE, E_KIND, E_PROGRAM, E_GPUS, E_MEMORY, E_LIMIT, E_PRIORITY,
       E_DETACH, E_TIME };
const char *const policy_event_fields[] = { "change", "name", "tenant", "user", "tier", "queue", "kind", "program", "gpus",
	"memory", "limit", "priority", "detach", "time", NULL };

static void push_text(lua_State *L, const char *text)
{
	if (text && text[0])
		lua_pushstring(L, text);
	else
		lua_pushnil(L);
}

int policy_event_index(lua_State *L)
{
	lua_Integer field = policy_field_number(L);
	const struct policy_view *view = lua_touserdata(L, 1);
	const struct policy_lease_request *r = view->box->lease;
	if (!r)
		return luaL_error(L, "this event is over: keep what you need of it in local variables");
	switch (field) {
	case E_CHANGE: lua_pushstring(L, "requested"); break;
	case E_NAME: push_text(L, r->name); break;
	case E_TENANT: push_text(L, r->tenant); break;
	case E_USER: push_text(L, r->user); break;
	case E_TIER: push_text(L, r->tier); break;
	case E_QUEUE: push_text(L, r->queue); break;
	case E_KIND: push_text(L, r->kind); break;
	case E_PROGRAM: push_text(L, r->program); break;
	case E_GPUS: lua_pushinteger(L, r->gpus); break;
	case E_MEMORY: lua_pushinteger(L, (lua_Integer) r->memory_bytes); break;
	case E_LIMIT:
		if (r->limit_ms)
			lua_pushinteger(L, (lua_Integer) (r->limit_ms / 1000));
		else
			lua_pushnil(L);
		break;
	case E_PRIORITY: lua_pushinteger(L, r->priority); break;
	case E_DETACH: lua_pushboolean(L, r->detach); break;
	default: lua_pushinteger(L, (lua_Integer) (r->wall_ms / 1000));
	}
	return 1;
}

void policy_default_lease(const struct policy_lease_request *r, struct policy_lease_terms *out)
{
	*out = (struct policy_lease_terms){ .verdict = POLICY_ALLOW, .priority = r->priority, .limit_ms = r->limit_ms };
	str_copy(out->queue, sizeof out->queue, str_of(r->queue));
}

static void take_queue(lua_State *L, const struct policy *p, struct policy_lease_terms *out)
{
	const char *name = policy_take_text(L, "queue", SL_NAME_MAX - 1);
	if (p->conf->n_queues && !conf_queue(p->conf, str_of(name)))
		luaL_error(L, "lease: queue '%s' is not declared", name);
	str_copy(out->queue, sizeof out->queue, str_of(name));
}

void policy_take_terms(lua_State *L, const struct policy *p, const struct policy_lease_request *r, struct policy_lease_terms *out)
{
	policy_default_lease(r, out);
	const struct policy_denied *denied = policy_to_denied(L, -1);
	if (lua_isnil(L, -1))
		return;
	if (denied) {
		out->verdict = POLICY_DENY;
		out->denial = denied->denial;
		memcpy(out->where, denied->where, sizeof out->where);
		return;
	}
	if (lua_type(L, -1) != LUA_TTABLE)
		luaL_error(L, "lease must return deny(status, code, words), a table or nil, not %s", luaL_tolstring(L, -1, NULL));
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
		if (strcmp(name, "queue") == 0) {
			take_queue(L, p, out);
		} else if (strcmp(name, "priority") == 0) {
			out->priority = (int) policy_take_integer(L, "priority", -PRIORITY_MAX, PRIORITY_MAX);
		} else if (strcmp(name, "limit") == 0) {
			out->limit_ms = (uint64_t) policy_take_integer(L, "limit", 1, INT_MAX) * 1000;
		} else {
			static const char *const names[] = { "queue", "priority", "limit", NULL };
			const char *near = str_nearest(str_of(name), names);
			luaL_error(L, "lease returned a table with the unknown field '%s'%s%s%s", name, near ? ": did you mean '" : "",
			           near ? near : "", near ? "'?" : "");
		}
		lua_pop(L, 1);
	}
}

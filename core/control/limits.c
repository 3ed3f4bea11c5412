/* SPDX-License-Identifier: Apache-2.0 */
/* limits.c - what is used and left of the limits of a key, or of all that a tenant's limits count. */
#include <stdio.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/control/inner.h"

enum { ROWS_MAX = 1000 }; /* of keys, users and models with use, in one answer */

/* Whose limits. */
struct holder {
	bool all; /* the tenant with all its keys and users */
	char key[SL_KEY_PREFIX_MAX], user[SL_NAME_MAX], tenant[SL_NAME_MAX];
};

/* The complete scope of a limit on keys, users or tenants, as it is applied to requests: a key's falls back to its user,
 * then to the tenant. */
static void complete_scope(const char *scope, const struct holder *h, char out[QUOTA_SCOPE_MAX])
{
	bool key = strcmp(scope, "key") == 0, user = strcmp(scope, "user") == 0;
	if (key && h->key[0])
		snprintf(out, QUOTA_SCOPE_MAX, "key:%s", h->key);
	else if ((key || user) && h->user[0])
		snprintf(out, QUOTA_SCOPE_MAX, "user:%s/%s", h->tenant, h->user);
	else
		snprintf(out, QUOTA_SCOPE_MAX, "tenant:%s", h->tenant);
}

static void read_state(struct call *call, const struct quota_limit *limit, struct quota_state *out)
{
	struct quota_now now = { .mono_ms = control_now_ms(), .wall_ms = clock_wall_ms() };
	quota_read(call->control->quota, now, limit, out);
}

static json_t *find_in(json_t *list, const char *member, const char *name)
{
	json_t *one, *found = NULL;
	size_t i;
	json_array_foreach(list, i, one)
		if (strcmp(json_get_str(one, member, ""), name) == 0)
			found = json_incref(one);
	json_decref(list);
	return found;
}

/* From ?key= or ?tenant=, else the caller. False: answered. */
static bool read_holder(struct call *call, struct holder *h)
{
	char key[SL_NAME_MAX], tenant[SL_NAME_MAX];
	*h = (struct holder){ 0 };
	if (call_query(call, "key", key, sizeof key)) {
		json_t *found = find_in(identity_keys(call->control->identity, (sl_str){ 0 }, clock_wall_ms()), "key", key);
		str_copy(h->key, sizeof h->key, str_of(json_get_str(found, "key", "")));
		str_copy(h->user, sizeof h->user, str_of(json_get_str(found, "user", "")));
		str_copy(h->tenant, sizeof h->tenant, str_of(json_get_str(found, "tenant", "")));
		json_decref(found);
		if (h->key[0] && (call_is_operator(call) || strcmp(h->tenant, call->who.tenant) == 0))
			return true;
		call_fail(call, 404, "unknown_key", "key", "sluicectl keys", "there is no key '%s'", key);
		return false;
	}
	if (!call_query(call, "tenant", tenant, sizeof tenant)) {
		str_copy(h->key, sizeof h->key, str_of(call->who.key));
		str_copy(h->user, sizeof h->user, str_of(call->who.user));
		str_copy(h->tenant, sizeof h->tenant, str_of(call->who.tenant));
		return true;
	}
	str_copy(h->tenant, sizeof h->tenant, str_of(tenant));
	h->all = true;
	if (call_is_operator(call) ? identity_has_tenant(call->control->identity, str_of(tenant))
	                           : strcmp(tenant, call->who.tenant) == 0)
		return true;
	call_fail(call, 404, "unknown_tenant", "tenant", "sluicectl tenants", "there is no tenant '%s'", tenant);
	return false;
}

/* A limit that each key, user or model has of its own: the limit, without use, for nobody in particular. */
static json_t *each_json(const struct quota_limit *limit, const char *word)
{
	json_t *row = policy_limit_json(limit, &(struct quota_state){ 0 });
	json_object_set_new(row, "scope", json_sprintf("each %s", word));
	static const char *const unknown[] = { "used", "reserved", "resets_in_s" };
	for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
		json_object_set_new(row, unknown[i], json_null());
	return row;
}

/* Adds the counter of a scope if it counts something. */
static void add_used(struct call *call, json_t *out, const struct quota_limit *limit, const char *scope)
{
	struct quota_limit own = *limit;
	struct quota_state state;
	str_copy(own.scope, sizeof own.scope, str_of(scope));
	read_state(call, &own, &state);
	if ((state.used || state.reserved) && json_array_size(out) < ROWS_MAX)
		json_array_append_new(out, policy_limit_json(&own, &state));
}

/* The counters of a tenant's keys or users: what a limit of such a scope really counts. */
static void add_keys(struct call *call, json_t *out, const struct quota_limit *limit, const struct holder *h, json_t *keys)
{
	bool of_users = strcmp(limit->scope, "user") == 0;
	json_t *key, *seen = json_object();
	size_t i;
	json_array_foreach(keys, i, key) {
		struct holder one = *h;
		char scope[QUOTA_SCOPE_MAX];
		str_copy(one.user, sizeof one.user, str_of(json_get_str(key, "user", "")));
		if (!of_users)
			str_copy(one.key, sizeof one.key, str_of(json_get_str(key, "key", "")));
		complete_scope(limit->scope, &one, scope);
		if (!json_object_get(seen, scope))
			add_used(call, out, limit, scope);
		json_object_set_new(seen, scope, json_true());
	}
	json_decref(seen);
}

static void add_models(struct call *call, json_t *out, const struct quota_limit *limit)
{
	const struct conf *conf = call->control->conf;
	for (size_t i = 0; i < conf->n_models && call_is_operator(call); i++) { /* it counts other tenants too */
		char scope[QUOTA_SCOPE_MAX];
		snprintf(scope, sizeof scope, "model:%s", conf->models[i].name);
		add_used(call, out, limit, scope);
	}
}

static void add_limit(struct call *call, json_t *out, const struct quota_limit *limit, const struct holder *h, json_t *keys)
{
	struct quota_limit own = *limit;
	struct quota_state state;
	bool shared = strcmp(limit->scope, "model") == 0;
	if (!shared && (!h->all || strcmp(limit->scope, "tenant") == 0)) {
		complete_scope(limit->scope, h, own.scope);
		read_state(call, &own, &state);
		json_array_append_new(out, policy_limit_json(&own, &state));
		return;
	}
	json_array_append_new(out, each_json(limit, limit->scope));
	if (shared)
		add_models(call, out, limit);
	else
		add_keys(call, out, limit, h, keys);
}

void control_limits(struct call *call)
{
	struct holder holder;
	if (!read_holder(call, &holder))
		return;
	json_t *tenant = find_in(identity_tenants(call->control->identity), "tenant", holder.tenant);
	const struct conf_tier *tier = conf_tier(call->control->conf, str_of(json_get_str(tenant, "tier", "")));
	json_t *out = json_array(), *keys = NULL;
	if (holder.all && tier && tier->n_limits)
		keys = identity_keys(call->control->identity, str_of(holder.tenant), clock_wall_ms());
	for (size_t i = 0; tier && i < tier->n_limits; i++)
		add_limit(call, out, &tier->limits[i], &holder, keys);
	json_decref(keys);
	json_decref(tenant);
	call_json(call, 200, out);
}

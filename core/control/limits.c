/* SPDX-License-Identifier: Apache-2.0 */
/* limits.c - what is used and left of the limits of a key or a tenant. */
#include <stdio.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/control/inner.h"

/* Whose limits. */
struct holder {
	char key[SL_KEY_PREFIX_MAX], user[SL_NAME_MAX], tenant[SL_NAME_MAX];
};

/* The complete scope, as the tier's limits are applied to requests: a key's falls back to its user, then to the
 * tenant. False: a scope that is not this holder's alone. */
static bool complete_scope(const char *scope, const struct holder *h, char out[QUOTA_SCOPE_MAX])
{
	bool key = strcmp(scope, "key") == 0, user = strcmp(scope, "user") == 0, tenant = strcmp(scope, "tenant") == 0;
	if (key && h->key[0])
		snprintf(out, QUOTA_SCOPE_MAX, "key:%s", h->key);
	else if ((key || user) && h->user[0])
		snprintf(out, QUOTA_SCOPE_MAX, "user:%s/%s", h->tenant, h->user);
	else if (key || user || tenant)
		snprintf(out, QUOTA_SCOPE_MAX, "tenant:%s", h->tenant);
	return key || user || tenant;
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
	if (call_is_operator(call) ? identity_has_tenant(call->control->identity, str_of(tenant))
	                           : strcmp(tenant, call->who.tenant) == 0)
		return true;
	call_fail(call, 404, "unknown_tenant", "tenant", "sluicectl tenants", "there is no tenant '%s'", tenant);
	return false;
}

void control_limits(struct call *call)
{
	struct holder holder;
	if (!read_holder(call, &holder))
		return;
	json_t *tenant = find_in(identity_tenants(call->control->identity), "tenant", holder.tenant);
	const struct conf_tier *tier = conf_tier(call->control->conf, str_of(json_get_str(tenant, "tier", "")));
	const struct quota_now now = { .mono_ms = control_now_ms(), .wall_ms = clock_wall_ms() };
	json_t *out = json_array();
	for (size_t i = 0; tier && i < tier->n_limits; i++) {
		struct quota_limit limit = tier->limits[i];
		if (complete_scope(tier->limits[i].scope, &holder, limit.scope))
			json_array_append_new(out, policy_limit_json(call->control->quota, now, &limit));
	}
	json_decref(tenant);
	call_json(call, 200, out);
}

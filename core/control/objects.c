/* SPDX-License-Identifier: Apache-2.0 */
/* objects.c - tenants and keys: durable first, then in force, then answered. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/control/inner.h"

/* A change on its way through the ledger. */
struct change {
	char key[2 * SL_NAME_MAX]; /* "tenant/NAME", "key/PREFIX" */
	char *json;                /* NULL: deleted */
	char name[SL_NAME_MAX];    /* NAME or PREFIX */
	char secret[IDENTITY_KEY_LENGTH + 1];
	int status;                /* to answer with */
};

static void free_change(void *data)
{
	struct change *change = data;
	explicit_bzero(change->secret, sizeof change->secret);
	free(change->json);
	free(change);
}

static struct change *change_new(struct call *call, const char *kind, const char *name, int status)
{
	struct change *change = calloc(1, sizeof *change);
	if (!change) {
		call_fail(call, 503, "out_of_memory", NULL, NULL, "out of memory");
		return NULL;
	}
	snprintf(change->key, sizeof change->key, "%s/%s", kind, name);
	str_copy(change->name, sizeof change->name, str_of(name));
	change->status = status;
	call->data = change;
	call->free_data = free_change;
	return change;
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

static json_t *find_tenant(struct call *call, const char *name)
{
	return find_in(identity_tenants(call->control->identity), "tenant", name);
}

static json_t *find_key(struct call *call, const char *prefix)
{
	return find_in(identity_keys(call->control->identity, (sl_str){ 0 }, clock_wall_ms()), "key", prefix);
}

static void in_force(struct call *call)
{
	struct change *change = call->data;
	sl_error error = { 0 };
	bool is_key = str_starts(str_of(change->key), STR("key/"));
	sl_str json = change->json ? str_of(change->json) : (sl_str){ 0 };
	if (identity_apply(call->control->identity, str_of(change->key), json, &error) != SL_OK) {
		log_error("%s is stored but cannot be applied: %s", change->key, error.text);
		call_fail_error(call, &error);
		return;
	}
	if (!change->json) {
		call_json(call, change->status, json_pack("{s:s, s:b}", is_key ? "key" : "tenant", change->name, "deleted", 1));
		return;
	}
	json_t *object = is_key ? find_key(call, change->name) : find_tenant(call, change->name);
	if (!object)
		object = json_pack("{s:s}", is_key ? "key" : "tenant", change->name);
	if (change->secret[0])
		json_object_set_new(object, "secret", json_string(change->secret));
	call_json(call, change->status, object);
}

static void store(struct call *call, struct change *change)
{
	str_copy(call->what, sizeof call->what, str_of(change->key));
	call_append_object(call, str_of(change->key), change->json ? str_of(change->json) : (sl_str){ 0 }, in_force);
}

/* tenants */

void control_tenants(struct call *call)
{
	call_json(call, 200, identity_tenants(call->control->identity));
}

/* What the file declares is changed in the file. */
static bool declared(struct call *call, const char *name)
{
	const struct conf_tenant *tenant = conf_tenant(call->control->conf, str_of(name));
	if (!tenant)
		return false;
	call_fail(call, 409, "declared_in_file", "tenant", "change it there, then: sluicectl reload",
	          "tenant '%s' is declared at %s:%d and cannot be changed here", name, tenant->place.file ? tenant->place.file : "?",
	          tenant->place.line);
	return true;
}

static bool known_queues(struct call *call, const json_t *queues)
{
	for (size_t i = 0; i < json_array_size(queues); i++) {
		const char *name = json_string_value(json_array_get(queues, i));
		if (conf_queue(call->control->conf, str_of(name)))
			continue;
		call_fail(call, 400, "unknown_queue", "queues", "sluicectl config", "queue '%.80s' does not exist", name);
		return false;
	}
	return true;
}

static bool read_tenant(struct call *call, const char **name, json_t **object)
{
	static const char *const fields[] = { "tenant", "tier", "queues", "users", "operators", NULL };
	const char *tier;
	const json_t *queues, *users;
	bool operators;
	if (!call_body(call, fields) || !call_member_str(call, "tenant", "", name) || !call_member_str(call, "tier", "", &tier) ||
	    !call_member_strings(call, "queues", 64, &queues) || !call_member_strings(call, "users", 1024, &users) ||
	    !call_member_bool(call, "operators", false, &operators))
		return false;
	if (!control_is_name(*name)) {
		call_fail(call, 400, "invalid_name", "tenant", NULL, "a tenant's name has letters, digits, '.', '_' and '-', at most %d",
		          SL_NAME_MAX - 1);
		return false;
	}
	if (tier[0] && !conf_tier(call->control->conf, str_of(tier))) {
		call_fail(call, 400, "unknown_tier", "tier", NULL, "tier '%.80s' does not exist", tier);
		return false;
	}
	if (declared(call, *name) || !known_queues(call, queues))
		return false;
	*object = json_pack("{s:s, s:o, s:o, s:b, s:b}", "tier", tier, "queues", queues ? json_copy((json_t *) queues) : json_array(),
	                    "users", users ? json_copy((json_t *) users) : json_array(), "operators", operators, "disabled", 0);
	return true;
}

/* A tenant that is there already keeps what the call leaves out. */
static bool keep_left_out(struct call *call, const char *name, json_t *object)
{
	static const char *const fields[] = { "tier", "queues", "users", "operators" };
	json_t *tenants = identity_tenants(call->control->identity), *old;
	size_t i;
	bool found = false;
	json_array_foreach(tenants, i, old) {
		if (strcmp(json_get_str(old, "tenant", ""), name) != 0)
			continue;
		found = true;
		for (size_t f = 0; f < sizeof fields / sizeof fields[0]; f++)
			if (!json_object_get(call->body, fields[f]) && json_object_get(old, fields[f]))
				json_object_set(object, fields[f], json_object_get(old, fields[f]));
	}
	json_decref(tenants);
	return found;
}

void control_tenant_new(struct call *call)
{
	const char *name;
	json_t *object = NULL;
	if (!read_tenant(call, &name, &object))
		return;
	struct change *change = change_new(call, "tenant", name, keep_left_out(call, name, object) ? 200 : 201);
	if (change && (change->json = json_text(object)))
		store(call, change);
	else
		call_fail(call, 503, "out_of_memory", NULL, NULL, "out of memory");
	json_decref(object);
}

void control_tenant_delete(struct call *call)
{
	char name[SL_NAME_MAX];
	str_copy(name, sizeof name, call->params[0]);
	if (declared(call, name))
		return;
	if (!identity_has_tenant(call->control->identity, call->params[0])) {
		call_fail(call, 404, "unknown_tenant", NULL, "sluicectl tenants", "there is no tenant '%s'", name);
		return;
	}
	json_t *keys = identity_keys(call->control->identity, call->params[0], clock_wall_ms());
	size_t n = json_array_size(keys);
	json_decref(keys);
	if (n) {
		call_fail(call, 409, "tenant_has_keys", NULL, "sluicectl keys", "tenant '%s' has %zu keys: delete them first", name, n);
		return;
	}
	struct change *change = change_new(call, "tenant", name, 200);
	if (change)
		store(call, change);
}

/* keys */

void control_keys(struct call *call)
{
	char tenant[SL_NAME_MAX];
	bool asked = call_query(call, "tenant", tenant, sizeof tenant);
	bool own = asked && strcmp(tenant, call->who.tenant) == 0;
	if (!call_is_admin(call) && asked && !own) {
		call_fail(call, 404, "unknown_tenant", "tenant", NULL, "there is no tenant '%s'", tenant);
		return;
	}
	if (!call_is_admin(call) && !asked)
		str_copy(tenant, sizeof tenant, str_of(call->who.tenant));
	if (!call_is_admin(call) && !tenant[0]) {
		call_json(call, 200, json_array());
		return;
	}
	json_t *keys = identity_keys(call->control->identity, tenant[0] ? str_of(tenant) : (sl_str){ 0 }, clock_wall_ms());
	/* Own things only, as with leases: in the default tenant is everybody. Who has no name is the whole tenant. */
	for (size_t i = json_array_size(keys); !call_is_operator(call) && call->who.user[0] && i-- > 0;)
		if (strcmp(json_get_str(json_array_get(keys, i), "user", ""), call->who.user) != 0)
			json_array_remove(keys, i);
	call_json(call, 200, keys);
}

static void make_key(struct call *call, const struct identity_key_request *request)
{
	char key[SL_NAME_MAX];
	sl_error error = { 0 };
	struct change *change = change_new(call, "key", "", 201);
	if (!change)
		return;
	if (identity_new_key(call->control->identity, request, clock_wall_ms(), change->secret, key, &change->json, &error) != SL_OK) {
		call_fail_error(call, &error);
		return;
	}
	str_copy(change->key, sizeof change->key, str_of(key));
	str_copy(change->name, sizeof change->name, str_of(strchr(key, '/') ? strchr(key, '/') + 1 : key));
	store(call, change);
}

/* A key that administers does not infer: what lies in a program's environment opens no more than models. */
static bool read_roles(struct call *call, uint32_t *roles)
{
	const json_t *words;
	if (!call_member_strings(call, "roles", 4, &words))
		return false;
	bool known = identity_roles_parse(words, roles) && *roles;
	if (known && (*roles == SL_ROLE_INFER || !(*roles & SL_ROLE_INFER)))
		return true;
	call_fail(call, 400, "invalid_roles", "roles", "[\"infer\"], or some of [\"lease\", \"operator\", \"admin\"]", "%s",
	          known ? "a key with the role infer has no other: make two keys" : "roles are infer, lease, operator and admin");
	return false;
}

void control_key_new(struct call *call)
{
	static const char *const fields[] = { "tenant", "user", "name", "expires_s", "roles", NULL };
	const char *tenant, *user, *name;
	int64_t expires_s;
	uint32_t roles;
	if (!call_body(call, fields) || !call_member_str(call, "tenant", "", &tenant) || !call_member_str(call, "user", "", &user) ||
	    !call_member_str(call, "name", "", &name) || !call_member_int(call, "expires_s", 0, INT64_MAX / 2000, 0, &expires_s) ||
	    !read_roles(call, &roles))
		return;
	if (!tenant[0])
		tenant = call->who.tenant;
	if (!tenant[0]) {
		call_fail(call, 400, "missing_tenant", "tenant", "sluicectl tenants", "name the tenant that pays: you belong to none");
		return;
	}
	if (!identity_has_tenant(call->control->identity, str_of(tenant))) {
		call_fail(call, 400, "unknown_tenant", "tenant", "sluicectl tenants", "there is no tenant '%.80s'", tenant);
		return;
	}
	if (strlen(user) >= SL_NAME_MAX || strlen(name) >= SL_NAME_MAX) {
		call_fail(call, 400, "invalid_name", strlen(user) >= SL_NAME_MAX ? "user" : "name", NULL, "names have at most %d characters",
		          SL_NAME_MAX - 1);
		return;
	}
	struct identity_key_request request = {
		.tenant = str_of(tenant), .user = str_of(user), .name = str_of(name), .roles = roles,
		.expires_ms = expires_s ? clock_wall_ms() + (uint64_t) expires_s * 1000 : 0,
	};
	make_key(call, &request);
}

static void set_disabled(struct call *call, bool disabled)
{
	char key[SL_NAME_MAX], name[SL_NAME_MAX];
	sl_error error = { 0 };
	json_t *value = json_boolean(disabled);
	str_copy(name, sizeof name, call->params[0]);
	struct change *change = change_new(call, "key", name, 200);
	if (!change)
		return;
	int code = identity_change_key(call->control->identity, call->params[0], "disabled", value, key, &change->json, &error);
	if (code == SL_ENOTFOUND) {
		call_fail(call, 404, "unknown_key", NULL, "sluicectl keys", "there is no key '%s'", name);
	} else if (code != SL_OK) {
		call_fail_error(call, &error);
	} else {
		str_copy(change->key, sizeof change->key, str_of(key));
		str_copy(change->name, sizeof change->name, str_of(strchr(key, '/') ? strchr(key, '/') + 1 : key));
		store(call, change);
	}
}

void control_key_disable(struct call *call)
{
	set_disabled(call, true);
}

void control_key_enable(struct call *call)
{
	set_disabled(call, false);
}

void control_key_delete(struct call *call)
{
	char name[SL_NAME_MAX];
	str_copy(name, sizeof name, call->params[0]);
	json_t *key = find_key(call, name);
	if (!key) {
		call_fail(call, 404, "unknown_key", NULL, "sluicectl keys", "there is no key '%s'", name);
		return;
	}
	bool disabled = strcmp(json_get_str(key, "state", ""), "disabled") == 0;
	json_decref(key);
	if (!disabled) {
		char cure[2 * SL_NAME_MAX];
		snprintf(cure, sizeof cure, "sluicectl keys disable %s", name);
		call_fail(call, 409, "key_not_disabled", NULL, cure, "key '%s' is not disabled: a key is disabled first, then deleted", name);
		return;
	}
	struct change *change = change_new(call, "key", name, 200);
	if (change)
		store(call, change);
}

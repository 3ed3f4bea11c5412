/* SPDX-License-Identifier: Apache-2.0 */
/* issue.c - new keys, changed keys, and lists of what there is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/identity/internal.h"

static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
enum { BASE = 62, CHECK_CHARS = 6, PREFIX_TRIES = 8 };

/* Each character with equal probability: 248 is the largest multiple of 62 in a byte. */
static bool random_chars(char *out, size_t n)
{
	uint8_t bytes[64];
	for (size_t have = 0; have < n;) {
		if (!hash_random(bytes, sizeof bytes))
			return false;
		for (size_t i = 0; i < sizeof bytes && have < n; i++)
			if (bytes[i] < 4 * BASE)
				out[have++] = alphabet[bytes[i] % BASE];
	}
	explicit_bzero(bytes, sizeof bytes);
	return true;
}

/* The checksum in base 62, most significant digit first. */
static void put_check(char secret[IDENTITY_KEY_LENGTH + 1])
{
	size_t covered = IDENTITY_KEY_LENGTH - CHECK_CHARS;
	uint32_t crc = hash_crc32(secret, covered);
	for (size_t i = IDENTITY_KEY_LENGTH; i > covered; i--, crc /= BASE)
		secret[i - 1] = alphabet[crc % BASE];
	secret[IDENTITY_KEY_LENGTH] = '\0';
}

static bool prefix_taken(struct identity *id, const char *secret)
{
	pthread_rwlock_rdlock(&id->lock);
	bool taken = key_by_prefix(id, (sl_str){ secret, KEY_PREFIX_CHARS }) != NULL;
	pthread_rwlock_unlock(&id->lock);
	return taken;
}

static bool make_secret(struct identity *id, char secret[IDENTITY_KEY_LENGTH + 1])
{
	for (int i = 0; i < PREFIX_TRIES; i++) {
		memcpy(secret, "slk_", 4);
		if (!random_chars(secret + 4, KEY_RANDOM_CHARS))
			return false;
		put_check(secret);
		if (!prefix_taken(id, secret))
			return true;
	}
	return false;
}

static void hex_text(const uint8_t digest[32], char out[65])
{
	for (int i = 0; i < 32; i++)
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

/* The object of a key as identity_apply takes it. New reference. */
static json_t *key_object(sl_str tenant, sl_str user, sl_str name, const uint8_t digest[32], uint32_t roles,
                          uint64_t created_ms, uint64_t expires_ms, bool disabled)
{
	char hex[65];
	json_t *object = json_object();
	hex_text(digest, hex);
	json_set_str(object, "name", name);
	json_set_str(object, "tenant", tenant);
	json_set_str(object, "user", user);
	json_set_str(object, "digest", str_of(hex));
	json_object_set_new(object, "roles", identity_roles_json(roles));
	json_object_set_new(object, "created_ms", json_integer((json_int_t) created_ms));
	json_object_set_new(object, "expires_ms", json_integer((json_int_t) expires_ms));
	json_object_set_new(object, "disabled", json_boolean(disabled));
	return object;
}

static int request_valid(struct identity *id, const struct identity_key_request *r, sl_error *error)
{
	if (!identity_has_tenant(id, r->tenant))
		return error_set(error, SL_ENOTFOUND, "tenant '%.*s' does not exist", STR_ARG(r->tenant));
	if (r->user.len >= SL_NAME_MAX || r->name.len >= SL_NAME_MAX || !str_is_utf8(r->user) || !str_is_utf8(r->name))
		return error_set(error, SL_EINVAL, "user and name have at most %d bytes of UTF-8", SL_NAME_MAX - 1);
	if (r->expires_ms > INT64_MAX)
		return error_set(error, SL_EINVAL, "the key would expire too far in the future");
	pthread_rwlock_rdlock(&id->lock);
	bool full = id->n_keys >= id->keys_max;
	pthread_rwlock_unlock(&id->lock);
	return full ? error_set(error, SL_EFULL, "there are %zu keys, as many as may be: delete some", id->keys_max) : SL_OK;
}

int identity_new_key(struct identity *id, const struct identity_key_request *request, uint64_t wall_ms,
                     char secret[IDENTITY_KEY_LENGTH + 1], char key[SL_NAME_MAX], char **object, sl_error *error)
{
	uint8_t digest[32];
	*object = NULL;
	int code = request_valid(id, request, error);
	if (code != SL_OK)
		return code;
	if (!make_secret(id, secret) || !hash_sha256(secret, IDENTITY_KEY_LENGTH, digest))
		return error_set(error, SL_EINTERNAL, "the system gives no random bytes");
	json_t *made = key_object(request->tenant, request->user, request->name, digest,
	                          request->roles ? request->roles : (uint32_t) SL_ROLE_INFER, wall_ms, request->expires_ms, false);
	*object = json_text(made);
	json_decref(made);
	snprintf(key, SL_NAME_MAX, "key/%.*s", KEY_PREFIX_CHARS, secret);
	return *object ? SL_OK : error_set(error, SL_ENOMEM, "out of memory");
}

int identity_change_key(struct identity *id, sl_str prefix, const char *member, json_t *value, char key[SL_NAME_MAX],
                        char **object, sl_error *error)
{
	static const char *const members[] = { "name", "user", "roles", "expires_ms", "disabled", NULL };
	json_t *changed = NULL;
	*object = NULL;
	int i = 0;
	while (members[i] && !str_eq(str_of(members[i]), str_of(member)))
		i++;
	if (!members[i])
		return error_set(error, SL_EINVAL, "'%s' of a key cannot be changed", member);
	pthread_rwlock_rdlock(&id->lock);
	const struct key *k = key_by_prefix(id, prefix);
	if (k)
		changed = key_object(str_of(k->tenant->name), str_of(key_user(k)), str_of(key_name(k)), k->digest, k->roles,
		                     k->created_ms, k->expires_ms, k->disabled);
	pthread_rwlock_unlock(&id->lock);
	if (!k)
		return error_set(error, SL_ENOTFOUND, "key '%.*s' does not exist", STR_ARG(prefix));
	json_object_set(changed, member, value);
	*object = json_text(changed);
	json_decref(changed);
	snprintf(key, SL_NAME_MAX, "key/%.*s", STR_ARG(prefix));
	return *object ? SL_OK : error_set(error, SL_ENOMEM, "out of memory");
}

/* RFC 3339, or null for 0. */
static json_t *time_json(uint64_t wall_ms)
{
	char text[32];
	if (!wall_ms)
		return json_null();
	clock_rfc3339(wall_ms, text);
	return json_string(text);
}

static const char *key_state(const struct key *k, uint64_t wall_ms)
{
	const struct terms *terms = tenant_terms(k->tenant);
	if (k->disabled)
		return "disabled";
	if (k->expires_ms && wall_ms >= k->expires_ms)
		return "expired";
	if (!terms || terms->disabled)
		return terms ? "tenant disabled" : "no tenant";
	return "active";
}

static json_t *key_json(const struct key *k, uint64_t wall_ms)
{
	json_t *object = json_object();
	json_set_str(object, "key", str_of(k->prefix));
	json_set_str(object, "name", str_of(key_name(k)));
	json_set_str(object, "tenant", str_of(k->tenant->name));
	json_set_str(object, "user", str_of(key_user(k)));
	json_set_str(object, "state", str_of(key_state(k, wall_ms)));
	json_object_set_new(object, "roles", identity_roles_json(k->roles));
	json_object_set_new(object, "created_at", time_json(k->created_ms));
	json_object_set_new(object, "last_used_at", time_json(atomic_load_explicit(&k->used_ms, memory_order_relaxed)));
	json_object_set_new(object, "expires_at", time_json(k->expires_ms));
	return object;
}

json_t *identity_keys(struct identity *id, sl_str tenant, uint64_t wall_ms)
{
	json_t *array = json_array();
	/* Slab by slab, so that a list of a million keys holds nobody up. */
	for (uint32_t place = 1, more = 1; more;) {
		pthread_rwlock_rdlock(&id->lock);
		uint32_t end = place + SLAB_KEYS;
		for (; place < end && place <= id->made; place++) {
			const struct key *k = key_at(id, place);
			if (k->words && (!tenant.ptr || str_eq(str_of(k->tenant->name), tenant)))
				json_array_append_new(array, key_json(k, wall_ms));
		}
		more = place <= id->made;
		pthread_rwlock_unlock(&id->lock);
	}
	return array;
}

static json_t *names_json(char *const *names, size_t n)
{
	json_t *array = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(array, json_string(names[i]));
	return array;
}

json_t *identity_tenants(struct identity *id)
{
	json_t *array = json_array();
	pthread_rwlock_rdlock(&id->lock);
	for (uint32_t i = 0; i < id->n_tenants; i++) {
		const struct tenant *t = id->tenants[i];
		const struct terms *terms = tenant_terms(t);
		if (!terms)
			continue;
		json_t *object = json_object();
		json_set_str(object, "tenant", str_of(t->name));
		json_set_str(object, "tier", str_of(terms->tier));
		json_object_set_new(object, "users", names_json(terms->users, terms->n_users));
		json_object_set_new(object, "queues", names_json(terms->queues, terms->n_queues));
		json_object_set_new(object, "operators", json_boolean(terms->operators));
		json_object_set_new(object, "disabled", json_boolean(terms->disabled));
		json_set_str(object, "source", terms == &t->file ? STR("file") : STR("store"));
		json_object_set_new(object, "keys", json_integer((json_int_t) t->keys));
		json_array_append_new(array, object);
	}
	pthread_rwlock_unlock(&id->lock);
	return array;
}

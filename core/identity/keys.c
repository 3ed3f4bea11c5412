/* SPDX-License-Identifier: Apache-2.0 */
/* keys.c - the table of keys, found by digest and by prefix. */
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/identity/internal.h"

struct key *key_at(const struct identity *id, uint32_t place)
{
	return &id->slabs[(place - 1) / SLAB_KEYS][(place - 1) % SLAB_KEYS];
}

/* A digest is as random as any hash. */
static uint32_t digest_tag(const uint8_t digest[32])
{
	uint32_t tag;
	memcpy(&tag, digest, sizeof tag);
	return tag;
}

struct key *key_by_digest(const struct identity *id, const uint8_t digest[32], uint32_t *place)
{
	uint32_t tag = digest_tag(digest);
	for (uint32_t at = index_start(&id->by_digest, tag); (*place = index_match(&id->by_digest, tag, &at)); at++)
		if (str_eq_secret(key_at(id, *place)->digest, digest, 32))
			return key_at(id, *place);
	return NULL;
}

struct key *key_by_prefix(const struct identity *id, sl_str prefix)
{
	uint32_t tag = (uint32_t) hash_str(prefix);
	for (uint32_t at = index_start(&id->by_prefix, tag), place; (place = index_match(&id->by_prefix, tag, &at)); at++)
		if (str_eq(str_of(key_at(id, place)->prefix), prefix))
			return key_at(id, place);
	return NULL;
}

const char *key_user(const struct key *k)
{
	return k->words;
}

const char *key_name(const struct key *k)
{
	return k->words + strlen(k->words) + 1;
}

static bool hex_parse(const char *text, uint8_t out[32])
{
	if (!text || strlen(text) != 64)
		return false;
	for (int i = 0; i < 64; i++) {
		char c = text[i];
		int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
		if (digit < 0)
			return false;
		out[i / 2] = (uint8_t) (i % 2 ? out[i / 2] | digit : digit << 4);
	}
	return true;
}

/* A key as its object says, not yet in the table. */
static int key_parse(sl_str prefix, const json_t *object, struct key *out, sl_error *error)
{
	const char *user = json_get_str(object, "user", ""), *name = json_get_str(object, "name", "");
	size_t user_len = strlen(user), name_len = strlen(name);
	*out = (struct key){ 0 };
	if (!json_is_object(object) || prefix.len != KEY_PREFIX_CHARS || !str_copy(out->prefix, sizeof out->prefix, prefix))
		return error_set(error, SL_EINVAL, "'%.*s' does not name a key: its first %d characters do", STR_ARG(prefix),
		                 KEY_PREFIX_CHARS);
	if (!hex_parse(json_get_str(object, "digest", NULL), out->digest))
		return error_set(error, SL_EINVAL, "key %s: its digest is not 64 hex digits", out->prefix);
	if (!identity_roles_parse(json_object_get(object, "roles"), &out->roles))
		return error_set(error, SL_EINVAL, "key %s: roles is a list of infer, lease, operator, admin", out->prefix);
	if (user_len >= SL_NAME_MAX || name_len >= SL_NAME_MAX)
		return error_set(error, SL_EINVAL, "key %s: user and name have at most %d characters", out->prefix, SL_NAME_MAX - 1);
	int64_t created = json_get_int(object, "created_ms", 0), expires = json_get_int(object, "expires_ms", 0);
	if (created < 0 || expires < 0)
		return error_set(error, SL_EINVAL, "key %s: times are Unix milliseconds", out->prefix);
	out->created_ms = (uint64_t) created;
	out->expires_ms = (uint64_t) expires;
	out->disabled = json_get_bool(object, "disabled", false);
	out->words = malloc(user_len + name_len + 2);
	if (!out->words)
		return error_set(error, SL_ENOMEM, "out of memory");
	memcpy(out->words, user, user_len + 1);
	memcpy(out->words + user_len + 1, name, name_len + 1);
	return SL_OK;
}

/* A free place, 0: out of memory. */
static uint32_t place_take(struct identity *id)
{
	uint32_t place = id->free_place;
	if (place) {
		id->free_place = key_at(id, place)->next_free;
		return place;
	}
	if (id->made == id->n_slabs * SLAB_KEYS) {
		struct key **slabs = realloc(id->slabs, (id->n_slabs + 1) * sizeof *slabs);
		if (!slabs)
			return 0;
		id->slabs = slabs;
		slabs[id->n_slabs] = calloc(SLAB_KEYS, sizeof **slabs);
		if (!slabs[id->n_slabs])
			return 0;
		id->n_slabs++;
	}
	return ++id->made;
}

static void unindex(struct index *ix, uint32_t tag, uint32_t place)
{
	for (uint32_t at = index_start(ix, tag), found; (found = index_match(ix, tag, &at)); at++) {
		if (found == place) {
			index_remove(ix, at);
			return;
		}
	}
}

static void key_remove(struct identity *id, struct key *k)
{
	uint32_t place;
	key_by_digest(id, k->digest, &place);
	unindex(&id->by_digest, digest_tag(k->digest), place);
	unindex(&id->by_prefix, (uint32_t) hash_str(str_of(k->prefix)), place);
	k->tenant->keys--;
	id->n_keys--;
	free(k->words);
	uint32_t generation = k->generation + 1;
	memset(k, 0, sizeof *k);
	k->generation = generation;
	k->next_free = id->free_place;
	id->free_place = place;
}

static int key_insert(struct identity *id, struct key *made, sl_error *error)
{
	uint32_t place = 0;
	if (id->n_keys >= id->keys_max)
		return error_set(error, SL_EFULL, "there is no room for key %s: %zu is the bound", made->prefix, id->keys_max);
	if (!index_room(&id->by_digest) || !index_room(&id->by_prefix) || !(place = place_take(id)))
		return error_set(error, SL_ENOMEM, "out of memory");
	made->generation = key_at(id, place)->generation;
	*key_at(id, place) = *made;
	made->words = NULL; /* handed over */
	index_put(&id->by_digest, digest_tag(made->digest), place);
	index_put(&id->by_prefix, (uint32_t) hash_str(str_of(made->prefix)), place);
	made->tenant->keys++;
	id->n_keys++;
	return SL_OK;
}

/* The same key again: its place stays, so what was found with it stays valid as far as the new words say. */
static void key_update(struct key *k, struct key *made)
{
	char *words = k->words;
	k->words = made->words;
	made->words = words;
	k->tenant->keys--;
	k->tenant = made->tenant;
	k->tenant->keys++;
	k->created_ms = made->created_ms;
	k->expires_ms = made->expires_ms;
	k->roles = made->roles;
	k->disabled = made->disabled;
}

/* With the lock. */
static int key_put(struct identity *id, struct key *made, sl_str tenant, sl_error *error)
{
	uint32_t place;
	struct key *known = key_by_prefix(id, str_of(made->prefix)), *same = key_by_digest(id, made->digest, &place);
	if (same && same != known)
		return error_set(error, SL_ECONFLICT, "key %s has the digest of key %s", made->prefix, same->prefix);
	made->tenant = tenant_make(id, tenant);
	if (!made->tenant)
		return error_set(error, SL_EFULL, "there is no room for tenant '%.*s'", STR_ARG(tenant));
	if (known && same) {
		key_update(known, made);
		return SL_OK;
	}
	if (known)
		key_remove(id, known);
	return key_insert(id, made, error);
}

int key_apply(struct identity *id, sl_str prefix, const json_t *object, sl_error *error)
{
	struct key made = { 0 };
	sl_str tenant = str_of(json_get_str(object, "tenant", ""));
	int code = object ? key_parse(prefix, object, &made, error) : SL_OK;
	if (code == SL_OK && object && (tenant.len == 0 || tenant.len >= SL_NAME_MAX))
		code = error_set(error, SL_EINVAL, "key %s names no tenant", made.prefix);
	if (code != SL_OK) {
		free(made.words);
		return code;
	}
	pthread_rwlock_wrlock(&id->lock);
	if (object) {
		code = key_put(id, &made, tenant, error);
	} else {
		struct key *k = key_by_prefix(id, prefix);
		if (k)
			key_remove(id, k);
	}
	pthread_rwlock_unlock(&id->lock);
	free(made.words);
	return code;
}

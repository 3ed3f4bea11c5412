/* SPDX-License-Identifier: Apache-2.0 */
/* identity.c - who is it: lookups by key and by Unix user, and what the store says about them. */
#include "core/identity/identity.h"

#include <stdlib.h>

#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/identity/internal.h"

enum { KEYS_MAX = 1000000 };

struct identity *identity_new(size_t keys_max)
{
	struct identity *id = calloc(1, sizeof *id);
	if (!id)
		return NULL;
	id->keys_max = keys_max ? keys_max : KEYS_MAX;
	if (id->keys_max > UINT32_MAX / 4)
		id->keys_max = UINT32_MAX / 4;
	/* Many lookups must not keep a revocation waiting. */
	pthread_rwlockattr_t attr;
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&id->lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	return id;
}

void identity_free(struct identity *id)
{
	if (!id)
		return;
	for (uint32_t place = 1; place <= id->made; place++)
		free(key_at(id, place)->words);
	for (uint32_t i = 0; i < id->n_slabs; i++)
		free(id->slabs[i]);
	for (uint32_t i = 0; i < id->n_tenants; i++) {
		terms_free(&id->tenants[i]->file);
		terms_free(&id->tenants[i]->store);
		free(id->tenants[i]);
	}
	free(id->slabs);
	free(id->tenants);
	free(id->users);
	list_free(id->tiers, id->n_tiers);
	index_free(&id->by_digest);
	index_free(&id->by_prefix);
	index_free(&id->by_tenant);
	pthread_rwlock_destroy(&id->lock);
	free(id);
}

int identity_apply(struct identity *id, sl_str key, sl_str json, sl_error *error)
{
	bool tenant = str_starts(key, STR("tenant/"));
	if (!tenant && !str_starts(key, STR("key/")))
		return error_set(error, SL_EINVAL, "'%.*s' is neither a tenant nor a key", STR_ARG(key));
	size_t skip = tenant ? sizeof "tenant/" - 1 : sizeof "key/" - 1;
	sl_str name = { key.ptr + skip, key.len - skip };
	json_t *object = NULL;
	if (json.len && !(object = json_parse(json, error)))
		return error_prefix(error, "%.*s: ", STR_ARG(key));
	int code = tenant ? tenant_apply(id, name, object, error) : key_apply(id, name, object, error);
	json_decref(object);
	return code;
}

static bool key_valid(const struct key *k, uint64_t wall_ms)
{
	const struct terms *terms = tenant_terms(k->tenant);
	return !k->disabled && (k->expires_ms == 0 || wall_ms < k->expires_ms) && terms && !terms->disabled;
}

static uint64_t credential_of(const struct key *k, uint32_t place)
{
	return (uint64_t) k->generation << 32 | place;
}

/* The key that a credential names, as long as it is the same one. */
static struct key *key_of_credential(const struct identity *id, uint64_t credential)
{
	uint32_t place = (uint32_t) credential;
	if (place == 0 || place > id->made)
		return NULL;
	struct key *k = key_at(id, place);
	return k->words && k->generation == credential >> 32 ? k : NULL;
}

int identity_find(struct identity *id, const uint8_t digest[32], uint64_t wall_ms, sl_identity *out, sl_error *error)
{
	uint32_t place;
	pthread_rwlock_rdlock(&id->lock);
	const struct key *k = key_by_digest(id, digest, &place);
	bool valid = k && key_valid(k, wall_ms);
	if (valid) {
		*out = (sl_identity){
			.size = sizeof *out, .roles = k->roles, .uid = UINT32_MAX, .gid = UINT32_MAX,
			.credential = credential_of(k, place),
		};
		str_copy(out->tenant, sizeof out->tenant, str_of(k->tenant->name));
		str_copy(out->tier, sizeof out->tier, str_of(tenant_terms(k->tenant)->tier));
		str_copy(out->user, sizeof out->user, str_of(key_user(k)));
		str_copy(out->key, sizeof out->key, str_of(k->prefix));
	}
	pthread_rwlock_unlock(&id->lock);
	/* The same words for all, so that nobody learns which keys exist. */
	return valid ? SL_OK : error_set(error, SL_EAUTH, "Incorrect API key provided.");
}

static const struct unix_user *user_of(const struct identity *id, uint32_t uid)
{
	size_t low = 0, high = id->n_users;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (id->users[middle].uid == uid)
			return &id->users[middle];
		if (id->users[middle].uid < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

int identity_find_user(struct identity *id, uint32_t uid, uint32_t gid, sl_identity *out, sl_error *error)
{
	int code = SL_NOT_MINE;
	pthread_rwlock_rdlock(&id->lock);
	const struct unix_user *user = user_of(id, uid);
	const struct terms *terms = user ? tenant_terms(user->tenant) : NULL;
	if (terms && terms->disabled) {
		code = error_set(error, SL_EDENIED, "tenant '%s' is disabled: ask its operators", user->tenant->name);
	} else if (terms) {
		code = SL_OK;
		*out = (sl_identity){ .size = sizeof *out, .uid = uid, .gid = gid };
		out->roles = SL_ROLE_INFER | SL_ROLE_LEASE | (terms->operators ? (uint32_t) SL_ROLE_OPERATOR : 0);
		str_copy(out->tenant, sizeof out->tenant, str_of(user->tenant->name));
		str_copy(out->tier, sizeof out->tier, str_of(terms->tier));
		str_copy(out->user, sizeof out->user, str_of(user->name));
	}
	pthread_rwlock_unlock(&id->lock);
	return code;
}

int identity_find_tenant(struct identity *id, sl_str tenant, sl_str tier, sl_identity *out, sl_error *error)
{
	int code = SL_OK;
	pthread_rwlock_rdlock(&id->lock);
	const struct tenant *t = tenant_find(id, tenant);
	const struct terms *terms = t ? tenant_terms(t) : NULL;
	if (!terms)
		code = error_set(error, SL_EDENIED, "There is no tenant '%.*s' here: ask the operator of this service.", STR_ARG(tenant));
	else if (terms->disabled)
		code = error_set(error, SL_EDENIED, "Tenant '%s' is disabled: ask the operator of this service.", t->name);
	else if (tier.ptr && !tier_known(id, tier))
		code = error_set(error, SL_EDENIED, "There is no tier '%.*s' here: ask the operator of this service.", STR_ARG(tier));
	if (code == SL_OK) {
		str_copy(out->tenant, sizeof out->tenant, str_of(t->name));
		str_copy(out->tier, sizeof out->tier, tier.ptr ? tier : str_of(terms->tier));
	}
	pthread_rwlock_unlock(&id->lock);
	return code;
}

void identity_touch(struct identity *id, const sl_identity *identity, uint64_t wall_ms)
{
	if (!identity->credential)
		return;
	pthread_rwlock_rdlock(&id->lock);
	struct key *k = key_of_credential(id, identity->credential);
	if (k)
		atomic_store_explicit(&k->used_ms, wall_ms, memory_order_relaxed);
	pthread_rwlock_unlock(&id->lock);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - the tables of tenants, keys and Unix users. One lock for all: readers share it for a lookup, writers
 * hold it while they put in what they have made before. Functions here want it held unless they say otherwise. */
#ifndef CORE_IDENTITY_INTERNAL_H
#define CORE_IDENTITY_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/base/index.h"
#include "core/identity/identity.h"

enum {
	KEY_RANDOM_CHARS = 34,
	KEY_PREFIX_CHARS = 12, /* "slk_" and 8 */
	SLAB_KEYS = 1024,
	TENANTS_MAX = 65536,
	LIST_MAX = 256         /* users or queues of one tenant */
};

/* What one source says about a tenant. */
struct terms {
	bool declared, operators, disabled;
	char tier[SL_NAME_MAX];
	char **queues, **users;
	uint32_t *uids;        /* of the users, UINT32_MAX: no such user on this machine */
	size_t n_queues, n_users;
};

struct tenant {
	char name[SL_NAME_MAX];
	struct terms file, store; /* the file's word goes first */
	size_t keys;
};

struct key {
	uint8_t digest[32];
	char prefix[SL_KEY_PREFIX_MAX];
	struct tenant *tenant;
	char *words;           /* user, NUL, name, NUL; NULL: a free place */
	uint64_t created_ms, expires_ms;
	atomic_uint_fast64_t used_ms;
	uint32_t roles;
	uint32_t generation;   /* of the place: an old credential does not name a new key */
	uint32_t next_free;    /* place, 0: none */
	bool disabled;
};

struct unix_user {
	uint32_t uid;
	uint32_t order;        /* of declaration: the first tenant that names a user has him */
	const struct tenant *tenant;
	const char *name;      /* within the tenant's terms */
};

struct identity {
	pthread_rwlock_t lock;
	size_t keys_max, n_keys;
	struct key **slabs;
	uint32_t n_slabs, made, free_place;
	struct index by_digest, by_prefix, by_tenant;
	struct tenant **tenants;
	uint32_t n_tenants;
	struct unix_user *users; /* sorted by uid, each once */
	size_t n_users;
	char **tiers;            /* names of those that the file declares, sorted */
	size_t n_tiers;
};

/* tenants.c. NULL: there is none. */
struct tenant *tenant_find(const struct identity *id, sl_str name);
struct tenant *tenant_make(struct identity *id, sl_str name); /* or the one that is there; NULL: full, out of memory */
const struct terms *tenant_terms(const struct tenant *t);     /* NULL: nobody declares it */
void terms_free(struct terms *terms);
void list_free(char **list, size_t n);
bool tier_known(const struct identity *id, sl_str name);
bool users_rebuild(struct identity *id);
int tenant_apply(struct identity *id, sl_str name, const json_t *object, sl_error *error); /* takes the lock itself */

/* keys.c */
struct key *key_at(const struct identity *id, uint32_t place);
struct key *key_by_digest(const struct identity *id, const uint8_t digest[32], uint32_t *place);
struct key *key_by_prefix(const struct identity *id, sl_str prefix);
const char *key_user(const struct key *k);
const char *key_name(const struct key *k);
int key_apply(struct identity *id, sl_str prefix, const json_t *object, sl_error *error); /* takes the lock itself */

/* roles.c: "infer", "lease", "operator", "admin". New reference. */

#endif

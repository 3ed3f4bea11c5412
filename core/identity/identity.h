/* SPDX-License-Identifier: Apache-2.0 */
/* identity.h - who may call: tenants and keys, from the configuration and from the store, looked up live.
 *
 * Keys are shown once and kept as SHA-256. A key is "slk_", 34 characters of base62 (0-9A-Za-z) and 6 that carry the
 * CRC-32 of what is before them, most significant digit first: a mistyped key is known as such without a lookup. Any thread; lookups share a lock that is
 * never held for long. */
#ifndef CORE_IDENTITY_IDENTITY_H
#define CORE_IDENTITY_IDENTITY_H

#include <jansson.h>
#include <stdbool.h>
#include <sluice/types.h>

#include "core/conf/conf.h"

enum { IDENTITY_KEY_LENGTH = 44 };

struct identity;

struct identity *identity_new(size_t keys_max); /* 0: 1,000,000 */
void identity_free(struct identity *id);

/* What the file declares replaces what an earlier file declared, and goes before what the store says of the same
 * tenant. Asks the system who the named Unix users are, here and in identity_apply, never in a lookup: both may block. */
void identity_configure(struct identity *id, const struct conf *conf);
/* An object of the store: "tenant/NAME" {tier, queues, users, operators, disabled}, "key/PREFIX" {name, tenant, user,
 * digest (hex), roles (list of infer, lease, operator, admin), created_ms, expires_ms, disabled}; empty json: deleted. At
 * start and after each change. Keys and their tenants may come in any order: a key works once its tenant exists. */
int identity_apply(struct identity *id, sl_str key, sl_str json, sl_error *error);

/* A new key: *secret is the only time that it is seen. *object is what is to be made durable under `*key`
 * ("key/slk_7Q2MXpVt") and then given to identity_apply. The caller frees *object (free) and wipes secret. */
struct identity_key_request {
	sl_str tenant, user, name;
	uint32_t roles;        /* 0: SL_ROLE_INFER */
	uint64_t expires_ms;   /* Unix time, 0: never */
};
int identity_new_key(struct identity *id, const struct identity_key_request *request, uint64_t wall_ms,
                     char secret[IDENTITY_KEY_LENGTH + 1], char key[SL_NAME_MAX], char **object, sl_error *error);
/* The same object with a member changed (name, user, roles, expires_ms, disabled): what to make durable and apply.
 * `value` stays the caller's. */
int identity_change_key(struct identity *id, sl_str prefix, const char *member, json_t *value, char key[SL_NAME_MAX],
                        char **object, sl_error *error);

/* For the host table's credential_find, user_find and tenant_find. A key that is unknown, disabled, expired or of a disabled or
 * deleted tenant: SL_EAUTH, always in the same words. A user whom no tenant names: SL_NOT_MINE; of a disabled tenant:
 * SL_EDENIED. Roles of a user: infer, lease, and operator where the tenant has operators. A tenant that is unknown or
 * disabled, or a tier that the file does not declare (absent: the tenant's own): SL_EDENIED; found, only tenant and tier
 * of *out change. */
int identity_find(struct identity *id, const uint8_t digest[32], uint64_t wall_ms, sl_identity *out, sl_error *error);
int identity_find_user(struct identity *id, uint32_t uid, uint32_t gid, sl_identity *out, sl_error *error);
int identity_find_tenant(struct identity *id, sl_str tenant, sl_str tier, sl_identity *out, sl_error *error);
/* The key's last use, for people; relaxed. */
void identity_touch(struct identity *id, const sl_identity *identity, uint64_t wall_ms);

/* Arrays as in the control API, secrets and digests left out. Callers decref. tenant absent: all. The state of a key:
 * active, disabled, expired, tenant disabled, no tenant. */
json_t *identity_keys(struct identity *id, sl_str tenant, uint64_t wall_ms);
json_t *identity_tenants(struct identity *id);
bool identity_has_tenant(struct identity *id, sl_str tenant);
/* Name of a tenant's tier; empty: no such tenant. */
void identity_tier(struct identity *id, sl_str tenant, char out[SL_NAME_MAX]);
/* Name of a tenant's default queue; empty: none. */
bool identity_queue_allowed(struct identity *id, sl_str tenant, sl_str queue);
void identity_default_queue(struct identity *id, sl_str tenant, char out[SL_NAME_MAX]);

/* Roles as a list of words, and back: infer, lease, operator, admin. NULL or null: infer. False: another word, or no
 * list. */
json_t *identity_roles_json(uint32_t roles);
bool identity_roles_parse(const json_t *words, uint32_t *roles);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* claims.h - what the operator demands of a token's claims, and who its bearer is here. Pure: the time is an argument. */
#ifndef PLUGINS_AUTH_JWT_CLAIMS_H
#define PLUGINS_AUTH_JWT_CLAIMS_H

#include <sluice/plugin.h>

#include "plugins/auth/jwt/token.h"

/* The options about tokens, as one set that is replaced as a whole. */
struct settings {
	char *issuer;
	uint32_t algorithms;  /* a bit each */
	char *type;           /* typ that the header must have, NULL: any */
	json_t *audience;     /* array of strings, one of which must be meant */
	json_t *require;      /* object: claim -> value that it must have; array: claims that must be there; NULL: none */
	uint64_t leeway_ms, max_age_ms; /* max_age 0: none */
	char *tenant;         /* of every token, NULL: tenant_claim says it */
	char *tenant_claim, *user_claim, *tier_claim, *scope_claim; /* NULL: not looked at */
	json_t *tenants, *tiers; /* object: value of the claim -> name here; NULL: the value is the name */
	json_t *roles;           /* object: scope -> role, or list of roles; NULL: every token may infer */
	uint64_t generation;     /* differs from that of every set before */
};

/* From the options of the plugin; checks them. NULL: *error says which option is wrong. */
struct settings *settings_new(const sl_host *host, const sl_conf *conf, sl_error *error);
void settings_free(struct settings *s);

/* Issuer, audience, times, type and required claims. SL_OK: *until_ms is its end, leeway included; else SL_EAUTH. */
int claims_check(const struct settings *s, const struct token *token, uint64_t wall_ms, uint64_t *until_ms,
                 struct refusal *why);
/* The roles that a word, or a list of words, stands for; 0: one of them is no role. */
uint32_t claims_roles(const json_t *value);
/* Fills tenant, user, tier (empty: the tenant's own) and roles. SL_EDENIED: the token says nobody that we could serve. */
int claims_identity(const struct settings *s, const json_t *claims, sl_identity *out, struct refusal *why);

#endif

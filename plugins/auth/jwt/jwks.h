/* SPDX-License-Identifier: Apache-2.0 */
/* jwks.h - a set of public keys (RFC 7517), and signatures checked with them. A set never changes: threads share it. */
#ifndef PLUGINS_AUTH_JWT_JWKS_H
#define PLUGINS_AUTH_JWT_JWKS_H

#include <openssl/evp.h>
#include <stdint.h>

#include "plugins/auth/jwt/token.h"

enum { JWKS_KEYS_MAX = 64, RSA_BITS_MIN = 2048, RSA_BITS_MAX = 8192 };

struct jwks_key {
	EVP_PKEY *key;
	uint32_t algorithms; /* a bit each (1 << enum token_algorithm): what the key's kind and its "alg" allow */
	uint64_t id;         /* of key and kid together */
	bool has_kid;
	char kid[TOKEN_KID_MAX + 1];
};

struct jwks {
	size_t n_keys;
	size_t n_skipped; /* keys that cannot verify tokens, or that were too many */
	struct jwks_key keys[JWKS_KEYS_MAX];
};

/* NULL: no set, or not one usable key in it. Keys for other uses, symmetric, too short or broken ones are skipped. */
struct jwks *jwks_parse(const char *text, size_t len, sl_error *error);
void jwks_free(struct jwks *set);

/* The key that the token names. A token without kid fits a set with one key of its algorithm. NULL: there is none. */
const struct jwks_key *jwks_find(const struct jwks *set, const struct token *token);
/* The token names a key that is not there: a newer set may have it. Not so when the key is there and of another kind, or
 * when the token names none. */
bool jwks_could_gain(const struct jwks *set, const struct token *token);
bool jwks_has(const struct jwks *set, uint64_t id);
/* Is it signed with that key, by the algorithm that it names? Any thread. */
bool jwks_verify(const struct jwks_key *key, const struct token *token);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* token.h - a JSON Web Token taken apart: shape, header, claims. Nothing in it is true before its signature has been
 * verified. Knows neither keys nor settings. */
#ifndef PLUGINS_AUTH_JWT_TOKEN_H
#define PLUGINS_AUTH_JWT_TOKEN_H

#include <jansson.h>
#include <stdbool.h>

#include "plugins/auth/jwt/refusal.h"

enum {
	TOKEN_MAX = 8192,          /* bytes of a token: as long as a header line of the door */
	TOKEN_DEPTH_MAX = 16,      /* of nested arrays and objects */
	TOKEN_KID_MAX = 255,
	TOKEN_TYPE_MAX = 63,
	TOKEN_SIGNATURE_MAX = 1024 /* of a key of RSA with 8192 bits */
};

/* The algorithms that a token may name. Symmetric ones and "none" are not among them, so they are unknown words. */
enum token_algorithm {
	ALGORITHM_RS256, ALGORITHM_RS384, ALGORITHM_RS512, ALGORITHM_PS256, ALGORITHM_PS384, ALGORITHM_PS512,
	ALGORITHM_ES256, ALGORITHM_ES384, ALGORITHM_ES512, ALGORITHM_EDDSA, ALGORITHMS
};

struct token {
	enum token_algorithm algorithm;
	bool has_kid;
	char kid[TOKEN_KID_MAX + 1];
	char type[TOKEN_TYPE_MAX + 1]; /* typ of the header, empty: none */
	json_t *claims;       /* an object */
	sl_str signed_part;   /* header and payload as they came: within the text */
	size_t signature_len;
	unsigned char signature[TOKEN_SIGNATURE_MAX];
};

/* Could this be a JWT at all? Three parts with dots between them, the first of which begins as a JSON object does. */
bool token_shape(sl_str text);
/* Takes it apart. SL_OK: token_free is due, and `text` must live as long. SL_EAUTH: nothing is to be freed. */
int token_parse(sl_str text, struct token *out, struct refusal *why);
void token_free(struct token *token);

/* ALGORITHMS: unknown, or one that is never accepted. */
enum token_algorithm token_algorithm(const char *name);
const char *token_algorithm_name(enum token_algorithm algorithm);

/* Strict base64url: no padding, no other characters, no bits left over. Length, or -1. */
long base64url_decode(sl_str text, unsigned char *out, size_t room);
/* A JSON object without duplicate members, nested no deeper than TOKEN_DEPTH_MAX. NULL: it is not. */
json_t *json_strict(const char *text, size_t len);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* jwks.c - public keys from JSON. What a key can be used for is decided here, by its kind, and never by a token. */
#include "plugins/auth/jwt/jwks.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_MAX = 1024 + 1 /* a zero may stand before a modulus */, FIELD_MAX = 66 /* bytes of a coordinate of P-521 */ };

static const struct curve {
	const char *name, *group;
	size_t field;
	enum token_algorithm algorithm;
} curves[] = {
	{ "P-256", "P-256", 32, ALGORITHM_ES256 },
	{ "P-384", "P-384", 48, ALGORITHM_ES384 },
	{ "P-521", "P-521", FIELD_MAX, ALGORITHM_ES512 },
};

enum {
	RSA_ALGORITHMS = 1u << ALGORITHM_RS256 | 1u << ALGORITHM_RS384 | 1u << ALGORITHM_RS512 | 1u << ALGORITHM_PS256 |
	                 1u << ALGORITHM_PS384 | 1u << ALGORITHM_PS512
};

static const char *text_of(const json_t *jwk, const char *name)
{
	const char *text = json_string_value(json_object_get(jwk, name));
	return text ? text : "";
}

/* A member in base64url; length, or -1. */
static long bytes_of(const json_t *jwk, const char *name, unsigned char *out, size_t room)
{
	const char *text = text_of(jwk, name);
	long len = base64url_decode((sl_str){ text, strlen(text) }, out, room);
	return len > 0 ? len : -1;
}

static EVP_PKEY *from_params(const char *kind, OSSL_PARAM_BLD *build)
{
	EVP_PKEY *key = NULL;
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, kind, NULL);
	if (params && context && EVP_PKEY_fromdata_init(context) > 0)
		EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params);
	EVP_PKEY_CTX_free(context);
	OSSL_PARAM_free(params);
	return key;
}

static EVP_PKEY *rsa_key(const json_t *jwk)
{
	unsigned char n[NUMBER_MAX], e[8];
	long n_len = bytes_of(jwk, "n", n, sizeof n), e_len = bytes_of(jwk, "e", e, sizeof e);
	if (n_len < 0 || e_len < 0)
		return NULL;
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	BIGNUM *modulus = BN_bin2bn(n, (int) n_len, NULL), *exponent = BN_bin2bn(e, (int) e_len, NULL);
	EVP_PKEY *key = NULL;
	int bits = modulus ? BN_num_bits(modulus) : 0;
	bool fine = bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX && BN_is_odd(modulus) && exponent && BN_is_odd(exponent) &&
	            BN_num_bits(exponent) >= 2 && BN_num_bits(exponent) <= 33;
	if (fine && build && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, modulus) &&
	    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, exponent))
		key = from_params("RSA", build);
	BN_free(modulus);
	BN_free(exponent);
	OSSL_PARAM_BLD_free(build);
	return key;
}

static EVP_PKEY *ec_key(const json_t *jwk, const struct curve *curve)
{
	unsigned char point[1 + 2 * FIELD_MAX] = { 4 }; /* uncompressed: both coordinates follow */
	unsigned char y[FIELD_MAX];
	if (bytes_of(jwk, "x", point + 1, FIELD_MAX) != (long) curve->field || bytes_of(jwk, "y", y, sizeof y) != (long) curve->field)
		return NULL;
	memcpy(point + 1 + curve->field, y, curve->field);
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	EVP_PKEY *key = NULL;
	if (build && OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, curve->group, 0) &&
	    OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * curve->field))
		key = from_params("EC", build);
	OSSL_PARAM_BLD_free(build);
	return key;
}

static EVP_PKEY *ed25519_key(const json_t *jwk)
{
	unsigned char x[32];
	if (strcmp(text_of(jwk, "crv"), "Ed25519") != 0 || bytes_of(jwk, "x", x, sizeof x) != 32)
		return NULL;
	return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, 32);
}

/* The key itself and what its kind can do. NULL: not of a kind that we verify with. */
static EVP_PKEY *public_key(const json_t *jwk, uint32_t *algorithms)
{
	const char *kind = text_of(jwk, "kty");
	if (strcmp(kind, "RSA") == 0) {
		*algorithms = RSA_ALGORITHMS;
		return rsa_key(jwk);
	}
	if (strcmp(kind, "OKP") == 0) {
		*algorithms = 1u << ALGORITHM_EDDSA;
		return ed25519_key(jwk);
	}
	for (size_t i = 0; i < sizeof curves / sizeof curves[0] && strcmp(kind, "EC") == 0; i++) {
		if (strcmp(text_of(jwk, "crv"), curves[i].name) == 0) {
			*algorithms = 1u << curves[i].algorithm;
			return ec_key(jwk, &curves[i]);
		}
	}
	return NULL;
}

/* "use" and "key_ops" of a key, where it has them, say that it verifies. */
static bool for_signatures(const json_t *jwk)
{
	const json_t *operations = json_object_get(jwk, "key_ops"), *use = json_object_get(jwk, "use");
	if (use && strcmp(text_of(jwk, "use"), "sig") != 0)
		return false;
	if (!operations)
		return true;
	for (size_t i = 0; i < json_array_size(operations); i++) {
		const char *word = json_string_value(json_array_get(operations, i));
		if (word && strcmp(word, "verify") == 0)
			return true;
	}
	return false;
}

/* A number that the same key with the same kid has in every set. */
static uint64_t id_of(const struct jwks_key *key)
{
	unsigned char *der = NULL, digest[32];
	uint64_t id = 0;
	size_t kid_len = strlen(key->kid);
	int len = i2d_PUBKEY(key->key, &der);
	unsigned char *text = len > 0 ? malloc((size_t) len + kid_len) : NULL;
	if (text) {
		memcpy(text, der, (size_t) len);
		memcpy(text + len, key->kid, kid_len);
		if (EVP_Q_digest(NULL, "SHA256", NULL, text, (size_t) len + kid_len, digest, NULL))
			memcpy(&id, digest, sizeof id);
	}
	free(text);
	OPENSSL_free(der);
	return id;
}

static bool key_parse(const json_t *jwk, struct jwks_key *out)
{
	const json_t *kid = json_object_get(jwk, "kid"), *algorithm = json_object_get(jwk, "alg");
	*out = (struct jwks_key){ .has_kid = kid != NULL };
	if (!json_is_object(jwk) || !for_signatures(jwk))
		return false;
	if (kid && (!json_is_string(kid) || json_string_length(kid) > TOKEN_KID_MAX))
		return false;
	if (kid)
		memcpy(out->kid, json_string_value(kid), json_string_length(kid) + 1);
	out->key = public_key(jwk, &out->algorithms);
	if (algorithm) {
		enum token_algorithm only = token_algorithm(json_string_value(algorithm));
		out->algorithms &= only == ALGORITHMS ? 0 : 1u << only;
	}
	if (out->key && out->algorithms)
		out->id = id_of(out);
	if (out->id)
		return true;
	EVP_PKEY_free(out->key);
	ERR_clear_error();
	return false;
}

struct jwks *jwks_parse(const char *text, size_t len, sl_error *error)
{
	json_t *json = json_strict(text, len);
	const json_t *keys = json_object_get(json, "keys");
	struct jwks *set = calloc(1, sizeof *set);
	for (size_t i = 0; set && i < json_array_size(keys); i++) {
		if (set->n_keys < JWKS_KEYS_MAX && key_parse(json_array_get(keys, i), &set->keys[set->n_keys]))
			set->n_keys++;
		else
			set->n_skipped++;
	}
	if (!set || !json_is_array(keys) || set->n_keys == 0) {
		snprintf(error->text, sizeof error->text, "%s", !set ? "out of memory"
		         : !json_is_array(keys) ? "this is no JSON Web Key Set" : "there is no key in it that verifies signatures");
		error->code = SL_EUPSTREAM;
		jwks_free(set);
		set = NULL;
	}
	json_decref(json);
	return set;
}

void jwks_free(struct jwks *set)
{
	for (size_t i = 0; set && i < set->n_keys; i++)
		EVP_PKEY_free(set->keys[i].key);
	free(set);
}

const struct jwks_key *jwks_find(const struct jwks *set, const struct token *token)
{
	const struct jwks_key *found = NULL;
	for (size_t i = 0; i < set->n_keys; i++) {
		const struct jwks_key *key = &set->keys[i];
		if (!(key->algorithms & 1u << token->algorithm))
			continue;
		if (token->has_kid && key->has_kid && strcmp(key->kid, token->kid) == 0)
			return key;
		if (!token->has_kid && found)
			return NULL; /* which of them is meant? */
		if (!token->has_kid)
			found = key;
	}
	return found;
}

bool jwks_could_gain(const struct jwks *set, const struct token *token)
{
	for (size_t i = 0; i < set->n_keys; i++)
		if (set->keys[i].has_kid && strcmp(set->keys[i].kid, token->kid) == 0)
			return false;
	return token->has_kid;
}

bool jwks_has(const struct jwks *set, uint64_t id)
{
	for (size_t i = 0; i < set->n_keys; i++)
		if (set->keys[i].id == id)
			return true;
	return false;
}

static const EVP_MD *digest_of(enum token_algorithm algorithm)
{
	switch (algorithm) {
	case ALGORITHM_RS256: case ALGORITHM_PS256: case ALGORITHM_ES256: return EVP_sha256();
	case ALGORITHM_RS384: case ALGORITHM_PS384: case ALGORITHM_ES384: return EVP_sha384();
	case ALGORITHM_RS512: case ALGORITHM_PS512: case ALGORITHM_ES512: return EVP_sha512();
	default: return NULL; /* EdDSA hashes by itself */
	}
}

/* A JWT has the two numbers of an EC signature side by side, OpenSSL wants them in DER. Length, 0: they are none. */
static size_t ec_signature(const struct token *token, size_t field, unsigned char **der)
{
	int len = 0;
	ECDSA_SIG *signature = token->signature_len == 2 * field ? ECDSA_SIG_new() : NULL;
	BIGNUM *r = signature ? BN_bin2bn(token->signature, (int) field, NULL) : NULL;
	BIGNUM *s = signature ? BN_bin2bn(token->signature + field, (int) field, NULL) : NULL;
	if (r && s && ECDSA_SIG_set0(signature, r, s)) {
		len = i2d_ECDSA_SIG(signature, der);
	} else {
		BN_free(r);
		BN_free(s);
	}
	ECDSA_SIG_free(signature);
	return len > 0 ? (size_t) len : 0;
}

static size_t field_of(enum token_algorithm algorithm)
{
	for (size_t i = 0; i < sizeof curves / sizeof curves[0]; i++)
		if (curves[i].algorithm == algorithm)
			return curves[i].field;
	return 0;
}

static bool is_pss(enum token_algorithm algorithm)
{
	return algorithm == ALGORITHM_PS256 || algorithm == ALGORITHM_PS384 || algorithm == ALGORITHM_PS512;
}

bool jwks_verify(const struct jwks_key *key, const struct token *token)
{
	if (!(key->algorithms & 1u << token->algorithm))
		return false;
	size_t field = field_of(token->algorithm), len = token->signature_len;
	unsigned char *der = NULL;
	EVP_PKEY_CTX *padding;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool fine = context && EVP_DigestVerifyInit(context, &padding, digest_of(token->algorithm), NULL, key->key) == 1;
	if (fine && is_pss(token->algorithm))
		fine = EVP_PKEY_CTX_set_rsa_padding(padding, RSA_PKCS1_PSS_PADDING) == 1 &&
		       EVP_PKEY_CTX_set_rsa_pss_saltlen(padding, RSA_PSS_SALTLEN_DIGEST) == 1;
	if (fine && field)
		fine = (len = ec_signature(token, field, &der)) > 0;
	fine = fine && EVP_DigestVerify(context, der ? der : token->signature, len, (const unsigned char *) token->signed_part.ptr,
	                                token->signed_part.len) == 1;
	OPENSSL_free(der);
	EVP_MD_CTX_free(context);
	ERR_clear_error();
	return fine;
}

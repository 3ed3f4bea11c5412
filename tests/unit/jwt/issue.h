/* SPDX-License-Identifier: Apache-2.0 */
/* issue.h - an issuer for tests: keys of every kind, their JWK, and tokens that are signed, or not quite. */
#ifndef TESTS_UNIT_JWT_ISSUE_H
#define TESTS_UNIT_JWT_ISSUE_H

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Everything that these functions return lives until the process ends: each test is a process. Here it can be found, so
 * that nothing is taken for lost. */
__attribute__((unused)) static void *keep(void *made)
{
	static void **kept;
	static size_t n;
	kept = realloc(kept, (n + 1) * sizeof *kept);
	if (!kept || !made)
		abort();
	return kept[n++] = made;
}

/* "RSA", "P-256" and its kin, "ED25519". */
__attribute__((unused)) static EVP_PKEY *new_key(const char *kind)
{
	if (strcmp(kind, "RSA") == 0)
		return keep(EVP_RSA_gen(2048));
	return keep(kind[0] == 'P' ? EVP_EC_gen(kind) : EVP_PKEY_Q_keygen(NULL, NULL, kind));
}

__attribute__((unused)) static char *base64url(const void *data, size_t len)
{
	char *text = keep(malloc(len * 4 / 3 + 8));
	int n = EVP_EncodeBlock((unsigned char *) text, data, (int) len);
	while (n > 0 && text[n - 1] == '=')
		n--;
	text[n] = '\0';
	for (char *p = text; *p; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
	return text;
}

__attribute__((format(printf, 1, 2), unused)) static char *format_text(const char *format, ...)
{
	char *text = NULL;
	va_list args;
	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		abort();
	va_end(args);
	return keep(text);
}

__attribute__((unused)) static char *number_of(EVP_PKEY *key, const char *name, size_t width)
{
	BIGNUM *n = NULL;
	unsigned char bytes[1200];
	if (!EVP_PKEY_get_bn_param(key, name, &n))
		abort();
	int len = width ? BN_bn2binpad(n, bytes, (int) width) : BN_bn2bin(n, bytes);
	BN_free(n);
	return base64url(bytes, (size_t) len);
}

/* The public key as JWK; `more`: further members, with a comma before them. */
__attribute__((unused)) static char *jwk_of(EVP_PKEY *key, const char *more)
{
	if (EVP_PKEY_is_a(key, "RSA"))
		return format_text("{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"%s}", number_of(key, OSSL_PKEY_PARAM_RSA_N, 0),
		                   number_of(key, OSSL_PKEY_PARAM_RSA_E, 0), more);
	if (EVP_PKEY_is_a(key, "EC")) {
		int bits = EVP_PKEY_get_bits(key);
		size_t width = ((size_t) bits + 7) / 8;
		return format_text("{\"kty\":\"EC\",\"crv\":\"P-%d\",\"x\":\"%s\",\"y\":\"%s\"%s}", bits,
		                   number_of(key, OSSL_PKEY_PARAM_EC_PUB_X, width), number_of(key, OSSL_PKEY_PARAM_EC_PUB_Y, width), more);
	}
	unsigned char raw[32];
	size_t len = sizeof raw;
	if (EVP_PKEY_get_raw_public_key(key, raw, &len) != 1)
		abort();
	return format_text("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\"%s}", base64url(raw, len), more);
}

/* The signature of an algorithm over a text, in base64url. */
__attribute__((unused)) static char *sign(EVP_PKEY *key, const char *algorithm, const char *text)
{
	unsigned char signature[1200], raw[132];
	size_t len = sizeof signature;
	const char *bits = algorithm + 2;
	const EVP_MD *md = strcmp(algorithm, "EdDSA") == 0 ? NULL : strcmp(bits, "256") == 0 ? EVP_sha256()
		: strcmp(bits, "384") == 0 ? EVP_sha384() : EVP_sha512();
	EVP_PKEY_CTX *padding;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	if (EVP_DigestSignInit(context, &padding, md, NULL, key) != 1)
		abort();
	if (algorithm[0] == 'P' && (EVP_PKEY_CTX_set_rsa_padding(padding, RSA_PKCS1_PSS_PADDING) != 1 ||
	                            EVP_PKEY_CTX_set_rsa_pss_saltlen(padding, RSA_PSS_SALTLEN_DIGEST) != 1))
		abort();
	if (EVP_DigestSign(context, signature, &len, (const unsigned char *) text, strlen(text)) != 1)
		abort();
	EVP_MD_CTX_free(context);
	if (algorithm[0] != 'E' || algorithm[1] == 'd')
		return base64url(signature, len);
	const unsigned char *der = signature;
	ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long) len);
	int width = (EVP_PKEY_get_bits(key) + 7) / 8;
	BN_bn2binpad(ECDSA_SIG_get0_r(pair), raw, width);
	BN_bn2binpad(ECDSA_SIG_get0_s(pair), raw + width, width);
	ECDSA_SIG_free(pair);
	return base64url(raw, 2 * (size_t) width);
}

/* header and payload are JSON, or what the test wants to be taken for it. */
__attribute__((unused)) static char *token_of(EVP_PKEY *key, const char *algorithm, const char *header, const char *payload)
{
	char *text = format_text("%s.%s", base64url(header, strlen(header)), base64url(payload, strlen(payload)));
	return format_text("%s.%s", text, sign(key, algorithm, text));
}

/* The signature of HS256 with any bytes as the secret. */
__attribute__((unused)) static char *token_hmac(const void *secret, size_t len, const char *header, const char *payload)
{
	unsigned char mac[32];
	unsigned mac_len = 0;
	char *text = format_text("%s.%s", base64url(header, strlen(header)), base64url(payload, strlen(payload)));
	HMAC(EVP_sha256(), secret, (int) len, (const unsigned char *) text, strlen(text), mac, &mac_len);
	return format_text("%s.%s", text, base64url(mac, mac_len));
}

#endif

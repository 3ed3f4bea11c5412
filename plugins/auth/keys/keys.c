/* SPDX-License-Identifier: Apache-2.0 */
/* keys.c - callers with an API key.
 *
 * The key comes as `Authorization: Bearer KEY` or as `x-api-key: KEY`. Its shape and checksum are looked at first,
 * so that typing mistakes and noise cost no hash; what is asked of the host is the SHA-256. */
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sluice/auth.h>

#include "plugins/auth/keys/sha256.h"

enum { BODY = 34, CHECK = 6, PREFIX_MAX = 16, KEY_MAX = PREFIX_MAX + BODY + CHECK, DIGEST = 32 };

struct keys {
	const sl_host *host;
	EVP_MD *sha256; /* fetched once: a look-up by name costs more than the hash */
	uint32_t crc_table[4][256];
	int fast; /* the processor hashes */
	char prefix[PREFIX_MAX + 1];
	size_t prefix_len;
};

/* Each thread has a hash context, made on its first key and freed with the thread. All instances share them. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t context_key;
static int has_context_key;

/* One wording for every key that is not good, so that nobody learns which part of a guess was right. */
static int refuse(sl_error *error, int code, const char *text)
{
	error->code = code;
	snprintf(error->text, sizeof error->text, "%s", text);
	return code;
}

static int incorrect(sl_error *error)
{
	return refuse(error, SL_EAUTH, "Incorrect API key provided.");
}

/* CRC-32 of IEEE 802.3, low bit first. */
static void crc_table_fill(uint32_t table[4][256])
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t r = i;
		for (int bit = 0; bit < 8; bit++)
			r = r & 1 ? r >> 1 ^ 0xedb88320u : r >> 1;
		table[0][i] = r;
	}
	for (int k = 1; k < 4; k++) /* of a byte that k others follow */
		for (uint32_t i = 0; i < 256; i++)
			table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 0xff];
}

static uint32_t crc32_of(const uint32_t table[4][256], const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *) text;
	uint32_t r = UINT32_MAX;
	for (; len >= 4; len -= 4, p += 4)
		r = table[3][(r ^ p[0]) & 0xff] ^ table[2][(r >> 8 ^ p[1]) & 0xff] ^ table[1][(r >> 16 ^ p[2]) & 0xff] ^
		    table[0][(r >> 24 ^ p[3]) & 0xff];
	for (; len; len--, p++)
		r = table[0][(r ^ *p) & 0xff] ^ r >> 8;
	return ~r;
}

/* Value of a character of base62 (0-9A-Za-z), -1: none. */
static int base62_value(char c)
{
	unsigned digit = (unsigned) (c - '0'), letter = (unsigned) ((c | 0x20) - 'a');
	if (digit < 10)
		return (int) digit;
	return letter < 26 ? (int) letter + (c & 0x20 ? 36 : 10) : -1;
}

/* prefix, 34 characters of base62, and the CRC-32 of all that in 6 more, most significant first. */
static int looks_like_key(const struct keys *k, sl_str key)
{
	if (key.len != k->prefix_len + BODY + CHECK || memcmp(key.ptr, k->prefix, k->prefix_len) != 0)
		return 0;
	size_t checked = key.len - CHECK;
	uint64_t value = 0;
	for (size_t i = k->prefix_len; i < key.len; i++) {
		int digit = base62_value(key.ptr[i]);
		if (digit < 0)
			return 0;
		if (i >= checked)
			value = value * 62 + (uint64_t) digit;
	}
	return value == crc32_of(k->crc_table, key.ptr, checked);
}

static void free_context(void *context)
{
	EVP_MD_CTX_free(context);
}

static void make_context_key(void)
{
	has_context_key = pthread_key_create(&context_key, free_context) == 0;
}

static EVP_MD_CTX *own_context(void)
{
	EVP_MD_CTX *context = pthread_getspecific(context_key);
	if (!context) {
		context = EVP_MD_CTX_new();
		if (context && pthread_setspecific(context_key, context) != 0) {
			EVP_MD_CTX_free(context);
			context = NULL;
		}
	}
	return context;
}

static int hash(const struct keys *k, sl_str key, uint8_t digest[DIGEST])
{
	unsigned len = 0;
	if (k->fast && key.len <= SHA256_SHORT_MAX) {
		sha256_short(key.ptr, key.len, digest);
		return 1;
	}
	EVP_MD_CTX *context = own_context();
	return context && EVP_DigestInit_ex(context, k->sha256, NULL) && EVP_DigestUpdate(context, key.ptr, key.len) &&
	       EVP_DigestFinal_ex(context, digest, &len) && len == DIGEST;
}

static sl_str trim(sl_str s)
{
	while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
		s.ptr++;
		s.len--;
	}
	while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/* The key in "Bearer KEY"; the scheme's case does not matter. 0: another scheme. */
static int bearer(sl_str header, sl_str *key)
{
	static const char scheme[] = "bearer";
	header = trim(header);
	size_t len = sizeof scheme - 1;
	if (header.len < len)
		return 0;
	for (size_t i = 0; i < len; i++)
		if ((header.ptr[i] | 0x20) != scheme[i])
			return 0;
	if (header.len > len && header.ptr[len] != ' ' && header.ptr[len] != '\t')
		return 0;
	*key = trim((sl_str){ header.ptr + len, header.len - len });
	return 1;
}

/* Which key is meant. Two headers that differ could be read differently by whoever stands before us. */
static int find_key(const sl_auth_request *request, sl_str *key, sl_error *error)
{
	sl_str api_key = trim(request->api_key);
	if (!request->authorization.ptr) {
		*key = api_key;
		return request->api_key.ptr ? SL_OK : SL_NOT_MINE;
	}
	if (!bearer(request->authorization, key)) {
		if (request->api_key.ptr)
			return refuse(error, SL_EINVAL, "Authorization and x-api-key were both sent and differ; send one of them.");
		return SL_NOT_MINE;
	}
	if (request->api_key.ptr && (key->len != api_key.len || memcmp(key->ptr, api_key.ptr, api_key.len) != 0))
		return refuse(error, SL_EINVAL, "Authorization and x-api-key were both sent and differ; send one of them.");
	return SL_OK;
}

static int keys_authenticate(void *self, const sl_auth_request *request, sl_token token, sl_identity *out, sl_error *error)
{
	const struct keys *k = self;
	uint8_t digest[DIGEST];
	sl_str key;
	(void) token; /* always answers at once */
	int code = find_key(request, &key, error);
	if (code != SL_OK)
		return code;
	if (key.len && (key.len < k->prefix_len || memcmp(key.ptr, k->prefix, k->prefix_len) != 0))
		return SL_NOT_MINE; /* no key of ours, so it may be another plugin's: the order of the two does not matter */
	if (!looks_like_key(k, key)) {
		k->host->count(k->host, "malformed", 1);
		return incorrect(error);
	}
	if (!hash(k, key, digest))
		return refuse(error, SL_EINTERNAL, "The key could not be hashed.");
	code = k->host->credential_find(k->host, digest, out, error);
	if (code == SL_OK)
		return SL_OK;
	if (code == SL_EAUTH) {
		k->host->count(k->host, "unknown", 1);
		return incorrect(error);
	}
	return refuse(error, SL_EUNAVAILABLE, "Keys cannot be looked up at the moment.");
}

static int keys_check(const sl_host *host, const sl_conf *conf, sl_error *error)
{
	sl_str prefix = host->conf_str(conf, "prefix");
	if (prefix.len <= PREFIX_MAX)
		return SL_OK;
	return refuse(error, SL_EINVAL, "option 'prefix' is longer than 16 characters");
}

static void keys_close(void *self)
{
	struct keys *k = self;
	if (!k)
		return;
	EVP_MD_free(k->sha256);
	free(k);
}

static int keys_open(const sl_host *host, const sl_conf *conf, void **self, sl_error *error)
{
	struct keys *k = calloc(1, sizeof *k);
	if (!k)
		return refuse(error, SL_ENOMEM, "out of memory");
	k->host = host;
	sl_str prefix = host->conf_str(conf, "prefix");
	memcpy(k->prefix, prefix.ptr, prefix.len);
	k->prefix_len = prefix.len;
	crc_table_fill(k->crc_table);
	k->fast = sha256_fast();
	pthread_once(&once, make_context_key);
	k->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (!k->sha256 || !has_context_key) {
		int no_hash = !k->sha256;
		keys_close(k);
		return refuse(error, SL_EINTERNAL, no_hash ? "libcrypto offers no SHA-256; check openssl.cnf"
		                                           : "the process has no thread key left");
	}
	*self = k;
	return SL_OK;
}

static const sl_option options[] = {
	{ .name = "prefix", .type = SL_OPTION_STRING, .default_text = "slk_",
	  .help = "what every key starts with; what starts otherwise is for the next plugin" },
};

static const sl_auth_ops ops = { .size = sizeof ops, .authenticate = keys_authenticate };

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_AUTH),
	.name = "keys",
	.version = "1.0",
	.summary = "callers with an API key",
	.options = options,
	.n_options = sizeof options / sizeof options[0],
	.check = keys_check,
	.open = keys_open,
	.close = keys_close,
	.ops = &ops,
};

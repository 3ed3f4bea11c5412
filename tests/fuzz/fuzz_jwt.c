/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_jwt.c - tokens and key sets from outside. A token is three lines here (header, payload, signature), which are put
 * into base64 and joined with dots, so that changes get behind the base64; one line is the text itself. */
#include <jansson.h>
#include <stdbool.h>

#include "plugins/auth/jwt/claims.h"
#include "plugins/auth/jwt/jwks.h"
#include "tests/fuzz/fuzz.h"

enum { INPUT_MAX = 12000 };

static const char key_set[] =
	"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"a\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"},"
	"{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"b\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
	"\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}";

/* As an operator would set it; the maps see claims of every shape. */
static struct settings *settings(void)
{
	static struct settings s = { .issuer = (char *) "i", .algorithms = UINT32_MAX, .tenant_claim = (char *) "org.name",
		.user_claim = (char *) "sub", .tier_claim = (char *) "tier", .scope_claim = (char *) "scope", .generation = 1 };
	if (!s.audience) {
		s.audience = json_pack("[s]", "a");
		s.require = json_pack("{s:b}", "ok.fine", 1);
		s.tiers = json_pack("{s:s, s:s}", "x", "gold", "*", "free");
		s.roles = json_pack("{s:s, s:[s,s]}", "r", "infer", "w", "lease", "admin");
	}
	return &s;
}

static void check_name(const char *name, size_t room)
{
	size_t len = strnlen(name, room);
	CHECK(len < room);
	for (size_t i = 0; i < len; i++)
		CHECK((unsigned char) name[i] >= ' ' && name[i] != 0x7f);
}

static void check_token(sl_str text, const struct jwks *set)
{
	struct token token;
	struct refusal why = { 0 };
	sl_identity who;
	uint64_t until = 0;
	int code = token_parse(text, &token, &why);
	CHECK(code == SL_OK || (code == SL_EAUTH && why.event && why.error.text[0]));
	if (code != SL_OK)
		return;
	CHECK(text.len <= TOKEN_MAX && token.algorithm < ALGORITHMS && json_is_object(token.claims));
	CHECK(token.signature_len > 0 && token.signature_len <= TOKEN_SIGNATURE_MAX);
	check_inside(token.signed_part, text.ptr, text.len);
	code = claims_check(settings(), &token, UINT64_C(1790000000000), &until, &why);
	CHECK(code == SL_EAUTH || (code == SL_OK && until > UINT64_C(1790000000000)));
	code = claims_identity(settings(), token.claims, &who, &why);
	CHECK(code == SL_EDENIED || code == SL_OK);
	if (code == SL_OK) {
		CHECK(who.tenant[0] && who.user[0] && who.tier[0] && who.roles);
		check_name(who.tenant, sizeof who.tenant);
		check_name(who.user, sizeof who.user);
		check_name(who.tier, sizeof who.tier);
	}
	const struct jwks_key *key = jwks_find(set, &token);
	CHECK(!key || !jwks_could_gain(set, &token));
	if (key)
		jwks_verify(key, &token);
	token_free(&token);
}

static char *put_base64url(char *out, const char *data, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	unsigned bits = 0, n_bits = 0;
	for (size_t i = 0; i < len; i++) {
		bits = bits << 8 | (unsigned char) data[i];
		for (n_bits += 8; n_bits >= 6; n_bits -= 6)
			*out++ = digits[bits >> (n_bits - 6) & 63];
		bits &= (1u << n_bits) - 1;
	}
	if (n_bits)
		*out++ = digits[bits << (6 - n_bits) & 63];
	return out;
}

/* Lines to a token; what was encoded is what is decoded. */
static void check_lines(const char *data, size_t size, const struct jwks *set)
{
	char *text = malloc(size * 2 + 16), *end = text;
	CHECK(text);
	for (size_t at = 0, line = 0; at <= size; line++) {
		const char *newline = at < size ? memchr(data + at, '\n', size - at) : NULL;
		size_t len = (newline ? (size_t) (newline - data) : size) - at;
		char *from = end = line ? (*end = '.', end + 1) : end;
		end = put_base64url(end, data + at, len);
		unsigned char *back = malloc(len ? len : 1);
		CHECK(back && base64url_decode((sl_str){ from, (size_t) (end - from) }, back, len) == (long) len);
		CHECK(len == 0 || memcmp(back, data + at, len) == 0);
		free(back);
		at += len + 1;
	}
	char *exact = exact_copy(text, (size_t) (end - text));
	check_token((sl_str){ exact, (size_t) (end - text) }, set);
	free(exact);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct jwks *set;
	sl_error error = { 0 };
	if (!set)
		set = jwks_parse(key_set, sizeof key_set - 1, &error);
	CHECK(set && set->n_keys == 2);
	if (size > INPUT_MAX)
		return 0;
	char *text = exact_copy(data, size);
	token_shape((sl_str){ text, size });
	check_token((sl_str){ text, size }, set);
	check_lines(text, size, set);
	struct jwks *other = jwks_parse(text, size, &error);
	CHECK(!other || (other->n_keys > 0 && other->n_keys <= JWKS_KEYS_MAX));
	jwks_free(other);
	free(text);
	return 0;
}

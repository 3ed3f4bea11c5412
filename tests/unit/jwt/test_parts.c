/* SPDX-License-Identifier: Apache-2.0 */
/* test_parts.c - tokens, keys, claims and the cache of auth/jwt, each by itself. */
#include "config.h"

#include <criterion/criterion.h>

#include "plugins/auth/jwt/cache.h"
#include "plugins/auth/jwt/claims.h"
#include "plugins/auth/jwt/jwks.h"
#include "tests/unit/jwt/issue.h"

#define WALL_MS UINT64_C(1790000000000)
#define CLAIMS "\"iss\":\"https://id.example\",\"aud\":\"sluice\",\"sub\":\"ann\",\"exp\":1790000100"

static sl_str text(const char *s)
{
	return (sl_str){ s, strlen(s) };
}

static EVP_PKEY *rsa(void)
{
	static EVP_PKEY *key;
	return key ? key : (key = new_key("RSA"));
}

static struct jwks *set_of(const char *keys)
{
	sl_error error = { 0 };
	char *json = format_text("{\"keys\":[%s]}", keys);
	struct jwks *set = jwks_parse(json, strlen(json), &error);
	return set;
}

/* Is it a token that is signed by one of the set? */
static bool verifies(const struct jwks *set, const char *token_text)
{
	struct token token;
	struct refusal why;
	if (token_parse(text(token_text), &token, &why) != SL_OK)
		return false;
	const struct jwks_key *key = jwks_find(set, &token);
	bool fine = key && jwks_verify(key, &token);
	token_free(&token);
	return fine;
}

static const char *refused(const char *token_text)
{
	static struct refusal why;
	struct token token;
	why.event = "none";
	cr_assert_eq(token_parse(text(token_text), &token, &why), SL_EAUTH, "%s", token_text);
	return why.event;
}

/* ---- the token ---- */

Test(jwt_token, base64url_is_strict)
{
	unsigned char out[8];
	cr_expect_eq(base64url_decode(text(""), out, sizeof out), 0);
	cr_expect_eq(base64url_decode(text("Zg"), out, sizeof out), 1);
	cr_expect_eq(base64url_decode(text("_-8"), out, sizeof out), 2);
	cr_expect(out[0] == 0xff && out[1] == 0xef);
	cr_expect_eq(base64url_decode(text("Zm9v"), out, 3), 3, "just enough room");
	cr_expect_eq(base64url_decode(text("Zm9v"), out, 2), -1, "no room");
	static const char *const wrong[] = { "Z", "Zg==", "Zm9vY", "Zm+v", "Zm/v", "Zm v", "Zh", "Zm9", "Zg\n" };
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		cr_expect_eq(base64url_decode(text(wrong[i]), out, sizeof out), -1, "'%s'", wrong[i]);
}

Test(jwt_token, shape)
{
	cr_expect(token_shape(text("eyJhIjoxfQ.e30.xx")));
	cr_expect(token_shape(text("ey..")), "ours, so that it is refused as what it tries to be");
	cr_expect_not(token_shape(text("slk_7Q2MXpVt")));
	cr_expect_not(token_shape(text("a.b.c")));
	cr_expect_not(token_shape(text("eyJhIjoxfQ.e30")));
	cr_expect_not(token_shape(text("eyJhIjoxfQ.e30.xx.yy.zz")), "encrypted");
	cr_expect_not(token_shape(text("")));
}

Test(jwt_token, malformed)
{
	static const char *const headers[] = {
		"", "{", "[]", "\"RS256\"", "{}", "{\"alg\":1}", "{\"alg\":null}", "{\"alg\":\"RS256\",\"alg\":\"none\"}",
		"{\"alg\":\"RS256\",\"kid\":7}", "{\"alg\":\"RS256\",\"typ\":[]}", "{\"alg\":\"RS256\"}x", "{\"alg\":\"RS256\",\"kid\":\"a\\u0000b\"}",
		"{\"alg\":\"RS256\",\"crit\":[\"exp\"],\"exp\":1}", "{\"alg\":\"RS256\",\"kid\":\"\xff\"}",
	};
	for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
		cr_expect_str_eq(refused(token_of(rsa(), "RS256", headers[i], "{" CLAIMS "}")), "malformed", "%s", headers[i]);
	static const char *const payloads[] = { "", "{", "[1]", "null", "{\"exp\":1,\"exp\":2}", "{\"a\":1e999}", "{\"sub\":\"\\ud800\"}",
		                                    "{\"a\":99999999999999999999}" };
	for (size_t i = 0; i < sizeof payloads / sizeof payloads[0]; i++)
		cr_expect_str_eq(refused(token_of(rsa(), "RS256", "{\"alg\":\"RS256\"}", payloads[i])), "malformed", "%s", payloads[i]);
	cr_expect_str_eq(refused("eyJhbGciOiJSUzI1NiJ9.e30.a"), "malformed", "no base64");
	cr_expect_str_eq(refused("eyJhbGciOiJSUzI1NiJ9.e30."), "malformed", "no signature");
	cr_expect_str_eq(refused("eyJhbGciOiJSUzI1NiJ9.e30"), "malformed");
	cr_expect_str_eq(refused("eyJhbGciOiJSUzI1NiJ9.e30.xx.xx"), "malformed");
	cr_expect_str_eq(refused("eyJhbGciOiJSUzI1NiJ9.e3%30.xxxx"), "malformed");
	char *kid = format_text("{\"alg\":\"RS256\",\"kid\":\"%0300d\"}", 1);
	cr_expect_str_eq(refused(token_of(rsa(), "RS256", kid, "{}")), "malformed", "long kid");
}

Test(jwt_token, deep_and_huge)
{
	struct token token;
	struct refusal why;
	for (int depth = TOKEN_DEPTH_MAX - 1; depth <= TOKEN_DEPTH_MAX; depth++) {
		char payload[128] = "{\"a\":";
		for (int i = 0; i < depth; i++)
			strcat(payload, "[");
		for (int i = 0; i < depth; i++)
			strcat(payload, "]");
		strcat(payload, "}");
		int code = token_parse(text(token_of(rsa(), "RS256", "{\"alg\":\"RS256\"}", payload)), &token, &why);
		cr_expect_eq(code, depth < TOKEN_DEPTH_MAX ? SL_OK : SL_EAUTH, "%d arrays in an object", depth);
		if (code == SL_OK)
			token_free(&token);
	}
	char *brackets = keep(malloc(5000));
	memset(brackets, '[', 4999);
	brackets[4999] = '\0';
	cr_expect_str_eq(refused(token_of(rsa(), "RS256", "{\"alg\":\"RS256\"}", brackets)), "malformed", "no recursion of that depth");
	char *big = format_text("{\"a\":\"%05500d\"}", 1), *bigger = format_text("{\"a\":\"%08000d\"}", 1);
	char *fits = token_of(rsa(), "RS256", "{\"alg\":\"RS256\"}", big);
	cr_assert(strlen(fits) < TOKEN_MAX && token_parse(text(fits), &token, &why) == SL_OK);
	token_free(&token);
	cr_expect_str_eq(refused(token_of(rsa(), "RS256", "{\"alg\":\"RS256\"}", bigger)), "malformed");
	char *brackets_in_text = token_of(rsa(), "RS256", "{\"alg\":\"RS256\"}", "{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[\"}");
	cr_assert_eq(token_parse(text(brackets_in_text), &token, &why), SL_OK, "brackets within text are no depth");
	token_free(&token);
}

Test(jwt_token, symmetric_and_unsigned)
{
	static const char *const algorithms[] = { "none", "None", "NONE", "HS256", "HS384", "HS512", "rs256", "RS256 ", "", "ES256K", "RSA-OAEP" };
	for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++) {
		char *header = format_text("{\"alg\":\"%s\"}", algorithms[i]);
		cr_expect_str_eq(refused(token_of(rsa(), "RS256", header, "{" CLAIMS "}")), "algorithm", "%s", header);
		char *bare = format_text("%s.%s.", base64url(header, strlen(header)), base64url("{" CLAIMS "}", strlen("{" CLAIMS "}")));
		cr_expect_str_eq(refused(bare), "algorithm", "%s without a signature", header);
	}
	char *jwk = jwk_of(rsa(), "");
	cr_expect_str_eq(refused(token_hmac(jwk, strlen(jwk), "{\"alg\":\"HS256\"}", "{" CLAIMS "}")), "algorithm");
}

/* ---- keys ---- */

Test(jwt_keys, every_algorithm)
{
	static const struct {
		const char *algorithm, *kind;
	} all[] = {
		{ "RS256", "RSA" }, { "RS384", "RSA" }, { "RS512", "RSA" }, { "PS256", "RSA" }, { "PS384", "RSA" }, { "PS512", "RSA" },
		{ "ES256", "P-256" }, { "ES384", "P-384" }, { "ES512", "P-521" }, { "EdDSA", "ED25519" },
	};
	EVP_PKEY *other_rsa = new_key("RSA");
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		bool is_rsa = strcmp(all[i].kind, "RSA") == 0;
		EVP_PKEY *key = is_rsa ? rsa() : new_key(all[i].kind), *stranger = is_rsa ? other_rsa : new_key(all[i].kind);
		struct jwks *set = set_of(jwk_of(key, ",\"kid\":\"k\",\"use\":\"sig\""));
		char *header = format_text("{\"alg\":\"%s\",\"kid\":\"k\"}", all[i].algorithm);
		char *good = token_of(key, all[i].algorithm, header, "{" CLAIMS "}");
		cr_assert_not_null(set, "%s", all[i].algorithm);
		cr_expect(verifies(set, good), "%s", all[i].algorithm);
		cr_expect_not(verifies(set, token_of(stranger, all[i].algorithm, header, "{" CLAIMS "}")), "%s of another key", all[i].algorithm);
		char *dot = strrchr(good, '.'), *middle = strchr(good, '.') + 5;
		char kept = dot[3];
		dot[3] = kept == 'A' ? 'B' : 'A';
		cr_expect_not(verifies(set, good), "%s with another signature", all[i].algorithm);
		dot[3] = kept;
		kept = *middle;
		*middle = kept == 'A' ? 'B' : 'A';
		cr_expect_not(verifies(set, good), "%s over another text", all[i].algorithm);
		*middle = kept;
		good[strlen(good) - 4] = '\0';
		cr_expect_not(verifies(set, good), "%s cut short", all[i].algorithm);
		jwks_free(set);
	}
}

Test(jwt_keys, kinds_are_not_confused)
{
	EVP_PKEY *ec = new_key("P-256"), *p384 = new_key("P-384");
	char *jwk_rsa = jwk_of(rsa(), ",\"kid\":\"r\",\"alg\":\"RS256\""), *jwk_ec = jwk_of(ec, ",\"kid\":\"e\"");
	struct jwks *set = set_of(format_text("%s,%s", jwk_rsa, jwk_ec));
	cr_assert_not_null(set);
	cr_expect(verifies(set, token_of(rsa(), "RS256", "{\"alg\":\"RS256\",\"kid\":\"r\"}", "{}")));
	cr_expect_not(verifies(set, token_of(rsa(), "PS256", "{\"alg\":\"PS256\",\"kid\":\"r\"}", "{}")), "the key's alg says RS256");
	cr_expect_not(verifies(set, token_of(rsa(), "RS512", "{\"alg\":\"RS512\",\"kid\":\"r\"}", "{}")));
	cr_expect_not(verifies(set, token_of(rsa(), "RS256", "{\"alg\":\"ES256\",\"kid\":\"e\"}", "{}")));
	cr_expect_not(verifies(set, token_of(rsa(), "RS256", "{\"alg\":\"RS256\",\"kid\":\"e\"}", "{}")), "a kid of another kind");
	cr_expect_not(verifies(set, token_of(p384, "ES384", "{\"alg\":\"ES256\",\"kid\":\"e\"}", "{}")));
	cr_expect_not(verifies(set, token_of(ec, "ES256", "{\"alg\":\"ES256\",\"kid\":\"x\"}", "{}")), "an unknown kid");
	struct token token;
	struct refusal why;
	cr_assert_eq(token_parse(text(token_of(rsa(), "PS256", "{\"alg\":\"PS256\",\"kid\":\"r\"}", "{}")), &token, &why), SL_OK);
	cr_expect_not(jwks_could_gain(set, &token), "that kid is there");
	strcpy(token.kid, "new");
	cr_expect(jwks_could_gain(set, &token));
	token.has_kid = false;
	cr_expect_not(jwks_could_gain(set, &token));
	token_free(&token);
	jwks_free(set);
}

Test(jwt_keys, same_kid_for_two_kinds)
{
	EVP_PKEY *ec = new_key("P-256");
	struct jwks *set = set_of(format_text("%s,%s", jwk_of(rsa(), ",\"kid\":\"k\""), jwk_of(ec, ",\"kid\":\"k\"")));
	cr_expect(verifies(set, token_of(rsa(), "RS256", "{\"alg\":\"RS256\",\"kid\":\"k\"}", "{}")));
	cr_expect(verifies(set, token_of(ec, "ES256", "{\"alg\":\"ES256\",\"kid\":\"k\"}", "{}")));
	cr_expect_neq(set->keys[0].id, set->keys[1].id);
	jwks_free(set);
}

Test(jwt_keys, no_kid)
{
	EVP_PKEY *ec = new_key("P-256"), *other = new_key("P-256");
	char *token = token_of(ec, "ES256", "{\"alg\":\"ES256\"}", "{}");
	struct jwks *one = set_of(format_text("%s,%s", jwk_of(ec, ",\"kid\":\"a\""), jwk_of(rsa(), ",\"kid\":\"r\"")));
	cr_expect(verifies(one, token), "one key of that kind: it is meant");
	struct jwks *two = set_of(format_text("%s,%s", jwk_of(ec, ",\"kid\":\"a\""), jwk_of(other, ",\"kid\":\"b\"")));
	cr_expect_not(verifies(two, token), "which is meant?");
	struct jwks *bare = set_of(jwk_of(ec, ""));
	cr_expect(verifies(bare, token));
	cr_expect_not(verifies(bare, token_of(ec, "ES256", "{\"alg\":\"ES256\",\"kid\":\"\"}", "{}")), "an empty kid is a kid");
	jwks_free(one);
	jwks_free(two);
	jwks_free(bare);
}

Test(jwt_keys, what_is_no_key_for_us)
{
	char *good = jwk_of(rsa(), ",\"kid\":\"good\"");
	EVP_PKEY *shorter = keep(EVP_RSA_gen(1024)), *ec = new_key("P-256");
	char *off_curve = jwk_of(ec, "");
	char *y = strstr(off_curve, "\"y\":\"") + 6;
	*y = *y == 'A' ? 'B' : 'A';
	const char *const useless[] = {
		"{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}", jwk_of(rsa(), ",\"use\":\"enc\""), jwk_of(rsa(), ",\"key_ops\":[\"encrypt\"]"),
		jwk_of(rsa(), ",\"alg\":\"HS256\""), jwk_of(rsa(), ",\"alg\":\"ES256\""), jwk_of(rsa(), ",\"alg\":7"),
		jwk_of(rsa(), ",\"kid\":7"), jwk_of(rsa(), ",\"use\":7"), jwk_of(shorter, ""), off_curve,
		"{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}", "{\"kty\":\"RSA\"}", "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}",
		"{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"AA\",\"y\":\"AA\"}", "{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"AA\"}", "{}", "7", "null",
	};
	for (size_t i = 0; i < sizeof useless / sizeof useless[0]; i++) {
		cr_expect_null(set_of(useless[i]), "%s", useless[i]);
		struct jwks *set = set_of(format_text("%s,%s", useless[i], good));
		cr_assert_not_null(set, "the others hold");
		cr_expect(set->n_keys == 1 && set->n_skipped == 1, "%s", useless[i]);
		jwks_free(set);
	}
	cr_expect_null(set_of(""), "an empty set");
	sl_error error = { 0 };
	static const char *const wrong[] = { "", "[]", "{}", "{\"keys\":{}}", "{\"keys\":[]", "<html>", "{\"keys\":[],\"keys\":[]}" };
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		cr_expect_null(jwks_parse(wrong[i], strlen(wrong[i]), &error), "%s", wrong[i]);
	cr_expect(error.text[0] && error.code < 0);
	struct jwks *verify = set_of(jwk_of(rsa(), ",\"key_ops\":[\"verify\"]"));
	cr_assert_not_null(verify);
	jwks_free(verify);
}

Test(jwt_keys, no_more_than_the_bound)
{
	EVP_PKEY *ec = new_key("P-256");
	char *all = format_text("%s", "");
	for (int i = 0; i < JWKS_KEYS_MAX + 3; i++)
		all = format_text("%s%s%s", all, i ? "," : "", jwk_of(ec, format_text(",\"kid\":\"%d\"", i)));
	struct jwks *set = set_of(all);
	cr_expect(set->n_keys == JWKS_KEYS_MAX && set->n_skipped == 3);
	jwks_free(set);
}

/* ---- the cache ---- */

static struct cache_entry entry_of(unsigned number, uint64_t until_ms)
{
	struct cache_entry e = { .key_id = 1, .generation = 1, .until_ms = until_ms };
	memcpy(e.digest + 16, &number, sizeof number); /* all in one bucket */
	snprintf(e.identity.user, sizeof e.identity.user, "u%u", number);
	return e;
}

Test(jwt_cache, finds_until_the_end_and_is_bounded)
{
	struct cache *c = cache_new(16);
	struct cache_entry found, e = entry_of(1, WALL_MS + 1000);
	cr_expect_not(cache_find(c, e.digest, 1, WALL_MS, &found));
	cache_put(c, &e, WALL_MS);
	cr_assert(cache_find(c, e.digest, 1, WALL_MS, &found));
	cr_expect_str_eq(found.identity.user, "u1");
	cr_expect(cache_find(c, e.digest, 1, WALL_MS + 999, &found));
	cr_expect_not(cache_find(c, e.digest, 1, WALL_MS + 1000, &found), "over");
	cr_expect_not(cache_find(c, e.digest, 2, WALL_MS, &found), "other settings");
	for (unsigned i = 2; i < 100; i++) {
		struct cache_entry next = entry_of(i, WALL_MS + 1000 + i);
		cache_put(c, &next, WALL_MS);
		cr_assert(cache_find(c, next.digest, 1, WALL_MS, &found), "the newest is there");
	}
	unsigned held = 0;
	for (unsigned i = 1; i < 100; i++) {
		struct cache_entry any = entry_of(i, 0);
		held += cache_find(c, any.digest, 1, WALL_MS, &found);
	}
	cr_expect_eq(held, 8, "one bucket: %u", held);
	struct cache_entry again = entry_of(99, WALL_MS + 5000);
	cache_put(c, &again, WALL_MS);
	cr_assert(cache_find(c, again.digest, 1, WALL_MS + 3000, &found), "the same again takes its own place");
	cr_expect_eq(found.until_ms, WALL_MS + 5000);
	cache_free(c);
}

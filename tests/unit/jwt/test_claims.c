/* SPDX-License-Identifier: Apache-2.0 */
/* test_claims.c - what the options of auth/jwt make of claims: who is let in, as whom, and until when. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/auth/jwt/claims.h"

#define WALL_S INT64_C(1790000000)
#define WALL_MS (WALL_S * 1000)

/* ---- a host whose options are a JSON object ---- */

static json_t *conf;

/* Is the option handed over as JSON, as the plugin's table says? */
static bool is_json(const char *name)
{
	static const char *const names[] = { "audience", "algorithms", "require", "tenants", "tiers", "roles" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static sl_str conf_str(const sl_conf *unused, const char *name)
{
	static char *texts[64];
	static unsigned n;
	(void) unused;
	const json_t *value = json_object_get(conf, name);
	if (!value)
		return (sl_str){ 0 };
	if (!is_json(name))
		return (sl_str){ json_string_value(value), json_string_length(value) };
	free(texts[n % 64]);
	char *text = texts[n++ % 64] = json_dumps(value, JSON_ENCODE_ANY);
	return (sl_str){ text, strlen(text) };
}

static int64_t conf_int(const sl_conf *unused, const char *name)
{
	(void) unused;
	return json_integer_value(json_object_get(conf, name));
}

static const sl_host host = { .size = sizeof host, .conf_str = conf_str, .conf_int = conf_int };

/* Options of a plain site, and others over them. */
static struct settings *settings(const char *more, sl_error *error)
{
	conf = json_loads("{\"issuer\":\"https://id.example\",\"audience\":[\"sluice\"],\"algorithms\":[\"RS256\",\"ES256\"],\"user_claim\":\"sub\","
	                  "\"scope_claim\":\"scope\",\"tenant\":\"all\",\"leeway\":30000}", 0, NULL);
	json_t *over = json_loads(more, 0, NULL);
	cr_assert(conf && over, "%s", more);
	json_object_update(conf, over);
	json_decref(over);
	const char *name;
	json_t *value;
	void *next;
	json_object_foreach_safe(conf, next, name, value)
		if (json_is_null(value))
			json_object_del(conf, name);
	struct settings *s = settings_new(&host, NULL, error);
	json_decref(conf);
	return s;
}

static struct settings *fine(const char *more)
{
	sl_error error = { 0 };
	struct settings *s = settings(more, &error);
	cr_assert_not_null(s, "%s: %s", more, error.text);
	return s;
}

/* What is checked of a token with these claims over good ones: the event, or "fine". */
static const char *checked(const struct settings *s, const char *claims, uint64_t *until_ms)
{
	static struct refusal why;
	uint64_t until = 0;
	struct token token = { .algorithm = ALGORITHM_RS256, .type = "JWT" };
	token.claims = json_pack("{s:s, s:s, s:s, s:I}", "iss", "https://id.example", "aud", "sluice", "sub", "ann", "exp",
	                         (json_int_t) WALL_S + 100);
	json_t *over = json_loads(claims, 0, NULL);
	cr_assert_not_null(over, "%s", claims);
	json_object_update(token.claims, over);
	json_decref(over);
	int code = claims_check(s, &token, WALL_MS, &until, &why);
	if (until_ms)
		*until_ms = until;
	token_free(&token);
	cr_assert(code == SL_OK || (code == SL_EAUTH && why.error.text[0]), "%s", claims);
	return code == SL_OK ? "fine" : why.event;
}

static int identified(const struct settings *s, const char *claims, sl_identity *out)
{
	struct refusal why;
	json_t *json = json_loads(claims, 0, NULL);
	cr_assert_not_null(json, "%s", claims);
	int code = claims_identity(s, json, out, &why);
	json_decref(json);
	return code;
}

Test(jwt_claims, issuer_and_audience)
{
	struct settings *s = fine("{\"audience\":[\"sluice\",\"https://api.example\"]}");
	cr_expect_str_eq(checked(s, "{}", NULL), "fine");
	cr_expect_str_eq(checked(s, "{\"iss\":\"https://id.example/\"}", NULL), "issuer");
	cr_expect_str_eq(checked(s, "{\"iss\":[\"https://id.example\"]}", NULL), "issuer");
	cr_expect_str_eq(checked(s, "{\"iss\":null}", NULL), "issuer");
	cr_expect_str_eq(checked(s, "{\"aud\":\"https://api.example\"}", NULL), "fine");
	cr_expect_str_eq(checked(s, "{\"aud\":[\"x\",\"sluice\"]}", NULL), "fine");
	static const char *const others[] = { "{\"aud\":\"other\"}", "{\"aud\":[]}", "{\"aud\":null}", "{\"aud\":[[\"sluice\"]]}",
		                                  "{\"aud\":{\"sluice\":1}}", "{\"aud\":\"sluice2\"}", "{\"aud\":\"\"}", "{\"aud\":true}" };
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		cr_expect_str_eq(checked(s, others[i], NULL), "audience", "%s", others[i]);
	settings_free(s);
}

Test(jwt_claims, times)
{
	uint64_t until;
	struct settings *s = fine("{}");
	static const struct {
		const char *claims, *result;
	} all[] = {
		{ "{\"exp\":1790000000}", "fine" }, /* within the leeway */
		{ "{\"exp\":1789999971}", "fine" },
		{ "{\"exp\":1789999970}", "expired" },
		{ "{\"exp\":1789999970.5}", "fine" },
		{ "{\"exp\":0}", "expired" },
		{ "{\"exp\":-1}", "claims" },
		{ "{\"exp\":1e300}", "claims" },
		{ "{\"exp\":9223372036854775807}", "claims" },
		{ "{\"exp\":253402300799}", "fine" },
		{ "{\"exp\":\"1790000100\"}", "claims" },
		{ "{\"exp\":null}", "claims" },
		{ "{\"exp\":true}", "claims" },
		{ "{\"nbf\":1790000030}", "fine" },
		{ "{\"nbf\":1790000031}", "not_yet" },
		{ "{\"nbf\":\"soon\"}", "claims" },
		{ "{\"iat\":1790000030}", "fine" },
		{ "{\"iat\":1790000031}", "not_yet" },
		{ "{\"iat\":{}}", "claims" },
		{ "{\"iat\":1000}", "fine" },
	};
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		cr_expect_str_eq(checked(s, all[i].claims, NULL), all[i].result, "%s: %s", all[i].claims, checked(s, all[i].claims, NULL));
	checked(s, "{}", &until);
	cr_expect_eq(until, WALL_MS + 130000);
	settings_free(s);

	s = fine("{\"max_age\":60000,\"leeway\":0}");
	cr_expect_str_eq(checked(s, "{}", NULL), "claims", "no iat");
	cr_expect_str_eq(checked(s, "{\"iat\":1789999940}", NULL), "expired");
	cr_expect_str_eq(checked(s, "{\"iat\":1789999941}", &until), "fine");
	cr_expect_eq(until, WALL_MS + 1000, "the earlier of both ends");
	settings_free(s);
}

Test(jwt_claims, algorithm_type_and_required)
{
	struct refusal why;
	uint64_t until;
	struct settings *s = fine("{\"type\":\"at+jwt\",\"require\":[\"email\",\"realm.name\"]}");
	struct token token = { .algorithm = ALGORITHM_PS256, .type = "at+jwt" };
	token.claims = json_pack("{s:s,s:s,s:I,s:s,s:{s:s}}", "iss", "https://id.example", "aud", "sluice", "exp", (json_int_t) WALL_S + 9, "email",
	                         "a@b", "realm", "name", "x");
	cr_expect_eq(claims_check(s, &token, WALL_MS, &until, &why), SL_EAUTH, "known, and not accepted here");
	cr_expect_str_eq(why.event, "algorithm");
	token.algorithm = ALGORITHM_ES256;
	cr_expect_eq(claims_check(s, &token, WALL_MS, &until, &why), SL_OK);
	strcpy(token.type, "application/AT+jwt");
	cr_expect_eq(claims_check(s, &token, WALL_MS, &until, &why), SL_OK);
	strcpy(token.type, "JWT");
	cr_expect_eq(claims_check(s, &token, WALL_MS, &until, &why), SL_EAUTH);
	cr_expect_str_eq(why.event, "type");
	token_free(&token);
	settings_free(s);

	s = fine("{\"require\":[\"email\"]}");
	cr_expect_str_eq(checked(s, "{}", NULL), "claims");
	cr_expect_str_eq(checked(s, "{\"email\":\"\"}", NULL), "claims");
	cr_expect_str_eq(checked(s, "{\"email\":null}", NULL), "claims");
	cr_expect_str_eq(checked(s, "{\"email\":\"a@b\"}", NULL), "fine");
	settings_free(s);
	s = fine("{\"require\":{\"email_verified\":true,\"groups\":\"ml\"}}");
	cr_expect_str_eq(checked(s, "{\"email_verified\":true,\"groups\":[\"x\",\"ml\"]}", NULL), "fine");
	cr_expect_str_eq(checked(s, "{\"email_verified\":true,\"groups\":\"ml\"}", NULL), "fine");
	cr_expect_str_eq(checked(s, "{\"email_verified\":\"true\",\"groups\":\"ml\"}", NULL), "claims");
	cr_expect_str_eq(checked(s, "{\"email_verified\":true,\"groups\":[\"mlx\"]}", NULL), "claims");
	cr_expect_str_eq(checked(s, "{\"groups\":\"ml\"}", NULL), "claims");
	settings_free(s);
}

Test(jwt_claims, tenant_user_tier)
{
	sl_identity who;
	struct settings *s = fine("{}");
	cr_assert_eq(identified(s, "{\"sub\":\"ann\"}", &who), SL_OK);
	cr_expect(strcmp(who.tenant, "all") == 0 && strcmp(who.user, "ann") == 0 && !who.tier[0] && who.roles == SL_ROLE_INFER);
	cr_expect(who.size == sizeof who && who.uid == UINT32_MAX && who.credential == 0 && !who.key[0]);
	static const char *const nobody[] = { "{}", "{\"sub\":\"\"}", "{\"sub\":7}", "{\"sub\":\"a\\nb\"}", "{\"sub\":[\"a\",\"b\"]}",
		"{\"sub\":\"0123456789012345678901234567890123456789012345678901234567890123\"}" };
	for (size_t i = 0; i < sizeof nobody / sizeof nobody[0]; i++)
		cr_expect_eq(identified(s, nobody[i], &who), SL_EDENIED, "%s", nobody[i]);
	settings_free(s);

	s = fine("{\"tenant\":null,\"tenant_claim\":\"org.name\",\"tier_claim\":\"plan\",\"user_claim\":\"\"}");
	cr_assert_eq(identified(s, "{\"org\":{\"name\":\"acme\"},\"plan\":\"gold\"}", &who), SL_OK);
	cr_expect(strcmp(who.tenant, "acme") == 0 && strcmp(who.tier, "gold") == 0 && !who.user[0]);
	cr_assert_eq(identified(s, "{\"org.name\":\"whole\",\"org\":{\"name\":\"acme\"}}", &who), SL_OK);
	cr_expect(strcmp(who.tenant, "whole") == 0 && !who.tier[0], "the whole name goes before the path");
	static const char *const none[] = { "{}", "{\"org\":\"acme\"}", "{\"org\":{\"name\":[]}}", "{\"org\":{\"name\":[\"a\",\"b\"]}}",
		"{\"org\":{\"name\":\"acme\"},\"plan\":[\"a\",\"b\"]}", "{\"org\":{\"name\":\"acme\"},\"plan\":7}" };
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
		cr_expect_eq(identified(s, none[i], &who), SL_EDENIED, "%s", none[i]);
	settings_free(s);
}

Test(jwt_claims, maps)
{
	sl_identity who;
	struct settings *s = fine("{\"tenant\":null,\"tenant_claim\":\"groups\",\"tenants\":{\"team-a\":\"acme\",\"team-b\":\"beta\"},"
	                          "\"tier_claim\":\"groups\",\"tiers\":{\"vip\":\"gold\"}}");
	cr_assert_eq(identified(s, "{\"sub\":\"u\",\"groups\":[\"x\",\"team-b\",\"team-a\",\"vip\"]}", &who), SL_OK);
	cr_expect(strcmp(who.tenant, "beta") == 0 && strcmp(who.tier, "gold") == 0, "the token's order decides");
	cr_assert_eq(identified(s, "{\"sub\":\"u\",\"groups\":\"team-a\"}", &who), SL_OK);
	cr_expect(strcmp(who.tenant, "acme") == 0 && !who.tier[0]);
	cr_expect_eq(identified(s, "{\"sub\":\"u\",\"groups\":[\"acme\"]}", &who), SL_EDENIED, "with a map, a value is no name");
	cr_expect_eq(identified(s, "{\"sub\":\"u\",\"groups\":[\"*\"]}", &who), SL_EDENIED);
	settings_free(s);
	s = fine("{\"tenant\":null,\"tenant_claim\":\"org\",\"tenants\":{\"a\":\"acme\",\"*\":\"guests\"}}");
	cr_assert_eq(identified(s, "{\"sub\":\"u\",\"org\":\"zzz\"}", &who), SL_OK);
	cr_expect_str_eq(who.tenant, "guests");
	cr_assert_eq(identified(s, "{\"sub\":\"u\"}", &who), SL_OK);
	cr_expect_str_eq(who.tenant, "guests");
	cr_assert_eq(identified(s, "{\"sub\":\"u\",\"org\":[\"*\",\"a\"]}", &who), SL_OK);
	cr_expect_str_eq(who.tenant, "acme");
	settings_free(s);
}

Test(jwt_claims, scopes)
{
	sl_identity who;
	struct settings *s = fine("{\"roles\":{\"llm.call\":\"infer\",\"ops\":[\"operator\",\"lease\"]}}");
	cr_assert_eq(identified(s, "{\"sub\":\"u\",\"scope\":\"openid llm.call  ops\"}", &who), SL_OK);
	cr_expect_eq(who.roles, SL_ROLE_INFER | SL_ROLE_OPERATOR | SL_ROLE_LEASE);
	cr_assert_eq(identified(s, "{\"sub\":\"u\",\"scope\":[\"llm.call\",7]}", &who), SL_OK);
	cr_expect_eq(who.roles, SL_ROLE_INFER);
	static const char *const none[] = { "{\"sub\":\"u\"}", "{\"sub\":\"u\",\"scope\":\"\"}", "{\"sub\":\"u\",\"scope\":\"llm.callx\"}",
		"{\"sub\":\"u\",\"scope\":\"llm\"}", "{\"sub\":\"u\",\"scope\":[\"llm.call ops\"]}", "{\"sub\":\"u\",\"scope\":{\"ops\":1}}",
		"{\"sub\":\"u\",\"scope\":\"*\"}" };
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
		cr_expect_eq(identified(s, none[i], &who), SL_EDENIED, "%s", none[i]);
	settings_free(s);
	s = fine("{\"scope_claim\":\"scp\",\"roles\":{\"*\":\"infer\",\"root\":\"admin\"}}");
	cr_assert_eq(identified(s, "{\"sub\":\"u\",\"scope\":\"root\"}", &who), SL_OK);
	cr_expect_eq(who.roles, SL_ROLE_INFER, "another claim");
	settings_free(s);
}

Test(jwt_claims, options_are_checked)
{
	static const struct {
		const char *options, *words;
	} all[] = {
		{ "{\"issuer\":\"\"}", "issuer" }, { "{\"audience\":[]}", "audience" }, { "{\"audience\":[\"\"]}", "audience" },
		{ "{\"audience\":{\"a\":1}}", "audience" }, { "{\"algorithms\":[\"HS256\"]}", "HS256" }, { "{\"algorithms\":[\"none\"]}", "none" },
		{ "{\"algorithms\":7}", "algorithms" }, { "{\"require\":[7]}", "require" }, { "{\"tenant\":null}", "tenant_claim" },
		{ "{\"tenant_claim\":\"org\"}", "one of" }, { "{\"tenants\":{\"a\":\"b\"}}", "tenant_claim" },
		{ "{\"tiers\":{\"a\":\"b\"}}", "tier_claim" }, { "{\"tier_claim\":\"t\",\"tiers\":[\"a\"]}", "tiers" },
		{ "{\"tier_claim\":\"t\",\"tiers\":{\"a\":7}}", "'a'" }, { "{\"roles\":{\"a\":\"boss\"}}", "infer" },
		{ "{\"roles\":{\"a\":[]}}", "'a'" }, { "{\"roles\":[\"infer\"]}", "roles" }, { "{\"scope_claim\":\"\",\"roles\":{\"a\":\"infer\"}}", "scope_claim" },
		{ "{\"tenant\":\"0123456789012345678901234567890123456789012345678901234567890123\"}", "longer" },
	};
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		sl_error error = { 0 };
		cr_expect_null(settings(all[i].options, &error), "%s", all[i].options);
		cr_expect(error.code == SL_EINVAL && strstr(error.text, all[i].words), "%s: %s", all[i].options, error.text);
	}
	struct settings *a = fine("{\"audience\":\"one\",\"require\":{},\"tiers\":[]}"), *b = fine("{}");
	cr_expect(json_array_size(a->audience) == 1 && !a->require && !a->tiers);
	cr_expect_neq(a->generation, b->generation);
	settings_free(a);
	settings_free(b);
}

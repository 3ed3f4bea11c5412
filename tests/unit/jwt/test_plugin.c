/* SPDX-License-Identifier: Apache-2.0 */
/* test_plugin.c - auth/jwt as a host sees it, with its keys in a file: answers at once and later, rotation, loss of the
 * keys, other settings, other tenants. */
#include "config.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sluice/auth.h>
#include <stdatomic.h>
#include <time.h>

#include "core/base/clock.h"
#include "tests/unit/jwt/issue.h"
#include "tests/unit/plugin/fixture.h"

static atomic_bool disabled;

static int tenant_find(void *ctx, sl_str tenant, sl_str tier, sl_identity *out, sl_error *error)
{
	(void) ctx;
	if (tenant.len != 4 || memcmp(tenant.ptr, "acme", 4) != 0 || disabled) {
		strcpy(error->text, "no such tenant");
		return error->code = SL_EDENIED;
	}
	strcpy(out->tenant, "acme");
	snprintf(out->tier, sizeof out->tier, "%.*s", tier.ptr ? (int) tier.len : 3, tier.ptr ? tier.ptr : "own");
	return SL_OK;
}

static const struct plugin_services services = { .tenant_find = tenant_find };
static const char *keys_path;

/* The file with these keys, put in place at once. */
static void publish(const char *keys)
{
	char *json = format_text("{\"keys\":[%s]}", keys), *final = NULL;
	const char *path = fixture_file("keys.tmp", json, strlen(json));
	final = format_text("%.*s.json", (int) strlen(path) - 4, path);
	cr_assert_eq(rename(path, final), 0);
	keys_path = final;
}

static struct plugin *open_plugin(const char *more)
{
	enum plugin_refusal refusal;
	sl_error error = { 0 };
	char *options = format_text("{\"issuer\":\"https://id.example\",\"audience\":\"sluice\",\"tenant_claim\":\"org\",\"jwks\":\"%s\","
	                            "\"gap\":\"1s\"%s}", keys_path, more);
	struct plugin *p = fixture_open("plugins/auth/jwt", "jwt", options, &services, &refusal, &error);
	cr_assert_not_null(p, "%s", error.text);
	return p;
}

static char *token_for(EVP_PKEY *key, const char *kid, const char *user)
{
	char *header = format_text("{\"alg\":\"ES256\",\"kid\":\"%s\"}", kid);
	return token_of(key, "ES256", header, format_text("{\"iss\":\"https://id.example\",\"aud\":[\"sluice\"],\"org\":\"acme\",\"sub\":\"%s\","
	                                                  "\"exp\":%llu}", user, (unsigned long long) clock_wall_ms() / 1000 + 3600));
}

/* ---- asking, and waiting for the answer ---- */

struct asked {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool done;
	int code;
	sl_identity who;
	sl_error error;
};

static void on_done(void *arg, const void *result, size_t size, const sl_error *error)
{
	struct asked *a = arg;
	pthread_mutex_lock(&a->lock);
	a->done = true;
	a->code = error ? error->code : SL_OK;
	if (result)
		memcpy(&a->who, result, size < sizeof a->who ? size : sizeof a->who);
	if (error)
		a->error = *error;
	pthread_cond_broadcast(&a->changed);
	pthread_mutex_unlock(&a->lock);
}

static int ask_both(struct plugin *p, struct asked *a, const char *authorization, const char *api_key)
{
	const sl_auth_ops *ops = plugin_ops(p);
	*a = (struct asked){ .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
	sl_auth_request request = { .size = sizeof request, .door = SL_DOOR_INFERENCE,
		.authorization = { authorization, authorization ? strlen(authorization) : 0 },
		.api_key = { api_key, api_key ? strlen(api_key) : 0 } };
	sl_token token = plugin_token_new(p, clock_mono_ns() + UINT64_C(60000000000), on_done, a);
	int code = ops->authenticate(plugin_self(p), &request, token, &a->who, &a->error);
	if (code != SL_PENDING)
		plugin_token_drop(p, token);
	return code;
}

static int ask(struct plugin *p, struct asked *a, const char *token)
{
	return ask_both(p, a, format_text("Bearer %s", token), NULL);
}

static int wait_for(struct asked *a)
{
	pthread_mutex_lock(&a->lock);
	while (!a->done)
		pthread_cond_wait(&a->changed, &a->lock);
	pthread_mutex_unlock(&a->lock);
	return a->code;
}

/* The answer, at once or later. */
static int answer(struct plugin *p, struct asked *a, const char *token)
{
	int code = ask(p, a, token);
	return code == SL_PENDING ? wait_for(a) : code;
}

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
}

/* Asks again until that is the answer. A test that never gets it is ended by its own time limit. */
static void becomes(struct plugin *p, struct asked *a, const char *token, int code)
{
	while (answer(p, a, token) != code)
		nap();
}

Test(jwt_plugin, whose_token, .timeout = 60)
{
	struct asked a;
	EVP_PKEY *key = new_key("P-256");
	publish(jwk_of(key, ",\"kid\":\"one\""));
	struct plugin *p = open_plugin("");
	char *token = token_for(key, "one", "ann");
	cr_assert_eq(answer(p, &a, token), SL_OK, "%s", a.error.text);
	cr_expect(strcmp(a.who.tenant, "acme") == 0 && strcmp(a.who.user, "ann") == 0 && strcmp(a.who.tier, "own") == 0);
	cr_expect(a.who.roles == SL_ROLE_INFER && a.who.uid == UINT32_MAX);
	cr_assert_eq(ask(p, &a, token), SL_OK, "known by now: at once");
	cr_expect_str_eq(a.who.user, "ann");
	cr_expect_eq(ask_both(p, &a, format_text("bEARER \t%s ", token), token), SL_OK, "both headers, and they agree");
	cr_expect_eq(ask_both(p, &a, format_text("Bearer %s", token), "slk_x"), SL_EINVAL);

	static const char *const others[] = { NULL, "", "Bearer", "Bearer ", "Bearer slk_7Q2MXpVt", "Bearer a.b.c", "Basic eyJ.eyJ.x",
		                                  "Bearereyabc.eyJ.x" };
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		cr_expect_eq(ask_both(p, &a, others[i], NULL), SL_NOT_MINE, "%s", others[i] ? others[i] : "none");
	cr_expect_eq(ask_both(p, &a, NULL, token), SL_NOT_MINE, "x-api-key is for keys");
	cr_expect_eq(ask_both(p, &a, "Bearer eyJhbGciOiJub25lIn0.e30.", NULL), SL_EAUTH);

	disabled = true;
	cr_expect_eq(ask(p, &a, token), SL_EDENIED, "a tenant is looked up each time");
	cr_expect_str_eq(a.error.text, "no such tenant");
	disabled = false;
	cr_expect_eq(ask(p, &a, token), SL_OK);
	cr_expect(plugin_close(p, 1000));
}

Test(jwt_plugin, rotation, .timeout = 60)
{
	struct asked a;
	EVP_PKEY *first = new_key("P-256"), *second = new_key("P-256");
	char *jwk_first = jwk_of(first, ",\"kid\":\"one\""), *jwk_second = jwk_of(second, ",\"kid\":\"two\"");
	publish(jwk_first);
	struct plugin *p = open_plugin("");
	char *old = token_for(first, "one", "ann"), *new = token_for(second, "two", "ann");
	cr_assert_eq(answer(p, &a, old), SL_OK);
	publish(format_text("%s,%s", jwk_first, jwk_second));
	cr_expect_eq(ask(p, &a, new), SL_PENDING, "the key is fetched");
	cr_expect_eq(wait_for(&a), SL_OK, "%s", a.error.text);
	cr_expect_eq(ask(p, &a, old), SL_OK, "both hold");
	cr_expect_eq(ask(p, &a, new), SL_OK);

	publish(jwk_second);
	cr_expect_eq(ask(p, &a, token_for(second, "three", "eve")), SL_PENDING, "looks for it in the new set");
	cr_expect_eq(wait_for(&a), SL_EAUTH);
	cr_expect_eq(answer(p, &a, old), SL_EAUTH, "remembered, but its key is gone");
	cr_expect_eq(ask(p, &a, new), SL_OK);
	cr_expect_eq(ask(p, &a, token_for(first, "two", "eve")), SL_EAUTH, "a known kid needs no fetch to be refused");

	/* The same kid for another key: what the old one signed is not taken for the new one's. */
	publish(jwk_of(first, ",\"kid\":\"two\""));
	cr_expect_eq(answer(p, &a, token_for(first, "none", "eve")), SL_EAUTH, "a fetch");
	cr_expect_eq(answer(p, &a, new), SL_EAUTH);
	cr_expect_eq(answer(p, &a, token_for(first, "two", "ann")), SL_OK);
	cr_expect(plugin_close(p, 1000));
}

Test(jwt_plugin, keys_that_are_lost, .timeout = 60)
{
	struct asked a;
	EVP_PKEY *key = new_key("P-256");
	char *jwk = jwk_of(key, ",\"kid\":\"one\""), *token = token_for(key, "one", "ann");
	publish(jwk);
	unlink(keys_path);
	struct plugin *p = open_plugin(",\"refresh\":\"1s\",\"keep\":\"3s\"");
	cr_expect_eq(answer(p, &a, token), SL_EUNAVAILABLE, "no keys yet: %s", a.error.text);
	publish(jwk);
	becomes(p, &a, token, SL_OK);
	const char *path = keys_path;
	unlink(path);
	cr_expect_eq(answer(p, &a, token_for(key, "two", "ann")), SL_EUNAVAILABLE, "who could say whether that key exists?");
	becomes(p, &a, token, SL_EUNAVAILABLE); /* held for a while, and no longer */
	publish("{\"kty\":\"oct\",\"k\":\"AA\"}");
	cr_expect_eq(answer(p, &a, token), SL_EUNAVAILABLE, "a set that is of no use is no set");
	publish(jwk);
	chmod(path, 0666);
	cr_expect_eq(answer(p, &a, token), SL_EUNAVAILABLE, "anybody could have written it");
	chmod(path, 0644);
	becomes(p, &a, token, SL_OK);
	cr_expect(plugin_close(p, 1000));
}

Test(jwt_plugin, bounded_waiting, .timeout = 60)
{
	struct asked first, second, third;
	EVP_PKEY *key = new_key("P-256");
	publish(jwk_of(key, ",\"kid\":\"one\""));
	struct plugin *p = open_plugin(",\"waiting\":2,\"gap\":\"2s\"");
	char *known = token_for(key, "one", "ann");
	becomes(p, &first, known, SL_OK);
	cr_assert_eq(ask(p, &first, token_for(key, "a", "eve")), SL_PENDING);
	cr_assert_eq(ask(p, &second, token_for(key, "b", "eve")), SL_PENDING);
	cr_expect_eq(ask(p, &third, token_for(key, "c", "eve")), SL_EUNAVAILABLE);
	cr_expect_eq(ask(p, &third, known), SL_OK, "whose key is known does not wait with them");
	cr_expect_eq(wait_for(&first), SL_EAUTH);
	cr_expect_eq(wait_for(&second), SL_EAUTH);
	cr_expect_eq(ask(p, &third, token_for(key, "d", "eve")), SL_PENDING, "there is room again");
	wait_for(&third);
	cr_expect(plugin_close(p, 1000));

	/* The next fetch is further off than anybody may wait: no use in waiting. */
	p = open_plugin(",\"gap\":\"1h\",\"refresh\":\"1h\"");
	becomes(p, &first, known, SL_OK);
	cr_expect_eq(answer(p, &first, token_for(key, "x", "eve")), SL_EUNAVAILABLE);
	cr_expect(plugin_close(p, 1000));
}

Test(jwt_plugin, other_settings, .timeout = 60)
{
	struct asked a;
	sl_error error = { 0 };
	EVP_PKEY *key = new_key("P-256");
	publish(jwk_of(key, ",\"kid\":\"one\""));
	struct plugin *p = open_plugin("");
	char *token = token_for(key, "one", "ann");
	cr_assert_eq(answer(p, &a, token), SL_OK);
	static const struct {
		const char *more;
		int reconfigured, answer;
	} all[] = {
		{ "\"audience\":\"other\",\"tenant_claim\":\"org\"", SL_OK, SL_EAUTH },
		{ "\"audience\":[\"sluice\",\"x\"],\"tenant_claim\":\"org\",\"tier_claim\":\"iss\",\"tiers\":{\"*\":\"gold\"}", SL_OK, SL_OK },
		{ "\"audience\":\"sluice\",\"tenant\":\"acme\",\"algorithms\":[\"RS256\"]", SL_OK, SL_EAUTH },
		{ "\"audience\":\"sluice\",\"tenant\":\"nobody\"", SL_OK, SL_EDENIED },
		{ "\"audience\":\"sluice\",\"tenant\":\"acme\"", SL_OK, SL_OK },
		{ "\"audience\":[],\"tenant\":\"acme\"", SL_EINVAL, SL_OK },
		{ "\"audience\":\"sluice\",\"tenant\":\"acme\",\"keep\":\"5m\"", SL_ENOTSUP, SL_OK },
	};
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		json_t *options = json_loads(format_text("{\"issuer\":\"https://id.example\",\"jwks\":\"%s\",\"gap\":\"1s\",%s}", keys_path, all[i].more),
		                             0, NULL);
		cr_expect_eq(plugin_reconfigure(p, options, &error), all[i].reconfigured, "%s: %s", all[i].more, error.text);
		cr_expect_eq(ask(p, &a, token), all[i].answer, "%s: %s", all[i].more, a.error.text);
		if (i == 1)
			cr_expect_str_eq(a.who.tier, "gold");
		json_decref(options);
	}
	cr_expect(plugin_close(p, 1000));
}

Test(jwt_plugin, two_issuers, .timeout = 60)
{
	struct asked a;
	EVP_PKEY *key = new_key("P-256");
	publish(jwk_of(key, ",\"kid\":\"one\""));
	struct plugin *p = open_plugin(",\"others\":\"pass\"");
	becomes(p, &a, token_for(key, "one", "ann"), SL_OK);
	char *foreign = token_of(key, "ES256", "{\"alg\":\"ES256\",\"kid\":\"one\"}", "{\"iss\":\"https://other.example\"}");
	cr_expect_eq(ask(p, &a, foreign), SL_NOT_MINE);
	cr_expect_eq(ask(p, &a, "eyJhbGciOiJub25lIn0.e30."), SL_EAUTH, "what cannot be read is nobody's");
	cr_expect(plugin_close(p, 1000));
	p = open_plugin("");
	cr_expect_eq(ask(p, &a, foreign), SL_EAUTH);
	cr_expect(plugin_close(p, 1000));
}

Test(jwt_plugin, where_keys_may_come_from)
{
	static const struct {
		const char *issuer, *jwks;
		bool fine;
	} all[] = {
		{ "https://id.example", NULL, true }, { "https://id.example/realms/x/", NULL, true }, { "http://127.0.0.1:8080", NULL, true },
		{ "http://[::1]:8080/x", NULL, true }, { "http://localhost/x", NULL, true }, { "http://id.example", NULL, false },
		{ "http://127.0.0.1.example", NULL, false }, { "http://localhost@id.example", NULL, false },
		{ "https://user:secret@id.example", NULL, false }, { "ftp://localhost", NULL, false }, { "file:///etc/passwd", NULL, false },
		{ "accounts", NULL, false }, { "accounts", "https://id.example/keys", true }, { "accounts", "http://id.example/keys", false },
		{ "accounts", "/etc/keys.json", true }, { "accounts", "keys.json", false }, { "", "/etc/keys.json", false },
	};
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		json_t *options = json_pack("{s:s, s:s, s:s, s:s*}", "issuer", all[i].issuer, "audience", "a", "tenant", "t", "jwks", all[i].jwks);
		struct plugin_spec spec = { .name = fixture_plugin("plugins/auth/jwt", "jwt"), .options = options };
		sl_error error = { 0 };
		int code = plugin_check(&spec, &services, NULL, &error);
		cr_expect_eq(code == SL_OK, all[i].fine, "%s, %s: %s", all[i].issuer, all[i].jwks ? all[i].jwks : "discovery", error.text);
		json_decref(options);
	}
}

Test(jwt_plugin, times_that_do_not_fit)
{
	static const char *const times[] = { "{\"gap\":\"20m\"}", "{\"keep\":\"19m\"}", "{\"refresh\":\"13h\"}", "{\"wait\":\"5s\"}",
		                                 "{\"gap\":\"10ms\"}" };
	for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
		json_t *options = json_loads(times[i], 0, NULL);
		json_object_set_new(options, "issuer", json_string("https://id.example"));
		json_object_set_new(options, "audience", json_string("a"));
		json_object_set_new(options, "tenant", json_string("t"));
		struct plugin_spec spec = { .name = fixture_plugin("plugins/auth/jwt", "jwt"), .options = options };
		sl_error error = { 0 };
		cr_expect_neq(plugin_check(&spec, &services, NULL, &error), SL_OK, "%s", times[i]);
		json_decref(options);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* test_auth.c - who is let in by auth/keys and auth/peercred, and with which words the others are turned away. */
#include <criterion/criterion.h>
#include <pwd.h>
#include <sluice/auth.h>

#include "core/base/hash.h"
#include "tests/unit/plugin/fixture.h"

/* ---- a host that knows one key and some users ---- */

static char known_key[64];
static int find_code = SL_OK; /* what a known key gets */
static int finds;

static int credential_find(void *ctx, const uint8_t digest[32], sl_identity *out, sl_error *error)
{
	uint8_t known[32];
	(void) ctx;
	finds++;
	hash_sha256(known_key, strlen(known_key), known);
	if (memcmp(known, digest, 32) != 0) {
		strcpy(error->text, "no such credential in the table");
		return error->code = SL_EAUTH;
	}
	if (find_code != SL_OK) {
		strcpy(error->text, "expired on Tuesday");
		return error->code = find_code;
	}
	*out = (sl_identity){ .size = sizeof *out, .roles = SL_ROLE_INFER, .tenant = "physics", .credential = 7 };
	return SL_OK;
}

static int user_find(void *ctx, uint32_t uid, uint32_t gid, sl_identity *out, sl_error *error)
{
	(void) ctx, (void) gid;
	if (uid == 1001) {
		*out = (sl_identity){ .size = sizeof *out, .roles = SL_ROLE_LEASE, .tenant = "physics", .user = "ada", .tier = "gold" };
		return SL_OK;
	}
	if (uid == 1002) {
		strcpy(error->text, "that tenant is disabled");
		return error->code = SL_EDENIED;
	}
	return SL_NOT_MINE;
}

static const struct plugin_services services = { .credential_find = credential_find, .user_find = user_find };

/* A key as the identity room makes it. */
static void make_key(char out[64], const char *prefix, const char *body)
{
	static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	snprintf(out, 64, "%s%s", prefix, body);
	size_t len = strlen(out);
	uint32_t crc = hash_crc32(out, len);
	for (size_t i = 6; i-- > 0; crc /= 62)
		out[len + i] = digits[crc % 62];
	out[len + 6] = '\0';
}

#define BODY "AbCdEfGhIjKlMnOpQrStUvWxYz01234567"

static struct plugin *open_plugin(const char *name, const char *options)
{
	enum plugin_refusal refusal;
	sl_error error = { 0 };
	char folder[64];
	snprintf(folder, sizeof folder, "plugins/auth/%s", name);
	struct plugin *p = fixture_open(folder, name, options, &services, &refusal, &error);
	if (!p)
		cr_skip_test("auth/%s was not built, or: %s", name, error.text);
	return p;
}

static sl_str text(const char *s)
{
	return (sl_str){ s, s ? strlen(s) : 0 };
}

static int ask(struct plugin *p, const char *authorization, const char *api_key, sl_identity *who, sl_error *error)
{
	const sl_auth_ops *ops = plugin_ops(p);
	sl_auth_request request = { .size = sizeof request, .door = SL_DOOR_INFERENCE, .authorization = text(authorization),
		                    .api_key = text(api_key), .peer = text("10.0.0.1") };
	memset(who, 0, sizeof *who);
	memset(error, 0, sizeof *error);
	return ops->authenticate(plugin_self(p), &request, 1, who, error);
}

Test(auth_keys, good_keys)
{
	char bearer[96];
	sl_identity who;
	sl_error error;
	struct plugin *p = open_plugin("keys", NULL);
	make_key(known_key, "slk_", BODY);
	static const char *const schemes[] = { "Bearer %s", "bearer %s", "BEARER  %s", "Bearer\t%s ", "  Bearer %s" };
	for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(bearer, sizeof bearer, schemes[i], known_key);
#pragma GCC diagnostic pop
		cr_expect_eq(ask(p, bearer, NULL, &who, &error), SL_OK, "'%s': %s", schemes[i], error.text);
		cr_expect_str_eq(who.tenant, "physics");
	}
	cr_expect_eq(ask(p, NULL, known_key, &who, &error), SL_OK, "x-api-key: %s", error.text);
	cr_expect_eq(ask(p, bearer, known_key, &who, &error), SL_OK, "both and equal: %s", error.text);
	plugin_close(p, 0);
}

/* None, malformed, mistyped, unknown, expired, disabled: one wording, nothing echoed, and only what looks like a key is
 * hashed and looked up. */
Test(auth_keys, bad_keys_say_nothing)
{
	char other[64], typo[64], foreign[64], bearer[96];
	sl_identity who;
	sl_error error;
	struct plugin *p = open_plugin("keys", NULL);
	make_key(known_key, "slk_", BODY);
	make_key(other, "slk_", "ZbCdEfGhIjKlMnOpQrStUvWxYz01234567");
	make_key(foreign, "sk-x", BODY);
	strcpy(typo, known_key);
	typo[10] = typo[10] == 'a' ? 'b' : 'a';
	static char huge[20000];
	memset(huge, 'A', sizeof huge - 1);
	const char *const malformed[] = { typo, "", "slk_", "slk_AbCdEfGhIjKlMnOpQrStUvWxYz0123456-000000",
		                          "slk_\xc3\xa9" };
	const char *const others[] = { foreign, "x", huge, "Bearer", "slk", "eyJhbGciOiJFUzI1NiJ9.e30.c2ln" };
	finds = 0;
	for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
		cr_expect_eq(ask(p, NULL, malformed[i], &who, &error), SL_EAUTH, "malformed %zu", i);
		cr_expect_str_eq(error.text, "Incorrect API key provided.", "malformed %zu", i);
	}
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		cr_expect_eq(ask(p, NULL, others[i], &who, &error), SL_NOT_MINE, "another plugin's, or nobody's: %zu", i);
	cr_expect_eq(finds, 0, "noise is not looked up");
	static const char *const headers[] = { "Bearer", "Bearer ", "bearer \t " };
	for (size_t i = 0; i < 3; i++) {
		cr_expect_eq(ask(p, headers[i], NULL, &who, &error), SL_EAUTH, "'%s'", headers[i]);
		cr_expect_str_eq(error.text, "Incorrect API key provided.");
	}
	snprintf(bearer, sizeof bearer, "Bearer %s", other);
	cr_expect_eq(ask(p, bearer, NULL, &who, &error), SL_EAUTH);
	cr_expect_str_eq(error.text, "Incorrect API key provided.", "unknown");
	find_code = SL_EAUTH;
	cr_expect_eq(ask(p, NULL, known_key, &who, &error), SL_EAUTH);
	cr_expect_str_eq(error.text, "Incorrect API key provided.", "expired");
	find_code = SL_EIO;
	cr_expect_eq(ask(p, NULL, known_key, &who, &error), SL_EUNAVAILABLE, "a look-up that fails lets nobody in");
	cr_expect_null(strstr(error.text, "Tuesday"), "and tells nothing: %s", error.text);
	cr_expect_eq(finds, 3);
	plugin_close(p, 0);
}

Test(auth_keys, what_is_not_its_own)
{
	char other[64], bearer[96];
	sl_identity who;
	sl_error error;
	struct plugin *p = open_plugin("keys", NULL);
	make_key(known_key, "slk_", BODY);
	make_key(other, "slk_", "ZbCdEfGhIjKlMnOpQrStUvWxYz01234567");
	cr_expect_eq(ask(p, NULL, NULL, &who, &error), SL_NOT_MINE, "no credential");
	cr_expect_eq(ask(p, "Basic dXNlcjpwYXNz", NULL, &who, &error), SL_NOT_MINE, "another scheme");
	cr_expect_eq(ask(p, "Bearerx y", NULL, &who, &error), SL_NOT_MINE, "another scheme that begins alike");
	cr_expect_eq(ask(p, "", NULL, &who, &error), SL_NOT_MINE, "an empty header");
	snprintf(bearer, sizeof bearer, "Bearer %s", known_key);
	cr_expect_eq(ask(p, bearer, other, &who, &error), SL_EINVAL, "both and different");
	cr_expect(strstr(error.text, "send one of them") && !strstr(error.text, "slk_"), "%s", error.text);
	cr_expect_eq(ask(p, "Basic dXNlcjpwYXNz", known_key, &who, &error), SL_EINVAL, "another scheme beside a key");
	cr_expect_eq(ask(p, bearer, "", &who, &error), SL_EINVAL, "a key beside an empty one");
	plugin_close(p, 0);
}

Test(auth_keys, prefix)
{
	sl_identity who;
	sl_error error;
	struct plugin *p = open_plugin("keys", "{\"prefix\":\"acme-\"}");
	make_key(known_key, "acme-", BODY);
	cr_expect_eq(ask(p, NULL, known_key, &who, &error), SL_OK, "%s", error.text);
	make_key(known_key, "slk_", BODY);
	cr_expect_eq(ask(p, NULL, known_key, &who, &error), SL_NOT_MINE);
	plugin_close(p, 0);
	p = open_plugin("keys", "{\"prefix\":\"\"}");
	make_key(known_key, "", BODY);
	cr_expect_eq(ask(p, NULL, known_key, &who, &error), SL_OK, "no prefix: %s", error.text);
	plugin_close(p, 0);
	enum plugin_refusal refusal;
	p = fixture_open("plugins/auth/keys", "keys", "{\"prefix\":\"much-too-long-prefix\"}", &services, &refusal, &error);
	cr_expect_null(p);
	cr_expect_eq(refusal, PLUGIN_OPTION, "%s", error.text);
}

static int knock(struct plugin *p, uint32_t door, int has_peercred, uint32_t uid, sl_identity *who, sl_error *error)
{
	const sl_auth_ops *ops = plugin_ops(p);
	sl_auth_request request = { .size = sizeof request, .door = door, .peer = text("unix"), .has_peercred = has_peercred,
		                    .peer_uid = uid, .peer_gid = 50, .peer_pid = 1 };
	memset(who, 0, sizeof *who);
	memset(error, 0, sizeof *error);
	return ops->authenticate(plugin_self(p), &request, 1, who, error);
}

Test(auth_peercred, users)
{
	const uint32_t all = SL_ROLE_OPERATOR | SL_ROLE_ADMIN | SL_ROLE_LEASE;
	sl_identity who;
	sl_error error;
	struct plugin *p = open_plugin("peercred", "{\"tenant\":\"home\"}");
	cr_expect_eq(knock(p, SL_DOOR_INFERENCE, 1, 0, &who, &error), SL_NOT_MINE, "not on the inference door");
	cr_expect_eq(knock(p, SL_DOOR_CONTROL, 0, 0, &who, &error), SL_NOT_MINE, "not without the kernel's word");

	cr_expect_eq(knock(p, SL_DOOR_CONTROL, 1, 0, &who, &error), SL_OK, "root: %s", error.text);
	cr_expect_eq(who.roles, all);
	cr_expect_str_eq(who.tenant, "home");
	cr_expect_str_eq(who.user, "root");
	cr_expect(who.uid == 0 && who.gid == 50 && who.size == sizeof who && who.credential == 0);
	cr_expect_eq(knock(p, SL_DOOR_CONTROL, 1, geteuid(), &who, &error), SL_OK, "ourselves");
	cr_expect_eq(who.roles, all);

	cr_expect_eq(knock(p, SL_DOOR_CONTROL, 1, 1001, &who, &error), SL_OK, "configured: %s", error.text);
	cr_expect_eq(who.roles, SL_ROLE_LEASE);
	cr_expect_str_eq(who.tenant, "physics");
	cr_expect_str_eq(who.user, "ada");
	cr_expect_str_eq(who.tier, "gold");
	cr_expect_eq(knock(p, SL_DOOR_CONTROL, 1, 1002, &who, &error), SL_EDENIED, "the host's no is final");
	cr_expect_str_eq(error.text, "that tenant is disabled");

	cr_expect_eq(knock(p, SL_DOOR_CONTROL, 1, 4000000001u, &who, &error), SL_OK, "somebody: %s", error.text);
	cr_expect_eq(who.roles, SL_ROLE_LEASE);
	cr_expect_str_eq(who.tenant, "home");
	cr_expect_str_eq(who.user, "uid-4000000001");
	plugin_close(p, 0);

	p = open_plugin("peercred", "{\"others\":\"deny\"}");
	cr_expect_eq(knock(p, SL_DOOR_CONTROL, 1, 4000000001u, &who, &error), SL_EDENIED);
	cr_expect(error.text[0]);
	cr_expect_eq(knock(p, SL_DOOR_CONTROL, 1, 1001, &who, &error), SL_OK, "who is configured is no other");
	cr_expect_eq(knock(p, SL_DOOR_CONTROL, 1, 0, &who, &error), SL_OK);
	cr_expect_str_eq(who.tenant, "default");
	plugin_close(p, 0);
}

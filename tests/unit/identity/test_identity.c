/* SPDX-License-Identifier: Apache-2.0 */
/* test_identity.c - keys, tenants and Unix users. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"
#include "core/base/str.h"
#include "core/identity/identity.h"

static const uint64_t now = UINT64_C(1790000000000);

static struct conf_tenant tenants[3];
static struct conf conf = { .tenants = tenants, .n_tenants = 2 };
static const char *physics_users[] = { "root", "4242", "no-such-user-here" };
static const char *physics_queues[] = { "research", "night" };
static const char *art_users[] = { "4242", "4343" };

static struct identity *configured(size_t keys_max)
{
	tenants[0] = (struct conf_tenant){ .name = "physics", .tier = "gold", .users = physics_users, .n_users = 3,
	                                   .queues = physics_queues, .n_queues = 2, .operators = true };
	tenants[1] = (struct conf_tenant){ .name = "art", .users = art_users, .n_users = 2 };
	struct identity *id = identity_new(keys_max);
	cr_assert_not_null(id);
	identity_configure(id, &conf);
	return id;
}

static int apply(struct identity *id, const char *key, const char *json, sl_error *error)
{
	return identity_apply(id, str_of(key), str_of(json), error);
}

/* Makes a key and applies it. */
static void issue(struct identity *id, const char *tenant, uint64_t expires_ms, char secret[IDENTITY_KEY_LENGTH + 1],
                  char key[SL_NAME_MAX])
{
	struct identity_key_request r = { .tenant = str_of(tenant), .user = STR("ann"), .name = STR("laptop"),
	                                  .expires_ms = expires_ms };
	char *object;
	sl_error error = { 0 };
	cr_assert_eq(identity_new_key(id, &r, now, secret, key, &object, &error), SL_OK, "new key: %s", error.text);
	cr_assert_eq(apply(id, key, object, &error), SL_OK, "apply %s: %s", object, error.text);
	free(object);
}

static int find(struct identity *id, const char *secret, uint64_t wall_ms, sl_identity *out)
{
	uint8_t digest[32];
	sl_error error = { 0 };
	hash_sha256(secret, strlen(secret), digest);
	int code = identity_find(id, digest, wall_ms, out, &error);
	if (code != SL_OK)
		cr_expect_str_eq(error.text, "Incorrect API key provided.");
	return code;
}

/* Changes a member of a key and applies it. */
static void change(struct identity *id, const char *key, const char *member, json_t *value)
{
	char changed_key[SL_NAME_MAX], *object;
	sl_error error = { 0 };
	cr_assert_eq(identity_change_key(id, str_of(key + 4), member, value, changed_key, &object, &error), SL_OK, "%s",
	             error.text);
	cr_assert_str_eq(changed_key, key);
	cr_assert_eq(apply(id, key, object, &error), SL_OK, "%s", error.text);
	free(object);
	json_decref(value);
}

Test(identity, a_key_is_found_and_has_a_checksum)
{
	struct identity *id = configured(0);
	char secret[IDENTITY_KEY_LENGTH + 1], key[SL_NAME_MAX];
	sl_identity found;
	issue(id, "physics", 0, secret, key);
	cr_assert_eq(strlen(secret), IDENTITY_KEY_LENGTH);
	cr_expect(memcmp(secret, "slk_", 4) == 0 && strncmp(key, "key/slk_", 8) == 0 && strlen(key) == 16, "%s", key);
	cr_expect(memcmp(secret, key + 4, 12) == 0, "the key's name is its beginning");
	uint64_t check = 0;
	static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	for (int i = 38; i < 44; i++)
		check = check * 62 + (uint64_t) (strchr(digits, secret[i]) - digits);
	cr_expect_eq(check, hash_crc32(secret, 38), "the last six characters are the checksum");

	cr_assert_eq(find(id, secret, now, &found), SL_OK);
	cr_expect_str_eq(found.tenant, "physics");
	cr_expect_str_eq(found.tier, "gold");
	cr_expect_str_eq(found.user, "ann");
	cr_expect_str_eq(found.key, key + 4);
	cr_expect(found.roles == SL_ROLE_INFER && found.uid == UINT32_MAX && found.credential != 0 && found.size == sizeof found);
	secret[20] ^= 1;
	cr_expect_eq(find(id, secret, now, &found), SL_EAUTH, "one bit more");
	identity_free(id);
}

Test(identity, rights_are_live)
{
	struct identity *id = configured(0);
	char secret[IDENTITY_KEY_LENGTH + 1], key[SL_NAME_MAX];
	sl_identity found, later;
	sl_error error;
	cr_assert_eq(apply(id, "tenant/lab", "{\"tier\":\"free\",\"queues\":[\"q\"]}", &error), SL_OK);
	issue(id, "lab", now + 1000, secret, key);
	cr_assert_eq(find(id, secret, now + 999, &found), SL_OK);
	cr_expect_eq(find(id, secret, now + 1000, &later), SL_EAUTH, "expired at that moment");

	change(id, key, "expires_ms", json_integer(0));
	cr_expect_eq(find(id, secret, now + 5000, &later), SL_OK, "no longer expires");
	change(id, key, "disabled", json_true());
	cr_expect_eq(find(id, secret, now, &later), SL_EAUTH, "disabled");
	change(id, key, "disabled", json_false());
	cr_expect_eq(find(id, secret, now, &later), SL_OK, "enabled again");

	cr_assert_eq(apply(id, "tenant/lab", "{\"tier\":\"gold\"}", &error), SL_OK);
	cr_assert_eq(find(id, secret, now, &later), SL_OK);
	cr_expect_str_eq(later.tier, "gold", "the tenant's tier is looked up live");
	cr_assert_eq(apply(id, "tenant/lab", "{\"disabled\":true}", &error), SL_OK);
	cr_expect_eq(find(id, secret, now, &later), SL_EAUTH, "the tenant is disabled");
	cr_assert_eq(apply(id, "tenant/lab", "", &error), SL_OK);
	cr_expect_eq(find(id, secret, now, &later), SL_EAUTH, "the tenant is deleted");
	cr_expect_not(identity_has_tenant(id, STR("lab")));
	identity_free(id);
}

Test(identity, a_deleted_key_frees_its_place_and_its_credential_dies)
{
	struct identity *id = configured(1);
	char secret[IDENTITY_KEY_LENGTH + 1], key[SL_NAME_MAX], *object;
	sl_identity old, found;
	sl_error error;
	issue(id, "art", 0, secret, key);
	cr_assert_eq(find(id, secret, now, &old), SL_OK);
	struct identity_key_request r = { .tenant = STR("art") };
	cr_expect_eq(identity_new_key(id, &r, now, secret, key, &object, &error), SL_EFULL, "one key is the bound");
	json_t *keys = identity_keys(id, (sl_str){ 0 }, now);
	snprintf(key, sizeof key, "key/%s", json_string_value(json_object_get(json_array_get(keys, 0), "key")));
	json_decref(keys);
	cr_assert_eq(apply(id, key, "", &error), SL_OK);
	cr_assert_eq(apply(id, key, "", &error), SL_OK, "deleting twice is no error");
	issue(id, "art", 0, secret, key);
	identity_touch(id, &old, now);
	keys = identity_keys(id, (sl_str){ 0 }, now);
	cr_expect(json_is_null(json_object_get(json_array_get(keys, 0), "last_used_at")), "the new key in the same place is another one");
	json_decref(keys);
	cr_expect_eq(find(id, secret, now, &found), SL_OK);
	identity_free(id);
}

Test(identity, the_file_goes_before_the_store)
{
	struct identity *id = configured(0);
	char secret[IDENTITY_KEY_LENGTH + 1], key[SL_NAME_MAX];
	sl_identity found;
	sl_error error;
	issue(id, "physics", 0, secret, key);
	cr_assert_eq(apply(id, "tenant/physics", "{\"tier\":\"store\",\"disabled\":true}", &error), SL_OK);
	cr_assert_eq(find(id, secret, now, &found), SL_OK);
	cr_expect_str_eq(found.tier, "gold");
	struct conf empty = { 0 };
	identity_configure(id, &empty);
	cr_expect_eq(find(id, secret, now, &found), SL_EAUTH, "without the file the store's word holds: disabled");
	identity_configure(id, &conf);
	cr_expect_eq(find(id, secret, now, &found), SL_OK);
	identity_free(id);
}

Test(identity, unix_users)
{
	struct identity *id = configured(0);
	sl_identity found;
	sl_error error;
	cr_assert_eq(identity_find_user(id, 0, 0, &found, &error), SL_OK);
	cr_expect_str_eq(found.tenant, "physics");
	cr_expect_str_eq(found.user, "root");
	cr_expect_eq(found.roles, SL_ROLE_INFER | SL_ROLE_LEASE | SL_ROLE_OPERATOR);
	cr_assert_eq(identity_find_user(id, 4242, 7, &found, &error), SL_OK);
	cr_expect_str_eq(found.tenant, "physics", "the first tenant that names a user has him");
	cr_expect(found.uid == 4242 && found.gid == 7 && found.credential == 0);
	cr_assert_eq(identity_find_user(id, 4343, 7, &found, &error), SL_OK);
	cr_expect_str_eq(found.tenant, "art");
	cr_expect_eq(found.roles, SL_ROLE_INFER | SL_ROLE_LEASE, "no operators in this tenant");
	cr_expect_str_eq(found.tier, "default");
	cr_expect_eq(identity_find_user(id, 4444, 7, &found, &error), SL_NOT_MINE);
	cr_expect_eq(identity_find_user(id, UINT32_MAX, 7, &found, &error), SL_NOT_MINE, "no user is not everybody unknown");
	cr_assert_eq(apply(id, "tenant/guests", "{\"users\":[\"4444\",\"4343\"],\"disabled\":true}", &error), SL_OK);
	cr_expect_eq(identity_find_user(id, 4444, 7, &found, &error), SL_EDENIED, "of a disabled tenant");
	cr_assert_eq(identity_find_user(id, 4343, 7, &found, &error), SL_OK);
	cr_expect_str_eq(found.tenant, "art", "the file's tenants go first");
	identity_free(id);
}

Test(identity, queues)
{
	struct identity *id = configured(0);
	char queue[SL_NAME_MAX];
	identity_default_queue(id, STR("physics"), queue);
	cr_expect_str_eq(queue, "research");
	cr_expect(identity_queue_allowed(id, STR("physics"), STR("night")));
	cr_expect_not(identity_queue_allowed(id, STR("physics"), STR("other")));
	cr_expect_not(identity_queue_allowed(id, STR("art"), STR("night")));
	identity_default_queue(id, STR("art"), queue);
	cr_expect_str_eq(queue, "");
	identity_default_queue(id, STR("nobody"), queue);
	cr_expect_str_eq(queue, "");
	identity_free(id);
}

#define DIGEST "\"digest\":\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\""

static const struct {
	const char *key, *json;
	int code;
} objects[] = {
	{ "key/slk_12345678", "{\"tenant\":\"art\"," DIGEST "}", SL_OK },
	{ "key/slk_12345678", "{\"tenant\":\"art\"," DIGEST ",\"roles\":[\"admin\"]}", SL_OK },
	{ "key/slk_87654321", "{\"tenant\":\"art\"," DIGEST "}", SL_ECONFLICT },
	{ "key/slk_1234567", "{\"tenant\":\"art\"," DIGEST "}", SL_EINVAL },
	{ "key/", "{\"tenant\":\"art\"," DIGEST "}", SL_EINVAL },
	{ "key/slk_123456789", "{\"tenant\":\"art\"," DIGEST "}", SL_EINVAL },
	{ "key/slk_12345678", "{" DIGEST "}", SL_EINVAL },
	{ "key/slk_12345678", "{\"tenant\":\"\"," DIGEST "}", SL_EINVAL },
	{ "key/slk_12345678", "{\"tenant\":\"0123456789012345678901234567890123456789012345678901234567890123\"," DIGEST "}", SL_EINVAL },
	{ "key/slk_12345678", "{\"tenant\":\"art\"}", SL_EINVAL },
	{ "key/slk_12345678", "{\"tenant\":\"art\",\"digest\":\"00\"}", SL_EINVAL },
	{ "key/slk_12345678", "{\"tenant\":\"art\",\"digest\":\"zz112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"}", SL_EINVAL },
	{ "key/slk_12345678", "{\"tenant\":\"art\",\"digest\":7}", SL_EINVAL },
	{ "key/slk_12345678", "{\"tenant\":\"art\"," DIGEST ",\"roles\":[\"king\"]}", SL_EINVAL },
	{ "key/slk_12345678", "{\"tenant\":\"art\"," DIGEST ",\"roles\":3}", SL_EINVAL },
	{ "key/slk_12345678", "{\"tenant\":\"art\"," DIGEST ",\"expires_ms\":-1}", SL_EINVAL },
	{ "key/slk_12345678", "[]", SL_EINVAL },
	{ "key/slk_12345678", "{", SL_EINVAL },
	{ "tenant/", "{}", SL_EINVAL },
	{ "tenant/x", "[]", SL_EINVAL },
	{ "tenant/x", "{\"users\":\"root\"}", SL_EINVAL },
	{ "tenant/x", "{\"users\":[1]}", SL_EINVAL },
	{ "tenant/0123456789012345678901234567890123456789012345678901234567890123", "{}", SL_EINVAL },
	{ "lease/x", "{}", SL_EINVAL },
	{ "", "{}", SL_EINVAL },
};

Test(identity, objects_are_checked)
{
	struct identity *id = configured(0);
	for (size_t i = 0; i < sizeof objects / sizeof objects[0]; i++) {
		sl_error error = { 0 };
		cr_expect_eq(apply(id, objects[i].key, objects[i].json, &error), objects[i].code, "case %zu: %s %s: %s", i,
		             objects[i].key, objects[i].json, error.text);
	}
	sl_identity found;
	sl_error error;
	uint8_t digest[32];
	for (int i = 0; i < 32; i++)
		digest[i] = (uint8_t) (i % 16 * 0x11);
	cr_assert_eq(identity_find(id, digest, now, &found, &error), SL_OK, "what was refused left the key as it was");
	cr_expect_eq(found.roles, SL_ROLE_ADMIN);
	identity_free(id);
}

Test(identity, requests_for_keys_are_checked)
{
	struct identity *id = configured(0);
	char secret[IDENTITY_KEY_LENGTH + 1], key[SL_NAME_MAX], *object, longest[80];
	sl_error error;
	memset(longest, 'a', sizeof longest);
	struct identity_key_request r = { .tenant = STR("nobody") };
	cr_expect_eq(identity_new_key(id, &r, now, secret, key, &object, &error), SL_ENOTFOUND);
	cr_expect_null(object);
	r = (struct identity_key_request){ .tenant = STR("art"), .name = { longest, 64 } };
	cr_expect_eq(identity_new_key(id, &r, now, secret, key, &object, &error), SL_EINVAL, "a long name");
	r = (struct identity_key_request){ .tenant = STR("art"), .user = STR("\xff") };
	cr_expect_eq(identity_new_key(id, &r, now, secret, key, &object, &error), SL_EINVAL, "not UTF-8");
	cr_expect_eq(identity_change_key(id, STR("slk_nonesuch"), "disabled", json_true(), key, &object, &error), SL_ENOTFOUND);
	cr_expect_eq(identity_change_key(id, STR("slk_nonesuch"), "digest", json_true(), key, &object, &error), SL_EINVAL);
	identity_free(id);
}

Test(identity, lists)
{
	struct identity *id = configured(0);
	char secret[IDENTITY_KEY_LENGTH + 1], key[SL_NAME_MAX], other[SL_NAME_MAX];
	sl_identity found;
	issue(id, "art", now + 5, secret, other);
	issue(id, "physics", 0, secret, key);
	cr_assert_eq(find(id, secret, now, &found), SL_OK);
	identity_touch(id, &found, now);
	json_t *all = identity_keys(id, (sl_str){ 0 }, now + 5), *own = identity_keys(id, STR("physics"), now);
	cr_expect_eq(json_array_size(all), 2);
	cr_assert_eq(json_array_size(own), 1);
	const json_t *row = json_array_get(own, 0);
	cr_expect_str_eq(json_string_value(json_object_get(row, "key")), key + 4);
	cr_expect_str_eq(json_string_value(json_object_get(row, "state")), "active");
	cr_expect_str_eq(json_string_value(json_object_get(row, "last_used_at")), "2026-09-21T14:13:20.000Z");
	cr_expect(json_is_null(json_object_get(row, "expires_at")));
	cr_expect_str_eq(json_string_value(json_object_get(json_array_get(all, 0), "state")), "expired");
	char *text = json_dumps(all, 0);
	cr_expect_null(strstr(text, "digest"), "no digest leaves the room");
	cr_expect_null(strstr(text, secret));
	free(text);
	json_decref(all);
	json_decref(own);
	json_t *rows = identity_tenants(id);
	cr_assert_eq(json_array_size(rows), 2);
	cr_expect_str_eq(json_string_value(json_object_get(json_array_get(rows, 0), "source")), "file");
	json_decref(rows);
	identity_free(id);
}

/* Guesses find nothing and leave nothing behind; a full table of real keys is found again. */
Test(identity, many_keys, .timeout = 60)
{
	enum { KEYS = 5000, GUESSES = 100000 };
	struct identity *id = configured(KEYS);
	char (*secrets)[IDENTITY_KEY_LENGTH + 1] = calloc(KEYS, sizeof *secrets);
	char key[SL_NAME_MAX];
	sl_identity found;
	for (int i = 0; i < KEYS; i++)
		issue(id, i % 2 ? "art" : "physics", 0, secrets[i], key);
	int hits = 0;
	for (int i = 0; i < GUESSES; i++) {
		uint8_t digest[32];
		sl_error error;
		hash_random(digest, sizeof digest);
		hits += identity_find(id, digest, now, &found, &error) == SL_OK;
	}
	cr_expect_eq(hits, 0);
	for (int i = 0; i < KEYS; i++)
		hits += find(id, secrets[i], now, &found) == SL_OK;
	cr_expect_eq(hits, KEYS);
	json_t *all = identity_keys(id, (sl_str){ 0 }, now);
	cr_expect_eq(json_array_size(all), KEYS);
	json_decref(all);
	free(secrets);
	identity_free(id);
}

static int find_tenant(struct identity *id, const char *tenant, const char *tier, sl_identity *out, sl_error *error)
{
	return identity_find_tenant(id, str_of(tenant), tier ? str_of(tier) : (sl_str){ 0 }, out, error);
}

Test(identity, a_tenant_by_name_with_a_tier_of_its_own_or_another)
{
	static struct conf_tier declared[] = { { .name = "gold" }, { .name = "default" }, { .name = "free" } };
	static struct conf with_tiers = { .tenants = tenants, .n_tenants = 2, .tiers = declared, .n_tiers = 3 };
	struct identity *id = configured(0);
	sl_identity who = { .size = sizeof who, .roles = SL_ROLE_INFER, .user = "ann" };
	sl_error error = { 0 };
	identity_configure(id, &with_tiers);
	cr_assert_eq(find_tenant(id, "physics", NULL, &who, &error), SL_OK);
	cr_expect_str_eq(who.tenant, "physics");
	cr_expect_str_eq(who.tier, "gold");
	cr_expect(strcmp(who.user, "ann") == 0 && who.roles == SL_ROLE_INFER, "what it does not know stays");
	cr_assert_eq(find_tenant(id, "physics", "free", &who, &error), SL_OK);
	cr_expect_str_eq(who.tier, "free");
	cr_expect_eq(find_tenant(id, "physics", "platinum", &who, &error), SL_EDENIED);
	cr_expect(strstr(error.text, "no tier 'platinum'"), "%s", error.text);
	cr_expect_eq(find_tenant(id, "physics", "", &who, &error), SL_EDENIED, "empty is not absent");
	cr_expect_eq(find_tenant(id, "chemistry", NULL, &who, &error), SL_EDENIED);
	cr_expect(strstr(error.text, "no tenant 'chemistry'"), "%s", error.text);

	cr_assert_eq(apply(id, "tenant/lab", "{\"tier\":\"free\"}", &error), SL_OK);
	cr_expect_eq(find_tenant(id, "lab", NULL, &who, &error), SL_OK);
	cr_assert_eq(apply(id, "tenant/lab", "{\"disabled\":true}", &error), SL_OK);
	cr_expect_eq(find_tenant(id, "lab", NULL, &who, &error), SL_EDENIED);
	cr_expect(strstr(error.text, "'lab' is disabled"), "%s", error.text);
	cr_assert_eq(apply(id, "tenant/lab", "", &error), SL_OK);
	cr_expect_eq(find_tenant(id, "lab", NULL, &who, &error), SL_EDENIED, "deleted");

	identity_configure(id, &conf);
	cr_expect_eq(find_tenant(id, "physics", "free", &who, &error), SL_EDENIED, "the tier is gone from the file");
	identity_free(id);
}

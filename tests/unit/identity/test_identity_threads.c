/* SPDX-License-Identifier: Apache-2.0 */
/* test_identity_threads.c - lookups on many threads while keys, tenants and the file change. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"
#include "core/base/str.h"
#include "core/identity/identity.h"
#include "tests/unit/tap.h"

enum { THREADS = 6, LOOKUPS = 20000 };

static struct identity *id;
static uint8_t digest[32];
static atomic_int wrong, stop;

static void *look_up(void *arg)
{
	(void) arg;
	for (int i = 0; i < LOOKUPS; i++) {
		sl_identity found;
		sl_error error;
		int code = identity_find(id, digest, 1, &found, &error);
		if (code == SL_OK) {
			/* Whatever is found is one state of the key, never a mixture. */
			if (strcmp(found.tenant, "one") != 0 || (strcmp(found.tier, "a") != 0 && strcmp(found.tier, "b") != 0))
				atomic_fetch_add(&wrong, 1);
			identity_touch(id, &found, 1);
		} else if (code != SL_EAUTH) {
			atomic_fetch_add(&wrong, 1);
		}
		identity_find_user(id, 4242, 1, &found, &error);
	}
	atomic_fetch_add(&stop, 1);
	return NULL;
}

int main(void)
{
	pthread_t thread[THREADS];
	struct conf_tenant tenant = { .name = "two", .users = (const char *[]){ "4242" }, .n_users = 1 };
	struct conf conf = { .tenants = &tenant, .n_tenants = 1 };
	struct identity_key_request request = { .tenant = STR("one") };
	char secret[IDENTITY_KEY_LENGTH + 1], key[SL_NAME_MAX], *object = NULL;
	sl_error error = { 0 };
	id = identity_new(0);
	identity_apply(id, STR("tenant/one"), STR("{\"tier\":\"a\"}"), &error);
	identity_new_key(id, &request, 1, secret, key, &object, &error);
	hash_sha256(secret, IDENTITY_KEY_LENGTH, digest);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, look_up, NULL);
	int failed = 0;
	for (int i = 0; atomic_load(&stop) < THREADS; i++) {
		failed += identity_apply(id, str_of(key), str_of(i % 3 ? object : ""), &error) != SL_OK;
		failed += identity_apply(id, STR("tenant/one"), i % 2 ? STR("{\"tier\":\"a\"}") : STR("{\"tier\":\"b\"}"), &error) != SL_OK;
		if (i % 8 == 0)
			identity_configure(id, &conf);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	tap_ok(failed == 0, "changes are applied: %s", error.text);
	tap_ok(atomic_load(&wrong) == 0, "lookups see whole states only");
	free(object);
	identity_free(id);
	return tap_done();
}

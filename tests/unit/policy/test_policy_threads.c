/* SPDX-License-Identifier: Apache-2.0 */
/* test_policy_threads.c - each thread has a policy of its own over one shared snapshot; snapshots come and go. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/error.h"
#include "core/base/str.h"
#include "core/policy/policy.h"
#include "tests/unit/tap.h"

enum { THREADS = 4, ROUNDS = 5, CALLS = 500 };

int http_address_parse(sl_str text, struct http_address *out, sl_error *error)
{
	(void) error;
	memset(out, 0, sizeof *out);
	str_copy(out->host, sizeof out->host, text);
	return SL_OK;
}

void http_address_text(const struct http_address *address, char *out, size_t room)
{
	snprintf(out, room, "%s", address->host);
}

static struct conf *conf;
static atomic_int bad;

static void one_round(struct conf *mine, struct policy_admission *admission)
{
	sl_error error = { 0 };
	struct policy *p = policy_open(mine, true, &error);
	if (!p) {
		atomic_fetch_add(&bad, 1);
		return;
	}
	const sl_identity identity = { .size = sizeof identity, .tenant = "physics", .key = "slk_1" };
	struct policy_request request = { .identity = &identity, .tier = conf_tier(mine, STR("free")), .model_name = STR("x"),
		.door = STR("chat"), .peer = STR("p"), .max_output = -1, .n = 1, .prompts = 1 };
	for (int i = 0; i < CALLS; i++) {
		request.n = i % 100 == 99 ? 2 : 1; /* now and then one that fails: counter and log are shared */
		bool fine = policy_admit(p, &request, admission, &error) == SL_OK;
		if (fine != (request.n == 1) || (fine && admission->n_limits != 1))
			atomic_fetch_add(&bad, 1);
	}
	policy_close(p);
}

static void *worker(void *arg)
{
	(void) arg;
	struct policy_admission *admission = calloc(1, sizeof *admission);
	for (int round = 0; admission && round < ROUNDS; round++) {
		struct conf *mine = conf_ref(conf);
		one_round(mine, admission);
		conf_unref(mine);
	}
	free(admission);
	return NULL;
}

static bool write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	return f && fputs(text, f) >= 0 && fclose(f) == 0;
}

int main(void)
{
	char folder[] = "/tmp/sluice-policy-XXXXXX", path[128], command[128];
	struct buf report = { 0 };
	pthread_t threads[THREADS];
	setenv("SLUICE_LUA_PATH", TOP_SRCDIR "/lua", 1);
	tap_ok(mkdtemp(folder) != NULL, "a folder");
	snprintf(path, sizeof path, "%s/policy.lua", folder);
	tap_ok(write_text(path, "function admit(req) if req.n == 2 then while true do end end end\n"
	                        "function test_it() expect(admit(request {})).allowed() end\n"), "a policy");
	snprintf(path, sizeof path, "%s/sluice.lua", folder);
	tap_ok(write_text(path, "policy { file = \"policy.lua\", instructions = 10000 } tier \"free\" { tokens = { 5, per = \"day\" } }\n"),
	       "a configuration");
	conf = conf_load(path, &report);
	if (tap_ok(conf != NULL, "it loads: %.*s", (int) report.len, report.data ? report.data : "")) {
		for (int i = 0; i < THREADS; i++)
			pthread_create(&threads[i], NULL, worker, NULL);
		for (int i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		tap_ok(atomic_load(&bad) == 0, "%d decisions in %d threads", THREADS * ROUNDS * CALLS, THREADS);
	}
	conf_unref(conf);
	buf_free(&report);
	snprintf(command, sizeof command, "rm -rf %s", folder);
	tap_ok(system(command) == 0, "cleaned up");
	return tap_done();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* bench_rooms.c - what limits, the ledger and keys cost a request, in nanoseconds a call. Run by hand. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/hash.h"
#include "core/base/str.h"
#include "core/identity/identity.h"
#include "core/ledger/ledger.h"
#include "core/quota/quota.h"

enum { KEYS = 1000000, ROUNDS = 5 };

static const struct quota_now now = { 1000000, UINT64_C(1790000000000) };

static void set_limit(struct quota_limit *limit, const char *kind, unsigned i, uint8_t metric, uint8_t window)
{
	*limit = (struct quota_limit){ .metric = metric, .window = window, .window_ms = 60000, .amount = INT64_MAX };
	snprintf(limit->scope, sizeof limit->scope, "%s:%u", kind, i);
}

static void quota_once(struct quota *q, unsigned i)
{
	static struct quota_limit limits[4];
	struct quota_use use = { .requests = 1, .input_tokens = 10, .output_tokens = 20, .cost = 30 };
	struct quota_reservation r;
	if (!limits[0].metric || i != UINT32_MAX) {
		set_limit(&limits[0], "key", i, QUOTA_REQUESTS, QUOTA_SLIDING);
		set_limit(&limits[1], "key", i, QUOTA_CONCURRENCY, QUOTA_NONE);
		set_limit(&limits[2], "tenant", i, QUOTA_TOKENS, QUOTA_SLIDING);
		set_limit(&limits[3], "tenant", i, QUOTA_COST, QUOTA_MONTH);
	}
	if (quota_reserve(q, now, limits, 4, &use, &r, NULL) == SL_OK)
		quota_settle(q, now, &r, &use);
}

static void report(const char *what, uint64_t best, unsigned n)
{
	printf("%-58s %7.0f ns\n", what, (double) best / n);
}

static void bench_quota(void)
{
	struct quota *q = quota_new(2000000);
	uint64_t best = UINT64_MAX;
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t start = clock_mono_ns();
		for (int i = 0; i < 200000; i++)
			quota_once(q, UINT32_MAX);
		uint64_t took = clock_mono_ns() - start;
		best = took < best ? took : best;
	}
	report("reserve and settle 4 limits, the same ones", best, 200000);
	for (unsigned i = 0; i < 250000; i++)
		quota_once(q, i);
	best = UINT64_MAX;
	for (int round = 0; round < ROUNDS; round++) {
		unsigned seed = 1;
		uint64_t start = clock_mono_ns();
		for (int i = 0; i < 100000; i++) {
			seed = seed * 1103515245u + 12345u;
			quota_once(q, (seed >> 8) % 250000);
		}
		uint64_t took = clock_mono_ns() - start;
		best = took < best ? took : best;
	}
	report("the same among a million counters (4 snprintf included)", best, 100000);
	printf("%zu counters\n", quota_counters(q));
	quota_free(q);
}

static int no_seq(void *self, uint64_t *seq, sl_error *error)
{
	(void) self;
	(void) error;
	*seq = 0;
	return SL_OK;
}

static int take_all(void *self, const sl_record *records, size_t n, sl_error *error)
{
	(void) self;
	(void) records;
	(void) n;
	(void) error;
	return SL_OK;
}

static void bench_ledger(void)
{
	static const sl_store_ops ops = { .size = sizeof ops, .last_seq = no_seq, .append = take_all };
	char folder[] = "/tmp/bench-ledger-XXXXXX", command[64];
	sl_error error = { 0 };
	struct ledger_stats stats;
	sl_usage usage = { .tenant = "tenant", .model = "model" };
	if (!mkdtemp(folder))
		return;
	struct ledger_options options = { .folder = folder, .commit_gap_us = 500, .store = &ops };
	struct ledger *l = ledger_open(&options, &error);
	if (!l) {
		printf("ledger: %s\n", error.text);
		return;
	}
	uint64_t best = UINT64_MAX;
	for (int round = 0; round < 50; round++) {
		uint64_t start = clock_mono_ns(), seq = 1;
		for (int i = 0; i < 2000 && seq; i++)
			seq = ledger_append(l, SL_RECORD_USAGE, (sl_str){ 0 }, &usage, sizeof usage);
		uint64_t took = clock_mono_ns() - start;
		if (!seq) { /* no disk is as fast as this loop: a refusal is no measurement */
			usleep(100000);
			continue;
		}
		best = took < best ? took : best;
		ledger_wait(l, seq, 5000);
	}
	report("ledger_append of a use record", best, 2000);
	ledger_stats(l, &stats);
	printf("%llu records in %llu commits\n", (unsigned long long) stats.committed, (unsigned long long) stats.commits);
	ledger_close(l);
	snprintf(command, sizeof command, "rm -rf '%s'", folder);
	if (system(command) != 0)
		printf("%s stays behind\n", folder);
}

static void digest_of(unsigned i, uint8_t digest[32])
{
	hash_sha256(&i, sizeof i, digest);
}

static void bench_identity(void)
{
	struct identity *id = identity_new(KEYS);
	sl_error error;
	sl_identity found;
	uint8_t digest[32], (*probe)[32] = calloc(100000, sizeof *probe);
	identity_apply(id, STR("tenant/t"), STR("{}"), &error);
	for (unsigned i = 0; i < KEYS; i++) {
		char key[32], json[160], hex[65];
		digest_of(i, digest);
		for (int k = 0; k < 32; k++)
			snprintf(hex + 2 * k, 3, "%02x", digest[k]);
		snprintf(key, sizeof key, "key/slk_%08u", i);
		snprintf(json, sizeof json, "{\"tenant\":\"t\",\"user\":\"u%u\",\"digest\":\"%s\"}", i, hex);
		identity_apply(id, str_of(key), str_of(json), &error);
	}
	for (unsigned i = 0, seed = 1; i < 100000; i++) {
		seed = seed * 1103515245u + 12345u;
		digest_of((seed >> 8) % KEYS, probe[i]);
	}
	uint64_t best = UINT64_MAX, best_hot = UINT64_MAX;
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t start = clock_mono_ns();
		for (int i = 0; i < 100000; i++)
			identity_find(id, probe[i], now.wall_ms, &found, &error);
		uint64_t middle = clock_mono_ns();
		for (int i = 0; i < 100000; i++)
			identity_find(id, probe[0], now.wall_ms, &found, &error);
		uint64_t end = clock_mono_ns();
		best = middle - start < best ? middle - start : best;
		best_hot = end - middle < best_hot ? end - middle : best_hot;
	}
	report("identity_find of one key among a million", best_hot, 100000);
	report("identity_find of any key among a million", best, 100000);
	free(probe);
	identity_free(id);
}

int main(void)
{
	bench_quota();
	bench_ledger();
	bench_identity();
	return 0;
}

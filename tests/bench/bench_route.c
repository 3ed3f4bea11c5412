/* SPDX-License-Identifier: Apache-2.0 */
/* bench_route.c - what a routing decision costs beside hashing the prompt once, and what the prefix index takes. Run by
 * hand: bench_route */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/str.h"
#include "core/route/route.h"

enum { TOKENS = 8192, BYTES = TOKENS * 4, KEYS = BYTES / PREFIX_BLOCK, ROUNDS = 7, THREADS = 4 };

struct request {
	struct route_use use;
	uint64_t keys[KEYS];
	uint32_t entries[KEYS], ages[KEYS];
};

static long resident_kib(void)
{
	long pages = 0, all;
	FILE *f = fopen("/proc/self/statm", "r");
	if (f) {
		if (fscanf(f, "%ld %ld", &all, &pages) != 2)
			pages = 0;
		fclose(f);
	}
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static uint64_t next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	return *seed ^= *seed << 17;
}

/* `shared` blocks of one of a few conversations, then own ones. */
static void make(struct request *q, uint64_t *seed, unsigned conversations, unsigned shared)
{
	uint64_t key = next(seed) % conversations + 1;
	for (unsigned i = 0; i < KEYS; i++)
		q->keys[i] = key = (key + (i == shared ? next(seed) : 1)) * UINT64_C(0x9e3779b97f4a7c15);
	q->use = (struct route_use){ .keys = q->keys, .n_keys = KEYS, .bytes = BYTES, .streamed = true,
		.hold = { .entries = q->entries, .ages = q->ages } };
}

static void bench_hash(void)
{
	static char prompt[BYTES];
	static uint64_t keys[KEYS];
	uint64_t best = UINT64_MAX;
	for (int i = 0; i < BYTES; i++)
		prompt[i] = (char) (' ' + i * 7 % 90);
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t start = clock_mono_ns();
		for (int i = 0; i < 1000; i++) {
			prompt[i % BYTES]++;
			prefix_chain(1, prompt, BYTES, keys, KEYS);
		}
		uint64_t took = clock_mono_ns() - start;
		best = took < best ? took : best;
	}
	printf("hashing an 8k-token prompt (%d bytes)                  %8.2f us\n", BYTES, (double) best / 1e6);
}

static void nothing(void *arg, const struct route_replica *r, const struct route_candidate *c)
{
	(void) r;
	*(double *) arg += c->total;
}

static struct route_model *fill(struct route *table, unsigned replicas, unsigned entries, struct route_replica **r)
{
	struct route_model *m = route_model(table, STR("m"), true);
	struct route_tuning tuning = { .waiting_max = 1, .index_entries = entries, .cache_tokens = 262144 };
	struct http_address address = { .len = 0 };
	route_model_tune(m, &tuning);
	for (unsigned i = 0; i < replicas; i++) {
		char name[SL_NAME_MAX];
		snprintf(name, sizeof name, "r%u", i);
		r[i] = route_replica_add(m, name, &address, NULL, "m", 100000, ROUTE_READY, 0);
	}
	return m;
}

static void one(struct route_model *m, struct request *q, uint64_t *now)
{
	struct route_replica *got;
	struct route_ask ask = { .now_us = *now += 1000, .use = &q->use };
	struct route_truth truth = { .input = TOKENS, .cached = 100, .output = 100 };
	route_choose(m, &ask, &got);
	route_first(&q->use, *now += 1000);
	route_done(&q->use, *now += 1000, false, &truth);
}

static void bench_decision(unsigned replicas)
{
	static struct route_replica *r[ROUTE_REPLICAS_MAX];
	enum { RUNNING = 200, LOOKS = 2000 };
	struct route *table = route_new();
	struct route_model *m = fill(table, replicas, 4000000, r);
	struct request *q = calloc(RUNNING, sizeof *q), *probes = calloc(64, sizeof *probes);
	uint64_t seed = 88172645463325252ull, now = 1000000, best = UINT64_MAX, best_use = UINT64_MAX;
	double sum = 0;
	for (unsigned i = 0; i < replicas * 20 + 2000; i++) {
		make(&q[0], &seed, 40 * replicas, 200);
		one(m, &q[0], &now);
	}
	for (unsigned i = 0; i < RUNNING; i++) { /* some load, so that costs differ */
		struct route_replica *got;
		struct route_ask ask = { .now_us = now += 100, .use = &q[i].use };
		make(&q[i], &seed, 40 * replicas, 200);
		route_choose(m, &ask, &got);
	}
	for (unsigned i = 0; i < 64; i++)
		make(&probes[i], &seed, 40 * replicas, 200);
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t start = clock_mono_ns();
		for (int i = 0; i < LOOKS; i++)
			route_weigh(m, &probes[i % 64].use, now += 10, nothing, &sum);
		uint64_t took = clock_mono_ns() - start;
		best = took < best ? took : best;
		start = clock_mono_ns();
		for (int i = 0; i < 64; i++)
			one(m, &probes[i], &now);
		took = clock_mono_ns() - start;
		best_use = took < best_use ? took : best_use;
	}
	printf("%4u replicas: looking at all of them                   %8.2f us\n", replicas, (double) best / LOOKS / 1e3);
	printf("      with dispatch, first token and end of a request   %8.2f us\n", (double) best_use / 64 / 1e3);
	for (unsigned i = 0; i < RUNNING; i++)
		route_done(&q[i].use, now, true, NULL);
	for (unsigned i = 0; i < replicas; i++)
		route_replica_remove(r[i]);
	free(q);
	free(probes);
	route_free(table);
}

static void bench_memory(void)
{
	static struct route_replica *r[16];
	struct route *table = route_new();
	long before = resident_kib();
	struct route_model *m = fill(table, 16, 1000000, r);
	long empty = resident_kib();
	struct request *q = calloc(1, sizeof *q);
	uint64_t seed = 88172645463325252ull, now = 1000000;
	struct route_load load;
	struct route_tuning tuning = { .waiting_max = 1, .index_entries = 1000000, .cache_tokens = 100000000 };
	route_model_tune(m, &tuning);
	for (int i = 0; i < 20000; i++) {
		make(q, &seed, UINT32_MAX, 0);
		one(m, q, &now);
		route_load(m, &load);
		if (load.index.evicted)
			break;
	}
	printf("index of %u entries, %u blocks: %.1f MB by its own count, resident %.1f MB (%.1f empty)\n", load.index.entries,
	       load.index.blocks, (double) load.index.bytes / 1e6, (double) (resident_kib() - before) / 1e3,
	       (double) (empty - before) / 1e3);
	for (unsigned i = 0; i < 16; i++)
		route_replica_remove(r[i]);
	free(q);
	route_free(table);
}

struct thread {
	struct route_model *model;
	uint64_t seed, requests;
	unsigned keys;
};

static void *work(void *arg)
{
	struct thread *t = arg;
	struct request *q = calloc(1, sizeof *q);
	uint64_t now = 1000000;
	for (uint64_t i = 0; i < t->requests; i++) {
		make(q, &t->seed, 400, 200);
		q->use.n_keys = t->keys;
		one(t->model, q, &now);
	}
	free(q);
	return NULL;
}

static void bench_threads(void)
{
	static struct route_replica *r[16];
	struct route *table = route_new();
	struct route_model *m = fill(table, 16, 1000000, r);
	static const unsigned sizes[] = { 8, KEYS };
	for (unsigned k = 0; k < 2; k++)
		for (unsigned n = 1; n <= THREADS; n *= 2) {
			struct thread t[THREADS];
			pthread_t id[THREADS];
			uint64_t start = clock_mono_ns();
			for (unsigned i = 0; i < n; i++) {
				t[i] = (struct thread){ m, 88172645463325252ull + i, 40000 / n, sizes[k] };
				pthread_create(&id[i], NULL, work, &t[i]);
			}
			for (unsigned i = 0; i < n; i++)
				pthread_join(id[i], NULL);
			printf("%u threads on one model, prompts of %5u bytes: %4.0f thousand requests a second\n", n,
			       sizes[k] * PREFIX_BLOCK, 40000.0 / ((double) (clock_mono_ns() - start) / 1e9) / 1e3);
		}
	for (unsigned i = 0; i < 16; i++)
		route_replica_remove(r[i]);
	route_free(table);
}

int main(void)
{
	bench_memory();
	bench_hash();
	bench_decision(16);
	bench_decision(100);
	bench_decision(1000);
	bench_threads();
	return 0;
}

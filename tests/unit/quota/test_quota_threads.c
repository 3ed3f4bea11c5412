/* SPDX-License-Identifier: Apache-2.0 */
/* test_quota_threads.c - limits under many threads: exact, and nothing stays reserved. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/quota/quota.h"
#include "tests/unit/tap.h"

enum { THREADS = 64 };

static struct quota *quota;
static atomic_int granted, refused_otherwise, overspent;
static pthread_barrier_t start;
static struct quota_limit limits[5];
static const struct quota_now now = { 1000000, UINT64_C(1790000000000) };

static void set_limit(struct quota_limit *limit, const char *scope, uint8_t metric, uint8_t window, int64_t amount)
{
	*limit = (struct quota_limit){ .metric = metric, .window = window, .window_ms = 60000, .amount = amount };
	strcpy(limit->scope, scope);
}

static unsigned step(unsigned *seed)
{
	*seed = *seed * 1103515245u + 12345u;
	return *seed >> 8;
}

/* Each wants five requests; the counter has room for exactly 100. */
static void *take_requests(void *arg)
{
	(void) arg;
	pthread_barrier_wait(&start);
	for (int i = 0; i < 5; i++) {
		struct quota_reservation r;
		struct quota_use one = { .requests = 1, .input_tokens = 3 };
		int code = quota_reserve(quota, now, limits, 3, &one, &r, NULL);
		if (code == SL_OK) {
			atomic_fetch_add(&granted, 1);
			quota_settle(quota, now, &r, &one);
		} else if (code != SL_ELIMIT) {
			atomic_fetch_add(&refused_otherwise, 1);
		}
	}
	return NULL;
}

/* Reserves a bound, settles less (and sometimes nothing: hung up) until there is no room for the bound. */
static void *take_tokens(void *arg)
{
	unsigned seed = (unsigned) (uintptr_t) arg * 77777u + 1;
	pthread_barrier_wait(&start);
	for (int i = 0; i < 400; i++) {
		struct quota_reservation r;
		struct quota_use bound = { .requests = 1, .input_tokens = 100, .output_tokens = step(&seed) % 900 };
		if (quota_reserve(quota, now, limits, 5, &bound, &r, NULL) != SL_OK)
			continue;
		struct quota_state state;
		quota_read(quota, now, &limits[3], &state);
		if (state.used + state.reserved > limits[3].amount)
			atomic_fetch_add(&overspent, 1);
		struct quota_use used = bound;
		if (step(&seed) % 10 < 3)
			used.output_tokens = used.output_tokens ? step(&seed) % (unsigned) used.output_tokens : 0;
		if (step(&seed) % 10 == 0)
			memset(&used, 0, sizeof used);
		quota_settle(quota, now, &r, &used);
	}
	return NULL;
}

/* Counters come and go in a table that is too small for all of them. */
static void *churn(void *arg)
{
	unsigned seed = (unsigned) (uintptr_t) arg * 31337u + 5;
	pthread_barrier_wait(&start);
	for (unsigned i = 0; i < 500; i++) {
		struct quota_limit two[2];
		char scope[32];
		snprintf(scope, sizeof scope, "key:%u", step(&seed) % 3000);
		set_limit(&two[0], scope, QUOTA_CONCURRENCY, QUOTA_NONE, 1000);
		set_limit(&two[1], scope, QUOTA_TOKENS, QUOTA_SLIDING, 1000000);
		struct quota_now later = { now.mono_ms + i * 500, now.wall_ms + i * 500 };
		struct quota_reservation r;
		struct quota_use use = { .requests = 1, .input_tokens = 1 };
		int code = quota_reserve(quota, later, two, 2, &use, &r, NULL);
		if (code == SL_OK)
			quota_settle(quota, later, &r, &use);
		else if (code != SL_EFULL)
			atomic_fetch_add(&refused_otherwise, 1);
	}
	return NULL;
}

static void run_all(void *(*body)(void *))
{
	pthread_t thread[THREADS];
	pthread_barrier_init(&start, NULL, THREADS);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, body, (void *) i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	pthread_barrier_destroy(&start);
}

static bool all_given_back(void)
{
	for (int metric = QUOTA_REQUESTS; metric <= QUOTA_COST; metric++)
		if (quota_reserved(quota, metric) != 0)
			return false;
	return true;
}

static void test_requests(void)
{
	quota = quota_new(1000);
	atomic_store(&granted, 0);
	set_limit(&limits[0], "key:a", QUOTA_REQUESTS, QUOTA_DAY, 100);
	set_limit(&limits[1], "tenant:b", QUOTA_CONCURRENCY, QUOTA_NONE, 1000);
	set_limit(&limits[2], "tenant:b", QUOTA_TOKENS, QUOTA_SLIDING, 1000000);
	run_all(take_requests);
	struct quota_state state;
	quota_read(quota, now, &limits[0], &state);
	tap_ok(atomic_load(&granted) == 100, "64 threads, room for 100 requests: %d went through", atomic_load(&granted));
	tap_ok(state.used == 100, "used is %lld", (long long) state.used);
	quota_read(quota, now, &limits[2], &state);
	tap_ok(state.used == 300, "the denied ones charged no other limit: %lld", (long long) state.used);
	tap_ok(all_given_back(), "nothing is reserved at rest");
	quota_free(quota);
}

static void test_tokens(void)
{
	quota = quota_new(1000);
	set_limit(&limits[0], "key:a", QUOTA_REQUESTS, QUOTA_SLIDING, 1000000);
	set_limit(&limits[1], "tenant:b", QUOTA_CONCURRENCY, QUOTA_NONE, 40);
	set_limit(&limits[2], "model:c", QUOTA_OUTPUT_TOKENS, QUOTA_TOTAL, 3000000);
	set_limit(&limits[3], "tenant:b", QUOTA_TOKENS, QUOTA_SLIDING, 2000000);
	set_limit(&limits[4], "team:d", QUOTA_INPUT_TOKENS, QUOTA_MONTH, 2000000);
	run_all(take_tokens);
	struct quota_state state;
	quota_read(quota, now, &limits[3], &state);
	tap_ok(atomic_load(&overspent) == 0, "used + reserved never passed the amount");
	tap_ok(state.used > 1990000 && state.used <= 2000000, "the room is filled: %lld of 2000000", (long long) state.used);
	tap_ok(all_given_back(), "nothing is reserved at rest");
	quota_free(quota);
}

static void test_churn(void)
{
	quota = quota_new(512);
	atomic_store(&refused_otherwise, 0);
	run_all(churn);
	tap_ok(quota_counters(quota) <= 512, "the table keeps its bound: %zu", quota_counters(quota));
	tap_ok(atomic_load(&refused_otherwise) == 0, "a full table is the only refusal");
	tap_ok(all_given_back(), "nothing is reserved at rest");
	quota_free(quota);
}

int main(void)
{
	test_requests();
	test_tokens();
	test_churn();
	return tap_done();
}

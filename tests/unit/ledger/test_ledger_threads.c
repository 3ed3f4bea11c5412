/* SPDX-License-Identifier: Apache-2.0 */
/* test_ledger_threads.c - many threads append; everything is committed, fed in order, once, over restarts. */
#include <pthread.h>
#include <stdlib.h>

#include "core/base/str.h"
#include "core/ledger/ledger.h"
#include "tests/unit/ledger/fake_store.h"
#include "tests/unit/tap.h"

enum { THREADS = 8, EACH = 4000 };

static struct fake_store store;
static char folder[64];
static atomic_uint_fast64_t last_told;
static atomic_int told_backwards;
static atomic_int state_calls, state_accepting;

static void committed(void *arg, uint64_t seq)
{
	(void) arg;
	if (seq <= atomic_exchange(&last_told, seq))
		atomic_fetch_add(&told_backwards, 1);
}

static void state(void *arg, bool accepting, const char *why)
{
	(void) arg;
	(void) why;
	atomic_fetch_add(&state_calls, 1);
	atomic_store(&state_accepting, accepting);
}

static struct ledger *open_ledger(uint64_t segment_bytes, unsigned segments_max, uint64_t gap_us)
{
	sl_error error = { 0 };
	struct ledger_options options = {
		.folder = folder, .segment_bytes = segment_bytes, .segments_max = segments_max, .commit_gap_us = gap_us,
		.store = &fake_ops, .store_self = &store, .committed = committed, .state = state,
	};
	struct ledger *l = ledger_open(&options, &error);
	if (!l)
		printf("# %s\n", error.text);
	return l;
}

static void *append_many(void *arg)
{
	struct ledger *l = arg;
	char data[500];
	memset(data, 'x', sizeof data);
	for (int i = 0; i < EACH;) {
		size_t size = (size_t) (i * 7 % 400);
		uint64_t seq = ledger_append(l, SL_RECORD_OBJECT, STR("kind/name"), data, size);
		if (!seq)
			usleep(500); /* no room at the moment */
		else if (i++ % 500 == 0 && !ledger_wait(l, seq, 10000))
			atomic_fetch_add(&told_backwards, 1000);
	}
	return NULL;
}

static void run_threads(struct ledger *l)
{
	pthread_t thread[THREADS];
	for (int i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, append_many, l);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
}

static void note_last(void *arg, const sl_store_ops *ops, void *self)
{
	sl_error error;
	uint64_t seq;
	ops->last_seq(self, &seq, &error);
	atomic_store((atomic_uint_fast64_t *) arg, seq);
}

static void wait_for(atomic_uint_fast64_t *value, uint64_t least)
{
	for (int i = 0; i < 10000 && atomic_load(value) < least; i++)
		usleep(1000);
}

static void test_many(uint64_t segment_bytes, uint64_t gap_us)
{
	struct ledger *l = open_ledger(segment_bytes, 0, gap_us);
	if (!tap_ok(l != NULL, "opens"))
		return;
	uint64_t before = atomic_load(&store.records);
	run_threads(l);
	static atomic_uint_fast64_t seen;
	struct ledger_stats stats;
	ledger_stats(l, &stats);
	atomic_store(&seen, 0);
	tap_ok(ledger_query(l, note_last, &seen), "a query is taken");
	wait_for(&seen, stats.appended);
	tap_ok(atomic_load(&seen) == stats.appended, "a query sees all that was appended before it: %llu of %llu",
	       (unsigned long long) atomic_load(&seen), (unsigned long long) stats.appended);
	ledger_close(l);
	uint64_t fed = atomic_load(&store.records) - before;
	tap_ok(fed == THREADS * EACH, "every record is in the store: %llu", (unsigned long long) fed);
	tap_ok(atomic_load(&store.out_of_order) == 0, "in order, each once");
	tap_ok(atomic_load(&told_backwards) == 0, "commits are told in order, and waited for");
	tap_ok(atomic_load(&last_told) == atomic_load(&store.last), "the last commit that was told is the last record");
}

/* The store refuses for a while: the journal keeps, up to its bound, then appends are refused, then it goes on. */
static void test_store_stuck(void)
{
	strcat(folder, "/second"); /* it begins behind what the store has */
	struct ledger *l = open_ledger(65536, 3, 0);
	uint64_t before = atomic_load(&store.records), taken = 0;
	char data[1000] = "";
	atomic_store(&state_accepting, 1);
	atomic_store(&store.refuse, -1);
	for (int i = 0; i < 20000 && taken < 1000; i++) {
		if (ledger_append(l, SL_RECORD_OBJECT, STR("k/n"), data, sizeof data))
			taken++;
		else if (!ledger_accepting(l))
			break;
		else
			usleep(200);
	}
	for (int i = 0; i < 1000 && atomic_load(&state_accepting); i++)
		usleep(1000);
	tap_ok(taken > 100 && taken < 300, "three segments of 64 KiB took %llu records of 1 KB", (unsigned long long) taken);
	tap_ok(!ledger_accepting(l) && !atomic_load(&state_accepting), "then it says that it is full");
	atomic_store(&store.refuse, 0);
	for (int i = 0; i < 10000 && !atomic_load(&state_accepting); i++)
		usleep(1000);
	tap_ok(ledger_accepting(l), "and goes on when the store takes records again");
	uint64_t seq = 0;
	for (int i = 0; i < 5000 && !seq; i++) {
		seq = ledger_append(l, SL_RECORD_OBJECT, STR("k/n"), data, sizeof data);
		usleep(seq ? 0 : 1000);
	}
	tap_ok(seq && ledger_wait(l, seq, 5000), "an append after it is committed");
	ledger_close(l);
	tap_ok(atomic_load(&store.records) - before == taken + 1, "nothing was lost meanwhile");
}

/* It is closed while the store refuses, and the next start feeds the store. */
static void test_store_behind(void)
{
	struct ledger *l = open_ledger(65536, 0, 0);
	uint64_t before = atomic_load(&store.records);
	atomic_store(&store.refuse, -1);
	uint64_t seq = 0;
	for (int i = 0; i < 50; i++)
		seq = ledger_append(l, SL_RECORD_LEASE, STR("lease-1"), "{}", 2);
	tap_ok(ledger_wait(l, seq, 5000), "a refusing store does not hold up commits");
	ledger_close(l);
	tap_ok(atomic_load(&store.records) == before, "the store has none of it");
	atomic_store(&store.refuse, 2);
	l = open_ledger(65536, 0, 0);
	tap_ok(l && atomic_load(&store.records) == before + 50, "the next start feeds it");
	ledger_close(l);
	tap_ok(atomic_load(&store.out_of_order) == 0, "in order, each once");
}

/* A slow store holds up its own queries, never a commit. */
static void test_store_slow(void)
{
	struct ledger *l = open_ledger(1 << 20, 0, 0);
	uint64_t before = atomic_load(&store.records), seq = 0;
	struct ledger_stats stats;
	atomic_store(&store.slow_ms, 400);
	for (int i = 0; i < 3000; i++) {
		while (!(seq = ledger_append(l, SL_RECORD_OBJECT, STR("k/n"), "{}", 2)))
			usleep(100);
	}
	bool committed_soon = ledger_wait(l, seq, 10000);
	ledger_stats(l, &stats);
	tap_ok(committed_soon && stats.fed < stats.committed, "commits are ahead of a slow store: %llu, %llu",
	       (unsigned long long) stats.committed, (unsigned long long) stats.fed);
	static atomic_uint_fast64_t seen;
	int taken = 0;
	while (taken < 3000 && ledger_query(l, note_last, &seen))
		taken++;
	tap_ok(taken >= 1024 && taken < 3000, "the queue of queries is bounded: %d", taken);
	ledger_close(l);
	atomic_store(&store.slow_ms, 0);
	tap_ok(atomic_load(&store.records) - before == 3000, "closing feeds what is left");
	tap_ok(atomic_load(&seen) == seq, "and answers the queries");
}

int main(void)
{
	strcpy(folder, "/tmp/test-ledger-XXXXXX");
	if (!mkdtemp(folder))
		return 99;
	test_many(0, 500);
	test_many(65536, 0);
	test_many(1 << 20, 200);
	test_store_stuck();
	test_store_behind();
	test_store_slow();
	sl_error error = { 0 };
	struct ledger *l = open_ledger(0, 0, 0);
	struct ledger_options again = { .folder = folder, .store = &fake_ops, .store_self = &store };
	tap_ok(l && !ledger_open(&again, &error) && error.code == SL_ECONFLICT, "a second daemon is refused: %s", error.text);
	ledger_close(l);
	char command[128];
	folder[strlen("/tmp/test-ledger-XXXXXX")] = '\0';
	snprintf(command, sizeof command, "rm -rf '%s'", folder);
	return system(command) == 0 ? tap_done() : 99;
}

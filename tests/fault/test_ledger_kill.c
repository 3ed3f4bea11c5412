/* SPDX-License-Identifier: Apache-2.0 */
/* test_ledger_kill.c - kill -9 at random moments: what was said to be committed is in the store, exactly once.
 *
 * A child appends on several threads to a journal with small segments, with the SQLite store behind it, and tells
 * each commit over a pipe. Record n carries n as its tokens, so the store's sums show a gap or a double. In every second
 * round records become sums as soon as they are a millisecond old. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/str.h"
#include "core/ledger/ledger.h"
#include "tests/unit/store/open_store.h"
#include "tests/unit/tap.h"

enum { ROUNDS = 120, THREADS = 4 };

static char folder[64], database[96];
static int told = -1; /* the pipe, in the child */

static void committed(void *arg, uint64_t seq)
{
	(void) arg;
	if (write(told, &seq, sizeof seq) != sizeof seq)
		_exit(3);
}

static struct ledger *open_ledger(struct opened_store *store, bool tell, bool fold, sl_error *error)
{
	struct ledger_options options = {
		.folder = folder, .segment_bytes = 65536, .commit_gap_us = 300, .store = store->ops, .store_self = store->self,
		.committed = tell ? committed : NULL, .keep_ms = fold,
	};
	return ledger_open(&options, error);
}

/* The sequence is known only after the append, so one lock makes number and content agree. */
static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
static uint64_t next_number;

static void *append_on(void *arg)
{
	struct ledger *l = arg;
	for (;;) {
		sl_usage usage = { .started_ms = 1, .tenant = "t", .model = "m" };
		pthread_mutex_lock(&one);
		usage.input_tokens = usage.cost = (int64_t) next_number;
		uint64_t seq = ledger_append(l, SL_RECORD_USAGE, (sl_str){ 0 }, &usage, sizeof usage);
		if (seq && seq != next_number)
			_exit(4);
		next_number += seq != 0;
		pthread_mutex_unlock(&one);
		if (!seq || seq % 7 == 0)
			ledger_wait(l, seq ? seq : ledger_committed(l) + 1, 100);
	}
	return NULL;
}

static void child(int pipe_out, bool fold)
{
	struct opened_store store;
	sl_error error = { 0 };
	struct ledger_stats stats;
	told = pipe_out;
	struct ledger *l = open_store(database, &store, &error) == SL_OK ? open_ledger(&store, true, fold, &error) : NULL;
	if (!l) {
		fprintf(stderr, "# child: %s\n", error.text);
		_exit(2);
	}
	ledger_stats(l, &stats);
	next_number = stats.appended + 1;
	pthread_t thread;
	for (int i = 1; i < THREADS; i++)
		pthread_create(&thread, NULL, append_on, l);
	append_on(l);
}

static int sum_up(void *arg, const sl_usage_sum *sum)
{
	*(sl_usage_sum *) arg = *sum;
	return 0;
}

static unsigned step(unsigned *seed)
{
	*seed = *seed * 1103515245u + 12345u;
	return *seed >> 8;
}

/* Lets a child run for a moment, kills it. The last sequence that it told. False: it died by itself. */
static bool run_child(unsigned *seed, bool fold, uint64_t *last)
{
	int ends[2];
	if (pipe(ends) != 0)
		return false;
	pid_t pid = fork();
	if (pid == 0) {
		close(ends[0]);
		child(ends[1], fold);
		_exit(5);
	}
	close(ends[1]);
	/* From before its first commit to some hundreds of them. */
	struct timespec moment = { 0, (long) (step(seed) % 60000) * 1000 };
	nanosleep(&moment, NULL);
	kill(pid, SIGKILL);
	uint64_t seq;
	while (read(ends[0], &seq, sizeof seq) == sizeof seq)
		*last = seq;
	close(ends[0]);
	int status;
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

/* What journal and store hold together: opening the ledger feeds the store. */
static bool check(int round, uint64_t told_last, uint64_t *have, uint64_t *folded)
{
	struct opened_store store;
	sl_error error = { 0 };
	struct ledger *l = open_store(database, &store, &error) == SL_OK ? open_ledger(&store, false, false, &error) : NULL;
	if (!l) {
		printf("# round %d: %s\n", round, error.text);
		return false;
	}
	ledger_close(l);
	sl_usage_sum sum = { 0 };
	sl_usage_filter all = { .size = sizeof all };
	uint64_t last = 0;
	store.ops->last_seq(store.self, &last, &error);
	store.ops->usage_sum(store.self, &all, 0, sum_up, &sum, &error);
	struct ledger_verdict verdict = { 0 };
	bool sound = ledger_verify(store.ops, store.self, 0, NULL, 0, &verdict, &error) == SL_OK && !verdict.wrong &&
	             verdict.verified == last && verdict.folded >= *folded;
	if (!sound)
		printf("# round %d: verified up to %llu, folded up to %llu: %s%s\n", round, (unsigned long long) verdict.verified,
		       (unsigned long long) verdict.folded, verdict.why, error.text);
	*folded = verdict.folded;
	close_store(&store);
	int64_t n = (int64_t) last;
	bool right = last >= told_last && sum.requests == n && sum.input_tokens == n * (n + 1) / 2 &&
	             sum.cost_low == (uint64_t) (n * (n + 1) / 2);
	if (!right)
		printf("# round %d: told %llu, store has %llu, rows %lld, sum %lld\n", round, (unsigned long long) told_last,
		       (unsigned long long) last, (long long) sum.requests, (long long) sum.input_tokens);
	*have = last;
	return right && sound;
}

int main(void)
{
	unsigned seed = (unsigned) time(NULL);
	uint64_t last = 0, have = 0, folded = 0;
	int right = 0, killed = 0, round = 0;
	strcpy(folder, "/tmp/test-kill-XXXXXX");
	if (!mkdtemp(folder))
		return 99;
	snprintf(database, sizeof database, "%s/store.db", folder);
	printf("# seed %u\n", seed);
	for (; round < ROUNDS; round++) {
		killed += run_child(&seed, round % 2, &last);
		if (!check(round, last, &have, &folded))
			break;
		right++;
	}
	tap_ok(killed == round && round == ROUNDS, "%d children were killed at work", killed);
	tap_ok(right == ROUNDS, "after each, all that was committed is in the store exactly once, and agrees with its digests (%d of %d rounds)", right, ROUNDS);
	tap_ok(folded > ROUNDS, "%llu of them became sums", (unsigned long long) folded);
	tap_ok(have > ROUNDS, "%llu records were written meanwhile", (unsigned long long) have);
	char command[128];
	snprintf(command, sizeof command, "rm -rf '%s'", folder);
	return system(command) == 0 ? tap_done() : 99;
}

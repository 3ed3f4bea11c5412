/* SPDX-License-Identifier: Apache-2.0 */
/* feeder.c - the thread that passes committed records on to the store and asks it questions.
 *
 * It reads the journal's files: what was written a moment ago comes from the page cache, what the store could not
 * take for an hour comes from the disk, by the same code. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/log.h"
#include "core/ledger/internal.h"

bool cursor_open(struct cursor *c, uint64_t segment, uint64_t next_seq)
{
	*c = (struct cursor){ .segment = segment, .fd = -1, .offset = SEGMENT_HEAD_BYTES, .next_seq = next_seq };
	c->data = malloc(FEED_BYTES);
	c->records = calloc(FEED_RECORDS, sizeof *c->records);
	return c->data && c->records;
}

void cursor_close(struct cursor *c)
{
	if (c->fd >= 0)
		close(c->fd);
	free(c->data);
	free(c->records);
	*c = (struct cursor){ .fd = -1 };
}

/* Waits on feeder_wake. False: the time is over. With the lock. */
static bool feeder_wait(struct ledger *l, uint64_t until_ns)
{
	struct timespec end = { (time_t) (until_ns / 1000000000), (long) (until_ns % 1000000000) };
	return pthread_cond_timedwait(&l->feeder_wake, &l->lock, &end) != ETIMEDOUT;
}

static bool journal_unreadable(struct ledger *l, const char *why)
{
	char text[SL_ERROR_TEXT];
	snprintf(text, sizeof text, "record %" PRIu64 " cannot be read back from journal-%016" PRIx64 " in %.120s (%s)",
	         l->cursor.next_seq, l->cursor.segment, l->folder.path, why);
	pthread_mutex_lock(&l->lock);
	ledger_fail(l, text);
	pthread_mutex_unlock(&l->lock);
	return false;
}

/* The store has all of a segment: its file is used again, or goes. */
static void segment_done(struct ledger *l, uint64_t number)
{
	pthread_mutex_lock(&l->lock);
	bool keep = !l->spare_ready && !l->spare_claimed && !l->spare_busy;
	l->spare_busy |= keep;
	pthread_mutex_unlock(&l->lock);
	bool kept = keep && spare_recycle(&l->folder, number);
	if (!keep)
		segment_remove(&l->folder, number);
	pthread_mutex_lock(&l->lock);
	l->segment_first = number + 1;
	if (keep)
		l->spare_busy = false;
	if (kept) {
		l->spare_ready = true;
		l->blocked = false;
		ledger_judge(l);
	}
	pthread_cond_signal(&l->keeper_wake); /* it may have waited for the file, or for a place */
	pthread_mutex_unlock(&l->lock);
}

/* The cursor's segment has no more. */
static bool cursor_next(struct ledger *l)
{
	struct cursor *c = &l->cursor;
	pthread_mutex_lock(&l->lock);
	bool last = c->segment >= l->segment_last;
	pthread_mutex_unlock(&l->lock);
	if (last)
		return journal_unreadable(l, "it is damaged");
	close(c->fd);
	c->fd = -1;
	segment_done(l, c->segment);
	c->segment++;
	c->offset = SEGMENT_HEAD_BYTES;
	return true;
}

/* Reads the next records, up to `until`, at most FEED_RECORDS. 0: cannot be read, the ledger has failed. */
static size_t cursor_read(struct ledger *l, uint64_t until)
{
	struct cursor *c = &l->cursor;
	for (;;) {
		if (c->fd < 0 && (c->fd = folder_segment(&l->folder, c->segment, O_RDONLY)) < 0)
			return journal_unreadable(l, strerror(errno));
		ssize_t have = pread(c->fd, c->data, FEED_BYTES, (off_t) c->offset);
		if (have < 0 && errno == EINTR)
			continue;
		if (have < 0)
			return journal_unreadable(l, strerror(errno));
		size_t n = 0, at = 0;
		while (n < FEED_RECORDS && c->next_seq <= until) {
			size_t bytes = record_check(c->data + at, (size_t) have - at, c->segment);
			if (!bytes)
				break;
			record_read(c->data + at, &c->records[n]);
			if (c->records[n].seq != c->next_seq)
				break;
			at += bytes;
			n++;
			c->next_seq++;
		}
		c->offset += at;
		if (n)
			return n;
		if (!cursor_next(l))
			return 0;
	}
}

/* Until the store has taken them. False: closing, and it still refuses. */
static bool store_take(struct ledger *l, const sl_record *records, size_t n)
{
	sl_error error = { 0 };
	uint64_t delay_ms = FEED_RETRY_FIRST_MS;
	unsigned closing_tries = 0;
	for (;;) {
		if (sealer_append(&l->sealer, l->options.store, l->options.store_self, records, n, &error) == SL_OK)
			return true;
		log_warn("ledger: the store refuses records %" PRIu64 " to %" PRIu64 ", next try in %" PRIu64 " ms: %s",
		         records[0].seq, records[n - 1].seq, delay_ms, error.text);
		pthread_mutex_lock(&l->lock);
		bool give_up = l->closing && ++closing_tries >= FEED_CLOSING_TRIES;
		uint64_t until = clock_mono_ns() + delay_ms * 1000000;
		/* Questions that come in meanwhile are no reason to hurry; the end is. */
		bool was_closing = l->closing;
		while (!give_up && l->closing == was_closing && feeder_wait(l, until))
			;
		if (give_up && !l->failed)
			str_copy(l->why, sizeof l->why, str_of(error.text));
		pthread_mutex_unlock(&l->lock);
		if (give_up)
			return false;
		delay_ms = delay_ms * 2 < FEED_RETRY_LAST_MS ? delay_ms * 2 : FEED_RETRY_LAST_MS;
	}
}

bool feed(struct ledger *l, uint64_t until)
{
	uint64_t fed = atomic_load(&l->fed);
	while (l->cursor.next_seq <= until) {
		uint64_t first = l->cursor.next_seq;
		size_t n = cursor_read(l, until);
		if (!n)
			return false;
		/* After a start, the store has some of what the journal still holds. */
		size_t skip = fed >= first ? (size_t) (fed - first + 1) : 0;
		if (skip < n && !store_take(l, l->cursor.records + skip, n - skip))
			return false;
		if (fed < l->cursor.next_seq - 1)
			fed = l->cursor.next_seq - 1;
		atomic_store(&l->fed, fed);
	}
	return true;
}

/* Those whose records the store has; all of them when `all`. */
static void run_queries(struct ledger *l, bool all)
{
	pthread_mutex_lock(&l->lock);
	while (l->query_count) {
		struct query query = l->queries[l->query_first];
		uint64_t fed = atomic_load(&l->fed);
		if (!all && query.after > fed && !(l->failed && fed >= atomic_load(&l->committed)))
			break;
		l->query_first = (l->query_first + 1) % QUERIES_MAX;
		l->query_count--;
		pthread_mutex_unlock(&l->lock);
		query.run(query.arg, l->options.store, l->options.store_self);
		pthread_mutex_lock(&l->lock);
	}
	pthread_mutex_unlock(&l->lock);
}

/* Without anything to feed: until somebody wakes us, or old records are due. False: they are. With the lock. */
static bool rest(struct ledger *l)
{
	if (l->keep_changed)
		l->retention.next_ns = 0;
	l->keep_changed = false;
	uint64_t due_ns = retention_due_ns(&l->retention);
	if (due_ns <= clock_mono_ns())
		return false;
	l->feeder_idle = true;
	if (due_ns == UINT64_MAX)
		pthread_cond_wait(&l->feeder_wake, &l->lock);
	else
		feeder_wait(l, due_ns);
	l->feeder_idle = false;
	return true;
}

/* Waits until there is something to do: enough records, or some and a while, or a question, or what is old. With the
 * lock. */
static void gather(struct ledger *l, uint64_t *since_ns)
{
	while (!l->writer_done) {
		uint64_t waiting = atomic_load(&l->committed) - atomic_load(&l->fed);
		if (waiting >= FEED_RECORDS || (l->query_count && (waiting || l->failed)))
			return;
		if (l->query_count && l->queries[l->query_first].after <= atomic_load(&l->fed))
			return;
		if (!waiting) {
			*since_ns = 0;
			if (!rest(l))
				return;
			continue;
		}
		if (!*since_ns)
			*since_ns = clock_mono_ns();
		l->feeder_gathers = true;
		bool woken = feeder_wait(l, *since_ns + FEED_WAIT_MS * UINT64_C(1000000));
		l->feeder_gathers = false;
		if (!woken)
			return;
	}
}

void *feeder_main(void *ledger)
{
	struct ledger *l = ledger;
	uint64_t since_ns = 0;
	for (bool done = false; !done;) {
		pthread_mutex_lock(&l->lock);
		gather(l, &since_ns);
		done = l->writer_done;
		pthread_mutex_unlock(&l->lock);
		since_ns = 0;
		bool fed = feed(l, atomic_load(&l->committed));
		if (!fed && !done) {
			/* The journal cannot be read, or the end has come: wait for it. */
			pthread_mutex_lock(&l->lock);
			while (!l->writer_done) {
				pthread_mutex_unlock(&l->lock);
				run_queries(l, true);
				pthread_mutex_lock(&l->lock);
				if (!l->writer_done && !l->query_count)
					pthread_cond_wait(&l->feeder_wake, &l->lock);
			}
			pthread_mutex_unlock(&l->lock);
			done = true;
		}
		run_queries(l, done);
		if (!done)
			retention_step(&l->retention, l->options.store, l->options.store_self);
	}
	run_queries(l, true);
	return NULL;
}

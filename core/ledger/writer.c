/* SPDX-License-Identifier: Apache-2.0 */
/* writer.c - the thread that makes records durable. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/ledger/internal.h"

/* The segment is full: all of it becomes durable before the next one has a name, so that a gap is always damage. */
static bool next_segment(struct ledger *l, uint64_t first_seq)
{
	if (l->folder.io.fdatasync(l->fd) != 0)
		return false;
	close(l->fd);
	l->fd = spare_take(&l->folder, l->segment + 1, first_seq, clock_wall_ms());
	if (l->fd < 0)
		return false;
	l->segment++;
	l->offset = SEGMENT_HEAD_BYTES;
	l->room = l->folder.segment_bytes;
	pthread_mutex_lock(&l->lock);
	l->spare_claimed = false;
	l->segment_last = l->segment;
	keeper_wake_up(l);
	pthread_mutex_unlock(&l->lock);
	return true;
}

/* Writes a batch, in one piece per segment, and makes it durable. False: errno. */
static bool write_batch(struct ledger *l, struct batch *batch, uint64_t durable)
{
	size_t from = 0, to = 0;
	while (to < batch->len) {
		struct record_head head;
		memcpy(&head, batch->data + to, sizeof head);
		size_t bytes = record_bytes(head.key_len, head.data_len);
		if (l->offset + (to - from) + bytes > l->room) {
			if (!folder_write(&l->folder, l->fd, batch->data + from, to - from, l->offset) || !next_segment(l, head.seq))
				return false;
			from = to;
			durable = head.seq - 1;
		}
		record_seal(batch->data + to, l->segment, durable);
		to += bytes;
	}
	if (!folder_write(&l->folder, l->fd, batch->data + from, to - from, l->offset))
		return false;
	l->offset += to - from;
	return l->folder.io.fdatasync(l->fd) == 0;
}

/* With the lock, which is let go for the call. */
static void announce(struct ledger *l)
{
	char why[SL_ERROR_TEXT];
	bool accepting = atomic_load(&l->accepting);
	l->announced = accepting;
	memcpy(why, accepting ? "" : l->why, accepting ? 1 : sizeof why);
	if (!l->options.state)
		return;
	pthread_mutex_unlock(&l->lock);
	l->options.state(l->options.arg, accepting, accepting ? "there is room in the journal again" : why);
	pthread_mutex_lock(&l->lock);
}

/* Waits for records and takes them; NULL: closing, and there are none. With the lock. */
static struct batch *take_batch(struct ledger *l)
{
	struct batch *batch = &l->batch[l->filling];
	for (;;) {
		if (atomic_load(&l->accepting) != l->announced)
			announce(l);
		else if (batch->count && !l->failed)
			break;
		else if (l->closing)
			return NULL;
		else {
			l->writer_idle = true;
			pthread_cond_wait(&l->writer_wake, &l->lock);
			l->writer_idle = false;
		}
	}
	l->filling ^= 1;
	ledger_measure(l);
	return batch;
}

static void wake_feeder(struct ledger *l)
{
	uint64_t waiting = atomic_load(&l->committed) - atomic_load(&l->fed);
	if (l->feeder_idle || (l->feeder_gathers && waiting >= FEED_RECORDS))
		pthread_cond_signal(&l->feeder_wake);
}

/* With the lock. */
static void batch_done(struct ledger *l, struct batch *batch, bool written, uint64_t last, int why)
{
	batch->len = 0;
	batch->count = 0;
	if (written) {
		atomic_store(&l->committed, last);
		atomic_fetch_add(&l->commits, 1);
		wake_feeder(l);
		if (l->waiters)
			pthread_cond_broadcast(&l->durable);
		return;
	}
	char text[SL_ERROR_TEXT];
	snprintf(text, sizeof text, "the journal in %.120s cannot be written (%s): records after %" PRIu64 " may be lost; check "
	         "the disk, then start again", l->folder.path, strerror(why), atomic_load(&l->committed));
	ledger_fail(l, text);
}

static void pause_us(uint64_t us)
{
	struct timespec gap = { (time_t) (us / 1000000), (long) (us % 1000000) * 1000 };
	clock_nanosleep(CLOCK_MONOTONIC, 0, &gap, NULL);
}

void *writer_main(void *ledger)
{
	struct ledger *l = ledger;
	struct batch *batch;
	pthread_mutex_lock(&l->lock);
	while ((batch = take_batch(l))) {
		pthread_mutex_unlock(&l->lock);
		uint64_t before = atomic_load(&l->committed), last = before + batch->count;
		unsigned count = batch->count;
		bool written = write_batch(l, batch, before);
		int why = errno;
		pthread_mutex_lock(&l->lock);
		batch_done(l, batch, written, last, why);
		pthread_mutex_unlock(&l->lock);
		if (written && l->options.committed)
			l->options.committed(l->options.arg, last);
		if (written && count > 1 && l->options.commit_gap_us)
			pause_us(l->options.commit_gap_us);
		pthread_mutex_lock(&l->lock);
	}
	l->writer_done = true;
	pthread_cond_signal(&l->feeder_wake);
	pthread_cond_signal(&l->keeper_wake);
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

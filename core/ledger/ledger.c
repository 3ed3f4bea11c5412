/* SPDX-License-Identifier: Apache-2.0 */
/* ledger.c - opening, appending, waiting, asking, closing. */
#include "core/ledger/ledger.h"

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

enum { SEGMENT_BYTES = 16 << 20, SEGMENT_BYTES_MIN = 64 << 10, SEGMENT_BYTES_MAX = 1 << 30, SEGMENTS_MAX = 64 };
enum { RING_BYTES = 16 << 20, RING_BYTES_MIN = 64 << 10 };

static const struct ledger_io system_io = { pwrite, fdatasync };

static void set_defaults(struct ledger *l, const struct ledger_options *options)
{
	l->options = *options;
	struct ledger_options *o = &l->options;
	if (!o->segment_bytes)
		o->segment_bytes = SEGMENT_BYTES;
	if (o->segment_bytes < SEGMENT_BYTES_MIN)
		o->segment_bytes = SEGMENT_BYTES_MIN;
	if (o->segment_bytes > SEGMENT_BYTES_MAX)
		o->segment_bytes = SEGMENT_BYTES_MAX;
	if (!o->segments_max)
		o->segments_max = SEGMENTS_MAX;
	if (o->segments_max < 2)
		o->segments_max = 2;
	if (!o->ring_bytes)
		o->ring_bytes = RING_BYTES;
	if (o->ring_bytes < RING_BYTES_MIN)
		o->ring_bytes = RING_BYTES_MIN;
	if (o->commit_gap_us > COMMIT_GAP_MAX_US)
		o->commit_gap_us = COMMIT_GAP_MAX_US;
	l->folder.segment_bytes = o->segment_bytes;
	l->folder.io = o->io ? *o->io : system_io;
}

static void ledger_release(struct ledger *l)
{
	cursor_close(&l->cursor);
	sealer_close(&l->sealer);
	if (l->fd >= 0)
		close(l->fd);
	folder_close(&l->folder);
	free(l->batch[0].data);
	free(l->batch[1].data);
	pthread_mutex_destroy(&l->lock);
	pthread_cond_destroy(&l->writer_wake);
	pthread_cond_destroy(&l->feeder_wake);
	pthread_cond_destroy(&l->keeper_wake);
	pthread_cond_destroy(&l->durable);
	free(l);
}

static struct ledger *ledger_make(const struct ledger_options *options)
{
	struct ledger *l = calloc(1, sizeof *l);
	if (!l)
		return NULL;
	set_defaults(l, options);
	l->fd = l->cursor.fd = l->folder.fd = l->folder.lock_fd = -1;
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&l->writer_wake, NULL);
	pthread_cond_init(&l->feeder_wake, &attr);
	pthread_cond_init(&l->keeper_wake, &attr);
	pthread_cond_init(&l->durable, &attr);
	pthread_condattr_destroy(&attr);
	l->batch[0].data = malloc(l->options.ring_bytes / 2);
	l->batch[1].data = malloc(l->options.ring_bytes / 2);
	l->announced = true;
	atomic_init(&l->accepting, true);
	atomic_init(&l->retention.keep_ms, l->options.keep_ms);
	if (l->batch[0].data && l->batch[1].data)
		return l;
	ledger_release(l);
	return NULL;
}

/* Do journal and store fit together? *stored is what the store has. */
static int compare_with_store(struct ledger *l, struct recovery *r, uint64_t *stored, sl_error *error)
{
	const sl_store_ops *store = l->options.store;
	int code = store->last_seq(l->options.store_self, stored, error);
	if (code != SL_OK)
		return error_prefix(error, "the store does not answer: ");
	bool empty = r->last < r->first;
	if (!empty && *stored + 1 < r->first_seq)
		return error_set(error, SL_ECONFLICT, "the store has records up to %" PRIu64 " but the journal begins at %" PRIu64
		                 ": the store is older than the journal; restore it from a newer copy, or move %s away to go on "
		                 "without what is between", *stored, r->first_seq, l->folder.path);
	if (*stored + 1 <= r->next_seq)
		return SL_OK;
	if (!empty)
		log_warn("journal %s ends at record %" PRIu64 ", the store has %" PRIu64 ": the journal is older and is begun anew",
		         l->folder.path, r->next_seq - 1, *stored);
	while (!empty && r->first <= r->last)
		segment_remove(&l->folder, r->first++);
	r->next_seq = *stored + 1;
	return SL_OK;
}

/* The segment to write to: the last one, or a first one. */
static int open_segment(struct ledger *l, const struct recovery *r, sl_error *error)
{
	l->spare_ready = spare_exists(&l->folder);
	if (r->last >= r->first) {
		l->segment = r->last;
		l->segment_first = r->first;
		l->offset = r->end;
		l->room = r->room;
		l->fd = folder_segment(&l->folder, r->last, O_RDWR);
	} else {
		int code = l->spare_ready ? SL_OK : spare_make(&l->folder, error);
		if (code != SL_OK)
			return code;
		l->spare_ready = false;
		l->segment = l->segment_first = r->first > r->last + 1 ? r->first : r->last + 1;
		l->offset = SEGMENT_HEAD_BYTES;
		l->room = l->folder.segment_bytes;
		l->fd = spare_take(&l->folder, l->segment, r->next_seq, clock_wall_ms());
	}
	if (l->fd < 0 || l->folder.io.fdatasync(l->fd) != 0)
		return error_set(error, SL_EIO, "cannot write to the journal in %s: %s", l->folder.path, strerror(errno));
	l->segment_last = l->segment;
	l->tail = l->offset;
	l->tail_room = l->room;
	l->next_seq = r->next_seq;
	return SL_OK;
}

static int ledger_start(struct ledger *l, sl_error *error)
{
	struct recovery r;
	uint64_t stored = 0;
	int code = folder_open(&l->folder, l->options.folder, error);
	if (code == SL_OK)
		code = recover(&l->folder, &r, error);
	if (code == SL_OK)
		code = compare_with_store(l, &r, &stored, error);
	if (code == SL_OK)
		code = open_segment(l, &r, error);
	if (code != SL_OK)
		return code;
	bool empty = r.last < r.first;
	atomic_store(&l->committed, r.next_seq - 1);
	atomic_store(&l->fed, stored);
	if (!cursor_open(&l->cursor, l->segment_first, empty ? r.next_seq : r.first_seq))
		return error_set(error, SL_ENOMEM, "out of memory");
	code = sealer_open(&l->sealer, l->options.store, l->options.store_self, stored, error);
	if (code != SL_OK)
		return code;
	l->closing = true; /* the store is tried a few times only */
	bool fed = feed(l, r.next_seq - 1);
	l->closing = false;
	if (!fed)
		return error_set(error, SL_EIO, "the store does not take what the journal has: %s", l->why);
	return SL_OK;
}

struct ledger *ledger_open(const struct ledger_options *options, sl_error *error)
{
	struct ledger *l = ledger_make(options);
	if (!l) {
		error_set(error, SL_ENOMEM, "out of memory");
		return NULL;
	}
	if (ledger_start(l, error) != SL_OK) {
		ledger_release(l);
		return NULL;
	}
	struct { pthread_t *thread; void *(*body)(void *); } threads[] = {
		{ &l->writer, writer_main }, { &l->feeder, feeder_main }, { &l->keeper, keeper_main },
	};
	unsigned started = 0;
	while (started < 3 && pthread_create(threads[started].thread, NULL, threads[started].body, l) == 0)
		started++;
	if (started == 3)
		return l;
	error_set(error, SL_ENOMEM, "cannot start the ledger's threads: %s", strerror(errno));
	pthread_mutex_lock(&l->lock);
	l->closing = l->writer_done = true;
	pthread_cond_broadcast(&l->writer_wake);
	pthread_cond_broadcast(&l->feeder_wake);
	pthread_mutex_unlock(&l->lock);
	while (started > 0)
		pthread_join(*threads[--started].thread, NULL);
	ledger_release(l);
	return NULL;
}

void ledger_close(struct ledger *l)
{
	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	l->closing = true;
	pthread_cond_broadcast(&l->writer_wake);
	pthread_cond_broadcast(&l->feeder_wake);
	pthread_cond_broadcast(&l->keeper_wake);
	pthread_mutex_unlock(&l->lock);
	pthread_join(l->writer, NULL);
	pthread_join(l->feeder, NULL);
	pthread_join(l->keeper, NULL);
	ledger_release(l);
}

void ledger_judge(struct ledger *l)
{
	bool accepting = !l->failed && !(l->blocked && !l->spare_ready);
	atomic_store(&l->accepting, accepting);
	if (accepting != l->announced)
		pthread_cond_signal(&l->writer_wake);
}

void ledger_fail(struct ledger *l, const char *why)
{
	if (l->failed)
		return;
	l->failed = true;
	str_copy(l->why, sizeof l->why, str_of(why));
	log_error("ledger: %s", why);
	pthread_cond_broadcast(&l->durable);
	pthread_cond_signal(&l->feeder_wake); /* questions wait for what is committed at most */
	ledger_judge(l);
}

/* Where a record of that length goes. False: no room for it. */
static bool place(struct ledger *l, size_t bytes)
{
	struct batch *batch = &l->batch[l->filling];
	if (l->failed || l->closing || batch->len + bytes > l->options.ring_bytes / 2)
		return false;
	if (l->tail + bytes > l->tail_room) {
		if (!l->spare_ready) {
			keeper_wake_up(l);
			return false;
		}
		l->spare_ready = false;
		l->spare_claimed = true;
		l->tail = SEGMENT_HEAD_BYTES;
		l->tail_room = l->folder.segment_bytes;
	}
	l->tail += bytes;
	keeper_wake_up(l);
	return true;
}

/* With the lock: a disk that is slower than what comes is told to those who admit work while there is still room for
 * the records of what is under way. */
void ledger_measure(struct ledger *l)
{
	bool crowded = l->batch[l->filling].len > l->options.ring_bytes / 4;
	if (crowded != atomic_load_explicit(&l->crowded, memory_order_relaxed))
		atomic_store(&l->crowded, crowded);
}

uint64_t ledger_append(struct ledger *l, uint32_t type, sl_str key, const void *data, size_t size)
{
	size_t bytes = key.len <= RECORD_KEY_MAX && size < RECORD_BYTES_MAX ? record_bytes(key.len, size) : SIZE_MAX;
	if (type > UINT16_MAX || bytes > RECORD_BYTES_MAX || bytes + SEGMENT_HEAD_BYTES > l->options.segment_bytes ||
	    bytes > l->options.ring_bytes / 2) {
		log_error("ledger: a record of %zu bytes with a key of %zu is too long and was refused", size, key.len);
		atomic_fetch_add_explicit(&l->refused, 1, memory_order_relaxed);
		return 0;
	}
	uint64_t wall_ms = clock_wall_ms(), seq = 0;
	pthread_mutex_lock(&l->lock);
	if (place(l, bytes)) {
		struct batch *batch = &l->batch[l->filling];
		seq = l->next_seq++;
		record_write(batch->data + batch->len, seq, wall_ms, type, key, data, size);
		batch->len += bytes;
		batch->count++;
		ledger_measure(l);
		if (l->writer_idle) {
			l->writer_idle = false;
			pthread_cond_signal(&l->writer_wake);
		}
	}
	pthread_mutex_unlock(&l->lock);
	if (!seq)
		atomic_fetch_add_explicit(&l->refused, 1, memory_order_relaxed);
	return seq;
}

uint64_t ledger_committed(const struct ledger *l)
{
	return atomic_load(&l->committed);
}

bool ledger_accepting(const struct ledger *l)
{
	return atomic_load(&l->accepting) && !atomic_load(&l->crowded);
}

bool ledger_wait(struct ledger *l, uint64_t seq, unsigned timeout_ms)
{
	struct timespec end;
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += timeout_ms / 1000;
	end.tv_nsec += (long) (timeout_ms % 1000) * 1000000;
	if (end.tv_nsec >= 1000000000) {
		end.tv_sec++;
		end.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&l->lock);
	l->waiters++;
	while (atomic_load(&l->committed) < seq && !l->failed)
		if (pthread_cond_timedwait(&l->durable, &l->lock, &end) == ETIMEDOUT)
			break;
	l->waiters--;
	pthread_mutex_unlock(&l->lock);
	return atomic_load(&l->committed) >= seq;
}

bool ledger_query(struct ledger *l, void (*query)(void *arg, const sl_store_ops *store, void *store_self), void *arg)
{
	pthread_mutex_lock(&l->lock);
	bool taken = l->query_count < QUERIES_MAX && !l->closing;
	if (taken) {
		unsigned at = (l->query_first + l->query_count++) % QUERIES_MAX;
		l->queries[at] = (struct query){ query, arg, l->next_seq - 1 };
		pthread_cond_signal(&l->feeder_wake);
	}
	pthread_mutex_unlock(&l->lock);
	return taken;
}

void ledger_keep(struct ledger *l, uint64_t keep_ms)
{
	pthread_mutex_lock(&l->lock);
	if (atomic_exchange(&l->retention.keep_ms, keep_ms) != keep_ms) {
		l->keep_changed = true;
		pthread_cond_signal(&l->feeder_wake);
	}
	pthread_mutex_unlock(&l->lock);
}

void ledger_stats(struct ledger *l, struct ledger_stats *out)
{
	pthread_mutex_lock(&l->lock);
	*out = (struct ledger_stats){
		.appended = l->next_seq - 1, .committed = atomic_load(&l->committed), .fed = atomic_load(&l->fed),
		.commits = atomic_load(&l->commits), .refused = atomic_load(&l->refused),
		.folded = atomic_load(&l->retention.folded), .segments = (unsigned) (l->segment_last - l->segment_first + 1),
	};
	pthread_mutex_unlock(&l->lock);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - the ledger's own state and its three threads.
 *
 *   append (any thread) -> batch -> writer: pwrite, fdatasync, committed -> feeder: reads the file, store->append
 *                                                                         keeper: the next segment, in time
 *
 * An append decides at once where its record will lie, so it knows that there is room for it. */
#ifndef CORE_LEDGER_INTERNAL_H
#define CORE_LEDGER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/base/str.h"
#include "core/ledger/folder.h"
#include "core/ledger/recover.h"
#include "core/ledger/retention.h"
#include "core/ledger/seal.h"

enum {
	QUERIES_MAX = 1024,
	FEED_RECORDS = SEAL_RECORDS_MAX, /* of one transaction of the store, which has one seal */
	FEED_BYTES = 2 << 20,         /* of the journal, read at once: room for so many records of use, 640 bytes each */
	FEED_WAIT_MS = 100,           /* a record may wait so long for company */
	FEED_RETRY_FIRST_MS = 10, FEED_RETRY_LAST_MS = 5000,
	FEED_CLOSING_TRIES = 3,
	KEEPER_RETRY_MS = 1000,
	COMMIT_GAP_MAX_US = 100000
};

/* Records in the order of their sequence, as they will lie in the file. */
struct batch {
	char *data;
	size_t len;
	unsigned count;
};

struct query {
	void (*run)(void *arg, const sl_store_ops *store, void *store_self);
	void *arg;
	uint64_t after; /* sequence that the store must have */
};

/* Where the feeder is in the files. Its thread only. */
struct cursor {
	uint64_t segment;
	int fd; /* -1: to be opened */
	uint64_t offset;
	uint64_t next_seq;
	char *data; /* FEED_BYTES */
	sl_record *records; /* FEED_RECORDS */
};

struct ledger {
	struct ledger_options options;
	struct folder folder;
	pthread_t writer, feeder, keeper;

	pthread_mutex_t lock; /* of all down to the atomics */
	pthread_cond_t writer_wake, feeder_wake, keeper_wake, durable;
	struct batch batch[2];
	unsigned filling;       /* index of the batch that takes appends */
	uint64_t next_seq;
	uint64_t tail, tail_room; /* where the next record will lie, and the size of that segment */
	bool spare_ready;       /* a spare that no append has claimed */
	bool spare_claimed;     /* one that the writer has yet to begin */
	bool spare_busy;        /* keeper or feeder is at the file */
	bool keeper_idle, writer_idle, feeder_idle, feeder_gathers;
	bool closing, writer_done, failed;
	bool keep_changed;      /* old records are to be looked at anew */
	bool blocked;           /* no spare could be made: `why` */
	bool announced;         /* what state() was last told */
	char why[SL_ERROR_TEXT];
	uint64_t segment_first; /* oldest that the store lacks something of */
	uint64_t segment_last;  /* the writer's */
	unsigned waiters;       /* in ledger_wait */
	struct query queries[QUERIES_MAX];
	unsigned query_first, query_count;

	atomic_uint_fast64_t committed, fed, commits, refused;
	atomic_bool accepting;
	atomic_bool crowded;    /* the room that is left is for records of work that was admitted before */

	/* The writer's own. */
	int fd;
	uint64_t segment, offset, room;
	struct cursor cursor; /* the feeder's own */
	struct sealer sealer; /* the feeder's own */
	struct retention retention; /* the feeder's own, see there */
};

void *writer_main(void *ledger);
void *feeder_main(void *ledger);
void *keeper_main(void *ledger);

/* With the lock: has the keeper make a spare if one is wanted. */
void keeper_wake_up(struct ledger *l);
/* With the lock: works out `accepting` anew and has the writer announce a change. */
void ledger_judge(struct ledger *l);
void ledger_measure(struct ledger *l);
/* With the lock: nothing is accepted any more. */
void ledger_fail(struct ledger *l, const char *why);

/* Feeds records up to `until` (committed). True: the store has them. False: it refuses and the ledger is closing,
 * or the journal cannot be read (the ledger has failed). The feeder's thread, or ledger_open. */
bool feed(struct ledger *l, uint64_t until);
bool cursor_open(struct cursor *c, uint64_t segment, uint64_t next_seq);
void cursor_close(struct cursor *c);

#endif

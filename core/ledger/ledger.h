/* SPDX-License-Identifier: Apache-2.0 */
/* ledger.h - the durable record of everything: use, leases, objects.
 *
 * The commit point is a journal of preallocated segments; a writer thread appends groups of records and makes
 * them durable with one fdatasync. A feeder thread passes committed records on to the store plugin, in order, in
 * groups; a segment is reused when the store has all of it. After a crash the journal's tail is fed again, and the
 * store drops what it has: so a record that was committed is in the store exactly once. */
#ifndef CORE_LEDGER_LEDGER_H
#define CORE_LEDGER_LEDGER_H

#include <stdbool.h>
#include <sys/types.h>
#include <sluice/store.h>

struct ledger;

/* The system calls that make a record durable. Tests put their own here. */
struct ledger_io {
	ssize_t (*pwrite)(int fd, const void *data, size_t size, off_t offset);
	int (*fdatasync)(int fd);
};

struct ledger_options {
	const char *folder;        /* of the journal; made when missing, mode 0700 */
	uint64_t segment_bytes;    /* 0: 16 MiB */
	unsigned segments_max;     /* that may wait for the store; 0: 64. Then appends are refused */
	uint64_t commit_gap_us;    /* between commits while many wait; one alone commits at once */
	size_t ring_bytes;         /* records not yet written; 0: 16 MiB. Then appends are refused;
	                            * ledger_accepting() is false from the half on, so that what was admitted finds room */
	const sl_store_ops *store; /* open instance; used on the feeder's thread only, after ledger_open has returned */
	void *store_self;
	uint64_t keep_ms;          /* records older than that are folded into sums; 0: none */
	/* Called on the writer's thread after each commit: everything up to seq is durable. Must not block. */
	void (*committed)(void *arg, uint64_t seq);
	/* A disk error, once, on the writer's thread: nothing is accepted any more (an fsync that failed is never
	 * tried again on the same file). And full or usable again: `accepting` changes. Full is said as soon as
	 * the next segment cannot be made, most of the last one still being free: work under way can be recorded, new
	 * work should be refused. */
	void (*state)(void *arg, bool accepting, const char *why);
	void *arg;
	const struct ledger_io *io; /* NULL: the system's */
};

/* Recovers first: finds the valid end of the journal (a torn tail is cut, said in the log; a damaged middle is
 * refused with what to do), feeds the store what it lacks. Blocking; main thread. */
struct ledger *ledger_open(const struct ledger_options *options, sl_error *error);
/* Commits and feeds what is left, then ends. A store that refuses three times more is left behind: the journal feeds
 * it at the next start. Queries that wait are run before this returns. NULL is fine. */
void ledger_close(struct ledger *l);

/* Takes a copy and returns its sequence number (> 0), or 0: nothing was taken (no room in memory or on disk, failed,
 * or longer than 256 KiB with its key of at most 1,024 bytes). Any thread, no blocking, no system call while the
 * writer is awake. */
uint64_t ledger_append(struct ledger *l, uint32_t type, sl_str key, const void *data, size_t size);
/* Everything up to here is durable. Any thread. */
uint64_t ledger_committed(const struct ledger *l);
/* Should new work be admitted? False some time before appends are refused: see ledger_options.state. */
bool ledger_accepting(const struct ledger *l);
/* Blocks until seq is durable. False: timeout or failure. Not for loops' threads on the request path. */
bool ledger_wait(struct ledger *l, uint64_t seq, unsigned timeout_ms);

/* Runs `query` on the feeder's thread once the store has everything that was appended before this call (after a
 * disk error: everything that was committed). While the store refuses, queries wait. Bounded queue (1024): false
 * when full or closing. */
bool ledger_query(struct ledger *l, void (*query)(void *arg, const sl_store_ops *store, void *store_self), void *arg);

/* Another time to keep records, see ledger_options. Any thread. */
void ledger_keep(struct ledger *l, uint64_t keep_ms);

/* What a look at a part of the store's records found. */
struct ledger_verdict {
	uint64_t first;       /* sealed record that the store begins with, 0: none is sealed */
	uint64_t folded;      /* records up to here became sums and are gone: their digest is believed. 0: none in this part */
	uint64_t verified;    /* everything sealed up to here is as it was fed; 0: nothing yet */
	uint64_t next;        /* go on there, 0: this was all */
	uint64_t records;     /* that were looked at */
	uint8_t digest[32];   /* of the chain up to `verified` */
	uint64_t wrong, wrong_last; /* the first record that is not as it was, or is one of these; 0: none */
	char why[SL_ERROR_TEXT];    /* and what is wrong with it */
};

/* Works out the digests of the store's records anew, from the group of record `from` on (0: the first), until at least
 * `most` records were looked at (0: all), and compares. `digest` (NULL: the stored one is believed): that of the chain
 * before `from`, as an earlier part gave it. For ledger_query: the thread that may use the store. SL_OK also when
 * something is wrong; SL_ENOTSUP: this store keeps no digests. */
int ledger_verify(const sl_store_ops *store, void *store_self, uint64_t from, const uint8_t *digest, uint64_t most,
                  struct ledger_verdict *out, sl_error *error);

struct ledger_stats {
	uint64_t appended, committed, fed; /* sequence numbers */
	uint64_t commits;                  /* fdatasyncs */
	uint64_t refused;
	uint64_t folded;                   /* sequence number: all up to here became sums */
	unsigned segments;
};
void ledger_stats(struct ledger *l, struct ledger_stats *out);

#endif

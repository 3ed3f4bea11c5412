/* SPDX-License-Identifier: Apache-2.0 */
/* table.h - the counters, in shards: each has a lock, an index by fingerprint and slabs of counters that never move.
 *
 * All counters of one scope are in one shard, so a request whose limits are of one key and one tenant takes two
 * locks. Functions that take a shard want its lock held; locks are taken in the order of their numbers. */
#ifndef CORE_QUOTA_TABLE_H
#define CORE_QUOTA_TABLE_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/base/index.h"
#include "core/quota/counter.h"

enum { QUOTA_SHARDS = 64, QUOTA_METRICS = QUOTA_COST + 1, SLAB_COUNTERS = 256 };

struct shard {
	pthread_mutex_t lock;
	struct index index;       /* by the low half of id[0] */
	struct counter **slabs;
	uint32_t n_slabs, slabs_room;
	uint32_t made;            /* counters of the slabs that were ever used */
	uint32_t free_place;      /* chain of free places (number + 1) through `period`, 0: none */
	uint64_t wall_ms;         /* latest that was seen: calendar windows never go back */
	__int128 reserved[QUOTA_METRICS];
} __attribute__((aligned(64)));

struct quota {
	struct shard shard[QUOTA_SHARDS];
	size_t counters_max;
	atomic_size_t counters;
	atomic_uint_fast64_t swept_ms; /* monotonic time of the last sweep, + 1 */
};

/* Tells counters apart: a seeded 64-bit hash of the scope, and another of that, the scope's CRC-32C, metric and window. */
struct fingerprint {
	uint64_t id[2];
	uint32_t scope_crc;
	uint8_t shard;
};

/* Of a valid limit. `before` is the limit that *out was filled from last, NULL: none. */
void table_fingerprint(const struct quota_limit *limit, const struct quota_limit *before, struct fingerprint *out);
/* NULL: there is none. */
struct counter *table_find(struct shard *s, const struct fingerprint *f);
/* A new one, started at `now`. NULL: bound reached, or out of memory. */
struct counter *table_add(struct quota *q, struct shard *s, const struct fingerprint *f, const struct quota_limit *limit,
                          struct quota_now now);
/* `now` with the shard's latest wall time in it. */
struct quota_now table_now(struct shard *s, struct quota_now now);
/* Gives back the places of all idle counters, at most ten times a second. No lock held. True: some were freed. */
bool table_sweep(struct quota *q, struct quota_now now);

#endif

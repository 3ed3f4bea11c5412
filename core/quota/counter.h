/* SPDX-License-Identifier: Apache-2.0 */
/* counter.h - one counter: what was used in its window and what is reserved. Pure arithmetic, no lock. */
#ifndef CORE_QUOTA_COUNTER_H
#define CORE_QUOTA_COUNTER_H

#include "core/quota/quota.h"

enum { RING_BUCKETS = 16 };

/* The steps of a sliding window. Bucket b covers the times [b * width, (b + 1) * width) and lives in
 * bucket[b % RING_BUCKETS] while the newest bucket is less than `keep` steps ahead. */
struct counter_ring {
	uint64_t width;
	int64_t bucket[RING_BUCKETS];
};

/* 64 bytes: one cache line. */
struct counter {
	uint64_t id[2];      /* fingerprint of scope, metric and window */
	int64_t used;        /* in the current period, or in all live buckets */
	int64_t reserved;
	uint64_t period;     /* newest bucket, UTC day, or month: never goes back */
	uint64_t until_ms;   /* end of that period, on the window's own clock */
	struct counter_ring *ring; /* SLIDING only */
	uint32_t holds;      /* reservations that point here: it cannot be reclaimed */
	uint8_t metric, window, shard;
	uint8_t keep;        /* SLIDING: buckets that count; 0: a free place */
};

/* Sum and difference that stay within int64_t. */
int64_t counter_add(int64_t a, int64_t b);

/* Sets period fields for `now`. ring must be set for SLIDING. */
void counter_start(struct counter *c, struct quota_now now, uint64_t window_ms);
/* Moves on to `now`: what has left the window is forgotten. */
void counter_advance(struct counter *c, struct quota_now now);
/* Use at the current period. */
void counter_charge(struct counter *c, int64_t amount);
/* Takes use back that was charged in `period`, as far as it still counts. */
void counter_refund(struct counter *c, uint64_t period, int64_t amount);
/* Use from the past. */
void counter_restore(struct counter *c, struct quota_now now, uint64_t wall_ms, int64_t amount);
/* Nothing points at it and nothing counts any more. Advance first. */
bool counter_idle(const struct counter *c);

/* Milliseconds until `wanted` fits below `amount`; see quota_denial.retry_ms. */
uint64_t counter_retry_ms(const struct counter *c, struct quota_now now, int64_t amount, int64_t wanted);
/* Milliseconds until the window is empty. */
uint64_t counter_resets_in_ms(const struct counter *c, struct quota_now now);
/* Unix time of the next reset, 0: sliding or none. */
uint64_t counter_resets_ms(const struct counter *c);

#endif

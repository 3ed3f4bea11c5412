/* SPDX-License-Identifier: Apache-2.0 */
/* quota.h - limits that are never overspent: reserve the bound, settle the truth. Pure: `now` is an argument.
 *
 * A limit is a scope, a metric, a window and an amount. Its counter holds what was used in the window and what is
 * reserved by requests under way; used + reserved never passes the amount. Any thread may reserve and settle.
 *
 * When is what charged? A request (QUOTA_REQUESTS) counts from the moment of its reservation, so a long stream does
 * not block the next minute; it is given back when it is settled with 0 requests. Tokens and money are reserved
 * from then on and charged at the moment of settlement, to the window of that moment: a reservation made before
 * midnight and settled after it uses the new day. Concurrency is given back at settlement. A reservation that lasts
 * (a lease) may grow, and is charged in parts, each to the window of its own time.
 *
 * A sliding window is kept in 15 steps: use leaves it between window_ms and window_ms + window_ms/15 later, never
 * earlier. A clock that goes back opens no window again: the latest period that was seen stays. */
#ifndef CORE_QUOTA_QUOTA_H
#define CORE_QUOTA_QUOTA_H

#include <stdbool.h>
#include <sluice/types.h>

enum quota_metric {
	QUOTA_REQUESTS = 1,
	QUOTA_TOKENS = 2,       /* input + output */
	QUOTA_INPUT_TOKENS = 3,
	QUOTA_OUTPUT_TOKENS = 4,
	QUOTA_CONCURRENCY = 5,  /* requests under way; has no window */
	QUOTA_COST = 6          /* 10^-12 of the currency */
};

enum quota_window {
	QUOTA_NONE = 0,      /* CONCURRENCY */
	QUOTA_SLIDING = 1,   /* of window_ms, by monotonic time: no interval of that length ever holds more */
	QUOTA_DAY = 2,       /* UTC calendar */
	QUOTA_MONTH = 3,
	QUOTA_TOTAL = 4      /* for ever */
};

enum { QUOTA_SCOPE_MAX = 2 * SL_NAME_MAX + 16, QUOTA_LIMITS_MAX = 16 };

struct quota_limit {
	char scope[QUOTA_SCOPE_MAX]; /* "tenant:physics", "key:slk_7Q2MXpVt", or a policy's own "team:a" */
	char name[SL_NAME_MAX];      /* for people: "tokens per minute of tier free" */
	uint8_t metric;              /* enum quota_metric */
	uint8_t window;              /* enum quota_window */
	uint64_t window_ms;          /* SLIDING */
	int64_t amount;
	int64_t warn;                /* when so much is used somebody is to be told, 0: never. Not of CONCURRENCY */
};

/* The two clocks that a window may need. */
struct quota_now {
	uint64_t mono_ms;
	uint64_t wall_ms;
};

/* What one request may use at most (reserve) or has used (settle). */
struct quota_use {
	int64_t requests; /* 1 */
	int64_t input_tokens, output_tokens;
	int64_t cost;
};

struct quota_reservation {
	unsigned n;
	unsigned warned; /* a bit for each part whose use has come to its limit's `warn` by this request. Also after quota_settle */
	struct {
		void *counter;       /* the table's own */
		int64_t amount;
		int64_t warn;        /* of the first limit on this counter that has one */
		uint64_t period;     /* in which it began: what a request that did not happen gives back */
		uint8_t metric;
	} part[QUOTA_LIMITS_MAX];
};

/* What refused a reservation. */
struct quota_denial {
	const struct quota_limit *limit; /* one of those passed in */
	int64_t used, reserved, wanted;
	uint64_t retry_ms;   /* when enough will be free at the earliest, UINT64_MAX: a retry cannot help (wanted above the
	                        amount itself), or nobody knows (only reservations stand in the way: 1000) */
	uint64_t resets_ms;  /* Unix time of the window's next reset, 0: sliding or none */
};

struct quota;

/* counters_max bounds the table; one that was idle for a whole window gives its place away. */
struct quota *quota_new(size_t counters_max);
void quota_free(struct quota *q);

/* All limits or none. SL_OK, SL_ELIMIT (*denial), SL_EFULL (table full: refuse, never let through). Saturating
 * arithmetic; a negative use is SL_EINVAL. A counter does not exist before its first reservation; existing ones
 * keep their use when the amount changes. A part of which the bound wants nothing (a free model and a spent
 * budget) is never the reason of a denial. Two limits on one counter count once and must both hold. */
int quota_reserve(struct quota *q, struct quota_now now, const struct quota_limit *limits, unsigned n,
                  const struct quota_use *bound, struct quota_reservation *out, struct quota_denial *denial);
/* Replaces the reservation by what was used (which may be more: truth is charged, the next is denied). Once. */
void quota_settle(struct quota *q, struct quota_now now, struct quota_reservation *reservation,
                  const struct quota_use *used);
/* More for a reservation that lasts, under the same or other limits; all or none, as quota_reserve. SL_EFULL also when
 * it would be on more than QUOTA_LIMITS_MAX counters. */
int quota_grow(struct quota *q, struct quota_now now, const struct quota_limit *limits, unsigned n,
               const struct quota_use *more, struct quota_reservation *reservation, struct quota_denial *denial);
/* So much of it is reserved no more (it was charged by quota_restore, or is not needed); at most what there is. Not for
 * QUOTA_REQUESTS, which are charged at once. */
void quota_shrink(struct quota *q, struct quota_reservation *reservation, enum quota_metric metric, int64_t amount);
/* Two limits on one counter: what is charged to it for one of them must not be charged for the other. */
bool quota_same_counter(const struct quota_limit *a, const struct quota_limit *b);
/* Use at the time it happened: that the ledger knows from before a restart, or that comes in parts. Dropped when it is
 * older than its window or the table is full. True: what is used has come to the limit's `warn` by that. */
bool quota_restore(struct quota *q, struct quota_now now, const struct quota_limit *limit, uint64_t wall_ms, int64_t amount);

struct quota_state {
	int64_t used, reserved;
	uint64_t resets_in_ms; /* until the window is empty again if nothing more comes */
};
/* The counter of a reservation's first limit of that metric, found without a search. False: it has none. */
bool quota_read_reserved(struct quota *q, struct quota_now now, const struct quota_reservation *reservation,
                         enum quota_metric metric, struct quota_state *out);
/* For headers and `sluicectl limits`. */
void quota_read(struct quota *q, struct quota_now now, const struct quota_limit *limit, struct quota_state *out);
/* Sum of all that is reserved now, by metric: 0 at rest. */
int64_t quota_reserved(struct quota *q, enum quota_metric metric);
size_t quota_counters(struct quota *q);

/* tokens x price (micro-units per million tokens) = 10^-12 of the currency, saturating. */
int64_t quota_cost(int64_t tokens, int64_t price);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* store.h - plugins that keep the records behind the ledger's journal.
 *
 * The journal is the commit point; the store is fed behind it, in order, in groups. A record carries the
 * journal's sequence number. The store must apply a group in one transaction together with the highest sequence
 * in it, and must ignore records whose sequence is not above that: so a group that is sent again after a crash
 * is applied exactly once.
 *
 * All functions of one instance are called on one thread of their own and may block. */
#ifndef SLUICE_STORE_H
#define SLUICE_STORE_H

#include <sluice/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

enum sl_record_type {
	SL_RECORD_USAGE = 1,  /* data: one sl_usage */
	SL_RECORD_LEASE = 2,  /* one change of a lease. key: its id; data: the whole lease as JSON text after it */
	SL_RECORD_OBJECT = 3  /* one change of an object (tenant, key ...). key: "kind/name"; data: JSON text, empty:
	                         deleted */
};

typedef struct sl_record {
	uint64_t seq;     /* of the journal, growing by one */
	uint32_t type;    /* enum sl_record_type */
	uint32_t size;    /* bytes at data */
	uint64_t wall_ms; /* Unix time when it was written */
	sl_str key;       /* LEASE, OBJECT */
	const void *data;
} sl_record;

/* Which use records. Empty strings match everything; the time range is [since_ms, until_ms) of started_ms, 0: open. The
 * host always gives a narrow range with a request_id, so a store needs no index of ids. */
typedef struct sl_usage_filter {
	uint32_t size;
	uint32_t reserved;
	uint64_t since_ms, until_ms;
	sl_str tenant, user, key, model, request_id;
} sl_usage_filter;

/* Columns to group by, a bit each. */
enum sl_usage_by {
	SL_BY_DAY = 1u << 0, /* UTC */
	SL_BY_TENANT = 1u << 1,
	SL_BY_USER = 1u << 2,
	SL_BY_KEY = 1u << 3,
	SL_BY_MODEL = 1u << 4
};

/* One sum. Columns that were not grouped by are empty. Exact. */
typedef struct sl_usage_sum {
	uint32_t size;
	uint32_t reserved;
	char day[16]; /* 2026-11-24 */
	char tenant[SL_NAME_MAX], user[SL_NAME_MAX], model[SL_NAME_MAX];
	char key[SL_KEY_PREFIX_MAX];
	int64_t requests, input_tokens, cached_tokens, output_tokens;
	uint64_t cost_high, cost_low; /* 128 bit, 10^-12 of the currency, two's complement */
} sl_usage_sum;

typedef struct sl_store_ops {
	uint32_t size;
	uint32_t reserved;
	/* The highest sequence that is durably applied, 0: none. */
	int (*last_seq)(void *self, uint64_t *seq, sl_error *);
	/* Applies n records in one durable transaction, or none of them. */
	int (*append)(void *self, const sl_record *records, size_t n, sl_error *);
	/* Sums of use, in the order of the grouped columns. each() returns 0 to go on; what it gets is borrowed. */
	int (*usage_sum)(void *self, const sl_usage_filter *, uint32_t by,
	                 int (*each)(void *arg, const sl_usage_sum *), void *arg, sl_error *);
	/* The records themselves, newest first, at most `limit` (0: all). */
	int (*usage_scan)(void *self, const sl_usage_filter *, uint64_t limit,
	                  int (*each)(void *arg, uint64_t seq, const sl_usage *), void *arg, sl_error *);
	/* Every object whose key starts with `prefix`, in key order. */
	int (*object_scan)(void *self, sl_str prefix, int (*each)(void *arg, sl_str key, sl_str json), void *arg, sl_error *);
	/* The latest state of every lease, or of those that have not ended (open_only). A lease has ended when its
	 * JSON says "ended":true. In the order of their ids' numbers. */
	int (*lease_scan)(void *self, int open_only, int (*each)(void *arg, sl_str id, sl_str json), void *arg, sl_error *);
	/* Every change of one lease, oldest first. */
	int (*lease_history)(void *self, sl_str id, int (*each)(void *arg, uint64_t wall_ms, sl_str json), void *arg, sl_error *);
} sl_store_ops;

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* store.h - plugins that keep the records behind the ledger's journal.
 *
 * The journal is the commit point; the store is fed behind it, in order, in groups. A record carries the
 * journal's sequence number. The store must apply a group in one transaction together with the highest sequence
 * in it, and must ignore records whose sequence is not above that: so a group that is sent again after a crash
 * is applied exactly once.
 *
 * A store of ABI 1.0 has the functions up to lease_history. Without those behind it there are no digests, and leases
 * stand neither in the bill nor, once sluiced has started again, in the list of those that have ended.
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
	SL_RECORD_LEASE = 2,  /* one change of a lease. key: its id; data: the whole lease as JSON text after it. Its member
	                         "charges", when there, is a list of what became due with this record, each
	                         {"from_ms", "until_ms", "kind", "price", "device_ms"}: Unix times of a stretch within one
	                         UTC hour, kind of device, price of a second of one in 10^-12 of the currency, use in
	                         device-milliseconds. Who pays stands in "tenant", "user", "queue"; "model" is not empty in
	                         the lease of a replica, which nobody pays for */
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
	SL_BY_MODEL = 1u << 4,
	/* Of bill_sum alone, since 1.1: */
	SL_BY_HOUR = 1u << 5,  /* UTC */
	SL_BY_QUEUE = 1u << 6, /* of a lease; of requests empty */
	SL_BY_KIND = 1u << 7,  /* of device; of requests empty */
	SL_BY_LEASE = 1u << 8, /* id of a lease; of requests empty */
	SL_BY_PRICE = 1u << 9  /* of a device's second; of requests 0 */
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

/* Which use and which charges, since 1.1. As sl_usage_filter; requests have no queue, kind or lease and leases no key, so
 * one that is named leaves the others out. Charges count where they begin. */
typedef struct sl_bill_filter {
	uint32_t size;
	uint32_t reserved;
	uint64_t since_ms, until_ms;
	sl_str tenant, user, key, model, queue, kind, lease;
} sl_bill_filter;

/* One sum of requests and leases, since 1.1. Columns that were not grouped by are empty or 0. Exact. */
typedef struct sl_bill_sum {
	uint32_t size;
	uint32_t reserved;
	char day[16];  /* 2026-11-24 */
	char hour[24]; /* 2026-11-24T13:00:00Z */
	char tenant[SL_NAME_MAX], user[SL_NAME_MAX], model[SL_NAME_MAX], queue[SL_NAME_MAX], kind[SL_NAME_MAX];
	char key[SL_KEY_PREFIX_MAX];
	char lease[24];
	int64_t price;
	int64_t requests, input_tokens, cached_tokens, output_tokens;
	int64_t device_ms;                           /* of leases that are paid for */
	uint64_t cost_high, cost_low;                /* 128 bit, 10^-15 of the currency, two's complement: requests at their
	                                                cost, leases at price x device_ms */
	int64_t replica_device_ms;                   /* of leases of replicas: in no cost above */
	uint64_t replica_cost_high, replica_cost_low; /* what they would cost */
} sl_bill_sum;

/* Which leases, since 1.1. Empty strings match everything. */
typedef struct sl_lease_filter {
	uint32_t size;
	uint32_t ended;  /* 1: only those that have ended */
	uint64_t before; /* only those with a lower number, 0: all */
	uint64_t limit;  /* at most so many, 0: all */
	sl_str tenant, user;
} sl_lease_filter;

/* The digest of a group of records, chained to that of the group before, since 1.1. The store keeps it and gives it
 * back; what it is made of is the host's business. */
typedef struct sl_seal {
	uint32_t size;
	uint32_t n;             /* records. 0: all of first..last were folded and are gone, see sl_fold */
	uint64_t first, last;   /* their sequence numbers, without a gap */
	uint64_t wall_ms;       /* Unix time when they were sealed */
	uint8_t digest[32];
	const uint32_t *checks; /* n checksums, one a record: to find which one was changed. Borrowed */
} sl_seal;

/* Which records become sums and go, since 1.1: all up to and including `last`, which ends a group or stands before the
 * first that has a seal. */
typedef struct sl_fold {
	uint32_t size;
	uint32_t reserved;
	uint64_t last;
	/* A number of the host's for a request: only those with the same one may stand in one sum. */
	uint64_t (*part)(void *arg, const sl_usage *);
	void *arg;
} sl_fold;

/* Requests of one UTC hour that were folded, since 1.1. Exact. */
typedef struct sl_fold_sum {
	uint32_t size;
	uint32_t reserved;
	uint64_t hour_ms; /* Unix time when the hour begins: of started_ms */
	uint64_t part;    /* as sl_fold's part() gave it */
	char tenant[SL_NAME_MAX], user[SL_NAME_MAX], model[SL_NAME_MAX];
	char key[SL_KEY_PREFIX_MAX];
	int64_t requests, input_tokens, cached_tokens, output_tokens;
	uint64_t cost_high, cost_low; /* 128 bit, 10^-12 of the currency, two's complement */
} sl_fold_sum;

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

	/* Since 1.1; each may be missing. */
	/* As append, and keeps the seal of exactly these records in the same transaction. A group that the store has is fine
	 * and changes nothing; one that it has a part of is SL_ECONFLICT. */
	int (*append_sealed)(void *self, const sl_record *records, size_t n, const sl_seal *, sl_error *);
	/* Seals whose last record is not below `first`, in their order, at most `limit` (0: all). */
	int (*seal_scan)(void *self, uint64_t first, uint64_t limit, int (*each)(void *arg, const sl_seal *), void *arg, sl_error *);
	/* Every record that the store keeps of first..last, in the order of their sequence, as it came; wall_ms of use
	 * records may be 0. What it gives is borrowed. */
	int (*record_scan)(void *self, uint64_t first, uint64_t last, int (*each)(void *arg, const sl_record *), void *arg, sl_error *);
	/* Do charges, latest states and whatever else the store derives from the records first..last agree with them?
	 * *wrong: the first record that something disagrees with, 0: none; the sentence in *error then says what. */
	int (*audit)(void *self, uint64_t first, uint64_t last, uint64_t *wrong, sl_error *);
	/* Sums of use and charges, in the order of the grouped columns: day, tenant, user, key,
	 * model, hour, queue, kind, lease, price. each() returns 0 to go on. */
	int (*bill_sum)(void *self, const sl_bill_filter *, uint32_t by, int (*each)(void *arg, const sl_bill_sum *), void *arg,
	                sl_error *);
	/* The latest state of leases, newest (highest number) first. */
	int (*lease_list)(void *self, const sl_lease_filter *, int (*each)(void *arg, sl_str id, sl_str json), void *arg, sl_error *);
	/* In one durable transaction: adds the use and the charges of these records to sums by UTC hour and every column that
	 * can be grouped by, and forgets the records, leases that had ended by then (but never the one with the highest
	 * number), and the checksums of their seals. Digests stay: at least that of the last record and that of each UTC
	 * day's last group, in seals with n 0 whose first..last leave no gap. Latest states of objects and of leases that are
	 * open stay. From then on usage_sum and bill_sum give the same sums as before for every range of whole UTC hours, and
	 * count a folded hour where it begins; usage_scan, record_scan and lease_history do not have these records any more.
	 * To be called again with the same `last` is fine and changes nothing. */
	int (*fold)(void *self, const sl_fold *, sl_error *);
	/* The sums of requests that were folded, in the order of their hours; the filter's request_id is left alone. */
	int (*fold_scan)(void *self, const sl_usage_filter *, int (*each)(void *arg, const sl_fold_sum *), void *arg, sl_error *);
} sl_store_ops;

/* Does this store have that function? */
#define SL_STORE_HAS(OPS, FUNCTION) \
	((OPS)->size >= offsetof(sl_store_ops, FUNCTION) + sizeof (OPS)->FUNCTION && (OPS)->FUNCTION)

#ifdef __cplusplus
}
#endif
#endif

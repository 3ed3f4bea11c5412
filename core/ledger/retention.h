/* SPDX-License-Identifier: Apache-2.0 */
/* retention.h - records that are older than the operator keeps them become sums, a bounded step at a time.
 *
 * Steps follow the chain: what is folded is always everything up to some group's last record, and a group is folded only
 * when its records are those that were sealed. The feeder's thread, but for what says otherwise. */
#ifndef CORE_LEDGER_RETENTION_H
#define CORE_LEDGER_RETENTION_H

#include <sluice/store.h>
#include <stdatomic.h>
#include <stdbool.h>

enum {
	FOLD_RECORDS = 2000,    /* of one step, but at least one group */
	FOLD_GROUPS = 256,
	FOLD_EVERY_MS = 60000,  /* looks so often whether something is due; more often where less is kept than that */
	FOLD_AT_LEAST_MS = 10,
	FOLD_TROUBLE_MS = 3600000 /* and so long after it went wrong */
};

struct retention {
	atomic_uint_fast64_t keep_ms; /* 0: for ever. Any thread */
	atomic_uint_fast64_t folded;  /* highest record that is gone. Written by the feeder's thread, read by any */
	bool known;                   /* `folded` and `digest` are what the store says */
	uint8_t digest[32];           /* of the chain up to `folded` */
	uint64_t next_ns;             /* monotonic: looks again then */
	bool complained, folding;
};

/* When the next step is due, monotonic; UINT64_MAX: never. */
uint64_t retention_due_ns(const struct retention *r);
/* One step, when it is due. */
void retention_step(struct retention *r, const sl_store_ops *store, void *store_self);

#endif

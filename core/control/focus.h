/* SPDX-License-Identifier: Apache-2.0 */
/* focus.h - the bill in the columns of FOCUS 1.4 (FinOps Open Cost and Usage Specification): one row a day, tenant and
 * price of a model, one a day and lease; in each, quantity x price is the cost, exactly. */
#ifndef CORE_CONTROL_FOCUS_H
#define CORE_CONTROL_FOCUS_H

#include <stdbool.h>
#include <sluice/store.h>

#include "core/base/buf.h"
#include "core/ledger/prices.h"

enum { FOCUS_ROWS_MAX = 100000 };

/* The requests of a day, of one tenant and model at one price. */
struct focus_use {
	int64_t day;    /* since 1970 */
	int price;      /* index, -1: no price that is known explains the costs */
	char tenant[SL_NAME_MAX], model[SL_NAME_MAX];
	int64_t requests, uncached, cached, output;
	uint64_t cost_high, cost_low; /* where price is -1: 10^-12 */
};

struct focus {
	struct ledger_prices prices;
	struct focus_use *uses;
	size_t n_uses, room_uses;
	uint32_t *table;            /* open addressing: index + 1 into uses */
	size_t slots;
	sl_bill_sum *leases;        /* by day, tenant, user, model, queue, kind, lease, price */
	size_t n_leases, room_leases;
	bool failed, too_many;
};

/* Reads it out of the store; on the thread that may use it. SL_EFULL: more than FOCUS_ROWS_MAX rows. */
int focus_gather(struct focus *f, const sl_store_ops *store, void *store_self, const sl_bill_filter *filter, sl_error *error);
/* CSV with its header. The organisation is who bills and who is billed; tenants are its accounts. */
void focus_write(const struct focus *f, const char *organisation, const char *currency, struct buf *out);
void focus_free(struct focus *f);

#endif

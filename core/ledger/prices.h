/* SPDX-License-Identifier: Apache-2.0 */
/* prices.h - which prices made a request's cost.
 *
 * A use record has its cost and not the prices that made it. The ledger keeps every set of prices that was ever in a
 * configuration (objects price/MODEL/INPUT/CACHED/OUTPUT); the one that gives exactly the record's cost is the record's.
 * For the thread that may use the store. */
#ifndef CORE_LEDGER_PRICES_H
#define CORE_LEDGER_PRICES_H

#include <sluice/store.h>
#include <stdbool.h>

/* What a model's tokens have cost at some time, in micro-units per million. */
struct ledger_price {
	char model[SL_NAME_MAX];
	int64_t input, cached, output;
	uint64_t part; /* names it in sums of records that were folded: the same for ever, not 0 */
};

struct ledger_prices {
	struct ledger_price *list; /* sorted by model */
	size_t n, room;
	bool failed;               /* out of memory */
};

/* All that the store has. The caller frees them, after an error too. */
int ledger_prices_read(struct ledger_prices *p, const sl_store_ops *store, void *store_self, sl_error *error);
void ledger_prices_free(struct ledger_prices *p);
/* Index of the prices that explain a request's cost, -1: none that is known. */
int ledger_prices_find(const struct ledger_prices *p, const sl_usage *u);
/* The same of a folded sum, by its part. */
int ledger_prices_of_part(const struct ledger_prices *p, uint64_t part);

#endif

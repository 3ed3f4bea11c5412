/* SPDX-License-Identifier: Apache-2.0 */
/* bill.h - sums and records as they are shown, at every door alike. */
#ifndef CORE_LEDGER_BILL_H
#define CORE_LEDGER_BILL_H

#include <jansson.h>
#include <sluice/store.h>
#include <stdbool.h>

#include "core/ledger/ledger.h"

/* Sums of requests and leases; from a store that has none of leases (ABI 1.0), of requests. The thread that may use the
 * store. */
int ledger_bill(const sl_store_ops *store, void *store_self, const sl_bill_filter *filter, uint32_t by,
                int (*each)(void *arg, const sl_bill_sum *), void *arg, sl_error *error);

/* The figures of a sum as members of an object. */
json_t *ledger_sum_json(const sl_bill_sum *sum);
/* A request as its record has it. */
json_t *ledger_usage_json(uint64_t seq, const sl_usage *u);

/* What a look at the records found. */
json_t *ledger_verdict_json(const struct ledger_verdict *verdict);

/* When the request of that id began: it says so itself, "req_", then ten digits of base32 with the milliseconds. False:
 * no id of ours. */
bool ledger_id_time(sl_str id, uint64_t *wall_ms);

#endif

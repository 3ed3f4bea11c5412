/* SPDX-License-Identifier: Apache-2.0 */
/* bill.c - the store's sums of requests and leases, also from a store that knows of requests alone. */
#include <string.h>

#include "core/base/error.h"
#include "core/control/inner.h"

/* Passes sums of requests on as sums of a bill. */
struct older {
	int (*each)(void *arg, const sl_bill_sum *);
	void *arg;
};

static int pass_on(void *arg, const sl_usage_sum *s)
{
	const struct older *older = arg;
	sl_bill_sum sum = { .size = sizeof sum, .requests = s->requests, .input_tokens = s->input_tokens,
		.cached_tokens = s->cached_tokens, .output_tokens = s->output_tokens };
	unsigned __int128 cost = ((unsigned __int128) s->cost_high << 64 | s->cost_low) * 1000;
	sum.cost_high = (uint64_t) (cost >> 64);
	sum.cost_low = (uint64_t) cost;
	memcpy(sum.day, s->day, sizeof sum.day);
	memcpy(sum.tenant, s->tenant, sizeof sum.tenant);
	memcpy(sum.user, s->user, sizeof sum.user);
	memcpy(sum.model, s->model, sizeof sum.model);
	memcpy(sum.key, s->key, sizeof sum.key);
	return older->each(older->arg, &sum);
}

int control_bill(const sl_store_ops *store, void *store_self, const sl_bill_filter *filter, uint32_t by,
                 int (*each)(void *arg, const sl_bill_sum *), void *arg, sl_error *error)
{
	const uint32_t of_requests = SL_BY_DAY | SL_BY_TENANT | SL_BY_USER | SL_BY_KEY | SL_BY_MODEL;
	if (SL_STORE_HAS(store, bill_sum))
		return store->bill_sum(store_self, filter, by, each, arg, error);
	if ((by & ~of_requests) || filter->queue.len || filter->kind.len || filter->lease.len)
		return error_set(error, SL_ENOTSUP, "this store keeps no charges of leases");
	struct older older = { each, arg };
	const sl_usage_filter requests = { .size = sizeof requests, .since_ms = filter->since_ms, .until_ms = filter->until_ms,
		.tenant = filter->tenant, .user = filter->user, .key = filter->key, .model = filter->model };
	return store->usage_sum(store_self, &requests, by, pass_on, &older, error);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* restore_charges.c - what leases were charged before this start counts in limits on money again. */
#define _GNU_SOURCE /* strptime */
#include <time.h>

#include "core/base/clock.h"
#include "core/base/money.h"
#include "core/base/str.h"
#include "core/daemon/daemon.h"

enum { HOUR_MS = 3600 * 1000 };

struct restoring {
	struct daemon *d;
	struct quota_now now;
};

/* As the pool counts it: at its end, which is in the same hour; rounded up. */
static int each_hour(void *arg, const sl_bill_sum *s)
{
	const struct restoring *at = arg;
	struct quota_limit limits[QUOTA_LIMITS_MAX];
	struct tm tm = { 0 };
	if (!s->lease[0] || !strptime(s->hour, "%Y-%m-%dT%H", &tm)) /* requests have no lease: restore.c counts them */
		return 0;
	money_amount cost = (money_of(s->cost_high, s->cost_low) + 999) / 1000;
	uint64_t end = (uint64_t) timegm(&tm) * 1000 + HOUR_MS - 1;
	unsigned n = terms_money_limits(at->d->identity, at->d->conf, s->tenant, s->user, limits);
	terms_restore(at->d->quota, at->now, limits, n, end < at->now.wall_ms ? end : at->now.wall_ms,
	              &(struct quota_use){ .cost = cost > INT64_MAX ? INT64_MAX : (int64_t) cost });
	return 0;
}

/* How long ago a charge may lie that still counts, 0: there is no limit on money. What lies before a window is dropped by
 * its counter. */
static uint64_t horizon_ms(const struct conf *conf)
{
	const uint64_t month = UINT64_C(31) * 24 * HOUR_MS;
	uint64_t longest = 0;
	for (size_t t = 0; t < conf->n_tiers; t++)
		for (size_t i = 0; i < conf->tiers[t].n_limits; i++) {
			const struct quota_limit *l = &conf->tiers[t].limits[i];
			uint64_t window = l->metric != QUOTA_COST ? 0 : l->window == QUOTA_SLIDING ? l->window_ms + l->window_ms / 8 + HOUR_MS
			                  : l->window == QUOTA_TOTAL ? UINT64_MAX : month;
			longest = window > longest ? window : longest;
		}
	return longest;
}

int restore_charges(struct daemon *d, sl_error *error)
{
	const sl_store_ops *ops = plugin_ops(d->store);
	struct restoring at = { .d = d, .now = { .mono_ms = clock_mono_ns() / 1000000, .wall_ms = clock_wall_ms() } };
	uint64_t horizon = horizon_ms(d->conf);
	if (!horizon || !SL_STORE_HAS(ops, bill_sum))
		return SL_OK;
	const sl_bill_filter filter = { .size = sizeof filter, .since_ms = horizon < at.now.wall_ms ? at.now.wall_ms - horizon : 0 };
	return ops->bill_sum(plugin_self(d->store), &filter, SL_BY_TENANT | SL_BY_USER | SL_BY_HOUR | SL_BY_LEASE, each_hour, &at, error);
}

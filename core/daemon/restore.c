/* SPDX-License-Identifier: Apache-2.0 */
/* restore.c - what the store knows from before this start: keys and tenants, open leases, use that still counts. */
#define _GNU_SOURCE /* strptime */
#include <string.h>
#include <time.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/daemon/daemon.h"
#include "core/pool/pool.h"

enum { HOUR_MS = 3600 * 1000 };

static const sl_store_ops *store_ops(const struct daemon *d)
{
	return plugin_ops(d->store);
}

static int each_object(void *arg, sl_str key, sl_str json)
{
	struct daemon *d = arg;
	sl_error error;
	if (str_starts(key, STR("device/"))) {
		char name[256];
		json_t *device = json_parse(json, &error);
		if (device && str_copy(name, sizeof name, key))
			json_object_set(d->devices, name, device);
		json_decref(device);
		return 0;
	}
	if (str_starts(key, STR("price/"))) {
		char name[256];
		if (str_copy(name, sizeof name, key))
			json_object_set_new(d->prices, name, json_true());
		return 0;
	}
	if (identity_apply(d->identity, key, json, &error) != SL_OK)
		log_warn("the stored object %.*s is left out: %s", STR_ARG(key), error.text);
	return 0;
}

int restore_objects(struct daemon *d, sl_error *error)
{
	if ((!d->devices && !(d->devices = json_object())) || (!d->prices && !(d->prices = json_object())))
		return error_set(error, SL_ENOMEM, "out of memory");
	return store_ops(d)->object_scan(plugin_self(d->store), (sl_str){ NULL, 0 }, each_object, d, error);
}

/* Which windows the tiers have, and so how far back use still counts. */
struct horizon {
	uint64_t sliding_ms;
	bool month, total;
};

static struct horizon find_horizon(const struct conf *conf)
{
	struct horizon h = { .sliding_ms = HOUR_MS }; /* a policy may have windows of its own */
	for (size_t t = 0; t < conf->n_tiers; t++)
		for (size_t i = 0; i < conf->tiers[t].n_limits; i++) {
			const struct quota_limit *l = &conf->tiers[t].limits[i];
			if (l->window == QUOTA_SLIDING && l->window_ms > h.sliding_ms)
				h.sliding_ms = l->window_ms;
			h.month |= l->window == QUOTA_MONTH || l->window == QUOTA_DAY;
			h.total |= l->window == QUOTA_TOTAL;
		}
	return h;
}

struct restoring {
	struct daemon *d;
	struct quota_now now;
};

/* Charges use to the limits that hold for its caller today. */
static void charge(const struct restoring *at, const char *tenant, const char *user, const char *key, uint64_t wall_ms,
                   const struct quota_use *use)
{
	struct quota_limit limits[QUOTA_LIMITS_MAX];
	sl_identity who = { .size = sizeof who };
	str_copy(who.tenant, sizeof who.tenant, str_of(tenant));
	str_copy(who.user, sizeof who.user, str_of(user));
	str_copy(who.key, sizeof who.key, str_of(key));
	unsigned n = terms_limits(at->d->identity, at->d->conf, &who, limits);
	terms_restore(at->d->quota, at->now, limits, n, wall_ms, use);
}

static int each_use(void *arg, uint64_t seq, const sl_usage *u)
{
	(void) seq;
	const struct quota_use use = { .requests = 1, .input_tokens = u->input_tokens, .output_tokens = u->output_tokens,
		.cost = u->cost };
	charge(arg, u->tenant, u->user, u->key, u->started_ms + u->duration_us / 1000, &use);
	return 0;
}

static int each_sum(void *arg, const sl_usage_sum *s)
{
	struct tm tm = { 0 };
	if (!strptime(s->day, "%Y-%m-%d", &tm))
		return 0;
	uint64_t noon_ms = ((uint64_t) timegm(&tm) + 12 * 3600) * 1000;
	int64_t cost = s->cost_high || s->cost_low > INT64_MAX ? INT64_MAX : (int64_t) s->cost_low;
	const struct quota_use use = { .requests = s->requests, .input_tokens = s->input_tokens, .output_tokens = s->output_tokens,
		.cost = cost };
	charge(arg, s->tenant, s->user, s->key, noon_ms, &use);
	return 0;
}

/* Use of late whose records are gone already: as if all of its hour had been at its end. */
static int each_folded(void *arg, const sl_fold_sum *s)
{
	const struct restoring *at = arg;
	int64_t cost = s->cost_high || s->cost_low > INT64_MAX ? INT64_MAX : (int64_t) s->cost_low;
	const struct quota_use use = { .requests = s->requests, .input_tokens = s->input_tokens, .output_tokens = s->output_tokens,
		.cost = cost };
	uint64_t end_ms = s->hour_ms + HOUR_MS - 1;
	charge(arg, s->tenant, s->user, s->key, end_ms < at->now.wall_ms ? end_ms : at->now.wall_ms, &use);
	return 0;
}

static uint64_t month_start_ms(uint64_t wall_ms)
{
	time_t seconds = (time_t) (wall_ms / 1000);
	struct tm tm;
	gmtime_r(&seconds, &tm);
	tm.tm_mday = 1;
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	return (uint64_t) timegm(&tm) * 1000;
}

int restore_quota(struct daemon *d, sl_error *error)
{
	struct horizon h = find_horizon(d->conf);
	uint64_t wall = clock_wall_ms();
	struct restoring at = { .d = d, .now = { .mono_ms = clock_mono_ns() / 1000000, .wall_ms = wall } };
	/* Recent use row by row, older use as sums of days: together each row once. Where records are kept for a shorter time
	 * than limits look back, use of whole hours stands for them: from a full hour on, or one would be missed. */
	uint64_t recent = wall > h.sliding_ms ? (wall - h.sliding_ms) / HOUR_MS * HOUR_MS : 0;
	sl_usage_filter filter = { .size = sizeof filter, .since_ms = recent };
	const sl_store_ops *ops = store_ops(d);
	int code = ops->usage_scan(plugin_self(d->store), &filter, 0, each_use, &at, error);
	if (code == SL_OK && SL_STORE_HAS(ops, fold_scan))
		code = ops->fold_scan(plugin_self(d->store), &filter, each_folded, &at, error);
	uint64_t since = h.total ? 1 : month_start_ms(wall);
	if (code != SL_OK || (!h.total && !h.month) || since >= recent)
		return code;
	filter = (sl_usage_filter){ .size = sizeof filter, .since_ms = since, .until_ms = recent };
	return ops->usage_sum(plugin_self(d->store), &filter, SL_BY_DAY | SL_BY_TENANT | SL_BY_USER | SL_BY_KEY, each_sum,
	                               &at, error);
}

struct leases {
	json_t *list;
	uint64_t last;
};

/* The pool goes on to show it, and its output. */
static bool ended_lately(const json_t *lease)
{
	return json_get_bool(lease, "ended", false) &&
	       (uint64_t) json_get_int(lease, "ended_ms", 0) + POOL_ENDED_MS > clock_wall_ms();
}

static int each_lease(void *arg, sl_str id, sl_str text)
{
	struct leases *leases = arg;
	uint64_t number = 0;
	if (id.len > 1 && str_to_u64((sl_str){ id.ptr + 1, id.len - 1 }, UINT64_MAX, &number) && number > leases->last)
		leases->last = number;
	sl_error error;
	json_t *lease = json_parse(text, &error);
	if (!lease)
		log_warn("the stored lease %.*s is left out: %s", STR_ARG(id), error.text);
	else if (json_get_bool(lease, "ended", false) && !ended_lately(lease))
		json_decref(lease);
	else
		json_array_append_new(leases->list, lease);
	return 0;
}

/* Newest first: the first has the last number. Open ones come by themselves. */
static int newest_lease(void *arg, sl_str id, sl_str text)
{
	struct leases *leases = arg;
	sl_error error;
	if (!leases->last && id.len > 1)
		str_to_u64((sl_str){ id.ptr + 1, id.len - 1 }, UINT64_MAX, &leases->last);
	json_t *lease = json_parse(text, &error);
	if (lease && ended_lately(lease))
		json_array_append(leases->list, lease);
	json_decref(lease);
	return 0;
}

json_t *restore_leases(struct daemon *d, uint64_t *last_number, sl_error *error)
{
	struct leases leases = { .list = json_array() };
	const sl_store_ops *ops = store_ops(d);
	const sl_lease_filter newest = { .size = sizeof newest, .limit = POOL_ENDED_MAX };
	/* A store that can say which lease is the last need not show all that have ended. */
	bool open_only = SL_STORE_HAS(ops, lease_list);
	int code = open_only ? ops->lease_list(plugin_self(d->store), &newest, newest_lease, &leases, error) : SL_OK;
	if (code == SL_OK)
		code = ops->lease_scan(plugin_self(d->store), open_only, each_lease, &leases, error);
	if (code != SL_OK) {
		json_decref(leases.list);
		return NULL;
	}
	*last_number = leases.last;
	return leases.list;
}

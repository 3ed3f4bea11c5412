/* SPDX-License-Identifier: Apache-2.0 */
/* budget.c - limits on money count what leases cost, in the same counters as requests.
 *
 * From its grant on a lease has reserved what it may still cost: up to its time limit and the notice that follows, or,
 * where it has no limit, a little ahead of its run, again and again; when there is no room for more it is ended with
 * notice, while that notice is still paid for. What a record charges moves from what is reserved to what is used. So what
 * is used follows the ledger, and after a restart is made from it again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/pool/inner.h"

enum {
	SLACK_MS = 5000,                                /* until the devices are given back after a notice */
	END_MS = POOL_NOTICE_MS + SLACK_MS,             /* that an end takes at most */
	AHEAD_MS = END_MS + 5 * POOL_TICK_MS            /* reserved of a run without a limit */
};

struct budget {
	struct quota_reservation reservation;
	uint64_t counters; /* hash of what its limits count in */
	int64_t reserved;  /* 10^-12 of the currency */
};

/* The limits on money that count what a lease costs. */
struct purse {
	struct quota_limit limits[QUOTA_LIMITS_MAX];
	unsigned n;
};

static struct quota_now quota_time(void)
{
	struct lease_now now = pool_now();
	return (struct quota_now){ .mono_ms = (uint64_t) now.mono_ms, .wall_ms = now.wall_ms };
}

/* Replicas are nobody's bill. */
static bool open_purse(const struct pool *pool, const struct lease *lease, struct purse *out)
{
	out->n = pool->quota && !lease->model[0] && lease->wanted
	             ? pool->money_limits(pool->money_arg, pool->conf, lease->tenant, lease->user, out->limits)
	             : 0;
	return out->n > 0;
}

static uint64_t counters_of(const struct purse *purse)
{
	uint64_t hash = purse->n;
	for (unsigned i = 0; i < purse->n; i++) {
		const struct quota_limit *l = &purse->limits[i];
		hash = (hash ^ hash_str(str_of(l->scope)) ^ l->window ^ l->window_ms << 8) * 1000003u;
	}
	return hash;
}

/* Of so long at a price a second; in 10^-12, rounded up. */
static int64_t cost_of(money_amount second, uint64_t ms)
{
	money_amount cost = (second * (money_amount) ms + 999) / 1000;
	return cost > INT64_MAX ? INT64_MAX : (int64_t) cost;
}

/* The longest that it may be charged for, or, without a limit, what is reserved at its grant. */
static uint64_t bound_ms(const struct lease *lease)
{
	return lease->time_ms ? lease->time_ms + END_MS : AHEAD_MS;
}

/* A second of all devices that it has been granted. */
static money_amount granted_second(const struct lease *lease)
{
	money_amount second = 0;
	for (uint32_t i = 0; i < lease->n_places; i++)
		second += lease->places[i].price;
	return second;
}

/* The dearest device that there is. */
static int64_t dearest(const struct pool *pool)
{
	int64_t most = 0;
	const char *last = NULL;
	for (size_t i = 0; i < pool->devices.n; i++) {
		const char *kind = pool->devices.at[i].kind;
		int64_t price = last && strcmp(last, kind) == 0 ? 0 : conf_gpu_second(pool->conf, str_of(kind));
		last = kind;
		most = price > most ? price : most;
	}
	return most;
}

/* What it may cost, before it is known which devices it gets. */
static int64_t wanted_cost(const struct pool *pool, const struct lease *lease, int64_t most)
{
	int64_t price = lease->kind[0] ? conf_gpu_second(pool->conf, str_of(lease->kind)) : most;
	return cost_of((money_amount) price * lease->wanted, bound_ms(lease));
}

/* Is there room? Nothing is reserved. */
static int look(const struct pool *pool, const struct purse *purse, int64_t cost, struct quota_denial *denial)
{
	struct quota_reservation r;
	const struct quota_use bound = { .cost = cost };
	int code = quota_reserve(pool->quota, quota_time(), purse->limits, purse->n, &bound, &r, denial);
	if (code == SL_OK)
		quota_settle(pool->quota, quota_time(), &r, &(struct quota_use){ 0 });
	return code;
}

/* Money for people: millionths, rounded up. */
static void amount_text(int64_t amount, char out[MONEY_TEXT_MAX])
{
	money_text(amount / 1000000 + (amount % 1000000 != 0), 6, out);
}

/* Whose limit, how much, until when. what: "this lease may need". */
static void describe(const struct pool *pool, const struct quota_denial *d, const char *what, char text[SL_ERROR_TEXT])
{
	const struct quota_limit *l = d->limit;
	char used[MONEY_TEXT_MAX], most[MONEY_TEXT_MAX], reserved[MONEY_TEXT_MAX], wanted[MONEY_TEXT_MAX];
	char until[64] = "", date[32];
	const char *name = strchr(l->scope, ':');
	amount_text(d->used, used);
	amount_text(l->amount, most);
	amount_text(d->reserved, reserved);
	amount_text(d->wanted, wanted);
	if (d->wanted > l->amount) {
		snprintf(until, sizeof until, ": it can never fit");
	} else if (d->resets_ms && d->wanted > l->amount - d->used) {
		clock_rfc3339(d->resets_ms, date);
		snprintf(until, sizeof until, "; it begins anew at %.19sZ", date);
	}
	snprintf(text, SL_ERROR_TEXT, "limit '%s' of %.*s %.64s: %s of %s %s used, %s reserved, %s %s%s", l->name,
	         name ? (int) (name - l->scope) : 0, l->scope, name ? name + 1 : l->scope, used, most, pool->conf->currency, reserved,
	         what, wanted, until);
}

int budget_admit(struct pool *pool, const struct lease *lease, sl_error *error)
{
	struct purse purse;
	struct quota_denial denial;
	if (!open_purse(pool, lease, &purse))
		return SL_OK;
	int code = look(pool, &purse, wanted_cost(pool, lease, dearest(pool)), &denial);
	if (code == SL_EFULL)
		return error_set(error, SL_EUNAVAILABLE, "the table of limits is full: nothing is let through unchecked");
	/* Where only what others have reserved is in the way it waits for them. */
	if (code != SL_ELIMIT || denial.wanted <= denial.limit->amount - denial.used)
		return SL_OK;
	char text[SL_ERROR_TEXT];
	describe(pool, &denial, "this lease may need", text);
	return error_set(error, SL_ELIMIT, "%s", text);
}

bool budget_reason(struct pool *pool, const struct lease *lease, char text[SL_ERROR_TEXT])
{
	struct purse purse;
	struct quota_denial denial;
	if (!lease->unpaid || !open_purse(pool, lease, &purse) ||
	    look(pool, &purse, wanted_cost(pool, lease, dearest(pool)), &denial) != SL_ELIMIT)
		return false;
	describe(pool, &denial, "this lease may need", text);
	return true;
}

static bool any_limit(const struct conf *conf)
{
	for (size_t t = 0; t < conf->n_tiers; t++)
		for (size_t i = 0; i < conf->tiers[t].n_limits; i++)
			if (conf->tiers[t].limits[i].metric == QUOTA_COST)
				return true;
	return false;
}

static bool same_owner(const struct lease *a, const struct lease *b)
{
	return strcmp(a->tenant, b->tenant) == 0 && strcmp(a->user, b->user) == 0 && !a->model[0] == !b->model[0];
}

bool budget_look(struct pool *pool)
{
	struct purse purse = { .n = 0 };
	const struct lease *before = NULL;
	bool changed = false, any = pool->quota && any_limit(pool->conf);
	int64_t most = any ? dearest(pool) : 0, fits = 0, refused = INT64_MAX; /* of the owner that is looked at */
	pool->n_unpaid = 0;
	for (size_t i = 0; i < pool->n_leases; i++) {
		struct lease *lease = pool->leases[i];
		if (lease->state != LEASE_QUEUED || !lease->wanted)
			continue;
		if (any && (!before || !same_owner(before, lease))) {
			open_purse(pool, before = lease, &purse);
			fits = 0;
			refused = INT64_MAX;
		}
		int64_t cost = purse.n ? wanted_cost(pool, lease, most) : 0;
		bool unpaid = cost >= refused || (cost > fits && look(pool, &purse, cost, NULL) != SL_OK);
		if (unpaid)
			refused = cost < refused ? cost : refused;
		else
			fits = cost > fits ? cost : fits;
		if (unpaid && lease->hold_until_ms) {
			lease->hold_until_ms = 0;
			devices_unhold(&pool->devices, lease->number);
		}
		changed = changed || unpaid != lease->unpaid;
		pool->n_unpaid += unpaid;
		lease->unpaid = unpaid;
	}
	if (changed)
		pool->plan_fresh = false;
	return changed;
}

/* A reservation of so much in the counters of today's limits, in the place of the one that there is. Forced: whatever the
 * limits say. The new one comes first, so that nobody takes the money meanwhile. */
static int promise(struct pool *pool, struct job *job, struct purse *purse, int64_t cost, bool forced,
                   struct quota_denial *denial)
{
	const struct quota_use bound = { .cost = cost };
	struct budget *budget = calloc(1, sizeof *budget);
	if (!budget)
		return SL_ENOMEM;
	for (unsigned i = 0; forced && i < purse->n; i++)
		purse->limits[i].amount = INT64_MAX;
	int code = quota_reserve(pool->quota, quota_time(), purse->limits, purse->n, &bound, &budget->reservation, denial);
	if (code != SL_OK) {
		free(budget);
		return code;
	}
	budget->counters = counters_of(purse);
	budget->reserved = cost;
	budget_release(pool, job);
	job->budget = budget;
	return SL_OK;
}

int budget_grant(struct pool *pool, struct job *job)
{
	struct purse purse;
	struct lease *lease = &job->lease;
	money_amount second = 0;
	if (!open_purse(pool, lease, &purse))
		return SL_OK;
	for (uint32_t i = 0; i < lease->n_places; i++) {
		const struct device *device = devices_find(&pool->devices, str_of(lease->places[i].uuid));
		second += device ? conf_gpu_second(pool->conf, str_of(device->kind)) : 0;
	}
	int64_t cost = cost_of(second, bound_ms(lease));
	int code = cost ? promise(pool, job, &purse, cost, false, NULL) : SL_OK;
	lease->unpaid = code != SL_OK;
	pool->n_unpaid += lease->unpaid;
	return code;
}

void budget_release(struct pool *pool, struct job *job)
{
	if (!job->budget)
		return;
	quota_settle(pool->quota, quota_time(), &job->budget->reservation, &(struct quota_use){ 0 });
	free(job->budget);
	job->budget = NULL;
}

/* What a lease that has its devices still needs, by what we know of its run. */
static int64_t needed(const struct lease *lease)
{
	uint64_t ms = bound_ms(lease);
	if (lease->time_ms)
		ms = ms > lease->charged_ms ? ms - lease->charged_ms : 0;
	return cost_of(granted_second(lease), ms);
}

/* Those who have devices, also while they are suspended. */
static bool has_promise(const struct job *job)
{
	enum lease_state state = job->lease.state;
	return job->budget || (state != LEASE_REQUESTED && state != LEASE_QUEUED && !lease_state_over(state));
}

void budget_renew(struct pool *pool)
{
	for (size_t i = 0; pool->quota && i < pool->n_leases; i++) {
		struct job *job = job_of(pool->leases[i]);
		struct purse purse;
		if (!has_promise(job))
			continue;
		int64_t cost = job->budget ? job->budget->reserved : needed(&job->lease);
		if (!open_purse(pool, &job->lease, &purse))
			budget_release(pool, job);
		else if (cost && promise(pool, job, &purse, cost, true, NULL) != SL_OK)
			log_error("the money for L%llu could not be reserved: the table of limits is full",
			          (unsigned long long) job->lease.number);
	}
}

static void warn(const struct pool *pool, const struct quota_limit *limit)
{
	char mark[MONEY_TEXT_MAX], most[MONEY_TEXT_MAX];
	amount_text(limit->warn, mark);
	amount_text(limit->amount, most);
	log_warn("limit '%s' of %s: %s of %s %s are used, by a lease", limit->name, limit->scope, mark, most, pool->conf->currency);
	metrics_add(metrics_counter("sluice_limit_warnings_total", "Times that use has come to the warn of a limit.", "limit",
	                            limit->name), 1);
}

static void charge_one(struct pool *pool, const struct purse *purse, uint64_t until_ms, int64_t cost)
{
	struct quota_now now = quota_time();
	/* At its end, so that it leaves a sliding window no sooner than it may; the hour is the same. */
	uint64_t at = until_ms > now.wall_ms ? now.wall_ms : until_ms - 1;
	for (unsigned i = 0; i < purse->n; i++) {
		bool seen = false;
		for (unsigned k = 0; k < i; k++)
			seen = seen || quota_same_counter(&purse->limits[k], &purse->limits[i]);
		if (!seen && quota_restore(pool->quota, now, &purse->limits[i], at, cost))
			warn(pool, &purse->limits[i]);
	}
}

void budget_charge(struct pool *pool, struct job *job, const json_t *charges)
{
	struct purse purse;
	const json_t *charge;
	size_t i;
	if (!json_array_size(charges) || !open_purse(pool, &job->lease, &purse))
		return;
	json_array_foreach(charges, i, charge) {
		uint64_t device_ms = (uint64_t) json_get_int(charge, "device_ms", 0);
		int64_t cost = cost_of(json_get_int(charge, "price", 0), device_ms);
		/* First what is used, then what is reserved no more: nobody sees less of it than there is. */
		charge_one(pool, &purse, (uint64_t) json_get_int(charge, "until_ms", 1), cost);
		if (!job->budget)
			continue;
		quota_shrink(pool->quota, &job->budget->reservation, QUOTA_COST, cost);
		job->budget->reserved -= cost < job->budget->reserved ? cost : job->budget->reserved;
	}
	/* Its tenant has another tier now. */
	if (job->budget && job->budget->counters != counters_of(&purse) &&
	    promise(pool, job, &purse, job->budget->reserved, true, NULL) != SL_OK)
		log_error("the money for L%llu stays reserved in the old limits of its tenant: the table of limits is full",
		          (unsigned long long) job->lease.number);
}

/* More for what it has without a record and for what lies ahead. */
static int extend(struct pool *pool, struct job *job, struct purse *purse, int64_t need, bool forced,
                  struct quota_denial *denial)
{
	if (!job->budget)
		return promise(pool, job, purse, need, forced, denial);
	const struct quota_use more = { .cost = need - job->budget->reserved };
	for (unsigned i = 0; forced && i < purse->n; i++)
		purse->limits[i].amount = INT64_MAX;
	int code = quota_grow(pool->quota, quota_time(), purse->limits, purse->n, &more, &job->budget->reservation, denial);
	if (code == SL_OK)
		job->budget->reserved = need;
	return code;
}

static void end_unpaid(struct pool *pool, struct job *job, const struct quota_denial *denial)
{
	char text[SL_ERROR_TEXT], reason[SL_ERROR_TEXT];
	sl_error error = { 0 };
	describe(pool, denial, "to go on it needs another", text);
	snprintf(reason, sizeof reason, "no money left: %.230s", text);
	if (pool_release(pool, job->lease.number, POOL_NOTICE_MS, reason, &error) != SL_OK)
		return; /* the ledger takes nothing: the next tick tries again */
	log_info("L%llu of tenant %s is ended: %s", (unsigned long long) job->lease.number, job->lease.tenant, reason);
	metrics_add(metrics_counter("sluice_leases_unpaid_total", "Leases without a time limit that were ended for want of money", ""), 1);
}

/* One that runs without a limit. */
static void look_ahead(struct pool *pool, struct job *job, struct lease_now now)
{
	struct purse purse;
	struct quota_denial denial;
	const struct lease *lease = &job->lease;
	money_amount second = granted_second(lease);
	uint64_t open = lease_run_ms(lease, now) - lease->charged_ms;
	int64_t have = job->budget ? job->budget->reserved : 0, need = cost_of(second, open + AHEAD_MS);
	int64_t least = cost_of(second, open + END_MS + 2 * POOL_TICK_MS);
	if (have >= need || !open_purse(pool, lease, &purse) || extend(pool, job, &purse, need, false, &denial) != SL_ELIMIT ||
	    have >= least)
		return;
	end_unpaid(pool, job, &denial);
	/* Nobody looked for a while: what it has cost meanwhile, and its end, are nobody else's money. */
	int64_t end = cost_of(second, open + END_MS);
	if (have < end && extend(pool, job, &purse, end, true, NULL) != SL_OK)
		log_error("the money for the end of L%llu could not be reserved: the table of limits is full", (unsigned long long) lease->number);
}

void budget_tick(struct pool *pool, struct lease_now now)
{
	if (!pool->quota)
		return;
	for (size_t i = 0; i < pool->n_leases; i++) {
		struct job *job = job_of(pool->leases[i]);
		bool runs = job->lease.state == LEASE_RUNNING || job->lease.state == LEASE_SUSPENDING;
		if (runs && job->timed && !job->lease.time_ms)
			look_ahead(pool, job, now);
	}
	/* Requests that end, and the calendar, make room without a word to us. */
	if (pool->n_unpaid && budget_look(pool))
		round_want(pool);
}

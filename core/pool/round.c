/* SPDX-License-Identifier: Apache-2.0 */
/* round.c - planning rounds: at most one a turn of the loop, however much has changed. */
#include <stdio.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/hash.h"
#include "core/base/log.h"
#include "core/pool/inner.h"

static void on_soon(uv_timer_t *timer)
{
	struct pool *pool = timer->data;
	if (pool->plan_wanted)
		round_run(pool);
	watch_soon(pool);
}

void round_want(struct pool *pool)
{
	pool->plan_wanted = true;
	pool->plan_fresh = false;
	watch_want(pool);
}

void watch_want(struct pool *pool)
{
	if (!pool->closing && !uv_is_active((uv_handle_t *) &pool->soon))
		uv_timer_start(&pool->soon, on_soon, 0, 0);
}

bool round_view(struct pool *pool)
{
	if (pool->plan_fresh)
		return true;
	pause_mark(pool);
	pool->plan_fresh = plan_build(&pool->plan, &pool->devices, pool->queues, pool->n_queues, pool->leases,
	                              pool->n_leases, pool_now());
	return pool->plan_fresh;
}

static void refuse(const char *what)
{
	metrics_add(metrics_counter("sluice_scheduler_refused_total", "Answers of the scheduler that broke an invariant", ""), 1);
	log_warn("the scheduler's answer was refused: %s", what);
}

/* Without devices there is nothing to schedule. False: the ledger takes nothing. */
static bool grant_free_ones(struct pool *pool)
{
	sl_error error = { 0 };
	for (size_t i = 0; i < pool->n_leases; i++) {
		struct job *job = job_of(pool->leases[i]);
		if (job->lease.wanted || job->lease.state != LEASE_QUEUED)
			continue;
		if (change_decide(pool, job, LEASE_GRANTED, "needs no device", &error) != SL_OK)
			return false;
	}
	return true;
}

/* The lease has its hold; those who have the devices are asked to give way. When the ledger does not take one of them,
 * the hold ends: who was asked already goes, and the next round makes something of it. */
static bool make_way(struct pool *pool, struct lease *lease, sl_error *error)
{
	char reason[SL_ERROR_TEXT];
	snprintf(reason, sizeof reason, "gave way to L%llu of queue %s, which %s", (unsigned long long) lease->number, lease->queue,
	         lease->borrowed ? "is more urgent" : "is owed the devices");
	for (size_t i = 0; i < pool->plan.n_victims; i++)
		if (pause_want(pool, job_of(pool->plan.victims[i]), reason, error) != SL_OK) {
			plan_undo(&pool->plan, lease);
			return false;
		}
	metrics_add(metrics_counter("sluice_lease_holds_total", "Times that devices were held for a waiting lease", ""), 1);
	return true;
}

/* False: the ledger takes nothing. */
static bool apply(struct pool *pool, const sl_action *action)
{
	sl_error error = { 0 };
	struct lease *lease;
	char reason[SL_ERROR_TEXT];
	if (plan_check(&pool->plan, action, &lease, &error) != SL_OK) {
		refuse(error.text);
		return true;
	}
	snprintf(reason, sizeof reason, "%.*s", SL_ERROR_TEXT - 1, action->reason);
	switch (SL_ACTION_TYPE(action->type)) {
	case SL_ACTION_PREEMPT:
		return pause_end(pool, job_of(lease), reason, &error) != SL_EUNAVAILABLE;
	case SL_ACTION_SUSPEND:
		return pause_want(pool, job_of(lease), reason, &error) != SL_EUNAVAILABLE;
	case SL_ACTION_HOLD:
		return make_way(pool, lease, &error);
	case SL_ACTION_GRANT:
	case SL_ACTION_RESUME:
		break;
	default:
		return true; /* PROMOTE: the label is written down with the next change. MOVE needs what no agent can yet */
	}
	bool fresh = SL_ACTION_TYPE(action->type) == SL_ACTION_GRANT;
	/* Requests may have spent the money since the round began: then it waits, and the next round is without it. */
	bool paid = !fresh || budget_grant(pool, job_of(lease)) == SL_OK;
	if (paid && change_decide(pool, job_of(lease), fresh ? LEASE_GRANTED : LEASE_RESUMING, reason, &error) == SL_OK)
		return true;
	if (fresh)
		budget_release(pool, job_of(lease));
	plan_undo(&pool->plan, lease);
	return !paid;
}

/* True: there may be more. */
static bool plan_once(struct pool *pool)
{
	sl_error error = { 0 };
	size_t n = 0;
	uint64_t before = clock_mono_ns();
	int code = pool->scheduler->plan(pool->scheduler_self, &pool->plan.view, pool->actions, POOL_ACTIONS_MAX, &n, &error);
	uint64_t took_ms = (clock_mono_ns() - before) / 1000000;
	if (took_ms > 100)
		log_warn("the scheduler took %llu ms for a plan: at most 100 are allowed", (unsigned long long) took_ms);
	if (code != SL_OK) {
		error.text[SL_ERROR_TEXT - 1] = '\0';
		refuse(error.text[0] ? error.text : "an error without words");
		return false;
	}
	bool full = n >= POOL_ACTIONS_MAX, granted = false;
	for (size_t i = 0; i < n && i < POOL_ACTIONS_MAX; i++) {
		size_t pending = pool->n_pending;
		if (!apply(pool, &pool->actions[i])) {
			change_later(pool);
			return false;
		}
		granted = granted || pool->n_pending != pending;
	}
	return full && granted;
}

unsigned round_reasons(const struct pool *pool)
{
	size_t fair = POOL_EXPLAINED_WORK / (pool->n_open + 1);
	return fair > POOL_EXPLAINED_MAX ? POOL_EXPLAINED_MAX : fair < 8 ? 8 : (unsigned) fair;
}

/* Those who wait are told when their reason has changed. */
static void tell_waiting(struct pool *pool)
{
	char text[SL_ERROR_TEXT];
	unsigned explained = 0, most = round_reasons(pool);
	for (size_t i = 0; i < pool->n_leases && explained < most; i++) {
		struct job *job = job_of(pool->leases[i]);
		bool waits = job->lease.state == LEASE_QUEUED || job->lease.state == LEASE_SUSPENDED;
		if (!job->watchers || !waits || !change_durable(pool, job))
			continue;
		explained++;
		round_reason(pool, &job->lease, true, text);
		uint64_t told = hash_bytes(text, strlen(text));
		if (told == job->told_reason)
			continue;
		job->told_reason = told;
		watch_lease(pool, job);
	}
}

static void on_wake(uv_timer_t *timer)
{
	round_want(timer->data);
}

/* A minimum run time passes, a hold expires: nothing else would start a round then. */
static void wake_later(struct pool *pool)
{
	uint64_t at = pool->plan.wake_ms, now = pool->plan.now.wall_ms;
	uv_timer_stop(&pool->wake);
	if (at && !pool->closing)
		uv_timer_start(&pool->wake, on_wake, at > now ? at - now + 1 : 1, 0);
}

void round_run(struct pool *pool)
{
	pool->plan_wanted = false;
	if (!pool->agent.ready)
		return;
	if (!grant_free_ones(pool)) {
		change_later(pool);
		return;
	}
	budget_look(pool);
	unsigned unpaid = pool->n_unpaid;
	if (!round_view(pool)) {
		log_error("no memory for a planning round");
		return;
	}
	bool more = (pool->plan.waiting.n || pool->plan.suspended.n) && plan_once(pool);
	/* What this round changed wants no further one by itself: the same scheduler has just seen it all. */
	pool->plan_wanted = false;
	if (more || pool->n_unpaid != unpaid)
		round_want(pool);
	wake_later(pool);
	pool->plan_fresh = false;
	tell_waiting(pool);
}

void round_reason(struct pool *pool, const struct lease *lease, bool in_full, char text[SL_ERROR_TEXT])
{
	if (!pool->agent.ready) {
		char at[32];
		clock_rfc3339(pool->agent.away_ms, at);
		snprintf(text, SL_ERROR_TEXT, "no agent answers since %s: nothing can be granted", at);
		return;
	}
	if (!pool_queue(pool, lease->queue)) {
		snprintf(text, SL_ERROR_TEXT, "queue %s is not configured any more: ask again in another", lease->queue);
		return;
	}
	if (budget_reason(pool, lease, text))
		return;
	snprintf(text, SL_ERROR_TEXT, "waits in queue %s", lease->queue);
	if (!in_full || !round_view(pool))
		return;
	text[0] = '\0';
	if (lease->wanted && pool->scheduler->explain &&
	    pool->scheduler->explain(pool->scheduler_self, &pool->plan.view, lease->number, text, SL_ERROR_TEXT) == SL_OK) {
		text[SL_ERROR_TEXT - 1] = '\0';
		if (text[0])
			return;
	}
	plan_why(&pool->plan, lease, text);
}

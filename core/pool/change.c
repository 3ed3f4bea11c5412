/* SPDX-License-Identifier: Apache-2.0 */
/* change.c - a lease's changes: into the ledger first, then what they ask for.
 *
 * What is to be done follows from the lease's state alone, so a change that was overtaken by another before it was
 * durable is not acted on, and acting twice does no harm. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/pool/inner.h"

static uint64_t append(struct pool *pool, struct job *job)
{
	char id[LEASE_ID_MAX];
	if (pool->n_pending >= POOL_PENDING_MAX)
		return 0;
	/* What is due is charged in this record, and counts as charged when the ledger has taken it. */
	struct lease_now now = pool_now();
	struct lease lease = job->lease;
	charge_terms(pool, &lease);
	json_t *charges = lease_charge(&lease, now, (uint64_t) pool->conf->charge_ms);
	json_t *record = lease_record(&lease, now);
	if (charges && json_object_set_new(record, "charges", charges) != 0) {
		json_decref(record);
		record = NULL;
	}
	char *text = record ? json_text(record) : NULL;
	uint64_t seq = 0;
	lease_id(job->lease.number, id);
	if (text)
		seq = ledger_append(pool->ledger, SL_RECORD_LEASE, str_of(id), text, strlen(text));
	free(text);
	if (seq) {
		job->lease.charged_ms = lease.charged_ms;
		job->lease.charged_until_ms = lease.charged_until_ms;
		budget_charge(pool, job, json_object_get(record, "charges"));
		if (lease.state == LEASE_QUEUED || lease_state_over(lease.state))
			budget_release(pool, job);
	}
	json_decref(record);
	return seq;
}

/* Nothing waits for it, so it is not among the pending. */
bool change_note(struct pool *pool, struct job *job)
{
	return append(pool, job) != 0;
}

static void await(struct pool *pool, struct job *job, uint64_t seq)
{
	job->seq = seq;
	pool->pending[(pool->pending_first + pool->n_pending++) % POOL_PENDING_MAX] =
		(struct pending){ seq, job->lease.number };
}

static int refused(sl_error *error)
{
	return error_set(error, SL_EUNAVAILABLE, "the ledger takes no records at the moment (disk full or failed?): try again");
}

bool change_durable(const struct pool *pool, const struct job *job)
{
	return !job->dirty && job->seq <= pool->committed;
}

int change_first(struct pool *pool, struct job *job, sl_error *error)
{
	uint64_t seq = append(pool, job);
	if (!seq)
		return refused(error);
	await(pool, job, seq);
	show_count(&job->lease, pool_now());
	return SL_OK;
}

static void on_retry(uv_timer_t *timer)
{
	change_retry(timer->data);
}

void change_later(struct pool *pool)
{
	if (!uv_is_active((uv_handle_t *) &pool->retry)) {
		log_warn("the ledger takes no records at the moment: what leases wait for is tried again");
		uv_timer_start(&pool->retry, on_retry, POOL_RETRY_MS, POOL_RETRY_MS);
	}
}

/* What the new state means for the table of devices. Back in the queue, and suspended, it has none. */
static void follow(struct pool *pool, struct job *job)
{
	struct lease *lease = &job->lease;
	if (lease->state == LEASE_QUEUED || lease->state == LEASE_SUSPENDED || lease_state_over(lease->state))
		devices_free_lease(&pool->devices, lease->number);
	job->pause_sent = false;
	if (lease->state == LEASE_RELEASING || lease->state == LEASE_SUSPENDING)
		devices_releasing(&pool->devices, lease->number);
	if (lease_state_over(lease->state)) {
		pool->n_open--;
		change_remember_ended(pool, lease->number, 0);
	}
	show_count(lease, pool_now());
	pool->plan_fresh = false;
	/* These are steps of what a round has just decided: nothing new to plan with. */
	if (lease->state != LEASE_GRANTED && lease->state != LEASE_PREPARED && lease->state != LEASE_SUSPENDING &&
	    lease->state != LEASE_RESUMING)
		round_want(pool);
}

int change_decide(struct pool *pool, struct job *job, enum lease_state to, const char *reason, sl_error *error)
{
	/* What the lease owns is the same before and after, so a plain copy can be put back. */
	struct lease before = job->lease;
	int code = job->dirty ? refused(error) : lease_change(&job->lease, to, pool_now(), reason, error);
	if (code != SL_OK)
		return code;
	uint64_t seq = append(pool, job);
	if (!seq) {
		job->lease = before;
		return refused(error);
	}
	await(pool, job, seq);
	follow(pool, job);
	return SL_OK;
}

void change_fact(struct pool *pool, struct job *job, enum lease_state to, const char *reason)
{
	change_fact_at(pool, job, to, reason, pool_now());
}

void change_fact_at(struct pool *pool, struct job *job, enum lease_state to, const char *reason, struct lease_now at)
{
	sl_error error = { 0 };
	char copy[SL_ERROR_TEXT]; /* reason may be the lease's own */
	snprintf(copy, sizeof copy, "%s", reason ? reason : "");
	if (lease_change(&job->lease, to, at, copy, &error) != SL_OK) {
		log_error("a change was dropped: %s", error.text);
		return;
	}
	if (to == LEASE_QUEUED)
		job->lease.n_places = 0;
	uint64_t seq = job->dirty ? 0 : append(pool, job);
	if (seq) {
		await(pool, job, seq);
	} else if (!job->dirty) {
		job->dirty = true;
		pool->n_dirty++;
		change_later(pool);
	}
	follow(pool, job);
}

void change_retry(struct pool *pool)
{
	for (size_t i = 0; i < pool->n_leases && pool->n_dirty; i++) {
		struct job *job = job_of(pool->leases[i]);
		if (!job->dirty)
			continue;
		uint64_t seq = append(pool, job);
		if (!seq)
			return;
		job->dirty = false;
		pool->n_dirty--;
		await(pool, job, seq);
	}
	uv_timer_stop(&pool->retry);
	mark_retry(pool);
	round_want(pool);
}

void change_committed(struct pool *pool, uint64_t seq)
{
	if (seq > pool->committed)
		pool->committed = seq;
	while (pool->n_pending && pool->pending[pool->pending_first].seq <= pool->committed) {
		struct job *job = pool_job(pool, pool->pending[pool->pending_first].number);
		pool->pending_first = (pool->pending_first + 1) % POOL_PENDING_MAX;
		pool->n_pending--;
		if (job)
			change_act(pool, job);
	}
}

void change_act(struct pool *pool, struct job *job)
{
	if (!change_durable(pool, job))
		return;
	switch (job->lease.state) {
	case LEASE_QUEUED:
		round_want(pool);
		break;
	case LEASE_GRANTED:
		agent_start(pool, job);
		break;
	case LEASE_RELEASING:
		if (!job->stop_sent && pool->agent.ready) {
			job->stop_sent = true;
			agent_stop(pool, job->lease.number, job->notice_ms, job->lease.reason);
		}
		break;
	case LEASE_SUSPENDING:
	case LEASE_RESUMING:
		pause_act(pool, job);
		break;
	default:
		break;
	}
	watch_lease(pool, job);
}

/* Out of the table; watchers have been told, or are gone with it. */
static void drop(struct pool *pool, uint64_t number)
{
	struct job *job = pool_job(pool, number);
	if (!job)
		return;
	size_t i = 0;
	while (pool->leases[i] != &job->lease)
		i++;
	pool->plan_fresh = false;
	memmove(&pool->leases[i], &pool->leases[i + 1], (pool->n_leases - i - 1) * sizeof pool->leases[0]);
	pool->n_leases--;
	budget_release(pool, job);
	lease_clear(&job->lease);
	free(job);
}

/* The end must be durable before the agent may forget it: after a crash it is the only one who knows. */
static bool may_forget(struct pool *pool, const struct ended *ended)
{
	const struct job *job = pool_job(pool, ended->number);
	return !job || change_durable(pool, job);
}

static void forget(struct pool *pool, struct ended *ended)
{
	struct job *job = pool_job(pool, ended->number);
	if (!ended->forgotten)
		agent_forget(pool, ended->number);
	if (job)
		job->known_to_agent = false;
	ended->forgotten = true;
}

static struct ended *ended_at(struct pool *pool, size_t i)
{
	return &pool->ended[(pool->ended_first + i) % pool->ended_room];
}

void change_remember_ended(struct pool *pool, uint64_t number, uint64_t age_ms)
{
	/* The table's bound leaves room for every lease, so this is for leases of others only. */
	if (pool->n_ended < pool->ended_room)
		*ended_at(pool, pool->n_ended++) = (struct ended){ .number = number, .at_mono_ms = pool_now().mono_ms - (int64_t) age_ms };
}

void change_expire(struct pool *pool, struct lease_now now)
{
	while (pool->n_ended > POOL_ENDED_MAX) {
		struct ended *oldest = ended_at(pool, 0);
		const struct job *job = pool_job(pool, oldest->number);
		if (!may_forget(pool, oldest) || (job && job->watchers))
			break;
		forget(pool, oldest);
		drop(pool, oldest->number);
		pool->ended_first = (pool->ended_first + 1) % pool->ended_room;
		pool->n_ended--;
	}
	for (size_t i = 0; i < pool->n_ended; i++) {
		struct ended *ended = ended_at(pool, i);
		if (now.mono_ms - ended->at_mono_ms < POOL_ENDED_MS)
			break;
		if (pool->agent.ready && may_forget(pool, ended))
			forget(pool, ended);
	}
}

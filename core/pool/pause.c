/* SPDX-License-Identifier: Apache-2.0 */
/* pause.c - leases that give way: suspended where their devices' backend can, else ended with notice; and how suspended ones
 * go on.
 *
 * The agent's word decides where a lease is. It tells the outcome by an event, and in its list; a request that it has done
 * already is done again without harm, so whatever was under way when one of us died is asked for once more. */
#include <stdio.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/pool/inner.h"

/* All of its devices' backends must be able to. A replica is not suspended: those who wait for its answers would hang,
 * where another replica could serve them. */
void pause_mark(struct pool *pool)
{
	for (size_t i = 0; i < pool->n_leases; i++) {
		struct job *job = job_of(pool->leases[i]);
		job->lease.suspendable = job->lease.state == LEASE_RUNNING && !job->lease.model[0] && !job->no_suspend;
	}
	for (size_t i = 0; i < pool->devices.n; i++) {
		const struct device *d = &pool->devices.at[i];
		struct job *job = d->lease && !d->suspends ? pool_job(pool, d->lease) : NULL;
		if (job)
			job->lease.suspendable = false;
	}
}

int pause_end(struct pool *pool, struct job *job, const char *reason, sl_error *error)
{
	enum lease_state before = job->lease.final;
	job->lease.final = LEASE_PREEMPTED;
	job->notice_ms = POOL_NOTICE_MS;
	int code = change_decide(pool, job, LEASE_RELEASING, reason[0] ? reason : "gave way to another lease", error);
	if (code != SL_OK)
		job->lease.final = before;
	return code;
}

int pause_want(struct pool *pool, struct job *job, const char *reason, sl_error *error)
{
	if (!job->lease.suspendable)
		return pause_end(pool, job, reason, error);
	return change_decide(pool, job, LEASE_SUSPENDING, reason[0] ? reason : "gives way to another lease", error);
}

/* It stays on its devices: it is ended, as those are who cannot be suspended. */
static void cannot_suspend(struct pool *pool, struct job *job, const char *why)
{
	char reason[SL_ERROR_TEXT];
	snprintf(reason, sizeof reason, "%.120s; it could not be suspended: %.100s", job->lease.reason, why);
	log_warn("L%llu %s", (unsigned long long) job->lease.number, reason);
	job->no_suspend = true;
	job->lease.final = LEASE_PREEMPTED;
	job->notice_ms = POOL_NOTICE_MS;
	change_fact(pool, job, LEASE_RELEASING, reason);
}

/* It is off all devices still, and waits for another try. */
static void cannot_resume(struct pool *pool, struct job *job, const char *why)
{
	char reason[SL_ERROR_TEXT];
	uint64_t wait = POOL_RESUME_MS;
	for (unsigned i = 0; i < job->resumes_failed && wait < POOL_RESUME_MAX_MS; i++)
		wait *= 2;
	job->resumes_failed++;
	job->lease.resume_after_ms = pool_now().wall_ms + (wait < POOL_RESUME_MAX_MS ? wait : POOL_RESUME_MAX_MS);
	snprintf(reason, sizeof reason, "could not go on: %.200s", why);
	log_warn("L%llu %s", (unsigned long long) job->lease.number, reason);
	change_fact(pool, job, LEASE_SUSPENDED, reason);
}

/* Where the lease is, when that is not what we asked for. */
static void failed(struct pool *pool, struct job *job, const char *why)
{
	if (job->lease.state == LEASE_SUSPENDING || job->lease.state == LEASE_SUSPENDED)
		cannot_suspend(pool, job, why);
	else if (job->lease.state == LEASE_RESUMING)
		cannot_resume(pool, job, why);
}

static void on_asked(struct pool *pool, uint64_t number, const json_t *ok, const sl_error *error)
{
	struct job *job = pool_job(pool, number);
	if (ok || !job || error->code == SL_EUNAVAILABLE)
		return; /* the outcome is told by an event, or the next list */
	failed(pool, job, error->text);
}

static void ask(struct pool *pool, struct job *job, bool suspend)
{
	char id[LEASE_ID_MAX];
	lease_id(job->lease.number, id);
	json_t *request = json_pack("{s:s, s:i}", "lease", id, "timeout_ms", POOL_SUSPEND_MS), *devices = json_array();
	for (uint32_t i = 0; i < job->lease.n_places && !suspend; i++)
		json_array_append_new(devices, json_string(job->lease.places[i].uuid));
	if (suspend)
		json_decref(devices);
	else
		json_object_set_new(request, "devices", devices);
	job->pause_sent = agent_call(&pool->agent, suspend ? "suspend" : "resume", request, on_asked, job->lease.number, NULL) == SL_OK;
}

void pause_act(struct pool *pool, struct job *job)
{
	if (pool->agent.ready && !job->pause_sent)
		ask(pool, job, job->lease.state == LEASE_SUSPENDING);
}

static void is_suspended(struct pool *pool, struct job *job, const json_t *entry, const char *why)
{
	struct lease *lease = &job->lease;
	char reason[SL_ERROR_TEXT];
	int64_t run_ms = json_get_int(entry, "run_ms", -1);
	if (lease->state == LEASE_RESUMING && why[0]) {
		cannot_resume(pool, job, why);
		return;
	}
	if (lease->state == LEASE_RUNNING) /* nobody asked for that as far as we know: the agent's word holds */
		change_fact(pool, job, LEASE_SUSPENDING, "");
	if (lease->state != LEASE_SUSPENDING)
		return;
	/* The agent has seen it leave its devices, we have only been told. */
	if (run_ms >= 0) {
		lease->run_ms = (uint64_t) run_ms;
		lease->since_mono_ms = pool_now().mono_ms;
	}
	snprintf(reason, sizeof reason, "%s", lease->reason);
	change_fact(pool, job, LEASE_SUSPENDED, reason);
}

static void is_running(struct pool *pool, struct job *job, const char *why)
{
	switch (job->lease.state) {
	case LEASE_RESUMING:
		job->resumes_failed = 0;
		job->timed = true; /* its run so far stands in its record, and goes on now */
		change_fact(pool, job, LEASE_RUNNING, "");
		break;
	case LEASE_SUSPENDING:
		if (why[0])
			failed(pool, job, why);
		else
			change_act(pool, job); /* it was not asked, or we do not know */
		break;
	case LEASE_SUSPENDED:
		log_warn("L%llu runs where it should be suspended: it is suspended again", (unsigned long long) job->lease.number);
		ask(pool, job, true);
		break;
	default:
		break;
	}
}

/* Neither here nor there: its agent ends it. */
static void is_lost(struct pool *pool, struct job *job, const char *why)
{
	if (job->lease.state == LEASE_SUSPENDING) {
		cannot_suspend(pool, job, why);
	} else if (job->lease.state == LEASE_RESUMING) {
		job->lease.final = LEASE_FAILED;
		job->notice_ms = POOL_NOTICE_MS;
		change_fact(pool, job, LEASE_RELEASING, why);
	}
}

void pause_told(struct pool *pool, struct job *job, const json_t *entry)
{
	const char *state = json_get_str(entry, "state", "");
	const char *why = json_get_str(json_object_get(entry, "error"), "text", "");
	int64_t paused_ms = json_get_int(entry, "paused_ms", 0);
	job->lease.paused_ms = paused_ms > 0 ? (uint64_t) paused_ms : 0;
	if (json_get_str(entry, "event", NULL))
		settle_faults(pool, entry);
	if (strcmp(state, "suspended") == 0)
		is_suspended(pool, job, entry, why);
	else if (strcmp(state, "running") == 0)
		is_running(pool, job, why);
	else if (strcmp(state, "stopping") == 0 && why[0])
		is_lost(pool, job, why);
	else if (strcmp(state, "suspending") == 0 && job->lease.state == LEASE_RUNNING)
		change_fact(pool, job, LEASE_SUSPENDING, "");
}

void pause_tick(struct pool *pool, struct job *job, struct lease_now now)
{
	if (job->lease.state != LEASE_SUSPENDING && job->lease.state != LEASE_RESUMING)
		return;
	if (!job->pause_sent)
		change_act(pool, job);
	else if (job->lease.state == LEASE_SUSPENDING && now.mono_ms - job->lease.since_mono_ms > POOL_SUSPEND_MAX_MS)
		cannot_suspend(pool, job, "its agent does not say what became of it");
}

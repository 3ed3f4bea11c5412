/* SPDX-License-Identifier: Apache-2.0 */
/* settle.c - what the agent says about leases and devices, matched with what we know.
 *
 * On each connection the agent's list decides:
 *   it runs there, we granted it          it runs; its time counts from the agent's start time
 *   it ended there                        it is over, with that exit code
 *   it runs there, we do not know it      it is stopped, and forgotten once it has ended
 *   we granted it, the agent lacks it     the start is sent again; the grant stands
 *   ... and a device of it is gone        it goes back to the queue, in its old place
 *   we thought it ran, the agent lacks it it has failed: the machine lost it
 * Which of the devices a suspended lease has is the agent's word too: pause.c. */
#include <stdio.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/pool/inner.h"

static uint64_t number_of(const json_t *entry)
{
	return lease_number(str_of(json_get_str(entry, "lease", "")));
}

static uint64_t time_of(const json_t *entry, const char *key)
{
	int64_t value = json_get_int(entry, key, 0);
	return value > 0 ? (uint64_t) value : 0;
}

void settle_faulty(struct pool *pool, const struct device *device)
{
	char reason[SL_ERROR_TEXT];
	struct job *job = device->lease ? pool_job(pool, device->lease) : NULL;
	log_warn("device %s is faulty: %s", device->name, device->reason);
	if (!job)
		return;
	snprintf(reason, sizeof reason, "device %s: %.160s", device->name, device->reason);
	if (job->lease.state == LEASE_GRANTED) {
		change_fact(pool, job, LEASE_QUEUED, reason);
	} else if (job->lease.state == LEASE_PREPARED || job->lease.state == LEASE_RUNNING || job->lease.state == LEASE_RESUMING) {
		job->lease.final = LEASE_FAILED;
		job->notice_ms = POOL_NOTICE_MS;
		change_fact(pool, job, LEASE_RELEASING, reason);
	}
}

static struct device *update(struct agent *agent, const json_t *told)
{
	sl_error error = { 0 };
	bool now_faulty;
	struct devices *devices = &agent->pool->devices;
	size_t known = devices->n;
	agent->pool->plan_fresh = false;
	if (devices_update(devices, agent->machine, told, &now_faulty, &error) != SL_OK) {
		log_warn("agent %s: %s", agent->machine, error.text);
		return NULL;
	}
	struct device *device = devices_find(devices, str_of(json_get_str(told, "uuid", "")));
	if (devices->n > known)
		mark_apply(agent->pool, device);
	if (now_faulty) {
		mark_changed(agent->pool, device);
		settle_faulty(agent->pool, device);
	}
	return device;
}

void settle_device(struct agent *agent, const json_t *told)
{
	if (update(agent, told))
		round_want(agent->pool);
}

void settle_devices(struct agent *agent, const json_t *told)
{
	struct devices *devices = &agent->pool->devices;
	bool changed = false;
	size_t i;
	json_t *one;
	/* Those that are not named any more are not there. */
	for (size_t k = 0; k < devices->n; k++) {
		struct device *d = &devices->at[k];
		bool named = false;
		json_array_foreach(told, i, one)
			named = named || strcmp(json_get_str(one, "uuid", ""), d->uuid) == 0;
		if (!named && strcmp(d->machine, agent->machine) == 0) {
			changed = changed || d->present;
			d->present = false;
		}
	}
	json_array_foreach(told, i, one) {
		const struct device *known = devices_find(devices, str_of(json_get_str(one, "uuid", "")));
		uint32_t before = known ? device_state(known) : SL_DEVICE_FAULTY;
		const struct device *d = update(agent, one);
		changed = changed || (d && device_state(d) != before);
	}
	if (changed)
		round_want(agent->pool);
}

void settle_away(struct agent *agent)
{
	struct pool *pool = agent->pool;
	devices_away(&pool->devices, agent->machine);
	pool->plan_fresh = false;
	for (size_t i = 0; i < pool->n_leases; i++) {
		struct job *job = job_of(pool->leases[i]);
		job->start_sent = job->stop_sent = job->pause_sent = job->followed = false;
		if (!lease_state_over(job->lease.state))
			watch_lease(pool, job);
	}
}

void settle_faults(struct pool *pool, const json_t *entry)
{
	size_t i;
	const json_t *one;
	json_array_foreach(json_object_get(entry, "faulty"), i, one) {
		struct device *d = devices_find(&pool->devices, str_of(json_get_str(one, "uuid", "")));
		if (!d)
			continue;
		device_set_faulty(d, json_get_str(one, "reason", "could not be released"));
		mark_changed(pool, d);
		log_warn("device %s is faulty after %s: %s", d->name, json_get_str(entry, "lease", "?"), d->reason);
	}
}

/* The length of a run that we did not see whole comes from the agent's own times. */
static void take_run(struct job *job, const json_t *entry)
{
	struct lease *lease = &job->lease;
	uint64_t started = time_of(entry, "started_ms"), ended = time_of(entry, "ended_ms");
	if (!lease->started_ms)
		lease->started_ms = started;
	lease->paused_ms = time_of(entry, "paused_ms");
	if (!job->timed && started) {
		lease->run_ms = ended > started + lease->paused_ms ? ended - started - lease->paused_ms : 0;
		lease->since_mono_ms = pool_now().mono_ms;
	}
	lease->exit_code = (int) json_get_int(entry, "exit_code", -1);
	lease->signal = (int) json_get_int(entry, "signal", 0);
	lease->oom = json_get_bool(entry, "oom", false);
	lease->memory_peak_bytes = time_of(entry, "memory_peak_bytes");
	lease->output_lost_bytes = time_of(entry, "output_lost_bytes");
}

static enum lease_state final_state(const struct lease *lease, const json_t *entry)
{
	if (lease->final != LEASE_REQUESTED)
		return lease->final;
	uint64_t started = time_of(entry, "started_ms"), ended = time_of(entry, "ended_ms");
	bool limit = strstr(json_get_str(entry, "reason", ""), "time limit") != NULL ||
	             (lease->signal && started && ended >= started && ended - started >= lease->time_ms + time_of(entry, "paused_ms"));
	if (lease->time_ms && limit)
		return LEASE_EXPIRED;
	/* Neither an exit code nor a signal: nobody saw the end, the machine or its supervisor went first. */
	return lease->exit_code < 0 && !lease->signal ? LEASE_FAILED : LEASE_ENDED;
}

static void end_reason(const struct lease *lease, const json_t *entry, enum lease_state to, char out[SL_ERROR_TEXT])
{
	const char *told = json_get_str(entry, "reason", "");
	if (lease->state == LEASE_RELEASING && lease->reason[0])
		snprintf(out, SL_ERROR_TEXT, "%s", lease->reason);
	else if (told[0])
		snprintf(out, SL_ERROR_TEXT, "%.240s", told);
	else if (to == LEASE_EXPIRED)
		snprintf(out, SL_ERROR_TEXT, "time limit of %llu s", (unsigned long long) lease->time_ms / 1000);
	else if (lease->oom)
		snprintf(out, SL_ERROR_TEXT, "out of memory: killed at %llu bytes", (unsigned long long) lease->memory_peak_bytes);
	else if (lease->signal)
		snprintf(out, SL_ERROR_TEXT, "ended by signal %d", lease->signal);
	else
		snprintf(out, SL_ERROR_TEXT, "exit code %d", lease->exit_code);
}

/* What the agent tells as it happens may reach us late: its own time holds, where its clock agrees with ours. */
static struct lease_now told_time(uint64_t wall_ms)
{
	struct lease_now now = pool_now();
	if (wall_ms > now.wall_ms || now.wall_ms - wall_ms > POOL_LATE_MS)
		return now;
	return (struct lease_now){ .wall_ms = wall_ms, .mono_ms = now.mono_ms - (int64_t) (now.wall_ms - wall_ms) };
}

/* When it ended: as told, or, where nobody here has seen the end, whatever the agent's clock says. */
static struct lease_now end_time(const struct lease *lease, const json_t *entry, bool seen)
{
	struct lease_now now = pool_now();
	uint64_t ended = time_of(entry, "ended_ms"), least = lease->started_ms ? lease->started_ms : lease->created_ms;
	if (!ended)
		return now;
	ended = ended < least ? least : ended;
	if (seen)
		return told_time(ended);
	uint64_t ago = ended < now.wall_ms ? now.wall_ms - ended : 0;
	return (struct lease_now){ .wall_ms = now.wall_ms - ago, .mono_ms = now.mono_ms - (int64_t) ago };
}

/* seen: it has just ended, else it is found in the agent's list. */
static void end(struct pool *pool, struct job *job, const json_t *entry, bool seen)
{
	struct lease *lease = &job->lease;
	char reason[SL_ERROR_TEXT];
	if (lease_state_over(lease->state))
		return;
	settle_faults(pool, entry);
	job->known_to_agent = true;
	if (lease->state == LEASE_GRANTED) /* the record of the start was lost with us, the start was not */
		change_fact(pool, job, LEASE_PREPARED, "");
	take_run(job, entry);
	enum lease_state to = final_state(lease, entry);
	end_reason(lease, entry, to, reason);
	if (!lease_may_change(lease->state, to))
		to = LEASE_FAILED;
	change_fact_at(pool, job, to, reason, end_time(lease, entry, seen));
}

void settle_ended(struct agent *agent, const json_t *entry)
{
	struct pool *pool = agent->pool;
	uint64_t number = number_of(entry);
	struct job *job = pool_job(pool, number);
	if (job && job->lease.state != LEASE_QUEUED) {
		end(pool, job, entry, true);
		return;
	}
	settle_faults(pool, entry);
	if (number)
		agent_forget(pool, number);
}

void settle_started(struct pool *pool, uint64_t number, const json_t *ok, const sl_error *error)
{
	char reason[SL_ERROR_TEXT];
	struct job *job = pool_job(pool, number);
	if (!job || (job->lease.state != LEASE_PREPARED && job->lease.state != LEASE_RELEASING))
		return;
	if (ok) {
		uint64_t started = time_of(ok, "started_ms");
		job->lease.started_ms = started ? started : pool_now().wall_ms;
		job->timed = true;
		if (job->lease.state == LEASE_PREPARED)
			change_fact_at(pool, job, LEASE_RUNNING, "", told_time(started));
		else
			job->lease.since_mono_ms = told_time(started).mono_ms;
		return;
	}
	if (!pool->agent.ready)
		return; /* whether it was started stands in the next list */
	if (error->code == SL_ECONFLICT) {
		agent_drop(&pool->agent, "it knows a lease already that it was to start: matching again");
		return;
	}
	job->known_to_agent = false;
	bool called_back = job->lease.state == LEASE_RELEASING && job->lease.final;
	snprintf(reason, sizeof reason, "could not be started: %.200s", error->text);
	change_fact(pool, job, called_back ? job->lease.final : LEASE_FAILED, called_back ? job->lease.reason : reason);
}

static void settle_unknown(struct pool *pool, uint64_t number, const json_t *entry, bool ended)
{
	if (!ended) {
		log_warn("L%llu runs on %s and is not known here: it is stopped", (unsigned long long) number,
		         pool->agent.machine);
		agent_stop(pool, number, POOL_NOTICE_MS, "not known to sluiced");
		return;
	}
	settle_faults(pool, entry);
	for (size_t i = 0; i < pool->n_ended; i++)
		if (pool->ended[(pool->ended_first + i) % pool->ended_room].number == number)
			return;
	if (number <= pool->last_number) {
		change_remember_ended(pool, number, 0); /* of an earlier run: its output stays readable for a while */
		return;
	}
	log_info("L%llu has ended on %s and is not known here: it is forgotten", (unsigned long long) number,
	         pool->agent.machine);
	agent_forget(pool, number);
}

static void settle_runs(struct pool *pool, struct job *job, const json_t *entry)
{
	struct lease *lease = &job->lease;
	uint64_t started = time_of(entry, "started_ms");
	job->known_to_agent = job->start_sent = true;
	switch (lease->state) {
	case LEASE_GRANTED:
		change_fact(pool, job, LEASE_PREPARED, "");
		/* fall through */
	case LEASE_PREPARED:
		lease->started_ms = started;
		change_fact(pool, job, LEASE_RUNNING, "");
		break;
	case LEASE_REQUESTED:
	case LEASE_QUEUED:
		agent_stop(pool, lease->number, POOL_NOTICE_MS, "runs without a grant");
		change_fact(pool, job, LEASE_FAILED, "ran on its machine without a grant: it was stopped");
		return;
	default:
		pause_told(pool, job, entry);
		break;
	}
	if (!job->timed && (lease->state == LEASE_RUNNING || lease->state == LEASE_RELEASING)) {
		lease_ran_since(lease, started ? started : pool_now().wall_ms, time_of(entry, "paused_ms"), pool_now());
		job->timed = true;
	}
	change_act(pool, job);
}

static void settle_missing(struct pool *pool, struct job *job)
{
	char reason[SL_ERROR_TEXT];
	sl_error error = { 0 };
	struct lease *lease = &job->lease;
	bool whole = devices_rebind(&pool->devices, lease, &error) == SL_OK;
	switch (lease->state) {
	case LEASE_GRANTED:
	case LEASE_PREPARED:
		if (!whole)
			change_fact(pool, job, LEASE_QUEUED, error.text);
		else if (lease->state == LEASE_GRANTED)
			change_act(pool, job);
		else
			agent_start(pool, job);
		break;
	case LEASE_RUNNING:
	case LEASE_SUSPENDING:
	case LEASE_SUSPENDED:
	case LEASE_RESUMING:
		snprintf(reason, sizeof reason, "%s does not know it any more: it was started anew, or its records are gone",
		         pool->agent.machine);
		change_fact(pool, job, LEASE_FAILED, reason);
		break;
	case LEASE_RELEASING:
		change_fact(pool, job, lease->final ? lease->final : LEASE_ENDED, lease->reason);
		break;
	default:
		break;
	}
}

void settle_list(struct agent *agent, const json_t *list)
{
	struct pool *pool = agent->pool;
	sl_error error = { 0 };
	size_t i;
	const json_t *entry;
	for (size_t k = 0; k < pool->n_leases; k++) {
		struct job *job = job_of(pool->leases[k]);
		job->start_sent = job->stop_sent = job->pause_sent = job->followed = job->known_to_agent = false;
		if (lease_holds(&job->lease) && devices_rebind(&pool->devices, &job->lease, &error) != SL_OK)
			log_warn("L%llu: %s", (unsigned long long) job->lease.number, error.text);
	}
	pool->plan_fresh = false;
	json_array_foreach(list, i, entry) {
		uint64_t number = number_of(entry);
		struct job *job = pool_job(pool, number);
		bool ended = strcmp(json_get_str(entry, "state", ""), "ended") == 0;
		if (number == 0)
			continue;
		if (job)
			job->known_to_agent = true;
		if (!job || (lease_state_over(job->lease.state) && !ended))
			settle_unknown(pool, number, entry, ended);
		else if (ended)
			end(pool, job, entry, false);
		else
			settle_runs(pool, job, entry);
	}
	/* Backwards: what ends here may leave the table. */
	for (size_t k = pool->n_leases; k-- > 0;) {
		struct job *job = job_of(pool->leases[k]);
		if (!job->known_to_agent)
			settle_missing(pool, job);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* replay.c - arrivals, ends, the clock. */
#include "core/sim/replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "core/base/str.h"
#include "core/sim/replay_inner.h"

enum { EVENT_ARRIVES, EVENT_DUE };
enum { LIMIT_FACTOR = 3, LIMIT_STEP_S = 900, PROGRESS_EVERY = 256 };

struct lease_now replay_now(const struct replay *r)
{
	return (struct lease_now){ REPLAY_EPOCH_MS + (uint64_t) r->now_ms, r->now_ms + 1 };
}

static int no_memory(sl_error *error)
{
	return error_set(error, SL_ENOMEM, "out of memory");
}

/* The place of an open lease, or where it would be. */
static size_t place_of(const struct replay *r, uint64_t number)
{
	size_t low = 0;
	for (size_t high = r->n_open; low < high;) {
		size_t middle = low + (high - low) / 2;
		if (r->open[middle]->number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool due(struct replay *r, struct replay_lease *l, int64_t at_ms)
{
	l->due_ms = at_ms;
	return sim_events_put(&r->events, at_ms, EVENT_DUE, l->job);
}

static void use(struct replay *r, const struct replay_lease *l, int sign)
{
	const struct sim_job *job = &r->setup->trace->jobs[l->job];
	r->used_milli += sign * (int64_t) job->gpus * job->milli;
	r->n_running += (size_t) sign;
}

bool replay_start(struct replay *r, struct replay_lease *l)
{
	uint64_t ran = lease_run_ms(&l->lease, replay_now(r));
	struct replay_job *job = &r->jobs[l->job];
	if (job->started_ms < 0)
		job->started_ms = r->now_ms;
	r->result->starts++;
	use(r, l, 1);
	return due(r, l, r->now_ms + (int64_t) (l->run_ms > ran ? l->run_ms - ran : 0));
}

bool replay_evict(struct replay *r, struct replay_lease *l, const char *reason)
{
	if (l->lease.suspendable) {
		lease_change(&l->lease, LEASE_SUSPENDING, replay_now(r), reason, NULL);
		lease_change(&l->lease, LEASE_SUSPENDED, replay_now(r), reason, NULL);
		devices_free_lease(&r->devices, l->lease.number);
		use(r, l, -1);
		l->due_ms = -1;
		r->result->suspended++;
		return true;
	}
	l->lease.final = LEASE_PREEMPTED;
	lease_change(&l->lease, LEASE_RELEASING, replay_now(r), reason, NULL);
	devices_releasing(&r->devices, l->lease.number);
	r->result->preempted++;
	return due(r, l, r->now_ms + REPLAY_NOTICE_S * 1000);
}

/* What the user would have given: the record's, else a multiple of the run, rounded up. */
static uint64_t limit_ms(const struct sim_job *job)
{
	int64_t s = job->limit_s >= 0 ? job->limit_s : (LIMIT_FACTOR * job->run_s / LIMIT_STEP_S + 1) * LIMIT_STEP_S;
	return (uint64_t) s * 1000;
}

/* Of several models that would do, a lease can name one only: that with the most devices. */
static void choose_kind(const struct replay *r, const struct sim_job *job, struct lease *lease)
{
	size_t best = SIZE_MAX, most = 0, count[SIM_MODELS_MAX] = { 0 };
	for (size_t m = 0; job->models && m < r->setup->trace->n_nodes; m++)
		count[r->machines[m].model] += r->machines[m].devices;
	for (size_t model = 0; job->models && model < r->setup->trace->models.n; model++)
		if (job->models >> model & 1 && (best == SIZE_MAX || count[model] > most)) {
			best = model;
			most = count[model];
		}
	if (best != SIZE_MAX)
		str_copy(lease->kind, sizeof lease->kind, str_of(r->setup->trace->models.at[best]));
}

static struct replay_lease *new_lease(struct replay *r, uint32_t job)
{
	const struct sim_job *j = &r->setup->trace->jobs[job];
	uint32_t queue = r->queue_of[j->queue];
	struct replay_lease *l = calloc(1, sizeof *l);
	if (!l)
		return NULL;
	*l = (struct replay_lease){ .job = job, .due_ms = -1, .lease = {
		.number = ++r->number, .state = LEASE_QUEUED, .wanted = j->gpus, .priority = j->priority, .time_ms = limit_ms(j),
		.preemptible = r->setup->preemptible && r->setup->preemptible[queue], .suspendable = r->setup->suspendable,
		.created_ms = replay_now(r).wall_ms, .since_mono_ms = replay_now(r).mono_ms } };
	l->run_ms = (uint64_t) j->run_s * 1000;
	l->run_ms = l->run_ms < l->lease.time_ms ? l->run_ms : l->lease.time_ms;
	memcpy(l->lease.queue, r->queues[queue].name, sizeof l->lease.queue);
	choose_kind(r, j, &l->lease);
	if (!lease_init(&l->lease)) {
		free(l);
		return NULL;
	}
	return l;
}

static void drop(struct replay *r, struct replay_lease *l)
{
	size_t at = place_of(r, l->lease.number);
	r->jobs[l->job].lease = NULL;
	memmove(&r->open[at], &r->open[at + 1], (r->n_open - at - 1) * sizeof r->open[0]);
	r->n_open--;
	lease_clear(&l->lease);
	free(l);
}

/* False: out of memory. */
static bool submit(struct replay *r, uint32_t job)
{
	if (r->n_open == r->room_open) {
		size_t room = r->room_open ? 2 * r->room_open : 256;
		struct lease **open = realloc(r->open, room * sizeof *open);
		if (!open)
			return false;
		r->open = open;
		r->room_open = room;
	}
	struct replay_lease *l = new_lease(r, job);
	if (!l)
		return false;
	r->open[r->n_open++] = &l->lease;
	r->jobs[job].lease = l;
	r->jobs[job].attempts++;
	if (plan_fits(&r->devices, &r->queues[r->queue_of[r->setup->trace->jobs[job].queue]], &l->lease, NULL) == SL_OK)
		return true;
	r->result->too_large++;
	drop(r, l);
	return true;
}

static bool arrives(struct replay *r, uint32_t job)
{
	const struct sim_job *j = &r->setup->trace->jobs[job];
	r->n_arrived++;
	if (j->gpus == 0) {
		r->result->without_gpu++;
		return true;
	}
	r->result->several_models += __builtin_popcountll(j->models) > 1;
	return submit(r, job);
}

/* Its run or its notice has ended. */
static bool is_over(struct replay *r, struct replay_lease *l)
{
	const struct sim_job *j = &r->setup->trace->jobs[l->job];
	uint32_t job = l->job;
	bool preempted = l->lease.state == LEASE_RELEASING;
	use(r, l, -1);
	devices_free_lease(&r->devices, l->lease.number);
	if (preempted)
		r->result->lost_gpu_s += (int64_t) (lease_device_ms(&l->lease, replay_now(r)) / 1000);
	else
		(*(j->run_s * 1000 > (int64_t) l->run_ms ? &r->result->expired : &r->result->ended))++;
	drop(r, l);
	if (!preempted)
		return true;
	if (r->jobs[job].attempts < REPLAY_ATTEMPTS_MAX)
		return submit(r, job);
	r->result->given_up++;
	return true;
}

static bool happens(struct replay *r, const struct sim_event *e)
{
	struct replay_lease *l = r->jobs[e->job].lease;
	if (e->type == EVENT_ARRIVES)
		return arrives(r, e->job);
	return !l || l->due_ms != e->at || is_over(r, l); /* else it is the end of a run that was cut short */
}

static void tell(const struct replay *r)
{
	const struct replay_progress progress = { .now_s = r->now_ms / 1000, .last_s = r->last_ms / 1000,
		.arrived = r->n_arrived, .jobs = r->setup->trace->n_jobs, .waiting = r->n_open - r->n_running, .running = r->n_running };
	if (r->setup->progress)
		r->setup->progress(r->setup->ctx, &progress);
}

/* The next moment at which something happens, -1: none does. */
static int64_t next_ms(const struct replay *r)
{
	int64_t event = r->events.n ? r->events.heap[0].at : -1;
	return event < 0 || (r->wake_ms >= 0 && r->wake_ms < event) ? r->wake_ms : event;
}

static int go(struct replay *r, sl_error *error)
{
	struct sim_event e;
	int64_t at;
	for (uint64_t moment = 0; (at = next_ms(r)) >= 0; moment++) {
		if (r->setup->until_last && at > r->last_ms)
			at = r->last_ms;
		bool stop = r->setup->until_last && at == r->last_ms && r->n_arrived == r->setup->trace->n_jobs;
		replay_count_until(r, at);
		r->now_ms = at;
		if (stop)
			break;
		r->wake_ms = -1;
		while (r->events.n && r->events.heap[0].at == at && sim_events_next(&r->events, &e))
			if (!happens(r, &e))
				return no_memory(error);
		int code = replay_plan(r, error);
		if (code != SL_OK)
			return code;
		replay_count_now(r);
		if (moment % PROGRESS_EVERY == 0)
			tell(r);
	}
	tell(r);
	return SL_OK;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* Two machines of one name would be one for the scheduler. */
static int check_names(const struct sim_trace *trace, sl_error *error)
{
	const char **names = malloc((trace->n_nodes + 1) * sizeof *names);
	int code = names ? SL_OK : no_memory(error);
	for (size_t i = 0; names && i < trace->n_nodes; i++) {
		names[i] = trace->nodes[i].name;
		if (code == SL_OK && (!names[i][0] || strlen(names[i]) >= SL_NAME_MAX - 16))
			code = error_set(error, SL_EINVAL, "machine '%.80s': a name has 1 to %d bytes", names[i], SL_NAME_MAX - 17);
	}
	if (names)
		qsort(names, trace->n_nodes, sizeof *names, by_name);
	for (size_t i = 1; code == SL_OK && i < trace->n_nodes; i++)
		if (strcmp(names[i - 1], names[i]) == 0)
			code = error_set(error, SL_EINVAL, "two machines are called %s", names[i]);
	free(names);
	return code;
}

static void add_device(struct replay *r, uint32_t machine, uint32_t gpu)
{
	const struct sim_node *node = &r->setup->trace->nodes[machine];
	struct device *d = &r->devices.at[r->devices.n];
	*d = (struct device){ .numa_node = -1, .health = "ok", .present = true, .index = gpu };
	str_copy(d->machine, sizeof d->machine, str_of(node->name));
	str_copy(d->kind, sizeof d->kind, str_of(r->setup->trace->models.at[node->model]));
	snprintf(d->name, sizeof d->name, "%s/gpu%u", d->machine, gpu);
	snprintf(d->uuid, sizeof d->uuid, "%s/gpu%u", d->machine, gpu);
	r->machine_of[r->devices.n++] = machine;
}

static int make_machines(struct replay *r, sl_error *error)
{
	const struct sim_trace *trace = r->setup->trace;
	if (trace->gpus == 0 || trace->gpus > DEVICES_MAX)
		return error_set(error, SL_EINVAL, "the machines have %llu GPUs: 1 to %d are possible", (unsigned long long) trace->gpus,
		                 DEVICES_MAX);
	for (uint32_t i = 0; i < trace->models.n; i++)
		if (strlen(trace->models.at[i]) >= SL_NAME_MAX)
			return error_set(error, SL_EINVAL, "model '%.80s': a name has at most %d bytes", trace->models.at[i], SL_NAME_MAX - 1);
	r->devices = (struct devices){ .at = calloc(trace->gpus, sizeof(struct device)), .room = trace->gpus };
	r->machine_of = calloc(trace->gpus, sizeof *r->machine_of);
	r->machines = calloc(trace->n_nodes + 1, sizeof *r->machines);
	if (!r->devices.at || !r->machine_of || !r->machines)
		return no_memory(error);
	for (uint32_t m = 0; m < trace->n_nodes; m++) {
		r->machines[m] = (struct replay_machine){ trace->nodes[m].model, trace->nodes[m].gpus, trace->nodes[m].gpus };
		for (uint32_t g = 0; g < trace->nodes[m].gpus; g++)
			add_device(r, m, g);
	}
	return check_names(trace, error);
}

static int find_queue(struct replay *r, uint32_t number, sl_error *error)
{
	const char *name = r->setup->trace->queues.at[number];
	for (uint32_t q = 0; q < r->n_queues; q++)
		if (strcmp(r->queues[q].name, name) == 0) {
			r->queue_of[number] = q;
			return SL_OK;
		}
	return error_set(error, SL_EINVAL, "jobs name queue %.80s, which the configuration does not have", name);
}

static int make_queues(struct replay *r, sl_error *error)
{
	const struct replay_setup *s = r->setup;
	const struct sim_names *names = &s->trace->queues;
	int code = SL_OK;
	r->n_queues = s->queues ? s->n_queues : names->n;
	r->queues = calloc(r->n_queues + 1, sizeof *r->queues);
	r->queue_of = calloc(names->n + 1, sizeof *r->queue_of);
	if (!r->queues || !r->queue_of)
		return no_memory(error);
	for (size_t q = 0; q < r->n_queues; q++) {
		r->queues[q] = s->queues ? s->queues[q] : plan_queue_free();
		if (!s->queues && !str_copy(r->queues[q].name, SL_NAME_MAX, str_of(names->at[q])))
			return error_set(error, SL_EINVAL, "queue '%.80s': a name has at most %d bytes", names->at[q], SL_NAME_MAX - 1);
	}
	for (uint32_t q = 0; q < names->n && code == SL_OK; q++)
		code = find_queue(r, q, error);
	r->plan.cohorts = s->cohorts;
	r->plan.n_cohorts = s->n_cohorts;
	return code;
}

static int make_jobs(struct replay *r, sl_error *error)
{
	const struct sim_trace *trace = r->setup->trace;
	r->jobs = calloc(trace->n_jobs + 1, sizeof *r->jobs);
	if (!r->jobs)
		return no_memory(error);
	for (uint32_t i = 0; i < trace->n_jobs; i++) {
		int64_t at = (trace->jobs[i].submit_s - trace->jobs[0].submit_s) * 1000;
		if (at < r->last_ms || trace->jobs[i].run_s < 0)
			return error_set(error, SL_EINVAL, "job %.80s: jobs must have run, and stand in the order of their arrival",
			                 trace->jobs[i].name);
		r->last_ms = at;
		r->jobs[i].started_ms = -1;
		if (!sim_events_put(&r->events, at, EVENT_ARRIVES, i))
			return no_memory(error);
	}
	r->result->jobs = trace->n_jobs;
	return replay_count_setup(r) ? SL_OK : no_memory(error);
}

static void release(struct replay *r)
{
	for (size_t i = 0; i < r->n_open; i++) {
		lease_clear(r->open[i]);
		free(r->open[i]);
	}
	free(r->open);
	plan_free(&r->plan);
	devices_free(&r->devices);
	sim_events_free(&r->events);
	free(r->queues);
	free(r->queue_of);
	free(r->machines);
	free(r->machine_of);
	free(r->jobs);
	free(r->fits);
	free(r);
}

int replay_run(const struct replay_setup *setup, struct replay_result *result, sl_error *error)
{
	struct replay *r = calloc(1, sizeof *r);
	*result = (struct replay_result){ 0 };
	if (!r)
		return no_memory(error);
	r->setup = setup;
	r->result = result;
	r->wake_ms = -1;
	int code = make_machines(r, error);
	if (code == SL_OK)
		code = make_queues(r, error);
	if (code == SL_OK)
		code = make_jobs(r, error);
	if (code == SL_OK)
		code = go(r, error);
	if (code == SL_OK && !replay_count_result(r))
		code = no_memory(error);
	release(r);
	if (code != SL_OK)
		replay_free(result);
	return code;
}

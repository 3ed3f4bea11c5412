/* SPDX-License-Identifier: Apache-2.0 */
/* replay_count.c - the figures of a replay. */
#include <stdlib.h>

#include "core/sim/replay_inner.h"

/* Which job would find place on so many free devices of a model. */
bool replay_count_setup(struct replay *r)
{
	const struct sim_trace *trace = r->setup->trace;
	r->fits = calloc(SIM_MODELS_MAX, sizeof *r->fits);
	if (!r->fits)
		return false;
	for (size_t i = 0; i < trace->n_jobs; i++) {
		const struct sim_job *job = &trace->jobs[i];
		r->n_with_gpu += job->gpus > 0;
		for (uint32_t model = 0; job->gpus && model < trace->models.n; model++)
			if (!job->models || job->models >> model & 1)
				r->fits[model][job->gpus]++;
	}
	for (uint32_t model = 0; model < trace->models.n; model++)
		for (uint32_t n = 1; n <= SIM_GPUS_MAX; n++)
			r->fits[model][n] += r->fits[model][n - 1];
	return true;
}

void replay_count_now(struct replay *r)
{
	r->n_granted = 0;
	r->fragments_now = 0;
	for (size_t m = 0; m < r->setup->trace->n_nodes; m++)
		r->machines[m].free = 0;
	for (size_t d = 0; d < r->devices.n; d++) {
		r->n_granted += r->devices.at[d].lease != 0;
		r->machines[r->machine_of[d]].free += r->devices.at[d].lease == 0;
	}
	for (size_t m = 0; m < r->setup->trace->n_nodes && r->n_with_gpu; m++) {
		const struct replay_machine *machine = &r->machines[m];
		size_t useless = r->n_with_gpu - r->fits[machine->model][machine->free];
		r->fragments_now += (double) machine->free * (double) useless / (double) r->n_with_gpu;
	}
}

void replay_count_until(struct replay *r, int64_t ms)
{
	double passed = (double) (ms - r->counted_ms);
	r->used += (double) r->used_milli / SIM_WHOLE * passed;
	r->granted += (double) r->n_granted * passed;
	r->fragments += r->fragments_now * passed;
	r->counted_ms = ms;
}

static int ascending(const void *a, const void *b)
{
	int64_t x = *(const int64_t *) a, y = *(const int64_t *) b;
	return (x > y) - (x < y);
}

/* The least value that is not exceeded by `percent` of the n sorted ones. */
static int64_t percentile(const int64_t *sorted, size_t n, size_t percent)
{
	size_t at = (n * percent + 99) / 100;
	return n ? sorted[at ? at - 1 : 0] : 0;
}

static bool counts(const struct replay *r, size_t i, uint32_t queue, uint32_t gpus)
{
	const struct sim_job *job = &r->setup->trace->jobs[i];
	return job->gpus && job->gpus >= gpus && (queue == UINT32_MAX || r->queue_of[job->queue] == queue) &&
	       (r->jobs[i].started_ms >= 0 || r->jobs[i].lease);
}

/* Those of the queue (UINT32_MAX: all) with at least so many GPUs. */
static void count_waits(const struct replay *r, uint32_t queue, uint32_t gpus, int64_t *room, struct replay_waits *out)
{
	const struct sim_trace *trace = r->setup->trace;
	for (size_t i = 0; i < trace->n_jobs; i++) {
		if (!counts(r, i, queue, gpus))
			continue;
		int64_t arrived = (trace->jobs[i].submit_s - trace->jobs[0].submit_s) * 1000, started = r->jobs[i].started_ms;
		out->never += started < 0;
		room[out->leases++] = ((started < 0 ? r->now_ms : started) - arrived) / 1000;
	}
	qsort(room, out->leases, sizeof *room, ascending);
	out->p50_s = percentile(room, out->leases, 50);
	out->p90_s = percentile(room, out->leases, 90);
	out->p99_s = percentile(room, out->leases, 99);
}

bool replay_count_result(struct replay *r)
{
	struct replay_result *out = r->result;
	double whole = (double) r->devices.n * (double) r->counted_ms;
	int64_t *room = malloc((r->setup->trace->n_jobs + 1) * sizeof *room);
	out->queues = calloc(r->n_queues + 1, sizeof *out->queues);
	if (!room || !out->queues) {
		free(room);
		return false;
	}
	out->span_s = r->counted_ms / 1000;
	out->used = whole > 0 ? r->used / whole : 0;
	out->granted = whole > 0 ? r->granted / whole : 0;
	out->fragmented = whole > 0 ? r->fragments / whole : 0;
	out->unfinished = r->n_open;
	count_waits(r, UINT32_MAX, 1, room, &out->all);
	count_waits(r, UINT32_MAX, REPLAY_GANG, room, &out->gangs);
	for (uint32_t q = 0; q < r->n_queues; q++) {
		struct replay_waits *waits = &out->queues[out->n_queues];
		count_waits(r, q, 1, room, waits);
		for (uint32_t k = 0; k < r->setup->trace->queues.n && !waits->name; k++)
			if (r->queue_of[k] == q)
				waits->name = r->setup->trace->queues.at[k];
		out->n_queues += waits->leases > 0; /* else the next one takes its place */
		if (!waits->leases)
			*waits = (struct replay_waits){ 0 };
	}
	free(room);
	return true;
}

void replay_free(struct replay_result *result)
{
	free(result->queues);
	*result = (struct replay_result){ 0 };
}

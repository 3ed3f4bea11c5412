/* SPDX-License-Identifier: Apache-2.0 */
/* shape.c - fewer machines, more jobs. */
#include "core/sim/shape.h"

#include <stdlib.h>

#include "core/base/error.h"

uint64_t sim_random(uint64_t *state)
{
	uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static bool same_shape(const struct sim_node *a, const struct sim_node *b)
{
	return a->cpu_milli == b->cpu_milli && a->memory_mib == b->memory_mib && a->gpus == b->gpus && a->model == b->model;
}

bool sim_thin_nodes(struct sim_trace *trace, uint32_t every)
{
	if (every <= 1)
		return true;
	struct sim_node *const nodes = trace->nodes;
	uint32_t *seen = calloc(trace->n_nodes + 1, sizeof *seen); /* by the first kept of a shape: so many of it */
	size_t kept = 0;
	if (!seen)
		return false;
	trace->gpus = 0;
	for (size_t i = 0; i < trace->n_nodes; i++) {
		size_t first = 0;
		while (first < kept && !same_shape(&nodes[first], &nodes[i]))
			first++;
		if (seen[first]++ % every)
			continue;
		trace->gpus += nodes[i].gpus;
		nodes[kept++] = nodes[i];
	}
	trace->n_nodes = kept;
	free(seen);
	return true;
}

static int by_arrival(const void *a, const void *b)
{
	const struct sim_job *x = a, *y = b;
	return x->submit_s != y->submit_s ? (x->submit_s < y->submit_s ? -1 : 1) : (x->order > y->order) - (x->order < y->order);
}

static uint32_t times(const struct sim_job *job, int64_t end, const struct sim_copies *copies)
{
	uint32_t n = job->run_s < 0 ? 0 : job->end_s == end ? copies->services : copies->jobs;
	return job->run_s >= 0 && n == 0 ? 1 : n;
}

int sim_thicken(struct sim_trace *trace, const struct sim_copies *copies, size_t *left_out, sl_error *error)
{
	int64_t end = -1;
	uint64_t random = copies->seed;
	size_t all = 0, n = 0;
	for (size_t i = 0; i < trace->n_jobs; i++)
		end = trace->jobs[i].end_s > end ? trace->jobs[i].end_s : end;
	for (size_t i = 0; i < trace->n_jobs; i++)
		all += times(&trace->jobs[i], end, copies);
	if (all > SIM_ROWS_MAX)
		return error_set(error, SL_EFULL, "%zu jobs with their copies are too many: at most %d", all, SIM_ROWS_MAX);
	struct sim_job *jobs = malloc((all + 1) * sizeof *jobs);
	if (!jobs)
		return error_set(error, SL_ENOMEM, "out of memory for %zu jobs", all);
	*left_out = 0;
	for (size_t i = 0; i < trace->n_jobs; i++) {
		*left_out += trace->jobs[i].run_s < 0;
		for (uint32_t c = 0, k = times(&trace->jobs[i], end, copies); c < k; c++) {
			jobs[n] = trace->jobs[i];
			jobs[n].order = (uint32_t) n;
			if (c && copies->shift_s > 0)
				jobs[n].submit_s += (int64_t) (sim_random(&random) % (uint64_t) copies->shift_s);
			n++;
		}
	}
	qsort(jobs, n, sizeof *jobs, by_arrival);
	free(trace->jobs);
	trace->jobs = jobs;
	trace->n_jobs = n;
	trace->room_jobs = all + 1;
	return SL_OK;
}

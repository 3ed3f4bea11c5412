/* SPDX-License-Identifier: Apache-2.0 */
/* bench_placement.c - how much of a cluster each placement rule can allocate. Run by hand:
 *
 *   bench_placement NODES.csv JOBS.csv [SEEDS]
 *
 * The protocol of the published study of fragmentation: the jobs are shuffled, random copies are appended until the
 * demand for GPUs is 130% of what there is, they arrive one after the other and never leave; what does not fit is
 * refused. Three mixes: the list as it is; a third of the jobs bound to one model; half of the demand in gangs of 2 to
 * 8. Models and gangs of the last two are drawn, not recorded. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/sim/shape.h"
#include "tests/bench/bench_trace.h"
#include "tests/bench/placement_rules.h"

enum { DEMAND_PERCENT = 130, KINDS_MAX = 8192, GANG_CPU = 8000, GANG_MEMORY = 32768 };
enum mix { MIX_LIST, MIX_BOUND, MIX_GANGS, MIXES };
static const char *const mix_names[MIXES] = { "the list as it is", "a third bound to a model", "half in gangs of 2 to 8" };

/* One sequence of arrivals, as numbers of kinds. */
struct arrivals {
	struct sim_job kinds[KINDS_MAX];
	double shares[KINDS_MAX];
	uint32_t n_kinds;
	uint32_t *at;
	size_t n, room;
	int64_t demand, gang_demand;
};

struct result {
	double full[2]; /* percent allocated when 100% and 130% have arrived */
	double us;      /* a decision */
};

static void append(struct arrivals *a, const struct sim_job *job)
{
	uint32_t k = 0;
	for (; k < a->n_kinds; k++) {
		const struct sim_job *o = &a->kinds[k];
		if (o->cpu_milli == job->cpu_milli && o->memory_mib == job->memory_mib && o->models == job->models &&
		    o->gpus == job->gpus && o->milli == job->milli)
			break;
	}
	if (k == KINDS_MAX)
		bench_fail("too many kinds of jobs");
	if (k == a->n_kinds)
		a->kinds[a->n_kinds++] = *job;
	if (a->n == a->room && !(a->at = realloc(a->at, (a->room = a->room * 2 + 4096) * sizeof *a->at)))
		bench_fail("out of memory");
	a->at[a->n++] = k;
	a->shares[k]++;
	a->demand += (int64_t) job->gpus * job->milli;
	a->gang_demand += job->gpus > 1 ? (int64_t) job->gpus * job->milli : 0;
}

/* A model that has a machine for the job, by how many GPUs there are of it. */
static void bind_model(const struct sim_trace *trace, struct sim_job *job, uint64_t *random)
{
	for (int tries = 0; tries < 100; tries++) {
		const struct sim_node *node = &trace->nodes[sim_random(random) % trace->n_nodes];
		if (sim_random(random) % 8 < node->gpus && node->gpus >= job->gpus && node->cpu_milli >= job->cpu_milli &&
		    node->memory_mib >= job->memory_mib) {
			job->models = UINT64_C(1) << node->model;
			return;
		}
	}
}

static void draw(const struct sim_trace *trace, enum mix mix, uint64_t seed, struct arrivals *a)
{
	uint64_t random = seed;
	int64_t wanted = (int64_t) trace->gpus * SIM_WHOLE / 100 * DEMAND_PERCENT;
	size_t *order = calloc(trace->n_jobs, sizeof *order);
	if (!order)
		bench_fail("out of memory");
	for (size_t i = 0; i < trace->n_jobs; i++) {
		size_t k = sim_random(&random) % (i + 1);
		order[i] = order[k];
		order[k] = i;
	}
	for (size_t i = 0; a->demand < wanted; i++) {
		struct sim_job job = trace->jobs[i < trace->n_jobs ? order[i] : sim_random(&random) % trace->n_jobs];
		if (mix == MIX_BOUND && job.gpus && sim_random(&random) % 3 == 0)
			bind_model(trace, &job, &random);
		if (mix == MIX_GANGS && a->gang_demand < a->demand - a->gang_demand) {
			job.gpus = 2 + (uint32_t) (sim_random(&random) % 7);
			job.milli = SIM_WHOLE;
			job.models = 0;
			job.cpu_milli = (int64_t) job.gpus * GANG_CPU;
			job.memory_mib = (int64_t) job.gpus * GANG_MEMORY;
		}
		append(a, &job);
	}
	for (uint32_t k = 0; k < a->n_kinds; k++)
		a->shares[k] /= (double) a->n;
	free(order);
}

static struct result run_once(const struct sim_trace *trace, const struct arrivals *a, enum rule rule, uint64_t seed)
{
	struct sim_cluster cluster;
	struct result result = { 0 };
	int64_t arrived = 0, milestone = 0;
	if (!sim_cluster_init(&cluster, trace->nodes, trace->n_nodes))
		bench_fail("out of memory");
	struct rules *rules = rules_new(rule, &cluster, a->kinds, a->shares, a->n_kinds, 0.1, seed);
	if (!rules)
		bench_fail("out of memory");
	uint64_t start = clock_mono_ns();
	for (size_t i = 0; i < a->n; i++) {
		const struct sim_job *job = &a->kinds[a->at[i]];
		struct sim_place place = { 0 };
		sl_error error = { 0 };
		rules_arrived(rules, a->at[i]);
		arrived += (int64_t) job->gpus * job->milli;
		if (rules_choose(rules, a->at[i], &place)) {
			if (sim_cluster_take(&cluster, job, place, &error) != SL_OK)
				bench_fail(error.text);
			rules_changed(rules, place.machine);
		}
		double full = 100.0 * (double) (cluster.gpu_milli - cluster.gpu_milli_free) / (double) cluster.gpu_milli;
		if (milestone == 0 && arrived >= cluster.gpu_milli) {
			result.full[0] = full;
			milestone = 1;
		}
		result.full[1] = full;
	}
	result.us = (double) (clock_mono_ns() - start) / 1000 / (double) a->n;
	rules_free(rules);
	sim_cluster_free(&cluster);
	return result;
}

static void table(const struct sim_trace *trace, enum mix mix, unsigned seeds)
{
	struct result sum[RULES] = { 0 };
	double least[RULES], most[RULES];
	struct arrivals *a = calloc(1, sizeof *a);
	if (!a)
		bench_fail("out of memory");
	for (unsigned seed = 1; seed <= seeds; seed++) {
		memset(a->shares, 0, sizeof a->shares);
		a->n = a->n_kinds = 0;
		a->demand = a->gang_demand = 0;
		draw(trace, mix, seed, a);
		for (int r = 0; r < RULES; r++) {
			struct result one = run_once(trace, a, (enum rule) r, seed);
			sum[r].full[0] += one.full[0] / seeds;
			sum[r].full[1] += one.full[1] / seeds;
			sum[r].us += one.us / seeds;
			least[r] = seed == 1 ? one.full[1] : fmin(least[r], one.full[1]);
			most[r] = seed == 1 ? one.full[1] : fmax(most[r], one.full[1]);
		}
		fprintf(stderr, "\r%s: %u of %u", mix_names[mix], seed, seeds);
	}
	fprintf(stderr, "\n");
	printf("%s; %u seeds, %% of %llu GPUs allocated\n%-10s %8s %8s %16s %10s\n", mix_names[mix], seeds,
	       (unsigned long long) trace->gpus, "rule", "at 100%", "at 130%", "least..most", "us a job");
	for (int r = 0; r < RULES; r++)
		printf("%-10s %8.2f %8.2f %8.2f..%-6.2f %10.1f\n", rule_names[r], sum[r].full[0], sum[r].full[1], least[r],
		       most[r], sum[r].us);
	free(a->at);
	free(a);
}

int main(int argc, char **argv)
{
	struct sim_trace trace = { 0 };
	if (argc < 3 || argc > 4) {
		fprintf(stderr, "usage: bench_placement NODES.csv JOBS.csv [SEEDS]\n");
		return 2;
	}
	unsigned seeds = argc == 4 ? (unsigned) strtoul(argv[3], NULL, 10) : 10;
	bench_load(&trace, argv[1], argv[2]);
	for (int mix = 0; mix < MIXES; mix++)
		table(&trace, (enum mix) mix, seeds ? seeds : 1);
	sim_trace_free(&trace);
	return 0;
}

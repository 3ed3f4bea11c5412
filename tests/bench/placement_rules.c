/* SPDX-License-Identifier: Apache-2.0 */
/* placement_rules.c - random, first fit, best fit, FGD (fragmentation gradient descent, built from its public
 * description: the machine whose expected fragments grow least), and the placement of the fair scheduler. */
#include "tests/bench/placement_rules.h"

#include <math.h>
#include <stdlib.h>

#include "core/sim/shape.h"
#include "plugins/scheduler/fair/placement.h"

const char *const rule_names[RULES] = { "random", "first fit", "best fit", "FGD", "ours" };

/* What a machine is worth to a kind, as long as it has not changed. */
struct kept {
	uint32_t version; /* of the machine; 0: never looked */
	uint16_t level;
	bool fits;
	double cost;
};

struct rules {
	enum rule rule;
	const struct sim_cluster *cluster;
	const struct sim_job *kinds;
	const double *shares;
	uint32_t n_kinds;
	uint32_t *versions;
	struct kept *kept; /* kinds x machines */
	int64_t most_cpu, most_gpus;
	struct placement *placement;
	uint8_t *barred;
	uint64_t random;
};

static struct placement_request request_of(const struct sim_job *job)
{
	return (struct placement_request){ job->cpu_milli, job->memory_mib, job->models, job->gpus, job->milli };
}

void rules_changed(struct rules *r, uint32_t machine)
{
	const struct sim_machine *m = &r->cluster->machines[machine];
	r->versions[machine]++;
	if (r->placement)
		placement_set(r->placement, machine, &(struct placement_machine){ m->cpu_milli, m->memory_mib, m->model,
		              m->gpus, m->free });
}

void rules_arrived(struct rules *r, uint32_t kind)
{
	struct placement_request request = request_of(&r->kinds[kind]);
	if (r->placement)
		placement_learn(r->placement, &request);
}

struct rules *rules_new(enum rule rule, const struct sim_cluster *cluster, const struct sim_job *kinds,
                        const double *shares, uint32_t n_kinds, double gang_weight, uint64_t seed)
{
	struct placement_terms terms = PLACEMENT_TERMS;
	struct rules *r = calloc(1, sizeof *r);
	if (!r)
		return NULL;
	terms.gang_weight = gang_weight;
	*r = (struct rules){ .rule = rule, .cluster = cluster, .kinds = kinds, .shares = shares, .n_kinds = n_kinds,
	                     .random = seed };
	r->versions = calloc(cluster->n_machines, sizeof *r->versions);
	r->kept = calloc((size_t) n_kinds * cluster->n_machines, sizeof *r->kept);
	r->barred = calloc(cluster->n_machines, 1);
	r->placement = rule == RULE_OURS ? placement_new(&terms) : NULL;
	if (!r->versions || !r->kept || !r->barred || (rule == RULE_OURS && !r->placement)) {
		rules_free(r);
		return NULL;
	}
	for (uint32_t i = 0; i < cluster->n_machines; i++) {
		const struct sim_machine *m = &cluster->machines[i];
		r->most_cpu = m->cpu_milli > r->most_cpu ? m->cpu_milli : r->most_cpu;
		r->most_gpus = m->gpus > r->most_gpus ? m->gpus : r->most_gpus;
		rules_changed(r, i);
	}
	return r;
}

void rules_free(struct rules *r)
{
	if (!r)
		return;
	placement_free(r->placement);
	free(r->versions);
	free(r->kept);
	free(r->barred);
	free(r);
}

/* Free thousandths that a typical job could not use: all where it cannot run, else those of GPUs too small for it. */
static double fragments(const struct rules *r, const struct sim_machine *m)
{
	double all = 0;
	for (uint32_t k = 0; k < r->n_kinds; k++) {
		const struct sim_job *job = &r->kinds[k];
		uint32_t lost = 0;
		if (!sim_machine_fits(m, job) || job->gpus == 0)
			lost = m->free_sum;
		else
			for (uint32_t g = 0; g < m->gpus; g++)
				lost += m->free[g] < job->milli ? m->free[g] : 0;
		all += r->shares[k] * lost;
	}
	return all;
}

static uint32_t tightest(const struct sim_machine *m, const struct sim_job *job)
{
	uint32_t level = SIM_WHOLE;
	for (uint32_t g = 0; g < m->gpus; g++)
		if (m->free[g] >= job->milli && m->free[g] < level)
			level = m->free[g];
	return level;
}

static void after(const struct sim_machine *before, const struct sim_job *job, uint32_t level, struct sim_machine *m)
{
	uint64_t gpus;
	*m = *before;
	sim_machine_pick(m, job, level, &gpus);
	m->cpu_milli -= job->cpu_milli;
	m->memory_mib -= job->memory_mib;
	m->free_sum -= job->gpus * job->milli;
	for (uint32_t g = 0; g < m->gpus; g++)
		if (gpus >> g & 1)
			m->free[g] = (uint16_t) (m->free[g] - job->milli);
}

/* Growth of the fragments through a sigmoid to whole percents, as published; the best level of a share. */
static void cost_fgd(const struct rules *r, const struct sim_machine *m, const struct sim_job *job, struct kept *out)
{
	double now = fragments(r, m);
	struct sim_machine then;
	out->cost = INFINITY;
	bool share = job->gpus == 1 && job->milli < SIM_WHOLE;
	for (uint32_t g = 0; g < (share ? m->gpus : 1); g++) {
		uint32_t level = share ? m->free[g] : SIM_WHOLE;
		if (level < job->milli)
			continue;
		after(m, job, level, &then);
		double score = floor(100 / (1 + exp((fragments(r, &then) - now) / 1000)));
		if (-score < out->cost) {
			out->cost = -score;
			out->level = (uint16_t) level;
		}
	}
}

static void look(struct rules *r, const struct sim_machine *m, const struct sim_job *job, struct kept *out)
{
	out->fits = sim_machine_fits(m, job);
	out->cost = 0;
	if (!out->fits)
		return;
	out->level = (uint16_t) (job->gpus == 1 ? tightest(m, job) : SIM_WHOLE);
	if (r->rule == RULE_FGD)
		cost_fgd(r, m, job, out);
	else if (r->rule == RULE_BEST_FIT)
		out->cost = (double) (m->cpu_milli - job->cpu_milli) / (double) r->most_cpu +
		            (double) (m->free_sum - job->gpus * job->milli) / (double) (r->most_gpus * SIM_WHOLE);
}

/* Ours. */
static bool choose_placement(struct rules *r, const struct sim_job *job, uint32_t barred, struct sim_place *place)
{
	struct placement_request request = request_of(job);
	struct placement_choice choice;
	if (barred != UINT32_MAX)
		r->barred[barred] = 1;
	bool found = placement_choose(r->placement, &request, r->barred, &choice);
	if (barred != UINT32_MAX)
		r->barred[barred] = 0;
	if (!found)
		return false;
	*place = (struct sim_place){ .machine = choice.machine };
	return sim_machine_pick(&r->cluster->machines[choice.machine], job, choice.level, &place->gpus);
}

bool rules_choose_without(struct rules *r, uint32_t kind, uint32_t barred, struct sim_place *place)
{
	const struct sim_job *job = &r->kinds[kind];
	uint32_t best = UINT32_MAX, level = 0, fitting = 0;
	double cost = 0;
	if (r->placement)
		return choose_placement(r, job, barred, place);
	for (uint32_t i = 0; i < r->cluster->n_machines; i++) {
		struct kept *k = &r->kept[(size_t) kind * r->cluster->n_machines + i];
		if (k->version != r->versions[i]) {
			look(r, &r->cluster->machines[i], job, k);
			k->version = r->versions[i];
		}
		if (!k->fits || i == barred)
			continue;
		fitting++;
		bool better = r->rule == RULE_RANDOM ? sim_random(&r->random) % fitting == 0 : k->cost < cost;
		if (best == UINT32_MAX || better) {
			best = i;
			cost = k->cost;
			level = k->level;
			if (r->rule == RULE_FIRST_FIT)
				break;
		}
	}
	if (best == UINT32_MAX)
		return false;
	place->machine = best;
	return sim_machine_pick(&r->cluster->machines[best], job, level, &place->gpus);
}

bool rules_choose(struct rules *r, uint32_t kind, struct sim_place *place)
{
	return rules_choose_without(r, kind, UINT32_MAX, place);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* cluster.c - what is free on each machine; nothing is given twice. */
#include "core/sim/cluster.h"

#include <stdlib.h>

#include "core/base/error.h"

bool sim_cluster_init(struct sim_cluster *cluster, const struct sim_node *nodes, size_t n)
{
	*cluster = (struct sim_cluster){ .n_machines = (uint32_t) n };
	cluster->machines = calloc(n ? n : 1, sizeof *cluster->machines);
	if (!cluster->machines)
		return false;
	for (size_t i = 0; i < n; i++) {
		struct sim_machine *m = &cluster->machines[i];
		*m = (struct sim_machine){ .cpu_milli = nodes[i].cpu_milli, .memory_mib = nodes[i].memory_mib,
			.model = nodes[i].model, .gpus = nodes[i].gpus, .free_sum = nodes[i].gpus * SIM_WHOLE };
		for (uint32_t g = 0; g < m->gpus; g++)
			m->free[g] = SIM_WHOLE;
		cluster->gpu_milli += m->free_sum;
	}
	cluster->gpu_milli_free = cluster->gpu_milli;
	return true;
}

void sim_cluster_free(struct sim_cluster *cluster)
{
	free(cluster->machines);
	*cluster = (struct sim_cluster){ 0 };
}

bool sim_machine_fits(const struct sim_machine *m, const struct sim_job *job)
{
	if (m->cpu_milli < job->cpu_milli || m->memory_mib < job->memory_mib)
		return false;
	if (job->gpus == 0)
		return true;
	if ((job->models && !(job->models >> m->model & 1)) || m->free_sum < job->gpus * job->milli)
		return false;
	uint32_t found = 0;
	for (uint32_t g = 0; g < m->gpus && found < job->gpus; g++)
		found += m->free[g] >= job->milli;
	return found == job->gpus;
}

bool sim_machine_pick(const struct sim_machine *m, const struct sim_job *job, uint32_t level, uint64_t *gpus)
{
	uint32_t found = 0;
	*gpus = 0;
	for (uint32_t g = 0; g < m->gpus && found < job->gpus; g++)
		if (m->free[g] == level) {
			*gpus |= UINT64_C(1) << g;
			found++;
		}
	return found == job->gpus;
}

static int check(const struct sim_cluster *cluster, const struct sim_job *job, struct sim_place place, sl_error *error)
{
	if (place.machine >= cluster->n_machines)
		return error_set(error, SL_EINVAL, "%s: there is no machine %u", job->name, place.machine);
	const struct sim_machine *m = &cluster->machines[place.machine];
	if ((uint32_t) __builtin_popcountll(place.gpus) != job->gpus)
		return error_set(error, SL_EINVAL, "%s wants %u GPUs and would get %d", job->name, job->gpus,
		                 __builtin_popcountll(place.gpus));
	if (m->cpu_milli < job->cpu_milli || m->memory_mib < job->memory_mib)
		return error_set(error, SL_EFULL, "%s does not fit on machine %u: cpu or memory", job->name, place.machine);
	if (job->gpus && job->models && !(job->models >> m->model & 1))
		return error_set(error, SL_EINVAL, "%s must not have the model of machine %u", job->name, place.machine);
	for (uint32_t g = 0; g < SIM_GPUS_MAX; g++)
		if (place.gpus >> g & 1 && (g >= m->gpus || m->free[g] < job->milli))
			return error_set(error, SL_EFULL, "%s: GPU %u of machine %u is not free enough", job->name, g, place.machine);
	return SL_OK;
}

static void add(struct sim_cluster *cluster, const struct sim_job *job, struct sim_place place, int sign)
{
	struct sim_machine *m = &cluster->machines[place.machine];
	int64_t width = sign * (int64_t) job->gpus * job->milli;
	m->cpu_milli += sign * job->cpu_milli;
	m->memory_mib += sign * job->memory_mib;
	m->free_sum = (uint32_t) (m->free_sum + width);
	cluster->gpu_milli_free += width;
	for (uint32_t g = 0; g < m->gpus; g++)
		if (place.gpus >> g & 1)
			m->free[g] = (uint16_t) (m->free[g] + sign * (int) job->milli);
}

int sim_cluster_take(struct sim_cluster *cluster, const struct sim_job *job, struct sim_place place, sl_error *error)
{
	int code = check(cluster, job, place, error);
	if (code == SL_OK)
		add(cluster, job, place, -1);
	return code;
}

void sim_cluster_give(struct sim_cluster *cluster, const struct sim_job *job, struct sim_place place)
{
	add(cluster, job, place, 1);
}

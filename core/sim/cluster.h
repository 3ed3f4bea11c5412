/* SPDX-License-Identifier: Apache-2.0 */
/* cluster.h - machines in virtual time and what is free on them. Pure. */
#ifndef CORE_SIM_CLUSTER_H
#define CORE_SIM_CLUSTER_H

#include "core/sim/trace.h"

struct sim_machine {
	int64_t cpu_milli, memory_mib; /* free */
	uint32_t model, gpus;
	uint32_t free_sum;             /* milli */
	uint16_t free[SIM_GPUS_MAX];   /* milli of each GPU */
};

/* Which GPUs of which machine. */
struct sim_place {
	uint32_t machine;
	uint64_t gpus; /* bit G: GPU G */
};

/* Zero-initialised is empty and valid. */
struct sim_cluster {
	struct sim_machine *machines;
	uint32_t n_machines;
	int64_t gpu_milli;      /* capacity */
	int64_t gpu_milli_free;
};

/* False: out of memory. */
bool sim_cluster_init(struct sim_cluster *cluster, const struct sim_node *nodes, size_t n);
void sim_cluster_free(struct sim_cluster *cluster);

/* Could the job start on the machine as it is? */
bool sim_machine_fits(const struct sim_machine *machine, const struct sim_job *job);
/* Which GPUs those are with exactly `level` free, the first `job->gpus` of them. False: there are not so many. */
bool sim_machine_pick(const struct sim_machine *machine, const struct sim_job *job, uint32_t level, uint64_t *gpus);
/* Takes the place. On an error, which says what is missing, nothing has changed. */
int sim_cluster_take(struct sim_cluster *cluster, const struct sim_job *job, struct sim_place place, sl_error *error);
/* Gives back what the job has taken there. */
void sim_cluster_give(struct sim_cluster *cluster, const struct sim_job *job, struct sim_place place);

#endif

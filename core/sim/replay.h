/* SPDX-License-Identifier: Apache-2.0 */
/* replay.h - a recorded cluster and its jobs, in virtual time, through a scheduler plugin and the core's own checks.
 *
 *   replay.c        arrivals, ends, the clock
 *   replay_round.c  planning rounds: the view, the plugin's answer, what follows from it
 *   replay_count.c  figures
 *
 * What sluice does with leases holds here too: devices are whole (a job that wants a part of a GPU has one for itself), a
 * gang is on one machine, cpu and host memory are not asked for, jobs without a GPU do not wait. A lease that was
 * preempted has lost its work; it is asked for again at once. Starting takes no time. Pure but for what the plugin does. */
#ifndef CORE_SIM_REPLAY_H
#define CORE_SIM_REPLAY_H

#include <sluice/scheduler.h>

#include "core/lease/plan.h"
#include "core/sim/trace.h"

enum {
	REPLAY_GANG = 4,            /* GPUs from which on waits are counted apart */
	REPLAY_NOTICE_S = 30,       /* a lease that must give way uses all of its notice */
	REPLAY_ATTEMPTS_MAX = 100   /* a job that was preempted so often is not asked for again */
};

/* How far it is. */
struct replay_progress {
	int64_t now_s, last_s; /* since the first arrival; of the last arrival */
	size_t arrived, jobs, waiting, running;
};

struct replay_setup {
	const struct sim_trace *trace; /* jobs in the order of their arrival */
	const sl_scheduler_ops *scheduler;
	void *scheduler_self;
	const struct plan_queue *queues; /* those of a configuration; NULL: the trace's, owed nothing */
	const bool *preemptible;         /* parallel: may its leases be evicted; NULL: none */
	size_t n_queues;
	const struct plan_cohort *cohorts;
	size_t n_cohorts;
	bool suspendable;    /* who gives way is suspended and loses nothing */
	bool until_last;     /* stop at the last arrival */
	/* Called now and then; may be NULL. */
	void (*progress)(void *ctx, const struct replay_progress *progress);
	void *ctx;
};

/* Seconds until the first start; who never started has waited until the end. The p-th percentile is the least wait that
 * is not exceeded by p% of the leases. */
struct replay_waits {
	const char *name; /* of the queue; borrowed from trace or setup */
	size_t leases, never;
	int64_t p50_s, p90_s, p99_s;
};

/* Zero-initialised is empty and valid. */
struct replay_result {
	size_t jobs, without_gpu, too_large, several_models; /* the last were bound to the model of which there is most */
	int64_t span_s;              /* first arrival to the end of the simulation */
	/* Parts of all GPU time. used: what jobs asked for; granted: the devices that they had for it; fragmented: free, but of
	 * no use on its machine to a job drawn at random from those with a GPU. */
	double used, granted, fragmented;
	struct replay_waits all, gangs, *queues; /* queues: owned, n_queues of them */
	size_t n_queues;
	size_t starts, ended, expired, preempted, suspended, resumed, moved, promoted, given_up, unfinished;
	int64_t lost_gpu_s;          /* run time x devices of what was preempted */
	size_t rounds, refused;      /* refused: actions that broke an invariant */
	char refusal[SL_ERROR_TEXT]; /* the first of those */
};

/* SL_OK; SL_EINVAL: machines or queues do not go together, with a sentence; SL_ENOMEM; or what the scheduler says. */
int replay_run(const struct replay_setup *setup, struct replay_result *result, sl_error *error);
void replay_free(struct replay_result *result);

#endif

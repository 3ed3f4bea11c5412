/* SPDX-License-Identifier: Apache-2.0 */
/* replay_inner.h - what the files of a replay share. */
#ifndef CORE_SIM_REPLAY_INNER_H
#define CORE_SIM_REPLAY_INNER_H

#include "core/sim/events.h"
#include "core/sim/replay.h"

enum { REPLAY_ACTIONS_MAX = 256, REPLAY_ROUNDS_MAX = 64 }; /* of a round; of a moment */
#define REPLAY_EPOCH_MS UINT64_C(1000000000000) /* Unix time of the first arrival; no time in a lease may be 0 */

struct replay_job {
	struct replay_lease *lease; /* NULL: not there yet, or over */
	int64_t started_ms;         /* its first start, -1: none yet */
	uint32_t attempts;
};

struct replay_lease {
	struct lease lease; /* the first member: struct lease * leads here */
	uint32_t job;
	uint64_t run_ms;    /* so long it runs in all */
	int64_t due_ms;     /* its end, or that of its notice; -1: nothing is due */
};

struct replay_machine {
	uint32_t model, devices, free;
};

struct replay {
	const struct replay_setup *setup;
	struct replay_result *result;
	struct plan plan;
	struct devices devices;
	struct plan_queue *queues;    /* owned */
	size_t n_queues;
	uint32_t *queue_of;           /* by the trace's queues */
	struct replay_machine *machines;
	uint32_t *machine_of;         /* by device */
	struct replay_job *jobs;
	struct lease **open;          /* in the order of their numbers */
	size_t n_open, room_open;
	uint64_t number;
	struct sim_events events;
	int64_t now_ms, counted_ms, last_ms; /* since the first arrival; last: the last arrival */
	int64_t wake_ms;              /* -1: never */
	size_t n_arrived;
	/* Figures. */
	int64_t used_milli;           /* what those ask for who have devices */
	size_t n_granted, n_running;  /* devices; leases */
	double fragments_now;         /* devices */
	double used, granted, fragments; /* devices x ms */
	size_t (*fits)[SIM_GPUS_MAX + 1]; /* by model and free devices: so many jobs would find place */
	size_t n_with_gpu;
	sl_action actions[REPLAY_ACTIONS_MAX];
};

struct lease_now replay_now(const struct replay *r);
static inline struct replay_lease *replay_lease_of(struct lease *lease)
{
	return (struct replay_lease *) lease;
}

/* replay.c. It runs from now on (again); it must go within its notice. False: out of memory. */
bool replay_start(struct replay *r, struct replay_lease *l);
bool replay_evict(struct replay *r, struct replay_lease *l, const char *reason);

/* replay_round.c: rounds until the scheduler has no more to say now. */
int replay_plan(struct replay *r, sl_error *error);

/* replay_count.c */
bool replay_count_setup(struct replay *r);
void replay_count_until(struct replay *r, int64_t ms);
void replay_count_now(struct replay *r); /* who has which devices has changed */
bool replay_count_result(struct replay *r);

#endif

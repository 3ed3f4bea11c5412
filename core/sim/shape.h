/* SPDX-License-Identifier: Apache-2.0 */
/* shape.h - makes a recorded cluster smaller and its load thicker, the same way every time. Pure. */
#ifndef CORE_SIM_SHAPE_H
#define CORE_SIM_SHAPE_H

#include "core/sim/trace.h"

/* Keeps the first, and from there every `every`-th, machine of each shape (cpu, memory, GPUs, model). 0 and 1: all.
 * False: out of memory. */
bool sim_thin_nodes(struct sim_trace *trace, uint32_t every);

struct sim_copies {
	uint32_t jobs;     /* how often each job comes, 1: once */
	uint32_t services; /* the same for jobs that end only with the record */
	int64_t shift_s;   /* copies come later by less than this, at random */
	uint64_t seed;
};

/* Leaves out the jobs without a recorded run, since nobody knows how long they would have run; repeats the others; and
 * sorts by arrival. *left_out: how many were. SL_EFULL: more than SIM_ROWS_MAX; SL_ENOMEM. Then nothing has changed. */
int sim_thicken(struct sim_trace *trace, const struct sim_copies *copies, size_t *left_out, sl_error *error);

/* The next number of a stream that starts with any *state. */
uint64_t sim_random(uint64_t *state);

#endif

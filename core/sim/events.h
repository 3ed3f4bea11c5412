/* SPDX-License-Identifier: Apache-2.0 */
/* events.h - what happens next: a heap of times. Equal times come in the order in which they were put. Pure. */
#ifndef CORE_SIM_EVENTS_H
#define CORE_SIM_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim_event {
	int64_t at;
	uint64_t order;
	uint32_t type, job; /* the caller's */
};

/* Zero-initialised is empty and valid. */
struct sim_events {
	struct sim_event *heap;
	size_t n, room;
	uint64_t put; /* so many so far */
};

/* False: out of memory. */
bool sim_events_put(struct sim_events *events, int64_t at, uint32_t type, uint32_t job);
/* The earliest, taken out. False: there is none. */
bool sim_events_next(struct sim_events *events, struct sim_event *out);
void sim_events_free(struct sim_events *events);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* placement_private.h - what the files of the placement share. */
#ifndef PLUGINS_SCHEDULER_FAIR_PLACEMENT_PRIVATE_H
#define PLUGINS_SCHEDULER_FAIR_PLACEMENT_PRIVATE_H

#include "plugins/scheduler/fair/placement.h"

enum {
	STREAMS = 24,
	STREAM_LENGTH = 512,       /* then it begins anew */
	ESTIMATE_FIRST = 32,       /* requests after which values are estimated first; then after twice as many ... */
	ESTIMATE_EVERY = 1024,     /* ... and from here on after so many */
	REMEMBERED = 8192,         /* counts are halved when they have reached this sum */
	OPTIONS_PER_STATE = 8
};
#define NO_ID UINT32_MAX

/* Requests that are alike are of one type. */
struct type {
	struct placement_request request;
	uint32_t count;
};

/* Demand bound to the same models. */
struct bound {
	uint64_t models;
	double demand;
};

/* What is typical, as last estimated. */
struct mix {
	struct type *types;
	uint32_t n_types, max_types;
	uint32_t *slots, n_slots;      /* open addressing: index of the type + 1 */
	uint32_t *tickets;             /* types in proportion to their counts, scratch */
	uint64_t counted, since, next; /* sum of counts; requests since the estimate; estimate after so many */
	uint16_t stream[STREAMS][STREAM_LENGTH];
	bool known;                    /* there are streams */
	struct gang {
		uint32_t type;
		double share;              /* of all demand for devices */
	} *gangs;
	uint32_t n_gangs;
	struct bound *bounds;
	uint32_t n_bounds;
	double total;                  /* demand, milli */
	uint64_t random;
};

/* What a machine has free; used-up devices are left out. */
struct shape {
	int64_t cpu_milli, memory;
	uint32_t model, n;
	uint32_t free_sum;
	uint16_t free[PLACEMENT_DEVICES_MAX]; /* ascending */
};

bool mix_init(struct mix *mix, uint32_t max_types);
void mix_free(struct mix *mix);
uint32_t mix_find(const struct mix *mix, const struct placement_request *request);
/* NO_ID: there are too many already. */
uint32_t mix_intern(struct mix *mix, const struct placement_request *request);
/* True: values were estimated anew, types have other numbers. */
bool mix_learn(struct mix *mix, const struct placement_request *request);

/* Does it fit, and at which place of shape->free does the tightest share stand? */
static inline bool shape_fits(const struct shape *s, const struct placement_request *r)
{
	if (s->cpu_milli < r->cpu_milli || s->memory < r->memory)
		return false;
	if (r->devices == 0)
		return true;
	if (r->models && !(r->models >> s->model & 1))
		return false;
	if (s->n < r->devices || s->free[s->n - r->devices] < r->milli)
		return false;
	return r->milli < PLACEMENT_WHOLE || s->free[s->n - r->devices] == PLACEMENT_WHOLE;
}
/* Takes the request off; it fits. For a share `level` is the free part of the device to take it from. */
void shape_take(struct shape *s, const struct placement_request *r, uint32_t level);

double shape_fill(const struct shape *s, const struct mix *mix);
double shape_gangs(const struct shape *s, const struct mix *mix);

#endif

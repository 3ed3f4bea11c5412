/* SPDX-License-Identifier: Apache-2.0 */
/* fair.h - what the files of this scheduler share.
 *
 *   fair.c   the plugin: options, memory, plan and explain
 *   serve.c  a round: who is next, claims, borrowing, backfill
 *   place.c  where a lease fits, what is kept free for whom, who gives way at least cost
 *   pool.c   the view as the placement (placement.h) sees it
 *   width.c  what queues have and may have, their shares over time */
#ifndef PLUGINS_SCHEDULER_FAIR_FAIR_H
#define PLUGINS_SCHEDULER_FAIR_FAIR_H

#include <sluice/scheduler.h>

#include "plugins/scheduler/fair/placement.h"

enum { DEAD_MAX = 64 };   /* shapes of requests that are known to find no free place in a round */
enum { MASKED_MAX = 10 }; /* victims on one machine of which every subset is tried; above, the cheapest go first */

/* What decides about a waiting lease's place in the order. */
struct turn {
	int64_t priority; /* the queue's, then the lease's */
	uint64_t since_ms;
	uint32_t index;   /* into view.waiting, behind them into sleepers */
	uint32_t next;    /* of the same queue, in order; SL_NONE: the last */
};

/* Kept free on a machine for a lease that could not start. */
struct reserve {
	uint64_t at_ms;   /* it can start then; what ends before may run here. UINT64_MAX: nobody knows when */
	uint32_t spare;   /* devices that it will not need */
	int used;
};

struct queue {
	int64_t nominal, borrowed; /* widths in this round */
	uint32_t first;            /* its next turn, SL_NONE: none */
	uint32_t examined;         /* behind its head */
	int stopped;               /* nobody of it is granted any more */
	int blocked;               /* its head waits: who follows is backfill */
	int32_t yields_priority;   /* what `yields` was counted for, at so many actions */
	size_t yields_at;
	int64_t yields;            /* -1: not counted */
	double history;            /* decayed use, as a part of the pool */
};

/* A queue or cohort: see core's docs/internals/leases.md; node i is queue i, then cohorts. */
struct node {
	uint32_t parent;
	int64_t own, kept, used, borrow;
};

struct past {
	char name[SL_NAME_MAX];
	double used;
	uint64_t last_used_ms, last_ms;
};

/* A request that nothing free can hold: within a round free devices only become fewer. */
struct dead {
	struct placement_request request;
	uint64_t memory_bytes, time_limit_ms;
	uint32_t kind;
	int any_kind, none; /* none: no model suits */
};

/* A kind of devices with one size of memory, by its place: the placement's model. */
struct model {
	char name[SL_NAME_MAX];
	uint64_t memory_bytes;
	uint32_t kind; /* its number in this view; SL_NONE: it has no name */
	int seen;      /* this view has such devices */
};

/* The devices of one model on one machine; the index is the placement's machine. */
struct pair {
	uint32_t machine;
	struct pair_state {
		int64_t cpu_milli, memory;
		uint32_t model, n_devices, n_free;
	} now, told; /* told: what the placement knows */
};

/* A suspended lease that wants to go on, as one that waits: for its machine only, and for devices of the kind that it had. */
struct sleeper {
	sl_view_lease lease;
	sl_view_lease_terms terms;
	uint32_t machine;
};

/* Grows with the view and stays. Freed by close. */
struct fair {
	uint64_t half_life_ms;
	uint32_t backfill;

	const sl_view *view;
	struct turn *turns;
	struct sleeper *sleepers;
	uint32_t n_sleepers;
	uint32_t pinned;           /* the only machine for the lease that is looked at; SL_NONE: any will do */
	struct queue *queues;
	struct node *nodes;
	struct past *past;         /* parallel to the queues of the last round */
	size_t n_past;
	uint32_t *machine_first;   /* CSR: devices by machine; one more than machines */
	uint32_t *machine_devices;
	struct reserve *reserves;  /* by machine */
	uint32_t *reserved;        /* machines with a reserve */
	uint32_t n_reserved;
	struct dead dead[DEAD_MAX];
	uint32_t n_dead;
	uint32_t *runner;          /* by device: index into view.running, SL_NONE: nobody */
	uint8_t *taken;            /* by device: given away in this round */
	uint8_t *leaving;          /* by running lease: gives way in this round */
	uint8_t *promoted;         /* by running lease */
	uint32_t *chosen;          /* devices of the actions, one after the other */
	size_t n_chosen, room_chosen;
	struct placement *placement;
	uint64_t learned;          /* leases up to this number are */
	struct model models[PLACEMENT_MODELS_MAX];
	uint32_t n_models;
	struct pair *pairs;
	uint32_t n_pairs, n_told;  /* told: pairs that the placement knows, of the last round too */
	uint32_t *machine_pairs;   /* the machine's first pair; one more than machines */
	uint32_t *device_model;    /* SL_NONE: there are too many models */
	int64_t *cpu_free, *memory_free; /* by machine, less what this round has granted; PLACEMENT_UNKNOWN: not counted */
	uint8_t *barred;           /* by pair; all 0 between choices */
	int partial;               /* the placement cannot see all: where it finds nothing, something may still fit */
	size_t turns_room, sleepers_room, queues_room, nodes_room, devices_room, running_room;

	sl_action *out;
	size_t n, room;
	uint64_t why_number;       /* explain: whose reason is wanted, 0: nobody's */
	char *why;
	size_t why_room;
};

/* What the queue would have beyond its quota with one more lease of that width; 0 or less: none. */
int64_t width_excess(const struct fair *f, uint32_t queue, int64_t width);
int64_t fair_width(const sl_view_lease *lease);
int64_t fair_priority(const sl_view *view, const sl_view_lease *lease);

/* width.c */
void width_setup(struct fair *f);
void width_add(struct fair *f, uint32_t queue, int borrowed, int64_t width);
int64_t width_available(const struct fair *f, uint32_t queue); /* for one more borrowed lease */
int64_t width_most(const struct fair *f, uint32_t queue);      /* of a lease that the limits would ever let borrow */
double width_share(const struct fair *f, uint32_t queue);
void width_remember(struct fair *f); /* once a plan: what queues have used */

/* place.c */
struct spot {
	uint32_t *devices;  /* in f->chosen, room for what the lease wants */
	uint32_t machine;
	uint64_t cost;      /* device-milliseconds of work that are lost */
	uint32_t victims;
	uint64_t soonest_ms; /* nowhere now: a minimum run time in the way passes then, 0: none is */
};
void place_setup(struct fair *f);
/* May it use devices of a machine on which something may be kept for another? */
int place_allowed(const struct fair *f, const sl_view_lease *lease, uint32_t m);
/* Free devices for it; 0: none. */
int place_free(struct fair *f, const sl_view_lease *lease, const sl_view_lease_terms *terms, struct spot *spot);
/* Devices whose holders may be evicted for it, at the least cost; borrows: it would not be nominal. */
int place_evict(struct fair *f, const sl_view_lease *lease, const sl_view_lease_terms *terms, int borrows,
                struct spot *spot);
/* Keeps a machine for it: where it fits soonest. 0: no machine could ever hold it, or all are kept already. */
int place_reserve(struct fair *f, const sl_view_lease *lease, const sl_view_lease_terms *terms, uint64_t at_ms,
                  struct reserve *out);
void place_count(const struct fair *f, const sl_view_lease *lease, const sl_view_lease_terms *terms, uint32_t *most_free,
                 uint32_t *most, uint32_t *all_free);

/* pool.c */
void pool_setup(struct fair *f);
/* The leases that are new become part of what is typical. */
void pool_learn(struct fair *f);
/* All that decides where the lease fits. */
struct dead pool_shape(const struct fair *f, const sl_view_lease *lease, const sl_view_lease_terms *terms);
/* The machine where it costs the pool least, and of which model to take its devices. 0: there is none. */
int pool_choose(struct fair *f, const sl_view_lease *lease, const struct dead *shape, uint32_t *machine, uint32_t *model);
/* The lease gets these n devices, of one machine. */
void pool_take(struct fair *f, const sl_view_lease_terms *terms, const uint32_t *devices, uint32_t n);

/* serve.c */
void serve_round(struct fair *f);

#endif

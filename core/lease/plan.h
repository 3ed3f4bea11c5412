/* SPDX-License-Identifier: Apache-2.0 */
/* plan.h - what the scheduler sees, and the invariants that its answer is held to. Pure.
 *
 *   plan.c       the view
 *   plan_check.c the checks
 *   plan_why.c   why a lease waits, in the core's own words */
#ifndef CORE_LEASE_PLAN_H
#define CORE_LEASE_PLAN_H

#include <sluice/scheduler.h>

#include "core/base/index.h"
#include "core/lease/cohort.h"
#include "core/lease/device.h"
#include "core/lease/lease.h"

enum { PLAN_HOLD_MS = 120000 }; /* a hold that has not led to a grant by then is dropped */

/* A queue as the configuration has it. In whole devices, milliseconds. */
struct plan_queue {
	char name[SL_NAME_MAX];
	int32_t priority;
	int32_t nominal;     /* what it is owed */
	int32_t borrow;      /* more than that at most, -1: no limit */
	int32_t lend;        /* of its nominal at most, -1: all */
	uint32_t cohort;     /* index, SL_NONE: none */
	uint32_t weight;     /* 1 or more */
	uint32_t flags;      /* enum sl_queue_flag */
	int32_t per_user;    /* devices that one user may have in it, -1: no bound */
	uint64_t min_run_ms;
};

struct plan_cohort {
	char name[SL_NAME_MAX];
	uint32_t parent; /* index, SL_NONE: the pool */
	int32_t nominal, borrow, lend;
};

/* A queue without terms: owed nothing, it takes what is free. */
static inline struct plan_queue plan_queue_free(void)
{
	return (struct plan_queue){ .borrow = -1, .lend = -1, .cohort = SL_NONE, .weight = 1, .per_user = -1,
	                            .flags = SL_QUEUE_PREEMPT_OWN | SL_QUEUE_RECLAIM | SL_QUEUE_PREEMPT_OTHERS };
}

/* Device-milliseconds of a queue since we began to count. */
struct plan_usage {
	char name[SL_NAME_MAX];
	int64_t width;
	uint64_t used_ms, rest; /* rest: thousandths of a device-millisecond */
};

/* Leases of one kind as the view has them, parallel arrays. */
struct plan_leases {
	struct lease **at; /* in the order of their numbers */
	sl_view_lease *view;
	sl_view_lease_terms *terms;
	size_t n;
};

/* One round. The arrays are kept between rounds; zero-initialised is empty and valid. The view is only what the
 * scheduler reads: the checks look at the leases and devices themselves. */
struct plan {
	const struct plan_cohort *cohorts; /* set by the owner, borrowed until the next build */
	size_t n_cohorts;
	bool count_users;                  /* some queue bounds its users */

	sl_view view;
	struct lease_now now;
	struct devices *devices;
	struct plan_leases waiting, running, suspended;
	size_t room_leases;
	uint64_t later_ms; /* Unix time: somebody may be resumed again then who is not in the view now, 0: nobody */
	sl_view_device *view_devices;
	sl_view_device_terms *device_terms;
	sl_view_machine *machines;
	struct index machine_index; /* by name */
	uint32_t *kinds;  /* the first device of each */
	uint32_t *places;
	size_t n_machines, n_kinds, room_devices, room_places;
	struct plan_queue *queues; /* those of the configuration, then removed ones that leases are still in, owed nothing */
	sl_view_queue *view_queues;
	sl_view_queue_terms *queue_terms;
	int64_t *nominal, *borrowed; /* widths, parallel to queues; follow the round's actions */
	int32_t *used;               /* devices, with those of leases that are leaving */
	size_t n_queues, room_queues;
	struct cohort_node *nodes;   /* queues, then cohorts */
	struct cohort_tree tree;
	sl_view_cohort *view_cohorts;
	size_t room_cohorts;
	sl_view_user *users;
	size_t n_users, room_users;
	struct plan_usage *usage;    /* by the configuration's queues */
	size_t n_usage;
	uint64_t counted_ms;         /* by the monotonic clock */
	uint64_t wake_ms;            /* Unix time at which time alone changes what can be done, 0: never */
	struct lease **victims;      /* of the hold that was right last: who gives way for it */
	size_t n_victims;
};

/* leases: `n` of them in the order of their numbers, borrowed until the next build; those that are over or want no
 * device are left out. Holds that have expired, or whose devices or leases are not there any more, end. False: out of
 * memory. */
bool plan_build(struct plan *plan, struct devices *devices, const struct plan_queue *queues, size_t n_queues,
                struct lease *const *leases, size_t n, struct lease_now now);
void plan_free(struct plan *plan);

/* Is the action right, after those of this round that were right before it? On SL_OK *lease is whom it is about, and
 *   GRANT, RESUME     the devices are its own from now on
 *   HOLD              they are held for it; plan->victims are to be asked to give way
 *   PREEMPT, SUSPEND  it is to be asked to give way
 *   MOVE              it has the new ones: by who can do that
 *   PROMOTE           its label has changed
 * Everything else is a sentence and leaves all as it was. */
int plan_check(struct plan *plan, const sl_action *action, struct lease **lease, sl_error *error);
/* A grant, hold or resumption that was right could not be written down: as if it had not been. After a hold of which some victims
 * have been asked, build anew. */
void plan_undo(struct plan *plan, struct lease *lease);

/* Why the lease waits, as far as the core can say: one line for a person. */
void plan_why(const struct plan *plan, const struct lease *lease, char text[SL_ERROR_TEXT]);

/* Could it ever start? SL_OK, also while no device is known yet; else SL_EINVAL with the largest that could. Devices
 * that are faulty, drained or away count: they may come back. */
int plan_fits(const struct devices *devices, const struct plan_queue *queue, const struct lease *lease, sl_error *error);

/* For the files of the plan. */
struct lease *plan_find(const struct plan_leases *leases, uint64_t number);
size_t plan_queue_index(const struct plan *plan, const char *name); /* n_queues: none */
int64_t plan_width(const struct lease *lease);
/* The queue's priority, then the lease's, as one number. */
int64_t plan_priority(const struct plan *plan, size_t queue, const struct lease *lease);
/* Unix time until which it need not give way, 0: it has no devices. */
uint64_t plan_safe_until(const struct plan *plan, size_t queue, const struct lease *lease);

#endif

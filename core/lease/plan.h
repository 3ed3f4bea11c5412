/* SPDX-License-Identifier: Apache-2.0 */
/* plan.h - what the scheduler sees, and the invariants that its answer is held to. Pure. */
#ifndef CORE_LEASE_PLAN_H
#define CORE_LEASE_PLAN_H

#include <sluice/scheduler.h>

#include "core/lease/device.h"
#include "core/lease/lease.h"

/* A queue as the configuration has it. */
struct plan_queue {
	char name[SL_NAME_MAX];
	int32_t quota; /* devices, -1: no bound */
	int32_t priority;
};

/* One round. The arrays are kept between rounds; zero-initialised is empty and valid. The view is only what the
 * scheduler reads: the checks look at the leases and devices themselves. */
struct plan {
	sl_view view;
	struct devices *devices;
	struct lease **waiting, **running; /* parallel to the view's, both in the order of their numbers */
	size_t n_waiting, n_running, room_leases;
	sl_view_device *view_devices;
	size_t room_devices;
	sl_view_queue *view_queues; /* those of the configuration, then removed ones that leases are still in, quota 0 */
	size_t n_queues, room_queues;
	int32_t *used;              /* parallel to view_queues; grows with the round's grants */
	sl_view_lease *view_waiting, *view_running;
};

/* leases: `n` of them in the order of their numbers, borrowed until the next build; those that are over or want no
 * device are left out. False: out of memory. */
bool plan_build(struct plan *plan, struct devices *devices, const struct plan_queue *queues, size_t n_queues,
                struct lease *const *leases, size_t n, struct lease_now now);
void plan_free(struct plan *plan);

/* Is the action right, after those of this round that were right before it? On SL_OK *lease is whom it is about, and
 * for a grant the devices are its own from now on (what devices_free_lease undoes). Everything else is a sentence and
 * leaves all as it was. */
int plan_check(struct plan *plan, const sl_action *action, struct lease **lease, sl_error *error);
/* A grant that was right could not be written down: as if it had not been. */
void plan_undo(struct plan *plan, struct lease *lease);

/* Why the lease waits, as far as the core can say: one line for a person. */
void plan_why(const struct plan *plan, const struct lease *lease, char text[SL_ERROR_TEXT]);

/* Could it ever start? SL_OK, also while no device is known yet; else SL_EINVAL with the largest that could. Devices
 * that are faulty, drained or away count: they may come back. */
int plan_fits(const struct devices *devices, const struct plan_queue *queue, const struct lease *lease, sl_error *error);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* plan_check.c - the invariants that a scheduler's answer is held to.
 *
 * Every lease that has devices or a hold is nominal or borrowed. A claim (a waiting lease that its queue's nominal covers)
 * may take devices from borrowed leases and from less urgent ones of its own queue; a borrower only from less urgent
 * borrowers. Beside these rules the potential must rise: nominal width by priority, highest first; then borrowed width by
 * priority; then the borrowed shares of the queues, sorted, which must fall. It has finitely many values, so between two
 * events from outside only finitely many actions can be right, whatever a scheduler wants. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/str.h"
#include "core/lease/plan.h"

#define NUMBER(LEASE) ((unsigned long long) (LEASE)->number)

static int64_t *label_width(struct plan *p, size_t queue, const struct lease *lease)
{
	return lease->borrowed ? &p->borrowed[queue] : &p->nominal[queue];
}

/* The lease's width counts with its queue (sign 1), or not any more (-1). */
static void count_width(struct plan *p, size_t queue, const struct lease *lease, int sign)
{
	*label_width(p, queue, lease) += sign * plan_width(lease);
	cohort_use(&p->tree, (uint32_t) queue, sign * plan_width(lease));
}

static int64_t nominal_room(const struct plan *p, size_t queue)
{
	return (int64_t) p->queues[queue].nominal * 1000 - p->nominal[queue];
}

static sl_view_user *bounded_user(struct plan *p, const struct lease *lease, size_t queue)
{
	for (size_t i = 0; p->queues[queue].per_user >= 0 && i < p->n_users; i++)
		if (p->users[i].queue == queue && strcmp(p->users[i].name, lease->user) == 0)
			return &p->users[i];
	return NULL;
}

/* The label that the lease gets once everybody who gives way for it has gone, or why it can get none. */
static int choose_label(struct plan *p, const sl_action *a, const struct lease *lease, size_t queue, bool *borrowed,
                        sl_error *error)
{
	int64_t width = plan_width(lease), room = nominal_room(p, queue);
	const struct plan_queue *q = &p->queues[queue];
	const sl_view_user *user = lease->hold_until_ms ? NULL : bounded_user(p, lease, queue);
	if (user && user->used_milli + width > (int64_t) user->quota * 1000)
		return error_set(error, SL_ELIMIT, "L%llu would take user %s to %lld devices in queue %s: %d are allowed", NUMBER(lease),
		                 lease->user, (long long) (user->used_milli + width) / 1000, lease->queue, user->quota);
	int64_t have = p->nominal[queue] + p->borrowed[queue];
	if (q->borrow >= 0 && have + width > ((int64_t) q->nominal + q->borrow) * 1000)
		return error_set(error, SL_ELIMIT, "L%llu would take queue %s to %lld devices, its quota is %d", NUMBER(lease),
		                 lease->queue, (long long) (have + width) / 1000, q->nominal + q->borrow);
	*borrowed = (a->type & SL_ACTION_BORROWED) || width > room;
	if (!*borrowed)
		return SL_OK;
	if (a->type & SL_ACTION_NOMINAL)
		return error_set(error, SL_ELIMIT, "L%llu is no nominal lease: %lld of the %d nominal devices of queue %s are in use",
		                 NUMBER(lease), (long long) p->nominal[queue] / 1000, q->nominal, lease->queue);
	int64_t available = cohort_available(&p->tree, (uint32_t) queue);
	if (width > available)
		return error_set(error, SL_ELIMIT, "L%llu cannot borrow for queue %s: others lend %lld more devices, it wants %u",
		                 NUMBER(lease), lease->queue, (long long) (available > 0 ? available : 0) / 1000, lease->wanted);
	return SL_OK;
}

static void settle_label(struct plan *p, struct lease *lease, size_t queue, bool borrowed)
{
	sl_view_user *user = bounded_user(p, lease, queue);
	lease->borrowed = borrowed;
	count_width(p, queue, lease, 1);
	if (user)
		user->used_milli += plan_width(lease);
}

static void lift_label(struct plan *p, struct lease *lease, size_t queue)
{
	sl_view_user *user = bounded_user(p, lease, queue);
	count_width(p, queue, lease, -1);
	if (user)
		user->used_milli -= plan_width(lease);
}

/* A lease that waits and has nothing, or SL_ENOTFOUND, SL_ECONFLICT. */
static int find_waiting(struct plan *p, const sl_action *a, struct lease **out, size_t *queue, sl_error *error)
{
	unsigned long long number = a->lease;
	struct lease *lease = *out = plan_find(&p->waiting, a->lease);
	if (!lease)
		return plan_find(&p->running, a->lease)
		       ? error_set(error, SL_ECONFLICT, "L%llu has its devices already", number)
		       : error_set(error, SL_ENOTFOUND, "no lease L%llu waits", number);
	if (lease->state != LEASE_QUEUED || lease->n_places)
		return error_set(error, SL_ECONFLICT, "L%llu is %s%s: it does not wait", number, lease_state_name(lease->state),
		                 lease->n_places ? " and has its devices" : "");
	if (a->n_devices && !a->devices)
		return error_set(error, SL_EINVAL, "the grant for L%llu names no devices", number);
	*queue = plan_queue_index(p, lease->queue);
	return SL_OK;
}

/* A suspended lease goes on where it was: on its machine, on devices of the kind that it had. */
static int find_suspended(struct plan *p, const sl_action *a, struct lease **out, size_t *queue, sl_error *error)
{
	struct lease *lease = *out = plan_find(&p->suspended, a->lease);
	if (!lease || lease->state != LEASE_SUSPENDED)
		return error_set(error, SL_ENOTFOUND, "no lease L%llu is suspended", (unsigned long long) a->lease);
	if (!a->n_devices || !a->devices)
		return error_set(error, SL_EINVAL, "L%llu is to go on on no devices", NUMBER(lease));
	const struct device *was = devices_find(p->devices, str_of(lease->places[0].uuid));
	for (uint32_t i = 0; i < a->n_devices; i++) {
		const struct device *d = a->devices[i] < p->devices->n ? &p->devices->at[a->devices[i]] : NULL;
		if (!was || !d || strcmp(was->machine, d->machine) != 0 || strcmp(was->kind, d->kind) != 0)
			return error_set(error, SL_ECONFLICT, "L%llu was suspended on %s: it goes on there only, on devices of that kind",
			                 NUMBER(lease), lease->places[0].name);
	}
	*queue = plan_queue_index(p, lease->queue);
	return SL_OK;
}

static int check_grant(struct plan *p, const sl_action *a, struct lease **out, sl_error *error)
{
	size_t queue;
	bool borrowed;
	if (find_waiting(p, a, out, &queue, error) != SL_OK)
		return error->code;
	struct lease *lease = *out;
	bool held = lease->hold_until_ms != 0;
	if (!held && choose_label(p, a, lease, queue, &borrowed, error) != SL_OK)
		return error->code;
	int code = devices_grant(p->devices, lease, a->devices, a->n_devices, error);
	if (code != SL_OK || held) /* the label of a hold stays as it is */
		return code;
	settle_label(p, lease, queue, borrowed);
	p->used[queue] += (int32_t) lease->wanted;
	return SL_OK;
}

static int too_soon(struct plan *p, size_t queue, const struct lease *lease, sl_error *error)
{
	uint64_t safe = plan_safe_until(p, queue, lease);
	if (safe <= p->now.wall_ms)
		return SL_OK;
	return error_set(error, SL_EDENIED, "L%llu need not give way before it has run for %llu s: %llu s are left", NUMBER(lease),
	                 (unsigned long long) p->queues[queue].min_run_ms / 1000,
	                 (unsigned long long) (safe - p->now.wall_ms + 999) / 1000);
}

/* May `taker`, which would be nominal or borrowed, evict this one? */
static int may_evict(struct plan *p, const struct lease *taker, size_t taker_queue, bool borrows, const struct lease *victim,
                     sl_error *error)
{
	size_t queue = plan_queue_index(p, victim->queue);
	uint32_t flags = p->queues[taker_queue].flags;
	bool own = queue == taker_queue;
	if (victim->state != LEASE_RUNNING)
		return error_set(error, SL_ENOTFOUND, "L%llu is %s: it cannot give way", NUMBER(victim), lease_state_name(victim->state));
	if (!borrows && victim->borrowed && (own ? victim->priority <= taker->priority : (flags & SL_QUEUE_RECLAIM) != 0))
		return too_soon(p, queue, victim, error);
	if (!victim->preemptible)
		return error_set(error, SL_EDENIED, "L%llu is not preemptible", NUMBER(victim));
	if (!victim->borrowed && (borrows || !own))
		return error_set(error, SL_EDENIED, "L%llu is within what queue %s is owed: L%llu cannot evict it", NUMBER(victim),
		                 victim->queue, NUMBER(taker));
	if (!(flags & (own ? SL_QUEUE_PREEMPT_OWN : SL_QUEUE_PREEMPT_OTHERS)))
		return error_set(error, SL_EDENIED, "queue %s may not preempt: L%llu stays", taker->queue, NUMBER(victim));
	bool urgent = own ? victim->priority < taker->priority
	                  : plan_priority(p, queue, victim) <= plan_priority(p, taker_queue, taker);
	if (!urgent)
		return error_set(error, SL_EDENIED, "L%llu is as urgent as L%llu: it does not give way", NUMBER(victim), NUMBER(taker));
	return too_soon(p, queue, victim, error);
}

/* The change of width at the highest priority below `below` at which something changes, of nominal or borrowed leases.
 * INT64_MIN as the priority: there is none. */
struct change {
	int64_t priority, width;
};

static struct change next_change(const struct plan *p, const struct lease *taker, bool borrows, struct lease *const *victims,
                                 size_t n, bool of_borrowed, int64_t below)
{
	struct change c = { INT64_MIN, 0 };
	for (size_t i = 0; i <= n; i++) {
		const struct lease *lease = i < n ? victims[i] : taker;
		if ((i < n ? lease->borrowed : borrows) != of_borrowed)
			continue;
		int64_t priority = plan_priority(p, plan_queue_index(p, lease->queue), lease);
		int64_t width = i < n ? -plan_width(lease) : plan_width(lease);
		if (priority >= below || priority < c.priority)
			continue;
		c.width = priority == c.priority ? c.width + width : width;
		c.priority = priority;
	}
	return c;
}

/* Does queue a have a larger borrowed share than queue b? Cross-multiplied: exact. */
struct share {
	int64_t width;
	uint32_t weight;
};

static int compare_shares(const void *a, const void *b)
{
	const struct share *x = a, *y = b;
	int64_t left = x->width * (int64_t) y->weight, right = y->width * (int64_t) x->weight;
	return left > right ? -1 : left < right; /* largest first */
}

/* How many different queues are concerned is bounded by the devices of one machine; more of them than this are refused. */
enum { SHARES_MAX = 64 };

/* Do the borrowed shares fall, sorted? Shares of queues that are not concerned are the same before and after. */
static bool shares_fall(const struct plan *p, const struct lease *taker, bool borrows, struct lease *const *victims, size_t n)
{
	struct share before[SHARES_MAX], after[SHARES_MAX];
	size_t queues[SHARES_MAX], count = 0;
	for (size_t i = 0; i <= n; i++) {
		const struct lease *lease = i < n ? victims[i] : taker;
		size_t queue = plan_queue_index(p, lease->queue), k = 0;
		while (k < count && queues[k] != queue)
			k++;
		if (k == count) {
			if (count == SHARES_MAX)
				return false;
			queues[count] = queue;
			before[count] = after[count] = (struct share){ p->borrowed[queue],
			                                               p->queues[queue].weight ? p->queues[queue].weight : 1 };
			count++;
		}
		if (i < n ? lease->borrowed : borrows)
			after[k].width += i < n ? -plan_width(lease) : plan_width(lease);
	}
	qsort(before, count, sizeof before[0], compare_shares);
	qsort(after, count, sizeof after[0], compare_shares);
	for (size_t k = 0; k < count; k++) {
		int order = compare_shares(&before[k], &after[k]);
		if (order)
			return order < 0;
	}
	return false;
}

/* Would the potential rise if these gave way to the taker? All still count with their labels. */
static bool potential_rises(const struct plan *p, const struct lease *taker, bool borrows, struct lease *const *victims, size_t n)
{
	for (int of_borrowed = 0; of_borrowed < 2; of_borrowed++)
		for (struct change c = { INT64_MAX, 0 };;) {
			c = next_change(p, taker, borrows, victims, n, of_borrowed, c.priority);
			if (c.priority == INT64_MIN)
				break;
			if (c.width)
				return c.width > 0;
		}
	return shares_fall(p, taker, borrows, victims, n);
}

/* Who has the devices that the lease is to get. Fills p->victims. */
static int find_victims(struct plan *p, const sl_action *a, const struct lease *lease, sl_error *error)
{
	p->n_victims = 0;
	for (uint32_t i = 0; i < a->n_devices; i++) {
		const struct device *d = &p->devices->at[a->devices[i]];
		if (d->hold)
			return error_set(error, SL_ECONFLICT, "%s is held for L%llu already", d->name, (unsigned long long) d->hold);
		if (!d->present || d->faulty || d->drain)
			return error_set(error, SL_ECONFLICT, "%s is %s: it cannot be held for L%llu", d->name, device_state_name(d),
			                 NUMBER(lease));
		struct lease *holder = d->lease ? plan_find(&p->running, d->lease) : NULL;
		if (!d->lease || (holder && (holder->state == LEASE_RELEASING || holder->state == LEASE_SUSPENDING)))
			continue;
		if (!holder)
			return error_set(error, SL_ECONFLICT, "%s belongs to L%llu, which has only just got it", d->name,
			                 (unsigned long long) d->lease);
		size_t k = 0;
		while (k < p->n_victims && p->victims[k] != holder)
			k++;
		if (k == p->n_victims)
			p->victims[p->n_victims++] = holder;
	}
	return SL_OK;
}

static void count_victims(struct plan *p, int sign)
{
	for (size_t i = 0; i < p->n_victims; i++)
		count_width(p, plan_queue_index(p, p->victims[i]->queue), p->victims[i], sign);
}

static int check_hold(struct plan *p, const sl_action *a, struct lease **out, sl_error *error)
{
	size_t queue;
	bool borrowed = false, sleeps = plan_find(&p->suspended, a->lease) != NULL;
	if ((sleeps ? find_suspended(p, a, out, &queue, error) : find_waiting(p, a, out, &queue, error)) != SL_OK)
		return error->code;
	struct lease *lease = *out;
	if (lease->hold_until_ms)
		return error_set(error, SL_ECONFLICT, "L%llu has devices held for it already", NUMBER(lease));
	if (devices_suit(p->devices, lease, a->devices, a->n_devices, error) != SL_OK || find_victims(p, a, lease, error) != SL_OK)
		return error->code;
	/* The label is what it will be without the victims. */
	count_victims(p, -1);
	int code = choose_label(p, a, lease, queue, &borrowed, error);
	count_victims(p, 1);
	for (size_t i = 0; code == SL_OK && i < p->n_victims; i++)
		code = may_evict(p, lease, queue, borrowed, p->victims[i], error);
	if (code != SL_OK)
		return code;
	if (p->n_victims && !potential_rises(p, lease, borrowed, p->victims, p->n_victims))
		return error_set(error, SL_EDENIED, "L%llu would gain no more than L%llu%s lose: nobody gives way for that", NUMBER(lease),
		                 NUMBER(p->victims[0]), p->n_victims > 1 ? " and others" : " would");
	count_victims(p, -1);
	settle_label(p, lease, queue, borrowed);
	lease->hold_until_ms = p->now.wall_ms + PLAN_HOLD_MS;
	p->used[queue] += (int32_t) lease->wanted;
	for (uint32_t i = 0; i < a->n_devices; i++)
		p->devices->at[a->devices[i]].hold = lease->number;
	return SL_OK;
}

/* Somebody waits who might evict it, and would gain by it. */
static bool has_taker(struct plan *p, struct lease *victim)
{
	for (size_t i = 0; i < p->waiting.n; i++) {
		const struct lease *taker = p->waiting.at[i];
		size_t queue = p->waiting.view[i].queue;
		sl_error unused;
		bool own = strcmp(taker->queue, victim->queue) == 0;
		int64_t room = nominal_room(p, queue) + (own && !victim->borrowed ? plan_width(victim) : 0);
		bool borrows = plan_width(taker) > room;
		if (taker->state == LEASE_QUEUED && !taker->hold_until_ms && !taker->n_places &&
		    may_evict(p, taker, queue, borrows, victim, &unused) == SL_OK && potential_rises(p, taker, borrows, &victim, 1))
			return true;
	}
	return false;
}

/* PREEMPT, SUSPEND */
static int check_leave(struct plan *p, const sl_action *a, bool suspend, struct lease **out, sl_error *error)
{
	struct lease *lease = *out = plan_find(&p->running, a->lease);
	if (!lease || lease->state != LEASE_RUNNING)
		return error_set(error, SL_ENOTFOUND, "no lease L%llu runs that could give way", (unsigned long long) a->lease);
	if (suspend && !lease->suspendable)
		return error_set(error, SL_ENOTSUP, "L%llu cannot be suspended", NUMBER(lease));
	if (!lease->borrowed && !lease->preemptible)
		return error_set(error, SL_EDENIED, "L%llu is not preemptible", NUMBER(lease));
	size_t queue = plan_queue_index(p, lease->queue);
	if (too_soon(p, queue, lease, error) != SL_OK)
		return error->code;
	if (!has_taker(p, lease))
		return error_set(error, SL_EDENIED, "L%llu would give way to nobody: no lease waits that may evict it", NUMBER(lease));
	lift_label(p, lease, queue);
	return SL_OK;
}

static int check_resume(struct plan *p, const sl_action *a, struct lease **out, sl_error *error)
{
	size_t queue;
	bool borrowed;
	if (find_suspended(p, a, out, &queue, error) != SL_OK)
		return error->code;
	struct lease *lease = *out;
	bool held = lease->hold_until_ms != 0;
	if (!held && choose_label(p, a, lease, queue, &borrowed, error) != SL_OK)
		return error->code;
	if (devices_grant(p->devices, lease, a->devices, a->n_devices, error) != SL_OK || held)
		return error->code; /* the label of a hold stays as it is */
	settle_label(p, lease, queue, borrowed);
	p->used[queue] += (int32_t) lease->wanted;
	return SL_OK;
}

static int check_move(struct plan *p, const sl_action *a, struct lease **out, sl_error *error)
{
	struct lease *lease = *out = plan_find(&p->running, a->lease);
	if (!lease || lease->state != LEASE_RUNNING)
		return error_set(error, SL_ENOTFOUND, "no lease L%llu runs that could move", (unsigned long long) a->lease);
	if (!lease->movable)
		return error_set(error, SL_ENOTSUP, "L%llu cannot be moved", NUMBER(lease));
	if (too_soon(p, plan_queue_index(p, lease->queue), lease, error) != SL_OK)
		return error->code;
	if (devices_suit(p->devices, lease, a->devices, a->n_devices, error) != SL_OK)
		return error->code;
	for (uint32_t i = 0; i < a->n_devices; i++) {
		const struct device *d = &p->devices->at[a->devices[i]];
		if (device_state(d) != SL_DEVICE_FREE)
			return error_set(error, SL_ECONFLICT, "%s is %s, not free: L%llu stays where it is", d->name, device_state_name(d),
			                 NUMBER(lease));
	}
	devices_free_lease(p->devices, lease->number);
	lease->granted_ms = p->now.wall_ms;
	return devices_grant(p->devices, lease, a->devices, a->n_devices, error);
}

static int check_promote(struct plan *p, const sl_action *a, struct lease **out, sl_error *error)
{
	struct lease *lease = *out = plan_find(&p->running, a->lease);
	if (!lease || lease->state == LEASE_RELEASING || !lease->borrowed)
		return error_set(error, SL_ENOTFOUND, "no borrowed lease L%llu runs", (unsigned long long) a->lease);
	size_t queue = plan_queue_index(p, lease->queue);
	if (plan_width(lease) > nominal_room(p, queue))
		return error_set(error, SL_ELIMIT, "L%llu stays borrowed: %lld of the %d nominal devices of queue %s are in use",
		                 NUMBER(lease), (long long) p->nominal[queue] / 1000, p->queues[queue].nominal, lease->queue);
	p->borrowed[queue] -= plan_width(lease);
	p->nominal[queue] += plan_width(lease);
	lease->borrowed = false;
	return SL_OK;
}

int plan_check(struct plan *p, const sl_action *a, struct lease **out, sl_error *error)
{
	sl_error own = { 0 };
	error = error ? error : &own;
	p->n_victims = 0;
	switch (SL_ACTION_TYPE(a->type)) {
	case SL_ACTION_GRANT: return check_grant(p, a, out, error);
	case SL_ACTION_HOLD: return check_hold(p, a, out, error);
	case SL_ACTION_PREEMPT: return check_leave(p, a, false, out, error);
	case SL_ACTION_SUSPEND: return check_leave(p, a, true, out, error);
	case SL_ACTION_RESUME: return check_resume(p, a, out, error);
	case SL_ACTION_MOVE: return check_move(p, a, out, error);
	case SL_ACTION_PROMOTE: return check_promote(p, a, out, error);
	default: return error_set(error, SL_EINVAL, "unknown kind of action %u", a->type);
	}
}

void plan_undo(struct plan *p, struct lease *lease)
{
	size_t queue = plan_queue_index(p, lease->queue);
	if (queue < p->n_queues) {
		p->used[queue] -= (int32_t) lease->wanted;
		lift_label(p, lease, queue);
	}
	devices_free_lease(p->devices, lease->number);
	devices_unhold(p->devices, lease->number);
	lease->hold_until_ms = 0;
	if (lease->state != LEASE_SUSPENDED) /* that one's list says where it was */
		lease->n_places = 0;
	lease->borrowed = false;
}

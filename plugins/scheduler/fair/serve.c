/* SPDX-License-Identifier: Apache-2.0 */
/* serve.c - a round: who is next, claims, borrowing, backfill. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/scheduler/fair/fair.h"

static int compare(const void *a, const void *b)
{
	const struct turn *x = a, *y = b;
	if (x->priority != y->priority)
		return x->priority > y->priority ? -1 : 1;
	if (x->since_ms != y->since_ms)
		return x->since_ms < y->since_ms ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

/* Those suspended leases whose machines are there. */
static void wake_sleepers(struct fair *f)
{
	const sl_view *v = f->view;
	f->n_sleepers = 0;
	for (uint32_t i = 0; i < v->n_suspended; i++) {
		const sl_view_lease_terms *t = &v->suspended_terms[i];
		if (!t->n_places || v->suspended[i].queue >= v->n_queues)
			continue;
		uint32_t d = v->places[t->first_place];
		struct sleeper *s = &f->sleepers[f->n_sleepers++];
		*s = (struct sleeper){ .lease = v->suspended[i], .terms = *t, .machine = v->device_terms[d].machine };
		memcpy(s->lease.kind, v->devices[d].kind, sizeof s->lease.kind);
		s->terms.kind = v->device_terms[d].kind;
		s->terms.cpu_milli = s->terms.host_memory_bytes = 0; /* its processes never left */
	}
}

/* Whose turn it is; who is suspended is looked for a place on its machine only. */
static const sl_view_lease *look_at(struct fair *f, uint32_t index, const sl_view_lease_terms **terms)
{
	const sl_view *v = f->view;
	const struct sleeper *s = index >= v->n_waiting ? &f->sleepers[index - v->n_waiting] : NULL;
	f->pinned = s ? s->machine : SL_NONE;
	*terms = s ? &s->terms : &v->waiting_terms[index];
	return s ? &s->lease : &v->waiting[index];
}

static void add_turn(struct fair *f, uint32_t *n, uint32_t index)
{
	const sl_view_lease_terms *terms;
	const sl_view_lease *lease = look_at(f, index, &terms);
	if (lease->queue < f->view->n_queues && lease->devices > 0)
		f->turns[(*n)++] = (struct turn){ fair_priority(f->view, lease), lease->since_ms, index, SL_NONE };
}

/* Everybody who waits, and the chain of each queue. */
static uint32_t line_up(struct fair *f)
{
	const sl_view *v = f->view;
	uint32_t n = 0;
	const sl_view_lease_terms *terms;
	wake_sleepers(f);
	for (uint32_t i = 0; i < v->n_waiting + f->n_sleepers; i++)
		add_turn(f, &n, i);
	qsort(f->turns, n, sizeof *f->turns, compare);
	for (uint32_t i = n; i-- > 0;) {
		struct queue *q = &f->queues[look_at(f, f->turns[i].index, &terms)->queue];
		f->turns[i].next = q->first;
		q->first = i;
	}
	return n;
}

/* Why it waits, when somebody wants to know. */
__attribute__((format(printf, 3, 4)))
static void because(struct fair *f, const sl_view_lease *lease, const char *format, ...)
{
	va_list args;
	if (lease->number != f->why_number)
		return;
	va_start(args, format);
	vsnprintf(f->why, f->why_room, format, args);
	va_end(args);
}

__attribute__((format(printf, 6, 7)))
static void act(struct fair *f, uint32_t type, uint64_t lease, uint32_t *devices, uint32_t n, const char *format, ...)
{
	va_list args;
	if (f->n >= f->room)
		return;
	sl_action *a = &f->out[f->n++];
	*a = (sl_action){ .type = type, .lease = lease, .devices = devices, .n_devices = n };
	va_start(args, format);
	vsnprintf(a->reason, sizeof a->reason, format, args);
	va_end(args);
	for (uint32_t i = 0; i < n; i++)
		f->taken[devices[i]] = 1;
	f->n_chosen += n;
}

static void finish_holds(struct fair *f)
{
	const sl_view *v = f->view;
	for (uint32_t i = 0; i < v->n_waiting + f->n_sleepers; i++) {
		const sl_view_lease_terms *t;
		const sl_view_lease *lease = look_at(f, i, &t);
		uint32_t n = t->n_places, ready = 0;
		if (!(t->flags & SL_LEASE_HELD))
			continue;
		because(f, lease, "its devices are held for it: it starts once those who have them are gone");
		for (uint32_t k = 0; k < n; k++)
			ready += v->devices[v->places[t->first_place + k]].state == SL_DEVICE_HELD;
		if (n != lease->devices || ready != n || f->n_chosen + n > f->room_chosen)
			continue;
		uint32_t *devices = f->chosen + f->n_chosen;
		memcpy(devices, v->places + t->first_place, n * sizeof *devices);
		act(f, i < v->n_waiting ? SL_ACTION_GRANT : SL_ACTION_RESUME, lease->number, devices, n,
		    "the devices held for it are free");
	}
}

static int64_t nominal_room(const struct fair *f, uint32_t queue)
{
	return (int64_t) f->view->queue_terms[queue].nominal * 1000 - f->queues[queue].nominal;
}

/* Running borrowed leases of the queue that are at least so urgent become nominal, the most urgent and oldest first. */
static void promote(struct fair *f, uint32_t queue, int32_t least)
{
	const sl_view *v = f->view;
	while (nominal_room(f, queue) >= 1000 && f->queues[queue].borrowed > 0) {
		uint32_t best = SL_NONE;
		for (uint32_t r = 0; r < v->n_running; r++) {
			const sl_view_lease *l = &v->running[r];
			uint32_t flags = v->running_terms[r].flags;
			if (l->queue == queue && (flags & SL_LEASE_BORROWED) && !(flags & SL_LEASE_LEAVING) && !f->promoted[r] && !f->leaving[r] &&
			    l->priority >= least && fair_width(l) <= nominal_room(f, queue) &&
			    (best == SL_NONE || l->priority > v->running[best].priority))
				best = r;
		}
		if (best == SL_NONE || f->n >= f->room)
			return;
		act(f, SL_ACTION_PROMOTE, v->running[best].number, NULL, 0, "queue %s is owed it now", v->queues[queue].name);
		f->promoted[best] = 1;
		width_add(f, queue, 1, -fair_width(&v->running[best]));
		width_add(f, queue, 0, fair_width(&v->running[best]));
	}
}

/* Those who have the devices leave, in our own books too. */
static void clear_victims(struct fair *f, const struct spot *spot, uint32_t n)
{
	const sl_view *v = f->view;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t r = f->runner[spot->devices[i]];
		if (v->devices[spot->devices[i]].state != SL_DEVICE_GRANTED || r == SL_NONE || f->leaving[r])
			continue;
		int borrowed = (v->running_terms[r].flags & SL_LEASE_BORROWED) && !f->promoted[r];
		f->leaving[r] = 1;
		width_add(f, v->running[r].queue, borrowed, -fair_width(&v->running[r]));
	}
}

static int within_user(const struct fair *f, const sl_view_lease *lease, const sl_view_lease_terms *t)
{
	const sl_view_user *u = t->user != SL_NONE ? &f->view->users[t->user] : NULL;
	return !u || u->used_milli + fair_width(lease) <= (int64_t) u->quota * 1000;
}

/* Free devices, else such of others. 1: done. */
static int start(struct fair *f, const sl_view_lease *lease, const sl_view_lease_terms *terms, int borrows, int evict,
                 struct spot *spot)
{
	const char *queue = f->view->queues[lease->queue].name, *label = borrows ? "borrowed" : "nominal";
	uint32_t take = f->pinned == SL_NONE ? SL_ACTION_GRANT : SL_ACTION_RESUME;
	uint32_t flag = borrows ? (uint32_t) SL_ACTION_BORROWED : (uint32_t) SL_ACTION_NOMINAL;
	int64_t room = nominal_room(f, lease->queue);
	int covered = width_excess(f, lease->queue, fair_width(lease)) <= 0 && (borrows || fair_width(lease) <= room); /* no nominal lease of its own must go first */
	if (covered && place_free(f, lease, terms, spot)) {
		act(f, take | flag, lease->number, spot->devices, lease->devices, "%s in queue %s; free on %s", label, queue,
		    f->view->machines[spot->machine].name);
	} else if (evict && place_evict(f, lease, terms, borrows, spot)) {
		act(f, SL_ACTION_HOLD | flag, lease->number, spot->devices, lease->devices, "%s in queue %s; takes devices on %s", label,
		    queue, f->view->machines[spot->machine].name);
		clear_victims(f, spot, lease->devices);
	} else {
		return 0;
	}
	width_add(f, lease->queue, borrows, fair_width(lease));
	pool_take(f, terms, spot->devices, lease->devices);
	return 1;
}

/* The width of nominal leases of its own queue that a claim may push aside. */
static int64_t count_yields(const struct fair *f, const sl_view_lease *lease)
{
	const sl_view *v = f->view;
	int64_t width = 0;
	if (!(v->queue_terms[lease->queue].flags & SL_QUEUE_PREEMPT_OWN))
		return 0;
	for (uint32_t r = 0; r < v->n_running; r++) {
		const sl_view_lease *l = &v->running[r];
		if (l->queue == lease->queue && l->priority < lease->priority && l->preemptible && !f->leaving[r] &&
		    !(v->running_terms[r].flags & (SL_LEASE_LEAVING | SL_LEASE_BORROWED)))
			width += fair_width(l);
	}
	return width;
}

/* The same, counted once for those of one priority while nothing happens. */
static int64_t yields(struct fair *f, const sl_view_lease *lease)
{
	struct queue *q = &f->queues[lease->queue];
	if (q->yields < 0 || q->yields_priority != lease->priority || q->yields_at != f->n) {
		q->yields = count_yields(f, lease);
		q->yields_priority = lease->priority;
		q->yields_at = f->n;
	}
	return q->yields;
}

static void explain_place(struct fair *f, const sl_view_lease *lease, const sl_view_lease_terms *terms)
{
	uint32_t most_free, most, all;
	const char *kind = lease->kind[0] ? lease->kind : "devices";
	if (lease->number != f->why_number)
		return;
	place_count(f, lease, terms, &most_free, &most, &all);
	if (f->pinned != SL_NONE)
		because(f, lease, "goes on when %u %s on %s are free: %u are", lease->devices, kind, f->view->machines[f->pinned].name,
		        all);
	else if (most < lease->devices)
		because(f, lease, "can never start: wants %u %s on one machine, the largest has %u", lease->devices, kind, most);
	else if (most_free < lease->devices)
		because(f, lease, "waits for %u more %s on one machine: %u are free, at most %u together", lease->devices - most_free, kind,
		        all, most_free);
	else if (terms->cpu_milli || terms->host_memory_bytes)
		because(f, lease, "waits: machines with enough free %s lack the cpu or memory that it asks for, or are kept for a lease that is before it",
		        kind);
	else
		because(f, lease, "waits: the free %s are kept for a lease that is before it", kind);
}

/* The head waits. Who follows in its queue may go on where that does not delay it. */
static void block(struct fair *f, const sl_view_lease *lease, const sl_view_lease_terms *terms, uint64_t at_ms)
{
	struct queue *q = &f->queues[lease->queue];
	struct reserve kept;
	if (!q->blocked)
		place_reserve(f, lease, terms, at_ms, &kept);
	q->blocked = 1;
}

/* 1: dealt with, 0: it may still borrow. */
static int claim(struct fair *f, const sl_view_lease *lease, const sl_view_lease_terms *terms)
{
	struct queue *q = &f->queues[lease->queue];
	const char *name = f->view->queues[lease->queue].name;
	struct spot spot = { 0 };
	promote(f, lease->queue, lease->priority);
	int64_t room = nominal_room(f, lease->queue), width = fair_width(lease);
	if (width > room && (width > (int64_t) f->view->queue_terms[lease->queue].nominal * 1000 || width > room + yields(f, lease)))
		return 0;
	if (start(f, lease, terms, 0, !q->blocked, &spot))
		return 1;
	if (q->blocked || width > room) {
		explain_place(f, lease, terms);
		return width <= room;
	}
	explain_place(f, lease, terms);
	if (spot.soonest_ms) {
		because(f, lease, "queue %s is owed the devices: it waits %llu s until those who borrowed them have run for their minimum time",
		        name, (unsigned long long) (spot.soonest_ms - f->view->now_ms + 999) / 1000);
		q->stopped = 1;
	}
	block(f, lease, terms, spot.soonest_ms);
	return 1;
}

static void claims(struct fair *f, uint32_t n)
{
	const sl_view *v = f->view;
	for (uint32_t i = 0; i < n && f->n < f->room; i++) {
		uint32_t at = f->turns[i].index;
		const sl_view_lease_terms *terms;
		const sl_view_lease *lease = look_at(f, at, &terms);
		struct queue *q = &f->queues[lease->queue];
		if (terms->flags & SL_LEASE_HELD) {
			f->turns[i].index = SL_NONE;
		} else if (q->stopped) {
			because(f, lease, "waits behind a lease of queue %s that is owed devices and gets them first", v->queues[lease->queue].name);
			f->turns[i].index = SL_NONE;
		} else if (!within_user(f, lease, terms)) {
			because(f, lease, "its user has as many devices in queue %s as one may have", v->queues[lease->queue].name);
			f->turns[i].index = SL_NONE;
		} else if (v->queue_terms[lease->queue].nominal && (!q->blocked || q->examined++ < f->backfill) &&
		           claim(f, lease, terms)) {
			f->turns[i].index = SL_NONE;
		}
	}
	for (uint32_t q = 0; q < v->n_queues; q++)
		promote(f, q, INT32_MIN);
}

static void borrow(struct fair *f, const sl_view_lease *lease, const sl_view_lease_terms *terms)
{
	const sl_view *v = f->view;
	struct queue *q = &f->queues[lease->queue];
	const sl_view_queue_terms *t = &v->queue_terms[lease->queue];
	struct spot spot = { 0 };
	int64_t can = width_available(f, lease->queue), width = fair_width(lease), have = q->nominal + q->borrowed;
	if (t->borrow >= 0 && width > ((int64_t) t->nominal + t->borrow) * 1000) {
		because(f, lease, "can never start: it wants %u devices, the quota of queue %s is %d", lease->devices,
		        v->queues[lease->queue].name, t->nominal + t->borrow); /* it keeps nothing from others either */
	} else if (t->borrow >= 0 && have + width > ((int64_t) t->nominal + t->borrow) * 1000) {
		because(f, lease, "waits for the quota of queue %s: %lld of %d devices are in use, %u more are wanted",
		        v->queues[lease->queue].name, (long long) have / 1000, t->nominal + t->borrow, lease->devices);
		if (width <= width_most(f, lease->queue))
			block(f, lease, terms, 0);
	} else if (can < width) {
		because(f, lease, "queue %s can borrow %lld more devices of what others lend, %u are wanted", v->queues[lease->queue].name,
		        (long long) (can > 0 ? can : 0) / 1000, lease->devices);
		if (width <= width_most(f, lease->queue)) /* else what is kept for it would never be used */
			block(f, lease, terms, 0);
	} else if (!start(f, lease, terms, 1, !q->blocked, &spot)) {
		explain_place(f, lease, terms);
		block(f, lease, terms, 0);
	}
}

/* The queue whose turn it is: the more urgent lease, then the smaller share, then the older one. */
static uint32_t next_queue(struct fair *f)
{
	uint32_t best = SL_NONE;
	for (uint32_t q = 0; q < f->view->n_queues; q++) {
		struct queue *queue = &f->queues[q];
		while (queue->first != SL_NONE && f->turns[queue->first].index == SL_NONE)
			queue->first = f->turns[queue->first].next;
		if (queue->first == SL_NONE || queue->stopped)
			continue;
		const struct turn *a = &f->turns[queue->first], *b = best == SL_NONE ? NULL : &f->turns[f->queues[best].first];
		double mine = width_share(f, q), its = b ? width_share(f, best) : 0;
		if (!b || a->priority > b->priority || (a->priority == b->priority && (mine < its || (mine <= its && a->since_ms < b->since_ms))))
			best = q;
	}
	return best;
}

void serve_round(struct fair *f)
{
	uint32_t n = line_up(f), q;
	finish_holds(f);
	claims(f, n);
	while (f->n < f->room && (q = next_queue(f)) != SL_NONE) {
		struct queue *queue = &f->queues[q];
		const sl_view_lease_terms *terms;
		const sl_view_lease *lease = look_at(f, f->turns[queue->first].index, &terms);
		queue->first = f->turns[queue->first].next;
		if (queue->blocked && queue->examined++ >= f->backfill) {
			queue->stopped = 1;
			continue;
		}
		borrow(f, lease, terms);
	}
	/* Who was not looked at: a claim of the queue comes first, or too many are before it. */
	for (uint32_t i = 0; f->why_number && !f->why[0] && i < n; i++) {
		const sl_view_lease_terms *terms;
		const sl_view_lease *lease = f->turns[i].index != SL_NONE ? look_at(f, f->turns[i].index, &terms) : NULL;
		if (lease && f->queues[lease->queue].stopped)
			because(f, lease, "waits: another lease of queue %s comes first", f->view->queues[lease->queue].name);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* plan.c - what the scheduler sees. */
#include "core/lease/plan.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"
#include "core/base/str.h"

/* Grows *at to hold n of `size` bytes each. */
static bool grow(void *at, size_t n, size_t size)
{
	void **link = at;
	void *memory = realloc(*link, n ? n * size : 1);
	if (memory)
		*link = memory;
	return memory != NULL;
}

static bool grow_leases(struct plan_leases *l, size_t room)
{
	return grow(&l->at, room, sizeof *l->at) && grow(&l->view, room, sizeof *l->view) &&
	       grow(&l->terms, room, sizeof *l->terms);
}

static bool reserve_leases(struct plan *p, size_t n)
{
	if (n < p->room_leases)
		return true;
	size_t room = n + n / 2 + 16;
	if (!grow_leases(&p->waiting, room) || !grow_leases(&p->running, room) || !grow_leases(&p->suspended, room))
		return false;
	p->room_leases = room;
	return true;
}

static bool reserve_devices(struct plan *p, size_t n)
{
	if (n < p->room_devices)
		return true;
	size_t room = n + n / 2 + 16;
	if (!grow(&p->view_devices, room, sizeof *p->view_devices) || !grow(&p->machines, room, sizeof *p->machines) ||
	    !grow(&p->device_terms, room, sizeof *p->device_terms) ||
	    !grow(&p->kinds, room, sizeof *p->kinds) || !grow(&p->victims, room, sizeof *p->victims))
		return false;
	p->room_devices = room;
	return true;
}

/* For devices that leases have, for those that are held, and for those that the suspended ones had: that may be many. */
static bool reserve_places(struct plan *p)
{
	size_t n = 2 * p->devices->n;
	for (size_t i = 0; i < p->suspended.n; i++)
		n += p->suspended.at[i]->wanted;
	if (n < p->room_places)
		return true;
	if (!grow(&p->places, n + n / 2 + 16, sizeof *p->places))
		return false;
	p->room_places = n + n / 2 + 16;
	return true;
}

static bool reserve_queues(struct plan *p, size_t n)
{
	if (n < p->room_queues)
		return true;
	size_t room = n + n / 2 + 16;
	if (!grow(&p->queues, room, sizeof *p->queues) || !grow(&p->view_queues, room, sizeof *p->view_queues) ||
	    !grow(&p->queue_terms, room, sizeof *p->queue_terms) || !grow(&p->nominal, room, sizeof *p->nominal) ||
	    !grow(&p->borrowed, room, sizeof *p->borrowed) || !grow(&p->used, room, sizeof *p->used))
		return false;
	p->room_queues = room;
	return true;
}

static bool reserve_cohorts(struct plan *p)
{
	size_t n = p->n_queues + p->n_cohorts;
	if (n < p->room_cohorts)
		return true;
	if (!grow(&p->nodes, n + 16, sizeof *p->nodes) || !grow(&p->view_cohorts, n + 16, sizeof *p->view_cohorts))
		return false;
	p->room_cohorts = n + 16;
	return true;
}

size_t plan_queue_index(const struct plan *p, const char *name)
{
	size_t i = 0;
	while (i < p->n_queues && strcmp(p->queues[i].name, name) != 0)
		i++;
	return i;
}

int64_t plan_width(const struct lease *lease)
{
	return (int64_t) lease->wanted * 1000;
}

int64_t plan_priority(const struct plan *p, size_t queue, const struct lease *lease)
{
	return (int64_t) p->queues[queue].priority * ((int64_t) 1 << 32) + lease->priority;
}

uint64_t plan_safe_until(const struct plan *p, size_t queue, const struct lease *lease)
{
	return lease->granted_ms ? lease->granted_ms + p->queues[queue].min_run_ms : 0;
}

struct lease *plan_find(const struct plan_leases *leases, uint64_t number)
{
	size_t low = 0;
	for (size_t high = leases->n; low < high;) {
		size_t middle = low + (high - low) / 2;
		if (leases->at[middle]->number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low < leases->n && leases->at[low]->number == number ? leases->at[low] : NULL;
}

static size_t place_in(const struct plan_leases *leases, uint64_t number)
{
	size_t low = 0;
	for (size_t high = leases->n; low < high;) {
		size_t middle = low + (high - low) / 2;
		if (leases->at[middle]->number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low < leases->n && leases->at[low]->number == number ? low : SIZE_MAX;
}

/* The queue's place; one that the configuration has no more is added and is owed nothing. SIZE_MAX: out of memory. */
static size_t queue_of(struct plan *p, const struct lease *lease)
{
	size_t i = plan_queue_index(p, lease->queue);
	if (i < p->n_queues)
		return i;
	if (!reserve_queues(p, p->n_queues + 1))
		return SIZE_MAX;
	p->queues[i] = plan_queue_free();
	p->queues[i].borrow = 0;
	memcpy(p->queues[i].name, lease->queue, SL_NAME_MAX);
	p->nominal[i] = p->borrowed[i] = p->used[i] = 0;
	p->n_queues++;
	return i;
}

static sl_view_lease view_of(const struct lease *lease, size_t queue, struct lease_now now)
{
	bool waits = lease->state == LEASE_QUEUED;
	uint64_t waited = lease_wait_ms(lease, now);
	sl_view_lease v = {
		.number = lease->number,
		.queue = (uint32_t) queue,
		.priority = lease->priority,
		.devices = lease->wanted,
		.preemptible = lease->preemptible,
		.memory_bytes = lease->memory_bytes,
		.since_ms = waits ? (now.wall_ms > waited ? now.wall_ms - waited : 0)
		          : lease->state == LEASE_SUSPENDED ? lease->created_ms
		                                            : lease->started_ms ? lease->started_ms : lease->granted_ms,
		.ends_ms = lease_ends_ms(lease),
		.time_limit_ms = lease->time_ms,
	};
	memcpy(v.kind, lease->kind, sizeof v.kind);
	memcpy(v.tenant, lease->tenant, sizeof v.tenant);
	return v;
}

static bool leaves(const struct lease *lease)
{
	return lease->state == LEASE_RELEASING || lease->state == LEASE_SUSPENDING;
}

/* Its label counts: from the grant or hold until it is asked to leave. */
static bool counts(const struct lease *lease)
{
	return lease->hold_until_ms || (lease_holds(lease) && !leaves(lease));
}

/* The number of a kind: the first device of it. */
static uint32_t kind_of(const struct plan *p, const char *kind)
{
	for (size_t i = 0; kind[0] && i < p->n_kinds; i++)
		if (strcmp(p->devices->at[p->kinds[i]].kind, kind) == 0)
			return p->kinds[i];
	return SL_NONE;
}

static sl_view_lease_terms terms_of(const struct plan *p, const struct lease *lease)
{
	sl_view_lease_terms t = { .milli = 1000, .kind = kind_of(p, lease->kind), .user = SL_NONE,
	                          .granted_ms = lease->granted_ms, .hold_until_ms = lease->hold_until_ms };
	t.flags = (lease->borrowed ? (uint32_t) SL_LEASE_BORROWED : 0) | (lease->hold_until_ms ? (uint32_t) SL_LEASE_HELD : 0) |
	          (leaves(lease) ? (uint32_t) SL_LEASE_LEAVING : 0) |
	          (lease->suspendable ? (uint32_t) SL_LEASE_SUSPENDABLE : 0) |
	          (lease->movable ? (uint32_t) SL_LEASE_MOVABLE : 0);
	t.lost_ms = lease_run_ms(lease, p->now);
	return t;
}

/* The place of the machine; machines stand in the order of their first devices. SL_NONE: out of memory. */
static uint32_t machine_of(struct plan *p, const char *name)
{
	if (p->n_machines && strcmp(p->machines[p->n_machines - 1].name, name) == 0)
		return (uint32_t) p->n_machines - 1;
	uint32_t tag = (uint32_t) hash_bytes(name, strlen(name));
	for (uint32_t at = index_start(&p->machine_index, tag), place; (place = index_match(&p->machine_index, tag, &at)); at++)
		if (strcmp(p->machines[place - 1].name, name) == 0)
			return place - 1;
	if (!index_room(&p->machine_index))
		return SL_NONE;
	sl_view_machine *m = &p->machines[p->n_machines++];
	*m = (sl_view_machine){ .cpu_milli = -1, .cpu_milli_free = -1, .host_memory_bytes = -1, .host_memory_free_bytes = -1 };
	memcpy(m->name, name, sizeof m->name);
	index_put(&p->machine_index, tag, (uint32_t) p->n_machines);
	return (uint32_t) p->n_machines - 1;
}

static uint32_t island_of(const struct plan *p, uint32_t i)
{
	const struct device *d = &p->devices->at[i];
	if (!d->island[0])
		return SL_NONE;
	/* A machine's devices mostly stand side by side, so looking back is short. */
	for (uint32_t k = i; k-- > 0 && p->device_terms[k].machine == p->device_terms[i].machine;)
		if (strcmp(p->devices->at[k].island, d->island) == 0)
			return p->device_terms[k].island;
	return i;
}

/* False: out of memory. */
static bool view_devices(struct plan *p)
{
	p->n_machines = p->n_kinds = 0;
	index_clear(&p->machine_index);
	for (uint32_t i = 0; i < p->devices->n; i++) {
		const struct device *d = &p->devices->at[i];
		sl_view_device *v = &p->view_devices[i];
		*v = (sl_view_device){ .memory_bytes = d->memory_bytes, .numa_node = d->numa_node,
		                       .state = device_state(d), .lease = d->lease };
		memcpy(v->name, d->name, sizeof v->name);
		memcpy(v->machine, d->machine, sizeof v->machine);
		memcpy(v->kind, d->kind, sizeof v->kind);
		memcpy(v->island, d->island, sizeof v->island);
		sl_view_device_terms *t = &p->device_terms[i];
		*t = (sl_view_device_terms){ .machine = machine_of(p, d->machine), .kind = SL_NONE, .hold = d->hold,
		                             .free_milli = v->state == SL_DEVICE_FREE ? 1000 : 0 };
		if (t->machine == SL_NONE)
			return false;
		t->island = island_of(p, i);
		t->kind = kind_of(p, d->kind);
		if (t->kind == SL_NONE)
			p->kinds[p->n_kinds++] = t->kind = i;
	}
	return true;
}

/* Ends the holds that lead to nothing. Before the view, which shows what is left. */
static void expire_holds(struct devices *devices, struct lease *const *leases, size_t n, uint64_t now_ms)
{
	bool any = false;
	for (size_t i = 0; i < devices->n && !any; i++)
		any = devices->at[i].hold != 0;
	for (size_t i = 0; i < n; i++) {
		struct lease *lease = leases[i];
		uint32_t held = 0;
		if (!lease->hold_until_ms)
			continue;
		for (size_t k = 0; k < devices->n; k++) {
			const struct device *d = &devices->at[k];
			held += d->hold == lease->number && d->present && !d->faulty && !d->drain;
		}
		bool waits = lease->state == LEASE_QUEUED || lease->state == LEASE_SUSPENDED;
		if (waits && now_ms < lease->hold_until_ms && held == lease->wanted)
			continue;
		lease->hold_until_ms = 0;
		devices_unhold(devices, lease->number);
	}
	/* Those of leases that are not in the table any more. */
	const struct plan_leases all = { .at = (struct lease **) leases, .n = n };
	for (size_t k = 0; any && k < devices->n; k++) {
		const struct lease *holder = devices->at[k].hold ? plan_find(&all, devices->at[k].hold) : NULL;
		if (!holder || !holder->hold_until_ms)
			devices->at[k].hold = 0;
	}
}

static bool add_lease(struct plan *p, struct lease *lease)
{
	bool waits = lease->state == LEASE_QUEUED, sleeps = lease->state == LEASE_SUSPENDED;
	if (lease->wanted == 0 || (waits && lease->unpaid) || (!waits && !sleeps && !lease_holds(lease)))
		return true;
	if (sleeps && lease->resume_after_ms > p->now.wall_ms) {
		if (!p->later_ms || lease->resume_after_ms < p->later_ms)
			p->later_ms = lease->resume_after_ms;
		return true;
	}
	size_t queue = queue_of(p, lease);
	if (queue == SIZE_MAX)
		return false;
	struct plan_leases *into = waits ? &p->waiting : sleeps ? &p->suspended : &p->running;
	into->view[into->n] = view_of(lease, queue, p->now);
	into->terms[into->n] = terms_of(p, lease);
	into->at[into->n++] = lease;
	if (counts(lease))
		*(lease->borrowed ? &p->borrowed[queue] : &p->nominal[queue]) += plan_width(lease);
	if ((!sleeps && !waits) || lease->hold_until_ms)
		p->used[queue] += (int32_t) lease->wanted;
	return true;
}

static void add_places(struct plan_leases *leases, size_t i, uint32_t n, uint32_t *total)
{
	leases->terms[i].first_place = *total;
	leases->terms[i].n_places = 0;
	*total += n;
}

/* Which devices are whose. */
static uint32_t find_places(struct plan *p)
{
	uint32_t total = 0;
	for (size_t i = 0; i < p->running.n; i++)
		add_places(&p->running, i, p->running.at[i]->wanted, &total);
	for (size_t i = 0; i < p->waiting.n; i++)
		if (p->waiting.at[i]->hold_until_ms)
			add_places(&p->waiting, i, p->waiting.at[i]->wanted, &total);
	if (total > 2 * p->devices->n) /* leases with lost devices still want them: nobody knows where */
		return 0;
	for (uint32_t k = 0; k < p->devices->n; k++) {
		const struct device *d = &p->devices->at[k];
		size_t runs = d->lease ? place_in(&p->running, d->lease) : SIZE_MAX;
		size_t waits = d->hold ? place_in(&p->waiting, d->hold) : SIZE_MAX;
		if (runs != SIZE_MAX && p->running.terms[runs].n_places < p->running.at[runs]->wanted)
			p->places[p->running.terms[runs].first_place + p->running.terms[runs].n_places++] = k;
		if (waits != SIZE_MAX && p->waiting.terms[waits].n_places < p->waiting.at[waits]->wanted)
			p->places[p->waiting.terms[waits].first_place + p->waiting.terms[waits].n_places++] = k;
	}
	return total;
}

/* What is held for a suspended lease. */
static void find_held(struct plan *p, size_t i, uint32_t total)
{
	sl_view_lease_terms *t = &p->suspended.terms[i];
	for (uint32_t k = 0; k < p->devices->n && t->n_places < p->suspended.at[i]->wanted; k++)
		if (p->devices->at[k].hold == p->suspended.at[i]->number)
			p->places[total + t->n_places++] = k;
}

/* Where suspended leases were: by the names in their own lists. Few, so a search each. */
static void find_suspended(struct plan *p, uint32_t *total)
{
	for (size_t i = 0; i < p->suspended.n; i++) {
		const struct lease *lease = p->suspended.at[i];
		p->suspended.terms[i].first_place = *total;
		if (lease->hold_until_ms)
			find_held(p, i, *total);
		for (uint32_t k = 0; k < lease->n_places && !lease->hold_until_ms; k++) {
			const struct device *d = devices_find(p->devices, str_of(lease->places[k].uuid));
			if (d)
				p->places[*total + p->suspended.terms[i].n_places++] = (uint32_t) (d - p->devices->at);
		}
		*total += p->suspended.terms[i].n_places;
	}
}

static void build_tree(struct plan *p)
{
	int64_t capacity = 0;
	for (size_t i = 0; i < p->devices->n; i++) {
		uint32_t state = device_state(&p->devices->at[i]);
		if ((state != SL_DEVICE_FAULTY && state != SL_DEVICE_DRAINED) || p->devices->at[i].lease)
			capacity += 1000;
	}
	for (size_t i = 0; i < p->n_queues; i++) {
		const struct plan_queue *q = &p->queues[i];
		p->nodes[i] = (struct cohort_node){ .parent = q->cohort < p->n_cohorts ? (uint32_t) (p->n_queues + q->cohort) : UINT32_MAX,
			.nominal = (int64_t) q->nominal * 1000, .borrow = q->borrow < 0 ? -1 : (int64_t) q->borrow * 1000,
			.lend = q->lend < 0 ? -1 : (int64_t) q->lend * 1000 };
	}
	for (size_t i = 0; i < p->n_cohorts; i++) {
		const struct plan_cohort *c = &p->cohorts[i];
		p->nodes[p->n_queues + i] = (struct cohort_node){
			.parent = c->parent < p->n_cohorts ? (uint32_t) (p->n_queues + c->parent) : UINT32_MAX,
			.nominal = (int64_t) c->nominal * 1000, .borrow = c->borrow < 0 ? -1 : (int64_t) c->borrow * 1000,
			.lend = c->lend < 0 ? -1 : (int64_t) c->lend * 1000 };
		p->view_cohorts[i] = (sl_view_cohort){ .parent = c->parent < p->n_cohorts ? c->parent : SL_NONE, .nominal = c->nominal,
			.borrow = c->borrow, .lend = c->lend };
		memcpy(p->view_cohorts[i].name, c->name, SL_NAME_MAX);
	}
	p->tree = (struct cohort_tree){ .nodes = p->nodes, .n = p->n_queues + p->n_cohorts };
	cohort_setup(&p->tree, capacity);
	for (uint32_t i = 0; i < p->n_queues; i++)
		cohort_use(&p->tree, i, p->nominal[i] + p->borrowed[i]);
}

static struct plan_usage *usage_of(struct plan *p, const char *name)
{
	for (size_t i = 0; i < p->n_usage; i++)
		if (strcmp(p->usage[i].name, name) == 0)
			return &p->usage[i];
	return NULL;
}

/* Since the last build nothing has changed but time: the widths of then count. */
static void count_usage(struct plan *p)
{
	uint64_t now = (uint64_t) p->now.mono_ms, passed = p->counted_ms && now > p->counted_ms ? now - p->counted_ms : 0;
	p->counted_ms = now;
	for (size_t i = 0; i < p->n_usage; i++) {
		struct plan_usage *u = &p->usage[i];
		u->rest += (uint64_t) u->width * passed;
		u->used_ms += u->rest / 1000;
		u->rest %= 1000;
	}
}

/* One entry for each queue of the configuration. */
static bool keep_usage(struct plan *p, const struct plan_queue *queues, size_t n)
{
	bool same = n == p->n_usage;
	for (size_t i = 0; i < n && same; i++)
		same = strcmp(p->usage[i].name, queues[i].name) == 0;
	if (same)
		return true;
	struct plan_usage *fresh = calloc(n + 1, sizeof *fresh);
	if (!fresh)
		return false;
	for (size_t i = 0; i < n; i++) {
		const struct plan_usage *old = usage_of(p, queues[i].name);
		if (old)
			fresh[i] = *old;
		memcpy(fresh[i].name, queues[i].name, SL_NAME_MAX);
	}
	free(p->usage);
	p->usage = fresh;
	p->n_usage = n;
	return true;
}

static void view_queues(struct plan *p)
{
	for (uint32_t i = 0; i < p->n_queues; i++) {
		const struct plan_queue *q = &p->queues[i];
		p->view_queues[i] = (sl_view_queue){ .quota = q->borrow < 0 ? -1 : q->nominal + q->borrow, .used = p->used[i],
		                                     .priority = q->priority };
		memcpy(p->view_queues[i].name, q->name, SL_NAME_MAX);
		p->queue_terms[i] = (sl_view_queue_terms){ .cohort = q->cohort < p->n_cohorts ? q->cohort : SL_NONE,
			.nominal = q->nominal, .borrow = q->borrow, .lend = q->lend, .weight = q->weight ? q->weight : 1, .flags = q->flags,
			.nominal_milli = p->nominal[i], .borrowed_milli = p->borrowed[i],
			.borrowable_milli = cohort_available(&p->tree, i), .min_run_ms = q->min_run_ms };
		if (i < p->n_usage) {
			p->usage[i].width = p->nominal[i] + p->borrowed[i];
			p->queue_terms[i].used_ms = p->usage[i].used_ms;
		}
	}
}

static uint32_t user_of(struct plan *p, const sl_view_lease *v, const struct lease *lease)
{
	for (size_t i = 0; i < p->n_users; i++)
		if (p->users[i].queue == v->queue && strcmp(p->users[i].name, lease->user) == 0)
			return (uint32_t) i;
	if (p->n_users == p->room_users) {
		size_t room = 2 * p->room_users + 16;
		if (!grow(&p->users, room, sizeof *p->users))
			return SL_NONE;
		p->room_users = room;
	}
	p->users[p->n_users] = (sl_view_user){ .queue = v->queue, .quota = p->queues[v->queue].per_user };
	memcpy(p->users[p->n_users].name, lease->user, SL_NAME_MAX);
	return (uint32_t) p->n_users++;
}

static void view_users(struct plan *p)
{
	struct plan_leases *const lists[] = { &p->running, &p->waiting, &p->suspended };
	p->n_users = 0;
	for (size_t k = 0; p->count_users && k < 3; k++)
		for (size_t i = 0; i < lists[k]->n; i++) {
			const sl_view_lease *v = &lists[k]->view[i];
			if (p->queues[v->queue].per_user < 0)
				continue;
			uint32_t user = user_of(p, v, lists[k]->at[i]);
			lists[k]->terms[i].user = user;
			if (user != SL_NONE && counts(lists[k]->at[i]))
				p->users[user].used_milli += plan_width(lists[k]->at[i]);
		}
}

static void set_view(struct plan *p, uint32_t n_places)
{
	p->view = (sl_view){
		.size = sizeof p->view, .now_ms = p->now.wall_ms,
		.devices = p->view_devices, .n_devices = p->devices->n, .device_terms = p->device_terms,
		.queues = p->view_queues, .n_queues = p->n_queues, .queue_terms = p->queue_terms,
		.waiting = p->waiting.view, .n_waiting = p->waiting.n, .waiting_terms = p->waiting.terms,
		.running = p->running.view, .n_running = p->running.n, .running_terms = p->running.terms,
		.suspended = p->suspended.view, .n_suspended = p->suspended.n, .suspended_terms = p->suspended.terms,
		.machines = p->machines, .n_machines = p->n_machines, .cohorts = p->view_cohorts, .n_cohorts = p->n_cohorts,
		.places = p->places, .n_places = n_places, .users = p->users, .n_users = p->n_users,
	};
}

/* When does somebody's minimum run time pass, or a hold expire? */
static void find_wake(struct plan *p)
{
	p->wake_ms = p->later_ms;
	if (!p->waiting.n && !p->suspended.n)
		return;
	for (size_t i = 0; i < p->running.n; i++) {
		uint64_t at = plan_safe_until(p, p->running.view[i].queue, p->running.at[i]);
		if (at > p->now.wall_ms && (!p->wake_ms || at < p->wake_ms))
			p->wake_ms = at;
	}
	const struct plan_leases *const lists[] = { &p->waiting, &p->suspended };
	for (size_t k = 0; k < 2; k++)
		for (size_t i = 0; i < lists[k]->n; i++) {
			uint64_t at = lists[k]->at[i]->hold_until_ms;
			if (at && (!p->wake_ms || at < p->wake_ms))
				p->wake_ms = at;
		}
}

bool plan_build(struct plan *p, struct devices *devices, const struct plan_queue *queues, size_t n_queues,
                struct lease *const *leases, size_t n, struct lease_now now)
{
	p->devices = devices;
	p->now = now;
	p->later_ms = 0;
	p->waiting.n = p->running.n = p->suspended.n = p->n_queues = p->n_victims = 0;
	p->view = (sl_view){ .size = sizeof p->view, .now_ms = now.wall_ms };
	if (!reserve_leases(p, n) || !reserve_devices(p, devices->n) || !reserve_queues(p, n_queues))
		return false;
	count_usage(p);
	if (!keep_usage(p, queues, n_queues))
		return false;
	p->count_users = false;
	for (size_t i = 0; i < n_queues; i++) {
		p->queues[i] = queues[i];
		p->nominal[i] = p->borrowed[i] = p->used[i] = 0;
		p->count_users = p->count_users || queues[i].per_user >= 0;
	}
	p->n_queues = n_queues;
	expire_holds(devices, leases, n, now.wall_ms);
	if (!view_devices(p))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!add_lease(p, leases[i]))
			return false;
	if (!reserve_cohorts(p) || !reserve_places(p))
		return false;
	uint32_t n_places = find_places(p);
	find_suspended(p, &n_places);
	build_tree(p);
	view_queues(p);
	view_users(p);
	set_view(p, n_places);
	find_wake(p);
	return true;
}

static void free_leases(struct plan_leases *l)
{
	free(l->at);
	free(l->view);
	free(l->terms);
}

void plan_free(struct plan *p)
{
	void *const arrays[] = { p->view_devices, p->device_terms, p->machines, p->kinds, p->places, p->queues, p->view_queues,
	                         p->queue_terms, p->nominal, p->borrowed, p->used, p->nodes, p->view_cohorts, p->users,
	                         p->usage, p->victims };
	free_leases(&p->waiting);
	free_leases(&p->running);
	free_leases(&p->suspended);
	for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
		free(arrays[i]);
	index_free(&p->machine_index);
	*p = (struct plan){ 0 };
}

/* SPDX-License-Identifier: Apache-2.0 */
/* plan.c - what the scheduler sees, and the invariants that its answer is held to. */
#include "core/lease/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/error.h"
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

static bool reserve(struct plan *p, size_t n_leases, size_t n_devices, size_t n_queues)
{
	if (n_leases >= p->room_leases) {
		size_t room = n_leases + n_leases / 2 + 16;
		if (!grow(&p->waiting, room, sizeof *p->waiting) || !grow(&p->running, room, sizeof *p->running) ||
		    !grow(&p->view_waiting, room, sizeof *p->view_waiting) ||
		    !grow(&p->view_running, room, sizeof *p->view_running))
			return false;
		p->room_leases = room;
	}
	if (n_devices >= p->room_devices) {
		if (!grow(&p->view_devices, n_devices + 16, sizeof *p->view_devices))
			return false;
		p->room_devices = n_devices + 16;
	}
	if (n_queues >= p->room_queues) {
		if (!grow(&p->view_queues, n_queues + 16, sizeof *p->view_queues) ||
		    !grow(&p->used, n_queues + 16, sizeof *p->used))
			return false;
		p->room_queues = n_queues + 16;
	}
	return true;
}

static size_t find_queue(const struct plan *p, const char *name)
{
	size_t i = 0;
	while (i < p->n_queues && strcmp(p->view_queues[i].name, name) != 0)
		i++;
	return i;
}

/* The queue's place; one that the configuration has no more is added with a quota of 0. SIZE_MAX: out of memory. */
static size_t queue_of(struct plan *p, const struct lease *lease)
{
	size_t i = find_queue(p, lease->queue);
	if (i < p->n_queues)
		return i;
	if (!reserve(p, 0, 0, p->n_queues + 1))
		return SIZE_MAX;
	p->view_queues[i] = (sl_view_queue){ .quota = 0 };
	memcpy(p->view_queues[i].name, lease->queue, SL_NAME_MAX);
	p->used[i] = 0;
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
		                  : lease->started_ms ? lease->started_ms : lease->granted_ms,
		.ends_ms = lease_ends_ms(lease),
		.time_limit_ms = lease->time_ms,
	};
	memcpy(v.kind, lease->kind, sizeof v.kind);
	memcpy(v.tenant, lease->tenant, sizeof v.tenant);
	return v;
}

static void view_devices(struct plan *p)
{
	for (size_t i = 0; i < p->devices->n; i++) {
		const struct device *d = &p->devices->at[i];
		sl_view_device *v = &p->view_devices[i];
		*v = (sl_view_device){ .memory_bytes = d->memory_bytes, .numa_node = d->numa_node,
		                       .state = device_state(d), .lease = d->lease };
		memcpy(v->name, d->name, sizeof v->name);
		memcpy(v->machine, d->machine, sizeof v->machine);
		memcpy(v->kind, d->kind, sizeof v->kind);
		memcpy(v->island, d->island, sizeof v->island);
	}
}

bool plan_build(struct plan *p, struct devices *devices, const struct plan_queue *queues, size_t n_queues,
                struct lease *const *leases, size_t n, struct lease_now now)
{
	p->devices = devices;
	p->n_waiting = p->n_running = p->n_queues = 0;
	p->view = (sl_view){ .size = sizeof p->view, .now_ms = now.wall_ms };
	if (!reserve(p, n, devices->n, n_queues))
		return false;
	for (size_t i = 0; i < n_queues; i++) {
		p->view_queues[i] = (sl_view_queue){ .quota = queues[i].quota, .priority = queues[i].priority };
		memcpy(p->view_queues[i].name, queues[i].name, SL_NAME_MAX);
		p->used[i] = 0;
	}
	p->n_queues = n_queues;
	for (size_t i = 0; i < n; i++) {
		struct lease *lease = leases[i];
		bool waits = lease->state == LEASE_QUEUED;
		if (lease->wanted == 0 || (!waits && !lease_state_holds(lease->state)))
			continue;
		size_t queue = queue_of(p, lease);
		if (queue == SIZE_MAX)
			return false;
		if (waits) {
			p->view_waiting[p->n_waiting] = view_of(lease, queue, now);
			p->waiting[p->n_waiting++] = lease;
		} else {
			p->used[queue] += (int32_t) lease->wanted;
			p->view_running[p->n_running] = view_of(lease, queue, now);
			p->running[p->n_running++] = lease;
		}
	}
	view_devices(p);
	for (size_t i = 0; i < p->n_queues; i++)
		p->view_queues[i].used = p->used[i];
	p->view.devices = p->view_devices;
	p->view.n_devices = devices->n;
	p->view.queues = p->view_queues;
	p->view.n_queues = p->n_queues;
	p->view.waiting = p->view_waiting;
	p->view.n_waiting = p->n_waiting;
	p->view.running = p->view_running;
	p->view.n_running = p->n_running;
	return true;
}

void plan_free(struct plan *p)
{
	free(p->waiting);
	free(p->running);
	free(p->view_waiting);
	free(p->view_running);
	free(p->view_devices);
	free(p->view_queues);
	free(p->used);
	*p = (struct plan){ 0 };
}

static struct lease *find(struct lease *const *leases, size_t n, uint64_t number)
{
	size_t low = 0;
	for (size_t high = n; low < high;) {
		size_t middle = low + (high - low) / 2;
		if (leases[middle]->number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low < n && leases[low]->number == number ? leases[low] : NULL;
}

static int check_grant(struct plan *p, const sl_action *a, struct lease *lease, sl_error *error)
{
	unsigned long long number = a->lease;
	if (!lease)
		return find(p->running, p->n_running, a->lease)
		       ? error_set(error, SL_ECONFLICT, "L%llu has its devices already", number)
		       : error_set(error, SL_ENOTFOUND, "no lease L%llu waits", number);
	if (lease->state != LEASE_QUEUED || lease->n_places)
		return error_set(error, SL_ECONFLICT, "L%llu is %s%s: it does not wait", number, lease_state_name(lease->state),
		                 lease->n_places ? " and has its devices" : "");
	if (a->n_devices && !a->devices)
		return error_set(error, SL_EINVAL, "the grant for L%llu names no devices", number);
	size_t queue = find_queue(p, lease->queue);
	int32_t quota = p->view_queues[queue].quota;
	if (quota >= 0 && (int64_t) p->used[queue] + lease->wanted > quota)
		return error_set(error, SL_ELIMIT, "L%llu would take queue %s to %lld devices, its quota is %d", number,
		                 lease->queue, (long long) p->used[queue] + lease->wanted, quota);
	int code = devices_grant(p->devices, lease, a->devices, a->n_devices, error);
	if (code == SL_OK)
		p->used[queue] += (int32_t) lease->wanted;
	return code;
}

int plan_check(struct plan *p, const sl_action *a, struct lease **out, sl_error *error)
{
	struct lease *waiting = find(p->waiting, p->n_waiting, a->lease);
	if (a->type == SL_ACTION_GRANT) {
		*out = waiting;
		return check_grant(p, a, waiting, error);
	}
	if (a->type != SL_ACTION_PREEMPT)
		return error_set(error, SL_EINVAL, "unknown kind of action %u", a->type);
	struct lease *running = find(p->running, p->n_running, a->lease);
	if (!running || running->state != LEASE_RUNNING)
		return error_set(error, SL_ENOTFOUND, "no lease L%llu runs that could give way", (unsigned long long) a->lease);
	if (!running->preemptible)
		return error_set(error, SL_EDENIED, "L%llu is not preemptible", (unsigned long long) a->lease);
	*out = running;
	return SL_OK;
}

void plan_undo(struct plan *p, struct lease *lease)
{
	size_t queue = find_queue(p, lease->queue);
	if (queue < p->n_queues)
		p->used[queue] -= (int32_t) lease->wanted;
	devices_free_lease(p->devices, lease->number);
	lease->n_places = 0;
}

static const char *wanted_text(const struct lease *lease, char *out, size_t room)
{
	int n = snprintf(out, room, "%u %s%s", lease->wanted, lease->kind[0] ? lease->kind : "device",
	                 !lease->kind[0] && lease->wanted != 1 ? "s" : "");
	if (lease->memory_bytes && n > 0 && (size_t) n < room)
		snprintf(out + n, room - (size_t) n, " with %.1f GiB", (double) lease->memory_bytes / (double) (1ull << 30));
	return out;
}

/* Devices of one machine that suit, those that are free of them, and of the others' holders the one that ends first. */
struct count {
	unsigned suit, free;
};

static struct count count_machine(const struct devices *devices, const char *machine, const struct lease *lease)
{
	struct count c = { 0 };
	for (size_t i = 0; i < devices->n; i++) {
		const struct device *d = &devices->at[i];
		if (strcmp(d->machine, machine) != 0 || !device_suits(d, lease->kind, lease->memory_bytes))
			continue;
		c.suit++;
		c.free += device_state(d) == SL_DEVICE_FREE;
	}
	return c;
}

/* The machine with the most devices that suit (by_free: that are free), NULL: there are none. */
static const char *best_machine(const struct devices *devices, const struct lease *lease, bool by_free, struct count *best)
{
	const char *machine = NULL, *last = "";
	*best = (struct count){ 0 };
	for (size_t i = 0; i < devices->n; i++) {
		if (strcmp(devices->at[i].machine, last) == 0)
			continue;
		last = devices->at[i].machine;
		struct count c = count_machine(devices, last, lease);
		if (!machine || (by_free ? c.free > best->free : c.suit > best->suit)) {
			*best = c;
			machine = last;
		}
	}
	return machine;
}

/* " L7 (dana) ends first, at 14:05": the holder of suitable devices whose limit comes soonest. */
static void soonest(const struct plan *p, const struct lease *lease, char *out, size_t room)
{
	const struct lease *first = NULL;
	uint64_t best = UINT64_MAX;
	for (size_t i = 0; i < p->devices->n; i++) {
		const struct device *d = &p->devices->at[i];
		const struct lease *holder = d->lease ? find(p->running, p->n_running, d->lease) : NULL;
		uint64_t ends = holder && device_suits(d, lease->kind, lease->memory_bytes) ? lease_ends_ms(holder) : 0;
		if (ends && ends < best) {
			best = ends;
			first = holder;
		}
	}
	out[0] = '\0';
	if (!first)
		return;
	char at[32];
	clock_rfc3339(best, at);
	snprintf(out, room, "; L%llu ends by %.19sZ", (unsigned long long) first->number, at);
}

void plan_why(const struct plan *p, const struct lease *lease, char text[SL_ERROR_TEXT])
{
	char wanted[112], then[64];
	struct count best;
	size_t queue = find_queue(p, lease->queue);
	wanted_text(lease, wanted, sizeof wanted);
	if (queue < p->n_queues && p->view_queues[queue].quota >= 0 &&
	    (int64_t) p->used[queue] + lease->wanted > p->view_queues[queue].quota) {
		snprintf(text, SL_ERROR_TEXT, "waits for %s: queue %s has %d of its %d devices in use", wanted, lease->queue,
		         p->used[queue], p->view_queues[queue].quota);
		return;
	}
	if (!p->devices || !best_machine(p->devices, lease, true, &best)) {
		snprintf(text, SL_ERROR_TEXT, "waits for %s: no device is known yet", wanted);
		return;
	}
	soonest(p, lease, then, sizeof then);
	if (best.free < lease->wanted)
		snprintf(text, SL_ERROR_TEXT, "waits for %s on one machine: %u of %u that suit %s free%s", wanted, best.free,
		         best.suit, best.free == 1 ? "is" : "are", then);
	else
		snprintf(text, SL_ERROR_TEXT, "waits for its turn in queue %s", lease->queue);
}

int plan_fits(const struct devices *devices, const struct plan_queue *queue, const struct lease *lease, sl_error *error)
{
	char wanted[112];
	struct count best;
	wanted_text(lease, wanted, sizeof wanted);
	if (queue->quota >= 0 && lease->wanted > (uint32_t) queue->quota)
		return error_set(error, SL_EINVAL, "%s can never start in queue %s: its quota is %d device%s", wanted,
		                 queue->name, queue->quota, queue->quota == 1 ? "" : "s");
	if (devices->n == 0 || lease->wanted == 0)
		return SL_OK;
	const char *machine = best_machine(devices, lease, false, &best);
	if (best.suit >= lease->wanted)
		return SL_OK;
	if (best.suit)
		return error_set(error, SL_EINVAL, "%s on one machine can never start: the largest that could is %u, on %s",
		                 wanted, best.suit, machine);
	/* None suits: name what is there, the largest of it. */
	const struct device *largest = &devices->at[0];
	for (size_t i = 1; i < devices->n; i++) {
		const struct device *d = &devices->at[i];
		bool kind = lease->kind[0] && strcmp(d->kind, lease->kind) == 0;
		bool largest_kind = lease->kind[0] && strcmp(largest->kind, lease->kind) == 0;
		if (kind > largest_kind || (kind == largest_kind && d->memory_bytes > largest->memory_bytes))
			largest = d;
	}
	return error_set(error, SL_EINVAL, "%s can never start: no device suits; the largest is %s with %.1f GiB (%s)", wanted,
	                 largest->kind, (double) largest->memory_bytes / (double) (1ull << 30), largest->name);
}

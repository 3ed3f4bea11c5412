/* SPDX-License-Identifier: Apache-2.0 */
/* plan_why.c - why a lease waits, and what can never fit, in the core's own words. */
#include <stdio.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/str.h"
#include "core/lease/plan.h"

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
		const struct lease *holder = d->lease ? plan_find(&p->running, d->lease) : NULL;
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

/* It needs devices of the kind that it had, on its machine. */
static void why_suspended(const struct plan *p, const struct lease *lease, char text[SL_ERROR_TEXT])
{
	const struct device *was = devices_find(p->devices, str_of(lease->places[0].uuid));
	unsigned n = 0;
	for (size_t i = 0; was && i < p->devices->n; i++) {
		const struct device *d = &p->devices->at[i];
		n += strcmp(d->machine, was->machine) == 0 && strcmp(d->kind, was->kind) == 0 && device_state(d) == SL_DEVICE_FREE;
	}
	if (!was)
		snprintf(text, SL_ERROR_TEXT, "goes on when %s is there again", lease->places[0].name);
	else if (n < lease->wanted)
		snprintf(text, SL_ERROR_TEXT, "goes on when %u %s on %s are free: %u are", lease->wanted, was->kind, was->machine, n);
	else
		snprintf(text, SL_ERROR_TEXT, "waits for its turn in queue %s to go on", lease->queue);
}

void plan_why(const struct plan *p, const struct lease *lease, char text[SL_ERROR_TEXT])
{
	char wanted[112], then[64];
	struct count best;
	size_t queue = plan_queue_index(p, lease->queue);
	const struct plan_queue *q = queue < p->n_queues ? &p->queues[queue] : NULL;
	int64_t have = q ? p->nominal[queue] + p->borrowed[queue] : 0;
	wanted_text(lease, wanted, sizeof wanted);
	if (lease->state == LEASE_SUSPENDED && lease->resume_after_ms > p->now.wall_ms) {
		snprintf(text, SL_ERROR_TEXT, "is tried again in %llu s",
		         (unsigned long long) (lease->resume_after_ms - p->now.wall_ms + 999) / 1000);
		return;
	}
	if (lease->hold_until_ms) {
		snprintf(text, SL_ERROR_TEXT, "%s are held for it until those who have them are gone", wanted);
		return;
	}
	if (q && q->borrow >= 0 && have + plan_width(lease) > ((int64_t) q->nominal + q->borrow) * 1000) {
		snprintf(text, SL_ERROR_TEXT, "waits for %s: queue %s has %lld of its %d devices in use", wanted, lease->queue,
		         (long long) have / 1000, q->nominal + q->borrow);
		return;
	}
	if (!p->devices || !best_machine(p->devices, lease, true, &best)) {
		snprintf(text, SL_ERROR_TEXT, "waits for %s: no device is known yet", wanted);
		return;
	}
	if (lease->state == LEASE_SUSPENDED) {
		why_suspended(p, lease, text);
		return;
	}
	soonest(p, lease, then, sizeof then);
	if (best.free < lease->wanted)
		snprintf(text, SL_ERROR_TEXT, "waits for %s on one machine: %u of %u that suit %s free%s", wanted, best.free,
		         best.suit, best.free == 1 ? "is" : "are", then);
	else
		snprintf(text, SL_ERROR_TEXT, "waits for its turn in queue %s", lease->queue);
}

/* Would devices do that stand side by side? A machine's mostly do, and then nobody need compare all with all. */
static bool fits_side_by_side(const struct devices *devices, const struct lease *lease)
{
	uint32_t n = 0;
	for (size_t i = 0; i < devices->n; i++) {
		const struct device *d = &devices->at[i];
		if (i && strcmp(d->machine, devices->at[i - 1].machine) != 0)
			n = 0;
		n += device_suits(d, lease->kind, lease->memory_bytes);
		if (n >= lease->wanted)
			return true;
	}
	return false;
}

int plan_fits(const struct devices *devices, const struct plan_queue *queue, const struct lease *lease, sl_error *error)
{
	char wanted[112];
	struct count best;
	wanted_text(lease, wanted, sizeof wanted);
	int64_t quota = queue->borrow < 0 ? INT64_MAX : (int64_t) queue->nominal + queue->borrow;
	if (lease->wanted > quota)
		return error_set(error, SL_EINVAL, "%s can never start in queue %s: its quota is %lld device%s", wanted,
		                 queue->name, (long long) quota, quota == 1 ? "" : "s");
	if (queue->per_user >= 0 && lease->wanted > (uint32_t) queue->per_user)
		return error_set(error, SL_EINVAL, "%s can never start in queue %s: a user may have %d there", wanted, queue->name,
		                 queue->per_user);
	if (devices->n == 0 || lease->wanted == 0 || fits_side_by_side(devices, lease))
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

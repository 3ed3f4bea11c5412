/* SPDX-License-Identifier: Apache-2.0 */
/* charge.c - which part of a lease's use is due, and how it lies in the hours of the calendar.
 *
 * A charge is written in the same record as the length of the run that it moves on: after a crash both are there or
 * neither, so nothing is charged twice or forgotten. Stretches begin at the start of the run and follow each other
 * without a gap, by the lengths that the monotonic clock gave: a wall clock that jumps moves where they lie, never how
 * long they are. */
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/lease/lease.h"

#define HOUR_MS UINT64_C(3600000)

/* Where the use that is not charged yet begins and ends. False: there is none, or nothing is due of it. */
static bool due(const struct lease *lease, struct lease_now now, uint64_t every_ms, uint64_t *from, uint64_t *until)
{
	uint64_t run = lease_run_ms(lease, now);
	if (!lease->n_places || !lease->started_ms || run <= lease->charged_ms)
		return false;
	*from = lease->charged_until_ms ? lease->charged_until_ms : lease->started_ms;
	*until = *from + (run - lease->charged_ms);
	if (lease_state_over(lease->state) || lease->state == LEASE_SUSPENDED)
		return true;
	uint64_t closed = now.wall_ms - now.wall_ms % every_ms;
	if (*until > closed)
		*until = closed;
	return *until > *from;
}

bool lease_charge_due(const struct lease *lease, struct lease_now now, uint64_t every_ms)
{
	uint64_t from, until;
	return due(lease, now, every_ms, &from, &until);
}

static bool same_terms(const struct lease_place *a, const struct lease_place *b)
{
	return a->price == b->price && str_eq(str_of(a->kind), str_of(b->kind));
}

/* One charge for each kind and price among the devices. */
static void add_stretch(json_t *charges, const struct lease *lease, uint64_t from, uint64_t until)
{
	for (uint32_t i = 0; i < lease->n_places; i++) {
		const struct lease_place *place = &lease->places[i];
		uint32_t before = 0, devices = 0;
		while (before < i && !same_terms(&lease->places[before], place))
			before++;
		if (before < i)
			continue;
		for (uint32_t k = i; k < lease->n_places; k++)
			devices += same_terms(&lease->places[k], place);
		json_t *charge = json_pack("{s:I, s:I, s:I, s:I}", "from_ms", (json_int_t) from, "until_ms", (json_int_t) until,
		                           "price", (json_int_t) place->price, "device_ms", (json_int_t) ((until - from) * devices));
		json_set_str(charge, "kind", str_of(place->kind));
		json_array_append_new(charges, charge);
	}
}

json_t *lease_charge(struct lease *lease, struct lease_now now, uint64_t every_ms)
{
	uint64_t from, until;
	if (!due(lease, now, every_ms, &from, &until))
		return NULL;
	json_t *charges = json_array();
	lease->charged_ms += until - from;
	lease->charged_until_ms = until;
	for (unsigned n = 1; from < until; n++) {
		uint64_t end = from - from % HOUR_MS + HOUR_MS;
		if (end > until || n == LEASE_CHARGES_MAX)
			end = until;
		add_stretch(charges, lease, from, end);
		from = end;
	}
	return charges;
}

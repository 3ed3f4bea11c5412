/* SPDX-License-Identifier: Apache-2.0 */
/* placement_mix.c - which requests are typical, and what a machine is worth to them. */
#include "plugins/scheduler/fair/placement_private.h"

#include <stdlib.h>
#include <string.h>

static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

bool mix_init(struct mix *mix, uint32_t max_types)
{
	uint32_t slots = 16;
	while (slots < max_types * 2)
		slots *= 2;
	*mix = (struct mix){ .max_types = max_types, .n_slots = slots, .next = ESTIMATE_FIRST };
	mix->types = calloc(max_types, sizeof *mix->types);
	mix->slots = calloc(slots, sizeof *mix->slots);
	mix->tickets = calloc(2 * REMEMBERED, sizeof *mix->tickets);
	mix->gangs = calloc(max_types, sizeof *mix->gangs);
	mix->bounds = calloc(max_types, sizeof *mix->bounds);
	return mix->types && mix->slots && mix->tickets && mix->gangs && mix->bounds;
}

void mix_free(struct mix *mix)
{
	free(mix->types);
	free(mix->slots);
	free(mix->tickets);
	free(mix->gangs);
	free(mix->bounds);
}

static bool same(const struct placement_request *a, const struct placement_request *b)
{
	return a->cpu_milli == b->cpu_milli && a->memory == b->memory && a->models == b->models &&
	       a->devices == b->devices && a->milli == b->milli;
}

static uint32_t slot_of(const struct mix *mix, const struct placement_request *r)
{
	uint64_t state = (uint64_t) r->cpu_milli * UINT64_C(0xff51afd7ed558ccd) + (uint64_t) r->memory;
	state = next_random(&state) ^ r->models;
	state = next_random(&state) ^ ((uint64_t) r->devices << 32 | r->milli);
	uint32_t at = (uint32_t) next_random(&state) & (mix->n_slots - 1);
	while (mix->slots[at] && !same(&mix->types[mix->slots[at] - 1].request, r))
		at = (at + 1) & (mix->n_slots - 1);
	return at;
}

uint32_t mix_find(const struct mix *mix, const struct placement_request *request)
{
	return mix->slots[slot_of(mix, request)] - 1; /* NO_ID from an empty slot */
}

uint32_t mix_intern(struct mix *mix, const struct placement_request *request)
{
	uint32_t at = slot_of(mix, request);
	if (!mix->slots[at]) {
		if (mix->n_types == mix->max_types)
			return NO_ID;
		mix->types[mix->n_types] = (struct type){ .request = *request };
		mix->slots[at] = ++mix->n_types;
	}
	return mix->slots[at] - 1;
}

/* Types that have not been seen for long go. */
static void drop_unseen(struct mix *mix)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < mix->n_types; i++)
		if (mix->types[i].count)
			mix->types[n++] = mix->types[i];
	mix->n_types = n;
	memset(mix->slots, 0, mix->n_slots * sizeof *mix->slots);
	for (uint32_t i = 0; i < n; i++)
		mix->slots[slot_of(mix, &mix->types[i].request)] = i + 1;
}

static void halve(struct mix *mix)
{
	mix->counted = 0;
	for (uint32_t i = 0; i < mix->n_types; i++)
		mix->counted += mix->types[i].count /= 2;
}

static void add_bound(struct mix *mix, uint64_t models, double demand)
{
	uint32_t i = 0;
	while (i < mix->n_bounds && mix->bounds[i].models != models)
		i++;
	if (i == mix->n_bounds)
		mix->bounds[mix->n_bounds++] = (struct bound){ models, 0 };
	mix->bounds[i].demand += demand;
}

static void draw_streams(struct mix *mix, uint32_t n_tickets)
{
	mix->random = 1; /* the same draw from the same counts */
	for (uint32_t s = 0; s < STREAMS; s++)
		for (uint32_t i = 0; i < STREAM_LENGTH; i++)
			mix->stream[s][i] = (uint16_t) mix->tickets[next_random(&mix->random) % n_tickets];
}

static void estimate(struct mix *mix)
{
	uint32_t n_tickets = 0;
	mix->n_gangs = mix->n_bounds = 0;
	mix->total = 0;
	drop_unseen(mix);
	for (uint32_t i = 0; i < mix->n_types; i++) {
		const struct type *t = &mix->types[i];
		double demand = (double) t->count * t->request.devices * t->request.milli;
		if (t->request.devices == 0)
			continue;
		mix->total += demand;
		if (t->request.devices > 1)
			mix->gangs[mix->n_gangs++] = (struct gang){ i, demand };
		if (t->request.models)
			add_bound(mix, t->request.models, demand);
		for (uint32_t k = 0; k < t->count; k++)
			mix->tickets[n_tickets++] = i;
	}
	for (uint32_t i = 0; i < mix->n_gangs; i++)
		mix->gangs[i].share /= mix->total;
	mix->known = n_tickets > 0;
	if (mix->known)
		draw_streams(mix, n_tickets);
}

bool mix_learn(struct mix *mix, const struct placement_request *request)
{
	uint32_t id = mix_intern(mix, request);
	if (id != NO_ID) {
		mix->types[id].count++;
		mix->counted++;
	}
	if (++mix->since < mix->next)
		return false;
	mix->since = 0;
	mix->next = mix->next * 2 < ESTIMATE_EVERY ? mix->next * 2 : ESTIMATE_EVERY;
	if (mix->counted >= REMEMBERED)
		halve(mix);
	estimate(mix);
	return true;
}

void shape_take(struct shape *s, const struct placement_request *r, uint32_t level)
{
	if (s->cpu_milli != PLACEMENT_UNKNOWN)
		s->cpu_milli -= r->cpu_milli;
	if (s->memory != PLACEMENT_UNKNOWN)
		s->memory -= r->memory;
	s->free_sum -= r->devices * r->milli;
	if (r->milli == PLACEMENT_WHOLE || r->devices == 0) {
		s->n -= r->devices;
		return;
	}
	uint32_t at = 0;
	while (s->free[at] < level)
		at++;
	uint16_t rest = (uint16_t) (s->free[at] - r->milli);
	if (rest == 0) {
		s->n--;
		memmove(s->free + at, s->free + at + 1, (s->n - at) * sizeof *s->free);
		return;
	}
	for (; at > 0 && s->free[at - 1] > rest; at--)
		s->free[at] = s->free[at - 1];
	s->free[at] = rest;
}

/* What one stream uses of a copy of the shape. */
static uint32_t fill_by(struct shape s, const struct mix *mix, const uint16_t *stream)
{
	uint32_t free = s.free_sum, offered = 0, most = 4 * free + 2 * PLACEMENT_WHOLE;
	for (uint32_t i = 0; offered < most && s.free_sum > 0; i = i + 1 == STREAM_LENGTH ? 0 : i + 1) {
		const struct placement_request *r = &mix->types[stream[i]].request;
		offered += r->devices * r->milli;
		if (shape_fits(&s, r))
			shape_take(&s, r, r->milli);
	}
	return free - s.free_sum;
}

double shape_fill(const struct shape *s, const struct mix *mix)
{
	uint64_t used = 0;
	if (!mix->known || s->free_sum == 0)
		return 0;
	for (uint32_t i = 0; i < STREAMS; i++)
		used += fill_by(*s, mix, mix->stream[i]);
	return (double) used / STREAMS;
}

double shape_gangs(const struct shape *s, const struct mix *mix)
{
	double lost = 0;
	for (uint32_t i = 0; i < mix->n_gangs; i++)
		if (!shape_fits(s, &mix->types[mix->gangs[i].type].request))
			lost += mix->gangs[i].share;
	return lost * s->free_sum;
}

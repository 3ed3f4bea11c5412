/* SPDX-License-Identifier: Apache-2.0 */
/* place.c - where a lease fits, what is kept free for whom, who gives way at least cost. */
#include <string.h>

#include "plugins/scheduler/fair/fair.h"

static int suits(const struct fair *f, const sl_view_lease *lease, const sl_view_lease_terms *terms, uint32_t d)
{
	return (!lease->kind[0] || f->view->device_terms[d].kind == terms->kind) &&
	       f->view->devices[d].memory_bytes >= lease->memory_bytes;
}

static int is_free(const struct fair *f, uint32_t d)
{
	return f->view->devices[d].state == SL_DEVICE_FREE && !f->taken[d];
}

void place_setup(struct fair *f)
{
	const sl_view *v = f->view;
	memset(f->machine_first, 0, (v->n_machines + 1) * sizeof *f->machine_first);
	memset(f->reserves, 0, v->n_machines * sizeof *f->reserves);
	f->n_dead = f->n_reserved = 0;
	memset(f->taken, 0, v->n_devices);
	memset(f->leaving, 0, v->n_running);
	memset(f->promoted, 0, v->n_running);
	for (uint32_t d = 0; d < v->n_devices; d++) {
		f->machine_first[v->device_terms[d].machine + 1]++;
		f->runner[d] = SL_NONE;
	}
	for (size_t m = 0; m < v->n_machines; m++)
		f->machine_first[m + 1] += f->machine_first[m];
	for (uint32_t d = 0; d < v->n_devices; d++) /* leaves each first one machine too far ... */
		f->machine_devices[f->machine_first[v->device_terms[d].machine]++] = d;
	memmove(f->machine_first + 1, f->machine_first, v->n_machines * sizeof *f->machine_first); /* ... and back */
	f->machine_first[0] = 0;
	for (uint32_t r = 0; r < v->n_running; r++)
		for (uint32_t k = 0; k < v->running_terms[r].n_places; k++)
			f->runner[v->places[v->running_terms[r].first_place + k]] = r;
	pool_setup(f);
	pool_learn(f);
}

int place_allowed(const struct fair *f, const sl_view_lease *lease, uint32_t m)
{
	const struct reserve *r = &f->reserves[m];
	if (!r->used || r->spare >= lease->devices)
		return 1;
	return lease->time_limit_ms && r->at_ms != UINT64_MAX && f->view->now_ms + lease->time_limit_ms <= r->at_ms;
}

static int is_usable(const struct fair *f, const sl_view_lease *lease, const sl_view_lease_terms *terms, uint32_t model,
                     uint32_t d)
{
	return is_free(f, d) && (model == SL_NONE || f->device_model[d] == model) && suits(f, lease, terms, d);
}

/* Free devices of the machine that suit it, all of the model if not SL_NONE, of one island where enough are; returns how
 * many there are. */
static uint32_t free_on(const struct fair *f, const sl_view_lease *lease, const sl_view_lease_terms *terms, uint32_t m,
                        uint32_t model, uint32_t *out)
{
	uint32_t n = 0, from = f->machine_first[m], to = f->machine_first[m + 1];
	for (uint32_t k = from; k < to && out && lease->devices > 1; k++) {
		uint32_t island = f->view->device_terms[f->machine_devices[k]].island, found = 0;
		for (uint32_t j = k; j < to && island != SL_NONE && found < lease->devices; j++) {
			uint32_t d = f->machine_devices[j];
			if (f->view->device_terms[d].island == island && is_usable(f, lease, terms, model, d))
				out[found++] = d;
		}
		if (found == lease->devices)
			return found;
	}
	for (uint32_t k = from; k < to; k++) {
		uint32_t d = f->machine_devices[k];
		if (!is_usable(f, lease, terms, model, d))
			continue;
		if (out && n < lease->devices)
			out[n] = d;
		n++;
	}
	return n;
}

static uint32_t *room_for(struct fair *f, uint32_t n)
{
	return f->n_chosen + n <= f->room_chosen ? f->chosen + f->n_chosen : NULL;
}

static int is_dead(const struct fair *f, const struct dead *d)
{
	for (uint32_t i = 0; i < f->n_dead; i++) {
		const struct dead *e = &f->dead[i];
		const struct placement_request *a = &e->request, *b = &d->request;
		if (e->memory_bytes == d->memory_bytes && e->time_limit_ms == d->time_limit_ms && e->kind == d->kind &&
		    e->any_kind == d->any_kind && e->none == d->none && a->devices == b->devices && a->models == b->models &&
		    a->cpu_milli == b->cpu_milli && a->memory == b->memory)
			return 1;
	}
	return 0;
}

/* The tightest machine: small gaps are filled first, big ones stay for those who need them. UINT32_MAX: none. */
static uint32_t tightest(const struct fair *f, const sl_view_lease *lease, const sl_view_lease_terms *terms,
                         const struct placement_request *request)
{
	uint32_t best = UINT32_MAX, best_n = UINT32_MAX;
	for (uint32_t m = 0; m < f->view->n_machines && best_n > lease->devices; m++) {
		if (f->cpu_free[m] < request->cpu_milli || f->memory_free[m] < request->memory || !place_allowed(f, lease, m))
			continue;
		uint32_t n = free_on(f, lease, terms, m, SL_NONE, NULL);
		if (n >= lease->devices && n < best_n) {
			best = m;
			best_n = n;
		}
	}
	return best;
}

/* A suspended lease on its own machine. Any other where the placement says; where it sees nothing but cannot see all, the
 * tightest machine. */
int place_free(struct fair *f, const sl_view_lease *lease, const sl_view_lease_terms *terms, struct spot *spot)
{
	uint32_t model = SL_NONE;
	const struct dead shape = pool_shape(f, lease, terms);
	*spot = (struct spot){ .machine = UINT32_MAX };
	if (f->pinned != SL_NONE) {
		spot->machine = place_allowed(f, lease, f->pinned) ? f->pinned : UINT32_MAX;
	} else if (is_dead(f, &shape)) {
		return 0;
	} else if (!pool_choose(f, lease, &shape, &spot->machine, &model) && f->partial) {
		spot->machine = tightest(f, lease, terms, &shape.request);
	}
	if (spot->machine == UINT32_MAX && f->pinned == SL_NONE && f->n_dead < DEAD_MAX)
		f->dead[f->n_dead++] = shape;
	spot->devices = room_for(f, lease->devices);
	return spot->machine != UINT32_MAX && spot->devices &&
	       free_on(f, lease, terms, spot->machine, model, spot->devices) >= lease->devices;
}

enum { KEEPS = 0, GOES, GOES_LATER };

/* Does the running lease give way? As the core's rules have it, but of equally urgent borrowers only such of a queue whose
 * share stays above the taker's. *later: when its minimum run time will have passed. */
static int gives_way(const struct fair *f, const sl_view_lease *lease, int borrows, uint32_t r, uint64_t *later)
{
	const sl_view *v = f->view;
	const sl_view_lease *victim = &v->running[r];
	const sl_view_lease_terms *t = &v->running_terms[r];
	const sl_view_queue_terms *q = &v->queue_terms[lease->queue], *vq = &v->queue_terms[victim->queue];
	int own = victim->queue == lease->queue, borrowed = (t->flags & SL_LEASE_BORROWED) && !f->promoted[r];
	int64_t mine = fair_priority(v, lease), its = fair_priority(v, victim);
	int goes = 0;
	if ((t->flags & SL_LEASE_LEAVING) || f->leaving[r])
		return KEEPS;
	if (!borrows && borrowed)
		goes = own ? its <= mine : (q->flags & SL_QUEUE_RECLAIM) != 0;
	if (!goes && victim->preemptible && (borrowed || (!borrows && own))) {
		if (own) {
			goes = (q->flags & SL_QUEUE_PREEMPT_OWN) && its < mine;
		} else if (borrowed && (q->flags & SL_QUEUE_PREEMPT_OTHERS)) {
			double after = (double) (f->queues[lease->queue].borrowed + fair_width(lease)) / q->weight;
			double before = (double) f->queues[victim->queue].borrowed / vq->weight;
			goes = its < mine || (its == mine && victim->devices <= lease->devices && after < before);
		}
	}
	if (!goes)
		return KEEPS;
	uint64_t safe = t->granted_ms + vq->min_run_ms;
	if (safe <= v->now_ms)
		return GOES;
	*later = safe;
	return GOES_LATER;
}

struct victim {
	uint32_t runner, devices; /* that suit, on this machine */
	uint64_t cost;
};

static uint64_t cost_of(const struct fair *f, uint32_t r)
{
	const sl_view_lease_terms *t = &f->view->running_terms[r];
	uint64_t lost = t->flags & SL_LEASE_SUSPENDABLE ? 0 : t->lost_ms;
	return (lost + t->restart_ms) * f->view->running[r].devices + 1; /* fewer of equal ones */
}

static uint32_t own_nominal(const struct fair *f, const sl_view_lease *lease, uint32_t r)
{
	const sl_view_lease *victim = &f->view->running[r];
	int borrowed = (f->view->running_terms[r].flags & SL_LEASE_BORROWED) && !f->promoted[r];
	return victim->queue == lease->queue && !borrowed ? victim->devices : 0;
}

/* The victims of one machine as a set of bits; 0 with *found 0: none will do. */
static uint64_t cheapest(const struct fair *f, const sl_view_lease *lease, const struct victim *v, uint32_t n, uint32_t spare,
                         int64_t give_up, int64_t excess, int same_ok, int *found, uint64_t *cost)
{
	uint64_t best = 0;
	*found = 0;
	for (uint64_t mask = 1; mask < 1ull << n; mask++) {
		uint64_t sum = 0;
		int64_t own = 0, queue = 0, equal = 0;
		uint32_t have = spare;
		for (uint32_t i = 0; i < n; i++)
			if (mask >> i & 1) {
				const sl_view_lease *l = &f->view->running[v[i].runner];
				sum += v[i].cost;
				have += v[i].devices;
				own += (int64_t) own_nominal(f, lease, v[i].runner) * 1000;
				queue += l->queue == lease->queue ? fair_width(l) : 0;
				equal += fair_priority(f->view, l) == fair_priority(f->view, lease) ? l->devices : 0;
			}
		if (have < lease->devices || (uint32_t) __builtin_popcountll(mask) > lease->devices || own < give_up || queue < excess || (*found && sum >= *cost) || (!same_ok && equal > lease->devices))
			continue;
		*found = 1;
		*cost = sum;
		best = mask;
	}
	return best;
}

static void add_victim(const struct fair *f, struct victim *v, uint32_t *n, uint32_t r)
{
	uint32_t i = 0;
	while (i < *n && v[i].runner != r)
		i++;
	if (i == *n && *n < MASKED_MAX)
		v[(*n)++] = (struct victim){ .runner = r, .cost = cost_of(f, r) };
	if (i < *n)
		v[i].devices++;
}

static uint32_t fill(const struct fair *f, const sl_view_lease *lease, const sl_view_lease_terms *terms, uint32_t m,
                     const struct victim *v, uint32_t n, uint64_t mask, uint32_t *out)
{
	uint32_t count = 0;
	uint64_t asked = 0;
	/* One device of each victim, so that each is one; then more of them; then free ones. */
	for (int pass = 0; pass < 3; pass++)
		for (uint32_t k = f->machine_first[m]; k < f->machine_first[m + 1] && count < lease->devices; k++) {
			uint32_t d = f->machine_devices[k], i = 0, used = 0;
			while (i < n && !((mask >> i & 1) && v[i].runner == f->runner[d]))
				i++;
			while (used < count && out[used] != d)
				used++;
			int wanted = pass == 0 ? i < n && !(asked >> i & 1) : pass == 1 ? i < n : is_free(f, d);
			if (!wanted || used < count || !suits(f, lease, terms, d) || f->taken[d])
				continue;
			asked |= i < n ? 1ull << i : 0;
			out[count++] = d;
		}
	return count;
}

int place_evict(struct fair *f, const sl_view_lease *lease, const sl_view_lease_terms *terms, int borrows, struct spot *spot)
{
	int64_t room = (int64_t) f->view->queue_terms[lease->queue].nominal * 1000 - f->queues[lease->queue].nominal;
	int64_t give_up = borrows ? 0 : fair_width(lease) - room; /* nominal width of its own queue that must go */
	int64_t excess = width_excess(f, lease->queue, fair_width(lease)); /* and of any lease of its queue */
	int any = 0;
	*spot = (struct spot){ .devices = room_for(f, lease->devices), .cost = UINT64_MAX };
	for (uint32_t m = 0; spot->devices && m < f->view->n_machines; m++) {
		if (f->pinned != SL_NONE && m != f->pinned)
			continue;
		struct victim v[MASKED_MAX];
		uint32_t n = 0, spare = 0, later = 0;
		uint64_t last = 0, cost = 0;
		int found;
		for (uint32_t k = f->machine_first[m]; k < f->machine_first[m + 1]; k++) {
			uint32_t d = f->machine_devices[k];
			uint64_t safe = 0;
			if (f->taken[d] || f->view->device_terms[d].hold || !suits(f, lease, terms, d))
				continue;
			if (is_free(f, d)) {
				spare += place_allowed(f, lease, m) != 0;
			} else if (f->view->devices[d].state == SL_DEVICE_GRANTED && f->runner[d] != SL_NONE) {
				int how = gives_way(f, lease, borrows, f->runner[d], &safe);
				if (how == GOES)
					add_victim(f, v, &n, f->runner[d]);
				else if (how == GOES_LATER)
					later++;
				last = safe > last ? safe : last;
			}
		}
		uint32_t now = spare;
		for (uint32_t i = 0; i < n; i++)
			now += v[i].devices;
		if (now < lease->devices) {
			if (now + later >= lease->devices && (!spot->soonest_ms || last < spot->soonest_ms))
				spot->soonest_ms = last;
			continue;
		}
		uint64_t mask = cheapest(f, lease, v, n, spare, give_up, excess, !borrows, &found, &cost);
		if (!found || (any && cost >= spot->cost))
			continue;
		any = 1;
		spot->cost = cost;
		spot->machine = m;
		fill(f, lease, terms, m, v, n, mask, spot->devices);
	}
	return any;
}

/* By when the devices of one machine that suit are free, enough of them: the limits of those who have them, sorted out by
 * looking for the next one again and again, as machines are small. UINT64_MAX: no limit says so. */
static uint64_t fits_at(const struct fair *f, const sl_view_lease *lease, const sl_view_lease_terms *terms, uint32_t m,
                        uint32_t *have)
{
	uint64_t at = f->view->now_ms;
	for (;;) {
		uint64_t next = UINT64_MAX;
		uint32_t n = 0, all = 0;
		for (uint32_t k = f->machine_first[m]; k < f->machine_first[m + 1]; k++) {
			uint32_t d = f->machine_devices[k], r = f->runner[d];
			uint32_t state = f->view->devices[d].state;
			if (!suits(f, lease, terms, d) || state == SL_DEVICE_FAULTY || state == SL_DEVICE_DRAINED || state == SL_DEVICE_DRAINING)
				continue;
			all++;
			uint64_t ends = is_free(f, d) ? 0 : r != SL_NONE && f->view->running[r].ends_ms ? f->view->running[r].ends_ms : UINT64_MAX;
			if (ends <= at)
				n++;
			else if (ends < next)
				next = ends;
		}
		*have = all < lease->devices ? 0 : n >= lease->devices ? n : all;
		if (n >= lease->devices || all < lease->devices || next == UINT64_MAX)
			return n >= lease->devices ? at : UINT64_MAX;
		at = next;
	}
}

int place_reserve(struct fair *f, const sl_view_lease *lease, const sl_view_lease_terms *terms, uint64_t at_ms, struct reserve *out)
{
	uint32_t best = UINT32_MAX, best_have = 0, best_free = 0;
	uint64_t best_at = UINT64_MAX;
	for (uint32_t m = 0; m < f->view->n_machines; m++) {
		uint32_t have, free_now;
		if (f->reserves[m].used || (f->pinned != SL_NONE && m != f->pinned))
			continue;
		uint64_t at = fits_at(f, lease, terms, m, &have);
		free_now = have ? free_on(f, lease, terms, m, SL_NONE, NULL) : 0;
		if (!have || (best != UINT32_MAX && (at > best_at || (at == best_at && free_now <= best_free))))
			continue;
		best = m;
		best_at = at;
		best_have = have;
		best_free = free_now;
	}
	if (best == UINT32_MAX)
		return 0;
	f->reserves[best] = *out = (struct reserve){ .used = 1, .at_ms = at_ms && at_ms < best_at ? at_ms : best_at,
		.spare = best_at == UINT64_MAX ? 0 : best_have - lease->devices };
	f->reserved[f->n_reserved++] = best;
	return 1;
}

void place_count(const struct fair *f, const sl_view_lease *lease, const sl_view_lease_terms *terms, uint32_t *most_free,
                 uint32_t *most, uint32_t *all_free)
{
	*most_free = *most = *all_free = 0;
	for (uint32_t m = 0; m < f->view->n_machines; m++) {
		if (f->pinned != SL_NONE && m != f->pinned)
			continue;
		uint32_t suit = 0, n = free_on(f, lease, terms, m, SL_NONE, NULL);
		for (uint32_t k = f->machine_first[m]; k < f->machine_first[m + 1]; k++)
			suit += suits(f, lease, terms, f->machine_devices[k]) != 0;
		*most_free = n > *most_free ? n : *most_free;
		*most = suit > *most ? suit : *most;
		*all_free += n;
	}
}

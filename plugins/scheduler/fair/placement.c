/* SPDX-License-Identifier: Apache-2.0 */
/* placement.c - machines by their state, what each state is worth, and the best option for a request. */
#include "plugins/scheduler/fair/placement_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { REQUESTS_MAX = 1024, STATES_MAX = 65536, SLOTS_MIN = 64, STEP = 10 };
/* Part of the capacity that counts as free beside what is, for scarcity. */
#define LEAVING 0.05

/* A state that some machine is in, was in, or could come into. */
struct state {
	uint64_t hash;
	int64_t cpu_milli, memory;
	size_t free;        /* its free thousandths stand at pool[free] */
	uint32_t model, n, free_sum;
	uint32_t round;     /* the choice that has looked at it last */
	double fill, gangs;
};

/* The best option of a state for a type of request. */
struct option {
	uint32_t state, type; /* NO_ID: an empty slot */
	float worth;          /* change of fill and gangs, milli; scarcity comes to it by model */
	uint32_t level;       /* NO_LEVEL: it does not fit */
};
#define NO_LEVEL UINT32_MAX

struct machine {
	struct shape shape;
	uint32_t capacity; /* devices in service */
	uint32_t state;    /* NO_ID: not looked up since all were dropped */
};

struct placement {
	struct placement_terms terms;
	struct mix mix;
	struct machine *machines;
	uint32_t n_machines, room_machines;
	double capacity[PLACEMENT_MODELS_MAX], free[PLACEMENT_MODELS_MAX]; /* milli by model */
	double scarcity[PLACEMENT_MODELS_MAX];
	bool scarcity_known; /* else something has changed since */

	struct state *states;
	uint32_t n_states, *slots, n_slots;
	uint16_t *pool;
	size_t n_pool, room_pool;
	struct option *options;
	uint32_t n_options, n_option_slots;
	uint32_t round;
};

static uint32_t power_of_two(uint32_t n)
{
	uint32_t p = SLOTS_MIN;
	while (p < n)
		p *= 2;
	return p;
}

static void drop_options(struct placement *p)
{
	for (uint32_t i = 0; i < p->n_option_slots; i++)
		p->options[i].state = NO_ID;
	p->n_options = 0;
}

static void drop_states(struct placement *p)
{
	if (!p->n_states) /* then there are no options either; many may be learned between two choices */
		return;
	memset(p->slots, 0, p->n_slots * sizeof *p->slots);
	p->n_states = 0;
	p->n_pool = 0;
	for (uint32_t i = 0; i < p->n_machines; i++)
		p->machines[i].state = NO_ID;
	drop_options(p);
}

struct placement *placement_new(const struct placement_terms *terms)
{
	struct placement *p = calloc(1, sizeof *p);
	if (!p)
		return NULL;
	p->terms = *terms;
	uint32_t requests = terms->requests_max ? terms->requests_max : REQUESTS_MAX;
	p->terms.requests_max = requests < UINT16_MAX ? requests : UINT16_MAX;
	if (!p->terms.states_max)
		p->terms.states_max = STATES_MAX;
	p->n_slots = power_of_two(2 * p->terms.states_max);
	p->n_option_slots = power_of_two(OPTIONS_PER_STATE * p->terms.states_max);
	p->states = calloc(p->terms.states_max, sizeof *p->states);
	p->slots = calloc(p->n_slots, sizeof *p->slots);
	p->options = calloc(p->n_option_slots, sizeof *p->options);
	if (!mix_init(&p->mix, p->terms.requests_max) || !p->states || !p->slots || !p->options) {
		placement_free(p);
		return NULL;
	}
	drop_options(p);
	return p;
}

void placement_free(struct placement *p)
{
	if (!p)
		return;
	mix_free(&p->mix);
	free(p->machines);
	free(p->states);
	free(p->slots);
	free(p->pool);
	free(p->options);
	free(p);
}

static void count(struct placement *p, const struct machine *m, int sign)
{
	if (m->capacity) {
		p->capacity[m->shape.model] += sign * (double) m->capacity * PLACEMENT_WHOLE;
		p->free[m->shape.model] += sign * (double) m->shape.free_sum;
		p->scarcity_known = false;
	}
}

static int ascending(const void *a, const void *b)
{
	return (int) *(const uint16_t *) a - (int) *(const uint16_t *) b;
}

static bool shape_from(struct shape *s, const struct placement_machine *m)
{
	if (m->model >= PLACEMENT_MODELS_MAX || m->n_devices > PLACEMENT_DEVICES_MAX)
		return false;
	*s = (struct shape){ .cpu_milli = m->cpu_milli, .memory = m->memory, .model = m->model };
	for (uint32_t i = 0; i < m->n_devices; i++) {
		if (m->free_milli[i] > PLACEMENT_WHOLE)
			return false;
		s->free_sum += m->free_milli[i];
		if (m->free_milli[i])
			s->free[s->n++] = m->free_milli[i];
	}
	qsort(s->free, s->n, sizeof *s->free, ascending);
	return true;
}

static bool grow_machines(struct placement *p, uint32_t n)
{
	if (n > p->room_machines) {
		uint32_t room = n > 2 * p->room_machines ? n : 2 * p->room_machines;
		struct machine *more = realloc(p->machines, room * sizeof *more);
		if (!more)
			return false;
		p->machines = more;
		p->room_machines = room;
	}
	for (; p->n_machines < n; p->n_machines++)
		p->machines[p->n_machines] = (struct machine){ .state = NO_ID };
	return true;
}

bool placement_set(struct placement *p, uint32_t index, const struct placement_machine *machine)
{
	struct shape shape;
	if (index >= UINT32_MAX / 2 || !shape_from(&shape, machine) || !grow_machines(p, index + 1))
		return false;
	struct machine *m = &p->machines[index];
	count(p, m, -1);
	*m = (struct machine){ .shape = shape, .capacity = machine->n_devices, .state = NO_ID };
	count(p, m, 1);
	return true;
}

void placement_shrink(struct placement *p, uint32_t n)
{
	while (p->n_machines > n)
		count(p, &p->machines[--p->n_machines], -1);
}

void placement_learn(struct placement *p, const struct placement_request *request)
{
	if (request->devices > PLACEMENT_DEVICES_MAX || request->milli > PLACEMENT_WHOLE)
		return; /* fits nowhere */
	if (mix_learn(&p->mix, request)) {
		p->scarcity_known = false;
		drop_states(p);
	}
}

/* How much of what a model has must go to requests that can have no other: the demand that is bound to a set of
 * models, were all that is free in demand, by what is free of these. 1: nothing of it is to spare. A model that others
 * have filled up becomes scarce by that. A part of the capacity is added on both sides, since what runs will leave. */
static void weigh_scarcity(struct placement *p)
{
	double room[PLACEMENT_MODELS_MAX], all = 0;
	for (uint32_t m = 0; m < PLACEMENT_MODELS_MAX; m++) {
		room[m] = p->free[m] + LEAVING * p->capacity[m];
		all += room[m];
		p->scarcity[m] = 0;
	}
	for (uint32_t i = 0; i < p->mix.n_bounds; i++) {
		const struct bound *b = &p->mix.bounds[i];
		double of_these = 0;
		for (uint64_t left = b->models; left; left &= left - 1)
			of_these += room[__builtin_ctzll(left)];
		if (of_these <= 0 || of_these >= all)
			continue;
		for (uint64_t left = b->models; left; left &= left - 1)
			p->scarcity[__builtin_ctzll(left)] += b->demand / p->mix.total * all / of_these;
	}
	for (uint32_t m = 0; m < PLACEMENT_MODELS_MAX; m++)
		p->scarcity[m] = fmin(1, p->scarcity[m]);
	p->scarcity_known = true;
}

static uint64_t mixed(uint64_t h, uint64_t value)
{
	h = (h ^ value) * UINT64_C(0x9fb21c651e98df25);
	return h ^ h >> 32;
}

static uint64_t shape_hash(const struct shape *s)
{
	uint64_t h = mixed(mixed(UINT64_C(0x27d4eb2f165667c5), (uint64_t) s->cpu_milli), (uint64_t) s->memory);
	h = mixed(h, (uint64_t) s->model << 32 | s->n);
	for (uint32_t i = 0; i < s->n; i++)
		h = mixed(h, s->free[i]);
	return h;
}

static bool is_state(const struct placement *p, const struct state *st, uint64_t hash, const struct shape *s)
{
	return st->hash == hash && st->cpu_milli == s->cpu_milli && st->memory == s->memory && st->model == s->model &&
	       st->n == s->n && memcmp(p->pool + st->free, s->free, s->n * sizeof *s->free) == 0;
}

static bool room_in_pool(struct placement *p, size_t more)
{
	if (p->n_pool + more <= p->room_pool)
		return true;
	size_t room = 2 * p->room_pool + 4096;
	uint16_t *bigger = realloc(p->pool, room * sizeof *bigger);
	if (!bigger)
		return false;
	p->pool = bigger;
	p->room_pool = room;
	return true;
}

/* The state's number, its values computed when it is new. NO_ID: no room is left. */
static uint32_t state_of(struct placement *p, const struct shape *s)
{
	uint64_t hash = shape_hash(s);
	uint32_t at = (uint32_t) hash & (p->n_slots - 1);
	for (; p->slots[at]; at = (at + 1) & (p->n_slots - 1))
		if (is_state(p, &p->states[p->slots[at] - 1], hash, s))
			return p->slots[at] - 1;
	if (p->n_states == p->terms.states_max || !room_in_pool(p, s->n))
		return NO_ID;
	p->states[p->n_states] = (struct state){ .hash = hash, .cpu_milli = s->cpu_milli, .memory = s->memory,
		.free = p->n_pool, .model = s->model, .n = s->n, .free_sum = s->free_sum, .round = p->round - 1,
		.fill = shape_fill(s, &p->mix), .gangs = shape_gangs(s, &p->mix) };
	memcpy(p->pool + p->n_pool, s->free, s->n * sizeof *s->free);
	p->n_pool += s->n;
	p->slots[at] = ++p->n_states;
	return p->n_states - 1;
}

/* What the shape is worth, from the table where there is room. */
static void worth(struct placement *p, const struct shape *s, double *fill, double *gangs)
{
	uint32_t id = state_of(p, s);
	*fill = id != NO_ID ? p->states[id].fill : shape_fill(s, &p->mix);
	*gangs = id != NO_ID ? p->states[id].gangs : shape_gangs(s, &p->mix);
}

/* The change of worth when the request takes from a device of this level. */
static float worth_level(struct placement *p, const struct shape *before, double fill, double gangs,
                         const struct placement_request *r, uint32_t level)
{
	struct shape after = *before;
	double fill_after, gangs_after;
	shape_take(&after, r, level);
	worth(p, &after, &fill_after, &gangs_after);
	return (float) (fill_after - fill + p->terms.gang_weight * (gangs - gangs_after));
}

/* The best level, computed. Level NO_LEVEL: it does not fit. */
static struct option best_level(struct placement *p, const struct shape *s, const struct placement_request *r)
{
	struct option best = { .level = NO_LEVEL };
	double fill, gangs;
	if (!shape_fits(s, r))
		return best;
	worth(p, s, &fill, &gangs);
	if (r->devices == 0 || r->milli == PLACEMENT_WHOLE) {
		best.level = PLACEMENT_WHOLE;
		best.worth = worth_level(p, s, fill, gangs, r, PLACEMENT_WHOLE);
		return best;
	}
	for (uint32_t i = 0; i < s->n; i++) {
		if (s->free[i] < r->milli || (i > 0 && s->free[i] == s->free[i - 1]))
			continue;
		float value = worth_level(p, s, fill, gangs, r, s->free[i]);
		if (best.level == NO_LEVEL || floorf(value / STEP + 0.5f) > floorf(best.worth / STEP + 0.5f)) {
			best.worth = value;
			best.level = s->free[i];
		}
	}
	return best;
}

static int32_t score_of(const struct placement *p, const struct option *o, const struct machine *m,
                        const struct placement_request *r)
{
	double used = (double) r->devices * r->milli;
	double score = (double) o->worth - p->terms.scarcity_weight * p->scarcity[m->shape.model] * used;
	return (int32_t) floor(score / STEP + 0.5);
}

static struct option *option_slot(struct placement *p, uint32_t state, uint32_t type)
{
	uint64_t h = mixed(mixed(UINT64_C(0x165667b19e3779f9), (uint64_t) state << 32 | type), type);
	uint32_t at = (uint32_t) h & (p->n_option_slots - 1);
	while (p->options[at].state != NO_ID && (p->options[at].state != state || p->options[at].type != type))
		at = (at + 1) & (p->n_option_slots - 1);
	return &p->options[at];
}

static struct option option_of(struct placement *p, struct machine *m, const struct placement_request *r, uint32_t type)
{
	if (m->state == NO_ID)
		m->state = state_of(p, &m->shape);
	if (m->state == NO_ID || type == NO_ID)
		return best_level(p, &m->shape, r);
	struct option *kept = option_slot(p, m->state, type);
	if (kept->state != NO_ID)
		return *kept;
	struct option best = best_level(p, &m->shape, r);
	best.state = m->state;
	best.type = type;
	if (p->n_options < p->n_option_slots / 2) {
		*option_slot(p, m->state, type) = best;
		p->n_options++;
	}
	return best;
}

/* Before a choice: tables that are full are emptied, so that they keep what is of use now. */
static uint32_t begin(struct placement *p, const struct placement_request *r)
{
	if (!p->scarcity_known)
		weigh_scarcity(p);
	if (p->n_states == p->terms.states_max)
		drop_states(p);
	else if (p->n_options >= p->n_option_slots / 2)
		drop_options(p);
	return mix_intern(&p->mix, r);
}

static bool possible(const struct placement_request *r)
{
	return r->devices <= PLACEMENT_DEVICES_MAX && r->milli <= PLACEMENT_WHOLE &&
	       (r->devices <= 1 || r->milli == PLACEMENT_WHOLE) && (r->devices == 0 || r->milli > 0);
}

bool placement_choose(struct placement *p, const struct placement_request *r, const uint8_t *barred,
                      struct placement_choice *out)
{
	bool found = false;
	uint32_t least = 0;
	if (!possible(r))
		return false;
	uint32_t type = begin(p, r);
	p->round++;
	for (uint32_t i = 0; i < p->n_machines; i++) {
		struct machine *m = &p->machines[i];
		if ((barred && barred[i]) || !shape_fits(&m->shape, r)) /* most machines of a full pool, at little cost */
			continue;
		if (m->state != NO_ID) { /* one of those in the same state is enough, the first */
			if (p->states[m->state].round == p->round)
				continue;
			p->states[m->state].round = p->round;
		}
		struct option o = option_of(p, m, r, type);
		if (o.level == NO_LEVEL)
			continue;
		int32_t score = score_of(p, &o, m, r);
		if (!found || score > out->score || (score == out->score && m->shape.free_sum < least)) {
			*out = (struct placement_choice){ i, o.level, score };
			least = m->shape.free_sum;
			found = true;
		}
	}
	return found;
}

bool placement_option(struct placement *p, uint32_t machine, const struct placement_request *r,
                      struct placement_choice *out)
{
	if (machine >= p->n_machines || !possible(r))
		return false;
	struct option o = option_of(p, &p->machines[machine], r, begin(p, r));
	*out = (struct placement_choice){ machine, o.level, score_of(p, &o, &p->machines[machine], r) };
	return o.level != NO_LEVEL;
}

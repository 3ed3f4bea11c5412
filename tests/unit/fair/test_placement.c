/* SPDX-License-Identifier: Apache-2.0 */
/* test_placement.c - where a request is placed: within what is there, always the same, and where it costs least. */
#include <criterion/criterion.h>
#include <string.h>

#include "plugins/scheduler/fair/placement.h"

enum { MACHINES = 24, DEVICES = 8, STEPS = 3000 };

/* A pool beside the placement: what is really free. */
struct pool {
	struct { int64_t cpu, memory; uint32_t model, n; uint16_t free[DEVICES]; } at[MACHINES];
	struct placement *p;
};

static uint64_t random_state;

static uint32_t below(uint32_t n)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t) (random_state >> 33) % n;
}

static void tell(struct pool *pool, uint32_t i)
{
	struct placement_machine m = { pool->at[i].cpu, pool->at[i].memory, pool->at[i].model, pool->at[i].n,
		pool->at[i].free };
	cr_assert(placement_set(pool->p, i, &m));
}

static void pool_make(struct pool *pool, const struct placement_terms *terms)
{
	memset(pool, 0, sizeof *pool);
	pool->p = placement_new(terms);
	cr_assert(pool->p);
	for (uint32_t i = 0; i < MACHINES; i++) {
		pool->at[i].cpu = i % 5 == 4 ? PLACEMENT_UNKNOWN : 32000;
		pool->at[i].memory = 256;
		pool->at[i].model = i % 3;
		pool->at[i].n = i % 4 == 3 ? 2 : DEVICES;
		for (uint32_t d = 0; d < pool->at[i].n; d++)
			pool->at[i].free[d] = PLACEMENT_WHOLE;
		tell(pool, i);
	}
}

static struct placement_request draw(void)
{
	static const uint32_t shares[] = { 100, 230, 460, 470, 650, 810 };
	struct placement_request r = { .cpu_milli = 1000 * below(6), .memory = below(32) };
	if (below(10) == 0)
		return r; /* no device */
	r.models = below(3) == 0 ? UINT64_C(1) << below(3) : 0;
	r.devices = below(8) == 0 ? 2 + below(7) : 1;
	r.milli = r.devices > 1 || below(2) ? PLACEMENT_WHOLE : shares[below(6)];
	return r;
}

/* Puts the request where the choice says, counting device by device; everything must be there. */
static void take(struct pool *pool, const struct placement_request *r, const struct placement_choice *c)
{
	uint32_t found = 0, i = c->machine;
	cr_assert_lt(i, MACHINES);
	cr_assert(r->devices == 0 || r->models == 0 || r->models >> pool->at[i].model & 1);
	cr_assert(pool->at[i].cpu >= r->cpu_milli && pool->at[i].memory >= r->memory);
	for (uint32_t d = 0; d < pool->at[i].n && found < r->devices; d++)
		if (pool->at[i].free[d] == c->level) {
			cr_assert_geq(pool->at[i].free[d], r->milli);
			pool->at[i].free[d] = (uint16_t) (pool->at[i].free[d] - r->milli);
			found++;
		}
	cr_assert_eq(found, r->devices);
	if (pool->at[i].cpu != PLACEMENT_UNKNOWN)
		pool->at[i].cpu -= r->cpu_milli;
	pool->at[i].memory -= r->memory;
	tell(pool, i);
}

/* A machine whose leases have all ended. */
static void empty(struct pool *pool, uint32_t i)
{
	pool->at[i].cpu = pool->at[i].cpu == PLACEMENT_UNKNOWN ? PLACEMENT_UNKNOWN : 32000;
	pool->at[i].memory = 256;
	for (uint32_t d = 0; d < pool->at[i].n; d++)
		pool->at[i].free[d] = PLACEMENT_WHOLE;
	tell(pool, i);
}

static bool fits(const struct pool *pool, uint32_t i, const struct placement_request *r)
{
	uint32_t found = 0;
	for (uint32_t d = 0; d < pool->at[i].n; d++)
		found += pool->at[i].free[d] >= r->milli;
	return pool->at[i].cpu >= r->cpu_milli && pool->at[i].memory >= r->memory &&
	       (r->devices == 0 || (found >= r->devices && (!r->models || r->models >> pool->at[i].model & 1)));
}

static uint64_t live(const struct placement_terms *terms, bool fresh)
{
	struct pool pool, other;
	struct placement_terms tiny = *terms;
	uint64_t trail = 0;
	random_state = 7;
	tiny.states_max = 1; /* hardly anything is kept: all is computed anew */
	pool_make(&pool, terms);
	pool_make(&other, &tiny);
	for (int step = 0; step < STEPS; step++) {
		struct placement_request r = draw();
		struct placement_choice c, again;
		placement_learn(pool.p, &r);
		placement_learn(other.p, &r);
		bool found = placement_choose(pool.p, &r, NULL, &c), any = false;
		for (uint32_t i = 0; i < MACHINES; i++)
			any |= fits(&pool, i, &r);
		cr_assert_eq(found, any, "step %d: what fits somewhere is placed, nothing else", step);
		if (fresh) {
			cr_assert_eq(placement_choose(other.p, &r, NULL, &again), found);
			if (found)
				cr_assert(c.machine == again.machine && c.level == again.level && c.score == again.score,
				          "step %d: kept values differ from fresh ones", step);
		}
		if (found) {
			take(&pool, &r, &c);
			trail = trail * 31 + c.machine * 1001 + c.level;
			memcpy(other.at, pool.at, sizeof pool.at);
			tell(&other, c.machine);
		}
		uint32_t gone = below(MACHINES);
		if (below(12) == 0) {
			empty(&pool, gone);
			memcpy(other.at, pool.at, sizeof pool.at);
			tell(&other, gone);
		}
	}
	placement_free(pool.p);
	placement_free(other.p);
	return trail;
}

Test(placement, never_gives_more_than_there_is_and_keeps_true_values)
{
	live(&(struct placement_terms) PLACEMENT_TERMS, true);
}

Test(placement, is_the_same_each_time)
{
	const struct placement_terms terms = PLACEMENT_TERMS;
	cr_expect_eq(live(&terms, false), live(&terms, false));
}

Test(placement, forgets_when_tables_are_full_and_decides_the_same)
{
	struct placement_terms few = PLACEMENT_TERMS;
	few.states_max = 40;
	cr_expect_eq(live(&few, false), live(&(struct placement_terms) PLACEMENT_TERMS, false));
}

/* Two machines with two devices each; what is asked for is learned first. */
static struct placement *small(const uint16_t a[2], const uint16_t b[2], const struct placement_request *often, int n)
{
	const struct placement_terms terms = PLACEMENT_TERMS;
	struct placement *p = placement_new(&terms);
	cr_assert(p);
	cr_assert(placement_set(p, 0, &(struct placement_machine){ 8000, 64, 0, 2, a }));
	cr_assert(placement_set(p, 1, &(struct placement_machine){ 8000, 64, 1, 2, b }));
	for (int i = 0; i < 64; i++)
		placement_learn(p, &often[i % n]);
	return p;
}

Test(placement, fills_a_gap_that_suits_nobody_else)
{
	const struct placement_request often[] = { { 0, 0, 0, 1, 1000 }, { 0, 0, 0, 1, 400 } };
	struct placement *p = small((uint16_t[2]){ 1000, 1000 }, (uint16_t[2]){ 1000, 400 }, often, 2);
	struct placement_choice c;
	cr_assert(placement_choose(p, &often[1], NULL, &c));
	cr_expect_eq(c.machine, 1);
	cr_expect_eq(c.level, 400);
	placement_free(p);
}

Test(placement, keeps_whole_machines_for_gangs)
{
	const struct placement_request often[] = { { 0, 0, 0, 1, 1000 }, { 0, 0, 0, 2, 1000 } };
	struct placement *p = small((uint16_t[2]){ 1000, 1000 }, (uint16_t[2]){ 1000, 0 }, often, 2);
	struct placement_choice c;
	cr_assert(placement_choose(p, &often[0], NULL, &c));
	cr_expect_eq(c.machine, 1);
	placement_free(p);
}

Test(placement, keeps_a_scarce_model_for_those_who_need_it)
{
	const struct placement_request often[] = { { 0, 0, 0, 1, 1000 }, { 0, 0, 1, 1, 1000 } };
	struct placement *p = small((uint16_t[2]){ 1000, 0 }, (uint16_t[2]){ 1000, 1000 }, often, 2);
	struct placement_choice c;
	cr_assert(placement_choose(p, &often[0], NULL, &c));
	cr_expect_eq(c.machine, 1, "model 0 is what half of the requests must have");
	cr_assert(placement_choose(p, &often[1], NULL, &c));
	cr_expect_eq(c.machine, 0);
	placement_free(p);
}

Test(placement, leaves_out_barred_machines_and_answers_for_one)
{
	const struct placement_request r = { 1000, 1, 0, 1, 1000 }, gang = { 0, 0, 0, 2, 1000 };
	struct placement *p = small((uint16_t[2]){ 1000, 1000 }, (uint16_t[2]){ 1000, 0 }, &r, 1);
	struct placement_choice c;
	cr_assert(placement_choose(p, &r, (uint8_t[2]){ 0, 1 }, &c));
	cr_expect_eq(c.machine, 0);
	cr_expect_not(placement_choose(p, &r, (uint8_t[2]){ 1, 1 }, &c));
	cr_expect(placement_option(p, 0, &gang, &c));
	cr_expect_not(placement_option(p, 1, &gang, &c));
	cr_expect_not(placement_option(p, 2, &gang, &c));
	placement_shrink(p, 1);
	cr_expect_not(placement_choose(p, &r, (uint8_t[1]){ 1 }, &c));
	placement_free(p);
}

Test(placement, refuses_what_is_out_of_range)
{
	const struct placement_terms terms = PLACEMENT_TERMS;
	struct placement *p = placement_new(&terms);
	struct placement_choice c;
	uint16_t free[PLACEMENT_DEVICES_MAX + 1] = { 1001 };
	cr_assert(p);
	cr_expect_not(placement_set(p, 0, &(struct placement_machine){ 1, 1, PLACEMENT_MODELS_MAX, 1, free + 1 }));
	cr_expect_not(placement_set(p, 0, &(struct placement_machine){ 1, 1, 0, PLACEMENT_DEVICES_MAX + 1, free }));
	cr_expect_not(placement_set(p, 0, &(struct placement_machine){ 1, 1, 0, 1, free }));
	cr_expect_not(placement_choose(p, &(struct placement_request){ 0, 0, 0, 0, 0 }, NULL, &c), "there is no machine");
	free[0] = 1000;
	free[1] = 1000;
	cr_assert(placement_set(p, 0, &(struct placement_machine){ 1, 1, 0, 2, free }));
	cr_expect(placement_choose(p, &(struct placement_request){ 0, 0, 0, 0, 0 }, NULL, &c));
	cr_expect_not(placement_choose(p, &(struct placement_request){ 0, 0, 0, 2, 500 }, NULL, &c), "shares of two devices");
	cr_expect_not(placement_choose(p, &(struct placement_request){ 0, 0, 0, 1, 0 }, NULL, &c), "nothing of a device");
	cr_expect_not(placement_choose(p, &(struct placement_request){ 0, 0, 0, UINT32_MAX, 1000 }, NULL, &c));
	placement_free(p);
}

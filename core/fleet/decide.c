/* SPDX-License-Identifier: Apache-2.0 */
/* decide.c - what to do with the replicas of one model. */
#include "core/fleet/decide.h"

/* The decision while it is made: what there is, less what was already decided to go. */
struct plan {
	struct fleet_mind *mind;
	const struct fleet_world *world;
	struct fleet_action *out;
	size_t n, room;
	int live;         /* leasing, starting or ready */
	int ready;
	int outdated;     /* live ones of an old definition */
	int fresh_coming; /* leasing or starting, of the definition that holds */
	bool failed;      /* one fails in this very decision: the back-off begins */
	bool lost;        /* and it has served */
};

static bool is_live(const struct fleet_unit *unit)
{
	return unit->state <= FLEET_READY;
}

static bool add(struct plan *plan, enum fleet_do what, enum fleet_because because, size_t unit)
{
	if (plan->n == plan->room)
		return false;
	plan->out[plan->n++] = (struct fleet_action){ .what = what, .because = because, .unit = unit };
	return true;
}

static bool is_chosen(const struct plan *plan, size_t unit)
{
	for (size_t i = 0; i < plan->n; i++)
		if (plan->out[i].what != FLEET_START && plan->out[i].unit == unit)
			return true;
	return false;
}

static void count(struct plan *plan)
{
	for (size_t i = 0; i < plan->world->n_units; i++) {
		const struct fleet_unit *unit = &plan->world->units[i];
		plan->live += is_live(unit);
		plan->ready += unit->state == FLEET_READY;
		plan->outdated += is_live(unit) && unit->outdated;
		plan->fresh_coming += is_live(unit) && !unit->outdated && unit->state != FLEET_READY;
	}
}

/* One that has not served yet has nothing to drain: its lease ends at once. */
static void let_go(struct plan *plan, size_t index, enum fleet_because because)
{
	const struct fleet_unit *unit = &plan->world->units[index];
	if (!add(plan, unit->state == FLEET_READY ? FLEET_DRAIN : FLEET_RELEASE, because, index))
		return;
	plan->live--;
	plan->ready -= unit->state == FLEET_READY;
	plan->outdated -= unit->outdated;
	plan->fresh_coming -= !unit->outdated && unit->state != FLEET_READY;
}

/* Is a better to let go than b? What serves least goes first: not started, then idle, then the youngest. */
static bool goes_before(const struct fleet_unit *a, const struct fleet_unit *b)
{
	if (a->outdated != b->outdated)
		return a->outdated;
	if (a->state != b->state)
		return a->state < b->state;
	if (a->running != b->running)
		return a->running < b->running;
	return a->since_ms > b->since_ms;
}

static void let_go_of(struct plan *plan, int n, bool outdated_only, enum fleet_because because)
{
	for (; n > 0 && plan->n < plan->room; n--) {
		const struct fleet_unit *units = plan->world->units;
		size_t best = SIZE_MAX;
		for (size_t i = 0; i < plan->world->n_units; i++)
			if (is_live(&units[i]) && (units[i].outdated || !outdated_only) && !is_chosen(plan, i) &&
			    (best == SIZE_MAX || goes_before(&units[i], &units[best])))
				best = i;
		if (best == SIZE_MAX)
			return;
		let_go(plan, best, because);
	}
}

/* Those whose time is up, whatever is wanted. */
static void end_overdue(struct plan *plan)
{
	const struct fleet_world *world = plan->world;
	for (size_t i = 0; i < world->n_units; i++) {
		const struct fleet_unit *unit = &world->units[i];
		uint64_t age = world->now_ms - unit->since_ms;
		if (unit->state == FLEET_STARTING && age >= world->start_ms) {
			if (add(plan, FLEET_FAIL, FLEET_DEADLINE, i)) {
				plan->failed = true;
				plan->live--;
				plan->outdated -= unit->outdated;
				plan->fresh_coming -= !unit->outdated;
			}
		} else if (unit->state == FLEET_READY && unit->sick >= FLEET_SICK_AFTER) {
			plan->failed = plan->lost = true;
			let_go(plan, i, FLEET_SICK);
		} else if (unit->state == FLEET_DRAINING && unit->running <= 0) {
			add(plan, FLEET_RELEASE, FLEET_DRAINED, i);
		} else if (unit->state == FLEET_DRAINING && age >= world->drain_ms) {
			add(plan, FLEET_RELEASE, FLEET_DEADLINE, i);
		}
	}
}

/* Outdated replicas serve until one of the new definition is ready. When that one finds no devices, an outdated one
 * gives up its own, one at a time. */
static void replace_outdated(struct plan *plan, int target)
{
	const struct fleet_world *world = plan->world;
	bool one_goes = false, one_waits = false;
	for (size_t i = 0; i < world->n_units; i++) {
		const struct fleet_unit *unit = &world->units[i];
		if (is_live(unit) && unit->outdated && unit->state != FLEET_READY && !is_chosen(plan, i))
			let_go(plan, i, FLEET_OUTDATED);
		one_goes |= unit->outdated && !is_live(unit);
		one_waits |= !unit->outdated && unit->state == FLEET_LEASING &&
		             world->now_ms - unit->since_ms >= FLEET_MAKE_ROOM_MS;
	}
	if (plan->outdated > 0 && plan->ready > target)
		let_go_of(plan, plan->ready - target, true, FLEET_OUTDATED);
	else if (plan->outdated > 0 && one_waits && !one_goes)
		let_go_of(plan, 1, true, FLEET_OUTDATED);
}

static bool is_idle(const struct fleet_mind *mind, const struct fleet_world *world)
{
	if (world->running > 0 || world->waiting > 0)
		return false;
	uint64_t last = world->used_ms > mind->floor_set_ms ? world->used_ms : mind->floor_set_ms;
	for (size_t i = 0; i < world->n_units; i++)
		if (is_live(&world->units[i]) && world->units[i].since_ms > last)
			last = world->units[i].since_ms;
	return world->now_ms >= last && world->now_ms - last >= world->idle_ms;
}

/* More than wanted: gone when nobody has used the model for idle_ms, or when they were too many for so long. The
 * second spares a model from a policy whose number swings with every request. */
static void shrink(struct plan *plan, int target)
{
	struct fleet_mind *mind = plan->mind;
	const struct fleet_world *world = plan->world;
	int surplus = plan->live - target;
	if (surplus <= 0) {
		mind->surplus_ms = 0;
		return;
	}
	if (mind->surplus_ms == 0)
		mind->surplus_ms = world->now_ms;
	if (mind->stopped)
		let_go_of(plan, surplus, false, FLEET_STOPPED);
	else if (is_idle(mind, world) || world->now_ms - mind->surplus_ms >= world->idle_ms)
		let_go_of(plan, surplus, false, FLEET_SURPLUS);
	else if (plan->live > world->max)
		let_go_of(plan, plan->live - world->max, false, FLEET_SURPLUS);
}

static void grow(struct plan *plan, int target)
{
	if (plan->failed || plan->world->now_ms < plan->mind->retry_ms)
		return;
	int missing = target - plan->live;
	/* With outdated ones about, one more than wanted until the first of the new ones serves. */
	int fresh = plan->live - plan->outdated;
	if (missing <= 0 && plan->outdated > 0 && fresh < target && plan->fresh_coming == 0)
		missing = 1;
	for (; missing > 0 && add(plan, FLEET_START, FLEET_WANTED, SIZE_MAX); missing--)
		plan->live++;
}

/* A replica that became ready after the last failure, and has been for long, makes up for all of them. */
static void forgive(struct fleet_mind *mind, const struct fleet_world *world)
{
	for (size_t i = 0; i < world->n_units && mind->failures; i++) {
		const struct fleet_unit *unit = &world->units[i];
		if (unit->state == FLEET_READY && unit->since_ms >= mind->failed_ms &&
		    world->now_ms - unit->since_ms >= FLEET_HEALTHY_MS)
			mind->failures = 0;
	}
}

int fleet_target(const struct fleet_mind *mind, const struct fleet_world *world)
{
	if (mind->stopped)
		return 0;
	int target = world->wanted;
	if (target < 0) {
		target = 0;
		for (size_t i = 0; i < world->n_units; i++)
			target += is_live(&world->units[i]);
		if (target == 0 && world->waiting > 0)
			target = 1;
	}
	if (mind->floor > target && world->now_ms - mind->floor_set_ms < world->idle_ms)
		target = mind->floor;
	if (target < world->min)
		target = world->min;
	return target > world->max ? world->max : target;
}

size_t fleet_decide(struct fleet_mind *mind, const struct fleet_world *world, struct fleet_action *out, size_t room)
{
	struct plan plan = { .mind = mind, .world = world, .out = out, .room = room };
	count(&plan);
	forgive(mind, world);
	int target = fleet_target(mind, world);
	end_overdue(&plan);
	if (plan.outdated > 0 && !mind->stopped)
		replace_outdated(&plan, target);
	else
		shrink(&plan, target);
	grow(&plan, target);
	/* One that served and was lost comes back after a moment: those who wait do so as for a first start. */
	bool comes = target > 0 && (plan.failed ? plan.lost && mind->failures < FLEET_LOSSES_WAITED
	                                        : world->now_ms < mind->retry_ms && !fleet_backs_off(mind, world->now_ms));
	if (plan.live == 0 && world->waiting > 0 && !comes)
		add(&plan, FLEET_FAIL_WAITERS, FLEET_WANTED, SIZE_MAX);
	return plan.n;
}

static uint64_t sooner(uint64_t next, uint64_t now, uint64_t at)
{
	uint64_t left = at > now ? at - now : 0;
	return left < next ? left : next;
}

uint64_t fleet_next(const struct fleet_mind *mind, const struct fleet_world *world)
{
	uint64_t next = FLEET_TICK_MS;
	for (size_t i = 0; i < world->n_units; i++) {
		const struct fleet_unit *unit = &world->units[i];
		if (unit->state == FLEET_DRAINING)
			next = sooner(next, world->now_ms, world->now_ms + FLEET_DRAIN_POLL_MS);
		if (unit->state == FLEET_STARTING)
			next = sooner(next, world->now_ms, unit->since_ms + world->start_ms);
	}
	if (mind->retry_ms > world->now_ms)
		next = sooner(next, world->now_ms, mind->retry_ms);
	return next;
}

uint64_t fleet_failed(struct fleet_mind *mind, uint64_t now_ms, uint32_t random)
{
	uint64_t delay = FLEET_BACKOFF_MIN_MS;
	for (unsigned i = 0; i < mind->failures && delay < FLEET_BACKOFF_MAX_MS; i++)
		delay *= 2;
	if (delay > FLEET_BACKOFF_MAX_MS)
		delay = FLEET_BACKOFF_MAX_MS;
	delay -= (delay / 4 * random) >> 32;
	mind->failures++;
	mind->failed_ms = now_ms;
	mind->start_failed = true;
	mind->retry_ms = now_ms + delay;
	return delay;
}

uint64_t fleet_lost(struct fleet_mind *mind, uint64_t now_ms, uint32_t random)
{
	uint64_t delay = fleet_failed(mind, now_ms, random);
	mind->start_failed = false;
	return delay;
}

bool fleet_backs_off(const struct fleet_mind *mind, uint64_t now_ms)
{
	return now_ms < mind->retry_ms && (mind->start_failed || mind->failures > FLEET_LOSSES_WAITED);
}

void fleet_want_more(struct fleet_mind *mind, const struct fleet_world *world)
{
	int live = 0;
	for (size_t i = 0; i < world->n_units; i++)
		live += is_live(&world->units[i]);
	mind->stopped = false;
	mind->floor = live + 1;
	mind->floor_set_ms = world->now_ms;
	/* Someone looks after it now: no waiting for the next try. */
	mind->retry_ms = 0;
}

void fleet_want_none(struct fleet_mind *mind)
{
	mind->stopped = true;
	mind->floor = 0;
}

double fleet_rate_update(struct fleet_rate *rate, uint64_t now_ms, uint64_t count)
{
	enum { SMOOTH_MS = 30000 };
	if (rate->at_ms == 0 || count < rate->count) {
		*rate = (struct fleet_rate){ .at_ms = now_ms, .count = count };
		return 0;
	}
	uint64_t passed = now_ms - rate->at_ms;
	if (passed == 0)
		return rate->per_s;
	double now_per_s = (double) (count - rate->count) * 1000.0 / (double) passed;
	double weight = passed >= SMOOTH_MS ? 1.0 : (double) passed / SMOOTH_MS;
	rate->per_s += (now_per_s - rate->per_s) * weight;
	rate->at_ms = now_ms;
	rate->count = count;
	return rate->per_s;
}

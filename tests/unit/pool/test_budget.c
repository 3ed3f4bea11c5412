/* SPDX-License-Identifier: Apache-2.0 */
/* test_budget.c - leases and limits on money. A second of a device costs 1000 of 10^-12, so a millisecond costs 1. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "tests/unit/pool/harness.h"

enum { LIMIT_MS = 60000, BOUND = LIMIT_MS + 35000 /* with the notice that follows it */, AHEAD = 40000 };

/* What the one limit of tenant physics is at the moment. */
static struct quota_limit limit;
static struct quota_limit tier_limits[1] = { { .metric = QUOTA_COST } };
static struct conf_tier tiers[1] = { { .name = "default", .limits = tier_limits, .n_limits = 1 } };
static unsigned asked, shrink_after; /* from then on there is no money, 0: never */

static unsigned money_limits(void *arg, const struct conf *conf, const char *tenant, const char *user, struct quota_limit *out)
{
	(void) arg;
	(void) conf;
	(void) user;
	if (strcmp(tenant, "physics") != 0)
		return 0;
	out[0] = limit;
	if (shrink_after && ++asked > shrink_after)
		out[0].amount = 1;
	return 1;
}

static struct quota_now now(void)
{
	return (struct quota_now){ .mono_ms = clock_mono_ns() / 1000000, .wall_ms = clock_wall_ms() };
}

static struct quota_state money(struct world *w)
{
	struct quota_state state;
	quota_read(w->quota, now(), &limit, &state);
	return state;
}

static struct world *rich(unsigned devices, int64_t amount, int64_t time_ms)
{
	struct world *w = world_new(devices);
	limit = (struct quota_limit){ .scope = "tenant:physics", .name = "cost per month", .metric = QUOTA_COST, .window = QUOTA_MONTH,
		.amount = amount };
	w->conf.tiers = tiers;
	w->conf.n_tiers = 1;
	strcpy(w->conf.currency, "EUR");
	w->queues[0].time_default_ms = time_ms;
	w->quota = quota_new(1000);
	w->money_limits = money_limits;
	world_restart(w);
	return w;
}

static void poor(struct world *w)
{
	struct quota *q = w->quota;
	world_free(w);
	quota_free(q);
}

static json_t *record(struct world *w, const char *id)
{
	return json_object_get(w->ledger.records, id);
}

static void spend(struct world *w, int64_t amount)
{
	quota_restore(w->quota, now(), &limit, clock_wall_ms(), amount);
}

static bool asked_stop(struct world *w, uint64_t number)
{
	return agent_asked(w, "stop", number) > 0;
}

static int try_submit(struct world *w, const char *tenant, const char *model, sl_error *error)
{
	uint64_t number;
	json_t *argv = json_pack("[s]", "true");
	struct pool_request request = { .name = "more", .tenant = tenant, .user = "dana", .devices = 1, .argv = argv, .model = model };
	int code = pool_submit(w->pool, &request, &number, error);
	json_decref(argv);
	return code;
}

Test(budget, what_it_may_cost_is_reserved_and_what_it_cost_is_used)
{
	struct world *w = rich(2, 1000000, LIMIT_MS);
	uint64_t number = submit(w, "train", 2);
	cr_assert(world_state(w, number, "running"));
	cr_expect(money(w).reserved == 2 * BOUND && money(w).used == 0);
	world_settle(w);
	agent_end(w, number, 0, 0);
	cr_assert(world_state(w, number, "ended"));
	int64_t device_ms = json_get_int(record(w, "L1"), "device_ms", -1);
	cr_expect(device_ms > 0 && money(w).used == device_ms, "%lld used", (long long) money(w).used);
	cr_expect_eq(quota_reserved(w->quota, QUOTA_COST), 0);
	poor(w);
}

Test(budget, charges_of_a_running_lease_move_to_what_is_used)
{
	struct world *w = rich(1, 1000000, LIMIT_MS);
	w->conf.charge_ms = 1000;
	uint64_t number = submit(w, "train", 1);
	cr_assert(world_state(w, number, "running"));
	for (int i = 0; i < 40 && money(w).used == 0; i++)
		world_settle(w);
	int64_t charged = json_get_int(record(w, "L1"), "charged_ms", 0);
	cr_expect(charged > 0 && money(w).used == charged);
	cr_expect_eq(money(w).used + money(w).reserved, BOUND);
	agent_end(w, number, 0, 0);
	cr_assert(world_state(w, number, "ended"));
	cr_expect(money(w).used == json_get_int(record(w, "L1"), "device_ms", -1) && money(w).reserved == 0);
	poor(w);
}

Test(budget, where_others_have_reserved_the_money_it_waits)
{
	struct world *w = rich(2, BOUND + 1000, LIMIT_MS);
	uint64_t first = submit(w, "a", 1), second = submit(w, "b", 1);
	cr_assert(world_state(w, first, "running"));
	world_settle(w);
	cr_expect_str_eq(member(w, second, "state"), "queued");
	const char *reason = member(w, second, "reason");
	cr_expect(strstr(reason, "limit 'cost per month' of tenant physics") && strstr(reason, "reserved, this lease may need"), "%s", reason);
	cr_expect_str_eq(device_member(w, 1, "state"), "free");
	agent_end(w, first, 0, 0);
	cr_assert(world_state(w, second, "running"), "%s", member(w, second, "reason"));
	cr_expect_eq(money(w).reserved, BOUND);
	poor(w);
}

Test(budget, what_is_spent_or_never_fits_is_refused)
{
	struct world *w = rich(1, BOUND, LIMIT_MS);
	sl_error error = { 0 };
	spend(w, 1);
	cr_expect_eq(try_submit(w, "physics", NULL, &error), SL_ELIMIT);
	cr_expect(strstr(error.text, "EUR used") && strstr(error.text, "begins anew at"), "%s", error.text);
	w->queues[0].time_default_ms = LIMIT_MS + 1000;
	cr_expect_eq(try_submit(w, "physics", NULL, &error), SL_ELIMIT);
	cr_expect(strstr(error.text, "can never fit"), "%s", error.text);
	w->queues[0].time_default_ms = LIMIT_MS - 1000;
	cr_expect_eq(try_submit(w, "physics", NULL, &error), SL_OK);
	cr_expect_eq(try_submit(w, "chemistry", NULL, &error), SL_OK, "another's money");
	cr_expect_eq(try_submit(w, "physics", "llama", &error), SL_OK, "a replica is nobody's bill");
	poor(w);
}

static bool two_stops(struct world *w, uint64_t arg)
{
	(void) arg;
	return money(w).reserved > AHEAD;
}

Test(budget, without_a_limit_it_ends_with_notice_when_the_money_is_spent)
{
	struct world *w = rich(1, 3 * AHEAD, 0);
	uint64_t number = submit(w, "endless", 1);
	cr_assert(world_state(w, number, "running"));
	cr_expect_eq(money(w).reserved, AHEAD);
	cr_assert(world_until(w, two_stops, 0), "it reserves what lies ahead, again and again");
	spend(w, limit.amount - money(w).reserved);
	cr_assert(world_until(w, asked_stop, number));
	cr_expect_str_eq(member(w, number, "state"), "releasing");
	const char *reason = member(w, number, "reason");
	cr_expect(strncmp(reason, "no money left: limit 'cost per month' of tenant physics", 54) == 0, "%s", reason);
	cr_expect(money(w).used + money(w).reserved <= limit.amount, "its end is paid for");
	agent_end(w, number, 0, 15);
	cr_assert(world_state(w, number, "ended"));
	cr_expect(money(w).reserved == 0 && money(w).used <= limit.amount);
	poor(w);
}

Test(budget, what_was_promised_outlives_a_restart)
{
	struct world *w = rich(1, 1000000, LIMIT_MS);
	w->conf.charge_ms = 1000;
	uint64_t number = submit(w, "train", 1);
	cr_assert(world_state(w, number, "running"));
	for (int i = 0; i < 40 && money(w).used == 0; i++)
		world_settle(w);
	world_close_pool(w);
	cr_expect_eq(quota_reserved(w->quota, QUOTA_COST), 0, "the pool takes what is reserved with it");
	int64_t charged = json_get_int(record(w, "L1"), "charged_ms", 0);
	quota_free(w->quota);
	w->quota = quota_new(1000);
	limit.amount = 1; /* less than was promised: it is kept all the same, and nobody else gets anything */
	spend(w, charged);
	world_open_pool(w);
	cr_expect_eq(money(w).reserved, BOUND - charged);
	cr_assert(world_state(w, number, "running"));
	agent_end(w, number, 0, 0);
	cr_assert(world_state(w, number, "ended"));
	cr_expect(money(w).used == json_get_int(record(w, "L1"), "device_ms", -1) && money(w).reserved == 0,
	          "%lld used", (long long) money(w).used);
	poor(w);
}

Test(budget, a_limit_that_moves_takes_what_was_promised_with_it)
{
	struct world *w = rich(1, 1000000, LIMIT_MS);
	uint64_t number = submit(w, "train", 1);
	cr_assert(world_state(w, number, "running"));
	limit.window = QUOTA_DAY;
	cr_expect_eq(money(w).reserved, 0);
	pool_configure(w->pool, &w->conf);
	cr_expect_eq(money(w).reserved, BOUND);
	cr_expect_eq(quota_reserved(w->quota, QUOTA_COST), BOUND);
	poor(w);
}

Test(budget, a_grant_that_comes_to_nothing_reserves_nothing)
{
	struct world *w = rich(1, 1000000, LIMIT_MS);
	sl_error error;
	w->ledger.holds = true;
	uint64_t number = submit(w, "a", 1);
	world_settle(w);
	cr_assert_eq(pool_release(w->pool, number, 0, "not wanted", &error), SL_OK, "%s", error.text);
	w->ledger.holds = false;
	cr_assert(world_state(w, number, "cancelled"));
	cr_expect_eq(quota_reserved(w->quota, QUOTA_COST), 0);
	poor(w);
}

Test(budget, money_that_goes_between_the_plan_and_the_grant)
{
	struct world *w = rich(2, 1000000, LIMIT_MS);
	asked = 0;
	shrink_after = 2; /* the request, the look before the round; then the grant */
	uint64_t number = submit(w, "a", 1);
	world_settle(w);
	cr_expect_str_eq(member(w, number, "state"), "queued");
	cr_expect(strstr(member(w, number, "reason"), "can never fit"), "%s", member(w, number, "reason"));
	cr_expect_str_eq(device_member(w, 0, "state"), "free");
	cr_expect(asked > 2 && asked < 100, "%u looks: it must not turn in a circle", asked);
	shrink_after = 0;
	cr_assert(world_state(w, number, "running"), "there is money again");
	poor(w);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* test_decide.c - decisions of the fleet, exact, in virtual time. */
#include <criterion/criterion.h>

#include "core/base/money.h"
#include "core/fleet/decide.h"

enum { ROOM = 32, NOW = 10 * 60 * 1000 };

static struct fleet_mind mind;
static struct fleet_action actions[ROOM];
static struct fleet_unit units[16];
static struct fleet_world world;

static void setup(void)
{
	mind = (struct fleet_mind){ 0 };
	world = (struct fleet_world){
		.now_ms = NOW, .min = 0, .max = 4, .idle_ms = 60000, .start_ms = 30000, .drain_ms = 20000, .units = units,
	};
}
TestSuite(decide, .init = setup);

static struct fleet_unit *unit(enum fleet_state state, uint64_t age_ms, int running)
{
	struct fleet_unit *u = &units[world.n_units++];
	*u = (struct fleet_unit){ .state = state, .since_ms = world.now_ms - age_ms, .running = running };
	world.running += running;
	return u;
}

static size_t decide(void)
{
	return fleet_decide(&mind, &world, actions, ROOM);
}

#define EXPECT_ACTION(i, DO, BECAUSE, UNIT) \
	do { \
		cr_expect_eq(actions[i].what, DO, "action %d: what is %d", (int) (i), actions[i].what); \
		cr_expect_eq(actions[i].because, BECAUSE, "action %d: because is %d", (int) (i), actions[i].because); \
		cr_expect_eq(actions[i].unit, UNIT, "action %d: unit is %zu", (int) (i), actions[i].unit); \
	} while (0)

Test(decide, nothing_wanted_nothing_done)
{
	cr_assert_eq(decide(), 0);
	cr_expect_eq(fleet_next(&mind, &world), FLEET_TICK_MS);
}

Test(decide, starts_what_is_missing)
{
	world.wanted = 3;
	unit(FLEET_STARTING, 100, 0);
	cr_assert_eq(decide(), 2);
	EXPECT_ACTION(0, FLEET_START, FLEET_WANTED, SIZE_MAX);
	EXPECT_ACTION(1, FLEET_START, FLEET_WANTED, SIZE_MAX);
}

Test(decide, bounds_hold_whatever_the_policy_says)
{
	world.wanted = 100;
	cr_assert_eq(decide(), 4, "never above max");
	setup();
	world.min = 2;
	cr_assert_eq(decide(), 2, "never below min");
}

Test(decide, room_bounds_the_actions)
{
	world.wanted = 4;
	cr_assert_eq(fleet_decide(&mind, &world, actions, 3), 3);
	cr_assert_eq(fleet_decide(&mind, &world, actions, 0), 0);
}

Test(decide, without_a_policy_the_number_stays)
{
	world.wanted = -1;
	cr_expect_eq(decide(), 0, "none stays none");
	world.waiting = 1;
	cr_assert_eq(decide(), 1, "one for those who wait");
	EXPECT_ACTION(0, FLEET_START, FLEET_WANTED, SIZE_MAX);
	unit(FLEET_READY, 500000, 1);
	unit(FLEET_READY, 500000, 1);
	cr_expect_eq(fleet_target(&mind, &world), 2);
	cr_expect_eq(decide(), 0, "two stay two");
	world.max = 1;
	cr_expect_eq(fleet_target(&mind, &world), 1, "within the bounds");
}

Test(decide, idle_model_drains_then_stops)
{
	struct fleet_unit *u = unit(FLEET_READY, 200000, 0);
	world.used_ms = NOW - 59999;
	cr_assert_eq(decide(), 0, "not idle for long enough");
	world.now_ms++;
	cr_assert_eq(decide(), 1);
	EXPECT_ACTION(0, FLEET_DRAIN, FLEET_SURPLUS, 0);
	*u = (struct fleet_unit){ .state = FLEET_DRAINING, .since_ms = world.now_ms, .running = 0 };
	cr_assert_eq(decide(), 1);
	EXPECT_ACTION(0, FLEET_RELEASE, FLEET_DRAINED, 0);
	u->state = FLEET_STOPPING;
	cr_assert_eq(decide(), 0);
}

Test(decide, one_never_used_lives_for_its_idle_time)
{
	unit(FLEET_READY, 59000, 0);
	cr_expect_eq(decide(), 0, "it became ready 59 s ago");
	world.now_ms += 1000;
	cr_assert_eq(decide(), 1);
	EXPECT_ACTION(0, FLEET_DRAIN, FLEET_SURPLUS, 0);
}

Test(decide, min_is_kept_when_idle)
{
	world.min = 1;
	unit(FLEET_READY, 500000, 0);
	unit(FLEET_READY, 400000, 0);
	cr_assert_eq(decide(), 1);
	EXPECT_ACTION(0, FLEET_DRAIN, FLEET_SURPLUS, 1);
}

Test(decide, a_swinging_number_does_not_stop_replicas)
{
	unit(FLEET_READY, 500000, 1);
	unit(FLEET_READY, 500000, 1);
	world.wanted = 1;
	for (int i = 0; i < 100; i++) {
		world.now_ms += 1000;
		world.wanted = i % 30 == 29 ? 2 : 1;
		cr_assert_eq(decide(), 0, "second %d: the number was met in between", i);
	}
	world.wanted = 1;
	cr_assert_eq(decide(), 0);
	world.now_ms += 59000;
	cr_assert_eq(decide(), 1, "too many for a whole idle time");
	EXPECT_ACTION(0, FLEET_DRAIN, FLEET_SURPLUS, 0);
}

Test(decide, max_lowered_holds_at_once)
{
	unit(FLEET_READY, 500000, 2);
	unit(FLEET_READY, 500000, 1);
	world.wanted = 2;
	world.max = 1;
	cr_assert_eq(decide(), 1);
	EXPECT_ACTION(0, FLEET_DRAIN, FLEET_SURPLUS, 1);
}

Test(decide, those_that_do_not_serve_go_first)
{
	world.max = 0;
	unit(FLEET_READY, 500000, 3);
	unit(FLEET_STARTING, 1000, 0);
	unit(FLEET_LEASING, 1000, 0);
	unit(FLEET_READY, 500000, 1);
	cr_assert_eq(decide(), 4);
	EXPECT_ACTION(0, FLEET_RELEASE, FLEET_SURPLUS, 2);
	EXPECT_ACTION(1, FLEET_RELEASE, FLEET_SURPLUS, 1);
	EXPECT_ACTION(2, FLEET_DRAIN, FLEET_SURPLUS, 3);
	EXPECT_ACTION(3, FLEET_DRAIN, FLEET_SURPLUS, 0);
}

Test(decide, a_start_has_a_deadline)
{
	world.wanted = 1;
	world.waiting = 1;
	unit(FLEET_STARTING, 29999, 0);
	cr_expect_eq(decide(), 0);
	cr_expect_eq(fleet_next(&mind, &world), 1);
	world.now_ms++;
	cr_assert_eq(decide(), 2, "it fails, none is started in the same breath, those who wait are told");
	EXPECT_ACTION(0, FLEET_FAIL, FLEET_DEADLINE, 0);
	EXPECT_ACTION(1, FLEET_FAIL_WAITERS, FLEET_WANTED, SIZE_MAX);
}

Test(decide, waiting_for_devices_has_no_deadline)
{
	world.wanted = 1;
	unit(FLEET_LEASING, 500000, 0);
	cr_assert_eq(decide(), 0);
}

Test(decide, drain_waits_for_requests_until_its_deadline)
{
	struct fleet_unit *u = unit(FLEET_DRAINING, 19999, 2);
	cr_expect_eq(decide(), 0);
	cr_expect_eq(fleet_next(&mind, &world), FLEET_DRAIN_POLL_MS);
	world.now_ms++;
	cr_assert_eq(decide(), 1);
	EXPECT_ACTION(0, FLEET_RELEASE, FLEET_DEADLINE, 0);
	u->running = 0;
	cr_assert_eq(decide(), 1);
	EXPECT_ACTION(0, FLEET_RELEASE, FLEET_DRAINED, 0);
}

Test(decide, sick_replica_is_replaced_after_the_back_off)
{
	world.wanted = 1;
	struct fleet_unit *u = unit(FLEET_READY, 500000, 1);
	u->sick = FLEET_SICK_AFTER - 1;
	cr_expect_eq(decide(), 0);
	u->sick++;
	cr_assert_eq(decide(), 1);
	EXPECT_ACTION(0, FLEET_DRAIN, FLEET_SICK, 0);
	u->state = FLEET_DRAINING;
	u->since_ms = NOW;
	cr_expect_eq(fleet_failed(&mind, NOW, 0), 1000);
	cr_expect_eq(decide(), 0, "not before its time");
	cr_expect_eq(fleet_next(&mind, &world), FLEET_DRAIN_POLL_MS);
	world.now_ms = NOW + 1000;
	cr_assert_eq(decide(), 1);
	EXPECT_ACTION(0, FLEET_START, FLEET_WANTED, SIZE_MAX);
}

Test(decide, back_off_doubles_to_five_minutes)
{
	static const uint64_t delays[] = { 1000, 2000, 4000, 8000, 16000, 32000, 64000, 128000, 256000, 300000, 300000 };
	for (size_t i = 0; i < sizeof delays / sizeof *delays; i++)
		cr_expect_eq(fleet_failed(&mind, NOW, 0), delays[i], "failure %zu", i + 1);
	cr_expect_eq(mind.retry_ms, NOW + 300000);
	for (int i = 0; i < 1000; i++)
		fleet_failed(&mind, NOW, 0);
	cr_expect_eq(fleet_failed(&mind, NOW, 0), 300000, "a thousand failures later");
	mind = (struct fleet_mind){ 0 };
	cr_expect_eq(fleet_failed(&mind, NOW, UINT32_MAX), 751, "chance takes up to a quarter off");
	mind = (struct fleet_mind){ 0 };
	cr_expect_eq(fleet_failed(&mind, NOW, UINT32_C(1) << 31), 875);
}

Test(decide, in_back_off_those_who_wait_are_told)
{
	world.wanted = 1;
	world.waiting = 3;
	fleet_failed(&mind, NOW, 0);
	cr_assert_eq(decide(), 1);
	EXPECT_ACTION(0, FLEET_FAIL_WAITERS, FLEET_WANTED, SIZE_MAX);
	cr_expect_eq(fleet_next(&mind, &world), 1000);
	world.now_ms += 400;
	cr_expect_eq(fleet_next(&mind, &world), 600);
	unit(FLEET_READY, 500000, 3);
	world.wanted = 2;
	cr_expect_eq(decide(), 0, "another replica serves them");
}

Test(decide, those_who_wait_do_so_for_one_that_was_lost)
{
	world.wanted = 1;
	world.waiting = 3;
	for (int i = 0; i < FLEET_LOSSES_WAITED; i++) {
		fleet_lost(&mind, NOW, 0);
		cr_assert_eq(decide(), 0, "loss %d: its successor starts in a moment", i + 1);
	}
	fleet_lost(&mind, NOW, 0);
	cr_assert_eq(decide(), 1);
	EXPECT_ACTION(0, FLEET_FAIL_WAITERS, FLEET_WANTED, SIZE_MAX);
	mind = (struct fleet_mind){ 0 };
	fleet_lost(&mind, NOW, 0);
	world.wanted = 0;
	cr_assert_eq(decide(), 1, "and none is to come");
	EXPECT_ACTION(0, FLEET_FAIL_WAITERS, FLEET_WANTED, SIZE_MAX);
	world.wanted = 1;
	fleet_failed(&mind, NOW, 0);
	cr_assert_eq(decide(), 1, "the successor does not start");
	EXPECT_ACTION(0, FLEET_FAIL_WAITERS, FLEET_WANTED, SIZE_MAX);
}

Test(decide, those_who_wait_stay_when_a_sick_one_goes)
{
	world.wanted = 1;
	world.waiting = 1;
	unit(FLEET_READY, 500000, 0)->sick = FLEET_SICK_AFTER;
	cr_assert_eq(decide(), 1);
	EXPECT_ACTION(0, FLEET_DRAIN, FLEET_SICK, 0);
	mind.failures = FLEET_LOSSES_WAITED;
	mind.failed_ms = NOW;
	cr_assert_eq(decide(), 2, "the last of many");
	EXPECT_ACTION(1, FLEET_FAIL_WAITERS, FLEET_WANTED, SIZE_MAX);
}

Test(decide, sixty_healthy_seconds_forgive)
{
	world.wanted = 1;
	fleet_failed(&mind, NOW, 0);
	fleet_failed(&mind, NOW, 0);
	struct fleet_unit *u = unit(FLEET_READY, 500000, 0);
	world.now_ms += FLEET_HEALTHY_MS;
	decide();
	cr_expect_eq(mind.failures, 2, "one that was ready before the failure proves nothing");
	u->since_ms = NOW;
	world.now_ms--;
	decide();
	cr_expect_eq(mind.failures, 2, "not 60 s yet");
	world.now_ms++;
	decide();
	cr_expect_eq(mind.failures, 0);
	cr_expect_eq(fleet_failed(&mind, world.now_ms, 0), 1000, "and the next one starts from the bottom");
}

Test(decide, policy_that_wants_none_while_requests_wait)
{
	world.waiting = 2;
	cr_assert_eq(decide(), 1);
	EXPECT_ACTION(0, FLEET_FAIL_WAITERS, FLEET_WANTED, SIZE_MAX);
}

Test(decide, operator_starts_and_stops)
{
	unit(FLEET_READY, 500000, 1);
	world.wanted = 1;
	fleet_want_more(&mind, &world);
	cr_expect_eq(fleet_target(&mind, &world), 2);
	cr_assert_eq(decide(), 1);
	EXPECT_ACTION(0, FLEET_START, FLEET_WANTED, SIZE_MAX);
	world.now_ms += world.idle_ms;
	cr_expect_eq(fleet_target(&mind, &world), 1, "the word holds for an idle time");
	fleet_want_none(&mind);
	cr_assert_eq(decide(), 1);
	EXPECT_ACTION(0, FLEET_DRAIN, FLEET_STOPPED, 0);
	world.n_units = 0;
	world.min = 1;
	world.waiting = 1;
	cr_assert_eq(decide(), 1, "stopped means none, whatever is configured");
	EXPECT_ACTION(0, FLEET_FAIL_WAITERS, FLEET_WANTED, SIZE_MAX);
	fleet_failed(&mind, world.now_ms, 0);
	fleet_want_more(&mind, &world);
	cr_assert_eq(decide(), 1, "an operator's start does not wait for the back-off");
	EXPECT_ACTION(0, FLEET_START, FLEET_WANTED, SIZE_MAX);
}

Test(decide, new_definition_starts_beside_the_old_one)
{
	world.wanted = 1;
	unit(FLEET_READY, 500000, 1)->outdated = true;
	cr_assert_eq(decide(), 1);
	EXPECT_ACTION(0, FLEET_START, FLEET_WANTED, SIZE_MAX);
	struct fleet_unit *fresh = unit(FLEET_LEASING, 0, 0);
	cr_expect_eq(decide(), 0, "the old one serves until the new one does");
	fresh->state = FLEET_STARTING;
	world.now_ms += 20000;
	cr_expect_eq(decide(), 0);
	fresh->state = FLEET_READY;
	cr_assert_eq(decide(), 1);
	EXPECT_ACTION(0, FLEET_DRAIN, FLEET_OUTDATED, 0);
	units[0].state = FLEET_DRAINING;
	units[0].since_ms = world.now_ms;
	cr_expect_eq(decide(), 0);
}

Test(decide, old_one_gives_its_devices_when_there_are_no_others)
{
	world.wanted = 2;
	unit(FLEET_READY, 500000, 1)->outdated = true;
	unit(FLEET_READY, 500000, 0)->outdated = true;
	unit(FLEET_LEASING, FLEET_MAKE_ROOM_MS - 1, 0);
	cr_expect_eq(decide(), 0);
	world.now_ms++;
	cr_assert_eq(decide(), 1);
	EXPECT_ACTION(0, FLEET_DRAIN, FLEET_OUTDATED, 1);
	units[1].state = FLEET_DRAINING;
	units[1].running = 1;
	units[1].since_ms = world.now_ms;
	cr_expect_eq(decide(), 0, "one at a time");
}

Test(decide, broken_new_definition_leaves_the_old_one)
{
	world.wanted = 1;
	unit(FLEET_READY, 500000, 1)->outdated = true;
	fleet_failed(&mind, NOW, 0);
	for (int i = 0; i < 10; i++) {
		cr_expect_eq(decide(), 0);
		world.now_ms += 90;
	}
}

Test(decide, outdated_ones_that_do_not_serve_go_at_once)
{
	world.wanted = 1;
	unit(FLEET_STARTING, 100, 0)->outdated = true;
	cr_assert_eq(decide(), 2);
	EXPECT_ACTION(0, FLEET_RELEASE, FLEET_OUTDATED, 0);
	EXPECT_ACTION(1, FLEET_START, FLEET_WANTED, SIZE_MAX);
}

/* A whole life: the driver's part played by the test. */
Test(decide, crash_loop_in_virtual_time)
{
	int starts = 0;
	world.wanted = 1;
	for (world.now_ms = NOW; world.now_ms < NOW + 3600 * 1000; world.now_ms += 100) {
		size_t n = decide();
		for (size_t i = 0; i < n; i++)
			if (actions[i].what == FLEET_START) {
				starts++; /* it exits at once */
				fleet_failed(&mind, world.now_ms, 0);
			}
	}
	/* 9 steps up to 256 s take 511 s, then one in 300 s. */
	cr_expect_eq(starts, 9 + 1 + (3600 - 511) / 300, "%d starts in an hour", starts);
}

Test(rate, smoothed)
{
	struct fleet_rate rate = { 0 };
	cr_expect_eq(fleet_rate_update(&rate, 1000, 50), 0.0, "what was before is not known");
	cr_expect_float_eq(fleet_rate_update(&rate, 4000, 80), 1.0, 1e-9, "10 a second for a tenth of the time");
	cr_expect_float_eq(fleet_rate_update(&rate, 4000, 90), 1.0, 1e-9, "no time has passed");
	cr_expect_float_eq(fleet_rate_update(&rate, 64000, 80), 0.0, 1e-9, "silence");
	cr_expect_eq(fleet_rate_update(&rate, 65000, 3), 0.0, "a counter that began again");
}

Test(money, exact_text)
{
	static const struct {
		int64_t amount;
		int digits;
		const char *text;
	} cases[] = {
		{ 0, 6, "0.00" }, { 100000, 6, "0.10" }, { 1, 6, "0.000001" }, { 54000000, 12, "0.000054" },
		{ 12400000000000, 12, "12.40" }, { 1, 12, "0.000000000001" }, { -1500000, 6, "-1.50" }, { 5, 2, "0.05" },
		{ INT64_MIN, 12, "-9223372.036854775808" }, { INT64_MAX, 2, "92233720368547758.07" }, { 1000000, 6, "1.00" },
		{ 1230000, 6, "1.23" }, { 1234000, 6, "1.234" },
	};
	char out[MONEY_TEXT_MAX];
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		money_text(cases[i].amount, cases[i].digits, out);
		cr_expect_str_eq(out, cases[i].text, "case %zu: %s", i, out);
	}
	money_text(money_of(UINT64_MAX, UINT64_MAX), 12, out);
	cr_expect_str_eq(out, "-0.000000000001");
	money_text(money_of(UINT64_C(1) << 63, 0), 12, out);
	cr_expect_str_eq(out, "-170141183460469231731687303.715884105728");
	money_text(money_of(1, 0), 12, out);
	cr_expect_str_eq(out, "18446744.073709551616");
}

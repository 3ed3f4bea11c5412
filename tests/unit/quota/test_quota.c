/* SPDX-License-Identifier: Apache-2.0 */
/* test_quota.c - windows, denials, edges; and random use against an exact, slow model. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/quota/quota.h"

static const uint64_t day_ms = 86400000;
static const uint64_t new_year_2026 = UINT64_C(1767225600000); /* 2026-01-01T00:00:00Z */

static struct quota_limit limit_of(const char *scope, uint8_t metric, uint8_t window, uint64_t window_ms, int64_t amount)
{
	struct quota_limit limit = { .metric = metric, .window = window, .window_ms = window_ms, .amount = amount };
	strcpy(limit.scope, scope);
	return limit;
}

static struct quota_now at(uint64_t mono_ms, uint64_t wall_ms)
{
	return (struct quota_now){ mono_ms, wall_ms };
}

/* Reserves and settles `tokens` of input at once. */
static int spend(struct quota *q, struct quota_now now, const struct quota_limit *limit, int64_t tokens,
                 struct quota_denial *denial)
{
	struct quota_reservation r;
	struct quota_use use = { .requests = 1, .input_tokens = tokens };
	int code = quota_reserve(q, now, limit, 1, &use, &r, denial);
	if (code == SL_OK)
		quota_settle(q, now, &r, &use);
	return code;
}

static int64_t used(struct quota *q, struct quota_now now, const struct quota_limit *limit)
{
	struct quota_state state;
	quota_read(q, now, limit, &state);
	return state.used;
}

Test(quota, the_bound_is_reserved_and_the_truth_settled)
{
	struct quota *q = quota_new(100);
	struct quota_limit limits[] = {
		limit_of("key:a", QUOTA_TOKENS, QUOTA_SLIDING, 60000, 1000), limit_of("key:a", QUOTA_CONCURRENCY, QUOTA_NONE, 0, 1),
		limit_of("key:a", QUOTA_COST, QUOTA_MONTH, 0, 500),
	};
	struct quota_use bound = { .requests = 1, .input_tokens = 300, .output_tokens = 400, .cost = 70 };
	struct quota_use truth = { .requests = 1, .input_tokens = 250, .output_tokens = 20, .cost = 27 };
	struct quota_reservation r, second;
	struct quota_denial denial;
	struct quota_now now = at(5000, new_year_2026);
	struct quota_state state;
	cr_assert_eq(quota_reserve(q, now, limits, 3, &bound, &r, NULL), SL_OK);
	quota_read(q, now, &limits[0], &state);
	cr_expect(state.used == 0 && state.reserved == 700);
	cr_expect(quota_reserved(q, QUOTA_TOKENS) == 700 && quota_reserved(q, QUOTA_COST) == 70 &&
	          quota_reserved(q, QUOTA_CONCURRENCY) == 1);
	cr_expect_eq(quota_reserve(q, now, limits, 3, &bound, &second, &denial), SL_ELIMIT);
	cr_expect(denial.limit == &limits[0] && denial.reserved == 700 && denial.wanted == 700 && denial.retry_ms == 1000,
	          "only a reservation is in the way");
	cr_expect_eq(second.n, 0);
	quota_settle(q, now, &r, &truth);
	quota_settle(q, now, &r, &truth); /* a second time does nothing */
	quota_read(q, now, &limits[0], &state);
	cr_expect(state.used == 270 && state.reserved == 0);
	cr_expect_eq(used(q, now, &limits[2]), 27);
	cr_expect_eq(used(q, now, &limits[1]), 0, "concurrency is given back");
	cr_expect(quota_reserved(q, QUOTA_TOKENS) == 0 && quota_reserved(q, QUOTA_CONCURRENCY) == 0);
	quota_free(q);
}

Test(quota, a_request_counts_from_its_start)
{
	struct quota *q = quota_new(100);
	struct quota_limit limit = limit_of("k", QUOTA_REQUESTS, QUOTA_SLIDING, 60000, 2);
	struct quota_use one = { .requests = 1 }, none = { 0 };
	struct quota_reservation a, b, c;
	struct quota_denial denial;
	cr_assert_eq(quota_reserve(q, at(1000, 0), &limit, 1, &one, &a, NULL), SL_OK);
	cr_assert_eq(quota_reserve(q, at(1000, 0), &limit, 1, &one, &b, NULL), SL_OK);
	cr_assert_eq(quota_reserve(q, at(1000, 0), &limit, 1, &one, &c, &denial), SL_ELIMIT);
	quota_settle(q, at(2000, 0), &b, &none); /* it never reached an engine */
	cr_assert_eq(quota_reserve(q, at(2000, 0), &limit, 1, &one, &c, NULL), SL_OK, "it was given back");
	/* a is a long stream: a minute later it counts no more, though it still runs. */
	cr_expect_eq(used(q, at(1000 + 66000, 0), &limit), 0);
	quota_settle(q, at(300000, 0), &a, &one);
	quota_settle(q, at(300000, 0), &c, &none);
	cr_expect_eq(used(q, at(300000, 0), &limit), 0, "what has left the window is not given back again");
	quota_free(q);
}

Test(quota, all_or_none)
{
	struct quota *q = quota_new(100);
	struct quota_limit limits[QUOTA_LIMITS_MAX + 1];
	struct quota_reservation r;
	struct quota_use use = { .requests = 1, .input_tokens = 10 };
	for (int i = 0; i <= QUOTA_LIMITS_MAX; i++) {
		limits[i] = limit_of("k", QUOTA_TOKENS, QUOTA_TOTAL, 0, i == QUOTA_LIMITS_MAX - 1 ? 9 : 1000);
		limits[i].scope[0] = (char) ('a' + i);
	}
	cr_expect_eq(quota_reserve(q, at(1, 1), limits, QUOTA_LIMITS_MAX, &use, &r, NULL), SL_ELIMIT);
	cr_expect_eq(quota_counters(q), 0, "a denied one makes no counter");
	cr_expect_eq(quota_reserve(q, at(1, 1), limits, QUOTA_LIMITS_MAX + 1, &use, &r, NULL), SL_EINVAL);
	cr_expect_eq(quota_reserve(q, at(1, 1), limits, QUOTA_LIMITS_MAX - 1, &use, &r, NULL), SL_OK);
	cr_expect_eq(quota_reserved(q, QUOTA_TOKENS), 10 * (QUOTA_LIMITS_MAX - 1));
	quota_settle(q, at(1, 1), &r, &use);
	cr_expect_eq(quota_reserve(q, at(1, 1), NULL, 0, &use, &r, NULL), SL_OK, "no limits");
	quota_settle(q, at(1, 1), &r, &use);
	quota_free(q);
}

Test(quota, two_limits_on_one_counter)
{
	struct quota *q = quota_new(100);
	struct quota_limit limits[] = { limit_of("k", QUOTA_TOKENS, QUOTA_DAY, 0, 100), limit_of("k", QUOTA_TOKENS, QUOTA_DAY, 0, 50) };
	struct quota_reservation r;
	struct quota_denial denial;
	struct quota_use use = { .requests = 1, .input_tokens = 40 };
	cr_assert_eq(quota_reserve(q, at(1, 1), limits, 2, &use, &r, NULL), SL_OK);
	cr_expect_eq(quota_reserved(q, QUOTA_TOKENS), 40, "counted once");
	quota_settle(q, at(1, 1), &r, &use);
	cr_expect_eq(quota_reserve(q, at(1, 1), limits, 2, &use, &r, &denial), SL_ELIMIT);
	cr_expect(denial.limit == &limits[1] && denial.used == 40, "the smaller one denies");
	quota_free(q);
}

Test(quota, limits_that_make_no_sense)
{
	struct quota *q = quota_new(100);
	struct quota_reservation r;
	struct quota_use use = { .requests = 1 }, negative = { .input_tokens = -1 };
	struct quota_limit bad[] = {
		limit_of("k", 0, QUOTA_DAY, 0, 1), limit_of("k", 7, QUOTA_DAY, 0, 1), limit_of("k", QUOTA_TOKENS, QUOTA_NONE, 0, 1),
		limit_of("k", QUOTA_TOKENS, 9, 0, 1), limit_of("k", QUOTA_TOKENS, QUOTA_SLIDING, 0, 1),
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_expect_eq(quota_reserve(q, at(1, 1), &bad[i], 1, &use, &r, NULL), SL_EINVAL, "case %zu", i);
	struct quota_limit good = limit_of("k", QUOTA_TOKENS, QUOTA_DAY, 0, 1);
	cr_expect_eq(quota_reserve(q, at(1, 1), &good, 1, &negative, &r, NULL), SL_EINVAL);
	good.amount = -5;
	struct quota_denial denial;
	cr_expect_eq(spend(q, at(1, 1), &good, 1, &denial), SL_ELIMIT);
	cr_expect_eq(denial.retry_ms, UINT64_MAX, "a retry cannot help");
	cr_expect_eq(quota_counters(q), 0);
	quota_free(q);
}

Test(quota, retry_of_a_sliding_window_is_true)
{
	struct quota *q = quota_new(100);
	struct quota_limit limit = limit_of("k", QUOTA_TOKENS, QUOTA_SLIDING, 60000, 100);
	struct quota_denial denial;
	cr_assert_eq(spend(q, at(100000, 0), &limit, 60, NULL), SL_OK);
	cr_assert_eq(spend(q, at(120000, 0), &limit, 40, NULL), SL_OK);
	cr_assert_eq(spend(q, at(130000, 0), &limit, 50, &denial), SL_ELIMIT);
	cr_expect(denial.retry_ms >= 30000 && denial.retry_ms <= 34000, "%llu", (unsigned long long) denial.retry_ms);
	cr_expect_eq(spend(q, at(130000 + denial.retry_ms - 1, 0), &limit, 50, NULL), SL_ELIMIT, "not a moment before");
	cr_expect_eq(spend(q, at(130000 + denial.retry_ms, 0), &limit, 50, NULL), SL_OK, "but then");
	cr_assert_eq(spend(q, at(170000, 0), &limit, 101, &denial), SL_ELIMIT);
	cr_expect_eq(denial.retry_ms, UINT64_MAX, "more than the whole amount never fits");
	quota_free(q);
}

Test(quota, calendar_windows)
{
	struct quota *q = quota_new(100);
	struct quota_limit day = limit_of("k", QUOTA_TOKENS, QUOTA_DAY, 0, 10), month = limit_of("k", QUOTA_TOKENS, QUOTA_MONTH, 0, 10);
	struct quota_denial denial;
	uint64_t midnight = new_year_2026 + 59 * day_ms; /* 2026-03-01: February has 28 days */
	cr_assert_eq(spend(q, at(1, midnight - 1), &day, 10, NULL), SL_OK);
	cr_assert_eq(spend(q, at(1, midnight - 1), &month, 10, NULL), SL_OK);
	cr_assert_eq(spend(q, at(1, midnight - 1), &day, 1, &denial), SL_ELIMIT);
	cr_expect(denial.retry_ms == 1 && denial.resets_ms == midnight);
	cr_assert_eq(spend(q, at(1, midnight - 1), &month, 1, &denial), SL_ELIMIT);
	cr_expect(denial.retry_ms == 1 && denial.resets_ms == midnight);
	cr_expect_eq(spend(q, at(1, midnight), &day, 10, NULL), SL_OK);
	cr_expect_eq(spend(q, at(1, midnight), &month, 10, NULL), SL_OK);
	cr_expect_eq(spend(q, at(1, midnight), &month, 1, &denial), SL_ELIMIT);
	cr_expect_eq(denial.resets_ms, midnight + 31 * day_ms, "April");
	quota_free(q);
}

/* The first of each month over four centuries, against the calendar's own rule. */
Test(quota, every_month_begins_on_its_day)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	struct quota_limit month = limit_of("k", QUOTA_TOKENS, QUOTA_MONTH, 0, 1);
	struct quota *q = quota_new(10);
	uint64_t day = 0;
	for (int year = 1970; year < 2370; year++) {
		for (int m = 0; m < 12; m++) {
			bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
			struct quota_denial denial = { 0 };
			uint64_t length = (uint64_t) days[m] + (m == 1 && leap);
			cr_assert_eq(spend(q, at(1, day * day_ms), &month, 1, NULL), SL_OK, "%d-%02d begins", year, m + 1);
			cr_assert_eq(spend(q, at(1, (day + length) * day_ms - 1), &month, 1, &denial), SL_ELIMIT, "%d-%02d ends", year, m + 1);
			cr_assert_eq(denial.resets_ms, (day + length) * day_ms);
			day += length;
		}
	}
	quota_free(q);
}

Test(quota, a_clock_that_goes_back_refills_nothing)
{
	struct quota *q = quota_new(2);
	struct quota_limit day = limit_of("k", QUOTA_TOKENS, QUOTA_DAY, 0, 10), other = limit_of("k", QUOTA_TOKENS, QUOTA_TOTAL, 0, 10);
	uint64_t noon = new_year_2026 + 10 * day_ms + day_ms / 2;
	cr_assert_eq(spend(q, at(1, noon), &day, 10, NULL), SL_OK);
	cr_expect_eq(spend(q, at(2, noon - day_ms), &day, 1, NULL), SL_ELIMIT, "yesterday again");
	cr_expect_eq(spend(q, at(3, noon), &day, 1, NULL), SL_ELIMIT, "and today again");
	cr_assert_eq(spend(q, at(4, noon + day_ms), &day, 10, NULL), SL_OK, "a jump ahead");
	cr_expect_eq(spend(q, at(5, noon), &day, 1, NULL), SL_ELIMIT, "and back");
	/* The same for a counter that is made while the clock is back, of the same scope. */
	(void) spend(q, at(6, noon + day_ms), &other, 1, NULL);
	cr_expect_eq(spend(q, at(8, noon + day_ms), &day, 1, NULL), SL_ELIMIT);
	quota_free(q);
}

Test(quota, reserved_before_midnight_settled_after)
{
	struct quota *q = quota_new(10);
	struct quota_limit day = limit_of("k", QUOTA_TOKENS, QUOTA_DAY, 0, 100);
	struct quota_use use = { .requests = 1, .input_tokens = 60 };
	struct quota_reservation r;
	uint64_t midnight = new_year_2026;
	cr_assert_eq(quota_reserve(q, at(1, midnight - 1000), &day, 1, &use, &r, NULL), SL_OK);
	cr_expect_eq(spend(q, at(1, midnight), &day, 50, NULL), SL_ELIMIT, "it is still reserved in the new day");
	quota_settle(q, at(1, midnight + 1000), &r, &use);
	cr_expect_eq(used(q, at(1, midnight + 1000), &day), 60, "charged to the day of its settlement");
	cr_expect_eq(quota_reserved(q, QUOTA_TOKENS), 0);
	quota_free(q);
}

Test(quota, numbers_near_the_end)
{
	struct quota *q = quota_new(10);
	struct quota_limit limit = limit_of("k", QUOTA_TOKENS, QUOTA_TOTAL, 0, INT64_MAX);
	struct quota_limit sliding = limit_of("k", QUOTA_TOKENS, QUOTA_SLIDING, UINT64_MAX, INT64_MAX);
	struct quota_use huge = { .input_tokens = INT64_MAX, .output_tokens = INT64_MAX };
	struct quota_reservation r;
	for (int i = 0; i < 2; i++) {
		const struct quota_limit *l = i ? &sliding : &limit;
		cr_assert_eq(quota_reserve(q, at(UINT64_MAX - 1, UINT64_MAX - 1), l, 1, &huge, &r, NULL), SL_OK);
		quota_settle(q, at(UINT64_MAX - 1, UINT64_MAX - 1), &r, &huge);
		cr_expect_eq(used(q, at(UINT64_MAX - 1, UINT64_MAX - 1), l), INT64_MAX);
		cr_expect_eq(spend(q, at(UINT64_MAX - 1, UINT64_MAX - 1), l, 1, NULL), SL_ELIMIT);
	}
	struct quota_limit month = limit_of("k", QUOTA_TOKENS, QUOTA_MONTH, 0, 5);
	cr_expect_eq(spend(q, at(1, UINT64_MAX), &month, 5, NULL), SL_OK);
	cr_expect_eq(quota_cost(1000000, 100000), INT64_C(100000000000));
	cr_expect_eq(quota_cost(INT64_MAX, 2), INT64_MAX);
	cr_expect_eq(quota_cost(INT64_MAX, -2), INT64_MIN);
	cr_expect_eq(quota_cost(0, INT64_MAX), 0);
	quota_free(q);
}

Test(quota, more_used_than_reserved_is_charged)
{
	struct quota *q = quota_new(10);
	struct quota_limit limit = limit_of("k", QUOTA_TOKENS, QUOTA_SLIDING, 1000, 100);
	struct quota_use bound = { .requests = 1, .input_tokens = 50 }, truth = { .requests = 1, .input_tokens = 170 };
	struct quota_use nothing = { .requests = 1 };
	struct quota_reservation r;
	cr_assert_eq(quota_reserve(q, at(1, 1), &limit, 1, &bound, &r, NULL), SL_OK);
	quota_settle(q, at(1, 1), &r, &truth);
	cr_expect_eq(used(q, at(1, 1), &limit), 170);
	cr_expect_eq(spend(q, at(1, 1), &limit, 1, NULL), SL_ELIMIT);
	cr_expect_eq(quota_reserve(q, at(1, 1), &limit, 1, &nothing, &r, NULL), SL_OK, "who wants none of it is not denied by it");
	quota_settle(q, at(1, 1), &r, &nothing);
	quota_free(q);
}

Test(quota, full_and_idle_counters)
{
	struct quota *q = quota_new(64);
	struct quota_denial denial;
	struct quota_limit limit;
	char scope[16];
	for (int i = 0; i < 64; i++) {
		snprintf(scope, sizeof scope, "k%d", i);
		limit = limit_of(scope, QUOTA_TOKENS, QUOTA_SLIDING, 60000, 10);
		cr_assert_eq(spend(q, at(1000, 1), &limit, 5, NULL), SL_OK);
	}
	limit = limit_of("one more", QUOTA_TOKENS, QUOTA_SLIDING, 60000, 10);
	cr_expect_eq(spend(q, at(2000, 1), &limit, 5, &denial), SL_EFULL, "full: refused, never let through");
	cr_expect_eq(spend(q, at(70000, 1), &limit, 5, NULL), SL_OK, "idle for a window: their places are free");
	cr_expect_eq(quota_counters(q), 1);
	/* A reservation of nothing still points at its counter. */
	struct quota_use none = { 0 }, some = { .input_tokens = 3 };
	struct quota_reservation r;
	struct quota_limit held = limit_of("held", QUOTA_TOKENS, QUOTA_SLIDING, 1000, 10);
	cr_assert_eq(quota_reserve(q, at(70000, 1), &held, 1, &none, &r, NULL), SL_OK);
	for (int i = 0; i < 200; i++) {
		snprintf(scope, sizeof scope, "n%d", i);
		limit = limit_of(scope, QUOTA_TOKENS, QUOTA_SLIDING, 1000, 10);
		cr_assert_eq(spend(q, at(70000 + (uint64_t) i * 200, 1), &limit, 5, NULL), SL_OK, "%d", i);
	}
	quota_settle(q, at(200000, 1), &r, &some);
	cr_expect_eq(used(q, at(200000, 1), &held), 3);
	quota_free(q);
}

Test(quota, what_was_used_before_a_restart)
{
	struct quota *q = quota_new(64);
	struct quota_now now = at(500000, new_year_2026 + day_ms / 2);
	struct quota_limit minute = limit_of("k", QUOTA_TOKENS, QUOTA_SLIDING, 60000, 100), day = limit_of("k", QUOTA_TOKENS, QUOTA_DAY, 0, 100);
	quota_restore(q, now, &minute, now.wall_ms - 30000, 10);
	quota_restore(q, now, &minute, now.wall_ms - 65000, 1000);
	quota_restore(q, now, &minute, now.wall_ms + 5000, 1); /* written by a clock that was ahead */
	cr_expect_eq(used(q, now, &minute), 11);
	cr_expect_eq(used(q, at(500000 + 35000, now.wall_ms), &minute), 1, "it leaves the window at its own time");
	quota_restore(q, now, &day, now.wall_ms - 1000, 7);
	quota_restore(q, now, &day, new_year_2026 - 1, 1000);
	quota_restore(q, now, &day, now.wall_ms, -5);
	cr_expect_eq(used(q, now, &day), 7);
	/* Just after the machine's start, older use counts as long as its age says. */
	struct quota_now early = at(1000, now.wall_ms);
	struct quota_limit other = limit_of("o", QUOTA_TOKENS, QUOTA_SLIDING, 60000, 100);
	quota_restore(q, early, &other, now.wall_ms - 70000, 50);
	cr_expect_eq(used(q, early, &other), 0);
	quota_restore(q, early, &other, now.wall_ms - 10000, 50);
	cr_expect_eq(used(q, early, &other), 50);
	quota_free(q);
}

/* What a reservation says of its counters is what a search finds. */
Test(quota, a_reservation_knows_its_counters)
{
	struct quota *q = quota_new(64);
	struct quota_limit limits[] = {
		limit_of("k", QUOTA_TOKENS, QUOTA_SLIDING, 15000, 1000), limit_of("k", QUOTA_REQUESTS, QUOTA_SLIDING, 15000, 10),
		limit_of("t", QUOTA_TOKENS, QUOTA_DAY, 0, 5000),
	};
	struct quota_use bound = { .requests = 1, .input_tokens = 7 };
	struct quota_reservation first, held;
	struct quota_state state, found;
	cr_assert_eq(quota_reserve(q, at(20000, 1), limits, 3, &bound, &first, NULL), SL_OK);
	quota_settle(q, at(20000, 1), &first, &bound);
	cr_expect_not(quota_read_reserved(q, at(20000, 1), &first, QUOTA_TOKENS, &state), "it is settled");
	bound.input_tokens = 11;
	cr_assert_eq(quota_reserve(q, at(21000, 1), limits, 3, &bound, &held, NULL), SL_OK);
	for (int i = 0; i < 2; i++) {
		cr_assert(quota_read_reserved(q, at(22000, 1), &held, limits[i].metric, &state));
		quota_read(q, at(22000, 1), &limits[i], &found);
		cr_expect(state.used == found.used && state.reserved == found.reserved && state.resets_in_ms == found.resets_in_ms);
	}
	cr_assert(quota_read_reserved(q, at(22000, 1), &held, QUOTA_TOKENS, &state));
	cr_expect(state.used == 7 && state.reserved == 11, "of the first limit with that metric");
	cr_assert(quota_read_reserved(q, at(22000, 1), &held, QUOTA_REQUESTS, &state));
	cr_expect_eq(state.used, 2);
	cr_expect_not(quota_read_reserved(q, at(22000, 1), &held, QUOTA_COST, &state));
	quota_settle(q, at(22000, 1), &held, &bound);
	quota_free(q);
}

Test(quota, read_says_when_it_is_empty)
{
	struct quota *q = quota_new(64);
	struct quota_state state;
	struct quota_limit limit = limit_of("k", QUOTA_TOKENS, QUOTA_SLIDING, 15000, 100);
	quota_read(q, at(20000, 1), &limit, &state);
	cr_expect(state.used == 0 && state.reserved == 0 && state.resets_in_ms == 0, "nothing was used");
	cr_expect_eq(quota_counters(q), 0, "reading makes no counter");
	cr_assert_eq(spend(q, at(20000, 1), &limit, 5, NULL), SL_OK);
	quota_read(q, at(25000, 1), &limit, &state);
	cr_expect_eq(state.resets_in_ms, 11000);
	cr_expect_eq(used(q, at(25000 + 10999, 1), &limit), 5);
	cr_expect_eq(used(q, at(25000 + 11000, 1), &limit), 0);
	quota_free(q);
}

/* Every charge with its time: the exact truth. */
struct charge {
	uint64_t ms;
	int64_t amount;
};

enum { OPERATIONS = 4000, UNDER_WAY = 8 };

static unsigned step(unsigned *seed)
{
	*seed = *seed * 1103515245u + 12345u;
	return *seed >> 8;
}

/* The most that any interval of length window_ms holds. */
static int64_t worst_interval(const struct charge *charges, int n, uint64_t window_ms)
{
	int64_t sum = 0, worst = 0;
	for (int from = 0, to = 0; to < n; to++) {
		sum += charges[to].amount;
		while (charges[to].ms - charges[from].ms >= window_ms)
			sum -= charges[from++].amount;
		worst = sum > worst ? sum : worst;
	}
	return worst;
}

static void random_use(uint64_t window_ms, unsigned seed)
{
	static struct charge charges[OPERATIONS];
	struct quota *q = quota_new(10);
	struct quota_limit limit = limit_of("k", QUOTA_TOKENS, QUOTA_SLIDING, window_ms, 1000);
	struct quota_reservation r[UNDER_WAY] = { 0 };
	int64_t bound[UNDER_WAY];
	uint64_t ms = 12345;
	int n = 0, granted = 0;
	for (int i = 0; i < OPERATIONS; i++) {
		int k = (int) (step(&seed) % UNDER_WAY);
		ms += step(&seed) % (window_ms / 40 + 2);
		if (step(&seed) % 300 == 0)
			ms += window_ms / 2 + step(&seed) % (2 * window_ms);
		if (r[k].n == 0) {
			struct quota_use use = { .input_tokens = bound[k] = step(&seed) % 200 };
			granted += quota_reserve(q, at(ms, 0), &limit, 1, &use, &r[k], NULL) == SL_OK;
			continue;
		}
		struct quota_use use = { .input_tokens = step(&seed) % 2 ? bound[k] : (int64_t) (step(&seed) % (uint64_t) (bound[k] + 1)) };
		quota_settle(q, at(ms, 0), &r[k], &use);
		charges[n++] = (struct charge){ ms, use.input_tokens };
	}
	int64_t worst = worst_interval(charges, n, window_ms);
	cr_expect(worst <= 1000, "window %llu, seed %u: an interval holds %lld", (unsigned long long) window_ms, seed, (long long) worst);
	cr_expect(worst > (window_ms < 14 ? 500 : 700), "window %llu: the limit is used: %lld", (unsigned long long) window_ms, (long long) worst);
	cr_expect(granted > 100);
	quota_free(q);
}

Test(quota, no_interval_ever_holds_more)
{
	static const uint64_t windows[] = { 1, 2, 7, 14, 15, 16, 100, 1000, 60000, 3600000, 86400000 };
	for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++)
		for (unsigned seed = 1; seed < 6; seed++)
			random_use(windows[i], seed);
}

static struct quota_state state_of(struct quota *q, struct quota_now now, const struct quota_limit *limit)
{
	struct quota_state state;
	quota_read(q, now, limit, &state);
	return state;
}

Test(quota, a_reservation_that_lasts_grows_and_is_charged_in_parts)
{
	struct quota *q = quota_new(100);
	struct quota_limit limits[] = {
		limit_of("tenant:a", QUOTA_COST, QUOTA_DAY, 0, 100), limit_of("tenant:a", QUOTA_COST, QUOTA_MONTH, 0, 500),
	};
	struct quota_reservation r;
	struct quota_denial denial;
	struct quota_now now = at(5000, new_year_2026 + day_ms);
	cr_assert_eq(quota_reserve(q, now, limits, 2, &(struct quota_use){ .cost = 60 }, &r, NULL), SL_OK);
	cr_expect_eq(quota_grow(q, now, limits, 2, &(struct quota_use){ .cost = 41 }, &r, &denial), SL_ELIMIT);
	cr_expect(denial.limit == &limits[0] && denial.reserved == 60 && state_of(q, now, &limits[1]).reserved == 60);
	cr_assert_eq(quota_grow(q, now, limits, 2, &(struct quota_use){ .cost = 40 }, &r, NULL), SL_OK);
	cr_expect(r.n == 2 && quota_reserved(q, QUOTA_COST) == 200);
	/* A part of yesterday is no use of today, and of this month it is. */
	for (int i = 0; i < 2; i++)
		quota_restore(q, now, &limits[i], new_year_2026 + day_ms - 1, 30);
	quota_shrink(q, &r, QUOTA_COST, 30);
	struct quota_state day = state_of(q, now, &limits[0]), month = state_of(q, now, &limits[1]);
	cr_expect(day.used == 0 && day.reserved == 70 && month.used == 30 && month.reserved == 70);
	/* No more than there is. */
	quota_shrink(q, &r, QUOTA_COST, 80);
	cr_expect_eq(quota_reserved(q, QUOTA_COST), 0);
	quota_settle(q, now, &r, &(struct quota_use){ 0 });
	cr_expect(quota_reserved(q, QUOTA_COST) == 0 && state_of(q, now, &limits[1]).used == 30);
	quota_free(q);
}

Test(quota, a_counter_that_grew_is_held_once)
{
	struct quota *q = quota_new(1);
	struct quota_limit limit = limit_of("tenant:a", QUOTA_COST, QUOTA_TOTAL, 0, 100), other = limit_of("tenant:b", QUOTA_COST, QUOTA_TOTAL, 0, 100);
	struct quota_reservation r, second;
	struct quota_now now = at(5000, new_year_2026);
	cr_assert_eq(quota_reserve(q, now, &limit, 1, &(struct quota_use){ .cost = 1 }, &r, NULL), SL_OK);
	cr_assert_eq(quota_grow(q, now, &limit, 1, &(struct quota_use){ .cost = 1 }, &r, NULL), SL_OK);
	quota_settle(q, now, &r, &(struct quota_use){ 0 });
	/* Its place is free for another. */
	now.mono_ms += 1000;
	cr_expect_eq(quota_reserve(q, now, &other, 1, &(struct quota_use){ .cost = 1 }, &second, NULL), SL_OK);
	quota_settle(q, now, &second, &(struct quota_use){ 0 });
	quota_free(q);
}

Test(quota, more_limits_than_a_reservation_has_places_for)
{
	struct quota *q = quota_new(100);
	struct quota_limit limits[QUOTA_LIMITS_MAX + 1];
	struct quota_reservation r;
	struct quota_now now = at(5000, new_year_2026);
	for (unsigned i = 0; i <= QUOTA_LIMITS_MAX; i++) {
		limits[i] = limit_of("tenant:a", QUOTA_COST, QUOTA_DAY, 0, 100);
		snprintf(limits[i].scope, sizeof limits[i].scope, "tenant:%u", i);
	}
	cr_assert_eq(quota_reserve(q, now, limits, QUOTA_LIMITS_MAX, &(struct quota_use){ .cost = 1 }, &r, NULL), SL_OK);
	cr_expect_eq(quota_grow(q, now, &limits[QUOTA_LIMITS_MAX], 1, &(struct quota_use){ .cost = 1 }, &r, NULL), SL_EFULL);
	cr_expect(r.n == QUOTA_LIMITS_MAX && quota_reserved(q, QUOTA_COST) == QUOTA_LIMITS_MAX);
	quota_settle(q, now, &r, &(struct quota_use){ 0 });
	quota_free(q);
}

Test(quota, limits_on_one_counter)
{
	struct quota_limit day = limit_of("user:t/u", QUOTA_COST, QUOTA_DAY, 0, 100), more = day, month = day, minute = day, other;
	more.amount = 7;
	month.window = QUOTA_MONTH;
	minute.window = QUOTA_SLIDING;
	minute.window_ms = 60000;
	other = minute;
	other.window_ms = 30000;
	cr_expect(quota_same_counter(&day, &more));
	cr_expect_not(quota_same_counter(&day, &month));
	cr_expect_not(quota_same_counter(&minute, &other));
	strcpy(more.scope, "user:t/v");
	cr_expect_not(quota_same_counter(&day, &more));
}

Test(quota, somebody_is_told_once)
{
	struct quota *q = quota_new(100);
	struct quota_limit limits[] = {
		limit_of("key:a", QUOTA_REQUESTS, QUOTA_DAY, 0, 10), limit_of("key:a", QUOTA_TOKENS, QUOTA_DAY, 0, 100),
		limit_of("key:a", QUOTA_TOKENS, QUOTA_DAY, 0, 200),
	};
	limits[0].warn = 3;
	limits[2].warn = 80; /* of the same counter as limits[1], which has none */
	struct quota_use bound = { .requests = 1, .input_tokens = 20 };
	/* What is reserved is not used: the third request, and the tokens of the fourth, come to the marks. */
	static const struct { int64_t used; unsigned warned; } steps[] = { { 20, 0 }, { 20, 0 }, { 20, 1 }, { 20, 2 }, { 5, 0 } };
	struct quota_now now = at(5000, new_year_2026);
	struct quota_reservation r;
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		cr_assert_eq(quota_reserve(q, now, limits, 3, &bound, &r, NULL), SL_OK);
		quota_settle(q, now, &r, &(struct quota_use){ .requests = 1, .input_tokens = steps[i].used });
		cr_expect_eq(r.warned, steps[i].warned, "step %zu: %x", i, r.warned);
	}
	/* The next day begins anew, and charges of leases tell too. */
	now.wall_ms += day_ms;
	cr_expect_not(quota_restore(q, now, &limits[2], now.wall_ms, 79));
	cr_expect(quota_restore(q, now, &limits[2], now.wall_ms, 1));
	cr_expect_not(quota_restore(q, now, &limits[2], now.wall_ms, 1));
	quota_free(q);
}

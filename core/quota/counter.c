/* SPDX-License-Identifier: Apache-2.0 */
/* counter.c - the windows of one counter. */
#include "core/quota/counter.h"

#include <string.h>

#define DAY_MS UINT64_C(86400000)
#define RETRY_UNKNOWN_MS 1000

int64_t counter_add(int64_t a, int64_t b)
{
	int64_t sum;
	if (__builtin_add_overflow(a, b, &sum))
		return a < 0 ? INT64_MIN : INT64_MAX;
	return sum;
}

static uint64_t multiply(uint64_t a, uint64_t b)
{
	uint64_t product;
	return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

/* Days since 1970 of the first day of a month (counted from year 0), in the Gregorian calendar. */
static uint64_t month_day(uint64_t month)
{
	uint64_t y = month / 12, m = month % 12 + 1;
	/* The year begins in March, so that the leap day is its last. */
	if (m <= 2)
		y--;
	uint64_t era = y / 400, year = y % 400;
	uint64_t day_of_year = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5;
	return era * 146097 + year * 365 + year / 4 - year / 100 + day_of_year - 719468;
}

static uint64_t month_of_day(uint64_t day)
{
	uint64_t month = 1970 * 12;
	/* No month is longer than 31 days, so this never goes too far. */
	for (uint64_t more; (more = (day - month_day(month)) / 31) > 0;)
		month += more;
	while (month_day(month + 1) <= day)
		month++;
	return month;
}

/* The period of a calendar window at a time, and when it ends. */
static uint64_t calendar_period(uint8_t window, uint64_t wall_ms, uint64_t *until_ms)
{
	uint64_t day = wall_ms / DAY_MS;
	if (window == QUOTA_DAY) {
		*until_ms = multiply(day + 1, DAY_MS);
		return day;
	}
	if (window == QUOTA_MONTH) {
		uint64_t month = month_of_day(day);
		*until_ms = multiply(month_day(month + 1), DAY_MS);
		return month;
	}
	*until_ms = UINT64_MAX;
	return 0;
}

static void ring_shape(struct counter *c, uint64_t window_ms)
{
	uint64_t steps = RING_BUCKETS - 1;
	uint64_t width = window_ms / steps + (window_ms % steps != 0);
	c->ring->width = width;
	/* A use at the very end of its bucket must still count window_ms later. */
	c->keep = (uint8_t) (window_ms / width + (window_ms % width != 0) + 1);
}

void counter_start(struct counter *c, struct quota_now now, uint64_t window_ms)
{
	if (c->window == QUOTA_SLIDING) {
		ring_shape(c, window_ms);
		c->period = now.mono_ms / c->ring->width;
		c->until_ms = multiply(c->period + 1, c->ring->width);
		return;
	}
	c->keep = 1;
	c->period = calendar_period(c->window, now.wall_ms, &c->until_ms);
}

static void ring_sum(struct counter *c)
{
	c->used = 0;
	for (int i = 0; i < RING_BUCKETS; i++)
		c->used = counter_add(c->used, c->ring->bucket[i]);
}

static void ring_advance(struct counter *c, uint64_t period)
{
	uint64_t steps = period - c->period;
	uint64_t oldest = period - (uint64_t) c->keep + 1; /* of those that count from now on */
	if (steps >= RING_BUCKETS) {
		memset(c->ring->bucket, 0, sizeof c->ring->bucket);
		c->used = 0;
	} else {
		for (uint64_t b = c->period + 1; b <= period; b++)
			c->ring->bucket[b % RING_BUCKETS] = 0;
		/* A short window keeps fewer buckets than the ring has. */
		for (uint64_t i = c->keep; i < RING_BUCKETS; i++)
			c->ring->bucket[(oldest + i) % RING_BUCKETS] = 0;
		ring_sum(c);
	}
	c->period = period;
	c->until_ms = multiply(period + 1, c->ring->width);
}

void counter_advance(struct counter *c, struct quota_now now)
{
	if (c->window == QUOTA_SLIDING) {
		if (now.mono_ms >= c->until_ms)
			ring_advance(c, now.mono_ms / c->ring->width);
		return;
	}
	if (now.wall_ms < c->until_ms || c->window == QUOTA_TOTAL || c->window == QUOTA_NONE)
		return;
	uint64_t period = calendar_period(c->window, now.wall_ms, &c->until_ms);
	if (period > c->period) {
		c->period = period;
		c->used = 0;
	}
}

void counter_charge(struct counter *c, int64_t amount)
{
	c->used = counter_add(c->used, amount);
	if (c->window == QUOTA_SLIDING) {
		int64_t *bucket = &c->ring->bucket[c->period % RING_BUCKETS];
		*bucket = counter_add(*bucket, amount);
	}
}

void counter_refund(struct counter *c, uint64_t period, int64_t amount)
{
	if (c->window != QUOTA_SLIDING) {
		if (period == c->period)
			c->used = c->used > amount ? c->used - amount : 0;
		return;
	}
	if (c->period - period >= c->keep)
		return;
	int64_t *bucket = &c->ring->bucket[period % RING_BUCKETS];
	*bucket = *bucket > amount ? *bucket - amount : 0;
	ring_sum(c);
}

void counter_restore(struct counter *c, struct quota_now now, uint64_t wall_ms, int64_t amount)
{
	if (c->window == QUOTA_NONE)
		return;
	if (c->window != QUOTA_SLIDING) {
		uint64_t until;
		uint64_t period = calendar_period(c->window, wall_ms, &until);
		if (period > c->period) { /* the clock went back since: that period is the one that was seen */
			c->period = period;
			c->until_ms = until;
			c->used = 0;
		}
		if (period == c->period)
			counter_charge(c, amount);
		return;
	}
	uint64_t age = now.wall_ms > wall_ms ? now.wall_ms - wall_ms : 0;
	uint64_t bucket = age < now.mono_ms ? (now.mono_ms - age) / c->ring->width : 0;
	if (bucket > c->period)
		bucket = c->period;
	/* Older than the machine's start: bucket 0 would count too long, so its age decides. */
	if (c->period - bucket >= c->keep || age / c->ring->width > c->keep)
		return;
	int64_t *place = &c->ring->bucket[bucket % RING_BUCKETS];
	*place = counter_add(*place, amount);
	ring_sum(c);
}

bool counter_idle(const struct counter *c)
{
	return c->holds == 0 && c->reserved == 0 && c->used == 0;
}

static uint64_t until(uint64_t end, uint64_t now)
{
	if (end == UINT64_MAX)
		return UINT64_MAX;
	return end > now ? end - now : 1;
}

/* When a sliding window has let go of so much that only `room` is left in it. */
static uint64_t ring_retry(const struct counter *c, uint64_t mono_ms, int64_t room)
{
	int64_t used = c->used;
	uint64_t age = c->period < (uint64_t) c->keep - 1 ? c->period : (uint64_t) c->keep - 1;
	for (uint64_t b = c->period - age; b <= c->period; b++) {
		used -= c->ring->bucket[b % RING_BUCKETS];
		if (used <= room)
			return until(multiply(b + c->keep, c->ring->width), mono_ms);
	}
	return RETRY_UNKNOWN_MS;
}

uint64_t counter_retry_ms(const struct counter *c, struct quota_now now, int64_t amount, int64_t wanted)
{
	if (wanted > amount)
		return UINT64_MAX;
	int64_t room = amount - wanted; /* for what others use and reserve */
	if (c->used <= room)
		return RETRY_UNKNOWN_MS;
	switch (c->window) {
	case QUOTA_SLIDING:
		/* Sure to be true if nobody settles meanwhile; else at the earliest, if everybody settles with nothing. */
		return ring_retry(c, now.mono_ms, c->reserved <= room ? room - c->reserved : room);
	case QUOTA_DAY:
	case QUOTA_MONTH:
		return until(c->until_ms, now.wall_ms);
	default:
		return UINT64_MAX;
	}
}

uint64_t counter_resets_in_ms(const struct counter *c, struct quota_now now)
{
	if (c->used == 0 || c->window == QUOTA_NONE)
		return 0;
	if (c->window != QUOTA_SLIDING)
		return until(c->until_ms, now.wall_ms);
	uint64_t b = c->period;
	for (uint64_t age = 0; age < c->keep && b > 0 && c->ring->bucket[b % RING_BUCKETS] == 0; age++)
		b--;
	return until(multiply(b + c->keep, c->ring->width), now.mono_ms);
}

uint64_t counter_resets_ms(const struct counter *c)
{
	return c->window == QUOTA_DAY || c->window == QUOTA_MONTH ? c->until_ms : 0;
}

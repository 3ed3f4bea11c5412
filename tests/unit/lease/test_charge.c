/* SPDX-License-Identifier: Apache-2.0 */
/* test_charge.c - what a lease is charged is what it has run, whatever happens in between. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/str.h"
#include "core/lease/lease.h"

#define HOUR INT64_C(3600000)
#define BEGIN (INT64_C(1700000000000) / HOUR * HOUR) /* a full hour */

static struct lease_now at(int64_t ms)
{
	return (struct lease_now){ (uint64_t) (BEGIN + ms), ms };
}

/* A lease that runs since `ms` on devices of these kinds and prices. */
static struct lease running(int64_t ms, uint32_t n, const char *const *kinds, const int64_t *prices)
{
	struct lease lease = { .number = 7, .wanted = n };
	cr_assert(lease_init(&lease));
	lease.argv = json_pack("[s]", "true");
	for (uint32_t i = 0; i < n; i++) {
		snprintf(lease.places[i].uuid, sizeof lease.places[i].uuid, "GPU-%u", i);
		strcpy(lease.places[i].kind, kinds[i]);
		lease.places[i].price = prices[i];
	}
	lease.n_places = n;
	lease.state = LEASE_RUNNING;
	lease.started_ms = at(ms).wall_ms;
	lease.since_mono_ms = ms;
	return lease;
}

static struct lease two_h100(int64_t ms)
{
	static const char *const kinds[] = { "h100", "h100" };
	static const int64_t prices[] = { 694444444, 694444444 };
	return running(ms, 2, kinds, prices);
}

/* One line a charge, times since BEGIN. */
static const char *text_of(json_t *charges)
{
	static char text[4096];
	size_t i, used = 0;
	json_t *c;
	text[0] = '\0';
	json_array_foreach(charges, i, c)
		used += (size_t) snprintf(text + used, sizeof text - used, "%lld-%lld %s %lld %lld\n",
		                          (long long) (json_get_int(c, "from_ms", 0) - BEGIN),
		                          (long long) (json_get_int(c, "until_ms", 0) - BEGIN), json_get_str(c, "kind", "?"),
		                          (long long) json_get_int(c, "price", -1), (long long) json_get_int(c, "device_ms", -1));
	json_decref(charges);
	return text;
}

Test(charge, closed_stretches_while_it_runs_the_rest_at_its_end)
{
	struct lease lease = two_h100(1000);
	cr_expect_not(lease_charge_due(&lease, at(HOUR - 1), HOUR), "this hour goes on");
	cr_expect_null(lease_charge(&lease, at(HOUR - 1), HOUR));
	cr_expect(lease_charge_due(&lease, at(HOUR + 5), HOUR));
	cr_expect_str_eq(text_of(lease_charge(&lease, at(HOUR + 5), HOUR)), "1000-3600000 h100 694444444 7198000\n");
	cr_expect_null(lease_charge(&lease, at(HOUR + 6), HOUR), "once");
	cr_expect_eq(lease_change(&lease, LEASE_ENDED, at(3 * HOUR + 7), "done", NULL), SL_OK);
	cr_expect_str_eq(text_of(lease_charge(&lease, at(3 * HOUR + 900), HOUR)),
	                 "3600000-7200000 h100 694444444 7200000\n7200000-10800000 h100 694444444 7200000\n"
	                 "10800000-10800007 h100 694444444 14\n");
	cr_expect_null(lease_charge(&lease, at(5 * HOUR), HOUR));
	cr_expect_eq(lease.charged_ms * 2, lease_device_ms(&lease, at(9 * HOUR)));
	lease_clear(&lease);
}

Test(charge, each_kind_and_price_by_itself)
{
	static const char *const kinds[] = { "a", "b", "a", "a" };
	static const int64_t prices[] = { 5, 7, 5, 6 };
	struct lease lease = running(0, 4, kinds, prices);
	cr_expect_str_eq(text_of(lease_charge(&lease, at(2000), 1000)), "0-2000 a 5 4000\n0-2000 b 7 2000\n0-2000 a 6 2000\n");
	cr_expect(lease_cost(&lease, at(2000)) == 2000 * (5 + 7 + 5 + 6));
	lease_clear(&lease);
}

Test(charge, nothing_for_what_has_no_device_or_did_not_run)
{
	struct lease lease = running(0, 0, NULL, NULL);
	cr_expect_not(lease_charge_due(&lease, at(9 * HOUR), HOUR));
	lease_clear(&lease);
	lease = two_h100(0);
	lease.started_ms = 0;
	lease.state = LEASE_RELEASING; /* called back before it ran */
	cr_expect_not(lease_charge_due(&lease, at(9 * HOUR), HOUR));
	lease_clear(&lease);
}

Test(charge, what_is_suspended_uses_nothing)
{
	struct lease lease = two_h100(0);
	cr_expect_eq(lease_change(&lease, LEASE_SUSPENDING, at(1400), "", NULL), SL_OK);
	cr_expect_eq(lease_change(&lease, LEASE_SUSPENDED, at(1500), "", NULL), SL_OK);
	cr_expect_str_eq(text_of(lease_charge(&lease, at(1500), HOUR)), "0-1500 h100 694444444 3000\n");
	cr_expect_eq(lease_change(&lease, LEASE_RESUMING, at(8000), "", NULL), SL_OK);
	cr_expect_not(lease_charge_due(&lease, at(8500), HOUR));
	cr_expect_eq(lease_change(&lease, LEASE_RUNNING, at(9000), "", NULL), SL_OK);
	cr_expect_eq(lease_change(&lease, LEASE_ENDED, at(9100), "", NULL), SL_OK);
	cr_expect_str_eq(text_of(lease_charge(&lease, at(9100), HOUR)), "9000-9100 h100 694444444 200\n");
	lease_clear(&lease);
}

/* sluiced was away for a year: the record stays short, the sum exact. */
Test(charge, very_many_hours_are_one_stretch)
{
	struct lease lease = two_h100(0);
	int64_t year = 365 * 24 * HOUR;
	json_t *charges = lease_charge(&lease, at(year), HOUR);
	size_t i, n = json_array_size(charges);
	int64_t sum = 0, until = BEGIN;
	json_t *c;
	json_array_foreach(charges, i, c) {
		sum += json_get_int(c, "device_ms", 0);
		cr_expect_eq(json_get_int(c, "from_ms", 0), until);
		until = json_get_int(c, "until_ms", 0);
	}
	cr_expect_eq(n, LEASE_CHARGES_MAX);
	cr_expect_eq(sum, 2 * year);
	json_decref(charges);
	lease_clear(&lease);
}

/* A ledger in miniature: what was written, and how much of that is durable. */
struct book {
	json_t *records[400];
	unsigned n, durable;
};

static void write_down(struct book *book, struct lease *lease, struct lease_now now, uint64_t every_ms, bool refused)
{
	struct lease copy = *lease;
	json_t *charges = lease_charge(&copy, now, every_ms);
	json_t *record = lease_record(&copy, now);
	if (charges)
		json_object_set_new(record, "charges", charges);
	if (refused) {
		json_decref(record);
		return;
	}
	lease->charged_ms = copy.charged_ms;
	lease->charged_until_ms = copy.charged_until_ms;
	cr_assert_lt(book->n, sizeof book->records / sizeof book->records[0]);
	book->records[book->n++] = record;
}

/* Everything after the last durable record is gone; the agent says what has happened meanwhile. */
static void crash(struct book *book, struct lease *lease, struct lease_now now)
{
	while (book->n > book->durable)
		json_decref(book->records[--book->n]);
	uint64_t started = lease->started_ms; /* the agent's word */
	sl_error error = { 0 };
	lease_clear(lease);
	cr_assert_eq(lease_restore(lease, book->records[book->n - 1], now, &error), SL_OK, "%s", error.text);
	lease_ran_since(lease, started, 0, now);
}

static void check_book(const struct book *book, const struct lease *lease, struct lease_now now, unsigned seed)
{
	int64_t sum = 0, until = (int64_t) lease->started_ms;
	money_amount cost = 0;
	for (unsigned r = 0; r < book->n; r++) {
		size_t i;
		json_t *c;
		json_array_foreach(json_object_get(book->records[r], "charges"), i, c) {
			int64_t from = json_get_int(c, "from_ms", 0), end = json_get_int(c, "until_ms", 0), ms = json_get_int(c, "device_ms", 0);
			cr_assert_eq(from, until, "seed %u: without a gap", seed);
			cr_assert_gt(end, from, "seed %u", seed);
			cr_assert_eq(from / HOUR, (end - 1) / HOUR, "seed %u: within one hour", seed);
			cr_assert_eq(ms, 2 * (end - from), "seed %u", seed);
			until = end;
			sum += ms;
			cost += (money_amount) ms * json_get_int(c, "price", 0);
		}
	}
	cr_assert_eq(sum, (int64_t) lease_run_ms(lease, now) * 2, "seed %u: %lld charged, %llu run", seed, (long long) sum,
	             (unsigned long long) lease_run_ms(lease, now) * 2);
	cr_assert(cost == lease_cost(lease, now), "seed %u", seed);
}

/* Random lives: crashes with and without loss, refusals, clocks that differ by a little. */
Test(charge, nothing_twice_and_nothing_lost)
{
	for (unsigned seed = 1; seed <= 2000; seed++) {
		static const uint64_t periods[] = { 1000, 60000, HOUR, 24 * HOUR };
		srandom(seed);
		uint64_t every_ms = periods[random() % 4];
		struct book book = { .n = 0 };
		int64_t ms = random() % HOUR, skew = 0;
		struct lease lease = two_h100(ms);
		struct lease_now now = at(ms);
		write_down(&book, &lease, now, every_ms, false);
		book.durable = 1;
		int steps = (int) (random() % 40);
		for (int i = 0; i < steps; i++) {
			ms += random() % (random() % 4 ? 100000 : 5 * HOUR);
			skew += random() % 21 - 10; /* the wall clock is set a little */
			now = at(ms);
			now.wall_ms += (uint64_t) skew;
			switch (random() % 5) {
			case 0:
				crash(&book, &lease, now);
				break;
			case 1:
				book.durable = book.n;
				break;
			default:
				if (lease_charge_due(&lease, now, every_ms))
					write_down(&book, &lease, now, every_ms, random() % 4 == 0);
				if (random() % 2)
					book.durable = book.n;
			}
		}
		cr_assert_eq(lease_change(&lease, LEASE_ENDED, now, "done", NULL), SL_OK);
		write_down(&book, &lease, now, every_ms, false);
		check_book(&book, &lease, now, seed);
		while (book.n)
			json_decref(book.records[--book.n]);
		lease_clear(&lease);
	}
}

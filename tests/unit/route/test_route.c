/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "core/base/str.h"
#include "core/route/route.h"

enum { NOW = 1000000 };

static struct route *table;
static struct route_model *model;
static int woken;
/* The uses of a test, in the order of their choices. */
static struct route_use uses[32];
static unsigned n_uses;

static void count_wake(struct route_waiter *w)
{
	(void) w;
	woken++;
}

static void setup(void)
{
	table = route_new();
	model = route_model(table, STR("m"), true);
	woken = 0;
	n_uses = 0;
}

static void teardown(void)
{
	route_free(table);
}

static struct route_replica *add(const char *name, int concurrency, enum route_state state)
{
	struct http_address address = { .len = 0 };
	return route_replica_add(model, name, &address, NULL, "m", concurrency, state, NOW);
}

static enum route_result choose_as(struct route_ask ask, struct route_replica **out)
{
	ask.now_us = NOW;
	ask.use = &uses[n_uses++];
	return route_choose(model, &ask, out);
}

static enum route_result choose(struct route_waiter *w, struct route_replica **out)
{
	return choose_as((struct route_ask){ .waiter = w }, out);
}

/* Ends one of the uses of that replica. */
static void done(const struct route_replica *r, bool failed)
{
	for (unsigned i = 0; i < n_uses; i++)
		if (uses[i].replica == r) {
			route_done(&uses[i], NOW, failed, NULL);
			return;
		}
	cr_assert(false, "nothing runs there");
}

TestSuite(route, .init = setup, .fini = teardown);

Test(route, least_loaded_by_share_of_its_room)
{
	struct route_replica *small = add("small", 2, ROUTE_READY), *big = add("big", 8, ROUTE_READY), *r;
	int of_big = 0;
	for (int i = 0; i < 10; i++) {
		cr_assert_eq(choose(NULL, &r), ROUTE_CHOSEN);
		of_big += r == big;
	}
	cr_assert_eq(of_big, 8, "each is filled to its own room");
	cr_assert_eq(atomic_load(&small->running), 2);
	cr_assert_eq(choose(NULL, &r), ROUTE_FULL, "a caller who does not wait is told");
	for (int i = 0; i < 8; i++)
		done(big, false);
	for (int i = 0; i < 2; i++)
		done(small, false);
	route_replica_remove(small);
	route_replica_remove(big);
}

Test(route, waiters_are_served_by_band_then_in_order)
{
	struct route_replica *one = add("one", 1, ROUTE_READY), *r;
	struct route_waiter low = { .wake = count_wake }, low2 = low, high = { .wake = count_wake, .priority = 5 };
	cr_assert_eq(choose(NULL, &r), ROUTE_CHOSEN);
	cr_assert_eq(choose(&low, &r), ROUTE_WAIT);
	cr_assert_eq(choose(&low2, &r), ROUTE_WAIT);
	cr_assert_eq(choose(&high, &r), ROUTE_WAIT);
	done(one, false);
	cr_assert_eq(high.replica, one);
	cr_assert_null(low.replica);
	done(one, false);
	cr_assert_eq(low.replica, one, "the older one of a band");
	cr_assert_eq(woken, 2);
	cr_assert(route_cancel(model, &low2), "it is still in the queue");
	cr_assert_not(route_cancel(model, &low), "it was woken");
	done(one, false);
	cr_assert_eq(atomic_load(&one->running), 0);
	route_replica_remove(one);
}

Test(route, nobody_overtakes_the_queue)
{
	struct route_replica *one = add("one", 1, ROUTE_READY), *r;
	struct route_waiter first = { .wake = count_wake }, second = first;
	cr_assert_eq(choose(NULL, &r), ROUTE_CHOSEN);
	cr_assert_eq(choose(&first, &r), ROUTE_WAIT);
	struct route_replica *two = add("two", 1, ROUTE_STARTING);
	cr_assert_eq(choose(&second, &r), ROUTE_WAIT, "the queue is not empty");
	done(one, false);
	cr_assert_eq(first.replica, one);
	cr_assert_null(second.replica);
	done(one, false);
	cr_assert_eq(second.replica, one, "its turn");
	done(one, false);
	route_replica_remove(one);
	route_replica_remove(two);
}

Test(route, bound_of_the_queue_and_none)
{
	struct route_replica *r;
	struct route_waiter w = { .wake = count_wake }, w2 = w;
	cr_assert_eq(choose(&w, &r), ROUTE_NONE, "no replica at all");
	route_model_tune(model, &(struct route_tuning){ .waiting_max = 1 });
	cr_assert_eq(choose_as((struct route_ask){ .may_start = true, .waiter = &w }, &r), ROUTE_WAIT, "one may be started");
	cr_assert_eq(choose_as((struct route_ask){ .may_start = true, .waiter = &w2 }, &r), ROUTE_FULL);
	route_fail_waiters(model);
	cr_assert_eq(woken, 1);
	cr_assert_null(w.replica);
}

Test(route, starting_replica_wakes_when_ready)
{
	struct route_replica *r, *one = add("one", 2, ROUTE_STARTING);
	struct route_waiter w = { .wake = count_wake };
	cr_assert_eq(choose(&w, &r), ROUTE_WAIT);
	route_replica_set(one, ROUTE_READY, NOW);
	cr_assert_eq(w.replica, one);
	done(one, false);
	route_replica_set(one, ROUTE_DRAINING, NOW);
	cr_assert_eq(choose(NULL, &r), ROUTE_NONE);
	route_replica_remove(one);
}

Test(route, failures_mark_and_marks_expire)
{
	struct route_replica *bad = add("bad", 10, ROUTE_READY), *good = add("good", 1, ROUTE_READY), *r;
	for (int i = 0; i < 3; i++) {
		const char *name = "bad";
		cr_assert_eq(choose_as((struct route_ask){ .prefer = &name, .n_prefer = 1 }, &r), ROUTE_CHOSEN);
		cr_assert_eq(r, bad);
		done(bad, true);
	}
	cr_assert_eq(choose(NULL, &r), ROUTE_CHOSEN);
	cr_assert_eq(r, good, "a marked one is passed over");
	cr_assert_eq(choose(NULL, &r), ROUTE_FULL, "better wait for the sound one than fail on the marked one");
	route_replica_set(good, ROUTE_DRAINING, NOW);
	cr_assert_eq(choose(NULL, &r), ROUTE_CHOSEN);
	cr_assert_eq(r, bad, "but better than none");
	uint64_t until = atomic_load(&bad->marked_until_ms);
	cr_assert(until > 1000 && until <= 1000 + 30000, "marks expire by themselves");
	done(bad, false);
	cr_assert_eq(atomic_load(&bad->failures), 0);
	done(good, false);
	route_replica_remove(bad);
	route_replica_remove(good);
}

Test(route, tried_ones_are_left_out)
{
	struct route_replica *a = add("a", 1, ROUTE_READY), *b = add("b", 1, ROUTE_READY), *r;
	unsigned tried[] = { a->id, b->id };
	cr_assert_eq(choose_as((struct route_ask){ .exclude = tried, .n_exclude = 1 }, &r), ROUTE_CHOSEN);
	cr_assert_eq(r, b);
	cr_assert_eq(choose_as((struct route_ask){ .exclude = tried, .n_exclude = 2 }, &r), ROUTE_NONE);
	done(b, false);
	route_replica_remove(a);
	route_replica_remove(b);
}

/* The next replica often gets the memory of the one that is gone. */
Test(route, tried_is_the_replica_and_not_its_memory)
{
	struct route_replica *a = add("a", 1, ROUTE_READY), *r;
	unsigned tried[] = { a->id };
	route_replica_remove(a);
	struct route_replica *b = add("b", 1, ROUTE_READY);
	cr_assert_eq(choose_as((struct route_ask){ .exclude = tried, .n_exclude = 1 }, &r), ROUTE_CHOSEN);
	cr_assert_eq(r, b);
	done(b, false);
	route_replica_remove(b);
}

Test(route, doubted_ones_are_waited_for)
{
	struct route_replica *a = add("a", 1, ROUTE_READY), *r;
	cr_assert_not(route_replica_doubt(a), "nobody would look at it");
	cr_assert_eq(choose(NULL, &r), ROUTE_CHOSEN);
	done(a, false);
	a->watched = true;
	cr_assert(route_replica_doubt(a));
	struct route_load load;
	route_load(model, &load);
	cr_assert_eq(load.starting, 1);
	cr_assert_eq(choose(NULL, &r), ROUTE_FULL, "no replica with room, and not none");
	route_replica_set(a, ROUTE_READY, NOW);
	cr_assert_eq(choose(NULL, &r), ROUTE_CHOSEN);
	route_replica_set(a, ROUTE_DRAINING, NOW);
	cr_assert(route_replica_doubt(a));
	cr_assert_eq(atomic_load(&a->state), ROUTE_DRAINING);
	done(a, false);
	route_replica_remove(a);
}

Test(route, removed_while_in_use)
{
	struct route_replica *one = add("one", 1, ROUTE_READY), *r;
	cr_assert_eq(choose(NULL, &r), ROUTE_CHOSEN);
	route_replica_remove(one);
	cr_assert_eq(atomic_load(&r->state), ROUTE_GONE);
	struct route_load load;
	route_load(model, &load);
	cr_assert_eq(load.replicas, 0);
	done(r, false);
}

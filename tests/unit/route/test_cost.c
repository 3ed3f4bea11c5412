/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/route/route.h"

enum { KEYS = 64 };

static bool near(double a, double b, double part)
{
	return fabs(a - b) <= part * fabs(b);
}

Test(cost, a_line_finds_the_truth_and_follows_it)
{
	struct cost_line l;
	unsigned seed = 1;
	cost_line_start(&l, 10, 0.03, 1000);
	for (int round = 0; round < 2; round++) {
		double from = round ? 40 : 3, slope = round ? 0.001 : 0.2;
		for (int i = 0; i < 600; i++) {
			double x = rand_r(&seed) % 4000;
			cost_line_learn(&l, x, (from + slope * x) * (0.8 + 0.4 * rand_r(&seed) / RAND_MAX));
		}
		cr_assert(near(l.from + l.slope * 2000, from + slope * 2000, 0.1), "%g + %g x", l.from, l.slope);
	}
}

Test(cost, a_line_is_never_negative_and_takes_no_nonsense)
{
	struct cost_line l;
	cost_line_start(&l, 10, 0.03, 1000);
	for (int i = 0; i < 100; i++) {
		cost_line_learn(&l, 2000, 1);
		cost_line_learn(&l, 10, 50);
		cr_assert(l.slope >= 0 && l.from >= 0);
	}
	struct cost_line before = l;
	cost_line_learn(&l, NAN, 1);
	cost_line_learn(&l, 1, INFINITY);
	cost_line_learn(&l, -1, 1);
	cr_assert_eq(memcmp(&l, &before, sizeof l), 0);
	cost_line_start(&l, 10, 0.03, 1000);
	cost_line_learn(&l, 1000, 1e9);
	cr_assert_lt(l.from + l.slope * 1000, 400, "an outlier moves it by a bounded step");
}

Test(cost, parts_are_those_of_the_form)
{
	struct cost_speed speed;
	struct cost_own own = { 0 };
	struct cost_step step = { 7, 0.03, 1e-6, 0.01, 5e-5 };
	cost_speed_start(&speed, &step);
	struct cost_load load = { .running = 10, .context = 20000, .held = 20000, .wait_ms = 50, .room = 100000 };
	struct cost_ask ask = { .tokens = 8000, .output = 100 };
	struct cost_parts p, q;
	cost_parts_of(&step, &speed, &own, &load, &ask, 6000, &p);
	double work = 0.03 * 2000 + 1e-6 * (8000.0 * 8000 - 6000.0 * 6000);
	cr_assert(near(p.prefill, 11.5 + work, 1e-9));
	cr_assert(near(p.stall, 0.2 * 10 * work, 1e-9));
	cr_assert(near(p.decode, 100 * (0.01 * 10 + 5e-5 * 20000), 1e-9));
	cr_assert(p.wait == 50 && p.memory == 0 && p.cached == 6000);
	cr_assert(near(cost_total(&p), p.wait + p.prefill + p.stall + p.decode, 1e-9));
	load.room = 19000;
	cost_parts_of(&step, &speed, &own, &load, &ask, 6000, &q);
	cr_assert_gt(q.memory, 0, "no room for its context");
	cost_parts_of(&step, &speed, &own, &load, &ask, 9000, &q);
	cr_assert_eq(q.cached, 7999, "the last token is always computed");
}

/* A model with an index, and requests with made-up blocks. */
static struct route *table;
static struct route_model *model;

struct request {
	struct route_use use;
	uint64_t keys[KEYS];
	uint32_t entries[KEYS], ages[KEYS];
};

static void setup(void)
{
	table = route_new();
	model = route_model(table, STR("m"), true);
	struct route_tuning tuning = { .waiting_max = 100, .index_entries = 10000, .cache_tokens = 100000 };
	cr_assert(route_model_tune(model, &tuning));
}

static void teardown(void)
{
	route_free(table);
}

static struct route_replica *add(const char *name)
{
	struct http_address address = { .len = 0 };
	struct route_replica *r = route_replica_add(model, name, &address, NULL, "m", 1000, ROUTE_STARTING, 0);
	route_replica_set(r, ROUTE_READY, 0);
	return r;
}

/* The first `shared` blocks are those of conversation `id`. */
static void make(struct request *q, unsigned id, unsigned shared, unsigned n)
{
	static unsigned unique = 1000;
	uint64_t key = id * 7919 + 1;
	unique++;
	*q = (struct request){ 0 };
	for (unsigned i = 0; i < n; i++)
		q->keys[i] = key = (key + i + (i >= shared ? unique : 0)) * UINT64_C(0x9e3779b97f4a7c15);
	q->use = (struct route_use){ .keys = q->keys, .n_keys = n, .bytes = n * PREFIX_BLOCK, .streamed = true,
		.hold = { .entries = q->entries, .ages = q->ages } };
}

static struct route_replica *dispatch(struct request *q, uint64_t now_us)
{
	struct route_replica *r = NULL;
	struct route_ask ask = { .now_us = now_us, .use = &q->use };
	cr_assert_eq(route_choose(model, &ask, &r), ROUTE_CHOSEN);
	return r;
}

static void finish(struct request *q, uint64_t now_us, int64_t cached)
{
	struct route_truth truth = { .input = (int64_t) q->use.bytes / 4, .cached = cached, .output = 20 };
	route_first(&q->use, now_us);
	route_done(&q->use, now_us + 200000, false, &truth);
}

static void remove_all(struct route_replica **r, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		route_replica_remove(r[i]);
}

TestSuite(choice, .init = setup, .fini = teardown);

/* Room for 6,000 tokens, and prompts of 2,048 that share all but 128: counted for each it would be full with the third. */
Test(choice, what_requests_share_takes_room_once)
{
	struct route_tuning tuning = { .waiting_max = 100, .index_entries = 10000, .cache_tokens = 6000 };
	cr_assert(route_model_tune(model, &tuning));
	struct route_replica *r[1] = { add("a") };
	static struct request q[8];
	uint64_t now = 1000000;
	for (unsigned i = 0; i < 8; i++) {
		make(&q[i], 1, KEYS - 4, KEYS);
		dispatch(&q[i], now += 100000);
		cr_expect_eq(q[i].use.parts.memory, 0, "%u", i);
		route_first(&q[i].use, now += 100000);
	}
	cr_expect(r[0]->held > q[0].use.tokens && r[0]->held < 4000, "%g", r[0]->held);
	for (unsigned i = 0; i < 8; i++)
		finish(&q[i], now += 100000, -1);
	cr_expect_eq(r[0]->held, 0);
	remove_all(r, 1);
}

Test(choice, turns_of_a_conversation_stay_where_its_prefix_is)
{
	struct route_replica *r[4] = { add("a"), add("b"), add("c"), add("d") }, *home;
	struct request q;
	uint64_t now = 1000000;
	make(&q, 1, 10, 10);
	home = dispatch(&q, now);
	finish(&q, now += 300000, -1);
	for (unsigned turn = 1; turn < 10; turn++) {
		make(&q, 1, 10 + 5 * turn, 10 + 5 * turn);
		cr_assert_eq(dispatch(&q, now += 1000000), home);
		cr_assert_eq(q.use.hold.matched, 10 + 5 * (turn - 1));
		finish(&q, now += 300000, -1);
	}
	remove_all(r, 4);
}

Test(choice, prompts_without_a_common_prefix_spread)
{
	struct route_replica *r[4] = { add("a"), add("b"), add("c"), add("d") };
	static struct request q[40];
	for (unsigned i = 0; i < 40; i++) {
		make(&q[i], 100 + i, 0, 20);
		dispatch(&q[i], 1000000);
	}
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(atomic_load(&r[i]->running), 10, "%s has %d", r[i]->name, atomic_load(&r[i]->running));
	for (unsigned i = 0; i < 40; i++)
		route_done(&q[i].use, 1000000, false, NULL);
	remove_all(r, 4);
}

Test(choice, a_hot_prefix_leaves_its_replica_when_that_is_overloaded)
{
	struct route_replica *r[3] = { add("a"), add("b"), add("c") };
	static struct request q[90];
	make(&q[0], 1, 40, 60);
	dispatch(&q[0], 0);
	finish(&q[0], 300000, -1);
	for (unsigned i = 0; i < 90; i++) {
		make(&q[i], 1, 40, 60);
		dispatch(&q[i], 1000000);
	}
	for (unsigned i = 0; i < 3; i++)
		cr_assert_gt(atomic_load(&r[i]->running), 15, "%s has %d", r[i]->name, atomic_load(&r[i]->running));
	for (unsigned i = 0; i < 90; i++)
		route_done(&q[i].use, 1000000, false, NULL);
	remove_all(r, 3);
}

static void expect_forgotten(void (*lose)(struct route_replica *))
{
	struct route_replica *r[2] = { add("a"), add("b") }, *home;
	struct request q;
	make(&q, 1, 30, 30);
	home = dispatch(&q, 1000000);
	finish(&q, 1300000, -1);
	lose(home);
	make(&q, 1, 30, 30);
	dispatch(&q, 2000000);
	cr_assert_eq(q.use.hold.matched, 0);
	cr_assert_eq(q.use.parts.cached, 0);
	finish(&q, 2300000, -1);
	remove_all(r, 2);
}

static void restart(struct route_replica *r)
{
	route_replica_set(r, ROUTE_STARTING, 1);
	route_replica_set(r, ROUTE_READY, 1);
}

Test(choice, a_restarted_replica_holds_nothing)
{
	expect_forgotten(restart);
}

Test(choice, a_reset_cache_holds_nothing)
{
	expect_forgotten(route_replica_forget);
}

Test(choice, what_answers_tell_corrects_what_is_believed)
{
	struct route_replica *r[1] = { add("a") };
	struct request q;
	uint64_t now = 1000000;
	for (unsigned id = 1; id <= 3; id++) {
		make(&q, id, 30, 30);
		dispatch(&q, now += 1000000);
		finish(&q, now += 300000, 5);
	}
	/* The second conversation is told to be gone: the first is older, the third is not. */
	make(&q, 2, 30, 30);
	dispatch(&q, now += 1000000);
	cr_assert_eq(q.use.hold.matched, 30);
	finish(&q, now += 300000, -1); /* left out: 0, since the engine has told before */
	make(&q, 1, 30, 30);
	dispatch(&q, now += 1000000);
	cr_assert_eq(q.use.hold.matched, 0, "%u", q.use.hold.matched);
	route_done(&q.use, now, true, NULL);
	make(&q, 3, 30, 30);
	dispatch(&q, now += 1000000);
	cr_assert_eq(q.use.hold.matched, 30);
	route_done(&q.use, now, true, NULL);
	remove_all(r, 1);
}

Test(choice, slots_of_removed_replicas_are_used_again_without_their_past)
{
	struct route_replica *old = add("old"), *young;
	struct request q, running;
	make(&running, 1, 30, 30);
	dispatch(&running, 1000000);
	route_replica_remove(old);
	young = add("young");
	make(&q, 1, 30, 30);
	cr_assert_eq(dispatch(&q, 2000000), young);
	cr_assert_eq(q.use.hold.matched, 0);
	route_done(&running.use, 2000000, false, NULL); /* on the old one: the young one's blocks stay */
	finish(&q, 2300000, -1);
	make(&q, 1, 30, 30);
	dispatch(&q, 3000000);
	cr_assert_eq(q.use.hold.matched, 30);
	route_done(&q.use, 3000000, false, NULL);
	route_replica_remove(young);
}

Test(choice, requests_under_way_survive_another_index)
{
	struct route_replica *r = add("a");
	struct request q;
	make(&q, 1, 30, 30);
	dispatch(&q, 1000000);
	struct route_tuning tuning = { .waiting_max = 100, .index_entries = 5000, .cache_tokens = 50000 };
	cr_assert(route_model_tune(model, &tuning));
	finish(&q, 1300000, 3);
	struct route_load load;
	route_load(model, &load);
	cr_assert_eq(load.index.entries, 0);
	tuning.index_entries = 0;
	cr_assert(route_model_tune(model, &tuning));
	make(&q, 1, 30, 30);
	dispatch(&q, 2000000);
	cr_assert_eq(q.use.hold.n, 0);
	finish(&q, 2300000, 3);
	route_replica_remove(r);
}

/* A replica whose prompts take three times as long is seen to be slow, and gets less. */
Test(choice, speed_is_learned_for_each_replica)
{
	struct route_replica *r[2] = { add("fast"), add("slow") };
	static struct request q[60];
	int of_slow = 0;
	uint64_t now = 1000000;
	for (int i = 0; i < 60; i++) {
		for (unsigned k = 0; k < 2; k++) {
			make(&q[k], 100 + 2 * (unsigned) i + k, 0, 40);
			dispatch(&q[k], now);
		}
		for (unsigned k = 0; k < 2; k++) /* together on the fast one they take twice as long */
			finish(&q[k], now + (q[k].use.replica == r[1] ? 300000 : 100000 * (k + 1)), -1);
		now += 1000000;
	}
	cr_assert(r[1]->own.prompt.more > 1.5 * r[0]->own.prompt.more + 0.5, "%g, %g", r[0]->own.prompt.more, r[1]->own.prompt.more);
	for (unsigned i = 0; i < 40; i++) {
		make(&q[i], 1000 + i, 0, 40);
		of_slow += dispatch(&q[i], now) == r[1];
	}
	cr_assert(of_slow > 3 && of_slow < 16, "%d of 40", of_slow);
	for (unsigned i = 0; i < 40; i++)
		route_done(&q[i].use, now, false, NULL);
	remove_all(r, 2);
}

Test(choice, the_first_token_is_predicted_behind_the_queue)
{
	struct route_replica *r[1] = { add("a") };
	struct request q, first, second;
	uint64_t now = 1000000;
	for (int i = 0; i < 100; i++) { /* 320 tokens in 50 ms */
		make(&q, 100 + (unsigned) i, 0, 10);
		dispatch(&q, now);
		finish(&q, now + 50000, -1);
		now += 1000000;
	}
	make(&first, 1, 0, 10);
	dispatch(&first, now);
	cr_assert(near(first.use.predicted_ms, 50, 0.1), "%g", first.use.predicted_ms);
	make(&second, 2, 0, 10);
	dispatch(&second, now + 20000);
	cr_assert(near(second.use.predicted_ms, 80, 0.1), "30 ms are left of the first: %g", second.use.predicted_ms);
	route_done(&first.use, now, true, NULL);
	route_done(&second.use, now, true, NULL);
	remove_all(r, 1);
}

/* Whatever happens in whatever order, nothing is left when all has ended. */
Test(choice, counts_return_to_nothing)
{
	struct route_replica *r[3] = { add("a"), add("b"), add("c") };
	static struct request q[30];
	unsigned seed = 3;
	uint64_t now = 1000000;
	for (int step = 0; step < 20000; step++) {
		struct request *x = &q[rand_r(&seed) % 30];
		now += (uint64_t) (rand_r(&seed) % 50000);
		if (rand_r(&seed) % 500 == 0)
			route_replica_forget(r[rand_r(&seed) % 3]);
		if (!x->use.replica) {
			make(x, (unsigned) rand_r(&seed) % 6, (unsigned) rand_r(&seed) % 30, (unsigned) rand_r(&seed) % 40);
			x->use.streamed = rand_r(&seed) % 2;
			dispatch(x, now);
		} else if (x->use.streamed && !x->use.first_us && rand_r(&seed) % 4) {
			route_first(&x->use, now);
		} else {
			struct route_truth truth = { .input = x->use.bytes / 4, .cached = rand_r(&seed) % 3 ? x->use.bytes / 8 : -1,
				.output = rand_r(&seed) % 300 };
			route_done(&x->use, now, rand_r(&seed) % 20 == 0, rand_r(&seed) % 10 ? &truth : NULL);
		}
	}
	for (unsigned i = 0; i < 30; i++)
		route_done(&q[i].use, now, false, NULL);
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(atomic_load(&r[i]->running), 0);
		cr_assert_eq(r[i]->context, 0);
		cr_assert_eq(r[i]->outstanding_ms, 0);
		cr_assert_null(r[i]->prompts);
	}
	remove_all(r, 3);
	r[0] = add("late"); /* what was buried is swept while others work */
	struct route_load load;
	for (int i = 0; i < 1000; i++) {
		make(&q[0], 1, 0, 1);
		dispatch(&q[0], now);
		route_done(&q[0].use, now, true, NULL);
		route_load(model, &load);
	}
	cr_assert_lt(load.index.entries, 1100, "%u", load.index.entries);
	route_replica_remove(r[0]);
}

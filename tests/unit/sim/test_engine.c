/* SPDX-License-Identifier: Apache-2.0 */
/* test_engine.c - steps, chunks, what is cached and when, eviction and preemption. */
#include <criterion/criterion.h>

#include "core/sim/engine.h"

static const struct sim_engine_kind kind = { .name = "e", .base = 10, .prefill = 0.1, .quadratic = 0, .sequence = 1,
	.context = 0, .kv_tokens = 1600, .step_tokens = 160, .sequences = 64 };

enum { CALLS = 16 };

struct seen {
	int64_t first_us, end_us, longest_us;
	uint32_t gaps, cached;
	bool lost;
};
static struct seen seen[CALLS];

static void on_first(void *arg, uint32_t id, int64_t now_us)
{
	(void) arg;
	seen[id].first_us = now_us;
}

static void on_gap(void *arg, uint32_t id, int64_t now_us, int64_t gap_us)
{
	(void) arg;
	(void) now_us;
	seen[id].gaps++;
	seen[id].longest_us = gap_us > seen[id].longest_us ? gap_us : seen[id].longest_us;
}

static void on_end(void *arg, uint32_t id, int64_t now_us, uint32_t cached)
{
	(void) arg;
	seen[id].end_us = now_us;
	seen[id].cached = cached;
}

static void on_lost(void *arg, uint32_t id)
{
	(void) arg;
	seen[id].lost = true;
}

static const struct sim_engine_watch watch = { NULL, on_first, on_gap, on_end };
static struct sim_engine engine;
static struct sim_piece pieces[CALLS][2];

static void setup(void)
{
	memset(seen, 0, sizeof seen);
	cr_assert(sim_engine_init(&engine, &kind));
}

static void teardown(void)
{
	sim_engine_free(&engine);
}

static void submit(uint32_t id, uint64_t text, uint32_t input, uint32_t output, int64_t now_us)
{
	pieces[id][0] = (struct sim_piece){ text, input };
	pieces[id][1] = (struct sim_piece){ 1000000 + id, output };
	struct sim_call call = { .id = id, .pieces = pieces[id], .n_pieces = 2, .input = input, .output = output };
	cr_assert(sim_engine_fits(&kind, input, output));
	cr_assert(sim_engine_submit(&engine, &call, now_us));
}

/* Steps until there is nothing to do. */
static int64_t work(int64_t now_us)
{
	for (int64_t end_us; (end_us = sim_engine_begin(&engine, now_us)) >= 0; now_us = end_us)
		sim_engine_finish(&engine, end_us, &watch);
	return now_us;
}

TestSuite(engine, .init = setup, .fini = teardown);

Test(engine, takes_the_time_of_its_steps)
{
	submit(0, 1, 150, 3, 0);
	cr_assert_eq(work(0), 15000 + 2 * 11000, "150 tokens at 0.1 ms, then two tokens of 10 + 1 ms");
	cr_assert_eq(seen[0].first_us, 15000);
	cr_assert_eq(seen[0].gaps, 2);
	cr_assert_eq(seen[0].longest_us, 11000);
	cr_assert_eq(seen[0].cached, 0);
	cr_assert_eq(engine.blocks.n_free, engine.blocks.n, "all is given back");
}

Test(engine, long_prompts_go_in_chunks_and_others_get_their_tokens_between)
{
	submit(0, 1, 16, 20, 0);
	int64_t now_us = sim_engine_begin(&engine, 0);
	submit(1, 2, 400, 1, now_us);
	sim_engine_finish(&engine, now_us, &watch);
	work(now_us);
	cr_assert_eq(seen[0].longest_us, 16900, "a chunk of 159 tokens and the sequence itself");
	cr_assert_eq(seen[1].first_us, 10000 + 2 * 16900 + 11000, "two such chunks, then the last 82 tokens under the least step");
}

Test(engine, a_prefix_is_found_after_the_step_that_computed_it_but_for_the_last_token)
{
	submit(0, 1, 64, 1, 0);
	submit(1, 1, 64, 1, 0); /* in the same step: nothing is there yet */
	int64_t now_us = work(0);
	submit(2, 1, 64, 1, now_us);
	submit(3, 1, 80, 1, now_us);
	work(now_us);
	cr_assert_eq(seen[0].cached, 0);
	cr_assert_eq(seen[1].cached, 0);
	cr_assert_eq(seen[2].cached, 48, "the last block has the last token");
	cr_assert_eq(seen[3].cached, 64);
}

Test(engine, an_answer_is_cached_too)
{
	submit(0, 1, 32, 33, 0);
	int64_t now_us = work(0);
	struct sim_piece next[] = { { 1, 32 }, { 1000000, 33 }, { 7, 15 }, { 8, 1 } };
	struct sim_call call = { .id = 1, .pieces = next, .n_pieces = 4, .input = 80, .output = 1 };
	cr_assert(sim_engine_submit(&engine, &call, now_us));
	work(now_us);
	cr_assert_eq(seen[1].cached, 64, "the prompt and the answer but its last token, which nobody computed");
}

Test(engine, what_was_freed_first_is_evicted_first_and_its_end_before_its_beginning)
{
	submit(0, 1, 799, 1, 0);
	int64_t now_us = work(0);
	submit(1, 2, 799, 1, now_us);
	now_us = work(now_us);
	submit(2, 3, 159, 1, now_us); /* the cache is full: ten blocks of the first must go */
	now_us = work(now_us);
	submit(3, 1, 799, 1, now_us);
	now_us = work(now_us);
	cr_assert_eq(seen[3].cached, 640);
}

Test(engine, the_youngest_is_preempted_when_memory_is_short_and_all_end)
{
	for (uint32_t i = 0; i < 4; i++)
		submit(i, i + 1, 300, 300, 0);
	work(0);
	cr_assert_gt(engine.preempted, 0);
	for (uint32_t i = 0; i < 4; i++) {
		cr_assert_eq(seen[i].gaps, 299);
		cr_assert_gt(seen[i].end_us, 0);
	}
	cr_assert_lt(seen[0].longest_us, 20000, "the oldest is never preempted");
	cr_assert_eq(engine.blocks.n_free, engine.blocks.n);
}

Test(engine, a_death_loses_all)
{
	submit(0, 1, 64, 10, 0);
	sim_engine_finish(&engine, sim_engine_begin(&engine, 0), &watch);
	submit(1, 2, 64, 10, 10000);
	sim_engine_kill(&engine, on_lost, NULL);
	cr_assert(seen[0].lost && seen[1].lost);
	submit(2, 1, 64, 1, 20000);
	work(20000);
	cr_assert_eq(seen[2].cached, 0);
}

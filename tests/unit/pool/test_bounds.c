/* SPDX-License-Identifier: Apache-2.0 */
/* test_bounds.c - what is bounded, and agents that talk nonsense. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/str.h"
#include "core/pool/inner.h"
#include "tests/unit/pool/harness.h"

static bool agent_ready(struct world *w, uint64_t arg)
{
	json_t *agents = pool_agents(w->pool);
	bool ready = strcmp(json_get_str(json_array_get(agents, 0), "state", ""), "ready") == 0;
	json_decref(agents);
	return ready == (arg != 0);
}

/* So often that the pool must have tried again. */
static bool asked_hello(struct world *w, uint64_t n)
{
	return agent_asked(w, "hello", 0) >= n;
}

Test(bounds, agents_that_talk_nonsense)
{
	static const struct { const char *op, *ok; bool ready; } cases[] = {
		{ "hello", "{\"version\":2,\"machine\":\"node1\"}", false },
		{ "hello", "{\"version\":1,\"machine\":\"\"}", false },
		{ "hello", "{\"version\":\"1\",\"machine\":7}", false },
		{ "devices", "{\"devices\":7,\"backends\":\"x\"}", true },
		{ "devices", "{\"devices\":[7,null,{},{\"uuid\":7},{\"uuid\":\"\"},{\"uuid\":\"U\"}]}", true },
		{ "devices", "{\"devices\":[{\"uuid\":\"U\",\"kind\":\"k\",\"index\":-9,\"memory_bytes\":-1,\"health\":9}]}", true },
		{ "list", "{}", true },
		{ "list", "{\"leases\":{\"a\":1}}", true },
		{ "list", "{\"leases\":[7,{},{\"lease\":\"x\"},{\"lease\":\"L1\",\"state\":7},{\"lease\":\"L0\",\"state\":\"ended\"}]}", true },
	};
	struct world *w = world_new(1);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		agent_down(w);
		cr_assert(world_until(w, agent_ready, 0));
		w->agent.garbage_op = cases[i].op;
		w->agent.garbage = cases[i].ok;
		unsigned before = agent_asked(w, "hello", 0);
		agent_up(w);
		cr_assert(world_until(w, asked_hello, before + (cases[i].ready ? 1 : 2)), "%s", cases[i].ok);
		cr_expect(world_until(w, agent_ready, cases[i].ready), "%s", cases[i].ok);
	}
	w->agent.garbage = NULL;
	agent_down(w);
	agent_up(w);
	cr_assert(world_until(w, agent_ready, 1), "and it is usable again");
	uint64_t number = submit(w, "a", 1);
	cr_assert(world_state(w, number, "running"));
	world_free(w);
}

Test(bounds, an_end_full_of_nonsense_is_an_end)
{
	struct world *w = world_new(1);
	uint64_t number = submit(w, "a", 1);
	cr_assert(world_state(w, number, "running"));
	json_t *m = json_loads("{\"event\":\"ended\",\"lease\":\"L1\",\"exit_code\":\"x\",\"signal\":[],\"reason\":7,"
	                       "\"started_ms\":-5,\"ended_ms\":\"\",\"faulty\":[7,{\"uuid\":\"none\"}]}", 0, NULL);
	cr_assert_not_null(m);
	frame_send(w->agent.connection, m);
	json_decref(m);
	cr_assert(world_state(w, number, "failed"), "nobody knows how it ended");
	cr_expect_str_eq(device_member(w, 0, "state"), "free");
	world_free(w);
}

static bool kept(struct world *w, uint64_t n)
{
	json_t *leases = pool_leases(w->pool);
	bool yes = json_array_size(leases) == n;
	json_decref(leases);
	return yes;
}

Test(bounds, leases_that_are_over_leave_the_table)
{
	struct world *w = world_new(1);
	agent_down(w);
	for (int i = 0; i < POOL_ENDED_MAX + 50; i++) {
		uint64_t number = submit(w, "a", 1);
		cr_assert_eq(pool_release(w->pool, number, 0, "x", NULL), SL_OK);
	}
	cr_assert(world_until(w, kept, POOL_ENDED_MAX));
	cr_expect_null(pool_lease(w->pool, 50), "the oldest have gone");
	cr_expect_str_eq(member(w, 51, "state"), "cancelled");
	world_free(w);
}

Test(bounds, leases_that_are_over_stay_while_the_ledger_has_not_got_them)
{
	struct world *w = world_new(1);
	agent_down(w);
	w->ledger.holds = true;
	for (int i = 0; i < POOL_ENDED_MAX + 50; i++) {
		uint64_t number = submit(w, "a", 1);
		cr_assert_eq(pool_release(w->pool, number, 0, "x", NULL), SL_OK);
	}
	for (int i = 0; i < 25; i++) /* more than a tick */
		world_settle(w);
	cr_expect(kept(w, POOL_ENDED_MAX + 50));
	w->ledger.holds = false;
	cr_assert(world_until(w, kept, POOL_ENDED_MAX));
	world_free(w);
}

Test(bounds, open_leases)
{
	struct world *w = world_new(1);
	sl_error error = { 0 };
	uint64_t number;
	world_close_pool(w);
	w->leases_max = 2;
	world_open_pool(w);
	uint64_t runs = submit(w, "a", 1);
	cr_assert_neq(submit(w, "b", 1), 0);
	json_t *argv = json_pack("[s]", "x");
	struct pool_request r = { .name = "c", .tenant = "t", .user = "u", .devices = 1, .argv = argv };
	cr_expect_eq(pool_submit(w->pool, &r, &number, &error), SL_EFULL);
	json_decref(argv);
	cr_assert(world_state(w, runs, "running"));
	agent_end(w, runs, 0, 0);
	cr_assert(world_state(w, runs, "ended"));
	cr_expect_neq(submit(w, "c", 1), 0, "there is room again");
	world_free(w);
}

Test(bounds, many_waiting_leases)
{
	struct world *w = world_new(1);
	uint64_t first = submit(w, "a", 1), last = 0;
	for (int i = 0; i < 2000; i++)
		last = submit(w, "b", 1);
	cr_assert(world_state(w, first, "running"));
	json_t *leases = pool_leases(w->pool), *lease;
	size_t i;
	cr_assert_eq(json_array_size(leases), 2001);
	json_array_foreach(leases, i, lease)
		cr_assert(json_get_str(lease, "reason", "")[0] || i == 2000, "every waiting one has a reason");
	cr_expect_str_eq(json_get_str(json_array_get(leases, 0), "lease", ""), "L2001", "newest first");
	json_decref(leases);
	cr_assert_eq(pool_release(w->pool, last, 0, "", NULL), SL_OK);
	world_free(w);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* test_pool.c - lives of leases, through restarts of either side. */
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "core/base/json.h"
#include "core/base/str.h"
#include "tests/unit/pool/harness.h"

static bool asked_stop(struct world *w, uint64_t number)
{
	return agent_asked(w, "stop", number) > 0;
}

static bool asked_start(struct world *w, uint64_t number)
{
	return agent_asked(w, "start", number) > 0;
}

static bool agent_away(struct world *w, uint64_t arg)
{
	json_t *agents = pool_agents(w->pool);
	bool away = strcmp(json_get_str(json_array_get(agents, 0), "state", ""), "ready") != 0;
	json_decref(agents);
	return away == (arg == 0);
}

static bool two_objects(struct world *w, uint64_t arg)
{
	(void) arg;
	return json_object_size(w->ledger.objects) == 2;
}

static const char *recorded(struct world *w, uint64_t number, const char *key)
{
	char id[24];
	snprintf(id, sizeof id, "L%llu", (unsigned long long) number);
	return json_get_str(json_object_get(w->ledger.records, id), key, "");
}

Test(pool, grant_start_end)
{
	struct world *w = world_new(2);
	uint64_t number = submit(w, "train", 1);
	cr_assert_eq(number, 1);
	cr_assert(world_state(w, number, "running"), "state %s: %s", member(w, number, "state"), member(w, number, "reason"));
	cr_expect_str_eq(agent_lease(w, number)->devices[0], "GPU-0");
	cr_expect_str_eq(device_member(w, 0, "state"), "granted");
	cr_expect_str_eq(device_member(w, 0, "holder"), "dana");
	cr_expect_str_eq(device_member(w, 0, "lease"), "L1");
	cr_expect_str_eq(device_member(w, 0, "device"), "node1/gpu0");
	agent_end(w, number, 3, 0);
	cr_assert(world_state(w, number, "ended"));
	cr_expect_str_eq(member(w, number, "exit_code"), "3");
	cr_expect_str_eq(member(w, number, "reason"), "exit code 3");
	cr_expect_str_eq(device_member(w, 0, "state"), "free");
	json_t *record = json_object_get(w->ledger.records, "L1");
	cr_expect(json_get_bool(record, "ended", false), "the ledger knows that it is over");
	cr_expect_null(json_object_get(record, "env"), "what may be secret is not kept for ever");
	static const char *const order[] = { "queued", "granted", "prepared", "running", "ended" };
	cr_assert_eq(json_array_size(w->ledger.history), 5);
	for (size_t i = 0; i < 5; i++)
		cr_expect_str_eq(json_string_value(json_array_get(json_array_get(w->ledger.history, i), 1)), order[i]);
	world_free(w);
}

Test(pool, nothing_is_done_before_it_is_durable)
{
	struct world *w = world_new(1);
	w->ledger.holds = true;
	uint64_t number = submit(w, "train", 1);
	world_settle(w);
	cr_expect_eq(agent_asked(w, "start", 0), 0);
	cr_expect_str_eq(member(w, number, "state"), "queued", "not even planned before the request is durable");
	w->ledger.holds = false;
	cr_assert(world_state(w, number, "running"));
	world_free(w);
}

Test(pool, two_leases_one_device)
{
	struct world *w = world_new(1);
	uint64_t first = submit(w, "a", 1), second = submit(w, "b", 1);
	cr_assert(world_state(w, first, "running"));
	world_settle(w);
	cr_expect_str_eq(member(w, second, "state"), "queued");
	cr_expect_neq(strlen(member(w, second, "reason")), 0, "a waiting lease has a reason");
	struct pool_totals totals;
	pool_totals(w->pool, &totals);
	cr_expect_eq(totals.running, 1);
	cr_expect_eq(totals.waiting, 1);
	cr_expect_eq(totals.free, 0);
	cr_expect_eq(totals.leased, 1);
	cr_expect_eq(totals.devices, 1);
	agent_end(w, first, 0, 0);
	cr_assert(world_state(w, second, "running"));
	cr_expect_str_eq(agent_lease(w, second)->devices[0], "GPU-0");
	world_free(w);
}

Test(pool, devices_add_up_while_the_agent_is_away)
{
	struct world *w = world_new(3);
	struct pool_totals t;
	uint64_t number = submit(w, "a", 1);
	cr_assert(world_state(w, number, "running"));
	agent_down(w);
	cr_assert(world_until(w, agent_away, 0));
	pool_totals(w->pool, &t);
	cr_expect_eq(t.devices, 3);
	cr_expect_eq(t.leased, 1);
	cr_expect_eq(t.unknown, 2);
	cr_expect_eq(t.free + t.faulty + t.draining + t.held, 0);
	world_free(w);
}

Test(pool, a_gang_gets_all_or_nothing)
{
	struct world *w = world_new(3);
	uint64_t first = submit(w, "a", 2), gang = submit(w, "b", 2);
	cr_assert(world_state(w, first, "running"));
	world_settle(w);
	cr_expect_str_eq(member(w, gang, "state"), "queued", "one device is free, it wants two");
	cr_expect_str_eq(device_member(w, 2, "state"), "free", "nothing is kept back half");
	agent_end(w, first, 0, 0);
	cr_assert(world_state(w, gang, "running"));
	cr_expect_eq(agent_lease(w, gang)->n_devices, 2);
	world_free(w);
}

Test(pool, without_devices_there_is_nothing_to_wait_for)
{
	struct world *w = world_new(1);
	uint64_t blocker = submit(w, "a", 1), waits = submit(w, "b", 1), none = submit(w, "c", 0);
	cr_assert(world_state(w, blocker, "running"));
	cr_assert(world_state(w, none, "running"));
	cr_expect_str_eq(member(w, waits, "state"), "queued");
	cr_expect_eq(agent_lease(w, none)->n_devices, 0);
	world_free(w);
}

Test(pool, what_can_never_fit_is_refused_at_once)
{
	struct world *w = world_new(2);
	sl_error error = { 0 };
	uint64_t number = 0;
	json_t *argv = json_pack("[s]", "x");
	struct pool_request r = { .name = "big", .tenant = "t", .user = "u", .devices = 3, .argv = argv };
	cr_assert_eq(pool_submit(w->pool, &r, &number, &error), SL_EINVAL);
	cr_expect(strstr(error.text, "largest that could is 2"), "%s", error.text);
	r.devices = 1;
	r.kind = "h200";
	cr_assert_eq(pool_submit(w->pool, &r, &number, &error), SL_EINVAL);
	cr_expect(strstr(error.text, "sim-40g"), "%s", error.text);
	r.kind = NULL;
	w->queues[0].time_max_ms = 1000;
	r.time_ms = 2000;
	cr_assert_eq(pool_submit(w->pool, &r, &number, &error), SL_EINVAL, "above the queue's time");
	r.time_ms = 0;
	r.queue = "reserach";
	cr_assert_eq(pool_submit(w->pool, &r, &number, &error), SL_EINVAL);
	cr_expect(strstr(error.text, "reserach"), "%s", error.text);
	cr_expect_eq(number, 0);
	cr_expect_eq(w->ledger.seq, 0, "none of it was entered");
	json_decref(argv);
	world_free(w);
}

Test(pool, bad_programs_and_names_are_refused)
{
	static const char *const names[] = { "L12", "12", "a b", "a/b", "\xff" };
	struct world *w = world_new(1);
	sl_error error = { 0 };
	uint64_t number = 0;
	json_t *good = json_pack("[s]", "x"), *empty = json_array(), *mixed = json_pack("[s, i]", "x", 1), *blank = json_pack("[s]", "");
	struct pool_request r = { .name = "ok", .tenant = "t", .user = "u", .devices = 1 };
	cr_expect_eq(pool_submit(w->pool, &r, &number, &error), SL_EINVAL, "no argv");
	const json_t *const bad[] = { empty, mixed, blank };
	for (size_t i = 0; i < 3; i++) {
		r.argv = bad[i];
		cr_expect_eq(pool_submit(w->pool, &r, &number, &error), SL_EINVAL, "argv %zu", i);
	}
	r.argv = good;
	r.env = empty;
	cr_expect_eq(pool_submit(w->pool, &r, &number, &error), SL_EINVAL, "env is a list");
	r.env = NULL;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		r.name = names[i];
		cr_expect_eq(pool_submit(w->pool, &r, &number, &error), SL_EINVAL, "name %s", names[i]);
	}
	char *huge = malloc(300 << 10);
	memset(huge, 'x', (300 << 10) - 1);
	huge[(300 << 10) - 1] = '\0';
	json_array_append_new(good, json_string(huge));
	r.name = "ok";
	cr_expect_eq(pool_submit(w->pool, &r, &number, &error), SL_EINVAL, "too long for one message");
	free(huge);
	json_decref(good);
	json_decref(empty);
	json_decref(mixed);
	json_decref(blank);
	world_free(w);
}

Test(pool, the_agent_dies_and_comes_back_mid_run)
{
	struct world *w = world_new(2);
	uint64_t number = submit(w, "train", 1);
	cr_assert(world_state(w, number, "running"));
	agent_down(w);
	cr_assert(world_until(w, agent_away, 0));
	cr_expect_str_eq(member(w, number, "state"), "running");
	cr_expect(str_starts(str_of(member(w, number, "reason")), STR("agent away since")), "%s", member(w, number, "reason"));
	cr_expect_str_eq(device_member(w, 1, "state"), "unknown");
	uint64_t waits = submit(w, "b", 1);
	world_settle(w);
	cr_expect_str_eq(member(w, waits, "state"), "queued", "nothing is granted meanwhile");
	agent_up(w);
	cr_assert(world_state(w, waits, "running"));
	cr_expect_str_eq(member(w, number, "state"), "running");
	cr_expect_str_eq(member(w, number, "reason"), "");
	cr_expect_eq(agent_asked(w, "start", number), 1, "it was not started again");
	cr_expect_str_neq(agent_lease(w, waits)->devices[0], agent_lease(w, number)->devices[0]);
	world_free(w);
}

Test(pool, a_lease_that_the_agent_lost_has_failed)
{
	struct world *w = world_new(1);
	uint64_t number = submit(w, "train", 1), next = submit(w, "b", 1);
	cr_assert(world_state(w, number, "running"));
	agent_down(w);
	w->agent.n_leases = 0;
	agent_up(w);
	cr_assert(world_state(w, number, "failed"));
	cr_assert(world_state(w, next, "running"), "its device serves again");
	world_free(w);
}

Test(pool, a_start_whose_answer_was_lost_is_found)
{
	struct world *w = world_new(1);
	w->agent.deaf = true;
	uint64_t number = submit(w, "train", 1);
	cr_assert(world_until(w, asked_start, number));
	cr_expect_str_eq(member(w, number, "state"), "prepared");
	agent_down(w);
	w->agent.deaf = false;
	agent_up(w);
	cr_assert(world_state(w, number, "running"));
	cr_expect_eq(agent_asked(w, "start", number), 1);
	world_free(w);
}

Test(pool, a_start_that_never_arrived_is_sent_again)
{
	struct world *w = world_new(1);
	w->agent.deaf = true;
	uint64_t number = submit(w, "train", 1);
	cr_assert(world_until(w, asked_start, number));
	agent_down(w);
	w->agent.n_leases = 0;
	w->agent.deaf = false;
	agent_up(w);
	cr_assert(world_state(w, number, "running"));
	cr_expect_eq(agent_asked(w, "start", number), 2);
	world_free(w);
}

Test(pool, restart_adopts_what_runs)
{
	struct world *w = world_new(2);
	uint64_t runs = submit(w, "a", 2), waits = submit(w, "b", 1);
	cr_assert(world_state(w, runs, "running"));
	agent_lease(w, runs)->started_ms -= 90000;
	world_restart(w);
	cr_expect_str_eq(member(w, runs, "state"), "running");
	cr_expect_str_eq(member(w, waits, "state"), "queued");
	cr_expect_eq(agent_asked(w, "start", runs), 1);
	cr_expect_str_eq(device_member(w, 1, "lease"), "L1");
	json_t *lease = pool_lease(w->pool, runs);
	cr_expect_geq(json_real_value(json_object_get(lease, "gpu_s")), 180.0, "its run counts from its start");
	json_decref(lease);
	cr_expect_eq(submit(w, "c", 1), 3, "numbers go on");
	agent_end(w, runs, 0, 0);
	cr_assert(world_state(w, waits, "running"));
	world_free(w);
}

Test(pool, ended_while_nobody_looked)
{
	struct world *w = world_new(1);
	uint64_t number = submit(w, "a", 1), waits = submit(w, "b", 1);
	cr_assert(world_state(w, number, "running"));
	world_close_pool(w);
	agent_lease(w, number)->started_ms -= 60000;
	json_object_set_new(json_object_get(w->ledger.records, "L1"), "started_ms",
	                    json_integer(agent_lease(w, number)->started_ms));
	agent_lease(w, number)->ended_ms = agent_lease(w, number)->started_ms + 5000;
	agent_end(w, number, 7, 0);
	world_open_pool(w);
	cr_assert(world_state(w, number, "ended"));
	cr_expect_str_eq(member(w, number, "exit_code"), "7");
	json_t *record = json_object_get(w->ledger.records, "L1");
	cr_expect_eq(json_get_int(record, "ended_ms", 0), (int64_t) agent_lease(w, number)->ended_ms, "when the agent saw it end");
	cr_expect_eq(json_get_int(record, "device_ms", 0), 5000, "by the agent's own times");
	cr_assert(world_state(w, waits, "running"));
	world_free(w);
}

Test(pool, granted_but_never_started_before_a_restart)
{
	struct world *w = world_new(1);
	uint64_t number = submit(w, "a", 1);
	cr_assert(world_state(w, number, "running"));
	/* As if it had stopped right behind the grant's commit. */
	json_object_set_new(json_object_get(w->ledger.records, "L1"), "state", json_string("granted"));
	world_close_pool(w);
	w->agent.n_leases = 0;
	world_open_pool(w);
	cr_assert(world_state(w, number, "running"));
	cr_expect_eq(agent_asked(w, "start", number), 2);
	world_free(w);
}

Test(pool, granted_on_a_device_that_is_gone)
{
	struct world *w = world_new(2);
	uint64_t number = submit(w, "a", 1);
	cr_assert(world_state(w, number, "running"));
	json_object_set_new(json_object_get(w->ledger.records, "L1"), "state", json_string("granted"));
	world_close_pool(w);
	w->agent.n_leases = 0;
	w->agent.gone[0] = true;
	world_open_pool(w);
	cr_assert(world_state(w, number, "running"), "back to the queue, then on the other device");
	cr_expect_str_eq(agent_lease(w, number)->devices[0], "GPU-1");
	world_free(w);
}

Test(pool, a_stranger_at_the_agent_is_stopped_and_forgotten)
{
	struct world *w = world_new(1);
	world_close_pool(w);
	w->agent.leases[w->agent.n_leases++] = (struct fake_lease){ .id = "L77", .state = "running", .started_ms = 1 };
	world_open_pool(w);
	cr_assert(world_until(w, asked_stop, 77));
	agent_end(w, 77, 0, 9);
	world_settle(w);
	cr_expect_eq(agent_asked(w, "forget", 77), 1);
	world_free(w);
}

Test(pool, damaged_records_do_not_keep_the_pool_shut)
{
	struct world *w = world_new(1);
	world_close_pool(w);
	json_object_set_new(w->ledger.records, "L5", json_pack("{s:s, s:s}", "lease", "L5", "state", "flying"));
	json_object_set_new(w->ledger.records, "L6", json_pack("{s:i}", "lease", 6));
	json_object_set_new(w->ledger.records, "L7", json_pack("{s:s, s:s, s:i, s:[s]}", "lease", "L7", "state", "running", "wanted", 1, "argv", "x"));
	world_open_pool(w);
	json_t *leases = pool_leases(w->pool);
	cr_expect_eq(json_array_size(leases), 0);
	json_decref(leases);
	uint64_t number = submit(w, "a", 1);
	cr_expect_eq(number, 8);
	cr_assert(world_state(w, number, "running"));
	world_free(w);
}

Test(pool, a_start_that_fails)
{
	struct world *w = world_new(1);
	w->agent.start_error = "uid 1000 may not read /home/dana";
	w->agent.start_code = SL_EINVAL;
	uint64_t number = submit(w, "a", 1);
	cr_assert(world_state(w, number, "failed"));
	cr_expect(strstr(member(w, number, "reason"), "may not read"), "%s", member(w, number, "reason"));
	cr_expect_str_eq(device_member(w, 0, "state"), "free");
	world_free(w);
}

Test(pool, a_start_that_the_agent_says_is_not_possible_now_is_no_lost_connection)
{
	struct world *w = world_new(1);
	w->agent.start_error = "backend sim hangs";
	w->agent.start_code = SL_EUNAVAILABLE;
	uint64_t number = submit(w, "a", 1);
	cr_assert(world_state(w, number, "failed"));
	world_free(w);
}

Test(pool, time_limit)
{
	struct world *w = world_new(1);
	w->queues[0].time_default_ms = 60000;
	uint64_t number = submit(w, "a", 1);
	cr_assert(world_state(w, number, "running"));
	cr_expect_eq(agent_lease(w, number)->limit_ms, 60000, "the agent keeps the limit");
	cr_expect_neq(strlen(member(w, number, "ends_at")), 0);
	agent_lease(w, number)->ended_ms = agent_lease(w, number)->started_ms + 60010;
	agent_end(w, number, 0, 15);
	cr_assert(world_state(w, number, "expired"));
	world_free(w);
}

Test(pool, a_signal_before_the_limit_is_no_expiry)
{
	struct world *w = world_new(1);
	w->queues[0].time_default_ms = 60000;
	uint64_t number = submit(w, "a", 1);
	cr_assert(world_state(w, number, "running"));
	agent_end(w, number, 0, 11);
	cr_assert(world_state(w, number, "ended"));
	cr_expect_str_eq(member(w, number, "signal"), "11");
	cr_expect_str_eq(member(w, number, "exit_code"), "");
	world_free(w);
}

Test(pool, an_end_that_nobody_saw_is_a_failure)
{
	struct world *w = world_new(1);
	uint64_t number = submit(w, "a", 1);
	cr_assert(world_state(w, number, "running"));
	snprintf(agent_lease(w, number)->reason, sizeof agent_lease(w, number)->reason, "the machine was restarted");
	agent_end(w, number, -1, 0);
	cr_assert(world_state(w, number, "failed"));
	cr_expect_str_eq(member(w, number, "reason"), "the machine was restarted");
	world_free(w);
}

Test(pool, release_in_each_state)
{
	struct world *w = world_new(1);
	sl_error error = { 0 };
	cr_expect_eq(pool_release(w->pool, 99, 0, "x", &error), SL_ENOTFOUND);
	uint64_t runs = submit(w, "a", 1), waits = submit(w, "b", 1);
	cr_assert(world_state(w, runs, "running"));
	cr_assert_eq(pool_release(w->pool, waits, 0, "not needed any more", &error), SL_OK);
	cr_expect_str_eq(member(w, waits, "state"), "cancelled");
	cr_expect_str_eq(member(w, waits, "reason"), "not needed any more");
	cr_expect_eq(pool_release(w->pool, waits, 0, "x", &error), SL_ECONFLICT, "over");
	cr_assert_eq(pool_release(w->pool, runs, 30000, "released by dana", &error), SL_OK);
	cr_assert(world_until(w, asked_stop, runs));
	cr_expect_str_eq(member(w, runs, "state"), "releasing");
	cr_expect_str_eq(device_member(w, 0, "state"), "scrubbing");
	cr_assert_eq(pool_release(w->pool, runs, 0, "now", &error), SL_OK, "once more, without notice");
	world_settle(w);
	cr_expect_eq(agent_asked(w, "stop", runs), 2);
	agent_end(w, runs, 0, 9);
	cr_assert(world_state(w, runs, "ended"));
	cr_expect_str_eq(member(w, runs, "reason"), "released by dana");
	world_free(w);
}

Test(pool, release_of_a_prepared_lease)
{
	struct world *w = world_new(1);
	w->agent.deaf = true;
	uint64_t number = submit(w, "a", 1);
	cr_assert(world_until(w, asked_start, number));
	cr_assert_eq(pool_release(w->pool, number, 0, "changed my mind", NULL), SL_OK);
	cr_assert(world_until(w, asked_stop, number));
	agent_end(w, number, 0, 9);
	cr_assert(world_state(w, number, "cancelled"));
	cr_expect_str_eq(device_member(w, 0, "state"), "free");
	world_free(w);
}

Test(pool, release_of_a_grant_that_is_not_yet_durable)
{
	struct world *w = world_new(1);
	uint64_t number = submit(w, "a", 1);
	agent_down(w);
	world_settle(w);
	cr_assert_eq(pool_release(w->pool, number, 0, "x", NULL), SL_OK);
	agent_up(w);
	world_settle(w);
	cr_expect_str_eq(member(w, number, "state"), "cancelled");
	cr_expect_eq(agent_asked(w, "start", 0), 0);
	world_free(w);
}

Test(pool, released_while_the_agent_was_away)
{
	struct world *w = world_new(1);
	uint64_t number = submit(w, "a", 1);
	cr_assert(world_state(w, number, "running"));
	agent_down(w);
	cr_assert(world_until(w, agent_away, 0));
	cr_assert_eq(pool_release(w->pool, number, 0, "bye", NULL), SL_OK);
	world_settle(w);
	cr_expect_str_eq(member(w, number, "state"), "releasing");
	agent_up(w);
	cr_assert(world_until(w, asked_stop, number), "the word is kept for the agent");
	agent_end(w, number, 0, 15);
	cr_assert(world_state(w, number, "ended"));
	world_free(w);
}

Test(pool, a_release_goes_on_after_a_restart_with_its_notice)
{
	struct world *w = world_new(1);
	uint64_t number = submit(w, "a", 1);
	cr_assert(world_state(w, number, "running"));
	cr_assert_eq(pool_release(w->pool, number, 20000, "bye", NULL), SL_OK);
	cr_assert(world_until(w, asked_stop, number));
	world_restart(w);
	cr_expect_str_eq(member(w, number, "state"), "releasing");
	cr_expect_eq(agent_asked(w, "stop", number), 2);
	json_t *m = json_array_get(w->agent.seen, json_array_size(w->agent.seen) - 1);
	cr_expect_str_eq(json_get_str(m, "op", ""), "stop");
	cr_expect_geq(json_get_int(m, "notice_ms", 0), 20000, "not sooner than was promised");
	agent_end(w, number, 0, 15);
	cr_assert(world_state(w, number, "ended"));
	cr_expect_str_eq(member(w, number, "reason"), "bye");
	world_free(w);
}

Test(pool, the_ledger_refuses)
{
	struct world *w = world_new(1);
	sl_error error = { 0 };
	uint64_t runs = submit(w, "a", 1), waits = submit(w, "b", 1), number = 0;
	cr_assert(world_state(w, runs, "running"));
	w->ledger.refuses = true;
	json_t *argv = json_pack("[s]", "x");
	struct pool_request r = { .name = "c", .tenant = "t", .user = "u", .devices = 1, .argv = argv };
	cr_expect_eq(pool_submit(w->pool, &r, &number, &error), SL_EUNAVAILABLE);
	json_decref(argv);
	cr_expect_null(pool_lease(w->pool, 3), "it does not exist");
	cr_expect_eq(pool_release(w->pool, waits, 0, "x", &error), SL_EUNAVAILABLE);
	cr_expect_str_eq(member(w, waits, "state"), "queued");
	agent_end(w, runs, 0, 0);
	cr_assert(world_state(w, runs, "ended"), "what has happened has happened");
	world_settle(w);
	cr_expect_str_eq(recorded(w, runs, "state"), "running", "not yet in the ledger");
	cr_expect_eq(agent_asked(w, "forget", runs), 0);
	cr_expect_str_eq(member(w, waits, "state"), "queued", "nothing new without the ledger");
	w->ledger.refuses = false;
	cr_assert(world_state(w, waits, "running"), "it goes on by itself");
	cr_expect_str_eq(recorded(w, runs, "state"), "ended");
	cr_expect_eq(submit(w, "d", 1), 3, "the refused one took no number");
	world_free(w);
}

Test(pool, drain_and_undrain)
{
	struct world *w = world_new(2);
	sl_error error = { 0 };
	cr_expect_eq(pool_drain_device(w->pool, "node1/gpu9", true, "x", &error), SL_ENOTFOUND);
	uint64_t runs = submit(w, "a", 1);
	cr_assert(world_state(w, runs, "running"));
	cr_assert_eq(pool_drain_device(w->pool, "node1/gpu0", true, "new fan", &error), SL_OK);
	cr_assert_eq(pool_drain_device(w->pool, "node1/gpu1", true, "", &error), SL_OK);
	cr_expect_str_eq(device_member(w, 0, "state"), "draining");
	cr_expect_str_eq(device_member(w, 0, "reason"), "new fan");
	cr_expect_str_eq(device_member(w, 1, "state"), "drained");
	uint64_t waits = submit(w, "b", 1);
	world_settle(w);
	cr_expect_str_eq(member(w, waits, "state"), "queued");
	agent_end(w, runs, 0, 0);
	world_settle(w);
	cr_expect_str_eq(device_member(w, 0, "state"), "drained");
	cr_expect_str_eq(member(w, waits, "state"), "queued");
	cr_assert_eq(pool_drain_device(w->pool, "GPU-0", false, NULL, &error), SL_OK, "by uuid");
	cr_assert(world_state(w, waits, "running"));
	world_free(w);
}

Test(pool, a_device_that_could_not_be_released_stays_out)
{
	struct world *w = world_new(1);
	sl_error error = { 0 };
	uint64_t number = submit(w, "a", 1);
	cr_assert(world_state(w, number, "running"));
	snprintf(agent_lease(w, number)->faulty, sizeof agent_lease(w, number)->faulty, "GPU-0");
	agent_end(w, number, 0, 0);
	cr_assert(world_state(w, number, "ended"));
	cr_expect_str_eq(device_member(w, 0, "state"), "faulty");
	cr_expect_str_eq(device_member(w, 0, "reason"), "memory still in use");
	uint64_t waits = submit(w, "b", 1);
	w->agent.scrub_fails = true;
	cr_assert_eq(pool_drain_device(w->pool, "node1/gpu0", false, NULL, &error), SL_OK);
	world_settle(w);
	cr_expect_str_eq(device_member(w, 0, "state"), "faulty", "the check said no");
	cr_expect_str_eq(member(w, waits, "state"), "queued");
	w->agent.scrub_fails = false;
	cr_assert_eq(pool_drain_device(w->pool, "node1/gpu0", false, NULL, &error), SL_OK);
	cr_assert(world_state(w, waits, "running"));
	world_free(w);
}

Test(pool, what_is_known_of_devices_outlives_a_restart)
{
	struct world *w = world_new(3);
	sl_error error = { 0 };
	w->ledger.refuses = true;
	cr_expect_eq(pool_drain_device(w->pool, "node1/gpu1", true, "new fan", &error), SL_EUNAVAILABLE);
	cr_expect_str_eq(device_member(w, 1, "state"), "free");
	agent_health(w, 0, "faulty", "Xid 79");
	world_settle(w);
	w->ledger.refuses = false;
	cr_assert_eq(pool_drain_device(w->pool, "node1/gpu1", true, "new fan", &error), SL_OK);
	cr_assert(world_until(w, two_objects, 0), "the fault was written down once the ledger took it");
	snprintf(w->agent.health[0], sizeof w->agent.health[0], "ok");
	world_restart(w);
	cr_expect_str_eq(device_member(w, 0, "state"), "faulty");
	cr_expect_str_eq(device_member(w, 0, "reason"), "Xid 79");
	cr_expect_str_eq(device_member(w, 1, "state"), "drained");
	cr_expect_str_eq(device_member(w, 1, "reason"), "new fan");
	cr_expect_str_eq(device_member(w, 2, "state"), "free");
	cr_assert_eq(pool_drain_device(w->pool, "node1/gpu0", false, NULL, &error), SL_OK);
	cr_assert_eq(pool_drain_device(w->pool, "node1/gpu1", false, NULL, &error), SL_OK);
	world_settle(w);
	cr_expect_eq(json_object_size(w->ledger.objects), 0, "nothing left to remember");
	cr_expect_str_eq(device_member(w, 0, "state"), "free");
	world_free(w);
}

Test(pool, a_device_that_fails_under_a_lease)
{
	struct world *w = world_new(2);
	uint64_t number = submit(w, "a", 1), other = submit(w, "b", 1);
	cr_assert(world_state(w, number, "running"));
	cr_assert(world_state(w, other, "running"));
	agent_health(w, 0, "faulty", "Xid 79, fell off the bus");
	cr_assert(world_until(w, asked_stop, number));
	agent_end(w, number, 0, 9);
	cr_assert(world_state(w, number, "failed"));
	cr_expect(strstr(member(w, number, "reason"), "Xid 79"), "%s", member(w, number, "reason"));
	cr_expect_str_eq(device_member(w, 0, "state"), "faulty");
	cr_expect_str_eq(member(w, other, "state"), "running", "the others are not touched");
	agent_health(w, 0, "ok", "");
	world_settle(w);
	cr_expect_str_eq(device_member(w, 0, "state"), "faulty", "until an operator or a check clears it");
	world_free(w);
}

Test(pool, a_device_that_is_lost_and_found)
{
	struct world *w = world_new(1);
	for (int i = 0; i < 2; i++) {
		agent_health(w, 0, "lost", "no answer");
		world_settle(w);
		cr_expect_str_eq(device_member(w, 0, "state"), "unknown");
		agent_health(w, 0, "ok", "");
		world_settle(w);
		cr_expect_str_eq(device_member(w, 0, "state"), "free");
	}
	agent_health(w, 0, "lost", "no answer");
	agent_health(w, 0, "ok", "");
	world_settle(w);
	cr_expect_str_eq(device_member(w, 0, "state"), "faulty", "three times are enough");
	world_free(w);
}

static struct pool_names several;

static uint64_t find(struct world *w, sl_str id)
{
	return pool_find(w->pool, &(struct pool_search){ .id = id }, &several);
}

static bool sees_nobody(void *arg, const char *tenant, const char *user)
{
	(void) arg;
	return tenant[0] == '?' && user[0] == '?';
}

Test(pool, names)
{
	struct world *w = world_new(2);
	uint64_t a = submit(w, "train", 1), b = submit(w, "trial", 0), c = submit(w, "train-2", 1);
	cr_expect_eq(find(w, STR("L1")), a);
	cr_expect_eq(find(w, STR("2")), b);
	cr_expect_eq(find(w, STR("train")), a, "a whole name wins over a prefix");
	cr_expect_eq(find(w, STR("tria")), b);
	cr_expect_eq(find(w, STR("train-")), c);
	cr_expect_eq(find(w, STR("tr")), 0, "several");
	cr_expect_eq(find(w, STR("x")), 0);
	cr_expect_eq(find(w, STR("")), 0);
	cr_expect_eq(find(w, STR("L99")), 0);
	submit(w, "trial", 0);
	cr_expect_eq(find(w, STR("trial")), 0, "twice");
	cr_expect(several.n == 2 && several.at[0] == b && several.at[1] > c, "both are told");
	cr_expect_eq(find(w, STR("tr")), 0);
	cr_expect(several.n == 4 && several.at[0] == a && several.at[1] == b, "the first two of a prefix");
	cr_expect_eq(pool_find(w->pool, &(struct pool_search){ .id = STR("trial"), .sees = sees_nobody }, &several), 0);
	cr_expect_eq(several.n, 0, "what is not seen is not told");
	cr_expect_eq(find(w, STR("train")), a);
	cr_expect_eq(several.n, 0);
	cr_assert(world_state(w, a, "running"));
	agent_end(w, a, 0, 0);
	cr_assert(world_state(w, a, "ended"));
	cr_expect_eq(find(w, STR("train")), c, "an open one's prefix goes before one that is over");
	cr_assert_eq(pool_release(w->pool, c, 0, "", NULL), SL_OK);
	cr_assert(world_until(w, asked_stop, c));
	agent_end(w, c, 0, 15);
	cr_assert(world_state(w, c, "ended"));
	cr_expect_eq(find(w, STR("train")), a, "none is open: the latest of that very name");
	cr_expect_eq(find(w, STR("trai")), 0);
	world_free(w);
}

static int last_code = 1;

static void on_taken(void *arg, int code, int64_t taken)
{
	(void) arg;
	(void) taken;
	last_code = code;
}

static bool got_code(struct world *w, uint64_t arg)
{
	(void) w;
	(void) arg;
	return last_code != 1;
}

Test(pool, signals_and_stdin)
{
	struct world *w = world_new(1);
	sl_error error = { 0 };
	uint64_t runs = submit(w, "a", 1), waits = submit(w, "b", 1);
	cr_assert(world_state(w, runs, "running"));
	cr_expect_eq(pool_signal(w->pool, waits, 2, &error), SL_ECONFLICT);
	cr_expect_eq(pool_signal(w->pool, runs, 0, &error), SL_EINVAL);
	cr_expect_eq(pool_signal(w->pool, runs, 4096, &error), SL_EINVAL);
	cr_assert_eq(pool_signal(w->pool, runs, 2, &error), SL_OK);
	cr_assert_eq(pool_stdin(w->pool, runs, &(struct pool_input){ .data = STR("hello\0x"), .eof = true, .writer = 7, .from = 3 }, on_taken, NULL, &error), SL_OK);
	cr_assert(world_until(w, got_code, 0));
	cr_expect_eq(last_code, SL_OK);
	json_t *m = json_array_get(w->agent.seen, json_array_size(w->agent.seen) - 1);
	cr_expect_str_eq(json_get_str(m, "data", ""), "aGVsbG8AeA==");
	cr_expect(json_get_bool(m, "eof", false));
	cr_expect_eq(json_get_int(m, "writer", 0), 7);
	cr_expect_eq(json_get_int(m, "from", 0), 3);
	cr_expect_eq(agent_asked(w, "signal", runs), 1);
	/* The connection goes before the answer comes: the one who asked is told. */
	last_code = 1;
	cr_assert_eq(pool_stdin(w->pool, runs, &(struct pool_input){ .data = STR("x") }, on_taken, NULL, &error), SL_OK);
	agent_down(w);
	cr_assert(world_until(w, got_code, 0));
	world_free(w);
}

Test(pool, closing_tells_those_who_wait)
{
	struct world *w = world_new(1);
	uint64_t runs = submit(w, "a", 1);
	cr_assert(world_state(w, runs, "running"));
	last_code = 1;
	cr_assert_eq(pool_stdin(w->pool, runs, &(struct pool_input){ .data = STR("x") }, on_taken, NULL, NULL), SL_OK);
	world_close_pool(w);
	cr_expect_eq(last_code, SL_EUNAVAILABLE);
	world_free(w);
}

Test(pool, a_queue_that_goes_leaves_its_leases_with_a_reason)
{
	struct world *w = world_new(1);
	uint64_t runs = submit(w, "a", 1), waits = submit(w, "b", 1);
	cr_assert(world_state(w, runs, "running"));
	static struct conf other;
	other = w->conf;
	static struct conf_queue queue = { .name = "batch", .quota = -1, .borrow = -1, .lend = -1, .weight = 1,
	                                   .per_user = -1 };
	other.queues = &queue;
	pool_configure(w->pool, &other);
	agent_end(w, runs, 0, 0);
	world_settle(w);
	cr_expect_str_eq(member(w, waits, "state"), "queued");
	cr_expect(strstr(member(w, waits, "reason"), "not configured"), "%s", member(w, waits, "reason"));
	pool_configure(w->pool, &w->conf);
	cr_assert(world_state(w, waits, "running"));
	world_free(w);
}

Test(pool, quota_of_a_queue)
{
	struct world *w = world_new(3);
	w->queues[0].gpus = 2;
	w->queues[0].borrow = 0;
	pool_configure(w->pool, &w->conf);
	uint64_t a = submit(w, "a", 1), b = submit(w, "b", 1), c = submit(w, "c", 1);
	cr_assert(world_state(w, a, "running"));
	cr_assert(world_state(w, b, "running"));
	world_settle(w);
	cr_expect_str_eq(member(w, c, "state"), "queued");
	cr_expect_eq(submit(w, "d", 3), 0, "above the quota for ever");
	agent_end(w, a, 0, 0);
	cr_assert(world_state(w, c, "running"));
	world_free(w);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* test_watch.c - watchers of leases and their output. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "tests/unit/pool/harness.h"

struct seen {
	struct pool_watch *watch;
	char out[4096], states[512];
	size_t len;
	unsigned ends, gaps;
	bool unwatch_at_first;
	struct pool_watch *also; /* another's watch, ended from within the callback */
};

static void on_event(void *arg, const struct pool_event *event)
{
	struct seen *s = arg;
	cr_assert_eq(s->ends, 0, "nothing comes after the end");
	if (event->log && strcmp(event->log, "out") == 0) {
		s->gaps += event->from != s->len;
		memcpy(s->out + s->len, event->data.ptr, event->data.len);
		s->len += event->data.len;
	}
	if (event->lease) {
		strcat(s->states, json_get_str(event->lease, "state", "?"));
		strcat(s->states, " ");
	}
	s->ends += event->end;
	if (s->also) {
		pool_unwatch(s->also);
		s->also = NULL;
	}
	if (s->unwatch_at_first) {
		pool_unwatch(s->watch);
		s->watch = NULL;
	}
}

static bool ended(struct world *w, uint64_t arg)
{
	(void) w;
	return ((struct seen *) (uintptr_t) arg)->ends == 1;
}

static bool has_output(struct world *w, uint64_t arg)
{
	(void) w;
	return ((struct seen *) (uintptr_t) arg)->len > 0;
}

static void watch(struct world *w, struct seen *s, uint64_t number, bool logs, int64_t from)
{
	s->watch = pool_watch(w->pool, number, logs, from, from, on_event, s);
	cr_assert_not_null(s->watch);
	cr_assert_eq(s->states[0], '\0', "never from within pool_watch");
}

Test(watch, states_from_the_start_to_the_end)
{
	struct world *w = world_new(1);
	struct seen s = { 0 };
	w->ledger.holds = true;
	uint64_t number = submit(w, "a", 1);
	watch(w, &s, number, false, -1);
	world_settle(w);
	cr_expect_str_eq(s.states, "", "nothing is said before it is durable");
	w->ledger.holds = false;
	cr_assert(world_state(w, number, "running"));
	world_settle(w);
	agent_end(w, number, 0, 0);
	cr_assert(world_until(w, ended, (uintptr_t) &s));
	cr_expect(str_starts(str_of(s.states), STR("queued ")), "%s", s.states);
	cr_expect(strstr(s.states, "running ended "), "%s", s.states);
	pool_unwatch(s.watch);
	cr_expect_null(pool_watch(w->pool, 99, false, -1, -1, on_event, &s), "no such lease");
	world_free(w);
}

Test(watch, one_follow_for_all_and_nothing_missing)
{
	struct world *w = world_new(1);
	struct seen early = { 0 }, late = { 0 }, from_now = { 0 };
	uint64_t number = submit(w, "a", 1);
	watch(w, &early, number, true, 0);
	cr_assert(world_state(w, number, "running"));
	world_settle(w);
	agent_output(w, number, "the first line, longer than a piece\n");
	world_settle(w);
	cr_expect_str_eq(early.out, "the first line, longer than a piece\n");
	watch(w, &late, number, true, 0);
	watch(w, &from_now, number, true, -1);
	world_settle(w);
	agent_output(w, number, "the second line\n");
	agent_output(w, number, "the third\n");
	world_settle(w);
	agent_output(w, number, "written as it ends\n");
	agent_end(w, number, 0, 0);
	cr_assert(world_until(w, ended, (uintptr_t) &early));
	cr_assert(world_until(w, ended, (uintptr_t) &late));
	cr_assert(world_until(w, ended, (uintptr_t) &from_now));
	const char *all = "the first line, longer than a piece\nthe second line\nthe third\nwritten as it ends\n";
	cr_expect_str_eq(early.out, all);
	cr_expect_str_eq(late.out, all);
	cr_expect_str_eq(from_now.out, strstr(all, "the second"));
	cr_expect_eq(early.gaps + late.gaps, 0);
	cr_expect_eq(agent_asked(w, "follow", number), 1, "one for all watchers");
	pool_unwatch(early.watch);
	pool_unwatch(late.watch);
	pool_unwatch(from_now.watch);
	world_free(w);
}

Test(watch, output_goes_on_over_a_lost_connection)
{
	struct world *w = world_new(1);
	struct seen s = { 0 };
	uint64_t number = submit(w, "a", 1);
	watch(w, &s, number, true, 0);
	cr_assert(world_state(w, number, "running"));
	world_settle(w);
	agent_output(w, number, "before ");
	world_settle(w);
	agent_down(w);
	world_settle(w);
	agent_output(w, number, "meanwhile ");
	agent_end(w, number, 0, 0);
	agent_up(w);
	cr_assert(world_until(w, ended, (uintptr_t) &s));
	cr_expect_str_eq(s.out, "before meanwhile ");
	pool_unwatch(s.watch);
	world_free(w);
}

Test(watch, after_the_end_the_output_is_still_there)
{
	struct world *w = world_new(1);
	struct seen s = { 0 }, tail = { 0 };
	uint64_t number = submit(w, "a", 1);
	cr_assert(world_state(w, number, "running"));
	agent_output(w, number, "all that there was");
	agent_end(w, number, 0, 0);
	cr_assert(world_state(w, number, "ended"));
	watch(w, &s, number, true, 0);
	watch(w, &tail, number, true, -3);
	cr_assert(world_until(w, ended, (uintptr_t) &s));
	cr_assert(world_until(w, ended, (uintptr_t) &tail));
	cr_expect_str_eq(s.out, "all that there was");
	cr_expect_eq(tail.gaps, 1, "it starts in the middle");
	cr_expect_str_eq(tail.out, "was");
	pool_unwatch(s.watch);
	pool_unwatch(tail.watch);
	world_free(w);
}

Test(watch, cancelled_before_it_ran)
{
	struct world *w = world_new(1);
	struct seen s = { 0 };
	submit(w, "a", 1);
	uint64_t waits = submit(w, "b", 1);
	watch(w, &s, waits, true, 0);
	world_settle(w);
	cr_expect_eq(s.ends, 0);
	cr_assert_eq(pool_release(w->pool, waits, 0, "x", NULL), SL_OK);
	cr_assert(world_until(w, ended, (uintptr_t) &s));
	pool_unwatch(s.watch);
	world_free(w);
}

Test(watch, ending_watches_from_within)
{
	struct world *w = world_new(1);
	struct seen self = { .unwatch_at_first = true }, killer = { 0 }, victim = { 0 };
	uint64_t number = submit(w, "a", 1);
	watch(w, &victim, number, true, 0);
	watch(w, &self, number, true, 0);
	watch(w, &killer, number, true, 0);
	killer.also = victim.watch;
	cr_assert(world_state(w, number, "running"));
	world_settle(w);
	agent_output(w, number, "xyz");
	cr_assert(world_until(w, has_output, (uintptr_t) &killer));
	cr_expect_eq(victim.len, 0);
	cr_expect_eq(self.len, 0);
	pool_unwatch(killer.watch);
	world_settle(w);
	cr_expect_eq(agent_asked(w, "unfollow", number), 1, "the last one turns off the light");
	world_free(w);
}

Test(watch, the_pool_may_close_under_watchers)
{
	struct world *w = world_new(1);
	struct seen s = { 0 };
	uint64_t number = submit(w, "a", 1);
	watch(w, &s, number, true, 0);
	cr_assert(world_state(w, number, "running"));
	world_close_pool(w);
	cr_expect_eq(s.ends, 0);
	world_free(w);
}

Test(watch, hostile_log_events_are_dropped)
{
	struct world *w = world_new(1);
	struct seen s = { 0 };
	uint64_t number = submit(w, "a", 1);
	watch(w, &s, number, true, 0);
	cr_assert(world_state(w, number, "running"));
	world_settle(w);
	static const char *const bad[] = {
		"{\"event\":\"log\"}", "{\"event\":\"log\",\"lease\":\"L1\",\"source\":\"out\",\"from\":-5,\"data\":\"eHh4\"}",
		"{\"event\":\"log\",\"lease\":\"L1\",\"source\":\"out\",\"from\":0,\"data\":\"!!!\"}",
		"{\"event\":\"log\",\"lease\":\"L1\",\"source\":\"out\",\"from\":0,\"data\":7}",
		"{\"event\":\"log\",\"lease\":7,\"source\":[],\"from\":\"x\",\"data\":\"eHh4\"}",
		"{\"event\":\"device\"}", "{\"event\":\"ended\"}", "{\"event\":\"ended\",\"lease\":\"x\"}", "{\"event\":\"hm\"}",
		"{\"id\":123456,\"ok\":{}}", "{}",
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		json_t *m = json_loads(bad[i], 0, NULL);
		cr_assert_not_null(m, "%s", bad[i]);
		frame_send(w->agent.connection, m);
		json_decref(m);
	}
	agent_output(w, number, "good");
	cr_assert(world_until(w, has_output, (uintptr_t) &s));
	cr_expect_str_eq(s.out, "good");
	pool_unwatch(s.watch);
	world_free(w);
}

static char piece[64];
static uint64_t piece_next;
static int pieces;

static void on_piece(void *arg, const char *data, size_t len, uint64_t from, uint64_t next)
{
	(void) arg;
	(void) from;
	pieces++;
	piece[0] = '\0';
	if (data)
		str_copy(piece, sizeof piece, (sl_str){ data, len });
	piece_next = data ? next : UINT64_MAX;
}

static bool got_piece(struct world *w, uint64_t n)
{
	(void) w;
	return pieces == (int) n;
}

Test(watch, pieces_of_a_log)
{
	struct world *w = world_new(1);
	sl_error error = { 0 };
	uint64_t number = submit(w, "a", 1);
	cr_expect_eq(pool_logs(w->pool, number, "out", 0, 100, on_piece, NULL, &error), SL_ENOTFOUND, "does not run yet");
	cr_assert(world_state(w, number, "running"));
	agent_output(w, number, "0123456789");
	cr_expect_eq(pool_logs(w->pool, number, "both", 0, 100, on_piece, NULL, &error), SL_EINVAL);
	cr_assert_eq(pool_logs(w->pool, number, "out", 2, 3, on_piece, NULL, &error), SL_OK);
	cr_assert(world_until(w, got_piece, 1));
	cr_expect_str_eq(piece, "234");
	cr_expect_eq(piece_next, 5);
	cr_assert_eq(pool_logs(w->pool, number, "err", 0, 3, on_piece, NULL, &error), SL_OK);
	cr_assert(world_until(w, got_piece, 2));
	cr_expect_eq(piece_next, 0, "empty is no error");
	cr_assert_eq(pool_logs(w->pool, 500, "out", 0, 3, on_piece, NULL, &error), SL_OK, "the agent may know it");
	cr_assert(world_until(w, got_piece, 3));
	cr_expect_eq(piece_next, UINT64_MAX, "but does not");
	agent_down(w);
	world_settle(w);
	cr_expect_eq(pool_logs(w->pool, number, "out", 0, 3, on_piece, NULL, &error), SL_EUNAVAILABLE);
	world_free(w);
}

static bool is_paced(struct world *w, uint64_t number)
{
	return agent_asked(w, "pace", number) > 0;
}

Test(watch, a_program_waits_for_who_is_attached_and_reads)
{
	struct world *w = world_new(1);
	struct seen s = { 0 }, other = { 0 };
	w->conf.output_wait_ms = 1;
	uint64_t number = submit(w, "a", 1), second;
	watch(w, &s, number, true, 0);
	cr_assert(world_state(w, number, "running"));
	world_settle(w);
	cr_expect_eq(agent_asked(w, "pace", number), 0, "a watcher that is not attached holds nobody up");
	pool_watch_pace(s.watch);
	cr_expect(world_until(w, is_paced, number));
	/* One that takes nothing gets nothing, until it does again. */
	pool_watch_hold(s.watch, true);
	agent_output(w, number, "some output\n");
	world_settle(w);
	cr_expect_str_eq(s.out, "");
	pool_watch_hold(s.watch, false);
	cr_expect(world_until(w, has_output, (uintptr_t) &s));
	pool_watch_hold(NULL, true);
	agent_end(w, number, 0, 0);
	cr_assert(world_until(w, ended, (uintptr_t) &s));
	cr_expect_str_eq(s.out, "some output\n");
	pool_unwatch(s.watch);
	/* Never for its own sake: with 0 nobody is waited for. */
	w->conf.output_wait_ms = 0;
	second = submit(w, "b", 1);
	watch(w, &other, second, true, 0);
	pool_watch_pace(other.watch);
	cr_assert(world_state(w, second, "running"));
	world_settle(w);
	cr_expect_eq(agent_asked(w, "pace", second), 0);
	pool_unwatch(other.watch);
	world_free(w);
}

Test(watch, what_has_ended_is_readable_after_a_restart)
{
	struct world *w = world_new(1);
	struct seen s = { 0 };
	uint64_t number = submit(w, "a", 1);
	cr_assert(world_state(w, number, "running"));
	agent_output(w, number, "kept");
	agent_end(w, number, 0, 0);
	cr_assert(world_state(w, number, "ended"));
	world_restart(w);
	world_settle(w);
	watch(w, &s, number, true, 0);
	cr_assert(world_until(w, ended, (uintptr_t) &s));
	cr_expect_str_eq(s.out, "kept");
	pool_unwatch(s.watch);
	cr_expect(pool_log_kept(w->pool, number));
	/* For an hour: one that ended before that is the store's. */
	json_object_set_new(json_object_get(w->ledger.records, "L1"), "ended_ms", json_integer((json_int_t) clock_wall_ms() - 3600001));
	world_restart(w);
	world_settle(w);
	json_t *lease = pool_lease(w->pool, number);
	cr_expect_null(lease);
	json_decref(lease);
	world_free(w);
}

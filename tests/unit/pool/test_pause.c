/* SPDX-License-Identifier: Apache-2.0 */
/* test_pause.c - leases that are suspended and go on, with an agent that says what the test wants. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "core/base/json.h"
#include "core/pool/inner.h"
#include "tests/unit/pool/harness.h"

/* The one device: for whoever waits, by a hold where another has it; else for whoever is suspended. */
static int plan(void *self, const sl_view *view, sl_action *out, size_t room, size_t *n, sl_error *error)
{
	static uint32_t zero[] = { 0 };
	uint32_t state = view->n_devices ? view->devices[0].state : SL_DEVICE_FAULTY;
	bool leaving = false;
	(void) self;
	(void) error;
	(void) room;
	*n = 0;
	for (size_t i = 0; i < view->n_running; i++)
		leaving = leaving || (view->running_terms[i].flags & SL_LEASE_LEAVING);
	for (size_t i = 0; i < view->n_waiting; i++) {
		bool held = view->waiting_terms[i].flags & SL_LEASE_HELD;
		if (state == SL_DEVICE_FREE || (held && state == SL_DEVICE_HELD))
			out[(*n)++] = (sl_action){ .type = SL_ACTION_GRANT, .lease = view->waiting[i].number, .n_devices = 1, .devices = zero };
		else if (state == SL_DEVICE_GRANTED && !held && !leaving)
			out[(*n)++] = (sl_action){ .type = SL_ACTION_HOLD, .lease = view->waiting[i].number, .n_devices = 1, .devices = zero };
		return SL_OK;
	}
	if (view->n_suspended && state == SL_DEVICE_FREE)
		out[(*n)++] = (sl_action){ .type = SL_ACTION_RESUME, .lease = view->suspended[0].number, .n_devices = 1, .devices = zero };
	return SL_OK;
}

static const sl_scheduler_ops takes = { .size = sizeof takes, .plan = plan };

static struct world *open_world(bool suspends)
{
	struct world *w = world_new(1);
	world_close_pool(w);
	w->queues[1] = (struct conf_queue){ .name = "owner", .quota = -1, .gpus = 1, .borrow = -1, .lend = -1, .weight = 1,
	                                    .per_user = -1, .reclaim = true, .preempt = true };
	w->conf.n_queues = 2;
	w->scheduler = &takes;
	w->agent.suspends = suspends;
	world_open_pool(w);
	return w;
}

static uint64_t submit_to(struct world *w, const char *queue, const char *model)
{
	uint64_t number = 0;
	sl_error error = { 0 };
	json_t *argv = json_pack("[s]", "true");
	struct pool_request request = { .tenant = "t", .user = "u", .devices = 1, .argv = argv, .queue = queue, .model = model };
	cr_assert_eq(pool_submit(w->pool, &request, &number, &error), SL_OK, "%s", error.text);
	json_decref(argv);
	return number;
}

/* A guest that runs, and an owner who has just claimed its device. */
static uint64_t claimed(struct world *w, uint64_t *owner)
{
	uint64_t guest = submit_to(w, "research", NULL);
	cr_assert(world_state(w, guest, "running"));
	*owner = submit_to(w, "owner", NULL);
	world_settle(w);
	return guest;
}

static uint64_t suspended(struct world *w, uint64_t *owner)
{
	uint64_t guest = claimed(w, owner);
	cr_assert_str_eq(member(w, guest, "state"), "suspending");
	agent_pause(w, guest, "suspended", 1234, NULL);
	cr_assert(world_state(w, guest, "suspended"));
	cr_assert(world_state(w, *owner, "running"));
	return guest;
}

static int64_t run_ms(struct world *w, uint64_t number)
{
	json_t *lease = pool_lease(w->pool, number);
	int64_t ms = (int64_t) (json_real_value(json_object_get(lease, "run_s")) * 1000 + 0.5);
	json_decref(lease);
	return ms;
}

static void end_owner(struct world *w, uint64_t owner)
{
	agent_end(w, owner, 0, 0);
	cr_assert(world_state(w, owner, "ended"));
	world_settle(w);
}

/* "queued granted ..." of the lease, as the ledger has it. */
static const char *history(struct world *w, uint64_t number)
{
	static char text[512];
	char id[24];
	size_t i;
	json_t *one;
	text[0] = '\0';
	snprintf(id, sizeof id, "L%llu", (unsigned long long) number);
	json_array_foreach(w->ledger.history, i, one)
		if (strcmp(json_string_value(json_array_get(one, 0)), id) == 0)
			snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", text[0] ? " " : "",
			         json_string_value(json_array_get(one, 1)));
	return text;
}

Test(pause, who_gives_way_is_suspended_and_goes_on)
{
	struct world *w = open_world(true);
	uint64_t owner, guest = claimed(w, &owner);
	cr_expect_eq(agent_asked(w, "suspend", guest), 1);
	cr_expect_eq(agent_asked(w, "stop", guest), 0);
	cr_expect_str_eq(device_member(w, 0, "lease"), "L1", "its own until it is off it");
	cr_expect_str_eq(member(w, owner, "state"), "queued");
	agent_pause(w, guest, "suspended", 1234, NULL);
	cr_assert(world_state(w, guest, "suspended"));
	cr_expect_eq(run_ms(w, guest), 1234, "the agent saw it leave");
	cr_expect(strstr(member(w, guest, "reason"), "gave way to L2 of queue owner"), "%s", member(w, guest, "reason"));
	cr_assert(world_state(w, owner, "running"));
	cr_expect_str_eq(device_member(w, 0, "lease"), "L2");
	cr_expect_eq(agent_asked(w, "resume", guest), 0);
	end_owner(w, owner);
	cr_expect_str_eq(member(w, guest, "state"), "resuming");
	cr_expect_eq(run_ms(w, guest), 1234, "the way back costs nothing");
	cr_expect_eq(agent_asked(w, "resume", guest), 1);
	agent_pause(w, guest, "running", 1234, NULL);
	cr_assert(world_state(w, guest, "running"));
	agent_end(w, guest, 0, 0);
	cr_assert(world_state(w, guest, "ended"));
	cr_expect_str_eq(history(w, guest), "queued granted prepared running suspending suspended resuming running ended");
	world_free(w);
}

Test(pause, nothing_is_asked_before_it_is_durable)
{
	struct world *w = open_world(true);
	uint64_t guest = submit_to(w, "research", NULL);
	cr_assert(world_state(w, guest, "running"));
	w->ledger.holds = true;
	submit_to(w, "owner", NULL);
	world_settle(w);
	cr_expect_eq(agent_asked(w, "suspend", guest), 0);
	w->ledger.holds = false;
	world_settle(w);
	cr_expect_eq(agent_asked(w, "suspend", guest), 1);
	world_free(w);
}

Test(pause, who_cannot_be_suspended_is_ended_with_notice)
{
	struct world *w = open_world(true);
	uint64_t owner, guest = claimed(w, &owner);
	agent_pause(w, guest, "running", 10, "it holds a lock");
	cr_assert(world_state(w, guest, "releasing"));
	cr_expect(strstr(member(w, guest, "reason"), "could not be suspended: it holds a lock"), "%s", member(w, guest, "reason"));
	world_settle(w);
	cr_expect_eq(agent_asked(w, "stop", guest), 1);
	agent_end(w, guest, 0, 15);
	cr_assert(world_state(w, guest, "preempted"));
	cr_assert(world_state(w, owner, "running"));
	world_free(w);
}

Test(pause, where_no_backend_can_and_for_a_replica_there_is_notice_at_once)
{
	for (int replica = 0; replica < 2; replica++) {
		struct world *w = open_world(replica);
		uint64_t guest = submit_to(w, "research", replica ? "llama" : NULL);
		cr_assert(world_state(w, guest, "running"));
		submit_to(w, "owner", NULL);
		world_settle(w);
		cr_expect_str_eq(member(w, guest, "state"), "releasing");
		cr_expect_eq(agent_asked(w, "suspend", guest), 0);
		world_free(w);
	}
}

Test(pause, a_resumption_that_fails_leaves_it_suspended_for_a_while)
{
	struct world *w = open_world(true);
	uint64_t owner, guest = suspended(w, &owner);
	end_owner(w, owner);
	agent_pause(w, guest, "suspended", 1234, "no memory there");
	cr_assert(world_state(w, guest, "suspended"));
	world_settle(w);
	cr_expect(strstr(member(w, guest, "reason"), "could not go on: no memory there; is tried again in"), "%s",
	          member(w, guest, "reason"));
	cr_expect_str_eq(device_member(w, 0, "state"), "free");
	cr_expect_eq(agent_asked(w, "resume", guest), 1, "not at once");
	world_free(w);
}

Test(pause, a_suspended_lease_that_is_released_leaves_the_device_to_its_holder)
{
	struct world *w = open_world(true);
	uint64_t owner, guest = suspended(w, &owner);
	cr_assert_eq(pool_release(w->pool, guest, 1000, "enough", NULL), SL_OK);
	world_settle(w);
	cr_expect_str_eq(member(w, guest, "state"), "releasing");
	cr_expect_eq(agent_asked(w, "stop", guest), 1);
	cr_expect_str_eq(device_member(w, 0, "lease"), "L2");
	world_restart(w);
	world_settle(w);
	cr_expect_str_eq(device_member(w, 0, "lease"), "L2", "nor does a restart give it back");
	agent_end(w, guest, 0, 15);
	cr_assert(world_state(w, guest, "ended"));
	cr_expect_str_eq(member(w, owner, "state"), "running");
	world_free(w);
}

Test(pause, sluiced_dies_in_every_state_and_the_agent_may_have_gone_on)
{
	static const struct { const char *before, *agent, *after; unsigned asked; } cases[] = {
		{ "suspending", "running", "suspending", 2 },   { "suspending", "suspending", "suspending", 2 },
		{ "suspending", "suspended", "suspended", 1 },  { "suspended", "suspended", "suspended", 1 },
		{ "suspended", "running", "suspended", 2 },     { "resuming", "suspended", "resuming", 2 },
		{ "resuming", "resuming", "resuming", 2 },      { "resuming", "running", "running", 1 },
	};
	/* What the agent has not told is asked for again: that does no harm there. */
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct world *w = open_world(true);
		uint64_t owner, guest = strcmp(cases[i].before, "suspending") == 0 ? claimed(w, &owner) : suspended(w, &owner);
		if (strcmp(cases[i].before, "resuming") == 0)
			end_owner(w, owner);
		cr_assert_str_eq(member(w, guest, "state"), cases[i].before);
		world_close_pool(w);
		snprintf(agent_lease(w, guest)->state, 16, "%s", cases[i].agent);
		world_open_pool(w);
		world_settle(w);
		const char *op = strcmp(cases[i].before, "resuming") == 0 ? "resume" : "suspend";
		cr_expect_str_eq(member(w, guest, "state"), cases[i].after, "%zu", i);
		cr_expect_eq(agent_asked(w, op, guest), cases[i].asked, "%zu: %u times", i, agent_asked(w, op, guest));
		cr_expect_eq(agent_asked(w, "start", guest), 1, "%zu", i);
		world_free(w);
	}
}

/* Another scheduler is chosen while somebody is suspended. */
Test(pause, fifo_lets_it_go_on_too)
{
	struct world *w = open_world(true);
	uint64_t owner, guest = suspended(w, &owner);
	world_close_pool(w);
	w->scheduler = NULL;
	world_open_pool(w);
	cr_expect_str_eq(member(w, guest, "state"), "suspended");
	uint64_t later = submit_to(w, "research", NULL);
	world_settle(w);
	end_owner(w, owner);
	cr_expect_str_eq(member(w, guest, "state"), "resuming");
	cr_expect_str_eq(member(w, later, "state"), "queued");
	world_free(w);
}

Test(pause, an_agent_that_has_lost_a_suspended_lease)
{
	struct world *w = open_world(true);
	uint64_t owner, guest = suspended(w, &owner);
	agent_down(w);
	agent_lease(w, guest)->id[0] = '\0';
	agent_up(w);
	cr_assert(world_state(w, guest, "failed"));
	cr_expect_str_eq(member(w, owner, "state"), "running");
	world_free(w);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* test_plan.c - devices, the scheduler's view, and the invariants. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/str.h"
#include "core/lease/plan.h"

static const struct lease_now now = { 1700000000000ull, 1000000 };
#define ALL_FLAGS (SL_QUEUE_PREEMPT_OWN | SL_QUEUE_RECLAIM | SL_QUEUE_PREEMPT_OTHERS)
static const struct plan_queue queues[] = {
	{ .name = "research", .priority = 5, .nominal = 3, .borrow = 0, .lend = -1, .cohort = SL_NONE, .weight = 1,
	  .per_user = -1, .flags = ALL_FLAGS },
	{ .name = "batch", .borrow = -1, .lend = -1, .cohort = SL_NONE, .weight = 1, .per_user = -1, .flags = ALL_FLAGS },
};

static int tell(struct devices *d, const char *machine, const char *uuid, int index, const char *kind, int64_t gib,
                const char *health)
{
	sl_error error;
	json_t *told = json_pack("{s:s, s:i, s:s, s:I, s:s, s:s}", "uuid", uuid, "index", index, "kind", kind, "memory_bytes",
	                         (json_int_t) gib << 30, "health", health, "reason", "Xid 79");
	int code = devices_update(d, machine, told, NULL, &error);
	json_decref(told);
	return code;
}

/* Two machines: node1 with three of 40 GiB and one of 80, node2 with two of 40. */
static struct devices six(void)
{
	struct devices d = { 0 };
	for (int i = 0; i < 6; i++) {
		char uuid[16];
		snprintf(uuid, sizeof uuid, "G%d", i);
		cr_assert_eq(tell(&d, i < 4 ? "node1" : "node2", uuid, i % 4, i == 3 ? "b80" : "a40", i == 3 ? 80 : 40, "ok"), SL_OK);
	}
	return d;
}

static struct lease lease_of(uint64_t number, uint32_t wanted, enum lease_state state)
{
	struct lease l = { .number = number, .state = state, .queue = "research", .tenant = "t", .wanted = wanted,
	                   .created_ms = now.wall_ms, .since_mono_ms = now.mono_ms };
	cr_assert(lease_init(&l));
	return l;
}

Test(device, names_stay_and_are_unique)
{
	struct devices d = six();
	cr_expect_str_eq(d.at[0].name, "node1/gpu0");
	cr_expect_str_eq(d.at[5].name, "node2/gpu1");
	cr_assert_eq(tell(&d, "node1", "OTHER", 0, "a40", 40, "ok"), SL_OK, "a second backend counts from 0 too");
	cr_expect_str_eq(d.at[6].name, "node1/gpu4");
	cr_assert_eq(tell(&d, "node1", "G0", 3, "a40", 40, "ok"), SL_OK, "other indices after a restart");
	cr_expect_str_eq(devices_find(&d, STR("G0"))->name, "node1/gpu0");
	cr_expect_eq(devices_find(&d, STR("node1/gpu3")), devices_find(&d, STR("G3")));
	cr_expect_null(devices_find(&d, STR("node1/gpu9")));
	cr_expect_null(devices_find(&d, STR("")));
	cr_expect_eq(tell(&d, "node2", "G0", 0, "a40", 40, "ok"), SL_EINVAL, "one uuid on two machines");
	cr_expect_eq(tell(&d, "node1", "", 0, "a40", 40, "ok"), SL_EINVAL);
	char longest[200];
	memset(longest, 'u', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	cr_expect_eq(tell(&d, "node1", longest, 0, "a40", 40, "ok"), SL_EINVAL);
	cr_expect_eq(d.n, 7);
	devices_free(&d);
}

Test(device, states)
{
	struct devices d = six();
	struct device *g = &d.at[0];
	cr_expect_eq(device_state(g), SL_DEVICE_FREE);
	g->lease = 7;
	cr_expect_eq(device_state(g), SL_DEVICE_GRANTED);
	devices_releasing(&d, 7);
	cr_expect_eq(device_state(g), SL_DEVICE_SCRUBBING);
	g->drain = true;
	cr_expect_eq(device_state(g), SL_DEVICE_DRAINING);
	devices_free_lease(&d, 7);
	cr_expect_eq(device_state(g), SL_DEVICE_DRAINED);
	cr_expect_not(g->releasing);
	g->drain = false;
	devices_away(&d, "node1");
	cr_expect_str_eq(device_state_name(g), "unknown");
	cr_expect_eq(device_state(g), SL_DEVICE_FAULTY, "not to be granted");
	cr_expect_eq(device_state(&d.at[4]), SL_DEVICE_FREE, "the other machine is there");
	cr_assert_eq(tell(&d, "node1", "G0", 0, "a40", 40, "faulty"), SL_OK);
	cr_expect_str_eq(device_state_name(g), "faulty");
	cr_expect_str_eq(g->reason, "Xid 79");
	cr_assert_eq(tell(&d, "node1", "G0", 0, "a40", 40, "ok"), SL_OK);
	cr_expect_str_eq(device_state_name(g), "faulty", "does not heal by itself");
	devices_free(&d);
}

Test(device, grants_are_whole_or_not_at_all)
{
	struct devices d = six();
	struct lease l = lease_of(1, 2, LEASE_QUEUED);
	static const struct { uint32_t n, at[3]; const char *what; } wrong[] = {
		{ 1, { 0 }, "too few" }, { 3, { 0, 1, 2 }, "too many" }, { 2, { 0, 0 }, "the same twice" }, { 2, { 0, 6 }, "no such" },
		{ 2, { 0, 4 }, "two machines" }, { 2, { 0, 3 }, "another kind" }, { 2, { 0, 2 }, "one is taken" }, { 0, { 0 }, "none" },
	};
	snprintf(l.kind, sizeof l.kind, "a40");
	d.at[2].lease = 9;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		sl_error error = { 0 };
		cr_expect_eq(devices_grant(&d, &l, wrong[i].at, wrong[i].n, &error), SL_ECONFLICT, "%s", wrong[i].what);
		cr_expect(error.text[0], "%s", wrong[i].what);
		cr_expect_eq(l.n_places, 0, "%s", wrong[i].what);
		for (size_t k = 0; k < d.n; k++)
			cr_expect_eq(d.at[k].lease, k == 2 ? 9 : 0, "%s", wrong[i].what);
	}
	l.memory_bytes = 41ull << 30;
	cr_expect_eq(devices_grant(&d, &l, (uint32_t[]){ 0, 1 }, 2, NULL), SL_ECONFLICT, "too little memory");
	l.memory_bytes = 40ull << 30;
	cr_expect_eq(devices_grant(&d, &l, (uint32_t[]){ 1, 0 }, 2, NULL), SL_OK);
	cr_expect_str_eq(l.places[0].name, "node1/gpu1");
	cr_expect_eq(d.at[0].lease + d.at[1].lease, 2);
	devices_free(&d);
	lease_clear(&l);
}

Test(device, rebinding_after_a_restart)
{
	struct devices d = six();
	struct lease l = lease_of(1, 2, LEASE_RUNNING);
	cr_assert_eq(devices_grant(&d, &l, (uint32_t[]){ 0, 1 }, 2, NULL), SL_OK);
	devices_free_lease(&d, 1);
	cr_expect_eq(devices_rebind(&d, &l, NULL), SL_OK);
	cr_expect_eq(devices_rebind(&d, &l, NULL), SL_OK, "twice is once");
	cr_expect_eq(d.at[0].lease, 1);
	devices_free_lease(&d, 1);
	d.at[1].lease = 5;
	cr_expect_eq(devices_rebind(&d, &l, NULL), SL_ECONFLICT);
	cr_expect_eq(d.at[0].lease, 0, "nothing was changed");
	snprintf(l.places[1].uuid, sizeof l.places[1].uuid, "GONE");
	cr_expect_eq(devices_rebind(&d, &l, NULL), SL_ENOTFOUND);
	cr_expect_eq(d.at[0].lease, 0);
	devices_free(&d);
	lease_clear(&l);
}

Test(plan, the_view)
{
	struct devices d = six();
	struct plan p = { 0 };
	struct lease over = lease_of(1, 1, LEASE_ENDED), runs = lease_of(2, 2, LEASE_QUEUED), none = lease_of(3, 0, LEASE_QUEUED),
	             waits = lease_of(4, 1, LEASE_QUEUED), orphan = lease_of(5, 1, LEASE_QUEUED),
	             asleep = lease_of(6, 1, LEASE_SUSPENDED);
	struct lease *all[] = { &over, &runs, &none, &waits, &orphan, &asleep };
	cr_assert_eq(devices_grant(&d, &runs, (uint32_t[]){ 0, 1 }, 2, NULL), SL_OK);
	runs.state = LEASE_RUNNING;
	snprintf(orphan.queue, sizeof orphan.queue, "gone");
	cr_assert(plan_build(&p, &d, queues, 2, all, 6, now));
	cr_expect_eq(p.view.n_waiting, 2);
	cr_expect_eq(p.view.n_running, 1);
	cr_expect_eq(p.view.waiting[0].number, 4);
	cr_expect_eq(p.view.running[0].number, 2);
	cr_expect_eq(p.view.n_devices, 6);
	cr_expect_eq(p.view.devices[0].lease, 2);
	cr_expect_eq(p.view.devices[0].state, SL_DEVICE_GRANTED);
	cr_expect_eq(p.view.n_suspended, 1);
	cr_expect_eq(p.view.n_machines, 2);
	cr_expect_eq(p.view.device_terms[5].machine, 1);
	cr_expect_neq(p.view.device_terms[3].kind, p.view.device_terms[2].kind);
	cr_expect_eq(p.view.device_terms[1].free_milli, 0);
	cr_expect_eq(p.view.device_terms[2].free_milli, 1000);
	cr_expect_eq(p.view.running_terms[0].n_places, 2);
	cr_expect_eq(p.view.places[p.view.running_terms[0].first_place + 1], 1);
	cr_expect_eq(p.view.queue_terms[0].nominal_milli, 2000);
	cr_expect_eq(p.view.queue_terms[1].borrowable_milli, 4000);
	cr_assert_eq(p.view.n_queues, 3, "the removed queue is there, without quota");
	cr_expect_str_eq(p.view.queues[2].name, "gone");
	cr_expect_eq(p.view.queues[2].quota, 0);
	cr_expect_eq(p.view.queues[0].used, 2);
	cr_expect_eq(p.view.waiting[1].queue, 2);
	plan_free(&p);
	devices_free(&d);
	for (size_t i = 0; i < 6; i++)
		lease_clear(all[i]);
}

static int grant(struct plan *p, uint64_t number, const uint32_t *at, uint32_t n, sl_error *error)
{
	struct lease *lease = NULL;
	sl_action a = { .type = SL_ACTION_GRANT, .lease = number, .devices = at, .n_devices = n };
	int code = plan_check(p, &a, &lease, error);
	if (code == SL_OK)
		cr_assert_eq(lease->number, number);
	return code;
}

Test(plan, invariants)
{
	struct devices d = six();
	struct plan p = { 0 };
	struct lease a = lease_of(1, 2, LEASE_QUEUED), b = lease_of(2, 2, LEASE_QUEUED), c = lease_of(3, 1, LEASE_QUEUED),
	             free_queue = lease_of(4, 1, LEASE_QUEUED), runs = lease_of(5, 1, LEASE_RUNNING);
	struct lease *all[] = { &a, &b, &c, &free_queue, &runs };
	sl_error error = { 0 };
	snprintf(free_queue.queue, sizeof free_queue.queue, "batch");
	snprintf(runs.queue, sizeof runs.queue, "batch");
	cr_assert(plan_build(&p, &d, queues, 2, all, 5, now));
	cr_expect_eq(grant(&p, 99, (uint32_t[]){ 0 }, 1, &error), SL_ENOTFOUND);
	cr_expect_eq(grant(&p, 5, (uint32_t[]){ 0 }, 1, &error), SL_ECONFLICT);
	cr_expect(strstr(error.text, "already"), "%s", error.text);
	cr_expect_eq(grant(&p, 1, NULL, 2, &error), SL_EINVAL);
	cr_assert_eq(grant(&p, 1, (uint32_t[]){ 0, 1 }, 2, &error), SL_OK);
	cr_expect_eq(grant(&p, 1, (uint32_t[]){ 4, 5 }, 2, &error), SL_ECONFLICT, "it has its devices");
	cr_expect_eq(grant(&p, 2, (uint32_t[]){ 4, 5 }, 2, &error), SL_ELIMIT, "2 of 3 are used in this very round");
	cr_expect(strstr(error.text, "quota is 3"), "%s", error.text);
	cr_expect_eq(grant(&p, 3, (uint32_t[]){ 0 }, 1, &error), SL_ECONFLICT, "not free any more");
	cr_expect_eq(grant(&p, 3, (uint32_t[]){ 2 }, 1, &error), SL_OK);
	cr_expect_eq(grant(&p, 4, (uint32_t[]){ 4 }, 1, &error), SL_OK, "another queue");
	plan_undo(&p, &a);
	cr_expect_eq(a.n_places, 0);
	cr_expect_eq(d.at[0].lease, 0);
	cr_expect_eq(grant(&p, 1, (uint32_t[]){ 0, 1 }, 2, &error), SL_OK, "as if it had not been");
	plan_free(&p);
	devices_free(&d);
	for (size_t i = 0; i < 5; i++)
		lease_clear(all[i]);
}

Test(plan, who_may_be_preempted)
{
	struct devices d = six();
	struct plan p = { 0 };
	struct lease soft = lease_of(1, 1, LEASE_RUNNING), hard = lease_of(2, 1, LEASE_RUNNING),
	             going = lease_of(3, 1, LEASE_RELEASING), waits = lease_of(4, 1, LEASE_QUEUED), *out = NULL;
	struct lease *all[] = { &soft, &hard, &going, &waits };
	static const int wanted[] = { SL_OK, SL_EDENIED, SL_ENOTFOUND, SL_ENOTFOUND, SL_ENOTFOUND };
	waits.priority = 1;
	soft.preemptible = going.preemptible = waits.preemptible = true;
	cr_assert(plan_build(&p, &d, queues, 2, all, 4, now));
	for (uint64_t i = 0; i < 5; i++) {
		sl_error error;
		sl_action a = { .type = SL_ACTION_PREEMPT, .lease = i + 1 };
		cr_expect_eq(plan_check(&p, &a, &out, &error), wanted[i], "L%d", (int) i + 1);
	}
	plan_free(&p);
	devices_free(&d);
	for (size_t i = 0; i < 4; i++)
		lease_clear(all[i]);
}

/* L1 had G0 and G1 (a40 of node1) and is suspended; L2 runs on G0, borrowed; L3 waits. */
Test(plan, a_suspended_lease_goes_on_where_it_was)
{
	struct devices d = six();
	struct plan p = { 0 };
	struct lease asleep = lease_of(1, 2, LEASE_QUEUED), runs = lease_of(2, 1, LEASE_QUEUED), *out = NULL;
	struct lease *all[] = { &asleep, &runs };
	sl_error error;
	static const struct { uint32_t type, n, at[2]; int code; } cases[] = {
		{ SL_ACTION_GRANT, 2, { 1, 2 }, SL_ENOTFOUND },   /* it does not wait */
		{ SL_ACTION_RESUME, 0, { 0, 0 }, SL_EINVAL },
		{ SL_ACTION_RESUME, 1, { 1, 1 }, SL_ECONFLICT },  /* all or nothing */
		{ SL_ACTION_RESUME, 2, { 1, 1 }, SL_ECONFLICT },
		{ SL_ACTION_RESUME, 2, { 4, 5 }, SL_ECONFLICT },  /* another machine */
		{ SL_ACTION_RESUME, 2, { 1, 3 }, SL_ECONFLICT },  /* another kind */
		{ SL_ACTION_RESUME, 2, { 0, 1 }, SL_ECONFLICT },  /* L2 is there */
		{ SL_ACTION_RESUME, 2, { 1, 900 }, SL_ECONFLICT },
		{ SL_ACTION_HOLD, 2, { 4, 5 }, SL_ECONFLICT },
		{ SL_ACTION_RESUME, 2, { 2, 1 }, SL_OK },
	};
	cr_assert_eq(devices_grant(&d, &asleep, (uint32_t[]){ 0, 1 }, 2, NULL), SL_OK);
	devices_free_lease(&d, 1);
	asleep.state = LEASE_SUSPENDED;
	asleep.parked = true;
	cr_assert_eq(devices_grant(&d, &runs, (uint32_t[]){ 0 }, 1, NULL), SL_OK);
	runs.state = LEASE_RUNNING;
	asleep.resume_after_ms = now.wall_ms + 5000;
	cr_assert(plan_build(&p, &d, queues, 2, all, 2, now));
	cr_expect_eq(p.view.n_suspended, 0, "it is left alone for a while ...");
	cr_expect_eq(p.wake_ms, now.wall_ms + 5000, "... and then looked at");
	asleep.resume_after_ms = now.wall_ms;
	cr_assert(plan_build(&p, &d, queues, 2, all, 2, now));
	cr_assert_eq(p.view.n_suspended, 1);
	cr_expect_eq(p.view.suspended_terms[0].n_places, 2, "where it was");
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		sl_action a = { .type = cases[i].type, .lease = 1, .n_devices = cases[i].n, .devices = cases[i].at };
		cr_expect_eq(plan_check(&p, &a, &out, &error), cases[i].code, "%zu: %s", i, error.text);
	}
	cr_expect_eq(d.at[1].lease, 1);
	cr_expect_eq(d.at[2].lease, 1);
	cr_expect_eq(d.at[0].lease, 2);
	plan_undo(&p, &asleep);
	cr_expect(d.at[1].lease == 0 && asleep.n_places == 2, "undone, it still knows where it was");
	plan_free(&p);
	devices_free(&d);
	lease_clear(&asleep);
	lease_clear(&runs);
}

Test(plan, what_can_never_fit)
{
	static const struct { uint32_t n; const char *kind; uint64_t gib; int queue; int code; const char *says; } cases[] = {
		{ 1, "", 0, 1, SL_OK, "" }, { 4, "", 0, 1, SL_OK, "" }, { 0, "h9", 99, 1, SL_OK, "" },
		{ 5, "", 0, 1, SL_EINVAL, "largest that could is 4, on node1" }, { 4, "a40", 0, 1, SL_EINVAL, "is 3, on node1" },
		{ 1, "a40", 41, 1, SL_EINVAL, "the largest is a40 with 40.0 GiB" }, { 1, "h9", 0, 1, SL_EINVAL, "b80 with 80.0 GiB" },
		{ 1, "", 81, 1, SL_EINVAL, "b80 with 80.0 GiB" }, { 4, "", 0, 0, SL_EINVAL, "its quota is 3" },
	};
	struct devices d = six(), nothing = { 0 };
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		sl_error error = { 0 };
		struct lease l = { .number = 1, .wanted = cases[i].n, .memory_bytes = cases[i].gib << 30 };
		snprintf(l.kind, sizeof l.kind, "%s", cases[i].kind);
		cr_expect_eq(plan_fits(&d, &queues[cases[i].queue], &l, &error), cases[i].code, "case %zu: %s", i, error.text);
		cr_expect(strstr(error.text, cases[i].says), "case %zu: %s", i, error.text);
		if (cases[i].queue == 1)
			cr_expect_eq(plan_fits(&nothing, &queues[1], &l, &error), SL_OK, "nobody knows yet, case %zu", i);
	}
	/* A device that is out of order may come back: it counts. */
	device_set_faulty(&d.at[3], "x");
	devices_away(&d, "node2");
	struct lease l = { .number = 1, .wanted = 4 };
	cr_expect_eq(plan_fits(&d, &queues[1], &l, NULL), SL_OK);
	devices_free(&d);
}

Test(plan, why_a_lease_waits)
{
	struct devices d = six(), nothing = { 0 };
	struct plan p = { 0 };
	char text[SL_ERROR_TEXT];
	struct lease runs = lease_of(1, 2, LEASE_QUEUED), waits = lease_of(2, 2, LEASE_QUEUED), big = lease_of(3, 3, LEASE_QUEUED);
	struct lease *all[] = { &runs, &waits, &big };
	cr_assert_eq(devices_grant(&d, &runs, (uint32_t[]){ 0, 1 }, 2, NULL), SL_OK);
	runs.state = LEASE_RUNNING;
	runs.started_ms = now.wall_ms;
	runs.time_ms = 3600000;
	cr_assert(plan_build(&p, &d, queues, 2, all, 3, now));
	plan_why(&p, &waits, text);
	cr_expect(strstr(text, "queue research has 2 of its 3"), "%s", text);
	snprintf(big.queue, sizeof big.queue, "batch");
	snprintf(big.kind, sizeof big.kind, "a40");
	plan_why(&p, &big, text);
	cr_expect(strstr(text, "3 a40 on one machine: 2 of 2 that suit are free"), "%s", text);
	cr_expect(strstr(text, "L1 ends by 2023-11-14T23:13:20Z"), "%s", text);
	snprintf(waits.queue, sizeof waits.queue, "batch");
	plan_why(&p, &waits, text);
	cr_expect(strstr(text, "its turn in queue batch"), "%s", text);
	cr_assert(plan_build(&p, &nothing, queues, 2, all, 3, now));
	plan_why(&p, &big, text);
	cr_expect(strstr(text, "no device is known yet"), "%s", text);
	plan_free(&p);
	devices_free(&d);
	for (size_t i = 0; i < 3; i++)
		lease_clear(all[i]);
}

Test(plan, many_leases)
{
	enum { N = 5000 };
	static struct lease leases[N], *all[N];
	struct devices d = six();
	struct plan p = { 0 };
	for (size_t i = 0; i < N; i++) {
		leases[i] = (struct lease){ .number = 2 * i + 1, .state = LEASE_QUEUED, .queue = "batch", .wanted = 1 };
		all[i] = &leases[i];
	}
	for (int round = 0; round < 3; round++)
		cr_assert(plan_build(&p, &d, queues, 2, all, N, now));
	sl_error error;
	struct lease_place place[1];
	leases[N - 1].places = place;
	cr_expect_eq(grant(&p, 2 * (N - 1) + 1, (uint32_t[]){ 0 }, 1, &error), SL_OK, "the last one is found");
	cr_expect_eq(grant(&p, 2 * (N - 1), (uint32_t[]){ 1 }, 1, &error), SL_ENOTFOUND);
	plan_free(&p);
	devices_free(&d);
}

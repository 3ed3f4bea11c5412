/* SPDX-License-Identifier: Apache-2.0 */
/* test_fifo.c - what scheduler/fifo grants, in which order, where, and what it says to those who wait. */
#include <criterion/criterion.h>
#include <sluice/scheduler.h>

#include "tests/unit/plugin/fixture.h"

enum { ROOM = 64 };

/* A pool that is put together line by line. */
struct world {
	struct plugin *p;
	const sl_scheduler_ops *ops;
	sl_view view;
	sl_view_device devices[ROOM];
	sl_view_queue queues[4];
	sl_view_lease waiting[ROOM];
	sl_action actions[ROOM];
	size_t n;
};

static void world_open(struct world *w)
{
	enum plugin_refusal refusal;
	sl_error error = { 0 };
	*w = (struct world){ .view = { .size = sizeof w->view, .now_ms = 1000000 } };
	w->p = fixture_open("plugins/scheduler/fifo", "fifo", NULL, NULL, &refusal, &error);
	if (!w->p)
		cr_skip_test("scheduler/fifo was not built, or: %s", error.text);
	w->ops = plugin_ops(w->p);
	w->view.devices = w->devices;
	w->view.queues = w->queues;
	w->view.waiting = w->waiting;
}

static sl_view_device *device(struct world *w, const char *machine, const char *kind, const char *island)
{
	sl_view_device *d = &w->devices[w->view.n_devices++];
	snprintf(d->name, sizeof d->name, "%s/gpu%zu", machine, w->view.n_devices - 1);
	snprintf(d->machine, sizeof d->machine, "%s", machine);
	snprintf(d->kind, sizeof d->kind, "%s", kind);
	snprintf(d->island, sizeof d->island, "%s", island);
	d->memory_bytes = 80ull << 30;
	return d;
}

static void queue(struct world *w, const char *name, int quota, int used, int priority)
{
	sl_view_queue *q = &w->queues[w->view.n_queues++];
	*q = (sl_view_queue){ .quota = quota, .used = used, .priority = priority };
	snprintf(q->name, sizeof q->name, "%s", name);
}

static sl_view_lease *lease(struct world *w, uint64_t number, uint32_t q, uint32_t devices, const char *kind)
{
	sl_view_lease *l = &w->waiting[w->view.n_waiting++];
	*l = (sl_view_lease){ .number = number, .queue = q, .devices = devices, .since_ms = number };
	snprintf(l->kind, sizeof l->kind, "%s", kind);
	return l;
}

/* Plans, checks what must hold of every plan, and gives the granted leases as "3 1 2". */
static const char *plan(struct world *w, size_t room)
{
	static char text[512];
	char taken[ROOM] = { 0 };
	sl_error error = { 0 };
	cr_assert_eq(w->ops->plan(plugin_self(w->p), &w->view, w->actions, room, &w->n, &error), SL_OK, "%s", error.text);
	cr_assert(w->n <= room);
	text[0] = '\0';
	for (size_t i = 0; i < w->n; i++) {
		const sl_action *a = &w->actions[i];
		cr_expect_eq(a->type, SL_ACTION_GRANT);
		cr_expect(a->reason[0], "L%d has a reason", (int) a->lease);
		for (uint32_t k = 0; k < a->n_devices; k++) {
			cr_assert(a->devices[k] < w->view.n_devices);
			cr_expect_eq(w->devices[a->devices[k]].state, SL_DEVICE_FREE, "only free devices");
			cr_expect_not(taken[a->devices[k]]++, "device %u is granted once", a->devices[k]);
			cr_expect_str_eq(w->devices[a->devices[k]].machine, w->devices[a->devices[0]].machine, "on one machine");
		}
		snprintf(text + strlen(text), sizeof text - strlen(text), "%s%d", i ? " " : "", (int) a->lease);
	}
	return text;
}

static const char *why(struct world *w, uint64_t number)
{
	static char text[SL_ERROR_TEXT];
	text[0] = '\0';
	return w->ops->explain(plugin_self(w->p), &w->view, number, text, sizeof text) == SL_OK ? text : "(not waiting)";
}

Test(fifo, order)
{
	struct world w;
	world_open(&w);
	for (int i = 0; i < 8; i++)
		device(&w, "n1", "h100", "");
	queue(&w, "low", -1, 0, 0);
	queue(&w, "high", -1, 0, 5);
	lease(&w, 1, 0, 1, "");
	lease(&w, 2, 0, 1, "")->priority = 3;
	lease(&w, 3, 1, 1, "");
	lease(&w, 4, 1, 1, "")->since_ms = 1;
	lease(&w, 5, 0, 1, "")->since_ms = 1;
	cr_expect_str_eq(plan(&w, ROOM), "4 3 2 1 5", "queue's priority, own priority, age, place");
	cr_expect_str_eq(plan(&w, 2), "4 3", "as many as there is room for");
	cr_expect_str_eq(plan(&w, 0), "");
	plugin_close(w.p, 0);
}

Test(fifo, no_backfill_behind_the_head)
{
	struct world w;
	world_open(&w);
	for (int i = 0; i < 4; i++)
		device(&w, "n1", "h100", "");
	queue(&w, "a", -1, 0, 1);
	queue(&w, "b", -1, 0, 0);
	lease(&w, 1, 0, 6, "");
	lease(&w, 2, 0, 1, "");
	lease(&w, 3, 1, 2, "");
	cr_expect_str_eq(plan(&w, ROOM), "3", "2 does not overtake 1; another queue goes on");
	cr_expect_str_eq(why(&w, 2), "waits behind an older or more urgent lease of queue a");
	cr_expect_str_eq(why(&w, 3), "(not waiting)");
	cr_expect_str_eq(why(&w, 99), "(not waiting)");
	cr_expect_str_eq(why(&w, 1), "can never start: wants 6 devices on one machine, the largest has 4 of 4 in the pool");
	plugin_close(w.p, 0);
}

Test(fifo, quota)
{
	struct world w;
	world_open(&w);
	for (int i = 0; i < 8; i++)
		device(&w, "n1", "h100", "");
	queue(&w, "a", 4, 1, 0);
	queue(&w, "none", 0, 0, 0);
	lease(&w, 1, 0, 2, "");
	lease(&w, 2, 0, 2, "");
	lease(&w, 3, 0, 1, "");
	lease(&w, 4, 1, 1, "");
	cr_expect_str_eq(plan(&w, ROOM), "1", "1 + 2 of 4 are used; 2 does not fit and 3 waits behind it");
	cr_expect_str_eq(why(&w, 2), "waits for the quota of queue a: 3 of 4 devices are in use, 2 more are wanted");
	cr_expect_str_eq(why(&w, 4), "waits for the quota of queue none: 0 of 0 devices are in use, 1 more are wanted");
	plugin_close(w.p, 0);
}

Test(fifo, kinds_memory_and_states)
{
	struct world w;
	world_open(&w);
	device(&w, "n1", "a100", "")->memory_bytes = 40ull << 30;
	device(&w, "n1", "a100", "");
	device(&w, "n1", "h100", "");
	for (uint32_t state = SL_DEVICE_HELD; state <= SL_DEVICE_DRAINED; state++)
		device(&w, "n1", "h100", "")->state = state;
	device(&w, "n1", "h100", "")->lease = 9; /* free, but promised */
	queue(&w, "a", -1, 0, 0);
	queue(&w, "b", -1, 0, 0);
	lease(&w, 1, 0, 1, "a100")->memory_bytes = 60ull << 30;
	cr_expect_str_eq(plan(&w, ROOM), "1");
	cr_expect_eq(w.actions[0].devices[0], 1, "the one with the memory");
	lease(&w, 2, 1, 3, "h100");
	cr_expect_str_eq(plan(&w, ROOM), "1");
	cr_expect_str_eq(why(&w, 2), "waits for 2 more h100: 1 are free of 9, 3 are wanted");
	lease(&w, 3, 1, 1, "mi300");
	w.waiting[2].queue = 0;
	cr_expect_str_eq(why(&w, 3), "can never start: wants 1 mi300 on one machine, the largest has 0 of 0 in the pool");
	plugin_close(w.p, 0);
}

/* All or nothing, on one machine; a fast link where there is one; the tightest place first. */
Test(fifo, places)
{
	struct world w;
	world_open(&w);
	for (int i = 0; i < 4; i++)
		device(&w, "n1", "h100", i < 2 ? "a" : "b");
	for (int i = 0; i < 3; i++)
		device(&w, "n2", "h100", i == 0 ? "" : "a");
	queue(&w, "q", -1, 0, 0);
	sl_view_lease *l = lease(&w, 1, 0, 1, "");
	cr_expect_str_eq(plan(&w, ROOM), "1");
	cr_expect(w.actions[0].devices[0] >= 4, "one device: from the machine with the smaller gap");
	l->devices = 2;
	cr_expect_str_eq(plan(&w, ROOM), "1");
	cr_expect_str_eq(w.devices[w.actions[0].devices[0]].island, w.devices[w.actions[0].devices[1]].island, "one island");
	cr_expect(w.devices[w.actions[0].devices[0]].island[0], "a real one");
	l->devices = 3;
	cr_expect_str_eq(plan(&w, ROOM), "1", "no island has three: one machine has");
	cr_expect_str_eq(w.devices[w.actions[0].devices[0]].machine, "n2");
	l->devices = 5;
	cr_expect_str_eq(plan(&w, ROOM), "", "seven are free, but not five together");
	w.devices[0].state = SL_DEVICE_GRANTED;
	l->devices = 4;
	cr_expect_str_eq(why(&w, 1), "waits for 1 more devices on one machine: 6 are free, but at most 3 together", "%s", why(&w, 1));
	plugin_close(w.p, 0);
}

/* Machines whose devices do not stand side by side, islands of the same name on two machines. */
Test(fifo, mixed_order)
{
	struct world w;
	world_open(&w);
	static const char *const places[][2] = { { "n1", "a" }, { "n2", "a" }, { "n1", "b" }, { "n2", "a" }, { "n1", "a" },
		                                 { "n2", "b" }, { "n1", "b" }, { "n1", "a" } };
	for (size_t i = 0; i < 8; i++)
		device(&w, places[i][0], "h100", places[i][1]);
	queue(&w, "q", -1, 0, 0);
	lease(&w, 1, 0, 3, "");
	lease(&w, 2, 0, 2, "");
	lease(&w, 3, 0, 2, "");
	lease(&w, 4, 0, 1, "");
	cr_expect_str_eq(plan(&w, ROOM), "1 2 3 4");
	static const char *const wanted[][2] = { { "n1", "a" }, { "n1", "b" }, { "n2", "a" }, { "n2", "b" } };
	for (size_t i = 0; i < w.n; i++)
		for (uint32_t k = 0; k < w.actions[i].n_devices; k++) {
			const sl_view_device *d = &w.devices[w.actions[i].devices[k]];
			bool same = i == 1 || i == 2 ? strcmp(d->island, w.devices[w.actions[i].devices[0]].island) == 0
			                             : strcmp(d->machine, wanted[i][0]) == 0 && strcmp(d->island, wanted[i][1]) == 0;
			cr_expect(same, "L%d: device %u on %s island %s", (int) w.actions[i].lease, w.actions[i].devices[k], d->machine,
			          d->island);
		}
	plugin_close(w.p, 0);
}

/* A view that makes no sense is survived. */
Test(fifo, strange_views)
{
	struct world w;
	world_open(&w);
	cr_expect_str_eq(plan(&w, ROOM), "", "nothing at all");
	cr_expect_str_eq(why(&w, 1), "(not waiting)");
	lease(&w, 1, 77, 1, "");
	cr_expect_str_eq(plan(&w, ROOM), "", "a queue that is not there");
	queue(&w, "q", -1, 0, 0);
	lease(&w, 2, 0, 0, "");
	lease(&w, 3, 0, UINT32_MAX, "");
	device(&w, "n1", "h100", "");
	cr_expect_str_eq(plan(&w, ROOM), "", "none, and more than there can be");
	cr_expect_str_eq(why(&w, 0), "(not waiting)");
	char tiny[4] = "xxx";
	cr_expect_eq(w.ops->explain(plugin_self(w.p), &w.view, 3, tiny, sizeof tiny), SL_OK);
	cr_expect_eq(tiny[3], '\0', "cut");
	plugin_close(w.p, 0);
}

/* The same view gives the same plan: nothing is carried over. */
Test(fifo, pure)
{
	struct world w;
	char first[512];
	world_open(&w);
	for (int i = 0; i < 16; i++)
		device(&w, i % 2 ? "n1" : "n2", "h100", "");
	queue(&w, "a", 9, 0, 0);
	queue(&w, "b", -1, 0, 0);
	for (uint64_t i = 1; i <= 20; i++)
		lease(&w, i, i % 2, 1 + (uint32_t) i % 3, "");
	snprintf(first, sizeof first, "%s", plan(&w, ROOM));
	cr_assert(first[0]);
	why(&w, 7);
	cr_expect_str_eq(plan(&w, ROOM), first);
	plugin_close(w.p, 0);
}

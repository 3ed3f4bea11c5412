/* SPDX-License-Identifier: Apache-2.0 */
/* fair.c - fair shares: queues get what they are owed, borrow the rest, and take back what is theirs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/scheduler/fair/fair.h"

static int refuse(sl_error *error, int code, const char *text)
{
	error->code = code;
	snprintf(error->text, sizeof error->text, "%s", text);
	return code;
}

struct array {
	void *at; /* of the pointer */
	size_t size;
};

static int grow(size_t *room, size_t n, const struct array *arrays, size_t count)
{
	if (n < *room)
		return 1;
	size_t more = n + n / 2 + 16;
	for (size_t i = 0; i < count; i++) {
		void **link = arrays[i].at, *memory = realloc(*link, more * arrays[i].size);
		if (!memory)
			return 0;
		*link = memory;
	}
	*room = more;
	return 1;
}

#define ARRAY(MEMBER) { &f->MEMBER, sizeof *f->MEMBER }
#define GROW(ROOM, N, ...) grow(&f->ROOM, N, (const struct array[]){ __VA_ARGS__ }, \
	sizeof((const struct array[]){ __VA_ARGS__ }) / sizeof(struct array))

static int make_room(struct fair *f, const sl_view *v)
{
	size_t machines_or_devices = v->n_devices > v->n_machines ? v->n_devices : v->n_machines;
	return GROW(turns_room, v->n_waiting + v->n_suspended, ARRAY(turns)) &&
	       GROW(sleepers_room, v->n_suspended, ARRAY(sleepers)) && GROW(queues_room, v->n_queues, ARRAY(queues), ARRAY(past)) &&
	       GROW(nodes_room, v->n_queues + v->n_cohorts + 1, ARRAY(nodes)) &&
	       GROW(devices_room, machines_or_devices + 1, ARRAY(machine_first), ARRAY(machine_devices), ARRAY(reserves),
	            ARRAY(reserved), ARRAY(runner), ARRAY(taken), ARRAY(pairs), ARRAY(machine_pairs), ARRAY(device_model),
	            ARRAY(cpu_free), ARRAY(memory_free), ARRAY(barred)) &&
	       GROW(running_room, v->n_running, ARRAY(leaving), ARRAY(promoted)) &&
	       GROW(room_chosen, 2 * v->n_devices + 1, ARRAY(chosen));
}

static void run(struct fair *f, const sl_view *view, sl_action *out, size_t room)
{
	f->view = view;
	f->out = out;
	f->room = room;
	f->n = f->n_chosen = 0;
	f->pinned = SL_NONE;
	width_setup(f);
	place_setup(f);
	serve_round(f);
}

static int fair_plan(void *self, const sl_view *view, sl_action *out, size_t room, size_t *n, sl_error *error)
{
	struct fair *f = self;
	*n = 0;
	if (!SL_VIEW_HAS(view, n_users))
		return refuse(error, SL_ENOTSUP, "scheduler fair needs a sluice of ABI 1.1 or later");
	if (!make_room(f, view))
		return refuse(error, SL_ENOMEM, "no memory to plan in");
	f->why_number = 0;
	run(f, view, out, room);
	width_remember(f);
	*n = f->n;
	return SL_OK;
}

static int fair_explain(void *self, const sl_view *view, uint64_t number, char *text, size_t room)
{
	enum { ACTIONS = 256 };
	struct fair *f = self;
	if (!number || !room || !SL_VIEW_HAS(view, n_users) || !make_room(f, view))
		return SL_ENOTFOUND;
	sl_action *unused = malloc(ACTIONS * sizeof *unused);
	if (!unused)
		return SL_ENOTFOUND;
	f->why_number = number;
	f->why = text;
	f->why_room = room;
	text[0] = '\0';
	run(f, view, unused, ACTIONS);
	f->why_number = 0;
	free(unused);
	return text[0] ? SL_OK : SL_ENOTFOUND;
}

static void fair_close(void *self)
{
	struct fair *f = self;
	if (!f)
		return;
	void *const arrays[] = { f->turns, f->sleepers, f->queues, f->nodes, f->past, f->machine_first, f->machine_devices,
	                         f->reserves, f->reserved, f->runner, f->taken, f->pairs, f->machine_pairs, f->device_model, f->cpu_free,
	                         f->memory_free, f->barred, f->leaving, f->promoted, f->chosen };
	for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
		free(arrays[i]);
	placement_free(f->placement);
	free(f);
}

static int fair_open(const sl_host *host, const sl_conf *conf, void **self, sl_error *error)
{
	struct fair *f = calloc(1, sizeof *f);
	if (!f || !(f->placement = placement_new(&(struct placement_terms) PLACEMENT_TERMS))) {
		free(f);
		return refuse(error, SL_ENOMEM, "out of memory");
	}
	f->half_life_ms = (uint64_t) host->conf_int(conf, "half_life");
	f->backfill = (uint32_t) host->conf_int(conf, "backfill");
	*self = f;
	return SL_OK;
}

static const sl_option options[] = {
	{ .name = "half_life", .type = SL_OPTION_DURATION, .default_text = "7d", .min = 60000, .max = 315360000000,
	  .help = "what a queue used counts half after so long" },
	{ .name = "backfill", .type = SL_OPTION_INT, .default_text = "1000", .min = 0, .max = 1000000,
	  .help = "leases of a queue that are looked at behind one that cannot start" },
};

static const sl_scheduler_ops ops = { .size = sizeof ops, .plan = fair_plan, .explain = fair_explain };

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_SCHEDULER),
	.name = "fair",
	.version = "1.0",
	.summary = "nominal quotas, borrowing, fair shares over time, preemption, backfill",
	.options = options,
	.n_options = sizeof options / sizeof options[0],
	.open = fair_open,
	.close = fair_close,
	.ops = &ops,
};

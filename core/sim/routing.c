/* SPDX-License-Identifier: Apache-2.0 */
/* routing.c - the loop over events. */
#include "core/sim/routing.h"

#include <math.h>
#include <stdlib.h>

#include "core/base/error.h"
#include "core/sim/events.h"
#include "core/sim/tally.h"

enum { ARRIVAL, DELIVERY, STEP_END, LOOK, DEATH, BIRTH, TYPES = 8, PROGRESS_EACH = 20000 };

struct run {
	const struct sim_routing *o;
	struct sim_events events;
	struct sim_engine *engines;
	struct sim_seen *seen;
	uint32_t *lives;         /* of each replica: how often it was born */
	uint32_t *at;            /* the replica of each request */
	struct sim_router *router;
	struct sim_tally tally;
	size_t ended, arrived;
	int64_t now_us;
	bool no_memory;
};

static void put(struct run *run, int64_t at_us, uint32_t type, uint32_t number)
{
	run->no_memory = run->no_memory || !sim_events_put(&run->events, at_us, type, number);
}

static void begin_step(struct run *run, uint32_t replica)
{
	int64_t end_us = sim_engine_begin(&run->engines[replica], run->now_us);
	if (end_us >= 0)
		put(run, end_us, STEP_END + TYPES * run->lives[replica], replica);
}

static void dispatch(struct run *run, uint32_t id)
{
	int replica = run->o->rule->kind->choose(run->router, id, run->now_us);
	if (replica < 0) {
		run->no_memory = true; /* or no replica at all, which sim_routing_run has refused */
		return;
	}
	run->at[id] = (uint32_t) replica;
	if (run->o->rule->kind->predicted)
		sim_tally_predicted(&run->tally, id, run->o->rule->kind->predicted(run->router, id), run->now_us);
	put(run, run->now_us + (int64_t) (run->engines[replica].kind->delivery * 1000), DELIVERY + TYPES * run->lives[replica], id);
}

static void lost(void *arg, uint32_t id)
{
	struct run *run = arg;
	run->o->rule->kind->done(run->router, id, run->now_us, true, 0);
	if (sim_tally_began(&run->tally, id)) { /* the client has seen a part of it */
		sim_tally_failed(&run->tally, id);
		run->ended++;
	} else {
		put(run, run->now_us, ARRIVAL, id);
		run->arrived--;
	}
}

static void deliver(struct run *run, uint32_t id, uint32_t life)
{
	const struct sim_request *q = &run->o->workload->requests[id];
	uint32_t replica = run->at[id];
	struct sim_call call = { .id = id, .pieces = q->pieces, .n_pieces = q->n_pieces, .input = q->input, .output = q->output };
	if (life != run->lives[replica]) {
		lost(run, id);
		return;
	}
	run->no_memory = run->no_memory || !sim_engine_submit(&run->engines[replica], &call, run->now_us);
	begin_step(run, replica);
}

static void on_first(void *arg, uint32_t id, int64_t now_us)
{
	struct run *run = arg;
	run->o->rule->kind->first(run->router, id, now_us);
	sim_tally_first(&run->tally, id, now_us);
}

static void on_gap(void *arg, uint32_t id, int64_t now_us, int64_t gap_us)
{
	(void) now_us;
	sim_tally_gap(&((struct run *) arg)->tally, id, gap_us);
}

static void on_end(void *arg, uint32_t id, int64_t now_us, uint32_t cached)
{
	struct run *run = arg;
	run->o->rule->kind->done(run->router, id, now_us, false, cached);
	sim_tally_end(&run->tally, id, run->at[id], now_us, cached);
	run->ended++;
}

static void look(struct run *run)
{
	for (uint32_t i = 0; i < run->o->fleet->n; i++)
		run->seen[i] = (struct sim_seen){ sim_engine_usage(&run->engines[i]), run->engines[i].n_waiting,
			run->engines[i].n_running };
	put(run, run->now_us + (int64_t) (run->o->look_ms * 1000), LOOK, 0);
}

static void die(struct run *run)
{
	uint32_t replica = run->o->killed;
	run->lives[replica]++;
	run->o->rule->kind->alive(run->router, replica, false, run->now_us);
	sim_engine_kill(&run->engines[replica], lost, run);
	put(run, run->now_us + run->o->down_us, BIRTH, replica);
}

static void happen(struct run *run, const struct sim_event *event)
{
	static const struct sim_engine_watch calls = { NULL, on_first, on_gap, on_end };
	struct sim_engine_watch watch = calls;
	uint32_t life = event->type / TYPES;
	watch.arg = run;
	run->now_us = event->at;
	switch (event->type % TYPES) {
	case ARRIVAL:
		run->arrived++;
		dispatch(run, event->job);
		break;
	case DELIVERY: deliver(run, event->job, life); break;
	case STEP_END:
		if (life != run->lives[event->job])
			break;
		sim_engine_finish(&run->engines[event->job], run->now_us, &watch);
		begin_step(run, event->job);
		break;
	case LOOK: look(run); break;
	case DEATH: die(run); break;
	case BIRTH: run->o->rule->kind->alive(run->router, event->job, true, run->now_us); break;
	}
}

static int loop(struct run *run, bool *partial, sl_error *error)
{
	const struct sim_routing *o = run->o;
	struct sim_event event;
	size_t next = 0, n = 0, all = o->workload->n;
	*partial = false;
	while (run->ended < all && !run->no_memory) {
		for (; next < all && next <= run->arrived; next++) /* one ahead */
			put(run, o->workload->requests[next].at_us, ARRIVAL, (uint32_t) next);
		if (!sim_events_next(&run->events, &event))
			return error_set(error, SL_EINTERNAL, "the simulation stands still with %zu of %zu requests done", run->ended, all);
		happen(run, &event);
		if (o->until_missed && sim_tally_missed(&run->tally)) {
			*partial = true;
			break;
		}
		if (o->progress && ++n % PROGRESS_EACH == 0 && !o->progress(o->arg, run->ended, all))
			return error_set(error, SL_EUNAVAILABLE, "stopped with %zu of %zu requests done", run->ended, all);
	}
	return run->no_memory ? error_set(error, SL_ENOMEM, "out of memory") : SL_OK;
}

static bool start(struct run *run)
{
	const struct sim_routing *o = run->o;
	uint32_t n = o->fleet->n;
	run->engines = calloc(n, sizeof *run->engines);
	run->seen = calloc(n, sizeof *run->seen);
	run->lives = calloc(n, sizeof *run->lives);
	run->at = calloc(o->workload->n + 1, sizeof *run->at);
	if (!run->engines || !run->seen || !run->lives || !run->at || !sim_tally_init(&run->tally, o))
		return false;
	for (uint32_t i = 0; i < n; i++)
		if (!sim_engine_init(&run->engines[i], &o->fleet->kinds[o->fleet->of[i]]))
			return false;
	struct sim_world *world = &run->tally.world;
	*world = (struct sim_world){ .fleet = o->fleet, .seen = run->seen, .requests = o->workload->requests,
		.n_requests = o->workload->n, .seed = o->seed };
	run->router = o->rule->kind->make(world, o->rule->variant);
	put(run, 0, LOOK, 0);
	if (o->down_us > 0)
		put(run, o->killed_us, DEATH, 0);
	return run->router && !run->no_memory;
}

static void stop(struct run *run)
{
	if (run->router)
		run->o->rule->kind->free(run->router);
	for (uint32_t i = 0; i < run->o->fleet->n && run->engines; i++)
		sim_engine_free(&run->engines[i]);
	sim_tally_free(&run->tally);
	sim_events_free(&run->events);
	free(run->engines);
	free(run->seen);
	free(run->lives);
	free(run->at);
}

/* Each request must fit into each engine: rules do not look at that. */
static int check(const struct sim_routing *o, sl_error *error)
{
	if (o->down_us > 0 && (o->killed >= o->fleet->n || o->fleet->n < 2))
		return error_set(error, SL_EINVAL, "replica %u cannot be killed: there are %u, from 0 on, and one must remain", o->killed,
		                 o->fleet->n);
	for (size_t i = 0; i < o->workload->n; i++)
		for (uint32_t k = 0; k < o->fleet->n_kinds; k++)
			if (!sim_engine_fits(&o->fleet->kinds[k], o->workload->requests[i].input, o->workload->requests[i].output))
				return error_set(error, SL_EINVAL, "a request of %u and %u tokens does not fit into the cache of %s, which has room for %u",
				                 o->workload->requests[i].input, o->workload->requests[i].output, o->fleet->kinds[k].name,
				                 o->fleet->kinds[k].kv_tokens);
	return SL_OK;
}

int sim_routing_run(const struct sim_routing *o, struct sim_result *out, sl_error *error)
{
	struct run run = { .o = o };
	bool partial = false;
	int code = check(o, error);
	if (code)
		return code;
	code = start(&run) ? loop(&run, &partial, error) : error_set(error, SL_ENOMEM, "out of memory");
	if (code == SL_OK) {
		sim_tally_result(&run.tally, out);
		out->partial = partial;
		for (uint32_t i = 0; i < o->fleet->n; i++)
			out->preempted += run.engines[i].preempted;
	}
	stop(&run);
	return code;
}

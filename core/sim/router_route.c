/* SPDX-License-Identifier: Apache-2.0 */
/* router_route.c - core/route, driven as the gateway drives it. */
#include <stdio.h>
#include <stdlib.h>

#include "core/base/str.h"
#include "core/route/route.h"
#include "core/sim/router.h"

enum { INDEX_ENTRIES = 4000000, CONCURRENCY = 1000000, BLOCK_TOKENS = PREFIX_BLOCK / SIM_BYTES_PER_TOKEN };

struct sim_router {
	const struct sim_world *world;
	int variant;
	struct route *table;
	struct route_model *model;
	struct route_replica *replicas[SIM_ENGINES_MAX];
	struct route_use *uses;   /* of each request */
};

static void router_free(struct sim_router *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->world->n_requests && r->uses; i++) {
		route_done(&r->uses[i], 0, true, NULL);
		free((void *) (uintptr_t) r->uses[i].keys);
	}
	for (uint32_t i = 0; i < r->world->fleet->n; i++)
		if (r->replicas[i])
			route_replica_remove(r->replicas[i]);
	route_free(r->table);
	free(r->uses);
	free(r);
}

static bool tune(struct sim_router *r)
{
	static const enum route_rule rules[] = { [SIM_ROUTE_COST] = ROUTE_COST, [SIM_ROUTE_LEAST] = ROUTE_LEAST_LOAD,
		[SIM_ROUTE_ROUND] = ROUTE_ROUND_ROBIN, [SIM_ROUTE_PREFIX] = ROUTE_PREFIX, [SIM_ROUTE_UNTOLD] = ROUTE_COST,
		[SIM_ROUTE_BLIND] = ROUTE_COST };
	const struct sim_fleet *f = r->world->fleet;
	struct sim_engine_kind mean;
	bool same_room = true;
	sim_fleet_mean(f, &mean);
	for (uint32_t i = 1; i < f->n; i++)
		same_room = same_room && f->kinds[f->of[i]].kv_tokens == f->kinds[f->of[0]].kv_tokens;
	/* An engine's file tells the room and a guess of the speed for all replicas of a model; where they differ, the room is
	 * learned. */
	struct route_tuning tuning = { .rule = rules[r->variant], .waiting_max = 1,
		.index_entries = r->variant == SIM_ROUTE_BLIND ? 0 : INDEX_ENTRIES, .cache_tokens = same_room ? mean.kv_tokens : 0,
		.step = { .base = mean.base, .prefill = mean.prefill, .quadratic = mean.quadratic, .sequence = mean.sequence,
		          .context = mean.context } };
	return route_model_tune(r->model, &tuning);
}

static struct sim_router *router_make(const struct sim_world *world, int variant)
{
	struct sim_router *r = calloc(1, sizeof *r);
	struct http_address address = { .len = 0 };
	if (!r)
		return NULL;
	r->world = world;
	r->variant = variant;
	r->uses = calloc(world->n_requests + 1, sizeof *r->uses);
	r->table = route_new();
	r->model = r->table ? route_model(r->table, STR("simulated"), true) : NULL;
	bool fine = r->uses && r->model && tune(r);
	for (uint32_t i = 0; fine && i < world->fleet->n; i++) {
		char name[16];
		snprintf(name, sizeof name, "%u", i);
		r->replicas[i] = route_replica_add(r->model, name, &address, NULL, "simulated", CONCURRENCY, ROUTE_STARTING, 0);
		fine = r->replicas[i] != NULL;
		if (fine)
			route_replica_set(r->replicas[i], ROUTE_READY, 0);
	}
	if (!fine) {
		router_free(r);
		return NULL;
	}
	return r;
}

static bool prepare(const struct sim_request *q, struct route_use *use)
{
	uint32_t n = q->input / BLOCK_TOKENS;
	if (n > PREFIX_PROMPT_MAX)
		n = PREFIX_PROMPT_MAX;
	uint64_t *keys = malloc((n + 1) * (sizeof *keys + 2 * sizeof(uint32_t)));
	if (!keys)
		return false;
	*use = (struct route_use){ .keys = keys, .bytes = (int64_t) q->input * SIM_BYTES_PER_TOKEN, .streamed = true };
	use->hold.entries = (uint32_t *) (keys + n + 1);
	use->hold.ages = use->hold.entries + n;
	use->n_keys = sim_chain(q->pieces, q->n_pieces - 1, SIM_BYTES_PER_TOKEN, PREFIX_BLOCK, keys, n);
	return true;
}

static int router_choose(struct sim_router *r, uint32_t id, int64_t now_us)
{
	struct route_use *use = &r->uses[id];
	struct route_replica *got = NULL;
	struct route_ask ask = { .now_us = (uint64_t) now_us, .use = use };
	if ((!use->keys && !prepare(&r->world->requests[id], use)) || route_choose(r->model, &ask, &got) != ROUTE_CHOSEN)
		return -1;
	uint32_t i = 0;
	while (r->replicas[i] != got)
		i++;
	return (int) i;
}

static void router_first(struct sim_router *r, uint32_t id, int64_t now_us)
{
	route_first(&r->uses[id], (uint64_t) now_us);
}

static void router_done(struct sim_router *r, uint32_t id, int64_t now_us, bool failed, uint32_t cached)
{
	const struct sim_request *q = &r->world->requests[id];
	struct route_use *use = &r->uses[id];
	struct route_truth truth = { .input = q->input, .cached = r->variant == SIM_ROUTE_UNTOLD ? -1 : (int64_t) cached,
		.output = q->output };
	route_done(use, (uint64_t) now_us, failed, failed ? NULL : &truth);
	if (!failed) {
		free((void *) (uintptr_t) use->keys);
		use->keys = NULL;
	}
}

static double router_predicted(const struct sim_router *r, uint32_t id)
{
	return r->uses[id].predicted_ms;
}

static void router_alive(struct sim_router *r, uint32_t replica, bool alive, int64_t now_us)
{
	route_replica_set(r->replicas[replica], alive ? ROUTE_READY : ROUTE_STARTING, (uint64_t) now_us);
}

const struct sim_router_kind sim_router_route = { router_make, router_free, router_choose, router_first, router_done,
	router_predicted, router_alive };

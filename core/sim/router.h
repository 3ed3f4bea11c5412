/* SPDX-License-Identifier: Apache-2.0 */
/* router.h - who decides which replica gets a request: sluice's own core/route, and the rules of others from what they
 * publish, to be compared with. A router sees what a real one would: prompts, its own dispatches, tokens as they come,
 * metrics as old as the last look; never the length of an answer before its end. */
#ifndef CORE_SIM_ROUTER_H
#define CORE_SIM_ROUTER_H

#include "core/sim/fleet.h"
#include "core/sim/workload.h"

enum { SIM_BYTES_PER_TOKEN = 4 };

/* A replica's metrics when they were last fetched. */
struct sim_seen {
	double usage;     /* of its KV cache, 0 to 1 */
	uint32_t waiting, running;
};

struct sim_world {
	const struct sim_fleet *fleet;
	const struct sim_seen *seen; /* of each replica; changes */
	const struct sim_request *requests;
	size_t n_requests;
	uint64_t seed;
};

struct sim_router; /* each kind's own */

struct sim_router_kind {
	/* NULL: out of memory. The world stays with the caller as long as the router lives. */
	struct sim_router *(*make)(const struct sim_world *world, int variant);
	void (*free)(struct sim_router *router);
	/* The replica for a request, by its number; -1: there is none. Also for one that was lost before. */
	int (*choose)(struct sim_router *router, uint32_t id, int64_t now_us);
	void (*first)(struct sim_router *router, uint32_t id, int64_t now_us);
	/* cached: tokens that the engine found in its cache; of one that failed nothing is told. */
	void (*done)(struct sim_router *router, uint32_t id, int64_t now_us, bool failed, uint32_t cached);
	/* Milliseconds to the first token as they were predicted at the choice; NULL: it predicts none. */
	double (*predicted)(const struct sim_router *router, uint32_t id);
	/* A replica cannot be reached any more, or is there again with an empty cache. */
	void (*alive)(struct sim_router *router, uint32_t replica, bool alive, int64_t now_us);
};
extern const struct sim_router_kind sim_router_route; /* core/route as the gateway uses it */
extern const struct sim_router_kind sim_router_peer;

struct sim_rule {
	const char *name, *summary;
	const struct sim_router_kind *kind;
	int variant; /* of the kind */
};
/* Ended by one without a name; the first is sluice's default. */
extern const struct sim_rule sim_rules[];
/* NULL: there is none of that name, error says which is near. */
const struct sim_rule *sim_rule_find(sl_str name, sl_error *error);

/* Variants of the kinds. */
enum { SIM_ROUTE_COST, SIM_ROUTE_LEAST, SIM_ROUTE_ROUND, SIM_ROUTE_PREFIX, SIM_ROUTE_UNTOLD, SIM_ROUTE_BLIND };
enum { SIM_PEER_RANDOM, SIM_PEER_TWO, SIM_PEER_CACHE_AWARE, SIM_PEER_LLM_D, SIM_PEER_LLM_D_APPROX, SIM_PEER_LLM_D_GATE,
       SIM_PEER_DYNAMO, SIM_PEER_LMETRIC, SIM_PEER_PREBLE, SIM_PEER_GREEDY };

#endif

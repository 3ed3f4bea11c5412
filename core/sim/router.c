/* SPDX-License-Identifier: Apache-2.0 */
/* router.c - the rules by name. */
#include "core/sim/router.h"

#include "core/base/error.h"
#include "core/base/str.h"

const struct sim_rule sim_rules[] = {
	{ "cost", "sluice's default: the least marginal cost for everybody", &sim_router_route, SIM_ROUTE_COST },
	{ "least-request", "sluice: the fewest requests", &sim_router_route, SIM_ROUTE_LEAST },
	{ "round-robin", "sluice: one after the other", &sim_router_route, SIM_ROUTE_ROUND },
	{ "prefix", "sluice: the longest cached prefix, then the fewest requests", &sim_router_route, SIM_ROUTE_PREFIX },
	{ "random", "any", &sim_router_peer, SIM_PEER_RANDOM },
	{ "power-of-two", "the one with fewer requests of two at random", &sim_router_peer, SIM_PEER_TWO },
	{ "cache-aware", "SGLang's gateway", &sim_router_peer, SIM_PEER_CACHE_AWARE },
	{ "llm-d", "llm-d's 3 x prefix + 2 x queue + 2 x memory, caches known by events", &sim_router_peer, SIM_PEER_LLM_D },
	{ "llm-d-approx", "the same with caches guessed from what was sent", &sim_router_peer, SIM_PEER_LLM_D_APPROX },
	{ "llm-d-gate", "llm-d behind its prefix affinity gate", &sim_router_peer, SIM_PEER_LLM_D_GATE },
	{ "dynamo", "Dynamo's linear cost", &sim_router_peer, SIM_PEER_DYNAMO },
	{ "lmetric", "Lmetric: prompt blocks x running blocks", &sim_router_peer, SIM_PEER_LMETRIC },
	{ "preble", "Preble's E2", &sim_router_peer, SIM_PEER_PREBLE },
	{ "greedy", "the soonest first token", &sim_router_peer, SIM_PEER_GREEDY },
	{ "cost-untold", "cost, with engines that do not tell cached tokens", &sim_router_route, SIM_ROUTE_UNTOLD },
	{ "cost-blind", "cost, without a prefix index", &sim_router_route, SIM_ROUTE_BLIND },
	{ NULL, NULL, NULL, 0 }
};

const struct sim_rule *sim_rule_find(sl_str name, sl_error *error)
{
	const char *names[sizeof sim_rules / sizeof sim_rules[0]] = { NULL }, *near;
	for (size_t i = 0; sim_rules[i].name; i++) {
		if (str_eq(name, str_of(sim_rules[i].name)))
			return &sim_rules[i];
		names[i] = sim_rules[i].name;
	}
	near = str_nearest(name, names);
	error_set(error, SL_EINVAL, "there is no rule '%.*s'%s%s", (int) (name.len < 40 ? name.len : 40), name.ptr,
	          near ? "; do you mean " : "", near ? near : "");
	return NULL;
}

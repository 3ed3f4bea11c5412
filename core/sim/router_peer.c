/* SPDX-License-Identifier: Apache-2.0 */
/* router_peer.c - the rules of other routers, from their published definitions and with their defaults.
 *
 * What they know of caches comes from one index with the flavour of each: a shadow of the engine's cache, which is what
 * engines' events give them at best, or a list of what was sent last. */
#include <math.h>
#include <stdlib.h>

#include "core/route/prefix.h"
#include "core/sim/router.h"

enum {
	BLOCK_TOKENS = PREFIX_BLOCK / SIM_BYTES_PER_TOKEN,
	INDEX_ENTRIES = 4000000,
	CACHE_AWARE_BYTES = 1 << 26,  /* of each worker */
	APPROX_BYTES = 256 * 64,      /* of a prompt that are looked at */
	PREBLE_WINDOW_US = 180000000
};
static const double gate_match = 0.8, gate_skipped = 0.01, gate_ms = 5000, preble_rebalance = 2;

struct node {
	bool alive;
	uint32_t requests;
	double prefill;    /* uncached prompt tokens whose first token has not come */
	double recent_ms;  /* work that was sent in Preble's window */
	uint32_t match;    /* blocks of this prompt */
};

struct use {
	struct prefix_hold hold;
	uint64_t *keys;
	uint32_t n_keys, node;
	double uncached, work_ms;
	int64_t at_us;
	bool live, waits;
};

struct sim_router {
	const struct sim_world *world;
	int variant;
	struct node *nodes;
	uint32_t n;
	struct prefix *index;
	struct use *uses;
	struct sim_random random;
	struct sim_engine_kind speed;
	uint32_t turn;
	uint32_t *sent;          /* requests in the order in which they were sent, for Preble's window */
	size_t n_sent, old;
	double mean_output, seen_tokens, hit_tokens;
};

static bool has_index(int variant)
{
	return variant != SIM_PEER_RANDOM && variant != SIM_PEER_TWO;
}

/* Holds what was sent until it is replaced, whatever became of it. */
static bool is_plain_list(int variant)
{
	return variant == SIM_PEER_CACHE_AWARE || variant == SIM_PEER_LLM_D_APPROX;
}

static void router_free(struct sim_router *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->world->n_requests && r->uses; i++)
		free(r->uses[i].keys);
	prefix_free(r->index);
	free(r->nodes);
	free(r->uses);
	free(r->sent);
	free(r);
}

static struct sim_router *router_make(const struct sim_world *world, int variant)
{
	struct sim_router *r = calloc(1, sizeof *r);
	if (!r)
		return NULL;
	*r = (struct sim_router){ .world = world, .variant = variant, .n = world->fleet->n, .random = { world->seed ^ 0x70656572 },
		.mean_output = 200 };
	sim_fleet_mean(world->fleet, &r->speed);
	r->nodes = calloc(r->n, sizeof *r->nodes);
	r->uses = calloc(world->n_requests + 1, sizeof *r->uses);
	r->sent = calloc(world->n_requests + 1, sizeof *r->sent);
	r->index = has_index(variant) ? prefix_new(INDEX_ENTRIES) : NULL;
	if (!r->nodes || !r->uses || !r->sent || (has_index(variant) && !r->index)) {
		router_free(r);
		return NULL;
	}
	for (uint32_t i = 0; i < r->n; i++) {
		r->nodes[i].alive = true;
		if (r->index)
			prefix_room(r->index, i, variant == SIM_PEER_CACHE_AWARE ? CACHE_AWARE_BYTES / PREFIX_BLOCK
			            : world->fleet->kinds[world->fleet->of[i]].kv_tokens / BLOCK_TOKENS);
	}
	return r;
}

static double prefill_ms(const struct sim_router *r, double n, double cached)
{
	return r->speed.prefill * (n - cached) + r->speed.quadratic * (n * n - cached * cached);
}

static double cached_tokens(const struct sim_router *r, uint32_t i, double input)
{
	return fmin((double) r->nodes[i].match * BLOCK_TOKENS, input - 1);
}

/* The least cost, ties by chance. -1: no replica is there. */
struct least {
	int node;
	double cost;
	uint32_t ties;
};

static void offer(struct sim_router *r, struct least *best, uint32_t i, double cost)
{
	if (best->node >= 0 && cost > best->cost)
		return;
	if (best->node < 0 || cost < best->cost)
		*best = (struct least){ (int) i, cost, 1 };
	else if (sim_random_below(&r->random, ++best->ties) == 0)
		best->node = (int) i;
}

static int least_requests(struct sim_router *r)
{
	struct least best = { .node = -1 };
	for (uint32_t i = 0; i < r->n; i++)
		if (r->nodes[i].alive)
			offer(r, &best, i, r->nodes[i].requests);
	return best.node;
}

static int any(struct sim_router *r)
{
	struct least best = { .node = -1 };
	for (uint32_t i = 0; i < r->n; i++)
		if (r->nodes[i].alive)
			offer(r, &best, i, 0);
	return best.node;
}

static int two(struct sim_router *r)
{
	int a = any(r), b = any(r);
	for (int tries = 0; tries < 8 && a == b; tries++)
		b = any(r);
	return a >= 0 && r->nodes[b].requests < r->nodes[a].requests ? b : a;
}

/* SGLang's gateway: the fewest requests when the load is uneven, else the longest match from 0.3 of the prompt on, else
 * the fewest requests. */
static int cache_aware(struct sim_router *r, double input)
{
	uint32_t most = 0, fewest = UINT32_MAX;
	struct least best = { .node = -1 };
	for (uint32_t i = 0; i < r->n; i++)
		if (r->nodes[i].alive) {
			most = r->nodes[i].requests > most ? r->nodes[i].requests : most;
			fewest = r->nodes[i].requests < fewest ? r->nodes[i].requests : fewest;
			offer(r, &best, i, -(double) r->nodes[i].match);
		}
	if (best.node < 0 || (most - fewest > 64 && most > 1.5 * fewest) || -best.cost * BLOCK_TOKENS <= 0.3 * input)
		return least_requests(r);
	return best.node;
}

/* Which replicas llm-d's affinity gate leaves: those that hold most of the prompt, unless they are far slower. */
static bool gated(struct sim_router *r, double input, bool *in)
{
	double sticky = INFINITY, other = INFINITY;
	bool any_sticky = false;
	for (uint32_t i = 0; i < r->n; i++) {
		double cached = cached_tokens(r, i, input), ms = r->nodes[i].prefill * r->speed.prefill + prefill_ms(r, input, cached);
		in[i] = r->nodes[i].match * BLOCK_TOKENS >= gate_match * input;
		if (!r->nodes[i].alive)
			continue;
		any_sticky = any_sticky || in[i];
		if (in[i])
			sticky = fmin(sticky, ms);
		else
			other = fmin(other, ms);
	}
	return any_sticky && sim_random_unit(&r->random) >= gate_skipped && !(sticky > other + gate_ms);
}

/* llm-d: 3 x prefix + 2 x queue + 2 x free memory. */
static int llm_d(struct sim_router *r, double input, bool with_gate)
{
	const struct sim_seen *seen = r->world->seen;
	uint32_t most = 0, fewest = UINT32_MAX;
	bool in[SIM_ENGINES_MAX], closed = with_gate && gated(r, input, in);
	struct least best = { .node = -1 };
	double blocks = fmax(1, r->variant == SIM_PEER_LLM_D_APPROX ? fmin(floor(input / BLOCK_TOKENS), APPROX_BYTES / PREFIX_BLOCK)
	                        : floor(input / BLOCK_TOKENS));
	for (uint32_t i = 0; i < r->n; i++)
		if (r->nodes[i].alive && (!closed || in[i])) {
			most = seen[i].waiting > most ? seen[i].waiting : most;
			fewest = seen[i].waiting < fewest ? seen[i].waiting : fewest;
		}
	for (uint32_t i = 0; i < r->n; i++)
		if (r->nodes[i].alive && (!closed || in[i])) {
			double queue = most > fewest ? (double) (most - seen[i].waiting) / (most - fewest) : 1;
			offer(r, &best, i, -(3 * r->nodes[i].match / blocks + 2 * queue + 2 * (1 - seen[i].usage)));
		}
	return best.node;
}

/* Dynamo: prompt blocks to compute, and blocks of those that run; added, or multiplied as in Lmetric. */
static int dynamo(struct sim_router *r, double input, bool product)
{
	struct least best = { .node = -1 };
	for (uint32_t i = 0; i < r->n; i++) {
		uint32_t held, pinned;
		if (!r->nodes[i].alive)
			continue;
		prefix_slot_stats(r->index, i, &held, &pinned);
		double prompt = fmax(0, r->nodes[i].prefill + input - r->nodes[i].match * BLOCK_TOKENS) / SIM_BLOCK_TOKENS;
		double running = (double) pinned * BLOCK_TOKENS / SIM_BLOCK_TOKENS;
		offer(r, &best, i, product ? prompt * (running + 1) : prompt + running + input / SIM_BLOCK_TOKENS);
	}
	return best.node;
}

/* Preble's E2: exploit what is cached when it is more than half, else the least of recent work, eviction and prompt. */
static int preble(struct sim_router *r, double input)
{
	struct least longest = { .node = -1 }, cheapest = { .node = -1 }, lightest = { .node = -1 };
	uint32_t match = 0;
	double heaviest = 0, hit_rate = r->seen_tokens > 0 ? r->hit_tokens / r->seen_tokens : 0;
	for (uint32_t i = 0; i < r->n; i++)
		if (r->nodes[i].alive && r->nodes[i].match > match)
			match = r->nodes[i].match;
	for (uint32_t i = 0; i < r->n; i++) {
		const struct node *node = &r->nodes[i];
		uint32_t held, pinned;
		if (!node->alive)
			continue;
		prefix_slot_stats(r->index, i, &held, &pinned);
		double cached = cached_tokens(r, i, input), room = prefix_room_of(r->index, i);
		double evicted = fmax(0, held + (input - cached) / BLOCK_TOKENS - room) * BLOCK_TOKENS;
		offer(r, &cheapest, i, node->recent_ms + prefill_ms(r, fmax(evicted, 1), 0) * hit_rate + prefill_ms(r, input, cached));
		offer(r, &lightest, i, node->recent_ms);
		if (node->match == match)
			offer(r, &longest, i, node->recent_ms);
		heaviest = fmax(heaviest, node->recent_ms);
	}
	if (cheapest.node < 0 || match * BLOCK_TOKENS * 2.0 <= input)
		return cheapest.node;
	bool uneven = r->nodes[longest.node].recent_ms >= heaviest && heaviest > preble_rebalance * lightest.cost && lightest.cost > 0;
	return uneven ? lightest.node : longest.node;
}

/* The soonest first token of this request, whatever it costs others. */
static int greedy(struct sim_router *r, double input)
{
	struct least best = { .node = -1 };
	for (uint32_t i = 0; i < r->n; i++)
		if (r->nodes[i].alive)
			offer(r, &best, i, r->nodes[i].prefill * r->speed.prefill + prefill_ms(r, input, cached_tokens(r, i, input)));
	return best.node;
}

static int pick(struct sim_router *r, double input)
{
	switch (r->variant) {
	case SIM_PEER_TWO: return two(r);
	case SIM_PEER_CACHE_AWARE: return cache_aware(r, input);
	case SIM_PEER_LLM_D:
	case SIM_PEER_LLM_D_APPROX: return llm_d(r, input, false);
	case SIM_PEER_LLM_D_GATE: return llm_d(r, input, true);
	case SIM_PEER_DYNAMO: return dynamo(r, input, false);
	case SIM_PEER_LMETRIC: return dynamo(r, input, true);
	case SIM_PEER_PREBLE: return preble(r, input);
	case SIM_PEER_GREEDY: return greedy(r, input);
	default: return any(r);
	}
}

static bool prepare(const struct sim_router *r, const struct sim_request *q, struct use *use)
{
	uint32_t n = r->index ? q->input / BLOCK_TOKENS : 0;
	if (r->variant == SIM_PEER_LLM_D_APPROX && n > APPROX_BYTES / PREFIX_BLOCK)
		n = APPROX_BYTES / PREFIX_BLOCK;
	if (n > PREFIX_PROMPT_MAX)
		n = PREFIX_PROMPT_MAX;
	use->keys = malloc((n + 1) * (sizeof *use->keys + 2 * sizeof(uint32_t)));
	if (!use->keys)
		return false;
	use->hold.entries = (uint32_t *) (use->keys + n + 1);
	use->hold.ages = use->hold.entries + n;
	use->n_keys = sim_chain(q->pieces, q->n_pieces - 1, SIM_BYTES_PER_TOKEN, PREFIX_BLOCK, use->keys, n);
	return true;
}

static void match(struct sim_router *r, const struct use *use)
{
	uint16_t depth[PREFIX_SLOTS_MAX];
	if (!r->index)
		return;
	prefix_match(r->index, use->keys, use->n_keys, depth, r->n);
	for (uint32_t i = 0; i < r->n; i++)
		r->nodes[i].match = depth[i];
}

static void forget_old(struct sim_router *r, int64_t now_us)
{
	for (; r->old < r->n_sent && r->uses[r->sent[r->old]].at_us < now_us - PREBLE_WINDOW_US; r->old++)
		r->nodes[r->uses[r->sent[r->old]].node].recent_ms -= r->uses[r->sent[r->old]].work_ms;
}

static void count(struct sim_router *r, struct use *use, uint32_t id, double input, int64_t now_us)
{
	struct node *node = &r->nodes[use->node];
	double cached = cached_tokens(r, use->node, input);
	use->uncached = input - cached;
	use->work_ms = prefill_ms(r, input, cached) + r->mean_output * (r->speed.sequence + r->speed.context * input);
	r->seen_tokens += input;
	r->hit_tokens += cached;
	node->requests++;
	node->prefill += use->uncached;
	if (use->at_us == 0 && r->n_sent < r->world->n_requests) { /* once, also when it is sent again */
		node->recent_ms += use->work_ms;
		r->sent[r->n_sent++] = id;
	}
	use->at_us = now_us + 1;
	use->live = use->waits = true;
}

static int router_choose(struct sim_router *r, uint32_t id, int64_t now_us)
{
	struct use *use = &r->uses[id];
	const struct sim_request *q = &r->world->requests[id];
	if (!use->keys && !prepare(r, q, use))
		return -1;
	forget_old(r, now_us);
	match(r, use);
	int node = pick(r, q->input);
	if (node < 0)
		return -1;
	use->node = (uint32_t) node;
	count(r, use, id, q->input, now_us);
	if (r->index) {
		prefix_pin(r->index, use->node, use->keys, use->n_keys, 0, &use->hold);
		if (is_plain_list(r->variant))
			prefix_release(r->index, &use->hold, 0);
	}
	return node;
}

static void router_first(struct sim_router *r, uint32_t id, int64_t now_us)
{
	struct use *use = &r->uses[id];
	(void) now_us;
	if (use->waits)
		r->nodes[use->node].prefill -= use->uncached;
	use->waits = false;
}

static void router_done(struct sim_router *r, uint32_t id, int64_t now_us, bool failed, uint32_t cached)
{
	struct use *use = &r->uses[id];
	uint32_t output = r->world->requests[id].output;
	(void) cached;
	if (!use->live)
		return;
	router_first(r, id, now_us);
	use->live = false;
	r->nodes[use->node].requests--;
	if (!failed)
		r->mean_output += 0.05 * (output - r->mean_output);
	if (r->index && !is_plain_list(r->variant))
		prefix_release(r->index, &use->hold, failed ? 0 : output / BLOCK_TOKENS);
	if (!failed) {
		free(use->keys);
		use->keys = NULL;
	}
}

static void router_alive(struct sim_router *r, uint32_t replica, bool alive, int64_t now_us)
{
	(void) now_us;
	r->nodes[replica].alive = alive;
	if (r->index && !alive)
		prefix_forget(r->index, replica);
}

const struct sim_router_kind sim_router_peer = { router_make, router_free, router_choose, router_first, router_done, NULL,
	router_alive };

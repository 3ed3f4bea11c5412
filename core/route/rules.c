/* SPDX-License-Identifier: Apache-2.0 */
/* rules.c - which replica is the best one for a request. */
#include <string.h>

#include "core/route/inner.h"

bool rules_has_room(const struct route_replica *r)
{
	return atomic_load_explicit(&r->state, memory_order_relaxed) == ROUTE_READY &&
	       atomic_load_explicit(&r->running, memory_order_relaxed) < r->concurrency;
}

bool rules_is_among(const struct route_replica *r, const unsigned *ids, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (ids[i] == r->id)
			return true;
	return false;
}

void rules_expect(const struct route_model *model, struct route_use *use)
{
	use->tokens = (double) use->bytes * model->tokens_per_byte;
	use->output = model->output;
	if (use->max_output > 0 && use->output > (double) use->max_output)
		use->output = (double) use->max_output;
}

void rules_match(const struct route_model *model, const struct route_use *use, uint16_t depth[PREFIX_SLOTS_MAX])
{
	if (model->index && use->n_keys)
		prefix_match(model->index, use->keys, use->n_keys, depth, model->slots);
	else
		memset(depth, 0, model->slots * sizeof *depth);
}

void rules_weigh(struct route_model *model, struct route_replica *r, const struct route_use *use, unsigned depth,
                 uint64_t now_us, struct cost_parts *out)
{
	struct cost_load load = { .running = atomic_load_explicit(&r->running, memory_order_relaxed), .context = r->context,
		.held = r->held, .wait_ms = use_wait_ms(r, now_us), .room = model->cache_tokens ? r->room : 0 };
	struct cost_ask ask = { .tokens = use->tokens, .output = use->output };
	cost_parts_of(&model->step, &model->speed, &r->own, &load, &ask, depth * PREFIX_BLOCK * model->tokens_per_byte, out);
}

/* Is less better? By running / concurrency, without a division. */
static bool less_loaded(const struct route_replica *a, const struct route_replica *b)
{
	int64_t a_running = atomic_load_explicit(&a->running, memory_order_relaxed);
	int64_t b_running = atomic_load_explicit(&b->running, memory_order_relaxed);
	return a_running * b->concurrency < b_running * a->concurrency;
}

/* The best one so far. */
struct best {
	struct route_replica *replica;
	struct cost_parts parts;
	double cost;
	unsigned depth;
};

static bool better(const struct route_model *model, const struct route_replica *r, const struct best *so_far, double cost,
                   unsigned depth)
{
	if (!so_far->replica)
		return true;
	switch (model->rule) {
	case ROUTE_COST: return cost < so_far->cost;
	case ROUTE_ROUND_ROBIN: return false; /* the search begins at another one each time */
	case ROUTE_PREFIX:
		if (depth != so_far->depth)
			return depth > so_far->depth;
		break;
	case ROUTE_LEAST_LOAD: break;
	}
	return less_loaded(r, so_far->replica);
}

/* One that is marked after failures is taken only when there is no other: better wait for a sound one than fail. */
struct route_replica *rules_best(struct route_model *model, uint64_t now_us, struct route_use *use,
                                 const unsigned *exclude, unsigned n_exclude)
{
	struct best best = { .replica = NULL }, marked = { .replica = NULL };
	uint16_t depth[PREFIX_SLOTS_MAX];
	uint64_t now_ms = now_us / 1000;
	bool sound = false;
	rules_expect(model, use);
	rules_match(model, use, depth);
	unsigned n = model->n_replicas, at = n ? model->turn++ % n : 0;
	for (unsigned i = 0; i < n; i++, at = at + 1 < n ? at + 1 : 0) {
		struct route_replica *r = model->replicas[at];
		__builtin_prefetch(model->replicas[at + 4 < n ? at + 4 : 0]);
		if (n_exclude && rules_is_among(r, exclude, n_exclude))
			continue;
		bool is_marked = atomic_load_explicit(&r->marked_until_ms, memory_order_relaxed) > now_ms;
		sound = sound || (!is_marked && atomic_load_explicit(&r->state, memory_order_relaxed) == ROUTE_READY);
		if (!rules_has_room(r))
			continue;
		struct best *slot = is_marked ? &marked : &best;
		struct cost_parts parts;
		rules_weigh(model, r, use, depth[r->slot], now_us, &parts);
		double cost = cost_total(&parts);
		if (better(model, r, slot, cost, depth[r->slot]))
			*slot = (struct best){ r, parts, cost, depth[r->slot] };
	}
	struct best *found = best.replica || sound ? &best : &marked;
	use->parts = found->parts;
	return found->replica;
}

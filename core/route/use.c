/* SPDX-License-Identifier: Apache-2.0 */
/* use.c - what a replica has to do, counted from dispatch to the end, and what is learned from how long it took. */
#include "core/route/inner.h"

enum {
	ROOM_TOKENS = 262144,    /* of a cache of which nothing is told */
	SWEPT_EACH = 64,         /* entries of forgotten replicas, at each dispatch */
	TOKENS_LEARNED_FROM = 8, /* an answer must be so long that its gaps teach something */
	ROOM_STEP = 32           /* the room in blocks follows the tokens when they differ by more than a part of that */
};
static const double busy_share_max = 0.3; /* of the time of an answer, that others' prompts took: too much to learn from */
static const double smooth = 0.05;        /* of means over requests */
/* Told and believed cached tokens differ by this much at least before it means something: blocks are not tokens. */
static const double slack_part = 0.3, slack_blocks = 2;

static double block_tokens(const struct route_model *model)
{
	return PREFIX_BLOCK * model->tokens_per_byte;
}

void use_set_room(struct route_replica *r)
{
	struct route_model *model = r->model;
	if (!model->index)
		return;
	double blocks = r->room / block_tokens(model);
	uint32_t want = blocks < (double) model->index_entries ? (uint32_t) blocks : model->index_entries;
	uint32_t has = prefix_room_of(model->index, r->slot);
	if (want > has + has / ROOM_STEP || want + want / ROOM_STEP < has)
		prefix_room(model->index, r->slot, want);
}

void use_tune(struct route_replica *r)
{
	struct route_model *model = r->model;
	r->room = model->cache_tokens ? (double) model->cache_tokens : ROOM_TOKENS;
	r->own = (struct cost_own){ 0 };
	use_set_room(r);
}

/* What those that run hold, as it is now. */
static void count_held(struct route_replica *r)
{
	struct route_model *model = r->model;
	r->held = model->index ? r->loose + prefix_pinned(model->index, r->slot) * block_tokens(model) : r->context;
}

static bool take_slot(struct route_model *model, unsigned *slot)
{
	for (unsigned w = 0; w < PREFIX_SLOTS_MAX / 64; w++)
		if (~model->slot_used[w]) {
			*slot = w * 64 + (unsigned) __builtin_ctzll(~model->slot_used[w]);
			model->slot_used[w] |= UINT64_C(1) << *slot % 64;
			if (*slot >= model->slots)
				model->slots = *slot + 1;
			return true;
		}
	return false;
}

static void free_slot(struct route_model *model, unsigned slot)
{
	model->slot_used[slot / 64] &= ~(UINT64_C(1) << slot % 64);
}

/* A part of what was buried is swept at each dispatch, so that no choice waits for the whole of it. */
static void sweep(struct route_model *model, unsigned most)
{
	int slot = model->index ? prefix_sweep(model->index, most) : -1;
	if (slot >= 0)
		free_slot(model, (unsigned) slot);
}

void use_enter(struct route_replica *r)
{
	while (!take_slot(r->model, &r->slot))
		sweep(r->model, UINT32_MAX); /* all that are not a replica's are buried */
}

void use_leave(struct route_replica *r)
{
	if (r->model->index)
		prefix_bury(r->model->index, r->slot);
	else
		free_slot(r->model, r->slot);
}

void use_forget(struct route_replica *r)
{
	unsigned slot;
	if (r->model->index && take_slot(r->model, &slot)) {
		use_leave(r);
		r->slot = slot;
		use_set_room(r);
	} else if (r->model->index) {
		prefix_forget(r->model->index, r->slot);
	}
	r->unknown = false;
	r->new_blocks = 0;
	count_held(r);
}

/* Integrals of what runs, up to now. */
static void pass_time(struct route_replica *r, uint64_t now_us)
{
	double ms = now_us > r->area_us ? (double) (now_us - r->area_us) / 1000 : 0;
	r->area_running += ms * atomic_load_explicit(&r->running, memory_order_relaxed);
	r->area_context += ms * r->context;
	if (r->prompts)
		r->area_prompt += ms;
	if (now_us > r->area_us)
		r->area_us = now_us;
}

static void leave_prompts(struct route_replica *r, struct route_use *use)
{
	if (!use->link)
		return;
	*use->link = use->next;
	if (use->next)
		use->next->link = use->link;
	else
		r->prompts_end = use->link;
	use->link = NULL;
	r->outstanding_ms -= use->estimate_ms;
	if (!r->prompts || r->outstanding_ms < 0)
		r->outstanding_ms = 0;
}

/* When the first of the prompts had its turn. */
static uint64_t turn_us(const struct route_replica *r)
{
	return r->progress_us > r->prompts->dispatched_us ? r->progress_us : r->prompts->dispatched_us;
}

double use_wait_ms(struct route_replica *r, uint64_t now_us)
{
	/* Of an answer that comes as a whole nobody sees when its prompt was done: it is taken to be as expected. */
	while (r->prompts && !r->prompts->streamed &&
	       (double) now_us >= (double) turn_us(r) + r->prompts->estimate_ms * 1000) {
		r->progress_us = turn_us(r) + (uint64_t) (r->prompts->estimate_ms * 1000);
		leave_prompts(r, r->prompts);
	}
	if (!r->prompts)
		return 0;
	double done = now_us > turn_us(r) ? (double) (now_us - turn_us(r)) / 1000 : 0;
	if (done > r->prompts->estimate_ms)
		done = r->prompts->estimate_ms;
	return r->outstanding_ms > done ? r->outstanding_ms - done : 0;
}

void use_begin(struct route_replica *r, struct route_use *use, uint64_t now_us)
{
	struct route_model *model = r->model;
	pass_time(r, now_us);
	use->replica = r;
	use->dispatched_us = now_us;
	use->first_us = 0;
	use->predicted_ms = cost_first_token(&use->parts);
	use->estimate_ms = use->parts.prefill;
	use->work = cost_work(&model->step, use->tokens, use->parts.cached);
	use->context = use->tokens + use->output / 2;
	r->context += use->context;
	r->outstanding_ms += use->estimate_ms;
	use->next = NULL;
	use->link = r->prompts_end;
	*r->prompts_end = use;
	r->prompts_end = &use->next;
	use->hold.live = false;
	use->hold.n = use->hold.matched = 0;
	sweep(model, SWEPT_EACH);
	use->loose = model->index && use->n_keys ? 0 : use->context;
	r->loose += use->loose;
	if (model->index && use->n_keys) {
		prefix_pin(model->index, r->slot, use->keys, use->n_keys, (uint32_t) (use->output / 2 / block_tokens(model)), &use->hold);
		r->new_blocks += use->hold.n - use->hold.matched;
		if (r->unknown && r->new_blocks >= prefix_room_of(model->index, r->slot))
			r->unknown = false; /* what it had before is evicted */
	}
	count_held(r);
	atomic_fetch_add_explicit(&r->running, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
}

static void learn_prompt(struct route_replica *r, const struct route_use *use, uint64_t now_us)
{
	uint64_t since = r->progress_us > use->dispatched_us ? r->progress_us : use->dispatched_us;
	double ms = now_us > since ? (double) (now_us - since) / 1000 : 0;
	cost_learn(&r->model->speed.prompt, &r->own.prompt, use->work, ms);
}

void use_first(struct route_use *use, uint64_t now_us)
{
	struct route_replica *r = use->replica;
	pass_time(r, now_us);
	use->first_us = now_us;
	use->area_running = r->area_running;
	use->area_context = r->area_context;
	use->area_prompt = r->area_prompt;
	if (use->link) {
		learn_prompt(r, use, now_us);
		leave_prompts(r, use);
	}
	if (now_us > r->progress_us)
		r->progress_us = now_us;
	if (r->model->index)
		prefix_computed(r->model->index, &use->hold);
}

/* The time between two tokens, over the mean load meanwhile. */
static void learn_step(struct route_replica *r, const struct route_use *use, uint64_t now_us, int64_t output)
{
	struct route_model *model = r->model;
	double ms = now_us > use->first_us ? (double) (now_us - use->first_us) / 1000 : 0;
	double prompts = r->area_prompt - use->area_prompt;
	if (!use->first_us || output < TOKENS_LEARNED_FROM || ms <= 0 || prompts > busy_share_max * ms)
		return;
	double x = (model->step.sequence * (r->area_running - use->area_running) +
	            model->step.context * (r->area_context - use->area_context)) / ms;
	cost_learn(&model->speed.step, &r->own.step, x, (ms - prompts) / (double) (output - 1));
}

/* What the engine found in its cache, against what we believed. */
static void correct(struct route_replica *r, const struct route_use *use, const struct route_truth *truth)
{
	struct route_model *model = r->model;
	struct prefix *index = model->index;
	r->tells = r->tells || truth->cached >= 0;
	/* Some leave the field out where it would be 0. */
	if (!index || !use->hold.live || use->unsure || truth->input <= 0 || !r->tells)
		return;
	double told_tokens = truth->cached > 0 ? (double) truth->cached : 0;
	double told = told_tokens / (double) truth->input * (double) use->bytes / PREFIX_BLOCK;
	double believed = use->hold.matched;
	if (told < (1 - slack_part) * believed - slack_blocks) {
		uint32_t gone = prefix_correct(index, &use->hold, (uint32_t) told), used, pinned;
		prefix_slot_stats(index, r->slot, &used, &pinned);
		/* What is believed now was there together: the room is that, or more. */
		double room = used * block_tokens(model);
		if (gone && !model->cache_tokens && room < r->room)
			r->room = room > 0.7 * r->room ? room : 0.7 * r->room;
	} else if (told > (1 + slack_part) * believed + slack_blocks && !model->cache_tokens && r->room < 4.0 * ROOM_TOKENS) {
		uint32_t used, pinned;
		prefix_slot_stats(index, r->slot, &used, &pinned);
		if (used * block_tokens(model) > 0.9 * r->room)
			r->room *= 1.02; /* we evict what it still has */
	}
}

/* For answers of which no counts will come: more than this, for so long, the engine cannot have made. */
static void learn_fastest(struct route_model *model, const struct route_use *use, uint64_t now_us, int64_t output)
{
	double ms = now_us > use->dispatched_us ? (double) (now_us - use->dispatched_us) / 1000 : 0;
	if (output >= TOKENS_LEARNED_FROM && ms > 0 && (double) output / ms > model->fastest)
		model->fastest = (double) output / ms;
}

static void learn_means(struct route_model *model, const struct route_use *use, const struct route_truth *truth)
{
	if (truth->input > 0 && use->bytes >= PREFIX_BLOCK && !use->unsure) {
		double ratio = (double) truth->input / (double) use->bytes;
		ratio = ratio < 0.01 ? 0.01 : ratio > 4 ? 4 : ratio;
		model->tokens_per_byte += smooth * (ratio - model->tokens_per_byte);
	}
	if (truth->output >= 0)
		model->output += smooth * ((double) truth->output - model->output);
}

void use_end(struct route_use *use, uint64_t now_us, bool failed, const struct route_truth *truth)
{
	struct route_replica *r = use->replica;
	struct route_model *model = r->model;
	double tail = use->bytes > 0 ? (double) (use->bytes % PREFIX_BLOCK) / PREFIX_BLOCK : 0;
	pass_time(r, now_us);
	if (truth && !failed) {
		if (!use->first_us && truth->output == 0 && use->link)
			learn_prompt(r, use, now_us); /* all of it was its prompt */
		if (!use->streamed && model->index)
			prefix_computed(model->index, &use->hold);
		learn_step(r, use, now_us, truth->output);
		learn_fastest(model, use, now_us, truth->output);
		correct(r, use, truth);
		learn_means(model, use, truth);
		if (truth->output > 0)
			tail += (double) truth->output / block_tokens(model);
	}
	leave_prompts(r, use);
	r->context -= use->context;
	r->loose -= use->loose;
	if (model->index) {
		if (atomic_load_explicit(&r->state, memory_order_relaxed) != ROUTE_GONE) /* its slot may be another's by now */
			use_set_room(r);
		prefix_release(model->index, &use->hold, (uint32_t) (tail + 0.5));
	}
	if (atomic_fetch_sub_explicit(&r->running, 1, memory_order_relaxed) == 1)
		r->context = r->loose = 0; /* no rounding stays */
	count_held(r);
	use->replica = NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* engine.c - sequences through steps. */
#include "core/sim/engine.h"

#include <math.h>
#include <stdlib.h>

struct sim_sequence {
	struct sim_sequence *next;
	struct sim_call call;
	uint32_t computed, made;  /* tokens in the cache; tokens of the answer */
	uint32_t planned;         /* computed in this step */
	uint32_t cached;          /* found when it began first */
	uint32_t n_blocks, published, n_keys;
	bool begun;
	int64_t token_us;         /* of its last token */
	uint32_t *blocks;
	uint64_t keys[];
};

bool sim_engine_init(struct sim_engine *e, const struct sim_engine_kind *kind)
{
	*e = (struct sim_engine){ .kind = kind };
	e->running_end = &e->running;
	e->waiting_end = &e->waiting;
	return sim_blocks_init(&e->blocks, kind->kv_tokens / SIM_BLOCK_TOKENS);
}

static void free_list(struct sim_sequence *s)
{
	for (struct sim_sequence *next; s; s = next) {
		next = s->next;
		free(s);
	}
}

void sim_engine_free(struct sim_engine *e)
{
	free_list(e->running);
	free_list(e->waiting);
	sim_blocks_free(&e->blocks);
	free(e->found);
	*e = (struct sim_engine){ 0 };
}

static uint32_t blocks_for(uint32_t tokens)
{
	return (tokens + SIM_BLOCK_TOKENS - 1) / SIM_BLOCK_TOKENS;
}

bool sim_engine_fits(const struct sim_engine_kind *kind, uint32_t input, uint32_t output)
{
	return blocks_for(input) + (uint64_t) blocks_for(output) + 1 <= kind->kv_tokens / SIM_BLOCK_TOKENS;
}

bool sim_engine_submit(struct sim_engine *e, const struct sim_call *call, int64_t now_us)
{
	uint32_t most = blocks_for(call->input + call->output);
	struct sim_sequence *s = calloc(1, sizeof *s + most * (sizeof(uint64_t) + sizeof(uint32_t)));
	if (!s)
		return false;
	if (most > e->room) {
		uint32_t *found = realloc(e->found, most * sizeof *found);
		if (!found) {
			free(s);
			return false;
		}
		e->found = found;
		e->room = most;
	}
	s->call = *call;
	s->blocks = (uint32_t *) (s->keys + most);
	s->n_keys = sim_chain(call->pieces, call->n_pieces, 1, SIM_BLOCK_TOKENS, s->keys, most);
	s->token_us = now_us;
	*e->waiting_end = s;
	e->waiting_end = &s->next;
	e->n_waiting++;
	return true;
}

/* What must be computed before its next token comes: the prompt and what it has made before a preemption. */
static uint32_t known(const struct sim_sequence *s)
{
	return s->call.input + s->made;
}

static bool decodes(const struct sim_sequence *s)
{
	return s->made > 0 && s->computed + 1 == known(s);
}

static bool grow(struct sim_engine *e, struct sim_sequence *s, uint32_t tokens)
{
	uint32_t want = blocks_for(tokens);
	if (want > s->n_blocks && want - s->n_blocks > e->blocks.n_free)
		return false;
	while (s->n_blocks < want)
		s->blocks[s->n_blocks++] = sim_blocks_take(&e->blocks);
	return true;
}

/* The youngest of the running goes back to the head of the queue, and what it had computed is free. */
static struct sim_sequence *preempt_last(struct sim_engine *e)
{
	struct sim_sequence **link = &e->running, *s;
	while ((*link)->next)
		link = &(*link)->next;
	s = *link;
	*link = NULL;
	e->running_end = link;
	e->n_running--;
	sim_blocks_drop(&e->blocks, s->blocks, s->n_blocks);
	s->n_blocks = s->computed = s->published = s->planned = 0;
	s->next = e->waiting;
	if (!e->waiting)
		e->waiting_end = &s->next;
	e->waiting = s;
	e->n_waiting++;
	e->preempted++;
	return s;
}

/* Plans for those that run. False: one was preempted. */
static bool plan_running(struct sim_engine *e, uint32_t *budget)
{
	bool calm = true;
	for (struct sim_sequence *s = e->running; s && *budget; ) {
		uint32_t left = known(s) - s->computed, part = left < *budget ? left : *budget;
		bool gone = false;
		while (!gone && !grow(e, s, s->computed + part)) {
			gone = preempt_last(e) == s;
			calm = false;
		}
		if (gone)
			break;
		s->planned = part;
		*budget -= part;
		s = s->next;
	}
	return calm;
}

/* Those that wait begin in their order, as long as there are blocks. */
static void plan_waiting(struct sim_engine *e, uint32_t *budget)
{
	while (e->waiting && *budget && e->n_running < e->kind->sequences) {
		struct sim_sequence *s = e->waiting;
		uint32_t whole = (known(s) - 1) / SIM_BLOCK_TOKENS, idle; /* the last token is always computed */
		uint32_t hit = sim_blocks_find(&e->blocks, s->keys, whole < s->n_keys ? whole : s->n_keys, e->found, &idle);
		uint32_t left = known(s) - hit * SIM_BLOCK_TOKENS, part = left < *budget ? left : *budget;
		if (blocks_for(hit * SIM_BLOCK_TOKENS + part) - hit + idle > e->blocks.n_free)
			return;
		for (uint32_t i = 0; i < hit; i++) {
			sim_blocks_hold(&e->blocks, e->found[i]);
			s->blocks[i] = e->found[i];
		}
		s->n_blocks = s->published = hit;
		s->computed = hit * SIM_BLOCK_TOKENS;
		if (!s->begun)
			s->cached = s->computed;
		s->begun = true;
		grow(e, s, s->computed + part);
		s->planned = part;
		*budget -= part;
		e->waiting = s->next;
		if (!e->waiting)
			e->waiting_end = &e->waiting;
		e->n_waiting--;
		s->next = NULL;
		*e->running_end = s;
		e->running_end = &s->next;
		e->n_running++;
	}
}

static double step_ms(const struct sim_engine *e)
{
	const struct sim_engine_kind *k = e->kind;
	double prompts = 0, squares = 0, n = 0, context = 0;
	for (const struct sim_sequence *s = e->running; s; s = s->next) {
		double from = s->computed, to = from + s->planned;
		if (decodes(s)) {
			n += s->planned > 0;
			context += s->planned ? from : 0;
		} else {
			prompts += s->planned;
			squares += to * to - from * from;
		}
	}
	return fmax(k->base, k->prefill * prompts + k->quadratic * squares) + k->sequence * n + k->context * context;
}

int64_t sim_engine_begin(struct sim_engine *e, int64_t now_us)
{
	uint32_t budget = e->kind->step_tokens;
	if (e->in_step || (!e->running && !e->waiting))
		return -1;
	if (plan_running(e, &budget))
		plan_waiting(e, &budget);
	e->in_step = true;
	e->steps++;
	return now_us + (int64_t) (step_ms(e) * 1000 + 0.5);
}

/* A sequence after the step. True: it has ended. */
static bool advance(struct sim_engine *e, struct sim_sequence *s, int64_t now_us, const struct sim_engine_watch *w)
{
	s->computed += s->planned;
	s->planned = 0;
	for (; s->published < s->n_keys && (s->published + 1) * SIM_BLOCK_TOKENS <= s->computed; s->published++)
		sim_blocks_publish(&e->blocks, s->blocks[s->published], s->keys[s->published]);
	if (s->computed < known(s))
		return false;
	s->made++;
	if (s->made == 1)
		w->first(w->arg, s->call.id, now_us);
	else
		w->gap(w->arg, s->call.id, now_us, now_us - s->token_us);
	s->token_us = now_us;
	return s->made >= s->call.output;
}

void sim_engine_finish(struct sim_engine *e, int64_t now_us, const struct sim_engine_watch *w)
{
	struct sim_sequence **link = &e->running;
	e->in_step = false;
	while (*link) {
		struct sim_sequence *s = *link;
		if (!s->planned || !advance(e, s, now_us, w)) {
			link = &s->next;
			continue;
		}
		*link = s->next;
		e->n_running--;
		sim_blocks_drop(&e->blocks, s->blocks, s->n_blocks);
		w->end(w->arg, s->call.id, now_us, s->cached);
		free(s);
	}
	e->running_end = link;
}

void sim_engine_kill(struct sim_engine *e, void (*lost)(void *arg, uint32_t id), void *arg)
{
	struct sim_sequence *lists[] = { e->running, e->waiting };
	e->running = e->waiting = NULL;
	e->running_end = &e->running;
	e->waiting_end = &e->waiting;
	e->n_running = e->n_waiting = 0;
	e->in_step = false;
	sim_blocks_clear(&e->blocks);
	for (int i = 0; i < 2; i++) {
		for (const struct sim_sequence *s = lists[i]; s; s = s->next)
			lost(arg, s->call.id);
		free_list(lists[i]);
	}
}

double sim_engine_usage(const struct sim_engine *e)
{
	return 1 - (double) e->blocks.n_free / (double) e->blocks.n;
}

double sim_engine_alone(const struct sim_engine_kind *k, uint32_t input)
{
	double n = input, steps = ceil(n / k->step_tokens), work = k->prefill * n + k->quadratic * n * n;
	return k->delivery + fmax(steps * k->base, work);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* routing.c - what routing needs to know of a request, and what it learns from its answer. */
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/gateway/worker.h"

static const uint64_t error_bounds[] = { 10, 20, 50, 100, 150, 200, 300, 500, 1000, 2000, 5000, 10000, 0 };

static struct routing_metrics *metrics_of(struct request *r)
{
	uintptr_t at = (uintptr_t) r->route_model;
	struct routing_metrics *m = &r->worker->routing[(at >> 6 ^ at >> 14) % ROUTING_CACHE];
	if (m->model == r->route_model)
		return m;
	static const char tokens[] = "sluice_prefix_tokens_total";
	static const char help[] = "Prompt tokens of answered requests: all, those believed cached when the replica was chosen, those "
	                           "that the engine told as cached.";
	const char *model = r->model->name;
	m->model = r->route_model;
	m->prompt = metrics_counter(tokens, help, "model,source", model, "prompt");
	m->predicted = metrics_counter(tokens, help, "model,source", model, "predicted");
	m->told = metrics_counter(tokens, help, "model,source", model, "told");
	m->error = metrics_histogram("sluice_first_token_prediction_error_ratio",
	                             "How far the predicted time from dispatch to the first token was off, as a part of the true time.",
	                             error_bounds, 1000, "model", model);
	return m;
}

/* The keys of the prompt's blocks. Without memory for them the request goes on without. */
static void hash_prompt(struct request *r)
{
	const struct body *b = &r->body;
	const char *prompt = request_text(r) + b->prompt.start, *tools = request_text(r) + b->tools.start;
	const char *preface = request_text(r) + b->preface.start;
	size_t len = b->prompt.end - b->prompt.start, before = b->preface.end - b->preface.start;
	size_t n = before / PREFIX_BLOCK + len / PREFIX_BLOCK;
	if (n > PREFIX_PROMPT_MAX)
		n = PREFIX_PROMPT_MAX;
	struct route_use *use = &r->use;
	uint64_t *keys = n ? malloc(n * (sizeof *keys + 2 * sizeof(uint32_t))) : NULL;
	if (!keys)
		return;
	uint64_t start = prefix_start(STR(""), (sl_str){ tools, b->tools.end - b->tools.start });
	r->prompt_keys = keys;
	use->keys = keys;
	use->hold.entries = (uint32_t *) (keys + n);
	use->hold.ages = use->hold.entries + n;
	if (before) { /* read first: its blocks, then what is left of it, are where the prompt's chain begins */
		use->n_keys = prefix_chain(start, preface, before, keys, (unsigned) n);
		uint64_t last = use->n_keys ? keys[use->n_keys - 1] : start;
		size_t rest = before % PREFIX_BLOCK;
		start = prefix_start((sl_str){ (const char *) &last, sizeof last }, (sl_str){ preface + before - rest, rest });
	}
	use->n_keys += prefix_chain(start, prompt, len, keys + use->n_keys, (unsigned) n - use->n_keys);
}

void routing_prepare(struct request *r)
{
	const struct conf_model *m = r->model;
	struct route_use *use = &r->use;
	bool knows_prefixes = m->route == CONF_ROUTE_COST || m->route == CONF_ROUTE_PREFIX;
	use->bytes = r->spoken == BODY_COUNT_TOKENS ? 0 : r->body.prompt_bytes; /* which no model reads */
	use->max_output = r->max_output;
	use->streamed = r->streaming;
	use->unsure = r->body.media_parts > 0;
	if (knows_prefixes && m->index_blocks > 0 && doors[r->spoken].generates)
		hash_prompt(r);
}

void routing_first(struct request *r)
{
	struct route_use *use = &r->use;
	if (!use->replica)
		return;
	uint64_t now_us = uv_hrtime() / 1000;
	double took_ms = (double) (now_us - use->dispatched_us) / 1000, off = took_ms - use->predicted_ms;
	if (took_ms > 0)
		metrics_observe(metrics_of(r)->error, (uint64_t) ((off < 0 ? -off : off) / took_ms * 1000));
	route_first(use, now_us);
}

/* What was believed and what is told, where both are there to be compared. */
static void count_prefix(struct request *r)
{
	struct routing_metrics *m = metrics_of(r);
	if (r->usage.input <= 0 || !doors[r->spoken].generates)
		return;
	double part = r->use.tokens > 0 ? r->use.parts.cached / r->use.tokens : 0;
	metrics_add(m->prompt, (uint64_t) r->usage.input);
	metrics_add(m->predicted, (uint64_t) (part * (double) r->usage.input));
	if (r->usage.cached > 0)
		metrics_add(m->told, (uint64_t) (r->usage.cached < r->usage.input ? r->usage.cached : r->usage.input));
}

void routing_done(struct request *r, bool failed)
{
	if (!r->use.replica)
		return;
	struct route_truth truth = { .input = r->usage.input, .cached = r->usage.cached, .output = r->usage.output };
	if (truth.output < 0)
		truth.output = !doors[r->spoken].generates ? 0 : r->sse ? r->events : -1;
	if (r->complete)
		count_prefix(r);
	route_done(&r->use, uv_hrtime() / 1000, failed, r->complete ? &truth : NULL);
}

void routing_free(struct request *r)
{
	free(r->prompt_keys);
	r->prompt_keys = NULL;
}

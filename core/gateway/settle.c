/* SPDX-License-Identifier: Apache-2.0 */
/* settle.c - the truth replaces the reservation, goes into the ledger, and only then does the client see the end. */
#include <string.h>

#include "core/base/hash.h"
#include "core/base/log.h"
#include "core/base/money.h"
#include "core/base/str.h"
#include "core/gateway/worker.h"

enum {
	COPY_MAX = 2048,       /* a body so small is copied behind its head: cheaper than a second span */
	STOPS_AFTER_MS = 1000, /* an engine has noticed by then that its client has gone */
	FASTER_BY = 2          /* than the fastest answer that was seen, one may be */
};

static const uint64_t seconds_bounds[] = { 10000, 20000, 40000, 80000, 160000, 320000, 640000, 1280000, 2560000, 5120000,
	10240000, 20480000, 40960000, 81920000, 0 };

/* The engine was asked for so many tokens and no more. */
static int64_t within_bound(const struct request *r, int64_t output)
{
	return r->bound_output > 0 && output > r->bound_output ? r->bound_output : output;
}

/* What the engine has made of an answer in so long, at most. */
static int64_t made_in(const struct request *r, double ms, double unknown)
{
	double fastest = route_fastest(r->route_model);
	double made = fastest > 0 ? fastest * ms : unknown;
	return made < (double) r->bound_output ? (int64_t) made : r->bound_output;
}

/* The client has gone before anything of an answer came: it was worked on all the same, and nobody will say how much. */
static bool left_early(const struct request *r)
{
	return r->flags & SL_USAGE_CLIENT_CLOSED && r->sent && !r->head_sent && r->status != 200 && r->route_model && r->use.dispatched_us;
}

static double worked_ms(const struct request *r)
{
	return (double) uv_hrtime() / 1e6 - (double) r->use.dispatched_us / 1e3;
}

/* Limits are charged with what may have been made at most, until the engine has seen that nobody listens. */
static int64_t most_made(const struct request *r)
{
	double ms = r->streaming ? STOPS_AFTER_MS : worked_ms(r) + STOPS_AFTER_MS;
	return made_in(r, FASTER_BY * ms, (double) r->bound_output);
}

/* Of several answers this engine counts one: the others may be as long. */
static void count_all(struct request *r)
{
	struct body_usage *u = &r->usage;
	if (!r->engine || !r->engine->usage_of_one || r->answers < 2)
		return;
	if (u->output >= 0 && __builtin_mul_overflow(u->output, r->answers, &u->output))
		u->output = r->bound_output;
	u->output = within_bound(r, u->output);
	if (r->body.prompts > 1 && u->input >= 0) {
		if (__builtin_mul_overflow(u->input, r->body.prompts, &u->input) || u->input > r->body.prompt_bytes)
			u->input = r->body.prompt_bytes;
	}
	r->flags |= SL_USAGE_ESTIMATED;
}

/* Counts that the engine did not give are ours, and marked. */
static void complete_usage(struct request *r)
{
	struct body_usage *u = &r->usage;
	bool answered = r->head_sent || r->status == 200, early = left_early(r), generates = doors[r->spoken].generates;
	count_all(r);
	if (answered || early) {
		if (u->input < 0) {
			u->input = (r->body.prompt_bytes + 3) / 4;
			r->flags |= SL_USAGE_ESTIMATED;
		}
		if (u->output < 0) {
			u->output = !generates ? 0 : r->sse || (early && r->streaming) ? r->events
			            : early ? made_in(r, worked_ms(r), 0) : within_bound(r, (int64_t) (r->answer_bytes + 3) / 4);
			if (generates)
				r->flags |= SL_USAGE_ESTIMATED;
		}
	}
	if (u->input < 0)
		u->input = 0;
	if (u->output < 0)
		u->output = 0;
	if (u->cached < 0)
		u->cached = 0;
	if (u->cached > u->input) {
		u->cached = u->input;
		r->flags |= SL_USAGE_CLAMPED;
	}
}

static int64_t cost_of(const struct request *r, int64_t output)
{
	const struct conf_price *p = &r->model->price;
	int64_t parts[3] = { quota_cost(r->usage.input - r->usage.cached, p->input), quota_cost(r->usage.cached, p->cached),
		quota_cost(output, p->output) };
	int64_t sum = 0;
	for (int i = 0; i < 3; i++)
		if (__builtin_add_overflow(sum, parts[i], &sum))
			return INT64_MAX;
	return sum;
}

static void count(struct request *r, uint64_t duration_us, uint64_t ttft_us)
{
	struct worker *w = r->worker;
	char status[8];
	char *digit = status + sizeof status - 1;
	*digit = '\0';
	for (unsigned value = r->status; value; value /= 10)
		*--digit = (char) ('0' + value % 10);
	const char *model = r->model ? r->model->name : "none", *tenant = r->identity.tenant;
	uint64_t hash = (hash_str(str_of(model)) ^ hash_str(str_of(tenant)) * 31) * 1000003u + r->status;
	struct request_metrics *m = &w->metrics[hash % METRICS_CACHE];
	if (m->hash != hash || !m->requests) {
		m->hash = hash;
		m->requests = metrics_counter("sluice_requests_total", "Requests to the inference door.", "model,tenant,status", model,
		                              tenant, digit);
		m->input = metrics_counter("sluice_tokens_total", "Tokens that were billed.", "model,tenant,type", model, tenant, "input");
		m->cached = metrics_counter("sluice_tokens_total", "Tokens that were billed.", "model,tenant,type", model, tenant, "cached");
		m->output = metrics_counter("sluice_tokens_total", "Tokens that were billed.", "model,tenant,type", model, tenant, "output");
		m->duration = metrics_histogram("sluice_request_duration_seconds", "From the first byte of a request to its end.",
		                                seconds_bounds, 1e6, "model", model);
		m->first_byte = metrics_histogram("sluice_time_to_first_token_seconds", "From a request to the first byte of its answer.",
		                                  seconds_bounds, 1e6, "model", model);
		m->wait = metrics_histogram("sluice_queue_wait_seconds", "Time that a request waited for a replica.", seconds_bounds, 1e6,
		                            "model", model);
	}
	metrics_add(m->requests, 1);
	metrics_observe(m->duration, duration_us);
	if (!r->sent)
		return;
	metrics_add(m->input, (uint64_t) r->usage.input);
	metrics_add(m->cached, (uint64_t) r->usage.cached);
	metrics_add(m->output, (uint64_t) r->usage.output);
	metrics_observe(m->wait, r->wait_ns / 1000);
	if (ttft_us)
		metrics_observe(m->first_byte, ttft_us);
}

static void record(struct request *r, uint64_t duration_us, uint64_t ttft_us)
{
	sl_usage u = { .started_ms = r->started_ms, .duration_us = duration_us, .ttft_us = ttft_us, .wait_us = r->wait_ns / 1000,
		.input_tokens = r->usage.input, .cached_tokens = r->usage.cached, .output_tokens = r->usage.output, .cost = r->cost,
		.flags = r->flags, .status = r->status, .tries = (uint16_t) r->n_tried };
	memcpy(u.request_id, r->id, sizeof u.request_id);
	memcpy(u.tenant, r->identity.tenant, sizeof u.tenant);
	memcpy(u.user, r->identity.user, sizeof u.user);
	memcpy(u.key, r->identity.key, sizeof u.key);
	memcpy(u.model, r->model_name, sizeof u.model);
	memcpy(u.replica, r->replica_name, sizeof u.replica);
	strcpy(u.door, doors[r->door].name);
	r->seq = ledger_append(r->worker->gateway->options.ledger, SL_RECORD_USAGE, (sl_str){ NULL, 0 }, &u, sizeof u);
}

void settle_count(struct request *r)
{
	if (r->counted || !r->sent)
		return;
	r->counted = true;
	complete_usage(r);
	r->cost = cost_of(r, r->usage.output);
}

/* What is used of a limit has come to its `warn` by this request: rare, so the limits are found anew. */
static void warn(struct request *r)
{
	struct policy_admission *a = &r->worker->admission;
	struct policy_request request = { .identity = &r->identity, .tier = r->tier, .model = r->model, .model_name = str_of(r->model_name) };
	policy_default_admit(&request, a);
	for (unsigned i = 0; i < QUOTA_LIMITS_MAX; i++) {
		if (!(r->reservation.warned & 1u << i))
			continue;
		const struct quota_limit *l = a->limits, *end = l + a->n_limits;
		while (l < end && (l->metric != r->reservation.part[i].metric || l->warn != r->reservation.part[i].warn))
			l++;
		if (l == end)
			continue;
		log_warn("limit '%s' of %s: %d%% of it are used, by request %s", l->name, l->scope,
		         (int) ((money_amount) l->warn * 100 / l->amount), r->id);
		metrics_add(metrics_counter("sluice_limit_warnings_total", "Times that use has come to the warn of a limit.", "limit",
		                            l->name), 1);
	}
}

void settle_request(struct request *r)
{
	struct worker *w = r->worker;
	if (r->settled)
		return;
	r->settled = true;
	uint64_t now = r->whole.ptr ? r->first_byte_ns : uv_hrtime(); /* all in one piece: a moment ago */
	uint64_t duration_us = (now - r->started_ns) / 1000;
	uint64_t ttft_us = r->first_byte_ns ? (r->first_byte_ns - r->started_ns) / 1000 : 0;
	if (r->streaming)
		r->flags |= SL_USAGE_STREAM;
	settle_count(r);
	if (r->sent)
		record(r, duration_us, ttft_us);
	if (r->reserved) {
		struct quota_use used = { .requests = r->sent };
		if (r->sent) {
			used.input_tokens = r->usage.input;
			used.output_tokens = r->usage.output;
			used.cost = r->cost;
		}
		if (left_early(r) && doors[r->spoken].generates && most_made(r) > used.output_tokens) {
			used.output_tokens = most_made(r);
			used.cost = cost_of(r, used.output_tokens);
		}
		struct quota_now at = { .mono_ms = w->now_ms, .wall_ms = r->started_ms + duration_us / 1000 };
		quota_settle(w->gateway->options.quota, at, &r->reservation, &used);
		if (r->reservation.warned)
			warn(r);
	}
	worker_count(&w->n_requests, 1);
	if (r->status >= 500)
		worker_count(&w->n_errors, 1);
	/* Each request earns a part of a retry, up to a small burst. */
	w->retry_tokens += r->generation->conf->retry_ratio;
	if (w->retry_tokens > 3 + r->generation->conf->retry_ratio * 100)
		w->retry_tokens = 3 + r->generation->conf->retry_ratio * 100;
	count(r, duration_us, ttft_us);
	if (r->generation->conf->log_requests)
		request_log(r, duration_us, r->cost);
}

/* Small answers go out at the end of the batch, in one piece each, so that whoever waits for many of them is not woken
 * for each. A large one goes out now, from where it lies. */
static void send_end(struct client *c, sl_str head, sl_str body)
{
	bool small = body.len <= COPY_MAX && head.len <= SOCKET_BATCH_MAX;
	char *copy = small ? worker_alloc(c->socket.worker, head.len + body.len) : NULL;
	if (!copy) {
		socket_send(&c->socket, head.ptr, head.len);
		socket_send(&c->socket, body.ptr, body.len);
		socket_flush(&c->socket);
		return;
	}
	if (head.len)
		memcpy(copy, head.ptr, head.len);
	if (body.len)
		memcpy(copy + head.len, body.ptr, body.len);
	socket_send(&c->socket, copy, head.len + body.len);
}

/* head and body: the end of the answer, which is not needed any more afterwards. */
static void finish(struct request *r, sl_str head, sl_str body)
{
	struct client *c = r->client;
	r->stage = REQUEST_OVER;
	if (!c) {
		request_free(r);
		return;
	}
	if (r->hold.failed)
		socket_break(&c->socket);
	else
		send_end(c, head, body);
	request_free(r);
	client_next(c);
}

void settle_finish(struct request *r)
{
	finish(r, buf_str(&r->hold), (sl_str){ NULL, 0 });
}

/* The record could not be taken: the answer must not look complete. */
static void end_unrecorded(struct request *r)
{
	static const char text[] = "The ledger took no record of this answer, so it ends here. Try again later.";
	if (!r->head_sent) {
		struct answer_error e = { .status = 503, .type = "server_error", .code = "store_full", .message = text, .retry_ms = 5000 };
		answer_error(r->client, r, &e);
		return;
	}
	r->client->keep_alive = false;
	buf_clear(&r->hold);
	if (r->sse && !r->client->http10) {
		struct buf event = { 0 };
		answer_event(&event, r, "store_full", text);
		buf_printf(&r->hold, "%zx\r\n", event.len);
		buf_put(&r->hold, event.data, event.len);
		buf_puts(&r->hold, "\r\n0\r\n\r\n");
		buf_free(&event);
	}
	settle_finish(r);
}

void settle_and_finish(struct request *r, sl_str head, sl_str body)
{
	struct worker *w = r->worker;
	settle_request(r);
	if (r->sent && !r->seq && r->client) {
		end_unrecorded(r);
		return;
	}
	if (!r->generation->conf->durable || r->seq <= atomic_load(&w->gateway->committed)) {
		finish(r, head, body);
		return;
	}
	if (head.ptr != r->hold.data) {
		buf_clear(&r->hold);
		buf_put(&r->hold, head.ptr, head.len);
	}
	buf_put(&r->hold, body.ptr, body.len);
	r->stage = REQUEST_HELD;
	r->next_held = NULL;
	*w->held_last = r;
	w->held_last = &r->next_held;
	worker_count(&w->n_held, 1);
	/* The ledger's thread stores `committed`, then reads `holding`; we do it the other way round: one of us sees. */
	atomic_store(&w->holding, true);
	if (r->seq <= atomic_load(&w->gateway->committed))
		settle_release_held(w, r->seq);
}

void settle_release_held(struct worker *w, uint64_t committed)
{
	while (w->held_first && w->held_first->seq <= committed) {
		struct request *r = w->held_first;
		w->held_first = r->next_held;
		if (!w->held_first)
			w->held_last = &w->held_first;
		worker_count(&w->n_held, -1);
		settle_finish(r);
	}
	if (!w->held_first)
		atomic_store(&w->holding, false);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* dispatch.c - gets a replica for a request: at once, after waiting for one, or another one after a failure. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/str.h"
#include "core/gateway/worker.h"

static const char retries_help[] = "Requests sent to another replica, by the reason.";
static const char unreachable[] = "The model's server cannot be reached.";

static bool send_to(struct request *r, struct route_replica *replica)
{
	r->replica = replica;
	str_copy(r->replica_name, sizeof r->replica_name, str_of(replica->name));
	if (r->n_tried < ROUTE_EXCLUDE_MAX)
		r->tried[r->n_tried++] = replica->id;
	r->stage = REQUEST_SENT;
	r->sent = true;
	errno = 0;
	return upstream_send(r, false);
}

/* Nobody is behind its replica's address: what was not sent is no try. False: the replica is not one that sluice looks
 * after, or the fault may be ours. */
static bool nobody_there(struct request *r)
{
	if ((errno != ECONNREFUSED && errno != ENOENT && errno != ECONNRESET) || !route_replica_doubt(r->replica))
		return false;
	r->n_tried--;
	dispatch_done(r, true);
	return true;
}

static void answer_unavailable(struct request *r)
{
	const struct gateway_options *options = &r->worker->gateway->options;
	char why[SL_ERROR_TEXT] = "", text[SL_ERROR_TEXT];
	uint64_t retry_ms = 2000;
	if (options->trouble)
		options->trouble(options->arg, str_of(r->model->name), why, sizeof why, &retry_ms);
	snprintf(text, sizeof text, "No server for the model %s is available now. %.150s", r->model->name, why);
	struct answer_error e = { .status = 503, .type = "server_error", .code = "model_unavailable", .message = text,
		.retry_ms = retry_ms };
	answer_error(r->client, r, &e);
}

/* The waiter was woken: on this worker's thread now. */
static void on_wake_mail(struct mail *mail)
{
	struct request *r = (struct request *) (void *) ((char *) mail - offsetof(struct request, wake_mail));
	struct route_replica *replica = r->waiter.replica;
	worker_event(r->worker);
	r->waiter_live = false;
	if (r->free_later || r->stage != REQUEST_WAIT) {
		/* Answered or gone while the message was on its way: the place goes to the next one. */
		if (replica)
			routing_done(r, false);
		if (r->free_later)
			request_free(r);
		return;
	}
	r->wait_ns += uv_hrtime() - r->queued_ns;
	socket_expire(&r->client->socket, 0);
	if (!replica)
		answer_unavailable(r);
	else if (!send_to(r, replica) && !(nobody_there(r) && dispatch_again(r)))
		dispatch_failed(r, "upstream_unreachable", unreachable, true);
}

/* Any thread, under the model's lock. */
static void on_wake(struct route_waiter *waiter)
{
	struct request *r = (struct request *) (void *) ((char *) waiter - offsetof(struct request, waiter));
	r->wake_mail.run = on_wake_mail;
	mailbox_post(&r->worker->mailbox, &r->wake_mail);
}

static void collect(void *arg, const struct route_replica *replica)
{
	struct {
		struct policy_replica list[64];
		char names[64][SL_NAME_MAX];
		size_t n;
	} *found = arg;
	if (found->n == 64)
		return;
	static const char *const states[] = { "starting", "ready", "draining", "gone" };
	strcpy(found->names[found->n], replica->name);
	found->list[found->n] = (struct policy_replica){ .name = found->names[found->n],
		.state = states[atomic_load(&replica->state) & 3], .running = atomic_load(&replica->running),
		.concurrency = replica->concurrency };
	found->n++;
}

/* The policy's route(). Fills names of replicas, best first. False: answered. */
static bool ask_route(struct request *r, char names[POLICY_REPLICAS_MAX][SL_NAME_MAX], unsigned *n)
{
	struct policy *policy = r->generation->policy;
	*n = 0;
	if (!policy_has_route(policy))
		return true;
	struct {
		struct policy_replica list[64];
		char names[64][SL_NAME_MAX];
		size_t n;
	} found = { .n = 0 };
	route_each(r->route_model, collect, &found);
	struct policy_request request = { .identity = &r->identity, .tier = r->tier, .model = r->model,
		.model_name = str_of(r->model_name), .peer = str_of(r->client->peer), .stream = r->body.stream,
		.door = str_of(doors[r->door].name), .prompt_bytes = r->body.prompt_bytes, .max_output = r->max_output, .n = r->body.n,
		.prompts = r->body.prompts, .wall_ms = r->started_ms };
	request.prompt_tokens = (request.prompt_bytes + 3) / 4;
	struct policy_routing routing;
	sl_error error;
	if (policy_route(policy, &request, found.list, found.n, &routing, &error) != SL_OK) {
		if (r->generation->conf->policy_fail_open)
			return true;
		struct answer_error e = { .status = 500, .type = "server_error", .code = "policy_error",
			.message = "The site's policy failed on this request. The operator's log says where.", .no_retry = true };
		answer_error(r->client, r, &e);
		return false;
	}
	if (routing.verdict == POLICY_DENY) {
		struct answer_error e = { .status = routing.denial.status, .type = "invalid_request_error",
			.code = routing.denial.code, .message = routing.denial.message, .no_retry = true };
		answer_error(r->client, r, &e);
		return false;
	}
	const struct conf_model *other = routing.model[0] ? conf_model(r->generation->conf, str_of(routing.model)) : NULL;
	if (other) {
		r->model = other;
		r->engine = conf_engine(r->generation->conf, str_of(other->engine));
		r->route_model = worker_route(r->worker, r->generation, other);
		return true;
	}
	for (; *n < routing.n_order; (*n)++)
		strcpy(names[*n], found.list[routing.order[*n]].name);
	return true;
}

static void refuse_full(struct request *r)
{
	struct answer_error e = { .status = 429, .type = "rate_limit_error", .code = "model_busy", .retry_ms = 1000,
		.message = "All servers of this model are busy and its queue is full. Try again in a moment." };
	answer_error(r->client, r, &e);
}

/* A replica now, or a place in the queue for what is left of the model's time to wait. */
static void take_or_wait(struct request *r, const char *const *prefer, unsigned n_prefer, bool again)
{
	const struct gateway_options *options = &r->worker->gateway->options;
	struct route_replica *replica = NULL;
	struct route_ask ask = { .use = &r->use, .prefer = prefer, .n_prefer = n_prefer, .again = again, .waiter = &r->waiter,
		.may_start = r->engine && r->engine->can_start && r->model->replicas_max > 0 };
	uint64_t waited_ms = r->wait_ns / 1000000, wait_ms = (uint64_t) r->model->wait_ms;
	r->waiter.priority = r->priority;
	r->waiter.wake = on_wake;
	for (;;) {
		ask.now_us = uv_hrtime() / 1000;
		r->queued_ns = uv_hrtime();
		r->waiter_live = true; /* before it may be woken */
		r->stage = REQUEST_WAIT;
		enum route_result result = route_choose(r->route_model, &ask, &replica);
		if (result == ROUTE_WAIT) {
			socket_expire(&r->client->socket, wait_ms > waited_ms ? wait_ms - waited_ms : 1);
			if (options->need_replica)
				options->need_replica(options->arg);
			return;
		}
		r->waiter_live = false;
		if (result == ROUTE_FULL)
			refuse_full(r);
		else if (result != ROUTE_CHOSEN)
			answer_unavailable(r);
		else if (send_to(r, replica))
			return;
		else if (!nobody_there(r))
			dispatch_failed(r, "upstream_unreachable", unreachable, true);
		else
			continue; /* that one is doubted now: each is met once */
		return;
	}
}

void dispatch_request(struct request *r)
{
	char names[POLICY_REPLICAS_MAX][SL_NAME_MAX];
	const char *prefer[POLICY_REPLICAS_MAX];
	unsigned n_prefer;
	if (!ask_route(r, names, &n_prefer) || !door_choose(r))
		return;
	routing_prepare(r);
	for (unsigned i = 0; i < n_prefer; i++)
		prefer[i] = names[i];
	take_or_wait(r, prefer, n_prefer, false);
}

void dispatch_done(struct request *r, bool failed)
{
	r->replica = NULL;
	routing_done(r, failed);
}

bool dispatch_again(struct request *r)
{
	if (!r->client || r->n_tried >= TRIES_MAX)
		return false;
	metrics_add(metrics_counter("sluice_retries_total", retries_help, "reason", "replica_lost"), 1);
	take_or_wait(r, NULL, 0, true);
	return true;
}

void dispatch_failed(struct request *r, const char *code, const char *text, bool strike)
{
	struct worker *w = r->worker;
	if (r->replica && strcmp(code, "upstream_unreachable") == 0) {
		/* Its process has most likely ended, and its work and its cache with it. So trying again is no more work than
		 * was asked for, and not counted against the budget of retries. */
		bool doubted = route_replica_doubt(r->replica);
		if (!doubted)
			route_replica_forget(r->replica);
		dispatch_done(r, strike);
		if (doubted && dispatch_again(r))
			return;
	}
	dispatch_done(r, strike);
	struct route_replica *replica = NULL;
	struct route_ask ask = { .now_us = uv_hrtime() / 1000, .use = &r->use, .exclude = r->tried, .n_exclude = r->n_tried };
	metrics_add(metrics_counter("sluice_retries_total", retries_help, "reason", code), 1);
	if (r->n_tried < TRIES_MAX && w->retry_tokens >= 1 &&
	    route_choose(r->route_model, &ask, &replica) == ROUTE_CHOSEN) {
		w->retry_tokens -= 1;
		if (!send_to(r, replica))
			dispatch_failed(r, "upstream_unreachable", unreachable, true);
		return;
	}
	bool full = strcmp(code, "model_busy") == 0, late = strcmp(code, "upstream_timeout") == 0;
	struct answer_error e = { .status = full ? 429 : late ? 504 : 502, .type = full ? "rate_limit_error" : "server_error",
		.code = code, .message = text, .retry_ms = full ? 1000 : 0 };
	answer_error(r->client, r, &e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* admit.c - may this request run, under which limits, and what is reserved for it. */
#include <stdio.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/money.h"
#include "core/base/str.h"
#include "core/gateway/worker.h"

enum {
	MEDIA_TOKENS = 8192,       /* reserved for each image, sound or file: its size in tokens is not in its bytes */
	COMPLETIONS_DEFAULT = 16   /* max_tokens of /v1/completions when the client gives none */
};

static void deny(struct request *r, const struct policy_denial *d)
{
	struct answer_error e = { .status = d->status, .code = d->code, .message = d->message, .no_retry = d->status != 503,
		.type = d->status == 429 ? "rate_limit_error" : d->status == 403 ? "permission_error" : "invalid_request_error" };
	answer_error(r->client, r, &e);
}

static void not_found(struct request *r)
{
	char text[SL_ERROR_TEXT];
	snprintf(text, sizeof text, "The model '%s' does not exist or you do not have access to it.", r->model_name);
	struct answer_error e = { .status = 404, .type = "invalid_request_error", .code = "model_not_found", .param = "model",
		.message = text };
	answer_error(r->client, r, &e);
}

static int64_t least(int64_t a, int64_t b) /* of bounds, where 0 is none */
{
	return a == 0 ? b : b == 0 ? a : a < b ? a : b;
}

static int64_t times(int64_t a, int64_t b)
{
	int64_t product;
	return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}

/* The bound on output tokens of one answer, as the engine will get it. */
static int64_t output_bound(const struct request *r, int64_t policy_max)
{
	if (r->door == BODY_COUNT_TOKENS)
		return 1; /* of a server that can only count by answering */
	if (!doors[r->door].generates)
		return 0;
	int64_t bound = r->body.max_output;
	if (bound < 0)
		bound = r->door == BODY_COMPLETIONS ? COMPLETIONS_DEFAULT : r->model->max_output;
	int64_t clamp = least(least(r->model->context, r->tier->max_output), policy_max);
	return clamp && bound > clamp ? clamp : bound;
}

/* "12", or of money "0.0004". */
static void amount_text(const struct quota_limit *l, int64_t amount, char out[MONEY_TEXT_MAX])
{
	if (l->metric == QUOTA_COST)
		money_text(amount, 12, out);
	else
		snprintf(out, MONEY_TEXT_MAX, "%lld", (long long) amount);
}

/* Which limit, whose, how much, and until when. */
static void describe_limit(const struct request *r, const struct quota_denial *d, char *out, size_t room)
{
	static const char *const metrics[] = { "", "requests", "tokens", "input tokens", "output tokens", "requests at once" };
	const struct quota_limit *l = d->limit;
	const char *unit = l->metric == QUOTA_COST ? r->generation->conf->currency : metrics[l->metric < QUOTA_COST ? l->metric : 0];
	char used[MONEY_TEXT_MAX], most[MONEY_TEXT_MAX], reserved[MONEY_TEXT_MAX], wanted[MONEY_TEXT_MAX], whose[QUOTA_SCOPE_MAX];
	char until[80] = "", date[32];
	amount_text(l, d->used, used);
	amount_text(l, l->amount, most);
	amount_text(l, d->reserved, reserved);
	amount_text(l, d->wanted, wanted);
	str_copy(whose, sizeof whose, str_of(l->scope)); /* "key:slk_7Q2M" */
	char *colon = strchr(whose, ':');
	if (colon)
		*colon = ' ';
	if (d->retry_ms == UINT64_MAX) {
		snprintf(until, sizeof until, " It can never fit: ask for less.");
	} else if (d->resets_ms) {
		clock_rfc3339(d->resets_ms, date);
		snprintf(until, sizeof until, " It begins anew at %.19sZ.", date);
	}
	snprintf(out, room, "Limit '%s' of %s is reached: %s of %s %s used, %s reserved by %s under way, this one needs %s.%s",
	         l->name, whose, used, most, unit, reserved, l->metric == QUOTA_COST ? "requests and leases" : "requests", wanted, until);
}

static void refuse_limit(struct request *r, const struct quota_denial *d)
{
	char text[3 * SL_ERROR_TEXT];
	const struct quota_limit *l = d->limit;
	bool money = l->metric == QUOTA_COST || l->window == QUOTA_MONTH || l->window == QUOTA_TOTAL || l->window == QUOTA_DAY;
	bool never = d->retry_ms == UINT64_MAX;
	describe_limit(r, d, text, sizeof text);
	struct answer_error e = { .status = 429, .type = money ? "insufficient_quota" : "rate_limit_error",
		.code = money ? "insufficient_quota" : "rate_limit_exceeded", .message = text,
		.retry_ms = never ? 0 : d->retry_ms, .no_retry = never || money };
	answer_error(r->client, r, &e);
}

static void pick_shown(struct request *r, const struct policy_admission *a)
{
	for (unsigned i = 0; i < a->n_limits; i++) {
		const struct quota_limit *l = &a->limits[i];
		int slot = l->metric == QUOTA_REQUESTS ? SHOWN_REQUESTS : l->metric == QUOTA_TOKENS ? SHOWN_TOKENS
			: l->metric == QUOTA_COST ? SHOWN_COST : -1;
		if (slot >= 0 && !r->has_shown[slot]) {
			r->shown[slot] = *l;
			r->has_shown[slot] = true;
		}
	}
}

static bool reserve(struct request *r, const struct policy_admission *a)
{
	struct quota_now now = { .mono_ms = r->worker->now_ms, .wall_ms = r->started_ms };
	int64_t answers = r->body.best_of > r->body.n ? r->body.best_of : r->body.n;
	/* Sure bounds: a token is at least a byte of what the model reads. */
	int64_t input = r->body.prompt_bytes + (int64_t) r->body.media_parts * MEDIA_TOKENS;
	int64_t output = times(times(r->max_output, answers), r->body.prompts);
	r->answers = times(answers, r->body.prompts);
	r->bound_output = output;
	struct quota_use bound = { .requests = 1, .input_tokens = input, .output_tokens = output };
	int64_t in_cost = quota_cost(input, r->model->price.input), out_cost = quota_cost(output, r->model->price.output);
	bound.cost = in_cost > INT64_MAX - out_cost ? INT64_MAX : in_cost + out_cost;
	struct quota_denial denial;
	int code = quota_reserve(r->worker->gateway->options.quota, now, a->limits, a->n_limits, &bound, &r->reservation, &denial);
	if (code == SL_OK) {
		r->reserved = true;
		return true;
	}
	if (code == SL_ELIMIT) {
		refuse_limit(r, &denial);
		return false;
	}
	struct answer_error e = { .status = 503, .type = "server_error", .code = "limits_full",
		.message = "The table of limits is full: nothing is let through unchecked. Ask the operator.", .retry_ms = 5000 };
	answer_error(r->client, r, &e);
	return false;
}

/* Asks the policy; false: answered. */
static bool ask_policy(struct request *r, struct policy_admission *a)
{
	struct policy_request request = { .identity = &r->identity, .tier = r->tier, .model = r->model,
		.model_name = str_of(r->model_name), .peer = str_of(r->client->peer), .stream = r->body.stream,
		.door = str_of(doors[r->door].name), .prompt_bytes = r->body.prompt_bytes, .max_output = r->body.max_output, .n = r->body.n,
		.prompts = r->body.prompts, .wall_ms = r->started_ms };
	request.prompt_tokens = (request.prompt_bytes + 3) / 4;
	sl_error error;
	if (policy_admit(r->generation->policy, &request, a, &error) != SL_OK) {
		if (!r->generation->conf->policy_fail_open) {
			struct answer_error e = { .status = 500, .type = "server_error", .code = "policy_error",
				.message = "The site's policy failed on this request. The operator's log says where.", .no_retry = true };
			answer_error(r->client, r, &e);
			return false;
		}
		policy_default_admit(&request, a);
	}
	if (a->verdict == POLICY_DENY) {
		deny(r, &a->denial);
		return false;
	}
	return true;
}

void admit_request(struct request *r)
{
	struct conf *conf = r->generation->conf;
	struct policy_admission *a = &r->worker->admission;
	r->tier = conf_tier(conf, str_of(r->identity.tier));
	if (!r->tier)
		r->tier = conf_tier(conf, STR("default"));
	r->model = conf_model(conf, str_of(r->model_name));
	if (!ask_policy(r, a))
		return;
	if (a->model[0])
		r->model = conf_model(conf, str_of(a->model));
	if (!r->model || !policy_tier_allows(r->tier, r->model, r->model->name)) {
		not_found(r);
		return;
	}
	if (!ledger_accepting(r->worker->gateway->options.ledger)) {
		struct answer_error e = { .status = 503, .type = "server_error", .code = "store_full",
			.message = "The ledger takes no records now, so nothing can be billed. Try again later.", .retry_ms = 5000 };
		answer_error(r->client, r, &e);
		return;
	}
	r->engine = conf_engine(conf, str_of(r->model->engine));
	r->route_model = worker_route(r->worker, r->generation, r->model);
	r->priority = a->priority;
	r->max_output = output_bound(r, a->max_output);
	pick_shown(r, a);
	if (reserve(r, a))
		dispatch_request(r);
}

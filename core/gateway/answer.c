/* SPDX-License-Identifier: Apache-2.0 */
/* answer.c - answers of our own, in the words of the door that was asked. */
#include <stdio.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/str.h"
#include "core/base/text.h"
#include "core/gateway/messages.h"
#include "core/gateway/worker.h"

const char *answer_reason(int status)
{
	switch (status) {
	case 200: return "OK";
	case 201: return "Created";
	case 204: return "No Content";
	case 400: return "Bad Request";
	case 401: return "Unauthorized";
	case 403: return "Forbidden";
	case 404: return "Not Found";
	case 405: return "Method Not Allowed";
	case 408: return "Request Timeout";
	case 409: return "Conflict";
	case 413: return "Content Too Large";
	case 414: return "URI Too Long";
	case 415: return "Unsupported Media Type";
	case 417: return "Expectation Failed";
	case 422: return "Unprocessable Content";
	case 429: return "Too Many Requests";
	case 431: return "Request Header Fields Too Large";
	case 500: return "Internal Server Error";
	case 501: return "Not Implemented";
	case 502: return "Bad Gateway";
	case 503: return "Service Unavailable";
	case 504: return "Gateway Timeout";
	case 505: return "HTTP Version Not Supported";
	default: return status < 400 ? "OK" : "Error";
	}
}

/* As OpenAI writes them: 6m0s, 1h2m3s, 12ms. */
static char *put_go_duration(char *at, uint64_t ms)
{
	uint64_t s = ms / 1000;
	if (ms < 1000)
		return text_puts(text_put_u64(at, ms), "ms");
	if (s >= 3600)
		at = text_puts(text_put_u64(at, s / 3600), "h");
	if (s >= 60)
		at = text_puts(text_put_u64(at, s % 3600 / 60), "m");
	return text_puts(text_put_u64(at, s % 60), "s");
}

static char *put_two(char *at, unsigned value, char before)
{
	at[0] = before;
	at[1] = (char) ('0' + value / 10);
	at[2] = (char) ('0' + value % 10);
	return at + 3;
}

/* As Anthropic writes when it will be so: 2026-11-24T14:05:01Z. A date lasts for a day, for each of the two limits. */
static char *put_moment(char *at, uint64_t wall_ms, int limit)
{
	static __thread struct {
		uint64_t day;
		char date[32];
	} known[2];
	uint64_t second = (wall_ms + 999) / 1000, day = second / 86400;
	unsigned left = (unsigned) (second % 86400);
	if (known[limit].day != day)
		clock_rfc3339(day * 86400 * 1000, known[limit].date);
	known[limit].day = day;
	at = text_put(at, known[limit].date, sizeof "2026-11-24" - 1);
	at = put_two(put_two(put_two(at, left / 3600, 'T'), left / 60 % 60, ':'), left % 60, ':');
	return text_puts(at, "Z");
}

/* This runs for each request: no printf. */
void answer_headers(struct request *r, struct buf *out)
{
	static const char *const families[2][2][3] = { {
		{ "x-ratelimit-limit-requests: ", "\r\nx-ratelimit-remaining-requests: ", "\r\nx-ratelimit-reset-requests: " },
		{ "x-ratelimit-limit-tokens: ", "\r\nx-ratelimit-remaining-tokens: ", "\r\nx-ratelimit-reset-tokens: " },
	}, {
		{ "anthropic-ratelimit-requests-limit: ", "\r\nanthropic-ratelimit-requests-remaining: ",
		  "\r\nanthropic-ratelimit-requests-reset: " },
		{ "anthropic-ratelimit-tokens-limit: ", "\r\nanthropic-ratelimit-tokens-remaining: ",
		  "\r\nanthropic-ratelimit-tokens-reset: " },
	} };
	bool anthropic = doors[r->door].anthropic;
	const char *const (*names)[3] = families[anthropic];
	static const enum quota_metric metrics[2] = { QUOTA_REQUESTS, QUOTA_TOKENS };
	enum { ROOM = 2 * (16 + SL_REQUEST_ID_MAX) + 2 * (128 + 6 * TEXT_NUMBER_MAX + 8) };
	if (!buf_reserve(out, ROOM))
		return;
	char *at = text_puts(text_puts(text_puts(out->data + out->len, "x-request-id: "), r->id), "\r\n");
	if (anthropic)
		at = text_puts(text_puts(text_puts(at, "request-id: "), r->id), "\r\n");
	for (int i = 0; i < 2; i++) {
		if (!r->has_shown[i])
			continue;
		struct quota *quota = r->worker->gateway->options.quota;
		struct quota_state state;
		struct quota_now now = { .mono_ms = r->worker->now_ms, .wall_ms = r->started_ms };
		if (!quota_read_reserved(quota, now, &r->reservation, metrics[i], &state))
			quota_read(quota, now, &r->shown[i], &state);
		int64_t left = r->shown[i].amount - state.used - state.reserved;
		at = text_put_i64(text_puts(at, names[i][0]), r->shown[i].amount);
		at = text_put_i64(text_puts(at, names[i][1]), left > 0 ? left : 0);
		at = text_puts(at, names[i][2]);
		at = anthropic ? put_moment(at, now.wall_ms + state.resets_in_ms, i) : put_go_duration(at, state.resets_in_ms);
		at = text_puts(at, "\r\n");
	}
	out->len = (size_t) (at - out->data);
}

static void send_answer(struct client *c, struct request *r, int status, const char *extra_headers, sl_str body)
{
	struct buf out = { 0 };
	buf_printf(&out, "HTTP/1.1 %d %s\r\ncontent-type: application/json\r\n", status, answer_reason(status));
	if (r)
		answer_headers(r, &out);
	if (r && r->door)
		receipt_field(r, &out);
	buf_puts(&out, extra_headers);
	if (!c->keep_alive || c->socket.worker->draining)
		buf_puts(&out, "connection: close\r\n");
	buf_printf(&out, "content-length: %zu\r\n\r\n", body.len);
	if (!c->only_head)
		buf_put(&out, body.ptr, body.len);
	char *copy = out.failed ? NULL : worker_alloc(c->socket.worker, out.len);
	if (copy) {
		memcpy(copy, out.data, out.len);
		socket_send(&c->socket, copy, out.len);
	} else {
		c->keep_alive = false;
	}
	buf_free(&out);
}

static void put_error(struct buf *out, const struct answer_error *e, const char *request_id, bool anthropic)
{
	if (anthropic) {
		messages_put_error(out, messages_error_type(e->status), str_of(e->message), e->code, e->param, request_id);
		return;
	}
	buf_puts(out, "{\"error\":{\"message\":");
	buf_put_json(out, str_of(e->message));
	buf_puts(out, ",\"type\":");
	buf_put_json(out, str_of(e->type));
	buf_puts(out, ",\"param\":");
	if (e->param)
		buf_put_json(out, str_of(e->param));
	else
		buf_puts(out, "null");
	buf_puts(out, ",\"code\":");
	buf_put_json(out, str_of(e->code));
	if (request_id) {
		buf_puts(out, ",\"request_id\":");
		buf_put_json(out, str_of(request_id));
	}
	buf_puts(out, "}}");
}

static void end_request(struct request *r, const struct answer_error *e)
{
	struct client *c = r->client;
	if (r->upstream)
		upstream_close(r->upstream);
	if (r->waiter_live && route_cancel(r->route_model, &r->waiter))
		r->waiter_live = false;
	dispatch_done(r, false);
	r->status = (uint16_t) e->status;
	if (!r->error_code)
		r->error_code = e->code;
	if (r->door)
		settle_request(r);
	r->stage = REQUEST_OVER;
	request_free(r);
	client_next(c);
}

void answer_error(struct client *c, struct request *r, const struct answer_error *e)
{
	char headers[320];
	int n = 0;
	headers[0] = '\0';
	if (e->retry_ms) /* whole seconds for everybody, milliseconds for SDKs that know them */
		n = snprintf(headers, sizeof headers, "retry-after: %llu\r\nretry-after-ms: %llu\r\n",
		             (unsigned long long) (e->retry_ms + 999) / 1000, (unsigned long long) e->retry_ms);
	if (e->no_retry)
		n += snprintf(headers + n, sizeof headers - (size_t) n, "x-should-retry: false\r\n");
	if (e->allow)
		n += snprintf(headers + n, sizeof headers - (size_t) n, "allow: %s\r\n", e->allow);
	if (e->challenge)
		n += snprintf(headers + n, sizeof headers - (size_t) n, "www-authenticate: %s\r\n", e->challenge);
	if (r) {
		/* Logged and counted as it is answered; the use that there was stands. */
		r->status = (uint16_t) e->status;
	}
	char id[SL_REQUEST_ID_MAX]; /* of one that was refused before it was taken up: for people to speak of */
	if (!r) {
		request_make_id(c->socket.worker, clock_wall_ms(), id);
		n += snprintf(headers + n, sizeof headers - (size_t) n, "x-request-id: %s\r\n", id);
		if (c->anthropic)
			snprintf(headers + n, sizeof headers - (size_t) n, "request-id: %s\r\n", id);
	}
	struct buf body = { 0 };
	put_error(&body, e, r ? r->id : id, c->anthropic);
	send_answer(c, r, e->status, headers, buf_str(&body));
	buf_free(&body);
	if (r)
		end_request(r, e);
}

void answer_json(struct client *c, struct request *r, int status, const char *extra_headers, sl_str body)
{
	send_answer(c, r, status, extra_headers, body);
	if (!r)
		return;
	struct answer_error none = { .status = status };
	end_request(r, &none);
}

void answer_event(struct buf *out, const struct request *r, const char *code, const char *message)
{
	struct answer_error e = { .status = 500, .type = "server_error", .code = code, .message = message };
	struct buf error = { 0 };
	put_error(&error, &e, r->id, doors[r->door].anthropic);
	if (doors[r->door].typed)
		buf_puts(out, "event: error\n");
	buf_puts(out, "data: ");
	if (r->door == BODY_RESPONSES && error.len) { /* what the door's own event has, before the member that all clients look at */
		buf_puts(out, "{\"type\":\"error\",\"code\":");
		buf_put_json(out, str_of(code));
		buf_puts(out, ",\"message\":");
		buf_put_json(out, str_of(message));
		buf_printf(out, ",\"param\":null,\"sequence_number\":%lld,", (long long) r->events);
		buf_put(out, error.data + 1, error.len - 1);
	} else {
		buf_put(out, error.data, error.len);
	}
	out->failed |= error.failed;
	buf_puts(out, "\n\n");
	buf_free(&error);
}

static bool may_use(const struct conf_tier *tier, const struct conf_model *model)
{
	return !tier || policy_tier_allows(tier, model, model->name);
}

static void put_model(struct buf *out, const struct conf_model *model)
{
	buf_puts(out, "{\"id\":");
	buf_put_json(out, str_of(model->name));
	buf_puts(out, ",\"object\":\"model\",\"created\":0,\"owned_by\":\"sluice\"}");
}

void answer_models(struct request *r, sl_str name)
{
	const struct conf *conf = r->generation->conf;
	const struct conf_tier *tier = conf_tier(conf, str_of(r->identity.tier));
	struct buf out = { 0 };
	if (name.len) {
		const struct conf_model *model = conf_model(conf, name);
		if (!model || !may_use(tier, model)) {
			struct answer_error e = { .status = 404, .type = "invalid_request_error", .code = "model_not_found", .param = "model",
				.message = "This model does not exist or you do not have access to it." };
			answer_error(r->client, r, &e);
			return;
		}
		put_model(&out, model);
	} else {
		buf_puts(&out, "{\"object\":\"list\",\"data\":[");
		for (size_t i = 0, n = 0; i < conf->n_models; i++) {
			if (!may_use(tier, &conf->models[i]))
				continue;
			if (n++)
				buf_put(&out, ",", 1);
			put_model(&out, &conf->models[i]);
		}
		buf_puts(&out, "]}");
	}
	answer_json(r->client, r, 200, "", buf_str(&out));
	buf_free(&out);
}

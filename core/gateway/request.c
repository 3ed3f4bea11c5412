/* SPDX-License-Identifier: Apache-2.0 */
/* request.c - how a request begins and ends: path, identity, body. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/auth.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/str.h"
#include "core/gateway/worker.h"

enum { FREE_REQUESTS_MAX = 256, TEXT_KEPT_MAX = 4096, AUTH_MS = 5000 };

/* The paths that exist. Everything else is refused: an engine's other paths run inference outside the books. */
struct path {
	sl_str path, method;
	enum body_door door; /* 0: answered here */
	enum own_page own;   /* 0: nothing of the caller's own */
};
static const struct path paths[] = {
	{ STR("/v1/chat/completions"), STR("POST"), BODY_CHAT, 0 },
	{ STR("/v1/completions"), STR("POST"), BODY_COMPLETIONS, 0 },
	{ STR("/v1/embeddings"), STR("POST"), BODY_EMBEDDINGS, 0 },
	{ STR("/v1/models"), STR("GET"), 0, 0 },
	{ STR("/healthz"), STR("GET"), 0, 0 },
	{ STR("/readyz"), STR("GET"), 0, 0 },
	{ STR("/v1/messages"), STR("POST"), BODY_MESSAGES, 0 },
	{ STR("/v1/messages/count_tokens"), STR("POST"), BODY_COUNT_TOKENS, 0 },
	{ STR("/v1/responses"), STR("POST"), BODY_RESPONSES, 0 },
	{ STR("/v1/rerank"), STR("POST"), BODY_RERANK, 0 },
	{ STR("/v1/score"), STR("POST"), BODY_SCORE, 0 },
	{ STR("/v1/me"), STR("GET"), 0, OWN_ME },
	{ STR("/v1/usage"), STR("GET"), 0, OWN_USAGE },
};
/* Paths with a name behind them. */
static const struct path prefixes[] = {
	{ STR("/v1/models/"), STR("GET"), 0, 0 },
	{ STR("/v1/usage/"), STR("GET"), 0, OWN_REQUEST },
};

/* "req_" and 26 characters of base32: 48 bits of milliseconds, so that ids sort by time, and 82 of chance. */
void request_make_id(struct worker *w, uint64_t wall_ms, char out[SL_REQUEST_ID_MAX])
{
	static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	uint64_t low = (w->id_counter += 0x9e3779b97f4a7c15ull);
	low = (low ^ low >> 30) * 0xbf58476d1ce4e5b9ull;
	low = (low ^ low >> 27) * 0x94d049bb133111ebull;
	low ^= low >> 31;
	memcpy(out, "req_", 4);
	for (int i = 9; i >= 0; i--, wall_ms >>= 5)
		out[4 + i] = digits[wall_ms & 31];
	for (int i = 0; i < 12; i++, low >>= 5)
		out[14 + i] = digits[low & 31];
	uint32_t rest = w->id_random[0] ^ (uint32_t) w->id_counter;
	for (int i = 0; i < 4; i++, rest >>= 5)
		out[26 + i] = digits[rest & 31];
	out[30] = '\0';
}

static struct request *request_new(struct client *c)
{
	struct worker *w = c->socket.worker;
	struct request *r = w->free_requests;
	struct buf text = { 0 };
	if (r) {
		text = r->text; /* its memory */
		w->free_requests = r->next;
		w->n_free_requests--;
	} else if (!(r = malloc(sizeof *r))) {
		return NULL;
	}
	memset(r, 0, offsetof(struct request, reservation));
	r->reservation.n = 0;
	r->text = text;
	r->worker = w;
	r->client = c;
	c->request = r;
	r->generation = generation_ref(w->generation);
	r->started_ns = uv_hrtime();
	r->started_ms = clock_wall_ms();
	request_make_id(w, r->started_ms, r->id);
	r->usage = (struct body_usage){ -1, -1, -1 };
	r->next = w->requests;
	if (r->next)
		r->next->link = &r->next;
	r->link = &w->requests;
	w->requests = r;
	worker_count(&w->n_active, 1);
	return r;
}

void request_free(struct request *r)
{
	struct worker *w = r->worker;
	if (r->client && r->client->request == r)
		r->client->request = NULL;
	r->client = NULL;
	if (r->auth_pending || r->own_pending || r->waiter_live) {
		r->free_later = true; /* a message of ours is still on its way to us */
		return;
	}
	*r->link = r->next;
	if (r->next)
		r->next->link = r->link;
	worker_count(&w->n_active, -1);
	routing_free(r);
	door_free(r);
	own_end(r);
	if (r->text.room > TEXT_KEPT_MAX)
		buf_free(&r->text);
	buf_clear(&r->text);
	buf_free(&r->hold);
	buf_free(&r->tail);
	generation_unref(r->generation);
	if (w->n_free_requests < FREE_REQUESTS_MAX) {
		r->next = w->free_requests;
		w->free_requests = r;
		w->n_free_requests++;
	} else {
		buf_free(&r->text);
		free(r);
	}
}

static bool refuse(struct client *c, int status, const char *type, const char *code, const char *message)
{
	struct answer_error e = { .status = status, .type = type, .code = code, .message = message };
	answer_error(c, NULL, &e);
	return false;
}

static bool answer_health(struct client *c, const struct path *p)
{
	const struct gateway *g = c->socket.worker->gateway;
	bool ready = atomic_load_explicit(&g->ready, memory_order_relaxed), taken = ledger_accepting(g->options.ledger);
	bool fine = (ready && taken) || p->path.ptr[1] == 'h';
	answer_json(c, NULL, fine ? 200 : 503, "", fine ? STR("{\"status\":\"ok\"}")
	            : ready ? STR("{\"status\":\"not ready\",\"why\":\"the ledger takes no records\"}")
	                    : STR("{\"status\":\"not ready\",\"why\":\"starting or draining\"}"));
	return false;
}

struct auth_result {
	sl_identity identity;
	sl_error error; /* code SL_OK: identity holds */
};

/* Pending authentication ends on any thread: the message brings it to ours. */
static void on_auth_mail(struct mail *mail)
{
	struct request *r = (struct request *) (void *) ((char *) mail - offsetof(struct request, auth_mail));
	static const sl_error no_memory = { .code = SL_ENOMEM, .text = "Out of memory. Try again in a moment." };
	struct auth_result *result = r->auth_result;
	sl_error error = result ? result->error : no_memory;
	worker_event(r->worker);
	r->auth_pending = false;
	r->auth_result = NULL;
	if (result && error.code == SL_OK)
		r->identity = result->identity;
	free(result);
	if (r->free_later)
		request_free(r);
	else
		request_authenticated(r, error.code, &error);
}

static void on_token(void *arg, const void *result, size_t size, const sl_error *error)
{
	struct request *r = arg;
	r->auth_result = calloc(1, sizeof *r->auth_result);
	if (r->auth_result && result)
		memcpy(&r->auth_result->identity, result, size < sizeof(sl_identity) ? size : sizeof(sl_identity));
	else if (r->auth_result)
		r->auth_result->error = *error;
	r->auth_mail.run = on_auth_mail;
	if (!mailbox_post(&r->worker->mailbox, &r->auth_mail))
		free(r->auth_result); /* the worker has ended */
}

/* Asks the auth plugins in their order. SL_PENDING: request_authenticated comes later. */
static int authenticate(struct request *r, const sl_auth_request *request, sl_error *error)
{
	const struct gateway_options *options = &r->worker->gateway->options;
	for (unsigned i = 0; i < options->n_auth; i++) {
		struct plugin *plugin = options->auth[i];
		const sl_auth_ops *ops = plugin_ops(plugin);
		sl_token token = plugin_token_new(plugin, r->started_ns + AUTH_MS * 1000000ull, on_token, r);
		if (!token)
			return error_set(error, SL_EUNAVAILABLE, "Authentication is overloaded. Try again in a moment.");
		r->identity = (sl_identity){ .size = sizeof r->identity, .uid = UINT32_MAX, .gid = UINT32_MAX };
		r->auth_pending = true;
		int code = ops->authenticate(plugin_self(plugin), request, token, &r->identity, error);
		if (code == SL_PENDING)
			return code;
		r->auth_pending = false;
		plugin_token_drop(plugin, token);
		if (code != SL_NOT_MINE)
			return code;
	}
	if (request->authorization.ptr || request->api_key.ptr) /* and nobody says that it is his */
		return error_set(error, SL_EAUTH, "Incorrect API key provided.");
	return error_set(error, SL_EAUTH,
	                 "You did not provide an API key. Send it in the Authorization header: Authorization: Bearer KEY.");
}

/* Answers a caller who is not known, or may not call models. `named`: a credential was sent. */
static void refuse_identity(struct request *r, int code, const sl_error *error, bool named)
{
	struct client *c = r->client;
	c->keep_alive = c->keep_alive && !c->body_left;
	if (code == SL_OK) {
		struct answer_error e = { .status = 401, .type = "invalid_request_error", .code = "invalid_api_key",
			.message = "This key may not call models.", .no_retry = true, .challenge = "Bearer" };
		answer_error(c, r, &e);
		return;
	}
	struct answer_error e = { .status = error_http_status(code), .type = "invalid_request_error",
		.code = code == SL_EAUTH ? "invalid_api_key" : code == SL_EINVAL ? "invalid_credentials" : "auth_unavailable",
		.message = error->text[0] ? error->text : "Authentication failed.", .no_retry = code == SL_EAUTH };
	if (code == SL_EAUTH)
		e.challenge = named ? "Bearer error=\"invalid_token\"" : "Bearer";
	if (code == SL_EDENIED) {
		e.type = "permission_error";
		e.code = "permission_denied";
		e.no_retry = true;
	}
	if (e.status >= 500) {
		e.status = 503;
		e.type = "server_error";
		e.code = "auth_unavailable";
		e.retry_ms = 1000;
	}
	answer_error(c, r, &e);
}

void request_authenticated(struct request *r, int code, const sl_error *error)
{
	if (code == SL_OK && (r->identity.roles & SL_ROLE_INFER))
		client_resume(r->client);
	else
		refuse_identity(r, code, error, true); /* a plugin took it up */
}

/* *name: what stands behind a prefix. */
static const struct path *find_path(sl_str path, sl_str method, bool *path_known, sl_str *name)
{
	*path_known = false;
	*name = (sl_str){ NULL, 0 };
	if (str_eq(method, STR("HEAD")))
		method = STR("GET"); /* answered alike, without the body */
	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
		if (!str_eq(path, paths[i].path))
			continue;
		*path_known = true;
		if (str_eq(method, paths[i].method))
			return &paths[i];
	}
	for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
		const struct path *p = &prefixes[i];
		if (*path_known || !str_starts(path, p->path) || path.len == p->path.len)
			continue;
		*path_known = true;
		*name = (sl_str){ path.ptr + p->path.len, path.len - p->path.len };
		return str_eq(method, p->method) ? p : NULL;
	}
	return NULL;
}

static const char *allowed_method(sl_str path)
{
	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
		if (str_eq(path, paths[i].path) && paths[i].door)
			return paths[i].method.ptr;
	return "GET, HEAD";
}

static bool known_method(sl_str method)
{
	static const char *const methods[] = { "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS" };
	for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
		if (str_eq(method, str_of(methods[i])))
			return true;
	return false;
}

static bool is_json(sl_str type)
{
	size_t n = 0;
	while (n < type.len && type.ptr[n] != ';')
		n++;
	return str_eq_nocase(str_trim((sl_str){ type.ptr, n }), STR("application/json"));
}

/* W3C trace context: version 00, lower-case hex, ids that are not zero. Anything else is not passed on. */
static void copy_traceparent(struct request *r, sl_str value)
{
	if (value.len != 55 || memcmp(value.ptr, "00-", 3) != 0 || value.ptr[35] != '-' || value.ptr[52] != '-')
		return;
	bool zero_trace = true, zero_parent = true;
	for (size_t i = 3; i < 55; i++) {
		char c = value.ptr[i];
		if (i == 35 || i == 52)
			continue;
		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
			return;
		if (c != '0' && i < 35)
			zero_trace = false;
		if (c != '0' && i > 35 && i < 52)
			zero_parent = false;
	}
	if (!zero_trace && !zero_parent)
		str_copy(r->traceparent, sizeof r->traceparent, value);
}

/* What of a head's fields is looked at here; absent ones are {NULL, 0}. */
struct fields {
	sl_str authorization, api_key, content_type, content_encoding, traceparent, version;
	unsigned authorizations;
};

static void take_field(sl_str *out, const struct http_header *h, sl_str name)
{
	if (!out->ptr && str_eq_nocase(h->name, name))
		*out = h->value;
}

/* All of them in one pass. The first of a name counts. */
static void read_fields(const struct http_head *head, struct fields *out)
{
	*out = (struct fields){ .authorizations = 0 };
	for (unsigned i = 0; i < head->n_headers; i++) {
		const struct http_header *h = &head->headers[i];
		switch (h->name.len) {
		case sizeof "x-api-key" - 1:
			take_field(&out->api_key, h, STR("x-api-key"));
			break;
		case sizeof "traceparent" - 1:
			take_field(&out->traceparent, h, STR("traceparent"));
			break;
		case sizeof "content-type" - 1:
			take_field(&out->content_type, h, STR("content-type"));
			break;
		case sizeof "authorization" - 1:
			if (!str_eq_nocase(h->name, STR("authorization")))
				break;
			if (!out->authorizations++)
				out->authorization = h->value;
			break;
		case sizeof "anthropic-version" - 1:
			take_field(&out->version, h, STR("anthropic-version"));
			break;
		case sizeof "content-encoding" - 1:
			take_field(&out->content_encoding, h, STR("content-encoding"));
			break;
		}
	}
}

static bool begin_authenticated(struct client *c, const struct fields *fields, const struct path *p, sl_str query, sl_str name)
{
	struct request *r = request_new(c);
	if (!r)
		return refuse(c, 503, "server_error", "overloaded", "Out of memory. Try again in a moment.");
	r->door = p->door;
	if (p->own && !own_begin(r, p->own, query, name)) {
		answer_error(c, r, &(struct answer_error){ .status = 503, .type = "server_error", .code = "overloaded",
			.message = "Out of memory. Try again in a moment.", .retry_ms = 1000 });
		return true;
	}
	if (!r->door && !p->own)
		str_copy(r->model_name, sizeof r->model_name, name);
	r->version = c->anthropic ? door_version(fields->version) : NULL;
	copy_traceparent(r, fields->traceparent);
	sl_auth_request request = { .size = sizeof request, .door = SL_DOOR_INFERENCE,
		.authorization = fields->authorization, .api_key = fields->api_key, .peer = str_of(c->peer) };
	sl_error error = { 0 };
	int code = fields->authorizations > 1
		? error_set(&error, SL_EINVAL, "There are two Authorization headers: send one.")
		: authenticate(r, &request, &error);
	if (code == SL_PENDING)
		return true;
	if (code == SL_OK && (r->identity.roles & SL_ROLE_INFER))
		return true;
	refuse_identity(r, code, &error, request.authorization.ptr || request.api_key.ptr);
	return true;
}

bool request_begin(struct client *c, const struct http_head *head)
{
	bool known;
	sl_str name;
	const struct path *p = find_path(head->path, head->method, &known, &name);
	if (!known && !known_method(head->method))
		return refuse(c, 501, "invalid_request_error", "unknown_method", "This method is not known here.");
	if (!known)
		return refuse(c, 404, "invalid_request_error", "unknown_url", "There is nothing at this path.");
	if (!p) {
		struct answer_error e = { .status = 405, .type = "invalid_request_error", .code = "method_not_allowed",
			.message = "This path does not take this method.", .allow = allowed_method(head->path) };
		answer_error(c, NULL, &e);
		return false;
	}
	if (!p->door && p->path.ptr[1] != 'v')
		return answer_health(c, p);
	if (!atomic_load_explicit(&c->socket.worker->gateway->ready, memory_order_relaxed)) {
		struct answer_error e = { .status = 503, .type = "server_error", .code = "not_ready",
			.message = "The service is starting or going down. Try again in a moment.", .retry_ms = 1000 };
		answer_error(c, NULL, &e);
		return false;
	}
	struct fields fields;
	read_fields(head, &fields);
	if (p->door && fields.content_encoding.len && !str_eq_nocase(fields.content_encoding, STR("identity")))
		return refuse(c, 415, "invalid_request_error", "unsupported_encoding", "Send the body without a content encoding.");
	if (p->door && !is_json(fields.content_type))
		return refuse(c, 415, "invalid_request_error", "unsupported_media_type", "Send the body as application/json.");
	if (c->anthropic && !door_version(fields.version))
		return refuse(c, 400, "invalid_request_error", "unknown_version",
		              "This anthropic-version is not known here: 2023-06-01 and 2026-10-21 are.");
	return begin_authenticated(c, &fields, p, head->query, name);
}

void request_body(struct request *r)
{
	struct client *c = r->client;
	if (r->own) {
		own_answer(r);
		return;
	}
	if (!r->door) {
		answer_models(r, str_of(r->model_name));
		return;
	}
	struct body_reject why;
	if (!body_scan(r->text.data ? request_text(r) : "", r->text_len, r->door, r->generation->strip, &r->body, &why)) {
		struct answer_error e = { .status = 400, .type = "invalid_request_error", .code = why.code, .param = why.param,
			.message = why.message };
		answer_error(c, r, &e);
		return;
	}
	str_copy(r->model_name, sizeof r->model_name, str_of(r->body.model));
	r->streaming = r->body.stream;
	admit_request(r);
}

void request_client_gone(struct request *r)
{
	r->client = NULL;
	r->client_gone = true;
	if (r->stage == REQUEST_HELD || r->stage == REQUEST_OVER)
		return; /* the record stands; there is nobody to tell */
	if (r->waiter_live && route_cancel(r->route_model, &r->waiter))
		r->waiter_live = false;
	if (r->upstream)
		upstream_close(r->upstream); /* ends the generation in the engine */
	dispatch_done(r, false);
	if (r->status == 0)
		r->status = 499;
	r->flags |= SL_USAGE_CLIENT_CLOSED;
	if (r->door)
		settle_request(r);
	request_free(r);
}

void request_expired(struct request *r)
{
	struct client *c = r->client;
	if (r->stage == REQUEST_ASK) {
		own_late(r);
		return;
	}
	if (r->stage != REQUEST_WAIT)
		return;
	if (r->waiter_live && route_cancel(r->route_model, &r->waiter))
		r->waiter_live = false;
	struct route_load load;
	route_load(r->route_model, &load);
	char text[SL_ERROR_TEXT];
	struct answer_error e = { .status = load.ready ? 429 : 503, .type = load.ready ? "rate_limit_error" : "server_error",
		.code = load.ready ? "model_busy" : "model_unavailable", .message = text, .retry_ms = 2000 };
	snprintf(text, sizeof text, load.ready ? "All replicas of %s are busy. Try again in a moment."
	                                        : "%s is still starting. Try again in a moment.", r->model->name);
	answer_error(c, r, &e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* relay.c - what the engine sends, on its way to the client: streams event by event, plain answers whole. Counts and
 * takes out on the way what was asked for only by us; the end is kept back until the use is on record. */
#include <stdio.h>
#include <string.h>

#include "core/base/str.h"
#include "core/gateway/worker.h"
#include "core/http/sse.h"

enum { TAIL = 4096, SEGMENTS = 64, CHUNK_SIZE_MAX = 20 };

static const char done_event[] = "data: [DONE]\n\n";

/* What of a batch of events goes on. Neighbours in memory are joined. */
struct segments {
	unsigned n;
	size_t total;
	bool changed;  /* not exactly what came */
	sl_str part[SEGMENTS];
};

static bool starts_with(sl_str name, sl_str start)
{
	return name.len > start.len && str_eq_nocase((sl_str){ name.ptr, start.len }, start);
}

/* What clients act on. All else of an engine's is for us only: names of machines, versions, cookies, limits. */
static bool passes_header(const struct http_head *head, const struct http_header *h)
{
	static const sl_str known[] = { STR("content-type"), STR("cache-control"), STR("retry-after"), STR("retry-after-ms"),
		STR("x-should-retry"), STR("x-accel-buffering") };
	if (h->value.len == 0 || http_is_hop_header(head, h->name))
		return false;
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (h->name.len == known[i].len && str_eq_nocase(h->name, known[i]))
			return true;
	return starts_with(h->name, STR("openai-"));
}

/* Status line and headers without framing and without the blank line. */
static void start_head(struct request *r, const struct http_head *head, struct buf *out)
{
	buf_puts(out, "HTTP/1.1 ");
	buf_put_u64(out, (uint64_t) head->status);
	buf_put(out, " ", 1);
	buf_puts(out, answer_reason(head->status));
	buf_put(out, "\r\n", 2);
	bool rewritten = door_rewrites(r);
	for (unsigned i = 0; i < head->n_headers; i++) {
		const struct http_header *h = &head->headers[i];
		if (!passes_header(head, h) || (rewritten && str_eq_nocase(h->name, STR("content-type"))))
			continue;
		buf_put(out, h->name.ptr, h->name.len);
		buf_put(out, ": ", 2);
		buf_put(out, h->value.ptr, h->value.len);
		buf_put(out, "\r\n", 2);
	}
	if (rewritten)
		buf_puts(out, "content-type: application/json\r\n");
	answer_headers(r, out);
}

/* The line before a chunk's data; returns its length. */
static size_t chunk_size(char out[CHUNK_SIZE_MAX], size_t n)
{
	static const char digits[] = "0123456789abcdef";
	size_t len = 1;
	for (size_t rest = n >> 4; rest; rest >>= 4)
		len++;
	for (size_t i = len; i > 0; i--, n >>= 4)
		out[i - 1] = digits[n & 15];
	memcpy(out + len, "\r\n", 2);
	return len + 2;
}

static void frame(const struct request *r, struct buf *out, sl_str data)
{
	bool chunked = !r->client || !r->client->http10;
	if (chunked) {
		char size[CHUNK_SIZE_MAX];
		buf_put(out, size, chunk_size(size, data.len));
	}
	buf_put(out, data.ptr, data.len);
	if (chunked)
		buf_put(out, "\r\n", 2);
}

static void frame_end(const struct request *r, struct buf *out)
{
	if (!r->client || !r->client->http10)
		buf_puts(out, "0\r\n\r\n");
}

/* A copy in the arena, so that it may be sent at the end of the batch. */
static void send_copy(struct request *r, const char *data, size_t len)
{
	char *copy = len ? worker_alloc(r->worker, len) : NULL;
	if (copy) {
		memcpy(copy, data, len);
		socket_send(&r->client->socket, copy, len);
	} else if (len) {
		socket_break(&r->client->socket);
	}
}

void relay_head(struct request *r, const struct http_head *head)
{
	sl_str type = http_header(head, "content-type");
	r->stage = REQUEST_RELAY;
	r->status = (uint16_t) head->status;
	r->first_byte_ns = uv_hrtime();
	r->sse = head->status == 200 && r->streaming && type.len >= 17 && str_eq_nocase((sl_str){ type.ptr, 17 }, STR("text/event-stream"));
	struct buf *out = &r->worker->scratch;
	buf_clear(out);
	start_head(r, head, out);
	r->fresh = !r->sse;
	if (!r->sse)
		return;
	buf_free(&r->text); /* nothing is sent again from now on; streams are long, and many */
	if (r->client->http10)
		r->client->keep_alive = false;
	if (!r->client->keep_alive || r->worker->draining)
		buf_puts(out, "connection: close\r\n");
	buf_puts(out, r->client->http10 ? "\r\n" : "transfer-encoding: chunked\r\n\r\n");
	if (out->failed)
		socket_break(&r->client->socket);
	else
		send_copy(r, out->data, out->len);
	r->head_sent = true;
}

void relay_keep(struct request *r)
{
	if (!r->fresh)
		return;
	r->fresh = false;
	buf_put(&r->hold, r->worker->scratch.data, r->worker->scratch.len);
	r->hold.failed |= r->worker->scratch.failed;
}

static void add_segment(struct segments *s, const char *data, size_t len)
{
	sl_str *last = s->n ? &s->part[s->n - 1] : NULL;
	if (len == 0)
		return;
	s->total += len;
	if (last && last->ptr + last->len == data)
		last->len += len;
	else if (s->n < SEGMENTS)
		s->part[s->n++] = (sl_str){ data, len };
}

void relay_usage(struct request *r, const struct body_usage *u)
{
	if (u->input >= 0)
		r->usage.input = u->input;
	if (u->cached >= 0)
		r->usage.cached = u->cached;
	if (u->output >= 0)
		r->usage.output = u->output;
}

/* Running counts are those of the choice that the event belongs to: no sum when there are several. */
static bool counts_one_of_many(const struct request *r)
{
	return r->engine && r->engine->usage_running && (r->body.n > 1 || r->body.prompts > 1);
}

/* One of a door whose events have types. */
static void take_typed(struct request *r, sl_str event, sl_str data, struct segments *out)
{
	sl_str text = door_event(r, event, data, &r->done_seen);
	out->changed |= r->done_seen || text.ptr != event.ptr;
	if (r->done_seen)
		frame(r, &r->hold, text);
	else
		add_segment(out, text.ptr, text.len);
}

/* One whole event. It is in the arena, or is copied there by the caller. */
static void take_event(struct request *r, sl_str event, struct segments *out)
{
	if (r->done_seen) {
		out->changed = true;
		return;
	}
	sl_str data = sse_data(event, r->worker->event_scratch);
	if (!data.ptr) { /* a comment: keeps the client's connection alive too */
		add_segment(out, event.ptr, event.len);
		return;
	}
	if (doors[r->door].typed) {
		take_typed(r, event, data, out);
		return;
	}
	struct body_event e;
	body_event(data.ptr, data.len, &e);
	if (e.done) {
		r->done_seen = true;
		out->changed = true;
		return;
	}
	if (e.has_usage && (e.choices_empty || !counts_one_of_many(r)))
		relay_usage(r, &e.usage);
	if (e.error)
		r->flags |= SL_USAGE_UPSTREAM_ERROR;
	r->finished |= e.finished;
	if (e.has_usage && e.choices_empty) {
		if (r->body.include_usage)
			add_segment(out, event.ptr, event.len);
		else
			out->changed = true;
		return;
	}
	if (r->events++ == 0)
		routing_first(r);
	bool inside = data.ptr >= event.ptr && data.ptr < event.ptr + event.len;
	bool asked = r->body.include_usage && r->body.running_usage;
	if (e.has_usage && e.usage_at.end && inside && !asked && r->engine && r->engine->usage_running) {
		/* Running counts that only we asked for. */
		size_t from = (size_t) (data.ptr - event.ptr) + e.usage_at.start, to = (size_t) (data.ptr - event.ptr) + e.usage_at.end;
		add_segment(out, event.ptr, from);
		add_segment(out, event.ptr + to, event.len - to);
		out->changed = true;
		return;
	}
	add_segment(out, event.ptr, event.len);
}

/* Sends what goes on as one chunk. */
static void send_segments(struct request *r, struct segments *s)
{
	if (s->total && r->client) {
		bool chunked = !r->client->http10;
		char *copy = worker_alloc(r->worker, s->total + 24);
		size_t at = 0;
		if (copy) {
			if (chunked)
				at = chunk_size(copy, s->total);
			for (unsigned i = 0; i < s->n; i++) {
				memcpy(copy + at, s->part[i].ptr, s->part[i].len);
				at += s->part[i].len;
			}
			if (chunked) {
				memcpy(copy + at, "\r\n", 2);
				at += 2;
			}
			socket_send(&r->client->socket, copy, at);
		} else {
			socket_break(&r->client->socket);
		}
	}
	s->n = 0;
	s->total = 0;
}

/* Cuts a piece into events. False: the engine sends nonsense. */
static bool take_piece(struct request *r, struct upstream *u, sl_str piece, struct segments *out)
{
	bool own = u->partial.len > 0;
	if (own) {
		out->changed = true;
		u->partial.max = EVENT_MAX;
		buf_put(&u->partial, piece.ptr, piece.len);
		if (u->partial.failed)
			return false;
		/* The events lie in a buffer that moves: a copy in the arena lives until it is sent. */
		size_t len = u->partial.len;
		char *copy = worker_alloc(r->worker, len);
		if (!copy)
			return false;
		memcpy(copy, u->partial.data, len);
		piece = (sl_str){ copy, len };
	}
	size_t at = 0, n;
	while ((n = sse_event(piece.ptr + at, piece.len - at, &u->scanned, false)) > 0) {
		if (out->n >= SEGMENTS - 2) {
			send_segments(r, out);
			out->changed = true;
		}
		take_event(r, (sl_str){ piece.ptr + at, n }, out);
		u->scanned = 0;
		at += n;
	}
	if (own) {
		buf_consume(&u->partial, at);
	} else if (at < piece.len) {
		out->changed = true;
		u->partial.max = EVENT_MAX;
		buf_put(&u->partial, piece.ptr + at, piece.len - at);
	}
	return !u->partial.failed;
}

/* The receipt, and the words that end a stream. Where those are held already it goes before them: behind them nobody
 * need read on. */
static void put_last(struct request *r)
{
	struct buf *end = &r->worker->scratch, held = { 0 };
	buf_clear(end);
	receipt_comment(r, end);
	if (!doors[r->door].typed) {
		buf_put(end, done_event, sizeof done_event - 1);
	} else if (!r->done_seen) {
		door_end(r, end);
	} else {
		held = r->hold;
		r->hold = (struct buf){ 0 };
	}
	frame(r, &r->hold, buf_str(end));
	buf_put(&r->hold, held.data, held.len);
	r->hold.failed |= end->failed || held.failed;
	buf_free(&held);
}

static void finish_stream(struct request *r)
{
	struct upstream *u = r->upstream;
	if (u)
		upstream_detach(u);
	r->complete = true;
	dispatch_done(r, (r->flags & SL_USAGE_UPSTREAM_ERROR) != 0);
	put_last(r);
	frame_end(r, &r->hold);
	settle_and_finish(r, buf_str(&r->hold), (sl_str){ NULL, 0 });
}

/* The client is slow: it has so long to catch up. */
static void watch_backlog(struct request *r)
{
	struct gateway_socket *s = &r->client->socket;
	if (s->out.len && !s->deadline_ms)
		socket_expire(s, (uint64_t) r->generation->conf->write_ms);
}

static void relay_stream(struct request *r, struct upstream *u, const sl_str *pieces, unsigned n, sl_str raw)
{
	struct segments s = { .n = 0, .total = 0, .changed = raw.ptr == NULL || r->client->http10 };
	for (unsigned i = 0; i < n; i++)
		if (!take_piece(r, u, pieces[i], &s)) {
			upstream_close(u);
			relay_broken(r, "upstream_protocol", "The model's server sent an event above 1 MiB, or none at all.");
			return;
		}
	if (!s.changed)
		socket_send(&r->client->socket, raw.ptr, raw.len);
	else
		send_segments(r, &s);
	watch_backlog(r);
	if (r->done_seen)
		finish_stream(r);
}

/* A plain answer that grew too large to hold: its head goes out now, then all but the last bytes. */
static void start_passing(struct request *r)
{
	struct upstream *u = r->upstream;
	relay_keep(r);
	r->passing = true;
	if (!u->chunked && !u->until_close)
		buf_printf(&r->hold, "content-length: %llu\r\n", (unsigned long long) (r->answer_bytes + u->body_left));
	else if (r->client->http10)
		r->client->keep_alive = false;
	else
		buf_puts(&r->hold, "transfer-encoding: chunked\r\n");
	r->passing_chunked = (u->chunked || u->until_close) && !r->client->http10;
	buf_puts(&r->hold, r->client->keep_alive ? "\r\n" : "connection: close\r\n\r\n");
	send_copy(r, r->hold.data, r->hold.len);
	buf_clear(&r->hold);
	r->head_sent = true;
}

static void pass(struct request *r, size_t n)
{
	if (n == 0)
		return;
	char head[CHUNK_SIZE_MAX];
	if (r->passing_chunked)
		send_copy(r, head, chunk_size(head, n));
	send_copy(r, r->tail.data, n);
	if (r->passing_chunked)
		send_copy(r, "\r\n", 2);
	buf_consume(&r->tail, n);
}

void relay_body(struct request *r, struct upstream *u, sl_str piece)
{
	if (r->sse) {
		relay_stream(r, u, &piece, 1, (sl_str){ NULL, 0 });
		return;
	}
	r->answer_bytes += piece.len;
	if (r->fresh && !u->chunked && !u->until_close && u->body_left == 0 && r->tail.len == 0) {
		r->whole = piece; /* the end follows at once */
		return;
	}
	buf_put(&r->tail, piece.ptr, piece.len);
	if (r->tail.failed) {
		upstream_close(u);
		relay_broken(r, "overloaded", "Out of memory.");
		return;
	}
	if (!r->passing && r->tail.len > ANSWER_HOLD_MAX) {
		if (door_rewrites(r)) {
			upstream_close(u);
			relay_broken(r, "upstream_protocol", "The model's server sent an answer above 1 MiB, which cannot be translated.");
			return;
		}
		start_passing(r);
	}
	if (r->passing && r->tail.len > TAIL) {
		pass(r, r->tail.len - TAIL);
		watch_backlog(r);
	}
}

void relay_pieces(struct request *r, struct upstream *u, const sl_str *pieces, unsigned n, sl_str raw)
{
	if (r->sse) {
		relay_stream(r, u, pieces, n, raw);
		return;
	}
	for (unsigned i = 0; i < n && !u->socket.closing; i++)
		relay_body(r, u, pieces[i]);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* An object from end to end? What is inside is the client's to judge. */
static bool looks_like_json(sl_str body)
{
	size_t first = 0, last = body.len;
	while (first < last && is_space(body.ptr[first]))
		first++;
	while (last > first && is_space(body.ptr[last - 1]))
		last--;
	return last - first >= 2 && body.ptr[first] == '{' && body.ptr[last - 1] == '}';
}

/* The words of another door in the place of the body. False: answered. */
static bool rewrite(struct request *r, sl_str *body)
{
	struct buf text = { 0 };
	bool ok = door_answer(r, *body, &text);
	if (ok) {
		buf_free(&r->tail);
		r->tail = text;
		r->whole = (sl_str){ NULL, 0 };
		*body = buf_str(&text);
		return true;
	}
	buf_free(&text);
	relay_broken(r, "upstream_protocol", "The model's server sent something that is no answer.");
	return false;
}

/* The head of a plain answer is complete now that its length is known. */
static void end_head(struct request *r, struct buf *head, size_t length)
{
	if (r->worker->draining && r->client)
		r->client->keep_alive = false;
	receipt_field(r, head);
	buf_puts(head, r->client && !r->client->keep_alive ? "connection: close\r\ncontent-length: " : "content-length: ");
	buf_put_u64(head, length);
	buf_puts(head, "\r\n\r\n");
}

void relay_end(struct request *r)
{
	if (r->sse) {
		/* Complete means [DONE], or at least a reason why it ended: then we add the word. */
		if (r->done_seen || r->finished)
			finish_stream(r);
		else
			relay_broken(r, "upstream_error", "The model's server ended its answer in the middle.");
		return;
	}
	struct buf *head = r->fresh ? &r->worker->scratch : &r->hold;
	sl_str body = r->whole.ptr ? r->whole : buf_str(&r->tail);
	if (r->status == 200 && !r->passing && (r->streaming || !looks_like_json(body))) {
		relay_broken(r, "upstream_protocol", r->streaming ? "The model's server did not stream its answer."
		                                                  : "The model's server sent something that is no JSON.");
		return;
	}
	if (r->status >= 500 && door_blame(r))
		return;
	struct body_usage usage = { 0, 0, 0 }; /* of a count of tokens */
	if (r->spoken == BODY_COUNT_TOKENS || (body.len && body_find_usage(body.ptr, body.len, &usage)))
		relay_usage(r, &usage);
	if (door_rewrites(r) && !rewrite(r, &body))
		return;
	r->complete = r->status == 200 && r->spoken != BODY_COUNT_TOKENS;
	dispatch_done(r, r->status >= 500);
	if (r->passing) {
		if (r->passing_chunked && r->tail.len)
			buf_printf(&r->hold, "%zx\r\n", r->tail.len);
		buf_put(&r->hold, r->tail.data, r->tail.len);
		if (r->passing_chunked)
			buf_puts(&r->hold, r->tail.len ? "\r\n0\r\n\r\n" : "0\r\n\r\n");
	} else {
		end_head(r, head, body.len);
		if (!r->whole.ptr)
			buf_put(head, body.ptr, body.len);
	}
	buf_free(&r->tail);
	if (head->failed && !r->head_sent) {
		relay_broken(r, "overloaded", "Out of memory.");
		return;
	}
	settle_and_finish(r, buf_str(head), r->whole);
}

/* The end of its engine cut off a plain answer of which nothing has gone out: as if it had never begun. */
static bool begin_again(struct request *r, const char *code)
{
	if (r->head_sent || r->sse || !r->client || !r->replica || strcmp(code, "upstream_error") != 0 ||
	    !route_replica_doubt(r->replica))
		return false;
	dispatch_done(r, true);
	buf_clear(&r->hold);
	buf_free(&r->tail);
	r->fresh = r->passing = r->finished = r->counted = false;
	r->whole = (sl_str){ NULL, 0 };
	r->answer_bytes = 0;
	r->status = 0;
	r->first_byte_ns = 0;
	r->usage = (struct body_usage){ -1, -1, -1 };
	return dispatch_again(r);
}

void relay_broken(struct request *r, const char *code, const char *text)
{
	if (begin_again(r, code))
		return;
	dispatch_done(r, true);
	r->flags |= SL_USAGE_UPSTREAM_ERROR;
	r->error_code = code;
	if (!r->head_sent) {
		struct answer_error e = { .status = 502, .type = "server_error", .code = code, .message = text };
		buf_clear(&r->hold);
		answer_error(r->client, r, &e);
		return;
	}
	buf_clear(&r->hold);
	if (r->sse) {
		struct buf event = { 0 };
		receipt_comment(r, &event);
		answer_event(&event, r, code, text);
		frame(r, &r->hold, buf_str(&event));
		frame_end(r, &r->hold);
		buf_free(&event);
	} else if (r->client) {
		r->client->keep_alive = false; /* a body that ends before its length: the client sees that it was cut */
	}
	settle_and_finish(r, buf_str(&r->hold), (sl_str){ NULL, 0 });
}

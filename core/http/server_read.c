/* SPDX-License-Identifier: Apache-2.0 */
/* server_read.c - requests, as they come in. */
#include <string.h>

#include "core/base/str.h"
#include "core/http/server_impl.h"

/* The request is whole: the head is parsed once more, since the buffer may have moved. */
static void call_handler(struct server_connection *c, sl_str body)
{
	struct http_server *server = c->server;
	struct http_reject why;
	if (http_parse_request(c->in.data, c->in.len, &c->head, &why) != HTTP_COMPLETE) {
		server_refuse(c, why.status, why.code, why.message);
		return;
	}
	c->state = SERVER_BUSY;
	c->deadline = 0;
	c->keep_alive = c->head.keep_alive && !server->closing;
	c->in_exchange = c->in_handler = true;
	c->begun = c->ended = c->told = c->chunks = false;
	buf_clear(&c->fields);
	c->x.head = &c->head;
	c->x.body = body;
	c->x.data = NULL;
	c->x.on_close = NULL;
	server->handler(server->arg, &c->x);
	c->in_handler = false;
}

/* Decodes what has come of a chunked body; decoded chunks leave `in`. */
static enum http_parse read_chunks(struct server_connection *c, struct http_reject *why)
{
	size_t at = c->head.length;
	enum http_parse result = HTTP_INCOMPLETE;
	for (;;) {
		size_t used;
		sl_str piece;
		result = http_chunked_read(&c->chunked, c->in.data + at, c->in.len - at, &used, &piece, why);
		if (result == HTTP_REJECTED)
			return result;
		buf_put(&c->body, piece.ptr, piece.len);
		if (c->body.failed) {
			*why = (struct http_reject){ 413, "body_too_large", "The body of the request is too large." };
			return HTTP_REJECTED;
		}
		at += used;
		if (result == HTTP_COMPLETE || used == 0)
			break;
	}
	size_t rest = c->in.len - at;
	if (rest)
		memmove(c->in.data + c->head.length, c->in.data + at, rest);
	c->in.len = c->head.length + rest;
	c->used = c->head.length;
	return result;
}

static void advance_body(struct server_connection *c)
{
	struct http_reject why;
	if (c->head.chunked) {
		enum http_parse result = read_chunks(c, &why);
		if (result == HTTP_REJECTED)
			server_refuse(c, why.status, why.code, why.message);
		else if (result == HTTP_COMPLETE)
			call_handler(c, c->body.len ? buf_str(&c->body) : STR(""));
		return;
	}
	size_t length = c->head.has_length ? (size_t) c->head.content_length : 0;
	if (c->in.len - c->head.length < length)
		return;
	c->used = c->head.length + length;
	call_handler(c, (sl_str){ c->in.data + c->head.length, length });
}

static void advance_head(struct server_connection *c)
{
	struct http_reject why;
	enum http_parse result = c->in.len ? http_parse_request(c->in.data, c->in.len, &c->head, &why) : HTTP_INCOMPLETE;
	if (result == HTTP_REJECTED)
		server_refuse(c, why.status, why.code, why.message);
	if (result != HTTP_COMPLETE)
		return;
	size_t max = c->server->options.body_max;
	if (c->head.has_length && c->head.content_length > max) {
		server_refuse(c, 413, "body_too_large", "The body of the request is too large.");
		return;
	}
	bool has_body = c->head.chunked || (c->head.has_length && c->head.content_length > 0);
	if (c->head.expect_continue && has_body && c->in.len == c->head.length &&
	    !server_write(c, STR("HTTP/1.1 100 Continue\r\n\r\n"), STR(""), STR("")))
		return;
	c->chunked = (struct http_chunked){ 0 };
	buf_clear(&c->body);
	c->body.max = max;
	c->state = SERVER_BODY;
}

void server_advance(struct server_connection *c)
{
	bool again = true;
	while (again) {
		if (c->state == SERVER_HEAD)
			advance_head(c);
		if (c->state == SERVER_BODY)
			advance_body(c);
		/* An answer that ended inside its handler: on to the next request. */
		again = c->state == SERVER_BUSY && c->ended && c->writes == 0;
		if (again)
			server_exchange_over(c);
	}
	if (c->eof && (c->state == SERVER_HEAD || c->state == SERVER_BODY))
		server_linger(c); /* the rest of this request will never come */
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
	struct server_connection *c = handle->data;
	(void) suggested;
	*out = uv_buf_init(c->server->room, sizeof c->server->room);
}

/* The client sends nothing more. It may have closed only its side, and is answered then. */
static void on_end(struct server_connection *c)
{
	c->eof = true;
	if (c->state != SERVER_BUSY || server_is_gone(c))
		server_cut(c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *room)
{
	struct server_connection *c = stream->data;
	if (n == 0 || c->state == SERVER_CLOSED)
		return;
	if (n < 0) {
		if (n == UV_EOF)
			on_end(c);
		else
			server_cut(c);
		return;
	}
	if (c->state == SERVER_LINGER)
		return;
	if (c->state == SERVER_BUSY) {
		buf_put(&c->ahead, room->base, (size_t) n);
		c->paused = c->ahead.len >= SERVER_AHEAD_MAX;
		if (c->paused)
			uv_read_stop(stream);
		return;
	}
	if (c->in.len == 0)
		server_touch(c, c->server->options.head_timeout_ms);
	buf_put(&c->in, room->base, (size_t) n);
	if (c->in.failed || c->ahead.failed)
		server_cut(c);
	else
		server_advance(c);
}

void server_read_start(struct server_connection *c)
{
	c->paused = false;
	if (uv_read_start(&c->socket.stream, on_room, on_read) < 0)
		server_cut(c);
}

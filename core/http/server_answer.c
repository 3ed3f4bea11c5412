/* SPDX-License-Identifier: Apache-2.0 */
/* server_answer.c - answers, as they go out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/http/server_impl.h"

enum { KEEP_ROOM = 16 * 1024 };

/* Bytes that the socket did not take at once. */
struct pending {
	uv_write_t write;
	struct server_connection *c;
	char data[];
};

static struct server_connection *connection_of(const struct http_exchange *x)
{
	return (struct server_connection *) ((char *) (uintptr_t) x - offsetof(struct server_connection, x));
}

static const char *reason(int status)
{
	static const struct { int status; const char *text; } reasons[] = {
		{ 200, "OK" }, { 201, "Created" }, { 202, "Accepted" }, { 204, "No Content" }, { 302, "Found" }, { 303, "See Other" },
		{ 304, "Not Modified" }, { 400, "Bad Request" }, { 401, "Unauthorized" }, { 403, "Forbidden" }, { 404, "Not Found" },
		{ 405, "Method Not Allowed" }, { 408, "Request Timeout" }, { 409, "Conflict" }, { 413, "Content Too Large" },
		{ 414, "URI Too Long" }, { 415, "Unsupported Media Type" }, { 417, "Expectation Failed" }, { 422, "Unprocessable Content" },
		{ 429, "Too Many Requests" }, { 431, "Request Header Fields Too Large" }, { 500, "Internal Server Error" },
		{ 501, "Not Implemented" }, { 502, "Bad Gateway" }, { 503, "Service Unavailable" }, { 504, "Gateway Timeout" },
		{ 505, "HTTP Version Not Supported" },
	};
	for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
		if (reasons[i].status == status)
			return reasons[i].text;
	return "Other";
}

/* An idle connection keeps no large buffer. */
static void shrink(struct buf *buf)
{
	if (buf->room > KEEP_ROOM)
		buf_free(buf);
}

void server_exchange_over(struct server_connection *c)
{
	bool tell = c->x.on_close && !c->told;
	c->told = true;
	if (tell)
		c->x.on_close(&c->x, false);
	c->begun = c->ended = false;
	buf_consume(&c->in, c->used);
	buf_put(&c->in, c->ahead.data, c->ahead.len);
	c->used = 0;
	if (c->in.failed || c->ahead.failed) {
		server_cut(c);
		return;
	}
	if (!c->keep_alive || c->server->closing || (c->eof && c->in.len == 0)) {
		server_linger(c);
		return;
	}
	buf_clear(&c->ahead);
	shrink(&c->ahead);
	shrink(&c->body);
	if (c->in.len == 0)
		shrink(&c->in);
	c->state = SERVER_HEAD;
	server_touch(c, c->in.len ? c->server->options.head_timeout_ms : c->server->options.idle_timeout_ms);
	if (c->paused)
		server_read_start(c);
}

static void on_written(uv_write_t *write, int status)
{
	struct pending *pending = write->data;
	struct server_connection *c = pending->c;
	free(pending);
	c->writes--;
	if (c->state == SERVER_CLOSED)
		return;
	if (status < 0) {
		server_cut(c);
	} else if (c->state == SERVER_BUSY && c->ended && c->writes == 0) {
		server_exchange_over(c);
		server_advance(c);
	} else if (c->state == SERVER_BUSY && c->begun && !c->ended && c->writes == 0 && c->x.on_drained) {
		c->x.on_drained(&c->x);
	}
}

static size_t take(sl_str *parts, size_t n, size_t written)
{
	size_t rest = 0;
	for (size_t i = 0; i < n; i++) {
		size_t used = written < parts[i].len ? written : parts[i].len;
		parts[i] = (sl_str){ parts[i].ptr + used, parts[i].len - used };
		written -= used;
		rest += parts[i].len;
	}
	return rest;
}

/* Queues what is left of the parts. */
static bool queue(struct server_connection *c, const sl_str *parts, size_t n, size_t rest)
{
	struct pending *pending = malloc(sizeof *pending + rest);
	if (!pending)
		return false;
	size_t at = 0;
	for (size_t i = 0; i < n; i++) {
		if (parts[i].len)
			memcpy(pending->data + at, parts[i].ptr, parts[i].len);
		at += parts[i].len;
	}
	pending->c = c;
	pending->write.data = pending;
	uv_buf_t buf = uv_buf_init(pending->data, (unsigned) rest);
	if (uv_write(&pending->write, &c->socket.stream, &buf, 1, on_written) < 0) {
		free(pending);
		return false;
	}
	c->writes++;
	return true;
}

bool server_write(struct server_connection *c, sl_str head, sl_str data, sl_str tail)
{
	sl_str parts[] = { head, data, tail };
	enum { N = sizeof parts / sizeof parts[0] };
	if (c->state == SERVER_CLOSED)
		return false;
	int written = 0;
	if (c->writes == 0) {
		uv_buf_t bufs[N];
		unsigned n = 0;
		for (size_t i = 0; i < N; i++)
			if (parts[i].len)
				bufs[n++] = uv_buf_init((char *) (uintptr_t) parts[i].ptr, (unsigned) parts[i].len);
		written = n ? uv_try_write(&c->socket.stream, bufs, n) : 0;
		if (written == UV_EAGAIN)
			written = 0;
	}
	size_t rest = written < 0 ? 0 : take(parts, N, (size_t) written);
	if (written >= 0 && rest == 0)
		return true;
	/* One write may be larger than the bound: its bytes were in memory anyway. */
	size_t waiting = uv_stream_get_write_queue_size(&c->socket.stream);
	bool too_slow = waiting > 0 && waiting + rest > c->server->options.write_max;
	if (written < 0 || too_slow || !queue(c, parts, N, rest)) {
		server_cut(c);
		return false;
	}
	return true;
}

/* Everything of an answer's head but its framing. */
static void put_head(struct server_connection *c, struct buf *out, int status, const char *type)
{
	buf_printf(out, "HTTP/1.1 %d %s\r\n", status, reason(status));
	if (type)
		buf_printf(out, "Content-Type: %s\r\n", type);
	if (!c->keep_alive || c->server->closing)
		buf_puts(out, "Connection: close\r\n");
	else if (c->head.minor == 0)
		buf_puts(out, "Connection: keep-alive\r\n");
	buf_put(out, c->fields.data, c->fields.len);
}

static bool has_no_body(int status)
{
	return status < 200 || status == 204 || status == 304;
}

/* The handler is done with the exchange. */
static void end(struct server_connection *c)
{
	c->in_exchange = false;
	c->ended = true;
	if (c->in_handler)
		return; /* server_advance goes on */
	if (c->state == SERVER_CLOSED) {
		server_release(c);
	} else if (c->writes == 0) {
		server_exchange_over(c);
		server_advance(c);
	}
}

/* May an answer begin? */
static bool begin(struct server_connection *c)
{
	if (c->begun || c->ended || c->state == SERVER_CLOSED)
		return false;
	c->begun = true;
	return true;
}

void http_respond(struct http_exchange *x, int status, const char *type, sl_str body)
{
	struct server_connection *c = connection_of(x);
	if (begin(c)) {
		struct buf head = { 0 };
		bool none = has_no_body(status), only_head = str_eq(c->head.method, STR("HEAD"));
		put_head(c, &head, status, type);
		if (!none)
			buf_printf(&head, "Content-Length: %zu\r\n", body.len);
		buf_puts(&head, "\r\n");
		if (head.failed)
			server_cut(c);
		else
			server_write(c, buf_str(&head), none || only_head ? STR("") : body, STR(""));
		buf_free(&head);
	}
	end(c);
}

void http_respond_begin(struct http_exchange *x, int status, const char *type)
{
	struct server_connection *c = connection_of(x);
	if (!begin(c))
		return;
	struct buf head = { 0 };
	bool none = has_no_body(status) || str_eq(c->head.method, STR("HEAD"));
	/* HTTP/1.0 knows no chunks: the end of the connection is the end of the answer. */
	c->chunks = c->head.minor == 1;
	c->keep_alive = c->keep_alive && c->chunks;
	put_head(c, &head, status, type);
	if (c->chunks && !has_no_body(status))
		buf_puts(&head, "Transfer-Encoding: chunked\r\n");
	buf_puts(&head, "\r\n");
	c->no_body = none;
	if (head.failed)
		server_cut(c);
	else
		server_write(c, buf_str(&head), STR(""), STR(""));
	buf_free(&head);
}

bool http_respond_chunk(struct http_exchange *x, sl_str data)
{
	struct server_connection *c = connection_of(x);
	char size[24];
	if (!c->begun || c->ended || c->state == SERVER_CLOSED)
		return false;
	if (data.len == 0 || c->no_body)
		return true;
	if (!c->chunks)
		return server_write(c, data, STR(""), STR(""));
	int n = snprintf(size, sizeof size, "%zx\r\n", data.len);
	return server_write(c, (sl_str){ size, (size_t) n }, data, STR("\r\n"));
}

void http_respond_end(struct http_exchange *x)
{
	struct server_connection *c = connection_of(x);
	if (c->begun && !c->ended && c->chunks && !c->no_body)
		server_write(c, STR("0\r\n\r\n"), STR(""), STR(""));
	else if (!c->begun)
		server_cut(c); /* an exchange without an answer: there is nothing to say */
	end(c);
}

void http_respond_abort(struct http_exchange *x)
{
	struct server_connection *c = connection_of(x);
	server_cut(c);
	end(c);
}

size_t http_respond_backlog(const struct http_exchange *x)
{
	const struct server_connection *c = connection_of(x);
	return c->state == SERVER_CLOSED ? 0 : uv_stream_get_write_queue_size(&c->socket.stream);
}

bool http_respond_header(struct http_exchange *x, const char *name, sl_str value)
{
	struct server_connection *c = connection_of(x);
	for (size_t i = 0; i < value.len; i++)
		if (((unsigned char) value.ptr[i] < ' ' && value.ptr[i] != '\t') || value.ptr[i] == 0x7f)
			return false;
	if (c->fields.len + strlen(name) + value.len + 4 > SERVER_FIELDS_MAX)
		return false;
	buf_puts(&c->fields, name);
	buf_puts(&c->fields, ": ");
	buf_put(&c->fields, value.ptr, value.len);
	buf_puts(&c->fields, "\r\n");
	return !c->fields.failed;
}

static void put_error(struct buf *out, int status, const char *code, const char *message)
{
	buf_puts(out, "{\"error\":{\"message\":");
	buf_put_json(out, str_of(message));
	buf_printf(out, ",\"type\":\"%s\",\"param\":null,\"code\":", status >= 500 ? "server_error" : "invalid_request_error");
	buf_put_json(out, str_of(code));
	buf_puts(out, "}}\n");
}

void http_respond_error(struct http_exchange *x, int status, const char *code, const char *message)
{
	struct buf body = { 0 };
	put_error(&body, status, code, message);
	http_respond(x, status, "application/json", buf_str(&body));
	buf_free(&body);
}

void server_refuse(struct server_connection *c, int status, const char *code, const char *message)
{
	struct buf head = { 0 }, body = { 0 };
	buf_clear(&c->fields);
	c->keep_alive = false;
	bool only_head = http_is_head_request(buf_str(&c->in));
	put_error(&body, status, code, message);
	put_head(c, &head, status, "application/json");
	buf_printf(&head, "Content-Length: %zu\r\n\r\n", body.len);
	if (head.failed || body.failed)
		server_cut(c);
	else if (server_write(c, buf_str(&head), only_head ? STR("") : buf_str(&body), STR("")))
		server_linger(c);
	buf_free(&head);
	buf_free(&body);
}

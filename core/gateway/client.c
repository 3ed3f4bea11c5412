/* SPDX-License-Identifier: Apache-2.0 */
/* client.c - connections from clients: heads and bodies are read, pipelined requests wait their turn. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/str.h"
#include "core/gateway/worker.h"

enum {
	PIPELINE_MAX = 64 * 1024, /* bytes kept of requests that come before their turn */
	WHOLE_MIN = 8 * 1024,     /* bodies from here on are worth a memory of their own */
	WHOLE_MAX = 256 * 1024
};

static const char continue_line[] = "HTTP/1.1 100 Continue\r\n\r\n";
/* An interim answer that tells a client that is gone from one that only has nothing more to say: the kernel of the
 * former answers it with a reset. */
static const char probe_line[] = "HTTP/1.1 102 Processing\r\n\r\n";

static const struct conf *conf_of(const struct client *c)
{
	return c->request ? c->request->generation->conf : c->socket.worker->generation->conf;
}

static void keep(struct client *c, const char *data, size_t len)
{
	if (len == 0)
		return;
	c->in.max = HTTP_HEAD_MAX + PIPELINE_MAX;
	buf_put(&c->in, data, len);
	if (c->in.failed)
		client_close(c);
}

static void refuse_head(struct client *c, const struct http_reject *why)
{
	struct answer_error e = { .status = why->status, .type = "invalid_request_error", .code = why->code, .message = why->message };
	c->keep_alive = false;
	bool alone = !c->request;
	answer_error(c, c->request, &e);
	if (alone)
		client_next(c);
}

/* Takes bytes of the body from data; returns how many. */
static size_t take_body(struct client *c, const char *data, size_t len)
{
	struct request *r = c->request;
	size_t body_max = conf_of(c)->body_max, taken = 0;
	if (!c->body_chunked) {
		taken = len < c->body_left ? len : c->body_left;
		buf_put(&r->text, data, taken);
		c->body_left -= taken;
		return taken;
	}
	while (taken < len) {
		size_t used;
		sl_str piece;
		struct http_reject why;
		enum http_parse rc = http_chunked_read(&c->chunked, data + taken, len - taken, &used, &piece, &why);
		if (rc == HTTP_REJECTED) {
			refuse_head(c, &why);
			return len;
		}
		taken += used;
		if (r->text.len + piece.len > body_max) {
			struct answer_error e = { .status = 413, .type = "invalid_request_error", .code = "body_too_large",
				.message = "The request body is above this server's limit." };
			c->keep_alive = false;
			answer_error(c, r, &e);
			return len;
		}
		buf_put(&r->text, piece.ptr, piece.len);
		if (rc == HTTP_COMPLETE) {
			c->body_left = 0;
			return taken;
		}
		if (used == 0)
			break;
	}
	return taken;
}

static void body_complete(struct client *c)
{
	struct request *r = c->request;
	c->state = CLIENT_BUSY;
	socket_expire(&c->socket, 0);
	if (!buf_reserve(&r->text, WORKER_SLACK)) {
		client_close(c);
		return;
	}
	r->text_len = r->text.len - r->text_at;
	request_body(r);
}

static bool begin_head(struct client *c, const struct http_head *head)
{
	size_t body_max = conf_of(c)->body_max;
	c->anthropic = str_starts(head->path, STR("/v1/messages"));
	c->keep_alive = head->keep_alive;
	c->http10 = head->minor == 0;
	c->continue_sent = !head->expect_continue;
	c->body_chunked = head->chunked;
	c->chunked = (struct http_chunked){ 0 };
	c->body_left = head->chunked ? 1 : head->has_length ? head->content_length : 0;
	c->expect = !head->chunked && c->body_left >= WHOLE_MIN && c->body_left <= WHOLE_MAX ? head->length + c->body_left : 0;
	if (head->has_length && head->content_length > body_max) {
		struct answer_error e = { .status = 413, .type = "invalid_request_error", .code = "body_too_large",
			.message = "The request body is above this server's limit." };
		c->keep_alive = false;
		answer_error(c, NULL, &e);
		return false;
	}
	return request_begin(c, head);
}

/* The request may go on: its body is read, or is there already. */
static void start_body(struct client *c)
{
	const struct conf *conf = conf_of(c);
	c->state = CLIENT_BODY;
	if (!c->continue_sent) {
		socket_send(&c->socket, continue_line, sizeof continue_line - 1);
		c->continue_sent = true;
	}
	socket_expire(&c->socket, (uint64_t) conf->body_ms);
}

/* A head was answered without its body being read. True: the next request may follow. */
static bool answered(struct client *c)
{
	if (c->body_left)
		c->keep_alive = false;
	if (c->keep_alive && !c->read_shut && !c->socket.worker->draining && !c->socket.closing) {
		c->state = CLIENT_HEAD;
		socket_expire(&c->socket, (uint64_t) conf_of(c)->idle_ms);
		return true;
	}
	if (!c->socket.closing)
		client_next(c);
	return false;
}

/* The body's first bytes lie in memory that holds all of it: the request takes that over, and nothing is copied. */
static bool take_whole(struct client *c, const char *data, size_t *len)
{
	struct request *r = c->request;
	size_t at = (size_t) (data - c->whole.data);
	if (!c->whole.data || c->body_chunked || r->text.len || c->body_left < WHOLE_MIN || at > c->whole.room ||
	    c->body_left + WORKER_SLACK > c->whole.room - at)
		return false;
	buf_free(&r->text);
	r->text = c->whole;
	c->whole = (struct buf){ 0 };
	if (*len > c->body_left)
		*len = c->body_left;
	r->text_at = at;
	r->text.len = at + *len;
	c->body_left -= *len;
	return true;
}

static void step_body(struct client *c, const char *data, size_t len)
{
	size_t taken = len;
	if (!take_whole(c, data, &taken)) {
		if (!c->body_chunked && !buf_reserve_exact(&c->request->text, c->body_left + WORKER_SLACK)) {
			client_close(c);
			return;
		}
		taken = take_body(c, data, len);
	}
	if (c->state != CLIENT_BODY || c->socket.closing)
		return; /* refused */
	if (c->request->text.failed) {
		client_close(c);
		return;
	}
	if (c->body_left && !c->body_chunked)
		return;
	keep(c, data + taken, len - taken);
	if (!c->body_left && !c->socket.closing)
		body_complete(c);
}

static void step(struct client *c, const char *data, size_t len)
{
	struct worker *w = c->socket.worker;
	while (!c->socket.closing && c->state == CLIENT_HEAD && len) {
		struct http_reject why;
		c->only_head = http_is_head_request((sl_str){ data, len });
		enum http_parse rc = http_parse_request(data, len, &w->head, &why);
		if (rc == HTTP_REJECTED) {
			refuse_head(c, &why);
			return;
		}
		if (rc == HTTP_INCOMPLETE) {
			if (!c->head_begun) /* from its first byte on, not renewed by later ones */
				socket_expire(&c->socket, (uint64_t) conf_of(c)->header_ms);
			c->head_begun = true;
			break;
		}
		c->head_begun = false;
		data += w->head.length;
		len -= w->head.length;
		c->state = CLIENT_BUSY;
		socket_expire(&c->socket, 0);
		if (!begin_head(c, &w->head)) {
			if (!answered(c))
				return;
		} else if (c->request && !c->request->auth_pending) {
			start_body(c);
		}
	}
	if (c->socket.closing || c->state == CLIENT_CLOSING)
		return;
	if (c->state == CLIENT_BODY)
		step_body(c, data, len);
	else
		keep(c, data, len);
}

/* Works through what has come. A request that ends at once lets the next one begin here, not in a deeper call. */
static void process(struct client *c, const char *data, size_t len)
{
	c->processing = true;
	step(c, data, len);
	while (c->again && !c->socket.closing) {
		c->again = false;
		struct buf in = c->in;
		c->in = (struct buf){ 0 };
		step(c, in.data, in.len);
		buf_free(&in);
	}
	c->processing = false;
}

void client_resume(struct client *c)
{
	start_body(c);
	if (c->socket.closing)
		return;
	struct buf in = c->in;
	c->in = (struct buf){ 0 };
	process(c, in.data, in.len);
	buf_free(&in);
}

static void read_shut(struct client *c)
{
	c->read_shut = true;
	socket_watch(&c->socket, false);
	if (c->state != CLIENT_BUSY || !c->request) {
		client_close(c);
		return;
	}
	/* Half-closed, and still to be answered; or gone. See probe_line. */
	if (!c->request->head_sent && !c->http10 && c->socket.span_bytes == 0)
		socket_send(&c->socket, probe_line, sizeof probe_line - 1);
	socket_flush(&c->socket);
	socket_watch_reset(&c->socket);
}

/* What a read returned is no data. */
static bool ended(struct client *c, ssize_t n)
{
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		client_close(c);
	else if (n == 0)
		read_shut(c);
	return n <= 0;
}

/* A client whose last request was large often has such a one again: it is read to memory that can become the request's
 * own. False: there is none. */
static bool read_whole(struct client *c)
{
	size_t room = c->expect + c->expect / 8 + 1024; /* a chat grows */
	if (!buf_reserve_exact(&c->whole, room + WORKER_SLACK)) {
		buf_free(&c->whole);
		return false;
	}
	memset(c->whole.data + room, 0, WORKER_SLACK);
	ssize_t n = socket_read(&c->socket, c->whole.data, room);
	if (!ended(c, n))
		process(c, c->whole.data, (size_t) n);
	buf_free(&c->whole);
	return true;
}

static void on_readable(struct gateway_socket *s)
{
	struct client *c = (struct client *) s;
	struct worker *w = s->worker;
	if (c->read_shut) {
		client_close(c);
		return;
	}
	if (c->state == CLIENT_HEAD && c->expect && !c->in.len && read_whole(c))
		return;
	bool direct = c->state == CLIENT_BODY && !c->body_chunked && c->in.len == 0 && c->body_left > WORKER_READ / 4;
	size_t room;
	char *to = worker_read_room(w, &room);
	if (direct) {
		/* The rest of a large body goes straight to where it stays. */
		to = c->request->text.data + c->request->text.len;
		room = c->body_left;
	}
	ssize_t n = socket_read(s, to, room);
	if (ended(c, n))
		return;
	if (direct) {
		c->request->text.len += (size_t) n;
		c->body_left -= (size_t) n;
		if (c->body_left == 0)
			body_complete(c);
		return;
	}
	worker_read_done(w, (size_t) n);
	if (c->state == CLIENT_CLOSING)
		return; /* read and forgotten, so that the answer is not reset away */
	if (c->in.len && c->state != CLIENT_BUSY) {
		keep(c, to, (size_t) n);
		struct buf in = c->in;
		c->in = (struct buf){ 0 };
		if (!s->closing)
			process(c, in.data, in.len);
		buf_free(&in);
	} else {
		process(c, to, (size_t) n);
	}
}

static void on_drained(struct gateway_socket *s)
{
	struct client *c = (struct client *) s;
	if (c->state == CLIENT_CLOSING && c->socket.out.len == 0) {
		shutdown(s->fd, SHUT_WR);
		return;
	}
	socket_expire(s, 0);
	if (c->request && c->request->upstream && c->request->upstream->paused)
		upstream_resume(c->request->upstream);
}

static void on_expired(struct gateway_socket *s)
{
	struct client *c = (struct client *) s;
	if (c->state == CLIENT_BODY || (c->state == CLIENT_HEAD && c->in.len)) {
		struct answer_error e = { .status = 408, .type = "invalid_request_error", .code = "request_timeout",
			.message = "The request did not arrive in time." };
		c->keep_alive = false;
		bool alone = !c->request;
		answer_error(c, c->request, &e);
		if (alone)
			client_next(c);
		return;
	}
	if (c->state == CLIENT_BUSY && c->socket.out.len == 0 && c->request) {
		request_expired(c->request);
		return;
	}
	client_close(c); /* idle, or it does not read its answer */
}

static void on_closed(struct gateway_socket *s)
{
	free(s);
}

static const struct socket_calls client_calls = { on_readable, on_drained, on_expired, on_closed };

bool client_accept(struct worker *w, int fd, const char *peer)
{
	struct client *c = calloc(1, sizeof *c);
	if (!c)
		return false;
	if (!socket_open(&c->socket, w, fd, &client_calls)) {
		free(c);
		return false;
	}
	str_copy(c->peer, sizeof c->peer, str_of(peer));
	c->next = w->clients;
	if (c->next)
		c->next->link = &c->next;
	c->link = &w->clients;
	w->clients = c;
	worker_count(&w->n_clients, 1);
	socket_watch(&c->socket, true);
	socket_expire(&c->socket, (uint64_t) conf_of(c)->header_ms);
	return true;
}

void client_close(struct client *c)
{
	if (c->socket.closing)
		return;
	struct worker *w = c->socket.worker;
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	worker_count(&w->n_clients, -1);
	atomic_fetch_sub(&w->gateway->connections, 1);
	buf_free(&c->in);
	struct request *r = c->request;
	c->request = NULL;
	socket_close(&c->socket);
	if (r)
		request_client_gone(r);
}

void client_next(struct client *c)
{
	struct worker *w = c->socket.worker;
	if (c->socket.closing)
		return;
	if (!c->keep_alive || c->read_shut || w->draining) {
		/* A close with unread bytes resets the connection and can take the answer along: send all, say that
		 * nothing follows, and read on for a moment. */
		c->state = CLIENT_CLOSING;
		socket_flush(&c->socket);
		if (c->read_shut || c->socket.broken) {
			if (c->socket.out.len == 0 || c->socket.broken) {
				client_close(c);
				return;
			}
		}
		if (c->socket.out.len == 0)
			shutdown(c->socket.fd, SHUT_WR);
		socket_expire(&c->socket, 2000);
		return;
	}
	c->state = CLIENT_HEAD;
	socket_expire(&c->socket, (uint64_t) conf_of(c)->idle_ms);
	if (c->in.len && c->processing) {
		c->again = true;
	} else if (c->in.len) {
		struct buf in = c->in;
		c->in = (struct buf){ 0 };
		process(c, in.data, in.len);
		buf_free(&in);
	}
}

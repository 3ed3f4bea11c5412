/* SPDX-License-Identifier: Apache-2.0 */
/* upstream.c - connections to engines: a pool of idle ones for each replica, what is sent, how answers are framed. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/str.h"
#include "core/gateway/worker.h"

enum { DRAIN_MS = 1000, INTERIM_MAX = 16, HEAD_ROOM = 2048 };

static const struct socket_calls upstream_calls;

static struct upstream **bucket(struct worker *w, unsigned replica_id)
{
	return &w->idle[replica_id % POOL_BUCKETS];
}

static void unlink_idle(struct upstream *u)
{
	if (!u->link)
		return;
	*u->link = u->next;
	if (u->next)
		u->next->link = u->link;
	u->link = NULL;
	u->socket.worker->n_idle[u->replica_id % POOL_BUCKETS]--;
}

static struct upstream *take_idle(struct worker *w, unsigned replica_id)
{
	struct upstream *u = *bucket(w, replica_id);
	while (u && (u->replica_id != replica_id || u->socket.broken))
		u = u->next;
	if (u)
		unlink_idle(u);
	return u;
}

static struct upstream *connect_to(struct worker *w, const struct route_replica *replica)
{
	int fd = socket(replica->address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return NULL;
	int on = 1;
	if (replica->address.any.sa_family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	struct upstream *u = calloc(1, sizeof *u);
	bool started = u && (connect(fd, &replica->address.any, replica->address.len) == 0 || errno == EINPROGRESS);
	if (!started || !socket_open(&u->socket, w, fd, &upstream_calls)) {
		close(fd);
		free(u);
		return NULL;
	}
	u->replica_id = replica->id;
	return u;
}

void upstream_close(struct upstream *u)
{
	if (u->socket.closing)
		return;
	if (u->request && u->request->upstream == u)
		u->request->upstream = NULL;
	u->request = NULL;
	unlink_idle(u);
	u->socket.broken = true; /* nothing more is to be sent */
	u->state = UPSTREAM_CLOSING;
	buf_free(&u->in);
	buf_free(&u->partial);
	socket_close(&u->socket);
}

void upstream_close_idle(struct worker *w)
{
	for (unsigned i = 0; i < POOL_BUCKETS; i++)
		while (w->idle[i])
			upstream_close(w->idle[i]);
}

/* The answer was read to its end: the connection is free for the next request, if it may live. */
static void release(struct upstream *u)
{
	if (u->request && u->request->upstream == u)
		u->request->upstream = NULL;
	u->request = NULL;
	if (!u->keep_alive || u->close_after || u->keepalive_ms <= 0 || u->socket.worker->draining) {
		upstream_close(u);
		return;
	}
	buf_free(&u->partial);
	u->scanned = 0;
	u->state = UPSTREAM_IDLE;
	u->reused = true;
	struct upstream **head = bucket(u->socket.worker, u->replica_id);
	uint16_t *n = &u->socket.worker->n_idle[u->replica_id % POOL_BUCKETS];
	if (*n >= POOL_IDLE_MAX) {
		upstream_close(u);
		return;
	}
	++*n;
	u->next = *head;
	if (u->next)
		u->next->link = &u->next;
	u->link = head;
	*head = u;
	socket_watch(&u->socket, true);
	socket_expire(&u->socket, (uint64_t) u->keepalive_ms);
}

static char *put(char *at, const char *text)
{
	return stpcpy(at, text);
}

/* Writes the head to out, which has HEAD_ROOM; returns its length. Every part is bounded by its array. */
static size_t write_head(const struct request *r, size_t body_len, char *out)
{
	const struct route_replica *replica = r->replica;
	/* A base that ends in /v1 already is how OpenAI clients write it. */
	const char *path = doors[r->spoken].path;
	size_t base_len = strlen(replica->address.base);
	if (base_len >= 3 && strcmp(replica->address.base + base_len - 3, "/v1") == 0)
		path += 3;
	char number[24], *digit = number + sizeof number - 1;
	*digit = '\0';
	do
		*--digit = (char) ('0' + body_len % 10);
	while (body_len /= 10);
	char *at = put(put(put(put(out, "POST "), replica->address.base), path), " HTTP/1.1\r\nhost: ");
	at = put(put(at, replica->address.host), "\r\ncontent-type: application/json\r\naccept: */*\r\nuser-agent: sluice\r\n");
	at = put(put(at, "x-request-id: "), r->id);
	if (replica->key[0])
		at = put(put(at, "\r\nauthorization: Bearer "), replica->key);
	if (doors[r->spoken].anthropic) {
		at = put(put(at, "\r\nanthropic-version: "), r->version);
		if (replica->key[0])
			at = put(put(at, "\r\nx-api-key: "), replica->key);
	}
	if (r->traceparent[0])
		at = put(put(at, "\r\ntraceparent: "), r->traceparent);
	at = put(put(put(at, "\r\ncontent-length: "), digit), "\r\n\r\n");
	return (size_t) (at - out);
}

static void send_body(struct upstream *u, const struct request *r, const struct edit *edits, unsigned n)
{
	struct worker *w = u->socket.worker;
	const char *text = request_text(r);
	/* A small body is put together in the arena. A large one goes out from where it lies, which is there until the
	 * connection is closed or has been read from. */
	bool copy = r->text_len <= SOCKET_BATCH_MAX / 2;
	size_t at = 0;
	for (unsigned i = 0; i <= n; i++) {
		size_t until = i < n ? edits[i].start : r->text_len;
		if (until > at) {
			char *to = copy ? worker_alloc(w, until - at) : NULL;
			if (to)
				memcpy(to, text + at, until - at);
			if (to)
				socket_send(&u->socket, to, until - at);
			else
				socket_send_late(&u->socket, text + at, until - at);
		}
		if (i == n)
			break;
		size_t len = strlen(edits[i].text);
		char *insert = len ? worker_alloc(w, len) : NULL;
		if (insert) {
			memcpy(insert, edits[i].text, len);
			socket_send(&u->socket, insert, len);
		} else if (len) {
			socket_break(&u->socket);
		}
		at = edits[i].end;
	}
}

bool upstream_send(struct request *r, bool fresh)
{
	struct worker *w = r->worker;
	struct edit edits[EDITS_MAX];
	unsigned n = edit_plan(r, edits);
	size_t body_len = r->text_len;
	for (unsigned i = 0; i < n; i++)
		body_len += strlen(edits[i].text) - (edits[i].end - edits[i].start);
	struct upstream *u = fresh ? NULL : take_idle(w, r->replica->id);
	if (!u && !(u = connect_to(w, r->replica)))
		return false;
	_Static_assert(sizeof r->replica->address.base + sizeof r->replica->address.host + 2 * sizeof r->replica->key +
	               sizeof r->id + sizeof r->traceparent + 320 < HEAD_ROOM, "a head fits");
	char *head = worker_alloc(w, HEAD_ROOM);
	size_t head_len = head ? write_head(r, body_len, head) : 0;
	if (!head_len) {
		upstream_close(u);
		return false;
	}
	if (head + HEAD_ROOM == w->arena + w->arena_used)
		w->arena_used -= HEAD_ROOM - head_len; /* what follows continues the same span */
	u->request = r;
	r->upstream = u;
	u->state = UPSTREAM_SENT;
	u->decoder = (struct http_chunked){ 0 };
	u->keepalive_ms = r->engine ? r->engine->keepalive_ms : 4000;
	u->close_after = false;
	u->paused = false;
	socket_send(&u->socket, head, head_len);
	send_body(u, r, edits, n);
	socket_watch(&u->socket, true);
	socket_expire(&u->socket, (uint64_t) r->model->first_byte_ms);
	return true;
}

/* The connection failed, or the engine broke the rules. */
static void fail(struct upstream *u, const char *code, const char *text, bool strike)
{
	struct request *r = u->request;
	enum upstream_state state = u->state;
	bool reused = u->reused, began = u->in.len > 0;
	u->request = NULL;
	if (r)
		r->upstream = NULL;
	upstream_close(u);
	if (!r)
		return;
	if (state == UPSTREAM_SENT && reused && !began && strcmp(code, "upstream_unreachable") == 0) {
		/* It closed an idle connection just as we used it: no fault of the replica's. Once more on a fresh one. */
		if (upstream_send(r, true))
			return;
	}
	if (state == UPSTREAM_SENT)
		dispatch_failed(r, code, text, strike);
	else
		relay_broken(r, code, text);
}

static bool is_full(const struct request *r, int status)
{
	for (unsigned i = 0; r->engine && i < 4 && r->engine->full_status[i]; i++)
		if (r->engine->full_status[i] == status)
			return true;
	return false;
}

/* The body's end: the request goes on without the connection. */
static void body_end(struct upstream *u)
{
	struct request *r = u->request;
	release(u);
	if (r)
		relay_end(r);
}

/* Plain body, or one without length. */
static void read_plain(struct upstream *u, const char *data, size_t len)
{
	struct request *r = u->request;
	size_t n = len;
	if (!u->until_close && n > u->body_left) {
		n = (size_t) u->body_left;
		u->keep_alive = false; /* bytes behind the answer: not to be trusted with another request */
	}
	if (!u->until_close)
		u->body_left -= n;
	if (r)
		relay_body(r, u, (sl_str){ data, n });
	if (u->socket.closing)
		return;
	if (!u->until_close && u->body_left == 0)
		body_end(u);
}

static void read_chunked(struct upstream *u, const char *data, size_t len)
{
	enum { PIECES = 64 };
	sl_str pieces[PIECES];
	size_t at = 0;
	enum http_parse rc = HTTP_INCOMPLETE;
	while (at < len && rc == HTTP_INCOMPLETE) {
		unsigned n = 0;
		size_t start = at;
		bool boundary = u->decoder.state == 0 && u->decoder.left == 0;
		while (at < len && n < PIECES && rc == HTTP_INCOMPLETE) {
			size_t used;
			struct http_reject why;
			rc = http_chunked_read(&u->decoder, data + at, len - at, &used, &pieces[n], &why);
			at += used;
			n += pieces[n].len > 0; /* also before a malformed chunk: it was generated, and is billed */
			if (used == 0)
				break;
		}
		boundary = boundary && rc == HTTP_INCOMPLETE && u->decoder.state == 0 && u->decoder.left == 0 && u->decoder.extensions == 0;
		sl_str raw = { boundary ? data + start : NULL, boundary ? at - start : 0 };
		if (n && u->request)
			relay_pieces(u->request, u, pieces, n, raw);
		if (u->socket.closing)
			return;
	}
	if (rc == HTTP_REJECTED) {
		fail(u, "upstream_protocol", "The model's server sent a malformed answer.", true);
	} else if (rc == HTTP_COMPLETE) {
		if (at < len)
			u->keep_alive = false;
		body_end(u);
	}
}

static void read_body(struct upstream *u, const char *data, size_t len)
{
	struct request *r = u->request;
	if (r && r->sse)
		socket_expire(&u->socket, (uint64_t) r->model->silence_ms);
	if (u->chunked)
		read_chunked(u, data, len);
	else if (len)
		read_plain(u, data, len);
	if (!u->socket.closing && u->request && u->request->client &&
	    socket_backlog(&u->request->client->socket) > BACKLOG_HIGH) {
		u->paused = true;
		socket_watch(&u->socket, false);
		socket_expire(&u->socket, 0);
	}
}

void upstream_resume(struct upstream *u)
{
	u->paused = false;
	socket_watch(&u->socket, true);
	socket_expire(&u->socket, (uint64_t) u->request->model->silence_ms);
}

/* A head is there whole. False: it was the end of this exchange. */
static bool head_complete(struct upstream *u, const struct http_head *head)
{
	struct request *r = u->request;
	u->keep_alive = head->keep_alive;
	u->chunked = head->chunked;
	u->until_close = !head->chunked && !head->has_length;
	u->body_left = head->has_length ? head->content_length : 0;
	if (u->until_close)
		u->keep_alive = false;
	if (is_full(r, head->status)) {
		fail(u, "model_busy", "The model's servers are full. Try again in a moment.", false);
		return false;
	}
	if (head->status == 502 || head->status == 503 || head->status == 504) {
		fail(u, "upstream_unavailable", "The model's server is not available.", true);
		return false;
	}
	if (head->status < 400 && head->status != 200) { /* a redirect of an engine's is no business of a client's */
		fail(u, "upstream_protocol", "The model's server sent no answer, but a redirect or a status that no door has.", true);
		return false;
	}
	u->state = UPSTREAM_BODY;
	relay_head(r, head);
	if (r->sse && r->engine && r->engine->close_after_stream)
		u->close_after = true;
	return !u->socket.closing;
}

/* What is relayed must stay until the end of the batch. */
static const char *in_arena(struct worker *w, const char *data, size_t len)
{
	char *copy = worker_alloc(w, len);
	return copy ? memcpy(copy, data, len) : NULL;
}

static void read_head(struct upstream *u, const char *data, size_t len)
{
	struct worker *w = u->socket.worker;
	struct buf own = { 0 };
	if (u->in.len) {
		u->in.max = 2 * HTTP_HEAD_MAX + WORKER_READ;
		buf_put(&u->in, data, len);
		own = u->in;
		u->in = (struct buf){ 0 };
		data = own.data;
		len = own.len;
	}
	for (unsigned interim = 0; interim < INTERIM_MAX; interim++) {
		struct http_reject why;
		enum http_parse rc = own.failed ? HTTP_REJECTED : http_parse_response(data, len, &w->head, &why);
		if (rc == HTTP_REJECTED) {
			fail(u, "upstream_protocol", "The model's server sent a malformed answer.", true);
			break;
		}
		if (rc == HTTP_INCOMPLETE) {
			buf_put(&u->in, data, len);
			break;
		}
		data += w->head.length;
		len -= w->head.length;
		if (w->head.status >= 100 && w->head.status < 200)
			continue;
		if (!head_complete(u, &w->head))
			break;
		if (!u->chunked && !u->until_close && u->body_left == 0)
			body_end(u);
		else if (len && (!own.data || (data = in_arena(w, data, len))))
			read_body(u, data, len);
		else if (len)
			fail(u, "overloaded", "Out of memory.", false);
		if (!u->socket.closing && u->request)
			relay_keep(u->request);
		break;
	}
	buf_free(&own);
}

static void at_end(struct upstream *u, int error)
{
	if (u->state == UPSTREAM_BODY && u->until_close && !error) {
		body_end(u);
		return;
	}
	if (u->state == UPSTREAM_BODY)
		fail(u, "upstream_error", "The model's server closed the connection before the end of its answer.", true);
	else if (u->state == UPSTREAM_SENT)
		fail(u, "upstream_unreachable", "The model's server cannot be reached.", true);
	else
		upstream_close(u);
}

static void on_readable(struct gateway_socket *s)
{
	struct upstream *u = (struct upstream *) s;
	size_t room;
	if (s->n_spans) /* an answer before the request is out: its end may free what is to be sent */
		socket_flush(s);
	char *to = worker_read_room(s->worker, &room);
	ssize_t n = socket_read(s, to, room);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		at_end(u, n < 0);
		return;
	}
	worker_read_done(s->worker, (size_t) n);
	if (u->state == UPSTREAM_SENT)
		read_head(u, to, (size_t) n);
	else if (u->state == UPSTREAM_BODY)
		read_body(u, to, (size_t) n);
	else
		upstream_close(u); /* nobody asked */
}

static void on_expired(struct gateway_socket *s)
{
	struct upstream *u = (struct upstream *) s;
	if (u->state == UPSTREAM_SENT)
		fail(u, "upstream_timeout", "The model's server did not answer in time.", true);
	else if (u->state == UPSTREAM_BODY && u->request)
		fail(u, "upstream_timeout", "The model's server went silent in the middle of its answer.", true);
	else
		upstream_close(u);
}

static void on_closed(struct gateway_socket *s)
{
	free(s);
}

static const struct socket_calls upstream_calls = { on_readable, NULL, on_expired, on_closed };

void upstream_detach(struct upstream *u)
{
	if (u->request && u->request->upstream == u)
		u->request->upstream = NULL;
	u->request = NULL;
	u->paused = false;
	socket_watch(&u->socket, true);
	socket_expire(&u->socket, DRAIN_MS);
}

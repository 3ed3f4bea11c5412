/* SPDX-License-Identifier: Apache-2.0 */
/* play.c - the page's playground: a chat request goes on to the inference door with the caller's own key, and the
 * answer comes back piece by piece. So the key stays out of the page's scripts, and the inference door answers no
 * foreign page: limits, prices and records are those of any other request with this key. */
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/control/inner.h"

enum { READ_ROOM = 16 * 1024, BACKLOG_MAX = 256 * 1024, RESUME_MS = 50, INTERIM_MAX = 8 };

struct play {
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} socket;
	uv_timer_t resume;       /* runs while the client is behind */
	uv_connect_t connect;
	uv_write_t write;
	struct call *call;       /* a reference */
	struct http_exchange *x; /* NULL: over */
	struct buf out, head_bytes;
	struct http_head head;
	struct http_chunked chunked;
	uint64_t left;           /* of a body with a length */
	bool begun;
	unsigned interim, open;
	char room[READ_ROOM];
};

static void on_closed(uv_handle_t *handle)
{
	struct play *play = handle->data;
	if (--play->open > 0)
		return;
	play->call->control->streams--;
	play->call->data = NULL;
	call_unref(play->call);
	if (play->out.data)
		explicit_bzero(play->out.data, play->out.len);
	buf_free(&play->out);
	buf_free(&play->head_bytes);
	free(play);
}

/* The inference door learns from the closed connection that nobody waits any more. */
static struct http_exchange *stop(struct play *play)
{
	struct http_exchange *x = play->x;
	play->x = NULL;
	if (!uv_is_closing(&play->socket.handle))
		uv_close(&play->socket.handle, on_closed);
	if (!uv_is_closing((uv_handle_t *) &play->resume))
		uv_close((uv_handle_t *) &play->resume, on_closed);
	return x;
}

static void finish(struct play *play)
{
	struct http_exchange *x = stop(play);
	if (x)
		http_respond_end(x);
}

/* An answer that breaks off has no end: the browser sees that it is not whole. */
static void fail(struct play *play, const char *why)
{
	bool begun = play->begun;
	struct http_exchange *x = stop(play);
	if (!x)
		return;
	log_warn("page: the inference door did not answer the playground: %s", why);
	if (!begun)
		http_respond_error(x, 502, "door_failed", "The inference door did not answer. Try again, and look at sluicectl status.");
	else
		http_respond_abort(x);
}

static void on_client_closed(struct call *call)
{
	struct play *play = call->data;
	if (play)
		finish(play);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *room);

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
	struct play *play = handle->data;
	(void) suggested;
	*out = uv_buf_init(play->room, sizeof play->room);
}

static void on_resume(uv_timer_t *timer)
{
	struct play *play = timer->data;
	if (!play->x || http_respond_backlog(play->x) > BACKLOG_MAX / 2)
		return;
	uv_timer_stop(timer);
	uv_read_start(&play->socket.stream, on_room, on_read);
}

static void pass_on(struct play *play, sl_str piece)
{
	if (!play->x || !piece.len)
		return;
	if (!http_respond_chunk(play->x, piece)) {
		finish(play);
	} else if (http_respond_backlog(play->x) > BACKLOG_MAX) {
		uv_read_stop(&play->socket.stream);
		uv_timer_start(&play->resume, on_resume, RESUME_MS, RESUME_MS);
	}
}

static void read_chunks(struct play *play, sl_str data)
{
	struct http_reject why;
	while (play->x) {
		size_t used;
		sl_str piece;
		enum http_parse result = http_chunked_read(&play->chunked, data.ptr, data.len, &used, &piece, &why);
		if (result == HTTP_REJECTED) {
			fail(play, why.message);
			return;
		}
		pass_on(play, piece);
		data = (sl_str){ data.ptr + used, data.len - used };
		if (result == HTTP_COMPLETE)
			finish(play);
		if (result == HTTP_COMPLETE || used == 0)
			return;
	}
}

static void read_body(struct play *play, sl_str data)
{
	if (play->head.chunked) {
		read_chunks(play, data);
		return;
	}
	bool counted = play->head.has_length;
	if (counted && data.len > play->left)
		data.len = (size_t) play->left;
	play->left -= counted ? data.len : 0;
	pass_on(play, data);
	if (counted && play->left == 0)
		finish(play);
}

static void begin(struct play *play)
{
	static const char *const passed[] = { "retry-after", "x-request-id", "x-should-retry" };
	char type[256];
	for (size_t i = 0; i < sizeof passed / sizeof *passed; i++) {
		sl_str value = http_header(&play->head, passed[i]);
		if (value.ptr)
			http_respond_header(play->x, passed[i], value);
	}
	str_copy(type, sizeof type, http_header(&play->head, "content-type"));
	play->begun = true;
	play->left = play->head.content_length;
	http_respond_begin(play->x, play->head.status, type[0] ? type : NULL);
}

/* Interim answers (1xx) are dropped. */
static void read_head(struct play *play)
{
	struct buf *bytes = &play->head_bytes;
	struct http_reject why;
	while (bytes->len) {
		enum http_parse result = http_parse_response(bytes->data, bytes->len, &play->head, &why);
		if (result == HTTP_INCOMPLETE)
			return;
		if (result == HTTP_REJECTED || (play->head.status < 200 && ++play->interim > INTERIM_MAX)) {
			fail(play, result == HTTP_REJECTED ? why.message : "too many interim answers");
			return;
		}
		size_t length = play->head.length;
		if (play->head.status >= 200) {
			begin(play);
			if (play->x)
				read_body(play, (sl_str){ bytes->data + length, bytes->len - length });
			return;
		}
		buf_consume(bytes, length);
	}
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *room)
{
	struct play *play = stream->data;
	if (n == 0 || !play->x)
		return;
	if (n < 0) {
		if (n == UV_EOF && play->begun && !play->head.chunked && !play->head.has_length)
			finish(play);
		else
			fail(play, n == UV_EOF ? "it closed the connection" : uv_strerror((int) n));
		return;
	}
	if (play->begun) {
		read_body(play, (sl_str){ room->base, (size_t) n });
		return;
	}
	buf_put(&play->head_bytes, room->base, (size_t) n);
	if (play->head_bytes.failed)
		fail(play, "out of memory");
	else
		read_head(play);
}

/* A failed write is no end: the answer may have come all the same, and reading tells. */
static void on_written(uv_write_t *write, int status)
{
	(void) write;
	(void) status;
}

static void on_connected(uv_connect_t *connect, int status)
{
	struct play *play = connect->data;
	if (!play->x)
		return;
	uv_buf_t out = uv_buf_init(play->out.data, (unsigned) play->out.len);
	if (status == 0)
		status = uv_read_start(&play->socket.stream, on_room, on_read);
	if (status == 0)
		status = uv_write(&play->write, &play->socket.stream, &out, 1, on_written);
	if (status < 0)
		fail(play, uv_strerror(status));
}

/* The caller's own credential, whichever way it came. */
static void compose(struct buf *out, const struct call *call, const struct http_exchange *x, const struct http_address *door)
{
	sl_str authorization = call->credential ? str_of(call->credential) : http_header(x->head, "authorization");
	sl_str key = authorization.ptr ? (sl_str){ 0 } : http_header(x->head, "x-api-key");
	buf_printf(out, "POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\nUser-Agent: sluice-page\r\nConnection: close\r\n"
	                "Content-Type: application/json\r\nContent-Length: %zu\r\n", door->host, x->body.len);
	if (authorization.ptr)
		buf_printf(out, "Authorization: %.*s\r\n", STR_ARG(authorization));
	if (key.ptr)
		buf_printf(out, "X-Api-Key: %.*s\r\n", STR_ARG(key));
	buf_puts(out, "\r\n");
	buf_put(out, x->body.ptr, x->body.len);
}

static struct play *new_play(struct call *call, const struct http_address *door)
{
	struct play *play = calloc(1, sizeof *play);
	if (!play)
		return NULL;
	compose(&play->out, call, call->x, door);
	if (play->out.failed) {
		buf_free(&play->out);
		free(play);
		return NULL;
	}
	uv_loop_t *loop = call->control->loop;
	if (door->any.sa_family == AF_UNIX)
		uv_pipe_init(loop, &play->socket.pipe, 0);
	else
		uv_tcp_init(loop, &play->socket.tcp);
	uv_timer_init(loop, &play->resume);
	play->open = 2;
	play->socket.handle.data = play->resume.data = play->connect.data = play;
	play->call = call;
	call_ref(call);
	/* The exchange is the playground's now. */
	play->x = call->x;
	call->closed = on_client_closed;
	call->data = play;
	call->x = NULL;
	call->control->streams++;
	return play;
}

void control_play(struct call *call)
{
	struct control *control = call->control;
	const struct conf *conf = control->conf;
	if (control->streams >= (unsigned) conf->page.streams_max || !conf->n_listen) {
		call_fail(call, 503, "playground_full", NULL, "again in a moment", "%u requests of the playground are under way, as many as may be",
		          control->streams);
		return;
	}
	const struct http_address *door = &conf->listen[0];
	struct play *play = new_play(call, door);
	if (!play) {
		call_fail(call, 503, "out_of_memory", NULL, NULL, "out of memory");
		return;
	}
	int rc = 0;
	if (door->any.sa_family == AF_UNIX)
		uv_pipe_connect(&play->connect, &play->socket.pipe, door->un.sun_path, on_connected);
	else
		rc = uv_tcp_connect(&play->connect, &play->socket.tcp, &door->any, on_connected);
	if (rc < 0)
		fail(play, uv_strerror(rc));
}

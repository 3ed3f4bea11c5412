/* SPDX-License-Identifier: Apache-2.0 */
/* client.c - single HTTP requests, each on a connection of its own. */
#include "core/http/client.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/str.h"
#include "core/http/parse.h"

enum { BODY_MAX = 4 * 1024 * 1024, READ_ROOM = 16 * 1024, INTERIM_MAX = 8 };

struct http_client_request {
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} socket;
	uv_timer_t timer;
	uv_connect_t connect;
	uv_write_t write;
	struct buf out;
	struct buf head_bytes; /* until the head is complete */
	struct buf body;
	struct http_head head;
	struct http_chunked chunked;
	bool head_done, bodiless, is_head;
	unsigned interim;  /* 1xx answers so far */
	unsigned open;     /* handles that are not closed yet */
	http_client_done done; /* NULL once called or cancelled */
	void *arg;
	const char *early; /* why it failed before the loop ran */
	char room[READ_ROOM];
};

static void on_closed(uv_handle_t *handle)
{
	struct http_client_request *request = handle->data;
	if (--request->open > 0)
		return;
	buf_free(&request->out);
	buf_free(&request->head_bytes);
	buf_free(&request->body);
	free(request);
}

static void close_all(struct http_client_request *request)
{
	request->done = NULL;
	if (!uv_is_closing(&request->socket.handle))
		uv_close(&request->socket.handle, on_closed);
	if (!uv_is_closing((uv_handle_t *) &request->timer))
		uv_close((uv_handle_t *) &request->timer, on_closed);
}

/* status 0: failed, and `why` says so. */
static void finish(struct http_client_request *request, int status, const char *why)
{
	http_client_done done = request->done;
	if (!done)
		return;
	request->done = NULL;
	done(request->arg, status, status ? buf_str(&request->body) : (sl_str){ NULL, 0 }, why);
	close_all(request);
}

static void on_timeout(uv_timer_t *timer)
{
	struct http_client_request *request = timer->data;
	finish(request, 0, request->early ? request->early : "no answer in time");
}

static void put_body(struct http_client_request *request, sl_str data)
{
	buf_put(&request->body, data.ptr, data.len);
	if (request->body.failed)
		finish(request, 0, "the answer is larger than 4 MiB");
}

static void read_chunks(struct http_client_request *request, sl_str data)
{
	struct http_reject why;
	while (request->done) {
		size_t used;
		sl_str piece;
		enum http_parse result = http_chunked_read(&request->chunked, data.ptr, data.len, &used, &piece, &why);
		if (result == HTTP_REJECTED) {
			finish(request, 0, why.message);
			return;
		}
		put_body(request, piece);
		data = (sl_str){ data.ptr + used, data.len - used };
		if (result == HTTP_COMPLETE)
			finish(request, request->head.status, NULL);
		else if (used == 0)
			return;
	}
}

static void read_body(struct http_client_request *request, sl_str data)
{
	const struct http_head *head = &request->head;
	if (request->bodiless) {
		finish(request, head->status, NULL);
		return;
	}
	if (head->chunked) {
		read_chunks(request, data);
		return;
	}
	if (head->has_length && data.len > head->content_length - request->body.len)
		data.len = (size_t) (head->content_length - request->body.len);
	put_body(request, data);
	if (request->done && head->has_length && request->body.len == head->content_length)
		finish(request, head->status, NULL);
}

/* Reads heads until the one that counts; interim ones (1xx) are dropped. */
static void read_head(struct http_client_request *request)
{
	struct buf *bytes = &request->head_bytes;
	struct http_reject why;
	for (;;) {
		enum http_parse result = http_parse_response(bytes->data, bytes->len, &request->head, &why);
		if (result == HTTP_INCOMPLETE)
			return;
		if (result == HTTP_REJECTED) {
			finish(request, 0, why.message);
			return;
		}
		size_t length = request->head.length;
		int status = request->head.status;
		if (status >= 200) {
			request->head_done = true;
			request->bodiless = request->is_head || status == 204 || status == 304;
			read_body(request, (sl_str){ bytes->data + length, bytes->len - length });
			return;
		}
		if (++request->interim > INTERIM_MAX) {
			finish(request, 0, "too many interim answers");
			return;
		}
		buf_consume(bytes, length);
		if (bytes->len == 0)
			return;
	}
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *room)
{
	struct http_client_request *request = stream->data;
	if (n == 0 || !request->done)
		return;
	if (n < 0) {
		bool to_the_end = request->head_done && !request->head.chunked && !request->head.has_length;
		if (n == UV_EOF && to_the_end)
			finish(request, request->head.status, NULL);
		else
			finish(request, 0, n == UV_EOF ? "the connection was closed before the end of the answer" : uv_strerror((int) n));
		return;
	}
	sl_str data = { room->base, (size_t) n };
	if (request->head_done) {
		read_body(request, data);
		return;
	}
	buf_put(&request->head_bytes, data.ptr, data.len);
	if (request->head_bytes.failed)
		finish(request, 0, "out of memory");
	else
		read_head(request);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
	struct http_client_request *request = handle->data;
	(void) suggested;
	*out = uv_buf_init(request->room, sizeof request->room);
}

/* A failed write is no end: the answer (a refusal) may have come all the same, and reading tells. */
static void on_written(uv_write_t *write, int status)
{
	(void) write;
	(void) status;
}

static void on_connected(uv_connect_t *connect, int status)
{
	struct http_client_request *request = connect->data;
	if (!request->done)
		return;
	if (status < 0) {
		finish(request, 0, uv_strerror(status));
		return;
	}
	uv_buf_t out = uv_buf_init(request->out.data, (unsigned) request->out.len);
	int rc = uv_read_start(&request->socket.stream, on_room, on_read);
	if (rc == 0)
		rc = uv_write(&request->write, &request->socket.stream, &out, 1, on_written);
	if (rc < 0)
		finish(request, 0, uv_strerror(rc));
}

static void compose(struct buf *out, const struct http_address *address, const char *method, const char *path,
                    const char *type, sl_str body)
{
	buf_printf(out, "%s %s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: sluice\r\nConnection: close\r\n", method, address->base, path,
	           address->host);
	if (type)
		buf_printf(out, "Content-Type: %s\r\n", type);
	if (body.ptr || strcmp(method, "GET") != 0)
		buf_printf(out, "Content-Length: %zu\r\n", body.len);
	buf_puts(out, "\r\n");
	buf_put(out, body.ptr, body.len);
}

/* What can be seen wrong at once; it is reported from the loop. */
static const char *start(struct http_client_request *request, const struct http_address *address, const char *path)
{
	int rc = 0;
	if (request->out.failed)
		return "out of memory";
	for (const char *p = path; *p; p++)
		if ((unsigned char) *p <= ' ' || *p == 0x7f)
			return "the path has white space or a control character";
	if (address->any.sa_family == AF_UNIX)
		uv_pipe_connect(&request->connect, &request->socket.pipe, address->un.sun_path, on_connected);
	else
		rc = uv_tcp_connect(&request->connect, &request->socket.tcp, &address->any, on_connected);
	return rc < 0 ? uv_strerror(rc) : NULL;
}

struct http_client_request *http_client_send(uv_loop_t *loop, const struct http_address *address, const char *method,
                                             const char *path, const char *type, sl_str body, uint64_t timeout_ms,
                                             http_client_done done, void *arg)
{
	struct http_client_request *request = calloc(1, sizeof *request);
	if (!request)
		return NULL;
	request->done = done;
	request->arg = arg;
	request->body.max = BODY_MAX;
	request->is_head = strcmp(method, "HEAD") == 0;
	if (address->any.sa_family == AF_UNIX)
		uv_pipe_init(loop, &request->socket.pipe, 0);
	else
		uv_tcp_init(loop, &request->socket.tcp);
	uv_timer_init(loop, &request->timer);
	request->open = 2;
	request->socket.handle.data = request->timer.data = request->connect.data = request;
	compose(&request->out, address, method, path, type, body);
	request->early = start(request, address, path);
	uv_timer_start(&request->timer, on_timeout, request->early ? 0 : timeout_ms, 0);
	return request;
}

void http_client_cancel(struct http_client_request *request)
{
	if (request)
		close_all(request);
}

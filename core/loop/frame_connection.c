/* SPDX-License-Identifier: Apache-2.0 */
/* frame_connection.c - length-prefixed JSON on a libuv loop. */
#include "core/loop/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/error.h"

struct frame_connection {
	uv_pipe_t pipe;
	struct frame_reader reader;
	const struct frame_events *events;
	void *arg;
	size_t queued;
	bool closing; /* no callback any more */
	bool lingers; /* closed by us, what is queued is still being sent */
	char chunk[16384];
};

struct frame_sending {
	uv_write_t request;
	struct buf bytes;
};

static void handle_closed(uv_handle_t *handle)
{
	struct frame_connection *c = handle->data;
	frame_reader_free(&c->reader);
	free(c);
}

static void shut(struct frame_connection *c)
{
	c->closing = true;
	if (!uv_is_closing((uv_handle_t *) &c->pipe))
		uv_close((uv_handle_t *) &c->pipe, handle_closed);
}

/* Tells the owner, once, then goes. */
static void fail(struct frame_connection *c, const sl_error *why)
{
	if (!c->closing) {
		c->closing = true;
		c->events->closed(c->arg, c, why);
	}
	shut(c);
}

static void give_chunk(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
	(void) suggested;
	struct frame_connection *c = handle->data;
	*out = uv_buf_init(c->chunk, sizeof c->chunk);
}

static bool took(void *arg, json_t *message)
{
	struct frame_connection *c = arg;
	c->events->message(c->arg, c, message);
	return !c->closing;
}

static void have_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *chunk)
{
	struct frame_connection *c = stream->data;
	sl_error why = { 0 };
	if (c->lingers) {
		if (n < 0)
			shut(c);
		return;
	}
	if (n < 0) {
		error_set(&why, SL_EIO, "the other side has gone: %s", uv_strerror((int) n));
		fail(c, &why);
		return;
	}
	/* The struct outlives this call whatever the callbacks do: it is freed from the loop. */
	if (frame_read(&c->reader, chunk->base, (size_t) n, took, c, &why) != SL_OK)
		fail(c, &why);
}

struct frame_connection *frame_adopt(uv_loop_t *loop, int fd, const struct frame_events *events, void *arg,
                                     sl_error *error)
{
	struct frame_connection *c = calloc(1, sizeof *c);
	if (!c) {
		close(fd);
		error_set(error, SL_ENOMEM, "out of memory for a connection");
		return NULL;
	}
	c->events = events;
	c->arg = arg;
	uv_pipe_init(loop, &c->pipe, 0);
	c->pipe.data = c;
	int rc = uv_pipe_open(&c->pipe, fd);
	if (rc < 0)
		close(fd);
	else
		rc = uv_read_start((uv_stream_t *) &c->pipe, give_chunk, have_read);
	if (rc < 0) {
		error_set(error, SL_EIO, "a connection cannot be read: %s", uv_strerror(rc));
		shut(c);
		return NULL;
	}
	return c;
}

struct frame_connection *frame_connect(uv_loop_t *loop, const char *path, const struct frame_events *events, void *arg,
                                       sl_error *error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof address.sun_path) {
		error_set(error, SL_EINVAL, "the socket path %s is longer than %zu bytes", path, sizeof address.sun_path - 1);
		return NULL;
	}
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		error_set(error, SL_EIO, "no socket: %s", strerror(errno));
		return NULL;
	}
	/* On a Unix socket this succeeds or fails now; EAGAIN means that the other side's backlog is full. */
	if (connect(fd, (struct sockaddr *) &address, sizeof address) < 0) {
		error_set(error, SL_EUNAVAILABLE, "cannot connect to %s: %s", path, strerror(errno));
		close(fd);
		return NULL;
	}
	return frame_adopt(loop, fd, events, arg, error);
}

static void sent(uv_write_t *request, int status)
{
	struct frame_sending *s = request->data;
	struct frame_connection *c = request->handle->data;
	c->queued -= s->bytes.len;
	buf_free(&s->bytes);
	free(s);
	if (c->lingers && (status < 0 || c->queued == 0)) {
		shut(c);
		return;
	}
	if (c->closing)
		return;
	if (status < 0) {
		sl_error why = { 0 };
		error_set(&why, SL_EIO, "sending failed: %s", uv_strerror(status));
		fail(c, &why);
	} else if (c->queued == 0 && c->events->drained) {
		c->events->drained(c->arg, c);
	}
}

int frame_send(struct frame_connection *c, const json_t *message)
{
	if (c->closing)
		return SL_ESTALE;
	struct frame_sending *s = calloc(1, sizeof *s);
	if (!s)
		return SL_ENOMEM;
	int rc = frame_write(&s->bytes, message);
	if (rc == SL_OK && c->queued + s->bytes.len > FRAME_QUEUE_MAX)
		rc = SL_EFULL;
	if (rc == SL_OK) {
		s->request.data = s;
		uv_buf_t piece = uv_buf_init(s->bytes.data, (unsigned) s->bytes.len);
		c->queued += s->bytes.len;
		if (uv_write(&s->request, (uv_stream_t *) &c->pipe, &piece, 1, sent) == 0)
			return SL_OK;
		c->queued -= s->bytes.len;
		rc = SL_EIO;
	}
	buf_free(&s->bytes);
	free(s);
	return rc;
}

size_t frame_queued(const struct frame_connection *c)
{
	return c->queued;
}

void frame_close(struct frame_connection *c)
{
	if (!c || c->closing)
		return;
	c->closing = true;
	if (c->queued == 0)
		shut(c);
	else
		c->lingers = true;
}

void frame_drop(struct frame_connection *c)
{
	if (c)
		shut(c);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* socket.c - non-blocking sockets with sends kept to the end of the batch. */
#include "core/gateway/socket.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/gateway/worker.h"

static void on_poll(uv_poll_t *poll, int status, int events);

static void set_interest(struct gateway_socket *s, uint8_t interest)
{
	if (s->interest == interest || s->closing)
		return;
	s->interest = interest;
	if (interest)
		uv_poll_start(&s->poll, interest, on_poll);
	else
		uv_poll_stop(&s->poll);
}

static void send_kept(struct gateway_socket *s)
{
	while (s->out.len) {
		ssize_t n = send(s->fd, s->out.data, s->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n <= 0) {
			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0 && errno != EAGAIN)
				s->broken = true;
			break;
		}
		buf_consume(&s->out, (size_t) n);
	}
	if (s->broken) {
		buf_free(&s->out);
		/* The peer is gone. Its event comes by itself where the kernel has one to give; this makes sure. */
		shutdown(s->fd, SHUT_RDWR);
	}
	if (s->out.len == 0) {
		buf_free(&s->out);
		set_interest(s, s->interest & (uint8_t) ~UV_WRITABLE);
		if (s->calls->drained && !s->broken)
			s->calls->drained(s);
	}
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct gateway_socket *s = poll->data;
	worker_event(s->worker);
	if (status < 0)
		events = UV_READABLE; /* reading tells what is wrong */
	if (events & UV_WRITABLE) {
		if (s->out.len)
			send_kept(s);
		else if (s->calls->drained)
			s->calls->drained(s);
	}
	if ((events & (UV_READABLE | UV_PRIORITIZED)) && !s->closing)
		s->calls->readable(s);
}

bool socket_open(struct gateway_socket *s, struct worker *worker, int fd, const struct socket_calls *calls)
{
	s->worker = worker;
	s->calls = calls;
	s->fd = fd;
	if (uv_poll_init(&worker->loop, &s->poll, fd) != 0)
		return false;
	s->poll.data = s;
	worker->open_sockets++;
	return true;
}

static void unlink_wheel(struct gateway_socket *s)
{
	if (!s->wheel_link)
		return;
	*s->wheel_link = s->wheel_next;
	if (s->wheel_next)
		s->wheel_next->wheel_link = s->wheel_link;
	s->wheel_link = NULL;
}

static void on_closed(uv_handle_t *handle)
{
	struct gateway_socket *s = handle->data;
	s->worker->open_sockets--;
	s->calls->closed(s);
}

void socket_close(struct gateway_socket *s)
{
	if (s->closing)
		return;
	if (s->n_spans && !s->broken)
		socket_flush(s); /* an answer may be on its way out */
	s->closing = true;
	unlink_wheel(s);
	/* It may stand in the worker's list of dirty sockets: that list is emptied before closed() can come. */
	buf_free(&s->out);
	uv_poll_stop(&s->poll);
	uv_close((uv_handle_t *) &s->poll, on_closed);
	close(s->fd);
	s->fd = -1;
}

void socket_break(struct gateway_socket *s)
{
	if (s->broken || s->closing)
		return;
	s->broken = true;
	s->n_spans = 0;
	s->span_bytes = 0;
	shutdown(s->fd, SHUT_RDWR);
}

/* Copies what the kernel did not take, from byte `sent` of the spans on. */
static void keep_rest(struct gateway_socket *s, size_t sent)
{
	for (unsigned i = 0; i < s->n_spans; i++) {
		if (sent >= s->spans[i].iov_len) {
			sent -= s->spans[i].iov_len;
			continue;
		}
		buf_put(&s->out, (char *) s->spans[i].iov_base + sent, s->spans[i].iov_len - sent);
		sent = 0;
	}
	if (s->out.failed)
		socket_break(s);
	else
		set_interest(s, s->interest | UV_WRITABLE);
}

void socket_flush(struct gateway_socket *s)
{
	if (s->n_spans && !s->broken && !s->closing) {
		struct msghdr message = { .msg_iov = s->spans, .msg_iovlen = s->n_spans };
		ssize_t n;
		do
			n = s->n_spans == 1 ? send(s->fd, s->spans[0].iov_base, s->spans[0].iov_len, MSG_NOSIGNAL | MSG_DONTWAIT)
			                    : sendmsg(s->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		while (n < 0 && errno == EINTR);
		if (n < 0 && errno != EAGAIN) {
			socket_break(s);
		} else if (n < 0 || (size_t) n < s->span_bytes) {
			keep_rest(s, n < 0 ? 0 : (size_t) n);
		}
	}
	s->n_spans = 0;
	s->span_bytes = 0;
}

void socket_send(struct gateway_socket *s, const void *data, size_t len)
{
	if (len == 0 || s->broken || s->closing)
		return;
	if (s->out.len) {
		buf_put(&s->out, data, len);
		if (s->out.failed)
			socket_break(s);
		return;
	}
	if (s->n_spans && (const char *) s->spans[s->n_spans - 1].iov_base + s->spans[s->n_spans - 1].iov_len == data) {
		s->spans[s->n_spans - 1].iov_len += len; /* goes on where the last one ends */
	} else {
		if (s->n_spans == SOCKET_SPANS) {
			socket_flush(s);
			if (s->out.len || s->broken) {
				socket_send(s, data, len);
				return;
			}
		}
		s->spans[s->n_spans++] = (struct iovec){ (void *) data, len };
	}
	s->span_bytes += (uint32_t) len;
	if (s->span_bytes > SOCKET_BATCH_MAX)
		socket_flush(s);
	else if (!s->dirty)
		worker_dirty(s->worker, s);
}

void socket_watch(struct gateway_socket *s, bool readable)
{
	set_interest(s, readable ? s->interest | UV_READABLE : s->interest & (uint8_t) ~UV_READABLE);
}

void socket_watch_reset(struct gateway_socket *s)
{
	/* The kernel reports errors whatever is asked for, but libuv wants to be asked for something: urgent data. */
	set_interest(s, (s->interest & UV_WRITABLE) | UV_PRIORITIZED);
}

void socket_expire(struct gateway_socket *s, uint64_t ms)
{
	if (ms == 0) {
		s->deadline_ms = 0;
		return;
	}
	s->deadline_ms = s->worker->now_ms + ms;
	/* In the wheel already at an earlier slot: that slot will put it further on. */
	if (s->wheel_link && s->wheel_due_ms <= s->deadline_ms)
		return;
	unlink_wheel(s);
	worker_wheel_put(s->worker, s);
}

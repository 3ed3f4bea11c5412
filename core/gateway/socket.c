/* SPDX-License-Identifier: Apache-2.0 */
/* socket.c - non-blocking sockets with sends kept to the end of the batch. */
#include "core/gateway/socket.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/gateway/worker.h"

/* What ends a connection stays true: it is not forgotten when it was looked at once. */
enum { RESET = EPOLLHUP | EPOLLERR, END = EPOLLRDHUP | RESET };

static uint32_t wanted(const struct gateway_socket *s)
{
	return s->closing || s->watch == WATCH_NOTHING ? 0 : s->watch == WATCH_RESET ? RESET : EPOLLIN | END;
}

/* The worker looks at it once more before it sleeps. */
static void look_again(struct gateway_socket *s)
{
	struct gateway_socket **head = &s->worker->again;
	if (s->again_link || !(s->events & wanted(s)))
		return;
	s->again_next = *head;
	if (s->again_next)
		s->again_next->again_link = &s->again_next;
	s->again_link = head;
	*head = s;
}

static void unlink_again(struct gateway_socket *s)
{
	if (!s->again_link)
		return;
	*s->again_link = s->again_next;
	if (s->again_next)
		s->again_next->again_link = s->again_link;
	s->again_link = NULL;
}

static void watch(struct gateway_socket *s, enum socket_watch what)
{
	s->watch = what;
	if (s->events)
		look_again(s);
}

/* recv and send without a wait, as plain system calls: those of libc are points of cancellation, which takes two locked
 * instructions a call, and no thread is ever cancelled here. */
static ssize_t receive(int fd, void *to, size_t room)
{
	return syscall(SYS_recvfrom, fd, to, room, MSG_DONTWAIT, NULL, NULL);
}

static ssize_t send_one(int fd, const void *data, size_t len)
{
	return syscall(SYS_sendto, fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
}

static ssize_t send_many(int fd, const struct msghdr *message)
{
	return syscall(SYS_sendmsg, fd, message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void send_kept(struct gateway_socket *s)
{
	while (s->out.len) {
		ssize_t n = send_one(s->fd, s->out.data, s->out.len);
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
		if (s->calls->drained && !s->broken)
			s->calls->drained(s);
	}
}

ssize_t socket_read(struct gateway_socket *s, void *to, size_t room)
{
	ssize_t n = receive(s->fd, to, room);
	s->full = (n > 0 && (size_t) n == room) || (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		s->events = 0;
	return n;
}

void socket_event(struct gateway_socket *s, uint32_t events)
{
	s->events |= events & (EPOLLIN | END);
	if ((events & EPOLLOUT) && s->out.len && !s->closing)
		send_kept(s);
	if (!(s->events & wanted(s)))
		return;
	s->events &= (uint32_t) ~EPOLLIN;
	s->full = false;
	s->calls->readable(s);
	if (s->full)
		s->events |= EPOLLIN;
	if (s->events)
		look_again(s);
}

bool socket_open(struct gateway_socket *s, struct worker *worker, int fd, const struct socket_calls *calls)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = s };
	s->worker = worker;
	s->calls = calls;
	s->fd = fd;
	if (epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		return false;
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
	/* Not by close() alone: a child that is about to exec may still hold the connection open. */
	epoll_ctl(s->worker->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
	close(s->fd);
	s->fd = -1;
	unlink_again(s);
	s->next_closed = s->worker->closed; /* events of this batch may still name it */
	s->worker->closed = s;
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
}

void socket_flush(struct gateway_socket *s)
{
	if (s->n_spans && !s->broken && !s->closing) {
		struct msghdr message = { .msg_iov = s->spans, .msg_iovlen = s->n_spans };
		ssize_t n;
		do
			n = s->n_spans == 1 ? send_one(s->fd, s->spans[0].iov_base, s->spans[0].iov_len) : send_many(s->fd, &message);
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

/* At the end of the batch, in more than `most` bytes not later than now. */
static void add_span(struct gateway_socket *s, const void *data, size_t len, size_t most)
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
				add_span(s, data, len, most);
				return;
			}
		}
		s->spans[s->n_spans++] = (struct iovec){ (void *) data, len };
	}
	s->span_bytes += (uint32_t) len;
	if (s->span_bytes > most)
		socket_flush(s);
	else if (!s->dirty)
		worker_dirty(s->worker, s);
}

void socket_send(struct gateway_socket *s, const void *data, size_t len)
{
	add_span(s, data, len, SOCKET_BATCH_MAX);
}

void socket_send_late(struct gateway_socket *s, const void *data, size_t len)
{
	struct worker *w = s->worker;
	bool room = len <= WORKER_LATE_MAX - w->late_bytes;
	if (room)
		w->late_bytes += len;
	add_span(s, data, len, room ? WORKER_LATE_MAX + SOCKET_BATCH_MAX : SOCKET_BATCH_MAX);
}

void socket_watch(struct gateway_socket *s, bool readable)
{
	watch(s, readable ? WATCH_ALL : WATCH_NOTHING);
}

void socket_watch_reset(struct gateway_socket *s)
{
	watch(s, WATCH_RESET);
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

/* SPDX-License-Identifier: Apache-2.0 */
/* listener.c - takes connections, up to the limit; above it a client gets a 503 with words, not silence. */
#define _GNU_SOURCE /* accept4 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/gateway/worker.h"

enum { ACCEPT_BATCH = 16 };

struct listener {
	uv_poll_t poll;
	struct worker *worker;
	int fd;
};

static void refuse(int fd)
{
	static const char answer[] =
		"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\nretry-after: 1\r\n"
		"content-length: 137\r\n\r\n"
		"{\"error\":{\"message\":\"Too many connections. Try again in a moment.\",\"type\":\"server_error\","
		"\"param\":null,\"code\":\"overloaded\",\"try\":\"later\"}}";
	ssize_t n = send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void) n;
	/* Closing with unread input would reset the connection and take the answer with it. */
	shutdown(fd, SHUT_WR);
	char drain[4096];
	n = recv(fd, drain, sizeof drain, MSG_DONTWAIT);
	close(fd);
}

static void peer_text(const struct sockaddr_storage *peer, char out[48])
{
	strcpy(out, "unix");
	if (peer->ss_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *) peer)->sin_addr, out, 48);
	else if (peer->ss_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *) peer)->sin6_addr, out, 48);
}

static void on_connections(uv_poll_t *poll, int status, int events)
{
	struct listener *l = poll->data;
	struct worker *w = l->worker;
	struct gateway *g = w->gateway;
	(void) status;
	(void) events;
	worker_event(w);
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		struct sockaddr_storage address;
		socklen_t len = sizeof address;
		address.ss_family = AF_UNSPEC;
		int fd = accept4(l->fd, (struct sockaddr *) &address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			/* EMFILE cannot come while the limit is below RLIMIT_NOFILE; if it does, the backlog waits. */
			if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
				log_warn("cannot accept a connection: %s", strerror(errno));
			return;
		}
		if (atomic_fetch_add(&g->connections, 1) >= g->connections_max) {
			atomic_fetch_sub(&g->connections, 1);
			refuse(fd);
			continue;
		}
		int on = 1;
		if (address.ss_family != AF_UNIX)
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		char peer[48];
		peer_text(&address, peer);
		if (!client_accept(w, fd, peer)) {
			atomic_fetch_sub(&g->connections, 1);
			close(fd);
		}
	}
}

bool listeners_open(struct worker *w, const int *fds, unsigned n)
{
	w->listeners = calloc(n, sizeof *w->listeners);
	if (!w->listeners)
		return false;
	for (unsigned i = 0; i < n; i++) {
		struct listener *l = &w->listeners[i];
		l->worker = w;
		l->fd = fds[i];
		l->poll.data = l;
		if (uv_poll_init(&w->loop, &l->poll, l->fd) != 0)
			return false;
		w->n_listeners++;
		uv_poll_start(&l->poll, UV_READABLE, on_connections);
	}
	return true;
}

void listeners_close(struct worker *w)
{
	for (unsigned i = 0; i < w->n_listeners; i++) {
		if (w->listeners[i].fd < 0)
			continue;
		uv_poll_stop(&w->listeners[i].poll);
		uv_close((uv_handle_t *) &w->listeners[i].poll, NULL);
		close(w->listeners[i].fd);
		w->listeners[i].fd = -1;
	}
}

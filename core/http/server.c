/* SPDX-License-Identifier: Apache-2.0 */
/* server.c - listening, deadlines and the end of connections. */
#include <config.h>

#include "core/http/server.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/error.h"
#include "core/base/str.h"
#include "core/http/server_impl.h"

enum { TICK_MAX_MS = 250, TICK_MIN_MS = 5, BACKLOG = 128, SPARE = 16 };

void server_touch(struct server_connection *c, uint64_t timeout_ms)
{
	c->deadline = uv_now(c->server->loop) + timeout_ms;
}

void server_release(struct server_connection *c)
{
	if (!c->handle_closed || c->in_exchange || c->in_handler)
		return;
	buf_free(&c->in);
	buf_free(&c->body);
	buf_free(&c->ahead);
	buf_free(&c->fields);
	free(c);
}

/* All handles are closed: the server is no more. */
static void finish(struct http_server *server)
{
	if (server->open > 0 || server->n_connections > 0)
		return;
	if (server->done)
		server->done(server->done_arg);
	free(server);
}

static void on_own_closed(uv_handle_t *handle)
{
	struct http_server *server = handle->data;
	server->open--;
	finish(server);
}

static void close_timer(struct http_server *server)
{
	if (server->closing && server->n_connections == 0 && !uv_is_closing((uv_handle_t *) &server->timer))
		uv_close((uv_handle_t *) &server->timer, on_own_closed);
}

static void on_connection_closed(uv_handle_t *handle)
{
	struct server_connection *c = handle->data;
	struct http_server *server = c->server;
	if (c->prev)
		c->prev->next = c->next;
	else
		server->connections = c->next;
	if (c->next)
		c->next->prev = c->prev;
	c->handle_closed = true;
	c->server = NULL;
	server_release(c);
	server->n_connections--;
	if (server->n_connections == 0 && !server->closing)
		uv_timer_stop(&server->timer);
	close_timer(server);
	finish(server);
}

void server_cut(struct server_connection *c)
{
	if (c->state == SERVER_CLOSED)
		return;
	c->state = SERVER_CLOSED;
	uv_close(&c->socket.handle, on_connection_closed);
	if (!c->x.on_close || c->told)
		return;
	c->told = true;
	c->x.on_close(&c->x, true);
	c->in_exchange = false; /* who was told has no more to end */
}

static void on_shut(uv_shutdown_t *shutdown, int status)
{
	(void) status;
	free(shutdown);
}

void server_linger(struct server_connection *c)
{
	if (c->state == SERVER_CLOSED)
		return;
	uv_shutdown_t *shutdown = c->eof && c->writes == 0 ? NULL : malloc(sizeof *shutdown);
	if (!shutdown || uv_shutdown(shutdown, &c->socket.stream, on_shut) < 0) {
		free(shutdown);
		server_cut(c);
		return;
	}
	c->state = SERVER_LINGER;
	server_touch(c, SERVER_LINGER_MS);
	if (!c->eof)
		server_read_start(c);
}

bool server_is_gone(const struct server_connection *c)
{
	uv_os_fd_t fd;
	if (!c->eof || uv_fileno(&c->socket.handle, &fd) != 0)
		return false;
	struct pollfd poll_fd = { .fd = fd };
	return poll(&poll_fd, 1, 0) > 0 && poll_fd.revents & (POLLHUP | POLLERR);
}

static void check_writes(struct server_connection *c, uint64_t now)
{
	size_t waiting = uv_stream_get_write_queue_size(&c->socket.stream);
	if (waiting == 0) {
		c->write_deadline = 0;
	} else if (c->write_deadline == 0 || waiting < c->write_seen) {
		c->write_deadline = now + c->server->options.idle_timeout_ms;
	} else if (now >= c->write_deadline) {
		server_cut(c);
		return;
	}
	c->write_seen = waiting;
}

static void check(struct server_connection *c, uint64_t now)
{
	struct http_server *server = c->server;
	if (server->closing && (now >= server->grace_deadline || c->state == SERVER_HEAD)) {
		server_cut(c);
		return;
	}
	check_writes(c, now);
	if (c->state == SERVER_CLOSED)
		return;
	if (c->state == SERVER_BUSY) {
		if (server_is_gone(c))
			server_cut(c);
		return;
	}
	if (now < c->deadline)
		return;
	if (c->state == SERVER_LINGER || c->in.len == 0)
		server_cut(c);
	else
		server_refuse(c, 408, "request_timeout", "The request did not arrive in time.");
}

static void on_tick(uv_timer_t *timer)
{
	struct http_server *server = timer->data;
	uint64_t now = uv_now(server->loop);
	/* Connections leave the list only from the loop, so that `next` stays good. */
	for (struct server_connection *c = server->connections, *next; c; c = next) {
		next = c->next;
		if (c->state != SERVER_CLOSED)
			check(c, now);
	}
}

static struct server_connection *new_connection(struct http_server *server)
{
	struct server_connection *c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	c->server = server;
	if (server->is_unix)
		uv_pipe_init(server->loop, &c->socket.pipe, 0);
	else
		uv_tcp_init(server->loop, &c->socket.tcp);
	c->socket.handle.data = c;
	c->next = server->connections;
	if (c->next)
		c->next->prev = c;
	server->connections = c;
	if (server->n_connections++ == 0)
		uv_timer_start(&server->timer, on_tick, server->tick_ms, server->tick_ms);
	return c;
}

static void read_peer(struct server_connection *c)
{
	uv_os_fd_t fd;
	struct ucred peer;
	socklen_t len = sizeof peer;
	if (!c->server->is_unix) {
		struct sockaddr_storage from;
		int size = sizeof from;
		uv_tcp_nodelay(&c->socket.tcp, 1);
		if (uv_tcp_getpeername(&c->socket.tcp, (struct sockaddr *) &from, &size) == 0)
			uv_ip_name((struct sockaddr *) &from, c->x.peer, sizeof c->x.peer);
		return;
	}
	strcpy(c->x.peer, "unix");
	if (uv_fileno(&c->socket.handle, &fd) != 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
		return;
	c->x.has_peercred = true;
	c->x.peer_uid = peer.uid;
	c->x.peer_gid = peer.gid;
	c->x.peer_pid = peer.pid;
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct http_server *server = listener->data;
	struct server_connection *c = status == 0 && !server->closing ? new_connection(server) : NULL;
	if (!c)
		return;
	if (uv_accept(listener, &c->socket.stream) != 0 || server->n_connections > server->options.connections_max + SPARE) {
		server_cut(c);
		return;
	}
	read_peer(c);
	server_touch(c, server->options.idle_timeout_ms);
	if (server->n_connections > server->options.connections_max)
		server_refuse(c, 503, "overloaded", "Too many connections are open. Try again in a moment.");
	else
		server_read_start(c);
}

/* A socket's file that nobody listens on is left from an earlier run and goes away. */
static int remove_stale(const struct http_address *address, sl_error *error)
{
	const char *path = address->un.sun_path;
	struct stat st;
	if (lstat(path, &st) != 0)
		return errno == ENOENT ? SL_OK : error_set(error, SL_EIO, "cannot look at %s: %s", path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return error_set(error, SL_ECONFLICT, "%s exists and is no socket: move it away or name another path", path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_set(error, SL_EIO, "cannot open a socket: %s", strerror(errno));
	int rc = connect(fd, &address->any, address->len), reason = errno;
	close(fd);
	if (rc == 0 || reason == EAGAIN)
		return error_set(error, SL_ECONFLICT, "%s: another program listens there: stop it or name another path", path);
	if (reason != ECONNREFUSED)
		return error_set(error, SL_EIO, "cannot try %s: %s", path, strerror(reason));
	if (unlink(path) != 0 && errno != ENOENT)
		return error_set(error, SL_EIO, "cannot remove the stale socket %s: %s", path, strerror(errno));
	return SL_OK;
}

static int listen_unix(struct http_server *server, const struct http_address *address, unsigned mode, sl_error *error)
{
	const char *path = address->un.sun_path;
	if (remove_stale(address, error) != SL_OK)
		return error ? error->code : SL_EIO;
	int rc = uv_pipe_bind(&server->listener.pipe, path);
	/* Nobody can connect before listen, so the mode is right for the first client. */
	if (rc == 0 && chmod(path, mode) != 0)
		rc = -errno;
	if (rc == 0)
		rc = uv_listen(&server->listener.stream, BACKLOG, on_connection);
	return rc == 0 ? SL_OK : error_set(error, SL_EIO, "cannot listen on unix:%s: %s", path, uv_strerror(rc));
}

static int listen_tcp(struct http_server *server, const struct http_address *address, sl_error *error)
{
	char text[64];
	int rc = uv_tcp_bind(&server->listener.tcp, &address->any, 0);
	if (rc == 0)
		rc = uv_listen(&server->listener.stream, BACKLOG, on_connection);
	if (rc == 0)
		return SL_OK;
	http_address_text(address, text, sizeof text);
	return error_set(error, SL_EIO, "cannot listen on %s: %s", text, uv_strerror(rc));
}

static void set_options(struct http_server *server, const struct http_server_options *options)
{
	struct http_server_options *o = &server->options;
	if (options)
		*o = *options;
	o->body_max = o->body_max ? o->body_max : 1024 * 1024;
	o->connections_max = o->connections_max ? o->connections_max : 256;
	o->head_timeout_ms = o->head_timeout_ms ? o->head_timeout_ms : 10000;
	o->idle_timeout_ms = o->idle_timeout_ms ? o->idle_timeout_ms : 60000;
	o->write_max = o->write_max ? o->write_max : 4 * 1024 * 1024;
	uint64_t shortest = o->head_timeout_ms < o->idle_timeout_ms ? o->head_timeout_ms : o->idle_timeout_ms;
	server->tick_ms = shortest / 4 < TICK_MIN_MS ? TICK_MIN_MS : shortest / 4 > TICK_MAX_MS ? TICK_MAX_MS : shortest / 4;
}

struct http_server *http_server_open(uv_loop_t *loop, const struct http_address *address, unsigned mode,
                                     const struct http_server_options *options, http_handler handler, void *arg,
                                     sl_error *error)
{
	struct http_server *server = calloc(1, sizeof *server);
	if (!server) {
		error_set(error, SL_ENOMEM, "out of memory");
		return NULL;
	}
	server->loop = loop;
	server->handler = handler;
	server->arg = arg;
	server->is_unix = address->any.sa_family == AF_UNIX;
	set_options(server, options);
	if (server->is_unix)
		uv_pipe_init(loop, &server->listener.pipe, 0);
	else
		uv_tcp_init(loop, &server->listener.tcp);
	uv_timer_init(loop, &server->timer);
	server->open = 2;
	server->listener.handle.data = server->timer.data = server;
	int rc = server->is_unix ? listen_unix(server, address, mode, error) : listen_tcp(server, address, error);
	if (rc == SL_OK)
		return server;
	http_server_close(server, 0, NULL, NULL);
	return NULL;
}

unsigned http_server_port(const struct http_server *server)
{
	struct sockaddr_storage bound;
	int len = (int) sizeof bound;
	if (server->is_unix || uv_tcp_getsockname(&server->listener.tcp, (struct sockaddr *) &bound, &len) != 0)
		return 0;
	return ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *) &bound)->sin6_port
	                                         : ((struct sockaddr_in *) &bound)->sin_port);
}

void http_server_close(struct http_server *server, uint64_t grace_ms, void (*done)(void *), void *arg)
{
	if (!server || server->closing)
		return;
	server->closing = true;
	server->done = done;
	server->done_arg = arg;
	server->grace_deadline = uv_now(server->loop) + grace_ms;
	uv_close(&server->listener.handle, on_own_closed);
	on_tick(&server->timer);
	close_timer(server);
	/* Busy connections set the pace from here on. */
	uint64_t pace = grace_ms / 4 < TICK_MIN_MS ? TICK_MIN_MS : grace_ms / 4 > TICK_MAX_MS ? TICK_MAX_MS : grace_ms / 4;
	if (!uv_is_closing((uv_handle_t *) &server->timer))
		uv_timer_start(&server->timer, on_tick, pace, pace);
}

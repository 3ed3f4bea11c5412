/* SPDX-License-Identifier: Apache-2.0 */
/* server.c - the agent's socket: who may connect, answers, events, pushed output. */
#include "config.h"

#include "core/agent/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/str.h"

struct server {
	struct agent *agent;
	uv_poll_t listener;
	uv_timer_t sweeper; /* ends connections that were overrun */
	unsigned open_handles;
	int fd;
	char path[sizeof((struct sockaddr_un *) 0)->sun_path];
	uid_t uids[AGENT_UIDS_MAX];
	size_t n_uids;
	struct client *clients;
	size_t n_clients;
	uint64_t last_number;
};

/* --- connections --- */

static struct client *find(const struct agent *a, uint64_t number)
{
	for (struct client *c = a->server ? a->server->clients : NULL; c; c = c->next)
		if (c->number == number)
			return c;
	return NULL;
}

static void client_free(struct client *c)
{
	struct server *s = c->agent->server;
	for (struct client **at = &s->clients; *at; at = &(*at)->next)
		if (*at == c) {
			*at = c->next;
			s->n_clients--;
			break;
		}
	while (c->follows) {
		struct follow *f = c->follows;
		c->follows = f->next;
		free(f);
	}
	free(c);
}

static void client_message(void *arg, struct frame_connection *connection, json_t *message)
{
	(void) connection;
	ops_request(arg, message);
}

static void client_closed(void *arg, struct frame_connection *connection, const sl_error *why)
{
	struct client *c = arg;
	(void) connection;
	if (why->code == SL_EINVAL)
		log_warn("connection %llu of uid %u is closed: %s", (unsigned long long) c->number, (unsigned) c->uid, why->text);
	client_free(c);
}

static void client_drained(void *arg, struct frame_connection *connection)
{
	struct client *c = arg;
	(void) connection;
	for (struct follow *f = c->follows; f; f = f->next)
		client_push(c, f);
}

static const struct frame_events client_events = {
	.message = client_message, .closed = client_closed, .drained = client_drained,
};

static bool may_connect(const struct server *s, int fd, uid_t *uid)
{
	struct ucred peer;
	socklen_t len = sizeof peer;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	*uid = peer.uid;
	bool known = peer.uid == 0;
	for (size_t i = 0; i < s->n_uids; i++)
		known = known || s->uids[i] == peer.uid;
	if (!known)
		log_warn("a connection of uid %u, pid %d is refused: start the agent with --allow-uid %u to allow it",
		         (unsigned) peer.uid, (int) peer.pid, (unsigned) peer.uid);
	return known;
}

static void take_connection(struct server *s, int fd)
{
	sl_error e = { 0 };
	uid_t uid = (uid_t) -1;
	if (!may_connect(s, fd, &uid) || s->n_clients >= AGENT_CLIENTS_MAX) {
		if (s->n_clients >= AGENT_CLIENTS_MAX)
			log_warn("a connection is refused: there are %zu already", s->n_clients);
		close(fd);
		return;
	}
	struct client *c = calloc(1, sizeof *c);
	if (!c) {
		close(fd);
		return;
	}
	c->agent = s->agent;
	c->uid = uid;
	c->number = ++s->last_number;
	c->connection = frame_adopt(&s->agent->loop, fd, &client_events, c, &e);
	if (!c->connection) {
		log_warn("%s", e.text);
		free(c);
		return;
	}
	c->next = s->clients;
	s->clients = c;
	s->n_clients++;
}

static void connection_came(uv_poll_t *poll, int status, int events)
{
	struct server *s = poll->data;
	(void) events;
	if (status < 0)
		return;
	int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0)
		take_connection(s, fd);
	else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
		log_warn("accepting a connection failed: %s", strerror(errno));
}

/* --- the socket --- */

/* A socket that nobody listens on is left over; one that is answered belongs to somebody. */
static int clear_path(const struct sockaddr_un *address, sl_error *error)
{
	struct stat st;
	if (lstat(address->sun_path, &st) < 0)
		return SL_OK;
	if (!S_ISSOCK(st.st_mode))
		return error_set(error, SL_ECONFLICT, "%s is no socket: it is not touched", address->sun_path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool answered = fd >= 0 && connect(fd, (const struct sockaddr *) address, sizeof *address) == 0;
	if (fd >= 0)
		close(fd);
	if (answered)
		return error_set(error, SL_ECONFLICT, "another program listens on %s", address->sun_path);
	unlink(address->sun_path);
	return SL_OK;
}

static int listen_on(struct server *s, sl_error *error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	memcpy(address.sun_path, s->path, sizeof s->path);
	int rc = clear_path(&address, error);
	if (rc != SL_OK)
		return rc;
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask = umask(0117);
	bool ok = s->fd >= 0 && bind(s->fd, (struct sockaddr *) &address, sizeof address) == 0 && listen(s->fd, 128) == 0;
	umask(mask);
	if (!ok)
		return error_set(error, SL_EIO, "cannot listen on %s: %s", s->path, strerror(errno));
	/* Mode 0660 would keep out whom we serve: root passes anyway, so the socket is the first of the others'. */
	if (s->n_uids && geteuid() == 0 && chown(s->path, s->uids[0], (gid_t) -1) < 0)
		return error_set(error, SL_EIO, "cannot give %s to uid %u: %s", s->path, (unsigned) s->uids[0], strerror(errno));
	return SL_OK;
}

int server_open(struct agent *a, const struct agent_options *options, sl_error *error)
{
	struct server *s = calloc(1, sizeof *s);
	if (!s)
		return error_set(error, SL_ENOMEM, "out of memory");
	s->agent = a;
	s->fd = -1;
	s->n_uids = options->n_uids;
	memcpy(s->uids, options->uids, sizeof s->uids);
	int rc = SL_OK;
	if (!str_copy(s->path, sizeof s->path, str_of(options->socket)))
		rc = error_set(error, SL_EINVAL, "the socket path %s is longer than %zu bytes", options->socket, sizeof s->path - 1);
	if (rc == SL_OK)
		rc = listen_on(s, error);
	if (rc == SL_OK && uv_poll_init(&a->loop, &s->listener, s->fd) < 0)
		rc = error_set(error, SL_EIO, "cannot watch the socket %s", s->path);
	if (rc != SL_OK) {
		if (s->fd >= 0)
			close(s->fd);
		free(s);
		return rc;
	}
	uv_timer_init(&a->loop, &s->sweeper);
	s->open_handles = 2;
	s->sweeper.data = s->listener.data = s;
	uv_poll_start(&s->listener, UV_READABLE, connection_came);
	a->server = s;
	return SL_OK;
}

static void handle_closed(uv_handle_t *handle)
{
	struct server *s = handle->data;
	if (--s->open_handles == 0)
		free(s);
}

void server_close(struct agent *a)
{
	struct server *s = a->server;
	if (!s)
		return;
	while (s->clients) {
		frame_close(s->clients->connection);
		client_free(s->clients);
	}
	a->server = NULL;
	unlink(s->path);
	uv_close((uv_handle_t *) &s->listener, handle_closed);
	uv_close((uv_handle_t *) &s->sweeper, handle_closed);
	close(s->fd);
}

/* --- answers and events --- */

static void sweep(uv_timer_t *timer)
{
	struct server *s = timer->data;
	for (struct client *c = s->clients, *next; c; c = next) {
		next = c->next;
		if (c->overrun) {
			frame_drop(c->connection);
			client_free(c);
		}
	}
}

/* A connection that does not read until the bound is reached has missed something, so it ends: the next one asks
 * for devices and list. Not at once, since the caller may be walking the list of connections. */
static void send_to(struct client *c, const json_t *message)
{
	if (c->overrun || frame_send(c->connection, message) != SL_EFULL)
		return;
	log_warn("connection %llu of uid %u does not read: it is closed", (unsigned long long) c->number, (unsigned) c->uid);
	c->overrun = true;
	uv_timer_start(&c->agent->server->sweeper, sweep, 0, 0);
}

void server_ok(struct agent *a, struct reply to, json_t *ok)
{
	struct client *c = find(a, to.client);
	json_t *answer = json_pack("{s:I,s:o}", "id", to.id, "ok", ok ? ok : json_object());
	if (c && answer && frame_send(c->connection, answer) == SL_EINVAL) {
		sl_error e = { 0 };
		error_set(&e, SL_EFULL, "the answer is longer than a message may be: ask for less");
		server_error(a, to, &e);
	}
	json_decref(answer);
}

void server_error(struct agent *a, struct reply to, const sl_error *error)
{
	struct client *c = find(a, to.client);
	if (!c)
		return;
	json_t *words = json_pack("{s:i}", "code", (int) error->code);
	json_set_str(words, "text", str_of(error->text));
	json_t *answer = json_pack("{s:I,s:o}", "id", to.id, "error", words);
	send_to(c, answer);
	json_decref(answer);
}

void server_event(struct agent *a, json_t *event)
{
	for (struct client *c = a->server ? a->server->clients : NULL; c; c = c->next)
		if (c->hello)
			send_to(c, event);
	json_decref(event);
}

void server_push_logs(struct agent *a, struct lease *lease)
{
	for (struct client *c = a->server ? a->server->clients : NULL; c; c = c->next)
		for (struct follow *f = c->follows; f; f = f->next)
			if (f->lease == lease)
				client_push(c, f);
}

bool server_follows(const struct agent *a)
{
	for (const struct client *c = a->server ? a->server->clients : NULL; c; c = c->next)
		if (c->follows)
			return true;
	return false;
}

void server_forget(struct agent *a, const struct lease *lease)
{
	for (struct client *c = a->server ? a->server->clients : NULL; c; c = c->next)
		client_unfollow(c, lease);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client.c - HTTP/1.1 calls to the control door, one connection a call. */
#include <config.h>

#include "core/cli/client.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/error.h"
#include "core/base/str.h"

enum { READ_SIZE = 64 * 1024, CONNECT_SECONDS = 5 };

static bool address_unix(const char *path, struct client_address *out, sl_error *error)
{
	if (!str_copy(out->path, sizeof out->path, str_of(path))) {
		error_set(error, SL_EINVAL, "the socket's path is longer than %zu characters", sizeof out->path - 1);
		return false;
	}
	str_copy(out->text, sizeof out->text, str_of(path));
	return true;
}

static bool address_http(const char *rest, struct client_address *out, sl_error *error)
{
	size_t len = strcspn(rest, "/");
	const char *colon = memrchr(rest, ':', len);
	uint64_t port;
	bool plain = rest[len] == '\0' || rest[len + 1] == '\0';
	if (!plain || !colon || !str_to_u64((sl_str){ colon + 1, len - (size_t) (colon + 1 - rest) }, 65535, &port) ||
	    port == 0) {
		error_set(error, SL_EINVAL, "'http://%s' is not of the form http://HOST:PORT", rest);
		return false;
	}
	sl_str host = { rest, (size_t) (colon - rest) };
	if (host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']')
		host = (sl_str){ host.ptr + 1, host.len - 2 };
	if (host.len == 0 || !str_copy(out->host, sizeof out->host, host)) {
		error_set(error, SL_EINVAL, "'http://%s' names no host that could be one", rest);
		return false;
	}
	str_copy(out->port, sizeof out->port, (sl_str){ colon + 1, len - (size_t) (colon + 1 - rest) });
	str_copy(out->text, sizeof out->text, str_of("http://"));
	str_copy(out->text + 7, sizeof out->text - 7, (sl_str){ rest, len });
	return true;
}

bool client_address_parse(const char *text, struct client_address *out, sl_error *error)
{
	memset(out, 0, sizeof *out);
	if (strncmp(text, "unix:", 5) == 0)
		text += 5;
	if (text[0] == '/')
		return address_unix(text, out, error);
	if (strncmp(text, "http://", 7) == 0)
		return address_http(text + 7, out, error);
	error_set(error, SL_EINVAL, "'%s' is neither unix:/PATH nor http://HOST:PORT", text);
	return false;
}

/* Only the connect blocks, and for CONNECT_SECONDS at most. */
static int socket_connect(int fd, const struct sockaddr *to, socklen_t len)
{
	struct timeval limit = { .tv_sec = CONNECT_SECONDS };
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	int rc;
	do
		rc = connect(fd, to, len);
	while (rc < 0 && errno == EINTR);
	if (rc == 0)
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	return rc;
}

static int connect_unix(const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	str_copy(to.sun_path, sizeof to.sun_path, str_of(path));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && socket_connect(fd, (struct sockaddr *) &to, sizeof to) < 0) {
		int why = errno;
		close(fd);
		errno = why;
		return -1;
	}
	return fd;
}

static int connect_tcp(const struct client_address *to, sl_error *error)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV }, *found = NULL;
	int rc = getaddrinfo(to->host, to->port, &hints, &found), fd = -1;
	if (rc != 0) {
		error_set(error, SL_EUNAVAILABLE, "cannot reach sluiced at %s: %s", to->text, gai_strerror(rc));
		return -1;
	}
	int why = 0;
	for (struct addrinfo *a = found; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd >= 0 && socket_connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
			why = errno;
			close(fd);
			fd = -1;
		}
	}
	freeaddrinfo(found);
	errno = why;
	return fd;
}

static void call_end(struct client_call *call, enum client_state state)
{
	if (call->state == CLIENT_SEND || call->state == CLIENT_HEAD || call->state == CLIENT_BODY)
		close(call->fd);
	call->fd = -1;
	call->state = state;
}

static void call_fail(struct client_call *call, int code, const char *what)
{
	error_set(&call->error, code, "%s", what);
	call_end(call, CLIENT_FAILED);
}

bool client_start(struct client_call *call, const struct client_address *to, const char *method, const char *target,
                  const char *type, sl_str body)
{
	client_close(call);
	call->body.max = CLIENT_ANSWER_MAX;
	call->fd = to->path[0] ? connect_unix(to->path) : connect_tcp(to, &call->error);
	if (call->fd < 0) {
		if (call->error.code == 0)
			error_set(&call->error, SL_EUNAVAILABLE, "cannot reach sluiced at %s: %s", to->text,
			          errno == EAGAIN || errno == EINPROGRESS ? "it takes no connection" : strerror(errno));
		call->refused = true;
		call->state = CLIENT_FAILED;
		return false;
	}
	call->state = CLIENT_SEND;
	buf_printf(&call->out, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: sluicectl\r\nAccept: application/json\r\n"
	           "Connection: close\r\n", method, target, to->host[0] ? to->host : "localhost");
	if (type)
		buf_printf(&call->out, "Content-Type: %s\r\n", type);
	if (type || strcmp(method, "GET") != 0)
		buf_printf(&call->out, "Content-Length: %zu\r\n", body.len);
	buf_puts(&call->out, "\r\n");
	buf_put(&call->out, body.ptr, body.len);
	if (call->out.failed)
		call_fail(call, SL_ENOMEM, "out of memory");
	return call->state == CLIENT_SEND;
}

short client_events(const struct client_call *call)
{
	if (call->state == CLIENT_SEND)
		return POLLOUT;
	return call->state == CLIENT_HEAD || call->state == CLIENT_BODY ? POLLIN : 0;
}

static void step_send(struct client_call *call)
{
	ssize_t n = send(call->fd, call->out.data, call->out.len, MSG_NOSIGNAL);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) { /* an answer may have come before the request was read to its end */
		call->state = CLIENT_HEAD;
		return;
	}
	buf_consume(&call->out, (size_t) n);
	if (call->out.len == 0) {
		call->sent = true;
		call->state = CLIENT_HEAD;
	}
}

/* Takes the answer's head from call->in when it is there; interim answers are skipped. */
static void step_head(struct client_call *call)
{
	struct http_head head;
	struct http_reject why;
	while (call->state == CLIENT_HEAD && call->in.len) {
		enum http_parse got = http_parse_response(call->in.data, call->in.len, &head, &why);
		if (got == HTTP_INCOMPLETE)
			return;
		if (got == HTTP_REJECTED) {
			error_set(&call->error, SL_EUPSTREAM, "what answered is not sluiced: %s", why.message);
			call_end(call, CLIENT_FAILED);
			return;
		}
		buf_consume(&call->in, head.length);
		if (head.status / 100 == 1)
			continue;
		call->status = head.status;
		call->chunked = head.chunked;
		call->has_length = head.has_length;
		call->left = head.content_length;
		call->state = CLIENT_BODY;
		if (head.status == 204 || head.status == 304 || (head.has_length && head.content_length == 0))
			call_end(call, CLIENT_DONE);
	}
}

static void decode_chunks(struct client_call *call)
{
	size_t at = 0, used;
	enum http_parse got;
	struct http_reject why;
	do {
		sl_str piece = { 0 };
		used = 0;
		got = http_chunked_read(&call->chunks, call->in.data + at, call->in.len - at, &used, &piece, &why);
		buf_put(&call->body, piece.ptr, piece.len);
		at += used;
	} while (got == HTTP_INCOMPLETE && used > 0 && at < call->in.len);
	buf_consume(&call->in, at);
	if (got == HTTP_REJECTED) {
		error_set(&call->error, SL_EUPSTREAM, "sluiced's answer is broken: %s", why.message);
		call_end(call, CLIENT_FAILED);
	} else if (got == HTTP_COMPLETE) {
		call_end(call, CLIENT_DONE);
	}
}

static void step_body(struct client_call *call)
{
	if (call->chunked && call->in.len) {
		decode_chunks(call);
	} else if (!call->chunked) {
		size_t n = call->in.len;
		if (call->has_length && n > call->left)
			n = (size_t) call->left;
		buf_put(&call->body, call->in.data, n);
		buf_consume(&call->in, n);
		call->left -= call->has_length ? n : 0;
		if (call->has_length && call->left == 0)
			call_end(call, CLIENT_DONE);
	}
	if (call->body.failed && call->state != CLIENT_FAILED)
		call_fail(call, SL_EFULL, "sluiced's answer is larger than 64 MiB: ask for less, with --limit for example");
}

/* The connection's end: fine only for a body that neither a length nor chunks delimit. */
static void step_eof(struct client_call *call)
{
	if (call->state == CLIENT_BODY && !call->chunked && !call->has_length)
		call_end(call, CLIENT_DONE);
	else if (call->state == CLIENT_BODY)
		call_fail(call, SL_EUPSTREAM, "the connection to sluiced ended in the middle of an answer");
	else
		call_fail(call, SL_EUPSTREAM, "sluiced closed the connection without an answer");
}

void client_step(struct client_call *call)
{
	if (call->state == CLIENT_SEND) {
		step_send(call);
		return;
	}
	if (call->state != CLIENT_HEAD && call->state != CLIENT_BODY)
		return;
	if (!buf_reserve(&call->in, READ_SIZE)) {
		call_fail(call, SL_ENOMEM, "out of memory");
		return;
	}
	ssize_t n = recv(call->fd, call->in.data + call->in.len, READ_SIZE, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		step_eof(call);
		return;
	}
	call->in.len += (size_t) n;
	if (call->state == CLIENT_HEAD)
		step_head(call);
	if (call->state == CLIENT_BODY)
		step_body(call);
}

void client_wait(struct client_call *call, int timeout_ms)
{
	short events;
	while ((events = client_events(call)) != 0) {
		struct pollfd p = { .fd = call->fd, .events = events };
		int n = poll(&p, 1, timeout_ms);
		if (n > 0)
			client_step(call);
		else if (n == 0)
			call_fail(call, SL_ETIMEOUT, "sluiced does not answer");
	}
}

void client_close(struct client_call *call)
{
	call_end(call, CLIENT_IDLE);
	buf_free(&call->out);
	buf_free(&call->in);
	buf_free(&call->body);
	*call = (struct client_call){ .fd = -1 };
}

/* SPDX-License-Identifier: Apache-2.0 */
/* server.h - a small HTTP server on a libuv loop, for the control door. (The inference door has its own
 * connections in core/gateway, made for its speed.) Loop thread only. */
#ifndef CORE_HTTP_SERVER_H
#define CORE_HTTP_SERVER_H

#include <uv.h>

#include "core/http/address.h"
#include "core/http/parse.h"

struct http_server;

/* One request and its answer. Without on_close it lives until the answer has ended (http_respond, http_respond_end;
 * to be called even when the client is gone). With on_close it lives until that is called, and is not to be touched
 * from the next turn of the loop on: when a client is gone nothing need be ended, though ending it at once, as behind
 * a chunk that returned false, does no harm. A client that closes only its own side (half-close) is still answered;
 * on a Unix socket one that is gone is told apart at once, over TCP by the next write. */
struct http_exchange {
	const struct http_head *head;
	sl_str body;        /* whole; bounded by the server's body_max */
	bool has_peercred;  /* Unix sockets: the three below are from the kernel */
	uint32_t peer_uid, peer_gid;
	int32_t peer_pid;
	char peer[48];      /* address without port, or "unix" */
	/* For the handler. on_close is called once, when the exchange is over for whatever reason; `gone` tells
	 * whether the client went before the end of the answer. */
	void *data;
	void (*on_close)(struct http_exchange *, bool gone);
	/* Everything of an answer in pieces that has not ended has been written. May be NULL. */
	void (*on_drained)(struct http_exchange *);
};

struct http_server_options {
	size_t body_max;           /* 0: 1 MiB */
	unsigned connections_max;  /* 0: 256; above it: 503 and close */
	uint64_t head_timeout_ms;  /* 0: 10 s for head and body together */
	uint64_t idle_timeout_ms;  /* 0: 60 s between requests */
	size_t write_max;          /* 0: 4 MiB; more than that waiting for a slow client, and it is cut. One write alone
	                            * may be larger. */
};

typedef void (*http_handler)(void *arg, struct http_exchange *x);

/* Starts to listen; a Unix socket gets `mode`, and a stale file of it is replaced (one that somebody listens on is
 * an error). NULL on failure; the loop must run once more then, to close what was opened. */
struct http_server *http_server_open(uv_loop_t *loop, const struct http_address *address, unsigned mode,
                                     const struct http_server_options *options, http_handler handler, void *arg,
                                     sl_error *error);
/* The TCP port that it listens on (that of the kernel's choice when the address had 0), 0 for a Unix socket. */
unsigned http_server_port(const struct http_server *server);
/* Stops listening, ends idle connections at once and busy ones after their answer or `grace_ms`; then `done`. */
void http_server_close(struct http_server *server, uint64_t grace_ms, void (*done)(void *), void *arg);

/* A header of the answer to come, before it begins. Copies. False: the value has a control character, or all of them
 * are above 4 KiB. Content-Type, Content-Length, Transfer-Encoding and Connection are the server's. */
bool http_respond_header(struct http_exchange *x, const char *name, sl_str value);
/* A whole answer. Copies. */
void http_respond(struct http_exchange *x, int status, const char *type, sl_str body);
/* A whole answer {"error":{"message","type","param":null,"code"}}. */
void http_respond_error(struct http_exchange *x, int status, const char *code, const char *message);
/* An answer in pieces, each sent at once as a chunk. Copies. end() ends the exchange. chunk() returns false when
 * the client is gone or too slow (write_max); keep calling end() anyway. */
void http_respond_begin(struct http_exchange *x, int status, const char *type);
bool http_respond_chunk(struct http_exchange *x, sl_str data);
void http_respond_end(struct http_exchange *x);
/* Ends the exchange in the middle of such an answer: the connection is cut, so that the client sees that it is not whole. */
void http_respond_abort(struct http_exchange *x);
/* Bytes that wait to be written to this client. */
size_t http_respond_backlog(const struct http_exchange *x);

#endif

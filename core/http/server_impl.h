/* SPDX-License-Identifier: Apache-2.0 */
/* server_impl.h - what the parts of the server share: server.c (listening, deadlines, the end), server_read.c
 * (requests), server_answer.c (answers). */
#ifndef CORE_HTTP_SERVER_IMPL_H
#define CORE_HTTP_SERVER_IMPL_H

#include "core/base/buf.h"
#include "core/http/server.h"

enum {
	SERVER_READ_ROOM = 64 * 1024,
	SERVER_AHEAD_MAX = 64 * 1024, /* bytes of later requests taken in while one is answered */
	SERVER_FIELDS_MAX = 4 * 1024, /* http_respond_header's */
	SERVER_LINGER_MS = 1000,      /* how long a client may take to read our last words */
};

enum server_state {
	SERVER_HEAD,   /* waits for a request or its head */
	SERVER_BODY,   /* has the head, waits for the body */
	SERVER_BUSY,   /* has a request, its answer has not ended or is not written yet */
	SERVER_LINGER, /* nothing is to come from us any more; what the client still sends is dropped */
	SERVER_CLOSED,
};

/* One client. Freed when its handle is closed and its exchange, if it has one, is over: ended by the handler, or the
 * handler was told that the client is gone. */
struct server_connection {
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} socket;
	struct http_server *server; /* NULL once the handle is closed */
	struct server_connection *prev, *next;
	enum server_state state;
	uint64_t deadline;       /* loop time in ms; 0: none */
	uint64_t write_deadline; /* the same, for what waits to be written */
	size_t write_seen;       /* bytes that waited when write_deadline was set */

	struct buf in;   /* of the request: head, then body or chunks as they came */
	struct buf body; /* of a chunked request, decoded */
	struct buf ahead; /* what came behind the request while it was answered */
	struct http_chunked chunked;
	struct http_head head;
	size_t used;     /* bytes of `in` that the request takes */

	struct http_exchange x;
	struct buf fields; /* of http_respond_header */
	bool in_exchange;  /* the handler has x and has not ended it, nor been told of its end */
	bool in_handler;   /* the handler is being called right now */
	bool begun, ended; /* the answer */
	bool chunks;       /* it is sent in chunks */
	bool no_body;      /* it has a head only */
	bool keep_alive;
	bool told;         /* on_close was called, or there is no more need */
	bool eof;          /* the client sends nothing more; it may still read */
	bool paused;       /* reading is stopped until the answer has ended */
	bool handle_closed;
	unsigned writes;   /* that wait in the loop */
};

struct http_server {
	uv_loop_t *loop;
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} listener;
	uv_timer_t timer; /* deadlines */
	bool is_unix;
	struct http_server_options options;
	http_handler handler;
	void *arg;
	struct server_connection *connections;
	unsigned n_connections;
	unsigned open; /* handles of its own that are not closed */
	uint64_t tick_ms;
	bool closing;
	uint64_t grace_deadline;
	void (*done)(void *);
	void *done_arg;
	char room[SERVER_READ_ROOM];
};

/* server.c */
void server_touch(struct server_connection *c, uint64_t timeout_ms);
/* Closes at once. If a request was being answered, its client is gone. */
void server_cut(struct server_connection *c);
/* Closes once what is written has been read: ends our side and waits a little for the client's end. */
void server_linger(struct server_connection *c);
/* A client that has sent its last byte may have closed its side, or be gone. What the kernel knows of that. */
bool server_is_gone(const struct server_connection *c);
/* Frees the connection if nobody has it any more. */
void server_release(struct server_connection *c);

/* server_read.c */
void server_read_start(struct server_connection *c);
/* Goes on with what has been read, as far as it goes. */
void server_advance(struct server_connection *c);

/* server_answer.c */
/* Sends an error of ours and ends the connection. */
void server_refuse(struct server_connection *c, int status, const char *code, const char *message);
/* Queues bytes, copied. False: the client is gone or too slow, and was cut. */
bool server_write(struct server_connection *c, sl_str head, sl_str data, sl_str tail);
/* The answer has ended and is written: on to the next request, or to the end of the connection. */
void server_exchange_over(struct server_connection *c);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* client.h - HTTP/1.1 calls to the control door, one connection a call.
 *
 * A call is a small state machine over a non-blocking socket: `run` steps several of them in one poll loop, the
 * other commands wait for one. Not thread-safe. */
#ifndef CORE_CLI_CLIENT_H
#define CORE_CLI_CLIENT_H

#include <stdbool.h>
#include <sluice/types.h>

#include "core/base/buf.h"
#include "core/http/parse.h"

enum { CLIENT_ANSWER_MAX = 64 * 1024 * 1024, CLIENT_HOST_MAX = 256 };

/* Where sluiced listens. */
struct client_address {
	char path[108]; /* Unix socket; empty: host and port */
	char host[CLIENT_HOST_MAX], port[8];
	char text[CLIENT_HOST_MAX + 16]; /* for messages, as the person would write it */
};

enum client_state { CLIENT_IDLE, CLIENT_SEND, CLIENT_HEAD, CLIENT_BODY, CLIENT_DONE, CLIENT_FAILED };

/* Zero-initialised is idle and may be closed. */
struct client_call {
	int fd; /* valid in SEND, HEAD and BODY */
	enum client_state state;
	struct buf out; /* the request; out.len bytes are still to be sent */
	struct buf in;  /* raw bytes that were not decoded yet */
	struct buf body; /* decoded; a reader of a stream takes bytes from its front with buf_consume */
	int status;      /* of the answer, once state is BODY or DONE */
	bool sent;       /* the whole request left: the other side may have acted on it */
	bool refused;    /* FAILED: nobody listens there, nothing was sent */
	bool chunked, has_length;
	uint64_t left; /* of a body with a length */
	struct http_chunked chunks;
	sl_error error; /* FAILED: why */
};

/* "unix:/path", "/path" or "http://host:port". False with a sentence in *error. */
bool client_address_parse(const char *text, struct client_address *out, sl_error *error);

/* Connects (5 s at most) and queues the request. type: content type, NULL without a body. False: FAILED. */
bool client_start(struct client_call *call, const struct client_address *to, const char *method, const char *target,
                  const char *type, sl_str body);
/* What to poll call->fd for; 0 when there is nothing to wait for. */
short client_events(const struct client_call *call);
/* Goes on after poll said so: at most one read or write. */
void client_step(struct client_call *call);
/* Steps until DONE or FAILED. Nothing moved for timeout_ms: FAILED with SL_ETIMEOUT. */
void client_wait(struct client_call *call, int timeout_ms);
/* Back to idle; all memory goes. */
void client_close(struct client_call *call);

#endif

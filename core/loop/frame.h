/* SPDX-License-Identifier: Apache-2.0 */
/* frame.h - messages between our processes: a length of 4 bytes, big endian, and one JSON object.
 *
 * Three layers: frame_write and frame_reader know bytes only; frame_recv and frame_emit do it on a blocking
 * descriptor; struct frame_connection does it on a libuv loop, for a client as for a server. */
#ifndef CORE_LOOP_FRAME_H
#define CORE_LOOP_FRAME_H

#include <jansson.h>
#include <stdbool.h>
#include <uv.h>
#include <sluice/types.h>

#include "core/base/buf.h"

enum {
	FRAME_MAX = 1 << 20,       /* bytes of one message's JSON */
	FRAME_QUEUE_MAX = 16 << 20 /* bytes that wait to be sent on one connection */
};

/* Appends one message. SL_OK, SL_EINVAL (no object, or too long) or SL_ENOMEM; `out` is unchanged on an error. */
int frame_write(struct buf *out, const json_t *message);

/* Puts messages together from bytes as they come. Zero-initialised is valid. */
struct frame_reader {
	struct buf in;
};
/* Gets a message, borrowed for the call. False: stop reading (the reader may be gone by then). */
typedef bool (*frame_take)(void *arg, json_t *message);
/* Hands over every complete message in order. SL_OK, also when `take` said stop; SL_EINVAL: these bytes are not
 * of this protocol, the connection must end; SL_ENOMEM. */
int frame_read(struct frame_reader *reader, const void *data, size_t len, frame_take take, void *arg, sl_error *error);
void frame_reader_free(struct frame_reader *reader);

/* Blocking descriptors. frame_emit: SL_OK or an error. frame_recv: the message (the caller decrefs), or NULL with
 * SL_EIO (also at the end of the stream) or SL_EINVAL in *error. */
int frame_emit(int fd, const json_t *message, sl_error *error);
json_t *frame_recv(int fd, sl_error *error);

/* A stream socket on a loop. All functions and callbacks: the loop's thread. The process must ignore SIGPIPE. */
struct frame_connection;
struct frame_events {
	/* A message came, borrowed. frame_close of this very connection is allowed in here. */
	void (*message)(void *arg, struct frame_connection *connection, json_t *message);
	/* The other side went, or sent what is no message, or does not read what we send. Called once, never after
	 * frame_close; the connection frees itself afterwards. */
	void (*closed)(void *arg, struct frame_connection *connection, const sl_error *why);
	/* Everything that was queued has been sent. May be NULL. */
	void (*drained)(void *arg, struct frame_connection *connection);
};

/* Takes over a connected descriptor (closed on an error too). `events` must outlive the connection. */
struct frame_connection *frame_adopt(uv_loop_t *loop, int fd, const struct frame_events *events, void *arg,
                                     sl_error *error);
/* Connects to a Unix socket, at once or not at all. */
struct frame_connection *frame_connect(uv_loop_t *loop, const char *path, const struct frame_events *events, void *arg,
                                       sl_error *error);
/* Queues a message. SL_OK; as frame_write; SL_EFULL: FRAME_QUEUE_MAX is reached, the message was dropped. */
int frame_send(struct frame_connection *connection, const json_t *message);
/* Bytes not sent yet. */
size_t frame_queued(const struct frame_connection *connection);
/* Ends it without a further callback, once what is queued was sent or the other side went. NULL is allowed. */
void frame_close(struct frame_connection *connection);
/* The same at once: what is queued is lost. */
void frame_drop(struct frame_connection *connection);

#endif

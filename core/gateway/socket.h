/* SPDX-License-Identifier: Apache-2.0 */
/* socket.h - a non-blocking socket of a worker, watched edge-triggered and never told anew what for: what is to be sent is kept as spans until the end of the loop's
 * batch, then goes out in one call; what the kernel does not take is copied and waits for it. */
#ifndef CORE_GATEWAY_SOCKET_H
#define CORE_GATEWAY_SOCKET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "core/base/buf.h"

struct worker;
struct gateway_socket;

enum { SOCKET_SPANS = 6, SOCKET_BATCH_MAX = 8 * 1024 };

struct socket_calls {
	void (*readable)(struct gateway_socket *);
	void (*drained)(struct gateway_socket *); /* all that was kept has been sent; may be NULL */
	void (*expired)(struct gateway_socket *); /* its deadline has passed */
	void (*closed)(struct gateway_socket *);  /* the handle is closed: free the struct that holds it */
};

enum socket_watch { WATCH_NOTHING, WATCH_RESET, WATCH_ALL };

struct gateway_socket {
	const struct socket_calls *calls;
	struct worker *worker;
	int fd;
	enum socket_watch watch;
	uint32_t events;      /* of epoll, that were told and are not worked off */
	bool full;            /* the last read filled its room: there may be more */
	bool dirty, closing;
	bool broken;          /* a send failed: nothing more goes out, an event will follow */
	uint8_t n_spans;
	uint32_t span_bytes;
	struct iovec spans[SOCKET_SPANS];
	struct buf out;       /* copied, waits for the kernel */
	struct gateway_socket *next_dirty, *next_closed;
	struct gateway_socket *again_next, **again_link; /* the worker's list of those to be looked at again */
	/* Timeout wheel. deadline_ms 0: none. Only the field is set on the way; the list is mended when its slot comes. */
	uint64_t deadline_ms, wheel_due_ms;
	struct gateway_socket *wheel_next, **wheel_link;
};

/* Takes over fd. False: out of memory or the loop refused; fd is still the caller's. */
bool socket_open(struct gateway_socket *s, struct worker *worker, int fd, const struct socket_calls *calls);
/* Sends nothing more, closes fd now; calls->closed follows. */
void socket_close(struct gateway_socket *s);
/* The bytes must stay where they are until the end of the batch (the worker's arena, static text), or until
 * socket_flush. */
void socket_send(struct gateway_socket *s, const void *data, size_t len);
/* The same for what is large: its receiver is woken once for all of a batch, not for each. Within WORKER_LATE_MAX. */
void socket_send_late(struct gateway_socket *s, const void *data, size_t len);
void socket_flush(struct gateway_socket *s);
/* Something that belongs to the stream cannot be sent: nothing after it must, or the peer would see a gap as whole. */
void socket_break(struct gateway_socket *s);
/* recv() into to[room], without a wait. For calls->readable. */
ssize_t socket_read(struct gateway_socket *s, void *to, size_t room);
/* What epoll said of it, or 0: to be looked at again. */
void socket_event(struct gateway_socket *s, uint32_t events);
void socket_watch(struct gateway_socket *s, bool readable);
/* Watches for nothing but a reset of the connection; it is told as readable. */
void socket_watch_reset(struct gateway_socket *s);
/* Bytes that wait for the peer. */
static inline size_t socket_backlog(const struct gateway_socket *s)
{
	return s->out.len + s->span_bytes;
}
/* Nothing within ms: calls->expired. 0: no deadline. Coarse (an eighth of a second). */
void socket_expire(struct gateway_socket *s, uint64_t ms);

#endif

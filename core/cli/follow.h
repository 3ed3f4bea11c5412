/* SPDX-License-Identifier: Apache-2.0 */
/* follow.h - follows a lease's stream of states and output, over lost connections and restarts of sluiced.
 *
 * Output is counted by the offsets that the stream carries, so that after a reconnect no byte is missing or comes
 * twice. To be stepped from a poll loop. */
#ifndef CORE_CLI_FOLLOW_H
#define CORE_CLI_FOLLOW_H

#include "core/cli/cli.h"

enum { FOLLOW_OUT, FOLLOW_ERR };
enum follow_result { FOLLOW_GOING, FOLLOW_ENDED, FOLLOW_FAILED };

struct follow {
	const struct client_address *address;
	char lease[SL_NAME_MAX];
	int give_up_ms;    /* without a connection for so long: FAILED */
	bool attached;     /* the program waits for us */
	int64_t offset[2]; /* next byte to come of out and err; -1: from now */
	void *arg;
	/* Output, in order; gap: so many bytes before it are lost. */
	void (*log)(void *arg, int source, const char *data, size_t len, int64_t gap);
	void (*changed)(void *arg, const char *state, const char *reason);
	/* The connection was lost (true) or is back. May be NULL. */
	void (*lost)(void *arg, bool lost);

	struct client_call call;
	uint64_t lost_ns;  /* since when without connection, 0: connected or never tried */
	uint64_t retry_ns; /* next attempt */
	uint64_t heard_ns; /* last sign of life */
	uint64_t messages; /* states and output so far */
	unsigned attempts;
	bool early;        /* it said "ended" of a lease that has not: asked again in a moment */
	bool told;         /* lost() was called with true */
	bool replica;      /* the lease is a replica's */
	json_t *ended;     /* the lease's end record once ENDED; freed by follow_close */
	sl_error error;    /* FAILED: why */
	int status;        /* FAILED: status of sluiced's refusal, 0: none; its body is in call.body */
};

/* address, lease, give_up_ms, offset and callbacks are set by the caller, the rest is zero. */
void follow_start(struct follow *f, uint64_t now_ns);
/* Milliseconds until follow_step has something to do by itself, at most `most`. */
int follow_timeout(const struct follow *f, uint64_t now_ns, int most);
/* readable: poll said so about f->call.fd. */
enum follow_result follow_step(struct follow *f, bool readable, uint64_t now_ns);
void follow_close(struct follow *f);

#endif

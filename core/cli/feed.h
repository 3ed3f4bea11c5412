/* SPDX-License-Identifier: Apache-2.0 */
/* feed.h - sends standard input to a lease's program, piece by piece, each byte once: what was lost with a connection is
 * sent again with its place, and the agent leaves out what it has. */
#ifndef CORE_CLI_FEED_H
#define CORE_CLI_FEED_H

#include "core/cli/cli.h"

enum { FEED_PIECE = 32 * 1024 };

struct feed {
	const struct client_address *address;
	const char *lease;
	bool off;     /* nothing to send any more */
	bool ready;   /* the program runs: it can take input */
	bool at_end;  /* input has ended; the end is sent, too */
	bool tty;     /* input is a terminal: read in the foreground only */
	struct buf piece;
	int64_t writer; /* who we are to the agent */
	int64_t from;   /* place of the piece in all that we send */
	struct client_call call;
	uint64_t retry_ns;
	unsigned delay_ms;
};

void feed_start(struct feed *f, const struct client_address *address, const char *lease, bool on);
/* Poll standard input? */
bool feed_wants(const struct feed *f);
void feed_read(struct feed *f);
/* movable: poll said so about f->call.fd. */
void feed_step(struct feed *f, bool movable, uint64_t now_ns);
int feed_timeout(const struct feed *f, uint64_t now_ns, int most);
void feed_close(struct feed *f);

#endif

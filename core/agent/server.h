/* SPDX-License-Identifier: Apache-2.0 */
/* server.h - what a connection and a request are, between server.c and ops.c. */
#ifndef CORE_AGENT_SERVER_H
#define CORE_AGENT_SERVER_H

#include "core/agent/lease.h"

/* A connection follows the output of some leases. */
struct follow {
	struct follow *next;
	struct lease *lease;
	int64_t out, err; /* next offsets */
};

struct client {
	struct client *next;
	struct agent *agent;
	uint64_t number; /* never used again */
	struct frame_connection *connection;
	uid_t uid;
	bool hello;
	bool overrun; /* it did not read; about to be closed */
	struct follow *follows;
	size_t n_follows;
};

enum { CLIENT_FOLLOWS_MAX = 1024, CLIENT_BACKLOG = 1 << 20 /* above: no log is pushed until it has read on */ };

/* ops.c: answers one request, now or later. */
void ops_request(struct client *c, json_t *request);
/* Sends what is new to one follower, as far as the connection keeps up. */
void client_push(struct client *c, struct follow *f);
void client_unfollow(struct client *c, const struct lease *lease);

#endif

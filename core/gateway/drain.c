/* SPDX-License-Identifier: Apache-2.0 */
/* drain.c - the end of a worker: no new connections, requests may finish, late ones get words, then all is closed. */
#include "core/gateway/worker.h"

static void close_idle_clients(struct worker *w, bool all)
{
	for (struct client *c = w->clients, *next; c; c = next) {
		next = c->next;
		if (all || (!c->request && c->state == CLIENT_HEAD && c->in.len == 0))
			client_close(c);
	}
}

void drain_begin(struct worker *w, uint64_t grace_ms)
{
	worker_event(w);
	w->draining = true;
	w->drain_until_ms = w->now_ms + grace_ms;
	listeners_close(w);
	close_idle_clients(w, false);
}

/* Ends what is still running with words: an error event in a stream, a 503 before one. */
static void end_requests(struct worker *w)
{
	for (struct request *r = w->requests, *next; r; r = next) {
		next = r->next;
		if (!r->client || r->stage == REQUEST_HELD || r->stage == REQUEST_OVER || r->auth_pending)
			continue;
		if (r->stage == REQUEST_RELAY) {
			if (r->upstream)
				upstream_close(r->upstream);
			relay_broken(r, "shutting_down", "The service is going down. Send the request again.");
		} else {
			struct answer_error e = { .status = 503, .type = "server_error", .code = "shutting_down", .retry_ms = 1000,
				.message = "The service is going down. Send the request again." };
			answer_error(r->client, r, &e);
		}
		next = w->requests; /* the list has changed */
		while (next && (!next->client || next->stage == REQUEST_HELD || next->auth_pending))
			next = next->next;
	}
}

void drain_step(struct worker *w)
{
	if (w->shut)
		return;
	close_idle_clients(w, false);
	if (w->requests && w->now_ms >= w->drain_until_ms)
		end_requests(w);
	/* Answers on their way out get a moment more, bounded by the linger and write limits of their clients. */
	bool pending = false;
	for (struct client *c = w->clients; c; c = c->next)
		pending = pending || c->request || c->socket.out.len;
	if (pending && w->now_ms < w->drain_until_ms + 2000)
		return;
	close_idle_clients(w, true);
	own_abandon(w);
	if (w->requests && w->now_ms < w->drain_until_ms + 7000)
		return; /* a message of an authentication or a replica is still to come */
	upstream_close_idle(w);
	worker_shut(w);
}

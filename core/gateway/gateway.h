/* SPDX-License-Identifier: Apache-2.0 */
/* gateway.h - the inference door: worker threads that take requests from clients to engines and back. */
#ifndef CORE_GATEWAY_GATEWAY_H
#define CORE_GATEWAY_GATEWAY_H

#include <jansson.h>
#include <stdbool.h>

#include "core/conf/conf.h"
#include "core/ledger/ledger.h"
#include "core/plugin/plugin.h"
#include "core/quota/quota.h"
#include "core/route/route.h"

struct gateway;

enum { GATEWAY_AUTH_MAX = 8 };

struct gateway_options {
	struct conf *conf;
	struct route *route;
	struct quota *quota;
	struct ledger *ledger;
	struct plugin *auth[GATEWAY_AUTH_MAX]; /* asked in this order */
	unsigned n_auth;
	/* A request waits for a model without a ready replica. Any thread; must not block. */
	void (*need_replica)(void *arg);
	/* Why a model cannot be served now; see fleet_trouble. Any thread. */
	bool (*trouble)(void *arg, sl_str model, char *text, size_t room, uint64_t *retry_ms);
	void *arg;
};

/* Opens the listeners and starts conf->workers threads. Listening sockets answer 503 until gateway_ready(). */
struct gateway *gateway_open(const struct gateway_options *options, sl_error *error);
void gateway_ready(struct gateway *gateway, bool ready);
/* The ledger has committed up to seq: answers that were held for it go out. Any thread; for ledger's callback. */
void gateway_committed(struct gateway *gateway, uint64_t seq);
/* Puts a new snapshot before all workers at once: each builds its policy first; if one cannot, all keep the old.
 * Requests under way end with the snapshot that they began with. Main thread; blocks for some milliseconds. */
int gateway_configure(struct gateway *gateway, struct conf *conf, sl_error *error);
/* Stops listening, lets requests end until grace_ms have passed, then ends them with an error, settles all, and
 * joins the threads. Blocking; any thread, once. gateway_committed() must go on being called meanwhile. */
void gateway_stop(struct gateway *gateway, uint64_t grace_ms);
/* After gateway_stop, when nobody calls gateway_committed() any more. */
void gateway_free(struct gateway *gateway);

/* A number that changes as long as the worker's loop turns. False: there is no such worker, or it has ended. Any thread
 * that may use the gateway. */
bool gateway_ticks(const struct gateway *gateway, unsigned worker, uint64_t *ticks);

struct gateway_totals {
	uint64_t requests, errors; /* errors: 5xx */
	unsigned connections, active, held;
};
void gateway_totals(struct gateway *gateway, struct gateway_totals *out);

#endif

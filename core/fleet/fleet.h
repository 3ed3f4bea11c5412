/* SPDX-License-Identifier: Apache-2.0 */
/* fleet.h - the replicas that sluice starts: leases them, starts, watches, drains and stops them, and tells the
 * routing table. Main loop's thread only. What to do is decided in core/fleet/decide.h, which is pure. */
#ifndef CORE_FLEET_FLEET_H
#define CORE_FLEET_FLEET_H

#include <jansson.h>
#include <uv.h>

#include "core/conf/conf.h"
#include "core/policy/policy.h"
#include "core/pool/pool.h"
#include "core/route/route.h"

struct fleet;

struct fleet_options {
	uv_loop_t *loop;
	struct conf *conf;
	struct pool *pool;
	struct route *route;
	struct policy *policy;   /* the main thread's own; borrowed, replaced by fleet_configure */
	const char *folder;      /* notes for the next run: state/engines. Made when missing */
	const char *sockets;     /* where engines' sockets go, which their user must be able to make; may be `folder`. NULL: there
	                          * is no such folder, so they listen on TCP */
	uint32_t uid, gid;       /* engines run as */
};

/* Static endpoints become ready replicas at once; leases of replicas of an earlier run (pool_leases with holder
 * "replica") are adopted: health-checked and routed to again. */
struct fleet *fleet_open(const struct fleet_options *options, sl_error *error);
/* A new snapshot and policy: models come and go; a model whose definition changed gets its replicas replaced one by
 * one as they drain. */
void fleet_configure(struct fleet *fleet, struct conf *conf, struct policy *policy);
/* Stops looking after replicas; they and their leases live on. */
void fleet_close(struct fleet *fleet);
/* A request waits and there is no replica, or load has changed: decide soon. Any thread. */
void fleet_poke(struct fleet *fleet);
/* An operator's word. */
int fleet_start(struct fleet *fleet, const char *model, sl_error *error);
int fleet_stop(struct fleet *fleet, const char *model, sl_error *error);
/* As in docs/internals/control-api.md. Callers decref. */
json_t *fleet_models(struct fleet *fleet);
json_t *fleet_replicas(struct fleet *fleet);
/* Why a request for the model cannot be served now, and when to try again; for 503s. Any thread.
 * The text is fit for any caller: nothing of what an engine or a lease said of itself; fleet_models has that.
 * False: nothing is wrong, wait. */
bool fleet_trouble(struct fleet *fleet, sl_str model, char *text, size_t room, uint64_t *retry_ms);

#endif

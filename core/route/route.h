/* SPDX-License-Identifier: Apache-2.0 */
/* route.h - the replicas of each model, their load as we count it, and who waits for one.
 *
 * One table per daemon, shared by all workers. Load is counted here at dispatch, never taken from an engine.
 * Each model has a lock that is held for a choice and nothing else. A replica is counted: it stays valid while a
 * request uses it, also after it was removed. No clock, no I/O. */
#ifndef CORE_ROUTE_ROUTE_H
#define CORE_ROUTE_ROUTE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sluice/types.h>

#include "core/http/address.h"

enum { ROUTE_REPLICAS_MAX = 1024, ROUTE_EXCLUDE_MAX = 4 };

enum route_state {
	ROUTE_STARTING = 0,
	ROUTE_READY = 1,
	ROUTE_DRAINING = 2, /* no new requests */
	ROUTE_GONE = 3
};

struct route;
struct route_model;

struct route_replica {
	char name[SL_NAME_MAX];
	struct http_address address;
	char key[256];            /* sent upstream, empty: none. Secret */
	char served_name[SL_NAME_MAX]; /* what the engine calls the model */
	int concurrency;
	unsigned id;              /* unique in the process, of upstream connection pools */

	/* Under the model's lock, or read relaxed for views. */
	atomic_int refs;
	atomic_int running;
	atomic_int state;         /* enum route_state */
	atomic_uint failures;     /* in a row */
	_Atomic uint64_t marked_until_ms; /* monotonic: not chosen while others are, after failures */
	struct route_model *model;
};

struct route *route_new(void);
void route_free(struct route *route);

/* Models come with the configuration. One that is not declared any more keeps its (empty) entry. */
struct route_model *route_model(struct route *route, sl_str name, bool create);
/* The most requests that may wait for a replica of this model. */
void route_model_bound(struct route_model *model, int waiting_max);

/* Returns the caller's reference, to be given back by route_replica_remove. NULL: out of memory, or too many. */
struct route_replica *route_replica_add(struct route_model *model, const char *name, const struct http_address *address,
                                        const char *key, const char *served_name, int concurrency, enum route_state state);
/* READY wakes those who wait. */
void route_replica_set(struct route_replica *replica, enum route_state state);
/* GONE: out of the table; the table's and the caller's references go. Those whose requests run stay valid. */
void route_replica_remove(struct route_replica *replica);
void route_replica_unref(struct route_replica *replica);

/* Someone who waits for a replica. Part of the request; not moved while it waits. */
struct route_waiter {
	struct route_waiter *next, **link;
	struct route_replica *replica;  /* the one it got, running already counted; NULL: the model has none any more */
	int priority;
	uint64_t order;
	void (*wake)(struct route_waiter *); /* any thread, under the model's lock: post and return */
};

enum route_result {
	ROUTE_CHOSEN,  /* *out: running is counted, a reference is held */
	ROUTE_WAIT,    /* the waiter is queued */
	ROUTE_FULL,    /* all are busy, and too many wait */
	ROUTE_NONE     /* no replica that could take it is there, not even a starting one, and no waiter was given */
};

/* The least loaded ready replica, by running / concurrency, ties spread; `exclude` were tried before; `prefer` (may be
 * NULL) are names in the order in which to take the first with room. waiter NULL: do not wait. A model without any
 * replica makes waiters wait too (`may_start`): the fleet sees them and starts one. */
enum route_result route_choose(struct route_model *model, uint64_t now_ms, const char *const *prefer, unsigned n_prefer,
                               struct route_replica *const *exclude, unsigned n_exclude, bool may_start,
                               struct route_waiter *waiter, struct route_replica **out);
/* Leaves the queue. False: it was woken already (wake was or is being called), and replica may be set. */
bool route_cancel(struct route_model *model, struct route_waiter *waiter);
/* The request has ended; the next one in the queue gets the place. failed: a fault of the replica's. */
void route_done(struct route_replica *replica, uint64_t now_ms, bool failed);
/* Fails everybody who waits (no replica can be had); they are woken with replica NULL. */
void route_fail_waiters(struct route_model *model);

struct route_load {
	int replicas, ready, starting, running, waiting;
	uint64_t arrivals; /* choices asked for, ever */
	uint64_t last_ms;  /* monotonic: when the last request was chosen or done; 0: never */
};
void route_load(struct route_model *model, struct route_load *out);
/* Calls each() for every replica under the model's lock. */
void route_each(struct route_model *model, void (*each)(void *arg, const struct route_replica *), void *arg);

#endif

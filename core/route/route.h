/* SPDX-License-Identifier: Apache-2.0 */
/* route.h - the replicas of each model, their load as we count it, what their caches hold, and who waits for one.
 *
 * One table per daemon, shared by all workers. Load is counted here at dispatch, never taken from an engine.
 * Each model has a lock that is held for a choice and nothing else. A replica is counted: it stays valid while a
 * request uses it, also after it was removed. No clock, no I/O: times are monotonic and come from the caller. */
#ifndef CORE_ROUTE_ROUTE_H
#define CORE_ROUTE_ROUTE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sluice/types.h>

#include "core/http/address.h"
#include "core/route/cost.h"
#include "core/route/prefix.h"

enum { ROUTE_REPLICAS_MAX = 1024, ROUTE_EXCLUDE_MAX = 4 };

enum route_state {
	ROUTE_STARTING = 0,
	ROUTE_READY = 1,
	ROUTE_DRAINING = 2, /* no new requests */
	ROUTE_GONE = 3
};

struct route;
struct route_model;

/* How a replica is chosen among those with room. */
enum route_rule {
	ROUTE_COST = 0,        /* the least marginal cost for everybody, see cost.h */
	ROUTE_LEAST_LOAD = 1,  /* running / concurrency */
	ROUTE_ROUND_ROBIN = 2,
	ROUTE_PREFIX = 3       /* that with the longest cached prefix, the least loaded among equals */
};

/* A request as routing sees it, and its use of a replica. Part of the request; not moved from route_choose until
 * route_done. Zero-initialised it is a request of which nothing is known. */
struct route_use {
	/* The caller's, before route_choose. Arrays live until route_done; hold.entries and hold.ages are set with keys. */
	const uint64_t *keys;      /* of the prompt's blocks, see prefix_chain */
	unsigned n_keys;
	struct prefix_hold hold;
	int64_t bytes;             /* of the prompt */
	int64_t max_output;        /* bound on its output tokens, 0: none */
	bool unsure;               /* bytes do not tell tokens, as with pictures */
	bool streamed;             /* its first token will be seen: route_first is called */

	/* What was decided, for those who show it. */
	struct cost_parts parts;   /* of the replica that was chosen */
	double predicted_ms;       /* from dispatch to the first token */
	double tokens;             /* of the prompt, expected */

	/* Route's own. */
	struct route_replica *replica;
	struct route_use *next, **link; /* prompts at the replica whose first token has not come */
	double estimate_ms, output, work, context;
	double loose;              /* part of the replica's */
	double area_running, area_context, area_prompt; /* of the replica when the first token came */
	uint64_t dispatched_us, first_us;
};

struct route_replica {
	/* What each choice reads, first. Under the model's lock, or read relaxed for views. */
	atomic_int state;         /* enum route_state */
	atomic_int running;
	int concurrency;
	unsigned slot;            /* in the model's index */
	_Atomic uint64_t marked_until_ms; /* not chosen while others are, after failures */
	double context;           /* tokens of those that run */
	double held;              /* the same, but what they share once */
	double outstanding_ms;    /* of prompts whose first token has not come */
	uint64_t progress_us;     /* of the last first token */
	struct route_use *prompts, **prompts_end;
	double room;              /* tokens that its cache holds */
	struct cost_own own;      /* how much slower it is than its siblings */
	double loose;             /* context of those of whose blocks nothing is known */
	double area_running, area_context, area_prompt; /* integrals over milliseconds, up to area_us */
	uint64_t area_us;
	uint64_t new_blocks;      /* computed since what it held was not known */
	bool unknown;             /* it may hold what it got before we saw it */
	bool tells;               /* its answers have told cached tokens */
	bool watched;             /* whoever added it looks at it when it is doubted; set before it is READY */

	atomic_int refs;
	atomic_uint failures;     /* in a row */
	struct route_model *model;
	char name[SL_NAME_MAX];
	struct http_address address;
	char key[256];            /* sent upstream, empty: none. Secret */
	char served_name[SL_NAME_MAX]; /* what the engine calls the model */
	unsigned id;              /* unique in the process, of upstream connection pools */
};

struct route *route_new(void);
void route_free(struct route *route);

/* Models come with the configuration. One that is not declared any more keeps its (empty) entry. */
struct route_model *route_model(struct route *route, sl_str name, bool create);

struct route_tuning {
	enum route_rule rule;
	int waiting_max;          /* the most requests that may wait for a replica of this model */
	uint32_t index_entries;   /* bound of the prefix index, 0: none is kept */
	int64_t cache_tokens;     /* what a replica's cache holds, 0: not known */
	struct cost_step step;    /* a first guess of the engine's speed; all zero: the default one */
};
/* Another bound of the index begins with an empty one. False: out of memory for it, all else is set. */
bool route_model_tune(struct route_model *model, const struct route_tuning *tuning);

/* Returns the caller's reference, to be given back by route_replica_remove. NULL: out of memory, or too many. */
struct route_replica *route_replica_add(struct route_model *model, const char *name, const struct http_address *address,
                                        const char *key, const char *served_name, int concurrency, enum route_state state,
                                        uint64_t now_us);
/* READY wakes those who wait. A replica that was ready and STARTS again has lost its cache. */
void route_replica_set(struct route_replica *replica, enum route_state state, uint64_t now_us);
/* Its connection broke in a way that looks like the end of its process: it gets no more requests (it counts as one that
 * starts) until whoever watches it says that it is READY, or removes it. False: nobody does, nothing was changed. */
bool route_replica_doubt(struct route_replica *replica);
/* Its cache is empty: it slept, was reset, or is not the process that it was. */
void route_replica_forget(struct route_replica *replica);
/* GONE: out of the table; the table's and the caller's references go. Those whose requests run stay valid. */
void route_replica_remove(struct route_replica *replica);
void route_replica_unref(struct route_replica *replica);

/* Someone who waits for a replica. Part of the request; not moved while it waits. */
struct route_waiter {
	struct route_waiter *next, **link;
	struct route_use *use;
	struct route_replica *replica;  /* the one it got, its use already counted; NULL: the model has none any more */
	int priority;
	uint64_t order;
	void (*wake)(struct route_waiter *); /* any thread, under the model's lock: post and return */
};

struct route_ask {
	uint64_t now_us;
	struct route_use *use;             /* never NULL */
	const char *const *prefer;         /* names, in the order in which to take the first with room */
	unsigned n_prefer;
	const unsigned *exclude;           /* ids of replicas that were tried before */
	unsigned n_exclude;
	bool again;                        /* asked before for the same request: no new arrival */
	bool may_start;                    /* the model may have no replica: the fleet sees who waits and starts one */
	struct route_waiter *waiter;       /* NULL: do not wait */
};

enum route_result {
	ROUTE_CHOSEN,  /* *out: the use is counted, a reference is held */
	ROUTE_WAIT,    /* the waiter is queued */
	ROUTE_FULL,    /* all are busy, and too many wait */
	ROUTE_NONE     /* no replica that could take it is there, not even a starting one, and no waiter was given */
};

/* A ready replica with room, by the model's rule, ties spread. All are looked at. */
enum route_result route_choose(struct route_model *model, const struct route_ask *ask, struct route_replica **out);
/* Leaves the queue. False: it was woken already (wake was or is being called), and replica may be set. */
bool route_cancel(struct route_model *model, struct route_waiter *waiter);
/* The first token of a streamed answer has come. */
void route_first(struct route_use *use, uint64_t now_us);

/* What the engine told of a request, -1: nothing. */
struct route_truth {
	int64_t input, cached, output;
};
/* The request has ended; the next one in the queue gets the place. failed: a fault of the replica's. Does nothing when
 * the use has no replica. */
void route_done(struct route_use *use, uint64_t now_us, bool failed, const struct route_truth *truth);
/* The most tokens a millisecond that an answer of this model came with, 0: none was seen. */
double route_fastest(struct route_model *model);
/* Fails everybody who waits (no replica can be had); they are woken with replica NULL. */
void route_fail_waiters(struct route_model *model);

struct route_load {
	int replicas, ready, starting, running, waiting;
	uint64_t arrivals; /* choices asked for, ever */
	uint64_t last_ms;  /* monotonic: when the last request was chosen or done; 0: never */
	struct prefix_stats index;
};
void route_load(struct route_model *model, struct route_load *out);
/* Calls each() for every replica under the model's lock. */
void route_each(struct route_model *model, void (*each)(void *arg, const struct route_replica *), void *arg);

/* A replica as a candidate for a request, for policies and for those who show decisions. */
struct route_candidate {
	struct cost_parts parts;
	double total;
};
/* The same with what the request would cost at each. */
void route_weigh(struct route_model *model, struct route_use *use, uint64_t now_us,
                 void (*each)(void *arg, const struct route_replica *, const struct route_candidate *), void *arg);

#endif

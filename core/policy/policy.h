/* SPDX-License-Identifier: Apache-2.0 */
/* policy.h - the site's rules in Lua: admit, route, scale, lease. One struct per thread and generation.
 *
 * A policy file may define admit(req), route(req, model), scale(model, signals), lease(event) and test_* functions.
 * What it leaves out is taken from the standard policy. The request is handed over as a userdata whose fields are
 * read from C when they are used; it is dead after the call. */
#ifndef CORE_POLICY_POLICY_H
#define CORE_POLICY_POLICY_H

#include <jansson.h>
#include <stdbool.h>
#include <sluice/types.h>

#include "core/base/buf.h"
#include "core/conf/conf.h"
#include "core/quota/quota.h"

struct policy;

/* What a policy can see of a request. All spans are borrowed for the call. */
struct policy_request {
	const sl_identity *identity;
	const struct conf_tier *tier;    /* never NULL */
	const struct conf_model *model;  /* NULL: the client named one that is not there */
	sl_str model_name;               /* as the client wrote it */
	sl_str door;                     /* "chat", "completions", "embeddings" */
	sl_str peer;                     /* client's address */
	bool stream;
	int64_t prompt_bytes;
	int64_t prompt_tokens;           /* estimate */
	int64_t max_output;              /* the client's bound, -1: none given */
	int64_t n;                       /* answers asked for */
	int64_t prompts;
	uint64_t wall_ms;                /* now: req.time, and sluice.hour(req.time) and kin */
};

enum policy_verdict { POLICY_ALLOW = 0, POLICY_DENY = 1 };

enum { POLICY_LIMITS_MAX = 16, POLICY_REPLICAS_MAX = 16 };

struct policy_denial {
	int status;          /* 400..599 */
	char code[64];
	char message[256];
};

struct policy_admission {
	enum policy_verdict verdict;
	struct policy_denial denial;       /* DENY */
	struct quota_limit limits[POLICY_LIMITS_MAX]; /* ALLOW; scopes are complete: "key:slk_7Q2MXpVt" */
	unsigned n_limits;
	int priority;
	int64_t max_output;                /* a bound that the policy sets, 0: none */
	char model[SL_NAME_MAX];           /* another model to use, empty: as asked */
	char where[128];                   /* file:line that returned it, for explain; may be empty */
};

/* A replica as route() sees it. */
struct policy_replica {
	const char *name;
	const char *state;   /* "ready" ... */
	int running, waiting, concurrency;
};

struct policy_routing {
	enum policy_verdict verdict;
	struct policy_denial denial;
	/* ALLOW: indices into the candidates, best first; none: the default decides among all. */
	unsigned order[POLICY_REPLICAS_MAX];
	unsigned n_order;
	char model[SL_NAME_MAX];           /* another model, empty: as it is */
};

/* Signals for scale(). */
struct policy_signals {
	int replicas, ready, starting;
	int running, waiting;
	int64_t idle_ms;       /* since the last request ended, INT64_MAX: never one */
	double arrivals;       /* requests a second, smoothed */
};

/* Somebody asks for a lease: what lease(event) sees of it. Borrowed for the call; NULL or empty texts are nil there. */
struct policy_lease_request {
	const char *name, *tenant, *user, *tier, *queue, *kind;
	const char *program;   /* its file's name, without the folder */
	uint32_t gpus;
	uint64_t memory_bytes; /* of each, at least */
	uint64_t limit_ms;     /* of its run, 0: the queue's */
	int priority;
	bool detach;
	uint64_t wall_ms;
};

struct policy_lease_terms {
	enum policy_verdict verdict;
	struct policy_denial denial;       /* DENY */
	char queue[SL_NAME_MAX];           /* ALLOW; each as asked, unless the policy says something else */
	int priority;
	uint64_t limit_ms;
	char where[128];                   /* file:line of the denial */
};

/* Loads the conf's policy (or the standard one) over the standard library. Runs its tests when `self_test`; a
 * failing test is an error. Any thread; the struct belongs to the calling thread from then on. Takes a reference
 * to conf. */
struct policy *policy_open(struct conf *conf, bool self_test, sl_error *error);
void policy_close(struct policy *p);

/* SL_OK and *out, or an error (the policy failed: fail closed, or take policy_default_* as conf says). A failure
 * is logged at most once a second with its traceback and counted in sluice_policy_errors_total{function}. */
int policy_admit(struct policy *p, const struct policy_request *request, struct policy_admission *out, sl_error *error);
int policy_route(struct policy *p, const struct policy_request *request, const struct policy_replica *replicas, size_t n,
                 struct policy_routing *out, sl_error *error);
/* The wanted number of replicas, already within the model's bounds. */
int policy_scale(struct policy *p, const struct conf_model *model, const struct policy_signals *signals, int *wanted,
                 sl_error *error);
/* Called before the lease exists. Without lease() in the policy the terms are those that were asked for. */
int policy_lease(struct policy *p, const struct policy_lease_request *request, struct policy_lease_terms *out, sl_error *error);
/* What holds when there is no policy to ask: as asked. */
void policy_default_lease(const struct policy_lease_request *request, struct policy_lease_terms *out);
/* True when the policy defines route(): otherwise the call can be left out. */
bool policy_has_route(const struct policy *p);
/* May the tier call the model (by its name, or an alias that the tier lists)? */
bool policy_tier_allows(const struct conf_tier *tier, const struct conf_model *model, const char *name);
/* limit.c: a limit with what is used and left of it, as JSON. Any thread. */
json_t *policy_limit_json(const struct quota_limit *limit, const struct quota_state *state);
/* What holds when there is no policy to ask: the tier's limits. */
void policy_default_admit(const struct policy_request *request, struct policy_admission *out);

/* sluicectl policy check: finds what is wrong, one finding a line "file:line: text". True: nothing wrong. file NULL: the
 * standard policy. conf: whose models, tiers and queues it sees; NULL: the safe defaults. */
bool policy_check(struct conf *conf, const char *file, struct buf *report);
/* sluicectl policy test: runs test_* functions, a line each. Returns how many failed, -1: the file does not load, or
 * POLICY_NO_TESTS, with words that show what one looks like. */
enum { POLICY_NO_TESTS = -2 };
int policy_test(struct conf *conf, const char *file, struct buf *report);
/* sluicectl policy eval: one decision. `request` is JSON {tenant, tier, key, user, model, door, stream, prompt_tokens,
 * max_output, ...}; the answer is {admit:{...}, route:{...}} with the lines that made it. With a member lease: {name,
 * queue, kind, program, gpus, memory_bytes, limit_s, priority, detach} it is a request for a lease, and the answer
 * {lease:{...}}. Caller decrefs. */
json_t *policy_eval(struct conf *conf, const char *file, const json_t *request, sl_error *error);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* pool.h - the devices of all agents and the leases on them: does what core/lease decides.
 *
 * Every change of a lease is appended to the ledger and durable before it is acted on. Main loop's thread only. */
#ifndef CORE_POOL_POOL_H
#define CORE_POOL_POOL_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>
#include <sluice/scheduler.h>

#include "core/conf/conf.h"
#include "core/ledger/ledger.h"
#include "core/quota/quota.h"

struct pool;

struct pool_options {
	uv_loop_t *loop;
	struct conf *conf;          /* the first snapshot; a reference is taken */
	struct ledger *ledger;
	struct quota *quota;        /* with the money that leases cost; NULL: it is not counted */
	/* Limits on money that count for leases of this tenant and user, with complete scopes, at most QUOTA_LIMITS_MAX: how
	 * many. NULL with quota NULL. */
	unsigned (*money_limits)(void *arg, const struct conf *conf, const char *tenant, const char *user, struct quota_limit *out);
	void *money_arg;
	const sl_scheduler_ops *scheduler;
	void *scheduler_self;
	const char *agent_program;  /* started when conf->start_agent and none answers; NULL: never */
	unsigned leases_max;        /* open leases, 0: 100,000 */
	const json_t *devices;      /* what the store has of devices: object, key "device/UUID" -> object; NULL: nothing.
	                               Borrowed until pool_open returns. The pool writes them as SL_RECORD_OBJECT */
};

enum {
	POOL_ENDED_MAX = 1000,   /* leases that ended lately: shown, and their output kept by the agent */
	POOL_ENDED_MS = 3600000  /* for so long */
};
#define POOL_ENDED_WORDS "output is kept for an hour after the end, and of the last 1,000 leases"

/* Connects to the agent (starting it where asked), and goes on trying when it is away. Open leases of an earlier
 * run, given as the JSON of store->lease_scan in `open_leases` (array of objects, may be NULL, borrowed), are
 * matched with what the agent's `list` says: running ones go on, ended ones are settled. Leases that have ended may
 * stand among them: those that ended lately are known again, as they were before. */
struct pool *pool_open(const struct pool_options *options, const json_t *open_leases, uint64_t last_number, sl_error *error);
/* Makes sure that an agent answers at conf->agent: where none does and conf->start_agent says so, starts `program`
 * in a session of its own, with its log in conf->state/agent.log, its configuration in conf->state/agent.json and
 * `allow_uid` let in, and waits up to 5 s for it. It outlives us. Blocking; before threads, before privileges are
 * dropped. SL_OK also when conf->start_agent is false. */
int pool_start_agent(const struct conf *conf, const char *program, uid_t allow_uid, sl_error *error);
void pool_configure(struct pool *pool, struct conf *conf);
/* Backends and launchers are the agent's, which goes on with those that it was started with. True: they are not those of
 * the configuration any more, and `out` says what to do. False: they are, or it is away, or too old to say. */
bool pool_agent_outdated(const struct pool *pool, char *out, size_t room);
/* Stops watching; jobs and agents live on. */
void pool_close(struct pool *pool);
/* The ledger has committed up to seq (posted to the main loop by whoever gets ledger's callback). */
void pool_committed(struct pool *pool, uint64_t seq);

struct pool_request {
	const char *name, *tenant, *user, *queue; /* queue NULL or "": the tenant's default */
	uint32_t uid, gid;             /* the program runs as */
	uint32_t devices;
	const char *kind;              /* NULL: any */
	uint64_t memory_bytes;         /* at least, per device */
	uint64_t time_ms;              /* 0: the queue's default */
	int priority;
	bool preemptible, with_stdin, detach;
	const char *model;             /* of a replica, NULL: a job */
	const char *replica;
	const json_t *argv;            /* array of strings */
	const json_t *env;             /* object, may be NULL */
	const char *cwd;
};

/* Checks and enters the request: *number is its lease, which exists from now on. What can never fit is refused at
 * once, naming the largest that could. */
int pool_submit(struct pool *pool, const struct pool_request *request, uint64_t *number, sl_error *error);
/* Ends a lease in whatever state, with notice where a program runs. */
int pool_release(struct pool *pool, uint64_t number, uint64_t notice_ms, const char *reason, sl_error *error);
int pool_signal(struct pool *pool, uint64_t number, int signal, sl_error *error);
/* A piece for the program's input. A writer that counts may send a piece again, which then counts once: `from` is its
 * place in all that this writer sends. */
struct pool_input {
	sl_str data;
	bool eof;
	int64_t writer, from; /* writer 0: it does not count */
};
/* done() once, later: SL_OK, SL_EAGAIN (pipe full) or an error. taken: what is before this place of the writer's is
 * through; -1 for one that does not count: all is. */
int pool_stdin(struct pool *pool, uint64_t number, const struct pool_input *input, void (*done)(void *arg, int code, int64_t taken),
               void *arg, sl_error *error);
int pool_drain_device(struct pool *pool, const char *device, bool drain, const char *reason, sl_error *error);

/* Watching a lease: changes of state, and output when `logs`. Output is bounded by the agent's ring: `from` tells
 * of gaps. The first event comes later, never from within pool_watch, with the state that is durable by then: a lease
 * that has just been submitted cannot be lost once it has come. end is set on the last call, when the lease has ended
 * and its output was handed over; pool_unwatch is due after that too, and is allowed from within event(). Offsets: -1
 * from now, -N the last N bytes. A lease that the pool does not know gives NULL. */
struct pool_event {
	const json_t *lease;       /* the lease as in docs/internals/control-api.md; NULL in log events */
	const char *log;           /* "out", "err", NULL */
	uint64_t from;
	sl_str data;
	bool end;
};
struct pool_watch;
struct pool_watch *pool_watch(struct pool *pool, uint64_t number, bool logs, int64_t out_from, int64_t err_from,
                              void (*event)(void *arg, const struct pool_event *), void *arg);
void pool_unwatch(struct pool_watch *watch);
/* The program is not to be so far ahead of this watcher that output is lost to it: an attached client. */
void pool_watch_pace(struct pool_watch *watch);
/* held: the watcher takes no more output now, until called with false; states come all the same. One that the program
 * waits for does so for limits.output_wait, then the program goes on. Allowed from within event(). NULL is allowed. */
void pool_watch_hold(struct pool_watch *watch, bool held);
/* One piece of a lease's log, also after its end while the agent keeps it. done() once: data NULL on an error. */
int pool_logs(struct pool *pool, uint64_t number, const char *source, int64_t from, size_t max,
              void (*done)(void *arg, const char *data, size_t len, uint64_t from, uint64_t next), void *arg, sl_error *error);

/* False: it ran and has ended, and the agent keeps its log no more. */
bool pool_log_kept(struct pool *pool, uint64_t number);

/* Does the lease's program, and nobody else, listen on this TCP port of its machine? done() once, later, with SL_OK and the
 * answer, or an error: SL_EINVAL from an agent of an earlier release, which cannot tell. */
int pool_listens(struct pool *pool, uint64_t number, unsigned port, void (*done)(void *arg, int code, bool own), void *arg,
                 sl_error *error);

/* Views; the caller decrefs. pool_lease: open leases and those that ended lately (1,000). NULL: not known (ask the
 * store). */
json_t *pool_lease(struct pool *pool, uint64_t number);
json_t *pool_leases(struct pool *pool);
/* What pool_lease would give, from a lease's record out of the store. Any thread. NULL: no record of a lease. */
json_t *pool_lease_of(const json_t *record);
json_t *pool_devices(struct pool *pool);
json_t *pool_agents(struct pool *pool);

struct pool_search {
	sl_str id;
	/* Is a name looked for among this owner's leases? NULL: among everybody's. */
	bool (*sees)(void *arg, const char *tenant, const char *user);
	void *arg;
};
struct pool_names {
	uint64_t at[2]; /* the first two */
	unsigned n;
};
/* "L1042" or "1042" of one that pool_lease knows, whoever has it; or the open lease of that name, else of that prefix of
 * a name, when there is exactly one; or, when none is open, the latest of that name that ended lately. 0: none, or
 * several open ones, which are told then (else n is 0). */
uint64_t pool_find(struct pool *pool, const struct pool_search *search, struct pool_names *several);

struct pool_totals {
	unsigned devices; /* the sum of these: each is one of them; unknown: free, but its agent is away; held: for a lease */
	unsigned leased, free, faulty, draining, unknown, held;
	unsigned running, waiting;
	uint64_t longest_wait_ms;
};
void pool_totals(struct pool *pool, struct pool_totals *out);

#endif

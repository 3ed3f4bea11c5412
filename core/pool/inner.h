/* SPDX-License-Identifier: Apache-2.0 */
/* inner.h - what the files of the pool share. Not for other rooms.
 *
 *   pool.c    open, close, the table of leases
 *   request.c requests from outside
 *   change.c  a lease's changes: ledger first, then what they ask for
 *   round.c   planning rounds
 *   pause.c   suspends leases and lets them go on
 *   charge.c  prices of leases, and charges for what runs
 *   budget.c  limits on money count what leases cost
 *   agent.c   the connection to an agent: requests, answers, events
 *   start.c   starts an agent
 *   settle.c  what the agent says about leases and devices, matched with what we know
 *   mark.c    what is remembered of devices
 *   watch.c   watchers and their output
 *   pace.c    programs wait for attached clients that read
 *   show.c    views and metrics */
#ifndef CORE_POOL_INNER_H
#define CORE_POOL_INNER_H

#include "core/base/buf.h"
#include "core/base/json.h"
#include "core/base/metrics.h"
#include "core/lease/device.h"
#include "core/lease/lease.h"
#include "core/lease/plan.h"
#include "core/loop/frame.h"
#include "core/pool/pool.h"

enum {
	POOL_LEASES_MAX = 100000,   /* open ones */
	POOL_PENDING_MAX = 65536,   /* changes that are not yet durable */
	POOL_ACTIONS_MAX = 256,     /* of one round; a full answer is followed by another round */
	POOL_RETRY_MS = 100,        /* a change that the ledger refused is offered again */
	POOL_TICK_MS = 1000,
	POOL_CHARGES_MAX = 1000,    /* running leases that are charged in one tick */
	POOL_SAMPLE_MS = 5000,      /* between looks at the devices' telemetry */
	POOL_LATE_MS = 2000,        /* what an agent tells is believed to have come so late at most */
	POOL_NOTICE_MS = 30000,     /* between TERM and KILL at a time limit or when a device fails */
	POOL_SUSPEND_MS = 30000,    /* for a lease's state to leave its devices, or to come back; then it is ended, or waits on */
	POOL_SUSPEND_MAX_MS = 150000, /* an agent that has not told by then what became of a suspension: the lease is ended */
	POOL_RESUME_MS = 5000,      /* before a lease that could not be resumed is tried again, doubled each time ... */
	POOL_RESUME_MAX_MS = 300000,/* ... up to this */
	POOL_LOG_BYTES = 4 << 20,   /* output that the agent keeps, per stream */
	POOL_PIECE = 256 << 10,     /* bytes of output asked for at once */
	POOL_PROGRAM_MAX = 256 << 10, /* bytes of argv and env together */
	POOL_EXPLAINED_MAX = 256,   /* leases whose reason is found in full for one list, or after one round; fewer ... */
	POOL_EXPLAINED_WORK = 500000, /* ... when this many pairs of leases would have to be looked at */
	AGENT_CALLS_MAX = 16384,    /* requests without an answer */
	AGENT_ANSWER_MS = 60000,    /* an agent that is silent for so long is taken for dead */
	AGENT_BACKOFF_MS = 100,     /* before the next try to connect, doubled each time ... */
	AGENT_BACKOFF_MAX_MS = 2000,/* ... up to this */
	AGENT_START_MS = 1000,      /* before an agent that has died is started again, doubled each time ... */
	AGENT_START_MAX_MS = 60000  /* ... up to this; one that was there for so long begins anew */
};

struct pool_watch {
	struct pool_watch *next;
	struct pool *pool;
	uint64_t id, number;
	bool logs, dead, told_first, told_end;
	bool paces;             /* the program waits for it */
	bool held, told_slow;   /* it takes no output at the moment; said that the program goes on without it */
	int64_t held_mono_ms;   /* since when */
	struct {
		int64_t next;       /* offset of what comes next; below 0 as asked for and not yet known */
		bool fetching;      /* a piece was asked for */
		bool behind;        /* more came meanwhile: fetch again */
		bool done;          /* nothing will come any more */
		int64_t paced;      /* the agent was told that it is here */
	} stream[2];                /* out, err */
	void (*event)(void *arg, const struct pool_event *);
	void *arg;
};

/* A lease and what the driver must know of it. */
struct job {
	struct lease lease;         /* first: the table holds pointers to it */
	uint64_t seq;               /* of its latest record */
	bool dirty;                 /* changed by a fact that the ledger has not taken yet */
	bool start_sent, stop_sent, pause_sent; /* on the present connection; pause: to suspend or resume it */
	bool known_to_agent;        /* started there and not forgotten */
	bool followed;              /* on the present connection */
	bool no_suspend;            /* it could not be suspended once: it is not tried again */
	unsigned resumes_failed;    /* in a row */
	bool timed;                 /* its run is measured here, not taken over from before */
	uint64_t notice_ms;         /* of its release */
	unsigned watchers;
	bool paced;                 /* the agent holds its output back */
	int64_t pace[2], pace_until_ms; /* what the agent was told; the time on our clock when a missing reader is given up */
	struct budget *budget;      /* the money that is reserved for it, owned; NULL: none */
	uint64_t told_reason;       /* hash of the last reason that watchers of a waiting lease got */
};

static inline struct job *job_of(struct lease *lease)
{
	return (struct job *) lease;
}

/* One that ended lately, in the order of their ends. */
struct ended {
	uint64_t number;
	int64_t at_mono_ms;
	bool forgotten;
};

struct pending {
	uint64_t seq, number;
};

struct call;
struct agent {
	struct pool *pool;
	char path[256];
	struct frame_connection *connection; /* NULL: away */
	struct call *calls;         /* without an answer, newest first */
	unsigned n_calls;
	uint64_t last_id;
	int64_t heard_mono_ms;
	bool ready;                 /* greeted, devices and leases matched */
	char machine[SL_NAME_MAX], boot_id[64], containment[32], why[SL_ERROR_TEXT];
	char plugins[JSON_MARK_MAX]; /* what it runs with; empty: it does not say */
	int64_t pid;
	uint64_t away_ms;           /* Unix time since when it is away, 0: there */
	json_t *backends;
	uint64_t backoff_ms;
	int64_t start_mono_ms;      /* it is not started before */
	unsigned starts;            /* in a row */
	int64_t ready_mono_ms, sample_mono_ms;
	bool sampling, complained;
	uv_timer_t again;
};

struct pool {
	uv_loop_t *loop;
	struct conf *conf;
	struct ledger *ledger;
	struct quota *quota;        /* NULL: nobody's money is counted */
	unsigned (*money_limits)(void *arg, const struct conf *conf, const char *tenant, const char *user, struct quota_limit *out);
	void *money_arg;
	unsigned n_unpaid;          /* that wait for money */
	const sl_scheduler_ops *scheduler;
	void *scheduler_self;
	char *agent_program;
	unsigned leases_max;

	struct lease **leases;      /* by number; open ones and those that ended lately */
	size_t n_leases, room_leases, n_open;
	uint64_t last_number;
	struct ended *ended;        /* ring */
	size_t ended_first, n_ended, ended_room;
	struct pending *pending;    /* ring */
	size_t pending_first, n_pending;
	uint64_t committed;
	unsigned n_dirty;

	struct devices devices;
	json_t *marks;              /* of the last run: "device/UUID" -> object */
	struct plan_queue *queues;
	size_t n_queues;
	struct plan_cohort *cohorts;
	struct plan plan;
	sl_action *actions;
	bool plan_wanted;
	bool plan_fresh;            /* the view shows how things are, and all that it points to is there */

	struct agent agent;
	struct pool_watch *watches;
	uint64_t last_watch;
	unsigned watch_depth;       /* callbacks under way: dead watches stay in the list */
	uv_timer_t tick, soon, retry, wake; /* wake: for a round that time alone gives reason to */
	int closing;                /* handles to wait for */
};

/* pool.c */
struct lease_now pool_now(void);
struct job *pool_job(struct pool *pool, uint64_t number);
/* NULL: no memory, or the number is taken. Takes over what the lease owns on success. */
struct job *pool_enter(struct pool *pool, const struct lease *lease);
/* Out of the table again: it could not be written down. */
void pool_take_back(struct pool *pool, struct job *job);
const struct plan_queue *pool_queue(const struct pool *pool, const char *name);

/* change.c. change_decide: we want this; refused by the ledger (SL_EUNAVAILABLE) it does not happen. change_fact: it
 * has happened; the record follows when the ledger takes it. What the change asks for is done once it is durable. */
int change_decide(struct pool *pool, struct job *job, enum lease_state to, const char *reason, sl_error *error);
void change_fact(struct pool *pool, struct job *job, enum lease_state to, const char *reason);
/* The same of what happened at an earlier time: both clocks. */
void change_fact_at(struct pool *pool, struct job *job, enum lease_state to, const char *reason, struct lease_now at);
/* The first record of a lease that has just been entered. */
int change_first(struct pool *pool, struct job *job, sl_error *error);
void change_committed(struct pool *pool, uint64_t seq);
void change_retry(struct pool *pool);
/* The ledger has refused: everything that waits for it is tried again soon. */
void change_later(struct pool *pool);
/* The lease as it is now, for the ledger: nothing has changed but what it has used. False: refused. */
bool change_note(struct pool *pool, struct job *job);
/* Everything that the lease's last record says is durable. */
bool change_durable(const struct pool *pool, const struct job *job);
/* Does what the lease's state asks for, if that is durable: starts it, stops it, tells watchers. */
void change_act(struct pool *pool, struct job *job);
/* Ends the wait of those who have been over for long: forgotten at the agent and here. */
void change_expire(struct pool *pool, struct lease_now now);
/* It ended so long ago. */
void change_remember_ended(struct pool *pool, uint64_t number, uint64_t age_ms);

/* pause.c. pause_want: give way, by suspension where that can be, else with notice. pause_act: asks the agent for what the
 * state says. pause_told: what the agent says of a lease that it has; it decides. */
void pause_mark(struct pool *pool); /* which leases can be suspended, before a view is made */
int pause_want(struct pool *pool, struct job *job, const char *reason, sl_error *error);
int pause_end(struct pool *pool, struct job *job, const char *reason, sl_error *error); /* with notice: it is over then */
void pause_act(struct pool *pool, struct job *job);
void pause_told(struct pool *pool, struct job *job, const json_t *entry);
void pause_tick(struct pool *pool, struct job *job, struct lease_now now);

/* charge.c */
void charge_terms(struct pool *pool, struct lease *lease);
/* Writes down what is due of those that run. */
void charge_running(struct pool *pool, struct lease_now now);

/* budget.c. budget_admit: SL_ELIMIT and a sentence when only the calendar, or nothing, could make room for the request.
 * budget_look: which of those that wait may be planned for; true: others than before. budget_reason: false: it does not
 * wait for money. */
int budget_admit(struct pool *pool, const struct lease *lease, sl_error *error);
bool budget_look(struct pool *pool);
bool budget_reason(struct pool *pool, const struct lease *lease, char text[SL_ERROR_TEXT]);
/* Reserves what the lease may cost on the devices that it is about to be granted. Anything but SL_OK: it must wait. */
int budget_grant(struct pool *pool, struct job *job);
void budget_release(struct pool *pool, struct job *job);
/* The ledger has taken these charges of it. */
void budget_charge(struct pool *pool, struct job *job, const json_t *charges);
/* After a start, and when limits have changed: what was promised stays so, whatever the limits say now. */
void budget_renew(struct pool *pool);
void budget_tick(struct pool *pool, struct lease_now now);

/* round.c */
void round_want(struct pool *pool);
void round_run(struct pool *pool);
/* New watchers get their first word in the next turn. */
void watch_want(struct pool *pool);
/* Builds the view without planning, for reasons. */
bool round_view(struct pool *pool);
/* For how many leases a reason may be found in full at once: a scheduler looks at all that wait for each. */
unsigned round_reasons(const struct pool *pool);
/* Why a queued lease waits. Not in full: without the scheduler and without a count of devices, for long lists. */
void round_reason(struct pool *pool, const struct lease *lease, bool in_full, char text[SL_ERROR_TEXT]);

/* agent.c. done() once, with ok NULL on an error (SL_EUNAVAILABLE: the connection is gone, nobody knows whether it was
 * done). `arg` is a number, so that what it meant may be gone by then. agent_call steals `request`; done may be NULL. */
typedef void (*agent_done)(struct pool *pool, uint64_t arg, const json_t *ok, const sl_error *error);
int agent_call(struct agent *agent, const char *op, json_t *request, agent_done done, uint64_t arg, sl_error *error);
/* Tries to connect, now and whenever it is away. */
/* How long the next attempt to start it waits after so many in a row. */
int64_t agent_start_wait_ms(unsigned starts);
/* Who brings it back, and what to do where nobody does. */
const char *agent_remedy(const struct agent *agent);
void agent_open(struct agent *agent, struct pool *pool);
void agent_tick(struct agent *agent, struct lease_now now);
/* Ends the connection; the next try follows. */
void agent_drop(struct agent *agent, const char *why);
void agent_close(struct agent *agent);
/* What jobs need of it. Without a connection they do nothing: matching at the next one makes up for it. */
void agent_start(struct pool *pool, struct job *job);
void agent_stop(struct pool *pool, uint64_t number, uint64_t notice_ms, const char *reason);
void agent_forget(struct pool *pool, uint64_t number);

/* mark.c. mark_changed: a device's faults are what they are; the record follows. mark_drain: an operator's word, which
 * does not hold when the ledger refuses it. mark_apply: to one that is seen for the first time since the start. */
void mark_changed(struct pool *pool, struct device *device);
int mark_drain(struct pool *pool, struct device *device, bool drain, const char *reason, sl_error *error);
void mark_retry(struct pool *pool);
void mark_apply(const struct pool *pool, struct device *device);

/* start.c. Starts the program and does not wait for it. */
/* The mark that an agent with the configuration's backends and launcher has. */
void start_mark(const struct conf *conf, char out[JSON_MARK_MAX]);
int start_spawn(const struct conf *conf, const char *program, uid_t allow_uid, sl_error *error);

/* settle.c */
void settle_devices(struct agent *agent, const json_t *devices);
void settle_device(struct agent *agent, const json_t *device);
void settle_list(struct agent *agent, const json_t *leases);
void settle_ended(struct agent *agent, const json_t *ended);
void settle_started(struct pool *pool, uint64_t number, const json_t *ok, const sl_error *error);
void settle_away(struct agent *agent);
/* Stops those that run on a device that has failed. */
void settle_faulty(struct pool *pool, const struct device *device);
/* Devices that the entry calls faulty are. */
void settle_faults(struct pool *pool, const json_t *entry);

/* watch.c */
void watch_lease(struct pool *pool, const struct job *job); /* its state (durable) or its reason has changed */
void watch_log(struct pool *pool, const json_t *event);
void watch_soon(struct pool *pool); /* the first word to new ones */
void watch_connected(struct pool *pool);
void watch_disconnected(struct pool *pool);
void watch_free_all(struct pool *pool);
/* It takes output again. */
void watch_go_on(struct pool_watch *w);

/* pace.c */
/* Tells the agent how far the lease's readers are, if there are any, or that there are none. */
void pace_lease(struct pool *pool, struct job *job);
/* For how long the output of one that is about to start waits for its first reader. */
int64_t pace_start(struct pool *pool, struct job *job);
/* The watcher has got more of the stream. */
void pace_moved(struct pool_watch *w, int stream);
void pace_tick(struct pool *pool);

/* show.c */
json_t *show_lease(struct pool *pool, const struct job *job, bool in_full);
void show_metrics(struct pool *pool);
void show_count(const struct lease *lease, struct lease_now now);

#endif

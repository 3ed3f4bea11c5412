/* SPDX-License-Identifier: Apache-2.0 */
/* inner.h - what the files of the fleet share. Nobody else includes this. */
#ifndef CORE_FLEET_INNER_H
#define CORE_FLEET_INNER_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/base/buf.h"
#include "core/fleet/decide.h"
#include "core/fleet/fleet.h"
#include "core/http/client.h"
#include "core/loop/mailbox.h"

enum {
	FLEET_DEFINITION_LENGTH = 16, /* hex digits */
	FLEET_WHY_MAX = 512,
	FLEET_UNITS_MAX = 256,        /* replicas of one model, those that end included */
	HEALTH_FIRST_MS = 200,        /* between health checks while starting: from here ... */
	HEALTH_SLOWEST_MS = 1000,     /* ... to here */
	HEALTH_READY_MS = 2000,       /* and when ready */
	HEALTH_TIMEOUT_MS = 5000,     /* a busy engine may take its time */
	STOP_NOTICE_MS = 5000         /* between TERM and KILL of an engine whose lease is released */
};

struct fleet_model;

/* One replica that sluice started (or found running after a restart). */
struct replica {
	struct replica *next;
	struct fleet_model *model;
	char name[SL_NAME_MAX];
	unsigned number;                  /* of "MODEL/rNUMBER" */
	uint64_t lease;
	enum fleet_state state;
	uint64_t since_ms;
	uint64_t born_wall_ms;
	unsigned sick;                    /* health checks that failed in a row */
	char definition[FLEET_DEFINITION_LENGTH + 1];
	char listen[160];                 /* "unix:/path" or "127.0.0.1:port" */
	struct http_address address;
	bool confirmed;                   /* over TCP: its port is its own; an answer alone does not say so */
	struct owner_wait *owner;         /* the agent is being asked whose the port is */
	bool adopted;                     /* an earlier run of sluiced started it */
	bool served;                      /* was ready once */
	bool doubted;                     /* a request's connection to it broke: it is being checked */
	bool failed;                      /* its end was counted as a failure already */
	bool gone;                        /* its lease has ended: freed by the next look */
	char where[128];                  /* "node1/gpu0", of its lease */
	char why[FLEET_WHY_MAX];          /* the lease's or our own reason */
	struct route_replica *route;      /* in the routing table while not NULL */
	struct pool_watch *watch;
	struct http_client_request *health;
	uv_timer_t *timer;                /* of the next health check; freed by its close callback */
	uint64_t health_gap_ms;
};

/* Lives until pool_listens calls back, also past the replica. */
struct owner_wait {
	struct replica *replica; /* NULL: it is not asked any more */
};

/* A static endpoint. */
struct endpoint {
	struct route_replica *route;
	char name[SL_NAME_MAX];
};

/* The last failure, for operators. */
struct failure {
	char replica[SL_NAME_MAX];
	uint64_t lease;
	char why[FLEET_WHY_MAX];
};

struct fleet_model {
	struct fleet_model *next;
	struct fleet *fleet;
	char name[SL_NAME_MAX];
	struct route_model *route;
	bool declared;                    /* false: not in the configuration any more, goes with its last replica */
	bool can_start;
	char definition[FLEET_DEFINITION_LENGTH + 1];
	char health_path[128];
	uint64_t idle_ms, start_ms, drain_ms; /* kept past its declaration: it drains as it was told */
	int concurrency;
	char served_name[SL_NAME_MAX];
	struct fleet_mind mind;
	struct fleet_rate rate;
	int target;                       /* of the last decision */
	struct replica *replicas;
	unsigned last_number;
	struct endpoint *endpoints;
	size_t n_endpoints;
	char endpoints_text[FLEET_DEFINITION_LENGTH + 1];
	struct failure failure;           /* under fleet->lock */
	/* Under fleet->lock, for other threads. */
	bool in_trouble;
	char trouble[FLEET_WHY_MAX];      /* for operators, with the reason in full */
	char trouble_told[128];           /* for callers: what fleet_trouble says */
	uint64_t retry_ms;
};

/* Waits for the last log lines of a failed replica. Lives until pool_logs calls back, also past fleet_close. */
struct log_wait {
	struct log_wait *next, **link;
	struct fleet *fleet;              /* NULL: the fleet is closed */
	char model[SL_NAME_MAX], replica[SL_NAME_MAX];
};

struct fleet {
	uv_loop_t *loop;
	struct conf *conf;
	struct pool *pool;
	struct route *route;
	struct policy *policy;
	char *folder;                     /* of notes */
	char *sockets;                    /* of engines' sockets, NULL: they listen on TCP */
	uint32_t uid, gid;
	struct mailbox mailbox;
	struct mail poke;
	atomic_bool poked;
	uv_timer_t timer;                 /* of the next look */
	uv_timer_t last;                  /* does nothing but close behind all others: the struct goes with it */
	pthread_mutex_t lock;             /* of the list of models and of their trouble, for other threads */
	struct fleet_model *models;
	struct log_wait *logs;
	unsigned last_socket;
};

/* fleet.c */
uint64_t fleet_now_ms(void);
/* Decide within `ms`. */
void fleet_look_in(struct fleet *fleet, uint64_t ms);
struct fleet_model *fleet_model_find(struct fleet *fleet, sl_str name);
/* A timer on the heap and its end. */
uv_timer_t *fleet_timer_new(uv_loop_t *loop, void *data);
void fleet_timer_close(uv_timer_t *timer);

/* models.c: what the configuration says */
void fleet_models_configure(struct fleet *fleet);
/* Do the model's replicas listen on Unix sockets? */
bool fleet_uses_socket(const struct fleet *fleet, const struct conf_model *model);
struct fleet_model *fleet_model_add(struct fleet *fleet, sl_str name);
void fleet_model_free(struct fleet_model *model);

/* listen.c: where an engine listens */
int fleet_listen_choose(struct fleet *fleet, bool unix_socket, char out[160], sl_error *error);

/* note.c: how the next run of sluiced finds a replica */
void fleet_note_write(struct fleet *fleet, const struct replica *replica);
bool fleet_note_read(struct fleet *fleet, struct replica *replica);
void fleet_note_remove(struct fleet *fleet, uint64_t lease);
/* Removes sockets and notes that no replica uses. */
void fleet_folder_clean(struct fleet *fleet);

/* replica.c: the life of one */
int replica_start(struct fleet *fleet, struct fleet_model *model, sl_error *error);
/* Takes over the open lease of a replica that an earlier run started. */
bool replica_adopt(struct fleet *fleet, const json_t *lease);
void replica_drain(struct fleet *fleet, struct replica *replica, const char *reason);
void replica_release(struct fleet *fleet, struct replica *replica, const char *reason);
/* Counts a failure and says why; the lease goes on until it is released. */
void replica_fail(struct fleet *fleet, struct replica *replica, const char *why);
void replica_set_state(struct replica *replica, enum fleet_state state);
/* Out of the routing table, no watch, no checks; the lease is left alone. */
void replica_free(struct fleet *fleet, struct replica *replica);

/* health.c */
void replica_check_in(struct fleet *fleet, struct replica *replica, uint64_t ms);
void replica_check_stop(struct replica *replica);
/* The inference door doubts it (see route_replica_doubt): checks it now. */
void replica_doubt(struct fleet *fleet, struct replica *replica);

/* failure.c: why something failed, in words */
void fleet_failure_set(struct fleet *fleet, struct fleet_model *model, const char *replica, uint64_t lease, const char *why);
/* Adds the last lines of the replica's log when they come. */
void fleet_failure_ask_logs(struct fleet *fleet, const struct replica *replica);
/* "exit code 1", "killed by signal 9 ...", of a lease that has ended. */
void fleet_failure_words(const json_t *lease, char *out, size_t room);

/* views.c */
void fleet_trouble_update(struct fleet *fleet, struct fleet_model *model, const struct fleet_world *world);

#endif

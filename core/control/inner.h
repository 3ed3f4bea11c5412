/* SPDX-License-Identifier: Apache-2.0 */
/* inner.h - what the files of the control door share. Nobody else includes this. */
#ifndef CORE_CONTROL_INNER_H
#define CORE_CONTROL_INNER_H

#include <stdatomic.h>

#include "core/control/control.h"
#include "core/control/page_files.h"
#include "core/control/session.h"
#include "core/http/server.h"
#include "core/loop/mailbox.h"

enum {
	CALL_PARAMS_MAX = 2,
	CALL_PATH_MAX = 512,
	COMMIT_TIMEOUT_MS = 10000, /* an answer waits so long for its record to be durable */
	QUERY_TIMEOUT_MS = 30000,  /* and so long for the store */
	STATUS_TIMEOUT_MS = 2000,  /* status goes out without today's sums after that */
	DEADLINE_TICK_MS = 200,
	NOT_READY_MAX = 256,       /* words why it is so */
	BODY_MAX = 1024 * 1024
};

struct call;
struct listener;
typedef void (*call_fn)(struct call *call);

enum control_role {
	ROLE_OPEN,     /* nobody asks who it is */
	ROLE_PAGE,     /* the same as ROLE_OWN, on DOOR_PAGE alone */
	ROLE_OWN,      /* whoever is known, an inference key too: its own things */
	ROLE_ANYONE,   /* a caller that may use the control door */
	ROLE_LEASE,
	ROLE_OPERATOR,
	ROLE_ADMIN
};

/* Where a call has come in. */
enum control_door {
	DOOR_SOCKET,  /* the control socket: the kernel says who is there */
	DOOR_METRICS, /* TCP, for those who watch: ROLE_OPEN alone */
	DOOR_PAGE     /* TCP, the web page: all but ROLE_OPEN, with a key or a session */
};

struct control_route {
	const char *method, *pattern; /* "{}" stands for one segment of the path */
	enum control_role role;
	call_fn handler;
	bool quiet; /* changes nothing that an audit asks for */
};

/* The route, and in `params` the decoded segments. NULL: *status is 404 or 405. */
const struct control_route *control_route_find(sl_str method, sl_str path, char store[CALL_PATH_MAX],
                                               sl_str params[CALL_PARAMS_MAX], int *status);

/* One request. Counted: the exchange holds a reference while it lives, and whoever will call back holds one. `x` is
 * NULL from the moment when the exchange is over or has been answered. All fields are the loop's, but for refs. */
struct call {
	struct call *next, **link;
	struct control *control;
	struct http_exchange *x;
	atomic_int refs;
	const struct control_route *route;
	enum control_door door;
	sl_str params[CALL_PARAMS_MAX];
	char path[CALL_PATH_MAX]; /* decoded segments */
	sl_identity who;
	json_t *body;             /* parsed by call_body */
	char what[2 * SL_NAME_MAX]; /* what it changes, for the audit; may stay empty */
	/* On DOOR_PAGE: what the auth plugins are asked with in the place of the headers, and where it is from. */
	char *credential;
	char session[SESSION_TOKEN_CHARS + 1]; /* empty: not from a session */
	/* Waiting for an auth plugin. */
	size_t auth_next;
	struct mail auth_mail;
	bool auth_ok;
	sl_error auth_error;
	/* Waiting for the ledger. */
	uint64_t commit_seq;      /* 0: not waiting */
	call_fn committed;
	uint64_t deadline_ms;     /* 0: none */
	call_fn late;
	/* The handler's own. */
	call_fn closed;           /* the exchange is over, for a handler that answers in pieces */
	void *data;
	void (*free_data)(void *data);
};

struct control {
	atomic_int refs;          /* the open door's and each call's */
	uv_loop_t *loop;
	struct conf *conf;
	struct pool *pool;
	struct fleet *fleet;
	struct route *route;
	struct identity *identity;
	struct ledger *ledger;
	struct quota *quota;
	struct policy *policy;    /* NULL: none */
	struct plugin *auth[CONTROL_AUTH_MAX];
	size_t n_auth;
	struct control_callbacks callbacks;
	void *arg;
	struct http_server *server, *metrics_server, *page_server;
	struct page_files *page_files; /* NULL: no page */
	struct sessions *sessions;
	uv_timer_t sweep;         /* of sessions that have ended */
	unsigned streams;         /* of the playground, under way */
	struct listener *listeners; /* of events */
	unsigned n_listeners;
	uv_timer_t look;          /* runs while somebody listens */
	uint64_t fingerprint, changes, looks;
	int servers_left;
	void (*closed)(void *arg);
	void *closed_arg;
	struct mailbox mailbox;
	uv_timer_t deadlines;     /* runs while a call has a deadline */
	uv_timer_t last;          /* closes behind the others */
	struct call *calls;
	uint64_t started_wall_ms, started_ms, config_wall_ms;
};

/* control.c */
void control_unref(struct control *control); /* any thread */

/* call.c */
struct call *call_new(struct control *control, struct http_exchange *x);
void call_ref(struct call *call);
void call_unref(struct call *call); /* any thread */
uint64_t control_now_ms(void);
/* `late` is called (once) when the call is not answered by then. */
void call_deadline(struct call *call, uint64_t ms, call_fn late);
/* Appends to the ledger and calls `committed` when it is durable; answers by itself when that cannot be. */
void call_append_object(struct call *call, sl_str key, sl_str json, call_fn committed);
/* Calls `committed` when everything that was appended up to now is durable. */
void call_wait_committed(struct call *call, call_fn committed);
bool call_is_operator(const struct call *call);
bool call_is_admin(const struct call *call);

/* answer.c: each ends the exchange; a call whose client has gone is fine */
void call_text(struct call *call, int status, const char *type, sl_str body);
void call_json(struct call *call, int status, json_t *value); /* takes the reference */
void call_fail(struct call *call, int status, const char *code, const char *param, const char *cure, const char *format, ...)
	__attribute__((format(printf, 6, 7)));
void call_fail_error(struct call *call, const sl_error *error);

/* request.c: what came */
/* A query parameter, decoded and NUL-terminated in out. False: absent, or too long or badly encoded (then out is
 * empty). */
bool call_query(const struct call *call, const char *name, char *out, size_t room);
/* An integer parameter; false: answered with 400. Absent: the fallback. */
bool call_query_int(struct call *call, const char *name, int64_t min, int64_t max, int64_t fallback, int64_t *out);
/* RFC 3339 or a date, as Unix ms; absent: 0. False: answered with 400. */
bool call_query_time(struct call *call, const char *name, uint64_t *out);
/* The body as an object, whose members are all among `fields` (NULL-terminated). An empty body is an empty object.
 * Borrowed. NULL: answered with 400. */
json_t *call_body(struct call *call, const char *const *fields);
/* Members of a checked type; absent or null: the fallback. False: answered with 400. */
bool call_member_str(struct call *call, const char *name, const char *fallback, const char **out);
bool call_member_int(struct call *call, const char *name, int64_t min, int64_t max, int64_t fallback, int64_t *out);
bool call_member_bool(struct call *call, const char *name, bool fallback, bool *out);
/* An array of strings, at most `max` of them; absent: *out is NULL. Borrowed. */
bool call_member_strings(struct call *call, const char *name, size_t max, const json_t **out);
/* A name that is to be made: letters, digits, '.', '_', '-', below SL_NAME_MAX. */
bool control_is_name(const char *name);

/* auth.c */
/* Finds out who calls, checks the route's role, then runs its handler. */
void call_authenticate(struct call *call);

/* page.c */
int page_open(struct control *control, const struct http_server_options *options, http_handler handler, sl_error *error);
/* The files again, from where the configuration says. */
void page_reload(struct control *control);
struct session_terms page_terms(const struct control *control);
/* Headers of every answer on this door but the page's own files. */
void page_headers(struct http_exchange *x);

/* sign_in.c */
/* Finds out with what the auth plugins are to be asked: a header, or what a session keeps. False: answered. */
bool call_take_credential(struct call *call);
/* The auth plugins know the caller no more: ends a session that was used. */
void call_end_session(struct call *call);
void control_session_new(struct call *call);
void control_session_end(struct call *call);
void control_me(struct call *call);

/* events.c */
void control_events(struct call *call);
/* Nobody listens any more: what has no end by itself must not keep the door open. */
void control_events_end(struct control *control);

/* play.c */
void control_play(struct call *call);

/* query.c: questions to the store */
/* Runs `ask` on the feeder's thread, then `answer` on the loop. `ask` sees call->data and returns an error in *error.
 * The call is answered by itself when the ledger cannot be asked. */
struct store_query;
typedef int (*store_ask)(void *data, const sl_store_ops *store, void *store_self, sl_error *error);
typedef void (*store_answer)(struct call *call, int code, const sl_error *error);
/* False: the ledger takes no questions now; nothing was answered, call->data is untouched. The data moves to the
 * query and is back in call->data when `answer` runs. */
bool call_ask(struct call *call, store_ask ask, store_answer answer);

/* stream.c */
void control_lease_stream(struct call *call);

/* handlers */
void control_healthz(struct call *call);
void control_readyz(struct call *call);
void control_metrics(struct call *call);
void control_status(struct call *call);
void control_devices(struct call *call);
void control_device_drain(struct call *call);
void control_device_undrain(struct call *call);
void control_leases(struct call *call);
void control_lease_new(struct call *call);
void control_lease_show(struct call *call);
void control_lease_release(struct call *call);
void control_lease_signal(struct call *call);
void control_lease_stdin(struct call *call);
void control_lease_logs(struct call *call);
void control_models(struct call *call);
void control_replicas(struct call *call);
void control_model_start(struct call *call);
void control_model_stop(struct call *call);
void control_tenants(struct call *call);
void control_tenant_new(struct call *call);
void control_tenant_delete(struct call *call);
void control_keys(struct call *call);
void control_key_new(struct call *call);
void control_key_disable(struct call *call);
void control_key_enable(struct call *call);
void control_key_delete(struct call *call);
void control_usage(struct call *call);
void control_usage_requests(struct call *call);
void control_usage_focus(struct call *call);
void control_ledger_verify(struct call *call);
void control_limits(struct call *call);
void control_reload(struct call *call);
void control_drain(struct call *call);
void control_undrain(struct call *call);
void control_policy_eval(struct call *call);
void control_config(struct call *call);
void control_plugins(struct call *call);
void control_ledger(struct call *call);

/* leases.c: the lease of params[0] that the caller may see, without its environment; the caller decrefs. NULL: answered
 * with 404, or 409 when the name is that of several. */
json_t *call_own_lease(struct call *call, uint64_t *number);
/* The same for whom its log is wanted: also answered, with 404, when that is no longer kept. */
json_t *call_own_log(struct call *call, uint64_t *number);
/* One's own: same tenant and same user; a caller without a user has the whole tenant's. */
bool call_owns_lease(const struct call *call, const json_t *lease);
bool control_lease_over(const json_t *lease);
/* Takes the reference and gives one without what is nobody's business. */
json_t *control_lease_public(json_t *lease);

#endif

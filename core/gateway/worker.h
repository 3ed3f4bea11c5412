/* SPDX-License-Identifier: Apache-2.0 */
/* worker.h - what the files of the gateway share: a worker and the connections and requests that it owns. A worker is
 * one thread with its own loop; nothing here is touched by another thread unless it says so. */
#ifndef CORE_GATEWAY_WORKER_H
#define CORE_GATEWAY_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/base/metrics.h"
#include "core/gateway/body.h"
#include "core/gateway/door.h"
#include "core/gateway/gateway.h"
#include "core/gateway/socket.h"
#include "core/http/parse.h"
#include "core/loop/mailbox.h"
#include "core/policy/policy.h"

enum {
	WORKER_ARENA = 1280 * 1024,
	WORKER_READ = 64 * 1024,      /* room that a read finds at least */
	WORKER_LATE_MAX = 768 * 1024, /* large bodies sent at the end of a batch: what a second-level cache holds */
	WORKER_SLACK = 64,            /* readable bytes behind what was read: the body scan reads in vectors */
	WHEEL_SLOTS = 1024,
	WHEEL_MS = 128,
	POOL_BUCKETS = 256,           /* idle upstream connections, by replica */
	POOL_IDLE_MAX = 64,           /* per bucket and worker */
	BACKLOG_HIGH = 256 * 1024,    /* bytes waiting for a slow client, above which the engine is not read */
	BACKLOG_LOW = 64 * 1024,
	EVENT_MAX = 1024 * 1024,      /* one event of a stream */
	ANSWER_HOLD_MAX = 1024 * 1024,/* a plain answer above this is passed on as it comes, only its end is held */
	TRIES_MAX = 3,
	METRICS_CACHE = 256,
	ROUTING_CACHE = 64,
	WORKER_LISTEN_MAX = 8
};

#define TICKS_ENDED UINT64_MAX

/* A snapshot and this worker's policy for it. Requests hold on to the one they began with. */
struct generation {
	int refs;
	struct conf *conf;
	struct policy *policy;
	struct body_strip *strip;   /* what any of the snapshot's engines strips */
	struct route_model **route; /* of each of conf->models, NULL: not looked up yet */
};

struct client;
struct upstream;
struct request;

/* The metrics of one (model, tenant, status). */
struct request_metrics {
	uint64_t hash;
	struct metric *requests, *input, *cached, *output, *duration, *first_byte, *wait;
};

/* The same of routing, of one model. */
struct routing_metrics {
	const struct route_model *model;
	struct metric *prompt, *predicted, *told, *error;
};

struct worker {
	struct gateway *gateway;
	unsigned index;
	pthread_t thread;
	uv_loop_t loop;             /* timers, messages, listeners */
	int epoll_fd;               /* connections, and the loop itself */
	uv_timer_t tick;
	uv_async_t commit_async;
	struct mailbox mailbox;
	uint64_t now_ms;            /* monotonic, of this batch */

	char *arena;                /* what was read in this batch, and what is being sent of it */
	size_t arena_used, late_bytes;
	struct overflow *overflow;  /* blocks for a batch that needs more */
	struct gateway_socket *dirty;
	struct gateway_socket *again;  /* to be looked at before the next wait */
	struct gateway_socket *closed; /* to be freed at the end of the batch */
	struct gateway_socket *wheel[WHEEL_SLOTS];
	uint64_t wheel_at;          /* slot number that comes next */
	unsigned open_sockets;

	int listen_fds[WORKER_LISTEN_MAX];
	unsigned n_listen_fds;
	struct listener *listeners;
	unsigned n_listeners;
	struct client *clients;     /* all, for the end */
	struct request *requests;   /* under way */
	struct request *free_requests;
	unsigned n_free_requests;
	struct upstream *idle[POOL_BUCKETS];
	uint16_t n_idle[POOL_BUCKETS];
	unsigned n_questions;       /* of callers, that the ledger's thread has */

	struct request *held_first, **held_last; /* answers that wait for the ledger, in order of their records */
	atomic_bool holding;        /* someone waits: the ledger's thread looks */

	struct generation *generation, *prepared;
	double retry_tokens;
	uint32_t id_random[2];
	uint64_t id_counter;
	bool draining, shut;
	uint64_t drain_until_ms;    /* requests may run so long */
	struct http_head head;      /* scratch of the parser */
	char *event_scratch;        /* EVENT_MAX: an event of several data lines, joined */
	struct policy_admission admission; /* scratch */
	struct request_metrics metrics[METRICS_CACHE];
	struct routing_metrics routing[ROUTING_CACHE];
	struct buf scratch;         /* the head of an answer, while it is put together */
	/* Written by this worker alone, read by others. */
	_Atomic uint64_t n_held, n_active, n_clients, n_requests, n_errors;
	_Atomic uint64_t ticks;     /* turns of the timer, for who watches; then TICKS_ENDED */
};

/* Adds to one of its counts. */
static inline void worker_count(_Atomic uint64_t *count, int change)
{
	uint64_t now = atomic_load_explicit(count, memory_order_relaxed);
	atomic_store_explicit(count, now + (uint64_t) (int64_t) change, memory_order_relaxed);
}

struct gateway {
	struct gateway_options options;
	struct worker *workers;
	unsigned n_workers, n_started;
	atomic_bool ready;
	atomic_int connections;
	int connections_max;
	_Atomic uint64_t committed;
};

/* worker.c */
bool worker_open(struct worker *w);
/* Until all is closed. */
void worker_run(struct worker *w);
void worker_shut(struct worker *w); /* closes the loop's own handles: it ends when all else is closed */
void worker_free(struct worker *w);
void worker_event(struct worker *w); /* at the start of each callback from the loop: what time it is */
void worker_dirty(struct worker *w, struct gateway_socket *s);
void worker_wheel_put(struct worker *w, struct gateway_socket *s);
/* Memory until the end of the batch, never NULL unless the machine is out of it. */
char *worker_alloc(struct worker *w, size_t size);
/* Where to read to: at least WORKER_READ bytes and the slack behind. Top of a callback only: it may empty the arena. */
char *worker_read_room(struct worker *w, size_t *room);
/* `used` bytes were read there. */
void worker_read_done(struct worker *w, size_t used);
void worker_flush(struct worker *w);
struct generation *generation_ref(struct generation *g);
void generation_unref(struct generation *g);
/* The table of a model's replicas. */
struct route_model *worker_route(struct worker *w, struct generation *g, const struct conf_model *model);
/* drain.c: the end of a worker, a step each tick. */
void drain_begin(struct worker *w, uint64_t grace_ms);
void drain_step(struct worker *w);
bool listeners_open(struct worker *w, const int *fds, unsigned n);
void listeners_close(struct worker *w);

/* client.c: a connection from a client. */
enum client_state { CLIENT_HEAD, CLIENT_BODY, CLIENT_BUSY, CLIENT_CLOSING };
struct client {
	struct gateway_socket socket; /* first: the socket is the client */
	enum client_state state;
	bool keep_alive, read_shut, continue_sent, http10;
	bool only_head; /* what is answered has no body: the method is HEAD */
	bool anthropic; /* its last request was at one of Anthropic's doors: how errors are worded */
	bool processing, again;      /* see process() */
	bool head_begun;             /* a part of a head has come */
	struct client *next, **link;
	struct request *request;
	struct buf in;               /* an unfinished head, or what came behind a request */
	struct http_chunked chunked;
	bool body_chunked;
	size_t body_left;
	uint64_t body_deadline_ms;
	size_t expect;               /* bytes of its last request, if that was large and the next may be: see read_whole() */
	struct buf whole;            /* what was read in such a hope, while it is worked through */
	char peer[48];
};
bool client_accept(struct worker *w, int fd, const char *peer);
/* The answer has been handed over: next request, or the end. */
void client_next(struct client *c);
void client_close(struct client *c);
/* Goes on with what has come meanwhile (after authentication). */
void client_resume(struct client *c);

/* upstream.c: a connection to an engine. */
enum upstream_state { UPSTREAM_IDLE, UPSTREAM_CONNECTING, UPSTREAM_SENT, UPSTREAM_BODY, UPSTREAM_CLOSING };
struct upstream {
	struct gateway_socket socket;
	enum upstream_state state;
	bool reused, keep_alive, paused, chunked, until_close, close_after;
	unsigned replica_id;
	int64_t keepalive_ms;
	struct request *request;
	struct upstream *next, **link; /* idle ones of the replica */
	uint64_t body_left;
	struct http_chunked decoder;
	struct buf in;               /* an unfinished head */
	/* state of the stream, here because each event touches it */
	struct buf partial;          /* an unfinished event */
	size_t scanned;
};
/* Sends the request to its replica, on an idle connection or a new one. False: could not even begin; errno says why. */
bool upstream_send(struct request *r, bool fresh);
void upstream_close(struct upstream *u);
void upstream_resume(struct upstream *u);
void upstream_close_idle(struct worker *w);
/* The request has all that it needs; the rest of the answer is read and dropped, for a moment. */
void upstream_detach(struct upstream *u);

/* request.c and its kin: a request's life. */
enum { SHOWN_REQUESTS, SHOWN_TOKENS, SHOWN_COST, SHOWN };
enum request_stage { REQUEST_AUTH, REQUEST_READ, REQUEST_ASK, REQUEST_WAIT, REQUEST_SENT, REQUEST_RELAY, REQUEST_HELD, REQUEST_OVER };
struct request {
	struct request *next, **link; /* worker's list */
	struct request *next_held;
	struct worker *worker;
	struct client *client;       /* NULL: gone */
	struct upstream *upstream;
	struct generation *generation;
	enum request_stage stage;
	enum body_door door;
	const char *version;         /* of Anthropic's doors, else NULL */
	enum body_door spoken;       /* to the engine: the same door, or the one that it is translated to */
	struct own *own;             /* a question about the caller itself, see own.c; NULL: none */
	bool counted, settled, head_sent, streaming, sse, passing, passing_chunked, client_gone, waiter_live, reserved;
	bool done_seen, finished, auth_pending, own_pending, free_later;
	bool complete;               /* the engine's answer came whole */
	bool sent;                   /* to an engine, at least once */
	bool fresh;                  /* a plain answer whose head lies in the worker's scratch */
	uint16_t status;
	uint32_t flags;              /* enum sl_usage_flag */
	unsigned auth_next;
	char id[SL_REQUEST_ID_MAX];
	char traceparent[64];
	sl_identity identity;
	const struct conf_model *model;
	const struct conf_tier *tier;
	const struct conf_engine *engine;
	struct route_model *route_model;
	struct route_replica *replica;
	unsigned tried[ROUTE_EXCLUDE_MAX]; /* ids of replicas */
	unsigned n_tried;
	char model_name[SL_NAME_MAX];
	struct buf text;             /* body, as it came; see request_text */
	size_t text_at;              /* where it begins */
	size_t text_len;
	int64_t max_output;          /* bound that is sent to the engine, 0: none */
	int64_t answers;             /* how many it is asked for */
	int64_t bound_output;        /* of all of them: what was reserved */
	int priority;
	bool has_shown[SHOWN];
	struct route_use use;        /* of the replica, and what routing knows of the prompt */
	void *prompt_keys;           /* memory of use.keys and its hold */
	struct route_waiter waiter;
	struct mail wake_mail, auth_mail;
	struct auth_result *auth_result; /* of an authentication that came later; NULL: out of memory */
	uint64_t started_ns, first_byte_ns;
	uint64_t queued_ns, wait_ns; /* in the queue since, and how long before that */
	uint64_t started_ms;         /* Unix time */
	struct body_usage usage;
	int64_t cost;                /* of it, once it is counted */
	int64_t events;              /* with content, of a stream */
	uint64_t answer_bytes;
	struct buf hold;             /* the end of the answer, until its record is durable */
	struct buf tail;             /* last bytes of a long plain answer, to find its usage in */
	sl_str whole;                /* body of a plain answer that came in one piece, in the arena */
	uint64_t seq;
	char replica_name[SL_NAME_MAX];
	const char *error_code;      /* for the log */
	struct messages_stream *translation; /* of a stream that is translated, NULL: of none */

	/* Large, and not cleared for a new request: each is filled before it is looked at. */
	struct quota_reservation reservation; /* n is 0 until then */
	struct quota_limit shown[SHOWN]; /* limits that answers speak of; see has_shown */
	struct body body;
};

/* The body as it came, text_len bytes. */
static inline const char *request_text(const struct request *r)
{
	return r->text.data + r->text_at;
}

/* A new id for a request, or for one that is refused before it is one. */
void request_make_id(struct worker *w, uint64_t wall_ms, char out[SL_REQUEST_ID_MAX]);
/* A head was read: begins a request or answers at once. False: the connection ends. */
bool request_begin(struct client *c, const struct http_head *head);
/* The body is complete. */
void request_body(struct request *r);
/* The client has gone. */
void request_client_gone(struct request *r);
/* Its deadline has passed (waiting for a replica, for the first byte, for the next one). */
void request_expired(struct request *r);
void request_free(struct request *r);
void request_authenticated(struct request *r, int code, const sl_error *error);

/* admit.c */
void admit_request(struct request *r);
/* dispatch.c: choosing a replica, again after a failure. */
void dispatch_request(struct request *r);
/* Its replica broke before the client got anything of an answer. True: another one has the request, or it waits for one. */
bool dispatch_again(struct request *r);
void dispatch_failed(struct request *r, const char *code, const char *text, bool strike);
/* Ends the use of the replica. */
void dispatch_done(struct request *r, bool failed);

/* routing.c: what routing needs to know of a request, and learns from it. */
void routing_prepare(struct request *r);
/* The first event of a stream has come. */
void routing_first(struct request *r);
/* The use of the replica ends. */
void routing_done(struct request *r, bool failed);
void routing_free(struct request *r);

/* relay.c: what the engine sends. */
void relay_head(struct request *r, const struct http_head *head);
/* At the end of the callback that brought the head: what of the answer lies in the worker's memory is kept. */
void relay_keep(struct request *r);
/* Pieces of the body. raw: the same bytes as they came, whole chunks with their framing; absent: they are not. */
void relay_pieces(struct request *r, struct upstream *u, const sl_str *pieces, unsigned n, sl_str raw);
void relay_body(struct request *r, struct upstream *u, sl_str piece);
void relay_end(struct request *r);
/* What the engine says of its use, where it says it. */
void relay_usage(struct request *r, const struct body_usage *usage);
/* The engine failed after the first byte went out. */
void relay_broken(struct request *r, const char *code, const char *text);

/* settle.c */
/* Its use and its cost are what they are: the answer is complete, or will not be. Once. */
void settle_count(struct request *r);
void settle_request(struct request *r);
/* Settles, then lets the end of the answer go out when the record is durable. head: what is in r->hold or in the
 * worker's scratch; body: what follows it, in the arena, or nothing. */
void settle_and_finish(struct request *r, sl_str head, sl_str body);
void settle_release_held(struct worker *w, uint64_t committed);
void settle_finish(struct request *r);

/* receipt.c: what it used and cost, as a field of a head and as a comment of a stream. Counts it: the end has come. */
void receipt_field(struct request *r, struct buf *out);
void receipt_comment(struct request *r, struct buf *out);

/* answer.c: answers of our own. */
struct answer_error {
	int status;
	const char *type, *code, *param; /* param may be NULL */
	const char *message;
	const char *allow;  /* 405: the method that would do */
	uint64_t retry_ms;  /* 0: no Retry-After */
	bool no_retry;      /* x-should-retry: false */
	const char *challenge; /* 401: what WWW-Authenticate says */
};
/* Writes the answer. With a request: ends it (settled, logged, freed) and goes on to the client's next one. Without
 * one the caller does that. */
void answer_error(struct client *c, struct request *r, const struct answer_error *e);
void answer_json(struct client *c, struct request *r, int status, const char *extra_headers, sl_str body);
/* An error inside of a stream, in the words of the request's door. */
void answer_event(struct buf *out, const struct request *r, const char *code, const char *message);
const char *answer_reason(int status);
void answer_headers(struct request *r, struct buf *out);
/* JSON list of the models that the caller may use, or one of them. */
void answer_models(struct request *r, sl_str name);

/* own.c: what callers ask about themselves. */
enum own_page { OWN_NONE, OWN_ME, OWN_USAGE, OWN_REQUEST };
/* Keeps what is asked for; `id` of OWN_REQUEST. False: no memory. */
bool own_begin(struct request *r, enum own_page page, sl_str query, sl_str id);
/* The caller is known. */
void own_answer(struct request *r);
/* The ledger takes too long. */
void own_late(struct request *r);
void own_end(struct request *r);
void own_abandon(struct worker *w);

/* edit.c: the body as the engine gets it. */
enum { EDITS_MAX = BODY_STRIP_MAX + 8 };
struct edit {
	uint32_t start, end;
	char text[192]; /* in the place of start..end */
};
/* In the order of their places, without overlap. Returns how many. */
unsigned edit_plan(const struct request *r, struct edit *out);

/* log.c: one line a request. */
void request_log(struct request *r, uint64_t duration_us, int64_t cost);

#endif

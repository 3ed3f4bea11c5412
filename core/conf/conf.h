/* SPDX-License-Identifier: Apache-2.0 */
/* conf.h - what sluice.lua declares, as one immutable, counted snapshot. */
#ifndef CORE_CONF_CONF_H
#define CORE_CONF_CONF_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sluice/types.h>

#include "core/base/arena.h"
#include "core/http/address.h"
#include "core/quota/quota.h"

/* Where a declaration stands: for refusals and for `plugin` lines. */
struct conf_place {
	const char *file;
	int line;
};

/* Micro-units of the currency per million tokens: 0.10 is 100000. */
struct conf_price {
	int64_t input, cached, output;
};

struct conf_tier {
	const char *name;
	struct quota_limit *limits; /* scopes hold the words "key", "user", "tenant", "model"; see quota.h */
	size_t n_limits;
	int priority; /* higher first */
	int weight;
	const char **models; /* that it may call; NULL: every model */
	size_t n_models;
	int64_t max_output;  /* bound on a request's output tokens, 0: the model's context */
	struct conf_place place;
};

struct conf_tenant {
	const char *name;
	const char *tier;    /* name */
	const char **users;  /* Unix user names that belong to it, for the control socket */
	size_t n_users;
	const char **queues; /* that its members may use; the first is the default */
	size_t n_queues;
	bool operators;      /* its members may drain, reload and see everybody's leases */
	struct conf_place place;
};

struct conf_queue {
	const char *name;
	int gpus;             /* devices that it is owed, its nominal quota */
	int quota;            /* as written: gpus and no borrowing; -1: not given. check.c makes gpus and borrow of it */
	int borrow;           /* devices that it may have beyond gpus, -1: no limit */
	int lend;             /* devices of its gpus that others may use, -1: all */
	const char *cohort;   /* NULL: the pool */
	int weight;           /* its part of what can be borrowed */
	int per_user;         /* devices that one user may have in it, -1: no bound */
	int64_t min_run_ms;   /* its leases need not give way before */
	bool preemptible;     /* its leases give way to more urgent ones */
	bool reclaim;         /* it may take back what others have borrowed */
	bool preempt;         /* its leases may evict preemptible ones */
	int priority;
	int64_t time_default_ms, time_max_ms; /* 0: none */
	struct conf_place place;
};

/* Queues that share what they do not use. */
struct conf_cohort {
	const char *name;
	const char *parent; /* NULL: the pool */
	int gpus;           /* devices that it is owed beside its queues' */
	int borrow, lend;   /* -1: no limit */
	struct conf_place place;
};

/* What devices of a kind cost their leases. */
struct conf_kind {
	const char *name;     /* as sluicectl devices shows it; "default": every kind that is not declared */
	int64_t gpu_hour;     /* micro-units of the currency per device and hour, as written */
	int64_t gpu_second;   /* what holds: 10^-12 of the currency per device and second, the nearest integer */
	struct conf_place place;
};

struct conf_endpoint {
	struct http_address address;
	const char *url;
	const char *key;    /* sent as Authorization: Bearer, NULL: none. Secret */
	int concurrency;    /* requests at once, 0: the model's */
};

/* How requests are given to a model's replicas. */
enum conf_route { CONF_ROUTE_COST, CONF_ROUTE_LEAST_LOAD, CONF_ROUTE_ROUND_ROBIN, CONF_ROUTE_PREFIX };

/* A first guess of an engine's speed, milliseconds: of a step, a prompt token, a squared prompt token, a sequence, a
 * token of context. What is seen puts it right. All 0: not said. */
struct conf_step {
	double base, prefill, quadratic, sequence, context;
};

struct conf_model {
	const char *name;
	const char **aliases;
	size_t n_aliases;
	const char *engine;       /* name of an engine file, "openai" for static endpoints */
	const char *served_name;  /* what the engine calls it; NULL: `name` */
	const char *weights;      /* path, NULL: none */
	json_t *options;          /* the engine's own options, as written; object */
	struct conf_endpoint *endpoints; /* static ones */
	size_t n_endpoints;
	int gpus;                 /* of a replica; 0: it needs no device */
	const char *gpu_kind;     /* NULL: any */
	int64_t gpu_memory;       /* bytes at least, 0: any */
	const char *queue;        /* of the replicas' leases */
	int replicas_min, replicas_max;
	int concurrency;          /* requests at once per replica, before the rest waits with us */
	int waiting_max;          /* requests that may wait with us */
	int64_t wait_ms;          /* how long one may wait for a replica */
	int64_t idle_ms;          /* without a request, before a replica above replicas_min is stopped */
	int64_t start_ms;         /* a replica must be ready by then */
	int64_t drain_ms;         /* running requests may take so long when a replica is stopped */
	int64_t first_byte_ms;    /* upstream: to the first byte of the answer */
	int64_t silence_ms;       /* upstream: between bytes of a stream */
	enum conf_route route;
	int index_blocks;         /* bound of the prefix index, 0: none is kept */
	int64_t cache_tokens;     /* what one replica's cache holds, 0: not known */
	int64_t max_output;       /* bound when the client gives none, tokens */
	int64_t context;          /* largest output bound that a client may ask for, tokens; 0: no clamp */
	struct conf_price price;
	struct conf_place place;
};

struct conf_plugin {
	const char *kind, *name; /* "scheduler", "fifo" or a path */
	json_t *options;
	bool optional;           /* a refusal is a warning */
	struct conf_place place;
};

/* A field of the model without which an engine cannot be started, and what it must be. */
struct conf_requirement {
	const char *field, *what; /* "weights", "a GGUF file" */
};

/* What clients can ask an engine for, by the path of the inference door. */
enum conf_door {
	CONF_DOOR_CHAT = 1, CONF_DOOR_COMPLETIONS, CONF_DOOR_EMBEDDINGS, CONF_DOOR_RESPONSES, CONF_DOOR_RERANK, CONF_DOOR_SCORE,
	CONF_DOOR_MESSAGES, CONF_DOOR_COUNT_TOKENS, CONF_DOORS,
	/* A bit for each, as 1 << door: those of an engine whose file does not say. */
	CONF_DOORS_DEFAULT = 1 << CONF_DOOR_CHAT | 1 << CONF_DOOR_COMPLETIONS | 1 << CONF_DOOR_EMBEDDINGS
};
extern const char *const conf_door_names[CONF_DOORS + 1]; /* NULL-terminated; the first, of no door, is empty */

enum { CONF_STRIP_MAX = 64, CONF_STRIP_NAME_MAX = 31 }; /* names, and bytes of one */

/* What one engine file (lua/engines/NAME.lua) says about its kind of server; the parts that need no call. */
struct conf_engine {
	const char *name;
	const char *summary;
	const char *health_path;   /* GET, 200 means it can take requests */
	const char *metrics_path;  /* NULL: none */
	bool unix_socket;          /* can listen on a Unix socket */
	bool usage_option;         /* understands stream_options.include_usage */
	bool usage_running;        /* understands stream_options.continuous_usage_stats */
	bool usage_of_one;         /* of several answers to one request its counts are of one alone */
	int full_status[4];        /* statuses that mean "full here, try another", 0-terminated */
	const char **strip;        /* body members that must not reach it, NULL-terminated */
	int64_t keepalive_ms;      /* idle connections are reused for so long */
	uint32_t doors;            /* those that it serves, 1 << enum conf_door */
	bool close_after_stream;   /* it closes the connection behind each stream, whatever it announces */
	struct conf_step step;
	struct conf_requirement *requires;
	size_t n_requires;
	bool can_start;            /* it has a command(): sluice can start it */
	const char *path;          /* of the file, and its text: command() runs what was checked */
	sl_str source;
};

/* An entry of an index by name: sorted by name. */
struct conf_entry {
	const char *name;
	const void *value;
};
struct conf_index {
	struct conf_entry *entries;
	size_t n;
};

/* The web page. */
struct conf_page {
	struct http_address *listen; /* NULL: there is none */
	const char *folder;          /* of its files */
	const char *origin;          /* "https://sluice.example.org", as people see it; NULL: what they ask for, without TLS */
	int64_t session_ms, idle_ms; /* a session ends so long after its begin, and without a call */
	int sessions_max;            /* at a time */
	int streams_max;             /* answers of models under way on the page */
};

/* The snapshot. Everything in it lives in its arena and never changes. */
struct conf {
	atomic_int refs;
	struct arena arena;
	char id[16];            /* first hex digits of the digest of all files that were read: "7f3a2c91" */
	const char *file;       /* NULL: no file, safe defaults */

	struct http_address *listen; /* inference door */
	size_t n_listen;
	const char *control;         /* path of the control socket */
	struct http_address *metrics; /* also answer /metrics, /healthz, /readyz here; NULL: only on the others */
	struct conf_page page;       /* the web page */
	const char *state;           /* folder of sluiced's state */
	const char *agent;           /* path of the local agent's socket */
	bool start_agent;            /* start it when none runs */
	int workers;
	bool durable;                /* answers are held until their record is on disk */
	int64_t commit_gap_us;       /* between commits while many wait */
	const char *policy;          /* path, NULL: the standard policy */
	sl_str policy_text;          /* what stood in it when the snapshot was made: all threads load the same */
	bool policy_fail_open;       /* on_policy_error = "default": take the default decision */
	int64_t policy_instructions; /* budget of one call, Lua VM instructions */
	int64_t policy_memory;       /* bytes, one state */
	char currency[4];            /* "EUR" */
	const char *organisation;    /* who bills: its name in exports */
	int64_t drain_ms;
	size_t body_max;
	int connections_max;         /* inference door, all workers */
	int64_t header_ms, body_ms, idle_ms, write_ms; /* time limits of a client connection */
	int64_t output_wait_ms; /* a program waits so long for an attached client that reads none of its output */
	double retry_ratio;          /* retries per request, with a floor of 3 in a burst */
	int log_level;               /* enum sl_log_level */
	bool log_requests;
	int64_t journal_bytes;       /* a segment of the ledger's journal */
	int64_t keep_ms;             /* records older than that are folded into sums, 0: none */
	int64_t charge_ms;           /* a running lease is charged at least this often */

	struct conf_model *models;
	size_t n_models;
	struct conf_tier *tiers;
	size_t n_tiers;
	struct conf_tenant *tenants;
	size_t n_tenants;
	struct conf_queue *queues;
	size_t n_queues;
	struct conf_cohort *cohorts;
	size_t n_cohorts;
	struct conf_kind *kinds;
	size_t n_kinds;
	struct conf_plugin *plugins;
	size_t n_plugins;
	struct conf_engine *engines; /* those that models use */
	size_t n_engines;

	struct conf_index by_model, by_tier, by_tenant, by_queue, by_engine, by_kind; /* for conf_model() and kin */
};

/* Reads the file (NULL: safe defaults), all that it includes and the engines that it uses; checks everything. On
 * an error NULL and every finding, one a line, in *report (borrowed strings none; free with buf_free):
 *   sluice.lua:14: unknown field 'gpu' in model "llama-8b": did you mean 'gpus'?
 * Warnings go there too when it succeeds. Main thread; blocking. */
struct buf;
struct conf *conf_load(const char *file, struct buf *report);
struct conf *conf_ref(struct conf *conf);
void conf_unref(struct conf *conf); /* any thread */

/* By name or, for models, alias. NULL: no such thing. */
const struct conf_model *conf_model(const struct conf *conf, sl_str name);
const struct conf_tier *conf_tier(const struct conf *conf, sl_str name);
const struct conf_tenant *conf_tenant(const struct conf *conf, sl_str name);
const struct conf_queue *conf_queue(const struct conf *conf, sl_str name);
const struct conf_engine *conf_engine(const struct conf *conf, sl_str name);
/* What a second of a device of that kind costs, in 10^-12 of the currency; 0: nothing was declared. */
int64_t conf_gpu_second(const struct conf *conf, sl_str kind);

/* The path of a file of the Lua library ("policy.lua", "engines/vllm.lua"), below SLUICE_LUA_PATH of the environment
 * or the folder of the build. */
void conf_library_path(const char *name, char *out, size_t room);

/* The whole as JSON, secrets left out: `sluicectl config show`. The caller decrefs. */
json_t *conf_json(const struct conf *conf);
/* A commented sluice.lua that says what runs now. */
void conf_write_example(struct buf *out);

/* The command that starts a replica: calls command() of the engine file in a fresh sandboxed state. `listen` is
 * "unix:/path" or "127.0.0.1:port". argv: array of strings, env: object. Both new references. Main thread. */
int conf_engine_command(const struct conf *conf, const struct conf_model *model, const char *replica, const char *listen,
                        json_t **argv, json_t **env, sl_error *error);

#endif

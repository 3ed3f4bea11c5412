/* SPDX-License-Identifier: Apache-2.0 */
/* fields.c - the table of everything that sluice.lua can say. */
#include <stddef.h>
#include <string.h>

#include "core/conf/internal.h"

#define AT(type, member) .offset = offsetof(struct type, member)
#define LIST_AT(type, member, number) .offset = offsetof(struct type, member), .count = offsetof(struct type, number)
enum { MINUTE = 60000 };
#define TIME_BOUND .min = 0, .max = 365ll * 24 * 60 * MINUTE
#define TIME_SET .min = 1, .max = 365ll * 24 * 60 * MINUTE

const struct conf_field conf_fields[] = {
	{ "", "listen", FIELD_CUSTOM, .fallback = "\"127.0.0.1:8080\"", .read = read_listen,
	  .help = "address of the inference door: host:port or unix:PATH; may stand several times" },
	{ "", "control", FIELD_STRING, AT(conf, control), .fallback = "\"RUNDIR/control.sock\"",
	  .help = "path of the control socket, for sluicectl" },
	{ "", "metrics", FIELD_CUSTOM, .read = read_metrics,
	  .help = "also answer /metrics, /healthz and /readyz at this address, without a key" },
	{ "", "state", FIELD_STRING, AT(conf, state), .fallback = "\"STATEDIR\"",
	  .help = "folder of the journal and the records" },
	{ "", "workers", FIELD_INT, AT(conf, workers), .min = 1, .max = 256,
	  .help = "threads of the inference door; default: one a processor core" },
	{ "", "durability", FIELD_CUSTOM, .read = read_durability, .fallback = "\"held\"",
	  .help = "\"held\": a client sees the end of an answer when its record is on disk; \"async\": at once" },
	{ "", "currency", FIELD_CUSTOM, .read = read_currency, .fallback = "\"EUR\"",
	  .help = "of all prices and budgets, three capital letters" },
	{ "", "organisation", FIELD_STRING, AT(conf, organisation), .fallback = "\"sluice\"",
	  .help = "the site's name in exports of the bill" },
	{ "", "drain", FIELD_DURATION, AT(conf, drain_ms), TIME_BOUND, .fallback = "\"30s\"",
	  .help = "how long requests may go on when sluiced is told to end" },
	{ "", "charge_every", FIELD_DURATION, AT(conf, charge_ms), .min = 1000, .max = 24 * 60 * MINUTE, .fallback = "\"1h\"",
	  .help = "how often a running lease's use is written down: so late it shows in sluicectl usage" },
	{ "", "policy", FIELD_CUSTOM, .read = read_policy,
	  .help = "the site's rules: a file name, or a table with the fields below; default: the standard policy" },

	{ "policy", "file", FIELD_STRING, AT(conf, policy), .help = "the policy file, seen from the folder of this file" },
	{ "policy", "on_error", FIELD_CUSTOM, .read = read_on_error, .fallback = "\"deny\"",
	  .help = "when the policy fails: \"deny\" the request, or \"default\", the standard decision" },
	{ "policy", "instructions", FIELD_INT64, AT(conf, policy_instructions), .min = 10000, .max = 1000000000,
	  .fallback = "1000000", .help = "budget of one call, in instructions of the Lua machine" },
	{ "policy", "memory", FIELD_BYTES, AT(conf, policy_memory), .min = 1 << 20, .max = 1 << 30, .fallback = "\"8M\"",
	  .help = "memory of one Lua state; each worker has one" },

	{ "agent", "socket", FIELD_STRING, AT(conf, agent), .fallback = "\"RUNDIR/agent.sock\"",
	  .help = "path of the local agent's socket" },
	{ "agent", "start", FIELD_BOOL, AT(conf, start_agent), .fallback = "true", .help = "start it when none runs" },

	{ "page", "listen", FIELD_CUSTOM, .read = read_page_listen,
	  .help = "serve the web page and the calls behind it at this address; default: nowhere" },
	{ "page", "origin", FIELD_CUSTOM, .read = read_origin,
	  .help = "what stands in people's browsers when a TLS proxy is in front, such as \"https://gpu.example.org\"" },
	{ "page", "folder", FIELD_STRING, AT(conf, page.folder), .fallback = "\"PAGEDIR\"", .help = "folder of the page's files" },
	{ "page", "session", FIELD_DURATION, AT(conf, page.session_ms), TIME_SET, .fallback = "\"12h\"",
	  .help = "people sign in again after so long" },
	{ "page", "idle", FIELD_DURATION, AT(conf, page.idle_ms), TIME_SET, .fallback = "\"1h\"",
	  .help = "the same, when nothing was asked for in so long" },
	{ "page", "sessions", FIELD_INT, AT(conf, page.sessions_max), .min = 1, .max = 100000, .fallback = "1000",
	  .help = "people signed in at a time; one key has at most 16 sessions" },
	{ "page", "streams", FIELD_INT, AT(conf, page.streams_max), .min = 0, .max = 10000, .fallback = "64",
	  .help = "requests of the playground under way; 0: no playground" },

	{ "limits", "body", FIELD_CUSTOM, .read = read_body, .fallback = "\"32M\"", .help = "largest request body" },
	{ "limits", "connections", FIELD_INT, AT(conf, connections_max), .min = 1, .max = 1000000, .fallback = "4096",
	  .help = "client connections of the inference door, all workers together" },
	{ "limits", "header", FIELD_DURATION, AT(conf, header_ms), TIME_SET, .fallback = "\"10s\"",
	  .help = "from the first byte of a request to the end of its head" },
	{ "limits", "body_time", FIELD_DURATION, AT(conf, body_ms), TIME_SET, .fallback = "\"60s\"",
	  .help = "for a request's body" },
	{ "limits", "idle", FIELD_DURATION, AT(conf, idle_ms), TIME_SET, .fallback = "\"75s\"",
	  .help = "a connection without a request" },
	{ "limits", "write", FIELD_DURATION, AT(conf, write_ms), TIME_SET, .fallback = "\"30s\"",
	  .help = "a client that takes no byte of its answer" },
	{ "limits", "output_wait", FIELD_DURATION, AT(conf, output_wait_ms), .min = 0, .max = 60 * MINUTE, .fallback = "\"30s\"",
	  .help = "how long a program waits for an attached client (sluicectl run, attach) that reads none of its output; 0: not" },

	{ "retry", "ratio", FIELD_NUMBER, AT(conf, retry_ratio), .min = 0, .max = 1, .fallback = "0.1",
	  .help = "retries against other replicas, as a part of all requests" },

	{ "log", "level", FIELD_CUSTOM, .read = read_level, .fallback = "\"info\"",
	  .help = "\"error\", \"warn\", \"info\" or \"debug\"" },
	{ "log", "requests", FIELD_BOOL, AT(conf, log_requests), .fallback = "true", .help = "one line a request" },

	{ "journal", "segment", FIELD_BYTES, AT(conf, journal_bytes), .min = 1 << 20, .max = 1 << 30,
	  .fallback = "\"16M\"", .help = "size of one file of the journal" },
	{ "journal", "gap", FIELD_MICROS, AT(conf, commit_gap_us), .min = 0, .max = 1000000, .fallback = "\"500us\"",
	  .help = "between commits while many answers wait for one: \"500us\", \"2ms\"" },

	{ "ledger", "keep", FIELD_DURATION, AT(conf, keep_ms), .min = 1000, .max = 100 * 365ll * 24 * 60 * MINUTE,
	  .help = "records older than that become sums by hour and go: \"400d\"; default: every record stays" },

	{ "model", "engine", FIELD_NAME, AT(conf_model, engine),
	  .help = "what serves it: llamacpp, vllm, sglang, openai or a file of your own; default with endpoints: openai" },
	{ "model", "weights", FIELD_STRING, AT(conf_model, weights), .help = "path (or name) of the weights" },
	{ "model", "served_name", FIELD_STRING, AT(conf_model, served_name),
	  .help = "what the engine calls the model; default: the name" },
	{ "model", "aliases", FIELD_NAMES, LIST_AT(conf_model, aliases, n_aliases), .help = "other names that clients may use" },
	{ "model", "options", FIELD_CUSTOM, .read = read_options, .help = "a table of options for the engine" },
	{ "model", "endpoints", FIELD_CUSTOM, .read = read_endpoints,
	  .help = "servers that run already: a list of URLs, or of tables { url=, key=, concurrency= }" },
	{ "model", "gpus", FIELD_INT, AT(conf_model, gpus), .min = 0, .max = 1024, .fallback = "1",
	  .help = "devices of one replica; default with endpoints: 0" },
	{ "model", "gpu_kind", FIELD_STRING, AT(conf_model, gpu_kind), .help = "kind of device, such as \"H100\"" },
	{ "model", "memory", FIELD_BYTES, AT(conf_model, gpu_memory), .min = 0, .max = 1ll << 50,
	  .help = "least memory of each device" },
	{ "model", "queue", FIELD_NAME, AT(conf_model, queue), .fallback = "\"default\"",
	  .help = "queue of the replicas' leases" },
	{ "model", "replicas", FIELD_CUSTOM, .read = read_replicas, .fallback = "{ min = 0, max = 1 }",
	  .help = "how many run: a number, or a table { min=, max= }" },
	{ "model", "concurrency", FIELD_INT, AT(conf_model, concurrency), .min = 1, .max = 100000, .fallback = "8",
	  .help = "requests at once for each replica; what is more waits in sluice" },
	{ "model", "waiting", FIELD_INT, AT(conf_model, waiting_max), .min = 0, .max = 1000000, .fallback = "256",
	  .help = "requests that may wait" },
	{ "model", "wait", FIELD_DURATION, AT(conf_model, wait_ms), TIME_BOUND, .fallback = "\"60s\"",
	  .help = "how long a request may wait for a replica" },
	{ "model", "route", FIELD_CUSTOM, .read = read_route, .fallback = "\"cost\"",
	  .help = "which replica gets a request: \"cost\", the least cost for all requests; \"least_load\"; \"round_robin\"; "
	          "\"prefix\", the longest cached prefix" },
	{ "model", "index", FIELD_INT, AT(conf_model, index_blocks), .min = 0, .max = 100000000, .fallback = "1000000",
	  .help = "most entries of the index of cached prompt prefixes, about 60 bytes each; 0: none is kept" },
	{ "model", "cache", FIELD_INT64, AT(conf_model, cache_tokens), .min = 0, .max = 1000000000, .fallback = "0",
	  .help = "tokens that one replica's KV cache holds; 0: learned from what its answers tell" },
	{ "model", "idle", FIELD_DURATION, AT(conf_model, idle_ms), TIME_SET, .fallback = "\"10m\"",
	  .help = "time without a request before a replica above the minimum is stopped" },
	{ "model", "start", FIELD_DURATION, AT(conf_model, start_ms), TIME_SET, .fallback = "\"5m\"",
	  .help = "a replica must be ready by then" },
	{ "model", "drain", FIELD_DURATION, AT(conf_model, drain_ms), TIME_BOUND, .fallback = "\"30s\"",
	  .help = "how long requests may go on when a replica is stopped" },
	{ "model", "first_byte", FIELD_DURATION, AT(conf_model, first_byte_ms), TIME_SET, .fallback = "\"5m\"",
	  .help = "longest time to the first byte of an engine's answer" },
	{ "model", "silence", FIELD_DURATION, AT(conf_model, silence_ms), TIME_SET, .fallback = "\"60s\"",
	  .help = "longest time between bytes of an engine's answer" },
	{ "model", "max_output", FIELD_INT64, AT(conf_model, max_output), .min = 1, .max = 100000000, .fallback = "1024",
	  .help = "output bound of a request that gives none, in tokens; bounds no other: see context" },
	{ "model", "context", FIELD_INT64, AT(conf_model, context), .min = 0, .max = 1000000000, .fallback = "0",
	  .help = "largest output bound that a client may ask for, in tokens; 0: not checked" },
	{ "model", "price", FIELD_CUSTOM, .read = read_price,
	  .help = "per million tokens: { input=, cached=, output= }, numbers or text such as \"0.10\", at most 6 decimals" },

	{ "price", "input", FIELD_CUSTOM, .fallback = "0", .help = "of input tokens" },
	{ "price", "cached", FIELD_CUSTOM, .help = "of input tokens that the engine had in its cache; default: as input" },
	{ "price", "output", FIELD_CUSTOM, .fallback = "0", .help = "of output tokens" },

	{ "replicas", "min", FIELD_INT, AT(conf_model, replicas_min), .min = 0, .max = 1024, .fallback = "0",
	  .help = "run always" },
	{ "replicas", "max", FIELD_INT, AT(conf_model, replicas_max), .min = 0, .max = 1024, .fallback = "1",
	  .help = "run at most" },

	{ "endpoint", "url", FIELD_STRING, true, AT(conf_endpoint, url), .help = "http://host:port/base or unix:PATH" },
	{ "endpoint", "key", FIELD_STRING, AT(conf_endpoint, key),
	  .help = "sent as bearer token: \"env:NAME\" or \"file:PATH\", never the key itself" },
	{ "endpoint", "concurrency", FIELD_INT, AT(conf_endpoint, concurrency), .min = 1, .max = 100000,
	  .help = "requests at once; default: the model's" },

	{ "tier", "requests", FIELD_CUSTOM, .read = read_limits,
	  .help = "limit on requests: { 100, per = \"minute\", scope = \"key\" }, or a list of such tables" },
	{ "tier", "tokens", FIELD_CUSTOM, .read = read_limits, .help = "limit on input and output tokens together" },
	{ "tier", "input_tokens", FIELD_CUSTOM, .read = read_limits, .help = "limit on input tokens" },
	{ "tier", "output_tokens", FIELD_CUSTOM, .read = read_limits, .help = "limit on output tokens" },
	{ "tier", "cost", FIELD_CUSTOM, .read = read_limits, .help = "limit on money, in the currency" },
	{ "tier", "concurrency", FIELD_CUSTOM, .read = read_limits,
	  .help = "requests at once: a number, or { 8, scope = \"tenant\" }" },
	{ "tier", "priority", FIELD_INT, AT(conf_tier, priority), .min = -1000, .max = 1000, .fallback = "0",
	  .help = "of its requests while they wait; higher goes first" },
	{ "tier", "weight", FIELD_INT, AT(conf_tier, weight), .min = 1, .max = 1000000, .fallback = "1",
	  .help = "share beside others of the same priority" },
	{ "tier", "models", FIELD_NAMES, LIST_AT(conf_tier, models, n_models),
	  .help = "that it may call; default: every model" },
	{ "tier", "max_output", FIELD_INT64, AT(conf_tier, max_output), .min = 0, .max = 100000000, .fallback = "0",
	  .help = "largest output bound of a request, in tokens; 0: the model's context" },

	{ "limit", "per", FIELD_CUSTOM,
	  .help = "\"second\", \"minute\", \"hour\" or a duration (any stretch of that length); "
		  "\"day\", \"month\" (UTC calendar); \"total\"" },
	{ "limit", "scope", FIELD_CUSTOM, .fallback = "\"key\"",
	  .help = "who shares the limit: each \"key\", \"user\" or \"tenant\", or all callers of a \"model\"" },
	{ "limit", "warn", FIELD_CUSTOM, .help = "\"80%\": a line in the log and a count in the metrics when so much of it is used" },

	{ "tenant", "tier", FIELD_NAME, AT(conf_tenant, tier), .fallback = "\"default\"", .help = "terms of its keys" },
	{ "tenant", "users", FIELD_TEXTS, LIST_AT(conf_tenant, users, n_users),
	  .help = "Unix users that belong to it, for the control socket" },
	{ "tenant", "queues", FIELD_NAMES, LIST_AT(conf_tenant, queues, n_queues),
	  .help = "that its members may use for leases; the first is the default" },
	{ "tenant", "operators", FIELD_BOOL, AT(conf_tenant, operators), .fallback = "false",
	  .help = "its members may drain, reload and see everybody's leases" },

	{ "queue", "gpus", FIELD_INT, AT(conf_queue, gpus), .min = 0, .max = 1000000, .fallback = "0",
	  .help = "devices that it is owed: its nominal quota" },
	{ "queue", "borrow", FIELD_INT, AT(conf_queue, borrow), .min = -1, .max = 1000000, .fallback = "-1",
	  .help = "devices that it may have beyond gpus, of what others do not use; -1: no limit" },
	{ "queue", "lend", FIELD_INT, AT(conf_queue, lend), .min = -1, .max = 1000000, .fallback = "-1",
	  .help = "devices of its gpus that others may use meanwhile; -1: all" },
	{ "queue", "quota", FIELD_INT, AT(conf_queue, quota), .min = -1, .max = 1000000, .fallback = "-1",
	  .help = "devices that its leases may hold together: short for gpus = N, borrow = 0; -1: no bound" },
	{ "queue", "cohort", FIELD_NAME, AT(conf_queue, cohort), .help = "with whom it shares; default: the whole pool" },
	{ "queue", "weight", FIELD_INT, AT(conf_queue, weight), .min = 1, .max = 1000000, .fallback = "1",
	  .help = "its part of what can be borrowed, beside other queues" },
	{ "queue", "per_user", FIELD_INT, AT(conf_queue, per_user), .min = -1, .max = 1000000, .fallback = "-1",
	  .help = "devices that one user may have in it; -1: no bound" },
	{ "queue", "min_run", FIELD_DURATION, AT(conf_queue, min_run_ms), TIME_BOUND, .fallback = "\"0s\"",
	  .help = "its leases need not give way before they have had their devices for so long" },
	{ "queue", "preemptible", FIELD_BOOL, AT(conf_queue, preemptible), .fallback = "false",
	  .help = "its leases give way to more urgent ones; what is borrowed goes back to its owner in any case" },
	{ "queue", "reclaim", FIELD_BOOL, AT(conf_queue, reclaim), .fallback = "true",
	  .help = "it may take back devices that it is owed and others have borrowed" },
	{ "queue", "preempt", FIELD_BOOL, AT(conf_queue, preempt), .fallback = "true",
	  .help = "its leases may evict preemptible ones that are less urgent" },
	{ "queue", "priority", FIELD_INT, AT(conf_queue, priority), .min = -1000, .max = 1000, .fallback = "0",
	  .help = "higher goes first" },
	{ "queue", "time", FIELD_DURATION, AT(conf_queue, time_default_ms), TIME_BOUND, .fallback = "\"0s\"",
	  .help = "length of a lease that asks for none; 0: no end" },
	{ "queue", "time_max", FIELD_DURATION, AT(conf_queue, time_max_ms), TIME_BOUND, .fallback = "\"0s\"",
	  .help = "longest lease; 0: no bound" },

	{ "cohort", "parent", FIELD_NAME, AT(conf_cohort, parent), .help = "cohort that it belongs to; default: the whole pool" },
	{ "cohort", "gpus", FIELD_INT, AT(conf_cohort, gpus), .min = 0, .max = 1000000, .fallback = "0",
	  .help = "devices that it is owed beside those of its queues" },
	{ "cohort", "borrow", FIELD_INT, AT(conf_cohort, borrow), .min = -1, .max = 1000000, .fallback = "-1",
	  .help = "devices that its members together may have beyond what they are owed; -1: no limit" },
	{ "cohort", "lend", FIELD_INT, AT(conf_cohort, lend), .min = -1, .max = 1000000, .fallback = "-1",
	  .help = "devices of what its members are owed that others may use meanwhile; -1: all" },

	{ "kind", "gpu_hour", FIELD_CUSTOM, true, .read = read_gpu_hour,
	  .help = "price of one such device for an hour of a lease, a number or text such as \"2.50\", at most 6 decimals" },
	{ 0 }
};

const struct conf_field *field_find(const char *block, const char *name)
{
	for (const struct conf_field *f = conf_fields; f->name; f++)
		if (strcmp(f->block, block) == 0 && strcmp(f->name, name) == 0)
			return f;
	return NULL;
}

size_t field_names(const char *block, const char **names, size_t max)
{
	size_t n = 0;
	for (const struct conf_field *f = conf_fields; f->name && n + 1 < max; f++)
		if (strcmp(f->block, block) == 0)
			names[n++] = f->name;
	names[n] = NULL;
	return n;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* columns.c - what each list shows, in which order, and what it says when it is empty. */
#include <string.h>

#include "core/base/json.h"
#include "core/base/str.h"
#include "core/cli/output.h"

#define END { NULL, NULL, AS_TEXT, 0, NULL }

static void put_text(struct buf *out, const char *text)
{
	cli_put_clean(out, text && *text ? text : "-");
}

/* HOLDER: who has it; the lease when nobody better is known. */
static void put_holder(struct buf *out, const struct format_world *world, const json_t *row)
{
	(void) world;
	const char *holder = json_get_str(row, "holder", NULL), *lease = json_get_str(row, "lease", NULL);
	put_text(out, holder && *holder ? holder : lease);
	if (holder && *holder && lease && *lease && strcmp(holder, lease) != 0) {
		buf_puts(out, " ");
		put_text(out, lease);
	}
}

static void put_device_state(struct buf *out, const struct format_world *world, const json_t *row)
{
	(void) world;
	const char *reason = json_get_str(row, "reason", "");
	put_text(out, json_get_str(row, "state", NULL));
	if (*reason) {
		buf_puts(out, ": ");
		put_text(out, reason);
	}
}

static void put_gpus(struct buf *out, const struct format_world *world, const json_t *row)
{
	(void) world;
	int64_t gpus = json_get_int(row, "gpus", 0);
	if (gpus == 0)
		buf_puts(out, "-");
	else
		format_gpus(out, gpus, json_get_str(row, "kind", NULL));
}

/* Where it runs, or why it does not. */
static void put_where(struct buf *out, const struct format_world *world, const json_t *row)
{
	const json_t *where = json_object_get(row, "where");
	const char *reason = json_get_str(row, "reason", "");
	bool placed = json_array_size(where) > 0 && !json_is_string(json_object_get(row, "ended_at"));
	if (placed)
		format_value(out, world, AS_TEXT, where);
	else
		put_text(out, reason);
	if (placed && *reason) {
		buf_puts(out, "  ");
		put_text(out, reason);
	}
}

static void put_price(struct buf *out, const struct format_world *world, const json_t *row, const char *name)
{
	format_value(out, world, AS_MONEY, json_object_get(json_object_get(row, "price"), name));
}

static void put_in_price(struct buf *out, const struct format_world *world, const json_t *row)
{
	put_price(out, world, row, "input");
}

static void put_out_price(struct buf *out, const struct format_world *world, const json_t *row)
{
	put_price(out, world, row, "output");
}

static void put_cached_price(struct buf *out, const struct format_world *world, const json_t *row)
{
	put_price(out, world, row, "cached");
}

static void put_replicas(struct buf *out, const struct format_world *world, const json_t *row)
{
	const json_t *wanted = json_object_get(row, "wanted");
	format_value(out, world, AS_COUNT, json_object_get(row, "replicas"));
	if (json_is_integer(wanted) && json_integer_value(wanted) != json_get_int(row, "replicas", 0))
		buf_printf(out, " of %lld", (long long) json_integer_value(wanted));
}

static const struct cli_column devices_columns[] = {
	{ "DEVICE", "device", AS_TEXT, 0, NULL },
	{ "KIND", "kind", AS_TEXT, 0, NULL },
	{ "MEMORY", "memory_bytes", AS_BYTES, COLUMN_RIGHT, NULL },
	{ "USED", "memory_used_bytes", AS_BYTES, COLUMN_RIGHT, NULL },
	{ "BUSY", "busy_permille", AS_PERMILLE, COLUMN_RIGHT, NULL },
	{ "TEMP", "temperature_c", AS_CELSIUS, COLUMN_RIGHT, NULL },
	{ "POWER", "power_mw", AS_MILLIWATT, COLUMN_RIGHT, NULL },
	{ "STATE", "state,health,reason", AS_STATE, COLUMN_CUT, put_device_state },
	{ "HOLDER", "holder,lease", AS_TEXT, COLUMN_CUT, put_holder },
	{ "ENDS", "ends_at", AS_TIME, 0, NULL },
	{ "UUID", "uuid", AS_TEXT, COLUMN_WIDE, NULL },
	{ "MODEL", "model,vendor", AS_TEXT, COLUMN_WIDE, NULL },
	{ "MACHINE", "machine,index", AS_TEXT, COLUMN_WIDE, NULL },
	{ "ISOLATION", "isolation", AS_TEXT, COLUMN_WIDE, NULL },
	{ "NUMA", "numa_node", AS_COUNT, COLUMN_WIDE | COLUMN_RIGHT, NULL },
	{ "ISLAND", "island", AS_TEXT, COLUMN_WIDE, NULL },
	{ "BACKEND", "backend", AS_TEXT, COLUMN_WIDE, NULL },
	END
};

const struct cli_list devices_list = {
	.path = "/v1/gpu/devices", .id = "device", .columns = devices_columns,
	.empty = "No devices yet. A backend plugin finds them; without a GPU, add to sluice.lua:\n"
	         "  plugin \"backend/sim\" {}     then: sluicectl reload",
};

static const struct cli_column leases_columns[] = {
	{ "LEASE", "lease", AS_TEXT, 0, NULL },
	{ "NAME", "name", AS_TEXT, 0, NULL },
	{ "USER", "user", AS_TEXT, 0, NULL },
	{ "QUEUE", "queue", AS_TEXT, 0, NULL },
	{ "GPUS", "gpus,kind", AS_TEXT, 0, put_gpus },
	{ "STATE", "state", AS_STATE, 0, NULL },
	{ "AGE", "age_s,created_at,started_at,ended_at", AS_SECONDS, COLUMN_RIGHT, NULL },
	{ "ENDS", "ends_at", AS_TIME, 0, NULL },
	{ "WHERE-OR-WHY", "where,reason", AS_TEXT, COLUMN_CUT, put_where },
	{ "TENANT", "tenant", AS_TEXT, COLUMN_WIDE, NULL },
	{ "PRIORITY", "priority", AS_COUNT, COLUMN_WIDE | COLUMN_RIGHT, NULL },
	{ "COST", "cost", AS_MONEY, COLUMN_WIDE | COLUMN_RIGHT, NULL },
	{ "MEMORY", "memory_bytes", AS_BYTES, COLUMN_WIDE | COLUMN_RIGHT, NULL },
	{ "WAITED", "wait_s", AS_SECONDS, COLUMN_WIDE | COLUMN_RIGHT, NULL },
	{ "RAN", "run_s", AS_SECONDS, COLUMN_WIDE | COLUMN_RIGHT, NULL },
	{ "GPU-H", "gpu_s", AS_GPU_HOURS, COLUMN_WIDE | COLUMN_RIGHT, NULL },
	{ "HOLDER", "holder,model", AS_TEXT, COLUMN_WIDE, NULL },
	{ "EXIT", "exit_code,signal", AS_COUNT, COLUMN_WIDE | COLUMN_RIGHT, NULL },
	END
};

const struct cli_list leases_list = {
	.path = "/v1/gpu/leases", .id = "lease", .columns = leases_columns,
	.empty = "No leases. A lease gives your program GPUs for a time:\n"
	         "  sluicectl run -G 1 -- nvidia-smi     (everybody's leases: sluicectl leases --all)",
};

static const struct cli_column models_columns[] = {
	{ "MODEL", "model", AS_TEXT, 0, NULL },
	{ "STATE", "state", AS_STATE, 0, NULL },
	{ "REPLICAS", "replicas,wanted", AS_COUNT, COLUMN_RIGHT, put_replicas },
	{ "RUNNING", "running", AS_COUNT, COLUMN_RIGHT, NULL },
	{ "WAITING", "waiting", AS_COUNT, COLUMN_RIGHT, NULL },
	{ "REQUESTS", "requests_total", AS_COUNT, COLUMN_RIGHT, NULL },
	{ "IN-PRICE", "price", AS_MONEY, COLUMN_RIGHT, put_in_price },
	{ "OUT-PRICE", "price", AS_MONEY, COLUMN_RIGHT, put_out_price },
	{ "CACHED-PRICE", "price", AS_MONEY, COLUMN_WIDE | COLUMN_RIGHT, put_cached_price },
	{ "ENGINE", "engine", AS_TEXT, COLUMN_WIDE, NULL },
	{ "GPUS", "gpus", AS_COUNT, COLUMN_WIDE | COLUMN_RIGHT, NULL },
	{ "ENDPOINTS", "endpoints", AS_TEXT, COLUMN_WIDE | COLUMN_CUT, NULL },
	END
};

const struct cli_list models_list = {
	.path = "/v1/models", .id = "model", .columns = models_columns,
	.empty = "No models. Declare one in sluice.lua, then: sluicectl reload\n"
	         "  model \"llama-8b\" { engine = \"vllm\", weights = \"/srv/llama-8b\", gpus = 1 }",
};

static const struct cli_column replicas_columns[] = {
	{ "REPLICA", "replica", AS_TEXT, 0, NULL },
	{ "MODEL", "model", AS_TEXT, 0, NULL },
	{ "WHERE", "where", AS_TEXT, COLUMN_CUT, NULL },
	{ "STATE", "state", AS_STATE, 0, NULL },
	{ "RUNNING", "running", AS_COUNT, COLUMN_RIGHT, NULL },
	{ "WAITING", "waiting", AS_COUNT, COLUMN_RIGHT, NULL },
	{ "AGE", "age_s", AS_SECONDS, COLUMN_RIGHT, NULL },
	{ "WHY", "why", AS_TEXT, COLUMN_CUT, NULL },
	{ "LEASE", "lease", AS_TEXT, COLUMN_WIDE, NULL },
	{ "ADDRESS", "address", AS_TEXT, COLUMN_WIDE, NULL },
	{ "FAILURES", "failures", AS_COUNT, COLUMN_WIDE | COLUMN_RIGHT, NULL },
	END
};

const struct cli_list replicas_list = {
	.path = "/v1/replicas", .id = "replica", .columns = replicas_columns,
	.empty = "No replicas. One starts with a model's first request, or now:\n  sluicectl models start NAME",
};

static const struct cli_column tenants_columns[] = {
	{ "TENANT", "tenant", AS_TEXT, 0, NULL },
	{ "TIER", "tier", AS_TEXT, 0, NULL },
	{ "USERS", "users", AS_TEXT, COLUMN_CUT, NULL },
	{ "QUEUES", "queues", AS_TEXT, 0, NULL },
	{ "OPERATORS", "operators", AS_TEXT, 0, NULL },
	{ "DISABLED", "disabled", AS_TEXT, 0, NULL },
	{ "SOURCE", "source", AS_TEXT, 0, NULL },
	END
};

const struct cli_list tenants_list = {
	.path = "/v1/tenants", .id = "tenant", .columns = tenants_columns,
	.empty = "No tenants. A tenant is who pays: keys and leases belong to one.\n  sluicectl tenants create NAME --tier TIER",
};

static const struct cli_column keys_columns[] = {
	{ "KEY", "key", AS_TEXT, 0, NULL },
	{ "NAME", "name", AS_TEXT, COLUMN_CUT, NULL },
	{ "TENANT", "tenant", AS_TEXT, 0, NULL },
	{ "OWNER", "user", AS_TEXT, 0, NULL },
	{ "STATE", "state", AS_STATE, 0, NULL },
	{ "LAST-USED", "last_used_at", AS_TIME, 0, NULL },
	{ "EXPIRES", "expires_at", AS_TIME, 0, NULL },
	{ "CREATED", "created_at", AS_TIME, COLUMN_WIDE, NULL },
	{ "ROLES", "roles", AS_TEXT, COLUMN_WIDE, NULL },
	END
};

const struct cli_list keys_list = {
	.path = "/v1/keys", .id = "key", .columns = keys_columns,
	.empty = "No keys yet. A key lets your code call models.\n  sluicectl keys create NAME --tenant TENANT",
};

static const struct cli_column limits_columns[] = {
	{ "LIMIT", "name", AS_TEXT, 0, NULL },
	{ "COUNTS", "scope", AS_TEXT, COLUMN_CUT, NULL },
	{ "METRIC", "metric", AS_TEXT, 0, NULL },
	{ "WINDOW", "window", AS_TEXT, 0, NULL },
	{ "USED", "used", AS_COUNT, COLUMN_RIGHT, NULL },
	{ "RESERVED", "reserved", AS_COUNT, COLUMN_RIGHT, NULL },
	{ "MAX", "max", AS_COUNT, COLUMN_RIGHT, NULL },
	{ "RESETS-IN", "resets_in_s", AS_SECONDS, COLUMN_RIGHT, NULL },
	END
};

const struct cli_list limits_list = {
	.path = "/v1/limits", .id = "name", .columns = limits_columns,
	.empty = "No limits hold here. Tiers have them: tier \"free\" { tokens = { 20000, per = \"minute\" } } in sluice.lua",
};

static const struct cli_column plugins_columns[] = {
	{ "KIND", "kind", AS_TEXT, 0, NULL },
	{ "NAME", "name", AS_TEXT, 0, NULL },
	{ "VERSION", "version", AS_TEXT, 0, NULL },
	{ "STATE", "state", AS_STATE, 0, NULL },
	{ "ABI", "abi", AS_TEXT, 0, NULL },
	{ "PATH", "path", AS_TEXT, COLUMN_CUT, NULL },
	END
};

const struct cli_list plugins_list = {
	.path = "/v1/plugins", .id = "name", .columns = plugins_columns,
	.empty = "No plugins run. Those that are installed: sluicectl plugins list",
};

/* SPDX-License-Identifier: Apache-2.0 */
/* plugin.h - the descriptor that every plugin exports and the services that the host gives it.
 *
 * A plugin is a shared object with exactly one exported symbol, `sluice_plugin`, a const sl_plugin. It is built
 * with nothing but these headers (pkg-config --cflags sluice), imports nothing from the host's binary, and
 * reaches the host only through the sl_host that open() receives. sluice-plugin(7) is the contract in prose.
 *
 * Versions: abi_major must be equal, abi_minor must not be above the host's. Within a major, fields are only
 * added at the end of structs that carry their size; the host copies min(its size, the plugin's) into a zeroed
 * struct of its own, so a function that an older plugin does not know reads as NULL.
 *
 * Changelog
 *   1.0  2026-11-24  first version
 *   1.1  2026-11-24  scheduler.h: terms of queues, devices and leases beside the view's arrays; holds, suspension, moves;
 *                   host: tenant_find;
 *                   backend.h: about, telemetry, processes, events, check, suspend, resume;
 *                   store.h: seals, charges of leases, lists of leases, folding
 */
#ifndef SLUICE_PLUGIN_H
#define SLUICE_PLUGIN_H

#include <sluice/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SL_PLUGIN_MAGIC 0x43554c53u /* "SLUC" */
#define SL_ABI_MAJOR 1
#define SL_ABI_MINOR 1

/* Kinds. Numbers are never reused. One descriptor is one kind. */
enum sl_kind {
	SL_KIND_BACKEND = 1,   /* a family of devices;        ops: sl_backend_ops,   backend.h */
	SL_KIND_SCHEDULER = 2, /* who gets what;              ops: sl_scheduler_ops, scheduler.h */
	SL_KIND_AUTH = 3,      /* who is calling;             ops: sl_auth_ops,      auth.h */
	SL_KIND_STORE = 4,     /* keeps records;              ops: sl_store_ops,     store.h */
	SL_KIND_LAUNCHER = 5   /* runs a process on a lease;  ops: sl_launcher_ops,  launcher.h */
};

enum sl_option_type {
	SL_OPTION_BOOL = 1,     /* true, false */
	SL_OPTION_INT = 2,      /* 64 bit, between min and max when max > min */
	SL_OPTION_DURATION = 3, /* "90s", "5m", "2h30m", "1d": handed over in milliseconds */
	SL_OPTION_BYTES = 4,    /* "40G", "512M": binary multiples, handed over in bytes */
	SL_OPTION_STRING = 5,
	SL_OPTION_ENUM = 6,     /* one of the words in `values`, separated by '|' */
	SL_OPTION_SECRET = 7,   /* a string that is never printed; "file:PATH" and "env:NAME" are read by the host */
	SL_OPTION_PATH = 8,
	SL_OPTION_JSON = 9      /* a Lua table in the configuration, handed over as JSON text */
};

enum sl_option_flag {
	SL_OPTION_REQUIRED = 1u << 0,
	SL_OPTION_RELOADABLE = 1u << 1 /* reconfigure() takes a new value while running */
};

/* One option. The host checks names, types and ranges before any code of the plugin runs, and makes --help and
 * the manual from the table. */
typedef struct sl_option {
	const char *name;
	uint32_t type;  /* enum sl_option_type */
	uint32_t flags; /* enum sl_option_flag */
	const char *default_text; /* as in the configuration, NULL: none */
	int64_t min, max;         /* used when max > min */
	const char *values;       /* ENUM: "a|b|c", else NULL */
	const char *help;         /* one line */
} sl_option;

/* The checked options of one instance. Opaque; read with the host's conf_ functions. */
typedef struct sl_conf sl_conf;

enum sl_log_level { SL_LOG_ERROR = 0, SL_LOG_WARN = 1, SL_LOG_INFO = 2, SL_LOG_DEBUG = 3 };

/* A promise to answer later. A value, not a pointer: completing it twice or too late is counted against the
 * plugin and answered with SL_ESTALE, and corrupts nothing. 0 is never a valid token. */
typedef uint64_t sl_token;

/* Services of the host. Every function takes the host first. Strings passed in are borrowed for the call.
 * "Any thread" means exactly that; the others may be called only on the thread that the kind's header names.
 * Check `size` (or the pointer for NULL) before using a function that was added after 1.0. */
typedef struct sl_host sl_host;
struct sl_host {
	uint32_t size;      /* sizeof (sl_host) of the host */
	uint16_t abi_major; /* of the host */
	uint16_t abi_minor;
	void *ctx;          /* the host's own */

	/* One log line; the host adds the plugin's name. A trailing newline is not needed. Any thread. */
	void (*log)(const sl_host *, uint32_t level, const char *format, ...) __attribute__((format(printf, 3, 4)));
	/* Would a line of that level be written? Any thread. */
	int (*log_enabled)(const sl_host *, uint32_t level);
	/* Monotonic nanoseconds. Any thread. */
	uint64_t (*now_ns)(const sl_host *);
	/* Unix time in milliseconds. Any thread. */
	uint64_t (*wall_ms)(const sl_host *);

	/* Options by name. A name that the table lacks reads as 0, or {NULL, 0}; so does an option without value.
	 * Text is borrowed until close() or the next reconfigure(). open(), check(), reconfigure() only. */
	int64_t (*conf_int)(const sl_conf *, const char *name); /* BOOL, INT, DURATION (ms), BYTES */
	sl_str (*conf_str)(const sl_conf *, const char *name);  /* STRING, ENUM, SECRET, PATH, JSON */

	/* Completes a token: with a result (kind-specific, copied before the call returns; its size is the
	 * struct's own), or with an error. SL_OK, or SL_ESTALE when it was completed before, has expired or was
	 * never given out. Any thread. */
	int (*token_done)(const sl_host *, sl_token, const void *result, size_t size);
	int (*token_fail)(const sl_host *, sl_token, const sl_error *);

	/* A counter of this plugin in /metrics: sluice_plugin_events_total{plugin,event}. `event` must come from a
	 * small fixed set. Any thread. */
	void (*count)(const sl_host *, const char *event, uint64_t n);

	/* auth plugins only, NULL for others: finds the credential whose SHA-256 is `digest` among those that the
	 * host keeps. Compares in constant time, looks rights up as they are at this moment. SL_OK fills *out;
	 * SL_EAUTH: unknown, disabled or expired. Any thread. */
	int (*credential_find)(const sl_host *, const uint8_t digest[32], sl_identity *out, sl_error *);
	/* auth plugins only, NULL for others: the tenant that the configuration gives to this Unix user. SL_OK
	 * fills tenant, user, roles, tier; SL_NOT_MINE: nothing is configured for it. Any thread. */
	int (*user_find)(const sl_host *, uint32_t uid, uint32_t gid, sl_identity *out, sl_error *);

	/* Since 1.1. auth plugins only, NULL for others: the tenant of that name as it is at this moment, for plugins whose
	 * credentials are kept elsewhere. `tier` absent: the tenant's own. SL_OK fills tenant and tier, and nothing else of
	 * *out; SL_EDENIED, with a sentence for the caller: there is no such tenant, it is disabled, there is no such tier.
	 * Any thread. */
	int (*tenant_find)(const sl_host *, sl_str tenant, sl_str tier, sl_identity *out, sl_error *);
};

/* The descriptor. The first five fields are frozen for ever, so that any host can refuse any plugin politely. */
typedef struct sl_plugin {
	uint32_t magic;       /* SL_PLUGIN_MAGIC */
	uint16_t abi_major;   /* SL_ABI_MAJOR */
	uint16_t abi_minor;   /* SL_ABI_MINOR */
	uint32_t struct_size; /* sizeof (sl_plugin) as the plugin was built */
	uint32_t kind;        /* enum sl_kind */

	const char *name;    /* equal to the file's stem: "fifo" in fifo.so */
	const char *version; /* the plugin's own */
	const char *summary; /* one line */
	uint64_t caps;       /* what it offers, bits of the kind's header; unknown ones are ignored */
	uint64_t needs;      /* what it needs of the host; an unknown bit is a refusal. No bit is defined in 1.0 */

	const sl_option *options; /* n_options of them, NULL when 0 */
	uint32_t n_options;
	uint32_t option_size; /* sizeof (sl_option) */

	/* Checks options against each other, without side effects. NULL: nothing to check. On the thread of open(). */
	int (*check)(const sl_host *, const sl_conf *, sl_error *);
	/* Makes an instance. *self is handed to every later call. Several instances of one file may be open at
	 * once, so keep no globals. Must return within 10 seconds. On a thread of its own, which then ends; the main
	 * thread waits for it. */
	int (*open)(const sl_host *, const sl_conf *, void **self, sl_error *);
	/* Takes new values of RELOADABLE options; on an error the old ones stay. NULL: none can change. */
	int (*reconfigure)(void *self, const sl_conf *, sl_error *);
	/* Ends the instance. Called once, when no call is under way and no token is outstanding. Main thread. */
	void (*close)(void *self);

	const void *ops; /* the kind's table, which starts with `uint32_t size` */
	uint64_t reserved[4]; /* zero */
} sl_plugin;

/* The first lines of every descriptor: const sl_plugin sluice_plugin = { SL_PLUGIN_HEAD(SL_KIND_AUTH), .name = ... }; */
#define SL_PLUGIN_HEAD(KIND) \
	.magic = SL_PLUGIN_MAGIC, .abi_major = SL_ABI_MAJOR, .abi_minor = SL_ABI_MINOR, \
	.struct_size = sizeof (sl_plugin), .kind = (KIND), .option_size = sizeof (sl_option)

/* Put this before the descriptor: it is the one symbol that leaves the file. */
#define SL_EXPORT __attribute__((visibility("default")))

#ifdef __cplusplus
}
#endif
#endif

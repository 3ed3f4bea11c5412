/* SPDX-License-Identifier: Apache-2.0 */
/* plugin.h - finds, checks, loads and ends plugins, and is their host. */
#ifndef CORE_PLUGIN_PLUGIN_H
#define CORE_PLUGIN_PLUGIN_H

#include <jansson.h>
#include <stdbool.h>
#include <sluice/plugin.h>

#include "core/base/buf.h"

struct plugin; /* a loaded file with one open instance */

/* What the configuration says about one plugin. */
struct plugin_spec {
	uint32_t kind;       /* enum sl_kind */
	const char *name;    /* "fifo": PLUGINDIR/scheduler/fifo.so; with a '/' in it: a path of its own */
	const char *where;   /* "sluice.lua:14", put in front of every refusal; NULL: none */
	const json_t *options; /* object, as written; NULL: none. Borrowed until plugin_open returns */
};

/* What the process offers to plugins beyond the loader's own services. Functions may be NULL. They must outlive
 * every plugin. */
struct plugin_services {
	void *ctx;
	int (*credential_find)(void *ctx, const uint8_t digest[32], sl_identity *out, sl_error *);
	int (*user_find)(void *ctx, uint32_t uid, uint32_t gid, sl_identity *out, sl_error *);
	int (*tenant_find)(void *ctx, sl_str tenant, sl_str tier, sl_identity *out, sl_error *);
};

/* Why a file was refused; each is an exit status of `sluicectl plugin check` too (64 + value). */
enum plugin_refusal {
	PLUGIN_FINE = 0,
	PLUGIN_NOT_READABLE, /* missing, a folder, a device ... */
	PLUGIN_UNSAFE,       /* file or a folder above it is writable by others or not root's or ours */
	PLUGIN_NOT_ELF,      /* not a shared object of this machine */
	PLUGIN_DLOPEN,       /* the dynamic linker's own words */
	PLUGIN_NO_SYMBOL,
	PLUGIN_MAGIC,
	PLUGIN_MAJOR,
	PLUGIN_MINOR,
	PLUGIN_SIZE,         /* a struct smaller than 1.0 knew, or reserved fields that are not zero */
	PLUGIN_KIND,
	PLUGIN_NAME,         /* differs from the file's stem */
	PLUGIN_NEEDS,
	PLUGIN_OPS,          /* no table, or a function that the kind demands is missing */
	PLUGIN_OPTION,       /* unknown, missing, wrong type, out of range, check() said no */
	PLUGIN_OPEN,         /* open() failed or took too long */
	PLUGIN_CRASH         /* plugin check: the file killed the process that looked at it */
};

/* Folder of installed plugins: SLUICE_PLUGIN_PATH of the environment, else the one of the build. */
const char *plugin_folder(void);
/* "backend", "scheduler" ...; NULL for an unknown number. And back; 0 when unknown. */
const char *plugin_kind_name(uint32_t kind);
uint32_t plugin_kind_number(sl_str name);

/* Loads, checks, opens. Main thread. On failure NULL, *refusal (may be NULL) and a sentence:
 * `sluice.lua:14: scheduler 'fair': refused /usr/lib/sluice/plugins/scheduler/fair.so: wants ABI 2.1, this sluice
 * speaks 1.0; build it against these headers`. */
struct plugin *plugin_open(const struct plugin_spec *spec, const struct plugin_services *services,
                           enum plugin_refusal *refusal, sl_error *error);
/* Only what can be said without opening an instance: --check. Options are validated, check() is called. */
int plugin_check(const struct plugin_spec *spec, const struct plugin_services *services, enum plugin_refusal *refusal,
                 sl_error *error);
/* Could the instance take these options while it runs? False: one that it cannot change differs, or they are wrong. So an
 * instance is told from another one of its plugin. */
bool plugin_could_take(const struct plugin *p, const json_t *options);
/* What its descriptor says it can, before it is opened; 0: refused. */
uint64_t plugin_caps_of(const struct plugin_spec *spec);
/* New options for a running instance: SL_OK, or an error and the old ones stay. An option that is not RELOADABLE
 * and differs is SL_ENOTSUP with its name. */
int plugin_reconfigure(struct plugin *p, const json_t *options, sl_error *error);
/* Tokens still out when `wait_ms` has passed: the instance is left alive, a line is logged, false is returned. */
bool plugin_close(struct plugin *p, unsigned wait_ms);

const char *plugin_name(const struct plugin *p);
uint32_t plugin_kind(const struct plugin *p);
const char *plugin_version(const struct plugin *p);
const char *plugin_path(const struct plugin *p);
/* The kind's table, of the host's size, zero where the plugin is older. */
uint64_t plugin_caps(const struct plugin *p);
const void *plugin_ops(const struct plugin *p);
void *plugin_self(const struct plugin *p);

/* Tokens. done() is called exactly once, on the thread that completes it, with result == NULL on an error or when
 * the deadline has passed (SL_ETIMEOUT). 0: too many are out (4096 a plugin). */
typedef void (*plugin_token_done)(void *arg, const void *result, size_t size, const sl_error *error);
sl_token plugin_token_new(struct plugin *p, uint64_t deadline_ns, plugin_token_done done, void *arg);
/* The call answered at once: the token is void. False: it was completed meanwhile. */
bool plugin_token_drop(struct plugin *p, sl_token token);
/* Fails every token whose deadline has passed. Any thread; call once a second or so. */
void plugin_token_expire(struct plugin *p, uint64_t now_ns);
unsigned plugin_tokens_out(const struct plugin *p);

/* `sluicectl plugin check FILE`: everything up to check() in a child process of its own, so that a file that
 * crashes or hangs (10 s) cannot take the caller along. A human report in *out. The child is forked and goes on without
 * an exec: only for programs with one thread. */
enum plugin_refusal plugin_check_file(const char *path, struct buf *out);
/* `sluicectl plugin test FILE`: does a backend keep what its header promises? Loaded as the agent does, in child
 * processes with deadlines. [{"check","result": "ok", "failed" or "skipped","promise","why"}]; the caller decrefs. */
json_t *plugin_test_file(const char *path, const json_t *options);
/* What a plugin file says that it is, looked at in a child. False: it is no plugin that can be loaded. */
bool plugin_name_file(const char *path, char kind[32], char name[SL_NAME_MAX]);
/* `sluicectl plugin list`: {"kind","name","version","path","abi","summary","refusal"} for each file in the folder,
 * each looked at in a child. The caller decrefs. */
json_t *plugin_list(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* launcher.h - plugins that turn a lease into a running program (plain process, container ...).
 *
 * A launcher decides how the program is started; the agent starts it, owns its cgroup, its pipes and its end.
 * So a launcher runs in the agent, has no child of its own, and cannot leak one. Called on the agent's main
 * thread; must not block. */
#ifndef SLUICE_LAUNCHER_H
#define SLUICE_LAUNCHER_H

#include <sluice/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What is to be run. Borrowed for the call. */
typedef struct sl_launch_request {
	uint32_t size;
	uint32_t n_devices;
	const char *lease;
	const char *const *argv; /* NULL-terminated */
	const char *const *env;  /* NULL-terminated, NAME=VALUE, device variables included */
	const char *cwd;         /* may be NULL */
	uint32_t uid, gid;       /* to run as */
	const char *const *devices; /* n_devices uuids */
} sl_launch_request;

/* How to run it. `add_arg` and `add_env` copy. */
typedef struct sl_launch_plan {
	uint32_t size;
	uint32_t reserved;
	void *ctx;
	int (*add_arg)(void *ctx, const char *arg);
	int (*add_env)(void *ctx, const char *name, const char *value);
	int (*set_cwd)(void *ctx, const char *cwd);
} sl_launch_plan;

typedef struct sl_launcher_ops {
	uint32_t size;
	uint32_t reserved;
	/* Fills the plan: the first add_arg is the program's path or name. An error refuses the start with its text. */
	int (*plan)(void *self, const sl_launch_request *request, const sl_launch_plan *plan, sl_error *);
} sl_launcher_ops;

#ifdef __cplusplus
}
#endif
#endif

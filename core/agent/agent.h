/* SPDX-License-Identifier: Apache-2.0 */
/* agent.h - the parts of the agent and what they know of each other. One loop, one thread. */
#ifndef CORE_AGENT_AGENT_H
#define CORE_AGENT_AGENT_H

#include <jansson.h>
#include <stdbool.h>
#include <uv.h>
#include <sluice/backend.h>
#include <sluice/launcher.h>

#include "core/agent/logs.h"
#include "core/agent/tree.h"
#include "core/base/json.h"
#include "core/loop/frame.h"

enum {
	AGENT_UIDS_MAX = 64,
	AGENT_CLIENTS_MAX = 64,
	AGENT_LEASES_MAX = 10000,       /* running and ended ones together */
	AGENT_DEVICES_MAX = 1024,       /* of one backend */
	AGENT_BACKENDS_MAX = 16,
	AGENT_PIDS_MAX = 65536,         /* processes of a lease that is suspended */
	BACKEND_ABOUT_MAX = 1024,       /* of what a backend says of itself */
	AGENT_LOG_BYTES = 4 << 20,      /* kept of each stream when the start does not say */
	AGENT_REST_MS = 5000,           /* between TERM and KILL of what a program leaves behind when it ends */
	AGENT_HOLD_MAX_MS = 3600000,    /* a program may be told to wait for its reader for so long at once */
	AGENT_STUCK_MS = 60000,         /* after KILL: then its devices are called faulty */
	AGENT_LOG_PIECE = 256 << 10     /* most bytes of a log in one message */
};

struct agent;
struct backend;
struct client;
struct lease;

/* Where the answer to a request goes; the connection may have gone by then. */
struct reply {
	uint64_t client;
	json_int_t id;
};

struct agent_options {
	const char *socket, *state, *machine;
	uid_t uids[AGENT_UIDS_MAX];
	size_t n_uids;
	bool no_cgroup;
	const json_t *backends; /* array of {"name","options","optional"}; borrowed for agent_open */
	const char *launcher;   /* name of the plugin */
	const json_t *launcher_options;
};

struct agent {
	uv_loop_t loop;
	uv_signal_t on_term, on_int, on_child;
	uv_timer_t log_timer;
	char state[PATH_MAX - 512]; /* folder, absolute; leaves room for what lies in it */
	char machine[256];
	char boot_id[64];
	uint64_t started_ms;
	int lock;
	struct containment containment;
	struct server *server;
	struct backend *backends[AGENT_BACKENDS_MAX];
	size_t n_backends;
	char plugins[JSON_MARK_MAX];   /* the mark of the backends and the launcher with their options */
	struct plugin *launcher_plugin;
	const sl_launcher_ops *launcher;
	void *launcher_self;
	struct lease *leases;
	size_t n_leases;
};

/* agent.c */
int agent_open(struct agent *a, const struct agent_options *options, sl_error *error);
void agent_run(struct agent *a);
void agent_close(struct agent *a);
/* Somebody follows, or a program has started: look at the logs soon. */
void agent_watch_logs(struct agent *a);

/* server.c: connections. */
int server_open(struct agent *a, const struct agent_options *options, sl_error *error);
void server_close(struct agent *a);
/* Answers a request; takes over `ok` (NULL: an empty object). */
void server_ok(struct agent *a, struct reply to, json_t *ok);
void server_error(struct agent *a, struct reply to, const sl_error *error);
/* An event to everyone who has said hello; takes it over. */
void server_event(struct agent *a, json_t *event);
/* Sends new output to those who follow the lease. */
void server_push_logs(struct agent *a, struct lease *lease);
bool server_follows(const struct agent *a);
/* The lease goes: nobody follows it any more. */
void server_forget(struct agent *a, const struct lease *lease);

/* backend.c: a family of devices in its child process. */
typedef void (*backend_done)(void *arg, const json_t *ok, const sl_error *error); /* ok NULL: failed */
struct backend *backend_new(struct agent *a, const char *name, const json_t *options);
void backend_free(struct backend *b);
/* {"name","state","why","about"} */
json_t *backend_state(const struct backend *b);
/* Appends its devices as the protocol shows them. */
void backend_devices(const struct backend *b, json_t *array);
bool backend_has(const struct backend *b, const char *uuid);
/* Can it suspend what runs on its devices, by its own word? False: *why (borrowed) says why not. */
bool backend_suspends(const struct backend *b, const char **why);
/* Asks the child. done is called once, from the loop; never from inside this call. */
void backend_call(struct backend *b, const char *op, json_t *request, unsigned deadline_ms, backend_done done, void *arg);
bool backend_is_child(const struct backend *b, pid_t pid);
void backend_reaped(struct backend *b, pid_t pid, int status);
/* The child's side: serves one backend on this socket until it closes. */
int backend_host_main(int fd);

/* release.c: release of devices, over all backends that they are of. */
typedef void (*release_done)(void *arg, json_t *faulty /* array of {"uuid","reason"}, taken over */);
void release_devices(struct agent *a, const json_t *uuids, const char *lease, release_done done, void *arg);

/* The backend that has the device, NULL: none. */
struct backend *agent_backend_of(const struct agent *a, const char *uuid);

#endif

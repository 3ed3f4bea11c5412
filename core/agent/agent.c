/* SPDX-License-Identifier: Apache-2.0 */
/* agent.c - puts the parts together: state folder, plugins, socket, signals, and the look at the logs. */
#include "config.h"

#include "core/agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/agent/files.h"
#include "core/agent/lease.h"
#include "core/agent/supervise.h"
#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/notify.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "core/plugin/plugin.h"

enum {
	LOGS_FOLLOWED_MS = 40, /* between two looks at the logs while somebody follows */
	LOGS_GROWING_MS = 200, /* while one grows */
	LOGS_QUIET_MS = 1000,
	LOCK_TRIES = 20,
	LOCK_WAIT_MS = 50
};

struct backend *agent_backend_of(const struct agent *a, const char *uuid)
{
	for (size_t i = 0; i < a->n_backends; i++)
		if (backend_has(a->backends[i], uuid))
			return a->backends[i];
	return NULL;
}

/* --- logs --- */

/* True: it has grown. */
static bool look_at_lease(struct agent *a, struct lease *l)
{
	if (l->state < LEASE_RUNNING || l->state > LEASE_RELEASING)
		return false;
	log_file_open(&l->out, l->folder, SUPERVISE_OUT);
	log_file_open(&l->err, l->folder, SUPERVISE_ERR);
	uint64_t bases = l->out.base + l->err.base;
	bool grown = log_file_tick(&l->out, l->log_bytes);
	grown = log_file_tick(&l->err, l->log_bytes) || grown;
	if (bases != l->out.base + l->err.base)
		lease_save(l, NULL);
	if (grown)
		server_push_logs(a, l);
	return grown;
}

static void look_at_logs(uv_timer_t *timer)
{
	struct agent *a = timer->data;
	bool grown = false, live = false;
	for (struct lease *l = a->leases; l; l = l->next) {
		live = live || l->state < LEASE_ENDED;
		grown = look_at_lease(a, l) || grown;
	}
	if (!live)
		return;
	uint64_t wait = server_follows(a) ? LOGS_FOLLOWED_MS : grown ? LOGS_GROWING_MS : LOGS_QUIET_MS;
	uv_timer_start(timer, look_at_logs, wait, 0);
}

void agent_watch_logs(struct agent *a)
{
	uv_timer_start(&a->log_timer, look_at_logs, LOGS_FOLLOWED_MS, 0);
}

/* --- signals --- */

static void asked_to_end(uv_signal_t *signal_handle, int number)
{
	struct agent *a = signal_handle->data;
	log_info("signal %d: the agent ends, programs on leases go on", number);
	uv_stop(&a->loop);
}

/* Supervisors and backends are our children; so are, as we are a subreaper, the orphans of a killed supervisor. */
static void child_ended(uv_signal_t *signal_handle, int number)
{
	struct agent *a = signal_handle->data;
	int status;
	pid_t pid;
	(void) number;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < a->n_backends; i++)
			backend_reaped(a->backends[i], pid, status);
}

static void watch_signals(struct agent *a)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	a->on_term.data = a->on_int.data = a->on_child.data = a->log_timer.data = a;
	uv_signal_init(&a->loop, &a->on_term);
	uv_signal_init(&a->loop, &a->on_int);
	uv_signal_init(&a->loop, &a->on_child);
	uv_timer_init(&a->loop, &a->log_timer);
	uv_signal_start(&a->on_term, asked_to_end, SIGTERM);
	uv_signal_start(&a->on_int, asked_to_end, SIGINT);
	uv_signal_start(&a->on_child, child_ended, SIGCHLD);
}

/* --- start --- */

/* A child that a killed agent had just forked holds its lock until it has become another program: so we ask again. */
static bool lock_state(int fd)
{
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return true;
		nanosleep(&(struct timespec){ .tv_nsec = LOCK_WAIT_MS * 1000000l }, NULL);
	}
	return false;
}

/* What the one who has the lock has written into it: words for a person, nobody acts on them. */
static int refuse_state(const struct agent *a, sl_error *error)
{
	char who[256] = "";
	ssize_t n = pread(a->lock, who, sizeof who - 1, 0);
	who[n > 0 ? n : 0] = '\0';
	return error_set(error, SL_ECONFLICT, "another sluice-agent%s%.100s%s has the state folder %.100s: stop that one, or use another folder", who[0] ? " (" : "", who, who[0] ? ")" : "", a->state);
}

/* One agent a state folder: the lock says so, not a pid file. */
static int take_state(struct agent *a, const char *state, const char *socket, sl_error *error)
{
	char path[PATH_MAX + 16];
	if (!str_copy(a->state, sizeof a->state, str_of(state)))
		return error_set(error, SL_EINVAL, "the state folder's path is too long");
	int rc = path_make_folders(a->state, 0700);
	if (rc < 0)
		return error_set(error, SL_EIO, "cannot make the state folder %s: %s", state, strerror(-rc));
	char *real = realpath(state, NULL);
	bool fits = real && str_copy(a->state, sizeof a->state, str_of(real));
	free(real);
	if (!fits)
		return error_set(error, SL_EIO, "the state folder %s cannot be resolved: %s", state, strerror(errno));
	snprintf(path, sizeof path, "%s/leases", a->state);
	rc = files_make_folder(path, 0700);
	if (rc < 0)
		return error_set(error, SL_EIO, "cannot make %s: %s", path, strerror(-rc));
	snprintf(path, sizeof path, "%s/lock", a->state);
	a->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (a->lock < 0)
		return error_set(error, SL_EIO, "cannot open %s: %s", path, strerror(errno));
	if (!lock_state(a->lock))
		return refuse_state(a, error);
	if (ftruncate(a->lock, 0) != 0 || dprintf(a->lock, "pid %d, at %s", (int) getpid(), socket) < 0)
		log_warn("%s: %s", path, strerror(errno));
	return SL_OK;
}

static int open_launcher(struct agent *a, const struct agent_options *options, sl_error *error)
{
	struct plugin_spec spec = { .kind = SL_KIND_LAUNCHER, .name = options->launcher, .options = options->launcher_options };
	static const struct plugin_services none;
	a->launcher_plugin = plugin_open(&spec, &none, NULL, error);
	if (!a->launcher_plugin)
		return error->code;
	a->launcher = plugin_ops(a->launcher_plugin);
	a->launcher_self = plugin_self(a->launcher_plugin);
	return SL_OK;
}

static int open_backends(struct agent *a, const json_t *list, sl_error *error)
{
	size_t i;
	json_t *entry;
	json_array_foreach(list, i, entry) {
		const char *name = json_get_str(entry, "name", NULL);
		const json_t *given = json_object_get(entry, "options");
		if (!name || (given && !json_is_object(given)))
			return error_set(error, SL_EINVAL, "backends[%zu]: wants a name, and options that are an object", i);
		if (i >= AGENT_BACKENDS_MAX)
			return error_set(error, SL_EFULL, "backends: at most %d", AGENT_BACKENDS_MAX);
		a->backends[i] = backend_new(a, name, given);
		if (!a->backends[i])
			return error_set(error, SL_ENOMEM, "out of memory for backend %s", name);
		a->n_backends++;
	}
	return SL_OK;
}

static bool is_own_child(const void *arg, pid_t pid)
{
	const struct agent *a = arg;
	for (size_t i = 0; i < a->n_backends; i++)
		if (backend_is_child(a->backends[i], pid))
			return true;
	for (const struct lease *l = a->leases; l; l = l->next)
		if (l->state < LEASE_ENDED && l->tree.supervisor.pid == pid)
			return true;
	return false;
}

static void choose_containment(struct agent *a, bool no_cgroup)
{
	char why[256] = "";
	containment_open(&a->containment, a->state, no_cgroup, why, sizeof why);
	a->containment.is_own_child = is_own_child;
	a->containment.own_children = a;
	if (a->containment.cgroup2)
		log_info("programs are held in cgroups below %s", a->containment.root);
	else
		log_warn("programs are held together by descent, not by cgroups: %s", why);
}

static void protect_from_oom(void)
{
	if (geteuid() == 0 && files_put("/proc/self/oom_score_adj", "-500") < 0)
		log_info("oom_score_adj cannot be lowered here");
}

static json_t *plugin_json(const char *name, const json_t *options)
{
	return json_pack("{s:s, s:o}", "name", name, "options", options ? json_deep_copy(options) : json_object());
}

/* So that whoever declares them can tell whether these are still the ones. As pool/start.c has it. */
static void mark_plugins(struct agent *a, const struct agent_options *options)
{
	json_t *backends = json_array(), *entry;
	size_t i;
	json_array_foreach(options->backends, i, entry)
		json_array_append_new(backends, plugin_json(json_get_str(entry, "name", ""), json_object_get(entry, "options")));
	json_t *all = json_pack("{s:o, s:o}", "backends", backends, "launcher", plugin_json(options->launcher, options->launcher_options));
	json_mark(all, a->plugins);
	json_decref(all);
}

int agent_open(struct agent *a, const struct agent_options *options, sl_error *error)
{
	a->lock = -1;
	a->started_ms = clock_wall_ms();
	proc_boot_id(a->boot_id);
	if (options->machine)
		str_copy(a->machine, sizeof a->machine, str_of(options->machine));
	else if (gethostname(a->machine, sizeof a->machine - 1) < 0)
		str_copy(a->machine, sizeof a->machine, STR("localhost"));
	uv_loop_init(&a->loop);
	watch_signals(a);
	int rc = take_state(a, options->state, options->socket, error);
	if (rc == SL_OK)
		rc = open_launcher(a, options, error);
	if (rc == SL_OK)
		rc = server_open(a, options, error);
	if (rc != SL_OK)
		return rc;
	mark_plugins(a, options);
	protect_from_oom();
	choose_containment(a, options->no_cgroup);
	rc = open_backends(a, options->backends, error);
	if (rc == SL_OK)
		lease_adopt_all(a);
	return rc;
}

void agent_run(struct agent *a)
{
	log_info("ready, machine %s, state in %s, %zu backends, %zu leases", a->machine, a->state, a->n_backends, a->n_leases);
	notify_systemd("READY=1");
	uv_run(&a->loop, UV_RUN_DEFAULT);
	notify_systemd("STOPPING=1");
}

void agent_close(struct agent *a)
{
	server_close(a);
	for (size_t i = 0; i < a->n_backends; i++)
		backend_free(a->backends[i]);
	a->n_backends = 0;
	if (a->launcher_plugin)
		plugin_close(a->launcher_plugin, 0);
	containment_close(&a->containment);
	if (a->lock >= 0)
		close(a->lock);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* launch.c - from a start request to the running program: record, devices, plan, supervisor, answer. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/agent/files.h"
#include "core/agent/launch.h"
#include "core/agent/supervise.h"
#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/str.h"

enum { PREPARE_MS = 5000 };

extern char **environ;

static void abandoned(void *arg, json_t *faulty)
{
	struct lease *l = arg;
	size_t i;
	json_t *f;
	json_array_foreach(faulty, i, f)
		log_warn("lease %s: device %s after a failed start: %s", l->tree.lease, json_get_str(f, "uuid", ""),
		         json_get_str(f, "reason", ""));
	json_decref(faulty);
	tree_remove(&l->tree);
	files_remove_folder(l->folder);
	lease_drop(l);
}

/* No program was started: answers, gives the devices back, leaves no trace. */
static void abandon(struct lease *l, const sl_error *why)
{
	log_warn("lease %s: not started: %s", l->tree.lease, why->text);
	server_error(l->agent, l->start_reply, why);
	l->state = LEASE_RELEASING;
	release_devices(l->agent, l->devices, l->tree.lease, abandoned, l);
}

/* From here on the lease has a life of its own: its end is told by the event, whatever became of the start. */
static void begin(struct lease *l)
{
	sl_error e = { 0 };
	l->started_ms = clock_wall_ms();
	l->started_boot_ms = proc_boottime_ms();
	l->state = LEASE_RUNNING;
	l->stdin_open = l->with_stdin;
	log_file_open(&l->out, l->folder, SUPERVISE_OUT);
	log_file_open(&l->err, l->folder, SUPERVISE_ERR);
	if (lease_save(l, &e) != SL_OK)
		log_error("lease %s: %s", l->tree.lease, e.text);
	server_ok(l->agent, l->start_reply,
	          json_pack("{s:i,s:I}", "pid", (int) l->tree.job.pid, "started_ms", (json_int_t) l->started_ms));
	lease_watch_begin(l);
}

static void report_came(void *arg, struct frame_connection *connection, json_t *report)
{
	struct lease *l = arg;
	l->tree.supervisor.pid = (pid_t) json_get_int(report, "pid", 0);
	l->tree.supervisor.start = (uint64_t) json_get_int(report, "start", 0);
	l->tree.job.pid = (pid_t) json_get_int(report, "job", 0);
	l->tree.job.start = (uint64_t) json_get_int(report, "job_start", 0);
	frame_close(connection);
	l->report = NULL;
	log_info("lease %s: started, pid %d, uid %u, %zu devices", l->tree.lease, (int) l->tree.job.pid, l->uid,
	         json_array_size(l->devices));
	begin(l);
}

/* The supervisor died before it could report. What it has done until then is not known, so the whole tree is looked
 * for and ended, as when it dies later. */
static void report_lost(void *arg, struct frame_connection *connection, const sl_error *why)
{
	struct lease *l = arg;
	(void) connection;
	l->report = NULL;
	snprintf(l->reason, sizeof l->reason, "its supervisor ended before it had started the program: %.120s", why->text);
	log_error("lease %s: %s", l->tree.lease, l->reason);
	begin(l);
}

static const struct frame_events report_events = { .message = report_came, .closed = report_lost };

/* The supervisor is this program again. It gets a session of its own, the socket and the lock, and nothing else. */
static int spawn_supervisor(struct lease *l, int socket, pid_t *pid)
{
	static char name[] = "sluice-agent", mode[] = "--supervise";
	char *argv[] = { name, mode, l->tree.lease, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	sigemptyset(&none);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, socket, SUPERVISE_FD);
	posix_spawn_file_actions_adddup2(&actions, l->lock, SUPERVISE_LOCK);
	int rc = posix_spawn(pid, "/proc/self/exe", &actions, &attributes, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	return rc;
}

/* Descriptors that stand in the way of the numbers the supervisor expects would be overwritten by each other. */
static int above_inherited(int fd)
{
	if (fd < 0 || fd > SUPERVISE_LOCK)
		return fd;
	int moved = fcntl(fd, F_DUPFD_CLOEXEC, SUPERVISE_LOCK + 1);
	close(fd);
	return moved;
}

static int take_lock(struct lease *l, sl_error *error)
{
	char path[PATH_MAX + 16];
	snprintf(path, sizeof path, "%s/%s", l->folder, SUPERVISE_LOCK_FILE);
	l->lock = above_inherited(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	if (l->lock < 0 || flock(l->lock, LOCK_EX | LOCK_NB) < 0)
		return error_set(error, SL_EIO, "cannot lock %s: %s", path, strerror(errno));
	return SL_OK;
}

static int make_stdin(const struct lease *l, sl_error *error)
{
	char path[PATH_MAX + 16];
	snprintf(path, sizeof path, "%s/%s", l->folder, SUPERVISE_STDIN);
	if (l->with_stdin && mkfifo(path, 0600) < 0)
		return error_set(error, SL_EIO, "cannot make %s: %s", path, strerror(errno));
	return SL_OK;
}

static int start_supervisor(struct lease *l, sl_error *error)
{
	int pair[2];
	pid_t pid = 0;
	sl_error unheld = { 0 };
	int rc = tree_make(&l->tree, error);
	if (rc == SL_OK)
		rc = make_stdin(l, error);
	if (rc == SL_OK)
		rc = take_lock(l, error);
	if (rc != SL_OK)
		return rc;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return error_set(error, SL_EIO, "no socket for a supervisor: %s", strerror(errno));
	pair[1] = above_inherited(pair[1]);
	int failed = pair[1] < 0 ? errno : spawn_supervisor(l, pair[1], &pid);
	if (pair[1] >= 0)
		close(pair[1]);
	close(l->lock); /* the supervisor's copy keeps it locked */
	l->lock = -1;
	if (failed) {
		close(pair[0]);
		return error_set(error, SL_EIO, "no supervisor can be started: %s", strerror(failed));
	}
	l->tree.supervisor = (struct proc){ .pid = pid };
	proc_read(pid, &l->tree.supervisor);
	l->report = frame_adopt(&l->agent->loop, pair[0], &report_events, l, error);
	if (!l->report)
		return SL_EIO;
	if (l->hold_ms && lease_pace(l, 0, 0, l->hold_ms, &unheld) != SL_OK)
		log_warn("lease %s: its output waits for no reader: %s", l->tree.lease, unheld.text);
	rc = frame_send(l->report, l->spec);
	json_decref(l->spec);
	l->spec = NULL;
	if (rc == SL_OK)
		return SL_OK;
	frame_close(l->report);
	l->report = NULL;
	return error_set(error, rc, "the program's arguments and environment are larger than a message of 1 MiB");
}

static void prepared_all(struct lease *l)
{
	sl_error e = { 0 };
	int rc = launch_plan(l, &e);
	if (rc == SL_OK)
		rc = start_supervisor(l, &e);
	if (rc != SL_OK)
		abandon(l, &e);
}

static void prepared(void *arg, const json_t *ok, const sl_error *error)
{
	struct lease *l = arg;
	const char *name;
	json_t *value;
	l->backends_left--;
	if (!ok && !json_object_get(l->spec, "failed"))
		json_object_set_new(l->spec, "failed", json_pack("{s:i,s:s}", "code", error->code, "text", error->text));
	/* The backend's word on what is visible stands above the request's. */
	json_object_foreach(json_object_get(ok, "env"), name, value)
		json_object_set(json_object_get(l->spec, "variables"), name, value);
	if (l->backends_left)
		return;
	json_t *failed = json_object_get(l->spec, "failed");
	if (failed) {
		sl_error e = { 0 };
		error_set(&e, (int) json_get_int(failed, "code", SL_EUPSTREAM), "%s", json_get_str(failed, "text", ""));
		abandon(l, &e);
	} else {
		prepared_all(l);
	}
}

/* One call to each backend that has some of the devices. */
static void prepare(struct lease *l)
{
	struct agent *a = l->agent;
	json_t *parts[AGENT_BACKENDS_MAX] = { 0 };
	size_t i;
	json_t *uuid;
	json_array_foreach(l->devices, i, uuid) {
		struct backend *b = agent_backend_of(a, json_string_value(uuid));
		for (size_t k = 0; k < a->n_backends; k++)
			if (a->backends[k] == b) {
				if (!parts[k])
					parts[k] = json_array();
				json_array_append(parts[k], uuid);
			}
	}
	for (size_t k = 0; k < a->n_backends; k++)
		l->backends_left += parts[k] != NULL;
	if (l->backends_left == 0)
		prepared_all(l);
	for (size_t k = 0; k < a->n_backends; k++)
		if (parts[k])
			backend_call(a->backends[k], "prepare", json_pack("{s:o,s:s}", "devices", parts[k], "lease", l->tree.lease),
			             PREPARE_MS, prepared, l);
}

void lease_start(struct agent *a, struct reply reply, const json_t *request)
{
	sl_error e = { 0 };
	struct lease *l = launch_accept(a, request, &e);
	if (!l) {
		server_error(a, reply, &e);
		return;
	}
	l->start_reply = reply;
	int rc = files_make_folder(l->folder, 0700);
	if (rc < 0)
		error_set(&e, SL_EIO, "cannot make %s: %s", l->folder, strerror(-rc));
	else
		rc = lease_save(l, &e);
	if (rc != SL_OK) {
		server_error(a, reply, &e);
		files_remove_folder(l->folder);
		lease_drop(l);
		return;
	}
	prepare(l);
}

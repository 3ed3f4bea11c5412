/* SPDX-License-Identifier: Apache-2.0 */
/* backend.c - a family of devices in its child process: calls with deadlines, restarts, what became of its devices.
 *
 * Calls go out one at a time. A child that does not answer in time is killed and counts as hung until the kernel
 * lets it go: a call into a driver can sleep for ever, and a second child beside it would sleep as well. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/agent/agent.h"
#include "core/agent/inventory.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/str.h"

enum {
	OPEN_MS = 15000,       /* a plugin's open() has 10 seconds */
	CALL_MS = 5000,
	PROBE_MS = 5000,       /* given to a backend to say whether it can suspend */
	PAUSE_MORE_MS = 10000, /* and so much more until it must have answered */
	SAMPLE_EVERY_MS = 1000,
	DEVICES_EVERY = 10,    /* samples */
	BACKOFF_MIN_MS = 1000,
	BACKOFF_MAX_MS = 60000,
	STEADY_MS = 60000,     /* up this long: the back-off begins anew */
	CALLS_MAX = 1024,
	HOST_FD = 3
};

enum backend_state { BACKEND_STARTING, BACKEND_RUNNING, BACKEND_RESTARTING, BACKEND_HUNG, BACKEND_OFF };

struct call {
	struct call *next;
	struct backend *backend;
	json_t *request;
	unsigned deadline_ms;
	bool internal; /* part of a child's start */
	backend_done done;
	void *arg;
	uv_timer_t timer;
};

struct backend {
	struct agent *agent;
	char name[SL_NAME_MAX];
	json_t *options;
	enum backend_state state;
	char why[SL_ERROR_TEXT];
	char about[BACKEND_ABOUT_MAX]; /* what it found when it was opened last, in its own words */
	pid_t pid;
	struct frame_connection *connection;
	struct call *first, *sent; /* sent: waits for its answer, not in the list any more */
	size_t n_calls;
	json_int_t last_id;
	uint64_t up_since_ms;
	unsigned backoff_ms, samples;
	bool has_suspend, suspends;    /* it has the functions; they work here */
	bool suspend_broken;           /* a child died or hung in it: not tried again by this agent */
	char no_suspend[SL_ERROR_TEXT];
	struct inventory inventory;
	uv_timer_t timer; /* restart, or the next sample */
	bool closing;
};

extern char **environ;

static void send_next(struct backend *b);
static void start(struct backend *b);

/* --- calls --- */

static void call_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/* Ends a call that is in no list any more. */
static void call_end(struct call *c, const json_t *ok, const sl_error *error)
{
	json_decref(c->request);
	c->request = NULL;
	uv_close((uv_handle_t *) &c->timer, call_closed);
	c->done(c->arg, ok, error);
}

static void call_fail(struct call *c, int code, const char *what)
{
	sl_error e = { 0 };
	error_set(&e, code, "backend %s: %s", c->backend->name, what);
	call_end(c, NULL, &e);
}

static void unlink_call(struct backend *b, struct call *c)
{
	for (struct call **at = &b->first; *at; at = &(*at)->next)
		if (*at == c) {
			*at = c->next;
			b->n_calls--;
			return;
		}
}

/* The child is of no use any more. Devices are lost until another one says otherwise. */
static void give_up_child(struct backend *b, enum backend_state state, const char *why)
{
	struct call *c = b->sent;
	char reason[SL_ERROR_TEXT + SL_NAME_MAX + 16];
	b->sent = NULL;
	b->state = state;
	str_copy(b->why, sizeof b->why, str_of(why));
	uv_timer_stop(&b->timer);
	frame_close(b->connection);
	b->connection = NULL;
	if (b->pid)
		kill(b->pid, SIGKILL); /* not reaped yet, so it is still that process */
	log_error("backend %s: %s", b->name, why);
	snprintf(reason, sizeof reason, "backend %s: %s", b->name, why);
	inventory_lose_all(&b->inventory, b->agent, reason);
	if (c && strcmp(json_get_str(c->request, "op", ""), "suspend") == 0)
		b->suspend_broken = true;
	if (c)
		call_fail(c, state == BACKEND_HUNG ? SL_ETIMEOUT : SL_EUPSTREAM, why);
}

static void call_overdue(uv_timer_t *timer)
{
	struct call *c = timer->data;
	struct backend *b = c->backend;
	char why[128];
	if (c == b->sent) {
		snprintf(why, sizeof why, "no answer to \"%s\" within %u s", json_get_str(c->request, "op", "?"),
		         c->deadline_ms / 1000);
		give_up_child(b, BACKEND_HUNG, why);
	} else if (b->state == BACKEND_RUNNING) {
		uv_timer_start(timer, call_overdue, c->deadline_ms, 0); /* waits behind others */
	} else {
		unlink_call(b, c);
		call_fail(c, SL_EUNAVAILABLE, b->why[0] ? b->why : "is not up yet");
	}
}

static struct call *call_new(struct backend *b, const char *op, json_t *request, unsigned deadline_ms, backend_done done,
                             void *arg)
{
	struct call *c = calloc(1, sizeof *c);
	if (!c || !request) {
		free(c);
		json_decref(request);
		return NULL;
	}
	json_object_set_new(request, "op", json_string(op));
	*c = (struct call){ .backend = b, .request = request, .deadline_ms = deadline_ms, .done = done, .arg = arg };
	uv_timer_init(&b->agent->loop, &c->timer);
	c->timer.data = c;
	uv_timer_start(&c->timer, call_overdue, deadline_ms, 0);
	b->n_calls++;
	return c;
}

/* A call of the child's start goes before those that wait for it to be up. */
static void call_first(struct backend *b, const char *op, json_t *request, unsigned deadline_ms, backend_done done)
{
	struct call *c = call_new(b, op, request, deadline_ms, done, b);
	if (!c) {
		give_up_child(b, BACKEND_RESTARTING, "out of memory");
		return;
	}
	c->internal = true;
	c->next = b->first;
	b->first = c;
	send_next(b);
}

static void call_refused(uv_timer_t *timer)
{
	struct call *c = timer->data;
	call_fail(c, SL_EFULL, "too many calls wait for it");
}

void backend_call(struct backend *b, const char *op, json_t *request, unsigned deadline_ms, backend_done done, void *arg)
{
	struct call *c = call_new(b, op, request, deadline_ms, done, arg);
	if (!c) {
		/* The agent's own loop must go on: whoever waits is told by the deadline of the next look. */
		log_error("backend %s: out of memory for a call", b->name);
		return;
	}
	if (b->n_calls > CALLS_MAX) {
		b->n_calls--;
		uv_timer_start(&c->timer, call_refused, 0, 0);
		return;
	}
	struct call **at = &b->first;
	while (*at)
		at = &(*at)->next;
	*at = c;
	send_next(b);
}

static void send_next(struct backend *b)
{
	struct call *c = b->first;
	if (b->sent || !c || !b->connection || (!c->internal && b->state != BACKEND_RUNNING))
		return;
	unlink_call(b, c);
	b->sent = c;
	json_object_set_new(c->request, "id", json_integer(++b->last_id));
	uv_timer_start(&c->timer, call_overdue, c->deadline_ms, 0);
	if (frame_send(b->connection, c->request) != SL_OK)
		uv_timer_start(&c->timer, call_overdue, 0, 0);
}

static void message_came(void *arg, struct frame_connection *connection, json_t *message)
{
	struct backend *b = arg;
	struct call *c = b->sent;
	const json_t *ok = json_object_get(message, "ok"), *error = json_object_get(message, "error");
	(void) connection;
	if (!c || json_get_int(message, "id", -1) != b->last_id)
		return;
	b->sent = NULL;
	if (json_is_object(ok)) {
		call_end(c, ok, NULL);
	} else {
		sl_error e = { 0 };
		int64_t code = json_get_int(error, "code", SL_EUPSTREAM);
		error_set(&e, code < 0 && code >= SL_ENOTSUP ? (int) code : SL_EUPSTREAM, "%s",
		          json_get_str(error, "text", "an answer without words"));
		call_end(c, NULL, &e);
	}
	send_next(b);
}

static void child_lost(void *arg, struct frame_connection *connection, const sl_error *why)
{
	struct backend *b = arg;
	(void) connection;
	(void) why;
	b->connection = NULL; /* frees itself */
	give_up_child(b, BACKEND_RESTARTING, "its process has ended unexpectedly");
}

static const struct frame_events child_events = { .message = message_came, .closed = child_lost };

/* --- what the child knows --- */

static void sample_due(uv_timer_t *timer);

static void got_sample(void *arg, const json_t *ok, const sl_error *error)
{
	struct backend *b = arg;
	if (ok)
		inventory_samples(&b->inventory, b->agent, json_object_get(ok, "samples"));
	else if (b->state == BACKEND_RUNNING)
		inventory_lose_all(&b->inventory, b->agent, error->text);
}

static void got_devices_again(void *arg, const json_t *ok, const sl_error *error)
{
	struct backend *b = arg;
	(void) error; /* the next sample will say */
	if (!ok)
		return;
	inventory_devices(&b->inventory, b->agent, b->name, json_object_get(ok, "devices"));
	inventory_suspends(&b->inventory, b->agent, b->suspends);
}

static void sample_due(uv_timer_t *timer)
{
	struct backend *b = timer->data;
	/* Telemetry waits while a call is under way: the work on leases comes first. */
	if (b->state != BACKEND_RUNNING || b->sent || b->first)
		return;
	if (++b->samples % DEVICES_EVERY == 0)
		backend_call(b, "devices", json_object(), CALL_MS, got_devices_again, b);
	backend_call(b, "sample", json_object(), CALL_MS, got_sample, b);
}

static void refused(struct backend *b, const sl_error *error)
{
	if (b->state != BACKEND_STARTING)
		return; /* the child died of it; that was told */
	give_up_child(b, BACKEND_OFF, error->text);
}

static void probed(void *arg, const json_t *ok, const sl_error *error)
{
	struct backend *b = arg;
	b->suspends = ok != NULL;
	str_copy(b->no_suspend, sizeof b->no_suspend, str_of(ok ? "" : error->text));
	if (!ok)
		log_info("backend %s: leases on it are not suspended: %s", b->name, error->text);
	inventory_suspends(&b->inventory, b->agent, b->suspends);
}

/* To suspend nobody shows whether somebody could be. */
static void probe_suspend(struct backend *b)
{
	json_t *uuids = json_array();
	const char *uuid;
	json_t *device;
	json_object_foreach(b->inventory.devices, uuid, device)
		if (strcmp(json_get_str(device, "health", ""), "lost") != 0)
			json_array_append_new(uuids, json_string(uuid));
	backend_call(b, "suspend", json_pack("{s:o,s:[],s:i}", "devices", uuids, "pids", "timeout_ms", PROBE_MS),
	             PROBE_MS + PAUSE_MORE_MS, probed, b);
}

static void got_first_sample(void *arg, const json_t *ok, const sl_error *error)
{
	struct backend *b = arg;
	if (!ok) {
		refused(b, error);
		return;
	}
	inventory_samples(&b->inventory, b->agent, json_object_get(ok, "samples"));
	log_info("backend %s: running, %zu devices", b->name, json_object_size(b->inventory.devices));
	b->state = BACKEND_RUNNING;
	b->why[0] = '\0';
	b->up_since_ms = uv_now(&b->agent->loop);
	uv_timer_start(&b->timer, sample_due, SAMPLE_EVERY_MS, SAMPLE_EVERY_MS);
	if (b->has_suspend)
		probe_suspend(b);
}

static void got_first_devices(void *arg, const json_t *ok, const sl_error *error)
{
	struct backend *b = arg;
	if (!ok) {
		refused(b, error);
		return;
	}
	inventory_devices(&b->inventory, b->agent, b->name, json_object_get(ok, "devices"));
	call_first(b, "sample", json_object(), CALL_MS, got_first_sample);
}

static void opened(void *arg, const json_t *ok, const sl_error *error)
{
	struct backend *b = arg;
	str_copy(b->about, sizeof b->about, str_of(ok ? json_get_str(ok, "about", "") : ""));
	b->has_suspend = ok && json_get_bool(ok, "suspends", false) && !b->suspend_broken;
	b->suspends = false;
	str_copy(b->no_suspend, sizeof b->no_suspend,
	         b->suspend_broken ? STR("its process died or hung in a suspension: none is tried until the agent is restarted")
	                           : STR("it cannot suspend what runs on its devices"));
	if (ok)
		call_first(b, "devices", json_object(), CALL_MS, got_first_devices);
	else
		refused(b, error);
}

/* --- the child --- */

static void restart_due(uv_timer_t *timer)
{
	start(timer->data);
}

static void schedule_restart(struct backend *b)
{
	if (b->closing)
		return;
	if (b->up_since_ms && uv_now(&b->agent->loop) - b->up_since_ms > STEADY_MS)
		b->backoff_ms = 0;
	b->up_since_ms = 0;
	b->backoff_ms = b->backoff_ms ? 2 * b->backoff_ms : BACKOFF_MIN_MS;
	if (b->backoff_ms > BACKOFF_MAX_MS)
		b->backoff_ms = BACKOFF_MAX_MS;
	unsigned wait = b->state == BACKEND_OFF ? BACKOFF_MAX_MS : b->backoff_ms;
	if (b->state != BACKEND_OFF)
		b->state = BACKEND_RESTARTING;
	uv_timer_start(&b->timer, restart_due, wait, 0);
}

static int spawn_host(struct backend *b)
{
	static char name[] = "sluice-agent", mode[] = "--backend-host", number[] = "3";
	char *argv[] = { name, mode, number, NULL };
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return errno;
	/* dup2 onto itself would leave it close-on-exec. */
	if (pair[1] == HOST_FD) {
		pair[1] = fcntl(HOST_FD, F_DUPFD_CLOEXEC, HOST_FD + 1);
		close(HOST_FD);
	}
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, pair[1], HOST_FD);
	int rc = posix_spawn(&b->pid, "/proc/self/exe", &actions, &attributes, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	close(pair[1]);
	if (rc) {
		b->pid = 0;
		close(pair[0]);
		return rc;
	}
	b->connection = frame_adopt(&b->agent->loop, pair[0], &child_events, b, NULL);
	return b->connection ? 0 : ENOMEM;
}

static void start(struct backend *b)
{
	b->state = BACKEND_STARTING;
	int rc = spawn_host(b);
	if (rc) {
		give_up_child(b, BACKEND_RESTARTING, strerror(rc));
		if (!b->pid)
			schedule_restart(b);
		return;
	}
	call_first(b, "open", json_pack("{s:s,s:O}", "name", b->name, "options", b->options), OPEN_MS, opened);
}

bool backend_is_child(const struct backend *b, pid_t pid)
{
	return pid == b->pid;
}

void backend_reaped(struct backend *b, pid_t pid, int status)
{
	if (!pid || pid != b->pid)
		return;
	b->pid = 0;
	if (b->connection) {
		/* Its last words may still be in the socket; the end of it comes right behind. */
		give_up_child(b, BACKEND_RESTARTING, "its process has ended unexpectedly");
	}
	if (b->state == BACKEND_RESTARTING && WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
		snprintf(b->why, sizeof b->why, "its process crashed: %s", strsignal(WTERMSIG(status)));
	schedule_restart(b);
}

struct backend *backend_new(struct agent *a, const char *name, const json_t *options)
{
	struct backend *b = calloc(1, sizeof *b);
	if (!b)
		return NULL;
	b->agent = a;
	str_copy(b->name, sizeof b->name, str_of(name));
	b->options = options ? json_deep_copy(options) : json_object();
	b->inventory.devices = json_object();
	uv_timer_init(&a->loop, &b->timer);
	b->timer.data = b;
	start(b);
	return b;
}

static void timer_closed(uv_handle_t *handle)
{
	struct backend *b = handle->data;
	json_decref(b->options);
	json_decref(b->inventory.devices);
	free(b);
}

void backend_free(struct backend *b)
{
	if (!b)
		return;
	b->closing = true;
	/* Nobody is told any more: the agent itself is going. */
	while (b->first || b->sent) {
		struct call *c = b->sent ? b->sent : b->first;
		if (c == b->sent)
			b->sent = NULL;
		else
			unlink_call(b, c);
		json_decref(c->request);
		uv_close((uv_handle_t *) &c->timer, call_closed);
	}
	frame_close(b->connection);
	if (b->pid)
		kill(b->pid, SIGKILL);
	uv_close((uv_handle_t *) &b->timer, timer_closed);
}

json_t *backend_state(const struct backend *b)
{
	static const char *const words[] = { "restarting", "running", "restarting", "hung", "off" };
	json_t *o = json_pack("{s:s,s:s}", "name", b->name, "state", words[b->state]);
	json_set_str(o, "why", str_of(b->why));
	json_set_str(o, "about", str_of(b->about));
	return o;
}

void backend_devices(const struct backend *b, json_t *array)
{
	const char *uuid;
	json_t *device;
	json_object_foreach(b->inventory.devices, uuid, device)
		json_array_append(array, device);
}

bool backend_has(const struct backend *b, const char *uuid)
{
	return json_object_get(b->inventory.devices, uuid) != NULL;
}

bool backend_suspends(const struct backend *b, const char **why)
{
	*why = b->state == BACKEND_RUNNING ? b->no_suspend : b->why;
	return b->state == BACKEND_RUNNING && b->suspends;
}

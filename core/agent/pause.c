/* SPDX-License-Identifier: Apache-2.0 */
/* pause.c - a lease leaves its devices without losing its work, and comes back to them or to others of their kind.
 *
 * Off: the backend moves what its processes have on the devices away, the processes are frozen, the devices are given
 * back to the backend as at the end of a lease. Not the other way round: a driver's checkpoint needs the process to run.
 * Back: the processes run, and the backend moves them to the devices.
 *
 * The state that is aimed at is in the lease's record before anything is done, and the state that was reached before
 * anybody is told. Each step may be done twice, so a later agent begins the one that was under way from its start. */
#include <stdlib.h>
#include <string.h>

#include "core/agent/lease.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/str.h"

enum {
	MORE_MS = 10000,     /* a backend may need so much longer than it was given, as backend.h has it */
	PREPARE_MS = 5000,
	BACKEND_LOOK_MS = 250,
	BACKEND_LOOKS = 240, /* for a minute in all: it may be restarting */
	FREEZE_LOOK_MS = 20,
	FREEZE_LOOKS = 100,  /* then what is not frozen sleeps in the kernel, and starts nothing */
	ROUNDS = 5,          /* times that processes may have come to a device meanwhile */
	LATE_MS = 2000,      /* for those that were started meanwhile */
	SAVE_AGAIN_MS = 1000,
	ADOPTED_MS = 30000   /* what an earlier agent was given is not known */
};

struct pause {
	struct agent *agent;
	struct lease *lease;   /* NULL: it has gone */
	bool back;             /* to its devices; else off them */
	bool undo;             /* that failed: back to where it was */
	uint64_t timeout_ms;
	json_t *pids;          /* that the backend was told of */
	unsigned rounds, looks;
	sl_error why;          /* of the failure */
	json_t *faulty;        /* devices that could not be given back */
	void (*then)(struct pause *);
	uv_timer_t timer;
};

static void move_off(struct pause *p);
static void move_back(struct pause *p);
static void undo(struct pause *p, const sl_error *why);

static void closed(uv_handle_t *handle)
{
	struct pause *p = handle->data;
	json_decref(p->pids);
	json_decref(p->faulty);
	free(p);
}

static void finish(struct pause *p)
{
	if (p->lease)
		p->lease->work = NULL;
	uv_close((uv_handle_t *) &p->timer, closed);
}

/* The lease is still what it was when this was begun. Else it is ending, which needs nobody's help; this ends too. */
static bool goes_on(struct pause *p)
{
	if (p->lease && p->lease->state == LEASE_RUNNING)
		return true;
	finish(p);
	return false;
}

static void timed(uv_timer_t *timer)
{
	struct pause *p = timer->data;
	if (goes_on(p))
		p->then(p);
}

static void later(struct pause *p, unsigned ms, void (*then)(struct pause *))
{
	p->then = then;
	uv_timer_start(&p->timer, timed, ms, 0);
}

static void tell(struct lease *l, const json_t *faulty, const sl_error *why)
{
	json_t *event = lease_json(l);
	json_object_set_new(event, "event", json_string("pause"));
	if (faulty)
		json_object_set(event, "faulty", (json_t *) (uintptr_t) faulty);
	if (why && why->code) {
		json_t *error = json_pack("{s:i}", "code", why->code);
		json_set_str(error, "text", str_of(why->text));
		json_object_set_new(event, "error", error);
	}
	server_event(l->agent, event);
}

/* What was reached stands in the record before anybody hears of it: devices that are said to be free are. */
static void save_and_tell(struct pause *p)
{
	struct lease *l = p->lease;
	sl_error e = { 0 };
	if (lease_save(l, &e) != SL_OK) {
		log_error("lease %s: %s", l->tree.lease, e.text);
		later(p, SAVE_AGAIN_MS, save_and_tell);
		return;
	}
	log_info("lease %s: %s%s%s", l->tree.lease, l->pause == LEASE_SUSPENDED ? "suspended" : "goes on",
	         p->why.code ? ": " : "", p->why.text);
	tell(l, p->faulty, &p->why);
	finish(p);
}

/* Nobody knows how to go on with it. */
static void end_lease(struct pause *p, const sl_error *why)
{
	struct lease *l = p->lease;
	char reason[SL_ERROR_TEXT];
	snprintf(reason, sizeof reason, "%s: %.100s; nor %s: %.90s", p->back ? "could not go on" : "could not be suspended",
	         p->why.text, p->back ? "be suspended again" : "go on", why->text);
	error_set(&p->why, SL_EIO, "%s", reason);
	lease_stop(l, l->notice_ms, reason);
	tell(l, p->faulty, &p->why);
	finish(p);
}

static struct backend *backend_of(const struct lease *l)
{
	const char *uuid = json_string_value(json_array_get(l->target ? l->target : l->devices, 0));
	return uuid ? agent_backend_of(l->agent, uuid) : NULL;
}

/* The backend, or NULL: `then` is called again later, or it has been given up. */
static struct backend *wait_for_backend(struct pause *p, void (*then)(struct pause *))
{
	sl_error e = { 0 };
	struct backend *b = backend_of(p->lease);
	if (b) {
		p->looks = 0;
		return b;
	}
	if (p->looks++ < BACKEND_LOOKS) {
		later(p, BACKEND_LOOK_MS, then);
		return NULL;
	}
	error_set(&e, SL_EUNAVAILABLE, "no backend has its devices any more");
	undo(p, &e);
	return NULL;
}

static bool take_pids(struct pause *p, sl_error *error)
{
	size_t n = 0;
	struct proc *list = tree_members(&p->lease->tree, &n);
	if (!list || n > AGENT_PIDS_MAX) {
		free(list);
		error_set(error, SL_EFULL, list ? "it has %zu processes, at most %d are suspended" : "its processes cannot be listed", n,
		          AGENT_PIDS_MAX);
		return false;
	}
	json_decref(p->pids);
	p->pids = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(p->pids, json_integer(list[i].pid));
	free(list);
	return true;
}

/* Those that the backend was not told of. NULL: they cannot be listed. */
static json_t *find_late(const struct pause *p)
{
	size_t n = 0, k;
	json_t *pid, *late = json_array();
	struct proc *list = tree_members(&p->lease->tree, &n);
	for (size_t i = 0; list && i < n; i++) {
		bool told = list[i].state == 'Z' || list[i].state == 'X';
		json_array_foreach(p->pids, k, pid)
			told = told || json_integer_value(pid) == list[i].pid;
		if (!told)
			json_array_append_new(late, json_integer(list[i].pid));
	}
	if (!list) {
		json_decref(late);
		late = NULL;
	}
	free(list);
	return late;
}

/* --- off --- */

static void is_off(struct pause *p)
{
	struct lease *l = p->lease;
	l->pause = LEASE_SUSPENDED;
	if (!l->paused_boot_ms)
		l->paused_boot_ms = proc_boottime_ms();
	json_decref(l->target);
	l->target = NULL;
	uv_timer_stop(&l->timer); /* its time limit stands still */
	save_and_tell(p);
}

static void given_back(void *arg, json_t *faulty)
{
	struct pause *p = arg;
	json_decref(p->faulty);
	p->faulty = faulty;
	if (goes_on(p))
		is_off(p);
}

static void give_back(struct pause *p)
{
	struct lease *l = p->lease;
	release_devices(l->agent, l->target ? l->target : l->devices, l->tree.lease, given_back, p);
}

/* Once more from the start, with those that were started meanwhile. */
static void move_off_again(struct pause *p, const char *why)
{
	sl_error e = { 0 };
	if (++p->rounds < ROUNDS) {
		move_off(p);
		return;
	}
	error_set(&e, SL_EAGAIN, "it starts processes faster than they can be suspended: %.150s", why);
	undo(p, &e);
}

static void moved_late(void *arg, const json_t *ok, const sl_error *error)
{
	struct pause *p = arg;
	if (!goes_on(p))
		return;
	if (ok)
		give_back(p);
	else
		move_off_again(p, error->text); /* it uses a device, and must run to leave it */
}

/* Most of what a program starts while it is suspended never sees a device; that can be said while it stands still. */
static void freeze(struct pause *p)
{
	struct lease *l = p->lease;
	tree_freeze(&l->tree);
	if (!tree_frozen(&l->tree) && p->looks++ < FREEZE_LOOKS) {
		later(p, FREEZE_LOOK_MS, freeze);
		return;
	}
	p->looks = 0;
	json_t *late = find_late(p);
	struct backend *b = backend_of(l);
	if (!late || !b)
		move_off_again(p, late ? "its backend has gone" : "they cannot be listed");
	else if (json_array_size(late) == 0)
		give_back(p);
	else
		backend_call(b, "suspend", json_pack("{s:O,s:O,s:i}", "devices", l->target ? l->target : l->devices, "pids", late,
		                                     "timeout_ms", LATE_MS),
		             LATE_MS + MORE_MS, moved_late, p);
	json_decref(late);
}

static void moved_off(void *arg, const json_t *ok, const sl_error *error)
{
	struct pause *p = arg;
	if (!goes_on(p))
		return;
	if (ok)
		freeze(p);
	else
		undo(p, error);
}

static void move_off(struct pause *p)
{
	struct lease *l = p->lease;
	sl_error e = { 0 };
	struct backend *b = wait_for_backend(p, move_off);
	if (!b)
		return;
	tree_thaw(&l->tree);
	if (!take_pids(p, &e)) {
		undo(p, &e);
		return;
	}
	backend_call(b, "suspend", json_pack("{s:O,s:O,s:I}", "devices", l->target ? l->target : l->devices, "pids", p->pids,
	                                     "timeout_ms", (json_int_t) p->timeout_ms),
	             (unsigned) p->timeout_ms + MORE_MS, moved_off, p);
}

/* --- back --- */

static void is_back(struct pause *p)
{
	struct lease *l = p->lease;
	if (l->target) {
		json_decref(l->devices);
		l->devices = l->target;
		l->target = NULL;
	}
	l->pause = LEASE_GOES;
	l->paused_ms = lease_paused_ms(l);
	l->paused_boot_ms = 0;
	lease_arm_limit(l);
	save_and_tell(p);
}

static void moved_back(void *arg, const json_t *ok, const sl_error *error)
{
	struct pause *p = arg;
	if (!goes_on(p))
		return;
	if (ok)
		is_back(p);
	else
		undo(p, error);
}

static void move_back(struct pause *p)
{
	struct lease *l = p->lease;
	sl_error e = { 0 };
	struct backend *b = wait_for_backend(p, move_back);
	if (!b)
		return;
	tree_thaw(&l->tree);
	if (!take_pids(p, &e)) {
		undo(p, &e);
		return;
	}
	backend_call(b, "resume", json_pack("{s:O,s:O,s:O,s:I}", "from", l->devices, "devices", l->target ? l->target : l->devices,
	                                    "pids", p->pids, "timeout_ms", (json_int_t) p->timeout_ms),
	             (unsigned) p->timeout_ms + MORE_MS, moved_back, p);
}

/* The variables stay as they were: what the program sees of its devices is the driver's business now. */
static void prepared(void *arg, const json_t *ok, const sl_error *error)
{
	struct pause *p = arg;
	if (!goes_on(p))
		return;
	if (ok)
		move_back(p);
	else
		undo(p, error);
}

static void prepare(struct pause *p)
{
	struct lease *l = p->lease;
	struct backend *b = wait_for_backend(p, prepare);
	if (b)
		backend_call(b, "prepare", json_pack("{s:O,s:s}", "devices", l->target, "lease", l->tree.lease), PREPARE_MS, prepared, p);
}

/* --- and when that fails --- */

/* Back to where it was, also where the backend says that it is there: one that died or hung says nothing. */
static void undo(struct pause *p, const sl_error *why)
{
	if (p->undo || why->code == SL_EIO) {
		if (!p->undo)
			p->why = *why;
		end_lease(p, why);
		return;
	}
	if (!p->back && why->code == SL_ENOTSUP) { /* nothing was touched */
		p->why = *why;
		is_back(p);
		return;
	}
	log_warn("lease %s: could not %s: %s", p->lease->tree.lease, p->back ? "go on" : "be suspended", why->text);
	p->why = *why;
	p->undo = true;
	p->rounds = p->looks = 0;
	if (p->back)
		move_off(p);
	else
		move_back(p);
}

static struct pause *begin(struct lease *l, bool back, uint64_t timeout_ms)
{
	struct pause *p = calloc(1, sizeof *p);
	if (!p)
		return NULL;
	*p = (struct pause){ .agent = l->agent, .lease = l, .back = back, .timeout_ms = timeout_ms };
	uv_timer_init(&l->agent->loop, &p->timer);
	p->timer.data = p;
	l->work = p;
	return p;
}

void pause_forget(struct lease *l)
{
	if (!l->work)
		return;
	/* Whatever it waits for comes back to it, and ends it then. */
	l->work->lease = NULL;
	if (uv_is_active((uv_handle_t *) &l->work->timer))
		uv_timer_start(&l->work->timer, timed, 0, 0);
	l->work = NULL;
}

static int save_aim(struct lease *l, enum lease_pause aim, sl_error *error)
{
	enum lease_pause before = l->pause;
	l->pause = aim;
	int rc = lease_save(l, error);
	if (rc != SL_OK)
		l->pause = before;
	return rc;
}

static int cannot(const struct lease *l, sl_error *error)
{
	const char *why;
	size_t i;
	json_t *uuid;
	if (l->state != LEASE_RUNNING)
		return error_set(error, SL_ECONFLICT, "lease %s %s", l->tree.lease, l->state == LEASE_STARTING ? "is being started" : "is ending");
	if (json_array_size(l->devices) == 0)
		return error_set(error, SL_ENOTSUP, "lease %s has no device", l->tree.lease);
	const struct backend *b = backend_of(l);
	json_array_foreach(l->devices, i, uuid)
		if (!b || agent_backend_of(l->agent, json_string_value(uuid)) != b)
			return error_set(error, SL_ENOTSUP, "the devices of lease %s are not all there, or not of one backend", l->tree.lease);
	if (!backend_suspends(b, &why))
		return error_set(error, SL_ENOTSUP, "%s", why);
	return SL_OK;
}

int lease_suspend(struct lease *l, uint64_t timeout_ms, sl_error *error)
{
	if (l->state == LEASE_RUNNING && l->pause == LEASE_RESUMING)
		return error_set(error, SL_ECONFLICT, "lease %s is just going on", l->tree.lease);
	if (l->state == LEASE_RUNNING && l->pause == LEASE_SUSPENDED && !l->work)
		tell(l, NULL, NULL);
	if (l->state == LEASE_RUNNING && l->pause != LEASE_GOES)
		return SL_OK;
	if (l->work)
		return error_set(error, SL_EAGAIN, "lease %s has only just gone on", l->tree.lease);
	int rc = cannot(l, error);
	if (rc != SL_OK)
		return rc;
	struct pause *p = begin(l, false, timeout_ms);
	if (!p)
		return error_set(error, SL_ENOMEM, "out of memory");
	rc = save_aim(l, LEASE_SUSPENDING, error);
	if (rc != SL_OK)
		finish(p);
	else
		later(p, 0, move_off);
	return rc;
}

/* Devices that it had stay in their places; the others stand in for those that are not there any more. */
static json_t *pair_up(const json_t *from, const json_t *to)
{
	json_t *out = json_array(), *rest = json_array(), *uuid;
	size_t i, k, next = 0;
	json_array_foreach(to, i, uuid) {
		bool same = false;
		for (k = 0; k < json_array_size(from); k++)
			same = same || json_equal(json_array_get(from, k), uuid);
		if (!same)
			json_array_append(rest, uuid);
	}
	json_array_foreach(from, i, uuid) {
		bool same = false;
		for (k = 0; k < json_array_size(to); k++)
			same = same || json_equal(json_array_get(to, k), uuid);
		json_array_append(out, same ? uuid : json_array_get(rest, next++));
	}
	json_decref(rest);
	return out;
}

int lease_resume(struct lease *l, json_t *devices, uint64_t timeout_ms, sl_error *error)
{
	json_t *target = json_array_size(devices) == json_array_size(l->devices) ? pair_up(l->devices, devices) : NULL;
	json_decref(devices);
	bool there = target && l->pause == LEASE_GOES && json_equal(target, l->devices);
	bool again = target && l->pause == LEASE_RESUMING && json_equal(target, l->target);
	int rc = SL_OK;
	struct pause *p = NULL;
	if (!target)
		rc = error_set(error, SL_EINVAL, "devices: lease %s has %zu", l->tree.lease, json_array_size(l->devices));
	else if (l->state != LEASE_RUNNING || (l->pause != LEASE_SUSPENDED && !there && !again))
		rc = error_set(error, SL_ECONFLICT, "lease %s is not suspended", l->tree.lease);
	else if (l->work && !again)
		rc = error_set(error, SL_EAGAIN, "lease %s has only just been suspended", l->tree.lease);
	else if (there)
		tell(l, NULL, NULL);
	else if (!again && !(p = begin(l, true, timeout_ms)))
		rc = error_set(error, SL_ENOMEM, "out of memory");
	if (!p) {
		json_decref(target);
		return rc;
	}
	l->target = target;
	rc = save_aim(l, LEASE_RESUMING, error);
	if (rc == SL_OK) {
		later(p, 0, prepare);
		return SL_OK;
	}
	json_decref(l->target);
	l->target = NULL;
	finish(p);
	return rc;
}

void pause_adopt(struct lease *l)
{
	struct pause *p = NULL;
	if (l->state != LEASE_RUNNING || l->pause == LEASE_GOES || l->pause == LEASE_SUSPENDED)
		return;
	p = begin(l, l->pause == LEASE_RESUMING, ADOPTED_MS);
	if (p)
		later(p, 0, p->back ? prepare : move_off);
	else
		log_error("lease %s: out of memory, it stays as it is", l->tree.lease);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* lease.c - the table of leases, and what a lease looks like to the outside. */
#include "core/agent/lease.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/agent/files.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/str.h"

struct lease *lease_find(const struct agent *a, const char *name)
{
	for (struct lease *l = a->leases; l; l = l->next)
		if (strcmp(l->tree.lease, name) == 0)
			return l;
	return NULL;
}

const struct lease *lease_using(const struct agent *a, const json_t *uuid)
{
	size_t i;
	json_t *device;
	for (const struct lease *l = a->leases; l; l = l->next)
		json_array_foreach(lease_devices(l), i, device)
			if (l->state != LEASE_ENDED && json_equal(uuid, device))
				return l;
	return NULL;
}

const json_t *lease_devices(const struct lease *l)
{
	static json_t *none;
	if (l->pause == LEASE_SUSPENDED && !none)
		none = json_array();
	return l->pause == LEASE_SUSPENDED ? none : l->pause == LEASE_RESUMING ? l->target : l->devices;
}

uint64_t lease_paused_ms(const struct lease *l)
{
	uint64_t now = proc_boottime_ms();
	return l->paused_ms + (l->paused_boot_ms && now > l->paused_boot_ms ? now - l->paused_boot_ms : 0);
}

/* It becomes the name of a folder and of a cgroup. */
bool lease_name_ok(const char *name)
{
	size_t n = 0;
	for (; name[n]; n++)
		if (!isalnum((unsigned char) name[n]) && (n == 0 || !strchr("._-", name[n])))
			return false;
	return n > 0 && n < SL_NAME_MAX && strcmp(name, "supervisors") != 0;
}

struct lease *lease_new(struct agent *a, const char *name)
{
	struct lease *l = calloc(1, sizeof *l);
	if (!l)
		return NULL;
	l->agent = a;
	l->state = LEASE_STARTING;
	l->tree.where = &a->containment;
	str_copy(l->tree.lease, sizeof l->tree.lease, str_of(name));
	snprintf(l->folder, sizeof l->folder, "%s/leases/%s", a->state, name);
	l->out.fd = l->err.fd = l->lock = l->stdin_fd = l->writers_fd = -1;
	l->supervisor_watch.fd = l->job_watch.fd = -1;
	l->devices = json_array();
	l->faulty = json_array();
	uv_timer_init(&a->loop, &l->timer);
	l->timer.data = l;
	l->handles = 1;
	l->next = a->leases;
	a->leases = l;
	a->n_leases++;
	return l;
}

/* A start that is not through yet has no program, but its devices are taken: running, with pid 0. */
static const char *state_word(const struct lease *l)
{
	static const char *const words[] = { "running", "running", "stopping", "releasing", "ended" };
	static const char *const pauses[] = { "running", "suspending", "suspended", "resuming" };
	return l->state == LEASE_RUNNING ? pauses[l->pause] : words[l->state];
}

/* How long its program has run by a clock that nobody sets, less what it was suspended for. */
static uint64_t run_ms(const struct lease *l)
{
	uint64_t now = proc_boottime_ms(), paused = lease_paused_ms(l);
	return l->started_boot_ms && now > l->started_boot_ms + paused ? now - l->started_boot_ms - paused : 0;
}

json_t *lease_json(const struct lease *l)
{
	json_t *o = json_pack("{s:s,s:s,s:i,s:I,s:O,s:I}", "lease", l->tree.lease, "state", state_word(l), "pid",
	                      (int) l->tree.job.pid, "uid", (json_int_t) l->uid, "devices",
	                      l->pause == LEASE_RESUMING ? l->target : l->devices, "started_ms", (json_int_t) l->started_ms);
	if (!o)
		return NULL;
	json_object_set_new(o, "paused_ms", json_integer((json_int_t) lease_paused_ms(l)));
	if (l->state == LEASE_RUNNING)
		json_object_set_new(o, "run_ms", json_integer((json_int_t) run_ms(l)));
	if (l->state != LEASE_ENDED)
		return o;
	json_object_set_new(o, "ended_ms", json_integer((json_int_t) l->ended_ms));
	json_object_set_new(o, "exit_code", json_integer(l->exit_code));
	json_object_set_new(o, "signal", json_integer(l->signal));
	json_set_str(o, "reason", str_of(l->reason));
	json_object_set_new(o, "memory_peak_bytes", json_integer((json_int_t) l->memory_peak));
	json_object_set_new(o, "oom", json_boolean(l->oom));
	json_object_set_new(o, "output_lost_bytes", json_integer((json_int_t) l->output_lost));
	json_object_set(o, "faulty", l->faulty);
	return o;
}

static void lease_free(struct lease *l)
{
	log_file_close(&l->out);
	log_file_close(&l->err);
	if (l->lock >= 0)
		close(l->lock);
	json_decref(l->devices);
	json_decref(l->target);
	json_decref(l->faulty);
	json_decref(l->spec);
	buf_free(&l->stdin_rest);
	free(l);
}

void lease_handle_closed(uv_handle_t *handle)
{
	struct lease *l = handle->data;
	l->handles--;
	if (l->gone && l->handles == 0)
		lease_free(l);
}

static void watch_close(struct lease_watch *w)
{
	if (w->open)
		uv_close((uv_handle_t *) &w->poll, lease_handle_closed);
	if (w->fd >= 0)
		close(w->fd);
	w->open = false;
	w->fd = -1;
}

void lease_drop(struct lease *l)
{
	struct agent *a = l->agent;
	for (struct lease **at = &a->leases; *at; at = &(*at)->next)
		if (*at == l) {
			*at = l->next;
			a->n_leases--;
			break;
		}
	server_forget(a, l);
	pause_forget(l);
	frame_close(l->report);
	l->report = NULL;
	lease_input_close(l);
	watch_close(&l->supervisor_watch);
	watch_close(&l->job_watch);
	l->gone = true;
	uv_close((uv_handle_t *) &l->timer, lease_handle_closed);
}

int lease_forget(struct lease *l, sl_error *error)
{
	if (l->state != LEASE_ENDED)
		return error_set(error, SL_ECONFLICT, "lease %s has not ended: stop it first", l->tree.lease);
	files_remove_folder(l->folder);
	lease_drop(l);
	return SL_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* lease_state.c - what a later agent needs to know of a lease, and how it goes on with it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "core/agent/files.h"
#include "core/agent/lease.h"
#include "core/agent/supervise.h"
#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/str.h"

enum { ADOPT_RETRY_MS = 100 };

#define RECORD "lease.json"

int lease_save(const struct lease *l, sl_error *error)
{
	json_t *o = json_pack("{s:s,s:s,s:b,s:b,s:O,s:I,s:I,s:b,s:b,s:I,s:I,s:I,s:I,s:I}", "lease", l->tree.lease, "boot_id",
	                      l->agent->boot_id, "ended", l->state == LEASE_ENDED, "started", l->state != LEASE_STARTING,
	                      "devices", l->devices, "uid", (json_int_t) l->uid, "gid", (json_int_t) l->gid, "stdin",
	                      l->with_stdin, "stdin_open", l->stdin_open, "log_bytes", (json_int_t) l->log_bytes, "limit_ms",
	                      (json_int_t) l->limit_ms, "notice_ms", (json_int_t) l->notice_ms, "started_ms",
	                      (json_int_t) l->started_ms, "started_boot_ms", (json_int_t) l->started_boot_ms);
	json_object_set_new(o, "pid", json_integer(l->tree.job.pid));
	json_object_set_new(o, "pause", json_integer(l->pause));
	json_object_set_new(o, "paused_ms", json_integer((json_int_t) l->paused_ms));
	json_object_set_new(o, "paused_boot_ms", json_integer((json_int_t) l->paused_boot_ms));
	if (l->target)
		json_object_set(o, "target", l->target);
	json_object_set_new(o, "stop_asked", json_boolean(l->stop_asked));
	json_object_set_new(o, "kill_at_ms", json_integer((json_int_t) l->kill_at_ms));
	json_set_str(o, "reason", str_of(l->reason));
	json_object_set_new(o, "out_base", json_integer((json_int_t) l->out.base));
	json_object_set_new(o, "err_base", json_integer((json_int_t) l->err.base));
	if (l->state == LEASE_ENDED) {
		json_object_set_new(o, "ended_ms", json_integer((json_int_t) l->ended_ms));
		json_object_set_new(o, "exit_code", json_integer(l->exit_code));
		json_object_set_new(o, "signal", json_integer(l->signal));
		json_object_set_new(o, "memory_peak", json_integer((json_int_t) l->memory_peak));
		json_object_set_new(o, "oom", json_boolean(l->oom));
		json_object_set_new(o, "output_lost", json_integer((json_int_t) l->output_lost));
		json_object_set(o, "faulty", l->faulty);
	}
	int rc = files_write_json(l->folder, RECORD, o, error);
	json_decref(o);
	return rc;
}

static uint64_t get_u64(const json_t *o, const char *key)
{
	int64_t v = json_get_int(o, key, 0);
	return v > 0 ? (uint64_t) v : 0;
}

static void take_array(json_t **to, const json_t *from)
{
	if (!json_is_array(from))
		return;
	json_decref(*to);
	*to = json_deep_copy(from);
}

static void load_record(struct lease *l, const json_t *o)
{
	l->uid = (unsigned) json_get_int(o, "uid", 65534);
	l->gid = (unsigned) json_get_int(o, "gid", 65534);
	l->with_stdin = json_get_bool(o, "stdin", false);
	l->stdin_open = json_get_bool(o, "stdin_open", false);
	l->log_bytes = get_u64(o, "log_bytes");
	l->limit_ms = get_u64(o, "limit_ms");
	l->notice_ms = get_u64(o, "notice_ms");
	l->started_ms = get_u64(o, "started_ms");
	l->started_boot_ms = get_u64(o, "started_boot_ms");
	l->stop_asked = json_get_bool(o, "stop_asked", false);
	l->kill_at_ms = get_u64(o, "kill_at_ms");
	l->tree.job.pid = (pid_t) json_get_int(o, "pid", 0);
	l->out.base = l->out.first = l->out.size = get_u64(o, "out_base");
	l->err.base = l->err.first = l->err.size = get_u64(o, "err_base");
	str_copy(l->reason, sizeof l->reason, str_of(json_get_str(o, "reason", "")));
	l->ended_ms = get_u64(o, "ended_ms");
	l->exit_code = (int) json_get_int(o, "exit_code", -1);
	l->signal = (int) json_get_int(o, "signal", 0);
	l->memory_peak = get_u64(o, "memory_peak");
	l->output_lost = get_u64(o, "output_lost");
	l->oom = json_get_bool(o, "oom", false);
	take_array(&l->devices, json_object_get(o, "devices"));
	take_array(&l->faulty, json_object_get(o, "faulty"));
	int64_t pause = json_get_int(o, "pause", LEASE_GOES);
	l->pause = pause > LEASE_GOES && pause <= LEASE_RESUMING ? (enum lease_pause) pause : LEASE_GOES;
	l->paused_ms = get_u64(o, "paused_ms");
	l->paused_boot_ms = get_u64(o, "paused_boot_ms");
	if (l->pause == LEASE_RESUMING) {
		l->target = json_array();
		take_array(&l->target, json_object_get(o, "target"));
	}
}

/* Is somebody holding the lease's lock? That is its supervisor, and nobody else can. */
static bool supervisor_lives(const struct lease *l)
{
	char path[PATH_MAX + 16];
	snprintf(path, sizeof path, "%s/%s", l->folder, SUPERVISE_LOCK_FILE);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool held = flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
	close(fd);
	return held;
}

static void read_report(struct lease *l)
{
	json_t *report = files_read_json(l->folder, SUPERVISE_REPORT, NULL);
	l->tree.supervisor.pid = (pid_t) json_get_int(report, "pid", 0);
	l->tree.supervisor.start = get_u64(report, "start");
	l->tree.job.pid = (pid_t) json_get_int(report, "job", 0);
	l->tree.job.start = get_u64(report, "job_start");
	json_decref(report);
}

/* Goes on with a lease of this boot, wherever its program and its supervisor are. */
static void look(struct lease *l)
{
	bool lives = supervisor_lives(l), has_status;
	read_report(l);
	json_t *status = files_read_json(l->folder, SUPERVISE_STATUS, NULL);
	has_status = status != NULL;
	json_decref(status);
	if (lives && !l->tree.job.pid && !has_status)
		return; /* it is just starting the program: the timer comes again */
	uv_timer_stop(&l->timer);
	if (!l->started_ms)
		l->started_ms = clock_wall_ms();
	if (!l->started_boot_ms)
		l->started_boot_ms = proc_boottime_ms();
	if (!lives && !l->tree.supervisor.pid && !has_status && !l->reason[0])
		str_copy(l->reason, sizeof l->reason, STR("the agent was restarted before the program had started"));
	log_info("lease %s: adopted, its program %s", l->tree.lease, lives && !has_status ? "is running" : "has ended");
	l->state = LEASE_RUNNING;
	lease_watch_begin(l);
	pause_adopt(l);
}

static void look_again(uv_timer_t *timer)
{
	look(timer->data);
}

static void after_reboot(struct lease *l)
{
	str_copy(l->reason, sizeof l->reason, STR("the machine was restarted"));
	l->stop_asked = true;
	l->tree.supervisor.pid = l->tree.job.pid = 0;
	l->state = LEASE_RUNNING;
	lease_finish(l);
}

static void adopt(struct agent *a, const char *name)
{
	char folder[PATH_MAX];
	sl_error e = { 0 };
	if (!lease_name_ok(name) || a->n_leases >= AGENT_LEASES_MAX) {
		log_warn("%s/leases/%s is not a lease of ours, or there are too many: left alone", a->state, name);
		return;
	}
	snprintf(folder, sizeof folder, "%s/leases/%s", a->state, name);
	json_t *o = files_read_json(folder, RECORD, &e);
	if (!o) {
		log_warn("%s: %s; nothing was started for it, the folder is removed", folder, e.text);
		files_remove_folder(folder);
		return;
	}
	struct lease *l = lease_new(a, name);
	if (!l) {
		json_decref(o);
		return;
	}
	load_record(l, o);
	log_file_open(&l->out, l->folder, SUPERVISE_OUT);
	log_file_open(&l->err, l->folder, SUPERVISE_ERR);
	if (json_get_bool(o, "ended", false)) {
		l->state = LEASE_ENDED;
	} else if (strcmp(json_get_str(o, "boot_id", ""), a->boot_id) != 0) {
		after_reboot(l);
	} else {
		uv_timer_start(&l->timer, look_again, ADOPT_RETRY_MS, ADOPT_RETRY_MS);
		look(l);
	}
	json_decref(o);
}

void lease_adopt_all(struct agent *a)
{
	char path[PATH_MAX + 16];
	snprintf(path, sizeof path, "%s/leases", a->state);
	DIR *dir = opendir(path);
	if (!dir)
		return;
	for (struct dirent *entry; (entry = readdir(dir));)
		if (entry->d_name[0] != '.')
			adopt(a, entry->d_name);
	closedir(dir);
}

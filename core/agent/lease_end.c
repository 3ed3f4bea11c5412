/* SPDX-License-Identifier: Apache-2.0 */
/* lease_end.c - watches a lease's program, and ends all of it. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/agent/files.h"
#include "core/agent/lease.h"
#include "core/agent/supervise.h"
#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/str.h"

enum {
	TICK_MS = 50,           /* between two looks at a tree that is ending */
	TICK_SLOW_MS = 500,     /* once it is a second past the KILL */
	LIMIT_LOOK_MS = 60000,  /* timers of the loop stand still while the machine sleeps; limits do not */
	SIGNAL_PROCESS_GROUP = 4 /* PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9 */
};

static void tick(uv_timer_t *timer);
static void look_at_limit(uv_timer_t *timer);

/* How the program ended, in the supervisor's words, or ours where it was killed before it could write. */
static void read_status(struct lease *l)
{
	json_t *status = files_read_json(l->folder, SUPERVISE_STATUS, NULL);
	uint64_t peak = 0;
	if (status) {
		l->exit_code = (int) json_get_int(status, "exit_code", -1);
		l->signal = (int) json_get_int(status, "signal", 0);
		l->ended_ms = (uint64_t) json_get_int(status, "ended_ms", 0);
		peak = (uint64_t) json_get_int(status, "memory_peak", 0);
		l->output_lost = (uint64_t) json_get_int(status, "output_lost", 0);
		if (!l->reason[0])
			str_copy(l->reason, sizeof l->reason, str_of(json_get_str(status, "reason", "")));
	} else {
		l->exit_code = -1;
		l->signal = 0;
		if (!l->reason[0])
			str_copy(l->reason, sizeof l->reason,
			         STR("its supervisor was killed; what was left of the program was ended"));
	}
	json_decref(status);
	tree_memory(&l->tree, &l->memory_peak, &l->oom);
	if (!l->memory_peak)
		l->memory_peak = peak;
	if (l->oom && !l->reason[0])
		str_copy(l->reason, sizeof l->reason, STR("the kernel killed it: out of memory"));
	if (!l->ended_ms)
		l->ended_ms = clock_wall_ms();
}

static void ended(struct lease *l)
{
	sl_error e = { 0 };
	l->state = LEASE_ENDED;
	if (lease_save(l, &e) != SL_OK)
		log_error("lease %s: %s", l->tree.lease, e.text);
	log_info("lease %s: ended, exit code %d, signal %d%s%s", l->tree.lease, l->exit_code, l->signal,
	         l->reason[0] ? ": " : "", l->reason);
	server_push_logs(l->agent, l);
	json_t *event = lease_json(l);
	json_object_set_new(event, "event", json_string("ended"));
	server_event(l->agent, event);
}

/* What it was suspended for ends with it. */
static void close_pause(struct lease *l)
{
	l->paused_ms = lease_paused_ms(l);
	l->paused_boot_ms = 0;
}

static void released(void *arg, json_t *faulty)
{
	struct lease *l = arg;
	json_decref(l->faulty);
	l->faulty = faulty;
	ended(l);
}

static void release(struct lease *l)
{
	uv_timer_stop(&l->timer);
	lease_input_close(l);
	l->state = LEASE_RELEASING;
	read_status(l);
	tree_remove(&l->tree);
	log_file_tick(&l->out, l->log_bytes);
	log_file_tick(&l->err, l->log_bytes);
	close_pause(l);
	release_devices(l->agent, lease_devices(l), l->tree.lease, released, l);
}

/* KILL did not help, so something is stuck in the kernel, most likely in the devices' driver. */
static void give_up(struct lease *l)
{
	size_t i;
	json_t *uuid;
	uv_timer_stop(&l->timer);
	lease_input_close(l);
	read_status(l);
	close_pause(l);
	json_array_foreach(lease_devices(l), i, uuid)
		json_array_append_new(l->faulty, json_pack("{s:O,s:o}", "uuid", uuid, "reason",
			json_sprintf("processes of lease %s are still there %d s after KILL", l->tree.lease, AGENT_STUCK_MS / 1000)));
	log_error("lease %s: processes are still there %d s after KILL, its devices are called faulty", l->tree.lease,
	          AGENT_STUCK_MS / 1000);
	ended(l);
}

static void tick(uv_timer_t *timer)
{
	struct lease *l = timer->data;
	uint64_t now = proc_boottime_ms();
	if (tree_empty(&l->tree)) {
		release(l);
		return;
	}
	if (now < l->kill_at_ms)
		return;
	tree_kill(&l->tree);
	if (!l->killed_ms)
		l->killed_ms = now;
	if (now - l->killed_ms >= AGENT_STUCK_MS)
		give_up(l);
	else if (now - l->killed_ms > 1000)
		uv_timer_start(timer, tick, TICK_SLOW_MS, TICK_SLOW_MS);
}

static void begin_stopping(struct lease *l, uint64_t kill_in_ms)
{
	l->state = LEASE_STOPPING;
	l->kill_at_ms = proc_boottime_ms() + kill_in_ms;
	if (l->pause != LEASE_GOES)
		tree_thaw(&l->tree); /* what stands still hears no TERM */
	if (kill_in_ms) {
		tree_signal(&l->tree, SIGTERM);
		tree_signal(&l->tree, SIGCONT);
	}
	uv_timer_start(&l->timer, tick, TICK_MS, TICK_MS);
}

void lease_finish(struct lease *l)
{
	begin_stopping(l, 0);
	tick(&l->timer);
}

void lease_stop(struct lease *l, uint64_t notice_ms, const char *reason)
{
	if (l->state >= LEASE_RELEASING)
		return;
	/* A second stop can only make it sooner. */
	bool sooner = l->state == LEASE_STOPPING && proc_boottime_ms() + notice_ms < l->kill_at_ms;
	bool first = !l->stop_asked;
	l->stop_asked = true;
	if (first && !l->reason[0])
		str_copy(l->reason, sizeof l->reason, str_of(reason));
	if (l->state == LEASE_STARTING) {
		l->notice_ms = notice_ms;
		return;
	}
	if (l->state == LEASE_RUNNING)
		begin_stopping(l, notice_ms);
	else if (sooner)
		l->kill_at_ms = proc_boottime_ms() + notice_ms;
	lease_save(l, NULL);
	if (notice_ms == 0)
		tick(&l->timer);
}

static void watch_stop(struct lease_watch *w)
{
	uv_poll_stop(&w->poll);
}

/* The program itself has ended; others of its tree get a moment. */
static void job_ended(uv_poll_t *poll, int status, int events)
{
	struct lease *l = poll->data;
	(void) status;
	(void) events;
	watch_stop(&l->job_watch);
	if (l->state == LEASE_RUNNING)
		begin_stopping(l, AGENT_REST_MS);
}

/* It goes when nothing is left, or was killed and must not be outlived. */
static void supervisor_ended(uv_poll_t *poll, int status, int events)
{
	struct lease *l = poll->data;
	(void) status;
	(void) events;
	watch_stop(&l->supervisor_watch);
	if (l->state == LEASE_RUNNING)
		begin_stopping(l, 0);
	if (l->state == LEASE_STOPPING)
		tick(&l->timer);
}

static bool watch_open(struct lease *l, struct lease_watch *w, const struct proc *p, uv_poll_cb ended_callback)
{
	w->fd = proc_open(p->pid, p->start);
	if (w->fd < 0 || uv_poll_init(&l->agent->loop, &w->poll, w->fd) < 0)
		return false;
	w->poll.data = l;
	w->open = true;
	l->handles++;
	return uv_poll_start(&w->poll, UV_READABLE, ended_callback) == 0;
}

static uint64_t limit_due(const struct lease *l)
{
	return l->started_boot_ms + lease_paused_ms(l) + l->limit_ms;
}

void lease_arm_limit(struct lease *l)
{
	if (!l->limit_ms || l->pause == LEASE_SUSPENDED || l->pause == LEASE_RESUMING)
		return;
	uint64_t now = proc_boottime_ms(), due = limit_due(l);
	uint64_t wait = due > now ? due - now : 0;
	uv_timer_start(&l->timer, look_at_limit, wait < LIMIT_LOOK_MS ? wait : LIMIT_LOOK_MS, 0);
}

static void look_at_limit(uv_timer_t *timer)
{
	struct lease *l = timer->data;
	char text[64], reason[128];
	if (l->state != LEASE_RUNNING || l->pause == LEASE_SUSPENDED || l->pause == LEASE_RESUMING)
		return; /* its time does not run; it is looked at again when it goes on */
	if (proc_boottime_ms() < limit_due(l)) {
		lease_arm_limit(l);
		return;
	}
	clock_duration(l->limit_ms, text, sizeof text);
	snprintf(reason, sizeof reason, "time limit of %s reached", text);
	lease_stop(l, l->notice_ms, reason);
}

void lease_watch_begin(struct lease *l)
{
	bool supervisor = watch_open(l, &l->supervisor_watch, &l->tree.supervisor, supervisor_ended);
	bool job = watch_open(l, &l->job_watch, &l->tree.job, job_ended);
	agent_watch_logs(l->agent);
	if (!supervisor) {
		lease_finish(l);
	} else if (l->stop_asked) {
		/* A stop that an earlier agent had begun keeps its time; one that came during the start begins now. */
		uint64_t now = proc_boottime_ms();
		uint64_t left = l->kill_at_ms ? (l->kill_at_ms > now ? l->kill_at_ms - now : 0) : l->notice_ms;
		begin_stopping(l, left);
	} else if (!job) {
		begin_stopping(l, AGENT_REST_MS);
	} else {
		lease_arm_limit(l);
	}
}

int lease_signal(struct lease *l, int signal, sl_error *error)
{
	if (l->state == LEASE_STARTING)
		return error_set(error, SL_EAGAIN, "the program of lease %s is being started", l->tree.lease);
	if (l->state > LEASE_STOPPING || l->job_watch.fd < 0 || proc_ended(l->job_watch.fd))
		return error_set(error, SL_ECONFLICT, "the program of lease %s has ended", l->tree.lease);
	if (syscall(SYS_pidfd_send_signal, l->job_watch.fd, signal, NULL, SIGNAL_PROCESS_GROUP) == 0)
		return SL_OK;
	/* Before Linux 6.9. The leader was alive a moment ago, so the group's number is still its own. */
	if ((errno == EINVAL || errno == EOPNOTSUPP) && kill(-l->tree.job.pid, signal) == 0)
		return SL_OK;
	return error_set(error, SL_EIO, "lease %s: signal %d cannot be sent: %s", l->tree.lease, signal, strerror(errno));
}

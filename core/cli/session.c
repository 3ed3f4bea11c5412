/* SPDX-License-Identifier: Apache-2.0 */
/* session.c - this terminal and a lease's program. */
#include "core/cli/session.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/cli/ending.h"
#include "core/cli/format.h"

enum { SLOT_SIGNAL, SLOT_STREAM, SLOT_ACTION, SLOT_FEED, SLOT_STDIN, SLOT_OUT, SLOT_ERR, SLOT_COUNT };
static const uint64_t SECOND = 1000000000u, QUIET_NS = 200000000u, ACTION_RETRY_NS = 200000000u;

bool session_signals(struct session *s)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		struct sigaction old;
		/* what nohup and the like have set to be ignored stays so */
		if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaddset(&set, numbers[i]);
	}
	sigprocmask(SIG_BLOCK, &set, NULL);
	s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signal_fd >= 0;
}

int session_next_signal(struct session *s)
{
	struct signalfd_siginfo info;
	return read(s->signal_fd, &info, sizeof info) == (ssize_t) sizeof info ? (int) info.ssi_signo : 0;
}

static void clear_line(struct session *s)
{
	if (s->line_shown)
		dprintf(STDERR_FILENO, "\r\033[K");
	s->line_shown = false;
}

/* One line that is redrawn while the lease waits; terminals only. */
static void draw_line(struct session *s, uint64_t now_ns)
{
	struct buf line = { 0 };
	if (!s->cli->tty_err || cli_is_json(s->cli) || s->begun || !s->state[0] || now_ns < s->line_ns)
		return;
	s->line_ns = now_ns + SECOND;
	buf_printf(&line, "\r\033[K%s waiting ", s->follow.lease);
	format_seconds(&line, (double) ((now_ns - s->started_ns) / SECOND));
	if (s->reason[0]) {
		buf_puts(&line, ": ");
		cli_put_clean(&line, s->reason);
	}
	buf_puts(&line, s->leave ? "; being cancelled"
	                : s->attached && s->follow.replica ? "; Ctrl-C leaves" : "; Ctrl-C cancels");
	if (!line.failed && write(STDERR_FILENO, line.data, line.len) > 0)
		s->line_shown = true;
	buf_free(&line);
}

/* Is the change worth a line? What passes in a moment, and the end, which has a line of its own, is not. */
static bool is_news(const struct session *s, const char *before, const char *state, const char *reason)
{
	if (s->begun)
		return strcmp(state, "suspended") == 0 ||
		       (strcmp(state, "running") == 0 && (*reason || strcmp(before, "resuming") == 0));
	return !s->cli->tty_err && (strcmp(state, "queued") == 0 || strcmp(state, "waiting") == 0);
}

static void on_changed(void *arg, const char *state, const char *reason)
{
	struct session *s = arg;
	char before[sizeof s->state];
	memcpy(before, s->state, sizeof before);
	bool same = strcmp(state, s->state) == 0 && strcmp(reason, s->reason) == 0;
	str_copy(s->state, sizeof s->state, str_of(state));
	str_copy(s->reason, sizeof s->reason, str_of(reason));
	s->line_ns = 0;
	static const char *const begun[] = { "running", "suspending", "suspended", "resuming", "releasing" };
	for (size_t i = 0; i < sizeof begun / sizeof begun[0]; i++) {
		if (strcmp(state, begun[i]) != 0)
			continue;
		s->begun = true;
		s->feed.ready = true;
		clear_line(s);
	}
	if (!same && is_news(s, before, state, reason))
		cli_note(s->cli, "%s %s%s%s", s->follow.lease, state, *reason ? ": " : "", reason);
}

static void on_log(void *arg, int source, const char *data, size_t len, int64_t gap)
{
	struct session *s = arg;
	clear_line(s);
	if (gap > 0)
		cli_note(s->cli, "sluicectl: %lld bytes of output are missing here: they are no longer kept", (long long) gap);
	/* What an attach finds gone was lost before its time. */
	if (gap > 0 && (!s->attached || s->heard[source]))
		s->missing += gap;
	s->heard[source] = true;
	sink_put(&s->sink[source], data, len);
}

static void on_lost(void *arg, bool lost)
{
	struct session *s = arg;
	clear_line(s);
	if (lost)
		cli_note(s->cli, "%s: no connection to sluiced, trying again for %d s", s->follow.lease,
		         s->follow.give_up_ms / 1000);
	else
		cli_note(s->cli, "%s: connected again", s->follow.lease);
}

static void say_come_back(struct session *s, const char *why)
{
	clear_line(s);
	cli_note(s->cli, "%s: %s goes on. Come back: sluicectl attach %s", why, s->follow.lease, s->follow.lease);
}

static void ask_release(struct session *s)
{
	s->release = !s->releasing;
	s->releasing = true;
}

static void pass_signal(struct session *s, int number)
{
	if (s->n_signals < SESSION_SIGNALS_MAX)
		s->signals[s->n_signals++] = number;
}

/* Leaves the program alone. */
static void detach(struct session *s, int number)
{
	say_come_back(s, number == SIGHUP ? "hung up" : "detached");
	s->left = 128 + number;
}

/* TERM to an attach is meant for the attach: kill, timeout and a service manager send it. What the keyboard sends is for
 * the program, as in run; but a model's replica is nobody's foreground job. */
static bool is_for_us(const struct session *s, int number)
{
	return s->attached && (number == SIGTERM || s->follow.replica || s->follow.messages == 0);
}

static void take_interrupt(struct session *s, uint64_t now_ns)
{
	bool again = s->interrupt_ns && now_ns - s->interrupt_ns <= 2 * SECOND;
	s->interrupt_ns = now_ns;
	if (s->leave || (again && s->releasing)) {
		clear_line(s);
		cli_note(s->cli, "%s is being released", s->follow.lease);
		s->left = s->leave ? s->leave : 130;
	} else if (!s->begun) {
		s->leave = 130;
		ask_release(s);
	} else if (again) {
		cli_note(s->cli, "%s: releasing it", s->follow.lease);
		ask_release(s);
	} else {
		pass_signal(s, SIGINT);
	}
}

static void take_signal(struct session *s, int number, uint64_t now_ns)
{
	if (number == SIGHUP && s->end_on_hangup) {
		s->leave = 129;
		ask_release(s);
	} else if (number == SIGHUP || is_for_us(s, number)) {
		detach(s, number);
	} else if (number == SIGINT) {
		take_interrupt(s, now_ns);
	} else if (s->begun) {
		pass_signal(s, number);
	} else {
		s->leave = 128 + number;
		ask_release(s);
	}
}

static void start_action(struct session *s)
{
	struct buf target = { 0 };
	char body[32] = "";
	s->action_is_release = s->release;
	buf_puts(&target, "/v1/gpu/leases/");
	cli_put_escaped(&target, s->follow.lease);
	if (!s->release) {
		buf_puts(&target, "/signal");
		snprintf(body, sizeof body, "{\"signal\":%d}", s->signals[0]);
	}
	buf_put(&target, "", 1);
	if (!target.failed)
		client_start(&s->action, s->follow.address, s->release ? "DELETE" : "POST", target.data,
		             s->release ? NULL : "application/json", str_of(body));
	buf_free(&target);
}

static void action_over(struct session *s)
{
	bool failed = s->action.state == CLIENT_DONE && s->action.status / 100 != 2 && s->action.status != 404 &&
	              s->action.status != 409;
	if (failed) {
		clear_line(s);
		cli_fail_answer(s->cli, s->action.status, buf_str(&s->action.body));
	}
	if (s->action_is_release) {
		s->release = false;
		s->releasing = !failed;
	} else {
		s->n_signals--;
		memmove(s->signals, s->signals + 1, (size_t) s->n_signals * sizeof s->signals[0]);
	}
	client_close(&s->action);
}

static void step_action(struct session *s, bool movable, uint64_t now_ns)
{
	if (s->action.state == CLIENT_IDLE && (s->release || s->n_signals) && now_ns >= s->action_retry_ns)
		start_action(s);
	else if (movable)
		client_step(&s->action);
	if (s->action.state == CLIENT_FAILED && !s->action.sent) { /* sluiced is away: again when it may be back */
		client_close(&s->action);
		s->action_retry_ns = now_ns + ACTION_RETRY_NS;
	} else if (s->action.state == CLIENT_DONE || s->action.state == CLIENT_FAILED) {
		action_over(s);
	}
}

/* The backlog is over when nothing came for a moment: what is held back is cut to its last lines. */
static void step_hold(struct session *s, uint64_t now_ns)
{
	if (s->sink[0].hold && s->follow.messages && now_ns - s->follow.heard_ns > QUIET_NS) {
		sink_release(&s->sink[0], s->tail);
		sink_release(&s->sink[1], s->tail);
	}
}

static int timeout_of(const struct session *s, uint64_t now_ns)
{
	int most = s->sink[0].hold ? 50 : 1000;
	most = feed_timeout(&s->feed, now_ns, most);
	if (s->action.state == CLIENT_IDLE && (s->release || s->n_signals))
		most = most < 50 ? most : 50;
	return follow_timeout(&s->follow, now_ns, most);
}

static void fill_poll(struct session *s, struct pollfd *p)
{
	bool full = s->sink[0].pending.len > SINK_FULL || s->sink[1].pending.len > SINK_FULL;
	for (int i = 0; i < SLOT_COUNT; i++)
		p[i] = (struct pollfd){ .fd = -1 };
	p[SLOT_SIGNAL] = (struct pollfd){ .fd = s->signal_fd, .events = POLLIN };
	if (client_events(&s->follow.call) && !(full && !s->sink[0].hold))
		p[SLOT_STREAM] = (struct pollfd){ .fd = s->follow.call.fd, .events = client_events(&s->follow.call) };
	if (client_events(&s->action))
		p[SLOT_ACTION] = (struct pollfd){ .fd = s->action.fd, .events = client_events(&s->action) };
	if (client_events(&s->feed.call))
		p[SLOT_FEED] = (struct pollfd){ .fd = s->feed.call.fd, .events = client_events(&s->feed.call) };
	if (feed_wants(&s->feed))
		p[SLOT_STDIN] = (struct pollfd){ .fd = STDIN_FILENO, .events = POLLIN };
	for (int i = 0; i < 2; i++)
		if (sink_waits(&s->sink[i]))
			p[SLOT_OUT + i] = (struct pollfd){ .fd = s->sink[i].fd, .events = POLLOUT };
}

/* A reader of our output that has gone: like a hangup, but said by the pipe. */
static void check_sinks(struct session *s)
{
	struct sink *out = &s->sink[0];
	if (!out->gone || s->left >= 0 || s->releasing || s->told_gone)
		return;
	s->told_gone = true;
	if (out->why != EPIPE) {
		clear_line(s);
		cli_note(s->cli, "sluicectl: output cannot be written: %s. What is kept of it: sluicectl logs %s", strerror(out->why),
		         s->follow.lease);
	} else if (s->end_on_hangup) {
		s->leave = 141;
		ask_release(s);
	} else {
		say_come_back(s, "nobody reads the output");
		s->left = 141;
	}
}

static enum follow_result step_all(struct session *s)
{
	struct pollfd p[SLOT_COUNT];
	uint64_t now_ns = clock_mono_ns();
	int number;
	fill_poll(s, p);
	if (poll(p, SLOT_COUNT, timeout_of(s, now_ns)) < 0 && errno != EINTR)
		return FOLLOW_FAILED;
	now_ns = clock_mono_ns();
	while ((number = session_next_signal(s)) != 0)
		take_signal(s, number, now_ns);
	step_action(s, p[SLOT_ACTION].revents != 0, now_ns);
	if (p[SLOT_STDIN].revents)
		feed_read(&s->feed);
	feed_step(&s->feed, p[SLOT_FEED].revents != 0, now_ns);
	for (int i = 0; i < 2; i++)
		if (p[SLOT_OUT + i].revents)
			sink_write(&s->sink[i], false);
	check_sinks(s);
	enum follow_result result = follow_step(&s->follow, p[SLOT_STREAM].revents != 0, now_ns);
	step_hold(s, now_ns);
	draw_line(s, now_ns);
	return result;
}

/* What is left of the output after the end; Ctrl-C and kin leave. */
static void drain_sinks(struct session *s)
{
	for (int i = 0; i < 2; i++)
		if (s->sink[i].hold)
			sink_release(&s->sink[i], s->tail);
	while (s->left < 0 && (sink_waits(&s->sink[0]) || sink_waits(&s->sink[1]))) {
		struct pollfd p[3] = { { .fd = s->signal_fd, .events = POLLIN }, { .fd = -1 }, { .fd = -1 } };
		for (int i = 0; i < 2; i++)
			if (sink_waits(&s->sink[i]))
				p[i + 1] = (struct pollfd){ .fd = s->sink[i].fd, .events = POLLOUT };
		poll(p, 3, -1);
		int number = session_next_signal(s);
		if (number)
			s->left = 128 + number;
		for (int i = 0; i < 2; i++)
			if (p[i + 1].revents)
				sink_write(&s->sink[i], false);
	}
}

static int session_failed(struct session *s)
{
	char try[96];
	clear_line(s);
	drain_sinks(s);
	snprintf(try, sizeof try, "sluicectl attach %s", s->follow.lease);
	if (s->follow.status)
		return cli_fail_answer(s->cli, s->follow.status, buf_str(&s->follow.call.body));
	return cli_fail(s->cli, CLI_NO_SERVER, try, "%s; %s goes on without this terminal", s->follow.error.text,
	                s->follow.lease);
}

/* The program's own failure says more than that its output is incomplete; its success would be misleading. */
static int exit_of(struct session *s)
{
	int code = ending_exit(s->follow.ended);
	/* What its log could not take is in no offset. */
	s->missing += json_get_int(s->follow.ended, "output_lost_bytes", 0);
	if (s->missing == 0)
		return code;
	cli_note(s->cli, "sluicectl: the output of %s is incomplete: %lld bytes are missing", s->follow.lease,
	         (long long) s->missing);
	return code == CLI_DONE ? CLI_INCOMPLETE : code;
}

int session_run(struct session *s)
{
	enum follow_result result = FOLLOW_GOING;
	s->started_ns = clock_mono_ns();
	s->left = -1;
	s->action.fd = -1;
	s->sink[0].fd = STDOUT_FILENO;
	s->sink[1].fd = STDERR_FILENO;
	s->sink[0].hold = s->sink[1].hold = s->tail >= 0;
	s->follow.address = &s->cli->address;
	s->follow.give_up_ms = s->cli->timeout_ms;
	s->follow.attached = true;
	s->follow.arg = s;
	s->follow.log = on_log;
	s->follow.changed = on_changed;
	s->follow.lost = on_lost;
	follow_start(&s->follow, s->started_ns);
	feed_start(&s->feed, &s->cli->address, s->follow.lease, s->stdin_on);
	while (result == FOLLOW_GOING && s->left < 0)
		result = step_all(s);
	if (result == FOLLOW_FAILED)
		return session_failed(s);
	clear_line(s);
	if (result == FOLLOW_ENDED)
		drain_sinks(s);
	if (s->sink[0].why != EPIPE)
		check_sinks(s);
	if (s->left >= 0)
		return s->left;
	return s->leave && !s->begun ? s->leave : exit_of(s);
}

void session_close(struct session *s)
{
	follow_close(&s->follow);
	feed_close(&s->feed);
	client_close(&s->action);
	buf_free(&s->sink[0].pending);
	buf_free(&s->sink[1].pending);
	if (s->signal_fd > 0)
		close(s->signal_fd);
}

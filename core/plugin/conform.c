/* SPDX-License-Identifier: Apache-2.0 */
/* conform.c - runs the checks of a kind on a plugin, in child processes: one that crashes or hangs fails its check, and
 * the next one gets a new child. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/plugin/conform.h"

enum { OPEN_MS = 15000 };

/* What a child tells: shorter than PIPE_BUF, so each comes whole. */
struct word {
	int check; /* -1: open */
	enum conform_result result;
	char why[256];
};

__attribute__((format(printf, 3, 0)))
static void set(struct conform *c, enum conform_result result, const char *format, va_list args)
{
	if (c->result == CONFORM_FAILED) /* the first reason counts */
		return;
	c->result = result;
	vsnprintf(c->why, sizeof c->why, format, args);
}

void conform_fail(struct conform *c, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	set(c, CONFORM_FAILED, format, args);
	va_end(args);
}

void conform_skip(struct conform *c, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	set(c, CONFORM_SKIPPED, format, args);
	va_end(args);
}

static void say(int fd, int check, enum conform_result result, const char *why)
{
	struct word w = { .check = check, .result = result };
	str_copy(w.why, sizeof w.why, str_of(why));
	if (write(fd, &w, sizeof w) != (ssize_t) sizeof w)
		_exit(1);
}

static _Noreturn void child(const struct plugin_spec *spec, int first, int fd)
{
	static const int deadly[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGTERM, SIGALRM };
	static const struct plugin_services none;
	sl_error e = { 0 };
	setpgid(0, 0);
	for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++)
		signal(deadly[i], SIG_DFL);
	say(fd, -1, CONFORM_BEGUN, "");
	struct plugin *p = plugin_open(spec, &none, NULL, &e);
	say(fd, -1, p ? CONFORM_OK : CONFORM_FAILED, e.text);
	if (!p)
		_exit(0);
	for (int i = first; conform_backend[i].name; i++) {
		struct conform c = { .ops = plugin_ops(p), .self = plugin_self(p), .caps = plugin_caps(p), .result = CONFORM_OK };
		say(fd, i, CONFORM_BEGUN, "");
		conform_backend[i].run(&c);
		say(fd, i, c.result, c.why);
	}
	plugin_close(p, 0);
	_exit(0);
}

/* The next word; false: the child said nothing until its time was over (*late), or has ended. */
static bool hear(int fd, unsigned limit_ms, struct word *w, bool *late)
{
	uint64_t end = clock_mono_ns() + limit_ms * 1000000ull;
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	*late = false;
	for (;;) {
		uint64_t now = clock_mono_ns();
		int n = now < end ? poll(&ready, 1, (int) ((end - now) / 1000000) + 1) : 0;
		if (n < 0 && errno == EINTR)
			continue;
		*late = n == 0;
		return n > 0 && read(fd, w, sizeof *w) == (ssize_t) sizeof *w;
	}
}

static void put(json_t *list, int check, enum conform_result result, const char *why)
{
	static const char *const words[] = { "failed", "ok", "failed", "skipped" };
	json_t *o = json_pack("{s:s, s:s}", "check", check < 0 ? "open" : conform_backend[check].name, "result", words[result]);
	json_set_str(o, "promise", str_of(check < 0 ? "loads, takes its options, opens" : conform_backend[check].promise));
	json_set_str(o, "why", str_of(why));
	json_array_append_new(list, o);
}

/* One child's checks from `first` on. Returns the check to go on with, -1: all are through or none can be. */
static int run(const struct plugin_spec *spec, int first, json_t *list)
{
	int ends[2], status = 0, at = -1;
	char why[256];
	bool late = false, begun = false;
	struct word w;
	if (pipe2(ends, O_CLOEXEC) != 0)
		return -1;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		child(spec, first, ends[1]);
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		put(list, -1, CONFORM_FAILED, "no process can be started");
		return -1;
	}
	setpgid(pid, pid);
	while (hear(ends[0], at < 0 ? OPEN_MS : conform_backend[at].limit_ms, &w, &late)) {
		at = w.check;
		begun = w.result == CONFORM_BEGUN;
		if (!begun && (at >= 0 || first == 0 || w.result != CONFORM_OK))
			put(list, at, w.result, w.why);
	}
	kill(-pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	close(ends[0]);
	if (!begun)
		return -1; /* it came to its end */
	if (late)
		snprintf(why, sizeof why, "did not return within %u s", (at < 0 ? OPEN_MS : conform_backend[at].limit_ms) / 1000);
	else if (WIFSIGNALED(status))
		snprintf(why, sizeof why, "killed its process: %s", strsignal(WTERMSIG(status)));
	else
		snprintf(why, sizeof why, "ended its process with exit status %d", WEXITSTATUS(status));
	put(list, at, CONFORM_FAILED, why);
	return at < 0 || !conform_backend[at + 1].name ? -1 : at + 1;
}

json_t *plugin_test_file(const char *path, const json_t *options)
{
	char here[PATH_MAX];
	snprintf(here, sizeof here, "%s%s", strchr(path, '/') ? "" : "./", path);
	struct plugin_spec spec = { .kind = SL_KIND_BACKEND, .name = here, .options = options };
	json_t *list = json_array();
	for (int next = 0; next >= 0;)
		next = run(&spec, next, list);
	return list;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* inspect.c - looks at plugins from a child process, which may crash or hang without harm.
 *
 * The child is forked and not executed anew, and goes on to allocate: so only programs with one thread (sluicectl)
 * may call this. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/plugin/plugin_private.h"

enum { REPORT_MAX = 1 << 20, SLICE_MS = 20 };

static json_t *option_json(const sl_option *o)
{
	static const char *const types[] = { "", "bool", "int", "duration", "bytes", "string", "enum", "secret", "path", "json" };
	json_t *out = json_object();
	json_set_str(out, "name", str_of(o->name));
	json_set_str(out, "type", str_of(o->type == SL_OPTION_ENUM ? o->values : types[o->type]));
	json_set_str(out, "default", str_of(o->default_text));
	json_set_str(out, "help", str_of(o->help));
	json_object_set_new(out, "required", json_boolean(o->flags & SL_OPTION_REQUIRED));
	json_object_set_new(out, "reloadable", json_boolean(o->flags & SL_OPTION_RELOADABLE));
	return out;
}

static void describe(const struct plugin *p, json_t *out)
{
	json_set_str(out, "kind", str_of(p->kind->name));
	json_set_str(out, "name", str_of(p->d.name));
	json_set_str(out, "version", str_of(p->d.version));
	json_set_str(out, "summary", str_of(p->d.summary));
	json_object_set_new(out, "abi", json_sprintf("%u.%u", p->d.abi_major, p->d.abi_minor));
	json_t *options = json_array();
	for (size_t i = 0; i < p->d.n_options; i++) {
		sl_option o = plugin_option_at(&p->d, i);
		json_array_append_new(options, option_json(&o));
	}
	json_object_set_new(out, "options", options);
}

/* In the child: everything up to check(), which is left out when options that it may need are not there. */
static json_t *look(const struct plugin_spec *spec)
{
	struct plugin_attempt a;
	struct plugin *p = NULL;
	enum plugin_refusal refusal;
	sl_error error = { 0 };
	json_t *out = json_object();
	if (plugin_attempt_init(&a, spec, &refusal, &error) && plugin_load(&a, NULL, true, &p)) {
		describe(p, out);
		if (!plugin_conf_complete(p->conf) || plugin_run(&a, p, false))
			plugin_free(p);
	}
	json_object_set_new(out, "status", json_integer(refusal));
	json_set_str(out, "refusal", str_of(error.text));
	return out;
}

static _Noreturn void child(const struct plugin_spec *spec, int fd)
{
	static const int deadly[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGTERM, SIGALRM };
	setpgid(0, 0);
	plugin_limit_ms -= plugin_limit_ms / 5; /* a check() that hangs is named by us, before the parent gives up */
	/* The parent reports the signal; a handler that it had would only hide it. */
	for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++)
		signal(deadly[i], SIG_DFL);
	char *text = json_text(look(spec));
	size_t len = text ? strlen(text) : 0;
	for (size_t done = 0; done < len;) {
		ssize_t n = write(fd, text + done, len - done);
		if (n < 0 && errno != EINTR)
			break;
		done += n > 0 ? (size_t) n : 0;
	}
	_exit(0);
}

/* Reads until the child has ended or the time is over. True: it has ended, *status says how. A process that the
 * file started may keep the pipe open, so its end is not waited for. */
static bool collect(pid_t pid, int fd, struct buf *out, int *status)
{
	uint64_t end = clock_mono_ns() + plugin_limit_ms * 1000000ull;
	for (;;) {
		bool ended = waitpid(pid, status, WNOHANG) == pid;
		char piece[4096];
		ssize_t n;
		while ((n = read(fd, piece, sizeof piece)) > 0)
			buf_put(out, piece, (size_t) n);
		if (ended)
			return true;
		if (clock_mono_ns() >= end)
			return false;
		struct pollfd ready = { .fd = fd, .events = POLLIN };
		if (n == 0) /* closed; its end is a matter of moments */
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		else
			poll(&ready, 1, SLICE_MS);
	}
}

static json_t *crashed(const struct plugin_spec *spec, const char *what, const char *detail)
{
	struct plugin_attempt a;
	sl_error error;
	if (plugin_attempt_init(&a, spec, NULL, &error))
		plugin_refuse(&a, PLUGIN_CRASH, "%s%s while it was loaded and checked; a constructor or check() of it, or of a "
		              "library that it needs, did this", what, detail);
	json_t *out = json_object();
	json_object_set_new(out, "status", json_integer(PLUGIN_CRASH));
	json_set_str(out, "refusal", str_of(error.text));
	return out;
}

static json_t *judge(const struct plugin_spec *spec, bool ended, int status, const struct buf *report)
{
	char text[64];
	if (!ended) {
		snprintf(text, sizeof text, "%u ms", plugin_limit_ms);
		return crashed(spec, "hung for more than ", text);
	}
	if (WIFSIGNALED(status)) {
		const char *name = sigabbrev_np(WTERMSIG(status));
		snprintf(text, sizeof text, "SIG%s", name ? name : "?");
		return crashed(spec, "killed its process with ", text);
	}
	json_t *out = report->failed ? NULL : json_parse(buf_str(report), NULL);
	if (out)
		return out;
	snprintf(text, sizeof text, "%d", WEXITSTATUS(status));
	return crashed(spec, "ended its process with exit status ", text);
}

/* Never NULL but when memory is out. */
static json_t *inspect(const struct plugin_spec *spec)
{
	int ends[2];
	struct buf report = { .max = REPORT_MAX };
	if (pipe2(ends, O_CLOEXEC) != 0)
		return crashed(spec, "could not be looked at: ", strerror(errno));
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		child(spec, ends[1]);
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return crashed(spec, "could not be looked at: ", strerror(errno));
	}
	setpgid(pid, pid); /* whoever comes first */
	int status = 0;
	bool ended = collect(pid, ends[0], &report, &status);
	kill(-pid, SIGKILL); /* and what it started */
	while (!ended && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	close(ends[0]);
	json_t *out = judge(spec, ended, status, &report);
	buf_free(&report);
	return out;
}

static void write_options(const json_t *options, struct buf *out)
{
	size_t i;
	json_t *o;
	if (json_array_size(options) == 0)
		buf_puts(out, "options: none\n");
	json_array_foreach(options, i, o) {
		const char *fallback = json_get_str(o, "default", "");
		buf_printf(out, "%s%-14s %-14s %s%s%s%s%s\n", i ? "         " : "options: ", json_get_str(o, "name", ""),
		           json_get_str(o, "type", ""), json_get_str(o, "help", ""), *fallback ? "; default " : "", fallback,
		           json_get_bool(o, "required", false) ? "; required" : "",
		           json_get_bool(o, "reloadable", false) ? "; reloadable" : "");
	}
}

enum plugin_refusal plugin_check_file(const char *path, struct buf *out)
{
	char here[PATH_MAX];
	/* "fair.so" in this folder is meant, not an installed plugin. */
	snprintf(here, sizeof here, "%s%s", strchr(path, '/') ? "" : "./", path);
	struct plugin_spec spec = { .name = here };
	json_t *report = inspect(&spec);
	enum plugin_refusal refusal = (enum plugin_refusal) json_get_int(report, "status", PLUGIN_CRASH);
	if (json_object_get(report, "name")) {
		buf_printf(out, "file:    %s\nplugin:  %s '%s' %s, ABI %s\nsummary: %s\n", path, json_get_str(report, "kind", ""),
		           json_get_str(report, "name", ""), json_get_str(report, "version", ""), json_get_str(report, "abi", ""),
		           json_get_str(report, "summary", ""));
		write_options(json_object_get(report, "options"), out);
	}
	buf_printf(out, "%s%s\n", refusal == PLUGIN_FINE ? "fine" : "", json_get_str(report, "refusal", "out of memory"));
	json_decref(report);
	return refusal;
}

bool plugin_name_file(const char *path, char kind[32], char name[SL_NAME_MAX])
{
	char here[PATH_MAX];
	snprintf(here, sizeof here, "%s%s", strchr(path, '/') ? "" : "./", path);
	json_t *report = inspect(&(struct plugin_spec){ .name = here });
	bool known = str_copy(kind, 32, str_of(json_get_str(report, "kind", ""))) && kind[0] &&
	             str_copy(name, SL_NAME_MAX, str_of(json_get_str(report, "name", "")));
	json_decref(report);
	return known;
}

static void list_file(json_t *list, uint32_t kind, const char *path)
{
	struct plugin_spec spec = { .kind = kind, .name = path };
	const char *stem = strrchr(path, '/') + 1;
	json_t *entry = inspect(&spec);
	json_object_del(entry, "status");
	json_object_del(entry, "options");
	json_set_str(entry, "path", str_of(path));
	json_set_str(entry, "kind", str_of(plugin_kind_name(kind)));
	if (!json_object_get(entry, "name"))
		json_set_str(entry, "name", (sl_str){ stem, strlen(stem) - 3 });
	json_array_append_new(list, entry);
}

static int is_plugin(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);
	return entry->d_name[0] != '.' && len > 3 && strcmp(entry->d_name + len - 3, ".so") == 0;
}

json_t *plugin_list(void)
{
	json_t *list = json_array();
	for (uint32_t kind = SL_KIND_BACKEND; plugin_kind_name(kind); kind++) {
		char folder[PATH_MAX], path[PATH_MAX + NAME_MAX + 2];
		struct dirent **names;
		snprintf(folder, sizeof folder, "%s/%s", plugin_folder(), plugin_kind_name(kind));
		int n = scandir(folder, &names, is_plugin, alphasort);
		for (int i = 0; i < n; i++) {
			snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
			list_file(list, kind, path);
			free(names[i]);
		}
		if (n >= 0)
			free(names);
	}
	return list;
}

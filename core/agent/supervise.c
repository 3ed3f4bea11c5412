/* SPDX-License-Identifier: Apache-2.0 */
/* supervise.c - the small process that stays with a lease's program from its start to its end. */
#include "config.h"

#include "core/agent/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/agent/files.h"
#include "core/agent/output.h"
#include "core/agent/proc.h"
#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/loop/frame.h"

#define SUPERVISE_ROOM "room"
enum { ROOM_BYTES = 64 * 1024 };

struct supervisor {
	json_t *spec;
	const char *folder;
	struct program program;
	struct output output;
	int children; /* signalfd: one has ended */
	pid_t job;
	json_t *status;
};

/* Of the one supervisor of this process, for the signal handler: close() is allowed in one. */
static volatile sig_atomic_t input_writer = -1;

static void asked_to_close_input(int signal_number)
{
	(void) signal_number;
	if (input_writer >= 0)
		close(input_writer);
	input_writer = -1;
}

/* What the forked child says when it could not become the program. */
struct failure {
	int error;
	char step[60]; /* empty: exec itself */
};

/* A full disk, most likely of this very program's output, must not hide how it ended: some room is kept for that. */
static void keep_room(const struct supervisor *s)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/%s", s->folder, SUPERVISE_ROOM);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int rc = fd < 0 ? errno : posix_fallocate(fd, 0, ROOM_BYTES);
	if (rc)
		log_warn("%s: %s", path, strerror(rc));
	if (fd >= 0)
		close(fd);
}

static void put_status(const struct supervisor *s)
{
	char path[PATH_MAX];
	sl_error e = { 0 };
	if (files_write_json(s->folder, SUPERVISE_STATUS, s->status, &e) == SL_OK)
		return;
	snprintf(path, sizeof path, "%s/%s", s->folder, SUPERVISE_ROOM);
	if (unlink(path) < 0 || files_write_json(s->folder, SUPERVISE_STATUS, s->status, &e) != SL_OK)
		log_error("%s", e.text);
}

static void write_status(struct supervisor *s, int exit_code, int signal_number, const char *reason)
{
	json_decref(s->status);
	s->status = json_pack("{s:i,s:i,s:I,s:I,s:I}", "exit_code", exit_code, "signal", signal_number, "ended_ms",
	                      (json_int_t) clock_wall_ms(), "memory_peak", (json_int_t) 0, "output_lost",
	                      (json_int_t) s->output.lost);
	json_set_str(s->status, "reason", (sl_str){ reason, strlen(reason) });
	put_status(s);
}

/* A member of the spec that is an array of strings, as execve wants it. Strings are borrowed from the spec. */
static char **strings_of(const json_t *array)
{
	size_t n = json_array_size(array);
	char **list = calloc(n + 6, sizeof *list);
	for (size_t i = 0; list && i < n; i++)
		list[i] = (char *) (uintptr_t) json_string_value(json_array_get(array, i));
	return list;
}

static void add_env(char **env, const char *name, const char *value)
{
	size_t len = strlen(name), n = 0;
	for (; env[n]; n++)
		if (strncmp(env[n], name, len) == 0 && env[n][len] == '=')
			return;
	if (asprintf(&env[n], "%s=%s", name, value) < 0)
		env[n] = NULL;
}

/* What a login would have set, where the request did not. Looking a user up may block; here it may. */
static void complete_env(struct program *p)
{
	add_env(p->env, "PATH", "/usr/local/bin:/usr/bin:/bin");
	struct passwd *user = getpwuid(p->uid);
	if (!user)
		return;
	p->user = strdup(user->pw_name);
	add_env(p->env, "HOME", user->pw_dir);
	add_env(p->env, "USER", user->pw_name);
	add_env(p->env, "LOGNAME", user->pw_name);
	add_env(p->env, "SHELL", user->pw_shell && *user->pw_shell ? user->pw_shell : "/bin/sh");
}

static int open_in(struct supervisor *s, const char *name, int flags)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/%s", s->folder, name);
	int fd = open(path, flags | O_CLOEXEC, 0600);
	/* A program may open /dev/stdout anew, as its own user. */
	if (fd >= 0 && geteuid() == 0 && fchown(fd, s->program.uid, s->program.gid) < 0)
		log_warn("%s: cannot be given to uid %u: %s", path, s->program.uid, strerror(errno));
	return fd;
}

static bool open_stdin(struct supervisor *s)
{
	if (!json_get_bool(s->spec, "stdin", false)) {
		s->program.in = open("/dev/null", O_RDONLY | O_CLOEXEC);
		return s->program.in >= 0;
	}
	/* A reader that does not wait for a writer comes first, then our writer, then the reader may block. */
	s->program.in = open_in(s, SUPERVISE_STDIN, O_RDONLY | O_NONBLOCK);
	if (s->program.in < 0)
		return false;
	/* It keeps the program's input open between two agents. */
	input_writer = open_in(s, SUPERVISE_STDIN, O_WRONLY);
	return input_writer >= 0 && fcntl(s->program.in, F_SETFL, 0) == 0;
}

static int open_output(struct supervisor *s, int stream, const char *name)
{
	int log = open_in(s, name, O_WRONLY | O_APPEND | O_CREAT);
	return log < 0 ? -1 : output_pipe(&s->output, stream, log, s->program.uid, s->program.gid);
}

static bool open_streams(struct supervisor *s)
{
	if (!open_stdin(s))
		return false;
	keep_room(s);
	s->output.ahead = (uint64_t) json_get_int(s->spec, "ahead", INT64_MAX);
	s->output.flow = open_in(s, OUTPUT_FLOW, O_RDONLY | O_CREAT);
	s->program.out = open_output(s, OUTPUT_OUT, SUPERVISE_OUT);
	s->program.err = open_output(s, OUTPUT_ERR, SUPERVISE_ERR);
	return s->program.out >= 0 && s->program.err >= 0;
}

/* Goes where supervisors live, and opens the door of the program's own cgroup. False: it cannot be opened. */
static bool join_cgroups(struct supervisor *s)
{
	char path[PATH_MAX + 16];
	const char *job = json_get_str(s->spec, "cgroup", ""), *own = json_get_str(s->spec, "supervisors", "");
	s->program.cgroup_procs = -1;
	if (!*job)
		return true;
	snprintf(path, sizeof path, "%s/cgroup.procs", own);
	int rc = files_put(path, "0");
	if (rc < 0)
		log_warn("%s: %s", path, strerror(-rc));
	snprintf(path, sizeof path, "%s/cgroup.procs", job);
	s->program.cgroup_procs = open(path, O_WRONLY | O_CLOEXEC);
	return s->program.cgroup_procs >= 0;
}

static void child(const struct program *p, int report)
{
	const char *step = "";
	program_become(p, &step);
	struct failure f = { .error = errno };
	snprintf(f.step, sizeof f.step, "%s", step);
	ssize_t written = write(report, &f, sizeof f);
	(void) written;
	_exit(127);
}

static void note_failure(struct supervisor *s, const struct failure *f)
{
	char reason[512];
	snprintf(reason, sizeof reason, "cannot run %s: %s%s%s", s->program.argv[0], f->step, *f->step ? ": " : "",
	         strerror(f->error));
	waitpid(s->job, NULL, 0);
	s->job = 0;
	write_status(s, f->error == ENOENT && !*f->step ? 127 : 126, 0, reason);
}

/* Forks the program. When it could not become what it should, that is its status. */
static void start(struct supervisor *s)
{
	int report[2];
	struct failure f;
	if (pipe2(report, O_CLOEXEC) < 0 || (s->job = fork()) < 0) {
		char reason[128];
		snprintf(reason, sizeof reason, "no process could be made: %s", strerror(errno));
		s->job = 0;
		write_status(s, 126, 0, reason);
		return;
	}
	if (s->job == 0)
		child(&s->program, report[1]);
	close(report[1]);
	ssize_t n = read(report[0], &f, sizeof f);
	close(report[0]);
	close(s->program.in);
	close(s->program.out);
	close(s->program.err);
	if (n == (ssize_t) sizeof f)
		note_failure(s, &f);
}

static json_t *report_of(const struct supervisor *s)
{
	struct proc own = { 0 }, job = { 0 };
	proc_read(getpid(), &own);
	if (s->job)
		proc_read(s->job, &job);
	return json_pack("{s:i,s:I,s:i,s:I}", "pid", (int) getpid(), "start", (json_int_t) own.start, "job", (int) s->job,
	                 "job_start", (json_int_t) job.start);
}

static void save_report(const struct supervisor *s, bool tell)
{
	sl_error e = { 0 };
	json_t *report = report_of(s);
	if (files_write_json(s->folder, SUPERVISE_REPORT, report, &e) != SL_OK)
		log_error("%s", e.text);
	/* The agent may have gone meanwhile; the next one reads the file. */
	if (tell)
		frame_emit(SUPERVISE_FD, report, NULL);
	json_decref(report);
}

/* Takes leave of those that have ended. False: nothing that descends from us is left. */
static bool reap(struct supervisor *s)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;
	while (read(s->children, &info, sizeof info) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == s->job && (WIFEXITED(status) || WIFSIGNALED(status)))
			write_status(s, WIFEXITED(status) ? WEXITSTATUS(status) : -1, WIFSIGNALED(status) ? WTERMSIG(status) : 0, "");
	return pid == 0 || errno != ECHILD;
}

/* Stays with everything that descends from us, and keeps what it says. */
static void wait_for_all(struct supervisor *s)
{
	while (reap(s))
		output_step(&s->output, s->children);
	output_rest(&s->output);
}

/* What is known once all have gone. */
static void note_rest(struct supervisor *s)
{
	struct rusage use;
	if (getrusage(RUSAGE_CHILDREN, &use) < 0 || !s->status)
		return;
	json_object_set_new(s->status, "output_lost", json_integer((json_int_t) s->output.lost));
	json_object_set_new(s->status, "memory_peak", json_integer((json_int_t) use.ru_maxrss * 1024));
	put_status(s);
}

static bool prepare(struct supervisor *s)
{
	struct program *p = &s->program;
	s->folder = json_get_str(s->spec, "folder", "");
	p->argv = strings_of(json_object_get(s->spec, "argv"));
	p->env = strings_of(json_object_get(s->spec, "env"));
	p->cwd = json_get_str(s->spec, "cwd", NULL);
	p->uid = (unsigned) json_get_int(s->spec, "uid", 65534);
	p->gid = (unsigned) json_get_int(s->spec, "gid", 65534);
	p->mask = (mode_t) json_get_int(s->spec, "umask", 022);
	if (!p->argv || !p->argv[0] || !p->env)
		return false;
	complete_env(p);
	/* execvpe looks names up in our PATH, and it must be the program's. */
	for (char **e = p->env; *e; e++)
		if (strncmp(*e, "PATH=", 5) == 0)
			setenv("PATH", *e + 5, 1);
	return true;
}

/* Descriptors 0, 1, 2 were the agent's; from here on they lead nowhere but the log. */
static void detach(struct supervisor *s)
{
	struct sigaction action = { .sa_handler = asked_to_close_input };
	sigset_t children;
	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	sigprocmask(SIG_BLOCK, &children, NULL);
	s->children = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
	s->output = (struct output){ { -1, -1 }, { -1, -1 }, .flow = -1 };
	sigaction(SIGUSR1, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_NAME, "sluice-job");
	fcntl(SUPERVISE_FD, F_SETFD, FD_CLOEXEC);
	fcntl(SUPERVISE_LOCK, F_SETFD, FD_CLOEXEC);
	if (chdir("/") < 0)
		log_warn("chdir /: %s", strerror(errno));
}

int supervise_main(void)
{
	static struct supervisor s; /* all of it is needed for as long as the process lives */
	sl_error e = { 0 };
	detach(&s);
	s.spec = frame_recv(SUPERVISE_FD, &e);
	if (!s.spec || !prepare(&s)) {
		log_error("a supervisor has got no program to start: %s", e.text);
		return 1;
	}
	save_report(&s, false);
	const char *missing = !join_cgroups(&s) ? "its cgroup" : !open_streams(&s) ? "its input or its logs" : NULL;
	if (missing) {
		char reason[128];
		snprintf(reason, sizeof reason, "%s cannot be opened: %s", missing, strerror(errno));
		write_status(&s, 126, 0, reason);
	} else {
		start(&s);
	}
	save_report(&s, true);
	close(SUPERVISE_FD);
	if (s.program.cgroup_procs >= 0)
		close(s.program.cgroup_procs);
	wait_for_all(&s);
	note_rest(&s);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* program.c - the last steps between the fork and the lease's program: nothing of the agent's comes along. */
#include "config.h"

#include "core/agent/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/agent/files.h"

static void reset_signals(void)
{
	sigset_t none;
	/* Past the C library, which keeps two signals to itself and leaves them ignored in what posix_spawn starts.
	 * All zero is the default action in the kernel's own struct, which is not larger than this on any machine. */
	static const unsigned long by_default[16];
	for (int s = 1; s < NSIG; s++)
		if (s != SIGKILL && s != SIGSTOP)
			syscall(SYS_rt_sigaction, s, by_default, NULL, 8ul);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* What a service manager sets for the agent is not the program's. The hard limits that the kernel gives its first
 * process are the best guess of a login's. Those that may not be raised stay. */
static void reset_limits(void)
{
	static const int unlimited[] = { RLIMIT_CPU, RLIMIT_FSIZE, RLIMIT_DATA, RLIMIT_RSS, RLIMIT_AS, RLIMIT_LOCKS };
	for (size_t i = 0; i < sizeof unlimited / sizeof *unlimited; i++) {
		struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
		setrlimit((__rlimit_resource_t) unlimited[i], &limit);
	}
	struct rlimit core = { 0, RLIM_INFINITY }, stack = { 8 << 20, RLIM_INFINITY }, files = { 1024, 1 << 20 };
	setrlimit(RLIMIT_CORE, &core);
	setrlimit(RLIMIT_STACK, &stack);
	if (setrlimit(RLIMIT_NOFILE, &files) < 0 && getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_max > 1024) {
		files.rlim_cur = 1024;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

static bool become_user(const struct program *p, const char **step)
{
	*step = "changing to its user";
	if (geteuid() != 0) {
		if (p->uid == geteuid())
			return true;
		errno = EPERM;
		return false;
	}
	gid_t gid = p->gid;
	if (p->user ? initgroups(p->user, gid) < 0 : setgroups(1, &gid) < 0)
		return false;
	return setresgid(gid, gid, gid) == 0 && setresuid(p->uid, p->uid, p->uid) == 0;
}

static bool take_streams(const struct program *p)
{
	/* The three may themselves be 0, 1 or 2 only if the supervisor was started without them; it is not. */
	return dup2(p->in, 0) == 0 && dup2(p->out, 1) == 1 && dup2(p->err, 2) == 2;
}

void program_become(const struct program *p, const char **step)
{
	*step = "joining its cgroup";
	if (p->cgroup_procs >= 0 && write(p->cgroup_procs, "0", 1) != 1)
		return;
	*step = "starting its session";
	if (setsid() < 0)
		return;
	reset_signals();
	reset_limits();
	files_put("/proc/self/oom_score_adj", "0");
	setpriority(PRIO_PROCESS, 0, 0);
	umask(p->mask);
	*step = "connecting its streams";
	if (!take_streams(p))
		return;
	if (!become_user(p, step))
		return;
	*step = "changing to its folder";
	if (chdir(p->cwd ? p->cwd : "/") < 0)
		return;
	/* The pipe that reports a failure of exec must live until then, so descriptors are marked, not closed. */
	syscall(SYS_close_range, 3u, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */);
	*step = "";
	execvpe(p->argv[0], p->argv, p->env);
}

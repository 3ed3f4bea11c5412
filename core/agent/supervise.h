/* SPDX-License-Identifier: Apache-2.0 */
/* supervise.h - the small process that stays with a lease's program from its start to its end.
 *
 * It is `sluice-agent --supervise`, started with two descriptors: SUPERVISE_FD, a socket on which it gets one
 * message (the spec) and answers with one (the report), and SUPERVISE_LOCK, the lease's locked lock file. The
 * lock is free again exactly when the supervisor has gone, whoever asks.
 *
 * Spec: {"folder", "argv": [..], "env": ["NAME=VALUE", ..], "cwd", "uid", "gid", "stdin": bool, "ahead" (see
 * struct output), "cgroup", "supervisors"} (the last two: folders, empty without cgroup v2).
 * Report, and the file supervisor.json: {"pid", "start", "job", "job_start"}; job 0: it could not be started.
 * File status.json, written when the program has ended and again when its last descendant has:
 * {"exit_code", "signal", "ended_ms", "memory_peak", "output_lost", "reason"}.
 *
 * The program's output comes to it through pipes and goes into the logs, see output.h. What is in a pipe when the
 * supervisor itself is killed is lost, as is the program.
 *
 * SIGUSR1 makes it close the program's input. */
#ifndef CORE_AGENT_SUPERVISE_H
#define CORE_AGENT_SUPERVISE_H

#include <jansson.h>

enum { SUPERVISE_FD = 3, SUPERVISE_LOCK = 4 };

#define SUPERVISE_REPORT "supervisor.json"
#define SUPERVISE_STATUS "status.json"
#define SUPERVISE_STDIN "stdin"
#define SUPERVISE_OUT "out.log"
#define SUPERVISE_ERR "err.log"
#define SUPERVISE_LOCK_FILE "lock"

/* The whole life of the process; its exit status. */
int supervise_main(void);

/* What the program needs, resolved before the fork. */
struct program {
	char **argv, **env;
	const char *cwd; /* NULL: / */
	unsigned uid, gid;
	mode_t mask;       /* umask */
	int cgroup_procs;  /* descriptor of cgroup.procs, -1: none */
	int in, out, err;
	const char *user;  /* name of uid, NULL: it has none */
};
/* In the forked child: leaves everything of the agent's behind and becomes the program. Returns only on failure,
 * with errno set and *step naming what failed. */
void program_become(const struct program *p, const char **step);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* tree.h - all processes of a lease: where they are held, how they are ended, and the proof that none is left.
 *
 * With cgroup v2 each lease has a cgroup of its own, from which its programs cannot leave. Without it the
 * supervisor's being a subreaper holds them together: whatever they fork descends from it. In both cases the
 * supervisor goes last, once it has no child. */
#ifndef CORE_AGENT_TREE_H
#define CORE_AGENT_TREE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sluice/types.h>

#include "core/agent/proc.h"

struct containment {
	bool cgroup2;
	char root[PATH_MAX]; /* MOUNT/sluice/HASH, the cgroup of this agent; empty without cgroup v2 */
	char mark[16];       /* HASH: names this agent's state folder */
	/* Is that child of ours a supervisor or a backend? Others are orphans of a killed supervisor, as the agent is
	 * a subreaper too. NULL: not known, then no child is looked at. */
	bool (*is_own_child)(const void *arg, pid_t pid);
	const void *own_children;
};

struct tree {
	const struct containment *where;
	char lease[SL_NAME_MAX];
	struct proc supervisor; /* pid 0: not started */
	struct proc job;
};

/* Finds out what this machine offers; `why` gets the reason when it is not cgroup v2. force_processes: do not
 * look for cgroups. */
void containment_open(struct containment *c, const char *state, bool force_processes, char *why, size_t room);
/* Takes the agent's cgroups away where nothing is left in them. */
void containment_close(const struct containment *c);
/* The cgroup that supervisors live in; empty without cgroup v2. */
void containment_supervisors(const struct containment *c, char *out, size_t room);

/* Makes the lease's cgroup. */
int tree_make(const struct tree *t, sl_error *error);
/* Its path, empty without cgroup v2. */
void tree_folder(const struct tree *t, char *out, size_t room);
/* "SLUICE_TREE=HASH/LEASE": stands in the environment of the lease's programs. */
void tree_mark(const struct tree *t, char *out, size_t room);
/* A signal to every process but the supervisor. */
void tree_signal(const struct tree *t, int signal);
/* Everything but the supervisor stands still, and goes on. Freezing takes a moment: ask tree_frozen, and freeze again
 * while it says no, as what cannot be frozen at once may start others. */
void tree_freeze(const struct tree *t);
bool tree_frozen(const struct tree *t);
void tree_thaw(const struct tree *t);
/* One round of KILL over everything but the supervisor; repeat until tree_empty. */
void tree_kill(const struct tree *t);
/* Nothing is left, the supervisor neither. */
bool tree_empty(const struct tree *t);
/* Its living processes but for the supervisor; the caller frees the array. NULL: they cannot be listed. */
struct proc *tree_members(const struct tree *t, size_t *n);
/* listens.c: do all sockets that listen on the TCP port belong to it? *own is false when none listens. */
int tree_listens(const struct tree *t, unsigned port, bool *own, sl_error *error);
/* Highest memory use (0: not known) and whether the kernel killed for lack of memory. Before tree_remove. */
void tree_memory(const struct tree *t, uint64_t *peak, bool *oom);
void tree_remove(const struct tree *t);

#endif

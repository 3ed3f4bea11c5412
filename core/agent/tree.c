/* SPDX-License-Identifier: Apache-2.0 */
/* tree.c - all processes of a lease: where they are held, how they are ended, the proof that none is left. */
#include "config.h"

#include "core/agent/tree.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/agent/files.h"
#include "core/base/error.h"
#include "core/base/hash.h"

/* Rounds of SIGSTOP: each catches what the round before forked meanwhile. */
enum { STOP_ROUNDS = 16 };

/* The mount point of the cgroup v2 tree, also where v1 controllers are mounted beside it. */
static bool find_cgroup2(char *out, size_t room)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	if (!file)
		return false;
	char *line = NULL;
	size_t size = 0;
	bool found = false;
	while (!found && getline(&line, &size, file) > 0) {
		char path[PATH_MAX];
		const char *type = strstr(line, " - ");
		if (!type || strncmp(type, " - cgroup2 ", 11) != 0 || sscanf(line, "%*d %*d %*s %*s %4095s", path) != 1)
			continue;
		found = (size_t) snprintf(out, room, "%s", path) < room;
	}
	free(line);
	fclose(file);
	return found;
}

/* Controllers serve for figures only (memory.peak), so a machine without them is fine. */
static void enable_controllers(const char *folder)
{
	static const char *const wanted[] = { "+memory", "+pids" };
	char path[PATH_MAX + 32];
	snprintf(path, sizeof path, "%s/cgroup.subtree_control", folder);
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
		files_put(path, wanted[i]);
}

static int make_root(struct containment *c, const char *mount)
{
	char top[PATH_MAX - 64], path[PATH_MAX + 32];
	if (snprintf(top, sizeof top, "%s/sluice", mount) >= (int) sizeof top)
		return -ENAMETOOLONG;
	int rc = files_make_folder(top, 0755);
	if (rc < 0)
		return rc;
	snprintf(c->root, sizeof c->root, "%s/%s", top, c->mark);
	rc = files_make_folder(c->root, 0755);
	if (rc < 0)
		return rc;
	enable_controllers(mount);
	enable_controllers(top);
	enable_controllers(c->root);
	snprintf(path, sizeof path, "%s/supervisors", c->root);
	return files_make_folder(path, 0755);
}

void containment_open(struct containment *c, const char *state, bool force_processes, char *why, size_t room)
{
	*c = (struct containment){ 0 };
	char mount[PATH_MAX];
	snprintf(c->mark, sizeof c->mark, "%08x", hash_crc32(state, strlen(state)));
	if (force_processes) {
		snprintf(why, room, "as asked for");
		return;
	}
	if (!find_cgroup2(mount, sizeof mount)) {
		snprintf(why, room, "no cgroup v2 tree is mounted");
		return;
	}
	int rc = make_root(c, mount);
	if (rc < 0) {
		snprintf(why, room, "no cgroup can be made below %s: %s", mount, strerror(-rc));
		c->root[0] = '\0';
		return;
	}
	c->cgroup2 = true;
}

void containment_close(const struct containment *c)
{
	char path[PATH_MAX + 32];
	if (!c->cgroup2)
		return;
	snprintf(path, sizeof path, "%s/supervisors", c->root);
	rmdir(path);
	rmdir(c->root);
}

void containment_supervisors(const struct containment *c, char *out, size_t room)
{
	snprintf(out, room, "%s%s", c->root, c->cgroup2 ? "/supervisors" : "");
}

void tree_folder(const struct tree *t, char *out, size_t room)
{
	if (t->where->cgroup2)
		snprintf(out, room, "%s/%s", t->where->root, t->lease);
	else
		out[0] = '\0';
}

void tree_mark(const struct tree *t, char *out, size_t room)
{
	snprintf(out, room, "SLUICE_TREE=%s/%s", t->where->mark, t->lease);
}

static void tree_file(const struct tree *t, const char *name, char *out, size_t room)
{
	snprintf(out, room, "%s/%s/%s", t->where->root, t->lease, name);
}

int tree_make(const struct tree *t, sl_error *error)
{
	char path[PATH_MAX];
	tree_folder(t, path, sizeof path);
	if (!path[0])
		return SL_OK;
	int rc = files_make_folder(path, 0755);
	if (rc < 0)
		return error_set(error, SL_EIO, "cannot make the cgroup %s: %s", path, strerror(-rc));
	return SL_OK;
}

/* Does the process at index i belong to the lease without looking at its parents? */
static bool is_root_of_tree(const struct tree *t, const struct proc *p, const char *mark, bool orphaned)
{
	if (!orphaned)
		return p->parent == t->supervisor.pid;
	/* The supervisor was killed, so its children have another parent now. */
	if (t->job.pid && p->session == t->job.pid && p->start >= t->job.start)
		return true;
	if (p->parent == getpid() && t->where->is_own_child && !t->where->is_own_child(t->where->own_children, p->pid))
		return true;
	return proc_has_env(p->pid, mark);
}

/* Members of the lease by descent; the caller frees. *n counts living ones (no zombies). */
static struct proc *members_by_descent(const struct tree *t, size_t *n)
{
	struct proc *all = proc_list(n);
	if (!all)
		return NULL;
	char mark[SL_NAME_MAX + 32];
	tree_mark(t, mark, sizeof mark);
	struct proc now;
	bool orphaned = !t->supervisor.pid || !proc_read(t->supervisor.pid, &now) || now.start != t->supervisor.start ||
	                now.state == 'Z';
	size_t found = 0;
	/* Members are moved to the front; a pass that finds none ends the search. */
	for (size_t before = SIZE_MAX; before != found;) {
		before = found;
		for (size_t i = found; i < *n; i++) {
			bool in = all[i].pid != t->supervisor.pid && before == 0 && is_root_of_tree(t, &all[i], mark, orphaned);
			for (size_t k = 0; k < found && !in; k++)
				in = all[i].parent == all[k].pid;
			if (!in)
				continue;
			struct proc swap = all[found];
			all[found++] = all[i];
			all[i] = swap;
		}
	}
	size_t living = 0;
	for (size_t i = 0; i < found; i++)
		if (all[i].state != 'Z' && all[i].state != 'X')
			all[living++] = all[i];
	*n = living;
	return all;
}

static void signal_by_descent(const struct tree *t, int signal)
{
	size_t n;
	struct proc *list = members_by_descent(t, &n);
	for (size_t i = 0; list && i < n; i++)
		proc_signal(&list[i], signal);
	free(list);
}

/* Stops the whole tree first, so that nothing can fork past the KILL. */
static void kill_by_descent(const struct tree *t)
{
	size_t stopped = 0, n = 0;
	for (int round = 0; round < STOP_ROUNDS; round++) {
		struct proc *list = members_by_descent(t, &n);
		for (size_t i = 0; list && i < n; i++)
			proc_signal(&list[i], SIGSTOP);
		free(list);
		if (!list || n <= stopped)
			break;
		stopped = n;
	}
	signal_by_descent(t, SIGKILL);
}

static bool in_cgroup(const struct tree *t, pid_t pid)
{
	char path[64], line[PATH_MAX], inside[PATH_MAX];
	snprintf(inside, sizeof inside, "/sluice/%s/%s", t->where->mark, t->lease);
	snprintf(path, sizeof path, "/proc/%d/cgroup", (int) pid);
	FILE *file = fopen(path, "re");
	bool member = false;
	while (file && !member && fgets(line, sizeof line, file)) {
		const char *at = strstr(line, inside);
		/* The program may have made cgroups within its own. */
		member = at && (at[strlen(inside)] == '/' || at[strlen(inside)] == '\n');
	}
	if (file)
		fclose(file);
	return member;
}

struct proc *tree_members(const struct tree *t, size_t *n)
{
	if (!t->where->cgroup2)
		return members_by_descent(t, n);
	struct proc *all = proc_list(n);
	size_t found = 0;
	for (size_t i = 0; all && i < *n; i++)
		if (in_cgroup(t, all[i].pid))
			all[found++] = all[i];
	*n = found;
	return all;
}

/* Calls proc_signal for each pid in cgroup.procs. False: the file cannot be read. */
static bool signal_cgroup(const struct tree *t, int signal)
{
	char path[PATH_MAX + 128];
	tree_file(t, "cgroup.procs", path, sizeof path);
	FILE *file = fopen(path, "re");
	if (!file)
		return false;
	for (int pid; fscanf(file, "%d", &pid) == 1;) {
		struct proc p;
		/* The start time is read first: if the pid changed hands since the list was made, the new owner is
		 * not in the cgroup; if it does so later, the start time will not fit. */
		if (proc_read((pid_t) pid, &p) && in_cgroup(t, (pid_t) pid))
			proc_signal(&p, signal);
	}
	fclose(file);
	return true;
}

/* populated of cgroup.events; false too when the cgroup is not there any more. */
static bool cgroup_populated(const struct tree *t)
{
	char path[PATH_MAX + 128], line[64];
	tree_file(t, "cgroup.events", path, sizeof path);
	return files_read_line(path, line, sizeof line) && strcmp(line, "populated 1") == 0;
}

void tree_signal(const struct tree *t, int signal)
{
	if (!t->where->cgroup2 || !signal_cgroup(t, signal))
		signal_by_descent(t, signal);
}

/* The cgroup's own freezer (Linux 5.2), which no process can see or undo. False: there is none. */
static bool freezer(const struct tree *t, const char *word)
{
	char path[PATH_MAX + 128];
	if (!t->where->cgroup2)
		return false;
	tree_file(t, "cgroup.freeze", path, sizeof path);
	return files_put(path, word) == 0;
}

void tree_freeze(const struct tree *t)
{
	if (!freezer(t, "1"))
		tree_signal(t, SIGSTOP);
}

void tree_thaw(const struct tree *t)
{
	if (!freezer(t, "0"))
		tree_signal(t, SIGCONT);
}

/* frozen of cgroup.events: 1, 0, or -1 where there is no such word. */
static int cgroup_frozen(const struct tree *t)
{
	char path[PATH_MAX + 128], line[64];
	int frozen = -1;
	if (!t->where->cgroup2)
		return -1;
	tree_file(t, "cgroup.events", path, sizeof path);
	FILE *file = fopen(path, "re");
	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "frozen %d", &frozen) == 1)
			break;
	if (file)
		fclose(file);
	return frozen;
}

bool tree_frozen(const struct tree *t)
{
	int frozen = cgroup_frozen(t);
	if (frozen >= 0)
		return frozen > 0;
	size_t n = 0;
	struct proc *list = tree_members(t, &n);
	bool all = list != NULL;
	for (size_t i = 0; i < n && all; i++)
		all = list[i].state == 'T' || list[i].state == 'Z' || list[i].state == 'X';
	free(list);
	return all;
}

void tree_kill(const struct tree *t)
{
	char path[PATH_MAX + 128];
	if (t->where->cgroup2 && cgroup_populated(t)) {
		tree_file(t, "cgroup.kill", path, sizeof path);
		if (files_put(path, "1") < 0)
			signal_cgroup(t, SIGKILL);
		return;
	}
	/* Also what a program with the right to do so has moved out of its cgroup. */
	kill_by_descent(t);
}

bool tree_empty(const struct tree *t)
{
	if (t->where->cgroup2 && cgroup_populated(t))
		return false;
	struct proc now;
	if (t->supervisor.pid && proc_read(t->supervisor.pid, &now) && now.start == t->supervisor.start &&
	    now.state != 'Z' && now.state != 'X')
		return false;
	if (t->where->cgroup2)
		return true;
	size_t n;
	struct proc *left = members_by_descent(t, &n);
	bool empty = left && n == 0;
	free(left);
	return empty;
}

void tree_memory(const struct tree *t, uint64_t *peak, bool *oom)
{
	char path[PATH_MAX + 128], line[128];
	*peak = 0;
	*oom = false;
	if (!t->where->cgroup2)
		return;
	tree_file(t, "memory.peak", path, sizeof path);
	if (files_read_line(path, line, sizeof line))
		*peak = strtoull(line, NULL, 10);
	tree_file(t, "memory.events", path, sizeof path);
	FILE *file = fopen(path, "re");
	unsigned long long kills;
	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "oom_kill %llu", &kills) == 1)
			*oom = kills > 0;
	if (file)
		fclose(file);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void) st;
	(void) where;
	if (type == FTW_DP)
		rmdir(path);
	return 0;
}

void tree_remove(const struct tree *t)
{
	char path[PATH_MAX];
	tree_folder(t, path, sizeof path);
	/* A program may have made cgroups within its own. */
	if (path[0] && rmdir(path) < 0 && errno != ENOENT)
		nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

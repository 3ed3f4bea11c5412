/* SPDX-License-Identifier: Apache-2.0 */
/* proc.c - processes, known by pid and start time and never by the bare pid. */
#include "core/agent/proc.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/agent/files.h"

bool proc_read(pid_t pid, struct proc *out)
{
	char path[64], line[1024];
	snprintf(path, sizeof path, "/proc/%d/stat", (int) pid);
	if (!files_read_line(path, line, sizeof line))
		return false;
	/* The name in parentheses may hold anything, also parentheses: what counts stands after the last one. */
	const char *rest = strrchr(line, ')');
	if (!rest)
		return false;
	int parent, session;
	unsigned long long start;
	char state;
	if (sscanf(rest + 1, " %c %d %*d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &state,
	           &parent, &session, &start) != 4)
		return false;
	*out = (struct proc){ .pid = pid, .parent = parent, .session = session, .start = start, .state = state };
	return true;
}

int proc_open(pid_t pid, uint64_t start)
{
	if (pid <= 0)
		return -1;
	int fd = (int) syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return -1;
	/* The pidfd holds on to whoever it is, so a look at the start time after it was opened is conclusive. */
	struct proc now;
	if (start && (!proc_read(pid, &now) || now.start != start)) {
		close(fd);
		return -1;
	}
	return fd;
}

bool proc_signal(const struct proc *p, int signal)
{
	int fd = proc_open(p->pid, p->start);
	if (fd < 0)
		return false;
	bool sent = syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0) == 0;
	close(fd);
	return sent;
}

struct proc *proc_list(size_t *n)
{
	DIR *dir = opendir("/proc");
	if (!dir)
		return NULL;
	size_t room = 256;
	struct proc *list = malloc(room * sizeof *list);
	*n = 0;
	for (struct dirent *entry; list && (entry = readdir(dir));) {
		if (!isdigit((unsigned char) entry->d_name[0]))
			continue;
		if (*n == room) {
			struct proc *more = realloc(list, 2 * room * sizeof *list);
			if (!more) {
				free(list);
				list = NULL;
				break;
			}
			list = more;
			room *= 2;
		}
		if (proc_read((pid_t) atoi(entry->d_name), &list[*n]))
			(*n)++;
	}
	closedir(dir);
	return list;
}

bool proc_has_env(pid_t pid, const char *name_value)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/environ", (int) pid);
	FILE *file = fopen(path, "re");
	if (!file)
		return false;
	char *line = NULL;
	size_t room = 0;
	bool found = false;
	while (!found && getdelim(&line, &room, '\0', file) > 0)
		found = strcmp(line, name_value) == 0;
	free(line);
	fclose(file);
	return found;
}

bool proc_ended(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	return poll(&p, 1, 0) > 0;
}

void proc_boot_id(char out[64])
{
	if (!files_read_line("/proc/sys/kernel/random/boot_id", out, 64))
		out[0] = '\0';
}

uint64_t proc_boottime_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t) t.tv_sec * 1000 + (uint64_t) t.tv_nsec / 1000000;
}

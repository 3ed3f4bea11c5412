/* SPDX-License-Identifier: Apache-2.0 */
/* listens.c - whose is a TCP port of this machine? Everybody on it may listen on a free one, so that a port that a lease
 * was to listen on answers says nothing about who answers. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/agent/tree.h"
#include "core/base/error.h"

enum { SOCKETS_MAX = 16, STATE_LISTEN = 0x0a };

/* Inodes of the sockets that listen on the port, whatever their address; returns their number. */
static size_t listening(const char *table, unsigned port, unsigned long *inodes, size_t n)
{
	FILE *file = fopen(table, "re");
	char line[512];
	while (file && n < SOCKETS_MAX && fgets(line, sizeof line, file)) {
		unsigned at, state;
		unsigned long inode;
		/* sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode */
		if (sscanf(line, " %*u: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*x:%*x %*x:%*x %*x %*u %*u %lu", &at, &state, &inode) == 3 &&
		    at == port && state == STATE_LISTEN)
			inodes[n++] = inode;
	}
	if (file)
		fclose(file);
	return n;
}

/* Sets the bit of each socket that the process has open. */
static unsigned long open_in(pid_t pid, const unsigned long *inodes, size_t n)
{
	char path[64], target[64], wanted[64];
	unsigned long found = 0;
	snprintf(path, sizeof path, "/proc/%d/fd", (int) pid);
	DIR *folder = opendir(path);
	for (struct dirent *entry; folder && (entry = readdir(folder));) {
		ssize_t len = readlinkat(dirfd(folder), entry->d_name, target, sizeof target - 1);
		target[len > 0 ? len : 0] = '\0';
		for (size_t i = 0; i < n; i++) {
			snprintf(wanted, sizeof wanted, "socket:[%lu]", inodes[i]);
			if (strcmp(wanted, target) == 0)
				found |= 1ul << i;
		}
	}
	if (folder)
		closedir(folder);
	return found;
}

int tree_listens(const struct tree *t, unsigned port, bool *own, sl_error *error)
{
	unsigned long inodes[SOCKETS_MAX], found = 0;
	size_t n = listening("/proc/net/tcp6", port, inodes, listening("/proc/net/tcp", port, inodes, 0)), n_members;
	*own = false;
	if (n == 0)
		return SL_OK;
	struct proc *members = tree_members(t, &n_members);
	if (!members)
		return error_set(error, SL_EIO, "the processes of lease %s cannot be listed: %s", t->lease, strerror(errno));
	for (size_t i = 0; i < n_members; i++)
		found |= open_in(members[i].pid, inodes, n);
	free(members);
	*own = found == (1ul << n) - 1;
	return SL_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* note.c - a small file beside the engines' sockets for each running replica: where it listens and what it was started
 * as, so that a later run of sluiced finds it. A lost one costs a restart of that replica, nothing else; so it is not
 * synced to disk (engines do not outlive a machine that stops). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/str.h"
#include "core/fleet/inner.h"

static bool path_of(const struct fleet *fleet, uint64_t lease, char out[PATH_MAX])
{
	int n = snprintf(out, PATH_MAX, "%s/L%llu.replica", fleet->folder, (unsigned long long) lease);
	return n > 0 && n < PATH_MAX;
}

void fleet_note_write(struct fleet *fleet, const struct replica *replica)
{
	char path[PATH_MAX], text[256];
	if (!path_of(fleet, replica->lease, path))
		return;
	int n = snprintf(text, sizeof text, "%s\n%s\n", replica->listen, replica->definition);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || write(fd, text, (size_t) n) != n)
		log_warn("cannot write %s: %s; a restart of sluiced will restart replica %s", path, strerror(errno), replica->name);
	if (fd >= 0)
		close(fd);
}

bool fleet_note_read(struct fleet *fleet, struct replica *replica)
{
	char path[PATH_MAX], text[256];
	if (!path_of(fleet, replica->lease, path))
		return false;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';
	char *end = strchr(text, '\n'), *second = end ? strchr(end + 1, '\n') : NULL;
	if (!second)
		return false;
	return str_copy(replica->listen, sizeof replica->listen, (sl_str){ text, (size_t) (end - text) }) &&
	       str_copy(replica->definition, sizeof replica->definition, (sl_str){ end + 1, (size_t) (second - end - 1) });
}

void fleet_note_remove(struct fleet *fleet, uint64_t lease)
{
	char path[PATH_MAX];
	if (path_of(fleet, lease, path))
		unlink(path);
}

static bool is_used(const struct fleet *fleet, const char *file)
{
	for (const struct fleet_model *model = fleet->models; model; model = model->next)
		for (const struct replica *r = model->replicas; r; r = r->next) {
			char note[64];
			const char *slash = strrchr(r->listen, '/');
			snprintf(note, sizeof note, "L%llu.replica", (unsigned long long) r->lease);
			if (strcmp(note, file) == 0 || (slash && strcmp(slash + 1, file) == 0))
				return true;
		}
	return false;
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), n = strlen(end);
	return len > n && strcmp(text + len - n, end) == 0;
}

static void clean(const struct fleet *fleet, const char *path)
{
	DIR *folder = path ? opendir(path) : NULL;
	if (!folder)
		return;
	for (struct dirent *entry; (entry = readdir(folder));) {
		const char *name = entry->d_name;
		if ((!ends_with(name, ".sock") && !ends_with(name, ".replica")) || is_used(fleet, name))
			continue;
		if (unlinkat(dirfd(folder), name, 0) != 0)
			log_warn("cannot remove the old file %s/%s: %s", path, name, strerror(errno));
	}
	closedir(folder);
}

void fleet_folder_clean(struct fleet *fleet)
{
	clean(fleet, fleet->folder);
	clean(fleet, fleet->sockets);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* files.c - small files of the agent's state folder. */
#include "core/agent/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/str.h"

enum { FILE_MAX = 4 << 20 };

static int write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t) n;
	}
	return 0;
}

/* Writes NAME.new, makes it durable, puts it in the place of NAME. */
static int replace(int folder, const char *name, const char *text)
{
	char fresh[NAME_MAX + 1];
	if (snprintf(fresh, sizeof fresh, "%s.new", name) >= (int) sizeof fresh)
		return -ENAMETOOLONG;
	int fd = openat(folder, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	int rc = write_all(fd, text, strlen(text));
	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	if (close(fd) < 0 && rc == 0)
		rc = -errno;
	if (rc == 0 && renameat(folder, fresh, folder, name) < 0)
		rc = -errno;
	if (rc == 0 && fsync(folder) < 0)
		rc = -errno;
	return rc;
}

int files_write_json(const char *folder, const char *name, const json_t *value, sl_error *error)
{
	char *text = json_text(value);
	if (!text)
		return error_set(error, SL_ENOMEM, "out of memory for %s/%s", folder, name);
	int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = dir < 0 ? -errno : replace(dir, name, text);
	if (dir >= 0)
		close(dir);
	free(text);
	if (rc < 0)
		return error_set(error, SL_EIO, "cannot write %s/%s: %s", folder, name, strerror(-rc));
	return SL_OK;
}

json_t *files_read_json(const char *folder, const char *name, sl_error *error)
{
	char path[PATH_MAX];
	if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int) sizeof path) {
		error_set(error, SL_EINVAL, "the path %s/%s is too long", folder, name);
		return NULL;
	}
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		error_set(error, errno == ENOENT ? SL_ENOTFOUND : SL_EIO, "cannot read %s: %s", path, strerror(errno));
		return NULL;
	}
	struct buf text = { .max = FILE_MAX };
	ssize_t n = 1;
	while (n > 0 && buf_reserve(&text, 4096)) {
		n = read(fd, text.data + text.len, 4096);
		if (n > 0)
			text.len += (size_t) n;
	}
	close(fd);
	json_t *value = NULL;
	if (n != 0)
		error_set(error, SL_EIO, "cannot read %s: %s", path, n < 0 ? strerror(errno) : "it is too long");
	else if (!(value = json_parse(buf_str(&text), error)))
		error_prefix(error, "%s: ", path);
	buf_free(&text);
	if (value && !json_is_object(value)) {
		json_decref(value);
		value = NULL;
		error_set(error, SL_EINVAL, "%s: is no JSON object", path);
	}
	return value;
}

bool files_read_line(const char *path, char *out, size_t room)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, out, room - 1);
	close(fd);
	if (n < 0)
		return false;
	out[n] = '\0';
	out[strcspn(out, "\n")] = '\0';
	return true;
}

int files_put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int rc = write_all(fd, text, strlen(text));
	close(fd);
	return rc;
}

int files_make_folder(const char *path, unsigned mode)
{
	if (mkdir(path, mode) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	struct stat st;
	return stat(path, &st) < 0 ? -errno : S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

void files_remove_folder(const char *path)
{
	DIR *dir = opendir(path);
	if (dir) {
		for (struct dirent *entry; (entry = readdir(dir));)
			unlinkat(dirfd(dir), entry->d_name, 0);
		closedir(dir);
	}
	rmdir(path);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* file.c - reads files that are code: only what nobody else can change. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/error.h"
#include "core/sandbox/sandbox.h"

static int check_folder(const char *path, sl_error *error)
{
	char copy[PATH_MAX];
	if (strlen(path) >= sizeof copy)
		return error_set(error, SL_EINVAL, "the path is too long: %.100s...", path);
	strcpy(copy, path);
	const char *folder = dirname(copy);
	struct stat st;
	if (stat(folder, &st) != 0)
		return error_set(error, SL_EIO, "cannot read the folder %s: %s", folder, strerror(errno));
	if ((st.st_mode & S_IWOTH) && !(st.st_mode & S_ISVTX))
		return error_set(error, SL_EDENIED, "%s: others can write to its folder: chmod o-w %s", path, folder);
	return SL_OK;
}

static int check_file(const char *path, const struct stat *st, sl_error *error)
{
	if (S_ISDIR(st->st_mode))
		return error_set(error, SL_EINVAL, "%s is a folder, not a file", path);
	if (!S_ISREG(st->st_mode))
		return error_set(error, SL_EINVAL, "%s is not a plain file", path);
	if (st->st_mode & S_IWOTH)
		return error_set(error, SL_EDENIED, "%s: others can write to it: chmod o-w %s", path, path);
	if (st->st_size == 0)
		return error_set(error, SL_EINVAL, "%s is empty", path);
	if (st->st_size > SANDBOX_FILE_MAX)
		return error_set(error, SL_EINVAL, "%s is larger than %d MiB", path, SANDBOX_FILE_MAX >> 20);
	return SL_OK;
}

static int read_all(int fd, const char *path, struct buf *out, sl_error *error)
{
	size_t total = 0;
	for (;;) {
		char piece[16384];
		ssize_t n = read(fd, piece, sizeof piece);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(error, SL_EIO, "cannot read %s: %s", path, strerror(errno));
		if (n == 0)
			return SL_OK;
		total += (size_t) n;
		if (total > SANDBOX_FILE_MAX)
			return error_set(error, SL_EINVAL, "%s is larger than %d MiB", path, SANDBOX_FILE_MAX >> 20);
		buf_put(out, piece, (size_t) n);
		if (out->failed)
			return error_set(error, SL_ENOMEM, "no memory to read %s", path);
	}
}

int sandbox_read_file(const char *path, struct buf *out, sl_error *error)
{
	/* O_NONBLOCK: opening a FIFO must not wait for a writer. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return error_set(error, errno == ENOENT ? SL_ENOTFOUND : SL_EIO, "cannot read %s: %s", path, strerror(errno));
	struct stat st;
	int rc = fstat(fd, &st) == 0 ? check_file(path, &st, error)
	                             : error_set(error, SL_EIO, "cannot read %s: %s", path, strerror(errno));
	if (rc == SL_OK)
		rc = check_folder(path, error);
	if (rc == SL_OK)
		rc = read_all(fd, path, out, error);
	close(fd);
	return rc;
}

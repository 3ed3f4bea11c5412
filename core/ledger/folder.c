/* SPDX-License-Identifier: Apache-2.0 */
/* folder.c - the files of a journal. */
#include "core/ledger/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/error.h"
#include "core/base/path.h"
#include "core/base/str.h"

static const char spare_name[] = "journal-spare";
static const char unfinished_name[] = "journal-spare.new";

int folder_open(struct folder *f, const char *path, sl_error *error)
{
	f->fd = f->lock_fd = -1;
	int rc = path_make_folders(path, 0700);
	if (rc < 0)
		return error_set(error, SL_EIO, "cannot make the journal's folder %s: %s", path, strerror(-rc));
	f->path = str_dup(str_of(path));
	f->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!f->path || f->fd < 0)
		return error_set(error, SL_EIO, "cannot open the journal's folder %s: %s", path, strerror(errno));
	f->lock_fd = openat(f->fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (f->lock_fd < 0)
		return error_set(error, SL_EIO, "cannot open %s/lock: %s", path, strerror(errno));
	if (flock(f->lock_fd, LOCK_EX | LOCK_NB) != 0)
		return error_set(error, SL_ECONFLICT, "the journal in %s is in use by another sluiced: stop that one first, or "
		                 "give this one a state folder of its own", path);
	unlinkat(f->fd, unfinished_name, 0);
	return SL_OK;
}

void folder_close(struct folder *f)
{
	if (f->lock_fd >= 0)
		close(f->lock_fd);
	if (f->fd >= 0)
		close(f->fd);
	free(f->path);
	*f = (struct folder){ .fd = -1, .lock_fd = -1 };
}

void folder_name(uint64_t number, char out[FOLDER_NAME_MAX])
{
	snprintf(out, FOLDER_NAME_MAX, "journal-%016" PRIx64, number);
}

static bool name_number(const char *name, uint64_t *number)
{
	char again[FOLDER_NAME_MAX];
	if (sscanf(name, "journal-%16" SCNx64, number) != 1)
		return false;
	folder_name(*number, again);
	return strcmp(name, again) == 0;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;
	return x < y ? -1 : x > y;
}

int folder_list(struct folder *f, uint64_t **numbers, size_t *n, sl_error *error)
{
	*numbers = NULL;
	*n = 0;
	size_t room = 0;
	DIR *dir = opendir(f->path);
	if (!dir)
		return error_set(error, SL_EIO, "cannot read the folder %s: %s", f->path, strerror(errno));
	for (struct dirent *entry; (entry = readdir(dir));) {
		uint64_t number;
		if (!name_number(entry->d_name, &number))
			continue;
		if (*n == room) {
			room = room ? room * 2 : 64;
			uint64_t *more = realloc(*numbers, room * sizeof *more);
			if (!more) {
				closedir(dir);
				free(*numbers);
				return error_set(error, SL_ENOMEM, "out of memory");
			}
			*numbers = more;
		}
		(*numbers)[(*n)++] = number;
	}
	closedir(dir);
	if (*n)
		qsort(*numbers, *n, sizeof **numbers, by_number);
	return SL_OK;
}

int folder_segment(struct folder *f, uint64_t number, int flags)
{
	char name[FOLDER_NAME_MAX];
	folder_name(number, name);
	return openat(f->fd, name, flags | O_CLOEXEC | O_NOFOLLOW);
}

bool folder_write(struct folder *f, int fd, const void *data, size_t size, uint64_t offset)
{
	const char *p = data;
	while (size) {
		ssize_t n = f->io.pwrite(fd, p, size, (off_t) offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			errno = n == 0 ? EIO : errno;
			return false;
		}
		p += n;
		size -= (size_t) n;
		offset += (uint64_t) n;
	}
	return true;
}

bool folder_zero(struct folder *f, int fd, uint64_t offset, uint64_t end)
{
	static const char zeros[1 << 16];
	while (offset < end) {
		size_t n = end - offset < sizeof zeros ? (size_t) (end - offset) : sizeof zeros;
		if (!folder_write(f, fd, zeros, n, offset))
			return false;
		offset += n;
	}
	return f->io.fdatasync(fd) == 0;
}

int spare_make(struct folder *f, sl_error *error)
{
	int fd = openat(f->fd, unfinished_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0 && folder_zero(f, fd, 0, f->segment_bytes) && fsync(fd) == 0 &&
	    renameat(f->fd, unfinished_name, f->fd, spare_name) == 0 && fsync(f->fd) == 0) {
		close(fd);
		return SL_OK;
	}
	int why = errno;
	if (fd >= 0)
		close(fd);
	unlinkat(f->fd, unfinished_name, 0);
	if (why == ENOSPC || why == EDQUOT || why == EFBIG)
		return error_set(error, SL_EFULL, "no space for the next %llu MiB of the journal in %s: free some, and it goes on by "
		                 "itself", (unsigned long long) (f->segment_bytes >> 20), f->path);
	return error_set(error, SL_EIO, "cannot make the next segment of the journal in %s: %s", f->path, strerror(why));
}

bool spare_exists(struct folder *f)
{
	struct stat st;
	if (fstatat(f->fd, spare_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return false;
	if (S_ISREG(st.st_mode) && (uint64_t) st.st_size == f->segment_bytes)
		return true;
	unlinkat(f->fd, spare_name, 0);
	return false;
}

void segment_remove(struct folder *f, uint64_t number)
{
	char name[FOLDER_NAME_MAX];
	folder_name(number, name);
	unlinkat(f->fd, name, 0);
	fsync(f->fd);
}

bool spare_recycle(struct folder *f, uint64_t number)
{
	char name[FOLDER_NAME_MAX];
	struct stat st;
	folder_name(number, name);
	if (fstatat(f->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && (uint64_t) st.st_size == f->segment_bytes &&
	    renameat(f->fd, name, f->fd, spare_name) == 0 && fsync(f->fd) == 0)
		return true;
	segment_remove(f, number);
	return false;
}

int spare_take(struct folder *f, uint64_t number, uint64_t first_seq, uint64_t wall_ms)
{
	char name[FOLDER_NAME_MAX];
	folder_name(number, name);
	int fd = openat(f->fd, spare_name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -1;
	struct segment_head head;
	segment_head_make(&head, number, first_seq, wall_ms);
	if (renameat(f->fd, spare_name, f->fd, name) == 0 && fsync(f->fd) == 0 &&
	    folder_write(f, fd, &head, sizeof head, 0))
		return fd;
	int why = errno;
	close(fd);
	errno = why;
	return -1;
}

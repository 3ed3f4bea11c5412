/* SPDX-License-Identifier: Apache-2.0 */
/* logs.c - a program's output: a file that it appends to, and of which only the end is kept. */
#include "config.h"

#include "core/agent/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/log.h"

/* Holes are whole blocks of the file system. */
enum { HOLE_UNIT = 65536 };

void log_file_open(struct log_file *log, const char *folder, const char *name)
{
	if (log->fd >= 0)
		return;
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	log->fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
}

static void drop_before(struct log_file *log, uint64_t offset)
{
	uint64_t until = (offset - log->base) / HOLE_UNIT * HOLE_UNIT;
	uint64_t from = (log->first - log->base) / HOLE_UNIT * HOLE_UNIT;
	if (until <= from)
		return;
	if (fallocate(log->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t) from, (off_t) (until - from)) == 0) {
		log->first = log->base + until;
		return;
	}
	log->no_holes = true;
	log_warn("a log's file system punches no holes (%s): logs are cut to nothing when they are twice too long",
	         strerror(errno));
}

bool log_file_tick(struct log_file *log, uint64_t keep)
{
	struct stat st;
	if (log->fd < 0 || fstat(log->fd, &st) < 0)
		return false;
	uint64_t seen = log->size - log->base, now = (uint64_t) st.st_size;
	if (now < seen) {
		/* Cut by the program (it opened /dev/stdout anew) or by us. What it holds now comes after all before. */
		log->base = log->first = log->size;
		seen = 0;
	}
	bool grown = now > seen;
	log->size = log->base + now;
	if (log->size - log->first > keep + HOLE_UNIT) {
		if (!log->no_holes)
			drop_before(log, log->size - keep);
		else if (log->size - log->first > 2 * keep && ftruncate(log->fd, 0) == 0)
			log->base = log->first = log->size;
	}
	return grown;
}

bool log_file_read(struct log_file *log, int64_t *from, size_t max, struct buf *out)
{
	log_file_tick(log, UINT64_MAX / 2);
	uint64_t at = *from >= 0 ? (uint64_t) *from : (uint64_t) -*from < log->size ? log->size - (uint64_t) -*from : 0;
	if (at < log->first)
		at = log->first;
	if (at > log->size)
		at = log->size;
	*from = (int64_t) at;
	if (max > log->size - at)
		max = (size_t) (log->size - at);
	if (max == 0)
		return true;
	if (!buf_reserve(out, max))
		return false;
	ssize_t n = pread(log->fd, out->data + out->len, max, (off_t) (at - log->base));
	if (n < 0)
		return false;
	out->len += (size_t) n;
	return true;
}

void log_file_close(struct log_file *log)
{
	if (log->fd >= 0)
		close(log->fd);
	log->fd = -1;
}

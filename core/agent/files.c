/* SPDX-License-Identifier: Apache-2.0 */
/* files.c - small files of the agent's state folder, and base64. */
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

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_put(struct buf *out, const void *data, size_t len)
{
	const unsigned char *in = data;
	if (!buf_reserve(out, (len + 2) / 3 * 4))
		return;
	for (size_t i = 0; i < len; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		unsigned long v = (unsigned long) in[i] << 16 | (n > 1 ? in[i + 1] : 0ul) << 8 | (n > 2 ? in[i + 2] : 0ul);
		char *to = out->data + out->len;
		to[0] = base64_digits[v >> 18 & 63];
		to[1] = base64_digits[v >> 12 & 63];
		to[2] = n > 1 ? base64_digits[v >> 6 & 63] : '=';
		to[3] = n > 2 ? base64_digits[v & 63] : '=';
		out->len += 4;
	}
}

static int base64_value(char c)
{
	const char *at = c ? strchr(base64_digits, c) : NULL;
	return at ? (int) (at - base64_digits) : -1;
}

bool base64_get(struct buf *out, sl_str text)
{
	if (text.len % 4)
		return false;
	for (size_t i = 0; i < text.len; i += 4) {
		int pad = 0;
		if (i + 4 == text.len)
			pad = text.ptr[i + 3] != '=' ? 0 : text.ptr[i + 2] != '=' ? 1 : 2;
		unsigned long v = 0;
		for (int k = 0; k < 4; k++) {
			int digit = k < 4 - pad ? base64_value(text.ptr[i + (size_t) k]) : 0;
			if (digit < 0)
				return false;
			v = v << 6 | (unsigned long) digit;
		}
		char bytes[3] = { (char) (v >> 16 & 0xff), (char) (v >> 8 & 0xff), (char) (v & 0xff) };
		buf_put(out, bytes, (size_t) (3 - pad));
	}
	return !out->failed;
}

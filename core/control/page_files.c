/* SPDX-License-Identifier: Apache-2.0 */
/* page_files.c - the web page's files. */
#include "core/control/page_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/str.h"

enum { FILE_NAME_MAX = 64, TAG_BYTES = 12 };

struct page_file {
	char name[FILE_NAME_MAX];
	const char *type;
	char tag[2 * TAG_BYTES + 3]; /* with its quotes */
	struct buf data;
};

struct page_files {
	size_t n;
	struct page_file list[PAGE_FILES_MAX];
};

static const char *type_of(const char *name)
{
	static const struct {
		const char *ending, *type;
	} types[] = { { ".html", "text/html; charset=utf-8" }, { ".css", "text/css; charset=utf-8" },
		      { ".js", "text/javascript; charset=utf-8" }, { ".svg", "image/svg+xml" }, { ".png", "image/png" },
		      { ".json", "application/json" }, { ".txt", "text/plain; charset=utf-8" } };
	const char *dot = strrchr(name, '.');
	for (size_t i = 0; dot && dot != name && i < sizeof types / sizeof *types; i++)
		if (strcmp(dot, types[i].ending) == 0)
			return types[i].type;
	return NULL;
}

static int read_all(int fd, struct buf *out, size_t size)
{
	out->max = PAGE_FILE_BYTES_MAX;
	if (!buf_reserve(out, size))
		return ENOMEM;
	while (out->len < size) {
		ssize_t n = read(fd, out->data + out->len, size - out->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? errno : EIO; /* it has become shorter */
		out->len += (size_t) n;
	}
	return 0;
}

static bool make_tag(struct page_file *file)
{
	uint8_t digest[32];
	if (!hash_sha256(file->data.data, file->data.len, digest))
		return false;
	char *at = file->tag;
	*at++ = '"';
	for (size_t i = 0; i < TAG_BYTES; i++)
		at += snprintf(at, 3, "%02x", digest[i]);
	strcpy(at, "\"");
	return true;
}

static int load_file(struct page_files *files, const char *folder, int folder_fd, const char *name, sl_error *error)
{
	struct stat st;
	struct page_file *file = &files->list[files->n];
	int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) != 0) {
		int reason = errno;
		if (fd >= 0)
			close(fd);
		return error_set(error, SL_EIO, "cannot read %s/%s: %s", folder, name, strerror(reason));
	}
	if (!S_ISREG(st.st_mode)) {
		close(fd);
		return SL_OK;
	}
	int code = SL_OK, reason = 0;
	if (files->n == PAGE_FILES_MAX || st.st_size > PAGE_FILE_BYTES_MAX || strlen(name) >= FILE_NAME_MAX)
		code = error_set(error, SL_EFULL, "%s/%s: the page has at most %d files of at most %d KiB", folder, name, PAGE_FILES_MAX,
		                 PAGE_FILE_BYTES_MAX / 1024);
	else if ((reason = read_all(fd, &file->data, (size_t) st.st_size)) != 0 || !make_tag(file))
		code = error_set(error, SL_EIO, "cannot read %s/%s: %s", folder, name, reason ? strerror(reason) : "no digest");
	close(fd);
	if (code != SL_OK) {
		buf_free(&file->data);
		return code;
	}
	str_copy(file->name, sizeof file->name, str_of(name));
	file->type = type_of(name);
	files->n++;
	return SL_OK;
}

static const struct page_file *find(const struct page_files *files, sl_str name)
{
	for (size_t i = 0; i < files->n; i++)
		if (str_eq(str_of(files->list[i].name), name))
			return &files->list[i];
	return NULL;
}

struct page_files *page_files_load(const char *folder, sl_error *error)
{
	struct page_files *files = calloc(1, sizeof *files);
	DIR *dir = files ? opendir(folder) : NULL;
	if (!dir) {
		if (files)
			error_set(error, SL_EIO, "the page's folder %s: %s", folder, strerror(errno));
		else
			error_set(error, SL_ENOMEM, "out of memory");
		free(files);
		return NULL;
	}
	int code = SL_OK;
	for (struct dirent *entry; code == SL_OK && (entry = readdir(dir));)
		if (type_of(entry->d_name))
			code = load_file(files, folder, dirfd(dir), entry->d_name, error);
	closedir(dir);
	if (code == SL_OK && !find(files, STR("index.html")))
		code = error_set(error, SL_ENOTFOUND, "the page's folder %s has no index.html: is all of sluice installed?", folder);
	if (code == SL_OK)
		return files;
	page_files_free(files);
	return NULL;
}

void page_files_free(struct page_files *files)
{
	if (!files)
		return;
	for (size_t i = 0; i < files->n; i++)
		buf_free(&files->list[i].data);
	free(files);
}

/* Does If-None-Match name this tag? Weak ones count: what is compared is whether to send it again. */
static bool has_tag(sl_str header, const char *tag)
{
	sl_str want = str_of(tag);
	while (header.len) {
		const char *comma = memchr(header.ptr, ',', header.len);
		sl_str one = { header.ptr, comma ? (size_t) (comma - header.ptr) : header.len };
		header = comma ? (sl_str){ comma + 1, header.len - one.len - 1 } : (sl_str){ 0 };
		one = str_trim(one);
		if (str_starts(one, STR("W/")))
			one = (sl_str){ one.ptr + 2, one.len - 2 };
		if (str_eq(one, want) || str_eq(one, STR("*")))
			return true;
	}
	return false;
}

/* Scripts and styles are the page's own files and nothing else; text never becomes markup. */
static void put_headers(struct http_exchange *x, const struct page_file *file)
{
	http_respond_header(x, "Content-Security-Policy",
	                    STR("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
	                        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
	                        "trusted-types 'none'"));
	http_respond_header(x, "X-Content-Type-Options", STR("nosniff"));
	http_respond_header(x, "Referrer-Policy", STR("no-referrer"));
	http_respond_header(x, "Cross-Origin-Opener-Policy", STR("same-origin"));
	http_respond_header(x, "Cross-Origin-Resource-Policy", STR("same-origin"));
	http_respond_header(x, "Permissions-Policy", STR("camera=(), geolocation=(), microphone=(), payment=(), usb=()"));
	if (!file)
		return;
	http_respond_header(x, "Cache-Control", STR("no-cache"));
	http_respond_header(x, "ETag", str_of(file->tag));
}

void page_files_answer(const struct page_files *files, struct http_exchange *x)
{
	sl_str path = x->head->path;
	const struct page_file *file = NULL;
	if (str_starts(path, STR("/")))
		file = find(files, path.len == 1 ? STR("index.html") : (sl_str){ path.ptr + 1, path.len - 1 });
	bool reads = str_eq(x->head->method, STR("GET")) || str_eq(x->head->method, STR("HEAD"));
	put_headers(x, reads ? file : NULL);
	if (!file) {
		http_respond_error(x, 404, "unknown_path", "There is nothing here.");
	} else if (!reads) {
		http_respond_header(x, "Allow", STR("GET, HEAD"));
		http_respond_error(x, 405, "method_not_allowed", "The page's files can be read and nothing else.");
	} else if (has_tag(http_header(x->head, "if-none-match"), file->tag)) {
		http_respond(x, 304, NULL, STR(""));
	} else {
		http_respond(x, 200, file->type, buf_str(&file->data));
	}
}

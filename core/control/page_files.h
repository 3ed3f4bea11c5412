/* SPDX-License-Identifier: Apache-2.0 */
/* page_files.h - the web page's files: read once, kept in memory, given to anybody who asks, each under its own name
 * and no other: a path is looked up, never opened. Loop thread only. */
#ifndef CORE_CONTROL_PAGE_FILES_H
#define CORE_CONTROL_PAGE_FILES_H

#include "core/http/server.h"

enum { PAGE_FILES_MAX = 64, PAGE_FILE_BYTES_MAX = 256 * 1024 };

struct page_files;

/* The files of a folder whose names end in a known way; folders in it are left out. NULL: none is to be had, and
 * `error` says why. */
struct page_files *page_files_load(const char *folder, sl_error *error);
void page_files_free(struct page_files *files);
/* Ends the exchange: a file ("/" is index.html), 304, or an error. */
void page_files_answer(const struct page_files *files, struct http_exchange *x);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* error.h - fills sl_error. */
#ifndef CORE_BASE_ERROR_H
#define CORE_BASE_ERROR_H

#include <sluice/types.h>

/* Sets code and text (cut when too long) and returns code, so that a caller can write
 * `return error_set(error, SL_EIO, "cannot open %s: %s", path, strerror(errno));`. error may be NULL. */
int error_set(sl_error *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts words in front of the text that is there: "sluice.lua:14: " + text. Returns the code. */
int error_prefix(sl_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The HTTP status of a code; 500 for what has none. */
int error_http_status(int code);

#endif

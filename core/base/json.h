/* SPDX-License-Identifier: Apache-2.0 */
/* json.h - small helpers over jansson for documents that are not on the request path. */
#ifndef CORE_BASE_JSON_H
#define CORE_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <sluice/types.h>

/* Parses one document; duplicate keys are refused. NULL with the reason and its place in *error. */
json_t *json_parse(sl_str text, sl_error *error);
/* Compact text, NUL-terminated, keys in the order of insertion. The caller frees it with free(). */
char *json_text(const json_t *value);
/* A short text that is the same for equal values, in whatever order their members are, and most likely another for others;
 * nothing to trust an adversary with. Empty: out of memory. */
enum { JSON_MARK_MAX = 24 };
void json_mark(const json_t *value, char out[JSON_MARK_MAX]);
/* A string member, or the fallback when it is absent or no string. Borrowed from the object. */
const char *json_get_str(const json_t *object, const char *key, const char *fallback);
int64_t json_get_int(const json_t *object, const char *key, int64_t fallback);
bool json_get_bool(const json_t *object, const char *key, bool fallback);
/* Sets a string member from text that may not be UTF-8 (bad bytes become U+FFFD). */
void json_set_str(json_t *object, const char *key, sl_str value);

#endif

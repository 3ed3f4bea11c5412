/* SPDX-License-Identifier: Apache-2.0 */
/* query.h - percent-encoding, and the parameters behind a URL's '?'. */
#ifndef CORE_HTTP_QUERY_H
#define CORE_HTTP_QUERY_H

#include <sluice/types.h>
#include <stdbool.h>

/* Decodes %XX in one piece of a URL; '+' is a space where `plus`. NUL-terminated. False: bad encoding, NUL, or no room. */
bool http_decode(sl_str text, bool plus, char *out, size_t room, size_t *len);
/* A parameter, decoded and NUL-terminated in out; "?all" is "?all=1". False: absent, or too long or badly encoded (then
 * out is empty). */
bool http_query(sl_str query, const char *name, char *out, size_t room);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* body_strip.h - names of members that some engine takes and no client may send, found by length and text. */
#ifndef CORE_GATEWAY_BODY_STRIP_H
#define CORE_GATEWAY_BODY_STRIP_H

#include <sluice/types.h>

enum { BODY_NAME_MAX = 31 }; /* bytes of such a name at most */

/* Immutable. */
struct body_strip;

/* Of n names, which stay the caller's and must live as long. Doubles count once; longer names than BODY_NAME_MAX are
 * left out. NULL: out of memory. */
struct body_strip *body_strip_new(const char *const *names, size_t n);
void body_strip_free(struct body_strip *strip);
/* One of the names, as it was given, NULL: it is none of them. */
const char *body_strip_find(const struct body_strip *strip, sl_str name);

#endif

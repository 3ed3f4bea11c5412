/* SPDX-License-Identifier: Apache-2.0 */
/* body_text.h - JSON strings and numbers, stepped over in vectors. For body.c only. */
#ifndef CORE_GATEWAY_BODY_TEXT_H
#define CORE_GATEWAY_BODY_TEXT_H

#include <stdbool.h>
#include <sluice/types.h>

/* Steps over the string whose opening quote is at p: the byte behind the closing quote. NULL: it is malformed at
 * *bad (a control character, an escape that is none, bytes that are not UTF-8, no end). 64 bytes behind `end` are
 * read. *escaped: it has a backslash. A surrogate escape that stands alone is accepted, as RFC 8259 does. */
typedef const char *body_skip(const char *p, const char *end, bool *escaped, const char **bad);
body_skip body_skip_string;
/* The same for each set of vectors that this processor has, the slowest first; body_skip_string is the last. */
unsigned body_skip_sets(body_skip *const **out);

/* Steps over the number at p, RFC 8259 section 6. *whole: digits only, no sign, fraction or exponent. NULL: it is
 * malformed at *bad. */
const char *body_skip_number(const char *p, const char *end, bool *whole, const char **bad);

enum body_unescape { BODY_UNESCAPED, BODY_TOO_LONG, BODY_LONE_SURROGATE };
/* Unescapes the inside of a valid string into out[room], which is not NUL-terminated. */
enum body_unescape body_unescape(sl_str inside, char *out, size_t room, size_t *len);

#endif

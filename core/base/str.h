/* SPDX-License-Identifier: Apache-2.0 */
/* str.h - helpers for borrowed strings (sl_str) and bounded copies into fixed arrays. */
#ifndef CORE_BASE_STR_H
#define CORE_BASE_STR_H

#include <stdbool.h>
#include <string.h>
#include <sluice/types.h>

#define STR(literal) ((sl_str){ (literal), sizeof(literal) - 1 })
/* For printf("%.*s", STR_ARG(s)). */
#define STR_ARG(s) ((int) (s).len), ((s).ptr ? (s).ptr : "")

static inline sl_str str_of(const char *text)
{
	return (sl_str){ text, text ? strlen(text) : 0 };
}

static inline bool str_eq(sl_str a, sl_str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool str_eq_nocase(sl_str a, sl_str b); /* ASCII only */
bool str_starts(sl_str s, sl_str prefix);
sl_str str_trim(sl_str s); /* spaces and tabs at both ends */

/* Copies into out[room], always NUL-terminated. False when it did not fit (out then holds what did). */
bool str_copy(char *out, size_t room, sl_str s);

/* A NUL-terminated copy on the heap, NULL when out of memory. The caller frees it. */
char *str_dup(sl_str s);

/* Unsigned decimal, digits only. False: empty, another character, or above max. */
bool str_to_u64(sl_str s, uint64_t max, uint64_t *out);

/* 0 to 15, -1 for what is no hexadecimal digit. */
static inline int str_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "90s", "5m", "2h30m", "1d", "250ms", a plain number is seconds. Milliseconds. */
bool str_to_duration_ms(sl_str s, int64_t *out);

/* "40G", "512M", "1.5T", "100": binary multiples, an optional "B" or "iB" behind. */
bool str_to_bytes(sl_str s, int64_t *out);

/* A decimal such as "0.10" as an integer of 10^-digits, exact. False: not a decimal, too many digits, too big. */
bool str_to_decimal(sl_str s, int digits, int64_t *out);

/* The name among `names` (NULL-terminated) that is nearest to `word` by edit distance, NULL when none is near. */
const char *str_nearest(sl_str word, const char *const *names);

/* Valid UTF-8? */
bool str_is_utf8(sl_str s);

/* Equal, in time that depends on the length alone. */
bool str_eq_secret(const void *a, const void *b, size_t len);

#endif

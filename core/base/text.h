/* SPDX-License-Identifier: Apache-2.0 */
/* text.h - writes text at a pointer and returns where it ends, for the lines that each request writes. Whoever calls
 * has made room; nothing is terminated. */
#ifndef CORE_BASE_TEXT_H
#define CORE_BASE_TEXT_H

#include <string.h>
#include <sluice/types.h>

static inline char *text_put(char *at, const char *text, size_t len)
{
	memcpy(at, text, len);
	return at + len;
}

static inline char *text_puts(char *at, const char *text)
{
	return text_put(at, text, strlen(text));
}

enum { TEXT_NUMBER_MAX = 20 }; /* characters of a number at most, its sign included */

static inline char *text_put_u64(char *at, uint64_t value)
{
	char digits[TEXT_NUMBER_MAX], *first = digits + sizeof digits;
	if (value < 10) {
		*at = (char) ('0' + value);
		return at + 1;
	}
	do
		*--first = (char) ('0' + value % 10);
	while (value /= 10);
	return text_put(at, first, (size_t) (digits + sizeof digits - first));
}

static inline char *text_put_i64(char *at, int64_t value)
{
	if (value < 0)
		*at++ = '-';
	return text_put_u64(at, value < 0 ? 0 - (uint64_t) value : (uint64_t) value);
}

#endif

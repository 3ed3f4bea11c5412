/* SPDX-License-Identifier: Apache-2.0 */
/* buf.c - a growing byte buffer with a bound. */
#include "core/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"

static bool reserve(struct buf *b, size_t more, bool exact)
{
	if (b->failed)
		return false;
	if (more > SIZE_MAX / 4 - b->len || (b->max && b->len + more > b->max)) {
		b->failed = true;
		return false;
	}
	if (b->room - b->len >= more)
		return true;
	size_t room = exact ? b->len + more : b->room ? b->room : 256;
	while (room < b->len + more)
		room *= 2;
	if (b->max && room > b->max)
		room = b->max;
	char *data = realloc(b->data, room);
	if (!data) {
		b->failed = true;
		return false;
	}
	b->data = data;
	b->room = room;
	return true;
}

bool buf_reserve(struct buf *b, size_t more)
{
	return reserve(b, more, false);
}

bool buf_reserve_exact(struct buf *b, size_t more)
{
	return reserve(b, more, true);
}

void buf_put_slow(struct buf *b, const void *data, size_t len)
{
	if (buf_reserve(b, len)) {
		memcpy(b->data + b->len, data, len);
		b->len += len;
	}
}

void buf_printf(struct buf *b, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (n < 0 || !buf_reserve(b, (size_t) n + 1)) {
		b->failed = true;
		return;
	}
	va_start(args, format);
	vsnprintf(b->data + b->len, (size_t) n + 1, format, args);
	va_end(args);
	b->len += (size_t) n;
}

/* Length of the valid UTF-8 sequence at p, 0 when there is none. */
static size_t utf8_at(const char *p, const char *end)
{
	unsigned char c = (unsigned char) *p;
	size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	return (size_t) (end - p) >= n && str_is_utf8((sl_str){ p, n }) ? n : 0;
}

void buf_put_json(struct buf *b, sl_str s)
{
	static const char hex[] = "0123456789abcdef";
	const char *p = s.ptr, *end = s.ptr + s.len;
	buf_put(b, "\"", 1);
	while (p < end) {
		unsigned char c = (unsigned char) *p;
		size_t n = utf8_at(p, end);
		if (n == 0) {
			buf_puts(b, "\\ufffd");
			p++;
			continue;
		}
		if (c == '"' || c == '\\') {
			char escaped[2] = { '\\', (char) c };
			buf_put(b, escaped, 2);
		} else if (c == '\n') {
			buf_puts(b, "\\n");
		} else if (c < 0x20 || c == 0x7f) {
			char escaped[6] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };
			buf_put(b, escaped, 6);
		} else {
			buf_put(b, p, n);
		}
		p += n;
	}
	buf_put(b, "\"", 1);
}

void buf_put_u64(struct buf *b, uint64_t value)
{
	static const char pairs[] =
		"00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657"
		"585960616263646566676869707172737475767778798081828384858687888990919293949596979899";
	char digits[20];
	size_t at = sizeof digits;
	while (value >= 100) {
		at -= 2;
		memcpy(digits + at, pairs + 2 * (value % 100), 2);
		value /= 100;
	}
	if (value >= 10) {
		at -= 2;
		memcpy(digits + at, pairs + 2 * value, 2);
	} else {
		digits[--at] = (char) ('0' + value);
	}
	buf_put(b, digits + at, sizeof digits - at);
}

void buf_put_i64(struct buf *b, int64_t value)
{
	if (value < 0)
		buf_put(b, "-", 1);
	buf_put_u64(b, value < 0 ? 0 - (uint64_t) value : (uint64_t) value);
}

void buf_consume(struct buf *b, size_t n)
{
	b->len -= n;
	if (b->len)
		memmove(b->data, b->data + n, b->len);
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	b->failed = false;
}

void buf_free(struct buf *b)
{
	free(b->data);
	*b = (struct buf){ .max = b->max };
}

char *buf_take(struct buf *b)
{
	buf_put(b, "", 1);
	char *text = b->failed ? NULL : b->data;
	if (!text)
		free(b->data);
	*b = (struct buf){ .max = b->max };
	return text;
}

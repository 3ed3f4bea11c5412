/* SPDX-License-Identifier: Apache-2.0 */
/* base64.c - standard base64, with padding. */
#include "core/base/base64.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_put(struct buf *out, const void *data, size_t len)
{
	const unsigned char *in = data;
	if (!buf_reserve(out, (len + 2) / 3 * 4))
		return;
	for (size_t i = 0; i < len; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		unsigned long v = (unsigned long) in[i] << 16 | (n > 1 ? in[i + 1] : 0ul) << 8 | (n > 2 ? in[i + 2] : 0ul);
		char *to = out->data + out->len;
		to[0] = digits[v >> 18 & 63];
		to[1] = digits[v >> 12 & 63];
		to[2] = n > 1 ? digits[v >> 6 & 63] : '=';
		to[3] = n > 2 ? digits[v & 63] : '=';
		out->len += 4;
	}
}

static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_get(struct buf *out, sl_str text)
{
	if (text.len % 4 != 0 || !buf_reserve(out, text.len / 4 * 3))
		return false;
	for (size_t i = 0; i < text.len; i += 4) {
		const char *p = text.ptr + i;
		int padding = i + 4 < text.len || p[3] != '=' ? 0 : p[2] != '=' ? 1 : 2;
		unsigned bits = 0;
		for (int k = 0; k < 4; k++) {
			int value = k < 4 - padding ? value_of(p[k]) : 0;
			if (value < 0)
				return false;
			bits = bits << 6 | (unsigned) value;
		}
		out->data[out->len++] = (char) (bits >> 16);
		if (padding < 2)
			out->data[out->len++] = (char) (bits >> 8);
		if (padding < 1)
			out->data[out->len++] = (char) bits;
	}
	return true;
}

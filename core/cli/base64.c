/* SPDX-License-Identifier: Apache-2.0 */
/* base64.c - decodes base64. */
#include "core/cli/base64.h"

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

bool base64_decode(struct buf *out, sl_str text)
{
	if (text.len % 4 != 0)
		return false;
	if (!buf_reserve(out, text.len / 4 * 3))
		return false;
	for (size_t i = 0; i < text.len; i += 4) {
		const char *p = text.ptr + i;
		bool last = i + 4 == text.len;
		int padding = last && p[3] == '=' ? (p[2] == '=' ? 2 : 1) : 0;
		int v[4] = { value_of(p[0]), value_of(p[1]), padding > 1 ? 0 : value_of(p[2]), padding ? 0 : value_of(p[3]) };
		if (v[0] < 0 || v[1] < 0 || v[2] < 0 || v[3] < 0)
			return false;
		unsigned bits = (unsigned) v[0] << 18 | (unsigned) v[1] << 12 | (unsigned) v[2] << 6 | (unsigned) v[3];
		out->data[out->len++] = (char) (bits >> 16);
		if (padding < 2)
			out->data[out->len++] = (char) (bits >> 8);
		if (padding < 1)
			out->data[out->len++] = (char) bits;
	}
	return true;
}

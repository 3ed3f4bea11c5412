/* SPDX-License-Identifier: Apache-2.0 */
/* query.c - pieces of URLs. */
#include "core/http/query.h"

#include <string.h>

#include "core/base/str.h"

bool http_decode(sl_str text, bool plus, char *out, size_t room, size_t *len)
{
	size_t used = 0;
	for (size_t i = 0; i < text.len; i++) {
		int c = (unsigned char) text.ptr[i];
		if (c == '%') {
			int high = i + 2 < text.len ? str_hex_digit(text.ptr[i + 1]) : -1;
			int low = high >= 0 ? str_hex_digit(text.ptr[i + 2]) : -1;
			if (low < 0)
				return false;
			c = high * 16 + low;
			i += 2;
		} else if (plus && c == '+') {
			c = ' ';
		}
		if (c == 0 || used + 1 >= room)
			return false;
		out[used++] = (char) c;
	}
	if (!room)
		return false;
	out[used] = '\0';
	*len = used;
	return true;
}

bool http_query(sl_str query, const char *name, char *out, size_t room)
{
	sl_str rest = query, want = str_of(name);
	out[0] = '\0';
	while (rest.len) {
		const char *amp = memchr(rest.ptr, '&', rest.len);
		sl_str pair = { rest.ptr, amp ? (size_t) (amp - rest.ptr) : rest.len };
		rest = amp ? (sl_str){ amp + 1, rest.len - pair.len - 1 } : (sl_str){ 0 };
		const char *equal = memchr(pair.ptr, '=', pair.len);
		sl_str key = { pair.ptr, equal ? (size_t) (equal - pair.ptr) : pair.len };
		sl_str value = equal ? (sl_str){ equal + 1, pair.len - key.len - 1 } : STR("1"); /* "?all" is "?all=1" */
		size_t len;
		if (!str_eq(key, want))
			continue;
		if (http_decode(value, true, out, room, &len))
			return true;
		out[0] = '\0';
		return false;
	}
	return false;
}

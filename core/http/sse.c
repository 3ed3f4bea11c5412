/* SPDX-License-Identifier: Apache-2.0 */
/* sse.c - where events end in a text/event-stream, and what they carry. */
#include "core/http/sse.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "core/base/str.h"

static bool is_newline(char c)
{
	return c == '\n' || c == '\r';
}

/* Offset of the first LF or CR at or behind `at`, len when there is none. */
static size_t find_newline(const char *data, size_t at, size_t len)
{
#ifdef __SSE2__
	const __m128i lf = _mm_set1_epi8('\n'), cr = _mm_set1_epi8('\r');
	for (; len - at >= 16; at += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *) (data + at));
		int found = _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(v, lf), _mm_cmpeq_epi8(v, cr)));
		if (found)
			return at + (size_t) __builtin_ctz((unsigned) found);
	}
#endif
	while (at < len && !is_newline(data[at]))
		at++;
	return at;
}

/* Has the event that begins at data[0] a line with something in it before `at`? Had such a line been followed by
 * a blank one, the event would have ended there: so the line right before `at` tells. */
static bool has_content(const char *data, size_t at)
{
	if (at == 0)
		return false;
	if (!is_newline(data[at - 1]))
		return true;
	at -= at >= 2 && data[at - 1] == '\n' && data[at - 2] == '\r' ? 2 : 1;
	return at > 0 && !is_newline(data[at - 1]);
}

size_t sse_event(const char *data, size_t len, size_t *scanned, bool last)
{
	size_t at = *scanned;
	bool content = has_content(data, at);
	for (;;) {
		size_t newline = find_newline(data, at, len);
		bool open = newline + 1 == len && data[newline] == '\r' && !last;
		if (newline == len || open) {
			*scanned = newline;
			return 0;
		}
		at = newline + 1;
		if (at < len && data[newline] == '\r' && data[at] == '\n')
			at++;
		bool blank = newline == 0 || is_newline(data[newline - 1]);
		if (blank && content) {
			*scanned = 0;
			return at;
		}
		content = content || !blank;
	}
}

/* Takes the next line off *rest. False: nothing is left. */
static bool next_line(sl_str *rest, sl_str *line)
{
	if (rest->len == 0)
		return false;
	size_t n = find_newline(rest->ptr, 0, rest->len);
	size_t next = n + (n < rest->len);
	if (next < rest->len && rest->ptr[n] == '\r' && rest->ptr[next] == '\n')
		next++;
	*line = (sl_str){ rest->ptr, n };
	*rest = (sl_str){ rest->ptr + next, rest->len - next };
	return true;
}

/* Is the line's field `name`? Then *value is what stands behind the colon. */
static bool line_is(sl_str line, sl_str name, sl_str *value)
{
	if (!str_starts(line, name))
		return false;
	if (line.len == name.len) {
		*value = (sl_str){ line.ptr + line.len, 0 };
		return true;
	}
	if (line.ptr[name.len] != ':')
		return false;
	size_t skip = name.len + 1;
	if (skip < line.len && line.ptr[skip] == ' ')
		skip++;
	*value = (sl_str){ line.ptr + skip, line.len - skip };
	return true;
}

/* A byte order mark may stand before the very first line of a stream. */
static sl_str without_mark(sl_str event)
{
	if (str_starts(event, STR("\xef\xbb\xbf")))
		return (sl_str){ event.ptr + 3, event.len - 3 };
	return event;
}

sl_str sse_data(sl_str event, char *scratch)
{
	sl_str rest = without_mark(event), line, value, found = { NULL, 0 };
	bool joined = false;
	while (next_line(&rest, &line)) {
		if (!line_is(line, STR("data"), &value))
			continue;
		if (!found.ptr) {
			found = value;
			continue;
		}
		if (!joined) {
			if (found.len)
				memcpy(scratch, found.ptr, found.len);
			found.ptr = scratch;
			joined = true;
		}
		scratch[found.len++] = '\n';
		if (value.len)
			memcpy(scratch + found.len, value.ptr, value.len);
		found.len += value.len;
	}
	return found;
}

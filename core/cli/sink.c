/* SPDX-License-Identifier: Apache-2.0 */
/* sink.c - where output goes. */
#include "core/cli/sink.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

void sink_put(struct sink *s, const char *data, size_t len)
{
	if (!s->gone)
		buf_put(&s->pending, data, len);
}

bool sink_waits(const struct sink *s)
{
	return !s->gone && !s->hold && s->pending.len > 0;
}

/* A pipe that poll calls writable takes PIPE_BUF bytes without blocking, and not always more. */
static ssize_t write_some(const struct sink *s, size_t at)
{
	size_t left = s->pending.len - at;
	return write(s->fd, s->pending.data + at, left < PIPE_BUF ? left : PIPE_BUF);
}

void sink_write(struct sink *s, bool all)
{
	size_t at = 0;
	while (sink_waits(s) && at < s->pending.len) {
		ssize_t n = write_some(s, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN && !all)
			break;
		if (n < 0 && errno != EAGAIN) {
			s->gone = true;
			s->why = errno;
		}
		at += n > 0 ? (size_t) n : 0;
		if (!all)
			break;
	}
	buf_consume(&s->pending, at);
}

/* Where the last `lines` lines begin. A newline at the very end ends the last line and begins none. */
static size_t tail_start(const struct buf *b, int64_t lines)
{
	size_t at = b->len;
	if (lines == 0)
		return at;
	while (at > 0) {
		bool ends_line = b->data[at - 1] == '\n' && at < b->len;
		if (ends_line && --lines == 0)
			return at;
		at--;
	}
	return 0;
}

void sink_release(struct sink *s, int64_t lines)
{
	s->hold = false;
	if (lines >= 0)
		buf_consume(&s->pending, tail_start(&s->pending, lines));
}

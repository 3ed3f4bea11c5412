/* SPDX-License-Identifier: Apache-2.0 */
/* sink.h - where output goes: written when the reader can take it, so that nothing blocks the loop. */
#ifndef CORE_CLI_SINK_H
#define CORE_CLI_SINK_H

#include <stdbool.h>

#include "core/base/buf.h"

enum { SINK_FULL = 1024 * 1024 }; /* above it the stream is not read on */

struct sink {
	int fd;
	bool gone;    /* it cannot be written to; what comes is dropped */
	int why;      /* gone: errno; EPIPE: the reader has closed */
	bool hold;    /* keep everything until sink_release: the beginning may be cut off */
	struct buf pending;
};

void sink_put(struct sink *s, const char *data, size_t len);
/* Something to poll for POLLOUT? */
bool sink_waits(const struct sink *s);
/* Writes what fits without blocking. `all`: everything, blocking. */
void sink_write(struct sink *s, bool all);
/* Ends the hold: only the last `lines` lines are kept, all when negative. */
void sink_release(struct sink *s, int64_t lines);

#endif

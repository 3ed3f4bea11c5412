/* SPDX-License-Identifier: Apache-2.0 */
/* sse.h - where events end in a text/event-stream, and what they carry. Lines end in LF, CR or CRLF. */
#ifndef CORE_HTTP_SSE_H
#define CORE_HTTP_SSE_H

#include <stdbool.h>
#include <sluice/types.h>

/* Length of the first event in data[0..len), the blank line that ends it included; 0: it is not complete yet.
 * Blank lines before an event belong to it. `scanned` (in and out, start with 0) is where to go on looking when
 * more bytes have come, so that an event that arrives byte by byte costs linear time; it is 0 again when an event
 * was found. A CR at the very end is not
 * taken as a line end unless more follows or `last` is set. */
size_t sse_event(const char *data, size_t len, size_t *scanned, bool last);

/* The value of the event's data lines. One data line: a span inside the event. Several: joined with LF into
 * scratch (room >= event.len), which is then the span. Absent: no data line (a comment, a ping). One space behind
 * the colon is dropped. */
sl_str sse_data(sl_str event, char *scratch);

#endif

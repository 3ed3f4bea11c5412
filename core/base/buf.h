/* SPDX-License-Identifier: Apache-2.0 */
/* buf.h - a growing byte buffer with a bound. */
#ifndef CORE_BASE_BUF_H
#define CORE_BASE_BUF_H

#include <stdbool.h>
#include <string.h>
#include <sluice/types.h>

/* Zero-initialised is empty and valid. `failed` stays set once memory or the bound ran out, so that a chain of
 * writes needs one check at its end. */
struct buf {
	char *data;
	size_t len, room;
	size_t max; /* 0: no bound */
	bool failed;
};

bool buf_reserve(struct buf *b, size_t more);
/* The same where it is known that no more will come: not a byte beyond it. */
bool buf_reserve_exact(struct buf *b, size_t more);
void buf_put_slow(struct buf *b, const void *data, size_t len);
static inline void buf_put(struct buf *b, const void *data, size_t len)
{
	if (len == 0)
		return;
	if (len > b->room - b->len) { /* room never passes max */
		buf_put_slow(b, data, len);
		return;
	}
	memcpy(b->data + b->len, data, len);
	b->len += len;
}
static inline void buf_puts(struct buf *b, const char *text)
{
	buf_put(b, text, strlen(text));
}
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void buf_put_json(struct buf *b, sl_str s);
void buf_put_u64(struct buf *b, uint64_t value);
void buf_put_i64(struct buf *b, int64_t value);
/* Drops the first n bytes. */
void buf_consume(struct buf *b, size_t n);
/* Empty, memory kept. */
void buf_clear(struct buf *b);
void buf_free(struct buf *b);
/* NUL-terminated text; the buffer is empty afterwards and the caller frees it. NULL when it failed. */
char *buf_take(struct buf *b);

static inline sl_str buf_str(const struct buf *b)
{
	return (sl_str){ b->data, b->len };
}

#endif

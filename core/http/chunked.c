/* SPDX-License-Identifier: Apache-2.0 */
/* chunked.c - the decoder of chunked bodies. */
#include <string.h>

#include "core/base/str.h"
#include "core/http/parse.h"

/* state: where we are in its low byte, the digits of the size so far above it. */
enum {
	SIZE,        /* in the digits of a size */
	SIZE_SPACE,  /* white space behind them: an extension must follow */
	EXTENSION,
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILER,      /* at the start of a line behind the last chunk */
	TRAILER_NAME,
	TRAILER_VALUE,
	TRAILER_LF,
	END_LF,
	ENDED,
	REFUSED,
};
enum { DIGIT = 1u << 8, DIGITS_MAX = 16 };

static enum http_parse refuse(struct http_chunked *c, struct http_reject *why, int status, const char *message)
{
	c->state = REFUSED;
	*why = (struct http_reject){ status, status == 431 ? "headers_too_large" : "invalid_framing", message };
	return HTTP_REJECTED;
}

static bool is_control(unsigned char ch)
{
	return (ch < 0x20 && ch != '\t') || ch == 0x7f;
}

/* A byte of a name, RFC 9110 5.6.2. */
static bool is_token(unsigned char ch)
{
	return ch > 0x20 && ch < 0x7f && !strchr("\"(),/:;<=>?@[\\]{}", ch);
}

/* A byte of the line with the size. False: it cannot stand there. */
static bool size_byte(struct http_chunked *c, unsigned char ch)
{
	uint32_t where = c->state & 0xff, digits = c->state / DIGIT;
	int value = str_hex_digit((char) ch);
	if (where == SIZE_LF) {
		c->state = c->left ? DATA : TRAILER;
		return ch == '\n';
	}
	if (where == SIZE && value >= 0) {
		c->left = c->left << 4 | (uint64_t) value;
		c->state += DIGIT;
		return digits < DIGITS_MAX && c->left <= INT64_MAX;
	}
	if (where == SIZE && digits == 0)
		return false;
	if (ch == '\r') {
		c->state = SIZE_LF;
		return where != SIZE_SPACE;
	}
	if (where == EXTENSION || ch == ';') {
		c->state = EXTENSION;
		c->extensions++;
		return !is_control(ch) && c->extensions <= HTTP_EXTENSIONS_MAX;
	}
	c->state = SIZE_SPACE;
	c->extensions++;
	return (ch == ' ' || ch == '\t') && c->extensions <= HTTP_EXTENSIONS_MAX;
}

/* A byte of the trailers, which are checked and dropped. */
static bool trailer_byte(struct http_chunked *c, unsigned char ch)
{
	c->trailers++;
	switch (c->state) {
	case TRAILER:
		c->state = ch == '\r' ? END_LF : TRAILER_NAME;
		return ch == '\r' || is_token(ch);
	case TRAILER_NAME:
		if (ch == ':')
			c->state = TRAILER_VALUE;
		return ch == ':' || is_token(ch);
	case TRAILER_VALUE:
		if (ch == '\r')
			c->state = TRAILER_LF;
		return ch == '\r' || !is_control(ch);
	case TRAILER_LF:
		c->state = TRAILER;
		return ch == '\n';
	default:
		c->state = ENDED;
		return ch == '\n';
	}
}

enum http_parse http_chunked_read(struct http_chunked *c, const char *data, size_t len, size_t *used, sl_str *piece,
                                  struct http_reject *why)
{
	size_t at = 0;
	*used = 0;
	*piece = (sl_str){ NULL, 0 };
	if (c->state == REFUSED)
		return refuse(c, why, 400, "The chunked body is malformed.");
	while (at < len && c->state != ENDED) {
		unsigned char ch = (unsigned char) data[at];
		uint32_t where = c->state & 0xff;
		if (where == DATA) {
			if (piece->len)
				break;
			size_t n = c->left < len - at ? (size_t) c->left : len - at;
			*piece = (sl_str){ data + at, n };
			c->left -= n;
			at += n;
			if (c->left == 0)
				c->state = DATA_CR;
			continue;
		}
		at++;
		if (where == DATA_CR || where == DATA_LF) {
			if (ch != (where == DATA_CR ? '\r' : '\n'))
				return refuse(c, why, 400, "A chunk is longer than its size.");
			c->state = where == DATA_CR ? DATA_LF : SIZE;
		} else if (where < DATA) {
			if (!size_byte(c, ch))
				return refuse(c, why, 400, "The size of a chunk is malformed.");
		} else {
			if (!trailer_byte(c, ch))
				return refuse(c, why, 400, "The trailers of a chunked body are malformed.");
			if (c->trailers > HTTP_LINE_MAX)
				return refuse(c, why, 431, "The trailers are longer than 8 KiB.");
		}
	}
	*used = at;
	return c->state == ENDED ? HTTP_COMPLETE : HTTP_INCOMPLETE;
}

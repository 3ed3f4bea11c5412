/* SPDX-License-Identifier: Apache-2.0 */
/* test_chunked.c - chunked bodies, whole and in every pair of parts. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "core/base/buf.h"
#include "core/base/str.h"
#include "core/http/parse.h"

/* Feeds text in parts of `step` bytes (0: at once) with one cut at `cut`. */
static enum http_parse feed(sl_str text, size_t step, size_t cut, struct buf *body, size_t *consumed, struct http_reject *why)
{
	struct http_chunked c = { 0 };
	size_t at = 0;
	*consumed = 0;
	buf_clear(body);
	while (at < text.len) {
		size_t end = step && at + step < text.len ? at + step : text.len;
		if (at < cut && end > cut)
			end = cut;
		while (at < end) {
			size_t used;
			sl_str piece;
			enum http_parse result = http_chunked_read(&c, text.ptr + at, end - at, &used, &piece, why);
			if (result == HTTP_REJECTED)
				return result;
			cr_assert(used > 0 && used <= end - at, "progress");
			cr_assert(piece.len == 0 || (piece.ptr >= text.ptr + at && piece.ptr + piece.len <= text.ptr + at + used),
			          "the piece lies in what was consumed");
			buf_put(body, piece.ptr, piece.len);
			at += used;
			*consumed = at;
			if (result == HTTP_COMPLETE)
				return result;
		}
	}
	return HTTP_INCOMPLETE;
}

Test(chunked, good)
{
	static const struct { const char *text, *body; size_t behind; } cases[] = {
		{ "0\r\n\r\n", "", 0 },
		{ "5\r\nhello\r\n0\r\n\r\n", "hello", 0 },
		{ "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET /", "hello world", 5 },
		{ "a;name=value\r\n0123456789\r\n0;x\r\n\r\n", "0123456789", 0 },
		{ "A ; n=\"q;\t\"\r\n0123456789\r\n000\r\n\r\n", "0123456789", 0 },
		{ "0000000000000005\r\nhello\r\n0\r\n\r\n", "hello", 0 },
		{ "2\r\n\r\n\r\n0\r\nContent-Length: 9\r\nHost: evil\r\n\r\n", "\r\n", 0 },
		{ "1\r\na\r\n0\r\nX:\r\n\r\n\r\n", "a", 2 },
	};
	struct buf body = { 0 };
	struct http_reject why;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		sl_str text = str_of(cases[i].text);
		for (size_t cut = 0; cut <= text.len; cut++)
			for (size_t step = 0; step < 3; step++) {
				size_t consumed;
				cr_assert_eq(feed(text, step, cut, &body, &consumed, &why), HTTP_COMPLETE, "%s, cut %zu step %zu",
				             text.ptr, cut, step);
				cr_assert(str_eq(buf_str(&body), str_of(cases[i].body)), "%s, cut %zu: body", text.ptr, cut);
				cr_assert_eq(consumed, text.len - cases[i].behind, "%s: the end", text.ptr);
			}
		for (size_t n = 0; n < text.len - cases[i].behind; n++) {
			size_t consumed;
			cr_assert_eq(feed((sl_str){ text.ptr, n }, 0, 0, &body, &consumed, &why), HTTP_INCOMPLETE, "%s cut off at %zu",
			             text.ptr, n);
		}
	}
	buf_free(&body);
}

Test(chunked, bad)
{
	static const struct { const char *name, *text; size_t len; } cases[] = {
#define CASE(name, text) { name, text, sizeof text - 1 }
		CASE("0x5", "0x5\r\nhello\r\n0\r\n\r\n"), CASE("+5", "+5\r\nhello\r\n0\r\n\r\n"), CASE("-0", "-0\r\n\r\n"),
		CASE("5_0", "5_0\r\n"), CASE("leading space", " 5\r\nhello\r\n"), CASE("empty size", "\r\nhello\r\n"),
		CASE("17 digits", "00000000000000005\r\nhello\r\n"), CASE("17 digits, big", "10000000000000000\r\n"),
		CASE("2^63", "8000000000000000\r\n"), CASE("5zz", "5zz\r\nhello\r\n"), CASE("5 zz", "5 zz\r\nhello\r\n"),
		CASE("space behind size", "5 \r\nhello\r\n"), CASE("longer than its size", "4\r\nhello\r\n0\r\n\r\n"),
		CASE("no CRLF behind data", "5\r\nhello0\r\n\r\n"), CASE("LF behind data", "5\r\nhello\n0\r\n\r\n"),
		CASE("CR CR behind data", "5\r\nhello\r\r0\r\n\r\n"), CASE("bare LF behind size", "5\nhello\r\n0\r\n\r\n"),
		CASE("bare CR behind size", "5\rhello\r\n0\r\n\r\n"), CASE("LF in extension", "5;a\nb\r\nhello\r\n"),
		CASE("CR in extension", "5;a\rb\r\nhello\r\n"), CASE("NUL in extension", "5;a\0b\r\nhello\r\n"),
		CASE("extension without semicolon", "5 a=b\r\nhello\r\n"), CASE("LF ends trailers", "0\r\n\n"),
		CASE("CR alone in trailers", "0\r\n\rX"), CASE("space before colon", "0\r\nX : 1\r\n\r\n"),
		CASE("folded trailer", "0\r\nX: 1\r\n 2\r\n\r\n"), CASE("empty name", "0\r\n: 1\r\n\r\n"),
		CASE("no colon", "0\r\nX\r\n\r\n"), CASE("NUL in trailer", "0\r\nX: \0\r\n\r\n"),
		CASE("CR alone behind a trailer", "0\r\nX: 1\rYZ: 2\r\n\r\n"), CASE("LF ends trailer", "0\r\nX: 1\n\r\n"),
#undef CASE
	};
	struct buf body = { 0 };
	struct http_reject why;
	size_t consumed;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		for (size_t step = 0; step < 3; step++) {
			sl_str text = { cases[i].text, cases[i].len };
			cr_assert_eq(feed(text, step, 0, &body, &consumed, &why), HTTP_REJECTED, "%s, step %zu", cases[i].name, step);
			cr_assert_eq(why.status, 400, "%s", cases[i].name);
			cr_assert_str_eq(why.code, "invalid_framing", "%s", cases[i].name);
		}
	buf_free(&body);
}

Test(chunked, bounds)
{
	struct buf text = { 0 }, body = { 0 };
	struct http_reject why;
	size_t consumed;
	for (int i = 0; i < 200; i++)
		buf_puts(&text, "1;abcd\r\nx\r\n");
	cr_expect_eq(feed(buf_str(&text), 0, 0, &body, &consumed, &why), HTTP_INCOMPLETE, "1,000 bytes of extensions");
	for (int i = 0; i < 5; i++)
		buf_puts(&text, "1;abcd\r\nx\r\n");
	cr_expect_eq(feed(buf_str(&text), 0, 0, &body, &consumed, &why), HTTP_REJECTED, "1,025 bytes of extensions");
	buf_clear(&text);
	buf_puts(&text, "0\r\n");
	for (int i = 0; i < HTTP_LINE_MAX / 8 + 1; i++)
		buf_puts(&text, "X: abc\r\n");
	cr_expect_eq(feed(buf_str(&text), 0, 0, &body, &consumed, &why), HTTP_REJECTED, "trailers");
	cr_expect_eq(why.status, 431);
	buf_free(&text);
	buf_free(&body);
}

Test(chunked, a_refused_one_stays_refused)
{
	struct http_chunked c = { 0 };
	struct http_reject why;
	size_t used;
	sl_str piece;
	cr_assert_eq(http_chunked_read(&c, "zz", 2, &used, &piece, &why), HTTP_REJECTED);
	cr_assert_eq(http_chunked_read(&c, "0\r\n\r\n", 5, &used, &piece, &why), HTTP_REJECTED);
}

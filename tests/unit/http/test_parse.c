/* SPDX-License-Identifier: Apache-2.0 */
/* test_parse.c - heads: what is taken, what is refused and with which answer. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/str.h"
#include "core/http/parse.h"

static struct http_head head;
static struct http_reject why;

/* Parses from memory of exactly that size, so that AddressSanitizer sees a read behind it. */
static enum http_parse parse(sl_str text, bool response)
{
	static char *copy; /* spans in `head` point into it */
	free(copy);
	copy = malloc(text.len ? text.len : 1);
	cr_assert_not_null(copy);
	if (text.len)
		memcpy(copy, text.ptr, text.len);
	return response ? http_parse_response(copy, text.len, &head, &why) : http_parse_request(copy, text.len, &head, &why);
}

struct bad {
	const char *name;
	sl_str text;
	int status;
	const char *code;
};
#define BAD(name, text, status, code) { name, { text, sizeof text - 1 }, status, code }
#define REQUEST(fields) "POST /v1/x HTTP/1.1\r\nHost: a\r\n" fields "\r\n"

static const struct bad bad_requests[] = {
	/* two framings, unknown framings */
	BAD("length and coding", REQUEST("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400, "invalid_framing"),
	BAD("coding and length", REQUEST("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400, "invalid_framing"),
	BAD("gzip alone", REQUEST("Transfer-Encoding: gzip\r\n"), 400, "invalid_framing"),
	BAD("chunked, gzip", REQUEST("Transfer-Encoding: chunked, gzip\r\n"), 400, "invalid_framing"),
	BAD("gzip, chunked", REQUEST("Transfer-Encoding: gzip, chunked\r\n"), 501, "unsupported_transfer_coding"),
	BAD("chunked, chunked", REQUEST("Transfer-Encoding: chunked, chunked\r\n"), 400, "invalid_framing"),
	BAD("xchunked", REQUEST("Transfer-Encoding: xchunked\r\n"), 501, "unsupported_transfer_coding"),
	BAD("identity", REQUEST("Transfer-Encoding: identity\r\n"), 501, "unsupported_transfer_coding"),
	BAD(",chunked", REQUEST("Transfer-Encoding: ,chunked\r\n"), 400, "invalid_framing"),
	BAD("chunked,", REQUEST("Transfer-Encoding: chunked,\r\n"), 400, "invalid_framing"),
	BAD("empty coding", REQUEST("Transfer-Encoding:\r\n"), 400, "invalid_framing"),
	BAD("coding with VT", REQUEST("Transfer-Encoding: \vchunked\r\n"), 400, "invalid_header"),
	BAD("coding with FF", REQUEST("Transfer-Encoding: chunked\f\r\n"), 400, "invalid_header"),
	BAD("coding with 0xa0", REQUEST("Transfer-Encoding: \xa0" "chunked\r\n"), 400, "invalid_framing"),
	BAD("coding with parameter", REQUEST("Transfer-Encoding: chunked;q=1\r\n"), 400, "invalid_framing"),
	BAD("two codings", REQUEST("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400, "invalid_framing"),
	BAD("coding in 1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "invalid_framing"),
	BAD("two lengths", REQUEST("Content-Length: 5\r\nContent-Length: 6\r\n"), 400, "invalid_framing"),
	BAD("two equal lengths", REQUEST("Content-Length: 5\r\nContent-Length: 5\r\n"), 400, "invalid_framing"),
	BAD("length 5, 5", REQUEST("Content-Length: 5, 5\r\n"), 400, "invalid_framing"),
	BAD("length empty", REQUEST("Content-Length:\r\n"), 400, "invalid_framing"),
	BAD("length +5", REQUEST("Content-Length: +5\r\n"), 400, "invalid_framing"),
	BAD("length -5", REQUEST("Content-Length: -5\r\n"), 400, "invalid_framing"),
	BAD("length 0x5", REQUEST("Content-Length: 0x5\r\n"), 400, "invalid_framing"),
	BAD("length 5_0", REQUEST("Content-Length: 5_0\r\n"), 400, "invalid_framing"),
	BAD("length 5 0", REQUEST("Content-Length: 5 0\r\n"), 400, "invalid_framing"),
	BAD("length 2^63", REQUEST("Content-Length: 9223372036854775808\r\n"), 400, "invalid_framing"),
	BAD("length 2^64+5", REQUEST("Content-Length: 18446744073709551621\r\n"), 400, "invalid_framing"),
	/* Host */
	BAD("no host", "GET / HTTP/1.1\r\n\r\n", 400, "invalid_host"),
	BAD("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "invalid_host"),
	BAD("host a, b", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, "invalid_host"),
	BAD("host with slash", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "invalid_host"),
	BAD("host with user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, "invalid_host"),
	BAD("host with bad port", "GET / HTTP/1.1\r\nHost: a:8o\r\n\r\n", 400, "invalid_host"),
	BAD("host with open bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, "invalid_host"),
	BAD("absolute, other host", "GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid_host"),
	/* lines */
	BAD("space before colon", REQUEST("X : 1\r\n"), 400, "invalid_header"),
	BAD("tab before colon", REQUEST("X\t: 1\r\n"), 400, "invalid_header"),
	BAD("space before first", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "invalid_header"),
	BAD("fold", REQUEST("X: 1\r\n 2\r\n"), 400, "invalid_header"),
	BAD("fold with tab", REQUEST("X: 1\r\n\t2\r\n"), 400, "invalid_header"),
	BAD("empty name", REQUEST(": 1\r\n"), 400, "invalid_header"),
	BAD("no colon", REQUEST("X\r\n"), 400, "invalid_header"),
	BAD("control in name", REQUEST("X\x01: 1\r\n"), 400, "invalid_header"),
	BAD("8 bit in name", REQUEST("X\xe9: 1\r\n"), 400, "invalid_header"),
	BAD("NUL in name", REQUEST("X\0: 1\r\n"), 400, "invalid_header"),
	BAD("NUL in value", REQUEST("X: 1\0002\r\n"), 400, "invalid_header"),
	BAD("NUL far in a value", REQUEST("X: 0123456789abcdef0123456789abcdef\0002\r\n"), 400, "invalid_header"),
	BAD("DEL in value", REQUEST("X: 1\x7f\r\n"), 400, "invalid_header"),
	BAD("DEL far in a value", REQUEST("X: 0123456789abcdef\x7f" "0123456789abcdef\r\n"), 400, "invalid_header"),
	BAD("CR in value", REQUEST("X: 1\r2\r\n"), 400, "invalid_header"),
	BAD("bare LF after field", REQUEST("X: 1\n"), 400, "invalid_header"),
	BAD("bare LF after request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400, "invalid_header"),
	BAD("bare LF as blank line", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400, "invalid_header"),
	/* request lines */
	BAD("HTTP/0.9", "GET /\r\n", 400, "invalid_request_line"),
	BAD("HTTP/1.32", "GET / HTTP/1.32\r\nHost: a\r\n\r\n", 505, "http_version_not_supported"),
	BAD("HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505, "http_version_not_supported"),
	BAD("HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "http_version_not_supported"),
	BAD("h2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "http_version_not_supported"),
	BAD("http/1.1", "GET / http/1.1\r\nHost: a\r\n\r\n", 400, "invalid_request_line"),
	BAD("HTTP/1,1", "GET / HTTP/1,1\r\nHost: a\r\n\r\n", 400, "invalid_request_line"),
	BAD("TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "invalid_request_line"),
	BAD("noise", "\x80\x02\x13noise", 400, "invalid_request_line"),
	BAD("two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid_request_line"),
	BAD("space in target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid_request_line"),
	BAD("tab", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid_request_line"),
	BAD("8 bit in target", "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid_request_line"),
	BAD("backslash", "GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid_request_line"),
	BAD("fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid_request_line"),
	BAD("relative target", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid_request_line"),
	BAD("ftp", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid_request_line"),
	BAD("star for GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid_request_line"),
	BAD("CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501, "method_not_supported"),
	BAD("two leading blank lines", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid_request_line"),
	BAD("leading LF", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid_request_line"),
	/* Expect */
	BAD("other expectation", REQUEST("Expect: 200-ok\r\n"), 417, "expectation_failed"),
};

Test(parse, bad_requests)
{
	for (size_t i = 0; i < sizeof bad_requests / sizeof bad_requests[0]; i++) {
		const struct bad *bad = &bad_requests[i];
		enum http_parse result = parse(bad->text, false);
		cr_assert_eq(result, HTTP_REJECTED, "%s: result %d", bad->name, result);
		cr_expect_eq(why.status, bad->status, "%s: status %d", bad->name, why.status);
		cr_expect_str_eq(why.code, bad->code, "%s: code %s", bad->name, why.code);
		cr_expect(why.message[0], "%s: a message", bad->name);
	}
}

/* However the bytes come, the answer is the same, and nothing is taken before it is whole. */
Test(parse, bad_requests_byte_by_byte)
{
	for (size_t i = 0; i < sizeof bad_requests / sizeof bad_requests[0]; i++) {
		const struct bad *bad = &bad_requests[i];
		enum http_parse result = HTTP_INCOMPLETE;
		for (size_t n = 0; n <= bad->text.len && result == HTTP_INCOMPLETE; n++)
			result = parse((sl_str){ bad->text.ptr, n }, false);
		cr_assert_eq(result, HTTP_REJECTED, "%s: result %d", bad->name, result);
		cr_expect_eq(why.status, bad->status, "%s: status %d", bad->name, why.status);
	}
}

static const char good[] = "\r\nPOST /v1/chat/completions?a=%20b&c={d|e} HTTP/1.1\r\n"
                           "hOsT: example.org:8080\r\n"
                           "Authorization:Bearer sk-1\r\n"
                           "X-Empty:\r\n"
                           "X-Spaces: \t  a  b\t \r\n"
                           "X-High: \xc3\xa9\r\n"
                           "content-length: 010\r\n"
                           "EXPECT: 100-Continue\r\n"
                           "Connection: x-mine , Keep-Alive\r\n"
                           "\r\n";

Test(parse, good_request)
{
	cr_assert_eq(parse(STR(good), false), HTTP_COMPLETE, "%s", why.message);
	cr_expect(str_eq(head.method, STR("POST")));
	cr_expect(str_eq(head.target, STR("/v1/chat/completions?a=%20b&c={d|e}")));
	cr_expect(str_eq(head.path, STR("/v1/chat/completions")));
	cr_expect(str_eq(head.query, STR("a=%20b&c={d|e}")));
	cr_expect_eq(head.length, sizeof good - 1);
	cr_expect_eq(head.n_headers, 8);
	cr_expect_eq(head.minor, 1);
	cr_expect(head.keep_alive && head.expect_continue && head.has_length && !head.chunked);
	cr_expect_eq(head.content_length, 10, "a leading zero is no octal");
	cr_expect(str_eq(http_header(&head, "authorization"), STR("Bearer sk-1")));
	cr_expect(str_eq(http_header(&head, "x-spaces"), STR("a  b")));
	cr_expect_not_null(http_header(&head, "X-EMPTY").ptr, "present and empty");
	cr_expect_null(http_header(&head, "X-None").ptr, "absent");
}

Test(parse, every_cut_is_incomplete)
{
	for (size_t n = 0; n < sizeof good - 1; n++)
		cr_assert_eq(parse((sl_str){ good, n }, false), HTTP_INCOMPLETE, "cut at %zu", n);
	char more[sizeof good + 8];
	snprintf(more, sizeof more, "%sGET /", good);
	cr_assert_eq(parse(str_of(more), false), HTTP_COMPLETE);
	cr_assert_eq(head.length, sizeof good - 1, "what follows is not touched");
}

Test(parse, good_variants)
{
	static const struct { const char *text, *path; bool keep_alive; } cases[] = {
		{ "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "/", true },
		{ "GET / HTTP/1.1\r\nHost:\r\n\r\n", "/", true },
		{ "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "/", true },
		{ "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "/", false },
		{ "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n", "/", false },
		{ "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n", "/", false },
		{ "GET / HTTP/1.0\r\n\r\n", "/", false },
		{ "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "/", true },
		{ "GET / HTTP/1.0\r\nExpect: nonsense\r\n\r\n", "/", false },
		{ "get //a/%2e%2e/%00 HTTP/1.1\r\nHost: a\r\n\r\n", "//a/%2e%2e/%00", true },
		{ "GET http://A:1/x?y HTTP/1.1\r\nHost: a:1\r\n\r\n", "/x", true },
		{ "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "*", true },
		{ "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:  cHuNkEd \r\n\r\n", "/", true },
		{ "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\n", "/", true },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		cr_assert_eq(parse(str_of(cases[i].text), false), HTTP_COMPLETE, "%s: %s", cases[i].text, why.message);
		cr_expect(str_eq(head.path, str_of(cases[i].path)), "%s", cases[i].text);
		cr_expect_eq(head.keep_alive, cases[i].keep_alive, "%s", cases[i].text);
	}
}

static char big[HTTP_HEAD_MAX * 2];

static size_t fill(size_t at, char c, size_t n)
{
	memset(big + at, c, n);
	return at + n;
}

static size_t add(size_t at, const char *text)
{
	memcpy(big + at, text, strlen(text));
	return at + strlen(text);
}

Test(parse, limits_of_size)
{
	size_t n = add(0, "GET /");
	n = fill(n, 'a', HTTP_LINE_MAX - 5);
	cr_expect_eq(parse((sl_str){ big, n }, false), HTTP_INCOMPLETE, "8 KiB may become a request line");
	size_t whole = add(n, " HTTP/1.1\r\nHost: a\r\n\r\n");
	cr_expect_eq(parse((sl_str){ big, whole }, false), HTTP_COMPLETE, "%s", why.message);
	n = fill(n, 'a', 1);
	cr_expect_eq(parse((sl_str){ big, n }, false), HTTP_REJECTED, "more is refused before it is whole");
	cr_expect_eq(why.status, 414);

	n = add(0, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
	n = fill(n, 'x', HTTP_HEAD_MAX - n - 4);
	whole = add(n, "\r\n\r\n");
	cr_expect_eq(parse((sl_str){ big, whole }, false), HTTP_COMPLETE, "exactly 32 KiB: %s", why.message);
	whole = add(n, "xxxx");
	cr_expect_eq(parse((sl_str){ big, whole - 1 }, false), HTTP_INCOMPLETE);
	cr_expect_eq(parse((sl_str){ big, whole }, false), HTTP_REJECTED);
	cr_expect_eq(why.status, 431);
	cr_expect_str_eq(why.code, "headers_too_large");
}

Test(parse, limit_of_count)
{
	size_t n = add(0, "GET / HTTP/1.1\r\nHost: a\r\n");
	for (int i = 1; i < HTTP_HEADERS_MAX; i++)
		n = add(n, "X: 1\r\n");
	size_t whole = add(n, "\r\n");
	cr_expect_eq(parse((sl_str){ big, whole }, false), HTTP_COMPLETE, "%s", why.message);
	cr_expect_eq(head.n_headers, HTTP_HEADERS_MAX);
	whole = add(n, "X: 1\r\n");
	cr_expect_eq(parse((sl_str){ big, whole }, false), HTTP_REJECTED);
	cr_expect_eq(why.status, 431);
}

Test(parse, hop_headers)
{
	cr_assert_eq(parse(STR("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Trace\r\nConnection: authorization\r\n\r\n"),
	                   false), HTTP_COMPLETE);
	static const struct { const char *name; bool hop; } cases[] = {
		{ "Connection", true }, { "Keep-Alive", true }, { "TE", true }, { "Trailer", true }, { "Upgrade", true },
		{ "Transfer-Encoding", true }, { "Proxy-Connection", true }, { "Proxy-Authorization", true },
		{ "x-trace", true }, { "Authorization", true }, { "Content-Type", false }, { "Host", false }, { "", false },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		cr_expect_eq(http_is_hop_header(&head, str_of(cases[i].name)), cases[i].hop, "%s", cases[i].name);
	cr_assert_eq(parse(STR("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"), false), HTTP_COMPLETE);
	cr_expect_not(http_is_hop_header(&head, STR("Authorization")));
}

static const struct bad bad_responses[] = {
	BAD("length and coding", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 0, NULL),
	BAD("lengths differ", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 0, NULL),
	BAD("length list differs", "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n", 0, NULL),
	BAD("bad length", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", 0, NULL),
	BAD("gzip coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 0, NULL),
	BAD("coding in 1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 0, NULL),
	BAD("101", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", 0, NULL),
	BAD("099", "HTTP/1.1 099 Low\r\n\r\n", 0, NULL),
	BAD("600", "HTTP/1.1 600 High\r\n\r\n", 0, NULL),
	BAD("4 digits", "HTTP/1.1 2000 OK\r\n\r\n", 0, NULL),
	BAD("HTTP/2", "HTTP/2 200\r\n\r\n", 0, NULL),
	BAD("no HTTP", "ICY 200 OK\r\n\r\n", 0, NULL),
	BAD("html", "<html>502</html>", 0, NULL),
	BAD("bare LF", "HTTP/1.1 200 OK\nContent-Length: 1\n\n", 0, NULL),
	BAD("fold", "HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\n\r\n", 0, NULL),
	BAD("leading blank line", "\r\nHTTP/1.1 200 OK\r\n\r\n", 0, NULL),
};

Test(parse, bad_responses)
{
	for (size_t i = 0; i < sizeof bad_responses / sizeof bad_responses[0]; i++) {
		const struct bad *bad = &bad_responses[i];
		cr_assert_eq(parse(bad->text, true), HTTP_REJECTED, "%s", bad->name);
		cr_expect_eq(why.status, 502, "%s", bad->name);
		cr_expect_str_eq(why.code, "upstream_protocol", "%s", bad->name);
	}
	size_t n = add(0, "HTTP/1.1 200 OK\r\nX: ");
	n = fill(n, 'x', HTTP_HEAD_MAX);
	cr_expect_eq(parse((sl_str){ big, n }, true), HTTP_REJECTED, "a head of 64 KiB");
	cr_expect_eq(why.status, 502);
}

Test(parse, good_responses)
{
	static const char text[] = "HTTP/1.1 200 All \xc3\xa9 fine\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello";
	cr_assert_eq(parse(STR(text), true), HTTP_COMPLETE, "%s", why.message);
	cr_expect_eq(head.status, 200);
	cr_expect(head.has_length && head.content_length == 5 && head.keep_alive);
	cr_expect_eq(head.length, sizeof text - 1 - 5);
	for (size_t n = 0; n < head.length; n++)
		cr_assert_eq(parse((sl_str){ text, n }, true), HTTP_INCOMPLETE, "cut at %zu", n);
	cr_assert_eq(parse(STR("HTTP/1.0 204\r\n\r\n"), true), HTTP_COMPLETE, "a reason may be missing");
	cr_expect(head.status == 204 && !head.keep_alive && !head.has_length && !head.chunked);
	cr_assert_eq(parse(STR("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), true), HTTP_COMPLETE);
	cr_expect_eq(head.status, 100);
	cr_assert_eq(parse(STR("HTTP/1.1 503 \r\nTransfer-Encoding: Chunked\r\nConnection: close\r\n\r\n"), true), HTTP_COMPLETE);
	cr_expect(head.chunked && !head.keep_alive);
}

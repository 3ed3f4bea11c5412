/* SPDX-License-Identifier: Apache-2.0 */
/* parse.c - HTTP/1.1 heads, parsed in place. */
#include "core/http/parse.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "core/base/str.h"

/* Classes of bytes. */
enum { TOKEN = 1, PATH = 2, QUERY = 4, HOST = 8 };

#define LETTER (TOKEN | PATH | QUERY | HOST)
#define QUERY_ONLY QUERY
static const unsigned char classes[256] = {
	['0'...'9'] = LETTER, ['A'...'Z'] = LETTER, ['a'...'z'] = LETTER,
	['-'] = LETTER, ['.'] = LETTER, ['_'] = LETTER, ['~'] = LETTER, ['%'] = LETTER,
	['!'] = TOKEN | PATH | QUERY, ['$'] = TOKEN | PATH | QUERY, ['&'] = TOKEN | PATH | QUERY,
	['\''] = TOKEN | PATH | QUERY, ['*'] = TOKEN | PATH | QUERY, ['+'] = TOKEN | PATH | QUERY,
	['('] = PATH | QUERY, [')'] = PATH | QUERY, [','] = PATH | QUERY, [';'] = PATH | QUERY, ['='] = PATH | QUERY,
	[':'] = PATH | QUERY, ['@'] = PATH | QUERY, ['/'] = PATH | QUERY,
	['?'] = QUERY_ONLY, ['['] = QUERY_ONLY, [']'] = QUERY_ONLY, ['{'] = QUERY_ONLY, ['}'] = QUERY_ONLY,
	['"'] = QUERY_ONLY, ['<'] = QUERY_ONLY, ['>'] = QUERY_ONLY,
	['^'] = TOKEN | QUERY, ['`'] = TOKEN | QUERY, ['|'] = TOKEN | QUERY, ['#'] = TOKEN,
};

static bool is(unsigned char c, unsigned class)
{
	return (classes[c] & class) != 0;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char) (c | 0x20) : c;
}

/* `name` is in lower case and as long as s. */
static bool eq_lower(sl_str s, const char *name)
{
	for (size_t i = 0; i < s.len; i++)
		if (lower(s.ptr[i]) != name[i])
			return false;
	return true;
}

static bool is_word(sl_str s, const char *name)
{
	return s.len == strlen(name) && eq_lower(s, name);
}

/* A head that is being read. */
struct reader {
	const char *at, *end;
	struct http_head *out;
	struct http_reject *why;
	bool response;
	unsigned hosts, encodings;
	sl_str authority; /* of an absolute target */
	sl_str host;
};

static enum http_parse refuse(struct reader *r, int status, const char *code, const char *message)
{
	if (r->response)
		*r->why = (struct http_reject){ 502, "upstream_protocol", message };
	else
		*r->why = (struct http_reject){ status, code, message };
	return HTTP_REJECTED;
}

static enum http_parse bad_header(struct reader *r, const char *message)
{
	return refuse(r, 400, "invalid_header", message);
}

static enum http_parse bad_framing(struct reader *r, const char *message)
{
	return refuse(r, 400, "invalid_framing", message);
}

static enum http_parse bad_line(struct reader *r, const char *message)
{
	return refuse(r, 400, "invalid_request_line", message);
}

/* The first byte that may not stand in a field's value: a control character other than tab. */
static const char *value_end(const char *p, const char *end)
{
#ifdef __SSE2__
	const __m128i space = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8('\t'), del = _mm_set1_epi8(0x7f);
	for (; end - p >= 16; p += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *) p);
		__m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, space), v);
		low = _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(v, tab), low), _mm_cmpeq_epi8(v, del));
		int found = _mm_movemask_epi8(low);
		if (found)
			return p + __builtin_ctz((unsigned) found);
	}
#endif
	while (p < end && (((unsigned char) *p >= 0x20 && *p != 0x7f) || *p == '\t'))
		p++;
	return p;
}

/* The first byte that may not stand in a field's name. */
static const char *name_end(const char *p, const char *end)
{
#ifdef __SSE2__
	/* Letters and hyphens at once, which is what names are made of; the table says what else is fine. */
	for (; end - p >= 16; p++) {
		__m128i v = _mm_loadu_si128((const __m128i *) p), small = _mm_or_si128(v, _mm_set1_epi8(0x20));
		__m128i letter = _mm_and_si128(_mm_cmpgt_epi8(small, _mm_set1_epi8('a' - 1)), _mm_cmplt_epi8(small, _mm_set1_epi8('z' + 1)));
		letter = _mm_or_si128(letter, _mm_cmpeq_epi8(v, _mm_set1_epi8('-')));
		unsigned other = (unsigned) ~_mm_movemask_epi8(letter) & 0xffff;
		p += other ? __builtin_ctz(other) : 15;
		if (other && !is((unsigned char) *p, TOKEN))
			return p;
	}
#endif
	while (p < end && is((unsigned char) *p, TOKEN))
		p++;
	return p;
}

/* CRLF at r->at: COMPLETE and stepped over. */
static enum http_parse line_end(struct reader *r)
{
	if (r->at == r->end)
		return HTTP_INCOMPLETE;
	if (*r->at == '\n')
		return bad_header(r, "A line ends in a bare LF.");
	if (*r->at != '\r')
		return bad_header(r, "A line has a control character, or more than it should have.");
	if (r->end - r->at < 2)
		return HTTP_INCOMPLETE;
	if (r->at[1] != '\n')
		return bad_header(r, "A CR stands alone.");
	r->at += 2;
	return HTTP_COMPLETE;
}

/* Steps over a comma-separated list's next element, which may be empty. False: none is left. */
static bool list_next(sl_str *rest, sl_str *element)
{
	if (!rest->ptr)
		return false;
	const char *comma = rest->len ? memchr(rest->ptr, ',', rest->len) : NULL;
	size_t n = comma ? (size_t) (comma - rest->ptr) : rest->len;
	*element = str_trim((sl_str){ rest->ptr, n });
	*rest = comma ? (sl_str){ comma + 1, rest->len - n - 1 } : (sl_str){ NULL, 0 };
	return true;
}

static enum http_parse read_length(struct reader *r, sl_str value)
{
	struct http_head *out = r->out;
	sl_str rest = value, element;
	while (list_next(&rest, &element)) {
		uint64_t length;
		if (!str_to_u64(element, INT64_MAX, &length))
			return bad_framing(r, "Content-Length is not a number of bytes.");
		if (out->has_length && !r->response)
			return bad_framing(r, "Content-Length is given twice.");
		if (out->has_length && out->content_length != length)
			return bad_framing(r, "Content-Length is given twice and differs.");
		out->has_length = true;
		out->content_length = length;
	}
	return HTTP_COMPLETE;
}

/* Only `chunked` alone is understood. RFC 9112 6.1: what we do not know is 501, what has no end is 400. */
static enum http_parse read_encoding(struct reader *r, sl_str value)
{
	static const char *const known[] = { "gzip", "x-gzip", "deflate", "compress", "x-compress", NULL };
	sl_str rest = value, coding = { NULL, 0 };
	unsigned n = 0, chunked = 0;
	if (r->encodings++)
		return bad_framing(r, "Transfer-Encoding is given twice.");
	while (list_next(&rest, &coding)) {
		bool understood = is_word(coding, "chunked");
		if (coding.len == 0)
			return bad_framing(r, "Transfer-Encoding has an empty element.");
		for (size_t i = 0; i < coding.len; i++)
			if (!is((unsigned char) coding.ptr[i], TOKEN))
				return bad_framing(r, "Transfer-Encoding has a character that cannot stand there.");
		chunked += understood;
		for (size_t i = 0; known[i] && !understood; i++)
			understood = is_word(coding, known[i]);
		if (!understood)
			return refuse(r, 501, "unsupported_transfer_coding", "This transfer coding is not supported.");
		n++;
	}
	if (chunked != 1 || !is_word(coding, "chunked"))
		return bad_framing(r, "Transfer-Encoding does not end in chunked, once.");
	if (n > 1)
		return refuse(r, 501, "unsupported_transfer_coding", "Transfer codings other than chunked are not supported.");
	r->out->chunked = true;
	return HTTP_COMPLETE;
}

/* close wins over keep-alive; http_head.keep_alive was set by the version. */
static void read_connection(struct http_head *out, sl_str value)
{
	sl_str rest = value, element;
	while (list_next(&rest, &element)) {
		if (is_word(element, "close"))
			out->connection_close = true;
		else if (is_word(element, "keep-alive"))
			out->keep_alive = true;
		else if (element.len)
			out->connection_names = true;
	}
}

static bool is_host(sl_str host)
{
	size_t at = 0;
	if (host.len && host.ptr[0] == '[') {
		for (at = 1; at < host.len && host.ptr[at] != ']'; at++)
			if (!is((unsigned char) host.ptr[at], HOST) && host.ptr[at] != ':')
				return false;
		if (at++ == host.len)
			return false;
	} else {
		while (at < host.len && is((unsigned char) host.ptr[at], HOST))
			at++;
	}
	if (at < host.len && host.ptr[at++] != ':')
		return false;
	while (at < host.len && host.ptr[at] >= '0' && host.ptr[at] <= '9')
		at++;
	return at == host.len;
}

/* What of the fields is ours to understand. */
static enum http_parse understand(struct reader *r, sl_str name, sl_str value)
{
	switch (name.len) {
	case 4:
		if (r->response || !eq_lower(name, "host"))
			break;
		if (r->hosts++)
			return refuse(r, 400, "invalid_host", "Host is given twice.");
		if (!is_host(value))
			return refuse(r, 400, "invalid_host", "Host is not a name with an optional port.");
		r->host = value;
		break;
	case 6:
		if (r->response || r->out->minor == 0 || !eq_lower(name, "expect"))
			break;
		if (!is_word(value, "100-continue"))
			return refuse(r, 417, "expectation_failed", "Only Expect: 100-continue is understood.");
		r->out->expect_continue = true;
		break;
	case 10:
		if (eq_lower(name, "connection"))
			read_connection(r->out, value);
		break;
	case 14:
		if (eq_lower(name, "content-length"))
			return read_length(r, value);
		break;
	case 17:
		if (eq_lower(name, "transfer-encoding"))
			return read_encoding(r, value);
		break;
	}
	return HTTP_COMPLETE;
}

/* One `name: value` line. */
static enum http_parse read_field(struct reader *r)
{
	const char *start = r->at, *p = name_end(start, r->end);
	if (p == r->end)
		return HTTP_INCOMPLETE;
	if (*p != ':' || p == start) {
		if (*p == ' ' || *p == '\t')
			return bad_header(r, p == start ? "A line begins with white space (folded headers are not accepted)."
			                                : "White space stands before a colon.");
		return bad_header(r, p == start ? "A header has no name." : "A header's name has a character that cannot stand there.");
	}
	sl_str name = { start, (size_t) (p - start) };
	const char *value = p + 1;
	r->at = value_end(value, r->end);
	sl_str text = str_trim((sl_str){ value, (size_t) (r->at - value) });
	enum http_parse ended = line_end(r);
	if (ended != HTTP_COMPLETE)
		return ended;
	if (r->out->n_headers == HTTP_HEADERS_MAX)
		return refuse(r, 431, "headers_too_large", "The request has more than 100 headers.");
	r->out->headers[r->out->n_headers++] = (struct http_header){ name, text };
	return understand(r, name, text);
}

/* All fields and the blank line. */
static enum http_parse read_fields(struct reader *r)
{
	for (;;) {
		if (r->at == r->end)
			return HTTP_INCOMPLETE;
		if (*r->at == '\r' || *r->at == '\n')
			return line_end(r);
		enum http_parse field = read_field(r);
		if (field != HTTP_COMPLETE)
			return field;
	}
}

/* "HTTP/1.1" at r->at. The bytes that are there are checked even when there are too few. */
static enum http_parse read_version(struct reader *r)
{
	static const char text[] = "HTTP/";
	const char *p = r->at;
	size_t have = (size_t) (r->end - p);
	if (memcmp(p, text, have < 5 ? have : 5) != 0)
		return bad_line(r, r->response ? "The answer is not HTTP." : "The request line has no HTTP version.");
	if (have < 8)
		return HTTP_INCOMPLETE;
	if (p[5] < '0' || p[5] > '9' || p[6] != '.' || p[7] < '0' || p[7] > '9')
		return bad_line(r, "The HTTP version is malformed.");
	if (p[5] != '1' || p[7] > '1')
		return refuse(r, 505, "http_version_not_supported", "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
	r->out->minor = p[7] - '0';
	r->out->keep_alive = r->out->minor == 1;
	r->at += 8;
	return HTTP_COMPLETE;
}

/* Takes the target apart: "/path?query", "http://host/path?query", or "*" for OPTIONS. */
static bool split_target(struct reader *r)
{
	struct http_head *out = r->out;
	sl_str rest = out->target;
	if (rest.ptr[0] != '/') {
		if (str_eq(rest, STR("*"))) {
			out->path = rest;
			return str_eq(out->method, STR("OPTIONS"));
		}
		if (rest.len < 8 || !eq_lower((sl_str){ rest.ptr, 7 }, "http://"))
			return false;
		rest = (sl_str){ rest.ptr + 7, rest.len - 7 };
		size_t n = 0;
		while (n < rest.len && rest.ptr[n] != '/' && rest.ptr[n] != '?')
			n++;
		r->authority = (sl_str){ rest.ptr, n };
		rest = (sl_str){ rest.ptr + n, rest.len - n };
		if (n == 0 || !is_host(r->authority) || rest.len == 0 || rest.ptr[0] != '/')
			return false;
	}
	const char *mark = memchr(rest.ptr, '?', rest.len);
	size_t n = mark ? (size_t) (mark - rest.ptr) : rest.len;
	out->path = (sl_str){ rest.ptr, n };
	if (mark)
		out->query = (sl_str){ mark + 1, rest.len - n - 1 };
	for (size_t i = 0; i < n; i++)
		if (!is((unsigned char) rest.ptr[i], PATH))
			return false;
	for (size_t i = 0; i < out->query.len; i++)
		if (!is((unsigned char) out->query.ptr[i], QUERY))
			return false;
	return true;
}

static enum http_parse read_request_line(struct reader *r)
{
	struct http_head *out = r->out;
	const char *start = r->at, *p = start;
	if (*start == 0x16)
		return bad_line(r, "This looks like TLS, and this port speaks plain HTTP.");
	while (p < r->end && is((unsigned char) *p, TOKEN))
		p++;
	if (p < r->end && (*p != ' ' || p == start))
		return bad_line(r, "The request does not begin with a method.");
	out->method = (sl_str){ start, (size_t) (p - start) };
	const char *target = p < r->end ? ++p : p;
	while (p < r->end && (unsigned char) *p > ' ' && (unsigned char) *p < 0x7f)
		p++;
	if (p - start > HTTP_LINE_MAX)
		return refuse(r, 414, "uri_too_long", "The request line is longer than 8 KiB.");
	if (p == r->end)
		return HTTP_INCOMPLETE;
	if (*p != ' ' || p == target)
		return bad_line(r, "The request line is not a method, a target and a version.");
	out->target = (sl_str){ target, (size_t) (p - target) };
	r->at = p + 1;
	enum http_parse version = read_version(r);
	if (version != HTTP_COMPLETE)
		return version;
	if (str_eq(out->method, STR("CONNECT")))
		return refuse(r, 501, "method_not_supported", "CONNECT is not supported.");
	if (!split_target(r))
		return bad_line(r, "The target of the request is malformed.");
	return line_end(r);
}

static enum http_parse read_status_line(struct reader *r)
{
	enum http_parse version = read_version(r);
	if (version != HTTP_COMPLETE)
		return version;
	const char *p = r->at;
	int status = 0;
	for (int i = 0; i < 4; i++, p++) {
		if (p == r->end)
			return HTTP_INCOMPLETE;
		if (i == 0 ? *p != ' ' : (*p < '0' || *p > '9'))
			return bad_line(r, "The answer's status line is malformed.");
		if (i)
			status = status * 10 + (*p - '0');
	}
	if (status < 100 || status > 599)
		return bad_line(r, "The answer's status is none.");
	if (status == 101)
		return bad_line(r, "The answer switches protocols, which nobody asked for.");
	r->out->status = status;
	r->at = p;
	if (p < r->end && *p != ' ' && *p != '\r')
		return bad_line(r, "The answer's status line is malformed.");
	r->at = value_end(p, r->end);
	if (r->at - p > HTTP_LINE_MAX)
		return bad_line(r, "The answer's status line is longer than 8 KiB.");
	return line_end(r);
}

/* What can be judged only when all fields are known. */
static enum http_parse judge(struct reader *r)
{
	struct http_head *out = r->out;
	if (out->connection_close)
		out->keep_alive = false;
	if (out->chunked && out->has_length)
		return bad_framing(r, "Content-Length and Transfer-Encoding contradict each other.");
	if (out->chunked && out->minor == 0)
		return bad_framing(r, "HTTP/1.0 has no Transfer-Encoding.");
	if (r->response)
		return HTTP_COMPLETE;
	if (out->minor == 1 && r->hosts == 0)
		return refuse(r, 400, "invalid_host", "Host is missing.");
	if (r->authority.ptr && r->hosts && !str_eq_nocase(r->authority, r->host))
		return refuse(r, 400, "invalid_host", "Host and the target of the request contradict each other.");
	return HTTP_COMPLETE;
}

static enum http_parse parse(struct reader *r, const char *data, size_t len)
{
	/* The array of headers is 3 KiB: it is filled, never cleared. */
	memset(r->out, 0, offsetof(struct http_head, headers));
	r->end = data + (len < HTTP_HEAD_MAX ? len : HTTP_HEAD_MAX);
	if (r->at == r->end)
		return HTTP_INCOMPLETE;
	enum http_parse result = r->response ? read_status_line(r) : read_request_line(r);
	if (result == HTTP_COMPLETE)
		result = read_fields(r);
	if (result == HTTP_COMPLETE)
		result = judge(r);
	if (result == HTTP_INCOMPLETE && len >= HTTP_HEAD_MAX)
		return refuse(r, 431, "headers_too_large", "The head of the message is longer than 32 KiB.");
	if (result == HTTP_COMPLETE)
		r->out->length = (size_t) (r->at - data);
	return result;
}

enum http_parse http_parse_request(const char *data, size_t len, struct http_head *out, struct http_reject *why)
{
	struct reader r = { .at = data, .out = out, .why = why };
	if (len && data[0] == '\r') {
		if (len == 1)
			return HTTP_INCOMPLETE;
		if (data[1] == '\n')
			r.at += 2;
	}
	return parse(&r, data, len);
}

bool http_is_head_request(sl_str data)
{
	if (str_starts(data, STR("\r\n")))
		data = (sl_str){ data.ptr + 2, data.len - 2 };
	return str_starts(data, STR("HEAD "));
}

enum http_parse http_parse_response(const char *data, size_t len, struct http_head *out, struct http_reject *why)
{
	struct reader r = { .at = data, .out = out, .why = why, .response = true };
	return parse(&r, data, len);
}

/* Most names differ in their length or their first letter. */
static inline bool is_named(const struct http_header *h, sl_str wanted)
{
	return h->name.len == wanted.len && ((h->name.ptr[0] ^ wanted.ptr[0]) & ~0x20) == 0 && str_eq_nocase(h->name, wanted);
}

sl_str http_header(const struct http_head *head, const char *name)
{
	sl_str wanted = str_of(name);
	for (unsigned i = 0; i < head->n_headers; i++)
		if (is_named(&head->headers[i], wanted))
			return head->headers[i].value;
	return (sl_str){ NULL, 0 };
}

static bool list_has(sl_str value, sl_str token)
{
	sl_str rest = value, element;
	while (list_next(&rest, &element))
		if (str_eq_nocase(element, token))
			return true;
	return false;
}

bool http_is_hop_header(const struct http_head *head, sl_str name)
{
	static const sl_str names[] = { STR("te"), STR("trailer"), STR("upgrade"), STR("connection"), STR("keep-alive"),
		STR("proxy-connection"), STR("transfer-encoding"), STR("proxy-authenticate"), STR("proxy-authorization") };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (name.len == names[i].len && eq_lower(name, names[i].ptr))
			return true;
	if (!head->connection_names)
		return false;
	for (unsigned i = 0; i < head->n_headers; i++)
		if (is_word(head->headers[i].name, "connection") && list_has(head->headers[i].value, name))
			return true;
	return false;
}

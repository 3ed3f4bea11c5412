/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_http.c - heads and chunked bodies: what a part of the input says must hold for the whole of it. */
#include "core/http/parse.h"
#include "tests/fuzz/fuzz.h"

enum { INPUT_MAX = 64 * 1024, CUTS = 48 };

typedef enum http_parse (*parser)(const char *, size_t, struct http_head *, struct http_reject *);

static void check_head(const struct http_head *head, const char *data, size_t size)
{
	CHECK(head->length >= 4 && head->length <= size && head->length <= HTTP_HEAD_MAX);
	CHECK(data[head->length - 1] == '\n' && data[head->length - 2] == '\r' && data[head->length - 3] == '\n');
	CHECK(head->n_headers <= HTTP_HEADERS_MAX);
	CHECK(!(head->chunked && head->has_length));
	check_inside(head->method, data, head->length);
	check_inside(head->target, data, head->length);
	check_inside(head->path, data, head->length);
	check_inside(head->query, data, head->length);
	for (unsigned i = 0; i < head->n_headers; i++) {
		sl_str name = head->headers[i].name, value = head->headers[i].value;
		check_inside(name, data, head->length);
		check_inside(value, data, head->length);
		CHECK(name.len > 0 && value.ptr);
		CHECK(!memchr(name.ptr, ':', name.len) && !memchr(name.ptr, ' ', name.len));
		CHECK(!memchr(value.ptr, '\n', value.len) && !memchr(value.ptr, '\r', value.len) && !memchr(value.ptr, 0, value.len));
		http_is_hop_header(head, name);
	}
}

static void fuzz_head(const uint8_t *data, size_t size, parser parse)
{
	static struct http_head head;
	struct http_reject why = { 0 };
	char *copy = exact_copy(data, size);
	enum http_parse whole = parse(copy, size, &head, &why);
	size_t length = whole == HTTP_COMPLETE ? head.length : 0;
	if (whole == HTTP_COMPLETE)
		check_head(&head, copy, size);
	if (whole == HTTP_REJECTED)
		CHECK(why.status >= 400 && why.status < 600 && why.code && why.message);
	free(copy);
	size_t step = size / CUTS + 1;
	for (size_t n = 0; n < size; n += step) {
		copy = exact_copy(data, n);
		enum http_parse part = parse(copy, n, &head, &why);
		CHECK(part == HTTP_INCOMPLETE || part == whole);
		CHECK(part != HTTP_COMPLETE || head.length == length);
		CHECK(whole != HTTP_COMPLETE || n < length || part == HTTP_COMPLETE);
		free(copy);
	}
}

struct decoded {
	enum http_parse result;
	size_t consumed, len;
	char body[INPUT_MAX];
};

static void decode(const uint8_t *data, size_t size, size_t step, struct decoded *out)
{
	struct http_chunked c = { 0 };
	struct http_reject why = { 0 };
	out->consumed = out->len = 0;
	out->result = HTTP_INCOMPLETE;
	while (out->result == HTTP_INCOMPLETE && out->consumed < size) {
		size_t n = size - out->consumed < step ? size - out->consumed : step, used = 0;
		char *part = exact_copy(data + out->consumed, n);
		sl_str piece = { NULL, 0 };
		out->result = http_chunked_read(&c, part, n, &used, &piece, &why);
		if (out->result != HTTP_REJECTED) {
			CHECK(used <= n && (used > 0 || out->result == HTTP_COMPLETE));
			check_inside(piece, part, used);
			if (piece.len)
				memcpy(out->body + out->len, piece.ptr, piece.len);
			out->len += piece.len;
			out->consumed += used;
		}
		free(part);
	}
}

static void fuzz_chunked(const uint8_t *data, size_t size)
{
	static struct decoded whole, split;
	static const size_t steps[] = { 1, 2, 7 };
	decode(data, size, size ? size : 1, &whole);
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		decode(data, size, steps[i], &split);
		CHECK(split.result == whole.result);
		if (whole.result == HTTP_REJECTED)
			continue;
		CHECK(split.consumed == whole.consumed && split.len == whole.len);
		CHECK(memcmp(split.body, whole.body, whole.len) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > INPUT_MAX)
		return 0;
	fuzz_head(data, size, http_parse_request);
	fuzz_head(data, size, http_parse_response);
	fuzz_chunked(data, size);
	return 0;
}

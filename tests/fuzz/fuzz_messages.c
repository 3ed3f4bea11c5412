/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_messages.c - Anthropic's messages to chat and back: what is translated is a body, an answer, events. */
#include <jansson.h>
#include <stdbool.h>

#include "core/gateway/messages.h"
#include "tests/fuzz/fuzz.h"

enum { INPUT_MAX = 64 * 1024, PAD = 64 };

static void check_json(const struct buf *text)
{
	json_error_t error;
	json_t *json = json_loadb(text->data, text->len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
	CHECK(json_is_object(json));
	json_decref(json);
}

/* What the scan takes at the door and the translation takes is a chat that the scan takes. */
static void fuzz_request(const char *data, size_t size, bool count)
{
	static struct body body;
	struct body_reject bad;
	struct messages_reject why;
	struct buf out = { 0 };
	char *copy = malloc(size + PAD);
	CHECK(copy);
	memcpy(copy, data, size);
	memset(copy + size, 0, PAD);
	bool scanned = body_scan(copy, size, count ? BODY_COUNT_TOKENS : BODY_MESSAGES, NULL, &body, &bad);
	free(copy);
	if (messages_to_chat((sl_str){ data, size }, count, &out, &why)) {
		check_json(&out);
		CHECK(buf_reserve(&out, PAD));
		memset(out.data + out.len, 'x', PAD);
		bool chat = body_scan(out.data, out.len, BODY_CHAT, NULL, &body, &bad);
		CHECK(chat || !scanned);
	} else {
		CHECK(why.code && why.message[0] && memchr(why.message, 0, sizeof why.message) && memchr(why.param, 0, sizeof why.param));
	}
	buf_free(&out);
}

static void fuzz_answer(const char *data, size_t size)
{
	struct body_usage usage = { 10, 4, 3 };
	struct buf out = { 0 };
	if (messages_from_chat((sl_str){ data, size }, "req_x", &usage, &out))
		check_json(&out);
	buf_free(&out);
	json_t *document;
	messages_error_text((sl_str){ data, size }, &document);
	json_decref(document);
}

/* Each line is a chunk. Every event is two lines, its data JSON, and a block is closed before the next one is opened. */
static void fuzz_stream(const char *data, size_t size)
{
	struct body_usage usage = { 10, 4, 3 };
	struct messages_stream s = { 0 };
	struct buf out = { 0 };
	for (size_t at = 0; at < size;) {
		const char *end = memchr(data + at, '\n', size - at);
		size_t len = end ? (size_t) (end - data) - at : size - at;
		messages_stream_chunk(&s, (sl_str){ data + at, len }, "req_x", &usage, &out);
		at += len + 1;
	}
	messages_stream_end(&s, "req_x", &usage, &out);
	free(s.stop_sequence);
	buf_put(&out, "", 1);
	CHECK(!out.failed);
	int open = 0;
	for (char *at = out.data, *end; *at; at = end + 2) {
		char *body = strstr(at, "\ndata: ");
		end = strstr(at, "\n\n");
		CHECK(body && end && body < end && !memchr(body + 1, '\n', (size_t) (end - body - 1)));
		struct buf event = { .data = body + 7, .len = (size_t) (end - body) - 7 };
		check_json(&event);
		open += strncmp(at, "event: content_block_start", 26) == 0;
		open -= strncmp(at, "event: content_block_stop", 25) == 0;
		CHECK(open == 0 || open == 1);
	}
	CHECK(open == 0);
	buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > INPUT_MAX)
		return 0;
	char *copy = exact_copy(data, size);
	fuzz_request(copy, size, false);
	fuzz_request(copy, size, true);
	fuzz_answer(copy, size);
	fuzz_stream(copy, size);
	free(copy);
	return 0;
}

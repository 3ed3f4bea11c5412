/* SPDX-License-Identifier: Apache-2.0 */
/* messages.h - Anthropic's messages for engines that speak chat completions only: the request on its way there, the
 * answer and the stream on their way back. No socket, no clock, no request: documents in, documents out. These build
 * whole documents with jansson; what an engine speaks itself never comes here. */
#ifndef CORE_GATEWAY_MESSAGES_H
#define CORE_GATEWAY_MESSAGES_H

#include <jansson.h>
#include <stdbool.h>
#include <sluice/types.h>

#include "core/base/buf.h"
#include "core/gateway/body.h"

/* Why a request has no counterpart. */
struct messages_reject {
	const char *code;   /* invalid_json, invalid_value, unsupported_value, overloaded (out of memory) */
	char param[96];     /* such as messages.2.content.0.source */
	char message[200];
};

/* The body of a chat completion that asks for the same as `text`, a body of the door messages, or of count_tokens:
 * then a token at most is asked for, since the answer is needed for its count of the prompt only. False: why. */
bool messages_to_chat(sl_str text, bool count, struct buf *out, struct messages_reject *why);
/* Is it a body of the door messages as it should be? For those that an engine could not work with. */
bool messages_valid(sl_str text, struct messages_reject *why);

/* The message that the answer of a chat completion is. False: it is none. id: of the request. */
bool messages_from_chat(sl_str answer, const char *id, const struct body_usage *usage, struct buf *out);

/* Between the events of a stream. Zero-initialised is its beginning. */
struct messages_stream {
	bool started, tool_used;
	enum messages_block { MESSAGES_NO_BLOCK, MESSAGES_TEXT, MESSAGES_THINKING, MESSAGES_TOOL } block; /* that is open */
	int64_t index;           /* of the block that is open, or comes next */
	int64_t tool;            /* which of the engine's tool calls is open */
	char stop_reason[24];
	char *stop_sequence;     /* JSON, NULL: none. Free it with free(). */
};
/* The events that one chunk becomes. False: it is no JSON object. usage: what is known of it by now. */
bool messages_stream_chunk(struct messages_stream *s, sl_str chunk, const char *id, const struct body_usage *usage, struct buf *out);
/* The events behind the last chunk. */
void messages_stream_end(struct messages_stream *s, const char *id, const struct body_usage *usage, struct buf *out);

/* What Anthropic calls the error of an HTTP status. */
const char *messages_error_type(int status);
/* {"type":"error",...}. code and param may be NULL. */
void messages_put_error(struct buf *out, const char *type, sl_str message, const char *code, const char *param, const char *id);
/* The words in an engine's error, whatever its shape; absent: there are none. `*document` is to be freed then. */
sl_str messages_error_text(sl_str body, json_t **document);

#endif

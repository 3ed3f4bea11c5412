/* SPDX-License-Identifier: Apache-2.0 */
/* messages_answer.c - the answer of a chat completion as a message, its chunks as the events of one, and errors. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/str.h"
#include "core/gateway/messages.h"

enum { TEXT_DIGITS = 15, LOAD = JSON_ALLOW_NUL, DUMP = JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(TEXT_DIGITS) };

static void put_value(struct buf *out, const json_t *value)
{
	char *text = json_dumps(value, DUMP);
	if (text)
		buf_puts(out, text);
	out->failed |= !text;
	free(text);
}

/* Of no string: the empty one. */
static sl_str str_in(const json_t *string)
{
	return json_is_string(string) ? (sl_str){ json_string_value(string), json_string_length(string) } : STR("");
}

/* A member that is a text and not empty. */
static const json_t *words(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);
	return json_string_length(value) ? value : NULL;
}

static const json_t *thoughts(const json_t *message)
{
	const json_t *found = words(message, "reasoning_content");
	return found ? found : words(message, "reasoning");
}

/* Why it ended, in Anthropic's words. */
static const char *stop_reason(const json_t *choice, bool tools)
{
	const char *reason = json_get_str(choice, "finish_reason", "");
	if (strcmp(reason, "length") == 0)
		return "max_tokens";
	if (strcmp(reason, "content_filter") == 0)
		return "refusal";
	if (tools || strcmp(reason, "tool_calls") == 0 || strcmp(reason, "function_call") == 0)
		return "tool_use";
	/* What vLLM and SGLang say of the text that they stopped at. */
	return words(choice, "stop_reason") || words(choice, "matched_stop") ? "stop_sequence" : "end_turn";
}

static const json_t *stop_sequence(const json_t *choice)
{
	const json_t *found = words(choice, "stop_reason");
	return found ? found : words(choice, "matched_stop");
}

static void put_usage(struct buf *out, const struct body_usage *usage)
{
	int64_t input = usage->input > 0 ? usage->input : 0, cached = usage->cached > 0 ? usage->cached : 0;
	if (cached > input)
		cached = input;
	buf_puts(out, "{\"input_tokens\":");
	buf_put_i64(out, input - cached);
	buf_puts(out, ",\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":");
	buf_put_i64(out, cached);
	buf_puts(out, ",\"output_tokens\":");
	buf_put_i64(out, usage->output > 0 ? usage->output : 0);
	buf_puts(out, "}");
}

/* "msg_" and what is behind "req_". */
static void put_head(struct buf *out, const char *id, const json_t *answer)
{
	buf_printf(out, "{\"id\":\"msg_%s\",\"type\":\"message\",\"role\":\"assistant\",\"model\":", strlen(id) > 4 ? id + 4 : id);
	buf_put_json(out, str_of(json_get_str(answer, "model", "")));
}

static void comma(struct buf *out, unsigned *n)
{
	if ((*n)++)
		buf_puts(out, ",");
}

/* An id of a tool call; engines that name none get one of ours. */
static void put_tool_id(struct buf *out, const json_t *call, const char *id, int64_t index)
{
	const json_t *given = words(call, "id");
	if (given)
		buf_put_json(out, str_in(given));
	else
		buf_printf(out, "\"toolu_%s_%lld\"", strlen(id) > 4 ? id + 4 : id, (long long) index);
}

static void put_tool(struct buf *out, const json_t *call, const char *id, int64_t index)
{
	const json_t *function = json_object_get(call, "function"), *arguments = json_object_get(function, "arguments");
	json_t *input = json_is_string(arguments) ? json_loadb(json_string_value(arguments), json_string_length(arguments), LOAD, NULL)
	                                          : json_deep_copy(arguments);
	buf_puts(out, "{\"type\":\"tool_use\",\"id\":");
	put_tool_id(out, call, id, index);
	buf_puts(out, ",\"name\":");
	buf_put_json(out, str_in(json_object_get(function, "name")));
	buf_puts(out, ",\"input\":");
	if (json_is_object(input))
		put_value(out, input);
	else
		buf_puts(out, "{}"); /* cut by the bound on the answer, or nonsense */
	buf_puts(out, "}");
	json_decref(input);
}

static void put_content(struct buf *out, const json_t *message, const char *id)
{
	const json_t *thought = thoughts(message), *text = words(message, "content"), *calls = json_object_get(message, "tool_calls");
	unsigned n = 0;
	if (!text)
		text = words(message, "refusal");
	buf_puts(out, ",\"content\":[");
	if (thought) {
		comma(out, &n);
		buf_puts(out, "{\"type\":\"thinking\",\"thinking\":");
		buf_put_json(out, str_in(thought));
		buf_puts(out, ",\"signature\":\"\"}");
	}
	if (text) {
		comma(out, &n);
		buf_puts(out, "{\"type\":\"text\",\"text\":");
		buf_put_json(out, str_in(text));
		buf_puts(out, "}");
	}
	for (size_t i = 0; i < json_array_size(calls); i++) {
		comma(out, &n);
		put_tool(out, json_array_get(calls, i), id, (int64_t) i);
	}
	buf_puts(out, "]");
}

bool messages_from_chat(sl_str answer, const char *id, const struct body_usage *usage, struct buf *out)
{
	json_t *chat = json_loadb(answer.ptr, answer.len, LOAD, NULL);
	const json_t *choice = json_array_get(json_object_get(chat, "choices"), 0), *message = json_object_get(choice, "message");
	bool ok = json_is_object(message);
	if (ok) {
		bool tools = json_array_size(json_object_get(message, "tool_calls")) > 0;
		const char *why = stop_reason(choice, tools);
		put_head(out, id, chat);
		put_content(out, message, id);
		buf_printf(out, ",\"stop_reason\":\"%s\",\"stop_sequence\":", why);
		if (strcmp(why, "stop_sequence") == 0)
			buf_put_json(out, str_in(stop_sequence(choice)));
		else
			buf_puts(out, "null");
		buf_puts(out, ",\"usage\":");
		put_usage(out, usage);
		buf_puts(out, "}");
	}
	json_decref(chat);
	return ok && !out->failed;
}

/* The line that names an event, and the beginning of its data up to the member behind its type. */
static void begin_event(struct buf *out, const char *type)
{
	buf_printf(out, "event: %s\ndata: {\"type\":\"%s\"", type, type);
}

static void end_event(struct buf *out)
{
	buf_puts(out, "}\n\n");
}

static void close_block(struct messages_stream *s, struct buf *out)
{
	if (s->block == MESSAGES_NO_BLOCK)
		return;
	begin_event(out, "content_block_stop");
	buf_printf(out, ",\"index\":%lld", (long long) s->index);
	end_event(out);
	s->block = MESSAGES_NO_BLOCK;
	s->index++;
}

/* Begins a block, up to what it holds. */
static void open_block(struct messages_stream *s, enum messages_block block, struct buf *out)
{
	close_block(s, out);
	s->block = block;
	begin_event(out, "content_block_start");
	buf_printf(out, ",\"index\":%lld,\"content_block\":", (long long) s->index);
}

static void put_delta(struct messages_stream *s, const char *type, const char *name, const json_t *text, struct buf *out)
{
	begin_event(out, "content_block_delta");
	buf_printf(out, ",\"index\":%lld,\"delta\":{\"type\":\"%s\",\"%s\":", (long long) s->index, type, name);
	buf_put_json(out, str_in(text));
	buf_puts(out, "}");
	end_event(out);
}

static void stream_words(struct messages_stream *s, const json_t *text, bool thinking, struct buf *out)
{
	enum messages_block block = thinking ? MESSAGES_THINKING : MESSAGES_TEXT;
	if (!text)
		return;
	if (s->block != block) {
		open_block(s, block, out);
		buf_puts(out, thinking ? "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}" : "{\"type\":\"text\",\"text\":\"\"}");
		end_event(out);
	}
	put_delta(s, thinking ? "thinking_delta" : "text_delta", thinking ? "thinking" : "text", text, out);
}

/* A piece of a tool call: the first has its name, all have a part of its arguments. */
static void stream_tool(struct messages_stream *s, const json_t *call, const char *id, struct buf *out)
{
	const json_t *function = json_object_get(call, "function"), *name = words(function, "name"), *arguments = words(function, "arguments");
	int64_t which = json_get_int(call, "index", s->tool);
	if (s->block != MESSAGES_TOOL || which != s->tool) {
		if (!name)
			return; /* a piece of a call that is closed already: nothing can take it */
		open_block(s, MESSAGES_TOOL, out);
		buf_puts(out, "{\"type\":\"tool_use\",\"id\":");
		put_tool_id(out, call, id, which);
		buf_puts(out, ",\"name\":");
		buf_put_json(out, str_in(name));
		buf_puts(out, ",\"input\":{}}");
		end_event(out);
		s->tool = which;
		s->tool_used = true;
	}
	if (arguments)
		put_delta(s, "input_json_delta", "partial_json", arguments, out);
}

static void start(struct messages_stream *s, const json_t *chunk, const char *id, const struct body_usage *usage, struct buf *out)
{
	struct body_usage first = { usage->input, usage->cached, 0 };
	if (s->started)
		return;
	s->started = true;
	begin_event(out, "message_start");
	buf_puts(out, ",\"message\":");
	put_head(out, id, chunk);
	buf_puts(out, ",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":");
	put_usage(out, &first);
	buf_puts(out, "}");
	end_event(out);
}

bool messages_stream_chunk(struct messages_stream *s, sl_str chunk, const char *id, const struct body_usage *usage, struct buf *out)
{
	json_t *object = json_loadb(chunk.ptr, chunk.len, LOAD, NULL);
	if (!json_is_object(object)) {
		json_decref(object);
		return false;
	}
	const json_t *choice = json_array_get(json_object_get(object, "choices"), 0), *delta = json_object_get(choice, "delta");
	const json_t *calls = json_object_get(delta, "tool_calls");
	if (choice)
		start(s, object, id, usage, out);
	stream_words(s, thoughts(delta), true, out);
	stream_words(s, words(delta, "content"), false, out);
	stream_words(s, words(delta, "refusal"), false, out);
	for (size_t i = 0; i < json_array_size(calls); i++)
		stream_tool(s, json_array_get(calls, i), id, out);
	if (words(choice, "finish_reason")) {
		str_copy(s->stop_reason, sizeof s->stop_reason, str_of(stop_reason(choice, s->tool_used)));
		if (strcmp(s->stop_reason, "stop_sequence") == 0 && !s->stop_sequence)
			s->stop_sequence = json_dumps(stop_sequence(choice), DUMP);
	}
	json_decref(object);
	return true;
}

void messages_stream_end(struct messages_stream *s, const char *id, const struct body_usage *usage, struct buf *out)
{
	start(s, NULL, id, usage, out);
	close_block(s, out);
	begin_event(out, "message_delta");
	buf_printf(out, ",\"delta\":{\"stop_reason\":\"%s\",\"stop_sequence\":%s},\"usage\":", s->stop_reason[0] ? s->stop_reason : "end_turn",
	           s->stop_sequence ? s->stop_sequence : "null");
	put_usage(out, usage);
	end_event(out);
	begin_event(out, "message_stop");
	end_event(out);
}

const char *messages_error_type(int status)
{
	switch (status) {
	case 401: return "authentication_error";
	case 402: return "billing_error";
	case 403: return "permission_error";
	case 404: return "not_found_error";
	case 413: return "request_too_large";
	case 429: return "rate_limit_error";
	case 503: case 529: return "overloaded_error";
	case 504: return "timeout_error";
	}
	return status >= 500 ? "api_error" : "invalid_request_error";
}

void messages_put_error(struct buf *out, const char *type, sl_str message, const char *code, const char *param, const char *id)
{
	buf_puts(out, "{\"type\":\"error\",\"error\":{\"type\":");
	buf_put_json(out, str_of(type));
	buf_puts(out, ",\"message\":");
	buf_put_json(out, message);
	if (code) {
		buf_puts(out, ",\"code\":");
		buf_put_json(out, str_of(code));
	}
	if (param) {
		buf_puts(out, ",\"param\":");
		buf_put_json(out, str_of(param));
	}
	buf_puts(out, "},\"request_id\":");
	buf_put_json(out, str_of(id));
	buf_puts(out, "}");
}

sl_str messages_error_text(sl_str body, json_t **document)
{
	*document = body.len ? json_loadb(body.ptr, body.len, LOAD, NULL) : NULL;
	const json_t *error = json_object_get(*document, "error"), *text = words(error, "message");
	if (!text)
		text = words(*document, "message"); /* older vLLM */
	if (!text && json_string_length(error))
		text = error;
	return text ? str_in(text) : (sl_str){ NULL, 0 };
}

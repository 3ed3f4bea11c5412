/* SPDX-License-Identifier: Apache-2.0 */
/* messages_request.c - a body of Anthropic's messages as the body of a chat completion. */
#include "core/gateway/messages.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"

enum { TEXT_DIGITS = 15 }; /* of numbers: 0.7 stays 0.7 */

struct convert {
	struct messages_reject *why;
	json_t *messages;  /* the chat's */
	bool no_memory;
};

__attribute__((format(printf, 3, 4))) static bool refuse(struct convert *c, const char *param, const char *format, ...)
{
	va_list args;
	if (c->why->code)
		return false;
	c->why->code = "invalid_value";
	snprintf(c->why->param, sizeof c->why->param, "%s", param);
	size_t used = (size_t) snprintf(c->why->message, sizeof c->why->message, "%.80s ", c->why->param);
	va_start(args, format);
	vsnprintf(c->why->message + used, sizeof c->why->message - used, format, args);
	va_end(args);
	return false;
}

static bool unsupported(struct convert *c, const char *param, const char *what)
{
	refuse(c, param, "holds what this model's server cannot do: %.60s.", what);
	c->why->code = "unsupported_value";
	return false;
}

static void put(struct convert *c, json_t *object, const char *name, json_t *value)
{
	if (json_object_set_new(object, name, value) != 0)
		c->no_memory = true;
}

static void add(struct convert *c, json_t *array, json_t *value)
{
	if (json_array_append_new(array, value) != 0)
		c->no_memory = true;
}

static json_t *text_of(const json_t *string)
{
	return json_stringn(json_string_value(string), json_string_length(string));
}

static bool is(const json_t *block, const char *type)
{
	return strcmp(json_get_str(block, "type", ""), type) == 0;
}

static bool given(const json_t *value)
{
	return value && !json_is_null(value);
}

static void message(struct convert *c, const char *role, json_t *content)
{
	json_t *m = json_object();
	put(c, m, "role", json_string(role));
	put(c, m, "content", content);
	add(c, c->messages, m);
}

/* The texts of a list of text blocks, or the string, one behind the other with `between`. */
static bool join(struct convert *c, const json_t *content, const char *between, const char *param, json_t **out)
{
	size_t i;
	json_t *block;
	struct buf text = { 0 };
	if (json_is_string(content)) {
		*out = text_of(content);
		return true;
	}
	if (!json_is_array(content))
		return refuse(c, param, "must be a string or a list of blocks.");
	json_array_foreach(content, i, block) {
		const json_t *piece = json_object_get(block, "text");
		if (!is(block, "text") || !json_is_string(piece)) {
			buf_free(&text);
			return refuse(c, param, "may hold blocks of text only here.");
		}
		if (i)
			buf_puts(&text, between);
		buf_put(&text, json_string_value(piece), json_string_length(piece));
	}
	*out = text.failed ? NULL : json_stringn(text.data ? text.data : "", text.len);
	buf_free(&text);
	return true;
}

static bool text_part(struct convert *c, const json_t *string, const char *param, json_t *parts)
{
	if (!json_is_string(string))
		return refuse(c, param, "has no text.");
	json_t *part = json_object();
	put(c, part, "type", json_string("text"));
	put(c, part, "text", text_of(string));
	add(c, parts, part);
	return true;
}

static bool image_part(struct convert *c, const json_t *block, const char *param, json_t *parts)
{
	const json_t *source = json_object_get(block, "source");
	const char *type = json_get_str(source, "type", ""), *media = json_get_str(source, "media_type", "");
	const json_t *data = json_object_get(source, "data"), *link = json_object_get(source, "url");
	json_t *url = NULL;
	if (strcmp(type, "base64") == 0 && json_is_string(data) && strncmp(media, "image/", 6) == 0) {
		struct buf text = { 0 };
		buf_printf(&text, "data:%s;base64,", media);
		buf_put(&text, json_string_value(data), json_string_length(data));
		url = text.failed ? NULL : json_stringn(text.data, text.len);
		buf_free(&text);
	} else if (strcmp(type, "url") == 0 && json_is_string(link)) {
		url = text_of(link);
	} else if (strcmp(type, "file") == 0) {
		return unsupported(c, param, "a file as the source of an image");
	} else {
		return refuse(c, param, "must have a source: base64 with an image's media_type and data, or a url.");
	}
	json_t *part = json_object(), *image = json_object();
	put(c, image, "url", url);
	put(c, part, "type", json_string("image_url"));
	put(c, part, "image_url", image);
	add(c, parts, part);
	return true;
}

static bool document_part(struct convert *c, const json_t *block, const char *param, json_t *parts)
{
	const json_t *source = json_object_get(block, "source");
	if (strcmp(json_get_str(source, "type", ""), "text") != 0)
		return unsupported(c, param, "a document that is not plain text");
	return text_part(c, json_object_get(source, "data"), param, parts);
}

static bool user_block(struct convert *c, const json_t *block, const char *param, json_t *parts);

/* A tool's result is a message of its own. Its images follow with the user's own parts: a tool cannot show any. */
static bool tool_result(struct convert *c, const json_t *block, const char *param, json_t *parts)
{
	const json_t *content = json_object_get(block, "content"), *id = json_object_get(block, "tool_use_id");
	json_t *texts = json_array(), *text = NULL, *piece;
	size_t i;
	if (!json_is_string(id)) {
		json_decref(texts);
		return refuse(c, param, "has no tool_use_id.");
	}
	bool ok = true, list = json_is_array(content);
	if (list)
		json_array_foreach(content, i, piece) {
			if (is(piece, "tool_result"))
				ok = refuse(c, param, "holds another tool_result.");
			else if (ok)
				ok = is(piece, "text") ? json_array_append(texts, piece) == 0 : user_block(c, piece, param, parts);
		}
	if (ok && given(content))
		ok = join(c, list ? texts : content, "\n", param, &text);
	else if (ok)
		text = json_string("");
	json_decref(texts);
	if (!ok)
		return false;
	json_t *m = json_object();
	put(c, m, "role", json_string("tool"));
	put(c, m, "tool_call_id", text_of(id));
	put(c, m, "content", text);
	add(c, c->messages, m);
	return true;
}

static bool user_block(struct convert *c, const json_t *block, const char *param, json_t *parts)
{
	const char *type = json_get_str(block, "type", "");
	if (!json_is_object(block) || !type[0])
		return refuse(c, param, "must be a block with a type.");
	if (strcmp(type, "text") == 0)
		return text_part(c, json_object_get(block, "text"), param, parts);
	if (strcmp(type, "image") == 0)
		return image_part(c, block, param, parts);
	if (strcmp(type, "document") == 0)
		return document_part(c, block, param, parts);
	if (strcmp(type, "tool_result") == 0)
		return tool_result(c, block, param, parts);
	return unsupported(c, param, type);
}

/* One text is plain text, which every template takes; several parts, or an image, are a list. */
static json_t *simplest(json_t *parts)
{
	json_t *only = json_array_size(parts) == 1 ? json_object_get(json_array_get(parts, 0), "text") : NULL;
	if (!only)
		return parts;
	json_incref(only);
	json_decref(parts);
	return only;
}

static bool user(struct convert *c, const json_t *content, const char *param)
{
	size_t i, before = json_array_size(c->messages);
	json_t *block, *parts = json_array();
	bool ok = true;
	json_array_foreach(content, i, block) {
		char at[96];
		snprintf(at, sizeof at, "%.80s.%zu", param, i);
		ok = ok && user_block(c, block, at, parts);
	}
	if (ok && json_array_size(parts) == 0 && json_array_size(c->messages) == before)
		ok = refuse(c, param, "must not be empty.");
	if (!ok || json_array_size(parts) == 0) {
		json_decref(parts);
		return ok;
	}
	message(c, "user", simplest(parts));
	return true;
}

static bool tool_use(struct convert *c, const json_t *block, const char *param, json_t *calls)
{
	const json_t *id = json_object_get(block, "id"), *name = json_object_get(block, "name"), *input = json_object_get(block, "input");
	if (!json_is_string(id) || !json_is_string(name) || !json_is_object(input))
		return refuse(c, param, "must have an id, a name and an input.");
	char *arguments = json_dumps(input, JSON_COMPACT | JSON_REAL_PRECISION(TEXT_DIGITS));
	json_t *call = json_object(), *function = json_object();
	put(c, function, "name", text_of(name));
	put(c, function, "arguments", arguments ? json_string(arguments) : NULL);
	put(c, call, "id", text_of(id));
	put(c, call, "type", json_string("function"));
	put(c, call, "function", function);
	add(c, calls, call);
	free(arguments);
	return true;
}

/* What the model said before: text, and the tools that it called. Its thoughts are not shown to it again. */
static bool assistant(struct convert *c, const json_t *content, const char *param)
{
	size_t i;
	json_t *block, *calls = json_array(), *texts = json_array(), *text = NULL;
	bool ok = true;
	json_array_foreach(content, i, block) {
		char at[96];
		snprintf(at, sizeof at, "%.80s.%zu", param, i);
		if (!ok)
			break;
		if (is(block, "text"))
			ok = json_array_append(texts, block) == 0;
		else if (is(block, "tool_use"))
			ok = tool_use(c, block, at, calls);
		else if (!is(block, "thinking") && !is(block, "redacted_thinking"))
			ok = json_is_object(block) ? unsupported(c, at, json_get_str(block, "type", "a block without a type"))
			                           : refuse(c, at, "must be a block with a type.");
	}
	ok = ok && join(c, texts, "", param, &text);
	bool silent = json_array_size(texts) == 0;
	json_decref(texts);
	if (!ok) {
		json_decref(calls);
		return false;
	}
	if (silent && json_array_size(calls)) {
		json_decref(text);
		text = json_null();
	}
	message(c, "assistant", text);
	if (json_array_size(calls))
		put(c, json_array_get(c->messages, json_array_size(c->messages) - 1), "tool_calls", calls);
	else
		json_decref(calls);
	return true;
}

static bool one_message(struct convert *c, const json_t *m, const char *param)
{
	const char *role = json_get_str(m, "role", "");
	const json_t *content = json_object_get(m, "content");
	char at[96];
	json_t *text = NULL;
	bool by_user = strcmp(role, "user") == 0, by_model = strcmp(role, "assistant") == 0;
	snprintf(at, sizeof at, "%s.content", param);
	if (!by_user && !by_model && strcmp(role, "system") != 0)
		return refuse(c, param, "must have a role: user or assistant.");
	if (json_is_string(content)) {
		message(c, role, text_of(content));
		return true;
	}
	if (!json_is_array(content))
		return refuse(c, at, "must be a string or a list of blocks.");
	if (by_user || by_model)
		return by_user ? user(c, content, at) : assistant(c, content, at);
	if (!join(c, content, "\n\n", at, &text))
		return false;
	message(c, role, text);
	return true;
}

static bool all_messages(struct convert *c, const json_t *body)
{
	const json_t *system = json_object_get(body, "system"), *list = json_object_get(body, "messages");
	json_t *text = NULL, *m;
	size_t i;
	if (given(system)) {
		if (!join(c, system, "\n\n", "system", &text))
			return false;
		if (json_string_length(text))
			message(c, "system", text);
		else
			json_decref(text);
	}
	if (!json_is_array(list) || json_array_size(list) == 0)
		return refuse(c, "messages", "must be a list that is not empty.");
	json_array_foreach(list, i, m) {
		char param[48];
		snprintf(param, sizeof param, "messages.%zu", i);
		if (!one_message(c, m, param))
			return false;
	}
	return true;
}

static bool one_tool(struct convert *c, const json_t *tool, const char *param, json_t *out)
{
	static const char *const words[] = { "description", "strict" };
	const json_t *name = json_object_get(tool, "name");
	json_t *schema = json_object_get(tool, "input_schema");
	const char *type = json_get_str(tool, "type", "custom");
	if (strcmp(type, "custom") != 0)
		return unsupported(c, param, type);
	if (!json_is_string(name) || !json_is_object(schema))
		return refuse(c, param, "must have a name and an input_schema.");
	json_t *entry = json_object(), *function = json_object();
	put(c, function, "name", text_of(name));
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (given(json_object_get(tool, words[i])))
			put(c, function, words[i], json_incref(json_object_get(tool, words[i])));
	put(c, function, "parameters", json_incref(schema));
	put(c, entry, "type", json_string("function"));
	put(c, entry, "function", function);
	add(c, out, entry);
	return true;
}

static bool tools(struct convert *c, const json_t *body, json_t *chat)
{
	const json_t *list = json_object_get(body, "tools");
	json_t *tool;
	size_t i;
	if (!given(list))
		return true;
	if (!json_is_array(list))
		return refuse(c, "tools", "must be a list.");
	json_t *out = json_array();
	json_array_foreach(list, i, tool) {
		char param[48];
		snprintf(param, sizeof param, "tools.%zu", i);
		if (!one_tool(c, tool, param, out)) {
			json_decref(out);
			return false;
		}
	}
	if (json_array_size(out))
		put(c, chat, "tools", out);
	else
		json_decref(out);
	return true;
}

static bool tool_choice(struct convert *c, const json_t *body, json_t *chat)
{
	const json_t *choice = json_object_get(body, "tool_choice");
	if (!given(choice))
		return true;
	const json_t *name = json_object_get(choice, "name");
	if (is(choice, "auto") || is(choice, "none")) {
		put(c, chat, "tool_choice", json_string(json_get_str(choice, "type", "")));
	} else if (is(choice, "any")) {
		put(c, chat, "tool_choice", json_string("required"));
	} else if (is(choice, "tool") && json_is_string(name)) {
		json_t *one = json_object(), *function = json_object();
		put(c, function, "name", text_of(name));
		put(c, one, "type", json_string("function"));
		put(c, one, "function", function);
		put(c, chat, "tool_choice", one);
	} else {
		return refuse(c, "tool_choice", "must be of type auto, any, none, or tool with a name.");
	}
	if (json_is_true(json_object_get(choice, "disable_parallel_tool_use")))
		put(c, chat, "parallel_tool_calls", json_false());
	return true;
}

static bool output_config(struct convert *c, const json_t *body, json_t *chat)
{
	const json_t *config = json_object_get(body, "output_config");
	if (given(config) && !json_is_object(config))
		return refuse(c, "output_config", "must be an object.");
	json_t *format = json_object_get(config, "format"), *effort = json_object_get(config, "effort");
	if (!format)
		format = json_object_get(body, "output_format");
	if (json_is_string(effort))
		put(c, chat, "reasoning_effort", json_incref(effort));
	if (!given(format))
		return true;
	json_t *schema = json_object_get(format, "schema");
	if (!is(format, "json_schema") || !json_is_object(schema))
		return refuse(c, "output_config.format", "must be of type json_schema, with a schema.");
	json_t *out = json_object(), *inner = json_object();
	put(c, inner, "name", json_string("output"));
	put(c, inner, "schema", json_incref(schema));
	put(c, inner, "strict", json_true());
	put(c, out, "type", json_string("json_schema"));
	put(c, out, "json_schema", inner);
	put(c, chat, "response_format", out);
	return true;
}

static bool stop_sequences(struct convert *c, const json_t *body, json_t *chat)
{
	json_t *list = json_object_get(body, "stop_sequences"), *text;
	size_t i;
	if (!given(list))
		return true;
	if (!json_is_array(list))
		return refuse(c, "stop_sequences", "must be a list of strings.");
	json_array_foreach(list, i, text)
		if (!json_is_string(text))
			return refuse(c, "stop_sequences", "must be a list of strings.");
	if (json_array_size(list))
		put(c, chat, "stop", json_incref(list));
	return true;
}

/* What is a number or a flag, under the same name on both sides. */
static bool settings(struct convert *c, const json_t *body, bool count, json_t *chat)
{
	static const char *const numbers[] = { "temperature", "top_p", "top_k" };
	json_t *bound = json_object_get(body, "max_tokens"), *stream = json_object_get(body, "stream");
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		json_t *number = json_object_get(body, numbers[i]);
		if (!given(number))
			continue;
		if (!json_is_number(number))
			return refuse(c, numbers[i], "must be a number.");
		put(c, chat, numbers[i], json_incref(number));
	}
	if (count) {
		put(c, chat, "max_tokens", json_integer(1));
		return true;
	}
	if (!json_is_integer(bound) || json_integer_value(bound) < 1)
		return refuse(c, "max_tokens", "must be a whole number above 0.");
	put(c, chat, "max_tokens", json_incref(bound));
	if (given(stream) && !json_is_boolean(stream))
		return refuse(c, "stream", "must be true or false.");
	if (json_is_true(stream))
		put(c, chat, "stream", json_true());
	return true;
}

/* What the engine would have to do itself. */
static bool no_server_side(struct convert *c, const json_t *body)
{
	static const char *const lists[] = { "mcp_servers", "container" };
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		const json_t *value = json_object_get(body, lists[i]);
		if (given(value) && !(json_is_array(value) && json_array_size(value) == 0))
			return unsupported(c, lists[i], "it is not a server of Anthropic's");
	}
	return true;
}

static bool convert(struct convert *c, const json_t *body, bool count, json_t *chat)
{
	json_t *model = json_object_get(body, "model"), *user_id = json_object_get(json_object_get(body, "metadata"), "user_id");
	if (!json_is_string(model))
		return refuse(c, "model", "must be a string.");
	put(c, chat, "model", json_incref(model));
	if (!settings(c, body, count, chat) || !all_messages(c, body))
		return false;
	put(c, chat, "messages", json_incref(c->messages));
	if (json_is_string(user_id))
		put(c, chat, "user", json_incref(user_id));
	return tools(c, body, chat) && tool_choice(c, body, chat) && output_config(c, body, chat) && stop_sequences(c, body, chat) &&
	       no_server_side(c, body);
}

bool messages_to_chat(sl_str text, bool count, struct buf *out, struct messages_reject *why)
{
	json_error_t error;
	*why = (struct messages_reject){ .code = NULL };
	struct convert c = { .why = why, .messages = json_array() };
	json_t *body = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error), *chat = json_object();
	bool ok = json_is_object(body);
	if (!ok) {
		why->code = "invalid_json";
		snprintf(why->message, sizeof why->message, "The body is not valid JSON: %.120s.", error.text);
	}
	ok = ok && convert(&c, body, count, chat);
	char *written = ok && !c.no_memory ? json_dumps(chat, JSON_COMPACT | JSON_REAL_PRECISION(TEXT_DIGITS)) : NULL;
	if (ok && written)
		buf_puts(out, written);
	if (ok && (!written || out->failed)) {
		why->code = "overloaded";
		snprintf(why->message, sizeof why->message, "Out of memory. Try again in a moment.");
		ok = false;
	}
	free(written);
	json_decref(chat);
	json_decref(body);
	json_decref(c.messages);
	return ok;
}

bool messages_valid(sl_str text, struct messages_reject *why)
{
	struct buf out = { 0 };
	bool ok = messages_to_chat(text, false, &out, why);
	buf_free(&out);
	return ok || strcmp(why->code, "unsupported_value") == 0 || strcmp(why->code, "overloaded") == 0;
}

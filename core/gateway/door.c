/* SPDX-License-Identifier: Apache-2.0 */
/* door.c - which words the client and the engine speak, and what is done where they differ. */
#include "core/gateway/door.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/gateway/messages.h"
#include "core/gateway/worker.h"

static const char message_stop[] = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

const char *door_version(sl_str name)
{
	static const char *const versions[] = { "2023-06-01", "2026-10-21" };
	if (!name.len)
		return versions[0];
	for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++)
		if (str_eq(name, str_of(versions[i])))
			return versions[i];
	return NULL;
}

static bool translated(const struct request *r)
{
	return r->spoken != r->door;
}

static void refuse_body(struct request *r, const struct messages_reject *why)
{
	bool memory = strcmp(why->code, "overloaded") == 0;
	struct answer_error e = { .status = memory ? 503 : 400, .type = memory ? "server_error" : "invalid_request_error", .code = why->code,
		.param = why->param[0] ? why->param : NULL, .message = why->message };
	answer_error(r->client, r, &e);
}

static bool translate_body(struct request *r)
{
	struct messages_reject why;
	struct body_reject bad;
	struct buf chat = { 0 };
	bool ok = messages_to_chat((sl_str){ request_text(r), r->text_len }, r->door == BODY_COUNT_TOKENS, &chat, &why);
	if (ok && (!buf_reserve(&chat, WORKER_SLACK) || (r->streaming && !(r->translation = calloc(1, sizeof *r->translation))))) {
		ok = false;
		why = (struct messages_reject){ .code = "overloaded", .message = "Out of memory. Try again in a moment." };
	}
	if (ok && !body_scan(chat.data, chat.len, BODY_CHAT, r->generation->strip, &r->body, &bad)) {
		ok = false;
		why = (struct messages_reject){ .code = bad.code };
		str_copy(why.param, sizeof why.param, str_of(bad.param ? bad.param : ""));
		str_copy(why.message, sizeof why.message, str_of(bad.message));
	}
	if (!ok) {
		buf_free(&chat);
		refuse_body(r, &why);
		return false;
	}
	buf_free(&r->text);
	r->text = chat;
	r->text_at = 0;
	r->text_len = chat.len;
	r->spoken = BODY_CHAT;
	return true;
}

bool door_choose(struct request *r)
{
	uint32_t served = r->engine ? r->engine->doors : CONF_DOORS_DEFAULT;
	r->spoken = r->door;
	if (served & 1u << r->door)
		return true;
	if (doors[r->door].anthropic && served & 1u << BODY_CHAT)
		return translate_body(r);
	char text[SL_ERROR_TEXT];
	snprintf(text, sizeof text, "The server of the model '%s' does not answer %s.", r->model->name, doors[r->door].path);
	struct answer_error e = { .status = 404, .type = "invalid_request_error", .code = "unsupported_endpoint", .param = "model",
		.message = text };
	answer_error(r->client, r, &e);
	return false;
}

/* What was put together for the client, in memory that lasts until it is sent. Absent: there is none. */
static sl_str lasting(struct request *r, const struct buf *text)
{
	char *copy = text->failed ? NULL : worker_alloc(r->worker, text->len ? text->len : 1);
	if (copy && text->len)
		memcpy(copy, text->data, text->len);
	else if (!copy)
		socket_break(&r->client->socket);
	return (sl_str){ copy, copy ? text->len : 0 };
}

/* An engine's error, in the client's words. */
static sl_str error_event(struct request *r, sl_str data)
{
	struct buf *out = &r->worker->scratch;
	json_t *document;
	sl_str text = messages_error_text(data, &document);
	buf_clear(out);
	buf_puts(out, "event: error\ndata: ");
	messages_put_error(out, messages_error_type(500), text.ptr ? text : STR("The model's server failed."), "upstream_error", NULL, r->id);
	buf_puts(out, "\n\n");
	json_decref(document);
	return lasting(r, out);
}

static void count_event(struct request *r)
{
	if (r->events++ == 0)
		routing_first(r);
}

static sl_str translate_event(struct request *r, sl_str data, bool *last)
{
	struct buf *out = &r->worker->scratch;
	struct body_event e;
	body_event(data.ptr, data.len, &e);
	if (e.has_usage)
		relay_usage(r, &e.usage);
	r->finished |= e.finished;
	buf_clear(out);
	*last = e.done || e.error;
	if (e.done) {
		messages_stream_end(r->translation, r->id, &r->usage, out);
		return lasting(r, out);
	}
	if (!e.error && messages_stream_chunk(r->translation, data, r->id, &r->usage, out)) {
		if (!e.choices_empty)
			count_event(r);
		return lasting(r, out);
	}
	*last = true;
	r->flags |= SL_USAGE_UPSTREAM_ERROR;
	return error_event(r, data);
}

sl_str door_event(struct request *r, sl_str event, sl_str data, bool *last)
{
	struct body_usage usage;
	if (translated(r))
		return translate_event(r, data, last);
	switch (body_step(data.ptr, data.len, r->door, &usage)) {
	case BODY_STEP_CONTENT:
		count_event(r);
		return event;
	case BODY_STEP_OTHER:
		/* Some engines send [DONE] where it has no meaning. */
		return data.len >= 6 && memcmp(data.ptr, "[DONE]", 6) == 0 ? (sl_str){ NULL, 0 } : event;
	case BODY_STEP_USAGE:
		r->finished = true;
		break;
	case BODY_STEP_START:
		break;
	case BODY_STEP_ERROR:
	case BODY_STEP_FAILED:
		r->flags |= SL_USAGE_UPSTREAM_ERROR;
		*last = true;
		if (doors[r->door].anthropic)
			return error_event(r, data);
		break;
	case BODY_STEP_END:
		*last = true;
		break;
	}
	relay_usage(r, &usage);
	return event;
}

void door_end(struct request *r, struct buf *out)
{
	if (translated(r))
		messages_stream_end(r->translation, r->id, &r->usage, out);
	else
		buf_puts(out, message_stop);
}

bool door_rewrites(const struct request *r)
{
	return doors[r->door].anthropic && !r->sse && (r->status != 200 || translated(r));
}

bool door_answer(struct request *r, sl_str body, struct buf *out)
{
	if (r->status != 200) {
		json_t *document;
		sl_str text = messages_error_text(body, &document);
		messages_put_error(out, messages_error_type(r->status), text.ptr ? text : STR("The model's server gave no reason."),
		                   "upstream_error", NULL, r->id);
		json_decref(document);
	} else if (r->door == BODY_COUNT_TOKENS) {
		if (r->usage.input < 0)
			return false;
		buf_puts(out, "{\"input_tokens\":");
		buf_put_i64(out, r->usage.input);
		buf_puts(out, "}");
	} else if (!messages_from_chat(body, r->id, &r->usage, out)) {
		return false;
	}
	return !out->failed;
}

bool door_blame(struct request *r)
{
	struct messages_reject why;
	if (r->spoken != BODY_MESSAGES || messages_valid((sl_str){ request_text(r), r->text_len }, &why))
		return false;
	refuse_body(r, &why);
	return true;
}

void door_free(struct request *r)
{
	if (r->translation)
		free(r->translation->stop_sequence);
	free(r->translation);
	r->translation = NULL;
}

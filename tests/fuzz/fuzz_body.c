/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_body.c - the scan of bodies and events, beside a JSON library that builds the whole document. */
#include <jansson.h>
#include <stdbool.h>

#include "core/gateway/body.h"
#include "tests/fuzz/fuzz.h"

enum { INPUT_MAX = 64 * 1024, PAD = 64 };

static void check_span(struct body_span span, size_t size)
{
	CHECK(span.start <= span.end && span.end <= size);
}

static void check_member(const struct body_member *member, const char *data, size_t size)
{
	check_span(member->key, size);
	check_span(member->value, size);
	if (member->value.end == 0)
		return;
	CHECK(member->key.start < member->key.end && member->key.end < member->value.start);
	CHECK(member->value.start < member->value.end);
	CHECK(data[member->key.start] == '"' && data[member->key.end - 1] == '"');
}

static void check_body(const struct body *body, const char *data, size_t size)
{
	const struct body_member *members[] = {
		&body->model_at, &body->stream_at, &body->stream_options_at, &body->include_usage_at, &body->max_tokens_at,
		&body->max_completion_tokens_at, &body->max_output_tokens_at,
	};
	for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
		check_member(members[i], data, size);
	CHECK(body->n_engine_only <= BODY_STRIP_MAX);
	for (unsigned i = 0; i < body->n_engine_only; i++)
		check_member(&body->engine_only[i], data, size);
	check_span(body->prompt, size);
	check_span(body->user, size);
	check_span(body->preface, size);
	check_span(body->tools, size);
	CHECK(body->prompt_bytes > 0 && body->prompt_bytes <= (int64_t) size * (body->prompts + 1));
	CHECK(data[body->open.start] == '{' && body->open.end == body->open.start + 1);
	CHECK(body->model[0] && memchr(body->model, 0, sizeof body->model));
	CHECK(body->max_output == -1 || (body->max_output >= 1 && body->max_output <= INT32_MAX));
	CHECK(body->n >= 1 && body->n <= 128 && body->best_of >= 0 && body->best_of <= 20);
	CHECK(body->prompts >= 1 && body->prompts <= 2048 && body->prompt.end > 0);
}

static const char *const stripped[] = { "priority", "cache_salt", "rid", "x" };
static struct body_strip *strip; /* for the whole process */

/* Scans a copy at another alignment with other bytes behind it. */
static bool scan(const uint8_t *data, size_t size, size_t shift, int fill, enum body_door door, struct body *body,
                 struct body_reject *why)
{
	if (!strip)
		strip = body_strip_new(stripped, sizeof stripped / sizeof stripped[0]);
	char *copy = malloc(shift + size + PAD);
	CHECK(copy && strip);
	memset(copy, fill, shift + size + PAD);
	if (size)
		memcpy(copy + shift, data, size);
	memset(why, 0, sizeof *why);
	bool ok = body_scan(copy + shift, size, door, strip, body, why);
	if (ok)
		check_body(body, copy + shift, size);
	else
		CHECK(why->code && why->offset <= size && why->message[0] && memchr(why->message, 0, sizeof why->message));
	free(copy);
	return ok;
}

static bool has(const uint8_t *data, size_t size, const char *text)
{
	size_t len = strlen(text);
	for (size_t i = 0; i + len <= size; i++)
		if (memcmp(data + i, text, len) == 0)
			return true;
	return false;
}

/* What the library takes is never called invalid; what we take the library takes too, but for numbers that it
 * cannot hold and halves of surrogate pairs, which the RFC allows. (A NUL behind a number is white space to it.) */
static void compare(const uint8_t *data, size_t size, bool ok, const struct body_reject *why)
{
	json_error_t error;
	if (size && memchr(data, 0, size))
		return;
	json_t *json = json_loadb((const char *) data, size, JSON_ALLOW_NUL, &error);
	if (json && json_is_object(json))
		CHECK(ok || strcmp(why->code, "invalid_json") != 0);
	if (ok && !json && json_error_code(&error) != json_error_numeric_overflow)
		CHECK(has(data, size, "\\u"));
	json_decref(json);
}

static void fuzz_scan(const uint8_t *data, size_t size)
{
	static const unsigned char fills[] = { '"', 'a', 0x80 };
	static struct body one, two;
	struct body_reject why, why_two;
	for (int door = BODY_CHAT; door < BODY_DOORS; door++) {
		bool ok = scan(data, size, 0, 0, (enum body_door) door, &one, &why);
		for (size_t i = 0; i < sizeof fills; i++) {
			bool again = scan(data, size, 1 + (size + i) % 15, fills[i], (enum body_door) door, &two, &why_two);
			CHECK(ok == again);
			CHECK(ok ? memcmp(&one, &two, sizeof one) == 0 : strcmp(why.code, why_two.code) == 0);
		}
		compare(data, size, ok, &why);
	}
}

static bool truthy(const json_t *value)
{
	switch (value ? json_typeof(value) : JSON_NULL) {
	case JSON_NULL: case JSON_FALSE: return false;
	case JSON_TRUE: return true;
	case JSON_STRING: return json_string_length(value) > 0;
	case JSON_INTEGER: return json_integer_value(value) != 0;
	case JSON_REAL: return json_real_value(value) != 0;
	case JSON_ARRAY: return json_array_size(value) > 0;
	case JSON_OBJECT: return json_object_size(value) > 0;
	}
	return false;
}

/* Of a valid event: the error is the document's, and it stays valid when its use is cut out. */
static void check_event(const char *data, size_t size, const struct body_event *event)
{
	json_error_t error;
	json_t *json = json_loadb(data, size, JSON_REJECT_DUPLICATES, &error);
	if (!json_is_object(json)) {
		json_decref(json);
		return;
	}
	/* A double takes 1e-400 for nothing, and names may be escaped: those the fuzzer knows, engines do not send. */
	json_t *member = json_object_get(json, "error");
	if (!json_is_real(member) && !memchr(data, '\\', size))
		CHECK(event->error == truthy(member));
	if (event->usage_at.end) {
		char *rest = exact_copy(data, size);
		memmove(rest + event->usage_at.start, rest + event->usage_at.end, size - event->usage_at.end);
		json_t *cut = json_loadb(rest, size - (event->usage_at.end - event->usage_at.start), 0, &error);
		CHECK(json_is_object(cut));
		json_decref(cut);
		free(rest);
	}
	json_decref(json);
}

static void fuzz_event(const uint8_t *data, size_t size)
{
	struct body_event event;
	struct body_usage usage;
	char *copy = exact_copy(data, size);
	body_event(copy, size, &event);
	bool found = body_find_usage(copy, size, &usage);
	check_span(event.usage_at, size);
	CHECK(event.has_usage == (event.usage_at.end != 0));
	CHECK(usage.input >= -1 && usage.cached >= -1 && usage.output >= -1);
	CHECK(found || (usage.input == -1 && usage.cached == -1 && usage.output == -1));
	check_event(copy, size, &event);
	for (int door = BODY_RESPONSES; door <= BODY_MESSAGES; door += BODY_MESSAGES - BODY_RESPONSES) {
		enum body_step step = body_step(copy, size, (enum body_door) door, &usage);
		CHECK(step <= BODY_STEP_ERROR && usage.input >= -1 && usage.cached >= -1 && usage.output >= -1);
	}
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > INPUT_MAX)
		return 0;
	fuzz_scan(data, size);
	fuzz_event(data, size);
	return 0;
}

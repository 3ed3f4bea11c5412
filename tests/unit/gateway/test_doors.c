/* SPDX-License-Identifier: Apache-2.0 */
/* test_doors.c - what is read of a body at each of the younger doors, and of their engines' answers and events. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/gateway/body.h"

static struct body body;
static struct body_reject why;

static bool scan(const char *text, enum body_door door)
{
	size_t len = strlen(text);
	char *copy = malloc(len + 64);
	cr_assert_not_null(copy);
	memcpy(copy, text, len);
	memset(copy + len, '"', 64);
	bool ok = body_scan(copy, len, door, NULL, &body, &why);
	free(copy);
	return ok;
}

static bool is(const char *text, struct body_span span, const char *expected)
{
	return str_eq((sl_str){ text + span.start, span.end - span.start }, str_of(expected));
}

Test(doors, messages)
{
	static const char text[] = "{\"model\":\"m\",\"system\":[{\"type\":\"text\",\"text\":\"s\"}],\"max_tokens\":7,\"stream\":true,\"tools\":[{\"name\":\"t\"}],"
	                           "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\",\"source\":{\"type\":\"url\"}},"
	                           "{\"type\":\"tool_result\",\"content\":[{\"type\":\"image\"}]},{\"type\":\"document\"}]}],\"n\":9,\"input\":[]}";
	cr_assert(scan(text, BODY_MESSAGES), "%s", why.message);
	cr_expect(is(text, body.preface, "[{\"type\":\"text\",\"text\":\"s\"}]"));
	cr_expect(is(text, body.tools, "[{\"name\":\"t\"}]"));
	cr_expect(body.stream && body.max_output == 7 && body.media_parts == 3 && body.n == 1 && body.prompts == 1);
	cr_expect_eq(body.prompt_bytes, (body.prompt.end - body.prompt.start) + (body.preface.end - body.preface.start) + (body.tools.end - body.tools.start));
	cr_assert_eq(body.n_engine_only, 2, "n and input are other doors'");
	cr_expect_null(body.engine_only_name[0], "no engine is to see them");
	cr_expect(is(text, body.engine_only[0].value, "9") && is(text, body.engine_only[1].value, "[]"));
	/* A count has neither a bound nor a stream. */
	cr_assert(scan(text, BODY_COUNT_TOKENS), "%s", why.message);
	cr_expect(!body.stream && body.max_output == -1 && body.n_engine_only == 4);
}

Test(doors, responses)
{
	static const char text[] = "{\"model\":\"m\",\"instructions\":\"i\",\"input\":[{\"content\":[{\"type\":\"input_image\"},{\"type\":\"input_file\"}]}],"
	                           "\"max_output_tokens\":9,\"stream\":true,\"stream_options\":{\"include_obfuscation\":false},\"previous_response_id\":null,"
	                           "\"max_tokens\":5}";
	cr_assert(scan(text, BODY_RESPONSES), "%s", why.message);
	cr_expect(is(text, body.preface, "\"i\"") && is(text, body.max_output_tokens_at.value, "9"));
	cr_expect(body.stream && body.max_output == 9 && body.media_parts == 2 && body.n_engine_only == 1);
	cr_assert(scan("{\"model\":\"m\",\"input\":\"x\",\"background\":false,\"conversation\":null,\"prompt\":null,"
	                "\"tools\":[{\"type\":\"function\",\"parameters\":{\"type\":\"object\"}},{\"type\":\"custom\"}]}", BODY_RESPONSES), "%s", why.message);
	cr_expect_eq(body.max_output, -1);
}

Test(doors, rerank_and_score)
{
	cr_assert(scan("{\"model\":\"m\",\"query\":\"12345678\",\"documents\":[\"a\",{\"text\":\"b\"},\"c\"],\"stream\":true}", BODY_RERANK), "%s", why.message);
	cr_expect_eq(body.prompts, 3);
	cr_expect_eq(body.prompt_bytes, 3 * 10 + (body.prompt.end - body.prompt.start), "each document with the query");
	cr_expect(!body.stream && body.n_engine_only == 1);
	cr_assert(scan("{\"model\":\"m\",\"text_1\":[\"a\"],\"text_2\":\"b\"}", BODY_SCORE), "%s", why.message);
	cr_expect_eq(body.prompts, 1);
}

Test(doors, other_doors_fields_are_not_chats)
{
	cr_assert(scan("{\"model\":\"m\",\"messages\":[{}],\"system\":5,\"query\":5,\"max_output_tokens\":-1,\"background\":5,\"system\":6}", BODY_CHAT), "%s",
	          why.message);
	cr_expect(body.n_engine_only == 0 && body.max_output == -1 && body.preface.end == 0, "they go on as they are");
}

#define MESSAGES(rest) BODY_MESSAGES, "{\"model\":\"m\",\"max_tokens\":5,\"messages\":[{}]," rest "}"
#define RESPONSES(rest) BODY_RESPONSES, "{\"model\":\"m\",\"input\":\"x\"," rest "}"

Test(doors, bad_bodies)
{
	static const struct {
		enum body_door door;
		const char *text, *code, *param;
	} cases[] = {
		{ BODY_MESSAGES, "{\"model\":\"m\",\"messages\":[{}]}", "missing_field", "max_tokens" },
		{ BODY_MESSAGES, "{\"model\":\"m\",\"max_tokens\":5}", "missing_field", "messages" },
		{ BODY_MESSAGES, "{\"max_tokens\":5,\"messages\":[{}]}", "missing_field", "model" },
		{ BODY_MESSAGES, "{\"model\":\"m\",\"max_tokens\":null,\"messages\":[{}]}", "invalid_value", "max_tokens" },
		{ BODY_MESSAGES, "{\"model\":\"m\",\"max_tokens\":5,\"messages\":[]}", "invalid_value", "messages" },
		{ BODY_MESSAGES, "{\"model\":\"m\",\"max_tokens\":5,\"messages\":\"x\"}", "invalid_value", "messages" },
		{ MESSAGES("\"system\":5"), "invalid_value", "system" },
		{ MESSAGES("\"system\":\"a\",\"system\":\"b\""), "duplicate_field", "system" },
		{ MESSAGES("\"tools\":{}"), "invalid_value", "tools" },
		{ MESSAGES("\"tools\":[],\"t\\u006fols\":[]"), "duplicate_field", "tools" },
		{ MESSAGES("\"max_tokens\":6"), "duplicate_field", "max_tokens" },
		{ MESSAGES("\"stream\":1"), "invalid_value", "stream" },
		{ MESSAGES("\"system\":\"a"), "invalid_json", NULL },
		{ BODY_COUNT_TOKENS, "{\"model\":\"m\"}", "missing_field", "messages" },
		{ BODY_RESPONSES, "{\"model\":\"m\"}", "missing_field", "input" },
		{ BODY_RESPONSES, "{\"model\":\"m\",\"input\":[]}", "invalid_value", "input" },
		{ BODY_RESPONSES, "{\"model\":\"m\",\"input\":7}", "invalid_value", "input" },
		{ RESPONSES("\"previous_response_id\":\"r\""), "invalid_value", "previous_response_id" },
		{ RESPONSES("\"conversation\":{\"id\":\"c\"}"), "invalid_value", "conversation" },
		{ RESPONSES("\"prompt\":{\"id\":\"p\"}"), "invalid_value", "prompt" },
		{ RESPONSES("\"background\":true"), "invalid_value", "background" },
		{ RESPONSES("\"tools\":[{\"type\":\"function\",\"name\":\"f\"},{\"name\":\"x\",\"type\":\"web_search\"}]"), "invalid_value", "tools" },
		{ RESPONSES("\"tools\":[{\"type\":\"function\",\"t\\u0079pe\":\"mcp\"}]"), "invalid_value", "tools" },
		{ RESPONSES("\"max_output_tokens\":0"), "invalid_value", "max_output_tokens" },
		{ RESPONSES("\"instructions\":true"), "invalid_value", "instructions" },
		{ BODY_RERANK, "{\"model\":\"m\",\"query\":\"q\"}", "missing_field", "documents" },
		{ BODY_RERANK, "{\"model\":\"m\",\"documents\":[\"d\"]}", "missing_field", "query" },
		{ BODY_RERANK, "{\"model\":\"m\",\"query\":null,\"documents\":[\"d\"]}", "invalid_value", "query" },
		{ BODY_RERANK, "{\"model\":\"m\",\"query\":\"q\",\"documents\":\"d\"}", "invalid_value", "documents" },
		{ BODY_SCORE, "{\"model\":\"m\",\"text_1\":\"q\"}", "missing_field", "text_2" },
		{ BODY_SCORE, "{\"model\":\"m\",\"text_1\":\"q\",\"text_2\":5}", "invalid_value", "text_2" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		why = (struct body_reject){ .code = NULL };
		cr_assert_not(scan(cases[i].text, cases[i].door), "%s", cases[i].text);
		cr_expect_str_eq(why.code, cases[i].code, "%s: %s", cases[i].text, why.message);
		cr_expect(cases[i].param ? why.param && strcmp(why.param, cases[i].param) == 0 : !why.param, "%s: %s", cases[i].text, why.message);
	}
}

Test(doors, usage)
{
	static const struct {
		const char *text;
		struct body_usage expected;
	} cases[] = {
		{ "{\"usage\":{\"input_tokens\":5,\"output_tokens\":7}}", { 5, -1, 7 } },
		/* Anthropic counts apart what was cached, OpenAI does not. */
		{ "{\"usage\":{\"cache_read_input_tokens\":30,\"input_tokens\":5,\"output_tokens\":7}}", { 35, 30, 7 } },
		{ "{\"usage\":{\"input_tokens\":5,\"cache_creation_input_tokens\":10,\"cache_read_input_tokens\":30,\"output_tokens\":7}}", { 45, 30, 7 } },
		{ "{\"usage\":{\"input_tokens\":5,\"cache_creation_input_tokens\":null,\"cache_read_input_tokens\":null,\"output_tokens\":7}}", { 5, -1, 7 } },
		{ "{\"usage\":{\"cache_read_input_tokens\":30,\"output_tokens\":7}}", { -1, 30, 7 } },
		{ "{\"usage\":{\"input_tokens\":14,\"input_tokens_details\":{\"cached_tokens\":13},\"output_tokens\":5}}", { 14, 13, 5 } },
		/* Gateways that give both. */
		{ "{\"usage\":{\"prompt_tokens\":35,\"completion_tokens\":7,\"cache_read_input_tokens\":30,\"input_tokens\":5}}", { 35, 30, 7 } },
		{ "{\"usage\":{\"input_tokens\":5,\"cache_read_input_tokens\":30,\"prompt_tokens\":35,\"completion_tokens\":7}}", { 35, 30, 7 } },
		{ "{\"usage\":{\"input_tokens\":-5,\"cache_read_input_tokens\":1e99,\"output_tokens\":\"x\"}}", { -1, -1, -1 } },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct body_usage u;
		cr_assert(body_find_usage(cases[i].text, strlen(cases[i].text), &u), "%s", cases[i].text);
		const struct body_usage *e = &cases[i].expected;
		cr_expect(u.input == e->input && u.cached == e->cached && u.output == e->output, "%s: %lld %lld %lld", cases[i].text, (long long) u.input,
		          (long long) u.cached, (long long) u.output);
	}
}

Test(doors, steps)
{
	static const struct {
		enum body_door door;
		const char *text;
		enum body_step step;
		struct body_usage usage;
	} cases[] = {
		{ BODY_MESSAGES, "{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":1,\"cache_read_input_tokens\":13,\"output_tokens\":1}}}",
		  BODY_STEP_START, { 14, 13, -1 } },
		{ BODY_MESSAGES, "{\"type\":\"content_block_start\",\"index\":0}", BODY_STEP_OTHER, { -1, -1, -1 } },
		{ BODY_MESSAGES, "{\"type\":\"content_block_delta\",\"delta\":{\"text\":\"\\\"usage\\\":{\\\"output_tokens\\\":9}\"}}", BODY_STEP_CONTENT, { -1, -1, -1 } },
		{ BODY_MESSAGES, "{\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"},\"index\": 0 , \"type\" : \"content_block_delta\"}", BODY_STEP_CONTENT, { -1, -1, -1 } },
		{ BODY_MESSAGES, "{\"type\":\"ping\"}", BODY_STEP_OTHER, { -1, -1, -1 } },
		{ BODY_MESSAGES, "{\"type\":\"message_delta\",\"delta\":{},\"usage\":{\"output_tokens\":5}}", BODY_STEP_USAGE, { -1, -1, 5 } },
		{ BODY_MESSAGES, "{\"type\":\"message_stop\"}", BODY_STEP_END, { -1, -1, -1 } },
		{ BODY_MESSAGES, "{\"type\":\"error\",\"error\":{\"message\":\"x\"}}", BODY_STEP_ERROR, { -1, -1, -1 } },
		{ BODY_MESSAGES, "{\"error\":{\"message\":\"x\"}}", BODY_STEP_ERROR, { -1, -1, -1 } },
		{ BODY_MESSAGES, "{\"error\":null}", BODY_STEP_OTHER, { -1, -1, -1 } },
		{ BODY_MESSAGES, "[DONE]", BODY_STEP_OTHER, { -1, -1, -1 } },
		{ BODY_MESSAGES, "", BODY_STEP_OTHER, { -1, -1, -1 } },
		{ BODY_MESSAGES, "{\"type\":", BODY_STEP_OTHER, { -1, -1, -1 } },
		{ BODY_MESSAGES, "{\"type\":5}", BODY_STEP_OTHER, { -1, -1, -1 } },
		{ BODY_RESPONSES, "{\"type\":\"response.created\",\"response\":{\"usage\":null}}", BODY_STEP_OTHER, { -1, -1, -1 } },
		{ BODY_RESPONSES, "{\"type\":\"response.output_text.delta\",\"delta\":\"a\"}", BODY_STEP_CONTENT, { -1, -1, -1 } },
		{ BODY_RESPONSES, "{\"type\":\"response.function_call_arguments.delta\",\"delta\":\"a\"}", BODY_STEP_CONTENT, { -1, -1, -1 } },
		{ BODY_RESPONSES, "{\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":14,\"input_tokens_details\":{\"cached_tokens\":3},"
		                  "\"output_tokens\":5}}}", BODY_STEP_END, { 14, 3, 5 } },
		{ BODY_RESPONSES, "{\"type\":\"response.incomplete\",\"response\":{\"usage\":{\"input_tokens\":14,\"output_tokens\":5}}}", BODY_STEP_END, { 14, -1, 5 } },
		{ BODY_RESPONSES, "{\"type\":\"response.failed\",\"response\":{\"usage\":null}}", BODY_STEP_FAILED, { -1, -1, -1 } },
		{ BODY_RESPONSES, "{\"type\":\"error\",\"code\":\"x\"}", BODY_STEP_ERROR, { -1, -1, -1 } },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		size_t len = strlen(cases[i].text);
		char *copy = malloc(len ? len : 1); /* exactly as long: a read behind it is found */
		cr_assert_not_null(copy);
		memcpy(copy, cases[i].text, len);
		struct body_usage u;
		cr_expect_eq(body_step(copy, len, cases[i].door, &u), cases[i].step, "%s", cases[i].text);
		const struct body_usage *e = &cases[i].usage;
		cr_expect(u.input == e->input && u.cached == e->cached && u.output == e->output, "%s", cases[i].text);
		free(copy);
	}
}

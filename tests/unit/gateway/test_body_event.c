/* SPDX-License-Identifier: Apache-2.0 */
/* test_body_event.c - what an engine says of its use, in answers and in events. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "core/base/buf.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/gateway/body.h"

/* From memory of exactly that size. */
static struct body_event event(sl_str text)
{
	struct body_event out;
	char *copy = malloc(text.len ? text.len : 1);
	cr_assert_not_null(copy);
	if (text.len)
		memcpy(copy, text.ptr, text.len);
	body_event(copy, text.len, &out);
	free(copy);
	return out;
}

static bool usage(sl_str text, struct body_usage *out)
{
	char *copy = malloc(text.len ? text.len : 1);
	cr_assert_not_null(copy);
	if (text.len)
		memcpy(copy, text.ptr, text.len);
	bool found = body_find_usage(copy, text.len, out);
	free(copy);
	return found;
}

Test(usage, found)
{
	static const struct { const char *text; int64_t input, cached, output; } cases[] = {
		{ "{\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":20,\"total_tokens\":30}}", 10, -1, 20 },
		{ "{\"id\":\"a\" , \"usage\" : { \"completion_tokens\" : 20 , \"prompt_tokens\" : 10 } , \"x\":1}", 10, -1, 20 },
		{ "{\"usage\":{\"prompt_tokens\":10,\"prompt_tokens_details\":{\"audio_tokens\":1,\"cached_tokens\":8},\"completion_tokens\":2,"
		  "\"completion_tokens_details\":{\"cached_tokens\":5,\"prompt_tokens\":7}}}", 10, 8, 2 },
		{ "{\"usage\":{\"prompt_tokens\":5,\"total_tokens\":5,\"prompt_tokens_details\":null}}", 5, -1, -1 },
		{ "{\"usage\":{}}", -1, -1, -1 },
		{ "{\"usage\":{\"prompt_tokens\":-1,\"completion_tokens\":1.5}}", -1, -1, -1 },
		{ "{\"usage\":{\"prompt_tokens\":9223372036854775807,\"completion_tokens\":1099511627776}}", -1, -1, 1099511627776 },
		{ "{\"usage\":{\"prompt_tokens\":1099511627777,\"completion_tokens\":\"5\"}}", -1, -1, -1 },
		{ "{\"usage\":null,\"choices\":[{\"usage\":{\"prompt_tokens\":3}}]}", 3, -1, -1 },
		{ "{\"a\":\"\\\\\",\"usage\":{\"prompt_tokens\":3}}", 3, -1, -1 },
		{ "{\"usage\":{\"x\":[1,{\"y\":\"}\\\"\"}],\"prompt_tokens\":3}}", 3, -1, -1 },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct body_usage u;
		cr_assert(usage(str_of(cases[i].text), &u), "%s", cases[i].text);
		cr_expect(u.input == cases[i].input && u.cached == cases[i].cached && u.output == cases[i].output,
		          "%s: %lld %lld %lld", cases[i].text, (long long) u.input, (long long) u.cached, (long long) u.output);
		struct body_event e = event(str_of(cases[i].text));
		cr_expect(e.has_usage && e.usage.input == u.input && e.usage.output == u.output, "%s as an event", cases[i].text);
		for (size_t n = 0; n < strlen(cases[i].text); n++) /* a part never reads behind itself nor invents counts */
			if (usage((sl_str){ cases[i].text, n }, &u))
				cr_expect(u.input == cases[i].input && u.output == cases[i].output, "%s cut at %zu", cases[i].text, n);
	}
}

Test(usage, not_found)
{
	static const char *const texts[] = {
		"", "\"", "{}", "{\"usage\":null}", "{\"usage\":5}", "{\"usage\":[{}]}", "{\"usages\":{}}", "{\"x\":\"usage\"}",
		"{\"x\":\"\\\"usage\\\":{\\\"prompt_tokens\\\":5}\"}", "{\"x\\\"usage\":{\"prompt_tokens\":5}}", "{\"usage\":{", "{\"usage\":{\"prompt_tokens\":5",
		"{\"usage\":{\"prompt_tokens\":5,", "{\"usage\"", "{\"usage\":", "{\"usage\":{\"prompt_tokens\" 5}}", "{\"usage\":{prompt_tokens:5}}",
		"{\"usage\":{\"a\":\"", "{\"usage\":{\"a\":\"\\", "{\"Usage\":{}}",
	};
	struct body_usage u;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		cr_expect_not(usage(str_of(texts[i]), &u), "%s", texts[i]);
		cr_expect(u.input == -1 && u.cached == -1 && u.output == -1, "%s", texts[i]);
		cr_expect_not(event(str_of(texts[i])).has_usage, "%s as an event", texts[i]);
	}
}

Test(usage, at_every_place)
{
	for (size_t before = 0; before < 40; before++)
		for (size_t behind = 0; behind < 40; behind++) {
			char text[256];
			struct body_usage u;
			int n = snprintf(text, sizeof text, "{\"%0*d\":1,\"usage\":{\"prompt_tokens\":7},\"%0*d\":1}", (int) before + 1, 0, (int) behind + 1, 0);
			cr_assert(usage((sl_str){ text, (size_t) n }, &u) && u.input == 7, "%s", text);
			struct body_event e = event((sl_str){ text, (size_t) n });
			cr_assert(e.has_usage && e.usage.input == 7, "%s", text);
		}
}

Test(events, facts)
{
	static const struct { const char *text; bool done, error, has_usage, choices_empty, finished; } cases[] = {
		{ .text = "[DONE]", .done = true },
		{ .text = "[DONE] ", .done = true },
		{ .text = "[DON" },
		{ .text = "" },
		{ .text = "{\"choices\":[{\"delta\":{\"content\":\"[DONE]\"},\"finish_reason\":null}],\"usage\":null}" },
		{ .text = "{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}", .finished = true },
		{ .text = "{\"choices\":[{\"finish_reason\": null},{\"finish_reason\" : \"length\"}]}", .finished = true },
		{ .text = "{\"choices\":[],\"usage\":{\"prompt_tokens\":1}}", .has_usage = true, .choices_empty = true },
		{ .text = "{\"choices\" : [ ] , \"usage\" : {} }", .has_usage = true, .choices_empty = true },
		{ .text = "{\"choices\":[{}],\"usage\":{\"prompt_tokens\":1}}", .has_usage = true },
		{ .text = "{\"error\":{\"message\":\"x\"}}", .error = true },
		{ .text = " { \"error\" : \"x\" }", .error = true },
		{ .text = "{\"a\":[{\"error\":1}],\"b\":\"}\",\"error\":1}", .error = true },
		{ .text = "{\"error\":true}", .error = true },
		{ .text = "{\"error\":0.5}", .error = true },
		{ .text = "{\"error\":null}" }, { .text = "{\"error\":false}" }, { .text = "{\"error\":0}" }, { .text = "{\"error\":-0.0e5}" },
		{ .text = "{\"error\":\"\"}" }, { .text = "{\"error\":{ }}" }, { .text = "{\"error\":[]}" }, { .text = "{\"error\":" },
		{ .text = "{\"error\":{\"message\"" },
		{ .text = "{\"choices\":[{\"error\":{\"message\":\"x\"}}]}" },
		{ .text = "{\"x\":\"\\\"error\\\":1\"}" },
		{ .text = "{\"x\\\"error\":1}" },
		{ .text = "{\"logprobs\":{\"finish_reason\":-1.5,\"usage\":-2}}" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct body_event e = event(str_of(cases[i].text));
		cr_expect_eq(e.done, cases[i].done, "%s: done", cases[i].text);
		cr_expect_eq(e.error, cases[i].error, "%s: error", cases[i].text);
		cr_expect_eq(e.has_usage, cases[i].has_usage, "%s: has_usage", cases[i].text);
		cr_expect_eq(e.choices_empty, cases[i].choices_empty, "%s: choices_empty", cases[i].text);
		cr_expect_eq(e.finished, cases[i].finished, "%s: finished", cases[i].text);
	}
}

Test(events, usage_can_be_cut_out)
{
	static const struct { const char *text, *rest; } cases[] = {
		{ "{\"a\":1,\"usage\":{\"prompt_tokens\":1}}", "{\"a\":1}" },
		{ "{\"a\":1 , \"usage\" : {\"x\":\"},\"} }", "{\"a\":1  }" },
		{ "{\"usage\":{\"prompt_tokens\":1},\"a\":1}", "{\"a\":1}" },
		{ "{ \"usage\":{} , \"a\":1}", "{  \"a\":1}" },
		{ "{\"usage\":{}}", "{}" },
		{ "{\"a\":1,\"usage\":{},\"b\":2}", "{\"a\":1,\"b\":2}" },
		{ "{\"choices\":[{\"usage\":{}}]}", "{\"choices\":[{}]}" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		sl_str text = str_of(cases[i].text);
		struct body_event e = event(text);
		cr_assert(e.has_usage && e.usage_at.start < e.usage_at.end && e.usage_at.end <= text.len, "%s", text.ptr);
		struct buf rest = { 0 };
		buf_put(&rest, text.ptr, e.usage_at.start);
		buf_put(&rest, text.ptr + e.usage_at.end, text.len - e.usage_at.end);
		cr_expect(str_eq(buf_str(&rest), str_of(cases[i].rest)), "%s: %.*s", text.ptr, STR_ARG(buf_str(&rest)));
		sl_error error;
		json_t *json = json_parse(buf_str(&rest), &error);
		cr_expect_not_null(json, "%s: %s", text.ptr, error.text);
		json_decref(json);
		buf_free(&rest);
	}
}

/* A hostile engine's events cost no more than linear time: quadratic would take hours here. */
Test(events, hostile_nesting_is_linear)
{
	static const char *const parts[] = {
		"{\"usage\":", "{\"usage\":{\"", "{\"error\":", "{\"error\":{},", "\"error\":1,", "\"usage\":{},", "[{\"error\":1},", "\"choices\":", "\"usage\":{\"prompt_tokens_details\":",
	};
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		struct buf text = { 0 };
		while (text.len < 4u << 20)
			buf_puts(&text, parts[i]);
		struct body_usage u;
		event(buf_str(&text));
		usage(buf_str(&text), &u);
		buf_free(&text);
	}
	cr_assert(true, "got here");
}

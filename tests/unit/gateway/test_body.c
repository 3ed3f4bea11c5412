/* SPDX-License-Identifier: Apache-2.0 */
/* test_body.c - what is read of a request's body, and what is refused. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/buf.h"
#include "core/base/str.h"
#include "core/gateway/body.h"

static struct body body;
static struct body_reject why;

/* Scans a copy whose 64 bytes behind are made to mislead: they go on where the text ends. */
static const char *const stripped[] = {
	"priority", "cache_salt", "kv_transfer_params", "x", "lora", "rid", "a_name_of_as_many_bytes_as_is_o", "priority",
};
static struct body_strip *strip;

static void make_strip(void)
{
	strip = body_strip_new(stripped, sizeof stripped / sizeof stripped[0]);
	cr_assert_not_null(strip);
}

static void free_strip(void)
{
	body_strip_free(strip);
}

TestSuite(body, .init = make_strip, .fini = free_strip);

static bool scan(sl_str text, enum body_door door)
{
	static const char *const endings[] = { "\"}]}", "aaaa", "0000", "\x80\x80\x80\x80" };
	bool first = false;
	for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
		char *copy = malloc(text.len + 64);
		cr_assert_not_null(copy);
		if (text.len)
			memcpy(copy, text.ptr, text.len);
		for (size_t n = 0; n < 64; n++)
			copy[text.len + n] = endings[i][n % 4];
		memset(&why, 0, sizeof why);
		bool ok = body_scan(copy, text.len, door, strip, &body, &why);
		free(copy);
		if (i == 0)
			first = ok;
		cr_assert_eq(ok, first, "what stands behind the body must not matter: %.*s", STR_ARG(text));
		cr_assert(ok || (why.code && why.message[0] && why.offset <= text.len), "a reason: %.*s", STR_ARG(text));
	}
	return first;
}

static bool span_is(sl_str text, struct body_span span, const char *expected)
{
	return span.end >= span.start && span.end <= text.len &&
	       str_eq((sl_str){ text.ptr + span.start, span.end - span.start }, str_of(expected));
}

Test(body, everything_that_is_read)
{
	sl_str text = STR(" {\"model\" : \"llama-8b\", \"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\n"
	                  "\"stream\":true, \"stream_options\": {\"x\":1,\"include_usage\" :true,"
	                  "\"continuous_usage_stats\": true}, \"max_tokens\":100,"
	                  "\"max_completion_tokens\":200,\"n\":3,\"best_of\":5,\"user\":\"bob\\u0021\",\"priority\":-5,"
	                  "\"temperature\":0.7e-1,\"cache_salt\":\"x\"} \r\n");
	cr_assert(scan(text, BODY_CHAT), "%s", why.message);
	cr_expect_str_eq(body.model, "llama-8b");
	cr_expect(span_is(text, body.model_at.key, "\"model\"") && span_is(text, body.model_at.value, "\"llama-8b\""));
	cr_expect(body.stream && span_is(text, body.stream_at.value, "true"));
	cr_expect(span_is(text, body.stream_options_at.value, "{\"x\":1,\"include_usage\" :true,\"continuous_usage_stats\": true}"));
	cr_expect(body.include_usage && span_is(text, body.include_usage_at.value, "true"));
	cr_expect(span_is(text, body.include_usage_at.key, "\"include_usage\""));
	cr_expect(body.running_usage && span_is(text, body.running_usage_at.value, "true"));
	cr_expect_eq(body.max_output, 200, "the larger of the two");
	cr_expect(span_is(text, body.max_tokens_at.key, "\"max_tokens\"") && span_is(text, body.max_tokens_at.value, "100"));
	cr_expect(span_is(text, body.max_completion_tokens_at.value, "200"));
	cr_expect_eq(body.n, 3);
	cr_expect_eq(body.best_of, 5);
	cr_expect_eq(body.prompts, 1);
	cr_expect(span_is(text, body.prompt, "[{\"role\":\"user\",\"content\":\"hi\"}]"));
	cr_expect(span_is(text, body.user, "\"bob\\u0021\""));
	cr_expect(span_is(text, body.open, "{"));
	cr_expect_not(body.empty);
	cr_assert_eq(body.n_engine_only, 2);
	cr_expect(span_is(text, body.engine_only[0].key, "\"priority\"") && span_is(text, body.engine_only[0].value, "-5"));
	cr_expect(span_is(text, body.engine_only[1].key, "\"cache_salt\"") && span_is(text, body.engine_only[1].value, "\"x\""));
}

Test(body, what_is_absent)
{
	cr_assert(scan(STR("{\"messages\":[{}],\"model\":\"m\"}"), BODY_CHAT), "%s", why.message);
	cr_expect(!body.stream && !body.include_usage && body.stream_at.value.end == 0 && body.stream_options_at.key.end == 0);
	cr_expect(body.max_output == -1 && body.n == 1 && body.best_of == 0 && body.prompts == 1);
	cr_expect(body.user.end == 0 && body.n_engine_only == 0 && body.max_tokens_at.value.end == 0);
	cr_assert(scan(STR("{\"messages\":[{}],\"model\":\"m\",\"stream\":null,\"max_tokens\":null,\"n\":null,\"best_of\":null,"
	                   "\"user\":null,\"stream_options\":null}"), BODY_CHAT), "null is absent: %s", why.message);
	cr_expect(!body.stream && body.max_output == -1 && body.n == 1 && body.user.end == 0);
	cr_expect(body.max_tokens_at.value.end != 0, "but its place is known");
}

#define CHAT(more) "{\"model\":\"m\",\"messages\":[{}]," more "}"
struct bad {
	const char *text, *code, *param;
};
static const struct bad bad_bodies[] = {
	/* duplicates, also under an escaped name */
	{ "{\"model\":\"a\",\"messages\":[{}],\"model\":\"b\"}", "duplicate_field", "model" },
	{ "{\"model\":\"a\",\"messages\":[{}],\"mod\\u0065l\":\"b\"}", "duplicate_field", "model" },
	{ "{\"\\u006dodel\":\"a\",\"messages\":[{}],\"m\\u006Fdel\":\"b\"}", "duplicate_field", "model" },
	{ CHAT("\"stream\":true,\"stream\":true"), "duplicate_field", "stream" },
	{ CHAT("\"stream_options\":{},\"stream_options\":{}"), "duplicate_field", "stream_options" },
	{ CHAT("\"max_tokens\":1,\"max_tokens\":2"), "duplicate_field", "max_tokens" },
	{ CHAT("\"max_completion_tokens\":1,\"max_completion_tokens\":1"), "duplicate_field", "max_completion_tokens" },
	{ CHAT("\"n\":1,\"n\":2"), "duplicate_field", "n" },
	{ CHAT("\"n\":1,\"\\u006e\":2"), "duplicate_field", "n" },
	{ CHAT("\"best_of\":1,\"best_of\":2"), "duplicate_field", "best_of" },
	{ CHAT("\"messages\":[{}]"), "duplicate_field", "messages" },
	{ CHAT("\"prompt\":1,\"prompt\":2"), "duplicate_field", "prompt" },
	{ CHAT("\"input\":1,\"input\":2"), "duplicate_field", "input" },
	{ CHAT("\"user\":\"a\",\"user\":\"b\""), "duplicate_field", "user" },
	{ CHAT("\"stream_options\":{\"include_usage\":true,\"include_usage\":false}"), "duplicate_field",
	  "stream_options.include_usage" },
	{ CHAT("\"stream_options\":{\"continuous_usage_stats\":true,\"include_usage\":true,\"continuous_usage_stats\":true}"),
	  "duplicate_field", "stream_options.continuous_usage_stats" },
	{ CHAT("\"stream_options\":{\"include_usage\":true,\"include\\u005fusage\":false}"), "duplicate_field",
	  "stream_options.include_usage" },
	/* model */
	{ "{\"messages\":[{}]}", "missing_field", "model" },
	{ "{\"Model\":\"m\",\"messages\":[{}]}", "missing_field", "model" },
	{ "{\"model\\u0000\":\"m\",\"messages\":[{}]}", "missing_field", "model" },
	{ "{\"model\":null,\"messages\":[{}]}", "invalid_value", "model" },
	{ "{\"model\":5,\"messages\":[{}]}", "invalid_value", "model" },
	{ "{\"model\":[\"m\"],\"messages\":[{}]}", "invalid_value", "model" },
	{ "{\"model\":\"\",\"messages\":[{}]}", "invalid_value", "model" },
	{ "{\"model\":\"a\\u0000b\",\"messages\":[{}]}", "invalid_value", "model" },
	{ "{\"model\":\"a\\r\\nb\",\"messages\":[{}]}", "invalid_value", "model" },
	{ "{\"model\":\"a\x7f\",\"messages\":[{}]}", "invalid_value", "model" },
	{ "{\"model\":\"\\ud800\",\"messages\":[{}]}", "invalid_value", "model" },
	{ "{\"model\":\"\\ud800x\",\"messages\":[{}]}", "invalid_value", "model" },
	{ "{\"model\":\"\\ud800\\u0041\",\"messages\":[{}]}", "invalid_value", "model" },
	{ "{\"model\":\"\\udc00\\ud800\",\"messages\":[{}]}", "invalid_value", "model" },
	{ "{\"model\":\"\xef\xbb\xbfm\",\"messages\":[{}]}", "invalid_value", "model" },
	{ "{\"model\":\"m\\ufeff\",\"messages\":[{}]}", "invalid_value", "model" },
	{ "{\"model\":\"\xff\",\"messages\":[{}]}", "invalid_json", NULL },
	{ "{\"model\":\"0123456789012345678901234567890123456789012345678901234567890123\",\"messages\":[{}]}", "invalid_value",
	  "model" },
	/* bounds */
	{ CHAT("\"max_tokens\":-1"), "invalid_value", "max_tokens" },
	{ CHAT("\"max_tokens\":0"), "invalid_value", "max_tokens" },
	{ CHAT("\"max_tokens\":-0"), "invalid_value", "max_tokens" },
	{ CHAT("\"max_tokens\":1.5"), "invalid_value", "max_tokens" },
	{ CHAT("\"max_tokens\":100.0"), "invalid_value", "max_tokens" },
	{ CHAT("\"max_tokens\":1e400"), "invalid_value", "max_tokens" },
	{ CHAT("\"max_tokens\":1e2"), "invalid_value", "max_tokens" },
	{ CHAT("\"max_tokens\":\"100\""), "invalid_value", "max_tokens" },
	{ CHAT("\"max_tokens\":true"), "invalid_value", "max_tokens" },
	{ CHAT("\"max_tokens\":[]"), "invalid_value", "max_tokens" },
	{ CHAT("\"max_tokens\":2147483648"), "invalid_value", "max_tokens" },
	{ CHAT("\"max_tokens\":9223372036854775808"), "invalid_value", "max_tokens" },
	{ CHAT("\"max_tokens\":18446744073709551617"), "invalid_value", "max_tokens" },
	{ CHAT("\"max_completion_tokens\":0"), "invalid_value", "max_completion_tokens" },
	{ CHAT("\"n\":0"), "invalid_value", "n" },
	{ CHAT("\"n\":129"), "invalid_value", "n" },
	{ CHAT("\"n\":\"2\""), "invalid_value", "n" },
	{ CHAT("\"best_of\":21"), "invalid_value", "best_of" },
	{ CHAT("\"best_of\":-1"), "invalid_value", "best_of" },
	/* kinds */
	{ CHAT("\"stream\":\"true\""), "invalid_value", "stream" },
	{ CHAT("\"stream\":1"), "invalid_value", "stream" },
	{ CHAT("\"stream\":tru"), "invalid_json", NULL },
	{ CHAT("\"stream_options\":true"), "invalid_value", "stream_options" },
	{ CHAT("\"stream_options\":[]"), "invalid_value", "stream_options" },
	{ CHAT("\"stream_options\":{\"include_usage\":1}"), "invalid_value", "stream_options.include_usage" },
	{ CHAT("\"stream_options\":{\"continuous_usage_stats\":\"yes\"}"), "invalid_value", "stream_options.continuous_usage_stats" },
	{ CHAT("\"user\":5"), "invalid_value", "user" },
	{ "{\"model\":\"m\"}", "missing_field", "messages" },
	{ "{\"model\":\"m\",\"prompt\":\"x\"}", "missing_field", "messages" },
	{ "{\"model\":\"m\",\"messages\":\"x\"}", "invalid_value", "messages" },
	{ "{\"model\":\"m\",\"messages\":null}", "invalid_value", "messages" },
	{ "{\"model\":\"m\",\"messages\":[ ]}", "invalid_value", "messages" },
	/* no object */
	{ "", "invalid_json", NULL }, { " \n", "invalid_json", NULL }, { "[]", "invalid_json", NULL },
	{ "\"x\"", "invalid_json", NULL }, { "null", "invalid_json", NULL },
	{ "\xef\xbb\xbf{\"model\":\"m\",\"messages\":[{}]}", "invalid_json", NULL },
	{ "{}", "missing_field", "model" },
};

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

Test(body, bad_bodies)
{
	for (size_t i = 0; i < sizeof bad_bodies / sizeof bad_bodies[0]; i++) {
		const struct bad *bad = &bad_bodies[i];
		cr_assert_not(scan(str_of(bad->text), BODY_CHAT), "%s is refused", bad->text);
		cr_expect_str_eq(why.code, bad->code, "%s: %s %s", bad->text, why.code, why.message);
		cr_expect(same(why.param, bad->param), "%s: param %s", bad->text, why.param);
	}
}

Test(body, good_values)
{
	static const char *const texts[] = {
		"{\"mod\\u0065l\":\"m\",\"messages\":[{}]}",
		"{\"model\":\"\\ud83d\\ude00\",\"messages\":[{}]}",
		CHAT("\"max_tokens\":2147483647"), CHAT("\"max_tokens\":1"), CHAT("\"n\":128"), CHAT("\"best_of\":0"),
		CHAT("\"stream\":false"), CHAT("\"Model\":1,\"MODEL\":2,\"model \":3"), CHAT("\"stop\":\"\\ud800\""),
		CHAT("\"\\ud800\":1,\"a\":1,\"a\":2"), CHAT("\"tools\":[{\"model\":1,\"model\":2,\"n\":0}]"),
	};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		cr_expect(scan(str_of(texts[i]), BODY_CHAT), "%s: %s", texts[i], why.message);
	cr_assert(scan(str_of(texts[1]), BODY_CHAT));
	cr_expect_str_eq(body.model, "\xf0\x9f\x98\x80");
	char longest[128];
	snprintf(longest, sizeof longest, "{\"model\":\"%063d\",\"messages\":[{}]}", 0);
	cr_expect(scan(str_of(longest), BODY_CHAT), "63 bytes: %s", why.message);
	cr_expect_eq(strlen(body.model), 63);
}

Test(body, prompts)
{
	static const struct { const char *value; int64_t prompts; } cases[] = { /* -1: refused */
		{ "\"x\"", 1 }, { "[\"x\"]", 1 }, { "[\"x\",\"y\" , \"z\"]", 3 }, { "[1,2,3]", 1 }, { "[[1,2],[3]]", 2 }, { "[[1]]", 1 },
		{ "[]", -1 }, { "[[]]", -1 }, { "[[1],[]]", -1 }, { "null", -1 }, { "5", -1 }, { "{}", -1 }, { "[\"x\",1]", -1 },
		{ "[1,\"x\"]", -1 }, { "[[1],2]", -1 }, { "[[1],\"x\"]", -1 }, { "[[[1]]]", -1 }, { "[1.5]", -1 }, { "[-1]", -1 },
		{ "[null]", -1 }, { "[{}]", -1 }, { "[true]", -1 }, { "[[\"x\"]]", -1 }, { "[1e3]", -1 }, { "[1,]", -1 },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		for (int door = BODY_COMPLETIONS; door <= BODY_EMBEDDINGS; door++) {
			char text[128];
			const char *name = door == BODY_COMPLETIONS ? "prompt" : "input";
			snprintf(text, sizeof text, "{\"model\":\"m\",\"%s\":%s}", name, cases[i].value);
			bool ok = scan(str_of(text), (enum body_door) door);
			cr_assert_eq(ok, cases[i].prompts > 0, "%s: %s", text, why.message);
			if (ok) {
				cr_expect_eq(body.prompts, cases[i].prompts, "%s", text);
				cr_expect(span_is(str_of(text), body.prompt, cases[i].value), "%s", text);
			} else if (strcmp(why.code, "invalid_json") != 0) {
				cr_expect_str_eq(why.code, "invalid_value", "%s", text);
				cr_expect_str_eq(why.param, name, "%s", text);
			}
		}
	cr_assert_not(scan(STR("{\"model\":\"m\",\"messages\":[{}]}"), BODY_EMBEDDINGS));
	cr_expect_str_eq(why.param, "input");
	cr_assert(scan(STR("{\"model\":\"m\",\"input\":\"x\",\"messages\":[{}]}"), BODY_EMBEDDINGS));
	cr_expect_eq(body.n_engine_only, 1, "messages would be embedded too, and are taken out");
}

static bool scan_list(const char *element, int n)
{
	struct buf text = { 0 };
	buf_puts(&text, "{\"model\":\"m\",\"prompt\":[");
	for (int i = 0; i < n; i++)
		buf_printf(&text, "%s%s", i ? "," : "", element);
	buf_puts(&text, "]}");
	cr_assert_not(text.failed);
	bool ok = scan(buf_str(&text), BODY_COMPLETIONS);
	buf_free(&text);
	return ok;
}

Test(body, prompts_are_bounded)
{
	cr_expect(scan_list("\"x\"", 2048));
	cr_expect_eq(body.prompts, 2048);
	cr_expect_not(scan_list("\"x\"", 2049));
	cr_expect_str_eq(why.code, "invalid_value");
	cr_expect_not(scan_list("[1]", 2049));
	cr_expect(scan_list("1", 100000), "a list of tokens is one prompt, however long");
	cr_expect_eq(body.prompts, 1);
}

Test(body, media)
{
	static const struct { const char *messages; unsigned parts; } cases[] = {
		{ "[{\"role\":\"user\",\"content\":\"image_url\"}]", 0 },
		{ "[{\"content\":[{\"type\":\"text\",\"text\":\"image_url\"}]}]", 0 },
		{ "[{\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"x\"}},{\"type\":\"input_audio\"}]}]", 2 },
		{ "[{\"content\":[{\"type\":\"audio_url\"},{\"type\":\"video_url\"},{\"type\":\"file\",\"file\":{}}]}]", 3 },
		{ "[{\"content\":[{\"type\":\"image\\u005furl\"},{\"t\\u0079pe\":\"file\"}]}]", 2 },
		{ "[{\"content\":[{\"image_url\":\"x\"}]}]", 1 },
		{ "[{\"content\":[{\"type\":\"image_url\",\"type\":\"text\"}]}]", 1 },
		{ "[{\"content\":[{\"type\":[\"image_url\"]}]}]", 0 },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char text[256];
		snprintf(text, sizeof text, "{\"tools\":[{\"type\":\"file\"}],\"model\":\"m\",\"messages\":%s}", cases[i].messages);
		cr_assert(scan(str_of(text), BODY_CHAT), "%s: %s", text, why.message);
		cr_expect_eq(body.media_parts, cases[i].parts, "%s: %u", text, body.media_parts);
	}
}

Test(body, engine_only)
{
	static const char *const names[][2] = {
		{ "priority", "priority" }, { "cache_salt", "cache_salt" }, { "kv_transfer_params", "kv_transfer_params" }, { "x", "x" },
		{ "prior\\u0069ty", "priority" }, { "\\u0078", "x" }, { "priorit", NULL }, { "cache_salu", NULL }, { "rie", NULL },
		{ "", NULL }, { "id_slot", NULL },
		{ "a_name_of_as_many_bytes_as_is_o", "a_name_of_as_many_bytes_as_is_o" },
	};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		char text[128];
		snprintf(text, sizeof text, "{\"%s\":[1,{\"%s\":2}],\"model\":\"m\",\"messages\":[{}]}", names[i][0], names[i][0]);
		cr_assert(scan(str_of(text), BODY_CHAT), "%s", why.message);
		cr_assert_eq(body.n_engine_only, names[i][1] != NULL, "%s", names[i][0]);
		if (!names[i][1])
			continue;
		cr_expect_str_eq(body.engine_only_name[0], names[i][1]);
		cr_expect_eq(body.engine_only[0].key.start, 1, "%s", names[i][0]);
	}
	struct buf text = { 0 };
	buf_puts(&text, "{\"model\":\"m\",\"messages\":[{}]");
	for (int i = 0; i < BODY_STRIP_MAX; i++)
		buf_puts(&text, ",\"priority\":1");
	size_t len = text.len;
	buf_puts(&text, "}");
	cr_expect(scan(buf_str(&text), BODY_CHAT), "each of a repeated one is found");
	cr_expect_eq(body.n_engine_only, BODY_STRIP_MAX);
	text.len = len;
	buf_puts(&text, ",\"priority\":1}");
	cr_expect_not(scan(buf_str(&text), BODY_CHAT));
	cr_expect_str_eq(why.code, "invalid_value");
	buf_free(&text);
}

/* A body that is cut anywhere is refused, and the place of the fault lies in it. */
Test(body, every_cut_is_refused)
{
	static const char *const texts[] = {
		"{\"model\":\"m\",\"messages\":[{\"a\":[1,\"b\"]}],\"max_tokens\" : 5 ,\"stream\":true,\"stream_options\":{\"include_usage\":false}}",
		"{\"model\":\"m\",\"prompt\":[[1,2], [3] ] , \"n\":2,\"user\":\"u\\u0041\"}", "{\"model\":\"m\",\"prompt\":[1,2 ,3]}",
		"{\"model\":\"m\",\"prompt\":[\"a\",\"\xc3\xa9\"]}", "{\"input\":\"x\",\"model\":\"m\",\"priority\":-1.5e3}",
	};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		for (int door = BODY_CHAT; door <= BODY_EMBEDDINGS; door++)
			for (size_t n = 0; n < strlen(texts[i]); n++)
				cr_assert_not(scan((sl_str){ texts[i], n }, (enum body_door) door), "%.*s", (int) n, texts[i]);
}

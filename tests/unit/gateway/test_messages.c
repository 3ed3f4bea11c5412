/* SPDX-License-Identifier: Apache-2.0 */
/* test_messages.c - Anthropic's messages as chat completions, and chat completions as messages. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/gateway/messages.h"

static const char *const id = "req_01TEST";

/* Is the text the same document? */
static void same(const char *what, sl_str text, const char *expected)
{
	json_error_t error;
	json_t *one = json_loadb(text.ptr ? text.ptr : "", text.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	json_t *two = json_loads(expected, JSON_ALLOW_NUL, NULL);
	cr_assert_not_null(one, "%s became %.*s: %s", what, (int) text.len, text.ptr, error.text);
	cr_assert_not_null(two, "%s", expected);
	cr_expect(json_equal(one, two), "%s became %.*s", what, (int) text.len, text.ptr);
	json_decref(one);
	json_decref(two);
}

#define BODY(rest) "{\"model\":\"m\",\"max_tokens\":5," rest "}"
#define SAID(content) BODY("\"messages\":[{\"role\":\"user\",\"content\":" content "}]")
#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define CHAT(rest) "{\"model\":\"m\",\"max_tokens\":5," rest "}"

Test(messages, requests)
{
	static const struct {
		const char *message, *chat;
	} cases[] = {
		{ BODY(HI), CHAT(HI) },
		{ BODY(HI ",\"stream\":true,\"temperature\":0.7,\"top_p\":1,\"top_k\":4"), CHAT(HI ",\"stream\":true,\"temperature\":0.7,\"top_p\":1,\"top_k\":4") },
		{ BODY(HI ",\"stream\":false,\"temperature\":null,\"tools\":[],\"tool_choice\":null,\"stop_sequences\":[],\"mcp_servers\":[]"), CHAT(HI) },
		{ BODY(HI ",\"stop_sequences\":[\"a\",\"b\"],\"metadata\":{\"user_id\":\"u\"},\"service_tier\":\"auto\",\"thinking\":{\"type\":\"disabled\"}"),
		  CHAT(HI ",\"stop\":[\"a\",\"b\"],\"user\":\"u\"") },
		{ BODY(HI ",\"system\":\"be brief\""), CHAT("\"messages\":[{\"role\":\"system\",\"content\":\"be brief\"},{\"role\":\"user\",\"content\":\"hi\"}]") },
		{ BODY(HI ",\"system\":[{\"type\":\"text\",\"text\":\"a\",\"cache_control\":{\"type\":\"ephemeral\"}},{\"type\":\"text\",\"text\":\"b\"}]"),
		  CHAT("\"messages\":[{\"role\":\"system\",\"content\":\"a\\n\\nb\"},{\"role\":\"user\",\"content\":\"hi\"}]") },
		{ BODY(HI ",\"system\":\"\""), CHAT(HI) },
		{ BODY(HI ",\"system\":[]"), CHAT(HI) },
		{ SAID("[{\"type\":\"text\",\"text\":\"hi\",\"cache_control\":{\"type\":\"ephemeral\"}}]"), CHAT(HI) },
		{ SAID("[{\"type\":\"text\",\"text\":\"a\\u0000b\"}]"), CHAT("\"messages\":[{\"role\":\"user\",\"content\":\"a\\u0000b\"}]") },
		{ SAID("[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"http://x/y\"}},"
		       "{\"type\":\"document\",\"source\":{\"type\":\"text\",\"media_type\":\"text/plain\",\"data\":\"d\"}}]"),
		  CHAT("\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"http://x/y\"}},"
		       "{\"type\":\"text\",\"text\":\"d\"}]}]") },
		{ SAID("[{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"QQ==\"}}]"),
		  CHAT("\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,QQ==\"}}]}]") },
		/* Results of tools come before what the user says, and their images with it. */
		{ SAID("[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":\"1\"},{\"type\":\"tool_result\",\"tool_use_id\":\"b\",\"is_error\":true,"
		       "\"content\":[{\"type\":\"text\",\"text\":\"2\"},{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"u\"}},{\"type\":\"text\",\"text\":\"3\"}]},"
		       "{\"type\":\"tool_result\",\"tool_use_id\":\"c\"}]"),
		  CHAT("\"messages\":[{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"1\"},{\"role\":\"tool\",\"tool_call_id\":\"b\",\"content\":\"2\\n3\"},"
		       "{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"\"},{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"u\"}}]}]") },
		{ BODY("\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"\"},"
		       "{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"},{\"type\":\"tool_use\",\"id\":\"i\",\"name\":\"f\",\"input\":{\"x\":0.1}}]}]"),
		  CHAT("\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"ab\",\"tool_calls\":[{\"id\":\"i\",\"type\":\"function\","
		       "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":0.1}\"}}]}]") },
		{ BODY("\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"i\",\"name\":\"f\",\"input\":{}}]}]"),
		  CHAT("\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"i\",\"type\":\"function\","
		       "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}]") },
		{ BODY(HI ",\"tools\":[{\"name\":\"f\",\"description\":\"d\",\"strict\":true,\"input_schema\":{\"type\":\"object\"},\"cache_control\":{}}],"
		       "\"tool_choice\":{\"type\":\"tool\",\"name\":\"f\"}"),
		  CHAT(HI ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\",\"strict\":true,\"parameters\":{\"type\":\"object\"}}}],"
		       "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}") },
		{ BODY(HI ",\"tool_choice\":{\"type\":\"any\",\"disable_parallel_tool_use\":true}"), CHAT(HI ",\"tool_choice\":\"required\",\"parallel_tool_calls\":false") },
		{ BODY(HI ",\"tool_choice\":{\"type\":\"none\"}"), CHAT(HI ",\"tool_choice\":\"none\"") },
		{ BODY(HI ",\"output_config\":{\"effort\":\"low\",\"format\":{\"type\":\"json_schema\",\"schema\":{\"type\":\"object\"}}}"),
		  CHAT(HI ",\"reasoning_effort\":\"low\",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"output\",\"strict\":true,"
		       "\"schema\":{\"type\":\"object\"}}}") },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct messages_reject why;
		struct buf out = { 0 };
		cr_expect(messages_to_chat(str_of(cases[i].message), false, &out, &why), "%s: %s", cases[i].message, why.message);
		same(cases[i].message, buf_str(&out), cases[i].chat);
		buf_free(&out);
	}
}

Test(messages, a_count_asks_for_one_token)
{
	struct messages_reject why;
	struct buf out = { 0 };
	cr_assert(messages_to_chat(STR("{\"model\":\"m\"," HI ",\"max_tokens\":9,\"stream\":true}"), true, &out, &why), "%s", why.message);
	same("a count", buf_str(&out), "{\"model\":\"m\",\"max_tokens\":1," HI "}");
	buf_free(&out);
}

Test(messages, rejects)
{
	static const struct {
		const char *body, *code, *param;
	} cases[] = {
		{ "", "invalid_json", "" },
		{ "[]", "invalid_json", "" },
		{ "{\"model\":\"m\",\"model\":\"m\"}", "invalid_json", "" },
		{ BODY("\"messages\":5"), "invalid_value", "messages" },
		{ BODY("\"messages\":[]"), "invalid_value", "messages" },
		{ BODY("\"messages\":[{\"role\":\"user\",\"content\":\"x\"},7]"), "invalid_value", "messages.1" },
		{ SAID("{}"), "invalid_value", "messages.0.content" },
		{ SAID("[\"x\"]"), "invalid_value", "messages.0.content.0" },
		{ SAID("[{\"type\":\"text\",\"text\":\"x\"},{\"type\":\"audio\"}]"), "unsupported_value", "messages.0.content.1" },
		{ SAID("[{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\"}}]"), "invalid_value", "messages.0.content.0" },
		{ SAID("[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":[{\"type\":\"text\"}]}]"), "invalid_value", "messages.0.content.0" },
		{ BODY(HI ",\"tools\":[{\"type\":\"computer_20250124\",\"name\":\"c\"}]"), "unsupported_value", "tools.0" },
		{ "{\"model\":\"m\"," HI "}", "invalid_value", "max_tokens" },
		{ "{\"max_tokens\":1," HI "}", "invalid_value", "model" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct messages_reject why;
		struct buf out = { 0 };
		cr_assert_not(messages_to_chat(str_of(cases[i].body), false, &out, &why), "%s", cases[i].body);
		cr_expect_str_eq(why.code, cases[i].code, "%s: %s", cases[i].body, why.message);
		cr_expect_str_eq(why.param, cases[i].param, "%s: %s", cases[i].body, why.message);
		cr_expect(why.message[0]);
		bool wrong = strcmp(cases[i].code, "unsupported_value") != 0;
		cr_expect_eq(messages_valid(str_of(cases[i].body), &why), !wrong, "%s", cases[i].body);
		buf_free(&out);
	}
}

#define MESSAGE(content, stop, usage)                                                                                              \
	"{\"id\":\"msg_01TEST\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[" content "],\"stop_reason\":" stop \
	",\"usage\":{" usage ",\"cache_creation_input_tokens\":0}}"
#define ANSWER(choice) "{\"id\":\"x\",\"model\":\"m\",\"choices\":[{" choice "}]}"
#define TEXT(text) "{\"type\":\"text\",\"text\":\"" text "\"}"

Test(messages, answers)
{
	static const struct {
		const char *chat, *message;
		struct body_usage usage;
	} cases[] = {
		{ ANSWER("\"message\":{\"content\":\"hi\"},\"finish_reason\":\"stop\""),
		  MESSAGE(TEXT("hi"), "\"end_turn\",\"stop_sequence\":null", "\"input_tokens\":6,\"cache_read_input_tokens\":4,\"output_tokens\":3"), { 10, 4, 3 } },
		{ ANSWER("\"message\":{\"content\":\"hi\"},\"finish_reason\":\"length\""),
		  MESSAGE(TEXT("hi"), "\"max_tokens\",\"stop_sequence\":null", "\"input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":0"), { -1, -1, -1 } },
		{ ANSWER("\"message\":{\"content\":\"hi\"},\"finish_reason\":\"stop\",\"stop_reason\":\"E\\\"\""),
		  MESSAGE(TEXT("hi"), "\"stop_sequence\",\"stop_sequence\":\"E\\\"\"", "\"input_tokens\":10,\"cache_read_input_tokens\":0,\"output_tokens\":3"), { 10, 0, 3 } },
		{ ANSWER("\"message\":{\"content\":null,\"refusal\":\"no\"},\"finish_reason\":\"content_filter\",\"stop_reason\":7"),
		  MESSAGE(TEXT("no"), "\"refusal\",\"stop_sequence\":null", "\"input_tokens\":0,\"cache_read_input_tokens\":10,\"output_tokens\":3"), { 10, 99, 3 } },
		{ ANSWER("\"message\":{\"content\":\"\",\"reasoning\":\"hm\",\"tool_calls\":[{\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":1}\"}},"
		         "{\"function\":{\"name\":\"g\",\"arguments\":\"{\\\"cut\"}}]},\"finish_reason\":\"stop\""),
		  MESSAGE("{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"\"},{\"type\":\"tool_use\",\"id\":\"c\",\"name\":\"f\",\"input\":{\"x\":1}},"
		          "{\"type\":\"tool_use\",\"id\":\"toolu_01TEST_1\",\"name\":\"g\",\"input\":{}}", "\"tool_use\",\"stop_sequence\":null",
		          "\"input_tokens\":10,\"cache_read_input_tokens\":0,\"output_tokens\":3"), { 10, -1, 3 } },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf out = { 0 };
		cr_assert(messages_from_chat(str_of(cases[i].chat), id, &cases[i].usage, &out), "%s", cases[i].chat);
		same(cases[i].chat, buf_str(&out), cases[i].message);
		buf_free(&out);
	}
	static const char *const none[] = { "", "[]", "{}", "{\"choices\":[]}", "{\"choices\":[{\"message\":5}]}", "{\"choices\":5}" };
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
		struct buf out = { 0 };
		struct body_usage usage = { 1, 1, 1 };
		cr_expect_not(messages_from_chat(str_of(none[i]), id, &usage, &out), "%s", none[i]);
		buf_free(&out);
	}
}

#define CHUNK(delta) "{\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":null}]}"
#define FINISH(reason) "{\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"" reason "\"}]}"

/* The events that the chunks become, one a line: their data, whose type the line before must name. */
static void check_stream(const char *const *chunks, const char *const *events)
{
	struct messages_stream s = { 0 };
	struct body_usage usage = { 10, 4, 3 };
	struct buf out = { 0 };
	for (; *chunks; chunks++)
		cr_assert(messages_stream_chunk(&s, str_of(*chunks), id, &usage, &out), "%s", *chunks);
	messages_stream_end(&s, id, &usage, &out);
	free(s.stop_sequence);
	cr_assert_not(out.failed);
	buf_put(&out, "", 1);
	char *at = out.data;
	for (; *events; events++) {
		char *end = strstr(at, "\n\n"), *data = strstr(at, "\ndata: ");
		cr_assert(end && data && data < end, "%s is missing", *events);
		cr_assert_eq(strncmp(at, "event: ", 7), 0);
		json_t *object = json_loads(*events, 0, NULL);
		cr_assert_not_null(object, "%s", *events);
		const char *type = json_string_value(json_object_get(object, "type"));
		cr_expect(str_eq((sl_str){ at + 7, (size_t) (data - at) - 7 }, str_of(type)), "%.*s is not %s", (int) (data - at), at, type);
		same(type, (sl_str){ data + 7, (size_t) (end - data) - 7 }, *events);
		json_decref(object);
		at = end + 2;
	}
	cr_expect_str_eq(at, "", "nothing follows");
	buf_free(&out);
}

#define START                                                                                                                              \
	"{\"type\":\"message_start\",\"message\":{\"id\":\"msg_01TEST\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[]," \
	"\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":6,\"cache_creation_input_tokens\":0,"                          \
	"\"cache_read_input_tokens\":4,\"output_tokens\":0}}}"
#define OPEN(index, block) "{\"type\":\"content_block_start\",\"index\":" index ",\"content_block\":" block "}"
#define DELTA(index, delta) "{\"type\":\"content_block_delta\",\"index\":" index ",\"delta\":" delta "}"
#define CLOSE(index) "{\"type\":\"content_block_stop\",\"index\":" index "}"
#define END(why)                                                                                                                             \
	"{\"type\":\"message_delta\",\"delta\":{" why "},\"usage\":{\"input_tokens\":6,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":4," \
	"\"output_tokens\":3}}",                                                                                                             \
		"{\"type\":\"message_stop\"}"

Test(messages, streams)
{
	check_stream((const char *const[]){ CHUNK("{\"role\":\"assistant\",\"content\":\"\"}"), CHUNK("{\"content\":\"a\"}"), CHUNK("{\"content\":\"b\\n\"}"),
	                                    FINISH("stop"), "{\"choices\":[],\"usage\":{}}", NULL },
	             (const char *const[]){ START, OPEN("0", TEXT("")), DELTA("0", "{\"type\":\"text_delta\",\"text\":\"a\"}"),
	                                    DELTA("0", "{\"type\":\"text_delta\",\"text\":\"b\\n\"}"), CLOSE("0"), END("\"stop_reason\":\"end_turn\",\"stop_sequence\":null"), NULL });
	check_stream((const char *const[]){ CHUNK("{\"reasoning_content\":\"h\"}"), CHUNK("{\"content\":\"a\"}"),
	                                    "{\"model\":\"m\",\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\",\"matched_stop\":\"E\"}]}", NULL },
	             (const char *const[]){ START, OPEN("0", "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}"),
	                                    DELTA("0", "{\"type\":\"thinking_delta\",\"thinking\":\"h\"}"), CLOSE("0"), OPEN("1", TEXT("")),
	                                    DELTA("1", "{\"type\":\"text_delta\",\"text\":\"a\"}"), CLOSE("1"),
	                                    END("\"stop_reason\":\"stop_sequence\",\"stop_sequence\":\"E\""), NULL });
	/* Two calls at once; a piece that comes too late for its call is dropped. */
	check_stream((const char *const[]){ CHUNK("{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}"),
	                                    CHUNK("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}}]}"),
	                                    CHUNK("{\"tool_calls\":[{\"index\":1,\"function\":{\"name\":\"g\",\"arguments\":\"{\"}},{\"index\":0,\"function\":{\"arguments\":\"}\"}}]}"),
	                                    FINISH("tool_calls"), NULL },
	             (const char *const[]){ START, OPEN("0", "{\"type\":\"tool_use\",\"id\":\"c\",\"name\":\"f\",\"input\":{}}"),
	                                    DELTA("0", "{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}"), CLOSE("0"),
	                                    OPEN("1", "{\"type\":\"tool_use\",\"id\":\"toolu_01TEST_1\",\"name\":\"g\",\"input\":{}}"),
	                                    DELTA("1", "{\"type\":\"input_json_delta\",\"partial_json\":\"{\"}"), CLOSE("1"),
	                                    END("\"stop_reason\":\"tool_use\",\"stop_sequence\":null"), NULL });
	/* An answer without a word is one all the same. */
	check_stream((const char *const[]){ CHUNK("{}"), FINISH("length"), NULL }, (const char *const[]){ START, END("\"stop_reason\":\"max_tokens\",\"stop_sequence\":null"), NULL });
	struct messages_stream s = { 0 };
	struct buf out = { 0 };
	struct body_usage usage = { 1, 1, 1 };
	cr_expect_not(messages_stream_chunk(&s, STR("{\"choices\""), id, &usage, &out));
	cr_expect_not(messages_stream_chunk(&s, STR("[]"), id, &usage, &out));
	buf_free(&out);
}

Test(messages, errors)
{
	static const struct {
		const char *body, *text;
	} cases[] = {
		{ "{\"error\":{\"message\":\"m\",\"code\":400}}", "m" }, { "{\"type\":\"error\",\"error\":{\"type\":\"x\",\"message\":\"m\"}}", "m" },
		{ "{\"error\":\"m\"}", "m" }, { "{\"object\":\"error\",\"message\":\"m\"}", "m" }, { "{\"error\":{}}", NULL }, { "<html>", NULL }, { "", NULL },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		json_t *document;
		sl_str text = messages_error_text(str_of(cases[i].body), &document);
		cr_expect(cases[i].text ? str_eq(text, str_of(cases[i].text)) : !text.ptr, "%s", cases[i].body);
		json_decref(document);
	}
	struct buf out = { 0 };
	messages_put_error(&out, messages_error_type(429), STR("a \"b\""), "c", "d", id);
	same("an error", buf_str(&out), "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"a \\\"b\\\"\",\"code\":\"c\",\"param\":\"d\"},"
	                                "\"request_id\":\"req_01TEST\"}");
	buf_free(&out);
}

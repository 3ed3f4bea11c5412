/* SPDX-License-Identifier: Apache-2.0 */
/* test_edit.c - a body with its edits is valid JSON, has what the engine needs and lacks what it must not see, in
 * whatever order and spacing its members came. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "core/base/json.h"
#include "core/base/str.h"
#include "core/gateway/worker.h"

static struct request request;
static struct route_replica replica;
static const char *stripped[] = { "priority", "cache_salt", NULL };
static struct conf_engine engine;

static void scan(const char *text, enum body_door door)
{
	static const char *const others[] = { "priority", "cache_salt", "id_slot" };
	struct body_reject why;
	struct body_strip *strip = body_strip_new(others, 3);
	buf_free(&request.text);
	request = (struct request){ .replica = &replica, .engine = &engine, .door = door, .spoken = door, .max_output = 99 };
	buf_puts(&request.text, text);
	cr_assert(buf_reserve(&request.text, WORKER_SLACK));
	memset(request.text.data + request.text.len, 'x', WORKER_SLACK);
	request.text_len = request.text.len;
	cr_assert(body_scan(request.text.data, request.text_len, door, strip, &request.body, &why), "%s: %s", text, why.message);
	body_strip_free(strip); /* the names are ours */
}

/* The body with its edits, parsed. */
static json_t *edited(const char *text)
{
	struct edit edits[EDITS_MAX];
	unsigned n = edit_plan(&request, edits);
	struct buf out = { 0 };
	size_t at = 0;
	cr_assert_leq(n, EDITS_MAX);
	for (unsigned i = 0; i < n; i++) {
		cr_assert_geq(edits[i].start, at, "%s: edits do not overlap", text);
		buf_put(&out, request.text.data + at, edits[i].start - at);
		buf_puts(&out, edits[i].text);
		at = edits[i].end;
	}
	buf_put(&out, request.text.data + at, request.text_len - at);
	sl_error error;
	json_t *object = json_parse(buf_str(&out), &error);
	cr_assert_not_null(object, "%s became %.*s: %s", text, (int) out.len, out.data, error.text);
	buf_free(&out);
	return object;
}

static void check(const char *text, int64_t bound)
{
	json_t *object = edited(text);
	cr_expect_str_eq(json_get_str(object, "model", ""), "served", "%s", text);
	cr_expect_eq(json_get_int(object, "max_tokens", -1), bound, "%s", text);
	cr_expect_null(json_object_get(object, "priority"), "%s", text);
	cr_expect_null(json_object_get(object, "cache_salt"), "%s", text);
	cr_expect_not_null(json_object_get(object, "messages"), "%s", text);
	cr_expect_eq(json_get_bool(json_object_get(object, "stream_options"), "include_usage", false), request.body.stream, "%s", text);
	json_decref(object);
}

enum { MEMBERS = 6 };
static const char *const members[MEMBERS] = {
	"\"model\":\"asked\"", "\"messages\":[{\"role\":\"user\",\"content\":\"a, }b\\\"\"}]", "\"priority\":-5",
	"\"cache_salt\":\"x\"", "\"stream\":true", "\"max_tokens\":500",
};

static void permute(int *order, int n, void (*each)(const int *order))
{
	if (n == MEMBERS) {
		each(order);
		return;
	}
	for (int i = n; i < MEMBERS; i++) {
		int a = order[n], b = order[i];
		order[n] = b;
		order[i] = a;
		permute(order, n + 1, each);
		order[n] = a;
		order[i] = b;
	}
}

static void each_order(const int *order)
{
	static const char *const spaces[] = { "", " ", "\n\t" };
	for (size_t s = 0; s < 3; s++) {
		struct buf b = { 0 };
		buf_printf(&b, "%s{%s", spaces[s], spaces[s]);
		for (int i = 0; i < MEMBERS; i++)
			buf_printf(&b, "%s%s%s%s", i ? "," : "", spaces[s], members[order[i]], spaces[s]);
		buf_printf(&b, "}%s", spaces[s]);
		char *text = buf_take(&b);
		scan(text, BODY_CHAT);
		check(text, 99);
		free(text);
	}
}

static void setup(void)
{
	strcpy(replica.served_name, "served");
	engine = (struct conf_engine){ .name = "e", .usage_option = true, .strip = stripped };
}

TestSuite(edit, .init = setup);

Test(edit, every_order_and_spacing)
{
	int order[MEMBERS] = { 0, 1, 2, 3, 4, 5 };
	permute(order, 0, each_order);
}

/* What only other engines take stays, wherever it stands. */
Test(edit, members_for_other_engines_stay)
{
	static const char *const texts[] = {
		"{\"id_slot\":7,\"priority\":1,\"model\":\"asked\",\"messages\":[{}]}",
		"{\"priority\":1,\"id_slot\":7,\"cache_salt\":1,\"model\":\"asked\",\"messages\":[{}]}",
		"{\"model\":\"asked\",\"messages\":[{}],\"priority\":1,\"id_slot\":7}",
		"{\"model\":\"asked\",\"messages\":[{}],\"id_slot\":7,\"priority\":1,\"cache_salt\":1}",
	};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		scan(texts[i], BODY_CHAT);
		check(texts[i], 99);
		json_t *object = edited(texts[i]);
		cr_expect_eq(json_get_int(object, "id_slot", 0), 7, "%s", texts[i]);
		json_decref(object);
	}
}

Test(edit, a_bound_within_is_left_alone)
{
	static const char text[] = "{\"model\":\"asked\",\"max_tokens\":7,\"messages\":[{}]}";
	scan(text, BODY_CHAT);
	check(text, 7);
}

Test(edit, stream_options_in_all_forms)
{
	static const char *const forms[] = { "null", "{}", "{ }", "{\"include_usage\":false}", "{\"include_usage\":true}",
		"{\"include_obfuscation\":false}", "{\"include_usage\":null}" };
	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
		struct buf b = { 0 };
		buf_printf(&b, "{\"model\":\"asked\",\"stream\":true,\"stream_options\":%s,\"messages\":[{}]}", forms[i]);
		char *text = buf_take(&b);
		scan(text, BODY_CHAT);
		check(text, 99);
		free(text);
	}
}

Test(edit, both_bounds_are_clamped)
{
	static const char text[] = "{\"model\":\"asked\",\"max_tokens\":700,\"max_completion_tokens\":800,\"messages\":[{}]}";
	scan(text, BODY_CHAT);
	json_t *object = edited(text);
	cr_expect_eq(json_get_int(object, "max_tokens", 0), 99);
	cr_expect_eq(json_get_int(object, "max_completion_tokens", 0), 99);
	json_decref(object);
}

Test(edit, a_clamp_never_raises)
{
	static const char text[] = "{\"model\":\"asked\",\"max_tokens\":5,\"max_completion_tokens\":800,\"messages\":[{}]}";
	scan(text, BODY_CHAT);
	json_t *object = edited(text);
	cr_expect_eq(json_get_int(object, "max_tokens", 0), 5);
	cr_expect_eq(json_get_int(object, "max_completion_tokens", 0), 99);
	json_decref(object);
}

Test(edit, a_bound_of_null_is_none)
{
	static const char text[] = "{\"model\":\"asked\",\"max_tokens\":null,\"messages\":[{}]}";
	scan(text, BODY_CHAT);
	check(text, 99);
}

Test(edit, embeddings_get_no_bound)
{
	static const char text[] = "{\"model\":\"asked\",\"input\":\"a\",\"priority\":1}";
	scan(text, BODY_EMBEDDINGS);
	json_t *object = edited(text);
	cr_expect_null(json_object_get(object, "max_tokens"));
	cr_expect_null(json_object_get(object, "priority"));
	json_decref(object);
}

Test(edit, running_counts_where_the_engine_has_them)
{
	static const char text[] = "{\"model\":\"asked\",\"stream\":true,\"messages\":[{}]}";
	engine.usage_running = true;
	scan(text, BODY_CHAT);
	json_t *object = edited(text);
	cr_expect(json_get_bool(json_object_get(object, "stream_options"), "continuous_usage_stats", false));
	json_decref(object);
	engine.usage_option = engine.usage_running = false;
	scan(text, BODY_CHAT);
	object = edited(text);
	cr_expect_null(json_object_get(object, "stream_options"), "an engine that does not know it is not asked");
	json_decref(object);
}

/* Each door names its bound in its own way; what has none gets none. */
Test(edit, bounds_of_the_other_doors)
{
	static const struct {
		enum body_door door;
		const char *text, *name;
		int64_t bound; /* 0: the field is not there */
	} cases[] = {
		{ BODY_RESPONSES, "{\"model\":\"asked\",\"input\":\"x\"}", "max_output_tokens", 99 },
		{ BODY_RESPONSES, "{\"model\":\"asked\",\"input\":\"x\",\"max_output_tokens\":700}", "max_output_tokens", 99 },
		{ BODY_RESPONSES, "{\"model\":\"asked\",\"input\":\"x\",\"max_output_tokens\":7,\"max_tokens\":700}", "max_output_tokens", 7 },
		{ BODY_RESPONSES, "{\"model\":\"asked\",\"input\":\"x\",\"max_tokens\":700}", "max_tokens", 0 },
		{ BODY_MESSAGES, "{\"model\":\"asked\",\"messages\":[{}],\"max_tokens\":700}", "max_tokens", 99 },
		{ BODY_MESSAGES, "{\"n\":5,\"model\":\"asked\",\"messages\":[{}],\"max_tokens\":7,\"n\":6}", "n", 0 },
		{ BODY_COUNT_TOKENS, "{\"model\":\"asked\",\"messages\":[{}],\"max_tokens\":700}", "max_tokens", 0 },
		{ BODY_RERANK, "{\"model\":\"asked\",\"query\":\"x\",\"documents\":[1],\"max_tokens\":7}", "max_tokens", 0 },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		scan(cases[i].text, cases[i].door);
		request.body.stream |= cases[i].door == BODY_MESSAGES || cases[i].door == BODY_RESPONSES;
		json_t *object = edited(cases[i].text);
		cr_expect_str_eq(json_get_str(object, "model", ""), "served");
		cr_expect_eq(json_get_int(object, cases[i].name, 0), cases[i].bound, "%s", cases[i].text);
		cr_expect_null(json_object_get(object, "stream_options"), "typed streams tell their use unasked");
		json_decref(object);
	}
}

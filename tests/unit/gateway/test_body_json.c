/* SPDX-License-Identifier: Apache-2.0 */
/* test_body_json.c - what is JSON and what is not: each value stands as a member of a request that is fine. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "core/base/buf.h"
#include "core/base/str.h"
#include "core/gateway/body.h"
#include "core/gateway/body_text.h"

#define HEAD "{\"model\":\"m\",\"messages\":[{}],\"x\":"
#define VALUE(text) { text, sizeof text - 1 }

static struct body body;
static struct body_reject why;

/* The value behind `pad` bytes of text, so that it crosses the bounds of vectors in every way. */
static bool accepts(sl_str value, size_t pad)
{
	struct buf text = { 0 };
	buf_puts(&text, "{\"pad\":\"");
	for (size_t i = 0; i < pad; i++)
		buf_puts(&text, "p");
	buf_puts(&text, "\",");
	buf_puts(&text, &HEAD[1]);
	buf_put(&text, value.ptr, value.len);
	buf_puts(&text, "}");
	size_t len = text.len;
	for (int i = 0; i < 64; i++)
		buf_put(&text, "\"", 1);
	cr_assert_not(text.failed);
	bool ok = body_scan(text.data, len, BODY_CHAT, NULL, &body, &why);
	buf_free(&text);
	return ok;
}

static const sl_str valid[] = {
	VALUE("null"), VALUE("true"), VALUE("false"), VALUE(" \t\r\n null \t\r\n "),
	VALUE("0"), VALUE("-0"), VALUE("1"), VALUE("-1"), VALUE("10"), VALUE("1234567890"), VALUE("0.0"), VALUE("-0.1"),
	VALUE("1.25"), VALUE("1e1"), VALUE("1E1"), VALUE("1e+1"), VALUE("1e-1"), VALUE("0e0"), VALUE("0.5e+007"), VALUE("1e400"),
	VALUE("123456789012345678901234567890"), VALUE("-1.7976931348623157e308"),
	VALUE("[]"), VALUE("[ ]"), VALUE("[1]"), VALUE("[1,2 , 3]"), VALUE("[[],[[]],{}]"), VALUE("[null,\"a\",1.5]"),
	VALUE("{}"), VALUE("{ }"), VALUE("{\"\":0}"), VALUE("{\"a\":{\"b\":[]}}"), VALUE("{\"a\":1,\"a\":2}"),
	VALUE("\"\""), VALUE("\"a\""), VALUE("\"\x7f\""), VALUE("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), VALUE("\"\\u0000\""),
	VALUE("\"\\u12aB\""), VALUE("\"\\ud83d\\ude00\""), VALUE("\"\\ud800\""), VALUE("\"\\udc00\\ud800\""),
	VALUE("\"\\\\\""), VALUE("\"\\\\\\\\\""), VALUE("\"\\\\\\\"\""), VALUE("\"\\\\n\""), VALUE("\"\\\\u\""),
	VALUE("\"\xc2\x80\xdf\xbf\""), VALUE("\"\xe0\xa0\x80\xef\xbf\xbf\""), VALUE("\"\xed\x9f\xbf\xee\x80\x80\""),
	VALUE("\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\""), VALUE("\"\xe4\xb8\xad\xe6\x96\x87\xe5\xad\x97\xe4\xb8\xad\xe6\x96\x87\""),
	VALUE("\"\xef\xbb\xbf\""), VALUE("\"a long string that is not over before the second vector and has \\\"quotes\\\" \xc3\xa9 \""),
	VALUE("\"\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\""),
	VALUE("\"// not a comment /* */ 'x'\""),
};

static const sl_str invalid[] = {
	VALUE(""), VALUE("nul"), VALUE("nulL"), VALUE("True"), VALUE("NaN"), VALUE("Infinity"), VALUE("-Infinity"), VALUE("undefined"),
	VALUE("truex"), VALUE("true false"), VALUE("nullnull"), VALUE("'a'"), VALUE("a"), VALUE("\xef\xbb\xbf" "1"), VALUE("\xa0" "1"),
	VALUE("\0"), VALUE("1\0"), VALUE("\f1"), VALUE("\v1"), VALUE("1 // x"), VALUE("/* x */ 1"), VALUE("# x\n1"),
	VALUE("-"), VALUE("+1"), VALUE("01"), VALUE("-01"), VALUE("00"), VALUE("1."), VALUE(".5"), VALUE("-.5"), VALUE("1.e1"),
	VALUE("1e"), VALUE("1e+"), VALUE("1e1.5"), VALUE("1e1e1"), VALUE("0x10"), VALUE("1_000"), VALUE("1a"), VALUE("--1"),
	VALUE("- 1"), VALUE("1 2"), VALUE("1,"), VALUE("1,,\"y\":2"), VALUE("\xef\xbc\x91"),
	VALUE("["), VALUE("]"), VALUE("[1"), VALUE("[1,"), VALUE("[1,]"), VALUE("[,1]"), VALUE("[,]"), VALUE("[1 2]"), VALUE("[1}"),
	VALUE("[1,,2]"), VALUE("[[]"), VALUE("[\"a\":1]"), VALUE("[1]]"), VALUE("[a]"), VALUE("[*]"),
	VALUE("{"), VALUE("}"), VALUE("{]"), VALUE("{\"a\"}"), VALUE("{\"a\":}"), VALUE("{\"a\" 1}"), VALUE("{\"a\":1,}"),
	VALUE("{,\"a\":1}"), VALUE("{\"a\":1 \"b\":2}"), VALUE("{\"a\":1,,\"b\":2}"), VALUE("{a:1}"), VALUE("{1:1}"), VALUE("{'a':1}"),
	VALUE("{\"a\"::1}"), VALUE("{\"a\",1}"), VALUE("{\"a\":1}}"), VALUE("{null:1}"), VALUE("{[]:1}"), VALUE("{\"a\\x\":1}"),
	VALUE("\""), VALUE("\"a"), VALUE("\"\\\""), VALUE("\"\\"), VALUE("\"\\\\\\\""), VALUE("\"a\"b\""), VALUE("a\""),
	VALUE("\"\n\""), VALUE("\"\t\""), VALUE("\"\r\""), VALUE("\"\0\""), VALUE("\"\x1f\""), VALUE("\"\x01\""),
	VALUE("\"\\a\""), VALUE("\"\\v\""), VALUE("\"\\0\""), VALUE("\"\\x41\""), VALUE("\"\\'\""), VALUE("\"\\U0041\""), VALUE("\"\\ \""),
	VALUE("\"\\\n\""), VALUE("\"\\\xc3\xa9\""), VALUE("\"\\u\""), VALUE("\"\\u1\""), VALUE("\"\\u12\""), VALUE("\"\\u123\""),
	VALUE("\"\\u123g\""), VALUE("\"\\u 123\""), VALUE("\"\\u-123\""), VALUE("\"\\u+123\""), VALUE("\"\\u00\\u0041\""), VALUE("\"\\uD83D\\u\""),
	VALUE("\"\\n\x01\""), VALUE("\"\xc3\xa9\x01\""), VALUE("\"\x80\""), VALUE("\"\xbf\""), VALUE("\"\xc0\x80\""), VALUE("\"\xc0\xaf\""),
	VALUE("\"\xc1\xbf\""), VALUE("\"\xc3\""), VALUE("\"\xc3\xc3\xa9\""), VALUE("\"\xe4\xb8\""), VALUE("\"\xe4\""), VALUE("\"\xe0\x80\x80\""),
	VALUE("\"\xe0\x9f\xbf\""), VALUE("\"\xed\xa0\x80\""), VALUE("\"\xed\xbf\xbf\""), VALUE("\"\xf0\x80\x80\x80\""), VALUE("\"\xf0\x8f\xbf\xbf\""),
	VALUE("\"\xf0\x9f\x98\""), VALUE("\"\xf4\x90\x80\x80\""), VALUE("\"\xf5\x80\x80\x80\""), VALUE("\"\xf8\x88\x80\x80\x80\""), VALUE("\"\xff\""),
	VALUE("\"\xfe\""), VALUE("\"\xe4\xb8\xad\xe4\xb8\""), VALUE("\"\xc3\xa9\x80\""), VALUE("{\"\xff\":1}"), VALUE("{\"\n\":1}"),
};

Test(json, valid_values)
{
	for (size_t i = 0; i < sizeof valid / sizeof valid[0]; i++)
		for (size_t pad = 0; pad < 66; pad++)
			cr_assert(accepts(valid[i], pad), "%.*s behind %zu: %s", STR_ARG(valid[i]), pad, why.message);
}

Test(json, invalid_values)
{
	for (size_t i = 0; i < sizeof invalid / sizeof invalid[0]; i++)
		for (size_t pad = 0; pad < 66; pad++) {
			cr_assert_not(accepts(invalid[i], pad), "value %zu (%.*s) behind %zu", i, STR_ARG(invalid[i]), pad);
			cr_assert_str_eq(why.code, "invalid_json", "value %zu: %s", i, why.message);
		}
}

/* The same inside of a string, at every place of it. */
Test(json, bad_bytes_anywhere_in_a_string)
{
	static const sl_str bad[] = { VALUE("\n"), VALUE("\x80"), VALUE("\xc3"), VALUE("\\x"), VALUE("\\u12"), VALUE("\xed\xa0\x80"), VALUE("\xf0\x9f\x98") };
	static const char *const around[] = { "p", "\\n", "\xc3\xa9", "\xe4\xb8\xad", "\\\\", "\\u00e9", "\xf0\x9f\x98\x80" };
	for (size_t b = 0; b < sizeof bad / sizeof bad[0]; b++)
		for (size_t a = 0; a < sizeof around / sizeof around[0]; a++)
			for (size_t at = 0; at <= 70; at++) {
				struct buf good = { 0 }, text = { 0 };
				buf_puts(&good, "\"");
				buf_puts(&text, "\"");
				for (size_t i = 0; i <= 70; i++) {
					if (i == at)
						buf_put(&text, bad[b].ptr, bad[b].len);
					buf_puts(&text, around[a]);
					buf_puts(&good, around[a]);
				}
				buf_puts(&good, "\"");
				buf_puts(&text, "\"");
				cr_assert(accepts(buf_str(&good), at), "'%s' %s", around[a], why.message);
				cr_assert_not(accepts(buf_str(&text), 0), "bad %zu in '%s' at %zu", b, around[a], at);
				buf_free(&good);
				buf_free(&text);
			}
}

/* Runs of backslashes at every place of a block. */
Test(json, escapes_across_blocks)
{
	for (size_t before = 0; before < 140; before++)
		for (size_t run = 1; run < 8; run++)
			for (int other = 0; other < 2; other++) {
				struct buf text = { 0 };
				buf_puts(&text, "\"\\n"); /* an escape begins the first block */
				for (size_t i = 0; i < before; i++)
					buf_puts(&text, "p");
				for (size_t i = 0; i < run; i++)
					buf_puts(&text, "\\");
				buf_puts(&text, other ? "x\"" : "\""); /* x is no escape, a quote is one that leaves the end missing */
				cr_assert_eq(accepts(buf_str(&text), 0), run % 2 == 0, "%zu backslashes behind %zu", run, before);
				buf_free(&text);
			}
}

Test(json, whole_documents)
{
	static const sl_str texts[] = {
		VALUE(HEAD "1}{}"), VALUE(HEAD "1}}"), VALUE(HEAD "1},"), VALUE(HEAD "1} x"), VALUE(HEAD "1}\0"), VALUE(HEAD "1"),
		VALUE("{\"model\""), VALUE("{\"model\":"), VALUE("{\"model\":\"m"), VALUE("{\"model\":\"m\\"), VALUE("{\"model\":\"m\\u"),
		VALUE("{"), VALUE("{\"max_tokens\":"), VALUE("{\"max_tokens\":-"), VALUE("{\"stream\":"), VALUE("{\"messages\":"),
		VALUE("{\"messages\":["), VALUE("{\"stream_options\":"), VALUE("{\"stream_options\":{"), VALUE("{\"user\":"), VALUE("//{}"),
	};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		char room[256] = { 0 };
		memcpy(room, texts[i].ptr, texts[i].len);
		cr_assert_not(body_scan(room, texts[i].len, BODY_CHAT, NULL, &body, &why), "%s", room);
		cr_expect_str_eq(why.code, "invalid_json", "%s: %s", room, why.message);
		cr_expect_leq(why.offset, texts[i].len, "%s", room);
	}
	char room[256] = HEAD "01}";
	cr_assert_not(body_scan(room, strlen(room), BODY_CHAT, NULL, &body, &why));
	cr_expect_eq(why.offset, strlen(HEAD) + 1, "the place of the fault");
}

static bool nested(size_t depth, const char *open, const char *inside, const char *close)
{
	struct buf text = { 0 };
	for (size_t i = 0; i < depth; i++)
		buf_puts(&text, open);
	buf_puts(&text, inside);
	for (size_t i = 0; i < depth; i++)
		buf_puts(&text, close);
	bool ok = accepts(buf_str(&text), 0);
	buf_free(&text);
	return ok;
}

Test(json, depth)
{
	cr_expect(nested(BODY_DEPTH_MAX - 1, "[", "", "]"), "the document's object is the first level");
	cr_expect(nested(BODY_DEPTH_MAX - 1, "{\"a\":", "1", "}"));
	cr_expect_not(nested(BODY_DEPTH_MAX, "[", "", "]"));
	cr_expect_str_eq(why.code, "body_too_deep");
	cr_expect_not(nested(BODY_DEPTH_MAX, "{\"a\":", "1", "}"));
	cr_expect_str_eq(why.code, "body_too_deep");
	cr_expect_not(nested(1000000, "[", "", ""));
	cr_expect_str_eq(why.code, "body_too_deep");
}

Test(json, many_members)
{
	struct buf text = { 0 };
	buf_puts(&text, HEAD "0");
	for (int i = 0; i < 1000000; i++)
		buf_printf(&text, ",\"k%d\":%d", i, i);
	buf_puts(&text, "}");
	size_t len = text.len;
	cr_assert(buf_reserve(&text, 64));
	cr_expect(body_scan(text.data, len, BODY_CHAT, NULL, &body, &why), "%s", why.message);
	buf_free(&text);
}

static uint64_t chance;

static unsigned any_of(unsigned n)
{
	chance = chance * 6364136223846793005u + 1442695040888963407u;
	return (unsigned) (chance >> 33) % n;
}

/* Pieces of strings, most of them plain text, some with an end, an escape, a character of several bytes, or a fault. */
static size_t write_pieces(char *out, size_t room)
{
	static const char *const pieces[] = { "\"", "\\", "\\n", "\\\\", "\\u12aF", "\\u12", "\\x", "\xc3\xa9", "\xe4\xb8\xad",
		"\xf0\x9f\x98\x80", "\xff", "\xc3", "\x01", "\xed\xa0\x80" };
	unsigned plain = 1 + any_of(120);
	size_t len = 0;
	while (len + 8 < room) {
		if (any_of(plain + 1) != 0) {
			out[len++] = (char) ('a' + any_of(26));
			continue;
		}
		const char *piece = pieces[any_of(any_of(3) ? 10 : sizeof pieces / sizeof pieces[0])];
		memcpy(out + len, piece, strlen(piece));
		len += strlen(piece);
	}
	return len;
}

Test(body_json, every_set_of_vectors_sees_the_same)
{
	body_skip *const *sets;
	unsigned n = body_skip_sets(&sets), ended = 0, refused = 0;
	char text[600 + 64];
	for (unsigned round = 0; round < 200000; round++) {
		memset(text, any_of(2) ? '"' : 'a', sizeof text);
		size_t len = 1 + write_pieces(text + 1, 1 + any_of(590));
		text[0] = '"';
		bool escaped[4], first = true;
		const char *bad[4] = { 0 }, *end[4];
		for (unsigned i = 0; i < n; i++) {
			end[i] = sets[i](text, text + len, &escaped[i], &bad[i]);
			cr_assert_eq(end[i], end[0], "round %u, set %u", round, i);
			if (end[i])
				cr_assert_eq(escaped[i], escaped[0], "round %u, set %u", round, i);
			else
				cr_assert_eq(bad[i], bad[0], "round %u, set %u", round, i);
			first = first && end[i];
		}
		ended += first;
		refused += !first;
	}
	cr_assert_gt(ended, 20000u);
	cr_assert_gt(refused, 20000u);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/arena.h"
#include "core/base/base64.h"
#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/base/metrics.h"
#include "core/base/path.h"
#include "core/base/str.h"

Test(base64, there_and_back)
{
	static const char *const pairs[][2] = {
		{ "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foob", "Zm9vYg==" }, { "\xff\xfe\xfd", "//79" },
		{ "\xfb\xff\xbf", "+/+/" },
	};
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		struct buf text = { 0 }, back = { 0 };
		base64_put(&text, pairs[i][0], strlen(pairs[i][0]));
		cr_expect(str_eq(buf_str(&text), str_of(pairs[i][1])), "%s: got %.*s", pairs[i][1], (int) text.len, text.data);
		cr_expect(base64_get(&back, str_of(pairs[i][1])), "%s is base64", pairs[i][1]);
		cr_expect(str_eq(buf_str(&back), str_of(pairs[i][0])), "%s comes back", pairs[i][1]);
		buf_free(&text);
		buf_free(&back);
	}
}

Test(base64, refuses)
{
	static const char *const bad[] = { "Z", "Zg", "Zg=", "Z===", "====", "Zg==Zg==", "Zm9v\n", "Zm 9", "Zm-_", "Zm9\xff",
		"Y===", "=QQQ", "\xff\xff\xff\xff" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct buf out = { 0 };
		cr_expect(!base64_get(&out, str_of(bad[i])), "\"%s\" is not base64", bad[i]);
		buf_free(&out);
	}
}

Test(path, folders)
{
	char top[] = "/tmp/sluice-test-base.XXXXXX", path[128], file[128];
	struct stat st;
	cr_assert_not_null(mkdtemp(top));
	snprintf(path, sizeof path, "%s/a/b/c", top);
	cr_expect_eq(path_make_folders(path, 0700), 1, "three levels at once");
	cr_expect(stat(path, &st) == 0 && (st.st_mode & 0777) == 0700, "the last has the mode");
	cr_expect_eq(path_make_folders(path, 0755), 0, "it is there");
	cr_expect(stat(path, &st) == 0 && (st.st_mode & 0777) == 0700, "and stays as it is");
	cr_expect_eq(path_make_folders("", 0700), -ENOENT);
	snprintf(file, sizeof file, "%s/file", top);
	FILE *f = fopen(file, "w");
	cr_assert_not_null(f);
	fclose(f);
	cr_expect_eq(path_make_folders(file, 0700), -ENOTDIR, "a file is no folder");
	strcat(file, "/below");
	cr_expect_eq(path_make_folders(file, 0700), -ENOTDIR, "nor is there one below it");
	*strrchr(file, '/') = '\0';
	unlink(file);
	while (strcmp(path, top) != 0) {
		cr_expect_eq(rmdir(path), 0, "%s", path);
		*strrchr(path, '/') = '\0';
	}
	rmdir(top);
}

Test(clock, times_are_read)
{
	static const struct {
		const char *text;
		uint64_t wall_ms;
	} good[] = {
		{ "1970-01-01", 0 },
		{ "2026-11-24", UINT64_C(1795478400000) },
		{ "2026-11-24T00:00:00Z", UINT64_C(1795478400000) },
		{ "2026-11-24T01:30:00+01:30", UINT64_C(1795478400000) },
		{ "2026-11-23T19:00:00-0500", UINT64_C(1795478400000) },
		{ "2026-11-24T00:00:00.25Z", UINT64_C(1795478400250) },
		{ "2026-11-24t00:00:00.123456z", UINT64_C(1795478400123) },
		{ "2024-02-29", UINT64_C(1709164800000) },
	};
	static const char *const bad[] = { "", "yesterday", "2026", "2026-11", "2026-13-01", "2026-02-30", "2025-02-29", "2026-1-1",
		                           "2026-11-24T", "2026-11-24T10:00", "2026-11-24T10:00:00", "2026-11-24T25:00:00Z",
		                           "2026-11-24 ", "2026-11-24T10:00:00Zx", "2026-11-24T10:00:00+1:00", "1970-01-01T00:00:00+01:00",
		                           "99999-01-01", "-026-11-24", "2026-11-24T10:00:00+24:00" };
	uint64_t out;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		cr_expect(clock_parse(str_of(good[i].text), &out), "%s", good[i].text);
		cr_expect_eq(out, good[i].wall_ms, "%s: %llu", good[i].text, (unsigned long long) out);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		cr_expect_not(clock_parse(str_of(bad[i]), &out), "'%s' was taken", bad[i]);
}

Test(str, durations)
{
	static const struct { const char *text; int64_t ms; } good[] = {
		{ "90s", 90000 }, { "2h30m", 9000000 }, { "1d", 86400000 }, { "250ms", 250 }, { "7", 7000 },
	};
	static const char *const bad[] = { "", "s", "5x", "5m3", "-1s", "99999999999999999999s", "1.5h", " 5s" };
	int64_t ms;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		cr_assert(str_to_duration_ms(str_of(good[i].text), &ms), "%s is a duration", good[i].text);
		cr_assert_eq(ms, good[i].ms, "%s", good[i].text);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_assert_not(str_to_duration_ms(str_of(bad[i]), &ms), "'%s' is no duration", bad[i]);
}

Test(str, bytes_and_decimals)
{
	int64_t n;
	cr_assert(str_to_bytes(STR("40G"), &n) && n == 40ll << 30);
	cr_assert(str_to_bytes(STR("1.5GiB"), &n) && n == 3ll << 29);
	cr_assert(str_to_bytes(STR("100"), &n) && n == 100);
	cr_assert_not(str_to_bytes(STR("4Q"), &n));
	cr_assert_not(str_to_bytes(STR("99999999P"), &n));
	cr_assert(str_to_decimal(STR("0.10"), 6, &n) && n == 100000);
	cr_assert(str_to_decimal(STR("12"), 2, &n) && n == 1200);
	cr_assert(str_to_decimal(STR("0.1000000000"), 6, &n) && n == 100000);
	cr_assert_not(str_to_decimal(STR("0.0000001"), 6, &n));
	cr_assert_not(str_to_decimal(STR("1."), 6, &n));
	cr_assert_not(str_to_decimal(STR("9223372036854775807"), 6, &n));
}

Test(str, nearest)
{
	static const char *const names[] = { "gpus", "engine", "replicas", NULL };
	cr_assert_str_eq(str_nearest(STR("gpu"), names), "gpus");
	cr_assert_str_eq(str_nearest(STR("replica"), names), "replicas");
	cr_assert_null(str_nearest(STR("zzzzzz"), names));
}

Test(str, utf8)
{
	cr_assert(str_is_utf8(STR("h\xc3\xa9 \xf0\x9f\x98\x80")));
	cr_assert_not(str_is_utf8(STR("\xc0\xaf")), "overlong");
	cr_assert_not(str_is_utf8(STR("\xed\xa0\x80")), "surrogate");
	cr_assert_not(str_is_utf8(STR("\xe2\x82")), "cut");
	cr_assert_not(str_is_utf8(STR("\xf4\x90\x80\x80")), "above U+10FFFF");
}

Test(buf, json_strings_are_valid_json)
{
	static const char raw[] = "a\"b\\c\n\x01\xff\xe2\x82\xac\x7f";
	struct buf b = { 0 };
	buf_put_json(&b, (sl_str){ raw, sizeof raw - 1 });
	char *text = buf_take(&b);
	cr_assert_str_eq(text, "\"a\\\"b\\\\c\\n\\u0001\\ufffd\xe2\x82\xac\\u007f\"");
	free(text);
}

Test(buf, keeps_its_bound)
{
	struct buf b = { .max = 10 };
	buf_puts(&b, "12345");
	buf_puts(&b, "1234567");
	cr_assert(b.failed);
	cr_assert_eq(b.len, 5);
	buf_clear(&b);
	buf_put_i64(&b, INT64_MIN);
	cr_assert(b.failed, "20 characters do not fit into 10");
	static const struct { int64_t value; const char *text; } numbers[] = {
		{ 0, "0" }, { 9, "9" }, { 10, "10" }, { 99, "99" }, { 100, "100" }, { 12345, "12345" }, { -7, "-7" },
		{ INT64_MAX, "9223372036854775807" }, { INT64_MIN, "-9223372036854775808" },
	};
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		struct buf n = { 0 };
		buf_put_i64(&n, numbers[i].value);
		char *text = buf_take(&n);
		cr_assert_str_eq(text, numbers[i].text);
		free(text);
	}
	buf_free(&b);
}

Test(hash, known_values)
{
	uint8_t digest[32];
	cr_assert(hash_sha256("abc", 3, digest));
	cr_assert_eq(digest[0], 0xba);
	cr_assert_eq(digest[31], 0xad);
	cr_assert_eq(hash_crc32("123456789", 9), 0xcbf43926u);
	cr_assert_eq(hash_crc32c(0, "123456789", 9), 0xe3069283u);
	cr_assert_eq(hash_crc32c(hash_crc32c(0, "1234", 4), "56789", 5), 0xe3069283u, "chained");
	char text[100];
	for (size_t n = 0; n < sizeof text; n++) {
		text[n] = (char) (n * 37);
		cr_assert_eq(hash_crc32c(7, text, n), hash_crc32c_tables(7, text, n), "both ways agree on %zu bytes", n);
	}
}

Test(error, prefix_and_own_text)
{
	sl_error e;
	error_set(&e, SL_EIO, "disk full");
	cr_assert_eq(error_set(&e, SL_EIO, "cannot write: %s", e.text), SL_EIO);
	cr_assert_eq(error_prefix(&e, "sluice.lua:%d: ", 14), SL_EIO);
	cr_assert_str_eq(e.text, "sluice.lua:14: cannot write: disk full");
}

Test(json, duplicates_are_refused)
{
	sl_error e;
	cr_assert_null(json_parse(STR("{\"a\":1,\"a\":2}"), &e));
	json_t *o = json_parse(STR("{\"a\":1}"), &e);
	cr_assert_eq(json_get_int(o, "a", 0), 1);
	json_set_str(o, "b", STR("x\xff"));
	cr_assert_str_eq(json_get_str(o, "b", ""), "x\xef\xbf\xbd");
	json_decref(o);
}

Test(metrics, text_and_bound)
{
	static const uint64_t bounds[] = { 10, 100, 0 };
	struct metric *c = metrics_counter("t_total", "Things.", "model,status", "a\"b", "200");
	metrics_add(c, 3);
	cr_assert_eq(metrics_counter("t_total", "Things.", "model,status", "a\"b", "200"), c);
	struct metric *h = metrics_histogram("t_seconds", "Time.", bounds, 10, "");
	metrics_observe(h, 10);
	metrics_observe(h, 11);
	metrics_observe(h, 1000);
	for (int i = 0; i < 2 * METRICS_SERIES_MAX; i++) {
		char name[16];
		snprintf(name, sizeof name, "m%d", i);
		metrics_add(metrics_counter("many_total", "Many.", "model", name), 1);
	}
	struct buf b = { 0 };
	metrics_write(&b);
	char *text = buf_take(&b);
	cr_assert(strstr(text, "t_total{model=\"a\\\"b\",status=\"200\"} 3\n"));
	cr_assert(strstr(text, "t_seconds_bucket{le=\"1\"} 1\n"));
	cr_assert(strstr(text, "t_seconds_bucket{le=\"10\"} 2\n"));
	cr_assert(strstr(text, "t_seconds_bucket{le=\"+Inf\"} 3\n"));
	cr_assert(strstr(text, "t_seconds_sum 102.1\n"));
	cr_assert(strstr(text, "many_total{model=\"other\"} 256\n"), "what does not fit is counted together");
	free(text);
}

Test(arena, big_and_small)
{
	struct arena a = { 0 };
	char *big = arena_alloc(&a, 100000);
	char *small = arena_strdup(&a, STR("hello"));
	cr_assert_eq(big[99999], 0);
	cr_assert_str_eq(small, "hello");
	arena_free(&a);
	cr_assert_null(a.blocks);
}

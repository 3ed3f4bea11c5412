/* SPDX-License-Identifier: Apache-2.0 */
/* test_cli.c - the parts of sluicectl that need no daemon: tails, forms of values, end records, addresses. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/base/str.h"
#include "core/cli/client.h"
#include "core/cli/cli.h"
#include "core/cli/ending.h"
#include "core/cli/format.h"
#include "core/cli/sink.h"

static void expect_text(struct buf *b, const char *wanted, const char *name)
{
	cr_expect(b->len == strlen(wanted) && (b->len == 0 || memcmp(b->data, wanted, b->len) == 0),
		"%s: got '%.*s', wanted '%s'",
	          name, (int) b->len, b->data ? b->data : "", wanted);
	buf_free(b);
}

Test(cli, a_tail_is_the_last_lines)
{
	static const struct { const char *text; int64_t lines; const char *wanted; } cases[] = {
		{ "a\nb\nc\n", 2, "b\nc\n" }, { "a\nb\nc", 2, "b\nc" }, { "a\nb\nc\n", 0, "" },
		{ "a\nb\n", 9, "a\nb\n" },
		{ "a", 1, "a" }, { "", 3, "" }, { "\n\n\n", 1, "\n" }, { "a\n\n", 2, "a\n\n" },
		{ "a\nb\n", -1, "a\nb\n" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sink s = { .fd = -1, .hold = true };
		sink_put(&s, cases[i].text, strlen(cases[i].text));
		cr_expect(!sink_waits(&s), "what is held is not written");
		sink_release(&s, cases[i].lines);
		expect_text(&s.pending, cases[i].wanted, cases[i].text);
	}
}

Test(cli, values_as_people_read_them)
{
	struct format_world world = { .now_ms = 1795521600000, .utc = true }; /* Tuesday 2026-11-24 12:00 */
	struct { enum format_kind kind; json_t *value; const char *wanted; } cases[] = {
		{ AS_COUNT, json_integer(31204), "31,204" }, { AS_COUNT, json_integer(999), "999" },
		{ AS_COUNT, json_integer(1000000), "1,000,000" }, { AS_COUNT, json_integer(-1), "-" },
		{ AS_TOKENS, json_integer(41234567), "41.2M" }, { AS_TOKENS, json_integer(999999), "999,999" },
		{ AS_TOKENS, json_integer(1234567890), "1.2G" }, { AS_BYTES, json_integer(85899345920), "80 GiB" },
		{ AS_BYTES, json_integer(1610612736), "1.5 GiB" }, { AS_BYTES, json_integer(0), "0 B" },
		{ AS_SECONDS, json_integer(250), "4m 10s" }, { AS_SECONDS, json_integer(0), "0s" },
		{ AS_SECONDS, json_real(1.496), "1s" }, { AS_SECONDS, json_real(0.25), "250ms" }, { AS_SECONDS, json_real(1e300), "0s" },
		{ AS_PERMILLE, json_integer(714), "71%" }, { AS_GPU_HOURS, json_integer(149400), "41.5" },
		{ AS_TIME, json_string("2026-11-24T14:05:01.203Z"), "14:05" },
		{ AS_TIME, json_string("2026-11-26T14:05:00Z"), "Thu 14:05" },
		{ AS_TIME, json_string("2026-12-24T14:05:00Z"), "2026-12-24" },
		{ AS_TIME, json_string("soon"), "soon" },
		{ AS_TIME, json_string("2026-11-24T14:05:00+01:00"), "13:05" },
		{ AS_MONEY, json_string("-0.000000"), "-0.00" }, { AS_MONEY, json_string(""), "" },
		{ AS_MONEY, json_null(), "-" },
		{ AS_TEXT, json_pack("[s, s]", "a", "b"), "a,b" }, { AS_TEXT, json_array(), "-" },
		{ AS_TEXT, json_true(), "yes" },
		{ AS_TEXT, json_string("\x1b[1m\xc2\x9b"), "?[1m?" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf out = { 0 };
		format_value(&out, &world, cases[i].kind, cases[i].value);
		expect_text(&out, cases[i].wanted, cases[i].wanted);
		json_decref(cases[i].value);
	}
}

Test(cli, money_has_two_to_six_decimals)
{
	static const struct { const char *text, *wanted; } cases[] = {
		{ "0", "0.00" }, { "0.1234567", "0.123457" }, { "0.1234564", "0.123456" }, { "999.9999999", "1000.00" },
		{ "0.0000001", "<0.000001" }, { "5.", "5." }, { ".5", ".5" }, { "1e-7", "1e-7" },
		{ "--1", "--1" }, { "0.100000", "0.10" },
		{ "1111111111111111111111111111111111111111111111111111111111111111",
		"1111111111111111111111111111111111111111111111111111111111111111" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf out = { 0 };
		format_money(&out, cases[i].text);
		expect_text(&out, cases[i].wanted, cases[i].text);
	}
}

Test(cli, an_end_record_of_other_types_is_survived)
{
	static const char *const records[] = { "{}", "{\"started_at\":1,\"exit_code\":\"3\"}",
		"{\"started_at\":\"x\",\"exit_code\":256}",
		"{\"started_at\":\"x\",\"signal\":999,\"exit_code\":-1}",
		"{\"started_at\":\"x\",\"exit_code\":null,\"run_s\":-5,\"cost\":7}" };
	for (size_t i = 0; i < sizeof records / sizeof records[0]; i++) {
		json_t *lease = json_loads(records[i], 0, NULL);
		struct buf line = { 0 };
		cr_expect(ending_exit(lease) == CLI_NOT_BEGUN, "%s", records[i]);
		ending_line(&line, lease, "EUR");
		cr_expect(line.len > 0 && !line.failed, "%s: a line", records[i]);
		buf_free(&line);
		json_decref(lease);
	}
}

Test(cli, addresses)
{
	static const struct { const char *text, *path, *host, *port; } good[] = {
		{ "unix:/run/x", "/run/x", "", "" }, { "/run/x", "/run/x", "", "" },
		{ "http://127.0.0.1:80", "", "127.0.0.1", "80" },
		{ "http://[::1]:8080/", "", "::1", "8080" }, { "http://localhost:1", "", "localhost", "1" },
	};
	static const char *const bad[] = { "", "unix:", "unix:x", "https://x:1", "http://", "http://x",
		"http://:80", "http://x:0",
		"http://x:65536", "http://x:1/path", "http://x:1a", "x" };
	struct client_address a;
	sl_error error;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		cr_expect(client_address_parse(good[i].text, &a, &error) && !strcmp(a.path, good[i].path) &&
			!strcmp(a.host, good[i].host) &&
		          !strcmp(a.port, good[i].port), "%s", good[i].text);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_expect(!client_address_parse(bad[i], &a, &error), "'%s' is refused", bad[i]);
}

Test(cli, times)
{
	static const struct { const char *text; int64_t wanted; } good[] = {
		{ "now", 1795521600000 }, { "today", 1795478400000 }, { "yesterday", 1795392000000 },
		{ "1h", 1795518000000 },
		{ "2026-11-24", 1795478400000 }, { "2026-11-24T12:00:00Z", 1795521600000 },
		{ "2026-11-24T12:00:00.500Z", 1795521600000 },
		{ "2026-11-24T12:00", 1795521600000 },
	};
	static const char *const bad[] = { "", "gestern", "2026", "2026-13-01", "2026-11-24x", "-1h",
		"2026-11-24T12:00:00+01:00", "99999999d" };
	int64_t ms;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		ms = -1;
		bool taken = cli_time(good[i].text, 1795521600000, &ms);
		cr_expect(taken && ms == good[i].wanted, "%s: %lld", good[i].text, (long long) ms);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_expect(!cli_time(bad[i], 1795521600000, &ms), "'%s' is no time", bad[i]);
}

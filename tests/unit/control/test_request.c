/* SPDX-License-Identifier: Apache-2.0 */
/* test_request.c - times, encoded text and names as they come in URLs and bodies. */
#include <criterion/criterion.h>

#include "core/base/str.h"
#include "core/control/inner.h"

/* What request.c answers with; nothing here gets that far. */
void call_fail(struct call *call, int status, const char *code, const char *param, const char *cure, const char *format, ...)
{
	(void) call;
	(void) code;
	(void) param;
	(void) cure;
	(void) format;
	cr_assert_fail("answered with %d", status);
}

Test(request, times)
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
		cr_expect(control_parse_time(str_of(good[i].text), &out), "%s", good[i].text);
		cr_expect_eq(out, good[i].wall_ms, "%s: %llu", good[i].text, (unsigned long long) out);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		cr_expect_not(control_parse_time(str_of(bad[i]), &out), "'%s' was taken", bad[i]);
}

Test(request, decoding)
{
	char out[8];
	size_t len;
	cr_expect(control_decode(STR("a%2Fb"), false, out, sizeof out, &len));
	cr_expect_str_eq(out, "a/b");
	cr_expect(control_decode(STR("a+b"), false, out, sizeof out, &len));
	cr_expect_str_eq(out, "a+b");
	cr_expect(control_decode(STR("a+b"), true, out, sizeof out, &len));
	cr_expect_str_eq(out, "a b");
	cr_expect(control_decode(STR("1234567"), false, out, sizeof out, &len));
	cr_expect_eq(len, 7);
	cr_expect_not(control_decode(STR("12345678"), false, out, sizeof out, &len), "no room for the end");
	static const char *const bad[] = { "%", "%1", "%zz", "a%2", "%00", "%0g" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		cr_expect_not(control_decode(str_of(bad[i]), false, out, sizeof out, &len), "'%s' was taken", bad[i]);
}

Test(request, names)
{
	static const char *const good[] = { "a", "physics", "my.job_2-x", "A9" };
	static const char *const bad[] = { "", ".hidden", "-x", "a/b", "a b", "ü", "a\n",
		                           "0123456789012345678901234567890123456789012345678901234567890123" };
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		cr_expect(control_is_name(good[i]), "'%s'", good[i]);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		cr_expect_not(control_is_name(bad[i]), "'%s'", bad[i]);
}

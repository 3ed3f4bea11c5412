/* SPDX-License-Identifier: Apache-2.0 */
/* test_request.c - encoded text and names as they come in URLs and bodies. */
#include <criterion/criterion.h>

#include "core/base/str.h"
#include "core/control/inner.h"
#include "core/http/query.h"

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

Test(request, decoding)
{
	char out[8];
	size_t len;
	cr_expect(http_decode(STR("a%2Fb"), false, out, sizeof out, &len));
	cr_expect_str_eq(out, "a/b");
	cr_expect(http_decode(STR("a+b"), false, out, sizeof out, &len));
	cr_expect_str_eq(out, "a+b");
	cr_expect(http_decode(STR("a+b"), true, out, sizeof out, &len));
	cr_expect_str_eq(out, "a b");
	cr_expect(http_decode(STR("1234567"), false, out, sizeof out, &len));
	cr_expect_eq(len, 7);
	cr_expect_not(http_decode(STR("12345678"), false, out, sizeof out, &len), "no room for the end");
	static const char *const bad[] = { "%", "%1", "%zz", "a%2", "%00", "%0g" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		cr_expect_not(http_decode(str_of(bad[i]), false, out, sizeof out, &len), "'%s' was taken", bad[i]);
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

/* SPDX-License-Identifier: Apache-2.0 */
/* tap.h - a test program's lines, for tests with threads: Criterion cannot run under ThreadSanitizer. */
#ifndef TESTS_UNIT_TAP_H
#define TESTS_UNIT_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

static int tap_count, tap_failed;

__attribute__((format(printf, 2, 3), unused)) static bool tap_ok(bool ok, const char *format, ...)
{
	char name[256];
	va_list args;
	va_start(args, format);
	vsnprintf(name, sizeof name, format, args);
	va_end(args);
	printf("%sok %d - %s\n", ok ? "" : "not ", ++tap_count, name);
	if (!ok)
		tap_failed++;
	fflush(stdout);
	return ok;
}

__attribute__((unused)) static int tap_done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed ? 1 : 0;
}

#endif

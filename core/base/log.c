/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - one line a message on standard error. */
#include "core/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"

static const char *log_name = "sluice";
static enum sl_log_level log_level = SL_LOG_INFO;

void log_setup(const char *name, enum sl_log_level level)
{
	log_name = name;
	log_level = level;
}

bool log_enabled(enum sl_log_level level)
{
	return level <= log_level;
}

void log_line(const char *line, size_t len)
{
	/* One write per line, so that lines of threads and processes do not mix. A log that is gone or full must
	 * not stop the service: the result is not looked at. */
	char copy[8192];
	if (len > sizeof copy - 1)
		len = sizeof copy - 1;
	memcpy(copy, line, len);
	copy[len] = '\n';
	ssize_t written = write(STDERR_FILENO, copy, len + 1);
	(void) written;
}

void log_write(enum sl_log_level level, const char *format, ...)
{
	static const char *const words[] = { "error", "warn", "info", "debug" };
	if (!log_enabled(level))
		return;
	int saved_errno = errno;
	char text[2048], line[4096], ts[32];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	clock_rfc3339(clock_wall_ms(), ts);
	int n = snprintf(line, sizeof line, "ts=%s level=%s name=%s msg=\"", ts, words[level], log_name);
	size_t used = (size_t) n;
	for (const char *p = text; *p && used < sizeof line - 8; p++) {
		unsigned char c = (unsigned char) *p;
		if (c == '\n' && p[1] == '\0')
			break;
		if (c == '"' || c == '\\') {
			line[used++] = '\\';
			line[used++] = (char) c;
		} else if (c < 0x20 || c == 0x7f) {
			used += (size_t) snprintf(line + used, sizeof line - used, "\\x%02x", c);
		} else {
			line[used++] = (char) c;
		}
	}
	line[used++] = '"';
	log_line(line, used);
	errno = saved_errno;
}

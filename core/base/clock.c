/* SPDX-License-Identifier: Apache-2.0 */
/* clock.c - what time it is, and how it is written and read. */
#include "core/base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

uint64_t clock_mono_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

uint64_t clock_wall_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t) t.tv_sec * 1000u + (uint64_t) t.tv_nsec / 1000000u;
}

void clock_rfc3339(uint64_t wall_ms, char out[32])
{
	/* Log lines of one second share all but the milliseconds. */
	static __thread uint64_t last_second = UINT64_MAX;
	static __thread char last[32];
	uint64_t second = wall_ms / 1000;
	if (second != last_second) {
		time_t seconds = (time_t) second;
		struct tm tm;
		gmtime_r(&seconds, &tm);
		strftime(last, sizeof last, "%Y-%m-%dT%H:%M:%S.000Z", &tm);
		last_second = second;
	}
	memcpy(out, last, sizeof last);
	unsigned ms = (unsigned) (wall_ms % 1000);
	char *digits = strchr(out, '.');
	if (!digits)
		return;
	digits[1] = (char) ('0' + ms / 100);
	digits[2] = (char) ('0' + ms / 10 % 10);
	digits[3] = (char) ('0' + ms % 10);
}

void clock_duration(uint64_t ms, char *out, size_t room)
{
	uint64_t s = ms / 1000;
	if (s < 1)
		snprintf(out, room, "%ums", (unsigned) ms);
	else if (s < 60)
		snprintf(out, room, "%us", (unsigned) s);
	else if (s < 3600)
		snprintf(out, room, "%um %02us", (unsigned) (s / 60), (unsigned) (s % 60));
	else if (s < 86400)
		snprintf(out, room, "%uh %02um", (unsigned) (s / 3600), (unsigned) (s % 3600 / 60));
	else
		snprintf(out, room, "%llud %02uh", (unsigned long long) (s / 86400), (unsigned) (s % 86400 / 3600));
}

/* Exactly `n` digits. */
static bool digits(const char **at, const char *end, int n, int min, int max, int *out)
{
	int value = 0;
	for (int i = 0; i < n; i++, (*at)++) {
		if (*at == end || **at < '0' || **at > '9')
			return false;
		value = value * 10 + (**at - '0');
	}
	*out = value;
	return value >= min && value <= max;
}

static bool literal(const char **at, const char *end, const char *any_of)
{
	return *at < end && **at && strchr(any_of, **at) && (*at)++;
}

/* "Z", "+01:00" or "-0530", as seconds to take away. */
static bool zone(const char **at, const char *end, int *seconds)
{
	int hours, minutes;
	*seconds = 0;
	if (literal(at, end, "Zz"))
		return true;
	if (*at == end)
		return false;
	int sign = **at == '-' ? -1 : 1;
	if (!literal(at, end, "+-") || !digits(at, end, 2, 0, 23, &hours))
		return false;
	literal(at, end, ":");
	if (!digits(at, end, 2, 0, 59, &minutes))
		return false;
	*seconds = sign * (hours * 3600 + minutes * 60);
	return true;
}

bool clock_parse(sl_str text, uint64_t *wall_ms)
{
	const char *at = text.ptr, *end = at + text.len;
	struct tm tm = { 0 };
	int offset = 0, year, month;
	uint64_t millis = 0;
	if (!digits(&at, end, 4, 1970, 9999, &year) || !literal(&at, end, "-") || !digits(&at, end, 2, 1, 12, &month) ||
	    !literal(&at, end, "-") || !digits(&at, end, 2, 1, 31, &tm.tm_mday))
		return false;
	if (at < end) {
		if (!literal(&at, end, "Tt ") || !digits(&at, end, 2, 0, 23, &tm.tm_hour) || !literal(&at, end, ":") ||
		    !digits(&at, end, 2, 0, 59, &tm.tm_min) || !literal(&at, end, ":") || !digits(&at, end, 2, 0, 60, &tm.tm_sec))
			return false;
		if (literal(&at, end, "."))
			for (uint64_t unit = 100; at < end && *at >= '0' && *at <= '9'; at++, unit /= 10)
				millis += unit * (uint64_t) (*at - '0');
		if (!zone(&at, end, &offset))
			return false;
	}
	tm.tm_year = year - 1900;
	tm.tm_mon = month - 1;
	int day = tm.tm_mday;
	time_t seconds = timegm(&tm);
	if (at != end || tm.tm_mday != day || seconds < offset) /* "02-30" became a day of March */
		return false;
	*wall_ms = (uint64_t) (seconds - offset) * 1000 + millis;
	return true;
}

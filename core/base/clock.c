/* SPDX-License-Identifier: Apache-2.0 */
/* clock.c - what time it is. */
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

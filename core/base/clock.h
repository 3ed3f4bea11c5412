/* SPDX-License-Identifier: Apache-2.0 */
/* clock.h - what time it is, for those who may ask. Deciding code takes `now` as an argument instead. */
#ifndef CORE_BASE_CLOCK_H
#define CORE_BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sluice/types.h>

uint64_t clock_mono_ns(void);
uint64_t clock_wall_ms(void); /* Unix time */

/* RFC 3339 in UTC with milliseconds, "2026-11-24T14:05:01.203Z". out holds 32 bytes. */
void clock_rfc3339(uint64_t wall_ms, char out[32]);

/* A date, or a date and a time with its zone (RFC 3339), from 1970 on; Unix ms. False: anything else. */
bool clock_parse(sl_str text, uint64_t *wall_ms);

/* "4m 10s", "1h 20m", "3d 04h", "850ms" */
void clock_duration(uint64_t ms, char *out, size_t room);

#endif

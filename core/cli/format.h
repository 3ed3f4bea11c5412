/* SPDX-License-Identifier: Apache-2.0 */
/* format.h - values as people read them: money, durations, times, sizes, counts. */
#ifndef CORE_CLI_FORMAT_H
#define CORE_CLI_FORMAT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"

enum format_kind {
	AS_TEXT,     /* as it is; arrays joined with a comma */
	AS_STATE,    /* text with a colour that goes with its meaning */
	AS_COUNT,    /* 31,204 */
	AS_TOKENS,   /* 41.2M */
	AS_BYTES,    /* 80 GiB */
	AS_MONEY,    /* 12.40: at least 2 and at most 6 decimals */
	AS_SECONDS,  /* 4m 10s */
	AS_TIME,     /* 14:05, Tue 14:05, 2026-11-24 */
	AS_PERMILLE, /* 71% */
	AS_CELSIUS,
	AS_MILLIWATT,
	AS_GPU_HOURS /* of seconds: 41.5 */
};

/* What a value's form depends on beside the value. */
struct format_world {
	uint64_t now_ms;
	bool utc;
};

/* Appends the value; "-" for null, for what is absent and for the -1 that means unknown. Control characters of
 * text become '?'. */
void format_value(struct buf *out, const struct format_world *world, enum format_kind kind, const json_t *value);
/* The exact value for CSV and the like: text as it is, numbers in full, null as nothing, the rest as JSON. */
void format_raw(struct buf *out, const json_t *value);

/* A decimal of any length with at least 2 and at most 6 decimals, rounded half up; what would round to zero but is
 * not: "<0.000001". Text that is no decimal stays as it is. */
void format_money(struct buf *out, const char *decimal);
bool format_money_is_zero(const char *decimal);
void format_time(struct buf *out, const struct format_world *world, int64_t ms);
/* Thousands with commas. */
void format_count(struct buf *out, int64_t value);
void format_bytes(struct buf *out, int64_t value);
/* "1h 20m", "850ms" */
void format_seconds(struct buf *out, double seconds);
/* Decimals of a number in JSON that we write: 1.545 stays 1.545. */
#define FORMAT_JSON_REAL JSON_REAL_PRECISION(15)
/* "2 x h100-80g", "1 GPU", "no GPU"; kind may be NULL. */
void format_gpus(struct buf *out, int64_t gpus, const char *kind);
/* SGR number for a state's word: 32 good, 33 on its way, 31 bad, 0 plain. */
int format_state_color(const char *state);
/* Columns that UTF-8 text takes on a terminal, escape sequences not counted. */
size_t format_width(const char *text, size_t len);

#endif

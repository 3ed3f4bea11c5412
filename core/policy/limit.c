/* SPDX-License-Identifier: Apache-2.0 */
/* limit.c - a limit and what is left of it, as people are shown it. */
#include <stdio.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/money.h"
#include "core/base/str.h"
#include "core/policy/policy.h"

static const char *metric_name(uint8_t metric)
{
	static const char *const names[] = { [QUOTA_REQUESTS] = "requests", [QUOTA_TOKENS] = "tokens",
		                             [QUOTA_INPUT_TOKENS] = "input_tokens", [QUOTA_OUTPUT_TOKENS] = "output_tokens",
		                             [QUOTA_CONCURRENCY] = "concurrency", [QUOTA_COST] = "cost" };
	return metric >= QUOTA_REQUESTS && metric <= QUOTA_COST ? names[metric] : "unknown";
}

static void window_name(const struct quota_limit *limit, char out[32])
{
	static const char *const names[] = { [QUOTA_NONE] = "none", [QUOTA_SLIDING] = "sliding", [QUOTA_DAY] = "day",
		                             [QUOTA_MONTH] = "month", [QUOTA_TOTAL] = "total" };
	if (limit->window == QUOTA_SLIDING)
		clock_duration(limit->window_ms, out, 32);
	else
		snprintf(out, 32, "%s", limit->window <= QUOTA_TOTAL ? names[limit->window] : "unknown");
}

static json_t *amount(const struct quota_limit *limit, int64_t value)
{
	char text[MONEY_TEXT_MAX];
	if (limit->metric != QUOTA_COST)
		return json_integer((json_int_t) value);
	money_text(value, 12, text);
	return json_string(text);
}

json_t *policy_limit_json(const struct quota_limit *limit, const struct quota_state *state)
{
	char window[32];
	window_name(limit, window);
	json_t *out = json_pack("{s:s, s:s, s:s, s:o, s:o, s:o}", "scope", limit->scope, "metric", metric_name(limit->metric), "window",
	                        window, "used", amount(limit, state->used), "reserved", amount(limit, state->reserved), "max",
	                        amount(limit, limit->amount));
	json_set_str(out, "name", str_of(limit->name));
	json_object_set_new(out, "warn", limit->warn ? amount(limit, limit->warn) : json_null());
	json_object_set_new(out, "resets_in_s", json_integer((json_int_t) (state->resets_in_ms + 999) / 1000));
	return out;
}

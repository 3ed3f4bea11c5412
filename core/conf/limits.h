/* SPDX-License-Identifier: Apache-2.0 */
/* limits.h - how limits are written in Lua; the policy room reads them the same way. */
#ifndef CORE_CONF_LIMITS_H
#define CORE_CONF_LIMITS_H

#include <lua.h>
#include <stdbool.h>

#include "core/quota/quota.h"

/* "tokens" -> QUOTA_TOKENS. */
bool conf_limit_metric(const char *word, uint8_t *metric);
/* "minute", "day", "90s" ... */
bool conf_limit_window(const char *per, uint8_t *window, uint64_t *window_ms);
/* The amount at a stack index in the metric's unit; NULL, or what it must be. Does not raise. */
const char *conf_limit_amount(lua_State *L, int index, uint8_t metric, int64_t *amount);
/* "20000 tokens per minute of tier free"; per and tier may be NULL. */
void conf_limit_name(struct quota_limit *limit, const char *field, const char *amount, const char *per, const char *tier);

#endif

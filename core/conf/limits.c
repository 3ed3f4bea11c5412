/* SPDX-License-Identifier: Apache-2.0 */
/* limits.c - limits of a tier: tokens = { 20000, per = "minute", scope = "key" }. */
#include <stdio.h>
#include <string.h>

#include "core/conf/internal.h"
#include "core/conf/limits.h"

struct metric_word {
	const char *word;
	uint8_t metric;
};
static const struct metric_word metrics[] = {
	{ "requests", QUOTA_REQUESTS }, { "tokens", QUOTA_TOKENS }, { "input_tokens", QUOTA_INPUT_TOKENS },
	{ "output_tokens", QUOTA_OUTPUT_TOKENS }, { "concurrency", QUOTA_CONCURRENCY }, { "cost", QUOTA_COST },
};

bool conf_limit_metric(const char *word, uint8_t *metric)
{
	for (size_t i = 0; i < sizeof metrics / sizeof metrics[0]; i++)
		if (strcmp(metrics[i].word, word) == 0) {
			*metric = metrics[i].metric;
			return true;
		}
	return false;
}

bool conf_limit_window(const char *per, uint8_t *window, uint64_t *window_ms)
{
	static const struct { const char *word; uint8_t window; uint64_t ms; } words[] = {
		{ "second", QUOTA_SLIDING, 1000 }, { "minute", QUOTA_SLIDING, 60000 }, { "hour", QUOTA_SLIDING, 3600000 },
		{ "day", QUOTA_DAY, 0 }, { "month", QUOTA_MONTH, 0 }, { "total", QUOTA_TOTAL, 0 },
	};
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strcmp(words[i].word, per) == 0) {
			*window = words[i].window;
			*window_ms = words[i].ms;
			return true;
		}
	int64_t ms;
	if (!str_to_duration_ms(str_of(per), &ms) || ms < 1000 || ms > 366ll * 86400000)
		return false;
	*window = QUOTA_SLIDING;
	*window_ms = (uint64_t) ms;
	return true;
}

const char *conf_limit_amount(lua_State *L, int index, uint8_t metric, int64_t *amount)
{
	if (metric == QUOTA_COST) {
		int64_t micro;
		if (!value_decimal(L, index, 6, &micro))
			return "an amount of money such as 10 or \"10.50\", not negative, at most 6 decimals";
		if (micro > INT64_MAX / 1000000)
			return "less money: at most 9,000,000";
		*amount = micro * 1000000;
		return NULL;
	}
	int exact = 0;
	if (lua_type(L, index) == LUA_TNUMBER)
		*amount = lua_tointegerx(L, index, &exact);
	return exact && *amount >= 0 ? NULL : "a whole number, not negative";
}

void conf_limit_name(struct quota_limit *limit, const char *field, const char *amount, const char *per, const char *tier)
{
	char text[256];
	snprintf(text, sizeof text, "%s %s%s%s%s%s", amount, strcmp(field, "concurrency") == 0 ? "requests at once" : field,
	         per ? (limit->window == QUOTA_TOTAL ? " in " : " per ") : "", per ? per : "", tier ? " of tier " : "",
	         tier ? tier : "");
	str_copy(limit->name, sizeof limit->name, str_of(text));
}

static void amount_text(lua_State *L, int index, char *out, size_t room)
{
	if (lua_type(L, index) == LUA_TSTRING)
		snprintf(out, room, "%.30s", lua_tostring(L, index));
	else if (lua_isinteger(L, index))
		snprintf(out, room, "%lld", (long long) lua_tointeger(L, index));
	else
		snprintf(out, room, "%g", lua_tonumber(L, index));
}

static void limit_error(struct loader *l, const struct subject *subject, const char *field, const char *text, const char *more)
{
	char where[160];
	finding(l, field_place(l, subject, field), "%s: %s%s", field_text(subject, field, where, sizeof where), text, more);
}

/* A text member of the table on top of the stack into out; false and a finding when it is something else. */
static bool member(struct loader *l, lua_State *L, const struct subject *subject, const char *field, const char *name,
                   char *out, size_t room)
{
	lua_pushstring(L, name);
	int type = lua_rawget(L, -2);
	bool fine = type == LUA_TNIL || (type == LUA_TSTRING && str_copy(out, room, str_of(lua_tostring(L, -1))));
	if (!fine)
		limit_error(l, subject, field, name, " must be text");
	lua_pop(L, 1);
	return fine;
}

static bool known_members(struct loader *l, lua_State *L, const struct subject *subject, const char *field)
{
	const char *names[8];
	field_names("limit", names, 8);
	bool fine = true;
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		lua_pop(L, 1);
		const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
		if (name ? strcmp(name, "per") == 0 || strcmp(name, "scope") == 0 || strcmp(name, "warn") == 0 : lua_tointeger(L, -1) == 1)
			continue;
		const char *near = name ? str_nearest(str_of(name), names) : NULL;
		char text[128];
		snprintf(text, sizeof text, "%s'%.40s'%s%s%s", name ? "unknown field " : "more than one amount in one limit ",
		         name ? name : "", near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "");
		limit_error(l, subject, field, text, "");
		fine = false;
	}
	return fine;
}

/* "80%" of an amount, rounded up. False: it is no such text, or nothing. */
static bool read_warn(const char *text, int64_t amount, int64_t *warn)
{
	uint64_t percent;
	sl_str digits = str_of(text);
	if (digits.len < 2 || digits.ptr[--digits.len] != '%' || !str_to_u64(digits, 100, &percent) || percent == 0)
		return false;
	__extension__ __int128 part = (__int128) amount * (int64_t) percent + 99;
	*warn = (int64_t) (part / 100);
	return true;
}

/* One limit: the table on top of the stack. */
static void read_limit(struct loader *l, lua_State *L, const struct subject *subject, const char *field,
                       struct conf_tier *tier)
{
	struct quota_limit limit = { 0 };
	char per[32] = "", scope[16] = "key", warn[16] = "", amount[40];
	conf_limit_metric(field, &limit.metric);
	if (!known_members(l, L, subject, field) || !member(l, L, subject, field, "per", per, sizeof per) ||
	    !member(l, L, subject, field, "scope", scope, sizeof scope) || !member(l, L, subject, field, "warn", warn, sizeof warn))
		return;
	lua_rawgeti(L, -1, 1);
	const char *wrong = conf_limit_amount(L, -1, limit.metric, &limit.amount);
	amount_text(L, -1, amount, sizeof amount);
	lua_pop(L, 1);
	static const char *const scopes[] = { "key", "user", "tenant", "model", NULL };
	bool known = false;
	for (int i = 0; scopes[i]; i++)
		known = known || strcmp(scopes[i], scope) == 0;
	if (wrong)
		limit_error(l, subject, field, "the amount must be ", wrong);
	else if (!known)
		limit_error(l, subject, field, "scope must be \"key\", \"user\", \"tenant\" or \"model\", not ", scope);
	else if (limit.metric == QUOTA_CONCURRENCY && per[0])
		limit_error(l, subject, field, "concurrency has no 'per'", "");
	else if (limit.metric != QUOTA_CONCURRENCY && !per[0])
		limit_error(l, subject, field, "needs per = \"minute\", \"hour\", \"day\", \"month\", \"total\" or a duration", "");
	else if (per[0] && !conf_limit_window(per, &limit.window, &limit.window_ms))
		limit_error(l, subject, field,
		            "per must be \"second\", \"minute\", \"hour\", \"day\", \"month\", \"total\" or a duration from 1s to 366d, "
		            "not ",
		            per);
	else if (warn[0] && limit.metric == QUOTA_CONCURRENCY)
		limit_error(l, subject, field, "concurrency has no 'warn'", "");
	else if (warn[0] && !read_warn(warn, limit.amount, &limit.warn))
		limit_error(l, subject, field, "warn must be a part of the amount from \"1%\" to \"100%\", not ", warn);
	else if (tier->n_limits == QUOTA_LIMITS_MAX)
		limit_error(l, subject, field, "a tier has at most 16 limits", "");
	else {
		str_copy(limit.scope, sizeof limit.scope, str_of(scope));
		conf_limit_name(&limit, field, amount, per[0] ? per : NULL, subject->name);
		tier->limits[tier->n_limits++] = limit;
	}
}

void read_limits(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *object)
{
	struct conf_tier *tier = object;
	if (!tier->limits)
		tier->limits = arena_alloc(&l->conf->arena, QUOTA_LIMITS_MAX * sizeof *tier->limits);
	if (!tier->limits) {
		l->failed = true;
		return;
	}
	if (lua_type(L, -1) != LUA_TTABLE) { /* a bare amount */
		lua_createtable(L, 1, 0);
		lua_pushvalue(L, -2);
		lua_rawseti(L, -2, 1);
		read_limit(l, L, subject, field, tier);
		lua_pop(L, 1);
		return;
	}
	bool list = lua_rawgeti(L, -1, 1) == LUA_TTABLE;
	lua_pop(L, 1);
	if (!list) {
		read_limit(l, L, subject, field, tier);
		return;
	}
	for (lua_Integer i = 1; lua_rawgeti(L, -1, i) == LUA_TTABLE; i++) {
		read_limit(l, L, subject, field, tier);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

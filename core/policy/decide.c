/* SPDX-License-Identifier: Apache-2.0 */
/* decide.c - what the functions of a policy returned, checked. Whatever is wrong raises: the policy has failed. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "core/conf/limits.h"
#include "core/policy/internal.h"

enum { PRIORITY_MAX = 1000000 };

/* prefix, a, and after a slash b, cut where out ends. Each request comes here for each limit: no printf. */
static void put_scope(char out[QUOTA_SCOPE_MAX], sl_str prefix, sl_str a, sl_str b)
{
	size_t at = prefix.len;
	memcpy(out, prefix.ptr, at);
	str_copy(out + at, QUOTA_SCOPE_MAX - at, a);
	at += strlen(out + at);
	if (b.ptr && at + 1 < QUOTA_SCOPE_MAX) {
		out[at++] = '/';
		str_copy(out + at, QUOTA_SCOPE_MAX - at, b);
	}
}

/* The complete scope behind a word, for this request. */
static void expand_scope(const struct policy_request *r, const char *scope, char out[QUOTA_SCOPE_MAX])
{
	static const sl_str none = { NULL, 0 };
	const sl_identity *who = r->identity;
	bool key = strcmp(scope, "key") == 0, user = strcmp(scope, "user") == 0;
	if (key && who->key[0])
		put_scope(out, STR("key:"), str_of(who->key), none);
	else if ((key || user) && who->user[0])
		put_scope(out, STR("user:"), str_of(who->tenant), str_of(who->user));
	else if (key || user || strcmp(scope, "tenant") == 0)
		put_scope(out, STR("tenant:"), str_of(who->tenant), none);
	else if (strcmp(scope, "model") == 0)
		put_scope(out, STR("model:"), r->model ? str_of(r->model->name) : r->model_name, none);
	else
		put_scope(out, STR(""), str_of(scope), none);
}

static bool add_tier_limits(const struct policy_request *r, struct policy_admission *out)
{
	if (out->n_limits + r->tier->n_limits > POLICY_LIMITS_MAX)
		return false;
	for (size_t i = 0; i < r->tier->n_limits; i++) {
		struct quota_limit *limit = &out->limits[out->n_limits++];
		*limit = r->tier->limits[i];
		expand_scope(r, r->tier->limits[i].scope, limit->scope);
	}
	return true;
}

bool policy_tier_allows(const struct conf_tier *tier, const struct conf_model *model, const char *name)
{
	bool allowed = !tier->models;
	for (size_t i = 0; !allowed && i < tier->n_models; i++) {
		allowed = strcmp(tier->models[i], name) == 0;
		if (!model || strcmp(model->name, name) != 0)
			continue;
		for (size_t j = 0; !allowed && j < model->n_aliases; j++) /* the tier may list the model by an alias */
			allowed = strcmp(tier->models[i], model->aliases[j]) == 0;
	}
	return allowed;
}

void policy_default_admit(const struct policy_request *r, struct policy_admission *out)
{
	out->verdict = POLICY_ALLOW;
	out->n_limits = 0;
	out->priority = r->tier->priority;
	out->max_output = r->tier->max_output;
	out->model[0] = '\0';
	out->where[0] = '\0';
	add_tier_limits(r, out);
}

static void take_denial(const struct policy_denied *denied, struct policy_denial *out, char *where)
{
	*out = denied->denial;
	if (where)
		memcpy(where, denied->where, sizeof denied->where);
}

int64_t policy_take_integer(lua_State *L, const char *what, int64_t min, int64_t max)
{
	int exact = 0;
	int64_t value = lua_type(L, -1) == LUA_TNUMBER ? lua_tointegerx(L, -1, &exact) : 0;
	if (!exact)
		luaL_error(L, "%s must be a whole number, not %s", what, luaL_tolstring(L, -1, NULL));
	if (value < min || value > max)
		luaL_error(L, "%s is out of range: %I (%I to %I)", what, (LUAI_UACINT) value, (LUAI_UACINT) min, (LUAI_UACINT) max);
	return value;
}

const char *policy_take_text(lua_State *L, const char *what, size_t max)
{
	size_t len;
	if (lua_type(L, -1) != LUA_TSTRING)
		luaL_error(L, "%s must be text, not a %s value", what, luaL_typename(L, -1));
	const char *text = lua_tolstring(L, -1, &len);
	if (len == 0 || len > max || strlen(text) != len)
		luaL_error(L, "%s must be text of 1 to %d bytes", what, (int) max);
	return text;
}

/* The metric field of a limit: its name, amount and text. */
static void take_metric(lua_State *L, const char *name, struct quota_limit *limit, char *amount, size_t room)
{
	if (!conf_limit_metric(name, &limit->metric)) {
		static const char *const names[] = { "requests", "tokens", "input_tokens", "output_tokens", "cost", "concurrency",
			"per", "scope", NULL };
		const char *near = str_nearest(str_of(name), names);
		luaL_error(L, "unknown field '%s' in a limit%s%s%s", name, near ? ": did you mean '" : "", near ? near : "",
		           near ? "'?" : "");
	}
	const char *wrong = conf_limit_amount(L, -1, limit->metric, &limit->amount);
	if (wrong)
		luaL_error(L, "limit '%s' must be %s", name, wrong);
	if (lua_isinteger(L, -1))
		snprintf(amount, room, "%lld", (long long) lua_tointeger(L, -1));
	else if (lua_type(L, -1) == LUA_TNUMBER)
		snprintf(amount, room, "%g", lua_tonumber(L, -1));
	else
		snprintf(amount, room, "%.30s", lua_tostring(L, -1));
}

static void check_scope(lua_State *L, const char *scope)
{
	static const char *const words[] = { "key", "user", "tenant", "model", NULL };
	if (strchr(scope, ':'))
		return;
	for (int i = 0; words[i]; i++)
		if (strcmp(words[i], scope) == 0)
			return;
	const char *near = str_nearest(str_of(scope), words);
	luaL_error(L, "scope '%s' must be \"key\", \"user\", \"tenant\", \"model\" or one of your own with a colon, \"team:a\"%s%s%s",
	           scope, near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "");
}

/* { tokens = 20000, per = "minute", scope = "team:a" }, on top of the stack. */
static void take_limit(lua_State *L, const struct policy_request *r, struct policy_admission *out)
{
	if (out->n_limits == POLICY_LIMITS_MAX)
		luaL_error(L, "more than %d limits", POLICY_LIMITS_MAX);
	struct quota_limit *limit = &out->limits[out->n_limits];
	memset(limit, 0, sizeof *limit);
	const char *metric = NULL, *per = NULL, *scope = "key";
	char amount[40] = "";
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		if (lua_type(L, -2) != LUA_TSTRING)
			luaL_error(L, "a limit is written { tokens = 20000, per = \"minute\" }");
		const char *name = lua_tostring(L, -2);
		if (strcmp(name, "per") == 0) {
			per = policy_take_text(L, "per", 31);
		} else if (strcmp(name, "scope") == 0) {
			scope = policy_take_text(L, "scope", QUOTA_SCOPE_MAX - 1);
		} else {
			if (metric)
				luaL_error(L, "one limit cannot hold both '%s' and '%s'", metric, name);
			take_metric(L, name, limit, amount, sizeof amount);
			metric = name;
		}
		lua_pop(L, 1);
	}
	if (!metric)
		luaL_error(L, "a limit without an amount: write { tokens = 20000, per = \"minute\" }");
	check_scope(L, scope);
	if ((limit->metric == QUOTA_CONCURRENCY) != !per)
		luaL_error(L, per ? "concurrency has no 'per'" : "limit '%s' needs per = \"minute\" or another time", metric);
	if (per && !conf_limit_window(per, &limit->window, &limit->window_ms))
		luaL_error(L, "per = '%s': \"second\", \"minute\", \"hour\", \"day\", \"month\", \"total\" or a duration expected", per);
	expand_scope(r, scope, limit->scope);
	conf_limit_name(limit, metric, amount, per, NULL);
	out->n_limits++;
}

static void take_limits(lua_State *L, const struct policy_request *r, struct policy_admission *out)
{
	out->n_limits = 0;
	if (policy_to_view(L, -1, policy_kind_limits)) {
		add_tier_limits(r, out);
		return;
	}
	if (lua_type(L, -1) != LUA_TTABLE)
		luaL_error(L, "limits must be req.tier.limits or a list of limits, not a %s value", luaL_typename(L, -1));
	lua_Integer n = (lua_Integer) lua_rawlen(L, -1);
	lua_pushnil(L);
	if (n == 0 && lua_next(L, -2)) {
		lua_pop(L, 2); /* one limit without a list around it */
		take_limit(L, r, out);
		return;
	}
	if (n > 0)
		lua_pop(L, 1);
	for (lua_Integer i = 1; i <= n; i++) {
		int type = lua_rawgeti(L, -1, i);
		if (type == LUA_TTABLE)
			take_limit(L, r, out);
		else if (!policy_to_view(L, -1, policy_kind_limits))
			luaL_error(L, "item %I of limits must be a table or req.tier.limits, not a %s value", (LUAI_UACINT) i,
			           luaL_typename(L, -1));
		else if (!add_tier_limits(r, out))
			luaL_error(L, "more than %d limits", POLICY_LIMITS_MAX);
		lua_pop(L, 1);
	}
}

static void take_model(lua_State *L, struct policy *p, const char *what, char out[SL_NAME_MAX])
{
	const char *name = policy_take_text(L, what, SL_NAME_MAX - 1);
	if (p->conf->n_models && !conf_model(p->conf, str_of(name)))
		luaL_error(L, "%s: model '%s' is not declared", what, name);
	str_copy(out, SL_NAME_MAX, str_of(name));
}

void policy_take_admission(lua_State *L, struct policy *p, const struct policy_request *r, struct policy_admission *out)
{
	if (lua_isnil(L, -1)) {
		policy_default_admit(r, out);
		return;
	}
	out->verdict = POLICY_ALLOW;
	out->priority = r->tier->priority;
	out->max_output = r->tier->max_output;
	out->n_limits = 0;
	out->model[0] = out->where[0] = '\0';
	const struct policy_denied *denied = policy_to_denied(L, -1);
	if (denied) {
		out->verdict = POLICY_DENY;
		take_denial(denied, &out->denial, out->where);
		return;
	}
	if (lua_type(L, -1) != LUA_TTABLE)
		luaL_error(L, "admit must return deny(status, code, words), a table or nil, not %s", luaL_tolstring(L, -1, NULL));
	bool limits = false;
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
		if (strcmp(name, "limits") == 0) {
			limits = true;
			take_limits(L, r, out);
		} else if (strcmp(name, "priority") == 0) {
			out->priority = (int) policy_take_integer(L, "priority", -PRIORITY_MAX, PRIORITY_MAX);
		} else if (strcmp(name, "max_output") == 0) {
			out->max_output = policy_take_integer(L, "max_output", 0, 100000000);
		} else if (strcmp(name, "model") == 0) {
			take_model(L, p, "admit", out->model);
		} else {
			static const char *const names[] = { "limits", "priority", "max_output", "model", NULL };
			const char *near = str_nearest(str_of(name), names);
			luaL_error(L, "admit returned a table with the unknown field '%s'%s%s%s", name, near ? ": did you mean '" : "",
			           near ? near : "", near ? "'?" : "");
		}
		lua_pop(L, 1);
	}
	if (!limits)
		add_tier_limits(r, out);
}

/* The replica on top of the stack joins the order. */
static void take_replica(lua_State *L, struct policy *p, struct policy_routing *out)
{
	const struct policy_view *view = policy_to_view(L, -1, policy_kind_replica);
	if (!view)
		luaL_error(L, "route must return replicas of model.replicas, not %s", luaL_tolstring(L, -1, NULL));
	if (view->box != &p->box || view->index >= p->box.n_replicas)
		luaL_error(L, "route returned a replica of another call");
	for (unsigned i = 0; i < out->n_order; i++)
		if (out->order[i] == view->index)
			return;
	if (out->n_order < POLICY_REPLICAS_MAX)
		out->order[out->n_order++] = view->index;
}

void policy_take_routing(lua_State *L, struct policy *p, struct policy_routing *out)
{
	out->verdict = POLICY_ALLOW;
	out->n_order = 0;
	out->model[0] = '\0';
	if (lua_isnil(L, -1))
		return;
	const struct policy_denied *denied = policy_to_denied(L, -1);
	if (denied) {
		out->verdict = POLICY_DENY;
		take_denial(denied, &out->denial, NULL);
	} else if (lua_type(L, -1) == LUA_TSTRING) {
		take_model(L, p, "route", out->model);
	} else if (lua_type(L, -1) == LUA_TTABLE) {
		lua_Integer n = (lua_Integer) lua_rawlen(L, -1);
		if (n == 0)
			luaL_error(L, "route returned an empty list: return nil for the default, or deny(...)");
		for (lua_Integer i = 1; i <= n; i++) {
			lua_rawgeti(L, -1, i);
			take_replica(L, p, out);
			lua_pop(L, 1);
		}
	} else {
		take_replica(L, p, out);
	}
}

void policy_take_wanted(lua_State *L, const struct conf_model *model, int *wanted)
{
	double value = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
	if (lua_type(L, -1) != LUA_TNUMBER || value != value)
		luaL_error(L, "scale must return a number, not %s", luaL_tolstring(L, -1, NULL));
	if (value <= model->replicas_min)
		*wanted = model->replicas_min;
	else if (value >= model->replicas_max)
		*wanted = model->replicas_max;
	else
		*wanted = (int) value + ((double) (int) value < value);
}

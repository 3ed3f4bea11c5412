/* SPDX-License-Identifier: Apache-2.0 */
/* policy.c - a policy's life, and the calls from the request path. */
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/metrics.h"
#include "core/policy/internal.h"

const char *const policy_hooks[HOOK_COUNT + 1] = { "admit", "route", "scale", "lease", NULL };

/* The library file gets a table of C functions and returns a table: `sluice` and the global functions. */
struct library {
	struct policy *p;
	sl_str text;
	const char *shown;
};

static void host_function(lua_State *L, struct policy *p, const char *name, lua_CFunction function)
{
	lua_pushlightuserdata(L, p);
	lua_pushcclosure(L, function, 1);
	lua_setfield(L, -2, name);
}

static int open_library(lua_State *L)
{
	struct library *library = lua_touserdata(L, 1);
	struct policy *p = library->p;
	policy_view_setup(L, p);
	char chunk[64];
	snprintf(chunk, sizeof chunk, "@%s", library->shown);
	if (luaL_loadbufferx(L, library->text.ptr, library->text.len, chunk, "t") != LUA_OK)
		return lua_error(L);
	lua_newtable(L);
	host_function(L, p, "glob", sandbox_glob);
	host_function(L, p, "prefix", sandbox_prefix);
	host_function(L, p, "kind", policy_kind);
	host_function(L, p, "deny", policy_deny);
	host_function(L, p, "request", policy_test_request);
	host_function(L, p, "fleet", policy_test_fleet);
	host_function(L, p, "signals", policy_test_signals);
	host_function(L, p, "event", policy_test_event);
	lua_call(L, 1, 1);
	luaL_checktype(L, -1, LUA_TTABLE);
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		const char *name = luaL_checkstring(L, -2);
		if (lua_type(L, -1) == LUA_TTABLE)
			sandbox_freeze(L, name);
		sandbox_provide(L, name);
	}
	policy_push_request(L, &p->box, 0);
	p->request_view = luaL_ref(L, LUA_REGISTRYINDEX);
	policy_push_model(L, &p->box, 0);
	p->model_view = luaL_ref(L, LUA_REGISTRYINDEX);
	policy_push_signals(L, &p->box, 0);
	p->signals_view = luaL_ref(L, LUA_REGISTRYINDEX);
	policy_push_event(L, &p->box, 0);
	p->event_view = luaL_ref(L, LUA_REGISTRYINDEX);
	return 0;
}

/* Remembers the hooks among the globals. Replaces those that are there already. */
static int take_hooks(lua_State *L)
{
	struct policy *p = lua_touserdata(L, 1);
	sandbox_globals(L);
	for (int i = 0; i < HOOK_COUNT; i++) {
		lua_pushstring(L, policy_hooks[i]);
		int type = lua_rawget(L, -2);
		if (type != LUA_TNIL && type != LUA_TFUNCTION)
			return luaL_error(L, "%s: '%s' must be a function, not a %s value", p->shown, policy_hooks[i], lua_typename(L, type));
		if (type != LUA_TFUNCTION) {
			lua_pop(L, 1);
			continue;
		}
		lua_Debug ar;
		lua_pushvalue(L, -1);
		lua_getinfo(L, ">S", &ar);
		snprintf(p->hook_place[i], sizeof p->hook_place[i], "%s:%d", ar.short_src, ar.linedefined);
		p->hook[i] = luaL_ref(L, LUA_REGISTRYINDEX);
	}
	return 0;
}

/* The standard policy's globals are out of the way of the site's file. */
static int clear_globals(lua_State *L)
{
	sandbox_globals(L);
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		lua_pop(L, 1);
		lua_pushvalue(L, -1);
		lua_pushnil(L);
		lua_rawset(L, -4);
	}
	return 0;
}

static int read_library(const char *name, struct buf *out, sl_error *error)
{
	char path[1024];
	conf_library_path(name, path, sizeof path);
	return sandbox_read_file(path, out, error);
}

static int run_standard(struct policy *p, sl_error *error)
{
	struct buf text = { 0 };
	int rc = read_library("policy.lua", &text, error);
	if (rc == SL_OK)
		rc = sandbox_run(p->sandbox, buf_str(&text), "policy.lua", error);
	if (rc == SL_OK)
		rc = sandbox_setup(p->sandbox, take_hooks, p, error);
	buf_free(&text);
	return rc;
}

static int run_site(struct policy *p, sl_error *error)
{
	int rc = sandbox_setup(p->sandbox, clear_globals, p, error);
	if (rc == SL_OK)
		rc = sandbox_run(p->sandbox, p->text, p->shown, error);
	if (rc == SL_OK)
		rc = sandbox_setup(p->sandbox, take_hooks, p, error);
	return rc;
}

/* A state with everything in it. On an error the policy has none. */
static int build(struct policy *p, sl_error *error)
{
	const struct sandbox_limits limits = { (size_t) p->conf->policy_memory, (uint64_t) p->conf->policy_instructions };
	struct buf text = { 0 };
	struct library library = { p, { 0 }, "sluice/sluice.lua" };
	for (int i = 0; i < HOOK_COUNT; i++)
		p->hook[i] = LUA_NOREF;
	p->sandbox = sandbox_open(&limits);
	int rc = p->sandbox ? read_library("sluice.lua", &text, error) : error_set(error, SL_ENOMEM, "out of memory");
	library.text = buf_str(&text);
	if (rc == SL_OK)
		rc = sandbox_setup(p->sandbox, open_library, &library, error);
	if (rc == SL_OK)
		rc = run_standard(p, error);
	if (rc == SL_OK && p->text.ptr)
		rc = run_site(p, error);
	buf_free(&text);
	if (rc != SL_OK) {
		sandbox_close(p->sandbox);
		p->sandbox = NULL;
		return rc;
	}
	p->has_route = p->hook[HOOK_ROUTE] != LUA_NOREF;
	sandbox_lock(p->sandbox);
	return SL_OK;
}

static struct policy *open_text(struct conf *conf, const char *path, sl_str text, char *own_text, sl_error *error)
{
	struct policy *p = calloc(1, sizeof *p);
	if (!p) {
		free(own_text);
		error_set(error, SL_ENOMEM, "out of memory");
		return NULL;
	}
	char copy[PATH_MAX];
	str_copy(copy, sizeof copy, str_of(path ? path : "policy.lua"));
	str_copy(p->shown, sizeof p->shown, str_of(basename(copy)));
	p->conf = conf_ref(conf);
	p->text = text;
	p->own_text = own_text;
	if (build(p, error) != SL_OK) {
		policy_close(p);
		return NULL;
	}
	return p;
}

struct policy *policy_open_file(struct conf *conf, const char *file, sl_error *error)
{
	struct buf text = { 0 };
	if (!file)
		return open_text(conf, NULL, (sl_str){ 0 }, NULL, error);
	if (sandbox_read_file(file, &text, error) != SL_OK) {
		buf_free(&text);
		return NULL;
	}
	sl_str view = buf_str(&text);
	return open_text(conf, file, view, text.data, error);
}

struct policy *policy_open(struct conf *conf, bool self_test, sl_error *error)
{
	struct policy *p = open_text(conf, conf->policy, conf->policy_text, NULL, error);
	if (p && self_test && policy_run_tests(p, NULL, false, error) != 0) {
		policy_close(p);
		return NULL;
	}
	return p;
}

void policy_close(struct policy *p)
{
	if (!p)
		return;
	sandbox_close(p->sandbox);
	conf_unref(p->conf);
	free(p->own_text);
	free(p);
}

bool policy_has_route(const struct policy *p)
{
	return p->has_route;
}

/* One log record for a failure, with its frames; at most one a second. */
static void log_failure(struct policy *p, enum policy_hook hook, const sl_error *error)
{
	uint64_t now = clock_mono_ns();
	if (p->quiet)
		return;
	if (p->logged_ns && now - p->logged_ns < 1000000000) {
		p->unlogged++;
		return;
	}
	char trace[1024];
	str_copy(trace, sizeof trace, str_of(sandbox_traceback(p->sandbox)));
	for (char *c = trace; *c; c++)
		if (*c == '\n')
			*c = ';';
	log_error("policy: %s failed: %s%s%s (%u more since the last line)", policy_hooks[hook], error->text,
	          trace[0] ? " at " : "", trace, p->unlogged);
	p->logged_ns = now;
	p->unlogged = 0;
}

static int failed(struct policy *p, enum policy_hook hook, sl_error *error)
{
	log_failure(p, hook, error);
	metrics_add(metrics_counter("sluice_policy_errors_total", "Calls into the policy that failed.", "function",
	                            policy_hooks[hook]), 1);
	if (sandbox_out_of_memory(p->sandbox)) {
		sandbox_collect(p->sandbox);
		if (sandbox_memory(p->sandbox) > (size_t) p->conf->policy_memory / 2) {
			const struct policy full = *p;
			sl_error why = { 0 };
			if (build(p, &why) != SL_OK) {
				*p = full;
				log_error("policy: the state is full and could not be made anew: %s", why.text);
			} else {
				sandbox_close(full.sandbox);
			}
		}
	}
	return SL_EINTERNAL;
}

/* What a call is about; the light userdata argument of the functions below. */
struct call {
	struct policy *p;
	void *out;
};

static bool has_place(const char *text)
{
	const char *colon = strchr(text, ':');
	size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
	return digits && colon[1 + digits] == ':';
}

/* Runs `function` with the call as its argument. Nothing outside it touches the state in a way that may raise. */
static int run(struct policy *p, enum policy_hook hook, lua_CFunction function, void *out, sl_error *error)
{
	struct call call = { p, out };
	sl_error own = { 0 };
	lua_State *L = sandbox_lua(p->sandbox);
	lua_pushcfunction(L, function);
	lua_pushlightuserdata(L, &call);
	int rc = sandbox_call(p->sandbox, 1, 0, &own);
	if (rc == SL_OK)
		return SL_OK;
	if (!has_place(own.text)) /* what it returned was wrong: no line of Lua was running any more */
		error_prefix(&own, "%s: ", p->hook_place[hook]);
	failed(p, hook, &own);
	return error_set(error, SL_EINTERNAL, "policy: %s failed: %s", policy_hooks[hook], own.text);
}

static int call_admit(lua_State *L)
{
	const struct call *c = lua_touserdata(L, 1);
	lua_rawgeti(L, LUA_REGISTRYINDEX, c->p->hook[HOOK_ADMIT]);
	lua_rawgeti(L, LUA_REGISTRYINDEX, c->p->request_view);
	lua_call(L, 1, 1);
	policy_take_admission(L, c->p, c->p->box.request, c->out);
	return 0;
}

int policy_admit(struct policy *p, const struct policy_request *request, struct policy_admission *out, sl_error *error)
{
	if (p->hook[HOOK_ADMIT] == LUA_NOREF) {
		policy_default_admit(request, out);
		return SL_OK;
	}
	p->box = (struct policy_box){ .request = request, .model = request->model };
	int rc = run(p, HOOK_ADMIT, call_admit, out, error);
	p->box = (struct policy_box){ 0 };
	return rc;
}

static int call_route(lua_State *L)
{
	const struct call *c = lua_touserdata(L, 1);
	lua_rawgeti(L, LUA_REGISTRYINDEX, c->p->hook[HOOK_ROUTE]);
	lua_rawgeti(L, LUA_REGISTRYINDEX, c->p->request_view);
	lua_rawgeti(L, LUA_REGISTRYINDEX, c->p->model_view);
	lua_call(L, 2, 1);
	policy_take_routing(L, c->p, c->out);
	return 0;
}

int policy_route(struct policy *p, const struct policy_request *request, const struct policy_replica *replicas, size_t n,
                 struct policy_routing *out, sl_error *error)
{
	if (!p->has_route) {
		out->verdict = POLICY_ALLOW;
		out->n_order = 0;
		out->model[0] = '\0';
		return SL_OK;
	}
	p->box = (struct policy_box){ .request = request, .model = request->model, .replicas = replicas, .n_replicas = n };
	int rc = run(p, HOOK_ROUTE, call_route, out, error);
	p->box = (struct policy_box){ 0 };
	return rc;
}

static int call_scale(lua_State *L)
{
	const struct call *c = lua_touserdata(L, 1);
	lua_rawgeti(L, LUA_REGISTRYINDEX, c->p->hook[HOOK_SCALE]);
	lua_rawgeti(L, LUA_REGISTRYINDEX, c->p->model_view);
	lua_rawgeti(L, LUA_REGISTRYINDEX, c->p->signals_view);
	lua_call(L, 2, 1);
	policy_take_wanted(L, c->p->box.model, c->out);
	return 0;
}

int policy_scale(struct policy *p, const struct conf_model *model, const struct policy_signals *signals, int *wanted,
                 sl_error *error)
{
	p->box = (struct policy_box){ .model = model, .signals = signals };
	int rc = run(p, HOOK_SCALE, call_scale, wanted, error);
	p->box = (struct policy_box){ 0 };
	return rc;
}

static int call_lease(lua_State *L)
{
	const struct call *c = lua_touserdata(L, 1);
	lua_rawgeti(L, LUA_REGISTRYINDEX, c->p->hook[HOOK_LEASE]);
	lua_rawgeti(L, LUA_REGISTRYINDEX, c->p->event_view);
	lua_call(L, 1, 1);
	policy_take_terms(L, c->p, c->p->box.lease, c->out);
	return 0;
}

int policy_lease(struct policy *p, const struct policy_lease_request *request, struct policy_lease_terms *out, sl_error *error)
{
	policy_default_lease(request, out);
	if (p->hook[HOOK_LEASE] == LUA_NOREF)
		return SL_OK;
	p->box = (struct policy_box){ .lease = request };
	int rc = run(p, HOOK_LEASE, call_lease, out, error);
	p->box = (struct policy_box){ 0 };
	return rc;
}

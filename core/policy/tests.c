/* SPDX-License-Identifier: Apache-2.0 */
/* tests.c - runs a policy's own tests; check, test and eval of sluicectl. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/policy/internal.h"

enum { TESTS_MAX = 1000 };

struct test {
	char name[SL_NAME_MAX];
	int line;
};

struct tests {
	struct test list[TESTS_MAX];
	size_t n;
	struct buf *report; /* of check: names that look like hooks */
	const char *shown;
};

/* Is this global a name that somebody mistyped? */
static void check_global(struct tests *t, const char *name, int line)
{
	for (int i = 0; policy_hooks[i]; i++)
		if (strcmp(policy_hooks[i], name) == 0)
			return;
	const char *near = str_nearest(str_of(name), policy_hooks);
	if (near && t->report)
		buf_printf(t->report, "%s:%d: nothing calls the function '%s': did you mean '%s'?\n", t->shown, line, name, near);
}

static int list_globals(lua_State *L)
{
	struct tests *t = lua_touserdata(L, 1);
	lua_Debug ar;
	sandbox_globals(L);
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		const char *name = lua_tostring(L, -2);
		if (lua_type(L, -1) != LUA_TFUNCTION) {
			lua_pop(L, 1);
			continue;
		}
		lua_getinfo(L, ">S", &ar);
		if (strncmp(name, "test_", 5) != 0) {
			check_global(t, name, ar.linedefined);
		} else if (t->n < TESTS_MAX) {
			str_copy(t->list[t->n].name, sizeof t->list[0].name, str_of(name));
			t->list[t->n++].line = ar.linedefined;
		}
	}
	return 0;
}

static int by_line(const void *a, const void *b)
{
	const struct test *x = a, *y = b;
	return x->line != y->line ? (x->line > y->line) - (x->line < y->line) : strcmp(x->name, y->name);
}

static struct tests *find_tests(struct policy *p, struct buf *report, sl_error *error)
{
	struct tests *t = calloc(1, sizeof *t);
	if (!t) {
		error_set(error, SL_ENOMEM, "out of memory");
		return NULL;
	}
	t->report = report;
	t->shown = p->shown;
	if (sandbox_setup(p->sandbox, list_globals, t, error) != SL_OK) {
		free(t);
		return NULL;
	}
	qsort(t->list, t->n, sizeof t->list[0], by_line);
	return t;
}

static int call_test(lua_State *L)
{
	sandbox_global(L, lua_touserdata(L, 1));
	lua_call(L, 0, 0);
	return 0;
}

static int run_test(struct policy *p, struct test *test, sl_error *error)
{
	lua_State *L = sandbox_lua(p->sandbox);
	sandbox_trace(p->sandbox, p->shown);
	lua_pushcfunction(L, call_test);
	lua_pushlightuserdata(L, test->name);
	int rc = sandbox_call(p->sandbox, 1, 0, error);
	return rc;
}

/* "policy.lua:58: expected ..." in its two parts. */
static const char *split_place(const char *text, char *place, size_t room)
{
	const char *colon = strchr(text, ':');
	size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
	place[0] = '\0';
	if (!digits || strncmp(colon + 1 + digits, ": ", 2) != 0)
		return text;
	str_copy(place, room, (sl_str){ text, (size_t) (colon + 1 + digits - text) });
	return colon + 1 + digits + 2;
}

int policy_run_tests(struct policy *p, struct buf *report, bool all, sl_error *error)
{
	struct tests *t = find_tests(p, NULL, error);
	if (!t)
		return -1;
	int failures = 0;
	for (size_t i = 0; i < t->n && (all || failures == 0); i++) {
		sl_error why = { 0 };
		char place[128];
		int rc = run_test(p, &t->list[i], &why);
		char returned[128];
		str_copy(returned, sizeof returned, str_of(sandbox_returned_at(p->sandbox)));
		failures += rc != SL_OK;
		const char *text = split_place(why.text, place, sizeof place);
		if (rc != SL_OK)
			error_set(error, SL_EINVAL, "%s: %s failed: %s", place[0] ? place : p->shown, t->list[i].name, text);
		if (!report)
			continue;
		if (rc == SL_OK)
			buf_printf(report, "ok    %s\n", t->list[i].name);
		else
			buf_printf(report, "FAIL  %s  %s\n        %s\n", t->list[i].name, place[0] ? place : p->shown, text);
		if (rc != SL_OK && returned[0])
			buf_printf(report, "        the policy returned at %s\n", returned);
	}
	sandbox_trace(p->sandbox, NULL);
	if (report && failures)
		buf_printf(report, "%d of %zu failed\n", failures, t->n);
	else if (report && t->n)
		buf_printf(report, "%zu passed\n", t->n);
	size_t found = t->n;
	free(t);
	return all && !found ? POLICY_NO_TESTS : failures;
}

static struct policy *open_alone(struct conf *conf, const char *file, struct buf *report)
{
	sl_error error = { 0 };
	conf = conf ? conf_ref(conf) : conf_load(NULL, report);
	if (!conf)
		return NULL;
	struct policy *p = policy_open_file(conf, file, &error);
	conf_unref(conf);
	if (p)
		p->quiet = true;
	else
		buf_printf(report, "%s\n", error.text);
	return p;
}

int policy_test(struct conf *conf, const char *file, struct buf *report)
{
	sl_error error = { 0 };
	struct policy *p = open_alone(conf, file, report);
	int failures = p ? policy_run_tests(p, report, true, &error) : -1;
	if (failures == POLICY_NO_TESTS)
		buf_printf(report, "%s has no tests. A test is a function whose name begins with test_, such as\n"
		           "  function test_big_models_are_for_premium()\n"
		           "    expect(admit(request { model = \"llama-70b\", tier = \"free\" })).denied(403)\n"
		           "  end\n", p->shown);
	policy_close(p);
	return failures;
}

/* Calls each hook once with a plain request, so that names which lead nowhere are met. */
static void probe(struct policy *p, struct buf *report)
{
	sl_identity identity = { .size = sizeof identity, .tenant = "default", .user = "someone", .key = "slk_probe" };
	struct conf_model model = { .name = "test-model", .concurrency = 8, .replicas_max = 4, .max_output = 1024, .idle_ms = 1 };
	struct policy_request request = { .identity = &identity, .tier = conf_tier(p->conf, STR("default")), .model = &model,
		.model_name = STR("test-model"), .door = STR("chat"), .peer = STR("127.0.0.1"), .prompt_bytes = 40,
		.prompt_tokens = 10, .max_output = -1, .n = 1, .prompts = 1, .wall_ms = clock_wall_ms() };
	const struct policy_replica replicas[] = { { "r1", "ready", 1, 0, 8 }, { "r2", "ready", 0, 0, 8 } };
	const struct policy_signals signals = { .replicas = 1, .ready = 1, .running = 9, .waiting = 3 };
	const struct policy_lease_request lease = { .name = "job", .tenant = "default", .user = "someone", .tier = "default",
		.queue = "default", .program = "python", .gpus = 1, .wall_ms = clock_wall_ms() };
	struct policy_lease_terms terms;
	struct policy_admission *admission = calloc(1, sizeof *admission);
	struct policy_routing routing;
	int wanted;
	sl_error error = { 0 };
	if (admission && policy_admit(p, &request, admission, &error) != SL_OK)
		buf_printf(report, "%s\n", error.text);
	if (policy_route(p, &request, replicas, 2, &routing, &error) != SL_OK)
		buf_printf(report, "%s\n", error.text);
	if (policy_scale(p, &model, &signals, &wanted, &error) != SL_OK)
		buf_printf(report, "%s\n", error.text);
	if (policy_lease(p, &lease, &terms, &error) != SL_OK)
		buf_printf(report, "%s\n", error.text);
	free(admission);
}

bool policy_check(struct conf *conf, const char *file, struct buf *report)
{
	sl_error error = { 0 };
	struct policy *p = open_alone(conf, file, report);
	if (!p)
		return false;
	size_t before = report->len;
	struct tests *t = find_tests(p, report, &error);
	free(t);
	if (p->text.ptr)
		policy_check_names(p, p->text, report);
	probe(p, report);
	if (policy_run_tests(p, NULL, false, &error) != 0)
		buf_printf(report, "%s\n", error.text);
	policy_close(p);
	return report->len == before;
}

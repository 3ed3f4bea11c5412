/* SPDX-License-Identifier: Apache-2.0 */
/* test_tools.c - check, test and eval of sluicectl policy. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/str.h"
#include "core/policy/policy.h"
#include "fixture.h"

TestSuite(tools, .init = fixture_open, .fini = fixture_close);

static struct buf report;

static void tested(const char *text, int failed, const char *want)
{
	char path[256];
	str_copy(path, sizeof path, str_of(fixture_write("policy.lua", text)));
	buf_clear(&report);
	cr_expect_eq(policy_test(NULL, path, &report), failed, "%s", text);
	buf_put(&report, "", 1);
	cr_expect_str_eq(report.data, want, "got:\n%s\nwant:\n%s", report.data, want);
}

Test(tools, tests_have_a_line_each)
{
	tested("function admit(req)\n"
	       "  if req.tier.name == 'free' then\n"
	       "    return deny(403, 'no', 'No.')\n"
	       "  end\n"
	       "  return { priority = 2 }\n"
	       "end\n"
	       "function test_free() expect(admit(request { tier = 'free' })).denied(403) end\n"
	       "function test_b()\n"
	       "  expect(admit(request { tier = 'gold' })).denied(429)\n"
	       "end\n"
	       "function test_a() error('broken') end\n",
	       2,
	       "ok    test_free\n"
	       "FAIL  test_b  policy.lua:9\n"
	       "        expected denied(429), got allowed\n"
	       "        the policy returned at policy.lua:5\n"
	       "FAIL  test_a  policy.lua:11\n"
	       "        broken\n"
	       "2 of 3 failed\n");
	tested("function test_one() end", 0, "ok    test_one\n1 passed\n");
	tested("local x = 1", POLICY_NO_TESTS,
	       "policy.lua has no tests. A test is a function whose name begins with test_, such as\n"
	       "  function test_big_models_are_for_premium()\n"
	       "    expect(admit(request { model = \"llama-70b\", tier = \"free\" })).denied(403)\n"
	       "  end\n");
	tested("x = = 1", -1, "policy.lua:1: unexpected symbol near '='\n");
	buf_free(&report);
}

Test(tools, expectations)
{
	static const char *const cases[][2] = {
		{ "expect(deny(403, 'a', 'b')).denied(403, 'a')", NULL },
		{ "expect(deny(403, 'a', 'b')).denied()", NULL },
		{ "expect(deny(403, 'a', 'b')).denied(403, 'b')", "expected denied(403, \"b\"), got denied(403, \"a\")" },
		{ "expect(deny(403, 'a', 'b')).allowed()", "expected allowed, got denied(403, \"a\")" },
		{ "expect(nil).allowed()", NULL },
		{ "expect({ priority = 3 }).allowed().priority(3)", NULL },
		{ "expect({ priority = 3 }).priority(4)", "expected priority 4, got 3" },
		{ "expect(nil).priority(4)", "expected priority 4, got nil (the default)" },
		{ "expect({ max_output = 3 }).max_output(3)", NULL },
		{ "expect({ model = 'x' }).model('x')", NULL },
		{ "expect('x').model('x')", NULL },
		{ "expect('x').model('y')", "expected model y, got x" },
		{ "local m = fleet { { name = 'a' } } expect(m.replicas[1]).replica('a')", NULL },
		{ "local m = fleet { { name = 'a' } } expect({ m.replicas[1] }).replica('a')", NULL },
		{ "local m = fleet { { name = 'a' } } expect(m.replicas[1]).replica('b')", "expected replica b, got replica a" },
		{ "expect(3).equals(3)", NULL },
		{ "expect(3).equal(3)", "expect has no 'equal'" },
		{ "request { modle = 'x' }", "request has no field 'modle': did you mean 'model'?" },
		{ "request { prompt = 5 }", "field 'prompt' must be a table" },
		{ "request { n = 'x' }", "field 'n' must be a whole number" },
		{ "request { user = string.rep('x', 100) }", "field 'user' is too long" },
		{ "fleet { 5 }", "replicas of a fleet are tables" },
		{ "fleet { { nam = 1 } }", "did you mean 'name'?" },
		{ "signals { idel = 5 }", "did you mean 'idle'?" },
		{ "local r = request { tier = { name = 't', priority = 4 }, user = 'u', prompt = { tokens = 7 }, max_output = 5 } "
		  "assert(r.tier.priority == 4 and r.user == 'u' and r.prompt.tokens == 7 and r.prompt.bytes == 28 and r.max_output == 5)", NULL },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char text[512], want[512];
		snprintf(text, sizeof text, "function test_x() %s end", cases[i][0]);
		if (cases[i][1]) {
			fixture_write("policy.lua", text);
			buf_clear(&report);
			cr_expect_eq(policy_test(NULL, fixture_path("policy.lua"), &report), 1, "%s", text);
			buf_put(&report, "", 1);
			snprintf(want, sizeof want, "FAIL  test_x  policy.lua:1\n        ");
			cr_expect(strstr(report.data, want) && strstr(report.data, cases[i][1]), "%s\n%s", text, report.data);
		} else {
			tested(text, 0, "ok    test_x\n1 passed\n");
		}
	}
	buf_free(&report);
}

/* Views of a request that is garbage otherwise keep it alive. */
Test(tools, made_up_requests_live_as_long_as_their_parts)
{
	tested("function test_x()\n"
	       "  local tier, replica = request { tier = 'x' }.tier, fleet { { name = 'a' } }.replicas[1]\n"
	       "  for i = 1, 3000 do local t = request { tier = 'y' } end\n"
	       "  assert(tier.name == 'x' and replica.name == 'a')\n"
	       "end", 0, "ok    test_x\n1 passed\n");
	buf_free(&report);
}

static void checked(const char *text, const char *want)
{
	fixture_write("policy.lua", text);
	buf_clear(&report);
	bool fine = policy_check(NULL, fixture_path("policy.lua"), &report);
	buf_put(&report, "", 1);
	cr_expect_eq(fine, want == NULL, "%s: %s", text, report.data);
	if (want)
		cr_expect(strstr(report.data, want), "%s: %s", text, report.data);
}

Test(tools, check_finds_what_is_wrong)
{
	checked("function admit(req) end function helper() end", NULL);
	checked("function adimt(req) end", "policy.lua:1: nothing calls the function 'adimt': did you mean 'admit'?");
	checked("\nfunction rout(req) end", "policy.lua:2: nothing calls the function 'rout': did you mean 'route'?");
	checked("function admit(req) return { prio = 1 } end", "policy.lua:1: admit returned a table with the unknown field 'prio'");
	checked("function admit(req) return undefined_name end", "policy.lua:1: 'undefined_name' is not defined");
	checked("function route(req, model) return model.replica end", "the model has no field 'replica': did you mean 'replicas'?");
	checked("function scale(model, s) return 'x' end", "scale must return a number");
	checked("function test_x() expect(1).equals(2) end", "test_x failed");
	checked("function admit(req", "policy.lua:1:");
	buf_free(&report);
}

Test(tools, check_calls_lease)
{
	checked("function lease(event) return { priorty = 1 } end", "unknown field 'priorty': did you mean 'priority'?");
	checked("function lease(event) if event.gpu > 1 then return nil end end", "the event has no field 'gpu': did you mean 'gpus'?");
	checked("function leas(event) end", "nothing calls the function 'leas': did you mean 'lease'?");
	checked("function lease(event) return { queue = event.queue, limit = 60 } end", NULL);
	buf_free(&report);
}

Test(tools, without_a_file_it_is_the_standard_policy_in_the_sites_world)
{
	fixture_write("policy.lua", "-- nothing of its own\n");
	struct conf *c = fixture_good("policy \"policy.lua\" queue \"night\" {}");
	cr_expect(policy_check(c, NULL, &report), "%.*s", (int) report.len, report.data);
	cr_expect_eq(policy_test(c, NULL, &report), 0);
	fixture_write("policy.lua", "function lease(event) return { queue = 'nigth' } end");
	cr_expect_not(policy_check(c, c->policy, &report));
	buf_put(&report, "", 1);
	cr_expect(strstr(report.data, "queue 'nigth' is not declared"), "%s", report.data);
	conf_unref(c);
	buf_free(&report);
}

Test(tools, check_sees_names_in_branches_that_do_not_run)
{
	checked("function admit(req)\n  if req.n == 77 then\n    return denny(403, 'a', 'b')\n  end\nend",
	        "policy.lua:3: 'denny' is not defined: did you mean 'deny'?");
	checked("function admit(req)\n local f = function()\n  return function() return helpr() end\n end\nend\nfunction helper() end",
	        "policy.lua:3: 'helpr' is not defined: did you mean 'helper'?");
	checked("function admit(req) if req.n == 77 then return os.time() end return nil end", NULL);
	checked("function admit(req) if req.n == 77 then load('x') end end", "blocked function: load");
	checked("function admit(req) if req.n == 77 then return later() end end\nlocal x = 1\nfunction later() end", NULL);
	struct buf text = { 0 };
	buf_puts(&text, "function admit(req)\n");
	for (int i = 0; i < 300; i++) /* more instructions and lines than one step of the line table holds */
		buf_puts(&text, "do local x = { req.n }\n\n\nend\n");
	for (int i = 0; i < 200; i++)
		buf_puts(&text, "\n");
	buf_puts(&text, "if req.n == 77 then return missing_name end end\n");
	buf_put(&text, "", 1);
	checked(text.data, "policy.lua:1402: 'missing_name' is not defined");
	buf_free(&text);
	buf_free(&report);
}

Test(tools, shipped_policies_pass)
{
	static const char *const files[] = { "/lua/policy.lua", "/examples/policies/tiers.lua", "/examples/policies/leases.lua" };
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		char path[512];
		snprintf(path, sizeof path, TOP_SRCDIR "%s", files[i]);
		buf_clear(&report);
		bool fine = policy_check(NULL, path, &report);
		buf_put(&report, "", 1);
		cr_expect(fine, "%s: %s", path, report.data);
		buf_clear(&report);
		cr_expect_eq(policy_test(NULL, path, &report), 0);
		cr_expect(report.len > 20, "it has tests");
	}
	buf_free(&report);
}

/* Tests of a policy see the tiers and models of the configuration that it is used in. */
Test(tools, the_shipped_example_and_its_policy_fit)
{
	sl_error error = { 0 };
	struct conf *c = conf_load(TOP_SRCDIR "/examples/sluice.lua", &report);
	cr_assert_not_null(c, "%.*s", (int) report.len, report.data);
	struct policy *p = policy_open(c, true, &error);
	cr_expect_not_null(p, "%s", error.text);
	policy_close(p);
	conf_unref(c);
	buf_free(&report);
}

static json_t *evaluated(struct conf *conf, const char *text, sl_error *error)
{
	json_t *request = json_parse(str_of(text), error);
	cr_assert_not_null(request, "%s", error->text);
	json_t *answer = policy_eval(conf, NULL, request, error);
	json_decref(request);
	return answer;
}

Test(tools, eval_shows_a_decision_on_a_lease)
{
	sl_error error = { 0 };
	fixture_write("policy.lua", "function lease(event)\n"
	                            "  if event.gpus > 4 then\n    return deny(403, 'too_many', event.user .. ' has ' .. event.tenant)\n  end\n"
	                            "  if event.program == 'python' then\n    return { queue = 'night', priority = 7, limit = 60 }\n  end\n"
	                            "end\n");
	struct conf *c = fixture_good("policy \"policy.lua\" queue \"night\" {} queue \"day\" {} tenant \"x\" { queues = { \"day\" } }");
	json_t *a = evaluated(c, "{\"tenant\":\"x\",\"user\":\"u\",\"lease\":{\"gpus\":5}}", &error), *lease = json_object_get(a, "lease");
	cr_assert_not_null(lease, "%s", error.text);
	cr_expect_str_eq(json_get_str(lease, "where", ""), "policy.lua:3");
	cr_expect_str_eq(json_get_str(json_object_get(lease, "denial"), "message", ""), "u has x");
	json_decref(a);
	a = evaluated(c, "{\"lease\":{\"program\":\"python\"}}", &error);
	lease = json_object_get(a, "lease");
	cr_expect_str_eq(json_get_str(lease, "queue", ""), "night");
	cr_expect_eq(json_get_int(lease, "priority", 0), 7);
	cr_expect_eq(json_get_int(lease, "limit_s", 0), 60);
	cr_expect_str_eq(json_get_str(lease, "where", ""), "policy.lua:6");
	json_decref(a);
	a = evaluated(c, "{\"tenant\":\"x\",\"lease\":{\"limit_s\":9}}", &error);
	lease = json_object_get(a, "lease");
	cr_expect_str_eq(json_get_str(lease, "queue", ""), "day", "as asked");
	cr_expect_eq(json_get_int(lease, "limit_s", 0), 9);
	json_decref(a);
	cr_expect_null(evaluated(c, "{\"lease\":{\"gpu\":5}}", &error));
	cr_expect(strstr(error.text, "a lease has no field 'gpu': did you mean 'gpus'?"), "%s", error.text);
	conf_unref(c);
}

Test(tools, eval_shows_a_decision)
{
	sl_error error = { 0 };
	fixture_write("policy.lua", "function admit(req)\n"
	                            "  if req.model == 'm' then\n    return { priority = 4 }\n  end\n"
	                            "  return deny(404, 'none', 'There is none.')\nend\n"
	                            "function route(req, model)\n  return model.replicas[2]\nend\n");
	struct conf *c = fixture_good("policy \"policy.lua\" tier \"free\" { tokens = { 5, per = \"day\" } } tenant \"x\" { tier = \"free\" } "
	                              "model \"m\" { endpoints = { \"http://h:1\" } }");
	json_t *a = evaluated(c, "{\"tenant\":\"x\",\"key\":\"slk_1\",\"model\":\"m\",\"replicas\":[{\"name\":\"a\"},{\"name\":\"b\"}]}", &error);
	cr_assert_not_null(a, "%s", error.text);
	json_t *admit = json_object_get(a, "admit"), *route = json_object_get(a, "route");
	cr_expect_str_eq(json_get_str(admit, "where", ""), "policy.lua:3");
	cr_expect_eq(json_get_int(admit, "priority", 0), 4);
	cr_expect_str_eq(json_get_str(json_array_get(json_object_get(admit, "limits"), 0), "scope", ""), "key:slk_1");
	cr_expect_str_eq(json_get_str(route, "where", ""), "policy.lua:8");
	cr_expect_str_eq(json_string_value(json_array_get(json_object_get(route, "order"), 0)), "b");
	json_decref(a);
	a = evaluated(c, "{\"model\":\"other\"}", &error);
	admit = json_object_get(a, "admit");
	cr_expect(json_is_false(json_object_get(admit, "allowed")));
	cr_expect_str_eq(json_get_str(admit, "where", ""), "policy.lua:5");
	cr_expect_str_eq(json_get_str(json_object_get(admit, "denial"), "code", ""), "none");
	json_decref(a);
	cr_expect_null(evaluated(c, "{\"modle\":\"m\"}", &error));
	cr_expect(strstr(error.text, "no field 'modle': did you mean 'model'?"), "%s", error.text);
	cr_expect_null(evaluated(c, "{\"tier\":\"none\"}", &error));
	cr_expect(strstr(error.text, "tier 'none' is not declared"), "%s", error.text);
	cr_expect_null(evaluated(c, "[]", &error));
	conf_unref(c);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* test_policy.c - decisions of policies, right and wrong ones. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/metrics.h"
#include "core/base/str.h"
#include "core/policy/internal.h"
#include "fixture.h"

TestSuite(policy, .init = fixture_open, .fini = fixture_close);

static const char site[] =
	"policy { file = \"policy.lua\", instructions = 100000, memory = \"1M\" }\n"
	"model \"small\" { endpoints = { \"http://h:1\" }, aliases = { \"tiny\" }, replicas = { min = 1, max = 4 } }\n"
	"model \"big\" { endpoints = { \"http://h:1\" } }\n"
	"tier \"free\" { models = { \"tiny\" }, requests = { 10, per = \"minute\" }, tokens = { 5000, per = \"day\", scope = \"user\" },\n"
	"  concurrency = { 4, scope = \"tenant\" }, input_tokens = { 9, per = \"hour\", scope = \"model\" }, priority = 3, max_output = 77 }\n";

static struct conf *conf;
static struct policy *policy;
static sl_identity identity;
static struct policy_request request;

/* The policy of this text, or NULL and the reason. */
static struct policy *open_policy(const char *text, sl_error *error)
{
	fixture_write("policy.lua", text);
	conf = fixture_good(site);
	return policy_open(conf, true, error);
}

static void start(const char *text)
{
	sl_error error = { 0 };
	policy = open_policy(text, &error);
	cr_assert_not_null(policy, "%s\n%s", text, error.text);
	identity = (sl_identity){ .size = sizeof identity, .tenant = "physics", .user = "dana", .key = "slk_7Q2MXpVt" };
	request = (struct policy_request){ .identity = &identity, .tier = conf_tier(conf, STR("free")),
		.model = conf_model(conf, STR("small")), .model_name = STR("tiny"), .door = STR("chat"), .peer = STR("10.0.0.1"),
		.prompt_bytes = 400, .prompt_tokens = 100, .max_output = -1, .n = 1, .prompts = 1, .wall_ms = 1795478400000 };
}

static void stop(void)
{
	policy_close(policy);
	conf_unref(conf);
	policy = NULL;
	conf = NULL;
}

static struct policy_admission admission;

static void admit_fails(const char *text, const char *words)
{
	sl_error error = { 0 };
	start(text);
	cr_expect_neq(policy_admit(policy, &request, &admission, &error), SL_OK, "%s", text);
	cr_expect(strstr(error.text, words), "%s\nshould say: %s\nsays: %s", text, words, error.text);
	cr_expect(strstr(error.text, "policy.lua:"), "%s: no file and line in: %s", text, error.text);
	stop();
}

static void admits(const char *text)
{
	sl_error error = { 0 };
	memset(&admission, 0xff, sizeof admission);
	start(text);
	cr_assert_eq(policy_admit(policy, &request, &admission, &error), SL_OK, "%s: %s", text, error.text);
}

static void tier_limits_hold(void)
{
	cr_assert_eq(admission.n_limits, 4u);
	cr_expect_str_eq(admission.limits[0].scope, "key:slk_7Q2MXpVt");
	cr_expect_eq(admission.limits[0].metric, QUOTA_REQUESTS);
	cr_expect_eq(admission.limits[0].amount, 10);
	cr_expect_str_eq(admission.limits[1].scope, "user:physics/dana");
	cr_expect_str_eq(admission.limits[2].scope, "model:small");
	cr_expect_str_eq(admission.limits[3].scope, "tenant:physics");
}

Test(policy, nil_means_the_terms_of_the_tier)
{
	admits("function admit(req) return nil end");
	cr_expect_eq(admission.verdict, POLICY_ALLOW);
	tier_limits_hold();
	cr_expect_eq(admission.priority, 3);
	cr_expect_eq(admission.max_output, 77);
	cr_expect_str_empty(admission.model);
	stop();
}

Test(policy, what_a_tier_lists)
{
	start("local x = 1");
	cr_expect(policy_tier_allows(request.tier, request.model, request.model->name), "tier free lists the model by its alias");
	const struct conf_model *big = conf_model(conf, STR("big"));
	cr_expect_not(policy_tier_allows(request.tier, big, big->name));
	stop();
}

Test(policy, scopes_fall_back_to_what_is_known)
{
	sl_error error = { 0 };
	start("function admit(req) return { limits = req.tier.limits } end");
	identity.key[0] = '\0';
	cr_assert_eq(policy_admit(policy, &request, &admission, &error), SL_OK, "%s", error.text);
	cr_expect_str_eq(admission.limits[0].scope, "user:physics/dana");
	identity.user[0] = '\0';
	cr_assert_eq(policy_admit(policy, &request, &admission, &error), SL_OK, "%s", error.text);
	cr_expect_str_eq(admission.limits[0].scope, "tenant:physics");
	cr_expect_str_eq(admission.limits[1].scope, "tenant:physics");
	stop();
}

Test(policy, users_of_two_tenants_share_nothing)
{
	sl_error error = { 0 };
	start("function admit(req) return nil end");
	strcpy(identity.tenant, "bio");
	cr_assert_eq(policy_admit(policy, &request, &admission, &error), SL_OK, "%s", error.text);
	cr_expect_str_eq(admission.limits[1].scope, "user:bio/dana");
	stop();
}

Test(policy, every_field_can_be_read)
{
	admits("function admit(req)\n"
	       " assert(req.model == 'small' and req.asked == 'tiny' and req.door == 'chat' and req.stream == false)\n"
	       " assert(req.tenant.name == 'physics' and req.user == 'dana' and req.key == 'slk_7Q2MXpVt')\n"
	       " assert(req.tier.name == 'free' and req.tier.priority == 3 and req.tier.weight == 1 and req.tier.max_output == 77)\n"
	       " assert(#req.tier.limits == 4 and req.tier:allows('tiny') and req.tier:allows('small') and not req.tier:allows('big'))\n"
	       " assert(req.peer == '10.0.0.1' and req.prompt.bytes == 400 and req.prompt.tokens == 100)\n"
	       " assert(req.max_output == nil and req.n == 1 and req.prompts == 1 and req.time == 1795478400)\n"
	       " assert(sluice.hour(req.time, 1) == 1 and sluice.weekday(req.time) == 2 and sluice.minute(req.time) == 0)\n"
	       " assert(sluice.one_of(req.model, { 'x', 'small' }) and not sluice.one_of(req.model, {}))\n"
	       " assert(sluice.glob(req.model, 'sm*') and sluice.prefix(req.peer, '10.'))\n"
	       "end");
	stop();
}

Test(policy, an_unknown_model_is_what_the_client_wrote)
{
	sl_error error = { 0 };
	start("function admit(req) if req.model == 'nope' then return deny(404, 'model_not_found', 'no ' .. req.model) end end");
	request.model = NULL;
	request.model_name = STR("nope");
	cr_assert_eq(policy_admit(policy, &request, &admission, &error), SL_OK, "%s", error.text);
	cr_expect_eq(admission.verdict, POLICY_DENY);
	cr_expect_eq(admission.denial.status, 404);
	cr_expect_str_eq(admission.denial.code, "model_not_found");
	cr_expect_str_eq(admission.denial.message, "no nope");
	cr_expect_str_eq(admission.where, "policy.lua:1");
	stop();
}

Test(policy, long_words_are_cut_between_characters)
{
	admits("function admit(req) return deny(403, 'x', string.rep('\xc3\xa4', 1000)) end");
	cr_expect_lt(strlen(admission.denial.message), sizeof admission.denial.message);
	cr_expect(str_is_utf8(str_of(admission.denial.message)));
	stop();
}

Test(policy, denials_must_be_denials)
{
	admit_fails("function admit(req) return deny(200, 'x', 'y') end", "400 to 599");
	admit_fails("function admit(req) return deny(403, 'Not A Code', 'y') end", "small letters");
	admit_fails("function admit(req) return deny(403, '', 'y') end", "small letters");
	admit_fails("function admit(req) return deny(403, 'x') end", "bad argument #3");
	admit_fails("function admit(req) return deny(403, 'x', '') end", "words for the person");
	admit_fails("function admit(req) return deny(0/0, 'x', 'y') end", "bad argument #1");
	admit_fails("function admit(req) return false end", "admit must return deny(status, code, words), a table or nil, not false");
	admit_fails("function admit(req) return 5 end", "a table or nil, not 5");
	admit_fails("function admit(req) return req end", "a table or nil");
	admit_fails("function admit(req) return string.rep('x', 100000) end", "a table or nil");
}

Test(policy, terms_replace_what_they_name)
{
	admits("function admit(req) return { priority = -4, max_output = 5, model = 'big', limits = {} } end");
	cr_expect_eq(admission.priority, -4);
	cr_expect_eq(admission.max_output, 5);
	cr_expect_str_eq(admission.model, "big");
	cr_expect_eq(admission.n_limits, 0u);
	stop();
	admits("function admit(req) return {} end");
	tier_limits_hold();
	cr_expect_eq(admission.priority, 3);
	cr_expect_eq(admission.max_output, 77);
	stop();
}

Test(policy, limits_of_its_own)
{
	admits("function admit(req) return { limits = req.tier.limits + { tokens = 5, per = 'minute', scope = 'team:a' } } end");
	cr_assert_eq(admission.n_limits, 5u);
	cr_expect_str_eq(admission.limits[4].scope, "team:a");
	cr_expect_str_eq(admission.limits[4].name, "5 tokens per minute");
	cr_expect_eq(admission.limits[4].window, QUOTA_SLIDING);
	cr_expect_eq(admission.limits[4].window_ms, 60000u);
	stop();
	admits("function admit(req) return { limits = { { cost = '1.5', per = 'month', scope = 'tenant' }, { concurrency = 2 }, req.tier.limits } } end");
	cr_assert_eq(admission.n_limits, 6u);
	cr_expect_str_eq(admission.limits[0].scope, "tenant:physics");
	cr_expect_eq(admission.limits[0].amount, 1500000000000);
	cr_expect_eq(admission.limits[0].window, QUOTA_MONTH);
	cr_expect_str_eq(admission.limits[1].scope, "key:slk_7Q2MXpVt");
	cr_expect_eq(admission.limits[1].window, QUOTA_NONE);
	stop();
	admits("function admit(req) return { limits = { requests = 5, per = 'day' } } end");
	cr_assert_eq(admission.n_limits, 1u, "one limit needs no list around it");
	stop();
}

Test(policy, wrong_terms_fail_the_call)
{
	static const char *const cases[][2] = {
		{ "{ prioritty = 3 }", "unknown field 'prioritty': did you mean 'priority'?" },
		{ "{ priority = 0/0 }", "priority must be a whole number" },
		{ "{ priority = 'x' }", "priority must be a whole number, not x" },
		{ "{ priority = 1 << 40 }", "priority is out of range" },
		{ "{ max_output = -1 }", "max_output is out of range" },
		{ "{ model = 'none' }", "model 'none' is not declared" },
		{ "{ model = '' }", "1 to 63 bytes" },
		{ "{ model = string.rep('x', 1000) }", "1 to 63 bytes" },
		{ "{ model = {} }", "must be text, not a table value" },
		{ "{ limits = 5 }", "limits must be req.tier.limits or a list" },
		{ "{ limits = { 5 } }", "item 1 of limits must be a table" },
		{ "{ limits = { {} } }", "a limit without an amount" },
		{ "{ limits = { { tokens = -5, per = 'day' } } }", "not negative" },
		{ "{ limits = { { tokens = 0/0, per = 'day' } } }", "whole number" },
		{ "{ limits = { { tokens = 1e300, per = 'day' } } }", "whole number" },
		{ "{ limits = { { tokens = 5 } } }", "needs per" },
		{ "{ limits = { { tokens = 5, per = 'eon' } } }", "per = 'eon'" },
		{ "{ limits = { { concurrency = 5, per = 'day' } } }", "has no 'per'" },
		{ "{ limits = { { token = 5, per = 'day' } } }", "unknown field 'token' in a limit: did you mean 'tokens'?" },
		{ "{ limits = { { tokens = 5, requests = 5, per = 'day' } } }", "cannot hold both" },
		{ "{ limits = { { tokens = 5, per = 'day', scope = 'tennant' } } }", "did you mean 'tenant'?" },
		{ "{ limits = { { tokens = 5, per = 'day', scope = string.rep('x', 200) .. ':' } } }", "scope must be text" },
		{ "{ limits = { { 5 } } }", "a limit is written" },
		{ "{ limits = { req.tier.limits, req.tier.limits, req.tier.limits, req.tier.limits, req.tier.limits } }", "more than 16 limits" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char text[256];
		snprintf(text, sizeof text, "function admit(req) return %s end", cases[i][0]);
		admit_fails(text, cases[i][1]);
	}
}

Test(policy, misuse_of_a_request_is_named)
{
	admit_fails("function admit(req) return req.modle end", "policy.lua:1: the request has no field 'modle': did you mean 'model'?");
	admit_fails("function admit(req) return req.tier.limit end", "req.tier has no field 'limit': did you mean 'limits'?");
	admit_fails("function admit(req) req.model = 'x' end", "fields cannot be set here");
	admit_fails("function admit(req) return req.tier.allows('x') end", "with a colon");
	admit_fails("local kept function admit(req) if kept then return kept.model end kept = req.tier error('first') end", "first");
	admit_fails("function admit(req) x = 1 end", "global 'x' cannot be set here");
	admit_fails("function admit(req) return nil + 1 end", "policy.lua:1:");
	admit_fails("function admit(req) error(nil) end", "a nil value");
	admit_fails("function admit(req) error({}) end", "a table value");
	admit_fails("function admit(req) return getmetatable(req).x end", "policy.lua:1:");
	admit_fails("function admit(req) return setmetatable(req, {}) end", "bad argument");
}

Test(policy, a_request_is_over_when_the_call_is)
{
	sl_error error = { 0 };
	start("local kept function admit(req) kept = req end function scale(model, s) return kept.n end");
	const struct policy_signals signals = { 0 };
	int wanted;
	cr_assert_eq(policy_admit(policy, &request, &admission, &error), SL_OK, "%s", error.text);
	cr_assert_neq(policy_scale(policy, conf->models, &signals, &wanted, &error), SL_OK);
	cr_expect(strstr(error.text, "policy.lua:1: this request is over"), "%s", error.text);
	stop();
}

static uint64_t failures(const char *function)
{
	return metrics_value(metrics_counter("sluice_policy_errors_total", "Calls into the policy that failed.", "function", function));
}

Test(policy, failures_end_and_are_counted_and_the_next_call_works)
{
	static const char *const bombs[] = { "while true do end", "while true do pcall(error) end",
		"local t = {} while true do t[#t + 1] = {} end", "local s = 'x' while true do s = s .. s end",
		"local function f() return f() + 1 end f()" };
	for (size_t i = 0; i < sizeof bombs / sizeof bombs[0]; i++) {
		char text[256];
		sl_error error = { 0 };
		snprintf(text, sizeof text, "function admit(req) if req.n == 2 then %s end end", bombs[i]);
		start(text);
		uint64_t before = failures("admit");
		request.n = 2;
		cr_expect_eq(policy_admit(policy, &request, &admission, &error), SL_EINTERNAL, "%s", bombs[i]);
		cr_expect(strstr(error.text, "used up") || strstr(error.text, "memory limit"), "%s: %s", bombs[i], error.text);
		cr_expect_eq(failures("admit"), before + 1);
		request.n = 1;
		cr_expect_eq(policy_admit(policy, &request, &admission, &error), SL_OK, "%s: the next request: %s", bombs[i], error.text);
		stop();
	}
}

Test(policy, a_full_state_is_made_anew)
{
	sl_error error = { 0 };
	start("local hoard = {} function admit(req) for i = 1, 1000 do hoard[#hoard + 1] = { i } end end");
	int ok = 0, bad = 0;
	for (int i = 0; i < 100; i++) {
		if (policy_admit(policy, &request, &admission, &error) == SL_OK)
			ok++;
		else
			bad++;
	}
	cr_expect_gt(bad, 0, "the hoard does not fit");
	cr_expect_gt(ok, 3 * bad, "and after each failure the state is empty again: %d ok, %d failed", ok, bad);
	stop();
}

/* Exactly the same memory after a thousand calls: nothing is allocated for a request. */
Test(policy, a_call_allocates_nothing)
{
	static const char *const policies[] = {
		"local x = 1",
		"function admit(req) return nil end",
		"function admit(req)\n"
		" if req.tier.name == 'gold' and req.model == 'x' then return deny(403, 'a', 'b') end\n"
		" if req.prompt.tokens > 32000 or req.tenant.name == 'y' or req.door == 'z' or req.stream then return nil end\n"
		"end",
	};
	for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++) {
		sl_error error = { 0 };
		start(policies[i]);
		request.tier = conf_tier(conf, STR("default"));
		for (int n = 0; n < 10; n++)
			cr_assert_eq(policy_admit(policy, &request, &admission, &error), SL_OK, "%s", error.text);
		size_t before = sandbox_memory(policy->sandbox);
		for (int n = 0; n < 1000; n++)
			policy_admit(policy, &request, &admission, &error);
		cr_expect_eq(sandbox_memory(policy->sandbox), before, "%s", policies[i]);
		stop();
	}
}

Test(policy, tables_that_are_returned_are_collected)
{
	sl_error error = { 0 };
	start("function admit(req) return { limits = req.tier.limits, priority = req.tier.priority } end");
	for (int n = 0; n < 1000; n++)
		policy_admit(policy, &request, &admission, &error);
	size_t before = sandbox_memory(policy->sandbox);
	for (int n = 0; n < 20000; n++)
		cr_assert_eq(policy_admit(policy, &request, &admission, &error), SL_OK, "%s", error.text);
	cr_expect_lt(sandbox_memory(policy->sandbox), 2 * before);
	stop();
}

static const struct policy_replica replicas[] = { { "r1", "ready", 5, 1, 8 }, { "r2", "draining", 0, 0, 8 }, { "r3", "ready", 2, 0, 8 } };
static struct policy_routing routing;

static void routes(const char *text)
{
	sl_error error = { 0 };
	start(text);
	cr_assert_eq(policy_route(policy, &request, replicas, 3, &routing, &error), SL_OK, "%s: %s", text, error.text);
}

static void route_fails(const char *text, const char *words)
{
	sl_error error = { 0 };
	start(text);
	cr_expect_neq(policy_route(policy, &request, replicas, 3, &routing, &error), SL_OK, "%s", text);
	cr_expect(strstr(error.text, words), "%s\nshould say: %s\nsays: %s", text, words, error.text);
	stop();
}

Test(policy, without_route_the_default_decides)
{
	routes("function admit() end");
	cr_expect_not(policy_has_route(policy));
	cr_expect_eq(routing.n_order, 0u);
	stop();
}

Test(policy, routes_it_can_give)
{
	routes("function route(req, model) return nil end");
	cr_expect(policy_has_route(policy));
	cr_expect_eq(routing.n_order, 0u);
	stop();
	routes("function route(req, model) return sluice.least_loaded(model.replicas) end");
	cr_assert_eq(routing.n_order, 1u);
	cr_expect_eq(routing.order[0], 2u);
	stop();
	routes("function route(req, model) local r = model.replicas return { r[3], r[1], r[3] } end");
	cr_assert_eq(routing.n_order, 2u, "a replica counts once");
	cr_expect_eq(routing.order[0], 2u);
	cr_expect_eq(routing.order[1], 0u);
	stop();
	routes("function route(req, model) return 'big' end");
	cr_expect_str_eq(routing.model, "big");
	stop();
	routes("function route(req, model) return deny(503, 'closed', 'Come back tomorrow.') end");
	cr_expect_eq(routing.verdict, POLICY_DENY);
	cr_expect_eq(routing.denial.status, 503);
	stop();
	routes("function route(req, model)\n"
	       " local n = 0 for i, r in ipairs(model.replicas) do n = n + 1 assert(r.name == 'r' .. i and r.concurrency == 8) end\n"
	       " assert(n == 3 and #model.replicas == 3 and model.replicas[1].waiting == 1 and model.replicas[2].state == 'draining')\n"
	       " assert(model.name == 'small' and model.min == 1 and model.max == 4 and model.idle == 600 and model.concurrency == 8)\n"
	       " assert(model.max_output == 1024 and model.context == 0 and model.gpus == 0)\n"
	       "end");
	stop();
}

Test(policy, routes_it_cannot_give)
{
	route_fails("function route(req, model) return {} end", "empty list");
	route_fails("function route(req, model) return 5 end", "must return replicas of model.replicas, not 5");
	route_fails("function route(req, model) return true end", "not true");
	route_fails("function route(req, model) return { 'r1' } end", "not r1");
	route_fails("function route(req, model) return 'none' end", "model 'none' is not declared");
	route_fails("function route(req, model) return string.rep('x', 100000) end", "1 to 63 bytes");
	route_fails("function route(req, model) return model.replicas.first end", "replicas are numbered 1 to 3");
	route_fails("local f = fleet { {} } function route(req, model) return f.replicas[1] end", "a replica of another call");
}

Test(policy, a_replica_of_an_earlier_call_is_over)
{
	sl_error error = { 0 };
	start("local kept function route(req, model) local last = kept kept = model.replicas[3] if last then return last end end");
	cr_assert_eq(policy_route(policy, &request, replicas, 3, &routing, &error), SL_OK, "%s", error.text);
	cr_assert_neq(policy_route(policy, &request, replicas, 2, &routing, &error), SL_OK, "there is no third one now");
	cr_expect(strstr(error.text, "another call"), "%s", error.text);
	stop();
}

static int scale(const char *result, sl_error *error)
{
	char text[256];
	const struct policy_signals signals = { .replicas = 2, .ready = 1, .starting = 1, .running = 3, .waiting = 4, .idle_ms = 1500,
		.arrivals = 0.5 };
	int wanted = -1;
	snprintf(text, sizeof text, "function scale(model, s) return %s end", result);
	start(text);
	int rc = policy_scale(policy, conf->models, &signals, &wanted, error);
	stop();
	return rc == SL_OK ? wanted : -1;
}

Test(policy, scale_is_kept_within_bounds)
{
	sl_error error = { 0 };
	cr_expect_eq(scale("2", &error), 2, "%s", error.text);
	cr_expect_eq(scale("2.1", &error), 3, "rounded up");
	cr_expect_eq(scale("0", &error), 1, "not below the minimum");
	cr_expect_eq(scale("-1e300", &error), 1);
	cr_expect_eq(scale("1e300", &error), 4, "not above the maximum");
	cr_expect_eq(scale("math.huge", &error), 4);
	cr_expect_eq(scale("s.running + s.waiting - s.replicas - s.ready - s.starting", &error), 3);
	cr_expect_eq(scale("s.idle + s.arrivals", &error), 2);
	cr_expect_eq(scale("0/0", &error), -1);
	cr_expect(strstr(error.text, "scale must return a number"), "%s", error.text);
	cr_expect_eq(scale("nil", &error), -1);
	cr_expect_eq(scale("'3'", &error), -1);
	cr_expect_eq(scale("s.runing", &error), -1);
	cr_expect(strstr(error.text, "did you mean 'running'?"), "%s", error.text);
}

Test(policy, the_standard_scale)
{
	sl_error error = { 0 };
	start("function admit() end");
	static const struct { struct policy_signals s; int wanted; } cases[] = {
		{ { .replicas = 1, .running = 8 }, 1 }, { { .replicas = 1, .running = 8, .waiting = 1 }, 2 },
		{ { .replicas = 3, .running = 1, .idle_ms = 0 }, 3 }, { { .replicas = 3, .idle_ms = 599999 }, 3 },
		{ { .replicas = 3, .idle_ms = 600000 }, 1 }, { { .replicas = 3, .idle_ms = INT64_MAX }, 1 },
		{ { .replicas = 1, .waiting = 1000 }, 4 },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int wanted = -1;
		cr_expect_eq(policy_scale(policy, conf->models, &cases[i].s, &wanted, &error), SL_OK, "%s", error.text);
		cr_expect_eq(wanted, cases[i].wanted, "case %zu: %d", i, wanted);
	}
	stop();
}

static void does_not_open(const char *text, const char *words)
{
	sl_error error = { 0 };
	struct policy *p = open_policy(text, &error);
	cr_expect_null(p, "%s", text);
	cr_expect(strstr(error.text, words), "%s: %s", text, error.text);
	policy_close(p);
	conf_unref(conf);
}

Test(policy, files_that_do_not_load)
{
	does_not_open("function admit(", "policy.lua:1:");
	does_not_open("\nerror('no')", "policy.lua:2: no");
	does_not_open("while true do end", "policy.lua:1: instruction budget");
	does_not_open("admit = 5", "'admit' must be a function, not a number value");
	does_not_open("function deny() end", "global 'deny' belongs to sluice");
	does_not_open("sluice.glob = nil", "'sluice' belongs to sluice");
	does_not_open("local x = sluice.glbo", "sluice.glbo does not exist: did you mean 'glob'?");
	does_not_open("io.open('/etc/passwd')", "blocked function: io.open");
	does_not_open("function test_a() expect(1).equals(2) end", "policy.lua:1: test_a failed: expected 2, got 1");
	does_not_open("function test_a() while true do end end", "test_a failed: instruction budget");
}

Test(policy, all_threads_load_what_the_snapshot_read)
{
	sl_error error = { 0 };
	start("function admit(req) return deny(403, 'old', 'x') end");
	fixture_write("policy.lua", "function admit(req) return deny(403, 'new', 'x') end");
	struct policy *second = policy_open(conf, true, &error);
	cr_assert_not_null(second, "%s", error.text);
	cr_assert_eq(policy_admit(second, &request, &admission, &error), SL_OK);
	cr_expect_str_eq(admission.denial.code, "old");
	policy_close(second);
	stop();
}

Test(policy, the_default_asks_nobody)
{
	start("local x = 1");
	policy_default_admit(&request, &admission);
	cr_expect_eq(admission.verdict, POLICY_ALLOW);
	tier_limits_hold();
	stop();
}

static int ask_lease(struct policy *p, struct policy_lease_terms *out, sl_error *error)
{
	const struct policy_lease_request asked = { .name = "train", .tenant = "physics", .user = "dana", .tier = "free", .queue = "day",
		.program = "python", .gpus = 2, .memory_bytes = 40, .limit_ms = 5000, .priority = -3, .wall_ms = 1764000000000 };
	return policy_lease(p, &asked, out, error);
}

static void lease_fails(const char *returned, const char *words)
{
	char text[256];
	sl_error error = { 0 };
	struct policy_lease_terms terms;
	snprintf(text, sizeof text, "function lease(event) %s end", returned);
	fixture_write("policy.lua", text);
	struct conf *c = fixture_good("policy \"policy.lua\" queue \"day\" {} queue \"night\" {}");
	struct policy *p = policy_open(c, false, &error);
	cr_assert_not_null(p, "%s", error.text);
	cr_expect_eq(ask_lease(p, &terms, &error), SL_EINTERNAL, "%s", returned);
	cr_expect(strstr(error.text, words), "%s: %s", returned, error.text);
	/* The next call finds the state as it was. */
	cr_expect_eq(ask_lease(p, &terms, &error), SL_EINTERNAL);
	policy_close(p);
	conf_unref(c);
}

Test(policy, lease_is_asked_before_a_lease_is_made)
{
	sl_error error = { 0 };
	struct policy_lease_terms terms;
	struct conf *c = fixture_good("queue \"day\" {}");
	struct policy *p = policy_open(c, true, &error);
	cr_assert_eq(ask_lease(p, &terms, &error), SL_OK);
	cr_expect(terms.verdict == POLICY_ALLOW && terms.priority == -3 && terms.limit_ms == 5000, "without lease() as asked");
	cr_expect_str_eq(terms.queue, "day");
	policy_close(p);
	conf_unref(c);
	fixture_write("policy.lua", "function lease(e)\n"
	              "  assert(e.change == 'requested' and e.name == 'train' and e.tenant == 'physics' and e.user == 'dana')\n"
	              "  assert(e.tier == 'free' and e.queue == 'day' and e.kind == nil and e.program == 'python' and e.gpus == 2)\n"
	              "  assert(e.memory == 40 and e.limit == 5 and e.priority == -3 and e.detach == false and e.time == 1764000000)\n"
	              "  assert(not pcall(function() e.gpus = 1 end))\n"
	              "  return { queue = 'night', limit = 7 }\nend\n");
	c = fixture_good("policy \"policy.lua\" queue \"day\" {} queue \"night\" {}");
	p = policy_open(c, true, &error);
	cr_assert_not_null(p, "%s", error.text);
	for (int i = 0; i < 2; i++)
		cr_assert_eq(ask_lease(p, &terms, &error), SL_OK, "%s", error.text);
	cr_expect_str_eq(terms.queue, "night");
	cr_expect(terms.limit_ms == 7000 && terms.priority == -3);
	policy_close(p);
	conf_unref(c);
}

Test(policy, lease_that_is_wrong_has_failed)
{
	lease_fails("return 5", "lease must return deny(status, code, words), a table or nil, not 5");
	lease_fails("return { queue = 'nope' }", "queue 'nope' is not declared");
	lease_fails("return { queue = 5 }", "queue must be text");
	lease_fails("return { priority = 1001 }", "priority is out of range");
	lease_fails("return { priority = 'x' }", "priority must be a whole number");
	lease_fails("return { limit = 0 }", "limit is out of range");
	lease_fails("return { limit = 1.5 }", "limit must be a whole number");
	lease_fails("return { gpus = 1 }", "unknown field 'gpus'");
	lease_fails("while true do end", "instruction budget");
	lease_fails("local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end", "memory");
	lease_fails("return event.nothing", "the event has no field 'nothing'");
}

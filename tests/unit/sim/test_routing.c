/* SPDX-License-Identifier: Apache-2.0 */
/* test_routing.c - whole simulations: nothing is lost, the same seed gives the same, and what is known of rules holds. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/base/str.h"
#include "core/sim/routing.h"

static struct sim_fleet fleet;
static sl_error error;

static void setup(void)
{
	cr_assert_eq(sim_fleet_parse(&fleet, "4*qwen3-8b-h100", &error), SL_OK);
}

static void fill(const char *text, double rate, double seconds, struct sim_workload *w)
{
	struct sim_recipe *recipe = sim_recipe_parse(text, &error);
	cr_assert(recipe, "%s", error.text);
	cr_assert_eq(sim_recipe_make(recipe, rate, seconds, 1, w, &error), SL_OK);
	sim_recipe_free(recipe);
}

static struct sim_routing routing_of(const struct sim_workload *w, const struct sim_rule *rule)
{
	return (struct sim_routing){ .fleet = &fleet, .workload = w, .rule = rule, .seed = 1, .limits = { 2000, 50, 0.9 },
		.warm = 0.2, .look_ms = 50 };
}

static struct sim_result run(const struct sim_routing *o)
{
	struct sim_result result;
	cr_assert_eq(sim_routing_run(o, &result, &error), SL_OK, "%s: %s", o->rule->name, error.text);
	return result;
}

TestSuite(routing, .init = setup);

Test(routing, every_rule_answers_every_request_and_again_the_same_way)
{
	struct sim_workload w = { 0 };
	fill("shared:groups=40,users=0,prefix=2000,question=300,output=60", 20, 30, &w);
	for (const struct sim_rule *rule = sim_rules; rule->name; rule++) {
		struct sim_routing o = routing_of(&w, rule);
		struct sim_result a = run(&o), b = run(&o);
		size_t late = 0;
		for (size_t i = 0; i < w.n; i++)
			late += w.requests[i].at_us >= (int64_t) (0.2 * w.span_s * 1e6);
		cr_expect_eq(a.counted, late, "%s", rule->name);
		cr_expect_eq(a.failed, 0, "%s", rule->name);
		cr_expect(a.first_ms.p50 > 10 && a.first_ms.p50 <= a.first_ms.p90 && a.first_ms.p90 <= a.first_ms.p99, "%s", rule->name);
		cr_expect_eq(a.first_ms.p99, b.first_ms.p99, "%s", rule->name);
		cr_expect_eq(a.hit_rate, b.hit_rate, "%s", rule->name);
	}
	sim_workload_free(&w);
}

/* Prefixes of one and a half times what a single cache holds: where each goes to any replica, few are found. */
Test(routing, rules_that_know_prefixes_find_more)
{
	struct sim_workload w = { 0 };
	fill("shared:groups=60,users=0,prefix=8000,question=200,output=60", 15, 60, &w);
	struct sim_routing o = routing_of(&w, sim_rule_find(STR("cost"), &error));
	struct sim_result cost = run(&o);
	o.rule = sim_rule_find(STR("cost-blind"), &error);
	struct sim_result blind = run(&o);
	o.rule = sim_rule_find(STR("llm-d"), &error);
	struct sim_result llm_d = run(&o);
	o.rule = sim_rule_find(STR("round-robin"), &error);
	struct sim_result round_robin = run(&o);
	cr_expect_gt(cost.hit_rate, 0.75);
	cr_expect_gt(llm_d.hit_rate, 0.75);
	cr_expect_gt(cost.hit_rate, 1.2 * blind.hit_rate);
	cr_expect_gt(cost.hit_rate, 1.2 * round_robin.hit_rate);
	cr_expect_lt(cost.first_ms.p90, round_robin.first_ms.p90);
	cr_expect(cost.error >= 0 && cost.error < 0.4, "first tokens are predicted: off by %.0f%%", 100 * cost.error);
	sim_workload_free(&w);
}

Test(routing, a_replica_dies_and_comes_back)
{
	struct sim_workload w = { 0 };
	fill("chat:output=100", 40, 60, &w);
	for (const struct sim_rule *rule = sim_rules; rule->name; rule++) {
		struct sim_routing o = routing_of(&w, rule);
		o.warm = 0;
		o.killed = 1;
		o.killed_us = 20000000;
		o.down_us = 10000000;
		struct sim_result result = run(&o);
		cr_expect(result.failed > 0 && result.failed < 100, "%s: what was under way is cut off: %zu", rule->name, result.failed);
		cr_expect_eq(result.counted + result.failed, w.n, "%s: all others are answered", rule->name);
	}
	sim_workload_free(&w);
}

static int make(void *arg, double rate, struct sim_workload *w, sl_error *e)
{
	return sim_recipe_make(arg, rate, 60, 1, w, e);
}

Test(routing, capacity_is_where_the_limits_break)
{
	struct sim_recipe *recipe = sim_recipe_parse("chat:question=3000,output=50", &error);
	struct sim_search search = { .replay = routing_of(NULL, sim_rule_find(STR("cost"), &error)), .make = make, .make_arg = recipe,
		.from = 3, .within = 0.03 };
	struct sim_result result;
	double rate;
	cr_assert_eq(sim_search_capacity(&search, &rate, &result, &error), SL_OK);
	cr_assert(rate > 5 && rate < 100, "%g", rate);
	cr_assert(!result.missed && !result.partial && result.kept_first[0] >= 0.9 && result.kept_token[0] >= 0.9);
	struct sim_workload w = { 0 };
	cr_assert_eq(make(recipe, rate * 1.3, &w, &error), SL_OK);
	struct sim_routing o = search.replay;
	o.workload = &w;
	cr_assert(run(&o).missed);
	sim_workload_free(&w);
	sim_recipe_free(recipe);
}

Test(routing, refuses_what_cannot_be)
{
	struct sim_workload w = { 0 };
	struct sim_result result;
	fill("chat:question=500000,spread=0", 1, 10, &w);
	struct sim_routing o = routing_of(&w, sim_rules);
	cr_assert_eq(sim_routing_run(&o, &result, &error), SL_EINVAL);
	cr_assert(strstr(error.text, "does not fit into the cache"), "%s", error.text);
	sim_workload_free(&w);
	fill("chat", 1, 10, &w);
	o.killed = 4;
	o.down_us = 1;
	cr_assert_eq(sim_routing_run(&o, &result, &error), SL_EINVAL);
	cr_assert(strstr(error.text, "cannot be killed"), "%s", error.text);
	sim_workload_free(&w);
}

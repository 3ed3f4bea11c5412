/* SPDX-License-Identifier: Apache-2.0 */
/* test_workload.c - recorded requests, what is said of wrong ones, and those that are made. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/sim/fleet.h"
#include "core/sim/workload.h"

static int mooncake(struct sim_workload *w, const char *text, sl_error *error)
{
	return sim_load_mooncake(w, "t.jsonl", text, strlen(text), error);
}

static int azure(struct sim_workload *w, const char *text, sl_error *error)
{
	char copy[1000];
	strcpy(copy, text);
	return sim_load_azure(w, "t.csv", copy, strlen(copy), error);
}

Test(workload, mooncake_blocks_are_pieces)
{
	struct sim_workload w = { 0 };
	sl_error error = { 0 };
	cr_assert_eq(mooncake(&w, "{\"timestamp\": 2000, \"input_length\": 1500, \"output_length\": 7, \"hash_ids\": [1, 2, 9]}\n\n"
	                          "{\"timestamp\": 1000, \"input_length\": 1024, \"output_length\": 0, \"hash_ids\": [1, 2]}\r\n",
	                      &error), SL_OK, "%s", error.text);
	cr_assert_eq(w.n, 2);
	cr_assert(w.requests[0].at_us == 0 && w.requests[1].at_us == 1000000, "by time, from 0 on");
	cr_assert(w.requests[0].input == 1024 && w.requests[0].output == 1);
	const struct sim_request *r = &w.requests[1];
	cr_assert(r->input == 1500 && r->output == 7 && r->n_pieces == 4);
	cr_assert(r->pieces[2].tokens == 1500 - 1024 && r->pieces[3].tokens == 7);
	uint64_t a[200], b[200];
	cr_assert_eq(sim_chain(w.requests[0].pieces, 2, 1, 16, a, 200), 64);
	cr_assert_eq(sim_chain(r->pieces, 3, 1, 16, b, 200), 93);
	cr_assert_eq(memcmp(a, b, 64 * sizeof *a), 0, "the same blocks have the same keys");
	sim_workload_free(&w);
}

Test(workload, says_where_a_trace_is_wrong)
{
	static const struct { const char *text, *says; } wrong[] = {
		{ "", "no request" },
		{ "nonsense\n", "t.jsonl:1: not a JSON object" },
		{ "\n[1]\n", "t.jsonl:2: not a JSON object" },
		{ "{\"timestamp\": -1}\n", "timestamp must be a number" },
		{ "{\"timestamp\": 1, \"input_length\": 0, \"output_length\": 1, \"hash_ids\": []}", "input_length" },
		{ "{\"timestamp\": 1, \"input_length\": 9e9, \"output_length\": 1, \"hash_ids\": []}", "input_length" },
		{ "{\"timestamp\": 1, \"input_length\": 5, \"hash_ids\": []}", "output_length" },
		{ "{\"timestamp\": 1, \"input_length\": 5, \"output_length\": 1}", "hash_ids must be an array" },
		{ "{\"timestamp\": 1, \"input_length\": 5, \"output_length\": 1, \"hash_ids\": [1, 2]}", "at most 1" },
		{ "{\"timestamp\": 1, \"input_length\": 5, \"output_length\": 1, \"hash_ids\": [\"x\"]}", "hash_ids[0]" },
	};
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct sim_workload w = { 0 };
		sl_error error = { 0 };
		cr_expect_eq(mooncake(&w, wrong[i].text, &error), SL_EINVAL);
		cr_expect(strstr(error.text, wrong[i].says), "%s: %s", wrong[i].text, error.text);
		sim_workload_free(&w);
	}
}

Test(workload, azure_times_are_read_to_the_microsecond)
{
	struct sim_workload w = { 0 };
	sl_error error = { 0 };
	cr_assert_eq(azure(&w, "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-30 23:59:59.5000000,10,2\n"
	                       "2023-12-01 00:00:00.7500010,20,0\n", &error), SL_OK, "%s", error.text);
	cr_assert_eq(w.requests[1].at_us, 1250001);
	cr_assert(w.requests[1].input == 20 && w.requests[1].output == 1);
	cr_assert_neq(w.requests[0].pieces[0].id, w.requests[1].pieces[0].id, "nothing is shared");
	struct sim_workload twice = { 0 };
	cr_assert(sim_workload_scaled(&w, 4, &twice));
	cr_assert_eq(twice.requests[1].at_us, 500000, "two requests at four a second");
	sim_workload_free(&twice);
	sim_workload_free(&w);
}

Test(workload, says_where_a_table_is_wrong)
{
	static const struct { const char *text, *says; } wrong[] = {
		{ "", "empty" },
		{ "TIMESTAMP,ContextTokens\n", "no column GeneratedTokens" },
		{ "TIMESTAMP,ContextTokens,GeneratedTokens\n", "no request" },
		{ "TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,1\n", "t.csv:2: TIMESTAMP" },
		{ "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-13-01 00:00:00,1,1\n", "t.csv:2: TIMESTAMP" },
		{ "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-12-01 00:00:00,1\n", "t.csv:2: GeneratedTokens is missing" },
		{ "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-12-01 00:00:00,-4,1\n", "t.csv:2: ContextTokens" },
	};
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct sim_workload w = { 0 };
		sl_error error = { 0 };
		cr_expect_eq(azure(&w, wrong[i].text, &error), SL_EINVAL);
		cr_expect(strstr(error.text, wrong[i].says), "%s: %s", wrong[i].text, error.text);
		sim_workload_free(&w);
	}
}

Test(workload, each_kind_makes_what_it_says)
{
	static const char *const names[] = { "shared", "shared:users=0,from=1", "hot", "long", "chat", "turns", "agents" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		struct sim_workload w = { 0 }, again = { 0 };
		sl_error error = { 0 };
		struct sim_recipe *recipe = sim_recipe_parse(names[i], &error);
		cr_assert(recipe, "%s: %s", names[i], error.text);
		cr_assert_eq(sim_recipe_make(recipe, 20, 100, 3, &w, &error), SL_OK);
		cr_assert_eq(sim_recipe_make(recipe, 20, 100, 3, &again, &error), SL_OK);
		cr_expect(w.n > 700 && w.n < 2800, "%s: %zu requests where about 2,000 should come", names[i], w.n);
		cr_expect_eq(w.n, again.n);
		for (size_t k = 0; k < w.n && k < again.n; k++) {
			cr_expect_eq(w.requests[k].at_us, again.requests[k].at_us, "the same seed makes the same");
			cr_expect_leq(k ? w.requests[k - 1].at_us : 0, w.requests[k].at_us);
		}
		sim_workload_free(&w);
		sim_workload_free(&again);
		sim_recipe_free(recipe);
	}
}

Test(workload, knows_what_a_kind_has_not)
{
	sl_error error = { 0 };
	cr_assert_null(sim_recipe_parse("shard", &error));
	cr_assert(strstr(error.text, "shared, hot"), "%s", error.text);
	cr_assert_null(sim_recipe_parse("shared:group=3", &error));
	cr_assert(strstr(error.text, "do you mean groups"), "%s", error.text);
	cr_assert_null(sim_recipe_parse("shared:groups=none", &error));
	cr_assert_null(sim_recipe_parse("shared:groups", &error));
	cr_assert_null(sim_recipe_parse("hot:share=2", &error));
	cr_assert(strstr(error.text, "from 0 to 1"), "%s", error.text);
}

Test(fleet, is_read_from_names_and_tables)
{
	struct sim_fleet f = { 0 };
	sl_error error = { 0 };
	cr_assert_eq(sim_fleet_parse(&f, "2*qwen3-8b-h100,llama3-8b-a100", &error), SL_OK);
	cr_assert(f.n == 3 && f.n_kinds == 2 && f.of[2] == 1);
	f = (struct sim_fleet){ 0 };
	cr_assert_neq(sim_fleet_parse(&f, "2*qwen3-8b-h10", &error), SL_OK);
	cr_assert(strstr(error.text, "qwen3-8b-h100"), "%s", error.text);
	cr_assert_neq(sim_fleet_parse(&f, "0*qwen3-8b-h100", &error), SL_OK);
	cr_assert_neq(sim_fleet_parse(&f, "", &error), SL_OK);
	char text[] = "name,count,base_ms,prefill_us,context_ns,kv_tokens,step_tokens\nx,3,7,30,50,100000,2048\n";
	f = (struct sim_fleet){ 0 };
	cr_assert_eq(sim_fleet_load(&f, "e.csv", text, strlen(text), &error), SL_OK, "%s", error.text);
	cr_assert(f.n == 3 && f.kinds[0].step_tokens == 2048 && f.kinds[0].prefill == 0.03);
	char bad[] = "name,count,base_ms,prefill_us,context_ns,kv_tokens\nx,3,7,30,50,10\n";
	f = (struct sim_fleet){ 0 };
	cr_assert_neq(sim_fleet_load(&f, "e.csv", bad, strlen(bad), &error), SL_OK);
	cr_assert(strstr(error.text, "e.csv:2: kv_tokens"), "%s", error.text);
}

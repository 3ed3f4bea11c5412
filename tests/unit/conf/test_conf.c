/* SPDX-License-Identifier: Apache-2.0 */
/* test_conf.c - what sluice.lua may say, and what is said about what it may not. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/str.h"
#include "fixture.h"

TestSuite(conf, .init = fixture_open, .fini = fixture_close);

Test(conf, no_file_means_safe_defaults)
{
	struct buf report = { 0 };
	struct conf *conf = conf_load(NULL, &report);
	cr_assert_not_null(conf);
	cr_expect_eq(report.len, 0u);
	cr_expect_null(conf->file);
	cr_assert_eq(conf->n_listen, 1u);
	cr_expect_str_eq(conf->listen[0].host, "127.0.0.1:8080");
	cr_expect_null(conf->metrics);
	cr_expect(conf->durable);
	cr_expect(conf->start_agent);
	cr_expect_geq(conf->workers, 1);
	cr_expect_not(conf->policy_fail_open, "a failing policy denies");
	cr_expect_str_eq(conf->currency, "EUR");
	cr_expect_eq(conf->n_models, 0u);
	const struct conf_tenant *tenant = conf_tenant(conf, STR("default"));
	cr_assert_not_null(tenant);
	cr_expect_not(tenant->operators);
	cr_assert_not_null(conf_tier(conf, STR("default")));
	cr_expect_eq(conf_tier(conf, STR("default"))->n_limits, 0u);
	cr_assert_not_null(conf_queue(conf, STR("default")));
	cr_assert_eq(conf->n_plugins, 5u);
	for (size_t i = 0; i < conf->n_plugins; i++)
		cr_expect_str_neq(conf->plugins[i].kind, "backend", "no devices unless somebody says so");
	conf_unref(conf);
	buf_free(&report);
}

Test(conf, settings_reach_their_fields)
{
	struct conf *c = fixture_good(
		"listen \"127.0.0.1:1\" listen(\"unix:/run/x\")\n"
		"control \"/c\" metrics \"127.0.0.1:2\" state \"/s\" workers(3) durability \"async\" currency \"USD\" drain \"1m\"\n"
		"agent { socket = \"/a\", start = false }\n"
		"policy { on_error = \"default\", instructions = 20000, memory = \"4M\" }\n"
		"limits { body = \"1M\", connections = 7, header = \"1s\", body_time = \"2s\", idle = \"3s\", write = \"4s\" }\n"
		"retry { ratio = 0.25 } log { level = \"debug\", requests = false } journal { segment = \"2M\", gap = \"250us\" }\n");
	cr_expect_eq(c->n_listen, 2u);
	cr_expect_str_eq(c->control, "/c");
	cr_expect_str_eq(c->metrics->host, "127.0.0.1:2");
	cr_expect_str_eq(c->state, "/s");
	cr_expect_eq(c->workers, 3);
	cr_expect_not(c->durable);
	cr_expect_str_eq(c->currency, "USD");
	cr_expect_eq(c->drain_ms, 60000);
	cr_expect_str_eq(c->agent, "/a");
	cr_expect_not(c->start_agent);
	cr_expect(c->policy_fail_open);
	cr_expect_eq(c->policy_instructions, 20000);
	cr_expect_eq(c->policy_memory, 4 << 20);
	cr_expect_eq(c->body_max, 1u << 20);
	cr_expect_eq(c->connections_max, 7);
	cr_expect_eq(c->header_ms, 1000);
	cr_expect_eq(c->body_ms, 2000);
	cr_expect_eq(c->idle_ms, 3000);
	cr_expect_eq(c->write_ms, 4000);
	cr_expect_float_eq(c->retry_ratio, 0.25, 1e-12);
	cr_expect_eq(c->log_level, 3);
	cr_expect_not(c->log_requests);
	cr_expect_eq(c->journal_bytes, 2 << 20);
	cr_expect_eq(c->commit_gap_us, 250);
	conf_unref(c);
}

Test(conf, a_model_in_full)
{
	struct conf *c = fixture_good(
		"queue \"gpu\" { quota = 4, priority = 2, time = \"1h\", time_max = \"2h\" }\n"
		"model \"llama-8b\" {\n"
		"  engine = \"vllm\", weights = \"/srv/w\", served_name = \"w\", aliases = { \"gpt-4\", \"small\" },\n"
		"  gpus = 2, gpu_kind = \"H100\", memory = \"40G\", queue = \"gpu\", replicas = { min = 1, max = 4 },\n"
		"  concurrency = 16, waiting = 9, wait = \"5s\", idle = \"6s\", start = \"7s\", drain = \"8s\", first_byte = \"9s\",\n"
		"  silence = \"10s\", max_output = 11, context = 4096,\n"
		"  price = { input = 0.10, cached = \"0.02\", output = 1 }, options = { args = { \"-x\" }, deep = { a = 1.5, b = true } } }\n");
	cr_assert_eq(c->n_models, 1u);
	const struct conf_model *m = conf_model(c, STR("llama-8b"));
	cr_assert_eq(m, c->models);
	cr_expect_eq(conf_model(c, STR("gpt-4")), m, "an alias leads to the model");
	cr_expect_null(conf_model(c, STR("gpt-")));
	cr_expect_null(conf_model(c, STR("gpt-44")));
	cr_expect_str_eq(m->engine, "vllm");
	cr_expect_str_eq(m->served_name, "w");
	cr_expect_eq(m->gpus, 2);
	cr_expect_str_eq(m->gpu_kind, "H100");
	cr_expect_eq(m->gpu_memory, 40ll << 30);
	cr_expect_str_eq(m->queue, "gpu");
	cr_expect_eq(m->replicas_min, 1);
	cr_expect_eq(m->replicas_max, 4);
	cr_expect_eq(m->concurrency, 16);
	cr_expect_eq(m->waiting_max, 9);
	const int64_t times[] = { m->wait_ms, m->idle_ms, m->start_ms, m->drain_ms, m->first_byte_ms, m->silence_ms };
	for (int i = 0; i < 6; i++)
		cr_expect_eq(times[i], (i + 5) * 1000);
	cr_expect_eq(m->max_output, 11);
	cr_expect_eq(m->context, 4096);
	cr_expect_eq(m->price.input, 100000);
	cr_expect_eq(m->price.cached, 20000);
	cr_expect_eq(m->price.output, 1000000);
	cr_expect_eq(m->place.line, 2);
	cr_expect_str_eq(m->place.file, "sluice.lua");
	cr_expect(json_is_true(json_object_get(json_object_get(m->options, "deep"), "b")));
	cr_expect_eq(conf_queue(c, STR("gpu"))->gpus, 4, "a quota is what it is owed ...");
	cr_expect_eq(conf_queue(c, STR("gpu"))->borrow, 0, "... and no more");
	cr_expect_eq(conf_queue(c, STR("gpu"))->time_max_ms, 7200000);
	cr_expect_not_null(conf_engine(c, STR("vllm")));
	conf_unref(c);
}

Test(conf, endpoints_need_no_engine)
{
	setenv("SLUICE_TEST_KEY", "sk-secret", 1);
	struct conf *c = fixture_good("model \"r\" { endpoints = { \"http://127.0.0.1:9000\", "
	                              "{ url = \"http://h:1/openai\", key = \"env:SLUICE_TEST_KEY\", concurrency = 3 } } }");
	const struct conf_model *m = c->models;
	cr_expect_str_eq(m->engine, "openai");
	cr_assert_eq(m->n_endpoints, 2u);
	cr_expect_null(m->endpoints[0].key);
	cr_expect_str_eq(m->endpoints[1].key, "sk-secret");
	cr_expect_eq(m->endpoints[1].concurrency, 3);
	cr_expect_eq(m->gpus, 0);
	json_t *json = conf_json(c);
	char *text = json_dumps(json, 0);
	cr_expect_null(strstr(text, "sk-secret"), "secrets are not shown");
	free(text);
	json_decref(json);
	conf_unref(c);
}

Test(conf, keys_are_never_shown)
{
	unsetenv("SLUICE_TEST_KEY");
	fixture_bad("model \"r\" { endpoints = { { url = \"http://h:1\", key = \"env:SLUICE_TEST_KEY\" } } }",
	            "sluice.lua:1: the environment has no variable 'SLUICE_TEST_KEY'", NULL);
	const char *report;
	struct conf *c = fixture_load("model \"r\" { endpoints = { { url = \"http://h:1\", key = \"sk-abcdef\" } } }", &report);
	cr_expect_null(c);
	cr_expect(strstr(report, "must not stand in this file"), "%s", report);
	cr_expect_null(strstr(report, "abcdef"), "%s", report);
	setenv("SLUICE_TEST_KEY", "two\nlines", 1);
	c = fixture_load("model \"r\" { endpoints = { { url = \"http://h:1\", key = \"env:SLUICE_TEST_KEY\" } } }", &report);
	cr_expect_null(c);
	cr_expect(strstr(report, "no header can carry"), "%s", report);
	cr_expect_null(strstr(report, "two"), "%s", report);
}

Test(conf, a_key_from_a_file)
{
	char text[512];
	fixture_write("key", "sk-from-file\n");
	chmod(fixture_path("key"), 0600);
	snprintf(text, sizeof text, "model \"r\" { endpoints = { { url = \"http://h:1\", key = \"file:%s\" } } }", fixture_path("key"));
	struct conf *c = fixture_good(text);
	cr_expect_str_eq(c->models[0].endpoints[0].key, "sk-from-file");
	conf_unref(c);
	fixture_bad("model \"r\" { endpoints = { { url = \"http://h:1\", key = \"file:/nonexistent/key\" } } }",
	            "cannot read the key of model \"r\": /nonexistent/key", NULL);
}

Test(conf, prices_are_exact)
{
	static const struct { const char *lua; int64_t micro; } good[] = {
		{ "0", 0 }, { "0.1", 100000 }, { "0.10", 100000 }, { "0.3", 300000 }, { "0.000001", 1 }, { "\"0.000001\"", 1 },
		{ "15", 15000000 }, { "1.15", 1150000 }, { "2.675", 2675000 }, { "\"12.345678\"", 12345678 }, { "75.5", 75500000 },
		{ "1e3", 1000000000 },
	};
	static const char *const bad[] = { "0.0000001", "\"0.0000001\"", "-1", "\"-1\"", "1e300", "0/0", "1/0", "\"abc\"", "true",
		"{}", "0.1 + 0.2", "\"1e3\"", "\"\"" };
	char text[256];
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		snprintf(text, sizeof text, "model \"r\" { endpoints = { \"http://h:1\" }, price = { output = %s } }", good[i].lua);
		struct conf *c = fixture_good(text);
		cr_expect_eq(c->models[0].price.output, good[i].micro, "%s is %lld", good[i].lua, (long long) c->models[0].price.output);
		conf_unref(c);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		snprintf(text, sizeof text, "model \"r\" { endpoints = { \"http://h:1\" }, price = { output = %s } }", bad[i]);
		fixture_bad(text, "field 'output' in model \"r\" must be a price", NULL);
	}
	fixture_bad("model \"r\" { endpoints = { \"http://h:1\" }, price = { outptu = 1 } }",
	            "unknown field 'outptu' in price of model \"r\": did you mean 'output'?", NULL);
	fixture_bad("model \"r\" { endpoints = { \"http://h:1\" }, price = 3 }", "must be a table", NULL);
}

Test(conf, cached_tokens_cost_as_input_unless_said)
{
	struct conf *c = fixture_good("model \"r\" { endpoints = { \"http://h:1\" }, price = { input = 2 } }");
	cr_expect_eq(c->models[0].price.cached, 2000000);
	conf_unref(c);
	c = fixture_good("model \"r\" { endpoints = { \"http://h:1\" }, price = { input = 2, cached = 0 } }");
	cr_expect_eq(c->models[0].price.cached, 0);
	conf_unref(c);
}

/* The price of a second is the nearest trillionth: it is what leases pay. */
Test(conf, prices_of_devices)
{
	struct conf *c = fixture_good("kind \"h100-80g\" { gpu_hour = 2.50 }\nkind \"default\" { gpu_hour = \"0.36\" }\n"
	                              "kind \"half\" { gpu_hour = 0.000001 }\ncharge_every \"5m\"\norganisation \"Example\"");
	cr_expect_eq(conf_gpu_second(c, STR("h100-80g")), 694444444);
	cr_expect_eq(conf_gpu_second(c, STR("anything")), 100000000);
	cr_expect_eq(conf_gpu_second(c, STR("half")), 278, "277.8");
	cr_expect_eq(c->charge_ms, 300000);
	cr_expect_str_eq(c->organisation, "Example");
	json_t *json = conf_json(c), *kind = json_array_get(json_object_get(json, "kinds"), 0);
	cr_expect_str_eq(json_string_value(json_object_get(kind, "gpu_hour")), "2.50");
	cr_expect_str_eq(json_string_value(json_object_get(kind, "gpu_second")), "0.000694444444");
	json_decref(json);
	conf_unref(c);
	c = fixture_good("workers(1)");
	cr_expect_eq(conf_gpu_second(c, STR("h100-80g")), 0, "what nobody has declared costs nothing");
	cr_expect_eq(c->charge_ms, 3600000);
	conf_unref(c);
	fixture_bad("kind \"a\" { }", "gpu_hour", NULL);
	fixture_bad("kind \"a\" { gpu_hour = -1 }", "field 'gpu_hour' in kind \"a\" must be a price", NULL);
	fixture_bad("kind \"a\" { gpu_hour = 1000001 }", "must be a price", NULL);
	fixture_bad("kind \"a\" { gpu_hour = 1 }\nkind \"a\" { gpu_hour = 2 }", "already", NULL);
	fixture_bad("charge_every \"10ms\"", "charge_every", NULL);
}

Test(conf, limits_of_tiers)
{
	struct conf *c = fixture_good(
		"tier \"free\" { requests = { { 10, per = \"minute\" }, { 100, per = \"day\", scope = \"tenant\" } },\n"
		"  tokens = { 20000, per = \"90s\", scope = \"user\" }, cost = { \"1.50\", per = \"month\", warn = \"80%\" }, concurrency = 4,\n"
		"  output_tokens = { 5, per = \"total\", scope = \"model\", warn = \"61%\" }, priority = -3, weight = 2, max_output = 9 }");
	const struct conf_tier *t = conf_tier(c, STR("free"));
	cr_assert_eq(t->n_limits, 6u);
	cr_expect_eq(t->priority, -3);
	cr_expect_eq(t->weight, 2);
	cr_expect_eq(t->max_output, 9);
	cr_expect_null(t->models);
	const struct quota_limit want[] = {
		{ "key", "10 requests per minute of tier free", QUOTA_REQUESTS, QUOTA_SLIDING, 60000, 10, 0 },
		{ "tenant", "100 requests per day of tier free", QUOTA_REQUESTS, QUOTA_DAY, 0, 100, 0 },
		{ "user", "20000 tokens per 90s of tier free", QUOTA_TOKENS, QUOTA_SLIDING, 90000, 20000, 0 },
		{ "model", "5 output_tokens in total of tier free", QUOTA_OUTPUT_TOKENS, QUOTA_TOTAL, 0, 5, 4 },
		{ "key", "1.50 cost per month of tier free", QUOTA_COST, QUOTA_MONTH, 0, 1500000000000, 1200000000000 },
		{ "key", "4 requests at once of tier free", QUOTA_CONCURRENCY, QUOTA_NONE, 0, 4, 0 },
	};
	for (size_t i = 0; i < 6; i++) {
		cr_expect_str_eq(t->limits[i].scope, want[i].scope, "limit %zu", i);
		cr_expect_str_eq(t->limits[i].name, want[i].name, "limit %zu", i);
		cr_expect_eq(t->limits[i].metric, want[i].metric, "limit %zu", i);
		cr_expect_eq(t->limits[i].window, want[i].window, "limit %zu", i);
		cr_expect_eq(t->limits[i].window_ms, want[i].window_ms, "limit %zu", i);
		cr_expect_eq(t->limits[i].amount, want[i].amount, "limit %zu", i);
		cr_expect_eq(t->limits[i].warn, want[i].warn, "limit %zu", i);
	}
	conf_unref(c);
}

Test(conf, wrong_limits)
{
	static const char *const cases[][2] = {
		{ "tokens = 5", "needs per" },
		{ "tokens = { 5 }", "needs per" },
		{ "tokens = { per = \"minute\" }", "the amount must be a whole number" },
		{ "tokens = { -5, per = \"minute\" }", "not negative" },
		{ "tokens = { 0.5, per = \"minute\" }", "whole number" },
		{ "tokens = { 0/0, per = \"minute\" }", "whole number" },
		{ "tokens = { 5, per = \"fortnight\" }", "not fortnight" },
		{ "tokens = { 5, per = \"10ms\" }", "1s to 366d" },
		{ "tokens = { 5, pr = \"minute\" }", "did you mean 'per'?" },
		{ "tokens = { 5, per = \"minute\", scope = \"tenent\" }", "not tenent" },
		{ "tokens = { 5, per = 60 }", "per must be text" },
		{ "tokens = { 5, 6, per = \"minute\" }", "more than one amount" },
		{ "tokens = { 5, per = \"day\", warn = \"0%\" }", "warn must be a part of the amount" },
		{ "tokens = { 5, per = \"day\", warn = \"101%\" }", "warn must be a part of the amount" },
		{ "tokens = { 5, per = \"day\", warn = \"80\" }", "warn must be a part of the amount" },
		{ "tokens = { 5, per = \"day\", warn = 80 }", "warn must be text" },
		{ "concurrency = { 5, warn = \"80%\" }", "concurrency has no 'warn'" },
		{ "concurrency = { 5, per = \"minute\" }", "has no 'per'" },
		{ "cost = { 10000000, per = \"day\" }", "less money" },
		{ "cost = { 0.0000001, per = \"day\" }", "at most 6 decimals" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char text[256];
		snprintf(text, sizeof text, "\ntier \"t\" {\n %s }", cases[i][0]);
		fixture_bad(text, "sluice.lua:3: field '", cases[i][1], NULL);
	}
}

Test(conf, wrong_things_are_named_with_their_line)
{
	static const char *const cases[][2] = {
		{ "lisen \"127.0.0.1:1\"", "sluice.lua:1: 'lisen' is not defined: did you mean 'listen'?" },
		{ "listen(5)", "sluice.lua:1: 'listen' must be an address" },
		{ "listen \"nonsense\"", "sluice.lua:1: listen \"nonsense\": not an address" },
		{ "workers(0)", "sluice.lua:1: 'workers' is out of range: 0 (1 to 256)" },
		{ "workers(1.5)", "must be a whole number, not 1.5" },
		{ "workers()", "workers takes one value" },
		{ "drain \"abc\"", "must be a duration" },
		{ "durability \"hold\"", "must be one of \"async\", \"held\": did you mean \"held\"?" },
		{ "currency \"euro\"", "three capital letters" },
		{ "log { level = \"inf\" }", "did you mean \"info\"?" },
		{ "limits { bodi = 1 }", "unknown field 'bodi' in limits: did you mean 'body'?" },
		{ "limits { body = \"2T\" }", "out of range" },
		{ "limits \"x\"", "limits takes a table" },
		{ "retry { ratio = 2 }", "out of range" },
		{ "retry { ratio = 0/0 }", "out of range" },
		{ "journal { gap = \"10x\" }", "a short time" },
		{ "workers = 3", "global 'workers' cannot be set here" },
		{ "x = 3", "global 'x' cannot be set here: write 'local x'" },
		{ "model \"m\" {\n engine = \"vllm\",\n gpu = 1 }", "sluice.lua:3: unknown field 'gpu' in model \"m\": did you mean 'gpus'?" },
		{ "model \"m\" { engine = \"vlm\" }", "engine 'vlm' of model \"m\" has no file: did you mean 'vllm'?" },
		{ "model \"m\" { engine = \"../x\" }", "engine '../x'" },
		{ "model \"m\"", "model \"m\" needs an engine" },
		{ "model \"m\" { engine = \"openai\" }", "needs endpoints" },
		{ "model \"m m\" { engine = \"vllm\" }", "a name has at most 63" },
		{ "model(7)", "sluice.lua:1: model takes a name and a table" },
		{ "model \"m\" { 5, engine = \"vllm\" }", "has a value without a field name" },
		{ "model \"m\" { engine = \"vllm\" }\nmodel \"m\" { engine = \"vllm\" }", "sluice.lua:2: model \"m\" stands at sluice.lua:1 already" },
		{ "local f = model \"m\" f { engine = \"vllm\" } f { engine = \"vllm\" }", "has a second table" },
		{ "model \"m\" { engine = \"vllm\", aliases = { \"m\" } }", "is a name of model \"m\" already" },
		{ "model \"m\" { engine = \"vllm\", aliases = { \"a\" } } model \"n\" { engine = \"vllm\", aliases = { \"a\" } }", "alias 'a' of model \"n\"" },
		{ "model \"m\" { engine = \"vllm\", replicas = { min = 3, max = 2 } }", "replicas.min is above" },
		{ "model \"m\" { engine = \"vllm\", replicas = { mn = 3 } }", "did you mean 'min'?" },
		{ "model \"m\" { engine = \"vllm\", replicas = -1 }", "must be a number up to 1024" },
		{ "model \"m\" { engine = \"vllm\", queue = \"gpu\" } queue \"gpus\" {}", "queue 'gpu' of model \"m\" is not declared: did you mean 'gpus'?" },
		{ "model \"m\" { engine = \"vllm\", options = { f = print } }", "a function" },
		{ "local t = {} t.t = t model \"m\" { engine = \"vllm\", options = t }", "nested too deeply" },
		{ "model \"m\" { engine = \"vllm\", options = { 1, 2 } }", "this is a list" },
		{ "model \"m\" { engine = \"vllm\", options = { a = { 1, b = 2 } } }", "mixes a list" },
		{ "model \"m\" { engine = \"vllm\", options = { a = 0/0 } }", "not finite" },
		{ "model \"m\" { engine = \"vllm\", weights = \"a\\0b\" }", "must be text" },
		{ "model \"m\" { engine = \"vllm\", context = 10, max_output = 11 }", "max_output is above context" },
		{ "model \"m\" { endpoints = {} }", "must be a list" },
		{ "model \"m\" { endpoints = { 5 } }", "a list of URLs" },
		{ "model \"m\" { endpoints = { { ulr = \"x\" } } }", "did you mean 'url'?" },
		{ "model \"m\" { endpoints = { { concurrency = 2 } } }", "needs the field 'url'" },
		{ "model \"m\" { endpoints = { \"https://x\" } }", "https is not spoken here" },
		{ "tier \"a/b\" {}", "a name has at most 63" },
		{ "tier \"t\" { models = { \"nope\" } }", "model 'nope' of tier \"t\" is not declared" },
		{ "tier \"t\" { models = \"m\" }", "must be a list of names" },
		{ "tier \"t\" { priority = 1e9 }", "out of range" },
		{ "tenant \"t\" { tier = \"fre\" } tier \"free\" {}", "tier 'fre' of tenant \"t\" is not declared: did you mean 'free'?" },
		{ "tenant \"t\" { queues = { \"q\" } }", "queue 'q' of tenant \"t\" is not declared" },
		{ "tenant \"t\" { users = { string.rep(\"x\", 64) } }", "at most 63 bytes" },
		{ "tenant \"t\" { operators = 1 }", "must be true or false, not 1" },
		{ "queue \"q\" { time = \"2h\", time_max = \"1h\" }", "time is above time_max" },
		{ "plugin \"shceduler/fifo\" {}", "there is no kind 'shceduler': did you mean 'scheduler'?" },
		{ "plugin \"fifo\" {}", "plugin takes \"kind/name\"" },
		{ "plugin \"auth/keys\" { 1, 2 }", "must be a table of named fields" },
		{ "policy \"none.lua\"", "sluice.lua:1: policy: cannot read" },
		{ "policy { on_error = \"allow\" }", "must be one of \"deny\", \"default\"" },
		{ "policy { instructions = 5 }", "out of range" },
		{ "include \"none.lua\"", "sluice.lua:1: include: cannot read" },
		{ "model \"m\" {", "sluice.lua:1:" },
		{ "error(\"mine\")", "sluice.lua:1: mine" },
		{ "os.execute(\"true\")", "sluice.lua:1: blocked function: os.execute" },
		{ "while true do end", "sluice.lua:1: instruction budget" },
		{ "local t = {} for i = 1, 1e9 do t[i] = { i } end", "memory limit" },
		{ "for i = 1, 1e6 do tier(\"t\" .. i) {} end", "more than 1024 declarations" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		fixture_bad(cases[i][0], cases[i][1], NULL);
}

Test(conf, all_findings_come_at_once)
{
	fixture_bad("workers(0)\nmodel \"m\" { engine = \"vllm\", gpu = 1, idle = \"x\" }\ntenant \"t\" { tier = \"nope\" }\n",
	            "sluice.lua:1: ", "'gpu'", "'idle'", "sluice.lua:3: tier 'nope'", NULL);
	struct buf many = { 0 };
	const char *report;
	for (int i = 0; i < 500; i++)
		buf_puts(&many, "workers(0)\n");
	buf_put(&many, "", 1);
	cr_expect_null(fixture_load(many.data, &report));
	cr_expect(strstr(report, "more is not shown"));
	buf_free(&many);
}

Test(conf, includes_are_read_in_order)
{
	mkdir(fixture_path("conf.d"), 0755);
	fixture_write("conf.d/20.lua", "tenant \"b\" {}");
	fixture_write("conf.d/10.lua", "tenant \"a\" {}\n");
	fixture_write("conf.d/30.txt", "nonsense");
	struct conf *c = fixture_good("include \"conf.d/*.lua\"");
	cr_assert_eq(c->n_tenants, 3u);
	cr_expect_str_eq(c->tenants[0].name, "a");
	cr_expect_str_eq(c->tenants[1].name, "b");
	cr_expect_str_eq(c->tenants[1].place.file, "conf.d/20.lua");
	conf_unref(c);
	fixture_write("conf.d/10.lua", "\n\ntenant \"a\" { teir = 1 }\n");
	fixture_bad("include \"conf.d/*.lua\"", "conf.d/10.lua:3: unknown field 'teir' in tenant \"a\": did you mean 'tier'?", NULL);
	fixture_write("conf.d/10.lua", "x = = 1");
	fixture_bad("include \"conf.d/*.lua\"", "conf.d/10.lua:1:", NULL);
	fixture_write("conf.d/10.lua", "include \"conf.d/10.lua\"");
	fixture_bad("include \"conf.d/10.lua\"", "conf.d/10.lua:1: include \"conf.d/10.lua\": this file is read already", NULL);
	fixture_write("conf.d/10.lua", "include \"sluice.lua\"");
	fixture_bad("include \"conf.d/10.lua\"", "read already", NULL);
}

/* One auth plugin in the place of the default ones may lock out whoever had come in by these. */
Test(conf, nobody_but_through_a_foreign_auth_plugin_is_a_warning)
{
	static const char words[] = "no declared plugin knows local users or API keys";
	static const struct {
		const char *text;
		bool warned;
	} cases[] = {
		{ "plugin \"auth/office\" {}", true },
		{ "plugin \"auth/office\" {} plugin \"auth/monkeys\" {}", true },
		{ "plugin \"auth/keys.so\" {}", true },
		{ "plugin \"auth/office\" {} plugin \"auth/keys\" {}", false },
		{ "plugin \"auth/peercred\" {} plugin \"auth/office\" {}", false },
		{ "plugin \"auth/office\" {} plugin \"auth//opt/site/keys.so\" {}", false },
		{ "plugin \"scheduler/fair\" {}", false },
		{ "workers(1)", false },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *report;
		struct conf *c = fixture_load(cases[i].text, &report);
		cr_assert(c, "%s: %s", cases[i].text, report);
		cr_expect_eq(strstr(report, words) != NULL, cases[i].warned, "%s: %s", cases[i].text, report);
		if (i == 0)
			cr_expect_str_eq(report, "sluice.lua:1: warning: no declared plugin knows local users or API keys: nobody gets in "
			                 "but through auth/office; to admit them too, declare auth/peercred and auth/keys below\n");
		conf_unref(c);
	}
}

Test(conf, a_pattern_without_a_file_is_a_warning)
{
	const char *report;
	struct conf *c = fixture_load("include \"conf.d/*.lua\"", &report);
	cr_assert_not_null(c);
	cr_expect(strstr(report, "sluice.lua:1: warning: include \"conf.d/*.lua\": no file matches"), "%s", report);
	conf_unref(c);
}

static void refused_file(const char *path, const char *words)
{
	struct buf report = { 0 };
	struct conf *c = conf_load(path, &report);
	cr_expect_null(c, "%s", path);
	buf_put(&report, "", 1);
	cr_expect(strstr(report.data, words) && strstr(report.data, path), "%s: %s", words, report.data);
	buf_free(&report);
}

Test(conf, files_that_cannot_be_trusted)
{
	char path[256];
	str_copy(path, sizeof path, str_of(fixture_path("none.lua")));
	refused_file(path, "No such file");
	str_copy(path, sizeof path, str_of(fixture_path("dir")));
	mkdir(path, 0755);
	refused_file(path, "folder");
	str_copy(path, sizeof path, str_of(fixture_write("empty.lua", "")));
	refused_file(path, "empty");
	str_copy(path, sizeof path, str_of(fixture_write("w.lua", "workers(1)")));
	chmod(path, 0666);
	refused_file(path, "others can write");
}

Test(conf, the_id_is_of_all_texts)
{
	char first[16];
	fixture_write("policy.lua", "function admit() end");
	struct conf *c = fixture_good("policy \"policy.lua\"");
	cr_expect_eq(strlen(c->id), 8u);
	strcpy(first, c->id);
	cr_expect(str_eq(c->policy_text, STR("function admit() end")));
	conf_unref(c);
	c = fixture_good("policy \"policy.lua\"");
	cr_expect_str_eq(c->id, first, "the same texts");
	conf_unref(c);
	fixture_write("policy.lua", "function admit() return nil end");
	c = fixture_good("policy \"policy.lua\"");
	cr_expect_str_neq(c->id, first, "another policy");
	conf_unref(c);
}

Test(conf, plugins)
{
	const char *report;
	struct conf *c = fixture_load("plugin \"scheduler/fifo\" { depth = 3, list = { 1, 2 }, empty = {}, optional = true }\n"
	                              "plugin \"backend/sim\"\nplugin \"auth//opt/x.so\" {}", &report);
	cr_assert(c, "%s", report);
	cr_expect_str_eq(c->plugins[0].kind, "scheduler");
	cr_expect_str_eq(c->plugins[0].name, "fifo");
	cr_expect(c->plugins[0].optional);
	cr_expect_null(json_object_get(c->plugins[0].options, "optional"), "that one is ours");
	cr_expect_eq(json_integer_value(json_object_get(c->plugins[0].options, "depth")), 3);
	cr_expect_eq(json_array_size(json_object_get(c->plugins[0].options, "list")), 2u);
	cr_expect(json_is_object(json_object_get(c->plugins[0].options, "empty")));
	cr_expect_eq(c->plugins[1].place.line, 2);
	cr_expect_str_eq(c->plugins[2].name, "/opt/x.so");
	int schedulers = 0, auths = 0, stores = 0;
	for (size_t i = 0; i < c->n_plugins; i++) {
		schedulers += strcmp(c->plugins[i].kind, "scheduler") == 0;
		auths += strcmp(c->plugins[i].kind, "auth") == 0;
		stores += strcmp(c->plugins[i].kind, "store") == 0;
	}
	cr_expect_eq(schedulers, 1);
	cr_expect_eq(auths, 1, "a declared kind has no defaults beside it");
	cr_expect_eq(stores, 1);
	conf_unref(c);
}

Test(conf, users_may_have_any_name)
{
	struct conf *c = fixture_good("tenant \"t\" { users = { \"dana@example.org\", \"EXAMPLE\\\\eve\" } }");
	cr_assert_eq(c->tenants[0].n_users, 2u);
	cr_expect_str_eq(c->tenants[0].users[1], "EXAMPLE\\eve");
	conf_unref(c);
}

Test(conf, snapshots_are_counted)
{
	struct conf *c = fixture_good("workers(1)");
	struct conf *again = conf_ref(c);
	conf_unref(c);
	cr_expect_eq(again->workers, 1, "still there");
	conf_unref(again);
	conf_unref(NULL);
}

Test(conf, queues_and_cohorts)
{
	struct conf *c = fixture_good("cohort \"site\" { borrow = 2 } cohort \"lab\" { parent = \"site\", gpus = 1, lend = 0 }\n"
	                              "queue \"a\" { gpus = 6, lend = 4, cohort = \"lab\", min_run = \"90s\", preemptible = true }\n"
	                              "queue \"b\" { gpus = 2, borrow = 6, weight = 3, per_user = 1, reclaim = false }\n");
	const struct conf_queue *a = conf_queue(c, STR("a")), *b = conf_queue(c, STR("b"));
	cr_assert_eq(c->n_cohorts, 2);
	cr_expect_str_eq(c->cohorts[1].parent, "site");
	cr_expect_eq(c->cohorts[0].borrow, 2);
	cr_expect_eq(c->cohorts[0].lend, -1);
	cr_expect_eq(c->cohorts[1].gpus, 1);
	cr_expect(a->gpus == 6 && a->borrow == -1 && a->lend == 4 && a->min_run_ms == 90000 && a->preemptible && a->reclaim);
	cr_expect(b->gpus == 2 && b->borrow == 6 && b->weight == 3 && b->per_user == 1 && !b->reclaim && !b->preemptible);
	cr_expect_str_eq(a->cohort, "lab");
	cr_expect_null(b->cohort);
	conf_unref(c);
}

Test(conf, queues_and_cohorts_that_make_no_sense)
{
	static const struct { const char *text, *says; } wrong[] = {
		{ "queue \"a\" { cohort = \"sit\" } cohort \"site\" {}", "cohort 'sit' of queue \"a\" is not declared: did you mean 'site'?" },
		{ "cohort \"a\" { parent = \"b\" } cohort \"b\" { parent = \"a\" }", "is its own parent" },
		{ "cohort \"a\" { parent = \"a\" }", "is its own parent" },
		{ "queue \"a\" { quota = 3, gpus = 2 }", "quota is short for gpus = 3, borrow = 0" },
		{ "queue \"a\" { gpus = 2, lend = 3 }", "lend is above gpus" },
		{ "queue \"a\" { weight = 0 }", "weight" },
	};
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		fixture_bad(wrong[i].text, wrong[i].says, NULL);
}

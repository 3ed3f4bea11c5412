/* SPDX-License-Identifier: Apache-2.0 */
/* test_engine.c - the engine files that come with sluice, and those of a site. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/str.h"
#include "fixture.h"

TestSuite(engine, .init = fixture_open, .fini = fixture_close);

/* The command as one line, with its environment. */
static void command_is(const char *model_fields, const char *listen, const char *want)
{
	char text[512], line[1024] = "", *end = line;
	snprintf(text, sizeof text, "model \"m\" { %s }", model_fields);
	struct conf *c = fixture_good(text);
	json_t *argv = NULL, *env = NULL, *item;
	sl_error error = { 0 };
	size_t i;
	const char *key;
	int rc = conf_engine_command(c, c->models, "m/r1", listen, &argv, &env, &error);
	cr_assert_eq(rc, SL_OK, "%s: %s", model_fields, error.text);
	json_array_foreach(argv, i, item)
		end += snprintf(end, sizeof line - (size_t) (end - line), "%s%s", i ? " " : "", json_string_value(item));
	json_object_foreach(env, key, item)
		end += snprintf(end, sizeof line - (size_t) (end - line), " | %s=%s", key, json_string_value(item));
	cr_expect_str_eq(line, want, "%s\n got %s\nwant %s", model_fields, line, want);
	json_decref(argv);
	json_decref(env);
	conf_unref(c);
}

Test(engine, llamacpp)
{
	command_is("engine = \"llamacpp\", weights = \"/w.gguf\"", "127.0.0.1:9101",
	           "llama-server -m /w.gguf --host 127.0.0.1 --port 9101 --alias m -np 8 --metrics");
	command_is("engine = \"llamacpp\", weights = \"/w.gguf\", concurrency = 2, context = 4096", "unix:/run/x.sock",
	           "llama-server -m /w.gguf --host /run/x.sock --alias m -np 2 -c 8192 --metrics");
	command_is("engine = \"llamacpp\", weights = \"/w.gguf\", served_name = \"s\", options = { unix_socket = false, "
	           "binary = { \"python3\", \"/w/wrapper.py\" }, args = { \"-t\", 1 }, parallel = 4, context = 16384 }",
	           "[::1]:9101",
	           "python3 /w/wrapper.py -m /w.gguf --host ::1 --port 9101 --alias s -np 4 -c 16384 --metrics -t 1");
}

Test(engine, vllm)
{
	command_is("engine = \"vllm\", weights = \"/w\", gpus = 2, context = 4096", "unix:/run/x.sock",
	           "vllm serve /w --uds /run/x.sock --served-model-name m --max-model-len 4096 --tensor-parallel-size 2 "
	           "--max-num-seqs 8 --enable-prompt-tokens-details | VLLM_NO_USAGE_STATS=1");
	command_is("engine = \"vllm\", weights = \"/w\", gpus = 1, options = { binary = \"/v/bin/vllm\", args = { \"--block-size\", 32 }, "
	           "env = { VLLM_NO_USAGE_STATS = 0 } }",
	           "127.0.0.1:9000",
	           "/v/bin/vllm serve /w --host 127.0.0.1 --port 9000 --served-model-name m --max-num-seqs 8 "
	           "--enable-prompt-tokens-details --block-size 32 | VLLM_NO_USAGE_STATS=0");
}

Test(engine, sglang)
{
	command_is("engine = \"sglang\", weights = \"/w\"", "127.0.0.1:30000",
	           "python3 -m sglang.launch_server --model-path /w --host 127.0.0.1 --port 30000 --served-model-name m "
	           "--max-running-requests 8 --enable-metrics --enable-cache-report");
}

static bool strips(const struct conf_engine *e, const char *field)
{
	for (const char **f = e->strip; *f; f++)
		if (strcmp(*f, field) == 0)
			return true;
	return false;
}

Test(engine, what_they_say_about_themselves)
{
	struct conf *c = fixture_good("model \"a\" { engine = \"vllm\", weights = \"w\" } model \"b\" { engine = \"sglang\", weights = \"w\" } "
	                              "model \"c\" { engine = \"llamacpp\", weights = \"w\" } model \"d\" { endpoints = { \"http://h:1\" } }");
	cr_assert_eq(c->n_engines, 4u);
	const struct conf_engine *vllm = conf_engine(c, STR("vllm")), *sglang = conf_engine(c, STR("sglang"));
	const struct conf_engine *llamacpp = conf_engine(c, STR("llamacpp")), *openai = conf_engine(c, STR("openai"));
	cr_expect(vllm->can_start && vllm->unix_socket && vllm->usage_option && vllm->usage_running);
	cr_expect(strips(vllm, "priority") && strips(vllm, "cache_salt"), "these are not for clients");
	cr_expect_str_eq(vllm->health_path, "/health");
	cr_expect_eq(vllm->full_status[0], 503);
	cr_expect(sglang->can_start && !sglang->unix_socket && sglang->usage_running);
	cr_expect_eq(sglang->keepalive_ms, 4000);
	cr_expect(llamacpp->can_start && llamacpp->unix_socket && llamacpp->close_after_stream && !llamacpp->usage_running);
	cr_expect_eq(llamacpp->full_status[1], 0);
	cr_expect(!openai->can_start && !openai->close_after_stream);
	cr_expect_eq(openai->doors, (uint32_t) CONF_DOORS_DEFAULT);
	cr_expect(vllm->doors & 1u << CONF_DOOR_MESSAGES && vllm->doors & 1u << CONF_DOOR_COUNT_TOKENS && vllm->doors & 1u << CONF_DOOR_SCORE);
	cr_expect(!(llamacpp->doors & 1u << CONF_DOOR_MESSAGES), "its streams may lack the prompt's tokens");
	cr_expect(llamacpp->doors & 1u << CONF_DOOR_RESPONSES && sglang->doors & 1u << CONF_DOOR_CHAT);
	cr_expect(strips(sglang, "rid") && !strips(sglang, "id_slot") && strips(llamacpp, "id_slot") && !strips(llamacpp, "rid"));
	for (size_t i = 0; i < c->n_engines; i++)
		for (const char **name = c->engines[i].strip; *name; name++)
			cr_expect(strips(openai, *name) || strcmp(*name, "grammar") == 0, "it may be any server: %s", *name);
	conf_unref(c);
}

static void command_fails(const char *engine_text, const char *fields, const char *words)
{
	char text[256];
	mkdir(fixture_path("engines"), 0755);
	fixture_write("engines/mine.lua", engine_text);
	snprintf(text, sizeof text, "model \"m\" { engine = \"mine\", %s }", fields);
	fixture_bad(text, "sluice.lua:1: engine 'mine' has no command for model \"m\": ", words, NULL);
}

Test(engine, a_site_brings_its_own)
{
	mkdir(fixture_path("engines"), 0755);
	fixture_write("engines/mine.lua", "return { summary = \"mine\", full = { 429 }, command = function(model, replica, listen) "
	                                  "return { \"serve\", replica, listen.host, listen.port, model.options.depth }, { A = \"b\" } end }");
	command_is("engine = \"mine\", options = { depth = 3 }", "127.0.0.1:77", "serve m/r1 127.0.0.1 77 3 | A=b");
}

Test(engine, commands_that_are_wrong)
{
	command_fails("return { command = function() return nil end }", "", "must return a list");
	command_fails("return { command = function() return {} end }", "", "list of texts");
	command_fails("return { command = function() return { {} } end }", "", "list of texts");
	command_fails("return { command = function() return { \"a\\0b\" } end }", "", "list of texts");
	command_fails("return { command = function() return { \"\" } end }", "", "list of texts");
	command_fails("return { command = function() return { \"a\" }, { [\"A=B\"] = \"c\" } end }", "", "second value");
	command_fails("return { command = function() return { \"a\" }, 5 end }", "", "second value");
	command_fails("return { command = function() while true do end end }", "", "instruction budget");
	command_fails("return { command = function(m) return { m.weights .. \"x\" } end }", "", "engines/mine.lua:1:");
}

Test(engine, fields_that_engines_require)
{
	static const char mine[] = "return { requires = { context = \"tokens of a slot\", [\"options.depth\"] = \"a number\" }, "
	                           "command = function() return { \"x\" } end }";
	fixture_bad("\nmodel \"m\" { engine = \"llamacpp\" }",
	            "sluice.lua:2: field 'weights' is missing in model \"m\": engine 'llamacpp' needs it, a GGUF file", NULL);
	fixture_bad("model \"m\" { engine = \"vllm\", weights = \"\" }", "field 'weights' is missing", "a folder or a name", NULL);
	fixture_bad("model \"m\" { engine = \"sglang\" }", "field 'weights' is missing", "engine 'sglang'", NULL);
	conf_unref(fixture_good("model \"m\" { engine = \"llamacpp\", endpoints = { \"http://h:1\" } }"));
	mkdir(fixture_path("engines"), 0755);
	fixture_write("engines/mine.lua", mine);
	fixture_bad("model \"m\" { engine = \"mine\" }", "field 'context' is missing in model \"m\": engine 'mine' needs it, tokens of a slot",
	            "field 'options.depth' is missing", NULL);
	conf_unref(fixture_good("model \"m\" { engine = \"mine\", context = 9, max_output = 1, options = { depth = false } }"));
}

Test(engine, options_of_the_wrong_type)
{
	fixture_bad("model \"m\" {\n engine = \"llamacpp\", weights = \"w\",\n options = { binary = 5 } }",
	            "sluice.lua:2: engine 'llamacpp' has no command for model \"m\": option binary: expected a text or a list of texts", NULL);
	fixture_bad("model \"m\" { engine = \"vllm\", weights = \"w\", options = { args = \"-x\" } }", "option args: expected a list", NULL);
	fixture_bad("model \"m\" { engine = \"sglang\", weights = \"w\", options = { args = { {} } } }", "list of texts", NULL);
}

Test(engine, no_command)
{
	json_t *argv, *env;
	sl_error error = { 0 };
	struct conf *c = fixture_good("model \"m\" { endpoints = { \"http://h:1\" } }");
	cr_expect_eq(conf_engine_command(c, c->models, "r", "127.0.0.1:1", &argv, &env, &error), SL_EINVAL);
	cr_expect(strstr(error.text, "cannot start it"), "%s", error.text);
	conf_unref(c);
}

Test(engine, files_that_are_wrong)
{
	static const char *const cases[][2] = {
		{ "return 5", "must return a table" },
		{ "return { helth = \"/x\" }", "unknown field 'helth': did you mean 'health'?" },
		{ "return { full = { 200 } }", "field 'full' is not as it must be" },
		{ "return { full = 503 }", "field 'full'" },
		{ "return { strip = \"x\" }", "field 'strip'" },
		{ "return { strip = { 5 } }", "field 'strip'" },
		{ "return { strip = { \"\" } }", "field 'strip'" },
		{ "return { strip = { \"a_name_that_is_longer_than_31_bytes\" } }", "field 'strip'" },
		{ "return { doors = \"chat\" }", "field 'doors'" },
		{ "return { doors = {} }", "field 'doors'" },
		{ "return { doors = { \"chat\", \"chatter\" } }", "field 'doors'" },
		{ "return { doors = { \"\" } }", "field 'doors'" },
		{ "return { doors = { 1 } }", "field 'doors'" },
		{ "return { unix_socket = 1 }", "field 'unix_socket'" },
		{ "return { keepalive = \"x\" }", "field 'keepalive'" },
		{ "return { command = \"x\" }", "field 'command'" },
		{ "return { requires = \"weights\" }", "requires: expected a table" },
		{ "return { requires = { \"weights\" } }", "requires: a model has no field '?'" },
		{ "return { requires = { weigths = \"x\" } }", "requires: a model has no field 'weigths' that could be missing: did you mean 'weights'?" },
		{ "return { requires = { weights = 5 } }", "requires.weights: expected words" },
		{ "x = = 1", "engines/mine.lua:1:" },
		{ "error(\"no\")", "engines/mine.lua:1: no" },
		{ "while true do end", "instruction budget" },
		{ "return os.getenv(\"HOME\")", "blocked function: os.getenv" },
	};
	mkdir(fixture_path("engines"), 0755);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		fixture_write("engines/mine.lua", cases[i][0]);
		fixture_bad("\nmodel \"m\" { engine = \"mine\" }", "sluice.lua:2: engine 'mine': ", cases[i][1], NULL);
	}
}

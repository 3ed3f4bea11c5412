/* SPDX-License-Identifier: Apache-2.0 */
/* local.c - commands that look at files here and ask no daemon: plugins, configuration, policy. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/json.h"
#include "core/base/str.h"
#include "core/cli/output.h"
#include "core/conf/conf.h"
#include "core/plugin/plugin.h"
#include "core/policy/policy.h"

enum { REFUSED_BASE = 64 }; /* plugin check ends with this and the refusal's number */

static const char *file_of(const struct cli *cli, const char *fallback)
{
	return cli->n_args ? cli->args[0] : fallback;
}

/* A report's lines as an array. */
static json_t *lines_of(const struct buf *report)
{
	json_t *lines = json_array();
	for (size_t at = 0; at < report->len;) {
		const char *line = report->data + at, *end = memchr(line, '\n', report->len - at);
		size_t len = end ? (size_t) (end - line) : report->len - at;
		if (len) {
			json_t *holder = json_object();
			json_set_str(holder, "line", (sl_str){ line, len });
			json_array_append(lines, json_object_get(holder, "line"));
			json_decref(holder);
		}
		at += len + 1;
	}
	return lines;
}

/* The report as it is, ended by a newline, or {file, ok, lines} in JSON. */
static void put_report(struct cli *cli, const char *file, bool ok, const struct buf *report)
{
	if (cli_is_json(cli)) {
		json_t *document = json_pack("{s:b, s:o}", "ok", ok, "lines", lines_of(report));
		json_set_str(document, "file", str_of(file));
		output_json(cli, document);
		json_decref(document);
		return;
	}
	buf_put(&cli->out, report->data, report->len);
	if (report->len && report->data[report->len - 1] != '\n')
		buf_puts(&cli->out, "\n");
}

int plugin_check_run(struct cli *cli)
{
	struct buf report = { 0 };
	enum plugin_refusal refusal = plugin_check_file(cli->args[0], &report);
	put_report(cli, cli->args[0], refusal == PLUGIN_FINE, &report);
	buf_free(&report);
	return refusal == PLUGIN_FINE ? CLI_DONE : REFUSED_BASE + (int) refusal;
}

json_t *cli_plugin_options(const struct cli *cli, const char **wrong)
{
	json_t *options = json_object();
	for (int i = 0; i < cli->n_values; i++) {
		const char *text = cli->values[i].text, *is;
		if (strcmp(cli->values[i].option->name, "option") != 0)
			continue;
		is = strchr(text, '=');
		if (!is || is == text) {
			*wrong = text;
			break;
		}
		char *name = str_dup((sl_str){ text, (size_t) (is - text) });
		json_t *value = json_loads(is + 1, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
		json_object_set_new(options, name, value ? value : json_string(is + 1));
		free(name);
	}
	return options;
}

int plugin_test_run(struct cli *cli)
{
	const char *wrong = NULL, *result;
	size_t i, failed = 0;
	json_t *options = cli_plugin_options(cli, &wrong), *list, *line;
	if (wrong) {
		json_decref(options);
		return cli_fail(cli, CLI_USAGE, "sluicectl help plugins test", "--option wants NAME=VALUE, not '%s'", wrong);
	}
	char kind[32], name[SL_NAME_MAX];
	if (plugin_name_file(cli->args[0], kind, name) && strcmp(kind, "backend") != 0) {
		json_decref(options);
		return cli_fail(cli, CLI_USAGE, "sluicectl plugins check FILE",
		                "%s is the %s plugin '%s': this test is for plugins of the kind backend", cli->args[0], kind, name);
	}
	list = plugin_test_file(cli->args[0], options);
	json_decref(options);
	json_array_foreach(list, i, line) {
		const char *why = json_get_str(line, "why", "");
		result = json_get_str(line, "result", "");
		failed += strcmp(result, "failed") == 0;
		if (!cli_is_json(cli))
			buf_printf(&cli->out, "%-8s %-16s %s\n", result, json_get_str(line, "check", ""),
			           *why ? why : json_get_str(line, "promise", ""));
	}
	if (cli_is_json(cli)) {
		json_t *document = json_pack("{s:b, s:O}", "ok", failed == 0, "checks", list);
		json_set_str(document, "file", str_of(cli->args[0]));
		output_json(cli, document);
		json_decref(document);
	}
	if (failed)
		cli_note(cli, "%s: %zu of %zu promises are broken", cli->args[0], failed, json_array_size(list));
	json_decref(list);
	return failed ? CLI_FAILED : CLI_DONE;
}

static const struct cli_column plugin_columns[] = {
	{ "KIND", "kind", AS_TEXT, 0, NULL },
	{ "NAME", "name", AS_TEXT, 0, NULL },
	{ "VERSION", "version", AS_TEXT, 0, NULL },
	{ "ABI", "abi", AS_TEXT, 0, NULL },
	{ "SUMMARY", "summary", AS_TEXT, COLUMN_CUT, NULL },
	{ "REFUSED", "refusal", AS_TEXT, COLUMN_CUT, NULL },
	{ "PATH", "path", AS_TEXT, COLUMN_WIDE, NULL },
	{ NULL, NULL, AS_TEXT, 0, NULL }
};

int plugin_list_run(struct cli *cli)
{
	char empty[512];
	snprintf(empty, sizeof empty, "No plugins below %s. SLUICE_PLUGIN_PATH names another folder.", plugin_folder());
	const struct cli_list list = { .id = "name", .columns = plugin_columns, .empty = empty };
	json_t *rows = plugin_list();
	int code = rows ? output_list(cli, &list, rows, NULL) : cli_fail(cli, CLI_FAILED, NULL, "out of memory");
	json_decref(rows);
	return code;
}

int config_init_run(struct cli *cli)
{
	conf_write_example(&cli->out);
	return CLI_DONE;
}

int config_check_run(struct cli *cli)
{
	const char *file = file_of(cli, SLUICE_CONF_DIR "/sluice.lua");
	struct buf report = { 0 };
	struct conf *conf = conf_load(file, &report);
	put_report(cli, file, conf != NULL, &report);
	if (conf)
		cli_note(cli, "%s: fine, configuration %s", file, conf->id);
	buf_free(&report);
	int code = conf ? CLI_DONE : CLI_FAILED;
	conf_unref(conf);
	return code;
}

/* The policy that is meant, and the configuration whose names it sees: a file that is named stands alone, without one it is
 * the site's, or the standard one. */
struct subject {
	struct conf *conf;  /* NULL: the safe defaults */
	const char *file;   /* NULL: the standard policy */
	const char *shown;
};

static int find_policy(struct cli *cli, struct subject *out)
{
	static const char site[] = SLUICE_CONF_DIR "/sluice.lua";
	const char *config = cli_flag(cli, "config") ? cli_value(cli, "config") : cli->n_args || access(site, F_OK) != 0 ? NULL : site;
	struct buf report = { 0 };
	int code = CLI_DONE;
	*out = (struct subject){ 0 };
	if (config && !(out->conf = conf_load(config, &report))) {
		put_report(cli, config, false, &report);
		code = cli_fail(cli, CLI_FAILED, "sluicectl config check", "%s does not load, so its policy is not known", config);
	}
	buf_free(&report);
	out->file = cli->n_args ? cli->args[0] : out->conf ? out->conf->policy : NULL;
	out->shown = out->file ? out->file : "the standard policy";
	return code;
}

int policy_check_run(struct cli *cli)
{
	struct subject subject;
	struct buf report = { 0 };
	int code = find_policy(cli, &subject);
	if (code)
		return code;
	bool fine = policy_check(subject.conf, subject.file, &report);
	put_report(cli, subject.shown, fine, &report);
	if (fine)
		cli_note(cli, "%s: nothing wrong", subject.shown);
	buf_free(&report);
	conf_unref(subject.conf);
	return fine ? CLI_DONE : CLI_FAILED;
}

int policy_test_run(struct cli *cli)
{
	struct subject subject;
	struct buf report = { 0 };
	int code = find_policy(cli, &subject);
	if (code)
		return code;
	int failed = policy_test(subject.conf, subject.file, &report);
	put_report(cli, subject.shown, failed == 0, &report);
	buf_free(&report);
	conf_unref(subject.conf);
	return failed == 0 ? CLI_DONE : CLI_FAILED;
}

/* What the options say of a lease; NULL: nothing, it is a request of the inference door. */
static json_t *eval_lease(const struct cli *cli)
{
	static const char *const texts[] = { "queue", "kind", "program", "name" };
	json_t *lease = json_object();
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		if (cli_flag(cli, texts[i]))
			json_set_str(lease, texts[i], str_of(cli_value(cli, texts[i])));
	if (cli_flag(cli, "gpus"))
		json_object_set_new(lease, "gpus", json_integer(cli_number(cli, "gpus", 1)));
	if (cli_flag(cli, "memory"))
		json_object_set_new(lease, "memory_bytes", json_integer(cli_number(cli, "memory", 0)));
	if (cli_flag(cli, "limit"))
		json_object_set_new(lease, "limit_s", json_integer(cli_number(cli, "limit", 0)));
	if (json_object_size(lease) || cli_flag(cli, "lease"))
		return lease;
	json_decref(lease);
	return NULL;
}

/* The request that the options describe. */
static json_t *eval_request(const struct cli *cli)
{
	static const struct { const char *option, *field; } texts[] = {
		{ "tenant", "tenant" }, { "tier", "tier" }, { "key", "key" }, { "user", "user" }, { "model", "model" },
		{ "door", "door" },
	};
	static const struct { const char *option, *field; } numbers[] = {
		{ "prompt-tokens", "prompt_tokens" }, { "max-output", "max_output" },
	};
	json_t *request = json_object();
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		if (cli_flag(cli, texts[i].option))
			json_set_str(request, texts[i].field, str_of(cli_value(cli, texts[i].option)));
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		if (cli_flag(cli, numbers[i].option))
			json_object_set_new(request, numbers[i].field, json_integer(cli_number(cli, numbers[i].option, 0)));
	if (cli_flag(cli, "stream"))
		json_object_set_new(request, "stream", json_true());
	json_t *lease = eval_lease(cli);
	if (lease)
		json_object_set_new(request, "lease", lease);
	return request;
}

static int eval_here(struct cli *cli, const json_t *request, json_t **answer)
{
	struct buf report = { 0 };
	sl_error error = { 0 };
	struct conf *conf = conf_load(cli_value(cli, "config"), &report);
	int code = CLI_DONE;
	if (!conf) {
		put_report(cli, cli_value(cli, "config"), false, &report);
		code = cli_fail(cli, CLI_FAILED, "sluicectl config check FILE", "%s does not load", cli_value(cli, "config"));
	} else {
		*answer = policy_eval(conf, conf->policy, request, &error);
		if (!*answer)
			code = cli_fail(cli, CLI_FAILED, NULL, "%s", error.text);
	}
	buf_free(&report);
	conf_unref(conf);
	return code;
}

int policy_eval_run(struct cli *cli)
{
	json_t *request = eval_request(cli), *answer = NULL;
	int code = cli_flag(cli, "config") ? eval_here(cli, request, &answer)
	           : cli_call(cli, "POST", "/v1/policy/eval", request, &answer);
	if (code == CLI_DONE) { /* a decision is a tree: shown as one in every format */
		char *text = json_dumps(answer, (cli_is_json(cli) ? JSON_COMPACT : JSON_INDENT(2)) | FORMAT_JSON_REAL);
		buf_puts(&cli->out, text ? text : "{}");
		buf_puts(&cli->out, "\n");
		free(text);
	}
	json_decref(answer);
	json_decref(request);
	return code;
}

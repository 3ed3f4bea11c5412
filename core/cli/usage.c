/* SPDX-License-Identifier: Apache-2.0 */
/* usage.c - sluicectl usage: who used what. Totals come from the daemon and are never added up here. */
#include <string.h>
#include <strings.h>
#include <time.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/cli/output.h"

enum { GROUPS = 9, FIGURES = 8, COST = 5 };

static const struct cli_column group_columns[GROUPS] = {
	{ "HOUR", "hour", AS_TIME, 0, NULL },
	{ "DAY", "day", AS_TEXT, 0, NULL },
	{ "TENANT", "tenant", AS_TEXT, 0, NULL },
	{ "USER", "user", AS_TEXT, 0, NULL },
	{ "KEY", "key", AS_TEXT, 0, NULL },
	{ "MODEL", "model", AS_TEXT, COLUMN_CUT, NULL },
	{ "QUEUE", "queue", AS_TEXT, 0, NULL },
	{ "KIND", "kind", AS_TEXT, 0, NULL },
	{ "LEASE", "lease", AS_TEXT, 0, NULL },
};

static const struct cli_column figure_columns[FIGURES] = {
	{ "REQUESTS", "requests", AS_COUNT, COLUMN_RIGHT, NULL },
	{ "IN", "input_tokens", AS_TOKENS, COLUMN_RIGHT, NULL },
	{ "CACHED", "cached_tokens", AS_TOKENS, COLUMN_RIGHT, NULL },
	{ "OUT", "output_tokens", AS_TOKENS, COLUMN_RIGHT, NULL },
	{ "GPU-H", "gpu_s", AS_GPU_HOURS, COLUMN_RIGHT, NULL },
	{ "COST", "cost", AS_MONEY, COLUMN_RIGHT, NULL },
	{ "REPLICA-GPU-H", "replica_gpu_s", AS_GPU_HOURS, COLUMN_RIGHT | COLUMN_WIDE, NULL },
	{ "REPLICA-COST", "replica_cost", AS_MONEY, COLUMN_RIGHT | COLUMN_WIDE, NULL },
};

static int check_groups(struct cli *cli, const char *by, struct cli_column *columns, int *n)
{
	const char *names[GROUPS + 1] = { NULL };
	for (int i = 0; i < GROUPS; i++)
		names[i] = group_columns[i].fields;
	while (*by) {
		size_t len = strcspn(by, ",");
		int g = 0;
		while (g < GROUPS && !str_eq((sl_str){ by, len }, str_of(names[g])))
			g++;
		if (g == GROUPS || *n == GROUPS) {
			const char *near = str_nearest((sl_str){ by, len }, names);
			char try[120];
			snprintf(try, sizeof try, "--by %s   (hour, day, tenant, user, key, model, queue, kind, lease)", near ? near : "model");
			return cli_fail(cli, CLI_USAGE, try, "usage has no '%.*s' to group by", (int) len, by);
		}
		columns[(*n)++] = group_columns[g];
		by += len;
		by += *by == ',';
	}
	return CLI_DONE;
}

/* by NULL: the same question as an export. */
static void put_target(struct cli *cli, struct buf *target, const char *by)
{
	time_t now = (time_t) (clock_wall_ms() / 1000);
	struct tm tm;
	char stamp[32];
	buf_puts(target, by ? "/v1/usage?by=" : "/v1/usage/focus?version=1.4");
	buf_puts(target, by ? by : "");
	cli_put_query(cli, target, true);
	if (!cli_flag(cli, "since")) { /* this month */
		gmtime_r(&now, &tm);
		strftime(stamp, sizeof stamp, "%Y-%m-01T00:00:00.000Z", &tm);
		buf_puts(target, "&since=");
		cli_put_escaped(target, stamp);
	}
	buf_put(target, "", 1);
}

/* The last row: the daemon's total, under the first column's title. */
static json_t *total_row(const json_t *document, const char *first)
{
	json_t *total = json_deep_copy(json_object_get(document, "total"));
	if (!json_is_object(total)) {
		json_decref(total);
		return NULL;
	}
	json_object_set_new(total, first, json_string("total"));
	return total;
}

static void name_currency(const json_t *document, struct cli_column *cost, char title[16])
{
	const char *currency = json_get_str(document, "currency", "");
	snprintf(title, 16, "COST-%.6s", currency);
	if (*currency && str_is_utf8(str_of(currency)) && strspn(currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == strlen(currency))
		cost->title = title;
}

/* Rows and their order are the daemon's; here they only pass. */
static int export_focus(struct cli *cli)
{
	struct buf target = { 0 }, answer = { 0 };
	const char *format = cli_value(cli, "format");
	if (strcmp(format, "focus") != 0)
		return cli_fail(cli, CLI_USAGE, "--format focus", "usage has no format '%s'; tables, JSON and CSV: -o", format);
	if (cli_flag(cli, "by"))
		return cli_fail(cli, CLI_USAGE, NULL, "--format focus has rows of its own: a day, a tenant and a price each; leave --by out");
	put_target(cli, &target, NULL);
	int code = target.failed ? cli_fail(cli, CLI_FAILED, NULL, "out of memory") : cli_call_raw(cli, target.data, &answer);
	buf_free(&target);
	if (code == CLI_DONE) {
		buf_put(&cli->out, answer.data, answer.len);
		buf_free(&answer);
	}
	return code;
}

int usage_run(struct cli *cli)
{
	struct cli_column columns[GROUPS + FIGURES + 1] = { 0 };
	const char *by = cli_value(cli, "by") ? cli_value(cli, "by") : "model";
	char title[16];
	int n = 0, code = check_groups(cli, by, columns, &n);
	struct buf target = { 0 };
	json_t *document = NULL;
	if (cli_flag(cli, "format"))
		return export_focus(cli);
	if (code)
		return code;
	if (n == 0)
		return cli_fail(cli, CLI_USAGE, "--by model", "--by names nothing to group by");
	put_target(cli, &target, by);
	code = target.failed ? cli_fail(cli, CLI_FAILED, NULL, "out of memory")
	       : cli_call(cli, "GET", target.data, NULL, &document);
	buf_free(&target);
	if (code == CLI_DONE && !json_is_array(json_object_get(document, "rows")))
		code = cli_fail(cli, CLI_FAILED, NULL, "%s answered with something else than usage", cli->address.text);
	if (code == CLI_DONE && cli->format == FORMAT_JSON) {
		output_json(cli, document);
	} else if (code == CLI_DONE) {
		memcpy(columns + n, figure_columns, sizeof figure_columns);
		name_currency(document, &columns[n + COST], title);
		struct cli_list list = {
			.id = columns[0].fields, .columns = columns,
			.empty = "No usage in this time. An earlier one: sluicectl usage --since 30d",
		};
		json_t *total = total_row(document, columns[0].fields);
		code = output_list(cli, &list, json_object_get(document, "rows"), total);
		json_decref(total);
	}
	json_decref(document);
	return code;
}

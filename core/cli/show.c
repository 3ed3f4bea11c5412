/* SPDX-License-Identifier: Apache-2.0 */
/* show.c - one thing with all that is known of it. */
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/str.h"
#include "core/cli/output.h"

/* The columns of a history, as a list of its own. */
static const struct cli_column history_columns[] = {
	{ "AT", "at", AS_TIME, 0, NULL },
	{ "STATE", "state", AS_STATE, 0, NULL },
	{ "REASON", "reason", AS_TEXT, COLUMN_CUT, NULL },
	{ NULL, NULL, AS_TEXT, 0, NULL }
};
static const struct cli_list history_list = { .id = "state", .columns = history_columns };

/* A field's name says its unit; people read the value with the unit instead. */
static enum format_kind kind_by_name(const char *name, size_t *label_len)
{
	static const struct { const char *end; enum format_kind kind; } ends[] = {
		{ "_bytes", AS_BYTES }, { "_at", AS_TIME }, { "_s", AS_SECONDS }, { "_permille", AS_PERMILLE },
		{ "_mw", AS_MILLIWATT }, { "_c", AS_CELSIUS }, { "cost", AS_MONEY },
	};
	*label_len = strlen(name);
	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
		size_t n = strlen(ends[i].end);
		if (*label_len < n || strcmp(name + *label_len - n, ends[i].end) != 0)
			continue;
		*label_len -= ends[i].end[0] == '_' ? n : 0;
		return ends[i].kind;
	}
	return AS_TEXT;
}

/* An object as lines "field   value"; arrays of objects are left to the caller. */
static void put_fields(struct cli *cli, const json_t *object)
{
	struct format_world world = output_world(cli);
	const char *name;
	json_t *value;
	size_t widest = 0, len;
	json_object_foreach ((json_t *) object, name, value) {
		kind_by_name(name, &len);
		widest = len > widest ? len : widest;
	}
	json_object_foreach ((json_t *) object, name, value) {
		enum format_kind kind = kind_by_name(name, &len);
		struct buf label = { 0 };
		if (json_is_null(value) || json_is_object(json_array_get(value, 0)))
			continue;
		cli_put_clean(&label, name);
		buf_printf(&cli->out, "%-*.*s  ", (int) widest, (int) len, label.len >= len ? label.data : "");
		buf_free(&label);
		format_value(&cli->out, &world, kind, value);
		buf_puts(&cli->out, "\n");
	}
}

static int show(struct cli *cli, const struct cli_list *list, const json_t *object)
{
	const json_t *history = json_object_get(object, "history");
	if (!json_is_object(object))
		return cli_fail(cli, CLI_FAILED, NULL, "%s answered with something else than an object", cli->address.text);
	if (cli_is_json(cli)) {
		output_json(cli, object);
		return CLI_DONE;
	}
	if (list && cli->format != FORMAT_TABLE && cli->format != FORMAT_WIDE) {
		json_t *rows = json_pack("[O]", object);
		int code = output_list(cli, list, rows, NULL);
		json_decref(rows);
		return code;
	}
	put_fields(cli, object);
	if (json_array_size(history) == 0)
		return CLI_DONE;
	buf_puts(&cli->out, "\n");
	return output_list(cli, &history_list, history, NULL);
}

/* The row whose `field` or `other` is that name, or the only one that begins with it. */
static const json_t *pick(const json_t *rows, const char *field, const char *other, const char *name, size_t *n_found)
{
	const json_t *found = NULL;
	size_t i;
	json_t *row;
	*n_found = 0;
	json_array_foreach (rows, i, row) {
		const char *id = json_get_str(row, field, ""), *alias = json_get_str(row, other, "");
		if (strcmp(id, name) == 0 || strcmp(alias, name) == 0) {
			*n_found = 1;
			return row;
		}
		if (strncmp(id, name, strlen(name)) == 0 || strncmp(alias, name, strlen(name)) == 0) {
			found = row;
			++*n_found;
		}
	}
	return *n_found == 1 ? found : NULL;
}

/* What the door only lists: one row of the list. */
static int show_row(struct cli *cli, const struct cli_list *list, const char *other, const char *what)
{
	json_t *rows = NULL;
	size_t n_found;
	char try[64];
	int code = cli_call(cli, "GET", list->path, NULL, &rows);
	if (code)
		return code;
	const json_t *row = pick(rows, list->id, other, cli->args[0], &n_found);
	snprintf(try, sizeof try, "sluicectl %s", cli->command->noun);
	if (row)
		code = show(cli, list, row);
	else if (n_found > 1)
		code = cli_fail(cli, CLI_FAILED, try, "'%s' is the beginning of %zu names", cli->args[0], n_found);
	else
		code = cli_fail(cli, CLI_FAILED, try, "%s '%s' does not exist", what, cli->args[0]);
	json_decref(rows);
	return code;
}

int devices_show_run(struct cli *cli)
{
	return show_row(cli, &devices_list, "uuid", "device");
}

int models_show_run(struct cli *cli)
{
	return show_row(cli, &models_list, "model", "model");
}

static int show_path(struct cli *cli, const struct cli_list *list, const char *path, const char *name)
{
	struct buf target = { 0 };
	json_t *object = NULL;
	buf_puts(&target, path);
	cli_put_escaped(&target, name);
	buf_put(&target, "", 1);
	int code = target.failed ? cli_fail(cli, CLI_FAILED, NULL, "out of memory")
	           : cli_call(cli, "GET", target.data, NULL, &object);
	if (code == CLI_DONE)
		code = show(cli, list, object);
	json_decref(object);
	buf_free(&target);
	return code;
}

int leases_show_run(struct cli *cli)
{
	return show_path(cli, &leases_list, "/v1/gpu/leases/", cli->args[0]);
}

int ledger_run(struct cli *cli)
{
	return show_path(cli, NULL, "/v1/ledger", "");
}

int config_show_run(struct cli *cli)
{
	json_t *document = NULL;
	int code = cli_call(cli, "GET", "/v1/config", NULL, &document);
	if (code)
		return code;
	/* a configuration is a tree: shown as one in every format */
	char *text = json_dumps(document, (cli_is_json(cli) && !cli->tty_out ? JSON_COMPACT : JSON_INDENT(2)) | FORMAT_JSON_REAL);
	buf_puts(&cli->out, text ? text : "{}");
	buf_puts(&cli->out, "\n");
	free(text);
	json_decref(document);
	return CLI_DONE;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* output.c - lists as tables, JSON, CSV or names. */
#include "core/cli/output.h"

#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/str.h"

enum { COLUMNS_MAX = 48, NARROWEST = 8, FIELD_MAX = 64 };

struct cell {
	size_t at, len, width; /* in table.text */
};

struct table {
	const struct cli_column *columns[COLUMNS_MAX];
	size_t width[COLUMNS_MAX];
	int n_columns;
	size_t n_rows;
	struct cell *cells; /* n_rows * n_columns */
	struct buf text;
};

struct format_world output_world(const struct cli *cli)
{
	return (struct format_world){ .now_ms = clock_wall_ms(), .utc = cli->utc };
}

void output_json(struct cli *cli, const json_t *document)
{
	size_t flags = cli->tty_out && cli->format == FORMAT_JSON ? JSON_INDENT(2) : JSON_COMPACT;
	char *text = json_dumps(document, flags | JSON_ENCODE_ANY | FORMAT_JSON_REAL);
	if (!text) {
		cli->out.failed = true;
		return;
	}
	buf_puts(&cli->out, text);
	buf_puts(&cli->out, "\n");
	free(text);
}

/* The next field's name of "a,b,c" at *fields, which moves on; false at the end. */
static bool next_field(const char **fields, char name[FIELD_MAX])
{
	size_t len = strcspn(*fields, ",");
	if (len == 0)
		return false;
	str_copy(name, FIELD_MAX, (sl_str){ *fields, len });
	*fields += len;
	*fields += **fields == ',';
	return true;
}

static void put_csv(struct buf *out, const json_t *value)
{
	struct buf raw = { 0 };
	format_raw(&raw, value);
	bool quote = raw.len && (memchr(raw.data, ',', raw.len) || memchr(raw.data, '"', raw.len) ||
	                         memchr(raw.data, '\n', raw.len) || memchr(raw.data, '\r', raw.len));
	if (quote)
		buf_puts(out, "\"");
	for (size_t i = 0; i < raw.len; i++) {
		if (raw.data[i] == '"')
			buf_puts(out, "\"");
		buf_put(out, raw.data + i, 1);
	}
	if (quote)
		buf_puts(out, "\"");
	buf_free(&raw);
}

/* Appends the distinct field names of all columns, each ended by NUL. */
static void csv_fields(const struct cli_list *list, struct buf *names)
{
	char name[FIELD_MAX];
	for (const struct cli_column *c = list->columns; c->title; c++) {
		for (const char *fields = c->fields; next_field(&fields, name);) {
			bool seen = false;
			for (size_t at = 0; at < names->len; at += strlen(names->data + at) + 1)
				seen = seen || strcmp(names->data + at, name) == 0;
			if (!seen)
				buf_put(names, name, strlen(name) + 1);
		}
	}
}

static void output_csv(struct cli *cli, const struct cli_list *list, const json_t *rows)
{
	struct buf names = { 0 };
	size_t i, at;
	json_t *row;
	csv_fields(list, &names);
	for (at = 0; cli->header && at < names.len; at += strlen(names.data + at) + 1)
		buf_printf(&cli->out, "%s%s", at ? "," : "", names.data + at);
	if (cli->header)
		buf_puts(&cli->out, "\n");
	json_array_foreach (rows, i, row) {
		for (at = 0; at < names.len; at += strlen(names.data + at) + 1) {
			buf_puts(&cli->out, at ? "," : "");
			put_csv(&cli->out, json_object_get(row, names.data + at));
		}
		buf_puts(&cli->out, "\n");
	}
	buf_free(&names);
}

static bool column_is(const struct cli_column *column, sl_str name)
{
	const char *fields = column->fields;
	char field[FIELD_MAX];
	if (str_eq_nocase(str_of(column->title), name))
		return true;
	return next_field(&fields, field) && str_eq_nocase(str_of(field), name);
}

/* -o columns=a,b */
static int choose_named(struct cli *cli, const struct cli_list *list, struct table *t)
{
	for (const char *rest = cli->columns; *rest;) {
		size_t len = strcspn(rest, ",");
		const struct cli_column *c = list->columns;
		while (c->title && !column_is(c, (sl_str){ rest, len }))
			c++;
		if (!c->title) {
			const char *titles[COLUMNS_MAX + 1];
			int n = 0;
			for (c = list->columns; c->title && n < COLUMNS_MAX; c++)
				titles[n++] = c->title;
			titles[n] = NULL;
			const char *near = str_nearest((sl_str){ rest, len }, titles);
			return cli_fail(cli, CLI_USAGE, near ? near : titles[0], "there is no column '%.*s' here", (int) len, rest);
		}
		if (t->n_columns == COLUMNS_MAX)
			return cli_fail(cli, CLI_USAGE, NULL, "more than %d columns", COLUMNS_MAX);
		t->columns[t->n_columns++] = c;
		rest += len;
		rest += *rest == ',';
	}
	return CLI_DONE;
}

static int choose_columns(struct cli *cli, const struct cli_list *list, struct table *t)
{
	if (cli->format == FORMAT_COLUMNS)
		return choose_named(cli, list, t);
	for (const struct cli_column *c = list->columns; c->title && t->n_columns < COLUMNS_MAX; c++)
		if (cli->format == FORMAT_WIDE || !(c->flags & COLUMN_WIDE))
			t->columns[t->n_columns++] = c;
	return CLI_DONE;
}

static void write_cell(struct cli *cli, struct table *t, struct cell *cell, const struct cli_column *column,
                       const json_t *row)
{
	struct format_world world = output_world(cli);
	const char *fields = column->fields;
	char field[FIELD_MAX] = "";
	next_field(&fields, field);
	const json_t *value = json_object_get(row, field);
	int color = column->kind == AS_STATE && cli->color_out ? format_state_color(json_get_str(row, field, "")) : 0;
	cell->at = t->text.len;
	if (color)
		buf_printf(&t->text, "\033[%dm", color);
	if (column->write)
		column->write(&t->text, &world, row);
	else
		format_value(&t->text, &world, column->kind, value);
	if (color)
		buf_puts(&t->text, "\033[0m");
	cell->len = t->text.len - cell->at;
	cell->width = t->text.data ? format_width(t->text.data + cell->at, cell->len) : 0;
}

/* Row 0 holds the titles. */
static bool fill_table(struct cli *cli, struct table *t, const json_t *rows, const json_t *total)
{
	size_t n_data = json_array_size(rows);
	t->n_rows = 1 + n_data + (total ? 1 : 0);
	t->cells = calloc(t->n_rows * (size_t) t->n_columns + 1, sizeof *t->cells);
	if (!t->cells)
		return false;
	for (size_t r = 0; r < t->n_rows; r++) {
		for (int c = 0; c < t->n_columns; c++) {
			struct cell *cell = &t->cells[r * (size_t) t->n_columns + (size_t) c];
			if (r > 0) {
				write_cell(cli, t, cell, t->columns[c], r <= n_data ? json_array_get(rows, r - 1) : total);
			} else {
				*cell = (struct cell){ t->text.len, strlen(t->columns[c]->title), strlen(t->columns[c]->title) };
				buf_puts(&t->text, t->columns[c]->title);
			}
			if ((r > 0 || cli->header) && cell->width > t->width[c])
				t->width[c] = cell->width;
		}
	}
	return !t->text.failed;
}

static size_t table_width(const struct table *t)
{
	size_t width = 0;
	for (int c = 0; c < t->n_columns; c++)
		width += t->width[c] + (c ? 2 : 0);
	return width;
}

/* On a terminal only: cuts the widest text column, then drops columns from the right. */
static void fit_table(struct cli *cli, struct table *t, int *shown)
{
	struct winsize size;
	*shown = t->n_columns;
	if (!cli->tty_out || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return;
	int widest = -1;
	for (int c = 0; c < t->n_columns; c++)
		if ((t->columns[c]->flags & COLUMN_CUT) && (widest < 0 || t->width[c] > t->width[widest]))
			widest = c;
	size_t total = table_width(t);
	if (widest >= 0 && total > size.ws_col && t->width[widest] > NARROWEST) {
		size_t over = total - size.ws_col, may = t->width[widest] - NARROWEST;
		t->width[widest] -= over < may ? over : may;
		total -= over < may ? over : may;
	}
	while (*shown > 1 && total > size.ws_col) {
		(*shown)--;
		total -= t->width[*shown] + 2;
	}
}

static void put_spaces(struct buf *out, size_t n)
{
	while (n--)
		buf_puts(out, " ");
}

/* A cell that is too wide: as much as fits, and a sign that there is more. Colours are left out. */
static void put_cut(struct buf *out, const char *text, size_t len, size_t width)
{
	const char *sign = strcmp(nl_langinfo(CODESET), "UTF-8") == 0 ? "…" : "~";
	size_t columns = 0;
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\033') {
			while (i < len && text[i] != 'm')
				i++;
			continue;
		}
		columns += (text[i] & 0xc0) != 0x80;
		if (columns >= width)
			break;
		buf_put(out, text + i, 1);
	}
	buf_puts(out, sign);
}

static void put_row(struct cli *cli, const struct table *t, size_t row, int shown)
{
	for (int c = 0; c < shown; c++) {
		const struct cell *cell = &t->cells[row * (size_t) t->n_columns + (size_t) c];
		size_t room = t->width[c], pad = cell->width < room ? room - cell->width : 0;
		bool right = t->columns[c]->flags & COLUMN_RIGHT;
		put_spaces(&cli->out, c ? 2 : 0);
		put_spaces(&cli->out, right ? pad : 0);
		if (cell->width > room)
			put_cut(&cli->out, t->text.data + cell->at, cell->len, room);
		else
			buf_put(&cli->out, t->text.data + cell->at, cell->len);
		put_spaces(&cli->out, right || c == shown - 1 ? 0 : pad);
	}
	buf_puts(&cli->out, "\n");
}

static int output_table(struct cli *cli, const struct cli_list *list, const json_t *rows, const json_t *total)
{
	struct table t = { 0 };
	int shown, code = choose_columns(cli, list, &t);
	if (code == CLI_DONE && !fill_table(cli, &t, rows, total))
		code = cli_fail(cli, CLI_FAILED, NULL, "out of memory");
	if (code == CLI_DONE) {
		fit_table(cli, &t, &shown);
		for (size_t r = cli->header ? 0 : 1; r < t.n_rows; r++)
			put_row(cli, &t, r, shown);
	}
	free(t.cells);
	buf_free(&t.text);
	return code;
}

static void say_empty(const struct cli *cli, const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "\n");
		cli_note(cli, "%.*s", (int) len, text);
		text += len;
		text += *text == '\n';
	}
}

int output_list(struct cli *cli, const struct cli_list *list, const json_t *rows, const json_t *total)
{
	size_t i;
	json_t *row;
	switch (cli->format) {
	case FORMAT_JSON:
		output_json(cli, rows);
		return CLI_DONE;
	case FORMAT_JSONL:
		json_array_foreach (rows, i, row)
			output_json(cli, row);
		return CLI_DONE;
	case FORMAT_CSV:
		output_csv(cli, list, rows);
		return CLI_DONE;
	case FORMAT_NAME:
		json_array_foreach (rows, i, row)
			buf_printf(&cli->out, "%s\n", json_get_str(row, list->id, "-"));
		return CLI_DONE;
	default:
		break;
	}
	if (json_array_size(rows) == 0 && list->empty)
		say_empty(cli, list->empty);
	if (json_array_size(rows) == 0 && !total && cli->format != FORMAT_COLUMNS)
		return CLI_DONE;
	return output_table(cli, list, rows, total);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* output.h - lists as tables, JSON, CSV or names. */
#ifndef CORE_CLI_OUTPUT_H
#define CORE_CLI_OUTPUT_H

#include "core/cli/cli.h"
#include "core/cli/format.h"

enum column_flag {
	COLUMN_WIDE = 1,  /* shown with -o wide only */
	COLUMN_RIGHT = 2, /* numbers: aligned to the right */
	COLUMN_CUT = 4    /* free text, cut when the terminal is too narrow */
};

struct cli_column {
	const char *title;  /* "WHERE-OR-WHY" */
	const char *fields; /* members of the row, with commas; the first is the column's, all stand in CSV */
	enum format_kind kind;
	int flags;
	/* Writes the cell where it is more than one value; NULL: the first field as `kind`. */
	void (*write)(struct buf *out, const struct format_world *world, const json_t *row);
};

struct cli_list {
	const char *path; /* GET */
	const char *id;   /* member that names a row */
	const struct cli_column *columns; /* ended by one without a title */
	const char *empty; /* what to say and do when there is nothing */
};

extern const struct cli_list devices_list, leases_list, models_list, replicas_list, tenants_list, keys_list,
	limits_list, plugins_list;

/* Writes an array of objects in the chosen format. `total` (may be NULL) is one more row, for tables only. */
int output_list(struct cli *cli, const struct cli_list *list, const json_t *rows, const json_t *total);
/* Any JSON document, for --json and -o jsonl. */
void output_json(struct cli *cli, const json_t *document);
struct format_world output_world(const struct cli *cli);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* csv.h - comma separated values as RFC 4180 has them, a row at a time. Pure. */
#ifndef CORE_SIM_CSV_H
#define CORE_SIM_CSV_H

#include <stdbool.h>
#include <sluice/types.h>

enum { CSV_FIELDS_MAX = 64 };

/* Where a reader is in a text. The text is changed: quoted fields are unquoted in place. */
struct csv {
	const char *file; /* for errors */
	char *at, *end;
	unsigned line;    /* of the row that was read last, from 1 */
	unsigned next_line;
	sl_str fields[CSV_FIELDS_MAX];
	size_t n_fields;
};

void csv_open(struct csv *csv, const char *file, char *text, size_t len);
/* 1: a row is in csv->fields. 0: there is no more. Otherwise an error that names file and line. Empty lines are
 * passed over. */
int csv_next(struct csv *csv, sl_error *error);

#endif

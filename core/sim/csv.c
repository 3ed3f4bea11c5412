/* SPDX-License-Identifier: Apache-2.0 */
/* csv.c - reads comma separated values. */
#include "core/sim/csv.h"

#include <string.h>

#include "core/base/error.h"

void csv_open(struct csv *csv, const char *file, char *text, size_t len)
{
	*csv = (struct csv){ .file = file, .at = text, .end = text + len, .next_line = 1 };
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) /* a byte order mark */
		csv->at += 3;
}

/* A field in quotes, unquoted in place. False: the closing quote is missing, or is not the field's end. */
static bool quoted(struct csv *csv, sl_str *out)
{
	char *write = csv->at++;
	out->ptr = write;
	for (; csv->at < csv->end; csv->at++) {
		if (*csv->at == '"') {
			if (csv->at + 1 == csv->end || csv->at[1] != '"')
				break;
			csv->at++;
		}
		csv->next_line += *csv->at == '\n';
		*write++ = *csv->at;
	}
	out->len = (size_t) (write - out->ptr);
	if (csv->at == csv->end)
		return false;
	csv->at++;
	return csv->at == csv->end || *csv->at == ',' || *csv->at == '\n' || *csv->at == '\r';
}

static void plain(struct csv *csv, sl_str *out)
{
	out->ptr = csv->at;
	while (csv->at < csv->end && *csv->at != ',' && *csv->at != '\n' && *csv->at != '\r')
		csv->at++;
	out->len = (size_t) (csv->at - out->ptr);
}

/* Past the end of a line. False: we are in the middle of one. */
static bool line_end(struct csv *csv)
{
	if (csv->at < csv->end && *csv->at == '\r')
		csv->at++;
	if (csv->at == csv->end)
		return true;
	if (*csv->at != '\n')
		return false;
	csv->at++;
	csv->next_line++;
	return true;
}

static int read_row(struct csv *csv, sl_error *error)
{
	csv->n_fields = 0;
	csv->line = csv->next_line;
	for (;;) {
		if (csv->n_fields == CSV_FIELDS_MAX)
			return error_set(error, SL_EINVAL, "%s:%u: more than %d fields", csv->file, csv->line, CSV_FIELDS_MAX);
		sl_str *field = &csv->fields[csv->n_fields++];
		if (csv->at < csv->end && *csv->at == '"') {
			if (!quoted(csv, field))
				return error_set(error, SL_EINVAL, "%s:%u: field %zu has no closing quote before a comma or the "
				                 "line's end", csv->file, csv->line, csv->n_fields);
		} else {
			plain(csv, field);
		}
		if (csv->at < csv->end && *csv->at == ',')
			csv->at++;
		else if (line_end(csv))
			return 1;
		else
			return error_set(error, SL_EINVAL, "%s:%u: a carriage return inside the line", csv->file, csv->line);
	}
}

int csv_next(struct csv *csv, sl_error *error)
{
	while (csv->at < csv->end) {
		int code = read_row(csv, error);
		if (code != 1 || csv->n_fields > 1 || csv->fields[0].len > 0)
			return code;
	}
	return 0;
}

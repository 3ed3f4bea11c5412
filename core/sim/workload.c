/* SPDX-License-Identifier: Apache-2.0 */
/* workload.c - recorded requests: Mooncake's and Azure's files. */
#include "core/sim/workload.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "core/base/str.h"
#include "core/sim/csv.h"

enum { MOONCAKE_BLOCK = 512, TIME_MAX_S = 366 * 86400 };

/* Pieces of nobody else. */
static uint64_t own_id(const struct sim_workload *w)
{
	return UINT64_C(1) << 62 | (uint64_t) w->n;
}

struct sim_request *sim_workload_add(struct sim_workload *w, int64_t at_us, const struct sim_piece *pieces, uint32_t n_pieces,
                                     uint32_t output)
{
	if (w->n == SIM_REQUESTS_MAX)
		return NULL;
	if (w->n == w->room) {
		size_t room = w->room ? w->room * 2 : 1024;
		struct sim_request *more = realloc(w->requests, room * sizeof *more);
		if (!more)
			return NULL;
		w->requests = more;
		w->room = room;
	}
	struct sim_piece *copy = arena_alloc(&w->arena, (n_pieces + 1) * sizeof *copy);
	if (!copy)
		return NULL;
	struct sim_request *r = &w->requests[w->n];
	*r = (struct sim_request){ .at_us = at_us, .output = output, .n_pieces = n_pieces + 1, .pieces = copy };
	if (n_pieces)
		memcpy(copy, pieces, n_pieces * sizeof *copy);
	copy[n_pieces] = (struct sim_piece){ UINT64_C(1) << 63 | (uint64_t) w->n, output };
	for (uint32_t i = 0; i < n_pieces; i++)
		r->input += pieces[i].tokens;
	w->n++;
	return r;
}

static int by_time(const void *a, const void *b)
{
	const struct sim_request *x = a, *y = b;
	if (x->at_us != y->at_us)
		return x->at_us < y->at_us ? -1 : 1;
	uint64_t p = x->pieces[x->n_pieces - 1].id, q = y->pieces[y->n_pieces - 1].id; /* the answers', in order of adding */
	return p < q ? -1 : p > q;
}

void sim_workload_sort(struct sim_workload *w)
{
	if (w->n)
		qsort(w->requests, w->n, sizeof *w->requests, by_time);
	int64_t from = w->n ? w->requests[0].at_us : 0;
	for (size_t i = 0; i < w->n; i++)
		w->requests[i].at_us -= from;
	w->span_s = w->n ? (double) w->requests[w->n - 1].at_us / 1e6 : 0;
}

bool sim_workload_scaled(const struct sim_workload *recorded, double rate, struct sim_workload *out)
{
	double factor = rate > 0 && recorded->span_s > 0 ? (double) recorded->n / recorded->span_s / rate : 1;
	*out = (struct sim_workload){ .n = recorded->n, .room = recorded->n, .span_s = recorded->span_s * factor };
	out->requests = calloc(recorded->n + 1, sizeof *out->requests);
	for (size_t i = 0; i < recorded->n && out->requests; i++) {
		out->requests[i] = recorded->requests[i];
		out->requests[i].at_us = (int64_t) ((double) recorded->requests[i].at_us * factor);
	}
	return out->requests != NULL;
}

void sim_workload_free(struct sim_workload *w)
{
	arena_free(&w->arena);
	free(w->requests);
	*w = (struct sim_workload){ 0 };
}

static int loaded(struct sim_workload *w, const char *file, sl_error *error)
{
	if (w->n == 0)
		return error_set(error, SL_EINVAL, "%s: there is no request in it", file);
	sim_workload_sort(w);
	return SL_OK;
}

/* A line's number; -1 and the error set when it is none from 0 (or 1) to max. */
static int64_t member(const json_t *line, const char *name, int64_t least, int64_t max, const char *where, sl_error *error)
{
	const json_t *value = json_object_get(line, name);
	double number = json_is_number(value) ? json_number_value(value) : -1;
	if (!(number >= (double) least && number <= (double) max)) {
		error_set(error, SL_EINVAL, "%s: %s must be a number from %lld to %lld", where, name, (long long) least, (long long) max);
		return -1;
	}
	return (int64_t) number;
}

/* The prompt of one line. NULL: it is wrong, or out of memory. */
static struct sim_piece *line_pieces(const json_t *line, const struct sim_workload *w, int64_t input, const char *where, uint32_t *n,
                                     sl_error *error)
{
	const json_t *ids = json_object_get(line, "hash_ids");
	size_t want = (size_t) (input + MOONCAKE_BLOCK - 1) / MOONCAKE_BLOCK;
	if (!json_is_array(ids) || json_array_size(ids) > want) {
		error_set(error, SL_EINVAL, "%s: hash_ids must be an array of at most %zu numbers, one for each %d of %lld tokens", where,
		          want, MOONCAKE_BLOCK, (long long) input);
		return NULL;
	}
	struct sim_piece *pieces = calloc(json_array_size(ids) + 1, sizeof *pieces);
	if (!pieces) {
		error_set(error, SL_ENOMEM, "%s: out of memory", where);
		return NULL;
	}
	for (size_t i = 0; i < json_array_size(ids); i++) {
		const json_t *id = json_array_get(ids, i);
		if (!json_is_integer(id) || json_integer_value(id) < 0) {
			error_set(error, SL_EINVAL, "%s: hash_ids[%zu] must be a whole number from 0 on", where, i);
			free(pieces);
			return NULL;
		}
		uint32_t tokens = input < MOONCAKE_BLOCK ? (uint32_t) input : MOONCAKE_BLOCK;
		pieces[(*n)++] = (struct sim_piece){ (uint64_t) json_integer_value(id), tokens };
		input -= tokens;
	}
	if (input > 0) /* of the rest nothing is told */
		pieces[(*n)++] = (struct sim_piece){ own_id(w), (uint32_t) input };
	return pieces;
}

static int add_line(struct sim_workload *w, const json_t *line, const char *where, sl_error *error)
{
	int64_t at = member(line, "timestamp", 0, (int64_t) TIME_MAX_S * 1000, where, error), input, output;
	uint32_t n = 0;
	if (at < 0 || (input = member(line, "input_length", 1, SIM_PROMPT_MAX, where, error)) < 0 ||
	    (output = member(line, "output_length", 0, SIM_PROMPT_MAX, where, error)) < 0)
		return SL_EINVAL;
	struct sim_piece *pieces = line_pieces(line, w, input, where, &n, error);
	if (!pieces)
		return SL_EINVAL;
	bool done = sim_workload_add(w, at * 1000, pieces, n, output > 0 ? (uint32_t) output : 1) != NULL;
	free(pieces);
	return done ? SL_OK : error_set(error, SL_ENOMEM, "%s: out of memory, or more than %d requests", where, SIM_REQUESTS_MAX);
}

int sim_load_mooncake(struct sim_workload *w, const char *file, const char *text, size_t len, sl_error *error)
{
	unsigned number = 0;
	for (size_t at = 0; at < len;) {
		const char *end = memchr(text + at, '\n', len - at);
		size_t size = end ? (size_t) (end - (text + at)) : len - at;
		char where[300];
		snprintf(where, sizeof where, "%.200s:%u", file, ++number);
		if (str_trim((sl_str){ text + at, size && text[at + size - 1] == '\r' ? size - 1 : size }).len > 0) {
			json_error_t wrong;
			json_t *line = json_loadb(text + at, size, JSON_REJECT_DUPLICATES, &wrong);
			int code = json_is_object(line) ? add_line(w, line, where, error)
			           : error_set(error, SL_EINVAL, "%s: not a JSON object: %s", where, line ? "something else" : wrong.text);
			json_decref(line);
			if (code)
				return code;
		}
		at += size + 1;
	}
	return loaded(w, file, error);
}

/* Seconds from 1970 on of "2023-11-16 18:17:03.9799600" in microseconds; -1: not such a time. */
static int64_t time_us(sl_str text)
{
	int year, month, day, hour, minute, used = 0;
	double second;
	char copy[40];
	if (!str_copy(copy, sizeof copy, text) ||
	    sscanf(copy, "%4d-%2d-%2d%*1[ T]%2d:%2d:%lf%n", &year, &month, &day, &hour, &minute, &second, &used) != 6)
		return -1;
	const char *rest = copy + used;
	if ((*rest && *rest != 'Z' && *rest != '+') || year < 1970 || month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 ||
	    hour > 23 || minute < 0 || minute > 59 || !(second >= 0 && second < 61))
		return -1;
	/* Days since 1970 by the rule of the proleptic calendar, years beginning in March. */
	int64_t y = month > 2 ? year : year - 1, m = month > 2 ? month - 3 : month + 9;
	int64_t days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
	return ((days * 24 + hour) * 60 + minute) * 60000000 + (int64_t) (second * 1e6 + 0.5);
}

static const char *const azure_columns[] = { "TIMESTAMP", "ContextTokens", "GeneratedTokens" };

static int azure_header(struct csv *csv, size_t at[3], sl_error *error)
{
	int code = csv_next(csv, error);
	if (code == 0)
		return error_set(error, SL_EINVAL, "%s: empty; the first line must name the columns", csv->file);
	if (code != 1)
		return code;
	for (size_t k = 0; k < 3; k++) {
		for (at[k] = 0; at[k] < csv->n_fields && !str_eq(str_trim(csv->fields[at[k]]), str_of(azure_columns[k])); at[k]++)
			;
		if (at[k] == csv->n_fields)
			return error_set(error, SL_EINVAL, "%s:%u: there is no column %s", csv->file, csv->line, azure_columns[k]);
	}
	return SL_OK;
}

int sim_load_azure(struct sim_workload *w, const char *file, char *text, size_t len, sl_error *error)
{
	struct csv csv;
	size_t at[3];
	csv_open(&csv, file, text, len);
	int code = azure_header(&csv, at, error);
	while (code == SL_OK && (code = csv_next(&csv, error)) == 1) {
		uint64_t tokens[2] = { 0, 0 };
		for (size_t k = 0; k < 3; k++)
			if (at[k] >= csv.n_fields)
				return error_set(error, SL_EINVAL, "%s:%u: %s is missing", file, csv.line, azure_columns[k]);
		int64_t time = time_us(str_trim(csv.fields[at[0]]));
		if (time < 0)
			return error_set(error, SL_EINVAL, "%s:%u: TIMESTAMP must be a time such as 2023-11-16 18:17:03.97", file, csv.line);
		for (size_t k = 0; k < 2; k++)
			if (!str_to_u64(str_trim(csv.fields[at[k + 1]]), SIM_PROMPT_MAX, &tokens[k]))
				return error_set(error, SL_EINVAL, "%s:%u: %s must be a whole number from 0 to %d", file, csv.line,
				                 azure_columns[k + 1], SIM_PROMPT_MAX);
		struct sim_piece piece = { own_id(w), tokens[0] ? (uint32_t) tokens[0] : 1 };
		if (!sim_workload_add(w, time, &piece, 1, tokens[1] ? (uint32_t) tokens[1] : 1))
			return error_set(error, SL_ENOMEM, "%s:%u: out of memory, or more than %d requests", file, csv.line, SIM_REQUESTS_MAX);
		code = SL_OK;
	}
	return code ? code : loaded(w, file, error);
}

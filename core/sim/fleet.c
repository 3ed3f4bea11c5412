/* SPDX-License-Identifier: Apache-2.0 */
/* fleet.c - engines by name and from CSV. */
#include "core/sim/fleet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "core/base/str.h"
#include "core/sim/csv.h"

/* Fitted to published measurements of vLLM (the first two), or scaled from them by memory bandwidth and peak arithmetic. */
static const struct sim_engine_kind known[] = {
	{ "qwen3-8b-h100", 6.8, 0.0215, 1.0e-6, 0.012, 0.000050, 4.5, 377000, 8192, 1024 },
	{ "qwen3-8b-fp8-h100", 4.55, 0.0154, 1.0e-6, 0.012, 0.000050, 4.5, 430000, 8192, 1024 },
	{ "llama3-8b-h100", 6.8, 0.0216, 0.9e-6, 0.012, 0.000044, 4.5, 440000, 8192, 1024 },
	{ "llama3-8b-a100", 9.9, 0.071, 2.8e-6, 0.012, 0.000073, 4.5, 440000, 2048, 256 },
	{ "qwen3-32b-2xh100", 13.6, 0.0454, 1.78e-6, 0.012, 0.000044, 4.5, 307328, 8192, 1024 },
	{ "llama3-70b-4xh100", 14.8, 0.061, 1.1e-6, 0.012, 0.000028, 4.5, 470000, 8192, 1024 },
};
enum { KNOWN = sizeof known / sizeof known[0] };

static int add(struct sim_fleet *f, const struct sim_engine_kind *kind, uint64_t count, const char *where, sl_error *error)
{
	if (f->n_kinds == SIM_ENGINE_KINDS_MAX || count > SIM_ENGINES_MAX - f->n)
		return error_set(error, SL_EINVAL, "%s: more than %d replicas or %d kinds of engine", where, SIM_ENGINES_MAX,
		                 SIM_ENGINE_KINDS_MAX);
	f->kinds[f->n_kinds] = *kind;
	for (uint64_t i = 0; i < count; i++)
		f->of[f->n++] = f->n_kinds;
	f->n_kinds++;
	return SL_OK;
}

static int unknown(sl_str name, sl_error *error)
{
	const char *names[KNOWN + 1] = { NULL }, *near;
	for (size_t i = 0; i < KNOWN; i++)
		names[i] = known[i].name;
	near = str_nearest(name, names);
	return error_set(error, SL_EINVAL, "no constants are known of the engine '%.*s'; %s%s, or a file that ends in .csv",
	                 (int) (name.len < 40 ? name.len : 40), name.ptr, near ? "do you mean " : "one of them is ",
	                 near ? near : known[0].name);
}

int sim_fleet_parse(struct sim_fleet *f, const char *text, sl_error *error)
{
	for (const char *at = text; *at;) {
		size_t len = strcspn(at, ","), k = 0;
		sl_str part = { at, len }, name = part;
		const char *star = memchr(at, '*', len);
		uint64_t count = 1;
		if (star) {
			name = (sl_str){ star + 1, len - (size_t) (star + 1 - at) };
			if (!str_to_u64((sl_str){ at, (size_t) (star - at) }, SIM_ENGINES_MAX, &count) || count == 0)
				return error_set(error, SL_EINVAL, "'%.*s': before the * there must be a number from 1 to %d",
				                 (int) (len < 60 ? len : 60), at, SIM_ENGINES_MAX);
		}
		while (k < KNOWN && !str_eq(name, str_of(known[k].name)))
			k++;
		if (k == KNOWN)
			return unknown(name, error);
		int code = add(f, &known[k], count, text, error);
		if (code)
			return code;
		at += len + (at[len] == ',');
	}
	return f->n ? SL_OK : error_set(error, SL_EINVAL, "the cluster is empty; such as 8*%s", known[0].name);
}

enum { NAME, COUNT, BASE, PREFILL, CONTEXT, ROOM, NEEDED, QUADRATIC = NEEDED, SEQUENCE, DELIVERY, STEP, SEQUENCES, COLUMNS };
static const struct { const char *name; double least, most; } columns[COLUMNS] = {
	{ "name", 0, 0 }, { "count", 1, SIM_ENGINES_MAX }, { "base_ms", 0.001, 1e5 }, { "prefill_us", 0, 1e7 },
	{ "context_ns", 0, 1e9 }, { "kv_tokens", 256, 1e9 }, { "quadratic_ns", 0, 1e6 }, { "sequence_us", 0, 1e7 },
	{ "delivery_ms", 0, 1e5 }, { "step_tokens", 64, 1e7 }, { "sequences", 1, 1e6 },
};

static int read_row(const struct csv *csv, const size_t at[COLUMNS], struct sim_engine_kind *kind, uint64_t *count, sl_error *error)
{
	double v[COLUMNS] = { [QUADRATIC] = 0, [SEQUENCE] = 12, [DELIVERY] = 4.5, [STEP] = 8192, [SEQUENCES] = 1024 };
	for (size_t k = 1; k < COLUMNS; k++) {
		char copy[32] = "", *end = copy;
		if (at[k] == SIZE_MAX)
			continue;
		if (at[k] < csv->n_fields && str_copy(copy, sizeof copy, str_trim(csv->fields[at[k]])))
			v[k] = strtod(copy, &end);
		if (end == copy || *end || !(v[k] >= columns[k].least && v[k] <= columns[k].most))
			return error_set(error, SL_EINVAL, "%s:%u: %s must be a number from %g to %g", csv->file, csv->line, columns[k].name,
			                 columns[k].least, columns[k].most);
	}
	*kind = (struct sim_engine_kind){ .base = v[BASE], .prefill = v[PREFILL] / 1e3, .quadratic = v[QUADRATIC] / 1e6,
		.sequence = v[SEQUENCE] / 1e3, .context = v[CONTEXT] / 1e6, .delivery = v[DELIVERY], .kv_tokens = (uint32_t) v[ROOM],
		.step_tokens = (uint32_t) v[STEP], .sequences = (uint32_t) v[SEQUENCES] };
	*count = (uint64_t) v[COUNT];
	if (at[NAME] >= csv->n_fields || !str_copy(kind->name, sizeof kind->name, str_trim(csv->fields[at[NAME]])) || !*kind->name)
		return error_set(error, SL_EINVAL, "%s:%u: name must have 1 to %zu characters", csv->file, csv->line, sizeof kind->name - 1);
	return SL_OK;
}

int sim_fleet_load(struct sim_fleet *f, const char *file, char *text, size_t len, sl_error *error)
{
	struct csv csv;
	size_t at[COLUMNS];
	csv_open(&csv, file, text, len);
	int code = csv_next(&csv, error);
	if (code == 0)
		return error_set(error, SL_EINVAL, "%s: empty; the first line must name the columns", file);
	for (size_t k = 0; code == 1 && k < COLUMNS; k++) {
		at[k] = SIZE_MAX;
		for (size_t i = 0; i < csv.n_fields; i++)
			if (str_eq(str_trim(csv.fields[i]), str_of(columns[k].name)))
				at[k] = i;
		if (at[k] == SIZE_MAX && k < NEEDED)
			return error_set(error, SL_EINVAL, "%s:%u: there is no column %s", file, csv.line, columns[k].name);
	}
	while (code == 1 && (code = csv_next(&csv, error)) == 1) {
		struct sim_engine_kind kind;
		uint64_t count = 0;
		char where[300];
		snprintf(where, sizeof where, "%.200s:%u", file, csv.line);
		code = read_row(&csv, at, &kind, &count, error);
		if (code == SL_OK)
			code = add(f, &kind, count, where, error);
		if (code != SL_OK)
			return code;
		code = 1;
	}
	if (code < 0)
		return code;
	return f->n ? SL_OK : error_set(error, SL_EINVAL, "%s: there is no engine in it", file);
}

void sim_fleet_list(struct buf *out)
{
	for (size_t i = 0; i < KNOWN; i++)
		buf_printf(out, "%s\n", known[i].name);
}

void sim_fleet_mean(const struct sim_fleet *f, struct sim_engine_kind *out)
{
	double n = f->n, room = 0;
	*out = f->kinds[f->of[0]];
	out->base = out->prefill = out->quadratic = out->sequence = out->context = 0;
	for (uint32_t i = 0; i < f->n; i++) {
		const struct sim_engine_kind *k = &f->kinds[f->of[i]];
		out->base += k->base / n;
		out->prefill += k->prefill / n;
		out->quadratic += k->quadratic / n;
		out->sequence += k->sequence / n;
		out->context += k->context / n;
		room += k->kv_tokens / n;
	}
	out->kv_tokens = (uint32_t) room;
}

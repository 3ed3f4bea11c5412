/* SPDX-License-Identifier: Apache-2.0 */
/* trace.c - reads machines and jobs from CSV. */
#include "core/sim/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "core/base/str.h"
#include "core/sim/csv.h"

#define ABSENT SIZE_MAX
#define NUMBER_MAX (INT64_C(1) << 50)
#define PRIORITY_MAX 1000
#define TIME_MAX (INT64_C(1) << 36) /* seconds: some 2,000 years */

/* A table's header and where its columns are. */
struct table {
	struct csv csv;
	sl_error *error;
	size_t n_columns;
	struct column {
		const char *name;
		size_t at; /* ABSENT: the table has no such column */
	} *columns;
};

enum { NODE_NAME, NODE_CPU, NODE_MEMORY, NODE_GPUS, NODE_MODEL, NODE_COLUMNS };
enum { JOB_NAME, JOB_CPU, JOB_MEMORY, JOB_GPUS, JOB_MILLI, JOB_NEEDED, JOB_SPEC = JOB_NEEDED, JOB_QUEUE, JOB_CREATED,
       JOB_SCHEDULED, JOB_DELETED, JOB_LIMIT, JOB_PRIORITY, JOB_COLUMNS };

static size_t column_at(const struct csv *csv, const char *name)
{
	for (size_t i = 0; i < csv->n_fields; i++)
		if (str_eq(str_trim(csv->fields[i]), str_of(name)))
			return i;
	return ABSENT;
}

/* Reads the header. The first `needed` columns must be there; `other` (may be NULL) is what columns[instead] may be
 * called, too. */
static int open_table(struct table *t, size_t needed, size_t all, size_t instead, const char *other)
{
	int code = csv_next(&t->csv, t->error);
	if (code == 0)
		return error_set(t->error, SL_EINVAL, "%s: empty; the first line must name the columns", t->csv.file);
	if (code != 1)
		return code;
	t->n_columns = t->csv.n_fields;
	for (size_t i = 0; i < all; i++) {
		t->columns[i].at = column_at(&t->csv, t->columns[i].name);
		if (t->columns[i].at == ABSENT && i == instead)
			t->columns[i].at = column_at(&t->csv, other);
		if (t->columns[i].at == ABSENT && i < needed)
			return error_set(t->error, SL_EINVAL, "%s:%u: there is no column %s", t->csv.file, t->csv.line,
			                 t->columns[i].name);
	}
	return SL_OK;
}

/* 1: a row, 0: no more, or an error. */
static int next_row(struct table *t)
{
	int code = csv_next(&t->csv, t->error);
	if (code == 1 && t->csv.n_fields != t->n_columns)
		return error_set(t->error, SL_EINVAL, "%s:%u: %zu fields, the first line names %zu", t->csv.file, t->csv.line,
		                 t->csv.n_fields, t->n_columns);
	return code;
}

static sl_str text_at(const struct table *t, size_t column)
{
	size_t at = t->columns[column].at;
	return at == ABSENT ? (sl_str){ NULL, 0 } : str_trim(t->csv.fields[at]);
}

static int wrong(const struct table *t, size_t column, const char *what)
{
	sl_str text = text_at(t, column);
	return error_set(t->error, SL_EINVAL, "%s:%u: %s is '%.*s': %s", t->csv.file, t->csv.line, t->columns[column].name,
	                 (int) (text.len < 40 ? text.len : 40), text.ptr ? text.ptr : "", what);
}

/* A whole number; "12.0" is one, too. */
static int number_at(const struct table *t, size_t column, uint64_t max, int64_t *out)
{
	sl_str text = text_at(t, column);
	uint64_t value;
	const char *dot = text.len ? memchr(text.ptr, '.', text.len) : NULL;
	if (dot) {
		size_t whole = (size_t) (dot - text.ptr), k = whole + 1;
		while (k < text.len && text.ptr[k] == '0')
			k++;
		text.len = k == text.len ? whole : text.len;
	}
	if (!str_to_u64(text, max, &value)) {
		char what[64];
		snprintf(what, sizeof what, "a whole number from 0 to %llu is expected", (unsigned long long) max);
		return wrong(t, column, what);
	}
	*out = (int64_t) value;
	return SL_OK;
}

/* The name's number, a new one when it is not known; SIZE_MAX: out of memory or too many. */
static size_t name_number(struct arena *arena, struct sim_names *names, sl_str name, uint32_t max)
{
	for (uint32_t i = 0; i < names->n; i++)
		if (str_eq(str_of(names->at[i]), name))
			return i;
	if (!names->at)
		names->at = arena_alloc(arena, max * sizeof *names->at);
	if (!names->at || names->n == max || !(names->at[names->n] = arena_strdup(arena, name)))
		return SIZE_MAX;
	return names->n++;
}

static int more_rows(struct table *t, void *list, size_t n, size_t *room, size_t size)
{
	if (n < *room)
		return SL_OK;
	if (n == SIM_ROWS_MAX)
		return error_set(t->error, SL_EFULL, "%s:%u: more than %d rows", t->csv.file, t->csv.line, SIM_ROWS_MAX);
	size_t bigger = *room ? *room * 2 : 256;
	void *more = realloc(*(void **) list, bigger * size);
	if (!more)
		return error_set(t->error, SL_ENOMEM, "%s: out of memory", t->csv.file);
	*(void **) list = more;
	*room = bigger;
	return SL_OK;
}

static int read_node(struct sim_trace *trace, struct table *t, struct sim_node *node)
{
	int64_t gpus = 0;
	int code = number_at(t, NODE_CPU, NUMBER_MAX, &node->cpu_milli);
	if (code == SL_OK)
		code = number_at(t, NODE_MEMORY, NUMBER_MAX, &node->memory_mib);
	if (code == SL_OK)
		code = number_at(t, NODE_GPUS, SIM_GPUS_MAX, &gpus);
	if (code != SL_OK)
		return code;
	size_t model = name_number(&trace->arena, &trace->models, text_at(t, NODE_MODEL), SIM_MODELS_MAX);
	if (model == SIZE_MAX)
		return wrong(t, NODE_MODEL, "there are too many models");
	node->gpus = (uint32_t) gpus;
	node->model = (uint32_t) model;
	node->name = arena_strdup(&trace->arena, text_at(t, NODE_NAME));
	return node->name ? SL_OK : error_set(t->error, SL_ENOMEM, "%s: out of memory", t->csv.file);
}

int sim_load_nodes(struct sim_trace *trace, const char *file, char *text, size_t len, sl_error *error)
{
	struct column columns[NODE_COLUMNS] = { { "sn", 0 }, { "cpu_milli", 0 }, { "memory_mib", 0 }, { "gpu", 0 },
		{ "model", 0 } };
	struct table t = { .error = error, .columns = columns };
	csv_open(&t.csv, file, text, len);
	int code = open_table(&t, NODE_COLUMNS, NODE_COLUMNS, NODE_NAME, "name");
	if (code != SL_OK)
		return code;
	while ((code = next_row(&t)) == 1) {
		struct sim_node node = { 0 };
		code = more_rows(&t, &trace->nodes, trace->n_nodes, &trace->room_nodes, sizeof *trace->nodes);
		if (code == SL_OK)
			code = read_node(trace, &t, &node);
		if (code != SL_OK)
			return code;
		trace->gpus += node.gpus;
		trace->nodes[trace->n_nodes++] = node;
	}
	return code;
}

/* "V100M16|V100M32": the models that will do. */
static int read_spec(struct sim_trace *trace, struct table *t, struct sim_job *job)
{
	sl_str rest = text_at(t, JOB_SPEC);
	while (rest.len) {
		const char *bar = memchr(rest.ptr, '|', rest.len);
		sl_str name = { rest.ptr, bar ? (size_t) (bar - rest.ptr) : rest.len };
		size_t skip = name.len + (bar != NULL);
		rest = (sl_str){ rest.ptr + skip, rest.len - skip };
		if (name.len == 0)
			continue;
		size_t model = name_number(&trace->arena, &trace->models, name, SIM_MODELS_MAX);
		if (model == SIZE_MAX)
			return wrong(t, JOB_SPEC, "there are too many models");
		job->models |= UINT64_C(1) << model;
	}
	return SL_OK;
}

static int read_gpus(struct table *t, struct sim_job *job)
{
	int64_t gpus, milli;
	int code = number_at(t, JOB_GPUS, SIM_GPUS_MAX, &gpus);
	if (code == SL_OK)
		code = number_at(t, JOB_MILLI, SIM_WHOLE, &milli);
	if (code != SL_OK)
		return code;
	if (gpus > 1 && milli != SIM_WHOLE)
		return wrong(t, JOB_MILLI, "parts of several GPUs are not possible, only whole ones (1000)");
	if (gpus == 1 && milli == 0)
		return wrong(t, JOB_MILLI, "a job with a GPU needs 1 to 1000 thousandths of it");
	job->gpus = (uint32_t) gpus;
	job->milli = gpus ? (uint32_t) milli : 0;
	return SL_OK;
}

/* Seconds; a field that is empty is as if there were no such column. */
static int read_time(struct table *t, size_t column, int64_t *out)
{
	*out = -1;
	return text_at(t, column).len ? number_at(t, column, TIME_MAX, out) : SL_OK;
}

static int read_times(struct table *t, struct sim_job *job)
{
	int64_t created, scheduled, deleted;
	int code = read_time(t, JOB_CREATED, &created);
	if (code == SL_OK)
		code = read_time(t, JOB_SCHEDULED, &scheduled);
	if (code == SL_OK)
		code = read_time(t, JOB_DELETED, &deleted);
	if (code == SL_OK)
		code = read_time(t, JOB_LIMIT, &job->limit_s);
	if (code != SL_OK)
		return code;
	if (job->limit_s == 0)
		return wrong(t, JOB_LIMIT, "a time limit is at least a second; leave it empty for none");
	job->submit_s = created < 0 ? 0 : created;
	job->end_s = deleted;
	job->run_s = scheduled < 0 || deleted < 0 ? -1 : deleted - scheduled;
	if (scheduled >= 0 && deleted >= 0 && deleted < scheduled)
		return wrong(t, JOB_DELETED, "that is before scheduled_time");
	return SL_OK;
}

static int read_priority(struct table *t, struct sim_job *job)
{
	sl_str text = text_at(t, JOB_PRIORITY);
	bool negative = text.len && text.ptr[0] == '-';
	uint64_t value = 0;
	if (negative)
		text = (sl_str){ text.ptr + 1, text.len - 1 };
	if ((text.len || negative) && !str_to_u64(text, PRIORITY_MAX, &value))
		return wrong(t, JOB_PRIORITY, "a whole number from -1000 to 1000 is expected");
	job->priority = negative ? -(int32_t) value : (int32_t) value;
	return SL_OK;
}

static int read_job(struct sim_trace *trace, struct table *t, struct sim_job *job)
{
	int code = number_at(t, JOB_CPU, NUMBER_MAX, &job->cpu_milli);
	if (code == SL_OK)
		code = number_at(t, JOB_MEMORY, NUMBER_MAX, &job->memory_mib);
	if (code == SL_OK)
		code = read_gpus(t, job);
	if (code == SL_OK)
		code = read_spec(trace, t, job);
	if (code == SL_OK)
		code = read_times(t, job);
	if (code == SL_OK)
		code = read_priority(t, job);
	if (code != SL_OK)
		return code;
	sl_str queue = text_at(t, JOB_QUEUE);
	size_t number = name_number(&trace->arena, &trace->queues, queue.len ? queue : STR("default"), SIM_QUEUES_MAX);
	if (number == SIZE_MAX)
		return wrong(t, JOB_QUEUE, "there are too many queues");
	job->queue = (uint32_t) number;
	job->name = arena_strdup(&trace->arena, text_at(t, JOB_NAME));
	return job->name ? SL_OK : error_set(t->error, SL_ENOMEM, "%s: out of memory", t->csv.file);
}

int sim_load_jobs(struct sim_trace *trace, const char *file, char *text, size_t len, sl_error *error)
{
	struct column columns[JOB_COLUMNS] = { { "name", 0 }, { "cpu_milli", 0 }, { "memory_mib", 0 }, { "num_gpu", 0 },
		{ "gpu_milli", 0 }, { "gpu_spec", 0 }, { "queue", 0 }, { "creation_time", 0 }, { "scheduled_time", 0 },
		{ "deletion_time", 0 }, { "time_limit", 0 }, { "priority", 0 } };
	struct table t = { .error = error, .columns = columns };
	csv_open(&t.csv, file, text, len);
	int code = open_table(&t, JOB_NEEDED, JOB_COLUMNS, JOB_QUEUE, "qos");
	if (code != SL_OK)
		return code;
	while ((code = next_row(&t)) == 1) {
		struct sim_job job = { 0 };
		code = more_rows(&t, &trace->jobs, trace->n_jobs, &trace->room_jobs, sizeof *trace->jobs);
		if (code == SL_OK)
			code = read_job(trace, &t, &job);
		if (code != SL_OK)
			return code;
		job.order = (uint32_t) trace->n_jobs;
		trace->jobs[trace->n_jobs++] = job;
	}
	return code;
}

void sim_trace_free(struct sim_trace *trace)
{
	free(trace->nodes);
	free(trace->jobs);
	arena_free(&trace->arena);
	*trace = (struct sim_trace){ 0 };
}

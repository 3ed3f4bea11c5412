/* SPDX-License-Identifier: Apache-2.0 */
/* query.c - sums of use, records, objects and leases. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "plugins/store/sqlite/sqlite.h"

#define DAY_MS 86400000
#define SPLIT 1000000000 /* sums are made of two halves, so that none can overflow */

/* A statement in the making: text and the values for its ?. */
struct question {
	char sql[2048];
	size_t len;
	struct {
		bool is_text;
		int64_t number;
		sl_str text;
	} value[12];
	int n;
};

static void add(struct question *q, const char *text)
{
	size_t len = strlen(text);
	if (q->len + len < sizeof q->sql) {
		memcpy(q->sql + q->len, text, len + 1);
		q->len += len;
	}
}

static void add_number(struct question *q, const char *text, int64_t number)
{
	add(q, text);
	q->value[q->n++].number = number;
}

static void add_text(struct question *q, const char *text, sl_str value)
{
	if (!value.len)
		return;
	add(q, text);
	q->value[q->n].is_text = true;
	q->value[q->n++].text = value;
}

static int64_t clamp(uint64_t value)
{
	return value > INT64_MAX ? INT64_MAX : (int64_t) value;
}

static void add_filter(struct question *q, const sl_usage_filter *given)
{
	sl_usage_filter f = { 0 };
	if (given)
		memcpy(&f, given, given->size < sizeof f ? given->size : sizeof f);
	add(q, " FROM usage WHERE 1");
	if (f.since_ms)
		add_number(q, " AND started_ms >= ?", clamp(f.since_ms));
	if (f.until_ms)
		add_number(q, " AND started_ms < ?", clamp(f.until_ms));
	add_text(q, " AND tenant = ?", f.tenant);
	add_text(q, " AND user = ?", f.user);
	add_text(q, " AND key = ?", f.key);
	add_text(q, " AND model = ?", f.model);
	add_text(q, " AND request_id = ?", f.request_id);
}

static sqlite3_stmt *prepare(struct store *s, const struct question *q)
{
	sqlite3_stmt *statement;
	if (sqlite3_prepare_v2(s->db, q->sql, -1, &statement, NULL) != SQLITE_OK)
		return NULL;
	for (int i = 0; i < q->n; i++) {
		if (q->value[i].is_text)
			sqlite3_bind_text(statement, i + 1, q->value[i].text.ptr ? q->value[i].text.ptr : "",
			                  (int) q->value[i].text.len, SQLITE_STATIC);
		else
			sqlite3_bind_int64(statement, i + 1, q->value[i].number);
	}
	return statement;
}

/* Ends a statement whose last step gave `step`. */
static int finish(struct store *s, sqlite3_stmt *q, int step, sl_error *error)
{
	int code = step == SQLITE_DONE || step == SQLITE_ROW ? SL_OK : store_failed(s, "cannot read", error);
	sqlite3_finalize(q);
	return code;
}

static void copy_text(sqlite3_stmt *q, int column, char *out, size_t room)
{
	const char *text = (const char *) sqlite3_column_text(q, column);
	snprintf(out, room, "%s", text ? text : "");
}

/* The columns of each bit, in the order of the bits. */
static const struct {
	uint32_t bit;
	const char *expression;
} groups[] = {
	{ SL_BY_DAY, "started_ms / 86400000" }, { SL_BY_TENANT, "tenant" }, { SL_BY_USER, "user" },
	{ SL_BY_KEY, "key" }, { SL_BY_MODEL, "model" },
};
enum { GROUPS = sizeof groups / sizeof groups[0] };

static void add_groups(struct question *q, uint32_t by, const char *before)
{
	for (int i = 0; i < GROUPS; i++) {
		if (!(by & groups[i].bit))
			continue;
		add(q, before);
		add(q, groups[i].expression);
		before = ", ";
	}
}

static void read_group(sqlite3_stmt *q, int column, uint32_t bit, sl_usage_sum *sum)
{
	switch (bit) {
	case SL_BY_DAY: {
		time_t seconds = (time_t) sqlite3_column_int64(q, column) * (DAY_MS / 1000);
		struct tm tm;
		if (gmtime_r(&seconds, &tm))
			strftime(sum->day, sizeof sum->day, "%Y-%m-%d", &tm);
		break;
	}
	case SL_BY_TENANT:
		copy_text(q, column, sum->tenant, sizeof sum->tenant);
		break;
	case SL_BY_USER:
		copy_text(q, column, sum->user, sizeof sum->user);
		break;
	case SL_BY_KEY:
		copy_text(q, column, sum->key, sizeof sum->key);
		break;
	default:
		copy_text(q, column, sum->model, sizeof sum->model);
		break;
	}
}

static __int128 read_sum(sqlite3_stmt *q, int column)
{
	return (__int128) sqlite3_column_int64(q, column) * SPLIT + sqlite3_column_int64(q, column + 1);
}

static int64_t read_sum64(sqlite3_stmt *q, int column)
{
	__int128 sum = read_sum(q, column);
	return sum > INT64_MAX ? INT64_MAX : sum < INT64_MIN ? INT64_MIN : (int64_t) sum;
}

static void read_usage_sum(sqlite3_stmt *q, uint32_t by, sl_usage_sum *sum)
{
	int column = 0;
	*sum = (sl_usage_sum){ .size = sizeof *sum };
	for (int i = 0; i < GROUPS; i++)
		if (by & groups[i].bit)
			read_group(q, column++, groups[i].bit, sum);
	sum->requests = sqlite3_column_int64(q, column++);
	sum->input_tokens = read_sum64(q, column);
	sum->cached_tokens = read_sum64(q, column + 2);
	sum->output_tokens = read_sum64(q, column + 4);
	unsigned __int128 cost = (unsigned __int128) read_sum(q, column + 6);
	sum->cost_high = (uint64_t) (cost >> 64);
	sum->cost_low = (uint64_t) cost;
}

int query_usage_sum(void *self, const sl_usage_filter *filter, uint32_t by,
                    int (*each)(void *arg, const sl_usage_sum *), void *arg, sl_error *error)
{
	static const char *const summed[] = { "input_tokens", "cached_tokens", "output_tokens", "cost" };
	struct store *s = self;
	struct question question = { 0 };
	add_groups(&question, by, "SELECT ");
	add(&question, question.len ? ", count(*)" : "SELECT count(*)");
	for (size_t i = 0; i < sizeof summed / sizeof summed[0]; i++) {
		char pair[96];
		snprintf(pair, sizeof pair, ", sum(%s / %d), sum(%s %% %d)", summed[i], SPLIT, summed[i], SPLIT);
		add(&question, pair);
	}
	add_filter(&question, filter);
	add_groups(&question, by, " GROUP BY ");
	add_groups(&question, by, " ORDER BY ");
	sqlite3_stmt *q = prepare(s, &question);
	if (!q)
		return store_failed(s, "cannot read", error);
	int step;
	while ((step = sqlite3_step(q)) == SQLITE_ROW) {
		sl_usage_sum sum;
		read_usage_sum(q, by, &sum);
		if (each(arg, &sum) != 0)
			break;
	}
	return finish(s, q, step, error);
}

static void read_usage(sqlite3_stmt *q, sl_usage *u)
{
	*u = (sl_usage){
		.started_ms = (uint64_t) sqlite3_column_int64(q, 1), .duration_us = (uint64_t) sqlite3_column_int64(q, 2),
		.ttft_us = (uint64_t) sqlite3_column_int64(q, 3), .wait_us = (uint64_t) sqlite3_column_int64(q, 4),
		.input_tokens = sqlite3_column_int64(q, 5), .cached_tokens = sqlite3_column_int64(q, 6),
		.output_tokens = sqlite3_column_int64(q, 7), .cost = sqlite3_column_int64(q, 8),
		.flags = (uint32_t) sqlite3_column_int64(q, 9), .status = (uint16_t) sqlite3_column_int64(q, 10),
		.tries = (uint16_t) sqlite3_column_int64(q, 11),
	};
	copy_text(q, 12, u->request_id, sizeof u->request_id);
	copy_text(q, 13, u->tenant, sizeof u->tenant);
	copy_text(q, 14, u->user, sizeof u->user);
	copy_text(q, 15, u->key, sizeof u->key);
	copy_text(q, 16, u->model, sizeof u->model);
	copy_text(q, 17, u->replica, sizeof u->replica);
	copy_text(q, 18, u->door, sizeof u->door);
}

int query_usage_scan(void *self, const sl_usage_filter *filter, uint64_t limit,
                     int (*each)(void *arg, uint64_t seq, const sl_usage *), void *arg, sl_error *error)
{
	struct store *s = self;
	struct question question = { 0 };
	add(&question, "SELECT seq, started_ms, duration_us, ttft_us, wait_us, input_tokens, cached_tokens, output_tokens, cost,"
	               " flags, status, tries, request_id, tenant, user, key, model, replica, door");
	add_filter(&question, filter);
	add(&question, " ORDER BY started_ms DESC, seq DESC");
	if (limit)
		add_number(&question, " LIMIT ?", clamp(limit));
	sqlite3_stmt *q = prepare(s, &question);
	if (!q)
		return store_failed(s, "cannot read", error);
	int step;
	while ((step = sqlite3_step(q)) == SQLITE_ROW) {
		sl_usage usage;
		read_usage(q, &usage);
		if (each(arg, (uint64_t) sqlite3_column_int64(q, 0), &usage) != 0)
			break;
	}
	return finish(s, q, step, error);
}

static sl_str column_str(sqlite3_stmt *q, int column)
{
	const char *text = (const char *) sqlite3_column_text(q, column);
	return (sl_str){ text, (size_t) sqlite3_column_bytes(q, column) };
}

/* Rows of two texts. */
static int each_pair(struct store *s, const struct question *question, int (*each)(void *arg, sl_str, sl_str), void *arg,
                     sl_error *error)
{
	sqlite3_stmt *q = prepare(s, question);
	if (!q)
		return store_failed(s, "cannot read", error);
	int step;
	while ((step = sqlite3_step(q)) == SQLITE_ROW)
		if (each(arg, column_str(q, 0), column_str(q, 1)) != 0)
			break;
	return finish(s, q, step, error);
}

int query_object_scan(void *self, sl_str prefix, int (*each)(void *arg, sl_str key, sl_str json), void *arg,
                      sl_error *error)
{
	struct question question = { 0 };
	char after[256];
	size_t len = prefix.len < sizeof after ? prefix.len : 0;
	add(&question, "SELECT key, json FROM object WHERE 1");
	add_text(&question, " AND key >= ?", prefix);
	/* The first text that is greater than all with the prefix. */
	memcpy(after, prefix.ptr ? prefix.ptr : "", len);
	while (len > 0 && (unsigned char) after[len - 1] == 0xff)
		len--;
	if (len > 0)
		after[len - 1]++;
	add_text(&question, " AND key < ?", (sl_str){ after, len });
	add(&question, " ORDER BY key");
	return each_pair(self, &question, each, arg, error);
}

int query_lease_scan(void *self, int open_only, int (*each)(void *arg, sl_str id, sl_str json), void *arg, sl_error *error)
{
	struct question question = { 0 };
	add(&question, "SELECT id, json FROM lease");
	if (open_only)
		add(&question, " WHERE ended = 0");
	add(&question, " ORDER BY number, id");
	return each_pair(self, &question, each, arg, error);
}

int query_lease_history(void *self, sl_str id, int (*each)(void *arg, uint64_t wall_ms, sl_str json), void *arg,
                        sl_error *error)
{
	struct store *s = self;
	struct question question = { 0 };
	add(&question, "SELECT wall_ms, json FROM lease_change WHERE 1");
	add_text(&question, " AND id = ?", id.len ? id : (sl_str){ "-", 1 });
	add(&question, " ORDER BY seq");
	sqlite3_stmt *q = prepare(s, &question);
	if (!q)
		return store_failed(s, "cannot read", error);
	int step;
	while ((step = sqlite3_step(q)) == SQLITE_ROW)
		if (each(arg, (uint64_t) sqlite3_column_int64(q, 0), column_str(q, 1)) != 0)
			break;
	return finish(s, q, step, error);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* query.c - sums of use, records, objects and leases. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "plugins/store/sqlite/sqlite.h"

#define DAY_MS 86400000
#define HOUR_MS 3600000

void question_add(struct question *q, const char *text)
{
	size_t len = strlen(text);
	if (q->len + len < sizeof q->sql) {
		memcpy(q->sql + q->len, text, len + 1);
		q->len += len;
	}
}

void question_number(struct question *q, const char *text, int64_t number)
{
	question_add(q, text);
	q->value[q->n++].number = number;
}

void question_text(struct question *q, const char *text, sl_str value)
{
	if (!value.len)
		return;
	question_add(q, text);
	q->value[q->n].is_text = true;
	q->value[q->n++].text = value;
}

int64_t question_clamp(uint64_t value)
{
	return value > INT64_MAX ? INT64_MAX : (int64_t) value;
}

static sl_usage_filter filter_of(const sl_usage_filter *given)
{
	sl_usage_filter f = { 0 };
	if (given)
		memcpy(&f, given, given->size < sizeof f ? given->size : sizeof f);
	return f;
}

static void add_whose(struct question *q, const sl_usage_filter *f)
{
	question_text(q, " AND tenant = ?", f->tenant);
	question_text(q, " AND user = ?", f->user);
	question_text(q, " AND key = ?", f->key);
	question_text(q, " AND model = ?", f->model);
}

static void add_filter(struct question *q, const sl_usage_filter *given)
{
	const sl_usage_filter f = filter_of(given);
	question_add(q, " FROM usage WHERE 1");
	if (f.since_ms)
		question_number(q, " AND started_ms >= ?", question_clamp(f.since_ms));
	if (f.until_ms)
		question_number(q, " AND started_ms < ?", question_clamp(f.until_ms));
	add_whose(q, &f);
	question_text(q, " AND request_id = ?", f.request_id);
}

void question_hours(struct question *q, uint64_t since_ms, uint64_t until_ms)
{
	/* An hour counts where it begins. */
	if (since_ms)
		question_number(q, " AND hour >= ?", question_clamp(since_ms / HOUR_MS + (since_ms % HOUR_MS != 0)));
	if (until_ms)
		question_number(q, " AND hour < ?", question_clamp(until_ms / HOUR_MS + (until_ms % HOUR_MS != 0)));
}

void question_folded(struct question *q, const sl_usage_filter *given)
{
	const sl_usage_filter f = filter_of(given);
	question_add(q, " FROM usage_sum WHERE 1");
	question_hours(q, f.since_ms, f.until_ms);
	add_whose(q, &f);
}

void question_requests(struct question *q, const sl_usage_filter *filter)
{
	question_add(q, "SELECT started_ms AS at, tenant, user, key, model, 1 AS n, input_tokens / 1000000000 AS input_high,"
	                " input_tokens % 1000000000 AS input_low, cached_tokens / 1000000000 AS cached_high,"
	                " cached_tokens % 1000000000 AS cached_low, output_tokens / 1000000000 AS output_high,"
	                " output_tokens % 1000000000 AS output_low, cost / 1000000000 AS cost_high, cost % 1000000000 AS cost_low");
	add_filter(q, filter);
	if (filter && filter->request_id.len)
		return; /* a sum is of no single request */
	question_add(q, " UNION ALL SELECT hour * 3600000, tenant, user, key, model, n, input_high, input_low, cached_high,"
	                " cached_low, output_high, output_low, cost_high, cost_low");
	question_folded(q, filter);
}

sqlite3_stmt *question_prepare(struct store *s, const struct question *q)
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

int question_finish(struct store *s, sqlite3_stmt *q, int step, sl_error *error)
{
	int code = step == SQLITE_DONE || step == SQLITE_ROW ? SL_OK : store_failed(s, "cannot read", error);
	sqlite3_finalize(q);
	return code;
}

void question_copy(sqlite3_stmt *q, int column, char *out, size_t room)
{
	const char *text = (const char *) sqlite3_column_text(q, column);
	snprintf(out, room, "%s", text ? text : "");
}

/* The columns of each bit, in the order of the bits. */
static const struct {
	uint32_t bit;
	const char *expression;
} groups[] = {
	{ SL_BY_DAY, "at / 86400000" }, { SL_BY_TENANT, "tenant" }, { SL_BY_USER, "user" },
	{ SL_BY_KEY, "key" }, { SL_BY_MODEL, "model" },
};
enum { GROUPS = sizeof groups / sizeof groups[0] };

static void add_groups(struct question *q, uint32_t by, const char *before)
{
	for (int i = 0; i < GROUPS; i++) {
		if (!(by & groups[i].bit))
			continue;
		question_add(q, before);
		question_add(q, groups[i].expression);
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
		question_copy(q, column, sum->tenant, sizeof sum->tenant);
		break;
	case SL_BY_USER:
		question_copy(q, column, sum->user, sizeof sum->user);
		break;
	case SL_BY_KEY:
		question_copy(q, column, sum->key, sizeof sum->key);
		break;
	default:
		question_copy(q, column, sum->model, sizeof sum->model);
		break;
	}
}

__int128 question_sum(sqlite3_stmt *q, int column)
{
	return (__int128) sqlite3_column_int64(q, column) * SPLIT + sqlite3_column_int64(q, column + 1);
}

int64_t question_sum64(sqlite3_stmt *q, int column)
{
	__int128 sum = question_sum(q, column);
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
	sum->input_tokens = question_sum64(q, column);
	sum->cached_tokens = question_sum64(q, column + 2);
	sum->output_tokens = question_sum64(q, column + 4);
	unsigned __int128 cost = (unsigned __int128) question_sum(q, column + 6);
	sum->cost_high = (uint64_t) (cost >> 64);
	sum->cost_low = (uint64_t) cost;
}

int query_usage_sum(void *self, const sl_usage_filter *filter, uint32_t by,
                    int (*each)(void *arg, const sl_usage_sum *), void *arg, sl_error *error)
{
	struct store *s = self;
	struct question question = { 0 };
	add_groups(&question, by, "SELECT ");
	question_add(&question, question.len ? ", " : "SELECT ");
	question_add(&question, "sum(n), sum(input_high), sum(input_low), sum(cached_high), sum(cached_low), sum(output_high),"
	                        " sum(output_low), sum(cost_high), sum(cost_low) FROM (");
	question_requests(&question, filter);
	question_add(&question, ")");
	add_groups(&question, by, " GROUP BY ");
	add_groups(&question, by, " ORDER BY ");
	sqlite3_stmt *q = question_prepare(s, &question);
	if (!q)
		return store_failed(s, "cannot read", error);
	int step;
	while ((step = sqlite3_step(q)) == SQLITE_ROW) {
		sl_usage_sum sum;
		read_usage_sum(q, by, &sum);
		if (each(arg, &sum) != 0)
			break;
	}
	return question_finish(s, q, step, error);
}

void query_read_usage(sqlite3_stmt *q, sl_usage *u)
{
	*u = (sl_usage){
		.started_ms = (uint64_t) sqlite3_column_int64(q, 1), .duration_us = (uint64_t) sqlite3_column_int64(q, 2),
		.ttft_us = (uint64_t) sqlite3_column_int64(q, 3), .wait_us = (uint64_t) sqlite3_column_int64(q, 4),
		.input_tokens = sqlite3_column_int64(q, 5), .cached_tokens = sqlite3_column_int64(q, 6),
		.output_tokens = sqlite3_column_int64(q, 7), .cost = sqlite3_column_int64(q, 8),
		.flags = (uint32_t) sqlite3_column_int64(q, 9), .status = (uint16_t) sqlite3_column_int64(q, 10),
		.tries = (uint16_t) sqlite3_column_int64(q, 11),
	};
	question_copy(q, 12, u->request_id, sizeof u->request_id);
	question_copy(q, 13, u->tenant, sizeof u->tenant);
	question_copy(q, 14, u->user, sizeof u->user);
	question_copy(q, 15, u->key, sizeof u->key);
	question_copy(q, 16, u->model, sizeof u->model);
	question_copy(q, 17, u->replica, sizeof u->replica);
	question_copy(q, 18, u->door, sizeof u->door);
}

int query_usage_scan(void *self, const sl_usage_filter *filter, uint64_t limit,
                     int (*each)(void *arg, uint64_t seq, const sl_usage *), void *arg, sl_error *error)
{
	struct store *s = self;
	struct question question = { 0 };
	question_add(&question, "SELECT " USAGE_COLUMNS);
	add_filter(&question, filter);
	question_add(&question, " ORDER BY started_ms DESC, seq DESC");
	if (limit)
		question_number(&question, " LIMIT ?", question_clamp(limit));
	sqlite3_stmt *q = question_prepare(s, &question);
	if (!q)
		return store_failed(s, "cannot read", error);
	int step;
	while ((step = sqlite3_step(q)) == SQLITE_ROW) {
		sl_usage usage;
		query_read_usage(q, &usage);
		if (each(arg, (uint64_t) sqlite3_column_int64(q, 0), &usage) != 0)
			break;
	}
	return question_finish(s, q, step, error);
}

sl_str question_str(sqlite3_stmt *q, int column)
{
	const char *text = (const char *) sqlite3_column_text(q, column);
	return (sl_str){ text, (size_t) sqlite3_column_bytes(q, column) };
}

int question_pairs(struct store *s, const struct question *question, int (*each)(void *arg, sl_str, sl_str), void *arg,
                     sl_error *error)
{
	sqlite3_stmt *q = question_prepare(s, question);
	if (!q)
		return store_failed(s, "cannot read", error);
	int step;
	while ((step = sqlite3_step(q)) == SQLITE_ROW)
		if (each(arg, question_str(q, 0), question_str(q, 1)) != 0)
			break;
	return question_finish(s, q, step, error);
}

int query_object_scan(void *self, sl_str prefix, int (*each)(void *arg, sl_str key, sl_str json), void *arg,
                      sl_error *error)
{
	struct question question = { 0 };
	char after[256];
	size_t len = prefix.len < sizeof after ? prefix.len : 0;
	question_add(&question, "SELECT key, json FROM object WHERE 1");
	question_text(&question, " AND key >= ?", prefix);
	/* The first text that is greater than all with the prefix. */
	memcpy(after, prefix.ptr ? prefix.ptr : "", len);
	while (len > 0 && (unsigned char) after[len - 1] == 0xff)
		len--;
	if (len > 0)
		after[len - 1]++;
	question_text(&question, " AND key < ?", (sl_str){ after, len });
	question_add(&question, " ORDER BY key");
	return question_pairs(self, &question, each, arg, error);
}

int query_lease_scan(void *self, int open_only, int (*each)(void *arg, sl_str id, sl_str json), void *arg, sl_error *error)
{
	struct question question = { 0 };
	question_add(&question, "SELECT id, json FROM lease");
	if (open_only)
		question_add(&question, " WHERE ended = 0");
	question_add(&question, " ORDER BY number, id");
	return question_pairs(self, &question, each, arg, error);
}

int query_lease_history(void *self, sl_str id, int (*each)(void *arg, uint64_t wall_ms, sl_str json), void *arg,
                        sl_error *error)
{
	struct store *s = self;
	struct question question = { 0 };
	question_add(&question, "SELECT wall_ms, json FROM lease_change WHERE 1");
	question_text(&question, " AND id = ?", id.len ? id : (sl_str){ "-", 1 });
	question_add(&question, " ORDER BY seq");
	sqlite3_stmt *q = question_prepare(s, &question);
	if (!q)
		return store_failed(s, "cannot read", error);
	int step;
	while ((step = sqlite3_step(q)) == SQLITE_ROW)
		if (each(arg, (uint64_t) sqlite3_column_int64(q, 0), question_str(q, 1)) != 0)
			break;
	return question_finish(s, q, step, error);
}

int query_lease_list(void *self, const sl_lease_filter *given, int (*each)(void *arg, sl_str id, sl_str json), void *arg,
                     sl_error *error)
{
	sl_lease_filter f = { 0 };
	struct question question = { 0 };
	if (given)
		memcpy(&f, given, given->size < sizeof f ? given->size : sizeof f);
	question_add(&question, "SELECT id, json FROM lease WHERE 1");
	if (f.ended)
		question_add(&question, " AND ended = 1");
	if (f.before)
		question_number(&question, " AND number < ?", question_clamp(f.before));
	question_text(&question, " AND " LEASE_TENANT " = ?", f.tenant);
	question_text(&question, " AND " LEASE_USER " = ?", f.user);
	question_add(&question, " ORDER BY number DESC");
	if (f.limit)
		question_number(&question, " LIMIT ?", question_clamp(f.limit));
	return question_pairs(self, &question, each, arg, error);
}

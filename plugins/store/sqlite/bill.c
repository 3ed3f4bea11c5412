/* SPDX-License-Identifier: Apache-2.0 */
/* bill.c - sums of requests and leases together: what was used and what it costs, exact. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "plugins/store/sqlite/sqlite.h"

enum { DAY_S = 86400, HOUR_S = 3600, UNITS = 1000 /* 10^-15 in a request's 10^-12 */ };

/* Texts of a group, in the order of the columns; day, hour and price are numbers and stand apart. */
#define TEXT(BIT, COLUMN) { BIT, #COLUMN, offsetof(sl_bill_sum, COLUMN), sizeof ((sl_bill_sum *) 0)->COLUMN }
static const struct group {
	uint32_t bit;
	const char *expression;
	size_t at, room; /* room 0: a number */
} groups[] = {
	{ SL_BY_DAY, "at / 86400000", offsetof(sl_bill_sum, day), 0 },
	TEXT(SL_BY_TENANT, tenant), TEXT(SL_BY_USER, user), TEXT(SL_BY_KEY, key), TEXT(SL_BY_MODEL, model),
	{ SL_BY_HOUR, "at / 3600000", offsetof(sl_bill_sum, hour), 0 },
	TEXT(SL_BY_QUEUE, queue), TEXT(SL_BY_KIND, kind), TEXT(SL_BY_LEASE, lease),
};
enum { GROUPS = sizeof groups / sizeof groups[0] };

static void add_time(struct question *q, const char *column, const sl_bill_filter *f)
{
	char text[64];
	if (f->since_ms) {
		snprintf(text, sizeof text, " AND %s >= ?", column);
		question_number(q, text, question_clamp(f->since_ms));
	}
	if (f->until_ms) {
		snprintf(text, sizeof text, " AND %s < ?", column);
		question_number(q, text, question_clamp(f->until_ms));
	}
}

static void add_charges(struct question *q, const sl_bill_filter *f)
{
	question_text(q, " AND tenant = ?", f->tenant);
	question_text(q, " AND user = ?", f->user);
	question_text(q, " AND model = ?", f->model);
	question_text(q, " AND queue = ?", f->queue);
	question_text(q, " AND kind = ?", f->kind);
	question_text(q, " AND lease = ?", f->lease);
}

/* Requests and charges with the same columns, those with their records and those that were folded. What only one of
 * them has leaves the other out. */
static void add_rows(struct question *q, const sl_bill_filter *f)
{
	const sl_usage_filter requests = { .size = sizeof requests, .since_ms = f->since_ms, .until_ms = f->until_ms,
		.tenant = f->tenant, .user = f->user, .key = f->key, .model = f->model };
	question_add(q, " FROM (SELECT at, tenant, user, key, model, '' AS queue, '' AS kind, '' AS lease, 0 AS price,"
	                " 0 AS replica, n, input_high, input_low, cached_high, cached_low, output_high, output_low, cost_high,"
	                " cost_low, 0 AS device_ms FROM (");
	question_requests(q, &requests);
	question_add(q, ") WHERE ");
	question_add(q, f->queue.len || f->kind.len || f->lease.len ? "0" : "1");
	question_add(q, " UNION ALL SELECT from_ms, tenant, user, '', model, queue, kind, lease, price, model <> '', 0, 0, 0, 0, 0,"
	                " 0, 0, 0, 0, device_ms FROM charge WHERE ");
	question_add(q, f->key.len ? "0" : "1");
	add_time(q, "from_ms", f);
	add_charges(q, f);
	question_add(q, " UNION ALL SELECT hour * 3600000, tenant, user, '', model, queue, kind, lease, price, model <> '', 0, 0, 0,"
	                " 0, 0, 0, 0, 0, 0, device_ms FROM charge_sum WHERE ");
	question_add(q, f->key.len ? "0" : "1");
	question_hours(q, f->since_ms, f->until_ms);
	add_charges(q, f);
	question_add(q, ")");
}

static void add_groups(struct question *q, uint32_t by)
{
	for (int i = 0; i < GROUPS; i++)
		if (by & groups[i].bit) {
			question_add(q, groups[i].expression);
			question_add(q, ", ");
		}
	question_add(q, "price, replica");
}

static void put_time(char *out, size_t room, bool hour, int64_t seconds)
{
	time_t time = (time_t) seconds;
	struct tm tm;
	if (!gmtime_r(&time, &tm))
		return;
	if (hour)
		strftime(out, room, "%Y-%m-%dT%H:%M:%SZ", &tm);
	else
		strftime(out, room, "%Y-%m-%d", &tm);
}

static void read_groups(sqlite3_stmt *q, uint32_t by, int *column, sl_bill_sum *sum)
{
	for (int i = 0; i < GROUPS; i++) {
		if (!(by & groups[i].bit))
			continue;
		if (groups[i].room)
			question_copy(q, *column, (char *) sum + groups[i].at, groups[i].room);
		else if (groups[i].bit == SL_BY_DAY)
			put_time(sum->day, sizeof sum->day, false, sqlite3_column_int64(q, *column) * DAY_S);
		else
			put_time(sum->hour, sizeof sum->hour, true, sqlite3_column_int64(q, *column) * HOUR_S);
		++*column;
	}
}

static void add_cost(uint64_t *high, uint64_t *low, __int128 more)
{
	unsigned __int128 sum = ((unsigned __int128) *high << 64 | *low) + (unsigned __int128) more;
	*high = (uint64_t) (sum >> 64);
	*low = (uint64_t) sum;
}

/* A row has one price, so its leases cost price x use: nothing is ever rounded. */
static void read_row(sqlite3_stmt *q, uint32_t by, sl_bill_sum *sum)
{
	int column = 0;
	*sum = (sl_bill_sum){ .size = sizeof *sum };
	read_groups(q, by, &column, sum);
	int64_t price = sqlite3_column_int64(q, column);
	bool replica = sqlite3_column_int64(q, column + 1);
	column += 2;
	sum->price = by & SL_BY_PRICE ? price : 0;
	sum->requests = sqlite3_column_int64(q, column++);
	sum->input_tokens = question_sum64(q, column);
	sum->cached_tokens = question_sum64(q, column + 2);
	sum->output_tokens = question_sum64(q, column + 4);
	add_cost(&sum->cost_high, &sum->cost_low, question_sum(q, column + 6) * UNITS);
	int64_t device_ms = sqlite3_column_int64(q, column + 8);
	__int128 cost = (__int128) device_ms * price;
	if (replica) {
		sum->replica_device_ms = device_ms;
		add_cost(&sum->replica_cost_high, &sum->replica_cost_low, cost);
	} else {
		sum->device_ms = device_ms;
		add_cost(&sum->cost_high, &sum->cost_low, cost);
	}
}

static bool same_group(const sl_bill_sum *a, const sl_bill_sum *b)
{
	/* Zeroed and filled alike, so equal groups are equal bytes. */
	size_t first = offsetof(sl_bill_sum, day), end = offsetof(sl_bill_sum, requests);
	return memcmp((const char *) a + first, (const char *) b + first, end - first) == 0;
}

static void merge(sl_bill_sum *sum, const sl_bill_sum *more)
{
	sum->requests += more->requests;
	sum->input_tokens += more->input_tokens;
	sum->cached_tokens += more->cached_tokens;
	sum->output_tokens += more->output_tokens;
	sum->device_ms += more->device_ms;
	sum->replica_device_ms += more->replica_device_ms;
	add_cost(&sum->cost_high, &sum->cost_low, (__int128) ((unsigned __int128) more->cost_high << 64 | more->cost_low));
	add_cost(&sum->replica_cost_high, &sum->replica_cost_low,
	         (__int128) ((unsigned __int128) more->replica_cost_high << 64 | more->replica_cost_low));
}

/* Rows of one group that differ in price follow each other: they become one sum. */
static int each_sum(struct store *s, sqlite3_stmt *q, uint32_t by, int (*each)(void *arg, const sl_bill_sum *), void *arg,
                    sl_error *error)
{
	sl_bill_sum sum, row;
	bool any = false, stopped = false;
	int step;
	while (!stopped && (step = sqlite3_step(q)) == SQLITE_ROW) {
		read_row(q, by, &row);
		if (any && same_group(&sum, &row)) {
			merge(&sum, &row);
			continue;
		}
		stopped = any && each(arg, &sum) != 0;
		sum = row;
		any = true;
	}
	int code = question_finish(s, q, stopped ? SQLITE_ROW : step, error);
	if (code == SL_OK && any && !stopped)
		each(arg, &sum);
	return code;
}

int bill_sum(void *self, const sl_bill_filter *given, uint32_t by, int (*each)(void *arg, const sl_bill_sum *), void *arg,
             sl_error *error)
{
	struct store *s = self;
	struct question question = { 0 };
	sl_bill_filter f = { 0 };
	if (given)
		memcpy(&f, given, given->size < sizeof f ? given->size : sizeof f);
	question_add(&question, "SELECT ");
	add_groups(&question, by);
	question_add(&question, ", sum(n), sum(input_high), sum(input_low), sum(cached_high), sum(cached_low), sum(output_high),"
	                        " sum(output_low), sum(cost_high), sum(cost_low), sum(device_ms)");
	add_rows(&question, &f);
	question_add(&question, " GROUP BY ");
	add_groups(&question, by);
	question_add(&question, " ORDER BY ");
	add_groups(&question, by);
	sqlite3_stmt *q = question_prepare(s, &question);
	return q ? each_sum(s, q, by, each, arg, error) : store_failed(s, "cannot read", error);
}

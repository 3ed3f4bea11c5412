/* SPDX-License-Identifier: Apache-2.0 */
/* fold.c - old records become sums by hour, in the transaction that forgets them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "plugins/store/sqlite/sqlite.h"

#define HOUR_MS 3600000

/* ?1: the last record that goes. */
static const char *const rest[] = {
	"INSERT INTO charge_sum SELECT from_ms / 3600000, lease, tenant, user, queue, kind, model, price, sum(device_ms)"
	" FROM charge WHERE seq <= ?1 GROUP BY 1, 2, 3, 4, 5, 6, 7, 8"
	" ON CONFLICT DO UPDATE SET device_ms = device_ms + excluded.device_ms",
	/* The highest number stays, so that it is never given again. */
	"DELETE FROM lease WHERE ended = 1 AND id IN (SELECT id FROM lease_change WHERE seq <= ?1)"
	" AND number < (SELECT max(number) FROM lease)"
	" AND NOT EXISTS (SELECT 1 FROM lease_change c WHERE c.id = lease.id AND c.seq > ?1)",
	"DELETE FROM usage WHERE seq <= ?1",
	"DELETE FROM charge WHERE seq <= ?1",
	"DELETE FROM lease_change WHERE seq <= ?1",
	"DELETE FROM object_change WHERE seq <= ?1",
};

/* Of the seals up to ?1, each day's last one stays, without checksums and for all records behind the one before. ?2: the
 * last one that was folded before, where a day may go on. ?3: where the chain begins. */
static const char *const seals[] = {
	"DELETE FROM seal WHERE last >= ?2 AND last < ?1 AND wall_ms / 86400000 ="
	" (SELECT n.wall_ms / 86400000 FROM seal n WHERE n.last > seal.last ORDER BY n.last LIMIT 1)",
	"UPDATE seal SET checks = x'', first = coalesce((SELECT max(p.last) + 1 FROM seal p WHERE p.last < seal.last), ?3)"
	" WHERE last >= ?2 AND last <= ?1",
};

static int failed(struct store *s, sl_error *error)
{
	return store_failed(s, "cannot fold records of", error);
}

/* Runs it with up to three numbers. */
static int change(struct store *s, const char *sql, const int64_t numbers[3], sl_error *error)
{
	sqlite3_stmt *q;
	if (sqlite3_prepare_v2(s->db, sql, -1, &q, NULL) != SQLITE_OK)
		return failed(s, error);
	for (int i = 0; i < sqlite3_bind_parameter_count(q) && i < 3; i++)
		sqlite3_bind_int64(q, i + 1, numbers[i]);
	int code = sqlite3_step(q) == SQLITE_DONE ? SL_OK : failed(s, error);
	sqlite3_finalize(q);
	return code;
}

/* The first number of an answer, 0: none. */
static int number(struct store *s, const char *sql, int64_t about, int64_t *out, sl_error *error)
{
	struct question question = { 0 };
	question_number(&question, sql, about);
	sqlite3_stmt *q = question_prepare(s, &question);
	if (!q)
		return failed(s, error);
	int step = sqlite3_step(q);
	*out = step == SQLITE_ROW ? sqlite3_column_int64(q, 0) : 0;
	return question_finish(s, q, step, error);
}

static bool add_use(sqlite3_stmt *into, const sl_usage *u, uint64_t part)
{
	const int64_t counts[] = { u->input_tokens, u->cached_tokens, u->output_tokens, u->cost };
	int at = 1;
	sqlite3_bind_int64(into, at++, question_clamp(u->started_ms) / HOUR_MS);
	sqlite3_bind_text(into, at++, u->tenant, -1, SQLITE_STATIC);
	sqlite3_bind_text(into, at++, u->user, -1, SQLITE_STATIC);
	sqlite3_bind_text(into, at++, u->key, -1, SQLITE_STATIC);
	sqlite3_bind_text(into, at++, u->model, -1, SQLITE_STATIC);
	sqlite3_bind_int64(into, at++, (int64_t) part);
	for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
		sqlite3_bind_int64(into, at++, counts[i] / SPLIT);
		sqlite3_bind_int64(into, at++, counts[i] % SPLIT);
	}
	int step = sqlite3_step(into);
	sqlite3_reset(into);
	return step == SQLITE_DONE;
}

static int fold_uses(struct store *s, const sl_fold *fold, sl_error *error)
{
	static const char sql[] = "INSERT INTO usage_sum VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
		" n = n + 1, input_high = input_high + excluded.input_high, input_low = input_low + excluded.input_low,"
		" cached_high = cached_high + excluded.cached_high, cached_low = cached_low + excluded.cached_low,"
		" output_high = output_high + excluded.output_high, output_low = output_low + excluded.output_low,"
		" cost_high = cost_high + excluded.cost_high, cost_low = cost_low + excluded.cost_low";
	struct question question = { 0 };
	question_number(&question, "SELECT " USAGE_COLUMNS " FROM usage WHERE seq <= ? ORDER BY seq", question_clamp(fold->last));
	sqlite3_stmt *from = question_prepare(s, &question), *into = NULL;
	if (!from || sqlite3_prepare_v2(s->db, sql, -1, &into, NULL) != SQLITE_OK) {
		sqlite3_finalize(from);
		return failed(s, error);
	}
	int step;
	bool added = true;
	while (added && (step = sqlite3_step(from)) == SQLITE_ROW) {
		sl_usage u;
		query_read_usage(from, &u);
		added = add_use(into, &u, fold->part ? fold->part(fold->arg, &u) : 0);
	}
	int code = added && step == SQLITE_DONE ? SL_OK : failed(s, error);
	sqlite3_finalize(into);
	sqlite3_finalize(from);
	return code;
}

static int fold_seals(struct store *s, int64_t last, sl_error *error)
{
	int64_t before, first;
	int code = number(s, "SELECT coalesce(max(last), 0) FROM seal WHERE length(checks) = 0 AND last <= ?", last, &before, error);
	if (code == SL_OK)
		code = number(s, "SELECT first FROM seal WHERE last >= ? ORDER BY last LIMIT 1", 0, &first, error);
	for (size_t i = 0; code == SL_OK && i < sizeof seals / sizeof seals[0]; i++)
		code = change(s, seals[i], (const int64_t[3]){ last, before, first }, error);
	return code;
}

static int fold_all(struct store *s, const sl_fold *fold, sl_error *error)
{
	int64_t last = question_clamp(fold->last), inside;
	int code = number(s, "SELECT count(*) FROM (SELECT first FROM seal WHERE last > ? ORDER BY last LIMIT 1) WHERE first <= ?1",
	                  last, &inside, error);
	if (code == SL_OK && inside)
		code = store_error(error, SL_EINVAL, "record %" PRId64 " is not the last of its group: groups are folded whole", last);
	if (code == SL_OK)
		code = fold_uses(s, fold, error);
	for (size_t i = 0; code == SL_OK && i < sizeof rest / sizeof rest[0]; i++)
		code = change(s, rest[i], (const int64_t[3]){ last }, error);
	return code == SL_OK ? fold_seals(s, last, error) : code;
}

int fold_records(void *self, const sl_fold *given, sl_error *error)
{
	struct store *s = self;
	sl_fold fold = { 0 };
	memcpy(&fold, given, given->size < sizeof fold ? given->size : sizeof fold);
	if (fold.last > s->last_seq)
		return store_error(error, SL_EINVAL, "record %" PRIu64 " is not there yet", fold.last);
	int code = change(s, "BEGIN IMMEDIATE", NULL, error);
	if (code != SL_OK)
		return code;
	code = fold_all(s, &fold, error);
	if (code == SL_OK)
		code = change(s, "COMMIT", NULL, error);
	if (code != SL_OK && !sqlite3_get_autocommit(s->db))
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
	return code;
}

int fold_scan(void *self, const sl_usage_filter *filter, int (*each)(void *arg, const sl_fold_sum *), void *arg, sl_error *error)
{
	struct store *s = self;
	struct question question = { 0 };
	question_add(&question, "SELECT n, input_high, input_low, cached_high, cached_low, output_high, output_low, cost_high,"
	                        " cost_low, hour, part, tenant, user, key, model");
	question_folded(&question, filter);
	question_add(&question, " ORDER BY hour, tenant, user, key, model, part");
	sqlite3_stmt *q = question_prepare(s, &question);
	if (!q)
		return store_failed(s, "cannot read", error);
	int step;
	while ((step = sqlite3_step(q)) == SQLITE_ROW) {
		unsigned __int128 cost = (unsigned __int128) question_sum(q, 7);
		sl_fold_sum sum = { .size = sizeof sum, .requests = sqlite3_column_int64(q, 0), .input_tokens = question_sum64(q, 1),
			.cached_tokens = question_sum64(q, 3), .output_tokens = question_sum64(q, 5), .cost_high = (uint64_t) (cost >> 64),
			.cost_low = (uint64_t) cost, .hour_ms = (uint64_t) sqlite3_column_int64(q, 9) * HOUR_MS,
			.part = (uint64_t) sqlite3_column_int64(q, 10) };
		question_copy(q, 11, sum.tenant, sizeof sum.tenant);
		question_copy(q, 12, sum.user, sizeof sum.user);
		question_copy(q, 13, sum.key, sizeof sum.key);
		question_copy(q, 14, sum.model, sizeof sum.model);
		if (each(arg, &sum) != 0)
			break;
	}
	return question_finish(s, q, step, error);
}

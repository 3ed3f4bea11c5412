/* SPDX-License-Identifier: Apache-2.0 */
/* seal.c - groups with their digests, and everything back again for who wants to check them. */
#include <inttypes.h>
#include <string.h>

#include "plugins/store/sqlite/sqlite.h"

int seal_append(void *self, const sl_record *records, size_t n, const sl_seal *seal, sl_error *error)
{
	return write_group(self, records, n, seal, error);
}

static sl_seal read_seal(sqlite3_stmt *q)
{
	sl_seal seal = { .size = sizeof seal, .last = (uint64_t) sqlite3_column_int64(q, 0),
		.first = (uint64_t) sqlite3_column_int64(q, 1), .wall_ms = (uint64_t) sqlite3_column_int64(q, 2) };
	/* Whatever stands there: a digest of another length is a wrong one. */
	const void *digest = sqlite3_column_blob(q, 3);
	if (digest && sqlite3_column_bytes(q, 3) == (int) sizeof seal.digest)
		memcpy(seal.digest, digest, sizeof seal.digest);
	seal.checks = sqlite3_column_blob(q, 4);
	seal.n = (uint32_t) sqlite3_column_bytes(q, 4) / sizeof *seal.checks;
	return seal;
}

int seal_scan(void *self, uint64_t first, uint64_t limit, int (*each)(void *arg, const sl_seal *), void *arg, sl_error *error)
{
	struct store *s = self;
	struct question question = { 0 };
	question_number(&question, "SELECT last, first, wall_ms, digest, checks FROM seal WHERE last >= ?", question_clamp(first));
	question_add(&question, " ORDER BY last");
	if (limit)
		question_number(&question, " LIMIT ?", question_clamp(limit));
	sqlite3_stmt *q = question_prepare(s, &question);
	if (!q)
		return store_failed(s, "cannot read", error);
	int step;
	while ((step = sqlite3_step(q)) == SQLITE_ROW) {
		sl_seal seal = read_seal(q);
		if (each(arg, &seal) != 0)
			break;
	}
	return question_finish(s, q, step, error);
}

/* One of the three tables that together have every record. */
struct source {
	sqlite3_stmt *q;
	uint32_t type;
	int step;
	sl_usage usage;
};

static bool source_open(struct store *s, struct source *source, uint32_t type, const char *select, uint64_t first, uint64_t last)
{
	struct question question = { 0 };
	question_number(&question, select, question_clamp(first));
	question_number(&question, " AND ?", question_clamp(last));
	question_add(&question, " ORDER BY seq");
	*source = (struct source){ .q = question_prepare(s, &question), .type = type };
	if (source->q)
		source->step = sqlite3_step(source->q);
	return source->q && (source->step == SQLITE_ROW || source->step == SQLITE_DONE);
}

static sl_record source_record(struct source *source)
{
	sl_record r = { .seq = (uint64_t) sqlite3_column_int64(source->q, 0), .type = source->type };
	if (source->type == SL_RECORD_USAGE) {
		query_read_usage(source->q, &source->usage);
		r.data = &source->usage;
		r.size = sizeof source->usage;
		return r;
	}
	sl_str json = question_str(source->q, 3);
	r.key = question_str(source->q, 1);
	r.wall_ms = (uint64_t) sqlite3_column_int64(source->q, 2);
	r.data = json.ptr;
	r.size = (uint32_t) json.len;
	return r;
}

static struct source *first_of(struct source *sources, int n)
{
	struct source *found = NULL;
	for (int i = 0; i < n; i++)
		if (sources[i].step == SQLITE_ROW &&
		    (!found || sqlite3_column_int64(sources[i].q, 0) < sqlite3_column_int64(found->q, 0)))
			found = &sources[i];
	return found;
}

int seal_records(void *self, uint64_t first, uint64_t last, int (*each)(void *arg, const sl_record *), void *arg,
                 sl_error *error)
{
	static const char *const selects[] = { "SELECT " USAGE_COLUMNS " FROM usage WHERE seq BETWEEN ?",
		"SELECT seq, id, wall_ms, json FROM lease_change WHERE seq BETWEEN ?",
		"SELECT seq, key, wall_ms, json FROM object_change WHERE seq BETWEEN ?" };
	enum { N = 3 };
	static const uint32_t types[N] = { SL_RECORD_USAGE, SL_RECORD_LEASE, SL_RECORD_OBJECT };
	struct store *s = self;
	struct source sources[N] = { { 0 } }, *next;
	bool sound = true, stopped = false;
	for (int i = 0; sound && i < N; i++)
		sound = source_open(s, &sources[i], types[i], selects[i], first, last);
	while (sound && !stopped && (next = first_of(sources, N))) {
		sl_record record = source_record(next);
		stopped = each(arg, &record) != 0;
		next->step = sqlite3_step(next->q);
		sound = next->step == SQLITE_ROW || next->step == SQLITE_DONE;
	}
	int code = sound ? SL_OK : store_failed(s, "cannot read", error);
	for (int i = 0; i < N; i++)
		sqlite3_finalize(sources[i].q);
	return code;
}

/* What is derived from records, against them. Each gives the first sequence that differs. ?1 to ?2: which records. */
static const struct {
	const char *sql, *what;
} checks[] = {
	{ "SELECT min(seq) FROM (SELECT * FROM (SELECT * FROM charge WHERE seq BETWEEN ?1 AND ?2 EXCEPT "
	  CHARGE_COLUMNS("l.seq", "l.id", "l.json") " FROM lease_change l, " CHARGE_ROWS("l.json") " WHERE l.seq BETWEEN ?1 AND ?2)"
	  " UNION ALL SELECT * FROM (" CHARGE_COLUMNS("l.seq", "l.id", "l.json") " FROM lease_change l, " CHARGE_ROWS("l.json")
	  " WHERE l.seq BETWEEN ?1 AND ?2 EXCEPT SELECT * FROM charge WHERE seq BETWEEN ?1 AND ?2))",
	  "the charges of a lease are not those of its record" },
	{ "SELECT min(c.seq) FROM lease_change c LEFT JOIN lease l ON l.id = c.id WHERE c.seq BETWEEN ?1 AND ?2 AND"
	  " NOT EXISTS (SELECT 1 FROM lease_change d WHERE d.id = c.id AND d.seq > c.seq) AND l.json IS NOT c.json",
	  "the state of a lease is not that of its last record" },
	{ "SELECT min(c.seq) FROM object_change c LEFT JOIN object o ON o.key = c.key WHERE c.seq BETWEEN ?1 AND ?2 AND"
	  " NOT EXISTS (SELECT 1 FROM object_change d WHERE d.key = c.key AND d.seq > c.seq) AND coalesce(o.json, '') <> c.json",
	  "an object (tenant, key, device) is not what its last record says" },
};

int seal_audit(void *self, uint64_t first, uint64_t last, uint64_t *wrong, sl_error *error)
{
	struct store *s = self;
	*wrong = 0;
	for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
		sqlite3_stmt *q;
		if (sqlite3_prepare_v2(s->db, checks[i].sql, -1, &q, NULL) != SQLITE_OK)
			return store_failed(s, "cannot read", error);
		sqlite3_bind_int64(q, 1, question_clamp(first));
		sqlite3_bind_int64(q, 2, question_clamp(last));
		int step = sqlite3_step(q);
		uint64_t seq = step == SQLITE_ROW ? (uint64_t) sqlite3_column_int64(q, 0) : 0;
		if (seq && (!*wrong || seq < *wrong)) {
			*wrong = seq;
			store_error(error, SL_ECONFLICT, "%s", checks[i].what);
		}
		if (question_finish(s, q, step, error) != SL_OK)
			return SL_EIO;
	}
	return SL_OK;
}

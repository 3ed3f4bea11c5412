/* SPDX-License-Identifier: Apache-2.0 */
/* write.c - applies groups of records, each in one transaction with the sequence that it reaches. */
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "plugins/store/sqlite/sqlite.h"

/* Use comes in many rows. A statement has its own cost, about a third of a row's, so full groups of USAGE_ROWS share
 * one. OR FAIL: a statement of many rows that can be undone by itself copies the pages that it changes; here the whole
 * transaction is undone. */
enum { USAGE_ROWS = 16 };
#define USAGE_ROW "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
#define ROWS_4 USAGE_ROW ", " USAGE_ROW ", " USAGE_ROW ", " USAGE_ROW

static const char *const sql[STATEMENTS] = {
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
	[GET_SEQ] = "SELECT value FROM meta WHERE name = 'seq'",
	[PUT_SEQ] = "UPDATE meta SET value = ?1 WHERE name = 'seq'",
	[PUT_USAGE] = "INSERT INTO usage VALUES " USAGE_ROW,
	[PUT_USAGES] = "INSERT OR FAIL INTO usage VALUES " ROWS_4 ", " ROWS_4 ", " ROWS_4 ", " ROWS_4,
	[PUT_LEASE] = "INSERT INTO lease VALUES (?1, ?2, CASE WHEN json_valid(?3) THEN coalesce(json_extract(?3, '$.ended') = 1, 0)"
	              " ELSE 0 END, ?3) ON CONFLICT (id) DO UPDATE SET ended = excluded.ended, json = excluded.json",
	[PUT_LEASE_CHANGE] = "INSERT INTO lease_change VALUES (?1, ?2, ?3, ?4)",
	[PUT_OBJECT] = "INSERT INTO object VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET json = excluded.json",
	[DELETE_OBJECT] = "DELETE FROM object WHERE key = ?1",
	[PUT_OBJECT_CHANGE] = "INSERT INTO object_change VALUES (?1, ?2, ?3, ?4)",
	[PUT_CHARGES] = "INSERT INTO charge " CHARGE_COLUMNS("?1", "?2", "?3") " FROM " CHARGE_ROWS("?3"),
	[PUT_SEAL] = "INSERT INTO seal VALUES (?1, ?2, ?3, ?4, ?5)",
};

int write_prepare(struct store *s, sl_error *error)
{
	for (int i = 0; i < STATEMENTS; i++)
		if (sqlite3_prepare_v3(s->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &s->statement[i], NULL) != SQLITE_OK)
			return store_failed(s, "cannot prepare for writing", error);
	return SL_OK;
}

static bool step(sqlite3_stmt *q)
{
	int code = sqlite3_step(q);
	sqlite3_reset(q);
	return code == SQLITE_DONE || code == SQLITE_ROW;
}

/* A field of a use record, whose data stays where it is until the statement has run. */
#define BIND_FIELD(q, at, r, field) \
	bind_field(q, at, (const char *) (r)->data + offsetof(sl_usage, field), sizeof ((sl_usage *) NULL)->field)

static void bind_field(sqlite3_stmt *q, int at, const char *text, size_t room)
{
	sqlite3_bind_text(q, at, text, (int) strnlen(text, room), SQLITE_STATIC);
}

static void bind_str(sqlite3_stmt *q, int at, sl_str text)
{
	sqlite3_bind_text(q, at, text.ptr ? text.ptr : "", (int) text.len, SQLITE_STATIC);
}

/* SQLite's integers are signed; what does not fit is as large as can be. */
static int64_t clamp(uint64_t value)
{
	return value > INT64_MAX ? INT64_MAX : (int64_t) value;
}

/* Binds a row from parameter *at on. */
static void bind_usage(sqlite3_stmt *q, int *at, const sl_record *r)
{
	sl_usage u;
	memcpy(&u, r->data, sizeof u);
	const int64_t numbers[] = {
		clamp(r->seq), clamp(u.started_ms), clamp(u.duration_us), clamp(u.ttft_us), clamp(u.wait_us), u.input_tokens,
		u.cached_tokens, u.output_tokens, u.cost, u.flags, u.status, u.tries,
	};
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		sqlite3_bind_int64(q, (*at)++, numbers[i]);
	BIND_FIELD(q, (*at)++, r, request_id);
	BIND_FIELD(q, (*at)++, r, tenant);
	BIND_FIELD(q, (*at)++, r, user);
	BIND_FIELD(q, (*at)++, r, key);
	BIND_FIELD(q, (*at)++, r, model);
	BIND_FIELD(q, (*at)++, r, replica);
	BIND_FIELD(q, (*at)++, r, door);
}

static bool put_usages(struct store *s, const sl_record *records, size_t n)
{
	sqlite3_stmt *q = s->statement[n == USAGE_ROWS ? PUT_USAGES : PUT_USAGE];
	int at = 1;
	for (size_t i = 0; i < n; i++)
		bind_usage(q, &at, &records[i]);
	return step(q);
}

/* How many of the records one statement takes: USAGE_ROWS rows of use, or one record. */
static size_t row_count(const sl_record *records, size_t n)
{
	size_t rows = 0;
	while (rows < n && rows < USAGE_ROWS && records[rows].type == SL_RECORD_USAGE && records[rows].size == sizeof(sl_usage))
		rows++;
	return rows == USAGE_ROWS ? rows : 1;
}

/* The number in a lease's id: the digits at its end. */
static int64_t id_number(sl_str id)
{
	uint64_t number = 0;
	size_t first = id.len;
	while (first > 0 && id.ptr[first - 1] >= '0' && id.ptr[first - 1] <= '9')
		first--;
	for (size_t i = first; i < id.len && number < INT64_MAX / 20; i++)
		number = number * 10 + (uint64_t) (id.ptr[i] - '0');
	return (int64_t) number;
}

static bool put_lease(struct store *s, const sl_record *r)
{
	sl_str json = { r->data, r->size };
	sqlite3_stmt *q = s->statement[PUT_LEASE];
	bind_str(q, 1, r->key);
	sqlite3_bind_int64(q, 2, id_number(r->key));
	bind_str(q, 3, json);
	if (!step(q))
		return false;
	q = s->statement[PUT_LEASE_CHANGE];
	sqlite3_bind_int64(q, 1, clamp(r->seq));
	bind_str(q, 2, r->key);
	sqlite3_bind_int64(q, 3, clamp(r->wall_ms));
	bind_str(q, 4, json);
	if (!step(q))
		return false;
	q = s->statement[PUT_CHARGES];
	sqlite3_bind_int64(q, 1, clamp(r->seq));
	bind_str(q, 2, r->key);
	bind_str(q, 3, json);
	return step(q);
}

static bool put_object_change(struct store *s, const sl_record *r)
{
	sqlite3_stmt *q = s->statement[PUT_OBJECT_CHANGE];
	sqlite3_bind_int64(q, 1, clamp(r->seq));
	bind_str(q, 2, r->key);
	sqlite3_bind_int64(q, 3, clamp(r->wall_ms));
	bind_str(q, 4, (sl_str){ r->data, r->size });
	return step(q);
}

static bool put_object(struct store *s, const sl_record *r)
{
	if (!put_object_change(s, r))
		return false;
	sqlite3_stmt *q = s->statement[r->size ? PUT_OBJECT : DELETE_OBJECT];
	bind_str(q, 1, r->key);
	if (r->size)
		bind_str(q, 2, (sl_str){ r->data, r->size });
	return step(q);
}

/* n: as row_count() says. */
static int put(struct store *s, const sl_record *r, size_t n, sl_error *error)
{
	bool done = false;
	switch (r->type) {
	case SL_RECORD_USAGE:
		if (r->size != sizeof(sl_usage))
			return store_error(error, SL_EINVAL, "use record %llu has %u bytes, this store knows %zu: its version is another "
			                   "than sluiced's", (unsigned long long) r->seq, r->size, sizeof(sl_usage));
		done = put_usages(s, r, n);
		break;
	case SL_RECORD_LEASE:
		done = put_lease(s, r);
		break;
	case SL_RECORD_OBJECT:
		done = put_object(s, r);
		break;
	default:
		return store_error(error, SL_ENOTSUP, "record %llu is of type %u, which this store does not know: its version is older "
		                   "than sluiced's", (unsigned long long) r->seq, r->type);
	}
	return done ? SL_OK : store_failed(s, "cannot write to", error);
}

/* What the file has, read in the transaction that will change it: a commit whose answer was an error may have
 * happened all the same. */
static bool read_seq(struct store *s, uint64_t *seq)
{
	sqlite3_stmt *q = s->statement[GET_SEQ];
	bool found = sqlite3_step(q) == SQLITE_ROW;
	*seq = found ? (uint64_t) sqlite3_column_int64(q, 0) : 0;
	sqlite3_reset(q);
	return found;
}

static bool put_seal(struct store *s, const sl_seal *seal)
{
	sqlite3_stmt *q = s->statement[PUT_SEAL];
	sqlite3_bind_int64(q, 1, clamp(seal->last));
	sqlite3_bind_int64(q, 2, clamp(seal->first));
	sqlite3_bind_int64(q, 3, clamp(seal->wall_ms));
	sqlite3_bind_blob(q, 4, seal->digest, sizeof seal->digest, SQLITE_STATIC);
	sqlite3_bind_blob(q, 5, seal->checks, (int) (seal->n * sizeof *seal->checks), SQLITE_STATIC);
	return step(q);
}

static int put_group(struct store *s, const sl_record *records, size_t n, const sl_seal *seal, uint64_t *last, sl_error *error)
{
	if (!read_seq(s, last))
		return store_failed(s, "cannot read", error);
	if (seal && *last >= records[0].seq && *last < records[n - 1].seq)
		return store_error(error, SL_ECONFLICT, "records %llu to %llu come with one seal, and the store has %llu of them already",
		                   (unsigned long long) records[0].seq, (unsigned long long) records[n - 1].seq,
		                   (unsigned long long) (*last - records[0].seq + 1));
	if (seal && *last < records[0].seq && !put_seal(s, seal))
		return store_failed(s, "cannot write to", error);
	for (size_t i = 0, rows; i < n; i += rows) {
		rows = 1;
		if (records[i].seq <= *last)
			continue;
		rows = row_count(records + i, n - i);
		int code = put(s, &records[i], rows, error);
		if (code != SL_OK)
			return code;
		*last = records[i + rows - 1].seq;
	}
	sqlite3_bind_int64(s->statement[PUT_SEQ], 1, clamp(*last));
	return step(s->statement[PUT_SEQ]) && step(s->statement[COMMIT]) ? SL_OK : store_failed(s, "cannot write to", error);
}

int write_append(void *self, const sl_record *records, size_t n, sl_error *error)
{
	return write_group(self, records, n, NULL, error);
}

int write_group(struct store *s, const sl_record *records, size_t n, const sl_seal *seal, sl_error *error)
{
	uint64_t last;
	if (s->read_only)
		return store_error(error, SL_EDENIED, "%.180s is only to be read", s->path);
	if (!n || records[n - 1].seq <= s->last_seq)
		return SL_OK;
	if (!step(s->statement[BEGIN]))
		return store_failed(s, "cannot write to", error);
	int code = put_group(s, records, n, seal, &last, error);
	if (code == SL_OK)
		s->last_seq = last;
	else if (!sqlite3_get_autocommit(s->db))
		step(s->statement[ROLLBACK]);
	return code;
}

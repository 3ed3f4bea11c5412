/* SPDX-License-Identifier: Apache-2.0 */
/* sqlite.h - the store's parts: one connection, its prepared statements, writing and asking. */
#ifndef PLUGINS_STORE_SQLITE_SQLITE_H
#define PLUGINS_STORE_SQLITE_SQLITE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <sluice/store.h>

enum { SCHEMA_VERSION = 3 };

/* Who a lease is of, in the words of the index that finds it. */
#define LEASE_TENANT "CASE WHEN json_valid(json) THEN coalesce(json_extract(json, '$.tenant'), '') ELSE '' END"
#define LEASE_USER "CASE WHEN json_valid(json) THEN coalesce(json_extract(json, '$.user'), '') ELSE '' END"

/* Statements of append(), prepared once. */
enum statement {
	BEGIN, COMMIT, ROLLBACK, GET_SEQ, PUT_SEQ, PUT_USAGE, PUT_USAGES, PUT_LEASE, PUT_LEASE_CHANGE, PUT_OBJECT, DELETE_OBJECT,
	PUT_OBJECT_CHANGE, PUT_CHARGES, PUT_SEAL, STATEMENTS
};

struct store {
	const sl_host *host;
	sqlite3 *db;
	char *path;
	uint64_t last_seq;
	bool read_only;
	sqlite3_stmt *statement[STATEMENTS];
};

/* Fills an error with what SQLite says and the file's path; the code is SL_EAGAIN (locked), SL_EFULL (disk full) or
 * SL_EIO. */
int store_failed(struct store *s, const char *doing, sl_error *error);
int store_error(sl_error *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

int write_prepare(struct store *s, sl_error *error);
int write_append(void *self, const sl_record *records, size_t n, sl_error *error);
/* The same with a seal in the transaction, NULL: none. */
int write_group(struct store *s, const sl_record *records, size_t n, const sl_seal *seal, sl_error *error);

/* The charges in the record of a lease, as rows of the table `charge`: for its insert and for its audit. SEQ, ID and
 * JSON: a record's sequence, key and data in SQL. */
#define CHARGE_COLUMNS(SEQ, ID, JSON) \
	"SELECT " SEQ ", c.key, " ID ", coalesce(json_extract(c.value, '$.from_ms'), 0)," \
	" coalesce(json_extract(c.value, '$.until_ms'), 0), coalesce(json_extract(c.value, '$.device_ms'), 0)," \
	" coalesce(json_extract(c.value, '$.price'), 0), coalesce(json_extract(" JSON ", '$.tenant'), '')," \
	" coalesce(json_extract(" JSON ", '$.user'), ''), coalesce(json_extract(" JSON ", '$.queue'), '')," \
	" coalesce(json_extract(c.value, '$.kind'), ''), coalesce(json_extract(" JSON ", '$.model'), '')"
#define CHARGE_ROWS(JSON) "json_each(CASE WHEN json_valid(" JSON ") THEN CASE json_type(" JSON ", '$.charges') WHEN 'array'" \
	" THEN " JSON " ELSE '{}' END ELSE '{}' END, '$.charges') c"

/* query.c: a statement in the making: text and the values for its ?. */
struct question {
	char sql[8192];
	size_t len;
	struct {
		bool is_text;
		int64_t number;
		sl_str text;
	} value[32];
	int n;
};
void question_add(struct question *q, const char *text);
void question_number(struct question *q, const char *text, int64_t number);
/* Nothing for an empty value. */
void question_text(struct question *q, const char *text, sl_str value);
/* SQLite's integers are signed; what does not fit is as large as can be. */
int64_t question_clamp(uint64_t value);
/* NULL: store_failed says why. */
sqlite3_stmt *question_prepare(struct store *s, const struct question *q);
/* Ends a statement whose last step gave `step`. */
int question_finish(struct store *s, sqlite3_stmt *q, int step, sl_error *error);
void question_copy(sqlite3_stmt *q, int column, char *out, size_t room);
sl_str question_str(sqlite3_stmt *q, int column);
/* Rows of two texts. */
int question_pairs(struct store *s, const struct question *question, int (*each)(void *arg, sl_str, sl_str), void *arg,
                   sl_error *error);
/* Sums are made of two halves, so that none can overflow: two columns, sum(x / SPLIT) and sum(x % SPLIT). */
#define SPLIT 1000000000
__extension__ __int128 question_sum(sqlite3_stmt *q, int column);
int64_t question_sum64(sqlite3_stmt *q, int column);
/* A subquery's text: requests that have their record and those that were folded, with the columns at, tenant, user, key,
 * model, n, and two halves of input, cached, output and cost, called input_high, input_low and so on. */
void question_requests(struct question *q, const sl_usage_filter *filter);
/* " FROM usage_sum WHERE ..." for those of them that were folded, and the time of rows with a column `hour`. */
void question_folded(struct question *q, const sl_usage_filter *filter);
void question_hours(struct question *q, uint64_t since_ms, uint64_t until_ms);
#define USAGE_COLUMNS "seq, started_ms, duration_us, ttft_us, wait_us, input_tokens, cached_tokens, output_tokens, cost," \
	" flags, status, tries, request_id, tenant, user, key, model, replica, door"
void query_read_usage(sqlite3_stmt *q, sl_usage *u);

int query_usage_sum(void *self, const sl_usage_filter *filter, uint32_t by,
                    int (*each)(void *arg, const sl_usage_sum *), void *arg, sl_error *error);
int query_usage_scan(void *self, const sl_usage_filter *filter, uint64_t limit,
                     int (*each)(void *arg, uint64_t seq, const sl_usage *), void *arg, sl_error *error);
int query_object_scan(void *self, sl_str prefix, int (*each)(void *arg, sl_str key, sl_str json), void *arg,
                      sl_error *error);
int query_lease_scan(void *self, int open_only, int (*each)(void *arg, sl_str id, sl_str json), void *arg, sl_error *error);
int query_lease_history(void *self, sl_str id, int (*each)(void *arg, uint64_t wall_ms, sl_str json), void *arg,
                        sl_error *error);
int query_lease_list(void *self, const sl_lease_filter *filter, int (*each)(void *arg, sl_str id, sl_str json), void *arg,
                     sl_error *error);

/* bill.c */
int bill_sum(void *self, const sl_bill_filter *filter, uint32_t by, int (*each)(void *arg, const sl_bill_sum *), void *arg,
             sl_error *error);

/* seal.c */
int seal_append(void *self, const sl_record *records, size_t n, const sl_seal *seal, sl_error *error);
int seal_scan(void *self, uint64_t first, uint64_t limit, int (*each)(void *arg, const sl_seal *), void *arg, sl_error *error);
int seal_records(void *self, uint64_t first, uint64_t last, int (*each)(void *arg, const sl_record *), void *arg,
                 sl_error *error);
int seal_audit(void *self, uint64_t first, uint64_t last, uint64_t *wrong, sl_error *error);

/* fold.c */
int fold_records(void *self, const sl_fold *fold, sl_error *error);
int fold_scan(void *self, const sl_usage_filter *filter, int (*each)(void *arg, const sl_fold_sum *), void *arg,
              sl_error *error);

#endif

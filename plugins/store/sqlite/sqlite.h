/* SPDX-License-Identifier: Apache-2.0 */
/* sqlite.h - the store's parts: one connection, its prepared statements, writing and asking. */
#ifndef PLUGINS_STORE_SQLITE_SQLITE_H
#define PLUGINS_STORE_SQLITE_SQLITE_H

#include <sqlite3.h>
#include <sluice/store.h>

enum { SCHEMA_VERSION = 1 };

/* Statements of append(), prepared once. */
enum statement {
	BEGIN, COMMIT, ROLLBACK, GET_SEQ, PUT_SEQ, PUT_USAGE, PUT_USAGES, PUT_LEASE, PUT_LEASE_CHANGE, PUT_OBJECT, DELETE_OBJECT,
	STATEMENTS
};

struct store {
	const sl_host *host;
	sqlite3 *db;
	char *path;
	uint64_t last_seq;
	sqlite3_stmt *statement[STATEMENTS];
};

/* Fills an error with what SQLite says and the file's path; the code is SL_EAGAIN (locked), SL_EFULL (disk full) or
 * SL_EIO. */
int store_failed(struct store *s, const char *doing, sl_error *error);
int store_error(sl_error *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

int write_prepare(struct store *s, sl_error *error);
int write_append(void *self, const sl_record *records, size_t n, sl_error *error);

int query_usage_sum(void *self, const sl_usage_filter *filter, uint32_t by,
                    int (*each)(void *arg, const sl_usage_sum *), void *arg, sl_error *error);
int query_usage_scan(void *self, const sl_usage_filter *filter, uint64_t limit,
                     int (*each)(void *arg, uint64_t seq, const sl_usage *), void *arg, sl_error *error);
int query_object_scan(void *self, sl_str prefix, int (*each)(void *arg, sl_str key, sl_str json), void *arg,
                      sl_error *error);
int query_lease_scan(void *self, int open_only, int (*each)(void *arg, sl_str id, sl_str json), void *arg, sl_error *error);
int query_lease_history(void *self, sl_str id, int (*each)(void *arg, uint64_t wall_ms, sl_str json), void *arg,
                        sl_error *error);

#endif

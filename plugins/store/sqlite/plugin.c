/* SPDX-License-Identifier: Apache-2.0 */
/* plugin.c - the SQLite store: descriptor, opening, schema. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plugins/store/sqlite/sqlite.h"

static const char schema[] =
	"CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
	"INSERT INTO meta VALUES ('schema', 3), ('seq', 0);"
	"CREATE TABLE usage ("
	"  seq INTEGER PRIMARY KEY, started_ms INTEGER NOT NULL, duration_us INTEGER NOT NULL, ttft_us INTEGER NOT NULL,"
	"  wait_us INTEGER NOT NULL, input_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,"
	"  output_tokens INTEGER NOT NULL, cost INTEGER NOT NULL, flags INTEGER NOT NULL, status INTEGER NOT NULL,"
	"  tries INTEGER NOT NULL, request_id TEXT NOT NULL, tenant TEXT NOT NULL,"
	"  user TEXT NOT NULL, key TEXT NOT NULL, model TEXT NOT NULL, replica TEXT NOT NULL, door TEXT NOT NULL);"
	"CREATE INDEX usage_time ON usage (started_ms);"
	"CREATE INDEX usage_tenant_time ON usage (tenant, started_ms);"
	"CREATE TABLE lease (id TEXT PRIMARY KEY, number INTEGER NOT NULL, ended INTEGER NOT NULL, json TEXT NOT NULL)"
	"  WITHOUT ROWID;"
	"CREATE INDEX lease_open ON lease (number) WHERE ended = 0;"
	"CREATE TABLE lease_change (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, wall_ms INTEGER NOT NULL, json TEXT NOT NULL);"
	"CREATE INDEX lease_change_id ON lease_change (id, seq);"
	"CREATE TABLE object (key TEXT PRIMARY KEY, json TEXT NOT NULL) WITHOUT ROWID;";

/* What schema 2 has beside that of 1. */
static const char schema_2[] =
	"CREATE TABLE charge (seq INTEGER NOT NULL, part INTEGER NOT NULL, lease TEXT NOT NULL, from_ms INTEGER NOT NULL,"
	"  until_ms INTEGER NOT NULL, device_ms INTEGER NOT NULL, price INTEGER NOT NULL, tenant TEXT NOT NULL,"
	"  user TEXT NOT NULL, queue TEXT NOT NULL, kind TEXT NOT NULL, model TEXT NOT NULL, PRIMARY KEY (seq, part))"
	"  WITHOUT ROWID;"
	"CREATE INDEX charge_time ON charge (from_ms);"
	"CREATE INDEX charge_tenant_time ON charge (tenant, from_ms);"
	"CREATE TABLE object_change (seq INTEGER PRIMARY KEY, key TEXT NOT NULL, wall_ms INTEGER NOT NULL, json TEXT NOT NULL);"
	"CREATE INDEX object_change_key ON object_change (key, seq);"
	"CREATE TABLE seal (last INTEGER PRIMARY KEY, first INTEGER NOT NULL, wall_ms INTEGER NOT NULL, digest BLOB NOT NULL,"
	"  checks BLOB NOT NULL);"
	"CREATE INDEX lease_number ON lease (number);"
	"CREATE INDEX lease_tenant ON lease (" LEASE_TENANT ", number);";

/* What schema 3 has beside that of 2: sums by hour of what was folded. `part` is the host's, see store.h. What could
 * overflow stands in two halves, 10^9 x high + low. */
static const char schema_3[] =
	"CREATE TABLE usage_sum (hour INTEGER NOT NULL, tenant TEXT NOT NULL, user TEXT NOT NULL, key TEXT NOT NULL,"
	"  model TEXT NOT NULL, part INTEGER NOT NULL, n INTEGER NOT NULL, input_high INTEGER NOT NULL,"
	"  input_low INTEGER NOT NULL, cached_high INTEGER NOT NULL, cached_low INTEGER NOT NULL,"
	"  output_high INTEGER NOT NULL, output_low INTEGER NOT NULL, cost_high INTEGER NOT NULL, cost_low INTEGER NOT NULL,"
	"  PRIMARY KEY (hour, tenant, user, key, model, part)) WITHOUT ROWID;"
	"CREATE INDEX usage_sum_tenant ON usage_sum (tenant, hour);"
	"CREATE TABLE charge_sum (hour INTEGER NOT NULL, lease TEXT NOT NULL, tenant TEXT NOT NULL, user TEXT NOT NULL,"
	"  queue TEXT NOT NULL, kind TEXT NOT NULL, model TEXT NOT NULL, price INTEGER NOT NULL, device_ms INTEGER NOT NULL,"
	"  PRIMARY KEY (hour, lease, tenant, user, queue, kind, model, price)) WITHOUT ROWID;"
	"CREATE INDEX charge_sum_tenant ON charge_sum (tenant, hour);";

int store_error(sl_error *error, int code, const char *format, ...)
{
	if (error) {
		va_list args;
		va_start(args, format);
		vsnprintf(error->text, sizeof error->text, format, args);
		va_end(args);
		error->code = code;
	}
	return code;
}

int store_failed(struct store *s, const char *doing, sl_error *error)
{
	int code = SL_EIO;
	const char *advice = "";
	switch (sqlite3_errcode(s->db) & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		code = SL_EAGAIN;
		advice = "; another process holds the file";
		break;
	case SQLITE_FULL:
		code = SL_EFULL;
		advice = "; free some space";
		break;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		advice = "; restore it from a copy";
		break;
	default:
		break;
	}
	return store_error(error, code, "%s %.120s: %.80s%s", doing, s->path, sqlite3_errmsg(s->db), advice);
}

static int read_meta(struct store *s, const char *name, int64_t *value, sl_error *error)
{
	sqlite3_stmt *q;
	if (sqlite3_prepare_v2(s->db, "SELECT value FROM meta WHERE name = ?1", -1, &q, NULL) != SQLITE_OK)
		return store_failed(s, "cannot read", error);
	sqlite3_bind_text(q, 1, name, -1, SQLITE_STATIC);
	int step = sqlite3_step(q);
	*value = step == SQLITE_ROW ? sqlite3_column_int64(q, 0) : 0;
	int code = step == SQLITE_ROW ? SL_OK : step == SQLITE_DONE
		? store_error(error, SL_EIO, "%.180s is not a store of sluice's: its table `meta` has no '%s'", s->path, name)
		: store_failed(s, "cannot read", error);
	sqlite3_finalize(q);
	return code;
}

static int run(struct store *s, const char *sql, sl_error *error)
{
	return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? SL_OK : store_failed(s, "cannot set up", error);
}

/* Number of tables: 0 is a new file. */
static int count_tables(struct store *s, int64_t *n, sl_error *error)
{
	sqlite3_stmt *q;
	if (sqlite3_prepare_v2(s->db, "SELECT count(*), coalesce(sum(name = 'meta'), 0) FROM sqlite_master WHERE type = 'table'",
	                       -1, &q, NULL) != SQLITE_OK)
		return store_failed(s, "cannot read", error);
	int code = sqlite3_step(q) == SQLITE_ROW ? SL_OK : store_failed(s, "cannot read", error);
	*n = sqlite3_column_int64(q, 0);
	if (code == SL_OK && *n && !sqlite3_column_int64(q, 1))
		code = store_error(error, SL_EINVAL, "%.180s is somebody else's database: give the store a path of its own", s->path);
	sqlite3_finalize(q);
	return code;
}

/* A file of an older sluice. */
static int upgrade(struct store *s, int64_t version, sl_error *error)
{
	if (version >= SCHEMA_VERSION)
		return SL_OK;
	int code = run(s, "BEGIN IMMEDIATE", error);
	if (code == SL_OK && version < 2)
		code = run(s, schema_2, error);
	if (code == SL_OK)
		code = run(s, schema_3, error);
	if (code == SL_OK)
		code = run(s, "UPDATE meta SET value = 3 WHERE name = 'schema'; COMMIT", error);
	if (code != SL_OK && !sqlite3_get_autocommit(s->db))
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
	return code;
}

static int open_schema(struct store *s, sl_error *error)
{
	int64_t tables = 0, version = 0, seq = 0;
	int code = count_tables(s, &tables, error);
	if (code == SL_OK && !tables && s->read_only)
		code = store_error(error, SL_EINVAL, "%.180s is empty", s->path);
	if (code == SL_OK && !tables) {
		code = run(s, "BEGIN IMMEDIATE", error);
		if (code == SL_OK && (code = run(s, schema, error)) == SL_OK && (code = run(s, schema_2, error)) == SL_OK &&
		    (code = run(s, schema_3, error)) == SL_OK)
			code = run(s, "COMMIT", error);
	}
	if (code == SL_OK)
		code = read_meta(s, "schema", &version, error);
	if (code != SL_OK)
		return code;
	if (version > SCHEMA_VERSION)
		return store_error(error, SL_ENOTSUP, "%.140s has schema %lld, this sluice knows %d: start the newer sluice that wrote "
		                   "it, or restore an older copy", s->path, (long long) version, SCHEMA_VERSION);
	if (s->read_only && version < SCHEMA_VERSION)
		return store_error(error, SL_ENOTSUP, "%.120s has schema %lld and is only to be read: this sluice would bring it to %d; "
		                   "look at a copy that it may change", s->path, (long long) version, SCHEMA_VERSION);
	code = upgrade(s, version, error);
	if (code == SL_OK)
		code = read_meta(s, "seq", &seq, error);
	s->last_seq = (uint64_t) seq;
	return code;
}

/* The file exists, readable by us alone, before SQLite sees it: it takes its helpers' modes from it. */
static int make_file(struct store *s, sl_error *error)
{
	int fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return store_error(error, SL_EIO, "cannot open the store %.180s: %s", s->path, strerror(errno));
	close(fd);
	return SL_OK;
}

static void store_close(void *self)
{
	struct store *s = self;
	if (!s)
		return;
	for (int i = 0; i < STATEMENTS; i++)
		sqlite3_finalize(s->statement[i]);
	sqlite3_close(s->db);
	free(s->path);
	free(s);
}

static int store_open(const sl_host *host, const sl_conf *conf, void **self, sl_error *error)
{
	struct store *s = calloc(1, sizeof *s);
	sl_str path = host->conf_str(conf, "path");
	if (!s || !path.len || !(s->path = strndup(path.ptr, path.len))) {
		free(s);
		return path.len ? store_error(error, SL_ENOMEM, "out of memory")
		                : store_error(error, SL_EINVAL, "the store needs a path: plugin \"store/sqlite\" { path = \"...\" }");
	}
	s->host = host;
	s->read_only = host->conf_int(conf, "read_only");
	int code = s->read_only ? SL_OK : make_file(s, error);
	int flags = (s->read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) | SQLITE_OPEN_NOMUTEX;
	if (code == SL_OK && sqlite3_open_v2(s->path, &s->db, flags, NULL) != SQLITE_OK)
		code = store_failed(s, "cannot open", error);
	if (code == SL_OK) {
		sqlite3_busy_timeout(s->db, (int) host->conf_int(conf, "busy_timeout"));
		sqlite3_extended_result_codes(s->db, 1);
		code = run(s, s->read_only ? "PRAGMA temp_store = MEMORY"
		                           : "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY", error);
	}
	if (code == SL_OK)
		code = open_schema(s, error);
	if (code == SL_OK && !s->read_only)
		code = write_prepare(s, error);
	if (code != SL_OK) {
		store_close(s);
		return code;
	}
	*self = s;
	return SL_OK;
}

static int last_seq(void *self, uint64_t *seq, sl_error *error)
{
	(void) error;
	*seq = ((struct store *) self)->last_seq;
	return SL_OK;
}

static const sl_store_ops ops = {
	.size = sizeof ops,
	.last_seq = last_seq,
	.append = write_append,
	.usage_sum = query_usage_sum,
	.usage_scan = query_usage_scan,
	.object_scan = query_object_scan,
	.lease_scan = query_lease_scan,
	.lease_history = query_lease_history,
	.append_sealed = seal_append,
	.seal_scan = seal_scan,
	.record_scan = seal_records,
	.audit = seal_audit,
	.bill_sum = bill_sum,
	.lease_list = query_lease_list,
	.fold = fold_records,
	.fold_scan = fold_scan,
};

static const sl_option options[] = {
	{ .name = "path", .type = SL_OPTION_PATH, .flags = SL_OPTION_REQUIRED, .help = "the database file; made when missing" },
	{ .name = "busy_timeout", .type = SL_OPTION_DURATION, .default_text = "5s", .min = 1, .max = 600000,
	  .help = "how long to wait for another process that holds the file" },
	{ .name = "read_only", .type = SL_OPTION_BOOL, .default_text = "false",
	  .help = "writes nothing: for who only wants to look" },
};

SL_EXPORT extern const sl_plugin sluice_plugin;
const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_STORE),
	.name = "sqlite",
	.version = "1.2",
	.summary = "records in one SQLite file",
	.options = options,
	.n_options = sizeof options / sizeof options[0],
	.open = store_open,
	.close = store_close,
	.ops = &ops,
};

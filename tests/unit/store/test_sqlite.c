/* SPDX-License-Identifier: Apache-2.0 */
/* test_sqlite.c - the SQLite store: exactly once, exact sums, refusals in words. */
#include <criterion/criterion.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/str.h"
#include "tests/unit/store/open_store.h"

enum { DAY_MS = 86400000 };

static char folder[64], path[96];
static struct opened_store store;

static void setup(void)
{
	sl_error error = { 0 };
	strcpy(folder, "/tmp/test-sqlite-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/s.db", folder);
	cr_assert_eq(open_store(path, &store, &error), SL_OK, "%s", error.text);
}

static void teardown(void)
{
	char command[128];
	close_store(&store);
	snprintf(command, sizeof command, "rm -rf '%s'", folder);
	cr_assert_eq(system(command), 0);
}

static void reopen(void)
{
	sl_error error = { 0 };
	close_store(&store);
	cr_assert_eq(open_store(path, &store, &error), SL_OK, "%s", error.text);
}

static uint64_t last_seq(void)
{
	sl_error error;
	uint64_t seq;
	cr_assert_eq(store.ops->last_seq(store.self, &seq, &error), SL_OK);
	return seq;
}

static sl_usage usage_of(const char *tenant, const char *model, uint64_t started_ms, int64_t tokens, int64_t cost)
{
	sl_usage u = { .started_ms = started_ms, .input_tokens = tokens, .cached_tokens = tokens / 2, .output_tokens = 2 * tokens,
	               .cost = cost, .status = 200, .tries = 1, .door = "chat", .key = "slk_aaaaaaaa", .user = "ann" };
	snprintf(u.tenant, sizeof u.tenant, "%s", tenant);
	snprintf(u.model, sizeof u.model, "%s", model);
	snprintf(u.request_id, sizeof u.request_id, "req_%llu", (unsigned long long) started_ms);
	return u;
}

static sl_record usage_record(uint64_t seq, const sl_usage *u)
{
	return (sl_record){ .seq = seq, .type = SL_RECORD_USAGE, .size = sizeof *u, .data = u };
}

static sl_record text_record(uint64_t seq, uint32_t type, const char *key, const char *json)
{
	return (sl_record){ .seq = seq, .type = type, .size = (uint32_t) strlen(json), .wall_ms = seq * 10, .key = str_of(key),
	                    .data = json };
}

static int append(const sl_record *records, size_t n)
{
	sl_error error = { 0 };
	int code = store.ops->append(store.self, records, n, &error);
	cr_expect(code == SL_OK || error.text[0], "a failure has words");
	return code;
}

/* Everything that a query gives, a line each. */
static char lines[4096];

static int put_sum(void *arg, const sl_usage_sum *s)
{
	size_t len = strlen(lines);
	__int128 cost = (__int128) ((unsigned __int128) s->cost_high << 64 | s->cost_low);
	snprintf(lines + len, sizeof lines - len, "%s|%s|%s|%s|%s|%lld|%lld|%lld|%lld|%lld%012lld\n", s->day, s->tenant, s->user, s->key,
	         s->model, (long long) s->requests, (long long) s->input_tokens, (long long) s->cached_tokens,
	         (long long) s->output_tokens, (long long) (cost / 1000000000000), (long long) (cost % 1000000000000));
	return arg ? --*(int *) arg <= 0 : 0;
}

static int put_usage(void *arg, uint64_t seq, const sl_usage *u)
{
	size_t len = strlen(lines);
	(void) arg;
	snprintf(lines + len, sizeof lines - len, "%llu %s %s\n", (unsigned long long) seq, u->request_id, u->model);
	return 0;
}

static int put_pair(void *arg, sl_str key, sl_str json)
{
	size_t len = strlen(lines);
	(void) arg;
	snprintf(lines + len, sizeof lines - len, "%.*s %.*s\n", STR_ARG(key), STR_ARG(json));
	return 0;
}

static int put_change(void *arg, uint64_t wall_ms, sl_str json)
{
	size_t len = strlen(lines);
	(void) arg;
	snprintf(lines + len, sizeof lines - len, "%llu %.*s\n", (unsigned long long) wall_ms, STR_ARG(json));
	return 0;
}

static const char *sums(sl_usage_filter filter, uint32_t by)
{
	sl_error error = { 0 };
	lines[0] = '\0';
	filter.size = sizeof filter;
	cr_assert_eq(store.ops->usage_sum(store.self, &filter, by, put_sum, NULL, &error), SL_OK, "%s", error.text);
	return lines;
}

static const char *scan(sl_usage_filter filter, uint64_t limit)
{
	sl_error error = { 0 };
	lines[0] = '\0';
	filter.size = sizeof filter;
	cr_assert_eq(store.ops->usage_scan(store.self, &filter, limit, put_usage, NULL, &error), SL_OK, "%s", error.text);
	return lines;
}

TestSuite(sqlite, .init = setup, .fini = teardown, .timeout = 30);

Test(sqlite, a_group_that_comes_again_changes_nothing)
{
	sl_usage u = usage_of("a", "m", 1000, 10, 5);
	sl_record group[] = { usage_record(1, &u), usage_record(2, &u), text_record(3, SL_RECORD_OBJECT, "k/x", "{}") };
	cr_assert_eq(append(group, 3), SL_OK);
	cr_expect_eq(last_seq(), 3);
	cr_assert_eq(append(group, 3), SL_OK);
	reopen();
	cr_expect_eq(last_seq(), 3);
	sl_record longer[] = { group[1], group[2], usage_record(4, &u) };
	cr_assert_eq(append(longer, 3), SL_OK);
	cr_assert_eq(append(group, 0), SL_OK);
	cr_expect_eq(last_seq(), 4);
	cr_expect_str_eq(sums((sl_usage_filter){ 0 }, 0), "|||||3|30|15|60|0000000000015\n");
}

Test(sqlite, a_group_is_all_or_none)
{
	sl_usage u = usage_of("a", "m", 1000, 10, 5);
	sl_record group[] = { usage_record(1, &u), { .seq = 2, .type = 99 } };
	cr_expect_eq(append(group, 2), SL_ENOTSUP, "a type that it does not know");
	cr_expect_eq(last_seq(), 0);
	group[1] = (sl_record){ .seq = 2, .type = SL_RECORD_USAGE, .size = 8, .data = &u };
	cr_expect_eq(append(group, 2), SL_EINVAL, "a use record of another size");
	cr_expect_str_eq(sums((sl_usage_filter){ 0 }, 0), "|||||0|0|0|0|0000000000000\n", "nothing of it stayed");
	cr_expect_eq(append(group, 1), SL_OK, "and the next group goes in");
}

/* Rows of use go in many at a time: whatever stands between them, and wherever a group begins, each is there once. */
Test(sqlite, many_rows_and_others_between)
{
	enum { ROWS = 100 };
	static sl_usage usages[ROWS];
	static sl_record group[ROWS];
	int64_t tokens = 0, rows = 0;
	for (unsigned i = 0; i < ROWS; i++) {
		bool other = i == 5 || i == 37 || i == 70;
		usages[i] = usage_of("a", "m", 1000 + i, i, 1);
		group[i] = other ? text_record(i + 1, SL_RECORD_OBJECT, "k/x", "{}") : usage_record(i + 1, &usages[i]);
		tokens += other ? 0 : i;
		rows += !other;
	}
	sl_record broken[ROWS];
	memcpy(broken, group, sizeof group);
	broken[ROWS - 1] = (sl_record){ .seq = ROWS, .type = 99 };
	cr_expect_eq(append(broken, ROWS), SL_ENOTSUP);
	cr_expect_str_eq(sums((sl_usage_filter){ 0 }, 0), "|||||0|0|0|0|0000000000000\n", "nothing of it stayed");
	cr_assert_eq(append(group, 9), SL_OK);
	cr_assert_eq(append(group, 60), SL_OK);
	cr_assert_eq(append(group, ROWS), SL_OK);
	cr_expect_eq(last_seq(), ROWS);
	char expected[128];
	sums((sl_usage_filter){ 0 }, 0);
	snprintf(expected, sizeof expected, "|||||%lld|%lld|", (long long) rows, (long long) tokens);
	cr_expect(strncmp(lines, expected, strlen(expected)) == 0, "%s instead of %s", lines, expected);
	cr_expect_str_eq(scan((sl_usage_filter){ 0 }, 2), "100 req_1099 m\n99 req_1098 m\n");
}

Test(sqlite, sums_by_column_and_filter)
{
	sl_usage u[4] = {
		usage_of("b", "m1", 5, 1, 1), usage_of("a", "m2", DAY_MS - 1, 10, 1), usage_of("a", "m1", DAY_MS, 100, 1),
		usage_of("a", "m1", 2 * (uint64_t) DAY_MS, 1000, 1),
	};
	sl_record r[4];
	for (int i = 0; i < 4; i++)
		r[i] = usage_record((uint64_t) i + 1, &u[i]);
	cr_assert_eq(append(r, 4), SL_OK);
	cr_expect_str_eq(sums((sl_usage_filter){ 0 }, SL_BY_TENANT | SL_BY_MODEL),
	                 "|a|||m1|2|1100|550|2200|0000000000002\n|a|||m2|1|10|5|20|0000000000001\n|b|||m1|1|1|0|2|0000000000001\n");
	cr_expect_str_eq(sums((sl_usage_filter){ .until_ms = 2 * (uint64_t) DAY_MS }, SL_BY_DAY),
	                 "1970-01-01|||||2|11|5|22|0000000000002\n1970-01-02|||||1|100|50|200|0000000000001\n");
	cr_expect_str_eq(sums((sl_usage_filter){ .since_ms = DAY_MS, .tenant = STR("a"), .user = STR("ann") }, SL_BY_USER | SL_BY_KEY),
	                 "||ann|slk_aaaaaaaa||2|1100|550|2200|0000000000002\n");
	cr_expect_str_eq(sums((sl_usage_filter){ .tenant = STR("nobody") }, SL_BY_TENANT), "");
	int first = 1;
	sl_error error;
	sl_usage_filter all = { .size = sizeof all };
	lines[0] = '\0';
	cr_assert_eq(store.ops->usage_sum(store.self, &all, SL_BY_TENANT, put_sum, &first, &error), SL_OK);
	cr_expect_null(strstr(lines, "|b|"), "each() ended it: %s", lines);
}

Test(sqlite, sums_do_not_overflow)
{
	sl_usage u = usage_of("a", "m", 1, INT64_MAX / 2, INT64_MAX);
	u.output_tokens = INT64_MAX;
	sl_record r[3];
	for (int i = 0; i < 3; i++)
		r[i] = usage_record((uint64_t) i + 1, &u);
	cr_assert_eq(append(r, 3), SL_OK);
	/* 3 x (2^63 - 1) = 27670116110564327421 */
	cr_expect_str_eq(sums((sl_usage_filter){ 0 }, 0), "|||||3|9223372036854775807|6917529027641081853|9223372036854775807"
	                 "|27670116110564327421\n");
}

Test(sqlite, records_newest_first)
{
	sl_usage u[3] = { usage_of("a", "m1", 100, 1, 1), usage_of("b", "m2", 300, 1, 1), usage_of("a", "m3", 200, 1, 1) };
	sl_record r[3];
	for (int i = 0; i < 3; i++)
		r[i] = usage_record((uint64_t) i + 1, &u[i]);
	cr_assert_eq(append(r, 3), SL_OK);
	cr_expect_str_eq(scan((sl_usage_filter){ 0 }, 0), "2 req_300 m2\n3 req_200 m3\n1 req_100 m1\n");
	cr_expect_str_eq(scan((sl_usage_filter){ 0 }, 1), "2 req_300 m2\n");
	cr_expect_str_eq(scan((sl_usage_filter){ .tenant = STR("a") }, 0), "3 req_200 m3\n1 req_100 m1\n");
	cr_expect_str_eq(scan((sl_usage_filter){ .request_id = STR("req_200") }, 0), "3 req_200 m3\n");
	cr_expect_str_eq(scan((sl_usage_filter){ .request_id = STR("req_200"), .tenant = STR("b") }, 0), "");
	cr_expect_str_eq(scan((sl_usage_filter){ .request_id = STR("' OR 1 --") }, 0), "");
}

Test(sqlite, objects)
{
	sl_record r[] = {
		text_record(1, SL_RECORD_OBJECT, "tenant/b", "{\"v\":1}"), text_record(2, SL_RECORD_OBJECT, "tenant/a", "{\"v\":2}"),
		text_record(3, SL_RECORD_OBJECT, "tenanu", "{}"), text_record(4, SL_RECORD_OBJECT, "key/x", "{}"),
		text_record(5, SL_RECORD_OBJECT, "tenant/b", "{\"v\":3}"), text_record(6, SL_RECORD_OBJECT, "key/x", ""),
		text_record(7, SL_RECORD_OBJECT, "tenant/\xff\xff", "{}"),
	};
	sl_error error = { 0 };
	cr_assert_eq(append(r, 7), SL_OK);
	lines[0] = '\0';
	cr_assert_eq(store.ops->object_scan(store.self, STR("tenant/"), put_pair, NULL, &error), SL_OK, "%s", error.text);
	cr_expect_str_eq(lines, "tenant/a {\"v\":2}\ntenant/b {\"v\":3}\ntenant/\xff\xff {}\n");
	lines[0] = '\0';
	cr_assert_eq(store.ops->object_scan(store.self, STR("key/"), put_pair, NULL, &error), SL_OK);
	cr_expect_str_eq(lines, "", "deleted");
	lines[0] = '\0';
	cr_assert_eq(store.ops->object_scan(store.self, STR("tenant/\xff"), put_pair, NULL, &error), SL_OK);
	cr_expect_str_eq(lines, "tenant/\xff\xff {}\n");
	lines[0] = '\0';
	cr_assert_eq(store.ops->object_scan(store.self, STR(""), put_pair, NULL, &error), SL_OK);
	cr_expect(strstr(lines, "tenanu {}\n"), "an empty prefix is everything: %s", lines);
}

Test(sqlite, leases)
{
	sl_record r[] = {
		text_record(1, SL_RECORD_LEASE, "L10", "{\"state\":\"queued\",\"ended\":false}"),
		text_record(2, SL_RECORD_LEASE, "L9", "{\"state\":\"queued\"}"),
		text_record(3, SL_RECORD_LEASE, "L10", "{\"state\":\"ended\",\"ended\":true}"),
		text_record(4, SL_RECORD_LEASE, "L11", "not json"),
		text_record(5, SL_RECORD_LEASE, "L12", "{\"ended\":\"yes\"}"),
	};
	sl_error error = { 0 };
	cr_assert_eq(append(r, 5), SL_OK);
	lines[0] = '\0';
	cr_assert_eq(store.ops->lease_scan(store.self, 0, put_pair, NULL, &error), SL_OK);
	cr_expect_str_eq(lines, "L9 {\"state\":\"queued\"}\nL10 {\"state\":\"ended\",\"ended\":true}\nL11 not json\nL12 {\"ended\":\"yes\"}\n");
	lines[0] = '\0';
	cr_assert_eq(store.ops->lease_scan(store.self, 1, put_pair, NULL, &error), SL_OK);
	cr_expect_str_eq(lines, "L9 {\"state\":\"queued\"}\nL11 not json\nL12 {\"ended\":\"yes\"}\n");
	lines[0] = '\0';
	cr_assert_eq(store.ops->lease_history(store.self, STR("L10"), put_change, NULL, &error), SL_OK);
	cr_expect_str_eq(lines, "10 {\"state\":\"queued\",\"ended\":false}\n30 {\"state\":\"ended\",\"ended\":true}\n");
}

static void change_file(const char *file, const char *sql)
{
	sqlite3 *db;
	cr_assert_eq(sqlite3_open(file, &db), SQLITE_OK);
	cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
	sqlite3_close(db);
}

Test(sqlite, refusals)
{
	sl_error error = { 0 };
	struct opened_store other;
	char file[128];
	close_store(&store);
	change_file(path, "UPDATE meta SET value = 7 WHERE name = 'schema'");
	cr_expect_eq(open_store(path, &store, &error), SL_ENOTSUP);
	cr_expect(strstr(error.text, "schema 7") && strstr(error.text, "knows 3"), "both versions are named: %s", error.text);
	change_file(path, "UPDATE meta SET value = 3 WHERE name = 'schema'");
	cr_assert_eq(open_store(path, &store, &error), SL_OK);

	snprintf(file, sizeof file, "%s/foreign.db", folder);
	change_file(file, "CREATE TABLE cats (name)");
	cr_expect_eq(open_store(file, &other, &error), SL_EINVAL);
	cr_expect(strstr(error.text, "somebody else"), "%s", error.text);
	snprintf(file, sizeof file, "%s/text.db", folder);
	FILE *text = fopen(file, "w");
	for (int i = 0; i < 200; i++)
		fputs("this is no database ", text);
	fclose(text);
	cr_expect_eq(open_store(file, &other, &error), SL_EIO);
	cr_expect(strstr(error.text, "restore it from a copy"), "%s", error.text);
	snprintf(file, sizeof file, "%s/no/such/folder.db", folder);
	cr_expect_eq(open_store(file, &other, &error), SL_EIO);
	cr_expect(strstr(error.text, "No such file"), "%s", error.text);
	cr_expect_eq(open_store("", &other, &error), SL_EINVAL);
}

Test(sqlite, another_process_holds_the_file)
{
	sl_usage u = usage_of("a", "m", 1000, 10, 5);
	sl_record r = usage_record(1, &u);
	sqlite3 *db;
	cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
	cr_assert_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	cr_expect_eq(append(&r, 1), SL_EAGAIN, "bounded wait, then: later");
	cr_expect_eq(last_seq(), 0);
	sqlite3_close(db);
	cr_expect_eq(append(&r, 1), SL_OK);
}

Test(sqlite, the_file_is_ours_alone)
{
	struct stat st;
	cr_assert_eq(stat(path, &st), 0);
	cr_expect_eq(st.st_mode & 0777, 0600, "mode %o", st.st_mode & 0777);
}

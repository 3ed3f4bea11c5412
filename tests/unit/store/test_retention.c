/* SPDX-License-Identifier: Apache-2.0 */
/* test_retention.c - the ledger with the SQLite store behind it: long groups, and old records that become sums. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/money.h"
#include "core/base/str.h"
#include "core/control/focus.h"
#include "core/ledger/ledger.h"
#include "core/ledger/retention.h"
#include "core/ledger/seal.h"
#include "tests/unit/store/open_store.h"

#define HOUR UINT64_C(3600000)
#define DAY (24 * HOUR)

enum { OLD_DAYS = 5, GROUPS_A_DAY = 60, KEPT_GROUPS = 3, GROUP = 9 };

static char folder[64], path[96];
static struct opened_store store;
static struct sealer sealer;
static struct retention retention;
static uint64_t next_seq = 1, today, seed = 7;

static void open_again(void)
{
	sl_error error = { 0 };
	uint64_t last = 0;
	sealer_close(&sealer);
	close_store(&store);
	cr_assert_eq(open_store(path, &store, &error), SL_OK, "%s", error.text);
	store.ops->last_seq(store.self, &last, &error);
	cr_assert_eq(sealer_open(&sealer, store.ops, store.self, last, &error), SL_OK, "%s", error.text);
	retention = (struct retention){ .keep_ms = 100 * DAY };
}

static void setup(void)
{
	strcpy(folder, "/tmp/test-retention-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/s.db", folder);
	today = clock_wall_ms() / DAY * DAY;
	open_again();
}

static void teardown(void)
{
	char command[128];
	sealer_close(&sealer);
	close_store(&store);
	snprintf(command, sizeof command, "rm -rf '%s'", folder);
	cr_assert_eq(system(command), 0);
}

static unsigned chance(unsigned n)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (unsigned) (seed >> 33) % n;
}

static void tamper(const char *sql)
{
	sqlite3 *db;
	char *why = NULL;
	cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
	cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, &why), SQLITE_OK, "%s: %s", sql, why);
	sqlite3_close(db);
}

static int64_t count(const char *sql)
{
	sqlite3 *db;
	sqlite3_stmt *q;
	cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
	cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &q, NULL), SQLITE_OK, "%s", sql);
	cr_assert_eq(sqlite3_step(q), SQLITE_ROW);
	int64_t n = sqlite3_column_int64(q, 0);
	sqlite3_finalize(q);
	sqlite3_close(db);
	return n;
}

static sl_record text(uint32_t type, const char *key, const char *json, uint64_t wall_ms)
{
	return (sl_record){ .seq = next_seq++, .type = type, .size = (uint32_t) strlen(json), .wall_ms = wall_ms, .key = str_of(key),
	                    .data = json };
}

static void feed(const sl_record *records, size_t n)
{
	sl_error error = { 0 };
	cr_assert_eq(sealer_append(&sealer, store.ops, store.self, records, n, &error), SL_OK, "%s", error.text);
}

/* Of some tenant, user, key and model, at one of two prices, or at one that nobody knows. */
static sl_usage some_use(uint64_t wall_ms)
{
	static const int64_t prices[3][3] = { { 100000, 20000, 400000 }, { 300000, 20000, 400000 }, { 7, 3, 1 } };
	const int64_t *p = prices[chance(8) ? chance(2) : 2];
	sl_usage u = { .started_ms = wall_ms - chance(2 * (unsigned) HOUR), .duration_us = 5, .input_tokens = 10 + chance(1000),
		.output_tokens = chance(1000), .status = 200, .tries = 1, .door = "chat" };
	u.cached_tokens = chance((unsigned) u.input_tokens);
	u.cost = (u.input_tokens - u.cached_tokens) * p[0] + u.cached_tokens * p[1] + u.output_tokens * p[2];
	snprintf(u.request_id, sizeof u.request_id, "req_%" PRIu64, next_seq);
	snprintf(u.tenant, sizeof u.tenant, "tenant%u", chance(3));
	snprintf(u.user, sizeof u.user, "%s", chance(2) ? "ann" : "");
	snprintf(u.key, sizeof u.key, "slk_%u", chance(3));
	snprintf(u.model, sizeof u.model, "model%u", chance(2));
	return u;
}

static char *some_lease(char *out, size_t room, unsigned number, uint64_t wall_ms, bool ended)
{
	uint64_t from = wall_ms - chance(10000) - 1;
	snprintf(out, room, "{\"lease\":\"L%u\",\"ended\":%s,\"tenant\":\"tenant%u\",\"user\":\"dana\",\"queue\":\"q%u\",\"model\":\"%s\","
	         "\"charges\":[{\"from_ms\":%" PRIu64 ",\"until_ms\":%" PRIu64 ",\"kind\":\"h%u\",\"price\":%u,\"device_ms\":%u},"
	         "{\"from_ms\":%" PRIu64 ",\"until_ms\":%" PRIu64 ",\"kind\":\"a\",\"price\":3,\"device_ms\":1}]}", number,
	         ended ? "true" : "false", number % 3, number % 2, number % 4 ? "" : "model0", from, wall_ms, number % 2, 1 + chance(2),
	         1 + chance(10000), from, from);
	return out;
}

/* A group, sealed at that time. */
static void feed_group(uint64_t wall_ms)
{
	sl_usage uses[GROUP];
	char lease[2][600], id[2][16];
	sl_record r[GROUP];
	unsigned number = 1 + (unsigned) next_seq / 20;
	for (unsigned i = 0; i < GROUP; i++) {
		if (i == 3 || i == 6) {
			snprintf(id[i / 4], sizeof id[0], "L%u", number);
			r[i] = text(SL_RECORD_LEASE, id[i / 4], some_lease(lease[i / 4], sizeof lease[0], number, wall_ms, i == 6), wall_ms);
		} else if (i == 5) {
			r[i] = text(SL_RECORD_OBJECT, "tenant/x", next_seq % 2 ? "{\"tier\":\"gold\"}" : "{\"tier\":\"free\"}", wall_ms);
		} else {
			uses[i] = some_use(wall_ms);
			r[i] = (sl_record){ .seq = next_seq++, .type = SL_RECORD_USAGE, .size = sizeof uses[i], .wall_ms = wall_ms, .data = &uses[i] };
		}
	}
	feed(r, GROUP);
}

/* Prices, then days that are older than what is kept, then one that is not. */
static void fill(void)
{
	static const char *const prices[][2] = {
		{ "price/model0/100000/20000/400000", "{\"model\":\"model0\",\"input\":100000,\"cached\":20000,\"output\":400000}" },
		{ "price/model0/300000/20000/400000", "{\"model\":\"model0\",\"input\":300000,\"cached\":20000,\"output\":400000}" },
		{ "price/model1/100000/20000/400000", "{\"model\":\"model1\",\"input\":100000,\"cached\":20000,\"output\":400000}" },
		{ "price/model1/300000/20000/400000", "{\"model\":\"model1\",\"input\":300000,\"cached\":20000,\"output\":400000}" },
	};
	uint64_t old = today - (100 + OLD_DAYS) * DAY;
	sl_record r[4];
	for (int i = 0; i < 4; i++)
		r[i] = text(SL_RECORD_OBJECT, prices[i][0], prices[i][1], old);
	feed(r, 4);
	for (unsigned day = 0; day < OLD_DAYS; day++)
		for (unsigned i = 0; i < GROUPS_A_DAY; i++)
			feed_group(old + day * DAY + (i + 1) * (DAY / (GROUPS_A_DAY + 1)));
	for (unsigned i = 0; i < KEPT_GROUPS; i++)
		feed_group(today - DAY + i * HOUR);
}

/* Every sum that can be asked for, as text. */
static struct buf sums;

static int put_bill(void *arg, const sl_bill_sum *s)
{
	char cost[MONEY_TEXT_MAX], replica[MONEY_TEXT_MAX];
	(void) arg;
	money_text(money_of(s->cost_high, s->cost_low), 15, cost);
	money_text(money_of(s->replica_cost_high, s->replica_cost_low), 15, replica);
	buf_printf(&sums, "%s%s|%s|%s|%s|%s|%s|%s|%s|%lld:%lld %lld %lld %lld %lld %s %lld %s\n", s->day, s->hour, s->tenant, s->user,
	           s->key, s->model, s->queue, s->kind, s->lease, (long long) s->price, (long long) s->requests,
	           (long long) s->input_tokens, (long long) s->cached_tokens, (long long) s->output_tokens, (long long) s->device_ms,
	           cost, (long long) s->replica_device_ms, replica);
	return 0;
}

static int put_use(void *arg, const sl_usage_sum *s)
{
	char cost[MONEY_TEXT_MAX];
	(void) arg;
	money_text(money_of(s->cost_high, s->cost_low), 12, cost);
	buf_printf(&sums, "%s|%s|%s|%s|%s:%lld %lld %lld %lld %s\n", s->day, s->tenant, s->user, s->key, s->model, (long long) s->requests,
	           (long long) s->input_tokens, (long long) s->cached_tokens, (long long) s->output_tokens, cost);
	return 0;
}

static void ask(sl_bill_filter filter, uint32_t by)
{
	sl_error error = { 0 };
	filter.size = sizeof filter;
	buf_printf(&sums, "by %x\n", by);
	cr_assert_eq(store.ops->bill_sum(store.self, &filter, by, put_bill, NULL, &error), SL_OK, "%s", error.text);
	if (by >= SL_BY_HOUR || filter.queue.len || filter.kind.len || filter.lease.len)
		return;
	const sl_usage_filter requests = { .size = sizeof requests, .since_ms = filter.since_ms, .until_ms = filter.until_ms,
		.tenant = filter.tenant, .user = filter.user, .key = filter.key, .model = filter.model };
	cr_assert_eq(store.ops->usage_sum(store.self, &requests, by, put_use, NULL, &error), SL_OK, "%s", error.text);
}

static void export(sl_bill_filter filter)
{
	struct focus focus = { 0 };
	sl_error error = { 0 };
	filter.size = sizeof filter;
	cr_assert_eq(focus_gather(&focus, store.ops, store.self, &filter, &error), SL_OK, "%s", error.text);
	focus_write(&focus, "Example", "EUR", &sums);
	focus_free(&focus);
}

/* The caller frees it. */
static char *all_sums(void)
{
	buf_clear(&sums);
	for (uint32_t by = 0; by < SL_BY_PRICE << 1; by++)
		if (__builtin_popcount(by) < 3 || by == (SL_BY_PRICE << 1) - 1)
			ask((sl_bill_filter){ 0 }, by);
	uint64_t day = today - (100 + OLD_DAYS - 1) * DAY;
	const sl_bill_filter parts[] = {
		{ .since_ms = day, .until_ms = day + DAY }, { .since_ms = day }, { .until_ms = day }, { .since_ms = day + 5 * HOUR, .until_ms = day + 8 * HOUR },
		{ .tenant = STR("tenant1") }, { .user = STR("ann") }, { .key = STR("slk_2") }, { .model = STR("model0") }, { .queue = STR("q1") },
		{ .kind = STR("h1") }, { .lease = STR("L4") }, { .tenant = STR("tenant0"), .since_ms = day, .model = STR("model0") },
	};
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		ask(parts[i], SL_BY_DAY | SL_BY_TENANT | SL_BY_MODEL);
		ask(parts[i], SL_BY_HOUR | SL_BY_LEASE | SL_BY_KIND);
		export(parts[i]);
	}
	export((sl_bill_filter){ 0 });
	buf_put(&sums, "", 1);
	cr_assert(!sums.failed);
	return str_dup(str_of(sums.data));
}

static void expect_same(const char *before, const char *after)
{
	size_t at = 0;
	while (before[at] && before[at] == after[at])
		at++;
	size_t from = at > 200 ? at - 200 : 0;
	cr_assert(!before[at] && !after[at], "sums differ:\n%.300s\n--- and now\n%.300s", before + from, after + from);
}

static struct ledger_verdict verify(uint64_t from, const uint8_t *digest)
{
	struct ledger_verdict v;
	sl_error error = { 0 };
	cr_assert_eq(ledger_verify(store.ops, store.self, from, digest, 0, &v, &error), SL_OK, "%s", error.text);
	return v;
}

static uint64_t fold_step(void)
{
	retention.next_ns = 0;
	retention_step(&retention, store.ops, store.self);
	return atomic_load(&retention.folded);
}

static uint64_t old_last(void)
{
	return 4 + OLD_DAYS * GROUPS_A_DAY * GROUP;
}

TestSuite(retention, .init = setup, .fini = teardown, .timeout = 120);

Test(retention, every_sum_stays_as_it_was)
{
	fill();
	char *before = all_sums();
	uint8_t digest[32];
	memcpy(digest, verify(0, NULL).digest, 32);
	int64_t records = count("SELECT count(*) FROM usage");
	unsigned steps = 0;
	for (uint64_t last = 0, now; (now = fold_step()) != last; last = now, steps++) {
		open_again();
		char *after = all_sums();
		expect_same(before, after);
		free(after);
		struct ledger_verdict v = verify(0, NULL);
		cr_assert_eq(v.wrong, 0, "%s", v.why);
		cr_expect_eq(v.folded, now);
		cr_expect_eq(v.verified, next_seq - 1);
		cr_expect_arr_eq(v.digest, digest, 32, "the chain ends as it did");
	}
	cr_expect_geq(steps, 2);
	cr_expect_eq(atomic_load(&retention.folded), old_last(), "all that is old, and nothing else");
	cr_expect_eq(count("SELECT count(*) FROM usage WHERE seq <= 2704"), 0);
	cr_expect_eq(count("SELECT count(*) FROM usage"), KEPT_GROUPS * (GROUP - 3));
	cr_expect_eq(count("SELECT sum(n) FROM usage_sum") + count("SELECT count(*) FROM usage"), records);
	free(before);
}

Test(retention, the_chain_keeps_a_digest_a_day)
{
	fill();
	uint64_t noted = 4 + 2 * GROUPS_A_DAY * GROUP; /* the end of the second day */
	struct ledger_verdict v;
	sl_error error = { 0 };
	cr_assert_eq(ledger_verify(store.ops, store.self, 0, NULL, noted, &v, &error), SL_OK);
	cr_assert_eq(v.verified, noted);
	uint8_t digest[32];
	memcpy(digest, v.digest, 32);
	for (uint64_t last = 0, now; (now = fold_step()) != last; last = now)
		;
	cr_expect_eq(count("SELECT count(*) FROM seal WHERE length(checks) = 0"), OLD_DAYS);
	cr_expect_eq(count("SELECT count(*) FROM seal"), OLD_DAYS + KEPT_GROUPS);
	v = verify(noted + 1, digest);
	cr_expect_eq(v.wrong, 0, "what was noted at a day's end is still in the chain: %s", v.why);
	cr_expect_eq(v.verified, next_seq - 1);
	digest[0] ^= 1;
	cr_expect_neq(verify(noted + 1, digest).wrong, 0, "another digest is not");
	cr_expect_eq(ledger_verify(store.ops, store.self, noted, NULL, 0, &v, &error), SL_EINVAL);
	cr_expect(strstr(error.text, "was folded"), "%s", error.text);
}

struct change {
	char sql[200];
	char words[60];
};

/* What is changed behind the fold is found; the newest folded digest still carries the rest of the chain. */
Test(retention, changes_behind_the_fold_are_found)
{
	static const struct change changes[] = {
		{ "INSERT INTO usage SELECT 7, started_ms, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, '', '', '', '', '', '', '' FROM usage LIMIT 1",
		  "where all records were folded" },
		{ "INSERT INTO charge VALUES (8, 0, 'L1', 0, 1, 1, 1, 'tenant0', '', '', '', '')", "charges" },
		{ "UPDATE seal SET digest = zeroblob(32) WHERE last = 2704", "was changed" },
		{ "DELETE FROM seal WHERE last = 2704", "no digest" },
		{ "UPDATE seal SET checks = x'' WHERE last = 2722", "" },
	};
	for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
		next_seq = 1;
		char command[128];
		close_store(&store);
		snprintf(command, sizeof command, "rm -f '%s'*", path);
		cr_assert_eq(system(command), 0);
		open_again();
		fill();
		for (uint64_t last = 0, now; (now = fold_step()) != last; last = now)
			;
		tamper(changes[i].sql);
		struct ledger_verdict v = verify(0, NULL);
		cr_expect_neq(v.wrong, 0, "%s", changes[i].sql);
		cr_expect(strstr(v.why, changes[i].words), "%s: %s", changes[i].sql, v.why);
	}
}

Test(retention, what_was_changed_is_not_folded)
{
	fill();
	tamper("UPDATE usage SET cost = cost - 1 WHERE seq = 12");
	int64_t records = count("SELECT count(*) FROM usage");
	cr_expect_eq(fold_step(), 0);
	cr_expect_gt(retention.next_ns, clock_mono_ns() + UINT64_C(1000000000), "it is not asked again at once");
	cr_expect_eq(count("SELECT count(*) FROM usage"), records);
	cr_expect_eq(count("SELECT count(*) FROM usage_sum"), 0);
	tamper("UPDATE usage SET cost = cost + 1 WHERE seq = 12");
	cr_expect_gt(fold_step(), 12, "mended, it goes on");
}

Test(retention, leases_and_objects)
{
	uint64_t old = today - 200 * DAY;
	sl_record a[] = { text(SL_RECORD_LEASE, "L1", "{\"ended\":false,\"tenant\":\"a\"}", old), text(SL_RECORD_LEASE, "L1", "{\"ended\":true}", old),
		text(SL_RECORD_LEASE, "L2", "{\"ended\":false}", old), text(SL_RECORD_LEASE, "L3", "{\"ended\":false}", old),
		text(SL_RECORD_LEASE, "L4", "{\"ended\":true}", old), text(SL_RECORD_OBJECT, "key/x", "{}", old),
		text(SL_RECORD_OBJECT, "key/y", "{}", old), text(SL_RECORD_OBJECT, "key/y", "", old) };
	feed(a, 8);
	sl_record b[] = { text(SL_RECORD_LEASE, "L3", "{\"ended\":true}", today) };
	feed(b, 1);
	cr_expect_eq(fold_step(), 8);
	cr_expect_eq(count("SELECT count(*) FROM lease WHERE id = 'L1'"), 0, "it has ended, long ago");
	cr_expect_eq(count("SELECT count(*) FROM lease WHERE id = 'L2'"), 1, "it is open");
	cr_expect_eq(count("SELECT count(*) FROM lease WHERE id = 'L3'"), 1, "it has ended today");
	cr_expect_eq(count("SELECT count(*) FROM lease WHERE id = 'L4'"), 1, "the last number is not given again");
	cr_expect_eq(count("SELECT count(*) FROM object"), 1);
	cr_expect_eq(count("SELECT count(*) FROM lease_change"), 1);
	cr_expect_eq(count("SELECT count(*) FROM object_change"), 0);
	cr_expect_eq(verify(0, NULL).wrong, 0);
}

Test(retention, counts_that_do_not_fit_64_bits)
{
	sl_usage u = { .started_ms = today - 200 * DAY, .tenant = "t", .input_tokens = INT64_MAX, .output_tokens = INT64_MAX / 2,
		.cost = INT64_MAX };
	sl_usage v = { .started_ms = today - 200 * DAY + 1, .tenant = "t", .cost = -5 };
	sl_record r[4];
	for (int i = 0; i < 4; i++)
		r[i] = (sl_record){ .seq = next_seq++, .type = SL_RECORD_USAGE, .size = sizeof u, .wall_ms = u.started_ms, .data = i ? &u : &v };
	feed(r, 4);
	buf_clear(&sums);
	ask((sl_bill_filter){ 0 }, 0);
	buf_put(&sums, "", 1);
	char *before = str_dup(str_of(sums.data));
	cr_expect(strstr(before, "27670116.110564327416"), "%s", before);
	cr_expect_eq(fold_step(), 4);
	buf_clear(&sums);
	ask((sl_bill_filter){ 0 }, 0);
	buf_put(&sums, "", 1);
	expect_same(before, sums.data);
	free(before);
}

Test(retention, a_fold_is_whole_groups_and_may_come_again)
{
	fill();
	sl_error error = { 0 };
	sl_fold fold = { .size = sizeof fold, .last = 6 };
	cr_expect_eq(store.ops->fold(store.self, &fold, &error), SL_EINVAL);
	cr_expect(strstr(error.text, "group"), "%s", error.text);
	cr_expect_eq(count("SELECT count(*) FROM usage_sum"), 0);
	fold.last = 1000000;
	cr_expect_eq(store.ops->fold(store.self, &fold, &error), SL_EINVAL);
	fold.last = 4 + GROUP;
	cr_expect_eq(store.ops->fold(store.self, &fold, &error), SL_OK, "%s", error.text);
	char *before = all_sums();
	cr_expect_eq(store.ops->fold(store.self, &fold, &error), SL_OK, "%s", error.text);
	char *after = all_sums();
	expect_same(before, after);
	cr_expect_eq(verify(0, NULL).wrong, 0);
	free(before);
	free(after);
}

/* What is written and folded for ever does not make the file grow. */
Test(retention, the_file_stays_as_large_as_what_is_kept)
{
	enum { ROUNDS = 12, GROUPS = 10, RECORDS = 300 };
	static sl_usage uses[RECORDS];
	static sl_record r[RECORDS];
	int64_t pages = 0;
	for (int round = 0; round < ROUNDS; round++) {
		for (int group = 0; group < GROUPS; group++) {
			for (int i = 0; i < RECORDS; i++) {
				uses[i] = some_use(today - 200 * DAY);
				r[i] = (sl_record){ .seq = next_seq++, .type = SL_RECORD_USAGE, .size = sizeof uses[i], .wall_ms = today - 200 * DAY + i,
				                    .data = &uses[i] };
			}
			feed(r, RECORDS);
		}
		for (uint64_t last = 0, now; (now = fold_step()) != last; last = now)
			;
		if (round == 2)
			pages = count("SELECT page_count FROM pragma_page_count");
	}
	cr_expect_eq(count("SELECT count(*) FROM usage"), 0);
	cr_expect_eq(count("SELECT sum(n) FROM usage_sum"), ROUNDS * GROUPS * RECORDS);
	cr_expect_eq(count("SELECT count(*) FROM seal"), 1);
	cr_expect_leq(count("SELECT page_count FROM pragma_page_count"), pages + pages / 10, "%lld pages after 3 rounds, %lld after 12",
	              (long long) pages, (long long) count("SELECT page_count FROM pragma_page_count"));
}

Test(retention, records_from_before_there_were_seals)
{
	fill();
	close_store(&store);
	/* As a file of the first schema was: what it had has no digest. */
	tamper("DELETE FROM seal WHERE last <= 67; UPDATE seal SET wall_ms = wall_ms WHERE 0");
	open_again();
	char *before = all_sums();
	cr_assert_eq(verify(0, NULL).first, 68);
	cr_expect_eq(fold_step(), 67);
	char *after = all_sums();
	expect_same(before, after);
	free(before);
	free(after);
}

/* With the ledger's threads. */

static struct ledger *open_ledger(uint64_t keep_ms)
{
	sl_error error = { 0 };
	struct ledger_options options = { .folder = folder, .store = store.ops, .store_self = store.self, .keep_ms = keep_ms };
	struct ledger *l = ledger_open(&options, &error);
	cr_assert_not_null(l, "%s", error.text);
	return l;
}

static uint64_t append(struct ledger *l, const sl_usage *u)
{
	uint64_t seq = ledger_append(l, SL_RECORD_USAGE, (sl_str){ NULL, 0 }, u, sizeof *u);
	cr_assert_neq(seq, 0);
	return seq;
}

/* What waits after a pause of the store goes to it in groups as long as there are, and each has a seal. */
Test(retention, long_groups_are_sealed)
{
	enum { RECORDS = 5000 };
	sl_usage u = { .started_ms = 1, .tenant = "t", .model = "m", .cost = 1 };
	sl_error error = { 0 };
	uint64_t last = 0, stored;
	struct ledger *l = open_ledger(0);
	for (int i = 0; i < RECORDS; i++)
		last = append(l, &u);
	cr_assert(ledger_wait(l, last, 10000));
	ledger_close(l); /* feeds what is left */
	cr_assert_eq(store.ops->last_seq(store.self, &stored, &error), SL_OK);
	cr_assert_eq(stored, last, "the store took %llu of %llu", (unsigned long long) stored, (unsigned long long) last);
	struct ledger_verdict v = verify(0, NULL);
	cr_expect_eq(v.wrong, 0, "%s", v.why);
	cr_expect_eq(v.verified, last);
}

Test(retention, a_ledger_folds_by_itself_and_as_it_is_told)
{
	sl_usage u = { .started_ms = 1, .tenant = "t", .model = "m", .cost = 1 };
	struct ledger_stats stats;
	struct ledger *l = open_ledger(0);
	uint64_t last = 0;
	for (int i = 0; i < 100; i++)
		last = append(l, &u);
	cr_assert(ledger_wait(l, last, 10000));
	ledger_stats(l, &stats);
	cr_expect_eq(stats.folded, 0);
	ledger_keep(l, 1);
	for (int i = 0; i < 1000 && stats.folded < last; i++) {
		usleep(10000);
		ledger_stats(l, &stats);
	}
	cr_expect_eq(stats.folded, last);
	ledger_close(l);
	cr_expect_eq(count("SELECT count(*) FROM usage"), 0);
	cr_expect_eq(count("SELECT sum(n) FROM usage_sum"), 100);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* test_bill.c - the SQLite store's bill and its digests: exact sums of requests and leases; each change to what stands
 * in the file is found. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <sqlite3.h>
#include <unistd.h>

#include "core/base/money.h"
#include "core/base/str.h"
#include "core/ledger/ledger.h"
#include "core/ledger/seal.h"
#include "tests/unit/store/open_store.h"

#define HOUR UINT64_C(3600000)
#define DAY (24 * HOUR)

static char folder[64], path[96];
static struct opened_store store;
static struct sealer sealer;
static uint64_t next_seq = 1;

static void open_again(void)
{
	sl_error error = { 0 };
	uint64_t last = 0;
	sealer_close(&sealer);
	close_store(&store);
	cr_assert_eq(open_store(path, &store, &error), SL_OK, "%s", error.text);
	store.ops->last_seq(store.self, &last, &error);
	cr_assert_eq(sealer_open(&sealer, store.ops, store.self, last, &error), SL_OK, "%s", error.text);
}

static void setup(void)
{
	strcpy(folder, "/tmp/test-bill-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/s.db", folder);
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

/* As somebody else would change the file. */
static void tamper(const char *sql)
{
	sqlite3 *db;
	char *why = NULL;
	cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
	cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, &why), SQLITE_OK, "%s: %s", sql, why);
	cr_assert_gt(sqlite3_total_changes(db), 0, "%s changes nothing", sql);
	sqlite3_close(db);
}

static sl_usage usage_of(const char *tenant, const char *model, uint64_t started_ms, int64_t tokens, int64_t cost)
{
	sl_usage u = { .started_ms = started_ms, .input_tokens = tokens, .cached_tokens = tokens / 2, .output_tokens = 2 * tokens,
	               .cost = cost, .status = 200, .tries = 1, .door = "chat", .key = "slk_aaaaaaaa", .user = "ann" };
	memset(u.request_id, 'r', sizeof u.request_id - 1);
	memcpy(u.replica, "a\0rest", 6); /* what stands behind the end of a text is nobody's word */
	snprintf(u.tenant, sizeof u.tenant, "%s", tenant);
	snprintf(u.model, sizeof u.model, "%s", model);
	return u;
}

static sl_record use(const sl_usage *u)
{
	return (sl_record){ .seq = next_seq++, .type = SL_RECORD_USAGE, .size = sizeof *u, .wall_ms = 7, .data = u };
}

static sl_record text(uint32_t type, const char *key, const char *json)
{
	uint64_t seq = next_seq++;
	return (sl_record){ .seq = seq, .type = type, .size = (uint32_t) strlen(json), .wall_ms = 1000 + seq, .key = str_of(key),
	                    .data = json };
}

static void feed(const sl_record *records, size_t n)
{
	sl_error error = { 0 };
	cr_assert_eq(sealer_append(&sealer, store.ops, store.self, records, n, &error), SL_OK, "%s", error.text);
}

#define LEASE(STATE, CHARGES) \
	"{\"lease\":\"L1\",\"state\":\"" STATE "\",\"ended\":false,\"tenant\":\"physics\",\"user\":\"dana\",\"queue\":\"research\"," \
	"\"model\":\"\",\"charges\":[" CHARGES "]}"

/* Four groups with every kind of record: 1-3, 4-7, 8-9, 10. */
static void fill(void)
{
	static sl_usage u[4];
	for (int i = 0; i < 4; i++)
		u[i] = usage_of("physics", i % 2 ? "big" : "tiny", DAY + (uint64_t) i, 10 + i, 1000 + i);
	sl_record a[] = { use(&u[0]), text(SL_RECORD_OBJECT, "tenant/x", "{\"tier\":\"free\"}"), use(&u[1]) };
	feed(a, 3);
	sl_record b[] = { text(SL_RECORD_LEASE, "L1", LEASE("running", "")),
		text(SL_RECORD_LEASE, "L1", LEASE("running", "{\"from_ms\":100,\"until_ms\":200,\"kind\":\"h100\",\"price\":3,\"device_ms\":100}")),
		use(&u[2]), text(SL_RECORD_OBJECT, "tenant/x", "{\"tier\":\"gold\"}") };
	feed(b, 4);
	open_again(); /* the chain goes on where it was */
	sl_record c[] = { text(SL_RECORD_OBJECT, "key/y", "{}"), text(SL_RECORD_OBJECT, "key/y", "") };
	feed(c, 2);
	sl_record d[] = { use(&u[3]) };
	feed(d, 1);
}

static struct ledger_verdict verify(uint64_t from, const uint8_t *digest, uint64_t most)
{
	struct ledger_verdict v;
	sl_error error = { 0 };
	cr_assert_eq(ledger_verify(store.ops, store.self, from, digest, most, &v, &error), SL_OK, "%s", error.text);
	return v;
}

TestSuite(bill, .init = setup, .fini = teardown);

Test(bill, what_was_fed_is_sound)
{
	cr_expect_eq(verify(0, NULL, 0).first, 0, "an empty store has no digest");
	fill();
	struct ledger_verdict v = verify(0, NULL, 0);
	cr_expect_eq(v.wrong, 0, "%s", v.why);
	cr_expect_eq(v.first, 1);
	cr_expect_eq(v.verified, 10);
	cr_expect_eq(v.records, 10);
	cr_expect_eq(v.next, 0);
}

Test(bill, a_part_at_a_time)
{
	fill();
	struct ledger_verdict all = verify(0, NULL, 0), v = verify(0, NULL, 1);
	cr_expect_eq(v.verified, 3);
	cr_expect_eq(v.next, 4);
	for (int parts = 0; v.next; parts++) {
		struct ledger_verdict before = v;
		cr_assert_lt(parts, 4);
		v = verify(v.next, before.digest, 1);
		cr_expect_eq(v.wrong, 0, "%s", v.why);
	}
	cr_expect_arr_eq(v.digest, all.digest, 32);
	uint8_t other[32] = { 1 };
	cr_expect_eq(verify(4, other, 0).wrong, 1, "the chain before is another one");
}

struct change {
	char sql[300];
	uint64_t wrong;
	char words[40];
};

ParameterizedTestParameters(bill, each_change_is_found)
{
	static struct change changes[] = {
		{ "UPDATE usage SET cost = cost - 1 WHERE seq = 3", 3, "not as it was written" },
		{ "UPDATE usage SET tenant = 'other' WHERE seq = 6", 6, "not as it was written" },
		{ "UPDATE usage SET replica = 'b' WHERE seq = 10", 10, "not as it was written" },
		{ "DELETE FROM usage WHERE seq = 3", 3, "missing" },
		{ "DELETE FROM usage WHERE seq = 1", 1, "missing" },
		{ "DELETE FROM usage WHERE seq = 10", 10, "missing" },
		{ "DELETE FROM lease_change WHERE seq = 4", 4, "missing" },
		/* Two rows change places. */
		{ "UPDATE usage SET seq = -1 WHERE seq = 1; UPDATE usage SET seq = 1 WHERE seq = 6; UPDATE usage SET seq = 6 WHERE seq = -1",
		  1, "not as it was written" },
		{ "UPDATE lease_change SET seq = seq + 100; UPDATE lease_change SET seq = 109 - seq", 4, "not as it was written" },
		{ "UPDATE lease_change SET wall_ms = wall_ms + 1 WHERE seq = 5", 5, "not as it was written" },
		{ "UPDATE object_change SET json = '{\"tier\":\"none\"}' WHERE seq = 2", 2, "not as it was written" },
		/* What is derived. */
		{ "UPDATE charge SET device_ms = 99", 5, "charges" },
		{ "UPDATE charge SET price = 2", 5, "charges" },
		{ "DELETE FROM charge", 5, "charges" },
		{ "INSERT INTO charge VALUES (6, 0, 'L1', 0, 1, 1, 1, 'physics', '', '', '', '')", 6, "charges" },
		{ "INSERT INTO charge VALUES (99, 0, 'L1', 0, 1, 1, 1, 'physics', '', '', '', '')", 99, "charges" },
		{ "UPDATE lease SET json = '{}'", 5, "state of a lease" },
		{ "UPDATE object SET json = '{}' WHERE key = 'tenant/x'", 7, "an object" },
		{ "INSERT INTO object VALUES ('key/y', '{\"state\":\"active\"}')", 9, "an object" },
		/* Rows that were never fed. */
		{ "INSERT INTO usage SELECT 11, started_ms, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, '', '', '', '', '', '', '' FROM usage WHERE seq = 1", 11,
		  "behind the last digest" },
		{ "INSERT INTO usage SELECT 5, started_ms, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, '', '', '', '', '', '', '' FROM usage WHERE seq = 1", 5,
		  "" },
		/* The chain itself. */
		{ "UPDATE seal SET digest = zeroblob(32) WHERE last = 7", 4, "was changed" },
		{ "DELETE FROM seal WHERE last = 7", 4, "have no digest" },
		{ "DELETE FROM seal WHERE last = 3", 4, "came before" },
		{ "DELETE FROM seal WHERE last = 10", 10, "behind the last digest" },
		{ "UPDATE seal SET wall_ms = wall_ms + 1 WHERE last = 9", 8, "was changed" },
	};
	return cr_make_param_array(struct change, changes, sizeof changes / sizeof changes[0]);
}

ParameterizedTest(struct change *change, bill, each_change_is_found)
{
	fill();
	tamper(change->sql);
	struct ledger_verdict v = verify(0, NULL, 0);
	cr_expect_eq(v.wrong, change->wrong, "%s: record %llu: %s", change->sql, (unsigned long long) v.wrong, v.why);
	cr_expect(strstr(v.why, change->words), "%s: %s", change->sql, v.why);
	cr_expect_lt(v.verified, change->wrong);
}

/* A checksum tells which record was changed, the digest that one was: with the checksum changed along it is still found. */
Test(bill, a_checksum_is_no_proof)
{
	fill();
	tamper("UPDATE usage SET cost = 0 WHERE seq = 10; UPDATE seal SET checks = zeroblob(4) WHERE last = 10");
	cr_expect_eq(verify(0, NULL, 0).wrong, 10);
}

Test(bill, a_group_that_comes_again)
{
	fill();
	sl_error error = { 0 };
	sl_usage u = usage_of("t", "m", DAY, 1, 1);
	sl_record r[] = { use(&u), use(&u) };
	struct sealer before = sealer;
	feed(r, 2);
	uint8_t digest[32];
	memcpy(digest, sealer.digest, 32);
	/* Nobody knew whether the store had taken it. */
	memcpy(sealer.digest, before.digest, 32);
	feed(r, 2);
	cr_expect_arr_eq(sealer.digest, digest, 32, "the same records have the same digest");
	cr_expect_eq(verify(0, NULL, 0).verified, 12);
	/* A part of it cannot be sealed as if it were all. */
	sl_record more[] = { r[1], use(&u) };
	cr_expect_eq(sealer_append(&sealer, store.ops, store.self, more, 2, &error), SL_ECONFLICT);
	cr_expect(strstr(error.text, "12 to 13"), "%s", error.text);
	uint64_t last;
	store.ops->last_seq(store.self, &last, &error);
	cr_expect_eq(last, 12);
}

Test(bill, a_file_of_the_first_schema_goes_on)
{
	fill();
	close_store(&store);
	tamper("DROP TABLE charge; DROP TABLE seal; DROP TABLE object_change; DROP INDEX lease_number; DROP INDEX lease_tenant;"
	       "DROP TABLE usage_sum; DROP TABLE charge_sum;"
	       "UPDATE meta SET value = 1 WHERE name = 'schema'");
	open_again();
	struct ledger_verdict v = verify(0, NULL, 0);
	cr_expect_eq(v.first, 0);
	sl_usage u = usage_of("t", "m", DAY, 1, 1);
	sl_record r[] = { use(&u) };
	feed(r, 1);
	v = verify(0, NULL, 0);
	cr_expect_eq(v.wrong, 0, "%s", v.why);
	cr_expect_eq(v.first, 11, "what was there before has no digest");
	cr_expect_eq(v.verified, 11);
}

/* Sums, a line each. */
static char lines[8192];

static int put_sum(void *arg, const sl_bill_sum *s)
{
	char cost[MONEY_TEXT_MAX], replica[MONEY_TEXT_MAX];
	(void) arg;
	money_text(money_of(s->cost_high, s->cost_low), 15, cost);
	money_text(money_of(s->replica_cost_high, s->replica_cost_low), 15, replica);
	size_t len = strlen(lines);
	snprintf(lines + len, sizeof lines - len, "%s%s|%s|%s|%s|%s|%s|%s|%s|%lld:%lld %lld %lld %s %lld %s\n", s->day, s->hour, s->tenant,
	         s->user, s->key, s->model, s->queue, s->kind, s->lease, (long long) s->price, (long long) s->requests,
	         (long long) s->output_tokens, (long long) s->device_ms, cost, (long long) s->replica_device_ms, replica);
	return 0;
}

static const char *sums(sl_bill_filter filter, uint32_t by)
{
	sl_error error = { 0 };
	filter.size = sizeof filter;
	lines[0] = '\0';
	cr_assert_eq(store.ops->bill_sum(store.self, &filter, by, put_sum, NULL, &error), SL_OK, "%s", error.text);
	return lines;
}

#define CHARGE(FROM, KIND, PRICE, MS) "{\"from_ms\":" FROM ",\"until_ms\":0,\"kind\":\"" KIND "\",\"price\":" PRICE ",\"device_ms\":" MS "}"

static void fill_bill(void)
{
	static sl_usage u[3];
	u[0] = usage_of("physics", "tiny", DAY + 1, 5, 123456789012);
	u[1] = usage_of("physics", "tiny", 2 * DAY, 5, 1);
	u[2] = usage_of("chem", "tiny", DAY, 1, 7);
	sl_record r[] = { use(&u[0]), use(&u[1]), use(&u[2]),
		/* Two hours of 24 November at two prices, and another kind. */
		text(SL_RECORD_LEASE, "L1", LEASE("running", CHARGE("86400000", "h100", "694444444", "3600001") ","
		                                  CHARGE("90000000", "h100", "694444445", "3") "," CHARGE("90000000", "a100", "1", "1"))),
		text(SL_RECORD_LEASE, "L2", "{\"tenant\":\"\",\"model\":\"tiny\",\"queue\":\"default\",\"charges\":["
		     CHARGE("86400000", "h100", "694444444", "5000") "]}"),
		/* What is no list, or no JSON, has no charges. */
		text(SL_RECORD_LEASE, "L3", "{\"charges\":7}"), text(SL_RECORD_LEASE, "L4", "not JSON") };
	feed(r, sizeof r / sizeof r[0]);
}

Test(bill, sums_are_exact)
{
	fill_bill();
	/* 3600001 x 694444444 + 3 x 694444445 + 1 in 10^-15, and the requests' 123456789020 in 10^-12. */
	cr_expect_str_eq(sums((sl_bill_filter){ 0 }, 0),
	                 "||||||||0:3 22 3600005 2.62345956519778 5000 0.00347222222\n", "%s", lines);
}

Test(bill, groups)
{
	fill_bill();
	cr_expect_str_eq(sums((sl_bill_filter){ 0 }, SL_BY_TENANT),
	                 "||||||||0:0 0 0 0.00 5000 0.00347222222\n"
	                 "|chem|||||||0:1 2 0 0.000000000007 0 0.00\n"
	                 "|physics|||||||0:2 20 3600005 2.62345956519078 0 0.00\n", "%s", lines);
	cr_expect_str_eq(sums((sl_bill_filter){ .tenant = STR("physics") }, SL_BY_HOUR | SL_BY_KIND | SL_BY_PRICE),
	                 "1970-01-02T00:00:00Z||||||||0:1 10 0 0.123456789012 0 0.00\n"
	                 "1970-01-02T00:00:00Z||||||h100||694444444:0 0 3600001 2.500000692844444 0 0.00\n"
	                 "1970-01-02T01:00:00Z||||||a100||1:0 0 1 0.000000000000001 0 0.00\n"
	                 "1970-01-02T01:00:00Z||||||h100||694444445:0 0 3 0.000002083333335 0 0.00\n"
	                 "1970-01-03T00:00:00Z||||||||0:1 10 0 0.000000000001 0 0.00\n", "%s", lines);
}

Test(bill, filters)
{
	fill_bill();
	cr_expect_str_eq(sums((sl_bill_filter){ .key = STR("slk_aaaaaaaa"), .tenant = STR("physics") }, 0), "||||||||0:2 20 0 0.123456789013 0 0.00\n");
	cr_expect_str_eq(sums((sl_bill_filter){ .queue = STR("research") }, SL_BY_LEASE | SL_BY_KIND),
	                 "||||||a100|L1|0:0 0 1 0.000000000000001 0 0.00\n"
	                 "||||||h100|L1|0:0 0 3600004 2.500002776177779 0 0.00\n", "%s", lines);
	cr_expect_str_eq(sums((sl_bill_filter){ .since_ms = 2 * DAY }, 0), "||||||||0:1 10 0 0.000000000001 0 0.00\n", "%s", lines);
	cr_expect_str_eq(sums((sl_bill_filter){ .since_ms = DAY + HOUR, .until_ms = DAY + 2 * HOUR }, SL_BY_HOUR),
	                 "1970-01-02T01:00:00Z||||||||0:0 0 4 0.000002083333336 0 0.00\n", "%s", lines);
	cr_expect_str_eq(sums((sl_bill_filter){ .tenant = STR("nobody") }, 0), "");
}

static int put_id(void *arg, sl_str id, sl_str json)
{
	size_t len = strlen(lines);
	(void) arg;
	(void) json;
	snprintf(lines + len, sizeof lines - len, "%.*s ", STR_ARG(id));
	return 0;
}

static const char *leases(sl_lease_filter filter)
{
	sl_error error = { 0 };
	filter.size = sizeof filter;
	lines[0] = '\0';
	cr_assert_eq(store.ops->lease_list(store.self, &filter, put_id, NULL, &error), SL_OK, "%s", error.text);
	return lines;
}

Test(bill, lists_of_leases)
{
	sl_record r[] = { text(SL_RECORD_LEASE, "L2", "{\"tenant\":\"a\",\"user\":\"x\",\"ended\":true}"),
		text(SL_RECORD_LEASE, "L10", "{\"tenant\":\"a\",\"user\":\"y\",\"ended\":true}"),
		text(SL_RECORD_LEASE, "L3", "{\"tenant\":\"b\",\"user\":\"x\",\"ended\":true}"),
		text(SL_RECORD_LEASE, "L11", "{\"tenant\":\"a\",\"user\":\"x\",\"ended\":false}"), text(SL_RECORD_LEASE, "L4", "not JSON") };
	feed(r, 5);
	cr_expect_str_eq(leases((sl_lease_filter){ 0 }), "L11 L10 L4 L3 L2 ");
	cr_expect_str_eq(leases((sl_lease_filter){ .ended = 1 }), "L10 L3 L2 ");
	cr_expect_str_eq(leases((sl_lease_filter){ .ended = 1, .limit = 2 }), "L10 L3 ");
	cr_expect_str_eq(leases((sl_lease_filter){ .before = 10 }), "L4 L3 L2 ");
	cr_expect_str_eq(leases((sl_lease_filter){ .tenant = STR("a") }), "L11 L10 L2 ");
	cr_expect_str_eq(leases((sl_lease_filter){ .tenant = STR("a"), .user = STR("x"), .ended = 1 }), "L2 ");
}

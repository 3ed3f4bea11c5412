/* SPDX-License-Identifier: Apache-2.0 */
/* test_retention.c - the ledger with the SQLite store behind it: long groups, and records that are folded into sums. */
#include <criterion/criterion.h>
#include <unistd.h>

#include "core/base/str.h"
#include "core/ledger/ledger.h"
#include "tests/unit/store/open_store.h"

static char folder[64], path[96];
static struct opened_store store;
static struct ledger *ledger;

static void open_all(void)
{
	sl_error error = { 0 };
	struct ledger_options options = { .folder = folder };
	cr_assert_eq(open_store(path, &store, &error), SL_OK, "%s", error.text);
	options.store = store.ops;
	options.store_self = store.self;
	ledger = ledger_open(&options, &error);
	cr_assert_not_null(ledger, "%s", error.text);
}

static void close_all(void)
{
	ledger_close(ledger);
	ledger = NULL;
	close_store(&store);
}

static void setup(void)
{
	strcpy(folder, "/tmp/test-retention-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/s.db", folder);
	open_all();
}

static void teardown(void)
{
	char command[128];
	close_all();
	snprintf(command, sizeof command, "rm -rf '%s'", folder);
	cr_assert_eq(system(command), 0);
}

static uint64_t put_use(const sl_usage *u)
{
	uint64_t seq = ledger_append(ledger, SL_RECORD_USAGE, (sl_str){ NULL, 0 }, u, sizeof *u);
	cr_assert_neq(seq, 0);
	return seq;
}

TestSuite(retention, .init = setup, .fini = teardown, .timeout = 60);

/* What waits after a pause of the store goes to it in groups as long as there are, and each has a seal. */
Test(retention, long_groups_are_sealed)
{
	enum { RECORDS = 5000 };
	sl_usage u = { .started_ms = 1, .tenant = "t", .model = "m", .cost = 1 };
	sl_error error = { 0 };
	struct ledger_verdict verdict;
	uint64_t last = 0, stored;
	for (int i = 0; i < RECORDS; i++)
		last = put_use(&u);
	cr_assert(ledger_wait(ledger, last, 10000));
	ledger_close(ledger); /* feeds what is left */
	ledger = NULL;
	cr_assert_eq(store.ops->last_seq(store.self, &stored, &error), SL_OK);
	cr_assert_eq(stored, last, "the store took %llu of %llu", (unsigned long long) stored, (unsigned long long) last);
	cr_assert_eq(ledger_verify(store.ops, store.self, 0, NULL, 0, &verdict, &error), SL_OK, "%s", error.text);
	cr_expect_eq(verdict.wrong, 0, "%s", verdict.why);
	cr_expect_eq(verdict.verified, last);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* test_ledger_full.c - a file system that is really full: what was taken is kept, and it goes on when there is room.
 * Needs the right to mount a tmpfs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>

#include "core/base/str.h"
#include "core/ledger/ledger.h"
#include "tests/unit/ledger/fake_store.h"
#include "tests/unit/tap.h"

static struct fake_store store;

static bool comes_true(struct ledger *l, bool accepting)
{
	for (int i = 0; i < 10000 && ledger_accepting(l) != accepting; i++)
		usleep(1000);
	return ledger_accepting(l) == accepting;
}

static void fill_and_free(const char *folder)
{
	sl_error error = { 0 };
	char journal[96];
	snprintf(journal, sizeof journal, "%s/journal", folder);
	struct ledger_options options = { .folder = journal, .segment_bytes = 65536, .store = &fake_ops, .store_self = &store };
	atomic_store(&store.refuse, -1); /* so that no segment comes back */
	struct ledger *l = ledger_open(&options, &error);
	if (!tap_ok(l != NULL, "opens: %s", error.text))
		return;
	char data[1000] = "";
	uint64_t last = 0, taken = 0;
	for (int i = 0; i < 20000; i++) {
		uint64_t seq = ledger_append(l, SL_RECORD_OBJECT, STR("k"), data, sizeof data);
		taken += seq != 0;
		last = seq ? seq : last;
		if (!seq && !ledger_accepting(l))
			break;
		if (!seq)
			usleep(500);
	}
	tap_ok(comes_true(l, false), "says that it is full after %llu records", (unsigned long long) taken);
	tap_ok(ledger_wait(l, last, 10000), "all that it took is durable");
	mount("none", folder, NULL, MS_REMOUNT, "size=8m");
	tap_ok(comes_true(l, true), "goes on when there is room, without a restart");
	uint64_t seq = ledger_append(l, SL_RECORD_OBJECT, STR("k"), data, sizeof data);
	tap_ok(seq == last + 1 && ledger_wait(l, seq, 10000), "the next record");
	atomic_store(&store.refuse, 0);
	ledger_close(l);
	l = ledger_open(&options, &error);
	tap_ok(l && atomic_load(&store.last) == seq && atomic_load(&store.records) == seq && !atomic_load(&store.out_of_order),
	       "the store has every record once: %llu", (unsigned long long) atomic_load(&store.records));
	ledger_close(l);
}

int main(void)
{
	char folder[] = "/tmp/test-full-XXXXXX";
	if (!mkdtemp(folder))
		return 99;
	if (mount("none", folder, "tmpfs", 0, "size=512k") != 0) {
		printf("ok 1 - # SKIP no right to mount a tmpfs: %s\n1..1\n", strerror(errno));
		rmdir(folder);
		return 0;
	}
	fill_and_free(folder);
	umount(folder);
	rmdir(folder);
	return tap_done();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* test_ledger_files.c - journals as crashes, disks and people leave them. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/base/hash.h"
#include "core/base/str.h"
#include "core/ledger/ledger.h"
#include "core/ledger/record.h"
#include "tests/unit/ledger/fake_store.h"

enum { SEGMENT = 65536 };

static char folder[64];
static struct fake_store store;
static sl_error error;
static atomic_int accepting, states;
static atomic_int fail_sync, fail_write; /* errno of the next calls, 0: none */
static atomic_int sync_ms;               /* how long a sync takes */
static atomic_bool disk_full;            /* for new files */

static void setup(void)
{
	strcpy(folder, "/tmp/test-journal-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	strcat(folder, "/j");
	atomic_store(&accepting, 1);
}

static void teardown(void)
{
	char command[128];
	folder[strlen(folder) - 2] = '\0';
	snprintf(command, sizeof command, "rm -rf '%s'", folder);
	cr_assert_eq(system(command), 0);
}

static void state(void *arg, bool now, const char *why)
{
	(void) arg;
	cr_expect(why[0], "a change has words");
	atomic_store(&accepting, now);
	atomic_fetch_add(&states, 1);
}

static bool is_new_file(int fd)
{
	char link[64], target[256];
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, target, sizeof target - 1);
	target[n > 0 ? n : 0] = '\0';
	return strstr(target, "journal-spare.new") != NULL;
}

static ssize_t faulty_pwrite(int fd, const void *data, size_t size, off_t offset)
{
	if (atomic_load(&fail_write)) {
		errno = atomic_load(&fail_write);
		return -1;
	}
	if (atomic_load(&disk_full) && is_new_file(fd)) {
		errno = ENOSPC;
		return -1;
	}
	/* Short writes are normal. */
	return pwrite(fd, data, size > 5000 ? 5000 : size, offset);
}

static int faulty_fdatasync(int fd)
{
	(void) fd;
	usleep((unsigned) atomic_load(&sync_ms) * 1000);
	errno = atomic_load(&fail_sync);
	return errno ? -1 : 0;
}

static const struct ledger_io faulty_io = { faulty_pwrite, faulty_fdatasync };

static struct ledger *open_ledger(void)
{
	struct ledger_options options = { .folder = folder, .segment_bytes = SEGMENT, .store = &fake_ops, .store_self = &store,
	                                  .state = state, .io = &faulty_io };
	error = (sl_error){ 0 };
	return ledger_open(&options, &error);
}

static uint64_t append(struct ledger *l, size_t size)
{
	static const char data[40000];
	return ledger_append(l, SL_RECORD_OBJECT, STR("kind/name"), data, size);
}

static void commit(struct ledger *l, size_t size)
{
	uint64_t seq = append(l, size);
	cr_assert(seq && ledger_wait(l, seq, 10000), "record of %zu is committed", size);
}

/* Opens, appends one, closes: how many records does an empty store get, and which is the last? */
static bool reopen_gives(uint64_t records)
{
	store = (struct fake_store){ 0 };
	struct ledger *l = open_ledger();
	if (!l)
		return false;
	bool right = atomic_load(&store.records) == records;
	uint64_t seq = append(l, 3);
	right = right && seq == records + 1 && ledger_wait(l, seq, 10000);
	ledger_close(l);
	return right && atomic_load(&store.records) == records + 1 && atomic_load(&store.out_of_order) == 0;
}

/* A segment made by hand. */
struct image {
	char data[SEGMENT];
	size_t len;
	uint64_t number, seq;
};

static void begin(struct image *image, uint64_t number, uint64_t first_seq)
{
	struct segment_head head;
	memset(image, 0, sizeof *image);
	segment_head_make(&head, number, first_seq, 1);
	memcpy(image->data, &head, sizeof head);
	image->len = sizeof head;
	image->number = number;
	image->seq = first_seq;
}

static void put(struct image *image, uint64_t durable, sl_str data)
{
	record_write(image->data + image->len, image->seq++, 1, SL_RECORD_OBJECT, STR("k"), data.ptr, data.len);
	record_seal(image->data + image->len, image->number, durable);
	image->len += record_bytes(1, data.len);
}

static void save(const struct image *image, size_t size)
{
	char path[128];
	mkdir(folder, 0700);
	snprintf(path, sizeof path, "%s/journal-%016llx", folder, (unsigned long long) image->number);
	FILE *file = fopen(path, "w");
	cr_assert(file && fwrite(image->data, 1, size, file) == size && fclose(file) == 0);
}

static void forget(void)
{
	char command[128];
	snprintf(command, sizeof command, "rm -rf '%s'", folder);
	cr_assert_eq(system(command), 0);
}

/* Three commits of one record each. Returns where the last one begins. */
static size_t three(struct image *image)
{
	begin(image, 1, 1);
	put(image, 0, STR("first"));
	put(image, 1, STR("second record"));
	size_t third = image->len;
	put(image, 2, STR("the third and last"));
	return third;
}

TestSuite(journal, .init = setup, .fini = teardown, .timeout = 120);

Test(journal, made_by_hand_is_read)
{
	static struct image image;
	three(&image);
	save(&image, SEGMENT);
	cr_expect(reopen_gives(3), "%s", error.text);
}

Test(journal, torn_at_every_byte)
{
	static struct image image, torn;
	size_t third = three(&image);
	for (size_t keep = third; keep < image.len; keep++) {
		torn = image;
		memset(torn.data + keep, 0, image.len - keep);
		if (memcmp(torn.data, image.data, image.len) == 0)
			continue; /* the last bytes are zero anyway */
		save(&torn, SEGMENT);
		cr_expect(reopen_gives(2), "zeros from byte %zu of %zu: %s", keep - third, image.len - third, error.text);
		forget();
		save(&image, keep);
		cr_expect(reopen_gives(2), "cut at byte %zu of %zu: %s", keep - third, image.len - third, error.text);
		forget();
	}
}

Test(journal, any_bit_of_the_last_record)
{
	static struct image image, torn;
	size_t third = three(&image);
	for (size_t at = third; at < image.len; at++) {
		torn = image;
		torn.data[at] ^= (char) (1 << at % 8);
		save(&torn, SEGMENT);
		cr_expect(reopen_gives(2), "byte %zu: %s", at - third, error.text);
		forget();
	}
}

Test(journal, any_bit_before_a_committed_record_is_refused)
{
	static struct image image, bad;
	size_t third = three(&image);
	for (size_t at = 0; at < third; at++) {
		bad = image;
		bad.data[at] ^= (char) (1 << at % 8);
		save(&bad, SEGMENT);
		store = (struct fake_store){ 0 };
		cr_expect_null(open_ledger(), "byte %zu", at);
		cr_expect_eq(error.code, SL_ECONFLICT, "byte %zu: %s", at, error.text);
		cr_expect(strstr(error.text, "restore the folder from a copy"), "it says what to do: %s", error.text);
		cr_expect_eq(atomic_load(&store.records), 0, "the store got nothing of it");
		forget();
	}
}

Test(journal, a_group_that_was_written_in_another_order)
{
	static struct image image, torn;
	begin(&image, 1, 1);
	put(&image, 0, STR("first"));
	size_t second = image.len;
	put(&image, 1, STR("second"));
	size_t third = image.len;
	put(&image, 1, STR("third!"));
	torn = image;
	memset(torn.data + second, 0, third - second);
	save(&torn, SEGMENT);
	/* The new second record is as long as the old one: the old third would follow it. */
	struct ledger *l = open_ledger();
	cr_assert_not_null(l, "%s", error.text);
	cr_expect_eq(atomic_load(&store.records), 1);
	uint64_t seq = ledger_append(l, SL_RECORD_OBJECT, STR("k"), "2econd", 6);
	cr_expect(seq == 2 && ledger_wait(l, seq, 10000));
	ledger_close(l);
	cr_expect(reopen_gives(2), "the third of the torn group did not come back");
}

Test(journal, what_an_earlier_life_of_the_file_left_behind)
{
	static struct image old, image;
	begin(&old, 3, 1);
	for (int i = 0; i < 20; i++)
		put(&old, (uint64_t) i, STR("12345"));
	begin(&image, 7, 5);
	put(&image, 4, STR("12345"));
	/* Behind the one new record lie old ones, whole, the next of them with the right sequence. */
	size_t from = image.len, old_from = SEGMENT_HEAD_BYTES + 5 * record_bytes(1, 5);
	memcpy(image.data + from, old.data + old_from, old.len - old_from);
	save(&image, SEGMENT);
	store.last = 4;
	struct ledger *l = open_ledger();
	cr_assert_not_null(l, "%s", error.text);
	cr_expect_eq(atomic_load(&store.last), 5);
	ledger_close(l);
}

Test(journal, segments_must_follow_each_other)
{
	static struct image one, two, three_;
	begin(&one, 1, 1);
	put(&one, 0, STR("a"));
	begin(&two, 2, 2);
	put(&two, 1, STR("b"));
	begin(&three_, 3, 3);
	put(&three_, 2, STR("c"));
	save(&one, SEGMENT);
	save(&two, SEGMENT);
	save(&three_, SEGMENT);
	cr_expect(reopen_gives(3), "%s", error.text);
	forget();
	save(&one, SEGMENT);
	save(&three_, SEGMENT);
	cr_expect_null(open_ledger(), "the second is missing");
	cr_expect_eq(error.code, SL_ECONFLICT, "%s", error.text);
	forget();
	two.data[SEGMENT_HEAD_BYTES + 41] ^= 1;
	save(&one, SEGMENT);
	save(&two, SEGMENT);
	save(&three_, SEGMENT);
	cr_expect_null(open_ledger(), "damaged at the end of one, with a next one");
	cr_expect_eq(error.code, SL_ECONFLICT, "%s", error.text);
}

Test(journal, a_segment_that_got_its_name_but_no_head)
{
	static struct image one, two;
	begin(&one, 1, 1);
	put(&one, 0, STR("a"));
	save(&one, SEGMENT);
	memset(&two, 0, sizeof two);
	two.number = 2;
	save(&two, SEGMENT);
	cr_expect(reopen_gives(1), "zeros: %s", error.text);
	forget();
	begin(&two, 1, 1); /* a recycled file: its old head */
	put(&two, 0, STR("old"));
	two.number = 2;
	save(&one, SEGMENT);
	save(&two, SEGMENT);
	cr_expect(reopen_gives(1), "an old head: %s", error.text);
	forget();
	begin(&two, 2, 2);
	put(&two, 1, STR("b"));
	two.data[9] ^= 4;
	save(&one, SEGMENT);
	save(&two, SEGMENT);
	cr_expect_null(open_ledger(), "a damaged head in front of records is no such thing");
	cr_expect_eq(error.code, SL_ECONFLICT, "%s", error.text);
}

Test(journal, random_bytes_never_crash)
{
	static struct image image;
	unsigned seed = 7;
	for (int round = 0; round < 200; round++) {
		three(&image);
		for (int i = 0; i < 1 + round % 40; i++) {
			seed = seed * 1103515245u + 12345u;
			image.data[(seed >> 8) % (image.len + 100)] = (char) (seed >> 24);
		}
		save(&image, round % 3 ? (size_t) SEGMENT : image.len - (size_t) round % 50);
		store = (struct fake_store){ 0 };
		struct ledger *l = open_ledger();
		cr_expect(l || error.text[0]);
		cr_expect(atomic_load(&store.records) <= 3);
		ledger_close(l);
		forget();
	}
}

Test(journal, the_store_is_behind_or_ahead)
{
	static struct image image;
	begin(&image, 9, 100);
	for (uint64_t i = 0; i < 5; i++)
		put(&image, 99 + i, STR("x"));
	save(&image, SEGMENT);
	atomic_store(&store.last, 102);
	struct ledger *l = open_ledger();
	cr_assert_not_null(l, "%s", error.text);
	cr_expect_eq(atomic_load(&store.records), 2, "it gets what it lacks");
	ledger_close(l);

	atomic_store(&store.last, 50);
	cr_expect_null(open_ledger(), "records 51 to 99 are nowhere");
	cr_expect_eq(error.code, SL_ECONFLICT, "%s", error.text);
	cr_expect(strstr(error.text, "up to 50") && strstr(error.text, "begins at 100"), "%s", error.text);

	atomic_store(&store.last, 7000);
	l = open_ledger();
	cr_assert_not_null(l, "an older journal is begun anew: %s", error.text);
	cr_expect_eq(append(l, 10), 7001);
	ledger_close(l);
	cr_expect_eq(atomic_load(&store.last), 7001);
	l = open_ledger();
	cr_assert_not_null(l, "%s", error.text);
	ledger_close(l);
}

Test(journal, a_disk_error_ends_it_at_once)
{
	struct ledger *l = open_ledger();
	commit(l, 100);
	atomic_store(&fail_sync, EIO);
	uint64_t seq = append(l, 100);
	cr_expect_not(ledger_wait(l, seq, 10000), "it does not become durable");
	for (int i = 0; i < 5000 && atomic_load(&accepting); i++)
		usleep(1000);
	cr_expect(!atomic_load(&accepting) && !ledger_accepting(l));
	atomic_store(&fail_sync, 0); /* the next one would lie: it is never asked */
	cr_expect_eq(append(l, 100), 0);
	usleep(20000);
	cr_expect_eq(ledger_committed(l), 1);
	cr_expect_eq(atomic_load(&states), 1, "said once");
	ledger_close(l);
	cr_expect_eq(atomic_load(&store.last), 1, "the store has what was committed, and no more");
}

Test(journal, a_write_error_too)
{
	struct ledger *l = open_ledger();
	commit(l, 100);
	atomic_store(&fail_write, EIO);
	cr_expect_not(ledger_wait(l, append(l, 100), 10000));
	cr_expect_eq(append(l, 100), 0);
	ledger_close(l);
	atomic_store(&fail_write, 0);
	cr_expect(reopen_gives(1));
}

static bool comes_true(struct ledger *l, bool expected)
{
	for (int i = 0; i < 10000; i++) {
		if (ledger_accepting(l) == expected && atomic_load(&accepting) == expected)
			return true;
		usleep(1000);
	}
	return false;
}

/* No space for the next segment: said early, what is under way still fits, and it goes on by itself. */
Test(journal, disk_full)
{
	struct ledger *l = open_ledger();
	atomic_store(&disk_full, true);
	commit(l, 1000);
	cr_expect(ledger_accepting(l), "the next segment is not wanted yet");
	commit(l, 20000);
	cr_expect(comes_true(l, false), "no new work");
	commit(l, 20000);
	commit(l, 20000);
	cr_expect_eq(append(l, 20000), 0, "the last segment is full");
	commit(l, 100);
	atomic_store(&disk_full, false);
	cr_expect(comes_true(l, true), "it goes on by itself");
	commit(l, 20000);
	ledger_close(l);
	cr_expect(atomic_load(&store.last) == 6 && atomic_load(&store.records) == 6);
	cr_expect_eq(atomic_load(&states), 2);
	l = open_ledger();
	cr_expect(l && append(l, 10) == 7, "the next start goes on behind them: %s", error.text);
	ledger_close(l);
	cr_expect(atomic_load(&store.last) == 7 && atomic_load(&store.records) == 7);
}

Test(journal, disk_full_at_the_first_start)
{
	atomic_store(&disk_full, true);
	cr_expect_null(open_ledger());
	cr_expect_eq(error.code, SL_EFULL, "%s", error.text);
	cr_expect(strstr(error.text, "no space"), "%s", error.text);
	atomic_store(&disk_full, false);
	struct ledger *l = open_ledger();
	cr_assert_not_null(l, "nothing half made is in the way: %s", error.text);
	ledger_close(l);
}

/* A disk that takes its time: groups grow, memory does not. */
Test(journal, a_slow_disk)
{
	struct ledger_options options = { .folder = folder, .ring_bytes = 65536, .store = &fake_ops, .store_self = &store,
	                                  .io = &faulty_io };
	struct ledger *l = ledger_open(&options, &error);
	struct ledger_stats stats;
	cr_assert_not_null(l, "%s", error.text);
	atomic_store(&sync_ms, 300);
	uint64_t taken = 0, last = 0, seq;
	while ((seq = append(l, 1000))) {
		last = seq;
		taken++;
	}
	cr_expect(taken >= 30 && taken <= 63, "both halves of the ring, no more: %llu", (unsigned long long) taken);
	cr_expect(ledger_wait(l, last, 20000), "and all of it becomes durable");
	ledger_stats(l, &stats);
	cr_expect(stats.commits <= 3, "in large groups: %llu", (unsigned long long) stats.commits);
	cr_expect_neq(append(l, 1000), 0, "then there is room again");
	atomic_store(&sync_ms, 0);
	ledger_close(l);
	cr_expect_eq(atomic_load(&store.last), taken + 1);
}

Test(journal, too_long_is_refused)
{
	struct ledger *l = open_ledger();
	static char data[RECORD_BYTES_MAX + 100];
	struct ledger_stats stats;
	cr_expect_eq(ledger_append(l, 1, STR("k"), data, sizeof data), 0);
	cr_expect_eq(ledger_append(l, 1, STR("k"), data, SEGMENT), 0, "longer than a segment");
	cr_expect_eq(ledger_append(l, 1, (sl_str){ data, RECORD_KEY_MAX + 1 }, data, 1), 0, "a long key");
	cr_expect_eq(ledger_append(l, 1, STR(""), data, SIZE_MAX - 20), 0, "a length that wraps around");
	cr_expect_eq(ledger_append(l, 70000, STR(""), data, 1), 0, "a type that does not fit");
	cr_expect_neq(ledger_append(l, 1, (sl_str){ data, RECORD_KEY_MAX }, data, 30000), 0);
	cr_expect_neq(ledger_append(l, 1, (sl_str){ 0 }, NULL, 0), 0);
	ledger_stats(l, &stats);
	cr_expect_eq(stats.refused, 5);
	ledger_close(l);
	cr_expect_eq(atomic_load(&store.last), 2);
	cr_expect_eq(atomic_load(&store.key_sum), RECORD_KEY_MAX);
}

Test(journal, the_folder_is_private)
{
	struct stat st;
	struct ledger *l = open_ledger();
	cr_assert(stat(folder, &st) == 0);
	cr_expect_eq(st.st_mode & 0777, 0700);
	ledger_close(l);
	ledger_close(NULL);
}

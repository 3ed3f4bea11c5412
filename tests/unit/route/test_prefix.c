/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/route/prefix.h"

enum { LONGEST = 64 };

/* A request's use of the index. */
struct use {
	struct prefix_hold hold;
	uint32_t entries[LONGEST], ages[LONGEST];
	uint64_t keys[LONGEST];
	unsigned n;
};

static void pin(struct prefix *p, unsigned slot, struct use *u)
{
	u->hold.entries = u->entries;
	u->hold.ages = u->ages;
	prefix_pin(p, slot, u->keys, u->n, 0, &u->hold);
}

static void prompt(struct use *u, const char *letters)
{
	/* Each letter is a block. */
	uint64_t key = 1;
	u->n = 0;
	for (; *letters; letters++)
		u->keys[u->n++] = key = key * 31 + (unsigned char) *letters;
}

static unsigned depth_of(struct prefix *p, const char *letters, unsigned slot, unsigned slots)
{
	struct use u;
	uint16_t depth[PREFIX_SLOTS_MAX];
	prompt(&u, letters);
	prefix_match(p, u.keys, u.n, depth, slots);
	return depth[slot];
}

static void serve(struct prefix *p, unsigned slot, const char *letters)
{
	struct use u;
	prompt(&u, letters);
	pin(p, slot, &u);
	prefix_computed(p, &u.hold);
	prefix_release(p, &u.hold, 0);
}

Test(prefix, chain_depends_on_all_before_and_on_its_start)
{
	char text[PREFIX_BLOCK * 4 + 5];
	uint64_t a[4], b[4], c[4];
	memset(text, 'x', sizeof text);
	cr_assert_eq(prefix_chain(7, text, sizeof text, a, 4), 4, "the rest of a block has no key");
	cr_assert_eq(prefix_chain(7, text, PREFIX_BLOCK - 1, b, 4), 0);
	cr_assert_eq(prefix_chain(7, text, sizeof text, b, 2), 2, "a bound is kept");
	cr_assert(a[0] == b[0] && a[1] == b[1] && a[0] != a[1], "equal blocks at other places have other keys");
	text[PREFIX_BLOCK]++;
	prefix_chain(7, text, sizeof text, b, 4);
	cr_assert(a[0] == b[0] && a[1] != b[1] && a[2] != b[2] && a[3] != b[3]);
	prefix_chain(8, text, sizeof text, c, 4);
	cr_assert(b[0] != c[0] && b[3] != c[3]);
	cr_assert_neq(prefix_start(STR("a"), STR("")), prefix_start(STR("b"), STR("")));
	cr_assert_neq(prefix_start(STR("a"), STR("")), prefix_start(STR("a"), STR("tools")));
	cr_assert_eq(prefix_start(STR("a"), STR("tools")), prefix_start(STR("a"), STR("tools")));
	/* Two blocks that change places. */
	memset(text, 'y', PREFIX_BLOCK);
	memset(text + PREFIX_BLOCK, 'z', PREFIX_BLOCK);
	prefix_chain(7, text, 2 * PREFIX_BLOCK, a, 4);
	memset(text, 'z', PREFIX_BLOCK);
	memset(text + PREFIX_BLOCK, 'y', PREFIX_BLOCK);
	prefix_chain(7, text, 2 * PREFIX_BLOCK, b, 4);
	cr_assert_neq(a[1], b[1]);
}

Test(prefix, held_from_dispatch_on_and_after_the_end)
{
	struct prefix *p = prefix_new(100);
	struct use u;
	prompt(&u, "abcdef");
	pin(p, 3, &u);
	cr_assert_eq(u.hold.matched, 0);
	cr_assert_eq(depth_of(p, "abcxyz", 3, 8), 3, "speculative: the engine has not said a word");
	cr_assert_eq(depth_of(p, "abcxyz", 2, 8), 0);
	prefix_release(p, &u.hold, 0);
	cr_assert_eq(depth_of(p, "abcdefgh", 3, 8), 6);
	pin(p, 3, &u);
	cr_assert_eq(u.hold.matched, 6);
	prefix_release(p, &u.hold, 0);
	prefix_free(p);
}

Test(prefix, eviction_takes_the_tail_of_the_oldest_first)
{
	struct prefix *p = prefix_new(100);
	prefix_room(p, 0, 6);
	serve(p, 0, "abcd");
	serve(p, 0, "abxy");
	cr_assert_eq(depth_of(p, "abcd", 0, 1), 4);
	serve(p, 0, "q"); /* one too many: d goes */
	cr_assert_eq(depth_of(p, "abcd", 0, 1), 3);
	serve(p, 0, "rs"); /* c, y */
	cr_assert_eq(depth_of(p, "abcd", 0, 1), 2);
	cr_assert_eq(depth_of(p, "abxy", 0, 1), 3);
	prefix_free(p);
}

Test(prefix, what_runs_is_not_evicted_and_answers_take_room)
{
	struct prefix *p = prefix_new(100);
	struct use u;
	uint32_t used, pinned;
	prefix_room(p, 0, 4);
	prompt(&u, "abcd");
	pin(p, 0, &u);
	serve(p, 0, "wxyz");
	cr_assert_eq(depth_of(p, "abcd", 0, 1), 4);
	cr_assert_eq(depth_of(p, "wxyz", 0, 1), 0, "the engine has no room for both");
	prefix_release(p, &u.hold, 3);
	cr_assert_eq(depth_of(p, "abcd", 0, 1), 4, "the answer is freed before the prompt");
	prefix_slot_stats(p, 0, &used, &pinned);
	cr_assert_eq(used, 4);
	cr_assert_eq(pinned, 0);
	prefix_free(p);
}

Test(prefix, a_block_that_was_gone_takes_all_that_is_older)
{
	struct prefix *p = prefix_new(100);
	struct use u;
	serve(p, 0, "old");
	serve(p, 0, "abcd");
	serve(p, 0, "new");
	prompt(&u, "abcdef");
	pin(p, 0, &u);
	cr_assert_eq(u.hold.matched, 4);
	cr_assert_gt(prefix_correct(p, &u.hold, 2), 0);
	cr_assert_eq(depth_of(p, "old", 0, 1), 0);
	cr_assert_eq(depth_of(p, "new", 0, 1), 3);
	cr_assert_eq(depth_of(p, "abcdef", 0, 1), 6, "computed again by this request");
	cr_assert_eq(prefix_correct(p, &u.hold, 4), 0, "nothing was missing");
	prefix_release(p, &u.hold, 0);
	prefix_free(p);
}

Test(prefix, siblings_that_are_not_computed_yet_prove_nothing)
{
	struct prefix *p = prefix_new(100);
	struct use first, second;
	serve(p, 0, "old");
	prompt(&first, "abc");
	prompt(&second, "abc");
	pin(p, 0, &first);
	pin(p, 0, &second);
	cr_assert_eq(second.hold.matched, 3);
	cr_assert_eq(prefix_correct(p, &second.hold, 0), 0, "a burst of siblings all miss");
	prefix_release(p, &first.hold, 0);
	prefix_release(p, &second.hold, 0);
	cr_assert_eq(depth_of(p, "old", 0, 1), 3);
	prefix_free(p);
}

Test(prefix, forgotten_slots_void_their_holds)
{
	struct prefix *p = prefix_new(100);
	struct use u, v;
	struct prefix_stats stats;
	prompt(&u, "abc");
	pin(p, 0, &u);
	prompt(&v, "abz");
	pin(p, 1, &v);
	prefix_forget(p, 0);
	cr_assert_eq(depth_of(p, "abc", 0, 2), 0);
	cr_assert_eq(depth_of(p, "abz", 1, 2), 3, "other replicas keep theirs");
	serve(p, 0, "abc"); /* the restarted engine */
	prefix_computed(p, &u.hold);
	prefix_release(p, &u.hold, 5);
	cr_assert_eq(depth_of(p, "abc", 0, 2), 3);
	prefix_release(p, &v.hold, 0);
	prefix_forget(p, 0);
	prefix_forget(p, 1);
	prefix_stats(p, &stats);
	cr_assert_eq(stats.entries, 0);
	cr_assert_eq(stats.blocks, 0);
	prefix_free(p);
}

Test(prefix, buried_slots_are_swept_in_parts_and_come_back_empty)
{
	struct prefix *p = prefix_new(100);
	struct use u;
	struct prefix_stats stats;
	int slot = -1, rounds = 0;
	cr_assert_eq(prefix_sweep(p, 100), -1);
	serve(p, 2, "abcdefgh");
	serve(p, 3, "abc");
	prompt(&u, "xyz");
	pin(p, 2, &u);
	prefix_bury(p, 2);
	prefix_release(p, &u.hold, 4);
	for (; slot < 0 && rounds < 10; rounds++)
		slot = prefix_sweep(p, 4);
	cr_assert(slot == 2 && rounds == 3, "slot %d after %d", slot, rounds);
	prefix_stats(p, &stats);
	cr_assert_eq(stats.entries, 3);
	cr_assert_eq(depth_of(p, "abcdefgh", 2, 4), 0);
	cr_assert_eq(depth_of(p, "abcdefgh", 3, 4), 3);
	cr_assert_eq(prefix_sweep(p, 100), -1);
	prefix_free(p);
}

Test(prefix, a_full_index_keeps_first_blocks_and_stays_within_its_bound)
{
	struct prefix *p = prefix_new(10);
	struct use u, v;
	struct prefix_stats stats;
	prompt(&u, "abcdefgh");
	prompt(&v, "ABCDEFGH");
	pin(p, 0, &u);
	pin(p, 1, &v);
	cr_assert_eq(v.hold.n, 2);
	prefix_stats(p, &stats);
	cr_assert_eq(stats.entries, 10);
	cr_assert_eq(stats.dropped, 6);
	cr_assert_eq(depth_of(p, "ABCDEFGH", 1, 2), 2);
	prefix_release(p, &u.hold, 0);
	prefix_release(p, &v.hold, 0);
	pin(p, 1, &v);
	cr_assert_eq(v.hold.n, 8, "another replica's oldest make room");
	prefix_release(p, &v.hold, 0);
	prefix_free(p);
}

Test(prefix, many_holders_of_one_block)
{
	struct prefix *p = prefix_new(20000);
	uint16_t depth[PREFIX_SLOTS_MAX];
	struct use u;
	prompt(&u, "shared");
	for (unsigned slot = 0; slot < PREFIX_SLOTS_MAX; slot++) {
		char own[] = "shared_x";
		own[6] = (char) ('A' + slot % 7);
		serve(p, slot, slot % 3 ? own : "sha");
	}
	prompt(&u, "sharedAx");
	prefix_match(p, u.keys, u.n, depth, PREFIX_SLOTS_MAX);
	for (unsigned slot = 0; slot < PREFIX_SLOTS_MAX; slot++)
		cr_assert_eq(depth[slot], slot % 3 == 0 ? 3 : slot % 7 == 0 ? 8 : 6, "slot %u has %u", slot, depth[slot]);
	for (unsigned slot = 2; slot < PREFIX_SLOTS_MAX; slot++)
		prefix_forget(p, slot);
	prefix_match(p, u.keys, u.n, depth, PREFIX_SLOTS_MAX);
	cr_assert(depth[0] == 3 && depth[1] == 6 && depth[2] == 0 && depth[1023] == 0);
	prefix_free(p);
}

/* The same by the simplest means: each slot is a list of blocks in the order of eviction, pinned ones apart. */
enum { SLOTS = 5, HELD = 400, RUNNING = 12 };
struct held {
	uint64_t key;
	unsigned pins, age;
	bool computed;
};
static struct naive {
	struct held of[HELD];
	unsigned n, room, releases;
} naive[SLOTS];

static struct held *naive_find(struct naive *s, uint64_t key)
{
	for (unsigned i = 0; i < s->n; i++)
		if (s->of[i].key == key)
			return &s->of[i];
	return NULL;
}

/* To the end of the list, which is the youngest. */
static struct held *naive_touch(struct naive *s, struct held *h)
{
	struct held copy = *h;
	memmove(h, h + 1, (size_t) (s->of + s->n - (h + 1)) * sizeof *h);
	s->of[s->n - 1] = copy;
	return &s->of[s->n - 1];
}

static void naive_room(struct naive *s, unsigned wanted)
{
	for (unsigned i = 0; i < s->n && s->n + wanted > s->room;)
		if (s->of[i].pins) {
			i++;
		} else {
			naive_touch(s, &s->of[i]);
			s->n--;
		}
}

static void naive_pin(struct naive *s, const struct use *u, unsigned ages[LONGEST])
{
	bool hit = true;
	for (unsigned i = 0; i < u->n; i++) {
		struct held *h = hit ? naive_find(s, u->keys[i]) : NULL;
		hit = h;
		ages[i] = h && !h->pins && h->computed ? h->age : 0;
		if (!h) {
			naive_room(s, 1);
			h = &s->of[s->n++];
			*h = (struct held){ .key = u->keys[i] };
		}
		h->pins++;
	}
}

static void naive_release(struct naive *s, const struct use *u, unsigned tail)
{
	static uint64_t unique = UINT64_C(1) << 60;
	s->releases++;
	for (; tail; tail--) {
		naive_room(s, 1);
		s->of[s->n++] = (struct held){ .key = unique++, .age = s->releases };
	}
	for (unsigned k = u->n; k > 0; k--) {
		struct held *h = naive_find(s, u->keys[k - 1]);
		if (--h->pins == 0)
			naive_touch(s, h)->age = s->releases;
	}
	naive_room(s, 0);
}

static unsigned naive_depth(struct naive *s, const struct use *u)
{
	unsigned n = 0;
	while (n < u->n && naive_find(s, u->keys[n]))
		n++;
	return n;
}

static void draw(struct use *u, unsigned *seed)
{
	char letters[LONGEST];
	unsigned n = 0, want = (unsigned) rand_r(seed) % 24;
	bool same = true;
	while (n < want) {
		/* Mostly the common way, then branches. */
		same = same && rand_r(seed) % 8;
		letters[n] = (char) (same ? 'a' + (int) n % 20 : 'A' + rand_r(seed) % 3);
		n++;
	}
	letters[n] = '\0';
	prompt(u, letters);
}

static void check_all(struct prefix *p, unsigned *seed, int step)
{
	struct use u;
	uint16_t depth[SLOTS];
	for (int k = 0; k < 3; k++) {
		draw(&u, seed);
		prefix_match(p, u.keys, u.n, depth, SLOTS);
		for (unsigned s = 0; s < SLOTS; s++)
			cr_assert_eq(depth[s], naive_depth(&naive[s], &u), "step %d slot %u: %u, naively %u", step, s, depth[s],
			             naive_depth(&naive[s], &u));
	}
	for (unsigned s = 0; s < SLOTS; s++) {
		uint32_t held, pinned;
		prefix_slot_stats(p, s, &held, &pinned);
		cr_assert_eq(held, naive[s].n, "step %d slot %u holds %u, naively %u", step, s, held, naive[s].n);
	}
}

Test(prefix, behaves_as_the_naive_model)
{
	for (unsigned round = 1; round <= 20; round++) {
		struct prefix *p = prefix_new(4000);
		static struct use running[RUNNING];
		static unsigned ages[RUNNING][LONGEST];
		unsigned seed = round;
		memset(naive, 0, sizeof naive);
		memset(running, 0, sizeof running);
		for (unsigned s = 0; s < SLOTS; s++) {
			naive[s].room = 10 + (unsigned) rand_r(&seed) % 60;
			prefix_room(p, s, naive[s].room);
		}
		for (int step = 0; step < 3000; step++) {
			unsigned i = (unsigned) rand_r(&seed) % RUNNING, slot = (unsigned) rand_r(&seed) % SLOTS;
			struct use *u = &running[i];
			int what = rand_r(&seed) % 40;
			if (what == 0) {
				prefix_forget(p, slot);
				naive[slot].n = 0;
				for (unsigned k = 0; k < RUNNING; k++)
					if (running[k].hold.live && running[k].hold.slot == slot) {
						prefix_release(p, &running[k].hold, 3); /* of no effect */
						cr_assert_not(running[k].hold.live);
					}
			} else if (what == 1) {
				naive[slot].room = 10 + (unsigned) rand_r(&seed) % 60;
				naive_room(&naive[slot], 0);
				prefix_room(p, slot, naive[slot].room);
			} else if (!u->hold.live) {
				draw(u, &seed);
				pin(p, slot, u);
				naive_pin(&naive[slot], u, ages[i]);
			} else if (what < 15) {
				prefix_computed(p, &u->hold);
				for (unsigned k = 0; k < u->n; k++)
					naive_find(&naive[u->hold.slot], u->keys[k])->computed = true;
			} else if (what < 18) {
				struct naive *s = &naive[u->hold.slot];
				unsigned told = (unsigned) rand_r(&seed) % LONGEST, age = 0;
				prefix_correct(p, &u->hold, told);
				for (unsigned k = told; k < u->hold.matched && !age; k++)
					age = ages[i][k];
				for (unsigned k = 0; k < s->n && age;)
					if (!s->of[k].pins && s->of[k].age <= age) {
						naive_touch(s, &s->of[k]);
						s->n--;
					} else {
						k++;
					}
			} else {
				unsigned tail = (unsigned) rand_r(&seed) % 4;
				naive_release(&naive[u->hold.slot], u, tail);
				prefix_release(p, &u->hold, tail);
			}
			check_all(p, &seed, step);
		}
		for (unsigned s = 0; s < SLOTS; s++)
			prefix_forget(p, s);
		struct prefix_stats stats;
		prefix_stats(p, &stats);
		cr_assert(stats.entries == 0 && stats.blocks == 0, "nothing leaks");
		prefix_free(p);
	}
}

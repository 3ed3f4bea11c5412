/* SPDX-License-Identifier: Apache-2.0 */
/* prefix.c - blocks, the replicas that hold them, and in which order each will evict its own. */
#include "core/route/prefix.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
	NONE = 0, /* of an index; element 0 of each table is not used */
	WORDS = PREFIX_SLOTS_MAX / 64,
	FEW = 3,  /* holders that a block keeps in itself */
	VICTIMS = 8,
	AHEAD = 4
};

/* A block that one replica or more hold. */
struct block {
	uint64_t key;
	uint32_t next;        /* of its bucket, or of the free ones */
	uint16_t n;           /* holders */
	uint16_t few[FEW];    /* n <= FEW */
	uint32_t wide;        /* else a set of slots */
};

/* A block at one replica. */
struct entry {
	uint32_t next_bucket; /* or of the free ones */
	uint32_t prev, next;  /* of the slot's list: the free ones by age, or the pinned ones */
	uint32_t block;       /* NONE: of nobody else, such as an answer */
	uint32_t age;         /* of the slot's releases: when it was freed */
	uint32_t follow;      /* which came behind it the last time: found again without a search, if it is still that */
	uint32_t pins : 20, slot : 11, computed : 1;
};

struct list {
	uint32_t first, last, n;
};

struct slot {
	struct list lru, pinned; /* lru: the first is evicted next */
	uint32_t room, growth, epoch, releases;
	bool buried;
};

struct prefix {
	uint32_t max, mask;
	uint32_t *block_buckets, *entry_buckets;
	struct block *blocks;
	struct entry *entries;
	uint64_t (*wide)[WORDS];
	/* Those behind `made` were never used: their memory is not touched. */
	uint32_t free_block, made_blocks, free_entry, made_entries, free_wide, made_wide, wide_max;
	uint32_t n_blocks, n_entries;
	unsigned slots, victim, buried;
	uint64_t evicted, dropped;
	struct slot slot[PREFIX_SLOTS_MAX];
};

struct prefix *prefix_new(uint32_t entries)
{
	static atomic_uint made; /* so that a hold on another index is void here */
	struct prefix *p = calloc(1, sizeof *p);
	uint32_t buckets = 64, epoch = atomic_fetch_add(&made, 1) << 16;
	if (!p)
		return NULL;
	while (buckets < entries && buckets < UINT32_C(1) << 31)
		buckets *= 2;
	p->max = entries;
	p->mask = buckets - 1;
	p->wide_max = entries / FEW + 1;
	p->block_buckets = calloc(buckets, sizeof *p->block_buckets);
	p->entry_buckets = calloc(buckets, sizeof *p->entry_buckets);
	p->blocks = calloc((size_t) entries + 1, sizeof *p->blocks);
	p->entries = calloc((size_t) entries + 1, sizeof *p->entries);
	p->wide = calloc((size_t) p->wide_max + 1, sizeof *p->wide);
	if (!p->block_buckets || !p->entry_buckets || !p->blocks || !p->entries || !p->wide) {
		prefix_free(p);
		return NULL;
	}
	for (unsigned i = 0; i < PREFIX_SLOTS_MAX; i++)
		p->slot[i] = (struct slot){ .room = entries, .epoch = epoch };
	return p;
}

void prefix_free(struct prefix *p)
{
	if (!p)
		return;
	free(p->block_buckets);
	free(p->entry_buckets);
	free(p->blocks);
	free(p->entries);
	free(p->wide);
	free(p);
}

static uint32_t find_block(const struct prefix *p, uint64_t key)
{
	uint32_t i = p->block_buckets[key & p->mask];
	while (i && p->blocks[i].key != key)
		i = p->blocks[i].next;
	return i;
}

static uint32_t *entry_bucket(const struct prefix *p, uint32_t block, unsigned slot)
{
	uint64_t h = (p->blocks[block].key ^ slot * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xff51afd7ed558ccd);
	return &p->entry_buckets[h >> 32 & p->mask];
}

static uint32_t find_entry(const struct prefix *p, uint32_t block, unsigned slot)
{
	uint32_t i = *entry_bucket(p, block, slot);
	while (i && (p->entries[i].block != block || p->entries[i].slot != slot))
		i = p->entries[i].next_bucket;
	return i;
}

/* Sets of holders. */

static void set_put(uint64_t *set, unsigned slot)
{
	set[slot / 64] |= UINT64_C(1) << slot % 64;
}

static bool widen(struct prefix *p, struct block *b)
{
	uint32_t w = p->free_wide;
	if (w)
		memcpy(&p->free_wide, p->wide[w], sizeof p->free_wide);
	else if (p->made_wide < p->wide_max)
		w = ++p->made_wide;
	else
		return false;
	memset(p->wide[w], 0, sizeof p->wide[w]);
	for (unsigned i = 0; i < b->n; i++)
		set_put(p->wide[w], b->few[i]);
	b->wide = w;
	return true;
}

static bool holder_add(struct prefix *p, struct block *b, unsigned slot)
{
	if (!b->wide && b->n < FEW) {
		b->few[b->n++] = (uint16_t) slot;
		return true;
	}
	if (!b->wide && !widen(p, b))
		return false;
	set_put(p->wide[b->wide], slot);
	b->n++;
	return true;
}

static void holder_remove(struct prefix *p, struct block *b, unsigned slot)
{
	b->n--;
	if (!b->wide) {
		unsigned i = 0;
		while (b->few[i] != slot)
			i++;
		b->few[i] = b->few[b->n];
		return;
	}
	uint64_t *set = p->wide[b->wide];
	set[slot / 64] &= ~(UINT64_C(1) << slot % 64);
	if (b->n >= FEW)
		return;
	unsigned n = 0;
	for (unsigned w = 0; w < WORDS; w++)
		for (uint64_t bits = set[w]; bits; bits &= bits - 1)
			b->few[n++] = (uint16_t) (w * 64 + (unsigned) __builtin_ctzll(bits));
	memcpy(set, &p->free_wide, sizeof p->free_wide);
	p->free_wide = b->wide;
	b->wide = NONE;
}

/* Lists of a slot's entries. */

static void list_append(struct prefix *p, struct list *l, uint32_t i)
{
	p->entries[i].prev = l->last;
	p->entries[i].next = NONE;
	if (l->last)
		p->entries[l->last].next = i;
	else
		l->first = i;
	l->last = i;
	l->n++;
}

static void list_remove(struct prefix *p, struct list *l, uint32_t i)
{
	struct entry *e = &p->entries[i];
	if (e->prev)
		p->entries[e->prev].next = e->next;
	else
		l->first = e->next;
	if (e->next)
		p->entries[e->next].prev = e->prev;
	else
		l->last = e->prev;
	l->n--;
}

static void block_drop(struct prefix *p, uint32_t i)
{
	uint32_t *link = &p->block_buckets[p->blocks[i].key & p->mask];
	while (*link != i)
		link = &p->blocks[*link].next;
	*link = p->blocks[i].next;
	p->blocks[i].next = p->free_block;
	p->free_block = i;
	p->n_blocks--;
}

/* Takes an entry that is in no list any more out of the index. */
static void entry_drop(struct prefix *p, uint32_t i)
{
	struct entry *e = &p->entries[i];
	if (e->block) {
		uint32_t *link = entry_bucket(p, e->block, e->slot);
		while (*link != i)
			link = &p->entries[*link].next_bucket;
		*link = e->next_bucket;
		holder_remove(p, &p->blocks[e->block], e->slot);
		if (p->blocks[e->block].n == 0)
			block_drop(p, e->block);
	}
	e->block = NONE; /* nothing that followed is it any more */
	e->next_bucket = p->free_entry;
	p->free_entry = i;
	p->n_entries--;
}

static void evict_oldest(struct prefix *p, struct slot *s)
{
	uint32_t i = s->lru.first;
	list_remove(p, &s->lru, i);
	entry_drop(p, i);
	p->evicted++;
}

static uint64_t used(const struct slot *s)
{
	return (uint64_t) s->lru.n + s->pinned.n + s->growth;
}

/* What has no room in the engine is gone there; pinned blocks stay, whatever the room. */
static void make_room(struct prefix *p, struct slot *s, uint64_t wanted)
{
	while (s->lru.first && used(s) + wanted > s->room)
		evict_oldest(p, s);
}

/* When the index itself is full, the oldest of this replica goes, or of another one. */
static uint32_t entry_new(struct prefix *p, struct slot *s)
{
	if (p->n_entries >= p->max && s->lru.first)
		evict_oldest(p, s);
	for (unsigned n = 0; p->n_entries >= p->max && n < VICTIMS && p->slots; n++) {
		struct slot *other = &p->slot[p->victim++ % p->slots];
		if (other->lru.first)
			evict_oldest(p, other);
	}
	if (p->n_entries >= p->max)
		return NONE;
	uint32_t i = p->free_entry;
	if (i)
		p->free_entry = p->entries[i].next_bucket;
	else
		i = ++p->made_entries;
	p->entries[i] = (struct entry){ .slot = (unsigned) (s - p->slot) & 0x7ff };
	p->n_entries++;
	return i;
}

static uint32_t block_new(struct prefix *p, uint64_t key)
{
	uint32_t i = p->free_block; /* there are never more blocks than entries */
	if (i)
		p->free_block = p->blocks[i].next;
	else
		i = ++p->made_blocks;
	uint32_t *bucket = &p->block_buckets[key & p->mask];
	p->blocks[i] = (struct block){ .key = key, .next = *bucket };
	*bucket = i;
	p->n_blocks++;
	return i;
}

/* A new entry of a block at a slot, in no list yet. */
static uint32_t insert(struct prefix *p, struct slot *s, uint64_t key)
{
	make_room(p, s, 1);
	uint32_t i = entry_new(p, s);
	if (!i)
		return NONE;
	struct entry *e = &p->entries[i];
	uint32_t block = find_block(p, key);
	if (!block)
		block = block_new(p, key);
	if (!holder_add(p, &p->blocks[block], e->slot)) {
		e->next_bucket = p->free_entry;
		p->free_entry = i;
		p->n_entries--;
		return NONE;
	}
	e->block = block;
	uint32_t *bucket = entry_bucket(p, block, e->slot);
	e->next_bucket = *bucket;
	*bucket = i;
	return i;
}

/* The block at the slot, behind the entry `before` of the same prompt (or NONE). */
static inline uint32_t find_behind(const struct prefix *p, uint32_t before, uint64_t key, unsigned slot)
{
	const struct entry *e = &p->entries[before ? p->entries[before].follow : NONE];
	if (e->block && e->slot == slot && p->blocks[e->block].key == key)
		return (uint32_t) (e - p->entries);
	uint32_t block = find_block(p, key);
	return block ? find_entry(p, block, slot) : NONE;
}

/* Pins those of the keys that the slot has. The last of them. */
static uint32_t pin_known(struct prefix *p, struct slot *s, const uint64_t *keys, unsigned n, struct prefix_hold *hold)
{
	struct entry *entries = p->entries;
	uint32_t *pinned = hold->entries, *ages = hold->ages, before = NONE, at;
	unsigned i = 0;
	for (; i < n && (at = find_behind(p, before, keys[i], hold->slot)) != NONE; i++) {
		struct entry *e = &entries[at];
		ages[i] = 0;
		pinned[i] = at;
		if (before && entries[before].follow != at)
			entries[before].follow = at;
		if (e->pins++ == 0) {
			ages[i] = e->computed ? e->age : 0;
			list_remove(p, &s->lru, at);
			list_append(p, &s->pinned, at);
		}
		before = at;
	}
	hold->n = hold->matched = i;
	return before;
}

void prefix_pin(struct prefix *p, unsigned slot, const uint64_t *keys, unsigned n, uint32_t growth, struct prefix_hold *hold)
{
	struct slot *s = &p->slot[slot];
	if (slot >= p->slots)
		p->slots = slot + 1;
	hold->slot = (uint16_t) slot;
	hold->epoch = s->epoch;
	hold->live = true;
	hold->growth = growth;
	s->growth += growth;
	uint32_t before = pin_known(p, s, keys, n, hold);
	for (unsigned i = hold->n; i < n; i++) {
		if (i + AHEAD < n)
			__builtin_prefetch(&p->block_buckets[keys[i + AHEAD] & p->mask]);
		uint32_t at = insert(p, s, keys[i]);
		if (!at) {
			p->dropped += n - i;
			break;
		}
		list_append(p, &s->pinned, at);
		if (before)
			p->entries[before].follow = at;
		before = at;
		p->entries[at].pins = 1;
		hold->ages[i] = 0;
		hold->entries[i] = at;
		hold->n = i + 1;
	}
}

static bool is_void(const struct prefix *p, const struct prefix_hold *hold)
{
	return !hold->live || p->slot[hold->slot].epoch != hold->epoch;
}

void prefix_computed(struct prefix *p, const struct prefix_hold *hold)
{
	if (is_void(p, hold))
		return;
	for (unsigned i = 0; i < hold->n; i++)
		p->entries[hold->entries[i]].computed = 1;
}

uint32_t prefix_correct(struct prefix *p, const struct prefix_hold *hold, uint32_t told)
{
	uint32_t n = 0;
	if (is_void(p, hold))
		return 0;
	struct slot *s = &p->slot[hold->slot];
	while (told < hold->matched && !hold->ages[told])
		told++; /* pinned by others or not computed yet: says nothing of what is evicted */
	if (told >= hold->matched)
		return 0;
	for (; s->lru.first && (int32_t) (p->entries[s->lru.first].age - hold->ages[told]) <= 0; n++)
		evict_oldest(p, s);
	return n;
}

void prefix_release(struct prefix *p, struct prefix_hold *hold, uint32_t tail)
{
	if (is_void(p, hold)) {
		hold->live = false;
		return;
	}
	struct slot *s = &p->slot[hold->slot];
	hold->live = false;
	s->growth -= hold->growth;
	if (++s->releases == 0)
		s->releases = 1; /* 0: no age */
	/* The engine frees the end of the sequence first. */
	for (uint32_t i, k = tail < s->room ? tail : s->room; k > 0; k--) {
		make_room(p, s, 1);
		if (!(i = entry_new(p, s)))
			break;
		p->entries[i].age = s->releases;
		list_append(p, &s->lru, i);
	}
	for (unsigned k = hold->n; k > 0; k--) {
		uint32_t i = hold->entries[k - 1];
		struct entry *e = &p->entries[i];
		if (--e->pins)
			continue;
		e->age = s->releases;
		list_remove(p, &s->pinned, i);
		list_append(p, &s->lru, i);
	}
	make_room(p, s, 0);
}

void prefix_forget(struct prefix *p, unsigned slot)
{
	struct slot *s = &p->slot[slot];
	struct list *lists[] = { &s->lru, &s->pinned };
	for (unsigned k = 0; k < 2; k++)
		while (lists[k]->first) {
			uint32_t i = lists[k]->first;
			list_remove(p, lists[k], i);
			entry_drop(p, i);
		}
	s->growth = 0;
	s->epoch++;
}

void prefix_bury(struct prefix *p, unsigned slot)
{
	p->slot[slot].growth = 0;
	p->slot[slot].epoch++;
	p->slot[slot].buried = true;
	p->buried++;
}

int prefix_sweep(struct prefix *p, unsigned most)
{
	unsigned slot = 0;
	if (!p->buried)
		return -1;
	while (!p->slot[slot].buried)
		slot++;
	struct slot *s = &p->slot[slot];
	for (; most && (s->lru.first || s->pinned.first); most--) {
		struct list *l = s->lru.first ? &s->lru : &s->pinned;
		uint32_t i = l->first;
		list_remove(p, l, i);
		entry_drop(p, i);
	}
	if (s->lru.first || s->pinned.first)
		return -1;
	s->buried = false;
	p->buried--;
	return (int) slot;
}

void prefix_room(struct prefix *p, unsigned slot, uint32_t blocks)
{
	p->slot[slot].room = blocks;
	make_room(p, &p->slot[slot], 0);
}

uint32_t prefix_room_of(const struct prefix *p, unsigned slot)
{
	return p->slot[slot].room;
}

/* The search. A slot that holds a block holds those before it, so the holders of a later block are among those of an
 * earlier one: where both ends of a stretch have the same, nothing within needs a look. */

struct search {
	const struct prefix *p;
	const uint64_t *keys;
	uint16_t *depth;
	unsigned words;
};

static bool holders(const struct search *s, unsigned at, const uint64_t *among, uint64_t *out)
{
	const struct prefix *p = s->p;
	uint32_t i = find_block(p, s->keys[at]);
	const struct block *b = &p->blocks[i];
	uint64_t any = 0;
	if (!i) {
		memset(out, 0, s->words * sizeof *out);
		return false;
	}
	if (b->wide) {
		for (unsigned w = 0; w < s->words; w++)
			any |= out[w] = p->wide[b->wide][w] & among[w];
		return any;
	}
	memset(out, 0, s->words * sizeof *out);
	for (unsigned k = 0; k < b->n; k++)
		if (b->few[k] / 64u < s->words)
			set_put(out, b->few[k]);
	for (unsigned w = 0; w < s->words; w++)
		any |= out[w] &= among[w];
	return any;
}

static void set_depth(const struct search *s, const uint64_t *set, unsigned depth)
{
	for (unsigned w = 0; w < s->words; w++)
		for (uint64_t bits = set[w]; bits; bits &= bits - 1)
			s->depth[w * 64 + (unsigned) __builtin_ctzll(bits)] = (uint16_t) depth;
}

/* Those of `set` hold at least `low` blocks and at most `high`. */
static void narrow(const struct search *s, const uint64_t *set, unsigned low, unsigned high)
{
	uint64_t more[WORDS], less[WORDS];
	while (low < high) {
		unsigned middle = (low + high + 1) / 2;
		bool some = holders(s, middle - 1, set, more);
		uint64_t rest = 0;
		for (unsigned w = 0; w < s->words; w++)
			rest |= less[w] = set[w] & ~more[w];
		if (!some) {
			high = middle - 1;
		} else if (!rest) {
			low = middle;
		} else {
			narrow(s, more, middle, high);
			narrow(s, less, low, middle - 1);
			return;
		}
	}
	set_depth(s, set, low);
}

void prefix_match(const struct prefix *p, const uint64_t *keys, unsigned n, uint16_t *depth, unsigned slots)
{
	struct search s = { p, keys, depth, (slots + 63) / 64 };
	uint64_t all[WORDS] = { 0 };
	memset(depth, 0, slots * sizeof *depth);
	for (unsigned i = 0; i < slots; i++)
		set_put(all, i);
	if (n && holders(&s, 0, all, all))
		narrow(&s, all, 1, n);
}

void prefix_stats(const struct prefix *p, struct prefix_stats *out)
{
	uint64_t buckets = 2 * sizeof(uint32_t) * (uint64_t) (p->n_entries < p->mask ? p->n_entries : p->mask);
	*out = (struct prefix_stats){ .entries = p->n_entries, .blocks = p->n_blocks, .entries_max = p->max,
		.evicted = p->evicted, .dropped = p->dropped };
	out->bytes = sizeof *p + p->made_entries * sizeof(struct entry) + p->made_blocks * sizeof(struct block) +
	             (uint64_t) p->made_wide * sizeof p->wide[0] + buckets;
}

uint32_t prefix_pinned(const struct prefix *p, unsigned slot)
{
	return p->slot[slot].pinned.n + p->slot[slot].growth;
}

void prefix_slot_stats(const struct prefix *p, unsigned slot, uint32_t *held, uint32_t *pinned)
{
	*held = p->slot[slot].lru.n + p->slot[slot].pinned.n;
	*pinned = p->slot[slot].pinned.n;
}

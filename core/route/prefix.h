/* SPDX-License-Identifier: Apache-2.0 */
/* prefix.h - which replicas hold the first blocks of a prompt: a shadow of each engine's prefix cache.
 *
 * A prompt is cut into blocks of PREFIX_BLOCK bytes; the key of a block is a hash of it and of all before it, so a
 * block that is held stands for the whole way up to it. A request pins its blocks at a replica when it is sent there
 * and releases them at its end in the order in which engines free theirs: the last block first, each behind all that
 * was freed before. What is not pinned is evicted from the oldest on when the replica's room is used up. So a replica
 * that holds a block holds all before it, and the search needs to look at few of them.
 *
 * One per model. No lock and no clock: the caller has the model's lock. Replicas are numbers, slots. */
#ifndef CORE_ROUTE_PREFIX_H
#define CORE_ROUTE_PREFIX_H

#include <stdbool.h>
#include <stdint.h>
#include <sluice/types.h>

enum { PREFIX_BLOCK = 128, PREFIX_PROMPT_MAX = 16384 /* blocks of one prompt */, PREFIX_SLOTS_MAX = 1024 };

/* Where a chain begins: what else decides whether two prompts can share a cache, such as a tenant's salt and the
 * tools that the template puts in front. Seeded per process. */
uint64_t prefix_start(sl_str salt, sl_str before);
/* The keys of the first whole blocks of data, at most max. Returns how many. Any thread. */
unsigned prefix_chain(uint64_t start, const char *data, size_t len, uint64_t *keys, unsigned max);

struct prefix;

/* `entries`: the most (block, replica) that it ever holds; memory for them is reserved, and used as they come. NULL:
 * out of memory. */
struct prefix *prefix_new(uint32_t entries);
void prefix_free(struct prefix *p);

/* The room of a replica's cache in blocks. */
void prefix_room(struct prefix *p, unsigned slot, uint32_t blocks);
uint32_t prefix_room_of(const struct prefix *p, unsigned slot);
/* The replica's cache is empty: it slept, was reset, restarted or has gone. Holds on it become void. */
void prefix_forget(struct prefix *p, unsigned slot);
/* The same a part at a time: nothing is asked of the slot any more, and each prefix_sweep drops at most `most` entries.
 * The number of a slot that is empty by that and may be used again, or -1. */
void prefix_bury(struct prefix *p, unsigned slot);
int prefix_sweep(struct prefix *p, unsigned most);

/* How many of the first blocks each slot holds: depth[slot] for slot < slots. */
void prefix_match(const struct prefix *p, const uint64_t *keys, unsigned n, uint16_t *depth, unsigned slots);

/* A request's blocks at one replica. The arrays are the caller's, of at least n each, and live as long as it does. */
struct prefix_hold {
	uint32_t *entries;  /* where each block is */
	uint32_t *ages;     /* of the blocks that were there and free: when they had been freed, else 0 */
	uint32_t n;         /* blocks that are pinned: the first ones */
	uint32_t matched;   /* those of them that were there before */
	uint32_t growth;    /* room kept for what it generates, in blocks */
	uint32_t epoch;
	uint16_t slot;
	bool live;
};

/* Pins the blocks at a slot, making those that are not there. `growth`: blocks that the answer will fill, or so. */
void prefix_pin(struct prefix *p, unsigned slot, const uint64_t *keys, unsigned n, uint32_t growth, struct prefix_hold *hold);
/* The answer has begun: the engine has computed all of the prompt. */
void prefix_computed(struct prefix *p, const struct prefix_hold *hold);
/* The engine found only the first `told` of `matched` blocks in its cache. A block that was free and is gone means
 * that all that was freed before it is gone too. Returns how many were forgotten. Before prefix_release. */
uint32_t prefix_correct(struct prefix *p, const struct prefix_hold *hold, uint32_t told);
/* The request has ended. `tail`: further blocks that it filled (the answer, the rest of the prompt) and nobody else
 * shares. */
void prefix_release(struct prefix *p, struct prefix_hold *hold, uint32_t tail);

struct prefix_stats {
	uint64_t bytes;    /* of memory in use */
	uint32_t entries, blocks, entries_max;
	uint64_t evicted, dropped; /* dropped: found no room in the index */
};
void prefix_stats(const struct prefix *p, struct prefix_stats *out);
/* Blocks that requests hold at the slot, and that their answers will fill. */
uint32_t prefix_pinned(const struct prefix *p, unsigned slot);
/* Blocks that the slot holds, free ones and pinned ones. */
void prefix_slot_stats(const struct prefix *p, unsigned slot, uint32_t *used, uint32_t *pinned);

#endif

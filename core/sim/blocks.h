/* SPDX-License-Identifier: Apache-2.0 */
/* blocks.h - an engine's KV cache: blocks that sequences hold, share and leave behind, as vLLM V1 does it. Pure.
 *
 * This is the truth that a router guesses at, so nothing of core/route is used for it. */
#ifndef CORE_SIM_BLOCKS_H
#define CORE_SIM_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

struct sim_block {
	uint64_t key;        /* 0: nothing that could be found again */
	uint32_t next_key;   /* of its bucket */
	uint32_t prev, next; /* of the free ones, by the time they were freed */
	uint32_t holders;
};

/* Zero-initialised is empty; block 0 is not used and means none. */
struct sim_blocks {
	struct sim_block *block;
	uint32_t *buckets, mask;
	uint32_t n, n_free;
};

/* False: out of memory. */
bool sim_blocks_init(struct sim_blocks *b, uint32_t n);
void sim_blocks_free(struct sim_blocks *b);
/* All are free and hold nothing. */
void sim_blocks_clear(struct sim_blocks *b);

/* How many of the first keys are there, and their blocks. `idle` (may be NULL): how many of those nobody holds. */
uint32_t sim_blocks_find(const struct sim_blocks *b, const uint64_t *keys, uint32_t n, uint32_t *found, uint32_t *idle);
void sim_blocks_hold(struct sim_blocks *b, uint32_t block);
/* The one that was freed first, with what it held forgotten; 0: none is free. The caller holds it. */
uint32_t sim_blocks_take(struct sim_blocks *b);
/* What it holds was computed and may be found, unless another block holds the same. */
void sim_blocks_publish(struct sim_blocks *b, uint32_t block, uint64_t key);
/* Lets go of a sequence's blocks, the last first. */
void sim_blocks_drop(struct sim_blocks *b, const uint32_t *blocks, uint32_t n);

#endif

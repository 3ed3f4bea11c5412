/* SPDX-License-Identifier: Apache-2.0 */
/* blocks.c - blocks, the table of what they hold, and the list of those that nobody holds. */
#include "core/sim/blocks.h"

#include <stdlib.h>
#include <string.h>

bool sim_blocks_init(struct sim_blocks *b, uint32_t n)
{
	uint32_t buckets = 64;
	while (buckets < n && buckets < UINT32_C(1) << 30)
		buckets *= 2;
	*b = (struct sim_blocks){ .n = n, .mask = buckets - 1 };
	b->block = calloc((size_t) n + 1, sizeof *b->block);
	b->buckets = calloc(buckets, sizeof *b->buckets);
	if (!b->block || !b->buckets) {
		sim_blocks_free(b);
		return false;
	}
	sim_blocks_clear(b);
	return true;
}

void sim_blocks_free(struct sim_blocks *b)
{
	free(b->block);
	free(b->buckets);
	*b = (struct sim_blocks){ 0 };
}

/* Block 0 is the ring's head: its next is evicted next. */
static void list_append(struct sim_blocks *b, uint32_t i)
{
	struct sim_block *head = &b->block[0];
	b->block[i].prev = head->prev;
	b->block[i].next = 0;
	b->block[head->prev].next = i;
	head->prev = i;
	b->n_free++;
}

static void list_remove(struct sim_blocks *b, uint32_t i)
{
	b->block[b->block[i].prev].next = b->block[i].next;
	b->block[b->block[i].next].prev = b->block[i].prev;
	b->n_free--;
}

void sim_blocks_clear(struct sim_blocks *b)
{
	memset(b->block, 0, ((size_t) b->n + 1) * sizeof *b->block);
	memset(b->buckets, 0, ((size_t) b->mask + 1) * sizeof *b->buckets);
	b->n_free = 0;
	for (uint32_t i = 1; i <= b->n; i++)
		list_append(b, i);
}

static uint32_t find(const struct sim_blocks *b, uint64_t key)
{
	uint32_t i = b->buckets[key & b->mask];
	while (i && b->block[i].key != key)
		i = b->block[i].next_key;
	return i;
}

uint32_t sim_blocks_find(const struct sim_blocks *b, const uint64_t *keys, uint32_t n, uint32_t *found, uint32_t *idle)
{
	uint32_t k = 0, free_ones = 0;
	for (; k < n && (found[k] = find(b, keys[k])); k++)
		free_ones += b->block[found[k]].holders == 0;
	if (idle)
		*idle = free_ones;
	return k;
}

void sim_blocks_hold(struct sim_blocks *b, uint32_t i)
{
	if (b->block[i].holders++ == 0)
		list_remove(b, i);
}

uint32_t sim_blocks_take(struct sim_blocks *b)
{
	uint32_t i = b->block[0].next;
	if (!i)
		return 0;
	if (b->block[i].key) {
		uint32_t *link = &b->buckets[b->block[i].key & b->mask];
		while (*link != i)
			link = &b->block[*link].next_key;
		*link = b->block[i].next_key;
		b->block[i].key = 0;
	}
	sim_blocks_hold(b, i);
	return i;
}

void sim_blocks_publish(struct sim_blocks *b, uint32_t i, uint64_t key)
{
	if (b->block[i].key || find(b, key))
		return;
	uint32_t *bucket = &b->buckets[key & b->mask];
	b->block[i].key = key;
	b->block[i].next_key = *bucket;
	*bucket = i;
}

void sim_blocks_drop(struct sim_blocks *b, const uint32_t *blocks, uint32_t n)
{
	while (n-- > 0)
		if (--b->block[blocks[n]].holders == 0)
			list_append(b, blocks[n]);
}

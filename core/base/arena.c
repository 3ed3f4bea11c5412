/* SPDX-License-Identifier: Apache-2.0 */
/* arena.c - memory that is freed all at once. */
#include "core/base/arena.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"

struct arena_block {
	struct arena_block *next;
	size_t used, room;
	max_align_t data[];
};

enum { BLOCK_ROOM = 16 * 1024 };

void *arena_alloc(struct arena *a, size_t size)
{
	const size_t align = sizeof(max_align_t);
	if (size > SIZE_MAX / 4)
		return NULL;
	size = (size + align - 1) & ~(align - 1);
	struct arena_block *block = a->blocks;
	if (!block || block->room - block->used < size) {
		size_t room = size > BLOCK_ROOM ? size : BLOCK_ROOM;
		block = malloc(sizeof *block + room);
		if (!block)
			return NULL;
		*block = (struct arena_block){ .next = a->blocks, .room = room };
		a->blocks = block;
	}
	void *memory = (char *) block->data + block->used;
	block->used += size;
	return memset(memory, 0, size);
}

char *arena_strdup(struct arena *a, sl_str s)
{
	char *copy = arena_alloc(a, s.len + 1);
	if (copy)
		str_copy(copy, s.len + 1, s);
	return copy;
}

void arena_free(struct arena *a)
{
	for (struct arena_block *block = a->blocks, *next; block; block = next) {
		next = block->next;
		free(block);
	}
	a->blocks = NULL;
}

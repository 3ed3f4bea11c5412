/* SPDX-License-Identifier: Apache-2.0 */
/* arena.h - memory that is freed all at once. */
#ifndef CORE_BASE_ARENA_H
#define CORE_BASE_ARENA_H

#include <sluice/types.h>

struct arena_block;
/* Zero-initialised is empty and valid. */
struct arena {
	struct arena_block *blocks;
};

/* Zeroed memory, aligned for anything; NULL when out of memory. */
void *arena_alloc(struct arena *a, size_t size);
/* NUL-terminated copy. */
char *arena_strdup(struct arena *a, sl_str s);
void arena_free(struct arena *a);

#endif

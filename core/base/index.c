/* SPDX-License-Identifier: Apache-2.0 */
/* index.c - open addressing with linear probing; removal moves entries up, so there are no tombstones. */
#include "core/base/index.h"

#include <stdlib.h>
#include <string.h>

enum { SLOTS_FIRST = 16 };

void index_put(struct index *ix, uint32_t tag, uint32_t place)
{
	uint32_t i = tag & (ix->n_slots - 1);
	while (ix->slots[i].place)
		i = (i + 1) & (ix->n_slots - 1);
	ix->slots[i] = (struct index_slot){ tag, place };
	ix->live++;
}

bool index_room(struct index *ix)
{
	if ((ix->live + 1) * 2 <= ix->n_slots)
		return true;
	struct index bigger = { .n_slots = ix->n_slots ? ix->n_slots * 2 : SLOTS_FIRST };
	bigger.slots = calloc(bigger.n_slots, sizeof *bigger.slots);
	if (!bigger.slots)
		return false;
	for (uint32_t i = 0; i < ix->n_slots; i++)
		if (ix->slots[i].place)
			index_put(&bigger, ix->slots[i].tag, ix->slots[i].place);
	free(ix->slots);
	*ix = bigger;
	return true;
}

void index_remove(struct index *ix, uint32_t slot)
{
	uint32_t mask = ix->n_slots - 1, hole = slot;
	ix->slots[hole].place = 0;
	ix->live--;
	for (uint32_t i = (hole + 1) & mask; ix->slots[i].place; i = (i + 1) & mask) {
		uint32_t home = ix->slots[i].tag & mask;
		if (((i - home) & mask) < ((i - hole) & mask))
			continue; /* it would move in front of where a search for it begins */
		ix->slots[hole] = ix->slots[i];
		ix->slots[i].place = 0;
		hole = i;
	}
}

void index_clear(struct index *ix)
{
	if (ix->slots)
		memset(ix->slots, 0, ix->n_slots * sizeof *ix->slots);
	ix->live = 0;
}

void index_free(struct index *ix)
{
	free(ix->slots);
	*ix = (struct index){ 0 };
}

/* SPDX-License-Identifier: Apache-2.0 */
/* index.h - an open-addressing index from a hash to places in a table that somebody else keeps. No lock.
 *
 *   for (uint32_t at = index_start(ix, tag), place; (place = index_match(ix, tag, &at)); at++)
 *           if (table[place - 1] is the one) ...
 *
 * A tag is 32 bits of a hash: several places may have the same one, so each match is to be compared. Places count
 * from 1. At most half of the slots are used; the array doubles. */
#ifndef CORE_BASE_INDEX_H
#define CORE_BASE_INDEX_H

#include <stdbool.h>
#include <stdint.h>

struct index_slot {
	uint32_t tag;
	uint32_t place; /* 0: empty */
};

/* Zero-initialised is empty and valid. */
struct index {
	struct index_slot *slots;
	uint32_t n_slots; /* a power of two, or 0 */
	uint32_t live;
};

static inline uint32_t index_start(const struct index *ix, uint32_t tag)
{
	return ix->n_slots ? tag & (ix->n_slots - 1) : 0;
}

/* The next place with that tag, at slot *at; 0: there is none. */
static inline uint32_t index_match(const struct index *ix, uint32_t tag, uint32_t *at)
{
	if (!ix->n_slots)
		return 0;
	for (*at &= ix->n_slots - 1; ix->slots[*at].place; *at = (*at + 1) & (ix->n_slots - 1))
		if (ix->slots[*at].tag == tag)
			return ix->slots[*at].place;
	return 0;
}

/* Makes room for one more. False: out of memory, nothing changed. */
bool index_room(struct index *ix);
/* After index_room. */
void index_put(struct index *ix, uint32_t tag, uint32_t place);
/* Empties a slot. Another entry may move into it. */
void index_remove(struct index *ix, uint32_t slot);
/* Empties all, and keeps the room. */
void index_clear(struct index *ix);
void index_free(struct index *ix);

#endif

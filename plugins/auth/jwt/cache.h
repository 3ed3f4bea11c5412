/* SPDX-License-Identifier: Apache-2.0 */
/* cache.h - tokens that were verified, so that a signature is checked once and not with each request. Bounded; found by
 * the SHA-256 of the token, which itself is not kept. Any thread. */
#ifndef PLUGINS_AUTH_JWT_CACHE_H
#define PLUGINS_AUTH_JWT_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <sluice/types.h>

enum { CACHE_DIGEST = 32 };

struct cache_entry {
	unsigned char digest[CACHE_DIGEST];
	uint64_t key_id;     /* of the key that signed it */
	uint64_t generation; /* of the settings that it was judged by; 0: a free place */
	uint64_t until_ms;   /* Unix time; not valid from then on */
	sl_identity identity;
};

struct cache;
struct cache *cache_new(size_t entries);
void cache_free(struct cache *c);
/* A copy of the token's entry, as long as it is of that generation and its time has not come. */
bool cache_find(struct cache *c, const unsigned char digest[CACHE_DIGEST], uint64_t generation, uint64_t wall_ms,
                struct cache_entry *out);
/* Takes the place of a dead entry, or of the one among its neighbours that would end first. */
void cache_put(struct cache *c, const struct cache_entry *entry, uint64_t wall_ms);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* cache.c - a table of buckets of WAYS entries each. A digest is as random as any hash, so its first bytes choose the
 * bucket. Only tokens with a good signature get in. */
#include "plugins/auth/jwt/cache.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { WAYS = 8, LOCKS = 16 };
_Static_assert(sizeof(struct cache_entry) == 288, "the option's help says so");

struct cache {
	size_t n_buckets;
	pthread_mutex_t locks[LOCKS]; /* of the buckets whose number leaves that rest */
	struct cache_entry *entries;
};

struct cache *cache_new(size_t entries)
{
	struct cache *c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	c->n_buckets = (entries + WAYS - 1) / WAYS;
	if (c->n_buckets == 0)
		c->n_buckets = 1;
	c->entries = calloc(c->n_buckets, WAYS * sizeof *c->entries);
	if (!c->entries) {
		free(c);
		return NULL;
	}
	for (int i = 0; i < LOCKS; i++)
		pthread_mutex_init(&c->locks[i], NULL);
	return c;
}

void cache_free(struct cache *c)
{
	if (!c)
		return;
	for (int i = 0; i < LOCKS; i++)
		pthread_mutex_destroy(&c->locks[i]);
	free(c->entries);
	free(c);
}

static size_t bucket_of(const struct cache *c, const unsigned char digest[CACHE_DIGEST])
{
	uint64_t number;
	memcpy(&number, digest, sizeof number);
	return (size_t) (number % c->n_buckets);
}

bool cache_find(struct cache *c, const unsigned char digest[CACHE_DIGEST], uint64_t generation, uint64_t wall_ms,
                struct cache_entry *out)
{
	size_t bucket = bucket_of(c, digest);
	bool found = false;
	pthread_mutex_lock(&c->locks[bucket % LOCKS]);
	struct cache_entry *e = c->entries + bucket * WAYS;
	for (int i = 0; i < WAYS && !found; i++) {
		found = e[i].generation == generation && wall_ms < e[i].until_ms &&
		        CRYPTO_memcmp(e[i].digest, digest, CACHE_DIGEST) == 0;
		if (found)
			*out = e[i];
	}
	pthread_mutex_unlock(&c->locks[bucket % LOCKS]);
	return found;
}

void cache_put(struct cache *c, const struct cache_entry *entry, uint64_t wall_ms)
{
	size_t bucket = bucket_of(c, entry->digest);
	pthread_mutex_lock(&c->locks[bucket % LOCKS]);
	struct cache_entry *e = c->entries + bucket * WAYS, *place = e;
	for (int i = 0; i < WAYS; i++) {
		bool dead = e[i].generation != entry->generation || e[i].until_ms <= wall_ms;
		if (memcmp(e[i].digest, entry->digest, CACHE_DIGEST) == 0 || dead) {
			place = &e[i];
			if (!dead)
				break; /* the same token again */
		} else if (place->generation == entry->generation && place->until_ms > wall_ms && e[i].until_ms < place->until_ms) {
			place = &e[i];
		}
	}
	*place = *entry;
	pthread_mutex_unlock(&c->locks[bucket % LOCKS]);
}

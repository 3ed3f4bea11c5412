/* SPDX-License-Identifier: Apache-2.0 */
/* chain.c - a prompt's bytes as a chain of keys. */
#include <pthread.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/base/hash.h"
#include "core/route/prefix.h"

/* XXH3 takes a secret of its own as fast as the built-in one, and a seed not. */
static unsigned char secret[192];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_secret(void)
{
	for (size_t i = 0; i < sizeof secret; i += sizeof(uint64_t)) {
		uint64_t word = hash_bytes(&i, sizeof i);
		memcpy(secret + i, &word, sizeof word);
	}
}

/* Behind the hash, so that the hashes of neighbours do not wait for each other. */
static inline uint64_t mix(uint64_t before, uint64_t block)
{
	uint64_t x = (before << 29 | before >> 35) * UINT64_C(0x9e3779b97f4a7c15) + block;
	x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
	return x ^ x >> 32;
}

uint64_t prefix_start(sl_str salt, sl_str before)
{
	return mix(hash_str(salt), before.len ? hash_str(before) : 1);
}

unsigned prefix_chain(uint64_t start, const char *data, size_t len, uint64_t *keys, unsigned max)
{
	size_t n = len / PREFIX_BLOCK;
	uint64_t key = start;
	pthread_once(&once, make_secret);
	if (n > max)
		n = max;
	for (size_t i = 0; i < n; i++) {
		key = mix(key, XXH3_64bits_withSecret(data + i * PREFIX_BLOCK, PREFIX_BLOCK, secret, sizeof secret));
		keys[i] = key;
	}
	return (unsigned) n;
}

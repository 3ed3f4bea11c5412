/* SPDX-License-Identifier: Apache-2.0 */
/* prompt.c - chains of keys over pieces, and random numbers. */
#include "core/sim/prompt.h"

#include <math.h>

uint64_t sim_mix(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

uint32_t sim_chain(const struct sim_piece *pieces, uint32_t n, uint32_t scale, uint32_t block, uint64_t *keys, uint32_t max)
{
	uint64_t key = 1;
	uint32_t made = 0, missing = block; /* units until the block is whole */
	for (uint32_t i = 0; i < n; i++) {
		uint64_t size = (uint64_t) pieces[i].tokens * scale, at = 0;
		while (at < size && made < max) {
			uint64_t part = size - at < missing ? size - at : missing;
			key = sim_mix(key + sim_mix(pieces[i].id + UINT64_C(0x9e3779b97f4a7c15)) + at * UINT64_C(0xd6e8feb86659fd93) + part);
			at += part;
			missing -= (uint32_t) part;
			if (!missing) {
				keys[made++] = key;
				missing = block;
			}
		}
	}
	return made;
}

uint64_t sim_random_next(struct sim_random *r)
{
	r->state += UINT64_C(0x9e3779b97f4a7c15);
	return sim_mix(r->state);
}

uint32_t sim_random_below(struct sim_random *r, uint32_t n)
{
	return n ? (uint32_t) ((sim_random_next(r) >> 32) * n >> 32) : 0;
}

double sim_random_unit(struct sim_random *r)
{
	return (double) (sim_random_next(r) >> 11) * 0x1p-53;
}

double sim_random_exponential(struct sim_random *r, double mean)
{
	return -mean * log(1 - sim_random_unit(r));
}

double sim_random_lognormal(struct sim_random *r, double median, double sigma)
{
	double u = 1 - sim_random_unit(r), v = sim_random_unit(r);
	return median * exp(sigma * sqrt(-2 * log(u)) * cos(2 * M_PI * v));
}

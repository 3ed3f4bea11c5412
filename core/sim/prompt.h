/* SPDX-License-Identifier: Apache-2.0 */
/* prompt.h - prompts of which only is known what they share, and their blocks' keys. Pure. */
#ifndef CORE_SIM_PROMPT_H
#define CORE_SIM_PROMPT_H

#include <stdint.h>

/* A stretch of text: the same wherever the same id stands behind the same text. */
struct sim_piece {
	uint64_t id;
	uint32_t tokens;
};

/* The keys of the first whole blocks, at most max; returns how many. A token is `scale` units long and a block
 * `block` units: tokens with scale 1, bytes with that of a token. A key stands for its block and all before it. */
uint32_t sim_chain(const struct sim_piece *pieces, uint32_t n, uint32_t scale, uint32_t block, uint64_t *keys, uint32_t max);

/* Scatters the bits of x; also the generator's step. */
uint64_t sim_mix(uint64_t x);

/* Numbers that are the same in each run with the same seed. */
struct sim_random {
	uint64_t state;
};
uint64_t sim_random_next(struct sim_random *r);
uint32_t sim_random_below(struct sim_random *r, uint32_t n);
double sim_random_unit(struct sim_random *r); /* in [0, 1) */
double sim_random_exponential(struct sim_random *r, double mean);
/* Around the median with the standard deviation of its logarithm. */
double sim_random_lognormal(struct sim_random *r, double median, double sigma);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* placement_rules.h - rules that choose a place for a job: those that ours is measured against, and ours. */
#ifndef TESTS_BENCH_PLACEMENT_RULES_H
#define TESTS_BENCH_PLACEMENT_RULES_H

#include "core/sim/cluster.h"

enum rule { RULE_RANDOM, RULE_FIRST_FIT, RULE_BEST_FIT, RULE_FGD, RULE_OURS, RULES };
extern const char *const rule_names[RULES];

struct rules;

/* One run of one rule. kinds: one job of each kind, with how many of a thousand million jobs are like it; FGD knows
 * them beforehand, ours learns them. gang_weight: of ours. NULL: out of memory. */
struct rules *rules_new(enum rule rule, const struct sim_cluster *cluster, const struct sim_job *kinds,
                        const double *shares, uint32_t n_kinds, double gang_weight, uint64_t seed);
void rules_free(struct rules *r);
/* A job of kind `kind` has arrived. */
void rules_arrived(struct rules *r, uint32_t kind);
/* The machine has changed. */
void rules_changed(struct rules *r, uint32_t machine);
/* False: it fits nowhere. */
bool rules_choose(struct rules *r, uint32_t kind, struct sim_place *place);
/* The same, but not on machine `barred`. */
bool rules_choose_without(struct rules *r, uint32_t kind, uint32_t barred, struct sim_place *place);

#endif

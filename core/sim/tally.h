/* SPDX-License-Identifier: Apache-2.0 */
/* tally.h - what is counted of a replay. Pure. */
#ifndef CORE_SIM_TALLY_H
#define CORE_SIM_TALLY_H

#include "core/sim/routing.h"

struct sim_fate;
struct sim_tally {
	const struct sim_routing *o;
	struct sim_world world;      /* the router's, which must live as long */
	struct sim_fate *fates;      /* of each request */
	uint32_t *gaps;              /* how many gaps of so many tenths of a millisecond */
	double *computed;            /* prompt tokens, of each replica */
	int64_t from_us;             /* what arrives before is not counted */
	int64_t last_us;
	uint64_t all[SIM_CLASSES], late[SIM_CLASSES], slow[SIM_CLASSES]; /* requests that count, and that missed a limit */
};

bool sim_tally_init(struct sim_tally *tally, const struct sim_routing *replay);
void sim_tally_free(struct sim_tally *tally);
void sim_tally_predicted(struct sim_tally *tally, uint32_t id, double ms, int64_t now_us);
void sim_tally_first(struct sim_tally *tally, uint32_t id, int64_t now_us);
bool sim_tally_began(const struct sim_tally *tally, uint32_t id);
void sim_tally_gap(struct sim_tally *tally, uint32_t id, int64_t gap_us);
void sim_tally_end(struct sim_tally *tally, uint32_t id, uint32_t replica, int64_t now_us, uint32_t cached);
void sim_tally_failed(struct sim_tally *tally, uint32_t id);
/* The limits are missed by so many that the rest cannot make up for it. */
bool sim_tally_missed(const struct sim_tally *tally);
void sim_tally_result(const struct sim_tally *tally, struct sim_result *out);

#endif

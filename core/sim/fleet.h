/* SPDX-License-Identifier: Apache-2.0 */
/* fleet.h - which engines there are: those with known constants, and the replicas of a simulation. Pure. */
#ifndef CORE_SIM_FLEET_H
#define CORE_SIM_FLEET_H

#include <sluice/types.h>

#include "core/base/buf.h"
#include "core/sim/engine.h"

enum { SIM_ENGINES_MAX = 1024, SIM_ENGINE_KINDS_MAX = 64 };

struct sim_fleet {
	struct sim_engine_kind kinds[SIM_ENGINE_KINDS_MAX];
	uint32_t n_kinds;
	uint32_t of[SIM_ENGINES_MAX]; /* the kind of each replica */
	uint32_t n;
};

/* "8*qwen3-32b-2xh100,4*llama3-8b-a100": kinds that are known by name. */
int sim_fleet_parse(struct sim_fleet *fleet, const char *text, sl_error *error);
/* CSV: name, count, base_ms, prefill_us, context_ns, kv_tokens; and where they are there quadratic_ns, sequence_us,
 * delivery_ms, step_tokens, sequences. The text is changed. */
int sim_fleet_load(struct sim_fleet *fleet, const char *file, char *text, size_t len, sl_error *error);
/* The known kinds, a line each. */
void sim_fleet_list(struct buf *out);
/* The constants on average over the replicas. */
void sim_fleet_mean(const struct sim_fleet *fleet, struct sim_engine_kind *out);

#endif

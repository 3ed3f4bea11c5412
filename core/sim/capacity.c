/* SPDX-License-Identifier: Apache-2.0 */
/* capacity.c - the largest rate at which the limits are kept, by bisection. */
#include <math.h>

#include "core/sim/routing.h"

enum { DOUBLINGS_MAX = 14 };

static int try(const struct sim_search *s, double rate, struct sim_result *result, sl_error *error)
{
	struct sim_workload workload = { 0 };
	struct sim_routing replay = s->replay;
	int code = s->make(s->make_arg, rate, &workload, error);
	replay.workload = &workload;
	replay.until_missed = true;
	if (code == SL_OK)
		code = sim_routing_run(&replay, result, error);
	sim_workload_free(&workload);
	return code;
}

int sim_search_capacity(const struct sim_search *s, double *rate, struct sim_result *best, sl_error *error)
{
	double low = 0, high = 0, at = s->from;
	struct sim_result result;
	*rate = 0;
	*best = (struct sim_result){ .partial = true };
	/* Up or down by doubling until the limits are kept at one rate and missed at another. */
	for (int i = 0; i < DOUBLINGS_MAX && (low <= 0 || high <= 0); i++) {
		int code = try(s, at, &result, error);
		if (code)
			return code;
		if (result.missed) {
			high = at;
			at = at / 2;
		} else {
			low = at;
			*best = result;
			at = at * 2;
		}
	}
	while (low > 0 && high > 0 && high / low > 1 + s->within) {
		double middle = sqrt(low * high);
		int code = try(s, middle, &result, error);
		if (code)
			return code;
		if (result.missed) {
			high = middle;
		} else {
			low = middle;
			*best = result;
		}
	}
	*rate = low;
	return SL_OK;
}

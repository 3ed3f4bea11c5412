/* SPDX-License-Identifier: Apache-2.0 */
/* routing.h - requests through a router to engines in virtual time, and what came of it. Pure. */
#ifndef CORE_SIM_ROUTING_H
#define CORE_SIM_ROUTING_H

#include "core/sim/router.h"

struct sim_limits {
	double first_ms;  /* to the first token; a long prompt has 1 s and 3 times what it takes alone, where that is more */
	double token_ms;  /* of a token, the mean of a request */
	double share;     /* so many of the requests must keep each limit, 0 to 1; the first one in each class */
};

struct sim_routing {
	const struct sim_fleet *fleet;
	const struct sim_workload *workload;
	const struct sim_rule *rule;
	uint64_t seed;
	struct sim_limits limits;
	double warm;        /* the first part of the time, 0 to 1, of which nothing is counted */
	double look_ms;     /* between two looks at the engines' metrics */
	bool until_missed;  /* end as soon as the limits cannot be kept any more */
	/* A replica dies and comes back empty; down_us 0: none does. */
	uint32_t killed;
	int64_t killed_us, down_us;
	/* Progress, now and then. False: give up. May be NULL. */
	bool (*progress)(void *arg, size_t done, size_t all);
	void *arg;
};

struct sim_quantiles {
	double p50, p90, p99;
};

struct sim_result {
	size_t requests, counted, failed; /* failed: cut off in mid-answer */
	double span_s;                    /* of the arrivals that count */
	struct sim_quantiles first_ms, token_ms, gap_ms; /* TTFT, TPOT, ITL */
	double kept_first[SIM_CLASSES], kept_token[SIM_CLASSES]; /* share that kept the limit, of each class */
	double good_rate;   /* requests a second that kept both */
	double token_rate;  /* tokens of answers a second, from the first arrival to the last token */
	double hit_rate;    /* cached prompt tokens / prompt tokens */
	double imbalance;   /* prompt tokens computed: most loaded replica / mean */
	double error;       /* mean of |predicted - true| / true to the first token; -1: nothing is predicted */
	uint64_t preempted;
	bool missed;        /* ended early, or the limits were not kept */
	bool partial;       /* ended early: only `missed` means something */
};

int sim_routing_run(const struct sim_routing *replay, struct sim_result *out, sl_error *error);

/* The largest rate at which the limits are kept, to about `within` (such as 0.02) of it. `make` fills *workload for a rate.
 * result: of the run at that rate. 0 in *rate: not even the least that was tried. */
struct sim_search {
	struct sim_routing replay;     /* workload is not looked at */
	int (*make)(void *arg, double rate, struct sim_workload *workload, sl_error *error);
	void *make_arg;
	double from, within;          /* where the search begins */
};
int sim_search_capacity(const struct sim_search *search, double *rate, struct sim_result *result, sl_error *error);

#endif

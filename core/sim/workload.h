/* SPDX-License-Identifier: Apache-2.0 */
/* workload.h - requests of inference with their times and what their prompts share: recorded ones, and made ones. Pure:
 * takes text, reads no file. */
#ifndef CORE_SIM_WORKLOAD_H
#define CORE_SIM_WORKLOAD_H

#include <stdbool.h>
#include <sluice/types.h>

#include "core/base/arena.h"
#include "core/base/buf.h"
#include "core/sim/prompt.h"

enum {
	SIM_REQUESTS_MAX = 2000000,
	SIM_PROMPT_MAX = 2000000, /* tokens */
	SIM_CLASSES = 2           /* 0: ordinary; 1: those whose first tokens are looked at apart */
};

struct sim_request {
	int64_t at_us;
	uint32_t input, output; /* tokens */
	uint32_t class;
	uint32_t n_pieces;      /* the last one is the answer */
	const struct sim_piece *pieces;
};

/* Zero-initialised is empty and valid. */
struct sim_workload {
	struct arena arena;
	struct sim_request *requests; /* by time */
	size_t n, room;
	double span_s;                /* from the first to the last arrival */
};

/* Mooncake's JSON lines: timestamp (ms), input_length, output_length, hash_ids: a number for each 512 tokens, the same
 * one for the same text behind the same text. On an error, which names `file` and the line, the workload is to be freed. */
int sim_load_mooncake(struct sim_workload *workload, const char *file, const char *text, size_t len, sl_error *error);
/* Azure's CSV: TIMESTAMP, ContextTokens, GeneratedTokens. Nothing is shared. The text is changed. */
int sim_load_azure(struct sim_workload *workload, const char *file, char *text, size_t len, sl_error *error);
/* Recorded arrivals as if they came at `rate` requests a second, 0: at their own. The pieces are those of `recorded`, which
 * must live as long. False: out of memory. */
bool sim_workload_scaled(const struct sim_workload *recorded, double rate, struct sim_workload *out);
void sim_workload_free(struct sim_workload *workload);

/* NAME or NAME:KEY=VALUE,...: a kind of workload that can be made. */
struct sim_recipe;
/* NULL: not one, error says what there is. The caller frees it. */
struct sim_recipe *sim_recipe_parse(const char *text, sl_error *error);
void sim_recipe_free(struct sim_recipe *recipe);
/* Requests for so long a time at so many a second. */
int sim_recipe_make(const struct sim_recipe *recipe, double rate, double seconds, uint64_t seed, struct sim_workload *out,
                    sl_error *error);
/* The kinds, their keys and defaults, a line each. */
void sim_recipe_list(struct buf *out);

/* For those who fill a workload. NULL: out of memory or too many. */
struct sim_request *sim_workload_add(struct sim_workload *workload, int64_t at_us, const struct sim_piece *pieces,
                                     uint32_t n_pieces, uint32_t output);
/* Sorts by time, equal ones in the order of adding, and begins at 0. */
void sim_workload_sort(struct sim_workload *workload);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* engine.h - one inference engine in virtual time: the scheduler of vLLM V1 and a model of how long a step takes.
 *
 * A step gives each running sequence a token, then computes prompts in their order with what is left of its token
 * budget. It takes max(base, prefill * P + quadratic * (squares)) + sequence * B + context * K for P prompt tokens, B
 * sequences that decode and K tokens of their context. A sequence begins when blocks for its first part are free; when
 * none are, the youngest is preempted and computed again. What a step computed is in the cache at its end. Pure. */
#ifndef CORE_SIM_ENGINE_H
#define CORE_SIM_ENGINE_H

#include <stddef.h>

#include "core/sim/blocks.h"
#include "core/sim/prompt.h"

enum { SIM_BLOCK_TOKENS = 16 };

struct sim_engine_kind {
	char name[48];
	/* Milliseconds: of a step, a prompt token, a squared prompt token, a sequence, a token of context; and from being
	 * sent to the engine's queue. */
	double base, prefill, quadratic, sequence, context, delivery;
	uint32_t kv_tokens, step_tokens, sequences; /* room of the cache; most in a step */
};

/* A request as an engine gets it. Borrowed until it ends. */
struct sim_call {
	uint32_t id;             /* the caller's */
	const struct sim_piece *pieces; /* of the prompt and, behind it, of the answer */
	uint32_t n_pieces;
	uint32_t input, output;  /* tokens */
};

/* What comes out at a step's end. */
struct sim_engine_watch {
	void *arg;
	void (*first)(void *arg, uint32_t id, int64_t now_us);
	void (*gap)(void *arg, uint32_t id, int64_t now_us, int64_t gap_us); /* between two tokens */
	void (*end)(void *arg, uint32_t id, int64_t now_us, uint32_t cached);
};

struct sim_sequence;
struct sim_engine {
	const struct sim_engine_kind *kind;
	struct sim_blocks blocks;
	struct sim_sequence *running, **running_end;  /* in the order in which they began */
	struct sim_sequence *waiting, **waiting_end;
	uint32_t n_running, n_waiting;
	bool in_step;
	uint64_t preempted, steps;
	uint32_t *found;  /* room for the longest prompt's blocks */
	uint32_t room;
};

/* False: out of memory. */
bool sim_engine_init(struct sim_engine *engine, const struct sim_engine_kind *kind);
void sim_engine_free(struct sim_engine *engine);
/* Into its queue. False: out of memory. One that can never fit must not be given, see sim_engine_fits. */
bool sim_engine_submit(struct sim_engine *engine, const struct sim_call *call, int64_t now_us);
bool sim_engine_fits(const struct sim_engine_kind *kind, uint32_t input, uint32_t output);
/* Begins a step, unless one is under way or there is nothing to do (-1). Returns when it will end. */
int64_t sim_engine_begin(struct sim_engine *engine, int64_t now_us);
void sim_engine_finish(struct sim_engine *engine, int64_t now_us, const struct sim_engine_watch *watch);
/* Dies: what it had is lost; each sequence is told. */
void sim_engine_kill(struct sim_engine *engine, void (*lost)(void *arg, uint32_t id), void *arg);
/* Share of the cache that sequences hold. */
double sim_engine_usage(const struct sim_engine *engine);
/* Milliseconds of a prompt alone in an idle engine. */
double sim_engine_alone(const struct sim_engine_kind *kind, uint32_t input);

#endif

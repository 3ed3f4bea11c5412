/* SPDX-License-Identifier: Apache-2.0 */
/* cost.h - what one more request costs everybody at a replica, in milliseconds, and how its speed is learned.
 *
 * A step of an engine takes max(base, prefill * P) + sequence * B + context * K: P prompt tokens computed in it, B
 * sequences, K tokens of their context. The engine's file has a first guess; two straight lines of the model, learned
 * from what is seen, put it right: the time of a prompt over its work, and the time between two tokens over
 * sequence * B + context * K. Each replica has a factor to either, so that mixed devices just work. Plain numbers: no
 * lock, no clock. */
#ifndef CORE_ROUTE_COST_H
#define CORE_ROUTE_COST_H

#include <stdbool.h>
#include <stdint.h>

/* Milliseconds: of a step, a prompt token, a squared prompt token, a sequence, a token of context. */
struct cost_step {
	double base, prefill, quadratic, sequence, context;
};
extern const struct cost_step cost_step_default;

/* y = from + slope * x, fitted with forgetting and held to a guess while little was seen. */
struct cost_line {
	double from, slope;
	double guess_from, guess_slope, scale; /* scale: a usual x */
	double n, x, y, xx, xy;
	double seen, expected; /* sums of y and of what was expected instead */
};
void cost_line_start(struct cost_line *line, double from, double slope, double scale);
/* One wild value moves the line by a bounded step. */
void cost_line_learn(struct cost_line *line, double x, double y);

/* How much longer one replica takes than all do. Zero-initialised: no longer. Where the line itself is wrong yet, it is
 * so for all, and the ones that are known are not held to be slow. */
struct cost_factor {
	double more;      /* the factor, less 1 */
	double n, seen, expected;
};
/* A value of one replica teaches the line of all what is common, and the factor what is its own. */
void cost_learn(struct cost_line *line, struct cost_factor *factor, double x, double y);

/* What is known of the speed of a model's replicas, and of one of them. */
struct cost_speed {
	struct cost_line prompt, step;
};
struct cost_own {
	struct cost_factor prompt, step;
};
void cost_speed_start(struct cost_speed *speed, const struct cost_step *guess);

/* A replica's load as we count it. */
struct cost_load {
	double running;   /* sequences */
	double context;   /* tokens of their context */
	double wait_ms;   /* of prompts in front, less what was done of them */
	double held;      /* tokens that they hold in its cache; what they share counts once */
	double room;      /* tokens that its cache holds, 0: not known */
};

struct cost_ask {
	double tokens;    /* of the prompt */
	double output;    /* tokens expected */
};

struct cost_parts {
	double wait;      /* until the prompt's turn */
	double prefill;   /* its own, of what is not cached */
	double stall;     /* of those that decode meanwhile */
	double decode;    /* its tokens, slowed by those that are there */
	double memory;    /* until there is room for its context */
	double cached;    /* tokens believed cached; no cost */
};

/* Work of a prompt in tokens, n of which h are cached: computing attends to all that came before. */
double cost_work(const struct cost_step *step, double n, double h);
void cost_parts_of(const struct cost_step *step, const struct cost_speed *speed, const struct cost_own *own,
             const struct cost_load *load, const struct cost_ask *ask, double cached, struct cost_parts *out);
double cost_total(const struct cost_parts *parts);
/* Until the first token. */
double cost_first_token(const struct cost_parts *parts);

#endif

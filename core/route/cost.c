/* SPDX-License-Identifier: Apache-2.0 */
/* cost.c - the marginal cost of a request, and lines that learn. */
#include "core/route/cost.h"

/* An 8B model on one large GPU. A first guess only has to be of the right shape. */
const struct cost_step cost_step_default = { .base = 7, .prefill = 0.0285, .quadratic = 1.0e-6, .sequence = 0.012,
	.context = 0.00005 };

/* Weight of what a prompt delays: for each sequence that decodes, this part of the prompt's time. Fitted in simulation
 * together with the form as a whole: from 0.1 to 0.2 all is well, 0.4 loses where hundreds of sequences decode. */
static const double stall_weight = 0.2;
/* What is seen counts half as much after about 70 newer values. */
static const double forget = 0.99;
/* The guess counts as much as so many values; that a replica is like the others, too. */
static const double guess_weight = 2, factor_forget = 0.97, factor_weight = 4;
static const double wild_factor = 8, wild_ms = 20;
/* Engines admit a little more than fits, and win. */
static const double overcommit = 1.1;
static const double prompt_overhead_ms = 4.5; /* of an engine and its door, beside the step itself */

static double at_least(double value, double least)
{
	return value > least ? value : least;
}

/* Least squares with the guess as `guess_weight` values at either end of the scale. */
static void solve(struct cost_line *l)
{
	double s2 = l->scale * l->scale;
	double a = l->n + guess_weight, b = l->x, d = l->xx + guess_weight * s2;
	double u = l->y + guess_weight * l->guess_from, v = l->xy + guess_weight * s2 * l->guess_slope;
	double det = a * d - b * b;
	l->from = (u * d - b * v) / det;
	l->slope = (a * v - b * u) / det;
	if (l->from < 0) {
		l->from = 0;
		l->slope = v / d;
	}
	if (l->slope < 0) {
		l->slope = 0;
		l->from = u / a;
	}
}

void cost_line_start(struct cost_line *l, double from, double slope, double scale)
{
	*l = (struct cost_line){ .from = from, .slope = slope, .guess_from = from, .guess_slope = slope, .scale = scale };
}

void cost_line_learn(struct cost_line *l, double x, double y)
{
	double expected = l->from + l->slope * x;
	if (!(x >= 0) || !(y >= 0) || x > 1e12 || y > 1e12)
		return;
	if (y > wild_factor * expected + wild_ms)
		y = wild_factor * expected + wild_ms;
	l->n = l->n * forget + 1;
	l->x = l->x * forget + x;
	l->y = l->y * forget + y;
	l->xx = l->xx * forget + x * x;
	l->xy = l->xy * forget + x * y;
	solve(l);
}

void cost_learn(struct cost_line *line, struct cost_factor *f, double x, double y)
{
	cost_line_learn(line, x, y / (1 + f->more));
	double expected = line->from + line->slope * x;
	if (!(x >= 0) || !(y >= 0) || x > 1e12 || y > 1e12 || expected <= 0)
		return;
	if (y > wild_factor * expected)
		y = wild_factor * expected;
	line->seen = line->seen * forget + y;
	line->expected = line->expected * forget + expected;
	f->n = f->n * factor_forget + 1;
	f->seen = f->seen * factor_forget + y;
	f->expected = f->expected * factor_forget + expected;
	if (line->seen > 0)
		f->more = f->n * (f->seen / f->expected * line->expected / line->seen - 1) / (f->n + factor_weight);
}

void cost_speed_start(struct cost_speed *speed, const struct cost_step *guess)
{
	cost_line_start(&speed->prompt, guess->base + prompt_overhead_ms, guess->prefill, 1000);
	cost_line_start(&speed->step, guess->base, 1, at_least(guess->base, 0.1) / 2);
}

double cost_work(const struct cost_step *step, double n, double h)
{
	double q = step->prefill > 0 ? step->quadratic / step->prefill : 0;
	return at_least(n - h, 0) + q * at_least(n * n - h * h, 0);
}

/* A place in a full cache becomes free as others end, evenly over the time that an answer takes. */
static double memory_wait(const struct cost_load *load, const struct cost_ask *ask, double cached, double step_ms)
{
	double over = load->held + ask->tokens - cached - overcommit * load->room;
	if (load->room <= 0 || over <= 0 || load->held <= 0)
		return 0;
	double part = over / load->held;
	return (part < 1 ? part : 1) * ask->output * step_ms;
}

void cost_parts_of(const struct cost_step *step, const struct cost_speed *speed, const struct cost_own *own,
             const struct cost_load *load, const struct cost_ask *ask, double cached, struct cost_parts *out)
{
	/* The last token is always computed. */
	if (cached > ask->tokens - 1)
		cached = at_least(ask->tokens - 1, 0);
	double prompt_factor = 1 + own->prompt.more, step_factor = 1 + own->step.more;
	double slow = step_factor * speed->step.slope *
	              (step->sequence * load->running + step->context * load->context);
	out->cached = cached;
	out->wait = load->wait_ms;
	double work_ms = prompt_factor * speed->prompt.slope * cost_work(step, ask->tokens, cached);
	out->prefill = prompt_factor * speed->prompt.from + work_ms;
	out->stall = stall_weight * load->running * work_ms;
	out->decode = ask->output * slow;
	out->memory = memory_wait(load, ask, cached, step_factor * speed->step.from + slow);
}

double cost_total(const struct cost_parts *p)
{
	return p->wait + p->prefill + p->stall + p->decode + p->memory;
}

double cost_first_token(const struct cost_parts *p)
{
	return p->wait + p->prefill + p->memory;
}

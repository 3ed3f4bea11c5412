/* SPDX-License-Identifier: Apache-2.0 */
/* tally.c - times of requests, and quantiles of them. */
#include "core/sim/tally.h"

#include <math.h>
#include <stdlib.h>

enum { GAPS = 300000, GAP_US = 100 };

struct sim_fate {
	int64_t sent_us, first_us, end_us; /* -1: not yet */
	double predicted_ms;
	uint32_t cached;
	bool failed, late;
};

bool sim_tally_init(struct sim_tally *t, const struct sim_routing *o)
{
	*t = (struct sim_tally){ .o = o };
	t->fates = calloc(o->workload->n + 1, sizeof *t->fates);
	t->gaps = calloc(GAPS, sizeof *t->gaps);
	t->computed = calloc(o->fleet->n, sizeof *t->computed);
	if (!t->fates || !t->gaps || !t->computed)
		return false;
	t->from_us = (int64_t) (o->warm * o->workload->span_s * 1e6);
	for (size_t i = 0; i < o->workload->n; i++) {
		t->fates[i] = (struct sim_fate){ .first_us = -1, .end_us = -1 };
		if (o->workload->requests[i].at_us >= t->from_us)
			t->all[o->workload->requests[i].class]++;
	}
	return true;
}

void sim_tally_free(struct sim_tally *t)
{
	free(t->fates);
	free(t->gaps);
	free(t->computed);
	*t = (struct sim_tally){ 0 };
}

static bool counts(const struct sim_tally *t, uint32_t id)
{
	return t->o->workload->requests[id].at_us >= t->from_us;
}

static double first_limit(const struct sim_tally *t, uint32_t id)
{
	struct sim_engine_kind mean;
	sim_fleet_mean(t->o->fleet, &mean);
	return fmax(t->o->limits.first_ms, 1000 + 3 * sim_engine_alone(&mean, t->o->workload->requests[id].input));
}

static double first_ms(const struct sim_tally *t, uint32_t id)
{
	return (double) (t->fates[id].first_us - t->o->workload->requests[id].at_us) / 1000;
}

/* Of a token after the first one; -1: there is none. */
static double token_ms(const struct sim_tally *t, uint32_t id)
{
	uint32_t output = t->o->workload->requests[id].output;
	return output > 1 ? (double) (t->fates[id].end_us - t->fates[id].first_us) / 1000 / (output - 1) : -1;
}

void sim_tally_predicted(struct sim_tally *t, uint32_t id, double ms, int64_t now_us)
{
	t->fates[id].predicted_ms = ms;
	t->fates[id].sent_us = now_us;
}

void sim_tally_first(struct sim_tally *t, uint32_t id, int64_t now_us)
{
	t->fates[id].first_us = now_us;
	if (counts(t, id) && first_ms(t, id) > first_limit(t, id)) {
		t->fates[id].late = true;
		t->late[t->o->workload->requests[id].class]++;
	}
}

bool sim_tally_began(const struct sim_tally *t, uint32_t id)
{
	return t->fates[id].first_us >= 0;
}

void sim_tally_gap(struct sim_tally *t, uint32_t id, int64_t gap_us)
{
	int64_t slot = gap_us / GAP_US;
	if (counts(t, id))
		t->gaps[slot < GAPS ? slot : GAPS - 1]++;
}

void sim_tally_end(struct sim_tally *t, uint32_t id, uint32_t replica, int64_t now_us, uint32_t cached)
{
	t->fates[id].end_us = now_us;
	t->fates[id].cached = cached;
	t->last_us = now_us;
	if (!counts(t, id))
		return;
	t->computed[replica] += t->o->workload->requests[id].input - cached;
	t->slow[t->o->workload->requests[id].class] += token_ms(t, id) > t->o->limits.token_ms;
}

void sim_tally_failed(struct sim_tally *t, uint32_t id)
{
	t->fates[id].failed = true;
	if (counts(t, id)) {
		t->late[t->o->workload->requests[id].class] += !t->fates[id].late;
		t->slow[t->o->workload->requests[id].class]++;
	}
}

/* The first tokens of each class for themselves, so that a few long prompts do not go under among many short ones; the
 * others' pace together. */
bool sim_tally_missed(const struct sim_tally *t)
{
	double all = 0, slow = 0, may = 1 - t->o->limits.share;
	for (int c = 0; c < SIM_CLASSES; c++) {
		if ((double) t->late[c] > may * (double) t->all[c])
			return true;
		all += (double) t->all[c];
		slow += (double) t->slow[c];
	}
	return slow > may * all;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *) a, y = *(const double *) b;
	return (x > y) - (x < y);
}

/* The value below which a share of them is. */
static double quantile(const double *sorted, size_t n, double share)
{
	size_t at = n ? (size_t) ceil(share * (double) n) : 0;
	return n ? sorted[at ? at - 1 : 0] : 0;
}

static struct sim_quantiles quantiles(double *values, size_t n)
{
	qsort(values, n, sizeof *values, ascending);
	return (struct sim_quantiles){ quantile(values, n, 0.5), quantile(values, n, 0.9), quantile(values, n, 0.99) };
}

static double gap_quantile(const struct sim_tally *t, double share)
{
	double all = 0, sum = 0;
	size_t i = 0;
	for (size_t k = 0; k < GAPS; k++)
		all += t->gaps[k];
	while (i < GAPS - 1 && (sum += t->gaps[i]) < share * all)
		i++;
	return all > 0 ? (double) i * GAP_US / 1000 : 0;
}

/* Times of those that were answered, and sums over them. */
static void times(const struct sim_tally *t, struct sim_result *out, double *firsts, double *tokens)
{
	size_t n = 0, n_tokens = 0, predicted = 0, good = 0;
	double input = 0, cached = 0, output = 0, error = 0;
	for (uint32_t i = 0; i < t->o->workload->n; i++) {
		const struct sim_fate *f = &t->fates[i];
		const struct sim_request *q = &t->o->workload->requests[i];
		output += f->end_us >= 0 ? q->output : 0;
		out->failed += f->failed;
		if (!counts(t, i) || f->failed || f->end_us < 0)
			continue;
		double token = token_ms(t, i), took = (double) (f->first_us - f->sent_us) / 1000;
		firsts[n++] = first_ms(t, i);
		if (token >= 0)
			tokens[n_tokens++] = token;
		good += !f->late && token <= t->o->limits.token_ms;
		input += q->input;
		cached += f->cached;
		predicted += f->predicted_ms > 0;
		error += f->predicted_ms > 0 ? fabs(f->predicted_ms - took) / took : 0;
	}
	out->first_ms = quantiles(firsts, n);
	out->token_ms = quantiles(tokens, n_tokens);
	out->counted = n;
	out->good_rate = out->span_s > 0 ? (double) good / out->span_s : 0;
	out->token_rate = t->last_us > 0 ? output / ((double) t->last_us / 1e6) : 0;
	out->hit_rate = input > 0 ? cached / input : 0;
	out->error = predicted ? error / (double) predicted : -1;
}

void sim_tally_result(const struct sim_tally *t, struct sim_result *out)
{
	double *values = calloc(2 * t->o->workload->n + 2, sizeof *values), most = 0, sum = 0;
	*out = (struct sim_result){ .requests = t->o->workload->n, .missed = sim_tally_missed(t) };
	out->span_s = t->o->workload->span_s - (double) t->from_us / 1e6;
	if (values)
		times(t, out, values, values + t->o->workload->n + 1);
	free(values);
	out->gap_ms = (struct sim_quantiles){ gap_quantile(t, 0.5), gap_quantile(t, 0.9), gap_quantile(t, 0.99) };
	for (int c = 0; c < SIM_CLASSES; c++) {
		out->kept_first[c] = t->all[c] ? 1 - (double) t->late[c] / (double) t->all[c] : 1;
		out->kept_token[c] = t->all[c] ? 1 - (double) t->slow[c] / (double) t->all[c] : 1;
	}
	for (uint32_t i = 0; i < t->o->fleet->n; i++) {
		sum += t->computed[i];
		most = fmax(most, t->computed[i]);
	}
	out->imbalance = sum > 0 ? most * t->o->fleet->n / sum : 1;
}

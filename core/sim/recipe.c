/* SPDX-License-Identifier: Apache-2.0 */
/* recipe.c - makes workloads: shared prefixes as the routers' own benchmarks have them, and others. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "core/base/str.h"
#include "core/sim/workload.h"

enum { KEYS_MAX = 10, PIECES_MAX = 512 };

struct key {
	const char *name;
	double value, least, most;
};

/* What the makers share. */
struct maker {
	const double *value; /* of the recipe's keys, in their order */
	double rate, seconds;
	struct sim_random random;
	uint64_t own;        /* pieces of nobody else so far */
	struct sim_workload *out;
	bool failed;
};

struct kind {
	const char *name, *summary;
	void (*make)(struct maker *m);
	struct key keys[KEYS_MAX]; /* ended by one without a name */
};

struct sim_recipe {
	const struct kind *kind;
	double value[KEYS_MAX];
};

/* Names of pieces: of one of a number of groups, of a group's user, or of nobody else. */
enum { OF_GROUP = 1, OF_USER = 2, OF_NOBODY = 3 };

static struct sim_piece piece(unsigned space, uint64_t number, double tokens)
{
	return (struct sim_piece){ (uint64_t) space << 56 | number, tokens < 1 ? 1 : tokens > SIM_PROMPT_MAX ? SIM_PROMPT_MAX
	                           : (uint32_t) tokens };
}

static struct sim_piece own_piece(struct maker *m, double tokens)
{
	return piece(OF_NOBODY, m->own++, tokens);
}

static uint32_t length(struct maker *m, double median, double sigma)
{
	double tokens = sigma > 0 ? sim_random_lognormal(&m->random, median, sigma) : median;
	return tokens < 1 ? 1 : tokens > SIM_PROMPT_MAX ? SIM_PROMPT_MAX : (uint32_t) tokens;
}

static struct sim_request *add(struct maker *m, double at_s, const struct sim_piece *pieces, uint32_t n, uint32_t output)
{
	struct sim_request *r = sim_workload_add(m->out, (int64_t) (at_s * 1e6), pieces, n, output);
	m->failed = m->failed || !r;
	return r;
}

/* The next arrival of a stream that begins at `from` a second (0: at the full rate) and rises evenly. */
static double next_arrival(struct maker *m, double at_s, double rate, double from)
{
	double now = from > 0 ? from + (rate - from) * at_s / m->seconds : rate;
	return at_s + sim_random_exponential(&m->random, 1 / now);
}

/* Groups with a prefix each, users of a group with a question each, asked again and again in the same order; without users a
 * new question to any of the groups. */
static void make_shared(struct maker *m)
{
	enum { GROUPS, USERS, PREFIX, QUESTION, OUTPUT, FROM };
	const double *v = m->value;
	uint32_t groups = (uint32_t) v[GROUPS], users = (uint32_t) v[USERS], n = groups * (users ? users : 1), at = 0;
	uint32_t *order = calloc(n, sizeof *order);
	m->failed = !order;
	for (uint32_t i = 0; i < n && order; i++) {
		uint32_t k = sim_random_below(&m->random, i + 1);
		order[i] = order[k];
		order[k] = i;
	}
	for (double t = 0; !m->failed && (t = next_arrival(m, t, m->rate, v[FROM])) < m->seconds; at++) {
		uint32_t user = users ? order[at % n] : sim_random_below(&m->random, n);
		struct sim_piece pieces[2] = { piece(OF_GROUP, user % groups, v[PREFIX]),
			users ? piece(OF_USER, user, v[QUESTION]) : own_piece(m, v[QUESTION]) };
		add(m, t, pieces, 2, length(m, v[OUTPUT], 0));
	}
	free(order);
}

/* One prefix that most have, others for the rest. */
static void make_hot(struct maker *m)
{
	enum { SHARE, PREFIX, GROUPS, OTHER, QUESTION, OUTPUT, SPREAD };
	const double *v = m->value;
	for (double t = 0; !m->failed && (t = next_arrival(m, t, m->rate, 0)) < m->seconds;) {
		bool hot = sim_random_unit(&m->random) < v[SHARE];
		uint32_t group = 1 + sim_random_below(&m->random, (uint32_t) v[GROUPS]);
		struct sim_piece pieces[2] = { hot ? piece(OF_GROUP, 0, v[PREFIX]) : piece(OF_GROUP, group, v[OTHER]),
			own_piece(m, length(m, v[QUESTION], v[SPREAD])) };
		add(m, t, pieces, 2, length(m, v[OUTPUT], v[SPREAD]));
	}
}

/* Chat behind a few system prompts, and among it some very long prompts. */
static void make_long(struct maker *m)
{
	enum { SHARE, LONG, GROUPS, PREFIX, QUESTION, OUTPUT, SPREAD };
	const double *v = m->value;
	for (double t = 0; !m->failed && (t = next_arrival(m, t, m->rate, 0)) < m->seconds;) {
		bool is_long = sim_random_unit(&m->random) < v[SHARE];
		struct sim_piece pieces[2] = { piece(OF_GROUP, sim_random_below(&m->random, (uint32_t) v[GROUPS]), v[PREFIX]),
			own_piece(m, is_long ? v[LONG] : length(m, v[QUESTION], v[SPREAD])) };
		struct sim_request *r = is_long ? add(m, t, pieces + 1, 1, length(m, v[OUTPUT], v[SPREAD]))
		                        : add(m, t, pieces, 2, length(m, v[OUTPUT], v[SPREAD]));
		if (r)
			r->class = is_long;
	}
}

static void make_chat(struct maker *m)
{
	enum { QUESTION, OUTPUT, SPREAD, FROM };
	const double *v = m->value;
	for (double t = 0; !m->failed && (t = next_arrival(m, t, m->rate, v[FROM])) < m->seconds;) {
		struct sim_piece one = own_piece(m, length(m, v[QUESTION], v[SPREAD]));
		add(m, t, &one, 1, length(m, v[OUTPUT], v[SPREAD]));
	}
}

/* A request and, behind its prompt, what it answered; of one that came before the time begins only that. */
static void ask(struct maker *m, double t, struct sim_piece *pieces, uint32_t n, uint32_t output)
{
	if (t < 0) {
		pieces[n] = own_piece(m, output);
		return;
	}
	struct sim_request *r = add(m, t, pieces, n, output);
	pieces[n] = r ? r->pieces[r->n_pieces - 1] : (struct sim_piece){ 0, 0 };
}

static const double token_s = 0.02; /* what an answer takes, for those who plan the next request */

/* One conversation. Its next turn comes at a time of its own, whether or not an answer was slow. */
static void converse(struct maker *m, double t)
{
	enum { TURNS, GROUPS, PREFIX, FIRST, QUESTION, OUTPUT, SPREAD, THINK };
	const double *v = m->value;
	struct sim_piece pieces[PIECES_MAX];
	uint32_t n = 0, turns = 1 + (uint32_t) sim_random_exponential(&m->random, v[TURNS] - 0.5);
	if (v[PREFIX] >= 1)
		pieces[n++] = piece(OF_GROUP, sim_random_below(&m->random, (uint32_t) v[GROUPS]), v[PREFIX]);
	for (uint32_t turn = 0; turn < turns && n + 3 < PIECES_MAX && t < m->seconds && !m->failed; turn++) {
		uint32_t output = length(m, v[OUTPUT], v[SPREAD]);
		pieces[n++] = own_piece(m, length(m, turn ? v[QUESTION] : v[FIRST], v[SPREAD]));
		ask(m, t, pieces, n++, output); /* the answer is part of the next prompt */
		t += token_s * output + sim_random_exponential(&m->random, v[THINK]);
	}
}

static void make_turns(struct maker *m)
{
	enum { TURNS, OUTPUT = 5, THINK = 7 };
	const double *v = m->value;
	double before = 4 * v[TURNS] * (token_s * v[OUTPUT] + v[THINK]); /* so that all ages are there from the first second on */
	for (double t = -before; !m->failed && (t = next_arrival(m, t, m->rate / v[TURNS], 0)) < m->seconds;)
		converse(m, t);
}

/* Agents: each step's prompt is the last one with an answer and a tool's result behind it; some steps try several ways
 * from the same point. */
static void work(struct maker *m, double t)
{
	enum { STEPS, GROUPS, PREFIX, RESULT, OUTPUT, SPREAD, GAP, FAN };
	const double *v = m->value;
	struct sim_piece pieces[PIECES_MAX];
	uint32_t n = 0;
	pieces[n++] = piece(OF_GROUP, sim_random_below(&m->random, (uint32_t) v[GROUPS]), v[PREFIX]);
	for (uint32_t step = 0; step < (uint32_t) v[STEPS] && n + 3 < PIECES_MAX && t < m->seconds && !m->failed; step++) {
		uint32_t ways = step % 4 == 3 ? (uint32_t) v[FAN] : 1, slowest = 0, keep = n;
		struct sim_piece result = { 0, 0 }, answer = { 0, 0 };
		for (uint32_t way = 0; way < ways; way++) {
			uint32_t output = length(m, v[OUTPUT], v[SPREAD]);
			pieces[keep] = own_piece(m, length(m, v[RESULT], v[SPREAD]));
			ask(m, t, pieces, keep + 1, output);
			result = pieces[keep];
			answer = pieces[keep + 1];
			slowest = output > slowest ? output : slowest;
		}
		pieces[n++] = result;
		pieces[n++] = answer;
		t += token_s * slowest + sim_random_exponential(&m->random, v[GAP]);
	}
}

static void make_agents(struct maker *m)
{
	enum { STEPS, OUTPUT = 4, GAP = 6, FAN = 7 };
	const double *v = m->value;
	double calls = v[STEPS] + floor(v[STEPS] / 4) * (v[FAN] - 1), before = v[STEPS] * (2 * token_s * v[OUTPUT] + v[GAP]);
	for (double t = -before; !m->failed && (t = next_arrival(m, t, m->rate / calls, 0)) < m->seconds;)
		work(m, t);
}

static const struct kind kinds[] = {
	{ "shared", "groups that share a prefix, users of each who ask the same again and again (users=0: always new)", make_shared,
	  { { "groups", 150, 1, 1e6 }, { "users", 5, 0, 1e4 }, { "prefix", 6000, 1, 1e6 }, { "question", 1200, 1, 1e6 },
	    { "output", 1000, 1, 1e6 }, { "from", 0, 0, 1e6 } } },
	{ "hot", "one prefix that most prompts share", make_hot,
	  { { "share", 0.7, 0, 1 }, { "prefix", 8000, 1, 1e6 }, { "groups", 200, 1, 1e6 }, { "other", 2000, 1, 1e6 },
	    { "question", 400, 1, 1e6 }, { "output", 200, 1, 1e6 }, { "spread", 0.6, 0, 3 } } },
	{ "long", "chat, and among it some very long prompts", make_long,
	  { { "share", 0.05, 0, 1 }, { "long", 64000, 1, 1e6 }, { "groups", 20, 1, 1e6 }, { "prefix", 500, 1, 1e6 },
	    { "question", 600, 1, 1e6 }, { "output", 250, 1, 1e6 }, { "spread", 0.6, 0, 3 } } },
	{ "chat", "prompts that share nothing", make_chat,
	  { { "question", 500, 1, 1e6 }, { "output", 200, 1, 1e6 }, { "spread", 0.8, 0, 3 }, { "from", 0, 0, 1e6 } } },
	{ "turns", "conversations: each prompt is all that was said before, and a question", make_turns,
	  { { "turns", 8, 1, 100 }, { "groups", 10, 1, 1e6 }, { "prefix", 1000, 0, 1e6 }, { "first", 3000, 1, 1e6 },
	    { "question", 500, 1, 1e6 }, { "output", 300, 1, 1e6 }, { "spread", 0.6, 0, 3 }, { "think", 15, 0, 1e5 } } },
	{ "agents", "tasks of many steps with tools' results, of which some branch", make_agents,
	  { { "steps", 12, 1, 100 }, { "groups", 8, 1, 1e6 }, { "prefix", 4000, 1, 1e6 }, { "result", 1200, 1, 1e6 },
	    { "output", 150, 1, 1e6 }, { "spread", 0.6, 0, 3 }, { "gap", 2, 0, 1e5 }, { "fan", 3, 1, 16 } } },
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static const struct kind *find_kind(sl_str name, sl_error *error)
{
	char names[200] = "";
	for (size_t i = 0; i < KINDS; i++) {
		if (str_eq(name, str_of(kinds[i].name)))
			return &kinds[i];
		size_t at = strlen(names);
		snprintf(names + at, sizeof names - at, "%s%s", i ? ", " : "", kinds[i].name);
	}
	error_set(error, SL_EINVAL, "there is no workload '%.*s'; there are %s, and files that end in .jsonl or .csv",
	          (int) (name.len < 40 ? name.len : 40), name.ptr, names);
	return NULL;
}

static bool set_value(struct sim_recipe *recipe, sl_str text, sl_error *error)
{
	const char *is = memchr(text.ptr, '=', text.len);
	sl_str name = { text.ptr, is ? (size_t) (is - text.ptr) : text.len };
	const struct key *keys = recipe->kind->keys;
	size_t k = 0;
	while (k < KEYS_MAX && keys[k].name && !str_eq(name, str_of(keys[k].name)))
		k++;
	char copy[32], *end = copy;
	if (k == KEYS_MAX || !keys[k].name) {
		const char *names[KEYS_MAX + 1] = { NULL }, *near;
		for (size_t i = 0; i < KEYS_MAX && keys[i].name; i++)
			names[i] = keys[i].name;
		near = str_nearest(name, names);
		error_set(error, SL_EINVAL, "the workload %s has no '%.*s'%s%s", recipe->kind->name, (int) (name.len < 40 ? name.len : 40),
		          name.ptr, near ? "; do you mean " : "", near ? near : "");
		return false;
	}
	if (is && str_copy(copy, sizeof copy, (sl_str){ is + 1, text.len - name.len - 1 }))
		recipe->value[k] = strtod(copy, &end);
	if (end == copy || *end || !(recipe->value[k] >= keys[k].least && recipe->value[k] <= keys[k].most)) {
		error_set(error, SL_EINVAL, "%s of the workload %s must be a number from %g to %g", keys[k].name, recipe->kind->name,
		          keys[k].least, keys[k].most);
		return false;
	}
	return true;
}

struct sim_recipe *sim_recipe_parse(const char *text, sl_error *error)
{
	size_t len = strcspn(text, ":");
	const struct kind *kind = find_kind((sl_str){ text, len }, error);
	struct sim_recipe *recipe = kind ? calloc(1, sizeof *recipe) : NULL;
	if (!recipe)
		return NULL;
	recipe->kind = kind;
	for (size_t k = 0; k < KEYS_MAX && kind->keys[k].name; k++)
		recipe->value[k] = kind->keys[k].value;
	for (const char *at = text + len + (text[len] == ':'); *at;) {
		size_t part = strcspn(at, ",");
		if (!set_value(recipe, (sl_str){ at, part }, error)) {
			free(recipe);
			return NULL;
		}
		at += part + (at[part] == ',');
	}
	return recipe;
}

void sim_recipe_free(struct sim_recipe *recipe)
{
	free(recipe);
}

int sim_recipe_make(const struct sim_recipe *recipe, double rate, double seconds, uint64_t seed, struct sim_workload *out,
                    sl_error *error)
{
	struct maker m = { .value = recipe->value, .rate = rate, .seconds = seconds, .random = { seed }, .out = out };
	if (rate * seconds > SIM_REQUESTS_MAX / 2)
		return error_set(error, SL_EINVAL, "%g requests a second for %g s are more than %d requests", rate, seconds,
		                 SIM_REQUESTS_MAX / 2);
	recipe->kind->make(&m);
	if (m.failed)
		return error_set(error, SL_ENOMEM, "out of memory for the workload");
	if (out->n == 0)
		return error_set(error, SL_EINVAL, "in %g s at %g requests a second none comes", seconds, rate);
	sim_workload_sort(out);
	return SL_OK;
}

void sim_recipe_list(struct buf *out)
{
	for (size_t i = 0; i < KINDS; i++) {
		buf_printf(out, "%-8s %s\n         ", kinds[i].name, kinds[i].summary);
		for (size_t k = 0; k < KEYS_MAX && kinds[i].keys[k].name; k++)
			buf_printf(out, "%s%s=%g", k ? "," : "", kinds[i].keys[k].name, kinds[i].keys[k].value);
		buf_puts(out, "\n");
	}
}

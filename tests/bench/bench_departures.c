/* SPDX-License-Identifier: Apache-2.0 */
/* bench_departures.c - a recorded cluster with jobs that end, under FIFO and EASY backfill with each placement rule.
 * Run by hand:
 *
 *   bench_departures NODES.csv JOBS.csv [COPIES [EVERY]]
 *
 * The recorded load is light, so it is thickened: every EVERY-th machine of each shape (10) is kept, and each job that
 * ran comes COPIES times (29), shifted by up to half a day; services, which end only with the record, 6 times. Time
 * limits are modelled: three times the run, rounded up to a quarter of an hour. EASY reserves for the head of the line
 * the machine where it fits soonest if what runs there ends at its limit; others start elsewhere, or there if they end
 * before or leave room. Waits of jobs that never start count until the last arrival.
 *
 * FIFO stops for days even where four fifths of the GPUs are free (3 copies, every 20th machine): jobs of 8 GPUs that want
 * 88 to 120 cores find no empty machine once FGD, or ours, has left a service on each of those that are large enough,
 * and services end with the record only. Best fit has packed them onto few machines. So it is no fault of the books, which
 * check_head() makes sure of. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/sim/events.h"
#include "core/sim/shape.h"
#include "tests/bench/bench_trace.h"
#include "tests/bench/placement_rules.h"

enum { SERVICE_COPIES = 6, HALF_A_DAY = 43200, GANG = 4, KINDS_MAX = 8192, LIMIT_FACTOR = 3, LIMIT_STEP = 900 };
enum { EVENT_ARRIVES, EVENT_ENDS };
#define NOBODY UINT32_MAX

struct work {
	uint32_t kind;
	int64_t submit, run, limit;
	/* of one run */
	int64_t started;             /* -1: waits */
	struct sim_place place;
	uint32_t before, after;      /* in the line, or among those of its machine */
};

struct world {
	struct sim_trace trace;
	const struct sim_node *nodes;
	size_t n_nodes;
	struct sim_job kinds[KINDS_MAX];
	double shares[KINDS_MAX];
	uint32_t n_kinds;
	struct work *work;
	size_t n_work;
	int64_t last_submit;
};

struct run {
	struct world *w;
	struct sim_cluster cluster;
	struct rules *rules;
	bool backfill;
	uint32_t first, last;        /* of the line */
	uint32_t *on;                /* by machine: the first of those that run there */
	bool dead[KINDS_MAX];        /* fits nowhere until something ends */
	int64_t now, counted;
	double used;                 /* milli x s until the last arrival */
	uint64_t backfilled;
};

static void *zeroed(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size);
	if (!p)
		bench_fail("out of memory");
	return p;
}

static uint32_t kind_of(struct world *w, const struct sim_job *job)
{
	for (uint32_t k = 0; k < w->n_kinds; k++) {
		const struct sim_job *o = &w->kinds[k];
		if (o->cpu_milli == job->cpu_milli && o->memory_mib == job->memory_mib && o->models == job->models &&
		    o->gpus == job->gpus && o->milli == job->milli)
			return k;
	}
	if (w->n_kinds == KINDS_MAX)
		bench_fail("too many kinds of jobs");
	w->kinds[w->n_kinds] = *job;
	return w->n_kinds++;
}

static void thicken(struct world *w, uint32_t every, uint32_t copies)
{
	const struct sim_copies wanted = { .jobs = copies, .services = SERVICE_COPIES, .shift_s = HALF_A_DAY, .seed = 1 };
	sl_error error = { 0 };
	size_t left_out;
	if (!sim_thin_nodes(&w->trace, every))
		bench_fail("out of memory");
	if (sim_thicken(&w->trace, &wanted, &left_out, &error) != SL_OK)
		bench_fail(error.text);
	w->nodes = w->trace.nodes;
	w->n_nodes = w->trace.n_nodes;
	w->work = zeroed(w->trace.n_jobs, sizeof *w->work);
	w->n_work = w->trace.n_jobs;
	for (size_t i = 0; i < w->n_work; i++) {
		const struct sim_job *job = &w->trace.jobs[i];
		w->work[i] = (struct work){ .kind = kind_of(w, job), .submit = job->submit_s, .run = job->run_s,
		                            .limit = (LIMIT_FACTOR * job->run_s / LIMIT_STEP + 1) * LIMIT_STEP };
		w->shares[w->work[i].kind]++;
	}
	for (uint32_t k = 0; k < w->n_kinds; k++)
		w->shares[k] /= (double) w->n_work;
	w->last_submit = w->n_work ? w->work[w->n_work - 1].submit : 0;
}

static void line_join(struct run *r, uint32_t job)
{
	struct work *j = &r->w->work[job];
	j->before = r->last;
	j->after = NOBODY;
	*(r->last == NOBODY ? &r->first : &r->w->work[r->last].after) = job;
	r->last = job;
}

static void line_leave(struct run *r, uint32_t job)
{
	const struct work *j = &r->w->work[job];
	*(j->before == NOBODY ? &r->first : &r->w->work[j->before].after) = j->after;
	*(j->after == NOBODY ? &r->last : &r->w->work[j->after].before) = j->before;
}

static void start(struct run *r, uint32_t job, struct sim_place place, struct sim_events *events)
{
	struct work *j = &r->w->work[job];
	sl_error error = { 0 };
	line_leave(r, job);
	if (sim_cluster_take(&r->cluster, &r->w->kinds[j->kind], place, &error) != SL_OK)
		bench_fail(error.text);
	rules_changed(r->rules, place.machine);
	j->started = r->now;
	j->place = place;
	j->before = NOBODY;
	j->after = r->on[place.machine];
	if (j->after != NOBODY)
		r->w->work[j->after].before = job;
	r->on[place.machine] = job;
	if (!sim_events_put(events, r->now + j->run, EVENT_ENDS, job))
		bench_fail("out of memory");
}

static void end(struct run *r, uint32_t job)
{
	struct work *j = &r->w->work[job];
	uint32_t m = j->place.machine;
	sim_cluster_give(&r->cluster, &r->w->kinds[j->kind], j->place);
	rules_changed(r->rules, m);
	*(j->before == NOBODY ? &r->on[m] : &r->w->work[j->before].after) = j->after;
	if (j->after != NOBODY)
		r->w->work[j->after].before = j->before;
	for (uint32_t k = 0; k < r->w->n_kinds; k++)
		if (r->dead[k] && sim_machine_fits(&r->cluster.machines[m], &r->w->kinds[k]))
			r->dead[k] = false;
}

static void give(struct sim_machine *m, const struct sim_job *job, const struct work *work)
{
	m->cpu_milli += job->cpu_milli;
	m->memory_mib += job->memory_mib;
	m->free_sum += job->gpus * job->milli;
	for (uint32_t g = 0; g < m->gpus; g++)
		if (work->place.gpus >> g & 1)
			m->free[g] = (uint16_t) (m->free[g] + job->milli);
}

static int64_t ends_by(const struct work *j, int64_t now)
{
	return j->started + j->limit > now ? j->started + j->limit : now;
}

/* When `job` fits on the machine if what runs there ends at its limit, and what is free there then. -1: never. */
static int64_t fits_from(const struct run *r, uint32_t machine, const struct sim_job *job, int64_t best,
                         struct sim_machine *then)
{
	const struct work *work = r->w->work;
	int64_t at = r->now, done = r->now - 1, next; /* all that ends by `done` has gone */
	*then = r->cluster.machines[machine];
	while (!sim_machine_fits(then, job)) {
		next = INT64_MAX;
		for (uint32_t j = r->on[machine]; j != NOBODY; j = work[j].after) {
			int64_t ends = ends_by(&work[j], r->now);
			if (ends > done && ends < next)
				next = ends;
		}
		if (next == INT64_MAX || next >= best)
			return -1;
		for (uint32_t j = r->on[machine]; j != NOBODY; j = work[j].after)
			if (ends_by(&work[j], r->now) == next)
				give(then, &r->w->kinds[work[j].kind], &work[j]);
		at = done = next;
	}
	return at;
}

/* The machine that the head gets soonest; NOBODY: none ever. */
static uint32_t reserve(const struct run *r, const struct sim_job *job, int64_t *at)
{
	uint32_t best = NOBODY;
	struct sim_machine then;
	*at = INT64_MAX;
	for (uint32_t i = 0; i < r->cluster.n_machines; i++) {
		const struct sim_machine *m = &r->cluster.machines[i];
		if ((job->models && !(job->models >> m->model & 1)) || m->gpus < job->gpus)
			continue;
		int64_t from = fits_from(r, i, job, *at, &then);
		if (from >= 0 && from < *at) {
			*at = from;
			best = i;
		}
	}
	return best;
}

/* May it start on the machine that is reserved? If it ends before, or if the head fits then all the same. */
static bool harmless(struct run *r, const struct sim_job *head, int64_t at, uint32_t job, struct sim_place place)
{
	const struct work *j = &r->w->work[job];
	struct sim_machine then;
	sl_error error;
	if (r->now + j->limit <= at)
		return true;
	if (sim_cluster_take(&r->cluster, &r->w->kinds[j->kind], place, &error) != SL_OK)
		return false;
	int64_t from = fits_from(r, place.machine, head, INT64_MAX, &then);
	sim_cluster_give(&r->cluster, &r->w->kinds[j->kind], place);
	return from >= 0 && from <= at;
}

/* Whoever heads the line when nothing more can be done fits nowhere, whatever is kept in tables about that. */
static void check_head(const struct run *r)
{
	for (uint32_t i = 0; r->first != NOBODY && i < r->cluster.n_machines; i++)
		if (sim_machine_fits(&r->cluster.machines[i], &r->w->kinds[r->w->work[r->first].kind]))
			bench_fail("the first of the line waits, and a machine has room for it");
}

static void plan(struct run *r, struct sim_events *events)
{
	struct world *w = r->w;
	struct sim_place place;
	while (r->first != NOBODY && !r->dead[w->work[r->first].kind]) {
		uint32_t kind = w->work[r->first].kind;
		if (rules_choose(r->rules, kind, &place))
			start(r, r->first, place, events);
		else
			r->dead[kind] = true;
	}
	if (r->first == NOBODY || !r->backfill)
		return;
	bool any = false, tried[KINDS_MAX];
	for (uint32_t k = 0; k < w->n_kinds; k++)
		any |= !r->dead[k];
	if (!any)
		return;
	int64_t at;
	const struct sim_job *head = &w->kinds[w->work[r->first].kind];
	uint32_t reserved = reserve(r, head, &at);
	memcpy(tried, r->dead, sizeof tried);
	for (uint32_t j = w->work[r->first].after, next; j != NOBODY; j = next) {
		uint32_t kind = w->work[j].kind;
		next = w->work[j].after;
		if (tried[kind])
			continue;
		if (!rules_choose(r->rules, kind, &place)) {
			tried[kind] = r->dead[kind] = true;
		} else if (place.machine != reserved || harmless(r, head, at, j, place)) {
			start(r, j, place, events);
			r->backfilled++;
		} else {
			tried[kind] = !rules_choose_without(r->rules, kind, reserved, &place);
			if (!tried[kind]) {
				start(r, j, place, events);
				r->backfilled++;
			}
		}
	}
}

static int ascending(const void *a, const void *b)
{
	int64_t x = *(const int64_t *) a, y = *(const int64_t *) b;
	return (x > y) - (x < y);
}

static void put_waits(struct run *r, bool gangs)
{
	const struct world *w = r->w;
	int64_t *waits = zeroed(w->n_work, sizeof *waits);
	size_t n = 0, never = 0;
	for (size_t i = 0; i < w->n_work; i++) {
		const struct work *j = &w->work[i];
		if (gangs && w->kinds[j->kind].gpus < GANG)
			continue;
		never += j->started < 0;
		waits[n++] = (j->started < 0 ? w->last_submit : j->started) - j->submit;
	}
	qsort(waits, n, sizeof *waits, ascending);
	if (n)
		printf(" %9lld %9lld %9lld %6zu", (long long) waits[n / 2], (long long) waits[n - 1 - n / 10],
		       (long long) waits[n - 1 - n / 100], never);
	free(waits);
}

/* Area of what is used, until the last arrival. */
static void count(struct run *r, int64_t until)
{
	until = until < r->w->last_submit ? until : r->w->last_submit;
	if (until > r->counted) {
		r->used += (double) (r->cluster.gpu_milli - r->cluster.gpu_milli_free) * (double) (until - r->counted);
		r->counted = until;
	}
}

/* What would be in use on average until the last arrival if nobody waited, % of all GPUs. */
static double offered(const struct world *w)
{
	double area = 0, capacity = 0;
	for (size_t i = 0; i < w->n_nodes; i++)
		capacity += w->nodes[i].gpus * (double) SIM_WHOLE;
	for (size_t i = 0; i < w->n_work; i++) {
		const struct work *j = &w->work[i];
		int64_t end = j->submit + j->run < w->last_submit ? j->submit + j->run : w->last_submit;
		area += (double) w->kinds[j->kind].gpus * w->kinds[j->kind].milli * (double) (end - j->submit);
	}
	return w->n_work ? 100 * area / capacity / (double) (w->last_submit - w->work[0].submit) : 0;
}

static void simulate(struct world *w, enum rule rule, bool backfill, double gang_weight)
{
	struct run *r = zeroed(1, sizeof *r);
	struct sim_events events = { 0 };
	struct sim_event e;
	*r = (struct run){ .w = w, .backfill = backfill, .first = NOBODY, .last = NOBODY };
	if (!sim_cluster_init(&r->cluster, w->nodes, w->n_nodes) ||
	    !(r->rules = rules_new(rule, &r->cluster, w->kinds, w->shares, w->n_kinds, gang_weight, 1)))
		bench_fail("out of memory");
	r->on = zeroed(w->n_nodes, sizeof *r->on);
	memset(r->on, 0xff, w->n_nodes * sizeof *r->on);
	for (uint32_t i = 0; i < w->n_work; i++) {
		w->work[i].started = -1;
		if (!sim_events_put(&events, w->work[i].submit, EVENT_ARRIVES, i))
			bench_fail("out of memory");
	}
	r->counted = r->now = w->n_work ? w->work[0].submit : 0;
	int64_t first = r->now;
	uint64_t began = clock_mono_ns();
	while (sim_events_next(&events, &e)) {
		count(r, e.at);
		r->now = e.at;
		if (e.at > w->last_submit)
			break;
		if (e.type == EVENT_ENDS) {
			end(r, e.job);
		} else {
			rules_arrived(r->rules, w->work[e.job].kind);
			line_join(r, e.job);
		}
		if (events.n == 0 || events.heap[0].at != e.at) {
			plan(r, &events);
			check_head(r);
		}
	}
	printf("%-4s %-9s %5.2f %5.1f", backfill ? "EASY" : "FIFO", rule_names[rule], rule == RULE_OURS ? gang_weight : 0,
	       100 * r->used / (double) r->cluster.gpu_milli / (double) (w->last_submit - first));
	put_waits(r, false);
	put_waits(r, true);
	printf(" %6.1f s\n", (double) (clock_mono_ns() - began) / 1e9);
	fflush(stdout);
	sim_events_free(&events);
	sim_cluster_free(&r->cluster);
	rules_free(r->rules);
	free(r->on);
	free(r);
}

int main(int argc, char **argv)
{
	static struct world w;
	if (argc < 3 || argc > 5) {
		fprintf(stderr, "usage: bench_departures NODES.csv JOBS.csv [COPIES [EVERY]]\n");
		return 2;
	}
	bench_load(&w.trace, argv[1], argv[2]);
	unsigned copies = argc > 3 ? (unsigned) strtoul(argv[3], NULL, 10) : 29;
	unsigned every = argc > 4 ? (unsigned) strtoul(argv[4], NULL, 10) : 10;
	thicken(&w, every, copies ? copies : 1);
	static const struct { enum rule rule; bool backfill; double gang_weight; } runs[] = {
		{ RULE_BEST_FIT, false, 0 }, { RULE_FGD, false, 0 }, { RULE_OURS, false, 0.5 },
		{ RULE_FIRST_FIT, true, 0 }, { RULE_BEST_FIT, true, 0 }, { RULE_FGD, true, 0 },
		{ RULE_OURS, true, 0.1 }, { RULE_OURS, true, 0.5 }, { RULE_OURS, true, 1 },
	};
	printf("%zu machines, %zu jobs, %.1f%% of the GPUs if nobody waited; waits in s: p50, p90, p99, never started\n%-14s %5s %5s %38s %39s\n", w.n_nodes,
	       w.n_work, offered(&w), "order, rule", "gangs", "use %", "all", "gangs of 4 and more");
	for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++)
		simulate(&w, runs[i].rule, runs[i].backfill, runs[i].gang_weight);
	free(w.work);
	sim_trace_free(&w.trace);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* test_replay.c - what follows from a scheduler's answers in virtual time, with schedulers that are a few lines long. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/sim/replay.h"
#include "core/sim/shape.h"

enum { DEVICES = 8 };

/* A scheduler of the test: its own rule beside "whoever fits gets the first free devices of a machine". */
struct rule {
	int (*first)(struct rule *rule, const sl_view *view, sl_action *out, size_t *n);
	uint32_t chosen[64][DEVICES];
	int asked, used;
};

static uint32_t free_devices(const sl_view *v, const sl_view_lease *l, const uint8_t *taken, uint32_t *out)
{
	for (uint32_t m = 0; m < v->n_machines; m++) {
		uint32_t n = 0;
		for (uint32_t d = 0; d < v->n_devices && n < l->devices; d++)
			if (v->device_terms[d].machine == m && !taken[d] && v->devices[d].state == SL_DEVICE_FREE &&
			    (!l->kind[0] || strcmp(l->kind, v->devices[d].kind) == 0))
				out[n++] = d;
		if (n == l->devices)
			return n;
	}
	return 0;
}

static int plan(void *self, const sl_view *v, sl_action *out, size_t room, size_t *n, sl_error *error)
{
	struct rule *rule = self;
	uint8_t taken[64] = { 0 };
	(void) error;
	*n = 0;
	rule->asked++;
	if (rule->first && rule->first(rule, v, out, n))
		return SL_OK;
	for (size_t i = 0; i < v->n_waiting && *n < room && *n < 64; i++) {
		const sl_view_lease_terms *t = &v->waiting_terms[i];
		uint32_t *devices = rule->chosen[*n], got = 0;
		if (t->flags & SL_LEASE_HELD) {
			for (uint32_t k = 0; k < t->n_places; k++)
				got += v->devices[v->places[t->first_place + k]].state == SL_DEVICE_HELD;
			if (got != v->waiting[i].devices)
				continue;
			memcpy(devices, v->places + t->first_place, got * sizeof *devices);
		} else if (!(got = free_devices(v, &v->waiting[i], taken, devices))) {
			continue;
		}
		for (uint32_t k = 0; k < got; k++)
			taken[devices[k]] = 1;
		out[(*n)++] = (sl_action){ .type = SL_ACTION_GRANT, .lease = v->waiting[i].number, .devices = devices, .n_devices = got };
	}
	return SL_OK;
}

static const sl_scheduler_ops ops = { .size = sizeof ops, .plan = plan };
static sl_error error;

static void load(struct sim_trace *trace, const char *nodes, const char *jobs)
{
	char *a = strdup(nodes), *b = malloc(strlen(jobs) + 256);
	sprintf(b, "name,cpu_milli,memory_mib,num_gpu,gpu_milli,queue,priority,creation_time,scheduled_time,deletion_time\n%s", jobs);
	cr_assert_eq(sim_load_nodes(trace, "nodes.csv", a, strlen(a), &error), SL_OK, "%s", error.text);
	cr_assert_eq(sim_load_jobs(trace, "jobs.csv", b, strlen(b), &error), SL_OK, "%s", error.text);
	free(a);
	free(b);
}

static struct replay_result run(const char *nodes, const char *jobs, struct rule *rule, struct replay_setup setup)
{
	struct sim_trace trace = { 0 };
	struct replay_result result;
	load(&trace, nodes, jobs);
	setup.trace = &trace;
	setup.scheduler = &ops;
	setup.scheduler_self = rule;
	cr_assert_eq(replay_run(&setup, &result, &error), SL_OK, "%s", error.text);
	for (size_t i = 0; i < result.n_queues; i++)
		result.queues[i].name = NULL; /* was the trace's */
	sim_trace_free(&trace);
	return result;
}

#define ONE "name,cpu_milli,memory_mib,gpu,model\nm,1,1,4,T4\n"
#define TWO ONE "k,1,1,4,T4\n"

Test(replay, figures_of_a_case_on_paper)
{
	struct rule rule = { 0 };
	struct replay_result r = run(TWO, "a,1,1,4,1000,q,0,0,0,100\nb,1,1,1,250,q,0,10,10,50\nc,1,1,4,1000,q,0,10,10,60\n", &rule,
	                             (struct replay_setup){ 0 });
	/* b keeps c off the second machine until 50; a has gone at 100: c runs on the second from 50 to 100 */
	cr_expect_eq(r.span_s, 100);
	cr_expect_float_eq(r.used, (4 * 100 + 0.25 * 40 + 4 * 50) / 800, 1e-9);
	cr_expect_float_eq(r.granted, (4 * 100 + 1 * 40 + 4 * 50) / 800., 1e-9);
	/* free: 4 until 10, of use to all; 3 until 50, of use to b alone; none; at 100 it is over */
	cr_expect_float_eq(r.fragmented, 3 * 40 * (2 / 3.) / 800, 1e-9);
	cr_expect_eq(r.all.leases, 3);
	cr_expect_eq(r.all.p50_s, 0);
	cr_expect_eq(r.all.p90_s, 40);
	cr_expect_eq(r.gangs.leases, 2);
	cr_expect_eq(r.gangs.p50_s, 0);
	cr_expect_eq(r.gangs.p99_s, 40);
	cr_expect_eq(r.ended, 3);
	cr_expect_eq(r.refused, 0);
	replay_free(&r);
}

/* The urgent lease takes the devices of whoever runs. */
static int evict(struct rule *rule, const sl_view *v, sl_action *out, size_t *n)
{
	for (size_t i = 0; i < v->n_waiting && v->n_running; i++) {
		if (v->waiting[i].priority == 0 || (v->waiting_terms[i].flags & SL_LEASE_HELD) || v->running[0].priority ||
		    (v->running_terms[0].flags & SL_LEASE_LEAVING))
			continue;
		memcpy(rule->chosen[63], v->places + v->running_terms[0].first_place, v->waiting[i].devices * sizeof(uint32_t));
		out[(*n)++] = (sl_action){ .type = SL_ACTION_HOLD, .lease = v->waiting[i].number, .devices = rule->chosen[63],
			.n_devices = v->waiting[i].devices };
		return 1;
	}
	/* And resumes who was suspended once nobody waits. */
	if (v->n_suspended && !v->n_waiting && !v->n_running) {
		memcpy(rule->chosen[63], v->places + v->suspended_terms[0].first_place, v->suspended[0].devices * sizeof(uint32_t));
		out[(*n)++] = (sl_action){ .type = SL_ACTION_RESUME, .lease = v->suspended[0].number, .devices = rule->chosen[63],
			.n_devices = v->suspended[0].devices };
		return 1;
	}
	return 0;
}

#define URGENT "slow,1,1,4,1000,q,0,0,0,1000\nurgent,1,1,4,1000,q,5,100,100,300\n"

Test(replay, who_is_preempted_has_lost_its_work_and_asks_again)
{
	static const bool all[] = { true };
	struct rule rule = { .first = evict };
	struct replay_result r = run(ONE, URGENT, &rule, (struct replay_setup){ .preemptible = all });
	cr_expect_eq(r.preempted, 1);
	cr_expect_eq(r.lost_gpu_s, 4 * 130, "what it ran, and its notice");
	cr_expect_eq(r.span_s, 130 + 200 + 1000);
	cr_expect_eq(r.starts, 3);
	cr_expect_eq(r.ended, 2);
	cr_expect_eq(r.all.p99_s, 30, "%lld", (long long) r.all.p99_s);
	cr_expect_eq(r.refused, 0, "%s", r.refusal);
	replay_free(&r);
}

Test(replay, who_is_suspended_goes_on_and_has_lost_nothing)
{
	static const bool all[] = { true };
	struct rule rule = { .first = evict };
	struct replay_result r = run(ONE, URGENT, &rule, (struct replay_setup){ .preemptible = all, .suspendable = true });
	cr_expect_eq(r.preempted, 0);
	cr_expect_eq(r.suspended, 1);
	cr_expect_eq(r.resumed, 1);
	cr_expect_eq(r.lost_gpu_s, 0);
	cr_expect_eq(r.span_s, 1000 + 200);
	cr_expect_float_eq(r.used, 1, 1e-9);
	cr_expect_eq(r.all.p99_s, 0);
	cr_expect_eq(r.ended, 2);
	cr_expect_eq(r.refused, 0, "%s", r.refusal);
	replay_free(&r);
}

static int suspend(struct rule *rule, const sl_view *v, sl_action *out, size_t *n)
{
	for (size_t i = 0; i < v->n_waiting; i++)
		if (v->waiting[i].priority && v->n_running && !v->running[0].priority) {
			out[(*n)++] = (sl_action){ .type = SL_ACTION_SUSPEND, .lease = v->running[0].number };
			return 1;
		}
	return v->n_waiting == 0 && evict(rule, v, out, n);
}

Test(replay, suspend_as_an_action_of_its_own)
{
	static const bool all[] = { true };
	struct rule rule = { .first = suspend };
	struct replay_result r = run(ONE, URGENT, &rule, (struct replay_setup){ .preemptible = all, .suspendable = true });
	cr_expect_eq(r.suspended, 1);
	cr_expect_eq(r.resumed, 1);
	cr_expect_eq(r.span_s, 1200);
	cr_expect_eq(r.refused, 0, "%s", r.refusal);
	replay_free(&r);
}

static int nonsense(struct rule *rule, const sl_view *v, sl_action *out, size_t *n)
{
	static const uint32_t twice[] = { 0, 0 };
	(void) rule;
	if (v->n_waiting)
		out[(*n)++] = (sl_action){ .type = SL_ACTION_GRANT, .lease = v->waiting[0].number, .devices = twice, .n_devices = 2 };
	return 1;
}

Test(replay, wrong_answers_are_refused_counted_and_change_nothing)
{
	struct rule rule = { .first = nonsense };
	struct replay_result r = run(ONE, "a,1,1,2,1000,q,0,0,0,100\nb,1,1,1,1000,q,0,50,50,60\n", &rule, (struct replay_setup){ 0 });
	cr_expect_eq(r.refused, 2, "one for each round: %zu", r.refused);
	cr_expect(strstr(r.refusal, "granted twice"), "%s", r.refusal);
	cr_expect_eq(r.starts, 0);
	cr_expect_eq(r.all.never, 2);
	cr_expect_eq(r.unfinished, 2);
	cr_expect_eq(r.all.p99_s, 50, "waited until the end of the simulation");
	replay_free(&r);
}

static int broken(void *self, const sl_view *v, sl_action *out, size_t room, size_t *n, sl_error *e)
{
	(void) self, (void) v, (void) out, (void) room, (void) n, (void) e;
	return SL_EIO;
}

Test(replay, a_scheduler_that_fails_ends_it_with_words)
{
	static const sl_scheduler_ops fails = { .size = sizeof fails, .plan = broken };
	struct sim_trace trace = { 0 };
	struct replay_result r;
	load(&trace, ONE, "a,1,1,2,1000,q,0,0,0,100\n");
	const struct replay_setup setup = { .trace = &trace, .scheduler = &fails };
	cr_expect_eq(replay_run(&setup, &r, &error), SL_EIO);
	cr_expect(strstr(error.text, "no plan"), "%s", error.text);
	sim_trace_free(&trace);
}

Test(replay, queues_of_a_configuration_must_be_those_of_the_jobs)
{
	struct sim_trace trace = { 0 };
	struct replay_result r;
	struct rule rule = { 0 };
	struct plan_queue other = plan_queue_free();
	memcpy(other.name, "other", 6);
	load(&trace, ONE, "a,1,1,2,1000,q,0,0,0,100\n");
	const struct replay_setup setup = { .trace = &trace, .scheduler = &ops, .scheduler_self = &rule, .queues = &other, .n_queues = 1 };
	cr_expect_eq(replay_run(&setup, &r, &error), SL_EINVAL);
	cr_expect(strstr(error.text, "queue q"), "%s", error.text);
	sim_trace_free(&trace);
}

static void count_progress(void *ctx, const struct replay_progress *p)
{
	struct replay_progress *last = ctx;
	cr_assert_leq(p->arrived, p->jobs);
	cr_assert_geq(p->now_s, last->now_s);
	*last = *p;
}

Test(replay, tells_how_far_it_is)
{
	struct rule rule = { 0 };
	struct replay_progress last = { 0 };
	struct replay_result r = run(ONE, "a,1,1,2,1000,q,0,0,0,100\nb,1,1,4,1000,q,0,500,500,600\n", &rule,
	                             (struct replay_setup){ .progress = count_progress, .ctx = &last });
	cr_expect(last.arrived == 2 && last.jobs == 2 && last.now_s == 600 && last.last_s == 500 && last.running == 0);
	replay_free(&r);
}

Test(shape, keeps_every_nth_of_a_shape)
{
	struct sim_trace trace = { 0 };
	load(&trace, "name,cpu_milli,memory_mib,gpu,model\na,1,1,4,T4\nb,1,1,8,T4\nc,1,1,4,T4\nd,1,1,4,T4\ne,1,1,4,T4\n", "");
	cr_assert(sim_thin_nodes(&trace, 3));
	cr_assert_eq(trace.n_nodes, 3);
	cr_expect_str_eq(trace.nodes[1].name, "b");
	cr_expect_str_eq(trace.nodes[2].name, "e");
	cr_expect_eq(trace.gpus, 16);
	sim_trace_free(&trace);
}

Test(shape, copies_jobs_that_ran_and_sorts_them)
{
	struct sim_trace trace = { 0 };
	size_t left_out;
	load(&trace, ONE, "late,1,1,1,1000,q,0,50,50,60\nservice,1,1,1,1000,q,0,0,0,100\nnever,1,1,1,1000,q,0,0,,\n");
	const struct sim_copies copies = { .jobs = 4, .services = 2, .shift_s = 20, .seed = 1 };
	cr_assert_eq(sim_thicken(&trace, &copies, &left_out, &error), SL_OK);
	cr_expect_eq(left_out, 1);
	cr_assert_eq(trace.n_jobs, 6);
	cr_expect_str_eq(trace.jobs[0].name, "service");
	for (size_t i = 1; i < trace.n_jobs; i++)
		cr_expect(trace.jobs[i].submit_s >= trace.jobs[i - 1].submit_s && trace.jobs[i].submit_s < 70);
	const struct sim_copies many = { .jobs = UINT32_MAX, .services = 1 };
	cr_expect_eq(sim_thicken(&trace, &many, &left_out, &error), SL_EFULL);
	cr_expect_eq(trace.n_jobs, 6, "nothing has changed");
	sim_trace_free(&trace);
}

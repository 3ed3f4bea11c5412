/* SPDX-License-Identifier: Apache-2.0 */
/* test_fair.c - scheduler/fair and the core's checks in virtual time: random pools, queues, jobs, failures and mistakes of a
 * plugin; and the small cases that loop or starve with other rules. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/lease/plan.h"
#include "tests/unit/plugin/fixture.h"

enum { LEASES = 40, ACTIONS = 64, START_MONO = 1000 };
#define MINUTE UINT64_C(60000)
static const uint64_t start_ms = 1700000000000ull;

struct site {
	struct plugin *p;
	const sl_scheduler_ops *ops;
	struct devices devices;
	struct plan plan;
	struct plan_queue queues[4];
	size_t n_queues;
	struct plan_cohort cohort;
	struct lease *leases[LEASES]; /* in the order of their numbers */
	uint64_t ends[LEASES];        /* parallel: by the test's own clock */
	uint64_t lengths[LEASES];     /* all that it has to do */
	uint64_t rest[LEASES];        /* suspended: what is left of it */
	uint64_t steps[LEASES];       /* its suspension or resumption is through then */
	size_t n;
	uint64_t number, now, seed;
	unsigned long actions, refused, granted, evicted, ended, suspended, resumed, lost;
	sl_action out[ACTIONS];
};

static uint32_t dice(struct site *s, uint32_t n)
{
	s->seed = s->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t) (s->seed >> 33) % n;
}

static struct lease_now now_of(const struct site *s)
{
	return (struct lease_now){ start_ms + s->now, (int64_t) s->now + START_MONO };
}

static void add_machine(struct site *s, const char *machine, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		char uuid[64];
		snprintf(uuid, sizeof uuid, "%s-%u", machine, i);
		json_t *told = json_pack("{s:s, s:i, s:s, s:I}", "uuid", uuid, "index", (int) i, "kind", "sim", "memory_bytes",
		                         (json_int_t) 1 << 36);
		cr_assert_eq(devices_update(&s->devices, machine, told, NULL, NULL), SL_OK);
		json_decref(told);
	}
}

static struct plan_queue *add_queue(struct site *s, const char *name, int32_t nominal)
{
	struct plan_queue *q = &s->queues[s->n_queues++];
	*q = plan_queue_free();
	q->nominal = nominal;
	snprintf(q->name, sizeof q->name, "%s", name);
	return q;
}

static void site_open(struct site *s)
{
	enum plugin_refusal refusal;
	sl_error error = { 0 };
	*s = (struct site){ .seed = 1 };
	s->p = fixture_open("plugins/scheduler/fair", "fair", NULL, NULL, &refusal, &error);
	if (!s->p)
		cr_skip_test("scheduler/fair was not built, or: %s", error.text);
	s->ops = plugin_ops(s->p);
}

static void drop(struct site *s, size_t i)
{
	devices_free_lease(&s->devices, s->leases[i]->number);
	lease_clear(s->leases[i]);
	free(s->leases[i]);
	s->n--;
	memmove(&s->leases[i], &s->leases[i + 1], (s->n - i) * sizeof s->leases[0]);
	memmove(&s->ends[i], &s->ends[i + 1], (s->n - i) * sizeof s->ends[0]);
	memmove(&s->lengths[i], &s->lengths[i + 1], (s->n - i) * sizeof s->lengths[0]);
	memmove(&s->rest[i], &s->rest[i + 1], (s->n - i) * sizeof s->rest[0]);
	memmove(&s->steps[i], &s->steps[i + 1], (s->n - i) * sizeof s->steps[0]);
}

static void site_close(struct site *s)
{
	while (s->n)
		drop(s, s->n - 1);
	plan_free(&s->plan);
	devices_free(&s->devices);
	plugin_close(s->p, 0);
}

static struct lease *submit(struct site *s, size_t queue, uint32_t devices, int priority, uint64_t length)
{
	cr_assert_lt(s->n, LEASES);
	struct lease *l = calloc(1, sizeof *l);
	*l = (struct lease){ .number = ++s->number, .state = LEASE_QUEUED, .wanted = devices, .priority = priority,
	                     .preemptible = true, .tenant = "t", .created_ms = now_of(s).wall_ms, .since_mono_ms = now_of(s).mono_ms };
	memcpy(l->queue, s->queues[queue].name, sizeof l->queue);
	cr_assert(lease_init(l));
	s->ends[s->n] = s->rest[s->n] = s->steps[s->n] = 0;
	s->lengths[s->n] = length;
	s->leases[s->n++] = l;
	return l;
}

static size_t place(const struct site *s, uint64_t number)
{
	size_t i = 0;
	while (i < s->n && s->leases[i]->number != number)
		i++;
	return i;
}

static bool build(struct site *s)
{
	s->plan.cohorts = &s->cohort;
	s->plan.n_cohorts = s->cohort.name[0] ? 1 : 0;
	return plan_build(&s->plan, &s->devices, s->queues, s->n_queues, s->leases, s->n, now_of(s));
}

static bool counts(const struct lease *l)
{
	return l->state == LEASE_RUNNING || l->state == LEASE_RESUMING ||
	       ((l->state == LEASE_QUEUED || l->state == LEASE_SUSPENDED) && l->hold_until_ms);
}

/* The potential, written down anew: nominal and borrowed width at each priority 5..0 of queue priority 0, then shares by
 * weight, which is 1, 2 or 3. */
struct potential {
	int64_t at[12];
	int64_t shares[4];
};

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *) a, y = *(const int64_t *) b;
	return x > y ? -1 : x < y;
}

static struct potential potential(const struct site *s)
{
	struct potential p = { 0 };
	for (size_t i = 0; i < s->n; i++) {
		const struct lease *l = s->leases[i];
		if (!counts(l))
			continue;
		p.at[(l->borrowed ? 6 : 0) + 5 - l->priority] += l->wanted;
		for (size_t q = 0; l->borrowed && q < s->n_queues; q++)
			p.shares[q] += strcmp(l->queue, s->queues[q].name) == 0 ? (int64_t) l->wanted * 6 / s->queues[q].weight : 0;
	}
	qsort(p.shares, 4, sizeof p.shares[0], by_size);
	return p;
}

static bool rises(const struct potential *a, const struct potential *b)
{
	for (int i = 0; i < 12; i++)
		if (a->at[i] != b->at[i])
			return b->at[i] > a->at[i];
	for (int i = 0; i < 4; i++)
		if (a->shares[i] != b->shares[i])
			return b->shares[i] < a->shares[i];
	return false;
}

/* What must hold always, counted from the leases and devices alone. */
static void check(const struct site *s)
{
	for (size_t q = 0; q < s->n_queues; q++) {
		int64_t nominal = 0, borrowed = 0;
		for (size_t i = 0; i < s->n; i++)
			if (counts(s->leases[i]) && strcmp(s->leases[i]->queue, s->queues[q].name) == 0)
				*(s->leases[i]->borrowed ? &borrowed : &nominal) += s->leases[i]->wanted;
		cr_assert_leq(nominal, s->queues[q].nominal);
		cr_assert(s->queues[q].borrow < 0 || nominal + borrowed <= s->queues[q].nominal + s->queues[q].borrow);
	}
	for (size_t i = 0; i < s->n; i++) {
		uint32_t has = 0;
		for (size_t d = 0; d < s->devices.n; d++)
			has += s->devices.at[d].lease == s->leases[i]->number;
		bool off = s->leases[i]->state == LEASE_QUEUED || s->leases[i]->state == LEASE_SUSPENDED || s->leases[i]->parked;
		cr_assert_eq(has, off ? 0 : s->leases[i]->wanted, "whole or nothing");
	}
}

static void leave(struct site *s, struct lease *l)
{
	sl_error error;
	size_t at = place(s, l->number);
	devices_releasing(&s->devices, l->number);
	if (l->suspendable) {
		cr_assert_eq(lease_change(l, LEASE_SUSPENDING, now_of(s), "gives way", &error), SL_OK);
		s->steps[at] = s->now + 5000;
	} else {
		cr_assert_eq(lease_change(l, LEASE_RELEASING, now_of(s), "gave way", &error), SL_OK);
		l->final = LEASE_PREEMPTED;
		s->ends[at] = s->now + 5000; /* its notice */
	}
}

static void apply(struct site *s, const sl_action *a, struct lease *l)
{
	sl_error error;
	size_t at = place(s, l->number);
	if (SL_ACTION_TYPE(a->type) == SL_ACTION_GRANT) {
		cr_assert_eq(lease_change(l, LEASE_GRANTED, now_of(s), "", &error), SL_OK);
		cr_assert_eq(lease_change(l, LEASE_PREPARED, now_of(s), "", &error), SL_OK);
		cr_assert_eq(lease_change(l, LEASE_RUNNING, now_of(s), "", &error), SL_OK);
		s->ends[at] = s->now + s->lengths[at];
		s->granted++;
	} else if (SL_ACTION_TYPE(a->type) == SL_ACTION_HOLD) {
		for (size_t i = 0; i < s->plan.n_victims; i++) {
			struct lease *v = s->plan.victims[i];
			cr_assert_geq(now_of(s).wall_ms, v->granted_ms + s->plan.queues[plan_queue_index(&s->plan, v->queue)].min_run_ms);
			leave(s, v);
			s->evicted++;
		}
	} else if (SL_ACTION_TYPE(a->type) == SL_ACTION_RESUME) {
		cr_assert_eq(lease_change(l, LEASE_RESUMING, now_of(s), "", &error), SL_OK);
		s->steps[at] = s->now + 2000;
	} else if (SL_ACTION_TYPE(a->type) == SL_ACTION_PREEMPT || SL_ACTION_TYPE(a->type) == SL_ACTION_SUSPEND) {
		cr_assert(SL_ACTION_TYPE(a->type) == SL_ACTION_PREEMPT || l->suspendable);
		leave(s, l);
	}
}

/* Rounds until one has nothing to say. mistakes: what the plugin says is mixed with nonsense, which must do no harm. */
static void rounds(struct site *s, bool mistakes)
{
	for (unsigned round = 0;; round++) {
		size_t n;
		sl_error error = { 0 };
		cr_assert(round < 50, "rounds come to an end");
		cr_assert(build(s));
		cr_assert_eq(s->ops->plan(plugin_self(s->p), &s->plan.view, s->out, ACTIONS, &n, &error), SL_OK, "%s", error.text);
		for (size_t i = 0; mistakes && i < 3; i++) {
			uint32_t some[4] = { dice(s, 12), dice(s, 12), dice(s, 12), dice(s, 12) };
			struct lease *l = NULL;
			sl_action a = { .type = dice(s, 9) | dice(s, 3) << 16, .lease = s->number - dice(s, 12), .n_devices = dice(s, 5), .devices = some };
			struct potential before = potential(s);
			uint32_t type = SL_ACTION_TYPE(a.type);
			bool leaves = type == SL_ACTION_PREEMPT || type == SL_ACTION_SUSPEND;
			if (plan_check(&s->plan, &a, &l, &error) != SL_OK)
				continue;
			apply(s, &a, l);
			struct potential after = potential(s);
			cr_assert(leaves || type == SL_ACTION_GRANT || type == SL_ACTION_RESUME || rises(&before, &after));
			check(s);
		}
		if (mistakes)
			return; /* what it planned does not fit any more; the next event plans anew */
		for (size_t i = 0; i < n; i++) {
			struct lease *l = NULL;
			struct potential before = potential(s);
			bool held = false;
			size_t at = place(s, s->out[i].lease);
			held = at < s->n && s->leases[at]->hold_until_ms;
			int code = plan_check(&s->plan, &s->out[i], &l, &error);
			cr_assert_eq(code, SL_OK, "the core refuses: %s", error.text);
			apply(s, &s->out[i], l);
			struct potential after = potential(s);
			cr_assert(held || rises(&before, &after), "the potential rises");
			s->actions++;
			check(s);
		}
		if (n == 0)
			return;
	}
}

/* Off its devices, what is left to do is kept; some cannot, and are ended with notice. */
static void step_off(struct site *s, size_t i)
{
	struct lease *l = s->leases[i];
	bool fails = dice(s, 20) == 0;
	cr_assert_eq(lease_change(l, fails ? LEASE_RELEASING : LEASE_SUSPENDED, now_of(s), "", NULL), SL_OK);
	if (fails) {
		l->final = LEASE_PREEMPTED;
		s->ends[i] = s->now + 5000;
		return;
	}
	devices_free_lease(&s->devices, l->number);
	s->rest[i] = s->ends[i] - s->now;
	s->ends[i] = UINT64_MAX;
	s->suspended++;
}

static void step_back(struct site *s, size_t i)
{
	struct lease *l = s->leases[i];
	bool fails = dice(s, 20) == 0;
	cr_assert_eq(lease_change(l, fails ? LEASE_SUSPENDED : LEASE_RUNNING, now_of(s), "", NULL), SL_OK);
	if (fails) {
		devices_free_lease(&s->devices, l->number);
		l->resume_after_ms = now_of(s).wall_ms + 5000;
		return;
	}
	s->ends[i] = s->now + s->rest[i];
	s->resumed++;
}

/* Ends what is due. Who has come to an end by itself has done all its work, and none of it twice. */
static void settle(struct site *s)
{
	for (size_t i = s->n; i-- > 0;) {
		struct lease *l = s->leases[i];
		if (l->state != LEASE_QUEUED && s->ends[i] <= s->now) {
			bool whole = l->state == LEASE_RUNNING || l->state == LEASE_SUSPENDING;
			cr_assert_eq(lease_change(l, whole ? LEASE_ENDED : l->final ? l->final : LEASE_ENDED, now_of(s), "", NULL), SL_OK);
			cr_assert(!whole || lease_run_ms(l, now_of(s)) == s->lengths[i], "no work is lost by suspension");
			s->lost += !whole;
			s->ended++;
			drop(s, i);
		} else if (s->steps[i] && s->steps[i] <= s->now) {
			s->steps[i] = 0;
			if (l->state == LEASE_SUSPENDING)
				step_off(s, i);
			else if (l->state == LEASE_RESUMING)
				step_back(s, i);
		}
	}
}

static void run_until(struct site *s, uint64_t until)
{
	while (s->now < until) {
		uint64_t next = until;
		for (size_t i = 0; i < s->n; i++)
			if (s->leases[i]->state != LEASE_QUEUED) {
				next = s->ends[i] < next ? s->ends[i] : next;
				next = s->steps[i] && s->steps[i] < next ? s->steps[i] : next;
			}
		if (s->plan.wake_ms && s->plan.wake_ms > start_ms + s->now && s->plan.wake_ms - start_ms < next)
			next = s->plan.wake_ms - start_ms;
		s->now = next;
		settle(s);
		rounds(s, false);
	}
}

static const char *state(const struct site *s, uint64_t number)
{
	size_t at = place(s, number);
	return at == s->n ? "gone" : lease_state_name(s->leases[at]->state);
}

Test(fair, the_owner_gets_back_what_was_borrowed_after_the_minimum_run_time)
{
	struct site s;
	char text[SL_ERROR_TEXT];
	site_open(&s);
	add_machine(&s, "m", 4);
	add_queue(&s, "owner", 4);
	add_queue(&s, "guest", 0)->min_run_ms = 10 * MINUTE;
	uint64_t guest = submit(&s, 1, 4, 0, 1000 * MINUTE)->number;
	rounds(&s, false);
	cr_expect_str_eq(state(&s, guest), "running");
	s.now = MINUTE;
	uint64_t owner = submit(&s, 0, 2, 0, MINUTE)->number, small = submit(&s, 0, 1, 0, MINUTE)->number;
	rounds(&s, false);
	cr_expect_str_eq(state(&s, guest), "running", "not before its minimum run time");
	cr_assert(build(&s));
	cr_assert_eq(s.ops->explain(plugin_self(s.p), &s.plan.view, owner, text, sizeof text), SL_OK);
	cr_expect(strstr(text, "is owed the devices: it waits 540 s"), "%s", text);
	cr_assert_eq(s.ops->explain(plugin_self(s.p), &s.plan.view, small, text, sizeof text), SL_OK);
	cr_expect(strstr(text, "waits behind"), "%s", text);
	run_until(&s, 10 * MINUTE + 1000);
	cr_expect_str_eq(state(&s, guest), "releasing");
	cr_expect_str_eq(state(&s, owner), "queued");
	run_until(&s, 10 * MINUTE + 6000);
	cr_expect_str_eq(state(&s, guest), "gone");
	cr_expect_str_eq(state(&s, owner), "running");
	cr_expect_str_eq(state(&s, small), "running");
	site_close(&s);
}

/* Fair sharing by shares alone loops here: B0 of 8, then A1 of 7 and A2 of 1, on 8 units, A owed 2 and B 6. */
Test(fair, the_smallest_loop_of_shares_alone)
{
	struct site s;
	site_open(&s);
	add_machine(&s, "m", 8);
	add_queue(&s, "a", 2);
	add_queue(&s, "b", 6);
	submit(&s, 1, 8, 0, 100000 * MINUTE);
	rounds(&s, false);
	submit(&s, 0, 7, 0, 100000 * MINUTE);
	submit(&s, 0, 1, 0, 100000 * MINUTE);
	run_until(&s, 1000 * MINUTE);
	cr_expect_leq(s.actions, 8, "%lu", s.actions);
	site_close(&s);
}

/* A borrower that evicts nominal leases of its own queue by priority would go round for ever. */
Test(fair, borrowers_do_not_evict_what_their_queue_is_owed)
{
	struct site s;
	site_open(&s);
	add_machine(&s, "m", 8);
	add_queue(&s, "a", 4);
	add_queue(&s, "b", 4);
	uint64_t middle_a = submit(&s, 0, 4, 1, 100000 * MINUTE)->number, middle_b = submit(&s, 1, 4, 1, 100000 * MINUTE)->number;
	rounds(&s, false);
	submit(&s, 0, 8, 2, 100000 * MINUTE);
	submit(&s, 1, 8, 2, 100000 * MINUTE);
	run_until(&s, 1000 * MINUTE);
	cr_expect_str_eq(state(&s, middle_a), "running");
	cr_expect_str_eq(state(&s, middle_b), "running");
	cr_expect_eq(s.evicted, 0);
	site_close(&s);
}

/* A lease that the limits keep out for good must not have a machine kept free for it. */
Test(fair, who_can_never_borrow_so_much_is_in_nobodys_way)
{
	struct site s;
	site_open(&s);
	add_machine(&s, "m", 8);
	add_queue(&s, "owner", 4)->lend = 0;
	add_queue(&s, "guest", 0);
	uint64_t never = submit(&s, 1, 8, 0, MINUTE)->number;
	rounds(&s, false);
	uint64_t small = submit(&s, 1, 4, 0, MINUTE)->number;
	rounds(&s, false);
	cr_expect_str_eq(state(&s, small), "running");
	cr_expect_str_eq(state(&s, never), "queued");
	site_close(&s);
}

/* Every other world has a cohort of two queues, with limits of its own, and weights. */
static void make_queues(struct site *s, bool cohort)
{
	int left = (int) s->devices.n;
	for (unsigned q = 0; q < 3; q++) {
		char name[8];
		snprintf(name, sizeof name, "q%u", q);
		struct plan_queue *queue = add_queue(s, name, (int32_t) dice(s, (uint32_t) left / 2 + 1));
		left -= queue->nominal;
		queue->min_run_ms = dice(s, 3) * 20 * MINUTE;
		queue->borrow = (int32_t) dice(s, 3) * 4 - 1;
		queue->lend = dice(s, 2) ? -1 : queue->nominal / 2;
		queue->weight = cohort ? 1 + dice(s, 3) : 1;
		queue->cohort = cohort && q < 2 ? 0 : SL_NONE;
	}
	if (cohort)
		s->cohort = (struct plan_cohort){ .name = "c", .parent = SL_NONE, .nominal = (int32_t) dice(s, (uint32_t) left / 2 + 1),
			.borrow = (int32_t) dice(s, 3) * 4 - 1, .lend = (int32_t) dice(s, 2) - 1 };
}

/* Nobody comes any more and no device is out: who could ever start has started in the end. On an empty pool that is everybody
 * whom limits do not keep out for good. */
static void nobody_starves(struct site *s, uint64_t world)
{
	for (size_t d = 0; d < s->devices.n; d++)
		s->devices.at[d].drain = false;
	rounds(s, false);
	run_until(s, s->now + 365 * 24 * 60 * MINUTE);
	cr_assert(build(s));
	cr_assert_eq(s->plan.running.n, 0);
	cr_assert_eq(s->plan.suspended.n, 0, "who was suspended has gone on, world %d", (int) world);
	for (size_t i = 0; i < s->plan.waiting.n; i++) {
		const struct lease *l = s->plan.waiting.at[i];
		const struct plan_queue *q = &s->queues[s->plan.waiting.view[i].queue];
		const sl_view_queue_terms *t = &s->plan.view.queue_terms[s->plan.waiting.view[i].queue];
		bool owed = l->wanted <= (uint32_t) q->nominal, lent = t->borrowable_milli >= (int64_t) l->wanted * 1000;
		cr_assert(plan_fits(&s->devices, q, l, NULL) != SL_OK || (!owed && !lent), "L%d of %s starves in world %d", (int) l->number,
		          l->queue, (int) world);
	}
}

/* Each world is a week of arrivals with failures; 240 of them are four and a half years. */
Test(fair, years_of_random_worlds, .timeout = 300)
{
	enum { WEEK = 7 * 24 * 60 };
	unsigned long granted = 0, evicted = 0, ended = 0, suspended = 0, resumed = 0;
	for (uint64_t seed = 1; seed <= 240; seed++) {
		struct site s;
		char text[SL_ERROR_TEXT];
		site_open(&s);
		s.seed = seed;
		add_machine(&s, "m1", 8);
		add_machine(&s, "m2", 2 + dice(&s, 3));
		make_queues(&s, seed % 2);
		for (uint64_t t = 0; t < (uint64_t) WEEK * MINUTE;) {
			t += (1 + dice(&s, 120)) * MINUTE;
			run_until(&s, t);
			if (s.n < LEASES / 2) {
				struct lease *l = submit(&s, dice(&s, 3), 1u << dice(&s, 4), (int) dice(&s, 6), (1 + dice(&s, 300)) * MINUTE);
				l->preemptible = dice(&s, 2);
				l->suspendable = dice(&s, 2);
			}
			struct device *d = &s.devices.at[dice(&s, (uint32_t) s.devices.n)];
			if (dice(&s, 20) == 0 && !d->lease)
				d->drain = !d->drain;
			rounds(&s, dice(&s, 10) == 0);
			rounds(&s, false);
			cr_assert(build(&s));
			for (size_t i = 0; i < s.plan.waiting.n; i++) {
				const struct lease *l = s.plan.waiting.at[i];
				cr_assert_eq(s.ops->explain(plugin_self(s.p), &s.plan.view, l->number, text, sizeof text), SL_OK,
				             "L%d of %s, world %d", (int) l->number, l->queue, (int) seed);
				cr_assert(text[0]);
			}
			for (size_t i = 0; i < s.plan.suspended.n; i++) {
				struct lease *l = s.plan.suspended.at[i];
				cr_assert_eq(s.ops->explain(plugin_self(s.p), &s.plan.view, l->number, text, sizeof text), SL_OK,
				             "suspended L%d of %s, world %d", (int) l->number, l->queue, (int) seed);
				cr_assert(text[0]);
				if (dice(&s, 200) == 0) { /* its owner wants it no more */
					cr_assert_eq(lease_change(l, LEASE_RELEASING, now_of(&s), "", NULL), SL_OK);
					s.ends[place(&s, l->number)] = s.now + 5000;
				}
			}
		}
		nobody_starves(&s, seed);
		granted += s.granted;
		evicted += s.evicted;
		ended += s.ended;
		suspended += s.suspended;
		resumed += s.resumed;
		site_close(&s);
	}
	cr_expect_gt(granted, 10000);
	cr_expect_gt(evicted, 100);
	cr_expect_gt(ended, 5000);
	cr_expect_gt(suspended, 50);
	cr_expect_gt(resumed, 50);
	printf("# granted %lu, evicted %lu, suspended %lu, resumed %lu, ended %lu\n", granted, evicted, suspended, resumed, ended);
}

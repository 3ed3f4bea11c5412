/* SPDX-License-Identifier: Apache-2.0 */
/* test_place.c - on which machine scheduler/fair puts a lease, through its plan(), on views made by hand. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include <sluice/scheduler.h>

#include "tests/unit/plugin/fixture.h"

enum { DEVICES = 256, MACHINES = 80, LEASES = 64, ACTIONS = 64 };

struct site {
	struct plugin *p;
	const sl_scheduler_ops *ops;
	sl_view view;
	sl_view_machine machines[MACHINES];
	sl_view_device devices[DEVICES];
	sl_view_device_terms device_terms[DEVICES];
	sl_view_queue queue;
	sl_view_queue_terms queue_terms;
	sl_view_lease waiting[LEASES], running[1];
	sl_view_lease_terms waiting_terms[LEASES], running_terms[1];
	uint32_t places[1];
	uint64_t number;
	sl_action out[ACTIONS];
	size_t n;
};

static void site_open(struct site *s)
{
	enum plugin_refusal refusal;
	sl_error error = { 0 };
	memset(s, 0, sizeof *s);
	s->p = fixture_open("plugins/scheduler/fair", "fair", NULL, NULL, &refusal, &error);
	if (!s->p)
		cr_skip_test("scheduler/fair was not built, or: %s", error.text);
	s->ops = plugin_ops(s->p);
	snprintf(s->queue.name, sizeof s->queue.name, "q");
	s->queue_terms = (sl_view_queue_terms){ .cohort = SL_NONE, .nominal = DEVICES, .borrow = -1, .lend = -1, .weight = 1 };
	s->view = (sl_view){ .size = sizeof s->view, .now_ms = 1000000, .machines = s->machines, .devices = s->devices,
		.device_terms = s->device_terms, .queues = &s->queue, .queue_terms = &s->queue_terms, .n_queues = 1,
		.waiting = s->waiting, .waiting_terms = s->waiting_terms, .running = s->running, .running_terms = s->running_terms,
		.places = s->places };
}

static uint32_t add_machine(struct site *s)
{
	uint32_t m = (uint32_t) s->view.n_machines++;
	cr_assert_lt(m, MACHINES);
	s->machines[m] = (sl_view_machine){ .cpu_milli = -1, .cpu_milli_free = -1, .host_memory_bytes = -1,
		.host_memory_free_bytes = -1 };
	snprintf(s->machines[m].name, sizeof s->machines[m].name, "m%u", m);
	return m;
}

/* Kinds have numbers as the core gives them: the first device of the kind. */
static void add_devices(struct site *s, uint32_t m, const char *kind, uint64_t memory, uint32_t n_used, uint32_t n_free)
{
	for (uint32_t i = 0; i < n_used + n_free; i++) {
		uint32_t d = (uint32_t) s->view.n_devices++, first = 0;
		cr_assert_lt(d, DEVICES);
		s->devices[d] = (sl_view_device){ .memory_bytes = memory, .state = i < n_used ? SL_DEVICE_SCRUBBING : SL_DEVICE_FREE };
		snprintf(s->devices[d].kind, sizeof s->devices[d].kind, "%s", kind);
		while (strcmp(s->devices[first].kind, kind) != 0)
			first++;
		s->device_terms[d] = (sl_view_device_terms){ .machine = m, .island = SL_NONE, .kind = first,
			.free_milli = i < n_used ? 0 : 1000 };
	}
}

static void clear_pool(struct site *s)
{
	s->view.n_devices = s->view.n_machines = s->view.n_waiting = 0;
}

static sl_view_lease *wait_for(struct site *s, const char *kind, uint32_t devices)
{
	size_t i = s->view.n_waiting++;
	cr_assert_lt(i, LEASES);
	s->waiting[i] = (sl_view_lease){ .number = ++s->number, .devices = devices, .since_ms = s->number };
	s->waiting_terms[i] = (sl_view_lease_terms){ .milli = 1000, .kind = SL_NONE, .user = SL_NONE };
	snprintf(s->waiting[i].kind, sizeof s->waiting[i].kind, "%s", kind);
	for (uint32_t d = 0; kind[0] && d < s->view.n_devices && s->waiting_terms[i].kind == SL_NONE; d++)
		if (strcmp(s->devices[d].kind, kind) == 0)
			s->waiting_terms[i].kind = s->device_terms[d].kind;
	return &s->waiting[i];
}

static void plan(struct site *s)
{
	sl_error error = { 0 };
	cr_assert_eq(s->ops->plan(plugin_self(s->p), &s->view, s->out, ACTIONS, &s->n, &error), SL_OK, "%s", error.text);
}

/* The machine of a grant; checks that it is whole, free, of one machine, and no device is in it twice. */
static uint32_t granted(const struct site *s, const sl_view_lease *lease)
{
	for (size_t i = 0; i < s->n; i++) {
		const sl_action *a = &s->out[i];
		if (a->lease != lease->number)
			continue;
		cr_assert_eq(SL_ACTION_TYPE(a->type), SL_ACTION_GRANT);
		cr_assert_eq(a->n_devices, lease->devices);
		for (uint32_t k = 0; k < a->n_devices; k++) {
			const sl_view_device *d = &s->devices[a->devices[k]];
			cr_assert_eq(d->state, SL_DEVICE_FREE);
			cr_assert_eq(s->device_terms[a->devices[k]].machine, s->device_terms[a->devices[0]].machine);
			cr_assert(!lease->kind[0] || strcmp(lease->kind, d->kind) == 0);
			cr_assert_geq(d->memory_bytes, lease->memory_bytes);
			for (uint32_t j = 0; j < k; j++)
				cr_assert_neq(a->devices[j], a->devices[k]);
		}
		return s->device_terms[a->devices[0]].machine;
	}
	return UINT32_MAX;
}

/* Arrivals of that width and kind, while nothing is free. */
static void learn(struct site *s, const char *kind, uint32_t devices)
{
	for (int i = 0; i < LEASES; i++)
		wait_for(s, kind, devices);
	plan(s);
	cr_assert_eq(s->n, 0);
	s->view.n_waiting = 0;
}

Test(fair_place, a_pair_is_not_broken_where_pairs_are_usual)
{
	struct site s;
	site_open(&s);
	add_devices(&s, add_machine(&s), "a", 80, 8, 0);
	add_devices(&s, add_machine(&s), "a", 80, 8, 0);
	learn(&s, "", 2);
	clear_pool(&s);
	add_devices(&s, add_machine(&s), "a", 80, 6, 2);
	add_devices(&s, add_machine(&s), "a", 80, 5, 3);
	const sl_view_lease *one = wait_for(&s, "", 1);
	plan(&s);
	cr_expect_eq(granted(&s, one), 1, "the tightest machine would lose its room for a pair");
	plugin_close(s.p, 0);
}

/* The same pool and lease, other arrivals: the tightest it is. */
Test(fair_place, the_tightest_machine_where_nothing_speaks_for_another)
{
	struct site s;
	site_open(&s);
	add_devices(&s, add_machine(&s), "a", 80, 8, 0);
	learn(&s, "", 1);
	clear_pool(&s);
	add_devices(&s, add_machine(&s), "a", 80, 5, 3);
	add_devices(&s, add_machine(&s), "a", 80, 6, 2);
	const sl_view_lease *one = wait_for(&s, "", 1);
	plan(&s);
	cr_expect_eq(granted(&s, one), 1);
	plugin_close(s.p, 0);
}

/* What a round has granted counts for the next lease of it: two ones take the odd devices, the pairs stay. */
Test(fair_place, grants_of_the_round_count)
{
	struct site s;
	site_open(&s);
	add_devices(&s, add_machine(&s), "a", 80, 8, 0);
	learn(&s, "", 2);
	clear_pool(&s);
	add_devices(&s, add_machine(&s), "a", 80, 6, 2);
	add_devices(&s, add_machine(&s), "a", 80, 5, 3);
	add_devices(&s, add_machine(&s), "a", 80, 5, 3);
	const sl_view_lease *first = wait_for(&s, "", 1), *second = wait_for(&s, "", 1);
	plan(&s);
	cr_expect_eq(granted(&s, first), 1);
	cr_expect_eq(granted(&s, second), 2);
	plugin_close(s.p, 0);
}

/* Most leases can have "scarce" only: who can have either gets the other, though that machine has more free. The kinds
 * get other numbers between the views. */
Test(fair_place, who_can_have_any_kind_leaves_the_scarce_one)
{
	struct site s;
	site_open(&s);
	add_devices(&s, add_machine(&s), "scarce", 80, 4, 0);
	add_devices(&s, add_machine(&s), "plenty", 80, 8, 0);
	learn(&s, "scarce", 1);
	clear_pool(&s);
	add_devices(&s, add_machine(&s), "plenty", 80, 0, 8);
	add_devices(&s, add_machine(&s), "scarce", 80, 2, 2);
	const sl_view_lease *any = wait_for(&s, "", 1), *bound = wait_for(&s, "scarce", 1);
	plan(&s);
	cr_expect_eq(granted(&s, any), 0);
	cr_expect_eq(granted(&s, bound), 1);
	plugin_close(s.p, 0);
}

Test(fair_place, kind_and_memory_are_kept_to)
{
	struct site s;
	site_open(&s);
	uint32_t small = add_machine(&s), large = add_machine(&s);
	add_devices(&s, small, "a", 40, 0, 1);
	add_devices(&s, large, "a", 80, 0, 2);
	add_devices(&s, add_machine(&s), "b", 160, 0, 4);
	sl_view_lease *lease = wait_for(&s, "a", 1);
	lease->memory_bytes = 60;
	sl_view_lease *never = wait_for(&s, "a", 1), *nor = wait_for(&s, "c", 1);
	never->memory_bytes = 100;
	plan(&s);
	cr_expect_eq(granted(&s, lease), large);
	cr_expect_eq(granted(&s, never), UINT32_MAX);
	cr_expect_eq(granted(&s, nor), UINT32_MAX);
	plugin_close(s.p, 0);
}

Test(fair_place, cpu_and_memory_of_machines_are_counted_where_known)
{
	struct site s;
	site_open(&s);
	uint32_t tight = add_machine(&s), wide = add_machine(&s);
	add_devices(&s, tight, "a", 80, 0, 2);
	add_devices(&s, wide, "a", 80, 0, 8);
	s.machines[tight].cpu_milli_free = 16000;
	s.machines[wide].host_memory_free_bytes = 1000;
	const sl_view_lease *leases[4];
	for (size_t i = 0; i < 4; i++)
		leases[i] = wait_for(&s, "", 1);
	s.waiting_terms[0].cpu_milli = 10000;          /* the tight machine has room for one of these */
	s.waiting_terms[1].cpu_milli = 10000;
	s.waiting_terms[2].host_memory_bytes = 2000;   /* and for this one, as far as one knows */
	s.waiting_terms[3].host_memory_bytes = UINT64_MAX;
	s.waiting_terms[3].cpu_milli = UINT64_MAX;     /* counted by both, each in its way */
	plan(&s);
	cr_expect_eq(granted(&s, leases[0]), tight);
	cr_expect_eq(granted(&s, leases[1]), wide);
	cr_expect_eq(granted(&s, leases[2]), tight);
	cr_expect_eq(granted(&s, leases[3]), UINT32_MAX);
	char text[SL_ERROR_TEXT];
	cr_assert_eq(s.ops->explain(plugin_self(s.p), &s.view, leases[3]->number, text, sizeof text), SL_OK);
	cr_expect(strstr(text, "lack the cpu or memory"), "%s", text);
	size_t n = s.n;
	plan(&s); /* to explain has spent nothing */
	cr_expect_eq(s.n, n);
	cr_expect_eq(granted(&s, leases[0]), tight);
	plugin_close(s.p, 0);
}

Test(fair_place, a_gang_of_any_kind_may_take_devices_of_two_models)
{
	struct site s;
	site_open(&s);
	uint32_t both = add_machine(&s);
	add_devices(&s, both, "a", 80, 0, 2);
	add_devices(&s, both, "b", 80, 0, 2);
	const sl_view_lease *gang = wait_for(&s, "", 4);
	plan(&s);
	cr_expect_eq(granted(&s, gang), both);
	plugin_close(s.p, 0);
}

/* Beyond the placement's bounds: 100 devices of a model on one machine, and 70 models. */
Test(fair_place, large_machines_are_found_too)
{
	struct site s;
	site_open(&s);
	uint32_t large = add_machine(&s), usual = add_machine(&s);
	add_devices(&s, large, "a", 80, 0, 100);
	add_devices(&s, usual, "a", 80, 0, 8);
	const sl_view_lease *few = wait_for(&s, "", 8), *many = wait_for(&s, "", 80), *too_many = wait_for(&s, "", 21);
	plan(&s);
	cr_expect_eq(granted(&s, few), usual);
	cr_expect_eq(granted(&s, many), large);
	cr_expect_eq(granted(&s, too_many), UINT32_MAX);
	plugin_close(s.p, 0);
}

Test(fair_place, many_kinds_are_found_too)
{
	enum { KINDS = 70 };
	struct site s;
	char kind[8];
	site_open(&s);
	for (int round = 0; round < 3; round++) { /* each with other kinds: those that are gone make room */
		const sl_view_lease *leases[KINDS];
		clear_pool(&s);
		for (int i = 0; i < KINDS; i++) {
			snprintf(kind, sizeof kind, "k%d", round * KINDS + i);
			add_devices(&s, add_machine(&s), kind, 80, 0, 2);
		}
		for (int i = 0; i < LEASES; i++) { /* the last ones first */
			snprintf(kind, sizeof kind, "k%d", round * KINDS + KINDS - 1 - i);
			leases[i] = wait_for(&s, kind, 2);
		}
		plan(&s);
		for (int i = 0; i < LEASES; i++)
			cr_expect_eq(granted(&s, leases[i]), (uint32_t) (KINDS - 1 - i));
	}
	clear_pool(&s); /* and one more is placed as if it were the first */
	add_devices(&s, add_machine(&s), "new", 80, 8, 0);
	learn(&s, "new", 2);
	clear_pool(&s);
	add_devices(&s, add_machine(&s), "new", 80, 6, 2);
	add_devices(&s, add_machine(&s), "new", 80, 5, 3);
	const sl_view_lease *one = wait_for(&s, "new", 1);
	plan(&s);
	cr_expect_eq(granted(&s, one), 1);
	plugin_close(s.p, 0);
}

/* What is kept for a lease that waits is kept from others, whatever it is worth. */
Test(fair_place, a_kept_machine_is_left_out)
{
	struct site s;
	site_open(&s);
	uint32_t kept = add_machine(&s), other = add_machine(&s);
	add_devices(&s, kept, "a", 80, 1, 3);
	add_devices(&s, other, "b", 80, 0, 8);
	const sl_view_lease *gang = wait_for(&s, "a", 4), *one = wait_for(&s, "a", 1), *any = wait_for(&s, "", 1);
	plan(&s);
	cr_expect_eq(granted(&s, gang), UINT32_MAX);
	cr_expect_eq(granted(&s, one), UINT32_MAX);
	cr_expect_eq(granted(&s, any), other);
	plugin_close(s.p, 0);
}

static uint32_t dice(uint64_t *seed, uint32_t n)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t) (*seed >> 33) % n;
}

/* Is there a machine with enough free devices that suit? Counted anew from the view. */
static int fits(const struct site *s, const sl_view_lease *lease, uint64_t cpu)
{
	for (uint32_t m = 0; m < s->view.n_machines; m++) {
		int64_t cpu_free = s->machines[m].cpu_milli_free;
		uint32_t n = 0;
		for (uint32_t d = 0; d < s->view.n_devices; d++)
			n += s->device_terms[d].machine == m && s->devices[d].state == SL_DEVICE_FREE &&
			     (!lease->kind[0] || strcmp(s->devices[d].kind, lease->kind) == 0) &&
			     s->devices[d].memory_bytes >= lease->memory_bytes;
		if (n >= lease->devices && (cpu_free < 0 || (uint64_t) cpu_free >= cpu))
			return 1;
	}
	return 0;
}

/* One plugin, pools that change in every way between rounds: a lease is granted exactly when it fits somewhere. */
Test(fair_place, random_pools)
{
	enum { ROUNDS = 20000 };
	struct site s;
	uint64_t seed = 1;
	int granted_ones = 0, machines = 0, kinds = 1;
	site_open(&s);
	for (int round = 0; round < ROUNDS; round++) {
		char kind[8] = "";
		if (round % 50 == 0) { /* another pool */
			clear_pool(&s);
			machines = 1 + (int) dice(&seed, 12);
			kinds = dice(&seed, 4) ? 3 : 100;
			for (int m = 0; m < machines; m++) {
				uint32_t at = add_machine(&s), most = dice(&seed, 12) ? 8 : 80;
				for (uint32_t k = 1 + dice(&seed, 2); k > 0 && s.view.n_devices + most < DEVICES; k--) {
					snprintf(kind, sizeof kind, "k%u", dice(&seed, (uint32_t) kinds));
					add_devices(&s, at, kind, 40 + 40 * dice(&seed, 2), 0, 1 + dice(&seed, most));
				}
			}
		}
		uint32_t part = 1 + dice(&seed, 4);
		for (uint32_t d = 0; d < s.view.n_devices; d++) {
			s.devices[d].state = dice(&seed, part) ? 2 + dice(&seed, 6) : SL_DEVICE_FREE;
			s.device_terms[d].free_milli = s.devices[d].state == SL_DEVICE_FREE ? 1000 : 0;
		}
		for (int m = 0; m < machines; m++)
			s.machines[m].cpu_milli_free = dice(&seed, 2) ? -1 : (int64_t) dice(&seed, 10);
		s.view.n_waiting = 0;
		snprintf(kind, sizeof kind, "k%u", dice(&seed, (uint32_t) kinds));
		sl_view_lease *lease = wait_for(&s, dice(&seed, 2) ? kind : "", 1 + dice(&seed, dice(&seed, 8) ? 6 : 90));
		lease->memory_bytes = 40 * dice(&seed, 4);
		s.waiting_terms[0].cpu_milli = dice(&seed, 2) ? 0 : dice(&seed, 12);
		plan(&s);
		int got = granted(&s, lease) != UINT32_MAX;
		cr_assert_eq(got, fits(&s, lease, s.waiting_terms[0].cpu_milli), "round %d", round);
		if (got) {
			int64_t cpu_free = s.machines[granted(&s, lease)].cpu_milli_free;
			cr_assert(cpu_free < 0 || (uint64_t) cpu_free >= s.waiting_terms[0].cpu_milli);
		}
		granted_ones += got;
	}
	cr_expect_gt(granted_ones, ROUNDS / 10);
	cr_expect_lt(granted_ones, ROUNDS * 9 / 10);
	plugin_close(s.p, 0);
}

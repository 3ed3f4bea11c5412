/* SPDX-License-Identifier: Apache-2.0 */
/* test_lease.c - states, lengths, records. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/str.h"
#include "core/lease/lease.h"

static struct lease_now at(int64_t mono_ms)
{
	return (struct lease_now){ 1700000000000ull + (uint64_t) mono_ms, mono_ms };
}

/* The whole table once more, written down by hand: what is not here must be refused. */
static const char *const allowed[] = {
	"requested queued", "requested granted", "requested denied", "requested cancelled", "requested failed",
	"queued granted", "queued denied", "queued cancelled", "queued failed",
	"granted queued", "granted prepared", "granted cancelled", "granted preempted", "granted failed",
	"prepared queued", "prepared running", "prepared releasing", "prepared ended", "prepared expired", "prepared failed",
	"running suspending", "running releasing", "running ended", "running expired", "running preempted", "running failed",
	"suspending suspended", "suspending releasing", "suspending ended", "suspending expired", "suspending preempted",
	"suspending failed",
	"suspended resuming", "suspended releasing", "suspended ended", "suspended expired", "suspended preempted",
	"suspended failed",
	"resuming running", "resuming suspended", "resuming releasing", "resuming ended", "resuming expired",
	"resuming preempted", "resuming failed",
	"releasing ended", "releasing cancelled", "releasing expired", "releasing preempted", "releasing failed",
};

Test(lease, every_change_of_the_table_and_no_other)
{
	unsigned n = 0;
	for (int from = 0; from < LEASE_STATES; from++)
		for (int to = 0; to < LEASE_STATES; to++) {
			char pair[64];
			bool wanted = false;
			snprintf(pair, sizeof pair, "%s %s", lease_state_name((enum lease_state) from),
			         lease_state_name((enum lease_state) to));
			for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
				wanted = wanted || strcmp(allowed[i], pair) == 0;
			struct lease lease = { .number = 1, .state = (enum lease_state) from, .reason = "old" };
			sl_error error = { 0 };
			int code = lease_change(&lease, (enum lease_state) to, at(5), "new", &error);
			cr_expect_eq(code, wanted ? SL_OK : SL_ECONFLICT, "%s", pair);
			cr_expect_eq((int) lease.state, wanted ? to : from, "%s", pair);
			cr_expect_str_eq(lease.reason, wanted ? "new" : "old", "%s", pair);
			n += wanted;
		}
	cr_expect_eq(n, sizeof allowed / sizeof allowed[0], "every line of the list is a pair");
}

Test(lease, states_by_name)
{
	for (int i = 0; i < LEASE_STATES; i++) {
		enum lease_state state;
		cr_expect(lease_state_parse(lease_state_name((enum lease_state) i), &state) && (int) state == i);
		cr_expect_eq(lease_state_over((enum lease_state) i), i >= LEASE_ENDED, "%s", lease_state_name((enum lease_state) i));
	}
	enum lease_state state;
	cr_expect_not(lease_state_parse("flying", &state));
	cr_expect_not(lease_state_parse(NULL, &state));
	cr_expect_str_eq(lease_state_name((enum lease_state) 99), "unknown");
	cr_expect_not(lease_may_change((enum lease_state) -1, LEASE_QUEUED));
	cr_expect_not(lease_may_change(LEASE_QUEUED, (enum lease_state) 99));
	cr_expect_not(lease_state_over((enum lease_state) 99));
}

Test(lease, numbers_and_names)
{
	cr_expect_eq(lease_number(STR("L1042")), 1042);
	cr_expect_eq(lease_number(STR("l7")), 7);
	cr_expect_eq(lease_number(STR("1042")), 1042);
	static const char *const none[] = { "", "L", "L0", "0", "L-1", "L1x", "train", "LL1", " 1", "99999999999999999999" };
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
		cr_expect_eq(lease_number(str_of(none[i])), 0, "'%s'", none[i]);
	cr_expect(lease_name_ok(""));
	cr_expect(lease_name_ok("train-2.b_c"));
	cr_expect(lease_name_ok("L12x"));
	cr_expect_not(lease_name_ok("L12"));
	cr_expect_not(lease_name_ok("../etc"));
	char longest[SL_NAME_MAX + 1];
	memset(longest, 'a', SL_NAME_MAX);
	longest[SL_NAME_MAX] = '\0';
	cr_expect_not(lease_name_ok(longest));
	longest[SL_NAME_MAX - 1] = '\0';
	cr_expect(lease_name_ok(longest));
}

static void change(struct lease *lease, enum lease_state to, int64_t mono_ms)
{
	sl_error error;
	cr_assert_eq(lease_change(lease, to, at(mono_ms), "", &error), SL_OK, "%s", error.text);
}

Test(lease, lengths_by_the_monotonic_clock)
{
	struct lease lease = { .number = 1, .wanted = 2, .time_ms = 60000, .since_mono_ms = 0 };
	change(&lease, LEASE_QUEUED, 10);
	cr_expect_eq(lease_wait_ms(&lease, at(1000)), 1000);
	change(&lease, LEASE_GRANTED, 3000);
	change(&lease, LEASE_PREPARED, 3500);
	cr_expect_eq(lease_run_ms(&lease, at(4000)), 0, "a start costs nothing");
	change(&lease, LEASE_RUNNING, 4000);
	cr_expect_eq(lease_ends_ms(&lease), lease.started_ms + 60000);
	/* The wall clock jumps by a day: no length sees it. */
	struct lease_now jumped = { at(9000).wall_ms + 86400000, 9000 };
	cr_expect_eq(lease_run_ms(&lease, jumped), 5000);
	change(&lease, LEASE_SUSPENDING, 9500);
	cr_expect(lease_holds(&lease) && lease_run_ms(&lease, at(9700)) == 5700, "it runs until it is off its devices");
	change(&lease, LEASE_SUSPENDED, 10000);
	cr_expect_eq(lease_run_ms(&lease, at(50000)), 6000, "suspended is not running");
	cr_expect(!lease_holds(&lease) && lease_ends_ms(&lease) == 0);
	change(&lease, LEASE_RESUMING, 58000);
	cr_expect(lease_holds(&lease) && lease_run_ms(&lease, at(59000)) == 6000, "the way back costs nothing");
	cr_expect_eq(lease.granted_ms, at(58000).wall_ms, "its minimum run time counts anew");
	lease.paused_ms = 50000;
	change(&lease, LEASE_RUNNING, 60000);
	cr_expect_eq(lease_ends_ms(&lease), lease.started_ms + 50000 + 60000);
	change(&lease, LEASE_RELEASING, 61000);
	cr_expect_eq(lease_run_ms(&lease, at(61500)), 7500, "until its devices are given back");
	change(&lease, LEASE_ENDED, 62000);
	cr_expect_eq(lease_run_ms(&lease, at(99999)), 8000);
	cr_expect_eq(lease_wait_ms(&lease, at(99999)), 3000);
	cr_expect_eq(lease_device_ms(&lease, at(99999)), 16000);
	cr_expect_eq(lease_ends_ms(&lease), 0);
}

Test(lease, released_before_it_ran_costs_nothing)
{
	struct lease lease = { .number = 1, .wanted = 1, .state = LEASE_PREPARED };
	change(&lease, LEASE_RELEASING, 1000);
	cr_expect_eq(lease_run_ms(&lease, at(90000)), 0);
	change(&lease, LEASE_CANCELLED, 90000);
	cr_expect_eq(lease_device_ms(&lease, at(90000)), 0);
}

Test(lease, an_adopted_run_counts_from_its_start)
{
	struct lease lease = { .number = 1, .wanted = 1, .state = LEASE_RUNNING, .since_mono_ms = 0 };
	lease_ran_since(&lease, at(0).wall_ms - 5000, 0, at(0));
	cr_expect_eq(lease_run_ms(&lease, at(1000)), 6000);
	lease_ran_since(&lease, at(0).wall_ms - 5000, 3000, at(0));
	cr_expect_eq(lease_run_ms(&lease, at(1000)), 3000, "less what it was suspended for");
	lease_ran_since(&lease, at(0).wall_ms + 99999, 0, at(0));
	cr_expect_eq(lease_run_ms(&lease, at(0)), 0, "a start in the future is none");
}

Test(lease, suspended_and_released_it_has_no_devices)
{
	struct lease lease = { .number = 1, .wanted = 1, .state = LEASE_RUNNING, .started_ms = 1, .since_mono_ms = 0 };
	change(&lease, LEASE_SUSPENDING, 1000);
	change(&lease, LEASE_SUSPENDED, 2000);
	change(&lease, LEASE_RELEASING, 3000);
	cr_expect_not(lease_holds(&lease));
	change(&lease, LEASE_ENDED, 9000);
	cr_expect_eq(lease_run_ms(&lease, at(9000)), 2000);
}

static struct lease full(void)
{
	struct lease l = { .number = 1042, .state = LEASE_RUNNING, .final = LEASE_PREEMPTED, .name = "train", .tenant = "physics",
	                   .user = "dana", .queue = "research", .kind = "h100", .model = "m", .replica = "m/r1", .uid = 1000,
	                   .gid = UINT32_MAX, .wanted = 2, .memory_bytes = 40ull << 30, .time_ms = 7200000, .priority = -3,
	                   .preemptible = true, .with_stdin = true, .detach = true, .reason = "because \"it\" runs\n",
	                   .created_ms = 1700000000000, .granted_ms = 1700000001000, .started_ms = 1700000002000, .wait_ms = 1000,
	                   .run_ms = 500, .signal = 9, .memory_peak_bytes = 1 << 30, .oom = true };
	cr_assert(lease_init(&l));
	l.exit_code = 137;
	l.argv = json_pack("[s, s]", "python", "h\xc3\xa9.py");
	l.env = json_pack("{s:s}", "TOKEN", "secret");
	l.cwd = strdup("/home/dana");
	for (int i = 0; i < 2; i++) {
		snprintf(l.places[i].uuid, sizeof l.places[i].uuid, "GPU-%d", i);
		snprintf(l.places[i].name, sizeof l.places[i].name, "node1/gpu%d", i);
	}
	l.n_places = 2;
	return l;
}

Test(lease, record_there_and_back)
{
	struct lease l = full(), back;
	sl_error error;
	json_t *record = lease_record(&l, at(0));
	cr_assert_not(json_get_bool(record, "ended", true));
	char *text = json_text(record);
	json_t *parsed = json_parse(str_of(text), &error);
	cr_assert_eq(lease_restore(&back, parsed, at(0), &error), SL_OK, "%s", error.text);
	json_t *again = lease_record(&back, at(0));
	cr_expect(json_equal(record, again), "every member came back: %s", text);
	cr_expect_eq(back.exit_code, 137);
	cr_expect_eq(back.gid, UINT32_MAX);
	cr_expect_str_eq(back.places[1].name, "node1/gpu1");
	cr_expect_str_eq(json_get_str(back.env, "TOKEN", ""), "secret");
	free(text);
	json_decref(record);
	json_decref(parsed);
	json_decref(again);
	lease_clear(&back);
	lease_clear(&l);
}

Test(lease, what_is_over_is_kept_without_its_environment)
{
	struct lease l = full();
	change(&l, LEASE_ENDED, 1000);
	json_t *record = lease_record(&l, at(1000));
	cr_expect(json_get_bool(record, "ended", false));
	cr_expect_null(json_object_get(record, "env"));
	cr_expect_eq(json_get_int(record, "run_ms", 0), 1500);
	cr_expect_eq(json_get_int(record, "device_ms", 0), 3000);
	json_decref(record);
	lease_clear(&l);
}

Test(lease, records_that_are_wrong_are_refused_with_the_member)
{
	static const struct { const char *member, *json; } wrong[] = {
		{ "lease", "\"X1\"" }, { "lease", "1042" }, { "state", "\"flying\"" }, { "state", "null" }, { "final", "\"no\"" },
		{ "wanted", "-1" }, { "wanted", "100000" }, { "wanted", "4294967296" }, { "wanted", "1" }, { "wanted", "\"2\"" },
		{ "devices", "[]" }, { "devices", "[1,2]" }, { "devices", "[{\"uuid\":\"\",\"name\":\"\"},{}]" },
		{ "name", "7" }, { "name", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"" },
		{ "oom", "1" }, { "time_ms", "-5" }, { "priority", "3000000000" }, { "argv", "null" }, { "argv", "[]" },
		{ "run_ms", "1.5" },
	};
	struct lease l = full();
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct lease back;
		sl_error error = { 0 };
		json_t *record = lease_record(&l, at(0));
		json_object_set_new(record, wrong[i].member, json_loads(wrong[i].json, JSON_DECODE_ANY, NULL));
		cr_expect_eq(lease_restore(&back, record, at(0), &error), SL_EINVAL, "%s: %s", wrong[i].member, wrong[i].json);
		const char *named = strcmp(wrong[i].member, "wanted") == 0 && strcmp(wrong[i].json, "1") == 0 ? "devices"
		                                                                                              : wrong[i].member;
		cr_expect(strstr(error.text, named), "%s: %s says '%s'", wrong[i].member, wrong[i].json, error.text);
		json_decref(record);
	}
	lease_clear(&l);
}

Test(lease, a_waiting_lease_has_waited_while_nobody_looked)
{
	struct lease l = full(), back;
	sl_error error;
	l.state = LEASE_QUEUED;
	l.n_places = 0;
	l.wait_ms = 1000;
	l.since_mono_ms = 0;
	json_t *record = lease_record(&l, (struct lease_now){ l.created_ms + 1000, 0 });
	struct lease_now later = { l.created_ms + 61000, -777 }; /* another boot: another monotonic clock */
	cr_assert_eq(lease_restore(&back, record, later, &error), SL_OK);
	cr_expect_eq(lease_wait_ms(&back, later), 61000);
	later.mono_ms += 500;
	cr_expect_eq(lease_wait_ms(&back, later), 61500);
	json_decref(record);
	lease_clear(&back);
	lease_clear(&l);
}

Test(lease, what_people_see)
{
	struct lease l = full();
	l.places[0].price = 1;
	l.places[1].price = 694444444;
	json_t *json = lease_json(&l, at(3000), NULL);
	cr_expect_str_eq(json_get_str(json, "lease", ""), "L1042");
	cr_expect_str_eq(json_get_str(json, "holder", ""), "replica");
	cr_expect_str_eq(json_get_str(json, "cost", ""), "0.0024305555575", "3.5 s of both");
	cr_expect_str_eq(json_get_str(json, "started_at", ""), "2023-11-14T22:13:22.000Z");
	cr_expect_eq(json_array_size(json_object_get(json, "where")), 2);
	cr_expect(json_is_null(json_object_get(json, "exit_code")), "it has not ended");
	cr_expect_null(json_object_get(json, "env"), "nobody sees the environment");
	json_decref(json);
	json = lease_json(&l, at(3000), "agent away");
	cr_expect_str_eq(json_get_str(json, "reason", ""), "agent away");
	json_decref(json);
	lease_clear(&l);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* test_fleet.c - the driver with the rooms around it played by fakes.c, the routing table is the real one. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "tests/unit/fleet/fakes.h"

static uv_loop_t loop;
static struct route *route;
static struct fleet *fleet;
static char folder[64];

/* Only fakes look at it. */
static struct policy *policy(void)
{
	return (struct policy *) &fake;
}

static void setup(void)
{
	log_setup("test", SL_LOG_ERROR);
	uv_loop_init(&loop);
	fake_setup(&loop);
	route = route_new();
	strcpy(folder, "/tmp/test-fleet.XXXXXX");
	cr_assert(mkdtemp(folder));
}

static void open_fleet(void)
{
	struct fleet_options options = {
		.loop = &loop, .conf = &fake.conf, .route = route, .policy = policy(), .folder = folder, .sockets = folder, .uid = geteuid(), .gid = getegid(),
	};
	sl_error error = { 0 };
	fleet = fleet_open(&options, &error);
	cr_assert(fleet, "%s", error.text);
}

static void teardown(void)
{
	fleet_close(fleet);
	fleet = NULL;
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_expect_eq(uv_loop_close(&loop), 0, "handles are left");
	cr_expect_eq(atomic_load(&fake.conf.refs), 0, "references to the configuration are left");
	route_free(route);
	fake_teardown();
	char command[128];
	snprintf(command, sizeof command, "rm -rf '%s'", folder);
	cr_expect_eq(system(command), 0);
}
TestSuite(fleet, .init = setup, .fini = teardown, .timeout = 60);

static void on_tick(uv_timer_t *timer)
{
	(void) timer;
}

/* Runs the loop until `condition` holds, 15 s at most. */
#define RUN_UNTIL(condition) \
	do { \
		uv_timer_t tick_; \
		uv_timer_init(&loop, &tick_); \
		uv_timer_start(&tick_, on_tick, 1, 5); \
		uint64_t end_ = clock_mono_ns() + UINT64_C(15000000000); \
		while (!(condition) && clock_mono_ns() < end_) \
			uv_run(&loop, UV_RUN_ONCE); \
		uv_close((uv_handle_t *) &tick_, NULL); \
		uv_run(&loop, UV_RUN_NOWAIT); \
		cr_assert(condition, "did not happen in 15 s: %s", #condition); \
	} while (0)

static void run_for(uint64_t ms)
{
	uint64_t end = clock_mono_ns() / 1000000 + ms;
	RUN_UNTIL(clock_mono_ns() / 1000000 >= end);
}

/* A request that waits. */
struct client {
	struct route_waiter waiter;
	struct route_use use;
	bool woken;
};

static void on_wake(struct route_waiter *waiter)
{
	((struct client *) waiter)->woken = true;
}

static struct route_model *the_model(void)
{
	struct route_model *model = route_model(route, STR("tiny"), false);
	cr_assert(model);
	return model;
}

static void request(struct client *client)
{
	*client = (struct client){ .waiter.wake = on_wake };
	struct route_replica *got = NULL;
	struct route_ask ask = { .now_us = clock_mono_ns() / 1000, .use = &client->use, .may_start = true, .waiter = &client->waiter };
	enum route_result result = route_choose(the_model(), &ask, &got);
	if (result == ROUTE_CHOSEN) {
		client->waiter.replica = got;
		client->woken = true;
	}
	fleet_poke(fleet);
}

static void finish(struct client *client)
{
	route_done(&client->use, clock_mono_ns() / 1000, false, NULL);
}

static void expect_replica(size_t index, const char *name, const char *state)
{
	json_t *list = fleet_replicas(fleet);
	const json_t *r = json_array_get(list, index);
	cr_expect_str_eq(json_get_str(r, "replica", "none"), name, "replica %zu", index);
	cr_expect_str_eq(json_get_str(r, "state", "none"), state, "state of replica %zu", index);
	json_decref(list);
}

static const char *state_of_model(void)
{
	static char state[16];
	json_t *list = fleet_models(fleet);
	str_copy(state, sizeof state, str_of(json_get_str(json_array_get(list, 0), "state", "")));
	json_decref(list);
	return state;
}

/* What operators are told; callers get fleet_trouble's words. */
static const char *why_of_model(void)
{
	static char why[512];
	json_t *list = fleet_models(fleet);
	str_copy(why, sizeof why, str_of(json_get_str(json_array_get(list, 0), "why", "")));
	json_decref(list);
	return why;
}

static size_t count_replicas(void)
{
	json_t *list = fleet_replicas(fleet);
	size_t n = json_array_size(list);
	json_decref(list);
	return n;
}

Test(fleet, first_request_starts_a_replica)
{
	struct client client;
	open_fleet();
	run_for(20);
	cr_assert_eq(fake.n_leases, 0, "nobody asked yet");
	cr_expect_str_eq(state_of_model(), "none");
	request(&client);
	RUN_UNTIL(client.woken);
	cr_assert(client.waiter.replica, "it got a replica");
	cr_expect_str_eq(client.waiter.replica->name, "tiny/r1");
	cr_expect_eq(fake.n_leases, 1);
	cr_expect_str_eq(fake.leases[0].name, "tiny/r1");
	cr_expect(str_starts(str_of(fake.leases[0].listen), STR("unix:/")), "a Unix socket: %s", fake.leases[0].listen);
	expect_replica(0, "tiny/r1", "ready");
	cr_expect_str_eq(state_of_model(), "ready");
	finish(&client);
}

Test(fleet, crash_in_start_is_told_at_once_and_tried_again)
{
	struct client client;
	char text[512];
	uint64_t retry;
	fake.health_status = 0;
	fake.log = "loading\nerror: no such file: tiny.gguf\n";
	open_fleet();
	request(&client);
	RUN_UNTIL(fake.n_leases == 1 && fake.health_calls > 0);
	cr_expect_not(fleet_trouble(fleet, STR("tiny"), text, sizeof text, &retry), "starting is no trouble");
	cr_expect_str_eq(text, "model 'tiny' is starting");
	cr_expect_str_eq(why_of_model(), "is starting (tiny/r1)");
	fake_end(&fake.leases[0], 3, 0);
	RUN_UNTIL(client.woken);
	cr_expect_null(client.waiter.replica, "told that there is none");
	cr_assert(fleet_trouble(fleet, STR("tiny"), text, sizeof text, &retry));
	cr_expect(str_starts(str_of(text), STR("model 'tiny' has failed: its replica does not run. Next try in ")), "%s", text);
	cr_expect_null(strstr(text, "gguf"), "what an engine wrote is not for callers: %s", text);
	cr_expect_null(strstr(text, "exit code"), "%s", text);
	const char *why = why_of_model();
	cr_expect(strstr(why, "exit code 3"), "%s", why);
	cr_expect(strstr(why, "it wrote last: loading / error: no such file: tiny.gguf"), "the last lines: %s", why);
	cr_expect(retry > 0 && retry <= 1000, "retry in %llu ms", (unsigned long long) retry);
	cr_expect_str_eq(state_of_model(), "failed");
	expect_replica(0, "tiny/r1", "failed");
	request(&client);
	RUN_UNTIL(client.woken);
	cr_expect_null(client.waiter.replica, "in the back-off at once");
	cr_expect_eq(fake.n_leases, 1, "no start before its time");
	RUN_UNTIL(fake.n_leases == 2);
	cr_expect_str_eq(fake.leases[1].name, "tiny/r2");
	cr_expect_str_neq(fake.leases[1].listen, "", "it has an address");
}

Test(fleet, killed_engine_is_named_as_such)
{
	char text[512];
	uint64_t retry;
	fake.wanted_by_waiting = false;
	fake.wanted = 1;
	open_fleet();
	RUN_UNTIL(strcmp(state_of_model(), "ready") == 0);
	fake_end(&fake.leases[0], -1, 9);
	RUN_UNTIL(strcmp(state_of_model(), "failed") == 0);
	cr_expect_not(fleet_trouble(fleet, STR("tiny"), text, sizeof text, &retry), "it comes back in a moment: wait");
	cr_expect_null(strstr(text, "signal"), "%s", text);
	cr_expect(strstr(why_of_model(), "killed by signal 9"), "%s", why_of_model());
	RUN_UNTIL(fake.n_leases == 2);
	RUN_UNTIL(strcmp(state_of_model(), "ready") == 0);
	cr_expect_not(fleet_trouble(fleet, STR("tiny"), text, sizeof text, &retry), "all is well again");
}

Test(fleet, requests_wait_for_a_killed_engine_to_come_back)
{
	struct client first, second;
	open_fleet();
	request(&first);
	RUN_UNTIL(first.woken);
	finish(&first);
	fake_end(&fake.leases[0], -1, 9);
	request(&second);
	RUN_UNTIL(fake.n_leases == 2);
	cr_expect_not(second.woken, "not refused in the back-off");
	RUN_UNTIL(second.woken);
	cr_assert(second.waiter.replica, "it got the next one");
	cr_expect_str_eq(second.waiter.replica->name, "tiny/r2");
	finish(&second);
}

Test(fleet, a_start_that_fails_after_a_loss_is_told)
{
	struct client first, second;
	open_fleet();
	request(&first);
	RUN_UNTIL(first.woken);
	finish(&first);
	fake.health_status = 0;
	fake_end(&fake.leases[0], -1, 9);
	request(&second);
	RUN_UNTIL(fake.n_leases == 2);
	fake_end(&fake.leases[1], 3, 0);
	RUN_UNTIL(second.woken);
	cr_expect_null(second.waiter.replica);
}

Test(fleet, a_doubted_replica_gets_nothing_until_it_answers)
{
	struct client first, second;
	open_fleet();
	request(&first);
	RUN_UNTIL(first.woken);
	fake.health_status = 0;
	cr_expect(route_replica_doubt(first.waiter.replica));
	finish(&first);
	request(&second);
	unsigned calls = fake.health_calls;
	RUN_UNTIL(fake.health_calls > calls);
	run_for(50);
	cr_expect_not(second.woken);
	fake.health_status = 200;
	RUN_UNTIL(second.woken);
	cr_assert(second.waiter.replica);
	cr_expect_str_eq(second.waiter.replica->name, "tiny/r1", "the same one: it lives");
	cr_expect_eq(fake.n_leases, 1);
	finish(&second);
}

Test(fleet, start_deadline_releases_the_lease)
{
	fake.health_status = 503;
	fake.wanted_by_waiting = false;
	fake.wanted = 1;
	fake.model.start_ms = 300;
	open_fleet();
	RUN_UNTIL(fake.leases[0].released);
	expect_replica(0, "tiny/r1", "stopping");
	fake_end(&fake.leases[0], -1, 15);
	RUN_UNTIL(strcmp(state_of_model(), "failed") == 0);
	json_t *list = fleet_replicas(fleet);
	const char *why = json_get_str(json_array_get(list, 0), "why", "");
	cr_expect(strstr(why, "not ready within 300ms") && strstr(why, "status 503"), "%s", why);
	json_decref(list);
}

Test(fleet, refused_start_backs_off)
{
	struct client client;
	char text[512];
	uint64_t retry;
	fake.submit_fails = true;
	open_fleet();
	request(&client);
	RUN_UNTIL(client.woken);
	cr_expect_null(client.waiter.replica);
	cr_assert(fleet_trouble(fleet, STR("tiny"), text, sizeof text, &retry));
	cr_expect_null(strstr(text, "never fit"), "%s", text);
	cr_expect(strstr(why_of_model(), "can never fit"), "%s", why_of_model());
	fake.submit_fails = false;
	RUN_UNTIL(fake.n_leases == 1);
}

Test(fleet, engine_file_that_fails_starts_nothing)
{
	struct client client;
	char text[512];
	uint64_t retry;
	fake.command_fails = true;
	open_fleet();
	request(&client);
	RUN_UNTIL(client.woken);
	cr_expect_null(client.waiter.replica);
	cr_assert(fleet_trouble(fleet, STR("tiny"), text, sizeof text, &retry));
	cr_expect_null(strstr(text, "weights"), "%s", text);
	cr_expect(strstr(why_of_model(), "weights are missing"), "%s", why_of_model());
	cr_expect_eq(fake.n_leases, 0);
}

static void open_over_tcp(void)
{
	fake.engine.unix_socket = false;
	fake.wanted_by_waiting = false;
	fake.wanted = 1;
	open_fleet();
	RUN_UNTIL(fake.health_calls > 0);
	cr_expect(str_starts(str_of(fake.leases[0].listen), STR("127.0.0.1:")), "%s", fake.leases[0].listen);
}

Test(fleet, stranger_on_the_port_is_never_ready)
{
	/* Health is answered with 200 by whoever has the port, and the engine runs on without it. */
	fake.stranger = true;
	open_over_tcp();
	RUN_UNTIL(fake.health_calls > 2);
	expect_replica(0, "tiny/r1", "starting");
	json_t *replicas = fleet_replicas(fleet);
	const char *why = json_get_str(json_array_get(replicas, 0), "why", "");
	cr_expect(strstr(why, "not this replica's"), "%s", why);
	json_decref(replicas);
	fake.stranger = false;
	RUN_UNTIL(strcmp(state_of_model(), "ready") == 0);
}

Test(fleet, an_agent_that_is_away_says_nothing_of_ports)
{
	fake.listens_code = SL_EUNAVAILABLE;
	open_over_tcp();
	RUN_UNTIL(fake.health_calls > 2);
	expect_replica(0, "tiny/r1", "starting");
	fake.listens_code = SL_OK;
	RUN_UNTIL(strcmp(state_of_model(), "ready") == 0);
}

Test(fleet, with_an_earlier_agent_the_lease_must_outlive_the_answer)
{
	fake.listens_code = SL_EINVAL;
	open_over_tcp();
	run_for(50);
	expect_replica(0, "tiny/r1", "starting");
	fake_end(&fake.leases[0], 1, 0);
	run_for(50);
	cr_expect_str_eq(state_of_model(), "failed");
	RUN_UNTIL(fake.n_leases == 2);
	RUN_UNTIL(strcmp(state_of_model(), "ready") == 0);
}

Test(fleet, stop_drains_and_start_brings_back)
{
	struct client client;
	sl_error error = { 0 };
	char text[512];
	uint64_t retry;
	open_fleet();
	request(&client);
	RUN_UNTIL(client.woken);
	cr_assert_eq(fleet_stop(fleet, "tiny", &error), SL_OK);
	run_for(250);
	expect_replica(0, "tiny/r1", "draining");
	cr_expect_not(fake.leases[0].released, "a request is under way");
	finish(&client);
	RUN_UNTIL(fake.leases[0].released);
	fake_end(&fake.leases[0], 0, 0);
	RUN_UNTIL(count_replicas() == 0);
	request(&client);
	RUN_UNTIL(client.woken);
	cr_expect_null(client.waiter.replica, "stopped means stopped");
	cr_assert(fleet_trouble(fleet, STR("tiny"), text, sizeof text, &retry));
	cr_expect_str_eq(text, "model 'tiny' was stopped by an operator");
	cr_expect(strstr(why_of_model(), "sluicectl models start tiny"), "%s", why_of_model());
	cr_assert_eq(fleet_start(fleet, "tiny", &error), SL_OK);
	RUN_UNTIL(fake.n_leases == 2);
	cr_expect_eq(fleet_start(fleet, "tony", &error), SL_ENOTFOUND);
	cr_assert_eq(fleet_start(fleet, "tiny", &error), SL_OK);
	RUN_UNTIL(fake.n_leases == 3);
	cr_expect_eq(fleet_start(fleet, "tiny", &error), SL_ECONFLICT, "two are allowed");
}

Test(fleet, idle_replica_goes)
{
	struct client client;
	fake.model.idle_ms = 200;
	open_fleet();
	request(&client);
	RUN_UNTIL(client.woken);
	run_for(400);
	cr_expect_not(fake.leases[0].released, "in use");
	finish(&client);
	RUN_UNTIL(fake.leases[0].released);
	struct stat st;
	char path[160];
	str_copy(path, sizeof path, str_of(fake.leases[0].listen + 5));
	FILE *file = fopen(path, "w");
	cr_assert(file);
	fclose(file);
	fake_end(&fake.leases[0], 0, 0);
	cr_expect_neq(stat(path, &st), 0, "its socket file is removed");
	RUN_UNTIL(count_replicas() == 0);
	cr_expect_str_eq(state_of_model(), "none", "no failure");
}

Test(fleet, sick_replica_is_replaced)
{
	fake.wanted_by_waiting = false;
	fake.wanted = 1;
	open_fleet();
	RUN_UNTIL(strcmp(state_of_model(), "ready") == 0);
	fake.health_status = 0;
	RUN_UNTIL(fake.leases[0].released);
	fake.health_status = 200;
	RUN_UNTIL(fake.n_leases == 2);
	RUN_UNTIL(strcmp(state_of_model(), "ready") == 0);
}

/* A lease as the pool has it after a restart, and the note that an earlier run has left; listen NULL: none. */
static json_t *old_lease(const char *model, const char *name, const char *state, const char *listen, const char *definition)
{
	char path[128];
	struct fake_lease *l = &fake.leases[fake.n_leases++];
	*l = (struct fake_lease){ .number = 1000 + fake.n_leases };
	strcpy(l->name, name);
	strcpy(l->model, model);
	strcpy(l->state, state);
	snprintf(path, sizeof path, "%s/L%llu.replica", folder, (unsigned long long) l->number);
	FILE *note = listen ? fopen(path, "w") : NULL;
	if (note) {
		strcpy(l->listen, listen);
		fprintf(note, "%s\n%s\n", listen, definition);
		fclose(note);
	}
	return json_pack("{s:o, s:s, s:s, s:s, s:s, s:s}", "lease", json_sprintf("L%llu", (unsigned long long) l->number), "name", name,
	                 "replica", name, "holder", "replica", "model", model, "state", state);
}

static bool exists(const char *file)
{
	char path[256];
	struct stat st;
	snprintf(path, sizeof path, "%s/%s", folder, file);
	return stat(path, &st) == 0;
}

static void touch(const char *file)
{
	char path[256];
	snprintf(path, sizeof path, "%s/%s", folder, file);
	FILE *made = fopen(path, "w");
	cr_assert(made, "%s", path);
	fclose(made);
}

static void read_definition(char out[32])
{
	char path[128], listen[200];
	snprintf(path, sizeof path, "%s/L1001.replica", folder);
	FILE *note = fopen(path, "r");
	cr_assert(note);
	cr_assert_eq(fscanf(note, "%199s %31s", listen, out), 2);
	fclose(note);
}

Test(fleet, replicas_of_an_earlier_run_are_adopted)
{
	char definition[32], listen[170];
	fake.wanted_by_waiting = false;
	fake.wanted = 1;
	open_fleet();
	RUN_UNTIL(fake.n_leases == 1);
	read_definition(definition);
	cr_assert_eq(strlen(definition), 16);
	fleet_close(fleet);
	uv_run(&loop, UV_RUN_DEFAULT);

	fake.n_leases = 0;
	touch("r7.sock");
	touch("r8.sock");
	touch("L77.replica");
	touch("other");
	snprintf(listen, sizeof listen, "unix:%s/r7.sock", folder);
	fake.adopt = json_array();
	json_array_append_new(fake.adopt, old_lease("tiny", "tiny/r41", "running", listen, definition));
	json_array_append_new(fake.adopt, old_lease("tiny", "tiny/r39", "ended", listen, definition));
	json_array_append_new(fake.adopt, old_lease("gone", "gone/r1", "running", "127.0.0.1:9", definition));
	json_array_append_new(fake.adopt, old_lease("tiny", "tiny/r40", "running", NULL, definition));
	json_array_append_new(fake.adopt, old_lease("tiny", "tiny/r38", "running", "", definition));
	open_fleet();
	RUN_UNTIL(strcmp(state_of_model(), "ready") == 0);
	expect_replica(0, "tiny/r41", "ready");
	cr_expect_not(fake.leases[0].released);
	cr_expect(fake.leases[3].released, "one whose address is lost is ended");
	cr_expect(fake.leases[4].released, "one whose address makes no sense, too");
	RUN_UNTIL(fake.leases[2].released);
	cr_expect(exists("r7.sock") && exists("L1001.replica") && exists("other"), "what is in use or not ours stays");
	cr_expect_not(exists("r8.sock") || exists("L77.replica") || exists("L1002.replica"), "what nobody uses goes");
	cr_expect_eq(fake.n_leases, 5, "nothing new was started");
	fake_end(&fake.leases[2], 0, 0);
	fake_end(&fake.leases[0], 1, 0);
	cr_expect_not(exists("r7.sock") || exists("L1001.replica"), "gone with its replica");
	RUN_UNTIL(fake.n_leases == 6);
	cr_expect_str_eq(fake.leases[5].name, "tiny/r42", "numbers go on");
}

Test(fleet, adopted_replica_of_another_definition_is_replaced)
{
	fake.wanted_by_waiting = false;
	fake.wanted = 1;
	fake.adopt = json_array();
	json_array_append_new(fake.adopt, old_lease("tiny", "tiny/r1", "running", "127.0.0.1:9", "0123456789abcdef"));
	open_fleet();
	RUN_UNTIL(fake.leases[0].released);
	expect_replica(1, "tiny/r2", "ready");
}

Test(fleet, changed_definition_replaces_one_by_one)
{
	fake.wanted_by_waiting = false;
	fake.wanted = 1;
	open_fleet();
	RUN_UNTIL(strcmp(state_of_model(), "ready") == 0);
	fake.model.price.input = 7;
	fleet_configure(fleet, &fake.conf, policy());
	run_for(100);
	cr_expect_eq(fake.n_leases, 1, "a price asks for no restart");
	fake.command = "serve2";
	fleet_configure(fleet, &fake.conf, policy());
	RUN_UNTIL(fake.n_leases == 2);
	cr_expect_not(fake.leases[0].released, "it serves until the new one does");
	RUN_UNTIL(fake.leases[0].released);
	expect_replica(1, "tiny/r2", "ready");
}

Test(fleet, removed_model_drains)
{
	struct client client;
	open_fleet();
	request(&client);
	RUN_UNTIL(client.woken);
	fake.conf.n_models = 0;
	fleet_configure(fleet, &fake.conf, policy());
	run_for(200);
	expect_replica(0, "tiny/r1", "draining");
	finish(&client);
	RUN_UNTIL(fake.leases[0].released);
	fake_end(&fake.leases[0], 0, 0);
	RUN_UNTIL(count_replicas() == 0);
	fake.conf.n_models = 1;
	fleet_configure(fleet, &fake.conf, policy());
	request(&client);
	RUN_UNTIL(client.woken);
	cr_expect(client.waiter.replica, "it can come back");
	finish(&client);
}

Test(fleet, concurrency_changes_without_a_restart)
{
	struct client client;
	open_fleet();
	request(&client);
	RUN_UNTIL(client.woken);
	finish(&client);
	fake.model.concurrency = 9;
	fleet_configure(fleet, &fake.conf, policy());
	request(&client);
	cr_assert(client.woken);
	cr_expect_eq(client.waiter.replica->concurrency, 9);
	cr_expect_eq(fake.n_leases, 1);
	finish(&client);
}

Test(fleet, endpoints_are_ready_at_once)
{
	struct conf_endpoint endpoints[2] = { { .url = "http://a:1", .key = "secret" }, { .url = "http://b:1", .concurrency = 2 } };
	struct client client;
	sl_error error;
	strcpy(endpoints[0].address.host, "a:1");
	strcpy(endpoints[1].address.host, "b:1");
	fake.engine.can_start = false;
	fake.model.endpoints = endpoints;
	fake.model.n_endpoints = 2;
	open_fleet();
	expect_replica(0, "tiny/e1", "ready");
	expect_replica(1, "tiny/e2", "ready");
	cr_expect_str_eq(state_of_model(), "ready");
	request(&client);
	cr_assert(client.woken);
	struct route_replica *before = client.waiter.replica;
	fleet_configure(fleet, &fake.conf, policy());
	cr_expect_eq(atomic_load(&before->state), ROUTE_READY, "nothing changed");
	endpoints[0].key = "other";
	fleet_configure(fleet, &fake.conf, policy());
	cr_expect_eq(atomic_load(&before->state), ROUTE_GONE);
	cr_expect_eq(count_replicas(), 2);
	finish(&client);
	run_for(30);
	cr_expect_eq(fake.n_leases, 0, "they are not started");
	cr_expect_eq(fleet_stop(fleet, "tiny", &error), SL_ECONFLICT);
	json_t *list = fleet_models(fleet);
	char *text = json_text(list);
	cr_expect(strstr(text, "\"input\":\"0.10\""), "%s", text);
	cr_expect_null(strstr(text, "other"), "no key in a view: %s", text);
	free(text);
	json_decref(list);
}

Test(fleet, policy_that_fails_keeps_the_number)
{
	struct client client;
	fake.wanted_by_waiting = false;
	fake.wanted = -1;
	open_fleet();
	run_for(50);
	cr_expect_eq(fake.n_leases, 0);
	request(&client);
	RUN_UNTIL(client.woken);
	cr_assert(client.waiter.replica);
	finish(&client);
	cr_expect_eq(fake.n_leases, 1);
}

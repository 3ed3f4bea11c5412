/* SPDX-License-Identifier: Apache-2.0 */
/* test_liar.c - a scheduler that lies, one that fails, one that preempts; and the start of an agent. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/json.h"
#include "core/base/metrics.h"
#include "core/base/str.h"
#include "core/pool/inner.h"
#include "tests/unit/pool/harness.h"

static uint64_t refused(void)
{
	return metrics_value(metrics_counter("sluice_scheduler_refused_total", "Answers of the scheduler that broke an invariant", ""));
}

static unsigned rounds;

/* Everything wrong first, and last the one right action: lease 1 gets device 0. */
static int lie(void *self, const sl_view *view, sl_action *out, size_t room, size_t *n, sl_error *error)
{
	static uint32_t zero[] = { 0 }, twice[] = { 0, 0 }, far[] = { 4000000000u };
	const sl_action lies[] = {
		{ .type = 77, .lease = 1 },
		{ .type = SL_ACTION_GRANT, .lease = 999, .n_devices = 1, .devices = zero },
		{ .type = SL_ACTION_GRANT, .lease = 0, .n_devices = 1, .devices = zero },
		{ .type = SL_ACTION_GRANT, .lease = 1, .n_devices = 1, .devices = far },
		{ .type = SL_ACTION_GRANT, .lease = 1, .n_devices = 1, .devices = NULL },
		{ .type = SL_ACTION_GRANT, .lease = 1, .n_devices = 0, .devices = zero },
		{ .type = SL_ACTION_GRANT, .lease = 1, .n_devices = 4000000000u, .devices = zero },
		{ .type = SL_ACTION_GRANT, .lease = 2, .n_devices = 2, .devices = twice },
		{ .type = SL_ACTION_PREEMPT, .lease = 1 },
		{ .type = SL_ACTION_GRANT, .lease = 1, .n_devices = 1, .devices = zero },
		{ .type = SL_ACTION_GRANT, .lease = 1, .n_devices = 1, .devices = zero }, /* again */
		{ .type = SL_ACTION_GRANT, .lease = 3, .n_devices = 1, .devices = zero }, /* the same device */
	};
	(void) self;
	(void) error;
	rounds++;
	*n = 0;
	if (view->n_waiting < 3)
		return SL_OK;
	for (; *n < sizeof lies / sizeof lies[0] && *n < room; ++*n) {
		out[*n] = lies[*n];
		memset(out[*n].reason, 'x', sizeof out[*n].reason); /* no end */
	}
	return SL_OK;
}

static int explain_without_end(void *self, const sl_view *view, uint64_t number, char *text, size_t room)
{
	(void) self;
	(void) view;
	(void) number;
	memset(text, 0xff, room);
	return SL_OK;
}

static const sl_scheduler_ops liar = { .size = sizeof liar, .plan = lie, .explain = explain_without_end };

Test(liar, every_wrong_answer_is_refused_and_the_right_one_done)
{
	struct world *w = world_new(2);
	world_close_pool(w);
	w->scheduler = &liar;
	world_open_pool(w);
	uint64_t before = refused();
	uint64_t a = submit(w, "a", 1), b = submit(w, "b", 2), c = submit(w, "c", 1);
	cr_assert(world_state(w, a, "running"));
	world_settle(w);
	cr_expect_eq(refused() - before, 11);
	cr_expect_str_eq(member(w, b, "state"), "queued");
	cr_expect_str_eq(member(w, c, "state"), "queued");
	cr_expect_str_eq(device_member(w, 0, "lease"), "L1");
	cr_expect_str_eq(device_member(w, 1, "state"), "free");
	cr_expect_lt(rounds, 20, "lies do not make it spin");
	world_free(w);
}

static int claims_too_many(void *self, const sl_view *view, sl_action *out, size_t room, size_t *n, sl_error *error)
{
	static uint32_t zero[] = { 0 };
	(void) self;
	(void) view;
	(void) error;
	rounds++;
	for (size_t i = 0; i < room; i++)
		out[i] = (sl_action){ .type = SL_ACTION_GRANT, .lease = 12345, .n_devices = 1, .devices = zero };
	*n = SIZE_MAX;
	return SL_OK;
}

static const sl_scheduler_ops boaster = { .size = sizeof boaster, .plan = claims_too_many };

Test(liar, more_actions_than_there_was_room_for)
{
	struct world *w = world_new(1);
	world_close_pool(w);
	w->scheduler = &boaster;
	world_open_pool(w);
	uint64_t a = submit(w, "a", 1);
	world_settle(w);
	cr_expect_str_eq(member(w, a, "state"), "queued");
	cr_expect(strstr(member(w, a, "reason"), "turn"), "the core's own words: %s", member(w, a, "reason"));
	cr_expect_lt(rounds, 20, "a full answer of lies asks for no more of them");
	world_free(w);
}

static int fails(void *self, const sl_view *view, sl_action *out, size_t room, size_t *n, sl_error *error)
{
	(void) self;
	(void) view;
	(void) out;
	(void) room;
	*n = 5;
	memset(error->text, 'e', sizeof error->text);
	return error->code = SL_EINTERNAL;
}

static const sl_scheduler_ops broken = { .size = sizeof broken, .plan = fails };

Test(liar, one_that_fails)
{
	struct world *w = world_new(1);
	world_close_pool(w);
	w->scheduler = &broken;
	world_open_pool(w);
	uint64_t before = refused(), a = submit(w, "a", 1);
	world_settle(w);
	cr_expect_gt(refused(), before);
	cr_expect_str_eq(member(w, a, "state"), "queued");
	world_free(w);
}

/* The newest waiting lease gets device 0; whoever runs there and may be asked gives way. */
static int preempts(void *self, const sl_view *view, sl_action *out, size_t room, size_t *n, sl_error *error)
{
	static uint32_t zero[] = { 0 };
	(void) self;
	(void) room;
	(void) error;
	*n = 0;
	if (view->n_waiting && view->devices[0].state == SL_DEVICE_FREE)
		out[(*n)++] = (sl_action){ .type = SL_ACTION_GRANT, .lease = view->waiting[0].number, .n_devices = 1, .devices = zero };
	else if (view->n_waiting && view->n_running)
		out[(*n)++] = (sl_action){ .type = SL_ACTION_PREEMPT, .lease = view->running[0].number, .reason = "L2 is more urgent" };
	return SL_OK;
}

static const sl_scheduler_ops preemptor = { .size = sizeof preemptor, .plan = preempts };

static bool asked_stop(struct world *w, uint64_t number)
{
	return agent_asked(w, "stop", number) > 0;
}

Test(liar, preemption_of_those_who_may_be_asked)
{
	struct world *w = world_new(1);
	world_close_pool(w);
	w->scheduler = &preemptor;
	world_open_pool(w);
	uint64_t number;
	json_t *argv = json_pack("[s]", "x");
	struct pool_request r = { .tenant = "t", .user = "u", .devices = 1, .argv = argv, .preemptible = true };
	cr_assert_eq(pool_submit(w->pool, &r, &number, NULL), SL_OK);
	cr_assert(world_state(w, number, "running"));
	uint64_t urgent;
	cr_assert_eq(pool_submit(w->pool, &(struct pool_request){ .tenant = "t", .user = "u", .devices = 1, .argv = argv,
	                                                          .priority = 1 }, &urgent, NULL), SL_OK);
	json_decref(argv);
	cr_assert(world_until(w, asked_stop, number));
	agent_end(w, number, 0, 15);
	cr_assert(world_state(w, number, "preempted"));
	cr_expect_str_eq(member(w, number, "reason"), "L2 is more urgent");
	cr_assert(world_state(w, urgent, "running"));
	submit(w, "third", 1);
	world_settle(w);
	cr_expect_str_eq(member(w, urgent, "state"), "running", "this one is not preemptible");
	world_free(w);
}

static char script[128], proof[128];

static bool started(struct world *w, uint64_t arg)
{
	(void) w;
	(void) arg;
	struct stat st;
	return stat(proof, &st) == 0 && st.st_size > 0;
}

Test(start, an_agent_of_its_own)
{
	struct world *w = world_new(1);
	sl_error error = { 0 };
	char line[1024] = "";
	snprintf(script, sizeof script, "%s/agent.sh", w->folder);
	snprintf(proof, sizeof proof, "%s/proof", w->folder);
	FILE *f = fopen(script, "w");
	fprintf(f, "#!/bin/sh\n{ echo \"$@\"; ls /proc/$$/fd | tr '\\n' ' '; ps -o pid=,sid= -p $$; } > %s.new\necho hello\nmv %s.new %s\n",
	        proof, proof, proof);
	fclose(f);
	cr_expect_eq(start_spawn(&w->conf, script, 1234, &error), SL_EIO, "not executable");
	cr_expect(strstr(error.text, "agent.sh"), "%s", error.text);
	chmod(script, 0700);
	struct conf_plugin plugins[] = { { .kind = "backend", .name = "sim", .options = json_pack("{s:i}", "devices", 4) },
	                                 { .kind = "scheduler", .name = "fifo" } };
	w->conf.plugins = plugins;
	w->conf.n_plugins = 2;
	cr_assert_eq(start_spawn(&w->conf, script, 1234, &error), SL_OK, "%s", error.text);
	cr_assert(world_until(w, started, 0));
	f = fopen(proof, "r");
	cr_assert_not_null(f);
	cr_assert_not_null(fgets(line, sizeof line, f));
	char wanted[1024];
	/* Root's agent has a folder that nobody else can write. */
	char home[160];
	snprintf(home, sizeof home, "%s%s", w->folder, geteuid() == 0 ? "-agent" : "/agent");
	snprintf(wanted, sizeof wanted, "--config %s/agent.json --socket %s --state %s --allow-uid 1234\n", home, w->agent.path, home);
	cr_expect_str_eq(line, wanted);
	fclose(f);
	char path[200];
	snprintf(path, sizeof path, "%s/agent.json", home);
	json_t *config = json_load_file(path, 0, NULL);
	cr_assert_not_null(config);
	json_t *backends = json_object_get(config, "backends");
	cr_expect_eq(json_array_size(backends), 1, "only what is the agent's");
	cr_expect_str_eq(json_get_str(json_array_get(backends, 0), "name", ""), "sim");
	cr_expect_eq(json_get_int(json_object_get(json_array_get(backends, 0), "options"), "devices", 0), 4);
	cr_expect_str_eq(json_get_str(json_object_get(config, "launcher"), "name", ""), "exec");
	json_decref(config);
	json_decref(plugins[0].options);
	w->conf.n_plugins = 0;
	unlink(path);
	snprintf(path, sizeof path, "%s/agent.log", home);
	unlink(path);
	rmdir(home);
	world_free(w);
}

Test(start, again_less_and_less_often)
{
	static const int64_t waits[] = { 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000 };
	for (unsigned i = 0; i < sizeof waits / sizeof waits[0]; i++)
		cr_expect_eq(agent_start_wait_ms(i), waits[i], "%u", i);
	cr_expect_eq(agent_start_wait_ms(~0u), 60000);
}

Test(start, one_that_answers_is_left_alone)
{
	struct world *w = world_new(1);
	sl_error error = { 0 };
	w->conf.start_agent = true;
	cr_expect_eq(pool_start_agent(&w->conf, "/nowhere/agent", 0, &error), SL_OK);
	agent_down(w);
	cr_expect_eq(pool_start_agent(&w->conf, "/nowhere/agent", 0, &error), SL_EIO);
	cr_expect(strstr(error.text, "/nowhere/agent"), "%s", error.text);
	w->conf.start_agent = false;
	cr_expect_eq(pool_start_agent(&w->conf, "/nowhere/agent", 0, &error), SL_OK, "not ours to start");
	world_free(w);
}

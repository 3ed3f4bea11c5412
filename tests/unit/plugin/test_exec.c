/* SPDX-License-Identifier: Apache-2.0 */
/* test_exec.c - what launcher/exec makes of a command. */
#include <criterion/criterion.h>
#include <sluice/launcher.h>

#include "tests/unit/plugin/fixture.h"

/* Everything that was added, a line each. */
struct plan {
	char text[1024];
	int room; /* calls that succeed; -1: all */
};

static int note(struct plan *p, const char *what, const char *a, const char *b)
{
	if (p->room == 0)
		return SL_EFULL;
	p->room -= p->room > 0;
	snprintf(p->text + strlen(p->text), sizeof p->text - strlen(p->text), "%s %s%s%s\n", what, a, b ? "=" : "", b ? b : "");
	return SL_OK;
}

static int add_arg(void *ctx, const char *arg)
{
	return note(ctx, "arg", arg, NULL);
}

static int add_env(void *ctx, const char *name, const char *value)
{
	return note(ctx, "env", name, value);
}

static int set_cwd(void *ctx, const char *cwd)
{
	return note(ctx, "cwd", cwd, NULL);
}

static const char *const argv[] = { "python3", "train.py", "--name", "a b", NULL };
static const char *const env[] = { "PATH=/bin", "EMPTY=", "A=b=c", "=odd", "odd", NULL };
static const char *const devices[] = { "GPU-1", "GPU-2" };
static const sl_launch_request full = { .size = sizeof full, .n_devices = 2, .lease = "L1042", .argv = argv, .env = env,
	                                .cwd = "/home/ada", .devices = devices };

static int run(const sl_launch_request *request, struct plan *p, sl_error *error)
{
	enum plugin_refusal refusal;
	memset(error, 0, sizeof *error);
	struct plugin *plugin = fixture_open("plugins/launcher/exec", "exec", NULL, NULL, &refusal, error);
	if (!plugin)
		cr_skip_test("launcher/exec was not built, or: %s", error->text);
	const sl_launcher_ops *ops = plugin_ops(plugin);
	sl_launch_plan plan = { .size = sizeof plan, .ctx = p, .add_arg = add_arg, .add_env = add_env, .set_cwd = set_cwd };
	int code = ops->plan(plugin_self(plugin), request, &plan, error);
	plugin_close(plugin, 0);
	return code;
}

Test(launcher_exec, as_it_is)
{
	struct plan p = { .room = -1 };
	sl_error error;
	cr_assert_eq(run(&full, &p, &error), SL_OK, "%s", error.text);
	cr_expect_str_eq(p.text, "arg python3\narg train.py\narg --name\narg a b\nenv PATH=/bin\nenv EMPTY=\nenv A=b=c\n"
	                         "env SLUICE_LEASE=L1042\nenv SLUICE_DEVICES=GPU-1,GPU-2\ncwd /home/ada\n");
}

Test(launcher_exec, little)
{
	static const char *const one[] = { "true", NULL };
	struct plan p = { .room = -1 };
	sl_error error;
	sl_launch_request request = { .size = sizeof request, .lease = "L1", .argv = one };
	cr_assert_eq(run(&request, &p, &error), SL_OK, "%s", error.text);
	cr_expect_str_eq(p.text, "arg true\nenv SLUICE_LEASE=L1\nenv SLUICE_DEVICES=\n");
}

Test(launcher_exec, refusals)
{
	static const char *const none[] = { NULL }, *const empty[] = { "", NULL };
	struct plan p = { .room = -1 };
	sl_error error;
	sl_launch_request request = full;
	request.argv = none;
	cr_expect_eq(run(&request, &p, &error), SL_EINVAL);
	cr_expect(strstr(error.text, "the command is empty"), "%s", error.text);
	request.argv = empty;
	cr_expect_eq(run(&request, &p, &error), SL_EINVAL);
	request.argv = NULL;
	cr_expect_eq(run(&request, &p, &error), SL_EINVAL);
	/* The agent may refuse at any call: nothing after it is tried, and the reason is passed on. */
	for (int room = 0; room < 10; room++) {
		struct plan small = { .room = room };
		cr_expect_eq(run(&full, &small, &error), SL_EFULL, "room for %d", room);
		cr_expect(strstr(error.text, "shorten the command"), "%s", error.text);
	}
	struct plan enough = { .room = 10 };
	cr_expect_eq(run(&full, &enough, &error), SL_OK);
}

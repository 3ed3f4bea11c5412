/* SPDX-License-Identifier: Apache-2.0 */
/* test_instance.c - options, several instances of a file, new options while running, plugins of an older ABI. */
#include <criterion/criterion.h>
#include <sluice/auth.h>
#include <sluice/scheduler.h>

#include "core/base/metrics.h"
#include "core/plugin/plugin_private.h"
#include "tests/unit/plugin/fixture.h"

static struct plugin *open_options(const char *options, sl_error *error)
{
	enum plugin_refusal refusal = PLUGIN_FINE;
	struct plugin *p = fixture_open("tests/abi/bad", "options", options, NULL, &refusal, error);
	if (!p)
		cr_expect_eq(refusal, PLUGIN_OPTION, "%s", options);
	return p;
}

/* What the instance has read. */
static const char *seen(struct plugin *p)
{
	static sl_action action;
	const sl_scheduler_ops *ops = plugin_ops(p);
	sl_view view = { .size = sizeof view };
	size_t n = 0;
	cr_assert_eq(ops->plan(plugin_self(p), &view, &action, 1, &n, NULL), SL_OK);
	return action.reason;
}

static void expect_seen(const char *options, const char *words)
{
	sl_error error = { 0 };
	struct plugin *p = open_options(options, &error);
	cr_assert(p, "%s: %s", options, error.text);
	cr_expect_str_eq(seen(p), words, "%s gives %s", options, seen(p));
	cr_expect(plugin_close(p, 0));
}

Test(plugin_options, values_and_defaults)
{
	expect_seen("{\"password\":\"x\"}",
	            "flag=1 depth=5 delay=90000 room=4096 title=- mode=pack password=x file= more=");
	expect_seen("{\"password\":\"x\",\"flag\":false,\"depth\":9,\"delay\":\"2m\",\"room\":\"1M\",\"title\":\"t\","
	            "\"mode\":\"spread\",\"file\":\"/a/b\",\"more\":{\"a\":[1,2]}}",
	            "flag=0 depth=9 delay=120000 room=1048576 title=t mode=spread password=x file=/a/b more={\"a\":[1,2]}");
	expect_seen("{\"password\":\"x\",\"delay\":1500,\"room\":77,\"title\":\"\",\"more\":[]}",
	            "flag=1 depth=5 delay=1500 room=77 title= mode=pack password=x file= more=[]");
	expect_seen("{\"password\":\"x\",\"depth\":null}",
	            "flag=1 depth=5 delay=90000 room=4096 title=- mode=pack password=x file= more=");
}

Test(plugin_options, refusals)
{
	static const char *const bad[][2] = {
		{ "{}", "option 'password' is missing: what opens the door" },
		{ "{\"password\":\"x\",\"dept\":3}", "option 'dept' is unknown; did you mean 'depth'?" },
		{ "{\"password\":\"x\",\"zzzzzzzz\":3}", "there are: flag, depth, delay" },
		{ "{\"password\":\"x\",\"flag\":1}", "option 'flag': expected true or false" },
		{ "{\"password\":\"x\",\"depth\":\"5\"}", "option 'depth': expected a whole number" },
		{ "{\"password\":\"x\",\"depth\":1.5}", "option 'depth': expected a whole number" },
		{ "{\"password\":\"x\",\"depth\":0}", "0 is out of range, expected 1 to 9" },
		{ "{\"password\":\"x\",\"depth\":10}", "10 is out of range, expected 1 to 9" },
		{ "{\"password\":\"x\",\"delay\":\"soon\"}", "'soon' is not a duration" },
		{ "{\"password\":\"x\",\"delay\":\"11m\"}", "660000 is out of range, expected 0 to 600000 milliseconds" },
		{ "{\"password\":\"x\",\"delay\":-1}", "must not be negative" },
		{ "{\"password\":\"x\",\"room\":true}", "option 'room': expected a size" },
		{ "{\"password\":\"x\",\"room\":\"4Q\"}", "'4Q' is not a size" },
		{ "{\"password\":\"x\",\"title\":5}", "option 'title': expected a string" },
		{ "{\"password\":\"x\",\"mode\":\"spred\"}", "'spred' is none of spread|pack; did you mean 'spread'?" },
		{ "{\"password\":\"x\",\"file\":\"\"}", "option 'file': is empty" },
		{ "{\"password\":\"\"}", "option 'password': is empty" },
		{ "{\"password\":\"env:SLUICE_TEST_NO_SUCH\"}", "the environment has no SLUICE_TEST_NO_SUCH" },
		{ "{\"password\":\"file:/nonexistent/x\"}", "cannot open /nonexistent/x" },
		{ "{\"password\":\"file:/dev/zero\"}", "no regular file" },
		{ "{\"password\":\"file:/\"}", "no regular file" },
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		sl_error error = { 0 };
		struct plugin *p = open_options(bad[i][0], &error);
		cr_expect_null(p, "%s is refused", bad[i][0]);
		cr_expect(strstr(error.text, bad[i][1]), "%s: '%s' stands in: %s", bad[i][0], bad[i][1], error.text);
		plugin_close(p, 0);
	}
	json_t *list = json_array();
	struct plugin_spec spec = { .name = fixture_plugin("tests/abi/bad", "options"), .options = list };
	sl_error error = { 0 };
	cr_expect(plugin_check(&spec, NULL, NULL, &error) < 0 && strstr(error.text, "expected a table"), "%s", error.text);
	json_decref(list);
}

Test(plugin_options, secrets)
{
	char options[PATH_MAX + 64], path[PATH_MAX];
	sl_error error = { 0 };
	snprintf(path, sizeof path, "%s", fixture_file("secret", "sesame\r\n\n", 9));
	snprintf(options, sizeof options, "{\"password\":\"file:%s\"}", path);
	cr_expect_null(open_options(options, &error));
	cr_expect(strstr(error.text, "mode 0644") && strstr(error.text, "chmod 0600"), "%s", error.text);
	chmod(path, 0600);
	expect_seen(options, "flag=1 depth=5 delay=90000 room=4096 title=- mode=pack password=sesame file= more=");
	setenv("SLUICE_TEST_SECRET", "open", 1);
	expect_seen("{\"password\":\"env:SLUICE_TEST_SECRET\"}",
	            "flag=1 depth=5 delay=90000 room=4096 title=- mode=pack password=open file= more=");
	static char big[70000];
	memset(big, 'a', sizeof big);
	chmod(fixture_file("secret", big, sizeof big), 0600);
	cr_expect_null(open_options(options, &error));
	cr_expect(strstr(error.text, "at most 65536 bytes"), "%s", error.text);
	chmod(fixture_file("secret", "\n", 1), 0600);
	cr_expect_null(open_options(options, &error));
	cr_expect(strstr(error.text, "is empty"), "%s", error.text);
	/* No sentence ever shows the value. */
	cr_expect_null(open_options("{\"password\":\"hunter2\",\"depth\":0}", &error));
	cr_expect_null(strstr(error.text, "hunter2"), "%s", error.text);
}

static int reconfigure(struct plugin *p, const char *options, sl_error *error)
{
	json_t *json = json_loads(options, 0, NULL);
	int code = plugin_reconfigure(p, json, error);
	json_decref(json);
	return code;
}

Test(plugin_options, reconfigure)
{
	sl_error error = { 0 };
	struct plugin *p = open_options("{\"password\":\"x\",\"title\":\"t\"}", &error);
	cr_assert(p, "%s", error.text);
	cr_expect_eq(reconfigure(p, "{\"password\":\"x\",\"title\":\"t\",\"depth\":7}", &error), SL_OK, "%s", error.text);
	cr_expect(strstr(seen(p), "depth=7"), "%s", seen(p));
	cr_expect_eq(reconfigure(p, "{\"password\":\"x\",\"title\":\"u\",\"depth\":7}", &error), SL_ENOTSUP);
	cr_expect(strstr(error.text, "plugin scheduler/options: option 'title' cannot be changed"), "%s", error.text);
	cr_expect_eq(reconfigure(p, "{\"password\":\"x\",\"title\":\"t\",\"depth\":4}", &error), SL_EINVAL);
	cr_expect(strstr(error.text, "four is right out"), "%s", error.text);
	cr_expect_eq(reconfigure(p, "{\"password\":\"x\",\"title\":\"t\",\"depth\":40}", &error), SL_EINVAL);
	cr_expect(strstr(error.text, "out of range"), "%s", error.text);
	cr_expect(strstr(seen(p), "depth=7"), "the old value stays: %s", seen(p));
	cr_expect_eq(reconfigure(p, "{\"password\":\"x\",\"title\":\"t\"}", &error), SL_OK);
	cr_expect(strstr(seen(p), "depth=5"), "back to the default: %s", seen(p));
	plugin_close(p, 0);
}

Test(plugin_instance, two_of_one_file)
{
	sl_error error = { 0 };
	struct plugin *a = open_options("{\"password\":\"one\"}", &error), *b = open_options("{\"password\":\"two\"}", &error);
	cr_assert(a && b, "%s", error.text);
	cr_expect_neq(plugin_self(a), plugin_self(b));
	cr_expect(strstr(seen(a), "password=one"));
	cr_expect(strstr(seen(b), "password=two"));
	cr_expect(plugin_close(a, 0));
	cr_expect(strstr(seen(b), "password=two"), "one's end does not touch the other");
	cr_expect_str_eq(plugin_version(b), "2.1");
	cr_expect(strstr(plugin_path(b), "/options.so"));
	cr_expect_eq(metrics_value(metrics_counter("sluice_plugin_events_total", "", "plugin,event", "scheduler/options", "asked")),
	             6, "three plans counted two each");
	plugin_close(b, 0);
	cr_expect(plugin_close(NULL, 0), "NULL is closed already");
}

/* Names of events are bounded, whatever a plugin counts. */
Test(plugin_instance, events_are_bounded)
{
	sl_error error = { 0 };
	struct plugin *p = open_options("{\"password\":\"x\"}", &error);
	cr_assert(p);
	for (int i = 0; i < 200; i++) {
		char name[32];
		snprintf(name, sizeof name, "event-%d", i);
		p->host.count(&p->host, name, 1);
	}
	p->host.count(&p->host, NULL, 1);
	struct metric *other = metrics_counter("sluice_plugin_events_total", "", "plugin,event", "scheduler/options", "other");
	cr_expect_eq(metrics_value(other), 200 - PLUGIN_EVENTS_MAX + 1);
	cr_expect_null(p->host.credential_find, "only for auth plugins");
	cr_expect_null(p->host.user_find, "only for auth plugins");
	plugin_close(p, 0);
}

Test(plugin_instance, built_for_1_0)
{
	enum plugin_refusal refusal;
	sl_error error = { 0 };
	struct plugin *p = fixture_open("tests/abi/1.0", "old", "{\"tenant\":\"physics\"}", NULL, &refusal, &error);
	cr_assert(p, "%s", error.text);
	const sl_auth_ops *ops = plugin_ops(p);
	sl_auth_request request = { .size = sizeof request, .door = SL_DOOR_INFERENCE };
	sl_identity who = { 0 };
	cr_expect_eq(ops->authenticate(plugin_self(p), &request, 0, &who, &error), SL_OK);
	cr_expect_str_eq(who.tenant, "physics");
	cr_expect(plugin_close(p, 0));
}

/* A table that is shorter than the host's reads as zero behind its end. */
Test(plugin_instance, ops_are_of_the_hosts_size)
{
	sl_error error = { 0 };
	struct plugin *p = open_options("{\"password\":\"x\"}", &error);
	cr_assert(p);
	const sl_scheduler_ops *ops = plugin_ops(p);
	cr_expect_null(ops->explain);
	cr_expect_neq((const void *) ops, p->d.ops, "a copy");
	plugin_close(p, 0);
}

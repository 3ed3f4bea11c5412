/* SPDX-License-Identifier: Apache-2.0 */
/* test_show.c - the example, the manual and the checker say the same. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/conf/internal.h"
#include "fixture.h"

TestSuite(show, .init = fixture_open, .fini = fixture_close);

Test(show, the_written_example_loads_and_names_every_field)
{
	struct buf out = { 0 };
	conf_write_example(&out);
	buf_put(&out, "", 1);
	cr_assert_not(out.failed);
	for (const struct conf_field *f = conf_fields; f->name; f++) {
		char line[128];
		snprintf(line, sizeof line, f->block[0] ? "--   %s" : "-- %s ", f->name);
		cr_expect(strstr(out.data, line), "%s.%s", f->block, f->name);
		cr_expect(strstr(out.data, f->help), "%s.%s: %s", f->block, f->name, f->help);
	}
	cr_expect_null(strstr(out.data, "RUNDIR"), "folders of this build stand there");
	conf_unref(fixture_good(out.data));
	buf_free(&out);
}

Test(show, json_has_everything_that_is_declared)
{
	struct conf *c = fixture_good("queue \"q\" {} tier \"t\" { tokens = { 5, per = \"day\" }, models = { \"m\" } } tenant \"x\" { tier = \"t\" } "
	                              "model \"m\" { engine = \"vllm\", weights = \"w\", price = { input = 0.1 } } plugin \"auth/keys\" { pepper = \"hidden\" }");
	json_t *json = conf_json(c);
	char *text = json_dumps(json, JSON_COMPACT);
	cr_expect(strstr(text, "\"name\":\"5 tokens per day of tier t\""));
	cr_expect(strstr(text, "\"input\":\"0.10\""));
	cr_expect(strstr(text, "\"models\":[\"m\"]"));
	cr_expect(strstr(text, "\"place\":\"sluice.lua:1\""));
	cr_expect(strstr(text, "\"pepper\""), "the option's name");
	cr_expect_null(strstr(text, "hidden"), "not its value");
	free(text);
	json_decref(json);
	conf_unref(c);
}

static char *read_text(const char *path)
{
	struct buf text = { 0 };
	FILE *f = fopen(path, "r");
	cr_assert_not_null(f, "%s", path);
	for (int c; (c = getc(f)) != EOF;) {
		char byte = (char) c;
		buf_put(&text, &byte, 1);
	}
	fclose(f);
	return buf_take(&text);
}

Test(show, the_manual_lists_the_same_fields)
{
	char *page = read_text(TOP_SRCDIR "/docs/sluice.lua.5");
	for (const struct conf_field *f = conf_fields; f->name; f++) {
		char section[64], item[64];
		snprintf(section, sizeof section, "\n.\\\" fields of %s\n", f->block[0] ? f->block : "file");
		const char *from = strstr(page, section);
		cr_assert(from, "the manual has no fields of '%s'", f->block);
		const char *end = strstr(from + 1, "\n.El\n");
		snprintf(item, sizeof item, "\n.It Ic %s\n", f->name);
		const char *at = strstr(from, item);
		cr_expect(at && end && at < end, "the manual does not have %s.%s", f->block, f->name);
	}
	/* And nothing else. */
	const char *block = NULL;
	char name[64], of[64] = "";
	for (char *line = strtok(page, "\n"); line; line = strtok(NULL, "\n")) {
		if (sscanf(line, ".\\\" fields of %63s", of) == 1)
			block = strcmp(of, "file") == 0 ? "" : of;
		else if (strcmp(line, ".El") == 0)
			block = NULL;
		else if (block && sscanf(line, ".It Ic %63s", name) == 1)
			cr_expect_not_null(field_find(block, name), "the manual has %s.%s", block, name);
	}
	free(page);
}

Test(show, the_shipped_example_loads)
{
	struct buf report = { 0 };
	struct conf *c = conf_load(TOP_SRCDIR "/examples/sluice.lua", &report);
	buf_put(&report, "", 1);
	cr_assert_not_null(c, "%s", report.data);
	cr_expect_str_empty(report.data, "%s", report.data);
	conf_unref(c);
	buf_free(&report);
}

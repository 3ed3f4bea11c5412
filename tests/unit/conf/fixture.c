/* SPDX-License-Identifier: Apache-2.0 */
/* fixture.c - a folder of files to load; addresses that need no network. */
#include "fixture.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/error.h"
#include "core/base/str.h"

static char folder[64];
static struct buf last;

int http_address_parse(sl_str text, struct http_address *out, sl_error *error)
{
	memset(out, 0, sizeof *out);
	if (str_starts(text, STR("https:")))
		return error_set(error, SL_EINVAL, "https is not spoken here");
	if (!memchr(text.ptr, ':', text.len))
		return error_set(error, SL_EINVAL, "not an address");
	str_copy(out->host, sizeof out->host, text);
	return SL_OK;
}

void http_address_text(const struct http_address *address, char *out, size_t room)
{
	snprintf(out, room, "%s", address->host);
}

void fixture_open(void)
{
	strcpy(folder, "/tmp/sluice-conf-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	setenv("SLUICE_LUA_PATH", TOP_SRCDIR "/lua", 1);
}

void fixture_close(void)
{
	char command[128];
	snprintf(command, sizeof command, "rm -rf %s", folder);
	cr_assert_eq(system(command), 0);
	buf_free(&last);
}

const char *fixture_path(const char *name)
{
	static char path[256];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	return path;
}

const char *fixture_write(const char *name, const char *text)
{
	const char *path = fixture_path(name);
	FILE *f = fopen(path, "w");
	cr_assert_not_null(f, "%s", path);
	fputs(text, f);
	fclose(f);
	chmod(path, 0644);
	return path;
}

struct conf *fixture_load(const char *text, const char **report)
{
	char path[256];
	str_copy(path, sizeof path, str_of(fixture_write("sluice.lua", text)));
	buf_clear(&last);
	struct conf *conf = conf_load(path, &last);
	buf_put(&last, "", 1);
	*report = last.data;
	return conf;
}

struct conf *fixture_good(const char *text)
{
	const char *report;
	struct conf *conf = fixture_load(text, &report);
	cr_assert_not_null(conf, "%s\n%s", text, report);
	cr_expect_str_empty(report, "%s\n%s", text, report);
	return conf;
}

void fixture_bad(const char *text, ...)
{
	const char *report, *words;
	struct conf *conf = fixture_load(text, &report);
	cr_expect_null(conf, "it should be refused: %s", text);
	conf_unref(conf);
	va_list args;
	va_start(args, text);
	while ((words = va_arg(args, const char *)) != NULL)
		cr_expect(strstr(report, words), "%s\nshould say: %s\nsays: %s", text, words, report);
	va_end(args);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* fixture.h - plugins for tests, copied to a folder of the test's own: there their mode, owner and name are known,
 * whatever the build folder looks like. */
#ifndef TESTS_UNIT_PLUGIN_FIXTURE_H
#define TESTS_UNIT_PLUGIN_FIXTURE_H

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/plugin/plugin.h"

/* The test's folder, made on first use, removed at the end of the process. */
static char fixture_folder[PATH_MAX];

static void fixture_remove(void)
{
	char command[PATH_MAX + 16];
	snprintf(command, sizeof command, "rm -rf '%s'", fixture_folder);
	if (system(command) != 0)
		perror(command);
}

static const char *fixture_dir(void)
{
	if (!fixture_folder[0]) {
		const char *tmp = getenv("TMPDIR");
		umask(022);
		snprintf(fixture_folder, sizeof fixture_folder, "%s/sluice-test-XXXXXX", tmp ? tmp : "/tmp");
		if (!mkdtemp(fixture_folder))
			abort();
		atexit(fixture_remove);
	}
	return fixture_folder;
}

/* A file with these bytes; returns its path, which is valid until the next call. */
__attribute__((unused)) static const char *fixture_file(const char *name, const void *data, size_t len)
{
	static char path[PATH_MAX + 128];
	snprintf(path, sizeof path, "%s/%s", fixture_dir(), name);
	unlink(path);
	int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, data, len) != (ssize_t) len || close(fd) != 0)
		abort();
	return path;
}

/* All of a file, to be freed. */
__attribute__((unused)) static char *fixture_read(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	if (!f)
		return NULL;
	fseek(f, 0, SEEK_END);
	long size = ftell(f);
	rewind(f);
	char *data = malloc((size_t) size + 1);
	*len = data ? fread(data, 1, (size_t) size, f) : 0;
	fclose(f);
	return data;
}

/* "tests/abi/bad", "crash" -> a copy of the built crash.so. NULL: it was not built. */
__attribute__((unused)) static const char *fixture_plugin(const char *folder, const char *name)
{
	const char *top = getenv("top_builddir");
	char from[PATH_MAX], file[128];
	size_t len;
	snprintf(from, sizeof from, "%s/%s/.libs/%s.so", top ? top : ".", folder, name);
	char *data = fixture_read(from, &len);
	if (!data)
		return NULL;
	snprintf(file, sizeof file, "%s.so", name);
	const char *path = fixture_file(file, data, len);
	free(data);
	return path;
}

/* Opens it. `options`: JSON text or NULL. */
__attribute__((unused)) static struct plugin *fixture_open(const char *folder, const char *name, const char *options,
                                                           const struct plugin_services *services,
                                                           enum plugin_refusal *refusal, sl_error *error)
{
	struct plugin_spec spec = { .name = fixture_plugin(folder, name), .where = "sluice.lua:14" };
	json_t *json = options ? json_loads(options, 0, NULL) : NULL;
	if (!spec.name || (options && !json))
		return NULL;
	spec.options = json;
	struct plugin *p = plugin_open(&spec, services, refusal, error);
	json_decref(json);
	return p;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* open_store.h - loads the SQLite store of the build tree with the least host that it needs. */
#ifndef TESTS_UNIT_STORE_OPEN_STORE_H
#define TESTS_UNIT_STORE_OPEN_STORE_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sluice/store.h>

struct opened_store {
	const sl_plugin *plugin;
	const sl_store_ops *ops;
	void *self;
};

static char store_path[256];
static int64_t store_busy_ms = 200;

static sl_str host_conf_str(const sl_conf *conf, const char *name)
{
	(void) conf;
	if (strcmp(name, "path") == 0)
		return (sl_str){ store_path, strlen(store_path) };
	return (sl_str){ NULL, 0 };
}

static int64_t host_conf_int(const sl_conf *conf, const char *name)
{
	(void) conf;
	return strcmp(name, "busy_timeout") == 0 ? store_busy_ms : 0;
}

static const sl_host store_host = {
	.size = sizeof store_host, .abi_major = SL_ABI_MAJOR, .abi_minor = SL_ABI_MINOR,
	.conf_str = host_conf_str, .conf_int = host_conf_int,
};

/* SL_OK, or what open() said; -100: the file cannot be loaded. The file stays loaded. */
static int open_store(const char *path, struct opened_store *out, sl_error *error)
{
	const char *build = getenv("top_builddir");
	char file[512];
	snprintf(file, sizeof file, "%s/plugins/store/sqlite/.libs/sqlite.so", build ? build : ".");
	snprintf(store_path, sizeof store_path, "%s", path);
	void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
	out->self = NULL;
	out->plugin = handle ? dlsym(handle, "sluice_plugin") : NULL;
	if (!out->plugin) {
		snprintf(error->text, sizeof error->text, "%.240s", dlerror());
		return -100;
	}
	out->ops = out->plugin->ops;
	return out->plugin->open(&store_host, NULL, &out->self, error);
}

__attribute__((unused)) static void close_store(struct opened_store *s)
{
	if (s->self)
		s->plugin->close(s->self);
	s->self = NULL;
}

#endif

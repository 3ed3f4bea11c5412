/* SPDX-License-Identifier: Apache-2.0 */
/* kinds.c - the kinds of plugins: their words, their tables, their place. */
#include "config.h"

#include <sluice/auth.h>
#include <sluice/backend.h>
#include <sluice/launcher.h>
#include <sluice/scheduler.h>
#include <sluice/store.h>
#include <stdlib.h>

#include "core/base/str.h"
#include "core/plugin/plugin_private.h"

static const size_t backend_functions[] = {
	offsetof(sl_backend_ops, devices), offsetof(sl_backend_ops, sample),
	offsetof(sl_backend_ops, prepare), offsetof(sl_backend_ops, release),
};
static const size_t scheduler_functions[] = { offsetof(sl_scheduler_ops, plan) };
static const size_t auth_functions[] = { offsetof(sl_auth_ops, authenticate) };
static const size_t store_functions[] = {
	offsetof(sl_store_ops, last_seq), offsetof(sl_store_ops, append), offsetof(sl_store_ops, usage_sum),
	offsetof(sl_store_ops, usage_scan), offsetof(sl_store_ops, object_scan), offsetof(sl_store_ops, lease_scan),
	offsetof(sl_store_ops, lease_history),
};
static const size_t launcher_functions[] = { offsetof(sl_launcher_ops, plan) };

#define FUNCTIONS(list) .functions = (list), .n_functions = sizeof(list) / sizeof(list)[0]

/* ops_min and result_min are the sizes of ABI 1.0 and never change. */
static const struct plugin_kind kinds[] = {
	{ SL_KIND_BACKEND, "backend", sizeof(sl_backend_ops), .ops_min = 40, FUNCTIONS(backend_functions) },
	{ SL_KIND_SCHEDULER, "scheduler", sizeof(sl_scheduler_ops), .ops_min = 24, FUNCTIONS(scheduler_functions) },
	{ SL_KIND_AUTH, "auth", sizeof(sl_auth_ops), .ops_min = 16, FUNCTIONS(auth_functions),
	  .result_size = sizeof(sl_identity), .result_min = 232 },
	{ SL_KIND_STORE, "store", sizeof(sl_store_ops), .ops_min = 64, FUNCTIONS(store_functions) },
	{ SL_KIND_LAUNCHER, "launcher", sizeof(sl_launcher_ops), .ops_min = 16, FUNCTIONS(launcher_functions) },
};

const struct plugin_kind *plugin_kind_of(uint32_t number)
{
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (kinds[i].number == number)
			return &kinds[i];
	return NULL;
}

const char *plugin_kind_name(uint32_t kind)
{
	const struct plugin_kind *k = plugin_kind_of(kind);
	return k ? k->name : NULL;
}

uint32_t plugin_kind_number(sl_str name)
{
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (str_eq(name, str_of(kinds[i].name)))
			return kinds[i].number;
	return 0;
}

const char *plugin_folder(void)
{
	/* secure_getenv: a program with more rights than its caller must not load the caller's code. */
	const char *folder = secure_getenv("SLUICE_PLUGIN_PATH");
	return folder && *folder ? folder : SLUICE_PLUGIN_DIR;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* launch_plan.c - checks a start request, and lets the launcher plugin say how the program is run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/agent/launch.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/str.h"

enum { NOTICE_MAX_MS = 24 * 3600 * 1000 };

static bool all_strings(const json_t *array)
{
	size_t i;
	json_t *v;
	json_array_foreach(array, i, v)
		if (!json_is_string(v))
			return false;
	return json_is_array(array);
}

static bool good_env(const json_t *object)
{
	const char *name;
	json_t *v;
	if (!object)
		return true;
	json_object_foreach((json_t *) (uintptr_t) object, name, v)
		if (!json_is_string(v) || !*name || strchr(name, '='))
			return false;
	return json_is_object(object);
}

static bool natural(const json_t *request, const char *key, bool required, int64_t max)
{
	const json_t *v = json_object_get(request, key);
	if (!v)
		return !required;
	return json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) <= max;
}

/* The name of the first field that is missing or wrong, NULL: fine. */
static const char *wrong_field(const json_t *r)
{
	const json_t *argv = json_object_get(r, "argv"), *cwd = json_object_get(r, "cwd");
	const json_t *devices = json_object_get(r, "devices"), *in = json_object_get(r, "stdin");
	if (!all_strings(argv) || json_array_size(argv) == 0 || !*json_string_value(json_array_get(argv, 0)))
		return "argv";
	if (!good_env(json_object_get(r, "env")))
		return "env";
	if (cwd && !json_is_null(cwd) && !json_is_string(cwd))
		return "cwd";
	if (devices && !all_strings(devices))
		return "devices";
	if (in && !json_is_boolean(in))
		return "stdin";
	if (!natural(r, "uid", true, UINT32_MAX - 1ll))
		return "uid";
	if (!natural(r, "gid", true, UINT32_MAX - 1ll))
		return "gid";
	if (!natural(r, "umask", false, 0777))
		return "umask";
	if (!natural(r, "log_bytes", false, 1ll << 40))
		return "log_bytes";
	if (!natural(r, "limit_ms", false, 1ll << 50))
		return "limit_ms";
	if (!natural(r, "notice_ms", false, NOTICE_MAX_MS))
		return "notice_ms";
	if (!natural(r, "hold_ms", false, AGENT_HOLD_MAX_MS))
		return "hold_ms";
	return NULL;
}

/* Every device must be there, once, and in no other lease. */
static int check_devices(const struct agent *a, const json_t *devices, sl_error *error)
{
	size_t i, k;
	json_t *uuid, *other;
	json_array_foreach(devices, i, uuid) {
		const char *name = json_string_value(uuid);
		if (!agent_backend_of(a, name))
			return error_set(error, SL_ENOTFOUND, "no backend has a device %s", name);
		json_array_foreach(devices, k, other)
			if (k < i && json_equal(uuid, other))
				return error_set(error, SL_EINVAL, "devices: %s stands there twice", name);
		const struct lease *user = lease_using(a, uuid);
		if (user)
			return error_set(error, SL_EUNAVAILABLE, "device %s is still in use by lease %s", name, user->tree.lease);
	}
	return SL_OK;
}

static int check(const struct agent *a, const json_t *r, sl_error *error)
{
	const char *name = json_get_str(r, "lease", ""), *field = wrong_field(r);
	if (!lease_name_ok(name))
		return error_set(error, SL_EINVAL, "lease: must be 1 to 63 letters, digits, '.', '_', '-', and begin with one of the "
		                 "first two");
	if (lease_find(a, name))
		return error_set(error, SL_ECONFLICT, "lease %s is known already", name);
	if (field)
		return error_set(error, SL_EINVAL, "%s: missing, or not what docs/internals/agent-protocol.md says", field);
	if (a->n_leases >= AGENT_LEASES_MAX)
		return error_set(error, SL_EFULL, "there are %zu leases, ended ones included: forget some", a->n_leases);
	int64_t uid = json_get_int(r, "uid", -1);
	if (geteuid() != 0 && uid != (int64_t) geteuid())
		return error_set(error, SL_EDENIED, "this agent does not run as root, so it starts programs of uid %u only, not %lld",
		                 (unsigned) geteuid(), (long long) uid);
	return check_devices(a, json_object_get(r, "devices"), error);
}

struct lease *launch_accept(struct agent *a, const json_t *r, sl_error *error)
{
	if (check(a, r, error) != SL_OK)
		return NULL;
	struct lease *l = lease_new(a, json_get_str(r, "lease", ""));
	if (!l) {
		error_set(error, SL_ENOMEM, "out of memory for a lease");
		return NULL;
	}
	l->uid = (unsigned) json_get_int(r, "uid", 65534);
	l->gid = (unsigned) json_get_int(r, "gid", 65534);
	l->with_stdin = json_get_bool(r, "stdin", false);
	l->log_bytes = (uint64_t) json_get_int(r, "log_bytes", 0);
	if (l->log_bytes == 0)
		l->log_bytes = AGENT_LOG_BYTES;
	l->hold_ms = (uint64_t) json_get_int(r, "hold_ms", 0);
	l->limit_ms = (uint64_t) json_get_int(r, "limit_ms", 0);
	l->notice_ms = (uint64_t) json_get_int(r, "notice_ms", 0);
	json_array_extend(l->devices, json_object_get(r, "devices"));
	json_t *env = json_object_get(r, "env"), *cwd = json_object_get(r, "cwd");
	l->spec = json_pack("{s:O,s:o}", "argv", json_object_get(r, "argv"), "variables",
	                    env ? json_deep_copy(env) : json_object());
	if (json_is_string(cwd))
		json_object_set(l->spec, "cwd", cwd);
	json_object_set_new(l->spec, "umask", json_integer(json_get_int(r, "umask", 022)));
	return l;
}

/* --- the plan --- */

static int add_arg(void *ctx, const char *arg)
{
	json_t *text = json_string(arg);
	return json_array_append_new(json_object_get(ctx, "argv"), text) == 0 ? SL_OK : SL_EINVAL;
}

static int add_env(void *ctx, const char *name, const char *value)
{
	if (!*name || strchr(name, '='))
		return SL_EINVAL;
	return json_object_set_new(json_object_get(ctx, "variables"), name, json_string(value)) == 0 ? SL_OK : SL_EINVAL;
}

static int set_cwd(void *ctx, const char *cwd)
{
	return json_object_set_new(ctx, "cwd", json_string(cwd)) == 0 ? SL_OK : SL_EINVAL;
}

/* {"A":"1"} as ["A=1"] */
static json_t *env_list(const json_t *variables)
{
	json_t *list = json_array(), *v;
	const char *name;
	json_object_foreach((json_t *) (uintptr_t) variables, name, v)
		json_array_append_new(list, json_sprintf("%s=%s", name, json_string_value(v)));
	return list;
}

/* A NULL-terminated array of borrowed strings; the caller frees it. */
static const char **borrow(const json_t *array)
{
	size_t n = json_array_size(array);
	const char **list = calloc(n + 1, sizeof *list);
	for (size_t i = 0; list && i < n; i++)
		list[i] = json_string_value(json_array_get(array, i));
	return list;
}

static void add_marks(const struct lease *l, json_t *variables)
{
	char mark[SL_NAME_MAX + 32];
	tree_mark(&l->tree, mark, sizeof mark);
	json_object_set_new(variables, "SLUICE_LEASE", json_string(l->tree.lease));
	json_object_set_new(variables, "SLUICE_TREE", json_string(strchr(mark, '=') + 1));
}

static int ask_launcher(struct lease *l, json_t *plan, sl_error *error)
{
	struct agent *a = l->agent;
	json_t *env = env_list(json_object_get(l->spec, "variables"));
	const char **argv = borrow(json_object_get(l->spec, "argv"));
	const char **envp = borrow(env), **devices = borrow(l->devices);
	sl_launch_plan out = { .size = sizeof out, .ctx = plan, .add_arg = add_arg, .add_env = add_env, .set_cwd = set_cwd };
	int rc = SL_ENOMEM;
	if (argv && envp && devices) {
		sl_launch_request in = {
			.size = sizeof in, .n_devices = (uint32_t) json_array_size(l->devices), .lease = l->tree.lease,
			.argv = argv, .env = envp, .cwd = json_get_str(l->spec, "cwd", NULL), .uid = l->uid, .gid = l->gid,
			.devices = devices,
		};
		rc = a->launcher->plan(a->launcher_self, &in, &out, error);
	}
	if (rc == SL_OK && json_array_size(json_object_get(plan, "argv")) == 0)
		rc = error_set(error, SL_EINTERNAL, "the launcher gave no program for lease %s", l->tree.lease);
	free(argv);
	free(envp);
	free(devices);
	json_decref(env);
	return rc;
}

int launch_plan(struct lease *l, sl_error *error)
{
	char cgroup[PATH_MAX], supervisors[PATH_MAX];
	add_marks(l, json_object_get(l->spec, "variables"));
	/* The launcher decides which of the variables it hands on, and how. */
	json_t *plan = json_pack("{s:[],s:{}}", "argv", "variables");
	int rc = ask_launcher(l, plan, error);
	if (rc != SL_OK) {
		json_decref(plan);
		return rc;
	}
	add_marks(l, json_object_get(plan, "variables"));
	json_object_set_new(plan, "env", env_list(json_object_get(plan, "variables")));
	json_object_del(plan, "variables");
	tree_folder(&l->tree, cgroup, sizeof cgroup);
	containment_supervisors(l->tree.where, supervisors, sizeof supervisors);
	json_object_set_new(plan, "folder", json_string(l->folder));
	json_object_set_new(plan, "uid", json_integer(l->uid));
	json_object_set_new(plan, "gid", json_integer(l->gid));
	json_object_set_new(plan, "stdin", json_boolean(l->with_stdin));
	json_object_set(plan, "umask", json_object_get(l->spec, "umask"));
	/* So far in front of its reader, half of a log behind that is still kept. */
	json_object_set_new(plan, "ahead", json_integer((json_int_t) (l->log_bytes / 2 + 1)));
	json_object_set_new(plan, "cgroup", json_string(cgroup));
	json_object_set_new(plan, "supervisors", json_string(supervisors));
	json_decref(l->spec);
	l->spec = plan;
	return SL_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* exec.c - runs the command of a lease as it is: a plain process. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sluice/launcher.h>

static int refuse(sl_error *error, int code, const char *text)
{
	error->code = code;
	snprintf(error->text, sizeof error->text, "%s", text);
	return code;
}

/* Longest name of a variable that is passed on. */
enum { ENV_NAME_MAX = 256 };

/* NAME=VALUE; what has no name is left out, as execve's readers do. */
static int add_pair(const sl_launch_plan *plan, const char *pair)
{
	char name[ENV_NAME_MAX];
	const char *equals = strchr(pair, '=');
	if (!equals || equals == pair || (size_t) (equals - pair) >= sizeof name)
		return SL_OK;
	memcpy(name, pair, (size_t) (equals - pair));
	name[equals - pair] = '\0';
	return plan->add_env(plan->ctx, name, equals + 1);
}

/* "GPU-1,GPU-2" */
static int add_devices(const sl_launch_plan *plan, const sl_launch_request *request)
{
	size_t room = 1;
	for (uint32_t i = 0; i < request->n_devices; i++)
		room += strlen(request->devices[i]) + 1;
	char *list = malloc(room);
	if (!list)
		return SL_ENOMEM;
	char *end = list;
	for (uint32_t i = 0; i < request->n_devices; i++)
		end += sprintf(end, "%s%s", i ? "," : "", request->devices[i]);
	*end = '\0';
	int code = plan->add_env(plan->ctx, "SLUICE_DEVICES", list);
	free(list);
	return code;
}

static int exec_plan(void *self, const sl_launch_request *request, const sl_launch_plan *plan, sl_error *error)
{
	int code = SL_OK;
	(void) self;
	if (!request->argv || !request->argv[0] || !request->argv[0][0])
		return refuse(error, SL_EINVAL, "the command is empty; give the program to run");
	for (size_t i = 0; request->argv[i] && code == SL_OK; i++)
		code = plan->add_arg(plan->ctx, request->argv[i]);
	for (size_t i = 0; request->env && request->env[i] && code == SL_OK; i++)
		code = add_pair(plan, request->env[i]);
	if (code == SL_OK)
		code = plan->add_env(plan->ctx, "SLUICE_LEASE", request->lease);
	if (code == SL_OK)
		code = add_devices(plan, request);
	if (code == SL_OK && request->cwd)
		code = plan->set_cwd(plan->ctx, request->cwd);
	return code == SL_OK ? SL_OK : refuse(error, code, "the agent took no more arguments or variables; shorten the command");
}

/* There is nothing to keep between two calls. */
static int exec_open(const sl_host *host, const sl_conf *conf, void **self, sl_error *error)
{
	(void) host;
	(void) conf;
	(void) error;
	*self = NULL;
	return SL_OK;
}

static void exec_close(void *self)
{
	(void) self;
}

static const sl_launcher_ops ops = { .size = sizeof ops, .plan = exec_plan };

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_LAUNCHER),
	.name = "exec",
	.version = "1.0",
	.summary = "plain processes",
	.open = exec_open,
	.close = exec_close,
	.ops = &ops,
};

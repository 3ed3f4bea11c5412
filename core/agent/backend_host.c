/* SPDX-License-Identifier: Apache-2.0 */
/* backend_host.c - the child process that a backend runs in: one call after the other, until the agent goes.
 *
 * It blocks wherever the backend blocks. The agent watches the clock, from outside. */
#include "config.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "core/agent/agent.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/plugin/plugin.h"

enum { ENV_MAX = 64, UUIDS_MAX = AGENT_DEVICES_MAX, PIDS_MAX = AGENT_PIDS_MAX };

struct host {
	struct plugin *plugin;
	const sl_backend_ops *ops;
	void *self;
};

/* A plugin's fixed array may lack its end. */
static void set_text(json_t *o, const char *key, const char *text, size_t room)
{
	json_set_str(o, key, (sl_str){ text, strnlen(text, room) });
}

static void set_number(json_t *o, const char *key, int64_t value)
{
	json_object_set_new(o, key, json_integer(value < 0 ? -1 : value));
}

static json_t *device_json(const sl_device *d)
{
	static const char *const isolation[] = { "whole", "whole", "partition", "share" };
	json_t *o = json_object();
	set_text(o, "uuid", d->uuid, sizeof d->uuid);
	set_number(o, "index", d->index);
	set_text(o, "vendor", d->vendor, sizeof d->vendor);
	set_text(o, "model", d->model, sizeof d->model);
	set_text(o, "kind", d->kind, sizeof d->kind);
	set_number(o, "memory_bytes", (int64_t) d->memory_bytes);
	json_object_set_new(o, "isolation", json_string(isolation[d->isolation <= 3 ? d->isolation : 1]));
	set_text(o, "parent", d->parent, sizeof d->parent);
	set_number(o, "numa_node", d->numa_node);
	set_text(o, "island", d->island, sizeof d->island);
	set_text(o, "bus", d->bus, sizeof d->bus);
	return o;
}

static json_t *sample_json(const sl_sample *s)
{
	static const char *const health[] = { "ok", "degraded", "faulty", "lost" };
	json_t *o = json_object();
	set_text(o, "uuid", s->uuid, sizeof s->uuid);
	json_object_set_new(o, "health", json_string(health[s->health <= SL_HEALTH_LOST ? s->health : SL_HEALTH_FAULTY]));
	set_text(o, "reason", s->reason, sizeof s->reason);
	set_number(o, "memory_used_bytes", s->memory_used_bytes);
	set_number(o, "busy_permille", s->busy_permille);
	json_object_set_new(o, "temperature_c", json_integer(s->temperature_c));
	set_number(o, "power_mw", s->power_mw);
	return o;
}

/* The array grows until the backend fits, within the agent's bound. */
static json_t *get_devices(struct host *h, sl_error *error)
{
	size_t room = 64, n = 0;
	for (;;) {
		sl_device *list = calloc(room, sizeof *list);
		int rc = list ? h->ops->devices(h->self, list, room, &n, error) : error_set(error, SL_ENOMEM, "out of memory");
		json_t *array = rc == SL_OK && n <= room ? json_array() : NULL;
		for (size_t i = 0; array && i < n; i++)
			json_array_append_new(array, device_json(&list[i]));
		free(list);
		if (rc != SL_OK)
			return NULL;
		if (array)
			return json_pack("{s:o}", "devices", array);
		if (n > AGENT_DEVICES_MAX) {
			error_set(error, SL_EFULL, "it has %zu devices, at most %d are handled", n, AGENT_DEVICES_MAX);
			return NULL;
		}
		room = n;
	}
}

static json_t *get_samples(struct host *h, sl_error *error)
{
	size_t n = 0;
	sl_sample *list = calloc(AGENT_DEVICES_MAX, sizeof *list);
	int rc = list ? h->ops->sample(h->self, list, AGENT_DEVICES_MAX, &n, error) : error_set(error, SL_ENOMEM, "out of memory");
	json_t *array = rc == SL_OK ? json_array() : NULL;
	for (size_t i = 0; array && i < n && i < AGENT_DEVICES_MAX; i++)
		json_array_append_new(array, sample_json(&list[i]));
	free(list);
	return array ? json_pack("{s:o}", "samples", array) : NULL;
}

static size_t get_uuids(const json_t *request, const char *key, const char **uuids)
{
	const json_t *array = json_object_get(request, key);
	size_t n = json_array_size(array);
	if (n > UUIDS_MAX)
		n = UUIDS_MAX;
	for (size_t i = 0; i < n; i++) {
		const char *uuid = json_string_value(json_array_get(array, i));
		uuids[i] = uuid ? uuid : "";
	}
	return n;
}

static json_t *prepare(struct host *h, const json_t *request, sl_error *error)
{
	static sl_env env[ENV_MAX];
	const char *uuids[UUIDS_MAX];
	size_t n_env = 0, n = get_uuids(request, "devices", uuids);
	memset(env, 0, sizeof env);
	if (h->ops->prepare(h->self, uuids, n, json_get_str(request, "lease", ""), env, ENV_MAX, &n_env, error) != SL_OK)
		return NULL;
	if (n_env > ENV_MAX) {
		error_set(error, SL_EFULL, "it wants %zu variables, at most %d are handled", n_env, ENV_MAX);
		return NULL;
	}
	json_t *variables = json_object();
	for (size_t i = 0; i < n_env; i++) {
		char name[SL_NAME_MAX];
		str_copy(name, sizeof name, (sl_str){ env[i].name, strnlen(env[i].name, sizeof env[i].name) });
		if (*name && !strchr(name, '='))
			set_text(variables, name, env[i].value, sizeof env[i].value);
	}
	return json_pack("{s:o}", "env", variables);
}

static json_t *release(struct host *h, const json_t *request, sl_error *error)
{
	const char *uuids[UUIDS_MAX];
	size_t n = get_uuids(request, "devices", uuids);
	return h->ops->release(h->self, uuids, n, json_get_str(request, "lease", ""), error) == SL_OK ? json_object() : NULL;
}

static size_t get_pids(const json_t *request, int32_t *pids)
{
	const json_t *array = json_object_get(request, "pids");
	size_t n = json_array_size(array);
	if (n > PIDS_MAX)
		n = PIDS_MAX;
	for (size_t i = 0; i < n; i++)
		pids[i] = (int32_t) json_integer_value(json_array_get(array, i));
	return n;
}

/* "suspend", or "resume" with "from": what each of "devices" stands in for. */
static json_t *pause_or_resume(struct host *h, const json_t *request, bool resume, sl_error *error)
{
	static int32_t pids[PIDS_MAX];
	const char *uuids[UUIDS_MAX], *from[UUIDS_MAX];
	size_t n = get_uuids(request, "devices", uuids), n_pids = get_pids(request, pids);
	uint64_t timeout = (uint64_t) json_get_int(request, "timeout_ms", 1);
	if (!h->ops->suspend || !h->ops->resume)
		error_set(error, SL_ENOTSUP, "it cannot suspend what runs on its devices");
	else if (resume && get_uuids(request, "from", from) != n)
		error_set(error, SL_EINVAL, "from and devices are not equally many");
	else if ((resume ? h->ops->resume(h->self, from, uuids, n, pids, n_pids, timeout, error)
	                 : h->ops->suspend(h->self, uuids, n, pids, n_pids, timeout, error)) == SL_OK)
		return json_object();
	return NULL;
}

static json_t *open_backend(struct host *h, const json_t *request, sl_error *error)
{
	struct plugin_spec spec = {
		.kind = SL_KIND_BACKEND, .name = json_get_str(request, "name", ""), .options = json_object_get(request, "options"),
	};
	static const struct plugin_services none;
	h->plugin = plugin_open(&spec, &none, NULL, error);
	if (!h->plugin)
		return NULL;
	h->ops = plugin_ops(h->plugin);
	h->self = plugin_self(h->plugin);
	json_t *ok = json_pack("{s:s}", "version", plugin_version(h->plugin));
	bool suspends = (plugin_caps(h->plugin) & SL_BACKEND_CAP_SUSPEND) && h->ops->suspend && h->ops->resume;
	json_object_set_new(ok, "suspends", json_boolean(suspends));
	char about[BACKEND_ABOUT_MAX] = "";
	sl_error unused;
	if (h->ops->about && h->ops->about(h->self, about, sizeof about, &unused) == SL_OK)
		set_text(ok, "about", about, sizeof about);
	return ok;
}

static json_t *serve(struct host *h, const json_t *request, sl_error *error)
{
	const char *op = json_get_str(request, "op", "");
	if (strcmp(op, "open") == 0 && !h->plugin)
		return open_backend(h, request, error);
	if (!h->plugin)
		error_set(error, SL_ECONFLICT, "no backend is open");
	else if (strcmp(op, "devices") == 0)
		return get_devices(h, error);
	else if (strcmp(op, "sample") == 0)
		return get_samples(h, error);
	else if (strcmp(op, "prepare") == 0)
		return prepare(h, request, error);
	else if (strcmp(op, "release") == 0)
		return release(h, request, error);
	else if (strcmp(op, "suspend") == 0 || strcmp(op, "resume") == 0)
		return pause_or_resume(h, request, op[0] == 'r', error);
	else
		error_set(error, SL_EINVAL, "unknown op %s", op);
	return NULL;
}

int backend_host_main(int fd)
{
	struct host h = { 0 };
	json_t *request;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "sluice-backend");
	signal(SIGPIPE, SIG_IGN);
	while ((request = frame_recv(fd, NULL))) {
		sl_error e = { .code = SL_EUPSTREAM, .text = "failed without a word" };
		json_t *ok = serve(&h, request, &e);
		json_t *answer = json_pack("{s:I}", "id", (json_int_t) json_get_int(request, "id", 0));
		if (ok) {
			json_object_set_new(answer, "ok", ok);
		} else {
			json_t *error = json_pack("{s:i}", "code", (int) e.code);
			json_set_str(error, "text", (sl_str){ e.text, strnlen(e.text, sizeof e.text) });
			json_object_set_new(answer, "error", error);
		}
		int rc = frame_emit(fd, answer, NULL);
		json_decref(answer);
		json_decref(request);
		if (rc != SL_OK)
			break;
	}
	if (h.plugin)
		plugin_close(h.plugin, 0);
	return 0;
}

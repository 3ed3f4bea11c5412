/* SPDX-License-Identifier: Apache-2.0 */
/* sim.c - devices that exist on paper only, and fail on command.
 *
 * For machines without a GPU: trying sluice out, and its tests. Nothing is computed and no figure is invented: a
 * device is idle and empty unless the control file says otherwise. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/sim/sim.h"

int sim_fail(sl_error *error, int code, const char *text, const char *what)
{
	error->code = code;
	snprintf(error->text, sizeof error->text, "%.160s%.80s", text, what);
	return code;
}

/* FNV-1a, so that a device has the same uuid after every start. */
static uint64_t mix(uint64_t h, const char *text)
{
	for (; *text; text++)
		h = (h ^ (unsigned char) *text) * 0x100000001b3ull;
	return h;
}

static void copy(char *out, size_t room, const char *text)
{
	snprintf(out, room, "%s", text);
}

static const char *text_of(const json_t *o, const char *key, const char *fallback)
{
	const json_t *v = json_object_get(o, key);
	return json_is_string(v) ? json_string_value(v) : fallback;
}

/* "80G", "512MB" or a number of bytes; 0: something else. */
static uint64_t bytes_of(const json_t *v)
{
	if (json_is_integer(v))
		return json_integer_value(v) > 0 ? (uint64_t) json_integer_value(v) : 0;
	char *end = NULL;
	double n = json_is_string(v) ? strtod(json_string_value(v), &end) : 0;
	int shift = !end || !*end ? 0 : *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : *end == 'T' ? 40 : 0;
	if (end && *end && (!shift || (end[1] && strcmp(end + 1, "B") != 0)))
		return 0;
	return n > 0 && n < 1e6 * (1 << 20) ? (uint64_t) (n * (double) (1ull << shift)) : 0;
}

static struct sim_device *add_device(struct sim *s, const json_t *spec)
{
	if (s->n == SIM_DEVICES_MAX)
		return NULL;
	struct sim_device *d = &s->devices[s->n];
	char number[32];
	const json_t *numa = json_object_get(spec, "numa");
	d->d.size = sizeof d->d;
	d->d.index = (uint32_t) s->n;
	snprintf(number, sizeof number, "/%zu", s->n);
	uint64_t h = mix(mix(0xcbf29ce484222325ull, s->machine), number);
	h = (h ^ h >> 33) * 0xff51afd7ed558ccdull;
	h ^= h >> 33;
	snprintf(d->d.uuid, sizeof d->d.uuid, "SIM-%016llx", (unsigned long long) h);
	copy(d->d.vendor, sizeof d->d.vendor, text_of(spec, "vendor", "sim"));
	copy(d->d.model, sizeof d->d.model, text_of(spec, "model", "Simulated GPU"));
	copy(d->d.kind, sizeof d->d.kind, text_of(spec, "kind", "sim"));
	copy(d->d.island, sizeof d->d.island, text_of(spec, "island", ""));
	d->d.memory_bytes = bytes_of(json_object_get(spec, "memory"));
	d->d.isolation = SL_ISOLATION_WHOLE;
	d->d.numa_node = json_is_integer(numa) ? (int32_t) json_integer_value(numa) : -1;
	snprintf(d->d.bus, sizeof d->d.bus, "0000:%02x:00.0", (unsigned) (s->n + 1) & 0xff);
	d->env = json_object_get(spec, "env");
	s->n++;
	return d;
}

/* A device that is cut into slices is granted slice by slice only. */
static int add_slices(struct sim *s, const json_t *spec, unsigned slices, sl_error *error)
{
	struct sim_device *first = add_device(s, spec);
	if (!first)
		return sim_fail(error, SL_EFULL, "devices: too many", "");
	if (slices < 2)
		return SL_OK;
	char parent[sizeof first->d.uuid];
	copy(parent, sizeof parent, first->d.uuid);
	s->n--; /* its place goes to its first slice */
	for (unsigned i = 0; i < slices; i++) {
		struct sim_device *d = add_device(s, spec);
		if (!d)
			return sim_fail(error, SL_EFULL, "devices: too many", "");
		copy(d->d.parent, sizeof d->d.parent, parent);
		snprintf(d->d.uuid, sizeof d->d.uuid, "%.40s/%u", parent, i);
		d->d.memory_bytes /= slices;
		d->d.isolation = SL_ISOLATION_PARTITION;
	}
	return SL_OK;
}

static int whole(const json_t *v, int64_t min, int64_t max)
{
	return json_is_integer(v) && json_integer_value(v) >= min && json_integer_value(v) <= max;
}

static int is_text(const json_t *v, size_t room)
{
	return json_is_string(v) && json_string_length(v) < room;
}

static int is_env(const json_t *v)
{
	const char *name;
	json_t *value;
	json_object_foreach((json_t *) (uintptr_t) v, name, value)
		if (!*name || strchr(name, '=') || !is_text(value, sizeof ((sl_env *) 0)->value))
			return 0;
	return json_is_object(v);
}

/* What a member of one group must be; NULL: it is. */
static const char *expected(const char *key, const json_t *v)
{
	static const sl_device d;
	if (strcmp(key, "count") == 0)
		return whole(v, 1, SIM_DEVICES_MAX) ? NULL : "a whole number from 1 to 1024";
	if (strcmp(key, "slices") == 0)
		return whole(v, 1, 64) ? NULL : "a whole number from 1 to 64";
	if (strcmp(key, "numa") == 0)
		return whole(v, -1, INT32_MAX) ? NULL : "a whole number, -1: unknown";
	if (strcmp(key, "memory") == 0)
		return bytes_of(v) ? NULL : "a size such as \"80G\", or bytes";
	if (strcmp(key, "env") == 0)
		return is_env(v) ? NULL : "a table of texts, NAME = \"value\"";
	size_t room = strcmp(key, "vendor") == 0 ? sizeof d.vendor : strcmp(key, "model") == 0 ? sizeof d.model
	              : strcmp(key, "kind") == 0 ? sizeof d.kind : strcmp(key, "island") == 0 ? sizeof d.island : 0;
	return room == 0 ? "one of count, vendor, model, kind, memory, slices, island, numa, env"
	       : is_text(v, room) ? NULL : "a short text";
}

static int add_group(struct sim *s, const json_t *spec, size_t number, sl_error *error)
{
	const char *key, *wanted;
	json_t *value;
	if (!json_is_object(spec)) {
		snprintf(error->text, sizeof error->text, "devices[%zu]: expected a table such as { count = 2, kind = \"h100-80g\" }", number);
		return error->code = SL_EINVAL;
	}
	json_object_foreach((json_t *) (uintptr_t) spec, key, value)
		if ((wanted = expected(key, value)) != NULL) {
			snprintf(error->text, sizeof error->text, "devices[%zu].%.40s: expected %s", number, key, wanted);
			return error->code = SL_EINVAL;
		}
	const json_t *count = json_object_get(spec, "count"), *slices = json_object_get(spec, "slices");
	for (int64_t i = 0; i < (count ? json_integer_value(count) : 1); i++)
		if (add_slices(s, spec, slices ? (unsigned) json_integer_value(slices) : 1, error) != SL_OK)
			return error->code;
	return SL_OK;
}

static int parse_devices(const char *text, size_t len, json_t **out, sl_error *error)
{
	json_error_t where;
	*out = len ? json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &where) : json_loads("[{}]", 0, &where);
	if (!*out)
		return sim_fail(error, SL_EINVAL, "devices: ", where.text);
	if (!json_is_array(*out)) {
		json_decref(*out);
		*out = NULL;
		return sim_fail(error, SL_EINVAL, "devices: expected a list of tables, such as { { count = 2 } }", "");
	}
	return SL_OK;
}

static void sim_close(void *self)
{
	struct sim *s = self;
	json_decref(s->spec);
	free(s->control);
	free(s);
}

static int sim_open(const sl_host *host, const sl_conf *conf, void **self, sl_error *error)
{
	struct sim *s = calloc(1, sizeof *s);
	size_t i;
	json_t *group;
	if (!s)
		return sim_fail(error, SL_ENOMEM, "out of memory", "");
	s->host = host;
	sl_str machine = host->conf_str(conf, "machine"), control = host->conf_str(conf, "control");
	sl_str devices = host->conf_str(conf, "devices");
	if (machine.len)
		snprintf(s->machine, sizeof s->machine, "%.*s", (int) machine.len, machine.ptr);
	else if (gethostname(s->machine, sizeof s->machine - 1) != 0)
		copy(s->machine, sizeof s->machine, "localhost");
	s->control = control.len ? strndup(control.ptr, control.len) : NULL;
	int rc = parse_devices(devices.ptr, devices.len, &s->spec, error);
	json_array_foreach(s->spec, i, group)
		if (rc == SL_OK)
			rc = add_group(s, group, i + 1, error);
	if (rc != SL_OK) {
		sim_close(s);
		return rc;
	}
	*self = s;
	return SL_OK;
}

/* Describing devices touches nothing: what open() would refuse is refused here. */
static int sim_check(const sl_host *host, const sl_conf *conf, sl_error *error)
{
	void *self = NULL;
	int rc = sim_open(host, conf, &self, error);
	if (rc == SL_OK)
		sim_close(self);
	return rc;
}

static const sl_option options[] = {
	{ .name = "devices", .type = SL_OPTION_JSON, .default_text = "[{}]",
	  .help = "list of {count, vendor, model, kind, memory, slices, island, numa, env}" },
	{ .name = "control", .type = SL_OPTION_PATH, .help = "file that tells the devices how to fail, read at every call" },
	{ .name = "machine", .type = SL_OPTION_STRING, .help = "the uuids are made from it; the host name without it" },
};

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_BACKEND),
	.name = "sim",
	.version = "1.0",
	.summary = "simulated devices that fail on command",
	.caps = SL_BACKEND_CAP_SUSPEND | SL_BACKEND_CAP_DECLARED,
	.options = options,
	.n_options = sizeof options / sizeof *options,
	.check = sim_check,
	.open = sim_open,
	.close = sim_close,
	.ops = &sim_ops,
};

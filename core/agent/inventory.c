/* SPDX-License-Identifier: Apache-2.0 */
/* inventory.c - the devices of one backend, as the protocol shows them, and the events when one changes. */
#include "core/agent/inventory.h"

#include <string.h>

#include "core/agent/agent.h"
#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/str.h"

static void tell(struct agent *a, const json_t *device)
{
	json_t *event = json_copy((json_t *) (uintptr_t) device);
	json_object_set_new(event, "event", json_string("device"));
	server_event(a, event);
}

/* Sets the health. A change is told, and logged. */
static void set_health(struct agent *a, json_t *device, const char *health, const char *reason)
{
	const char *uuid = json_get_str(device, "uuid", "?");
	bool same = strcmp(json_get_str(device, "health", ""), health) == 0 &&
	            strcmp(json_get_str(device, "reason", ""), reason) == 0;
	if (same)
		return;
	bool known = json_object_get(device, "health") != NULL;
	json_object_set_new(device, "health", json_string(health));
	json_set_str(device, "reason", str_of(reason));
	if (known)
		log_write(strcmp(health, "ok") == 0 ? SL_LOG_INFO : SL_LOG_WARN, "device %s: %s%s%s", uuid, health,
		          *reason ? ": " : "", reason);
	tell(a, device);
}

static void set_unknown(json_t *device)
{
	static const char *const figures[] = { "memory_used_bytes", "busy_permille", "temperature_c", "power_mw" };
	for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
		json_object_set_new(device, figures[i], json_integer(-1));
	json_object_set_new(device, "sampled_ms", json_integer(0));
}

static bool listed(const json_t *array, const char *uuid)
{
	size_t i;
	json_t *o;
	json_array_foreach(array, i, o)
		if (strcmp(json_get_str(o, "uuid", ""), uuid) == 0)
			return true;
	return false;
}

void inventory_devices(struct inventory *v, struct agent *a, const char *backend, const json_t *devices)
{
	size_t i;
	json_t *given, *known;
	const char *uuid;
	json_array_foreach(devices, i, given) {
		uuid = json_get_str(given, "uuid", "");
		known = json_object_get(v->devices, uuid);
		if (known) {
			json_object_update(known, given);
			continue;
		}
		known = json_deep_copy(given);
		json_object_set_new(known, "backend", json_string(backend));
		set_unknown(known);
		json_object_set_new(v->devices, uuid, known);
	}
	json_object_foreach(v->devices, uuid, known)
		if (!listed(devices, uuid))
			set_health(a, known, "lost", "the backend does not list it any more");
}

void inventory_samples(struct inventory *v, struct agent *a, const json_t *samples)
{
	size_t i;
	json_t *sample, *device;
	const char *uuid;
	json_array_foreach(samples, i, sample) {
		static const char *const figures[] = { "memory_used_bytes", "busy_permille", "temperature_c", "power_mw" };
		device = json_object_get(v->devices, json_get_str(sample, "uuid", ""));
		if (!device)
			continue;
		for (size_t k = 0; k < sizeof figures / sizeof *figures; k++)
			json_object_set(device, figures[k], json_object_get(sample, figures[k]));
		json_object_set_new(device, "sampled_ms", json_integer((json_int_t) clock_wall_ms()));
		set_health(a, device, json_get_str(sample, "health", "faulty"), json_get_str(sample, "reason", ""));
	}
	json_object_foreach(v->devices, uuid, device)
		if (!listed(samples, uuid))
			set_health(a, device, "lost", "the backend gives no sample of it");
}

void inventory_suspends(struct inventory *v, struct agent *a, bool suspends)
{
	const char *uuid;
	json_t *device;
	json_object_foreach(v->devices, uuid, device) {
		if (json_get_bool(device, "suspends", false) == suspends)
			continue;
		json_object_set_new(device, "suspends", json_boolean(suspends));
		if (json_object_get(device, "health"))
			tell(a, device);
	}
}

void inventory_lose_all(struct inventory *v, struct agent *a, const char *reason)
{
	const char *uuid;
	json_t *device;
	json_object_foreach(v->devices, uuid, device) {
		set_unknown(device);
		set_health(a, device, "lost", reason);
	}
}

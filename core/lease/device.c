/* SPDX-License-Identifier: Apache-2.0 */
/* device.c - the devices of all machines and who has them. */
#include "core/lease/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/str.h"

void devices_free(struct devices *devices)
{
	free(devices->at);
	*devices = (struct devices){ 0 };
}

struct device *devices_find(const struct devices *devices, sl_str id)
{
	for (struct device *d = devices->at, *end = d ? d + devices->n : d; d != end; d++)
		if (str_eq(id, str_of(d->name)) || str_eq(id, str_of(d->uuid)))
			return d;
	return NULL;
}

static bool index_taken(const struct devices *devices, const char *machine, uint32_t index)
{
	for (size_t i = 0; i < devices->n; i++)
		if (devices->at[i].index == index && strcmp(devices->at[i].machine, machine) == 0)
			return true;
	return false;
}

/* The agent's own index where nobody has it (two backends may count from 0 both), else the first that is free. */
static void give_name(const struct devices *devices, struct device *device, int64_t told)
{
	uint32_t index = told >= 0 && told < DEVICES_MAX ? (uint32_t) told : 0;
	if (index_taken(devices, device->machine, index))
		for (index = 0; index_taken(devices, device->machine, index);)
			index++;
	device->index = index;
	snprintf(device->name, sizeof device->name, "%.*s/gpu%u", SL_NAME_MAX - 16, device->machine, index);
}

static struct device *add(struct devices *devices, const char *machine, const char *uuid, int64_t index)
{
	if (devices->n == devices->room) {
		size_t room = devices->room ? 2 * devices->room : 16;
		struct device *at = realloc(devices->at, room * sizeof *at);
		if (!at)
			return NULL;
		devices->at = at;
		devices->room = room;
	}
	struct device *device = &devices->at[devices->n];
	*device = (struct device){ .numa_node = -1, .health = "ok" };
	str_copy(device->uuid, sizeof device->uuid, str_of(uuid));
	str_copy(device->machine, sizeof device->machine, str_of(machine));
	give_name(devices, device, index);
	devices->n++;
	return device;
}

static void copy_text(char *out, size_t room, const json_t *told, const char *key)
{
	const char *text = json_get_str(told, key, NULL);
	if (text)
		str_copy(out, room, str_of(text));
}

static void copy_values(struct device *d, const json_t *told)
{
	copy_text(d->kind, sizeof d->kind, told, "kind");
	copy_text(d->island, sizeof d->island, told, "island");
	copy_text(d->vendor, sizeof d->vendor, told, "vendor");
	copy_text(d->model, sizeof d->model, told, "model");
	copy_text(d->backend, sizeof d->backend, told, "backend");
	copy_text(d->isolation, sizeof d->isolation, told, "isolation");
	copy_text(d->bus, sizeof d->bus, told, "bus");
	int64_t memory = json_get_int(told, "memory_bytes", -1);
	if (memory >= 0)
		d->memory_bytes = (uint64_t) memory;
	d->numa_node = (int32_t) json_get_int(told, "numa_node", d->numa_node);
	d->memory_used_bytes = json_get_int(told, "memory_used_bytes", -1);
	d->busy_permille = json_get_int(told, "busy_permille", -1);
	d->temperature_c = json_get_int(told, "temperature_c", -1);
	d->power_mw = json_get_int(told, "power_mw", -1);
}

static void strike(struct device *d)
{
	char reason[SL_ERROR_TEXT];
	if (++d->strikes < DEVICE_STRIKES)
		return;
	snprintf(reason, sizeof reason, "was lost %u times: %.200s", d->strikes, d->health_reason);
	device_set_faulty(d, reason);
}

int devices_update(struct devices *devices, const char *machine, const json_t *told, bool *now_faulty, sl_error *error)
{
	const char *uuid = json_get_str(told, "uuid", "");
	size_t len = strlen(uuid);
	if (now_faulty)
		*now_faulty = false;
	if (len == 0 || len >= LEASE_UUID_MAX || !json_get_str(told, "kind", NULL))
		return error_set(error, SL_EINVAL, "%s names a device without a proper uuid or kind", machine);
	struct device *d = devices_find(devices, str_of(uuid));
	if (d && strcmp(d->machine, machine) != 0)
		return error_set(error, SL_EINVAL, "%s names device %s, which is %s", machine, uuid, d->name);
	if (!d && devices->n >= DEVICES_MAX)
		return error_set(error, SL_EFULL, "%s is one device too many: %d are known", uuid, DEVICES_MAX);
	if (!d && !(d = add(devices, machine, uuid, json_get_int(told, "index", 0))))
		return error_set(error, SL_ENOMEM, "out of memory");
	const char *health = json_get_str(told, "health", "ok");
	bool was_lost = strcmp(d->health, "lost") == 0, was_faulty = d->faulty;
	copy_values(d, told);
	str_copy(d->health, sizeof d->health, str_of(health));
	d->health_reason[0] = '\0';
	copy_text(d->health_reason, sizeof d->health_reason, told, "reason");
	d->suspends = json_get_bool(told, "suspends", false);
	d->present = strcmp(health, "lost") != 0;
	if (!d->present && !was_lost)
		strike(d);
	if (strcmp(health, "faulty") == 0 && !d->faulty)
		device_set_faulty(d, d->health_reason[0] ? d->health_reason : "reported as faulty");
	if (now_faulty)
		*now_faulty = d->faulty && !was_faulty;
	return SL_OK;
}

void devices_away(struct devices *devices, const char *machine)
{
	for (size_t i = 0; i < devices->n; i++)
		if (strcmp(devices->at[i].machine, machine) == 0)
			devices->at[i].present = false;
}

uint32_t device_state(const struct device *d)
{
	if (d->faulty || !d->present)
		return SL_DEVICE_FAULTY;
	if (d->drain)
		return d->lease ? SL_DEVICE_DRAINING : SL_DEVICE_DRAINED;
	if (d->lease)
		return d->releasing ? SL_DEVICE_SCRUBBING : SL_DEVICE_GRANTED;
	return d->hold ? SL_DEVICE_HELD : SL_DEVICE_FREE;
}

const char *device_state_name(const struct device *d)
{
	static const char *const names[] = { "free", "held", "granted", "scrubbing", "draining", "faulty", "probation",
	                                     "drained" };
	return d->present || d->faulty ? names[device_state(d)] : "unknown";
}

void device_set_faulty(struct device *d, const char *reason)
{
	char copy[SL_ERROR_TEXT]; /* reason may be a part of the device */
	snprintf(copy, sizeof copy, "%s", reason);
	d->faulty = true;
	memcpy(d->reason, copy, sizeof copy);
}

bool device_suits(const struct device *d, const char *kind, uint64_t memory_bytes)
{
	return (!kind[0] || strcmp(d->kind, kind) == 0) && d->memory_bytes >= memory_bytes;
}

int devices_suit(const struct devices *devices, const struct lease *lease, const uint32_t *indices, uint32_t n,
                 sl_error *error)
{
	if (n != lease->wanted)
		return error_set(error, SL_ECONFLICT, "L%llu wants %u devices and was to get %u: all or nothing",
		                 (unsigned long long) lease->number, lease->wanted, n);
	for (uint32_t i = 0; i < n; i++) {
		if (indices[i] >= devices->n)
			return error_set(error, SL_ECONFLICT, "there is no device %u", indices[i]);
		const struct device *d = &devices->at[indices[i]];
		if (!device_suits(d, lease->kind, lease->memory_bytes))
			return error_set(error, SL_ECONFLICT, "%s is no %s with enough memory, as L%llu wants", d->name,
			                 lease->kind[0] ? lease->kind : "device", (unsigned long long) lease->number);
		if (strcmp(d->machine, devices->at[indices[0]].machine) != 0)
			return error_set(error, SL_ECONFLICT, "%s and %s are not on one machine", devices->at[indices[0]].name,
			                 d->name);
		for (uint32_t k = 0; k < i; k++)
			if (indices[k] == indices[i])
				return error_set(error, SL_ECONFLICT, "%s was to be granted twice", d->name);
	}
	return SL_OK;
}

int devices_grant(struct devices *devices, struct lease *lease, const uint32_t *indices, uint32_t n, sl_error *error)
{
	int code = devices_suit(devices, lease, indices, n, error);
	for (uint32_t i = 0; code == SL_OK && i < n; i++) {
		const struct device *d = &devices->at[indices[i]];
		uint32_t state = device_state(d);
		if (state == SL_DEVICE_HELD && d->hold != lease->number)
			code = error_set(error, SL_ECONFLICT, "%s is held for L%llu", d->name, (unsigned long long) d->hold);
		else if (state != SL_DEVICE_FREE && state != SL_DEVICE_HELD)
			code = error_set(error, SL_ECONFLICT, "%s is %s, not free", d->name, device_state_name(d));
	}
	if (code != SL_OK)
		return code;
	if (lease->hold_until_ms)
		devices_unhold(devices, lease->number);
	lease->hold_until_ms = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct device *d = &devices->at[indices[i]];
		d->lease = lease->number;
		d->releasing = false;
		memcpy(lease->places[i].uuid, d->uuid, sizeof d->uuid);
		memcpy(lease->places[i].name, d->name, sizeof d->name);
	}
	lease->n_places = n;
	return SL_OK;
}

int devices_rebind(struct devices *devices, const struct lease *lease, sl_error *error)
{
	for (uint32_t i = 0; i < lease->n_places; i++) {
		const struct device *d = devices_find(devices, str_of(lease->places[i].uuid));
		if (!d)
			return error_set(error, SL_ENOTFOUND, "its device %s (%s) is gone", lease->places[i].name,
			                 lease->places[i].uuid);
		if (d->lease && d->lease != lease->number)
			return error_set(error, SL_ECONFLICT, "its device %s belongs to L%llu", d->name,
			                 (unsigned long long) d->lease);
	}
	for (uint32_t i = 0; i < lease->n_places; i++)
		devices_find(devices, str_of(lease->places[i].uuid))->lease = lease->number;
	return SL_OK;
}

void devices_free_lease(struct devices *devices, uint64_t number)
{
	for (size_t i = 0; i < devices->n; i++)
		if (devices->at[i].lease == number) {
			devices->at[i].lease = 0;
			devices->at[i].releasing = false;
		}
}

void devices_unhold(struct devices *devices, uint64_t number)
{
	for (size_t i = 0; i < devices->n; i++)
		if (devices->at[i].hold == number)
			devices->at[i].hold = 0;
}

void devices_releasing(struct devices *devices, uint64_t number)
{
	for (size_t i = 0; i < devices->n; i++)
		if (devices->at[i].lease == number)
			devices->at[i].releasing = true;
}

static void set_known(json_t *object, const char *key, int64_t value)
{
	json_object_set_new(object, key, value >= 0 ? json_integer(value) : json_null());
}

json_t *device_json(const struct device *d, const struct lease *holder)
{
	char text[32];
	json_t *object = json_object();
	json_set_str(object, "device", str_of(d->name));
	json_set_str(object, "uuid", str_of(d->uuid));
	json_set_str(object, "machine", str_of(d->machine));
	json_object_set_new(object, "index", json_integer(d->index));
	json_set_str(object, "vendor", str_of(d->vendor));
	json_set_str(object, "model", str_of(d->model));
	json_set_str(object, "kind", str_of(d->kind));
	json_object_set_new(object, "memory_bytes", json_integer((json_int_t) d->memory_bytes));
	set_known(object, "memory_used_bytes", d->memory_used_bytes);
	set_known(object, "busy_permille", d->busy_permille);
	set_known(object, "temperature_c", d->temperature_c);
	set_known(object, "power_mw", d->power_mw);
	json_set_str(object, "state", str_of(device_state_name(d)));
	json_set_str(object, "health", str_of(d->health));
	json_set_str(object, "reason", str_of(d->faulty || d->drain ? d->reason : d->health_reason));
	const char *who = !holder ? "" : holder->model[0] ? holder->model : holder->user;
	json_set_str(object, "holder", str_of(who));
	lease_id(d->lease, text);
	json_object_set_new(object, "lease", d->lease ? json_string(text) : json_null());
	uint64_t ends_ms = holder ? lease_ends_ms(holder) : 0;
	if (ends_ms)
		clock_rfc3339(ends_ms, text);
	json_object_set_new(object, "ends_at", ends_ms ? json_string(text) : json_null());
	json_set_str(object, "island", str_of(d->island));
	json_object_set_new(object, "numa_node", json_integer(d->numa_node));
	json_set_str(object, "isolation", str_of(d->isolation));
	json_set_str(object, "backend", str_of(d->backend));
	return object;
}

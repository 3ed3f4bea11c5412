/* SPDX-License-Identifier: Apache-2.0 */
/* devices.c - the devices of the pool. */
#include <stdio.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/str.h"
#include "core/control/inner.h"

void control_devices(struct call *call)
{
	call_json(call, 200, pool_devices(call->control->pool));
}

static json_t *find_device(struct call *call, const char *name)
{
	json_t *devices = pool_devices(call->control->pool), *device, *found = NULL;
	size_t i;
	json_array_foreach(devices, i, device)
		if (strcmp(json_get_str(device, "device", ""), name) == 0)
			found = json_incref(device);
	json_decref(devices);
	return found;
}

static void drain(struct call *call, bool on)
{
	static const char *const fields[] = { "reason", NULL };
	char name[2 * SL_NAME_MAX];
	const char *reason;
	sl_error error = { 0 };
	if (!call_body(call, fields) || !call_member_str(call, "reason", "", &reason))
		return;
	snprintf(name, sizeof name, "%.*s/%.*s", STR_ARG(call->params[0]), STR_ARG(call->params[1]));
	json_t *device = find_device(call, name);
	if (!device) {
		call_fail(call, 404, "unknown_device", NULL, "sluicectl devices", "there is no device '%s'", name);
		return;
	}
	json_decref(device);
	if (pool_drain_device(call->control->pool, name, on, reason, &error) != SL_OK)
		call_fail_error(call, &error);
	else
		call_json(call, 200, find_device(call, name));
}

void control_device_drain(struct call *call)
{
	drain(call, true);
}

void control_device_undrain(struct call *call)
{
	drain(call, false);
}

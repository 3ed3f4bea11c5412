/* SPDX-License-Identifier: Apache-2.0 */
/* nvml.c - a libnvidia-ml.so.1 whose GPUs are what a script says. Only what the backend calls. */
#include <stdio.h>

#include "backends/cuda/nvml.h"
#include "tests/fake/script.h"

#define EXPORT __attribute__((visibility("default")))

enum { HANDLES_MAX = 64 };

struct nvml_device {
	char uuid[NVML_UUID_MAX], gpu[NVML_UUID_MAX];
};
struct nvml_gpm_sample {
	int taken;
};

static struct nvml_device handles[HANDLES_MAX];
static size_t events_given;

/* One call: its script, and the entry of the device that it is on. */
struct call {
	json_t *script, *gpu, *slice;
	int result;
};

static nvml_device handle_of(const char *uuid, const char *gpu)
{
	size_t i = 0;
	while (i + 1 < HANDLES_MAX && handles[i].uuid[0] && strcmp(handles[i].uuid, uuid) != 0)
		i++;
	snprintf(handles[i].uuid, sizeof handles[i].uuid, "%s", uuid);
	snprintf(handles[i].gpu, sizeof handles[i].gpu, "%s", gpu);
	return &handles[i];
}

static struct call begin(const char *name, nvml_device device)
{
	struct call c = { 0 };
	size_t i, k;
	json_t *gpu, *slice;
	c.script = script_begin(name, &c.result);
	if (!device)
		return c;
	json_array_foreach(json_object_get(c.script, "gpus"), i, gpu) {
		if (strcmp(script_text(gpu, "uuid", ""), device->gpu) != 0)
			continue;
		c.gpu = gpu;
		json_array_foreach(json_object_get(gpu, "mig"), k, slice)
			if (strcmp(script_text(slice, "uuid", ""), device->uuid) == 0)
				c.slice = slice;
	}
	if (c.result == NVML_SUCCESS && (!c.gpu || (strcmp(device->uuid, device->gpu) != 0 && !c.slice)))
		c.result = NVML_NOT_FOUND;
	if (c.result == NVML_SUCCESS && json_is_true(json_object_get(c.gpu, "lost")))
		c.result = NVML_GPU_IS_LOST;
	return c;
}

static int end(struct call *c)
{
	json_decref(c->script);
	return c->result;
}

/* A figure of the device; NOT_SUPPORTED where the script has none. */
static int figure(const char *name, nvml_device device, const char *key, unsigned long long *out)
{
	struct call c = begin(name, device);
	const json_t *v = json_object_get(c.slice ? c.slice : c.gpu, key);
	if (c.result == NVML_SUCCESS && !json_is_integer(v))
		c.result = NVML_NOT_SUPPORTED;
	if (c.result == NVML_SUCCESS)
		*out = (unsigned long long) json_integer_value(v);
	return end(&c);
}

static int small_figure(const char *name, nvml_device device, const char *key, unsigned *out)
{
	unsigned long long value = 0;
	int result = figure(name, device, key, &value);
	if (result == NVML_SUCCESS)
		*out = (unsigned) value;
	return result;
}

#define FUNCTION(NAME, ...) EXPORT int NAME(__VA_ARGS__); EXPORT int NAME(__VA_ARGS__)

EXPORT const char *nvmlErrorString(int result);
EXPORT const char *nvmlErrorString(int result)
{
	return result == NVML_GPU_IS_LOST ? "GPU is lost" : result == NVML_DRIVER_NOT_LOADED ? "Driver Not Loaded" : "some error";
}

FUNCTION(nvmlInit_v2, void)
{
	struct call c = begin("nvmlInit_v2", NULL);
	return end(&c);
}

FUNCTION(nvmlShutdown, void)
{
	return NVML_SUCCESS;
}

FUNCTION(nvmlSystemGetDriverVersion, char *out, unsigned room)
{
	struct call c = begin("nvmlSystemGetDriverVersion", NULL);
	snprintf(out, room, "%s", script_text(c.script, "driver", "0"));
	return end(&c);
}

FUNCTION(nvmlDeviceGetCount_v2, unsigned *out)
{
	struct call c = begin("nvmlDeviceGetCount_v2", NULL);
	*out = (unsigned) json_array_size(json_object_get(c.script, "gpus"));
	return end(&c);
}

FUNCTION(nvmlDeviceGetHandleByIndex_v2, unsigned index, nvml_device *out)
{
	struct call c = begin("nvmlDeviceGetHandleByIndex_v2", NULL);
	json_t *gpu = json_array_get(json_object_get(c.script, "gpus"), index);
	if (c.result == NVML_SUCCESS && !gpu)
		c.result = NVML_NOT_FOUND;
	else if (json_is_true(json_object_get(gpu, "lost")))
		c.result = NVML_GPU_IS_LOST;
	if (c.result == NVML_SUCCESS)
		*out = handle_of(script_text(gpu, "uuid", ""), script_text(gpu, "uuid", ""));
	return end(&c);
}

FUNCTION(nvmlDeviceGetUUID, nvml_device device, char *out, unsigned room)
{
	struct call c = begin("nvmlDeviceGetUUID", device);
	snprintf(out, room, "%s", device->uuid);
	return end(&c);
}

FUNCTION(nvmlDeviceGetName, nvml_device device, char *out, unsigned room)
{
	struct call c = begin("nvmlDeviceGetName", device);
	snprintf(out, room, "%s", script_text(c.slice ? c.slice : c.gpu, "name", "NVIDIA Fake"));
	return end(&c);
}

FUNCTION(nvmlDeviceGetPciInfo_v3, nvml_device device, struct nvml_pci *out)
{
	struct call c = begin("nvmlDeviceGetPciInfo_v3", device);
	*out = (struct nvml_pci){ 0 };
	snprintf(out->id, sizeof out->id, "%s", script_text(c.gpu, "bus", ""));
	return end(&c);
}

FUNCTION(nvmlDeviceGetMemoryInfo_v2, nvml_device device, struct nvml_memory *out)
{
	struct call c = begin("nvmlDeviceGetMemoryInfo_v2", device);
	const json_t *from = c.slice ? c.slice : c.gpu;
	if (out->version != NVML_STRUCT_VERSION(struct nvml_memory, 2u))
		c.result = 25;
	out->total = (unsigned long long) script_number(from, "memory", 0);
	out->used = (unsigned long long) script_number(from, "used", 0);
	out->free = out->total - out->used;
	out->reserved = 0;
	return end(&c);
}

FUNCTION(nvmlDeviceGetUtilizationRates, nvml_device device, struct nvml_utilization *out)
{
	return small_figure("nvmlDeviceGetUtilizationRates", device, "busy", &out->gpu);
}

FUNCTION(nvmlDeviceGetTemperature, nvml_device device, unsigned sensor, unsigned *out)
{
	(void) sensor;
	return small_figure("nvmlDeviceGetTemperature", device, "temperature", out);
}

FUNCTION(nvmlDeviceGetPowerUsage, nvml_device device, unsigned *out)
{
	return small_figure("nvmlDeviceGetPowerUsage", device, "power", out);
}

FUNCTION(nvmlDeviceGetEnforcedPowerLimit, nvml_device device, unsigned *out)
{
	return small_figure("nvmlDeviceGetEnforcedPowerLimit", device, "power_limit", out);
}

FUNCTION(nvmlDeviceGetCurrentClocksThrottleReasons, nvml_device device, unsigned long long *out)
{
	return figure("nvmlDeviceGetCurrentClocksThrottleReasons", device, "throttle", out);
}

FUNCTION(nvmlDeviceGetTotalEccErrors, nvml_device device, unsigned type, unsigned counter, unsigned long long *out)
{
	(void) counter;
	return figure("nvmlDeviceGetTotalEccErrors", device, type == NVML_CORRECTED ? "corrected" : "ecc", out);
}

FUNCTION(nvmlDeviceGetRemappedRows, nvml_device device, unsigned *corrected, unsigned *uncorrected, unsigned *pending,
         unsigned *failed)
{
	struct call c = begin("nvmlDeviceGetRemappedRows", device);
	const json_t *rows = json_object_get(c.gpu, "remap");
	unsigned *const out[] = { corrected, uncorrected, pending, failed };
	if (c.result == NVML_SUCCESS && !rows)
		c.result = NVML_NOT_SUPPORTED;
	for (size_t i = 0; i < 4 && c.result == NVML_SUCCESS; i++)
		*out[i] = (unsigned) json_integer_value(json_array_get(rows, i));
	return end(&c);
}

FUNCTION(nvmlDeviceGetFieldValues, nvml_device device, int n, struct nvml_field *fields)
{
	struct call c = begin("nvmlDeviceGetFieldValues", device);
	for (int i = 0; i < n && c.result == NVML_SUCCESS; i++) {
		const json_t *v = fields[i].id == NVML_FIELD_RECOVERY_ACTION ? json_object_get(c.gpu, "action") : NULL;
		fields[i].result = v ? NVML_SUCCESS : NVML_NOT_SUPPORTED;
		fields[i].value.u = (unsigned) json_integer_value(v);
	}
	return end(&c);
}

static int links_of(const struct call *c)
{
	const json_t *peers = json_object_get(c->gpu, "peers");
	return peers ? (int) json_array_size(peers) : json_is_true(json_object_get(c->gpu, "switch"));
}

FUNCTION(nvmlDeviceGetNvLinkState, nvml_device device, unsigned link, unsigned *up)
{
	struct call c = begin("nvmlDeviceGetNvLinkState", device);
	if (c.result == NVML_SUCCESS && (int) link >= links_of(&c))
		c.result = NVML_NOT_SUPPORTED;
	*up = 1;
	return end(&c);
}

FUNCTION(nvmlDeviceGetNvLinkRemoteDeviceType, nvml_device device, unsigned link, unsigned *out)
{
	struct call c = begin("nvmlDeviceGetNvLinkRemoteDeviceType", device);
	(void) link;
	*out = json_is_true(json_object_get(c.gpu, "switch")) ? NVML_LINK_TO_SWITCH : 0;
	return end(&c);
}

FUNCTION(nvmlDeviceGetNvLinkRemotePciInfo_v2, nvml_device device, unsigned link, struct nvml_pci *out)
{
	struct call c = begin("nvmlDeviceGetNvLinkRemotePciInfo_v2", device);
	size_t peer = (size_t) json_integer_value(json_array_get(json_object_get(c.gpu, "peers"), link));
	const json_t *other = json_array_get(json_object_get(c.script, "gpus"), peer);
	*out = (struct nvml_pci){ 0 };
	snprintf(out->id, sizeof out->id, "%s", script_text(other, "bus", ""));
	return end(&c);
}

/* Is that process suspended, as the other fake keeps it? */
static int is_away(const json_t *script, long long pid)
{
	char path[512], state = '0';
	snprintf(path, sizeof path, "%s/%lld", script_text(script, "states", ""), pid);
	FILE *file = fopen(path, "r");
	if (!file)
		return 0;
	int got = fread(&state, 1, 1, file) == 1;
	fclose(file);
	return got && state == '2';
}

FUNCTION(nvmlDeviceGetComputeRunningProcesses_v3, nvml_device device, unsigned *n, struct nvml_process *out)
{
	struct call c = begin("nvmlDeviceGetComputeRunningProcesses_v3", device);
	unsigned room = *n, found = 0;
	size_t i;
	json_t *p;
	json_array_foreach(json_object_get(c.slice ? c.slice : c.gpu, "processes"), i, p) {
		if (is_away(c.script, script_number(p, "pid", 0)))
			continue;
		if (found < room)
			out[found] = (struct nvml_process){ .pid = (unsigned) script_number(p, "pid", 0), .gi = (unsigned) NVML_NO_INSTANCE,
			                                    .memory = (unsigned long long) script_number(p, "memory", 0) };
		found++;
	}
	*n = found;
	if (c.result == NVML_SUCCESS && found > room)
		c.result = NVML_INSUFFICIENT_SIZE;
	return end(&c);
}

FUNCTION(nvmlDeviceGetMigMode, nvml_device device, unsigned *mode, unsigned *pending)
{
	struct call c = begin("nvmlDeviceGetMigMode", device);
	*mode = *pending = json_object_get(c.gpu, "mig") != NULL;
	return end(&c);
}

FUNCTION(nvmlDeviceGetMaxMigDeviceCount, nvml_device device, unsigned *out)
{
	struct call c = begin("nvmlDeviceGetMaxMigDeviceCount", device);
	*out = 7;
	return end(&c);
}

FUNCTION(nvmlDeviceGetMigDeviceHandleByIndex, nvml_device device, unsigned index, nvml_device *out)
{
	struct call c = begin("nvmlDeviceGetMigDeviceHandleByIndex", device);
	const json_t *slice = json_array_get(json_object_get(c.gpu, "mig"), index);
	if (c.result == NVML_SUCCESS && !json_is_object(slice))
		c.result = NVML_NOT_FOUND;
	if (c.result == NVML_SUCCESS)
		*out = handle_of(script_text(slice, "uuid", ""), device->gpu);
	return end(&c);
}

FUNCTION(nvmlDeviceGetGpuInstanceId, nvml_device device, unsigned *out)
{
	return small_figure("nvmlDeviceGetGpuInstanceId", device, "gi", out);
}

FUNCTION(nvmlDeviceGetComputeInstanceId, nvml_device device, unsigned *out)
{
	return small_figure("nvmlDeviceGetComputeInstanceId", device, "ci", out);
}

FUNCTION(nvmlEventSetCreate, nvml_events *out)
{
	static int set;
	*out = (nvml_events) (void *) &set;
	return NVML_SUCCESS;
}

FUNCTION(nvmlEventSetFree, nvml_events set)
{
	(void) set;
	return NVML_SUCCESS;
}

FUNCTION(nvmlDeviceGetSupportedEventTypes, nvml_device device, unsigned long long *out)
{
	struct call c = begin("nvmlDeviceGetSupportedEventTypes", device);
	*out = NVML_EVENTS_WANTED;
	return end(&c);
}

FUNCTION(nvmlDeviceRegisterEvents, nvml_device device, unsigned long long types, nvml_events set)
{
	struct call c = begin("nvmlDeviceRegisterEvents", device);
	(void) types;
	(void) set;
	return end(&c);
}

FUNCTION(nvmlEventSetWait_v2, nvml_events set, struct nvml_event *out, unsigned wait_ms)
{
	struct call c = begin("nvmlEventSetWait_v2", NULL);
	const json_t *e = json_array_get(json_object_get(c.script, "events"), events_given);
	(void) set;
	(void) wait_ms;
	if (c.result == NVML_SUCCESS && !e)
		c.result = NVML_TIMEOUT;
	if (c.result == NVML_SUCCESS) {
		const json_t *gpu = json_array_get(json_object_get(c.script, "gpus"), (size_t) script_number(e, "gpu", 0));
		const char *uuid = script_text(gpu, "uuid", "");
		*out = (struct nvml_event){ .device = handle_of(uuid, uuid), .type = (unsigned long long) script_number(e, "type", 8),
		                            .data = (unsigned long long) script_number(e, "data", 0),
		                            .gi = (unsigned) script_number(e, "gi", NVML_NO_INSTANCE),
		                            .ci = (unsigned) NVML_NO_INSTANCE };
		events_given++;
	}
	return end(&c);
}

FUNCTION(nvmlGpmQueryDeviceSupport, nvml_device device, struct nvml_gpm_support *out)
{
	struct call c = begin("nvmlGpmQueryDeviceSupport", device);
	out->supported = json_object_get(c.gpu, "sm_busy") != NULL;
	return end(&c);
}

FUNCTION(nvmlGpmSampleAlloc, nvml_gpm *out)
{
	*out = calloc(1, sizeof **out);
	return *out ? NVML_SUCCESS : 20;
}

FUNCTION(nvmlGpmSampleFree, nvml_gpm sample)
{
	free(sample);
	return NVML_SUCCESS;
}

FUNCTION(nvmlGpmSampleGet, nvml_device device, nvml_gpm sample)
{
	unsigned long long value = 0;
	int result = figure("nvmlGpmSampleGet", device, "sm_busy", &value);
	sample->taken = (int) value;
	return result;
}

FUNCTION(nvmlGpmMetricsGet, struct nvml_gpm_metrics *m)
{
	for (unsigned i = 0; i < m->n; i++) {
		m->metrics[i].result = m->metrics[i].id == NVML_GPM_SM_BUSY ? NVML_SUCCESS : NVML_NOT_SUPPORTED;
		m->metrics[i].value = m->second->taken;
	}
	return NVML_SUCCESS;
}

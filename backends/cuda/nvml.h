/* SPDX-License-Identifier: Apache-2.0 */
/* nvml.h - what we use of the driver's management library, in our own words, and the library opened at run time.
 *
 * Names and numbers are those of NVIDIA's documentation of NVML; the library itself comes with the driver and is never
 * linked. A function that the installed driver lacks is NULL, but for the few without which nothing works. */
#ifndef BACKENDS_CUDA_NVML_H
#define BACKENDS_CUDA_NVML_H

#include <sluice/backend.h>

enum nvml_result {
	NVML_SUCCESS = 0,
	NVML_NOT_SUPPORTED = 3,
	NVML_NO_PERMISSION = 4,
	NVML_NOT_FOUND = 6,
	NVML_INSUFFICIENT_SIZE = 7,
	NVML_INSUFFICIENT_POWER = 8,
	NVML_DRIVER_NOT_LOADED = 9,
	NVML_TIMEOUT = 10,
	NVML_IRQ_ISSUE = 11,
	NVML_CORRUPTED_INFOROM = 14,
	NVML_GPU_IS_LOST = 15,
	NVML_RESET_REQUIRED = 16,
	NVML_VERSION_MISMATCH = 18,
	NVML_IN_USE = 19,
	NVML_INSUFFICIENT_RESOURCES = 23,
	NVML_UNKNOWN = 999
};

enum {
	NVML_UUID_MAX = 96,
	NVML_NAME_MAX = 96,
	NVML_TEXT_MAX = 80,
	NVML_LINKS_MAX = 36,
	NVML_LINK_TO_SWITCH = 2,   /* remote device type: an NVSwitch, behind which every pair is equal */
	NVML_NO_INSTANCE = -1,     /* as unsigned: all bits */
	NVML_SENSOR_GPU = 0,
	NVML_CORRECTED = 0, NVML_UNCORRECTED = 1,
	NVML_VOLATILE = 0,         /* since the driver was loaded */
	NVML_AFFINITY_NODE = 0,
	NVML_FIELD_RECOVERY_ACTION = 230,
	NVML_GPM_VERSION = 1,
	NVML_GPM_SM_BUSY = 2,
	NVML_GPM_ROOM = 1024       /* metrics in the struct; the library writes as many as are asked for */
};

#define NVML_EVENT_DOUBLE_BIT_ECC 0x2ull
#define NVML_EVENT_XID 0x8ull
#define NVML_EVENT_GPU_UNAVAILABLE 0x4000ull
#define NVML_EVENTS_WANTED (NVML_EVENT_DOUBLE_BIT_ECC | NVML_EVENT_XID | NVML_EVENT_GPU_UNAVAILABLE)

/* Bits of the reasons for lower clocks. */
#define NVML_CLOCKS_POWER_CAP 0x4ull
#define NVML_CLOCKS_HARDWARE 0x8ull
#define NVML_CLOCKS_SOFTWARE_THERMAL 0x20ull
#define NVML_CLOCKS_HARDWARE_THERMAL 0x40ull
#define NVML_CLOCKS_POWER_BRAKE 0x80ull

typedef struct nvml_device *nvml_device;     /* opaque, the library's */
typedef struct nvml_event_set *nvml_events;
typedef struct nvml_gpm_sample *nvml_gpm;

#define NVML_STRUCT_VERSION(TYPE, N) ((unsigned) sizeof(TYPE) | (N) << 24)

struct nvml_memory { /* version 2: what the driver keeps for itself is not in `used` */
	unsigned version;
	unsigned long long total, reserved, free, used;
};
struct nvml_pci {
	char legacy[16];
	unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
	char id[32];
};
struct nvml_utilization {
	unsigned gpu, memory;
};
struct nvml_process {
	unsigned pid;
	unsigned long long memory;
	unsigned gi, ci;
};
struct nvml_event {
	nvml_device device;
	unsigned long long type, data;
	unsigned gi, ci;
};
struct nvml_field {
	unsigned id, scope;
	long long timestamp, latency;
	unsigned type;
	int result;
	union {
		double d;
		unsigned u;
		unsigned long long ull;
	} value;
};
struct nvml_gpm_metric {
	unsigned id;
	int result;
	double value;
	const char *names[3];
};
struct nvml_gpm_metrics {
	unsigned version, n;
	nvml_gpm first, second;
	struct nvml_gpm_metric metrics[NVML_GPM_ROOM];
};
struct nvml_gpm_support {
	unsigned version, supported;
};

/* X(our name, the library's, parameters): first those that must be there. */
#define NVML_NEEDED(X) \
	X(init, nvmlInit_v2, (void)) \
	X(shutdown, nvmlShutdown, (void)) \
	X(count, nvmlDeviceGetCount_v2, (unsigned *)) \
	X(by_index, nvmlDeviceGetHandleByIndex_v2, (unsigned, nvml_device *)) \
	X(uuid, nvmlDeviceGetUUID, (nvml_device, char *, unsigned)) \
	X(name, nvmlDeviceGetName, (nvml_device, char *, unsigned)) \
	X(pci, nvmlDeviceGetPciInfo_v3, (nvml_device, struct nvml_pci *)) \
	X(memory, nvmlDeviceGetMemoryInfo_v2, (nvml_device, struct nvml_memory *))
#define NVML_OPTIONAL(X) \
	X(driver_version, nvmlSystemGetDriverVersion, (char *, unsigned)) \
	X(library_version, nvmlSystemGetNVMLVersion, (char *, unsigned)) \
	X(utilization, nvmlDeviceGetUtilizationRates, (nvml_device, struct nvml_utilization *)) \
	X(temperature, nvmlDeviceGetTemperature, (nvml_device, unsigned, unsigned *)) \
	X(power, nvmlDeviceGetPowerUsage, (nvml_device, unsigned *)) \
	X(power_limit, nvmlDeviceGetEnforcedPowerLimit, (nvml_device, unsigned *)) \
	X(energy, nvmlDeviceGetTotalEnergyConsumption, (nvml_device, unsigned long long *)) \
	X(memory_affinity, nvmlDeviceGetMemoryAffinity, (nvml_device, unsigned, unsigned long *, unsigned)) \
	X(compute_processes, nvmlDeviceGetComputeRunningProcesses_v3, (nvml_device, unsigned *, struct nvml_process *)) \
	X(graphics_processes, nvmlDeviceGetGraphicsRunningProcesses_v3, (nvml_device, unsigned *, struct nvml_process *)) \
	X(mps_processes, nvmlDeviceGetMPSComputeRunningProcesses_v3, (nvml_device, unsigned *, struct nvml_process *)) \
	X(link_state, nvmlDeviceGetNvLinkState, (nvml_device, unsigned, unsigned *)) \
	X(link_pci, nvmlDeviceGetNvLinkRemotePciInfo_v2, (nvml_device, unsigned, struct nvml_pci *)) \
	X(link_remote, nvmlDeviceGetNvLinkRemoteDeviceType, (nvml_device, unsigned, unsigned *)) \
	X(ecc_errors, nvmlDeviceGetTotalEccErrors, (nvml_device, unsigned, unsigned, unsigned long long *)) \
	X(remapped_rows, nvmlDeviceGetRemappedRows, (nvml_device, unsigned *, unsigned *, unsigned *, unsigned *)) \
	X(retired_pending, nvmlDeviceGetRetiredPagesPendingStatus, (nvml_device, unsigned *)) \
	X(fields, nvmlDeviceGetFieldValues, (nvml_device, int, struct nvml_field *)) \
	X(clock_reasons, nvmlDeviceGetCurrentClocksEventReasons, (nvml_device, unsigned long long *)) \
	X(clock_reasons_old, nvmlDeviceGetCurrentClocksThrottleReasons, (nvml_device, unsigned long long *)) \
	X(event_types, nvmlDeviceGetSupportedEventTypes, (nvml_device, unsigned long long *)) \
	X(events_register, nvmlDeviceRegisterEvents, (nvml_device, unsigned long long, nvml_events)) \
	X(events_new, nvmlEventSetCreate, (nvml_events *)) \
	X(events_wait, nvmlEventSetWait_v2, (nvml_events, struct nvml_event *, unsigned)) \
	X(events_free, nvmlEventSetFree, (nvml_events)) \
	X(mig_mode, nvmlDeviceGetMigMode, (nvml_device, unsigned *, unsigned *)) \
	X(mig_count, nvmlDeviceGetMaxMigDeviceCount, (nvml_device, unsigned *)) \
	X(mig_by_index, nvmlDeviceGetMigDeviceHandleByIndex, (nvml_device, unsigned, nvml_device *)) \
	X(mig_gi, nvmlDeviceGetGpuInstanceId, (nvml_device, unsigned *)) \
	X(mig_ci, nvmlDeviceGetComputeInstanceId, (nvml_device, unsigned *)) \
	X(gpm_support, nvmlGpmQueryDeviceSupport, (nvml_device, struct nvml_gpm_support *)) \
	X(gpm_new, nvmlGpmSampleAlloc, (nvml_gpm *)) \
	X(gpm_free, nvmlGpmSampleFree, (nvml_gpm)) \
	X(gpm_get, nvmlGpmSampleGet, (nvml_device, nvml_gpm)) \
	X(gpm_get_mig, nvmlGpmMigSampleGet, (nvml_device, unsigned, nvml_gpm)) \
	X(gpm_metrics, nvmlGpmMetricsGet, (struct nvml_gpm_metrics *))

struct nvml {
	void *library;
	char driver[NVML_TEXT_MAX], version[NVML_TEXT_MAX]; /* "?": not known */
#define NVML_FIELD(NAME, SYMBOL, PARAMETERS) int (*NAME) PARAMETERS;
	NVML_NEEDED(NVML_FIELD)
	NVML_OPTIONAL(NVML_FIELD)
#undef NVML_FIELD
	const char *(*error_text)(int);
};

/* Opens the library and starts it. On an error the text says what this machine lacks. */
int nvml_open(struct nvml *n, const char *file, sl_error *error);
void nvml_close(struct nvml *n);
/* The library's words for a result. */
const char *nvml_words(const struct nvml *n, int result);
/* The result as one of our codes. */
int nvml_code(int result);

/* Calls an optional function: NVML_NOT_SUPPORTED when the driver has none. */
#define NVML_TRY(N, NAME, ...) ((N)->NAME ? (N)->NAME(__VA_ARGS__) : NVML_NOT_SUPPORTED)

#endif

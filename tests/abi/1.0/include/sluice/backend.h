/* SPDX-License-Identifier: Apache-2.0 */
/* backend.h - plugins for a family of devices.
 *
 * A backend runs in a child process of the agent, alone. All calls come one at a time on that process's main
 * thread and may block; each has a deadline, after which the process is abandoned, reported and replaced. */
#ifndef SLUICE_BACKEND_H
#define SLUICE_BACKEND_H

#include <sluice/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Descriptor caps */
#define SL_BACKEND_CAP_PARTITION (1ull << 0) /* devices can be cut into partitions */
#define SL_BACKEND_CAP_SUSPEND (1ull << 1)   /* state of a process can leave the device and come back */

enum sl_health {
	SL_HEALTH_OK = 0,
	SL_HEALTH_DEGRADED = 1, /* usable, but look at it: `reason` says why */
	SL_HEALTH_FAULTY = 2,   /* must not be granted */
	SL_HEALTH_LOST = 3      /* does not answer any more */
};

enum sl_isolation { SL_ISOLATION_WHOLE = 1, SL_ISOLATION_PARTITION = 2, SL_ISOLATION_SHARE = 3 };

/* One device. Known by uuid: indices change over reboots. */
typedef struct sl_device {
	uint32_t size;
	uint32_t index;        /* of this moment, for people */
	char uuid[96];
	char parent[96];       /* uuid of the device that this is a part of, empty: none */
	char vendor[SL_NAME_MAX];
	char model[SL_NAME_MAX];  /* "NVIDIA H100 80GB HBM3" */
	char kind[SL_NAME_MAX];   /* short, what people ask for: "h100-80g" */
	uint64_t memory_bytes;
	uint32_t isolation;    /* enum sl_isolation */
	int32_t numa_node;     /* -1: unknown */
	char island[SL_NAME_MAX]; /* devices with an equal, non-empty word have a fast link between them */
	char bus[32];          /* PCI address, may be empty */
} sl_device;

/* Telemetry of one device. Negative: unknown. */
typedef struct sl_sample {
	uint32_t size;
	uint32_t health;       /* enum sl_health */
	char uuid[96];
	int64_t memory_used_bytes;
	int32_t busy_permille; /* time with any work on it, the last second */
	int32_t temperature_c;
	int64_t power_mw;
	int64_t energy_mj;     /* since the driver was loaded */
	char reason[SL_ERROR_TEXT]; /* why health is not OK */
} sl_sample;

/* One environment variable for a process on a lease. */
typedef struct sl_env {
	char name[SL_NAME_MAX];
	char value[1024];
} sl_env;

typedef struct sl_backend_ops {
	uint32_t size;
	uint32_t reserved;
	/* Fills up to `room` devices, sets *n to how many there are (which may be above room). */
	int (*devices)(void *self, sl_device *out, size_t room, size_t *n, sl_error *);
	/* A sample of every device, in any order; as above. */
	int (*sample)(void *self, sl_sample *out, size_t room, size_t *n, sl_error *);
	/* Before a lease uses the devices. Fills the variables that make exactly these visible. */
	int (*prepare)(void *self, const char *const *uuids, size_t n_uuids, const char *lease,
	               sl_env *env, size_t room, size_t *n_env, sl_error *);
	/* After the last process of the lease is gone: scrub memory, check health. An error keeps the device out
	 * of the pool with that reason. */
	int (*release)(void *self, const char *const *uuids, size_t n_uuids, const char *lease, sl_error *);
} sl_backend_ops;

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* hip.h - what the parts of the AMD backend share. */
#ifndef BACKENDS_HIP_HIP_H
#define BACKENDS_HIP_HIP_H

#include <limits.h>
#include <stdbool.h>
#include <sluice/backend.h>

#include "backends/common/text.h"

enum { HIP_DEVICES_MAX = 256 };

struct hip_device {
	sl_device d;
	bool seen;          /* by the look under way; false afterwards: it is gone */
	unsigned number;    /* as the runtime counts, over all GPUs in the kernel's order */
	unsigned gpu_id;    /* the kernel driver's */
	unsigned long long unique_id; /* 0: it has none */
	bool named;         /* the runtime knows it by its unique id */
	char folder[PATH_MAX]; /* below the root: its device folder */
};

struct hip {
	const sl_host *host;
	char *root, *library;
	bool scrub;
	char scrub_off[SL_ERROR_TEXT];
	int64_t settle_ms, release_ms, idle_memory;
	struct hip_device devices[HIP_DEVICES_MAX];
	size_t n_devices;
};

/* sysfs.c: files below the root. */
/* The first line; false: there is no such file. */
bool sysfs_text(const struct hip *h, const char *folder, const char *name, char *out, size_t room);
int64_t sysfs_number(const struct hip *h, const char *folder, const char *name, int64_t fallback);
/* "NAME VALUE" lines, or "NAME: VALUE". */
unsigned long long sysfs_property(const struct hip *h, const char *folder, const char *name, const char *property,
                                  unsigned long long fallback);
/* Calls for each entry whose name begins so. */
void sysfs_each(const struct hip *h, const char *folder, const char *prefix, void (*each)(void *arg, const char *name),
                void *arg);
/* The folder below FOLDER/hwmon; false: none. */
bool sysfs_hwmon(const struct hip *h, const char *folder, char *out, size_t room);

/* inventory.c */
int hip_refresh(struct hip *h, sl_error *error);
struct hip_device *hip_find(struct hip *h, const char *uuid, sl_error *error);
struct hip_device *hip_find_living(struct hip *h, const char *uuid, sl_error *error);
int hip_devices(void *self, sl_device *out, size_t room, size_t *n, sl_error *error);

/* telemetry.c */
int64_t hip_memory_used(const struct hip *h, const struct hip_device *d);
int hip_sample(void *self, sl_sample *out, size_t room, size_t *n, sl_error *error);
int hip_telemetry(void *self, sl_telemetry *out, size_t room, size_t *n, sl_error *error);
int hip_processes(void *self, const char *uuid, sl_process *out, size_t room, size_t *n, sl_error *error);

/* lease.c */
int hip_prepare(void *self, const char *const *uuids, size_t n_uuids, const char *lease, sl_env *env, size_t room,
                size_t *n_env, sl_error *error);
int hip_release(void *self, const char *const *uuids, size_t n_uuids, const char *lease, sl_error *error);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* cuda.h - what the parts of the NVIDIA backend share. */
#ifndef BACKENDS_CUDA_CUDA_H
#define BACKENDS_CUDA_CUDA_H

#include <stdbool.h>
#include <sluice/backend.h>

#include "backends/common/text.h"
#include "backends/cuda/nvml.h"

enum {
	CUDA_DEVICES_MAX = 256,
	CUDA_EVENTS_MAX = 256,   /* kept until events() fetches them */
	CUDA_PROCESSES_MAX = 1024
};

struct cuda_device {
	sl_device d;
	bool hidden;         /* a GPU that is cut: granted slice by slice only */
	bool seen;           /* by the refresh under way */
	bool watched;        /* its events are registered */
	nvml_device handle;  /* NULL: does not answer, `why` says how */
	nvml_device gpu;     /* of a slice: the GPU that it is of; else handle */
	unsigned gi, ci;     /* of a slice */
	char why[SL_ERROR_TEXT];
	uint32_t mark;       /* enum sl_event_class that holds until check(), 0: none */
	char mark_text[SL_ERROR_TEXT];
	int32_t last_xid;
	nvml_gpm gpm;        /* the last sample of its counters, NULL: none */
};

struct cuda {
	const sl_host *host;
	struct nvml n;
	char *nvml_file, *driver_file;
	bool scrub, probe;
	char scrub_off[SL_ERROR_TEXT];   /* why there is no scrub; empty: there is one */
	char suspend_off[SL_ERROR_TEXT]; /* why nothing can be suspended; empty: it can */
	int driver_api;                  /* version of the driver API, 12040 is 12.4; 0: not found */
	int64_t settle_ms, release_ms, idle_memory;
	struct cuda_device devices[CUDA_DEVICES_MAX];
	size_t n_devices;
	char unknown[SL_ERROR_TEXT];     /* GPUs that never told who they are, empty: none */
	nvml_events event_set;           /* NULL: no events here */
	sl_event events[CUDA_EVENTS_MAX];
	size_t first_event, n_events;
	unsigned long long events_dropped;
};

/* inventory.c */
/* Looks at everything again. An error: the library itself does not answer. */
int cuda_refresh(struct cuda *c, sl_error *error);
/* NULL: there is none, and the error says so. Hidden ones are found too. */
struct cuda_device *cuda_find(struct cuda *c, const char *uuid, sl_error *error);
/* The same, and it answers. */
struct cuda_device *cuda_find_living(struct cuda *c, const char *uuid, sl_error *error);
/* A call on it failed so that it is gone: its handle is of no use any more. */
void cuda_lose(struct cuda_device *d, const char *why);
int cuda_devices(void *self, sl_device *out, size_t room, size_t *n, sl_error *error);
void cuda_forget_samples(struct cuda *c, struct cuda_device *d);

/* telemetry.c */
int cuda_sample(void *self, sl_sample *out, size_t room, size_t *n, sl_error *error);
int cuda_telemetry(void *self, sl_telemetry *out, size_t room, size_t *n, sl_error *error);
int cuda_processes(void *self, const char *uuid, sl_process *out, size_t room, size_t *n, sl_error *error);
/* Processes that compute on it, those behind MPS included. */
int cuda_computing(struct cuda *c, const struct cuda_device *d, sl_process *out, size_t room, size_t *n, sl_error *error);
/* -1: unknown */
int64_t cuda_memory_used(const struct cuda *c, const struct cuda_device *d);

/* health.c */
uint32_t cuda_health(struct cuda *c, struct cuda_device *d, char reason[SL_ERROR_TEXT]);
void cuda_watch(struct cuda *c, struct cuda_device *d);
/* Takes what the driver has to tell; never waits. */
void cuda_pump(struct cuda *c);
int cuda_events(void *self, sl_event *out, size_t room, size_t *n, sl_error *error);

/* xid.c */
struct xid {
	unsigned number;
	uint32_t event_class; /* enum sl_event_class */
	const char *text;
};
/* Never NULL: an unknown number has an entry too. */
const struct xid *xid_find(unsigned long long number);

/* lease.c */
int cuda_prepare(void *self, const char *const *uuids, size_t n_uuids, const char *lease, sl_env *env, size_t room,
                 size_t *n_env, sl_error *error);
int cuda_release(void *self, const char *const *uuids, size_t n_uuids, const char *lease, sl_error *error);
int cuda_check(void *self, const char *uuid, sl_error *error);

/* scrub.c: what is done on a device through the driver API, in a process of its own. */
struct scrub_job {
	char uuid[96], driver_file[256];
	bool scrub, probe;
};
int scrub_work(void *arg, sl_error *error);

/* suspend.c */
int cuda_suspend(void *self, const char *const *uuids, size_t n_uuids, const int32_t *pids, size_t n_pids,
                 uint64_t timeout_ms, sl_error *error);
int cuda_resume(void *self, const char *const *from, const char *const *to, size_t n_uuids, const int32_t *pids,
                size_t n_pids, uint64_t timeout_ms, sl_error *error);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* driver.h - what we use of the CUDA driver API, in our own words, and the library opened at run time.
 *
 * Only helper processes start it (cuInit): a context that met a fault is of no use to its process any more, and which
 * devices are visible is decided once. */
#ifndef BACKENDS_CUDA_DRIVER_H
#define BACKENDS_CUDA_DRIVER_H

#include <stddef.h>
#include <sluice/backend.h>

enum cu_result {
	CU_SUCCESS = 0,
	CU_OUT_OF_MEMORY = 2,
	CU_NOT_READY_SYSTEM = 802
};

enum cu_process_state {
	CU_RUNNING = 0, CU_LOCKED = 1, CU_CHECKPOINTED = 2, CU_FAILED = 3
};

typedef unsigned long long cu_pointer;
typedef struct cu_context *cu_context; /* opaque, the library's */
typedef struct cu_module *cu_module;
typedef struct cu_function *cu_function;

struct cu_uuid {
	unsigned char bytes[16];
};
struct cu_lock {
	unsigned timeout_ms, reserved0;
	unsigned long long reserved[7];
};
struct cu_checkpoint {
	void *storage;
	char reserved[56];
};
struct cu_gpu_pair {
	struct cu_uuid from, to;
};
struct cu_restore {
	struct cu_gpu_pair *pairs;
	unsigned n_pairs, padding;
	void *storage;
	char reserved[40];
};
struct cu_unlock {
	unsigned long long reserved[8];
};

/* X(our name, the library's, parameters) */
#define CU_BASE(X) \
	X(init, cuInit, (unsigned)) \
	X(error_text, cuGetErrorString, (int, const char **)) \
	X(device_count, cuDeviceGetCount, (int *)) \
	X(device, cuDeviceGet, (int *, int)) \
	X(context, cuDevicePrimaryCtxRetain, (cu_context *, int)) \
	X(use_context, cuCtxSetCurrent, (cu_context)) \
	X(memory_info, cuMemGetInfo_v2, (size_t *, size_t *)) \
	X(alloc, cuMemAlloc_v2, (cu_pointer *, size_t)) \
	X(free, cuMemFree_v2, (cu_pointer)) \
	X(fill, cuMemsetD32_v2, (cu_pointer, unsigned, size_t)) \
	X(read, cuMemcpyDtoH_v2, (void *, cu_pointer, size_t)) \
	X(synchronize, cuCtxSynchronize, (void)) \
	X(load, cuModuleLoadData, (cu_module *, const void *)) \
	X(function, cuModuleGetFunction, (cu_function *, cu_module, const char *)) \
	X(launch, cuLaunchKernel, (cu_function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, \
	                           void **, void **))
#define CU_CHECKPOINT(X) \
	X(lock, cuCheckpointProcessLock, (int, struct cu_lock *)) \
	X(checkpoint, cuCheckpointProcessCheckpoint, (int, struct cu_checkpoint *)) \
	X(restore, cuCheckpointProcessRestore, (int, struct cu_restore *)) \
	X(unlock, cuCheckpointProcessUnlock, (int, struct cu_unlock *)) \
	X(state, cuCheckpointProcessGetState, (int, int *))

struct driver {
	void *library;
	int version; /* 12040 is 12.4; 0: it does not say */
#define CU_FIELD(NAME, SYMBOL, PARAMETERS) int (*NAME) PARAMETERS;
	CU_BASE(CU_FIELD)
	CU_CHECKPOINT(CU_FIELD)
#undef CU_FIELD
};

/* Opens the library and starts nothing. */
int driver_open(struct driver *d, const char *file, sl_error *error);
/* NULL: it can suspend processes. Else why not. */
const char *driver_cannot_suspend(const struct driver *d);
/* Fills the error with what was tried, and the library's words. */
int driver_fail(const struct driver *d, sl_error *error, int code, const char *what, int result);

#endif

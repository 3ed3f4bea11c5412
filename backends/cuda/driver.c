/* SPDX-License-Identifier: Apache-2.0 */
/* driver.c - opens the CUDA driver API. */
#include "backends/cuda/driver.h"

#include <dlfcn.h>

#include "backends/common/text.h"

/* Sizes of NVIDIA's own declarations. */
_Static_assert(sizeof(struct cu_lock) == 64, "CUcheckpointLockArgs");
_Static_assert(sizeof(struct cu_checkpoint) == 64, "CUcheckpointCheckpointArgs");
_Static_assert(sizeof(struct cu_restore) == 64, "CUcheckpointRestoreArgs");
_Static_assert(sizeof(struct cu_unlock) == 64, "CUcheckpointUnlockArgs");
_Static_assert(sizeof(struct cu_gpu_pair) == 32, "CUcheckpointGpuPair");

int driver_open(struct driver *d, const char *file, sl_error *error)
{
	const char *missing = NULL;
	*d = (struct driver){ .library = dlopen(file, RTLD_NOW | RTLD_LOCAL) };
	if (!d->library) {
		const char *words = dlerror();
		return text_fail(error, SL_EUNAVAILABLE, "%.200s", words ? words : file);
	}
#define RESOLVE(NAME, SYMBOL, PARAMETERS) *(void **) (void *) &d->NAME = dlsym(d->library, #SYMBOL);
#define NEED(NAME, SYMBOL, PARAMETERS) RESOLVE(NAME, SYMBOL, PARAMETERS) if (!d->NAME && !missing) missing = #SYMBOL;
	CU_BASE(NEED)
	CU_CHECKPOINT(RESOLVE)
#undef NEED
#undef RESOLVE
	if (missing)
		return text_fail(error, SL_EUNAVAILABLE, "%s has no %s", file, missing);
	int (*version)(int *);
	*(void **) (void *) &version = dlsym(d->library, "cuDriverGetVersion");
	if (version)
		version(&d->version);
	return SL_OK;
}

const char *driver_cannot_suspend(const struct driver *d)
{
	if (!d->lock || !d->checkpoint || !d->restore || !d->unlock || !d->state)
		return "this driver has no cuCheckpointProcess functions: 570 or later is needed";
	return NULL;
}

int driver_fail(const struct driver *d, sl_error *error, int code, const char *what, int result)
{
	const char *words = NULL;
	if (d->error_text(result, &words) != CU_SUCCESS || !words)
		words = "unknown error";
	return text_fail(error, code, "%s: %s (%d)", what, words, result);
}

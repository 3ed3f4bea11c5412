/* SPDX-License-Identifier: Apache-2.0 */
/* nvml.c - opens the driver's management library. */
#include "backends/cuda/nvml.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "backends/common/text.h"

/* Sizes of NVIDIA's own declarations: what differs would be written over. */
_Static_assert(sizeof(struct nvml_memory) == 40, "nvmlMemory_v2_t");
_Static_assert(sizeof(struct nvml_pci) == 68, "nvmlPciInfo_t");
_Static_assert(sizeof(struct nvml_utilization) == 8, "nvmlUtilization_t");
_Static_assert(sizeof(struct nvml_process) == 24, "nvmlProcessInfo_t");
_Static_assert(sizeof(struct nvml_event) == 32, "nvmlEventData_t");
_Static_assert(sizeof(struct nvml_field) == 40, "nvmlFieldValue_t");
_Static_assert(sizeof(struct nvml_gpm_metric) == 40, "nvmlGpmMetric_t");

/* Names the first function that is missing among those that must be there; NULL: none is. */
static const char *resolve(struct nvml *n)
{
	const char *missing = NULL;
	/* dlsym's own type is no function's: POSIX wants the detour. */
#define RESOLVE(NAME, SYMBOL, PARAMETERS) *(void **) (void *) &n->NAME = dlsym(n->library, #SYMBOL);
#define NEED(NAME, SYMBOL, PARAMETERS) RESOLVE(NAME, SYMBOL, PARAMETERS) if (!n->NAME && !missing) missing = #SYMBOL;
	NVML_NEEDED(NEED)
	NVML_OPTIONAL(RESOLVE)
#undef NEED
#undef RESOLVE
	*(void **) (void *) &n->error_text = dlsym(n->library, "nvmlErrorString");
	return missing;
}

const char *nvml_words(const struct nvml *n, int result)
{
	const char *words = n->error_text ? n->error_text(result) : NULL;
	return words ? words : "unknown error";
}

int nvml_code(int result)
{
	switch (result) {
	case NVML_SUCCESS:
		return SL_OK;
	case NVML_NOT_SUPPORTED:
		return SL_ENOTSUP;
	case NVML_NO_PERMISSION:
		return SL_EDENIED;
	case NVML_NOT_FOUND:
		return SL_ENOTFOUND;
	case NVML_TIMEOUT:
		return SL_ETIMEOUT;
	default:
		return SL_EIO;
	}
}

static int not_started(struct nvml *n, const char *file, int result, sl_error *error)
{
	const char *advice = result == NVML_DRIVER_NOT_LOADED ? "; load the kernel module (modprobe nvidia) or reboot"
	                     : result == NVML_VERSION_MISMATCH ? "; the driver was upgraded under a running kernel module: reboot"
	                     : "";
	int rc = text_fail(error, SL_EUNAVAILABLE, "%s is there, but does not start: %s%s", file, nvml_words(n, result), advice);
	dlclose(n->library);
	*n = (struct nvml){ 0 };
	return rc;
}

int nvml_open(struct nvml *n, const char *file, sl_error *error)
{
	*n = (struct nvml){ .library = dlopen(file, RTLD_NOW | RTLD_LOCAL) };
	if (!n->library) {
		const char *words = dlerror();
		return text_fail(error, SL_EUNAVAILABLE, "no NVIDIA driver here: %s", words ? words : file);
	}
	const char *missing = resolve(n);
	if (missing) {
		int rc = text_fail(error, SL_EUNAVAILABLE, "%s has no %s: the driver is too old, 510 or later is needed", file, missing);
		dlclose(n->library);
		*n = (struct nvml){ 0 };
		return rc;
	}
	int result = n->init();
	if (result != NVML_SUCCESS)
		return not_started(n, file, result, error);
	if (NVML_TRY(n, driver_version, n->driver, sizeof n->driver) != NVML_SUCCESS)
		text_copy(n->driver, sizeof n->driver, "?");
	if (NVML_TRY(n, library_version, n->version, sizeof n->version) != NVML_SUCCESS)
		text_copy(n->version, sizeof n->version, "?");
	return SL_OK;
}

/* The library stays mapped: it has threads and handlers of its own. */
void nvml_close(struct nvml *n)
{
	if (n->library)
		n->shutdown();
	*n = (struct nvml){ 0 };
}

/* SPDX-License-Identifier: Apache-2.0 */
/* driver.c - a libcuda.so.1 whose devices keep their memory in files, so that what stays in it can be looked at. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

#include "backends/cuda/driver.h"
#include "tests/fake/script.h"

#define EXPORT __attribute__((visibility("default")))
#define FUNCTION(NAME, ...) EXPORT int NAME(__VA_ARGS__); EXPORT int NAME(__VA_ARGS__)

enum { FUNCTIONS_BASE = 4096 /* address 0 is no memory */ };

static unsigned char *memory;
static size_t size, taken;
static int wrong, forgets;

static int asked(const char *name)
{
	int result;
	json_decref(script_begin(name, &result));
	return result;
}

FUNCTION(cuDriverGetVersion, int *out)
{
	*out = 12040;
	return CU_SUCCESS;
}

FUNCTION(cuGetErrorString, int result, const char **out)
{
	*out = result == CU_OUT_OF_MEMORY ? "out of memory" : result == 214 ? "uncorrectable ECC error" : "some error";
	return CU_SUCCESS;
}

FUNCTION(cuInit, unsigned flags)
{
	int result, fd;
	json_t *script = script_begin("cuInit", &result), *gpu;
	const char *visible = getenv("CUDA_VISIBLE_DEVICES");
	size_t i;
	(void) flags;
	json_array_foreach(json_object_get(script, "gpus"), i, gpu) {
		const char *file = script_text(gpu, "file", NULL);
		if (!visible || strcmp(script_text(gpu, "uuid", ""), visible) != 0 || !file)
			continue;
		fd = open(file, O_RDWR | O_CLOEXEC);
		size = fd < 0 ? 0 : (size_t) lseek(fd, 0, SEEK_END);
		memory = size ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : NULL;
		close(fd);
		wrong = json_is_true(json_object_get(gpu, "wrong"));
		forgets = json_is_true(json_object_get(gpu, "forgets"));
	}
	json_decref(script);
	return result;
}

FUNCTION(cuDeviceGetCount, int *out)
{
	*out = memory != NULL;
	return CU_SUCCESS;
}

FUNCTION(cuDeviceGet, int *out, int index)
{
	*out = index;
	return CU_SUCCESS;
}

FUNCTION(cuDevicePrimaryCtxRetain, cu_context *out, int device)
{
	(void) device;
	*out = (cu_context) (void *) memory;
	return asked("cuDevicePrimaryCtxRetain");
}

FUNCTION(cuCtxSetCurrent, cu_context context)
{
	(void) context;
	return CU_SUCCESS;
}

FUNCTION(cuMemGetInfo_v2, size_t *left, size_t *total)
{
	*left = size - taken;
	*total = size;
	return CU_SUCCESS;
}

/* Nothing is ever handed out twice, unless all was given back: a stack. */
FUNCTION(cuMemAlloc_v2, cu_pointer *out, size_t bytes)
{
	if (bytes > size - taken)
		return CU_OUT_OF_MEMORY;
	*out = FUNCTIONS_BASE + taken;
	taken += bytes;
	return CU_SUCCESS;
}

FUNCTION(cuMemFree_v2, cu_pointer at)
{
	taken = at - FUNCTIONS_BASE;
	return CU_SUCCESS;
}

FUNCTION(cuMemsetD32_v2, cu_pointer at, unsigned value, size_t n)
{
	int result = asked("cuMemsetD32_v2");
	unsigned *words = (unsigned *) (void *) (memory + (at - FUNCTIONS_BASE));
	for (size_t i = 0; i < n && result == CU_SUCCESS && !forgets; i++)
		words[i] = value;
	return result;
}

FUNCTION(cuMemcpyDtoH_v2, void *out, cu_pointer at, size_t bytes)
{
	memcpy(out, memory + (at - FUNCTIONS_BASE), bytes);
	return CU_SUCCESS;
}

FUNCTION(cuCtxSynchronize, void)
{
	return asked("cuCtxSynchronize");
}

FUNCTION(cuModuleLoadData, cu_module *out, const void *text)
{
	*out = strstr(text, ".entry sluice_probe(") ? (cu_module) (void *) memory : NULL;
	return *out ? CU_SUCCESS : 218;
}

FUNCTION(cuModuleGetFunction, cu_function *out, cu_module module, const char *name)
{
	*out = (cu_function) (void *) module;
	return strcmp(name, "sluice_probe") == 0 ? CU_SUCCESS : 500;
}

/* Does what the kernel's text says. */
FUNCTION(cuLaunchKernel, cu_function function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
         unsigned shared, void *stream, void **arguments, void **extra)
{
	unsigned *words = (unsigned *) (void *) (memory + (*(cu_pointer *) arguments[0] - FUNCTIONS_BASE));
	unsigned n = *(unsigned *) arguments[1], seed = *(unsigned *) arguments[2];
	(void) function;
	(void) stream;
	(void) extra;
	if (shared || gy * gz * by * bz != 1)
		return 1;
	for (unsigned i = 0; i < gx * bx && i < n; i++)
		words[i] = i * 1664525 + seed + (wrong && i == 77);
	return CU_SUCCESS;
}

/* --- checkpoints: a file for each process --- */

static int state_path(int pid, char *out, size_t room)
{
	int result;
	json_t *script = script_begin("states", &result);
	snprintf(out, room, "%s/%d", script_text(script, "states", "/nonexistent"), pid);
	json_decref(script);
	return access(out, R_OK) == 0 ? CU_SUCCESS : 1;
}

FUNCTION(cuCheckpointProcessGetState, int pid, int *out)
{
	char path[512], state = '0';
	int result = state_path(pid, path, sizeof path);
	if (result != CU_SUCCESS)
		return result;
	FILE *file = fopen(path, "r");
	if (file && fread(&state, 1, 1, file) == 1)
		*out = state - '0';
	if (file)
		fclose(file);
	return CU_SUCCESS;
}

static int change(const char *name, int pid, int from, int to)
{
	char path[512];
	int result = asked(name), state = -1;
	if (result == CU_SUCCESS)
		result = cuCheckpointProcessGetState(pid, &state);
	if (result != CU_SUCCESS || state != from)
		return result != CU_SUCCESS ? result : 401;
	state_path(pid, path, sizeof path);
	FILE *file = fopen(path, "w");
	fputc('0' + to, file);
	fclose(file);
	return CU_SUCCESS;
}

FUNCTION(cuCheckpointProcessLock, int pid, struct cu_lock *arguments)
{
	(void) arguments;
	return change("cuCheckpointProcessLock", pid, CU_RUNNING, CU_LOCKED);
}

FUNCTION(cuCheckpointProcessCheckpoint, int pid, struct cu_checkpoint *arguments)
{
	(void) arguments;
	return change("cuCheckpointProcessCheckpoint", pid, CU_LOCKED, CU_CHECKPOINTED);
}

FUNCTION(cuCheckpointProcessRestore, int pid, struct cu_restore *arguments)
{
	(void) arguments;
	return change("cuCheckpointProcessRestore", pid, CU_CHECKPOINTED, CU_LOCKED);
}

FUNCTION(cuCheckpointProcessUnlock, int pid, struct cu_unlock *arguments)
{
	(void) arguments;
	return change("cuCheckpointProcessUnlock", pid, CU_LOCKED, CU_RUNNING);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* hip.c - a libamdhip64.so whose one visible device keeps its memory in the file DIR/VISIBLE, where DIR is what
 * SLUICE_FAKE_HIP names. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FUNCTION(NAME, ...) \
	__attribute__((visibility("default"))) int NAME(__VA_ARGS__); \
	__attribute__((visibility("default"))) int NAME(__VA_ARGS__)

enum { OUT_OF_MEMORY = 2, NO_DEVICE = 100 };

static char *memory;
static size_t size, taken;

FUNCTION(hipGetDeviceCount, int *out)
{
	char path[512];
	const char *folder = getenv("SLUICE_FAKE_HIP"), *visible = getenv("ROCR_VISIBLE_DEVICES");
	*out = 0;
	if (!folder || !visible)
		return NO_DEVICE;
	snprintf(path, sizeof path, "%s/%s", folder, visible);
	int fd = open(path, O_RDWR);
	if (fd < 0)
		return NO_DEVICE;
	size = (size_t) lseek(fd, 0, SEEK_END);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	*out = 1;
	return 0;
}

FUNCTION(hipMemGetInfo, size_t *left, size_t *total)
{
	*left = size - taken;
	*total = size;
	return 0;
}

FUNCTION(hipMalloc, void **out, size_t bytes)
{
	if (bytes > size - taken)
		return OUT_OF_MEMORY;
	*out = memory + taken;
	taken += bytes;
	return 0;
}

FUNCTION(hipFree, void *at)
{
	taken = (size_t) ((char *) at - memory);
	return 0;
}

FUNCTION(hipMemset, void *at, int value, size_t bytes)
{
	memset(at, value, bytes);
	return 0;
}

FUNCTION(hipMemcpy, void *to, const void *from, size_t bytes, int kind)
{
	(void) kind;
	memcpy(to, from, bytes);
	return 0;
}

FUNCTION(hipDeviceSynchronize, void)
{
	return 0;
}

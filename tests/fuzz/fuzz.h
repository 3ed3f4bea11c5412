/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz.h - what the fuzz targets share. Each also runs over its corpus in `make check` (replay.c). */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sluice/types.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A broken property ends the program, which is what a fuzzer looks for. */
#define CHECK(condition)                                                                                               \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition);                        \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* A copy in memory of exactly that size, so that AddressSanitizer sees a read behind it. */
static inline char *exact_copy(const void *data, size_t size)
{
	char *copy = malloc(size ? size : 1);
	CHECK(copy);
	if (size)
		memcpy(copy, data, size);
	return copy;
}

static inline void check_inside(sl_str span, const char *data, size_t size)
{
	CHECK(!span.ptr ? span.len == 0 : span.ptr >= data && span.len <= size && span.ptr + span.len <= data + size);
}

#endif

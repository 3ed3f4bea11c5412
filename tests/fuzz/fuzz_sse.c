/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_sse.c - event streams: however they arrive, the events are the same, and what they carry lies in them. */
#include <stdbool.h>

#include "core/http/sse.h"
#include "tests/fuzz/fuzz.h"

enum { INPUT_MAX = 4096 };

static void check_event(const char *data, size_t size)
{
	char *copy = exact_copy(data, size), *scratch = exact_copy(data, size);
	sl_str event = { copy, size }, found = sse_data(event, scratch);
	if (found.ptr == scratch)
		CHECK(found.len <= size);
	else
		check_inside(found, copy, size);
	CHECK(copy[size - 1] == '\n' || copy[size - 1] == '\r');
	free(copy);
	free(scratch);
}

/* The ends of all events when `step` bytes come at a time. */
static size_t split(const uint8_t *data, size_t size, size_t step, size_t *ends)
{
	size_t have = 0, taken = 0, scanned = 0, n = 0;
	while (have < size) {
		have = have + step < size ? have + step : size;
		char *part = exact_copy(data + taken, have - taken);
		size_t at = 0, event;
		while ((event = sse_event(part + at, have - taken - at, &scanned, have == size)) > 0) {
			CHECK(event <= have - taken - at && scanned == 0);
			check_event(part + at, event);
			at += event;
			ends[n++] = taken + at;
		}
		taken += at;
		CHECK(scanned <= have - taken);
		free(part);
	}
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static size_t whole[INPUT_MAX], parts[INPUT_MAX];
	static const size_t steps[] = { 1, 2, 3, 17 };
	if (size > INPUT_MAX)
		return 0;
	size_t n = split(data, size, size ? size : 1, whole);
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		CHECK(split(data, size, steps[i], parts) == n);
		CHECK(memcmp(whole, parts, n * sizeof whole[0]) == 0);
	}
	return 0;
}

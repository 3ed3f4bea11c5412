/* SPDX-License-Identifier: Apache-2.0 */
/* script.h - what the fakes of the vendors' libraries do, read anew at each call from the JSON file that
 * SLUICE_FAKE_GPUS names:
 *   driver    text
 *   gpus      [{uuid, name, bus, memory, used, busy, temperature, power, peers: [number], switch, lost, corrected,
 *              ecc, remap: [corrected, uncorrected, pending, failed], action, processes: [{pid, memory}],
 *              mig: [{uuid, gi, ci, name, memory}], file: where its memory is kept, wrong: the kernel computes wrong,
 *              forgets: its memory cannot be overwritten}]
 *   events    [{gpu, type, data}], each handed over once
 *   hang      [names of functions that never come back]
 *   fail      {name of a function: its result}
 *   states    folder with the state of processes that use CUDA, a file named by the pid for each */
#ifndef TESTS_FAKE_SCRIPT_H
#define TESTS_FAKE_SCRIPT_H

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline const char *script_text(const json_t *o, const char *key, const char *fallback)
{
	const char *text = json_string_value(json_object_get(o, key));
	return text ? text : fallback;
}

static inline long long script_number(const json_t *o, const char *key, long long fallback)
{
	const json_t *v = json_object_get(o, key);
	return json_is_integer(v) ? json_integer_value(v) : fallback;
}

/* The script, and what it says of this call: hangs, or sets *result. The caller decrefs. */
static inline json_t *script_begin(const char *call, int *result)
{
	const char *file = getenv("SLUICE_FAKE_GPUS");
	json_t *script = file ? json_load_file(file, 0, NULL) : NULL, *name;
	size_t i;
	json_array_foreach(json_object_get(script, "hang"), i, name)
		while (strcmp(json_string_value(name), call) == 0)
			pause();
	*result = (int) script_number(json_object_get(script, "fail"), call, 0);
	return script;
}

#endif

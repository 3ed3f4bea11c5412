/* SPDX-License-Identifier: Apache-2.0 */
/* test_suspend.c - processes leave NVIDIA's devices and come back, or run on as before when that fails. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sluice/backend.h>

#include "core/plugin/plugin.h"
#include "tests/unit/tap.h"

#define GPU_A "GPU-00000000-0000-0000-0000-00000000000a"
#define GPU_B "GPU-00000000-0000-0000-0000-00000000000b"
#define GPU_C "GPU-00000000-0000-0000-0000-00000000000c"

static char folder[] = "/tmp/sluice-suspend.XXXXXX";
static const int32_t pids[] = { 4001, 4002, 4003 }; /* the last one never used a device */

static void put(const char *name, const char *text)
{
	char path[256];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	FILE *file = fopen(path, "w");
	fputs(text, file);
	fclose(file);
}

static char state(const char *pid)
{
	char path[256], c = '?';
	snprintf(path, sizeof path, "%s/%s", folder, pid);
	FILE *file = fopen(path, "r");
	if (file && fread(&c, 1, 1, file) != 1)
		c = '?';
	if (file)
		fclose(file);
	return c;
}

/* `more` is put into the script: what hangs or fails. */
static void script(const char *more)
{
	char text[2048];
	snprintf(text, sizeof text, "{\"states\":\"%s\",%s\"gpus\":["
	         "{\"uuid\":\"" GPU_A "\",\"name\":\"NVIDIA H100\",\"memory\":1000,\"processes\":[{\"pid\":4001},{\"pid\":4002}]},"
	         "{\"uuid\":\"" GPU_B "\",\"name\":\"NVIDIA H100\",\"memory\":1000},"
	         "{\"uuid\":\"" GPU_C "\",\"name\":\"NVIDIA T4\",\"memory\":1000}]}", folder, more);
	put("script", text);
}

static bool are(char a, char b)
{
	return state("4001") == a && state("4002") == b;
}

int main(void)
{
	static const struct plugin_services none;
	static const char *const a = GPU_A, *const b = GPU_B, *const t4 = GPU_C;
	const char *build = getenv("top_builddir");
	char text[512], file[300];
	sl_error e = { 0 };
	if (!build || !mkdtemp(folder))
		return 99;
	snprintf(text, sizeof text, "%s/script", folder);
	setenv("SLUICE_FAKE_GPUS", text, 1);
	put("4001", "0");
	put("4002", "0");
	script("");
	snprintf(file, sizeof file, "%s/backends/cuda/.libs/cuda.so", build);
	snprintf(text, sizeof text, "{\"nvml\":\"%s/tests/fake/.libs/nvml.so\",\"driver\":\"%s/tests/fake/.libs/driver.so\","
	         "\"settle\":100}", build, build);
	json_t *options = json_loads(text, 0, NULL);
	struct plugin_spec spec = { .kind = SL_KIND_BACKEND, .name = file, .options = options };
	struct plugin *p = plugin_open(&spec, &none, NULL, &e);
	if (!tap_ok(p != NULL, "the backend opens: %s", e.text))
		return tap_done();
	const sl_backend_ops *ops = plugin_ops(p);
	void *self = plugin_self(p);

	tap_ok(ops->suspend(self, &a, 1, pids, 3, 2000, &e) == SL_OK && are('2', '2'), "both are moved off: %s", e.text);
	tap_ok(ops->suspend(self, &a, 1, pids, 3, 2000, &e) == SL_OK && are('2', '2'), "doing it again changes nothing");
	tap_ok(ops->resume(self, &a, &t4, 1, pids, 3, 2000, &e) == SL_EINVAL && are('2', '2'), "not on another kind: %s", e.text);
	tap_ok(ops->resume(self, &a, &b, 1, pids, 3, 2000, &e) == SL_OK && are('0', '0'), "on another device of the kind: %s", e.text);
	tap_ok(ops->resume(self, &a, &b, 1, pids, 3, 2000, &e) == SL_OK && are('0', '0'), "doing it again changes nothing");

	script("\"fail\":{\"cuCheckpointProcessCheckpoint\":999},");
	tap_ok(ops->suspend(self, &a, 1, pids, 3, 2000, &e) == SL_EUPSTREAM && are('0', '0'), "a failure is undone: %s", e.text);
	script("\"hang\":[\"cuCheckpointProcessCheckpoint\"],");
	tap_ok(ops->suspend(self, &a, 1, pids, 3, 500, &e) == SL_EUPSTREAM && are('0', '0') && strstr(e.text, "hangs in the driver"),
	       "so is one that hangs: %s", e.text);
	script("\"hang\":[\"cuCheckpointProcessCheckpoint\"],\"fail\":{\"cuCheckpointProcessUnlock\":999},");
	tap_ok(ops->suspend(self, &a, 1, pids, 3, 500, &e) == SL_EIO && strstr(e.text, "cannot be brought back"),
	       "what cannot be undone is said: %s", e.text);
	put("4001", "0");
	put("4002", "3");
	script("");
	tap_ok(ops->suspend(self, &a, 1, pids, 3, 2000, &e) == SL_EIO, "a process that failed before: %s", e.text);
	plugin_close(p, 0);
	json_decref(options);
	snprintf(text, sizeof text, "rm -r %s", folder);
	return system(text) == 0 ? tap_done() : 99;
}

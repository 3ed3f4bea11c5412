/* SPDX-License-Identifier: Apache-2.0 */
/* hip.c - AMD GPUs, by what the kernel driver shows in sysfs, and the HIP runtime for the scrub. */
#include "config.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/hip/hip.h"

static int hip_about(void *self, char *text, size_t room, sl_error *error)
{
	const struct hip *h = self;
	char version[64];
	(void) error;
	if (!room)
		return SL_OK;
	snprintf(text, room, "sysfs of the kernel driver amdgpu %s",
	         sysfs_text(h, "sys/module/amdgpu", "version", version, sizeof version) ? version : "that is part of the kernel");
	if (h->scrub)
		text_append(text, room, "; memory is scrubbed between leases by %s", h->library);
	else
		text_append(text, room, "; memory is not scrubbed between leases (%s)", h->scrub_off);
	text_append(text, room, "; processes cannot be suspended, and there are no test kernels");
	return SL_OK;
}

static void hip_close(void *self)
{
	struct hip *h = self;
	free(h->root);
	free(h->library);
	free(h);
}

/* The runtime is opened and not called: that is for helpers. */
static int look_at_runtime(struct hip *h, bool must, sl_error *error)
{
	static const char *const names[] = { "libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5", NULL };
	if (h->library && dlopen(h->library, RTLD_NOW | RTLD_LOCAL))
		return SL_OK;
	for (size_t i = 0; !h->library && names[i]; i++)
		if (dlopen(names[i], RTLD_NOW | RTLD_LOCAL)) {
			h->library = strdup(names[i]);
			return h->library ? SL_OK : text_fail(error, SL_ENOMEM, "out of memory");
		}
	text_copy(h->scrub_off, sizeof h->scrub_off, h->library ? dlerror() : "no libamdhip64.so.5, .6 or .7");
	h->scrub = false;
	if (must)
		return text_fail(error, SL_EUNAVAILABLE, "memory cannot be scrubbed here, and scrub = \"on\" wants it: %.160s", h->scrub_off);
	h->host->log(h->host, SL_LOG_WARN, "memory is not scrubbed between leases: %s", h->scrub_off);
	return SL_OK;
}

static int hip_open(const sl_host *host, const sl_conf *conf, void **self, sl_error *error)
{
	char about[512] = "";
	struct hip *h = calloc(1, sizeof *h);
	if (!h)
		return text_fail(error, SL_ENOMEM, "out of memory");
	sl_str scrub = host->conf_str(conf, "scrub");
	h->host = host;
	h->root = text_option(host, conf, "root");
	h->library = text_option(host, conf, "runtime");
	h->settle_ms = host->conf_int(conf, "settle");
	h->release_ms = host->conf_int(conf, "scrub_timeout");
	h->idle_memory = host->conf_int(conf, "idle_memory");
	h->scrub = scrub.len != 3;
	if (!h->scrub)
		text_copy(h->scrub_off, sizeof h->scrub_off, "the option scrub is off");
	int rc = h->root ? hip_refresh(h, error) : text_fail(error, SL_ENOMEM, "out of memory");
	if (rc == SL_OK && h->scrub)
		rc = look_at_runtime(h, scrub.len == 2, error);
	if (rc != SL_OK) {
		hip_close(h);
		return rc;
	}
	hip_about(h, about, sizeof about, NULL);
	host->log(host, SL_LOG_INFO, "%s", about);
	*self = h;
	return SL_OK;
}

static const sl_option options[] = {
	{ .name = "root", .type = SL_OPTION_PATH, .default_text = "/", .help = "where sys/ is found" },
	{ .name = "runtime", .type = SL_OPTION_PATH,
	  .help = "the HIP runtime, for scrubbing; without it libamdhip64.so.7, .6 and .5 are tried" },
	{ .name = "scrub", .type = SL_OPTION_ENUM, .values = "auto|on|off", .default_text = "auto",
	  .help = "overwrite memory between leases: auto does where the runtime is found" },
	{ .name = "settle", .type = SL_OPTION_DURATION, .default_text = "3s", .min = 0, .max = 6000,
	  .help = "how long a process may still be seen on a device after its end" },
	{ .name = "scrub_timeout", .type = SL_OPTION_DURATION, .default_text = "15s", .min = 100, .max = 15000,
	  .help = "when the scrub of a device counts as hung" },
	{ .name = "idle_memory", .type = SL_OPTION_BYTES, .default_text = "1G",
	  .help = "memory that may be in use though nobody is on a device" },
};

static const sl_backend_ops ops = {
	.size = sizeof ops,
	.devices = hip_devices,
	.sample = hip_sample,
	.prepare = hip_prepare,
	.release = hip_release,
	.about = hip_about,
	.telemetry = hip_telemetry,
	.processes = hip_processes,
};

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_BACKEND),
	.name = "hip",
	.version = "1.0",
	.summary = "AMD GPUs and their partitions",
	.options = options,
	.n_options = sizeof options / sizeof *options,
	.open = hip_open,
	.close = hip_close,
	.ops = &ops,
};

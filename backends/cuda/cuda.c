/* SPDX-License-Identifier: Apache-2.0 */
/* cuda.c - NVIDIA GPUs, by what the installed driver brings along. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cuda/cuda.h"
#include "backends/cuda/driver.h"

static int cuda_about(void *self, char *text, size_t room, sl_error *error)
{
	const struct cuda *c = self;
	(void) error;
	if (!room)
		return SL_OK;
	snprintf(text, room, "NVML %s of driver %s", c->n.version, c->n.driver);
	if (c->driver_api)
		text_append(text, room, ", CUDA driver API %d.%d", c->driver_api / 1000, c->driver_api % 1000 / 10);
	text_append(text, room, "; memory is %sscrubbed between leases", c->scrub ? "" : "not ");
	if (c->scrub_off[0])
		text_append(text, room, " (%s)", c->scrub_off);
	text_append(text, room, "; processes can %sbe suspended", c->suspend_off[0] ? "not " : "");
	if (c->suspend_off[0])
		text_append(text, room, " (%s)", c->suspend_off);
	if (c->unknown[0])
		text_append(text, room, "; not listed: %s", c->unknown);
	return SL_OK;
}

/* What the driver API is good for here. The library is opened and not started: that is for helpers. */
static int look_at_driver(struct cuda *c, bool must_scrub, sl_error *error)
{
	struct driver d;
	sl_error why = { 0 };
	if (driver_open(&d, c->driver_file, &why) != SL_OK) {
		text_copy(c->scrub_off, sizeof c->scrub_off, why.text);
		text_copy(c->suspend_off, sizeof c->suspend_off, why.text);
		if (must_scrub)
			return text_fail(error, SL_EUNAVAILABLE, "memory cannot be scrubbed here, and scrub = \"on\" wants it: %.160s", why.text);
		if (c->scrub)
			c->host->log(c->host, SL_LOG_WARN, "memory is not scrubbed between leases, and devices are not tested: %s", why.text);
		c->scrub = c->probe = false;
		return SL_OK;
	}
	c->driver_api = d.version;
	if (driver_cannot_suspend(&d))
		text_copy(c->suspend_off, sizeof c->suspend_off, driver_cannot_suspend(&d));
	return SL_OK;
}

static void cuda_close(void *self)
{
	struct cuda *c = self;
	for (size_t i = 0; i < c->n_devices; i++)
		cuda_forget_samples(c, &c->devices[i]);
	if (c->event_set && c->n.events_free)
		c->n.events_free(c->event_set);
	nvml_close(&c->n);
	free(c->nvml_file);
	free(c->driver_file);
	free(c);
}

static int cuda_open(const sl_host *host, const sl_conf *conf, void **self, sl_error *error)
{
	char about[1024] = "";
	struct cuda *c = calloc(1, sizeof *c);
	if (!c)
		return text_fail(error, SL_ENOMEM, "out of memory");
	sl_str scrub = host->conf_str(conf, "scrub");
	bool on = scrub.len == 2, off = scrub.len == 3;
	c->host = host;
	c->nvml_file = text_option(host, conf, "nvml");
	c->driver_file = text_option(host, conf, "driver");
	c->probe = host->conf_int(conf, "probe") != 0;
	c->settle_ms = host->conf_int(conf, "settle");
	c->release_ms = host->conf_int(conf, "scrub_timeout");
	c->idle_memory = host->conf_int(conf, "idle_memory");
	c->scrub = !off;
	if (off)
		text_copy(c->scrub_off, sizeof c->scrub_off, "the option scrub is off");
	int rc = c->nvml_file && c->driver_file ? nvml_open(&c->n, c->nvml_file, error) : text_fail(error, SL_ENOMEM, "out of memory");
	if (rc == SL_OK)
		rc = look_at_driver(c, on, error);
	if (rc == SL_OK)
		rc = cuda_refresh(c, error);
	if (rc != SL_OK) {
		cuda_close(c);
		return rc;
	}
	cuda_about(c, about, sizeof about, NULL);
	host->log(host, SL_LOG_INFO, "%s", about);
	*self = c;
	return SL_OK;
}

static const sl_option options[] = {
	{ .name = "nvml", .type = SL_OPTION_PATH, .default_text = "libnvidia-ml.so.1",
	  .help = "the driver's management library, a path or a name that the linker finds" },
	{ .name = "driver", .type = SL_OPTION_PATH, .default_text = "libcuda.so.1",
	  .help = "the CUDA driver API, for scrubbing, testing and suspending" },
	{ .name = "scrub", .type = SL_OPTION_ENUM, .values = "auto|on|off", .default_text = "auto",
	  .help = "overwrite memory between leases: auto does where the driver API is found" },
	{ .name = "probe", .type = SL_OPTION_BOOL, .default_text = "true", .help = "run a test kernel between leases" },
	{ .name = "settle", .type = SL_OPTION_DURATION, .default_text = "3s", .min = 0, .max = 6000,
	  .help = "how long a process may still be seen on a device after its end" },
	{ .name = "scrub_timeout", .type = SL_OPTION_DURATION, .default_text = "15s", .min = 100, .max = 15000,
	  .help = "when scrub and test count as hung" },
	{ .name = "idle_memory", .type = SL_OPTION_BYTES, .default_text = "1G",
	  .help = "memory that may be in use though nobody is on a device" },
};

static const sl_backend_ops ops = {
	.size = sizeof ops,
	.devices = cuda_devices,
	.sample = cuda_sample,
	.prepare = cuda_prepare,
	.release = cuda_release,
	.about = cuda_about,
	.telemetry = cuda_telemetry,
	.processes = cuda_processes,
	.events = cuda_events,
	.check = cuda_check,
	.suspend = cuda_suspend,
	.resume = cuda_resume,
};

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_BACKEND),
	.name = "cuda",
	.version = "1.0",
	.summary = "NVIDIA GPUs and MIG slices",
	.caps = SL_BACKEND_CAP_SUSPEND,
	.options = options,
	.n_options = sizeof options / sizeof *options,
	.open = cuda_open,
	.close = cuda_close,
	.ops = &ops,
};

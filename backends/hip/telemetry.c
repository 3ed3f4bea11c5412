/* SPDX-License-Identifier: Apache-2.0 */
/* telemetry.c - what the devices measure, their health, and who is on them. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/hip/hip.h"

int64_t hip_memory_used(const struct hip *h, const struct hip_device *d)
{
	return sysfs_number(h, d->folder, "mem_info_vram_used", -1);
}

/* Errors of memory and engines: {"ue": not corrected, "ce": corrected}, of all blocks. -1: no counters. */
static int64_t ras_errors(const struct hip *h, const struct hip_device *d, const char *kind)
{
	static const char *const blocks[] = { "umc", "sdma", "gfx", "mmhub", "hdp", "xgmi_wafl" };
	int64_t sum = -1;
	for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
		char name[64];
		snprintf(name, sizeof name, "ras/%s_err_count", blocks[i]);
		unsigned long long n = sysfs_property(h, d->folder, name, kind, UINT64_MAX);
		if (n != UINT64_MAX)
			sum = (sum < 0 ? 0 : sum) + (int64_t) n;
	}
	return sum;
}

static uint32_t health_of(const struct hip *h, const struct hip_device *d, char reason[SL_ERROR_TEXT])
{
	int64_t errors = d->seen ? ras_errors(h, d, "ue") : 0;
	reason[0] = '\0';
	if (!d->seen || sysfs_number(h, d->folder, "mem_info_vram_total", -1) < 0) {
		text_copy(reason, SL_ERROR_TEXT, d->seen ? "its files are gone from sysfs" : "the kernel driver does not list it any more");
		return SL_HEALTH_LOST;
	}
	if (errors > 0) {
		snprintf(reason, SL_ERROR_TEXT, "%lld errors that could not be corrected since the driver was loaded", (long long) errors);
		return SL_HEALTH_DEGRADED;
	}
	return SL_HEALTH_OK;
}

static void take_sample(const struct hip *h, const struct hip_device *d, sl_sample *s)
{
	char hwmon[PATH_MAX + NAME_MAX + 32];
	*s = (sl_sample){ .size = sizeof *s, .memory_used_bytes = -1, .busy_permille = -1, .temperature_c = -1, .power_mw = -1,
	                  .energy_mj = -1 };
	text_copy(s->uuid, sizeof s->uuid, d->d.uuid);
	s->health = health_of(h, d, s->reason);
	if (s->health == SL_HEALTH_LOST)
		return;
	s->memory_used_bytes = hip_memory_used(h, d);
	int64_t busy = sysfs_number(h, d->folder, "gpu_busy_percent", -1);
	s->busy_permille = busy < 0 ? -1 : busy > 100 ? 1000 : (int32_t) busy * 10;
	if (!sysfs_hwmon(h, d->folder, hwmon, sizeof hwmon))
		return;
	int64_t warm = sysfs_number(h, hwmon, "temp1_input", -1); /* thousandths of a degree */
	s->temperature_c = warm < 0 ? -1 : (int32_t) (warm / 1000);
	int64_t power = sysfs_number(h, hwmon, "power1_average", sysfs_number(h, hwmon, "power1_input", -1)); /* uW */
	s->power_mw = power < 0 ? -1 : power / 1000;
}

int hip_sample(void *self, sl_sample *out, size_t room, size_t *n, sl_error *error)
{
	const struct hip *h = self;
	(void) error;
	for (*n = 0; *n < h->n_devices; (*n)++)
		if (*n < room)
			take_sample(h, &h->devices[*n], &out[*n]);
	return SL_OK;
}

int hip_telemetry(void *self, sl_telemetry *out, size_t room, size_t *n, sl_error *error)
{
	const struct hip *h = self;
	(void) error;
	*n = 0;
	for (size_t i = 0; i < h->n_devices; i++) {
		const struct hip_device *d = &h->devices[i];
		char hwmon[PATH_MAX + NAME_MAX + 32];
		if (!d->seen)
			continue;
		if (*n < room) {
			sl_telemetry *t = &out[*n];
			*t = (sl_telemetry){ .size = sizeof *t, .compute_permille = -1, .rows_remapped = -1, .power_limit_mw = -1,
			                     .energy_mj = -1, .links = -1, .links_up = -1 };
			text_copy(t->uuid, sizeof t->uuid, d->d.uuid);
			t->ecc_corrected = ras_errors(h, d, "ce");
			t->ecc_uncorrected = ras_errors(h, d, "ue");
			if (sysfs_hwmon(h, d->folder, hwmon, sizeof hwmon)) {
				int64_t cap = sysfs_number(h, hwmon, "power1_cap", -1);
				t->power_limit_mw = cap < 0 ? -1 : cap / 1000;
			}
		}
		(*n)++;
	}
	return SL_OK;
}

struct listing {
	const struct hip *h;
	const struct hip_device *d;
	sl_process *out;
	size_t room, n;
};

/* A process that has opened the driver is listed with the memory that it has on each GPU. One that has none on this
 * one is not on it. */
static void take_process(void *arg, const char *name)
{
	struct listing *l = arg;
	char folder[PATH_MAX], file[64];
	snprintf(folder, sizeof folder, "sys/class/kfd/kfd/proc/%s", name);
	snprintf(file, sizeof file, "vram_%u", l->d->gpu_id);
	int64_t memory = sysfs_number(l->h, folder, file, 0);
	int pid = atoi(name);
	if (memory <= 0 || pid <= 0)
		return;
	if (l->n < l->room)
		l->out[l->n] = (sl_process){ .size = sizeof *l->out, .pid = pid, .memory_bytes = memory, .compute_permille = -1 };
	l->n++;
}

int hip_processes(void *self, const char *uuid, sl_process *out, size_t room, size_t *n, sl_error *error)
{
	struct hip *h = self;
	*n = 0;
	const struct hip_device *d = hip_find_living(h, uuid, error);
	if (!d)
		return error->code;
	struct listing l = { .h = h, .d = d, .out = out, .room = room };
	sysfs_each(h, "sys/class/kfd/kfd/proc", "", take_process, &l);
	*n = l.n;
	return SL_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* telemetry.c - what the devices measure, and who is on them. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "backends/cuda/cuda.h"

int64_t cuda_memory_used(const struct cuda *c, const struct cuda_device *d)
{
	struct nvml_memory memory = { .version = NVML_STRUCT_VERSION(struct nvml_memory, 2u) };
	return d->handle && c->n.memory(d->handle, &memory) == NVML_SUCCESS ? (int64_t) memory.used : -1;
}

typedef int (*figure_function)(nvml_device, unsigned *);

/* A figure that not every device has. */
static int64_t figure(figure_function get, nvml_device handle)
{
	unsigned value = 0;
	return get && get(handle, &value) == NVML_SUCCESS ? (int64_t) value : -1;
}

static int64_t energy_of(const struct cuda *c, const struct cuda_device *d)
{
	unsigned long long mj = 0;
	return NVML_TRY(&c->n, energy, d->handle, &mj) == NVML_SUCCESS ? (int64_t) mj : -1;
}

static void take_sample(struct cuda *c, struct cuda_device *d, sl_sample *s)
{
	struct nvml_utilization busy = { 0 };
	unsigned degrees = 0;
	*s = (sl_sample){ .size = sizeof *s, .memory_used_bytes = -1, .busy_permille = -1, .temperature_c = -1, .power_mw = -1,
	                  .energy_mj = -1 };
	text_copy(s->uuid, sizeof s->uuid, d->d.uuid);
	s->health = cuda_health(c, d, s->reason);
	if (!d->handle)
		return;
	s->memory_used_bytes = cuda_memory_used(c, d);
	if (NVML_TRY(&c->n, utilization, d->handle, &busy) == NVML_SUCCESS)
		s->busy_permille = (int32_t) busy.gpu * 10;
	/* A slice has no thermometer: it is as warm as its GPU. Power is the GPU's alone. */
	if (NVML_TRY(&c->n, temperature, d->gpu, NVML_SENSOR_GPU, &degrees) == NVML_SUCCESS)
		s->temperature_c = (int32_t) degrees;
	if (d->gpu != d->handle)
		return;
	s->power_mw = figure(c->n.power, d->handle);
	s->energy_mj = energy_of(c, d);
}

int cuda_sample(void *self, sl_sample *out, size_t room, size_t *n, sl_error *error)
{
	struct cuda *c = self;
	(void) error;
	*n = 0;
	cuda_pump(c);
	for (size_t i = 0; i < c->n_devices; i++) {
		if (c->devices[i].hidden)
			continue;
		if (*n < room)
			take_sample(c, &c->devices[i], &out[*n]);
		(*n)++;
	}
	return SL_OK;
}

/* --- more of it --- */

/* The share of the multiprocessors that had work since the last call: Hopper and later. */
static int32_t sm_busy(struct cuda *c, struct cuda_device *d)
{
	struct nvml_gpm_support support = { .version = 1 };
	nvml_gpm now = NULL;
	int32_t permille = -1;
	if (NVML_TRY(&c->n, gpm_support, d->gpu, &support) != NVML_SUCCESS || !support.supported || !c->n.gpm_free ||
	    !c->n.gpm_metrics || NVML_TRY(&c->n, gpm_new, &now) != NVML_SUCCESS)
		return -1;
	bool slice = d->gpu != d->handle;
	int result = slice ? NVML_TRY(&c->n, gpm_get_mig, d->gpu, d->gi, now) : NVML_TRY(&c->n, gpm_get, d->handle, now);
	struct nvml_gpm_metrics *metrics = result == NVML_SUCCESS && d->gpm ? calloc(1, sizeof *metrics) : NULL;
	if (metrics) {
		metrics->version = NVML_GPM_VERSION;
		metrics->n = 1;
		metrics->first = d->gpm;
		metrics->second = now;
		metrics->metrics[0].id = NVML_GPM_SM_BUSY;
		if (c->n.gpm_metrics(metrics) == NVML_SUCCESS && metrics->metrics[0].result == NVML_SUCCESS)
			permille = (int32_t) (metrics->metrics[0].value * 10);
		free(metrics);
	}
	cuda_forget_samples(c, d);
	if (result == NVML_SUCCESS)
		d->gpm = now;
	else
		c->n.gpm_free(now);
	return permille > 1000 ? 1000 : permille;
}

static int64_t ecc_of(const struct cuda *c, const struct cuda_device *d, unsigned type)
{
	unsigned long long count = 0;
	return NVML_TRY(&c->n, ecc_errors, d->gpu, type, NVML_VOLATILE, &count) == NVML_SUCCESS ? (int64_t) count : -1;
}

static void set_throttle(const struct cuda *c, const struct cuda_device *d, sl_telemetry *t)
{
	static const struct { unsigned long long theirs; uint64_t ours; } bits[] = {
		{ NVML_CLOCKS_POWER_CAP, SL_THROTTLE_POWER }, { NVML_CLOCKS_HARDWARE, SL_THROTTLE_HARDWARE },
		{ NVML_CLOCKS_SOFTWARE_THERMAL, SL_THROTTLE_THERMAL }, { NVML_CLOCKS_HARDWARE_THERMAL, SL_THROTTLE_HARDWARE },
		{ NVML_CLOCKS_POWER_BRAKE, SL_THROTTLE_BRAKE },
	};
	unsigned long long reasons = 0;
	int result = c->n.clock_reasons ? c->n.clock_reasons(d->gpu, &reasons)
	             : NVML_TRY(&c->n, clock_reasons_old, d->gpu, &reasons);
	t->throttle_known = result == NVML_SUCCESS;
	for (size_t i = 0; i < sizeof bits / sizeof *bits && t->throttle_known; i++)
		if (reasons & bits[i].theirs)
			t->throttle |= bits[i].ours;
}

static void count_links(const struct cuda *c, const struct cuda_device *d, sl_telemetry *t)
{
	for (unsigned link = 0; link < NVML_LINKS_MAX && d->gpu == d->handle; link++) {
		unsigned up = 0;
		if (NVML_TRY(&c->n, link_state, d->handle, link, &up) != NVML_SUCCESS)
			continue;
		t->links++;
		t->links_up += up != 0;
	}
}

static void take_telemetry(struct cuda *c, struct cuda_device *d, sl_telemetry *t)
{
	unsigned corrected = 0, uncorrected = 0, pending = 0, failed = 0;
	*t = (sl_telemetry){ .size = sizeof *t, .rows_remapped = -1, .power_limit_mw = -1, .energy_mj = -1,
	                     .last_fault = d->last_xid };
	text_copy(t->uuid, sizeof t->uuid, d->d.uuid);
	t->compute_permille = sm_busy(c, d);
	t->ecc_corrected = ecc_of(c, d, NVML_CORRECTED);
	t->ecc_uncorrected = ecc_of(c, d, NVML_UNCORRECTED);
	if (NVML_TRY(&c->n, remapped_rows, d->gpu, &corrected, &uncorrected, &pending, &failed) == NVML_SUCCESS)
		t->rows_remapped = (int64_t) corrected + uncorrected;
	t->power_limit_mw = figure(c->n.power_limit, d->gpu);
	set_throttle(c, d, t);
	count_links(c, d, t);
	if (d->gpu == d->handle)
		t->energy_mj = energy_of(c, d);
}

int cuda_telemetry(void *self, sl_telemetry *out, size_t room, size_t *n, sl_error *error)
{
	struct cuda *c = self;
	(void) error;
	*n = 0;
	for (size_t i = 0; i < c->n_devices; i++) {
		if (c->devices[i].hidden || !c->devices[i].handle)
			continue;
		if (*n < room)
			take_telemetry(c, &c->devices[i], &out[*n]);
		(*n)++;
	}
	return SL_OK;
}

/* --- processes --- */

typedef int (*list_function)(nvml_device, unsigned *, struct nvml_process *);

/* Adds those of one list. Lists grow between two calls, so there is some room more than asked for. */
static int add_processes(const struct cuda *c, const struct cuda_device *d, list_function list, sl_process *out, size_t room,
                         size_t *n, sl_error *error)
{
	enum { SPARE = 16, TRIES = 4 };
	unsigned count = 0;
	int result = list ? list(d->handle, &count, NULL) : NVML_NOT_SUPPORTED;
	struct nvml_process *found = NULL;
	for (int i = 0; i < TRIES && result == NVML_INSUFFICIENT_SIZE; i++) {
		count = (count < CUDA_PROCESSES_MAX ? count : CUDA_PROCESSES_MAX) + SPARE;
		free(found);
		found = calloc(count, sizeof *found);
		if (!found)
			return text_fail(error, SL_ENOMEM, "out of memory");
		result = list(d->handle, &count, found);
	}
	for (unsigned i = 0; result == NVML_SUCCESS && found && i < count; i++) {
		size_t k = 0, known = *n < room ? *n : room;
		while (k < known && out[k].pid != (int32_t) found[i].pid)
			k++;
		if (k < known)
			continue; /* in two lists */
		if (*n < room)
			out[*n] = (sl_process){ .size = sizeof *out, .pid = (int32_t) found[i].pid, .compute_permille = -1,
			                        .memory_bytes = found[i].memory > INT64_MAX ? -1 : (int64_t) found[i].memory };
		(*n)++;
	}
	free(found);
	if (result == NVML_SUCCESS || result == NVML_NOT_SUPPORTED)
		return SL_OK;
	return text_fail(error, nvml_code(result), "%s: its processes cannot be listed: %s", d->d.uuid, nvml_words(&c->n, result));
}

int cuda_computing(struct cuda *c, const struct cuda_device *d, sl_process *out, size_t room, size_t *n, sl_error *error)
{
	*n = 0;
	int rc = add_processes(c, d, c->n.compute_processes, out, room, n, error);
	return rc == SL_OK ? add_processes(c, d, c->n.mps_processes, out, room, n, error) : rc;
}

int cuda_processes(void *self, const char *uuid, sl_process *out, size_t room, size_t *n, sl_error *error)
{
	struct cuda *c = self;
	*n = 0;
	const struct cuda_device *d = cuda_find_living(c, uuid, error);
	if (!d)
		return error->code;
	int rc = cuda_computing(c, d, out, room, n, error);
	return rc == SL_OK ? add_processes(c, d, c->n.graphics_processes, out, room, n, error) : rc;
}

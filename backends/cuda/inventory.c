/* SPDX-License-Identifier: Apache-2.0 */
/* inventory.c - which GPUs and slices of GPUs there are, known by uuid over every renumbering. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "backends/cuda/cuda.h"

void cuda_lose(struct cuda_device *d, const char *why)
{
	if (!d->handle)
		return;
	d->handle = NULL;
	text_copy(d->why, sizeof d->why, why);
}

void cuda_forget_samples(struct cuda *c, struct cuda_device *d)
{
	if (d->gpm && c->n.gpm_free)
		c->n.gpm_free(d->gpm);
	d->gpm = NULL;
}

struct cuda_device *cuda_find(struct cuda *c, const char *uuid, sl_error *error)
{
	for (size_t i = 0; i < c->n_devices; i++)
		if (strcmp(c->devices[i].d.uuid, uuid) == 0)
			return &c->devices[i];
	text_fail(error, SL_ENOTFOUND, "there is no device %.95s", uuid);
	return NULL;
}

struct cuda_device *cuda_find_living(struct cuda *c, const char *uuid, sl_error *error)
{
	struct cuda_device *d = cuda_find(c, uuid, error);
	if (d && d->handle)
		return d;
	if (d)
		text_fail(error, SL_EIO, "%s does not answer: %.150s", uuid, d->why);
	return NULL;
}

/* The entry of a uuid, new where there is none. NULL: no room. */
static struct cuda_device *entry(struct cuda *c, const char *uuid)
{
	struct cuda_device *d = cuda_find(c, uuid, NULL);
	if (d)
		return d;
	if (c->n_devices == CUDA_DEVICES_MAX) {
		c->host->log(c->host, SL_LOG_WARN, "more than %d devices: %s is left out", CUDA_DEVICES_MAX, uuid);
		return NULL;
	}
	d = &c->devices[c->n_devices++];
	*d = (struct cuda_device){ .d = { .size = sizeof d->d } };
	text_copy(d->d.uuid, sizeof d->d.uuid, uuid);
	return d;
}

/* "00000000:17:00.0" is "0000:17:00.0" to the kernel. */
static void set_bus(sl_device *d, const struct nvml_pci *pci)
{
	const char *id = pci->id;
	const char *colon = strchr(id, ':');
	if (colon && colon - id == 8 && strncmp(id, "0000", 4) == 0)
		id += 4;
	text_copy(d->bus, sizeof d->bus, id);
	for (char *at = d->bus; *at; at++)
		if (*at >= 'A' && *at <= 'F')
			*at = (char) (*at - 'A' + 'a');
}

static int32_t numa_node_of(const struct cuda *c, nvml_device handle)
{
	unsigned long nodes[4] = { 0 };
	if (NVML_TRY(&c->n, memory_affinity, handle, 4, nodes, NVML_AFFINITY_NODE) != NVML_SUCCESS)
		return -1;
	for (unsigned i = 0; i < 4 * 8 * sizeof *nodes; i++)
		if (nodes[i / (8 * sizeof *nodes)] >> i % (8 * sizeof *nodes) & 1)
			return (int32_t) i;
	return -1;
}

/* What does not change while the driver is loaded, and what the driver may renumber. */
static void describe(const struct cuda *c, struct cuda_device *d, nvml_device handle, unsigned index)
{
	struct nvml_memory memory = { .version = NVML_STRUCT_VERSION(struct nvml_memory, 2u) };
	struct nvml_pci pci = { .id = "" };
	char name[NVML_NAME_MAX] = "NVIDIA GPU";
	d->handle = d->gpu = handle;
	d->why[0] = '\0';
	d->gi = d->ci = (unsigned) NVML_NO_INSTANCE;
	d->d.index = index;
	c->n.name(handle, name, sizeof name);
	if (c->n.memory(handle, &memory) == NVML_SUCCESS)
		d->d.memory_bytes = memory.total;
	text_copy(d->d.vendor, sizeof d->d.vendor, "nvidia");
	text_copy(d->d.model, sizeof d->d.model, name);
	text_kind(d->d.kind, sizeof d->d.kind, name, d->d.memory_bytes);
	d->d.isolation = SL_ISOLATION_WHOLE;
	d->d.numa_node = numa_node_of(c, handle);
	if (c->n.pci(handle, &pci) == NVML_SUCCESS)
		set_bus(&d->d, &pci);
}

/* "h100-80g" and "... MIG 1g.10gb" make "h100-1g.10gb". */
static void slice_kind(sl_device *d, const char *gpu_kind, const char *model)
{
	const char *mig = strstr(model, "MIG ");
	const char *dash = strrchr(gpu_kind, '-');
	int base = dash ? (int) (dash - gpu_kind) : (int) strlen(gpu_kind);
	if (mig)
		snprintf(d->kind, sizeof d->kind, "%.*s-%.40s", base, gpu_kind, mig + 4);
	else
		snprintf(d->kind, sizeof d->kind, "%.40s-mig", gpu_kind);
}

static void take_slice(struct cuda *c, size_t gpu_at, nvml_device handle)
{
	char uuid[NVML_UUID_MAX];
	unsigned gi = 0, ci = 0;
	if (c->n.uuid(handle, uuid, sizeof uuid) != NVML_SUCCESS || NVML_TRY(&c->n, mig_gi, handle, &gi) != NVML_SUCCESS ||
	    NVML_TRY(&c->n, mig_ci, handle, &ci) != NVML_SUCCESS)
		return;
	struct cuda_device *d = entry(c, uuid);
	if (!d)
		return;
	const struct cuda_device *gpu = &c->devices[gpu_at];
	describe(c, d, handle, gpu->d.index);
	d->seen = true;
	d->gpu = gpu->handle;
	d->gi = gi;
	d->ci = ci;
	d->d.isolation = SL_ISOLATION_PARTITION;
	d->d.numa_node = gpu->d.numa_node;
	text_copy(d->d.parent, sizeof d->d.parent, gpu->d.uuid);
	text_copy(d->d.bus, sizeof d->d.bus, gpu->d.bus);
	slice_kind(&d->d, gpu->d.kind, d->d.model);
}

static void take_slices(struct cuda *c, size_t gpu_at)
{
	unsigned mode = 0, pending = 0, most = 0;
	nvml_device gpu = c->devices[gpu_at].handle, slice;
	bool cut = NVML_TRY(&c->n, mig_mode, gpu, &mode, &pending) == NVML_SUCCESS && mode == 1;
	c->devices[gpu_at].hidden = cut;
	if (!cut || NVML_TRY(&c->n, mig_count, gpu, &most) != NVML_SUCCESS)
		return;
	for (unsigned i = 0; i < most; i++) /* there are gaps */
		if (NVML_TRY(&c->n, mig_by_index, gpu, i, &slice) == NVML_SUCCESS)
			take_slice(c, gpu_at, slice);
}

static int find_bus(const struct cuda *c, const struct nvml_pci *pci)
{
	sl_device other = { .bus = "" };
	set_bus(&other, pci);
	for (size_t i = 0; i < c->n_devices; i++)
		if (c->devices[i].d.isolation == SL_ISOLATION_WHOLE && strcmp(c->devices[i].d.bus, other.bus) == 0)
			return (int) i;
	return -1;
}

/* Joins two devices' islands: all of the one get the other's name. */
static void join(struct cuda *c, const char *a, const char *b)
{
	char from[SL_NAME_MAX], to[SL_NAME_MAX];
	text_copy(from, sizeof from, strcmp(a, b) > 0 ? a : b);
	text_copy(to, sizeof to, strcmp(a, b) > 0 ? b : a);
	for (size_t i = 0; i < c->n_devices; i++)
		if (strcmp(c->devices[i].d.island, from) == 0)
			text_copy(c->devices[i].d.island, sizeof c->devices[i].d.island, to);
}

/* GPUs that NVLinks connect, over others or over a switch, are an island, named after the first bus address in it.
 * Slices have no NVLink. */
static void find_islands(struct cuda *c)
{
	const char *first_switched = NULL;
	bool linked[CUDA_DEVICES_MAX] = { false };
	for (size_t i = 0; i < c->n_devices; i++) {
		sl_device *d = &c->devices[i].d;
		text_copy(d->island, sizeof d->island, d->isolation == SL_ISOLATION_WHOLE ? d->bus : "");
	}
	for (size_t i = 0; i < c->n_devices; i++) {
		struct cuda_device *d = &c->devices[i];
		if (!d->handle || d->d.isolation != SL_ISOLATION_WHOLE)
			continue;
		for (unsigned link = 0; link < NVML_LINKS_MAX; link++) {
			unsigned up = 0, remote = 0;
			struct nvml_pci pci;
			if (NVML_TRY(&c->n, link_state, d->handle, link, &up) != NVML_SUCCESS || !up)
				continue;
			if (NVML_TRY(&c->n, link_remote, d->handle, link, &remote) == NVML_SUCCESS && remote == NVML_LINK_TO_SWITCH) {
				linked[i] = true;
				if (!first_switched)
					first_switched = d->d.uuid;
				else
					join(c, cuda_find(c, first_switched, NULL)->d.island, d->d.island);
				break;
			}
			if (NVML_TRY(&c->n, link_pci, d->handle, link, &pci) != NVML_SUCCESS)
				continue;
			int other = find_bus(c, &pci);
			if (other >= 0) {
				linked[i] = linked[other] = true;
				join(c, c->devices[other].d.island, d->d.island);
			}
		}
	}
	for (size_t i = 0; i < c->n_devices; i++)
		if (!linked[i] || c->devices[i].hidden)
			c->devices[i].d.island[0] = '\0';
}

/* A slice that is gone was removed. A GPU that is gone is lost, and stays in the list with the reason. */
static void drop_unseen(struct cuda *c)
{
	size_t kept = 0;
	for (size_t i = 0; i < c->n_devices; i++) {
		struct cuda_device *d = &c->devices[i];
		if (!d->seen)
			cuda_forget_samples(c, d);
		if (!d->seen && d->d.isolation == SL_ISOLATION_PARTITION)
			continue;
		if (!d->seen) {
			d->watched = false;
			cuda_lose(d, c->unknown[0] ? c->unknown : "the driver does not list it any more");
		}
		if (kept != i)
			c->devices[kept] = *d;
		kept++;
	}
	c->n_devices = kept;
}

int cuda_refresh(struct cuda *c, sl_error *error)
{
	unsigned count = 0;
	int result = c->n.count(&count);
	if (result != NVML_SUCCESS)
		return text_fail(error, nvml_code(result), "the driver does not count its GPUs: %s", nvml_words(&c->n, result));
	c->unknown[0] = '\0';
	for (size_t i = 0; i < c->n_devices; i++)
		c->devices[i].seen = false;
	for (unsigned i = 0; i < count; i++) {
		nvml_device handle = NULL;
		char uuid[NVML_UUID_MAX] = "";
		result = c->n.by_index(i, &handle);
		if (result == NVML_SUCCESS)
			result = c->n.uuid(handle, uuid, sizeof uuid);
		if (result != NVML_SUCCESS) {
			text_append(c->unknown, sizeof c->unknown, "%sGPU number %u: %s", c->unknown[0] ? "; " : "", i,
			            nvml_words(&c->n, result));
			continue;
		}
		struct cuda_device *d = entry(c, uuid);
		if (!d)
			continue;
		describe(c, d, handle, i);
		d->seen = true;
		take_slices(c, (size_t) (d - c->devices));
	}
	drop_unseen(c);
	find_islands(c);
	for (size_t i = 0; i < c->n_devices; i++)
		cuda_watch(c, &c->devices[i]);
	return SL_OK;
}

int cuda_devices(void *self, sl_device *out, size_t room, size_t *n, sl_error *error)
{
	struct cuda *c = self;
	*n = 0;
	int rc = cuda_refresh(c, error);
	for (size_t i = 0; i < c->n_devices && rc == SL_OK; i++) {
		if (c->devices[i].hidden)
			continue;
		if (*n < room)
			out[*n] = c->devices[i].d;
		(*n)++;
	}
	return rc;
}

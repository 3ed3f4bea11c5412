/* SPDX-License-Identifier: Apache-2.0 */
/* inventory.c - which GPUs and partitions of GPUs the kernel driver has: the nodes of its topology. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "backends/hip/hip.h"

#define NODES "sys/class/kfd/kfd/topology/nodes"

struct hip_device *hip_find(struct hip *h, const char *uuid, sl_error *error)
{
	for (size_t i = 0; i < h->n_devices; i++)
		if (strcmp(h->devices[i].d.uuid, uuid) == 0)
			return &h->devices[i];
	text_fail(error, SL_ENOTFOUND, "there is no device %.95s", uuid);
	return NULL;
}

struct hip_device *hip_find_living(struct hip *h, const char *uuid, sl_error *error)
{
	struct hip_device *d = hip_find(h, uuid, error);
	if (!d || d->seen)
		return d;
	text_fail(error, SL_EIO, "%s: the kernel driver does not list it any more", uuid);
	return NULL;
}

struct look {
	struct hip *h;
	struct hip_device *found; /* of this look, in the kernel's order */
	size_t n;
};

/* 90402 is gfx942. */
static void set_model(const struct hip *h, struct hip_device *d, unsigned long long version)
{
	char name[SL_NAME_MAX];
	if (sysfs_text(h, d->folder, "product_name", name, sizeof name) && name[0])
		text_copy(d->d.model, sizeof d->d.model, name);
	else
		snprintf(d->d.model, sizeof d->d.model, "AMD gfx%llu%llx%llx", version / 10000, version / 100 % 100, version % 100);
	text_kind(d->d.kind, sizeof d->d.kind, d->d.model, d->d.memory_bytes);
}

static void take_node(void *arg, const char *name)
{
	struct look *l = arg;
	const struct hip *h = l->h;
	char node[PATH_MAX];
	snprintf(node, sizeof node, "%s/%s", NODES, name);
	int64_t gpu_id = sysfs_number(h, node, "gpu_id", 0);
	if (gpu_id <= 0 || l->n == HIP_DEVICES_MAX)
		return; /* a processor */
	struct hip_device *d = &l->found[l->n];
	unsigned long long at = sysfs_property(h, node, "properties", "location_id", 0);
	unsigned long long hive = sysfs_property(h, node, "properties", "hive_id", 0);
	*d = (struct hip_device){ .d = { .size = sizeof d->d, .index = (uint32_t) l->n, .isolation = SL_ISOLATION_WHOLE },
	                          .seen = true, .number = (unsigned) l->n, .gpu_id = (unsigned) gpu_id };
	d->unique_id = sysfs_property(h, node, "properties", "unique_id", 0);
	snprintf(d->folder, sizeof d->folder, "sys/class/drm/renderD%llu/device",
	         sysfs_property(h, node, "properties", "drm_render_minor", 0));
	snprintf(d->d.bus, sizeof d->d.bus, "%04llx:%02llx:%02llx.%llx", sysfs_property(h, node, "properties", "domain", 0),
	         at >> 8 & 0xff, at >> 3 & 0x1f, at & 7);
	text_copy(d->d.vendor, sizeof d->d.vendor, "amd");
	int64_t memory = sysfs_number(h, d->folder, "mem_info_vram_total", 0);
	d->d.memory_bytes = memory > 0 ? (uint64_t) memory : 0;
	d->d.numa_node = (int32_t) sysfs_number(h, d->folder, "numa_node", -1);
	set_model(h, d, sysfs_property(h, node, "properties", "gfx_target_version", 0));
	if (hive)
		snprintf(d->d.island, sizeof d->d.island, "xgmi-%llx", hive);
	l->n++;
}

static size_t same_card(const struct look *l, unsigned long long unique_id, size_t until)
{
	size_t n = 0;
	for (size_t i = 0; i < until; i++)
		n += l->found[i].unique_id == unique_id;
	return n;
}

/* The partitions of a card all have its unique id: they are told apart by their place among them. A card without one
 * is known by its address. */
static void name_all(struct look *l)
{
	for (size_t i = 0; i < l->n; i++) {
		struct hip_device *d = &l->found[i];
		char card[64];
		snprintf(card, sizeof card, "GPU-%016llx", d->unique_id);
		if (!d->unique_id) {
			snprintf(d->d.uuid, sizeof d->d.uuid, "AMD-%s", d->d.bus);
		} else if (same_card(l, d->unique_id, l->n) == 1) {
			text_copy(d->d.uuid, sizeof d->d.uuid, card);
			d->named = true;
		} else {
			snprintf(d->d.uuid, sizeof d->d.uuid, "%s/%zu", card, same_card(l, d->unique_id, i));
			text_copy(d->d.parent, sizeof d->d.parent, card);
			d->d.isolation = SL_ISOLATION_PARTITION;
		}
	}
}

static void keep_lost(struct hip *h, struct look *l)
{
	for (size_t i = 0; i < h->n_devices; i++) {
		size_t k = 0;
		while (k < l->n && strcmp(l->found[k].d.uuid, h->devices[i].d.uuid) != 0)
			k++;
		if (k < l->n || l->n == HIP_DEVICES_MAX || h->devices[i].d.isolation == SL_ISOLATION_PARTITION)
			continue;
		l->found[l->n] = h->devices[i];
		l->found[l->n++].seen = false;
	}
}

int hip_refresh(struct hip *h, sl_error *error)
{
	static struct hip_device found[HIP_DEVICES_MAX]; /* of the one thread that calls */
	struct look l = { .h = h, .found = found };
	sysfs_each(h, NODES, "", take_node, &l);
	if (l.n == 0 && h->n_devices == 0)
		return text_fail(error, SL_EUNAVAILABLE, "no AMD GPU here: nothing in %s/%s; is the kernel module amdgpu loaded?",
		                 h->root, NODES);
	name_all(&l);
	keep_lost(h, &l);
	memcpy(h->devices, found, l.n * sizeof *found);
	h->n_devices = l.n;
	return SL_OK;
}

int hip_devices(void *self, sl_device *out, size_t room, size_t *n, sl_error *error)
{
	struct hip *h = self;
	*n = 0;
	int rc = hip_refresh(h, error);
	for (size_t i = 0; i < h->n_devices && rc == SL_OK; i++, (*n)++)
		if (i < room)
			out[i] = h->devices[i].d;
	return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* fifo.c - first come, first served: the smallest scheduler that is worth reading.
 *
 * Waiting leases are taken by the priority of their queue, then their own, then their age. A lease that cannot start
 * now stops its queue: nobody behind it overtakes, so nobody starves. A lease gets all of its devices at once, on one
 * machine, and there from one island where that is possible. Nobody is ever asked to give way; those whom another
 * scheduler had suspended go on first, once as many devices of their kind are free where they were. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sluice/scheduler.h>

/* What decides about a waiting lease's place in the order. */
struct turn {
	int32_t queue_priority, priority;
	uint64_t since_ms;
	uint32_t index; /* into view.waiting */
};

/* Memory that plan() and explain() work in; grows with the view and stays. */
struct fifo {
	struct turn *order; /* who is served first */
	int32_t *used;     /* devices in use, a number a queue; counts what this round has granted */
	uint8_t *stopped;  /* by queue: its head waits */
	uint8_t *taken;    /* by device: granted in this round */
	uint32_t *granted; /* device indices of this round's actions, one after the other */
	uint32_t *machine; /* by device: the first device of the same machine, which stands for the machine */
	uint32_t *island;  /* by device: the first one of the same island of the same machine */
	uint32_t *count;   /* by such a first device: how many are meant */
	size_t n_granted;
	size_t leases, queues, devices; /* room for so many */
};

static int refuse(sl_error *error, int code, const char *text)
{
	error->code = code;
	snprintf(error->text, sizeof error->text, "%s", text);
	return code;
}

static int grow(void *list, size_t n, size_t size)
{
	void *more = realloc(*(void **) list, (n ? n : 1) * size);
	if (more)
		*(void **) list = more;
	return more != NULL;
}

static int make_room(struct fifo *f, const sl_view *view)
{
	if (view->n_waiting > f->leases || !f->order) {
		if (!grow(&f->order, view->n_waiting, sizeof *f->order))
			return 0;
		f->leases = view->n_waiting;
	}
	if (view->n_queues > f->queues || !f->stopped) {
		if (!grow(&f->used, view->n_queues, sizeof *f->used) || !grow(&f->stopped, view->n_queues, 1))
			return 0;
		f->queues = view->n_queues;
	}
	if (view->n_devices > f->devices || !f->granted) {
		uint32_t **lists[] = { &f->granted, &f->machine, &f->island, &f->count };
		if (!grow(&f->taken, view->n_devices, 1))
			return 0;
		for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
			if (!grow(lists[i], view->n_devices, sizeof **lists[i]))
				return 0;
		f->devices = view->n_devices;
	}
	return 1;
}

static int compare(const void *a, const void *b)
{
	const struct turn *x = a, *y = b;
	if (x->queue_priority != y->queue_priority)
		return x->queue_priority > y->queue_priority ? -1 : 1;
	if (x->priority != y->priority)
		return x->priority > y->priority ? -1 : 1;
	if (x->since_ms != y->since_ms)
		return x->since_ms < y->since_ms ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index; /* the view's order: oldest first */
}

/* Fills f->order; how many leases want anything. */
static size_t line_up(struct fifo *f, const sl_view *view)
{
	size_t n = 0;
	for (uint32_t i = 0; i < view->n_waiting; i++) {
		const sl_view_lease *l = &view->waiting[i];
		if (l->queue < view->n_queues && l->devices > 0)
			f->order[n++] = (struct turn){ view->queues[l->queue].priority, l->priority, l->since_ms, i };
	}
	qsort(f->order, n, sizeof *f->order, compare);
	return n;
}

static int over_quota(const struct fifo *f, const sl_view *view, const sl_view_lease *lease)
{
	int32_t quota = view->queues[lease->queue].quota;
	return quota >= 0 && (int64_t) f->used[lease->queue] + lease->devices > quota;
}

/* A suspended lease goes on on devices of the machine and the kind that it had. */
static int resume(struct fifo *f, const sl_view *view, size_t i, sl_action *out)
{
	const sl_view_lease *lease = &view->suspended[i];
	const sl_view_lease_terms *terms = &view->suspended_terms[i];
	uint32_t *first = f->granted + f->n_granted, n = 0;
	if (lease->queue >= view->n_queues || over_quota(f, view, lease))
		return 0;
	for (uint32_t d = 0; terms->n_places && d < view->n_devices && n < lease->devices; d++) {
		const sl_view_device *device = &view->devices[d], *was = &view->devices[view->places[terms->first_place]];
		if (device->state == SL_DEVICE_FREE && !f->taken[d] && strcmp(device->machine, was->machine) == 0 &&
		    strcmp(device->kind, was->kind) == 0)
			first[n++] = d;
	}
	if (!n || n < lease->devices)
		return 0;
	for (uint32_t k = 0; k < n; k++)
		f->taken[first[k]] = 1;
	f->n_granted += n;
	f->used[lease->queue] += (int32_t) n;
	*out = (sl_action){ .type = SL_ACTION_RESUME, .lease = lease->number, .devices = first, .n_devices = n };
	snprintf(out->reason, sizeof out->reason, "goes on on %s", view->devices[first[0]].machine);
	return 1;
}

/* Would this device do, were it free? */
static int suits(const sl_view_lease *lease, const sl_view_device *d)
{
	return (!lease->kind[0] || strcmp(lease->kind, d->kind) == 0) && d->memory_bytes >= lease->memory_bytes;
}

static int is_free(const struct fifo *f, const sl_view *view, const sl_view_lease *lease, size_t i)
{
	const sl_view_device *d = &view->devices[i];
	return d->state == SL_DEVICE_FREE && d->lease == 0 && !f->taken[i] && suits(lease, d);
}

/* Which devices belong together. A machine's devices mostly stand side by side, so looking back is short. */
static void group(struct fifo *f, const sl_view *view)
{
	for (uint32_t i = 0; i < view->n_devices; i++) {
		const sl_view_device *d = &view->devices[i];
		f->machine[i] = f->island[i] = i;
		for (uint32_t k = i; k-- > 0;) {
			const sl_view_device *before = &view->devices[k];
			if (strcmp(before->machine, d->machine) != 0)
				continue;
			f->machine[i] = f->machine[k];
			if (strcmp(before->island, d->island) == 0)
				f->island[i] = f->island[k];
			if (f->island[i] != i || f->machine[k] == k)
				break; /* found, or there are no more of this machine */
		}
	}
}

/* The tightest group with enough free devices: small gaps are filled first and big ones stay for those who need
 * them. -1: none. */
static int64_t find_place(struct fifo *f, const sl_view *view, const sl_view_lease *lease, const uint32_t *of)
{
	int64_t best = -1;
	memset(f->count, 0, view->n_devices * sizeof *f->count);
	for (size_t i = 0; i < view->n_devices; i++)
		f->count[of[i]] += (uint32_t) is_free(f, view, lease, i);
	for (size_t i = 0; i < view->n_devices; i++) {
		int is_group = of[i] == i && (of == f->machine || view->devices[i].island[0]);
		if (is_group && f->count[i] >= lease->devices && (best < 0 || f->count[i] < f->count[best]))
			best = (int64_t) i;
	}
	return best;
}

/* Takes the devices, all or none. */
static int place(struct fifo *f, const sl_view *view, const sl_view_lease *lease, sl_action *out)
{
	const uint32_t *of = f->island;
	int64_t at = lease->devices > 1 ? find_place(f, view, lease, of) : -1;
	if (at < 0) {
		of = f->machine;
		at = find_place(f, view, lease, of);
	}
	if (at < 0)
		return 0;
	uint32_t *first = f->granted + f->n_granted;
	uint32_t n = 0;
	for (size_t i = 0; i < view->n_devices && n < lease->devices; i++) {
		if (of[i] != at || !is_free(f, view, lease, i))
			continue;
		f->taken[i] = 1;
		first[n++] = (uint32_t) i;
	}
	f->n_granted += n;
	*out = (sl_action){ .type = SL_ACTION_GRANT, .lease = lease->number, .devices = first, .n_devices = n };
	snprintf(out->reason, sizeof out->reason, "first in queue %s; %u of %u free on %s", view->queues[lease->queue].name, n,
	         f->count[at], view->devices[at].machine);
	return 1;
}

/* A round, up to the lease `until` (0: all). *waits is that lease, or NULL when it was granted or is unknown. */
static size_t serve(struct fifo *f, const sl_view *view, uint64_t until, sl_action *out, size_t room,
                    const sl_view_lease **waits)
{
	size_t n = 0, leases = line_up(f, view);
	*waits = NULL;
	f->n_granted = 0;
	group(f, view);
	memset(f->taken, 0, view->n_devices);
	memset(f->stopped, 0, view->n_queues);
	for (size_t i = 0; i < view->n_queues; i++)
		f->used[i] = view->queues[i].used;
	for (size_t i = 0; SL_VIEW_HAS(view, n_suspended) && i < view->n_suspended && n < room; i++) {
		int resumed = resume(f, view, i, out + n);
		n += resumed && !until;
	}
	for (size_t i = 0; i < leases && n < room; i++) {
		const sl_view_lease *lease = &view->waiting[f->order[i].index];
		int granted = !f->stopped[lease->queue] && !over_quota(f, view, lease) && place(f, view, lease, out + n);
		if (until && lease->number == until) {
			*waits = granted ? NULL : lease;
			return n;
		}
		if (granted) {
			f->used[lease->queue] += (int32_t) lease->devices;
			if (!until)
				n++;
		} else {
			f->stopped[lease->queue] = 1;
		}
	}
	return n;
}

static int fifo_plan(void *self, const sl_view *view, sl_action *out, size_t room, size_t *n, sl_error *error)
{
	const sl_view_lease *waits;
	*n = 0;
	if (!make_room(self, view))
		return refuse(error, SL_ENOMEM, "no memory to plan in");
	*n = serve(self, view, 0, out, room, &waits);
	return SL_OK;
}

/* Devices that suit, the free ones of them or all: how many there are, and how many on the machine with the most. */
static void count_suiting(struct fifo *f, const sl_view *view, const sl_view_lease *lease, int free_only, uint32_t *all,
                          uint32_t *most)
{
	*all = *most = 0;
	memset(f->count, 0, view->n_devices * sizeof *f->count);
	for (size_t i = 0; i < view->n_devices; i++) {
		if (!(free_only ? is_free(f, view, lease, i) : suits(lease, &view->devices[i])))
			continue;
		uint32_t here = ++f->count[f->machine[i]];
		*most = here > *most ? here : *most;
		++*all;
	}
}

static void explain_devices(struct fifo *f, const sl_view *view, const sl_view_lease *lease, char *text, size_t room)
{
	const char *kind = lease->kind[0] ? lease->kind : "devices";
	uint32_t total, largest, all, most;
	count_suiting(f, view, lease, 0, &total, &largest);
	count_suiting(f, view, lease, 1, &all, &most);
	if (largest < lease->devices)
		snprintf(text, room, "can never start: wants %u %s on one machine, the largest has %u of %u in the pool",
		         lease->devices, kind, largest, total);
	else if (all >= lease->devices)
		snprintf(text, room, "waits for %u more %s on one machine: %u are free, but at most %u together",
		         lease->devices - most, kind, all, most);
	else
		snprintf(text, room, "waits for %u more %s: %u are free of %u, %u are wanted", lease->devices - most, kind, all, total,
		         lease->devices);
}

static int fifo_explain(void *self, const sl_view *view, uint64_t number, char *text, size_t room)
{
	struct fifo *f = self;
	const sl_view_lease *lease;
	sl_action unused;
	if (number == 0 || !make_room(f, view))
		return SL_ENOTFOUND;
	serve(f, view, number, &unused, 1, &lease);
	if (!lease)
		return SL_ENOTFOUND;
	const sl_view_queue *queue = &view->queues[lease->queue];
	if (f->stopped[lease->queue])
		snprintf(text, room, "waits behind an older or more urgent lease of queue %s", queue->name);
	else if (over_quota(f, view, lease))
		snprintf(text, room, "waits for the quota of queue %s: %d of %d devices are in use, %u more are wanted", queue->name,
		         f->used[lease->queue], queue->quota, lease->devices);
	else
		explain_devices(f, view, lease, text, room);
	return SL_OK;
}

static int fifo_open(const sl_host *host, const sl_conf *conf, void **self, sl_error *error)
{
	(void) host;
	(void) conf;
	*self = calloc(1, sizeof(struct fifo));
	return *self ? SL_OK : refuse(error, SL_ENOMEM, "out of memory");
}

static void fifo_close(void *self)
{
	struct fifo *f = self;
	if (!f)
		return;
	free(f->order);
	free(f->used);
	free(f->stopped);
	free(f->taken);
	free(f->granted);
	free(f->machine);
	free(f->island);
	free(f->count);
	free(f);
}

static const sl_scheduler_ops ops = { .size = sizeof ops, .plan = fifo_plan, .explain = fifo_explain };

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_SCHEDULER),
	.name = "fifo",
	.version = "1.0",
	.summary = "first come, first served, no backfill",
	.open = fifo_open,
	.close = fifo_close,
	.ops = &ops,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* smallest.c - a scheduler of your own: whoever wants the fewest devices goes first.
 *
 * It answers one question: given this view of the pool, what should be done now? It gets everything as arguments,
 * changes nothing, and may return as little as it likes: the core asks again after every change. What it gets wrong
 * (a device twice, a quota passed) the core refuses, and counts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sluice/scheduler.h>

/* Device numbers that the actions point at: they must stay until the next plan(). */
struct smallest {
	uint32_t devices[64];
};

/* Free devices of the right kind on one machine, into out. 0: not enough on any. */
static uint32_t gather(const sl_view *view, const sl_view_lease *lease, uint32_t *out, uint32_t room)
{
	for (size_t home = 0; home < view->n_devices; home++) {
		uint32_t n = 0;
		for (size_t i = home; i < view->n_devices && n < lease->devices && n < room; i++) {
			const sl_view_device *d = &view->devices[i];
			if (d->state == SL_DEVICE_FREE && d->memory_bytes >= lease->memory_bytes &&
			    strcmp(d->machine, view->devices[home].machine) == 0 &&
			    (!lease->kind[0] || strcmp(lease->kind, d->kind) == 0))
				out[n++] = (uint32_t) i;
		}
		if (n == lease->devices)
			return n;
	}
	return 0;
}

/* One grant a round: after it the view is another, and the core calls again. */
static int smallest_plan(void *self, const sl_view *view, sl_action *out, size_t room, size_t *n, sl_error *error)
{
	struct smallest *s = self;
	(void) error;
	*n = 0;
	const sl_view_lease *best = NULL;
	for (size_t i = 0; i < view->n_waiting; i++) {
		const sl_view_lease *l = &view->waiting[i];
		const sl_view_queue *q = &view->queues[l->queue];
		uint32_t scratch[64];
		if ((q->quota < 0 || q->used + (int64_t) l->devices <= q->quota) && gather(view, l, scratch, 64) &&
		    (!best || l->devices < best->devices))
			best = l;
	}
	if (!best || room == 0)
		return SL_OK;
	memset(out, 0, sizeof *out);
	out->type = SL_ACTION_GRANT;
	out->lease = best->number;
	out->n_devices = gather(view, best, s->devices, 64);
	out->devices = s->devices;
	snprintf(out->reason, sizeof out->reason, "the smallest that fits: %u devices", best->devices);
	*n = 1;
	return SL_OK;
}

static int smallest_open(const sl_host *host, const sl_conf *conf, void **self, sl_error *error)
{
	(void) host, (void) conf;
	*self = calloc(1, sizeof(struct smallest));
	if (*self)
		return SL_OK;
	snprintf(error->text, sizeof error->text, "out of memory");
	return error->code = SL_ENOMEM;
}

static const sl_scheduler_ops ops = { .size = sizeof ops, .plan = smallest_plan };

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_SCHEDULER),
	.name = "smallest", /* the file must be called smallest.so */
	.version = "1.0",
	.summary = "whoever wants the fewest devices goes first",
	.open = smallest_open,
	.close = free,
	.ops = &ops,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* health.c - is a device fit to be granted: its own state, asked for each time, and what events have told.
 *
 * Events alone are not enough: a hardware fault may come without one. The state alone neither: some faults show in an
 * event only. An event's mark holds until check() has found the device in order. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "backends/cuda/cuda.h"

enum { PUMP_MAX = 64 }; /* events at one go */

/* --- state --- */

/* What the GPU itself asks for: the best single word on health where it is given. */
static const char *recovery_action(const struct cuda *c, const struct cuda_device *d)
{
	static const char *const words[] = {
		NULL, "it asks to be reset", "it asks for a reboot of the machine", "it asks for its peers to be drained",
		"it asks to be drained and reset", "it asks for its IMEX domain to be recovered", "it asks for a reset of its bus",
		"it asks for a reboot of the system",
	};
	struct nvml_field field = { .id = NVML_FIELD_RECOVERY_ACTION };
	if (NVML_TRY(&c->n, fields, d->gpu, 1, &field) != NVML_SUCCESS || field.result != NVML_SUCCESS)
		return NULL;
	return field.value.u < sizeof words / sizeof *words ? words[field.value.u] : "it asks for something that we do not know";
}

static uint32_t memory_health(const struct cuda *c, const struct cuda_device *d, char *reason, size_t room)
{
	unsigned corrected = 0, uncorrected = 0, pending = 0, failed = 0;
	unsigned long long errors = 0;
	if (NVML_TRY(&c->n, remapped_rows, d->gpu, &corrected, &uncorrected, &pending, &failed) == NVML_SUCCESS) {
		if (failed) {
			text_copy(reason, room, "a row of its memory is bad and cannot be replaced: have it repaired");
			return SL_HEALTH_FAULTY;
		}
	} else if (NVML_TRY(&c->n, retired_pending, d->gpu, &pending) != NVML_SUCCESS) {
		pending = 0;
	}
	if (pending) {
		text_copy(reason, room, "bad memory waits for a reset to be put out of use");
		return SL_HEALTH_DEGRADED;
	}
	if (NVML_TRY(&c->n, ecc_errors, d->gpu, NVML_UNCORRECTED, NVML_VOLATILE, &errors) == NVML_SUCCESS && errors) {
		snprintf(reason, room, "%llu memory errors that could not be corrected since the driver was loaded", errors);
		return SL_HEALTH_DEGRADED;
	}
	return SL_HEALTH_OK;
}

static uint32_t mark_health(const struct cuda_device *d)
{
	return d->mark == SL_EVENT_LOST ? SL_HEALTH_LOST : d->mark == SL_EVENT_FAULTY ? SL_HEALTH_FAULTY
	       : d->mark == SL_EVENT_DEGRADED ? SL_HEALTH_DEGRADED : SL_HEALTH_OK;
}

/* Does it answer at all? The cheapest call that reaches the device. */
static void probe(struct cuda *c, struct cuda_device *d)
{
	struct nvml_memory memory = { .version = NVML_STRUCT_VERSION(struct nvml_memory, 2u) };
	int result = c->n.memory(d->handle, &memory);
	if (result == NVML_GPU_IS_LOST || result == NVML_NOT_FOUND)
		cuda_lose(d, nvml_words(&c->n, result));
}

uint32_t cuda_health(struct cuda *c, struct cuda_device *d, char reason[SL_ERROR_TEXT])
{
	reason[0] = '\0';
	if (d->handle)
		probe(c, d);
	if (!d->handle) {
		text_copy(reason, SL_ERROR_TEXT, d->why);
		return SL_HEALTH_LOST;
	}
	const char *action = recovery_action(c, d);
	if (action) {
		text_copy(reason, SL_ERROR_TEXT, action);
		return SL_HEALTH_FAULTY;
	}
	uint32_t health = memory_health(c, d, reason, SL_ERROR_TEXT), marked = mark_health(d);
	if (marked > health) {
		text_copy(reason, SL_ERROR_TEXT, d->mark_text);
		health = marked;
	}
	return health;
}

/* --- events --- */

static void keep(struct cuda *c, const char *uuid, uint32_t event_class, unsigned long long code, const char *text)
{
	if (c->n_events == CUDA_EVENTS_MAX) {
		c->first_event = (c->first_event + 1) % CUDA_EVENTS_MAX;
		c->n_events--;
		c->events_dropped++;
	}
	sl_event *e = &c->events[(c->first_event + c->n_events++) % CUDA_EVENTS_MAX];
	*e = (sl_event){ .size = sizeof *e, .event_class = event_class, .code = (int64_t) code,
	                 .wall_ms = (int64_t) c->host->wall_ms(c->host) };
	text_copy(e->uuid, sizeof e->uuid, uuid);
	text_copy(e->text, sizeof e->text, text);
}

static void mark(struct cuda *c, struct cuda_device *d, uint32_t event_class, unsigned long long xid, const char *text)
{
	if (xid)
		d->last_xid = (int32_t) xid;
	if (event_class >= SL_EVENT_DEGRADED && event_class > d->mark) {
		d->mark = event_class;
		text_copy(d->mark_text, sizeof d->mark_text, text);
	}
	if (!d->hidden)
		keep(c, d->d.uuid, event_class, xid, text);
}

/* An event of a slice's own is that slice's; another one is of all that is cut from the GPU. */
static void take(struct cuda *c, const struct nvml_event *e)
{
	char text[SL_ERROR_TEXT];
	uint32_t event_class = SL_EVENT_DEGRADED;
	unsigned long long xid = 0;
	if (e->type == NVML_EVENT_XID) {
		const struct xid *x = xid_find(e->data);
		xid = e->data;
		event_class = x->event_class;
		snprintf(text, sizeof text, "Xid %llu: %s", e->data, x->text);
	} else if (e->type == NVML_EVENT_DOUBLE_BIT_ECC) {
		event_class = SL_EVENT_FAULTY;
		snprintf(text, sizeof text, "a memory error that cannot be corrected; reset the GPU");
	} else {
		event_class = SL_EVENT_LOST;
		snprintf(text, sizeof text, "the driver says that the GPU is not available any more");
	}
	for (size_t i = 0; i < c->n_devices; i++) {
		struct cuda_device *d = &c->devices[i];
		bool own = e->gi == (unsigned) NVML_NO_INSTANCE || d->gi == (unsigned) NVML_NO_INSTANCE || d->gi == e->gi;
		if (d->gpu && d->gpu == e->device && own && !(d->hidden && e->gi != (unsigned) NVML_NO_INSTANCE))
			mark(c, d, event_class, xid, text);
	}
}

void cuda_watch(struct cuda *c, struct cuda_device *d)
{
	unsigned long long supported = 0;
	if (d->watched || !d->handle || d->gpu != d->handle)
		return;
	if (!c->event_set && NVML_TRY(&c->n, events_new, &c->event_set) != NVML_SUCCESS) {
		c->event_set = NULL;
		return;
	}
	d->watched = true; /* or cannot be: no second try until it was lost */
	if (NVML_TRY(&c->n, event_types, d->handle, &supported) == NVML_SUCCESS && (supported & NVML_EVENTS_WANTED))
		NVML_TRY(&c->n, events_register, d->handle, supported & NVML_EVENTS_WANTED, c->event_set);
}

/* A wait that fails says nothing of any device: a new set is made with the next refresh. */
static void drop_set(struct cuda *c)
{
	if (c->n.events_free)
		c->n.events_free(c->event_set);
	c->event_set = NULL;
	for (size_t i = 0; i < c->n_devices; i++)
		c->devices[i].watched = false;
}

void cuda_pump(struct cuda *c)
{
	sl_error unused;
	for (int i = 0; i < PUMP_MAX && c->event_set && c->n.events_wait; i++) {
		struct nvml_event e = { .gi = (unsigned) NVML_NO_INSTANCE };
		int result = c->n.events_wait(c->event_set, &e, 0);
		if (result == NVML_SUCCESS) {
			take(c, &e);
			continue;
		}
		if (result != NVML_TIMEOUT)
			drop_set(c);
		if (result == NVML_GPU_IS_LOST)
			cuda_refresh(c, &unused); /* to learn which */
		return;
	}
}

int cuda_events(void *self, sl_event *out, size_t room, size_t *n, sl_error *error)
{
	struct cuda *c = self;
	(void) error;
	cuda_pump(c);
	*n = 0;
	if (c->events_dropped && room) {
		sl_event *e = &out[(*n)++];
		*e = (sl_event){ .size = sizeof *e, .event_class = SL_EVENT_NOTE, .wall_ms = (int64_t) c->host->wall_ms(c->host) };
		snprintf(e->text, sizeof e->text, "%llu events before these were dropped: nobody had fetched them", c->events_dropped);
		c->events_dropped = 0;
	}
	for (; *n < room && c->n_events; c->n_events--) {
		out[(*n)++] = c->events[c->first_event];
		c->first_event = (c->first_event + 1) % CUDA_EVENTS_MAX;
	}
	return SL_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* release.c - gives devices back to their backends, and finds out which of them must not be granted. */
#include <stdlib.h>
#include <string.h>

#include "core/agent/agent.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/str.h"

enum {
	RELEASE_MS = 30000, /* of one call to a backend */
	RETRY_MS = 250,     /* a backend is not there: look again */
	RETRIES = 240       /* for a minute in all, which is the longest back-off */
};

struct release {
	struct agent *agent;
	uv_timer_t timer;
	char lease[SL_NAME_MAX];
	json_t *waiting; /* uuids not asked for yet */
	json_t *asked;   /* uuids of the call under way */
	json_t *faulty;
	bool singly;     /* a call for several failed: which one is it? */
	unsigned retries;
	release_done done;
	void *arg;
};

static void next(struct release *r);

static void closed(uv_handle_t *handle)
{
	struct release *r = handle->data;
	json_decref(r->waiting);
	json_decref(r->asked);
	free(r);
}

static void finish(struct release *r)
{
	json_t *faulty = r->faulty;
	uv_close((uv_handle_t *) &r->timer, closed);
	r->done(r->arg, faulty);
}

static void mark(struct release *r, const json_t *uuids, const char *why)
{
	size_t i;
	json_t *uuid;
	json_array_foreach(uuids, i, uuid) {
		json_t *entry = json_pack("{s:O}", "uuid", uuid);
		json_set_str(entry, "reason", str_of(why));
		json_array_append_new(r->faulty, entry);
		log_warn("device %s: release after lease %s failed: %s", json_string_value(uuid), r->lease, why);
	}
}

static void answered(void *arg, const json_t *ok, const sl_error *error)
{
	struct release *r = arg;
	if (!ok && json_array_size(r->asked) > 1 && error->code != SL_ETIMEOUT) {
		json_array_extend(r->waiting, r->asked);
		r->singly = true;
	} else if (!ok) {
		mark(r, r->asked, error->text);
	}
	json_array_clear(r->asked);
	next(r);
}

static void timed(uv_timer_t *timer)
{
	next(timer->data);
}

/* Devices of a backend that is just being restarted are not lost yet. */
static void wait_for_backend(struct release *r)
{
	if (r->retries++ < RETRIES) {
		uv_timer_start(&r->timer, timed, RETRY_MS, 0);
		return;
	}
	mark(r, r->waiting, "no backend has this device any more");
	json_array_clear(r->waiting);
	finish(r);
}

static void next(struct release *r)
{
	struct backend *backend = NULL;
	size_t i = 0;
	if (json_array_size(r->waiting) == 0) {
		finish(r);
		return;
	}
	while (i < json_array_size(r->waiting)) {
		json_t *uuid = json_array_get(r->waiting, i);
		struct backend *b = agent_backend_of(r->agent, json_string_value(uuid));
		if (!b || (backend && b != backend) || (r->singly && backend)) {
			i++;
			continue;
		}
		backend = b;
		json_array_append(r->asked, uuid);
		json_array_remove(r->waiting, i);
	}
	if (!backend) {
		wait_for_backend(r);
		return;
	}
	backend_call(backend, "release", json_pack("{s:O,s:s}", "devices", r->asked, "lease", r->lease), RELEASE_MS, answered,
	             r);
}

void release_devices(struct agent *a, const json_t *uuids, const char *lease, release_done done, void *arg)
{
	struct release *r = calloc(1, sizeof *r);
	if (!r) {
		log_error("out of memory: devices of lease %s are not released", lease);
		done(arg, json_array());
		return;
	}
	r->agent = a;
	r->done = done;
	r->arg = arg;
	str_copy(r->lease, sizeof r->lease, str_of(lease));
	r->waiting = json_copy((json_t *) (uintptr_t) uuids);
	r->asked = json_array();
	r->faulty = json_array();
	uv_timer_init(&a->loop, &r->timer);
	r->timer.data = r;
	/* From the loop, never from inside this call. */
	uv_timer_start(&r->timer, timed, 0, 0);
}

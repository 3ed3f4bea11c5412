/* SPDX-License-Identifier: Apache-2.0 */
/* conform_backend.c - what backend.h promises, tried on a backend: a check for each.
 *
 * Devices that somebody is on are not released and not tested. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/plugin/conform.h"

enum { DEVICES_MAX = 1024, ENV_MAX = 64, EVENTS_MAX = 64, CANARY = 0xa5, CALL_MS = 5000, LONG_MS = 30000 };
#define NOBODY "no-such-device"

/* --- devices, as the other checks need them --- */

struct devices {
	sl_device *list;
	const char **uuids;
	size_t n;
};

static void set_error(sl_error *e)
{
	memset(e, CANARY, sizeof *e);
	e->code = SL_OK;
}

/* An error must say what to do about it. */
static void look_at_error(struct conform *c, const char *call, int rc, const sl_error *e)
{
	if (rc >= 0)
		conform_fail(c, "%s returned %d, which is no error", call, rc);
	else if (rc < SL_ENOTSUP)
		conform_fail(c, "%s returned %d, which is no sl_code", call, rc);
	else if (!memchr(e->text, '\0', sizeof e->text))
		conform_fail(c, "%s failed and left no ended text in its error", call);
	else if (!e->text[0])
		conform_fail(c, "%s failed without a word", call);
	else if (e->code != rc)
		conform_fail(c, "%s returned %d, and the code in its error is %d", call, rc, (int) e->code);
}

static void devices_free(struct devices *d)
{
	free(d->list);
	free(d->uuids);
}

static bool get(struct conform *c, struct devices *d)
{
	sl_error e;
	set_error(&e);
	*d = (struct devices){ .list = calloc(DEVICES_MAX, sizeof *d->list), .uuids = calloc(DEVICES_MAX, sizeof *d->uuids) };
	int rc = d->list && d->uuids ? c->ops->devices(c->self, d->list, DEVICES_MAX, &d->n, &e) : SL_ENOMEM;
	if (rc != SL_OK) {
		conform_skip(c, "there are no devices to try it on: devices() fails");
	} else if (d->n == 0 || d->n > DEVICES_MAX) {
		conform_skip(c, "there are %zu devices", d->n);
		rc = SL_EFULL;
	}
	for (size_t i = 0; rc == SL_OK && i < d->n; i++) {
		d->list[i].uuid[sizeof d->list[i].uuid - 1] = '\0';
		d->uuids[i] = d->list[i].uuid;
	}
	if (rc != SL_OK)
		devices_free(d);
	return rc == SL_OK;
}

static bool is_known(const struct devices *d, const char *uuid)
{
	for (size_t i = 0; i < d->n; i++)
		if (strncmp(d->uuids[i], uuid, 96) == 0)
			return true;
	return false;
}

static bool is_text(const char *text, size_t room)
{
	return memchr(text, '\0', room) != NULL;
}

static bool is_touched(const void *memory, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (((const unsigned char *) memory)[i] != CANARY)
			return true;
	return false;
}

/* Is somebody on it, as far as the backend can say? */
static bool is_used(struct conform *c, const char *uuid)
{
	sl_process p;
	sl_error e;
	size_t n = 0;
	return c->ops->processes && c->ops->processes(c->self, uuid, &p, 1, &n, &e) == SL_OK && n > 0;
}

/* --- devices and samples --- */

static void check_devices(struct conform *c)
{
	size_t n = 0;
	sl_error e;
	sl_device *list = calloc(DEVICES_MAX, sizeof *list);
	set_error(&e);
	int rc = list ? c->ops->devices(c->self, list, DEVICES_MAX, &n, &e) : SL_ENOMEM;
	if (rc != SL_OK) {
		look_at_error(c, "devices()", rc, &e);
		conform_fail(c, "devices() failed: %.200s", e.text);
	}
	for (size_t i = 0; rc == SL_OK && i < n && i < DEVICES_MAX; i++) {
		const sl_device *d = &list[i];
		if (!is_text(d->uuid, sizeof d->uuid) || !d->uuid[0])
			conform_fail(c, "device %zu has no uuid, or one that does not end", i);
		else if (d->size != sizeof *d)
			conform_fail(c, "%s: size is %u instead of %zu", d->uuid, d->size, sizeof *d);
		else if (!is_text(d->kind, sizeof d->kind) || !d->kind[0] || !is_text(d->model, sizeof d->model) || !d->model[0] ||
		         !is_text(d->vendor, sizeof d->vendor) || !is_text(d->island, sizeof d->island) ||
		         !is_text(d->bus, sizeof d->bus) || !is_text(d->parent, sizeof d->parent))
			conform_fail(c, "%s: kind or model is empty, or a text does not end", d->uuid);
		else if (d->isolation < SL_ISOLATION_WHOLE || d->isolation > SL_ISOLATION_SHARE)
			conform_fail(c, "%s: isolation is %u", d->uuid, d->isolation);
		else if ((d->isolation != SL_ISOLATION_WHOLE) != (d->parent[0] != '\0'))
			conform_fail(c, "%s: a part has a parent, and a whole device has none", d->uuid);
	}
	free(list);
}

static void check_uuids(struct conform *c)
{
	struct devices d;
	if (!get(c, &d))
		return;
	for (size_t i = 0; i < d.n; i++)
		for (size_t k = 0; k < i; k++)
			if (strcmp(d.uuids[i], d.uuids[k]) == 0)
				conform_fail(c, "two devices are %s", d.uuids[i]);
	devices_free(&d);
}

static void check_stable(struct conform *c)
{
	struct devices a, b;
	if (!get(c, &a))
		return;
	if (get(c, &b)) {
		for (size_t i = 0; i < a.n; i++)
			if (a.n != b.n || !is_known(&b, a.uuids[i]))
				conform_fail(c, "a second call knows %zu devices after %zu, and %s is %sone of them", b.n, a.n, a.uuids[i],
				             is_known(&b, a.uuids[i]) ? "" : "not ");
		devices_free(&b);
	}
	devices_free(&a);
}

typedef int (*list_call)(struct conform *c, void *out, size_t room, size_t *n, sl_error *e);

static int call_devices(struct conform *c, void *out, size_t room, size_t *n, sl_error *e)
{
	return c->ops->devices(c->self, out, room, n, e);
}

static int call_sample(struct conform *c, void *out, size_t room, size_t *n, sl_error *e)
{
	return c->ops->sample(c->self, out, room, n, e);
}

static int call_telemetry(struct conform *c, void *out, size_t room, size_t *n, sl_error *e)
{
	return c->ops->telemetry(c->self, out, room, n, e);
}

/* Nothing is written beyond the room, and n says how many there are whatever the room. */
static void try_room(struct conform *c, const char *what, list_call call, size_t stride, size_t total)
{
	for (size_t room = 0; room < total; room += total > 1 && room == 0 ? total - 1 : total) {
		sl_error e;
		size_t n = 0;
		unsigned char *out = malloc((total + 1) * stride);
		if (!out)
			return;
		set_error(&e);
		memset(out, CANARY, (total + 1) * stride);
		int rc = call(c, out, room, &n, &e);
		if (rc != SL_OK)
			conform_fail(c, "%s failed with room for %zu: %.100s", what, room, is_text(e.text, sizeof e.text) ? e.text : "?");
		else if (is_touched(out + room * stride, (total + 1 - room) * stride))
			conform_fail(c, "%s wrote beyond its room of %zu", what, room);
		else if (n != total)
			conform_fail(c, "%s says %zu with room for %zu, and %zu with enough", what, n, room, total);
		free(out);
	}
}

static void check_devices_room(struct conform *c)
{
	struct devices d;
	if (!get(c, &d))
		return;
	try_room(c, "devices()", call_devices, sizeof(sl_device), d.n);
	devices_free(&d);
}

static void look_at_sample(struct conform *c, const struct devices *d, const sl_sample *s)
{
	if (!is_text(s->uuid, sizeof s->uuid) || !is_known(d, s->uuid))
		conform_fail(c, "a sample of %.95s, which is no device", s->uuid);
	else if (s->size != sizeof *s)
		conform_fail(c, "%s: size is %u instead of %zu", s->uuid, s->size, sizeof *s);
	else if (s->health > SL_HEALTH_LOST)
		conform_fail(c, "%s: health is %u", s->uuid, s->health);
	else if (!is_text(s->reason, sizeof s->reason) || (s->health != SL_HEALTH_OK && !s->reason[0]))
		conform_fail(c, "%s: not in order, and no reason", s->uuid);
	else if (s->busy_permille > 1000)
		conform_fail(c, "%s: busy for %d of 1000", s->uuid, s->busy_permille);
}

static void check_sample(struct conform *c)
{
	struct devices d;
	sl_error e;
	size_t n = 0;
	if (!get(c, &d))
		return;
	sl_sample *list = calloc(DEVICES_MAX, sizeof *list);
	set_error(&e);
	int rc = list ? c->ops->sample(c->self, list, DEVICES_MAX, &n, &e) : SL_ENOMEM;
	if (rc != SL_OK)
		conform_fail(c, "sample() failed: %.200s", is_text(e.text, sizeof e.text) ? e.text : "?");
	else if (n != d.n)
		conform_fail(c, "%zu samples of %zu devices", n, d.n);
	for (size_t i = 0; rc == SL_OK && i < n && i < DEVICES_MAX; i++) {
		look_at_sample(c, &d, &list[i]);
		for (size_t k = 0; k < i; k++)
			if (strncmp(list[i].uuid, list[k].uuid, sizeof list[i].uuid) == 0)
				conform_fail(c, "two samples of %.95s", list[i].uuid);
	}
	free(list);
	devices_free(&d);
}

static void check_sample_room(struct conform *c)
{
	struct devices d;
	if (!get(c, &d))
		return;
	try_room(c, "sample()", call_sample, sizeof(sl_sample), d.n);
	devices_free(&d);
}

/* --- leases --- */

static void try_prepare(struct conform *c, const char *const *uuids, size_t n_uuids)
{
	static sl_env env[ENV_MAX];
	sl_error e;
	size_t n = 0;
	set_error(&e);
	memset(env, 0, sizeof env);
	int rc = c->ops->prepare(c->self, uuids, n_uuids, "conformance", env, ENV_MAX, &n, &e);
	if (rc != SL_OK) {
		look_at_error(c, "prepare()", rc, &e);
		if (rc != SL_EFULL) /* more devices than a variable can name is an answer */
			conform_fail(c, "prepare() of %zu devices failed: %.180s", n_uuids, e.text);
		return;
	}
	if (n == 0 || n > ENV_MAX)
		conform_fail(c, "prepare() gave %zu variables", n);
	for (size_t i = 0; i < n && i < ENV_MAX; i++) {
		if (!is_text(env[i].name, sizeof env[i].name) || !env[i].name[0] || strchr(env[i].name, '='))
			conform_fail(c, "variable %zu has no name, or one with '=' in it", i);
		else if (!is_text(env[i].value, sizeof env[i].value))
			conform_fail(c, "the value of %s does not end", env[i].name);
		for (size_t k = 0; k < i; k++)
			if (strncmp(env[i].name, env[k].name, sizeof env[i].name) == 0)
				conform_fail(c, "%s is there twice", env[i].name);
	}
}

static void check_prepare(struct conform *c)
{
	struct devices d;
	if (!get(c, &d))
		return;
	for (size_t i = 0; i < d.n && c->result == CONFORM_OK; i++)
		try_prepare(c, &d.uuids[i], 1);
	if (c->result == CONFORM_OK)
		try_prepare(c, d.uuids, d.n);
	devices_free(&d);
}

static void check_prepare_room(struct conform *c)
{
	struct devices d;
	static sl_env env[2];
	sl_error e;
	size_t n = 0;
	if (!get(c, &d))
		return;
	set_error(&e);
	memset(env, CANARY, sizeof env);
	int rc = c->ops->prepare(c->self, d.uuids, 1, "conformance", env, 0, &n, &e);
	if (is_touched(env, sizeof env))
		conform_fail(c, "prepare() wrote beyond its room of 0");
	else if (rc == SL_OK && n == 0)
		conform_fail(c, "prepare() says that no variable is needed with room for 0");
	else if (rc != SL_OK)
		look_at_error(c, "prepare()", rc, &e);
	devices_free(&d);
}

static void check_prepare_unknown(struct conform *c)
{
	static sl_env env[ENV_MAX];
	static const char *const uuids[] = { NOBODY, "" };
	sl_error e;
	for (size_t i = 0; i < 2; i++) {
		size_t n = 0;
		set_error(&e);
		look_at_error(c, "prepare() of a device that is not there", c->ops->prepare(c->self, &uuids[i], 1, "conformance", env,
		              ENV_MAX, &n, &e), &e);
	}
}

static void try_release(struct conform *c, unsigned times)
{
	struct devices d;
	size_t tried = 0;
	if (!get(c, &d))
		return;
	for (size_t i = 0; i < d.n; i++) {
		if (is_used(c, d.uuids[i]))
			continue;
		tried++;
		for (unsigned k = 0; k < times && c->result == CONFORM_OK; k++) {
			sl_error e;
			set_error(&e);
			int rc = c->ops->release(c->self, &d.uuids[i], 1, "conformance", &e);
			if (rc == SL_OK)
				continue;
			look_at_error(c, "release()", rc, &e);
			conform_fail(c, "release() of an idle %s failed: %.140s", d.uuids[i], e.text);
		}
	}
	if (!tried)
		conform_skip(c, "all devices are in use");
	devices_free(&d);
}

static void check_release(struct conform *c)
{
	try_release(c, 1);
}

static void check_release_twice(struct conform *c)
{
	try_release(c, 2);
}

static void check_release_unknown(struct conform *c)
{
	static const char *const nobody = NOBODY;
	sl_error e;
	set_error(&e);
	look_at_error(c, "release() of a device that is not there", c->ops->release(c->self, &nobody, 1, "conformance", &e), &e);
}

/* --- since 1.1 --- */

static bool lacks(struct conform *c, bool has)
{
	if (!has)
		conform_skip(c, "this backend has no such function");
	return !has;
}

static void check_about(struct conform *c)
{
	char text[256];
	sl_error e;
	if (lacks(c, c->ops->about != NULL))
		return;
	set_error(&e);
	memset(text, CANARY, sizeof text);
	int rc = c->ops->about(c->self, text, sizeof text - 1, &e);
	if (rc != SL_OK)
		look_at_error(c, "about()", rc, &e), conform_fail(c, "about() failed");
	else if (!is_text(text, sizeof text - 1) || !text[0] || (unsigned char) text[sizeof text - 1] != CANARY)
		conform_fail(c, "about() says nothing, or more than there was room for");
}

static void check_telemetry(struct conform *c)
{
	struct devices d;
	sl_error e;
	size_t n = 0;
	if (lacks(c, c->ops->telemetry != NULL) || !get(c, &d))
		return;
	sl_telemetry *list = calloc(DEVICES_MAX, sizeof *list);
	set_error(&e);
	int rc = list ? c->ops->telemetry(c->self, list, DEVICES_MAX, &n, &e) : SL_ENOMEM;
	if (rc != SL_OK)
		conform_fail(c, "telemetry() failed: %.150s", is_text(e.text, sizeof e.text) ? e.text : "?");
	for (size_t i = 0; rc == SL_OK && i < n && i < DEVICES_MAX; i++) {
		const sl_telemetry *t = &list[i];
		if (t->size != sizeof *t || !is_text(t->uuid, sizeof t->uuid) || !is_known(&d, t->uuid))
			conform_fail(c, "entry %zu: size %u, of %.90s, which is %sa device", i, t->size, t->uuid,
			             is_known(&d, t->uuid) ? "" : "not ");
		else if (t->compute_permille > 1000 || t->links_up > t->links)
			conform_fail(c, "%s: %d of 1000 units busy, %d of %d links up", t->uuid, t->compute_permille, t->links_up, t->links);
	}
	if (rc == SL_OK && n)
		try_room(c, "telemetry()", call_telemetry, sizeof(sl_telemetry), n);
	free(list);
	devices_free(&d);
}

static void check_processes(struct conform *c)
{
	struct devices d;
	sl_process p[2];
	sl_error e;
	size_t n = 0;
	if (lacks(c, c->ops->processes != NULL) || !get(c, &d))
		return;
	for (size_t i = 0; i < d.n; i++) {
		set_error(&e);
		memset(p, CANARY, sizeof p);
		int rc = c->ops->processes(c->self, d.uuids[i], p, 1, &n, &e);
		if (rc != SL_OK)
			look_at_error(c, "processes()", rc, &e);
		if (is_touched(&p[1], sizeof p[1]))
			conform_fail(c, "processes() wrote beyond its room of 1");
		else if (rc == SL_OK && n && (p[0].size != sizeof p[0] || p[0].pid <= 0))
			conform_fail(c, "%s: a process %d of size %u", d.uuids[i], p[0].pid, p[0].size);
	}
	set_error(&e);
	look_at_error(c, "processes() of a device that is not there", c->ops->processes(c->self, NOBODY, p, 1, &n, &e), &e);
	devices_free(&d);
}

static void check_events(struct conform *c)
{
	static sl_event list[EVENTS_MAX + 1];
	sl_error e;
	size_t n = 1;
	if (lacks(c, c->ops->events != NULL))
		return;
	for (size_t room = 0; room <= EVENTS_MAX; room += EVENTS_MAX) {
		set_error(&e);
		memset(list, CANARY, sizeof list);
		int rc = c->ops->events(c->self, list, room, &n, &e);
		if (rc != SL_OK)
			look_at_error(c, "events()", rc, &e), conform_fail(c, "events() failed");
		else if (n > room || is_touched(&list[room], sizeof list[room]))
			conform_fail(c, "events() handed over %zu with room for %zu", n, room);
		for (size_t i = 0; rc == SL_OK && i < n && i < room; i++)
			if (list[i].size != sizeof list[i] || list[i].event_class < SL_EVENT_PROGRAM ||
			    list[i].event_class > SL_EVENT_LOST || !is_text(list[i].text, sizeof list[i].text) || !list[i].text[0])
				conform_fail(c, "event %zu: size %u, class %u, or no text", i, list[i].size, list[i].event_class);
	}
}

static void check_check(struct conform *c)
{
	struct devices d;
	sl_error e;
	if (lacks(c, c->ops->check != NULL) || !get(c, &d))
		return;
	for (size_t i = 0; i < d.n; i++) {
		if (is_used(c, d.uuids[i]))
			continue;
		set_error(&e);
		int rc = c->ops->check(c->self, d.uuids[i], &e);
		if (rc == SL_OK)
			continue;
		look_at_error(c, "check()", rc, &e);
		if (rc == SL_ENOTSUP)
			conform_skip(c, "%.200s", e.text);
		else
			conform_fail(c, "check() of an idle %s failed: %.140s", d.uuids[i], e.text);
	}
	set_error(&e);
	look_at_error(c, "check() of a device that is not there", c->ops->check(c->self, NOBODY, &e), &e);
	devices_free(&d);
}

static void check_suspend(struct conform *c)
{
	struct devices d;
	sl_error e;
	static const int32_t nobody[1] = { 0 };
	bool has = c->ops->suspend != NULL;
	if (has != (c->ops->resume != NULL) || has != ((c->caps & SL_BACKEND_CAP_SUSPEND) != 0)) {
		conform_fail(c, "suspend(), resume() and SL_BACKEND_CAP_SUSPEND belong together: it has some of them");
		return;
	}
	if (lacks(c, has) || !get(c, &d))
		return;
	set_error(&e);
	int rc = c->ops->suspend(c->self, d.uuids, 1, nobody, 0, 1000, &e);
	if (rc == SL_ENOTSUP) {
		look_at_error(c, "suspend()", rc, &e);
		conform_skip(c, "%.200s", e.text);
	} else if (rc != SL_OK) {
		conform_fail(c, "suspend() of no process failed: %.150s", is_text(e.text, sizeof e.text) ? e.text : "?");
	} else if ((rc = c->ops->resume(c->self, d.uuids, d.uuids, 1, nobody, 0, 1000, &e)) != SL_OK) {
		conform_fail(c, "resume() of no process failed: %.150s", is_text(e.text, sizeof e.text) ? e.text : "?");
	} else {
		static const char *const unknown = NOBODY;
		set_error(&e);
		look_at_error(c, "suspend() from a device that is not there",
		              c->ops->suspend(c->self, &unknown, 1, nobody, 0, 1000, &e), &e);
	}
	devices_free(&d);
}

const struct conform_check conform_backend[] = {
	{ "devices", "lists devices, each with size, uuid, kind, model, isolation", CALL_MS, check_devices },
	{ "uuids", "no two devices have one uuid", CALL_MS, check_uuids },
	{ "stable", "the same devices are there when asked again", CALL_MS, check_stable },
	{ "devices-room", "writes no further than the room, and counts on", CALL_MS, check_devices_room },
	{ "sample", "one sample of each device, with a reason when it is not in order", CALL_MS, check_sample },
	{ "sample-room", "writes no further than the room, and counts on", CALL_MS, check_sample_room },
	{ "prepare", "gives variables for each device, and for all together", CALL_MS, check_prepare },
	{ "prepare-room", "writes no further than the room", CALL_MS, check_prepare_room },
	{ "prepare-unknown", "a device that is not there is an error with words", CALL_MS, check_prepare_unknown },
	{ "release", "gives each idle device back", LONG_MS, check_release },
	{ "release-twice", "and once more", LONG_MS, check_release_twice },
	{ "release-unknown", "a device that is not there is an error with words", CALL_MS, check_release_unknown },
	{ "about", "says what it found", CALL_MS, check_about },
	{ "telemetry", "figures of known devices, within their room", CALL_MS, check_telemetry },
	{ "processes", "who is on a device, within the room", CALL_MS, check_processes },
	{ "events", "hands over what happened, never more than the room", CALL_MS, check_events },
	{ "check", "tries idle devices out", LONG_MS, check_check },
	{ "suspend", "suspends and resumes where it says that it can", LONG_MS, check_suspend },
	{ .name = NULL }
};

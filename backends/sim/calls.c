/* SPDX-License-Identifier: Apache-2.0 */
/* calls.c - the calls on simulated devices, and the faults that the control file asks for. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backends/sim/sim.h"

static const char *text_of(const json_t *o, const char *key, const char *fallback)
{
	const json_t *v = json_object_get(o, key);
	return json_is_string(v) ? json_string_value(v) : fallback;
}

/* A member that is one word or a list of words: does it name this call? */
static int names(const json_t *v, const char *call)
{
	size_t i;
	json_t *word;
	if (json_is_string(v))
		return strcmp(json_string_value(v), call) == 0;
	json_array_foreach(v, i, word)
		if (json_is_string(word) && strcmp(json_string_value(word), call) == 0)
			return 1;
	return 0;
}

static void wait_ms(int64_t ms)
{
	struct timespec left = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
	while (ms > 0 && nanosleep(&left, &left) != 0)
		continue;
}

/* Reads the control file (NULL: none, or not readable at this moment) and does what it says of this call: take its
 * time, hang, crash, or fail. */
static json_t *obey(const struct sim *s, const char *call, int *rc, sl_error *error)
{
	json_t *control = s->control ? json_load_file(s->control, 0, NULL) : NULL;
	*rc = SL_OK;
	wait_ms(json_integer_value(json_object_get(json_object_get(control, "slow"), call)));
	while (names(json_object_get(control, "hang"), call))
		pause();
	if (names(json_object_get(control, "crash"), call)) {
		signal(SIGSEGV, SIG_DFL);
		raise(SIGSEGV);
	}
	if (names(json_object_get(control, "fail"), call))
		*rc = sim_fail(error, SL_EIO, "told to fail: ", call);
	return control;
}

/* What the control file says of a device, by uuid or by "gpuN". */
static const json_t *said_of(const json_t *control, const sl_device *d)
{
	char name[32];
	snprintf(name, sizeof name, "gpu%u", d->index);
	const json_t *v = json_object_get(control, d->uuid);
	return v ? v : json_object_get(control, name);
}

static int gone(const json_t *said)
{
	return json_is_true(json_object_get(said, "gone"));
}

static int sim_devices(void *self, sl_device *out, size_t room, size_t *n, sl_error *error)
{
	struct sim *s = self;
	int rc;
	json_t *control = obey(s, "devices", &rc, error);
	*n = 0;
	for (size_t i = 0; i < s->n; i++) {
		if (gone(said_of(control, &s->devices[i].d)))
			continue;
		if (*n < room)
			out[*n] = s->devices[i].d;
		(*n)++;
	}
	json_decref(control);
	return rc;
}

static int64_t figure(const json_t *said, const char *key, int64_t fallback)
{
	const json_t *v = json_object_get(said, key);
	return json_is_integer(v) ? json_integer_value(v) : fallback;
}

static uint32_t health_of(const json_t *said)
{
	static const char *const words[] = { "ok", "degraded", "faulty", "lost" };
	const char *word = text_of(said, "health", "ok");
	for (uint32_t i = 0; i < 4; i++)
		if (strcmp(words[i], word) == 0)
			return i;
	return SL_HEALTH_FAULTY;
}

static void take_sample(const sl_device *d, const json_t *said, sl_sample *out)
{
	*out = (sl_sample){
		.size = sizeof *out,
		.health = health_of(said),
		.memory_used_bytes = figure(said, "memory_used", 0),
		.busy_permille = (int32_t) figure(said, "busy", 0),
		.temperature_c = (int32_t) figure(said, "temperature", -1),
		.power_mw = figure(said, "power", -1),
		.energy_mj = -1,
	};
	snprintf(out->uuid, sizeof out->uuid, "%s", d->uuid);
	snprintf(out->reason, sizeof out->reason, "%s", text_of(said, "reason", ""));
}

static int sim_sample(void *self, sl_sample *out, size_t room, size_t *n, sl_error *error)
{
	struct sim *s = self;
	int rc;
	json_t *control = obey(s, "sample", &rc, error);
	*n = 0;
	for (size_t i = 0; i < s->n; i++) {
		const json_t *said = said_of(control, &s->devices[i].d);
		if (gone(said))
			continue;
		if (*n < room)
			take_sample(&s->devices[i].d, said, &out[*n]);
		(*n)++;
	}
	json_decref(control);
	return rc;
}

static const struct sim_device *find(const struct sim *s, const char *uuid)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->devices[i].d.uuid, uuid) == 0)
			return &s->devices[i];
	return NULL;
}

/* Adds a variable, or appends to the list in the one that is there. */
static int put(sl_env *env, size_t room, size_t *n, const char *name, const char *value, int list, sl_error *error)
{
	for (size_t i = 0; i < *n; i++) {
		size_t len = strlen(env[i].value);
		if (strcmp(env[i].name, name) != 0)
			continue;
		if (!list)
			len = 0;
		int wrote = snprintf(env[i].value + len, sizeof env[i].value - len, list ? ",%s" : "%s", value);
		return wrote < (int) (sizeof env[i].value - len) ? SL_OK : sim_fail(error, SL_EFULL, "too long a list in ", name);
	}
	if (*n == room || strlen(name) >= sizeof env->name || strlen(value) >= sizeof env->value)
		return sim_fail(error, SL_EFULL, "no room for the variable ", name);
	snprintf(env[*n].name, sizeof env->name, "%s", name);
	snprintf(env[*n].value, sizeof env->value, "%s", value);
	(*n)++;
	return SL_OK;
}

static int put_device(const struct sim_device *d, sl_env *env, size_t room, size_t *n, sl_error *error)
{
	static const char *const cuda[] = { "CUDA_VISIBLE_DEVICES", NULL };
	static const char *const amd[] = { "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", NULL };
	char index[16];
	const char *key;
	json_t *value;
	snprintf(index, sizeof index, "%u", d->d.index);
	int rc = SL_OK;
	for (const char *const *name = strcmp(d->d.vendor, "amd") == 0 ? amd : cuda; *name && rc == SL_OK; name++)
		rc = put(env, room, n, *name, index, 1, error);
	if (rc == SL_OK)
		rc = put(env, room, n, "SLUICE_SIM_DEVICES", d->d.uuid, 1, error);
	json_object_foreach((json_t *) (uintptr_t) d->env, key, value)
		if (rc == SL_OK && json_is_string(value))
			rc = put(env, room, n, key, json_string_value(value), 0, error);
	return rc;
}

static int sim_prepare(void *self, const char *const *uuids, size_t n_uuids, const char *lease, sl_env *env, size_t room,
                       size_t *n_env, sl_error *error)
{
	struct sim *s = self;
	int rc;
	(void) lease;
	json_t *control = obey(s, "prepare", &rc, error);
	*n_env = 0;
	for (size_t i = 0; i < n_uuids && rc == SL_OK; i++) {
		const struct sim_device *d = find(s, uuids[i]);
		if (!d || gone(said_of(control, &d->d)))
			rc = sim_fail(error, SL_ENOTFOUND, "there is no device ", uuids[i]);
		else
			rc = put_device(d, env, room, n_env, error);
	}
	json_decref(control);
	return rc;
}

static int sim_release(void *self, const char *const *uuids, size_t n_uuids, const char *lease, sl_error *error)
{
	struct sim *s = self;
	int rc;
	(void) lease;
	json_t *control = obey(s, "release", &rc, error);
	for (size_t i = 0; i < n_uuids && rc == SL_OK; i++) {
		const struct sim_device *d = find(s, uuids[i]);
		const json_t *said = d ? said_of(json_object_get(control, "release"), &d->d) : NULL;
		if (!d)
			rc = sim_fail(error, SL_ENOTFOUND, "there is no device ", uuids[i]);
		else if (json_is_string(said))
			rc = sim_fail(error, SL_EIO, "", json_string_value(said));
	}
	json_decref(control);
	return rc;
}

static int sim_about(void *self, char *text, size_t room, sl_error *error)
{
	const struct sim *s = self;
	(void) error;
	snprintf(text, room, "%zu simulated devices; nothing is computed%s%s", s->n, s->control ? ", faults are read from " : "",
	         s->control ? s->control : "");
	return SL_OK;
}

/* Its processes have nothing on a device: to stand still is all that a suspension is. */
static int signal_all(const struct sim *s, const char *call, const char *const *uuids, size_t n_uuids, const int32_t *pids,
                      size_t n_pids, int number, sl_error *error)
{
	int rc;
	json_t *control = obey(s, call, &rc, error);
	if (rc != SL_OK)
		rc = error->code = SL_EUPSTREAM; /* nothing was done: they run, or stand, as before */
	if (names(json_object_get(control, "break"), call))
		rc = sim_fail(error, SL_EIO, "told to break: ", call);
	json_decref(control);
	for (size_t i = 0; i < n_uuids && rc == SL_OK; i++)
		if (!find(s, uuids[i]))
			rc = sim_fail(error, SL_ENOTFOUND, "there is no device ", uuids[i]);
	for (size_t i = 0; i < n_pids && rc == SL_OK; i++)
		if (pids[i] > 1)
			kill(pids[i], number); /* one that has ended meanwhile needs it no more */
	return rc;
}

static int sim_suspend(void *self, const char *const *uuids, size_t n_uuids, const int32_t *pids, size_t n_pids,
                       uint64_t timeout_ms, sl_error *error)
{
	(void) timeout_ms;
	return signal_all(self, "suspend", uuids, n_uuids, pids, n_pids, SIGSTOP, error);
}

static int sim_resume(void *self, const char *const *from, const char *const *to, size_t n_uuids, const int32_t *pids,
                      size_t n_pids, uint64_t timeout_ms, sl_error *error)
{
	struct sim *s = self;
	(void) timeout_ms;
	for (size_t i = 0; i < n_uuids; i++) {
		const struct sim_device *was = find(s, from[i]), *is = find(s, to[i]);
		if (was && is && strcmp(was->d.kind, is->d.kind) != 0)
			return sim_fail(error, SL_EINVAL, "not of the same kind: ", to[i]);
	}
	return signal_all(s, "resume", to, n_uuids, pids, n_pids, SIGCONT, error);
}

/* A test of a device fails as its release does. */
static int sim_check(void *self, const char *uuid, sl_error *error)
{
	return sim_release(self, &uuid, 1, "", error);
}

const sl_backend_ops sim_ops = {
	.size = sizeof sim_ops,
	.devices = sim_devices,
	.sample = sim_sample,
	.prepare = sim_prepare,
	.release = sim_release,
	.about = sim_about,
	.check = sim_check,
	.suspend = sim_suspend,
	.resume = sim_resume,
};

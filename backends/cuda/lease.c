/* SPDX-License-Identifier: Apache-2.0 */
/* lease.c - what is done to devices before and after a lease. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backends/common/helper.h"
#include "backends/cuda/cuda.h"

enum { SETTLE_LOOK_MS = 50 };

int cuda_prepare(void *self, const char *const *uuids, size_t n_uuids, const char *lease, sl_env *env, size_t room,
                 size_t *n_env, sl_error *error)
{
	struct cuda *c = self;
	int rc = SL_OK;
	(void) lease;
	*n_env = 0;
	for (size_t i = 0; i < n_uuids; i++) {
		const struct cuda_device *d = cuda_find_living(c, uuids[i], error);
		if (!d)
			return error->code;
		if (d->hidden)
			return text_fail(error, SL_ECONFLICT, "%s is cut into slices: it is granted slice by slice", uuids[i]);
	}
	/* By uuid, since indices are others in each process. NVIDIA_ is what container runtimes go by. */
	rc = text_env_list(env, room, n_env, "CUDA_VISIBLE_DEVICES", uuids, n_uuids, error);
	if (rc == SL_OK)
		rc = text_env(env, room, n_env, "CUDA_DEVICE_ORDER", "PCI_BUS_ID", error);
	if (rc == SL_OK)
		rc = text_env_list(env, room, n_env, "NVIDIA_VISIBLE_DEVICES", uuids, n_uuids, error);
	return rc;
}

/* --- afterwards --- */

/* The driver takes a moment to see that a killed process is gone. */
static int wait_until_left(struct cuda *c, const struct cuda_device *d, sl_error *error)
{
	sl_process p[4];
	size_t n = 0;
	for (int64_t waited = 0;; waited += SETTLE_LOOK_MS) {
		int rc = cuda_computing(c, d, p, sizeof p / sizeof *p, &n, error);
		if (rc == SL_EDENIED || rc == SL_ENOTSUP)
			return SL_OK;
		if (rc != SL_OK || n == 0)
			return rc;
		if (waited >= c->settle_ms)
			return text_fail(error, SL_ECONFLICT, "%s: process %d is still on it after %lld ms%s", d->d.uuid, p[0].pid,
			                 (long long) c->settle_ms, n > 1 ? ", and others" : "");
		nanosleep(&(struct timespec){ .tv_nsec = SETTLE_LOOK_MS * 1000000l }, NULL);
	}
}

static int has_memory_left(struct cuda *c, const struct cuda_device *d, sl_error *error)
{
	int64_t used = 0;
	for (int64_t waited = 0; waited <= c->settle_ms; waited += SETTLE_LOOK_MS) {
		used = cuda_memory_used(c, d);
		if (used <= c->idle_memory)
			return SL_OK;
		nanosleep(&(struct timespec){ .tv_nsec = SETTLE_LOOK_MS * 1000000l }, NULL);
	}
	return text_fail(error, SL_EIO, "%s: %lld MiB of its memory are in use though nobody is on it; more than %lld MiB "
	                 "(idle_memory) must not be", d->d.uuid, (long long) (used >> 20), (long long) (c->idle_memory >> 20));
}

static int still_healthy(struct cuda *c, struct cuda_device *d, sl_error *error)
{
	char reason[SL_ERROR_TEXT];
	uint32_t health = cuda_health(c, d, reason);
	return health < SL_HEALTH_FAULTY ? SL_OK : text_fail(error, SL_EIO, "%s: %.190s", d->d.uuid, reason);
}

/* All of them at once, each in a process of its own. */
static int work_on(struct cuda *c, const char *const *uuids, size_t n, bool scrub, sl_error *error)
{
	struct helper *helpers = calloc(n, sizeof *helpers);
	struct scrub_job *jobs = calloc(n, sizeof *jobs);
	char (*what)[160] = calloc(n, sizeof *what);
	int rc = helpers && jobs && what ? SL_OK : text_fail(error, SL_ENOMEM, "out of memory");
	for (size_t i = 0; i < n && rc == SL_OK; i++) {
		jobs[i] = (struct scrub_job){ .scrub = scrub, .probe = c->probe };
		text_copy(jobs[i].uuid, sizeof jobs[i].uuid, uuids[i]);
		text_copy(jobs[i].driver_file, sizeof jobs[i].driver_file, c->driver_file);
		snprintf(what[i], sizeof what[i], "%s on %s", scrub ? "scrub" : "test", uuids[i]);
		helpers[i] = (struct helper){ .what = what[i], .work = scrub_work, .arg = &jobs[i] };
	}
	if (rc == SL_OK && helpers_run(helpers, n, (unsigned) c->release_ms, error) != SL_OK) {
		size_t i = 0;
		while (helpers[i].rc == SL_OK)
			i++;
		/* A hung one names itself. SL_ETIMEOUT would say that the whole call hung. */
		bool named = helpers[i].rc == SL_ETIMEOUT;
		rc = text_fail(error, named ? SL_EIO : helpers[i].rc, "%s%s%.180s", named ? "" : uuids[i], named ? "" : ": ",
		               helpers[i].error.text);
	}
	free(helpers);
	free(jobs);
	free(what);
	return rc;
}

static int release_one(struct cuda *c, struct cuda_device *d, sl_error *error)
{
	int rc = wait_until_left(c, d, error);
	return rc == SL_OK ? still_healthy(c, d, error) : rc;
}

int cuda_release(void *self, const char *const *uuids, size_t n_uuids, const char *lease, sl_error *error)
{
	struct cuda *c = self;
	int rc = SL_OK;
	(void) lease;
	cuda_pump(c);
	for (size_t i = 0; i < n_uuids && rc == SL_OK; i++) {
		struct cuda_device *d = cuda_find_living(c, uuids[i], error);
		rc = d ? release_one(c, d, error) : error->code;
	}
	if (rc == SL_OK && n_uuids && (c->scrub || c->probe))
		rc = work_on(c, uuids, n_uuids, c->scrub, error);
	cuda_pump(c); /* a fault that the scrub met */
	for (size_t i = 0; i < n_uuids && rc == SL_OK; i++) {
		struct cuda_device *d = cuda_find_living(c, uuids[i], error);
		rc = d ? still_healthy(c, d, error) : error->code;
		if (rc == SL_OK)
			rc = has_memory_left(c, d, error);
	}
	return rc;
}

int cuda_check(void *self, const char *uuid, sl_error *error)
{
	struct cuda *c = self;
	cuda_pump(c);
	struct cuda_device *d = cuda_find_living(c, uuid, error);
	if (!d)
		return error->code;
	if (!c->probe)
		return text_fail(error, SL_ENOTSUP, "%s cannot be tested: %.180s", uuid, c->scrub_off[0] ? c->scrub_off :
		                 "the option probe is off");
	int rc = work_on(c, &uuid, 1, false, error);
	if (rc != SL_OK)
		return rc;
	cuda_pump(c);
	d->mark = 0;
	d->mark_text[0] = '\0';
	return still_healthy(c, d, error);
}

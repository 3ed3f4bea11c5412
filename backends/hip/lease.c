/* SPDX-License-Identifier: Apache-2.0 */
/* lease.c - what is done to devices before and after a lease. */
#include "config.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backends/common/helper.h"
#include "backends/hip/hip.h"

enum { LOOK_MS = 50, CHUNKS_MAX = 4096, CHUNK_MIN = 256 << 10, HIP_OUT_OF_MEMORY = 2, HIP_TO_HOST = 2 };

/* What makes exactly these visible to the runtime: by name where all have one of their own, else by number. */
static int visible(struct hip *h, const char *const *uuids, size_t n, char *out, size_t room, sl_error *error)
{
	bool named = true;
	out[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		const struct hip_device *d = hip_find_living(h, uuids[i], error);
		if (!d)
			return error->code;
		named = named && d->named;
	}
	for (size_t i = 0; i < n; i++) {
		if (named)
			text_append(out, room, "%s%s", i ? "," : "", uuids[i]);
		else
			text_append(out, room, "%s%u", i ? "," : "", hip_find(h, uuids[i], error)->number);
	}
	return SL_OK;
}

/* ROCR_VISIBLE_DEVICES alone: HIP_VISIBLE_DEVICES counts within what that one has left. */
int hip_prepare(void *self, const char *const *uuids, size_t n_uuids, const char *lease, sl_env *env, size_t room,
                size_t *n_env, sl_error *error)
{
	struct hip *h = self;
	char list[sizeof env->value + 1];
	(void) lease;
	*n_env = 0;
	int rc = visible(h, uuids, n_uuids, list, sizeof list, error);
	return rc == SL_OK ? text_env(env, room, n_env, "ROCR_VISIBLE_DEVICES", list, error) : rc;
}

/* --- scrub, in a process of its own --- */

struct scrub_job {
	char visible[128], library[256];
};

#define HIP_FUNCTIONS(X) \
	X(count, hipGetDeviceCount, (int *)) \
	X(info, hipMemGetInfo, (size_t *, size_t *)) \
	X(alloc, hipMalloc, (void **, size_t)) \
	X(free, hipFree, (void *)) \
	X(fill, hipMemset, (void *, int, size_t)) \
	X(copy, hipMemcpy, (void *, const void *, size_t, int)) \
	X(synchronize, hipDeviceSynchronize, (void))

struct runtime {
#define FIELD(NAME, SYMBOL, PARAMETERS) int (*NAME) PARAMETERS;
	HIP_FUNCTIONS(FIELD)
#undef FIELD
};

static int open_runtime(struct runtime *r, const char *file, sl_error *error)
{
	const char *missing = NULL;
	void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return text_fail(error, SL_EUNAVAILABLE, "%.200s", dlerror());
#define RESOLVE(NAME, SYMBOL, PARAMETERS) \
	*(void **) (void *) &r->NAME = dlsym(library, #SYMBOL); \
	if (!r->NAME) \
		missing = #SYMBOL;
	HIP_FUNCTIONS(RESOLVE)
#undef RESOLVE
	return missing ? text_fail(error, SL_EUNAVAILABLE, "%s has no %s", file, missing) : SL_OK;
}

static int wipe(struct runtime *r, char *chunk, size_t bytes, sl_error *error)
{
	unsigned first = 1, last = 1;
	int result = r->fill(chunk, 0, bytes);
	if (!result)
		result = r->synchronize();
	if (!result)
		result = r->copy(&first, chunk, sizeof first, HIP_TO_HOST);
	if (!result)
		result = r->copy(&last, chunk + bytes - sizeof last, sizeof last, HIP_TO_HOST);
	if (result)
		return text_fail(error, SL_EIO, "its memory cannot be overwritten: HIP error %d", result);
	return first || last ? text_fail(error, SL_EIO, "its memory keeps what was there before it was overwritten") : SL_OK;
}

/* All that is to be had, in pieces that shrink, held until the end. */
static int scrub_work(void *arg, sl_error *error)
{
	static void *chunks[CHUNKS_MAX];
	const struct scrub_job *job = arg;
	struct runtime r = { .count = NULL };
	size_t n = 0, left = 0, total = 0, wiped = 0;
	int count = 0;
	setenv("ROCR_VISIBLE_DEVICES", job->visible, 1);
	unsetenv("HIP_VISIBLE_DEVICES");
	unsetenv("CUDA_VISIBLE_DEVICES");
	int rc = open_runtime(&r, job->library, error);
	if (rc != SL_OK)
		return rc;
	int result = r.count(&count);
	if (result || count != 1)
		return text_fail(error, SL_EIO, "HIP sees %d devices where it should see this one (error %d)", count, result);
	result = r.info(&left, &total);
	if (result)
		return text_fail(error, SL_EIO, "its memory cannot be counted: HIP error %d", result);
	for (size_t piece = left & ~(size_t) (CHUNK_MIN - 1); piece >= CHUNK_MIN && n < CHUNKS_MAX && rc == SL_OK;) {
		result = r.alloc(&chunks[n], piece);
		if (!result) {
			rc = wipe(&r, chunks[n++], piece, error);
			wiped += piece;
		} else if (result == HIP_OUT_OF_MEMORY) {
			piece = piece / 2 & ~(size_t) (CHUNK_MIN - 1);
		} else {
			rc = text_fail(error, SL_EIO, "its memory cannot be taken: HIP error %d", result);
		}
	}
	while (n)
		r.free(chunks[--n]);
	if (rc == SL_OK && wiped < left / 10 * 9)
		rc = text_fail(error, SL_EIO, "only %zu of %zu MiB could be overwritten", wiped >> 20, left >> 20);
	return rc;
}

static int scrub(struct hip *h, const char *uuid, sl_error *error)
{
	struct scrub_job job = { .visible = "" };
	char what[128];
	sl_error why = { 0 };
	int rc = visible(h, &uuid, 1, job.visible, sizeof job.visible, error);
	if (rc != SL_OK)
		return rc;
	text_copy(job.library, sizeof job.library, h->library);
	snprintf(what, sizeof what, "scrub");
	struct helper helper = { .what = what, .work = scrub_work, .arg = &job };
	rc = helpers_run(&helper, 1, (unsigned) h->release_ms, &why);
	if (rc == SL_ETIMEOUT)
		rc = SL_EIO; /* the device hung, not this call */
	return rc == SL_OK ? rc : text_fail(error, rc, "%s: %.190s", uuid, why.text);
}

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = LOOK_MS * 1000000l }, NULL);
}

static int release_one(struct hip *h, const char *uuid, sl_error *error)
{
	sl_process p;
	size_t n = 0;
	int64_t used = 0, waited = 0;
	const struct hip_device *d = hip_find_living(h, uuid, error);
	if (!d)
		return error->code;
	for (; hip_processes(h, uuid, &p, 1, &n, error) == SL_OK && n; waited += LOOK_MS, nap())
		if (waited >= h->settle_ms)
			return text_fail(error, SL_ECONFLICT, "%s: process %d is still on it after %lld ms", uuid, p.pid, (long long) waited);
	int rc = h->scrub ? scrub(h, uuid, error) : SL_OK;
	if (rc != SL_OK)
		return rc;
	for (waited = 0; waited <= h->settle_ms; waited += LOOK_MS, nap()) {
		used = hip_memory_used(h, d);
		if (used <= h->idle_memory)
			return SL_OK;
	}
	return text_fail(error, SL_EIO, "%s: %lld MiB of its memory are in use though nobody is on it; more than %lld MiB "
	                 "(idle_memory) must not be", uuid, (long long) (used >> 20), (long long) (h->idle_memory >> 20));
}

int hip_release(void *self, const char *const *uuids, size_t n_uuids, const char *lease, sl_error *error)
{
	int rc = SL_OK;
	(void) lease;
	for (size_t i = 0; i < n_uuids && rc == SL_OK; i++)
		rc = release_one(self, uuids[i], error);
	return rc;
}

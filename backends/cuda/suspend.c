/* SPDX-License-Identifier: Apache-2.0 */
/* suspend.c - moves processes from their devices to the machine's memory and back, by the driver's checkpoint calls.
 *
 * In a helper process with a deadline, since they are known to hang with some communication libraries. What is half
 * done when one fails is undone, by the helper itself or, where that hung, by another one. */
#include "config.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "backends/common/helper.h"
#include "backends/cuda/cuda.h"
#include "backends/cuda/driver.h"

enum { PIDS_MAX = 4096, UNDO_MS = 3000, LOOK_MS = 50 };

struct move {
	struct cuda *c;
	const char *const *from, *const *to; /* NULL for a suspension */
	size_t n_uuids;
	const int32_t *pids;
	size_t n_pids;
	unsigned timeout_ms;
	const int32_t *must; /* pids that the devices are known to be used by */
	size_t n_must;
};

static int open_driver(const struct move *m, struct driver *d, sl_error *error)
{
	int rc = driver_open(d, m->c->driver_file, error);
	if (rc != SL_OK)
		return rc;
	int result = d->init(0);
	return result == CU_SUCCESS ? SL_OK : driver_fail(d, error, SL_EIO, "CUDA does not start", result);
}

static int fail_pid(const struct driver *d, sl_error *error, int code, const char *what, int32_t pid, int result)
{
	char text[80];
	snprintf(text, sizeof text, "process %d cannot be %s", (int) pid, what);
	return driver_fail(d, error, code, text, result);
}

/* Back to running, from wherever it is. False: it is not. */
static bool undo(struct driver *d, int32_t pid)
{
	int state = CU_RUNNING;
	struct cu_restore restore = { .n_pairs = 0 };
	struct cu_unlock unlock = { .reserved = { 0 } };
	if (d->state(pid, &state) != CU_SUCCESS || state == CU_RUNNING)
		return true;
	if (state == CU_CHECKPOINTED && d->restore(pid, &restore) != CU_SUCCESS)
		return false;
	return state != CU_FAILED && d->unlock(pid, &unlock) == CU_SUCCESS;
}

static int undo_work(void *arg, sl_error *error)
{
	const struct move *m = arg;
	struct driver d;
	int rc = open_driver(m, &d, error);
	for (size_t i = m->n_pids; i-- > 0 && rc == SL_OK;)
		if (!undo(&d, m->pids[i]))
			rc = text_fail(error, SL_EIO, "process %d cannot be brought back", (int) m->pids[i]);
	return rc;
}

static bool is_known(const struct move *m, int32_t pid)
{
	for (size_t i = 0; i < m->n_must; i++)
		if (m->must[i] == pid)
			return true;
	return false;
}

/* The state of a process; *has_state false: it never used CUDA. */
static int state_of(const struct move *m, struct driver *d, int32_t pid, int *state, bool *has_state, sl_error *error)
{
	int result = d->state(pid, state);
	*has_state = result == CU_SUCCESS;
	if (!*has_state && is_known(m, pid))
		return fail_pid(d, error, SL_ENOTSUP, "suspended", pid, result);
	return *state == CU_FAILED && *has_state ? text_fail(error, SL_EIO, "process %d failed in an earlier suspension", (int) pid)
	       : SL_OK;
}

/* First all are locked, then all are moved: none must wait for another one that is gone already. */
static int suspend_all(const struct move *m, struct driver *d, sl_error *error)
{
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < m->n_pids; i++) {
			int state = CU_RUNNING, result = CU_SUCCESS;
			bool has_state;
			struct cu_lock lock = { .timeout_ms = m->timeout_ms };
			struct cu_checkpoint checkpoint = { .storage = NULL };
			int rc = state_of(m, d, m->pids[i], &state, &has_state, error);
			if (rc != SL_OK)
				return rc;
			if (has_state && pass == 0 && state == CU_RUNNING)
				result = d->lock(m->pids[i], &lock);
			else if (has_state && pass == 1 && state == CU_LOCKED)
				result = d->checkpoint(m->pids[i], &checkpoint);
			if (result != CU_SUCCESS)
				return fail_pid(d, error, SL_EUPSTREAM, pass ? "moved off its devices" : "held", m->pids[i], result);
		}
	}
	return SL_OK;
}

static int suspend_work(void *arg, sl_error *error)
{
	const struct move *m = arg;
	struct driver d;
	sl_error unused;
	int rc = open_driver(m, &d, error);
	if (rc != SL_OK)
		return rc;
	rc = suspend_all(m, &d, error);
	for (size_t i = m->n_pids; i-- > 0 && rc != SL_OK;)
		if (!undo(&d, m->pids[i])) {
			text_append(error->text, sizeof error->text, "; process %d cannot be brought back", (int) m->pids[i]);
			return text_fail(&unused, SL_EIO, "see above");
		}
	return rc;
}

/* "GPU-0102...": the bytes that the driver API knows a device by. */
static bool parse_uuid(const char *text, struct cu_uuid *out)
{
	unsigned n = 0;
	if (strncmp(text, "GPU-", 4) != 0)
		return false;
	for (text += 4; *text && n < 32; text++) {
		if (*text == '-')
			continue;
		const char *digits = "0123456789abcdef", *digit = strchr(digits, *text | 0x20);
		if (!digit)
			return false;
		out->bytes[n / 2] = (unsigned char) (out->bytes[n / 2] << 4 | (digit - digits));
		n++;
	}
	return n == 32 && !*text;
}

static int pair_up(const struct move *m, struct cu_gpu_pair *pairs, bool *moved, sl_error *error)
{
	*moved = false;
	for (size_t i = 0; i < m->n_uuids; i++) {
		*moved = *moved || strcmp(m->from[i], m->to[i]) != 0;
		pairs[i] = (struct cu_gpu_pair){ .from = { { 0 } } };
		if (*moved && (!parse_uuid(m->from[i], &pairs[i].from) || !parse_uuid(m->to[i], &pairs[i].to)))
			return text_fail(error, SL_ENOTSUP, "from %.80s to %.80s: only whole GPUs can stand in for one another", m->from[i],
			                 m->to[i]);
	}
	for (size_t i = 0; i < m->n_uuids && *moved; i++) /* those before the first that moved */
		if (!parse_uuid(m->from[i], &pairs[i].from) || !parse_uuid(m->to[i], &pairs[i].to))
			return text_fail(error, SL_ENOTSUP, "%.80s is no whole GPU", m->from[i]);
	return SL_OK;
}

/* All are moved back first: none runs on before its partners can. */
static int resume_work(void *arg, sl_error *error)
{
	const struct move *m = arg;
	static struct cu_gpu_pair pairs[CUDA_DEVICES_MAX];
	struct driver d;
	bool moved;
	int rc = open_driver(m, &d, error);
	if (rc == SL_OK)
		rc = pair_up(m, pairs, &moved, error);
	if (rc != SL_OK)
		return rc;
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < m->n_pids; i++) {
			int state = CU_RUNNING, result = CU_SUCCESS;
			struct cu_restore restore = { .pairs = moved ? pairs : NULL, .n_pairs = moved ? (unsigned) m->n_uuids : 0 };
			struct cu_unlock unlock = { .reserved = { 0 } };
			if (d.state(m->pids[i], &state) != CU_SUCCESS)
				continue;
			if (pass == 0 && state == CU_CHECKPOINTED)
				result = d.restore(m->pids[i], &restore);
			else if (pass == 1 && state == CU_LOCKED)
				result = d.unlock(m->pids[i], &unlock);
			if (result != CU_SUCCESS)
				return fail_pid(&d, error, SL_EIO, pass ? "let go on" : "moved back to its devices", m->pids[i], result);
		}
	}
	return SL_OK;
}

/* Those of the given pids that compute on the given devices now. */
static size_t find_users(struct cuda *c, const char *const *uuids, size_t n_uuids, const int32_t *pids, size_t n_pids,
                         int32_t *out)
{
	static sl_process list[CUDA_PROCESSES_MAX];
	sl_error unused;
	size_t found = 0;
	for (size_t i = 0; i < n_uuids; i++) {
		size_t n = 0;
		const struct cuda_device *d = cuda_find_living(c, uuids[i], &unused);
		if (!d || cuda_computing(c, d, list, CUDA_PROCESSES_MAX, &n, &unused) != SL_OK)
			continue;
		for (size_t k = 0; k < n && k < CUDA_PROCESSES_MAX; k++)
			for (size_t j = 0; j < n_pids && found < PIDS_MAX; j++)
				if (list[k].pid == pids[j])
					out[found++] = pids[j];
	}
	return found;
}

static int can_move(const struct cuda *c, size_t n_uuids, size_t n_pids, sl_error *error)
{
	if (c->suspend_off[0])
		return text_fail(error, SL_ENOTSUP, "nothing can be suspended here: %.200s", c->suspend_off);
	if (n_pids > PIDS_MAX || n_uuids > CUDA_DEVICES_MAX)
		return text_fail(error, SL_EFULL, "at most %d processes and %d devices", PIDS_MAX, CUDA_DEVICES_MAX);
	return SL_OK;
}

static int bring_back(struct move *m, sl_error *error)
{
	sl_error why = { 0 };
	struct helper h = { .what = "undoing the suspension", .work = undo_work, .arg = m };
	if (helpers_run(&h, 1, UNDO_MS, &why) == SL_OK)
		return SL_EUPSTREAM;
	text_append(error->text, sizeof error->text, "; %.100s", why.text);
	return SL_EIO;
}

/* Whoever is still on a device was not moved off it, whatever the driver says. Its list may lag behind a little. */
static bool all_left(const struct move *m, const char *const *uuids, int32_t *left)
{
	struct cuda *c = m->c;
	for (int64_t waited = 0; find_users(c, uuids, m->n_uuids, m->pids, m->n_pids, left); waited += LOOK_MS) {
		if (waited >= c->settle_ms)
			return false;
		nanosleep(&(struct timespec){ .tv_nsec = LOOK_MS * 1000000l }, NULL);
	}
	return true;
}

int cuda_suspend(void *self, const char *const *uuids, size_t n_uuids, const int32_t *pids, size_t n_pids,
                 uint64_t timeout_ms, sl_error *error)
{
	static int32_t must[PIDS_MAX];
	struct cuda *c = self;
	int rc = can_move(c, n_uuids, n_pids, error);
	for (size_t i = 0; i < n_uuids && rc == SL_OK; i++)
		rc = cuda_find_living(c, uuids[i], error) ? SL_OK : error->code;
	if (rc != SL_OK)
		return rc;
	struct move m = { .c = c, .n_uuids = n_uuids, .pids = pids, .n_pids = n_pids, .timeout_ms = (unsigned) timeout_ms,
	                  .must = must };
	m.n_must = find_users(c, uuids, n_uuids, pids, n_pids, must);
	struct helper h = { .what = "the suspension", .work = suspend_work, .arg = &m };
	rc = helpers_run(&h, 1, (unsigned) timeout_ms, error);
	if (rc == SL_ETIMEOUT)
		rc = bring_back(&m, error);
	else if (rc == SL_OK && !all_left(&m, uuids, must)) {
		rc = text_fail(error, SL_EUPSTREAM, "process %d is still on its devices after it was suspended", (int) must[0]);
		rc = bring_back(&m, error);
	}
	error->code = rc;
	return rc;
}

int cuda_resume(void *self, const char *const *from, const char *const *to, size_t n_uuids, const int32_t *pids,
                size_t n_pids, uint64_t timeout_ms, sl_error *error)
{
	struct cuda *c = self;
	int rc = can_move(c, n_uuids, n_pids, error);
	for (size_t i = 0; i < n_uuids && rc == SL_OK; i++) {
		const struct cuda_device *was = cuda_find(c, from[i], error);
		const struct cuda_device *is = was ? cuda_find_living(c, to[i], error) : NULL;
		if (!is)
			rc = error->code;
		else if (strcmp(was->d.kind, is->d.kind) != 0)
			rc = text_fail(error, SL_EINVAL, "%.80s is no %s as %.80s is", to[i], was->d.kind, from[i]);
	}
	if (rc != SL_OK)
		return rc;
	struct move m = { .c = c, .from = from, .to = to, .n_uuids = n_uuids, .pids = pids, .n_pids = n_pids };
	struct helper h = { .what = "the resumption", .work = resume_work, .arg = &m };
	rc = helpers_run(&h, 1, (unsigned) timeout_ms, error);
	if (rc == SL_ETIMEOUT)
		error->code = rc = SL_EIO;
	return rc;
}

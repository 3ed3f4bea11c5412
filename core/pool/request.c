/* SPDX-License-Identifier: Apache-2.0 */
/* request.c - what others ask of the pool: new leases, their end, signals, input, devices to be left alone. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/base64.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/pool/inner.h"

/* Array of strings, or object of strings: how many bytes, or -1 when it is neither or has a NUL in it. */
static int64_t strings_size(const json_t *value)
{
	int64_t total = 0;
	size_t i, n = json_is_array(value) ? json_array_size(value) : json_object_size(value);
	void *at = json_object_iter((json_t *) value);
	for (i = 0; i < n; i++) {
		const json_t *one = json_is_array(value) ? json_array_get(value, i) : json_object_iter_value(at);
		if (!json_is_string(one) || strlen(json_string_value(one)) != json_string_length(one))
			return -1;
		total += (int64_t) json_string_length(one) + 1;
		if (at) {
			total += (int64_t) strlen(json_object_iter_key(at)) + 1;
			at = json_object_iter_next((json_t *) value, at);
		}
	}
	return total;
}

static int check_program(const struct pool_request *r, sl_error *error)
{
	int64_t argv = json_is_array(r->argv) && json_array_size(r->argv) ? strings_size(r->argv) : -1;
	int64_t env = !r->env ? 0 : json_is_object(r->env) ? strings_size(r->env) : -1;
	if (argv < 0 || !json_string_length(json_array_get(r->argv, 0)))
		return error_set(error, SL_EINVAL, "argv must be a list of strings, the program first");
	if (env < 0)
		return error_set(error, SL_EINVAL, "env must be an object of strings");
	if (argv + env > POOL_PROGRAM_MAX)
		return error_set(error, SL_EINVAL, "argv and env have %lld bytes together: at most %d",
		                 (long long) (argv + env), POOL_PROGRAM_MAX);
	return SL_OK;
}

/* The queue: as asked, else the tenant's first, else the only one that there is. */
static const struct conf_queue *choose_queue(struct pool *pool, const struct pool_request *r, sl_error *error)
{
	const struct conf *conf = pool->conf;
	const char *name = r->queue && r->queue[0] ? r->queue : NULL;
	const struct conf_tenant *tenant = r->tenant ? conf_tenant(conf, str_of(r->tenant)) : NULL;
	if (!name && tenant && tenant->n_queues)
		name = tenant->queues[0];
	if (!name && conf->n_queues == 1)
		name = conf->queues[0].name;
	if (!name) {
		error_set(error, SL_EINVAL, "tenant '%s' has no queue of its own: name one", r->tenant ? r->tenant : "");
		return NULL;
	}
	const struct conf_queue *queue = conf_queue(conf, str_of(name));
	if (!queue)
		error_set(error, SL_EINVAL, "queue '%s' does not exist", name);
	return queue;
}

static int fill_texts(struct lease *lease, const struct pool_request *r, const struct conf_queue *queue, sl_error *error)
{
	const struct { char *out; const char *text, *what; } texts[] = {
		{ lease->name, r->name, "name" }, { lease->tenant, r->tenant, "tenant" }, { lease->user, r->user, "user" },
		{ lease->kind, r->kind, "kind" }, { lease->model, r->model, "model" }, { lease->replica, r->replica, "replica" },
		{ lease->queue, queue->name, "queue" },
	};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		if (!str_copy(texts[i].out, SL_NAME_MAX, str_of(texts[i].text)))
			return error_set(error, SL_EINVAL, "%s is longer than %d bytes", texts[i].what, SL_NAME_MAX - 1);
	/* A replica's name is the fleet's own and has a '/' in it. */
	if (!lease->model[0] && !lease_name_ok(lease->name))
		return error_set(error, SL_EINVAL, "'%s' is no name for a lease: letters, digits, '.', '_' and '-', and not like L1042",
		                 lease->name);
	return SL_OK;
}

/* What the lease will own is still the caller's when this fails. */
static int fill(struct pool *pool, struct lease *lease, const struct pool_request *r, sl_error *error)
{
	struct lease_now now = pool_now();
	const struct conf_queue *queue = choose_queue(pool, r, error);
	if (!queue)
		return error->code;
	if (check_program(r, error) != SL_OK || fill_texts(lease, r, queue, error) != SL_OK)
		return error->code;
	if (r->devices > LEASE_DEVICES_MAX)
		return error_set(error, SL_EINVAL, "%u devices are more than a lease can have: %d", r->devices, LEASE_DEVICES_MAX);
	uint64_t most = (uint64_t) queue->time_max_ms;
	/* A replica runs for as long as it is wanted. */
	if (!lease->model[0])
		lease->time_ms = r->time_ms ? r->time_ms : queue->time_default_ms ? (uint64_t) queue->time_default_ms : most;
	if (most && lease->time_ms > most)
		return error_set(error, SL_EINVAL, "time of %llu s is above what queue %s allows: %llu s",
		                 (unsigned long long) r->time_ms / 1000, queue->name, (unsigned long long) most / 1000);
	lease->wanted = r->devices;
	lease->memory_bytes = r->memory_bytes;
	lease->uid = r->uid;
	lease->gid = r->gid;
	lease->priority = r->priority;
	lease->preemptible = r->preemptible || queue->preemptible;
	lease->with_stdin = r->with_stdin;
	lease->detach = r->detach;
	lease->created_ms = now.wall_ms;
	lease->since_mono_ms = now.mono_ms;
	int code = plan_fits(&pool->devices, pool_queue(pool, queue->name), lease, error);
	if (code == SL_OK)
		code = budget_admit(pool, lease, error);
	if (code != SL_OK)
		return code;
	lease->argv = json_deep_copy(r->argv);
	lease->env = r->env ? json_deep_copy(r->env) : NULL;
	lease->cwd = r->cwd ? str_dup(str_of(r->cwd)) : NULL;
	if (!lease->argv || (r->env && !lease->env) || (r->cwd && !lease->cwd) || !lease_init(lease))
		return error_set(error, SL_ENOMEM, "out of memory for a lease");
	return lease_change(lease, LEASE_QUEUED, now, "", error);
}

int pool_submit(struct pool *pool, const struct pool_request *request, uint64_t *number, sl_error *error)
{
	struct lease lease = { .number = pool->last_number + 1 };
	sl_error own = { 0 };
	error = error ? error : &own;
	if (pool->n_open >= pool->leases_max || pool->n_leases >= (size_t) pool->leases_max + POOL_ENDED_MAX)
		return error_set(error, SL_EFULL, "%zu leases are open: no more are taken, end some first", pool->n_open);
	int code = fill(pool, &lease, request, error);
	struct job *job = code == SL_OK ? pool_enter(pool, &lease) : NULL;
	if (!job) {
		lease_clear(&lease);
		return code != SL_OK ? code : error_set(error, SL_ENOMEM, "out of memory for a lease");
	}
	code = change_first(pool, job, error);
	if (code != SL_OK) {
		pool_take_back(pool, job);
		return code;
	}
	*number = pool->last_number = lease.number;
	return SL_OK;
}

static struct job *open_job(struct pool *pool, uint64_t number, sl_error *error)
{
	struct job *job = pool_job(pool, number);
	if (!job)
		error_set(error, SL_ENOTFOUND, "there is no open lease L%llu", (unsigned long long) number);
	else if (lease_state_over(job->lease.state))
		error_set(error, SL_ECONFLICT, "L%llu is over: %s", (unsigned long long) number,
		          lease_state_name(job->lease.state));
	else
		return job;
	return NULL;
}

int pool_release(struct pool *pool, uint64_t number, uint64_t notice_ms, const char *reason, sl_error *error)
{
	sl_error own = { 0 };
	error = error ? error : &own;
	struct job *job = open_job(pool, number, error);
	if (!job)
		return error->code;
	struct lease *lease = &job->lease;
	if (lease->state == LEASE_RELEASING) {
		/* Again, with a shorter notice: that is how one insists. */
		if (notice_ms < job->notice_ms)
			agent_stop(pool, number, notice_ms, lease->reason);
		job->notice_ms = notice_ms < job->notice_ms ? notice_ms : job->notice_ms;
		return SL_OK;
	}
	if (!reason || !reason[0])
		reason = "released";
	if (lease_may_change(lease->state, LEASE_CANCELLED) || lease->state == LEASE_PREPARED) {
		bool asked = lease->state == LEASE_PREPARED;
		lease->final = LEASE_CANCELLED;
		job->notice_ms = notice_ms;
		int code = change_decide(pool, job, asked ? LEASE_RELEASING : LEASE_CANCELLED, reason, error);
		lease->final = code == SL_OK ? LEASE_CANCELLED : LEASE_REQUESTED;
		return code;
	}
	lease->final = LEASE_ENDED;
	job->notice_ms = notice_ms;
	int code = change_decide(pool, job, LEASE_RELEASING, reason, error);
	if (code != SL_OK)
		lease->final = LEASE_REQUESTED;
	return code;
}

static struct job *running_job(struct pool *pool, uint64_t number, sl_error *error)
{
	struct job *job = open_job(pool, number, error);
	if (job && !lease_state_started(job->lease.state) && job->lease.state != LEASE_RELEASING) {
		error_set(error, SL_ECONFLICT, "L%llu is %s: it does not run yet", (unsigned long long) number,
		          lease_state_name(job->lease.state));
		return NULL;
	}
	return job;
}

static void on_signalled(struct pool *pool, uint64_t number, const json_t *ok, const sl_error *error)
{
	(void) pool;
	if (!ok)
		log_warn("L%llu was not signalled: %s", (unsigned long long) number, error->text);
}

int pool_signal(struct pool *pool, uint64_t number, int signal, sl_error *error)
{
	char id[LEASE_ID_MAX];
	sl_error own = { 0 };
	error = error ? error : &own;
	if (signal < 1 || signal > SIGRTMAX)
		return error_set(error, SL_EINVAL, "there is no signal %d", signal);
	if (!running_job(pool, number, error))
		return error->code;
	lease_id(number, id);
	return agent_call(&pool->agent, "signal", json_pack("{s:s, s:i}", "lease", id, "signal", signal), on_signalled, number,
	                  error);
}

struct stdin_request {
	void (*done)(void *arg, int code, int64_t taken);
	void *arg;
};

static void on_stdin(struct pool *pool, uint64_t arg, const json_t *ok, const sl_error *error)
{
	struct stdin_request *request = (struct stdin_request *) (uintptr_t) arg;
	(void) pool;
	request->done(request->arg, ok ? SL_OK : error->code, json_get_int(ok, "taken", -1));
	free(request);
}

static json_t *stdin_json(uint64_t number, const struct pool_input *input, const struct buf *text)
{
	char id[LEASE_ID_MAX];
	lease_id(number, id);
	json_t *request = json_pack("{s:s, s:s%, s:b}", "lease", id, "data", text->len ? text->data : "", text->len, "eof", input->eof);
	if (input->writer) {
		json_object_set_new(request, "writer", json_integer(input->writer));
		json_object_set_new(request, "from", json_integer(input->from));
	}
	return request;
}

int pool_stdin(struct pool *pool, uint64_t number, const struct pool_input *input, void (*done)(void *arg, int code, int64_t taken),
               void *arg, sl_error *error)
{
	sl_error own = { 0 };
	error = error ? error : &own;
	const struct job *job = running_job(pool, number, error);
	if (!job)
		return error->code;
	if (!job->lease.with_stdin)
		return error_set(error, SL_ECONFLICT, "L%llu was started without a standard input", (unsigned long long) number);
	if (input->data.len > POOL_PIECE)
		return error_set(error, SL_EINVAL, "%zu bytes at once are too many: at most %d", input->data.len, POOL_PIECE);
	struct stdin_request *request = malloc(sizeof *request);
	struct buf text = { 0 };
	base64_put(&text, input->data.ptr, input->data.len);
	int code = SL_ENOMEM;
	if (request && !text.failed) {
		*request = (struct stdin_request){ done, arg };
		code = agent_call(&pool->agent, "stdin", stdin_json(number, input, &text), on_stdin, (uint64_t) (uintptr_t) request, error);
	} else {
		error_set(error, code, "out of memory");
	}
	if (code != SL_OK)
		free(request);
	buf_free(&text);
	return code;
}

struct listens_request {
	void (*done)(void *arg, int code, bool own);
	void *arg;
};

static void on_listens(struct pool *pool, uint64_t arg, const json_t *ok, const sl_error *error)
{
	struct listens_request *request = (struct listens_request *) (uintptr_t) arg;
	(void) pool;
	request->done(request->arg, ok ? SL_OK : error->code, json_get_bool(ok, "own", false));
	free(request);
}

int pool_listens(struct pool *pool, uint64_t number, unsigned port, void (*done)(void *arg, int code, bool own), void *arg,
                 sl_error *error)
{
	char id[LEASE_ID_MAX];
	if (!running_job(pool, number, error))
		return SL_ECONFLICT;
	struct listens_request *request = malloc(sizeof *request);
	if (!request)
		return error_set(error, SL_ENOMEM, "out of memory");
	*request = (struct listens_request){ done, arg };
	lease_id(number, id);
	int code = agent_call(&pool->agent, "listens", json_pack("{s:s, s:i}", "lease", id, "port", (int) port), on_listens,
	                      (uint64_t) (uintptr_t) request, error);
	if (code != SL_OK)
		free(request);
	return code;
}

static void on_scrubbed(struct pool *pool, uint64_t index, const json_t *ok, const sl_error *error)
{
	struct device *d = index < pool->devices.n ? &pool->devices.at[index] : NULL;
	if (!d)
		return;
	if (ok) {
		log_info("device %s was checked and is back", d->name);
		d->faulty = false;
		d->strikes = 0;
		d->reason[0] = '\0';
	} else {
		log_warn("device %s stays out: %s", d->name, error->text);
		str_copy(d->reason, sizeof d->reason, str_of(error->text));
	}
	mark_changed(pool, d);
	round_want(pool);
}

int pool_drain_device(struct pool *pool, const char *device, bool drain, const char *reason, sl_error *error)
{
	sl_error own = { 0 };
	error = error ? error : &own;
	struct device *d = devices_find(&pool->devices, str_of(device));
	if (!d)
		return error_set(error, SL_ENOTFOUND, "there is no device '%s'", device);
	if (!drain && d->faulty && d->lease)
		return error_set(error, SL_ECONFLICT, "%s is faulty and L%llu is on it: release that first", d->name,
		                 (unsigned long long) d->lease);
	if (mark_drain(pool, d, drain, reason && reason[0] ? reason : "drained by an operator", error) != SL_OK)
		return error->code;
	round_want(pool);
	/* One that was faulty must pass the backend's check before it is granted again. */
	if (drain || !d->faulty)
		return SL_OK;
	return agent_call(&pool->agent, "scrub", json_pack("{s:[s]}", "devices", d->uuid), on_scrubbed,
	                  (uint64_t) (d - pool->devices.at), error);
}

static void add_name(struct pool_names *names, uint64_t number)
{
	if (names->n < 2)
		names->at[names->n] = number;
	names->n++;
}

uint64_t pool_find(struct pool *pool, const struct pool_search *search, struct pool_names *several)
{
	const sl_str id = search->id;
	uint64_t number = lease_number(id), ended = 0;
	struct pool_names whole = { 0 }, prefixes = { 0 };
	*several = (struct pool_names){ 0 };
	if (number)
		return pool_job(pool, number) ? number : 0;
	for (size_t i = 0; id.len && i < pool->n_leases; i++) {
		const struct lease *lease = pool->leases[i];
		sl_str name = str_of(lease->name);
		if (!str_starts(name, id) || (search->sees && !search->sees(search->arg, lease->tenant, lease->user)))
			continue;
		if (lease_state_over(lease->state))
			ended = name.len == id.len ? lease->number : ended;
		else
			add_name(name.len == id.len ? &whole : &prefixes, lease->number);
	}
	const struct pool_names *found = whole.n ? &whole : &prefixes;
	if (found->n > 1)
		*several = *found;
	return found->n == 0 ? ended : found->n == 1 ? found->at[0] : 0;
}

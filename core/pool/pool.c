/* SPDX-License-Identifier: Apache-2.0 */
/* pool.c - opens and closes the pool and takes requests from outside. */
#include "core/pool/pool.h"

#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/pool/inner.h"

struct lease_now pool_now(void)
{
	return (struct lease_now){ clock_wall_ms(), (int64_t) (clock_mono_ns() / 1000000) };
}

/* Place of the first lease whose number is not below. */
static size_t place_of(const struct pool *pool, uint64_t number)
{
	size_t low = 0;
	for (size_t high = pool->n_leases; low < high;) {
		size_t middle = low + (high - low) / 2;
		if (pool->leases[middle]->number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct job *pool_job(struct pool *pool, uint64_t number)
{
	size_t i = place_of(pool, number);
	return i < pool->n_leases && pool->leases[i]->number == number ? job_of(pool->leases[i]) : NULL;
}

struct job *pool_enter(struct pool *pool, const struct lease *lease)
{
	size_t at = place_of(pool, lease->number);
	if (at < pool->n_leases && pool->leases[at]->number == lease->number)
		return NULL;
	if (pool->n_leases == pool->room_leases) {
		size_t room = pool->room_leases ? 2 * pool->room_leases : 64;
		struct lease **leases = realloc(pool->leases, room * sizeof *leases);
		if (!leases)
			return NULL;
		pool->leases = leases;
		pool->room_leases = room;
	}
	struct job *job = calloc(1, sizeof *job);
	if (!job)
		return NULL;
	job->lease = *lease;
	memmove(&pool->leases[at + 1], &pool->leases[at], (pool->n_leases - at) * sizeof pool->leases[0]);
	pool->leases[at] = &job->lease;
	pool->n_leases++;
	pool->n_open++;
	pool->plan_fresh = false;
	return job;
}

/* The latest one, which could not be written down. */
static void take_back(struct pool *pool, struct job *job)
{
	size_t at = place_of(pool, job->lease.number);
	memmove(&pool->leases[at], &pool->leases[at + 1], (pool->n_leases - at - 1) * sizeof pool->leases[0]);
	pool->n_leases--;
	pool->n_open--;
	pool->plan_fresh = false;
	lease_clear(&job->lease);
	free(job);
}

const struct plan_queue *pool_queue(const struct pool *pool, const char *name)
{
	for (size_t i = 0; i < pool->n_queues; i++)
		if (strcmp(pool->queues[i].name, name) == 0)
			return &pool->queues[i];
	return NULL;
}

static bool take_queues(struct pool *pool, const struct conf *conf)
{
	struct plan_queue *queues = calloc(conf->n_queues + 1, sizeof *queues);
	if (!queues)
		return false;
	for (size_t i = 0; i < conf->n_queues; i++) {
		queues[i] = (struct plan_queue){ .quota = conf->queues[i].quota, .priority = conf->queues[i].priority };
		str_copy(queues[i].name, sizeof queues[i].name, str_of(conf->queues[i].name));
	}
	free(pool->queues);
	pool->queues = queues;
	pool->n_queues = conf->n_queues;
	pool->plan_fresh = false;
	return true;
}

static void on_tick(uv_timer_t *timer)
{
	struct pool *pool = timer->data;
	struct lease_now now = pool_now();
	agent_tick(&pool->agent, now);
	change_expire(pool, now);
	/* What could not be sent at its time. */
	for (size_t i = 0; i < pool->n_leases; i++) {
		struct job *job = job_of(pool->leases[i]);
		if ((job->lease.state == LEASE_GRANTED && !job->start_sent) || (job->lease.state == LEASE_RELEASING && !job->stop_sent))
			change_act(pool, job);
	}
	show_metrics(pool);
}

static int restore_one(struct pool *pool, const json_t *record, sl_error *error)
{
	struct lease lease;
	if (lease_restore(&lease, record, pool_now(), error) != SL_OK)
		return error->code;
	if (lease_state_over(lease.state)) {
		lease_clear(&lease);
		return SL_OK;
	}
	if (!pool_enter(pool, &lease)) {
		lease_clear(&lease);
		return error_set(error, SL_EINVAL, "a stored lease could not be taken over: it is there twice, or memory is out");
	}
	if (lease.number > pool->last_number)
		pool->last_number = lease.number;
	return SL_OK;
}

/* A record that cannot be read must not keep the pool shut: it is named and left alone. */
static void restore(struct pool *pool, const json_t *records)
{
	size_t i;
	const json_t *record;
	json_array_foreach(records, i, record) {
		sl_error error = { 0 };
		if (restore_one(pool, record, &error) != SL_OK)
			log_error("lease %s: %s", json_get_str(record, "lease", "?"), error.text);
	}
	if (pool->n_open)
		log_info("%zu open leases of an earlier run", pool->n_open);
}

static bool make(struct pool *pool, const struct pool_options *options)
{
	pool->leases_max = options->leases_max ? options->leases_max : POOL_LEASES_MAX;
	pool->ended_room = (size_t) pool->leases_max + 2 * POOL_ENDED_MAX;
	pool->ended = malloc(pool->ended_room * sizeof *pool->ended);
	pool->pending = malloc(POOL_PENDING_MAX * sizeof *pool->pending);
	pool->actions = calloc(POOL_ACTIONS_MAX, sizeof *pool->actions);
	if (options->agent_program)
		pool->agent_program = str_dup(str_of(options->agent_program));
	return pool->ended && pool->pending && pool->actions && (!options->agent_program || pool->agent_program) &&
	       take_queues(pool, options->conf);
}

static void free_pool(struct pool *pool)
{
	for (size_t i = 0; i < pool->n_leases; i++) {
		struct job *job = job_of(pool->leases[i]);
		lease_clear(&job->lease);
		free(job);
	}
	watch_free_all(pool);
	plan_free(&pool->plan);
	devices_free(&pool->devices);
	free(pool->leases);
	free(pool->ended);
	free(pool->pending);
	free(pool->actions);
	free(pool->queues);
	free(pool->agent_program);
	if (pool->conf)
		conf_unref(pool->conf);
	free(pool);
}

struct pool *pool_open(const struct pool_options *options, const json_t *open_leases, uint64_t last_number, sl_error *error)
{
	struct pool *pool = calloc(1, sizeof *pool);
	if (!pool || !make(pool, options)) {
		if (pool)
			free_pool(pool);
		error_set(error, SL_ENOMEM, "out of memory for the pool");
		return NULL;
	}
	pool->loop = options->loop;
	pool->conf = conf_ref(options->conf);
	pool->ledger = options->ledger;
	pool->scheduler = options->scheduler;
	pool->scheduler_self = options->scheduler_self;
	pool->last_number = last_number;
	pool->committed = ledger_committed(options->ledger);
	uv_timer_init(pool->loop, &pool->tick);
	uv_timer_init(pool->loop, &pool->soon);
	uv_timer_init(pool->loop, &pool->retry);
	uv_timer_init(pool->loop, &pool->agent.again);
	pool->tick.data = pool->soon.data = pool->retry.data = pool;
	restore(pool, open_leases);
	uv_timer_start(&pool->tick, on_tick, POOL_TICK_MS, POOL_TICK_MS);
	agent_open(&pool->agent, pool);
	return pool;
}

void pool_configure(struct pool *pool, struct conf *conf)
{
	if (!take_queues(pool, conf)) {
		log_error("out of memory: the pool keeps its old queues");
		return;
	}
	bool moved = strcmp(pool->agent.path, conf->agent) != 0;
	conf_ref(conf);
	conf_unref(pool->conf);
	pool->conf = conf;
	str_copy(pool->agent.path, sizeof pool->agent.path, str_of(conf->agent));
	if (moved)
		agent_drop(&pool->agent, "its socket is another one now");
	round_want(pool);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct pool *pool = handle->data;
	if (--pool->closing == 0)
		free_pool(pool);
}

void pool_close(struct pool *pool)
{
	if (!pool || pool->closing)
		return;
	uv_timer_t *const timers[] = { &pool->tick, &pool->soon, &pool->retry, &pool->agent.again };
	pool->closing = sizeof timers / sizeof timers[0];
	agent_close(&pool->agent);
	for (size_t i = 0; i < sizeof timers / sizeof timers[0]; i++) {
		timers[i]->data = pool;
		uv_close((uv_handle_t *) timers[i], on_handle_closed);
	}
}

void pool_committed(struct pool *pool, uint64_t seq)
{
	change_committed(pool, seq);
}

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
	lease->preemptible = r->preemptible;
	lease->with_stdin = r->with_stdin;
	lease->detach = r->detach;
	lease->created_ms = now.wall_ms;
	lease->since_mono_ms = now.mono_ms;
	int code = plan_fits(&pool->devices, pool_queue(pool, queue->name), lease, error);
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
		take_back(pool, job);
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
	if (job && job->lease.state != LEASE_RUNNING && job->lease.state != LEASE_RELEASING) {
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
	void (*done)(void *arg, int code);
	void *arg;
};

static void on_stdin(struct pool *pool, uint64_t arg, const json_t *ok, const sl_error *error)
{
	struct stdin_request *request = (struct stdin_request *) (uintptr_t) arg;
	(void) pool;
	request->done(request->arg, ok ? SL_OK : error->code);
	free(request);
}

int pool_stdin(struct pool *pool, uint64_t number, sl_str data, bool eof, void (*done)(void *arg, int code), void *arg,
               sl_error *error)
{
	char id[LEASE_ID_MAX];
	sl_error own = { 0 };
	error = error ? error : &own;
	const struct job *job = running_job(pool, number, error);
	if (!job)
		return error->code;
	if (!job->lease.with_stdin)
		return error_set(error, SL_ECONFLICT, "L%llu was started without a standard input", (unsigned long long) number);
	if (data.len > POOL_PIECE)
		return error_set(error, SL_EINVAL, "%zu bytes at once are too many: at most %d", data.len, POOL_PIECE);
	struct stdin_request *request = malloc(sizeof *request);
	char *text = malloc(4 * (data.len / 3 + 1) + 1);
	int code = SL_ENOMEM;
	if (request && text) {
		*request = (struct stdin_request){ done, arg };
		text[0] = '\0';
		if (data.len)
			EVP_EncodeBlock((unsigned char *) text, (const unsigned char *) data.ptr, (int) data.len);
		lease_id(number, id);
		code = agent_call(&pool->agent, "stdin", json_pack("{s:s, s:s, s:b}", "lease", id, "data", text, "eof", eof),
		                  on_stdin, (uint64_t) (uintptr_t) request, error);
	} else {
		error_set(error, code, "out of memory");
	}
	if (code != SL_OK)
		free(request);
	free(text);
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
		round_want(pool);
	} else {
		log_warn("device %s stays out: %s", d->name, error->text);
		str_copy(d->reason, sizeof d->reason, str_of(error->text));
	}
}

/* Back into the pool: one that was faulty must pass the backend's check first. */
static int undrain(struct pool *pool, struct device *d, sl_error *error)
{
	d->drain = false;
	round_want(pool);
	if (!d->faulty) {
		d->reason[0] = '\0';
		return SL_OK;
	}
	if (d->lease)
		return error_set(error, SL_ECONFLICT, "%s is faulty and L%llu is on it: release that first", d->name,
		                 (unsigned long long) d->lease);
	return agent_call(&pool->agent, "scrub", json_pack("{s:[s]}", "devices", d->uuid), on_scrubbed,
	                  (uint64_t) (d - pool->devices.at), error);
}

int pool_drain_device(struct pool *pool, const char *device, bool drain, const char *reason, sl_error *error)
{
	struct device *d = devices_find(&pool->devices, str_of(device));
	if (!d)
		return error_set(error, SL_ENOTFOUND, "there is no device '%s'", device);
	if (!drain)
		return undrain(pool, d, error);
	d->drain = true;
	if (!d->faulty)
		snprintf(d->reason, sizeof d->reason, "%s", reason && reason[0] ? reason : "drained by an operator");
	round_want(pool);
	return SL_OK;
}

uint64_t pool_find(struct pool *pool, sl_str id)
{
	uint64_t number = lease_number(id), by_prefix = 0;
	unsigned names = 0, prefixes = 0;
	if (number)
		return pool_job(pool, number) ? number : 0;
	for (size_t i = 0; id.len && i < pool->n_leases; i++) {
		const struct lease *lease = pool->leases[i];
		sl_str name = str_of(lease->name);
		if (lease_state_over(lease->state) || !str_starts(name, id))
			continue;
		if (name.len == id.len) {
			number = lease->number;
			names++;
		}
		by_prefix = lease->number;
		prefixes++;
	}
	return names == 1 ? number : names == 0 && prefixes == 1 ? by_prefix : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* pool.c - opens and closes the pool, and its table of leases. */
#include "core/pool/pool.h"

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

void pool_take_back(struct pool *pool, struct job *job)
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

static uint32_t cohort_index(const struct conf *conf, const char *name)
{
	for (size_t i = 0; name && i < conf->n_cohorts; i++)
		if (strcmp(conf->cohorts[i].name, name) == 0)
			return (uint32_t) i;
	return SL_NONE;
}

static struct plan_queue queue_terms(const struct conf *conf, const struct conf_queue *q)
{
	struct plan_queue out = {
		.priority = q->priority, .nominal = q->gpus, .borrow = q->borrow, .lend = q->lend, .weight = (uint32_t) q->weight,
		.cohort = cohort_index(conf, q->cohort), .per_user = q->per_user, .min_run_ms = (uint64_t) q->min_run_ms,
		.flags = (q->reclaim ? (uint32_t) SL_QUEUE_RECLAIM : 0) |
		         (q->preempt ? (uint32_t) SL_QUEUE_PREEMPT_OWN | (uint32_t) SL_QUEUE_PREEMPT_OTHERS : 0),
	};
	str_copy(out.name, sizeof out.name, str_of(q->name));
	return out;
}

static bool take_queues(struct pool *pool, const struct conf *conf)
{
	struct plan_queue *queues = calloc(conf->n_queues + 1, sizeof *queues);
	struct plan_cohort *cohorts = calloc(conf->n_cohorts + 1, sizeof *cohorts);
	if (!queues || !cohorts) {
		free(queues);
		free(cohorts);
		return false;
	}
	for (size_t i = 0; i < conf->n_queues; i++)
		queues[i] = queue_terms(conf, &conf->queues[i]);
	for (size_t i = 0; i < conf->n_cohorts; i++) {
		const struct conf_cohort *c = &conf->cohorts[i];
		cohorts[i] = (struct plan_cohort){ .parent = cohort_index(conf, c->parent), .nominal = c->gpus, .borrow = c->borrow,
		                                   .lend = c->lend };
		str_copy(cohorts[i].name, sizeof cohorts[i].name, str_of(c->name));
	}
	free(pool->queues);
	free(pool->cohorts);
	pool->queues = queues;
	pool->n_queues = conf->n_queues;
	pool->cohorts = cohorts;
	pool->plan.cohorts = cohorts;
	pool->plan.n_cohorts = conf->n_cohorts;
	pool->plan_fresh = false;
	return true;
}

static void on_tick(uv_timer_t *timer)
{
	struct pool *pool = timer->data;
	struct lease_now now = pool_now();
	agent_tick(&pool->agent, now);
	change_expire(pool, now);
	charge_running(pool, now);
	/* What could not be sent at its time. */
	for (size_t i = 0; pool->agent.ready && i < pool->n_leases; i++) {
		struct job *job = job_of(pool->leases[i]);
		if ((job->lease.state == LEASE_GRANTED && !job->start_sent) || (job->lease.state == LEASE_RELEASING && !job->stop_sent))
			change_act(pool, job);
		pause_tick(pool, job, now);
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
	struct job *job = pool_enter(pool, &lease);
	if (!job) {
		lease_clear(&lease);
		return error_set(error, SL_EINVAL, "a stored lease could not be taken over: it is there twice, or memory is out");
	}
	/* A stop that is sent again can only make the end sooner: at the agent the first one's notice goes on. */
	job->notice_ms = POOL_NOTICE_MS;
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
	free(pool->cohorts);
	free(pool->agent_program);
	json_decref(pool->marks);
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
	pool->marks = json_deep_copy(options->devices);
	pool->committed = ledger_committed(options->ledger);
	uv_timer_init(pool->loop, &pool->tick);
	uv_timer_init(pool->loop, &pool->soon);
	uv_timer_init(pool->loop, &pool->retry);
	uv_timer_init(pool->loop, &pool->wake);
	uv_timer_init(pool->loop, &pool->agent.again);
	pool->tick.data = pool->soon.data = pool->retry.data = pool->wake.data = pool;
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
	uv_timer_t *const timers[] = { &pool->tick, &pool->soon, &pool->retry, &pool->wake, &pool->agent.again };
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

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
#include "core/lease/terms.h"
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

static bool take_queues(struct pool *pool, const struct conf *conf)
{
	struct plan_queue *queues;
	struct plan_cohort *cohorts;
	if (!terms_of_conf(conf, &queues, &cohorts))
		return false;
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
	budget_tick(pool, now);
	pace_tick(pool);
	/* What could not be sent at its time. */
	for (size_t i = 0; pool->agent.ready && i < pool->n_leases; i++) {
		struct job *job = job_of(pool->leases[i]);
		if ((job->lease.state == LEASE_GRANTED && !job->start_sent) || (job->lease.state == LEASE_RELEASING && !job->stop_sent))
			change_act(pool, job);
		pause_tick(pool, job, now);
	}
	show_metrics(pool);
}

/* Its output may still be there. */
static bool ended_lately(const struct lease *lease)
{
	return lease->ended_ms + POOL_ENDED_MS > pool_now().wall_ms;
}

static int restore_one(struct pool *pool, const json_t *record, sl_error *error)
{
	struct lease lease;
	if (lease_restore(&lease, record, pool_now(), error) != SL_OK)
		return error->code;
	bool over = lease_state_over(lease.state);
	if (over && !ended_lately(&lease)) {
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
	pool->n_open -= over;
	if (lease.number > pool->last_number)
		pool->last_number = lease.number;
	return SL_OK;
}

static int by_end(const void *a, const void *b)
{
	const struct lease *left = *(struct lease *const *) a, *right = *(struct lease *const *) b;
	return left->ended_ms < right->ended_ms ? -1 : left->ended_ms > right->ended_ms;
}

/* Those that have ended, in the order of their ends. */
static void remember_ended(struct pool *pool)
{
	uint64_t now = pool_now().wall_ms;
	size_t n = 0;
	struct lease **ended = calloc(pool->n_leases + 1, sizeof(struct lease *));
	for (size_t i = 0; ended && i < pool->n_leases; i++)
		if (lease_state_over(pool->leases[i]->state))
			ended[n++] = pool->leases[i];
	if (n)
		qsort(ended, n, sizeof(struct lease *), by_end);
	for (size_t i = 0; i < n; i++)
		change_remember_ended(pool, ended[i]->number, now > ended[i]->ended_ms ? now - ended[i]->ended_ms : 0);
	free(ended);
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
	remember_ended(pool);
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
		budget_release(pool, job);
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
	pool->quota = options->quota;
	pool->money_limits = options->money_limits;
	pool->money_arg = options->money_arg;
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
	budget_renew(pool);
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
	budget_renew(pool);
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

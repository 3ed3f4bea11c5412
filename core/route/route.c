/* SPDX-License-Identifier: Apache-2.0 */
/* route.c - the table of replicas, their load, and the queue of those who wait. */
#include "core/route/inner.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"

enum { FAILURES_BEFORE_MARK = 3, MARK_MS = 2000, MARK_MAX_MS = 30000 };
static const double first_tokens_per_byte = 0.25, first_output = 200;

struct route *route_new(void)
{
	struct route *route = calloc(1, sizeof *route);
	if (route)
		pthread_rwlock_init(&route->lock, NULL);
	return route;
}

void route_free(struct route *route)
{
	if (!route)
		return;
	for (struct route_model *model = route->models, *next; model; model = next) {
		next = model->next;
		for (unsigned i = 0; i < model->n_replicas; i++)
			route_replica_unref(model->replicas[i]);
		pthread_mutex_destroy(&model->lock);
		prefix_free(model->index);
		free(model);
	}
	pthread_rwlock_destroy(&route->lock);
	free(route);
}

static struct route_model *find_model(struct route *route, sl_str name)
{
	struct route_model *model = route->models;
	while (model && !str_eq(str_of(model->name), name))
		model = model->next;
	return model;
}

struct route_model *route_model(struct route *route, sl_str name, bool create)
{
	pthread_rwlock_rdlock(&route->lock);
	struct route_model *model = find_model(route, name);
	pthread_rwlock_unlock(&route->lock);
	if (model || !create)
		return model;
	pthread_rwlock_wrlock(&route->lock);
	model = find_model(route, name);
	if (!model && (model = calloc(1, sizeof *model))) {
		str_copy(model->name, sizeof model->name, name);
		pthread_mutex_init(&model->lock, NULL);
		model->waiting_max = 1024;
		model->step = cost_step_default;
		cost_speed_start(&model->speed, &model->step);
		model->tokens_per_byte = first_tokens_per_byte;
		model->output = first_output;
		model->next = route->models;
		route->models = model;
	}
	pthread_rwlock_unlock(&route->lock);
	return model;
}

static bool set_index(struct route_model *model, uint32_t entries)
{
	struct prefix *index = entries ? prefix_new(entries) : NULL, *old;
	if (entries && !index)
		return false;
	pthread_mutex_lock(&model->lock);
	old = model->index;
	model->index = index;
	model->index_entries = entries;
	memset(model->slot_used, 0, sizeof model->slot_used); /* none is buried in the new one */
	for (unsigned i = 0; i < model->n_replicas; i++)
		model->slot_used[model->replicas[i]->slot / 64] |= UINT64_C(1) << model->replicas[i]->slot % 64;
	for (unsigned i = 0; i < model->n_replicas; i++)
		use_set_room(model->replicas[i]);
	pthread_mutex_unlock(&model->lock);
	prefix_free(old);
	return true;
}

bool route_model_tune(struct route_model *model, const struct route_tuning *tuning)
{
	pthread_mutex_lock(&model->lock);
	model->rule = tuning->rule;
	model->waiting_max = tuning->waiting_max;
	struct cost_step step = tuning->step.base > 0 ? tuning->step : cost_step_default;
	bool other_step = memcmp(&step, &model->step, sizeof step) != 0;
	bool other_room = tuning->cache_tokens != model->cache_tokens, other_index = tuning->index_entries != model->index_entries;
	model->step = step;
	model->cache_tokens = tuning->cache_tokens;
	if (other_step)
		cost_speed_start(&model->speed, &step);
	for (unsigned i = 0; i < model->n_replicas && (other_step || other_room); i++)
		use_tune(model->replicas[i]);
	pthread_mutex_unlock(&model->lock);
	return !other_index || set_index(model, tuning->index_entries);
}

static struct route_replica *preferred(struct route_model *model, const struct route_ask *ask)
{
	for (unsigned k = 0; k < ask->n_prefer; k++)
		for (unsigned i = 0; i < model->n_replicas; i++) {
			struct route_replica *r = model->replicas[i];
			if (strcmp(r->name, ask->prefer[k]) != 0 || !rules_has_room(r) || rules_is_among(r, ask->exclude, ask->n_exclude))
				continue;
			uint16_t depth[PREFIX_SLOTS_MAX];
			rules_expect(model, ask->use);
			rules_match(model, ask->use, depth);
			rules_weigh(model, r, ask->use, depth[r->slot], ask->now_us, &ask->use->parts);
			return r;
		}
	return NULL;
}

static void enqueue(struct route_model *model, struct route_waiter *waiter)
{
	waiter->order = model->order++;
	waiter->replica = NULL;
	struct route_waiter **link = &model->first;
	while (*link && (*link)->priority >= waiter->priority)
		link = &(*link)->next;
	waiter->next = *link;
	waiter->link = link;
	if (waiter->next)
		waiter->next->link = &waiter->next;
	*link = waiter;
	model->waiting++;
}

static void dequeue(struct route_model *model, struct route_waiter *waiter)
{
	*waiter->link = waiter->next;
	if (waiter->next)
		waiter->next->link = waiter->link;
	waiter->link = NULL;
	model->waiting--;
}

static bool any_could_serve(const struct route_model *model, const unsigned *exclude, unsigned n_exclude)
{
	for (unsigned i = 0; i < model->n_replicas; i++) {
		int state = atomic_load_explicit(&model->replicas[i]->state, memory_order_relaxed);
		if ((state == ROUTE_READY || state == ROUTE_STARTING) && !rules_is_among(model->replicas[i], exclude, n_exclude))
			return true;
	}
	return false;
}

enum route_result route_choose(struct route_model *model, const struct route_ask *ask, struct route_replica **out)
{
	enum route_result result = ROUTE_CHOSEN;
	struct route_waiter *waiter = ask->waiter;
	pthread_mutex_lock(&model->lock);
	if (ask->n_exclude == 0 && !ask->again)
		model->arrivals++;
	model->last_ms = ask->now_us / 1000;
	/* Nobody overtakes those who wait already, unless of a higher band. */
	bool must_queue = model->first && (!waiter || model->first->priority >= waiter->priority);
	struct route_replica *r = NULL;
	if (!must_queue || ask->n_exclude) {
		r = preferred(model, ask);
		if (!r)
			r = rules_best(model, ask->now_us, ask->use, ask->exclude, ask->n_exclude);
	}
	if (r) {
		use_begin(r, ask->use, ask->now_us);
		*out = r;
	} else if (!ask->may_start && !any_could_serve(model, ask->exclude, ask->n_exclude)) {
		result = ROUTE_NONE;
	} else if (!waiter || model->waiting >= model->waiting_max) {
		result = ROUTE_FULL;
	} else {
		waiter->use = ask->use;
		enqueue(model, waiter);
		result = ROUTE_WAIT;
	}
	pthread_mutex_unlock(&model->lock);
	return result;
}

/* Gives free places to those who wait, in order; each gets the replica that is best for it now. Under the lock. */
static void serve_waiters(struct route_model *model, uint64_t now_us)
{
	while (model->first) {
		struct route_waiter *waiter = model->first;
		struct route_replica *r = rules_best(model, now_us, waiter->use, NULL, 0);
		if (!r)
			return;
		dequeue(model, waiter);
		use_begin(r, waiter->use, now_us);
		waiter->replica = r;
		waiter->wake(waiter);
	}
}

bool route_cancel(struct route_model *model, struct route_waiter *waiter)
{
	pthread_mutex_lock(&model->lock);
	bool queued = waiter->link != NULL;
	if (queued)
		dequeue(model, waiter);
	pthread_mutex_unlock(&model->lock);
	return queued;
}

void route_fail_waiters(struct route_model *model)
{
	pthread_mutex_lock(&model->lock);
	while (model->first) {
		struct route_waiter *waiter = model->first;
		dequeue(model, waiter);
		waiter->wake(waiter);
	}
	pthread_mutex_unlock(&model->lock);
}

void route_first(struct route_use *use, uint64_t now_us)
{
	struct route_model *model = use->replica->model;
	pthread_mutex_lock(&model->lock);
	use_first(use, now_us);
	pthread_mutex_unlock(&model->lock);
}

static void count_failure(struct route_replica *replica, uint64_t now_ms)
{
	unsigned n = atomic_fetch_add_explicit(&replica->failures, 1, memory_order_relaxed) + 1;
	if (n < FAILURES_BEFORE_MARK)
		return;
	unsigned doublings = n - FAILURES_BEFORE_MARK < 4 ? n - FAILURES_BEFORE_MARK : 4;
	uint64_t mark = (uint64_t) MARK_MS << doublings;
	atomic_store_explicit(&replica->marked_until_ms, now_ms + (mark < MARK_MAX_MS ? mark : MARK_MAX_MS), memory_order_relaxed);
}

void route_done(struct route_use *use, uint64_t now_us, bool failed, const struct route_truth *truth)
{
	struct route_replica *replica = use->replica;
	if (!replica)
		return;
	struct route_model *model = replica->model;
	pthread_mutex_lock(&model->lock);
	use_end(use, now_us, failed, truth);
	model->last_ms = now_us / 1000;
	if (failed)
		count_failure(replica, now_us / 1000);
	else
		atomic_store_explicit(&replica->failures, 0, memory_order_relaxed);
	serve_waiters(model, now_us);
	pthread_mutex_unlock(&model->lock);
	route_replica_unref(replica);
}

double route_fastest(struct route_model *model)
{
	pthread_mutex_lock(&model->lock);
	double fastest = model->fastest;
	pthread_mutex_unlock(&model->lock);
	return fastest;
}

struct route_replica *route_replica_add(struct route_model *model, const char *name, const struct http_address *address,
                                        const char *key, const char *served_name, int concurrency, enum route_state state,
                                        uint64_t now_us)
{
	static atomic_uint ids;
	struct route_replica *r = aligned_alloc(64, (sizeof *r + 63) / 64 * 64);
	if (!r)
		return NULL;
	memset(r, 0, sizeof *r);
	str_copy(r->name, sizeof r->name, str_of(name));
	str_copy(r->key, sizeof r->key, str_of(key ? key : ""));
	str_copy(r->served_name, sizeof r->served_name, str_of(served_name));
	r->address = *address;
	r->concurrency = concurrency > 0 ? concurrency : 1;
	r->id = atomic_fetch_add(&ids, 1) + 1;
	r->model = model;
	atomic_store(&r->refs, 2); /* the table's and the caller's, given back by route_replica_remove */
	atomic_store(&r->state, ROUTE_STARTING);
	r->prompts_end = &r->prompts;
	r->area_us = now_us;
	pthread_mutex_lock(&model->lock);
	bool room = model->n_replicas < ROUTE_REPLICAS_MAX;
	if (room) {
		use_enter(r);
		/* What is ready when we first see it may have served others. */
		r->unknown = state == ROUTE_READY;
		use_tune(r);
		model->replicas[model->n_replicas++] = r;
	}
	pthread_mutex_unlock(&model->lock);
	if (!room) {
		free(r);
		return NULL;
	}
	route_replica_set(r, state, now_us);
	return r;
}

void route_replica_set(struct route_replica *replica, enum route_state state, uint64_t now_us)
{
	struct route_model *model = replica->model;
	pthread_mutex_lock(&model->lock);
	if (state == ROUTE_STARTING && atomic_load(&replica->state) != ROUTE_STARTING)
		use_forget(replica);
	atomic_store(&replica->state, state);
	if (state == ROUTE_READY)
		serve_waiters(model, now_us);
	pthread_mutex_unlock(&model->lock);
}

bool route_replica_doubt(struct route_replica *replica)
{
	struct route_model *model = replica->model;
	if (!replica->watched)
		return false;
	pthread_mutex_lock(&model->lock);
	if (atomic_load(&replica->state) == ROUTE_READY) {
		use_forget(replica);
		atomic_store(&replica->state, ROUTE_STARTING);
	}
	pthread_mutex_unlock(&model->lock);
	return true;
}

void route_replica_forget(struct route_replica *replica)
{
	struct route_model *model = replica->model;
	pthread_mutex_lock(&model->lock);
	if (atomic_load(&replica->state) != ROUTE_GONE)
		use_forget(replica);
	pthread_mutex_unlock(&model->lock);
}

void route_replica_remove(struct route_replica *replica)
{
	struct route_model *model = replica->model;
	bool found = false;
	pthread_mutex_lock(&model->lock);
	atomic_store(&replica->state, ROUTE_GONE);
	for (unsigned i = 0; i < model->n_replicas && !found; i++)
		if (model->replicas[i] == replica) {
			model->replicas[i] = model->replicas[--model->n_replicas];
			found = true;
		}
	if (found)
		use_leave(replica);
	pthread_mutex_unlock(&model->lock);
	if (found)
		route_replica_unref(replica);
	route_replica_unref(replica);
}

void route_replica_unref(struct route_replica *replica)
{
	if (atomic_fetch_sub_explicit(&replica->refs, 1, memory_order_acq_rel) == 1) {
		explicit_bzero(replica->key, sizeof replica->key);
		free(replica);
	}
}

void route_load(struct route_model *model, struct route_load *out)
{
	*out = (struct route_load){ 0 };
	pthread_mutex_lock(&model->lock);
	out->replicas = (int) model->n_replicas;
	out->waiting = model->waiting;
	out->arrivals = model->arrivals;
	out->last_ms = model->last_ms;
	for (unsigned i = 0; i < model->n_replicas; i++) {
		int state = atomic_load(&model->replicas[i]->state);
		out->ready += state == ROUTE_READY;
		out->starting += state == ROUTE_STARTING;
		out->running += atomic_load(&model->replicas[i]->running);
	}
	if (model->index)
		prefix_stats(model->index, &out->index);
	pthread_mutex_unlock(&model->lock);
}

void route_each(struct route_model *model, void (*each)(void *arg, const struct route_replica *), void *arg)
{
	pthread_mutex_lock(&model->lock);
	for (unsigned i = 0; i < model->n_replicas; i++)
		each(arg, model->replicas[i]);
	pthread_mutex_unlock(&model->lock);
}

void route_weigh(struct route_model *model, struct route_use *use, uint64_t now_us,
                 void (*each)(void *arg, const struct route_replica *, const struct route_candidate *), void *arg)
{
	uint16_t depth[PREFIX_SLOTS_MAX];
	pthread_mutex_lock(&model->lock);
	rules_expect(model, use);
	rules_match(model, use, depth);
	for (unsigned i = 0; i < model->n_replicas; i++) {
		struct route_candidate c;
		rules_weigh(model, model->replicas[i], use, depth[model->replicas[i]->slot], now_us, &c.parts);
		c.total = cost_total(&c.parts);
		each(arg, model->replicas[i], &c);
	}
	pthread_mutex_unlock(&model->lock);
}

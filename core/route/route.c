/* SPDX-License-Identifier: Apache-2.0 */
/* route.c - the table of replicas, their load, and the queue of those who wait. */
#include "core/route/route.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"

enum { FAILURES_BEFORE_MARK = 3, MARK_MS = 2000, MARK_MAX_MS = 30000 };

struct route_model {
	struct route_model *next;
	char name[SL_NAME_MAX];
	pthread_mutex_t lock;
	struct route_replica *replicas[ROUTE_REPLICAS_MAX];
	unsigned n_replicas;
	unsigned turn; /* where the search begins, so that ties are spread */
	struct route_waiter *first;
	int waiting, waiting_max;
	uint64_t order;
	uint64_t arrivals, last_ms;
};

struct route {
	pthread_rwlock_t lock; /* of the list of models; a model itself lives as long as the table */
	struct route_model *models;
};

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
		model->next = route->models;
		route->models = model;
	}
	pthread_rwlock_unlock(&route->lock);
	return model;
}

void route_model_bound(struct route_model *model, int waiting_max)
{
	pthread_mutex_lock(&model->lock);
	model->waiting_max = waiting_max;
	pthread_mutex_unlock(&model->lock);
}

static bool has_room(const struct route_replica *r)
{
	return atomic_load_explicit(&r->state, memory_order_relaxed) == ROUTE_READY &&
	       atomic_load_explicit(&r->running, memory_order_relaxed) < r->concurrency;
}

static void take(struct route_replica *r)
{
	atomic_fetch_add_explicit(&r->running, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
}

/* Is a less loaded than b? By running / concurrency, without a division. */
static bool less_loaded(const struct route_replica *a, const struct route_replica *b)
{
	int64_t a_running = atomic_load_explicit(&a->running, memory_order_relaxed);
	int64_t b_running = atomic_load_explicit(&b->running, memory_order_relaxed);
	return a_running * b->concurrency < b_running * a->concurrency;
}

static bool is_among(const struct route_replica *r, struct route_replica *const *list, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (list[i] == r)
			return true;
	return false;
}

/* The least loaded replica with room. One that is marked after failures is taken only when there is no other: better
 * wait for a sound one than fail on it. */
static struct route_replica *least_loaded(struct route_model *model, uint64_t now_ms,
                                          struct route_replica *const *exclude, unsigned n_exclude)
{
	struct route_replica *best = NULL, *best_marked = NULL;
	bool sound = false;
	for (unsigned i = 0; i < model->n_replicas; i++) {
		struct route_replica *r = model->replicas[(model->turn + i) % model->n_replicas];
		if (is_among(r, exclude, n_exclude))
			continue;
		sound = sound || (atomic_load_explicit(&r->state, memory_order_relaxed) == ROUTE_READY && r->marked_until_ms <= now_ms);
		if (!has_room(r))
			continue;
		bool marked = atomic_load_explicit(&r->marked_until_ms, memory_order_relaxed) > now_ms;
		struct route_replica **slot = marked ? &best_marked : &best;
		if (!*slot || less_loaded(r, *slot))
			*slot = r;
	}
	model->turn++;
	return best || sound ? best : best_marked;
}

static struct route_replica *preferred(struct route_model *model, const char *const *names, unsigned n,
                                       struct route_replica *const *exclude, unsigned n_exclude)
{
	for (unsigned k = 0; k < n; k++)
		for (unsigned i = 0; i < model->n_replicas; i++) {
			struct route_replica *r = model->replicas[i];
			if (strcmp(r->name, names[k]) == 0 && has_room(r) && !is_among(r, exclude, n_exclude))
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

static bool any_could_serve(const struct route_model *model, struct route_replica *const *exclude, unsigned n_exclude)
{
	for (unsigned i = 0; i < model->n_replicas; i++) {
		int state = atomic_load_explicit(&model->replicas[i]->state, memory_order_relaxed);
		if ((state == ROUTE_READY || state == ROUTE_STARTING) && !is_among(model->replicas[i], exclude, n_exclude))
			return true;
	}
	return false;
}

enum route_result route_choose(struct route_model *model, uint64_t now_ms, const char *const *prefer, unsigned n_prefer,
                               struct route_replica *const *exclude, unsigned n_exclude, bool may_start,
                               struct route_waiter *waiter, struct route_replica **out)
{
	enum route_result result = ROUTE_CHOSEN;
	pthread_mutex_lock(&model->lock);
	if (n_exclude == 0)
		model->arrivals++;
	model->last_ms = now_ms;
	/* Nobody overtakes those who wait already, unless of a higher band. */
	bool must_queue = model->first && (!waiter || model->first->priority >= waiter->priority);
	struct route_replica *r = NULL;
	if (!must_queue || n_exclude) {
		r = preferred(model, prefer, n_prefer, exclude, n_exclude);
		if (!r)
			r = least_loaded(model, now_ms, exclude, n_exclude);
	}
	if (r) {
		take(r);
		*out = r;
	} else if (!may_start && !any_could_serve(model, exclude, n_exclude)) {
		result = ROUTE_NONE;
	} else if (!waiter || model->waiting >= model->waiting_max) {
		result = ROUTE_FULL;
	} else {
		enqueue(model, waiter);
		result = ROUTE_WAIT;
	}
	pthread_mutex_unlock(&model->lock);
	return result;
}

/* Gives free places to those who wait, in order. Under the lock. */
static void serve_waiters(struct route_model *model, uint64_t now_ms)
{
	while (model->first) {
		struct route_replica *r = least_loaded(model, now_ms, NULL, 0);
		if (!r)
			return;
		struct route_waiter *waiter = model->first;
		dequeue(model, waiter);
		take(r);
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

void route_done(struct route_replica *replica, uint64_t now_ms, bool failed)
{
	struct route_model *model = replica->model;
	pthread_mutex_lock(&model->lock);
	atomic_fetch_sub_explicit(&replica->running, 1, memory_order_relaxed);
	model->last_ms = now_ms;
	if (!failed) {
		atomic_store_explicit(&replica->failures, 0, memory_order_relaxed);
	} else {
		unsigned n = atomic_fetch_add_explicit(&replica->failures, 1, memory_order_relaxed) + 1;
		if (n >= FAILURES_BEFORE_MARK) {
			unsigned doublings = n - FAILURES_BEFORE_MARK < 4 ? n - FAILURES_BEFORE_MARK : 4;
			uint64_t mark = (uint64_t) MARK_MS << doublings;
			atomic_store_explicit(&replica->marked_until_ms, now_ms + (mark < MARK_MAX_MS ? mark : MARK_MAX_MS),
			                      memory_order_relaxed);
		}
	}
	serve_waiters(model, now_ms);
	pthread_mutex_unlock(&model->lock);
	route_replica_unref(replica);
}

struct route_replica *route_replica_add(struct route_model *model, const char *name, const struct http_address *address,
                                        const char *key, const char *served_name, int concurrency, enum route_state state)
{
	static atomic_uint ids;
	struct route_replica *r = calloc(1, sizeof *r);
	if (!r)
		return NULL;
	str_copy(r->name, sizeof r->name, str_of(name));
	str_copy(r->key, sizeof r->key, str_of(key ? key : ""));
	str_copy(r->served_name, sizeof r->served_name, str_of(served_name));
	r->address = *address;
	r->concurrency = concurrency > 0 ? concurrency : 1;
	r->id = atomic_fetch_add(&ids, 1) + 1;
	r->model = model;
	atomic_store(&r->refs, 2); /* the table's and the caller's, given back by route_replica_remove */
	atomic_store(&r->state, ROUTE_STARTING);
	pthread_mutex_lock(&model->lock);
	bool room = model->n_replicas < ROUTE_REPLICAS_MAX;
	if (room)
		model->replicas[model->n_replicas++] = r;
	pthread_mutex_unlock(&model->lock);
	if (!room) {
		free(r);
		return NULL;
	}
	route_replica_set(r, state);
	return r;
}

void route_replica_set(struct route_replica *replica, enum route_state state)
{
	struct route_model *model = replica->model;
	pthread_mutex_lock(&model->lock);
	atomic_store(&replica->state, state);
	if (state == ROUTE_READY)
		serve_waiters(model, 0);
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
	pthread_mutex_unlock(&model->lock);
}

void route_each(struct route_model *model, void (*each)(void *arg, const struct route_replica *), void *arg)
{
	pthread_mutex_lock(&model->lock);
	for (unsigned i = 0; i < model->n_replicas; i++)
		each(arg, model->replicas[i]);
	pthread_mutex_unlock(&model->lock);
}

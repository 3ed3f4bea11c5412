/* SPDX-License-Identifier: Apache-2.0 */
/* fleet.c - the driver: looks at each model, asks what to do, and does it. */
#include "core/fleet/inner.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/log.h"
#include "core/base/str.h"

/* Requests that come in a burst poke once each: looks are at least so far apart. */
enum { LOOK_GAP_MS = 5, ACTIONS_MAX = 64 };

uint64_t fleet_now_ms(void)
{
	return clock_mono_ns() / 1000000;
}

static void free_handle(uv_handle_t *handle)
{
	free(handle);
}

uv_timer_t *fleet_timer_new(uv_loop_t *loop, void *data)
{
	uv_timer_t *timer = malloc(sizeof *timer);
	if (!timer)
		return NULL;
	uv_timer_init(loop, timer);
	timer->data = data;
	return timer;
}

void fleet_timer_close(uv_timer_t *timer)
{
	if (timer)
		uv_close((uv_handle_t *) timer, free_handle);
}

struct fleet_model *fleet_model_find(struct fleet *fleet, sl_str name)
{
	struct fleet_model *model = fleet->models;
	while (model && !str_eq(str_of(model->name), name))
		model = model->next;
	return model;
}

/* Replicas whose leases have ended go here and nowhere else, so that no callback frees what its caller uses. */
static void reap(struct fleet *fleet, struct fleet_model *model)
{
	for (struct replica **link = &model->replicas; *link;) {
		struct replica *replica = *link;
		if (!replica->gone) {
			link = &replica->next;
			continue;
		}
		*link = replica->next;
		replica_free(fleet, replica);
	}
}

static void check_doubted(struct fleet *fleet, struct fleet_model *model)
{
	for (struct replica *r = model->replicas; r; r = r->next)
		if (r->state == FLEET_READY && !r->doubted && r->route && atomic_load(&r->route->state) == ROUTE_STARTING)
			replica_doubt(fleet, r);
}

static size_t describe(struct fleet_model *model, struct fleet_unit units[FLEET_UNITS_MAX],
                       struct replica *replicas[FLEET_UNITS_MAX])
{
	size_t n = 0;
	for (struct replica *r = model->replicas; r && n < FLEET_UNITS_MAX; r = r->next, n++) {
		/* One that was taken over has served before, and will again until its successor does. */
		bool comes_back = r->adopted && r->state < FLEET_READY;
		replicas[n] = r;
		units[n] = (struct fleet_unit){
			.state = r->state,
			.since_ms = r->since_ms,
			.running = r->route ? atomic_load(&r->route->running) : 0,
			.sick = r->sick,
			/* A definition that cannot be worked out now (its engine file fails) replaces nothing. */
			.outdated = model->declared && !comes_back && model->definition[0] &&
			            strcmp(r->definition, model->definition) != 0,
		};
	}
	return n;
}

/* The policy's number, -1 when it fails (said in the log by the policy itself). */
static int ask_policy(struct fleet *fleet, struct fleet_model *model, const struct conf_model *conf,
                      const struct fleet_world *world)
{
	struct policy_signals signals = {
		.running = world->running,
		.waiting = world->waiting,
		.idle_ms = INT64_MAX,
		.arrivals = model->rate.per_s,
	};
	for (size_t i = 0; i < world->n_units; i++) {
		signals.ready += world->units[i].state == FLEET_READY;
		signals.starting += world->units[i].state < FLEET_READY;
	}
	signals.replicas = signals.ready + signals.starting;
	if (world->running > 0 || world->waiting > 0)
		signals.idle_ms = 0;
	else if (world->used_ms)
		signals.idle_ms = (int64_t) (world->now_ms - world->used_ms);
	int wanted = -1;
	sl_error error;
	if (!fleet->policy || policy_scale(fleet->policy, conf, &signals, &wanted, &error) != SL_OK)
		return -1;
	return wanted;
}

static void see(struct fleet *fleet, struct fleet_model *model, struct fleet_world *world)
{
	struct route_load load;
	route_load(model->route, &load);
	world->now_ms = fleet_now_ms();
	world->running = load.running;
	world->waiting = load.waiting;
	world->used_ms = load.last_ms < world->now_ms ? load.last_ms : world->now_ms;
	world->idle_ms = model->idle_ms;
	world->start_ms = model->start_ms;
	world->drain_ms = model->drain_ms;
	fleet_rate_update(&model->rate, world->now_ms, load.arrivals);
	const struct conf_model *conf = model->declared ? conf_model(fleet->conf, str_of(model->name)) : NULL;
	if (!conf || !model->can_start)
		return; /* bounds of 0: what is there goes */
	world->min = conf->replicas_min;
	world->max = conf->replicas_max;
	world->wanted = ask_policy(fleet, model, conf, world);
}

static const char *because_text(enum fleet_because because)
{
	switch (because) {
	case FLEET_SURPLUS: return "not needed any more";
	case FLEET_OUTDATED: return "its model's definition has changed";
	case FLEET_SICK: return "its health checks fail";
	case FLEET_STOPPED: return "stopped by an operator";
	case FLEET_DRAINED: return "drained";
	case FLEET_DEADLINE: return "its time to drain is over";
	default: return "asked for";
	}
}

static void sicken(struct fleet *fleet, struct replica *replica)
{
	char why[FLEET_WHY_MAX];
	snprintf(why, sizeof why, "its health check failed %u times in a row: %.200s", replica->sick, replica->why);
	replica_fail(fleet, replica, why);
}

static void fail_start(struct fleet *fleet, struct replica *replica, uint64_t start_ms)
{
	char why[FLEET_WHY_MAX], took[32];
	clock_duration(start_ms, took, sizeof took);
	snprintf(why, sizeof why, "was not ready within %s (start_time): %.200s", took,
	         replica->why[0] ? replica->why : "no answer to its health check");
	replica_fail(fleet, replica, why);
	replica_release(fleet, replica, "was not ready in time");
}

/* False: nothing more is to be started in this look. */
static bool start_one(struct fleet *fleet, struct fleet_model *model)
{
	sl_error error = { 0 };
	if (replica_start(fleet, model, &error) == SL_OK)
		return true;
	uint32_t random = 0;
	hash_random(&random, sizeof random);
	uint64_t delay = fleet_failed(&model->mind, fleet_now_ms(), random);
	fleet_failure_set(fleet, model, "", 0, error.text);
	log_warn("model %s: cannot start a replica: %s; next try in %llu ms", model->name, error.text,
	         (unsigned long long) delay);
	return false;
}

static void act(struct fleet *fleet, struct fleet_model *model, const struct fleet_world *world,
                struct replica *const *replicas, const struct fleet_action *actions, size_t n)
{
	bool starting = true;
	for (size_t i = 0; i < n; i++) {
		const struct fleet_action *action = &actions[i];
		struct replica *replica = action->what == FLEET_START || action->what == FLEET_FAIL_WAITERS
			? NULL : replicas[action->unit];
		switch (action->what) {
		case FLEET_START:
			starting = starting && start_one(fleet, model);
			break;
		case FLEET_DRAIN:
			if (action->because == FLEET_SICK)
				sicken(fleet, replica);
			replica_drain(fleet, replica, because_text(action->because));
			break;
		case FLEET_RELEASE:
			replica_release(fleet, replica, because_text(action->because));
			break;
		case FLEET_FAIL:
			fail_start(fleet, replica, world->start_ms);
			break;
		case FLEET_FAIL_WAITERS:
			break; /* after the trouble's text is set: those who are woken read it */
		}
	}
}

static bool fails_waiters(const struct fleet_action *actions, size_t n)
{
	return n > 0 && actions[n - 1].what == FLEET_FAIL_WAITERS;
}

/* One model: what to do now, and when to look again. */
static uint64_t look_at(struct fleet *fleet, struct fleet_model *model)
{
	struct fleet_unit units[FLEET_UNITS_MAX];
	struct replica *replicas[FLEET_UNITS_MAX];
	struct fleet_action actions[ACTIONS_MAX];
	reap(fleet, model);
	check_doubted(fleet, model);
	struct fleet_world world = { .units = units };
	world.n_units = describe(model, units, replicas);
	see(fleet, model, &world);
	size_t n = 0;
	if (model->can_start || model->replicas || (!model->declared && world.waiting > 0)) {
		n = fleet_decide(&model->mind, &world, actions, ACTIONS_MAX);
		act(fleet, model, &world, replicas, actions, n);
	}
	model->target = fleet_target(&model->mind, &world);
	world.n_units = describe(model, units, replicas);
	fleet_trouble_update(fleet, model, &world);
	struct route_load load;
	route_load(model->route, &load);
	bool hopeless = load.ready == 0 && load.starting == 0 && load.waiting > 0 && model->in_trouble;
	if ((fails_waiters(actions, n) && load.ready == 0) || hopeless)
		route_fail_waiters(model->route);
	return fleet_next(&model->mind, &world);
}

static void on_look(uv_timer_t *timer)
{
	struct fleet *fleet = timer->data;
	uint64_t next = FLEET_TICK_MS;
	for (struct fleet_model **link = &fleet->models; *link;) {
		struct fleet_model *model = *link;
		uint64_t its = look_at(fleet, model);
		next = its < next ? its : next;
		if (model->declared || model->replicas || model->n_endpoints) {
			link = &model->next;
			continue;
		}
		pthread_mutex_lock(&fleet->lock);
		*link = model->next;
		pthread_mutex_unlock(&fleet->lock);
		fleet_model_free(model);
	}
	fleet_look_in(fleet, next > LOOK_GAP_MS ? next : LOOK_GAP_MS);
}

void fleet_look_in(struct fleet *fleet, uint64_t ms)
{
	if (uv_is_active((uv_handle_t *) &fleet->timer) && uv_timer_get_due_in(&fleet->timer) <= ms)
		return;
	uv_timer_start(&fleet->timer, on_look, ms, 0);
}

static void on_poke(struct mail *mail)
{
	struct fleet *fleet = (struct fleet *) ((char *) mail - offsetof(struct fleet, poke));
	atomic_store(&fleet->poked, false);
	fleet_look_in(fleet, LOOK_GAP_MS);
}

void fleet_poke(struct fleet *fleet)
{
	if (!atomic_exchange(&fleet->poked, true))
		mailbox_post(&fleet->mailbox, &fleet->poke);
}

static void adopt(struct fleet *fleet)
{
	json_t *leases = pool_leases(fleet->pool);
	size_t i, n = 0;
	json_t *lease;
	json_array_foreach(leases, i, lease)
		n += replica_adopt(fleet, lease);
	json_decref(leases);
	if (n)
		log_info("%zu replicas of an earlier run are taken over", n);
}

static int take_folders(struct fleet *fleet, const struct fleet_options *options, sl_error *error)
{
	if (mkdir(options->folder, 0700) != 0 && errno != EEXIST)
		return error_set(error, SL_EIO, "cannot make the folder %s: %s", options->folder, strerror(errno));
	fleet->folder = realpath(options->folder, NULL);
	if (!fleet->folder)
		return error_set(error, SL_EIO, "cannot use the folder %s: %s", options->folder, strerror(errno));
	fleet->sockets = options->sockets ? realpath(options->sockets, NULL) : NULL;
	if (options->sockets && !fleet->sockets)
		return error_set(error, SL_EIO, "cannot use the folder %s: %s", options->sockets, strerror(errno));
	return SL_OK;
}

struct fleet *fleet_open(const struct fleet_options *options, sl_error *error)
{
	struct fleet *fleet = calloc(1, sizeof *fleet);
	if (!fleet) {
		error_set(error, SL_ENOMEM, "out of memory");
		return NULL;
	}
	fleet->loop = options->loop;
	fleet->pool = options->pool;
	fleet->route = options->route;
	fleet->policy = options->policy;
	fleet->uid = options->uid;
	fleet->gid = options->gid;
	if (take_folders(fleet, options, error) != SL_OK || mailbox_open(&fleet->mailbox, fleet->loop) != 0) {
		free(fleet->folder);
		free(fleet->sockets);
		free(fleet);
		return NULL;
	}
	fleet->conf = conf_ref(options->conf);
	fleet->poke.run = on_poke;
	pthread_mutex_init(&fleet->lock, NULL);
	uv_timer_init(fleet->loop, &fleet->timer);
	uv_timer_init(fleet->loop, &fleet->last);
	fleet->timer.data = fleet->last.data = fleet;
	fleet_models_configure(fleet);
	adopt(fleet);
	fleet_folder_clean(fleet);
	fleet_look_in(fleet, 0);
	return fleet;
}

void fleet_configure(struct fleet *fleet, struct conf *conf, struct policy *policy)
{
	struct conf *old = fleet->conf;
	fleet->conf = conf_ref(conf);
	fleet->policy = policy;
	fleet_models_configure(fleet);
	conf_unref(old);
	fleet_look_in(fleet, 0);
}

static void on_last_closed(uv_handle_t *handle)
{
	struct fleet *fleet = handle->data;
	conf_unref(fleet->conf);
	pthread_mutex_destroy(&fleet->lock);
	free(fleet->folder);
	free(fleet->sockets);
	free(fleet);
}

static void on_closed(uv_handle_t *handle)
{
	struct fleet *fleet = handle->data;
	/* Handles that close in one turn do so in no promised order. This one closes a turn later. */
	uv_close((uv_handle_t *) &fleet->last, on_last_closed);
}

void fleet_close(struct fleet *fleet)
{
	if (!fleet)
		return;
	for (struct log_wait *wait = fleet->logs; wait; wait = wait->next)
		wait->fleet = NULL;
	while (fleet->models) {
		struct fleet_model *model = fleet->models;
		fleet->models = model->next;
		while (model->replicas) {
			struct replica *replica = model->replicas;
			model->replicas = replica->next;
			replica_free(fleet, replica);
		}
		fleet_model_free(model);
	}
	mailbox_close(&fleet->mailbox);
	uv_close((uv_handle_t *) &fleet->timer, on_closed);
}

static struct fleet_model *startable(struct fleet *fleet, const char *name, sl_error *error)
{
	struct fleet_model *model = fleet_model_find(fleet, str_of(name));
	if (!model || !model->declared) {
		error_set(error, SL_ENOTFOUND, "model '%s' does not exist", name);
		return NULL;
	}
	if (!model->can_start) {
		error_set(error, SL_ECONFLICT, "model '%s' is served by fixed endpoints: sluice neither starts nor stops them", name);
		return NULL;
	}
	return model;
}

int fleet_start(struct fleet *fleet, const char *name, sl_error *error)
{
	struct fleet_model *model = startable(fleet, name, error);
	if (!model)
		return error ? error->code : SL_ENOTFOUND;
	struct fleet_unit units[FLEET_UNITS_MAX];
	struct replica *replicas[FLEET_UNITS_MAX];
	struct fleet_world world = { .units = units };
	world.n_units = describe(model, units, replicas);
	see(fleet, model, &world);
	size_t live = 0;
	for (size_t i = 0; i < world.n_units; i++)
		live += units[i].state <= FLEET_READY;
	if (live >= (size_t) world.max)
		return error_set(error, SL_ECONFLICT, "model '%s' has %zu replicas, and its configuration allows no more than %d", name,
		                 live, world.max);
	fleet_want_more(&model->mind, &world);
	fleet_look_in(fleet, 0);
	return SL_OK;
}

int fleet_stop(struct fleet *fleet, const char *name, sl_error *error)
{
	struct fleet_model *model = startable(fleet, name, error);
	if (!model)
		return error ? error->code : SL_ENOTFOUND;
	fleet_want_none(&model->mind);
	fleet_look_in(fleet, 0);
	return SL_OK;
}

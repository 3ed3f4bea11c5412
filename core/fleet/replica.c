/* SPDX-License-Identifier: Apache-2.0 */
/* replica.c - the life of one replica: its lease, its place in the routing table, its end. */
#include "core/fleet/inner.h"

#include <stdlib.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/metrics.h"
#include "core/base/str.h"

void replica_set_state(struct replica *replica, enum fleet_state state)
{
	replica->state = state;
	replica->since_ms = fleet_now_ms();
}

static void leave_route(struct replica *replica)
{
	if (replica->route)
		route_replica_remove(replica->route);
	replica->route = NULL;
}

void replica_free(struct fleet *fleet, struct replica *replica)
{
	(void) fleet;
	if (!replica)
		return;
	replica_check_stop(replica);
	if (replica->watch)
		pool_unwatch(replica->watch);
	leave_route(replica);
	free(replica);
}

void replica_fail(struct fleet *fleet, struct replica *replica, const char *why)
{
	struct fleet_model *model = replica->model;
	if (replica->failed)
		return;
	replica->failed = true;
	metrics_add(metrics_counter("sluice_replica_failures_total", "Replicas that failed.", "model", model->name), 1);
	uint32_t random = 0;
	hash_random(&random, sizeof random);
	char delay[32];
	uint64_t now_ms = fleet_now_ms();
	clock_duration(replica->served ? fleet_lost(&model->mind, now_ms, random) : fleet_failed(&model->mind, now_ms, random),
	               delay, sizeof delay);
	str_copy(replica->why, sizeof replica->why, str_of(why));
	fleet_failure_set(fleet, model, replica->name, replica->lease, why);
	log_warn("replica %s (L%llu) failed: %s; next start in %s", replica->name, (unsigned long long) replica->lease, why, delay);
	fleet_failure_ask_logs(fleet, replica);
}

static void on_ended(struct fleet *fleet, struct replica *replica, const json_t *lease)
{
	replica_check_stop(replica);
	if (replica->state == FLEET_STOPPING) {
		log_info("replica %s is stopped", replica->name);
	} else {
		char words[FLEET_WHY_MAX];
		fleet_failure_words(lease, words, sizeof words);
		replica_fail(fleet, replica, words);
	}
	leave_route(replica);
	if (str_starts(str_of(replica->listen), STR("unix:")))
		unlink(replica->listen + strlen("unix:"));
	fleet_note_remove(fleet, replica->lease);
	replica->gone = true;
	fleet_look_in(fleet, 0);
}

static void note_where(struct replica *replica, const json_t *lease)
{
	size_t i, used = 0;
	json_t *place;
	replica->where[0] = '\0';
	json_array_foreach(json_object_get(lease, "where"), i, place) {
		const char *text = json_string_value(place);
		int n = snprintf(replica->where + used, sizeof replica->where - used, "%s%s", used ? ", " : "", text ? text : "");
		if (n < 0 || (size_t) n >= sizeof replica->where - used)
			return;
		used += (size_t) n;
	}
}

static bool is_running(const char *state)
{
	return strcmp(state, "running") == 0;
}

static bool has_ended(const char *state)
{
	static const char *const ends[] = { "ended", "denied", "cancelled", "preempted", "expired", "failed", NULL };
	for (size_t i = 0; ends[i]; i++)
		if (strcmp(state, ends[i]) == 0)
			return true;
	return false;
}

static void on_lease(void *arg, const struct pool_event *event)
{
	struct replica *replica = arg;
	struct fleet *fleet = replica->model->fleet;
	if (!event->lease && !event->end)
		return;
	const char *state = json_get_str(event->lease, "state", "");
	if (event->lease)
		note_where(replica, event->lease);
	if (event->end) {
		on_ended(fleet, replica, event->lease);
	} else if (replica->state == FLEET_LEASING && is_running(state)) {
		replica_set_state(replica, FLEET_STARTING);
		replica->why[0] = '\0';
		replica_check_in(fleet, replica, 0);
		fleet_look_in(fleet, 0);
	} else if (replica->state == FLEET_LEASING) {
		str_copy(replica->why, sizeof replica->why, str_of(json_get_str(event->lease, "reason", "")));
	}
}

static struct replica *replica_new(struct fleet_model *model, const char *name, const char *listen)
{
	struct replica *replica = calloc(1, sizeof *replica);
	if (!replica)
		return NULL;
	replica->model = model;
	replica->health_gap_ms = HEALTH_FIRST_MS;
	replica->born_wall_ms = clock_wall_ms();
	str_copy(replica->name, sizeof replica->name, str_of(name));
	str_copy(replica->listen, sizeof replica->listen, str_of(listen));
	replica_set_state(replica, FLEET_LEASING);
	return replica;
}

/* Into the model's list, the routing table and the pool's watch. */
static int enter(struct fleet *fleet, struct replica *replica, int concurrency, const char *served_name, sl_error *error)
{
	struct fleet_model *model = replica->model;
	replica->route = route_replica_add(model->route, replica->name, &replica->address, NULL, served_name, concurrency,
	                                   ROUTE_STARTING, fleet_now_ms() * 1000);
	if (!replica->route)
		return error_set(error, SL_EFULL, "model '%s' has no room for one more replica", model->name);
	replica->route->watched = true;
	struct replica **link = &model->replicas;
	while (*link)
		link = &(*link)->next;
	*link = replica;
	replica->watch = pool_watch(fleet->pool, replica->lease, false, -1, -1, on_lease, replica);
	if (!replica->watch && !replica->gone) {
		/* It ended before it could be watched: the next look finds it gone. */
		replica_fail(fleet, replica, "its lease has ended at once");
		replica->gone = true;
	}
	return SL_OK;
}

static int submit(struct fleet *fleet, struct replica *replica, const struct conf_model *conf, json_t *argv, json_t *env,
                  sl_error *error)
{
	json_object_set_new(env, "SLUICE_LISTEN", json_string(replica->listen));
	struct pool_request request = {
		.name = replica->name,
		.tenant = "",
		.user = "",
		.queue = conf->queue,
		.uid = fleet->uid,
		.gid = fleet->gid,
		.devices = (uint32_t) conf->gpus,
		.kind = conf->gpu_kind,
		.memory_bytes = (uint64_t) conf->gpu_memory,
		.preemptible = true,
		.detach = true,
		.model = conf->name,
		.replica = replica->name,
		.argv = argv,
		.env = env,
		.cwd = fleet->sockets ? fleet->sockets : "/",
	};
	return pool_submit(fleet->pool, &request, &replica->lease, error);
}

static int name_next(struct fleet_model *model, char out[SL_NAME_MAX], sl_error *error)
{
	int n = snprintf(out, SL_NAME_MAX, "%s/r%u", model->name, ++model->last_number);
	if (n >= SL_NAME_MAX)
		return error_set(error, SL_EINVAL, "the name '%s' is too long for a model whose replicas are started: at most %d characters",
		                 model->name, SL_NAME_MAX - 8);
	return SL_OK;
}

int replica_start(struct fleet *fleet, struct fleet_model *model, sl_error *error)
{
	const struct conf_model *conf = conf_model(fleet->conf, str_of(model->name));
	if (!conf)
		return error_set(error, SL_ENOTFOUND, "model '%s' is not in the configuration", model->name);
	char name[SL_NAME_MAX], listen[160];
	int code = name_next(model, name, error);
	if (code != SL_OK || (code = fleet_listen_choose(fleet, fleet_uses_socket(fleet, conf), listen, error)) != SL_OK)
		return code;
	json_t *argv = NULL, *env = NULL;
	struct replica *replica = replica_new(model, name, listen);
	if (!replica)
		return error_set(error, SL_ENOMEM, "out of memory");
	str_copy(replica->definition, sizeof replica->definition, str_of(model->definition));
	code = http_address_parse(str_of(listen), &replica->address, error);
	if (code == SL_OK)
		code = conf_engine_command(fleet->conf, conf, name, listen, &argv, &env, error);
	if (code == SL_OK)
		code = submit(fleet, replica, conf, argv, env, error);
	if (code == SL_OK)
		fleet_note_write(fleet, replica);
	json_decref(argv);
	json_decref(env);
	if (code == SL_OK && (code = enter(fleet, replica, model->concurrency, model->served_name, error)) != SL_OK)
		pool_release(fleet->pool, replica->lease, 0, "no room in the routing table", NULL);
	if (code != SL_OK) {
		replica_free(fleet, replica);
		return code;
	}
	metrics_add(metrics_counter("sluice_replica_starts_total", "Replicas that were started.", "model", model->name), 1);
	log_info("replica %s starts as L%llu, listening at %s", name, (unsigned long long) replica->lease, listen);
	return SL_OK;
}

void replica_drain(struct fleet *fleet, struct replica *replica, const char *reason)
{
	(void) fleet;
	log_info("replica %s drains: %s", replica->name, reason);
	str_copy(replica->why, sizeof replica->why, str_of(reason));
	replica_set_state(replica, FLEET_DRAINING);
	if (replica->route)
		route_replica_set(replica->route, ROUTE_DRAINING, fleet_now_ms() * 1000);
}

void replica_release(struct fleet *fleet, struct replica *replica, const char *reason)
{
	replica_check_stop(replica);
	leave_route(replica);
	replica_set_state(replica, FLEET_STOPPING);
	if (!replica->failed)
		str_copy(replica->why, sizeof replica->why, str_of(reason));
	sl_error error = { 0 };
	int code = pool_release(fleet->pool, replica->lease, STOP_NOTICE_MS, reason, &error);
	if (code == SL_OK)
		return;
	/* The pool does not know it any more, so there is nothing to wait for. */
	log_warn("replica %s: cannot release L%llu: %s", replica->name, (unsigned long long) replica->lease, error.text);
	if (code == SL_ENOTFOUND)
		replica->gone = true;
}

/* "llama-8b/r12": 12. */
static unsigned number_of(const char *name)
{
	const char *slash = strrchr(name, '/');
	uint64_t n = 0;
	if (!slash || slash[1] != 'r' || !str_to_u64(str_of(slash + 2), UINT32_MAX, &n))
		return 0;
	return (unsigned) n;
}

static uint64_t lease_number(const json_t *lease)
{
	uint64_t n = 0;
	const char *id = json_get_str(lease, "lease", "");
	return id[0] == 'L' && str_to_u64(str_of(id + 1), UINT64_MAX, &n) ? n : 0;
}

/* Its address is lost, or makes no sense: nobody can use it. */
static bool refuse_adoption(struct fleet *fleet, struct replica *replica, const char *why)
{
	log_warn("replica %s (L%llu) of an earlier run cannot be taken over: %s. It is ended", replica->name,
	         (unsigned long long) replica->lease, why);
	pool_release(fleet->pool, replica->lease, STOP_NOTICE_MS, "could not be taken over after a restart", NULL);
	replica_free(fleet, replica);
	return false;
}

bool replica_adopt(struct fleet *fleet, const json_t *lease)
{
	const char *state = json_get_str(lease, "state", "");
	const char *model_name = json_get_str(lease, "model", "");
	const char *name = json_get_str(lease, "replica", json_get_str(lease, "name", ""));
	uint64_t number = lease_number(lease);
	if (strcmp(json_get_str(lease, "holder", ""), "replica") != 0 || has_ended(state) || !model_name[0] || !number)
		return false;
	struct fleet_model *model = fleet_model_find(fleet, str_of(model_name));
	if (!model && !(model = fleet_model_add(fleet, str_of(model_name))))
		return false;
	struct replica *replica = replica_new(model, name, "");
	if (!replica)
		return false;
	sl_error error = { 0 };
	unsigned n = number_of(name);
	model->last_number = n > model->last_number ? n : model->last_number;
	replica->lease = number;
	replica->adopted = true;
	if (!fleet_note_read(fleet, replica))
		return refuse_adoption(fleet, replica, "its address is not known");
	if (http_address_parse(str_of(replica->listen), &replica->address, &error) != SL_OK ||
	    enter(fleet, replica, model->concurrency > 0 ? model->concurrency : 1,
	          model->served_name[0] ? model->served_name : model->name, &error) != SL_OK)
		return refuse_adoption(fleet, replica, error.text);
	note_where(replica, lease);
	if (strcmp(state, "releasing") == 0) {
		replica_release(fleet, replica, "its end was under way before the restart");
	} else if (is_running(state)) {
		replica_set_state(replica, FLEET_STARTING);
		replica_check_in(fleet, replica, 0);
	}
	return true;
}

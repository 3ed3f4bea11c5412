/* SPDX-License-Identifier: Apache-2.0 */
/* views.c - what the control door and the inference door's 503s tell of models and replicas. */
#include "core/fleet/inner.h"

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/money.h"
#include "core/base/str.h"

static unsigned count_in(const struct fleet_model *model, enum fleet_state from, enum fleet_state to)
{
	unsigned n = 0;
	for (const struct replica *r = model->replicas; r; r = r->next)
		n += r->state >= from && r->state <= to;
	return n;
}

/* The one that is nearest to serving, of those that do not yet. */
static const struct replica *coming(const struct fleet_model *model)
{
	const struct replica *best = NULL;
	for (const struct replica *r = model->replicas; r; r = r->next)
		if (r->state < FLEET_READY && (!best || r->state > best->state))
			best = r;
	return best;
}

/* Once for operators, once for callers: a reason may hold an engine's last lines, so paths and other callers' words. */
static void write_trouble(struct fleet_model *model, bool failing, uint64_t left_ms)
{
	char left[32];
	const struct replica *next = coming(model);
	char *full = model->trouble, *told = model->trouble_told;
	size_t room = sizeof model->trouble, told_room = sizeof model->trouble_told;
	if (model->mind.stopped) {
		snprintf(full, room, "was stopped by an operator. Start it again: sluicectl models start %s", model->name);
		snprintf(told, told_room, "was stopped by an operator");
	} else if (failing) {
		clock_duration(left_ms, left, sizeof left);
		snprintf(full, room, "has failed: %.380s. Next try in %s", model->failure.why, left);
		snprintf(told, told_room, "has failed: its replica does not run. Next try in %s", left);
	} else if (next && next->state == FLEET_LEASING) {
		snprintf(full, room, "waits for devices (L%llu)%s%.300s", (unsigned long long) next->lease, next->why[0] ? ": " : "", next->why);
		snprintf(told, told_room, "waits for devices");
	} else if (next) {
		snprintf(full, room, "is starting (%s)", next->name);
		snprintf(told, told_room, "is starting");
	} else if (count_in(model, FLEET_READY, FLEET_READY) == 0 && !model->n_endpoints) {
		snprintf(full, room, "has no replica, and the policy wants none now");
		snprintf(told, told_room, "has no replica now");
	} else {
		full[0] = told[0] = '\0';
	}
}

void fleet_trouble_update(struct fleet *fleet, struct fleet_model *model, const struct fleet_world *world)
{
	bool serves = model->n_endpoints > 0, comes = false;
	for (const struct replica *r = model->replicas; r; r = r->next) {
		serves |= r->state == FLEET_READY;
		comes |= r->state < FLEET_READY;
	}
	bool waits = world->now_ms < model->mind.retry_ms;
	uint64_t left = waits ? model->mind.retry_ms - world->now_ms : 0;
	pthread_mutex_lock(&fleet->lock);
	bool failing = waits && model->failure.why[0] && !comes;
	model->in_trouble = !serves && !comes && (model->mind.stopped || (failing && fleet_backs_off(&model->mind, world->now_ms)) || (model->can_start && model->target == 0 && world->waiting > 0));
	model->retry_ms = world->now_ms + (failing ? left : FLEET_TICK_MS * 30);
	write_trouble(model, failing, left);
	pthread_mutex_unlock(&fleet->lock);
}

bool fleet_trouble(struct fleet *fleet, sl_str name, char *text, size_t room, uint64_t *retry_ms)
{
	bool trouble = false;
	uint64_t now = fleet_now_ms();
	if (room)
		text[0] = '\0';
	*retry_ms = FLEET_TICK_MS;
	pthread_mutex_lock(&fleet->lock);
	struct fleet_model *model = fleet_model_find(fleet, name);
	if (model) {
		trouble = model->in_trouble;
		if (model->trouble_told[0])
			snprintf(text, room, "model '%s' %s", model->name, model->trouble_told);
		if (trouble && model->retry_ms > now)
			*retry_ms = model->retry_ms - now;
	}
	pthread_mutex_unlock(&fleet->lock);
	return trouble;
}

static const char *model_state(const struct fleet_model *model)
{
	if (model->n_endpoints || count_in(model, FLEET_READY, FLEET_READY))
		return "ready";
	if (count_in(model, FLEET_LEASING, FLEET_STARTING))
		return "starting";
	return model->mind.failures && !model->mind.stopped ? "failed" : "none";
}

static json_t *price(int64_t micro)
{
	char text[MONEY_TEXT_MAX];
	money_text((money_amount) micro, 6, text);
	return json_string(text);
}

/* Text that an engine wrote may be anything. */
static json_t *words(const char *text)
{
	if (!text[0])
		return json_null();
	json_t *holder = json_object();
	json_set_str(holder, "t", str_of(text));
	json_t *value = json_incref(json_object_get(holder, "t"));
	json_decref(holder);
	return value ? value : json_null();
}

static json_t *model_json(struct fleet *fleet, struct fleet_model *model)
{
	const struct conf_model *conf = conf_model(fleet->conf, str_of(model->name));
	if (!conf)
		return NULL;
	struct route_load load;
	route_load(model->route, &load);
	json_t *endpoints = json_array();
	for (size_t i = 0; i < conf->n_endpoints; i++)
		json_array_append_new(endpoints, json_string(conf->endpoints[i].url));
	unsigned live = count_in(model, FLEET_LEASING, FLEET_READY);
	json_t *out = json_pack("{s:s, s:s, s:s, s:I, s:i, s:i, s:i, s:I, s:i, s:{s:o, s:o, s:o}, s:o}", "model", model->name, "engine",
	                        conf->engine, "state", model_state(model), "replicas", (json_int_t) (live + model->n_endpoints),
	                        "wanted", model->target, "running", load.running, "waiting", load.waiting, "requests_total",
	                        (json_int_t) load.arrivals, "gpus", conf->gpus, "price", "input", price(conf->price.input), "cached",
	                        price(conf->price.cached), "output", price(conf->price.output), "endpoints", endpoints);
	if (out)
		json_object_set_new(out, "why", words(model->trouble));
	return out;
}

json_t *fleet_models(struct fleet *fleet)
{
	json_t *out = json_array();
	pthread_mutex_lock(&fleet->lock);
	for (struct fleet_model *model = fleet->models; model; model = model->next)
		if (model->declared)
			json_array_append_new(out, model_json(fleet, model));
	pthread_mutex_unlock(&fleet->lock);
	return out;
}

static const char *state_name(enum fleet_state state)
{
	static const char *const names[] = {
		[FLEET_LEASING] = "leasing", [FLEET_STARTING] = "starting", [FLEET_READY] = "ready",
		[FLEET_DRAINING] = "draining", [FLEET_STOPPING] = "stopping",
	};
	return names[state];
}

static json_t *lease_id(uint64_t lease)
{
	return lease ? json_sprintf("L%llu", (unsigned long long) lease) : json_null();
}

static json_t *replica_json(const struct replica *r, uint64_t now_wall)
{
	const struct route_replica *route = r->route;
	uint64_t age = now_wall > r->born_wall_ms ? (now_wall - r->born_wall_ms) / 1000 : 0;
	return json_pack("{s:s, s:s, s:s, s:o, s:o, s:i, s:i, s:I, s:s, s:i, s:o}", "replica", r->name, "model", r->model->name,
	                 "state", state_name(r->state), "where", words(r->where), "lease", lease_id(r->lease), "running",
	                 route ? atomic_load(&route->running) : 0, "waiting", 0, "age_s", (json_int_t) age, "address", r->listen,
	                 "failures", (int) r->sick, "why", words(r->why));
}

static json_t *endpoint_json(const struct fleet_model *model, const struct endpoint *e, uint64_t now_ms)
{
	char address[160];
	const struct route_replica *route = e->route;
	if (!route)
		return NULL;
	http_address_text(&route->address, address, sizeof address);
	bool marked = atomic_load_explicit(&route->marked_until_ms, memory_order_relaxed) > now_ms;
	return json_pack("{s:s, s:s, s:s, s:s, s:n, s:i, s:i, s:n, s:s, s:i, s:o}", "replica", e->name, "model", model->name, "state",
	                 "ready", "where", "endpoint", "lease", "running", atomic_load(&route->running), "waiting", 0, "age_s",
	                 "address", address, "failures", (int) atomic_load(&route->failures), "why",
	                 marked ? json_string("its requests fail: others are preferred for a while") : json_null());
}

/* The one that failed last, until another has been healthy for a while. */
static json_t *failed_json(const struct fleet_model *model)
{
	const struct failure *f = &model->failure;
	return json_pack("{s:s, s:s, s:s, s:n, s:o, s:i, s:i, s:n, s:n, s:i, s:o}", "replica", f->replica[0] ? f->replica : model->name,
	                 "model", model->name, "state", "failed", "where", "lease", lease_id(f->lease), "running", 0, "waiting", 0,
	                 "age_s", "address", "failures", (int) model->mind.failures, "why", words(f->why));
}

json_t *fleet_replicas(struct fleet *fleet)
{
	json_t *out = json_array();
	uint64_t now = fleet_now_ms(), wall = clock_wall_ms();
	pthread_mutex_lock(&fleet->lock);
	for (struct fleet_model *model = fleet->models; model; model = model->next) {
		for (size_t i = 0; i < model->n_endpoints; i++)
			json_array_append_new(out, endpoint_json(model, &model->endpoints[i], now));
		bool any = false;
		for (const struct replica *r = model->replicas; r; r = r->next) {
			any |= r->state < FLEET_READY;
			if (!r->gone)
				json_array_append_new(out, replica_json(r, wall));
		}
		if (!any && model->failure.why[0] && model->mind.failures)
			json_array_append_new(out, failed_json(model));
	}
	pthread_mutex_unlock(&fleet->lock);
	return out;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* models.c - what the configuration says of each model, and what of it asks for new replicas. */
#include "core/fleet/inner.h"

#include <stdlib.h>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/str.h"

static void digest(sl_str text, char out[FLEET_DEFINITION_LENGTH + 1])
{
	uint8_t sha[32];
	out[0] = '\0';
	if (!text.ptr || !hash_sha256(text.ptr, text.len, sha))
		return;
	for (int i = 0; i < FLEET_DEFINITION_LENGTH / 2; i++)
		snprintf(out + 2 * i, 3, "%02x", sha[i]);
}

bool fleet_uses_socket(const struct fleet *fleet, const struct conf_model *model)
{
	const struct conf_engine *engine = conf_engine(fleet->conf, str_of(model->engine));
	return fleet->sockets && engine && engine->unix_socket && json_get_bool(model->options, "unix_socket", true);
}

/* What a running replica depends on: its command, and the devices it asked for. A price or a limit may change without
 * a restart. The same text over restarts, so that adopted replicas can be compared. */
static int define(struct fleet *fleet, const struct conf_model *conf, char out[FLEET_DEFINITION_LENGTH + 1], sl_error *error)
{
	json_t *argv = NULL, *env = NULL;
	/* Stand-ins for what differs from replica to replica. */
	const char *listen = fleet_uses_socket(fleet, conf) ? "unix:/socket" : "127.0.0.1:1";
	int code = conf_engine_command(fleet->conf, conf, "replica", listen, &argv, &env, error);
	if (code != SL_OK)
		return code;
	json_t *all = json_pack("{s:o, s:o, s:s, s:i, s:s, s:I, s:s}", "argv", argv, "env", env, "engine", conf->engine, "gpus",
	                        conf->gpus, "kind", conf->gpu_kind ? conf->gpu_kind : "", "memory", (json_int_t) conf->gpu_memory,
	                        "queue", conf->queue ? conf->queue : "");
	char *text = all ? json_dumps(all, JSON_SORT_KEYS | JSON_COMPACT) : NULL;
	json_decref(all);
	digest(str_of(text), out);
	free(text);
	return out[0] ? SL_OK : error_set(error, SL_ENOMEM, "out of memory");
}

struct fleet_model *fleet_model_add(struct fleet *fleet, sl_str name)
{
	struct fleet_model *model = calloc(1, sizeof *model);
	if (!model)
		return NULL;
	model->fleet = fleet;
	str_copy(model->name, sizeof model->name, name);
	model->route = route_model(fleet->route, name, true);
	if (!model->route) {
		free(model);
		return NULL;
	}
	struct fleet_model **link = &fleet->models;
	while (*link)
		link = &(*link)->next;
	pthread_mutex_lock(&fleet->lock);
	*link = model;
	pthread_mutex_unlock(&fleet->lock);
	return model;
}

static void drop_endpoints(struct fleet_model *model)
{
	for (size_t i = 0; i < model->n_endpoints; i++)
		if (model->endpoints[i].route)
			route_replica_remove(model->endpoints[i].route);
	free(model->endpoints);
	model->endpoints = NULL;
	model->n_endpoints = 0;
	model->endpoints_text[0] = '\0';
}

void fleet_model_free(struct fleet_model *model)
{
	drop_endpoints(model);
	free(model);
}

static void describe_endpoints(const struct conf_model *conf, char out[FLEET_DEFINITION_LENGTH + 1])
{
	struct buf text = { 0 };
	for (size_t i = 0; i < conf->n_endpoints; i++) {
		const struct conf_endpoint *e = &conf->endpoints[i];
		buf_printf(&text, "%s\n%s\n%s\n%d\n", e->url ? e->url : "", e->key ? e->key : "",
		           conf->served_name ? conf->served_name : conf->name, e->concurrency > 0 ? e->concurrency : conf->concurrency);
	}
	digest(text.failed ? (sl_str){ 0 } : (sl_str){ text.data ? text.data : "", text.len }, out);
	if (text.data)
		explicit_bzero(text.data, text.len);
	buf_free(&text);
}

/* Static endpoints are ready at once. When one of them changed all are made anew: those that run on the old ones end
 * on the old ones, which are counted. */
static void set_endpoints(struct fleet_model *model, const struct conf_model *conf)
{
	char text[FLEET_DEFINITION_LENGTH + 1];
	describe_endpoints(conf, text);
	if (strcmp(text, model->endpoints_text) == 0)
		return;
	drop_endpoints(model);
	if (conf->n_endpoints && !(model->endpoints = calloc(conf->n_endpoints, sizeof *model->endpoints))) {
		log_error("model %s: out of memory for its endpoints", model->name);
		return;
	}
	for (size_t i = 0; i < conf->n_endpoints; i++) {
		const struct conf_endpoint *e = &conf->endpoints[i];
		struct endpoint *endpoint = &model->endpoints[model->n_endpoints++];
		snprintf(endpoint->name, sizeof endpoint->name, "%.48s/e%u", model->name, (unsigned) (i + 1) % 100000);
		endpoint->route = route_replica_add(model->route, endpoint->name, &e->address, e->key,
		                                    conf->served_name ? conf->served_name : conf->name,
		                                    e->concurrency > 0 ? e->concurrency : conf->concurrency, ROUTE_READY,
		                                    fleet_now_ms() * 1000);
		if (!endpoint->route)
			log_error("model %s: no room for endpoint %s", model->name, e->url ? e->url : "");
	}
	str_copy(model->endpoints_text, sizeof model->endpoints_text, str_of(text));
}

/* The routing table's copy of what may change without a restart. Requests under way end on the old entry. */
static void renew_route(struct fleet_model *model)
{
	for (struct replica *r = model->replicas; r; r = r->next) {
		if (!r->route || r->state > FLEET_READY || r->route->concurrency == model->concurrency)
			continue;
		struct route_replica *renewed = route_replica_add(model->route, r->name, &r->address, NULL, r->route->served_name,
		                                                  model->concurrency,
		                                                  r->state == FLEET_READY ? ROUTE_READY : ROUTE_STARTING,
		                                                  fleet_now_ms() * 1000);
		if (!renewed)
			continue;
		route_replica_remove(r->route);
		r->route = renewed;
	}
}

static void set_model(struct fleet *fleet, struct fleet_model *model, const struct conf_model *conf)
{
	model->declared = true;
	const struct conf_engine *engine = conf_engine(fleet->conf, str_of(conf->engine));
	model->can_start = engine && engine->can_start && conf->replicas_max > 0;
	str_copy(model->health_path, sizeof model->health_path,
	         str_of(engine && engine->health_path ? engine->health_path : "/health"));
	str_copy(model->served_name, sizeof model->served_name, str_of(conf->served_name ? conf->served_name : conf->name));
	model->concurrency = conf->concurrency;
	model->idle_ms = (uint64_t) conf->idle_ms;
	model->start_ms = (uint64_t) conf->start_ms;
	model->drain_ms = (uint64_t) conf->drain_ms;
	static const enum route_rule rules[] = { [CONF_ROUTE_COST] = ROUTE_COST, [CONF_ROUTE_LEAST_LOAD] = ROUTE_LEAST_LOAD,
		[CONF_ROUTE_ROUND_ROBIN] = ROUTE_ROUND_ROBIN, [CONF_ROUTE_PREFIX] = ROUTE_PREFIX };
	struct route_tuning tuning = { .rule = rules[conf->route], .waiting_max = conf->waiting_max, .cache_tokens = conf->cache_tokens,
		.index_entries = (uint32_t) conf->index_blocks };
	if (engine)
		tuning.step = (struct cost_step){ engine->step.base, engine->step.prefill, engine->step.quadratic, engine->step.sequence,
			engine->step.context };
	if (!route_model_tune(model->route, &tuning))
		log_error("model %s: out of memory for a prefix index of %d blocks: it has none", model->name, conf->index_blocks);
	set_endpoints(model, conf);
	renew_route(model);
	char definition[FLEET_DEFINITION_LENGTH + 1] = "";
	sl_error error = { 0 };
	if (model->can_start && define(fleet, conf, definition, &error) != SL_OK)
		log_warn("model %s: %s", model->name, error.text);
	if (strcmp(definition, model->definition) == 0)
		return;
	if (model->definition[0])
		log_info("model %s: its definition has changed, replicas are replaced", model->name);
	str_copy(model->definition, sizeof model->definition, str_of(definition));
	/* What failed under the old definition may work under this one. */
	model->mind.failures = 0;
	model->mind.retry_ms = 0;
	fleet_failure_set(fleet, model, "", 0, "");
}

void fleet_models_configure(struct fleet *fleet)
{
	for (struct fleet_model *model = fleet->models; model; model = model->next)
		model->declared = false;
	for (size_t i = 0; i < fleet->conf->n_models; i++) {
		const struct conf_model *conf = &fleet->conf->models[i];
		struct fleet_model *model = fleet_model_find(fleet, str_of(conf->name));
		if (!model && !(model = fleet_model_add(fleet, str_of(conf->name)))) {
			log_error("model %s: out of memory", conf->name);
			continue;
		}
		set_model(fleet, model, conf);
	}
	for (struct fleet_model *model = fleet->models; model; model = model->next) {
		if (model->declared)
			continue;
		model->can_start = false;
		drop_endpoints(model);
	}
}

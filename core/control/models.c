/* SPDX-License-Identifier: Apache-2.0 */
/* models.c - models and their replicas. */
#include <stdio.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/str.h"
#include "core/control/inner.h"

static json_t *without(json_t *list, const char *field)
{
	json_t *one;
	size_t i;
	json_array_foreach(list, i, one)
		json_object_set_new(one, field, json_null());
	return list;
}

void control_models(struct call *call)
{
	json_t *models = fleet_models(call->control->fleet);
	if (call->who.roles == SL_ROLE_INFER)
		models = without(models, "endpoints");
	call_json(call, 200, call_is_operator(call) ? models : without(models, "why"));
}

/* What an engine wrote last may hold a caller's words, and its address needs no key: both are for operators. */
void control_replicas(struct call *call)
{
	json_t *replicas = fleet_replicas(call->control->fleet);
	call_json(call, 200, call_is_operator(call) ? replicas : without(without(replicas, "address"), "why"));
}

static void change(struct call *call, int (*act)(struct fleet *, const char *, sl_error *))
{
	char name[2 * SL_NAME_MAX];
	sl_error error = { 0 };
	snprintf(name, sizeof name, "%.*s%s%.*s", STR_ARG(call->params[0]), call->params[1].ptr ? "/" : "", STR_ARG(call->params[1]));
	const struct conf_model *conf = conf_model(call->control->conf, str_of(name));
	if (!conf) {
		call_fail(call, 404, "unknown_model", NULL, "sluicectl models", "there is no model '%s'", name);
		return;
	}
	if (act(call->control->fleet, conf->name, &error) != SL_OK) {
		call_fail_error(call, &error);
		return;
	}
	json_t *models = fleet_models(call->control->fleet), *model, *found = NULL;
	size_t i;
	json_array_foreach(models, i, model)
		if (strcmp(json_get_str(model, "model", ""), conf->name) == 0)
			found = json_incref(model);
	json_decref(models);
	call_json(call, 202, found ? found : json_object());
}

void control_model_start(struct call *call)
{
	change(call, fleet_start);
}

void control_model_stop(struct call *call)
{
	change(call, fleet_stop);
}

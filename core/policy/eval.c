/* SPDX-License-Identifier: Apache-2.0 */
/* eval.c - one decision with the lines that made it, for sluicectl policy eval. */
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/policy/internal.h"

enum { REPLICAS_MAX = 64 };

struct eval {
	sl_identity identity;
	struct policy_request request;
	struct policy_admission admission;
	struct policy_routing routing;
	struct policy_replica replicas[REPLICAS_MAX];
	size_t n_replicas;
};

static bool only_fields(const json_t *object, const char *what, const char *const *names, sl_error *error)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *) object, key, value) {
		bool known = false;
		for (int i = 0; names[i]; i++)
			known = known || strcmp(names[i], key) == 0;
		if (known)
			continue;
		const char *near = str_nearest(str_of(key), names);
		error_set(error, SL_EINVAL, "%s has no field '%.60s'%s%s%s", what, key, near ? ": did you mean '" : "", near ? near : "",
		          near ? "'?" : "");
		return false;
	}
	return true;
}

static bool known_fields(const json_t *request, sl_error *error)
{
	static const char *const names[] = { "tenant", "tier", "key", "user", "model", "door", "peer", "stream", "prompt_bytes",
		"prompt_tokens", "max_output", "n", "prompts", "time", "replicas", "lease", NULL };
	static const char *const of_lease[] = { "name", "queue", "kind", "program", "gpus", "memory_bytes", "limit_s", "priority",
		"detach", NULL };
	return only_fields(request, "a request", names, error) &&
	       only_fields(json_object_get(request, "lease"), "a lease", of_lease, error);
}

static int read_request(const struct conf *conf, const json_t *r, struct eval *e, sl_error *error)
{
	if (!json_is_object(r))
		return error_set(error, SL_EINVAL, "the request must be a JSON object");
	if (!known_fields(r, error))
		return SL_EINVAL;
	sl_identity *who = &e->identity;
	who->size = sizeof *who;
	who->roles = SL_ROLE_INFER;
	str_copy(who->tenant, sizeof who->tenant, str_of(json_get_str(r, "tenant", "default")));
	str_copy(who->user, sizeof who->user, str_of(json_get_str(r, "user", "")));
	str_copy(who->key, sizeof who->key, str_of(json_get_str(r, "key", "")));
	const struct conf_tenant *tenant = conf_tenant(conf, str_of(who->tenant));
	const char *tier = json_get_str(r, "tier", tenant ? tenant->tier : "default");
	e->request.tier = conf_tier(conf, str_of(tier));
	if (!e->request.tier)
		return error_set(error, SL_ENOTFOUND, "tier '%.60s' is not declared", tier);
	str_copy(who->tier, sizeof who->tier, str_of(tier));
	e->request.identity = who;
	e->request.model_name = str_of(json_get_str(r, "model", ""));
	e->request.model = conf_model(conf, e->request.model_name);
	e->request.door = str_of(json_get_str(r, "door", "chat"));
	e->request.peer = str_of(json_get_str(r, "peer", "127.0.0.1"));
	e->request.stream = json_get_bool(r, "stream", false);
	e->request.prompt_tokens = json_get_int(r, "prompt_tokens", 10);
	e->request.prompt_bytes = json_get_int(r, "prompt_bytes", 4 * e->request.prompt_tokens);
	e->request.max_output = json_get_int(r, "max_output", -1);
	e->request.n = json_get_int(r, "n", 1);
	e->request.prompts = json_get_int(r, "prompts", 1);
	e->request.wall_ms = (uint64_t) json_get_int(r, "time", (int64_t) (clock_wall_ms() / 1000)) * 1000;
	size_t i;
	json_t *item;
	json_array_foreach(json_object_get(r, "replicas"), i, item) {
		if (i < REPLICAS_MAX)
			e->replicas[e->n_replicas++] = (struct policy_replica){ json_get_str(item, "name", "?"),
				json_get_str(item, "state", "ready"), (int) json_get_int(item, "running", 0),
				(int) json_get_int(item, "waiting", 0), (int) json_get_int(item, "concurrency", 8) };
	}
	return SL_OK;
}

static json_t *denial_json(const struct policy_denial *denial)
{
	json_t *o = json_object();
	json_object_set_new(o, "status", json_integer(denial->status));
	json_set_str(o, "code", str_of(denial->code));
	json_set_str(o, "message", str_of(denial->message));
	return o;
}

static json_t *admission_json(const struct policy_admission *a, const char *where)
{
	static const char *const metrics[] = { "?", "requests", "tokens", "input_tokens", "output_tokens", "concurrency", "cost" };
	static const char *const windows[] = { "none", "sliding", "day", "month", "total" };
	json_t *o = json_object(), *limits;
	json_set_str(o, "where", str_of(a->where[0] ? a->where : where));
	json_object_set_new(o, "allowed", json_boolean(a->verdict == POLICY_ALLOW));
	if (a->verdict == POLICY_DENY) {
		json_object_set_new(o, "denial", denial_json(&a->denial));
		return o;
	}
	limits = json_array();
	for (unsigned i = 0; i < a->n_limits; i++) {
		json_t *limit = json_object();
		json_set_str(limit, "scope", str_of(a->limits[i].scope));
		json_set_str(limit, "name", str_of(a->limits[i].name));
		json_set_str(limit, "metric", str_of(metrics[a->limits[i].metric]));
		json_set_str(limit, "window", str_of(windows[a->limits[i].window]));
		json_object_set_new(limit, "window_ms", json_integer((json_int_t) a->limits[i].window_ms));
		json_object_set_new(limit, "amount", json_integer(a->limits[i].amount));
		json_array_append_new(limits, limit);
	}
	json_object_set_new(o, "limits", limits);
	json_object_set_new(o, "priority", json_integer(a->priority));
	json_object_set_new(o, "max_output", json_integer(a->max_output));
	json_object_set_new(o, "model", a->model[0] ? json_string(a->model) : json_null());
	return o;
}

static json_t *routing_json(const struct eval *e, const char *where)
{
	json_t *o = json_object(), *order = json_array();
	json_set_str(o, "where", str_of(where));
	json_object_set_new(o, "allowed", json_boolean(e->routing.verdict == POLICY_ALLOW));
	if (e->routing.verdict == POLICY_DENY)
		json_object_set_new(o, "denial", denial_json(&e->routing.denial));
	for (unsigned i = 0; i < e->routing.n_order; i++)
		json_array_append_new(order, json_string(e->replicas[e->routing.order[i]].name));
	json_object_set_new(o, "order", order);
	json_object_set_new(o, "model", e->routing.model[0] ? json_string(e->routing.model) : json_null());
	return o;
}

static json_t *terms_json(const struct policy_lease_terms *t, const char *where)
{
	json_t *o = json_object();
	json_set_str(o, "where", str_of(t->where[0] ? t->where : where));
	json_object_set_new(o, "allowed", json_boolean(t->verdict == POLICY_ALLOW));
	if (t->verdict == POLICY_DENY) {
		json_object_set_new(o, "denial", denial_json(&t->denial));
		return o;
	}
	json_set_str(o, "queue", str_of(t->queue));
	json_object_set_new(o, "priority", json_integer(t->priority));
	json_object_set_new(o, "limit_s", t->limit_ms ? json_integer((json_int_t) (t->limit_ms / 1000)) : json_null());
	return o;
}

/* A request for a lease. NULL: *error. */
static json_t *eval_lease(struct policy *p, const struct eval *e, const json_t *lease, sl_error *error)
{
	const struct conf_tenant *tenant = conf_tenant(p->conf, str_of(e->identity.tenant));
	const char *queue = tenant && tenant->n_queues ? tenant->queues[0] : "default";
	int64_t gpus = json_get_int(lease, "gpus", 1), memory = json_get_int(lease, "memory_bytes", 0);
	int64_t limit = json_get_int(lease, "limit_s", 0);
	if (gpus < 0 || gpus > UINT32_MAX || memory < 0 || limit < 0 || limit > INT32_MAX) {
		error_set(error, SL_EINVAL, "lease: gpus, memory_bytes and limit_s must not be below 0");
		return NULL;
	}
	struct policy_lease_request r = { .name = json_get_str(lease, "name", "job"), .tenant = e->identity.tenant,
		.user = e->identity.user, .tier = e->identity.tier, .queue = json_get_str(lease, "queue", queue),
		.kind = json_get_str(lease, "kind", NULL), .program = json_get_str(lease, "program", NULL), .gpus = (uint32_t) gpus,
		.memory_bytes = (uint64_t) memory, .limit_ms = (uint64_t) limit * 1000, .priority = (int) json_get_int(lease, "priority", 0),
		.detach = json_get_bool(lease, "detach", false), .wall_ms = e->request.wall_ms };
	struct policy_lease_terms terms;
	sandbox_trace(p->sandbox, p->shown);
	if (policy_lease(p, &r, &terms, error) != SL_OK)
		return NULL;
	json_t *answer = json_object();
	json_object_set_new(answer, "lease", terms_json(&terms, sandbox_returned_at(p->sandbox)));
	return answer;
}

json_t *policy_eval(struct conf *conf, const char *file, const json_t *request, sl_error *error)
{
	struct eval *e = calloc(1, sizeof *e);
	struct policy *p = NULL;
	json_t *answer = NULL;
	if (!e || read_request(conf, request, e, error) != SL_OK)
		goto done;
	p = file ? policy_open_file(conf, file, error) : policy_open(conf, false, error);
	if (!p)
		goto done;
	if (json_object_get(request, "lease")) {
		answer = eval_lease(p, e, json_object_get(request, "lease"), error);
		goto done;
	}
	sandbox_trace(p->sandbox, p->shown);
	if (policy_admit(p, &e->request, &e->admission, error) != SL_OK)
		goto done;
	answer = json_object();
	json_object_set_new(answer, "admit", admission_json(&e->admission, sandbox_returned_at(p->sandbox)));
	if (e->admission.model[0])
		e->request.model = conf_model(conf, str_of(e->admission.model));
	if (e->admission.verdict == POLICY_ALLOW && e->request.model && policy_has_route(p)) {
		sandbox_trace(p->sandbox, p->shown);
		if (policy_route(p, &e->request, e->replicas, e->n_replicas, &e->routing, error) == SL_OK) {
			json_object_set_new(answer, "route", routing_json(e, sandbox_returned_at(p->sandbox)));
		} else {
			json_decref(answer);
			answer = NULL;
		}
	}
done:
	policy_close(p);
	free(e);
	return answer;
}

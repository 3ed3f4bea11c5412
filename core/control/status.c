/* SPDX-License-Identifier: Apache-2.0 */
/* status.c - are we well: for probes, for Prometheus and for people. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/metrics.h"
#include "core/base/str.h"
#include "core/control/inner.h"
#include "core/ledger/bill.h"

void control_healthz(struct call *call)
{
	call_text(call, 200, "text/plain", STR("ok\n"));
}

void control_readyz(struct call *call)
{
	struct control *control = call->control;
	char why[NOT_READY_MAX] = "", text[NOT_READY_MAX + 32];
	if (control->callbacks.ready(control->arg, why, sizeof why)) {
		call_text(call, 200, "text/plain", STR("ready\n"));
		return;
	}
	snprintf(text, sizeof text, "not ready: %s\n", why);
	call_text(call, 503, "text/plain", str_of(text));
}

static void set_model_gauges(struct control *control)
{
	json_t *models = fleet_models(control->fleet), *model;
	size_t i;
	json_array_foreach(models, i, model) {
		const char *name = json_get_str(model, "model", "");
		metrics_set(metrics_gauge("sluice_model_replicas", "Replicas that serve or are about to.", "model", name),
		            json_get_int(model, "replicas", 0));
		metrics_set(metrics_gauge("sluice_model_running", "Requests under way.", "model", name),
		            json_get_int(model, "running", 0));
		metrics_set(metrics_gauge("sluice_model_waiting", "Requests that wait for a replica.", "model", name),
		            json_get_int(model, "waiting", 0));
	}
	json_decref(models);
}

static void set_gauges(struct control *control)
{
	struct pool_totals t;
	pool_totals(control->pool, &t);
	const struct {
		const char *state;
		unsigned n;
	} devices[] = { { "leased", t.leased }, { "free", t.free }, { "faulty", t.faulty }, { "draining", t.draining },
	              { "unknown", t.unknown }, { "held", t.held } },
	  leases[] = { { "running", t.running }, { "waiting", t.waiting } };
	for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
		metrics_set(metrics_gauge("sluice_devices", "Devices of the pool.", "state", devices[i].state), devices[i].n);
	for (size_t i = 0; i < sizeof leases / sizeof *leases; i++)
		metrics_set(metrics_gauge("sluice_leases", "Open leases.", "state", leases[i].state), leases[i].n);
	set_model_gauges(control);
	static const struct {
		enum quota_metric metric;
		const char *name;
	} reserved[] = { { QUOTA_TOKENS, "tokens" }, { QUOTA_INPUT_TOKENS, "input_tokens" }, { QUOTA_OUTPUT_TOKENS, "output_tokens" },
			 { QUOTA_CONCURRENCY, "requests" }, { QUOTA_COST, "cost" } };
	for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
		metrics_set(metrics_gauge("sluice_reserved", "What requests under way, and leases of money, have reserved of limits: 0 at rest.", "metric",
		                          reserved[i].name), quota_reserved(control->quota, reserved[i].metric));
	char why[NOT_READY_MAX];
	metrics_set(metrics_gauge("sluice_ready", "1: takes requests, 0: starting, draining, or the ledger takes no records.", ""),
	            control->callbacks.ready(control->arg, why, sizeof why));
}

void control_metrics(struct call *call)
{
	struct buf out = { .max = 64 * 1024 * 1024 };
	set_gauges(call->control);
	metrics_write(&out);
	if (out.failed)
		call_fail(call, 503, "out_of_memory", NULL, NULL, "out of memory");
	else
		call_text(call, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&out));
	buf_free(&out);
}

/* today's sums, while they are asked for */
struct today {
	sl_bill_filter filter;
	char tenant[SL_NAME_MAX];
	sl_bill_sum sum;
};

static int keep_sum(void *arg, const sl_bill_sum *sum)
{
	((struct today *) arg)->sum = *sum;
	return 0;
}

static int ask_today(void *data, const sl_store_ops *store, void *store_self, sl_error *error)
{
	struct today *today = data;
	return ledger_bill(store, store_self, &today->filter, 0, keep_sum, today, error);
}

static void need(json_t *list, const char *command, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void need(json_t *list, const char *command, const char *format, ...)
{
	char text[512];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	json_t *entry = json_object();
	json_set_str(entry, "text", str_of(text));
	json_set_str(entry, "command", str_of(command));
	json_array_append_new(list, entry);
}

static void needs_of_devices(struct control *control, json_t *list)
{
	json_t *devices = pool_devices(control->pool), *device;
	size_t i;
	json_array_foreach(devices, i, device) {
		const char *state = json_get_str(device, "state", "");
		if (strcmp(state, "faulty") == 0 || strcmp(state, "draining") == 0)
			need(list, "sluicectl devices", "%s is %s: %s", json_get_str(device, "device", "a device"), state,
			     json_get_str(device, "reason", "no reason given"));
	}
	json_decref(devices);
}

static json_t *needs(struct control *control, const json_t *models)
{
	json_t *list = json_array(), *model, *agent;
	size_t i;
	if (!ledger_accepting(control->ledger))
		need(list, "sluicectl ledger", "the ledger takes no records: new work is refused");
	json_array_foreach(models, i, model)
		if (strcmp(json_get_str(model, "state", ""), "failed") == 0)
			need(list, "sluicectl replicas", "model %s %s", json_get_str(model, "model", ""),
			     json_get_str(model, "why", "cannot be started"));
	needs_of_devices(control, list);
	json_t *agents = pool_agents(control->pool);
	json_array_foreach(agents, i, agent)
		if (strcmp(json_get_str(agent, "state", ""), "away") == 0)
			need(list, "systemctl status sluice-agent", "the agent %s is away: %s; %s", json_get_str(agent, "machine", ""),
			     json_get_str(agent, "why", ""), json_get_str(agent, "remedy", ""));
	json_decref(agents);
	return list;
}

static int count_state(const json_t *models, const char *state)
{
	int n = 0;
	size_t i;
	json_t *model;
	json_array_foreach((json_t *) models, i, model)
		n += strcmp(json_get_str(model, "state", ""), state) == 0;
	return n;
}

static json_t *time_json(uint64_t wall_ms)
{
	char text[32];
	clock_rfc3339(wall_ms, text);
	return json_string(text);
}

static json_t *about_pool(struct control *control)
{
	struct pool_totals t;
	pool_totals(control->pool, &t);
	return json_pack("{s:{s:i, s:i, s:i, s:i, s:i, s:i, s:i}, s:{s:i, s:i, s:I}}", "gpus", "total", (int) t.devices,
	                 "leased", (int) t.leased, "free", (int) t.free, "faulty", (int) t.faulty, "draining", (int) t.draining,
	                 "unknown", (int) t.unknown, "held", (int) t.held, "leases", "running", (int) t.running, "waiting",
	                 (int) t.waiting, "longest_wait_s", (json_int_t) (t.longest_wait_ms / 1000));
}

/* What the parts say goes into one object. */
static void merge(json_t *out, json_t *part)
{
	if (part)
		json_object_update(out, part);
	json_decref(part);
}

static void answer(struct call *call, const sl_bill_sum *today)
{
	struct control *control = call->control;
	const struct conf *conf = control->conf;
	char why[NOT_READY_MAX] = "";
	bool ready = control->callbacks.ready(control->arg, why, sizeof why);
	json_t *models = fleet_models(control->fleet), *needs_you = needs(control, models);
	const char *state = !ready ? "not ready" : json_array_size(needs_you) ? "needs you" : "ok";
	json_t *out = json_pack("{s:s, s:o, s:I, s:s, s:o, s:b, s:s?, s:s, s:s}", "version", PACKAGE_VERSION, "started_at",
	                        time_json(control->started_wall_ms), "up_s",
	                        (json_int_t) ((control_now_ms() - control->started_ms) / 1000), "config", conf->id, "config_at",
	                        time_json(control->config_wall_ms), "ready", ready, "not_ready", ready ? NULL : why, "state", state, "durability",
	                        conf->durable ? "held" : "async");
	merge(out, about_pool(control));
	merge(out, json_pack("{s:{s:i, s:i, s:i, s:i}}", "models", "ready", count_state(models, "ready"), "starting",
	                     count_state(models, "starting"), "none", count_state(models, "none"), "failed",
	                     count_state(models, "failed")));
	merge(out, control->callbacks.gateway_status(control->arg));
	json_object_set_new(out, "today", today ? ledger_sum_json(today) : json_null());
	json_object_set_new(out, "currency", json_string(conf->currency));
	json_object_set_new(out, "agents", pool_agents(control->pool));
	json_object_set_new(out, "needs_you", needs_you);
	json_decref(models);
	call_json(call, 200, out);
}

static void answer_today(struct call *call, int code, const sl_error *error)
{
	struct today *today = call->data;
	(void) error;
	answer(call, code == SL_OK ? &today->sum : NULL);
}

/* A store that is ill must not keep anybody from seeing that. */
static void answer_without(struct call *call)
{
	answer(call, NULL);
}

void control_status(struct call *call)
{
	struct today *today = calloc(1, sizeof *today);
	uint64_t now = clock_wall_ms();
	/* One who belongs to no tenant has no use of its own to see. */
	if (!today || (!call_is_operator(call) && !call->who.tenant[0])) {
		free(today);
		answer(call, NULL);
		return;
	}
	today->filter.size = sizeof today->filter;
	today->filter.since_ms = now - now % 86400000;
	if (!call_is_operator(call))
		str_copy(today->tenant, sizeof today->tenant, str_of(call->who.tenant));
	today->filter.tenant = str_of(today->tenant);
	call->data = today;
	call->free_data = free;
	call_deadline(call, STATUS_TIMEOUT_MS, answer_without);
	if (!call_ask(call, ask_today, answer_today))
		answer(call, NULL);
}

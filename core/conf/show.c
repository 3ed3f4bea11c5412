/* SPDX-License-Identifier: Apache-2.0 */
/* show.c - a snapshot as JSON, and the example file. */
#include <stdio.h>
#include <string.h>
#include <sluice/plugin.h>

#include "core/base/json.h"
#include "core/base/money.h"
#include "core/conf/internal.h"

static void set_text(json_t *object, const char *key, const char *text)
{
	if (text)
		json_set_str(object, key, str_of(text));
}

static void set_int(json_t *object, const char *key, int64_t value)
{
	json_object_set_new(object, key, json_integer(value));
}

static json_t *strings(const char **list, size_t n)
{
	json_t *array = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(array, json_string(list[i]));
	return array;
}

static json_t *place_json(struct conf_place place)
{
	char text[512];
	if (!place.file)
		return json_null();
	snprintf(text, sizeof text, "%s:%d", place.file, place.line);
	return json_string(text);
}

static json_t *address_json(const struct http_address *address)
{
	char text[512];
	http_address_text(address, text, sizeof text);
	return json_string(text);
}

static json_t *decimal(int64_t micro)
{
	char text[40];
	int n = snprintf(text, sizeof text, "%lld.%06lld", (long long) (micro / 1000000), (long long) (micro % 1000000));
	while (n > 0 && text[n - 1] == '0' && text[n - 3] != '.')
		text[--n] = '\0';
	return json_string(text);
}

static json_t *model_json(const struct conf_model *m)
{
	json_t *o = json_object(), *endpoints = json_array(), *price = json_object();
	set_text(o, "name", m->name);
	json_object_set_new(o, "aliases", strings(m->aliases, m->n_aliases));
	set_text(o, "engine", m->engine);
	set_text(o, "served_name", m->served_name);
	set_text(o, "weights", m->weights);
	json_object_set(o, "options", m->options);
	for (size_t i = 0; i < m->n_endpoints; i++) {
		json_t *e = json_object();
		set_text(e, "url", m->endpoints[i].url);
		json_object_set_new(e, "has_key", json_boolean(m->endpoints[i].key));
		set_int(e, "concurrency", m->endpoints[i].concurrency);
		json_array_append_new(endpoints, e);
	}
	json_object_set_new(o, "endpoints", endpoints);
	set_int(o, "gpus", m->gpus);
	set_text(o, "gpu_kind", m->gpu_kind);
	set_int(o, "gpu_memory_bytes", m->gpu_memory);
	set_text(o, "queue", m->queue);
	set_int(o, "replicas_min", m->replicas_min);
	set_int(o, "replicas_max", m->replicas_max);
	set_int(o, "concurrency", m->concurrency);
	set_int(o, "waiting", m->waiting_max);
	set_int(o, "wait_ms", m->wait_ms);
	static const char *const routes[] = { [CONF_ROUTE_COST] = "cost", [CONF_ROUTE_LEAST_LOAD] = "least_load",
		[CONF_ROUTE_ROUND_ROBIN] = "round_robin", [CONF_ROUTE_PREFIX] = "prefix" };
	set_text(o, "route", routes[m->route]);
	set_int(o, "index", m->index_blocks);
	set_int(o, "cache", m->cache_tokens);
	set_int(o, "idle_ms", m->idle_ms);
	set_int(o, "start_ms", m->start_ms);
	set_int(o, "drain_ms", m->drain_ms);
	set_int(o, "first_byte_ms", m->first_byte_ms);
	set_int(o, "silence_ms", m->silence_ms);
	set_int(o, "max_output", m->max_output);
	set_int(o, "context", m->context);
	json_object_set_new(price, "input", decimal(m->price.input));
	json_object_set_new(price, "cached", decimal(m->price.cached));
	json_object_set_new(price, "output", decimal(m->price.output));
	json_object_set_new(o, "price", price);
	json_object_set_new(o, "place", place_json(m->place));
	return o;
}

static json_t *tier_json(const struct conf_tier *t)
{
	json_t *o = json_object(), *limits = json_array();
	set_text(o, "name", t->name);
	for (size_t i = 0; i < t->n_limits; i++) {
		json_t *limit = json_object();
		set_text(limit, "name", t->limits[i].name);
		set_text(limit, "scope", t->limits[i].scope);
		set_int(limit, "amount", t->limits[i].amount);
		set_int(limit, "warn", t->limits[i].warn);
		json_array_append_new(limits, limit);
	}
	json_object_set_new(o, "limits", limits);
	set_int(o, "priority", t->priority);
	set_int(o, "weight", t->weight);
	json_object_set_new(o, "models", t->models ? strings(t->models, t->n_models) : json_null());
	set_int(o, "max_output", t->max_output);
	json_object_set_new(o, "place", place_json(t->place));
	return o;
}

static json_t *tenant_json(const struct conf_tenant *t)
{
	json_t *o = json_object();
	set_text(o, "name", t->name);
	set_text(o, "tier", t->tier);
	json_object_set_new(o, "users", strings(t->users, t->n_users));
	json_object_set_new(o, "queues", strings(t->queues, t->n_queues));
	json_object_set_new(o, "operators", json_boolean(t->operators));
	json_object_set_new(o, "place", place_json(t->place));
	return o;
}

static json_t *queue_json(const struct conf_queue *q)
{
	json_t *o = json_object();
	set_text(o, "name", q->name);
	set_int(o, "gpus", q->gpus);
	set_int(o, "borrow", q->borrow);
	set_int(o, "lend", q->lend);
	json_object_set_new(o, "cohort", q->cohort ? json_string(q->cohort) : json_null());
	set_int(o, "weight", q->weight);
	set_int(o, "per_user", q->per_user);
	set_int(o, "min_run_ms", q->min_run_ms);
	json_object_set_new(o, "preemptible", json_boolean(q->preemptible));
	json_object_set_new(o, "reclaim", json_boolean(q->reclaim));
	json_object_set_new(o, "preempt", json_boolean(q->preempt));
	set_int(o, "priority", q->priority);
	set_int(o, "time_ms", q->time_default_ms);
	set_int(o, "time_max_ms", q->time_max_ms);
	json_object_set_new(o, "place", place_json(q->place));
	return o;
}

static json_t *cohort_json(const struct conf_cohort *c)
{
	json_t *o = json_object();
	set_text(o, "name", c->name);
	json_object_set_new(o, "parent", c->parent ? json_string(c->parent) : json_null());
	set_int(o, "gpus", c->gpus);
	set_int(o, "borrow", c->borrow);
	set_int(o, "lend", c->lend);
	json_object_set_new(o, "place", place_json(c->place));
	return o;
}

static json_t *kind_json(const struct conf_kind *k)
{
	char second[MONEY_TEXT_MAX];
	json_t *o = json_object();
	set_text(o, "name", k->name);
	json_object_set_new(o, "gpu_hour", decimal(k->gpu_hour));
	money_text(k->gpu_second, 12, second);
	set_text(o, "gpu_second", second);
	json_object_set_new(o, "place", place_json(k->place));
	return o;
}

/* Names only: which options of a plugin are secret is known to the plugin alone. */
static json_t *plugin_json(const struct conf_plugin *p)
{
	json_t *o = json_object(), *names = json_array();
	const char *key;
	json_t *value;
	set_text(o, "kind", p->kind);
	set_text(o, "name", p->name);
	json_object_foreach(p->options, key, value)
		json_array_append_new(names, json_string(key));
	json_object_set_new(o, "options", names);
	json_object_set_new(o, "optional", json_boolean(p->optional));
	json_object_set_new(o, "place", place_json(p->place));
	return o;
}

static json_t *page_json(const struct conf_page *p)
{
	json_t *o = json_object();
	json_object_set_new(o, "listen", p->listen ? address_json(p->listen) : json_null());
	set_text(o, "origin", p->origin);
	set_text(o, "folder", p->folder);
	set_int(o, "session_ms", p->session_ms);
	set_int(o, "idle_ms", p->idle_ms);
	set_int(o, "sessions", p->sessions_max);
	set_int(o, "streams", p->streams_max);
	return o;
}

static void settings_json(json_t *o, const struct conf *c)
{
	static const char *const levels[] = { "error", "warn", "info", "debug" };
	json_t *listen = json_array();
	for (size_t i = 0; i < c->n_listen; i++)
		json_array_append_new(listen, address_json(&c->listen[i]));
	json_object_set_new(o, "listen", listen);
	set_text(o, "control", c->control);
	json_object_set_new(o, "metrics", c->metrics ? address_json(c->metrics) : json_null());
	json_object_set_new(o, "page", page_json(&c->page));
	set_text(o, "state", c->state);
	set_text(o, "agent", c->agent);
	json_object_set_new(o, "start_agent", json_boolean(c->start_agent));
	set_int(o, "workers", c->workers);
	set_text(o, "durability", c->durable ? "held" : "async");
	set_int(o, "commit_gap_us", c->commit_gap_us);
	set_text(o, "policy", c->policy);
	set_text(o, "on_policy_error", c->policy_fail_open ? "default" : "deny");
	set_int(o, "policy_instructions", c->policy_instructions);
	set_int(o, "policy_memory_bytes", c->policy_memory);
	set_text(o, "currency", c->currency);
	set_text(o, "organisation", c->organisation);
	set_int(o, "drain_ms", c->drain_ms);
	set_int(o, "body_max_bytes", (int64_t) c->body_max);
	set_int(o, "connections_max", c->connections_max);
	set_int(o, "header_ms", c->header_ms);
	set_int(o, "body_ms", c->body_ms);
	set_int(o, "idle_ms", c->idle_ms);
	set_int(o, "write_ms", c->write_ms);
	set_int(o, "output_wait_ms", c->output_wait_ms);
	json_object_set_new(o, "retry_ratio", json_real(c->retry_ratio));
	set_text(o, "log_level", levels[c->log_level & 3]);
	json_object_set_new(o, "log_requests", json_boolean(c->log_requests));
	set_int(o, "journal_bytes", c->journal_bytes);
	set_int(o, "keep_ms", c->keep_ms);
	set_int(o, "charge_every_ms", c->charge_ms);
}

json_t *conf_json(const struct conf *c)
{
	json_t *o = json_object();
	json_t *models = json_array(), *tiers = json_array(), *tenants = json_array(), *queues = json_array();
	json_t *cohorts = json_array(), *kinds = json_array(), *plugins = json_array();
	set_text(o, "id", c->id);
	json_object_set_new(o, "file", c->file ? json_string(c->file) : json_null());
	settings_json(o, c);
	for (size_t i = 0; i < c->n_models; i++)
		json_array_append_new(models, model_json(&c->models[i]));
	for (size_t i = 0; i < c->n_tiers; i++)
		json_array_append_new(tiers, tier_json(&c->tiers[i]));
	for (size_t i = 0; i < c->n_tenants; i++)
		json_array_append_new(tenants, tenant_json(&c->tenants[i]));
	for (size_t i = 0; i < c->n_queues; i++)
		json_array_append_new(queues, queue_json(&c->queues[i]));
	for (size_t i = 0; i < c->n_cohorts; i++)
		json_array_append_new(cohorts, cohort_json(&c->cohorts[i]));
	for (size_t i = 0; i < c->n_kinds; i++)
		json_array_append_new(kinds, kind_json(&c->kinds[i]));
	for (size_t i = 0; i < c->n_plugins; i++)
		json_array_append_new(plugins, plugin_json(&c->plugins[i]));
	json_object_set_new(o, "models", models);
	json_object_set_new(o, "tiers", tiers);
	json_object_set_new(o, "tenants", tenants);
	json_object_set_new(o, "queues", queues);
	json_object_set_new(o, "cohorts", cohorts);
	json_object_set_new(o, "kinds", kinds);
	json_object_set_new(o, "plugins", plugins);
	return o;
}

/* A default as it is written: the folders of this build in place of their names. */
static void put_default(struct buf *out, const char *fallback)
{
	static const struct { const char *word, *folder; } folders[] = { { "RUNDIR", SLUICE_RUN_DIR },
		{ "STATEDIR", SLUICE_STATE_DIR }, { "PAGEDIR", SLUICE_PAGE_DIR } };
	for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
		const char *at = strstr(fallback, folders[i].word);
		if (at) {
			buf_put(out, fallback, (size_t) (at - fallback));
			buf_printf(out, "%s%s", folders[i].folder, at + strlen(folders[i].word));
			return;
		}
	}
	buf_puts(out, fallback);
}

static void put_fields(struct buf *out, const char *block)
{
	for (const struct conf_field *f = conf_fields; f->name; f++) {
		if (strcmp(f->block, block) != 0)
			continue;
		buf_printf(out, "--   %s", f->name);
		if (f->fallback) {
			buf_puts(out, " = ");
			put_default(out, f->fallback);
		}
		buf_printf(out, "   %s\n", f->help);
	}
}

void conf_write_example(struct buf *out)
{
	static const char *const blocks[] = { "agent", "policy", "page", "limits", "retry", "log", "journal", "ledger", NULL };
	static const char *const named[] = { "model", "price", "replicas", "endpoint", "tier", "limit", "tenant", "queue", "cohort", "kind",
	                                     NULL };
	buf_puts(out, "-- sluice.lua: what runs here. Lines behind -- are the defaults; see sluice.lua(5).\n\n");
	for (const struct conf_field *f = conf_fields; f->name; f++) {
		if (f->block[0])
			continue;
		buf_printf(out, "-- %s\n-- %s ", f->help, f->name);
		if (f->fallback)
			put_default(out, f->fallback);
		else
			buf_puts(out, "...");
		buf_puts(out, "\n");
	}
	for (int i = 0; blocks[i]; i++) {
		buf_printf(out, "\n-- %s { ... }\n", blocks[i]);
		put_fields(out, blocks[i]);
	}
	buf_puts(out, "\n-- include \"conf.d/*.lua\"   other files, in the order of their names\n"
	              "-- plugin \"scheduler/fifo\" { ... }   a plugin and its options; sluicectl plugin check FILE shows them\n");
	for (int i = 0; named[i]; i++) {
		buf_printf(out, i == 1 || i == 2 || i == 3 || i == 5 ? "\n-- in it, %s:\n" : "\n-- %s \"name\" { ... }\n", named[i]);
		put_fields(out, named[i]);
	}
	buf_puts(out, "\nlisten \"127.0.0.1:8080\"\n");
}

/* SPDX-License-Identifier: Apache-2.0 */
/* check.c - what is left once all files have run: defaults, and whether names lead somewhere. */
#include <stdio.h>
#include <string.h>

#include "core/conf/internal.h"

/* The items of a list as names, for str_nearest. The first member of each is its name. */
static size_t list_names(const struct list *list, const char **names, size_t max)
{
	size_t n = 0;
	for (; n < list->n && n + 1 < max; n++)
		memcpy(&names[n], (const char *) list->items + n * list->size, sizeof names[n]);
	names[n] = NULL;
	return n;
}

static bool has(const struct list *list, const char *name)
{
	for (size_t i = 0; i < list->n; i++) {
		const char *have;
		memcpy(&have, (const char *) list->items + i * list->size, sizeof have);
		if (strcmp(have, name) == 0)
			return true;
	}
	return false;
}

static void must_exist(struct loader *l, const struct list *list, const char *what, const char *name,
                       const struct subject *subject, const char *field)
{
	const char *names[512];
	if (has(list, name))
		return;
	list_names(list, names, sizeof names / sizeof names[0]);
	const char *near = str_nearest(str_of(name), names);
	finding(l, field_place(l, subject, field), "%s '%s' of %s \"%s\" is not declared%s%s%s", what, name, subject->kind,
	        subject->name, near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "");
}

/* A model's name or alias. */
static void model_must_exist(struct loader *l, const char *name, const struct subject *subject)
{
	const struct conf_model *models = l->models.items;
	for (size_t i = 0; i < l->models.n; i++)
		for (size_t j = 0; j < models[i].n_aliases; j++)
			if (strcmp(models[i].aliases[j], name) == 0)
				return;
	must_exist(l, &l->models, "model", name, subject, "models");
}

static void check_tiers(struct loader *l)
{
	if (!has(&l->tiers, "default")) {
		struct conf_tier *tier = list_add(l, &l->tiers);
		if (tier)
			*tier = (struct conf_tier){ .name = "default", .weight = 1 };
	}
	struct conf_tier *tiers = l->tiers.items;
	for (size_t i = 0; i < l->tiers.n; i++) {
		struct subject subject = { "tier", tiers[i].name, tiers[i].place };
		for (size_t j = 0; j < tiers[i].n_models; j++)
			model_must_exist(l, tiers[i].models[j], &subject);
	}
}

static void check_queues(struct loader *l)
{
	if (!has(&l->queues, "default")) {
		struct conf_queue *queue = list_add(l, &l->queues);
		if (queue)
			*queue = (struct conf_queue){ .name = "default", .quota = -1, .borrow = -1, .lend = -1, .weight = 1,
			                              .per_user = -1, .reclaim = true, .preempt = true };
	}
	struct conf_queue *queues = l->queues.items;
	for (size_t i = 0; i < l->queues.n; i++) {
		struct subject subject = { "queue", queues[i].name, queues[i].place };
		if (queues[i].time_max_ms && queues[i].time_default_ms > queues[i].time_max_ms)
			finding(l, field_place(l, &subject, "time"), "queue \"%s\": time is above time_max", queues[i].name);
		if (queues[i].cohort)
			must_exist(l, &l->cohorts, "cohort", queues[i].cohort, &subject, "cohort");
		if (queues[i].lend > queues[i].gpus)
			finding(l, field_place(l, &subject, "lend"), "queue \"%s\": lend is above gpus", queues[i].name);
		if (queues[i].quota < 0)
			continue;
		if (queues[i].gpus || queues[i].borrow >= 0)
			finding(l, field_place(l, &subject, "quota"), "queue \"%s\": quota is short for gpus = %d, borrow = 0: give either",
			        queues[i].name, queues[i].quota);
		queues[i].gpus = queues[i].quota;
		queues[i].borrow = 0;
	}
}

static const struct conf_cohort *parent_of(const struct loader *l, const struct conf_cohort *cohort)
{
	const struct conf_cohort *cohorts = l->cohorts.items;
	for (size_t i = 0; cohort->parent && i < l->cohorts.n; i++)
		if (strcmp(cohorts[i].name, cohort->parent) == 0)
			return &cohorts[i];
	return NULL;
}

static void check_cohorts(struct loader *l)
{
	struct conf_cohort *cohorts = l->cohorts.items;
	for (size_t i = 0; i < l->cohorts.n; i++) {
		struct subject subject = { "cohort", cohorts[i].name, cohorts[i].place };
		if (cohorts[i].parent)
			must_exist(l, &l->cohorts, "cohort", cohorts[i].parent, &subject, "parent");
		int depth = 0;
		for (const struct conf_cohort *at = parent_of(l, &cohorts[i]); at && depth <= CONF_COHORT_DEPTH; at = parent_of(l, at))
			depth++;
		if (depth > CONF_COHORT_DEPTH)
			finding(l, field_place(l, &subject, "parent"),
			        "cohort \"%s\" has more than %d cohorts above it, or is its own parent", cohorts[i].name, CONF_COHORT_DEPTH);
	}
}

static void check_tenants(struct loader *l)
{
	static const char *default_queues[] = { "default", NULL };
	if (!has(&l->tenants, "default")) {
		struct conf_tenant *tenant = list_add(l, &l->tenants);
		if (tenant)
			*tenant = (struct conf_tenant){ .name = "default", .queues = default_queues, .n_queues = 1 };
	}
	struct conf_tenant *tenants = l->tenants.items;
	for (size_t i = 0; i < l->tenants.n; i++) {
		struct subject subject = { "tenant", tenants[i].name, tenants[i].place };
		if (!tenants[i].tier)
			tenants[i].tier = "default";
		must_exist(l, &l->tiers, "tier", tenants[i].tier, &subject, "tier");
		for (size_t j = 0; j < tenants[i].n_queues; j++)
			must_exist(l, &l->queues, "queue", tenants[i].queues[j], &subject, "queues");
	}
}

static void check_aliases(struct loader *l, const struct conf_model *model, const struct subject *subject)
{
	const struct conf_model *models = l->models.items;
	for (size_t a = 0; a < model->n_aliases; a++) {
		for (const struct conf_model *other = models; other < models + l->models.n; other++) {
			bool taken = strcmp(other->name, model->aliases[a]) == 0;
			for (size_t b = 0; b < other->n_aliases; b++)
				taken = taken || ((other != model ? other < model : b < a) && strcmp(other->aliases[b], model->aliases[a]) == 0);
			if (taken)
				finding(l, field_place(l, subject, "aliases"), "alias '%s' of model \"%s\" is a name of model \"%s\" already",
				        model->aliases[a], model->name, other->name);
		}
	}
}

static const struct conf_engine *engine_of(const struct loader *l, const char *name)
{
	const struct conf_engine *engines = l->engines.items;
	for (size_t i = 0; i < l->engines.n; i++)
		if (strcmp(engines[i].name, name) == 0)
			return &engines[i];
	return NULL;
}

static void check_engine(struct loader *l, const struct conf_model *model, const struct subject *subject)
{
	if (!model->engine) {
		finding(l, subject->place, "model \"%s\" needs an engine (such as engine = \"llamacpp\") or endpoints", model->name);
		return;
	}
	if (!engine_of(l, model->engine))
		engine_load(l, model);
	const struct conf_engine *engine = engine_of(l, model->engine);
	if (engine && !engine->can_start && model->n_endpoints == 0)
		finding(l, field_place(l, subject, "engine"),
		        "model \"%s\": sluice cannot start engine '%s', so it needs endpoints = { \"http://...\" }", model->name,
		        model->engine);
	else if (engine && engine->can_start && model->n_endpoints == 0 && engine_requires_met(l, engine, model))
		engine_try(l, engine, model);
}

static void check_models(struct loader *l)
{
	struct conf_model *models = l->models.items;
	for (size_t i = 0; i < l->models.n; i++) {
		struct conf_model *model = &models[i];
		struct subject subject = { "model", model->name, model->place };
		if (!model->engine && model->n_endpoints)
			model->engine = "openai";
		if (!model->queue)
			model->queue = "default";
		if (model->gpus < 0)
			model->gpus = model->n_endpoints ? 0 : 1;
		if (!model->options)
			model->options = json_object();
		if (model->replicas_min > model->replicas_max)
			finding(l, field_place(l, &subject, "replicas"), "model \"%s\": replicas.min is above replicas.max", model->name);
		if (model->context && model->max_output > model->context)
			finding(l, field_place(l, &subject, "max_output"), "model \"%s\": max_output is above context", model->name);
		must_exist(l, &l->queues, "queue", model->queue, &subject, "queue");
		check_aliases(l, model, &subject);
		check_engine(l, model, &subject);
	}
}

static void add_plugin(struct loader *l, const char *kind, const char *name)
{
	struct conf_plugin *plugin = list_add(l, &l->plugins);
	if (plugin)
		*plugin = (struct conf_plugin){ .kind = kind, .name = name, .options = json_object() };
}

/* What is used where no plugin of a kind is declared, and whom nobody knows any more when others stand in its place. */
static const struct {
	const char *kind, *name, *knows;
} defaults[] = {
	{ "scheduler", "fifo", NULL }, { "auth", "peercred", "local users" }, { "auth", "keys", "API keys" },
	{ "store", "sqlite", NULL }, { "launcher", "exec", NULL },
};
enum { N_DEFAULTS = sizeof defaults / sizeof defaults[0] };

/* By its name, or by the path of its file. */
static bool is_named(const struct conf_plugin *plugin, const char *name)
{
	const char *slash = strrchr(plugin->name, '/'), *file = slash ? slash + 1 : plugin->name;
	size_t len = strlen(name);
	return strncmp(file, name, len) == 0 && (file[len] == '\0' || (slash && strcmp(file + len, ".so") == 0));
}

static void list_more(char *list, size_t room, const char *between, const char *kind, const char *name)
{
	size_t len = strlen(list);
	snprintf(list + len, room - len, "%s%s%s%s", len ? between : "", kind, *kind ? "/" : "", name);
}

/* To declare one plugin of a kind is to leave its defaults out. Where these admit callers, that may lock them all out. */
static void warn_left_out(struct loader *l, const char *kind)
{
	const struct conf_plugin *first = NULL;
	char through[256] = "", knows[128] = "", left_out[128] = "";
	for (size_t i = 0; i < l->plugins.n; i++) {
		const struct conf_plugin *plugin = (struct conf_plugin *) l->plugins.items + i;
		if (strcmp(plugin->kind, kind) != 0)
			continue;
		for (size_t d = 0; d < N_DEFAULTS; d++)
			if (strcmp(defaults[d].kind, kind) == 0 && is_named(plugin, defaults[d].name))
				return;
		first = first ? first : plugin;
		list_more(through, sizeof through, " and ", kind, plugin->name);
	}
	for (size_t d = 0; d < N_DEFAULTS; d++) {
		if (strcmp(defaults[d].kind, kind) != 0)
			continue;
		list_more(knows, sizeof knows, " or ", "", defaults[d].knows);
		list_more(left_out, sizeof left_out, " and ", kind, defaults[d].name);
	}
	if (first)
		warning(l, first->place, "no declared plugin knows %s: nobody gets in but through %s; to admit them too, declare %s "
		        "below", knows, through, left_out);
}

static void check_plugins(struct loader *l)
{
	size_t declared = l->plugins.n;
	warn_left_out(l, "auth");
	for (size_t d = 0; d < N_DEFAULTS; d++) {
		bool some = false;
		for (size_t i = 0; i < declared; i++)
			some = some || strcmp(((struct conf_plugin *) l->plugins.items)[i].kind, defaults[d].kind) == 0;
		if (!some)
			add_plugin(l, defaults[d].kind, defaults[d].name);
	}
}

/* The policy's path is seen from the file's folder; its text is part of the snapshot's id. */
static void check_policy(struct loader *l)
{
	sl_error error = { 0 };
	char path[4096];
	if (!l->conf->policy)
		return;
	if (l->conf->policy[0] != '/') {
		snprintf(path, sizeof path, "%s/%s", l->folder, l->conf->policy);
		l->conf->policy = loader_strdup(l, str_of(path));
	}
	struct source *source = source_read(l, l->conf->policy, l->conf->policy, &error);
	if (!source)
		finding(l, l->policy_place, "policy: %s", error.text);
	else
		l->conf->policy_text = source->text;
}

void check_all(struct loader *l)
{
	if (l->listen.n == 0) {
		struct http_address *address = list_add(l, &l->listen);
		sl_error error = { 0 };
		if (!address || http_address_parse(STR("127.0.0.1:8080"), address, &error) != SL_OK)
			l->failed = true;
	}
	check_cohorts(l);
	check_queues(l);
	check_models(l);
	check_tiers(l);
	check_tenants(l);
	check_plugins(l);
	check_policy(l);
}

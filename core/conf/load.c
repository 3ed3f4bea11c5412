/* SPDX-License-Identifier: Apache-2.0 */
/* load.c - from a file to a snapshot: run it, check it, freeze it. */
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sluice/plugin.h>

#include "core/base/hash.h"
#include "core/conf/internal.h"

enum { SANDBOX_MEMORY = 64 << 20, SANDBOX_INSTRUCTIONS = 20000000 };

struct source *source_read(struct loader *l, const char *path, const char *shown, sl_error *error)
{
	if (l->n_sources == CONF_FILES_MAX) {
		error_set(error, SL_EFULL, "more than %d files", CONF_FILES_MAX);
		return NULL;
	}
	struct buf text = { .max = SANDBOX_FILE_MAX };
	if (sandbox_read_file(path, &text, error) != SL_OK) {
		buf_free(&text);
		return NULL;
	}
	uint8_t digest[32] = { 0 };
	hash_sha256(text.data, text.len, digest);
	buf_put(&l->digests, digest, sizeof digest);
	struct source *source = &l->sources[l->n_sources++];
	source->path = loader_strdup(l, str_of(path));
	source->shown = loader_strdup(l, str_of(shown));
	source->text = (sl_str){ loader_strdup(l, buf_str(&text)), text.len };
	buf_free(&text);
	return source;
}

static struct conf *new_conf(void)
{
	struct arena arena = { 0 };
	struct conf *conf = arena_alloc(&arena, sizeof *conf);
	if (!conf)
		return NULL;
	conf->arena = arena;
	atomic_init(&conf->refs, 1);
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	conf->control = SLUICE_RUN_DIR "/control.sock";
	conf->agent = SLUICE_RUN_DIR "/agent.sock";
	conf->state = SLUICE_STATE_DIR;
	conf->page = (struct conf_page){ .folder = SLUICE_PAGE_DIR, .session_ms = 12 * 3600000, .idle_ms = 3600000,
		.sessions_max = 1000, .streams_max = 64 };
	conf->start_agent = true;
	conf->workers = cores < 1 ? 1 : cores > 256 ? 256 : (int) cores;
	conf->durable = true;
	conf->commit_gap_us = 500;
	conf->policy_instructions = 1000000;
	conf->policy_memory = 8 << 20;
	memcpy(conf->currency, "EUR", 4);
	conf->organisation = "sluice";
	conf->drain_ms = 30000;
	conf->body_max = 32 << 20;
	conf->connections_max = 4096;
	conf->header_ms = 10000;
	conf->body_ms = 60000;
	conf->idle_ms = 75000;
	conf->write_ms = 30000;
	conf->output_wait_ms = 30000;
	conf->retry_ratio = 0.1;
	conf->log_level = SL_LOG_INFO;
	conf->log_requests = true;
	conf->journal_bytes = 16 << 20;
	conf->charge_ms = 3600000;
	return conf;
}

static void prepare(struct loader *l)
{
	l->models = (struct list){ .size = sizeof(struct conf_model), .max = CONF_MODELS_MAX };
	l->tiers = (struct list){ .size = sizeof(struct conf_tier), .max = CONF_TIERS_MAX };
	l->tenants = (struct list){ .size = sizeof(struct conf_tenant), .max = CONF_TENANTS_MAX };
	l->queues = (struct list){ .size = sizeof(struct conf_queue), .max = CONF_QUEUES_MAX };
	l->cohorts = (struct list){ .size = sizeof(struct conf_cohort), .max = CONF_COHORTS_MAX };
	l->kinds = (struct list){ .size = sizeof(struct conf_kind), .max = CONF_KINDS_MAX };
	l->plugins = (struct list){ .size = sizeof(struct conf_plugin), .max = CONF_PLUGINS_MAX };
	l->listen = (struct list){ .size = sizeof(struct http_address), .max = CONF_LISTEN_MAX };
	l->engines = (struct list){ .size = sizeof(struct conf_engine), .max = CONF_MODELS_MAX };
}

/* Runs the file. What it raises is a finding that has its place in it. */
static void run_file(struct loader *l, const char *file)
{
	char copy[PATH_MAX];
	sl_error error = { 0 };
	const struct sandbox_limits limits = { SANDBOX_MEMORY, SANDBOX_INSTRUCTIONS };
	str_copy(copy, sizeof copy, str_of(file));
	str_copy(l->folder, sizeof l->folder, str_of(dirname(copy)));
	str_copy(copy, sizeof copy, str_of(file));
	struct source *source = source_read(l, file, basename(copy), &error);
	if (!source) {
		finding(l, (struct conf_place){ 0 }, "%s", error.text);
		return;
	}
	l->sandbox = sandbox_open(&limits);
	if (!l->sandbox || sandbox_setup(l->sandbox, declare_setup, l, &error) != SL_OK) {
		l->failed = true;
		return;
	}
	sandbox_lock(l->sandbox);
	if (sandbox_run(l->sandbox, source->text, source->shown, &error) != SL_OK)
		finding(l, (struct conf_place){ 0 }, "%s", error.text);
}

/* The items move from the list into the snapshot. */
static size_t settle(struct loader *l, struct list *list, void *to)
{
	void *items = list->n ? arena_alloc(&l->conf->arena, list->n * list->size) : NULL;
	size_t n = list->n;
	if (items)
		memcpy(items, list->items, n * list->size);
	else if (n)
		l->failed = true, n = 0;
	memcpy(to, &items, sizeof items);
	return n;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct conf_entry *) a)->name, ((const struct conf_entry *) b)->name);
}

static void build_index(struct loader *l, struct conf_index *index, const void *items, size_t n, size_t size, size_t more)
{
	index->entries = arena_alloc(&l->conf->arena, (n + more + 1) * sizeof *index->entries);
	if (!index->entries) {
		l->failed = true;
		return;
	}
	for (size_t i = 0; i < n; i++) {
		struct conf_entry *entry = &index->entries[index->n++];
		entry->value = (const char *) items + i * size;
		memcpy(&entry->name, entry->value, sizeof entry->name);
	}
	qsort(index->entries, index->n, sizeof *index->entries, by_name);
}

static void index_models(struct loader *l, struct conf *conf)
{
	size_t aliases = 0;
	for (size_t i = 0; i < conf->n_models; i++)
		aliases += conf->models[i].n_aliases;
	build_index(l, &conf->by_model, conf->models, conf->n_models, sizeof *conf->models, aliases);
	if (l->failed)
		return;
	for (size_t i = 0; i < conf->n_models; i++)
		for (size_t j = 0; j < conf->models[i].n_aliases; j++)
			conf->by_model.entries[conf->by_model.n++] =
				(struct conf_entry){ conf->models[i].aliases[j], &conf->models[i] };
	qsort(conf->by_model.entries, conf->by_model.n, sizeof *conf->by_model.entries, by_name);
}

static void freeze(struct loader *l)
{
	struct conf *conf = l->conf;
	conf->n_models = settle(l, &l->models, &conf->models);
	conf->n_tiers = settle(l, &l->tiers, &conf->tiers);
	conf->n_tenants = settle(l, &l->tenants, &conf->tenants);
	conf->n_queues = settle(l, &l->queues, &conf->queues);
	conf->n_cohorts = settle(l, &l->cohorts, &conf->cohorts);
	conf->n_kinds = settle(l, &l->kinds, &conf->kinds);
	conf->n_plugins = settle(l, &l->plugins, &conf->plugins);
	conf->n_listen = settle(l, &l->listen, &conf->listen);
	conf->n_engines = settle(l, &l->engines, &conf->engines);
	index_models(l, conf);
	build_index(l, &conf->by_tier, conf->tiers, conf->n_tiers, sizeof *conf->tiers, 0);
	build_index(l, &conf->by_tenant, conf->tenants, conf->n_tenants, sizeof *conf->tenants, 0);
	build_index(l, &conf->by_queue, conf->queues, conf->n_queues, sizeof *conf->queues, 0);
	build_index(l, &conf->by_kind, conf->kinds, conf->n_kinds, sizeof *conf->kinds, 0);
	build_index(l, &conf->by_engine, conf->engines, conf->n_engines, sizeof *conf->engines, 0);
	uint8_t digest[32] = { 0 };
	hash_sha256(l->digests.data ? l->digests.data : "", l->digests.len, digest);
	snprintf(conf->id, sizeof conf->id, "%02x%02x%02x%02x", digest[0], digest[1], digest[2], digest[3]);
}

/* JSON that the lists still own. */
static void drop_options(struct loader *l)
{
	for (size_t i = 0; i < l->models.n; i++)
		json_decref(((struct conf_model *) l->models.items)[i].options);
	for (size_t i = 0; i < l->plugins.n; i++)
		json_decref(((struct conf_plugin *) l->plugins.items)[i].options);
}

static void cleanup(struct loader *l)
{
	struct list *lists[] = { &l->models, &l->tiers, &l->tenants, &l->queues, &l->cohorts, &l->kinds, &l->plugins,
	                         &l->listen, &l->engines };
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
		free(lists[i]->items);
	buf_free(&l->digests);
	sandbox_close(l->sandbox);
	free(l);
}

struct conf *conf_load(const char *file, struct buf *report)
{
	struct loader *l = calloc(1, sizeof *l);
	struct conf *conf = l ? new_conf() : NULL;
	if (!conf) {
		free(l);
		buf_puts(report, "out of memory\n");
		return NULL;
	}
	l->conf = conf;
	l->report = report;
	prepare(l);
	if (file) {
		conf->file = loader_strdup(l, str_of(file));
		run_file(l, file);
	}
	check_all(l);
	if (l->findings == 0 && !l->failed)
		freeze(l);
	if (l->findings || l->failed) {
		if (l->failed)
			buf_puts(report, "out of memory\n");
		if (conf->models || conf->plugins) /* freeze() has moved the owners */
			conf->n_models = conf->n_plugins = 0;
		drop_options(l);
		conf_unref(conf);
		conf = NULL;
	}
	cleanup(l);
	return conf;
}

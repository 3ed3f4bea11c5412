/* SPDX-License-Identifier: Apache-2.0 */
/* conf.c - a snapshot's life and its look-ups. */
#include "core/conf/conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct conf *conf_ref(struct conf *conf)
{
	atomic_fetch_add_explicit(&conf->refs, 1, memory_order_relaxed);
	return conf;
}

void conf_unref(struct conf *conf)
{
	if (!conf || atomic_fetch_sub_explicit(&conf->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < conf->n_models; i++) {
		json_decref(conf->models[i].options);
		for (size_t j = 0; j < conf->models[i].n_endpoints; j++)
			if (conf->models[i].endpoints[j].key)
				explicit_bzero((char *) conf->models[i].endpoints[j].key, strlen(conf->models[i].endpoints[j].key));
	}
	for (size_t i = 0; i < conf->n_plugins; i++)
		json_decref(conf->plugins[i].options);
	struct arena arena = conf->arena; /* the struct itself lives in it */
	arena_free(&arena);
}

static const void *find(const struct conf_index *index, sl_str name)
{
	size_t low = 0, high = index->n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const char *have = index->entries[middle].name;
		int order = strncmp(name.ptr ? name.ptr : "", have, name.len);
		if (order == 0)
			order = have[name.len] ? -1 : 0;
		if (order == 0)
			return index->entries[middle].value;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

const struct conf_model *conf_model(const struct conf *conf, sl_str name)
{
	return find(&conf->by_model, name);
}

const struct conf_tier *conf_tier(const struct conf *conf, sl_str name)
{
	return find(&conf->by_tier, name);
}

const struct conf_tenant *conf_tenant(const struct conf *conf, sl_str name)
{
	return find(&conf->by_tenant, name);
}

const struct conf_queue *conf_queue(const struct conf *conf, sl_str name)
{
	return find(&conf->by_queue, name);
}

const struct conf_engine *conf_engine(const struct conf *conf, sl_str name)
{
	return find(&conf->by_engine, name);
}

int64_t conf_gpu_second(const struct conf *conf, sl_str name)
{
	const struct conf_kind *kind = find(&conf->by_kind, name);
	if (!kind)
		kind = find(&conf->by_kind, (sl_str){ "default", 7 });
	return kind ? kind->gpu_second : 0;
}

void conf_library_path(const char *name, char *out, size_t room)
{
	const char *folder = getenv("SLUICE_LUA_PATH");
	snprintf(out, room, "%s/%s", folder && folder[0] ? folder : SLUICE_LUA_DIR, name);
}

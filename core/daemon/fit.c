/* SPDX-License-Identifier: Apache-2.0 */
/* fit.c - models whose replicas could not start: without devices, with more than there are, without weights. Said when
 * the configuration is read, as warnings: weights may be fetched later, and all else goes on without these models. */
#include <errno.h>
#include <sluice/backend.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/str.h"
#include "core/daemon/daemon.h"

enum { DECLARED_MAX = 1024 }; /* devices of one backend */

struct declared {
	bool backends; /* there are some, here or in the configuration of an agent that we do not start */
	bool all;      /* the devices are all that there can be */
	sl_device *devices;
	size_t n;
};

static bool read_devices(struct declared *all, const sl_backend_ops *ops, void *self)
{
	sl_error error;
	size_t n = 0;
	sl_device *grown = realloc(all->devices, (all->n + DECLARED_MAX) * sizeof *grown);
	if (!grown)
		return false;
	all->devices = grown;
	if (ops->devices(self, grown + all->n, DECLARED_MAX, &n, &error) != SL_OK || n > DECLARED_MAX)
		return false;
	all->n += n;
	return true;
}

/* False: only a machine knows what it has. */
static bool read_backend(struct declared *all, const struct plugin_spec *spec)
{
	static const struct plugin_services none = { 0 };
	sl_error error;
	if (!(plugin_caps_of(spec) & SL_BACKEND_CAP_DECLARED))
		return false;
	struct plugin *backend = plugin_open(spec, &none, NULL, &error);
	bool fine = backend && read_devices(all, plugin_ops(backend), plugin_self(backend));
	plugin_close(backend, 1000);
	return fine;
}

static void read_all(struct declared *all, const struct conf *conf)
{
	all->backends = !conf->start_agent;
	all->all = conf->start_agent;
	for (size_t i = 0; i < conf->n_plugins; i++) {
		char where[256];
		struct plugin_spec spec = plugins_spec(&conf->plugins[i], where);
		if (spec.kind != SL_KIND_BACKEND)
			continue;
		all->backends = true;
		all->all = all->all && read_backend(all, &spec);
	}
}

static int count_fitting(const struct declared *all, const struct conf_model *model)
{
	int n = 0;
	for (size_t i = 0; i < all->n; i++) {
		const sl_device *d = &all->devices[i];
		n += (!model->gpu_kind || strcmp(d->kind, model->gpu_kind) == 0) &&
		     (model->gpu_memory <= 0 || d->memory_bytes >= (uint64_t) model->gpu_memory);
	}
	return n;
}

static void warn(const struct conf_model *model, struct buf *report)
{
	if (model->place.file)
		buf_printf(report, "%s:%d: ", model->place.file, model->place.line);
	buf_printf(report, "warning: model \"%s\" ", model->name);
}

static void check_devices(const struct declared *all, const struct conf_model *model, struct buf *report)
{
	const char *s = model->gpus > 1 ? "s" : "";
	int fitting = count_fitting(all, model);
	if (model->gpus > 0 && !all->backends) {
		warn(model, report);
		buf_printf(report, "needs %d GPU%s and no backend is declared, so there are none: declare what this machine has, plugin "
		           "\"backend/NAME\" {} (sluicectl plugin list names them), or say gpus = 0\n", model->gpus, s);
	} else if (model->gpus > fitting && all->all) {
		warn(model, report);
		buf_printf(report, "needs %d GPU%s%s%s%s, and the declared backends have %d: its replicas cannot start\n", model->gpus, s,
		           model->gpu_kind ? " of kind " : "", model->gpu_kind ? model->gpu_kind : "",
		           model->gpu_memory > 0 ? " with that much memory" : "", fitting);
	}
}

void fit_check(const struct conf *conf, struct buf *report)
{
	struct declared all = { 0 };
	read_all(&all, conf);
	for (size_t i = 0; i < conf->n_models; i++) {
		const struct conf_model *model = &conf->models[i];
		const struct conf_engine *engine = conf_engine(conf, str_of(model->engine));
		if (!engine || !engine->can_start || model->n_endpoints || model->replicas_max == 0)
			continue;
		check_devices(&all, model, report);
		/* What is no whole path may be a name that the engine looks up somewhere. */
		if (!model->weights || model->weights[0] != '/' || access(model->weights, F_OK) == 0)
			continue;
		warn(model, report);
		buf_printf(report, "has its weights at %s, and there is nothing on this machine (%s): its replicas cannot start without\n",
		           model->weights, strerror(errno));
	}
	free(all.devices);
}

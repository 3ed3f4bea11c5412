/* SPDX-License-Identifier: Apache-2.0 */
/* plugins.c - the plugins that sluiced itself runs: auth, scheduler, store. Backends and launchers are the agent's. */
#include <stdio.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/daemon/daemon.h"

struct plugin_spec plugins_spec(const struct conf_plugin *p, char where[256])
{
	where[0] = '\0';
	if (p->place.file)
		snprintf(where, 256, "%s:%d", p->place.file, p->place.line);
	return (struct plugin_spec){ .kind = plugin_kind_number(str_of(p->kind)), .name = p->name,
		.where = p->place.file ? where : NULL, .options = p->options };
}

/* The store's file is in the state folder unless the configuration says otherwise. */
static json_t *options_with_path(const struct conf *conf, const struct conf_plugin *p)
{
	json_t *options = p->options ? json_deep_copy(p->options) : json_object();
	if (strcmp(p->kind, "store") == 0 && options && !json_object_get(options, "path"))
		json_object_set_new(options, "path", json_sprintf("%s/sluice.db", conf->state));
	return options;
}

int plugins_check(const struct conf *conf, struct buf *report)
{
	static const struct plugin_services none = { 0 };
	int code = SL_OK;
	for (size_t i = 0; i < conf->n_plugins; i++) {
		char where[256];
		sl_error error;
		struct plugin_spec spec = plugins_spec(&conf->plugins[i], where);
		json_t *options = options_with_path(conf, &conf->plugins[i]);
		spec.options = options;
		int found = plugin_check(&spec, &none, NULL, &error);
		json_decref(options);
		if (found == SL_OK)
			continue;
		buf_printf(report, "%s%s\n", conf->plugins[i].optional ? "warning: " : "", error.text);
		if (!conf->plugins[i].optional)
			code = SL_EINVAL;
	}
	if (code == SL_OK)
		fit_check(conf, report);
	return code;
}

static int credential_find(void *ctx, const uint8_t digest[32], sl_identity *out, sl_error *error)
{
	struct daemon *d = ctx;
	uint64_t now = clock_wall_ms();
	int code = identity_find(d->identity, digest, now, out, error);
	if (code == SL_OK)
		identity_touch(d->identity, out, now);
	return code;
}

static int user_find(void *ctx, uint32_t uid, uint32_t gid, sl_identity *out, sl_error *error)
{
	struct daemon *d = ctx;
	return identity_find_user(d->identity, uid, gid, out, error);
}

static int tenant_find(void *ctx, sl_str tenant, sl_str tier, sl_identity *out, sl_error *error)
{
	struct daemon *d = ctx;
	return identity_find_tenant(d->identity, tenant, tier, out, error);
}

static int open_one(struct daemon *d, const struct conf_plugin *p, sl_error *error)
{
	char where[256];
	struct plugin_spec spec = plugins_spec(p, where);
	struct plugin **slot = spec.kind == SL_KIND_STORE ? &d->store : spec.kind == SL_KIND_SCHEDULER ? &d->scheduler : NULL;
	if (spec.kind == SL_KIND_AUTH) {
		if (d->n_auth == GATEWAY_AUTH_MAX)
			return error_set(error, SL_EINVAL, "%s: more than %d auth plugins", where, GATEWAY_AUTH_MAX);
		slot = &d->auth[d->n_auth];
	}
	if (!slot)
		return SL_OK;
	if (*slot)
		return error_set(error, SL_EINVAL, "%s: there is a %s plugin already, and one is all that is used", where, p->kind);
	json_t *options = options_with_path(d->conf, p);
	spec.options = options;
	struct plugin *plugin = plugin_open(&spec, &d->services, NULL, error);
	json_decref(options);
	if (!plugin && p->optional) {
		log_warn("%s (optional: going on without it)", error->text);
		return SL_OK;
	}
	if (!plugin)
		return error->code;
	*slot = plugin;
	d->n_auth += spec.kind == SL_KIND_AUTH;
	return SL_OK;
}

int plugins_open(struct daemon *d, sl_error *error)
{
	d->services = (struct plugin_services){ .ctx = d, .credential_find = credential_find, .user_find = user_find,
		.tenant_find = tenant_find };
	for (size_t i = 0; i < d->conf->n_plugins; i++) {
		int code = open_one(d, &d->conf->plugins[i], error);
		if (code != SL_OK)
			return code;
	}
	if (!d->store)
		return error_set(error, SL_EINVAL, "no store plugin: nothing could be billed; try: plugin \"store/sqlite\" {}");
	if (!d->scheduler)
		return error_set(error, SL_EINVAL, "no scheduler plugin; try: plugin \"scheduler/fifo\" {}");
	if (!d->n_auth)
		return error_set(error, SL_EINVAL, "no auth plugin: nobody could come in; try: plugin \"auth/keys\" {}");
	return SL_OK;
}

/* "fair" of a name, or of the path of a file. */
static bool is_called(const struct plugin *plugin, const char *name)
{
	const char *slash = strrchr(name, '/'), *file = slash ? slash + 1 : name, *own = plugin_name(plugin);
	size_t len = strlen(own);
	return strncmp(file, own, len) == 0 && (file[len] == '\0' || (slash && strcmp(file + len, ".so") == 0));
}

/* What runs of all kinds that are sluiced's, and which declaration each one got. */
struct match {
	struct plugin *running[GATEWAY_AUTH_MAX + 2];
	const struct conf_plugin *got[GATEWAY_AUTH_MAX + 2];
	unsigned n;
};

static void match_one(struct match *m, const struct conf_plugin *p, const json_t *options)
{
	for (unsigned i = 0; i < m->n; i++)
		if (!m->got[i] && plugin_kind(m->running[i]) == plugin_kind_number(str_of(p->kind)) &&
		    is_called(m->running[i], p->name) && (!options || plugin_could_take(m->running[i], options))) {
			m->got[i] = p;
			return;
		}
}

static bool is_ours(const struct conf_plugin *p)
{
	uint32_t kind = plugin_kind_number(str_of(p->kind));
	return kind != SL_KIND_BACKEND && kind != SL_KIND_LAUNCHER;
}

/* First those whose options an instance could take, wherever they stand; then the rest, who will say what cannot be
 * changed. */
static void match_all(struct match *m, const struct conf *conf)
{
	for (size_t i = 0; i < conf->n_plugins; i++) {
		json_t *options = options_with_path(conf, &conf->plugins[i]);
		if (is_ours(&conf->plugins[i]))
			match_one(m, &conf->plugins[i], options);
		json_decref(options);
	}
	for (size_t i = 0; i < conf->n_plugins; i++) {
		bool has = !is_ours(&conf->plugins[i]);
		for (unsigned k = 0; k < m->n; k++)
			has = has || m->got[k] == &conf->plugins[i];
		if (!has)
			match_one(m, &conf->plugins[i], NULL);
	}
}

static struct plugin *matched(const struct match *m, const struct conf_plugin *p)
{
	for (unsigned i = 0; i < m->n; i++)
		if (m->got[i] == p)
			return m->running[i];
	return NULL;
}

static void warn_gone(const struct match *m, struct buf *report)
{
	bool moved = false;
	const struct conf_plugin *last = NULL;
	for (unsigned i = 0; i < m->n; i++) {
		const char *kind = plugin_kind_name(plugin_kind(m->running[i]));
		if (!m->got[i])
			buf_printf(report, "warning: plugin \"%s/%s\" is not declared any more%s: it goes on until a restart\n", kind,
			           plugin_name(m->running[i]), plugin_kind(m->running[i]) == SL_KIND_AUTH ? " and still lets callers in" : "");
		if (!m->got[i] || plugin_kind(m->running[i]) != SL_KIND_AUTH)
			continue;
		moved = moved || (last && m->got[i] < last);
		last = m->got[i];
	}
	if (moved)
		buf_puts(report, "warning: the order of the auth plugins has changed: it is used after a restart\n");
}

int plugins_reconfigure(struct daemon *d, const struct conf *conf, struct buf *report)
{
	struct match m = { .n = 0 };
	for (unsigned i = 0; i < d->n_auth; i++)
		m.running[m.n++] = d->auth[i];
	m.running[m.n++] = d->scheduler;
	m.running[m.n++] = d->store;
	match_all(&m, conf);
	for (size_t i = 0; i < conf->n_plugins; i++) {
		const struct conf_plugin *p = &conf->plugins[i];
		if (!is_ours(p))
			continue;
		struct plugin *plugin = matched(&m, p);
		sl_error error;
		if (!plugin) {
			buf_printf(report, "warning: plugin \"%s/%s\" is new: it is used after a restart\n", p->kind, p->name);
			continue;
		}
		json_t *options = options_with_path(conf, p);
		if (plugin_reconfigure(plugin, options, &error) != SL_OK)
			buf_printf(report, "warning: %s\n", error.text);
		json_decref(options);
	}
	warn_gone(&m, report);
	return SL_OK;
}

void plugins_close(struct daemon *d)
{
	for (unsigned i = 0; i < d->n_auth; i++)
		plugin_close(d->auth[i], 1000);
	plugin_close(d->scheduler, 1000);
	plugin_close(d->store, 1000);
}

static void add_json(json_t *list, struct plugin *plugin)
{
	if (plugin)
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s}", "kind", plugin_kind_name(plugin_kind(plugin)), "name",
		                                      plugin_name(plugin), "version", plugin_version(plugin), "path",
		                                      plugin_path(plugin), "state", "running"));
}

json_t *plugins_json(struct daemon *d)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < d->n_auth; i++)
		add_json(list, d->auth[i]);
	add_json(list, d->scheduler);
	add_json(list, d->store);
	return list;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* host.c - the table of services that an instance gets. */
#include <stdarg.h>
#include <stdio.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/plugin/plugin_private.h"

static struct plugin *instance(const sl_host *host)
{
	return host->ctx;
}

static enum sl_log_level known_level(uint32_t level)
{
	return level > SL_LOG_DEBUG ? SL_LOG_DEBUG : (enum sl_log_level) level;
}

__attribute__((format(printf, 3, 4))) static void host_log(const sl_host *host, uint32_t level, const char *format, ...)
{
	char text[1024];
	va_list args;
	if (!log_enabled(known_level(level)))
		return;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	log_write(known_level(level), "plugin %s: %s", instance(host)->label, text);
}

static int host_log_enabled(const sl_host *host, uint32_t level)
{
	(void) host;
	return log_enabled(known_level(level));
}

static uint64_t host_now_ns(const sl_host *host)
{
	(void) host;
	return clock_mono_ns();
}

static uint64_t host_wall_ms(const sl_host *host)
{
	(void) host;
	return clock_wall_ms();
}

static int host_token_done(const sl_host *host, sl_token token, const void *result, size_t size)
{
	return plugin_token_finish(instance(host), token, result, size, NULL);
}

static int host_token_fail(const sl_host *host, sl_token token, const sl_error *error)
{
	sl_error copy;
	error_set(&copy, error && error->code < 0 ? error->code : SL_EINTERNAL, "%.*s",
	          error ? (int) strnlen(error->text, SL_ERROR_TEXT) : 0, error ? error->text : "");
	return plugin_token_finish(instance(host), token, NULL, 0, &copy);
}

static struct metric *event_series(struct plugin *p, const char *event)
{
	unsigned n = atomic_load_explicit(&p->n_events, memory_order_acquire);
	for (unsigned i = 0; i < n; i++)
		if (strcmp(p->events[i].name, event) == 0)
			return p->events[i].series;
	return NULL;
}

static struct metric *add_event(struct plugin *p, const char *event)
{
	pthread_mutex_lock(&p->events_lock);
	struct metric *series = event_series(p, event);
	unsigned n = atomic_load_explicit(&p->n_events, memory_order_relaxed);
	if (!series) {
		bool room = n < PLUGIN_EVENTS_MAX && strlen(event) < PLUGIN_EVENT_NAME;
		series = metrics_counter("sluice_plugin_events_total", "What plugins count.", "plugin,event", p->label,
		                         room ? event : "other");
		if (room && series) {
			str_copy(p->events[n].name, PLUGIN_EVENT_NAME, str_of(event));
			p->events[n].series = series;
			atomic_store_explicit(&p->n_events, n + 1, memory_order_release);
		}
	}
	pthread_mutex_unlock(&p->events_lock);
	return series;
}

void plugin_count(struct plugin *p, const char *event, uint64_t n)
{
	struct metric *series = event_series(p, event);
	metrics_add(series ? series : add_event(p, event), n);
}

static void host_count(const sl_host *host, const char *event, uint64_t n)
{
	plugin_count(instance(host), event ? event : "other", n);
}

static int host_credential_find(const sl_host *host, const uint8_t digest[32], sl_identity *out, sl_error *error)
{
	const struct plugin_services *s = instance(host)->services;
	if (!s || !s->credential_find)
		return error_set(error, SL_EUNAVAILABLE, "this process keeps no credentials");
	return s->credential_find(s->ctx, digest, out, error);
}

static int host_user_find(const sl_host *host, uint32_t uid, uint32_t gid, sl_identity *out, sl_error *error)
{
	const struct plugin_services *s = instance(host)->services;
	if (!s || !s->user_find)
		return SL_NOT_MINE;
	return s->user_find(s->ctx, uid, gid, out, error);
}

static int host_tenant_find(const sl_host *host, sl_str tenant, sl_str tier, sl_identity *out, sl_error *error)
{
	const struct plugin_services *s = instance(host)->services;
	if (!s || !s->tenant_find)
		return error_set(error, SL_EUNAVAILABLE, "this process knows no tenants");
	return s->tenant_find(s->ctx, tenant, tier, out, error);
}

void plugin_host_init(struct plugin *p)
{
	bool auth = p->d.kind == SL_KIND_AUTH;
	p->host = (sl_host){
		.size = sizeof p->host,
		.abi_major = SL_ABI_MAJOR,
		.abi_minor = SL_ABI_MINOR,
		.ctx = p,
		.log = host_log,
		.log_enabled = host_log_enabled,
		.now_ns = host_now_ns,
		.wall_ms = host_wall_ms,
		.conf_int = plugin_conf_int,
		.conf_str = plugin_conf_str,
		.token_done = host_token_done,
		.token_fail = host_token_fail,
		.count = host_count,
		.credential_find = auth ? host_credential_find : NULL,
		.user_find = auth ? host_user_find : NULL,
		.tenant_find = auth ? host_tenant_find : NULL,
	};
}

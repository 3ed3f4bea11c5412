/* SPDX-License-Identifier: Apache-2.0 */
/* reload.c - a new configuration while requests run: built and tested beside the old one, put in place at once. */
#include <string.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/log.h"
#include "core/daemon/daemon.h"

static bool same_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool same_listeners(const struct conf *a, const struct conf *b)
{
	if (a->n_listen != b->n_listen)
		return false;
	for (size_t i = 0; i < a->n_listen; i++)
		if (a->listen[i].len != b->listen[i].len || memcmp(&a->listen[i].any, &b->listen[i].any, a->listen[i].len) != 0)
			return false;
	return true;
}

/* What is fixed while the process lives. */
static void warn_fixed(const struct conf *old, const struct conf *now, struct buf *report)
{
	const struct {
		const char *name;
		bool same;
	} fixed[] = {
		{ "listen", same_listeners(old, now) },
		{ "control", same_text(old->control, now->control) },
		{ "state", same_text(old->state, now->state) },
		{ "agent", same_text(old->agent, now->agent) },
		{ "workers", old->workers == now->workers },
		{ "journal", old->journal_bytes == now->journal_bytes && old->commit_gap_us == now->commit_gap_us },
		{ "limits.connections", old->connections_max == now->connections_max },
	};
	for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
		if (!fixed[i].same)
			buf_printf(report, "warning: %s has changed: it is used after a restart\n", fixed[i].name);
}

int daemon_reload(struct daemon *d, struct buf *report)
{
	sl_error error = { 0 };
	if (d->stopping) {
		buf_puts(report, "the service is going down\n");
		return SL_EUNAVAILABLE;
	}
	struct conf *conf = conf_load(d->options.file, report);
	if (!conf)
		return SL_EINVAL;
	struct policy *policy = policy_open(conf, true, &error);
	if (!policy || plugins_check(conf, report) != SL_OK || gateway_configure(d->gateway, conf, &error) != SL_OK) {
		if (error.text[0])
			buf_printf(report, "%s\n", error.text);
		policy_close(policy);
		conf_unref(conf);
		return SL_EINVAL;
	}
	warn_fixed(d->conf, conf, report);
	plugins_reconfigure(d, conf, report);
	prices_note(d, conf);
	ledger_keep(d->ledger, (uint64_t) conf->keep_ms);
	identity_configure(d->identity, conf);
	pool_configure(d->pool, conf);
	char outdated[512];
	if (pool_agent_outdated(d->pool, outdated, sizeof outdated))
		buf_printf(report, "warning: %s\n", outdated);
	fleet_configure(d->fleet, conf, policy);
	control_configure(d->control, conf, policy);
	policy_close(d->policy);
	d->policy = policy;
	conf_unref(d->conf);
	d->conf = conf;
	d->configured_ms = clock_wall_ms();
	log_info("configuration %s is in place", conf->id);
	return SL_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* rooms.c - opens the rooms in the order of their arrows, and closes them the other way round. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/daemon/daemon.h"

enum { COUNTERS_MAX = 1000000, ASYNC_GAP_US = 10000 };

/* On the main loop: what waits for its record goes on. */
static void on_committed_mail(struct mail *mail)
{
	struct daemon *d = (struct daemon *) (void *) ((char *) mail - offsetof(struct daemon, committed_mail));
	atomic_store(&d->committed_posted, false); /* before reading, so that a later commit posts again */
	uint64_t seq = atomic_load(&d->committed);
	if (d->pool)
		pool_committed(d->pool, seq);
	if (d->control)
		control_committed(d->control, seq);
}

/* On the ledger's thread. */
static void on_committed(void *arg, uint64_t seq)
{
	struct daemon *d = arg;
	atomic_store(&d->committed, seq);
	pthread_mutex_lock(&d->gateway_lock);
	if (d->gateway)
		gateway_committed(d->gateway, seq);
	pthread_mutex_unlock(&d->gateway_lock);
	if (!atomic_exchange(&d->committed_posted, true) && !mailbox_post(&d->mailbox, &d->committed_mail))
		atomic_store(&d->committed_posted, false);
}

static void on_ledger_state(void *arg, bool accepting, const char *why)
{
	struct daemon *d = arg;
	pthread_mutex_lock(&d->why_lock);
	str_copy(d->ledger_why, sizeof d->ledger_why, str_of(accepting ? "" : why));
	pthread_mutex_unlock(&d->why_lock);
	if (accepting)
		log_info("the ledger takes records again");
	else
		log_error("the ledger takes no records: %s. New requests are refused until it does", why);
}

static int open_ledger(struct daemon *d, sl_error *error)
{
	char folder[4096];
	snprintf(folder, sizeof folder, "%s/journal", d->conf->state);
	struct ledger_options options = { .folder = folder, .segment_bytes = (uint64_t) d->conf->journal_bytes,
		/* Where no answer waits for it, a commit may gather more. */
		.commit_gap_us = (uint64_t) (d->conf->durable ? d->conf->commit_gap_us : ASYNC_GAP_US), .store = plugin_ops(d->store), .store_self = plugin_self(d->store),
		.keep_ms = (uint64_t) d->conf->keep_ms, .committed = on_committed, .state = on_ledger_state, .arg = d };
	/* Objects, leases and use are read before the ledger's thread has the store to itself: what the journal holds and
	 * the store lacks is fed by ledger_open, so it comes first. */
	d->ledger = ledger_open(&options, error);
	return d->ledger ? SL_OK : error->code;
}

/* The store belongs to the ledger's feeder from here on: reads go through it. */
struct reading {
	struct daemon *d;
	json_t *leases;
	uint64_t last_number;
	int code;
	sl_error *error;
	uv_sem_t done;
};

static void read_store(void *arg, const sl_store_ops *store, void *self)
{
	struct reading *r = arg;
	(void) store;
	(void) self;
	r->code = restore_objects(r->d, r->error);
	if (r->code == SL_OK)
		r->code = restore_quota(r->d, r->error);
	if (r->code == SL_OK)
		r->code = restore_charges(r->d, r->error);
	if (r->code == SL_OK && !(r->leases = restore_leases(r->d, &r->last_number, r->error)))
		r->code = r->error->code;
	uv_sem_post(&r->done);
}

static int restore(struct daemon *d, struct reading *r)
{
	uv_sem_init(&r->done, 0);
	if (!ledger_query(d->ledger, read_store, r))
		r->code = error_set(r->error, SL_EINTERNAL, "the store does not answer");
	else
		uv_sem_wait(&r->done);
	uv_sem_destroy(&r->done);
	return r->code;
}

static void need_replica(void *arg)
{
	struct daemon *d = arg;
	fleet_poke(d->fleet);
}

static bool trouble(void *arg, sl_str model, char *text, size_t room, uint64_t *retry_ms)
{
	struct daemon *d = arg;
	return fleet_trouble(d->fleet, model, text, room, retry_ms);
}

static int open_pool_and_fleet(struct daemon *d, const json_t *leases, uint64_t last_number, sl_error *error)
{
	struct pool_options pool = { .loop = &d->loop, .conf = d->conf, .ledger = d->ledger, .scheduler = plugin_ops(d->scheduler),
		.scheduler_self = plugin_self(d->scheduler), .devices = d->devices, .quota = d->quota,
		.money_limits = terms_money_limits, .money_arg = d->identity,
		/* One that dies is started again where that needs no root: there systemd does it. */
		.agent_program = d->was_root ? NULL : SLUICE_SBIN_DIR "/sluice-agent" };
	d->pool = pool_open(&pool, leases, last_number, error);
	json_decref(d->devices);
	d->devices = NULL;
	if (!d->pool)
		return error->code;
	char folder[4096];
	snprintf(folder, sizeof folder, "%s/engines", d->conf->state);
	struct fleet_options fleet = { .loop = &d->loop, .conf = d->conf, .pool = d->pool, .route = d->route, .policy = d->policy,
		.folder = folder, .uid = d->engine_uid, .gid = d->engine_gid,
		.sockets = d->sockets[0] ? d->sockets : d->engine_uid == geteuid() ? folder : NULL };
	d->fleet = fleet_open(&fleet, error);
	return d->fleet ? SL_OK : error->code;
}

static int open_gateway(struct daemon *d, sl_error *error)
{
	struct gateway_options options = { .conf = d->conf, .route = d->route, .quota = d->quota, .ledger = d->ledger,
		.n_auth = d->n_auth, .need_replica = need_replica, .trouble = trouble, .arg = d };
	memcpy(options.auth, d->auth, sizeof options.auth);
	struct gateway *gateway = gateway_open(&options, error);
	pthread_mutex_lock(&d->gateway_lock);
	d->gateway = gateway;
	pthread_mutex_unlock(&d->gateway_lock);
	return gateway ? SL_OK : error->code;
}

void rooms_free_gateway(struct daemon *d)
{
	pthread_mutex_lock(&d->gateway_lock);
	struct gateway *gateway = d->gateway;
	d->gateway = NULL;
	pthread_mutex_unlock(&d->gateway_lock);
	gateway_free(gateway);
}

static int on_reload(void *arg, struct buf *report, char config_id[16])
{
	struct daemon *d = arg;
	int code = daemon_reload(d, report);
	memcpy(config_id, d->conf->id, 16);
	return code;
}

static void on_drain(void *arg, bool on)
{
	struct daemon *d = arg;
	if (d->stopping) /* nothing is taken any more, and the gateway may be gone */
		return;
	d->drained = on;
	gateway_ready(d->gateway, !on);
	log_info(on ? "drained: no new requests or leases are taken" : "taking requests and leases again");
}

static bool is_drained(void *arg)
{
	const struct daemon *d = arg;
	return d->drained;
}

static bool is_ready(void *arg, char *why, size_t room)
{
	struct daemon *d = arg;
	if (!d->ready || d->drained || d->stopping) {
		snprintf(why, room, "%s", d->stopping ? "draining, it ends then" : d->drained ? "drained" : "starting");
		return false;
	}
	if (ledger_accepting(d->ledger))
		return true;
	pthread_mutex_lock(&d->why_lock);
	snprintf(why, room, "the ledger takes no records: %s",
	         d->ledger_why[0] ? d->ledger_why : "too many wait for the disk");
	pthread_mutex_unlock(&d->why_lock);
	return false;
}

/* Where a collector of metrics asks. */
static json_t *metrics_place(const struct conf *conf)
{
	char address[300];
	if (!conf->metrics)
		return json_sprintf("unix:%s, GET /metrics", conf->control);
	http_address_text(conf->metrics, address, sizeof address);
	bool is_unix = conf->metrics->any.sa_family == AF_UNIX;
	return json_sprintf(is_unix ? "%s%s, GET /metrics" : "%s%s/metrics", is_unix ? "" : "http://", address);
}

static json_t *gateway_json(void *arg)
{
	struct daemon *d = arg;
	struct gateway_totals totals = { 0 };
	char door[300] = "none";
	if (d->gateway)
		gateway_totals(d->gateway, &totals);
	if (d->conf->n_listen)
		http_address_text(&d->conf->listen[0], door, sizeof door);
	bool plain = d->conf->n_listen && d->conf->listen[0].any.sa_family != AF_UNIX;
	return json_pack("{s:o, s:o, s:i, s:{s:I, s:I, s:I, s:I, s:I}}", "door",
	                 json_sprintf("%s%s", plain ? "http://" : "", door), "metrics", metrics_place(d->conf),
	                 "workers", d->conf->workers, "requests", "total", (json_int_t) totals.requests, "errors",
	                 (json_int_t) totals.errors, "active", (json_int_t) totals.active, "connections",
	                 (json_int_t) totals.connections, "held", (json_int_t) totals.held);
}

static json_t *list_plugins(void *arg)
{
	return plugins_json(arg);
}

static int open_control(struct daemon *d, sl_error *error)
{
	struct control_options options = { .loop = &d->loop, .conf = d->conf, .pool = d->pool, .fleet = d->fleet, .route = d->route,
		.identity = d->identity, .ledger = d->ledger, .quota = d->quota, .policy = d->policy, .auth = d->auth, .n_auth = d->n_auth, .arg = d,
		.callbacks = { .reload = on_reload, .drain = on_drain, .drained = is_drained, .ready = is_ready,
			.gateway_status = gateway_json, .plugins = list_plugins } };
	d->control = control_open(&options, error);
	return d->control ? SL_OK : error->code;
}

int rooms_open(struct daemon *d, sl_error *error)
{
	d->committed_mail.run = on_committed_mail;
	pthread_mutex_init(&d->gateway_lock, NULL);
	pthread_mutex_init(&d->why_lock, NULL);
	d->quota = quota_new(COUNTERS_MAX);
	d->identity = identity_new(0);
	d->route = route_new();
	if (!d->quota || !d->identity || !d->route)
		return error_set(error, SL_ENOMEM, "out of memory");
	identity_configure(d->identity, d->conf);
	struct reading reading = { .d = d, .error = error };
	int code = plugins_open(d, error);
	if (code == SL_OK)
		code = open_ledger(d, error);
	if (code == SL_OK)
		code = restore(d, &reading);
	if (code == SL_OK)
		prices_note(d, d->conf);
	if (code == SL_OK && !(d->policy = policy_open(d->conf, true, error)))
		code = error->code;
	if (code == SL_OK)
		code = open_pool_and_fleet(d, reading.leases, reading.last_number, error);
	json_decref(reading.leases);
	if (code == SL_OK)
		code = open_gateway(d, error);
	if (code == SL_OK)
		code = open_control(d, error);
	return code;
}

void rooms_close(struct daemon *d)
{
	if (d->gateway) { /* opened, but never told to stop: a later room failed */
		gateway_stop(d->gateway, 0);
		rooms_free_gateway(d);
	}
	if (d->fleet)
		fleet_close(d->fleet);
	if (d->pool)
		pool_close(d->pool);
	if (d->ledger)
		ledger_close(d->ledger);
	json_decref(d->prices);
	d->prices = NULL;
	d->gateway = NULL;
	d->fleet = NULL;
	d->pool = NULL;
	d->ledger = NULL;
}

/* What the rooms shared; auth plugins look into identities until they are closed. */
void rooms_free(struct daemon *d)
{
	policy_close(d->policy);
	route_free(d->route);
	identity_free(d->identity);
	quota_free(d->quota);
	conf_unref(d->conf);
	d->policy = NULL;
	d->route = NULL;
	d->identity = NULL;
	d->quota = NULL;
	d->conf = NULL;
}

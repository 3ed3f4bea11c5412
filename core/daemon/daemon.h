/* SPDX-License-Identifier: Apache-2.0 */
/* daemon.h - sluiced: the rooms put together, and who may be told what when. Main thread only unless said. */
#ifndef CORE_DAEMON_DAEMON_H
#define CORE_DAEMON_DAEMON_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#include "core/conf/conf.h"
#include "core/control/control.h"
#include "core/fleet/fleet.h"
#include "core/gateway/gateway.h"
#include "core/identity/identity.h"
#include "core/ledger/ledger.h"
#include "core/loop/mailbox.h"
#include "core/plugin/plugin.h"
#include "core/policy/policy.h"
#include "core/pool/pool.h"
#include "core/quota/quota.h"
#include "core/route/route.h"

enum { DAEMON_OK = 0, DAEMON_FAILED = 1, DAEMON_USAGE = 2, DAEMON_CONFIG = 78 /* EX_CONFIG */ };

struct daemon_options {
	const char *file;  /* configuration, NULL: the default path where it exists, else safe defaults */
	const char *user;  /* to serve as when started as root, NULL: "sluice", else "daemon" */
	bool check;
};

struct daemon {
	struct daemon_options options;
	uv_loop_t loop;
	uv_signal_t signals[3];
	uv_timer_t watchdog;
	uint64_t watchdog_ms;         /* systemd wants a word at least once in this time */
	struct watched *watched;      /* one a worker */
	unsigned n_watched;
	struct mailbox mailbox;
	struct conf *conf;
	struct policy *policy;        /* main thread's own */
	struct identity *identity;
	struct quota *quota;
	json_t *prices;               /* keys of those that the ledger has */
	json_t *devices;              /* what the store knows of devices, until the pool has it */
	struct route *route;
	struct ledger *ledger;
	struct pool *pool;
	struct fleet *fleet;
	struct gateway *gateway;
	pthread_mutex_t gateway_lock; /* the ledger's thread calls the gateway too: held while it is freed */
	struct control *control;
	struct plugin *store, *scheduler;
	struct plugin *auth[GATEWAY_AUTH_MAX];
	unsigned n_auth;
	struct plugin_services services;
	uint64_t started_ms, configured_ms; /* Unix time */
	bool ready, drained, stopping, was_root;
	uid_t engine_uid;             /* engines run as */
	gid_t engine_gid;
	char sockets[4096];           /* folder that engines of another user and we share, empty: none */
	pthread_mutex_t why_lock;     /* the ledger's thread says why it takes nothing */
	char ledger_why[256];
	uv_thread_t stopper;
	struct mail stopped_mail;
	/* The ledger's thread says what is durable; one message at a time is on its way to the main loop. */
	struct mail committed_mail;
	_Atomic uint64_t committed; /* durable up to here */
	atomic_bool committed_posted;
	int status; /* of the process */
};

/* options.c: 0 to go on, else the status to exit with, plus 1. */
int options_parse(struct daemon_options *out, int argc, char **argv);

/* privileges.c: makes the folders, starts the agent, becomes the user. */
int privileges_drop(struct daemon *d, sl_error *error);

/* watchdog.c: from the start of the loop on. */
void watchdog_start(struct daemon *d);
void watchdog_free(struct daemon *d); /* the loop has ended */

/* fit.c: warnings about models that the declared devices could never serve. */
void fit_check(const struct conf *conf, struct buf *report);

/* plugins.c */
struct plugin_spec plugins_spec(const struct conf_plugin *p, char where[256]);
int plugins_check(const struct conf *conf, struct buf *report);
/* All but backends and launchers, which are the agent's. */
int plugins_open(struct daemon *d, sl_error *error);
int plugins_reconfigure(struct daemon *d, const struct conf *conf, struct buf *report);
void plugins_close(struct daemon *d);
json_t *plugins_json(struct daemon *d);

/* restore.c: what the store knows from before. */
int restore_objects(struct daemon *d, sl_error *error);
int restore_quota(struct daemon *d, sl_error *error);
json_t *restore_leases(struct daemon *d, uint64_t *last_number, sl_error *error);

/* terms.c: the limits of the caller's tier with complete scopes, at most QUOTA_LIMITS_MAX; how many. Those of a model are
 * left out: nobody knows of which. Any thread at a time. */
unsigned terms_limits(struct identity *identity, const struct conf *conf, const sl_identity *who, struct quota_limit *out);
/* For the pool: those on money. arg: struct identity. */
unsigned terms_money_limits(void *arg, const struct conf *conf, const char *tenant, const char *user, struct quota_limit *out);

/* Charges use of that time, once a counter. */
void terms_restore(struct quota *quota, struct quota_now now, const struct quota_limit *limits, unsigned n, uint64_t wall_ms,
                   const struct quota_use *use);

/* restore_charges.c: charges of leases that still count in limits on money. */
int restore_charges(struct daemon *d, sl_error *error);

/* prices.c: what the ledger lacks of a configuration's prices is written down. */
void prices_note(struct daemon *d, const struct conf *conf);

/* rooms.c: opens and closes the rooms in their order. */
int rooms_open(struct daemon *d, sl_error *error);
void rooms_close(struct daemon *d);
/* After rooms_close, plugins_close and the last turn of the loop. */
void rooms_free(struct daemon *d);
/* After gateway_stop. */
void rooms_free_gateway(struct daemon *d);

/* reload.c: SL_OK, or findings in *report and all stays as it was. */
int daemon_reload(struct daemon *d, struct buf *report);

#endif

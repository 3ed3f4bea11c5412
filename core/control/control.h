/* SPDX-License-Identifier: Apache-2.0 */
/* control.h - the control door: what docs/internals/control-api.md says, on the control socket; and /metrics, /healthz
 * and /readyz on a TCP address where one is configured. Main loop's thread only, unless said otherwise. */
#ifndef CORE_CONTROL_CONTROL_H
#define CORE_CONTROL_CONTROL_H

#include <jansson.h>
#include <uv.h>

#include "core/base/buf.h"
#include "core/conf/conf.h"
#include "core/fleet/fleet.h"
#include "core/identity/identity.h"
#include "core/ledger/ledger.h"
#include "core/plugin/plugin.h"
#include "core/policy/policy.h"
#include "core/pool/pool.h"
#include "core/quota/quota.h"
#include "core/route/route.h"

struct control;

/* What only main can do. Called on the loop's thread; `arg` is control_options.arg. None may be NULL. */
struct control_callbacks {
	/* Reads the configuration again. SL_OK: it holds, `config_id` is its id and the report has warnings, one a line.
	 * An error: the old one stays, and the report has all findings, one a line. */
	int (*reload)(void *arg, struct buf *report, char config_id[16]);
	/* Not ready any more, or ready again. */
	void (*drain)(void *arg, bool on);
	/* Does an operator's wish to drain hold? New leases are then refused; what runs or waits goes on. */
	bool (*drained)(void *arg);
	/* Are new requests taken? When not, `why` says in words why not. */
	bool (*ready)(void *arg, char *why, size_t room);
	/* Members for GET /v1/status that the gateway knows: "requests" {total, errors, active}, "door", "workers". The
	 * control door takes the reference. NULL: none. */
	json_t *(*gateway_status)(void *arg);
	/* GET /v1/plugins: [{kind, name, version, path, abi, state}]. The control door takes the reference. */
	json_t *(*plugins)(void *arg);
};

struct control_options {
	uv_loop_t *loop;
	struct conf *conf;          /* a reference is taken */
	struct pool *pool;
	struct fleet *fleet;
	struct route *route;
	struct identity *identity;
	struct ledger *ledger;
	struct quota *quota;
	struct plugin *const *auth; /* asked in this order; the array is copied, the plugins outlive the control door */
	size_t n_auth;              /* at most CONTROL_AUTH_MAX */
	struct policy *policy;      /* the main thread's own; borrowed, replaced by control_configure. NULL: none to ask */
	struct control_callbacks callbacks;
	void *arg;
};

enum { CONTROL_AUTH_MAX = 16 };

/* Listens on conf->control (mode 0666: the kernel says who is there) and on conf->metrics. */
struct control *control_open(const struct control_options *options, sl_error *error);
/* A new snapshot and policy. Where it listens does not change before a restart (said in the log). */
void control_configure(struct control *control, struct conf *conf, struct policy *policy);
/* The ledger has committed up to seq: answers that waited for it go out. */
void control_committed(struct control *control, uint64_t seq);
/* Stops listening; calls under way have `grace_ms` to end. done() once, when no connection is left; the loop must
 * run until then. The struct is gone afterwards. */
void control_close(struct control *control, uint64_t grace_ms, void (*done)(void *arg), void *arg);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* lease.h - what a lease is, which states it may take, and what of it is kept.
 *
 * Pure: time is an argument, nothing here waits, reads or writes. Devices and the scheduler's side are in device.h
 * and plan.h. */
#ifndef CORE_LEASE_LEASE_H
#define CORE_LEASE_LEASE_H

#include <jansson.h>
#include <stdbool.h>
#include <sluice/types.h>

#include "core/base/money.h"

enum lease_state {
	LEASE_REQUESTED = 0, /* entered, not yet checked */
	LEASE_QUEUED,        /* waits for the scheduler */
	LEASE_GRANTED,       /* has its devices (or holds them until they are free); nothing runs */
	LEASE_PREPARED,      /* the agent was asked to start it */
	LEASE_RUNNING,
	LEASE_SUSPENDING,    /* was asked to give way; the devices are its own until its state is off them */
	LEASE_SUSPENDED,     /* its state is off the devices, which others may use */
	LEASE_RESUMING,      /* has devices again, and its state is on the way to them */
	LEASE_RELEASING,     /* was asked to end; the devices are still its own */
	LEASE_ENDED,         /* over: its program ended, or was released */
	LEASE_DENIED,        /* over: refused before it had anything */
	LEASE_CANCELLED,     /* over: taken back before it ran */
	LEASE_PREEMPTED,     /* over: gave way to another */
	LEASE_EXPIRED,       /* over: time limit */
	LEASE_FAILED,        /* over: could not start, or lost its device or machine */
	LEASE_STATES
};

enum { LEASE_UUID_MAX = 96, LEASE_DEVICES_MAX = 1024, LEASE_ID_MAX = 24 };

/* Both clocks at one moment. mono_ms never jumps and means nothing after a restart; wall_ms may jump. */
struct lease_now {
	uint64_t wall_ms;
	int64_t mono_ms;
};

struct lease_place {
	char uuid[LEASE_UUID_MAX];
	char name[SL_NAME_MAX]; /* node1/gpu0 */
	char kind[SL_NAME_MAX]; /* of the device; empty: not known yet */
	int64_t price;          /* of a second of it, 10^-12 of the currency */
};

struct lease {
	uint64_t number; /* L1042 is 1042 */
	enum lease_state state;
	enum lease_state final; /* how it is over once it is, REQUESTED: as its program ends */
	char name[SL_NAME_MAX], tenant[SL_NAME_MAX], user[SL_NAME_MAX], queue[SL_NAME_MAX];
	char kind[SL_NAME_MAX];  /* of the devices, empty: any */
	char model[SL_NAME_MAX]; /* of a replica, empty: a job */
	char replica[SL_NAME_MAX];
	uint32_t uid, gid;       /* the program runs as */
	uint32_t wanted;         /* devices */
	uint64_t memory_bytes;   /* at least, per device */
	uint64_t time_ms;        /* limit of its run, 0: none */
	int32_t priority;
	bool preemptible, with_stdin, detach;
	bool suspendable, movable; /* its agent can suspend it, can move it to other devices */
	bool borrowed;             /* its label while it has devices or they are held for it; else nominal */
	bool parked;               /* suspended, and not resumed since: `places` says where it was, and they are not its own */
	uint64_t hold_until_ms;    /* Unix time: devices are held for it until then, 0: none are. Not kept */
	bool unpaid;               /* waits for money: it is not planned for. Not kept */
	uint64_t resume_after_ms;  /* Unix time: it could not be resumed, and is left alone until then. Not kept */
	json_t *argv, *env;      /* array of strings, object of strings (NULL: none). Owned */
	char *cwd;               /* owned, NULL: none */

	struct lease_place *places; /* `wanted` of them, owned; NULL without devices */
	uint32_t n_places;          /* 0 or wanted: a gang has all or nothing */

	char reason[SL_ERROR_TEXT]; /* why it is in this state; true now */
	uint64_t created_ms, granted_ms, started_ms, ended_ms; /* Unix time, 0: not yet */
	uint64_t wait_ms, run_ms;   /* lengths so far, by the monotonic clock; without the stretch that goes on */
	uint64_t paused_ms;         /* of the time since its start, what it was suspended for, by its agent's clock */
	int64_t since_mono_ms;      /* the stretch that goes on began then: waiting or running */
	uint64_t charged_ms;        /* of run_ms, what records have charged ... */
	uint64_t charged_until_ms;  /* ... up to this Unix time, 0: nothing yet */
	int exit_code;              /* -1: none, or a signal ended it */
	int signal;                 /* 0: none */
	uint64_t memory_peak_bytes; /* host memory */
	uint64_t output_lost_bytes; /* that its log could not take */
	bool oom;
};

const char *lease_state_name(enum lease_state state);
bool lease_state_parse(const char *name, enum lease_state *out);
/* The table of changes: everything else is refused. */
bool lease_may_change(enum lease_state from, enum lease_state to);
bool lease_state_over(enum lease_state state);
/* Devices belong to it: from the grant to the end, but not while suspended. */
bool lease_holds(const struct lease *lease);
/* Its program is there: running, or suspended, or on the way from one to the other. */
bool lease_state_started(enum lease_state state);

/* "L1042" */
void lease_id(uint64_t number, char out[LEASE_ID_MAX]);
/* "L1042", "l1042" or "1042"; 0: no such form. */
uint64_t lease_number(sl_str id);
/* A name that people may give: letters, digits, '.', '_', '-', not of a lease's own form. Empty is fine. */
bool lease_name_ok(const char *name);

/* Room for `wanted` devices. False: out of memory. */
bool lease_init(struct lease *lease);
/* Frees what it owns, not itself. */
void lease_clear(struct lease *lease);
/* SL_OK, or SL_ECONFLICT when the table forbids it. Keeps the times and lengths; reason NULL: none. */
int lease_change(struct lease *lease, enum lease_state to, struct lease_now now, const char *reason, sl_error *error);
/* Its run began at `started_ms` (Unix time), by an agent's word, maybe before we were there: lengths count from
 * there, less what it was suspended for. State must be RUNNING. */
void lease_ran_since(struct lease *lease, uint64_t started_ms, uint64_t paused_ms, struct lease_now now);

uint64_t lease_wait_ms(const struct lease *lease, struct lease_now now);
uint64_t lease_run_ms(const struct lease *lease, struct lease_now now);
/* What is to be paid for: device-milliseconds, run time x devices. */
uint64_t lease_device_ms(const struct lease *lease, struct lease_now now);
/* What that costs, in 10^-15 of the currency. Exact: prices are of seconds, lengths in milliseconds. */
money_amount lease_cost(const struct lease *lease, struct lease_now now);

/* charge.c: what a lease has used since its last charge becomes due, once. */
enum { LEASE_CHARGES_MAX = 256 };
/* Closed stretches of `every_ms` of the wall clock are due while it runs, all of it once it is over or suspended. */
bool lease_charge_due(const struct lease *lease, struct lease_now now, uint64_t every_ms);
/* Takes what is due: charged_ms and charged_until_ms move on. The charges for the record, an array of
 * {from_ms, until_ms, kind, price, device_ms}, cut where UTC hours end (all that is behind LEASE_CHARGES_MAX stretches
 * is one), device_ms = (until_ms - from_ms) x devices of that kind and price. NULL: nothing was due. New reference. */
json_t *lease_charge(struct lease *lease, struct lease_now now, uint64_t every_ms);

/* Unix time of the end by its limit, 0: none or not running. What it was suspended for is no part of its run. */
uint64_t lease_ends_ms(const struct lease *lease);

/* Everything, for the ledger; of one that is over without env, with "ended":true. New reference, NULL: no memory. */
json_t *lease_record(const struct lease *lease, struct lease_now now);
/* Back from a record. *lease is overwritten and to be cleared by the caller on success only. */
int lease_restore(struct lease *lease, const json_t *record, struct lease_now now, sl_error *error);
/* As docs/internals/control-api.md has it; reason replaces the lease's own when not NULL. New reference. */
json_t *lease_json(const struct lease *lease, struct lease_now now, const char *reason);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* harness.h - a pool on a loop of its own, with an agent, a ledger and a configuration that a test can bend. */
#ifndef TESTS_UNIT_POOL_HARNESS_H
#define TESTS_UNIT_POOL_HARNESS_H

#include <jansson.h>
#include <stdbool.h>
#include <uv.h>

#include "core/loop/frame.h"
#include "core/pool/pool.h"

/* One lease as the fake agent has it. */
struct fake_lease {
	char id[24], state[16], reason[128];
	char devices[8][96];
	size_t n_devices;
	int exit_code, signal;
	int64_t started_ms, ended_ms, limit_ms, paused_ms;
	char out[65536];
	size_t out_len;
	bool followed;
	char faulty[96]; /* uuid that its end reports */
};

struct fake_agent {
	uv_loop_t *loop;
	char path[108];
	int listener;
	uv_poll_t poll;
	bool polling;
	struct frame_connection *connection;
	struct fake_lease leases[64];
	size_t n_leases;
	unsigned n_devices;
	char health[8][16];
	bool gone[8];            /* device is not named any more */
	bool suspends;           /* devices can be suspended */
	const char *start_error; /* starts fail with it */
	int start_code;
	bool deaf;               /* starts are done but not answered */
	bool scrub_fails;
	const char *garbage_op;  /* answered with `garbage` as it is */
	const char *garbage;
	json_t *seen;            /* array of requests, in order */
};

struct fake_ledger {
	uint64_t seq, committed;
	bool refuses, holds; /* holds: nothing becomes durable */
	json_t *records;     /* id -> latest record, parsed */
	json_t *objects;     /* key -> latest object, parsed */
	json_t *history;     /* array of [id, state] */
};

struct world {
	uv_loop_t loop;
	struct fake_agent agent;
	struct fake_ledger ledger;
	struct conf conf;
	struct conf_queue queues[2];
	struct pool *pool;
	const sl_scheduler_ops *scheduler; /* NULL: fifo */
	void *scheduler_self;
	char folder[64];
	unsigned leases_max;
	struct quota *quota; /* used from the next opening of the pool on; the test's own */
	unsigned (*money_limits)(void *arg, const struct conf *conf, const char *tenant, const char *user, struct quota_limit *out);
};

/* A pool over `n_devices` devices of 40 GiB and kind "sim-40g", connected. */
struct world *world_new(unsigned n_devices);
void world_free(struct world *w);
/* The pool goes and comes back with what the ledger's records say; the agent stays. */
void world_restart(struct world *w);
void world_close_pool(struct world *w);
void world_open_pool(struct world *w);
/* Turns the loop until `ready` says so; false after 10 s. */
bool world_until(struct world *w, bool (*ready)(struct world *w, uint64_t arg), uint64_t arg);
/* Until the lease is in that state. */
bool world_state(struct world *w, uint64_t number, const char *state);
/* A while, for things that must not happen: everything that is due is done. */
void world_settle(struct world *w);

uint64_t submit(struct world *w, const char *name, uint32_t devices);
/* The lease's JSON member as text, "" when it has none; lives until the next call. */
const char *member(struct world *w, uint64_t number, const char *key);
const char *device_member(struct world *w, unsigned index, const char *key);

void agent_up(struct world *w);
/* Connections close and nobody can connect. */
void agent_down(struct world *w);
struct fake_lease *agent_lease(struct world *w, uint64_t number);
/* The program of the lease ends: its record, and the event. */
void agent_end(struct world *w, uint64_t number, int exit_code, int signal);
/* The agent has suspended or resumed the lease, or (why not NULL) could not. run_ms: its run so far. */
void agent_pause(struct world *w, uint64_t number, const char *state, int64_t run_ms, const char *why);
void agent_output(struct world *w, uint64_t number, const char *text);
void agent_health(struct world *w, unsigned index, const char *health, const char *reason);
/* How often `op` was asked for the lease (0: whatever lease). */
unsigned agent_asked(struct world *w, const char *op, uint64_t number);

#endif

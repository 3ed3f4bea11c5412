/* SPDX-License-Identifier: Apache-2.0 */
/* fakes.h - the rooms around the fleet, played by the test: configuration, policy, pool and engines. */
#ifndef TESTS_UNIT_FLEET_FAKES_H
#define TESTS_UNIT_FLEET_FAKES_H

#include "core/fleet/fleet.h"

enum { FAKE_LEASES = 32 };

struct fake_lease {
	uint64_t number;
	char name[64], model[64], listen[160], state[16];
	bool released, ended;
	struct pool_watch *watch;
};

/* Set by tests. */
struct fakes {
	struct conf conf;
	struct conf_model model;
	struct conf_engine engine;
	const char *command;      /* argv[1] of the engine: changes the definition */
	bool command_fails;
	int wanted;               /* the policy's number, -1: it fails */
	bool stranger;            /* somebody else has the port */
	int listens_code;         /* of pool_listens */
	bool wanted_by_waiting;   /* 1 while requests run or wait or were there in the last idle_ms, as the standard policy */
	int health_status;        /* of every engine; 0: connection refused */
	bool submit_fails;
	bool leases_run;          /* a lease runs at once; else the test says when */
	const char *log;          /* what pool_logs gives, NULL: an error */
	json_t *adopt;            /* what pool_leases gives */
	/* Seen by tests. */
	struct fake_lease leases[FAKE_LEASES];
	unsigned n_leases;
	unsigned health_calls;
	uv_loop_t *loop;
};
extern struct fakes fake;

void fake_setup(uv_loop_t *loop);
void fake_teardown(void);
void fake_run(struct fake_lease *lease);
void fake_end(struct fake_lease *lease, int exit_code, int signal);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* fakes.h - the pool, the fleet, an auth plugin and a store, played by the test. The loop's thread alone uses them;
 * tests reach them through door_run(). */
#ifndef TESTS_UNIT_CONTROL_FAKES_H
#define TESTS_UNIT_CONTROL_FAKES_H

#include <stdatomic.h>
#include <sluice/store.h>

#include "core/control/control.h"

struct fake_pool {
	json_t *leases;             /* object: number -> lease, with an environment that nobody may see */
	uint64_t last;
	struct pool_request asked;  /* the last submit; strings copied below */
	char asked_name[64], asked_tenant[64], asked_user[64], asked_queue[64];
	bool refuse;
	uint64_t released, signalled;
	int signal;
	uint64_t notice_ms;
	char reason[128];
	size_t stdin_bytes;
	bool stdin_eof;
	int stdin_code;
	const char *log;            /* of every lease's "out"; pieces of 3 bytes */
	bool drained;
	void (*event)(void *arg, const struct pool_event *);
	void *event_arg;
	atomic_int watches;
};
extern struct fake_pool fake_pool;

struct fake_fleet {
	int started, stopped;
};
extern struct fake_fleet fake_fleet;

/* Two rows, and what the filter was. */
struct fake_store {
	atomic_bool slow;           /* usage_sum waits until it is false */
	atomic_bool broken;
	pthread_mutex_t lock;
	char tenant[64];            /* of the last question */
	uint64_t since_ms, until_ms;
	uint32_t by;
	atomic_int objects, deleted; /* appended */
};
extern struct fake_store fake_store;
extern const sl_store_ops fake_store_ops;

/* The authorization header says who it is: "physics/dana:lease", roles joined by '+'; with "later " in front the
 * answer comes from another thread; "no" is refused. Anything else is not the plugin's. */
struct plugin *fake_plugin(int index);

void fake_lease(uint64_t number, const char *name, const char *tenant, const char *user, const char *state);
void fake_event(const json_t *lease, const char *log, uint64_t from, sl_str data, bool end);
void fakes_reset(void);

#endif

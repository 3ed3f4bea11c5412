/* SPDX-License-Identifier: Apache-2.0 */
/* device.h - the devices of all machines and who has them. Pure. */
#ifndef CORE_LEASE_DEVICE_H
#define CORE_LEASE_DEVICE_H

#include <jansson.h>
#include <stdbool.h>
#include <sluice/scheduler.h>

#include "core/lease/lease.h"

enum { DEVICES_MAX = 65536, DEVICE_STRIKES = 3 };

struct device {
	char name[SL_NAME_MAX]; /* machine/gpuN, ours; stays with the uuid while we run */
	char uuid[LEASE_UUID_MAX];
	char machine[SL_NAME_MAX], kind[SL_NAME_MAX], island[SL_NAME_MAX], vendor[SL_NAME_MAX], model[SL_NAME_MAX];
	char backend[SL_NAME_MAX], isolation[16], bus[32];
	uint32_t index;        /* N of the name */
	uint64_t memory_bytes;
	int32_t numa_node;     /* -1: unknown */
	int64_t memory_used_bytes, busy_permille, temperature_c, power_mw; /* -1: unknown */
	char health[16];       /* the agent's word */
	char health_reason[SL_ERROR_TEXT];

	uint64_t lease;        /* number of the holder, 0: none */
	uint64_t hold;         /* number of the waiting lease that gets it once it is free, 0: none */
	bool releasing;        /* the holder is on its way out: scrubbing follows */
	bool present;          /* its agent is there and has it */
	bool drain;            /* an operator's wish */
	bool faulty;           /* stays until an operator or a passed check clears it */
	bool suspends;         /* its backend can suspend what runs on it */
	bool unsaved;          /* drain and faulty have changed since the ledger took them */
	unsigned strikes;      /* times that it was lost; DEVICE_STRIKES of them make it faulty */
	char reason[SL_ERROR_TEXT]; /* why it is faulty or drained */
};

struct devices {
	struct device *at;
	size_t n, room;
};

void devices_free(struct devices *devices);
/* By name or uuid; NULL: none. */
struct device *devices_find(const struct devices *devices, sl_str id);
/* The agent of `machine` has said this about a device: a new one gets its name, a known one new values. *now_faulty
 * (may be NULL): health became faulty by it. SL_OK, SL_EINVAL (not a device: it is left as it was), SL_EFULL. */
int devices_update(struct devices *devices, const char *machine, const json_t *told, bool *now_faulty, sl_error *error);
/* The agent of `machine` is away (or has no such device any more): nothing there can be granted. */
void devices_away(struct devices *devices, const char *machine);

/* enum sl_device_state. A device that is not there counts as faulty: what else can be said of it is `present`. */
uint32_t device_state(const struct device *device);
const char *device_state_name(const struct device *device);
void device_set_faulty(struct device *device, const char *reason);
bool device_suits(const struct device *device, const char *kind, uint64_t memory_bytes);

/* Are these as many as the lease wants, each once, all that suit it and on one machine? SL_ECONFLICT and why not.
 * Nothing is said of their being free. */
int devices_suit(const struct devices *devices, const struct lease *lease, const uint32_t *indices, uint32_t n,
                 sl_error *error);
/* Gives the lease exactly these devices, all of them or, with SL_ECONFLICT, none: each must be free or held for it. What
 * else was held for it is not any more. */
int devices_grant(struct devices *devices, struct lease *lease, const uint32_t *indices, uint32_t n, sl_error *error);
/* After a restart: devices that the lease's record names are its own again. SL_ENOTFOUND: one is missing;
 * SL_ECONFLICT: one is another's. Then nothing was changed. */
int devices_rebind(struct devices *devices, const struct lease *lease, sl_error *error);
/* Its devices are nobody's; the lease's own list stays for people. */
void devices_free_lease(struct devices *devices, uint64_t number);
/* What was held for it is nobody's. */
void devices_unhold(struct devices *devices, uint64_t number);
void devices_releasing(struct devices *devices, uint64_t number);

/* As docs/internals/control-api.md has it; holder (may be NULL) is its lease. New reference. */
json_t *device_json(const struct device *device, const struct lease *holder);

#endif

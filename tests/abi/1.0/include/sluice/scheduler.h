/* SPDX-License-Identifier: Apache-2.0 */
/* scheduler.h - plugins that say which waiting lease gets which devices, and who gives way.
 *
 * plan() is pure: it reads an immutable view and returns actions. The core checks every action against its
 * invariants and refuses a wrong one; the next round goes on. */
#ifndef SLUICE_SCHEDULER_H
#define SLUICE_SCHEDULER_H

#include <sluice/backend.h>

#ifdef __cplusplus
extern "C" {
#endif

enum sl_device_state {
	SL_DEVICE_FREE = 0,
	SL_DEVICE_HELD = 1,      /* promised to a lease that does not have all of its devices yet */
	SL_DEVICE_GRANTED = 2,
	SL_DEVICE_SCRUBBING = 3,
	SL_DEVICE_DRAINING = 4,  /* in use, not granted again */
	SL_DEVICE_FAULTY = 5,
	SL_DEVICE_PROBATION = 6,
	SL_DEVICE_DRAINED = 7    /* out of the pool until an operator says otherwise */
};

typedef struct sl_view_device {
	char name[SL_NAME_MAX];    /* machine/gpuN */
	char machine[SL_NAME_MAX];
	char kind[SL_NAME_MAX];
	char island[SL_NAME_MAX];
	uint64_t memory_bytes;
	int32_t numa_node;
	uint32_t state;  /* enum sl_device_state */
	uint64_t lease;  /* number of the holder, 0: none */
} sl_view_device;

typedef struct sl_view_queue {
	char name[SL_NAME_MAX];
	int32_t quota; /* devices, -1: no bound */
	int32_t used;
	int32_t priority;
} sl_view_queue;

/* A lease that waits or runs. */
typedef struct sl_view_lease {
	uint64_t number;      /* L1042 is 1042 */
	uint32_t queue;       /* index into view.queues */
	int32_t priority;     /* higher first */
	uint32_t devices;     /* how many it wants */
	int32_t preemptible;  /* 1: may be asked to give way */
	uint64_t memory_bytes;/* at least, per device; 0: any */
	char kind[SL_NAME_MAX]; /* empty: any */
	char tenant[SL_NAME_MAX];
	uint64_t since_ms;    /* Unix time: waiting since, or running since */
	uint64_t ends_ms;     /* running: end by its time limit, 0: none */
	uint64_t time_limit_ms; /* 0: none */
} sl_view_lease;

typedef struct sl_view {
	uint32_t size;
	uint32_t reserved;
	uint64_t now_ms; /* Unix time */
	const sl_view_device *devices;
	size_t n_devices;
	const sl_view_queue *queues;
	size_t n_queues;
	const sl_view_lease *waiting; /* oldest first */
	size_t n_waiting;
	const sl_view_lease *running;
	size_t n_running;
} sl_view;

enum sl_action_type {
	SL_ACTION_GRANT = 1,  /* lease gets `devices` */
	SL_ACTION_PREEMPT = 2 /* lease gives way, with notice */
};

typedef struct sl_action {
	uint32_t type;   /* enum sl_action_type */
	uint32_t n_devices;
	uint64_t lease;  /* number */
	const uint32_t *devices; /* indices into view.devices; valid until plan() is called again */
	char reason[SL_ERROR_TEXT];
} sl_action;

typedef struct sl_scheduler_ops {
	uint32_t size;
	uint32_t reserved;
	/* Fills up to `room` actions, in the order in which to do them. Main thread of sluiced; no I/O, no clock,
	 * at most 100 ms. */
	int (*plan)(void *self, const sl_view *view, sl_action *out, size_t room, size_t *n, sl_error *);
	/* Why lease `number` waits, one line for a person. NULL: the core says what it can. */
	int (*explain)(void *self, const sl_view *view, uint64_t number, char *text, size_t room);
} sl_scheduler_ops;

#ifdef __cplusplus
}
#endif
#endif

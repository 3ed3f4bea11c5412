/* SPDX-License-Identifier: Apache-2.0 */
/* scheduler.h - plugins that say which waiting lease gets which devices, and who gives way.
 *
 * plan() is pure: it reads an immutable view and returns actions. The core checks every action against its
 * invariants and refuses a wrong one; the next round goes on.
 *
 * Since 1.1 the view has terms beside its arrays: what queues are owed, shares of devices, what a lease costs that
 * gives way. They stand in parallel arrays, so that the elements of 1.0 keep their size. Before reading any of them
 * see that view->size covers it:
 *   if (view->size >= offsetof(sl_view, n_users) + sizeof view->n_users) ... (SL_VIEW_HAS(view, n_users) says the same)
 *
 * Widths are in thousandths of a device ("milli"): a lease of two whole devices is 2000 wide, 460/1000 of one is 460.
 * Every lease that has devices, or has them held, bears a label: nominal, within what its queue is owed, or borrowed.
 * The core's potential is (nominal width by priority, highest first; borrowed width by priority, highest first; the
 * queues' borrowed shares, sorted, the smaller the better), compared in that order; priority is the queue's, then the
 * lease's. An action that changes who has devices must raise it, so nobody can preempt in circles. */
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
	uint64_t since_ms;    /* Unix time: waiting since, or running since; suspended: it was asked for then */
	uint64_t ends_ms;     /* running: end by its time limit, 0: none */
	uint64_t time_limit_ms; /* 0: none */
} sl_view_lease;

/* An index that leads nowhere. */
#define SL_NONE UINT32_MAX

/* Since 1.1. Every machine that has devices in the view. */
typedef struct sl_view_machine {
	char name[SL_NAME_MAX];
	int64_t cpu_milli;              /* thousandths of a core; -1: unknown, then nothing is counted */
	int64_t cpu_milli_free;         /* what leases have not asked for; -1: unknown */
	int64_t host_memory_bytes;      /* -1: unknown */
	int64_t host_memory_free_bytes; /* what leases have not asked for; -1: unknown */
} sl_view_machine;

/* Since 1.1, parallel to view.devices. */
typedef struct sl_view_device_terms {
	uint32_t machine;    /* index into view.machines */
	uint32_t island;     /* devices of one machine with the same number are of one island; SL_NONE: of none */
	uint32_t kind;       /* equal kinds have equal numbers, in lease terms too */
	uint32_t free_milli; /* what a share could get: 1000 of a free device, 0 of one that is whole in use, held or out
	                        of service */
	uint64_t hold;       /* number of the waiting lease that gets it once it is free; 0: none */
} sl_view_device_terms;

enum sl_queue_flag {
	SL_QUEUE_PREEMPT_OWN = 1u << 0,   /* its leases may evict those of lower priority in the queue itself */
	SL_QUEUE_RECLAIM = 1u << 1,       /* its claims may evict what others have borrowed */
	SL_QUEUE_PREEMPT_OTHERS = 1u << 2 /* its borrowers may evict other queues' borrowers, where the potential rises */
};

/* Since 1.1, parallel to view.queues. Limits are in whole devices, widths in milli. */
typedef struct sl_view_queue_terms {
	uint32_t cohort;        /* index into view.cohorts; SL_NONE: of none, it shares with the whole pool */
	int32_t nominal;        /* what it is owed */
	int32_t borrow;         /* it may have so much more than nominal; -1: no limit */
	int32_t lend;           /* others may use so much of its nominal; -1: all of it */
	uint32_t weight;        /* its part of what can be borrowed, beside others; 1 or more */
	uint32_t flags;         /* enum sl_queue_flag */
	int64_t nominal_milli;  /* width of its nominal leases, running and held */
	int64_t borrowed_milli; /* width of its borrowed leases, running and held */
	int64_t borrowable_milli; /* what the limits of the queue and of its cohorts leave for one more borrowed lease */
	uint64_t min_run_ms;    /* nobody of this queue gives way before it has had its devices for so long */
	uint64_t used_ms;       /* device-milliseconds since sluiced began to count; only grows */
} sl_view_queue_terms;

/* Since 1.1. Cohorts are nested: what one does not use of its own, others below the same parent may borrow. */
typedef struct sl_view_cohort {
	char name[SL_NAME_MAX];
	uint32_t parent;  /* index into view.cohorts; SL_NONE: the pool itself */
	int32_t nominal;  /* devices that it is owed beside its members' nominal */
	int32_t borrow;   /* members together may have so much more than all nominal in it; -1: no limit */
	int32_t lend;     /* others may use so much of what is nominal in it; -1: all of it */
} sl_view_cohort;

/* Since 1.1. A user in a queue, where that queue bounds its users. */
typedef struct sl_view_user {
	char name[SL_NAME_MAX];
	uint32_t queue;     /* index into view.queues */
	int32_t quota;      /* whole devices */
	int64_t used_milli; /* running and held */
} sl_view_user;

enum sl_lease_flag {
	SL_LEASE_BORROWED = 1u << 0,    /* running, held or suspended: its label; else it is nominal */
	SL_LEASE_HELD = 1u << 1,        /* waiting or suspended: its devices are chosen and become free; grant them, or resume it on
	                                   them, once they are */
	SL_LEASE_LEAVING = 1u << 2,     /* running: was asked to end, counts no more, and its devices become free */
	SL_LEASE_SUSPENDABLE = 1u << 3, /* can give way without losing work, and go on on its machine */
	SL_LEASE_MOVABLE = 1u << 4,     /* can save its work and go on on other devices */
	SL_LEASE_ONE_ISLAND = 1u << 5,  /* all devices must be of one island */
	SL_LEASE_SPAN = 1u << 6         /* its devices need not be of one machine */
};

/* Since 1.1, parallel to view.waiting, view.running, view.suspended. */
typedef struct sl_view_lease_terms {
	uint32_t flags;         /* enum sl_lease_flag */
	uint32_t milli;         /* of each device: 1000, or less for a share of one device */
	uint32_t kind;          /* number as in device terms; SL_NONE: any (when sl_view_lease.kind is empty), or no device
	                           is of that kind */
	uint32_t user;          /* index into view.users; SL_NONE: not bounded */
	uint32_t first_place;   /* view.places from here: devices that it has, that are held for it, or else
	                           (suspended) that it had */
	uint32_t n_places;
	uint64_t cpu_milli;     /* asked for, on its machine; 0: none */
	uint64_t host_memory_bytes; /* asked for, on its machine; 0: none */
	uint64_t granted_ms;    /* Unix time: it has its devices since; 0: it has none. The minimum run time counts from here */
	uint64_t lost_ms;       /* run time that a kill would lose: since its start or its last checkpoint */
	uint64_t restart_ms;    /* what giving way costs beside: to stop, and to start again */
	uint64_t expected_run_ms; /* of the whole run, as learned; 0: unknown */
	uint64_t hold_until_ms; /* SL_LEASE_HELD: the core drops the hold then */
} sl_view_lease_terms;

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

	/* Since 1.1. */
	const sl_view_machine *machines;
	size_t n_machines;
	const sl_view_device_terms *device_terms;  /* n_devices */
	const sl_view_queue_terms *queue_terms;    /* n_queues */
	const sl_view_cohort *cohorts;
	size_t n_cohorts;
	const sl_view_lease_terms *waiting_terms;  /* n_waiting */
	const sl_view_lease_terms *running_terms;  /* n_running */
	const sl_view_lease *suspended;            /* off their devices, to be resumed on their machines; oldest first */
	const sl_view_lease_terms *suspended_terms;
	size_t n_suspended;
	const uint32_t *places;                    /* indices into view.devices; lease terms say which are whose */
	size_t n_places;
	const sl_view_user *users;
	size_t n_users;
} sl_view;

/* Does the view that plan() got have this member? One of an older core is shorter. */
#define SL_VIEW_HAS(VIEW, MEMBER) ((VIEW)->size >= offsetof(sl_view, MEMBER) + sizeof (VIEW)->MEMBER)

/* What an action does. The potential is the core's measure that cannot rise for ever; see above. */
enum sl_action_type {
	SL_ACTION_GRANT = 1,   /* a waiting lease gets `devices`, all free or held for it; its hold ends */
	SL_ACTION_PREEMPT = 2, /* a running lease gives way, with notice, and is over. By itself only while a lease waits that
	                          might evict it; who uses SL_ACTION_HOLD needs no such action */
	/* Since 1.1. */
	SL_ACTION_HOLD = 3,    /* a waiting or suspended lease is promised `devices`: each is free, or its holder gives way by
	                          this very action: is suspended where it can be, else preempted with notice. All or nothing. What
	                          becomes free is that lease's until it is granted, or resumed on them, or the hold expires.
	                          For a suspended one they are of its kind and on its machine */
	SL_ACTION_SUSPEND = 4, /* a running lease is suspended; under the same terms as SL_ACTION_PREEMPT */
	SL_ACTION_RESUME = 5,  /* a suspended lease gets `devices`, all free or held for it, of the kind that it had and on its
	                          machine */
	SL_ACTION_MOVE = 6,    /* a running lease saves its work and goes on on `devices`, all free; its old ones become
	                          free. Its minimum run time counts anew, and it is not moved before that has passed */
	SL_ACTION_PROMOTE = 7  /* a running borrowed lease becomes nominal: its queue has room for it */
};

/* Beside the type. Without any, the core labels the lease: nominal where its queue has room, else borrowed. */
enum sl_action_flag {
	SL_ACTION_NOMINAL = 1u << 16, /* GRANT, HOLD, RESUME: refused unless nominal room is left once holders have gone */
	SL_ACTION_BORROWED = 1u << 17 /* GRANT, HOLD, RESUME: counts as borrowed, however much nominal room there is */
};
#define SL_ACTION_TYPE(TYPE) ((TYPE) & 0xffffu)

typedef struct sl_action {
	uint32_t type;   /* enum sl_action_type, and since 1.1 enum sl_action_flag */
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

/* SPDX-License-Identifier: Apache-2.0 */
/* backend.h - plugins for a family of devices.
 *
 * A backend runs in a child process of the agent, alone. All calls come one at a time on that process's main
 * thread and may block; each has a deadline, after which the process is abandoned, reported and replaced. */
#ifndef SLUICE_BACKEND_H
#define SLUICE_BACKEND_H

#include <sluice/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Descriptor caps */
#define SL_BACKEND_CAP_PARTITION (1ull << 0) /* devices can be cut into partitions */
#define SL_BACKEND_CAP_SUSPEND (1ull << 1)   /* state of a process can leave the device and come back */
/* Since 1.1. Its devices are those of its options alone: open() and devices() touch nothing, wait for nothing and give the
 * same on every machine, so that a configuration can be checked against them where no agent runs. */
#define SL_BACKEND_CAP_DECLARED (1ull << 2)
/* A cap says that the plugin has the functions. Whether this machine's devices and drivers go along is said by their
 * answers: SL_ENOTSUP with the reason. */

enum sl_health {
	SL_HEALTH_OK = 0,
	SL_HEALTH_DEGRADED = 1, /* usable, but look at it: `reason` says why */
	SL_HEALTH_FAULTY = 2,   /* must not be granted */
	SL_HEALTH_LOST = 3      /* does not answer any more */
};

enum sl_isolation { SL_ISOLATION_WHOLE = 1, SL_ISOLATION_PARTITION = 2, SL_ISOLATION_SHARE = 3 };

/* One device. Known by uuid: indices change over reboots. */
typedef struct sl_device {
	uint32_t size;
	uint32_t index;        /* of this moment, for people */
	char uuid[96];
	char parent[96];       /* uuid of the device that this is a part of, empty: none */
	char vendor[SL_NAME_MAX];
	char model[SL_NAME_MAX];  /* "NVIDIA H100 80GB HBM3" */
	char kind[SL_NAME_MAX];   /* short, what people ask for: "h100-80g" */
	uint64_t memory_bytes;
	uint32_t isolation;    /* enum sl_isolation */
	int32_t numa_node;     /* -1: unknown */
	char island[SL_NAME_MAX]; /* devices with an equal, non-empty word have a fast link between them */
	char bus[32];          /* PCI address, may be empty */
} sl_device;

/* Telemetry of one device. Negative: unknown. */
typedef struct sl_sample {
	uint32_t size;
	uint32_t health;       /* enum sl_health */
	char uuid[96];
	int64_t memory_used_bytes;
	int32_t busy_permille; /* time with any work on it, the last second */
	int32_t temperature_c;
	int64_t power_mw;
	int64_t energy_mj;     /* since the driver was loaded */
	char reason[SL_ERROR_TEXT]; /* why health is not OK */
} sl_sample;

/* One environment variable for a process on a lease. */
typedef struct sl_env {
	char name[SL_NAME_MAX];
	char value[1024];
} sl_env;

/* --- since 1.1. The structs below are elements of arrays: their sizes are final, and what comes later gets structs
 * and functions of its own. `size` is set by the writer, as in sl_device. Negative figures: unknown. --- */

/* Why a device does not run at full clock: bits of sl_telemetry.throttle. */
#define SL_THROTTLE_POWER (1ull << 0)     /* its power limit */
#define SL_THROTTLE_THERMAL (1ull << 1)   /* too warm, slowed by the driver */
#define SL_THROTTLE_HARDWARE (1ull << 2)  /* too warm or out of power, slowed by the board itself */
#define SL_THROTTLE_BRAKE (1ull << 3)     /* the machine's power brake */

/* More telemetry of one device, for people and for rules about idle or tired devices. */
typedef struct sl_telemetry {
	uint32_t size;
	int32_t compute_permille;  /* share of the compute units that had work, over the time since the last call (1,000 at
	                            * most); this one does not lie when a single small kernel spins */
	char uuid[96];
	int64_t ecc_corrected;     /* since the driver was loaded */
	int64_t ecc_uncorrected;   /* the same; data was lost */
	int64_t rows_remapped;     /* rows or pages of memory that were put out of use for errors, for life */
	int64_t power_limit_mw;
	uint64_t throttle;         /* SL_THROTTLE_ bits of this moment */
	int32_t throttle_known;    /* 1: throttle means something, 0: unknown */
	int32_t last_fault;        /* vendor's number of the last fault (NVIDIA: Xid) since open(); 0: none */
	int32_t links;             /* fast links (NVLink, XGMI) that the device has */
	int32_t links_up;          /* of these, in use */
	int64_t energy_mj;         /* as in sl_sample */
} sl_telemetry;

/* A process that has memory or a context on a device. */
typedef struct sl_process {
	uint32_t size;
	int32_t pid;               /* in the pid namespace of the caller */
	int64_t memory_bytes;      /* on that device */
	int32_t compute_permille;  /* share of the device's compute units, a recent average */
	uint32_t reserved;         /* zero */
} sl_process;

/* How bad an event is. What follows from it is the agent's and the operator's business. */
enum sl_event_class {
	SL_EVENT_PROGRAM = 1, /* the program's own fault: the device is fine */
	SL_EVENT_NOTE = 2,    /* worth a line, no more */
	SL_EVENT_DEGRADED = 3,/* works on, but look at it; a later reset is due */
	SL_EVENT_FAULTY = 4,  /* must not be granted until somebody has reset, repaired or cleared it */
	SL_EVENT_LOST = 5     /* the device is gone */
};

/* Something happened on a device. */
typedef struct sl_event {
	uint32_t size;
	uint32_t event_class;      /* enum sl_event_class */
	char uuid[96];
	int64_t code;              /* the vendor's number (NVIDIA: Xid), 0: none */
	int64_t wall_ms;           /* Unix time at which it was seen */
	char text[SL_ERROR_TEXT];  /* one sentence: what it means and what to do */
} sl_event;

typedef struct sl_backend_ops {
	uint32_t size;
	uint32_t reserved;
	/* Fills up to `room` devices, sets *n to how many there are (which may be above room). */
	int (*devices)(void *self, sl_device *out, size_t room, size_t *n, sl_error *);
	/* A sample of every device, in any order; as above. */
	int (*sample)(void *self, sl_sample *out, size_t room, size_t *n, sl_error *);
	/* Before a lease uses the devices. Fills the variables that make exactly these visible. */
	int (*prepare)(void *self, const char *const *uuids, size_t n_uuids, const char *lease,
	               sl_env *env, size_t room, size_t *n_env, sl_error *);
	/* After the last process of the lease is gone: scrub memory, check health. An error keeps the device out
	 * of the pool with that reason. */
	int (*release)(void *self, const char *const *uuids, size_t n_uuids, const char *lease, sl_error *);

	/* --- since 1.1. Each may be NULL: the plugin cannot do it. SL_ENOTSUP: this device or machine cannot, and the
	 * text says why. A uuid that is not there is SL_ENOTFOUND. What takes arrays takes no pointer that is NULL, and
	 * writes nothing beyond `room`. Deadlines are the agent's; in brackets. --- */

	/* One sentence: which libraries it found in which version, what it can do and what is off, and why. [5 s] */
	int (*about)(void *self, char *text, size_t room, sl_error *);
	/* Telemetry of every device, as sample(). A device that does not answer is left out. [5 s] */
	int (*telemetry)(void *self, sl_telemetry *out, size_t room, size_t *n, sl_error *);
	/* Who is on a device now: up to `room` processes, *n is how many there are. [5 s] */
	int (*processes)(void *self, const char *uuid, sl_process *out, size_t room, size_t *n, sl_error *);
	/* What happened since the last call, oldest first; never waits for something to happen. Hands over up to `room`,
	 * sets *n to how many were handed over (here never above room): the rest comes with the next call. A backend
	 * keeps a bounded number of them and says in a NOTE when it had to drop some. [5 s] */
	int (*events)(void *self, sl_event *out, size_t room, size_t *n, sl_error *);
	/* Tries the device out: it computes, and remembers what is written to it. Only while no lease uses it. SL_OK: it
	 * does. Clears what events() has told of it, so that sample() calls it healthy again, where the device has
	 * nothing against that. [30 s] */
	int (*check)(void *self, const char *uuid, sl_error *);

	/* Moves what these processes have on the devices to the machine's memory, and gives the devices free. All
	 * processes of the lease are given, children too; those that never used a device may run on. Afterwards no given
	 * process uses a given device, and each waits where it next needs one. Doing it again is SL_OK. Without any pids nothing
	 * is moved, and the answer says whether these devices could. Processes that were started meanwhile are given in a
	 * second call, and may stand still then: one that uses no device is no reason to fail.
	 * `timeout_ms` bounds it. An error means that all of them run on as before; when they cannot, the code is
	 * SL_EIO, and the lease must be ended. [timeout_ms + 10 s] */
	int (*suspend)(void *self, const char *const *uuids, size_t n_uuids, const int32_t *pids, size_t n_pids,
	               uint64_t timeout_ms, sl_error *);
	/* The way back. from[i] is what to[i] stands in for; both have n_uuids, equal uuids mean the same device. Another
	 * device must be of the same kind. Processes that are not suspended are left alone: doing it again is SL_OK. An
	 * error means that they are suspended as before; SL_EIO as above. [timeout_ms + 10 s] */
	int (*resume)(void *self, const char *const *from, const char *const *to, size_t n_uuids, const int32_t *pids,
	              size_t n_pids, uint64_t timeout_ms, sl_error *);
} sl_backend_ops;

#ifdef __cplusplus
}
#endif
#endif

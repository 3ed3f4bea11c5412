/* SPDX-License-Identifier: Apache-2.0 */
/* decide.h - what to do with the replicas of one model. Pure: time, load and chance are arguments. */
#ifndef CORE_FLEET_DECIDE_H
#define CORE_FLEET_DECIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In the order of a replica's life. */
enum fleet_state {
	FLEET_LEASING = 0, /* its lease waits or its program is about to start */
	FLEET_STARTING,    /* the program runs, and has not been healthy yet */
	FLEET_READY,
	FLEET_DRAINING,    /* no new requests; those under way may end */
	FLEET_STOPPING     /* its lease was released, and has not ended yet */
};

enum {
	FLEET_BACKOFF_MIN_MS = 1000,
	FLEET_BACKOFF_MAX_MS = 5 * 60 * 1000,
	FLEET_HEALTHY_MS = 60 * 1000, /* ready for so long after a failure: the failure is forgotten */
	FLEET_LOSSES_WAITED = 3,      /* replicas lost in a row while requests wait for the next one; then they are refused */
	FLEET_SICK_AFTER = 3,         /* health checks that fail in a row */
	FLEET_MAKE_ROOM_MS = 5000,    /* a new replica waits so long for devices before an outdated one gives its own */
	FLEET_DRAIN_POLL_MS = 100,
	FLEET_TICK_MS = 1000
};

/* One replica as decisions see it. */
struct fleet_unit {
	enum fleet_state state;
	uint64_t since_ms;  /* when it came into this state */
	int running;        /* requests under way on it */
	unsigned sick;      /* health checks that failed in a row */
	bool outdated;      /* started under another definition of its model */
};

/* What is remembered of a model between decisions. Zero-initialised is the start. */
struct fleet_mind {
	unsigned failures;        /* starts and replicas that failed since one was healthy for FLEET_HEALTHY_MS */
	uint64_t failed_ms;       /* the last of them */
	bool start_failed;        /* the last of them never served */
	uint64_t retry_ms;        /* nothing is started before */
	uint64_t surplus_ms;      /* since when there are more than wanted; 0: there are not */
	int floor;                /* an operator asked for so many ... */
	uint64_t floor_set_ms;    /* ... at this time; holds while younger than idle_ms */
	bool stopped;             /* an operator's word: none, until started again */
};

/* The model and the world at one moment. All times are of one monotonic clock, in milliseconds. */
struct fleet_world {
	uint64_t now_ms;
	int min, max;             /* bounds of the configuration */
	uint64_t idle_ms, start_ms, drain_ms;
	int wanted;               /* the policy's number, -1: it could not be asked */
	int running, waiting;     /* requests on all replicas, and those that wait for one */
	uint64_t used_ms;         /* the last request began or ended, 0: never one */
	const struct fleet_unit *units;
	size_t n_units;
};

enum fleet_do {
	FLEET_START = 1,      /* one more replica; `unit` is unused */
	FLEET_DRAIN,          /* no new requests to this one */
	FLEET_RELEASE,        /* end its lease */
	FLEET_FAIL,           /* its start took too long: it has failed, end its lease */
	FLEET_FAIL_WAITERS    /* nothing can serve those who wait */
};

enum fleet_because {
	FLEET_WANTED = 0,
	FLEET_SURPLUS,        /* more than wanted, for long enough */
	FLEET_OUTDATED,       /* replaced by one of the new definition */
	FLEET_SICK,           /* its health checks fail */
	FLEET_STOPPED,        /* an operator's word */
	FLEET_DRAINED,
	FLEET_DEADLINE        /* of its start, or of its drain */
};

struct fleet_action {
	enum fleet_do what;
	enum fleet_because because;
	size_t unit;          /* index into the world's units */
};

/* How many replicas there should be: the policy's number (or, when it cannot be asked, as many as there are, and one
 * at least while requests wait) within the bounds, raised by an operator's word, 0 when stopped. */
int fleet_target(const struct fleet_mind *mind, const struct fleet_world *world);

/* What to do now, at most `room` actions (what does not fit is found again by the next decision). The caller carries
 * all of them out before it asks again. */
size_t fleet_decide(struct fleet_mind *mind, const struct fleet_world *world, struct fleet_action *out, size_t room);

/* The longest time until the next decision, ms. */
uint64_t fleet_next(const struct fleet_mind *mind, const struct fleet_world *world);

/* A start or a replica has failed: when to try again. Doubles from 1 s to 5 min; `random` takes up to a quarter off,
 * so that many models do not come back in one step. Returns the delay. */
uint64_t fleet_failed(struct fleet_mind *mind, uint64_t now_ms, uint32_t random);
/* The same for a replica that has served: a start may well do, so requests wait for it. */
uint64_t fleet_lost(struct fleet_mind *mind, uint64_t now_ms, uint32_t random);
/* Does it back off from starts that are not to be waited for? */
bool fleet_backs_off(const struct fleet_mind *mind, uint64_t now_ms);

/* An operator's words. */
void fleet_want_more(struct fleet_mind *mind, const struct fleet_world *world);
void fleet_want_none(struct fleet_mind *mind);

/* Requests a second, smoothed over half a minute or so. Zero-initialised is the start. */
struct fleet_rate {
	uint64_t at_ms, count;
	double per_s;
};
double fleet_rate_update(struct fleet_rate *rate, uint64_t now_ms, uint64_t count);

#endif

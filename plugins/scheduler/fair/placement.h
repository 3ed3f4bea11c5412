/* SPDX-License-Identifier: Apache-2.0 */
/* placement.h - on which machine, and on which of its devices, a request costs the pool least.
 *
 * A machine is worth what typical requests could still use of it. A candidate is scored by
 *
 *   fill after - fill before + gang weight x (gangs before - gangs after) - scarcity weight x scarcity x milli used
 *
 * fill: mean, over fixed streams of typical requests, of the device thousandths that get used when the stream is
 * offered to this machine alone. gangs: free thousandths on machines where gangs of two and more do not fit, by
 * the gangs' share of all demand. scarcity: demand that is bound to a model, against what is free of it. The best
 * score wins, to steps of 10; ties go to the machine with the least free, then to the lowest index.
 *
 * What is typical is learned from placement_learn(). Fill values and best options are kept by state: a machine whose
 * state has been seen before costs a look into a table. Nothing here reads a clock or chance: the same calls give the
 * same answers. One thread at a time. */
#ifndef PLUGINS_SCHEDULER_FAIR_PLACEMENT_H
#define PLUGINS_SCHEDULER_FAIR_PLACEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PLACEMENT_MODELS_MAX = 64,
	PLACEMENT_DEVICES_MAX = 64,  /* of one model on one machine */
	PLACEMENT_WHOLE = 1000       /* thousandths of a device */
};

/* Free cpu or memory of a machine that is not counted. */
#define PLACEMENT_UNKNOWN INT64_MAX

struct placement_terms {
	double gang_weight;     /* 0.1 where leases can be moved to empty a machine, 0.5 to 1 where they cannot */
	double scarcity_weight; /* 0.6 */
	uint32_t requests_max;  /* different requests that are kept apart; 0: 1024 */
	uint32_t states_max;    /* states whose values are kept, and 8 options for each; 0: 65536. When it is full all are
	                           dropped and computed anew as needed */
};
#define PLACEMENT_TERMS { 0.1, 0.6, 0, 0 }

/* The devices of one model on one machine; a machine with two models is two of these with the same cpu and memory. */
struct placement_machine {
	int64_t cpu_milli, memory;  /* free; any unit of memory, but one and the same */
	uint32_t model;             /* below PLACEMENT_MODELS_MAX */
	uint32_t n_devices;         /* all that are in service, used ones too */
	const uint16_t *free_milli; /* n_devices of them: 0 to 1000 */
};

struct placement_request {
	int64_t cpu_milli, memory;
	uint64_t models;  /* bit M: model M will do; 0: all */
	uint32_t devices; /* 0: none */
	uint32_t milli;   /* of each device; less than 1000 only of one device */
};

struct placement_choice {
	uint32_t machine;
	uint32_t level; /* take devices that have exactly so much free: 1000, or for a share what is left of one */
	int32_t score;  /* in steps of 10 milli; compare within one request only */
};

struct placement;

/* NULL: out of memory. */
struct placement *placement_new(const struct placement_terms *terms);
void placement_free(struct placement *p);

/* How machine `index` is now. Indices are dense from 0; a new highest one grows the pool. False: out of memory, or a
 * value out of range; then the machine is as before. */
bool placement_set(struct placement *p, uint32_t index, const struct placement_machine *machine);
/* Forgets the machines from index `n` on. */
void placement_shrink(struct placement *p, uint32_t n);

/* A request has arrived: call it once for each. Now and then all values are estimated anew from what came last. */
void placement_learn(struct placement *p, const struct placement_request *request);

/* The best machine for the request; barred (may be NULL): a byte for each machine, not 0: leave it out. False: it fits
 * nowhere. */
bool placement_choose(struct placement *p, const struct placement_request *request, const uint8_t *barred,
                      struct placement_choice *out);
/* The best option on one machine. False: it does not fit there. */
bool placement_option(struct placement *p, uint32_t machine, const struct placement_request *request,
                      struct placement_choice *out);

#endif

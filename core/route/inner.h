/* SPDX-License-Identifier: Apache-2.0 */
/* inner.h - what the files of route share. All of it is under the model's lock. */
#ifndef CORE_ROUTE_INNER_H
#define CORE_ROUTE_INNER_H

#include <pthread.h>

#include "core/route/route.h"

struct route_model {
	struct route_model *next;
	char name[SL_NAME_MAX];
	pthread_mutex_t lock;
	struct route_replica *replicas[ROUTE_REPLICAS_MAX];
	unsigned n_replicas;
	unsigned slots;         /* one more than the highest that is in use */
	uint64_t slot_used[PREFIX_SLOTS_MAX / 64];
	unsigned turn;          /* where the search begins, so that ties are spread */
	struct route_waiter *first;
	int waiting, waiting_max;
	uint64_t order;
	uint64_t arrivals, last_ms;

	enum route_rule rule;
	struct prefix *index;   /* NULL: none is kept */
	uint32_t index_entries;
	int64_t cache_tokens;
	struct cost_step step;
	struct cost_speed speed;
	double tokens_per_byte;  /* of prompts */
	double output;           /* tokens of an answer, on average */
	double fastest;          /* most tokens a millisecond that an answer came with; 0: none was seen */
};

struct route {
	pthread_rwlock_t lock; /* of the list of models; a model itself lives as long as the table */
	struct route_model *models;
};

/* rules.c: the best replica with room; NULL: none. Sets use's parts. */
struct route_replica *rules_best(struct route_model *model, uint64_t now_us, struct route_use *use,
                                 const unsigned *exclude, unsigned n_exclude);
/* What is expected of the prompt: tokens and output. */
void rules_expect(const struct route_model *model, struct route_use *use);
void rules_weigh(struct route_model *model, struct route_replica *r, const struct route_use *use, unsigned depth,
                 uint64_t now_us, struct cost_parts *out);
bool rules_has_room(const struct route_replica *r);
/* By id: a replica that is gone may have given its memory to another one. */
bool rules_is_among(const struct route_replica *r, const unsigned *ids, unsigned n);
/* How many of the first blocks each slot holds. */
void rules_match(const struct route_model *model, const struct route_use *use, uint16_t depth[PREFIX_SLOTS_MAX]);

/* use.c: what a replica has to do, counted, and what is learned from how long it took. */
void use_begin(struct route_replica *r, struct route_use *use, uint64_t now_us);
void use_first(struct route_use *use, uint64_t now_us);
void use_end(struct route_use *use, uint64_t now_us, bool failed, const struct route_truth *truth);
/* Milliseconds until a prompt that comes now has its turn. */
double use_wait_ms(struct route_replica *r, uint64_t now_us);
/* Expects of a replica what is expected of all of its model, and forgets what was learned of it. */
void use_tune(struct route_replica *r);
void use_set_room(struct route_replica *r);
void use_forget(struct route_replica *r);
/* The same of one that leaves the table. */
void use_leave(struct route_replica *r);
/* Gives it a slot of the index, which is empty. There are as many as replicas. */
void use_enter(struct route_replica *r);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* grow.c - reservations that live long: they grow while they are held, and shrink as parts of them are charged. */
#include <string.h>

#include "core/quota/table.h"

/* The part of a reservation that is on the same counter, or the place behind its last part. */
static unsigned part_of(const struct quota_reservation *r, const void *counter)
{
	unsigned i = 0;
	while (i < r->n && r->part[i].counter != counter)
		i++;
	return i;
}

/* A counter that both hold is held once from now on. */
static void merge(struct quota *q, struct quota_reservation *into, const struct quota_reservation *from)
{
	for (unsigned i = 0; i < from->n; i++) {
		struct counter *c = from->part[i].counter;
		unsigned k = part_of(into, c);
		if (k == into->n) {
			into->part[into->n++] = from->part[i];
			continue;
		}
		into->part[k].amount = counter_add(into->part[k].amount, from->part[i].amount);
		pthread_mutex_lock(&q->shard[c->shard].lock);
		c->holds--;
		pthread_mutex_unlock(&q->shard[c->shard].lock);
	}
}

int quota_grow(struct quota *q, struct quota_now now, const struct quota_limit *limits, unsigned n,
               const struct quota_use *more, struct quota_reservation *reservation, struct quota_denial *denial)
{
	struct quota_reservation added;
	int code = quota_reserve(q, now, limits, n, more, &added, denial);
	if (code != SL_OK)
		return code;
	unsigned places = reservation->n;
	for (unsigned i = 0; i < added.n; i++)
		places += part_of(reservation, added.part[i].counter) == reservation->n;
	if (places > QUOTA_LIMITS_MAX) {
		quota_settle(q, now, &added, &(struct quota_use){ 0 });
		return SL_EFULL;
	}
	merge(q, reservation, &added);
	return SL_OK;
}

void quota_shrink(struct quota *q, struct quota_reservation *reservation, enum quota_metric metric, int64_t amount)
{
	for (unsigned i = 0; i < reservation->n; i++) {
		struct counter *c = reservation->part[i].counter;
		int64_t *held = &reservation->part[i].amount, part = amount < *held ? amount : *held;
		if (reservation->part[i].metric != metric || metric == QUOTA_REQUESTS || part <= 0)
			continue;
		struct shard *s = &q->shard[c->shard];
		pthread_mutex_lock(&s->lock);
		c->reserved -= part;
		s->reserved[metric] -= part;
		pthread_mutex_unlock(&s->lock);
		*held -= part;
	}
}

bool quota_same_counter(const struct quota_limit *a, const struct quota_limit *b)
{
	if (a->metric != b->metric || strcmp(a->scope, b->scope) != 0)
		return false;
	return a->metric == QUOTA_CONCURRENCY ||
	       (a->window == b->window && (a->window != QUOTA_SLIDING || a->window_ms == b->window_ms));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* table.c - finds, makes and reclaims counters. */
#include "core/quota/table.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"

enum { SWEEP_GAP_MS = 100 };

struct quota *quota_new(size_t counters_max)
{
	struct quota *q = aligned_alloc(64, sizeof *q);
	if (!q)
		return NULL;
	memset(q, 0, sizeof *q);
	q->counters_max = counters_max;
	for (int i = 0; i < QUOTA_SHARDS; i++)
		pthread_mutex_init(&q->shard[i].lock, NULL);
	return q;
}

static struct counter *counter_at(const struct shard *s, uint32_t place)
{
	return &s->slabs[(place - 1) / SLAB_COUNTERS][(place - 1) % SLAB_COUNTERS];
}

void quota_free(struct quota *q)
{
	if (!q)
		return;
	for (int i = 0; i < QUOTA_SHARDS; i++) {
		struct shard *s = &q->shard[i];
		for (uint32_t place = 1; place <= s->made; place++)
			free(counter_at(s, place)->ring);
		for (uint32_t k = 0; k < s->n_slabs; k++)
			free(s->slabs[k]);
		free(s->slabs);
		index_free(&s->index);
		pthread_mutex_destroy(&s->lock);
	}
	free(q);
}

void table_fingerprint(const struct quota_limit *limit, const struct quota_limit *before, struct fingerprint *out)
{
	/* Limits of one scope mostly stand together. */
	if (!before || strncmp(limit->scope, before->scope, sizeof limit->scope) != 0) {
		size_t len = strnlen(limit->scope, sizeof limit->scope);
		out->id[1] = hash_bytes(limit->scope, len);
		out->scope_crc = hash_crc32c(0, limit->scope, len);
		out->shard = out->id[1] >> 58;
	}
	uint8_t window = limit->metric == QUOTA_CONCURRENCY ? QUOTA_NONE : limit->window;
	const uint64_t rest[] = {
		out->id[1],
		window == QUOTA_SLIDING ? limit->window_ms : 0,
		(uint64_t) out->scope_crc << 32 | (uint64_t) limit->metric << 8 | window,
	};
	out->id[0] = hash_bytes(rest, sizeof rest);
}

struct counter *table_find(struct shard *s, const struct fingerprint *f)
{
	uint32_t tag = (uint32_t) f->id[0];
	for (uint32_t at = index_start(&s->index, tag), place; (place = index_match(&s->index, tag, &at)); at++) {
		struct counter *c = counter_at(s, place);
		if (c->id[0] == f->id[0] && c->id[1] == f->id[1])
			return c;
	}
	return NULL;
}

/* The number of a place for a new counter, 0: out of memory. */
static uint32_t place_take(struct shard *s)
{
	if (s->free_place) {
		uint32_t place = s->free_place;
		s->free_place = (uint32_t) counter_at(s, place)->period;
		return place;
	}
	if (s->made < s->n_slabs * SLAB_COUNTERS)
		return ++s->made;
	if (s->n_slabs == s->slabs_room) {
		uint32_t room = s->slabs_room ? s->slabs_room * 2 : 4;
		struct counter **slabs = realloc(s->slabs, room * sizeof *slabs);
		if (!slabs)
			return 0;
		s->slabs = slabs;
		s->slabs_room = room;
	}
	struct counter *slab = aligned_alloc(64, SLAB_COUNTERS * sizeof *slab);
	if (!slab)
		return 0;
	memset(slab, 0, SLAB_COUNTERS * sizeof *slab);
	s->slabs[s->n_slabs++] = slab;
	return ++s->made;
}

static void place_give(struct shard *s, uint32_t place)
{
	struct counter *c = counter_at(s, place);
	free(c->ring);
	memset(c, 0, sizeof *c);
	c->period = s->free_place;
	s->free_place = place;
}

struct counter *table_add(struct quota *q, struct shard *s, const struct fingerprint *f, const struct quota_limit *limit,
                          struct quota_now now)
{
	if (atomic_fetch_add_explicit(&q->counters, 1, memory_order_relaxed) >= q->counters_max || !index_room(&s->index))
		goto refused;
	struct counter_ring *ring = NULL;
	uint8_t window = limit->metric == QUOTA_CONCURRENCY ? QUOTA_NONE : limit->window;
	if (window == QUOTA_SLIDING && !(ring = calloc(1, sizeof *ring)))
		goto refused;
	uint32_t place = place_take(s);
	if (!place) {
		free(ring);
		goto refused;
	}
	struct counter *c = counter_at(s, place);
	*c = (struct counter){
		.id = { f->id[0], f->id[1] }, .ring = ring, .metric = limit->metric, .window = window, .shard = f->shard,
	};
	counter_start(c, now, limit->window_ms);
	index_put(&s->index, (uint32_t) f->id[0], place);
	return c;
refused:
	atomic_fetch_sub_explicit(&q->counters, 1, memory_order_relaxed);
	return NULL;
}

struct quota_now table_now(struct shard *s, struct quota_now now)
{
	if (now.wall_ms < s->wall_ms)
		now.wall_ms = s->wall_ms;
	else
		s->wall_ms = now.wall_ms;
	return now;
}

static size_t shard_sweep(struct shard *s, struct quota_now now)
{
	size_t freed = 0;
	for (uint32_t i = 0; i < s->index.n_slots;) {
		uint32_t place = s->index.slots[i].place;
		struct counter *c = place ? counter_at(s, place) : NULL;
		if (c)
			counter_advance(c, now);
		if (!c || !counter_idle(c)) {
			i++;
			continue;
		}
		index_remove(&s->index, i); /* may have moved another one to i */
		place_give(s, place);
		freed++;
	}
	return freed;
}

bool table_sweep(struct quota *q, struct quota_now now)
{
	uint_fast64_t last = atomic_load(&q->swept_ms);
	if (last && now.mono_ms + 1 < last + SWEEP_GAP_MS)
		return false;
	if (!atomic_compare_exchange_strong(&q->swept_ms, &last, now.mono_ms + 1))
		return true; /* somebody else is at it */
	size_t freed = 0;
	for (int i = 0; i < QUOTA_SHARDS; i++) {
		struct shard *s = &q->shard[i];
		pthread_mutex_lock(&s->lock);
		size_t n = shard_sweep(s, table_now(s, now));
		pthread_mutex_unlock(&s->lock);
		freed += n;
		atomic_fetch_sub_explicit(&q->counters, n, memory_order_relaxed);
	}
	return freed > 0;
}

size_t quota_counters(struct quota *q)
{
	return atomic_load_explicit(&q->counters, memory_order_relaxed);
}

int64_t quota_reserved(struct quota *q, enum quota_metric metric)
{
	__int128 sum = 0;
	if (metric < QUOTA_REQUESTS || metric > QUOTA_COST)
		return 0;
	for (int i = 0; i < QUOTA_SHARDS; i++) {
		pthread_mutex_lock(&q->shard[i].lock);
		sum += q->shard[i].reserved[metric];
		pthread_mutex_unlock(&q->shard[i].lock);
	}
	return sum > INT64_MAX ? INT64_MAX : (int64_t) sum;
}

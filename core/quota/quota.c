/* SPDX-License-Identifier: Apache-2.0 */
/* quota.c - reserve all or none, settle the truth. */
#include "core/quota/quota.h"

#include <string.h>

#include "core/quota/table.h"

static bool limit_valid(const struct quota_limit *limit)
{
	if (limit->metric == QUOTA_CONCURRENCY)
		return true;
	if (limit->metric < QUOTA_REQUESTS || limit->metric > QUOTA_COST)
		return false;
	if (limit->window == QUOTA_SLIDING)
		return limit->window_ms > 0;
	return limit->window == QUOTA_DAY || limit->window == QUOTA_MONTH || limit->window == QUOTA_TOTAL;
}

static int64_t use_of(const struct quota_use *use, uint8_t metric)
{
	switch (metric) {
	case QUOTA_REQUESTS:
		return use->requests;
	case QUOTA_TOKENS:
		return counter_add(use->input_tokens, use->output_tokens);
	case QUOTA_INPUT_TOKENS:
		return use->input_tokens;
	case QUOTA_OUTPUT_TOKENS:
		return use->output_tokens;
	case QUOTA_CONCURRENCY:
		return 1;
	default:
		return use->cost;
	}
}

/* Everything about one call of quota_reserve. */
struct attempt {
	struct quota *q;
	struct quota_now now;
	const struct quota_limit *limits;
	unsigned n;
	uint64_t shards; /* a bit each */
	struct fingerprint print[QUOTA_LIMITS_MAX];
	struct counter *counter[QUOTA_LIMITS_MAX];
	int64_t wanted[QUOTA_LIMITS_MAX];
};

static void shards_lock(struct quota *q, uint64_t shards)
{
	for (; shards; shards &= shards - 1)
		pthread_mutex_lock(&q->shard[__builtin_ctzll(shards)].lock);
}

static void shards_unlock(struct quota *q, uint64_t shards)
{
	for (; shards; shards &= shards - 1)
		pthread_mutex_unlock(&q->shard[__builtin_ctzll(shards)].lock);
}

static int attempt_prepare(struct attempt *a, const struct quota_use *bound)
{
	if (a->n > QUOTA_LIMITS_MAX || bound->requests < 0 || bound->input_tokens < 0 || bound->output_tokens < 0 ||
	    bound->cost < 0)
		return SL_EINVAL;
	a->shards = 0;
	for (unsigned i = 0; i < a->n; i++) {
		if (!limit_valid(&a->limits[i]))
			return SL_EINVAL;
		if (i > 0)
			a->print[i] = a->print[i - 1];
		table_fingerprint(&a->limits[i], i > 0 ? &a->limits[i - 1] : NULL, &a->print[i]);
		a->wanted[i] = use_of(bound, a->limits[i].metric);
		a->shards |= UINT64_C(1) << a->print[i].shard;
	}
	return SL_OK;
}

/* A counter that does not exist yet has used nothing: only the amount itself can stand in the way. */
static bool fits(const struct attempt *a, unsigned i)
{
	const struct counter *c = a->counter[i];
	int64_t taken = c ? counter_add(c->used, c->reserved) : 0;
	return a->wanted[i] == 0 || (a->wanted[i] <= a->limits[i].amount && taken <= a->limits[i].amount - a->wanted[i]);
}

static void deny(const struct attempt *a, unsigned i, struct quota_denial *denial)
{
	static const struct counter none;
	const struct counter *c = a->counter[i] ? a->counter[i] : &none;
	if (!denial)
		return;
	*denial = (struct quota_denial){
		.limit = &a->limits[i],
		.used = c->used,
		.reserved = c->reserved,
		.wanted = a->wanted[i],
		.retry_ms = counter_retry_ms(c, a->now, a->limits[i].amount, a->wanted[i]),
		.resets_ms = counter_resets_ms(c),
	};
}

static int attempt_check(struct attempt *a, struct quota_denial *denial)
{
	for (unsigned i = 0; i < a->n; i++) {
		struct shard *s = &a->q->shard[a->print[i].shard];
		struct quota_now now = table_now(s, a->now);
		a->counter[i] = table_find(s, &a->print[i]);
		if (a->counter[i])
			counter_advance(a->counter[i], now);
		if (!fits(a, i)) {
			deny(a, i, denial);
			return SL_ELIMIT;
		}
	}
	return SL_OK;
}

/* Two limits on one counter: the second finds what the first made. */
static int attempt_create(struct attempt *a)
{
	for (unsigned i = 0; i < a->n; i++) {
		struct shard *s = &a->q->shard[a->print[i].shard];
		if (a->counter[i])
			continue;
		a->counter[i] = table_find(s, &a->print[i]);
		if (!a->counter[i])
			a->counter[i] = table_add(a->q, s, &a->print[i], &a->limits[i], table_now(s, a->now));
		if (!a->counter[i])
			return SL_EFULL;
	}
	return SL_OK;
}

static bool seen_before(const struct attempt *a, unsigned i)
{
	for (unsigned k = 0; k < i; k++)
		if (a->counter[k] == a->counter[i])
			return true;
	return false;
}

/* What is used has come to the mark by this. */
static bool comes_to(const struct counter *c, int64_t before, int64_t warn)
{
	return warn > 0 && before < warn && c->used >= warn;
}

static int64_t warn_of(const struct attempt *a, unsigned i)
{
	for (unsigned k = i; k < a->n; k++)
		if (a->limits[k].warn && a->counter[k] == a->counter[i])
			return a->limits[k].warn;
	return 0;
}

static void attempt_take(struct attempt *a, struct quota_reservation *out)
{
	out->n = out->warned = 0;
	for (unsigned i = 0; i < a->n; i++) {
		struct counter *c = a->counter[i];
		if (seen_before(a, i))
			continue;
		int64_t warn = warn_of(a, i);
		if (c->metric == QUOTA_REQUESTS) {
			int64_t before = c->used;
			counter_charge(c, a->wanted[i]);
			if (comes_to(c, before, warn))
				out->warned |= 1u << out->n;
		} else {
			c->reserved += a->wanted[i];
			a->q->shard[c->shard].reserved[c->metric] += a->wanted[i];
		}
		c->holds++;
		out->part[out->n].counter = c;
		out->part[out->n].amount = a->wanted[i];
		out->part[out->n].period = c->period;
		out->part[out->n].warn = warn;
		out->part[out->n].metric = c->metric;
		out->n++;
	}
}

int quota_reserve(struct quota *q, struct quota_now now, const struct quota_limit *limits, unsigned n,
                  const struct quota_use *bound, struct quota_reservation *out, struct quota_denial *denial)
{
	struct attempt a;
	a.q = q;
	a.now = now;
	a.limits = limits;
	a.n = n;
	out->n = 0;
	int code = attempt_prepare(&a, bound);
	if (code != SL_OK)
		return code;
	for (int round = 0;; round++) {
		shards_lock(q, a.shards);
		code = attempt_check(&a, denial);
		if (code == SL_OK)
			code = attempt_create(&a);
		if (code == SL_OK)
			attempt_take(&a, out);
		shards_unlock(q, a.shards);
		/* Full: counters that nobody needs any more may be in the way, in any shard. */
		if (code != SL_EFULL || round > 0 || !table_sweep(q, now))
			return code;
	}
}

/* True: what is used has come to `warn`. */
static bool settle_part(struct shard *s, struct counter *c, struct quota_now now, int64_t amount, uint64_t period, int64_t warn,
                        int64_t used)
{
	counter_advance(c, table_now(s, now));
	int64_t before = c->used;
	c->holds--;
	if (used < 0)
		used = 0;
	if (c->metric == QUOTA_REQUESTS) {
		if (used < amount)
			counter_refund(c, period, amount - used);
		else if (used > amount)
			counter_charge(c, used - amount);
		return comes_to(c, before, warn);
	}
	c->reserved -= amount;
	s->reserved[c->metric] -= amount;
	if (c->metric != QUOTA_CONCURRENCY)
		counter_charge(c, used);
	return comes_to(c, before, warn);
}

void quota_settle(struct quota *q, struct quota_now now, struct quota_reservation *reservation,
                  const struct quota_use *used)
{
	struct shard *locked = NULL;
	for (unsigned i = 0; i < reservation->n; i++) {
		struct counter *c = reservation->part[i].counter;
		struct shard *s = &q->shard[c->shard];
		if (s != locked) {
			if (locked)
				pthread_mutex_unlock(&locked->lock);
			pthread_mutex_lock(&s->lock);
			locked = s;
		}
		if (settle_part(s, c, now, reservation->part[i].amount, reservation->part[i].period, reservation->part[i].warn,
		                use_of(used, c->metric)))
			reservation->warned |= 1u << i;
	}
	if (locked)
		pthread_mutex_unlock(&locked->lock);
	reservation->n = 0;
}

/* False: the table is full. */
static bool restore_once(struct quota *q, struct quota_now now, const struct quota_limit *limit,
                         const struct fingerprint *print, uint64_t wall_ms, int64_t amount, bool *warned)
{
	struct shard *s = &q->shard[print->shard];
	pthread_mutex_lock(&s->lock);
	struct quota_now seen = table_now(s, now);
	struct counter *c = table_find(s, print);
	if (!c)
		c = table_add(q, s, print, limit, seen);
	if (c) {
		counter_advance(c, seen);
		int64_t before = c->used;
		counter_restore(c, now, wall_ms, amount);
		*warned = comes_to(c, before, limit->warn);
	}
	pthread_mutex_unlock(&s->lock);
	return c != NULL;
}

bool quota_restore(struct quota *q, struct quota_now now, const struct quota_limit *limit, uint64_t wall_ms, int64_t amount)
{
	bool warned = false;
	if (!limit_valid(limit) || limit->metric == QUOTA_CONCURRENCY || amount <= 0)
		return false;
	struct fingerprint print;
	table_fingerprint(limit, NULL, &print);
	if (!restore_once(q, now, limit, &print, wall_ms, amount, &warned) && table_sweep(q, now))
		restore_once(q, now, limit, &print, wall_ms, amount, &warned);
	return warned;
}

/* With the shard's lock. */
static void read_counter(struct shard *s, struct counter *c, struct quota_now now, struct quota_state *out)
{
	counter_advance(c, table_now(s, now));
	out->used = c->used;
	out->reserved = c->reserved;
	out->resets_in_ms = counter_resets_in_ms(c, now);
}

bool quota_read_reserved(struct quota *q, struct quota_now now, const struct quota_reservation *reservation,
                         enum quota_metric metric, struct quota_state *out)
{
	for (unsigned i = 0; i < reservation->n; i++) {
		if (reservation->part[i].metric != metric)
			continue;
		struct counter *c = reservation->part[i].counter; /* it stays where it is while the reservation holds it */
		struct shard *s = &q->shard[c->shard];
		pthread_mutex_lock(&s->lock);
		read_counter(s, c, now, out);
		pthread_mutex_unlock(&s->lock);
		return true;
	}
	return false;
}

void quota_read(struct quota *q, struct quota_now now, const struct quota_limit *limit, struct quota_state *out)
{
	*out = (struct quota_state){ 0 };
	if (!limit_valid(limit))
		return;
	struct fingerprint print;
	table_fingerprint(limit, NULL, &print);
	struct shard *s = &q->shard[print.shard];
	pthread_mutex_lock(&s->lock);
	struct counter *c = table_find(s, &print);
	if (c)
		read_counter(s, c, now, out);
	pthread_mutex_unlock(&s->lock);
}

int64_t quota_cost(int64_t tokens, int64_t price)
{
	int64_t cost;
	if (__builtin_mul_overflow(tokens, price, &cost))
		return (tokens < 0) == (price < 0) ? INT64_MAX : INT64_MIN;
	return cost;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* focus.c - gathers the rows of a FOCUS export: by the prices that made each request's cost, see core/ledger/prices.h. */
#include "core/control/focus.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/str.h"

#define DAY_MS 86400000

/* Room for one more; false: memory is out. */
static bool grow(struct focus *f, void *items, size_t n, size_t *room, size_t size)
{
	void *old;
	if (n < *room)
		return true;
	size_t more = *room ? 2 * *room : 64;
	memcpy(&old, items, sizeof old);
	void *new = realloc(old, more * size);
	if (!new) {
		f->failed = true;
		return false;
	}
	memcpy(items, &new, sizeof new);
	*room = more;
	return true;
}

static bool same_use(const struct focus_use *a, const struct focus_use *b)
{
	return a->day == b->day && a->price == b->price && strcmp(a->tenant, b->tenant) == 0 && strcmp(a->model, b->model) == 0;
}

static uint64_t hash_use(const struct focus_use *u)
{
	return hash_str(str_of(u->tenant)) ^ hash_str(str_of(u->model)) * 31 ^ hash_bytes(&u->day, sizeof u->day) ^
	       hash_bytes(&u->price, sizeof u->price) * 17;
}

static bool rehash(struct focus *f)
{
	size_t slots = f->slots ? 2 * f->slots : 256;
	uint32_t *table = calloc(slots, sizeof *table);
	if (!table)
		return !(f->failed = true);
	for (size_t i = 0; i < f->n_uses; i++) {
		size_t at = hash_use(&f->uses[i]) & (slots - 1);
		while (table[at])
			at = (at + 1) & (slots - 1);
		table[at] = (uint32_t) i + 1;
	}
	free(f->table);
	f->table = table;
	f->slots = slots;
	return true;
}

/* The row that this one belongs to, made when it is the first of its kind. */
static struct focus_use *use_of(struct focus *f, const struct focus_use *wanted)
{
	if (2 * (f->n_uses + 1) > f->slots && !rehash(f))
		return NULL;
	size_t at = hash_use(wanted) & (f->slots - 1);
	for (; f->table[at]; at = (at + 1) & (f->slots - 1))
		if (same_use(&f->uses[f->table[at] - 1], wanted))
			return &f->uses[f->table[at] - 1];
	f->too_many = f->too_many || f->n_uses + f->n_leases >= FOCUS_ROWS_MAX;
	if (f->too_many || !grow(f, &f->uses, f->n_uses, &f->room_uses, sizeof *f->uses))
		return NULL;
	f->uses[f->n_uses] = (struct focus_use){ .day = wanted->day, .price = wanted->price };
	memcpy(f->uses[f->n_uses].tenant, wanted->tenant, sizeof wanted->tenant);
	memcpy(f->uses[f->n_uses].model, wanted->model, sizeof wanted->model);
	f->table[at] = (uint32_t) ++f->n_uses;
	return &f->uses[f->n_uses - 1];
}

/* Requests of one day and price, as one sum. */
static int add_use(struct focus *f, const struct focus_use *more, unsigned __int128 more_cost)
{
	struct focus_use *use = use_of(f, more);
	if (!use)
		return 1;
	use->requests += more->requests;
	use->uncached += more->uncached;
	use->cached += more->cached;
	use->output += more->output;
	if (more->price >= 0)
		return 0;
	unsigned __int128 cost = ((unsigned __int128) use->cost_high << 64 | use->cost_low) + more_cost;
	use->cost_high = (uint64_t) (cost >> 64);
	use->cost_low = (uint64_t) cost;
	return 0;
}

static int take_use(void *arg, uint64_t seq, const sl_usage *u)
{
	struct focus *f = arg;
	(void) seq;
	struct focus_use use = { .day = (int64_t) (u->started_ms / DAY_MS), .price = ledger_prices_find(&f->prices, u), .requests = 1,
		.uncached = u->input_tokens - u->cached_tokens, .cached = u->cached_tokens, .output = u->output_tokens };
	str_copy(use.tenant, sizeof use.tenant, (sl_str){ u->tenant, strnlen(u->tenant, sizeof u->tenant - 1) });
	str_copy(use.model, sizeof use.model, (sl_str){ u->model, strnlen(u->model, sizeof u->model - 1) });
	return add_use(f, &use, (unsigned __int128) (__int128) u->cost);
}

/* Requests whose records are gone: all of a sum had the same price. */
static int take_folded(void *arg, const sl_fold_sum *s)
{
	struct focus *f = arg;
	struct focus_use use = { .day = (int64_t) (s->hour_ms / DAY_MS), .price = ledger_prices_of_part(&f->prices, s->part),
		.requests = s->requests, .uncached = s->input_tokens - s->cached_tokens, .cached = s->cached_tokens,
		.output = s->output_tokens };
	str_copy(use.tenant, sizeof use.tenant, str_of(s->tenant));
	str_copy(use.model, sizeof use.model, str_of(s->model));
	return add_use(f, &use, (unsigned __int128) s->cost_high << 64 | s->cost_low);
}

static int take_lease(void *arg, const sl_bill_sum *sum)
{
	struct focus *f = arg;
	if (!sum->device_ms) /* requests, and replicas, which nobody pays for */
		return 0;
	f->too_many = f->too_many || f->n_uses + f->n_leases >= FOCUS_ROWS_MAX;
	if (f->too_many || !grow(f, &f->leases, f->n_leases, &f->room_leases, sizeof *f->leases))
		return 1;
	f->leases[f->n_leases++] = *sum;
	return 0;
}

static int by_day(const void *a, const void *b)
{
	const struct focus_use *x = a, *y = b;
	int order = x->day < y->day ? -1 : x->day > y->day;
	if (!order)
		order = strcmp(x->tenant, y->tenant);
	if (!order)
		order = strcmp(x->model, y->model);
	return order ? order : x->price - y->price;
}

int focus_gather(struct focus *f, const sl_store_ops *store, void *store_self, const sl_bill_filter *b, sl_error *error)
{
	const sl_usage_filter requests = { .size = sizeof requests, .since_ms = b->since_ms, .until_ms = b->until_ms,
		.tenant = b->tenant, .user = b->user, .key = b->key, .model = b->model };
	int code = ledger_prices_read(&f->prices, store, store_self, error);
	/* What no request has leaves them all out. */
	bool of_requests = !b->queue.len && !b->kind.len && !b->lease.len;
	if (code == SL_OK && of_requests)
		code = store->usage_scan(store_self, &requests, 0, take_use, f, error);
	if (code == SL_OK && of_requests && SL_STORE_HAS(store, fold_scan))
		code = store->fold_scan(store_self, &requests, take_folded, f, error);
	if (code == SL_OK && SL_STORE_HAS(store, bill_sum))
		code = store->bill_sum(store_self, b, SL_BY_DAY | SL_BY_TENANT | SL_BY_USER | SL_BY_MODEL | SL_BY_QUEUE | SL_BY_KIND |
		                       SL_BY_LEASE | SL_BY_PRICE, take_lease, f, error);
	if (f->failed)
		return error_set(error, SL_ENOMEM, "out of memory");
	if (f->too_many)
		return error_set(error, SL_EFULL, "this would be more than %d rows", FOCUS_ROWS_MAX);
	if (f->n_uses)
		qsort(f->uses, f->n_uses, sizeof *f->uses, by_day);
	return code;
}

void focus_free(struct focus *f)
{
	ledger_prices_free(&f->prices);
	free(f->uses);
	free(f->table);
	free(f->leases);
	*f = (struct focus){ 0 };
}

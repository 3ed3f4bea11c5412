/* SPDX-License-Identifier: Apache-2.0 */
/* focus.c - gathers the rows of a FOCUS export.
 *
 * A use record has its cost and not the prices that made it. The ledger keeps every set of prices that was ever in a
 * configuration (objects price/...); the one that gives exactly the record's cost is the record's. */
#include "core/control/focus.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/json.h"
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

static int take_price(void *arg, sl_str key, sl_str text)
{
	struct focus *f = arg;
	sl_error error;
	(void) key;
	json_t *json = json_parse(text, &error);
	if (json && grow(f, &f->prices, f->n_prices, &f->room_prices, sizeof *f->prices)) {
		struct focus_price *price = &f->prices[f->n_prices++];
		*price = (struct focus_price){ .input = json_get_int(json, "input", 0), .cached = json_get_int(json, "cached", 0),
			.output = json_get_int(json, "output", 0) };
		str_copy(price->model, sizeof price->model, str_of(json_get_str(json, "model", "")));
	}
	json_decref(json);
	return f->failed;
}

static int by_model(const void *a, const void *b)
{
	return strcmp(((const struct focus_price *) a)->model, ((const struct focus_price *) b)->model);
}

static bool explains(const struct focus_price *p, const sl_usage *u)
{
	__int128 cost = (__int128) (u->input_tokens - u->cached_tokens) * p->input + (__int128) u->cached_tokens * p->cached +
	                (__int128) u->output_tokens * p->output;
	return cost == u->cost;
}

/* The model's own prices first; a policy may have sent the request to another model, at that one's prices. */
static int find_price(const struct focus *f, const sl_usage *u)
{
	size_t low = 0, high = f->n_prices;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (strncmp(f->prices[middle].model, u->model, sizeof u->model) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (size_t i = low; i < f->n_prices && strncmp(f->prices[i].model, u->model, sizeof u->model) == 0; i++)
		if (explains(&f->prices[i], u))
			return (int) i;
	for (size_t i = 0; i < f->n_prices; i++)
		if (explains(&f->prices[i], u))
			return (int) i;
	return -1;
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
	f->uses[f->n_uses] = *wanted;
	f->table[at] = (uint32_t) ++f->n_uses;
	return &f->uses[f->n_uses - 1];
}

static int take_use(void *arg, uint64_t seq, const sl_usage *u)
{
	struct focus *f = arg;
	(void) seq;
	struct focus_use wanted = { .day = (int64_t) (u->started_ms / DAY_MS), .price = find_price(f, u) };
	str_copy(wanted.tenant, sizeof wanted.tenant, (sl_str){ u->tenant, strnlen(u->tenant, sizeof u->tenant - 1) });
	str_copy(wanted.model, sizeof wanted.model, (sl_str){ u->model, strnlen(u->model, sizeof u->model - 1) });
	struct focus_use *use = use_of(f, &wanted);
	if (!use)
		return 1;
	use->requests++;
	use->uncached += u->input_tokens - u->cached_tokens;
	use->cached += u->cached_tokens;
	use->output += u->output_tokens;
	if (wanted.price >= 0)
		return 0;
	unsigned __int128 cost = ((unsigned __int128) use->cost_high << 64 | use->cost_low) + (unsigned __int128) (__int128) u->cost;
	use->cost_high = (uint64_t) (cost >> 64);
	use->cost_low = (uint64_t) cost;
	return 0;
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
	int code = store->object_scan(store_self, STR("price/"), take_price, f, error);
	if (f->n_prices)
		qsort(f->prices, f->n_prices, sizeof *f->prices, by_model);
	/* What no request has leaves them all out. */
	if (code == SL_OK && !b->queue.len && !b->kind.len && !b->lease.len)
		code = store->usage_scan(store_self, &requests, 0, take_use, f, error);
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
	free(f->prices);
	free(f->uses);
	free(f->table);
	free(f->leases);
	*f = (struct focus){ 0 };
}

/* SPDX-License-Identifier: Apache-2.0 */
/* prices.c - every set of prices that there was, and whose cost is whose. */
#include "core/ledger/prices.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/base/str.h"

/* From the object's key, which has the model and all prices in it. */
static bool part_of(sl_str key, uint64_t *part)
{
	uint8_t digest[32];
	if (!hash_sha256(key.ptr, key.len, digest))
		return false;
	memcpy(part, digest, sizeof *part); /* little-endian, as every machine we run on */
	*part |= !*part;
	return true;
}

static struct ledger_price *add(struct ledger_prices *p)
{
	if (p->n == p->room) {
		size_t room = p->room ? 2 * p->room : 64;
		struct ledger_price *list = realloc(p->list, room * sizeof *list);
		if (!list)
			return NULL;
		p->list = list;
		p->room = room;
	}
	return &p->list[p->n++];
}

static int take(void *arg, sl_str key, sl_str text)
{
	struct ledger_prices *p = arg;
	sl_error error;
	json_t *json = json_parse(text, &error);
	if (!json)
		return 0;
	struct ledger_price price = { .input = json_get_int(json, "input", 0), .cached = json_get_int(json, "cached", 0),
		.output = json_get_int(json, "output", 0) };
	str_copy(price.model, sizeof price.model, str_of(json_get_str(json, "model", "")));
	struct ledger_price *place = part_of(key, &price.part) ? add(p) : NULL;
	if (place)
		*place = price;
	else
		p->failed = true;
	json_decref(json);
	return p->failed;
}

static int by_model(const void *a, const void *b)
{
	return strcmp(((const struct ledger_price *) a)->model, ((const struct ledger_price *) b)->model);
}

int ledger_prices_read(struct ledger_prices *p, const sl_store_ops *store, void *store_self, sl_error *error)
{
	*p = (struct ledger_prices){ 0 };
	int code = store->object_scan(store_self, STR("price/"), take, p, error);
	if (p->failed)
		return error_set(error, SL_ENOMEM, "out of memory");
	if (p->n)
		qsort(p->list, p->n, sizeof *p->list, by_model);
	return code;
}

void ledger_prices_free(struct ledger_prices *p)
{
	free(p->list);
	*p = (struct ledger_prices){ 0 };
}

static bool explains(const struct ledger_price *p, const sl_usage *u)
{
	__int128 cost = (__int128) (u->input_tokens - u->cached_tokens) * p->input + (__int128) u->cached_tokens * p->cached +
	                (__int128) u->output_tokens * p->output;
	return cost == u->cost;
}

/* The model's own prices first; a policy may have sent the request to another model, at that one's prices. */
int ledger_prices_find(const struct ledger_prices *p, const sl_usage *u)
{
	size_t low = 0, high = p->n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (strncmp(p->list[middle].model, u->model, sizeof u->model) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (size_t i = low; i < p->n && strncmp(p->list[i].model, u->model, sizeof u->model) == 0; i++)
		if (explains(&p->list[i], u))
			return (int) i;
	for (size_t i = 0; i < p->n; i++)
		if (explains(&p->list[i], u))
			return (int) i;
	return -1;
}

int ledger_prices_of_part(const struct ledger_prices *p, uint64_t part)
{
	for (size_t i = 0; part && i < p->n; i++)
		if (p->list[i].part == part)
			return (int) i;
	return -1;
}

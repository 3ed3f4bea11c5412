/* SPDX-License-Identifier: Apache-2.0 */
/* bill.c - the store's sums of requests and leases, also from a store that knows of requests alone; and how sums and
 * records look to whoever asks, at every door alike. */
#include "core/ledger/bill.h"

#include <stdio.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/money.h"
#include "core/base/str.h"

/* Passes sums of requests on as sums of a bill. */
struct older {
	int (*each)(void *arg, const sl_bill_sum *);
	void *arg;
};

static int pass_on(void *arg, const sl_usage_sum *s)
{
	const struct older *older = arg;
	sl_bill_sum sum = { .size = sizeof sum, .requests = s->requests, .input_tokens = s->input_tokens,
		.cached_tokens = s->cached_tokens, .output_tokens = s->output_tokens };
	unsigned __int128 cost = ((unsigned __int128) s->cost_high << 64 | s->cost_low) * 1000;
	sum.cost_high = (uint64_t) (cost >> 64);
	sum.cost_low = (uint64_t) cost;
	memcpy(sum.day, s->day, sizeof sum.day);
	memcpy(sum.tenant, s->tenant, sizeof sum.tenant);
	memcpy(sum.user, s->user, sizeof sum.user);
	memcpy(sum.model, s->model, sizeof sum.model);
	memcpy(sum.key, s->key, sizeof sum.key);
	return older->each(older->arg, &sum);
}

int ledger_bill(const sl_store_ops *store, void *store_self, const sl_bill_filter *filter, uint32_t by,
                 int (*each)(void *arg, const sl_bill_sum *), void *arg, sl_error *error)
{
	const uint32_t of_requests = SL_BY_DAY | SL_BY_TENANT | SL_BY_USER | SL_BY_KEY | SL_BY_MODEL;
	if (SL_STORE_HAS(store, bill_sum))
		return store->bill_sum(store_self, filter, by, each, arg, error);
	if ((by & ~of_requests) || filter->queue.len || filter->kind.len || filter->lease.len)
		return error_set(error, SL_ENOTSUP, "this store keeps no charges of leases");
	struct older older = { each, arg };
	const sl_usage_filter requests = { .size = sizeof requests, .since_ms = filter->since_ms, .until_ms = filter->until_ms,
		.tenant = filter->tenant, .user = filter->user, .key = filter->key, .model = filter->model };
	return store->usage_sum(store_self, &requests, by, pass_on, &older, error);
}

static json_t *money_json(uint64_t high, uint64_t low)
{
	char text[MONEY_TEXT_MAX];
	money_text(money_of(high, low), 12, text);
	return json_string(text);
}

static json_t *bill_money(uint64_t high, uint64_t low)
{
	char text[MONEY_TEXT_MAX];
	money_text(money_of(high, low), 15, text);
	return json_string(text);
}

/* Milliseconds as seconds: fifteen digits of a double hold them exactly for thirty thousand years. */
static json_t *seconds(int64_t ms)
{
	return json_real((double) ms / 1000);
}

json_t *ledger_sum_json(const sl_bill_sum *sum)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "requests", (json_int_t) sum->requests, "input_tokens",
	                 (json_int_t) sum->input_tokens, "cached_tokens", (json_int_t) sum->cached_tokens, "output_tokens",
	                 (json_int_t) sum->output_tokens, "gpu_s", seconds(sum->device_ms), "cost",
	                 bill_money(sum->cost_high, sum->cost_low), "replica_gpu_s", seconds(sum->replica_device_ms), "replica_cost",
	                 bill_money(sum->replica_cost_high, sum->replica_cost_low));
}

static json_t *time_json(uint64_t wall_ms)
{
	char text[32];
	clock_rfc3339(wall_ms, text);
	return json_string(text);
}

static json_t *flags_json(uint32_t flags)
{
	static const struct {
		uint32_t bit;
		const char *word;
	} words[] = { { SL_USAGE_STREAM, "stream" },
		      { SL_USAGE_ESTIMATED, "estimated" },
		      { SL_USAGE_CLIENT_CLOSED, "client_closed" },
		      { SL_USAGE_UPSTREAM_ERROR, "upstream_error" },
		      { SL_USAGE_CLAMPED, "clamped" } };
	json_t *out = json_array();
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (flags & words[i].bit)
			json_array_append_new(out, json_string(words[i].word));
	return out;
}

/* Fixed arrays of a record from a file: the terminating NUL is not taken for granted. */
#define SET_FIELD(object, name, field) json_set_str(object, name, (sl_str){ field, strnlen(field, sizeof(field)) })

json_t *ledger_usage_json(uint64_t seq, const sl_usage *u)
{
	json_t *row = json_object();
	SET_FIELD(row, "request_id", u->request_id);
	json_object_set_new(row, "seq", json_integer((json_int_t) seq));
	json_object_set_new(row, "at", time_json(u->started_ms));
	SET_FIELD(row, "tenant", u->tenant);
	SET_FIELD(row, "user", u->user);
	SET_FIELD(row, "key", u->key);
	SET_FIELD(row, "model", u->model);
	SET_FIELD(row, "replica", u->replica);
	SET_FIELD(row, "door", u->door);
	json_t *numbers = json_pack("{s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "status", u->status, "tries", u->tries,
	                            "duration_us", (json_int_t) u->duration_us, "ttft_us", (json_int_t) u->ttft_us, "wait_us",
	                            (json_int_t) u->wait_us, "input_tokens", (json_int_t) u->input_tokens, "cached_tokens",
	                            (json_int_t) u->cached_tokens, "output_tokens", (json_int_t) u->output_tokens, "cost",
	                            money_json(u->cost < 0 ? UINT64_MAX : 0, (uint64_t) u->cost), "flags", flags_json(u->flags));
	json_object_update(row, numbers);
	json_decref(numbers);
	return row;
}

static json_t *number_or_null(uint64_t number)
{
	return number ? json_integer((json_int_t) number) : json_null();
}

json_t *ledger_verdict_json(const struct ledger_verdict *v)
{
	char digest[2 * sizeof v->digest + 1];
	for (size_t i = 0; i < sizeof v->digest; i++)
		snprintf(digest + 2 * i, 3, "%02x", v->digest[i]);
	return json_pack("{s:b, s:o, s:o, s:o, s:s, s:I, s:o, s:o, s:o, s:s}", "ok", !v->wrong, "first", number_or_null(v->first),
	                 "folded", number_or_null(v->folded), "verified", number_or_null(v->verified), "digest",
	                 v->verified ? digest : "", "records", (json_int_t) v->records, "next", number_or_null(v->next), "wrong",
	                 number_or_null(v->wrong), "wrong_last", number_or_null(v->wrong ? v->wrong_last : 0), "why", v->why);
}

bool ledger_id_time(sl_str id, uint64_t *wall_ms)
{
	static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	uint64_t ms = 0;
	if (id.len < 14)
		return false;
	for (size_t i = 4; i < 14; i++) {
		const char *digit = strchr(digits, id.ptr[i]);
		if (!digit || !*digit)
			return false;
		ms = ms << 5 | (uint64_t) (digit - digits);
	}
	*wall_ms = ms;
	return true;
}

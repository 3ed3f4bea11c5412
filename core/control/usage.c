/* SPDX-License-Identifier: Apache-2.0 */
/* usage.c - use and its cost, added up by the store and nowhere else; and what is left of limits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/money.h"
#include "core/base/str.h"
#include "core/control/focus.h"
#include "core/control/inner.h"

enum { ROWS_MAX = 50000, FOCUS_BYTES_MAX = 60 << 20, REQUESTS_DEFAULT = 100, REQUESTS_MAX = 10000 };

static const struct {
	const char *word;
	uint32_t bit;
} columns[] = { { "day", SL_BY_DAY }, { "tenant", SL_BY_TENANT }, { "user", SL_BY_USER }, { "key", SL_BY_KEY },
	        { "model", SL_BY_MODEL }, { "hour", SL_BY_HOUR }, { "queue", SL_BY_QUEUE }, { "kind", SL_BY_KIND },
	        { "lease", SL_BY_LEASE } };
enum { COLUMNS = sizeof columns / sizeof *columns, FILTERS = 8 };

/* A question and its answer; filter's strings point into `text`. */
struct question {
	sl_bill_filter filter;
	sl_str request_id;
	char text[FILTERS][2 * SL_NAME_MAX];
	uint32_t by;
	uint64_t limit;
	json_t *rows, *total;
	bool too_many;
	struct focus focus;
};

static void free_question(void *data)
{
	struct question *q = data;
	json_decref(q->rows);
	json_decref(q->total);
	focus_free(&q->focus);
	free(q);
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

json_t *control_sum_json(const sl_bill_sum *sum)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "requests", (json_int_t) sum->requests, "input_tokens",
	                 (json_int_t) sum->input_tokens, "cached_tokens", (json_int_t) sum->cached_tokens, "output_tokens",
	                 (json_int_t) sum->output_tokens, "gpu_s", seconds(sum->device_ms), "cost",
	                 bill_money(sum->cost_high, sum->cost_low), "replica_gpu_s", seconds(sum->replica_device_ms), "replica_cost",
	                 bill_money(sum->replica_cost_high, sum->replica_cost_low));
}

/* A column that was not grouped by is null; one that was may be empty. */
static void set_column(json_t *row, const struct question *q, size_t column, const char *value)
{
	if (q->by & columns[column].bit)
		json_set_str(row, columns[column].word, str_of(value));
	else
		json_object_set_new(row, columns[column].word, json_null());
}

static int add_row(void *arg, const sl_bill_sum *sum)
{
	struct question *q = arg;
	if (json_array_size(q->rows) == ROWS_MAX) {
		q->too_many = true;
		return 1;
	}
	json_t *row = json_object();
	const char *const values[COLUMNS] = { sum->day, sum->tenant, sum->user, sum->key, sum->model, sum->hour, sum->queue, sum->kind,
		sum->lease };
	for (size_t i = 0; i < COLUMNS; i++)
		set_column(row, q, i, values[i]);
	json_t *numbers = control_sum_json(sum);
	json_object_update(row, numbers);
	json_decref(numbers);
	json_array_append_new(q->rows, row);
	return 0;
}

static int set_total(void *arg, const sl_bill_sum *sum)
{
	struct question *q = arg;
	json_decref(q->total);
	q->total = control_sum_json(sum);
	return 0;
}

static int ask_sums(void *data, const sl_store_ops *store, void *store_self, sl_error *error)
{
	struct question *q = data;
	static const sl_bill_sum nothing = { .size = sizeof nothing };
	int code = control_bill(store, store_self, &q->filter, q->by, add_row, q, error);
	if (code != SL_OK)
		return code;
	set_total(q, &nothing);
	return control_bill(store, store_self, &q->filter, 0, set_total, q, error);
}

static void answer_sums(struct call *call, int code, const sl_error *error)
{
	struct question *q = call->data;
	if (q->too_many)
		call_fail(call, 400, "too_many_rows", "by", "--by fewer columns, or a shorter time", "this would be more than %d rows",
		          ROWS_MAX);
	else if (code != SL_OK)
		call_fail(call, 503, "store_failed", NULL, "sluicectl ledger", "the store cannot answer: %s", error->text);
	else
		call_json(call, 200, json_pack("{s:O, s:O, s:s}", "rows", q->rows, "total", q->total, "currency",
		                               call->control->conf->currency));
}

static bool read_by(struct call *call, uint32_t *by)
{
	char text[128];
	*by = 0;
	if (!call_query(call, "by", text, sizeof text))
		return true;
	char *rest = text;
	for (char *word; (word = strsep(&rest, ","));) {
		size_t i = 0;
		while (i < COLUMNS && strcmp(columns[i].word, word) != 0)
			i++;
		if (i < COLUMNS) {
			*by |= columns[i].bit;
		} else if (word[0]) {
			call_fail(call, 400, "invalid_parameter", "by", "by=hour,day,tenant,user,key,model,queue,kind,lease", "use is not grouped by '%s'", word);
			return false;
		}
	}
	return true;
}

/* A request's id says when it began: "req_", then ten digits of base32 with the milliseconds. */
static void narrow_to_id(struct question *q)
{
	const sl_str id = q->request_id;
	static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	uint64_t ms = 0;
	if (id.len < 14)
		return;
	for (size_t i = 4; i < 14; i++) {
		const char *digit = strchr(digits, id.ptr[i]);
		if (!digit || !*digit)
			return;
		ms = ms << 5 | (uint64_t) (digit - digits);
	}
	q->filter.since_ms = ms;
	q->filter.until_ms = ms + 1;
}

/* Everybody sees the use of the own tenant, operators everybody's. */
static struct question *read_question(struct call *call)
{
	static const char *const names[FILTERS] = { "tenant", "user", "key", "model", "queue", "kind", "lease", "request_id" };
	struct question *q = calloc(1, sizeof *q);
	if (!q) {
		call_fail(call, 503, "out_of_memory", NULL, NULL, "out of memory");
		return NULL;
	}
	call->data = q;
	call->free_data = free_question;
	q->rows = json_array();
	q->filter.size = sizeof q->filter;
	sl_str *const spans[FILTERS] = { &q->filter.tenant, &q->filter.user, &q->filter.key, &q->filter.model, &q->filter.queue,
		&q->filter.kind, &q->filter.lease, &q->request_id };
	for (size_t i = 0; i < FILTERS; i++) {
		call_query(call, names[i], q->text[i], sizeof q->text[i]);
		*spans[i] = str_of(q->text[i]);
	}
	if (!call_is_operator(call)) {
		if (q->text[0][0] && strcmp(q->text[0], call->who.tenant) != 0) {
			call_fail(call, 404, "unknown_tenant", "tenant", NULL, "there is no tenant '%s'", q->text[0]);
			return NULL;
		}
		str_copy(q->text[0], sizeof q->text[0], str_of(call->who.tenant));
		q->filter.tenant = str_of(q->text[0]);
		if (!q->text[0][0]) { /* an empty filter would match everybody */
			call_fail(call, 403, "no_tenant", NULL, NULL, "this caller belongs to no tenant, so there is no use of its own");
			return NULL;
		}
	}
	if (!read_by(call, &q->by) || !call_query_time(call, "since", &q->filter.since_ms) ||
	    !call_query_time(call, "until", &q->filter.until_ms))
		return NULL;
	narrow_to_id(q);
	return q;
}

static void no_questions(struct call *call)
{
	call_fail(call, 503, "store_busy", NULL, "again in a moment", "the store takes no questions now");
}

void control_usage(struct call *call)
{
	if (read_question(call) && !call_ask(call, ask_sums, answer_sums))
		no_questions(call);
}

/* The bill as FOCUS has it. */

static int ask_focus(void *data, const sl_store_ops *store, void *store_self, sl_error *error)
{
	struct question *q = data;
	return focus_gather(&q->focus, store, store_self, &q->filter, error);
}

static void answer_focus(struct call *call, int code, const sl_error *error)
{
	struct question *q = call->data;
	const struct conf *conf = call->control->conf;
	struct buf out = { .max = FOCUS_BYTES_MAX };
	if (code == SL_OK)
		focus_write(&q->focus, conf->organisation, conf->currency, &out);
	if (code == SL_EFULL || out.failed)
		call_fail(call, 400, "too_many_rows", "since", "a shorter time", "this export would be too long");
	else if (code != SL_OK)
		call_fail(call, 503, "store_failed", NULL, "sluicectl ledger", "the store cannot answer: %s", error->text);
	else
		call_text(call, 200, "text/csv; charset=utf-8", buf_str(&out));
	buf_free(&out);
}

void control_usage_focus(struct call *call)
{
	if (read_question(call) && !call_ask(call, ask_focus, answer_focus))
		no_questions(call);
}

/* requests */

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

static int add_request(void *arg, uint64_t seq, const sl_usage *u)
{
	struct question *q = arg;
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
	json_array_append_new(q->rows, row);
	return 0;
}

static int ask_requests(void *data, const sl_store_ops *store, void *store_self, sl_error *error)
{
	struct question *q = data;
	const sl_usage_filter filter = { .size = sizeof filter, .since_ms = q->filter.since_ms, .until_ms = q->filter.until_ms,
		.tenant = q->filter.tenant, .user = q->filter.user, .key = q->filter.key, .model = q->filter.model,
		.request_id = q->request_id };
	return store->usage_scan(store_self, &filter, q->limit, add_request, q, error);
}

static void answer_requests(struct call *call, int code, const sl_error *error)
{
	struct question *q = call->data;
	if (code != SL_OK)
		call_fail(call, 503, "store_failed", NULL, "sluicectl ledger", "the store cannot answer: %s", error->text);
	else
		call_json(call, 200, json_incref(q->rows));
}

void control_usage_requests(struct call *call)
{
	int64_t limit;
	if (!call_query_int(call, "limit", 1, REQUESTS_MAX, REQUESTS_DEFAULT, &limit))
		return;
	struct question *q = read_question(call);
	if (!q)
		return;
	q->limit = (uint64_t) limit;
	if (!call_ask(call, ask_requests, answer_requests))
		no_questions(call);
}

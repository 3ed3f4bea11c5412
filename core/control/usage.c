/* SPDX-License-Identifier: Apache-2.0 */
/* usage.c - use and its cost, added up by the store and nowhere else; and what is left of limits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/control/focus.h"
#include "core/control/inner.h"
#include "core/ledger/bill.h"

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
	json_t *numbers = ledger_sum_json(sum);
	json_object_update(row, numbers);
	json_decref(numbers);
	json_array_append_new(q->rows, row);
	return 0;
}

static int set_total(void *arg, const sl_bill_sum *sum)
{
	struct question *q = arg;
	json_decref(q->total);
	q->total = ledger_sum_json(sum);
	return 0;
}

static int ask_sums(void *data, const sl_store_ops *store, void *store_self, sl_error *error)
{
	struct question *q = data;
	static const sl_bill_sum nothing = { .size = sizeof nothing };
	int code = ledger_bill(store, store_self, &q->filter, q->by, add_row, q, error);
	if (code != SL_OK)
		return code;
	set_total(q, &nothing);
	return ledger_bill(store, store_self, &q->filter, 0, set_total, q, error);
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
	uint64_t began_ms;
	if (ledger_id_time(q->request_id, &began_ms)) {
		q->filter.since_ms = began_ms;
		q->filter.until_ms = began_ms + 1;
	}
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

static int add_request(void *arg, uint64_t seq, const sl_usage *u)
{
	struct question *q = arg;
	json_array_append_new(q->rows, ledger_usage_json(seq, u));
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

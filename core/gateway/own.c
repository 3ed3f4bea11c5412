/* SPDX-License-Identifier: Apache-2.0 */
/* own.c - what a caller may know of itself: who it is, its limits, its use. Nothing here is admitted or costs anything, so
 * it can be read when a budget is spent.
 *
 * The store is asked on the ledger's thread, which also writes the answer down; the worker only sends it. A question
 * outlives its worker when the store hangs: whoever of the two is last frees it. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/money.h"
#include "core/base/str.h"
#include "core/gateway/worker.h"
#include "core/http/query.h"
#include "core/ledger/bill.h"

enum { QUERY_MAX = 512, ROWS_MAX = 5000, QUESTIONS_MAX = 16 /* a worker */, ASK_MS = 30000 };
#define DAY_MS UINT64_C(86400000)
#define RANGE_MS (92 * DAY_MS) /* one question: a quarter, so that the ledger's thread is free again soon */

struct own {
	struct mail mail;
	enum own_page page;
	char query[QUERY_MAX];
	bool query_cut;
	char id[SL_REQUEST_ID_MAX]; /* empty: one that is none of ours */

	/* While the question is out. */
	pthread_mutex_t lock;
	struct worker *worker;      /* NULL: gone; with the lock */
	struct request *request;    /* the worker's thread only */
	sl_identity who;
	const char *scope;          /* key, user or tenant */
	char currency[16];
	uint64_t since_ms, until_ms;
	char model[SL_NAME_MAX];
	uint32_t by;
	/* The answer. */
	json_t *rows, *total;
	bool too_many;
	struct buf text;
	int code;
	sl_error error;
};

static const struct {
	const char *word;
	uint32_t bit;
} columns[] = { { "day", SL_BY_DAY }, { "hour", SL_BY_HOUR }, { "model", SL_BY_MODEL }, { "key", SL_BY_KEY }, { "user", SL_BY_USER } };
enum { COLUMNS = sizeof columns / sizeof columns[0] };

bool own_begin(struct request *r, enum own_page page, sl_str query, sl_str id)
{
	struct own *own = calloc(1, sizeof *own);
	if (!own)
		return false;
	pthread_mutex_init(&own->lock, NULL);
	own->page = page;
	own->query_cut = !str_copy(own->query, sizeof own->query, query);
	if (!str_copy(own->id, sizeof own->id, id))
		own->id[0] = '\0';
	r->own = own;
	return true;
}

static void own_free(struct own *own)
{
	json_decref(own->rows);
	json_decref(own->total);
	buf_free(&own->text);
	pthread_mutex_destroy(&own->lock);
	free(own);
}

void own_end(struct request *r)
{
	if (r->own)
		own_free(r->own);
	r->own = NULL;
}

/* The worker ends, and nobody waits for answers any more: what the ledger's thread still has of it is its own now. */
void own_abandon(struct worker *w)
{
	for (struct request *r = w->requests, *next; r; r = next) {
		next = r->next;
		if (!r->own_pending)
			continue;
		pthread_mutex_lock(&r->own->lock);
		r->own->worker = NULL;
		pthread_mutex_unlock(&r->own->lock);
		r->own = NULL;
		r->own_pending = false;
		if (r->free_later)
			request_free(r);
	}
}

static void fail(struct request *r, int status, const char *code, const char *param, const char *message)
{
	struct answer_error e = { .status = status, .code = code, .param = param, .message = message,
		.type = status >= 500 ? "server_error" : status == 403 ? "permission_error" : "invalid_request_error",
		.retry_ms = status == 503 ? 1000 : 0, .no_retry = status == 403 };
	answer_error(r->client, r, &e);
}

static void answer_object(struct request *r, json_t *json)
{
	char *text = json_text(json);
	json_decref(json);
	if (text)
		answer_json(r->client, r, 200, "", str_of(text));
	else
		fail(r, 503, "overloaded", NULL, "Out of memory. Try again in a moment.");
	free(text);
}

/* May this caller see what all of its tenant used? Those who may also use the control door, where it stands as well. */
static bool sees_tenant(const sl_identity *who)
{
	return who->roles & (SL_ROLE_LEASE | SL_ROLE_OPERATOR | SL_ROLE_ADMIN);
}

/* me */

static json_t *price_json(int64_t price)
{
	char text[MONEY_TEXT_MAX];
	money_text(price, 6, text);
	return json_string(text);
}

static json_t *own_models(const struct conf *conf, const struct conf_tier *tier)
{
	json_t *list = json_array();
	for (size_t i = 0; i < conf->n_models; i++) {
		const struct conf_model *m = &conf->models[i];
		if (tier && !policy_tier_allows(tier, m, m->name))
			continue;
		json_t *model = json_pack("{s:{s:o, s:o, s:o}}", "price", "input", price_json(m->price.input), "cached",
		                          price_json(m->price.cached), "output", price_json(m->price.output));
		json_set_str(model, "id", str_of(m->name));
		json_array_append_new(list, model);
	}
	return list;
}

/* Those of the tier that are this caller's: a limit of a whole model is everybody's. */
static json_t *own_limits(struct request *r, const struct conf_tier *tier)
{
	json_t *list = json_array();
	if (!tier)
		return list;
	struct policy_admission *a = &r->worker->admission;
	const struct policy_request request = { .identity = &r->identity, .tier = tier, .wall_ms = r->started_ms };
	const struct quota_now now = { .mono_ms = r->worker->now_ms, .wall_ms = r->started_ms };
	policy_default_admit(&request, a);
	for (unsigned i = 0; i < a->n_limits && i < tier->n_limits; i++) {
		const char *word = tier->limits[i].scope;
		struct quota_state state;
		if (strcmp(word, "key") != 0 && strcmp(word, "user") != 0 && strcmp(word, "tenant") != 0)
			continue;
		quota_read(r->worker->gateway->options.quota, now, &a->limits[i], &state);
		json_array_append_new(list, policy_limit_json(&a->limits[i], &state));
	}
	return list;
}

static json_t *text_or_null(const char *text)
{
	return text[0] ? json_string(text) : json_null();
}

static void answer_me(struct request *r)
{
	const struct conf *conf = r->generation->conf;
	const sl_identity *who = &r->identity;
	const struct conf_tier *tier = conf_tier(conf, str_of(who->tier));
	if (!tier)
		tier = conf_tier(conf, STR("default"));
	json_t *me = json_pack("{s:s, s:o, s:o, s:o, s:o, s:s, s:o, s:o}", "object", "me", "tenant", text_or_null(who->tenant), "user",
	                       text_or_null(who->user), "key", text_or_null(who->key), "tier", text_or_null(tier ? tier->name : ""),
	                       "currency", conf->currency, "models", own_models(conf, tier), "limits", own_limits(r, tier));
	answer_object(r, me);
}

/* usage: the question */

static uint64_t month_start_ms(uint64_t wall_ms)
{
	char text[32];
	uint64_t start = 0;
	clock_rfc3339(wall_ms, text);
	memcpy(text + 8, "01", 3); /* 2026-11-01 */
	clock_parse(str_of(text), &start);
	return start;
}

static bool read_time(struct request *r, const char *name, uint64_t fallback, uint64_t *out)
{
	char text[64];
	*out = fallback;
	if (!http_query(str_of(r->own->query), name, text, sizeof text) || clock_parse(str_of(text), out))
		return true;
	fail(r, 400, "invalid_time", name, "A time is written such as 2026-11-24 or 2026-11-24T14:05:00Z.");
	return false;
}

static bool read_by(struct request *r, uint32_t *by)
{
	char text[128];
	*by = SL_BY_DAY | SL_BY_MODEL;
	if (!http_query(str_of(r->own->query), "by", text, sizeof text))
		return true;
	*by = 0;
	char *rest = text;
	for (char *word; (word = strsep(&rest, ","));) {
		size_t i = 0;
		while (i < COLUMNS && strcmp(columns[i].word, word) != 0)
			i++;
		if (i == COLUMNS && word[0]) {
			fail(r, 400, "invalid_parameter", "by", "Use is grouped by day, hour, model, key and user: by=day,model.");
			return false;
		}
		*by |= i < COLUMNS ? columns[i].bit : 0;
	}
	return true;
}

/* Whose use. Without a word: the least that this caller is. */
static bool read_scope(struct request *r, const char **scope)
{
	static const char *const words[] = { "key", "user", "tenant" };
	const sl_identity *who = &r->identity;
	char text[16];
	*scope = who->key[0] ? "key" : who->user[0] ? "user" : "tenant";
	if (!http_query(str_of(r->own->query), "scope", text, sizeof text) || strcmp(text, *scope) == 0)
		return true;
	size_t i = 0;
	while (i < 3 && strcmp(words[i], text) != 0)
		i++;
	bool is_one = i == 1 ? who->user[0] != '\0' : i == 2;
	if (i == 3 || !is_one) {
		fail(r, 400, "invalid_parameter", "scope", "The scope is key, user or tenant, as far as this caller has one.");
		return false;
	}
	if (i == 2 && !sees_tenant(who)) {
		fail(r, 403, "permission_denied", "scope", "This key sees its own use and its user's, not the whole tenant's.");
		return false;
	}
	*scope = words[i];
	return true;
}

static bool read_usage(struct request *r)
{
	struct own *own = r->own;
	if (own->query_cut) {
		fail(r, 400, "invalid_parameter", NULL, "The query is too long.");
		return false;
	}
	if (!read_scope(r, &own->scope) || !read_by(r, &own->by) || !read_time(r, "until", r->started_ms + 1, &own->until_ms) ||
	    !read_time(r, "since", month_start_ms(own->until_ms), &own->since_ms))
		return false;
	http_query(str_of(own->query), "model", own->model, sizeof own->model);
	if (own->since_ms < own->until_ms && own->until_ms - own->since_ms <= RANGE_MS)
		return true;
	fail(r, 400, "invalid_time", "since", "One question is about 92 days at most, from `since` to before `until`.");
	return false;
}

/* usage: on the ledger's thread */

static int add_row(void *arg, const sl_bill_sum *sum)
{
	struct own *own = arg;
	const char *const values[COLUMNS] = { sum->day, sum->hour, sum->model, sum->key, sum->user };
	if (json_array_size(own->rows) == ROWS_MAX) {
		own->too_many = true;
		return 1;
	}
	json_t *row = ledger_sum_json(sum);
	json_object_del(row, "replica_gpu_s"); /* nobody's use */
	json_object_del(row, "replica_cost");
	for (size_t i = 0; i < COLUMNS; i++)
		if (own->by & columns[i].bit)
			json_set_str(row, columns[i].word, str_of(values[i]));
	json_array_append_new(own->rows, row);
	return 0;
}

static int set_total(void *arg, const sl_bill_sum *sum)
{
	struct own *own = arg;
	json_decref(own->total);
	own->total = ledger_sum_json(sum);
	json_object_del(own->total, "replica_gpu_s");
	json_object_del(own->total, "replica_cost");
	return 0;
}

static json_t *time_json(uint64_t wall_ms)
{
	char text[32];
	clock_rfc3339(wall_ms, text);
	return json_string(text);
}

static void write_down(struct own *own, json_t *json)
{
	char *text = json_text(json);
	json_decref(json);
	if (text)
		buf_puts(&own->text, text);
	else
		own->text.failed = true;
	free(text);
}

static int ask_sums(struct own *own, const sl_store_ops *store, void *store_self)
{
	static const sl_bill_sum nothing = { .size = sizeof nothing };
	sl_bill_filter filter = { .size = sizeof filter, .since_ms = own->since_ms, .until_ms = own->until_ms,
		.tenant = str_of(own->who.tenant), .model = str_of(own->model) };
	if (strcmp(own->scope, "user") == 0)
		filter.user = str_of(own->who.user);
	if (strcmp(own->scope, "key") == 0)
		filter.key = str_of(own->who.key);
	own->rows = json_array();
	set_total(own, &nothing);
	int code = ledger_bill(store, store_self, &filter, own->by, add_row, own, &own->error);
	if (code == SL_OK && !own->too_many)
		code = ledger_bill(store, store_self, &filter, 0, set_total, own, &own->error);
	if (code == SL_OK && !own->too_many)
		write_down(own, json_pack("{s:s, s:s, s:o, s:o, s:O, s:O, s:s}", "object", "usage", "scope", own->scope, "since",
		                          time_json(own->since_ms), "until", time_json(own->until_ms), "rows", own->rows, "total", own->total,
		                          "currency", own->currency));
	return code;
}

/* One's own: by the same key or the same user, or anything of the tenant for those who see that. */
static bool is_own(const sl_identity *who, const sl_usage *u)
{
	if (strncmp(u->tenant, who->tenant, sizeof u->tenant) != 0)
		return false;
	return sees_tenant(who) || (!who->key[0] && !who->user[0]) ||
	       (who->key[0] && strncmp(u->key, who->key, sizeof u->key) == 0) ||
	       (who->user[0] && strncmp(u->user, who->user, sizeof u->user) == 0);
}

static int take_request(void *arg, uint64_t seq, const sl_usage *u)
{
	struct own *own = arg;
	if (!is_own(&own->who, u) || own->text.len)
		return 0;
	json_t *json = ledger_usage_json(seq, u);
	json_object_set_new(json, "object", json_string("usage.request"));
	json_object_set_new(json, "currency", json_string(own->currency));
	write_down(own, json);
	return 0;
}

static int ask_request(struct own *own, const sl_store_ops *store, void *store_self)
{
	sl_usage_filter filter = { .size = sizeof filter, .tenant = str_of(own->who.tenant), .request_id = str_of(own->id) };
	if (!ledger_id_time(filter.request_id, &filter.since_ms))
		return SL_OK;
	filter.until_ms = filter.since_ms + 1;
	return store->usage_scan(store_self, &filter, 2, take_request, own, &own->error);
}

static void on_answer(struct mail *mail);

/* A worker that has ended takes no mail, or has let go of it: then it is freed here. */
static void on_feeder(void *arg, const sl_store_ops *store, void *store_self)
{
	struct own *own = arg;
	own->code = own->page == OWN_USAGE ? ask_sums(own, store, store_self) : ask_request(own, store, store_self);
	own->mail.run = on_answer;
	pthread_mutex_lock(&own->lock);
	bool taken = own->worker && mailbox_post(&own->worker->mailbox, &own->mail);
	pthread_mutex_unlock(&own->lock);
	if (!taken)
		own_free(own);
}

/* usage: back on the worker's thread */

static void answer(struct request *r, const struct own *own)
{
	if (own->code != SL_OK)
		fail(r, 503, "store_failed", NULL, "The ledger cannot answer now. Try again in a moment.");
	else if (own->too_many)
		fail(r, 400, "too_many_rows", "by", "This would be more than 5000 rows: group by less, or ask for a shorter time.");
	else if (own->text.failed)
		fail(r, 503, "overloaded", NULL, "Out of memory. Try again in a moment.");
	else if (!own->text.len)
		fail(r, 404, "request_not_found", NULL, "There is no such request of yours, or its record is too old to be kept.");
	else
		answer_json(r->client, r, 200, "", buf_str(&own->text));
}

static void on_answer(struct mail *mail)
{
	struct own *own = (struct own *) (void *) ((char *) mail - offsetof(struct own, mail));
	struct request *r = own->request;
	pthread_mutex_lock(&own->lock); /* the ledger's thread has let go of it */
	struct worker *w = own->worker;
	pthread_mutex_unlock(&own->lock);
	if (!w) {
		own_free(own);
		return;
	}
	worker_event(w);
	r->own_pending = false;
	w->n_questions--;
	if (r->free_later)
		request_free(r);
	else
		answer(r, own); /* ends the request, and `own` with it */
}

static void ask(struct request *r)
{
	struct own *own = r->own;
	struct worker *w = r->worker;
	own->worker = w;
	own->request = r;
	own->who = r->identity;
	str_copy(own->currency, sizeof own->currency, str_of(r->generation->conf->currency));
	if (w->n_questions >= QUESTIONS_MAX || !ledger_query(w->gateway->options.ledger, on_feeder, own)) {
		fail(r, 503, "store_busy", NULL, "Too many ask the ledger at this moment. Try again in a moment.");
		return;
	}
	w->n_questions++;
	r->own_pending = true;
	r->stage = REQUEST_ASK;
	socket_expire(&r->client->socket, ASK_MS);
}

void own_late(struct request *r)
{
	fail(r, 503, "store_busy", NULL, "The ledger did not answer in time. Try again in a moment.");
}

void own_answer(struct request *r)
{
	/* A caller without a tenant has nothing, and an empty filter would match everybody. */
	if (r->own->page != OWN_ME && !r->identity.tenant[0])
		fail(r, 403, "no_tenant", NULL, "This caller belongs to no tenant, so there is no use of its own.");
	else if (r->own->page == OWN_ME)
		answer_me(r);
	else if (r->own->page == OWN_REQUEST || read_usage(r))
		ask(r);
}

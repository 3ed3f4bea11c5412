/* SPDX-License-Identifier: Apache-2.0 */
/* focus_csv.c - rows of a FOCUS export as text. An empty field is null; times are UTC, ends exclusive; decimals are plain;
 * columns of our own begin with x_ and stand last. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/base/money.h"
#include "core/base/str.h"
#include "core/control/focus.h"

enum { DAY_S = 86400 };

static const char *const columns =
	"BilledCost,BillingAccountId,BillingAccountName,BillingCurrency,BillingPeriodEnd,BillingPeriodStart,ChargeCategory,"
	"ChargeClass,ChargeDescription,ChargeFrequency,ChargePeriodEnd,ChargePeriodStart,ConsumedQuantity,ConsumedUnit,"
	"ContractedCost,ContractedUnitPrice,EffectiveCost,HostProviderName,InvoiceId,InvoiceIssuerName,ListCost,ListUnitPrice,"
	"PricingCategory,PricingQuantity,PricingUnit,ResourceId,ServiceCategory,ServiceName,ServiceProviderName,ServiceSubcategory,"
	"SkuId,SkuMeter,SkuPriceDetails,SkuPriceId,SubAccountId,SubAccountName,Tags,x_Requests,x_User,x_Queue\r\n";

struct writer {
	struct buf *out;
	const char *organisation, *currency;
};

/* What differs from row to row; texts that are empty are null. */
struct row {
	char cost[MONEY_TEXT_MAX], quantity[MONEY_TEXT_MAX], price[MONEY_TEXT_MAX], consumed[MONEY_TEXT_MAX];
	const char *consumed_unit, *pricing_unit, *category, *service, *subcategory, *meter, *resource, *tenant, *user, *queue;
	char description[2 * SL_NAME_MAX + 64], sku[2 * SL_NAME_MAX], sku_price[3 * SL_NAME_MAX], details[8 * SL_NAME_MAX];
	int64_t day, requests; /* requests below 0: null */
};

static void put(struct writer *w, const char *text)
{
	bool quote = strpbrk(text, ",\"\r\n") != NULL;
	buf_puts(w->out, quote ? "\"" : "");
	for (const char *p = text; *p; p++) {
		buf_puts(w->out, *p == '"' ? "\"" : "");
		buf_put(w->out, p, 1);
	}
	buf_puts(w->out, quote ? "\"," : ",");
}

static void put_time(struct writer *w, time_t seconds)
{
	struct tm tm;
	char text[32] = "";
	if (gmtime_r(&seconds, &tm))
		strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	put(w, text);
}

/* The month of a day: its end is the start of the next one. */
static void put_month(struct writer *w, int64_t day, int months)
{
	time_t seconds = (time_t) (day * DAY_S);
	struct tm tm = { 0 };
	gmtime_r(&seconds, &tm);
	tm.tm_mday = 1;
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	tm.tm_mon += months;
	put_time(w, timegm(&tm));
}

static void put_row(struct writer *w, const struct row *r)
{
	char requests[24] = "";
	if (r->requests >= 0)
		snprintf(requests, sizeof requests, "%" PRId64, r->requests);
	put(w, r->cost);
	put(w, w->organisation);
	put(w, w->organisation);
	put(w, w->currency);
	put_month(w, r->day, 1);
	put_month(w, r->day, 0);
	put(w, "Usage");
	put(w, ""); /* no correction */
	put(w, r->description);
	put(w, "Usage-Based");
	put_time(w, (time_t) ((r->day + 1) * DAY_S));
	put_time(w, (time_t) (r->day * DAY_S));
	put(w, r->consumed);
	put(w, r->consumed_unit);
	put(w, r->cost);
	put(w, r->price);
	put(w, r->cost);
	put(w, w->organisation);
	put(w, ""); /* no invoice yet */
	put(w, w->organisation);
	put(w, r->cost);
	put(w, r->price);
	put(w, "Standard");
	put(w, r->quantity);
	put(w, r->pricing_unit);
	put(w, r->resource);
	put(w, r->category);
	put(w, r->service);
	put(w, w->organisation);
	put(w, r->subcategory);
	put(w, r->sku);
	put(w, r->meter);
	put(w, r->details);
	put(w, r->sku_price);
	put(w, r->tenant);
	put(w, r->tenant);
	put(w, ""); /* no tags */
	put(w, requests);
	put(w, r->user);
	put(w, r->queue);
	w->out->len -= w->out->len > 0; /* the last comma */
	buf_puts(w->out, "\r\n");
}

/* One flat JSON object, names of our own with x_. */
static void put_details(struct row *r, const char *const (*pairs)[2], size_t n)
{
	struct buf b = { .max = sizeof r->details - 1 };
	for (size_t i = 0; i < n; i++) {
		buf_printf(&b, "%s\"%s\":", i ? "," : "{", pairs[i][0]);
		buf_put_json(&b, str_of(pairs[i][1]));
	}
	buf_puts(&b, "}");
	snprintf(r->details, sizeof r->details, "%.*s", b.failed ? 0 : (int) b.len, b.failed ? "" : b.data);
	buf_free(&b);
}

static struct row row_of_use(const struct focus_use *u)
{
	return (struct row){ .consumed_unit = "Tokens", .pricing_unit = "1000000 Tokens", .category = "AI and Machine Learning",
		.service = "Model Serving", .subcategory = "Generative AI", .resource = "", .tenant = u->tenant, .user = "", .queue = "",
		.day = u->day, .requests = -1 };
}

static const struct {
	const char *word, *meter, *direction, *cache;
} kinds[] = { { "input", "Input Tokens", "Input", "Uncached" },
	      { "cached", "Cached Input Tokens", "Input", "Read" },
	      { "output", "Output Tokens", "Output", "Uncached" } };

/* Tokens of one kind: millions of them at a price of a million. The requests are counted in the first row of a group. */
static void put_tokens(struct writer *w, const struct focus_use *u, int kind, int64_t tokens, int64_t price, bool *counted)
{
	if (!tokens)
		return;
	struct row r = row_of_use(u);
	const char *const details[][2] = { { "x_ModelId", u->model }, { "x_TokenDirection", kinds[kind].direction },
		{ "x_TokenCacheAction", kinds[kind].cache } };
	money_text((money_amount) tokens * price, 12, r.cost);
	money_text(tokens, 6, r.quantity);
	money_text(price, 6, r.price);
	snprintf(r.consumed, sizeof r.consumed, "%" PRId64, tokens);
	snprintf(r.description, sizeof r.description, "%s of %s", kinds[kind].meter, u->model);
	snprintf(r.sku, sizeof r.sku, "%s/%s", u->model, kinds[kind].word);
	snprintf(r.sku_price, sizeof r.sku_price, "%s/%s", r.sku, r.price);
	put_details(&r, details, 3);
	r.meter = kinds[kind].meter;
	r.requests = *counted ? -1 : u->requests;
	*counted = true;
	put_row(w, &r);
}

/* Requests whose prices nobody wrote down (an older sluice served them): their cost is the quantity, at 1. */
static void put_unpriced(struct writer *w, const struct focus_use *u)
{
	struct row r = row_of_use(u);
	const char *const details[][2] = { { "x_ModelId", u->model } };
	money_text(money_of(u->cost_high, u->cost_low), 12, r.cost);
	memcpy(r.quantity, r.cost, sizeof r.quantity);
	strcpy(r.price, "1");
	snprintf(r.consumed, sizeof r.consumed, "%" PRId64, u->uncached + u->cached + u->output);
	snprintf(r.description, sizeof r.description, "Tokens of %s, from before prices were kept", u->model);
	snprintf(r.sku, sizeof r.sku, "%s/all", u->model);
	snprintf(r.sku_price, sizeof r.sku_price, "%s/all/1", u->model);
	put_details(&r, details, 1);
	r.pricing_unit = w->currency;
	r.meter = "Tokens";
	r.requests = u->requests;
	put_row(w, &r);
}

static void put_use(struct writer *w, const struct focus *f, const struct focus_use *u)
{
	bool counted = false;
	if (u->price < 0) {
		if (u->cost_high || u->cost_low)
			put_unpriced(w, u);
		return;
	}
	const struct ledger_price *p = &f->prices.list[u->price];
	put_tokens(w, u, 0, u->uncached, p->input, &counted);
	put_tokens(w, u, 1, u->cached, p->cached, &counted);
	put_tokens(w, u, 2, u->output, p->output, &counted);
}

static int64_t day_of(const char *day)
{
	struct tm tm = { 0 };
	if (sscanf(day, "%d-%d-%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday) != 3)
		return 0;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	return timegm(&tm) / DAY_S;
}

static void put_lease(struct writer *w, const sl_bill_sum *s)
{
	struct row r = { .consumed_unit = "GPU-Seconds", .pricing_unit = "GPU-Seconds", .category = "Compute",
		.service = "GPU Leases", .subcategory = "Other (Compute)", .meter = "GPU Time", .resource = s->lease, .tenant = s->tenant,
		.user = s->user, .queue = s->queue, .day = day_of(s->day), .requests = -1 };
	const char *kind = s->kind[0] ? s->kind : "unknown";
	const char *const details[][2] = { { "x_DeviceKind", kind } };
	money_text(money_of(s->cost_high, s->cost_low), 15, r.cost);
	money_text(s->device_ms, 3, r.quantity);
	money_text(s->price, 12, r.price);
	memcpy(r.consumed, r.quantity, sizeof r.consumed);
	snprintf(r.description, sizeof r.description, "%s, lease %s", kind, s->lease);
	snprintf(r.sku, sizeof r.sku, "%s/gpu", kind);
	snprintf(r.sku_price, sizeof r.sku_price, "%s/gpu/%s", kind, r.price);
	put_details(&r, details, 1);
	put_row(w, &r);
}

void focus_write(const struct focus *f, const char *organisation, const char *currency, struct buf *out)
{
	struct writer w = { out, organisation, currency };
	buf_puts(out, columns);
	for (size_t i = 0; i < f->n_uses; i++)
		put_use(&w, f, &f->uses[i]);
	for (size_t i = 0; i < f->n_leases; i++)
		put_lease(&w, &f->leases[i]);
}

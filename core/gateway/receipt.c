/* SPDX-License-Identifier: Apache-2.0 */
/* receipt.c - what a request used, what that cost and what is left of its budget, as its record will say: in a field of
 * an answer's head, and at the end of a stream in a comment, which clients of event streams leave out.
 *
 * The form is a dictionary of RFC 9651. Each answer has one: no printf. */
#include "core/base/str.h"
#include "core/base/text.h"
#include "core/gateway/worker.h"

enum { RECEIPT_MAX = 160 + SL_REQUEST_ID_MAX + 3 * TEXT_NUMBER_MAX + 2 * 32 };

/* 10^-12 of the currency as a decimal: two digits behind the point at least, no zeros behind them. */
static char *put_money(char *at, int64_t amount)
{
	uint64_t rest = amount < 0 ? 0 - (uint64_t) amount : (uint64_t) amount, part = rest % 1000000000000;
	int digits = 12;
	if (amount < 0)
		*at++ = '-';
	at = text_puts(text_put_u64(at, rest / 1000000000000), ".");
	for (; digits > 2 && part % 10 == 0; digits--)
		part /= 10;
	for (int i = digits - 1; i >= 0; i--, part /= 10)
		at[i] = (char) ('0' + part % 10);
	return at + digits;
}

/* What is left of the first limit on money, with this request charged and those under way taken off. */
static int64_t money_left(const struct request *r)
{
	struct quota *quota = r->worker->gateway->options.quota;
	const struct quota_now now = { .mono_ms = r->worker->now_ms, .wall_ms = r->started_ms };
	struct quota_state state;
	int64_t own = 0;
	if (quota_read_reserved(quota, now, &r->reservation, QUOTA_COST, &state)) {
		for (unsigned i = 0; i < r->reservation.n && !own; i++)
			own = r->reservation.part[i].metric == QUOTA_COST ? r->reservation.part[i].amount : 0;
		own = r->settled ? 0 : own - r->cost;
	} else {
		quota_read(quota, now, &r->shown[SHOWN_COST], &state);
	}
	int64_t left = r->shown[SHOWN_COST].amount - state.used - state.reserved + own;
	return left > 0 ? left : 0;
}

static char *put_receipt(struct request *r, char *at)
{
	settle_count(r);
	at = text_puts(text_puts(at, "id="), r->id);
	at = text_put_i64(text_puts(at, ", input="), r->usage.input > 0 ? r->usage.input : 0);
	at = text_put_i64(text_puts(at, ", cached="), r->usage.cached > 0 ? r->usage.cached : 0);
	at = text_put_i64(text_puts(at, ", output="), r->usage.output > 0 ? r->usage.output : 0);
	at = text_puts(put_money(text_puts(at, ", cost=\""), r->cost), "\", currency=\"");
	at = text_puts(text_puts(at, r->generation->conf->currency), "\"");
	if (r->flags & SL_USAGE_ESTIMATED)
		at = text_puts(at, ", estimated");
	if (r->has_shown[SHOWN_COST])
		at = text_puts(put_money(text_puts(at, ", left=\""), money_left(r)), "\"");
	return at;
}

void receipt_field(struct request *r, struct buf *out)
{
	if (!buf_reserve(out, RECEIPT_MAX))
		return;
	char *at = text_puts(put_receipt(r, text_puts(out->data + out->len, "sluice-receipt: ")), "\r\n");
	out->len = (size_t) (at - out->data);
}

void receipt_comment(struct request *r, struct buf *out)
{
	if (!buf_reserve(out, RECEIPT_MAX))
		return;
	char *at = text_puts(put_receipt(r, text_puts(out->data + out->len, ": sluice-receipt: ")), "\n\n");
	out->len = (size_t) (at - out->data);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* retention.c - folds old records. */
#include "core/ledger/retention.h"

#include <inttypes.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/log.h"
#include "core/ledger/ledger.h"
#include "core/ledger/prices.h"

/* Groups that follow each other: what the next step may take. */
struct stretch {
	uint64_t before_ms;   /* only what was sealed before */
	uint64_t first, last; /* 0: nothing is due */
	uint64_t records;
	unsigned groups;
};

uint64_t retention_due_ns(const struct retention *r)
{
	return atomic_load_explicit(&r->keep_ms, memory_order_relaxed) ? r->next_ns : UINT64_MAX;
}

static int take_folded(void *arg, const sl_seal *seal)
{
	struct retention *r = arg;
	if (seal->n)
		return 1;
	atomic_store(&r->folded, seal->last);
	memcpy(r->digest, seal->digest, sizeof r->digest);
	return 0;
}

static int take_due(void *arg, const sl_seal *seal)
{
	struct stretch *s = arg;
	if (seal->wall_ms >= s->before_ms || (s->groups && s->records + seal->n > FOLD_RECORDS))
		return 1;
	if (!s->groups++)
		s->first = seal->first;
	s->last = seal->last;
	s->records += seal->n;
	return 0;
}

static uint64_t part(void *prices, const sl_usage *u)
{
	const struct ledger_prices *p = prices;
	int i = ledger_prices_find(p, u);
	return i < 0 ? 0 : p->list[i].part;
}

static int fold(const sl_store_ops *store, void *store_self, uint64_t last, sl_error *error)
{
	struct ledger_prices prices;
	int code = ledger_prices_read(&prices, store, store_self, error);
	const sl_fold what = { .size = sizeof what, .last = last, .part = part, .arg = &prices };
	if (code == SL_OK)
		code = store->fold(store_self, &what, error);
	ledger_prices_free(&prices);
	return code;
}

/* Are these groups what was sealed? A changed record must not become part of a sum that nobody can look into. */
static int look_at(struct retention *r, const sl_store_ops *store, void *store_self, const struct stretch *s,
                   uint8_t digest[32], sl_error *error)
{
	struct ledger_verdict verdict;
	bool goes_on = atomic_load(&r->folded) + 1 == s->first && s->first > 1;
	int code = ledger_verify(store, store_self, s->first, goes_on ? r->digest : NULL, s->records, &verdict, error);
	if (code != SL_OK)
		return code;
	if (verdict.wrong)
		return error_set(error, SL_ECONFLICT, "%s. Nothing more is folded before that is mended", verdict.why);
	if (verdict.verified != s->last)
		return error_set(error, SL_EINTERNAL, "records %" PRIu64 " to %" PRIu64 " could not be verified", s->first, s->last);
	memcpy(digest, verdict.digest, 32);
	return SL_OK;
}

/* Records from before there were seals go first, as long as some step needs to be told of them: theirs is the time before
 * the first seal. *last: where this step ends. */
static int fold_stretch(struct retention *r, const sl_store_ops *store, void *store_self, const struct stretch *s,
                        uint64_t *last, sl_error *error)
{
	uint8_t digest[32] = { 0 };
	uint64_t folded = atomic_load(&r->folded);
	if (folded + 1 < s->first) {
		*last = s->first - folded - 1 > FOLD_RECORDS ? folded + FOLD_RECORDS : s->first - 1;
		return fold(store, store_self, *last, error);
	}
	*last = s->last;
	int code = look_at(r, store, store_self, s, digest, error);
	if (code == SL_OK)
		code = fold(store, store_self, *last, error);
	if (code == SL_OK)
		memcpy(r->digest, digest, sizeof r->digest);
	return code;
}

static int step(struct retention *r, const sl_store_ops *store, void *store_self, uint64_t before_ms, bool *more, sl_error *error)
{
	struct stretch s = { .before_ms = before_ms };
	int code = r->known ? SL_OK : store->seal_scan(store_self, 0, 0, take_folded, r, error);
	r->known = r->known || code == SL_OK;
	if (code == SL_OK)
		code = store->seal_scan(store_self, atomic_load(&r->folded) + 1, FOLD_GROUPS, take_due, &s, error);
	*more = code == SL_OK && s.groups;
	if (!*more)
		return code;
	uint64_t last = 0;
	code = fold_stretch(r, store, store_self, &s, &last, error);
	if (code == SL_OK)
		atomic_store(&r->folded, last);
	return code;
}

/* Says once that there is trouble, and once that a run of steps has ended. */
static void tell(struct retention *r, int code, bool more, const sl_error *error)
{
	if (code != SL_OK && !r->complained)
		log_error("ledger: old records cannot be folded into sums: %s", error->text);
	else if (code == SL_OK && !more && r->folding)
		log_info("ledger: records up to %" PRIuFAST64 " are older than ledger.keep and were folded into sums",
		         atomic_load(&r->folded));
	r->complained = code != SL_OK;
	r->folding = code == SL_OK && more;
}

void retention_step(struct retention *r, const sl_store_ops *store, void *store_self)
{
	uint64_t keep_ms = atomic_load(&r->keep_ms), now_ns = clock_mono_ns(), wall_ms = clock_wall_ms();
	if (!keep_ms || now_ns < r->next_ns)
		return;
	sl_error error = { 0 };
	bool more = false;
	int code = SL_OK;
	if (!SL_STORE_HAS(store, fold) || !SL_STORE_HAS(store, seal_scan) || !SL_STORE_HAS(store, record_scan))
		code = error_set(&error, SL_ENOTSUP, "this store cannot, so everything is kept");
	else if (wall_ms > keep_ms)
		code = step(r, store, store_self, wall_ms - keep_ms, &more, &error);
	tell(r, code, more, &error);
	uint64_t end_ns = clock_mono_ns(), pause_ms = keep_ms / 2 < FOLD_EVERY_MS ? keep_ms / 2 + FOLD_AT_LEAST_MS : FOLD_EVERY_MS;
	if (code == SL_EAGAIN)
		pause_ms = 1000;
	else if (code != SL_OK)
		pause_ms = FOLD_TROUBLE_MS;
	/* However much there is to do, half of the time is free for what has to be fed. */
	r->next_ns = end_ns + (more && code == SL_OK ? end_ns - now_ns : pause_ms * 1000000);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* ledger.c - the ledger's numbers, and whether its records are those that were written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "core/base/str.h"
#include "core/control/inner.h"
#include "core/ledger/bill.h"

enum { VERIFY_DEFAULT = 50000, VERIFY_MAX = 200000 /* records in one answer: so long nothing is fed */ };

static json_t *number_or_null(uint64_t number)
{
	return number ? json_integer((json_int_t) number) : json_null();
}

void control_ledger(struct call *call)
{
	struct ledger *ledger = call->control->ledger;
	struct ledger_stats s;
	ledger_stats(ledger, &s);
	call_json(call, 200, json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:i, s:b}", "appended", (json_int_t) s.appended, "committed",
	                               (json_int_t) s.committed, "fed", (json_int_t) s.fed, "commits", (json_int_t) s.commits, "refused",
	                               (json_int_t) s.refused, "folded", number_or_null(s.folded), "segments", (int) s.segments, "accepting", ledger_accepting(ledger)));
}

struct verification {
	uint64_t from, most;
	bool known;
	uint8_t digest[32];
	struct ledger_verdict verdict;
};

static int ask_verify(void *data, const sl_store_ops *store, void *store_self, sl_error *error)
{
	struct verification *v = data;
	return ledger_verify(store, store_self, v->from, v->known ? v->digest : NULL, v->most, &v->verdict, error);
}

static void answer_verify(struct call *call, int code, const sl_error *error)
{
	const struct verification *v = call->data;
	const struct ledger_verdict *d = &v->verdict;
	if (code == SL_ENOTSUP || code == SL_EINVAL) {
		call_fail(call, 400, code == SL_EINVAL ? "invalid_parameter" : "no_digests", code == SL_EINVAL ? "from" : NULL, NULL, "%s",
		          error->text);
		return;
	}
	if (code != SL_OK) {
		call_fail(call, 503, "store_failed", NULL, "sluicectl ledger", "the store cannot answer: %s", error->text);
		return;
	}
	call_json(call, 200, ledger_verdict_json(d));
}

static bool read_digest(struct call *call, struct verification *v)
{
	char text[80];
	if (!call_query(call, "digest", text, sizeof text))
		return true;
	bool fine = strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
	for (size_t i = 0; fine && i < sizeof v->digest; i++) {
		char pair[3] = { text[2 * i], text[2 * i + 1], '\0' };
		v->digest[i] = (uint8_t) strtoul(pair, NULL, 16);
	}
	v->known = fine;
	if (!fine)
		call_fail(call, 400, "invalid_parameter", "digest", NULL, "a digest has 64 hexadecimal digits");
	return fine;
}

void control_ledger_verify(struct call *call)
{
	int64_t from, most;
	if (!call_query_int(call, "from", 0, INT64_MAX, 0, &from) ||
	    !call_query_int(call, "max", 1, VERIFY_MAX, VERIFY_DEFAULT, &most))
		return;
	struct verification *v = calloc(1, sizeof *v);
	if (!v) {
		call_fail(call, 503, "out_of_memory", NULL, NULL, "out of memory");
		return;
	}
	call->data = v;
	call->free_data = free;
	v->from = (uint64_t) from;
	v->most = (uint64_t) most;
	if (read_digest(call, v) && !call_ask(call, ask_verify, answer_verify))
		call_fail(call, 503, "store_busy", NULL, "again in a moment", "the store takes no questions now");
}

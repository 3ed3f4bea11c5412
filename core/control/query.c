/* SPDX-License-Identifier: Apache-2.0 */
/* query.c - questions to the store: asked on the ledger's feeder thread, answered on the loop. */
#include <stdlib.h>

#include "core/base/error.h"
#include "core/control/inner.h"

struct store_query {
	struct mail mail;
	struct call *call; /* a reference */
	void *data;        /* the call's, while the question is out: only one thread has it at a time */
	store_ask ask;
	store_answer answer;
	int code;
	sl_error error;
};

static void on_answer(struct mail *mail)
{
	struct store_query *query = (struct store_query *) mail;
	struct call *call = query->call;
	call->data = query->data;
	if (call->x)
		query->answer(call, query->code, &query->error);
	call_unref(call);
	free(query);
}

/* On the feeder's thread. */
static void on_feeder(void *arg, const sl_store_ops *store, void *store_self)
{
	struct store_query *query = arg;
	query->code = query->ask(query->data, store, store_self, &query->error);
	query->mail.run = on_answer;
	struct call *call = query->call;
	if (mailbox_post(&call->control->mailbox, &query->mail))
		return;
	/* The door is closed: nobody waits any more, and the loop does not touch this call again. */
	call->data = query->data;
	call_unref(call);
	free(query);
}

static void query_late(struct call *call)
{
	call_fail(call, 504, "store_timeout", NULL, "sluicectl ledger", "the store did not answer in 30 s");
}

bool call_ask(struct call *call, store_ask ask, store_answer answer)
{
	struct store_query *query = calloc(1, sizeof *query);
	if (!query)
		return false;
	query->call = call;
	query->data = call->data;
	query->ask = ask;
	query->answer = answer;
	call->data = NULL;
	call_ref(call);
	if (ledger_query(call->control->ledger, on_feeder, query)) {
		if (call->x && !call->deadline_ms)
			call_deadline(call, QUERY_TIMEOUT_MS, query_late);
		return true;
	}
	call->data = query->data;
	call_unref(call);
	free(query);
	return false;
}

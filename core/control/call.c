/* SPDX-License-Identifier: Apache-2.0 */
/* call.c - one request: its life, its deadline, its wait for the ledger. */
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/control/inner.h"


uint64_t control_now_ms(void)
{
	return clock_mono_ns() / 1000000;
}

void call_ref(struct call *call)
{
	atomic_fetch_add(&call->refs, 1);
}

void call_unref(struct call *call)
{
	if (!call || atomic_fetch_sub(&call->refs, 1) != 1)
		return;
	json_decref(call->body);
	if (call->credential)
		explicit_bzero(call->credential, strlen(call->credential));
	free(call->credential);
	explicit_bzero(call->session, sizeof call->session);
	if (call->data && call->free_data)
		call->free_data(call->data);
	control_unref(call->control);
	free(call);
}

/* The exchange is over, or its client has gone: then whoever still works for it finds x gone, and the exchange is
 * ended here, in the place of the answer that nobody waits for. */
static void on_close(struct http_exchange *x, bool gone)
{
	struct call *call = x->data;
	bool unanswered = gone && call->x;
	call->x = NULL;
	call->deadline_ms = 0;
	call->commit_seq = 0;
	*call->link = call->next;
	if (call->next)
		call->next->link = call->link;
	if (call->closed)
		call->closed(call);
	if (unanswered)
		http_respond_end(x);
	call_unref(call);
}

struct call *call_new(struct control *control, struct http_exchange *x)
{
	struct call *call = calloc(1, sizeof *call);
	if (!call)
		return NULL;
	atomic_store(&call->refs, 1);
	atomic_fetch_add(&control->refs, 1);
	call->control = control;
	call->x = x;
	call->who.uid = call->who.gid = UINT32_MAX;
	call->next = control->calls;
	call->link = &control->calls;
	if (call->next)
		call->next->link = &call->next;
	control->calls = call;
	x->data = call;
	x->on_close = on_close;
	return call;
}

static void on_deadlines(uv_timer_t *timer)
{
	struct control *control = timer->data;
	uint64_t now = control_now_ms();
	bool any = false;
	for (struct call *call = control->calls, *next; call; call = next) {
		/* `late` may end this call, but no other. */
		next = call->next;
		if (!call->deadline_ms)
			continue;
		if (now < call->deadline_ms) {
			any = true;
			continue;
		}
		call->deadline_ms = 0;
		call->commit_seq = 0;
		if (call->x && call->late)
			call->late(call);
	}
	if (!any)
		uv_timer_stop(timer);
}

void call_deadline(struct call *call, uint64_t ms, call_fn late)
{
	call->deadline_ms = control_now_ms() + ms;
	call->late = late;
	uv_timer_t *timer = &call->control->deadlines;
	if (!uv_is_active((uv_handle_t *) timer))
		uv_timer_start(timer, on_deadlines, DEADLINE_TICK_MS, DEADLINE_TICK_MS);
}

static void commit_late(struct call *call)
{
	call_fail(call, 503, "commit_unknown", NULL, "look whether it is there, then send it again",
	          "the change was written, but it is not known yet whether it is on disk: the ledger did not answer in 10 s");
}

static void wait_for(struct call *call, uint64_t seq, call_fn committed)
{
	if (ledger_committed(call->control->ledger) >= seq) {
		committed(call);
		return;
	}
	call->commit_seq = seq;
	call->committed = committed;
	call_deadline(call, COMMIT_TIMEOUT_MS, commit_late);
}

void call_append_object(struct call *call, sl_str key, sl_str json, call_fn committed)
{
	uint64_t seq = ledger_append(call->control->ledger, SL_RECORD_OBJECT, key, json.ptr, json.len);
	if (!seq)
		call_fail(call, 503, "store_full", NULL, "sluicectl status", "the ledger takes no records now: nothing was changed");
	else
		wait_for(call, seq, committed);
}

void call_wait_committed(struct call *call, call_fn committed)
{
	struct ledger_stats stats;
	ledger_stats(call->control->ledger, &stats);
	wait_for(call, stats.appended, committed);
}

void control_committed(struct control *control, uint64_t seq)
{
	for (struct call *call = control->calls, *next; call; call = next) {
		next = call->next;
		if (!call->commit_seq || call->commit_seq > seq)
			continue;
		call->commit_seq = 0;
		call->deadline_ms = 0;
		if (call->x)
			call->committed(call);
	}
}

bool call_is_operator(const struct call *call)
{
	return call->who.roles & (SL_ROLE_OPERATOR | SL_ROLE_ADMIN);
}

bool call_is_admin(const struct call *call)
{
	return call->who.roles & SL_ROLE_ADMIN;
}

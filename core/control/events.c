/* SPDX-License-Identifier: Apache-2.0 */
/* events.c - word that something has changed, as server-sent events: not what, since what one may see is for the calls
 * to say. Looks once a second, for all who listen together. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/control/inner.h"

enum { LOOK_MS = 1000, PING_LOOKS = 15, BACKLOG_MAX = 64 * 1024 };

struct listener {
	struct listener *next, **link;
	struct call *call;       /* a reference */
	struct http_exchange *x; /* NULL: over */
};

/* All that is on record has a number, so most changes show in two of them. What no record tells of - a device that is
 * lost, requests under way - is in the counts beside. */
static uint64_t fingerprint(struct control *control)
{
	struct {
		uint64_t appended, fed;
		struct pool_totals totals;
		json_int_t requests, active;
		bool ready, accepting;
	} now;
	struct ledger_stats stats;
	char why[NOT_READY_MAX];
	memset(&now, 0, sizeof now); /* the gaps are hashed as well */
	ledger_stats(control->ledger, &stats);
	pool_totals(control->pool, &now.totals);
	json_t *gateway = control->callbacks.gateway_status(control->arg);
	const json_t *requests = json_object_get(gateway, "requests");
	now.appended = stats.appended;
	now.fed = stats.fed;
	now.totals.longest_wait_ms = 0; /* grows by itself */
	now.requests = json_get_int(requests, "total", 0);
	now.active = json_get_int(requests, "active", 0);
	now.ready = control->callbacks.ready(control->arg, why, sizeof why);
	now.accepting = ledger_accepting(control->ledger);
	json_decref(gateway);
	return hash_bytes(&now, sizeof now);
}

static void finish(struct listener *l)
{
	struct http_exchange *x = l->x;
	if (!x)
		return;
	l->x = NULL;
	*l->link = l->next;
	if (l->next)
		l->next->link = l->link;
	struct control *control = l->call->control;
	control->n_listeners--;
	if (!control->listeners)
		uv_timer_stop(&control->look);
	l->call->data = NULL;
	http_respond_end(x);
	call_unref(l->call);
	free(l);
}

static void on_client_closed(struct call *call)
{
	if (call->data)
		finish(call->data);
}

void control_events_end(struct control *control)
{
	while (control->listeners)
		finish(control->listeners);
}

/* A session that has ended hears nothing more; it is no use of one to listen. */
static bool may_listen(struct listener *l)
{
	const struct session_terms terms = page_terms(l->call->control);
	return !l->call->session[0] ||
	       sessions_peek(l->call->control->sessions, &terms, control_now_ms(), str_of(l->call->session)) != NULL;
}

/* A client that is gone ends the listener inside the write. */
static void tell(struct listener *l, sl_str text)
{
	struct call *call = l->call;
	call_ref(call);
	bool fine = http_respond_backlog(l->x) <= BACKLOG_MAX && http_respond_chunk(l->x, text);
	if (!fine && call->data)
		finish(l);
	call_unref(call);
}

static sl_str change_text(const struct control *control, char *out, size_t room)
{
	int n = snprintf(out, room, "event: change\nid: %" PRIu64 "\ndata: {}\n\n", control->changes);
	return (sl_str){ out, (size_t) n };
}

static void on_look(uv_timer_t *timer)
{
	struct control *control = timer->data;
	uint64_t now = fingerprint(control);
	char text[96];
	bool changed = now != control->fingerprint, ping = ++control->looks % PING_LOOKS == 0;
	control->fingerprint = now;
	control->changes += changed;
	sl_str change = change_text(control, text, sizeof text);
	for (struct listener *l = control->listeners, *next; l; l = next) {
		next = l->next; /* one that ends leaves the list, and no other does */
		if (!may_listen(l))
			finish(l);
		else if (changed)
			tell(l, change);
		else if (ping)
			tell(l, STR(": here\n\n"));
	}
}

void control_events(struct call *call)
{
	struct control *control = call->control;
	char text[128];
	if (control->n_listeners >= (unsigned) control->conf->page.sessions_max) {
		call_fail(call, 503, "too_many_listeners", NULL, "page { sessions = ... }", "%u listen, as many as may be", control->n_listeners);
		return;
	}
	struct listener *l = calloc(1, sizeof *l);
	if (!l) {
		call_fail(call, 503, "out_of_memory", NULL, NULL, "out of memory");
		return;
	}
	/* The exchange is the listener's now. */
	l->call = call;
	l->x = call->x;
	call_ref(call);
	call->closed = on_client_closed;
	call->data = l;
	call->x = NULL;
	if (!control->listeners) {
		control->fingerprint = fingerprint(control);
		uv_timer_start(&control->look, on_look, LOOK_MS, LOOK_MS);
	}
	l->next = control->listeners;
	l->link = &control->listeners;
	if (l->next)
		l->next->link = &l->next;
	control->listeners = l;
	control->n_listeners++;
	call_ref(call); /* the client may go at the first line */
	http_respond_begin(l->x, 200, "text/event-stream");
	if (call->data) {
		char change[96];
		sl_str first = change_text(control, change, sizeof change);
		int n = snprintf(text, sizeof text, "retry: 3000\n%.*s", STR_ARG(first));
		tell(l, (sl_str){ text, (size_t) n });
	}
	call_unref(call);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* lease_list.c - leases, newest first: those that the pool knows, and those that ended before as the store has them. */
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/control/inner.h"

enum { LEASES_DEFAULT = 100, LEASES_MAX = 10000 };

struct listing {
	sl_lease_filter filter; /* its texts point to `who` */
	sl_identity who;
	bool all, open, ended;  /* whose, and in which states */
	json_t *known, *stored;
};

static void free_listing(void *data)
{
	struct listing *l = data;
	json_decref(l->known);
	json_decref(l->stored);
	free(l);
}

static uint64_t number_of(const json_t *lease)
{
	uint64_t number = 0;
	sl_str id = str_of(json_get_str(lease, "lease", ""));
	return id.len > 1 && str_to_u64((sl_str){ id.ptr + 1, id.len - 1 }, UINT64_MAX, &number) ? number : 0;
}

static void list_known(struct call *call, struct listing *l)
{
	json_t *leases = pool_leases(call->control->pool), *lease;
	size_t i;
	json_array_foreach(leases, i, lease) {
		bool open = !control_lease_over(lease);
		if (json_array_size(l->known) == l->filter.limit)
			break;
		if ((l->filter.before && number_of(lease) >= l->filter.before) || (open ? !l->open : !l->ended) ||
		    (!l->all && !call_owns_lease(call, lease)))
			continue;
		json_array_append_new(l->known, control_lease_public(json_incref(lease)));
	}
	json_decref(leases);
}

static int take_lease(void *arg, sl_str id, sl_str text)
{
	struct listing *l = arg;
	sl_error error;
	(void) id;
	json_t *record = json_parse(text, &error), *lease = record ? pool_lease_of(record) : NULL;
	json_decref(record);
	if (lease)
		json_array_append_new(l->stored, control_lease_public(lease));
	return 0;
}

static int ask_ended(void *data, const sl_store_ops *store, void *store_self, sl_error *error)
{
	struct listing *l = data;
	if (!SL_STORE_HAS(store, lease_list))
		return SL_OK;
	return store->lease_list(store_self, &l->filter, take_lease, l, error);
}

/* Both are newest first, and each has as many as are wanted, so the newest of both are the newest of all. What the pool
 * knows is the later word. */
static json_t *merge(const struct listing *l)
{
	json_t *out = json_array();
	size_t k = 0, s = 0;
	while (json_array_size(out) < l->filter.limit) {
		json_t *known = json_array_get(l->known, k), *stored = json_array_get(l->stored, s);
		if (!known && !stored)
			break;
		uint64_t a = known ? number_of(known) : 0, b = stored ? number_of(stored) : 0;
		k += a >= b;
		s += b >= a;
		json_array_append(out, a >= b ? known : stored);
	}
	return out;
}

static void answer_list(struct call *call, int code, const sl_error *error)
{
	struct listing *l = call->data;
	(void) error;
	if (code != SL_OK)
		json_array_clear(l->stored);
	call_json(call, 200, merge(l));
}

/* The store has the question, and its data: what the pool knows is told without it. */
static void answer_late(struct call *call)
{
	call_fail(call, 504, "store_timeout", "state", "sluicectl leases --state open", "the store did not answer in 30 s");
}

static struct listing *read_listing(struct call *call)
{
	char flag[16], state[16], before[32];
	int64_t limit;
	bool all = call_query(call, "all", flag, sizeof flag) && strcmp(flag, "0") != 0;
	call_query(call, "state", state, sizeof state);
	if (!call_query_int(call, "limit", 1, LEASES_MAX, LEASES_DEFAULT, &limit))
		return NULL;
	if (state[0] && strcmp(state, "open") != 0 && strcmp(state, "ended") != 0) {
		call_fail(call, 400, "invalid_parameter", "state", "open or ended", "state '%s' is neither open nor ended", state);
		return NULL;
	}
	uint64_t number = 0;
	if (call_query(call, "before", before, sizeof before) &&
	    !str_to_u64(str_of(before + (before[0] == 'L' || before[0] == 'l')), INT64_MAX, &number)) {
		call_fail(call, 400, "invalid_parameter", "before", "before=L1042", "'%s' is no lease", before);
		return NULL;
	}
	if (all && !call_is_operator(call)) {
		call_fail(call, 403, "role_missing", "all", NULL, "everybody's leases are for operators. Without `all` you see your own");
		return NULL;
	}
	struct listing *l = calloc(1, sizeof *l);
	if (!l) {
		call_fail(call, 503, "out_of_memory", NULL, NULL, "out of memory");
		return NULL;
	}
	*l = (struct listing){ .filter = { .size = sizeof l->filter, .ended = 1, .before = number, .limit = (uint64_t) limit },
		.who = call->who, .all = all, .open = strcmp(state, "ended") != 0, .ended = strcmp(state, "open") != 0,
		.known = json_array(), .stored = json_array() };
	if (!all) {
		l->filter.tenant = str_of(l->who.tenant);
		l->filter.user = str_of(l->who.user);
	}
	return l;
}

void control_leases(struct call *call)
{
	struct listing *l = read_listing(call);
	if (!l)
		return;
	call->data = l;
	call->free_data = free_listing;
	list_known(call, l);
	/* One who belongs to no tenant owns nothing; an empty filter would match everything. */
	bool ask = l->ended && (l->all || l->who.tenant[0]);
	if (ask)
		call_deadline(call, QUERY_TIMEOUT_MS, answer_late);
	if (!ask || !call_ask(call, ask_ended, answer_list))
		answer_list(call, SL_OK, NULL);
}

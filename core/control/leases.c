/* SPDX-License-Identifier: Apache-2.0 */
/* leases.c - leases: list, ask for one, look at one, signal, feed, end it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/control/inner.h"

enum { ARGV_MAX = 4096, NOTICE_DEFAULT_S = 10, NOTICE_MAX_S = 3600 };

json_t *control_lease_public(json_t *lease)
{
	/* Its environment may hold secrets; a copy, since the view may be the pool's own. */
	json_t *copy = json_copy(lease);
	json_decref(lease);
	json_object_del(copy, "env");
	return copy;
}

bool control_lease_over(const json_t *lease)
{
	return json_is_string(json_object_get(lease, "ended_at"));
}

static bool owns(const struct call *call, const char *tenant, const char *user)
{
	if (strcmp(tenant, call->who.tenant) != 0)
		return false;
	if (!call->who.tenant[0] && !call->who.user[0])
		return false;
	return !call->who.user[0] || strcmp(user, call->who.user) == 0;
}

bool call_owns_lease(const struct call *call, const json_t *lease)
{
	return owns(call, json_get_str(lease, "tenant", ""), json_get_str(lease, "user", ""));
}

/* A name means a lease that the caller may see: others' neither stand in its way nor are told. */
static bool sees(void *arg, const char *tenant, const char *user)
{
	const struct call *call = arg;
	return call_is_operator(call) || owns(call, tenant, user);
}

static void unknown_lease(struct call *call)
{
	call_fail(call, 404, "unknown_lease", NULL, "sluicectl leases", "there is no lease '%.*s'", STR_ARG(call->params[0]));
}

/* "L1042", "1042" or a unique name; 0: none. An ended lease is known by its number alone. False: answered, since the
 * name is that of several. */
static bool find_lease(struct call *call, uint64_t *number)
{
	const sl_str id = call->params[0];
	const struct pool_search search = { .id = id, .sees = sees, .arg = call };
	struct pool_names several;
	sl_str digits = id.len && (id.ptr[0] == 'L' || id.ptr[0] == 'l') ? (sl_str){ id.ptr + 1, id.len - 1 } : id;
	*number = pool_find(call->control->pool, &search, &several);
	if (several.n > 1) {
		call_fail(call, 409, "ambiguous_name", NULL, "sluicectl leases", "%.*s is L%llu and L%llu%s: name one of them by its number",
		          STR_ARG(id), (unsigned long long) several.at[0], (unsigned long long) several.at[1],
		          several.n > 2 ? " and more" : "");
		return false;
	}
	if (!*number && !str_to_u64(digits, UINT64_MAX, number))
		*number = 0;
	return true;
}

json_t *call_own_lease(struct call *call, uint64_t *number)
{
	if (!find_lease(call, number))
		return NULL;
	json_t *lease = *number ? pool_lease(call->control->pool, *number) : NULL;
	if (lease && (call_owns_lease(call, lease) || call_is_operator(call)))
		return control_lease_public(lease);
	json_decref(lease);
	unknown_lease(call);
	return NULL;
}

/* What a body asks for. */
struct wish {
	struct pool_request request;
	char name[SL_NAME_MAX];
	char queue[SL_NAME_MAX];
};

static bool read_numbers(struct call *call, struct pool_request *r)
{
	int64_t gpus, memory, seconds, priority;
	if (!call_member_int(call, "gpus", 0, 1024, 1, &gpus) ||
	    !call_member_int(call, "memory_bytes", 0, INT64_MAX, 0, &memory) ||
	    !call_member_int(call, "time_s", 0, INT64_MAX / 1000, 0, &seconds) ||
	    !call_member_int(call, "priority", -1000, 1000, 0, &priority))
		return false;
	if (priority > 0 && !call_is_operator(call)) {
		call_fail(call, 403, "priority_denied", "priority", "--priority 0", "a priority above 0 is for operators");
		return false;
	}
	r->devices = (uint32_t) gpus;
	r->memory_bytes = (uint64_t) memory;
	r->time_ms = (uint64_t) seconds * 1000;
	r->priority = (int) priority;
	return true;
}

static bool read_program(struct call *call, struct pool_request *r)
{
	if (!call_member_strings(call, "argv", ARGV_MAX, &r->argv) || !call_member_str(call, "cwd", NULL, &r->cwd))
		return false;
	if (!r->argv || json_array_size(r->argv) == 0 || !json_string_length(json_array_get(r->argv, 0))) {
		call_fail(call, 400, "missing_command", "argv", "sluicectl run -- COMMAND", "argv must name the program to run");
		return false;
	}
	if (r->cwd && r->cwd[0] != '/') {
		call_fail(call, 400, "invalid_value", "cwd", NULL, "cwd must be an absolute path");
		return false;
	}
	r->env = json_object_get(call->body, "env");
	if (json_is_null(r->env))
		r->env = NULL;
	const char *name;
	json_t *value;
	bool fine = !r->env || json_is_object(r->env);
	if (fine)
		json_object_foreach((json_t *) r->env, name, value)
			fine = fine && json_is_string(value) && name[0] && !strchr(name, '=');
	if (!fine)
		call_fail(call, 400, "invalid_type", "env", NULL, "env must be an object of strings");
	return fine;
}

static void default_name(const json_t *argv, char out[SL_NAME_MAX])
{
	const char *program = json_string_value(json_array_get(argv, 0));
	const char *slash = strrchr(program, '/');
	str_copy(out, SL_NAME_MAX, str_of(slash ? slash + 1 : program));
	if (!control_is_name(out))
		str_copy(out, SL_NAME_MAX, STR("job"));
}

static const char *nearest_queue(const struct call *call, const char *word)
{
	const struct conf *conf = call->control->conf;
	const char *names[65] = { NULL };
	for (size_t i = 0; i < conf->n_queues && i < 64; i++)
		names[i] = conf->queues[i].name;
	return str_nearest(str_of(word), names);
}

static bool read_queue(struct call *call, struct wish *wish)
{
	const char *asked;
	if (!call_member_str(call, "queue", "", &asked))
		return false;
	if (!asked[0]) {
		identity_default_queue(call->control->identity, str_of(call->who.tenant), wish->queue);
	} else if (!str_copy(wish->queue, sizeof wish->queue, str_of(asked)) || !conf_queue(call->control->conf, str_of(asked))) {
		const char *nearest = nearest_queue(call, asked);
		char cure[2 * SL_NAME_MAX];
		snprintf(cure, sizeof cure, "--queue %s", nearest ? nearest : "NAME");
		call_fail(call, 400, "unknown_queue", "queue", cure, "queue '%.80s' does not exist", asked);
		return false;
	} else if (!call_is_operator(call) &&
	           !identity_queue_allowed(call->control->identity, str_of(call->who.tenant), str_of(asked))) {
		call_fail(call, 403, "queue_denied", "queue", NULL, "tenant '%s' may not use queue '%s'", call->who.tenant, asked);
		return false;
	}
	wish->request.queue = wish->queue;
	return true;
}

static bool read_wish(struct call *call, struct wish *wish)
{
	static const char *const fields[] = { "name", "argv", "env", "cwd", "gpus", "kind", "memory_bytes", "time_s", "queue",
	                                      "stdin", "priority", "detach", NULL };
	struct pool_request *r = &wish->request;
	const char *name;
	if (!call_body(call, fields) || !read_program(call, r) || !read_numbers(call, r) || !read_queue(call, wish) ||
	    !call_member_str(call, "name", "", &name) || !call_member_str(call, "kind", NULL, &r->kind) ||
	    !call_member_bool(call, "stdin", false, &r->with_stdin) || !call_member_bool(call, "detach", false, &r->detach))
		return false;
	if (name[0] && !control_is_name(name)) {
		call_fail(call, 400, "invalid_name", "name", NULL, "a lease's name has letters, digits, '.', '_' and '-', at most %d",
		          SL_NAME_MAX - 1);
		return false;
	}
	if (name[0])
		str_copy(wish->name, sizeof wish->name, str_of(name));
	else
		default_name(r->argv, wish->name);
	r->name = wish->name;
	r->tenant = call->who.tenant;
	r->user = call->who.user;
	r->uid = call->who.uid;
	r->gid = call->who.gid;
	return true;
}

/* The policy's word on it: it may refuse, or change the terms. False: answered. */
static bool ask_policy(struct call *call, struct wish *wish)
{
	struct control *control = call->control;
	struct pool_request *r = &wish->request;
	char program[SL_NAME_MAX];
	struct policy_lease_terms terms;
	sl_error error = { 0 };
	if (!control->policy)
		return true;
	default_name(r->argv, program);
	const struct policy_lease_request asked = { .name = r->name, .tenant = r->tenant, .user = r->user, .tier = call->who.tier,
		.queue = wish->queue, .kind = r->kind, .program = program, .gpus = r->devices, .memory_bytes = r->memory_bytes,
		.limit_ms = r->time_ms, .priority = r->priority, .detach = r->detach, .wall_ms = clock_wall_ms() };
	if (policy_lease(control->policy, &asked, &terms, &error) != SL_OK) {
		if (control->conf->policy_fail_open)
			return true;
		call_fail(call, 500, "policy_error", NULL, NULL, "the site's policy failed; its operators find why in the log of sluiced");
		return false;
	}
	if (terms.verdict == POLICY_DENY) {
		call_fail(call, terms.denial.status, terms.denial.code, NULL, NULL, "%s", terms.denial.message);
		return false;
	}
	str_copy(wish->queue, sizeof wish->queue, str_of(terms.queue));
	const struct conf_queue *queue = conf_queue(control->conf, str_of(wish->queue));
	/* Above the queue's bound the policy's word is worth the bound; what the caller asked for is refused there. */
	if (terms.limit_ms != r->time_ms && queue && queue->time_max_ms && terms.limit_ms > (uint64_t) queue->time_max_ms)
		terms.limit_ms = (uint64_t) queue->time_max_ms;
	r->time_ms = terms.limit_ms;
	r->priority = terms.priority;
	return true;
}

/* The number of a lease that is to be answered with. */
static uint64_t *remember(struct call *call, uint64_t number)
{
	uint64_t *kept = malloc(sizeof *kept);
	if (kept)
		*kept = number;
	call->data = kept;
	call->free_data = free;
	return kept;
}

static void answer_lease(struct call *call, int status, uint64_t number)
{
	json_t *lease = pool_lease(call->control->pool, number);
	if (lease)
		call_json(call, status, control_lease_public(lease));
	else
		call_json(call, status, json_pack("{s:o}", "lease", json_sprintf("L%llu", (unsigned long long) number)));
}

static void lease_is_durable(struct call *call)
{
	answer_lease(call, 201, *(uint64_t *) call->data);
}

void control_lease_new(struct call *call)
{
	struct wish wish = { 0 };
	sl_error error = { 0 };
	uint64_t number = 0;
	if (call->control->callbacks.drained(call->control->arg)) {
		call_fail(call, 503, "not_ready", NULL, "sluicectl undrain   (for operators), then again",
		          "sluiced is draining: it takes no new lease until an operator undrains it; what runs or waits goes on");
		return;
	}
	if (!read_wish(call, &wish))
		return;
	if (wish.request.uid == UINT32_MAX) {
		call_fail(call, 403, "no_uid", NULL, NULL, "a job runs as its owner, and this caller has no Unix user here");
		return;
	}
	if (!ask_policy(call, &wish))
		return;
	if (pool_submit(call->control->pool, &wish.request, &number, &error) != SL_OK) {
		if (error.code == SL_ELIMIT)
			call_fail(call, 429, "insufficient_quota", NULL, "sluicectl limits; a shorter time or fewer devices may fit", "%s", error.text);
		else
			call_fail_error(call, &error);
		return;
	}
	snprintf(call->what, sizeof call->what, "L%llu", (unsigned long long) number);
	if (remember(call, number))
		call_wait_committed(call, lease_is_durable);
	else
		answer_lease(call, 201, number);
}

/* Every change that the store knows of, and the lease itself where only the store knows it. */
struct history {
	uint64_t number;
	char id[32];
	json_t *lease, *changes;
};

static void free_history(void *data)
{
	struct history *h = data;
	json_decref(h->lease);
	json_decref(h->changes);
	free(h);
}

static int add_change(void *arg, uint64_t wall_ms, sl_str text)
{
	struct history *h = arg;
	sl_error error;
	char at[32];
	json_t *record = json_parse(text, &error);
	const json_t *last = json_array_get(h->changes, json_array_size(h->changes) - 1);
	/* One that only wrote down what was used up to then is no change. */
	if (json_object_get(record, "charges") && strcmp(json_get_str(last, "state", ""), json_get_str(record, "state", "")) == 0) {
		json_decref(record);
		return 0;
	}
	clock_rfc3339(wall_ms, at);
	json_array_append_new(h->changes, json_pack("{s:s, s:s, s:s}", "at", at, "state", json_get_str(record, "state", ""), "reason",
	                                            json_get_str(record, "reason", "")));
	json_decref(record);
	return json_array_size(h->changes) >= 1000;
}

static int take_lease(void *arg, sl_str id, sl_str text)
{
	struct history *h = arg;
	sl_error error;
	json_t *record = str_eq(id, str_of(h->id)) ? json_parse(text, &error) : NULL;
	h->lease = record ? pool_lease_of(record) : NULL;
	json_decref(record);
	return 1;
}

/* Only the store may know it. */
static int ask_lease(void *data, const sl_store_ops *store, void *store_self, sl_error *error)
{
	struct history *h = data;
	const sl_lease_filter filter = { .size = sizeof filter, .before = h->number + 1, .limit = 1 };
	return SL_STORE_HAS(store, lease_list) ? store->lease_list(store_self, &filter, take_lease, h, error) : SL_OK;
}

static int ask_history(void *data, const sl_store_ops *store, void *store_self, sl_error *error)
{
	struct history *h = data;
	if (!h->lease) {
		int code = ask_lease(h, store, store_self, error);
		if (code != SL_OK || (!h->lease && SL_STORE_HAS(store, lease_list)))
			return code;
	}
	return store->lease_history(store_self, str_of(h->id), add_change, h, error);
}

static void answer_history(struct call *call, int code, const sl_error *error)
{
	struct history *h = call->data;
	(void) error;
	if (!h->lease || !(call_owns_lease(call, h->lease) || call_is_operator(call))) {
		unknown_lease(call);
		return;
	}
	/* What the pool knows is told even when the store is ill. */
	json_object_set(h->lease, "history", code == SL_OK ? h->changes : json_null());
	call_json(call, 200, control_lease_public(json_incref(h->lease)));
}

/* Takes over `lease`. False: there is none of that number. */
static bool begin_history(struct call *call, uint64_t number, json_t *lease)
{
	struct history *h = number && number < INT64_MAX ? calloc(1, sizeof *h) : NULL;
	if (!h) {
		json_decref(lease);
		unknown_lease(call);
		return false;
	}
	snprintf(h->id, sizeof h->id, "L%llu", (unsigned long long) number);
	h->number = number;
	h->lease = lease;
	h->changes = json_array();
	call->data = h;
	call->free_data = free_history;
	return true;
}

void control_lease_show(struct call *call)
{
	uint64_t number;
	if (!find_lease(call, &number) ||
	    !begin_history(call, number, number ? pool_lease(call->control->pool, number) : NULL))
		return;
	if (!call_ask(call, ask_history, answer_history))
		answer_history(call, SL_EUNAVAILABLE, NULL);
}

static void say_gone(struct call *call, const char *id)
{
	call_fail(call, 404, "no_log", NULL, NULL, "the log of %s is no longer kept (" POOL_ENDED_WORDS ")", id);
}

static void answer_gone(struct call *call, int code, const sl_error *error)
{
	const struct history *h = call->data;
	(void) error;
	if (code == SL_OK && h->lease && (call_owns_lease(call, h->lease) || call_is_operator(call)))
		say_gone(call, h->id);
	else
		unknown_lease(call);
}

json_t *call_own_log(struct call *call, uint64_t *number)
{
	if (!find_lease(call, number))
		return NULL;
	json_t *lease = *number ? pool_lease(call->control->pool, *number) : NULL;
	bool known = lease != NULL, kept = known && pool_log_kept(call->control->pool, *number);
	json_decref(lease);
	if (known && (lease = call_own_lease(call, number)) && !kept) {
		say_gone(call, json_get_str(lease, "lease", ""));
		json_decref(lease);
		return NULL;
	}
	if (known)
		return lease;
	if (begin_history(call, *number, NULL) && !call_ask(call, ask_lease, answer_gone))
		unknown_lease(call);
	return NULL;
}

void control_lease_release(struct call *call)
{
	uint64_t number;
	int64_t notice_s;
	char reason[160], said[256];
	sl_error error = { 0 };
	json_t *lease = call_own_lease(call, &number);
	if (!lease)
		return;
	json_decref(lease);
	if (!call_query_int(call, "notice_s", 0, NOTICE_MAX_S, NOTICE_DEFAULT_S, &notice_s))
		return;
	if (call_query(call, "reason", reason, sizeof reason) && reason[0])
		snprintf(said, sizeof said, "%s", reason);
	else
		snprintf(said, sizeof said, "released by %s", call->who.user[0] ? call->who.user : "its owner");
	if (pool_release(call->control->pool, number, (uint64_t) notice_s * 1000, said, &error) != SL_OK)
		call_fail_error(call, &error);
	else
		answer_lease(call, 202, number);
}

void control_lease_signal(struct call *call)
{
	static const char *const fields[] = { "signal", NULL };
	uint64_t number;
	int64_t signal;
	sl_error error = { 0 };
	json_t *lease = call_own_lease(call, &number);
	if (!lease)
		return;
	json_decref(lease);
	if (!call_body(call, fields) || !call_member_int(call, "signal", 0, 64, 0, &signal))
		return;
	if (signal == 0)
		call_fail(call, 400, "missing_field", "signal", NULL, "signal must be a number from 1 to 64");
	else if (pool_signal(call->control->pool, number, (int) signal, &error) != SL_OK)
		call_fail_error(call, &error);
	else
		call_json(call, 202, json_object());
}

static void on_stdin(void *arg, int code, int64_t taken)
{
	struct call *call = arg;
	sl_error error = { 0 };
	if (code == SL_OK) {
		call_json(call, 200, taken < 0 ? json_object() : json_pack("{s:I}", "taken", (json_int_t) taken));
	} else if (code == SL_EAGAIN) {
		call_fail(call, 503, "pipe_full", NULL, "send it again later", "the program does not read its input at the moment");
	} else {
		error_set(&error, code, code == SL_EUNAVAILABLE ? "the agent is away: whether it has taken the input is not known"
		          : code == SL_EINVAL ? "from: what is before this place has not come"
		                              : "the input was not taken: the program has ended, or has closed it");
		call_fail_error(call, &error);
	}
	call_unref(call);
}

void control_lease_stdin(struct call *call)
{
	uint64_t number;
	char flag[8];
	sl_error error = { 0 };
	json_t *lease = call_own_lease(call, &number);
	if (!lease)
		return;
	json_decref(lease);
	struct pool_input input = { .data = call->x->body,
		.eof = call_query(call, "eof", flag, sizeof flag) && strcmp(flag, "0") != 0 };
	if (!call_query_int(call, "writer", 1, INT64_MAX, 0, &input.writer) ||
	    !call_query_int(call, "from", 0, INT64_MAX / 2, 0, &input.from))
		return;
	call_ref(call);
	if (pool_stdin(call->control->pool, number, &input, on_stdin, call, &error) == SL_OK)
		return;
	call_fail_error(call, &error);
	call_unref(call);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* watch.c - those who watch leases, and the output that they get.
 *
 * Each watcher has a place in each stream. What the agent sends of its own accord (one `follow` a lease, from now) is
 * handed to those who are at that very place; who is behind asks for pieces until it has caught up. So a watcher that
 * starts at 0 misses nothing, and many watchers cost one `follow`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/base64.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/pool/inner.h"

static const char *const stream_names[] = { "out", "err" };

static void pump(struct pool_watch *w, int stream);

static struct pool_watch *find_watch(struct pool *pool, uint64_t id)
{
	for (struct pool_watch *w = pool->watches; w; w = w->next)
		if (w->id == id && !w->dead)
			return w;
	return NULL;
}

static void sweep(struct pool *pool)
{
	if (pool->watch_depth)
		return;
	for (struct pool_watch **link = &pool->watches; *link;) {
		struct pool_watch *w = *link;
		if (w->dead) {
			*link = w->next;
			free(w);
		} else {
			link = &w->next;
		}
	}
}

/* The callback may end any watch, this one too: check `dead` afterwards. */
static void tell(struct pool_watch *w, const struct pool_event *event)
{
	w->pool->watch_depth++;
	w->event(w->arg, event);
	w->pool->watch_depth--;
}

static bool over(struct pool *pool, const struct pool_watch *w)
{
	const struct job *job = pool_job(pool, w->number);
	return !job || (lease_state_over(job->lease.state) && change_durable(pool, job));
}

static void leave(struct pool_watch *w)
{
	struct job *job = pool_job(w->pool, w->number);
	if (job && !w->told_end)
		job->watchers--;
	w->told_end = true;
}

static void check_end(struct pool_watch *w)
{
	struct pool *pool = w->pool;
	if (w->dead || w->told_end || !over(pool, w) || (w->logs && !(w->stream[0].done && w->stream[1].done)))
		return;
	const struct job *job = pool_job(pool, w->number);
	json_t *json = job ? show_lease(pool, job, false) : NULL;
	leave(w);
	tell(w, &(struct pool_event){ .lease = json, .end = true });
	json_decref(json);
}

/* Decoded bytes, to be freed; NULL with *len 0 when there are none or they are not base64. */
static char *decode(const json_t *message, size_t *len)
{
	struct buf bytes = { .max = FRAME_MAX };
	*len = 0;
	if (!base64_get(&bytes, str_of(json_get_str(message, "data", "")))) {
		buf_free(&bytes);
		return NULL;
	}
	*len = bytes.len;
	return bytes.data;
}

static void hand_over(struct pool_watch *w, int stream, uint64_t from, const char *data, size_t len)
{
	w->stream[stream].next = (int64_t) (from + len);
	if (len)
		tell(w, &(struct pool_event){ .log = stream_names[stream], .from = from, .data = { data, len } });
	if (!w->dead)
		pace_moved(w, stream);
}

static void on_piece(struct pool *pool, uint64_t arg, const json_t *ok, const sl_error *error)
{
	struct pool_watch *w = find_watch(pool, arg / 2);
	int stream = (int) (arg % 2);
	(void) error;
	if (!w)
		return;
	w->stream[stream].fetching = false;
	if (!ok) {
		/* Away: the next connection goes on from here. Else there is no such output. */
		if (pool->agent.ready) {
			w->stream[stream].done = over(pool, w);
			check_end(w);
		}
		return;
	}
	size_t len;
	char *data = decode(ok, &len);
	int64_t from = json_get_int(ok, "from", 0), size = json_get_int(ok, "size", 0);
	pool->watch_depth++;
	hand_over(w, stream, from > 0 ? (uint64_t) from : 0, data, len);
	free(data);
	if (!w->dead) {
		bool more = len && (w->stream[stream].next < size || w->stream[stream].behind);
		w->stream[stream].behind = false;
		if (more)
			pump(w, stream);
		else if (over(pool, w))
			w->stream[stream].done = true;
		check_end(w);
	}
	pool->watch_depth--;
	sweep(pool);
}

static int ask_piece(struct pool *pool, uint64_t number, const char *source, int64_t from, size_t max, agent_done done,
                     uint64_t arg, sl_error *error)
{
	char id[LEASE_ID_MAX];
	lease_id(number, id);
	if (max == 0 || max > POOL_PIECE)
		max = POOL_PIECE;
	json_t *request = json_pack("{s:s, s:s, s:I, s:I}", "lease", id, "source", source, "from", (json_int_t) from, "max",
	                            (json_int_t) max);
	return agent_call(&pool->agent, "logs", request, done, arg, error);
}

/* Asks for what comes next in the stream. */
static void pump(struct pool_watch *w, int stream)
{
	struct pool *pool = w->pool;
	const struct job *job = pool_job(pool, w->number);
	if (!w->logs || w->dead || w->held || w->stream[stream].done)
		return;
	if (w->stream[stream].fetching) {
		w->stream[stream].behind = true;
		return;
	}
	bool from_now = w->stream[stream].next == -1;
	if (over(pool, w) && (from_now || !job || !job->known_to_agent)) {
		w->stream[stream].done = true;
		return;
	}
	if (from_now || !pool->agent.ready || !job || !job->known_to_agent)
		return;
	w->stream[stream].fetching = ask_piece(pool, w->number, stream_names[stream], w->stream[stream].next, 0, on_piece,
	                                       w->id * 2 + (uint64_t) stream, NULL) == SL_OK;
}

static void pump_lease(struct pool *pool, uint64_t number)
{
	pool->watch_depth++;
	for (struct pool_watch *w = pool->watches; w; w = w->next)
		if (w->number == number && !w->dead) {
			pump(w, 0);
			pump(w, 1);
			check_end(w);
		}
	pool->watch_depth--;
	sweep(pool);
}

void watch_go_on(struct pool_watch *w)
{
	struct pool *pool = w->pool;
	pool->watch_depth++;
	pump(w, 0);
	pump(w, 1);
	check_end(w);
	pool->watch_depth--;
	sweep(pool);
}

static void on_followed(struct pool *pool, uint64_t number, const json_t *ok, const sl_error *error)
{
	struct job *job = pool_job(pool, number);
	(void) error;
	if (job && !ok)
		job->followed = false;
	else if (job)
		pump_lease(pool, number); /* what came between the first look and now */
}

static bool wants_logs(const struct pool *pool, uint64_t number)
{
	for (const struct pool_watch *w = pool->watches; w; w = w->next)
		if (w->number == number && w->logs && !w->dead && !w->told_end)
			return true;
	return false;
}

static void follow(struct pool *pool, struct job *job)
{
	char id[LEASE_ID_MAX];
	bool runs = lease_state_started(job->lease.state) || job->lease.state == LEASE_RELEASING;
	bool wanted = wants_logs(pool, job->lease.number);
	if (!pool->agent.ready || job->followed == (runs && wanted))
		return;
	lease_id(job->lease.number, id);
	if (job->followed) {
		job->followed = false;
		if (runs)
			agent_call(&pool->agent, "unfollow", json_pack("{s:s}", "lease", id), NULL, 0, NULL);
		return;
	}
	job->followed = agent_call(&pool->agent, "follow", json_pack("{s:s, s:i, s:i}", "lease", id, "out", -1, "err", -1),
	                           on_followed, job->lease.number, NULL) == SL_OK;
}

static void tell_state(struct pool_watch *w, const json_t *json)
{
	w->told_first = true;
	if (!w->logs && over(w->pool, w)) {
		check_end(w);
		return;
	}
	tell(w, &(struct pool_event){ .lease = json });
}

void watch_lease(struct pool *pool, const struct job *job)
{
	struct job *watched = pool_job(pool, job->lease.number);
	if (!watched || !watched->watchers || !change_durable(pool, job))
		return;
	uint64_t number = job->lease.number;
	json_t *json = show_lease(pool, job, true);
	pool->watch_depth++;
	for (struct pool_watch *w = pool->watches; w; w = w->next)
		if (w->number == number && !w->dead && !w->told_end)
			tell_state(w, json);
	pool->watch_depth--;
	json_decref(json);
	follow(pool, watched);
	pump_lease(pool, number);
}

void watch_soon(struct pool *pool)
{
	pool->watch_depth++;
	for (struct pool_watch *w = pool->watches; w; w = w->next) {
		struct job *job = w->dead || w->told_first ? NULL : pool_job(pool, w->number);
		if (!job || !change_durable(pool, job))
			continue;
		json_t *json = show_lease(pool, job, true);
		tell_state(w, json);
		json_decref(json);
		if (!w->dead && w->logs) {
			follow(pool, job);
			pump(w, 0);
			pump(w, 1);
			check_end(w);
		}
	}
	pool->watch_depth--;
	sweep(pool);
}

void watch_log(struct pool *pool, const json_t *event)
{
	uint64_t number = lease_number(str_of(json_get_str(event, "lease", "")));
	int stream = strcmp(json_get_str(event, "source", ""), "err") == 0;
	int64_t from = json_get_int(event, "from", -1);
	size_t len;
	char *data = decode(event, &len);
	pool->watch_depth++;
	for (struct pool_watch *w = pool->watches; w && data && from >= 0; w = w->next) {
		if (w->number != number || w->dead || !w->logs || w->stream[stream].done)
			continue;
		int64_t next = w->stream[stream].next;
		if (next == -1)
			next = from;
		if (w->stream[stream].fetching || w->held || next < 0 || next < from)
			pump(w, stream);
		else if (next < from + (int64_t) len)
			hand_over(w, stream, (uint64_t) next, data + (next - from), len - (size_t) (next - from));
	}
	pool->watch_depth--;
	free(data);
	sweep(pool);
}

void watch_disconnected(struct pool *pool)
{
	for (struct pool_watch *w = pool->watches; w; w = w->next)
		w->stream[0].fetching = w->stream[1].fetching = false;
}

void watch_connected(struct pool *pool)
{
	for (size_t i = 0; i < pool->n_leases; i++) {
		struct job *job = job_of(pool->leases[i]);
		if (job->watchers)
			watch_lease(pool, job);
	}
}

struct pool_watch *pool_watch(struct pool *pool, uint64_t number, bool logs, int64_t out_from, int64_t err_from,
                              void (*event)(void *arg, const struct pool_event *), void *arg)
{
	struct job *job = pool_job(pool, number);
	struct pool_watch *w = job ? calloc(1, sizeof *w) : NULL;
	if (!w)
		return NULL;
	*w = (struct pool_watch){ .next = pool->watches, .pool = pool, .id = ++pool->last_watch, .number = number,
	                          .logs = logs, .event = event, .arg = arg };
	w->stream[0].next = out_from;
	w->stream[1].next = err_from;
	pool->watches = w;
	job->watchers++;
	watch_want(pool);
	return w;
}

void pool_unwatch(struct pool_watch *w)
{
	if (!w || w->dead)
		return;
	struct pool *pool = w->pool;
	leave(w);
	w->dead = true;
	struct job *job = pool_job(pool, w->number);
	if (job && w->logs)
		follow(pool, job);
	sweep(pool);
}

void watch_free_all(struct pool *pool)
{
	for (struct pool_watch *w = pool->watches, *next; w; w = next) {
		next = w->next;
		free(w);
	}
	pool->watches = NULL;
}

bool pool_log_kept(struct pool *pool, uint64_t number)
{
	const struct job *job = pool_job(pool, number);
	return !job || job->known_to_agent || !pool->agent.ready || !lease_state_over(job->lease.state) || !job->lease.started_ms;
}

struct log_request {
	void (*done)(void *arg, const char *data, size_t len, uint64_t from, uint64_t next);
	void *arg;
};

static void on_logs(struct pool *pool, uint64_t arg, const json_t *ok, const sl_error *error)
{
	struct log_request *request = (struct log_request *) (uintptr_t) arg;
	size_t len = 0;
	(void) pool;
	(void) error;
	char *data = ok ? decode(ok, &len) : NULL;
	int64_t from = json_get_int(ok, "from", 0), next = json_get_int(ok, "next", 0);
	request->done(request->arg, ok && !data ? "" : data, len, from > 0 ? (uint64_t) from : 0, next > 0 ? (uint64_t) next : 0);
	free(data);
	free(request);
}

int pool_logs(struct pool *pool, uint64_t number, const char *source, int64_t from, size_t max,
              void (*done)(void *arg, const char *data, size_t len, uint64_t from, uint64_t next), void *arg, sl_error *error)
{
	const struct job *job = pool_job(pool, number);
	if (strcmp(source, "out") != 0 && strcmp(source, "err") != 0)
		return error_set(error, SL_EINVAL, "there is no stream '%s': out or err", source);
	if (!pool_log_kept(pool, number))
		return error_set(error, SL_ENOTFOUND, "the log of L%llu is no longer kept (" POOL_ENDED_WORDS ")",
		                 (unsigned long long) number);
	if (job && !job->known_to_agent && pool->agent.ready)
		return error_set(error, SL_ENOTFOUND, "L%llu has no output: it %s", (unsigned long long) number,
		                 lease_state_over(job->lease.state) ? "never ran" : "does not run yet");
	struct log_request *request = malloc(sizeof *request);
	if (!request)
		return error_set(error, SL_ENOMEM, "out of memory");
	*request = (struct log_request){ done, arg };
	int code = ask_piece(pool, number, source, from, max, on_logs, (uint64_t) (uintptr_t) request, error);
	if (code != SL_OK)
		free(request);
	return code;
}

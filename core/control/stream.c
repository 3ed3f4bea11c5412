/* SPDX-License-Identifier: Apache-2.0 */
/* stream.c - one lease as it happens: JSON lines of its states and its output, until it has ended. */
#include <stdlib.h>
#include <string.h>

#include "core/base/base64.h"
#include "core/base/buf.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/control/inner.h"

/* A client that does not keep up gets no more output until it has read on. One that is so far behind that even its states
 * do not fit is cut: it comes back with the offsets that it has reached. */
enum { BACKLOG_HOLD = 128 * 1024, BACKLOG_MAX = 2 * 1024 * 1024, PING_MS = 15000, PIECE_MAX = 48 * 1024 };

struct stream {
	struct call *call;       /* a reference */
	struct pool_watch *watch;
	uv_timer_t ping;
	struct http_exchange *x; /* the stream's from its beginning to its end; NULL: over */
	char state[32];
	char reason[256];
	bool broken;
};

static void free_stream(uv_handle_t *handle)
{
	struct stream *stream = handle->data;
	stream->call->data = NULL;
	call_unref(stream->call);
	free(stream);
}

/* No more events, no more pings. The client may be there still, or gone. */
static void stop(struct stream *stream)
{
	if (stream->watch)
		pool_unwatch(stream->watch);
	stream->watch = NULL;
	if (!uv_is_closing((uv_handle_t *) &stream->ping))
		uv_close((uv_handle_t *) &stream->ping, free_stream);
}

static void finish(struct stream *stream)
{
	struct http_exchange *x = stream->x;
	if (!x)
		return;
	stream->x = NULL;
	x->on_drained = NULL;
	stop(stream);
	http_respond_end(x);
}

static void on_client_closed(struct call *call)
{
	struct stream *stream = call->data;
	if (stream)
		finish(stream);
}

static void send_line(struct stream *stream, sl_str line)
{
	if (!stream->x || stream->broken)
		return;
	if (http_respond_backlog(stream->x) + line.len > BACKLOG_MAX) {
		stream->broken = true;
		http_respond_chunk(stream->x, STR("{\"error\":{\"message\":\"this client reads too slowly: come back with the offsets "
		                                  "that you have reached\",\"code\":\"too_slow\"}}\n"));
		finish(stream);
	} else if (!http_respond_chunk(stream->x, line)) {
		stream->broken = true;
		finish(stream);
	}
}

static void send_json(struct stream *stream, json_t *value)
{
	char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
	json_decref(value);
	size_t len = text ? strlen(text) : 0;
	char *line = text ? realloc(text, len + 2) : NULL;
	if (!line) {
		free(text);
		return;
	}
	memcpy(line + len, "\n", 2);
	send_line(stream, (sl_str){ line, len + 1 });
	free(line);
}

static void send_log(struct stream *stream, const struct pool_event *event)
{
	struct buf line = { 0 };
	for (size_t at = 0; at < event->data.len && !stream->broken; at += PIECE_MAX) {
		size_t len = event->data.len - at < PIECE_MAX ? event->data.len - at : PIECE_MAX;
		buf_clear(&line);
		buf_printf(&line, "{\"log\":\"%s\",\"from\":%llu,\"data\":\"", event->log, (unsigned long long) (event->from + at));
		base64_put(&line, event->data.ptr + at, len);
		buf_puts(&line, "\"}\n");
		if (!line.failed)
			send_line(stream, buf_str(&line));
	}
	buf_free(&line);
	if (stream->x && http_respond_backlog(stream->x) > BACKLOG_HOLD)
		pool_watch_hold(stream->watch, true);
}

static void on_drained(struct http_exchange *x)
{
	struct call *call = x->data;
	struct stream *stream = call->data;
	if (stream && stream->x)
		pool_watch_hold(stream->watch, false);
}

/* Changes alone: the same state and reason again is no news. */
static void send_state(struct stream *stream, const json_t *lease)
{
	const char *state = json_get_str(lease, "state", ""), *reason = json_get_str(lease, "reason", "");
	if (strcmp(state, stream->state) == 0 && strncmp(reason, stream->reason, sizeof stream->reason - 1) == 0)
		return;
	str_copy(stream->state, sizeof stream->state, str_of(state));
	str_copy(stream->reason, sizeof stream->reason, str_of(reason));
	send_json(stream, json_pack("{s:s, s:s, s:s, s:O?}", "state", state, "reason", reason, "holder",
	                            json_get_str(lease, "holder", "job"), "where", json_object_get(lease, "where")));
}

static void on_event(void *arg, const struct pool_event *event)
{
	struct stream *stream = arg;
	if (event->log)
		send_log(stream, event);
	else if (event->lease && !event->end)
		send_state(stream, event->lease);
	if (!event->end || !stream->x)
		return;
	json_t *lease = event->lease ? control_lease_public(json_incref((json_t *) event->lease)) : json_null();
	send_json(stream, json_pack("{s:o}", "ended", lease));
	finish(stream);
}

static void on_ping(uv_timer_t *timer)
{
	send_line(timer->data, STR("{\"ping\":true}\n"));
}

static struct stream *begin(struct call *call)
{
	struct stream *stream = calloc(1, sizeof *stream);
	if (!stream)
		return NULL;
	stream->call = call;
	stream->x = call->x;
	call_ref(call);
	uv_timer_init(call->control->loop, &stream->ping);
	stream->ping.data = stream;
	uv_timer_start(&stream->ping, on_ping, PING_MS, PING_MS);
	/* The exchange is the stream's now. */
	stream->x->on_drained = on_drained;
	call->closed = on_client_closed;
	call->data = stream;
	call->x = NULL;
	http_respond_begin(stream->x, 200, "application/x-ndjson");
	return stream;
}

void control_lease_stream(struct call *call)
{
	uint64_t number;
	int64_t out, err, attached;
	json_t *lease = call_own_log(call, &number);
	if (!lease)
		return;
	if (!call_query_int(call, "out", -INT64_MAX, INT64_MAX, 0, &out) || !call_query_int(call, "err", -INT64_MAX, INT64_MAX, 0, &err) ||
	    !call_query_int(call, "attached", 0, 1, 0, &attached)) {
		json_decref(lease);
		return;
	}
	struct stream *stream = begin(call);
	if (!stream) {
		json_decref(lease);
		call_fail(call, 503, "out_of_memory", NULL, NULL, "out of memory");
		return;
	}
	call_ref(call); /* the client may go at the first line */
	send_state(stream, lease);
	if (stream->x) {
		struct pool_watch *watch = pool_watch(call->control->pool, number, true, out, err, on_event, stream);
		if (stream->x) {
			stream->watch = watch;
			if (watch && attached)
				pool_watch_pace(watch);
		} else if (watch) {
			pool_unwatch(watch);
		}
		if (!watch && stream->x) { /* ended and forgotten by the agent: there is nothing to follow */
			send_json(stream, json_pack("{s:O}", "ended", lease));
			finish(stream);
		}
	}
	json_decref(lease);
	call_unref(call);
}

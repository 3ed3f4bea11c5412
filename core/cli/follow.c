/* SPDX-License-Identifier: Apache-2.0 */
/* follow.c - follows a lease's stream over lost connections and restarts of sluiced. */
#include "core/cli/follow.h"

#include <string.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/base/base64.h"

enum {
	LINE_MAX_BYTES = 8 * 1024 * 1024,
	SILENCE_S = 45, /* pings come every 15 s */
	TELL_AFTER = 3 /* attempts that are nobody's business: a quick restart */
};
static const uint64_t SECOND = 1000000000u, RETRY_NS = 200000000u;

static void fail(struct follow *f, int code, const char *text)
{
	error_set(&f->error, code, "%s", text);
}

void follow_start(struct follow *f, uint64_t now_ns)
{
	f->call.fd = -1;
	f->retry_ns = now_ns;
}

static void open_stream(struct follow *f, uint64_t now_ns)
{
	struct buf target = { 0 };
	buf_puts(&target, "/v1/gpu/leases/");
	cli_put_escaped(&target, f->lease);
	buf_printf(&target, "/stream?out=%lld&err=%lld%s", (long long) f->offset[0], (long long) f->offset[1],
	           f->attached ? "&attached=1" : "");
	buf_put(&target, "", 1);
	f->attempts++;
	f->heard_ns = now_ns;
	if (!target.failed)
		client_start(&f->call, f->address, "GET", target.data, NULL, (sl_str){ 0 });
	buf_free(&target);
}

static void take_log(struct follow *f, const json_t *message)
{
	const char *source = json_get_str(message, "log", ""), *data = json_get_str(message, "data", NULL);
	int which = strcmp(source, "err") == 0 ? FOLLOW_ERR : FOLLOW_OUT;
	int64_t from = json_get_int(message, "from", -1), expected = f->offset[which], gap = 0;
	struct buf bytes = { 0 };
	if (!data || from < 0 || (which == FOLLOW_OUT && strcmp(source, "out") != 0) ||
	    !base64_get(&bytes, str_of(data))) {
		fail(f, SL_EUPSTREAM, "sluiced sent output that cannot be read");
		buf_free(&bytes);
		return;
	}
	size_t skip = 0;
	if (expected >= 0 && from > expected)
		gap = from - expected;
	else if (expected > from) /* seen before the reconnect */
		skip = (uint64_t) (expected - from) < bytes.len ? (size_t) (expected - from) : bytes.len;
	if (from + (int64_t) bytes.len > expected)
		f->offset[which] = from + (int64_t) bytes.len;
	if (skip < bytes.len)
		f->log(f->arg, which, bytes.data + skip, bytes.len - skip, gap);
	buf_free(&bytes);
}

static void found(struct follow *f)
{
	f->lost_ns = 0;
	f->attempts = 0;
	if (f->told && f->lost)
		f->lost(f->arg, false);
	f->told = false;
}

static void take_line(struct follow *f, sl_str line)
{
	sl_error error;
	json_t *message = json_parse(line, &error);
	const json_t *ended = json_object_get(message, "ended");
	if (json_is_object(message) && f->lost_ns)
		found(f);
	if (!json_is_object(message)) {
		fail(f, SL_EUPSTREAM, "sluiced sent a line of its stream that is no JSON object");
	} else if (json_is_object(ended) && json_is_string(json_object_get(ended, "ended_at"))) {
		json_decref(f->ended);
		f->ended = json_incref((json_t *) ended);
	} else if (json_is_object(ended)) {
		f->early = true;
	} else if (json_object_get(message, "log")) {
		f->messages++;
		take_log(f, message);
	} else if (json_is_string(json_object_get(message, "state"))) {
		f->messages++;
		f->replica = strcmp(json_get_str(message, "holder", ""), "replica") == 0;
		f->changed(f->arg, json_get_str(message, "state", ""), json_get_str(message, "reason", ""));
	} /* pings, and what a later sluiced adds */
	json_decref(message);
}

/* Whole lines of what has come. */
static void take_lines(struct follow *f)
{
	struct buf *body = &f->call.body;
	size_t at = 0;
	while (!f->ended && !f->early && f->error.code == 0 && at < body->len) {
		const char *end = memchr(body->data + at, '\n', body->len - at);
		if (!end)
			break;
		sl_str line = { body->data + at, (size_t) (end - body->data) - at };
		if (line.len)
			take_line(f, line);
		at += line.len + 1;
	}
	buf_consume(body, at);
	if (f->error.code == 0 && body->len > LINE_MAX_BYTES)
		fail(f, SL_EUPSTREAM, "sluiced sent a line of its stream that is longer than 8 MiB");
}

static void lose(struct follow *f, uint64_t now_ns)
{
	sl_error why = f->call.error;
	client_close(&f->call);
	if (f->lost_ns == 0)
		f->lost_ns = now_ns;
	f->retry_ns = now_ns + RETRY_NS;
	if (!f->told && f->attempts > TELL_AFTER && f->lost) {
		f->told = true;
		f->lost(f->arg, true);
	}
	if (now_ns - f->lost_ns > (uint64_t) f->give_up_ms * 1000000)
		error_set(&f->error, SL_EUNAVAILABLE, "the connection to sluiced is lost: %.200s",
		          why.text[0] ? why.text : "it ends the stream too early");
}

/* An answer that is no stream: 5xx may pass, the rest is final once it is complete. */
static void refused(struct follow *f, uint64_t now_ns)
{
	if (f->call.status >= 500) {
		lose(f, now_ns);
	} else if (f->call.state == CLIENT_DONE) {
		f->status = f->call.status;
		fail(f, SL_EUPSTREAM, "sluiced refused");
	} else if (f->call.state == CLIENT_FAILED) {
		lose(f, now_ns);
	}
}

static void step_call(struct follow *f, uint64_t now_ns)
{
	enum client_state before = f->call.state;
	client_step(&f->call);
	if (f->call.state != before || f->call.body.len)
		f->heard_ns = now_ns;
	if (f->call.status && f->call.status != 200) {
		refused(f, now_ns);
		return;
	}
	take_lines(f);
	if (f->early) {
		f->early = false;
		client_close(&f->call);
		f->retry_ns = now_ns + SECOND;
		return;
	}
	if (!f->ended && f->error.code == 0 && (f->call.state == CLIENT_DONE || f->call.state == CLIENT_FAILED))
		lose(f, now_ns);
}

enum follow_result follow_step(struct follow *f, bool readable, uint64_t now_ns)
{
	bool waiting = f->call.state == CLIENT_IDLE || f->call.state == CLIENT_FAILED;
	if (f->ended)
		return FOLLOW_ENDED;
	if (waiting && now_ns >= f->retry_ns) {
		open_stream(f, now_ns);
		if (f->call.state == CLIENT_FAILED)
			lose(f, now_ns);
	} else if (!waiting && readable) {
		step_call(f, now_ns);
	} else if (!waiting && now_ns - f->heard_ns > SILENCE_S * SECOND) {
		lose(f, now_ns);
	}
	if (f->ended)
		return FOLLOW_ENDED;
	return f->error.code ? FOLLOW_FAILED : FOLLOW_GOING;
}

int follow_timeout(const struct follow *f, uint64_t now_ns, int most)
{
	bool waiting = f->call.state == CLIENT_IDLE || f->call.state == CLIENT_FAILED;
	uint64_t at = waiting ? f->retry_ns : f->heard_ns + (SILENCE_S + 1) * SECOND;
	uint64_t ms = at > now_ns ? (at - now_ns + 999999) / 1000000 : 0;
	return ms < (uint64_t) most ? (int) ms : most;
}

void follow_close(struct follow *f)
{
	client_close(&f->call);
	json_decref(f->ended);
	f->ended = NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* feed.c - sends standard input to a lease's program, piece by piece. */
#include "core/cli/feed.h"

#include <errno.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/hash.h"
#include "core/base/json.h"

enum { DELAY_FIRST_MS = 20, DELAY_MOST_MS = 500 };

void feed_start(struct feed *f, const struct client_address *address, const char *lease, bool on)
{
	*f = (struct feed){ .address = address, .lease = lease, .off = !on, .tty = isatty(STDIN_FILENO),
	                    .call = { .fd = -1 }, .delay_ms = DELAY_FIRST_MS };
	uint64_t random;
	f->writer = hash_random(&random, sizeof random) ? (int64_t) (random >> 1 | 1) : (int64_t) clock_mono_ns();
}

/* A terminal's background process that reads would be stopped: it just does not listen. */
static bool in_background(const struct feed *f)
{
	return f->tty && tcgetpgrp(STDIN_FILENO) != getpgrp();
}

bool feed_wants(const struct feed *f)
{
	return !f->off && f->ready && !f->at_end && f->piece.len == 0 && f->call.state == CLIENT_IDLE && !in_background(f);
}

void feed_read(struct feed *f)
{
	if (!buf_reserve(&f->piece, FEED_PIECE)) {
		f->off = true;
		return;
	}
	ssize_t n = read(STDIN_FILENO, f->piece.data, FEED_PIECE);
	if (n > 0)
		f->piece.len = (size_t) n;
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		f->at_end = true;
}

static void send_piece(struct feed *f)
{
	struct buf target = { 0 };
	buf_puts(&target, "/v1/gpu/leases/");
	cli_put_escaped(&target, f->lease);
	buf_printf(&target, "/stdin?writer=%lld&from=%lld%s", (long long) f->writer, (long long) f->from, f->at_end ? "&eof=1" : "");
	buf_put(&target, "", 1);
	if (!target.failed)
		client_start(&f->call, f->address, "POST", target.data, "application/octet-stream", buf_str(&f->piece));
	buf_free(&target);
}

static void again(struct feed *f, uint64_t now_ns)
{
	client_close(&f->call);
	f->retry_ns = now_ns + f->delay_ms * 1000000ull;
	f->delay_ms = f->delay_ms * 2 < DELAY_MOST_MS ? f->delay_ms * 2 : DELAY_MOST_MS;
}

/* All of the piece, or its first part: the pipe holds no more. */
static void delivered(struct feed *f)
{
	json_t *answer = json_parse(buf_str(&f->call.body), NULL);
	int64_t all = f->from + (int64_t) f->piece.len, taken = json_get_int(answer, "taken", all);
	json_decref(answer);
	client_close(&f->call);
	if (taken < f->from || taken > all)
		taken = all;
	buf_consume(&f->piece, (size_t) (taken - f->from));
	f->from = taken;
	f->off = f->at_end && f->piece.len == 0;
	f->delay_ms = DELAY_FIRST_MS;
}

static void settle(struct feed *f, uint64_t now_ns)
{
	bool answered = f->call.state == CLIENT_DONE;
	if (answered && f->call.status / 100 == 2) {
		delivered(f);
	} else if (!answered || f->call.status >= 500) {
		again(f, now_ns);
	} else { /* the program has ended, or has closed its input */
		client_close(&f->call);
		f->off = true;
	}
}

void feed_step(struct feed *f, bool movable, uint64_t now_ns)
{
	if (f->off || !f->ready)
		return;
	if (f->call.state == CLIENT_IDLE && (f->piece.len || f->at_end) && now_ns >= f->retry_ns)
		send_piece(f);
	else if (movable)
		client_step(&f->call);
	if (f->call.state == CLIENT_DONE || f->call.state == CLIENT_FAILED)
		settle(f, now_ns);
}

int feed_timeout(const struct feed *f, uint64_t now_ns, int most)
{
	if (f->off || !f->ready || f->call.state != CLIENT_IDLE || !(f->piece.len || f->at_end))
		return most;
	uint64_t ms = f->retry_ns > now_ns ? (f->retry_ns - now_ns + 999999) / 1000000 : 0;
	return ms < (uint64_t) most ? (int) ms : most;
}

void feed_close(struct feed *f)
{
	client_close(&f->call);
	buf_free(&f->piece);
	f->off = true;
}

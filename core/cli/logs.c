/* SPDX-License-Identifier: Apache-2.0 */
/* logs.c - sluicectl logs: what a program has written, and with -f what it writes. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/str.h"
#include "core/cli/follow.h"
#include "core/cli/sink.h"

enum { ONCE_MAX = 256 * 1024 }; /* bytes of each stream that one call gives */
static const uint64_t QUIET_NS = 200000000u;

struct tail {
	struct cli *cli;
	struct follow follow;
	struct sink sink[2];
	bool wanted[2];
	int64_t lines; /* of the backlog, -1: all */
};

static int wanted_sources(struct cli *cli, bool wanted[2])
{
	const char *source = cli_value(cli, "source");
	wanted[FOLLOW_OUT] = !source || strcmp(source, "out") == 0;
	wanted[FOLLOW_ERR] = !source || strcmp(source, "err") == 0;
	if (!wanted[FOLLOW_OUT] && !wanted[FOLLOW_ERR])
		return cli_fail(cli, CLI_USAGE, "--source out, or err", "there is no output '%s'", source);
	return CLI_DONE;
}

static void on_log(void *arg, int source, const char *data, size_t len, int64_t gap)
{
	struct tail *t = arg;
	if (!t->wanted[source])
		return;
	if (gap > 0 && t->lines < 0)
		cli_note(t->cli, "sluicectl: %lld bytes of output are missing here: they are no longer kept", (long long) gap);
	sink_put(&t->sink[source], data, len);
}

static void on_changed(void *arg, const char *state, const char *reason)
{
	(void) arg;
	(void) state;
	(void) reason;
}

static void write_out(struct tail *t)
{
	for (int i = 0; i < 2; i++)
		sink_write(&t->sink[i], true);
}

/* After a moment of quiet the backlog is over. */
static void release_held(struct tail *t, bool now)
{
	if (t->sink[0].hold && (now || (t->follow.messages && clock_mono_ns() - t->follow.heard_ns > QUIET_NS)))
		for (int i = 0; i < 2; i++)
			sink_release(&t->sink[i], t->lines);
}

static int follow_logs(struct tail *t)
{
	struct follow *f = &t->follow;
	enum follow_result result = FOLLOW_GOING;
	f->address = &t->cli->address;
	f->give_up_ms = t->cli->timeout_ms;
	f->arg = t;
	f->log = on_log;
	f->changed = on_changed;
	follow_start(f, clock_mono_ns());
	while (result == FOLLOW_GOING && !t->sink[0].gone && !t->sink[1].gone) {
		struct pollfd p = { .fd = f->call.fd, .events = client_events(&f->call) };
		if (!p.events)
			p.fd = -1;
		poll(&p, 1, follow_timeout(f, clock_mono_ns(), t->sink[0].hold ? 50 : 1000));
		result = follow_step(f, p.revents != 0, clock_mono_ns());
		release_held(t, result != FOLLOW_GOING);
		write_out(t);
	}
	if (result != FOLLOW_FAILED)
		return CLI_DONE; /* or the reader has gone */
	if (f->status)
		return cli_fail_answer(t->cli, f->status, buf_str(&f->call.body));
	return cli_fail(t->cli, CLI_NO_SERVER, "systemctl status sluiced", "%s", f->error.text);
}

/* The end of what is kept of one stream now. */
static int read_logs(struct tail *t, int source)
{
	struct buf target = { 0 }, bytes = { 0 };
	buf_puts(&target, "/v1/gpu/leases/");
	cli_put_escaped(&target, t->cli->args[0]);
	buf_printf(&target, "/logs?source=%s&from=-%d&max=%d", source == FOLLOW_OUT ? "out" : "err", ONCE_MAX, ONCE_MAX);
	buf_put(&target, "", 1);
	int code = target.failed ? cli_fail(t->cli, CLI_FAILED, NULL, "out of memory")
	           : cli_call_raw(t->cli, target.data, &bytes);
	if (code == CLI_DONE)
		sink_put(&t->sink[source], bytes.data, bytes.len);
	if (bytes.len >= ONCE_MAX && t->lines < 0)
		cli_note(t->cli, "sluicectl: the last 256 KiB; all that is kept: sluicectl logs -f %s", t->cli->args[0]);
	sink_release(&t->sink[source], t->lines);
	buf_free(&target);
	buf_free(&bytes);
	return code;
}

int logs_run(struct cli *cli)
{
	struct tail t = { .cli = cli, .lines = cli_number(cli, "tail", -1) };
	int code = wanted_sources(cli, t.wanted);
	if (code)
		return code;
	t.sink[0] = (struct sink){ .fd = STDOUT_FILENO, .hold = t.lines >= 0 };
	t.sink[1] = (struct sink){ .fd = STDERR_FILENO, .hold = t.lines >= 0 };
	if (!str_copy(t.follow.lease, sizeof t.follow.lease, str_of(cli->args[0])))
		code = cli_fail(cli, CLI_USAGE, "sluicectl leases", "'%.80s' is too long for a lease", cli->args[0]);
	else if (cli_flag(cli, "follow"))
		code = follow_logs(&t);
	for (int i = 0; code == CLI_DONE && !cli_flag(cli, "follow") && i < 2; i++)
		code = t.wanted[i] ? read_logs(&t, i) : CLI_DONE;
	write_out(&t);
	for (int i = 0; code == CLI_DONE && i < 2; i++)
		if (t.sink[i].gone && t.sink[i].why != EPIPE)
			code = cli_fail(cli, CLI_FAILED, NULL, "cannot write the output: %s", strerror(t.sink[i].why));
	follow_close(&t.follow);
	for (int i = 0; i < 2; i++)
		buf_free(&t.sink[i].pending);
	return code;
}

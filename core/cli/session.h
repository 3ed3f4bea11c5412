/* SPDX-License-Identifier: Apache-2.0 */
/* session.h - this terminal and a lease's program: output, input, signals, until the end or until one leaves. */
#ifndef CORE_CLI_SESSION_H
#define CORE_CLI_SESSION_H

#include "core/cli/feed.h"
#include "core/cli/follow.h"
#include "core/cli/sink.h"

enum { SESSION_SIGNALS_MAX = 16 };

struct session {
	struct cli *cli;
	int signal_fd;
	struct follow follow;
	struct feed feed;
	struct sink sink[2];
	int64_t tail; /* lines of the backlog that are shown, -1: all */
	bool stdin_on, end_on_hangup;
	bool attached; /* to a program that this process did not start: what ends this process ends nothing else */

	bool heard[2];         /* output has come */
	int64_t missing;       /* bytes of output that were lost while this process was there */
	char state[32], reason[256];
	bool begun;             /* the program runs, or has run */
	uint64_t started_ns;    /* of this session */
	uint64_t line_ns;       /* next redraw of the waiting line */
	bool line_shown;
	uint64_t interrupt_ns;  /* the last Ctrl-C */
	int leave;              /* exit code of a cancelled lease, 0: none */
	bool told_gone;         /* that nobody takes the output */
	int left;               /* this process leaves at once with this code, -1: no */

	struct client_call action; /* a signal or the release on its way */
	int signals[SESSION_SIGNALS_MAX], n_signals;
	bool release;           /* asked for and not yet sent */
	bool releasing;         /* was asked for */
	bool action_is_release;
	uint64_t action_retry_ns;
};

/* Blocks the signals that the table of run speaks of and opens s->signal_fd. False: no more descriptors. */
bool session_signals(struct session *s);
/* The next signal that has come, 0: none. */
int session_next_signal(struct session *s);
/* Follows the lease s->follow.lease to its end. Returns the exit code; with the end record in s->follow.ended when
 * the end was seen. */
int session_run(struct session *s);
void session_close(struct session *s);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* output.h - a program's output on its way into its logs, and how far it may be ahead of who reads them.
 *
 * The supervisor takes the output from two pipes and appends it to the logs. While somebody reads along (the agent says
 * so in the file `flow` in the lease's folder) it takes only so much that no byte is dropped from a log unread; what the
 * pipes do not hold makes the program wait, as with any pipe. The word is good until a time that stands in it, so a
 * reader, an sluiced or an agent that is gone holds nobody up for longer. */
#ifndef CORE_AGENT_OUTPUT_H
#define CORE_AGENT_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { OUTPUT_OUT, OUTPUT_ERR, OUTPUT_STREAMS };

#define OUTPUT_FLOW "flow"

/* Lies in the file as it is. */
struct output_flow {
	uint64_t read[OUTPUT_STREAMS]; /* all before these offsets was read; UINT64_MAX: nobody reads this one */
	uint64_t until_boot_ms;        /* nobody is waited for behind this time, since boot */
};

/* The agent's side: errno, or 0. */
int output_flow_put(const char *folder, const struct output_flow *flow);

/* The supervisor's side. */
struct output {
	int from[OUTPUT_STREAMS], to[OUTPUT_STREAMS], flow; /* -1: none */
	uint64_t taken[OUTPUT_STREAMS];
	uint64_t ahead;  /* bytes in front of the reader */
	uint64_t lost;   /* bytes that a log did not take: its disk is full, or ill */
	bool held[OUTPUT_STREAMS];
};

/* Makes a stream's pipe, whose other end is the program's (owned by uid and gid, so that it may open /dev/stdout anew).
 * Takes over `log`. The program's end, -1 with errno: failed. */
int output_pipe(struct output *o, int stream, int log, uid_t uid, gid_t gid);
/* Waits for output, or until `wake` is readable, and takes what may be taken. */
void output_step(struct output *o, int wake);
/* Nobody is left who writes: takes what is still in the pipes. */
void output_rest(struct output *o);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* proc.h - processes, known by pid and start time and never by the bare pid. */
#ifndef CORE_AGENT_PROC_H
#define CORE_AGENT_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct proc {
	pid_t pid, parent, session;
	uint64_t start; /* clock ticks since boot; 0: unknown */
	char state;     /* 'R', 'S', 'T', 'Z' ... */
};

/* False: no such process. */
bool proc_read(pid_t pid, struct proc *out);
/* A pidfd of that very process, -1 when it has gone. start 0: whoever has the pid now. */
int proc_open(pid_t pid, uint64_t start);
/* Sends a signal to that very process. False: it has gone, or may not be signalled. */
bool proc_signal(const struct proc *p, int signal);
/* All processes of the machine; the caller frees the array. NULL: /proc is not readable or memory is out. */
struct proc *proc_list(size_t *n);
/* Has that process the string NAME=VALUE in its environment? False too when it cannot be read. */
bool proc_has_env(pid_t pid, const char *name_value);
/* Has the process of a pidfd ended? */
bool proc_ended(int pidfd);

/* Of this boot; empty when unknown. out holds 64 bytes. */
void proc_boot_id(char out[64]);
/* Milliseconds since boot, sleep of the machine included. */
uint64_t proc_boottime_ms(void);

#endif

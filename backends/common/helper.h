/* SPDX-License-Identifier: Apache-2.0 */
/* helper.h - work in a process of its own, with a deadline: for calls into a driver that may never come back, and for
 * libraries that keep a fault, or a choice of devices, until their process ends. */
#ifndef BACKENDS_COMMON_HELPER_H
#define BACKENDS_COMMON_HELPER_H

#include <sluice/backend.h>
#include <sys/types.h>

struct helper {
	const char *what; /* for the words when it hangs or dies: "scrubbing GPU-..." */
	int (*work)(void *arg, sl_error *error);
	void *arg;        /* as it is at the start: the helper works on a copy of everything */
	/* Afterwards */
	int rc;
	sl_error error;
	/* Own */
	pid_t pid;
	int fd;
};

/* Starts all of them at once and waits until each has ended or timeout_ms have passed. What is late is killed and not
 * waited for any longer: its rc is SL_ETIMEOUT. SL_OK, or the code of the first that failed, with its words in *error. */
int helpers_run(struct helper *list, size_t n, unsigned timeout_ms, sl_error *error);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* output.c - a program's output on its way into its logs, and how far it may be ahead of who reads them. */
#include "config.h"

#include "core/agent/output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/agent/proc.h"
#include "core/base/log.h"

enum {
	PIECE = 64 * 1024,
	LOOK_MS = 5 /* between two looks at how far the reader is, while the program waits for it */
};

int output_flow_put(const char *folder, const struct output_flow *flow)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/%s", folder, OUTPUT_FLOW);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return errno;
	ssize_t n = pwrite(fd, flow, sizeof *flow, 0);
	int rc = n == (ssize_t) sizeof *flow ? 0 : n < 0 ? errno : ENOSPC;
	close(fd);
	return rc;
}

int output_pipe(struct output *o, int stream, int log, uid_t uid, gid_t gid)
{
	int ends[2];
	o->to[stream] = log;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	if (geteuid() == 0 && fchown(ends[1], uid, gid) < 0)
		log_warn("a pipe cannot be given to uid %u: %s", (unsigned) uid, strerror(errno));
	/* Our end alone: the program's blocks. */
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	o->from[stream] = ends[0];
	return ends[1];
}

/* Must the program wait for its reader? */
static bool must_wait(const struct output *o, int stream)
{
	struct output_flow flow;
	if (pread(o->flow, &flow, sizeof flow, 0) != (ssize_t) sizeof flow || proc_boottime_ms() >= flow.until_boot_ms)
		return false;
	return o->taken[stream] >= flow.read[stream] && o->taken[stream] - flow.read[stream] >= o->ahead;
}

/* A log that cannot be written to, as on a full disk, loses output; the program goes on, and its end says so. */
static void put(struct output *o, int stream, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(o->to[stream], data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			if (!o->lost)
				log_error("output is lost: its log cannot be written: %s", strerror(errno));
			o->lost += len;
			return;
		}
		o->taken[stream] += (uint64_t) n;
		data += n;
		len -= (size_t) n;
	}
}

/* One piece. False: there is none now. */
static bool take(struct output *o, int stream)
{
	static char piece[PIECE];
	ssize_t n = read(o->from[stream], piece, sizeof piece);
	if (n > 0) {
		put(o, stream, piece, (size_t) n);
		return true;
	}
	if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		close(o->from[stream]);
		o->from[stream] = -1;
	}
	return false;
}

void output_step(struct output *o, int wake)
{
	struct pollfd p[OUTPUT_STREAMS + 1];
	bool held = false;
	for (int i = 0; i < OUTPUT_STREAMS; i++) {
		p[i] = (struct pollfd){ .fd = o->held[i] ? -1 : o->from[i], .events = POLLIN };
		held = held || o->held[i];
	}
	p[OUTPUT_STREAMS] = (struct pollfd){ .fd = wake, .events = POLLIN };
	if (poll(p, OUTPUT_STREAMS + 1, held ? LOOK_MS : -1) < 0)
		return;
	for (int i = 0; i < OUTPUT_STREAMS; i++) {
		if (o->from[i] < 0 || (!o->held[i] && !p[i].revents))
			continue;
		o->held[i] = must_wait(o, i);
		if (!o->held[i])
			take(o, i);
	}
}

void output_rest(struct output *o)
{
	for (int i = 0; i < OUTPUT_STREAMS; i++) {
		/* A descriptor may have been handed out of the tree, to somebody who writes on: a pipe's worth, not all. */
		for (int pieces = 0; o->from[i] >= 0 && pieces < 64 && take(o, i); pieces++)
			;
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* lease_input.c - the program's input: a FIFO in the lease's folder that the supervisor keeps open. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/agent/lease.h"
#include "core/agent/supervise.h"
#include "core/base/error.h"
#include "core/base/log.h"

static void close_writer(struct lease *l)
{
	if (l->stdin_poll_open)
		uv_close((uv_handle_t *) &l->stdin_poll, lease_handle_closed);
	l->stdin_poll_open = false;
	if (l->stdin_fd >= 0)
		close(l->stdin_fd);
	l->stdin_fd = -1;
	buf_clear(&l->stdin_rest);
}

void lease_input_close(struct lease *l)
{
	close_writer(l);
	l->stdin_open = false;
}

/* The program sees the end once the last writer has gone: we, and the supervisor. */
static void end_input(struct lease *l)
{
	lease_input_close(l);
	proc_signal(&l->tree.supervisor, SIGUSR1);
	lease_save(l, NULL);
}

/* Writes what the pipe takes. False: the program reads no more. */
static bool push(struct lease *l)
{
	while (l->stdin_rest.len) {
		ssize_t n = write(l->stdin_fd, l->stdin_rest.data, l->stdin_rest.len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		buf_consume(&l->stdin_rest, (size_t) n);
	}
	return true;
}

static void writable(uv_poll_t *poll, int status, int events)
{
	struct lease *l = poll->data;
	(void) events;
	if (status < 0 || !push(l)) {
		log_info("lease %s: the program reads its input no more", l->tree.lease);
		lease_input_close(l);
	} else if (l->stdin_rest.len == 0) {
		uv_poll_stop(poll);
		if (l->stdin_eof)
			end_input(l);
	}
}

static int open_writer(struct lease *l, sl_error *error)
{
	char path[PATH_MAX + 16];
	if (l->stdin_fd >= 0)
		return SL_OK;
	snprintf(path, sizeof path, "%s/%s", l->folder, SUPERVISE_STDIN);
	l->stdin_fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
	if (l->stdin_fd < 0 && errno == ENXIO)
		return error_set(error, SL_ECONFLICT, "the program of lease %s has closed its input", l->tree.lease);
	if (l->stdin_fd < 0 || uv_poll_init(&l->agent->loop, &l->stdin_poll, l->stdin_fd) < 0)
		return error_set(error, SL_EIO, "the input of lease %s cannot be opened: %s", l->tree.lease, strerror(errno));
	l->stdin_poll.data = l;
	l->stdin_poll_open = true;
	l->handles++;
	return SL_OK;
}

/* All of the data or none is taken: what the pipe does not hold waits here, and until it is through the next data is
 * refused. */
int lease_input(struct lease *l, sl_str data, bool eof, sl_error *error)
{
	if (!l->with_stdin)
		return error_set(error, SL_ECONFLICT, "lease %s was started without an input", l->tree.lease);
	if (l->state != LEASE_RUNNING || !l->stdin_open || l->stdin_eof)
		return error_set(error, SL_ECONFLICT, "the input of lease %s is closed", l->tree.lease);
	if (l->stdin_rest.len)
		return error_set(error, SL_EAGAIN, "the input of lease %s is full, send it again later", l->tree.lease);
	int rc = open_writer(l, error);
	if (rc != SL_OK) {
		close_writer(l);
		return rc;
	}
	buf_put(&l->stdin_rest, data.ptr, data.len);
	if (l->stdin_rest.failed) {
		buf_clear(&l->stdin_rest);
		return error_set(error, SL_ENOMEM, "out of memory for the input of lease %s", l->tree.lease);
	}
	if (!push(l)) {
		lease_input_close(l);
		return error_set(error, SL_ECONFLICT, "the program of lease %s has closed its input", l->tree.lease);
	}
	l->stdin_eof = eof;
	if (l->stdin_rest.len)
		uv_poll_start(&l->stdin_poll, UV_WRITABLE, writable);
	else if (eof)
		end_input(l);
	return SL_OK;
}

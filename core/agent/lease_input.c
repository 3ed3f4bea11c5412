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

#define WRITERS_FILE "stdin.writers"

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
	if (l->writers_fd >= 0)
		close(l->writers_fd);
	l->writers_fd = -1;
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

static int may_write(struct lease *l, sl_error *error)
{
	if (!l->with_stdin)
		return error_set(error, SL_ECONFLICT, "lease %s was started without an input", l->tree.lease);
	if (l->state != LEASE_RUNNING || !l->stdin_open || l->stdin_eof)
		return error_set(error, SL_ECONFLICT, "the input of lease %s is closed", l->tree.lease);
	if (l->stdin_rest.len)
		return error_set(error, SL_EAGAIN, "the input of lease %s is full, send it again later", l->tree.lease);
	int rc = open_writer(l, error);
	if (rc != SL_OK)
		close_writer(l);
	return rc;
}

int lease_input(struct lease *l, sl_str data, bool eof, sl_error *error)
{
	int rc = may_write(l, error);
	if (rc != SL_OK)
		return rc;
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

/* The table is in a file beside the FIFO, so that a later agent knows what went into it. It is written behind each write
 * to the FIFO: only an agent that is killed between these two calls forgets a piece. */
static int open_writers(struct lease *l, sl_error *error)
{
	char path[PATH_MAX + 16];
	if (l->writers_fd >= 0)
		return SL_OK;
	snprintf(path, sizeof path, "%s/%s", l->folder, WRITERS_FILE);
	l->writers_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	ssize_t n = l->writers_fd < 0 ? -1 : pread(l->writers_fd, l->writers, sizeof l->writers, 0);
	if (n < 0)
		return error_set(error, SL_EIO, "%s: %s", path, strerror(errno));
	if (n != sizeof l->writers)
		memset(l->writers, 0, sizeof l->writers);
	return SL_OK;
}

/* The writer's place, in front of the others. One that is new takes the place of the one that was silent longest. */
static struct lease_writer *find_writer(struct lease *l, uint64_t id)
{
	unsigned at = 0;
	while (at < LEASE_WRITERS_MAX - 1 && l->writers[at].id != id)
		at++;
	struct lease_writer found = l->writers[at].id == id ? l->writers[at] : (struct lease_writer){ .id = id };
	memmove(l->writers + 1, l->writers, at * sizeof l->writers[0]);
	l->writers[0] = found;
	return &l->writers[0];
}

/* Into the FIFO, as much as it holds. */
static int write_piece(struct lease *l, struct lease_writer *writer, sl_str data, sl_error *error)
{
	ssize_t n;
	do
		n = write(l->stdin_fd, data.ptr, data.len);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return error_set(error, SL_EAGAIN, "the input of lease %s is full, send it again later", l->tree.lease);
	if (n < 0) {
		lease_input_close(l);
		return error_set(error, SL_ECONFLICT, "the program of lease %s has closed its input", l->tree.lease);
	}
	writer->taken += (uint64_t) n;
	if (pwrite(l->writers_fd, l->writers, sizeof l->writers, 0) != sizeof l->writers)
		log_warn("lease %s: what its input has taken cannot be kept: %s", l->tree.lease, strerror(errno));
	return SL_OK;
}

int lease_input_from(struct lease *l, const struct lease_piece *piece, uint64_t *taken, sl_error *error)
{
	sl_str data = piece->data;
	uint64_t end = piece->from + data.len;
	if (!l->with_stdin)
		return error_set(error, SL_ECONFLICT, "lease %s was started without an input", l->tree.lease);
	int rc = open_writers(l, error);
	if (rc != SL_OK)
		return rc;
	struct lease_writer *writer = find_writer(l, piece->writer);
	*taken = writer->taken;
	if (piece->from > writer->taken)
		return error_set(error, SL_EINVAL, "from: %llu bytes of this writer came so far, so what is before %llu is missing",
		                 (unsigned long long) writer->taken, (unsigned long long) piece->from);
	/* All of it was taken before, and then the answer was lost. */
	if (end <= writer->taken && (!piece->eof || !l->stdin_open))
		return SL_OK;
	rc = may_write(l, error);
	if (rc != SL_OK)
		return rc;
	size_t skip = (size_t) (writer->taken - piece->from);
	data = (sl_str){ data.ptr + skip, data.len - skip };
	if (data.len)
		rc = write_piece(l, writer, data, error);
	*taken = writer->taken;
	if (rc == SL_OK && piece->eof && writer->taken == end)
		end_input(l);
	return rc;
}

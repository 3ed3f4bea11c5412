/* SPDX-License-Identifier: Apache-2.0 */
/* helper.c - work in a process of its own, with a deadline. */
#include "config.h"

#include "backends/common/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "backends/common/text.h"

enum { ANSWER_FD = 3 };

struct answer {
	int rc;
	sl_error error;
};

static long long now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

/* Keeps nothing of its parent but the standard descriptors and the pipe: one that hangs for good must not hold the
 * parent's socket open. */
static _Noreturn void child(const struct helper *h, int fd)
{
	struct answer a = { .rc = SL_EINTERNAL };
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (fd != ANSWER_FD)
		dup2(fd, ANSWER_FD);
	close_range(ANSWER_FD + 1, ~0u, 0);
	a.rc = h->work(h->arg, &a.error);
	ssize_t wrote = write(ANSWER_FD, &a, sizeof a);
	_exit(wrote == (ssize_t) sizeof a ? 0 : 1);
}

static void start(struct helper *h)
{
	int ends[2];
	h->pid = 0;
	h->fd = -1;
	if (pipe2(ends, O_CLOEXEC) < 0) {
		h->rc = text_fail(&h->error, SL_EIO, "%s: no pipe: %s", h->what, strerror(errno));
		return;
	}
	h->pid = fork();
	if (h->pid == 0)
		child(h, ends[1]);
	close(ends[1]);
	h->fd = ends[0];
	if (h->pid < 0) {
		h->rc = text_fail(&h->error, SL_EIO, "%s: no process: %s", h->what, strerror(errno));
		h->pid = 0;
		close(h->fd);
		h->fd = -1;
	}
}

static void collect(struct helper *h)
{
	struct answer a;
	int status = 0;
	ssize_t got = read(h->fd, &a, sizeof a); /* shorter than PIPE_BUF: comes whole */
	close(h->fd);
	h->fd = -1;
	while (waitpid(h->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (got == (ssize_t) sizeof a) {
		h->rc = a.rc;
		h->error = a.error;
	} else if (WIFSIGNALED(status)) {
		h->rc = text_fail(&h->error, SL_EIO, "%s: its process was killed by signal %d (%s)", h->what, WTERMSIG(status),
		                  strsignal(WTERMSIG(status)));
	} else {
		h->rc = text_fail(&h->error, SL_EIO, "%s: its process ended without an answer", h->what);
	}
}

static void give_up(struct helper *h, unsigned timeout_ms)
{
	kill(h->pid, SIGKILL);
	close(h->fd);
	h->fd = -1;
	h->rc = text_fail(&h->error, SL_ETIMEOUT, "%s: no end after %u.%u s, most likely it hangs in the driver", h->what,
	                  timeout_ms / 1000, timeout_ms % 1000 / 100);
	waitpid(h->pid, NULL, WNOHANG);
}

static struct helper *find(struct helper *list, size_t n, int fd)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].fd == fd)
			return &list[i];
	return NULL;
}

int helpers_run(struct helper *list, size_t n, unsigned timeout_ms, sl_error *error)
{
	enum { AT_ONCE = 64 };
	long long end = now_ms() + timeout_ms;
	while (waitpid(-1, NULL, WNOHANG) > 0) /* what was given up earlier and has ended since */
		;
	for (size_t i = 0; i < n; i++) {
		list[i].fd = -1;
		if (i < AT_ONCE)
			start(&list[i]);
		else
			list[i].rc = text_fail(&list[i].error, SL_EFULL, "more than %d devices at once", AT_ONCE);
	}
	for (;;) {
		struct pollfd fds[AT_ONCE];
		nfds_t open = 0;
		for (size_t i = 0; i < n && i < AT_ONCE; i++)
			if (list[i].fd >= 0)
				fds[open++] = (struct pollfd){ .fd = list[i].fd, .events = POLLIN };
		long long left = end - now_ms();
		if (open == 0 || left <= 0)
			break;
		if (poll(fds, open, (int) left) <= 0)
			continue;
		for (nfds_t i = 0; i < open; i++)
			if (fds[i].revents)
				collect(find(list, n, fds[i].fd));
	}
	int rc = SL_OK;
	for (size_t i = 0; i < n; i++) {
		if (list[i].fd >= 0)
			give_up(&list[i], timeout_ms);
		if (list[i].rc != SL_OK && rc == SL_OK) {
			rc = list[i].rc;
			*error = list[i].error;
			error->code = rc;
		}
	}
	return rc;
}

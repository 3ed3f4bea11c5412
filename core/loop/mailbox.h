/* SPDX-License-Identifier: Apache-2.0 */
/* mailbox.h - how other threads reach a libuv loop: messages run on the loop's thread, in order of posting. */
#ifndef CORE_LOOP_MAILBOX_H
#define CORE_LOOP_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <uv.h>

/* A message, part of a struct of the sender's. Owned by the mailbox from post to run; run() may free it. */
struct mail {
	struct mail *next;
	void (*run)(struct mail *);
};

struct mailbox {
	uv_async_t async;
	pthread_mutex_t lock;
	struct mail *first, **last;
	bool closed;
};

/* Loop thread, before the first post. */
int mailbox_open(struct mailbox *box, uv_loop_t *loop);
/* Any thread. False once the mailbox is closed: the message is still the caller's. */
bool mailbox_post(struct mailbox *box, struct mail *mail);
/* Loop thread. Runs what is queued, then closes; the struct must live until the loop has run once more. */
void mailbox_close(struct mailbox *box);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* mailbox.c - messages to a loop from other threads. */
#include "core/loop/mailbox.h"

static void run_all(struct mailbox *box)
{
	/* Wake-ups coalesce: one may stand for many messages, so the whole list is taken each time. */
	pthread_mutex_lock(&box->lock);
	struct mail *mail = box->first;
	box->first = NULL;
	box->last = &box->first;
	pthread_mutex_unlock(&box->lock);
	while (mail) {
		struct mail *next = mail->next;
		mail->run(mail);
		mail = next;
	}
}

static void on_async(uv_async_t *async)
{
	run_all(async->data);
}

int mailbox_open(struct mailbox *box, uv_loop_t *loop)
{
	box->first = NULL;
	box->last = &box->first;
	box->closed = false;
	box->async.data = box;
	pthread_mutex_init(&box->lock, NULL);
	return uv_async_init(loop, &box->async, on_async);
}

bool mailbox_post(struct mailbox *box, struct mail *mail)
{
	pthread_mutex_lock(&box->lock);
	bool open = !box->closed;
	if (open) {
		bool wake = box->first == NULL;
		mail->next = NULL;
		*box->last = mail;
		box->last = &mail->next;
		if (wake) /* under the lock, so that close cannot come between */
			uv_async_send(&box->async);
	}
	pthread_mutex_unlock(&box->lock);
	return open;
}

void mailbox_close(struct mailbox *box)
{
	pthread_mutex_lock(&box->lock);
	box->closed = true;
	pthread_mutex_unlock(&box->lock);
	run_all(box);
	uv_close((uv_handle_t *) &box->async, NULL);
}

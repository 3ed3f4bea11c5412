/* SPDX-License-Identifier: Apache-2.0 */
/* watchdog.c - tells systemd that we live, as long as every worker's loop turns: one that hangs leaves its clients
 * without a word, so then nothing is said, and systemd starts us anew. */
#include <stdlib.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/notify.h"
#include "core/base/str.h"
#include "core/daemon/daemon.h"

enum { DEFAULT_MS = 30000, LOOKS = 4 /* in one time of systemd's */ };

struct watched {
	uint64_t ticks, at_ms; /* its count, and when that was seen to change */
	bool stuck;
};

/* WatchdogSec of our unit, where it is meant for us. */
static uint64_t watchdog_ms(void)
{
	const char *text = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	uint64_t us = 0, whose = (uint64_t) getpid();
	if (pid && (!str_to_u64(str_of(pid), UINT32_MAX, &whose) || whose != (uint64_t) getpid()))
		return DEFAULT_MS;
	return text && str_to_u64(str_of(text), UINT64_MAX, &us) && us >= 1000 * LOOKS ? us / 1000 : DEFAULT_MS;
}

static bool is_stuck(struct daemon *d, unsigned index, uint64_t ticks, uint64_t now_ms)
{
	struct watched *w = &d->watched[index];
	if (ticks != w->ticks || w->at_ms == 0) {
		if (w->stuck)
			log_warn("worker %u turns again", index);
		*w = (struct watched){ .ticks = ticks, .at_ms = now_ms };
	} else if (!w->stuck && now_ms - w->at_ms > d->watchdog_ms / 2) {
		w->stuck = true;
		log_error("worker %u hangs: its loop has not turned for %.1f s; systemd hears nothing from us until it does", index,
		          (double) (now_ms - w->at_ms) / 1000);
	}
	return w->stuck;
}

static void on_timer(uv_timer_t *timer)
{
	struct daemon *d = timer->data;
	uint64_t now_ms = uv_now(&d->loop), ticks;
	bool fine = true;
	for (unsigned i = 0; d->gateway && i < d->n_watched; i++)
		if (gateway_ticks(d->gateway, i, &ticks) && is_stuck(d, i, ticks, now_ms))
			fine = false;
	if (fine)
		notify_systemd("WATCHDOG=1");
}

void watchdog_start(struct daemon *d)
{
	d->n_watched = (unsigned) d->conf->workers;
	d->watched = calloc(d->n_watched, sizeof *d->watched);
	if (!d->watched)
		d->n_watched = 0;
	d->watchdog_ms = watchdog_ms();
	uv_timer_init(&d->loop, &d->watchdog);
	d->watchdog.data = d;
	uv_timer_start(&d->watchdog, on_timer, d->watchdog_ms / LOOKS, d->watchdog_ms / LOOKS);
}

void watchdog_free(struct daemon *d)
{
	free(d->watched);
	d->watched = NULL;
	d->n_watched = 0;
}

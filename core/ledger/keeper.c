/* SPDX-License-Identifier: Apache-2.0 */
/* keeper.c - the thread that has the next segment ready in time. */
#include <stdio.h>
#include <time.h>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/ledger/internal.h"

static void wait_ms(struct ledger *l, unsigned ms)
{
	struct timespec end;
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += ms / 1000;
	end.tv_nsec += (long) (ms % 1000) * 1000000;
	if (end.tv_nsec >= 1000000000) {
		end.tv_sec++;
		end.tv_nsec -= 1000000000;
	}
	pthread_cond_timedwait(&l->keeper_wake, &l->lock, &end);
}

static void block(struct ledger *l, const char *why)
{
	if (!l->blocked)
		log_error("ledger: %s", why);
	l->blocked = true;
	if (!l->failed)
		str_copy(l->why, sizeof l->why, str_of(why));
	ledger_judge(l);
}

/* With the lock, which is let go while the file is made. */
static void make_spare(struct ledger *l)
{
	sl_error error;
	if (l->segment_last - l->segment_first + 1 >= l->options.segments_max) {
		char why[SL_ERROR_TEXT];
		snprintf(why, sizeof why, "%u segments of the journal wait for the store, as many as may: see why the store does not "
		         "take them", l->options.segments_max);
		block(l, why);
		return;
	}
	l->spare_busy = true;
	pthread_mutex_unlock(&l->lock);
	int code = spare_make(&l->folder, &error);
	pthread_mutex_lock(&l->lock);
	l->spare_busy = false;
	if (code != SL_OK) {
		block(l, error.text);
		return;
	}
	if (l->blocked)
		log_info("ledger: there is room in the journal again");
	l->blocked = false;
	l->spare_ready = true;
	ledger_judge(l);
}

/* Wanted early, but not before the last segment had time to come back from the store. */
static bool wanted(const struct ledger *l)
{
	return !l->spare_ready && !l->spare_claimed && !l->spare_busy && !l->failed && l->tail > l->tail_room / 4;
}

void keeper_wake_up(struct ledger *l)
{
	if (!l->keeper_idle || !wanted(l))
		return;
	l->keeper_idle = false;
	pthread_cond_signal(&l->keeper_wake);
}

void *keeper_main(void *ledger)
{
	struct ledger *l = ledger;
	pthread_mutex_lock(&l->lock);
	while (!l->closing) {
		if (wanted(l)) {
			make_spare(l);
			if (l->blocked && !l->closing)
				wait_ms(l, KEEPER_RETRY_MS);
			continue;
		}
		l->keeper_idle = true;
		pthread_cond_wait(&l->keeper_wake, &l->lock);
		l->keeper_idle = false;
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

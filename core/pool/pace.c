/* SPDX-License-Identifier: Apache-2.0 */
/* pace.c - a program is held to the pace of the attached clients that read its output, while they do read it.
 *
 * The agent is told how far the slowest of them is, and for how long that holds: an sluiced that is gone holds nobody up
 * for longer. One that has taken nothing for limits.output_wait counts no more until it reads again. When none is there
 * the last word stands for a moment, for one that is being connected (again). */
#include "core/base/log.h"
#include "core/pool/inner.h"

enum {
	STEP = 128 << 10,  /* bytes between two words to the agent */
	COMING_MS = 5000
};

static int64_t coming_ms(const struct pool *pool)
{
	return pool->conf->output_wait_ms < COMING_MS ? pool->conf->output_wait_ms : COMING_MS;
}

/* Milliseconds for which it still counts, 0: it does not. */
static int64_t patience(const struct pool_watch *w, int64_t now)
{
	int64_t most = w->pool->conf->output_wait_ms;
	if (!w->paces || w->dead || w->told_end)
		return 0;
	if (!w->held)
		return most;
	return now - w->held_mono_ms < most ? most - (now - w->held_mono_ms) : 0;
}

/* The longest patience of all, and the place of the slowest that counts; -1: nobody reads that one. */
static int64_t slowest(const struct pool *pool, uint64_t number, int64_t read[2])
{
	int64_t now = pool_now().mono_ms, longest = 0;
	read[0] = read[1] = -1;
	for (const struct pool_watch *w = pool->watches; w; w = w->next) {
		int64_t left = w->number == number ? patience(w, now) : 0;
		longest = left > longest ? left : longest;
		for (int i = 0; left && i < 2; i++) {
			int64_t next = w->stream[i].next;
			if (!w->stream[i].done && next >= 0 && (read[i] < 0 || next < read[i]))
				read[i] = next;
		}
	}
	return longest;
}

static void say(struct pool *pool, const struct job *job, int64_t hold_ms)
{
	char id[LEASE_ID_MAX];
	lease_id(job->lease.number, id);
	agent_call(&pool->agent, "pace", json_pack("{s:s, s:I, s:I, s:I}", "lease", id, "out", (json_int_t) job->pace[0], "err",
	                                           (json_int_t) job->pace[1], "hold_ms", (json_int_t) hold_ms), NULL, 0, NULL);
}

void pace_lease(struct pool *pool, struct job *job)
{
	int64_t read[2], now = pool_now().mono_ms, hold = slowest(pool, job->lease.number, read);
	if (!job->known_to_agent || lease_state_over(job->lease.state) || !pool->agent.ready)
		return;
	if (hold) {
		job->paced = true;
		job->pace_until_ms = now + coming_ms(pool);
		job->pace[0] = read[0];
		job->pace[1] = read[1];
		say(pool, job, hold);
	} else if (job->paced && now >= job->pace_until_ms) {
		job->paced = false;
		say(pool, job, 0);
	}
}

int64_t pace_start(struct pool *pool, struct job *job)
{
	int64_t read[2], hold = slowest(pool, job->lease.number, read);
	if (!hold && !job->lease.detach && !job->lease.model[0])
		hold = coming_ms(pool);
	job->pace[0] = job->pace[1] = 0;
	job->paced = hold > 0;
	job->pace_until_ms = pool_now().mono_ms + coming_ms(pool);
	return hold;
}

void pace_moved(struct pool_watch *w, int stream)
{
	struct job *job = w->paces ? pool_job(w->pool, w->number) : NULL;
	if (!job || w->stream[stream].next - w->stream[stream].paced < STEP)
		return;
	w->stream[stream].paced = w->stream[stream].next;
	pace_lease(w->pool, job);
}

void pace_tick(struct pool *pool)
{
	int64_t now = pool_now().mono_ms;
	for (struct pool_watch *w = pool->watches; w; w = w->next) {
		struct job *job = w->paces && !w->dead && !w->told_end ? pool_job(pool, w->number) : NULL;
		if (!job)
			continue;
		if (w->held && !w->told_slow && !patience(w, now)) {
			w->told_slow = true;
			log_info("L%llu: a client attached to it has read nothing for %lld ms: the program does not wait for it",
			         (unsigned long long) w->number, (long long) pool->conf->output_wait_ms);
		}
		if (!job->paced)
			pace_lease(pool, job);
	}
	for (size_t i = 0; i < pool->n_leases; i++) {
		struct job *job = job_of(pool->leases[i]);
		if (job->paced)
			pace_lease(pool, job);
	}
}

void pool_watch_pace(struct pool_watch *w)
{
	w->paces = w->logs;
	struct job *job = pool_job(w->pool, w->number);
	if (job && w->paces)
		pace_lease(w->pool, job);
}

void pool_watch_hold(struct pool_watch *w, bool held)
{
	if (!w || w->dead || w->held == held)
		return;
	w->held = held;
	w->held_mono_ms = pool_now().mono_ms;
	w->told_slow = false;
	if (!held)
		watch_go_on(w);
}

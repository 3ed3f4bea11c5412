/* SPDX-License-Identifier: Apache-2.0 */
/* replay_round.c - planning rounds in virtual time, as core/pool makes them in the real one. */
#include <stdio.h>
#include <string.h>

#include "core/base/error.h"
#include "core/sim/replay_inner.h"

static bool grant(struct replay *r, struct lease *lease, const char *reason)
{
	static const enum lease_state way[] = { LEASE_GRANTED, LEASE_PREPARED, LEASE_RUNNING };
	for (size_t i = 0; i < sizeof way / sizeof way[0]; i++)
		lease_change(lease, way[i], replay_now(r), reason, NULL);
	return replay_start(r, replay_lease_of(lease));
}

static bool make_way(struct replay *r)
{
	for (size_t i = 0; i < r->plan.n_victims; i++)
		if (!replay_evict(r, replay_lease_of(r->plan.victims[i]), "gave way to another lease"))
			return false;
	return true;
}

/* What the pool would do. False: out of memory. */
static bool act(struct replay *r, uint32_t type, struct lease *lease, const char *reason)
{
	switch (type) {
	case SL_ACTION_GRANT:
		return grant(r, lease, reason);
	case SL_ACTION_HOLD:
		return make_way(r);
	case SL_ACTION_PREEMPT:
	case SL_ACTION_SUSPEND:
		return replay_evict(r, replay_lease_of(lease), reason);
	case SL_ACTION_RESUME:
		lease_change(lease, LEASE_RESUMING, replay_now(r), reason, NULL);
		lease_change(lease, LEASE_RUNNING, replay_now(r), reason, NULL);
		r->result->resumed++;
		return replay_start(r, replay_lease_of(lease));
	case SL_ACTION_MOVE:
		r->result->moved++; /* the plan has moved it; nothing of its run is lost */
		return true;
	case SL_ACTION_PROMOTE:
		r->result->promoted++;
		return true;
	default:
		return true;
	}
}

/* 1: done, 0: refused, -1: out of memory. */
static int apply(struct replay *r, const sl_action *action)
{
	sl_error refusal = { 0 };
	struct lease *lease = NULL;
	char reason[SL_ERROR_TEXT];
	if (plan_check(&r->plan, action, &lease, &refusal) != SL_OK) {
		if (r->result->refused++ == 0)
			memcpy(r->result->refusal, refusal.text, sizeof r->result->refusal);
		return 0;
	}
	snprintf(reason, sizeof reason, "%.*s", SL_ERROR_TEXT - 1, action->reason);
	return act(r, SL_ACTION_TYPE(action->type), lease, reason) ? 1 : -1;
}

/* One round. *again: it did something, so another one follows, as after an agent's answer. */
static int round_once(struct replay *r, bool *again, sl_error *error)
{
	size_t n = 0;
	int code = r->setup->scheduler->plan(r->setup->scheduler_self, &r->plan.view, r->actions, REPLAY_ACTIONS_MAX, &n, error);
	r->result->rounds++;
	if (code != SL_OK) {
		error->text[SL_ERROR_TEXT - 1] = '\0';
		return error->text[0] ? code : error_set(error, code, "the scheduler gives no plan, and no words why");
	}
	for (size_t i = 0; i < n && i < REPLAY_ACTIONS_MAX; i++) {
		int did = apply(r, &r->actions[i]);
		if (did < 0)
			return error_set(error, SL_ENOMEM, "out of memory");
		*again = *again || did > 0;
	}
	return SL_OK;
}

static bool build(struct replay *r)
{
	return plan_build(&r->plan, &r->devices, r->queues, r->n_queues, r->open, r->n_open, replay_now(r));
}

int replay_plan(struct replay *r, sl_error *error)
{
	bool again = true;
	int code = SL_OK;
	r->wake_ms = -1;
	for (unsigned round = 0; again && round < REPLAY_ROUNDS_MAX; round++) {
		if (!build(r))
			return error_set(error, SL_ENOMEM, "out of memory for a planning round");
		again = false;
		if (r->plan.waiting.n || r->plan.suspended.n)
			code = round_once(r, &again, error);
		if (code != SL_OK)
			return code;
	}
	if (r->plan.wake_ms)
		r->wake_ms = (int64_t) (r->plan.wake_ms - REPLAY_EPOCH_MS);
	return SL_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* lease.c - the states of a lease and the time that it spends in them. */
#include "core/lease/lease.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "core/base/str.h"

#define BIT(STATE) (1u << LEASE_##STATE)

static const struct {
	const char *name;
	unsigned next; /* states that may follow, a bit each; none: it is over */
} states[LEASE_STATES] = {
	[LEASE_REQUESTED] = { "requested", BIT(QUEUED) | BIT(GRANTED) | BIT(DENIED) | BIT(CANCELLED) | BIT(FAILED) },
	[LEASE_QUEUED] = { "queued", BIT(GRANTED) | BIT(DENIED) | BIT(CANCELLED) | BIT(FAILED) },
	/* Back to the queue when a device went away before anything ran on it. */
	[LEASE_GRANTED] = { "granted", BIT(QUEUED) | BIT(PREPARED) | BIT(CANCELLED) | BIT(PREEMPTED) | BIT(FAILED) },
	[LEASE_PREPARED] = { "prepared", BIT(QUEUED) | BIT(RUNNING) | BIT(RELEASING) | BIT(ENDED) | BIT(EXPIRED) |
	                     BIT(FAILED) },
	[LEASE_RUNNING] = { "running", BIT(SUSPENDING) | BIT(RELEASING) | BIT(ENDED) | BIT(EXPIRED) | BIT(PREEMPTED) |
	                    BIT(FAILED) },
	[LEASE_SUSPENDING] = { "suspending", BIT(SUSPENDED) | BIT(RELEASING) | BIT(ENDED) | BIT(EXPIRED) | BIT(PREEMPTED) |
	                       BIT(FAILED) },
	[LEASE_SUSPENDED] = { "suspended", BIT(RESUMING) | BIT(RELEASING) | BIT(ENDED) | BIT(EXPIRED) | BIT(PREEMPTED) |
	                      BIT(FAILED) },
	[LEASE_RESUMING] = { "resuming", BIT(RUNNING) | BIT(SUSPENDED) | BIT(RELEASING) | BIT(ENDED) | BIT(EXPIRED) |
	                     BIT(PREEMPTED) | BIT(FAILED) },
	[LEASE_RELEASING] = { "releasing", BIT(ENDED) | BIT(CANCELLED) | BIT(EXPIRED) | BIT(PREEMPTED) | BIT(FAILED) },
	[LEASE_ENDED] = { "ended", 0 },
	[LEASE_DENIED] = { "denied", 0 },
	[LEASE_CANCELLED] = { "cancelled", 0 },
	[LEASE_PREEMPTED] = { "preempted", 0 },
	[LEASE_EXPIRED] = { "expired", 0 },
	[LEASE_FAILED] = { "failed", 0 },
};

static bool known(enum lease_state state)
{
	return (unsigned) state < LEASE_STATES;
}

const char *lease_state_name(enum lease_state state)
{
	return known(state) ? states[state].name : "unknown";
}

bool lease_state_parse(const char *name, enum lease_state *out)
{
	for (int i = 0; name && i < LEASE_STATES; i++)
		if (strcmp(states[i].name, name) == 0) {
			*out = (enum lease_state) i;
			return true;
		}
	return false;
}

bool lease_may_change(enum lease_state from, enum lease_state to)
{
	return known(from) && known(to) && (states[from].next & 1u << to);
}

bool lease_state_over(enum lease_state state)
{
	return known(state) && states[state].next == 0;
}

bool lease_holds(const struct lease *lease)
{
	return lease->state >= LEASE_GRANTED && lease->state <= LEASE_RELEASING && lease->state != LEASE_SUSPENDED && !lease->parked;
}

bool lease_state_started(enum lease_state state)
{
	return state >= LEASE_RUNNING && state <= LEASE_RESUMING;
}

static bool waits(enum lease_state state)
{
	return state == LEASE_REQUESTED || state == LEASE_QUEUED;
}

static bool runs(const struct lease *lease)
{
	return lease->state == LEASE_RUNNING || lease->state == LEASE_SUSPENDING ||
	       (lease->state == LEASE_RELEASING && !lease->parked);
}

void lease_id(uint64_t number, char out[LEASE_ID_MAX])
{
	snprintf(out, LEASE_ID_MAX, "L%llu", (unsigned long long) number);
}

uint64_t lease_number(sl_str id)
{
	uint64_t number;
	if (id.len && (id.ptr[0] == 'L' || id.ptr[0] == 'l')) {
		id.ptr++;
		id.len--;
	}
	return str_to_u64(id, INT64_MAX, &number) ? number : 0;
}

bool lease_name_ok(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t len = strlen(name);
	return len < SL_NAME_MAX && strspn(name, allowed) == len && lease_number(str_of(name)) == 0;
}

bool lease_init(struct lease *lease)
{
	lease->exit_code = -1;
	lease->places = lease->wanted ? calloc(lease->wanted, sizeof *lease->places) : NULL;
	return lease->places || lease->wanted == 0;
}

void lease_clear(struct lease *lease)
{
	json_decref(lease->argv);
	json_decref(lease->env);
	free(lease->cwd);
	free(lease->places);
	lease->argv = lease->env = NULL;
	lease->cwd = NULL;
	lease->places = NULL;
}

static uint64_t stretch(const struct lease *lease, struct lease_now now)
{
	return now.mono_ms > lease->since_mono_ms ? (uint64_t) (now.mono_ms - lease->since_mono_ms) : 0;
}

int lease_change(struct lease *lease, enum lease_state to, struct lease_now now, const char *reason, sl_error *error)
{
	if (!lease_may_change(lease->state, to))
		return error_set(error, SL_ECONFLICT, "lease L%llu is %s: it cannot become %s",
		                 (unsigned long long) lease->number, lease_state_name(lease->state), lease_state_name(to));
	lease->wait_ms = lease_wait_ms(lease, now);
	lease->run_ms = lease_run_ms(lease, now);
	lease->since_mono_ms = now.mono_ms;
	if (lease->state == LEASE_RESUMING)
		lease->charged_until_ms = now.wall_ms; /* what it uses from now on is no use of the time before */
	if (to == LEASE_SUSPENDED || to == LEASE_RESUMING)
		lease->parked = to == LEASE_SUSPENDED;
	lease->state = to;
	snprintf(lease->reason, sizeof lease->reason, "%s", reason ? reason : "");
	if (to == LEASE_GRANTED || to == LEASE_RESUMING)
		lease->granted_ms = now.wall_ms;
	else if (to == LEASE_QUEUED)
		lease->granted_ms = 0;
	else if (to == LEASE_RUNNING && lease->started_ms == 0)
		lease->started_ms = now.wall_ms;
	else if (lease_state_over(to))
		lease->ended_ms = now.wall_ms;
	return SL_OK;
}

void lease_ran_since(struct lease *lease, uint64_t started_ms, uint64_t paused_ms, struct lease_now now)
{
	lease->started_ms = started_ms;
	lease->paused_ms = paused_ms;
	lease->run_ms = now.wall_ms > started_ms + paused_ms ? now.wall_ms - started_ms - paused_ms : 0;
	lease->since_mono_ms = now.mono_ms;
}

uint64_t lease_wait_ms(const struct lease *lease, struct lease_now now)
{
	return lease->wait_ms + (waits(lease->state) ? stretch(lease, now) : 0);
}

uint64_t lease_run_ms(const struct lease *lease, struct lease_now now)
{
	/* Releasing counts only for what ran before: a start that was called back has used nothing. */
	uint64_t run = lease->run_ms + (runs(lease) && lease->started_ms ? stretch(lease, now) : 0);
	/* Two clocks may differ by a little; what was charged is not taken back. */
	return run > lease->charged_ms ? run : lease->charged_ms;
}

uint64_t lease_device_ms(const struct lease *lease, struct lease_now now)
{
	return lease_run_ms(lease, now) * lease->wanted;
}

money_amount lease_cost(const struct lease *lease, struct lease_now now)
{
	money_amount second = 0;
	for (uint32_t i = 0; i < lease->n_places; i++)
		second += lease->places[i].price;
	return second * lease_run_ms(lease, now);
}

uint64_t lease_ends_ms(const struct lease *lease)
{
	return lease->time_ms && lease->started_ms && runs(lease) ? lease->started_ms + lease->paused_ms + lease->time_ms : 0;
}

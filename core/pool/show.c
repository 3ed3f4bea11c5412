/* SPDX-License-Identifier: Apache-2.0 */
/* show.c - what others see of the pool: JSON, totals, metrics. */
#include <stdio.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/pool/inner.h"

json_t *show_lease(struct pool *pool, const struct job *job, bool in_full)
{
	char text[SL_ERROR_TEXT] = "";
	const struct lease *lease = &job->lease;
	const char *reason = NULL;
	if (lease->state == LEASE_QUEUED) {
		round_reason(pool, lease, in_full, text);
		reason = text[0] ? text : NULL;
	} else if (lease->state == LEASE_SUSPENDED) {
		char why[SL_ERROR_TEXT];
		round_reason(pool, lease, in_full, why);
		snprintf(text, sizeof text, "%.120s%s%.130s", lease->reason, lease->reason[0] ? "; " : "", why);
		reason = text;
	} else if (!lease_state_over(lease->state) && !pool->agent.ready) {
		char at[32];
		clock_rfc3339(pool->agent.away_ms, at);
		snprintf(text, sizeof text, "agent away since %s", at);
		reason = text;
	}
	return lease_json(lease, pool_now(), reason);
}

json_t *pool_lease(struct pool *pool, uint64_t number)
{
	const struct job *job = pool_job(pool, number);
	return job ? show_lease(pool, job, true) : NULL;
}

json_t *pool_lease_of(const json_t *record)
{
	struct lease lease;
	sl_error error;
	if (lease_restore(&lease, record, pool_now(), &error) != SL_OK)
		return NULL;
	json_t *json = lease_json(&lease, pool_now(), NULL);
	lease_clear(&lease);
	return json;
}

json_t *pool_leases(struct pool *pool)
{
	json_t *list = json_array();
	unsigned explained = 0, most = round_reasons(pool);
	for (size_t i = pool->n_leases; i-- > 0;) {
		const struct job *job = job_of(pool->leases[i]);
		bool ask = (job->lease.state == LEASE_QUEUED || job->lease.state == LEASE_SUSPENDED) && explained < most;
		explained += ask;
		json_array_append_new(list, show_lease(pool, job, ask));
	}
	return list;
}

json_t *pool_devices(struct pool *pool)
{
	json_t *list = json_array();
	for (size_t i = 0; i < pool->devices.n; i++) {
		const struct device *d = &pool->devices.at[i];
		const struct job *job = d->lease ? pool_job(pool, d->lease) : NULL;
		json_array_append_new(list, device_json(d, job ? &job->lease : NULL));
	}
	return list;
}

json_t *pool_agents(struct pool *pool)
{
	const struct agent *agent = &pool->agent;
	json_t *list = json_array(), *object = json_object();
	char at[32];
	json_set_str(object, "machine", str_of(agent->machine));
	json_set_str(object, "state", str_of(agent->ready ? "ready" : agent->connection ? "connecting" : "away"));
	json_set_str(object, "containment", str_of(agent->containment));
	json_set_str(object, "why", str_of(agent->why));
	json_set_str(object, "remedy", str_of(agent->ready ? "" : agent_remedy(agent)));
	if (agent->away_ms)
		clock_rfc3339(agent->away_ms, at);
	json_object_set_new(object, "away_since", agent->away_ms ? json_string(at) : json_null());
	if (json_is_array(agent->backends))
		json_object_set(object, "backends", agent->backends);
	else
		json_object_set_new(object, "backends", json_array());
	json_array_append_new(list, object);
	return list;
}

void pool_totals(struct pool *pool, struct pool_totals *out)
{
	struct lease_now now = pool_now();
	*out = (struct pool_totals){ .devices = (unsigned) pool->devices.n };
	for (size_t i = 0; i < pool->devices.n; i++) {
		const struct device *d = &pool->devices.at[i];
		/* Each once, so that they add up. */
		unsigned *count = d->faulty ? &out->faulty : d->lease ? &out->leased : !d->present ? &out->unknown
		                : d->drain ? &out->draining : d->hold ? &out->held : &out->free;
		++*count;
	}
	for (size_t i = 0; i < pool->n_leases; i++) {
		const struct lease *lease = pool->leases[i];
		if (lease_holds(lease) || lease->state == LEASE_SUSPENDED) {
			out->running++;
		} else if (lease->state == LEASE_QUEUED) {
			uint64_t waited = lease_wait_ms(lease, now);
			out->waiting++;
			if (waited > out->longest_wait_ms)
				out->longest_wait_ms = waited;
		}
	}
}

void show_metrics(struct pool *pool)
{
	static const char *const states[] = { "free", "held", "granted", "scrubbing", "draining", "faulty", "probation",
	                                      "drained", "unknown" };
	enum { N = sizeof states / sizeof states[0] };
	int64_t devices[N] = { 0 }, leases[LEASE_STATES] = { 0 };
	for (size_t i = 0; i < pool->devices.n; i++)
		for (size_t k = 0; k < N; k++)
			devices[k] += strcmp(device_state_name(&pool->devices.at[i]), states[k]) == 0;
	for (size_t i = 0; i < pool->n_leases; i++)
		leases[pool->leases[i]->state]++;
	for (size_t k = 0; k < N; k++)
		metrics_set(metrics_gauge("sluice_device_state", "Devices by state", "state", states[k]), devices[k]);
	for (int k = 0; k < LEASE_STATES; k++)
		if (!lease_state_over((enum lease_state) k))
			metrics_set(metrics_gauge("sluice_leases", "Open leases by state", "state", lease_state_name((enum lease_state) k)),
			            leases[k]);
}

void show_count(const struct lease *lease, struct lease_now now)
{
	static const uint64_t bounds[] = { 100000, 1000000, 10000000, 60000000, 300000000, 1800000000, 7200000000,
	                                   28800000000, 86400000000, 0 };
	metrics_add(metrics_counter("sluice_lease_changes_total", "Changes of leases by the state that they led to", "state",
	                            lease_state_name(lease->state)), 1);
	if (lease->state == LEASE_GRANTED)
		metrics_observe(metrics_histogram("sluice_lease_wait_seconds", "Time from request to grant", bounds, 1e6, "queue",
		                                  lease->queue), lease_wait_ms(lease, now) * 1000);
}

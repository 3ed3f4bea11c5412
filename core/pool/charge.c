/* SPDX-License-Identifier: Apache-2.0 */
/* charge.c - prices of a lease's devices, and charges for what runs. */
#include "core/base/str.h"
#include "core/pool/inner.h"

/* The price that holds when devices are granted holds to the end: a reload changes nothing for what runs. */
void charge_terms(struct pool *pool, struct lease *lease)
{
	for (uint32_t i = 0; i < lease->n_places; i++) {
		struct lease_place *place = &lease->places[i];
		if (place->kind[0] && lease->state != LEASE_GRANTED)
			continue;
		const struct device *device = devices_find(&pool->devices, str_of(place->uuid));
		if (!device)
			continue;
		str_copy(place->kind, sizeof place->kind, str_of(device->kind));
		place->price = conf_gpu_second(pool->conf, str_of(place->kind));
	}
}

/* A lease whose run is not measured yet (the agent has not been heard since our start) waits until it is. */
void charge_running(struct pool *pool, struct lease_now now)
{
	unsigned written = 0;
	for (size_t i = 0; i < pool->n_leases && written < POOL_CHARGES_MAX; i++) {
		struct job *job = job_of(pool->leases[i]);
		if ((job->lease.state != LEASE_RUNNING && job->lease.state != LEASE_RELEASING) || !job->timed || job->dirty ||
		    !lease_charge_due(&job->lease, now, (uint64_t) pool->conf->charge_ms))
			continue;
		/* Refused: it stays due. */
		if (!change_note(pool, job))
			return;
		written++;
	}
}

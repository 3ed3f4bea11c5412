/* SPDX-License-Identifier: Apache-2.0 */
/* inventory.h - the devices of one backend, as the protocol shows them, and the events when one changes. */
#ifndef CORE_AGENT_INVENTORY_H
#define CORE_AGENT_INVENTORY_H

#include <jansson.h>
#include <stdbool.h>

struct agent;

/* devices: uuid -> device object of the protocol. A device that went stays, lost, for whoever holds it. */
struct inventory {
	json_t *devices;
};

/* What the backend's devices() said. One that is missing there is lost. */
void inventory_devices(struct inventory *v, struct agent *a, const char *backend, const json_t *devices);
/* What sample() said. A device without a sample is lost. */
void inventory_samples(struct inventory *v, struct agent *a, const json_t *samples);
/* Whether its backend can suspend what runs on them; false until it has said so. */
void inventory_suspends(struct inventory *v, struct agent *a, bool suspends);
void inventory_lose_all(struct inventory *v, struct agent *a, const char *reason);

#endif

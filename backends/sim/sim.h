/* SPDX-License-Identifier: Apache-2.0 */
/* sim.h - the simulated devices, between their description and the calls on them. */
#ifndef BACKENDS_SIM_SIM_H
#define BACKENDS_SIM_SIM_H

#include <jansson.h>
#include <sluice/backend.h>

enum { SIM_DEVICES_MAX = 1024 };

struct sim_device {
	sl_device d;
	const json_t *env; /* more variables for its leases, borrowed from spec; may be NULL */
};

struct sim {
	const sl_host *host;
	char machine[256];
	char *control; /* path, NULL: none */
	json_t *spec;
	struct sim_device devices[SIM_DEVICES_MAX];
	size_t n;
};

extern const sl_backend_ops sim_ops;

/* Fills the error with both texts and returns the code. */
int sim_fail(sl_error *error, int code, const char *text, const char *what);

#endif

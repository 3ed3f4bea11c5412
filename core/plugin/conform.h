/* SPDX-License-Identifier: Apache-2.0 */
/* conform.h - between the runner of the conformance test and the checks of a kind. */
#ifndef CORE_PLUGIN_CONFORM_H
#define CORE_PLUGIN_CONFORM_H

#include <sluice/backend.h>

#include "core/plugin/plugin.h"

enum conform_result { CONFORM_BEGUN, CONFORM_OK, CONFORM_FAILED, CONFORM_SKIPPED };

/* One check at work; the functions below end it with a result and its reason. */
struct conform {
	const sl_backend_ops *ops;
	void *self;
	uint64_t caps;
	enum conform_result result;
	char why[256];
};

struct conform_check {
	const char *name;    /* what it is called by */
	const char *promise; /* what the header says */
	unsigned limit_ms;
	void (*run)(struct conform *c);
};

/* Ended by one without a name. */
extern const struct conform_check conform_backend[];

void conform_fail(struct conform *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
void conform_skip(struct conform *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif

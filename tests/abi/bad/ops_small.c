/* SPDX-License-Identifier: Apache-2.0 */
/* ops_small.c - a table that is shorter than 1.0 was. */
#include "tests/abi/bad/bad.h"

static const sl_scheduler_ops small = { .size = 8, .plan = plan };

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_SCHEDULER),
	BAD_WORDS("ops_small"),
	.open = open_fine,
	.close = close_fine,
	.ops = &small,
};

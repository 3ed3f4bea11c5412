/* SPDX-License-Identifier: Apache-2.0 */
/* ops_hole.c - a table without the function that the kind demands. */
#include "tests/abi/bad/bad.h"

static const sl_scheduler_ops hole = { .size = sizeof hole };

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_SCHEDULER),
	BAD_WORDS("ops_hole"),
	.open = open_fine,
	.close = close_fine,
	.ops = &hole,
};

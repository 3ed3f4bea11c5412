/* SPDX-License-Identifier: Apache-2.0 */
/* ops_null.c - no table. */
#include "tests/abi/bad/bad.h"

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_SCHEDULER),
	BAD_WORDS("ops_null"),
	.open = open_fine,
	.close = close_fine,
};

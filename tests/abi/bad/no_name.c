/* SPDX-License-Identifier: Apache-2.0 */
/* no_name.c - no name at all. */
#include "tests/abi/bad/bad.h"

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_SCHEDULER),
	.version = "1.0",
	.summary = "a test",
	BAD_BODY,
};

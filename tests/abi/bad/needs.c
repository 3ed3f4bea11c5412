/* SPDX-License-Identifier: Apache-2.0 */
/* needs.c - needs a feature that no host has. */
#include "tests/abi/bad/bad.h"

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_SCHEDULER),
	BAD_WORDS("needs"),
	.needs = 1ull << 40,
	BAD_BODY,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* caps.c - offers what nobody knows, which is fine. */
#include "tests/abi/bad/bad.h"

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_SCHEDULER),
	BAD_WORDS("caps"),
	.caps = 1ull << 63,
	BAD_BODY,
};

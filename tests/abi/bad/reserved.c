/* SPDX-License-Identifier: Apache-2.0 */
/* reserved.c - a reserved field that is not zero. */
#include "tests/abi/bad/bad.h"

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_SCHEDULER),
	BAD_WORDS("reserved"),
	BAD_BODY,
	.reserved = { 0, 0, 1, 0 },
};

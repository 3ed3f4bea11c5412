/* SPDX-License-Identifier: Apache-2.0 */
/* good.c - nothing is wrong with it: what the others are measured against. */
#include "tests/abi/bad/bad.h"

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_SCHEDULER),
	BAD_WORDS("good"),
	BAD_BODY,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* name.c - another name than its file. */
#include "tests/abi/bad/bad.h"

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_SCHEDULER),
	BAD_WORDS("somebody"),
	BAD_BODY,
};

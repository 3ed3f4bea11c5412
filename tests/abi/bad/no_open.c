/* SPDX-License-Identifier: Apache-2.0 */
/* no_open.c - a descriptor without open(). */
#include "tests/abi/bad/bad.h"

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_SCHEDULER),
	BAD_WORDS("no_open"),
	.close = close_fine,
	.ops = &good_ops,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* option_type.c - an option of no known type. */
#include "tests/abi/bad/bad.h"

static const sl_option options[] = { { .name = "depth", .type = 77, .help = "what?" } };

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_SCHEDULER),
	BAD_WORDS("option_type"),
	.options = options,
	.n_options = 1,
	BAD_BODY,
};

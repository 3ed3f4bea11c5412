/* SPDX-License-Identifier: Apache-2.0 */
/* option_default.c - an option whose own default is not of its type. */
#include "tests/abi/bad/bad.h"

static const sl_option options[] = {
	{ .name = "delay", .type = SL_OPTION_DURATION, .default_text = "soon", .help = "how long" },
};

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_SCHEDULER),
	BAD_WORDS("option_default"),
	.options = options,
	.n_options = 1,
	BAD_BODY,
};

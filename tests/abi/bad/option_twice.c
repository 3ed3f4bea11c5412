/* SPDX-License-Identifier: Apache-2.0 */
/* option_twice.c - one option twice. */
#include "tests/abi/bad/bad.h"

static const sl_option options[] = {
	{ .name = "depth", .type = SL_OPTION_INT, .help = "once" },
	{ .name = "depth", .type = SL_OPTION_INT, .help = "and again" },
};

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_SCHEDULER),
	BAD_WORDS("option_twice"),
	.options = options,
	.n_options = 2,
	BAD_BODY,
};

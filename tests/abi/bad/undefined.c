/* SPDX-License-Identifier: Apache-2.0 */
/* undefined.c - calls a function that nobody has. */
#include "tests/abi/bad/bad.h"

int nobody_has_this_function(void);

static int open_calls(const sl_host *host, const sl_conf *conf, void **self, sl_error *error)
{
	(void) host, (void) conf, (void) self, (void) error;
	return nobody_has_this_function();
}

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_SCHEDULER),
	BAD_WORDS("undefined"),
	.open = open_calls,
	.close = close_fine,
	.ops = &good_ops,
};

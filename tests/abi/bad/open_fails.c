/* SPDX-License-Identifier: Apache-2.0 */
/* open_fails.c - its open() fails. */
#include <string.h>

#include "tests/abi/bad/bad.h"

static int open_fails(const sl_host *host, const sl_conf *conf, void **self, sl_error *error)
{
	(void) host, (void) conf, (void) self;
	error->code = SL_EIO;
	strcpy(error->text, "the disk is on fire");
	return SL_EIO;
}

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_SCHEDULER),
	BAD_WORDS("open_fails"),
	.open = open_fails,
	.close = close_fine,
	.ops = &good_ops,
};

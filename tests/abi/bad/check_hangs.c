/* SPDX-License-Identifier: Apache-2.0 */
/* check_hangs.c - its check() returns after ten minutes. */
#include <unistd.h>

#include "tests/abi/bad/bad.h"

static int check(const sl_host *host, const sl_conf *conf, sl_error *error)
{
	(void) host, (void) conf, (void) error;
	sleep(600);
	return SL_OK;
}

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_SCHEDULER),
	BAD_WORDS("check_hangs"),
	.check = check,
	BAD_BODY,
};

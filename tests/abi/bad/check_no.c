/* SPDX-License-Identifier: Apache-2.0 */
/* check_no.c - its check() says no. */
#include <string.h>

#include "tests/abi/bad/bad.h"

static int check(const sl_host *host, const sl_conf *conf, sl_error *error)
{
	(void) host, (void) conf;
	error->code = SL_EINVAL;
	strcpy(error->text, "low is above high");
	return SL_EINVAL;
}

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_SCHEDULER),
	BAD_WORDS("check_no"),
	.check = check,
	BAD_BODY,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* exits.c - ends the process in a constructor. */
#include <unistd.h>

#include "tests/abi/bad/bad.h"

__attribute__((constructor)) static void leave(void)
{
	_exit(0);
}

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_SCHEDULER),
	BAD_WORDS("exits"),
	BAD_BODY,
};

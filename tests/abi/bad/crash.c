/* SPDX-License-Identifier: Apache-2.0 */
/* crash.c - crashes in a constructor. */
#include <signal.h>

#include "tests/abi/bad/bad.h"

__attribute__((constructor)) static void crash(void)
{
	raise(SIGSEGV);
}

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_SCHEDULER),
	BAD_WORDS("crash"),
	BAD_BODY,
};

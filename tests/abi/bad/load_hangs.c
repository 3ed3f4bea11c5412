/* SPDX-License-Identifier: Apache-2.0 */
/* load_hangs.c - never gets through its constructor, and has a child that keeps every pipe open. */
#include <unistd.h>

#include "tests/abi/bad/bad.h"

__attribute__((constructor)) static void hang(void)
{
	if (fork() == 0)
		sleep(60);
	for (;;)
		pause();
}

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_SCHEDULER),
	BAD_WORDS("load_hangs"),
	BAD_BODY,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* major.c - wants the next major ABI. */
#include "tests/abi/bad/bad.h"

SL_EXPORT const sl_plugin sluice_plugin = {
	.magic = SL_PLUGIN_MAGIC, .abi_major = SL_ABI_MAJOR + 1, .abi_minor = 7, .struct_size = sizeof(sl_plugin),
	.kind = SL_KIND_SCHEDULER, .option_size = sizeof(sl_option),
	BAD_WORDS("major"),
	BAD_BODY,
};

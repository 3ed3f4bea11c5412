/* SPDX-License-Identifier: Apache-2.0 */
/* minor.c - wants a later minor ABI. */
#include "tests/abi/bad/bad.h"

SL_EXPORT const sl_plugin sluice_plugin = {
	.magic = SL_PLUGIN_MAGIC, .abi_major = SL_ABI_MAJOR, .abi_minor = SL_ABI_MINOR + 9, .struct_size = sizeof(sl_plugin),
	.kind = SL_KIND_SCHEDULER, .option_size = sizeof(sl_option),
	BAD_WORDS("minor"),
	BAD_BODY,
};

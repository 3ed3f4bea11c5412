/* SPDX-License-Identifier: Apache-2.0 */
/* magic.c - a descriptor with the wrong magic. */
#include "tests/abi/bad/bad.h"

SL_EXPORT const sl_plugin sluice_plugin = {
	.magic = 0x12345678, .abi_major = SL_ABI_MAJOR, .abi_minor = SL_ABI_MINOR, .struct_size = sizeof(sl_plugin),
	.kind = SL_KIND_SCHEDULER, .option_size = sizeof(sl_option),
	BAD_WORDS("magic"),
	BAD_BODY,
};

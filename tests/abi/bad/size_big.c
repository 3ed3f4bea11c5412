/* SPDX-License-Identifier: Apache-2.0 */
/* size_big.c - a descriptor that says it is longer than its symbol: reading that much would run over its end. */
#include "tests/abi/bad/bad.h"

SL_EXPORT const sl_plugin sluice_plugin = {
	.magic = SL_PLUGIN_MAGIC, .abi_major = SL_ABI_MAJOR, .abi_minor = SL_ABI_MINOR, .struct_size = 1u << 30,
	.kind = SL_KIND_SCHEDULER, .option_size = sizeof(sl_option),
	BAD_WORDS("size_big"),
	BAD_BODY,
};

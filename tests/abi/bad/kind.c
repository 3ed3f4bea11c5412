/* SPDX-License-Identifier: Apache-2.0 */
/* kind.c - a kind that nobody knows. */
#include "tests/abi/bad/bad.h"

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(99),
	BAD_WORDS("kind"),
	BAD_BODY,
};

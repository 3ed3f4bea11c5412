/* SPDX-License-Identifier: Apache-2.0 */
/* tiny.c - a symbol of the right name that is smaller than any descriptor. */
#include <sluice/plugin.h>

extern SL_EXPORT const uint32_t tiny __asm__("sluice_plugin");
SL_EXPORT const uint32_t tiny = SL_PLUGIN_MAGIC;

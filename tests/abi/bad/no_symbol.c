/* SPDX-License-Identifier: Apache-2.0 */
/* no_symbol.c - exports something, but no descriptor. */
#include <sluice/plugin.h>

extern SL_EXPORT const int something_else;
SL_EXPORT const int something_else = 1;

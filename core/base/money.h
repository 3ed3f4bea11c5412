/* SPDX-License-Identifier: Apache-2.0 */
/* money.h - integer money as exact decimal text. */
#ifndef CORE_BASE_MONEY_H
#define CORE_BASE_MONEY_H

#include <sluice/types.h>

enum { MONEY_TEXT_MAX = 48 };

/* Sums of 10^-12 units pass 64 bits within a large site's month. */
__extension__ typedef __int128 money_amount;

/* From the two halves of sl_usage_sum. */
static inline money_amount money_of(uint64_t high, uint64_t low)
{
	return (money_amount) (((unsigned __int128) high << 64) | low);
}

/* `amount` of 10^-digits (2 to 18 digits) as exact decimal text: "0.10", "12.40", "0.000054". Two decimals at least,
 * no trailing zeros behind them. */
void money_text(money_amount amount, int digits, char out[MONEY_TEXT_MAX]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* money.c - integer money as exact decimal text. */
#include "core/base/money.h"

#include <stdbool.h>
#include <string.h>

void money_text(money_amount amount, int digits, char out[MONEY_TEXT_MAX])
{
	/* Written from the right end: 39 digits, point and sign fit. */
	char text[MONEY_TEXT_MAX];
	size_t at = sizeof text;
	unsigned __int128 rest = amount < 0 ? -(unsigned __int128) amount : (unsigned __int128) amount;
	text[--at] = '\0';
	bool shown = false;
	for (int place = 0; place <= digits || rest > 0; place++, rest /= 10) {
		int digit = (int) (rest % 10);
		if (place == digits)
			text[--at] = '.';
		/* Zeros at the end are left out, down to two decimals. */
		shown |= digit != 0 || place >= digits - 2;
		if (shown)
			text[--at] = (char) ('0' + digit);
	}
	if (amount < 0)
		text[--at] = '-';
	memcpy(out, text + at, sizeof text - at);
}

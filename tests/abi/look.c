/* SPDX-License-Identifier: Apache-2.0 */
/* look.c - prints what the loader thinks of each file that is named; ends with the last refusal. */
#include <stdio.h>
#include <stdlib.h>

#include "core/plugin/plugin.h"

int main(int argc, char **argv)
{
	enum plugin_refusal refusal = PLUGIN_FINE;
	for (int i = 1; i < argc; i++) {
		struct buf out = { 0 };
		enum plugin_refusal one = plugin_check_file(argv[i], &out);
		if (one != PLUGIN_FINE)
			refusal = one;
		char *text = buf_take(&out);
		fputs(text ? text : "out of memory\n", stdout);
		free(text);
	}
	return refusal ? 64 + (int) refusal : 0;
}

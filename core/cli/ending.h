/* SPDX-License-Identifier: Apache-2.0 */
/* ending.h - what a lease's end record means: the exit code and the last line. */
#ifndef CORE_CLI_ENDING_H
#define CORE_CLI_ENDING_H

#include "core/cli/cli.h"

/* Exit code of run and attach: the program's own, 128 + signal, 124 time limit, 125 it never began. */
int ending_exit(const json_t *lease);
/* Appends "L1042 done in 1h 12m, exit 0. 2 x h100-80g, 6.00 EUR."; the money is left out when there is none or
 * the currency ("EUR") is NULL. Why it did not end well, or why the program could not be started, follows the exit. */
void ending_line(struct buf *out, const json_t *lease, const char *currency);
/* Does the record say that it cost something? */
bool ending_costs(const json_t *lease);

#endif

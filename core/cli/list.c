/* SPDX-License-Identifier: Apache-2.0 */
/* list.c - any noun alone: one GET, one list. */
#include "core/cli/output.h"

int list_run(struct cli *cli)
{
	const struct cli_list *list = cli->command->list;
	struct buf target = { 0 };
	json_t *rows = NULL;
	buf_puts(&target, list->path);
	cli_put_query(cli, &target, false);
	buf_put(&target, "", 1);
	int code = target.failed ? cli_fail(cli, CLI_FAILED, NULL, "out of memory")
	           : cli_call(cli, "GET", target.data, NULL, &rows);
	if (code == CLI_DONE && !json_is_array(rows))
		code = cli_fail(cli, CLI_FAILED, NULL, "%s answered with something else than a list", cli->address.text);
	if (code == CLI_DONE)
		code = output_list(cli, list, rows, NULL);
	json_decref(rows);
	buf_free(&target);
	return code;
}

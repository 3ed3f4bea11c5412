/* SPDX-License-Identifier: Apache-2.0 */
/* settings.c - what an option, the environment or the default says: output format, colour, address, patience. */
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/cli/cli.h"

enum { TIMEOUT_MS = 30000 };

static int take_format(struct cli *cli, const char *text)
{
	static const char *const names[] = { "table", "wide", "json", "jsonl", "csv", "name", "columns", NULL };
	if (strncmp(text, "columns=", 8) == 0) {
		cli->format = FORMAT_COLUMNS;
		cli->columns = text + 8;
		return *cli->columns ? CLI_DONE : cli_fail(cli, CLI_USAGE, "-o columns=lease,state", "no column was named");
	}
	for (int i = 0; names[i] && strcmp(names[i], "columns") != 0; i++) {
		if (strcmp(text, names[i]) != 0)
			continue;
		cli->format = (enum cli_format) i;
		return CLI_DONE;
	}
	const char *near = str_nearest(str_of(text), names);
	char try[128];
	snprintf(try, sizeof try, "-o %s   (table, wide, json, jsonl, csv, name, columns=A,B)", near ? near : "table");
	return cli_fail(cli, CLI_USAGE, try, "there is no output format '%s'", text);
}

static int take_color(struct cli *cli)
{
	const char *when = cli_value(cli, "color"), *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
	bool may = term && strcmp(term, "dumb") != 0 && !(no_color && *no_color);
	if (when && strcmp(when, "auto") && strcmp(when, "always") && strcmp(when, "never"))
		return cli_fail(cli, CLI_USAGE, "--color=auto, always or never", "--color has no '%s'", when);
	if (when && strcmp(when, "auto") != 0)
		cli->color_out = cli->color_err = strcmp(when, "always") == 0;
	else {
		cli->color_out = may && cli->tty_out;
		cli->color_err = may && cli->tty_err;
	}
	return CLI_DONE;
}

static int take_address(struct cli *cli)
{
	const char *text = cli_value(cli, "socket"), *from = "--socket";
	sl_error error = { 0 };
	if (!text) {
		text = getenv("SLUICE_URL");
		from = "SLUICE_URL";
	}
	if (!text || !*text)
		text = SLUICE_RUN_DIR "/control.sock";
	if (cli->command->role && !client_address_parse(text, &cli->address, &error))
		return cli_fail(cli, CLI_USAGE, from[0] == '-' ? "--socket /run/sluice/control.sock"
		                : "SLUICE_URL=unix:/run/sluice/control.sock", "%s: %s", from, error.text);
	return CLI_DONE;
}

int cli_settings(struct cli *cli)
{
	const char *format = cli_flag(cli, "json") ? "json" : cli_value(cli, "output");
	int code = CLI_DONE;
	if (!format)
		format = getenv("SLUICE_OUTPUT");
	if (format && *format)
		code = take_format(cli, format);
	if (code == CLI_DONE)
		code = take_color(cli);
	if (code == CLI_DONE)
		code = take_address(cli);
	cli->header = !cli_flag(cli, "no-header");
	cli->utc = cli_flag(cli, "utc");
	cli->help = cli_flag(cli, "help") && !cli->bare;
	int64_t seconds = cli_number(cli, "timeout", TIMEOUT_MS / 1000);
	cli->timeout_ms = seconds < 1 ? 1000 : seconds > 86400 ? 86400000 : (int) seconds * 1000;
	return code;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* options.c - the command line of sluiced. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/daemon/daemon.h"

#define DEFAULT_FILE SLUICE_CONF_DIR "/sluice.lua"

static const char usage[] =
	"Usage: sluiced [-c FILE] [--check] [--user NAME]\n"
	"\n"
	"  -c, --config FILE  the configuration; without it " DEFAULT_FILE " where that exists, else safe\n"
	"                     defaults on loopback\n"
	"      --check        say what is wrong with the configuration, its plugins and its policy, and stop:\n"
	"                     exit status 0, or 78\n"
	"      --user NAME    started as root: serve as this user (sluice, else daemon)\n"
	"      --version\n"
	"  -h, --help\n"
	"\n"
	"Signals: HUP reloads the configuration, TERM drains and ends, a second TERM ends at once.\n"
	"See sluiced(8), sluice.lua(5), sluicectl(1).\n";

int options_parse(struct daemon_options *out, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' }, { "check", no_argument, NULL, 'C' }, { "user", required_argument, NULL, 'u' },
		{ "version", no_argument, NULL, 'V' }, { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 },
	};
	int option;
	while ((option = getopt_long(argc, argv, "c:h", longs, NULL)) != -1) {
		switch (option) {
		case 'c': out->file = optarg; break;
		case 'C': out->check = true; break;
		case 'u': out->user = optarg; break;
		case 'V': puts("sluiced " SLUICE_VERSION); return DAEMON_OK + 1;
		case 'h': fputs(usage, stdout); return DAEMON_OK + 1;
		default: fputs("  try: sluiced --help\n", stderr); return DAEMON_USAGE + 1;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "sluiced: error: unexpected argument '%s'\n  try: sluiced --help\n", argv[optind]);
		return DAEMON_USAGE + 1;
	}
	if (!out->file && access(DEFAULT_FILE, F_OK) == 0)
		out->file = DEFAULT_FILE;
	return 0;
}

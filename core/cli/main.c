/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - sluicectl: the command line of sluice. */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "core/cli/cli.h"

int cli_flush(struct cli *cli)
{
	size_t at = 0;
	int code = CLI_DONE;
	if (cli->out.failed)
		code = cli_fail(cli, CLI_FAILED, NULL, "out of memory");
	while (code == CLI_DONE && at < cli->out.len) {
		ssize_t n = write(STDOUT_FILENO, cli->out.data + at, cli->out.len - at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EPIPE) /* the reader has seen enough */
			break;
		if (n < 0)
			code = cli_fail(cli, CLI_FAILED, NULL, "cannot write to standard output: %s", strerror(errno));
		else
			at += (size_t) n;
	}
	buf_clear(&cli->out);
	return code;
}

/* A descriptor 0, 1 or 2 that is closed must not become a socket: it is filled with what cannot be read or written. */
static void fill_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
			return;
}

int main(int argc, char **argv)
{
	static struct cli cli;
	fill_descriptors();
	setlocale(LC_CTYPE, "");
	signal(SIGPIPE, SIG_IGN);
	int code = cli_parse(&cli, argc, argv);
	if (code == CLI_DONE && cli.help)
		help_command(cli.command, &cli.out);
	else if (code == CLI_DONE)
		code = cli.command->run(&cli);
	int flushed = cli_flush(&cli);
	buf_free(&cli.out);
	return code ? code : flushed;
}

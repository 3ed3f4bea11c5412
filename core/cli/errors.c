/* SPDX-License-Identifier: Apache-2.0 */
/* errors.c - how sluicectl says that something went wrong, and asks before it breaks something. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/json.h"
#include "core/base/str.h"
#include "core/cli/cli.h"

bool cli_is_json(const struct cli *cli)
{
	return cli->format == FORMAT_JSON || cli->format == FORMAT_JSONL;
}

/* Length of the control character at p (C0, DEL, and C1 in UTF-8), 0 when there is none. */
static size_t control_at(const unsigned char *p)
{
	if (p[0] < 0x20 || p[0] == 0x7f)
		return 1;
	return p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0 ? 2 : 0;
}

void cli_put_clean(struct buf *out, const char *text)
{
	const unsigned char *p = (const unsigned char *) text;
	while (*p) {
		size_t control = control_at(p);
		if (control)
			buf_puts(out, "?");
		else
			buf_put(out, p, 1);
		p += control ? control : 1;
	}
}

static void err_write(struct buf *line)
{
	if (line->failed)
		return;
	for (size_t at = 0; at < line->len;) {
		ssize_t n = write(STDERR_FILENO, line->data + at, line->len - at);
		if (n <= 0)
			return; /* nobody is left to tell */
		at += (size_t) n;
	}
}

static const char *code_word(int code)
{
	switch (code) {
	case CLI_USAGE: return "usage";
	case CLI_NO_SERVER: return "no_connection";
	case CLI_NO_RIGHT: return "no_right";
	case CLI_DENIED: return "denied";
	case CLI_TIMEOUT: return "timeout";
	default: return "failed";
	}
}

/* Commands that run a program keep the other codes for the program. */
static int exit_of(const struct cli *cli, int code)
{
	return cli->command && cli->command->program ? CLI_NOT_BEGUN : code;
}

static void put_human(const struct cli *cli, struct buf *line, const char *message, const char *try)
{
	const char *red = cli->color_err ? "\033[31m" : "", *plain = cli->color_err ? "\033[0m" : "";
	buf_printf(line, "%ssluicectl: error:%s ", red, plain);
	cli_put_clean(line, message);
	buf_puts(line, "\n");
	if (try && *try) {
		buf_puts(line, "  try: ");
		cli_put_clean(line, try);
		buf_puts(line, "\n");
	}
}

int cli_fail(struct cli *cli, int code, const char *try, const char *format, ...)
{
	char message[2048];
	va_list args;
	va_start(args, format);
	vsnprintf(message, sizeof message, format, args);
	va_end(args);
	struct buf line = { 0 };
	if (cli_is_json(cli)) {
		buf_puts(&line, "{\"error\":{\"message\":");
		buf_put_json(&line, str_of(message));
		buf_printf(&line, ",\"code\":\"%s\"", code_word(code));
		if (try) {
			buf_puts(&line, ",\"try\":");
			buf_put_json(&line, str_of(try));
		}
		buf_puts(&line, "}}\n");
	} else {
		put_human(cli, &line, message, try);
	}
	err_write(&line);
	buf_free(&line);
	return exit_of(cli, code);
}

static bool one_of(const char *word, const char *const *words)
{
	for (; *words; words++)
		if (strcmp(word, *words) == 0)
			return true;
	return false;
}

static int answer_code(int status, const char *type)
{
	static const char *const denied[] = {
		"insufficient_quota", "rate_limit_error", "policy_error", "policy_denied", "quota_error", NULL
	};
	if (status == 429 || one_of(type, denied))
		return CLI_DENIED;
	if (status == 401 || status == 403)
		return CLI_NO_RIGHT;
	return CLI_FAILED;
}

/* {"findings":[...]} of a refused configuration, a line each. */
static void put_findings(struct buf *line, const json_t *document)
{
	size_t i;
	json_t *finding;
	json_array_foreach (json_object_get(document, "findings"), i, finding) {
		if (!json_is_string(finding))
			continue;
		buf_puts(line, "  ");
		cli_put_clean(line, json_string_value(finding));
		buf_puts(line, "\n");
	}
}

int cli_fail_answer(struct cli *cli, int status, sl_str body)
{
	json_t *document = json_parse(body, NULL);
	const json_t *error = json_object_get(document, "error");
	const char *message = json_get_str(error, "message", NULL);
	struct buf line = { 0 };
	int code = exit_of(cli, answer_code(status, json_get_str(error, "type", "")));
	if (!message) {
		json_decref(document);
		return cli_fail(cli, answer_code(status, ""), NULL,
		                "%s answered with status %d and no words that sluiced would use", cli->address.text, status);
	}
	if (cli_is_json(cli)) {
		char *text = json_text(document);
		buf_puts(&line, text ? text : "{}");
		buf_puts(&line, "\n");
		free(text);
	} else {
		put_findings(&line, document);
		put_human(cli, &line, message, json_get_str(error, "try", NULL));
	}
	err_write(&line);
	buf_free(&line);
	json_decref(document);
	return code;
}

int cli_fail_call(struct cli *cli, const struct client_call *call)
{
	char try[256];
	snprintf(try, sizeof try, "systemctl status sluiced, or --socket PATH, or SLUICE_URL=unix:/PATH");
	if (call->refused)
		return cli_fail(cli, CLI_NO_SERVER, try, "%s", call->error.text);
	return cli_fail(cli, CLI_NO_SERVER, try, "%s (at %s)", call->error.text, cli->address.text);
}

void cli_note(const struct cli *cli, const char *format, ...)
{
	struct buf line = { 0 };
	char text[2048];
	va_list args;
	if (cli_is_json(cli))
		return;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	cli_put_clean(&line, text);
	buf_puts(&line, "\n");
	err_write(&line);
	buf_free(&line);
}

int cli_confirm(struct cli *cli, const char *format, ...)
{
	char text[1024], answer[16];
	va_list args;
	if (cli_flag(cli, "yes"))
		return CLI_DONE;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (!isatty(STDIN_FILENO) || !cli->tty_err)
		return cli_fail(cli, CLI_USAGE, "the same with --yes", "%s; that wants a yes, and there is no terminal to ask at", text);
	struct buf line = { 0 };
	cli_put_clean(&line, text);
	buf_puts(&line, ". Go on? [y/N] ");
	err_write(&line);
	buf_free(&line);
	if (fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y'))
		return CLI_DONE;
	return cli_fail(cli, CLI_FAILED, NULL, "nothing was changed");
}

/* SPDX-License-Identifier: Apache-2.0 */
/* help.c - help pages, made from the table. */
#include <config.h>

#include <string.h>

#include "core/base/json.h"
#include "core/base/str.h"
#include "core/cli/output.h"

enum { LEFT = 26, WIDTH = 100 };

static void put_padded(struct buf *out, const char *left, const char *right)
{
	buf_printf(out, "  %-*s  %s", LEFT, left, right);
}

static void put_options(struct buf *out, const struct cli_option *options)
{
	for (const struct cli_option *o = options; o && o->name; o++) {
		char left[64];
		char letter[6] = "    ";
		if (o->letter)
			snprintf(letter, sizeof letter, "-%c, ", o->letter);
		snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->metavar ? " " : "", o->metavar ? o->metavar : "");
		put_padded(out, left, o->help);
		if (o->fallback)
			buf_printf(out, " [%s]", o->fallback);
		if (o->repeats)
			buf_puts(out, "; may be repeated");
		buf_puts(out, "\n");
	}
}

static void put_examples(struct buf *out, const char *examples)
{
	for (const char *line = examples; line && *line;) {
		size_t len = strcspn(line, "\n");
		buf_puts(out, "  sluicectl ");
		buf_put(out, line, len);
		buf_puts(out, "\n");
		line += len;
		line += *line == '\n';
	}
}

/* Words of a paragraph, lines broken at WIDTH. */
static void put_wrapped(struct buf *out, const char *text)
{
	size_t column = 0;
	while (*text) {
		size_t len = strcspn(text, " ");
		if (column && column + 1 + len > WIDTH) {
			buf_puts(out, "\n");
			column = 0;
		}
		if (column)
			buf_puts(out, " ");
		buf_put(out, text, len);
		column += len + (column ? 1 : 0);
		text += len;
		text += strspn(text, " ");
	}
	buf_puts(out, "\n");
}

static void put_verbs(struct buf *out, const char *noun, bool with_title)
{
	bool first = true;
	for (const struct cli_command *c = cli_commands; c->noun; c++) {
		char left[64];
		if (!c->verb || strcmp(c->noun, noun) != 0)
			continue;
		if (first && with_title)
			buf_puts(out, "\nVerbs:\n");
		first = false;
		snprintf(left, sizeof left, "%s %s%s%s", c->noun, c->verb, c->args ? " " : "", c->args ? c->args : "");
		put_padded(out, left, c->summary);
		buf_puts(out, "\n");
	}
}

void help_command(const struct cli_command *c, struct buf *out)
{
	bool has_options = c->options && c->options->name;
	buf_printf(out, "sluicectl %s%s%s - %s\n\nExamples:\n", c->noun, c->verb ? " " : "", c->verb ? c->verb : "", c->summary);
	put_examples(out, c->examples);
	buf_printf(out, "\nUsage:\n  sluicectl %s%s%s%s%s%s\n", c->noun, c->verb ? " " : "", c->verb ? c->verb : "",
	           has_options ? " [OPTION...]" : "", c->args ? " " : "", c->args ? c->args : "");
	if (c->text) {
		buf_puts(out, "\n");
		put_wrapped(out, c->text);
	}
	if (has_options) {
		buf_puts(out, "\nOptions:\n");
		put_options(out, c->options);
	}
	if (!c->verb)
		put_verbs(out, c->noun, true);
	buf_puts(out, "\nOptions of every command:\n");
	put_options(out, cli_global_options);
	if (c->role)
		buf_printf(out, "\nFor: %s\n", c->role);
}

static void help_overview(struct buf *out)
{
	buf_puts(out, "sluicectl - GPUs as a shared service: run programs, see what is there, what it costs\n\nExamples:\n");
	put_examples(out, "status\nrun -G 1 -- nvidia-smi\nleases\nusage --by model");
	buf_puts(out, "\nCommands:\n");
	for (const struct cli_command *c = cli_commands; c->noun; c++) {
		if (c->hidden || c->verb)
			continue;
		put_padded(out, c->noun, c->summary);
		buf_puts(out, "\n");
	}
	buf_puts(out, "\nA noun lists; with a verb it acts:\n");
	const char *last = "";
	for (const struct cli_command *c = cli_commands; c->noun; c++) {
		if (!c->verb)
			continue;
		if (strcmp(last, c->noun) == 0)
			buf_printf(out, "|%s", c->verb);
		else
			buf_printf(out, "%s  %s %s", *last ? "\n" : "", c->noun, c->verb);
		last = c->noun;
	}
	buf_puts(out, "\n\nTopics:\n");
	for (const struct cli_topic *t = cli_topics; t->name; t++) {
		put_padded(out, t->name, t->title);
		buf_puts(out, "\n");
	}
	buf_puts(out, "\nsluicectl help COMMAND, or COMMAND --help, says more.\n");
}

static const char *topic_near(const char *word)
{
	const char *names[128];
	int n = 0;
	for (const struct cli_command *c = cli_commands; c->noun && n < 100; c++)
		if (!c->hidden)
			names[n++] = c->noun;
	for (const struct cli_topic *t = cli_topics; t->name; t++)
		names[n++] = t->name;
	names[n] = NULL;
	return str_nearest(str_of(word), names);
}

/* A noun that has verbs only. */
static bool help_noun(const char *noun, struct buf *out)
{
	for (const struct cli_command *c = cli_commands; c->noun; c++) {
		if (!c->verb || strcmp(c->noun, noun) != 0)
			continue;
		buf_printf(out, "sluicectl %s VERB\n\nVerbs:\n", noun);
		put_verbs(out, noun, false);
		buf_printf(out, "\nsluicectl help %s VERB says more.\n", noun);
		return true;
	}
	return false;
}

int help_run(struct cli *cli)
{
	int used;
	if (cli->n_args == 0) {
		help_overview(&cli->out);
		return CLI_DONE;
	}
	const char *word = cli->args[0];
	for (const struct cli_topic *t = cli_topics; cli->n_args == 1 && t->name; t++) {
		if (strcmp(t->name, word) != 0)
			continue;
		buf_printf(&cli->out, "sluicectl: %s\n\n%s", t->title, t->text);
		return CLI_DONE;
	}
	const struct cli_command *c = cli_find(word, cli->n_args > 1 ? cli->args[1] : NULL, &used);
	if (c && used == cli->n_args) {
		help_command(c, &cli->out);
		return CLI_DONE;
	}
	if (cli->n_args == 1 && help_noun(word, &cli->out))
		return CLI_DONE;
	char try[128];
	const char *near = topic_near(word);
	snprintf(try, sizeof try, "sluicectl help %s", near ? near : "");
	return cli_fail(cli, CLI_USAGE, try, "there is no help on '%s%s%s'", word, cli->n_args > 1 ? " " : "",
	                cli->n_args > 1 ? cli->args[1] : "");
}

int version_run(struct cli *cli)
{
	if (cli_is_json(cli))
		buf_printf(&cli->out, "{\"version\":\"%s\"}\n", PACKAGE_VERSION);
	else
		buf_printf(&cli->out, "sluicectl %s\n", PACKAGE_VERSION);
	return CLI_DONE;
}

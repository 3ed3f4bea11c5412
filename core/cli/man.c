/* SPDX-License-Identifier: Apache-2.0 */
/* man.c - sluicectl(1) in mdoc, made from the table. */
#include <string.h>

#include "core/cli/cli.h"

/* Text as mdoc source: backslashes escaped, no line that begins with a dot or a quote, hyphens kept as they are. */
static void put_text(struct buf *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len && text[i]; i++) {
		bool line_start = out->len == 0 || out->data[out->len - 1] == '\n';
		if (line_start && (text[i] == '.' || text[i] == '\''))
			buf_puts(out, "\\&");
		if (text[i] == '\\')
			buf_puts(out, "\\e");
		else if (text[i] == '-')
			buf_puts(out, "\\-");
		else
			buf_put(out, text + i, 1);
	}
}

static void put_str(struct buf *out, const char *text)
{
	put_text(out, text, strlen(text));
}

/* A paragraph, each sentence on a line of its own. */
static void put_sentences(struct buf *out, const char *text)
{
	const char *end;
	while ((end = strstr(text, ". ")) != NULL) {
		put_text(out, text, (size_t) (end - text) + 1);
		buf_puts(out, "\n");
		text = end + 2;
	}
	put_str(out, text);
	buf_puts(out, "\n");
}

static void put_options(struct buf *out, const struct cli_option *options)
{
	if (!options || !options->name)
		return;
	buf_puts(out, ".Bl -tag -width indent\n");
	for (const struct cli_option *o = options; o->name; o++) {
		buf_puts(out, ".It ");
		if (o->letter)
			buf_printf(out, "Fl %c , ", o->letter);
		buf_printf(out, "Fl \\-%s", o->name);
		if (o->metavar)
			buf_printf(out, " Ar \"%s\"", o->metavar);
		buf_puts(out, "\n");
		put_str(out, o->help);
		if (o->repeats)
			put_str(out, "; may be repeated");
		if (o->fallback) {
			buf_puts(out, "; default: ");
			put_str(out, o->fallback);
		}
		buf_puts(out, ".\n");
	}
	buf_puts(out, ".El\n");
}

static void put_examples(struct buf *out, const char *examples)
{
	if (!examples)
		return;
	buf_puts(out, ".Bd -literal -offset indent\n");
	for (const char *line = examples; *line;) {
		size_t len = strcspn(line, "\n");
		buf_puts(out, "sluicectl ");
		put_text(out, line, len);
		buf_puts(out, "\n");
		line += len;
		line += *line == '\n';
	}
	buf_puts(out, ".Ed\n");
}

static void put_command(struct buf *out, const struct cli_command *c)
{
	buf_printf(out, ".Ss sluicectl %s%s%s", c->noun, c->verb ? " " : "", c->verb ? c->verb : "");
	if (c->args) {
		buf_puts(out, " ");
		put_str(out, c->args);
	}
	buf_puts(out, "\n");
	put_str(out, c->summary);
	if (c->role)
		buf_printf(out, " (for: %s)", c->role);
	buf_puts(out, ".\n");
	if (c->alias && !c->verb)
		buf_printf(out, "Also:\n.Cm %s .\n", c->alias);
	if (c->text) {
		buf_puts(out, ".Pp\n");
		put_sentences(out, c->text);
	}
	put_options(out, c->options);
	put_examples(out, c->examples);
}

/* Lines "word  text" of a topic as a list; other lines as they are. */
static void put_topic(struct buf *out, const char *text)
{
	buf_puts(out, ".Bd -literal\n");
	put_str(out, text);
	buf_puts(out, ".Ed\n");
}

static const char *topic_text(const char *name)
{
	for (const struct cli_topic *t = cli_topics; t->name; t++)
		if (strcmp(t->name, name) == 0)
			return t->text;
	return "";
}

int man_run(struct cli *cli)
{
	struct buf *out = &cli->out;
	buf_puts(out, ".\\\" SPDX-License-Identifier: Apache-2.0\n.\\\" Made by sluicectl __man from its table of commands.\n"
	         ".Dd November 24, 2026\n.Dt SLUICECTL 1\n.Os\n.Sh NAME\n.Nm sluicectl\n.Nd run programs on shared GPUs and "
	         "operate sluice\n.Sh SYNOPSIS\n.Nm\n.Op Ar option ...\n.Ar command\n.Op Ar verb\n.Op Ar argument ...\n"
	         ".Sh DESCRIPTION\n.Nm\ntalks to the control socket of\n.Xr sluiced 8 .\nA noun lists what there is; with a "
	         "verb behind it, it acts.\nNouns may be written in the singular.\n");
	put_options(out, cli_global_options);
	buf_puts(out, ".Sh COMMANDS\n");
	for (const struct cli_command *c = cli_commands; c->noun; c++)
		if (!c->hidden)
			put_command(out, c);
	buf_puts(out, ".Sh OUTPUT\n");
	put_topic(out, topic_text("output"));
	buf_puts(out, ".Sh SIMULATION\nWhat\n.Nm\n.Ic simulate\nreads, and what it leaves out:\n");
	put_topic(out, topic_text("simulation"));
	buf_puts(out, ".Sh ENVIRONMENT\n");
	put_topic(out, topic_text("settings"));
	buf_puts(out, ".Sh FILES\n.Bl -tag -width indent\n.It Pa " SLUICE_RUN_DIR "/control.sock\nThe control socket.\n.El\n"
	         ".Sh EXIT STATUS\n");
	put_topic(out, topic_text("exit-codes"));
	buf_puts(out, ".Sh EXAMPLES\n");
	put_examples(out, "status\nrun -G 2 -t 2h -- python train.py\nleases --all\nusage --by model --since 2026-11-01");
	buf_puts(out, ".Sh SEE ALSO\n.Xr sluice-agent 8 ,\n.Xr sluiced 8\n");
	return CLI_DONE;
}

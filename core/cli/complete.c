/* SPDX-License-Identifier: Apache-2.0 */
/* complete.c - completion scripts, made from the table, and the names that they ask for. */
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/str.h"
#include "core/cli/output.h"

enum { NAMES_WAIT_MS = 200 };

static const struct { const char *args, *noun; } named_args[] = {
	{ "LEASE", "leases" }, { "DEVICE", "devices" }, { "MODEL", "models" }, { "KEY", "keys" }, { NULL, NULL }
};

/* The noun whose names stand where `args` says "LEASE" and the like; NULL: none. */
static const char *names_of(const struct cli_command *c)
{
	for (int i = 0; c->args && named_args[i].args; i++)
		if (strncmp(c->args, named_args[i].args, strlen(named_args[i].args)) == 0)
			return named_args[i].noun;
	return NULL;
}

static void put_option_words(struct buf *out, const struct cli_option *options)
{
	for (const struct cli_option *o = options; o && o->name; o++) {
		buf_printf(out, " --%s", o->name);
		if (o->letter)
			buf_printf(out, " -%c", o->letter);
	}
}

static void put_nouns(struct buf *out)
{
	const char *last = "";
	for (const struct cli_command *c = cli_commands; c->noun; c++) {
		if (!c->hidden && strcmp(last, c->noun) != 0)
			buf_printf(out, "%s%s", *last ? " " : "", c->noun);
		last = c->hidden ? last : c->noun;
	}
}

static void put_verbs(struct buf *out, const char *noun)
{
	bool any = false;
	for (const struct cli_command *c = cli_commands; c->noun; c++) {
		if (!c->verb || strcmp(c->noun, noun) != 0)
			continue;
		buf_printf(out, "%s%s", any ? " " : "", c->verb);
		any = true;
	}
}

static bool first_of_noun(const struct cli_command *c)
{
	return !c->hidden && (c == cli_commands || strcmp(c[-1].noun, c->noun) != 0);
}

/* One case of the bash function: the words that may follow "noun verb". */
static void put_bash_case(struct buf *out, const struct cli_command *c)
{
	const char *names = names_of(c);
	if (c->verb)
		buf_printf(out, "\t\"%s %s\"", c->noun, c->verb);
	else
		buf_printf(out, "\t\"%s \"", c->noun);
	if (c->alias && c->verb)
		buf_printf(out, "|\"%s %s\"", c->alias, c->verb);
	else if (c->alias)
		buf_printf(out, "|\"%s \"", c->alias);
	buf_puts(out, ") words=\"");
	put_option_words(out, c->options);
	buf_puts(out, "\"");
	if (names)
		buf_printf(out, "; names=%s", names);
	if (strcmp(c->noun, "completion") == 0)
		buf_puts(out, "; words+=\" bash zsh fish\"");
	buf_puts(out, " ;;\n");
}

static void put_bash(struct buf *out)
{
	buf_puts(out, "# SPDX-License-Identifier: Apache-2.0\n# bash completion of sluicectl, made by: sluicectl completion bash\n"
	         "_sluicectl() {\n\tlocal word=${COMP_WORDS[COMP_CWORD]} noun=\"\" verb=\"\" words=\"\" names=\"\" verbs=\"\" i\n"
	         "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n\t\tcase ${COMP_WORDS[i]} in\n\t\t--) return ;;\n\t\t-*) ;;\n"
	         "\t\t*) if [ -z \"$noun\" ]; then noun=${COMP_WORDS[i]}; elif [ \"$i\" = 2 ]; then verb=${COMP_WORDS[i]}; fi ;;\n"
	         "\t\tesac\n\tdone\n\tif [ -z \"$noun\" ]; then\n\t\tCOMPREPLY=($(compgen -W \"");
	put_nouns(out);
	put_option_words(out, cli_global_options);
	buf_puts(out, "\" -- \"$word\"))\n\t\treturn\n\tfi\n\tcase $noun in\n");
	for (const struct cli_command *c = cli_commands; c->noun; c++) {
		if (!first_of_noun(c) || (!c->verb && !(c[1].noun && strcmp(c[1].noun, c->noun) == 0)))
			continue;
		buf_printf(out, "\t%s%s%s) verbs=\"", c->noun, c->alias ? "|" : "", c->alias ? c->alias : "");
		put_verbs(out, c->noun);
		buf_puts(out, "\" ;;\n");
	}
	buf_puts(out, "\tesac\n\tcase \" $verbs \" in\n\t*\" $verb \"*) ;;\n\t*) verb=\"\" ;;\n\tesac\n"
	         "\tcase \"$noun $verb\" in\n");
	for (const struct cli_command *c = cli_commands; c->noun; c++)
		if (!c->hidden)
			put_bash_case(out, c);
	buf_puts(out, "\tesac\n\t[ \"$COMP_CWORD\" = 2 ] && words+=\" $verbs\"\n\twords+=\"");
	put_option_words(out, cli_global_options);
	buf_puts(out, "\"\n\t[ -n \"$names\" ] && words+=\" $(sluicectl __complete \"$names\" 2>/dev/null)\"\n"
	         "\tCOMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\ncomplete -o default -F _sluicectl sluicectl\n");
}

static void put_zsh(struct buf *out)
{
	buf_puts(out, "#compdef sluicectl\n# SPDX-License-Identifier: Apache-2.0\n_sluicectl() {\n\tif (( CURRENT == 2 )); then\n"
	         "\t\tcompadd ");
	put_nouns(out);
	buf_puts(out, "\n\t\treturn\n\tfi\n\tcase $words[2] in\n");
	for (const struct cli_command *c = cli_commands; c->noun; c++) {
		if (!first_of_noun(c))
			continue;
		buf_printf(out, "\t%s%s%s) compadd -- ", c->noun, c->alias ? "|" : "", c->alias ? c->alias : "");
		put_verbs(out, c->noun);
		for (const struct cli_command *verb = c; verb->noun && strcmp(verb->noun, c->noun) == 0; verb++)
			put_option_words(out, verb->options);
		buf_puts(out, " ;;\n");
	}
	buf_puts(out, "\tesac\n\tcompadd --");
	put_option_words(out, cli_global_options);
	buf_puts(out, "\n\t_files\n}\n_sluicectl \"$@\"\n");
}

static void put_fish(struct buf *out)
{
	buf_puts(out, "# SPDX-License-Identifier: Apache-2.0\ncomplete -c sluicectl -n __fish_use_subcommand -f -a '");
	put_nouns(out);
	buf_puts(out, "'\n");
	for (const struct cli_command *c = cli_commands; c->noun; c++) {
		const char *seen = "__fish_seen_subcommand_from";
		if (c->hidden)
			continue;
		if (c->verb)
			buf_printf(out, "complete -c sluicectl -n '%s %s' -f -a %s\n", seen, c->noun, c->verb);
		for (const struct cli_option *o = c->options; o && o->name; o++) {
			buf_printf(out, "complete -c sluicectl -n '%s %s' -l %s", seen, c->verb ? c->verb : c->noun, o->name);
			if (o->letter)
				buf_printf(out, " -s %c", o->letter);
			buf_puts(out, o->metavar ? " -r\n" : "\n");
		}
	}
	for (const struct cli_option *o = cli_global_options; o->name; o++)
		buf_printf(out, "complete -c sluicectl -l %s\n", o->name);
}

int completion_run(struct cli *cli)
{
	const char *shell = cli->args[0];
	if (strcmp(shell, "bash") == 0)
		put_bash(&cli->out);
	else if (strcmp(shell, "zsh") == 0)
		put_zsh(&cli->out);
	else if (strcmp(shell, "fish") == 0)
		put_fish(&cli->out);
	else
		return cli_fail(cli, CLI_USAGE, "bash, zsh or fish", "there is no completion for '%s'", shell);
	return CLI_DONE;
}

/* Names for a shell that waits: quick, and silent when there are none to be had. */
int complete_run(struct cli *cli)
{
	int used;
	const struct cli_command *c = cli_find(cli->args[0], NULL, &used);
	struct client_call call = { .fd = -1 };
	json_t *rows = NULL, *row;
	size_t i;
	if (!c || !c->list)
		return CLI_DONE;
	if (client_start(&call, &cli->address, "GET", c->list->path, NULL, (sl_str){ 0 }))
		client_wait(&call, NAMES_WAIT_MS);
	if (call.state == CLIENT_DONE && call.status == 200)
		rows = json_parse(buf_str(&call.body), NULL);
	json_array_foreach (rows, i, row) {
		cli_put_clean(&cli->out, json_get_str(row, c->list->id, ""));
		buf_puts(&cli->out, "\n");
	}
	json_decref(rows);
	client_close(&call);
	return CLI_DONE;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* parse.c - argv against the table: which command, its options and arguments. */
#include <config.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/str.h"
#include "core/cli/cli.h"

enum { WORDS_MAX = 128 };

static bool noun_is(const struct cli_command *command, const char *word)
{
	return strcmp(command->noun, word) == 0 || (command->alias && strcmp(command->alias, word) == 0);
}

const struct cli_command *cli_find(const char *noun, const char *verb, int *used)
{
	const struct cli_command *alone = NULL;
	for (const struct cli_command *c = cli_commands; c->noun; c++) {
		if (!noun_is(c, noun))
			continue;
		if (!c->verb) {
			alone = c;
		} else if (verb && strcmp(c->verb, verb) == 0) {
			*used = 2;
			return c;
		}
	}
	*used = 1;
	return alone;
}

static const struct cli_value *find_value(const struct cli *cli, const char *name)
{
	for (int i = cli->n_values - 1; i >= 0; i--)
		if (strcmp(cli->values[i].option->name, name) == 0)
			return &cli->values[i];
	return NULL;
}

const char *cli_value(const struct cli *cli, const char *name)
{
	const struct cli_value *given = find_value(cli, name);
	return given ? given->text : NULL;
}

bool cli_flag(const struct cli *cli, const char *name)
{
	return cli_value(cli, name) != NULL;
}

int64_t cli_number(const struct cli *cli, const char *name, int64_t fallback)
{
	const struct cli_value *given = find_value(cli, name);
	int64_t value;
	if (!given)
		return fallback;
	if (given->option->type == OPTION_BYTES)
		return str_to_bytes(str_of(given->text), &value) ? value : fallback;
	/* a plain number reads as seconds */
	return str_to_duration_ms(str_of(given->text), &value) ? value / 1000 : fallback;
}

/* "2026-11-24", or with a time behind it: seconds since 1970 in UTC. */
static bool parse_stamp(const char *text, int64_t *ms)
{
	static const char *const forms[] = { "%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ" };
	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
		struct tm tm = { 0 };
		const char *end = strptime(text, forms[i], &tm);
		if (end && *end == '.' && i >= 2) {
			end += 1 + strspn(end + 1, "0123456789");
			end += *end == 'Z';
		}
		if (!end || *end)
			continue;
		*ms = (int64_t) timegm(&tm) * 1000;
		return *ms >= 0;
	}
	return false;
}

bool cli_time(const char *text, uint64_t now_ms, int64_t *ms)
{
	const int64_t day = 86400000;
	bool plain = text[strspn(text, "0123456789")] == '\0'; /* 2026 seconds ago is not what 2026 means */
	int64_t ago, today = (int64_t) now_ms / day * day;
	if (strcmp(text, "now") == 0)
		*ms = (int64_t) now_ms;
	else if (strcmp(text, "today") == 0)
		*ms = today;
	else if (strcmp(text, "yesterday") == 0)
		*ms = today - day;
	else if (!plain && str_to_duration_ms(str_of(text), &ago) && ago <= (int64_t) now_ms)
		*ms = (int64_t) now_ms - ago;
	else
		return parse_stamp(text, ms);
	return true;
}

static const char *value_wrong(const struct cli_option *option, const char *text)
{
	int64_t number;
	uint64_t count;
	switch (option->type) {
	case OPTION_NUMBER:
		return str_to_u64(str_of(text), 1000000000, &count) ? NULL : "a number";
	case OPTION_DURATION:
		return str_to_duration_ms(str_of(text), &number) ? NULL : "a duration such as 90s, 30m, 2h30m or 1d";
	case OPTION_BYTES:
		return str_to_bytes(str_of(text), &number) ? NULL : "a size such as 512M or 40G";
	case OPTION_TIME:
		return cli_time(text, 4102444800000, &number) ? NULL
		       : "a time such as 1h (ago), today, 2026-11-24 or 2026-11-24T14:00:00Z";
	default:
		return NULL;
	}
}

static const struct cli_option *find_in(const struct cli_option *options, const char *name, size_t len, char letter)
{
	for (const struct cli_option *o = options; o && o->name; o++)
		if (name ? strlen(o->name) == len && memcmp(o->name, name, len) == 0 : o->letter && o->letter == letter)
			return o;
	return NULL;
}

static const struct cli_option *find_option(const struct cli_command *command, const char *name, size_t len, char letter)
{
	const struct cli_option *found = command ? find_in(command->options, name, len, letter) : NULL;
	return found ? found : find_in(cli_global_options, name, len, letter);
}

static int fail_option(struct cli *cli, const char *word, size_t len)
{
	const char *names[WORDS_MAX], *near;
	char try[160], command[80] = "";
	int n = 0;
	for (const struct cli_option *o = cli->command ? cli->command->options : NULL; o && o->name; o++)
		names[n++] = o->name;
	for (const struct cli_option *o = cli_global_options; o->name; o++)
		names[n++] = o->name;
	names[n] = NULL;
	if (cli->command)
		snprintf(command, sizeof command, " %s%s%s", cli->command->noun, cli->command->verb ? " " : "",
		         cli->command->verb ? cli->command->verb : "");
	near = len > 2 ? str_nearest((sl_str){ word + 2, len - 2 }, names) : NULL;
	if (near)
		snprintf(try, sizeof try, "--%s   (all: sluicectl%s --help)", near, command);
	else
		snprintf(try, sizeof try, "sluicectl%s --help", command);
	return cli_fail(cli, CLI_USAGE, try, "unknown option '%.*s'", (int) len, word);
}

static int add_value(struct cli *cli, const struct cli_option *option, const char *text)
{
	const char *wrong = value_wrong(option, text);
	if (wrong)
		return cli_fail(cli, CLI_USAGE, NULL, "--%s wants %s, not '%s'", option->name, wrong, text);
	if (cli->n_values == CLI_VALUES_MAX)
		return cli_fail(cli, CLI_USAGE, NULL, "more than %d options", CLI_VALUES_MAX);
	cli->values[cli->n_values++] = (struct cli_value){ option, text };
	return CLI_DONE;
}

/* The option at argv[*at], with its value, which may stand in the next word. */
static int take_option(struct cli *cli, char **argv, int *at)
{
	const char *word = argv[*at], *value = NULL;
	const struct cli_option *option;
	size_t len = strlen(word);
	if (word[1] == '-') {
		len = strcspn(word, "=");
		option = find_option(cli->command, word + 2, len - 2, 0);
		value = word[len] ? word + len + 1 : NULL;
	} else {
		option = find_option(cli->command, NULL, 0, word[1]);
		value = word[2] ? word + 2 : NULL;
	}
	if (!option)
		return fail_option(cli, word, len);
	if (option->type == OPTION_FLAG) {
		if (value)
			return cli_fail(cli, CLI_USAGE, NULL, "--%s takes no value", option->name);
		return add_value(cli, option, "1");
	}
	if (!value && argv[*at + 1])
		value = argv[++*at];
	if (!value)
		return cli_fail(cli, CLI_USAGE, NULL, "--%s wants a value: %s", option->name, option->metavar);
	return add_value(cli, option, value);
}

static int fail_noun(struct cli *cli, const char *word)
{
	const char *names[WORDS_MAX], *near;
	char try[128];
	int n = 0;
	for (const struct cli_command *c = cli_commands; c->noun && n < WORDS_MAX - 1; c++)
		if (!c->hidden)
			names[n++] = c->noun;
	names[n] = NULL;
	near = str_nearest(str_of(word), names);
	snprintf(try, sizeof try, near ? "sluicectl %s   (all: sluicectl help)" : "sluicectl help", near);
	return cli_fail(cli, CLI_USAGE, try, "there is no command '%s'", word);
}

static int fail_verb(struct cli *cli, const char *noun, const char *word)
{
	const char *names[WORDS_MAX], *near;
	char try[160];
	int n = 0;
	for (const struct cli_command *c = cli_commands; c->noun && n < WORDS_MAX - 1; c++)
		if (c->verb && noun_is(c, noun))
			names[n++] = c->verb;
	names[n] = NULL;
	near = word ? str_nearest(str_of(word), names) : NULL;
	if (near)
		snprintf(try, sizeof try, "sluicectl %s %s   (all: sluicectl help %s)", noun, near, noun);
	else
		snprintf(try, sizeof try, "sluicectl help %s", noun);
	if (!word)
		return cli_fail(cli, CLI_USAGE, try, "'%s' wants a verb", noun);
	if (n == 0)
		return cli_fail(cli, CLI_USAGE, try, "'%s' takes no argument, but '%s' was given", noun, word);
	return cli_fail(cli, CLI_USAGE, try, "'%s' has no verb '%s'", noun, word);
}

static bool has_verbs(const char *noun)
{
	for (const struct cli_command *c = cli_commands; c->noun; c++)
		if (c->verb && noun_is(c, noun))
			return true;
	return false;
}

/* Words are at argv[at] and behind it. Sets cli->command; *at moves behind them. */
static int take_command(struct cli *cli, char **argv, int *at)
{
	int used;
	const char *noun = argv[*at], *verb = argv[*at + 1];
	if (verb && verb[0] == '-')
		verb = NULL;
	const struct cli_command *command = cli_find(noun, verb, &used);
	if (!command && !has_verbs(noun))
		return fail_noun(cli, noun);
	/* help of a noun that has only verbs is the noun's page */
	if (!command && argv[*at + 1] && (!strcmp(argv[*at + 1], "--help") || !strcmp(argv[*at + 1], "-h"))) {
		cli->command = cli_find("help", NULL, &used);
		cli->args[cli->n_args++] = noun;
		*at += 2;
		return CLI_DONE;
	}
	if (!command || (used == 1 && verb && command->args_max == 0))
		return fail_verb(cli, noun, verb);
	cli->command = command;
	*at += used;
	return CLI_DONE;
}

/* No command: the overview, or the version. */
static void take_nothing(struct cli *cli)
{
	int used;
	cli->bare = true;
	cli->command = cli_find(cli_flag(cli, "version") ? "version" : "help", NULL, &used);
}

static int take_rest(struct cli *cli, char **argv, int at)
{
	bool options = true;
	for (; argv[at]; at++) {
		const char *word = argv[at];
		if (options && strcmp(word, "--") == 0) {
			options = false;
			if (cli->command->program && cli->command->args_max < 0)
				break;
		} else if (options && word[0] == '-' && word[1]) {
			int code = take_option(cli, argv, &at);
			if (code)
				return code;
		} else if (cli->command->program && cli->command->args_max < 0) {
			at--;
			break;
		} else if (cli->n_args < CLI_ARGS_MAX) {
			cli->args[cli->n_args++] = word;
		} else {
			return cli_fail(cli, CLI_USAGE, NULL, "more than %d arguments", CLI_ARGS_MAX);
		}
	}
	if (argv[at])
		cli->program = argv + at + 1;
	return CLI_DONE;
}

static int check_args(struct cli *cli)
{
	const struct cli_command *c = cli->command;
	char try[160];
	int n = cli->program && cli->program[0] ? 1 : cli->n_args;
	if (cli->help || (n >= c->args_min && (c->args_max < 0 || n <= c->args_max)))
		return CLI_DONE;
	snprintf(try, sizeof try, "sluicectl %s%s%s --help", c->noun, c->verb ? " " : "", c->verb ? c->verb : "");
	if (n < c->args_min)
		return cli_fail(cli, CLI_USAGE, try, "'%s%s%s' wants %s", c->noun, c->verb ? " " : "",
		                c->verb ? c->verb : "", c->args);
	return cli_fail(cli, CLI_USAGE, try, "one argument too many: '%s'", cli->args[n - 1]);
}

/* Errors are to be JSON already while the command line is read, when it asks for JSON anywhere before "--". */
static void guess_format(struct cli *cli, char **argv)
{
	const char *set = getenv("SLUICE_OUTPUT");
	bool json = set && strncmp(set, "json", 4) == 0;
	for (int i = 1; argv[0] && argv[i] && strcmp(argv[i], "--") != 0; i++)
		json = json || !strcmp(argv[i], "--json") || !strcmp(argv[i], "-ojson") || !strcmp(argv[i], "--output=json") ||
		       ((!strcmp(argv[i], "-o") || !strcmp(argv[i], "--output")) && argv[i + 1] &&
		        !strcmp(argv[i + 1], "json"));
	cli->format = json ? FORMAT_JSON : FORMAT_TABLE;
}

int cli_parse(struct cli *cli, int argc, char **argv)
{
	int at = 1, code = CLI_DONE;
	cli->tty_out = isatty(STDOUT_FILENO);
	cli->tty_err = isatty(STDERR_FILENO);
	cli->color_err = cli->tty_err;
	guess_format(cli, argv);
	while (code == CLI_DONE && at < argc && argv[at][0] == '-' && argv[at][1]) {
		code = take_option(cli, argv, &at);
		at++;
	}
	if (code)
		return code;
	if (at < argc)
		code = take_command(cli, argv, &at);
	else
		take_nothing(cli);
	if (code == CLI_DONE && at < argc)
		code = take_rest(cli, argv, at);
	cli->format = FORMAT_TABLE;
	if (code == CLI_DONE)
		code = cli_settings(cli);
	if (code == CLI_DONE)
		code = check_args(cli);
	return code;
}

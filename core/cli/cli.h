/* SPDX-License-Identifier: Apache-2.0 */
/* cli.h - what the parts of sluicectl share: the table of commands, a parsed command line, output and errors.
 *
 * One process runs one command on one thread. Data goes to stdout, everything else to stderr. */
#ifndef CORE_CLI_CLI_H
#define CORE_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sluice/types.h>

#include "core/base/buf.h"
#include "core/cli/client.h"

/* Exit codes, the same for every command but those that run a program. */
enum cli_exit {
	CLI_DONE = 0,
	CLI_FAILED = 1,    /* failed, or refused by the server */
	CLI_USAGE = 2,     /* wrong usage, or a question must be asked and there is no terminal */
	CLI_NO_SERVER = 3, /* no connection to sluiced */
	CLI_NO_RIGHT = 4,  /* not signed in, or no right */
	CLI_DENIED = 5,    /* denied by limit, quota or policy: do not retry */
	CLI_TIMEOUT = 6,   /* a wait ran out */
	/* run, attach: the program's own code, 128+N when a signal ended it, and these */
	CLI_INCOMPLETE = 123, /* the program ended with 0, but bytes of its output are lost */
	CLI_TIME_LIMIT = 124,
	CLI_NOT_BEGUN = 125,
	CLI_NOT_EXECUTABLE = 126,
	CLI_NOT_FOUND = 127
};

enum cli_option_type {
	OPTION_FLAG,
	OPTION_TEXT,
	OPTION_NUMBER,   /* 0..10^9 */
	OPTION_DURATION, /* 90m, 2h30m, 1d */
	OPTION_BYTES,    /* 40G: binary */
	OPTION_TIME      /* a date, RFC 3339, or a duration ago */
};

struct cli_option {
	const char *name; /* "queue": --queue */
	char letter;      /* 'p': -p; 0: none */
	enum cli_option_type type;
	const char *metavar;  /* NULL for a flag */
	const char *fallback; /* what holds without it, for help; NULL: nothing to say */
	const char *help;
	const char *query; /* part of the call's query: "tenant" becomes tenant=VALUE, "all=1" goes as it is; NULL: none */
	bool repeats;
};

struct cli;
struct cli_list;

struct cli_command {
	const char *noun;  /* "leases", or the command of one word */
	const char *verb;  /* NULL: the noun alone, which lists, or a command of one word */
	const char *alias; /* another spelling of the noun: "lease"; NULL: none */
	const char *args;  /* "NAME"; NULL: none */
	int args_min, args_max; /* -1: any number */
	const struct cli_option *options; /* ended by one without a name; NULL: none */
	const char *role;     /* who may: "anyone", "operator", "admin"; NULL: it asks no daemon */
	const char *summary;  /* one line */
	const char *text;     /* a paragraph more; NULL: none */
	const char *examples; /* a line each, without the leading "sluicectl "; what follows two spaces explains it */
	const struct cli_list *list; /* for the list handler */
	bool program; /* its exit code is a program's: own failures are 125; what follows the first argument is not ours */
	bool hidden;
	int (*run)(struct cli *cli); /* returns the exit code */
};

/* The whole table, ended by one without a noun. */
extern const struct cli_command cli_commands[];
/* Options that every command takes, ended by one without a name. */
extern const struct cli_option cli_global_options[];

/* A page of `sluicectl help NAME` that belongs to no command. */
struct cli_topic {
	const char *name, *title, *text;
};
extern const struct cli_topic cli_topics[];

enum cli_format { FORMAT_TABLE, FORMAT_WIDE, FORMAT_JSON, FORMAT_JSONL, FORMAT_CSV, FORMAT_NAME, FORMAT_COLUMNS };

enum { CLI_VALUES_MAX = 256, CLI_ARGS_MAX = 16 };

struct cli_value {
	const struct cli_option *option;
	const char *text;
};

struct cli {
	const struct cli_command *command;
	struct cli_value values[CLI_VALUES_MAX]; /* options in their order */
	int n_values;
	const char *args[CLI_ARGS_MAX]; /* borrowed from argv */
	int n_args;
	char **program; /* of a command that runs one: its argv, NULL-terminated */
	enum cli_format format;
	const char *columns; /* of FORMAT_COLUMNS */
	bool header, utc;
	bool color_out, color_err;
	bool tty_out, tty_err;
	bool help; /* the command's page is asked for */
	bool bare; /* no command was named */
	int timeout_ms;
	struct client_address address;
	struct buf out; /* what goes to stdout at the end */
};

/* Parses argv into *cli. 0, or an exit code after the error was printed. */
int cli_parse(struct cli *cli, int argc, char **argv);
/* Format, colour, address and the like, once the options are known (settings.c). 0, or an exit code. */
int cli_settings(struct cli *cli);
/* The command of these words; NULL: none. used: how many of them name it. */
const struct cli_command *cli_find(const char *noun, const char *verb, int *used);
/* The last value of an option, NULL when it was not given. */
const char *cli_value(const struct cli *cli, const char *name);
bool cli_flag(const struct cli *cli, const char *name);
/* The value as its type: seconds, bytes, a number; fallback when it was not given. */
int64_t cli_number(const struct cli *cli, const char *name, int64_t fallback);
/* OPTION_TIME as Unix milliseconds; false: not a time. */
bool cli_time(const char *text, uint64_t now_ms, int64_t *ms);

bool cli_is_json(const struct cli *cli);

/* errors.c. Prints and returns the exit code; `try` may be NULL. */
int cli_fail(struct cli *cli, int code, const char *try, const char *format, ...) __attribute__((format(printf, 4, 5)));
/* An error answer of sluiced: status and body decide words and exit code. */
int cli_fail_answer(struct cli *cli, int status, sl_str body);
/* A call that did not come to an answer. */
int cli_fail_call(struct cli *cli, const struct client_call *call);
/* A line for the person on stderr; nothing with JSON output. */
void cli_note(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Asks "... [y/N]". 0: yes. Otherwise an exit code: no terminal (names --yes), or declined. */
int cli_confirm(struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Text as a terminal may see it: control characters become '?'. */
void cli_put_clean(struct buf *out, const char *text);

/* call.c. One call to sluiced. body: NULL for none, borrowed. *answer: new reference, NULL for an empty body; answer
 * itself may be NULL. 0, or an exit code after the error was printed. */
int cli_call(struct cli *cli, const char *method, const char *target, const json_t *body, json_t **answer);
/* The same for an answer that is no JSON. The caller frees *answer. */
int cli_call_raw(struct cli *cli, const char *target, struct buf *answer);
/* Appends text with everything but unreserved characters as %XX. */
void cli_put_escaped(struct buf *out, const char *text);
/* Appends "?a=b&c=d" of the options that belong into the query; '&' instead of '?' when `more`. */
void cli_put_query(struct cli *cli, struct buf *out, bool more);
/* Writes cli->out to stdout and empties it. 0, or an exit code after the error was printed. */
int cli_flush(struct cli *cli);

/* Handlers, by file. */
int list_run(struct cli *cli);            /* list.c: any noun alone */
int devices_show_run(struct cli *cli);    /* show.c */
int leases_show_run(struct cli *cli);
int models_show_run(struct cli *cli);
int ledger_run(struct cli *cli);
int ledger_verify_run(struct cli *cli);   /* verify.c */
int config_show_run(struct cli *cli);
int status_run(struct cli *cli);          /* status.c */
int usage_run(struct cli *cli);           /* usage.c */
int devices_drain_run(struct cli *cli);   /* change.c */
int devices_undrain_run(struct cli *cli);
int models_start_run(struct cli *cli);
int models_stop_run(struct cli *cli);
int tenants_create_run(struct cli *cli);
int tenants_delete_run(struct cli *cli);
int keys_create_run(struct cli *cli);
int keys_disable_run(struct cli *cli);
int keys_enable_run(struct cli *cli);
int keys_delete_run(struct cli *cli);
int release_run(struct cli *cli);
int reload_run(struct cli *cli);
int drain_run(struct cli *cli);
int undrain_run(struct cli *cli);
int run_run(struct cli *cli);             /* run.c */
int attach_run(struct cli *cli);
int logs_run(struct cli *cli);            /* logs.c */
int simulate_routing_run(struct cli *cli); /* simulate_routing.c */
int policy_eval_run(struct cli *cli);     /* local.c */
int policy_check_run(struct cli *cli);
int policy_test_run(struct cli *cli);
int plugin_check_run(struct cli *cli);
int plugin_test_run(struct cli *cli);
int plugin_list_run(struct cli *cli);
int simulate_run(struct cli *cli);        /* simulate.c */
int simulate_jobs_run(struct cli *cli);   /* simulate_jobs.c */
int config_init_run(struct cli *cli);
int config_check_run(struct cli *cli);
int help_run(struct cli *cli);            /* help.c */
int version_run(struct cli *cli);
int man_run(struct cli *cli);             /* man.c */
int completion_run(struct cli *cli);      /* complete.c */
int complete_run(struct cli *cli);

/* local.c: the values of --option NAME=VALUE; what reads as JSON is meant as such, anything else is text. New reference.
 * *wrong: the first that has no such form. */
json_t *cli_plugin_options(const struct cli *cli, const char **wrong);

/* help.c: the page of one command, appended to out. */
void help_command(const struct cli_command *command, struct buf *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* run.c - sluicectl run and attach. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/json.h"
#include "core/base/str.h"
#include "core/cli/ending.h"
#include "core/cli/output.h"
#include "core/cli/session.h"

/* Variables that stay here unless --env names them. */
static bool is_secret(sl_str name)
{
	static const sl_str end = { "_API_KEY", 8 };
	return str_starts(name, STR("SLUICE_TOKEN")) ||
	       (name.len >= end.len && memcmp(name.ptr + name.len - end.len, end.ptr, end.len) == 0);
}

/* "NAME=VALUE" into env. What is not UTF-8 cannot travel in JSON: false. */
static bool put_variable(json_t *env, const char *text)
{
	size_t len = strcspn(text, "=");
	char *name = str_dup((sl_str){ text, len });
	bool done = name && json_object_set_new(env, name, json_string(text + len + 1)) == 0;
	free(name);
	return done;
}

static json_t *environment(struct cli *cli)
{
	json_t *env = json_object();
	for (char **e = environ; *e; e++) {
		size_t len = strcspn(*e, "=");
		if ((*e)[len] == '\0' || len == 0 || is_secret((sl_str){ *e, len }))
			continue;
		if (!put_variable(env, *e))
			cli_note(cli, "sluicectl: the variable %.*s stays here: it is not UTF-8", (int) len, *e);
	}
	return env;
}

/* --env NAME=VALUE and --env NAME over it. */
static int add_env(struct cli *cli, json_t *env)
{
	for (int i = 0; i < cli->n_values; i++) {
		const char *text = cli->values[i].text;
		if (strcmp(cli->values[i].option->name, "env") != 0)
			continue;
		if (text[0] == '=' || text[0] == '\0')
			return cli_fail(cli, CLI_USAGE, "--env NAME=VALUE", "--env '%s' names no variable", text);
		if (strchr(text, '=')) {
			if (!put_variable(env, text))
				return cli_fail(cli, CLI_USAGE, NULL, "--env %.64s is not UTF-8", text);
		} else if (!getenv(text)) {
			return cli_fail(cli, CLI_USAGE, "--env NAME=VALUE", "there is no variable %s to pass on", text);
		} else {
			json_object_set_new(env, text, json_string(getenv(text)));
		}
	}
	return CLI_DONE;
}

static int put_argv(struct cli *cli, json_t *request)
{
	json_t *argv = json_array();
	for (char **word = cli->program; *word; word++) {
		if (json_array_append_new(argv, json_string(*word)) == 0)
			continue;
		json_decref(argv);
		return cli_fail(cli, CLI_USAGE, NULL, "the program's arguments must be UTF-8");
	}
	json_object_set_new(request, "argv", argv);
	return CLI_DONE;
}

static int put_cwd(struct cli *cli, json_t *request)
{
	char *cwd = getcwd(NULL, 0);
	json_t *text = cwd ? json_string(cwd) : NULL;
	free(cwd);
	if (!text)
		return cli_fail(cli, CLI_FAILED, "cd to another folder", "the working directory cannot be named");
	json_object_set_new(request, "cwd", text);
	return CLI_DONE;
}

static void put_text(struct cli *cli, json_t *request, const char *field, const char *option)
{
	const char *text = cli_value(cli, option);
	if (text)
		json_set_str(request, field, str_of(text));
}

static void put_number(struct cli *cli, json_t *request, const char *field, const char *option)
{
	if (cli_flag(cli, option))
		json_object_set_new(request, field, json_integer(cli_number(cli, option, 0)));
}

static int build_request(struct cli *cli, json_t *request)
{
	json_t *env = environment(cli);
	put_text(cli, request, "name", "name");
	put_text(cli, request, "queue", "queue");
	put_text(cli, request, "kind", "kind");
	json_object_set_new(request, "gpus", json_integer(cli_number(cli, "gpus", 1)));
	put_number(cli, request, "memory_bytes", "memory");
	put_number(cli, request, "time_s", "time");
	json_object_set_new(request, "stdin", json_boolean(!cli_flag(cli, "no-stdin") && !cli_flag(cli, "detach")));
	json_object_set_new(request, "detach", json_boolean(cli_flag(cli, "detach")));
	int code = add_env(cli, env);
	json_object_set_new(request, "env", env);
	if (code == CLI_DONE)
		code = put_argv(cli, request);
	if (code == CLI_DONE)
		code = put_cwd(cli, request);
	return code;
}

/* The report's file is made before anything else: a path that cannot be written is said before the program runs,
 * and an empty file means that there was no lease. */
static int open_report(struct cli *cli, int *fd)
{
	const char *path = cli_value(cli, "report");
	*fd = -1;
	if (!path)
		return CLI_DONE;
	*fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (*fd < 0)
		return cli_fail(cli, CLI_FAILED, NULL, "cannot write the report %s: %s", path, strerror(errno));
	return CLI_DONE;
}

static void write_report(struct cli *cli, int fd, const json_t *lease)
{
	if (fd < 0)
		return;
	if (lease && (json_dumpfd(lease, fd, JSON_INDENT(2) | FORMAT_JSON_REAL) < 0 || write(fd, "\n", 1) != 1))
		cli_note(cli, "sluicectl: the report was not written: %s", strerror(errno));
	close(fd);
}

static void say_end(struct cli *cli, const json_t *lease)
{
	struct client_call call = { .fd = -1 };
	struct buf line = { 0 };
	json_t *status = NULL;
	if (ending_costs(lease) && client_start(&call, &cli->address, "GET", "/v1/status", NULL, (sl_str){ 0 })) {
		client_wait(&call, 2000);
		if (call.state == CLIENT_DONE && call.status == 200)
			status = json_parse(buf_str(&call.body), NULL);
	}
	ending_line(&line, lease, json_get_str(status, "currency", NULL));
	buf_put(&line, "", 1);
	if (!line.failed)
		cli_note(cli, "%s", line.data);
	buf_free(&line);
	json_decref(status);
	client_close(&call);
}

/* Follows the lease and says how it ended. Takes report_fd. */
static int follow_to_end(struct session *s, int report_fd)
{
	int code = session_run(s);
	write_report(s->cli, report_fd, s->follow.ended);
	if (s->follow.ended && s->left < 0)
		say_end(s->cli, s->follow.ended);
	return code;
}

/* Waits for the answer to the lease request; a second Ctrl-C does not. *signalled: the first signal. */
static int wait_answer(struct session *s, struct client_call *call, int *signalled)
{
	short events;
	while ((events = client_events(call)) != 0) {
		struct pollfd p[2] = { { .fd = call->fd, .events = events }, { .fd = s->signal_fd, .events = POLLIN } };
		if (poll(p, 2, s->cli->timeout_ms) == 0)
			return cli_fail(s->cli, CLI_NO_SERVER, "sluicectl leases   (it may have made the lease)",
			                "sluiced does not answer (at %s)", s->cli->address.text);
		if (p[0].revents)
			client_step(call);
		int number = p[1].revents ? session_next_signal(s) : 0;
		if (number && *signalled)
			return 128 + number;
		*signalled = number ? number : *signalled;
	}
	if (call->state != CLIENT_DONE)
		return cli_fail_call(s->cli, call);
	if (call->status / 100 != 2)
		return cli_fail_answer(s->cli, call->status, buf_str(&call->body));
	return CLI_DONE;
}

static int ask_lease(struct session *s, const json_t *request, json_t **lease)
{
	struct client_call call = { .fd = -1 };
	char *text = json_text(request);
	int signalled = 0, code;
	if (!text)
		return cli_fail(s->cli, CLI_FAILED, NULL, "out of memory");
	client_start(&call, &s->cli->address, "POST", "/v1/gpu/leases", "application/json", str_of(text));
	code = wait_answer(s, &call, &signalled);
	if (code == CLI_DONE) {
		*lease = json_parse(buf_str(&call.body), NULL);
		if (!json_get_str(*lease, "lease", NULL))
			code = cli_fail(s->cli, CLI_FAILED, "sluicectl leases", "%s answered with something else than a lease",
			                s->cli->address.text);
	}
	if (code == CLI_DONE && signalled) /* the lease is there now: it is cancelled as if the signal came now */
		raise(signalled);
	client_close(&call);
	free(text);
	return code;
}

static void say_detached(struct cli *cli, const json_t *lease)
{
	const char *name = json_get_str(lease, "lease", "");
	if (cli_is_json(cli)) {
		output_json(cli, lease);
		return;
	}
	cli_put_clean(&cli->out, name);
	buf_puts(&cli->out, "\n");
	cli_note(cli, "Output: sluicectl logs -f %s     come back: sluicectl attach %s", name, name);
}

int run_run(struct cli *cli)
{
	struct session s = { .cli = cli, .signal_fd = -1, .tail = -1 };
	json_t *request = json_object(), *lease = NULL;
	int report, code = open_report(cli, &report);
	if (code == CLI_DONE)
		code = build_request(cli, request);
	if (code == CLI_DONE && !session_signals(&s))
		code = cli_fail(cli, CLI_FAILED, NULL, "no descriptor is left for signals: %s", strerror(errno));
	if (code == CLI_DONE)
		code = ask_lease(&s, request, &lease);
	if (code == CLI_DONE && cli_flag(cli, "detach")) {
		say_detached(cli, lease);
	} else if (code == CLI_DONE) {
		str_copy(s.follow.lease, sizeof s.follow.lease, str_of(json_get_str(lease, "lease", "")));
		s.stdin_on = !cli_flag(cli, "no-stdin");
		s.end_on_hangup = cli_flag(cli, "end-on-hangup");
		code = follow_to_end(&s, report);
		report = -1;
	}
	if (report >= 0)
		close(report);
	json_decref(lease);
	json_decref(request);
	session_close(&s);
	return code;
}

int attach_run(struct cli *cli)
{
	struct session s = { .cli = cli, .signal_fd = -1, .tail = cli_number(cli, "tail", -1) };
	int report, code = open_report(cli, &report);
	if (code)
		return code;
	if (!session_signals(&s))
		return cli_fail(cli, CLI_FAILED, NULL, "no descriptor is left for signals: %s", strerror(errno));
	if (!str_copy(s.follow.lease, sizeof s.follow.lease, str_of(cli->args[0])))
		code = cli_fail(cli, CLI_USAGE, "sluicectl leases", "'%.80s' is too long for a lease", cli->args[0]);
	s.stdin_on = cli_flag(cli, "stdin");
	s.attached = true;
	s.end_on_hangup = cli_flag(cli, "end-on-hangup");
	if (code == CLI_DONE)
		code = follow_to_end(&s, report);
	session_close(&s);
	return code;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* change.c - commands that change something with one call. */
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/json.h"
#include "core/base/str.h"
#include "core/cli/output.h"

/* "/v1/keys/" + name + "/disable". The caller frees it. */
static char *path_of(const char *before, const char *name, const char *after)
{
	struct buf path = { 0 };
	buf_puts(&path, before);
	for (const char *part = name; *part;) { /* a '/' inside a name separates path segments */
		char *piece = str_dup((sl_str){ part, strcspn(part, "/") });
		if (piece)
			cli_put_escaped(&path, piece);
		else
			path.failed = true;
		free(piece);
		part += strcspn(part, "/");
		if (*part == '/') {
			buf_puts(&path, "/");
			part++;
		}
	}
	buf_puts(&path, after);
	return buf_take(&path);
}

/* Calls; says `done` about `name` or, with JSON output, prints the answer. Takes `path` and `body`. */
static int change(struct cli *cli, const char *method, char *path, json_t *body, const char *name, const char *done)
{
	json_t *answer = NULL;
	int code = path ? cli_call(cli, method, path, body, &answer) : cli_fail(cli, CLI_FAILED, NULL, "out of memory");
	if (code == CLI_DONE && cli_is_json(cli) && answer)
		output_json(cli, answer);
	else if (code == CLI_DONE)
		cli_note(cli, "%s %s", name, done);
	json_decref(answer);
	json_decref(body);
	free(path);
	return code;
}

int devices_drain_run(struct cli *cli)
{
	const char *reason = cli_value(cli, "reason");
	int code = cli_confirm(cli, "%s gets no new lease until it is undrained; what runs there goes on", cli->args[0]);
	if (code)
		return code;
	return change(cli, "POST", path_of("/v1/gpu/devices/", cli->args[0], "/drain"),
	              json_pack("{s:s}", "reason", reason ? reason : ""), cli->args[0],
	              "is draining   (back: sluicectl devices undrain)");
}

int devices_undrain_run(struct cli *cli)
{
	return change(cli, "POST", path_of("/v1/gpu/devices/", cli->args[0], "/undrain"), json_object(), cli->args[0],
	              "can be granted again");
}

int models_start_run(struct cli *cli)
{
	return change(cli, "POST", path_of("/v1/models/", cli->args[0], "/start"), json_object(), cli->args[0],
	              "gets one replica more   (see: sluicectl replicas)");
}

int models_stop_run(struct cli *cli)
{
	int code = cli_confirm(cli, "all replicas of %s are drained and stopped", cli->args[0]);
	if (code)
		return code;
	return change(cli, "POST", path_of("/v1/models/", cli->args[0], "/stop"), json_object(), cli->args[0],
	              "is being stopped   (see: sluicectl replicas)");
}

/* All values of a repeatable option, those with commas split. */
static json_t *list_of(const struct cli *cli, const char *name)
{
	json_t *list = json_array();
	for (int i = 0; i < cli->n_values; i++) {
		if (strcmp(cli->values[i].option->name, name) != 0)
			continue;
		for (const char *rest = cli->values[i].text; *rest;) {
			size_t len = strcspn(rest, ",");
			if (len)
				json_array_append_new(list, json_stringn(rest, len));
			rest += len;
			rest += *rest == ',';
		}
	}
	return list;
}

int tenants_create_run(struct cli *cli)
{
	const char *tier = cli_value(cli, "tier");
	json_t *body = json_pack("{s:s, s:o, s:o, s:b}", "tenant", cli->args[0], "queues", list_of(cli, "queue"), "users",
	                         list_of(cli, "user"), "operators", cli_flag(cli, "operators"));
	if (tier && body)
		json_object_set_new(body, "tier", json_string(tier));
	if (!body)
		return cli_fail(cli, CLI_USAGE, NULL, "the name is not valid UTF-8");
	return change(cli, "POST", path_of("/v1/tenants", "", ""), body, cli->args[0], "was created");
}

int tenants_delete_run(struct cli *cli)
{
	int code = cli_confirm(cli, "tenant %s goes; its usage stays in the ledger", cli->args[0]);
	if (code)
		return code;
	return change(cli, "DELETE", path_of("/v1/tenants/", cli->args[0], ""), NULL, cli->args[0], "was deleted");
}

static const char *own_name(void)
{
	const struct passwd *user = getpwuid(geteuid());
	return user ? user->pw_name : "";
}

static void put_new_key(struct cli *cli, const json_t *answer)
{
	const char *secret = json_get_str(answer, "secret", "");
	if (cli_is_json(cli)) {
		output_json(cli, answer);
		return;
	}
	cli_put_clean(&cli->out, secret);
	buf_puts(&cli->out, "\n");
	cli_note(cli, "Key %s of %s. It is shown this once: keep it now.", json_get_str(answer, "key", "?"),
	         json_get_str(answer, "tenant", "?"));
}

int keys_create_run(struct cli *cli)
{
	const char *tenant = cli_value(cli, "tenant"), *user = cli_value(cli, "user");
	json_t *answer = NULL, *body = json_object();
	if (cli->n_args)
		json_set_str(body, "name", str_of(cli->args[0]));
	if (tenant)
		json_set_str(body, "tenant", str_of(tenant));
	json_set_str(body, "user", str_of(user ? user : own_name()));
	if (cli_flag(cli, "expires"))
		json_object_set_new(body, "expires_s", json_integer(cli_number(cli, "expires", 0)));
	if (cli_value(cli, "role"))
		json_object_set_new(body, "roles", list_of(cli, "role"));
	int code = cli_call(cli, "POST", "/v1/keys", body, &answer);
	if (code == CLI_DONE)
		put_new_key(cli, answer);
	json_decref(answer);
	json_decref(body);
	return code;
}

int keys_disable_run(struct cli *cli)
{
	return change(cli, "POST", path_of("/v1/keys/", cli->args[0], "/disable"), json_object(), cli->args[0],
	              "is disabled, on every worker   (back: sluicectl keys enable)");
}

int keys_enable_run(struct cli *cli)
{
	return change(cli, "POST", path_of("/v1/keys/", cli->args[0], "/enable"), json_object(), cli->args[0], "works again");
}

int keys_delete_run(struct cli *cli)
{
	int code = cli_confirm(cli, "key %s goes for good; its usage stays in the ledger", cli->args[0]);
	if (code)
		return code;
	return change(cli, "DELETE", path_of("/v1/keys/", cli->args[0], ""), NULL, cli->args[0], "was deleted");
}

/* One's own lease is released without a question, somebody else's is not. */
static int release_confirm(struct cli *cli, const char *name)
{
	json_t *lease = NULL;
	char *path = path_of("/v1/gpu/leases/", name, "");
	int code = path ? cli_call(cli, "GET", path, NULL, &lease) : cli_fail(cli, CLI_FAILED, NULL, "out of memory");
	const char *user = json_get_str(lease, "user", "");
	if (code == CLI_DONE && strcmp(json_get_str(lease, "holder", ""), "replica") == 0)
		code = cli_confirm(cli, "lease %s, a replica of model %s, ends; requests that it serves get an error", json_get_str(lease, "lease", name),
		                   json_get_str(lease, "model", "?"));
	else if (code == CLI_DONE && strcmp(user, own_name()) != 0)
		code = cli_confirm(cli, "lease %s (%s) of user %s ends", json_get_str(lease, "lease", name),
		                   json_get_str(lease, "name", ""), *user ? user : "(none)");
	json_decref(lease);
	free(path);
	return code;
}

static int release_one(struct cli *cli, const char *name)
{
	struct buf query = { 0 };
	int code = cli_flag(cli, "yes") ? CLI_DONE : release_confirm(cli, name);
	if (code)
		return code;
	if (cli_flag(cli, "notice"))
		buf_printf(&query, "?notice_s=%lld", (long long) cli_number(cli, "notice", 0));
	if (cli_flag(cli, "reason")) {
		buf_puts(&query, query.len ? "&reason=" : "?reason=");
		cli_put_escaped(&query, cli_value(cli, "reason"));
	}
	buf_put(&query, "", 1);
	code = query.failed ? cli_fail(cli, CLI_FAILED, NULL, "out of memory")
	       : change(cli, "DELETE", path_of("/v1/gpu/leases/", name, query.data), NULL, name, "is being released");
	buf_free(&query);
	return code;
}

int release_run(struct cli *cli)
{
	int worst = CLI_DONE;
	for (int i = 0; i < cli->n_args; i++) {
		int code = release_one(cli, cli->args[i]);
		worst = code ? code : worst;
	}
	return worst;
}

int reload_run(struct cli *cli)
{
	json_t *answer = NULL;
	size_t i;
	json_t *warning;
	int code = cli_call(cli, "POST", "/v1/reload", NULL, &answer);
	if (code == CLI_DONE && cli_is_json(cli)) {
		output_json(cli, answer);
	} else if (code == CLI_DONE) {
		json_array_foreach (json_object_get(answer, "warnings"), i, warning)
			if (json_is_string(warning)) {
				const char *text = json_string_value(warning);
				bool says = strstr(text, "warning: "); /* alone, or behind a place in a file */
				cli_note(cli, "%s%s", says ? "" : "warning: ", text);
			}
		cli_note(cli, json_array_size(json_object_get(answer, "warnings")) ? "Configuration %s runs now, as far as no warning says otherwise"
		              : "Configuration %s runs now", json_get_str(answer, "config", "?"));
	}
	json_decref(answer);
	return code;
}

int drain_run(struct cli *cli)
{
	int code = cli_confirm(cli, "sluiced takes no new request or lease until it is undrained; what runs goes on");
	if (code)
		return code;
	return change(cli, "POST", path_of("/v1/drain", "", ""), json_object(), "sluiced",
	              "is draining   (back: sluicectl undrain)");
}

int undrain_run(struct cli *cli)
{
	return change(cli, "POST", path_of("/v1/undrain", "", ""), json_object(), "sluiced",
	              "takes requests and leases again");
}

/* SPDX-License-Identifier: Apache-2.0 */
/* call.c - one call to sluiced, from the command's side. */
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/cli/cli.h"

void cli_put_escaped(struct buf *out, const char *text)
{
	for (const unsigned char *p = (const unsigned char *) text; *p; p++) {
		bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
		             strchr("-._~", *p) != NULL;
		if (plain)
			buf_put(out, p, 1);
		else
			buf_printf(out, "%%%02X", *p);
	}
}

static void put_value(struct buf *out, const struct cli_value *value)
{
	int64_t ms;
	char stamp[32];
	if (value->option->type == OPTION_TIME && cli_time(value->text, clock_wall_ms(), &ms)) {
		clock_rfc3339((uint64_t) ms, stamp);
		cli_put_escaped(out, stamp);
	} else {
		cli_put_escaped(out, value->text);
	}
}

void cli_put_query(struct cli *cli, struct buf *out, bool more)
{
	for (int i = 0; i < cli->n_values; i++) {
		const char *query = cli->values[i].option->query;
		if (!query)
			continue;
		buf_printf(out, "%c%s", more ? '&' : '?', query);
		more = true;
		if (strchr(query, '='))
			continue;
		buf_puts(out, "=");
		put_value(out, &cli->values[i]);
	}
}

/* The answer's body is in call->body when this returns 0. */
static int call_wait(struct cli *cli, struct client_call *call, const char *method, const char *target, sl_str body)
{
	if (client_start(call, &cli->address, method, target, body.ptr ? "application/json" : NULL, body))
		client_wait(call, cli->timeout_ms);
	if (call->state != CLIENT_DONE)
		return cli_fail_call(cli, call);
	if (call->status / 100 != 2)
		return cli_fail_answer(cli, call->status, buf_str(&call->body));
	return CLI_DONE;
}

int cli_call(struct cli *cli, const char *method, const char *target, const json_t *body, json_t **answer)
{
	struct client_call call = { .fd = -1 };
	sl_error error;
	char *text = body ? json_text(body) : NULL;
	json_t *document = NULL;
	int code;
	if (body && !text)
		return cli_fail(cli, CLI_FAILED, NULL, "out of memory");
	code = call_wait(cli, &call, method, target, str_of(text));
	if (code == CLI_DONE && call.body.len) {
		document = json_parse(buf_str(&call.body), &error);
		if (!document)
			code = cli_fail(cli, CLI_FAILED, NULL, "%s answered with what is %s", cli->address.text, error.text);
	}
	client_close(&call);
	free(text);
	if (code == CLI_DONE && answer)
		*answer = document;
	else
		json_decref(document);
	return code;
}

int cli_call_raw(struct cli *cli, const char *target, struct buf *answer)
{
	struct client_call call = { .fd = -1 };
	int code = call_wait(cli, &call, "GET", target, (sl_str){ 0 });
	if (code == CLI_DONE) {
		*answer = call.body;
		call.body = (struct buf){ 0 };
	}
	client_close(&call);
	return code;
}

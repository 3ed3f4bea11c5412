/* SPDX-License-Identifier: Apache-2.0 */
/* ending.c - what a lease's end record means. */
#include "core/cli/ending.h"

#include <string.h>

#include "core/base/json.h"
#include "core/base/str.h"
#include "core/cli/format.h"

static bool has_begun(const json_t *lease)
{
	return json_is_string(json_object_get(lease, "started_at"));
}

static bool state_is(const json_t *lease, const char *state)
{
	return strcmp(json_get_str(lease, "state", ""), state) == 0;
}

int ending_exit(const json_t *lease)
{
	int64_t code = json_get_int(lease, "exit_code", -1), number = json_get_int(lease, "signal", 0);
	bool own = code >= 0 && code <= 255;
	if (!has_begun(lease)) /* the program itself could not be started: these two are told apart */
		return code == CLI_NOT_EXECUTABLE || code == CLI_NOT_FOUND ? (int) code : CLI_NOT_BEGUN;
	if (state_is(lease, "expired"))
		return CLI_TIME_LIMIT;
	if (number > 0 && number < 128)
		return 128 + (int) number;
	if (own)
		return (int) code;
	return state_is(lease, "preempted") || state_is(lease, "cancelled") ? 143 : CLI_NOT_BEGUN;
}

static void put_how(struct buf *out, const json_t *lease)
{
	static const char *const names[] = {
		[1] = "HUP", [2] = "INT", [3] = "QUIT", [4] = "ILL", [6] = "ABRT", [7] = "BUS", [8] = "FPE", [9] = "KILL",
		[11] = "SEGV", [13] = "PIPE", [14] = "ALRM", [15] = "TERM"
	};
	int64_t number = json_get_int(lease, "signal", 0), code = json_get_int(lease, "exit_code", -1);
	const char *name = number > 0 && number < (int64_t) (sizeof names / sizeof names[0]) ? names[number] : NULL;
	if (name)
		buf_printf(out, ", ended by SIG%s", name);
	else if (number > 0)
		buf_printf(out, ", ended by signal %lld", (long long) number);
	else if (code >= 0)
		buf_printf(out, ", exit %lld", (long long) code);
}

static void put_reason(struct buf *out, const json_t *lease, const char *before)
{
	const char *reason = json_get_str(lease, "reason", "");
	size_t len = strlen(reason);
	if (len == 0)
		return;
	buf_puts(out, before);
	cli_put_clean(out, reason);
	if (reason[len - 1] == '.') /* the sentence's own end comes later */
		out->len--;
}

bool ending_costs(const json_t *lease)
{
	return !format_money_is_zero(json_get_str(lease, "cost", "0"));
}

static void put_what(struct buf *out, const json_t *lease, const char *currency)
{
	buf_puts(out, " ");
	format_gpus(out, json_get_int(lease, "gpus", 0), json_get_str(lease, "kind", NULL));
	if (currency && ending_costs(lease)) {
		buf_puts(out, ", ");
		format_money(out, json_get_str(lease, "cost", "0"));
		buf_puts(out, " ");
		cli_put_clean(out, currency);
	}
	buf_puts(out, ".");
}

/* Did the program fail to start, and does the reason say why? "exit code 127" is the program's own word. */
static bool could_not_start(const json_t *lease)
{
	int64_t code = json_get_int(lease, "exit_code", -1);
	return (code == CLI_NOT_EXECUTABLE || code == CLI_NOT_FOUND) &&
	       !str_starts(str_of(json_get_str(lease, "reason", "")), STR("exit code "));
}

void ending_line(struct buf *out, const json_t *lease, const char *currency)
{
	const char *state = json_get_str(lease, "state", "ended");
	bool plain = strcmp(state, "ended") == 0;
	cli_put_clean(out, json_get_str(lease, "lease", "The lease"));
	buf_puts(out, " ");
	if (!has_begun(lease)) {
		cli_put_clean(out, plain ? "ended" : state);
		buf_puts(out, " before it began");
		put_reason(out, lease, ": ");
		buf_puts(out, ".");
		return;
	}
	cli_put_clean(out, plain ? "done" : state);
	buf_puts(out, plain ? " in " : " after ");
	format_seconds(out, json_number_value(json_object_get(lease, "run_s")));
	put_how(out, lease);
	if (!plain || could_not_start(lease))
		put_reason(out, lease, ": ");
	buf_puts(out, ".");
	put_what(out, lease, currency);
}

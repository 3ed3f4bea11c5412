/* SPDX-License-Identifier: Apache-2.0 */
/* lease_logs.c - what a lease's program has written, as far as it is kept. */
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/control/inner.h"

enum { LOG_MAX = 8 * 1024 * 1024 };

/* All that is kept, piece by piece. */
struct log_answer {
	struct buf bytes;
	uint64_t number;
	char source[8];
	size_t left;
};

static void free_log_answer(void *data)
{
	struct log_answer *answer = data;
	buf_free(&answer->bytes);
	free(answer);
}

static bool ask_logs(struct call *call, int64_t from, sl_error *error);

static void on_logs(void *arg, const char *data, size_t len, uint64_t from, uint64_t next)
{
	struct call *call = arg;
	struct log_answer *answer = call->data;
	sl_error error = { 0 };
	(void) from;
	if (call->x && data) {
		len = len < answer->left ? len : answer->left;
		answer->left -= len;
		buf_put(&answer->bytes, data, len);
	}
	if (call->x && !data && !answer->bytes.len)
		call_fail(call, 404, "no_log", NULL, NULL, "the log of L%llu is no longer kept (" POOL_ENDED_WORDS "), or its agent is away",
		          (unsigned long long) answer->number);
	else if (call->x && (!data || !len || !answer->left || next > INT64_MAX || !ask_logs(call, (int64_t) next, &error)))
		call_text(call, 200, "application/octet-stream", buf_str(&answer->bytes));
	call_unref(call);
}

static bool ask_logs(struct call *call, int64_t from, sl_error *error)
{
	struct log_answer *answer = call->data;
	call_ref(call);
	if (pool_logs(call->control->pool, answer->number, answer->source, from, answer->left, on_logs, call, error) == SL_OK)
		return true;
	call_unref(call);
	return false;
}

void control_lease_logs(struct call *call)
{
	int64_t from, max;
	uint64_t number;
	char source[8];
	sl_error error = { 0 };
	json_t *lease = call_own_log(call, &number);
	if (!lease)
		return;
	bool open = !control_lease_over(lease);
	json_decref(lease);
	if (!call_query(call, "source", source, sizeof source))
		strcpy(source, "out");
	if (strcmp(source, "out") != 0 && strcmp(source, "err") != 0) {
		call_fail(call, 400, "invalid_parameter", "source", "source=out", "source is out or err");
		return;
	}
	if (!call_query_int(call, "from", -INT64_MAX, INT64_MAX, 0, &from) || !call_query_int(call, "max", 1, LOG_MAX, LOG_MAX, &max))
		return;
	struct log_answer *answer = calloc(1, sizeof *answer);
	call->data = answer;
	call->free_data = free_log_answer;
	if (!answer) {
		call_fail(call, 503, "out_of_memory", NULL, NULL, "out of memory");
		return;
	}
	answer->number = number;
	answer->left = (size_t) max;
	memcpy(answer->source, source, sizeof source);
	if (ask_logs(call, from, &error))
		return;
	if (open && error.code == SL_ENOTFOUND) /* it does not run yet: it has written nothing */
		call_text(call, 200, "application/octet-stream", STR(""));
	else
		call_fail_error(call, &error);
}

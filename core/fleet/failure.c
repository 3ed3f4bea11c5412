/* SPDX-License-Identifier: Apache-2.0 */
/* failure.c - why a replica failed, in words, with the last lines that its engine wrote. */
#include "core/fleet/inner.h"

#include <stdlib.h>

#include "core/base/json.h"
#include "core/base/str.h"

enum { LOG_TAIL_BYTES = 2048, LOG_TAIL_LINES = 3 };

void fleet_failure_set(struct fleet *fleet, struct fleet_model *model, const char *replica, uint64_t lease, const char *why)
{
	pthread_mutex_lock(&fleet->lock);
	str_copy(model->failure.replica, sizeof model->failure.replica, str_of(replica));
	model->failure.lease = lease;
	str_copy(model->failure.why, sizeof model->failure.why, str_of(why));
	pthread_mutex_unlock(&fleet->lock);
}

void fleet_failure_words(const json_t *lease, char *out, size_t room)
{
	int64_t code = json_get_int(lease, "exit_code", -1), signal = json_get_int(lease, "signal", 0);
	const char *reason = json_get_str(lease, "reason", "");
	/* The pool's plain words for the same. */
	if (str_starts(str_of(reason), STR("ended by signal")) || str_starts(str_of(reason), STR("exit ")))
		reason = "";
	if (json_get_bool(lease, "oom", false))
		snprintf(out, room, "its engine ran out of memory and was killed by the kernel");
	else if (signal > 0)
		snprintf(out, room, "its engine was killed by signal %lld%s%s", (long long) signal, reason[0] ? ": " : "", reason);
	else if (code == 0)
		snprintf(out, room, "its engine ended by itself with exit code 0%s%s", reason[0] ? ": " : "", reason);
	else if (code > 0)
		snprintf(out, room, "its engine ended with exit code %lld%s%s", (long long) code, reason[0] ? ": " : "", reason);
	else
		snprintf(out, room, "its lease ended: %s", reason[0] ? reason : json_get_str(lease, "state", "unknown"));
}

/* The last lines of a log as one: "a / b / c". */
static void join_lines(sl_str log, char *out, size_t room)
{
	while (log.len && (log.ptr[log.len - 1] == '\n' || log.ptr[log.len - 1] == '\r'))
		log.len--;
	size_t from = log.len;
	for (int lines = 0; from > 0; from--)
		if (log.ptr[from - 1] == '\n' && ++lines == LOG_TAIL_LINES)
			break;
	size_t used = 0;
	for (size_t i = from; i < log.len && used + 4 < room; i++) {
		unsigned char c = (unsigned char) log.ptr[i];
		if (c == '\n') {
			memcpy(out + used, " / ", 3);
			used += 3;
		} else if (c >= ' ' && c != 0x7f) {
			out[used++] = (char) c;
		}
	}
	out[used] = '\0';
}

static void unlink_wait(struct log_wait *wait)
{
	*wait->link = wait->next;
	if (wait->next)
		wait->next->link = wait->link;
}

static void on_logs(void *arg, const char *data, size_t len, uint64_t from, uint64_t next)
{
	struct log_wait *wait = arg;
	struct fleet *fleet = wait->fleet;
	(void) from;
	(void) next;
	if (fleet)
		unlink_wait(wait);
	struct fleet_model *model = fleet ? fleet_model_find(fleet, str_of(wait->model)) : NULL;
	if (model && data && len) {
		char tail[256];
		join_lines((sl_str){ data, len }, tail, sizeof tail);
		pthread_mutex_lock(&fleet->lock);
		size_t used = strlen(model->failure.why);
		if (tail[0] && strcmp(model->failure.replica, wait->replica) == 0)
			snprintf(model->failure.why + used, sizeof model->failure.why - used, "; it wrote last: %s", tail);
		pthread_mutex_unlock(&fleet->lock);
		fleet_look_in(fleet, 0);
	}
	free(wait);
}

void fleet_failure_ask_logs(struct fleet *fleet, const struct replica *replica)
{
	struct log_wait *wait = calloc(1, sizeof *wait);
	if (!wait || !replica->lease) {
		free(wait);
		return;
	}
	wait->fleet = fleet;
	str_copy(wait->model, sizeof wait->model, str_of(replica->model->name));
	str_copy(wait->replica, sizeof wait->replica, str_of(replica->name));
	/* Linked first: the pool may call back before it returns. */
	wait->next = fleet->logs;
	wait->link = &fleet->logs;
	if (wait->next)
		wait->next->link = &wait->next;
	fleet->logs = wait;
	sl_error error;
	if (pool_logs(fleet->pool, replica->lease, "err", -LOG_TAIL_BYTES, LOG_TAIL_BYTES, on_logs, wait, &error) != SL_OK) {
		unlink_wait(wait);
		free(wait);
	}
}

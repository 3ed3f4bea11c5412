/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - one line a request, in logfmt. Never a prompt, never a key beyond its prefix. */
#include <string.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/base/text.h"
#include "core/gateway/worker.h"

enum { LINE_MAX_BYTES = 4096 };

/* A value that may hold anything: quoted where it must be. */
static char *put_value(char *at, const char *name, const char *value)
{
	at = text_puts(at, name);
	char *start = at;
	bool plain = true;
	for (const unsigned char *p = (const unsigned char *) value; *p; p++) {
		plain = plain && *p > ' ' && *p < 0x7f && *p != '"' && *p != '=';
		*at++ = (char) *p;
	}
	if (plain)
		return at;
	struct buf quoted = { 0 };
	buf_put_json(&quoted, str_of(value));
	at = quoted.failed ? text_puts(start, "?") : text_put(start, quoted.data, quoted.len);
	buf_free(&quoted);
	return at;
}

static char *put_number(char *at, const char *name, int64_t value)
{
	return text_put_i64(text_puts(at, name), value);
}

/* 10^-12 of the currency as a decimal with at most six digits: for people, not for bills. */
static char *put_cost(char *at, int64_t cost)
{
	int64_t micro = cost / 1000000;
	at = text_puts(text_put_i64(text_puts(at, " cost="), micro / 1000000), ".");
	for (int i = 5; i >= 0; i--, micro /= 10)
		at[i] = (char) ('0' + micro % 10);
	return at + 6;
}

void request_log(struct request *r, uint64_t duration_us, int64_t cost)
{
	char line[LINE_MAX_BYTES], ts[32];
	/* A byte of a quoted value becomes six at most. */
	_Static_assert(6 * (sizeof r->identity.tenant + sizeof r->identity.user + sizeof r->identity.key + sizeof r->model_name +
	               sizeof r->replica_name + sizeof r->client->peer + 64) + 10 * TEXT_NUMBER_MAX + 512 < sizeof line, "a line fits");
	clock_rfc3339(r->started_ms, ts);
	char *at = text_puts(text_puts(text_puts(line, "ts="), ts), " level=info msg=request req=");
	at = text_puts(at, r->id);
	at = put_value(at, " tenant=", r->identity.tenant);
	at = put_value(at, " user=", r->identity.user);
	at = put_value(at, " key=", r->identity.key);
	at = text_puts(text_puts(at, " door="), doors[r->door].name);
	at = put_value(at, " model=", r->model_name);
	at = put_value(at, " replica=", r->replica_name);
	at = put_number(at, " status=", r->status);
	at = put_value(at, " code=", r->error_code ? r->error_code : "");
	at = put_number(at, " wait_ms=", (int64_t) (r->wait_ns / 1000000));
	at = put_number(at, " ttft_ms=", r->first_byte_ns ? (int64_t) ((r->first_byte_ns - r->started_ns) / 1000000) : 0);
	at = put_number(at, " dur_ms=", (int64_t) (duration_us / 1000));
	at = put_number(at, " in=", r->usage.input > 0 ? r->usage.input : 0);
	at = put_number(at, " cached=", r->usage.cached > 0 ? r->usage.cached : 0);
	at = put_number(at, " out=", r->usage.output > 0 ? r->usage.output : 0);
	at = put_cost(at, cost);
	at = put_number(at, " tries=", r->n_tried);
	at = put_value(at, " client=", r->client ? r->client->peer : "gone");
	log_queue(line, (size_t) (at - line));
}

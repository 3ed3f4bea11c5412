/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - one line a request, in logfmt. Never a prompt, never a key beyond its prefix. */
#include <string.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/gateway/worker.h"

/* A value that may hold anything: quoted where it must be. */
static void put_value(struct buf *out, const char *name, const char *value)
{
	buf_puts(out, name);
	bool plain = true;
	for (const unsigned char *p = (const unsigned char *) value; *p; p++)
		plain = plain && *p > ' ' && *p < 0x7f && *p != '"' && *p != '=';
	if (plain)
		buf_puts(out, value);
	else
		buf_put_json(out, str_of(value));
}

static void put_number(struct buf *out, const char *name, int64_t value)
{
	buf_puts(out, name);
	buf_put_i64(out, value);
}

/* 10^-12 of the currency as a decimal with at most six digits: for people, not for bills. */
static void put_cost(struct buf *out, int64_t cost)
{
	char digits[7];
	int64_t micro = cost / 1000000;
	buf_puts(out, " cost=");
	buf_put_i64(out, micro / 1000000);
	for (int i = 5; i >= 0; i--, micro /= 10)
		digits[i] = (char) ('0' + micro % 10);
	digits[6] = '\0';
	buf_put(out, ".", 1);
	buf_put(out, digits, 6);
}

void request_log(struct request *r, uint64_t duration_us, int64_t cost)
{
	struct buf *out = &r->worker->log;
	char ts[32];
	buf_clear(out);
	clock_rfc3339(r->started_ms, ts);
	buf_puts(out, "ts=");
	buf_puts(out, ts);
	buf_puts(out, " level=info msg=request req=");
	buf_puts(out, r->id);
	put_value(out, " tenant=", r->identity.tenant);
	put_value(out, " user=", r->identity.user);
	put_value(out, " key=", r->identity.key);
	buf_puts(out, r->door == BODY_CHAT ? " door=chat" : r->door == BODY_COMPLETIONS ? " door=completions" : " door=embeddings");
	put_value(out, " model=", r->model_name);
	put_value(out, " replica=", r->replica_name);
	put_number(out, " status=", r->status);
	put_value(out, " code=", r->error_code ? r->error_code : "");
	put_number(out, " wait_ms=", (int64_t) (r->wait_ns / 1000000));
	put_number(out, " ttft_ms=", r->first_byte_ns ? (int64_t) ((r->first_byte_ns - r->started_ns) / 1000000) : 0);
	put_number(out, " dur_ms=", (int64_t) (duration_us / 1000));
	put_number(out, " in=", r->usage.input > 0 ? r->usage.input : 0);
	put_number(out, " cached=", r->usage.cached > 0 ? r->usage.cached : 0);
	put_number(out, " out=", r->usage.output > 0 ? r->usage.output : 0);
	put_cost(out, cost);
	put_number(out, " tries=", r->n_tried);
	put_value(out, " client=", r->client ? r->client->peer : "gone");
	if (!out->failed)
		log_queue(out->data, out->len);
}

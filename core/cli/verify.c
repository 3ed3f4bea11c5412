/* SPDX-License-Identifier: Apache-2.0 */
/* verify.c - sluicectl ledger verify: part by part, each begun with the digest that the part before ended with. */
#include <inttypes.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/str.h"
#include "core/cli/cli.h"

enum { DIGEST_LEN = 64 };

struct chain {
	int64_t from;
	char digest[DIGEST_LEN + 1];
	int64_t records;
	int64_t folded;   /* up to here only digests are left */
};

/* One part. *answer is its verdict. */
static int look(struct cli *cli, const struct chain *chain, const char *more, json_t **answer)
{
	struct buf target = { 0 };
	buf_printf(&target, "/v1/ledger/verify?from=%" PRId64 "%s", chain->from, more);
	if (chain->digest[0])
		buf_printf(&target, "&digest=%s", chain->digest);
	buf_put(&target, "", 1);
	int code = target.failed ? cli_fail(cli, CLI_FAILED, NULL, "out of memory") : cli_call(cli, "GET", target.data, NULL, answer);
	buf_free(&target);
	if (code == CLI_DONE && !json_is_boolean(json_object_get(*answer, "ok")))
		code = cli_fail(cli, CLI_FAILED, NULL, "%s answered with something else than a verdict", cli->address.text);
	return code;
}

static int say_wrong(struct cli *cli, const json_t *verdict)
{
	int64_t verified = json_get_int(verdict, "verified", 0);
	char until[64];
	if (verified)
		snprintf(until, sizeof until, "ok up to record %" PRId64 ". ", verified);
	if (cli_is_json(cli)) {
		char *text = json_dumps(verdict, JSON_COMPACT);
		buf_printf(&cli->out, "%s\n", text ? text : "{}");
		free(text);
		return CLI_FAILED;
	}
	return cli_fail(cli, CLI_FAILED, NULL, "%s%s", verified ? until : "", json_get_str(verdict, "why", "the chain is broken"));
}

static int say_sound(struct cli *cli, const json_t *verdict, const struct chain *chain)
{
	int64_t first = json_get_int(verdict, "first", 0), verified = json_get_int(verdict, "verified", 0);
	const char *digest = json_get_str(verdict, "digest", "");
	if (cli_is_json(cli)) {
		json_t *copy = json_deep_copy(verdict);
		json_object_set_new(copy, "records", json_integer(chain->records));
		json_object_set_new(copy, "folded", chain->folded ? json_integer(chain->folded) : json_null());
		char *text = json_dumps(copy, JSON_COMPACT);
		buf_printf(&cli->out, "%s\n", text ? text : "{}");
		free(text);
		json_decref(copy);
	} else if (!first) {
		buf_puts(&cli->out, "no record has a digest yet\n");
	} else {
		buf_printf(&cli->out, "ok up to record %" PRId64 "\n", verified);
		if (first > 1)
			buf_printf(&cli->out, "records before %" PRId64 " have no digest: an older sluice wrote them\n", first);
		if (chain->folded)
			buf_printf(&cli->out, "records up to %" PRId64 " became sums: of them there are digests only, which are believed\n",
			           chain->folded);
		buf_printf(&cli->out, "digest  %" PRId64 ":", verified);
		cli_put_clean(&cli->out, digest);
		buf_puts(&cli->out, "\n");
	}
	return CLI_DONE;
}

/* What --known says must still be in the chain. */
static int check_known(struct cli *cli)
{
	const char *known = cli_value(cli, "known"), *colon = known ? strchr(known, ':') : NULL;
	struct chain chain = { 0 };
	uint64_t record = 0;
	json_t *verdict = NULL;
	if (!known)
		return CLI_DONE;
	if (!colon || !str_to_u64((sl_str){ known, (size_t) (colon - known) }, INT64_MAX - 1, &record) ||
	    strlen(colon + 1) != DIGEST_LEN || strspn(colon + 1, "0123456789abcdef") != DIGEST_LEN)
		return cli_fail(cli, CLI_USAGE, NULL, "--known takes what sluicectl ledger verify has printed: RECORD:DIGEST");
	chain.from = (int64_t) record + 1;
	memcpy(chain.digest, colon + 1, DIGEST_LEN);
	int code = look(cli, &chain, "&max=1", &verdict);
	if (code == CLI_DONE && json_get_int(verdict, "verified", 0) < (int64_t) record && json_is_true(json_object_get(verdict, "ok")))
		code = cli_fail(cli, CLI_FAILED, NULL, "record %" PRIu64 " is not there any more: the records end before it", record);
	else if (code == CLI_DONE && !json_is_true(json_object_get(verdict, "ok")))
		code = say_wrong(cli, verdict);
	json_decref(verdict);
	return code;
}

int ledger_verify_run(struct cli *cli)
{
	struct chain chain = { 0 };
	int code = check_known(cli);
	while (code == CLI_DONE) {
		json_t *verdict = NULL;
		code = look(cli, &chain, "", &verdict);
		if (code == CLI_DONE) {
			chain.records += json_get_int(verdict, "records", 0);
			chain.from = json_get_int(verdict, "next", 0);
			if (json_get_int(verdict, "folded", 0))
				chain.folded = json_get_int(verdict, "folded", 0);
			snprintf(chain.digest, sizeof chain.digest, "%.64s", json_get_str(verdict, "digest", ""));
			if (!json_is_true(json_object_get(verdict, "ok")))
				code = say_wrong(cli, verdict);
			else if (!chain.from)
				code = say_sound(cli, verdict, &chain);
		}
		json_decref(verdict);
		if (!chain.from)
			break;
		if (code == CLI_DONE && cli->tty_err)
			cli_note(cli, "ok up to record %" PRId64 ", going on", chain.from - 1);
	}
	return code;
}

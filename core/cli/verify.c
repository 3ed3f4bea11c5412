/* SPDX-License-Identifier: Apache-2.0 */
/* verify.c - sluicectl ledger verify: part by part, each begun with the digest that the part before ended with; asked of
 * the daemon, or worked out here from a store's file. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/str.h"
#include "core/cli/cli.h"
#include "core/ledger/bill.h"
#include "core/ledger/ledger.h"
#include "core/plugin/plugin.h"

enum { DIGEST_LEN = 64, PART = 50000 /* records of one look */ };

struct chain {
	int64_t from;
	char digest[DIGEST_LEN + 1];
	int64_t records;
	int64_t folded;   /* up to here only digests are left */
};

/* A file that is looked at here; NULL: the daemon is asked. */
static struct plugin *open_file(struct cli *cli, const char *file, int *code)
{
	static const struct plugin_services none = { .ctx = NULL };
	char path[PATH_MAX];
	sl_error error = { 0 };
	struct plugin *store = NULL;
	*code = CLI_DONE;
	if (!file)
		return NULL;
	if (!realpath(file, path)) {
		*code = cli_fail(cli, CLI_FAILED, NULL, "cannot open %s: %s", file, strerror(errno));
		return NULL;
	}
	json_t *options = json_object();
	json_set_str(options, "path", str_of(path));
	json_object_set_new(options, "read_only", json_true());
	const struct plugin_spec spec = { .kind = SL_KIND_STORE, .name = "sqlite", .options = options };
	if (!(store = plugin_open(&spec, &none, NULL, &error)))
		*code = cli_fail(cli, CLI_FAILED, NULL, "%s", error.text);
	json_decref(options);
	return store;
}

static void read_hex(const char *text, uint8_t out[32])
{
	for (size_t i = 0; i < 32; i++) {
		char pair[3] = { text[2 * i], text[2 * i + 1], '\0' };
		out[i] = (uint8_t) strtoul(pair, NULL, 16);
	}
}

static int look_here(struct cli *cli, struct plugin *store, const struct chain *chain, uint64_t most, json_t **answer)
{
	struct ledger_verdict verdict;
	sl_error error = { 0 };
	uint8_t digest[32];
	if (chain->digest[0])
		read_hex(chain->digest, digest);
	int code = ledger_verify(plugin_ops(store), plugin_self(store), (uint64_t) chain->from, chain->digest[0] ? digest : NULL, most,
	                         &verdict, &error);
	if (code != SL_OK)
		return cli_fail(cli, CLI_FAILED, NULL, "%s", error.text);
	*answer = ledger_verdict_json(&verdict);
	return CLI_DONE;
}

/* One part. *answer is its verdict. */
static int look(struct cli *cli, struct plugin *store, const struct chain *chain, uint64_t most, json_t **answer)
{
	struct buf target = { 0 };
	if (store)
		return look_here(cli, store, chain, most, answer);
	buf_printf(&target, "/v1/ledger/verify?from=%" PRId64 "&max=%" PRIu64, chain->from, most);
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
static int check_known(struct cli *cli, struct plugin *store)
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
	int code = look(cli, store, &chain, 1, &verdict);
	if (code == CLI_DONE && json_get_int(verdict, "verified", 0) < (int64_t) record && json_is_true(json_object_get(verdict, "ok")))
		code = cli_fail(cli, CLI_FAILED, NULL, "record %" PRIu64 " is not there any more: the records end before it", record);
	else if (code == CLI_DONE && !json_is_true(json_object_get(verdict, "ok")))
		code = say_wrong(cli, verdict);
	json_decref(verdict);
	return code;
}

static int verify_all(struct cli *cli, struct plugin *store)
{
	struct chain chain = { 0 };
	int code = check_known(cli, store);
	while (code == CLI_DONE) {
		json_t *verdict = NULL;
		code = look(cli, store, &chain, PART, &verdict);
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

int ledger_verify_run(struct cli *cli)
{
	int code;
	struct plugin *store = open_file(cli, cli_value(cli, "file"), &code);
	if (code == CLI_DONE)
		code = verify_all(cli, store);
	if (store)
		plugin_close(store, 0);
	return code;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* status.c - sluicectl status: at most a screen, and what needs a person. */
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/cli/output.h"

static void put_word(struct cli *cli, const char *word, int color)
{
	if (cli->color_out && color)
		buf_printf(&cli->out, "\033[%dm", color);
	cli_put_clean(&cli->out, word);
	if (cli->color_out && color)
		buf_puts(&cli->out, "\033[0m");
}

static void put_head(struct cli *cli, const json_t *s, const struct format_world *world)
{
	bool ready = json_get_bool(s, "ready", false);
	const json_t *door = json_object_get(s, "door");
	uint64_t at;
	buf_puts(&cli->out, "sluice ");
	cli_put_clean(&cli->out, json_get_str(s, "version", "?"));
	buf_puts(&cli->out, "   up ");
	format_value(&cli->out, world, AS_SECONDS, json_object_get(s, "up_s"));
	buf_puts(&cli->out, "   door ");
	format_value(&cli->out, world, AS_TEXT, door);
	buf_puts(&cli->out, "   config ");
	cli_put_clean(&cli->out, json_get_str(s, "config", "-"));
	if (clock_parse(str_of(json_get_str(s, "config_at", "")), &at) && world->now_ms >= at) {
		buf_puts(&cli->out, " (");
		format_seconds(&cli->out, (double) ((world->now_ms - at) / 1000));
		buf_puts(&cli->out, " ago)");
	}
	buf_puts(&cli->out, "   ");
	/* Ready is whoever answers requests; with an agent away or a device broken that is not all. */
	if (ready && json_array_size(json_object_get(s, "needs_you")) == 0)
		put_word(cli, "OK", 32);
	else
		put_word(cli, json_get_str(s, "state", "not ready"), ready ? 33 : 31);
	if (!ready && json_get_str(s, "not_ready", NULL)) {
		buf_puts(&cli->out, ": ");
		cli_put_clean(&cli->out, json_get_str(s, "not_ready", ""));
	}
	buf_puts(&cli->out, "\n");
}

/* "   12 leased" for a count that is not zero, or always. */
static void put_count(struct cli *cli, const json_t *object, const char *field, const char *word, bool always)
{
	int64_t n = json_get_int(object, field, 0);
	if (n == 0 && !always)
		return;
	buf_puts(&cli->out, "   ");
	format_count(&cli->out, n);
	buf_printf(&cli->out, " %s", word);
}

static void put_gpu_line(struct cli *cli, const json_t *s)
{
	const json_t *gpus = json_object_get(s, "gpus"), *agents = json_object_get(s, "agents");
	size_t machines = json_array_size(agents);
	buf_printf(&cli->out, "GPUs     %lld on %zu machine%s", (long long) json_get_int(gpus, "total", 0), machines,
	           machines == 1 ? "" : "s");
	put_count(cli, gpus, "leased", "leased", true);
	put_count(cli, gpus, "free", "free", true);
	put_count(cli, gpus, "draining", "drained", false);
	put_count(cli, gpus, "faulty", "faulty", false);
	put_count(cli, gpus, "held", "held for a lease", false);
	put_count(cli, gpus, "unknown", "of an agent that is away", false);
	buf_puts(&cli->out, "\n");
}

static void put_lease_line(struct cli *cli, const json_t *s, const struct format_world *world)
{
	const json_t *leases = json_object_get(s, "leases");
	buf_printf(&cli->out, "leases   %lld running", (long long) json_get_int(leases, "running", 0));
	put_count(cli, leases, "waiting", "waiting", true);
	if (json_get_int(leases, "waiting", 0) > 0) {
		buf_puts(&cli->out, ", longest ");
		format_value(&cli->out, world, AS_SECONDS, json_object_get(leases, "longest_wait_s"));
	}
	buf_puts(&cli->out, "\n");
}

static void put_model_line(struct cli *cli, const json_t *s)
{
	const json_t *models = json_object_get(s, "models"), *requests = json_object_get(s, "requests");
	int64_t total = json_get_int(requests, "total", 0), errors = json_get_int(requests, "errors", 0);
	buf_printf(&cli->out, "models   %lld ready", (long long) json_get_int(models, "ready", 0));
	put_count(cli, models, "starting", "starting", false);
	put_count(cli, models, "none", "without a replica", false);
	put_count(cli, models, "failed", "failed", false);
	put_count(cli, requests, "active", "requests active", true);
	put_count(cli, requests, "total", "since the start", true);
	if (errors > 0 && total > 0)
		buf_printf(&cli->out, "   errors %.1f%%", 100.0 * (double) errors / (double) total);
	buf_puts(&cli->out, "\n");
}

static void put_today_line(struct cli *cli, const json_t *s, const struct format_world *world)
{
	const json_t *today = json_object_get(s, "today");
	buf_puts(&cli->out, "today    ");
	format_value(&cli->out, world, AS_COUNT, json_object_get(today, "requests"));
	buf_puts(&cli->out, " requests   ");
	format_value(&cli->out, world, AS_TOKENS, json_object_get(today, "input_tokens"));
	buf_puts(&cli->out, " tokens in   ");
	format_value(&cli->out, world, AS_TOKENS, json_object_get(today, "output_tokens"));
	buf_puts(&cli->out, " out   ");
	format_value(&cli->out, world, AS_MONEY, json_object_get(today, "cost"));
	buf_puts(&cli->out, " ");
	cli_put_clean(&cli->out, json_get_str(s, "currency", ""));
	buf_puts(&cli->out, "\n");
}

static void put_metrics_line(struct cli *cli, const json_t *s)
{
	const char *metrics = json_get_str(s, "metrics", NULL);
	if (!metrics)
		return;
	buf_puts(&cli->out, "metrics  ");
	cli_put_clean(&cli->out, metrics);
	buf_puts(&cli->out, "\n");
}

static void put_needs(struct cli *cli, const json_t *s)
{
	const json_t *needs = json_object_get(s, "needs_you");
	size_t i;
	json_t *need;
	if (json_array_size(needs) == 0)
		return;
	put_word(cli, "needs you", 33);
	buf_puts(&cli->out, "\n");
	json_array_foreach (needs, i, need) {
		buf_puts(&cli->out, "  ");
		cli_put_clean(&cli->out, json_get_str(need, "text", "-"));
		buf_puts(&cli->out, "     ");
		cli_put_clean(&cli->out, json_get_str(need, "command", ""));
		buf_puts(&cli->out, "\n");
	}
}

int status_run(struct cli *cli)
{
	struct format_world world = output_world(cli);
	json_t *s = NULL;
	int code = cli_call(cli, "GET", "/v1/status", NULL, &s);
	if (code == CLI_DONE && !json_is_object(s))
		code = cli_fail(cli, CLI_FAILED, NULL, "%s answered with something else than an object", cli->address.text);
	if (code == CLI_DONE && cli_is_json(cli)) {
		output_json(cli, s);
	} else if (code == CLI_DONE) {
		put_head(cli, s, &world);
		put_gpu_line(cli, s);
		put_lease_line(cli, s, &world);
		put_model_line(cli, s);
		put_today_line(cli, s, &world);
		put_metrics_line(cli, s);
		put_needs(cli, s);
	}
	json_decref(s);
	return code;
}

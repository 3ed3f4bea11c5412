/* SPDX-License-Identifier: Apache-2.0 */
/* simulate_routing.c - sluicectl simulate: rules that choose replicas, in virtual time. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/cli/output.h"
#include "core/sim/routing.h"

enum { RULES_MAX = 32, SEEDS_MAX = 1000, FILE_MAX = 1 << 30 };
static const double first_rate = 10, warm_part = 0.2, look_ms = 50, within = 0.02;

struct simulation {
	struct cli *cli;
	struct sim_fleet fleet;
	struct sim_workload recorded; /* of a file, else of a recipe */
	struct sim_recipe *recipe;
	double rate, seconds;
	uint64_t seed;
	struct sim_routing replay;     /* what all runs share */
	const struct sim_rule *rules[RULES_MAX];
	size_t n_rules;
	bool shown;                   /* a line of progress */
};

static int wrong(struct cli *cli, const sl_error *error)
{
	return cli_fail(cli, error->code == SL_EINVAL ? CLI_USAGE : CLI_FAILED, NULL, "%s", error->text);
}

static bool ends(const char *text, const char *with)
{
	size_t n = strlen(text), m = strlen(with);
	return n >= m && strcmp(text + n - m, with) == 0;
}

/* The caller frees *text. */
static int read_file(struct cli *cli, const char *path, struct buf *text)
{
	FILE *f = fopen(path, "rb");
	size_t n = 0;
	if (!f)
		return cli_fail(cli, CLI_FAILED, NULL, "cannot open %s: %s", path, strerror(errno));
	do {
		n = buf_reserve(text, 65536) ? fread(text->data + text->len, 1, 65536, f) : 0;
		text->len += n;
	} while (n > 0 && text->len <= FILE_MAX);
	bool failed = ferror(f) != 0;
	int why = errno;
	fclose(f);
	if (failed)
		return cli_fail(cli, CLI_FAILED, NULL, "cannot read %s: %s", path, strerror(why));
	if (text->failed || text->len > FILE_MAX)
		return cli_fail(cli, CLI_FAILED, NULL, "%s: out of memory, or more than %d MiB", path, FILE_MAX >> 20);
	return CLI_DONE;
}

static int load(struct simulation *s)
{
	struct cli *cli = s->cli;
	const char *trace = cli_value(cli, "trace"), *cluster = cli_value(cli, "cluster");
	bool lines = ends(trace, ".jsonl"), table = ends(trace, ".csv");
	struct buf text = { 0 }, engines = { 0 };
	sl_error error = { 0 };
	int code = lines || table ? read_file(cli, trace, &text) : CLI_DONE;
	if (code == CLI_DONE && ends(cluster, ".csv"))
		code = read_file(cli, cluster, &engines);
	if (code == CLI_DONE) {
		int done = ends(cluster, ".csv") ? sim_fleet_load(&s->fleet, cluster, engines.data, engines.len, &error)
		                                 : sim_fleet_parse(&s->fleet, cluster, &error);
		if (done == SL_OK && lines)
			done = sim_load_mooncake(&s->recorded, trace, text.data, text.len, &error);
		else if (done == SL_OK && table)
			done = sim_load_azure(&s->recorded, trace, text.data, text.len, &error);
		else if (done == SL_OK && !(s->recipe = sim_recipe_parse(trace, &error)))
			done = error.code;
		code = done == SL_OK ? CLI_DONE : wrong(cli, &error);
	}
	buf_free(&text);
	buf_free(&engines);
	return code;
}

/* "ttft=2s,tpot=50ms,share=0.9" */
static int read_limits(struct cli *cli, struct sim_limits *limits)
{
	const char *text = cli_value(cli, "slo");
	*limits = (struct sim_limits){ 2000, 50, 0.9 };
	for (const char *at = text ? text : ""; *at;) {
		size_t len = strcspn(at, ",");
		sl_str part = { at, len };
		int64_t ms = 0, share = 0;
		const char *is = memchr(at, '=', len);
		sl_str value = is ? (sl_str){ is + 1, len - (size_t) (is + 1 - at) } : (sl_str){ "", 0 };
		if (str_starts(part, STR("ttft=")) && str_to_duration_ms(value, &ms) && ms > 0)
			limits->first_ms = (double) ms;
		else if (str_starts(part, STR("tpot=")) && str_to_duration_ms(value, &ms) && ms > 0)
			limits->token_ms = (double) ms;
		else if (str_starts(part, STR("share=")) && str_to_decimal(value, 6, &share) && share > 0 && share <= 1000000)
			limits->share = (double) share / 1e6;
		else
			return cli_fail(cli, CLI_USAGE, "--slo ttft=2s,tpot=50ms,share=0.9", "--slo: '%.*s' is not a limit", (int) len, at);
		at += len + (at[len] == ',');
	}
	return CLI_DONE;
}

/* "0@60s+30s" */
static int read_kill(struct cli *cli, struct sim_routing *replay)
{
	const char *text = cli_value(cli, "kill"), *at = text ? strchr(text, '@') : NULL, *plus = at ? strchr(at, '+') : NULL;
	uint64_t replica;
	int64_t at_ms, down_ms;
	if (!text)
		return CLI_DONE;
	if (!plus || !str_to_u64((sl_str){ text, (size_t) (at - text) }, SIM_ENGINES_MAX, &replica) ||
	    !str_to_duration_ms((sl_str){ at + 1, (size_t) (plus - at - 1) }, &at_ms) ||
	    !str_to_duration_ms(str_of(plus + 1), &down_ms) || down_ms <= 0 || at_ms > 1000000000 || down_ms > 1000000000)
		return cli_fail(cli, CLI_USAGE, "--kill 0@60s+30s", "--kill: '%s' is not REPLICA@WHEN+HOW-LONG", text);
	replay->killed = (uint32_t) replica;
	replay->killed_us = at_ms * 1000;
	replay->down_us = down_ms * 1000;
	return CLI_DONE;
}

static int add_rules(struct simulation *s, const char *names)
{
	bool all = strcmp(names, "all") == 0;
	for (size_t i = 0; all && sim_rules[i].name; i++)
		if (sim_rules[i].name != s->rules[0]->name && s->n_rules < RULES_MAX)
			s->rules[s->n_rules++] = &sim_rules[i];
	for (const char *at = all ? "" : names; *at;) {
		size_t len = strcspn(at, ",");
		sl_error error = { 0 };
		const struct sim_rule *rule = sim_rule_find((sl_str){ at, len }, &error);
		if (!rule || s->n_rules == RULES_MAX)
			return rule ? cli_fail(s->cli, CLI_USAGE, NULL, "more than %d rules", RULES_MAX) : wrong(s->cli, &error);
		s->rules[s->n_rules++] = rule;
		at += len + (at[len] == ',');
	}
	return CLI_DONE;
}

static int read_options(struct simulation *s)
{
	struct cli *cli = s->cli;
	const char *rate = cli_value(cli, "rate"), *compare = cli_value(cli, "compare");
	int64_t thousandths = 0;
	if (!cli_flag(cli, "trace") || !cli_flag(cli, "cluster"))
		return cli_fail(cli, CLI_USAGE, "sluicectl simulate --trace shared --cluster '8*qwen3-32b-2xh100'",
		                "simulate needs --trace and --cluster");
	if (rate && (!str_to_decimal(str_of(rate), 3, &thousandths) || thousandths <= 0 || thousandths > 1000000000))
		return cli_fail(cli, CLI_USAGE, NULL, "--rate: '%s' is not a number from 0.001 to 1000000", rate);
	s->rate = (double) thousandths / 1000;
	s->seconds = (double) cli_number(cli, "time", 300);
	s->seed = (uint64_t) cli_number(cli, "seed", 1);
	s->replay = (struct sim_routing){ .fleet = &s->fleet, .warm = warm_part, .look_ms = look_ms };
	int code = add_rules(s, cli_value(cli, "policy") ? cli_value(cli, "policy") : sim_rules[0].name);
	if (code == CLI_DONE && s->n_rules != 1)
		code = cli_fail(cli, CLI_USAGE, NULL, "--policy names one rule; further ones: --compare");
	if (code == CLI_DONE && compare)
		code = add_rules(s, compare);
	if (code == CLI_DONE)
		code = read_limits(cli, &s->replay.limits);
	if (code == CLI_DONE)
		code = read_kill(cli, &s->replay);
	return code ? code : load(s);
}

static bool show_progress(void *arg, size_t done, size_t all)
{
	struct simulation *s = arg;
	if (s->cli->tty_err && !cli_is_json(s->cli)) {
		fprintf(stderr, "\r\033[K%s: %3.0f%% of %zu requests", s->replay.rule->name, 100.0 * (double) done / (double) all, all);
		s->shown = true;
	}
	return true;
}

static void end_progress(struct simulation *s)
{
	if (s->shown)
		fputs("\r\033[K", stderr);
	s->shown = false;
}

static int make(void *arg, double rate, struct sim_workload *out, sl_error *error)
{
	struct simulation *s = arg;
	if (s->recipe)
		return sim_recipe_make(s->recipe, rate, s->seconds, s->replay.seed, out, error);
	return sim_workload_scaled(&s->recorded, rate, out) ? SL_OK : (error->code = SL_ENOMEM);
}

/* One run, or a search, with one seed. */
static int run_one(struct simulation *s, double *rate, struct sim_result *result, sl_error *error)
{
	struct sim_workload workload = { 0 };
	double own = s->recipe || s->recorded.span_s <= 0 ? first_rate : (double) s->recorded.n / s->recorded.span_s;
	if (cli_flag(s->cli, "capacity")) {
		struct sim_search search = { .replay = s->replay, .make = make, .make_arg = s, .from = s->rate > 0 ? s->rate : own,
			.within = within };
		return sim_search_capacity(&search, rate, result, error);
	}
	*rate = s->rate > 0 ? s->rate : own;
	int code = make(s, *rate, &workload, error);
	s->replay.workload = &workload;
	if (code == SL_OK)
		code = sim_routing_run(&s->replay, result, error);
	sim_workload_free(&workload);
	return code;
}

static void put_number(json_t *row, const char *name, double value)
{
	double now = json_number_value(json_object_get(row, name));
	json_object_set_new(row, name, json_real(now + value));
}

static void put_quantiles(json_t *row, const char *name, const struct sim_quantiles *q, double part)
{
	char field[32];
	const double values[] = { q->p50, q->p90, q->p99 };
	static const int of[] = { 50, 90, 99 };
	for (int i = 0; i < 3; i++) {
		snprintf(field, sizeof field, "%s_p%d_ms", name, of[i]);
		put_number(row, field, values[i] * part);
	}
}

/* Adds the `part` of a mean. */
static void put_result(json_t *row, double rate, const struct sim_result *r, double part)
{
	put_number(row, "rate", rate * part);
	put_quantiles(row, "ttft", &r->first_ms, part);
	put_quantiles(row, "tpot", &r->token_ms, part);
	put_quantiles(row, "itl", &r->gap_ms, part);
	put_number(row, "goodput", r->good_rate * part);
	put_number(row, "hit_rate", r->hit_rate * part);
	put_number(row, "output_tokens_per_s", r->token_rate * part);
	put_number(row, "imbalance", r->imbalance * part);
	put_number(row, "prediction_error", r->error * part);
	put_number(row, "requests", (double) r->requests * part);
	put_number(row, "preempted", (double) r->preempted * part);
	put_number(row, "failed", (double) r->failed * part);
}

static int run_rule(struct simulation *s, const struct sim_rule *rule, json_t *rows)
{
	int64_t seeds = cli_number(s->cli, "seeds", 1);
	seeds = seeds < 1 ? 1 : seeds > SEEDS_MAX ? SEEDS_MAX : seeds;
	json_t *row = json_pack("{s:s}", "rule", rule->name);
	json_array_append_new(rows, row);
	s->replay.rule = rule;
	s->replay.progress = show_progress;
	s->replay.arg = s;
	for (int64_t i = 0; i < seeds; i++) {
		struct sim_result result;
		sl_error error = { 0 };
		double rate = 0;
		s->replay.seed = s->seed + (uint64_t) i;
		int code = run_one(s, &rate, &result, &error);
		end_progress(s);
		if (code != SL_OK)
			return wrong(s->cli, &error);
		put_result(row, rate, &result, 1 / (double) seeds);
	}
	return CLI_DONE;
}

static double number_of(const json_t *row, const char *name)
{
	return json_number_value(json_object_get(row, name));
}

/* Each as a part of the best one: of the rates that were found, else of the goodput. */
static void put_share_of_best(json_t *rows, const char *by)
{
	double best = 0;
	size_t i;
	json_t *row;
	json_array_foreach(rows, i, row)
		best = number_of(row, by) > best ? number_of(row, by) : best;
	json_array_foreach(rows, i, row)
		json_object_set_new(row, "of_best", json_real(best > 0 ? number_of(row, by) / best : 0));
}

static void put_ms(struct buf *out, double ms)
{
	if (ms >= 9995)
		buf_printf(out, "%.1fs", ms / 1000);
	else if (ms >= 999.5)
		buf_printf(out, "%.2fs", ms / 1000);
	else
		buf_printf(out, ms >= 99.95 ? "%.0fms" : "%.1fms", ms);
}

#define WRITES(name, statement) \
	static void name(struct buf *out, const struct format_world *world, const json_t *row) \
	{ \
		(void) world; \
		statement; \
	}
WRITES(write_rate, buf_printf(out, "%.2f", number_of(row, "rate")))
WRITES(write_best, buf_printf(out, "%.2f", number_of(row, "of_best")))
WRITES(write_ttft50, put_ms(out, number_of(row, "ttft_p50_ms")))
WRITES(write_ttft90, put_ms(out, number_of(row, "ttft_p90_ms")))
WRITES(write_ttft99, put_ms(out, number_of(row, "ttft_p99_ms")))
WRITES(write_tpot50, put_ms(out, number_of(row, "tpot_p50_ms")))
WRITES(write_tpot90, put_ms(out, number_of(row, "tpot_p90_ms")))
WRITES(write_itl99, put_ms(out, number_of(row, "itl_p99_ms")))
WRITES(write_goodput, buf_printf(out, "%.2f", number_of(row, "goodput")))
WRITES(write_hit, buf_printf(out, "%.1f%%", 100 * number_of(row, "hit_rate")))
WRITES(write_tokens, buf_printf(out, "%.0f", number_of(row, "output_tokens_per_s")))
WRITES(write_imbalance, buf_printf(out, "%.2f", number_of(row, "imbalance")))
WRITES(write_error, buf_printf(out, number_of(row, "prediction_error") < 0 ? "-" : "%.0f%%", 100 * number_of(row, "prediction_error")))
WRITES(write_preempted, buf_printf(out, "%.0f", number_of(row, "preempted")))
WRITES(write_failed, buf_printf(out, "%.0f", number_of(row, "failed")))

static const struct cli_column columns[] = {
	{ "RULE", "rule", AS_TEXT, 0, NULL },
	{ "RATE", "rate", AS_TEXT, COLUMN_RIGHT, write_rate },
	{ "OF-BEST", "of_best", AS_TEXT, COLUMN_RIGHT, write_best },
	{ "TTFT-P50", "ttft_p50_ms", AS_TEXT, COLUMN_RIGHT, write_ttft50 },
	{ "P90", "ttft_p90_ms", AS_TEXT, COLUMN_RIGHT, write_ttft90 },
	{ "P99", "ttft_p99_ms", AS_TEXT, COLUMN_RIGHT, write_ttft99 },
	{ "TPOT-P50", "tpot_p50_ms", AS_TEXT, COLUMN_RIGHT, write_tpot50 },
	{ "P90", "tpot_p90_ms", AS_TEXT, COLUMN_RIGHT | COLUMN_WIDE, write_tpot90 },
	{ "ITL-P99", "itl_p99_ms", AS_TEXT, COLUMN_RIGHT, write_itl99 },
	{ "GOODPUT", "goodput", AS_TEXT, COLUMN_RIGHT, write_goodput },
	{ "HIT", "hit_rate", AS_TEXT, COLUMN_RIGHT, write_hit },
	{ "OUT-TOK/S", "output_tokens_per_s", AS_TEXT, COLUMN_RIGHT | COLUMN_WIDE, write_tokens },
	{ "IMBALANCE", "imbalance", AS_TEXT, COLUMN_RIGHT | COLUMN_WIDE, write_imbalance },
	{ "TTFT-ERROR", "prediction_error", AS_TEXT, COLUMN_RIGHT | COLUMN_WIDE, write_error },
	{ "PREEMPTED", "preempted", AS_TEXT, COLUMN_RIGHT | COLUMN_WIDE, write_preempted },
	{ "FAILED", "failed", AS_TEXT, COLUMN_RIGHT | COLUMN_WIDE, write_failed },
	{ NULL, NULL, AS_TEXT, 0, NULL }
};

int simulate_routing_run(struct cli *cli)
{
	static const struct cli_list list = { .id = "rule", .columns = columns, .empty = "No rule." };
	struct simulation *s = calloc(1, sizeof *s);
	json_t *rows = json_array();
	if (!s || !rows) {
		free(s);
		json_decref(rows);
		return cli_fail(cli, CLI_FAILED, NULL, "out of memory");
	}
	s->cli = cli;
	int code = read_options(s);
	for (size_t i = 0; i < s->n_rules && code == CLI_DONE; i++)
		code = run_rule(s, s->rules[i], rows);
	if (code == CLI_DONE) {
		put_share_of_best(rows, cli_flag(cli, "capacity") ? "rate" : "goodput");
		code = output_list(cli, &list, rows, NULL);
	}
	json_decref(rows);
	sim_recipe_free(s->recipe);
	sim_workload_free(&s->recorded);
	free(s);
	return code;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* simulate_jobs.c - sluicectl simulate --jobs: a recorded cluster through a scheduler plugin, in virtual time. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/cli/output.h"
#include "core/conf/conf.h"
#include "core/lease/terms.h"
#include "core/plugin/plugin.h"
#include "core/sim/replay.h"
#include "core/sim/shape.h"

#define FILE_MAX ((size_t) 1 << 30)
enum { SERVICE_COPIES = 6, HALF_A_DAY_S = 43200, SILENT_S = 10 };

/* All that a simulation needs. Zero-initialised is empty. */
struct simulation {
	struct cli *cli;
	struct sim_trace trace;
	struct conf *conf;
	struct plan_queue *queues;
	struct plan_cohort *cohorts;
	bool *preemptible;
	json_t *options;
	struct plugin *plugin;
	struct replay_result result;
	size_t left_out;
	uint64_t began_ns, told_ns;
	bool shown; /* a line of progress stands on the terminal */
};

static int out_of_memory(struct simulation *s)
{
	return cli_fail(s->cli, CLI_FAILED, NULL, "out of memory");
}

/* The file's bytes, to be freed; NULL after the error was printed. */
static char *read_whole(struct cli *cli, const char *path, size_t *len)
{
	FILE *file = fopen(path, "rb");
	char *text = NULL;
	size_t room = 0, n = 1;
	*len = 0;
	while (file && n > 0 && *len < FILE_MAX) {
		if (*len == room) {
			char *more = realloc(text, room = room * 2 + 65536);
			if (!more)
				break;
			text = more;
		}
		n = fread(text + *len, 1, room - *len, file);
		*len += n;
	}
	bool fine = file && n == 0 && !ferror(file);
	if (!fine)
		cli_fail(cli, CLI_FAILED, NULL, "cannot read %s: %s", path, *len >= FILE_MAX ? "it is larger than 1 GiB" : strerror(errno));
	if (file)
		fclose(file);
	if (!fine) {
		free(text);
		text = NULL;
	}
	return text;
}

typedef int (*loader)(struct sim_trace *trace, const char *file, char *text, size_t len, sl_error *error);

static int load(struct simulation *s, const char *option, loader read)
{
	sl_error error = { 0 };
	size_t len;
	const char *path = cli_value(s->cli, option);
	if (!path)
		return cli_fail(s->cli, CLI_USAGE, "sluicectl help simulate", "--%s FILE is missing", option);
	char *text = read_whole(s->cli, path, &len);
	if (!text)
		return CLI_FAILED;
	int code = read(&s->trace, path, text, len, &error);
	free(text);
	return code == SL_OK ? CLI_DONE : cli_fail(s->cli, CLI_FAILED, NULL, "%s", error.text);
}

static int load_trace(struct simulation *s)
{
	sl_error error = { 0 };
	int64_t jobs = cli_number(s->cli, "copies", 1);
	const struct sim_copies copies = {
		.jobs = (uint32_t) jobs,
		.services = (uint32_t) cli_number(s->cli, "services", jobs < SERVICE_COPIES ? jobs : SERVICE_COPIES),
		.shift_s = cli_number(s->cli, "shift", HALF_A_DAY_S), .seed = (uint64_t) cli_number(s->cli, "seed", 1) };
	int code = load(s, "cluster", sim_load_nodes);
	if (code == CLI_DONE)
		code = load(s, "jobs", sim_load_jobs);
	if (code != CLI_DONE)
		return code;
	if (!sim_thin_nodes(&s->trace, (uint32_t) cli_number(s->cli, "every", 1)))
		return out_of_memory(s);
	if (sim_thicken(&s->trace, &copies, &s->left_out, &error) != SL_OK)
		return cli_fail(s->cli, CLI_FAILED, NULL, "%s", error.text);
	if (s->trace.n_jobs == 0)
		return cli_fail(s->cli, CLI_FAILED, NULL, "%s has no job that ran: scheduled_time and deletion_time say when one did",
		                cli_value(s->cli, "jobs"));
	return CLI_DONE;
}

/* Queues of a sluice.lua; without one, those that the jobs name, which are owed nothing. */
static int load_queues(struct simulation *s)
{
	const char *file = cli_value(s->cli, "config");
	struct buf report = { 0 };
	if (file && !(s->conf = conf_load(file, &report))) {
		buf_put(&s->cli->out, report.data, report.len);
		buf_free(&report);
		return cli_fail(s->cli, CLI_FAILED, "sluicectl config check FILE", "%s does not load", file);
	}
	buf_free(&report);
	size_t n = s->conf ? s->conf->n_queues : s->trace.queues.n;
	s->preemptible = calloc(n + 1, sizeof *s->preemptible);
	if (!s->preemptible || (s->conf && !terms_of_conf(s->conf, &s->queues, &s->cohorts)))
		return out_of_memory(s);
	for (size_t i = 0; i < n; i++)
		s->preemptible[i] = cli_flag(s->cli, "preemptible") || (s->conf && s->conf->queues[i].preemptible);
	return CLI_DONE;
}

/* Those of the configuration's own plugin line, then those of the command line. */
static int load_options(struct simulation *s, const char *name)
{
	const char *wrong = NULL;
	json_t *given = cli_plugin_options(s->cli, &wrong);
	s->options = json_object();
	for (size_t i = 0; s->conf && i < s->conf->n_plugins; i++) {
		const struct conf_plugin *p = &s->conf->plugins[i];
		if (strcmp(p->kind, "scheduler") == 0 && strcmp(p->name, name) == 0 && p->options)
			json_object_update(s->options, p->options);
	}
	json_object_update(s->options, given);
	json_decref(given);
	return wrong ? cli_fail(s->cli, CLI_USAGE, "sluicectl help simulate", "--option wants NAME=VALUE, not '%s'", wrong) : CLI_DONE;
}

static int load_scheduler(struct simulation *s)
{
	const char *name = cli_flag(s->cli, "scheduler") ? cli_value(s->cli, "scheduler") : "fair";
	char path[4096];
	sl_error error = { 0 };
	size_t len = strlen(name);
	bool file = len > 3 && strcmp(name + len - 3, ".so") == 0 && !strchr(name, '/');
	snprintf(path, sizeof path, "%s%s", file ? "./" : "", name);
	int code = load_options(s, name);
	if (code != CLI_DONE)
		return code;
	const struct plugin_spec spec = { .kind = SL_KIND_SCHEDULER, .name = path, .options = s->options };
	s->plugin = plugin_open(&spec, NULL, NULL, &error);
	return s->plugin ? CLI_DONE : cli_fail(s->cli, CLI_FAILED, "sluicectl plugins list", "%s", error.text);
}

static void put_number(struct buf *out, enum format_kind kind, int64_t value)
{
	json_t *number = json_integer(value);
	format_value(out, NULL, kind, number);
	json_decref(number);
}

/* On a terminal a line that is written over; else a line now and then. */
static void on_progress(void *ctx, const struct replay_progress *p)
{
	struct simulation *s = ctx;
	uint64_t now = clock_mono_ns(), pause = s->cli->tty_err ? UINT64_C(200000000) : SILENT_S * UINT64_C(1000000000);
	if (now - s->told_ns < pause)
		return;
	s->told_ns = now;
	struct buf line = { 0 };
	put_number(&line, AS_COUNT, (int64_t) p->arrived);
	buf_puts(&line, " of ");
	put_number(&line, AS_COUNT, (int64_t) p->jobs);
	buf_printf(&line, " jobs, day %lld, %zu run, %zu wait", (long long) p->now_s / 86400, p->running, p->waiting);
	fprintf(stderr, s->cli->tty_err ? "\r\033[K%.*s" : "%.*s\n", (int) line.len, line.data);
	s->shown = s->cli->tty_err;
	buf_free(&line);
}

static json_t *part(double value)
{
	return json_real(round(value * 1e6) / 1e6);
}

static json_t *row_of(const char *of, const struct replay_waits *w)
{
	json_t *row = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "of", of, "leases", (json_int_t) w->leases, "never_started",
		(json_int_t) w->never, "wait_p50_s", (json_int_t) w->p50_s, "wait_p90_s", (json_int_t) w->p90_s, "wait_p99_s",
		(json_int_t) w->p99_s);
	json_set_str(row, "queue", str_of(w->name ? w->name : ""));
	return row;
}

static json_t *rows_of(const struct replay_result *r)
{
	json_t *rows = json_array();
	json_array_append_new(rows, row_of("all", &r->all));
	json_array_append_new(rows, row_of("gangs", &r->gangs));
	for (size_t i = 0; i < r->n_queues; i++)
		json_array_append_new(rows, row_of("queue", &r->queues[i]));
	return rows;
}

static json_t *document_of(const struct simulation *s, json_t *rows)
{
	const struct replay_result *r = &s->result;
	const struct { const char *name; size_t value; } counts[] = {
		{ "machines", s->trace.n_nodes }, { "gpus", s->trace.gpus }, { "jobs", r->jobs }, { "never_ran", s->left_out },
		{ "without_gpu", r->without_gpu }, { "too_large", r->too_large }, { "several_models", r->several_models },
		{ "simulated_s", (size_t) r->span_s }, { "starts", r->starts }, { "ended", r->ended }, { "expired", r->expired },
		{ "preempted", r->preempted }, { "suspended", r->suspended }, { "resumed", r->resumed }, { "moved", r->moved },
		{ "promoted", r->promoted }, { "given_up", r->given_up }, { "lost_gpu_s", (size_t) r->lost_gpu_s },
		{ "never_started", r->all.never }, { "open_at_end", r->unfinished }, { "plans", r->rounds }, { "refused", r->refused },
	};
	json_t *document = json_object();
	json_set_str(document, "scheduler", str_of(plugin_name(s->plugin)));
	for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
		json_object_set_new(document, counts[i].name, json_integer((json_int_t) counts[i].value));
	json_object_set_new(document, "used", part(r->used));
	json_object_set_new(document, "granted", part(r->granted));
	json_object_set_new(document, "unallocated", part(1 - r->granted));
	json_object_set_new(document, "fragmented", part(r->fragmented));
	json_object_set_new(document, "refusal", r->refused ? json_string(r->refusal) : json_null());
	json_object_set(document, "waits", rows);
	return document;
}

static void put_count(struct buf *out, const char *before, size_t n, const char *after)
{
	if (n == 0)
		return;
	buf_puts(out, before);
	put_number(out, AS_COUNT, (int64_t) n);
	buf_puts(out, after);
}

static void put_summary(struct simulation *s)
{
	const struct replay_result *r = &s->result;
	struct buf *out = &s->cli->out;
	put_count(out, "cluster      ", s->trace.n_nodes, " machines");
	put_count(out, " with ", s->trace.gpus, " GPUs\n");
	put_count(out, "jobs         ", r->jobs, "");
	put_count(out, "; without a GPU ", r->without_gpu, "");
	put_count(out, "; too large for the cluster or their queue ", r->too_large, "");
	put_count(out, "; bound to one of several models ", r->several_models, "");
	put_count(out, "; left out, as they never ran ", s->left_out, "");
	buf_puts(out, "\nsimulated    ");
	put_number(out, AS_SECONDS, r->span_s);
	buf_printf(out, "\nused         %.2f%% of all GPU time is what the jobs asked for\n", 100 * r->used);
	buf_printf(out, "granted      %.2f%% is devices that jobs had; a part of a GPU takes a whole one\n", 100 * r->granted);
	buf_printf(out, "unallocated  %.2f%%\n", 100 - 100 * r->granted);
	buf_printf(out, "fragmented   %.2f%% is free, but on its machine of no use to a typical job\n", 100 * r->fragmented);
	buf_puts(out, "leases       ");
	put_number(out, AS_COUNT, (int64_t) r->ended);
	buf_puts(out, " ended");
	put_count(out, ", ", r->expired, " at their time limit");
	put_count(out, ", ", r->all.never, " never started");
	put_count(out, ", ", r->unfinished, " were still there at the end");
	put_count(out, ", ", r->given_up, " were preempted again and again");
	buf_puts(out, "\npreempted    ");
	put_number(out, AS_COUNT, (int64_t) r->preempted);
	buf_printf(out, " (%.1f GPU hours lost)", (double) r->lost_gpu_s / 3600);
	put_count(out, ", suspended ", r->suspended, "");
	put_count(out, ", resumed ", r->resumed, "");
	put_count(out, ", moved ", r->moved, "");
	put_count(out, ", promoted ", r->promoted, "");
	put_count(out, "\nrefused      ", r->refused, " answers of the scheduler broke an invariant; the first: ");
	if (r->refused)
		cli_put_clean(out, r->refusal);
	buf_puts(out, "\n\n");
}

static void put_who(struct buf *out, const struct format_world *world, const json_t *row)
{
	const char *of = json_get_str(row, "of", "");
	(void) world;
	if (strcmp(of, "queue") == 0) {
		buf_puts(out, "queue ");
		cli_put_clean(out, json_get_str(row, "queue", ""));
	} else {
		buf_puts(out, strcmp(of, "all") == 0 ? "all" : "4 and more GPUs");
	}
}

static const struct cli_column columns[] = {
	{ "WHO", "of,queue", AS_TEXT, 0, put_who },
	{ "LEASES", "leases", AS_COUNT, COLUMN_RIGHT, NULL },
	{ "NEVER-STARTED", "never_started", AS_COUNT, COLUMN_RIGHT, NULL },
	{ "WAIT-P50", "wait_p50_s", AS_SECONDS, COLUMN_RIGHT, NULL },
	{ "WAIT-P90", "wait_p90_s", AS_SECONDS, COLUMN_RIGHT, NULL },
	{ "WAIT-P99", "wait_p99_s", AS_SECONDS, COLUMN_RIGHT, NULL },
	{ NULL, NULL, AS_TEXT, 0, NULL }
};

static int put_result(struct simulation *s)
{
	static const struct cli_list list = { .id = "of", .columns = columns };
	json_t *rows = rows_of(&s->result);
	int code = CLI_DONE;
	if (s->cli->format == FORMAT_JSON) {
		json_t *document = document_of(s, rows);
		output_json(s->cli, document);
		json_decref(document);
	} else {
		if (s->cli->format == FORMAT_TABLE || s->cli->format == FORMAT_WIDE)
			put_summary(s);
		code = output_list(s->cli, &list, rows, NULL);
	}
	json_decref(rows);
	return code;
}

static int replay(struct simulation *s)
{
	sl_error error = { 0 };
	const struct replay_setup setup = {
		.trace = &s->trace, .scheduler = plugin_ops(s->plugin), .scheduler_self = plugin_self(s->plugin), .queues = s->queues,
		.preemptible = s->preemptible, .n_queues = s->conf ? s->conf->n_queues : 0, .cohorts = s->cohorts,
		.n_cohorts = s->conf ? s->conf->n_cohorts : 0, .suspendable = cli_flag(s->cli, "suspendable"),
		.until_last = cli_flag(s->cli, "until-last"), .progress = on_progress, .ctx = s };
	s->began_ns = s->told_ns = clock_mono_ns();
	int code = replay_run(&setup, &s->result, &error);
	if (s->shown)
		fputs("\r\033[K", stderr);
	if (code != SL_OK)
		return cli_fail(s->cli, CLI_FAILED, NULL, "%s", error.text);
	cli_note(s->cli, "%zu plans of scheduler %s, %.1f s", s->result.rounds, plugin_name(s->plugin),
	         (double) (clock_mono_ns() - s->began_ns) / 1e9);
	return put_result(s);
}

int simulate_jobs_run(struct cli *cli)
{
	struct simulation s = { .cli = cli };
	int code = load_trace(&s);
	if (code == CLI_DONE)
		code = load_queues(&s);
	if (code == CLI_DONE)
		code = load_scheduler(&s);
	if (code == CLI_DONE)
		code = replay(&s);
	if (s.plugin)
		plugin_close(s.plugin, 0);
	replay_free(&s.result);
	json_decref(s.options);
	free(s.preemptible);
	free(s.queues);
	free(s.cohorts);
	conf_unref(s.conf);
	sim_trace_free(&s.trace);
	return code;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* test_trace.c - CSV, and the machines and jobs that are read from it. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/sim/csv.h"
#include "core/sim/shape.h"
#include "core/sim/trace.h"

static sl_error error;

static int nodes(struct sim_trace *trace, const char *text)
{
	char *copy = strdup(text);
	int code = sim_load_nodes(trace, "nodes.csv", copy, strlen(copy), &error);
	free(copy);
	return code;
}

static int jobs(struct sim_trace *trace, const char *text)
{
	char *copy = strdup(text);
	int code = sim_load_jobs(trace, "jobs.csv", copy, strlen(copy), &error);
	free(copy);
	return code;
}

static void refused_nodes(const char *text, const char *words)
{
	struct sim_trace trace = { 0 };
	cr_expect_neq(nodes(&trace, text), SL_OK, "%s", text);
	cr_expect(strstr(error.text, words), "'%s' lacks '%s'", error.text, words);
	sim_trace_free(&trace);
}

static void refused_jobs(const char *row, const char *words)
{
	struct sim_trace trace = { 0 };
	char text[512];
	snprintf(text, sizeof text, "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,creation_time,"
	         "deletion_time,scheduled_time\nfine,1,1,0,0,,LS,0,1,0\n%s\n", row);
	cr_expect_neq(jobs(&trace, text), SL_OK, "%s", row);
	cr_expect(strstr(error.text, words), "'%s' lacks '%s'", error.text, words);
	cr_expect(strstr(error.text, "jobs.csv:3: "), "%s", error.text);
	sim_trace_free(&trace);
}

Test(csv, reads_quotes_carriage_returns_and_empty_lines)
{
	char text[] = "\xef\xbb\xbf" "a,\"b,\"\"c\"\"\"\r\n\r\n\n\"two\nlines\",\nlast";
	struct csv csv;
	csv_open(&csv, "x.csv", text, strlen(text));
	cr_assert_eq(csv_next(&csv, &error), 1);
	cr_expect_eq(csv.n_fields, 2);
	cr_expect(str_eq(csv.fields[0], STR("a")));
	cr_expect(str_eq(csv.fields[1], STR("b,\"c\"")));
	cr_assert_eq(csv_next(&csv, &error), 1);
	cr_expect_eq(csv.line, 4);
	cr_expect(str_eq(csv.fields[0], STR("two\nlines")));
	cr_expect_eq(csv.fields[1].len, 0);
	cr_assert_eq(csv_next(&csv, &error), 1);
	cr_expect_eq(csv.line, 6);
	cr_expect(str_eq(csv.fields[0], STR("last")));
	cr_expect_eq(csv_next(&csv, &error), 0);
}

Test(csv, says_where_a_quote_is_missing)
{
	static const char *const texts[] = { "a\n\"b", "a\n\"b\"c\n", "a\n\"" };
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		char text[32];
		struct csv csv;
		strcpy(text, texts[i]);
		csv_open(&csv, "x.csv", text, strlen(text));
		cr_assert_eq(csv_next(&csv, &error), 1);
		cr_expect_eq(csv_next(&csv, &error), SL_EINVAL);
		cr_expect(strstr(error.text, "x.csv:2: "), "%s", error.text);
	}
}

Test(csv, bounds_the_fields_of_a_row)
{
	char text[CSV_FIELDS_MAX + 1];
	struct csv csv;
	memset(text, ',', sizeof text);
	csv_open(&csv, "x.csv", text, sizeof text - 2);
	cr_expect_eq(csv_next(&csv, &error), 1);
	csv_open(&csv, "x.csv", text, sizeof text);
	cr_expect_eq(csv_next(&csv, &error), SL_EINVAL);
}

Test(trace, reads_nodes_whatever_the_order_of_columns)
{
	struct sim_trace trace = { 0 };
	cr_assert_eq(nodes(&trace, "model,name,gpu,zone,memory_mib,cpu_milli\nT4,n1,2,a,1024,96000\nG2,n2,8,b,2048,64000.0\n"
	                   "T4,n3,0,b,1,1\n"), SL_OK, "%s", error.text);
	cr_assert_eq(trace.n_nodes, 3);
	cr_expect_eq(trace.gpus, 10);
	cr_expect_eq(trace.models.n, 2);
	cr_expect_str_eq(trace.nodes[1].name, "n2");
	cr_expect_eq(trace.nodes[1].cpu_milli, 64000);
	cr_expect_eq(trace.nodes[1].memory_mib, 2048);
	cr_expect_eq(trace.nodes[1].model, 1);
	cr_expect_eq(trace.nodes[2].model, 0);
	sim_trace_free(&trace);
}

Test(trace, reads_jobs)
{
	struct sim_trace trace = { 0 };
	cr_assert_eq(nodes(&trace, "sn,cpu_milli,memory_mib,gpu,model\nn1,1,1,1,T4\nn2,1,1,1,G2\n"), SL_OK);
	cr_assert_eq(jobs(&trace, "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,creation_time,deletion_time,"
	                  "scheduled_time\na,12000,16384,1,460,,LS,10,110,30\nb,1,2,0,0,G2|V100,BE,5,9,\n"
	                  "c,1,2,2,1000,T4,,5,9,9\n"), SL_OK, "%s", error.text);
	cr_assert_eq(trace.n_jobs, 3);
	const struct sim_job *a = &trace.jobs[0], *b = &trace.jobs[1], *c = &trace.jobs[2];
	cr_expect(a->cpu_milli == 12000 && a->memory_mib == 16384 && a->gpus == 1 && a->milli == 460 && a->models == 0);
	cr_expect(a->submit_s == 10 && a->run_s == 80 && a->end_s == 110);
	cr_expect_str_eq(trace.queues.at[a->queue], "LS");
	cr_expect_eq(b->models, 2 | 4, "a model without a machine has a number, too");
	cr_expect_eq(b->run_s, -1, "it was never scheduled");
	cr_expect_eq(c->run_s, 0);
	cr_expect_str_eq(trace.queues.at[c->queue], "default");
	sim_trace_free(&trace);
}

Test(trace, names_file_line_and_column_of_what_is_wrong)
{
	refused_nodes("", "nodes.csv: empty");
	refused_nodes("sn,cpu_milli,memory_mib,gpu\n", "nodes.csv:1: there is no column model");
	refused_nodes("sn,cpu_milli,memory_mib,gpu,model\na,1,1,1\n", "nodes.csv:2: 4 fields, the first line names 5");
	refused_nodes("sn,cpu_milli,memory_mib,gpu,model\na,1,1,1,x\nb,-1,1,1,x\n", "nodes.csv:3: cpu_milli is '-1'");
	refused_nodes("sn,cpu_milli,memory_mib,gpu,model\na,1,1,65,x\n", "a whole number from 0 to 64");
	refused_nodes("sn,cpu_milli,memory_mib,gpu,model\na,1.5,1,1,x\n", "cpu_milli is '1.5'");
	refused_jobs("j,1,1,2,500,,LS,0,1,0", "gpu_milli is '500': parts of several");
	refused_jobs("j,1,1,1,0,,LS,0,1,0", "needs 1 to 1000");
	refused_jobs("j,1,1,1,1001,,LS,0,1,0", "gpu_milli is '1001'");
	refused_jobs("j,x,1,1,1000,,LS,0,1,0", "cpu_milli is 'x'");
	refused_jobs("j,1,1,1,1000,,LS,0,1,5", "before scheduled_time");
	refused_jobs("j,1,1,1,1000,,LS,soon,1,5", "creation_time is 'soon'");
}

Test(trace, bounds_the_models)
{
	struct sim_trace trace = { 0 };
	char text[4096] = "sn,cpu_milli,memory_mib,gpu,model\n";
	for (int i = 0; i <= SIM_MODELS_MAX; i++)
		sprintf(text + strlen(text), "n,1,1,1,m%d\n", i);
	cr_expect_eq(nodes(&trace, text), SL_EINVAL);
	cr_expect(strstr(error.text, "nodes.csv:66: model is 'm64': there are too many models"), "%s", error.text);
	sim_trace_free(&trace);
}

Test(trace, whatever_the_bytes_are_it_reads_them_or_names_file_and_line)
{
	static const char fine[] = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,queue,priority,creation_time,"
	                           "scheduled_time,deletion_time,time_limit\n\"a \"\"b\"\"\",1,1,1,500,T4|V100,q,-5,1,2,3,60\n"
	                           "c,8000,1.0,8,1000,,,,,,,\r\nd,1,1,0,0,,q,0,9,,,\n";
	static const char bytes[] = ",\"\n\r-.|09aT \0\xff\xef";
	uint64_t random = 7;
	unsigned read = 0, refused = 0;
	for (int round = 0; round < 20000; round++) {
		struct sim_trace trace = { 0 };
		size_t len = sizeof fine - 1;
		char *text = malloc(len);
		memcpy(text, fine, len);
		for (uint64_t n = 1 + sim_random(&random) % 3; n; n--)
			text[sim_random(&random) % len] = bytes[sim_random(&random) % (sizeof bytes - 1)];
		if (sim_random(&random) % 4 == 0) /* its own block again, so that a sanitizer sees what lies behind the end */
			text = realloc(text, len = 1 + sim_random(&random) % len);
		error = (sl_error){ 0 };
		if (sim_load_jobs(&trace, "jobs.csv", text, len, &error) == SL_OK) {
			read++;
			for (size_t i = 0; i < trace.n_jobs; i++)
				cr_assert(trace.jobs[i].gpus <= SIM_GPUS_MAX && trace.jobs[i].queue < trace.queues.n && trace.jobs[i].name);
		} else {
			unsigned line = 0;
			refused++;
			cr_assert(sscanf(error.text, "jobs.csv:%u: ", &line) == 1 || strstr(error.text, "jobs.csv: empty"), "%s", error.text);
			cr_assert_leq(line, 7);
		}
		free(text);
		sim_trace_free(&trace);
	}
	cr_expect(read > 1000 && refused > 1000, "%u, %u", read, refused);
}

Test(trace, reads_time_limits_and_priorities)
{
	struct sim_trace trace = { 0 };
	cr_assert_eq(jobs(&trace, "name,cpu_milli,memory_mib,num_gpu,gpu_milli,time_limit,priority\na,1,1,1,1000,60,-3\n"
	                  "b,1,1,1,1000,,\n"), SL_OK, "%s", error.text);
	cr_expect(trace.jobs[0].limit_s == 60 && trace.jobs[0].priority == -3 && trace.jobs[0].order == 0);
	cr_expect(trace.jobs[1].limit_s == -1 && trace.jobs[1].priority == 0 && trace.jobs[1].order == 1);
	sim_trace_free(&trace);
}

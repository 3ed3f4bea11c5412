/* SPDX-License-Identifier: Apache-2.0 */
/* bench_trace.c - reads a recorded cluster for the benches. */
#define _GNU_SOURCE
#include "tests/bench/bench_trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void bench_fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", program_invocation_short_name, what);
	exit(1);
}

static char *read_file(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	char *text = NULL;
	size_t room = 0, n;
	*len = 0;
	if (!f) {
		perror(path);
		exit(1);
	}
	do {
		if (*len == room && !(text = realloc(text, room = room * 2 + 65536)))
			bench_fail("out of memory");
		n = fread(text + *len, 1, room - *len, f);
		*len += n;
	} while (n > 0);
	fclose(f);
	return text;
}

void bench_load(struct sim_trace *trace, const char *nodes, const char *jobs)
{
	sl_error error = { 0 };
	size_t len;
	char *text = read_file(nodes, &len);
	if (sim_load_nodes(trace, nodes, text, len, &error) != SL_OK)
		bench_fail(error.text);
	free(text);
	text = read_file(jobs, &len);
	if (sim_load_jobs(trace, jobs, text, len, &error) != SL_OK)
		bench_fail(error.text);
	free(text);
}

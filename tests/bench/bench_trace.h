/* SPDX-License-Identifier: Apache-2.0 */
/* bench_trace.h - what the benches over a recorded cluster share. */
#ifndef TESTS_BENCH_BENCH_TRACE_H
#define TESTS_BENCH_BENCH_TRACE_H

#include "core/sim/trace.h"

/* Says what is wrong and ends the program. */
_Noreturn void bench_fail(const char *what);
/* Reads machines and jobs from two CSV files; ends the program when they cannot be read. */
void bench_load(struct sim_trace *trace, const char *nodes, const char *jobs);

#endif

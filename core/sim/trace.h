/* SPDX-License-Identifier: Apache-2.0 */
/* trace.h - a recorded cluster: its machines and the jobs that came to it. Pure: takes text, reads no file. */
#ifndef CORE_SIM_TRACE_H
#define CORE_SIM_TRACE_H

#include <stdbool.h>
#include <stdint.h>
#include <sluice/types.h>

#include "core/base/arena.h"

enum {
	SIM_GPUS_MAX = 64,         /* of a machine */
	SIM_MODELS_MAX = 64,
	SIM_QUEUES_MAX = 256,
	SIM_ROWS_MAX = 10000000,
	SIM_WHOLE = 1000           /* thousandths of a GPU */
};

struct sim_node {
	const char *name;
	int64_t cpu_milli, memory_mib;
	uint32_t gpus, model;
};

struct sim_job {
	const char *name;
	int64_t cpu_milli, memory_mib;
	uint64_t models;       /* bit M: model M will do; 0: any */
	uint32_t gpus, milli;  /* milli of each GPU; less than 1000 only of one */
	uint32_t queue;
	int64_t submit_s;
	int64_t run_s;         /* -1: it has no recorded run */
	int64_t end_s;         /* when it ended in the record, -1: it did not */
	int64_t limit_s;       /* time limit that its user gave, -1: the record has none */
	int32_t priority;      /* in its queue, higher first */
	uint32_t order;        /* its place in the file */
};

struct sim_names {
	const char **at;
	uint32_t n;
};

/* Zero-initialised is empty and valid. Models and queues are numbered as they appear. */
struct sim_trace {
	struct arena arena;
	struct sim_node *nodes;
	size_t n_nodes, room_nodes;
	struct sim_job *jobs;
	size_t n_jobs, room_jobs;
	struct sim_names models, queues;
	uint64_t gpus; /* of all nodes */
};

/* NODES.csv: sn (or name), cpu_milli, memory_mib, gpu, model; in any order, others are passed over. Appends. The text
 * is changed. On an error, which names `file` and the line, the trace is to be freed. */
int sim_load_nodes(struct sim_trace *trace, const char *file, char *text, size_t len, sl_error *error);
/* JOBS.csv: name, cpu_milli, memory_mib, num_gpu, gpu_milli; and where they are there gpu_spec (models that will do,
 * with '|' between them), queue (else qos), creation_time, scheduled_time, deletion_time and time_limit in seconds,
 * priority from -1000 to 1000. */
int sim_load_jobs(struct sim_trace *trace, const char *file, char *text, size_t len, sl_error *error);
void sim_trace_free(struct sim_trace *trace);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.h - counters, gauges and histograms with bounded labels, and their Prometheus text.
 *
 * A family has a name, a help line and label names; a series is one set of label values. Finding a series takes
 * a lock and is done once; adding to it is a load and a store in a slot of the calling thread's own. The first
 * METRICS_SLOTS - 1 threads have one each, later ones share the last. */
#ifndef CORE_BASE_METRICS_H
#define CORE_BASE_METRICS_H

#include <stdbool.h>
#include <sluice/types.h>

#include "core/base/buf.h"

enum { METRICS_SLOTS = 16, METRICS_SERIES_MAX = 256, METRICS_LABELS_MAX = 4 };

struct metric; /* a series; lives until the process ends */

/* The series of a family, made on first use. labels: "model,status" or "" ; values in the same order. Past
 * METRICS_SERIES_MAX series of one family every new one is the series whose label values are "other". `name`,
 * `help` and `labels` must be literals. Never NULL except when out of memory; the adding calls take NULL. */
struct metric *metrics_counter(const char *name, const char *help, const char *labels, ...);
struct metric *metrics_gauge(const char *name, const char *help, const char *labels, ...);
/* Bounds in the order of growth, ending with 0; the last bucket (+Inf) is implied. Values and bounds are in
 * microseconds or plain counts; `per_unit` divides them in the output (1e6: microseconds shown as seconds). */
struct metric *metrics_histogram(const char *name, const char *help, const uint64_t *bounds, double per_unit,
                                 const char *labels, ...);

void metrics_add(struct metric *m, uint64_t n);
void metrics_set(struct metric *m, int64_t value); /* gauges */
void metrics_observe(struct metric *m, uint64_t value); /* histograms */
uint64_t metrics_value(const struct metric *m);

/* The text format 0.0.4 of all families. */
void metrics_write(struct buf *out);

#endif

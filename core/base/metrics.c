/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.c - counters, gauges and histograms, and their Prometheus text. */
#include "core/base/metrics.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"

enum kind { COUNTER, GAUGE, HISTOGRAM };
enum { BUCKETS_MAX = 24, LINE = 64, SHARED_SLOT = METRICS_SLOTS - 1 };

/* What one thread adds to one series. Padded: two threads never write one cache line. */
struct slot {
	_Alignas(LINE) _Atomic uint64_t value; /* histogram: the sum */
	_Atomic uint64_t buckets[];            /* not cumulative; the last is +Inf */
};

struct metric {
	struct metric *next;
	struct family *family;
	char *labels; /* model="x",status="200" */
	size_t slot_size;
	char *slots;
};

struct family {
	struct family *next;
	const char *name, *help, *labels;
	enum kind kind;
	const uint64_t *bounds;
	size_t n_bounds;
	double per_unit;
	struct metric *series;
	size_t n_series;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct family *families;
static atomic_uint next_slot;

static struct slot *slot_at(const struct metric *m, size_t i)
{
	return (struct slot *) (void *) (m->slots + i * m->slot_size);
}

/* The first threads have a slot each, so they add without a locked instruction; all others share the last one. */
static unsigned own_slot(void)
{
	static __thread unsigned mine; /* 1 + index */
	if (mine == 0) {
		unsigned n = atomic_fetch_add(&next_slot, 1);
		mine = 1 + (n < SHARED_SLOT ? n : SHARED_SLOT);
	}
	return mine - 1;
}

static void add(_Atomic uint64_t *to, uint64_t n, bool shared)
{
	if (shared)
		atomic_fetch_add_explicit(to, n, memory_order_relaxed);
	else
		atomic_store_explicit(to, atomic_load_explicit(to, memory_order_relaxed) + n, memory_order_relaxed);
}

static struct family *find_family(enum kind kind, const char *name, const char *help, const char *labels,
                                  const uint64_t *bounds, double per_unit)
{
	struct family **link = &families;
	for (; *link; link = &(*link)->next)
		if (strcmp((*link)->name, name) == 0)
			return *link;
	struct family *f = calloc(1, sizeof *f);
	if (!f)
		return NULL;
	*f = (struct family){ .name = name, .help = help, .labels = labels, .kind = kind, .bounds = bounds, .per_unit = per_unit };
	while (bounds && f->n_bounds < BUCKETS_MAX - 1 && bounds[f->n_bounds])
		f->n_bounds++;
	return *link = f;
}

/* `name="value",...`: the label's names come from the family, values from the list. */
static char *label_text(const char *names, va_list *values, bool other)
{
	struct buf b = { 0 };
	for (const char *name = names; *name;) {
		size_t len = strcspn(name, ",");
		const char *value = other ? "other" : va_arg(*values, const char *);
		buf_put(&b, name, len);
		buf_put(&b, "=", 1);
		buf_put_json(&b, str_of(value ? value : ""));
		name += len;
		if (*name == ',') {
			buf_put(&b, ",", 1);
			name++;
		}
	}
	return buf_take(&b);
}

static struct metric *make_series(struct family *f, char *labels)
{
	struct metric *m = calloc(1, sizeof *m);
	if (!m)
		return NULL;
	size_t size = sizeof(struct slot) + (f->kind == HISTOGRAM ? (f->n_bounds + 1) * sizeof(uint64_t) : 0);
	m->slot_size = (size + LINE - 1) / LINE * LINE;
	m->slots = aligned_alloc(LINE, m->slot_size * METRICS_SLOTS);
	if (!m->slots) {
		free(m);
		return NULL;
	}
	memset(m->slots, 0, m->slot_size * METRICS_SLOTS);
	m->family = f;
	m->labels = labels;
	m->next = f->series;
	f->series = m;
	f->n_series++;
	return m;
}

static struct metric *find_series(struct family *f, va_list *values)
{
	if (!f)
		return NULL;
	char *labels = label_text(f->labels, values, false);
	for (int pass = 0; labels && pass < 2; pass++) {
		for (struct metric *m = f->series; m; m = m->next)
			if (strcmp(m->labels, labels) == 0) {
				free(labels);
				return m;
			}
		if (f->n_series < METRICS_SERIES_MAX) {
			struct metric *m = make_series(f, labels);
			if (!m)
				free(labels);
			return m;
		}
		free(labels);
		labels = label_text(f->labels, NULL, true);
		if (pass == 0) {
			/* Room for exactly one more: the one that stands for all others. */
			struct metric *m = f->series;
			while (m && strcmp(m->labels, labels) != 0)
				m = m->next;
			if (!m && f->n_series == METRICS_SERIES_MAX) {
				m = make_series(f, labels);
				if (!m)
					free(labels);
				return m;
			}
		}
	}
	free(labels);
	return NULL;
}

#define FIND(KIND, BOUNDS, PER_UNIT) \
	va_list values; \
	va_start(values, labels); \
	pthread_mutex_lock(&lock); \
	struct metric *m = find_series(find_family(KIND, name, help, labels, BOUNDS, PER_UNIT), &values); \
	pthread_mutex_unlock(&lock); \
	va_end(values); \
	return m

struct metric *metrics_counter(const char *name, const char *help, const char *labels, ...)
{
	FIND(COUNTER, NULL, 1);
}

struct metric *metrics_gauge(const char *name, const char *help, const char *labels, ...)
{
	FIND(GAUGE, NULL, 1);
}

struct metric *metrics_histogram(const char *name, const char *help, const uint64_t *bounds, double per_unit,
                                 const char *labels, ...)
{
	FIND(HISTOGRAM, bounds, per_unit);
}

void metrics_add(struct metric *m, uint64_t n)
{
	unsigned mine = own_slot();
	if (m)
		add(&slot_at(m, mine)->value, n, mine == SHARED_SLOT);
}

/* A gauge lives in the first slot alone. */
void metrics_set(struct metric *m, int64_t value)
{
	if (m)
		atomic_store_explicit(&slot_at(m, 0)->value, (uint64_t) value, memory_order_relaxed);
}

void metrics_observe(struct metric *m, uint64_t value)
{
	if (!m)
		return;
	const struct family *f = m->family;
	size_t i = 0;
	while (i < f->n_bounds && value > f->bounds[i])
		i++;
	unsigned mine = own_slot();
	struct slot *slot = slot_at(m, mine);
	add(&slot->value, value, mine == SHARED_SLOT);
	add(&slot->buckets[i], 1, mine == SHARED_SLOT);
}

uint64_t metrics_value(const struct metric *m)
{
	uint64_t sum = 0;
	for (size_t i = 0; m && i < METRICS_SLOTS; i++)
		sum += atomic_load_explicit(&slot_at(m, i)->value, memory_order_relaxed);
	return sum;
}

static void write_histogram(struct buf *out, const struct family *f, const struct metric *m)
{
	const char *comma = *m->labels ? "," : "";
	uint64_t total = 0;
	for (size_t i = 0; i <= f->n_bounds; i++) {
		for (size_t s = 0; s < METRICS_SLOTS; s++)
			total += atomic_load_explicit(&slot_at(m, s)->buckets[i], memory_order_relaxed);
		if (i < f->n_bounds)
			buf_printf(out, "%s_bucket{%s%sle=\"%.9g\"} %llu\n", f->name, m->labels, comma,
			           (double) f->bounds[i] / f->per_unit, (unsigned long long) total);
		else
			buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", f->name, m->labels, comma, (unsigned long long) total);
	}
	const char *open = *m->labels ? "{" : "", *close = *m->labels ? "}" : "";
	buf_printf(out, "%s_sum%s%s%s %.9g\n", f->name, open, m->labels, close, (double) metrics_value(m) / f->per_unit);
	buf_printf(out, "%s_count%s%s%s %llu\n", f->name, open, m->labels, close, (unsigned long long) total);
}

void metrics_write(struct buf *out)
{
	static const char *const types[] = { "counter", "gauge", "histogram" };
	pthread_mutex_lock(&lock);
	for (const struct family *f = families; f; f = f->next) {
		buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name, types[f->kind]);
		for (const struct metric *m = f->series; m; m = m->next) {
			if (f->kind == HISTOGRAM) {
				write_histogram(out, f, m);
				continue;
			}
			const char *open = *m->labels ? "{" : "", *close = *m->labels ? "}" : "";
			buf_printf(out, "%s%s%s%s ", f->name, open, m->labels, close);
			buf_put_i64(out, (int64_t) metrics_value(m));
			buf_put(out, "\n", 1);
		}
	}
	pthread_mutex_unlock(&lock);
}

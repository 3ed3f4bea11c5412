/* SPDX-License-Identifier: Apache-2.0 */
/* width.c - what queues have and may have, and their shares over time. */
#include <math.h>
#include <string.h>

#include "plugins/scheduler/fair/fair.h"

int64_t fair_width(const sl_view_lease *lease)
{
	return (int64_t) lease->devices * 1000;
}

int64_t fair_priority(const sl_view *view, const sl_view_lease *lease)
{
	return (int64_t) view->queues[lease->queue].priority * ((int64_t) 1 << 32) + lease->priority;
}

int64_t width_excess(const struct fair *f, uint32_t queue, int64_t width)
{
	const sl_view_queue_terms *t = &f->view->queue_terms[queue];
	int64_t quota = ((int64_t) t->nominal + t->borrow) * 1000;
	return t->borrow < 0 ? 0 : f->queues[queue].nominal + f->queues[queue].borrowed + width - quota;
}

static int64_t positive(int64_t value)
{
	return value > 0 ? value : 0;
}

static void use(struct fair *f, uint32_t at, int64_t width)
{
	while (at != SL_NONE && width) {
		struct node *node = &f->nodes[at];
		int64_t before = positive(node->used - node->kept);
		node->used += width;
		width = positive(node->used - node->kept) - before;
		at = node->parent;
	}
	f->nodes[f->view->n_queues + f->view->n_cohorts].used += width; /* the pool */
}

void width_add(struct fair *f, uint32_t queue, int borrowed, int64_t width)
{
	*(borrowed ? &f->queues[queue].borrowed : &f->queues[queue].nominal) += width;
	use(f, queue, width);
}

/* What members lend goes up, the deepest first: cohorts are few, so as many passes as they can be deep. */
static void lend(struct fair *f, uint32_t at, int64_t limit)
{
	struct node *node = &f->nodes[at], *pool = &f->nodes[f->view->n_queues + f->view->n_cohorts];
	int64_t lent = limit < 0 || limit > node->own ? node->own : limit;
	node->kept = node->own - lent;
	if (node->parent != SL_NONE)
		f->nodes[node->parent].own += lent;
	else
		pool->own -= node->kept;
}

static int depth_of(const struct fair *f, uint32_t at)
{
	int depth = 0;
	while ((at = f->nodes[at].parent) != SL_NONE && depth < 64)
		depth++;
	return depth;
}

static void setup_nodes(struct fair *f)
{
	const sl_view *v = f->view;
	uint32_t nq = (uint32_t) v->n_queues, nc = (uint32_t) v->n_cohorts;
	int64_t capacity = 0;
	for (size_t i = 0; i < v->n_devices; i++)
		if ((v->devices[i].state != SL_DEVICE_FAULTY && v->devices[i].state != SL_DEVICE_DRAINED) || v->devices[i].lease)
			capacity += 1000;
	for (uint32_t i = 0; i < nq; i++) {
		const sl_view_queue_terms *t = &v->queue_terms[i];
		f->nodes[i] = (struct node){ .parent = t->cohort == SL_NONE ? SL_NONE : nq + t->cohort,
			.own = (int64_t) t->nominal * 1000, .borrow = t->borrow < 0 ? -1 : (int64_t) t->borrow * 1000 };
	}
	for (uint32_t i = 0; i < nc; i++) {
		const sl_view_cohort *c = &v->cohorts[i];
		f->nodes[nq + i] = (struct node){ .parent = c->parent == SL_NONE ? SL_NONE : nq + c->parent,
			.own = (int64_t) c->nominal * 1000, .borrow = c->borrow < 0 ? -1 : (int64_t) c->borrow * 1000 };
	}
	f->nodes[nq + nc] = (struct node){ .parent = SL_NONE, .own = capacity, .borrow = -1 };
	for (uint32_t i = 0; i < nq; i++)
		lend(f, i, v->queue_terms[i].lend < 0 ? -1 : (int64_t) v->queue_terms[i].lend * 1000);
	int deepest = 0;
	for (uint32_t i = 0; i < nc; i++)
		deepest = depth_of(f, nq + i) > deepest ? depth_of(f, nq + i) : deepest;
	for (int depth = deepest; depth >= 0; depth--)
		for (uint32_t i = 0; i < nc; i++)
			if (depth_of(f, nq + i) == depth)
				lend(f, nq + i, v->cohorts[i].lend < 0 ? -1 : (int64_t) v->cohorts[i].lend * 1000);
}

/* The decayed use as it is now, without remembering it. */
static double decayed(const struct fair *f, const struct past *p, const sl_view_queue_terms *t)
{
	uint64_t passed = f->view->now_ms > p->last_ms ? f->view->now_ms - p->last_ms : 0;
	uint64_t more = t->used_ms > p->last_used_ms ? t->used_ms - p->last_used_ms : 0;
	return p->used * exp2(-(double) passed / (double) f->half_life_ms) + (double) more;
}

static const struct past *past_of(const struct fair *f, size_t queue)
{
	const char *name = f->view->queues[queue].name;
	if (queue < f->n_past && strcmp(f->past[queue].name, name) == 0)
		return &f->past[queue];
	for (size_t i = 0; i < f->n_past; i++)
		if (strcmp(f->past[i].name, name) == 0)
			return &f->past[i];
	return NULL;
}

void width_setup(struct fair *f)
{
	const sl_view *v = f->view;
	double whole = ((double) v->n_devices + 1) * (double) f->half_life_ms * 1.4427; /* the whole pool used for ever */
	setup_nodes(f);
	for (uint32_t i = 0; i < v->n_queues; i++) {
		const sl_view_queue_terms *t = &v->queue_terms[i];
		const struct past *p = past_of(f, i);
		f->queues[i] = (struct queue){ .first = SL_NONE, .yields = -1 };
		f->queues[i].history = p ? decayed(f, p, t) / whole : 0;
		width_add(f, i, 0, t->nominal_milli);
		width_add(f, i, 1, t->borrowed_milli);
	}
}

void width_remember(struct fair *f)
{
	const sl_view *v = f->view;
	size_t n = v->n_queues;
	double used[1024];
	n = n < 1024 ? n : 1024;
	for (size_t i = 0; i < n; i++) {
		const struct past *p = past_of(f, i);
		used[i] = p ? decayed(f, p, &v->queue_terms[i]) : 0;
	}
	for (size_t i = 0; i < n; i++) {
		f->past[i] = (struct past){ .used = used[i], .last_used_ms = v->queue_terms[i].used_ms, .last_ms = v->now_ms };
		memcpy(f->past[i].name, v->queues[i].name, SL_NAME_MAX);
	}
	f->n_past = n;
}

static int64_t available(const struct fair *f, uint32_t at)
{
	const struct node *node = &f->nodes[at == SL_NONE ? f->view->n_queues + f->view->n_cohorts : at];
	if (at == SL_NONE)
		return node->own - node->used;
	int64_t above = available(f, node->parent);
	if (node->borrow >= 0) {
		int64_t most = node->own - node->kept - positive(node->used - node->kept) + node->borrow;
		above = above < most ? above : most;
	}
	return positive(node->kept - node->used) + above;
}

/* The same, if nobody used anything. */
static int64_t most_available(const struct fair *f, uint32_t at)
{
	const struct node *node = &f->nodes[at == SL_NONE ? f->view->n_queues + f->view->n_cohorts : at];
	if (at == SL_NONE)
		return node->own;
	int64_t above = most_available(f, node->parent);
	if (node->borrow >= 0 && above > node->own - node->kept + node->borrow)
		above = node->own - node->kept + node->borrow;
	return node->kept + above;
}

int64_t width_most(const struct fair *f, uint32_t queue)
{
	const sl_view_queue_terms *t = &f->view->queue_terms[queue];
	int64_t most = most_available(f, queue), quota = ((int64_t) t->nominal + t->borrow) * 1000;
	return t->borrow >= 0 && quota < most ? quota : most;
}

int64_t width_available(const struct fair *f, uint32_t queue)
{
	return available(f, queue);
}

/* What it has borrowed now, and what it used of late, as parts of the pool and by weight. */
double width_share(const struct fair *f, uint32_t queue)
{
	double now = (double) f->queues[queue].borrowed / (1000 * ((double) f->view->n_devices + 1));
	return (now + f->queues[queue].history) / (double) f->view->queue_terms[queue].weight;
}

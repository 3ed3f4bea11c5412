/* SPDX-License-Identifier: Apache-2.0 */
/* cohort.c - what queues are owed, what they have, and how much more they may borrow. */
#include "core/lease/cohort.h"

enum { DEPTH_MAX = 32 };

static int64_t positive(int64_t value)
{
	return value > 0 ? value : 0;
}

static uint32_t depth_of(const struct cohort_tree *t, uint32_t node)
{
	uint32_t depth = 0;
	for (uint32_t at = t->nodes[node].parent; at != UINT32_MAX; at = t->nodes[at].parent)
		if (at >= t->n || ++depth > DEPTH_MAX)
			return UINT32_MAX;
	return depth;
}

void cohort_setup(struct cohort_tree *t, int64_t capacity)
{
	uint32_t deepest = 0;
	for (uint32_t i = 0; i < t->n; i++) {
		struct cohort_node *node = &t->nodes[i];
		node->depth = depth_of(t, i);
		if (node->depth == UINT32_MAX) {
			node->parent = UINT32_MAX;
			node->depth = 0;
		}
		node->own = node->nominal;
		node->used = 0;
	}
	for (uint32_t i = 0; i < t->n; i++) {
		t->nodes[i].depth = depth_of(t, i);
		deepest = t->nodes[i].depth > deepest ? t->nodes[i].depth : deepest;
	}
	t->pool_own = capacity;
	t->pool_used = 0;
	/* The deepest first, so that a node knows all that its members lend. */
	for (uint32_t depth = deepest + 1; depth-- > 0;)
		for (uint32_t i = 0; i < t->n; i++) {
			struct cohort_node *node = &t->nodes[i];
			if (node->depth != depth)
				continue;
			int64_t lent = node->lend < 0 || node->lend > node->own ? node->own : node->lend;
			node->kept = node->own - lent;
			if (node->parent != UINT32_MAX)
				t->nodes[node->parent].own += lent;
			else
				t->pool_own -= node->kept;
		}
}

void cohort_use(struct cohort_tree *t, uint32_t at, int64_t width)
{
	while (at != UINT32_MAX && width) {
		struct cohort_node *node = &t->nodes[at];
		int64_t before = positive(node->used - node->kept);
		node->used += width;
		width = positive(node->used - node->kept) - before;
		at = node->parent;
	}
	t->pool_used += width;
}

int64_t cohort_available(const struct cohort_tree *t, uint32_t at)
{
	if (at == UINT32_MAX)
		return t->pool_own - t->pool_used;
	const struct cohort_node *node = &t->nodes[at];
	int64_t above = cohort_available(t, node->parent);
	if (node->borrow >= 0) {
		int64_t most = node->own - node->kept - positive(node->used - node->kept) + node->borrow;
		above = above < most ? above : most;
	}
	return positive(node->kept - node->used) + above;
}

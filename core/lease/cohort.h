/* SPDX-License-Identifier: Apache-2.0 */
/* cohort.h - what queues are owed, what they have, and how much more they may borrow. Pure.
 *
 * Queues are the leaves of a tree of cohorts; its root is the pool. Every node has an amount that is its own (a queue's
 * nominal; a cohort's, and what its members lend). What it does not lend is kept for it; the rest of it goes into its
 * parent. A node uses its kept part first, and above that its parent's. Widths are in thousandths of a device. */
#ifndef CORE_LEASE_COHORT_H
#define CORE_LEASE_COHORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One queue or cohort. */
struct cohort_node {
	uint32_t parent;    /* index of a node, UINT32_MAX: the pool */
	int64_t nominal;    /* in: its own, without what members lend */
	int64_t borrow;     /* in: -1: no limit */
	int64_t lend;       /* in: -1: all */
	int64_t own, kept;  /* with what members lend; the part that it does not lend */
	int64_t used;       /* of a queue: the width of its leases; of a cohort: what members use above their kept parts */
	uint32_t depth;     /* guards against a ring of parents */
};

struct cohort_tree {
	struct cohort_node *nodes; /* borrowed; members may stand anywhere */
	size_t n;
	int64_t pool_own, pool_used;
};

/* Computes own and kept, sets every use to 0. capacity: the width of all devices. A parent that leads in a ring or nowhere
 * counts as the pool. */
void cohort_setup(struct cohort_tree *tree, int64_t capacity);
/* The width of queue `node` changes by `width` (negative: falls). */
void cohort_use(struct cohort_tree *tree, uint32_t node, int64_t width);
/* How much wider queue `node` may become without what is owed to others and kept for them; may be negative. */
int64_t cohort_available(const struct cohort_tree *tree, uint32_t node);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* events.c - a binary heap. */
#include "core/sim/events.h"

#include <stdlib.h>

static bool before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

bool sim_events_put(struct sim_events *e, int64_t at, uint32_t type, uint32_t job)
{
	if (e->n == e->room) {
		size_t room = e->room ? e->room * 2 : 256;
		struct sim_event *more = realloc(e->heap, room * sizeof *more);
		if (!more)
			return false;
		e->heap = more;
		e->room = room;
	}
	struct sim_event event = { at, e->put++, type, job };
	size_t i = e->n++;
	for (; i > 0 && before(&event, &e->heap[(i - 1) / 2]); i = (i - 1) / 2)
		e->heap[i] = e->heap[(i - 1) / 2];
	e->heap[i] = event;
	return true;
}

bool sim_events_next(struct sim_events *e, struct sim_event *out)
{
	if (e->n == 0)
		return false;
	*out = e->heap[0];
	struct sim_event last = e->heap[--e->n];
	size_t i = 0;
	for (size_t child; (child = 2 * i + 1) < e->n; i = child) {
		if (child + 1 < e->n && before(&e->heap[child + 1], &e->heap[child]))
			child++;
		if (!before(&e->heap[child], &last))
			break;
		e->heap[i] = e->heap[child];
	}
	if (e->n)
		e->heap[i] = last;
	return true;
}

void sim_events_free(struct sim_events *e)
{
	free(e->heap);
	*e = (struct sim_events){ 0 };
}

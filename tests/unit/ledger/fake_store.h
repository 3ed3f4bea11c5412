/* SPDX-License-Identifier: Apache-2.0 */
/* fake_store.h - a store in memory that keeps sequence numbers, refuses on command, and can be slow. */
#ifndef TESTS_UNIT_LEDGER_FAKE_STORE_H
#define TESTS_UNIT_LEDGER_FAKE_STORE_H

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>
#include <sluice/store.h>

struct fake_store {
	atomic_uint_fast64_t last;     /* highest sequence */
	atomic_uint_fast64_t records, groups;
	atomic_uint_fast64_t key_sum;  /* of the lengths of keys, to see that they arrive */
	atomic_int refuse;             /* so many appends fail; -1: all */
	atomic_int slow_ms;
	atomic_int out_of_order;       /* records that did not follow their predecessor */
};

static int fake_last_seq(void *self, uint64_t *seq, sl_error *error)
{
	(void) error;
	*seq = atomic_load(&((struct fake_store *) self)->last);
	return SL_OK;
}

static int fake_append(void *self, const sl_record *records, size_t n, sl_error *error)
{
	struct fake_store *s = self;
	if (atomic_load(&s->slow_ms))
		usleep((unsigned) atomic_load(&s->slow_ms) * 1000);
	int refuse = atomic_load(&s->refuse);
	if (refuse) {
		if (refuse > 0)
			atomic_fetch_sub(&s->refuse, 1);
		error->code = SL_EAGAIN;
		strcpy(error->text, "refused on command");
		return SL_EAGAIN;
	}
	for (size_t i = 0; i < n; i++) {
		if (records[i].seq != atomic_load(&s->last) + 1)
			atomic_fetch_add(&s->out_of_order, 1);
		atomic_store(&s->last, records[i].seq);
		atomic_fetch_add(&s->records, 1);
		atomic_fetch_add(&s->key_sum, records[i].key.len);
	}
	atomic_fetch_add(&s->groups, 1);
	return SL_OK;
}

static const sl_store_ops fake_ops = { .size = sizeof fake_ops, .last_seq = fake_last_seq, .append = fake_append };

#endif

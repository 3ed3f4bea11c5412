/* SPDX-License-Identifier: Apache-2.0 */
/* seal.h - digests of the groups that go to the store, each chained to the one before.
 *
 *   digest = SHA-256("sluice ledger 1\n", digest before, first, last, wall_ms, record, record ...)
 *
 * with the sequence numbers of the first and the last record and the time of the last one,
 * all numbers little-endian, 64 bit. A record is its bytes below: not the journal's, which name a segment that nobody
 * has any more, but what a store can give back. */
#ifndef CORE_LEDGER_SEAL_H
#define CORE_LEDGER_SEAL_H

#include <sluice/store.h>
#include <stdbool.h>

#include "core/base/hash.h"

enum { SEAL_RECORDS_MAX = 2000 };

struct sealer {
	struct hash_stream *hash; /* NULL: the store keeps no seals */
	uint8_t digest[32];       /* of the last group that the store has; zeros: it is the first */
	uint32_t checks[SEAL_RECORDS_MAX];
};

/* `stored`: the highest sequence that the store has. Takes up the chain at its end. */
int sealer_open(struct sealer *sealer, const sl_store_ops *store, void *store_self, uint64_t stored, sl_error *error);
void sealer_close(struct sealer *sealer);
/* Appends the group with its seal where the store keeps seals, else without. At most SEAL_RECORDS_MAX records. */
int sealer_append(struct sealer *sealer, const sl_store_ops *store, void *store_self, const sl_record *records, size_t n,
                  sl_error *error);

/* The steps of one digest, for making and for checking it. False: the library fails. */
bool seal_begin(struct hash_stream *hash, const uint8_t before[32], uint64_t first, uint64_t last, uint64_t wall_ms);
/* *check: CRC-32C of the same bytes. */
bool seal_add(struct hash_stream *hash, const sl_record *record, uint32_t *check);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* record.h - how records lie in a journal segment.
 *
 * A segment is a file of fixed size: a head of 64 bytes, then records one behind the other, each padded to 8 bytes,
 * then whatever was there before. All numbers are little-endian, as every machine we run on has them. A record is
 * valid when its checksum holds, it names its segment and its sequence is the one expected next: what an earlier
 * life of a recycled file left behind is not. */
#ifndef CORE_LEDGER_RECORD_H
#define CORE_LEDGER_RECORD_H

#include <sluice/store.h>
#include <stdbool.h>

enum {
	SEGMENT_HEAD_BYTES = 64,
	RECORD_KEY_MAX = 1024,
	RECORD_BYTES_MAX = 1 << 18 /* with its head */
};

struct segment_head {
	char magic[8];      /* "SLUJRNL1": a later format has another digit */
	uint64_t number;    /* as in the file's name */
	uint64_t first_seq; /* of its first record */
	uint64_t wall_ms;   /* when it was begun */
	uint8_t zero[28];
	uint32_t crc;       /* CRC-32C of all before it */
};

struct record_head {
	uint32_t magic;    /* RECORD_MAGIC */
	uint32_t crc;      /* CRC-32C of all behind it, key and data included */
	uint64_t seq;
	uint64_t wall_ms;
	uint32_t behind;   /* seq - behind was durable before this record was written: later proof of what must be there */
	uint32_t segment;  /* low half of the segment's number */
	uint16_t type, key_len;
	uint32_t data_len;
};

#define RECORD_MAGIC 0x52434a53u /* "SJCR" */

/* With head and padding. */
size_t record_bytes(size_t key_len, size_t data_len);
/* Writes everything but what record_seal knows. `out` holds record_bytes(). */
void record_write(void *out, uint64_t seq, uint64_t wall_ms, uint32_t type, sl_str key, const void *data, size_t size);
/* The last word before it goes to the file: where it lies and what was durable by then. */
void record_seal(void *record, uint64_t segment, uint64_t durable);
/* The record at `at` when it is whole and of this segment: its length, else 0. `left`: bytes that may be read. */
size_t record_check(const void *at, size_t left, uint64_t segment);
/* Pointers into the record. */
void record_read(const void *record, sl_record *out);

void segment_head_make(struct segment_head *head, uint64_t number, uint64_t first_seq, uint64_t wall_ms);
bool segment_head_valid(const struct segment_head *head);

#endif

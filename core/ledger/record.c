/* SPDX-License-Identifier: Apache-2.0 */
/* record.c - the bytes of records and segment heads. */
#include "core/ledger/record.h"

#include <string.h>

#include "core/base/hash.h"

_Static_assert(sizeof (struct segment_head) == SEGMENT_HEAD_BYTES, "the head of a segment has no gaps");
_Static_assert(sizeof (struct record_head) == 40, "the head of a record has no gaps");

/* What the checksum does not cover. */
#define CRC_FROM offsetof(struct record_head, seq)

size_t record_bytes(size_t key_len, size_t data_len)
{
	return (sizeof (struct record_head) + key_len + data_len + 7) & ~(size_t) 7;
}

void record_write(void *out, uint64_t seq, uint64_t wall_ms, uint32_t type, sl_str key, const void *data, size_t size)
{
	struct record_head head = {
		.magic = RECORD_MAGIC, .seq = seq, .wall_ms = wall_ms,
		.type = (uint16_t) type, .key_len = (uint16_t) key.len, .data_len = (uint32_t) size,
	};
	char *p = out;
	size_t end = sizeof head + key.len + size;
	memcpy(p, &head, sizeof head);
	if (key.len)
		memcpy(p + sizeof head, key.ptr, key.len);
	if (size)
		memcpy(p + sizeof head + key.len, data, size);
	memset(p + end, 0, record_bytes(key.len, size) - end);
}

void record_seal(void *record, uint64_t segment, uint64_t durable)
{
	struct record_head head;
	memcpy(&head, record, sizeof head);
	head.segment = (uint32_t) segment;
	head.behind = (uint32_t) (head.seq - durable);
	memcpy(record, &head, sizeof head);
	size_t bytes = record_bytes(head.key_len, head.data_len);
	head.crc = hash_crc32c(0, (char *) record + CRC_FROM, bytes - CRC_FROM);
	memcpy((char *) record + offsetof(struct record_head, crc), &head.crc, sizeof head.crc);
}

size_t record_check(const void *at, size_t left, uint64_t segment)
{
	struct record_head head;
	if (left < sizeof head)
		return 0;
	memcpy(&head, at, sizeof head);
	if (head.magic != RECORD_MAGIC || head.segment != (uint32_t) segment || head.key_len > RECORD_KEY_MAX ||
	    head.data_len > RECORD_BYTES_MAX)
		return 0;
	size_t bytes = record_bytes(head.key_len, head.data_len);
	if (bytes > left || bytes > RECORD_BYTES_MAX)
		return 0;
	return hash_crc32c(0, (const char *) at + CRC_FROM, bytes - CRC_FROM) == head.crc ? bytes : 0;
}

void record_read(const void *record, sl_record *out)
{
	struct record_head head;
	memcpy(&head, record, sizeof head);
	const char *key = (const char *) record + sizeof head;
	*out = (sl_record){
		.seq = head.seq, .type = head.type, .size = head.data_len, .wall_ms = head.wall_ms,
		.key = { key, head.key_len }, .data = key + head.key_len,
	};
}

void segment_head_make(struct segment_head *head, uint64_t number, uint64_t first_seq, uint64_t wall_ms)
{
	*head = (struct segment_head){ .magic = "SLUJRNL", .number = number, .first_seq = first_seq, .wall_ms = wall_ms };
	head->magic[7] = '1';
	head->crc = hash_crc32c(0, head, offsetof(struct segment_head, crc));
}

bool segment_head_valid(const struct segment_head *head)
{
	return memcmp(head->magic, "SLUJRNL1", 8) == 0 && head->crc == hash_crc32c(0, head, offsetof(struct segment_head, crc));
}

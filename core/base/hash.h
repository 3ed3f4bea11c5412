/* SPDX-License-Identifier: Apache-2.0 */
/* hash.h - hashes: fast ones for tables, SHA-256 for secrets, CRCs for records and keys. */
#ifndef CORE_BASE_HASH_H
#define CORE_BASE_HASH_H

#include <stdbool.h>
#include <sluice/types.h>

/* XXH3, seeded per process, so that outsiders cannot choose collisions. Not for storage. */
uint64_t hash_bytes(const void *data, size_t len);
static inline uint64_t hash_str(sl_str s)
{
	return hash_bytes(s.ptr, s.len);
}

/* SHA-256 (libcrypto). False only when the library fails. Any thread. */
bool hash_sha256(const void *data, size_t len, uint8_t out[32]);

/* SHA-256 of pieces, one after the other. begin, add as often as needed, end; then again. False only when the library
 * fails. One thread at a time. */
struct hash_stream;
struct hash_stream *hash_stream_new(void); /* NULL: no memory */
bool hash_stream_begin(struct hash_stream *stream);
bool hash_stream_add(struct hash_stream *stream, const void *data, size_t len);
bool hash_stream_end(struct hash_stream *stream, uint8_t out[32]);
void hash_stream_free(struct hash_stream *stream); /* NULL is fine */

/* CRC-32C (Castagnoli), of records. Chain with the result as `seed`, start with 0. */
uint32_t hash_crc32c(uint32_t seed, const void *data, size_t len);
/* The same without special instructions, for tests. */
uint32_t hash_crc32c_tables(uint32_t seed, const void *data, size_t len);

/* CRC-32 (IEEE 802.3, as in zip), the checksum in keys. */
uint32_t hash_crc32(const void *data, size_t len);

/* Bytes from the kernel's random source. False when there are none. */
bool hash_random(void *out, size_t len);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* seal.c - the bytes of a record that a digest is made of, and the chain. */
#include "core/ledger/seal.h"

#include <string.h>

#include "core/base/error.h"

static const char magic[] = "sluice ledger 1\n";

/* What is written of one record before its key and data. */
struct bytes {
	uint8_t data[512];
	size_t len;
};

static void put_number(struct bytes *b, uint64_t value)
{
	memcpy(b->data + b->len, &value, sizeof value); /* little-endian, as every machine we run on */
	b->len += sizeof value;
}

/* Its length and its characters: what stands behind the NUL is nobody's word. */
static void put_field(struct bytes *b, const char *field, size_t room)
{
	size_t len = strnlen(field, room);
	b->data[b->len++] = (uint8_t) len;
	memcpy(b->data + b->len, field, len);
	b->len += len;
}

/* A store's integers may be signed: what does not fit is as large as can be. */
static uint64_t clamp(uint64_t value)
{
	return value > INT64_MAX ? INT64_MAX : value;
}

static void put_usage(struct bytes *b, const sl_usage *u)
{
	const uint64_t numbers[] = { clamp(u->started_ms), clamp(u->duration_us), clamp(u->ttft_us), clamp(u->wait_us),
		(uint64_t) u->input_tokens, (uint64_t) u->cached_tokens, (uint64_t) u->output_tokens, (uint64_t) u->cost,
		(uint64_t) u->flags << 32 | (uint64_t) u->status << 16 | u->tries };
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		put_number(b, numbers[i]);
	put_field(b, u->request_id, sizeof u->request_id);
	put_field(b, u->tenant, sizeof u->tenant);
	put_field(b, u->user, sizeof u->user);
	put_field(b, u->key, sizeof u->key);
	put_field(b, u->model, sizeof u->model);
	put_field(b, u->replica, sizeof u->replica);
	put_field(b, u->door, sizeof u->door);
}

bool seal_begin(struct hash_stream *hash, const uint8_t before[32], uint64_t first, uint64_t last, uint64_t wall_ms)
{
	struct bytes b = { .len = 0 };
	memcpy(b.data, magic, sizeof magic - 1);
	memcpy(b.data + sizeof magic - 1, before, 32);
	b.len = sizeof magic - 1 + 32;
	put_number(&b, first);
	put_number(&b, last);
	put_number(&b, wall_ms);
	return hash_stream_begin(hash) && hash_stream_add(hash, b.data, b.len);
}

bool seal_add(struct hash_stream *hash, const sl_record *r, uint32_t *check)
{
	struct bytes b = { .len = 0 };
	_Static_assert(12 * 8 + sizeof(sl_usage) < sizeof b.data, "a use record fits");
	put_number(&b, r->seq);
	put_number(&b, r->type);
	if (r->type == SL_RECORD_USAGE && r->size == sizeof(sl_usage)) {
		sl_usage usage;
		memcpy(&usage, r->data, sizeof usage);
		put_usage(&b, &usage);
		*check = hash_crc32c(0, b.data, b.len);
		return hash_stream_add(hash, b.data, b.len);
	}
	put_number(&b, clamp(r->wall_ms));
	put_number(&b, r->key.len);
	put_number(&b, r->size);
	*check = hash_crc32c(hash_crc32c(hash_crc32c(0, b.data, b.len), r->key.ptr, r->key.len), r->data, r->size);
	return hash_stream_add(hash, b.data, b.len) && hash_stream_add(hash, r->key.ptr, r->key.len) &&
	       hash_stream_add(hash, r->data, r->size);
}

static int take_digest(void *arg, const sl_seal *seal)
{
	struct sealer *sealer = arg;
	memcpy(sealer->digest, seal->digest, sizeof sealer->digest);
	return 1;
}

int sealer_open(struct sealer *sealer, const sl_store_ops *store, void *store_self, uint64_t stored, sl_error *error)
{
	*sealer = (struct sealer){ 0 };
	if (!SL_STORE_HAS(store, append_sealed) || !SL_STORE_HAS(store, seal_scan))
		return SL_OK;
	sealer->hash = hash_stream_new();
	if (!sealer->hash)
		return error_set(error, SL_ENOMEM, "out of memory");
	int code = stored ? store->seal_scan(store_self, stored, 1, take_digest, sealer, error) : SL_OK;
	return code == SL_OK ? SL_OK : error_prefix(error, "the store's last digest cannot be read: ");
}

void sealer_close(struct sealer *sealer)
{
	hash_stream_free(sealer->hash);
	sealer->hash = NULL;
}

int sealer_append(struct sealer *sealer, const sl_store_ops *store, void *store_self, const sl_record *records, size_t n,
                  sl_error *error)
{
	if (!sealer->hash || !n)
		return store->append(store_self, records, n, error);
	sl_seal seal = { .size = sizeof seal, .n = (uint32_t) n, .first = records[0].seq, .last = records[n - 1].seq,
		/* None of now: a group that is sent again, since nobody knows whether the store took it, has the same digest. */
		.wall_ms = clamp(records[n - 1].wall_ms), .checks = sealer->checks };
	bool made = n <= SEAL_RECORDS_MAX && seal_begin(sealer->hash, sealer->digest, seal.first, seal.last, seal.wall_ms);
	for (size_t i = 0; made && i < n; i++)
		made = seal_add(sealer->hash, &records[i], &sealer->checks[i]);
	if (!made || !hash_stream_end(sealer->hash, seal.digest))
		return error_set(error, SL_EINTERNAL, "the digest of records %llu to %llu cannot be made",
		                 (unsigned long long) seal.first, (unsigned long long) seal.last);
	int code = store->append_sealed(store_self, records, n, &seal, error);
	if (code == SL_OK)
		memcpy(sealer->digest, seal.digest, sizeof sealer->digest);
	return code;
}

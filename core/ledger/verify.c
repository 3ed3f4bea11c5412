/* SPDX-License-Identifier: Apache-2.0 */
/* verify.c - are the records that the store has those that were sealed? */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "core/ledger/ledger.h"
#include "core/ledger/seal.h"

enum { SEALS_AT_ONCE = 32 };

/* Copies of seals: a store need not bear other questions while it gives them. */
struct seals {
	sl_seal at[SEALS_AT_ONCE];
	unsigned n;
	bool failed;
};

struct verifying {
	const sl_store_ops *store;
	void *self;
	struct ledger_verdict *out;
	struct hash_stream *hash;
	struct seals seals;
	/* The group that is being looked at. */
	const sl_seal *seal;
	uint64_t expected;  /* the sequence that comes next */
	uint64_t suspect;   /* the first whose checksum differs, 0: none */
	bool failed;        /* the library */
	bool whole;         /* a group with its records was there: none behind it may be folded */
};

static void seals_clear(struct seals *seals)
{
	for (unsigned i = 0; i < seals->n; i++)
		free((uint32_t *) seals->at[i].checks);
	seals->n = 0;
}

static int take_seal(void *arg, const sl_seal *given)
{
	struct seals *seals = arg;
	sl_seal *seal = &seals->at[seals->n];
	size_t bytes = given->n * sizeof *given->checks;
	*seal = *given;
	uint32_t *checks = malloc(bytes + 1);
	if (!checks) {
		seals->failed = true;
		return 1;
	}
	if (bytes)
		memcpy(checks, given->checks, bytes);
	seal->checks = checks;
	return ++seals->n == SEALS_AT_ONCE;
}

static int read_seals(struct verifying *v, uint64_t first, uint64_t limit, sl_error *error)
{
	seals_clear(&v->seals);
	int code = v->store->seal_scan(v->self, first, limit, take_seal, &v->seals, error);
	return v->seals.failed ? error_set(error, SL_ENOMEM, "out of memory") : code;
}

__attribute__((format(printf, 4, 5)))
static void wrong(struct verifying *v, uint64_t first, uint64_t last, const char *format, ...)
{
	va_list args;
	if (v->out->wrong)
		return;
	va_start(args, format);
	vsnprintf(v->out->why, sizeof v->out->why, format, args);
	va_end(args);
	v->out->wrong = first;
	v->out->wrong_last = last;
}

static int look_at(void *arg, const sl_record *r)
{
	struct verifying *v = arg;
	uint32_t check;
	if (r->seq > v->expected) {
		wrong(v, v->expected, v->expected, "record %" PRIu64 " is missing", v->expected);
		return 1;
	}
	if (r->seq < v->expected) {
		wrong(v, r->seq, r->seq, "record %" PRIu64 " is there more than once", r->seq);
		return 1;
	}
	if (!seal_add(v->hash, r, &check)) {
		v->failed = true;
		return 1;
	}
	uint64_t i = r->seq - v->seal->first;
	if (!v->suspect && (i >= v->seal->n || v->seal->checks[i] != check))
		v->suspect = r->seq;
	v->expected++;
	v->out->records++;
	return 0;
}

static int audit(struct verifying *v, uint64_t first, uint64_t last, sl_error *error)
{
	sl_error why = { 0 };
	uint64_t seq = 0;
	if (!SL_STORE_HAS(v->store, audit))
		return SL_OK;
	int code = v->store->audit(v->self, first, last, &seq, &why);
	if (code != SL_OK)
		return error_set(error, code, "%s", why.text);
	if (seq)
		wrong(v, seq, seq, "record %" PRIu64 ": %.200s", seq, why.text);
	return SL_OK;
}

static int among_folded(void *arg, const sl_record *r)
{
	wrong(arg, r->seq, r->seq, "record %" PRIu64 " stands where all records were folded", r->seq);
	return 1;
}

/* Groups that became sums: their digest is all there is, and nothing else of them may be there. */
static int verify_folded(struct verifying *v, const sl_seal *seal, sl_error *error)
{
	if (v->whole) {
		wrong(v, seal->first, seal->last, "records %" PRIu64 " to %" PRIu64 " have no checksums, and older ones have", seal->first,
		      seal->last);
		return SL_OK;
	}
	int code = v->store->record_scan(v->self, seal->first, seal->last, among_folded, v, error);
	if (code == SL_OK && !v->out->wrong)
		code = audit(v, seal->first, seal->last, error);
	if (code == SL_OK && !v->out->wrong) {
		v->out->folded = v->out->verified = seal->last;
		memcpy(v->out->digest, seal->digest, sizeof v->out->digest);
	}
	return code;
}

/* One group, behind the one that ended with `before`. */
static int verify_group(struct verifying *v, const sl_seal *seal, const uint8_t before[32], sl_error *error)
{
	uint8_t digest[32];
	if (!seal->n)
		return verify_folded(v, seal, error);
	v->whole = true;
	v->seal = seal;
	v->expected = seal->first;
	v->suspect = 0;
	v->failed = !seal_begin(v->hash, before, seal->first, seal->last, seal->wall_ms);
	int code = v->failed ? SL_OK : v->store->record_scan(v->self, seal->first, seal->last, look_at, v, error);
	if (code != SL_OK)
		return code;
	v->failed = v->failed || (!v->out->wrong && !hash_stream_end(v->hash, digest));
	if (v->failed)
		return error_set(error, SL_EINTERNAL, "the digest of records from %" PRIu64 " on cannot be made", seal->first);
	if (v->expected <= seal->last)
		wrong(v, v->expected, v->expected, "record %" PRIu64 " is missing", v->expected);
	if (v->out->wrong)
		return SL_OK;
	if (memcmp(digest, seal->digest, sizeof digest) != 0) {
		if (v->suspect)
			wrong(v, v->suspect, v->suspect, "record %" PRIu64 " is not as it was written", v->suspect);
		else
			wrong(v, seal->first, seal->last, "the digest of records %" PRIu64 " to %" PRIu64 " is not theirs: it was changed, or "
			      "what came before them was", seal->first, seal->last);
		return SL_OK;
	}
	code = audit(v, seal->first, seal->last, error);
	if (code == SL_OK && !v->out->wrong) {
		v->out->verified = seal->last;
		memcpy(v->out->digest, digest, sizeof digest);
	}
	return code;
}

static int behind_the_last(void *arg, const sl_record *r)
{
	wrong(arg, r->seq, r->seq, "record %" PRIu64 " stands behind the last digest: the ledger did not write it", r->seq);
	return 1;
}

/* Group by group, until `most` records were looked at. */
static int verify_from(struct verifying *v, uint64_t from, uint8_t before[32], uint64_t most, sl_error *error)
{
	struct ledger_verdict *out = v->out;
	for (uint64_t next = from;;) {
		int code = read_seals(v, next, SEALS_AT_ONCE, error);
		if (code != SL_OK)
			return code;
		if (!v->seals.n) {
			code = v->store->record_scan(v->self, next, INT64_MAX, behind_the_last, v, error);
			return code == SL_OK ? audit(v, next, INT64_MAX, error) : code;
		}
		for (unsigned i = 0; i < v->seals.n; i++) {
			const sl_seal *seal = &v->seals.at[i];
			if (seal->first != next)
				wrong(v, next, seal->first - 1, "records %" PRIu64 " to %" PRIu64 " have no digest", next, seal->first - 1);
			code = out->wrong ? SL_OK : verify_group(v, seal, before, error);
			if (code != SL_OK || out->wrong)
				return code;
			memcpy(before, seal->digest, 32);
			next = seal->last + 1;
			if (most && out->records >= most) {
				out->next = next;
				return SL_OK;
			}
		}
	}
}

/* Where to begin, and the digest before that. */
static int find_start(struct verifying *v, uint64_t from, const uint8_t *known, uint64_t *start, uint8_t before[32],
                      sl_error *error)
{
	memset(before, 0, 32);
	int code = read_seals(v, 0, 1, error);
	if (code != SL_OK || !v->seals.n)
		return code;
	v->out->first = *start = v->seals.at[0].first;
	if (from <= v->out->first)
		return SL_OK;
	code = read_seals(v, from - 1, 1, error);
	if (code != SL_OK || !v->seals.n)
		return code;
	const sl_seal *seal = &v->seals.at[0];
	if (!seal->n && seal->last != from - 1)
		return error_set(error, SL_EINVAL, "record %" PRIu64 " was folded; of what was, the digest of each day's last record is kept, "
		                 "here that of %" PRIu64, from - 1, seal->last);
	if (seal->last != from - 1)
		return error_set(error, SL_EINVAL, "no group of records begins with %" PRIu64, from);
	*start = from;
	v->whole = seal->n != 0;
	memcpy(before, seal->digest, 32);
	v->out->verified = seal->last; /* by an earlier part */
	memcpy(v->out->digest, before, 32);
	if (known && memcmp(known, before, 32) != 0)
		wrong(v, seal->first, seal->last, "the digest of records %" PRIu64 " to %" PRIu64 " is another one than before",
		      seal->first, seal->last);
	return SL_OK;
}

int ledger_verify(const sl_store_ops *store, void *store_self, uint64_t from, const uint8_t *digest, uint64_t most,
                  struct ledger_verdict *out, sl_error *error)
{
	struct verifying v = { .store = store, .self = store_self, .out = out };
	uint64_t start = 0;
	uint8_t before[32];
	*out = (struct ledger_verdict){ 0 };
	if (!SL_STORE_HAS(store, seal_scan) || !SL_STORE_HAS(store, record_scan))
		return error_set(error, SL_ENOTSUP, "this store keeps no digests");
	v.hash = hash_stream_new();
	int code = v.hash ? find_start(&v, from, digest, &start, before, error) : error_set(error, SL_ENOMEM, "out of memory");
	if (code == SL_OK && start && !out->wrong)
		code = verify_from(&v, start, before, most, error);
	seals_clear(&v.seals);
	hash_stream_free(v.hash);
	return code;
}

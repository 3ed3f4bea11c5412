/* SPDX-License-Identifier: Apache-2.0 */
/* recover.c - finds the valid end of a journal and tells a torn tail from damage.
 *
 * A crash may leave any part of the group that was being written, in any order, since the disk writes pages as it
 * likes. So an invalid record followed by valid ones is no damage by itself. But each record says which sequence
 * was durable before it was written: when a later one says that the invalid one was, something that was
 * committed is gone, and that is for a person to decide on. */
#include "core/ledger/recover.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/error.h"
#include "core/base/log.h"

enum { SEGMENT_BYTES_LIMIT = 1 << 30 };

/* One segment in memory. */
struct image {
	uint64_t number;
	char *data;
	size_t size;
	struct segment_head head;
};

static void image_free(struct image *image)
{
	free(image->data);
	image->data = NULL;
}

static int image_read(struct folder *f, uint64_t number, struct image *image, sl_error *error)
{
	*image = (struct image){ .number = number };
	int fd = folder_segment(f, number, O_RDONLY);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0)
		goto failed;
	if (st.st_size > SEGMENT_BYTES_LIMIT) {
		errno = EFBIG;
		goto failed;
	}
	image->size = (size_t) st.st_size;
	/* Room for a head, whatever the file has. */
	image->data = calloc(1, image->size < SEGMENT_HEAD_BYTES ? SEGMENT_HEAD_BYTES : image->size);
	if (!image->data)
		goto failed;
	for (size_t have = 0; have < image->size;) {
		ssize_t n = pread(fd, image->data + have, image->size - have, (off_t) have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			goto failed;
		have += (size_t) n;
	}
	close(fd);
	memcpy(&image->head, image->data, sizeof image->head);
	return SL_OK;
failed:
	error_set(error, SL_EIO, "cannot read %s/journal-%016" PRIx64 ": %s", f->path, number, strerror(errno));
	if (fd >= 0)
		close(fd);
	image_free(image);
	return SL_EIO;
}

static bool image_begun(const struct image *image)
{
	return segment_head_valid(&image->head) && image->head.number == image->number;
}

/* Goes through valid records from `offset` on, the first has to be `seq`. Leaves both behind the last. */
static void image_walk(const struct image *image, size_t *offset, uint64_t *seq)
{
	while (*offset < image->size) {
		const char *at = image->data + *offset;
		size_t bytes = record_check(at, image->size - *offset, image->number);
		struct record_head head;
		if (!bytes)
			return;
		memcpy(&head, at, sizeof head);
		if (head.seq != *seq)
			return;
		*offset += bytes;
		(*seq)++;
	}
}

/* What lies behind the valid end. */
struct remains {
	bool any;          /* something that looks like a record of this segment */
	uint64_t proof;    /* a valid record that shows `seq` to be committed: its sequence, 0: none */
	size_t proof_at;
};

static void image_search(const struct image *image, size_t offset, uint64_t seq, struct remains *out)
{
	*out = (struct remains){ 0 };
	for (offset = (offset + 7) & ~(size_t) 7; offset + sizeof (struct record_head) <= image->size; offset += 8) {
		struct record_head head;
		memcpy(&head, image->data + offset, sizeof head);
		if (head.magic != RECORD_MAGIC || head.segment != (uint32_t) image->number)
			continue;
		out->any = true;
		if (record_check(image->data + offset, image->size - offset, image->number) && head.seq > seq &&
		    head.seq - head.behind >= seq) {
			out->proof = head.seq;
			out->proof_at = offset;
			return;
		}
	}
}

static int damaged(struct folder *f, uint64_t number, size_t offset, uint64_t seq, uint64_t proof, uint64_t proof_number,
                   sl_error *error)
{
	log_error("journal %s: record %" PRIu64 " in journal-%016" PRIx64 " at byte %zu is damaged, and record %" PRIu64
	          " in journal-%016" PRIx64 " shows that it was committed", f->path, seq, number, offset, proof, proof_number);
	return error_set(error, SL_ECONFLICT, "journal damaged: record %" PRIu64 " (journal-%016" PRIx64 ", byte %zu) was "
	                 "committed but is not whole; restore the folder from a copy, or move it away with what the store "
	                 "lacks. Folder: %s", seq, number, offset, f->path);
}

/* A file that got its name but no head yet, because of a crash. */
static int drop_unbegun(struct folder *f, const struct image *image, sl_error *error)
{
	static const struct segment_head zero;
	struct remains remains;
	image_search(image, SEGMENT_HEAD_BYTES, 0, &remains);
	bool clean = memcmp(&image->head, &zero, sizeof zero) == 0 ||
	             (segment_head_valid(&image->head) && image->head.number < image->number);
	if (!clean || remains.any)
		return error_set(error, SL_ECONFLICT, "journal damaged: the head of %s/journal-%016" PRIx64 " is not readable; "
		                 "restore the folder from a copy, or move it away with what the store lacks", f->path, image->number);
	segment_remove(f, image->number);
	return SL_OK;
}

/* Zeros where a torn group lies, so that none of it can ever look like what comes next; full length again. */
static int cut(struct folder *f, const struct image *image, struct recovery *r, bool torn, sl_error *error)
{
	r->end = (r->end + 7) & ~UINT64_C(7);
	r->room = image->size;
	if (r->room < f->segment_bytes)
		r->room = f->segment_bytes;
	if (!torn && image->size == r->room)
		return SL_OK;
	if (torn)
		log_warn("journal %s: cut behind record %" PRIu64 " (journal-%016" PRIx64 ", byte %" PRIu64 "): what follows was "
		         "being written when the machine or the process stopped, and was not committed", f->path, r->next_seq - 1,
		         image->number, r->end);
	int fd = folder_segment(f, image->number, O_RDWR);
	bool done = fd >= 0 && folder_zero(f, fd, r->end, r->room) && fsync(fd) == 0;
	int why = errno;
	if (fd >= 0)
		close(fd);
	if (!done)
		return error_set(error, SL_EIO, "cannot cut %s/journal-%016" PRIx64 ": %s", f->path, image->number, strerror(why));
	return SL_OK;
}

/* The last segment: what does not go on here is a torn tail, unless there is proof of more. */
static int end_here(struct folder *f, const struct image *image, struct recovery *r, sl_error *error)
{
	struct remains remains;
	image_search(image, (size_t) r->end, r->next_seq, &remains);
	if (remains.proof)
		return damaged(f, image->number, (size_t) r->end, r->next_seq, remains.proof, image->number, error);
	return cut(f, image, r, remains.any, error);
}

/* Segment by segment. One is begun when all before it is durable, so none may be missing between the first and the
 * last. */
static int recover_segments(struct folder *f, const uint64_t *numbers, size_t n, struct recovery *r, sl_error *error)
{
	size_t end = SEGMENT_HEAD_BYTES;
	for (size_t i = 0; i < n; i++) {
		struct image image;
		int code = image_read(f, numbers[i], &image, error);
		if (code != SL_OK)
			return code;
		if (i == 0 && image_begun(&image)) {
			r->first = numbers[0];
			r->first_seq = r->next_seq = image.head.first_seq;
		} else if (!image_begun(&image) || numbers[i] != numbers[i - 1] + 1 || image.head.first_seq != r->next_seq) {
			code = damaged(f, numbers[i ? i - 1 : 0], end, r->next_seq, image.head.first_seq, numbers[i], error);
			image_free(&image);
			return code;
		}
		end = SEGMENT_HEAD_BYTES;
		image_walk(&image, &end, &r->next_seq);
		r->last = numbers[i];
		r->end = end;
		if (i + 1 == n)
			code = end_here(f, &image, r, error);
		image_free(&image);
		if (code != SL_OK)
			return code;
	}
	return SL_OK;
}

int recover(struct folder *f, struct recovery *out, sl_error *error)
{
	uint64_t *numbers;
	size_t n;
	struct image last = { 0 };
	*out = (struct recovery){ .first = 1, .last = 0, .first_seq = 1, .next_seq = 1 };
	int code = folder_list(f, &numbers, &n, error);
	if (code == SL_OK && n)
		code = image_read(f, numbers[n - 1], &last, error);
	if (code == SL_OK && n && !image_begun(&last)) {
		code = drop_unbegun(f, &last, error);
		n--;
	}
	image_free(&last);
	if (code == SL_OK)
		code = recover_segments(f, numbers, n, out, error);
	free(numbers);
	return code;
}

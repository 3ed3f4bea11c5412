/* SPDX-License-Identifier: Apache-2.0 */
/* folder.h - the files of a journal: journal-NUMBER, of fixed size, and at most one journal-spare, which is next.
 *
 * A file's blocks exist, written with zeros, before a record goes into it: writing over them costs half of what
 * appending does, and the disk cannot be full in the middle of a commit. Names become durable (fsync of the folder)
 * before anything counts on them. */
#ifndef CORE_LEDGER_FOLDER_H
#define CORE_LEDGER_FOLDER_H

#include "core/ledger/ledger.h"
#include "core/ledger/record.h"

enum { FOLDER_NAME_MAX = 32 };

struct folder {
	char *path;
	int fd, lock_fd;
	uint64_t segment_bytes;
	struct ledger_io io;
};

/* Makes the folder when missing, takes its lock: two daemons cannot share a journal. */
int folder_open(struct folder *f, const char *path, sl_error *error);
void folder_close(struct folder *f);
/* Numbers of the segments there, sorted. The caller frees. */
int folder_list(struct folder *f, uint64_t **numbers, size_t *n, sl_error *error);
void folder_name(uint64_t number, char out[FOLDER_NAME_MAX]);
/* A descriptor, or -1 with errno. */
int folder_segment(struct folder *f, uint64_t number, int flags);

/* All of it, at that offset. False: errno. */
bool folder_write(struct folder *f, int fd, const void *data, size_t size, uint64_t offset);
/* Zeros from `offset` to `end`, then durable. False: errno. */
bool folder_zero(struct folder *f, int fd, uint64_t offset, uint64_t end);

/* A new spare, durable. SL_OK, or SL_EFULL (disk full; nothing is left behind), SL_EIO. */
int spare_make(struct folder *f, sl_error *error);
/* Is there one, of the right size? Others are removed. */
bool spare_exists(struct folder *f);
/* A segment that nobody needs becomes the spare. False: it was removed instead (other size). */
bool spare_recycle(struct folder *f, uint64_t number);
/* The spare becomes a segment, its head is written (not yet durable). A descriptor, or -1 with errno. */
int spare_take(struct folder *f, uint64_t number, uint64_t first_seq, uint64_t wall_ms);
void segment_remove(struct folder *f, uint64_t number);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* logs.h - a program's output: a file that it appends to, and of which only the end is kept.
 *
 * Offsets count all bytes ever written. What is older than the bound is given back to the file system by punching
 * a hole, so offsets stay true. */
#ifndef CORE_AGENT_LOGS_H
#define CORE_AGENT_LOGS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"

struct log_file {
	int fd;          /* -1: not open */
	uint64_t base;   /* offset of the file's first byte: above 0 once the file was cut to nothing */
	uint64_t first;  /* offset of the first byte that is kept */
	uint64_t size;   /* offset behind the last byte that was seen */
	bool no_holes;   /* the file system cannot punch any */
};

/* Opens the file, which need not exist yet: then it stays closed and the next call tries again. */
void log_file_open(struct log_file *log, const char *folder, const char *name);
/* Looks at the size and drops what is older than `keep` bytes. True: it has grown. */
bool log_file_tick(struct log_file *log, uint64_t keep);
/* Appends up to `max` bytes at offset *from to out; negative: that many before the end. *from is moved to where
 * the bytes really begin. False: cannot be read. */
bool log_file_read(struct log_file *log, int64_t *from, size_t max, struct buf *out);
void log_file_close(struct log_file *log);

#endif

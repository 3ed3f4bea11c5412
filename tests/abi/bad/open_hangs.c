/* SPDX-License-Identifier: Apache-2.0 */
/* open_hangs.c - its open() takes its time, and its end leaves a mark: a file that SLUICE_TEST_CLOSED names. */
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tests/abi/bad/bad.h"

static int open_hangs(const sl_host *host, const sl_conf *conf, void **self, sl_error *error)
{
	(void) host, (void) conf, (void) error;
	nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
	*self = NULL;
	return SL_OK;
}

static void close_marks(void *self)
{
	const char *path = getenv("SLUICE_TEST_CLOSED");
	(void) self;
	if (path)
		close(open(path, O_CREAT | O_WRONLY, 0600));
}

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_SCHEDULER),
	BAD_WORDS("open_hangs"),
	.open = open_hangs,
	.close = close_marks,
	.ops = &good_ops,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* bad.h - a scheduler that does nothing: each file beside this spoils one thing of it. */
#ifndef TESTS_ABI_BAD_BAD_H
#define TESTS_ABI_BAD_BAD_H

#include <sluice/scheduler.h>

__attribute__((unused)) static int plan(void *self, const sl_view *view, sl_action *out, size_t room, size_t *n,
                                        sl_error *error)
{
	(void) self, (void) view, (void) out, (void) room, (void) error;
	*n = 0;
	return SL_OK;
}

__attribute__((unused)) static int open_fine(const sl_host *host, const sl_conf *conf, void **self, sl_error *error)
{
	(void) host, (void) conf, (void) error;
	*self = NULL;
	return SL_OK;
}

__attribute__((unused)) static void close_fine(void *self)
{
	(void) self;
}

__attribute__((unused)) static const sl_scheduler_ops good_ops = { .size = sizeof good_ops, .plan = plan };

#define BAD_WORDS(NAME) .name = (NAME), .version = "1.0", .summary = "a test"
#define BAD_BODY .open = open_fine, .close = close_fine, .ops = &good_ops

#endif

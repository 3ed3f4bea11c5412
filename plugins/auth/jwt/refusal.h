/* SPDX-License-Identifier: Apache-2.0 */
/* refusal.h - why a token gets nobody in. */
#ifndef PLUGINS_AUTH_JWT_REFUSAL_H
#define PLUGINS_AUTH_JWT_REFUSAL_H

#include <stdarg.h>
#include <stdio.h>
#include <sluice/types.h>

struct refusal {
	const char *event; /* what is counted; one of a small fixed set */
	sl_error error;    /* what the caller reads: never more than the caller's own token shows */
};

__attribute__((format(printf, 4, 5))) static inline int refuse(struct refusal *why, int code, const char *event,
                                                               const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(why->error.text, sizeof why->error.text, format, args);
	va_end(args);
	why->event = event;
	why->error.code = code;
	return code;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* error.c - fills sl_error. */
#include "core/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(sl_error *error, int code, const char *format, ...)
{
	if (!error)
		return code;
	char text[SL_ERROR_TEXT]; /* an argument may be the old text of this very error */
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	error->code = code;
	memcpy(error->text, text, sizeof text);
	return code;
}

int error_prefix(sl_error *error, const char *format, ...)
{
	char text[2 * SL_ERROR_TEXT];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	size_t used = n < 0 ? 0 : (size_t) n < sizeof text ? (size_t) n : sizeof text - 1;
	snprintf(text + used, sizeof text - used, "%s", error->text);
	text[SL_ERROR_TEXT - 1] = '\0';
	memcpy(error->text, text, SL_ERROR_TEXT);
	return error->code;
}

int error_http_status(int code)
{
	switch (code) {
	case SL_OK: return 200;
	case SL_EINVAL: return 400;
	case SL_EAUTH: return 401;
	case SL_EDENIED: return 403;
	case SL_ENOTFOUND: return 404;
	case SL_ECONFLICT: return 409;
	case SL_ELIMIT: return 429;
	case SL_EUPSTREAM: return 502;
	case SL_EUNAVAILABLE:
	case SL_ENOMEM:
	case SL_EIO:
	case SL_EAGAIN:
	case SL_EFULL: return 503;
	case SL_ETIMEOUT: return 504;
	case SL_ENOTSUP: return 501;
	default: return 500;
	}
}

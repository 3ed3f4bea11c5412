/* SPDX-License-Identifier: Apache-2.0 */
/* answer.c - ends a call: with JSON, with text, with an error that says what to do. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/control/inner.h"

/* Who did what, for every call that changes something. */
static void audit(const struct call *call, int status)
{
	if (!call->route || call->route->quiet || !call->x->head)
		return;
	log_info("audit: from %s uid %d user '%s' tenant '%s' key '%s': %.*s %.*s%s%s: %d", call->x->peer, (int) call->who.uid,
	         call->who.user, call->who.tenant, call->who.key, STR_ARG(call->x->head->method), STR_ARG(call->x->head->path),
	         call->what[0] ? " " : "", call->what, status);
}

void call_text(struct call *call, int status, const char *type, sl_str body)
{
	struct http_exchange *x = call->x;
	if (!x)
		return;
	audit(call, status);
	call->x = NULL;
	call->deadline_ms = 0;
	http_respond(x, status, type, body);
}

void call_json(struct call *call, int status, json_t *value)
{
	char *text = value ? json_text(value) : NULL;
	json_decref(value);
	if (text) {
		call_text(call, status, "application/json", str_of(text));
		explicit_bzero(text, strlen(text)); /* a new key's secret passes here */
	} else {
		call_text(call, 503, "application/json",
		          STR("{\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\",\"param\":null,\"code\":\"out_of_memory\"}}"));
	}
	free(text);
}

static const char *type_of(int status)
{
	switch (status) {
	case 401: return "authentication_error";
	case 403: return "permission_error";
	case 404: return "not_found_error";
	case 409: return "conflict_error";
	case 429: return "rate_limit_error";
	default: return status >= 500 ? "server_error" : "invalid_request_error";
	}
}

void call_fail(struct call *call, int status, const char *code, const char *param, const char *cure, const char *format, ...)
{
	char message[1024];
	va_list args;
	va_start(args, format);
	vsnprintf(message, sizeof message, format, args);
	va_end(args);
	json_t *error = json_object();
	json_set_str(error, "message", str_of(message));
	json_object_set_new(error, "type", json_string(type_of(status)));
	if (param)
		json_set_str(error, "param", str_of(param));
	else
		json_object_set_new(error, "param", json_null());
	json_object_set_new(error, "code", json_string(code));
	if (cure)
		json_set_str(error, "try", str_of(cure));
	call_json(call, status, json_pack("{s:o}", "error", error));
}

static const char *code_of(int code)
{
	switch (code) {
	case SL_EINVAL: return "invalid_request";
	case SL_EAUTH: return "unauthenticated";
	case SL_EDENIED: return "denied";
	case SL_ENOTFOUND: return "not_found";
	case SL_ECONFLICT: return "conflict";
	case SL_ELIMIT: return "limit_reached";
	case SL_EUPSTREAM: return "upstream_failed";
	case SL_EUNAVAILABLE: return "unavailable";
	case SL_ETIMEOUT: return "timeout";
	case SL_ENOMEM: return "out_of_memory";
	case SL_EIO: return "io_error";
	case SL_EAGAIN: return "try_again";
	case SL_EFULL: return "full";
	case SL_ENOTSUP: return "not_supported";
	default: return "internal_error";
	}
}

void call_fail_error(struct call *call, const sl_error *error)
{
	call_fail(call, error_http_status(error->code), code_of(error->code), NULL, NULL, "%s", error->text);
}

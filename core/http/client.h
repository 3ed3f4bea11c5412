/* SPDX-License-Identifier: Apache-2.0 */
/* client.h - single HTTP requests from a libuv loop: health checks, metrics, an engine's control calls. */
#ifndef CORE_HTTP_CLIENT_H
#define CORE_HTTP_CLIENT_H

#include <uv.h>

#include "core/http/address.h"

/* status 0: no answer, and `why` says so. The body is bounded by 4 MiB. Borrowed for the call. */
typedef void (*http_client_done)(void *arg, int status, sl_str body, const char *why);

struct http_client_request;

/* One request on a connection of its own. done() is called exactly once, never before this returns, unless the
 * request is cancelled. NULL only when out of memory. `type` and `body` may be absent. */
struct http_client_request *http_client_send(uv_loop_t *loop, const struct http_address *address, const char *method,
                                             const char *path, const char *type, sl_str body, uint64_t timeout_ms,
                                             http_client_done done, void *arg);
/* done() will not be called. */
void http_client_cancel(struct http_client_request *request);

#endif

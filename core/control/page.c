/* SPDX-License-Identifier: Apache-2.0 */
/* page.c - the web page's door: where it listens, what it serves, what every answer carries. */
#include <string.h>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/control/inner.h"

enum { SWEEP_MS = 60000 };

static void on_sweep(uv_timer_t *timer)
{
	struct control *control = timer->data;
	const struct session_terms terms = page_terms(control);
	sessions_sweep(control->sessions, &terms, control_now_ms());
}

struct session_terms page_terms(const struct control *control)
{
	const struct conf_page *page = &control->conf->page;
	return (struct session_terms){ .session_ms = (uint64_t) page->session_ms, .idle_ms = (uint64_t) page->idle_ms,
		.max = (size_t) page->sessions_max };
}

static bool is_loopback(const struct http_address *address)
{
	if (address->any.sa_family == AF_INET)
		return ntohl(address->v4.sin_addr.s_addr) >> 24 == 127;
	return address->any.sa_family != AF_INET6 || IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr);
}

int page_open(struct control *control, const struct http_server_options *options, http_handler handler, sl_error *error)
{
	const struct conf_page *page = &control->conf->page;
	char text[300];
	control->sessions = sessions_new();
	if (!control->sessions)
		return error_set(error, SL_ENOMEM, "page: out of memory");
	control->page_files = page_files_load(page->folder, error);
	if (!control->page_files)
		return SL_EIO;
	control->page_server = http_server_open(control->loop, page->listen, 0666, options, handler, control, error);
	if (!control->page_server)
		return SL_EIO;
	uv_timer_start(&control->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
	http_address_text(page->listen, text, sizeof text);
	log_info("web page at %s%s%s", text, page->origin ? ", seen as " : "", page->origin ? page->origin : "");
	if (!is_loopback(page->listen) && !page->origin)
		log_warn("page: keys cross the network in the clear at %s: put a TLS proxy in front, and name it: "
		         "page { origin = \"https://...\" }", text);
	return SL_OK;
}

void page_reload(struct control *control)
{
	sl_error error = { 0 };
	if (!control->page_files)
		return;
	struct page_files *files = page_files_load(control->conf->page.folder, &error);
	if (!files) {
		log_error("page: the files of before go on being served: %s", error.text);
		return;
	}
	page_files_free(control->page_files);
	control->page_files = files;
}

void page_headers(struct http_exchange *x)
{
	http_respond_header(x, "Content-Security-Policy", STR("default-src 'none'; frame-ancestors 'none'"));
	http_respond_header(x, "X-Content-Type-Options", STR("nosniff"));
	http_respond_header(x, "Referrer-Policy", STR("no-referrer"));
	http_respond_header(x, "Cross-Origin-Resource-Policy", STR("same-origin"));
	http_respond_header(x, "Cache-Control", STR("no-store"));
}

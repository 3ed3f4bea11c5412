/* SPDX-License-Identifier: Apache-2.0 */
/* control.c - opens, dispatches and closes the control door. */
#include "core/control/control.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/control/inner.h"


void control_unref(struct control *control)
{
	if (atomic_fetch_sub(&control->refs, 1) != 1)
		return;
	page_files_free(control->page_files);
	sessions_free(control->sessions);
	conf_unref(control->conf);
	free(control);
}

static void fail_route(struct call *call, int status)
{
	const struct http_head *head = call->x->head;
	if (status == 405)
		call_fail(call, 405, "method_not_allowed", NULL, NULL, "%.*s is not possible on %.*s", STR_ARG(head->method),
		          STR_ARG(head->path));
	else
		call_fail(call, 404, "unknown_path", NULL, NULL, "there is nothing at %.*s %.*s", STR_ARG(head->method),
		          STR_ARG(head->path));
}

static bool is_at(const struct control_route *route, enum control_door door)
{
	switch (door) {
	case DOOR_METRICS: return route->role == ROLE_OPEN;
	case DOOR_PAGE: return route->role != ROLE_OPEN;
	default: return route->role != ROLE_PAGE;
	}
}

/* A call is kept while it is dispatched: its answer may end the exchange at once. */
static void dispatch(struct control *control, struct http_exchange *x, enum control_door door)
{
	struct call *call = call_new(control, x);
	if (!call) {
		http_respond(x, 503, "text/plain", STR("out of memory\n"));
		return;
	}
	int status = 404;
	call->door = door;
	call_ref(call);
	const struct control_route *found = control_route_find(x->head->method, x->head->path, call->path, call->params, &status);
	if (!found || !is_at(found, door)) {
		fail_route(call, found ? 404 : status);
	} else {
		call->route = found;
		if (found->role == ROLE_OPEN)
			found->handler(call);
		else
			call_authenticate(call);
	}
	call_unref(call);
}

static void on_request(void *arg, struct http_exchange *x)
{
	dispatch(arg, x, DOOR_SOCKET);
}

/* The TCP door: anybody may come, so it tells nothing but numbers and whether we are well. */
static void on_metrics_request(void *arg, struct http_exchange *x)
{
	dispatch(arg, x, DOOR_METRICS);
}

/* What is no call is a file, or nothing. */
static void on_page_request(void *arg, struct http_exchange *x)
{
	struct control *control = arg;
	if (!str_starts(x->head->path, STR("/v1/"))) {
		page_files_answer(control->page_files, x);
		return;
	}
	page_headers(x);
	dispatch(control, x, DOOR_PAGE);
}

static void on_last_closed(uv_handle_t *handle)
{
	struct control *control = handle->data;
	void (*closed)(void *) = control->closed;
	void *arg = control->closed_arg;
	control_unref(control);
	if (closed)
		closed(arg);
}

static void on_deadlines_closed(uv_handle_t *handle)
{
	/* Handles that close in one turn do so in no promised order: this one comes a turn later. */
	struct control *control = handle->data;
	uv_close((uv_handle_t *) &control->last, on_last_closed);
}

static void close_handles(struct control *control)
{
	mailbox_close(&control->mailbox);
	uv_close((uv_handle_t *) &control->sweep, NULL);
	uv_close((uv_handle_t *) &control->look, NULL);
	uv_close((uv_handle_t *) &control->deadlines, on_deadlines_closed);
}

static void on_server_closed(void *arg)
{
	struct control *control = arg;
	if (--control->servers_left == 0)
		close_handles(control);
}

static int listen_all(struct control *control, sl_error *error)
{
	struct http_server_options options = { .body_max = BODY_MAX, .connections_max = 1024 };
	struct http_address address;
	char text[160];
	if ((size_t) snprintf(text, sizeof text, "unix:%s", control->conf->control) >= sizeof text)
		return error_set(error, SL_EINVAL, "control: the path %.100s... is too long for a socket", control->conf->control);
	int code = http_address_parse(str_of(text), &address, error);
	if (code != SL_OK)
		return code;
	control->server = http_server_open(control->loop, &address, 0666, &options, on_request, control, error);
	if (!control->server)
		return error ? error->code : SL_EIO;
	control->servers_left = 1;
	if (control->conf->metrics) {
		control->metrics_server =
			http_server_open(control->loop, control->conf->metrics, 0666, &options, on_metrics_request, control, error);
		if (!control->metrics_server)
			return error ? error->code : SL_EIO;
		control->servers_left++;
	}
	if (control->conf->page.listen) {
		code = page_open(control, &options, on_page_request, error);
		if (code != SL_OK)
			return code;
		control->servers_left++;
	}
	return SL_OK;
}

struct control *control_open(const struct control_options *options, sl_error *error)
{
	struct control *control = calloc(1, sizeof *control);
	if (!control || options->n_auth > CONTROL_AUTH_MAX) {
		free(control);
		error_set(error, control ? SL_EFULL : SL_ENOMEM, "control: %s", control ? "too many auth plugins" : "out of memory");
		return NULL;
	}
	if (mailbox_open(&control->mailbox, options->loop) != 0) {
		free(control);
		error_set(error, SL_EIO, "control: the loop takes no more handles");
		return NULL;
	}
	atomic_store(&control->refs, 1);
	control->loop = options->loop;
	control->conf = conf_ref(options->conf);
	control->pool = options->pool;
	control->fleet = options->fleet;
	control->route = options->route;
	control->identity = options->identity;
	control->ledger = options->ledger;
	control->quota = options->quota;
	control->policy = options->policy;
	control->callbacks = options->callbacks;
	control->arg = options->arg;
	control->n_auth = options->n_auth;
	for (size_t i = 0; i < options->n_auth; i++)
		control->auth[i] = options->auth[i];
	control->started_wall_ms = control->config_wall_ms = clock_wall_ms();
	control->started_ms = control_now_ms();
	uv_timer_init(control->loop, &control->deadlines);
	uv_timer_init(control->loop, &control->last);
	uv_timer_init(control->loop, &control->sweep);
	uv_timer_init(control->loop, &control->look);
	control->sweep.data = control->look.data = control;
	control->deadlines.data = control->last.data = control;
	if (listen_all(control, error) != SL_OK) {
		control_close(control, 0, NULL, NULL);
		return NULL;
	}
	log_info("control door at %s", control->conf->control);
	return control;
}

static bool same_address(const struct http_address *a, const struct http_address *b)
{
	if (!a || !b)
		return a == b;
	return a->len == b->len && memcmp(&a->any, &b->any, a->len) == 0;
}

void control_configure(struct control *control, struct conf *conf, struct policy *policy)
{
	struct conf *old = control->conf;
	if (strcmp(old->control, conf->control) != 0 || !same_address(old->metrics, conf->metrics) ||
	    !same_address(old->page.listen, conf->page.listen))
		log_warn("control, metrics and page: where they listen changes with the next restart");
	control->conf = conf_ref(conf);
	control->policy = policy;
	control->config_wall_ms = clock_wall_ms();
	conf_unref(old);
	page_reload(control);
}

void control_close(struct control *control, uint64_t grace_ms, void (*done)(void *arg), void *arg)
{
	if (!control)
		return;
	control->closed = done;
	control->closed_arg = arg;
	control_events_end(control);
	if (!control->servers_left)
		close_handles(control);
	struct http_server *server = control->server, *metrics = control->metrics_server, *page = control->page_server;
	if (server)
		http_server_close(server, grace_ms, on_server_closed, control);
	if (metrics)
		http_server_close(metrics, grace_ms, on_server_closed, control);
	if (page)
		http_server_close(page, grace_ms, on_server_closed, control);
}

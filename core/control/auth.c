/* SPDX-License-Identifier: Apache-2.0 */
/* auth.c - who is calling: the auth plugins are asked in their order, with what the kernel says of the peer. */
#include <sluice/auth.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/str.h"
#include "core/control/inner.h"

enum { AUTH_TIMEOUT_MS = 5000 };

static void refuse_role(struct call *call)
{
	static const char *const names[] = { [ROLE_LEASE] = "lease", [ROLE_OPERATOR] = "operator", [ROLE_ADMIN] = "admin" };
	const char *role = names[call->route->role];
	call_fail(call, 403, "role_missing", NULL, NULL,
	          "this needs the role %s, and %s%s does not have it. Ask whoever administers this sluice", role,
	          call->who.user[0] ? "user " : "the caller", call->who.user);
}

static bool may(const struct call *call)
{
	switch (call->route->role) {
	case ROLE_LEASE: return call->who.roles & (SL_ROLE_LEASE | SL_ROLE_OPERATOR | SL_ROLE_ADMIN);
	case ROLE_OPERATOR: return call_is_operator(call);
	case ROLE_ADMIN: return call_is_admin(call);
	default: return true;
	}
}

static void let_in(struct call *call)
{
	if (!call->x)
		return;
	if (call->who.roles == SL_ROLE_INFER && call->route->role > ROLE_OWN)
		call_fail(call, 403, "inference_key", NULL, NULL, "this key is for the inference door: it cannot administer");
	else if (!may(call))
		refuse_role(call);
	else
		call->route->handler(call);
}

/* On the page's door the kernel knows at most the proxy in front, which is not who calls. */
static bool has_peer(const struct call *call)
{
	return call->x->has_peercred && call->door != DOOR_PAGE;
}

/* Peer credentials belong to the socket, whoever vouches for the caller. */
static void complete_identity(struct call *call)
{
	if (call->who.uid == UINT32_MAX && call->x && has_peer(call)) {
		call->who.uid = call->x->peer_uid;
		call->who.gid = call->x->peer_gid;
	}
}

static void ask_next(struct call *call);

/* A plugin has said no. */
static void refuse(struct call *call, const sl_error *error)
{
	if (error->code == SL_EAUTH || error->code == SL_EDENIED)
		call_end_session(call);
	call_fail_error(call, error);
}

static void on_answer(struct mail *mail)
{
	struct call *call = (struct call *) ((char *) mail - offsetof(struct call, auth_mail));
	if (call->x && call->auth_ok) {
		complete_identity(call);
		let_in(call);
	} else if (call->x && call->auth_error.code == SL_NOT_MINE) {
		ask_next(call);
	} else if (call->x && call->auth_error.code == SL_ETIMEOUT) {
		call_fail(call, 503, "auth_timeout", NULL, "again in a moment", "%s", call->auth_error.text);
	} else if (call->x) {
		refuse(call, &call->auth_error);
	}
	call_unref(call);
}

/* On the plugin's thread. The reference that the token holds goes on with the mail. */
static void on_token(void *arg, const void *result, size_t size, const sl_error *error)
{
	struct call *call = arg;
	call->auth_ok = result != NULL;
	if (result)
		memcpy(&call->who, result, size < sizeof call->who ? size : sizeof call->who);
	else if (error)
		call->auth_error = *error;
	else
		error_set(&call->auth_error, SL_EUNAVAILABLE, "the caller could not be verified");
	call->auth_mail.run = on_answer;
	if (!mailbox_post(&call->control->mailbox, &call->auth_mail))
		call_unref(call);
}

static void ask(struct call *call, struct plugin *plugin)
{
	const sl_auth_ops *ops = plugin_ops(plugin);
	const struct http_exchange *x = call->x;
	sl_auth_request request = {
		.size = sizeof request,
		.door = SL_DOOR_CONTROL,
		.authorization = call->credential ? str_of(call->credential) : http_header(x->head, "authorization"),
		.api_key = call->credential ? (sl_str){ 0 } : http_header(x->head, "x-api-key"),
		.peer = str_of(x->peer),
	};
	if (has_peer(call)) {
		request.has_peercred = true;
		request.peer_uid = x->peer_uid;
		request.peer_gid = x->peer_gid;
		request.peer_pid = x->peer_pid;
	}
	sl_identity identity = { .size = sizeof identity, .uid = UINT32_MAX, .gid = UINT32_MAX };
	sl_error error = { 0 };
	call_ref(call); /* the token's */
	sl_token token = plugin_token_new(plugin, clock_mono_ns() + AUTH_TIMEOUT_MS * UINT64_C(1000000), on_token, call);
	if (!token) {
		call_unref(call);
		call_fail(call, 503, "auth_busy", NULL, "try again", "plugin %s has too many questions open", plugin_name(plugin));
		return;
	}
	int code = ops->authenticate(plugin_self(plugin), &request, token, &identity, &error);
	if (code == SL_PENDING)
		return;
	if (!plugin_token_drop(plugin, token))
		return; /* it was completed all the same: that answer counts */
	call_unref(call);
	if (code == SL_NOT_MINE) {
		ask_next(call);
	} else if (code == SL_OK) {
		call->who = identity;
		complete_identity(call);
		let_in(call);
	} else {
		error.code = code;
		if (!error.text[0])
			error_set(&error, code, "plugin %s refused the caller", plugin_name(plugin));
		refuse(call, &error);
	}
}

static void ask_next(struct call *call)
{
	if (call->auth_next == call->control->n_auth && call->door == DOOR_PAGE) {
		call_end_session(call);
		call_fail(call, 401, "unauthenticated", NULL, "sluicectl keys create", "nobody knows this key here");
		return;
	}
	if (call->auth_next == call->control->n_auth) {
		call_fail(call, 401, "unauthenticated", NULL, NULL,
		          "nobody knows user %d here. Whoever administers this sluice can add it: tenant \"...\" { users = {\"NAME\"} }",
		          call->x->has_peercred ? (int) call->x->peer_uid : -1);
		return;
	}
	ask(call, call->control->auth[call->auth_next++]);
}

void call_authenticate(struct call *call)
{
	if (call->door != DOOR_PAGE || call_take_credential(call))
		ask_next(call);
}

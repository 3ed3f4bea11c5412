/* SPDX-License-Identifier: Apache-2.0 */
/* sign_in.c - callers of the web page's door: a key in a header, or a session that a key has begun. A session's cookie
 * is sent by a browser whoever wrote the page that asks, so changes must come from our own page. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/control/inner.h"

enum { COOKIE_NAME_MAX = 32, COOKIE_MAX = 256 };

static bool over_tls(const struct control *control)
{
	const char *origin = control->conf->page.origin;
	return origin && strncmp(origin, "https:", 6) == 0;
}

/* Cookies know no ports: two doors on one machine would take each other's, were it not for the name. */
static void cookie_name(const struct control *control, char out[COOKIE_NAME_MAX])
{
	if (over_tls(control))
		snprintf(out, COOKIE_NAME_MAX, "__Host-sluice");
	else
		snprintf(out, COOKIE_NAME_MAX, "sluice_%u", http_server_port(control->page_server));
}

/* age 0: forget it. */
static void set_cookie(const struct call *call, const char *token, uint64_t age_s)
{
	char name[COOKIE_NAME_MAX], cookie[COOKIE_MAX];
	cookie_name(call->control, name);
	snprintf(cookie, sizeof cookie, "%s=%s; Path=/; Max-Age=%llu; HttpOnly; SameSite=Strict%s", name, token,
	         (unsigned long long) age_s, over_tls(call->control) ? "; Secure" : "");
	http_respond_header(call->x, "Set-Cookie", str_of(cookie));
	explicit_bzero(cookie, sizeof cookie);
}

/* The value of our cookie, absent when there is none. */
static sl_str cookie_of(const struct call *call)
{
	char name[COOKIE_NAME_MAX];
	sl_str rest = http_header(call->x->head, "cookie");
	cookie_name(call->control, name);
	while (rest.len) {
		const char *end = memchr(rest.ptr, ';', rest.len);
		sl_str pair = { rest.ptr, end ? (size_t) (end - rest.ptr) : rest.len };
		rest = end ? (sl_str){ end + 1, rest.len - pair.len - 1 } : (sl_str){ 0 };
		pair = str_trim(pair);
		const char *equal = memchr(pair.ptr, '=', pair.len);
		if (equal && str_eq((sl_str){ pair.ptr, (size_t) (equal - pair.ptr) }, str_of(name)))
			return (sl_str){ equal + 1, pair.len - (size_t) (equal - pair.ptr) - 1 };
	}
	return (sl_str){ 0 };
}

static bool is_read(const struct call *call)
{
	return str_eq(call->x->head->method, STR("GET")) || str_eq(call->x->head->method, STR("HEAD"));
}

/* Does this come from our own page, as far as the browser says? Reading needs no proof, but a browser that says it
 * comes from elsewhere is believed. */
static bool is_own_page(const struct call *call)
{
	const struct http_head *head = call->x->head;
	const char *ours = call->control->conf->page.origin;
	sl_str site = http_header(head, "sec-fetch-site"), origin = http_header(head, "origin"), host = http_header(head, "host");
	bool same = str_eq(site, STR("same-origin"));
	if (is_read(call))
		return !site.ptr || same || str_eq(site, STR("none"));
	if (!http_header(head, "x-sluice-page").len || (site.ptr && !same))
		return false;
	if (!origin.ptr)
		return same;
	if (ours)
		return str_eq(origin, str_of(ours));
	return str_starts(origin, STR("http://")) && str_eq((sl_str){ origin.ptr + 7, origin.len - 7 }, host);
}

static bool keep_credential(struct call *call, const char *scheme, sl_str value)
{
	size_t room = strlen(scheme) + value.len + 1;
	call->credential = malloc(room);
	if (!call->credential) {
		call_fail(call, 503, "out_of_memory", NULL, NULL, "out of memory");
		return false;
	}
	snprintf(call->credential, room, "%s%.*s", scheme, STR_ARG(value));
	return true;
}

/* One who signs in says so in the body. */
static bool take_key(struct call *call)
{
	static const char *const fields[] = { "key", NULL };
	const char *key;
	if (!call_body(call, fields) || !call_member_str(call, "key", "", &key))
		return false;
	size_t len = strlen(key);
	if (len && len < SESSION_CREDENTIAL_MAX - 16 && strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~+/=-") == len)
		return keep_credential(call, "Bearer ", str_of(key));
	call_fail(call, 400, "invalid_key", "key", NULL, "this is no key: one is a single word of letters and digits");
	return false;
}

static bool take_session(struct call *call)
{
	struct control *control = call->control;
	const struct session_terms terms = page_terms(control);
	sl_str token = cookie_of(call);
	const struct session *session = token.len ? sessions_find(control->sessions, &terms, control_now_ms(), token) : NULL;
	if (session) {
		str_copy(call->session, sizeof call->session, str_of(session->token));
		return keep_credential(call, "", str_of(session->credential));
	}
	if (token.len)
		set_cookie(call, "", 0);
	call_fail(call, 401, token.len ? "session_ended" : "signed_out", NULL, NULL, "%s",
	          token.len ? "your session has ended: sign in again" : "sign in first, or send a key: Authorization: Bearer slk_...");
	return false;
}

bool call_take_credential(struct call *call)
{
	const struct http_head *head = call->x->head;
	bool signs_in = call->route->handler == control_session_new;
	/* A page of somebody else's cannot set these: no browser sends them for it without asking us first. */
	if (!signs_in && (http_header(head, "authorization").ptr || http_header(head, "x-api-key").ptr))
		return true;
	if (!is_own_page(call)) {
		call_fail(call, 403, "foreign_page", NULL, NULL, "this request comes from another page than this sluice's own%s%s",
		          call->control->conf->page.origin ? ", which is at " : "",
		          call->control->conf->page.origin ? call->control->conf->page.origin : "");
		return false;
	}
	return signs_in ? take_key(call) : take_session(call);
}

void call_end_session(struct call *call)
{
	if (!call->session[0] || !call->x)
		return;
	sessions_end(call->control->sessions, str_of(call->session));
	set_cookie(call, "", 0);
}

static json_t *time_json(uint64_t wall_ms)
{
	char text[32];
	clock_rfc3339(wall_ms, text);
	return json_string(text);
}

/* Who one is, and what one may. */
static json_t *me(struct call *call, uint64_t session_ends_ms)
{
	struct control *control = call->control;
	char tier[SL_NAME_MAX];
	identity_tier(control->identity, str_of(call->who.tenant), tier);
	json_t *out = json_object(), *gateway = control->callbacks.gateway_status(control->arg);
	json_set_str(out, "tenant", str_of(call->who.tenant));
	json_set_str(out, "user", str_of(call->who.user));
	json_set_str(out, "key", str_of(call->who.key));
	json_set_str(out, "tier", str_of(call->who.tier[0] ? call->who.tier : tier));
	json_object_set_new(out, "roles", identity_roles_json(call->who.roles));
	json_object_set_new(out, "session_ends_at",
	                    session_ends_ms ? time_json(clock_wall_ms() + session_ends_ms - control_now_ms()) : json_null());
	json_object_set_new(out, "organisation", json_string(control->conf->organisation));
	json_object_set_new(out, "door", json_string(json_get_str(gateway, "door", "")));
	json_object_set_new(out, "playground", json_boolean(control->conf->page.streams_max > 0));
	json_decref(gateway);
	return out;
}

void control_me(struct call *call)
{
	uint64_t ends_ms = 0;
	if (call->session[0]) {
		const struct session_terms terms = page_terms(call->control);
		const struct session *session = sessions_find(call->control->sessions, &terms, control_now_ms(), str_of(call->session));
		ends_ms = session ? sessions_ends_ms(&terms, session) : 0;
	}
	call_json(call, 200, me(call, ends_ms));
}

void control_session_new(struct call *call)
{
	struct control *control = call->control;
	const struct session_terms terms = page_terms(control);
	const struct session *session;
	sl_error error = { 0 };
	/* One who signs in again has no use for the session of before. */
	sessions_end(control->sessions, cookie_of(call));
	if (sessions_begin(control->sessions, &terms, control_now_ms(), str_of(call->credential), &session, &error) != SL_OK) {
		call_fail_error(call, &error);
		return;
	}
	set_cookie(call, session->token, terms.session_ms / 1000);
	call_json(call, 201, me(call, sessions_ends_ms(&terms, session)));
}

void control_session_end(struct call *call)
{
	call_end_session(call);
	call_json(call, 200, json_pack("{s:b}", "signed_out", call->session[0] != '\0'));
}

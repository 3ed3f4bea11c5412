/* SPDX-License-Identifier: Apache-2.0 */
/* table.c - every call of the control door: method, path, who may, what does it. */
#include <string.h>

#include "core/base/str.h"
#include "core/control/inner.h"
#include "core/http/query.h"

static const struct control_route routes[] = {
	{ "GET", "/healthz", ROLE_OPEN, control_healthz, true },
	{ "GET", "/readyz", ROLE_OPEN, control_readyz, true },
	{ "GET", "/metrics", ROLE_OPEN, control_metrics, true },
	{ "POST", "/v1/session", ROLE_PAGE, control_session_new, false },
	{ "DELETE", "/v1/session", ROLE_PAGE, control_session_end, false },
	{ "POST", "/v1/play", ROLE_PAGE, control_play, true },
	{ "GET", "/v1/me", ROLE_OWN, control_me, true },
	{ "GET", "/v1/events", ROLE_OWN, control_events, true },
	{ "GET", "/v1/status", ROLE_ANYONE, control_status, true },
	{ "GET", "/v1/gpu/devices", ROLE_ANYONE, control_devices, true },
	{ "POST", "/v1/gpu/devices/{}/{}/drain", ROLE_OPERATOR, control_device_drain, false },
	{ "POST", "/v1/gpu/devices/{}/{}/undrain", ROLE_OPERATOR, control_device_undrain, false },
	{ "GET", "/v1/gpu/leases", ROLE_ANYONE, control_leases, true },
	{ "POST", "/v1/gpu/leases", ROLE_LEASE, control_lease_new, false },
	{ "GET", "/v1/gpu/leases/{}", ROLE_ANYONE, control_lease_show, true },
	{ "DELETE", "/v1/gpu/leases/{}", ROLE_ANYONE, control_lease_release, false },
	{ "POST", "/v1/gpu/leases/{}/signal", ROLE_ANYONE, control_lease_signal, false },
	{ "POST", "/v1/gpu/leases/{}/stdin", ROLE_ANYONE, control_lease_stdin, true },
	{ "GET", "/v1/gpu/leases/{}/logs", ROLE_ANYONE, control_lease_logs, true },
	{ "GET", "/v1/gpu/leases/{}/stream", ROLE_ANYONE, control_lease_stream, true },
	{ "GET", "/v1/models", ROLE_OWN, control_models, true },
	{ "POST", "/v1/models/{}/start", ROLE_OPERATOR, control_model_start, false },
	{ "POST", "/v1/models/{}/stop", ROLE_OPERATOR, control_model_stop, false },
	/* "org/name" is a model's name as well. */
	{ "POST", "/v1/models/{}/{}/start", ROLE_OPERATOR, control_model_start, false },
	{ "POST", "/v1/models/{}/{}/stop", ROLE_OPERATOR, control_model_stop, false },
	{ "GET", "/v1/replicas", ROLE_ANYONE, control_replicas, true },
	{ "GET", "/v1/tenants", ROLE_OPERATOR, control_tenants, true },
	{ "POST", "/v1/tenants", ROLE_ADMIN, control_tenant_new, false },
	{ "DELETE", "/v1/tenants/{}", ROLE_ADMIN, control_tenant_delete, false },
	{ "GET", "/v1/keys", ROLE_OWN, control_keys, true },
	{ "POST", "/v1/keys", ROLE_ADMIN, control_key_new, false },
	{ "POST", "/v1/keys/{}/disable", ROLE_ADMIN, control_key_disable, false },
	{ "POST", "/v1/keys/{}/enable", ROLE_ADMIN, control_key_enable, false },
	{ "DELETE", "/v1/keys/{}", ROLE_ADMIN, control_key_delete, false },
	{ "GET", "/v1/usage", ROLE_OWN, control_usage, true },
	{ "GET", "/v1/usage/requests", ROLE_OWN, control_usage_requests, true },
	{ "GET", "/v1/usage/focus", ROLE_OWN, control_usage_focus, true },
	{ "GET", "/v1/limits", ROLE_OWN, control_limits, true },
	{ "POST", "/v1/reload", ROLE_OPERATOR, control_reload, false },
	{ "POST", "/v1/drain", ROLE_OPERATOR, control_drain, false },
	{ "POST", "/v1/undrain", ROLE_OPERATOR, control_undrain, false },
	{ "POST", "/v1/policy/eval", ROLE_OPERATOR, control_policy_eval, true },
	{ "GET", "/v1/config", ROLE_OPERATOR, control_config, true },
	{ "GET", "/v1/plugins", ROLE_OPERATOR, control_plugins, true },
	{ "GET", "/v1/ledger", ROLE_OPERATOR, control_ledger, true },
	{ "GET", "/v1/ledger/verify", ROLE_OPERATOR, control_ledger_verify, true },
};

/* The next segment of a path that begins with '/'; false at its end. */
static bool next_segment(sl_str *path, sl_str *segment)
{
	if (!path->len || path->ptr[0] != '/')
		return false;
	const char *end = memchr(path->ptr + 1, '/', path->len - 1);
	size_t len = end ? (size_t) (end - path->ptr) : path->len;
	*segment = (sl_str){ path->ptr + 1, len - 1 };
	*path = (sl_str){ path->ptr + len, path->len - len };
	return true;
}

static bool matches(const char *pattern, sl_str path, sl_str raw[CALL_PARAMS_MAX])
{
	sl_str want = str_of(pattern), a, b;
	size_t n = 0;
	while (next_segment(&want, &a)) {
		if (!next_segment(&path, &b))
			return false;
		if (str_eq(a, STR("{}"))) {
			if (!b.len)
				return false;
			raw[n++] = b;
		} else if (!str_eq(a, b)) {
			return false;
		}
	}
	return path.len == 0;
}

/* Split first, decode then: a name may hold an encoded '/'. */
static bool decode_params(const sl_str raw[CALL_PARAMS_MAX], char store[CALL_PATH_MAX], sl_str params[CALL_PARAMS_MAX])
{
	size_t used = 0;
	for (size_t i = 0; i < CALL_PARAMS_MAX && raw[i].ptr; i++) {
		size_t len;
		if (!http_decode(raw[i], false, store + used, CALL_PATH_MAX - used, &len))
			return false;
		params[i] = (sl_str){ store + used, len };
		used += len + 1;
	}
	return true;
}

/* Probes may ask for the head alone: the server leaves the body out. */
static bool takes(const struct control_route *route, sl_str method)
{
	if (route->role == ROLE_OPEN && str_eq(method, STR("HEAD")))
		method = STR("GET");
	return str_eq(method, str_of(route->method));
}

const struct control_route *control_route_find(sl_str method, sl_str path, char store[CALL_PATH_MAX],
                                               sl_str params[CALL_PARAMS_MAX], int *status)
{
	*status = 404;
	for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
		sl_str raw[CALL_PARAMS_MAX] = { { 0 } };
		if (!matches(routes[i].pattern, path, raw))
			continue;
		*status = 405;
		if (!takes(&routes[i], method))
			continue;
		if (decode_params(raw, store, params))
			return &routes[i];
		*status = 404;
		return NULL;
	}
	return NULL;
}

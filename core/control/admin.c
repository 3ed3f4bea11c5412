/* SPDX-License-Identifier: Apache-2.0 */
/* admin.c - reload, drain, policy, configuration, plugins. */
#include <string.h>

#include "core/base/json.h"
#include "core/base/str.h"
#include "core/control/inner.h"

/* A report's lines as an array. */
static json_t *lines(const struct buf *report)
{
	json_t *out = json_array(), *holder = json_object();
	sl_str rest = buf_str(report);
	while (rest.len) {
		const char *end = memchr(rest.ptr, '\n', rest.len);
		sl_str line = { rest.ptr, end ? (size_t) (end - rest.ptr) : rest.len };
		rest = end ? (sl_str){ end + 1, rest.len - line.len - 1 } : (sl_str){ 0 };
		if (!line.len)
			continue;
		json_set_str(holder, "line", line); /* what is no UTF-8 is made so */
		json_array_append(out, json_object_get(holder, "line"));
	}
	json_decref(holder);
	return out;
}

void control_reload(struct call *call)
{
	struct control *control = call->control;
	struct buf report = { .max = 1024 * 1024 };
	char id[16] = "";
	int code = control->callbacks.reload(control->arg, &report, id);
	json_t *findings = lines(&report);
	buf_free(&report);
	if (code == SL_OK) {
		call_json(call, 200, json_pack("{s:s, s:o}", "config", id, "warnings", findings));
		return;
	}
	json_t *error = json_pack("{s:o, s:s, s:n, s:s, s:s}", "message",
	                          json_sprintf("%zu finding%s. The running configuration %s stays", json_array_size(findings),
	                                       json_array_size(findings) == 1 ? "" : "s", control->conf->id),
	                          "type", "invalid_request_error", "param", "code", "invalid_configuration", "try", "sluiced --check");
	call_json(call, 422, json_pack("{s:o, s:o}", "error", error, "findings", findings));
}

static void set_drain(struct call *call, bool on)
{
	struct control *control = call->control;
	char why[NOT_READY_MAX];
	control->callbacks.drain(control->arg, on);
	bool ready = control->callbacks.ready(control->arg, why, sizeof why);
	call_json(call, 200, json_pack("{s:b, s:b}", "draining", on, "ready", ready));
}

void control_drain(struct call *call)
{
	set_drain(call, true);
}

void control_undrain(struct call *call)
{
	set_drain(call, false);
}

void control_policy_eval(struct call *call)
{
	sl_error error = { 0 };
	const struct conf *conf = call->control->conf;
	json_t *request = json_parse(call->x->body, &error);
	if (!json_is_object(request)) {
		call_fail(call, 400, "invalid_json", NULL, NULL, "the body must be the request as a JSON object%s%s", error.text[0] ? ": " : "",
		          error.text);
		json_decref(request);
		return;
	}
	json_t *decision = policy_eval(call->control->conf, conf->policy, request, &error);
	json_decref(request);
	if (decision)
		call_json(call, 200, decision);
	else
		call_fail_error(call, &error);
}

void control_config(struct call *call)
{
	call_json(call, 200, conf_json(call->control->conf));
}

void control_plugins(struct call *call)
{
	json_t *plugins = call->control->callbacks.plugins(call->control->arg);
	call_json(call, 200, plugins ? plugins : json_array());
}

/* SPDX-License-Identifier: Apache-2.0 */
/* request.c - what came: query parameters, times, the members of a body. */
#include <stdio.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/control/inner.h"
#include "core/http/query.h"

bool call_query(const struct call *call, const char *name, char *out, size_t room)
{
	return http_query(call->x->head->query, name, out, room);
}

bool call_query_int(struct call *call, const char *name, int64_t min, int64_t max, int64_t fallback, int64_t *out)
{
	char text[32];
	*out = fallback;
	if (!call_query(call, name, text, sizeof text))
		return true;
	uint64_t value;
	bool negative = text[0] == '-';
	if (str_to_u64(str_of(text + negative), INT64_MAX, &value)) {
		*out = negative ? -(int64_t) value : (int64_t) value;
		if (*out >= min && *out <= max)
			return true;
	}
	call_fail(call, 400, "invalid_parameter", name, NULL, "%s must be a whole number from %lld to %lld", name, (long long) min,
	          (long long) max);
	return false;
}

bool call_query_time(struct call *call, const char *name, uint64_t *out)
{
	char text[64];
	*out = 0;
	if (!call_query(call, name, text, sizeof text) || clock_parse(str_of(text), out))
		return true;
	call_fail(call, 400, "invalid_time", name, NULL, "%s must be a time such as 2026-11-24 or 2026-11-24T14:05:00Z", name);
	return false;
}

json_t *call_body(struct call *call, const char *const *fields)
{
	sl_error error = { 0 };
	sl_str text = call->x->body;
	call->body = text.len ? json_parse(text, &error) : json_object();
	if (!call->body) {
		call_fail(call, 400, "invalid_json", NULL, NULL, "the body is not valid JSON: %s", error.text);
		return NULL;
	}
	if (!json_is_object(call->body)) {
		call_fail(call, 400, "invalid_json", NULL, NULL, "the body must be a JSON object");
		return NULL;
	}
	const char *name;
	json_t *value;
	json_object_foreach(call->body, name, value) {
		size_t i = 0;
		while (fields[i] && strcmp(fields[i], name) != 0)
			i++;
		if (fields[i])
			continue;
		const char *nearest = str_nearest(str_of(name), fields);
		call_fail(call, 400, "unknown_field", name, nearest, "unknown field '%.100s'%s%s%s", name, nearest ? ": did you mean '" : "",
		          nearest ? nearest : "", nearest ? "'?" : "");
		return NULL;
	}
	return call->body;
}

static const json_t *member(const struct call *call, const char *name)
{
	const json_t *value = json_object_get(call->body, name);
	return json_is_null(value) ? NULL : value;
}

bool call_member_str(struct call *call, const char *name, const char *fallback, const char **out)
{
	const json_t *value = member(call, name);
	*out = fallback;
	if (!value)
		return true;
	*out = json_string_value(value);
	if (!*out)
		call_fail(call, 400, "invalid_type", name, NULL, "%s must be a string", name);
	return *out != NULL;
}

bool call_member_int(struct call *call, const char *name, int64_t min, int64_t max, int64_t fallback, int64_t *out)
{
	const json_t *value = member(call, name);
	*out = fallback;
	if (!value)
		return true;
	*out = json_integer_value(value);
	if (json_is_integer(value) && *out >= min && *out <= max)
		return true;
	call_fail(call, 400, "invalid_value", name, NULL, "%s must be a whole number from %lld to %lld", name, (long long) min,
	          (long long) max);
	return false;
}

bool call_member_bool(struct call *call, const char *name, bool fallback, bool *out)
{
	const json_t *value = member(call, name);
	*out = value ? json_is_true(value) : fallback;
	if (!value || json_is_boolean(value))
		return true;
	call_fail(call, 400, "invalid_type", name, NULL, "%s must be true or false", name);
	return false;
}

bool call_member_strings(struct call *call, const char *name, size_t max, const json_t **out)
{
	const json_t *value = member(call, name);
	*out = value;
	if (!value)
		return true;
	bool fine = json_is_array(value) && json_array_size(value) <= max;
	for (size_t i = 0; fine && i < json_array_size(value); i++)
		fine = json_is_string(json_array_get(value, i));
	if (!fine)
		call_fail(call, 400, "invalid_type", name, NULL, "%s must be an array of at most %zu strings", name, max);
	return fine;
}

bool control_is_name(const char *name)
{
	size_t len = strlen(name);
	if (len == 0 || len >= SL_NAME_MAX || name[0] == '.' || name[0] == '-')
		return false;
	return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == len;
}

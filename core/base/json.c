/* SPDX-License-Identifier: Apache-2.0 */
/* json.c - small helpers over jansson. */
#include "core/base/json.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/buf.h"
#include "core/base/error.h"
#include "core/base/str.h"

json_t *json_parse(sl_str text, sl_error *error)
{
	json_error_t where;
	json_t *value = json_loadb(text.ptr ? text.ptr : "", text.len, JSON_REJECT_DUPLICATES, &where);
	if (!value)
		error_set(error, SL_EINVAL, "not valid JSON at byte %d: %s", where.position, where.text);
	return value;
}

char *json_text(const json_t *value)
{
	return json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
}

void json_mark(const json_t *value, char out[JSON_MARK_MAX])
{
	char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
	uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
	for (const char *at = text; at && *at; at++)
		hash = (hash ^ (unsigned char) *at) * 0x100000001b3u;
	out[0] = '\0';
	if (text)
		snprintf(out, JSON_MARK_MAX, "%016llx", (unsigned long long) hash);
	free(text);
}

const char *json_get_str(const json_t *object, const char *key, const char *fallback)
{
	const json_t *member = json_object_get(object, key);
	return json_is_string(member) ? json_string_value(member) : fallback;
}

int64_t json_get_int(const json_t *object, const char *key, int64_t fallback)
{
	const json_t *member = json_object_get(object, key);
	return json_is_integer(member) ? json_integer_value(member) : fallback;
}

bool json_get_bool(const json_t *object, const char *key, bool fallback)
{
	const json_t *member = json_object_get(object, key);
	return json_is_boolean(member) ? json_is_true(member) : fallback;
}

void json_set_str(json_t *object, const char *key, sl_str value)
{
	json_t *text = json_stringn(value.ptr ? value.ptr : "", value.len);
	if (!text) {
		struct buf b = { 0 };
		buf_put_json(&b, value);
		text = b.failed ? NULL : json_loadb(b.data, b.len, JSON_DECODE_ANY, NULL);
		buf_free(&b);
	}
	json_object_set_new(object, key, text);
}

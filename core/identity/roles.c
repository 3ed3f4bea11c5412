/* SPDX-License-Identifier: Apache-2.0 */
/* roles.c - roles as words. */
#include "core/base/str.h"
#include "core/identity/internal.h"

static const struct {
	uint32_t role;
	const char *word;
} words[] = {
	{ SL_ROLE_INFER, "infer" }, { SL_ROLE_LEASE, "lease" }, { SL_ROLE_OPERATOR, "operator" }, { SL_ROLE_ADMIN, "admin" },
};
enum { WORDS = sizeof words / sizeof words[0] };

json_t *identity_roles_json(uint32_t roles)
{
	json_t *array = json_array();
	for (int i = 0; i < WORDS; i++)
		if (roles & words[i].role)
			json_array_append_new(array, json_string(words[i].word));
	return array;
}

bool identity_roles_parse(const json_t *value, uint32_t *roles)
{
	*roles = SL_ROLE_INFER;
	if (!value || json_is_null(value))
		return true;
	if (!json_is_array(value))
		return false;
	*roles = 0;
	for (size_t i = 0; i < json_array_size(value); i++) {
		const char *word = json_string_value(json_array_get(value, i));
		int k = 0;
		while (k < WORDS && !(word && str_eq(str_of(word), str_of(words[k].word))))
			k++;
		if (k == WORDS)
			return false;
		*roles |= words[k].role;
	}
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* settings.c - the options about tokens, checked. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/auth/jwt/claims.h"

static int wrong(sl_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int wrong(sl_error *error, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(error->text, sizeof error->text, format, args);
	va_end(args);
	return error->code = SL_EINVAL;
}

static char *text_option(const sl_host *host, const sl_conf *conf, const char *name)
{
	sl_str text = host->conf_str(conf, name);
	return text.len ? strndup(text.ptr, text.len) : NULL;
}

/* A word alone is a list of one. */
static json_t *json_option(const sl_host *host, const sl_conf *conf, const char *name)
{
	sl_str text = host->conf_str(conf, name);
	json_t *json = text.len ? json_loadb(text.ptr, text.len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL) : NULL;
	return json_is_string(json) ? json_pack("[o]", json) : json;
}

/* An empty table may be a list or a map: both are none. */
static void drop_empty(json_t **json)
{
	if (*json && json_array_size(*json) == 0 && json_object_size(*json) == 0 && (json_is_array(*json) || json_is_object(*json))) {
		json_decref(*json);
		*json = NULL;
	}
}

static bool all_texts(const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (!json_string_length(json_array_get(list, i)))
			return false;
	return json_is_array(list);
}

static int read_algorithms(struct settings *s, const json_t *list, sl_error *error)
{
	if (!list || !all_texts(list))
		return wrong(error, "option 'algorithms' is a list such as { \"RS256\", \"ES256\" }");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *name = json_string_value(json_array_get(list, i));
		enum token_algorithm algorithm = token_algorithm(name);
		if (algorithm == ALGORITHMS)
			return wrong(error, "option 'algorithms': '%.32s' is none of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, "
			             "ES512, EdDSA; symmetric ones and none are never accepted", name);
		s->algorithms |= 1u << algorithm;
	}
	return SL_OK;
}

static int check_map(const json_t *map, const char *name, sl_error *error)
{
	const char *key;
	json_t *value;
	if (map && !json_is_object(map))
		return wrong(error, "option '%s' is a table of values and names: { [\"acme.example\"] = \"acme\" }", name);
	if (map)
		json_object_foreach((json_t *) map, key, value)
			if (!json_string_length(value) || json_string_length(value) >= SL_NAME_MAX)
				return wrong(error, "option '%s': what '%.64s' stands for is no name of 1 to %d characters", name, key, SL_NAME_MAX - 1);
	return SL_OK;
}

static int check_roles(const json_t *map, sl_error *error)
{
	const char *scope;
	json_t *value;
	if (map && !json_is_object(map))
		return wrong(error, "option 'roles' is a table of scopes and roles: { [\"models.call\"] = \"infer\" }");
	if (map)
		json_object_foreach((json_t *) map, scope, value)
			if (!claims_roles(value))
				return wrong(error, "option 'roles': what '%.64s' gives is none of infer, lease, operator, admin, or a list of them",
				             scope);
	return SL_OK;
}

static int check_settings(const struct settings *s, sl_error *error)
{
	if (!s->issuer)
		return wrong(error, "option 'issuer' is empty: it is what the claim 'iss' of every token must be");
	if (!s->audience || !all_texts(s->audience))
		return wrong(error, "option 'audience' is a list of names, one of which the claim 'aud' must have");
	if (s->require && !json_is_object(s->require) && !all_texts(s->require))
		return wrong(error, "option 'require' is a list of claims, or a table of claims and the values that they must have");
	if (!s->tenant == !s->tenant_claim)
		return wrong(error, "give one of the options 'tenant' (of every token) and 'tenant_claim' (the claim that names it)");
	if (s->tenant && strlen(s->tenant) >= SL_NAME_MAX)
		return wrong(error, "option 'tenant' is longer than %d characters", SL_NAME_MAX - 1);
	if (s->tenants && !s->tenant_claim)
		return wrong(error, "option 'tenants' needs 'tenant_claim'");
	if (s->tiers && !s->tier_claim)
		return wrong(error, "option 'tiers' needs 'tier_claim'");
	if (s->roles && !s->scope_claim)
		return wrong(error, "option 'roles' needs 'scope_claim'");
	int code = check_map(s->tenants, "tenants", error);
	if (code == SL_OK)
		code = check_map(s->tiers, "tiers", error);
	return code == SL_OK ? check_roles(s->roles, error) : code;
}

struct settings *settings_new(const sl_host *host, const sl_conf *conf, sl_error *error)
{
	static atomic_uint_fast64_t generations;
	struct settings *s = calloc(1, sizeof *s);
	json_t *algorithms = json_option(host, conf, "algorithms");
	if (!s || !algorithms) {
		wrong(error, "out of memory");
		json_decref(algorithms);
		free(s);
		return NULL;
	}
	s->issuer = text_option(host, conf, "issuer");
	s->type = text_option(host, conf, "type");
	s->tenant = text_option(host, conf, "tenant");
	s->tenant_claim = text_option(host, conf, "tenant_claim");
	s->user_claim = text_option(host, conf, "user_claim");
	s->tier_claim = text_option(host, conf, "tier_claim");
	s->scope_claim = text_option(host, conf, "scope_claim");
	s->audience = json_option(host, conf, "audience");
	s->require = json_option(host, conf, "require");
	s->tenants = json_option(host, conf, "tenants");
	s->tiers = json_option(host, conf, "tiers");
	s->roles = json_option(host, conf, "roles");
	drop_empty(&s->audience);
	drop_empty(&s->require);
	drop_empty(&s->tenants);
	drop_empty(&s->tiers);
	drop_empty(&s->roles);
	s->leeway_ms = (uint64_t) host->conf_int(conf, "leeway");
	s->max_age_ms = (uint64_t) host->conf_int(conf, "max_age");
	s->generation = atomic_fetch_add(&generations, 1) + 1;
	int code = read_algorithms(s, algorithms, error);
	if (code == SL_OK)
		code = check_settings(s, error);
	json_decref(algorithms);
	if (code != SL_OK) {
		settings_free(s);
		return NULL;
	}
	return s;
}

void settings_free(struct settings *s)
{
	if (!s)
		return;
	free(s->issuer);
	free(s->type);
	free(s->tenant);
	free(s->tenant_claim);
	free(s->user_claim);
	free(s->tier_claim);
	free(s->scope_claim);
	json_decref(s->audience);
	json_decref(s->require);
	json_decref(s->tenants);
	json_decref(s->tiers);
	json_decref(s->roles);
	free(s);
}

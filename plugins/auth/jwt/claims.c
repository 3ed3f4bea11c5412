/* SPDX-License-Identifier: Apache-2.0 */
/* claims.c - is the token meant for us, at this moment; and whose is it? */
#include "plugins/auth/jwt/claims.h"

#include <string.h>
#include <strings.h>

#define SECONDS_MAX INT64_C(253402300799) /* the end of the year 9999 */

/* A member by its name, or, when there is none, along a path with dots: realm_access.roles. */
static const json_t *find(const json_t *claims, const char *name)
{
	char part[256];
	const json_t *at = json_object_get(claims, name);
	for (const char *dot = at ? NULL : strchr(name, '.'); dot; dot = strchr(name, '.')) {
		if ((size_t) (dot - name) >= sizeof part)
			return NULL;
		memcpy(part, name, (size_t) (dot - name));
		part[dot - name] = '\0';
		claims = json_object_get(claims, part);
		name = dot + 1;
		at = json_object_get(claims, name);
		if (at)
			break;
	}
	return at;
}

/* Is the text one of the claim's: the claim itself, or an element of it? */
static bool contains(const json_t *claim, const json_t *value)
{
	if (json_is_array(claim)) {
		for (size_t i = 0; i < json_array_size(claim); i++)
			if (json_equal(json_array_get(claim, i), value))
				return true;
		return false;
	}
	return claim && json_equal(claim, value);
}

/* Seconds since 1970, whole or not, as milliseconds. False: no such time. */
static bool time_of(const json_t *claim, uint64_t *ms)
{
	if (json_is_integer(claim) && json_integer_value(claim) >= 0 && json_integer_value(claim) <= SECONDS_MAX) {
		*ms = (uint64_t) json_integer_value(claim) * 1000;
		return true;
	}
	double seconds = json_is_real(claim) ? json_real_value(claim) : -1;
	if (!(seconds >= 0 && seconds <= (double) SECONDS_MAX))
		return false;
	*ms = (uint64_t) (seconds * 1000);
	return true;
}

static int check_times(const struct settings *s, const json_t *claims, uint64_t now, uint64_t *until, struct refusal *why)
{
	const json_t *from = json_object_get(claims, "nbf"), *issued = json_object_get(claims, "iat");
	uint64_t exp, nbf = 0, iat = 0;
	if (!time_of(json_object_get(claims, "exp"), &exp))
		return refuse(why, SL_EAUTH, "claims", "The token does not say when it expires (claim 'exp').");
	if ((from && !time_of(from, &nbf)) || (issued && !time_of(issued, &iat)))
		return refuse(why, SL_EAUTH, "claims", "The token's claim '%s' is no time.", from && !time_of(from, &nbf) ? "nbf" : "iat");
	*until = exp + s->leeway_ms;
	if (s->max_age_ms && !issued)
		return refuse(why, SL_EAUTH, "claims", "The token does not say when it was issued (claim 'iat').");
	if (s->max_age_ms && iat + s->max_age_ms + s->leeway_ms < *until)
		*until = iat + s->max_age_ms + s->leeway_ms;
	if (now >= *until)
		return refuse(why, SL_EAUTH, "expired", "The token has expired.");
	if (now + s->leeway_ms < nbf || now + s->leeway_ms < iat)
		return refuse(why, SL_EAUTH, "not_yet", "The token is not valid yet.");
	return SL_OK;
}

static bool audience_meant(const struct settings *s, const json_t *claims)
{
	const json_t *audience = json_object_get(claims, "aud");
	for (size_t i = 0; i < json_array_size(s->audience); i++)
		if (contains(audience, json_array_get(s->audience, i)))
			return true;
	return false;
}

static bool is_empty(const json_t *claim)
{
	return !claim || json_is_null(claim) || (json_is_string(claim) && json_string_length(claim) == 0);
}

static int check_required(const struct settings *s, const json_t *claims, struct refusal *why)
{
	const char *name;
	json_t *value;
	for (size_t i = 0; i < json_array_size(s->require); i++) {
		name = json_string_value(json_array_get(s->require, i));
		if (is_empty(find(claims, name)))
			return refuse(why, SL_EAUTH, "claims", "The token lacks the claim '%.64s'.", name);
	}
	if (json_is_object(s->require))
		json_object_foreach(s->require, name, value)
			if (!contains(find(claims, name), value))
				return refuse(why, SL_EAUTH, "claims", "The token's claim '%.64s' is not what this service requires.", name);
	return SL_OK;
}

/* RFC 7515: "application/" may be left out, and case does not matter. */
static bool same_type(const char *type, const char *wanted)
{
	static const char prefix[] = "application/";
	if (strncasecmp(type, prefix, sizeof prefix - 1) == 0)
		type += sizeof prefix - 1;
	return strcasecmp(type, wanted) == 0;
}

int claims_check(const struct settings *s, const struct token *token, uint64_t wall_ms, uint64_t *until_ms,
                 struct refusal *why)
{
	const char *issuer = json_string_value(json_object_get(token->claims, "iss"));
	if (!(s->algorithms & 1u << token->algorithm))
		return refuse(why, SL_EAUTH, "algorithm", "The token is signed in a way that is not accepted here.");
	if (!issuer || strcmp(issuer, s->issuer) != 0)
		return refuse(why, SL_EAUTH, "issuer", "The token comes from an issuer that is not accepted here.");
	if (s->type && !same_type(token->type, s->type))
		return refuse(why, SL_EAUTH, "type", "This is not the type of token that is accepted here.");
	if (!audience_meant(s, token->claims))
		return refuse(why, SL_EAUTH, "audience", "The token is not meant for this service (claim 'aud').");
	int code = check_times(s, token->claims, wall_ms, until_ms, why);
	return code == SL_OK ? check_required(s, token->claims, why) : code;
}

/* A name that may stand in records and logs. */
static bool good_name(const char *name)
{
	size_t len = strlen(name);
	for (const unsigned char *p = (const unsigned char *) name; *p; p++)
		if (*p < ' ' || *p == 0x7f)
			return false;
	return len > 0 && len < SL_NAME_MAX;
}

/* What the claim's text, or the first of its texts that `map` knows, stands for; "*" in the map stands for whatever is
 * left. NULL: nothing. Without a map: the text itself, as long as there is just one. */
static const char *word_of(const json_t *claim, const json_t *map)
{
	if (!map) {
		if (json_is_array(claim))
			claim = json_array_size(claim) == 1 ? json_array_get(claim, 0) : NULL;
		return json_string_value(claim);
	}
	const char *text = json_string_value(claim), *found = text ? json_string_value(json_object_get(map, text)) : NULL;
	for (size_t i = 0; !found && i < json_array_size(claim); i++) {
		text = json_string_value(json_array_get(claim, i));
		found = text && strcmp(text, "*") != 0 ? json_string_value(json_object_get(map, text)) : NULL;
	}
	return found ? found : json_string_value(json_object_get(map, "*"));
}

static uint32_t role_of(const char *word)
{
	static const char *const words[] = { "infer", "lease", "operator", "admin" };
	static const uint32_t roles[] = { SL_ROLE_INFER, SL_ROLE_LEASE, SL_ROLE_OPERATOR, SL_ROLE_ADMIN };
	for (size_t i = 0; word && i < sizeof words / sizeof words[0]; i++)
		if (strcmp(word, words[i]) == 0)
			return roles[i];
	return 0;
}

uint32_t claims_roles(const json_t *value)
{
	uint32_t roles = role_of(json_string_value(value));
	for (size_t i = 0; i < json_array_size(value); i++) {
		uint32_t role = role_of(json_string_value(json_array_get(value, i)));
		if (!role)
			return 0;
		roles |= role;
	}
	return roles;
}

/* A scope's roles. */
static uint32_t roles_of_scope(const json_t *map, const char *scope, size_t len)
{
	char name[256];
	if (len == 0 || len >= sizeof name || (len == 1 && *scope == '*'))
		return 0;
	memcpy(name, scope, len);
	name[len] = '\0';
	return claims_roles(json_object_get(map, name));
}

/* Of a list of scopes, or of scopes with spaces between them. */
static uint32_t roles_of_claim(const json_t *map, const json_t *claim)
{
	uint32_t roles = claims_roles(json_object_get(map, "*"));
	for (size_t i = 0; i < json_array_size(claim); i++) {
		const json_t *scope = json_array_get(claim, i);
		if (json_is_string(scope))
			roles |= roles_of_scope(map, json_string_value(scope), json_string_length(scope));
	}
	for (const char *text = json_string_value(claim); text && *text;) {
		size_t len = strcspn(text, " ");
		roles |= roles_of_scope(map, text, len);
		text += len + (text[len] == ' ');
	}
	return roles;
}

int claims_identity(const struct settings *s, const json_t *claims, sl_identity *out, struct refusal *why)
{
	const char *tenant = s->tenant ? s->tenant : word_of(find(claims, s->tenant_claim), s->tenants);
	const char *user = s->user_claim ? word_of(find(claims, s->user_claim), NULL) : "";
	const json_t *tier_claim = s->tier_claim ? find(claims, s->tier_claim) : NULL;
	const char *tier = s->tier_claim ? word_of(tier_claim, s->tiers) : NULL;
	*out = (sl_identity){ .size = sizeof *out, .uid = UINT32_MAX, .gid = UINT32_MAX };
	if (!tenant || !good_name(tenant))
		return refuse(why, SL_EDENIED, "denied", "The token's claim '%.64s' names no tenant of this service.",
		              s->tenant_claim ? s->tenant_claim : "");
	if (!user || (s->user_claim && !good_name(user)))
		return refuse(why, SL_EDENIED, "denied", "The token's claim '%.64s' is no name of a user: 1 to %d characters.",
		              s->user_claim, SL_NAME_MAX - 1);
	/* A claim that is there and cannot be read is not the same as none. */
	if ((tier && !good_name(tier)) || (!tier && !s->tiers && !is_empty(tier_claim)))
		return refuse(why, SL_EDENIED, "denied", "The token's claim '%.64s' is no name of a tier.", s->tier_claim);
	out->roles = s->roles ? roles_of_claim(s->roles, find(claims, s->scope_claim)) : (uint32_t) SL_ROLE_INFER;
	if (!out->roles)
		return refuse(why, SL_EDENIED, "denied", "The token has no scope that allows anything here (claim '%.64s').",
		              s->scope_claim);
	memcpy(out->tenant, tenant, strlen(tenant) + 1);
	memcpy(out->user, user, strlen(user) + 1);
	if (tier)
		memcpy(out->tier, tier, strlen(tier) + 1);
	return SL_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* token.c - takes a token apart. Every byte is the caller's. */
#include "plugins/auth/jwt/token.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[ALGORITHMS] = { "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384",
	                                           "ES512", "EdDSA" };

enum token_algorithm token_algorithm(const char *name)
{
	int i = 0;
	while (i < ALGORITHMS && !(name && strcmp(name, names[i]) == 0))
		i++;
	return (enum token_algorithm) i;
}

const char *token_algorithm_name(enum token_algorithm algorithm)
{
	return algorithm < ALGORITHMS ? names[algorithm] : "";
}

static int base64url_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

long base64url_decode(sl_str text, unsigned char *out, size_t room)
{
	unsigned bits = 0, n_bits = 0;
	size_t n = 0;
	if (text.len % 4 == 1 || text.len / 4 * 3 + text.len % 4 * 3 / 4 > room)
		return -1;
	for (size_t i = 0; i < text.len; i++) {
		int value = base64url_value(text.ptr[i]);
		if (value < 0)
			return -1;
		bits = bits << 6 | (unsigned) value;
		n_bits += 6;
		if (n_bits >= 8) {
			n_bits -= 8;
			out[n++] = (unsigned char) (bits >> n_bits);
			bits &= (1u << n_bits) - 1;
		}
	}
	return bits ? -1 : (long) n;
}

/* jansson recurses, so the depth is looked at before. */
static bool too_deep(const char *text, size_t len)
{
	int depth = 0;
	bool in_string = false;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];
		if (in_string && c == '\\')
			i++;
		else if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == '{' || c == '[') && ++depth > TOKEN_DEPTH_MAX)
			return true;
		else if (!in_string && (c == '}' || c == ']'))
			depth--;
	}
	return false;
}

json_t *json_strict(const char *text, size_t len)
{
	json_t *json = too_deep(text, len) ? NULL : json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	if (json && !json_is_object(json)) {
		json_decref(json);
		json = NULL;
	}
	return json;
}

/* The three parts. False: there are not just two dots. */
static bool split(sl_str text, sl_str parts[3])
{
	size_t start = 0;
	int n = 0;
	for (size_t i = 0; i <= text.len; i++) {
		if (i < text.len && text.ptr[i] != '.')
			continue;
		if (n == 3)
			return false;
		parts[n++] = (sl_str){ text.ptr + start, i - start };
		start = i + 1;
	}
	return n == 3;
}

bool token_shape(sl_str text)
{
	sl_str parts[3];
	/* {" and { and a space are "ey" in base64. */
	return text.len > 2 && memcmp(text.ptr, "ey", 2) == 0 && split(text, parts);
}

static json_t *decode_object(sl_str part)
{
	unsigned char *text = malloc(part.len + 1);
	long len = text ? base64url_decode(part, text, part.len) : -1;
	json_t *object = len < 0 ? NULL : json_strict((const char *) text, (size_t) len);
	free(text);
	return object;
}

static int malformed(struct refusal *why)
{
	return refuse(why, SL_EAUTH, "malformed", "The bearer token is no well-formed JSON Web Token.");
}

/* A member that may be absent; false: it is no text, or too long. */
static bool optional_text(const json_t *object, const char *name, char *out, size_t room, bool *has)
{
	const json_t *value = json_object_get(object, name);
	*has = value != NULL;
	if (!value)
		return true;
	if (!json_is_string(value) || json_string_length(value) >= room)
		return false;
	memcpy(out, json_string_value(value), json_string_length(value) + 1);
	return true;
}

static int parse_header(const json_t *header, struct token *t, struct refusal *why)
{
	bool has_type;
	const json_t *algorithm = json_object_get(header, "alg");
	if (!header || !json_is_string(algorithm))
		return malformed(why);
	/* Keys and addresses of keys within a header (jwk, jku, x5c, x5u) are never looked at. What must be understood
	 * (crit) is not: we know no extension. */
	if (json_object_get(header, "crit"))
		return refuse(why, SL_EAUTH, "malformed", "The token needs extensions that are not known here.");
	t->algorithm = token_algorithm(json_string_value(algorithm));
	if (t->algorithm == ALGORITHMS)
		return refuse(why, SL_EAUTH, "algorithm", "The token is signed in a way that is not accepted here.");
	if (!optional_text(header, "kid", t->kid, sizeof t->kid, &t->has_kid) ||
	    !optional_text(header, "typ", t->type, sizeof t->type, &has_type))
		return malformed(why);
	return SL_OK;
}

int token_parse(sl_str text, struct token *out, struct refusal *why)
{
	sl_str parts[3];
	*out = (struct token){ 0 };
	if (text.len > TOKEN_MAX)
		return refuse(why, SL_EAUTH, "malformed", "The bearer token is longer than %d bytes.", TOKEN_MAX);
	if (!split(text, parts))
		return malformed(why);
	json_t *header = decode_object(parts[0]);
	int code = parse_header(header, out, why);
	json_decref(header);
	if (code != SL_OK)
		return code;
	long len = base64url_decode(parts[2], out->signature, sizeof out->signature);
	if (len <= 0)
		return malformed(why);
	out->signature_len = (size_t) len;
	out->signed_part = (sl_str){ text.ptr, parts[0].len + 1 + parts[1].len };
	out->claims = decode_object(parts[1]);
	return out->claims ? SL_OK : malformed(why);
}

void token_free(struct token *token)
{
	json_decref(token->claims);
	token->claims = NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* values.c - fields that are more than one plain value: limits, prices, endpoints, and words. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <sluice/plugin.h>

#include "core/conf/internal.h"

static void bad(struct loader *l, const struct subject *subject, const char *field, const char *wanted)
{
	char where[160];
	finding(l, field_place(l, subject, field), "%s must be %s", field_text(subject, field, where, sizeof where), wanted);
}

/* A number as text that reads back as the same number, without an exponent. */
static bool shortest(double value, char *out, size_t room)
{
	if (!(value >= 0 && value < 1e15))
		return false;
	for (int digits = 1; digits <= 17; digits++) {
		snprintf(out, room, "%.*g", digits, value);
		if (strtod(out, NULL) == value)
			break;
	}
	if (!strchr(out, 'e'))
		return true;
	snprintf(out, room, "%.6f", value);
	return strtod(out, NULL) == value;
}

bool value_decimal(lua_State *L, int index, int digits, int64_t *out)
{
	char text[64];
	if (lua_type(L, index) == LUA_TSTRING) {
		size_t len;
		const char *given = lua_tolstring(L, index, &len);
		return str_to_decimal((sl_str){ given, len }, digits, out);
	}
	if (lua_type(L, index) != LUA_TNUMBER)
		return false;
	if (lua_isinteger(L, index))
		snprintf(text, sizeof text, "%lld", (long long) lua_tointeger(L, index));
	else if (!shortest(lua_tonumber(L, index), text, sizeof text))
		return false;
	return str_to_decimal(str_of(text), digits, out);
}

void read_price(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *model)
{
	struct conf_price *price = &((struct conf_model *) model)->price;
	const char *names[8];
	if (lua_type(L, -1) != LUA_TTABLE) {
		bad(l, subject, field, "a table { input = 0.10, cached = 0.02, output = 0.40 }");
		return;
	}
	price->cached = -1;
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
		int64_t *at = strcmp(name, "input") == 0 ? &price->input : strcmp(name, "cached") == 0 ? &price->cached
		              : strcmp(name, "output") == 0 ? &price->output : NULL;
		field_names("price", names, 8);
		const char *near = at ? NULL : str_nearest(str_of(name), names);
		if (!at)
			finding(l, field_place(l, subject, name), "unknown field '%s' in price of %s \"%s\"%s%s%s", name, subject->kind,
			        subject->name, near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "");
		else if (!value_decimal(L, -1, 6, at))
			bad(l, subject, name, "a price: 0.10 or \"0.10\", not negative, at most 6 decimals");
		lua_pop(L, 1);
	}
	if (price->cached < 0)
		price->cached = price->input;
}

/* The price that holds is one of a second: an hour's price rounds to it once, here. */
void read_gpu_hour(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *kind)
{
	enum { SECONDS = 3600, TRILLIONTHS = 1000000 /* in a millionth */ };
	struct conf_kind *k = kind;
	if (!value_decimal(L, -1, 6, &k->gpu_hour) || k->gpu_hour > INT64_C(1000000000000)) {
		k->gpu_hour = 0;
		bad(l, subject, field, "a price: 2.50 or \"2.50\", not negative, at most 6 decimals, at most 1000000");
	}
	k->gpu_second = (k->gpu_hour * TRILLIONTHS + SECONDS / 2) / SECONDS;
}

void read_replicas(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *model)
{
	struct conf_model *m = model;
	if (lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 0 && lua_tointeger(L, -1) <= 1024) {
		m->replicas_min = m->replicas_max = (int) lua_tointeger(L, -1);
		return;
	}
	if (lua_type(L, -1) != LUA_TTABLE) {
		bad(l, subject, field, "a number up to 1024 or a table { min = 0, max = 4 }");
		return;
	}
	m->replicas_max = -1;
	struct subject inner = { "replicas of model", subject->name, subject->place };
	read_block(l, L, "replicas", &inner, m);
	if (m->replicas_max < 0)
		m->replicas_max = m->replicas_min > 1 ? m->replicas_min : 1;
}

/* The secret behind "env:NAME" or "file:PATH"; its value never stands in a message. */
static const char *resolve_secret(struct loader *l, const struct subject *subject, const char *text)
{
	char value[4096];
	struct conf_place place = field_place(l, subject, "key");
	if (strncmp(text, "env:", 4) == 0) {
		const char *found = getenv(text + 4);
		if (!found || !found[0]) {
			finding(l, place, "the environment has no variable '%.100s', which %s \"%s\" takes its key from", text + 4,
			        subject->kind, subject->name);
			return NULL;
		}
		snprintf(value, sizeof value, "%s", found);
	} else if (strncmp(text, "file:", 5) == 0) {
		int fd = open(text + 5, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		ssize_t n = fd >= 0 ? read(fd, value, sizeof value - 1) : -1;
		struct stat st;
		if (n < 0)
			finding(l, place, "cannot read the key of %s \"%s\": %.200s: %s", subject->kind, subject->name, text + 5,
			        strerror(errno));
		else if (fstat(fd, &st) == 0 && (st.st_mode & S_IROTH))
			warning(l, place, "others can read %.200s: chmod o-r", text + 5);
		if (fd >= 0)
			close(fd);
		if (n < 0)
			return NULL;
		value[n] = '\0';
		value[strcspn(value, "\r\n")] = '\0';
	} else {
		finding(l, place, "the key of %s \"%s\" must not stand in this file: write \"env:NAME\" or \"file:PATH\"",
		        subject->kind, subject->name);
		return NULL;
	}
	for (const char *c = value; *c; c++)
		if (*c <= ' ' || *c > '~') {
			finding(l, place, "the key of %s \"%s\" has characters that no header can carry", subject->kind, subject->name);
			return NULL;
		}
	const char *key = loader_strdup(l, str_of(value));
	explicit_bzero(value, sizeof value);
	return key;
}

static void read_endpoint(struct loader *l, lua_State *L, const struct subject *subject, struct conf_endpoint *endpoint)
{
	sl_error error = { 0 };
	if (lua_type(L, -1) == LUA_TSTRING) {
		endpoint->url = loader_strdup(l, str_of(lua_tostring(L, -1)));
	} else if (lua_type(L, -1) == LUA_TTABLE) {
		struct subject inner = { "endpoint of model", subject->name, subject->place };
		read_block(l, L, "endpoint", &inner, endpoint);
	} else {
		bad(l, subject, "endpoints", "a list of URLs or of tables { url = ... }");
	}
	if (endpoint->key)
		endpoint->key = resolve_secret(l, subject, endpoint->key);
	if (endpoint->url && http_address_parse(str_of(endpoint->url), &endpoint->address, &error) != SL_OK)
		finding(l, field_place(l, subject, "endpoints"), "endpoint \"%s\" of %s \"%s\": %s", endpoint->url, subject->kind,
		        subject->name, error.text);
}

void read_endpoints(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *model)
{
	struct conf_model *m = model;
	size_t n = lua_type(L, -1) == LUA_TTABLE ? lua_rawlen(L, -1) : 0;
	if (n == 0 || n > CONF_STRINGS_MAX) {
		bad(l, subject, field, "a list such as { \"http://127.0.0.1:9000\" }");
		return;
	}
	m->endpoints = arena_alloc(&l->conf->arena, n * sizeof *m->endpoints);
	for (size_t i = 0; m->endpoints && i < n; i++) {
		lua_rawgeti(L, -1, (lua_Integer) i + 1);
		read_endpoint(l, L, subject, &m->endpoints[m->n_endpoints++]);
		lua_pop(L, 1);
	}
	l->failed = l->failed || !m->endpoints;
}

void read_options(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *model)
{
	const char *why = "a table";
	json_t *options = lua_type(L, -1) == LUA_TTABLE ? lua_to_json(L, -1, &why) : NULL;
	if (!json_is_object(options)) {
		char where[160];
		finding(l, field_place(l, subject, field), "%s must be a table of options (%s)",
		        field_text(subject, field, where, sizeof where), options ? "this is a list" : why);
		json_decref(options);
		return;
	}
	((struct conf_model *) model)->options = options;
}

void read_listen(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *conf)
{
	(void) conf;
	sl_error error = { 0 };
	if (lua_type(L, -1) != LUA_TSTRING) {
		bad(l, subject, field, "an address such as \"127.0.0.1:8080\"");
		return;
	}
	struct http_address *address = list_add(l, &l->listen);
	if (!address)
		finding(l, subject->place, "more than %d addresses to listen at", CONF_LISTEN_MAX);
	else if (http_address_parse(str_of(lua_tostring(L, -1)), address, &error) != SL_OK)
		finding(l, subject->place, "listen \"%s\": %s", lua_tostring(L, -1), error.text);
}

static struct http_address *read_address(struct loader *l, lua_State *L, const struct subject *subject, const char *field,
                                         const char *what, struct conf *c)
{
	sl_error error = { 0 };
	if (lua_type(L, -1) != LUA_TSTRING) {
		bad(l, subject, field, "an address such as \"127.0.0.1:9090\"");
		return NULL;
	}
	struct http_address *address = arena_alloc(&c->arena, sizeof *address);
	if (!address)
		l->failed = true;
	else if (http_address_parse(str_of(lua_tostring(L, -1)), address, &error) != SL_OK)
		finding(l, field_place(l, subject, field), "%s \"%s\": %s", what, lua_tostring(L, -1), error.text);
	return address;
}

void read_metrics(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *conf)
{
	((struct conf *) conf)->metrics = read_address(l, L, subject, field, "metrics", conf);
}

void read_page_listen(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *conf)
{
	((struct conf *) conf)->page.listen = read_address(l, L, subject, field, "listen of page", conf);
}

/* Scheme, host and port, as a browser writes it: lower case, no default port, no path. */
static bool is_origin(const char *text)
{
	size_t scheme = strncmp(text, "https://", 8) == 0 ? 8 : strncmp(text, "http://", 7) == 0 ? 7 : 0;
	const char *host = text + scheme;
	size_t len = strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789.-:[]");
	return scheme && len && len < 280 && host[len] == '\0';
}

void read_origin(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *conf)
{
	if (lua_type(L, -1) != LUA_TSTRING || !is_origin(lua_tostring(L, -1))) {
		bad(l, subject, field, "an address as browsers write it, in small letters and without a path: \"https://gpu.example.org\"");
		return;
	}
	((struct conf *) conf)->page.origin = loader_strdup(l, str_of(lua_tostring(L, -1)));
}

/* The index of the word on top of the stack, -1 and a finding. */
static int read_word(struct loader *l, lua_State *L, const struct subject *subject, const char *field,
                     const char *const *words)
{
	const char *word = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
	char where[160], list[160];
	size_t used = 0;
	list[0] = '\0';
	for (int i = 0; words[i]; i++) {
		if (strcmp(words[i], word) == 0)
			return i;
		used += (size_t) snprintf(list + used, sizeof list - used, "%s\"%s\"", i ? ", " : "", words[i]);
	}
	const char *near = word[0] ? str_nearest(str_of(word), words) : NULL;
	finding(l, field_place(l, subject, field), "%s must be one of %s%s%s%s", field_text(subject, field, where, sizeof where),
	        list, near ? ": did you mean \"" : "", near ? near : "", near ? "\"?" : "");
	return -1;
}

void read_durability(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *conf)
{
	static const char *const words[] = { "async", "held", NULL };
	int word = read_word(l, L, subject, field, words);
	if (word >= 0)
		((struct conf *) conf)->durable = word == 1;
}

void read_route(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *model)
{
	static const char *const words[] = { [CONF_ROUTE_COST] = "cost", [CONF_ROUTE_LEAST_LOAD] = "least_load",
		[CONF_ROUTE_ROUND_ROBIN] = "round_robin", [CONF_ROUTE_PREFIX] = "prefix", NULL };
	int word = read_word(l, L, subject, field, words);
	if (word >= 0)
		((struct conf_model *) model)->route = (enum conf_route) word;
}

void read_on_error(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *conf)
{
	static const char *const words[] = { "deny", "default", NULL };
	int word = read_word(l, L, subject, field, words);
	if (word >= 0)
		((struct conf *) conf)->policy_fail_open = word == 1;
}

void read_level(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *conf)
{
	static const char *const words[] = { [SL_LOG_ERROR] = "error", [SL_LOG_WARN] = "warn", [SL_LOG_INFO] = "info",
		[SL_LOG_DEBUG] = "debug", NULL };
	int word = read_word(l, L, subject, field, words);
	if (word >= 0)
		((struct conf *) conf)->log_level = word;
}

void read_currency(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *conf)
{
	const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
	if (strlen(text) != 3 || strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 3)
		bad(l, subject, field, "three capital letters such as \"EUR\"");
	else
		memcpy(((struct conf *) conf)->currency, text, 4);
}

void read_body(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *conf)
{
	int64_t bytes = 0;
	const struct conf_field number = { "limits", field, FIELD_BYTES, .min = 1024, .max = 1ll << 30 };
	read_field(l, L, &number, subject, &bytes);
	if (bytes)
		((struct conf *) conf)->body_max = (size_t) bytes;
}

void read_policy(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *conf)
{
	l->policy_place = subject->place;
	if (lua_type(L, -1) == LUA_TTABLE) {
		struct subject inner = { "policy", NULL, subject->place };
		read_block(l, L, "policy", &inner, conf);
	} else if (lua_type(L, -1) == LUA_TSTRING) {
		read_field(l, L, field_find("policy", "file"), subject, conf);
	} else {
		bad(l, subject, field, "a file name or a table { file = \"policy.lua\", on_error = \"deny\" }");
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* options.c - turns what the configuration says into the values that a plugin reads. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/str.h"
#include "core/plugin/plugin_private.h"

enum { SECRET_MAX = 65536 };

struct value {
	sl_option option;
	bool set;
	int64_t number; /* BOOL, INT, DURATION, BYTES */
	char *text;     /* the others; NUL-terminated too */
	size_t len;
};

struct sl_conf {
	size_t n;
	struct value values[];
};

static bool is_number(uint32_t type)
{
	return type == SL_OPTION_BOOL || type == SL_OPTION_INT || type == SL_OPTION_DURATION || type == SL_OPTION_BYTES;
}

static const char *type_word(uint32_t type)
{
	static const char *const words[] = {
		[SL_OPTION_BOOL] = "true or false", [SL_OPTION_INT] = "a whole number",
		[SL_OPTION_DURATION] = "a duration such as \"90s\" or \"2h30m\", or milliseconds",
		[SL_OPTION_BYTES] = "a size such as \"40G\", or bytes", [SL_OPTION_STRING] = "a string",
		[SL_OPTION_ENUM] = "a string", [SL_OPTION_SECRET] = "a string, \"file:PATH\" or \"env:NAME\"",
		[SL_OPTION_PATH] = "a path", [SL_OPTION_JSON] = "a table",
	};
	return words[type];
}

static int set_text(struct value *v, sl_str text, sl_error *error)
{
	if (text.len > PLUGIN_OPTION_MAX)
		return error_set(error, SL_EINVAL, "option '%s': longer than %d bytes", v->option.name, PLUGIN_OPTION_MAX);
	v->text = str_dup(text);
	v->len = text.len;
	v->set = v->text != NULL;
	return v->set ? SL_OK : error_set(error, SL_ENOMEM, "option '%s': out of memory", v->option.name);
}

static int set_number(struct value *v, int64_t number, sl_error *error)
{
	const sl_option *o = &v->option;
	if (o->max > o->min && (number < o->min || number > o->max))
		return error_set(error, SL_EINVAL, "option '%s': %lld is out of range, expected %lld to %lld%s", o->name,
		                 (long long) number, (long long) o->min, (long long) o->max,
		                 o->type == SL_OPTION_DURATION ? " milliseconds" : o->type == SL_OPTION_BYTES ? " bytes" : "");
	v->number = number;
	v->set = true;
	return SL_OK;
}

static int wrong_type(const struct value *v, sl_error *error)
{
	return error_set(error, SL_EINVAL, "option '%s': expected %s", v->option.name, type_word(v->option.type));
}

/* The word itself, or an error that names the nearest one. */
static int set_word(struct value *v, sl_str word, sl_error *error)
{
	char words[1024];
	const char *list[64];
	size_t n = 0;
	if (!str_copy(words, sizeof words, str_of(v->option.values)))
		return error_set(error, SL_EINVAL, "option '%s': its table of values is too long", v->option.name);
	char *rest = words;
	for (char *w; n < 63 && (w = strsep(&rest, "|"));) {
		if (str_eq(str_of(w), word))
			return set_text(v, word, error);
		list[n++] = w;
	}
	list[n] = NULL;
	const char *near = str_nearest(word, list);
	return error_set(error, SL_EINVAL, "option '%s': '%.*s' is none of %s%s%s%s", v->option.name, STR_ARG(word),
	                 v->option.values, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int read_secret_file(struct value *v, const char *path, sl_error *error)
{
	const char *name = v->option.name;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return error_set(error, SL_EINVAL, "option '%s': cannot open %s: %s", name, path, strerror(errno));
	char text[SECRET_MAX + 1];
	struct stat st;
	ssize_t n = -1;
	int code = SL_OK;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		code = error_set(error, SL_EINVAL, "option '%s': %s is no regular file", name, path);
	else if (st.st_mode & (S_IRWXO | S_IWGRP))
		code = error_set(error, SL_EINVAL, "option '%s': others can read or write the secret in %s (mode %04o); chmod 0600 it",
		                 name, path, st.st_mode & 07777);
	else if ((n = read(fd, text, sizeof text)) < 0)
		code = error_set(error, SL_EINVAL, "option '%s': cannot read %s: %s", name, path, strerror(errno));
	close(fd);
	if (code != SL_OK)
		return code;
	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
		n--;
	if (n == 0)
		code = error_set(error, SL_EINVAL, "option '%s': %s is empty", name, path);
	else if (n > SECRET_MAX || memchr(text, '\0', (size_t) n))
		code = error_set(error, SL_EINVAL, "option '%s': %s is no text of at most %d bytes", name, path, SECRET_MAX);
	else
		code = set_text(v, (sl_str){ text, (size_t) n }, error);
	explicit_bzero(text, sizeof text);
	return code;
}

static int set_secret(struct value *v, sl_str text, sl_error *error)
{
	if (str_starts(text, STR("file:")))
		return read_secret_file(v, text.ptr + 5, error);
	if (!str_starts(text, STR("env:")))
		return text.len ? set_text(v, text, error) : error_set(error, SL_EINVAL, "option '%s': is empty", v->option.name);
	const char *found = getenv(text.ptr + 4);
	if (!found || !*found)
		return error_set(error, SL_EINVAL, "option '%s': the environment has no %s", v->option.name, text.ptr + 4);
	return set_text(v, str_of(found), error);
}

static int set_json(struct value *v, const json_t *json, sl_error *error)
{
	char *text = json_text(json);
	if (!text)
		return error_set(error, SL_ENOMEM, "option '%s': out of memory", v->option.name);
	int code = set_text(v, str_of(text), error);
	free(text);
	return code;
}

static int set_quantity(struct value *v, sl_str text, sl_error *error)
{
	int64_t number;
	bool fine = v->option.type == SL_OPTION_DURATION ? str_to_duration_ms(text, &number) : str_to_bytes(text, &number);
	if (fine)
		return set_number(v, number, error);
	return error_set(error, SL_EINVAL, "option '%s': '%.*s' is not %s", v->option.name, STR_ARG(text),
	                 type_word(v->option.type));
}

/* A value that stands in the configuration. jansson's strings are NUL-terminated and have no NUL inside. */
static int set_from_json(struct value *v, const json_t *json, sl_error *error)
{
	uint32_t type = v->option.type;
	if (type == SL_OPTION_JSON)
		return set_json(v, json, error);
	if (type == SL_OPTION_BOOL)
		return json_is_boolean(json) ? set_number(v, json_is_true(json), error) : wrong_type(v, error);
	if (json_is_integer(json) && is_number(type)) {
		if (type != SL_OPTION_INT && json_integer_value(json) < 0)
			return error_set(error, SL_EINVAL, "option '%s': must not be negative", v->option.name);
		return set_number(v, json_integer_value(json), error);
	}
	if (!json_is_string(json) || type == SL_OPTION_INT)
		return wrong_type(v, error);
	sl_str text = { json_string_value(json), json_string_length(json) };
	switch (type) {
	case SL_OPTION_DURATION:
	case SL_OPTION_BYTES: return set_quantity(v, text, error);
	case SL_OPTION_ENUM: return set_word(v, text, error);
	case SL_OPTION_SECRET: return set_secret(v, text, error);
	case SL_OPTION_PATH:
		return text.len ? set_text(v, text, error) : error_set(error, SL_EINVAL, "option '%s': is empty", v->option.name);
	default: return set_text(v, text, error);
	}
}

/* The default is text, written as it would be in the configuration: `true`, `5`, `90s`, `word`. */
static int set_default(struct value *v, sl_error *error)
{
	const char *text = v->option.default_text;
	if (!text)
		return SL_OK;
	uint32_t type = v->option.type;
	bool bare = type == SL_OPTION_BOOL || type == SL_OPTION_INT || type == SL_OPTION_JSON;
	json_t *json = bare ? json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL) : json_string(text);
	int code = json ? set_from_json(v, json, error)
	                : error_set(error, SL_EINVAL, "option '%s': its default '%s' is not %s", v->option.name, text,
	                            type_word(type));
	json_decref(json);
	return code;
}

static int unknown_option(const sl_conf *conf, const char *name, sl_error *error)
{
	const char *names[257];
	size_t n = 0;
	for (; n < conf->n && n < 256; n++)
		names[n] = conf->values[n].option.name;
	names[n] = NULL;
	if (n == 0)
		return error_set(error, SL_EINVAL, "option '%s' is unknown: this plugin has no options", name);
	const char *near = str_nearest(str_of(name), names);
	if (near)
		return error_set(error, SL_EINVAL, "option '%s' is unknown; did you mean '%s'?", name, near);
	char list[128] = "";
	for (size_t i = 0, used = 0; i < n && used < sizeof list; i++)
		used += (size_t) snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", names[i]);
	return error_set(error, SL_EINVAL, "option '%s' is unknown; there are: %s", name, list);
}

static int refuse_unknown(const sl_conf *conf, const json_t *options, sl_error *error)
{
	const char *name;
	json_t *value;
	json_object_foreach((json_t *) options, name, value) {
		size_t i = 0;
		while (i < conf->n && strcmp(conf->values[i].option.name, name) != 0)
			i++;
		if (i == conf->n)
			return unknown_option(conf, name, error);
	}
	return SL_OK;
}

int plugin_conf_new(const sl_plugin *d, const json_t *options, bool lenient, sl_conf **out, sl_error *error)
{
	if (options && !json_is_object(options))
		return error_set(error, SL_EINVAL, "options: expected a table with names, as in { name = value }");
	sl_conf *conf = calloc(1, sizeof *conf + d->n_options * sizeof conf->values[0]);
	if (!conf)
		return error_set(error, SL_ENOMEM, "options: out of memory");
	conf->n = d->n_options;
	for (size_t i = 0; i < conf->n; i++)
		conf->values[i].option = plugin_option_at(d, i);
	int code = refuse_unknown(conf, options, error);
	for (size_t i = 0; i < conf->n && code == SL_OK; i++) {
		struct value *v = &conf->values[i];
		const json_t *json = json_object_get(options, v->option.name);
		code = json && !json_is_null(json) ? set_from_json(v, json, error) : set_default(v, error);
		if (code == SL_OK && !v->set && (v->option.flags & SL_OPTION_REQUIRED) && !lenient)
			code = error_set(error, SL_EINVAL, "option '%s' is missing: %s", v->option.name, v->option.help);
	}
	if (code != SL_OK) {
		plugin_conf_free(conf);
		return code;
	}
	*out = conf;
	return SL_OK;
}

void plugin_conf_free(sl_conf *conf)
{
	for (size_t i = 0; conf && i < conf->n; i++) {
		struct value *v = &conf->values[i];
		if (v->text && v->option.type == SL_OPTION_SECRET)
			explicit_bzero(v->text, v->len);
		free(v->text);
	}
	free(conf);
}

static const struct value *find(const sl_conf *conf, const char *name)
{
	for (size_t i = 0; conf && name && i < conf->n; i++)
		if (strcmp(conf->values[i].option.name, name) == 0)
			return &conf->values[i];
	return NULL;
}

int64_t plugin_conf_int(const sl_conf *conf, const char *name)
{
	const struct value *v = find(conf, name);
	return v && is_number(v->option.type) ? v->number : 0;
}

sl_str plugin_conf_str(const sl_conf *conf, const char *name)
{
	const struct value *v = find(conf, name);
	return v && v->text ? (sl_str){ v->text, v->len } : (sl_str){ NULL, 0 };
}

bool plugin_conf_complete(const sl_conf *conf)
{
	for (size_t i = 0; i < conf->n; i++)
		if ((conf->values[i].option.flags & SL_OPTION_REQUIRED) && !conf->values[i].set)
			return false;
	return true;
}

const char *plugin_conf_differs(const sl_conf *a, const sl_conf *b, bool any)
{
	for (size_t i = 0; i < a->n && i < b->n; i++) {
		const struct value *x = &a->values[i], *y = &b->values[i];
		bool same = x->set == y->set && x->number == y->number && x->len == y->len &&
		            (x->len == 0 || memcmp(x->text, y->text, x->len) == 0);
		if (!same && (any || !(x->option.flags & SL_OPTION_RELOADABLE)))
			return x->option.name;
	}
	return NULL;
}

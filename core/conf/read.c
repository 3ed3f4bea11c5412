/* SPDX-License-Identifier: Apache-2.0 */
/* read.c - findings, and reading a Lua table by the table of fields. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/conf/internal.h"

enum { SCAN_LINES = 400 };

__attribute__((format(printf, 4, 0)))
static void report(struct loader *l, struct conf_place place, const char *word, const char *format, va_list args)
{
	char text[1024];
	vsnprintf(text, sizeof text, format, args);
	if (place.file)
		buf_printf(l->report, "%s:%d: ", place.file, place.line);
	buf_printf(l->report, "%s%s\n", word, text);
}

void finding(struct loader *l, struct conf_place place, const char *format, ...)
{
	va_list args;
	if (++l->findings > CONF_FINDINGS_MAX)
		return;
	va_start(args, format);
	report(l, place, "", format, args);
	va_end(args);
	if (l->findings == CONF_FINDINGS_MAX)
		buf_puts(l->report, "... more is not shown\n");
}

void warning(struct loader *l, struct conf_place place, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	report(l, place, "warning: ", format, args);
	va_end(args);
}

static const struct source *source_of(const struct loader *l, const char *shown)
{
	for (size_t i = 0; i < l->n_sources; i++)
		if (shown && strcmp(l->sources[i].shown, shown) == 0)
			return &l->sources[i];
	return NULL;
}

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Does the line assign to a field of this name? */
static bool assigns(sl_str line, sl_str field)
{
	for (size_t i = 0; i + field.len < line.len; i++) {
		if (line.ptr[i] == '-' && line.ptr[i + 1] == '-')
			return false;
		if (memcmp(line.ptr + i, field.ptr, field.len) != 0 || (i > 0 && is_word(line.ptr[i - 1])))
			continue;
		size_t at = i + field.len;
		while (at < line.len && (line.ptr[at] == ' ' || line.ptr[at] == '\t'))
			at++;
		if (at < line.len && line.ptr[at] == '=' && (at + 1 == line.len || line.ptr[at + 1] != '='))
			return true;
	}
	return false;
}

struct conf_place field_place(const struct loader *l, const struct subject *subject, const char *field)
{
	const struct source *source = source_of(l, subject->place.file);
	sl_str name = str_of(field);
	if (!source || name.len == 0)
		return subject->place;
	const char *at = source->text.ptr, *end = at + source->text.len;
	for (int line = 1; at < end && line < subject->place.line + SCAN_LINES; line++) {
		const char *newline = memchr(at, '\n', (size_t) (end - at));
		sl_str text = { at, newline ? (size_t) (newline - at) : (size_t) (end - at) };
		if (line >= subject->place.line && assigns(text, name))
			return (struct conf_place){ subject->place.file, line };
		if (line >= subject->place.line && text.len && text.ptr[0] == '}')
			break; /* the declaration ends here */
		at = newline ? newline + 1 : end;
	}
	return subject->place;
}

struct conf_place caller_place(struct loader *l, lua_State *L)
{
	lua_Debug ar;
	for (int level = 1; lua_getstack(L, level, &ar); level++) {
		lua_getinfo(L, "Sl", &ar);
		if (ar.currentline <= 0)
			continue;
		const struct source *source = source_of(l, ar.source[0] == '@' ? ar.source + 1 : NULL);
		return (struct conf_place){ source ? source->shown : NULL, ar.currentline };
	}
	return (struct conf_place){ 0 };
}

const char *field_text(const struct subject *subject, const char *field, char *out, size_t room)
{
	if (!subject->kind)
		snprintf(out, room, "'%s'", field);
	else if (subject->name)
		snprintf(out, room, "field '%s' in %s \"%s\"", field, subject->kind, subject->name);
	else
		snprintf(out, room, "field '%s' in %s", field, subject->kind);
	return out;
}

const char *loader_strdup(struct loader *l, sl_str text)
{
	const char *copy = arena_strdup(&l->conf->arena, text);
	if (!copy)
		l->failed = true;
	return copy ? copy : "";
}

void *list_add(struct loader *l, struct list *list)
{
	if (list->n == list->max)
		return NULL;
	if (list->n == list->room) {
		size_t room = list->room ? 2 * list->room : 8;
		void *items = realloc(list->items, room * list->size);
		if (!items) {
			l->failed = true;
			return NULL;
		}
		list->items = items;
		list->room = room;
	}
	void *item = (char *) list->items + list->n++ * list->size;
	memset(item, 0, list->size);
	return item;
}

/* What was found instead, for messages. */
static const char *got(lua_State *L, char *out, size_t room)
{
	switch (lua_type(L, -1)) {
	case LUA_TSTRING: snprintf(out, room, "\"%.60s\"", lua_tostring(L, -1)); break;
	case LUA_TNUMBER:
		if (lua_isinteger(L, -1))
			snprintf(out, room, "%lld", (long long) lua_tointeger(L, -1));
		else
			snprintf(out, room, "%g", lua_tonumber(L, -1));
		break;
	case LUA_TBOOLEAN: snprintf(out, room, "%s", lua_toboolean(L, -1) ? "true" : "false"); break;
	default: snprintf(out, room, "a %s", luaL_typename(L, -1));
	}
	return out;
}

static void wrong(struct loader *l, lua_State *L, const struct subject *subject, const char *field, const char *wanted)
{
	char where[160], found[96];
	finding(l, field_place(l, subject, field), "%s must be %s, not %s", field_text(subject, field, where, sizeof where),
	        wanted, got(L, found, sizeof found));
}

bool value_duration_ms(lua_State *L, int index, int64_t *out)
{
	if (lua_type(L, index) == LUA_TSTRING) {
		size_t len;
		const char *text = lua_tolstring(L, index, &len);
		return str_to_duration_ms((sl_str){ text, len }, out);
	}
	if (lua_type(L, index) != LUA_TNUMBER)
		return false;
	double seconds = lua_tonumber(L, index);
	if (!(seconds >= 0 && seconds <= 1e10))
		return false;
	*out = (int64_t) (seconds * 1000 + 0.5);
	return true;
}

/* "500us", or a duration. */
static bool value_micros(lua_State *L, int64_t *out)
{
	if (lua_type(L, -1) == LUA_TSTRING) {
		sl_str text;
		text.ptr = lua_tolstring(L, -1, &text.len);
		uint64_t us;
		if (text.len > 2 && memcmp(text.ptr + text.len - 2, "us", 2) == 0) {
			bool fine = str_to_u64((sl_str){ text.ptr, text.len - 2 }, INT64_MAX / 2, &us);
			*out = fine ? (int64_t) us : 0;
			return fine;
		}
	}
	int64_t ms;
	if (!value_duration_ms(L, -1, &ms) || ms > INT64_MAX / 1000)
		return false;
	*out = ms * 1000;
	return true;
}

static bool value_bytes(lua_State *L, int64_t *out)
{
	if (lua_isinteger(L, -1)) {
		*out = lua_tointeger(L, -1);
		return *out >= 0;
	}
	size_t len;
	const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
	return text && str_to_bytes((sl_str){ text, len }, out);
}

static bool value_integer(lua_State *L, int64_t *out)
{
	int exact = 0;
	if (lua_type(L, -1) == LUA_TNUMBER)
		*out = lua_tointegerx(L, -1, &exact);
	return exact;
}

bool name_valid(const char *name, bool narrow)
{
	size_t len = strlen(name);
	if (len == 0 || len >= SL_NAME_MAX)
		return false;
	for (const char *c = name; *c; c++)
		if (!is_word(*c) && !strchr(narrow ? ".-" : ".:/-", *c))
			return false;
	return true;
}

static const char *read_text(struct loader *l, lua_State *L, const struct subject *subject, const char *field, bool name)
{
	size_t len;
	const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
	if (!text || len == 0 || len > 4096 || strlen(text) != len || !str_is_utf8((sl_str){ text, len })) {
		wrong(l, L, subject, field, "text");
		return NULL;
	}
	if (name && !name_valid(text, false)) {
		wrong(l, L, subject, field, "a name of at most 63 letters, digits and . _ : / -");
		return NULL;
	}
	return loader_strdup(l, (sl_str){ text, len });
}

static void read_strings(struct loader *l, lua_State *L, const struct conf_field *field, const struct subject *subject,
                         void *object)
{
	if (lua_type(L, -1) != LUA_TTABLE) {
		wrong(l, L, subject, field->name, "a list of names");
		return;
	}
	size_t n = lua_rawlen(L, -1), used = 0;
	if (n > CONF_STRINGS_MAX) {
		finding(l, subject->place, "%s has more than %d items", field->name, CONF_STRINGS_MAX);
		return;
	}
	const char **list = arena_alloc(&l->conf->arena, (n + 1) * sizeof *list);
	for (size_t i = 1; list && i <= n; i++) {
		lua_rawgeti(L, -1, (lua_Integer) i);
		const char *text = read_text(l, L, subject, field->name, field->type == FIELD_NAMES);
		if (text && strlen(text) < SL_NAME_MAX)
			list[used++] = text;
		else if (text)
			wrong(l, L, subject, field->name, "a list of texts of at most 63 bytes");
		lua_pop(L, 1);
	}
	l->failed = l->failed || !list;
	memcpy((char *) object + field->offset, &list, sizeof list);
	memcpy((char *) object + field->count, &used, sizeof used);
}

static bool in_range(struct loader *l, lua_State *L, const struct conf_field *field, const struct subject *subject,
                     double value)
{
	if (field->max <= field->min || (value >= (double) field->min && value <= (double) field->max))
		return true;
	char where[160], found[96];
	field_text(subject, field->name, where, sizeof where);
	got(L, found, sizeof found);
	switch (field->type) {
	case FIELD_DURATION:
		finding(l, field_place(l, subject, field->name), "%s is out of range: %s (%s365d)", where, found,
		        field->min ? "above 0, up to " : "0 to ");
		break;
	case FIELD_BYTES:
		finding(l, field_place(l, subject, field->name), "%s is out of range: %s (%lld to %lld bytes)", where, found,
		        (long long) field->min, (long long) field->max);
		break;
	default:
		finding(l, field_place(l, subject, field->name), "%s is out of range: %s (%lld to %lld)", where, found,
		        (long long) field->min, (long long) field->max);
	}
	return false;
}

static void read_number(struct loader *l, lua_State *L, const struct conf_field *field, const struct subject *subject,
                        void *object)
{
	int64_t value = 0;
	bool fine;
	const char *wanted;
	switch (field->type) {
	case FIELD_DURATION: fine = value_duration_ms(L, -1, &value); wanted = "a duration such as \"30s\" or \"5m\""; break;
	case FIELD_MICROS: fine = value_micros(L, &value); wanted = "a short time such as \"500us\" or \"2ms\""; break;
	case FIELD_BYTES: fine = value_bytes(L, &value); wanted = "a size such as \"40G\" or \"512M\""; break;
	default: fine = value_integer(L, &value); wanted = "a whole number";
	}
	if (!fine) {
		wrong(l, L, subject, field->name, wanted);
		return;
	}
	if (!in_range(l, L, field, subject, (double) value))
		return;
	if (field->type == FIELD_INT)
		*(int *) ((char *) object + field->offset) = (int) value;
	else
		*(int64_t *) ((char *) object + field->offset) = value;
}

void read_field(struct loader *l, lua_State *L, const struct conf_field *field, const struct subject *subject, void *object)
{
	char *at = (char *) object + field->offset;
	const char *text;
	switch (field->type) {
	case FIELD_STRING:
	case FIELD_NAME:
		text = read_text(l, L, subject, field->name, field->type == FIELD_NAME);
		if (text)
			*(const char **) at = text;
		break;
	case FIELD_BOOL:
		if (lua_type(L, -1) == LUA_TBOOLEAN)
			*(bool *) at = lua_toboolean(L, -1);
		else
			wrong(l, L, subject, field->name, "true or false");
		break;
	case FIELD_NUMBER:
		if (lua_type(L, -1) != LUA_TNUMBER)
			wrong(l, L, subject, field->name, "a number");
		else if (in_range(l, L, field, subject, lua_tonumber(L, -1)))
			*(double *) at = lua_tonumber(L, -1);
		break;
	case FIELD_NAMES:
	case FIELD_TEXTS: read_strings(l, L, field, subject, object); break;
	case FIELD_CUSTOM: field->read(l, L, subject, field->name, object); break;
	default: read_number(l, L, field, subject, object);
	}
}

static void unknown_field(struct loader *l, const char *block, const struct subject *subject, const char *name)
{
	const char *names[64];
	char where[160];
	field_names(block, names, sizeof names / sizeof names[0]);
	const char *near = str_nearest(str_of(name), names);
	finding(l, field_place(l, subject, name), "unknown %s%s%s%s", field_text(subject, name, where, sizeof where),
	        near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static const char *subject_text(const struct subject *subject, char *out, size_t room)
{
	if (subject->name)
		snprintf(out, room, "%s \"%s\"", subject->kind, subject->name);
	else
		snprintf(out, room, "%s", subject->kind);
	return out;
}

void read_block(struct loader *l, lua_State *L, const char *block, const struct subject *subject, void *object)
{
	char who[128];
	if (lua_type(L, -1) != LUA_TTABLE) {
		finding(l, subject->place, "%s takes a table: %s { ... }", subject->kind, subject->kind);
		return;
	}
	luaL_checkstack(L, 8, NULL);
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		lua_pop(L, 1);
		const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
		if (!name)
			finding(l, subject->place, "%s has a value without a field name: write field = value",
			        subject_text(subject, who, sizeof who));
		else if (!field_find(block, name))
			unknown_field(l, block, subject, name);
	}
	for (const struct conf_field *f = conf_fields; f->name; f++) { /* in this order, whatever the table's is */
		if (strcmp(f->block, block) != 0)
			continue;
		lua_pushstring(L, f->name);
		if (lua_rawget(L, -2) != LUA_TNIL)
			read_field(l, L, f, subject, object);
		else if (f->required)
			finding(l, subject->place, "%s needs the field '%s'", subject_text(subject, who, sizeof who), f->name);
		lua_pop(L, 1);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - what the files of this room share: the loader, the table of fields, findings. */
#ifndef CORE_CONF_INTERNAL_H
#define CORE_CONF_INTERNAL_H

#include <lauxlib.h>
#include <lua.h>

#include "core/base/buf.h"
#include "core/base/error.h"
#include "core/base/str.h"
#include "core/conf/conf.h"
#include "core/sandbox/sandbox.h"

enum {
	CONF_FILES_MAX = 256,
	CONF_MODELS_MAX = 4096,
	CONF_TIERS_MAX = 1024,
	CONF_TENANTS_MAX = 10000,
	CONF_QUEUES_MAX = 1024,
	CONF_COHORTS_MAX = 1024,
	CONF_COHORT_DEPTH = 16,
	CONF_KINDS_MAX = 1024,
	CONF_PLUGINS_MAX = 256,
	CONF_LISTEN_MAX = 16,
	CONF_STRINGS_MAX = 1024,  /* in one list */
	CONF_FINDINGS_MAX = 100
};

enum field_type {
	FIELD_STRING,
	FIELD_NAME,      /* const char *, letters, digits and . _ : / - */
	FIELD_INT,       /* int */
	FIELD_INT64,     /* int64_t */
	FIELD_NUMBER,    /* double */
	FIELD_BOOL,
	FIELD_DURATION,  /* int64_t, milliseconds */
	FIELD_MICROS,    /* int64_t, microseconds */
	FIELD_BYTES,     /* int64_t */
	FIELD_NAMES,     /* const char **, and size_t at `count` */
	FIELD_TEXTS,     /* the same, of any text that is as short as a name */
	FIELD_CUSTOM     /* read() */
};

struct loader;
struct subject;
/* Reads the value on top of the stack into the object; findings go to the loader. May raise only for memory. */
typedef void (*field_read)(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *object);

/* One field of one block. The table of them drives checking, the example file and the manual. */
struct conf_field {
	const char *block;   /* "model", "limits" ...; "" is the file itself */
	const char *name;
	enum field_type type;
	bool required;
	size_t offset, count;
	int64_t min, max;    /* of numbers, when max > min */
	const char *fallback; /* default as written in Lua, NULL: none */
	const char *help;
	field_read read;
};
extern const struct conf_field conf_fields[]; /* ends with a NULL name */

/* A file that was read. */
struct source {
	const char *shown; /* in messages */
	const char *path;
	sl_str text;
};

/* What a finding is about. */
struct subject {
	const char *kind; /* "model" */
	const char *name; /* NULL: it has none */
	struct conf_place place;
};

/* A growing array of one kind of object. */
struct list {
	void *items;
	size_t n, room, size, max;
};

struct loader {
	struct conf *conf;
	struct buf *report;
	int findings;
	bool failed; /* out of memory */
	struct sandbox *sandbox;
	char folder[512];
	struct source sources[CONF_FILES_MAX];
	size_t n_sources;
	struct buf digests; /* 32 bytes a file */
	struct list models, tiers, tenants, queues, cohorts, kinds, plugins, listen, engines;
	struct conf_place policy_place;
};

/* FILE:LINE: text, an error. */
void finding(struct loader *l, struct conf_place place, const char *format, ...) __attribute__((format(printf, 3, 4)));
void warning(struct loader *l, struct conf_place place, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The place of a field inside a declaration: its own line when it can be found. */
struct conf_place field_place(const struct loader *l, const struct subject *subject, const char *field);
/* Where the running declaration stands. */
struct conf_place caller_place(struct loader *l, lua_State *L);
/* `field 'x' in model "y"`; returns out. */
const char *field_text(const struct subject *subject, const char *field, char *out, size_t room);
/* The text of the arena, or "" and l->failed. */
const char *loader_strdup(struct loader *l, sl_str text);
/* A zeroed new item, NULL when the bound or memory is used up. */
void *list_add(struct loader *l, struct list *list);

/* Reads the table on top of the stack by the fields of `block` into object. */
void read_block(struct loader *l, lua_State *L, const char *block, const struct subject *subject, void *object);
/* Reads the value on top of the stack. */
void read_field(struct loader *l, lua_State *L, const struct conf_field *field, const struct subject *subject, void *object);
const struct conf_field *field_find(const char *block, const char *name);
/* Names of a block's fields, NULL-terminated; returns their number. */
size_t field_names(const char *block, const char **names, size_t max);

/* Values at the top of the stack; false and a finding. */
bool value_decimal(lua_State *L, int index, int digits, int64_t *out); /* no finding */
bool value_duration_ms(lua_State *L, int index, int64_t *out);        /* no finding */
bool name_valid(const char *name, bool narrow);
void read_limits(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *tier);
void read_price(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *model);
void read_gpu_hour(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *kind);
void read_replicas(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *model);
void read_endpoints(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *model);
void read_route(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *model);
void read_options(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *model);
void read_listen(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *conf);
void read_metrics(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *conf);
void read_page_listen(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *conf);
void read_origin(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *conf);
void read_durability(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *conf);
void read_currency(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *conf);
void read_on_error(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *conf);
void read_level(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *conf);
void read_body(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *conf);
void read_policy(struct loader *l, lua_State *L, const struct subject *subject, const char *field, void *conf);

/* Lua table to JSON; NULL and a reason. Never raises. */
json_t *lua_to_json(lua_State *L, int index, const char **why);
/* JSON to a Lua value on the stack. Raises for memory. */
void json_to_lua(lua_State *L, const json_t *value);

/* Gives the sandbox its declarations (model, tier, ...). */
int declare_setup(lua_State *L);
/* After all files have run: what is missing, what refers to what. Fills in the defaults. */
void check_all(struct loader *l);
/* Reads the engine file of a model; NULL and a finding. */
void engine_load(struct loader *l, const struct conf_model *model);
/* Asks the engine for the command of a replica that will never be: what is wrong with it is a finding. */
void engine_try(struct loader *l, const struct conf_engine *engine, const struct conf_model *model);
/* requires.c: of the engine's table on top of the stack. Raises what is wrong. */
int engine_take_requires(lua_State *L, struct loader *l, struct conf_engine *engine);
/* False: findings. */
bool engine_requires_met(struct loader *l, const struct conf_engine *engine, const struct conf_model *model);
/* Reads a file into the arena and the digest. NULL and *error. */
struct source *source_read(struct loader *l, const char *path, const char *shown, sl_error *error);

#endif
